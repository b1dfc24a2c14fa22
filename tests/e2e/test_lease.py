# SPDX-License-Identifier: Apache-2.0
"""
Leases on three real nodes: no lease ends early, measured by our own clock from before the request was sent;
a change of leaders lengthens leases by the leaderless time and no more; a leader that was frozen ends nothing
that was kept alive elsewhere (trap 53). Lateness is asserted loosely: machines may be slow.
"""
import queue
import threading
import time
import unittest

import cluster as e2e
import grpc

LATE_S = 15.0  # a lease that is due must be gone by then, on any machine


class Leases:
    """The Lease service at one node."""

    def __init__(self, node):
        self.client = node.client
        self.rpc = self.client.rpc

    def _call(self, method, request, answer, timeout_s=None):
        return self.client.call("/etcdserverpb.Lease/" + method, request, answer, timeout_s)

    def grant(self, ttl, lease=0):
        return self._call("LeaseGrant", self.rpc.LeaseGrantRequest(TTL=ttl, ID=lease),
                          self.rpc.LeaseGrantResponse)

    def revoke(self, lease):
        return self._call("LeaseRevoke", self.rpc.LeaseRevokeRequest(ID=lease),
                          self.rpc.LeaseRevokeResponse)

    def time_to_live(self, lease, keys=False, timeout_s=None):
        return self._call("LeaseTimeToLive",
                          self.rpc.LeaseTimeToLiveRequest(ID=lease, keys=keys),
                          self.rpc.LeaseTimeToLiveResponse, timeout_s)

    def list(self):
        answer = self._call("LeaseLeases", self.rpc.LeaseLeasesRequest(),
                            self.rpc.LeaseLeasesResponse)
        return [lease.ID for lease in answer.leases]

    def keepalives(self, requests, timeout_s=20.0, metadata=None):
        """The answers to an iterator of ids, as they come."""
        method = self.client.channel.stream_stream(
            "/etcdserverpb.Lease/LeaseKeepAlive",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=self.rpc.LeaseKeepAliveResponse.FromString)
        return method((self.rpc.LeaseKeepAliveRequest(ID=lease) for lease in requests),
                      timeout=timeout_s, metadata=metadata)

    def keepalive(self, lease, timeout_s=20.0):
        return list(self.keepalives([lease], timeout_s))


def until_ok(action, what):
    return e2e.wait_until(lambda: (action(),), what)[0]


class Keeper(threading.Thread):
    """Keeps a lease alive through some nodes, trying the next when one fails. Remembers the longest time
    between two renewals that were sent and answered: was it shorter than the TTL, the lease must live."""

    def __init__(self, nodes, lease, every_s):
        super().__init__(daemon=True)
        self.nodes = nodes
        self.lease = lease
        self.every_s = every_s
        self.ending = threading.Event()
        self.longest_s = 0.0
        self.sent = time.monotonic()  # when the last renewal that was answered was sent
        self.lost = False
        self.renewed = 0

    def run(self):
        at = 0
        while not self.ending.is_set():
            now = time.monotonic()
            try:
                answers = Leases(self.nodes[at % len(self.nodes)]).keepalive(self.lease, 5.0)
                # From when the last good one was sent until this one was answered.
                self.longest_s = max(self.longest_s, time.monotonic() - self.sent)
                if answers[0].TTL == 0:
                    self.lost = True
                    return
                self.renewed += 1
                self.sent = now
                self.ending.wait(self.every_s)
            except grpc.RpcError:
                at += 1
                self.ending.wait(0.05)

    def end(self):
        self.ending.set()
        self.join(e2e.LIMIT_S)


