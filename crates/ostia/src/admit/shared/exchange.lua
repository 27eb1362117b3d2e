-- Service that users got, summed over all replicas by minute. ARGV, in turn: whose it is (JSON: pool, class, project, user), how
-- much came on top, the part of it that was not counted when requests were let in, the project's share and the user's.
-- Reply: the minute, and the sums of it and of the minute before.
local minute = math.floor(now_ms / 60000)
local function name(of)
  return string.format('%s:%.0f', KEYS[1], of)
end
for at = 1, #ARGV, 5 do
  redis.call('HINCRBYFLOAT', name(minute), ARGV[at], ARGV[at + 1])
  local correction = tonumber(ARGV[at + 2])
  if correction ~= 0 then
    local whose = cjson.decode(ARGV[at])
    local who = { pool = whose[1], class = whose[2], project = whose[3], user = whose[4] }
    local found, names = counters(who)
    keep(who, { names[1], names[2] }, {
      found[1] + correction / math.max(tonumber(ARGV[at + 3]), 1),
      found[2] + correction / math.max(tonumber(ARGV[at + 4]), 1),
    })
  end
end
if #ARGV > 0 then
  redis.call('PEXPIRE', name(minute), 180000)
end
return { minute, redis.call('HGETALL', name(minute)), redis.call('HGETALL', name(minute - 1)) }
