-- Moves the routes of a topic from the legacy key, where the topic is escaped, to ours. ARGV: node, epoch, escaped topic,
-- topic.

if fenced() then return { 'fenced' } end
local from, to = 'lnr_topic:' .. ARGV[3], 'lnr_topic:' .. ARGV[4]
-- A topic of ours may look like an escaped one. So this is done once, before there are any of ours.
if redis.call('HEXISTS', 'lnr_store', 'renamed') == 1 then return { 'ok' } end
if redis.call('EXISTS', from .. ':mark') == 1 or redis.call('EXISTS', from .. ':key') == 0 then return { 'ok' } end
take_though_full()
for addr, name in pairs(hash(from .. ':addr')) do
  redis.call('HSETNX', to .. ':addr', addr, name)
end
redis.call('DEL', from .. ':addr')
bump()
return { 'ok' }
