-- KEYS: books. ARGV: for how long one counts. Answers with those that were kept in that time, and by whom.
return redis.call('ZRANGEBYSCORE', KEYS[1], now_ms() - ARGV[1], '+inf')
