-- KEYS: the claim. ARGV: the node, its patience in ms. Answers with 1 if it is the node's now. Who has it already keeps it:
-- the first answer may have been lost.
local holder = redis.call('GET', KEYS[1])
if not holder or holder == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1
end
return 0
