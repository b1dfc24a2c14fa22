# SPDX-License-Identifier: Apache-2.0
"""
Debian's etcdctl (3.4) against three nodes of holdfast and against etcd: the same commands in the same order;
output, error text and exit code must be the same. What must differ (ids, terms, lease ids, addresses, times)
is replaced first.
"""
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import unittest

import clients
import cluster as e2e
import etcd
from clients import shows

ETCDCTL = shutil.which("etcdctl")
ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "ETCDCTL_API": "3"}
SAME = "output, errors and exit code are etcd's"


class Place:
    """One side: where commands go, and what it called things."""

    def __init__(self, addresses):
        self.addresses = addresses
        self.turn = 0
        self.names = {}

    def words(self, words):
        address = self.addresses[self.turn % len(self.addresses)]
        return [ETCDCTL, "--endpoints", address, "--command-timeout", "30s",
                *[word.format(**self.names) if "{" in word else word for word in words]]

    def plain(self, text):
        text = re.sub(r'"(cluster_id|member_id|raft_term)":\d+', r'"\1":0', text)
        text = re.sub(r'"(ClusterID|MemberID|RaftTerm)" : \d+', r'"\1" : 0', text)
        text = re.sub(r"remaining\(\d+s\)", "remaining(..s)", text)
        text = re.sub(r'"ttl":\d+', '"ttl":0', text)
        for name, value in self.names.items():
            text = text.replace(value, f"<{name}>").replace(str(int(value, 16)), f"<{name}>")
        for address in self.addresses:
            text = text.replace(address, "<address>")
        text = re.sub(r"took = \d+\S*|took \d\S*", "took ..", text)
        return "\n".join(line for line in text.splitlines() if not line.startswith('{"level":'))


