# Stands in for v2rayA where its image cannot be pulled: a SOCKS5 proxy on the same port.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends microsocks && rm -rf /var/lib/apt/lists/*
USER 65532:65532
STOPSIGNAL SIGKILL
ENTRYPOINT ["microsocks", "-i", "0.0.0.0", "-p", "20170"]
