-- One admission: room under every claim, or nothing taken.
-- KEYS: the ask's marker, then a counter for each claim.
-- ARGV: lease member, lease milliseconds, named and guessed tokens, 'take' or 'look', who asks (JSON) or nothing; then measure
-- and limit of each claim.
-- Reply of a grant: 1, then tick, amount, total, debt, milliseconds until empty of each claim.
-- Reply of a denial: 0, the claim, milliseconds to wait, whether running requests may give enough back; then total, debt,
-- milliseconds until empty of each claim. A look is a denial by claim 0. Reply 2: the ask was undone before it came.
local marker, member = KEYS[1], ARGV[1]
local lease_ms, named, guessed = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local is_look = ARGV[5] == 'look'
local turn = ARGV[6] ~= '' and cjson.decode(ARGV[6])

local known = not is_look and redis.call('GET', marker)
if known == 'over' then
  return { 2 }
elseif known then
  -- The same question again, as its first answer was lost.
  return cjson.decode(known)
end

local function need(claim)
  return claim.measure == 't' and math.min(named, claim.most) or 1
end

local function wait_for(window, kind, amount, most)
  local at = window.now
  for _ = 1, 600 do
    if (window.debt == 0 and window.total + amount <= most) or not window.ticks[1] then
      break
    end
    at = math.max(window.ticks[1] + kind.span + 1, at)
    expire(window, at, kind.span)
  end
  return math.max(at * kind.length - now_ms, 0)
end

if turn then
  turn = ranked(turn)
end

-- The claim of a place for which others may wait, and its own replica's waiter.
local place, own
local claims, denied = {}, 0
for at = 2, #KEYS do
  local claim = { key = KEYS[at], measure = ARGV[3 + at * 2], most = tonumber(ARGV[4 + at * 2]), debt = 0, reset = 0 }
  local kind = kinds[claim.measure]
  if kind then
    local window = load_window(claim.key, kind)
    claim.kind, claim.window = kind, window
    claim.total, claim.debt = window.total, window.debt
    local last = window.ticks[#window.ticks]
    claim.reset = last and math.max((last + kind.span + 1) * kind.length - now_ms, 0) or 0
  else
    claim.total = running_leases(claim.key)
  end
  local is_others = false
  if turn and string.find(claim.key, places) then
    place = claim
    is_others, own = is_preceded(turn, claim.key)
  end
  claims[#claims + 1] = claim
  local room = math.max(claim.most - claim.total, 0)
  if denied == 0 and (room < need(claim) or claim.debt > 0 or is_others) then
    denied = #claims
  end
end

if is_look or denied > 0 then
  local reply = { 0, 0, 0, 0 }
  for _, claim in ipairs(claims) do
    reply[#reply + 1] = claim.total
    reply[#reply + 1] = claim.debt
    reply[#reply + 1] = claim.reset
  end
  if is_look then
    return reply
  end
  local claim = claims[denied]
  local window = claim.window
  if claim == place then
    if turn.waits then
      wait(turn, place.key)
    end
    if place.total < place.most then
      -- Another replica's turn: it may not know.
      call_first(place.key)
    end
  elseif place and own and is_same(own, turn) then
    withdraw(turn.replica, place.key)
  end
  reply[2] = denied
  if not window then
    reply[3], reply[4] = 1000, 1
    return reply
  end
  local stays = window.total - window.running
  if claim.measure == 't' and window.running > window.debt and stays + need(claim) <= claim.most then
    reply[4] = 1
  end
  reply[3] = wait_for(window, claim.kind, need(claim), claim.most)
  return reply
end

local reply = { 1 }
for _, claim in ipairs(claims) do
  local amount, tick = 1, 0
  local window = claim.window
  if window then
    tick = window.now
    if claim.measure == 't' then
      amount = math.min(named + guessed, claim.most - window.total)
      window.running = window.running + amount
    end
    add(window, tick, amount)
    save_window(claim.key, claim.kind, window, claim.most)
    claim.reset = (claim.kind.span + 1) * claim.kind.length
  else
    redis.call('ZADD', claim.key, string.format('%.0f', now_ms + lease_ms), member)
    redis.call('PEXPIRE', claim.key, lease_ms)
  end
  reply[#reply + 1] = tick
  reply[#reply + 1] = amount
  reply[#reply + 1] = claim.total + amount
  reply[#reply + 1] = claim.debt
  reply[#reply + 1] = claim.reset
end
if turn then
  serve(turn)
end
if place then
  local behind = turn.next
  if behind ~= cjson.null then
    local class, project, user = unpack(behind)
    wait({ replica = turn.replica, pool = turn.pool, class = class, project = project, user = user, since = now_ms }, place.key)
  elseif own and is_same(own, turn) then
    withdraw(turn.replica, place.key)
  end
  if place.total + 1 < place.most then
    call_first(place.key)
  end
end
redis.call('SET', marker, cjson.encode(reply), 'PX', 30000)
return reply
