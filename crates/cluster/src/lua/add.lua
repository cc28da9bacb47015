-- KEYS: sums. ARGV: node, number, how long they are kept, then fields and what is added to each. Answers with 1 if it was
-- added, 0 if that had been done before, and with what the fields come to.
local numbered = 'q:' .. ARGV[1]
local is_new = tonumber(ARGV[2]) > tonumber(redis.call('HGET', KEYS[1], numbered) or 0)
local answer = { is_new and 1 or 0 }
if is_new then
  redis.call('HSET', KEYS[1], numbered, ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
for at = 4, #ARGV, 2 do
  if is_new then
    answer[#answer + 1] = redis.call('HINCRBY', KEYS[1], 'f:' .. ARGV[at], ARGV[at + 1])
  else
    answer[#answer + 1] = redis.call('HGET', KEYS[1], 'f:' .. ARGV[at]) or 0
  end
end
return answer
