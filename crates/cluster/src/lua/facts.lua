-- KEYS: facts. ARGV: the last fact that was read, how many to read at most. Answers with nil if that one is there no more:
-- then some after it may be gone too.
local after = ARGV[1]
if after == '0-0' then
  -- Up to this length nothing was ever cut off; beyond it something may have been.
  if redis.call('XLEN', KEYS[1]) > 10000 then
    return false
  end
elseif #redis.call('XRANGE', KEYS[1], after, after) == 0 then
  return false
end
return redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', ARGV[2])
