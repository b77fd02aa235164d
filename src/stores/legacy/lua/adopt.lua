-- Takes over a connection key of liner_broker whose rows were put aside. ARGV: node, epoch, key, liner_broker's composite
-- ('' if the key is a lane's), the length of its queue, how many rows of ours it starts with, how far it was handled, a
-- random number, the incarnation of what liner_broker numbered; then for each lane its key, '1' if it is to be made of
-- this key, the plain composite, that with the topic, source topic, receiver, topic, what is put aside for it, how many
-- rows and bytes that is, and the last number.

if fenced() then return { 'fenced' } end
local id, composite, keep, handled = ARGV[3], ARGV[4], tonumber(ARGV[6]), ARGV[7]
local key, queue = 'lnr_connection:' .. id, 'lnr_connection:' .. id .. ':messages'
-- It was done, and the answer was lost.
if redis.call('EXISTS', key .. ':adopting') == 0 then return { 'ok' } end
if redis.call('LLEN', queue) ~= tonumber(ARGV[5]) then return { 'again' } end
for at = 10, #ARGV, 11 do
  if ARGV[at + 1] ~= '1' and not lane(ARGV[at], '') then return { 'again' } end
  if redis.call('LLEN', ARGV[at + 7]) ~= tonumber(ARGV[at + 8]) then return { 'again' } end
end
take_though_full()

if keep > 0 then redis.call('LTRIM', queue, 0, keep - 1) else redis.call('DEL', queue) end
redis.call('DEL', key .. ':adopting')
if composite ~= '' then redis.call('DEL', 'lnr_connection:' .. composite .. ':key') end

-- The lane of this key. Its receiver stands where liner_broker noted, and the sender knows.
local function make(at)
  local plain, with_topic = ARGV[at + 2], ARGV[at + 3]
  local names = { ARGV[1], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6] }
  create(id, free_composite(id, plain, with_topic, true), with_topic, names, ARGV[8])
  redis.call('HSET', key .. ':lane', 'spans', ARGV[9] .. ':' .. text(tonumber(handled) + 1), 'incarnation', ARGV[9],
    'predecessor', '', 'acked', handled, 'last', handled)
  redis.call('SADD', 'lnr_node_lanes:' .. ARGV[1], id)
end

local function append(l, list, rows)
  if rows == 0 then return end
  if redis.call('EXISTS', l.queue) == 0 then
    redis.call('RENAME', list, l.queue)
    return
  end
  for from = 0, rows - 1, 1000 do
    redis.call('RPUSH', l.queue, unpack(redis.call('LRANGE', list, from, from + 999)))
  end
  redis.call('DEL', list)
end

local claimed = composite == ''
for at = 10, #ARGV, 11 do
  if ARGV[at + 1] == '1' then
    make(at)
    claimed = true
  end
  local l = lane(ARGV[at], '')
  append(l, ARGV[at + 7], tonumber(ARGV[at + 8]))
  redis.call('HSET', l.key .. ':lane', 'last', text(math.max(l.last, tonumber(ARGV[at + 10]))),
    'bytes', text(l.bytes + tonumber(ARGV[at + 9])))
  if l.cursor == '' and handled ~= '0' then
    redis.call('SET', l.key .. ':mess_number', handled)
    redis.call('HSET', l.key .. ':lane', 'cursor', ARGV[9])
  end
end
if not claimed then redis.call('DEL', key .. ':sender', key .. ':mess_number') end
return { 'ok' }
