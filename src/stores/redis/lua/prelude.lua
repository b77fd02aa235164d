-- What the scripts share. Numbers of messages are below 2^53, where Lua's are exact; incarnations are compared as text.
-- Before a script's first write nothing can have changed, and Redis refuses a write for want of memory, of a disk or of
-- the right to write only while nothing has: so a script happens entirely or not at all.

-- The bytes of a row other than headers and payload.
local OVERHEAD = 29

local function text(n)
  return string.format('%.0f', n)
end

-- Call it first, and a server whose memory is full takes what follows: leases, lanes and acks are small, and without them
-- nothing would ever make room. It changes nothing, but is a write that needs no memory.
local function take_though_full()
  redis.call('DEL', 'lnr_nothing')
end

-- ARGV[1] is the node that writes, ARGV[2] its epoch.
local function fenced()
  local epoch = redis.call('HGET', 'lnr_node:' .. ARGV[1], 'epoch')
  return epoch and tonumber(epoch) > tonumber(ARGV[2])
end

-- In milliseconds since 1970.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The catalogue has changed.
local function bump()
  redis.call('PUBLISH', 'lnr_catalogue', text(redis.call('INCR', 'lnr_catalogue')))
end

-- A hash as a table.
local function hash(key)
  local flat, found = redis.call('HGETALL', key), {}
  for at = 1, #flat, 2 do
    found[flat[at]] = flat[at + 1]
  end
  return found
end

-- A key above every key in use, whatever an operator or liner_broker left.
local function new_key()
  local id
  repeat
    id = text(redis.call('INCR', 'lnr_unique_key'))
    local key = 'lnr_connection:' .. id
  until redis.call('EXISTS', key .. ':lane', key .. ':sender', key .. ':mess_number', key .. ':messages') == 0
  return id
end

-- The mark of a published address: its epoch (0 without a lease), whether it is a subscription, and whose it is. A row
-- that somebody else has written over has none.
local function mark(marks, addr, name)
  local found = marks[addr]
  if not found then return 0, '0' end
  local epoch, subscription, of = string.match(found, '^(%d+):(%d):(.*)$')
  if of ~= name then return 0, '0' end
  return tonumber(epoch), subscription
end

-- A lane, or false. `born` tells it from one that had its key before the server lost its last writes.
local function lane(id, born)
  local key = 'lnr_connection:' .. id
  local found = redis.call('HMGET', key .. ':lane', 'sender', 'born', 'spans', 'acked', 'last', 'cursor',
    'bytes')
  if not found[1] or (born ~= '' and found[2] ~= born) then return false end
  return {
    key = key,
    queue = key .. ':messages',
    sender = found[1],
    born = found[2],
    spans = found[3] or '',
    -- Nothing is queued up to here, and nothing ever was above `last`.
    acked = tonumber(found[4]),
    last = tonumber(found[5]),
    cursor = found[6] or '',
    -- What is queued: messages, and bytes of headers and payload.
    len = redis.call('LLEN', key .. ':messages'),
    bytes = tonumber(found[7] or 0),
  }
end

-- Makes a lane of four names: sender, source topic, receiver, topic.
local function create(id, composite, with_topic, names, born)
  local key = 'lnr_connection:' .. id
  redis.call('DEL', key .. ':attempts')
  redis.call('HSET', key .. ':lane', 'sender', names[1], 'source_topic', names[2], 'receiver', names[3],
    'topic', names[4], 'composite', composite, 'born', born, 'acked', '0', 'last', '0', 'bytes', '0')
  redis.call('SET', 'lnr_connection:' .. composite .. ':key', id)
  redis.call('SET', key .. ':sender', names[2])
  redis.call('SET', 'lnr_lane:' .. with_topic, id)
  return lane(id, '')
end

-- The plain form of a composite if it may be taken, else the one with the topic.
local function free_composite(id, plain, with_topic, may_be_plain)
  local function taken(composite)
    return redis.call('EXISTS', 'lnr_connection:' .. composite .. ':key') == 1
  end
  if may_be_plain and not taken(plain) then return plain end
  if not taken(with_topic) then return with_topic end
  return with_topic .. ':' .. id
end

local function number(row)
  return (struct.unpack('<I8', row, 10))
end

-- How many of the queued numbers are below `n`. Without gaps, that is arithmetic.
local function below(l, n)
  if l.len == 0 or n <= l.acked + 1 then return 0 end
  if n > l.last then return l.len end
  if l.last - l.acked == l.len then return n - l.acked - 1 end
  local low, high = 0, l.len
  while low < high do
    local middle = math.floor((low + high) / 2)
    if number(redis.call('LINDEX', l.queue, middle)) < n then low = middle + 1 else high = middle end
  end
  return low
end

-- Takes a queue away; returns messages and bytes.
local function drain(l)
  redis.call('DEL', l.queue)
  redis.call('HSET', l.key .. ':lane', 'bytes', '0')
  return l.len, l.bytes
end

local function drop_letter(id)
  local key = 'lnr_dead_letter:' .. id
  local found = redis.call('HMGET', key, 'owner', 'unique')
  if not found[1] then return end
  redis.call('ZREM', 'lnr_dead_letters:' .. found[1], id)
  redis.call('HDEL', 'lnr_dead_letter_ids', found[2])
  redis.call('DEL', key)
end

