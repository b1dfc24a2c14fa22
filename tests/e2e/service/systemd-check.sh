#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# systemd-check.sh: runs inside the booted root of systemd.sh, as a unit. One line per finding on stdout,
# "ALL DONE" at the end; the trace goes to stderr.
set -u
PS4='+ $LINENO: '
set -x
endpoints=127.0.0.1:12379,127.0.0.1:22379,127.0.0.1:32379
ctl() { holdfastctl --endpoints "$endpoints" "$@"; }
ok() { echo "ok      $*"; }
bad() {
    echo "FAILED  $*"
    systemctl status --no-pager --full 'holdfastd@*' >&2
    journalctl --no-pager -n 60 >&2
    exit 1
}
check() { # check "what" command...
    local what=$1
    shift
    if "$@" >&2; then ok "$what"; else bad "$what"; fi
}
# eventually SECONDS "what" command...: bounded polling; there is no event to wait for from outside
eventually() {
    local left=$(($1 * 10)) what=$2
    shift 2
    until "$@" >&2; do
        left=$((left - 1))
        [ $left -gt 0 ] || bad "$what"
        sleep 0.1
    done
    ok "$what"
}
prop() { systemctl show -P "$2" "holdfastd@$1"; }
is() { [ "$(prop "$1" "$2")" = "$3" ]; }
new_pid() { local pid; pid=$(prop "$1" MainPID); [ "$pid" != 0 ] && [ "$pid" != "$2" ]; }

# ---- the units themselves
check "systemd-analyze verify finds nothing in holdfastd@.service" \
    bash -c '[ -z "$(systemd-analyze verify holdfastd@n1.service 2>&1 | grep -i holdfast)" ]'
check "systemd-analyze verify finds nothing in holdfastd.service" \
    bash -c '[ -z "$(systemd-analyze verify holdfastd.service 2>&1 | grep -i holdfast)" ]'
check "sysusers made the user" getent passwd holdfast

# ---- start
for i in 1 2 3; do
    check "holdfastd@n$i starts (Type=notify: it said READY)" systemctl start "holdfastd@n$i"
done
eventually 60 "three nodes are one cluster" ctl status
check "put through n1" holdfastctl --endpoints 127.0.0.1:12379 put unit works
check "get through n3" bash -c '[ "$(holdfastctl --endpoints 127.0.0.1:32379 get unit --value-only)" = works ]'
eventually 30 "STATUS names a leader" bash -c 'systemctl show -P StatusText "holdfastd@n*" | grep -q "^Leader of term"'
check "STATUS names followers and whom they follow" \
    bash -c '[ "$(systemctl show -P StatusText "holdfastd@n*" | grep -c "^Follower in term .* leader n")" = 2 ]'
systemctl status --no-pager 'holdfastd@n1' >&2
check "it runs as holdfast" bash -c '[ "$(ps -o user= -p "$(systemctl show -P MainPID holdfastd@n1)")" = holdfast ]'
check "its directory is closed to others" bash -c '[ "$(stat -c "%U %a" /var/lib/holdfast/n1)" = "holdfast 750" ]'
check "journald has its lines" bash -c 'journalctl -u holdfastd@n1 -o cat | grep -q "starting version="'
check "with priorities: notices are notices" bash -c 'journalctl -u holdfastd@n1 -p notice -o cat | grep -q "starting version="'
check "and infos are not" bash -c '! journalctl -u holdfastd@n1 -p notice -o cat | grep -q "receiving from peer"'
check "sqlite3 opens its files beside it" sqlite3 -readonly /var/lib/holdfast/n1/raft.db 'select * from status'

# ---- kill -9
pid=$(prop n1 MainPID)
kill -9 "$pid"
eventually 60 "after kill -9 systemd starts it again (Restart=)" new_pid n1 "$pid"
check "NRestarts counts it" is n1 NRestarts 1
eventually 60 "and it serves again" holdfastctl --endpoints 127.0.0.1:12379 get unit

# ---- what a restart cannot mend is not restarted
echo 'nonsense = 1;' >>/etc/holdfast/n3.conf
systemctl restart holdfastd@n3
eventually 30 "a wrong configuration ends as failed" is n3 ActiveState failed
check "with exit code 78" is n3 ExecMainStatus 78
check "and is not started again" is n3 NRestarts 0
sleep 3 # three times RestartSec: it stays so
check "not later either" is n3 ActiveState failed
check "journald says the line" bash -c 'journalctl -u holdfastd@n3 -o cat | grep -q "/etc/holdfast/n3.conf:[0-9]*:.*nonsense"'
sed -i '/nonsense/d' /etc/holdfast/n3.conf
systemctl reset-failed holdfastd@n3
check "mended, it starts" systemctl start holdfastd@n3
eventually 60 "and serves" holdfastctl --endpoints 127.0.0.1:32379 get unit

# ---- watchdog
mkdir -p /run/systemd/system/holdfastd@n2.service.d
printf '[Service]\nWatchdogSec=3\nTimeoutAbortSec=2\n' >/run/systemd/system/holdfastd@n2.service.d/test.conf
systemctl daemon-reload
check "n2 with a short watchdog" systemctl restart holdfastd@n2
pid=$(prop n2 MainPID)
sleep 10 # more than three watchdog times
check "a healthy node keeps the watchdog quiet" is n2 MainPID "$pid"
kill -STOP "$pid"
eventually 60 "a frozen one is ended and started again" new_pid n2 "$pid"
check "because of the watchdog" bash -c 'journalctl -u holdfastd@n2 -o cat | grep -qi watchdog'
eventually 60 "and serves again" holdfastctl --endpoints 127.0.0.1:22379 get unit

# ---- stop
for i in 1 2 3; do
    check "holdfastd@n$i stops" systemctl stop "holdfastd@n$i"
    check "n$i in order" is "n$i" Result success
    check "n$i with exit code 0" is "n$i" ExecMainStatus 0
done
for i in 1 2 3; do
    check "holdfastd@n$i starts again" systemctl start "holdfastd@n$i"
done
eventually 60 "everything is still there" bash -c '[ "$(holdfastctl --endpoints 127.0.0.1:22379 get unit --value-only)" = works ]'
score=$(systemd-analyze security --no-pager holdfastd@n1 2>/dev/null | sed -n 's/.*Overall exposure level for [^:]*: \([0-9.]*\) .*/\1/p')
echo "note    systemd-analyze security: $score (lower is better)"
systemctl stop 'holdfastd@n*'
echo "ALL DONE"
