-- KEYS: the bucket, the index of its shard. ARGV: owner, for how long nothing is given (0: it is open again).
local now = now_ms()
local is = redis.call('HMGET', KEYS[1], 'c', 'de')
local time = tonumber(ARGV[2])
local until_ = 0
if time > 0 then until_ = math.max(tonumber(is[1] or 0), now + time) end
redis.call('HSET', KEYS[1], 'c', until_)
redis.call('PEXPIRE', KEYS[1], math.max(KEPT, until_ - now, tonumber(is[2] or 0) - now))
index(KEYS[2], ARGV[1], until_)
return 1
