-- KEYS: the bucket, meta. ARGV: node, requests and tokens it has, requests and tokens it wants, how long a slice lives, the
-- limits a minute and a day (-1: none), when the day ends (0: not said), what this node has used of the day (-1: not said);
-- then reports: age, requests, tokens.
local now = now_ms()
local generation, hold_until = run_of(KEYS[2], now)
local b = load_bucket(KEYS[1], ARGV[1])
b.R, b.T, b.D = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
return { now, generation, draw(b, now, generation, hold_until, {
  node = ARGV[1],
  have_r = tonumber(ARGV[2]), have_t = tonumber(ARGV[3]), want_r = tonumber(ARGV[4]), want_t = tonumber(ARGV[5]),
  ttl = tonumber(ARGV[6]), day_end = tonumber(ARGV[10]), day_used = tonumber(ARGV[11]), from = 12, to = #ARGV,
}) }
