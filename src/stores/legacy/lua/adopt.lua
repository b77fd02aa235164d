-- Adopts a legacy connection key whose rows were staged. ARGV: node, epoch, key, legacy composite ('' if the key belongs to a
-- lane), length of its queue, number of our rows at the front of the queue, number handled, a random number, the incarnation
-- of legacy numbers; then for each lane: key, '1' if the lane is to be made from this key, plain composite, composite with
-- topic, source topic, receiver, topic, list of staged rows, number of these rows, their bytes, last number.

if fenced() then return { 'fenced' } end
local id, composite, keep, handled = ARGV[3], ARGV[4], tonumber(ARGV[6]), ARGV[7]
local key, queue = 'lnr_connection:' .. id, 'lnr_connection:' .. id .. ':messages'
-- An earlier call succeeded, and its reply was lost.
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

-- Makes the lane of this key. The recorded number is both the receiver's cursor and what the sender knows as acked.
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
