# SPDX-License-Identifier: Apache-2.0
"""
Watches of a real cluster of three: what a watcher is told, at every node, from history and live; that it is told
everything once and in order whatever dies meanwhile; and that one who does not read costs the others
nothing.
"""
import itertools
import os
import shutil
import subprocess
import threading
import unittest

import grpc

import cluster as e2e
import rpc
import watching

ETCDCTL = shutil.which("etcdctl")
PUT, DELETE = 0, 1


def brief(event):
    """(type, key, value, mod_revision)"""
    return event.type, event.kv.key.decode(), event.kv.value.decode(), event.kv.mod_revision


class Watch(e2e.ClusterTest):
    def setUp(self):
        self.node = self.cluster["n1"]
        self.client = self.node.client
        self.prefix = self.id().rsplit(".", 1)[-1] + "/"

    def stream(self, node=None, **more):
        stream = watching.Stream((node or self.node).client, **more)
        self.addCleanup(stream.close)
        return stream

    def put(self, key, value="v", **more):
        return self.client.put(self.prefix + key, value, **more).header.revision

    def test_history_then_live_at_every_node(self):
        revisions = [self.put(f"k{i % 7}", str(i)) for i in range(50)]
        streams = []
        for node in self.cluster:
            stream = self.stream(node)
            created = stream.prefix(self.prefix, start_revision=revisions[0])
            self.assertTrue(created.created)
            self.assertEqual(created.watch_id, 0)
            self.assertEqual(created.header.member_id, node.client.status().header.member_id)
            streams.append(stream)
        revisions += [self.put(f"k{i % 7}", str(i)) for i in range(50, 100)]
        for stream in streams:
            events = stream.take_events(100)
            self.assertEqual([e.kv.mod_revision for e in events], revisions)
            self.assertEqual([e.kv.value for e in events], [str(i).encode() for i in range(100)])

    def test_now_means_after_what_was_answered(self):
        stream = self.stream()
        for i in range(20):
            before = self.put("x", str(i))
            created = stream.create(self.prefix + "x")
            self.assertGreaterEqual(created.header.revision, before)
            after = self.put("x", f"after-{i}")
            (event,) = stream.take_events(1)
            self.assertEqual(event.kv.mod_revision, after)
            stream.cancel(created.watch_id)
            self.assertTrue(stream.take().canceled)

    def test_deletes_filters_and_previous(self):
        plain, previous, no_put, no_delete = (self.stream() for _ in range(4))
        plain.prefix(self.prefix)
        previous.prefix(self.prefix, prev_kv=True)
        no_put.prefix(self.prefix, filters=[0])
        no_delete.prefix(self.prefix, filters=[1])
        r1 = self.put("a", "one")
        r2 = self.put("a", "two")
        self.put("b", "three")
        gone = self.client.delete(self.prefix, rpc.prefix_end(self.prefix.encode())).header.revision
        for stream in (plain, previous):
            events = stream.take_events(5)
            self.assertEqual([e.type for e in events], [PUT, PUT, PUT, DELETE, DELETE])
            self.assertEqual([e.kv.key[-1:] for e in events[3:]], [b"a", b"b"])
            self.assertEqual([e.kv.mod_revision for e in events[3:]], [gone, gone])
            self.assertEqual(events[3].kv.value, b"")
            self.assertEqual(events[3].kv.create_revision, 0)
            self.assertEqual(events[3].kv.version, 0)
            self.assertEqual(events[1].kv.version, 2)
            if stream is plain:
                self.assertFalse(any(e.HasField("prev_kv") for e in events))
            else:
                self.assertFalse(events[0].HasField("prev_kv"))
                self.assertEqual((events[1].prev_kv.value, events[1].prev_kv.mod_revision), (b"one", r1))
                self.assertEqual((events[3].prev_kv.value, events[3].prev_kv.mod_revision), (b"two", r2))
                self.assertEqual(events[4].prev_kv.value, b"three")
        self.assertEqual([e.type for e in no_put.take_events(2)], [DELETE, DELETE])
        self.assertEqual([e.type for e in no_delete.take_events(3)], [PUT, PUT, PUT])
        # the same from history
        late = self.stream()
        late.prefix(self.prefix, start_revision=r1, prev_kv=True)
        events = late.take_events(5)
        self.assertEqual(events[3].prev_kv.value, b"two")
        self.assertFalse(events[0].HasField("prev_kv"))
        # all events of one revision are in one response
        both = self.stream()
        both.prefix(self.prefix)
        self.put("a", "1")
        self.put("b", "1")
        self.client.delete(self.prefix, rpc.prefix_end(self.prefix.encode()))
        self.assertEqual(len(both.take().events), 1)
        self.assertEqual(len(both.take().events), 1)
        self.assertEqual(len(both.take().events), 2)

    def test_ids_and_refusals(self):
        stream = self.stream()
        self.assertEqual(stream.create("a").watch_id, 0)
        self.assertEqual(stream.create("a").watch_id, 1)
        self.assertEqual(stream.create("a", watch_id=2).watch_id, 2)
        self.assertEqual(stream.create("a").watch_id, 3)
        self.assertEqual(stream.create("a", watch_id=77).watch_id, 77)
        for answer, reason in (
                (stream.create("a", watch_id=77), "mvcc: duplicate watch ID provided on the WatchStream"),
                (stream.create("b", "a"), "mvcc: watcher range is empty"),
                (stream.create("b", "b"), "mvcc: watcher range is empty"),
                (stream.create("a", start_revision=-1), "etcdserver: mvcc: required revision has been compacted")):
            self.assertEqual((answer.created, answer.canceled, answer.watch_id, answer.cancel_reason),
                             (True, True, -1, reason))
        stream.send()  # an empty oneof
        stream.cancel(12345)  # nobody's
        stream.cancel(3)
        answer = stream.take()
        self.assertEqual((answer.canceled, answer.watch_id, answer.cancel_reason), (True, 3, ""))
        self.assertEqual(stream.create("a").watch_id, 4)
        # etcd's empty key is the least key
        self.assertEqual(stream.create(b"", b"\0").watch_id, 5)

    def test_future_revision_is_silent_until_then(self):
        now = self.put("x")
        stream = self.stream()
        stream.prefix(self.prefix, start_revision=now + 3)
        stream.progress()
        for i in range(4):
            self.put("x", str(i))
        events = stream.take_events(2)
        self.assertEqual([e.kv.mod_revision for e in events], [now + 3, now + 4])
        stream.progress()
        answer = stream.take()
        self.assertEqual((answer.watch_id, len(answer.events)), (-1, 0))
        self.assertGreaterEqual(answer.header.revision, now + 4)

    def test_progress_comes_behind_the_events_before_it(self):
        stream = self.stream()
        stream.progress()  # no watcher: no answer
        stream.prefix(self.prefix)
        last = 0
        for i in range(100):
            last = self.put("x", str(i))
            if i % 10 == 9:
                stream.progress()
        seen = 0
        progress = 0
        while seen < last or progress < last:
            answer = stream.take()
            if answer.events:
                self.assertGreater(answer.events[0].kv.mod_revision, progress)
                seen = answer.events[-1].kv.mod_revision
            else:
                self.assertEqual(answer.watch_id, -1)
                progress = answer.header.revision
                self.assertGreaterEqual(progress, seen)
                if seen == last and progress < last:
                    stream.progress()

    def test_half_close_does_not_end_it(self):
        stream = self.stream()
        stream.create(self.prefix + "x")
        stream.half_close()
        revision = self.put("x")
        self.assertEqual(stream.take_events(1)[0].kv.mod_revision, revision)
        self.assertEqual(self.put("x"), stream.take_events(1)[0].kv.mod_revision)

    def test_fragments(self):
        value = b"x" * 1_000_000
        for key in "abc":
            self.put(key, value)
        whole, pieces = self.stream(), self.stream()
        whole.prefix(self.prefix, prev_kv=True)
        pieces.prefix(self.prefix, prev_kv=True, fragment=True)
        self.client.delete(self.prefix, rpc.prefix_end(self.prefix.encode()))
        answer = whole.take()
        self.assertEqual((len(answer.events), answer.fragment), (3, False))
        answers = [pieces.take()]
        while answers[-1].fragment:
            answers.append(pieces.take())
        self.assertEqual([len(a.events) for a in answers], [2, 1])
        self.assertEqual([a.fragment for a in answers], [True, False])
        self.assertEqual(len({a.header.revision for a in answers}), 1)
        self.assertEqual([e.kv.key[-1:] for a in answers for e in a.events], [b"a", b"b", b"c"])
        self.assertEqual(answers[0].events[0].prev_kv.value, value)

    def test_many_watches_of_one_stream(self):
        count = 500
        stream = self.stream()
        for i in range(count):
            stream.send_create(f"{self.prefix}{i:04}")
        self.assertEqual([stream.take().watch_id for _ in range(count)], list(range(count)))
        for i in range(count):
            self.put(f"{i:04}", str(i))
        seen = [stream.take() for _ in range(count)]
        self.assertEqual([(a.watch_id, a.events[0].kv.value) for a in seen],
                         [(i, str(i).encode()) for i in range(count)])

    def test_slow_reader_costs_the_others_nothing(self):
        """A client that never reads; puts and others' watches go on, and when it reads it lacks nothing."""
        slow = self.stream(reading=False)
        slow.send_create(self.prefix, rpc.prefix_end(self.prefix.encode()), prev_kv=True)
        fast = self.stream()
        fast.prefix(self.prefix)
        value = "y" * 100_000
        revisions = [self.put(f"k{i % 3}", f"{i}-{value}") for i in range(200)]  # 40 MB with prev_kv
        events = fast.take_events(200)
        self.assertEqual([e.kv.mod_revision for e in events], revisions)
        slow.start_reading()
        first = slow.take()
        self.assertTrue(first.created)
        events = [e for e in self._take_until(slow, revisions[-1]) if e.kv.mod_revision >= revisions[0]]
        expected = [r for r in revisions if r > first.header.revision]
        self.assertEqual([e.kv.mod_revision for e in events], expected)

    def test_compaction(self):
        first = self.put("a", "1")
        self.put("a", "2")
        gone = self.client.delete(self.prefix + "a").header.revision
        last = self.put("b", "3")
        lagging = self.stream()  # at the compacted revision itself: what survived there is told
        request = self.client.rpc.CompactionRequest(revision=gone, physical=True)
        try:
            self.client.call("/etcdserverpb.KV/Compact", request, self.client.rpc.CompactionResponse)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                self.skipTest("no compaction yet")
            raise
        stream = self.stream()
        created = stream.prefix(self.prefix, start_revision=first)
        self.assertEqual((created.created, created.canceled), (True, False))
        answer = stream.take()
        self.assertEqual((answer.canceled, answer.compact_revision, answer.header.revision, answer.cancel_reason),
                         (True, gone, 0, ""))
        self.assertEqual(answer.watch_id, created.watch_id)
        lagging.prefix(self.prefix, start_revision=gone, prev_kv=True)
        events = lagging.take_events(2)
        self.assertEqual([(e.type, e.kv.mod_revision) for e in events], [(DELETE, gone), (PUT, last)])
        self.assertFalse(events[0].HasField("prev_kv"))

    def _take_until(self, stream, revision):
        events = []
        while not events or events[-1].kv.mod_revision < revision:
            events += stream.take().events
        return events

    @unittest.skipUnless(ETCDCTL, "no etcdctl")
    def test_etcdctl_watch(self):
        first = self.put("a", "one")
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "ETCDCTL_API": "3"}
        process = e2e.start_process([ETCDCTL, "--endpoints", self.node.client_address, "watch", "--prefix",
                                     "--prev-kv", "--rev", str(first), self.prefix],
                                    stdout=subprocess.PIPE, env=environment, text=True)
        patience = threading.Timer(e2e.LIMIT_S, process.kill)  # then the lines read are too few
        patience.start()
        try:
            read = lambda count: [process.stdout.readline().rstrip("\n") for _ in range(count)]
            self.assertEqual(read(3), ["PUT", self.prefix + "a", "one"])
            self.put("a", "two")
            self.assertEqual(read(5), ["PUT", self.prefix + "a", "one", self.prefix + "a", "two"])
            self.client.delete(self.prefix + "a")
            self.assertEqual(read(5), ["DELETE", self.prefix + "a", "two", self.prefix + "a", ""])
        finally:
            patience.cancel()
            process.kill()
            process.wait()
            process.stdout.close()


