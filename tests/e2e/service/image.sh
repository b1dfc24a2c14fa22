#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# image.sh: the Dockerfile built by podman on a base made from Debian's packages, and three containers of it
# that know each other by name. A container made anew has another address under its old name; the others
# must find it. Needs root, podman, runc, netavark, aardvark-dns, iptables, debootstrap, git and Debian's packages.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source_tree=$(cd "$here/../../.." && pwd)
. "$here/base.sh"
need debootstrap podman runc git tar iptables

WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/holdfast-image-XXXXXX")
network=holdfast-$$
# A store of its own: nothing of this stays in the machine's podman.
cat >"$WORK/containers.conf" <<CONF
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "$WORK/networks"
CONF
cat >"$WORK/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$WORK/storage"
runroot = "$WORK/run"
CONF
echo 'unqualified-search-registries = ["localhost"]' >"$WORK/registries.conf"
export CONTAINERS_CONF=$WORK/containers.conf CONTAINERS_STORAGE_CONF=$WORK/storage.conf
export CONTAINERS_REGISTRIES_CONF=$WORK/registries.conf



finish() {
    for i in n1 n2 n3 squatter; do podman rm -f -t 0 "$network-$i" >/dev/null 2>&1 || true; done
    for i in 1 2 3; do podman volume rm -f "$network-n$i" >/dev/null 2>&1 || true; done
    podman network rm -f "$network" >/dev/null 2>&1 || true
    podman rmi -af >/dev/null 2>&1 || true
    umount "$WORK"/storage/overlay 2>/dev/null || true
    rm -rf --one-file-system "$WORK"
}
trap finish EXIT

make_base "$WORK/base"
tar -C "$WORK/base" -c . | podman import -q - localhost/debian:bookworm-slim >/dev/null
rm -rf "$WORK/base"

say "building the image"
mkdir "$WORK/context"
(cd "$source_tree" && git ls-files -z | tar --null -T - -c) | tar -C "$WORK/context" -x
podman build --format docker --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --pull=never -q -t localhost/holdfast "$WORK/context" >"$WORK/build.log" 2>&1 ||
    { tail -n 40 "$WORK/build.log" >&2; fail "podman build"; }
say "built: $(podman image inspect localhost/holdfast --format '{{.Size}}' | awk '{printf "%.0f MB with its base", $1 / 1e6}')"

# --internal: no way out, so names that are gone are not asked for at a name server far away
podman network create --internal "$network" >/dev/null
for i in 1 2 3; do
    cat >"$WORK/n$i.conf" <<CONF
cluster = "image"; node = "n$i"; data_dir = "/var/lib/holdfast/data";
listen_client = "0.0.0.0:2379"; listen_peer = "0.0.0.0:2380";
members = (
    { name = "n1"; peer = "$network-n1:2380"; client = "$network-n1:2379"; },
    { name = "n2"; peer = "$network-n2:2380"; client = "$network-n2:2379"; },
    { name = "n3"; peer = "$network-n3:2380"; client = "$network-n3:2379"; }
);
CONF
    chmod 0644 "$WORK/n$i.conf"
done
start() { # start N: a new container with the node's old volume
    # podman leaves health checks to systemd's timers, which need not be here; one is run by hand below
    podman run -d --health-interval=disable --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network "$network" --name "$network-n$1" \
        --hostname "$network-n$1" -v "$WORK/n$1.conf:/etc/holdfast/holdfast.conf:ro" -v "$network-n$1:/var/lib/holdfast" \
        "${@:2}" localhost/holdfast >/dev/null
}
address() { podman inspect -f "{{(index .NetworkSettings.Networks \"$network\").IPAddress}}" "$network-n$1"; }
ctl() { # ctl N words...: the tool of container N, asking its own node
    local inside=$1
    shift
    podman exec "$network-n$inside" holdfastctl --endpoints 127.0.0.1:2379 "$@"
}
logs() { for i in 1 2 3; do podman logs --tail 30 "$network-n$i" 2>&1 | sed "s/^/n$i: /"; done >&2; }
eventually() { # bounded polling; there is no event to wait for from outside
    local left=$(($1 * 5)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ $left -gt 0 ] || { logs; fail "$what"; }
        sleep 0.2
    done
    say "ok: $what"
}
gets() { [ "$(ctl "$1" get "$2" --value-only)" = "$3" ]; }
check() {
    local what=$1
    shift
    "$@" >/dev/null || { logs; fail "$what"; }
    say "ok: $what"
}

for i in 1 2 3; do start $i; done
eventually 60 "three containers are one cluster, by their names" ctl 1 status
for i in 1 2 3; do eventually 60 "n$i serves" ctl $i get nothing --prefix; done
check "put through n1" ctl 1 put image works
check "get through n3" gets 3 image works
check "the process is not root" bash -c "[ \"\$(podman exec $network-n1 stat -c %U /var/lib/holdfast/data)\" = holdfast ]"
check "the image's own health check says so" podman healthcheck run "$network-n1"

# ---- another address under the same name
old=$(address 2)
check "n2 stops in order when the container is stopped" podman stop -t 30 "$network-n2"
check "with exit code 0" test "$(podman inspect -f '{{.State.ExitCode}}' "$network-n2")" = 0
podman rm "$network-n2" >/dev/null
podman run -d --health-interval=disable --network "$network" --name "$network-squatter" --ip "$old" --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \
    --entrypoint /bin/sleep localhost/holdfast 600 >/dev/null # so that n2 cannot get its old address back
ctl 1 put meanwhile 1 >/dev/null
start 2
new=$(address 2)
[ -n "$old" ] && [ "$old" != "$new" ] || fail "n2 was to get another address, but has $new as before"
eventually 60 "n2, now $new instead of $old, serves again" gets 2 meanwhile 1
eventually 60 "the others found it under its name" bash -c "podman exec $network-n1 holdfastctl --endpoints 127.0.0.1:2379 status -o json | grep -qv unreachable"
podman rm -f -t 0 "$network-squatter" >/dev/null

# ---- crash, freeze, cut
podman kill "$network-n1" >/dev/null
eventually 60 "with n1 killed the others go on" ctl 2 put after-kill 1
podman start "$network-n1" >/dev/null
eventually 60 "n1 is back" gets 1 after-kill 1
podman pause "$network-n2" >/dev/null
eventually 60 "with n2 frozen the others go on" ctl 3 put after-freeze 1
podman unpause "$network-n2" >/dev/null
eventually 60 "n2 is back" gets 2 after-freeze 1
podman network disconnect "$network" "$network-n3"
eventually 60 "with n3 cut off the others go on" ctl 1 put after-cut 1
if timeout 30 podman exec "$network-n3" holdfastctl --endpoints 127.0.0.1:2379 --timeout 3s get after-cut >/dev/null 2>&1; then
    fail "n3 answered a linearizable read although it is cut off"
fi
say "ok: n3, cut off, does not answer a linearizable read"
podman network connect "$network" "$network-n3"
eventually 90 "n3, connected again, is back" gets 3 after-cut 1

# ---- data outlives containers
for i in 1 2 3; do podman rm -f -t 30 "$network-n$i" >/dev/null; done
for i in 1 2 3; do start $i; done
eventually 60 "all containers made anew on their old volumes: everything is there" gets 1 image works
say "passed"
