# SPDX-License-Identifier: Apache-2.0
"""
A member that lacks what the logs no longer hold gets a snapshot, while everything goes on: from real
processes with a small log. It has all afterwards, also when either side is killed in the middle, its watchers
lose nothing, and the logs stay small (Raft §7; traps 46, 47, 48, 58).
"""
import os
import sqlite3
import threading
import time
import unittest

import cluster as e2e
import rpc

LOG_KEEP = 1 << 20
VALUE = b"v" * 2000


def hash_kv(node, revision):
    with rpc.Client(node.client_address) as client:
        return client.call("/etcdserverpb.Maintenance/HashKV", client.rpc.HashKVRequest(revision=revision),
                           client.rpc.HashKVResponse).hash


def revision_of(node):
    with rpc.Client(node.client_address) as client:
        return client.status().header.revision


def log_rows(node):
    database = sqlite3.connect(f"file:{node.data_dir}/raft.db?mode=ro", uri=True)
    try:
        return database.execute("SELECT count(*), coalesce(sum(length(data)), 0) FROM log").fetchone()
    finally:
        database.close()


def incoming_bytes(node):
    try:
        return os.path.getsize(os.path.join(node.group_dir, "kv-1.db"))
    except FileNotFoundError:
        return 0


def write(node, count, prefix="key", value=VALUE):
    """Puts over one channel, a window at a time; returns the last revision."""
    with rpc.Client(node.client_address) as client:
        call = client.channel.unary_unary("/etcdserverpb.KV/Put",
                                          request_serializer=lambda m: m.SerializeToString(),
                                          response_deserializer=client.rpc.PutResponse.FromString)
        waiting = []
        revision = 0
        for i in range(count):
            waiting.append(call.future(client.rpc.PutRequest(key=f"{prefix}/{i % 997:04d}".encode(), value=value),
                                       timeout=e2e.LIMIT_S))
            if len(waiting) == 64 or i == count - 1:
                revision = max(future.result().header.revision for future in waiting)
                waiting.clear()
        return revision


class Snapshot(unittest.TestCase):
    def setUp(self):
        self.cluster = e2e.Cluster(raft=f"log_keep_bytes = {LOG_KEEP};")
        self.cluster.start()

    def tearDown(self):
        self.cluster.close()

    def leader_and_followers(self):
        leader = self.cluster.leader()
        return leader, [node for node in self.cluster if node is not leader]

    def check_equal(self, revision):
        for node in self.cluster:
            e2e.wait_until(lambda n=node: revision_of(n) >= revision, f"{node.name} to have revision {revision}")
        self.assertEqual(1, len({hash_kv(node, revision) for node in self.cluster}))

    def test_a_member_that_was_away(self):
        leader, (away, other) = self.leader_and_followers()
        write(leader, 500)
        away.kill9()
        revision = write(other, 4000)  # 8 MB, of which the logs keep one
        e2e.wait_until(lambda: log_rows(leader)[1] < 4 * LOG_KEEP, "the leader's log to be trimmed")
        away.start()
        away.wait_log("snapshot installed")
        self.check_equal(revision)
        revision = write(away, 200, "after")
        self.check_equal(revision)
        self.assertEqual(["kv-1.db", "kv.db"], sorted(name for name in os.listdir(away.group_dir)
                                                      if name.startswith("kv") and name.endswith(".db")))
        # what it got is its own: it starts again without help
        away.terminate()
        away.start()
        away.wait_healthy()
        self.check_equal(revision)
        e2e.wait_until(lambda: not [n for n in os.listdir(leader.group_dir) if n.startswith("snapshot-")],
                       "the leader to remove its copy")

    def test_frozen_member_with_watchers(self):
        leader, (frozen, other) = self.leader_and_followers()
        seen = []
        with rpc.Client(frozen.client_address) as client:
            requests = [client.rpc.WatchRequest(create_request=client.rpc.WatchCreateRequest(
                key=b"watched/", range_end=b"watched0", start_revision=1))]
            done = threading.Event()

            def outgoing():
                yield requests[0]
                done.wait()

            call = client.channel.stream_stream("/etcdserverpb.Watch/Watch",
                                                request_serializer=lambda m: m.SerializeToString(),
                                                response_deserializer=client.rpc.WatchResponse.FromString)(outgoing())
            self.assertTrue(next(call).created)
            write(leader, 100, "watched")
            frozen.pause()
            last = write(other, 4000, "watched")
            e2e.wait_until(lambda: log_rows(leader)[1] < 4 * LOG_KEEP, "the leader's log to be trimmed")
            frozen.resume()
            frozen.wait_log("snapshot installed")
            expected = None
            while not seen or seen[-1] < last:
                for event in next(call).events:
                    expected = event.kv.mod_revision if expected is None else expected + 1
                    self.assertEqual(expected, event.kv.mod_revision)
                    seen.append(event.kv.mod_revision)
            done.set()
            call.cancel()
        self.assertEqual(4100, len(seen))

    def test_killed_in_the_middle(self):
        leader, (away, _other) = self.leader_and_followers()
        write(leader, 500)
        away.kill9()
        write(leader, 12000, value=b"w" * 3000)
        for begun in range(1, 5):
            away.start()
            e2e.wait_until(lambda count=begun: away.log_text().count("receiving a snapshot") >= count,
                           "the snapshot to begin", every_s=0.002)
            if begun < 4:
                e2e.wait_until(lambda: incoming_bytes(away) > 0, "octets to arrive", every_s=0.002)
                away.kill9()
        # of the same copy it has the beginning
        begun_at = [(line.split("index=")[1].split()[0], int(line.split("from=")[1].split()[0]))
                    for line in away.log_text().splitlines() if "receiving a snapshot" in line]
        self.assertTrue(any(index == before and offset > 0 for (before, _), (index, offset)
                            in zip(begun_at, begun_at[1:])), begun_at)
        leader.kill9()  # the sender, at any moment of it
        away.wait_healthy()
        revision = write(away, 50, "later")
        leader.start()
        leader.wait_healthy()
        self.check_equal(revision)

    def test_the_log_stays_small_under_load(self):
        leader, (away, other) = self.leader_and_followers()
        away.kill9()
        write(other, 6000)
        e2e.wait_until(lambda: log_rows(leader)[1] < 4 * LOG_KEEP, "the leader's log to be trimmed")
        stop = threading.Event()
        gaps = []

        def load():
            with rpc.Client(other.client_address) as client:
                before = time.monotonic()
                while not stop.is_set():
                    client.put("load", VALUE)
                    now = time.monotonic()
                    gaps.append(now - before)
                    before = now

        thread = threading.Thread(target=load)
        thread.start()
        try:
            away.start()
            away.wait_log("snapshot installed")
        finally:
            stop.set()
            thread.join()
        self.assertGreater(len(gaps), 10)
        self.check_equal(revision_of(leader))


if __name__ == "__main__":
    e2e.main()