class Progress(unittest.TestCase):
    def test_quiet_watchers_are_told_how_far_they_are(self):
        cluster = e2e.Cluster(1, name="progress", extra="watch = { progress_interval_ms = 200; };")
        self.addCleanup(cluster.close)
        cluster.start()
        cluster.wait_healthy()
        client = cluster["n1"].client
        stream = watching.Stream(client)
        self.addCleanup(stream.close)
        stream.create("x", progress_notify=True)
        stream.create("x")
        last = client.put("elsewhere", "1").header.revision
        answer = stream.take()
        while answer.header.revision < last:
            answer = stream.take()
        self.assertEqual((answer.watch_id, len(answer.events), answer.created), (0, 0, False))
        self.assertEqual(answer.header.revision, last)


class Leaderless(unittest.TestCase):
    def test_hasleader_streams_end_and_others_stay(self):
        cluster = e2e.Cluster(3, name="leaderless")
        self.addCleanup(cluster.close)
        cluster.start()
        cluster.wait_healthy()
        node = cluster["n1"]
        insisting = watching.Stream(node.client, metadata=(("hasleader", "true"),))
        patient = watching.Stream(node.client)
        self.addCleanup(insisting.close)
        self.addCleanup(patient.close)
        insisting.create("x")
        patient.create("x")
        cluster["n2"].kill9()
        cluster["n3"].kill9()
        self.assertTrue(insisting.ended.wait(e2e.LIMIT_S))
        refused = watching.Stream(node.client, metadata=(("hasleader", "true"),))
        self.addCleanup(refused.close)
        refused.send_create("x")
        self.assertTrue(refused.ended.wait(e2e.LIMIT_S))
        for stream in (insisting, refused):
            self.assertEqual((stream.error.code(), stream.error.details()),
                             (grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader"))
        self.assertFalse(patient.ended.is_set())
        cluster["n2"].start()
        cluster["n3"].start()
        cluster.wait_healthy()
        revision = node.client.put("x", "1").header.revision
        self.assertEqual(patient.take_events(1)[0].kv.mod_revision, revision)


class Chaos(unittest.TestCase):
    """Every put is seen exactly once and in order, by watchers that go on at another node when theirs dies."""

    WRITERS, WATCHERS, KILLS, KEYS = 3, 4, 5, 5

    def test_every_put_is_seen_once_and_in_order(self):
        cluster = e2e.Cluster(3, name="chaos")
        self.addCleanup(cluster.close)
        cluster.start()
        cluster.wait_healthy()
        self.cluster = cluster
        self.stop_writing = threading.Event()
        self.done = threading.Event()
        self.last_revision = 0
        self.acknowledged = {}  # revision -> (key, value)
        self.lock = threading.Lock()
        self.failures = []
        first = cluster["n1"].client.put("chaos/first", "0").header.revision
        writers = [threading.Thread(target=self.guard, args=(self.write, i)) for i in range(self.WRITERS)]
        self.seen = [[] for _ in range(self.WATCHERS)]
        watchers = [threading.Thread(target=self.guard, args=(self.watch, i, first))
                    for i in range(self.WATCHERS)]
        for thread in writers + watchers:
            thread.start()
        for _ in range(self.KILLS):
            before = self.count()
            e2e.wait_until(lambda: self.count() > before + 50 or self.failures, "writes go on")
            victim = cluster.leader()
            victim.kill9()
            before = self.count()
            e2e.wait_until(lambda: self.count() > before + 50 or self.failures, "writes go on without it")
            victim.start()
            victim.wait_healthy()
        self.stop_writing.set()
        for thread in writers:
            thread.join(e2e.LIMIT_S)
        self.last_revision = cluster["n1"].client.put("chaos/last", "0").header.revision
        self.done.set()
        for thread in watchers:
            thread.join(e2e.LIMIT_S)
            self.assertFalse(thread.is_alive(), "a watcher never saw the end")
        self.assertEqual(self.failures, [])
        for seen in self.seen:
            revisions = [r for r, _, _ in seen]
            self.assertEqual(revisions, list(range(first, self.last_revision + 1)))
            told = {r: (k, v) for r, k, v in seen}
            for revision, pair in self.acknowledged.items():
                self.assertEqual(told[revision], pair)
        self.assertEqual(self.seen[0], self.seen[1])
        e2e.say(f"{len(self.acknowledged)} puts, {self.reconnects} reconnects")

    reconnects = 0

    def count(self):
        with self.lock:
            return len(self.acknowledged)

    def guard(self, work, *arguments):
        try:
            work(*arguments)
        except Exception as problem:  # pylint: disable=broad-except
            self.failures.append(repr(problem))

    def write(self, number):
        nodes = itertools.cycle(list(self.cluster)[number % 3:] + list(self.cluster)[:number % 3])
        node = next(nodes)
        client = rpc.Client(node.client_address)
        i = 0
        while not self.stop_writing.is_set():
            key, value = f"chaos/{number}-{i % self.KEYS}".encode(), str(i).encode()
            i += 1
            try:
                revision = client.put(key, value, timeout_s=2).header.revision
                with self.lock:
                    self.acknowledged[revision] = (key, value)
            except grpc.RpcError:  # perhaps carried out, perhaps not; the watchers agree in any case
                client.close()
                node = next(nodes)
                client = rpc.Client(node.client_address)
        client.close()

    def watch(self, number, first):
        """As etcd's clients do: after a break, go on behind the last revision seen."""
        nodes = itertools.cycle(list(self.cluster)[number % 3:] + list(self.cluster)[:number % 3])
        following = first
        while not (self.done.is_set() and following > self.last_revision):
            client = rpc.Client(next(nodes).client_address)
            stream = watching.Stream(client, metadata=(("hasleader", "true"),) if number % 2 else None)
            stream.send_create(b"chaos/", b"chaos0", start_revision=following)
            while not (self.done.is_set() and following > self.last_revision):
                try:
                    response = stream.responses.get(timeout=0.5)
                except Exception:  # pylint: disable=broad-except
                    continue  # quiet for now
                if response is None:
                    self.reconnects += 1
                    break
                for event in response.events:
                    self.seen[number].append((event.kv.mod_revision, event.kv.key, event.kv.value))
                    following = event.kv.mod_revision + 1
            stream.close()
            client.close()


if __name__ == "__main__":
    e2e.main()
