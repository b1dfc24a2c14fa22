# SPDX-License-Identifier: Apache-2.0
"""
Puts and linearizable reads through all nodes of three while nodes are killed, frozen and restarted.

Shown, from outside and only by what clients were told:
 1. every acknowledged put is there afterwards, at the revision it was acknowledged with;
 2. a put whose outcome was unknown happened once (perhaps late) or not at all; one that was refused as "leader
    changed", "no leader" or "too many requests" did not happen;
 3. nothing else happened: as many revisions as puts found, and the versions of each key count up;
 4. reads never go back: neither for one client over all nodes, nor behind what was acknowledged to
    anybody before the read began (each key has one writer, so this is linearizability);
 5. all nodes hold the same in the end, and after one more restart;
 6. sqlite3 -readonly opens raft.db and kv.db of every node all the while, and no node minds.
"""
import glob
import os
import random
import subprocess
import threading
import time
import unittest

import grpc

import cluster as e2e
import rpc

WRITERS = 4
READERS = 3
KEYS_PER_WRITER = 4
CALL_LIMIT_S = 3  # a frozen node does not answer; the outcome is then unknown
AVOIDED_CALLS = 50  # a client goes elsewhere for so many calls after one node let it down
PAUSE_S = 0.002  # between two calls of one client: the load is for order, not for heat
PROGRESS = 150  # acknowledged puts to wait for between two blows
REFUSED_FOR_SURE = ("etcdserver: leader changed", "etcdserver: no leader", "etcdserver: too many requests")


class Choice:
    """One client's choice of a node for each call: any, but not one that has just let it down."""

    def __init__(self, cluster, seed):
        self.draw = random.Random(seed)
        self.clients = [rpc.Client(n.client_address, CALL_LIMIT_S) for n in cluster]
        for client in self.clients:
            # Python's gRPC works on a connection only while somebody polls the channel. Calls that fail at once
            # never poll for long enough, so a channel whose server came back would stay broken for ever.
            client.channel.subscribe(lambda state: None, try_to_connect=True)
        self.avoided = [0] * len(self.clients)
        self.last = 0

    def client(self):
        self.avoided = [max(0, left - 1) for left in self.avoided]
        good = [i for i, left in enumerate(self.avoided) if left == 0]
        self.last = self.draw.choice(good or range(len(self.clients)))
        return self.clients[self.last]

    def let_down(self):
        self.avoided[self.last] = AVOIDED_CALLS

    def close(self):
        for client in self.clients:
            client.close()


