-- Deletes dead letters of a node. ARGV: node, epoch, ids. Returns how many.

if fenced() then return { 'fenced' } end
local gone = 0
for at = 3, #ARGV do
  if redis.call('HGET', 'lnr_dead_letter:' .. ARGV[at], 'owner') == ARGV[1] then
    drop_letter(ARGV[at])
    gone = gone + 1
  end
end
return { 'ok', gone }
