# SPDX-License-Identifier: Apache-2.0
"""
What a random run cannot compare, because a clock or chance decides it, or because it needs a setting of its
own: leases that expire, ids that a server chooses, events too large for one response, what stays of an id
whose watcher was cancelled. Each is done on etcd and on holdfast, and the same is asserted of both.

HOLDFAST_AGAINST=etcd puts a second etcd in holdfast's place.
"""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import sides  # noqa: E402
import diff  # noqa: E402
from ops import METHODS, pb  # noqa: E402
from watches import Stream  # noqa: E402

AGAINST = "etcd" if os.environ.get("HOLDFAST_AGAINST") == "etcd" else "holdfast"


class Scenarios(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.both = diff.start_pair(AGAINST)

    @classmethod
    def tearDownClass(cls):
        for side in cls.both:
            side.stop()

    def each(self):
        for side in self.both:
            with self.subTest(side=side.name):
                yield side

    @staticmethod
    def ask(side, kind, request, node=0):
        answer = side.wait(side.send(node, METHODS[kind], request))
        assert answer.code == 0, f"{side.name}: {kind}: {answer.code} {answer.text}"
        return answer.message

    def keys(self, side, prefix, node=0):
        found = self.ask(side, "Range", pb.RangeRequest(key=prefix, range_end=sides.rpc.prefix_end(prefix)), node)
        return [kv.key for kv in found.kvs], found.header.revision

    def watch(self, side, create, node=0):
        stream = Stream(side, node)
        self.addCleanup(stream.close)
        stream.send(pb.WatchRequest(create_request=create))
        stream.wait(lambda s: s.control, "created")
        return stream

    def test_headers(self):
        """Cluster answers have no revision, Defragment has no header, everything else says the current one."""
        for side in self.each():
            revision = self.ask(side, "Put", pb.PutRequest(key=b"header")).header.revision
            members = side.clients[0].members()
            self.assertEqual(members.header.revision, 0)
            self.assertGreater(members.header.raft_term, 0)
            self.assertEqual([m.ID for m in members.members], sorted(m.ID for m in members.members))
            self.assertEqual(side.clients[0].status().header.revision, revision)
            self.assertFalse(self.ask(side, "Defragment", pb.DefragmentRequest()).HasField("header"))

    def test_half_a_revision_is_never_seen(self):
        """What a transaction writes is there at once, on each node, for reads and for watches."""
        for side in self.each():
            stream = self.watch(side, pb.WatchCreateRequest(key=b"whole/", range_end=b"whole0"), node=2)
            for number in range(50):
                request = pb.TxnRequest()
                for key in (b"whole/1", b"whole/2"):
                    request.success.add().request_put.CopyFrom(pb.PutRequest(key=key, value=b"%d" % number))
                pending = side.send(number, METHODS["Txn"], request)
                reads = [side.send(node, METHODS["Range"], pb.RangeRequest(key=b"whole/", range_end=b"whole0"))
                         for node in range(3)]
                for answer in [side.wait(read) for read in reads]:
                    self.assertEqual(len({kv.value for kv in answer.message.kvs}) > 1, False)
                self.assertEqual(side.wait(pending).code, 0)
            stream.wait(lambda s: len(s.events[0]) >= 100, "100 events")
            self.assertEqual([(event.kv.key, event.kv.value) for _, _, event in stream.events[0]],
                             [(key, b"%d" % number) for number in range(50) for key in (b"whole/1", b"whole/2")])

    def test_the_least_time_of_a_lease(self):
        for side in self.each():
            for asked in (-5, 0, 1, 2, 3):
                granted = self.ask(side, "LeaseGrant", pb.LeaseGrantRequest(TTL=asked), node=asked)
                self.assertEqual(granted.TTL, max(asked, 2))

    def test_ids_that_the_server_chooses(self):
        for side in self.each():
            ids = [self.ask(side, "LeaseGrant", pb.LeaseGrantRequest(TTL=600), node=i).ID for i in range(30)]
            self.assertEqual(len(set(ids)), len(ids))
            self.assertGreater(min(ids), 0)
            listed = [lease.ID for lease in self.ask(side, "LeaseLeases", pb.LeaseLeasesRequest()).leases]
            self.assertLessEqual(set(ids), set(listed))
            for lease in ids:
                self.ask(side, "LeaseRevoke", pb.LeaseRevokeRequest(ID=lease), node=1)

    def test_leases_are_listed_by_what_is_left_of_them(self):
        for side in self.each():
            for ttl, lease in ((3_000_000, 501), (1_000_000, 502), (2_000_000, 503)):
                self.ask(side, "LeaseGrant", pb.LeaseGrantRequest(TTL=ttl, ID=lease), node=lease)
            listed = [lease.ID for lease in self.ask(side, "LeaseLeases", pb.LeaseLeasesRequest()).leases]
            self.assertEqual([lease for lease in listed if lease in (501, 502, 503)], [502, 503, 501])

    def test_an_expired_lease_takes_its_keys_in_one_revision(self):
        for side in self.each():
            lease = self.ask(side, "LeaseGrant", pb.LeaseGrantRequest(TTL=1, ID=600)).ID
            before = 0
            for node, key in enumerate((b"expire/k9", b"expire/k8", b"expire/k7", b"expire/moved", b"expire/gone")):
                before = self.ask(side, "Put", pb.PutRequest(key=key, lease=lease), node).header.revision
            self.ask(side, "Put", pb.PutRequest(key=b"expire/moved"))
            before = self.ask(side, "DeleteRange", pb.DeleteRangeRequest(key=b"expire/gone")).header.revision
            sides.e2e.wait_until(lambda side=side: self.keys(side, b"expire/")[0] == [b"expire/moved"], "the lease expires")
            for node in range(len(side.addresses)):
                self.assertEqual(self.keys(side, b"expire/", node), ([b"expire/moved"], before + 1))
                left = self.ask(side, "LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=lease), node)
                self.assertEqual((left.TTL, left.grantedTTL), (-1, 0))
                (kept,) = side.exchange(node, METHODS["LeaseKeepAlive"], [pb.LeaseKeepAliveRequest(ID=lease)]).message
                self.assertEqual((kept.ID, kept.TTL), (lease, 0))
            answer = side.wait(side.send(0, METHODS["LeaseRevoke"], pb.LeaseRevokeRequest(ID=lease)))
            self.assertEqual((answer.code, answer.text), (5, "etcdserver: requested lease not found"))
            answer = side.wait(side.send(0, METHODS["Put"], pb.PutRequest(key=b"x", lease=lease)))
            self.assertEqual((answer.code, answer.text), (5, "etcdserver: requested lease not found"))

    def test_expired_keys_come_in_key_order(self):
        """One revision per lease, the keys in it sorted (trap 13 of the interface)."""
        for side in self.each():
            stream = self.watch(side, pb.WatchCreateRequest(key=b"order/", range_end=b"order0", prev_kv=True), node=2)
            for lease, keys in ((610, b"936"), (611, b"1750")):
                self.ask(side, "LeaseGrant", pb.LeaseGrantRequest(TTL=1, ID=lease))
                for key in keys:
                    self.ask(side, "Put", pb.PutRequest(key=b"order/%c" % key, value=b"v", lease=lease), node=key)
            stream.wait(lambda s: len(s.events[0]) >= 14, "seven puts and seven deletions")
            gone = [event for _, _, event in stream.events[0][7:]]
            self.assertEqual([event.type for event in gone], [1] * 7)
            by_revision = {}
            for event in gone:
                by_revision.setdefault(event.kv.mod_revision, []).append(event.kv.key[-1:])
                self.assertEqual((event.prev_kv.value, event.kv.value, event.kv.version), (b"v", b"", 0))
            self.assertEqual(sorted(by_revision.values()), [[b"0", b"1", b"5", b"7"], [b"3", b"6", b"9"]])

    def test_a_lease_that_is_kept_alive_stays(self):
        for side in self.each():
            self.ask(side, "LeaseGrant", pb.LeaseGrantRequest(TTL=2, ID=620))
            self.ask(side, "LeaseGrant", pb.LeaseGrantRequest(TTL=2, ID=621))
            self.ask(side, "Put", pb.PutRequest(key=b"kept", lease=620))
            self.ask(side, "Put", pb.PutRequest(key=b"not kept", lease=621))

            def other_expired(side=side):
                (kept,) = side.exchange(1, METHODS["LeaseKeepAlive"], [pb.LeaseKeepAliveRequest(ID=620)]).message
                self.assertEqual(kept.TTL, 2)
                return self.keys(side, b"not kept")[0] == []

            sides.e2e.wait_until(other_expired, "the lease that is not kept expires", every_s=0.2)
            self.assertEqual(self.keys(side, b"kept")[0], [b"kept"])
            self.ask(side, "LeaseRevoke", pb.LeaseRevokeRequest(ID=620))
            self.assertEqual(self.keys(side, b"kept")[0], [])

    def test_a_large_revision_comes_in_fragments(self):
        """Only if it was asked for; an event is never cut."""
        size = 700_000
        for side in self.each():
            def put_two(octet, side=side):
                request = pb.TxnRequest()
                for key in (b"large/1", b"large/2"):
                    request.success.add().request_put.CopyFrom(pb.PutRequest(key=key, value=octet * size))
                return self.ask(side, "Txn", request, node=1).header.revision

            first = put_two(b"a")
            whole = self.watch(side, pb.WatchCreateRequest(key=b"large/", range_end=b"large0", prev_kv=True,
                                                           start_revision=first + 1))
            pieces = self.watch(side, pb.WatchCreateRequest(key=b"large/", range_end=b"large0", prev_kv=True,
                                                            start_revision=first + 1, fragment=True), node=1)
            small = self.watch(side, pb.WatchCreateRequest(key=b"large/1", fragment=True, start_revision=first + 1), node=2)
            second = put_two(b"b")
            for stream, count, fragments in ((whole, 2, [False, False]), (pieces, 2, [True, False]), (small, 1, [False])):
                stream.wait(lambda s, count=count: len(s.events[0]) >= count, f"{count} events")
                rows = stream.events[0]
                self.assertEqual([fragment for _, fragment, _ in rows], fragments)
                self.assertEqual([revision for revision, _, _ in rows], [second] * count)
                self.assertEqual([event.kv.key for _, _, event in rows], [b"large/1", b"large/2"][:count])
                for _, _, event in rows:
                    self.assertEqual((len(event.kv.value), event.kv.value[:1]), (size, b"b"))
                    if stream is not small:
                        self.assertEqual((len(event.prev_kv.value), event.prev_kv.value[:1]), (size, b"a"))

    def test_a_live_watcher_gets_a_response_for_each_revision(self):
        """header.revision is that of the events; a revision comes whole, in the order it was made."""
        for side in self.each():
            stream = self.watch(side, pb.WatchCreateRequest(key=b"live/", range_end=b"live0"), node=1)
            for number in range(20):
                request = pb.TxnRequest()
                for key in (b"live/b", b"live/a", b"other", b"live/c"):
                    request.success.add().request_put.CopyFrom(pb.PutRequest(key=key, value=b"%d" % number))
                revision = self.ask(side, "Txn", request, node=number).header.revision
                stream.wait(lambda s, number=number: len(s.events[0]) >= 3 * (number + 1), "three more events")
                rows = stream.events[0][3 * number:]
                self.assertEqual([(header, event.kv.mod_revision, event.kv.key) for header, _, event in rows],
                                 [(revision, revision, key) for key in (b"live/b", b"live/a", b"live/c")])

    def test_half_close_does_not_end_a_watch(self):
        for side in self.each():
            stream = self.watch(side, pb.WatchCreateRequest(key=b"half"))
            stream.send(None)
            for node in range(3):
                self.ask(side, "Put", pb.PutRequest(key=b"half"), node)
            stream.wait(lambda s: len(s.events[0]) == 3, "three events after the half-close")
            self.assertIsNone(stream.ended)

    def test_progress_is_told_at_intervals(self):
        """Ten minutes by default, so only that the request for it is taken."""
        for side in self.each():
            stream = self.watch(side, pb.WatchCreateRequest(key=b"progress", progress_notify=True))
            revision = self.ask(side, "Put", pb.PutRequest(key=b"progress")).header.revision
            stream.wait(lambda s: s.events[0], "an event")
            stream.send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))
            stream.wait(lambda s: s.progress, "progress")
            self.assertEqual((stream.progress[0].watch_id, stream.progress[0].header.revision), (-1, revision))


if __name__ == "__main__":
    sides.in_memory()
    sides.e2e.main()
