# SPDX-License-Identifier: Apache-2.0
"""
five.py: what happens to a cluster in a year, in a minute: five nodes, each on a host of its own (network namespaces) and
known by its name (a real name server), under load.

    three vote, two stand by. A voter dies for good, then the leader does: the standbys vote in their stead. The dead come
    back with empty disks. Every node moves to another address. 3 -> 5 -> 3 voters. Every node is restarted.

Each of it is a *phase*; how long which operation did not work is said for each (load.py). `tests/e2e/test_five.py` runs it
small and judges; run as a program it runs it long, with the default timeouts, and tells:

    tests/e2e/five.py [--quiet-s S] [--heal-after-s S] [--write]     --write: into docs/operations.md
"""
import argparse
import datetime
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import cluster as e2e  # noqa: E402
import document  # noqa: E402
import load as loads  # noqa: E402
import netns  # noqa: E402
from test_members import ask, leader_name, members, voters  # noqa: E402

DOCUMENT = os.path.join(e2e.ROOT, "docs", "operations.md")
BEGIN, END = "<!-- five.py begins -->", "<!-- five.py ends -->"
UNPLANNED = "the leader dies for good"


class Five:
    def __init__(self, heal_after_s=1, quiet_s=0.5, election_timeout_ms=1000, heartbeat_ms=100):
        self.heal_after_s, self.quiet_s = heal_after_s, quiet_s
        self.phases = []     # (name, began, ended)
        self.facts = {}      # name -> seconds
        self.network = netns.Network()
        for i in range(5):
            self.network.add_host(f"n{i + 1}", f"10.77.1.{i + 1}")
        self.cluster = None
        kind = type("HostNodeHere", (netns.HostNode,), {"network": self.network})
        plain, e2e.Node = e2e.Node, kind
        try:
            self.cluster = e2e.Cluster(5, election_timeout_ms=election_timeout_ms, heartbeat_ms=heartbeat_ms)
        finally:
            e2e.Node = plain
        self.load = None
        self.seen = []

    def close(self):
        if self.cluster is not None:
            self.cluster.close()
        self.network.close()

    # ---- parts ---------------------------------------------------------------------------------------

    def nodes(self, *but):
        return [n for n in self.cluster if n.name not in but and n.alive()]

    def leader(self, *but):
        return self.cluster[e2e.wait_until(lambda: leader_name(self.nodes(*but)), "there is a leader")]

    def roles(self):
        return members(self.nodes()[0]) or {}

    def wait_roles(self, what, right):
        """Until the members are as they should be."""
        return e2e.wait_until(lambda: right(self.roles()), what, every_s=0.05)

    def settle(self, voting=3):
        """Nobody is on the way to anything, and all that run serve."""
        self.wait_roles(f"{voting} vote", lambda r: list(r.values()).count("VOTER") == voting)
        for node in self.nodes():
            node.wait_healthy()

    def phase(self, name, act):
        began = time.monotonic()
        e2e.say(f"  {name} ...")
        act()
        time.sleep(self.quiet_s)  # what comes a moment later is still this phase's
        self.phases.append((name, began, time.monotonic()))

    def fact(self, name, seconds):
        self.facts[name] = seconds
        e2e.say(f"    {name}: {seconds:.2f} s")

    # ---- the phases ------------------------------------------------------------------------------------

    def run(self):
        self.network.names_start()
        self.cluster.start_bootstrapped(voters=3, heal_after_s=self.heal_after_s)
        e2e.wait_until(lambda: len(self.roles()) == 5, "all five are members")
        self.settle()
        with loads.Load([n.client_address for n in self.cluster]) as self.load:
            self.phase("nothing happens", lambda: time.sleep(self.quiet_s))
            follower = next(n for n in sorted(voters(self.cluster["n1"])) if n != self.leader().name)
            self.phase("a voter dies for good", lambda: self.dies(follower))
            leader = self.leader().name
            self.phase(UNPLANNED, lambda: self.dies(leader))
            self.phase("the dead come back with empty disks", lambda: self.come_back([follower, leader]))
            self.phase("every node moves to another address, one after the other", self.move_each)
            self.phase("a running follower's address changes", self.move_one)
            self.phase("3 -> 5 -> 3 voters", self.scale)
            self.phase("every node is restarted, one after the other", self.restart_each)
        self.seen = self.load.seen
        self.cluster.check_logs()
        self.cluster.wait_equal_revision()
        self.cluster.stop()

    def dies(self, name):
        began = time.monotonic()
        self.cluster[name].kill9()
        self.wait_roles(f"another votes instead of {name}",
                        lambda r: list(r.values()).count("VOTER") == 3 and r.get(name) != "VOTER")
        self.fact(f"healed after {'the leader' if self.phases[-1][0] != 'nothing happens' else 'a voter'} died",
                  time.monotonic() - began)

    def come_back(self, names):
        for name in names:
            node = self.cluster[name]
            node.wipe()
            node.write_config([node], join=self.nodes())
            began = time.monotonic()
            node.start()
            node.wait_healthy()
            self.fact(f"{name} serves, empty disk", time.monotonic() - began)
            self.wait_roles(f"{name} stands by", lambda r, n=name: r.get(n) == "STANDBY")
            self.fact(f"{name} is a member again, empty disk", time.monotonic() - began)

    def go(self, node, net):
        """The machine moves to another net; the name server follows."""
        node.drop_client()
        host = self.network.hosts[node.name].rsplit(".", 1)[1]
        self.network.move(node.name, f"10.77.{net}.{host}")
        self.network.names_follow()
        self.load.addresses([n.client_address for n in self.cluster])

    def move_each(self):
        slowest = 0
        for node in self.cluster:
            assert node.terminate() == e2e.EXIT_OK
            self.go(node, 2)
            node.start()
            slowest = max(slowest, netns.timed(node.healthy, f"{node.name} is healthy"))
            self.settle()
        self.fact("a restarted node serves at another address, the slowest", slowest)

    def move_one(self):
        leader = self.leader().name
        node = next(n for n in self.cluster if n.name != leader and n.name in voters(self.cluster[leader]))
        self.go(node, 3)
        self.fact("a running node serves at another address", netns.timed(node.healthy, f"{node.name} is healthy"))
        self.settle()

    def scale(self):
        for count in (5, 3):
            began = time.monotonic()
            ask(self.nodes()[0], "cluster/wish", set_voters=True, voters=count)
            self.settle(count)
            self.fact(f"{count} vote", time.monotonic() - began)

    def restart_each(self):
        longest = 0
        for node in self.cluster:
            began = time.monotonic()
            assert node.terminate() == e2e.EXIT_OK
            node.start()
            node.wait_healthy()
            longest = max(longest, time.monotonic() - began)
        self.fact("a restart, the longest", longest)
        assert any("lead handed over" in n.log_text() for n in self.cluster)

    # ---- what was seen -----------------------------------------------------------------------------------

    def summaries(self, kinds=tuple(loads.KINDS)):
        return [(name, loads.Summary(self.seen, began, ended, kinds)) for name, began, ended in self.phases]

    def tell(self):
        """What each phase did to the clients, a line each."""
        for name, s in self.summaries():
            e2e.say(f"  {name}: {s.done} done, {s.failed} failed at first, longest failing {s.longest_failing_s * 1000:.0f} ms, "
                    f"gaps > {loads.GAP_S * 1000:.0f} ms: {len(s.gaps)}, longest {s.longest_gap_s * 1000:.0f} ms")
            for why, count in s.why.most_common(8):
                e2e.say(f"      {count} x {why}")

    def as_text(self):
        lines = ["| phase | calls | failed at first | gaps > 100 ms | longest gap, ms | "
                 + " | ".join(f"{k} failed for, ms" for k in loads.KINDS) + " |", "|---|" + "--:|" * (4 + len(loads.KINDS))]
        per_kind = {kind: dict(self.summaries((kind,))) for kind in loads.KINDS}
        for name, s in self.summaries():
            lines.append(f"| {name} | {s.done:,} | {s.failed} | {len(s.gaps)} | {s.longest_gap_s * 1000:.0f} | " + " | ".join(
                f"{per_kind[kind][name].longest_failing_s * 1000:.0f}" for kind in loads.KINDS) + " |")
        lines += ["", "| what | seconds |", "|---|--:|"]
        lines += [f"| {name} | {seconds:.2f} |" for name, seconds in self.facts.items()]
        return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description="Five nodes with names, under load, and all that happens to them.")
    parser.add_argument("--quiet-s", type=float, default=5, help="how long each phase is looked at after it")
    parser.add_argument("--heal-after-s", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="into docs/operations.md")
    arguments = parser.parse_args()
    why_not = netns.why_not()
    if why_not:
        raise SystemExit(f"five: {why_not}")
    five = Five(arguments.heal_after_s, arguments.quiet_s)
    try:
        five.run()
    finally:
        five.close()
    five.tell()
    clients = ", ".join(f"{count} {kind}" for kind, count in loads.KINDS.items())
    text = (f"Taken {datetime.date.today()} with `make prove-five` on {os.cpu_count()} processors that nodes, name server and clients "
            f"share with other\nwork (load average {os.getloadavg()[1]:.0f}); default timeouts (election 1,000 ms, heartbeat 100 ms), `heal_after_s = {arguments.heal_after_s}`. Clients: {clients}; "
            f"together {sum(a.ok for a in five.seen):,} calls,\nof which {sum(not a.ok for a in five.seen)} were tried again elsewhere.\n\n"
            + five.as_text())
    e2e.say("\n" + text)
    if arguments.write:
        document.replace_section(DOCUMENT, BEGIN, END, "\n" + text)


if __name__ == "__main__":
    main()
