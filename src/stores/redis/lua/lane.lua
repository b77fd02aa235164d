-- Finds or creates a lane. ARGV: node, epoch, sender, source topic, receiver, topic, its two composites, the sender's key
-- ('' for the receiver, who remembers no route), a random number. Returns its key and what is known of it.

if fenced() then return { 'fenced' } end
take_though_full()

local sender, source, receiver, topic = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local plain, with_topic = ARGV[7], ARGV[8]
local addrs = hash('lnr_topic:' .. topic .. ':addr')

local function is_subscription()
  local marks = hash('lnr_topic:' .. topic .. ':mark')
  for addr, name in pairs(addrs) do
    local _, subscription = mark(marks, addr, name)
    if name == receiver and subscription == '1' then return true end
  end
  return false
end

local id = redis.call('GET', 'lnr_lane:' .. with_topic)
local l = id and lane(id, '')
if not l then
  id = new_key()
  local composite = free_composite(id, plain, with_topic, not is_subscription())
  l = create(id, composite, with_topic, { sender, source, receiver, topic }, ARGV[10])
end

-- As liner_broker does, so that operators find the peer where they look for it; nothing here reads it.
if ARGV[9] ~= '' then
  for addr, name in pairs(addrs) do
    if name == receiver then redis.call('HSET', 'lnr_sender:' .. ARGV[9] .. ':listener', addr, topic) end
  end
end

local first = redis.call('LINDEX', l.queue, 0)
local reply = {
  'ok', id, l.born, l.spans, redis.call('HGET', l.key .. ':lane', 'predecessor') or '', text(l.acked), text(l.last),
  l.len, l.bytes, first and text(number(first)) or '', l.cursor, redis.call('GET', l.key .. ':mess_number') or '0',
}
for _, part in ipairs(redis.call('HGETALL', l.key .. ':attempts')) do
  reply[#reply + 1] = part
end
return reply
