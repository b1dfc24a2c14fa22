# SPDX-License-Identifier: Apache-2.0
"""
holdfastctl lease, lock and elect: what is held is held, kept alive over breaks, given back, and its loss told;
the fencing token guards a write.
"""
import json
import os
import signal
import unittest

import cluster as e2e
from ctl import LOST, NOT_FOUND, OK, REFUSED, UNREACHABLE, USAGE, CtlTest, ctl

SHOW = ("sh", "-c", 'echo "$HOLDFAST_LOCK_KEY $HOLDFAST_LOCK_REVISION $HOLDFAST_LOCK_LEASE"; exec sleep 1000')


class Lease(CtlTest):
    def test_life(self):
        granted = json.loads(self.ok("lease", "grant", "500", "-o", "json"))
        lease = granted["lease"]
        self.assertEqual(granted["ttl_s"], 500)
        self.assertEqual(self.ok("lease", "grant", "500", "abc1"), "lease 000000000000abc1 granted with TTL(500s)\n")
        self.fails(REFUSED, "lease already exists", "lease", "grant", "500", "abc1")
        self.fails(REFUSED, "too large lease TTL", "lease", "grant", "9000000001")
        self.ok("put", "l/a", "1", "--lease", lease)
        self.ok("put", "l/b", "1", "--lease", lease)
        out = json.loads(self.ok("lease", "timetolive", lease, "--keys", "-o", "json"))
        self.assertEqual((out["lease"], out["granted_ttl_s"]), (lease, 500))
        self.assertTrue(490 <= out["ttl_s"] <= 500)
        self.assertEqual(sorted(k["key"] for k in out["keys"]), ["l/a", "l/b"])
        self.assertRegex(self.ok("lease", "timetolive", lease), rf"^lease {lease} granted with TTL\(500s\), remaining\(\d+s\)\n$")
        self.assertLessEqual({lease, "000000000000abc1"}, set(json.loads(self.ok("lease", "list", "-o", "json"))))
        self.assertIn("found ", self.ok("lease", "list"))
        self.assertEqual(self.ok("lease", "keep-alive", lease, "--once"), f"lease {lease} keepalived with TTL(500)\n")
        self.assertEqual(self.ok("lease", "revoke", lease), f"lease {lease} revoked\n")
        self.assertEqual(self.ok("get", "l/", "--prefix"), "")
        for words in (("revoke", lease), ("timetolive", lease), ("keep-alive", lease), ("keep-alive", lease, "--once")):
            self.fails(NOT_FOUND, "", "lease", *words)
        self.ok("lease", "revoke", "abc1")

    def test_high_bit(self):
        self.ok("lease", "grant", "500", "ffffffffffffff01")
        self.assertIn("ffffffffffffff01", self.ok("lease", "list"))
        self.ok("lease", "revoke", "ffffffffffffff01")

    def test_usage(self):
        for words in ((), ("grant",), ("grant", "x"), ("grant", "1", "zz"), ("grant", "1", "1", "1"), ("revoke",),
                      ("revoke", "zz"), ("timetolive",), ("list", "x"), ("keep-alive",), ("nonsense", "1")):
            self.fails(USAGE, "", "lease", *words)
        self.fails(UNREACHABLE, "no endpoint", "lease", "keep-alive", "1", endpoints=f"127.0.0.1:{e2e.free_port()}")

    def test_kept_over_breaks_and_lost(self):
        way = self.proxy()
        self.ok("lease", "grant", "6", "abc2")
        keep = self.begin("lease", "keep-alive", "abc2", endpoints=f"{way.address},{self.endpoints}")
        keep.line()
        way.cut()
        keep.lines(2)
        self.ok("lease", "revoke", "abc2")
        self.assertEqual(keep.wait(), LOST)
        self.assertIn("is lost: it expired or was revoked", "".join(keep.err))

    def test_frozen_way(self):
        """A way that swallows renewals is left in time."""
        way = self.proxy()
        self.ok("lease", "grant", "6", "abc3")
        keep = self.begin("lease", "keep-alive", "abc3", endpoints=f"{way.address},{self.endpoints}")
        keep.line()
        way.freeze()
        keep.lines(2)
        keep.signal(signal.SIGINT)
        self.assertEqual(keep.wait(), OK)
        self.ok("lease", "revoke", "abc3")

    def test_no_way_left(self):
        way = self.proxy()
        self.ok("lease", "grant", "3", "abc4")
        keep = self.begin("lease", "keep-alive", "abc4", endpoints=way.address)
        keep.line()
        way.cut()
        self.assertEqual(keep.wait(), LOST)
        self.assertIn("no endpoint confirmed", "".join(keep.err))


