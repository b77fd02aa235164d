-- Makes the store where there is none. ARGV: a random id, the version, the oldest version that may read it. Returns the
-- id, that version, and the catalogue's version.

for key, kind in pairs({ lnr_store = 'hash', lnr_unique_key = 'string', lnr_catalogue = 'string' }) do
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= kind then return { 'foreign', key } end
end
if redis.call('EXISTS', 'lnr_store') == 0 then
  take_though_full()
  redis.call('HSET', 'lnr_store', 'id', ARGV[1], 'version', ARGV[2], 'min_reader', ARGV[3])
end
local found = redis.call('HMGET', 'lnr_store', 'id', 'min_reader')
return { 'ok', found[1], found[2], redis.call('GET', 'lnr_catalogue') or '0' }
