-- KEYS: the bucket, the index of its shard. ARGV: owner, for how long nothing is given (0: it is open again).
local now = now_ms()
local b = load_bucket(KEYS[1], '')
local time = tonumber(ARGV[2])
b.c = time > 0 and math.max(b.c, now + time) or 0
b.o, b.has_moved = 0, true
store(b, now)
index(KEYS[2], ARGV[1], b.c)
return 1
