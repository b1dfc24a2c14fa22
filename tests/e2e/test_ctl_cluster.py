# SPDX-License-Identifier: Apache-2.0
"""
`holdfastctl cluster ...` against real nodes: what it shows, 3 to 5 and back by a file, one member exchanged for another,
an apply that is stopped and goes on, and a node that is replaced by hand.
"""
import json
import os
import signal
import subprocess
import time
import unittest

import cluster as e2e


class CtlCluster(unittest.TestCase):
    """n1..n3 found a cluster from one list; n4 and n5 are there to join."""

    def setUp(self):
        self.cluster = e2e.Cluster(5)
        self.addCleanup(self.cluster.close)
        self.first = [self.cluster[n] for n in ("n1", "n2", "n3")]
        for node in self.first:
            node.write_config(members=self.first)
            node.start()
        for node in self.first:
            node.wait_healthy()
        self.file = os.path.join(self.cluster.directory, "wish.conf")

    def finish(self):
        self.cluster.check_logs()
        self.cluster.stop()

    def ctl(self, *words, node=None):
        address = (node or self.cluster["n1"]).client_address
        return e2e.run([e2e.HOLDFASTCTL, "-e", address, *words])

    def status(self):
        code, out, err = self.ctl("-o", "json", "cluster", "status")
        self.assertEqual(code, 0, err)
        return json.loads(out)

    def roles(self):
        return {m["name"]: m["role"] for m in self.status()["members"]}

    def declare(self, names, voters, heal_after_s=60):
        members = [self.cluster[n] for n in names]
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(e2e.config_text("test", names[0], "/nowhere", "127.0.0.1:1", "127.0.0.1:2", members, 500, 50,
                                       f"membership = {{ voters = {voters}; heal_after_s = {heal_after_s}; }};\n"))
        return self.file

    def join(self, name):
        node = self.cluster[name]
        node.write_config(members=[node], extra=f'join = "{self.cluster["n1"].peer_address}";\n')
        node.start()

    def plan(self, names, voters, **more):
        code, out, err = self.ctl("cluster", "plan", "-f", self.declare(names, voters, **more))
        self.assertEqual(code, 0, err)
        return out

    def test_status_and_wrong_words(self):
        status = self.status()
        self.assertEqual([m["name"] for m in status["members"]], ["n1", "n2", "n3"])
        self.assertEqual({m["role"] for m in status["members"]}, {"voter"})
        self.assertEqual((status["from_leader"], status["wish"]["voters"], status["wish"]["paused"]), (True, 3, False))
        code, out, _ = self.ctl("cluster", "status", node=self.cluster["n2"])
        self.assertEqual(code, 0)
        for words in ("MEMBER", "voter, leader", "voters: 3", "autopilot "):
            self.assertIn(words, out)
        for words in (("cluster",), ("cluster", "scale", "4"), ("cluster", "scale", "x"), ("cluster", "plan"),
                      ("cluster", "replace")):
            self.assertEqual(self.ctl(*words)[0], e2e.EXIT_USAGE, words)
        code, _, err = self.ctl("cluster", "plan", "-f", "/nowhere/x")
        self.assertEqual((code, "/nowhere/x" in err), (1, True))
        self.assertEqual(self.ctl("cluster", "replace", "nobody")[0], 1)
        self.assertEqual(self.ctl("cluster", "pause")[0], 0)
        self.assertTrue(self.status()["wish"]["paused"])
        self.assertEqual(self.ctl("cluster", "resume")[0], 0)
        self.assertIn("nothing to do", self.plan(["n1", "n2", "n3"], 3))
        self.finish()

    def test_three_to_five_and_back(self):
        self.first[0].client.put("a", "b")
        plan = self.plan(["n1", "n2", "n3", "n4", "n5"], 5)
        self.assertEqual([line[:1] for line in plan.splitlines()], ["1", "2", "3", "4", "5"])
        process = e2e.start_process([e2e.HOLDFASTCTL, "-e", self.cluster["n2"].client_address, "cluster", "apply", "-f",
                                     self.file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(process.kill)
        e2e.wait_until(lambda: self.status()["wish"]["paused"], "the autopilot is paused")
        self.join("n4")
        e2e.wait_until(lambda: self.roles().get("n4") == "standby", "n4 is a standby")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=e2e.LIMIT_S)
        self.assertEqual(process.returncode, 1, out)
        self.assertIn("the same command goes on", out)
        self.assertFalse(self.status()["wish"]["paused"])

        self.join("n5")
        code, out, err = self.ctl("cluster", "apply", "-f", self.file)
        self.assertEqual(code, 0, out + err)
        self.assertIn("done: 5 vote", out)
        self.assertEqual(list(self.roles().values()), ["voter"] * 5)
        self.assertIn("nothing to do", self.plan(["n1", "n2", "n3", "n4", "n5"], 5))
        self.cluster["n5"].wait_healthy()
        self.assertEqual(self.cluster["n5"].client.range("a").kvs[0].value, b"b")

        began = time.monotonic()
        code, out, err = self.ctl("cluster", "apply", "-f", self.declare(["n1", "n2", "n3", "n4", "n5"], 3))
        self.assertEqual(code, 0, out + err)
        e2e.say(f"    5 to 3: {time.monotonic() - began:.2f} s")
        self.assertEqual(sorted(self.roles().values()), ["standby"] * 2 + ["voter"] * 3)
        code, out, err = self.ctl("cluster", "apply", "-f", self.declare(["n1", "n2", "n3"], 3))
        self.assertEqual(code, 0, out + err)
        self.assertEqual(list(self.roles()), ["n1", "n2", "n3"])
        self.assertEqual(list(self.roles().values()), ["voter"] * 3)
        self.cluster.check_logs()

    def test_one_for_another(self):
        self.join("n4")
        code, out, err = self.ctl("cluster", "apply", "-f", self.declare(["n1", "n2", "n4"], 3))
        self.assertEqual(code, 0, out + err)
        self.assertEqual(self.roles(), {"n1": "voter", "n2": "voter", "n4": "voter"})
        self.cluster.check_logs()

    def test_replace(self):
        self.join("n4")
        e2e.wait_until(lambda: self.roles().get("n4") == "standby", "n4 is a standby")
        leader = next(n for n in self.first if any(
            m["name"] == n.name and m["leader"] for m in self.status()["members"]))
        other = next(n for n in self.first if n is not leader)
        other.kill9()
        via = leader
        e2e.wait_until(lambda: json.loads(self.ctl("-o", "json", "cluster", "status", node=via)[1])["members"], "status")
        code, out, err = self.ctl("cluster", "replace", other.name, node=via)
        self.assertEqual(code, 0, out + err)

        def there():
            members = json.loads(self.ctl("-o", "json", "cluster", "status", node=via)[1])["members"]
            return {m["name"] for m in members if m["role"] == "voter"} == {n.name for n in self.first
                                                                            if n is not other} | {"n4"}
        e2e.wait_until(there, "n4 votes instead")
        other.wipe()
        other.write_config(members=[other], extra=f'join = "{leader.peer_address}";\n')
        other.start()
        other.wait_healthy()
        self.finish()


if __name__ == "__main__":
    e2e.main()
