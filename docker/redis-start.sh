#!/bin/sh
# Starts a Redis or a Sentinel of compose.cluster.yaml: `server PRIMARY MAXMEMORY` or `sentinel PRIMARY`, where PRIMARY is the
# address of the first primary. Who is the primary afterwards is in the file in /data, which the Sentinels have rewritten; so
# it is written here only where there is none.
set -eu

kind=$1 primary=$2
password=$(cat /run/secrets/redis_password)
case $password in
  "") echo "the file with Redis' password is empty: openssl rand -hex 24 > redis.password" >&2; exit 1 ;;
  *[!A-Za-z0-9_.-]*) echo "Redis' password may have letters, digits, _, . and - only" >&2; exit 1 ;;
esac

file=/data/$kind.conf
if [ ! -e "$file" ]; then
  case $kind-$(hostname) in
    server-redis-1) ;;
    server-*) echo "replicaof $primary 6379" ;;
    *) cat <<END_OF_SETTINGS ;;
bind 0.0.0.0
dir /data
sentinel monitor gemini-balance $primary 6379 2
sentinel down-after-milliseconds gemini-balance 1000
sentinel failover-timeout gemini-balance 10000
sentinel parallel-syncs gemini-balance 2
END_OF_SETTINGS
  esac > "$file"
fi
# What was written there of a former password would count.
sed -i '/^requirepass /d; /^masterauth /d; /^user default /d; /^sentinel auth-pass /d' "$file"

if [ "$kind" = sentinel ]; then # which reads nothing but its file
  { echo "requirepass $password"; echo "sentinel auth-pass gemini-balance $password"; } >> "$file"
  exec redis-server "$file" --sentinel
fi
# What is read after the file counts. Replicas need the password as well, to follow whoever is the primary.
exec redis-server "$file" - <<END_OF_SETTINGS
bind 0.0.0.0
dir /data
requirepass $password
masterauth $password
save ""
appendonly yes
appendfsync everysec
maxmemory $3
maxmemory-policy noeviction
min-replicas-to-write 1
min-replicas-max-lag 2
repl-diskless-sync-delay 0
END_OF_SETTINGS
