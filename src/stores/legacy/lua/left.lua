-- Finds the keys that have to be adopted for a node. ARGV: node, legacy composites. Returns the composites that belong to no
-- lane, and the lanes of the node whose queue ends with a legacy row. Each has: composite or '', key, source topic, receiver,
-- number handled, length of the queue.

local reply = {}
for at = 2, #ARGV do
  local id = redis.call('GET', 'lnr_connection:' .. ARGV[at] .. ':key')
  local key = id and 'lnr_connection:' .. id
  if key and redis.call('EXISTS', key .. ':lane') == 0 then
    reply[#reply + 1] = { ARGV[at], id, '', '', redis.call('GET', key .. ':mess_number') or '0',
      redis.call('LLEN', key .. ':messages') }
  end
end
for _, id in ipairs(redis.call('SMEMBERS', 'lnr_node_lanes:' .. ARGV[1])) do
  local key = 'lnr_connection:' .. id
  local row = redis.call('LINDEX', key .. ':messages', -1)
  if row and (row == '' or string.byte(row) < 128) then
    local found = redis.call('HMGET', key .. ':lane', 'sender', 'source_topic', 'receiver')
    -- The recorded number may be ours, so no row counts as handled.
    if found[1] == ARGV[1] then
      reply[#reply + 1] = { '', id, found[2], found[3], '0', redis.call('LLEN', key .. ':messages') }
    end
  end
end
return reply
