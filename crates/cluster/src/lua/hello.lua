-- KEYS: meta. ARGV: the server's run id, the schema that the node knows.
return greet(KEYS[1], ARGV[1], ARGV[2], now_ms(), true)
