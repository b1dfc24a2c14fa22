# SPDX-License-Identifier: Apache-2.0
"""
A disk that hangs: every node has its data directory on a file system of its own (ext4 in a file), and the leader's is
frozen (fsfreeze), so that its writes neither fail nor end. It gives way to a member whose disk works, does not win while it
hangs, whoever else leaves, and is a full member again once it is thawed; what was acknowledged is there. Needs root to mount.

Rule: a frozen file system holds its writers where no signal ends them. So a guard of its own (Disk) thaws and unmounts
when this process is gone, however it goes.
"""
import os
import shutil
import subprocess
import threading
import time
import unittest

import grpc

import cluster as e2e
import rpc

MIB = 1 << 20
SLOW = 4  # for machines that are much slower than ours
GIVES_WAY_S = 2.0
PROGRAMS = ("mkfs.ext4", "fsfreeze", "mount", "umount", "setsid")

GUARD = """
trap '' INT TERM HUP
cat >/dev/null
fsfreeze -u "$1" 2>/dev/null
umount -l "$1" 2>/dev/null
rm -rf "$1" "$2"
"""


def command(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=e2e.LIMIT_S, check=False)
    return done.returncode, done.stderr.strip()


class Disk:
    """A file system in a file, mounted at `place`; sparse, so it takes what is written."""

    def __init__(self, place):
        self.place, self.image, self.frozen = place, place + ".img", False
        with open(self.image, "wb") as file:
            file.truncate(384 * MIB)
        os.mkdir(place)
        self.guard = subprocess.Popen(  # pylint: disable=consider-using-with
            ["setsid", "sh", "-c", GUARD, "guard", place, self.image], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        code, problem = command("mkfs.ext4", "-q", "-O", "^has_journal", self.image)
        if code == 0:
            code, problem = command("mount", "-o", "loop", self.image, place)
        if code != 0:
            self.close()
            raise unittest.SkipTest(f"no file system can be mounted from a file here: {problem.splitlines()[0]}")
        shutil.rmtree(os.path.join(place, "lost+found"), ignore_errors=True)

    def freeze(self):
        code, problem = command("fsfreeze", "-f", self.place)
        if code != 0:
            raise unittest.SkipTest(f"no file system can be frozen here: {problem}")
        self.frozen = True

    def thaw(self):
        if self.frozen:
            command("fsfreeze", "-u", self.place)
            self.frozen = False

    def close(self):
        self.thaw()
        self.guard.stdin.close()
        self.guard.wait(e2e.LIMIT_S)


class Puts:
    """Puts numbered keys through the nodes named, one after the other; what was acknowledged is counted."""

    def __init__(self, nodes):
        self.nodes = list(nodes)
        self.acknowledged = []  # (when, number)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)

    def work(self):
        at, number = 0, 0
        client = None
        while not self.stopped.is_set():
            try:
                client = client or rpc.Client(self.nodes[at % len(self.nodes)].client_address)
                client.put(f"acknowledged/{number:06d}", str(number), timeout_s=0.5)
                self.acknowledged.append((time.monotonic(), number))
            except grpc.RpcError:
                client.close()
                client = None
                at += 1
            number += 1  # a number that failed may be there or not; it is not used again
            time.sleep(0.002)
        if client is not None:
            client.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join(e2e.LIMIT_S)

    def longest_gap_s(self, since):
        times = [since] + [when for when, _ in self.acknowledged if when >= since]
        return max(b - a for a, b in zip(times, times[1:]))


@unittest.skipUnless(os.geteuid() == 0, "mounting a file system needs root")
@unittest.skipIf([p for p in PROGRAMS if shutil.which(p) is None],
                 f"needs {', '.join(p for p in PROGRAMS if shutil.which(p) is None)}")
class HangingDisk(unittest.TestCase):
    def setUp(self):
        self.cluster = e2e.Cluster(5, election_timeout_ms=1000, heartbeat_ms=100,
                                   extra=f"store = {{ reserve_bytes = {MIB}; low_space_bytes = {8 * MIB}; }};")
        self.addCleanup(self.cluster.close)
        self.disks = {}
        self.addCleanup(self.close_disks)
        for node in self.cluster:
            self.disks[node.name] = Disk(node.data_dir)
        self.cluster.start()

    def close_disks(self):
        for disk in self.disks.values():
            disk.thaw()
        for node in self.cluster:
            node.close()
        for disk in self.disks.values():
            disk.close()

    def led_by(self, nodes):
        """Who of them says that it leads and is believed by the others of them; None."""
        answers = [(node, node.client.status(timeout_s=5)) for node in nodes]
        for node, own in answers:
            if own.leader == own.header.member_id and all(s.leader == own.leader and s.raftTerm == own.raftTerm
                                                          for _, s in answers):
                return node
        return None

    def wait_leader(self, nodes):
        return e2e.wait_until(lambda: self.led_by(nodes), "the others follow one of them", every_s=0.02)

    def test_the_leaders_disk_hangs(self):
        hung = self.cluster.leader()
        others = [n for n in self.cluster if n is not hung]
        with Puts(others) as puts:
            e2e.wait_until(lambda: len(puts.acknowledged) > 20, "puts go on")
            began = time.monotonic()
            self.disks[hung.name].freeze()
            second = self.wait_leader(others)
            took_s = time.monotonic() - began
            e2e.wait_until(lambda: puts.acknowledged[-1][0] > began + took_s, "puts go on with another leader")
            e2e.say(f"    {second.name} leads {took_s:.2f} s after the leader's disk began to hang; "
                    f"longest gap of a writer {puts.longest_gap_s(began):.2f} s")
            self.assertLess(took_s, GIVES_WAY_S * SLOW)
            self.assertIn("disk hangs", hung.log_text())

            # The next one is killed: of the three that are left with working disks one wins, never the one that hangs.
            leads_before = hung.log_text().count(" leader ")
            second.kill9()
            three = [n for n in others if n is not second]
            third = self.wait_leader(three)
            e2e.say(f"    after kill -9 of {second.name} {third.name} leads")
            second.start()
            second.wait_healthy()
            # And again by request, to each of them.
            for node in three:
                e2e.wait_until(lambda n=node: self.moved_to(n, others), f"{node.name} leads when it is asked to", every_s=0.1)
            with self.assertRaises(grpc.RpcError):  # a person cannot make it lead either
                self.move_to(self.wait_leader(others), hung)
            self.assertEqual(hung.log_text().count(" leader "), leads_before)
            self.assertEqual(hung.log_text().count("disk works again"), 0)

            self.disks[hung.name].thaw()
            hung.wait_log("disk works again")
            e2e.say(f"    back {timed(hung.healthy):.2f} s after the thaw")
            e2e.wait_until(lambda: self.moved_to(hung, list(self.cluster)), f"{hung.name} leads again when it is asked to", every_s=0.1)
        revision = self.cluster.wait_equal_revision()
        for node in self.cluster:
            keys = {kv.key for kv in node.client.prefix("acknowledged/", keys_only=True, serializable=True,
                                                        revision=revision).kvs}
            lost = [n for _, n in puts.acknowledged if f"acknowledged/{n:06d}".encode() not in keys]
            self.assertEqual(lost, [], node.name)
        e2e.say(f"    {len(puts.acknowledged)} puts were acknowledged, none is lost")
        self.cluster.check_logs()
        self.cluster.stop()

    @staticmethod
    def move_to(leader, target):
        pb = rpc.proto("rpc")
        target_id = target.client.status(timeout_s=5).header.member_id
        leader.client.call("/etcdserverpb.Maintenance/MoveLeader", pb.MoveLeaderRequest(targetID=target_id),
                           pb.MoveLeaderResponse)

    def moved_to(self, target, nodes):
        leader = self.led_by(nodes)
        if leader is not None and leader is not target:
            self.move_to(leader, target)
        return leader is target


def timed(condition):
    began = time.monotonic()
    e2e.wait_until(condition, "healthy")
    return time.monotonic() - began


if __name__ == "__main__":
    e2e.main()