class Lock(CtlTest):
    def test_command(self):
        code, out, err = ctl(self.endpoints, "lock", "cmd", "--", "sh", "-c",
                             'echo "$HOLDFAST_LOCK_KEY $HOLDFAST_LOCK_REVISION $ETCD_LOCK_KEY $ETCD_LOCK_REV"; exit 7')
        self.assertEqual(code, 7, err)
        key, revision, etcd_key, etcd_revision = out.split()
        self.assertTrue(key.startswith("cmd/"))
        self.assertEqual((key, revision), (etcd_key, etcd_revision))
        self.assertEqual(int(revision), self.revision() - 1, "the key was made, and deleted")
        self.assertEqual(self.ok("get", "cmd/", "--prefix"), "")
        self.assertEqual(self.ok("lease", "list"), "found 0 leases\n")
        self.ok("lock", "cmd", "--", "sh", "-c", "kill -9 $$", code=128 + 9)
        self.fails(REFUSED, "No such file", "lock", "cmd", "--", "/no/such/program")
        self.assertEqual(self.ok("get", "cmd/", "--prefix"), "")

    def test_one_at_a_time_and_fencing(self):
        """The second waits for the first. A write guarded by the first's token fails once it is not held."""
        first = self.begin("lock", "one")
        key, token = first.lines(2)
        second = self.begin("lock", "one", "-o", "json")
        e2e.wait_until(lambda: self.ok("get", "one/", "--prefix", "--count-only") == "2\n", "the second waits")
        guarded = f'create("{key}") = "{token}"\n\nput guarded %s\n\n\n'
        self.ok("txn", input_text=guarded % "by-the-first")
        first.signal(signal.SIGINT)
        self.assertEqual(first.wait(), OK)
        held = json.loads(second.line())
        self.assertGreater(held["revision"], int(token), "tokens grow")
        self.ok("txn", input_text=guarded % "too-late", code=NOT_FOUND)
        self.assertEqual(self.ok("get", "guarded", "--value-only"), "by-the-first\n")
        self.ok("txn", input_text=f'create("{held["key"]}") = "{held["revision"]}"\n\nput guarded second\n\n\n')
        second.signal(signal.SIGTERM)
        self.assertEqual(second.wait(), OK)

    def test_wait_and_interrupt(self):
        holder = self.begin("lock", "w")
        holder.lines(2)
        self.fails(REFUSED, "--wait", "lock", "w", "--wait", "300ms", "--", "true")
        waiter = self.begin("lock", "w")
        e2e.wait_until(lambda: self.ok("get", "w/", "--prefix", "--count-only") == "2\n", "one waits")
        waiter.signal(signal.SIGTERM)
        self.assertEqual(waiter.wait(), REFUSED)
        self.assertEqual(self.ok("get", "w/", "--prefix", "--count-only"), "1\n", "nothing of the waiter is left")

    def test_lease_lost(self):
        for way_to_lose in ("revoke", "delete"):
            held = self.begin("lock", "lost", "--", *SHOW)
            key, _, lease = held.line().split()
            if way_to_lose == "revoke":
                self.ok("lease", "revoke", lease)
            else:
                self.ok("del", key)
            self.assertEqual(held.wait(), LOST)
            self.assertIn("the lock is lost: ", "".join(held.err))

    def test_lost_command_that_does_not_end(self):
        held = self.begin("lock", "stubborn", "--", "sh", "-c",
                          "trap '' TERM; echo $HOLDFAST_LOCK_LEASE; while :; do sleep 0.05; done")
        self.ok("lease", "revoke", held.line())
        self.assertEqual(held.wait(), LOST)
        self.assertIn("killing it", "".join(held.err))

    def test_cut_off_from_all(self):
        """Nobody confirms the lease: COMMAND is ended when it may have expired."""
        way = self.proxy()
        held = self.begin("lock", "alone", "--ttl", "3", "--", *SHOW, endpoints=way.address)
        held.line()
        way.cut()
        self.assertEqual(held.wait(), LOST)
        self.assertIn("no endpoint confirmed its lease", "".join(held.err))

    def test_kept_over_a_break(self):
        way = self.proxy()
        held = self.begin("lock", "kept", "--ttl", "3", "--", "sh", "-c", "echo go; sleep 6; exit 9",
                          endpoints=f"{way.address},{self.endpoints}")
        held.line()
        way.cut()
        self.assertEqual(held.wait(), 9, "".join(held.err))

    def test_waiter_over_a_break(self):
        way = self.proxy()
        holder = self.begin("lock", "queue")
        holder.lines(2)
        waiter = self.begin("lock", "queue", endpoints=f"{way.address},{self.endpoints}")
        e2e.wait_until(lambda: self.ok("get", "queue/", "--prefix", "--count-only") == "2\n", "one waits")
        way.cut()
        waiter.wait_err("trying")
        holder.signal(signal.SIGINT)
        waiter.lines(2)
        waiter.signal(signal.SIGINT)
        self.assertEqual(waiter.wait(), OK)

    def test_signals(self):
        held = self.begin("lock", "sig", "--", "sh", "-c", "trap 'echo usr1' USR1; trap 'exit 3' TERM; echo go; "
                          "while :; do sleep 0.05; done")
        held.line()
        held.signal(signal.SIGUSR1)
        self.assertEqual(held.line(), "usr1")
        held.signal(signal.SIGTERM)
        self.assertEqual(held.wait(), 3)

    def test_killed(self):
        """COMMAND does not go on without the lock when holdfastctl itself is killed."""
        held = self.begin("lock", "dead", "--ttl", "2", "--", "sh", "-c", "echo $$; exec sleep 1000")
        pid = int(held.line())
        held.signal(signal.SIGKILL)
        held.wait()
        e2e.wait_until(lambda: not os.path.exists(f"/proc/{pid}") or
                       open(f"/proc/{pid}/stat", encoding="ascii").read().split()[2] == "Z", "COMMAND is gone")
        self.ok("lock", "dead", "--", "true")

    def test_usage(self):
        for words in (("lock",), ("lock", "a", "b"), ("lock", ""), ("lock", "a", "--ttl", "0"), ("elect",), ("elect", "a"),
                      ("elect", "a", "b", "c"), ("elect", "--listen"), ("elect", "--listen", "a", "b")):
            self.fails(USAGE, "", *words)
        dead = f"127.0.0.1:{e2e.free_port()}"
        self.fails(UNREACHABLE, "no endpoint", "lock", "a", endpoints=dead)
        self.fails(UNREACHABLE, "no endpoint", "elect", "--listen", "a", endpoints=dead)
        for words in (("lock", "a"), ("elect", "a", "b"), ("elect", "--listen", "a")):
            self.fails(REFUSED, "does not have that call", *words, endpoints=self.fake({}).address)


