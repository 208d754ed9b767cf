-- Chunks of a job's rows. Each function is atomic. Its keys are those of one job, in one slot:
-- 1 plan (hash), 2 work (stream, group g), 3 out (stream), 4 done (hash), 5 sent (hash),
-- 6 tries (hash), 7 dead (stream), 8 workers (hash).
-- A chunk's id in the stream is its number and "-0". A lease is a consumer and the number of
-- deliveries: streams check neither, so these functions do.

local GROUP = 'g'
-- The consumer of chunks that were handed back: they may be claimed at once.
local NONE = '-'
-- An idle time that is longer than any lease, in milliseconds.
local LAPSED = 86400000
-- The weight of a lease that lapsed while its worker waited for answers, as it last said; that of
-- others is 1, since a chunk of which nothing was sent is hardly the cause.
local IN_FLIGHT = 4

local function state(keys)
  return redis.call('HGET', keys[1], 'state') or 'gone'
end

local function seconds()
  return redis.call('TIME')[1]
end

local function owns(keys, consumer, id, token)
  -- Of a job that has ended there is no stream.
  local pending = redis.pcall('XPENDING', keys[2], GROUP, id, id, 1)
  return #pending == 1 and pending[1][2] == consumer and pending[1][4] == tonumber(token)
end

local function field(entry, name)
  for i = 1, #entry, 2 do
    if entry[i] == name then return entry[i + 1] end
  end
  return ''
end

-- The bytes of a field of an entry of a stream; 0 if the entry is not there.
local function size(stream, id, name)
  local entry = redis.call('XRANGE', stream, id, id)
  if #entry == 0 then return 0 end
  return #field(entry[1][2], name)
end

local function count(keys, name)
  return tonumber(redis.call('HGET', keys[1], name) or '0')
end

local function forget(keys, id)
  redis.call('HINCRBY', keys[1], 'row_bytes', 0 - size(keys[2], id, 'rows'))
  redis.call('XACK', keys[2], GROUP, id)
  redis.call('XDEL', keys[2], id)
  redis.call('HDEL', keys[4], id)
  redis.call('HDEL', keys[5], id)
  redis.call('HDEL', keys[6], id)
end

-- What was announced of a chunk: the seconds of the first time, in 10 digits, and the rows.
local function announced(keys, id)
  local sent = redis.call('HGET', keys[5], id)
  if not sent then return '', 0 end
  return string.sub(sent, 11), math.max(seconds() - string.sub(sent, 1, 10), 0)
end

local function handed(keys, id, token, entry)
  local sent, age = announced(keys, id)
  return {'chunk', id, token, field(entry, 'rows'), redis.call('HGET', keys[4], id) or '', sent, age}
end

