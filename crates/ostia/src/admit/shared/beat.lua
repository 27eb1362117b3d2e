-- A replica lives. KEYS: the replicas, then counters of requests in flight.
-- ARGV: its name, lease milliseconds, 'stay' or 'leave'; then the number of a counter and a member for each lease that it holds.
-- Reply: how many replicas there are.
local name, lease_ms = ARGV[1], tonumber(ARGV[2])
local ends = string.format('%.0f', now_ms + lease_ms)
if ARGV[3] == 'leave' then
  redis.call('ZREM', KEYS[1], name)
  return running_leases(KEYS[1])
end
redis.call('ZADD', KEYS[1], ends, name)
redis.call('PEXPIRE', KEYS[1], lease_ms)
for at = 4, #ARGV, 2 do
  local key = KEYS[tonumber(ARGV[at])]
  redis.call('ZADD', key, ends, ARGV[at + 1])
  redis.call('PEXPIRE', key, lease_ms)
end
return running_leases(KEYS[1])
