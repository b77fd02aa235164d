-- The catalogue. ARGV: node, epoch, what to do, and what with. `register`, `seed` and `topics` are fenced by nothing.

local op = ARGV[3]
local node = ARGV[1]
if op ~= 'register' and op ~= 'seed' and op ~= 'topics' and fenced() then return { 'fenced' } end
if op ~= 'topics' then take_though_full() end

local function keys(topic)
  local key = 'lnr_topic:' .. topic
  return key .. ':addr', key .. ':mark', key .. ':tombstones'
end

local function renew(lease)
  local key, at = 'lnr_node:' .. node, now()
  local found = redis.call('HMGET', key, 'epoch', 'lease_until')
  if not found[1] then redis.call('HSET', key, 'epoch', ARGV[2], 'released', '0') end
  redis.call('HSET', key, 'lease_until', text(at + tonumber(lease)))
  -- A lease that goes on changes no reply.
  if not (found[2] and tonumber(found[2]) > at) then bump() end
end

local ops = {}

function ops.register()
  local key = 'lnr_node:' .. node
  local before = redis.call('HGET', key, 'released')
  local epoch = redis.call('HINCRBY', key, 'epoch', 1)
  redis.call('HSET', key, 'released', '0')
  bump()
  return { 'ok', epoch, (before == false or before == '1') and 1 or 0 }
end

function ops.publish(topic, addr, subscription, lease)
  local addrs, marks, tombstones = keys(topic)
  local marked = hash(marks)
  local there = hash(addrs)
  for other, name in pairs(there) do
    if name == node and other ~= addr and mark(marked, other, name) > 0 then
      redis.call('HDEL', addrs, other)
      redis.call('HDEL', marks, other)
    end
  end
  -- A row of an operator for this node keeps having no lease.
  local operators = there[addr] == node and mark(marked, addr, node) == 0
  redis.call('HSET', addrs, addr, node)
  redis.call('HSET', marks, addr, (operators and '0' or ARGV[2]) .. ':' .. subscription .. ':' .. node)
  redis.call('HDEL', tombstones, node)
  redis.call('SADD', 'lnr_node_topics:' .. node, topic)
  local key = 'lnr_topic:' .. topic .. ':key'
  if redis.call('EXISTS', key) == 0 then redis.call('SET', key, new_key()) end
  renew(lease)
  bump()
  return { 'ok' }
end

function ops.unpublish(topic)
  local addrs, marks, tombstones = keys(topic)
  for addr, name in pairs(hash(addrs)) do
    if name == node then
      redis.call('HDEL', addrs, addr)
      redis.call('HDEL', marks, addr)
    end
  end
  redis.call('SREM', 'lnr_node_topics:' .. node, topic)
  redis.call('HSET', tombstones, node, 'unpublished')
  bump()
  return { 'ok' }
end

function ops.seed(topic, name, addr)
  local addrs, marks = keys(topic)
  if redis.call('HSETNX', addrs, addr, name) == 1 then
    redis.call('HDEL', marks, addr)
    bump()
  end
  return { 'ok' }
end

function ops.tombstone(topic, name, unsubscribed)
  local _, _, tombstones = keys(topic)
  if unsubscribed == '1' then
    redis.call('HSET', tombstones, name, 'told')
  else
    redis.call('HDEL', tombstones, name)
  end
  bump()
  return { 'ok' }
end

function ops.renew(lease)
  renew(lease)
  return { 'ok' }
end

function ops.release()
  for _, topic in ipairs(redis.call('SMEMBERS', 'lnr_node_topics:' .. node)) do
    local addrs, marks = keys(topic)
    local marked = hash(marks)
    for addr, name in pairs(hash(addrs)) do
      if name == node and mark(marked, addr, name) > 0 then
        redis.call('HDEL', addrs, addr)
        redis.call('HDEL', marks, addr)
      end
    end
  end
  redis.call('DEL', 'lnr_node_topics:' .. node)
  if redis.call('EXISTS', 'lnr_node:' .. node) == 1 then
    redis.call('HSET', 'lnr_node:' .. node, 'released', '1', 'lease_until', '0')
  end
  bump()
  return { 'ok' }
end

-- Rows (node, address, without a lease, live, subscription), and tombstones.
local function entry(topic, at)
  local addrs, marks, tombstones = keys(topic)
  local marked, there, rows, gone = hash(marks), {}, {}, {}
  for addr, name in pairs(hash(addrs)) do
    local epoch, subscription = mark(marked, addr, name)
    local live = epoch == 0
    if not live then
      local found = redis.call('HMGET', 'lnr_node:' .. name, 'epoch', 'lease_until')
      live = tonumber(found[1] or 0) == epoch and tonumber(found[2] or 0) > at
    end
    there[name] = true
    rows[#rows + 1] = { name, addr, epoch == 0 and 1 or 0, live and 1 or 0, tonumber(subscription) }
  end
  for name, how in pairs(hash(tombstones)) do
    if how == 'told' or not there[name] then gone[#gone + 1] = name end
  end
  return rows, gone
end

-- Rows and tombstones of each topic: all of one moment.
function ops.topics(...)
  local reply, at = { 'ok' }, now()
  for _, topic in ipairs({ ... }) do
    local rows, gone = entry(topic, at)
    reply[#reply + 1] = rows
    reply[#reply + 1] = gone
  end
  return reply
end

function ops.clear(topic)
  local addrs, marks = keys(topic)
  local gone = redis.call('HLEN', addrs)
  redis.call('DEL', addrs, marks)
  bump()
  return { 'ok', gone }
end

-- `name` goes from these topics, and from what these nodes remember.
function ops.forget(name, topics, ...)
  local gone, named = 0, { ... }
  for at = 1, #named do
    if at <= tonumber(topics) then
      local addrs, marks, tombstones = keys(named[at])
      for addr, of in pairs(hash(addrs)) do
        if of == name then
          gone = gone + redis.call('HDEL', addrs, addr)
          redis.call('HDEL', marks, addr)
        end
      end
      gone = gone + redis.call('HDEL', tombstones, name)
    else
      gone = gone + redis.call('HDEL', 'lnr_peers:' .. named[at], name)
    end
  end
  bump()
  return { 'ok', gone }
end

function ops.remember(peer, addr)
  redis.call('HSET', 'lnr_peers:' .. node, peer, addr)
  return { 'ok' }
end

-- What liner_broker left for the node was searched for when `made` keys had been made.
function ops.searched(made)
  redis.call('HSET', 'lnr_node:' .. node, 'searched', made)
  redis.call('HSETNX', 'lnr_store', 'renamed', '1')
  return { 'ok' }
end

return ops[op](unpack(ARGV, 4))