-- A chunk: its number, the numbers of its rows, the rows, the number after that of its last row;
-- the number of chunks that may wait for each worker, and at least; the bytes of rows that may.
local function submit(keys, args)
  local now = state(keys)
  if now == 'gone' then return now end
  local id = args[1] .. '-0'
  if tonumber(args[1]) <= count(keys, 'last') then return 'ok' end
  local most = math.max(tonumber(args[6]), tonumber(args[5]) * redis.call('HLEN', keys[8]))
  if redis.call('XLEN', keys[2]) >= most then return 'full' end
  local bytes = count(keys, 'row_bytes')
  if bytes > 0 and bytes + #args[3] > tonumber(args[7]) then return 'full' end
  redis.call('XADD', keys[2], id, 'numbers', args[2], 'rows', args[3])
  redis.call('HSET', keys[1], 'last', args[1], 'end', args[4])
  redis.call('HINCRBY', keys[1], 'row_bytes', #args[3])
  return 'ok'
end

-- A consumer, its lease in milliseconds, the bytes of records that may wait for the collector,
-- the number of deliveries without a record after which a chunk is dead (more of workers that had
-- nothing in flight), and the ids that the
-- consumer holds.
local function claim(keys, args)
  local consumer, lease = args[1], args[2]
  local now = state(keys)
  if now ~= 'running' then return {now} end
  if count(keys, 'record_bytes') >= tonumber(args[3]) then return {'full'} end
  local held = {}
  for i = 5, #args do held[args[i]] = true end
  -- A chunk whose delivery the consumer has not heard of.
  for _, own in ipairs(redis.call('XPENDING', keys[2], GROUP, '-', '+', 1000, consumer)) do
    if not held[own[1]] then
      local entry = redis.call('XRANGE', keys[2], own[1], own[1])
      if #entry == 1 then return handed(keys, own[1], own[4], entry[1][2]) end
      redis.call('XACK', keys[2], GROUP, own[1])
    end
  end
  while true do
    local lapsed = redis.call('XPENDING', keys[2], GROUP, 'IDLE', lease, '-', '+', 1)
    if #lapsed == 0 then break end
    local id, before, idle = lapsed[1][1], lapsed[1][2], lapsed[1][3]
    local entry = redis.call('XCLAIM', keys[2], GROUP, consumer, lease, id)
    if #entry == 1 and entry[1] then
      local tries = 0
      local about = redis.call('HGET', keys[8], before) or ''
      if before ~= NONE then
        local weight = string.find(about, '"in_flight":0,', 1, true) and 1 or IN_FLIGHT
        tries = redis.call('HINCRBY', keys[6], id, weight)
      end
      if tries < IN_FLIGHT * args[4] then
        return handed(keys, id, lapsed[1][4] + 1, entry[1][2])
      end
      local why = before .. ' ' .. about
      local rows, numbers = field(entry[1][2], 'rows'), field(entry[1][2], 'numbers')
      redis.call('XADD', keys[7], 'MAXLEN', '~', 1000, '*', 'chunk', id, 'numbers', numbers,
        'tries', lapsed[1][4], 'last', why, 'idle', idle, 'rows', rows)
      redis.call('XADD', keys[3], '*', 'kind', 'dead', 'chunk', id, 'about', why, 'rows', rows,
        'tries', lapsed[1][4], 'done', redis.call('HGET', keys[4], id) or '',
        'sent', (announced(keys, id)))
      redis.call('HINCRBY', keys[1], 'record_bytes', #rows)
      forget(keys, id)
    else
      redis.call('XACK', keys[2], GROUP, id)
    end
  end
  local new = redis.call('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', 1, 'STREAMS', keys[2], '>')
  if new then
    local entry = new[1][2][1]
    return handed(keys, entry[1], 1, entry[2])
  end
  return {'none'}
end

-- A consumer, a text about it, and the ids and tokens that it holds. Gives the state, and the ids
-- that it has lost.
local function beat(keys, args)
  local consumer = args[1]
  local now = state(keys)
  local answer = {now}
  if now ~= 'gone' and now ~= 'done' then
    redis.call('HSET', keys[8], consumer, seconds() .. ' ' .. args[2])
  end
  for i = 3, #args, 2 do
    if owns(keys, consumer, args[i], args[i + 1]) then
      redis.call('XCLAIM', keys[2], GROUP, consumer, 0, args[i], 'JUSTID')
    else
      answer[#answer + 1] = args[i]
    end
  end
  return answer
end

-- A consumer, an id and token; the rows that are out, as bits; whether that is all of the chunk;
-- records, a text about them, and the number of rows that are ok and that failed.
local function finish(keys, args)
  local consumer, id = args[1], args[2]
  if not owns(keys, consumer, id, args[3]) then return 'lost' end
  if redis.call('HGET', keys[4], id) ~= args[4] then
    redis.call('XADD', keys[3], '*', 'kind', 'records', 'chunk', id, 'about', args[7],
      'rows', args[6])
    redis.call('HINCRBY', keys[1], 'record_bytes', #args[6])
    redis.call('HSET', keys[4], id, args[4])
    redis.call('HDEL', keys[6], id)
    redis.call('HINCRBY', keys[1], 'ok', args[8])
    redis.call('HINCRBY', keys[1], 'failed', args[9])
  end
  if args[5] == '1' then
    forget(keys, id)
  else
    redis.call('XCLAIM', keys[2], GROUP, consumer, 0, id, 'JUSTID')
  end
  return 'ok'
end

-- A consumer, an id and token; the rows that are about to be sent, as bits.
local function announce(keys, args)
  if not owns(keys, args[1], args[2], args[3]) then return 'lost' end
  local before = redis.call('HGET', keys[5], args[2])
  local first = before and string.sub(before, 1, 10) or string.format('%010d', seconds())
  redis.call('HSET', keys[5], args[2], first .. args[4])
  return 'ok'
end

-- A consumer, and the ids and tokens that it hands back. Without any more it leaves.
local function release(keys, args)
  local consumer = args[1]
  for i = 2, #args, 2 do
    if owns(keys, consumer, args[i], args[i + 1]) then
      redis.call('XCLAIM', keys[2], GROUP, NONE, 0, args[i], 'IDLE', LAPSED,
        'RETRYCOUNT', math.max(args[i + 1] - 1, 0), 'JUSTID')
    end
  end
  redis.call('HDEL', keys[8], consumer)
  if redis.call('EXISTS', keys[2]) == 1
    and #redis.call('XPENDING', keys[2], GROUP, '-', '+', 1, consumer) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', keys[2], GROUP, consumer)
  end
  return 'ok'
end

-- A collector, the milliseconds for which it is the only one, and the batches that are safe.
-- Gives the state of the job, its reason and the number of workers, or the other collector.
local function collected(keys, args)
  local now = redis.call('TIME')
  local ms = now[1] * 1000 + math.floor(now[2] / 1000)
  local plan = redis.call('HMGET', keys[1], 'collector', 'collector_until', 'state', 'reason')
  if plan[1] and plan[1] ~= args[1] and tonumber(plan[2]) > ms then return {'other', plan[1]} end
  if not plan[3] then return {'gone'} end
  redis.call('HSET', keys[1], 'collector', args[1], 'collector_until', ms + args[2])
  for i = 3, #args do
    redis.call('HINCRBY', keys[1], 'record_bytes', 0 - size(keys[3], args[i], 'rows'))
    redis.call('XDEL', keys[3], args[i])
  end
  -- Workers that are gone do not wait for chunks.
  for _, one in ipairs(redis.call('HKEYS', keys[8])) do
    local seen = string.match(redis.call('HGET', keys[8], one), '^%d+')
    if now[1] - tonumber(seen) > 3600 then redis.call('HDEL', keys[8], one) end
  end
  return {plan[3], plan[4] or '', tostring(redis.call('HLEN', keys[8]))}
end

-- The chunks after this one, at most so many: their numbers, the numbers of their rows, and the
-- rows if '1' asks for them.
local function waiting(keys, args)
  local all = {}
  for _, entry in ipairs(redis.call('XRANGE', keys[2], '(' .. args[1], '+', 'COUNT', args[2])) do
    all[#all + 1] = entry[1]
    all[#all + 1] = field(entry[2], 'numbers')
    all[#all + 1] = args[3] == '1' and field(entry[2], 'rows') or ''
  end
  return all
end

-- A new state, its reason, and the states that it may follow, of which none is all.
local function set_state(keys, args)
  local now = state(keys)
  if now == 'gone' then return now end
  for i = 3, #args do
    if now == args[i] then now = '' end
  end
  if #args > 2 and now ~= '' then return now end
  redis.call('HSET', keys[1], 'state', args[1], 'reason', args[2])
  return 'ok'
end

-- The fields of a new plan; those of one that is there stay, and 0 says so.
local function create(keys, args)
  local now = state(keys)
  if now ~= 'gone' and now ~= 'done' and now ~= 'cancelled' then return 0 end
  redis.call('DEL', unpack(keys))
  redis.call('HSET', keys[1], unpack(args))
  redis.call('XGROUP', 'CREATE', keys[2], GROUP, '0', 'MKSTREAM')
  return 1
end

-- The last state, and the seconds for which it can still be seen. All else goes.
local function close(keys, args)
  redis.call('DEL', keys[2], keys[3], keys[4], keys[5], keys[6], keys[8])
  redis.call('HSET', keys[1], 'state', args[1])
  redis.call('HDEL', keys[1], 'job')
  redis.call('EXPIRE', keys[1], args[2])
  redis.call('EXPIRE', keys[7], args[2])
  return 'ok'
end

redis.register_function('throng_HASH_submit', submit)
redis.register_function('throng_HASH_claim', claim)
redis.register_function('throng_HASH_beat', beat)
redis.register_function('throng_HASH_finish', finish)
redis.register_function('throng_HASH_announce', announce)
redis.register_function('throng_HASH_release', release)
redis.register_function('throng_HASH_collected', collected)
redis.register_function('throng_HASH_waiting', waiting)
redis.register_function('throng_HASH_set_state', set_state)
redis.register_function('throng_HASH_create', create)
redis.register_function('throng_HASH_close', close)
