-- KEYS: rec, facts. Answers with the stream's last id, then subjects and values of all that holds. What says that there is
-- nothing to know (an empty body) goes after an hour.
local now = now_ms()
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
local answer = { last[1] and last[1][1] or '0-0' }
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  local ms, body = string.match(all[at + 1], '^(%d+)-%d+ %d+ %S+ (.?)')
  if ms and body == '' and now - tonumber(ms) > 3600000 then
    redis.call('HDEL', KEYS[1], all[at])
  else
    answer[#answer + 1] = all[at]
    answer[#answer + 1] = all[at + 1]
  end
end
return answer
