-- Brings the routes of a topic from liner_broker's name of its key to ours. ARGV: node, epoch, the topic as liner_broker
-- writes it, the topic.

if fenced() then return { 'fenced' } end
local from, to = 'lnr_topic:' .. ARGV[3], 'lnr_topic:' .. ARGV[4]
-- A topic of ours may look like one that is escaped. So it is done once, before there are any.
if redis.call('HEXISTS', 'lnr_store', 'renamed') == 1 then return { 'ok' } end
if redis.call('EXISTS', from .. ':mark') == 1 or redis.call('EXISTS', from .. ':key') == 0 then return { 'ok' } end
take_though_full()
for addr, name in pairs(hash(from .. ':addr')) do
  redis.call('HSETNX', to .. ':addr', addr, name)
end
redis.call('DEL', from .. ':addr')
bump()
return { 'ok' }
