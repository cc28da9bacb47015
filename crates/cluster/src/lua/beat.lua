-- KEYS: meta, nodes, the node's hash. ARGV: the server's run id, the schema, the node, then fields of the hash and values.
local now = now_ms()
local answer = greet(KEYS[1], ARGV[1], ARGV[2], now, false)
if answer[1] == 'ok' then
  redis.call('ZADD', KEYS[2], now, ARGV[3])
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - 3600000)
  redis.call('HSET', KEYS[3], unpack(ARGV, 4))
  redis.call('PEXPIRE', KEYS[3], 10000)
end
return answer
