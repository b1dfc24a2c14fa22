# SPDX-License-Identifier: Apache-2.0
"""
Nodes that are known by name, each on a host of its own (network namespaces), with a real name server: one moves, all
move at once, the name server is dead, frozen or late, and a node finds its cluster by SRV records.
"""
import unittest

import cluster as e2e
import netns

WHY_NOT = netns.why_not()

# The promise, and room for a machine that is much slower than ours.
BACK_S = 5
SLOW = 4


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Names(unittest.TestCase):
    """Default timeouts: what is promised is promised for them."""

    count = 3
    services = ()

    def setUp(self):
        self.network = netns.Network(self.services)
        self.addCleanup(self.network.close)
        for i in range(self.count):
            self.network.add_host(f"n{i + 1}", f"10.77.1.{i + 1}")
        kind = type("HostNodeHere", (netns.HostNode,), {"network": self.network})
        plain, e2e.Node = e2e.Node, kind
        try:
            self.cluster = e2e.Cluster(self.count, election_timeout_ms=1000, heartbeat_ms=100)
        finally:
            e2e.Node = plain
        self.addCleanup(self.cluster.close)

    def started(self):
        self.network.names_start()
        self.cluster.start()
        return self.cluster

    def finish(self):
        self.cluster.check_logs()
        self.cluster.stop()

    def put_through(self, node, key):
        """A write through this node, which all nodes then have."""
        e2e.wait_until(lambda: node.client.put(key, node.name, timeout_s=5), f"a write through {node.name}")
        self.cluster.wait_equal_revision()

    def soon(self, took_s, what):
        e2e.say(f"    {what}: {took_s:.2f} s")
        self.assertLess(took_s, BACK_S * SLOW, what)

    # ---- addresses change --------------------------------------------------------------------------

    def test_one_comes_back_elsewhere(self):
        """Killed, and started again under its name at another address."""
        self.started()
        for node in (self.cluster.followers()[0], self.cluster.leader()):
            node.kill9()
            self.network.move(node.name, self.network.hosts[node.name].replace("10.77.1.", "10.77.2."))
            self.network.names_follow()
            node.start()
            self.soon(netns.timed(node.healthy, "healthy"), f"{node.name} back at another address")
            self.put_through(node, "back")
        self.finish()

    def test_one_moves_while_it_runs(self):
        """The process lives on, its connections do not."""
        self.started()
        node = self.cluster.followers()[0]
        node.drop_client()
        self.network.move(node.name, "10.77.3.9")
        self.network.names_follow()
        self.soon(netns.timed(node.healthy, "healthy"), f"{node.name} moved while running")
        self.put_through(node, "moved")
        self.finish()

    def test_all_move_at_once(self):
        self.started()
        self.put_through(self.cluster["n1"], "before")
        for node in self.cluster:
            node.drop_client()
            self.network.move(node.name, self.network.hosts[node.name].replace("10.77.1.", "10.77.4."))
        self.network.names_follow()
        took_s = netns.timed(lambda: all(n.healthy() for n in self.cluster), "all are healthy")
        e2e.say(f"    all moved at once: {took_s:.2f} s until all serve again")
        self.put_through(self.cluster["n2"], "after")
        self.finish()

    def test_name_server_lags(self):
        """The name still says the old address when the node is back: it has dialled the others, so they know."""
        self.started()
        node = self.cluster.followers()[0]
        node.kill9()
        self.network.move(node.name, "10.77.5.9")
        node.start()
        self.soon(netns.timed(node.healthy, "healthy"), f"{node.name} back before its name is")
        self.put_through(node, "early")
        self.finish()

    # ---- the name server fails ---------------------------------------------------------------------

    def test_name_server_is_dead_at_the_start(self):
        for node in self.cluster:
            node.start()
        for node in self.cluster:
            node.wait_log("peer unreachable")
        self.network.names_start()
        self.cluster.wait_healthy()
        self.finish()

    def test_listening_on_a_name(self):
        """It waits for the name server with a warning, and SIGTERM ends the waiting."""
        one = self.cluster["n1"]
        for node in self.cluster:
            node.write_config(listen_host=f"{node.name}.{netns.DOMAIN}")
            node.start()
        one.wait_log("waiting for name servers")
        self.assertEqual(one.terminate(), e2e.EXIT_OK)
        one.start()
        self.network.names_start()
        self.cluster.wait_healthy()
        self.assertLessEqual(one.log_text().count("waiting for name servers address="), 2)  # once per start
        self.finish()

    def test_name_server_fails_while_it_is_needed(self):
        """Dead, then frozen: a node that restarts is in all the same, and lines come once."""
        self.started()
        for freeze in (False, True):
            if freeze:
                self.network.names_start()
                self.cluster.wait_healthy()
                self.network.names_freeze()
            else:
                self.network.names_stop()
            node = self.cluster.followers()[0]
            node.kill9()
            node.start()
            took_s = netns.timed(node.healthy, "healthy")
            self.soon(took_s, f"{node.name} back while the name server is {'frozen' if freeze else 'dead'}")
            self.put_through(node, f"without names {freeze}")
            self.network.names_stop()
        for node in self.cluster:
            self.assertLess(node.log_text().count("name cannot be resolved"), 20)
        self.finish()


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Discovery(Names):
    """n1 founds; n2 and n3 know nothing but the name of the records, which name a dead host first."""

    services = ("gone", "n1", "n2", "n3")

    def test_join_by_srv(self):
        one, two, three = self.cluster
        one.write_config(members=[one], extra="bootstrap = true;\n")
        for node in (two, three):
            node.write_config(members=[node], extra=f'discovery_srv = "_holdfast._tcp.{netns.DOMAIN}";\n')
            node.start()
        two.wait_log("discovery failed")  # nobody answers yet
        self.network.names_start()
        two.wait_log("discovered ")
        one.start()
        one.wait_healthy()
        for node in (two, three):
            node.wait_log("joining the cluster")
        self.cluster.wait_healthy()
        self.put_through(one, "found")
        two.kill9()
        two.start()
        two.wait_healthy()
        self.finish()


for _inherited in [n for n in dir(Names) if n.startswith("test_")]:
    setattr(Discovery, _inherited, None)  # unittest runs them once

if __name__ == "__main__":
    e2e.main()
