-- Stores the incarnations of a lane, if it is still as it was found. ARGV: node, epoch, lane, born, the spans and the last
-- number found, the spans to be stored, the newest incarnation, the predecessor.

if fenced() then return { 'fenced' } end
local l = lane(ARGV[3], ARGV[4])
if not l or l.spans ~= ARGV[5] or text(l.last) ~= ARGV[6] then return { 'again' } end
take_though_full()
redis.call('HSET', l.key .. ':lane', 'spans', ARGV[7], 'incarnation', ARGV[8], 'predecessor', ARGV[9])
redis.call('SADD', 'lnr_node_lanes:' .. ARGV[1], ARGV[3])
return { 'ok' }
