-- Service that users got, summed over all replicas by minute. ARGV: whose it is and how much came on top, in turn.
-- Reply: the minute, and the sums of it and of the minute before.
local minute = math.floor(now_ms / 60000)
local function name(of)
  return string.format('%s:%.0f', KEYS[1], of)
end
for at = 1, #ARGV, 2 do
  redis.call('HINCRBYFLOAT', name(minute), ARGV[at], ARGV[at + 1])
end
if #ARGV > 0 then
  redis.call('PEXPIRE', name(minute), 180000)
end
return { minute, redis.call('HGETALL', name(minute)), redis.call('HGETALL', name(minute - 1)) }