class Elect(CtlTest):
    def test_leaders(self):
        listener = self.begin("elect", "--listen", "e")
        first = self.begin("elect", "e", "one")
        key, revision = first.lines(2)
        self.assertTrue(key.startswith("e/"))
        self.assertEqual(listener.lines(2), [key, "one"])
        second = self.begin("elect", "e", "two", "-o", "json")
        e2e.wait_until(lambda: self.ok("get", "e/", "--prefix", "--count-only") == "2\n", "the second campaigns")
        first.signal(signal.SIGTERM)
        self.assertEqual(first.wait(), OK)
        held = json.loads(second.line())
        self.assertGreater(held["revision"], int(revision))
        self.assertEqual(listener.lines(2), [held["key"], "two"])
        late = self.begin("elect", "--listen", "e", "-o", "json")
        self.assertEqual(json.loads(late.line())["value"], "two")
        self.ok("lease", "revoke", held["lease"])
        self.assertEqual(second.wait(), LOST)
        self.assertIn("the leadership is lost", "".join(second.err))
        listener.signal(signal.SIGINT)
        self.assertEqual(listener.wait(), OK)

    def test_listener_over_a_break(self):
        way = self.proxy()
        leader = self.begin("elect", "eb", "one")
        leader.lines(2)
        listener = self.begin("elect", "--listen", "eb", endpoints=f"{way.address},{self.endpoints}")
        listener.lines(2)
        way.cut()
        listener.wait_err("going on at")
        leader.signal(signal.SIGINT)
        self.assertEqual(leader.wait(), OK)
        self.begin("elect", "eb", "two").lines(2)
        self.assertEqual(listener.lines(2)[1], "two", "the first is not told again")


if __name__ == "__main__":
    e2e.main()
