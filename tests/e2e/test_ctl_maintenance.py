# SPDX-License-Identifier: Apache-2.0
"""
holdfastctl compact, hash and snapshot, and the reading options that came with them.
"""
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import tempfile
import unittest

import cluster as e2e
from ctl import OK, REFUSED, SERVER, UNREACHABLE, USAGE, CtlTest


class Maintenance(CtlTest):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="holdfast-ctl-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.file = os.path.join(self.directory, "backup.db")

    def test_compact(self):
        self.ok("put", "c", "1")
        old = self.revision()
        self.ok("put", "c", "2")
        self.assertEqual(self.ok("compact", str(old + 1)), f"compacted revision {old + 1}\n")
        self.fails(REFUSED, "compacted", "get", "c", "--rev", str(old))
        self.fails(REFUSED, "compacted", "compact", str(old))
        self.fails(REFUSED, "future revision", "compact", str(old + 1000))
        self.ok("put", "c", "3")
        self.assertEqual(self.ok("compact", str(old + 2), "--physical", "-o", "json"), f'{{"compacted":{old + 2}}}\n')
        for words in ((), ("x",), ("1", "2")):
            self.fails(USAGE, "usage", "compact", *words)

    def test_filters(self):
        self.ok("del", "g/", "--prefix")
        first = self.revision() + 1
        for key in ("g/1", "g/2", "g/1"):
            self.ok("put", key, "x")
        for option, revision, wanted in (("--min-mod-rev", first + 2, "g/1\n"), ("--max-mod-rev", first + 1, "g/2\n"),
                                         ("--min-create-rev", first + 1, "g/2\n"), ("--max-create-rev", first, "g/1\n")):
            self.assertEqual(self.ok("get", "g/", "--prefix", "--keys-only", option, str(revision)), wanted, option)

    def test_hash(self):
        self.ok("put", "hash", "1")
        revision = self.revision()
        self.ok("put", "hash", "2")
        out = self.ok("hash")
        self.assertIn(f"{len(self.addresses)} of {len(self.addresses)} members agree at revision {revision + 1}", out)
        got = json.loads(self.ok("hash", "-o", "json"))
        self.assertEqual((got["agree"], got["revision"], len(got["members"])), (True, revision + 1, len(self.addresses)))
        earlier = json.loads(self.ok("hash", "-o", "json", "--rev", str(revision)))
        self.assertNotEqual(earlier["members"][0]["hash"], got["members"][0]["hash"])
        code, out, _ = self.run_ctl("hash", "--rev", str(revision + 1000))
        self.assertEqual(code, REFUSED)
        self.assertIn("future revision", out)
        self.fails(USAGE, "usage", "hash", "surplus")
        self.fails(UNREACHABLE, "no endpoint", "hash", endpoints=f"127.0.0.1:{e2e.free_port()}")

    def run_ctl(self, *words, endpoints=None):
        return e2e.run([e2e.HOLDFASTCTL, "--endpoints", endpoints or self.endpoints, *words])

    def test_hashes_that_differ(self):
        """Members as they must never be: one differs, one has compacted elsewhere, one is gone."""
        rpc = __import__("rpc")
        answers = []

        def serve(address, index):
            def members(_requests, _context):
                yield rpc.proto("rpc").MemberListResponse(members=[
                    {"ID": i + 1, "name": f"m{i}", "clientURLs": ["http://" + a]} for i, a in enumerate(all_addresses)]
                ).SerializeToString()

            def hash_kv(_requests, _context):
                value, compacted = answers[index]
                yield rpc.proto("rpc").HashKVResponse(header={"revision": 7}, hash=value,
                                                      compact_revision=compacted).SerializeToString()

            return {"/etcdserverpb.Cluster/MemberList": members, "/etcdserverpb.Maintenance/HashKV": hash_kv}

        all_addresses = []
        fakes = [self.fake(serve(None, i)) for i in range(2)]
        all_addresses += [fake.address for fake in fakes]
        for answers, code, text, agree in (([(1, 3), (1, 3)], OK, "2 of 2 members agree at revision 7", True),
                                           ([(1, 3), (2, 3)], REFUSED, "THEY DIFFER", False),
                                           ([(1, 3), (1, 4)], REFUSED, "not comparable", None)):
            got, out, err = self.run_ctl("hash", endpoints=fakes[0].address)
            self.assertEqual(got, code, err)
            self.assertIn(text, out)
            got, out, err = self.run_ctl("hash", "-o", "json", endpoints=fakes[0].address)
            self.assertEqual((got, json.loads(out)["agree"]), (code, agree))
        answers = [(1, 3), (1, 3)]
        all_addresses.append(f"127.0.0.1:{e2e.free_port()}")
        got, out, _ = self.run_ctl("hash", endpoints=fakes[0].address)
        self.assertEqual(got, REFUSED)
        self.assertIn("2 of 3 members agree", out)

    # ---- snapshots

    def test_save(self):
        self.ok("put", "snap", "x" * 100000)
        self.assertEqual(self.ok("snapshot", "save", self.file), f"Snapshot saved at {self.file}\n")
        self.assertEqual(os.listdir(self.directory), ["backup.db"])
        self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode), 0o600)
        with open(self.file, "rb") as file:
            octets = file.read()
        self.assertEqual(octets[-32:], hashlib.sha256(octets[:-32]).digest())
        status = json.loads(self.ok("snapshot", "status", self.file, "-o", "json"))
        self.assertEqual((status["bytes"], status["sha256"]), (len(octets) - 32, "right"))
        self.assertIn(SERVER, status["kind"])
        self.assertIn("SHA-256 right", self.ok("snapshot", "status", self.file))
        if SERVER == "holdfast":
            self.assertEqual(sqlite3.connect(self.file).execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        self.ok("put", "snap", input_text="y" * 200000)
        self.ok("snapshot", "save", self.file, "-o", "json")  # replaces the old one
        for at in (0, len(octets) // 2, len(octets) - 1):
            bad = bytearray(octets)
            bad[at] ^= 1
            with open(self.file, "wb") as file:
                file.write(bad)
            code, out, err = self.run_ctl("snapshot", "status", self.file)
            self.assertEqual(code, REFUSED)
            self.assertIn("SHA-256 wrong", out)
            self.assertIn("damaged", err)

    def snapshots(self, blobs, status=None):
        rpc = __import__("rpc")

        def serve(_requests, context):
            for blob in blobs:
                yield rpc.proto("rpc").SnapshotResponse(blob=blob).SerializeToString()
            if status is not None:
                context.abort(getattr(rpc.grpc.StatusCode, status), "told so")

        return self.fake({"/etcdserverpb.Maintenance/Snapshot": serve}).address

    def test_pieces(self):
        """The digest is found in whatever pieces it comes; a stream that is an SQLite file opens."""
        source = os.path.join(self.directory, "source")
        with sqlite3.connect(source) as database:
            database.execute("CREATE TABLE t(x)")
            database.execute("INSERT INTO t VALUES (42)")
        database.close()
        with open(source, "rb") as file:
            octets = file.read()
        whole = octets + hashlib.sha256(octets).digest()
        for cuts in ([], [len(octets)], [1, 2, 3, len(octets) + 1], [len(whole) - 1], list(range(len(octets) - 40, len(whole), 7))):
            edges = [0, *cuts, len(whole)]
            self.ok("snapshot", "save", self.file, endpoints=self.snapshots([whole[a:b] for a, b in zip(edges, edges[1:])]))
            with open(self.file, "rb") as file:
                self.assertEqual(file.read(), whole, cuts)
        self.assertIn("holdfast (SQLite)", self.ok("snapshot", "status", self.file))
        database = sqlite3.connect(self.file)
        self.assertEqual(database.execute("SELECT x FROM t").fetchall(), [(42,)])
        self.assertEqual(database.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        database.close()

    def test_bad_streams(self):
        """FILE stays as it was, and nothing else is left."""
        with open(self.file, "w", encoding="ascii") as file:
            file.write("old")
        good = b"x" * 5000
        digest = hashlib.sha256(good).digest()
        for blobs, status, code, text in (([good, digest[:-1] + b"?"], None, REFUSED, "damaged"), ([good], None, REFUSED, "damaged"),
                                          ([good[1:], digest], None, REFUSED, "damaged"), ([], None, REFUSED, "damaged"),
                                          ([digest[:10]], None, REFUSED, "damaged"),
                                          ([good, digest], "INTERNAL", REFUSED, "told so"),
                                          ([good], "UNAVAILABLE", UNREACHABLE, "told so")):
            self.fails(code, text, "snapshot", "save", self.file, endpoints=self.snapshots(blobs, status))
            self.assertEqual(os.listdir(self.directory), ["backup.db"])
        with open(self.file, encoding="ascii") as file:
            self.assertEqual(file.read(), "old")
        # an endpoint that breaks off is not the end: the next one is asked from the start
        self.ok("snapshot", "save", self.file, endpoints=f"{self.snapshots([good], 'UNAVAILABLE')},"
                                                         f"{self.snapshots([good, digest])}")
        self.assertIn("SHA-256 right", self.ok("snapshot", "status", self.file))

    def test_files(self):
        self.fails(REFUSED, "cannot be created", "snapshot", "save", os.path.join(self.directory, "no", "such"))
        self.fails(REFUSED, "cannot be opened", "snapshot", "status", self.file)
        self.fails(REFUSED, "cannot be read", "snapshot", "status", self.directory)
        os.mkdir(self.file)
        self.fails(REFUSED, "cannot be put in place", "snapshot", "save", self.file)
        self.assertEqual(os.listdir(self.directory), ["backup.db"])
        os.rmdir(self.file)
        with open(self.file + ".part", "w", encoding="ascii"):
            pass
        self.fails(REFUSED, "is another one being saved", "snapshot", "save", self.file)
        os.unlink(self.file + ".part")
        for words in ((), ("save",), ("status",), ("restore", "x"), ("save", "a", "b"), ("save", "")):
            self.fails(USAGE, "usage", "snapshot", *words)
        self.fails(UNREACHABLE, "no endpoint", "snapshot", "save", self.file, endpoints=f"127.0.0.1:{e2e.free_port()}")
        self.fails(REFUSED, "does not have that call", "snapshot", "save", self.file, endpoints=self.fake({}).address)
        self.assertEqual(os.listdir(self.directory), [])

    def test_silent_and_interrupted(self):
        way = self.proxy()
        way.freeze()
        self.fails(UNREACHABLE, "nothing more came in time", "--timeout", "300ms", "snapshot", "save", self.file,
                   endpoints=way.address)
        save = self.begin("snapshot", "save", self.file, endpoints=way.address)
        e2e.wait_until(lambda: os.path.exists(self.file + ".part"), "it has begun")
        save.signal(signal.SIGINT)
        self.assertEqual(save.wait(), REFUSED)
        self.assertEqual(os.listdir(self.directory), [])


if __name__ == "__main__":
    e2e.main()
