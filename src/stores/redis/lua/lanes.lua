-- The lanes a node has opened as a sender. ARGV: the node, '1' to know of those with something queued alone. Returns keys,
-- names, messages and bytes, and, if asked for, the other bytes of the oldest row.

local reply = {}
for _, id in ipairs(redis.call('SMEMBERS', 'lnr_node_lanes:' .. ARGV[1])) do
  local key = 'lnr_connection:' .. id
  local found = redis.call('HMGET', key .. ':lane', 'sender', 'source_topic', 'receiver', 'topic', 'bytes')
  local len = redis.call('LLEN', key .. ':messages')
  if found[1] == ARGV[1] and (len > 0 or ARGV[2] ~= '1') then
    local oldest = ARGV[2] == '1' and string.sub(redis.call('LINDEX', key .. ':messages', 0), 1, OVERHEAD) or ''
    reply[#reply + 1] = { id, found[1], found[2], found[3], found[4], len, found[5] or '0', oldest }
  end
end
return reply
