# SPDX-License-Identifier: Apache-2.0
# A small image with holdfastd and holdfastctl. Configuration at /etc/holdfast/holdfast.conf, data in
# the volume /var/lib/holdfast. Build: docker build -t holdfast .   or: podman build -t holdfast .
FROM debian:bookworm-slim AS build
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends \
    build-essential pkg-config libsqlite3-dev libconfig-dev libnghttp2-dev libhttp-parser-dev \
    libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libjansson-dev libc-ares-dev \
    libsystemd-dev libxxhash-dev libssl-dev && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN make -C /source -j2 BUILD=/tmp/build install DESTDIR=/image PREFIX=/usr && \
    strip /image/usr/bin/holdfastd /image/usr/bin/holdfastctl

FROM debian:bookworm-slim
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends \
    libsqlite3-0 sqlite3 libconfig9 libnghttp2-14 libhttp-parser2.9 libprotobuf-c1 libjansson4 \
    libc-ares2 libsystemd0 libxxhash0 libssl3 && rm -rf /var/lib/apt/lists/* && \
    useradd --system --home-dir /var/lib/holdfast --shell /usr/sbin/nologin holdfast && \
    install -d -o holdfast -g holdfast -m 0750 /var/lib/holdfast
COPY --from=build /image/usr/bin/ /usr/bin/
COPY etc/holdfast.conf /usr/share/doc/holdfast/holdfast.conf
USER holdfast
VOLUME /var/lib/holdfast
EXPOSE 2379 2380
# Healthy is a node that answers, not one that has a leader or whose peers answer: whoever restarts the
# unhealthy would otherwise restart the nodes that are left, and nodes that wait for the first start.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
    CMD ["/usr/bin/holdfastctl", "--endpoints", "127.0.0.1:2379", "--timeout", "2s", "member", "list"]
ENTRYPOINT ["/usr/bin/holdfastd"]
CMD ["-c", "/etc/holdfast/holdfast.conf"]
