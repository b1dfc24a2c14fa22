# SPDX-License-Identifier: Apache-2.0
"""
A disk that fills up: the data directory of one node of three is a small tmpfs, and a file beside its databases takes the
room away. What needs room is refused on every node, what makes room works, it clears by itself, a node
that is ended on a full disk starts and serves, and one without any room waits for it. Needs root to mount.
"""
import os
import subprocess
import time
import unittest

import grpc

import cluster as e2e
import rpc

MIB = 1 << 20
DISK = 64 * MIB
LOW = 8 * MIB
RESERVE = 4 * MIB
EXCEEDED = "etcdserver: mvcc: database space exceeded"


def mount(place):
    os.mkdir(place)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "holdfast-test", place],
                          capture_output=True, text=True, timeout=e2e.LIMIT_S, check=False)
    if done.returncode != 0:
        os.rmdir(place)
        raise unittest.SkipTest(f"no tmpfs can be mounted: {done.stderr.strip()}")


def free(place):
    facts = os.statvfs(place)
    return facts.f_bavail * facts.f_frsize


@unittest.skipUnless(os.geteuid() == 0, "mounting a small file system needs root")
class FullDisk(unittest.TestCase):
    def setUp(self):
        self.cluster = e2e.Cluster(3, extra=f"store = {{ reserve_bytes = {RESERVE}; low_space_bytes = {LOW}; }};")
        self.addCleanup(self.cluster.close)
        self.small = self.cluster["n3"]
        mount(self.small.data_dir)
        self.addCleanup(self.unmount)
        self.filler = os.path.join(self.small.data_dir, "filler")
        self.cluster.start()

    def unmount(self):
        for node in self.cluster:
            if node.alive():
                node.kill9()
        subprocess.run(["umount", "-l", self.small.data_dir], timeout=e2e.LIMIT_S, check=False)

    def fill(self, leave):
        """All but so many octets."""
        with open(self.filler, "ab") as file:
            room = free(self.small.data_dir) - leave
            if room > 0:
                os.posix_fallocate(file.fileno(), file.tell(), room)

    def empty(self):
        os.remove(self.filler)

    def refused(self, node):
        try:
            node.client.put("k", "v")
        except grpc.RpcError as error:
            return error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and error.details() == EXCEEDED
        return False

    def taken(self, node):
        try:
            node.client.put("k", "v")
        except grpc.RpcError as error:
            if error.details() != EXCEEDED:
                raise
            return False
        return True

    def wait_refused(self):
        for node in self.cluster.running():
            e2e.wait_until(lambda n=node: self.refused(n), f"{node.name} refuses what needs room", 20, 0.05)

    def wait_taken(self):
        for node in self.cluster.running():
            e2e.wait_until(lambda n=node: self.taken(n), f"{node.name} takes writes", 20, 0.05)

    def makes_room_and_reads(self, node):
        """What must work without room."""
        pb = rpc.proto("rpc")
        node.client.range("a")
        node.client.range("a", serializable=True)
        node.client.delete("k")
        op = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"other"))
        node.client.call("/etcdserverpb.KV/Txn", pb.TxnRequest(success=[op]), pb.TxnResponse)
        revision = node.client.range("a").header.revision
        try:
            node.client.call("/etcdserverpb.KV/Compact", pb.CompactionRequest(revision=revision),
                             pb.CompactionResponse)
        except grpc.RpcError as error:  # the node before has done it: nothing was written since
            self.assertIn("has been compacted", error.details())

    def test_watermark(self):
        pb = rpc.proto("rpc")
        self.cluster["n1"].client.put("a", "1")
        lease = self.cluster["n1"].client.call("/etcdserverpb.Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=60),
                                               pb.LeaseGrantResponse).ID
        self.fill(LOW - MIB)
        self.wait_refused()
        for node in self.cluster:
            op = pb.RequestOp(request_put=pb.PutRequest(key=b"k", value=b"v"))
            for path, request, answer in (
                    ("/etcdserverpb.KV/Txn", pb.TxnRequest(failure=[op]), pb.TxnResponse),
                    ("/etcdserverpb.Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=9), pb.LeaseGrantResponse)):
                with self.assertRaises(grpc.RpcError) as caught:
                    node.client.call(path, request, answer)
                self.assertEqual(caught.exception.details(), EXCEEDED)
            self.makes_room_and_reads(node)
            self.assertIn(EXCEEDED, node.client.status().errors)
            _, metrics, _ = e2e.http_get(node.client_address, "/metrics")
            self.assertIn("holdfast_cluster_low_space 1", metrics)
            self.assertIn(f"holdfast_disk_low_space {1 if node is self.small else 0}", metrics)
        self.cluster["n2"].client.call("/etcdserverpb.Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=lease),
                                       pb.LeaseRevokeResponse)
        self.empty()
        self.wait_taken()
        self.assertEqual(list(self.cluster["n1"].client.status().errors), [])
        self.assertEqual(self.small.log_text().count("disk is short of room"), 1)

    def test_nearly_full_gives_up_the_reserve(self):
        self.cluster["n1"].client.put("a", "1")
        self.fill(0)
        self.small.wait_log("reserve_bytes=1048576")
        self.wait_refused()
        for node in self.cluster:
            self.makes_room_and_reads(node)
        time.sleep(1)
        self.assertTrue(self.small.alive())
        self.empty()
        self.wait_taken()
        e2e.wait_until(lambda: os.path.getsize(os.path.join(self.small.data_dir, "reserve")) == RESERVE,
                       "the reserve is made again", 20, 0.05)
        self.cluster.check_logs()

    def test_full_to_the_last_octet(self):
        """The reserve is taken away as well: stalls, and goes on; nothing that was acknowledged is lost."""
        self.cluster["n1"].client.put("a", "1")
        self.fill(0)
        self.small.wait_log("reserve_bytes=1048576")
        self.fill(0)
        others = [n for n in self.cluster if n is not self.small]
        deadline = time.monotonic() + 30
        while "stalled" not in self.small.log_text() and time.monotonic() < deadline:
            others[0].client.delete("nothing" * 1000)
        self.small.wait_log("stalled reason=\"the disk is full\"")
        self.assertTrue(self.small.alive())
        self.assertEqual(self.small.client.range("a", serializable=True).kvs[0].value, b"1")
        self.empty()
        self.small.wait_log("goes on")
        self.wait_taken()
        self.cluster.wait_equal_revision()
        self.cluster.check_logs()

    def test_full_at_start(self):
        self.cluster["n1"].client.put("a", "1")
        self.cluster.wait_equal_revision()
        self.assertEqual(self.small.terminate(), 0)
        self.fill(0)
        self.small.start()
        self.small.wait_healthy()  # a linearizable read through it works
        self.assertEqual(self.small.client.range("a", serializable=True).kvs[0].value, b"1")
        self.wait_refused()
        self.assertEqual(self.small.terminate(), 0)
        # nothing is left of the reserve, and somebody takes the rest
        self.fill(0)
        self.small.start()
        e2e.wait_until(lambda: "waiting for room" in self.small.log_text() or self.small.listening(),
                       "it waits or works", 20, 0.05)
        time.sleep(1)
        self.assertTrue(self.small.alive())
        self.empty()
        self.small.wait_healthy()
        self.wait_taken()
        self.cluster.check_logs()


if __name__ == "__main__":
    e2e.main()
