-- The limits that runs share: a value for each account, which clients change by comparing
-- versions. What they do with a value is theirs; here are only its change as one step, the time,
-- and whether this server can have forgotten something.
--
-- All keys hash to one slot. KEYS[1] has the start of the server's memory: the process by its
-- name, an id that changes when something may have been forgotten, the time since which nothing
-- was (microseconds since 1970), and a recent time. KEYS[2] is there for a moment on a server
-- that has never had limits.

local SECOND = 1000000

local function text(number)
  return string.format('%.0f', number)
end

local function time()
  local now = redis.call('TIME')
  return now[1] * SECOND + now[2]
end

-- Whether this server has followed another one, which may have had more.
local function has_followed()
  local info = redis.call('INFO', 'replication')
  return string.match(info, 'master_replid2:0+%s') == nil
end

-- The time since which this process has forgotten nothing.
local function since_start(info, now)
  local up = tonumber(string.match(info, 'uptime_in_seconds:(%d+)'))
  if has_followed() then return now end
  return now - math.max(up - 1, 0) * SECOND
end

-- A memory that starts anew, and what it starts from.
local function begin(key, run, since, now)
  local id = run .. '-' .. text(now)
  redis.call('HSET', key, 'run', run, 'id', id, 'since', text(since), 'seen', text(now))
  return id, since
end

-- The id of the server's memory, and the time since which nothing was forgotten. `keeps` says that
-- nothing is forgotten at a restart; `distrusted` is the id of a memory whose clock was set.
local function memory(keys, keeps, distrusted, now)
  local info = redis.call('INFO', 'server')
  local run = string.match(info, 'run_id:(%x+)')
  local known = redis.call('HMGET', keys[1], 'run', 'id', 'since', 'seen')
  local id = known[2]
  if not id then
    local new = redis.call('GET', keys[2])
    if new == 'fresh' then return begin(keys[1], run, 0, now) end
    if new == 'started' then return begin(keys[1], run, since_start(info, now), now) end
    -- It was emptied.
    return begin(keys[1], run, now, now)
  end
  local since, seen = tonumber(known[3]), tonumber(known[4])
  if id == distrusted or now < seen - SECOND / 10 then return begin(keys[1], run, now, now) end
  if run ~= known[1] then
    if keeps ~= '1' or has_followed() then
      return begin(keys[1], run, since_start(info, now), now)
    end
    redis.call('HSET', keys[1], 'run', run)
  end
  if now > seen + SECOND then redis.call('HSET', keys[1], 'seen', text(now)) end
  return id, since
end

-- Adds an account's version and value to an answer; both are empty where it has none.
local function add_value(answer, key)
  local known = redis.call('HMGET', key, 'version', 'value')
  answer[#answer + 1] = known[1] or ''
  answer[#answer + 1] = known[2] or ''
end

-- The memory, the time, and the versions and values of accounts.
local function read(keys, arguments)
  local now = time()
  local id, since = memory(keys, arguments[1], arguments[2], now)
  local answer = { id, text(since), text(now) }
  for place = 3, #keys do add_value(answer, keys[place]) end
  return answer
end

-- Changes the values whose versions are still those that were read, in the memory in which they
-- were. Gives the memory and the time, as `read` does, and for each account 1, or 0 with the version
-- and the value that it has: so whoever was slower goes on from there without another reading.
-- The third argument is the id of the memory. For each account follow: the version before, the new
-- version, the value, and the milliseconds for which it has to be kept at least.
local function commit(keys, arguments)
  local now = time()
  local id, since = memory(keys, arguments[1], arguments[2], now)
  local answer = { id, text(since), text(now) }
  for place = 3, #keys do
    local key, at = keys[place], (place - 3) * 4 + 4
    local version = redis.call('HGET', key, 'version') or ''
    if id == arguments[3] and version == arguments[at] then
      local kept = math.max(tonumber(arguments[at + 3]), redis.call('PTTL', key))
      redis.call('HSET', key, 'version', arguments[at + 1], 'value', arguments[at + 2])
      redis.call('PEXPIRE', key, text(kept))
      answer[#answer + 1] = 1
    else
      answer[#answer + 1] = 0
      add_value(answer, key)
    end
  end
  return answer
end

redis.register_function('throng_HASH_read', read)
redis.register_function('throng_HASH_commit', commit)