class Load:
    """What the clients did and were told. Each key has one writer; lists are appended by one thread."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.stop = threading.Event()
        self.problems = []
        self.keys = [f"crash/{w}/{k}" for w in range(WRITERS) for k in range(KEYS_PER_WRITER)]
        self.attempts = {key: [] for key in self.keys}  # value, in the order tried
        self.acknowledged = {key: [] for key in self.keys}  # (revision, value)
        self.refused = set()  # values that certainly did not happen
        self.unknown = {}  # status and text of an unknown outcome -> how often
        self.failed_reads = {}
        self.newest = {key: 0 for key in self.keys}  # greatest acknowledged revision
        self.newest_of_all = 0
        self.reads = 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._guard, args=(self._write, i)) for i in range(WRITERS)]
        self.threads += [threading.Thread(target=self._guard, args=(self._read, i)) for i in range(READERS)]
        self.threads.append(threading.Thread(target=self._guard, args=(self._inspect, 0)))
        self.inspections = 0
        self.inspections_missed = {}

    def start(self):
        for thread in self.threads:
            thread.start()

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(e2e.LIMIT_S)
            if thread.is_alive():
                self.problems.append("a client hangs")

    def note(self, where, problem):
        with self.lock:
            said = f"{problem.code().name}: {problem.details()[:100]}"
            where[said] = where.get(said, 0) + 1

    def puts(self):
        return sum(len(v) for v in self.acknowledged.values())

    def _guard(self, work, number):
        try:
            work(number)
        except Exception as problem:  # pylint: disable=broad-except
            self.problems.append(f"{work.__name__} {number}: {problem!r}")

    def _write(self, number):
        choice = Choice(self.cluster, number)
        keys = [k for k in self.keys if k.startswith(f"crash/{number}/")]
        count = 0
        last_revision = 0
        while not self.stop.wait(PAUSE_S):
            key = choice.draw.choice(keys)
            value = f"{number}-{count}"
            count += 1
            self.attempts[key].append(value)
            try:
                answer = choice.client().put(key, value)
            except grpc.RpcError as problem:
                choice.let_down()
                if problem.details() in REFUSED_FOR_SURE:
                    self.refused.add(value)
                else:
                    self.note(self.unknown, problem)
                continue
            revision = answer.header.revision
            if revision <= last_revision:
                self.problems.append(f"writer {number}: revision {revision} after {last_revision}")
            last_revision = revision
            self.acknowledged[key].append((revision, value))
            self.newest[key] = revision
            with self.lock:
                self.newest_of_all = max(self.newest_of_all, revision)
        choice.close()

    def _read(self, number):
        choice = Choice(self.cluster, 1000 + number)
        seen = {key: 0 for key in self.keys}
        seen_revision = 0
        while not self.stop.wait(PAUSE_S):
            key = choice.draw.choice(self.keys)
            least, least_of_all = self.newest[key], self.newest_of_all
            try:
                answer = choice.client().range(key)
            except grpc.RpcError as problem:
                choice.let_down()
                self.note(self.failed_reads, problem)
                continue
            self.reads += 1
            revision = answer.header.revision
            found = answer.kvs[0].mod_revision if answer.kvs else 0
            if revision < max(seen_revision, least_of_all):
                self.problems.append(f"reader {number}: header revision {revision} after seeing "
                                     f"{seen_revision}, with {least_of_all} acknowledged before")
            if found < max(seen[key], least):
                self.problems.append(f"reader {number}: {key} at revision {found} after seeing {seen[key]}, "
                                     f"with {least} acknowledged before")
            if answer.kvs and answer.kvs[0].value.decode() not in self.attempts[key]:
                self.problems.append(f"reader {number}: {key} has a value nobody wrote: {answer.kvs[0].value}")
            seen_revision = max(seen_revision, revision)
            seen[key] = max(seen[key], found)
        choice.close()

    def _inspect(self, _number):
        """A person who looks into the files again and again, with the stock sqlite3."""
        while not self.stop.is_set():
            for node in self.cluster:
                files = [os.path.join(node.data_dir, "raft.db")]
                files += glob.glob(os.path.join(node.data_dir, "group-*", "kv.db"))
                for path in files:
                    if not os.path.exists(path):
                        continue
                    pid = node.process.pid if node.alive() else None
                    done = subprocess.run(
                        ["sqlite3", "-readonly", "-cmd", ".timeout 20000", path,
                         "select count(*) from sqlite_schema; select * from status;"],
                        capture_output=True, text=True, timeout=e2e.LIMIT_S, check=False)
                    self.inspections += 1
                    if done.returncode == 0:
                        continue
                    said = f"{os.path.basename(path)}: {done.stderr.strip()}"
                    if pid is not None and node.alive() and node.process.pid == pid:
                        self.problems.append(f"sqlite3 on running {node.name}: {said}")
                    else:
                        self.inspections_missed[said] = self.inspections_missed.get(said, 0) + 1


class Crash(unittest.TestCase):
    def setUp(self):
        self.cluster = e2e.Cluster(3).start()

    def progress(self, load, what):
        goal = load.puts() + PROGRESS
        before = dict(load.unknown), dict(load.failed_reads), len(load.refused)
        try:
            e2e.wait_until(lambda: load.problems or load.puts() >= goal, f"puts go on: {what}", every_s=0.05)
        except AssertionError:
            e2e.say(f"stuck; before: {before}; now: {load.unknown}, {load.failed_reads}, {len(load.refused)}")
            for node in self.cluster.running():
                e2e.say(f"{node.name}: {node.client.status()}")
            raise
        self.assertEqual(load.problems, [], what)
        e2e.say(f"    {what}: {load.puts()} puts acknowledged, {load.reads} reads, {load.inspections} looks inside")

    def leader(self):
        return self.cluster.leader()

    def restart(self, *nodes):
        for node in nodes:
            node.start()
        for node in nodes:
            node.wait_healthy()

    def test_blows(self):
        load = Load(self.cluster)
        load.start()
        try:
            self.blows(load)
        finally:
            load.end()
        self.assertEqual(load.problems, [])
        e2e.say(f"    unknown outcomes: {load.unknown}; refused for sure: {len(load.refused)}")
        e2e.say(f"    failed reads: {load.failed_reads}")
        e2e.say(f"    looks into files of dead nodes that failed: {load.inspections_missed}")
        self.cluster.wait_healthy()
        self.check_history(load)
        first = self.full_ranges()
        self.assertEqual(first["n1"], first["n2"])
        self.assertEqual(first["n1"], first["n3"])
        for node in self.cluster:
            self.assertEqual(node.terminate(), 0)
        self.restart(*self.cluster)
        self.assertEqual(self.full_ranges(), first, "the same after a restart of all")
        self.cluster.check_logs()
        self.cluster.stop()

    def blows(self, load):
        self.progress(load, "at the start")

        leader = self.leader()
        leader.kill9()
        self.progress(load, f"leader {leader.name} killed")
        self.restart(leader)

        leader = self.leader()
        leader.pause()
        self.progress(load, f"leader {leader.name} frozen")
        leader.resume()
        leader.wait_healthy()
        self.progress(load, "thawed")

        follower = self.cluster.followers()[0]
        follower.kill9()
        self.progress(load, f"follower {follower.name} killed")
        self.restart(follower)

        follower = self.cluster.followers()[-1]
        follower.pause()
        self.progress(load, f"follower {follower.name} frozen")
        follower.resume()
        follower.wait_healthy()

        leader = self.leader()
        self.assertEqual(leader.terminate(), 0, "SIGTERM under load")
        self.progress(load, f"leader {leader.name} stopped by SIGTERM")
        self.restart(leader)

        for node in self.cluster:
            node.kill9()
        self.restart(*self.cluster)
        self.progress(load, "all three killed at once")

        two = [self.leader(), self.cluster.followers()[0]]
        for node in two:
            node.kill9()
        self.restart(*two)
        self.progress(load, "leader and one follower killed at once")

        for _ in range(3):
            leader = self.leader()
            leader.kill9()
            self.restart(leader)
        self.progress(load, "leader killed three times in a row")

        leader = self.leader()
        others = self.cluster.followers()
        for node in others:
            node.pause()
        others[0].resume()
        others[1].resume()
        leader.pause()
        self.cluster.leader()
        leader.resume()
        self.cluster.wait_healthy()
        self.progress(load, "everybody frozen in turn")

    def check_history(self, load):
        """Walk every key back through its revisions, over all nodes in turn."""
        newest_revision = self.cluster.wait_equal_revision()
        nodes = list(self.cluster)
        found_count = [0]
        problems = []

        def walk(number, key):
            client = nodes[number % len(nodes)].client
            history = []
            revision = 0
            while True:
                answer = client.range(key, revision=revision)
                if not answer.kvs:
                    break
                kv = answer.kvs[0]
                history.append((kv.mod_revision, kv.version, kv.value.decode(), kv.create_revision))
                revision = kv.mod_revision - 1
                if revision < 2:
                    break
            history.reverse()
            values = [v for _, _, v, _ in history]
            if len(set(values)) != len(values):
                problems.append(f"{key}: a put happened twice")
            if [v for _, v, _, _ in history] != list(range(1, len(history) + 1)):
                problems.append(f"{key}: versions do not count up: {history}")
            if len({c for _, _, _, c in history}) > 1:
                problems.append(f"{key}: more than one create_revision: {history}")
            # A put nobody answered may happen late (its node was frozen), but never before one that was
            # acknowledged before it was tried.
            revision_of = {v: r for r, _, v, _ in history}
            acknowledged = {v for _, v in load.acknowledged[key]}
            strange = set(values) - set(load.attempts[key])
            if strange:
                problems.append(f"{key}: values nobody wrote: {strange}")
            newest = 0
            for value in load.attempts[key]:
                if revision_of.get(value, newest) < newest:
                    problems.append(f"{key}: {value} is older than what was acknowledged before it: {history}")
                if value in acknowledged:
                    newest = revision_of.get(value, newest)
            wrong = [v for v in values if v in load.refused]
            if wrong:
                problems.append(f"{key}: refused for sure, yet there: {wrong}")
            there = {(r, v) for r, _, v, _ in history}
            lost = [pair for pair in load.acknowledged[key] if pair not in there]
            if lost:
                problems.append(f"{key}: acknowledged and lost: {lost}")
            found_count[0] += len(history)

        def walk_some(number):
            for key in load.keys[number::3]:
                try:
                    walk(number, key)
                except grpc.RpcError as problem:
                    problems.append(f"{key}: {problem!r}")

        walkers = [threading.Thread(target=walk_some, args=(i,)) for i in range(3)]
        began = time.monotonic()
        for walker in walkers:
            walker.start()
        for walker in walkers:
            walker.join(2 * e2e.LIMIT_S)
            self.assertFalse(walker.is_alive(), "walking the history takes too long")
        self.assertEqual(problems, [])
        self.assertEqual(found_count[0], newest_revision - 1, "one revision for each put found, none beside them")
        e2e.say(f"    {found_count[0]} revisions of {len(load.keys)} keys checked in {time.monotonic() - began:.1f} s")

    def full_ranges(self):
        self.cluster.wait_equal_revision()
        everything = {}
        for node in self.cluster:
            answer = node.client.range(b"\0", b"\0", serializable=True)
            everything[node.name] = (answer.header.revision, [kv.SerializeToString() for kv in answer.kvs])
        return everything


if __name__ == "__main__":
    e2e.main()
