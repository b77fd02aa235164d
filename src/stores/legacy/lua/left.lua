-- What liner_broker left for a node. ARGV: the node, composites as liner_broker writes them. Answers those that are no
-- lane's, and lanes of the node whose queue ends with a row of liner_broker, each with composite or '', key, source topic,
-- receiver, the number handled, and the length of its queue.

local answer = {}
for at = 2, #ARGV do
  local id = redis.call('GET', 'lnr_connection:' .. ARGV[at] .. ':key')
  local key = id and 'lnr_connection:' .. id
  if key and redis.call('EXISTS', key .. ':lane') == 0 then
    answer[#answer + 1] = { ARGV[at], id, '', '', redis.call('GET', key .. ':mess_number') or '0',
      redis.call('LLEN', key .. ':messages') }
  end
end
for _, id in ipairs(redis.call('SMEMBERS', 'lnr_node_lanes:' .. ARGV[1])) do
  local key = 'lnr_connection:' .. id
  local row = redis.call('LINDEX', key .. ':messages', -1)
  if row and (row == '' or string.byte(row) < 128) then
    local found = redis.call('HMGET', key .. ':lane', 'sender', 'source_topic', 'receiver')
    -- The number noted may be ours: nothing is taken for handled.
    if found[1] == ARGV[1] then
      answer[#answer + 1] = { '', id, found[2], found[3], '0', redis.call('LLEN', key .. ':messages') }
    end
  end
end
return answer
