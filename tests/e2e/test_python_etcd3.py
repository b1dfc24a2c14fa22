# SPDX-License-Identifier: Apache-2.0
"""
python-etcd3 (Debian's python3-etcd3, 0.12) against every node of holdfast and against etcd: the same test
body for each, so that what it asserts is what etcd does.
"""
import hashlib
import os
import tempfile
import threading
import unittest

# its generated messages are registered under the file names of ours: nothing here may load rpc.py
import etcd3

import clients
import cluster as e2e
import etcd
from clients import shows

CLIENT = "python3-etcd3 0.12"
SAME = "the same assertions against etcd and against each node"


class PythonEtcd3(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.oracle = etcd.Etcd()
        cls.ours = clients.Ours()

    @classmethod
    def tearDownClass(cls):
        cls.oracle.close()
        cls.ours.close()

    def each(self):
        """(number, client, client of another node of the same cluster) for etcd and for each node."""
        ours = self.ours.addresses
        for number, (address, other) in enumerate([(self.oracle.address, self.oracle.address),
                                                   *zip(ours, ours[1:] + ours[:1])]):
            with self.subTest(number=number):
                made = []
                for place in (address, other):
                    host, port = place.split(":")
                    made.append(etcd3.client(host=host, port=int(port), timeout=e2e.LIMIT_S,
                                             grpc_options={"grpc.enable_http_proxy": 0}.items()))
                try:
                    yield number, made[0], made[1]
                finally:
                    for client in made:
                        client.close()

    @shows(CLIENT, "put, get, get_prefix, get_range, get_all, delete, delete_prefix", SAME)
    def test_kv(self):
        for number, client, other in self.each():
            at = f"kv{number}/"
            self.assertEqual(client.get(at + "nobody"), (None, None))
            client.put(at + "b", "two")
            client.put(at + "a", "one")
            client.put(at + "c", b"\x00\xff")
            value, meta = other.get(at + "a")
            self.assertEqual((value, meta.key, meta.version), (b"one", (at + "a").encode(), 1))
            self.assertEqual(meta.create_revision, meta.mod_revision)
            self.assertEqual(client.put(at + "a", "again", prev_kv=True).prev_kv.value, b"one")
            self.assertEqual([value for value, _ in other.get_prefix(at)], [b"again", b"two", b"\x00\xff"])
            self.assertEqual([meta.key for _, meta in other.get_prefix(at, sort_order="descend", sort_target="key",
                                                                       keys_only=True)],
                             [(at + k).encode() for k in "cba"])
            self.assertEqual([value for value, _ in client.get_range(at + "a", at + "c")], [b"again", b"two"])
            self.assertEqual(sum(meta.key.startswith(at.encode()) for _, meta in client.get_all()), 3)
            self.assertTrue(client.delete(at + "a"))
            self.assertFalse(client.delete(at + "a"))
            self.assertEqual(client.delete_prefix(at).deleted, 2)
            self.assertEqual(list(other.get_prefix(at)), [])

    @shows(CLIENT, "transaction, put_if_not_exists, replace", SAME)
    def test_txn(self):
        for number, client, other in self.each():
            at = f"txn{number}/"
            self.assertTrue(client.put_if_not_exists(at + "a", "1"))
            self.assertFalse(other.put_if_not_exists(at + "a", "2"))
            self.assertTrue(other.replace(at + "a", "1", "3"))
            self.assertFalse(client.replace(at + "a", "1", "4"))
            ok, answers = client.transaction(
                compare=[client.transactions.value(at + "a") == "3", client.transactions.version(at + "a") > 1,
                         client.transactions.create(at + "b") == 0, client.transactions.mod(at + "a") != 0],
                success=[client.transactions.put(at + "b", "new"), client.transactions.get(at + "b"),
                         client.transactions.txn(compare=[], success=[client.transactions.put(at + "c", "inner")],
                                                 failure=[])],
                failure=[client.transactions.delete(at + "a")])
            self.assertTrue(ok)
            self.assertEqual(answers[1][0][0], b"new")
            ok, answers = client.transaction(compare=[client.transactions.value(at + "b") == "x"], success=[],
                                             failure=[client.transactions.get(at + "c"),
                                                      client.transactions.delete(at + "c")])
            self.assertFalse(ok)
            self.assertEqual(answers[0][0][0], b"inner")
            self.assertEqual(other.get(at + "c"), (None, None))

    @shows(CLIENT, "compact", SAME)
    def test_compact(self):
        for number, client, other in self.each():
            client.put(f"compact{number}", "1")
            client.put(f"compact{number}", "2")
            revision = other.get(f"compact{number}")[1].mod_revision
            client.compact(revision, physical=True)
            self.assertEqual(other.get(f"compact{number}")[0], b"2")
            with self.assertRaises(etcd3.exceptions.RevisionCompactedError) as caught:
                events, cancel = other.watch(f"compact{number}", start_revision=revision - 1)
                next(events)
            self.assertEqual(caught.exception.compacted_revision, revision)

    @shows(CLIENT, "watch, watch_prefix, watch_once, add_watch_callback, cancel_watch", SAME)
    def test_watch(self):
        for number, client, other in self.each():
            at = f"watch{number}/"
            client.put(at + "a", "1")
            begin = client.get(at + "a")[1].mod_revision
            events, cancel = client.watch_prefix(at, start_revision=begin, prev_kv=True)
            self.assertEqual(next(events).value, b"1")
            other.put(at + "b", "2")
            event = next(events)
            self.assertIsInstance(event, etcd3.events.PutEvent)
            self.assertEqual((event.key, event.value), ((at + "b").encode(), b"2"))
            other.delete(at + "a")
            event = next(events)
            self.assertIsInstance(event, etcd3.events.DeleteEvent)
            self.assertEqual((event.key, event.prev_value), ((at + "a").encode(), b"1"))
            cancel()
            self.assertEqual(list(events), [])
            seen, called = [], threading.Event()

            def callback(response, seen=seen, called=called):
                seen.extend(response.events)
                called.set()

            watch_id = client.add_watch_callback(at + "c", callback)
            other.put(at + "c", "3")
            self.assertTrue(called.wait(e2e.LIMIT_S))
            self.assertEqual([e.value for e in seen], [b"3"])
            client.cancel_watch(watch_id)
            thread = threading.Thread(target=lambda: [client.put(at + "d", str(i)) for i in range(200)])
            thread.start()
            self.assertEqual(client.watch_once(at + "d", timeout=e2e.LIMIT_S).key, (at + "d").encode())
            thread.join()

    @shows(CLIENT, "lease, get_lease_info, refresh, revoke_lease", SAME)
    def test_lease(self):
        for number, client, other in self.each():
            lease = client.lease(600)
            self.assertGreater(lease.id, 0)
            self.assertEqual(lease.granted_ttl, 600)
            client.put(f"lease{number}/a", "1", lease=lease)
            other.put(f"lease{number}/b", "1", lease=lease.id)
            self.assertEqual(other.get(f"lease{number}/a")[1].lease_id, lease.id)
            self.assertEqual(sorted(lease.keys), [b"lease%d/a" % number, b"lease%d/b" % number])
            self.assertLessEqual(lease.remaining_ttl, 600)
            (answer,) = lease.refresh()
            self.assertEqual((answer.ID, answer.TTL), (lease.id, 600))
            lease.revoke()
            self.assertEqual(list(other.get_prefix(f"lease{number}/")), [])
            self.assertEqual(client.get_lease_info(lease.id).TTL, -1)
            own = client.lease(600, lease_id=1000 + number)
            self.assertEqual(own.id, 1000 + number)
            with self.assertRaises(etcd3.exceptions.PreconditionFailedError):
                other.lease(600, lease_id=1000 + number)
            own.revoke()

    @shows(CLIENT, "lock", SAME + "; acquired by the second when the first has gone")
    def test_lock(self):
        for number, client, other in self.each():
            held = client.lock(f"lock{number}", ttl=60)
            self.assertTrue(held.acquire())
            self.assertTrue(held.is_acquired())
            second = other.lock(f"lock{number}", ttl=60)
            with self.assertRaises(TypeError):  # Debian's tenacity has another form of waits: it cannot wait
                second.acquire(timeout=1)
            self.assertFalse(second.is_acquired())
            self.assertTrue(held.is_acquired())
            self.assertTrue(held.release())
            self.assertFalse(held.is_acquired())
            self.assertTrue(second.acquire())
            self.assertTrue(second.is_acquired())
            self.assertFalse(held.release())
            self.assertTrue(second.release())
            with client.lock(f"lock{number}", ttl=60) as lock:
                self.assertTrue(lock.is_acquired())

    @shows(CLIENT, "members, status", SAME)
    def test_members(self):
        for _, client, other in self.each():
            names = [member.name for member in client.members]
            self.assertEqual(sorted(names), sorted(member.name for member in other.members))
            status = client.status()
            self.assertIn(status.leader.name, names)
            self.assertGreater(status.db_size, 0)

    @shows(CLIENT, "hash, defragment, list_alarms", SAME)
    def test_maintenance(self):
        for _, client, other in self.each():
            self.assertGreater(client.hash(), 0)
            client.defragment()
            self.assertEqual(list(other.list_alarms()), [])

    @shows(CLIENT, "snapshot", SAME + ": the digest at its end is right")
    def test_snapshot(self):
        for _, client, _other in self.each():
            with tempfile.TemporaryFile() as file:
                client.snapshot(file)
                file.seek(0)
                octets = file.read()
            self.assertGreater(len(octets), 512)
            self.assertEqual(hashlib.sha256(octets[:-32]).digest(), octets[-32:])


def _hook(what, usual=threading.excepthook):
    """This client's watch thread does not end with its client; it ends in this error."""
    if not (what.exc_type is ValueError and "Channel closed" in str(what.exc_value)):
        usual(what)


if __name__ == "__main__":
    threading.excepthook = _hook
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    e2e.main()
