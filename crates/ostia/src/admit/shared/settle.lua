-- A batch of requests that ended. KEYS: the batch's marker, then what the parcels name by number.
-- ARGV, one parcel after the other. 'over': tokens used, 1 if it was sent, number of claims; 'undo': the ask's marker, number of
-- claims. Then for each claim: counter, measure, limit, lease member, tick, amount. 'away': a counter, and the replica where nobody
-- waits for it.
-- A batch that comes again, as its first answer was lost, changes nothing.
if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', 600000) then
  return 0
end
local at = 0
local function word()
  at = at + 1
  return ARGV[at]
end
local function number()
  return tonumber(word())
end

local function take_back(window, tick, amount)
  local paid = math.min(amount, window.debt)
  window.debt = window.debt - paid
  amount = amount - paid
  for place, other in ipairs(window.ticks) do
    if other == tick then
      local taken = math.min(amount, window.amounts[place])
      window.amounts[place] = window.amounts[place] - taken
      window.total = window.total - taken
      if window.amounts[place] == 0 then
        table.remove(window.ticks, place)
        table.remove(window.amounts, place)
      end
      return
    end
  end
end

local function charge(window, amount, most)
  local fits = math.min(amount, math.max(most - window.total, 0))
  add(window, window.now, fits)
  window.debt = window.debt + amount - fits
end

-- Endpoints that have a place more.
local freed = {}

local function give_back(claim, used, sent)
  if claim.measure == 'f' then
    redis.call('ZREM', claim.key, claim.member)
    if string.find(claim.key, places) then
      freed[claim.key] = true
    end
    return
  end
  if claim.measure == 'r' then
    if sent then
      return
    end
    used = 0
  end
  local kind = kinds[claim.measure]
  local window = load_window(claim.key, kind)
  if claim.measure == 't' then
    window.running = math.max(window.running - claim.amount, 0)
  end
  if used < claim.amount then
    take_back(window, claim.tick, claim.amount - used)
  else
    charge(window, used - claim.amount, claim.most)
  end
  save_window(claim.key, kind, window, claim.most)
end

while at < #ARGV do
  local used, sent, reply = 0, false, nil
  local what, count = word(), nil
  if what == 'away' then
    local key = KEYS[number()]
    withdraw(word(), key)
    freed[key] = true
    count = 0
  elseif what == 'undo' then
    local marker = KEYS[number()]
    local known = redis.call('GET', marker)
    reply = known and known ~= 'over' and cjson.decode(known) or {}
    redis.call('SET', marker, 'over', 'PX', 60000)
  else
    used, sent = number(), word() == '1'
  end
  for place = 1, count or number() do
    local claim = { key = KEYS[number()], measure = word(), most = number(), member = word() }
    claim.tick, claim.amount = number(), number()
    if reply then
      claim.tick, claim.amount = reply[place * 5 - 3], reply[place * 5 - 2]
    end
    if claim.tick then
      give_back(claim, used, sent)
    end
  end
end
for key in pairs(freed) do
  call_first(key)
end
return 1
