-- Drops a lane. ARGV: node, epoch, sender, composite with topic, the sender's key, receiver, topic. Returns messages and
-- bytes.

if fenced() then return { 'fenced' } end
local name = 'lnr_lane:' .. ARGV[4]
local id = ARGV[3] == ARGV[1] and redis.call('GET', name)
local l = id and lane(id, '')
if not l then return { 'ok', 0, 0 } end
local messages, bytes = drain(l)
local composite = redis.call('HGET', l.key .. ':lane', 'composite')
redis.call('DEL', name, 'lnr_connection:' .. composite .. ':key', l.key .. ':lane', l.key .. ':sender',
  l.key .. ':mess_number', l.key .. ':attempts')
redis.call('SREM', 'lnr_node_lanes:' .. ARGV[1], id)
local listener = 'lnr_sender:' .. ARGV[5] .. ':listener'
for addr, topic in pairs(hash(listener)) do
  local name_there = redis.call('HGET', 'lnr_topic:' .. topic .. ':addr', addr)
  if topic == ARGV[7] and (not name_there or name_there == ARGV[6]) then redis.call('HDEL', listener, addr) end
end
return { 'ok', messages, bytes }
