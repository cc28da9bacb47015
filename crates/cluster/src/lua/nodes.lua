-- KEYS: nodes. ARGV: how many at most. Answers with now, and who was heard in the last ten seconds, and when.
local now = now_ms()
local beats = redis.call('ZRANGEBYSCORE', KEYS[1], now - 10000, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[1])
return { now, beats }
