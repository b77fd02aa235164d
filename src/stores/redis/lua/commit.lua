-- A group of batches. ARGV: node, epoch, '1' if something grows, then the writes, each with its fields:
--   A lane born count first last row*   T lane born through   V lane born expected incarnation number
--   H lane born incarnation number attempts   R lane born number   D owner unique count (field value)*   U letter
--   B (the next batch)
-- Returns 'ok' and (batch, lane) of each cursor whose writer was wrong.

if fenced() then return { 'fenced' } end

local SIZE = { T = 4, V = 6, H = 6, R = 4, U = 2, B = 1 }
local function size(at)
  local kind = ARGV[at]
  if kind == 'A' then return 6 + tonumber(ARGV[at + 3]) end
  if kind == 'D' then return 4 + 2 * tonumber(ARGV[at + 3]) end
  return SIZE[kind]
end

local lanes = {}
local at = 4
while ARGV[at] do
  local kind, id = ARGV[at], ARGV[at + 1]
  if kind == 'A' or kind == 'T' or kind == 'V' or kind == 'H' or kind == 'R' then
    if lanes[id] == nil then lanes[id] = lane(id, ARGV[at + 2]) end
    local l = lanes[id]
    if kind == 'A' and not (l and l.sender == ARGV[1] and l.spans ~= '') then return { 'nolane', id } end
  end
  at = at + size(at)
end

-- What grows is refused here by a server that is full, before anything is written: this write would need memory, and
-- changes nothing.
if ARGV[3] == '1' then
  redis.call('SETRANGE', 'lnr_nothing', 0, '')
else
  take_though_full()
end

local function push(l, from, to)
  while from <= to do
    local through = math.min(from + 3999, to)
    redis.call('RPUSH', l.queue, unpack(ARGV, from, through))
    from = through + 1
  end
end

-- One row that may be there already, or belong between others.
local function insert(l, row)
  local n = number(row)
  if n <= l.acked then return end
  local before = below(l, n)
  if before == l.len then
    redis.call('RPUSH', l.queue, row)
  else
    local next = redis.call('LINDEX', l.queue, before)
    if number(next) == n then return end
    redis.call('LINSERT', l.queue, 'BEFORE', next, row)
  end
  l.len, l.bytes = l.len + 1, l.bytes + #row - OVERHEAD
  l.last = math.max(l.last, n)
end

local apply = {}

function apply.A(l, at)
  local count, first, last = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  if first > l.last then
    push(l, at + 6, at + 5 + count)
    l.len, l.last = l.len + count, last
    for row = at + 6, at + 5 + count do l.bytes = l.bytes + #ARGV[row] - OVERHEAD end
  else
    for row = at + 6, at + 5 + count do insert(l, ARGV[row]) end
  end
  l.changed = true
end

function apply.T(l, at)
  local through = tonumber(ARGV[at + 3])
  if through <= l.acked then return end
  local gone = below(l, through + 1)
  for from = 0, gone - 1, 64 do
    for _, row in ipairs(redis.call('LRANGE', l.queue, from, math.min(from + 63, gone - 1))) do
      l.bytes = l.bytes - #row + OVERHEAD
    end
  end
  if gone > 0 then redis.call('LTRIM', l.queue, gone, -1) end
  l.len, l.acked, l.last, l.changed = l.len - gone, through, math.max(l.last, through), true
end

function apply.R(l, at)
  local n = tonumber(ARGV[at + 3])
  local row = redis.call('LINDEX', l.queue, below(l, n))
  if row and number(row) == n then
    redis.call('LREM', l.queue, 1, row)
    l.len, l.bytes, l.changed = l.len - 1, l.bytes - #row + OVERHEAD, true
  end
end

function apply.H(l, at)
  redis.call('HSET', l.key .. ':attempts', ARGV[at + 3] .. ':' .. ARGV[at + 4], ARGV[at + 5])
end

-- Whether the writer was right.
function apply.V(l, at)
  local expected, incarnation, n = ARGV[at + 3], ARGV[at + 4], tonumber(ARGV[at + 5])
  local same = l.cursor == incarnation
  if not same and l.cursor ~= expected then return false end
  if same and tonumber(redis.call('GET', l.key .. ':mess_number') or 0) >= n then return true end
  for _, attempt in ipairs(redis.call('HKEYS', l.key .. ':attempts')) do
    local of, seq = string.match(attempt, '^(%d+):(%d+)$')
    if tonumber(seq) <= n or (not same and of == l.cursor) then redis.call('HDEL', l.key .. ':attempts', attempt) end
  end
  redis.call('SET', l.key .. ':mess_number', ARGV[at + 5])
  if not same then redis.call('HSET', l.key .. ':lane', 'cursor', incarnation) end
  l.cursor = incarnation
  return true
end

local function keep(at)
  local owner, unique, count = ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  if redis.call('HEXISTS', 'lnr_dead_letter_ids', unique) == 1 then return end
  local id = text(redis.call('INCR', 'lnr_dead_letter_id'))
  redis.call('HSET', 'lnr_dead_letter_ids', unique, id)
  redis.call('ZADD', 'lnr_dead_letters:' .. owner, id, id)
  redis.call('HSET', 'lnr_dead_letter:' .. id, 'owner', owner, 'unique', unique,
    unpack(ARGV, at + 4, at + 3 + 2 * count))
end

local reply, batch = { 'ok' }, 0
at = 4
while ARGV[at] do
  local kind, id = ARGV[at], ARGV[at + 1]
  if kind == 'B' then
    batch = batch + 1
  elseif kind == 'D' then
    keep(at)
  elseif kind == 'U' then
    if redis.call('HGET', 'lnr_dead_letter:' .. id, 'owner') == ARGV[1] then drop_letter(id) end
  else
    local l = lanes[id]
    local right = l and apply[kind](l, at)
    if kind == 'V' and not right then
      reply[#reply + 1] = batch
      reply[#reply + 1] = id
    end
  end
  at = at + size(at)
end

for _, l in pairs(lanes) do
  if l and l.changed then
    redis.call('HSET', l.key .. ':lane', 'acked', text(l.acked), 'last', text(l.last), 'bytes', text(l.bytes))
  end
end
return reply
