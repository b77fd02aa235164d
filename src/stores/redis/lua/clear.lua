-- Drops all queues of a sender. ARGV: node, epoch. Returns messages and bytes.

if fenced() then return { 'fenced' } end
local messages, bytes = 0, 0
for _, id in ipairs(redis.call('SMEMBERS', 'lnr_node_lanes:' .. ARGV[1])) do
  local l = lane(id, '')
  if l and l.sender == ARGV[1] then
    local m, b = drain(l)
    messages, bytes = messages + m, bytes + b
  end
end
return { 'ok', messages, bytes }
