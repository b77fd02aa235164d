-- A page. ARGV: lane, the number after which it starts, its messages and its bytes at most. Returns whether the queue
-- ends with it, and the rows.

local l = lane(ARGV[1], '')
if not l then return { 1 } end
local most, room = tonumber(ARGV[3]), tonumber(ARGV[4])
local at = below(l, tonumber(ARGV[2]) + 1)
local reply, bytes, largest, chunk = { 0 }, 0, 1, 1
while at < l.len and #reply <= most do
  chunk = math.min(chunk, most - #reply + 1)
  for _, row in ipairs(redis.call('LRANGE', l.queue, at, at + chunk - 1)) do
    local size = #row - OVERHEAD
    if #reply > 1 and bytes + size > room then return reply end
    reply[#reply + 1] = row
    at, bytes, largest = at + 1, bytes + size, math.max(largest, size)
  end
  -- Rows that do not fit are read for nothing: no more of them than were read already.
  chunk = math.max(1, math.min(2 * chunk, 256, math.floor((room - bytes) / largest)))
end
if at >= l.len then reply[1] = 1 end
return reply
