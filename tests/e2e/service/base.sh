# SPDX-License-Identifier: Apache-2.0
# base.sh: what systemd.sh and image.sh share: a Debian 12 root made from the packages that this machine's
# own apt sources name. Source it; it defines functions and changes nothing by itself.
#
# HOLDFAST_BASE=FILE.tar keeps the base between runs (made on first use); without it each run makes its own.

say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }
fail() {
    echo "service test: FAILED: $*" >&2
    exit 1
}

need() {
    local missing=""
    for program in "$@"; do
        command -v "$program" >/dev/null || missing="$missing $program"
    done
    [ -z "$missing" ] || fail "missing programs:$missing (see tests/e2e/service/README.md)"
    [ "$(id -u)" = 0 ] || fail "needs root"
}

# The mirror that this machine installs Debian from.
mirror() {
    local sources
    sources=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null || true)
    {
        sed -n 's/^URIs: *\([^ ]*\).*/\1/p' <<<"$sources"
        sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) bookworm .*/\2/p' <<<"$sources"
    } | sed -n 1p
}

# make_base DIRECTORY: a minimal Debian 12 there, with this machine's apt sources.
make_base() {
    local directory=$1
    mkdir -p "$directory"
    if [ -n "${HOLDFAST_BASE:-}" ] && [ -s "$HOLDFAST_BASE" ]; then
        tar -C "$directory" -xf "$HOLDFAST_BASE"
        return
    fi
    say "making a Debian 12 root with debootstrap"
    debootstrap --variant=minbase bookworm "$directory" "$(mirror)" >"$WORK/debootstrap.log" 2>&1 ||
        { tail -n 20 "$WORK/debootstrap.log" >&2; fail "debootstrap"; }
    rm -f "$directory/etc/apt/sources.list"
    cp /etc/apt/sources.list "$directory/etc/apt/" 2>/dev/null || true
    cp /etc/apt/sources.list.d/debian.sources "$directory/etc/apt/sources.list.d/" 2>/dev/null || true
    cp -r /etc/apt/apt.conf.d/. "$directory/etc/apt/apt.conf.d/"
    rm -rf "$directory"/var/cache/apt/archives/*.deb
    if [ -n "${HOLDFAST_BASE:-}" ]; then
        tar -C "$directory" -cf "$HOLDFAST_BASE.part" .
        mv "$HOLDFAST_BASE.part" "$HOLDFAST_BASE"
    fi
}
