-- The lanes a node has opened as a sender. ARGV: the node. Answers keys and names.

local answer = {}
for _, id in ipairs(redis.call('SMEMBERS', 'lnr_node_lanes:' .. ARGV[1])) do
  local found = redis.call('HMGET', 'lnr_connection:' .. id .. ':lane', 'sender', 'source_topic', 'receiver', 'topic')
  if found[1] == ARGV[1] then
    answer[#answer + 1] = { id, found[1], found[2], found[3], found[4] }
  end
end
return answer
