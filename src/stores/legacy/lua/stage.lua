-- Appends converted rows to a list of staged rows. ARGV: node, epoch, list, its current length (0 starts the list again),
-- rows. Idempotent.

if fenced() then return { 'fenced' } end
redis.call('SETRANGE', 'lnr_nothing', 0, '')
local list, before, rows = ARGV[3], tonumber(ARGV[4]), #ARGV - 4
if before == 0 then redis.call('DEL', list) end
local there = redis.call('LLEN', list)
if there == before + rows then return { 'ok' } end
if there ~= before then return { 'again' } end
redis.call('RPUSH', list, unpack(ARGV, 5))
return { 'ok' }
