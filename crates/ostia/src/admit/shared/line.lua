-- Whose turn it is among replicas, in the order of admit/fair.rs.
-- ostia:fair:POOL: counters of projects and of users in them, and of those who were served last; by class.
-- COUNTER:line, for a counter of requests in flight: of each replica the waiter whose turn it is there, a while after its last try.
local waiter_ms, fair_ms, most_counters = 2000, 600000, 20000
local places = '^ostia:f:endpoint:'

-- Its counters, their names, and the counters of those who were served last.
local function counters(who)
  local project = #who.project .. ':' .. who.project
  local names = { who.class .. 'p' .. project, who.class .. 'u' .. project .. who.user, who.class .. 'P', who.class .. 'U' .. project }
  local found = redis.call('HMGET', 'ostia:fair:' .. who.pool, unpack(names))
  for at = 1, 4 do
    found[at] = tonumber(found[at] or found[at + 2] or 0)
  end
  return found, names
end

local function keep(who, names, values)
  local key, words = 'ostia:fair:' .. who.pool, {}
  for at, name in ipairs(names) do
    words[#words + 1] = name
    words[#words + 1] = string.format('%.17g', values[at])
  end
  if redis.call('HLEN', key) > most_counters then
    -- Everybody starts anew, alike.
    redis.call('DEL', key)
  end
  redis.call('HSET', key, unpack(words))
  redis.call('PEXPIRE', key, fair_ms)
end

-- Its place in the order. What is new saved nothing up but the service of two requests, as in admit/fair.rs.
local function ranked(who)
  local found, names = counters(who)
  local by_project, by_user = found[1], found[2]
  if who.new_project then
    by_project = math.max(by_project, found[3] - 2 * who.service / math.max(who.project_share, 1))
  end
  if who.new_user then
    by_user = math.max(by_user, found[4] - 2 * who.service / math.max(who.user_share, 1))
  end
  if who.new_project or who.new_user then
    keep(who, { names[1], names[2] }, { by_project, by_user })
  end
  who.by_project, who.by_user = by_project, by_user
  return who
end

local function serve(who)
  local found, names = counters(who)
  keep(who, names, {
    found[1] + who.service / math.max(who.project_share, 1),
    found[2] + who.service / math.max(who.user_share, 1),
    math.max(found[3], found[1]),
    math.max(found[4], found[2]),
  })
end

-- A total order, so that somebody is always first.
local function precedes(one, other)
  if one.class ~= other.class then
    return one.class == 'interactive'
  elseif one.project ~= other.project then
    if one.by_project ~= other.by_project then
      return one.by_project < other.by_project
    end
    return one.project < other.project
  elseif one.by_user ~= other.by_user then
    return one.by_user < other.by_user
  elseif one.since ~= other.since then
    return one.since < other.since
  end
  return one.replica < other.replica
end

-- Those who wait for a place, one of each replica.
local function waiting(key)
  local line, all = redis.call('HGETALL', key .. ':line'), {}
  for at = 1, #line, 2 do
    local who = cjson.decode(line[at + 1])
    if who.ends < now_ms then
      redis.call('HDEL', key .. ':line', line[at])
    else
      who.new_project, who.new_user = false, false
      all[#all + 1] = ranked(who)
    end
  end
  return all
end

local function is_same(one, other)
  return one.pool == other.pool and one.class == other.class and one.project == other.project and one.user == other.user
end

-- Whether one of another replica goes first, and the waiter of its own replica.
local function is_preceded(who, key)
  local is, own = false, nil
  local all = waiting(key)
  for _, other in ipairs(all) do
    if other.replica == who.replica then
      own = other
    end
  end
  who.since = own and is_same(own, who) and own.since or now_ms
  for _, other in ipairs(all) do
    if other.replica ~= who.replica and other.pool == who.pool and precedes(other, who) then
      is = true
    end
  end
  return is, own
end

-- It waits, instead of the one of its replica that waited before it: each replica knows who is next there.
local function wait(who, key)
  local kept = {}
  for _, name in ipairs({ 'replica', 'pool', 'class', 'project', 'user', 'since' }) do
    kept[name] = who[name]
  end
  kept.ends = now_ms + waiter_ms
  redis.call('HSET', key .. ':line', who.replica, cjson.encode(kept))
  redis.call('PEXPIRE', key .. ':line', waiter_ms)
end

local function withdraw(replica, key)
  redis.call('HDEL', key .. ':line', replica)
end

-- Tells the replica whose waiter goes first, of each pool. A replica that does not listen is dead, or looks by itself: it holds
-- up nobody.
local function call_first(key)
  local called, withdrawn = {}, false
  repeat
    local firsts = {}
    for _, who in ipairs(waiting(key)) do
      local first = firsts[who.pool]
      if not first or precedes(who, first) then
        firsts[who.pool] = who
      end
    end
    withdrawn = false
    for pool, who in pairs(firsts) do
      if not called[pool] then
        called[pool] = redis.call('PUBLISH', 'ostia:call:' .. who.replica, key) > 0
        if not called[pool] then
          withdraw(who.replica, key)
          withdrawn = true
        end
      end
    end
  until not withdrawn
end
