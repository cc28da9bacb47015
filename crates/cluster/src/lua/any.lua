-- KEYS: the index of a shard, meta. ARGV: node, requests and tokens it wants, how long a slice lives, a number by which to
-- begin somewhere, what the names of the shard's buckets begin with; then owners that are of no use. Answers with now, the
-- generation, in how long the first of those without room opens (-1: there is none), and owners and what each gave.
local MOST = 24
local now = now_ms()
local generation, hold_until = run_of(KEYS[2], now)
local node, want_r, want_t = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local of_no_use = {}
for at = 7, #ARGV do of_no_use[ARGV[at]] = true end

local count = redis.call('ZCOUNT', KEYS[1], '-inf', now)
local owners = {}
if count > 0 then
  local first = tonumber(ARGV[5]) % count
  owners = redis.call('ZRANGE', KEYS[1], first, math.min(first + MOST, count) - 1)
  local more = math.min(MOST - #owners, first)
  if more > 0 then
    for _, owner in ipairs(redis.call('ZRANGE', KEYS[1], 0, more - 1)) do owners[#owners + 1] = owner end
  end
end

local answer, rest_r = {}, want_r
for _, owner in ipairs(owners) do
  if rest_r <= 0 then break end
  if not of_no_use[owner] then
    local b = load_bucket(ARGV[6] .. owner, node)
    if b.R < 0 and b.T < 0 and b.D < 0 then
      -- It is there no more, or nobody has drawn from it yet: what its limits are is not known here.
      redis.call('ZREM', KEYS[1], owner)
    else
      local drawn = draw(b, KEYS[1], now, generation, hold_until, {
        node = node, owner = owner, want_r = rest_r, want_t = math.ceil(want_t * rest_r / want_r),
        ttl = tonumber(ARGV[4]), day_end = 0, day_used = -1, from = 1, to = 0,
      })
      rest_r = rest_r - drawn[1]
      answer[#answer + 1] = owner
      answer[#answer + 1] = drawn
    end
  end
end

local next_at = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return { now, generation, next_at[2] and tonumber(next_at[2]) - now or -1, answer }