class Lease(e2e.ClusterTest):
    def leases(self):
        return [Leases(node) for node in self.cluster]

    def gone_at(self, node, key, sent, ttl):
        """Wait until the key is gone; the time of the answer that said so."""
        while True:
            count = node.client.range(key).count
            now = time.monotonic()
            if count == 0:
                return now
            self.assertLess(now, sent + ttl + LATE_S + e2e.LIMIT_S, "a due lease never ended")
            time.sleep(0.01)

    def test_any_node_takes_any_request(self):
        all_leases = self.leases()
        for at, own in enumerate(all_leases):
            other = all_leases[(at + 1) % 3]
            third = all_leases[(at + 2) % 3]
            before = own.grant(100)
            self.assertGreater(before.ID, 0)
            self.assertEqual(before.TTL, 100)
            self.assertEqual(own.grant(0).TTL, 1)  # ceil(1.5 * 500 ms): the least
            key = f"any/{at}"
            revision = other.client.put(key, b"v", lease=before.ID).header.revision
            self.assertEqual(before.header.revision, revision - 1)
            info = third.time_to_live(before.ID, keys=True)
            self.assertEqual(list(info.keys), [key.encode()])
            self.assertEqual(info.grantedTTL, 100)
            self.assertIn(info.TTL, range(90, 100))
            self.assertIn(before.ID, third.list())
            self.assertEqual(other.keepalive(before.ID)[0].TTL, 100)
            with self.assertRaises(grpc.RpcError) as caught:
                other.grant(100, before.ID)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)
            self.assertEqual(caught.exception.details(), "etcdserver: lease already exists")
            self.assertEqual(third.revoke(before.ID).header.revision, revision + 1)
            self.assertEqual(own.client.range(key).count, 0)
            self.assertEqual(own.time_to_live(before.ID).TTL, -1)
            with self.assertRaises(grpc.RpcError) as caught:
                own.revoke(before.ID)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
            self.assertEqual(caught.exception.details(), "etcdserver: requested lease not found")

    def test_a_revoked_lease_takes_its_keys_in_order_in_one_revision(self):
        own = self.leases()[0]
        lease = own.grant(600).ID
        keys = [f"order/{name}".encode() for name in ("k9", "k7", "k8", "k70")]
        for key in keys:
            revision = own.client.put(key, b"v", lease=lease).header.revision
        gone = own.revoke(lease).header.revision
        self.assertEqual(gone, revision + 1)
        self.assertEqual(own.client.prefix("order/", revision=revision).count, 4)
        self.assertEqual(own.client.prefix("order/").count, 0)
        rpc = own.rpc
        watch = own.client.channel.stream_stream(
            "/etcdserverpb.Watch/Watch", request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=rpc.WatchResponse.FromString)
        asked = queue.Queue()
        asked.put(rpc.WatchRequest(create_request=rpc.WatchCreateRequest(
            key=b"order/", range_end=b"order0", start_revision=gone)))
        stream = watch(iter(asked.get, None), timeout=20.0)
        try:
            events = []
            for answer in stream:
                events.extend(answer.events)
                if len(events) >= 4:
                    break
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                self.skipTest("no watches yet")
            raise
        finally:
            asked.put(None)
            stream.cancel()
        self.assertEqual([event.kv.key for event in events], sorted(keys))
        self.assertEqual({event.kv.mod_revision for event in events}, {gone})
        self.assertEqual({event.type for event in events}, {1})

    def test_no_lease_ends_early(self):
        granted = []
        for round_number in range(3):
            for own in self.leases():
                ttl = 1 + round_number
                sent = time.monotonic()
                lease = own.grant(ttl).ID
                key = f"early/{lease:x}"
                own.client.put(key, b"v", lease=lease)
                granted.append((sent, ttl, key, own.client))
        for at, (sent, ttl, key, _) in enumerate(granted):
            gone = self.gone_at(list(self.cluster)[at % 3], key, sent, ttl)
            self.assertGreaterEqual(gone, sent + ttl)
            self.assertLess(gone, sent + ttl + LATE_S)

    def test_keepalives_are_answered_in_order(self):
        own = self.leases()[1]
        first, second = own.grant(100).ID, own.grant(200).ID
        unknown = 4711
        asked = [first, second, unknown, first, second] * 20
        answers = list(own.keepalives(asked))  # the iterator's end half-closes; then the stream ends with OK
        self.assertEqual([a.ID for a in answers], asked)
        self.assertEqual([a.TTL for a in answers], [100, 200, 0, 100, 200] * 20)
        self.assertEqual(list(own.keepalives([], metadata=[("hasleader", "true")])), [])

    def test_leases_are_listed_by_their_end(self):
        own = self.leases()[0]
        granted = [own.grant(ttl).ID for ttl in (900, 700, 800)]
        own.keepalive(granted[1])
        listed = [lease for lease in self.leases()[2].list() if lease in granted]
        self.assertEqual(listed, [granted[1], granted[2], granted[0]])

    def test_etcdctl(self):
        """What a person sees; test_etcdctl_same.py compares the same commands with etcd's."""
        node = self.cluster["n3"].client_address
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "ETCDCTL_API": "3"}

        def etcdctl(*words):
            code, out, err = e2e.run(["etcdctl", "--endpoints", node, *words], env=environment)
            self.assertEqual(code, 0, err)
            return out

        out = etcdctl("lease", "grant", "50")
        lease = out.split()[1]
        self.assertEqual(out, f"lease {lease} granted with TTL(50s)\n")
        etcdctl("put", "ctl/b", "1", "--lease", lease)
        etcdctl("put", "ctl/a", "1", "--lease", lease)
        self.assertRegex(etcdctl("lease", "timetolive", lease, "--keys"),
                         r"^lease [0-9a-f]+ granted with TTL\(50s\), remaining\(4\ds\), "
                         r"attached keys\(\[ctl/a ctl/b\]\)\n$")
        self.assertIn(lease, etcdctl("lease", "list"))
        self.assertEqual(etcdctl("lease", "keep-alive", "--once", lease),
                         f"lease {lease} keepalived with TTL(50)\n")
        self.assertEqual(etcdctl("lease", "revoke", lease), f"lease {lease} revoked\n")
        self.assertEqual(etcdctl("lease", "timetolive", lease), f"lease {lease} already expired\n")
        self.assertEqual(etcdctl("get", "ctl/", "--prefix"), "")