class SameAsEtcd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.oracle = etcd.Etcd()
        cls.ours = clients.Ours()
        cls.theirs = Place([cls.oracle.address])
        cls.mine = Place(cls.ours.addresses)
        cls.places = (cls.theirs, cls.mine)

    @classmethod
    def tearDownClass(cls):
        cls.oracle.close()
        cls.ours.close()

    def setUp(self):
        self.running = []

    def tearDown(self):
        for running in self.running:
            running.close()

    def next_node(self):
        for place in self.places:
            place.turn += 1

    def both(self, *words, input_text="", capture=None):
        """Run on both, compare; holdfast's output. capture=(name, regex) names what a side made up itself."""
        self.next_node()
        started = [subprocess.Popen(place.words(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True, env=ENV) for place in self.places]
        seen = []
        for place, process in zip(self.places, started):
            out, err = process.communicate(input_text, timeout=e2e.LIMIT_S)
            if capture:
                name, pattern = capture
                found = re.search(pattern, out)
                self.assertIsNotNone(found, f"{words}: {out}{err}")
                place.names[name] = found.group(1)
            seen.append((process.returncode, place.plain(out), place.plain(err)))
        with self.subTest(" ".join(words)):
            self.assertEqual(seen[1], seen[0])
        return seen[1]

    def start(self, *words, input_text=""):
        """A command that goes on, on both."""
        self.next_node()
        pair = [clients.Running(place.words(words), ENV, input_text) for place in self.places]
        self.running += pair
        return pair

    def same_lines(self, pair, count):
        """What both have printed once it is the same and at least `count` lines."""
        for running in pair:
            running.wait_lines(count)

        def look():
            seen = [place.plain(running.out) for place, running in zip(self.places, pair)]
            self.assertEqual(seen[1], seen[0])
            return seen[1]

        return e2e.wait_until(look, "the same output")

    def same_end(self, pair, number=signal.SIGINT):
        codes = [running.end(number) for running in pair]
        self.assertEqual(codes[1], codes[0])
        seen = [(place.plain(running.out), place.plain(running.err)) for place, running in zip(self.places, pair)]
        self.assertEqual(seen[1], seen[0])
        return seen[1]

    @shows("etcdctl 3.4", "put, get, del", SAME + ", all options")
    def test_a_kv(self):
        """The first test, on an empty store."""
        for words in KV:
            if any("consistency=s" in word for word in words) and self.ours.cluster:
                self.ours.cluster.wait_equal_revision()
            self.both(*words)

    @shows("etcdctl 3.4", "txn", SAME + "; from a pipe and interactive")
    def test_txn(self):
        for words, text in TXN:
            self.both(*words, input_text=text)

    @shows("etcdctl 3.4", "compaction", SAME + ", `--physical` too; reads of what is gone are refused")
    def test_compaction(self):
        for i in range(6):
            self.both("put", "compact/a", str(i))
        revision = json.loads(self.both("get", "compact/a", "-w", "json")[1])["header"]["revision"]
        self.both("compaction", str(revision - 2))
        self.both("compaction", str(revision - 2))
        self.both("compaction", str(revision - 4))
        self.both("compaction", str(revision + 50))
        self.both("compaction", "x")
        self.both("get", "compact/a", "--rev", str(revision - 3))
        self.both("get", "compact/a", "--rev", str(revision - 2), "-w", "json")
        self.both("compaction", "--physical", str(revision))
        self.both("get", "compact/a", "--rev", str(revision - 1))
        self.both("get", "compact/a", "-w", "json")
        pair = self.start("watch", "compact/a", "--rev", str(revision - 1))
        for running in pair:
            running.process.wait(e2e.LIMIT_S)
        self.same_end(pair)

    @shows("etcdctl 3.4", "lease grant, timetolive, list, revoke, keep-alive", SAME)
    def test_b_lease(self):
        self.both("lease", "list")
        self.both("lease", "grant", "600", capture=("lease", r"lease ([0-9a-f]+) granted"))
        self.both("lease", "grant", "9000000001")
        self.both("lease", "grant", "x")
        self.both("put", "--lease", "{lease}", "leased/b", "1")
        self.both("put", "--lease", "{lease}", "leased/a", "2", "-w", "json")
        self.both("get", "leased/a", "-w", "json")
        self.both("lease", "timetolive", "{lease}")
        self.both("put", "--ignore-lease", "leased/a", "3")
        self.both("put", "leased/b", "no lease any more")
        self.both("lease", "timetolive", "{lease}", "--keys")
        self.both("lease", "timetolive", "{lease}", "--keys", "-w", "json")
        self.both("lease", "timetolive", "1234abcd")
        self.both("lease", "list")
        self.both("lease", "keep-alive", "--once", "{lease}")
        self.both("lease", "keep-alive", "--once", "1234abcd")
        pair = self.start("lease", "keep-alive", "{lease}")
        self.same_lines(pair, 1)
        self.same_end(pair)
        self.both("get", "leased/", "--prefix", "-w", "json")
        self.both("lease", "revoke", "{lease}")
        self.both("lease", "revoke", "{lease}")
        self.both("get", "leased/", "--prefix", "-w", "json")
        self.both("lease", "list")

    @shows("etcdctl 3.4", "watch", SAME + ": history, live, prefix, range, `--prev-kv`, interactive, with a command")
    def test_watch(self):
        self.both("put", "watch/a", "1")
        revision = json.loads(self.both("get", "watch/a", "-w", "json")[1])["header"]["revision"]
        self.both("put", "watch/b", "2")
        self.both("del", "watch/a")
        history = self.start("watch", "watch/a", "--rev", str(revision))
        prefix = self.start("watch", "--prefix", "watch/", "--rev", str(revision), "--prev-kv", "-w", "json")
        span = self.start("watch", "watch/a", "watch/b", "--rev", str(revision), "-w", "fields")
        later = self.start("watch", "watch/c", "--rev", str(revision + 3), "--prev-kv")
        several = self.start("watch", "-i", input_text=f"watch watch/a --rev {revision}\n")
        command = self.start("watch", "watch/b", "--rev", str(revision), "--",
                             "sh", "-c", "echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE")
        self.same_lines(history, 5)
        self.same_lines(command, 4)
        self.both("put", "watch/c", "3")
        self.both("put", "watch/c", "4")
        self.both("put", "watch/b", "5")
        self.both("txn", input_text='\nput watch/a "x y"\ndel watch/b\n\n\n')
        self.same_lines(later, 7)
        self.same_lines(command, 8)
        for pair, lines in ((history, 9), (span, 1), (several, 9)):
            self.same_lines(pair, lines)
        # how many events come in one response is not promised, the events are
        events = []
        for running in prefix:
            def all_events(running=running):
                rows = [json.loads(line) for line in running.out.splitlines()]
                return [e for row in rows for e in row.get("Events", [])]
            e2e.wait_until(lambda all_events=all_events: len(all_events()) >= 8, "8 events")
            events.append(all_events())
        self.assertEqual(events[1], events[0])
        for pair in (history, prefix, span, later, several, command):
            for running in pair:
                running.end()

    @shows("etcdctl 3.4", "lock", SAME + "; a second holder waits for the first")
    def test_lock(self):
        out = []
        for place in self.places:
            code, text, err = e2e.run(place.words(["lock", "mutex", "--", "sh", "-c",
                                                   "echo $ETCD_LOCK_KEY $ETCD_LOCK_REV; exit 3"]), env=ENV)
            out.append((code, re.sub(r"/[0-9a-f]+ ", "/<lease> ", text), err))
        self.assertEqual(out[1], out[0])
        self.assertRegex(out[1][1], r"^mutex/<lease> \d+\n$")
        first = self.start("lock", "mutex")
        for running in first:
            running.wait_lines(1)
        second = self.start("lock", "mutex", "--ttl", "30")
        for place in self.places:
            e2e.wait_until(lambda place=place: len(self.keys(place, "mutex/")) == 2, "two wait for the lock")
        self.assertEqual([running.out for running in second], ["", ""])
        for i, place in enumerate(self.places):
            self.assertEqual(first[i].out.strip(), self.keys(place, "mutex/")[0])
        codes = [running.end() for running in first]
        self.assertEqual(codes[1], codes[0])
        for i, place in enumerate(self.places):
            second[i].wait_lines(1)
            self.assertEqual([second[i].out.strip()], self.keys(place, "mutex/"))
        codes = [running.end() for running in second]
        self.assertEqual(codes[1], codes[0])
        for place in self.places:
            e2e.wait_until(lambda place=place: not self.keys(place, "mutex/"), "the lock is free")

    def keys(self, place, prefix):
        """Keys under a prefix, the oldest first."""
        code, out, err = e2e.run(place.words(["get", prefix, "--prefix", "--keys-only", "--sort-by", "CREATE",
                                              "--order", "ASCEND"]), env=ENV)
        self.assertEqual(code, 0, err)
        return out.split()

    @shows("etcdctl 3.4", "elect, elect --listen", "a leader is elected, seen, and followed by the next")
    def test_elect(self):
        listen = self.start("elect", "--listen", "vote")
        first = self.start("elect", "vote", "one")
        for running in first:
            self.assertRegex(running.wait_lines(2), r"^vote/[0-9a-f]+\none\n$")
        second = self.start("elect", "vote", "two")
        for place in self.places:
            e2e.wait_until(lambda place=place: len(self.keys(place, "vote/")) == 2, "two stand for election")
        self.assertEqual([running.out for running in second], ["", ""])
        codes = [running.end() for running in first]
        self.assertEqual(codes[1], codes[0])
        for running in second:
            self.assertRegex(running.wait_lines(2), r"^vote/[0-9a-f]+\ntwo\n$")
        for running in listen:
            self.assertRegex(running.wait_lines(4), r"^vote/[0-9a-f]+\none\nvote/[0-9a-f]+\ntwo\n$")
            running.end()
        codes = [running.end() for running in second]
        self.assertEqual(codes[1], codes[0])

    @shows("etcdctl 3.4", "make-mirror", "from holdfast to etcd: what was there, what comes, what goes")
    def test_make_mirror(self):
        away = etcd.Etcd()
        try:
            def put(key, value):
                code, _, err = e2e.run(self.mine.words(["put", key, value]), env=ENV)
                self.assertEqual(code, 0, err)

            there = Place([away.address])

            def copy():
                code, out, err = e2e.run(there.words(["get", "", "--prefix"]), env=ENV)
                self.assertEqual(code, 0, err)
                return out

            self.mine.turn += 1
            put("mirror/a", "1")
            mirror = clients.Running(self.mine.words(["make-mirror", "--prefix", "mirror/", away.address]), ENV)
            self.running.append(mirror)
            e2e.wait_until(lambda: copy() == "mirror/a\n1\n", "the mirror shows what was there")
            put("mirror/b", "2")
            e2e.wait_until(lambda: copy() == "mirror/a\n1\nmirror/b\n2\n", "the mirror follows")
            code, _, err = e2e.run(self.mine.words(["del", "mirror/a"]), env=ENV)
            self.assertEqual(code, 0, err)
            e2e.wait_until(lambda: copy() == "mirror/b\n2\n", "the mirror deletes")
            # on the other side the same changes, so that revisions stay equal
            for words in (["put", "mirror/a", "1"], ["put", "mirror/b", "2"], ["del", "mirror/a"]):
                e2e.run(self.theirs.words(words), env=ENV)
        finally:
            away.close()

    @shows("etcdctl 3.4", "alarm list, alarm disarm", SAME)
    def test_alarm(self):
        self.both("alarm", "list")
        self.both("alarm", "disarm")

    @shows("etcdctl 3.4", "defrag", SAME + "; nothing is lost")
    def test_defrag(self):
        before = self.both("get", "", "--prefix")
        self.both("defrag")
        self.assertEqual(self.both("get", "", "--prefix"), before)

    @shows("etcdctl 3.4", "endpoint hashkv", "all nodes have one hash, now and at an older revision")
    def test_endpoints(self):
        self.both("put", "hashed", "1")
        revision = json.loads(self.both("put", "hashed", "2", "-w", "json")[1])["header"]["revision"]
        words = [ETCDCTL, "--endpoints", ",".join(self.mine.addresses), "--command-timeout", "30s"]
        code, out, err = e2e.run([*words, "endpoint", "health"], env=ENV)
        self.assertEqual(code, 0, err)
        self.assertEqual((out + err).count("is healthy"), 3)
        for options in ([], ["--rev", str(revision - 1)]):
            code, out, err = e2e.run([*words, "endpoint", "hashkv", "-w", "json", *options], env=ENV)
            self.assertEqual(code, 0, err)
            rows = json.loads(out)
            self.assertEqual(len(rows), 3)
            self.assertEqual(len({(row["HashKV"]["hash"], row["HashKV"].get("compact_revision")) for row in rows}), 1, out)

    @shows("etcdctl 3.4", "snapshot save", "the file's digest is right, and `sqlite3` opens it")
    def test_snapshot(self):
        self.both("put", "in/the/snapshot", "yes")
        directory = tempfile.mkdtemp(prefix="holdfast-snapshot-")
        try:
            path = os.path.join(directory, "saved.db")
            code, out, err = e2e.run(self.mine.words(["snapshot", "save", path]), env=ENV)
            self.assertEqual(code, 0, err)
            self.assertEqual(out, f"Snapshot saved at {path}\n")
            with open(path, "rb") as file:
                octets = file.read()
            self.assertEqual(len(octets) % 512, 32)
            self.assertEqual(hashlib.sha256(octets[:-32]).digest(), octets[-32:])
            if not clients.AGAINST_ETCD:
                database = sqlite3.connect(path)
                self.assertEqual(database.execute("PRAGMA integrity_check").fetchone(), ("ok",))
                found = database.execute("SELECT CAST(value AS TEXT) FROM kv_readable WHERE key = 'in/the/snapshot'").fetchall()
                self.assertEqual(found, [("yes",)])
                database.close()
        finally:
            shutil.rmtree(directory)

    @shows("etcdctl 3.4", "move-leader", "the leader moves to the member named; refusals are etcd's",
           needs=["move-leader"])
    def test_z_move_leader(self):
        """The last one: it changes who leads."""
        if clients.AGAINST_ETCD:
            self.skipTest("one node has nobody to move to")
        leader = self.ours.cluster.leader()
        follower = self.ours.cluster.followers()[0]
        target = f"{follower.client.status().header.member_id:x}"
        words = [ETCDCTL, "--endpoints", self.ours.cluster.endpoints, "--command-timeout", "30s", "move-leader"]
        code, _, err = e2e.run([*words, "1234"], env=ENV)
        self.assertNotEqual(code, 0)
        self.assertIn("bad leader transferee", err)
        code, out, err = e2e.run([*words, target], env=ENV)
        self.assertEqual(code, 0, err)
        self.assertIn(f"to {target}", out)
        self.assertIs(self.ours.cluster.leader(), follower)
        code, _, err = e2e.run([ETCDCTL, "--endpoints", leader.client_address, "move-leader", target], env=ENV)
        self.assertNotEqual(code, 0)


# Commands in order on a fresh store; output, error text and exit code must be etcd's.
KV = [
    ["get", "a"],
    ["get", "a", "-w", "json"],
    ["put", "a", "1"],
    ["put", "a", "2", "--prev-kv"],
    ["put", "a/b", "3", "-w", "json"],
    ["put", "a/c", "", "-w", "fields"],
    ["put", "b", "4", "--prev-kv", "-w", "json"],
    ["get", "a", "-w", "json"],
    ["get", "a", "-w", "fields"],
    ["get", "a", "--hex"],
    ["get", "a", "--print-value-only"],
    ["get", "a", "--prefix"],
    ["get", "a", "--prefix", "--keys-only"],
    ["get", "a", "--prefix", "--limit", "1", "-w", "json"],
    ["get", "a", "--prefix", "--limit", "2", "-w", "json", "--order", "DESCEND"],
    ["get", "a", "--prefix", "--limit", "-2", "-w", "json"],
    ["get", "", "--prefix", "-w", "json"],
    ["get", "", "--from-key", "-w", "json"],
    ["get", "a/", "--from-key", "--limit", "2"],
    ["get", "a", "b"],
    ["get", "b", "a", "-w", "json"],
    ["get", "a", "a", "-w", "json"],
    ["get", "a", "--rev", "1", "-w", "json"],
    ["get", "a", "--rev", "2", "-w", "json"],
    ["get", "a", "--rev", "3", "-w", "json"],
    ["get", "a", "--rev", "99"],
    ["get", "a", "--rev", "-1", "-w", "json"],
    ["get", "a", "--prefix", "--sort-by", "VALUE", "-w", "json"],
    ["get", "a", "--prefix", "--sort-by", "CREATE", "--order", "DESCEND", "-w", "json"],
    ["get", "a", "--prefix", "--sort-by", "MODIFY", "--order", "ASCEND", "-w", "json"],
    ["get", "a", "--prefix", "--sort-by", "KEY", "--order", "DESCEND", "--limit", "1", "-w", "json"],
    ["get", "a", "--consistency=s", "-w", "json"],
    ["get", ""],
    ["put", "", "x"],
    ["put", "--ignore-value", "a"],
    ["put", "--ignore-value", "nobody"],
    ["put", "--ignore-lease", "a", "5", "-w", "json"],
    ["put", "--ignore-lease", "nobody", "5"],
    ["put", "--lease", "77", "a", "5"],
    ["get", "a", "-w", "json"],
    ["del", "nobody", "-w", "json"],
    ["del", "a", "--prev-kv"],
    ["del", "a", "--prev-kv", "-w", "json"],
    ["put", "a", "again", "-w", "json"],
    ["get", "a", "-w", "json"],
    ["del", "b", "a", "-w", "json"],
    ["del", "a/", "--prefix", "--prev-kv", "-w", "json"],
    ["del", "", "--prefix", "-w", "json"],
    ["del", ""],
    ["get", "", "--prefix", "-w", "json"],
    ["get", "a", "--prefix", "--rev", "5", "-w", "json"],
]

# What txn reads: compares, a blank line, the one branch, a blank line, the other, a blank line.
TXN = [
    (["txn"], '\nput txn/a 1\nget txn/a\n\n\n'),
    (["txn"], 'value("txn/a") = "1"\n\nput txn/a 2\nget txn/a\n\nput txn/a wrong\n\n'),
    (["txn"], 'value("txn/a") = "1"\n\nput txn/a wrong\n\nget txn/a\ndel txn/b\n\n'),
    (["txn", "-w", "json"], 'version("txn/a") > "0"\nversion("txn/a") < "3"\n\nput txn/b 1\nput txn/c 1\n\nget txn/a\n\n'),
    (["txn", "-w", "json"], 'mod("txn/a") != "0"\ncreate("txn/nobody") = "0"\n\nget txn/ --prefix\n\n\n'),
    (["txn", "-w", "json"], 'mod("txn/a") > "0"\n\ndel txn/ --prefix --prev-kv\nget txn/a\n\n\n'),
    (["txn", "-w", "json"], 'value("txn/a") != "x"\n\nput txn/a 1\n\nput txn/a absent\n\n'),
    (["txn", "-w", "json"], '\nput txn/d 1\nput txn/d 2\n\n\n'),
    (["txn", "-w", "json"], '\nput txn/d 1\ndel txn/d\n\n\n'),
    (["txn"], '\nput txn/d 1 --lease=4711\n\n\n'),
    (["txn"], '\nput txn/d 1\nget txn/d --rev=100000\n\n\n'),
    (["get", "txn/d"], ""),
    (["txn", "-i"], 'value("txn/a") = "absent"\n\nput txn/e 1\n\nput txn/e 2\n\n'),
    (["txn"], 'nonsense\n\n\n\n'),
    (["txn"], "\n" + "".join(f"put txn/{i} x\n" for i in range(129)) + "\n\n"),
    (["get", "txn/", "--prefix", "-w", "json"], ""),
]

if __name__ == "__main__":
    if ETCDCTL is None:
        raise SystemExit("etcdctl is missing; install the Debian package etcd-client")
    e2e.main()
