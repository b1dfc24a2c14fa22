#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# systemd.sh: the installed units under a real systemd. `make install` goes into a debootstrapped Debian 12,
# systemd-nspawn boots it, systemd-check.sh runs inside as a unit and writes its findings; this script shows
# them and ends with their verdict. Needs root, debootstrap, systemd-nspawn and Debian's packages.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source_tree=$(cd "$here/../../.." && pwd)
. "$here/base.sh"
need debootstrap systemd-nspawn make tar

WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/holdfast-systemd-XXXXXX")
root=$WORK/root
trap 'rm -rf --one-file-system "$WORK"' EXIT
make_base "$root"

say "installing systemd and the libraries holdfastd needs into it"
chroot "$root" /bin/sh -c 'export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends systemd systemd-sysv dbus procps sqlite3 \
        libsqlite3-0 libconfig9 libnghttp2-14 libhttp-parser2.9 libprotobuf-c1 libjansson4 libc-ares2 libsystemd0 \
        libxxhash0' >"$WORK/apt.log" 2>&1 || { tail -n 20 "$WORK/apt.log" >&2; fail "apt-get in the root"; }

make --no-print-directory -C "$source_tree" install DESTDIR="$root" ${HOLDFAST_MAKE:-} >"$WORK/install.log" 2>&1 ||
    { tail -n 20 "$WORK/install.log" >&2; fail "make install"; }

mkdir -p "$root/etc/holdfast"
for i in 1 2 3; do
    cat >"$root/etc/holdfast/n$i.conf" <<CONF
cluster = "service"; node = "n$i"; data_dir = "/var/lib/holdfast/n$i";
listen_client = "127.0.0.1:${i}2379"; listen_peer = "127.0.0.1:${i}2380";
members = (
    { name = "n1"; peer = "127.0.0.1:12380"; client = "127.0.0.1:12379"; },
    { name = "n2"; peer = "127.0.0.1:22380"; client = "127.0.0.1:22379"; },
    { name = "n3"; peer = "127.0.0.1:32380"; client = "127.0.0.1:32379"; }
);
CONF
done
install -m 0755 "$here/systemd-check.sh" "$root/usr/local/bin/holdfast-check"
cat >"$root/etc/systemd/system/holdfast-check.service" <<'UNIT'
[Unit]
After=basic.target
[Service]
Type=oneshot
ExecStart=/usr/local/bin/holdfast-check
StandardOutput=file:/result
StandardError=file:/result.trace
TimeoutStartSec=240
ExecStopPost=/usr/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
UNIT
ln -s ../holdfast-check.service "$root/etc/systemd/system/multi-user.target.wants/holdfast-check.service" 2>/dev/null ||
    { mkdir -p "$root/etc/systemd/system/multi-user.target.wants" &&
        ln -s ../holdfast-check.service "$root/etc/systemd/system/multi-user.target.wants/holdfast-check.service"; }

say "booting it"
timeout --kill-after=20 420 systemd-nspawn --quiet -D "$root" --boot --register=no --keep-unit --private-network \
    --console=pipe </dev/null >"$WORK/boot.log" 2>&1 || say "the machine ended with exit code $?"
if [ -s "$root/result" ]; then
    cat "$root/result"
fi
if ! grep -q '^ALL DONE$' "$root/result" 2>/dev/null || grep -q '^FAILED' "$root/result"; then
    tail -n 40 "$root/result.trace" 2>/dev/null || true
    tail -n 40 "$WORK/boot.log"
    fail "not all checks passed"
fi
say "passed"
