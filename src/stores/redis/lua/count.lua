-- What is queued above a number, a part of it. ARGV: lane, the number, messages and bytes of the part at most. Answers
-- messages, bytes, the last number counted, and whether there is more.

local l = lane(ARGV[1], '')
if not l then return { 0, 0, '0', 0 } end
local most, room = tonumber(ARGV[3]), tonumber(ARGV[4])
local at = below(l, tonumber(ARGV[2]) + 1)
local messages, bytes, last = 0, 0, ARGV[2]
while at < l.len and messages < most and bytes < room do
  for _, row in ipairs(redis.call('LRANGE', l.queue, at, at + 15)) do
    messages, bytes, last, at = messages + 1, bytes + #row - OVERHEAD, text(number(row)), at + 1
  end
end
return { messages, bytes, last, at < l.len and 1 or 0 }
