-- KEYS: a table, the index of its step. ARGV: when its time begins (seconds), the book, how long such a table is kept, the
-- stamp before, the stamp after, how many cells are written, then these with their labels, then the labels of those that are
-- removed. Answers with what became of it.
local now, at, kept = now_ms(), tonumber(ARGV[1]), tonumber(ARGV[3])
local left = at * 1000 + kept - now
if left <= 0 then
  return 'past'
end
local stamp = redis.call('HGET', KEYS[1], 's') or ''
if stamp == ARGV[5] then
  return 'written'
end
if stamp ~= ARGV[4] then
  return 'stale'
end
local removed_from = 7 + 2 * tonumber(ARGV[6])
redis.call('HSET', KEYS[1], 's', ARGV[5], unpack(ARGV, 7, removed_from - 1))
if removed_from <= #ARGV then
  redis.call('HDEL', KEYS[1], unpack(ARGV, removed_from))
end
redis.call('PEXPIRE', KEYS[1], left)
redis.call('ZADD', KEYS[2], at, ARGV[1] .. ' ' .. ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', math.floor((now - kept) / 1000))
redis.call('PEXPIRE', KEYS[2], kept)
return 'written'
