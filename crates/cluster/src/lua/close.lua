-- KEYS: the bucket. ARGV: for how long nothing is given (0: it is open again).
local now = now_ms()
local b = load_bucket(KEYS[1], '')
local time = tonumber(ARGV[1])
b.c = time > 0 and math.max(b.c, now + time) or 0
b.has_moved = true
store(b, now)
return 1
