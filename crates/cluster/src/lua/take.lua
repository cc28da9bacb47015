-- KEYS: the bucket, the index of its shard, meta. ARGV: node, owner, requests and tokens it has, requests and tokens it
-- wants, how long a slice lives, the limits a minute and a day (-1: none), when the day ends (0: not said), what this node
-- has used of the day (-1: not said); then reports: age, requests, tokens.
local now = now_ms()
local generation, hold_until = run_of(KEYS[3], now)
local b = load_bucket(KEYS[1], ARGV[1])
-- One whose limits were not known may have been struck from the index.
if b.R < 0 and b.T < 0 and b.D < 0 then b.o = 0 end
b.R, b.T, b.D = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
return { now, generation, draw(b, KEYS[2], now, generation, hold_until, {
  node = ARGV[1], owner = ARGV[2],
  have_r = tonumber(ARGV[3]), have_t = tonumber(ARGV[4]), want_r = tonumber(ARGV[5]), want_t = tonumber(ARGV[6]),
  ttl = tonumber(ARGV[7]), day_end = tonumber(ARGV[11]), day_used = tonumber(ARGV[12]), from = 13, to = #ARGV,
}) }
