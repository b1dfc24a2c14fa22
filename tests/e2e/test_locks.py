# SPDX-License-Identifier: Apache-2.0
"""
The Lock and Election services on three real nodes: mutual exclusion over nodes, waits that end with their
clients and leases, leaders killed meanwhile, and the fencing token (trap 54, docs/locks.md).
"""
import threading
import unittest

import grpc

import cluster as e2e
import rpc

LOCK, UNLOCK = "/v3lockpb.Lock/Lock", "/v3lockpb.Lock/Unlock"
ELECTION = "/v3electionpb.Election/"
LEASE = "/etcdserverpb.Lease/"


class Locks(e2e.ClusterTest):
    def setUp(self):
        self.lock = rpc.proto("lock")
        self.election = rpc.proto("election")
        self.rpc = rpc.proto("rpc")

    def tearDown(self):
        self.cluster.wait_healthy()
        self.cluster.check_logs()

    def grant(self, client, ttl_s=300):
        return client.call(LEASE + "LeaseGrant", self.rpc.LeaseGrantRequest(TTL=ttl_s), self.rpc.LeaseGrantResponse).ID

    def revoke(self, client, lease):
        client.call(LEASE + "LeaseRevoke", self.rpc.LeaseRevokeRequest(ID=lease), self.rpc.LeaseRevokeResponse)

    def locking(self, client, name, lease, timeout_s=e2e.LIMIT_S):
        """A Lock call under way."""
        method = client.channel.unary_unary(LOCK, request_serializer=lambda m: m.SerializeToString(),
                                            response_deserializer=self.lock.LockResponse.FromString)
        return method.future(self.lock.LockRequest(name=name, lease=lease), timeout=timeout_s)

    def unlock(self, client, key):
        client.call(UNLOCK, self.lock.UnlockRequest(key=key), self.lock.UnlockResponse)

    def in_line(self, client, name):
        return client.prefix(name + b"/").count

    def wait_in_line(self, client, name, count):
        e2e.wait_until(lambda: self.in_line(client, name) == count, f"{count} in line {name}")

    def guarded_put(self, client, key, create_revision, name, value):
        """The write of docs/locks.md; True: it was carried out."""
        types = self.rpc
        return client.call(
            "/etcdserverpb.KV/Txn",
            types.TxnRequest(
                compare=[types.Compare(key=key, target=types.Compare.CREATE, result=types.Compare.EQUAL,
                                       create_revision=create_revision)],
                success=[types.RequestOp(request_put=types.PutRequest(key=name, value=value))]),
            types.TxnResponse).succeeded

    # ---- locks ---------------------------------------------------------------------------------------

    def test_one_at_a_time(self):
        """Clients of all nodes count up without a compare, each under the lock; no step is lost."""
        rounds, people = 8, 6
        self.cluster["n1"].client.put("counter", "0")
        problems = []

        def work(number):
            with rpc.Client(list(self.cluster)[number % 3].client_address) as client:
                lease = self.grant(client)
                try:
                    for _ in range(rounds):
                        key = self.locking(client, b"one", lease).result().key
                        value = int(client.range("counter").kvs[0].value)
                        client.put("counter", str(value + 1))
                        self.unlock(client, key)
                except Exception as problem:  # pylint: disable=broad-except  (told by the main thread)
                    problems.append(repr(problem))

        crowd = [threading.Thread(target=work, args=(i,)) for i in range(people)]
        for person in crowd:
            person.start()
        for person in crowd:
            person.join(3 * e2e.LIMIT_S)
            self.assertFalse(person.is_alive())
        self.assertEqual(problems, [])
        client = self.cluster["n2"].client
        self.assertEqual(int(client.range("counter").kvs[0].value), rounds * people)
        self.assertEqual(self.in_line(client, b"one"), 0)

    def test_guarded_write(self):
        """A holder sleeps through its lease; the next one holds the lock; the first one's write is refused."""
        with rpc.Client(self.cluster["n1"].client_address) as first, rpc.Client(self.cluster["n2"].client_address) as second:
            sleeper = self.grant(first, ttl_s=2)
            key = self.locking(first, b"jobs", sleeper).result().key
            token = first.range(key).kvs[0].create_revision
            self.assertTrue(self.guarded_put(first, key, token, b"report", b"by the first"))
            # it sleeps: nobody keeps the lease alive, and the second gets the lock
            other = self.locking(second, b"jobs", self.grant(second)).result().key
            other_token = second.range(other).kvs[0].create_revision
            self.assertGreater(other_token, token)
            self.assertTrue(self.guarded_put(second, other, other_token, b"report", b"by the second"))
            # it wakes up and still believes in its lock
            self.assertFalse(self.guarded_put(first, key, token, b"report", b"too late"))
            self.assertEqual(first.range("report").kvs[0].value, b"by the second")
            self.unlock(second, other)

    def test_waits_end(self):
        """A wait ends with its stream, its deadline, its connection and its lease, and leaves no key behind."""
        client = self.cluster["n1"].client
        held = self.locking(client, b"held", self.grant(client)).result().key
        with rpc.Client(self.cluster["n2"].client_address) as other:
            waiting = self.locking(other, b"held", self.grant(other))
            self.wait_in_line(client, b"held", 2)
            waiting.cancel()
            self.wait_in_line(client, b"held", 1)

            with self.assertRaises(grpc.RpcError) as late:
                self.locking(other, b"held", self.grant(other), timeout_s=0.5).result()
            self.assertEqual(late.exception.code().name, "DEADLINE_EXCEEDED")
            self.wait_in_line(client, b"held", 1)

            lease = self.grant(other)
            waiting = self.locking(other, b"held", lease)
            self.wait_in_line(client, b"held", 2)
            self.revoke(client, lease)
            with self.assertRaises(grpc.RpcError) as lost:
                waiting.result()
            self.assertEqual((lost.exception.code().name, lost.exception.details()), ("UNKNOWN", "mutex: session is expired"))

        leaving = rpc.Client(self.cluster["n3"].client_address)
        leaving.__enter__()
        waiting = self.locking(leaving, b"held", self.grant(leaving))
        self.wait_in_line(client, b"held", 2)
        leaving.__exit__(None, None, None)
        self.wait_in_line(client, b"held", 1)
        self.unlock(client, held)
        self.wait_in_line(client, b"held", 0)

    def test_same_lease_again(self):
        """Whoever asks again with the same lease holds the same lock, and is not thrown out by the call before."""
        with rpc.Client(self.cluster["n1"].client_address) as client, rpc.Client(self.cluster["n3"].client_address) as again:
            holder = self.locking(client, b"again", self.grant(client)).result().key
            lease = self.grant(client)
            first = self.locking(client, b"again", lease)
            self.wait_in_line(client, b"again", 2)
            before = client.prefix(b"again/").kvs
            second = self.locking(again, b"again", lease)
            e2e.wait_until(lambda: [kv for kv in client.prefix(b"again/").kvs if kv.version == 2], "the key is taken over")
            first.cancel()
            self.unlock(client, holder)
            key = second.result().key
            after = client.range(key).kvs[0]
            self.assertIn((after.key, after.create_revision), [(kv.key, kv.create_revision) for kv in before])
            self.unlock(again, key)

    def test_over_a_new_leader(self):
        """Who waits goes on waiting when the leader is killed, and gets the lock when it is its turn."""
        leader = self.cluster.leader()
        followers = self.cluster.followers()
        client = followers[0].client
        held = self.locking(client, b"killed", self.grant(client)).result().key
        waiting = self.locking(followers[1].client, b"killed", self.grant(client))
        self.wait_in_line(client, b"killed", 2)
        leader.kill9()
        followers[0].wait_healthy()
        self.assertFalse(waiting.done())
        self.unlock(client, held)
        key = waiting.result().key
        self.assertEqual([kv.key for kv in client.prefix(b"killed/").kvs], [key])
        leader.start()
        leader.wait_healthy()
        self.unlock(client, key)

    # ---- elections -----------------------------------------------------------------------------------

    def call(self, client, method, request, kind, **words):
        return client.call(ELECTION + method, request, getattr(self.election, kind + "Response"), **words)

    def campaign(self, client, name, lease, value):
        return self.call(client, "Campaign", self.election.CampaignRequest(name=name, lease=lease, value=value), "Campaign",
                         timeout_s=e2e.LIMIT_S).leader

    def test_election(self):
        """Observers at all nodes see every leader and proclamation, in order."""
        client = self.cluster["n1"].client
        with self.assertRaises(grpc.RpcError) as nobody:
            self.call(client, "Leader", self.election.LeaderRequest(name=b"el"), "Leader")
        self.assertEqual((nobody.exception.code().name, nobody.exception.details()), ("UNKNOWN", "election: no leader"))
        seen = {}
        streams = []
        for node in self.cluster:
            observe = node.client.channel.unary_stream(
                ELECTION + "Observe", request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=self.election.LeaderResponse.FromString)
            stream = observe(self.election.LeaderRequest(name=b"el"), timeout=3 * e2e.LIMIT_S)
            seen[node.name] = []
            streams.append(stream)

            def listen(stream=stream, name=node.name):
                try:
                    for message in stream:
                        seen[name].append(message.kv.value)
                except grpc.RpcError:
                    pass  # cancelled below

            threading.Thread(target=listen, daemon=True).start()
        first = self.campaign(client, b"el", self.grant(client), b"a1")
        expected = [b"a1"]

        def all_see():
            e2e.wait_until(lambda: all(values == expected for values in seen.values()), f"all see {expected}, not {seen}")

        all_see()
        for value in (b"a2", b"a3"):
            self.call(client, "Proclaim", self.election.ProclaimRequest(leader=first, value=value), "Proclaim")
            expected.append(value)
            all_see()
        lease = self.grant(client)
        second = []
        waiter = threading.Thread(target=lambda: second.append(self.campaign(self.cluster["n2"].client, b"el", lease, b"b1")))
        waiter.start()
        self.wait_in_line(client, b"el", 2)
        # the next leader's key is older than this, and it is seen all the same
        self.call(client, "Proclaim", self.election.ProclaimRequest(leader=first, value=b"a4"), "Proclaim")
        expected.append(b"a4")
        all_see()
        self.call(client, "Resign", self.election.ResignRequest(leader=first), "Resign")
        waiter.join(e2e.LIMIT_S)
        self.assertEqual(second[0].lease, lease)
        expected.append(b"b1")
        all_see()
        leads = self.call(client, "Leader", self.election.LeaderRequest(name=b"el"), "Leader").kv
        self.assertEqual((leads.key, leads.create_revision, leads.value), (second[0].key, second[0].rev, b"b1"))
        with self.assertRaises(grpc.RpcError) as over:
            self.call(client, "Proclaim", self.election.ProclaimRequest(leader=first, value=b"late"), "Proclaim")
        self.assertEqual((over.exception.code().name, over.exception.details()), ("UNKNOWN", "election: not leader"))
        self.revoke(client, lease)  # the leader's end; the next one is seen by all
        third = self.campaign(self.cluster["n3"].client, b"el", self.grant(client), b"c1")
        self.assertGreater(third.rev, second[0].rev)
        expected.append(b"c1")
        all_see()
        for stream in streams:
            stream.cancel()
        self.call(client, "Resign", self.election.ResignRequest(leader=third), "Resign")


if __name__ == "__main__":
    unittest.main()
