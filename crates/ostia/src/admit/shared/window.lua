-- Sliding windows, as in admit/window.rs. Time is the server's, so that all replicas count in the same ticks.
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- Requests a second and tokens a minute.
local kinds = { r = { length = 50, span = 20 }, t = { length = 1000, span = 60 } }
-- 30 days: no key stays longer than that without being written.
local longest_ms = 2592000000

local function add(window, tick, amount)
  if amount <= 0 then
    return
  end
  window.total = window.total + amount
  local at = #window.ticks
  while at > 0 and window.ticks[at] > tick do
    at = at - 1
  end
  if at > 0 and window.ticks[at] == tick then
    window.amounts[at] = window.amounts[at] + amount
  else
    table.insert(window.ticks, at + 1, tick)
    table.insert(window.amounts, at + 1, amount)
  end
end

local function expire(window, now, span)
  while window.ticks[1] and window.ticks[1] + span < now do
    local tick = table.remove(window.ticks, 1)
    local amount = table.remove(window.amounts, 1)
    window.total = window.total - amount
    local paid = math.min(amount, window.debt)
    window.debt = window.debt - paid
    add(window, tick + span + 1, paid)
  end
end

local function load_window(key, kind)
  local now = math.floor(now_ms / kind.length)
  local window = { debt = 0, running = 0, total = 0, ticks = {}, amounts = {}, now = now }
  local text = redis.call('GET', key)
  if text then
    local debt, running, rest = string.match(text, '^(%d+) (%d+)(.*)$')
    window.debt, window.running = tonumber(debt), tonumber(running)
    for tick, amount in string.gmatch(rest, '(%d+):(%d+)') do
      -- After a failover the clock may be an earlier one: nothing may count for longer than its span.
      add(window, math.min(tonumber(tick), now), tonumber(amount))
    end
  end
  expire(window, now, kind.span)
  return window
end

local function save_window(key, kind, window, most)
  if window.total == 0 and window.debt == 0 and window.running == 0 then
    redis.call('DEL', key)
    return
  end
  local parts = { string.format('%.0f %.0f', window.debt, window.running) }
  for at, tick in ipairs(window.ticks) do
    parts[#parts + 1] = string.format(' %.0f:%.0f', tick, window.amounts[at])
  end
  -- A debt stays for as long as it takes to pay it.
  local spans = 2 + math.ceil(window.debt / math.max(most, 1))
  local ttl = math.min(spans * (kind.span + 1) * kind.length, longest_ms)
  redis.call('SET', key, table.concat(parts), 'PX', string.format('%.0f', ttl))
end

local function running_leases(key)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now_ms))
  return redis.call('ZCARD', key)
end
