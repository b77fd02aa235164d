-- Puts rows aside in the form they are to have. ARGV: node, epoch, list, how many it has already (0: it is begun anew),
-- rows. Asked twice, it does it once.

if fenced() then return { 'fenced' } end
redis.call('SETRANGE', 'lnr_nothing', 0, '')
local list, before, rows = ARGV[3], tonumber(ARGV[4]), #ARGV - 4
if before == 0 then redis.call('DEL', list) end
local there = redis.call('LLEN', list)
if there == before + rows then return { 'ok' } end
if there ~= before then return { 'again' } end
redis.call('RPUSH', list, unpack(ARGV, 5))
return { 'ok' }