class Failures(unittest.TestCase):
    def setUp(self):
        self.cluster = e2e.Cluster().start()
        self.addCleanup(self.finish)

    def finish(self):
        for node in self.cluster:
            if node.paused:
                node.resume()
        self.cluster.check_logs()
        self.cluster.stop()

    def test_a_killed_leader_ends_no_lease_early_and_restarts_none(self):
        leader = self.cluster.leader()
        others = [node for node in self.cluster if node is not leader]
        own = Leases(others[0])
        sent_short = time.monotonic()
        short = own.grant(5).ID
        own.client.put("killed/short", b"v", lease=short)
        sent_long = time.monotonic()
        long = own.grant(1000).ID
        e2e.wait_until(lambda: own.time_to_live(long).TTL <= 996, "three seconds of the lease pass")
        own.grant(1000)  # a stamp in the log: whoever leads next is as far as that
        before = own.time_to_live(long).TTL
        killed = time.monotonic()
        leader.kill9()
        until_ok(lambda: own.client.put("killed/probe", b"v", timeout_s=5), "somebody leads again")
        leads = time.monotonic()
        # The remaining time goes on: etcd would have begun anew with 1000 s.
        left = own.time_to_live(long).TTL
        now = time.monotonic()
        self.assertGreaterEqual(left, 1000 - (now - sent_long) - 1)
        self.assertLessEqual(left, before + 1)
        while own.client.range("killed/short").count > 0:
            self.assertLess(time.monotonic(), sent_short + 5 + (leads - killed) + LATE_S)
            time.sleep(0.01)
        self.assertGreaterEqual(time.monotonic(), sent_short + 5)
        self.assertEqual(own.time_to_live(short).TTL, -1)

    def test_leases_end_over_several_leaders(self):
        """Many leases with different ends while leaders are killed one after the other: each ends, none early."""
        leases = {}
        for ttl in range(2, 12):
            node = list(self.cluster)[ttl % 3]
            sent = time.monotonic()
            lease = Leases(node).grant(ttl).ID
            node.client.put(f"several/{ttl}", b"v", lease=lease)
            leases[f"several/{ttl}".encode()] = sent + ttl
        end = time.monotonic() + 6
        present = set(leases)
        killed = None

        def look():
            nonlocal present
            for node in self.cluster.running():
                try:
                    there = {kv.key for kv in node.client.prefix("several/", timeout_s=5).kvs}
                except grpc.RpcError:
                    continue
                now = time.monotonic()
                for key in present - there:
                    self.assertGreaterEqual(now, leases[key], key)
                present = present & there
                return

        while time.monotonic() < end:
            killed = self.cluster.leader()
            killed.kill9()
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                look()
                time.sleep(0.02)
            killed.start()
            killed.wait_healthy()
        last = max(leases.values()) + LATE_S + 10
        while present:
            look()
            self.assertLess(time.monotonic(), last, present)
            time.sleep(0.02)

    def test_a_frozen_leader_ends_nothing_that_was_kept_alive(self):
        """Trap 53: the leader stands still for more than twice the TTL."""
        leader = self.cluster.leader()
        others = [node for node in self.cluster if node is not leader]
        lease = Leases(others[0]).grant(3).ID
        others[0].client.put("frozen", b"v", lease=lease)
        keeper = Keeper(others, lease, 0.3)
        keeper.start()
        time.sleep(1)
        leader.pause()
        time.sleep(7)
        leader.resume()
        leader.wait_healthy()
        gone = False
        end = time.monotonic() + 3
        while time.monotonic() < end and not gone:
            gone = leader.client.range("frozen").count == 0
            time.sleep(0.05)
        stopped = time.monotonic()
        keeper.end()
        if gone or keeper.lost:
            # Only if this machine kept the keeper itself from renewing in time is that no fault of a leader's.
            self.assertGreater(keeper.longest_s, 3, "a lease that was kept alive has ended")
            self.skipTest("the machine was too slow to keep a lease of 3 s alive")
        self.assertGreater(keeper.renewed, 10)
        while Leases(leader).time_to_live(lease).TTL >= 0:
            self.assertLess(time.monotonic(), stopped + 3 + LATE_S)
            time.sleep(0.05)
        self.assertGreaterEqual(time.monotonic(), keeper.sent + 3)
        self.assertEqual(others[1].client.range("frozen").count, 0)

    def test_a_restart_of_all_keeps_leases(self):
        own = Leases(self.cluster["n1"])
        sent = time.monotonic()
        lease = own.grant(500).ID
        for name in ("b", "a"):
            own.client.put("restart/" + name, b"v", lease=lease)
        e2e.wait_until(lambda: own.time_to_live(lease).TTL <= 488, "some of the lease passes",
                       every_s=0.2)
        before = own.time_to_live(lease).TTL
        for node in self.cluster:
            node.kill9()
        for node in self.cluster:
            node.start()
        self.cluster.wait_healthy()
        for node in self.cluster:
            info = Leases(node).time_to_live(lease, keys=True)
            now = time.monotonic()
            self.assertEqual(list(info.keys), [b"restart/a", b"restart/b"])
            self.assertGreaterEqual(info.TTL, 500 - (now - sent) - 1)
            # The time enters the log every five seconds, so about as much of it is lost.
            self.assertLessEqual(info.TTL, before + 5 + 4)
        own = Leases(self.cluster["n2"])
        own.revoke(lease)
        self.assertEqual(self.cluster["n3"].client.prefix("restart/").count, 0)


if __name__ == "__main__":
    e2e.main()
