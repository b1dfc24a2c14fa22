# SPDX-License-Identifier: Apache-2.0
"""
HashKV and Snapshot of a real cluster under load: all members agree at equal revisions; a snapshot is a
database that the stock sqlite3 opens, ends with the digest of what went before, holds everything that was
acknowledged before it was asked for, and a client that does not read one costs nobody anything.
"""
import hashlib
import os
import sqlite3
import subprocess
import tempfile
import threading

import grpc

import cluster as e2e
import rpc

KEYS = 3000
VALUE = b"v" * 500


def hash_kv(node, revision=0):
    with rpc.Client(node.client_address) as client:
        return client.call("/etcdserverpb.Maintenance/HashKV", client.rpc.HashKVRequest(revision=revision),
                           client.rpc.HashKVResponse)


class Load:
    """Puts from a thread until told to stop; `acknowledged` is the newest revision answered."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.acknowledged = 0
        self.count = 0
        self.error = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            with rpc.Client(self.cluster["n1"].client_address) as client:
                while not self._stop.is_set():
                    answer = client.put(f"load/{self.count % 500:04d}", VALUE)
                    self.acknowledged = answer.header.revision
                    self.count += 1
        except grpc.RpcError as problem:
            self.error = problem

    def __enter__(self):
        self._thread.start()
        e2e.wait_until(lambda: self.count > 20, "the load to run")
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


class Maintenance(e2e.ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with rpc.Client(cls.cluster["n1"].client_address) as client:
            waiting = []
            call = client.channel.unary_unary("/etcdserverpb.KV/Put",
                                              request_serializer=lambda m: m.SerializeToString(),
                                              response_deserializer=client.rpc.PutResponse.FromString)
            for i in range(KEYS):
                waiting.append(call.future(client.rpc.PutRequest(key=b"key/%06d" % i, value=VALUE),
                                           timeout=client.timeout_s))
                if len(waiting) == 100:
                    for future in waiting:
                        future.result()
                    waiting.clear()
            for future in waiting:
                future.result()

    def test_members_agree_at_equal_revisions(self):
        with Load(self.cluster) as load:
            for _ in range(5):
                revision = load.acknowledged
                for node in self.cluster:
                    e2e.wait_until(lambda n=node: _status(n).header.revision >= revision, f"{node.name} to apply")
                answers = [hash_kv(node, revision) for node in self.cluster]
                self.assertEqual(1, len({answer.hash for answer in answers}), answers)
                self.assertEqual({revision}, {answer.hash_revision for answer in answers})
        self.assertIsNone(load.error)
        one = hash_kv(self.cluster["n1"], revision)
        self.assertEqual(one.hash, answers[0].hash)
        self.assertNotEqual(one.hash, hash_kv(self.cluster["n1"], revision - 1).hash)
        with self.assertRaises(grpc.RpcError) as refused:
            hash_kv(self.cluster["n2"], revision + 1000000)
        self.assertEqual(grpc.StatusCode.OUT_OF_RANGE, refused.exception.code())
        self.assertEqual("etcdserver: mvcc: required revision is a future revision", refused.exception.details())

    def test_snapshot_under_load(self):
        for node in self.cluster:
            with Load(self.cluster) as load, tempfile.TemporaryDirectory() as place:
                e2e.wait_until(lambda: _status(node).header.revision >= load.acknowledged - 5, "the node to follow")
                before = _status(node).header.revision
                path = os.path.join(place, "snapshot.db")
                digest = hashlib.sha256()
                last = None
                with rpc.Client(node.client_address) as client, open(path, "wb") as file:
                    for message in _snapshot(client):
                        if last is not None:
                            digest.update(last.blob)
                            file.write(last.blob)
                            if message.remaining_bytes:
                                self.assertEqual(last.remaining_bytes - len(message.blob), message.remaining_bytes)
                        last = message
                self.assertEqual(0, last.remaining_bytes)
                self.assertEqual(digest.digest(), last.blob)
                self.assertEqual(0, os.path.getsize(path) % 512)
                database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
                self.assertEqual("ok", database.execute("PRAGMA integrity_check").fetchone()[0])
                revision = database.execute("SELECT revision FROM meta").fetchone()[0]
                self.assertGreaterEqual(revision, before)
                self.assertEqual(KEYS, database.execute(
                    "SELECT count(*) FROM kv_readable WHERE key GLOB 'key/*'").fetchone()[0])
                self.assertEqual(revision, database.execute("SELECT max(change >> 20) FROM history").fetchone()[0])
                database.close()
            self.assertIsNone(load.error)

    def test_who_does_not_read_delays_nobody(self):
        node = self.cluster["n2"]
        with rpc.Client(node.client_address) as client:
            for i in range(40):  # more than sockets and the client's own windows hold
                client.put(f"large/{i}", os.urandom(1 << 20))
        with rpc.Client(node.client_address) as lazy:
            stream = _snapshot(lazy)
            next(stream)  # and never again: what it may have in flight is bounded
            with rpc.Client(node.client_address) as client:
                self.assertGreater(len(list(_snapshot(client))), 10)
                client.put("beside", "it")
            self.assertTrue(_copies(node), "the copy that is still wanted is gone")
            stream.cancel()
        e2e.wait_until(lambda: not _copies(node), "the copies to be removed")

    def test_etcdctl(self):
        with tempfile.TemporaryDirectory() as place:
            path = os.path.join(place, "snapshot.db")
            environment = dict(os.environ, ETCDCTL_API="3")
            subprocess.run(["etcdctl", "--endpoints", self.cluster["n3"].client_address, "snapshot", "save", path],
                           check=True, capture_output=True, timeout=e2e.LIMIT_S, env=environment)
            database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            self.assertGreaterEqual(database.execute("SELECT count(*) FROM kv_readable").fetchone()[0], KEYS)
            database.close()


def _status(node):
    with rpc.Client(node.client_address) as client:
        return client.status()


def _snapshot(client):
    call = client.channel.unary_stream("/etcdserverpb.Maintenance/Snapshot",
                                       request_serializer=lambda m: m.SerializeToString(),
                                       response_deserializer=client.rpc.SnapshotResponse.FromString)
    return call(client.rpc.SnapshotRequest(), timeout=e2e.LIMIT_S)


def _copies(node):
    return [name for name in os.listdir(node.group_dir) if name.startswith("snapshot-")]


if __name__ == "__main__":
    e2e.main()
