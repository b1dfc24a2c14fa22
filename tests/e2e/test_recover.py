# SPDX-License-Identifier: Apache-2.0
"""
A quorum is lost for good: `holdfastctl recover` on the survivor. What it says, what it keeps, who is refused afterwards,
and that it does nothing where there is nothing to do.
"""
import json
import unittest

import cluster as e2e


def recover(node, *words):
    return e2e.run([e2e.HOLDFASTCTL, "recover", "-f", node.config_path, *words])


class Recover(unittest.TestCase):
    def setUp(self):
        self.cluster = e2e.Cluster(3)
        self.addCleanup(self.cluster.close)

    def test_two_of_three_are_gone(self):
        one, two, three = self.cluster.start()
        for i in range(200):
            one.client.put(f"k{i:03}", f"v{i}")
        self.cluster.wait_equal_revision()

        code, _, said = recover(one, "--plan")  # while it runs
        self.assertEqual(code, 1)
        self.assertIn(f"is used by process {one.pid}", said)

        two.kill9()
        three.kill9()
        one.drop_client()
        one.terminate()
        code, plan, _ = recover(one, "--plan")
        self.assertEqual(code, 0)
        for words in ("goes           n2, voter", "goes           n3, voter", "stays          n1, voter",
                      "may be lost", "nothing was changed"):
            self.assertIn(words, plan)
        code, text, _ = recover(one, "--plan", "-o", "json")
        facts = json.loads(text)
        self.assertEqual((code, facts["node"], facts["cluster"], facts["alone"], facts["done"]), (0, "n1", "test", False, False))
        self.assertEqual([(m["name"], m["role"], m["stays"]) for m in facts["members"]],
                         [("n1", "voter", True), ("n2", "voter", False), ("n3", "voter", False)])
        self.assertIn(f"id {facts['member_id']}", plan)
        self.assertIn(f"entries {facts['first_index']} to {facts['last_index']}, the last of term {facts['last_term']}", plan)
        self.assertEqual(facts["uncommitted"], facts["last_index"] - facts["committed_index"])
        self.assertEqual((facts["voted"], facts["damaged"], facts["revision"]), (True, False, 201))
        one.start()  # nothing was changed: it still waits for a majority
        e2e.wait_until(one.listening, "n1 listens")
        self.assertFalse(one.healthy())
        one.terminate()

        code, done, _ = recover(one, "--force")
        self.assertEqual(code, 0, done)
        self.assertIn("is a cluster of its own", done)
        one.start()
        one.wait_healthy()
        answer = one.client.range("k", range_end="l")
        self.assertEqual([(kv.key, kv.value) for kv in answer.kvs],
                         [(f"k{i:03}".encode(), f"v{i}".encode()) for i in range(200)])
        one.client.put("after", "x")
        self.assertEqual([m.name for m in one.client.members().members], ["n1"])

        # The former members come back with their old disks: refused, and they make no cluster that writes here.
        two.start()
        three.start()
        one.wait_log("belongs to another cluster")
        two.wait_log("belongs to another cluster")
        self.assertEqual([m.name for m in one.client.members().members], ["n1"])
        two.terminate()
        three.terminate()

        one.drop_client()
        one.terminate()
        code, again, _ = recover(one, "--plan")
        self.assertEqual((code, "nothing to do" in again), (0, True))
        code, text, _ = recover(one, "--force", "-o", "json")
        facts = json.loads(text)
        self.assertEqual((code, facts["alone"], facts["done"], "members" in facts), (1, True, False, False))
        self.assertIn(f"the id {facts['cluster_id']}, from entry", done)
        one.start()
        one.wait_healthy()
        self.assertEqual(one.client.range("after").kvs[0].value, b"x")

        # Emptied they join the new cluster, with all that was kept.
        for node in (two, three):
            node.wipe()
            node.write_config(members=[node], extra=f'join = "{one.peer_address}";\n')
            node.start()
        for node in (two, three):
            node.wait_healthy()
            self.assertEqual(len(node.client.range("k", range_end="l").kvs), 200)
        self.assertEqual(sorted(m.name for m in one.client.members().members), ["n1", "n2", "n3"])
        self.cluster.check_logs()
        self.cluster.stop()

    def test_forced_with_json(self):
        one, two, three = self.cluster.start()
        one.client.put("k", "v")
        self.cluster.wait_equal_revision()
        two.kill9()
        three.kill9()
        one.drop_client()
        one.terminate()
        code, text, _ = recover(one, "--force", "-o", "json")
        facts = json.loads(text)
        self.assertEqual((code, facts["done"], facts["new_index"]), (0, True, facts["last_index"] + 1))
        self.assertNotEqual(facts["new_cluster_id"], facts["cluster_id"])
        one.start()
        one.wait_healthy()
        self.assertEqual(f"{one.client.status().header.cluster_id:016x}", facts["new_cluster_id"])
        self.assertGreater(one.client.status().raftTerm, facts["last_term"])
        self.cluster.check_logs()
        self.cluster.stop()

    def test_nothing_to_recover(self):
        one = self.cluster["n1"]
        self.assertEqual(recover(one, "--plan", "--force")[0], e2e.EXIT_USAGE)
        self.assertEqual(recover(one)[0], e2e.EXIT_USAGE)
        code, _, said = recover(one, "--plan")  # no directory
        self.assertEqual(code, 1)
        self.assertIn("holdfast.lock cannot be opened", said)
        one.start()
        one.wait_log("waiting for the other members")
        one.terminate()
        code, _, said = recover(one, "--force")
        self.assertEqual(code, 1)
        self.assertIn("has not joined one yet", said)


if __name__ == "__main__":
    e2e.main()
