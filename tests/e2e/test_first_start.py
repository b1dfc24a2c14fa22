# SPDX-License-Identifier: Apache-2.0
"""
How nodes begin and end: founding a cluster, who is refused and with which sentence, the command line,
configuration errors, exit codes, and stopping.
"""
import os
import shutil
import signal
import threading
import time
import unittest

import grpc

import cluster as e2e
import rpc


def daemon(*words, timeout_s=e2e.LIMIT_S):
    return e2e.run([e2e.HOLDFASTD, *words], timeout_s=timeout_s)


class WithCluster(unittest.TestCase):
    """A fresh cluster for each test, configured and not started."""

    count = 3

    def setUp(self):
        self.cluster = e2e.Cluster(self.count)
        self.addCleanup(self.cluster.close)

    def finish(self):
        self.cluster.check_logs()
        self.cluster.stop()

    def never_healthy(self, nodes, elections=8):
        """Nobody becomes able to answer for as long as several elections take. A slow machine can only make
        this look less closely, not fail."""
        end = time.monotonic() + elections * self.cluster.election_timeout_ms / 1000
        while time.monotonic() < end:
            for node in nodes:
                try:
                    healthy = node.healthy()
                except OSError:  # does not even listen yet
                    healthy = False
                self.assertFalse(healthy, f"{node.name} is healthy")
            time.sleep(0.05)


class Founding(WithCluster):
    def test_far_apart(self):
        """Before the last listed node has answered nobody founds anything; then all go on by themselves."""
        one, two, three = self.cluster
        one.start()
        one.wait_log("waiting for the other members")
        e2e.wait_until(one.listening, "n1 listens")
        status, body, _ = e2e.http_get(one.client_address, "/health")
        self.assertEqual((status, '"health":"false"' in body), (503, True))
        with self.assertRaises(grpc.RpcError) as refused:
            one.client.put("early", "x", timeout_s=e2e.LIMIT_S)
        self.assertIn("etcdserver:", refused.exception.details())
        self.assertEqual(one.client.members(timeout_s=20).members[:], [])
        two.start()
        one.wait_log("heard=1 of=2")
        self.never_healthy([one, two], 3)
        self.assertNotIn("founding the cluster", one.log_text() + two.log_text())
        three.start()
        self.cluster.wait_healthy()
        self.assertEqual(sum(n.log_text().count("founding the cluster") for n in self.cluster), 1)
        one.client.put("after", "x")
        self.assertEqual(three.client.range("after").kvs[0].value, b"x")
        ids = {n.client.status().header.cluster_id for n in self.cluster}
        self.assertEqual(len(ids), 1)
        # the youngest starts again alone: it has a cluster now, but no majority
        for node in self.cluster:
            self.assertEqual(node.terminate(), 0)
        three.start()
        e2e.wait_until(three.listening, "n3 listens")
        self.never_healthy([three], 3)
        one.start()
        self.cluster.wait_healthy()
        self.assertEqual(three.client.range("after").kvs[0].value, b"x")
        self.finish()

    def test_wiped_node(self):
        """An empty node under a known name is another incarnation: refused on both sides, never counted."""
        self.cluster.start()
        one, two, three = self.cluster
        one.client.put("k", "before")
        three.kill9()
        three.wipe()
        three.start()
        three.wait_log("bound to another incarnation")
        e2e.wait_until(lambda: "bound to another incarnation" in one.log_text() + two.log_text(),
                       "the others say it too")
        for text in (three.log_text(), one.log_text() + two.log_text()):
            line = next(l for l in text.splitlines() if "bound to another incarnation" in l)
            self.assertIn("restore its data directory, or wait until another member votes in its place", line)
        # with it alone at its side n1 has no majority
        two.kill9()
        self.never_healthy([one, three])
        two.start()
        one.wait_healthy()
        two.wait_healthy()
        self.assertEqual(two.client.range("k").kvs[0].value, b"before")
        self.assertFalse(three.healthy())
        self.finish()

    def test_wiped_node_back_with_its_data(self):
        """What the sentence says works: the restored directory is taken back."""
        self.cluster.start()
        one, _, three = self.cluster
        one.client.put("k", "1")
        three.kill9()
        kept = three.data_dir + ".kept"
        shutil.move(three.data_dir, kept)
        three.start()
        three.wait_log("bound to another incarnation")
        self.assertEqual(three.terminate(), 0)
        shutil.rmtree(three.data_dir)
        shutil.move(kept, three.data_dir)
        one.client.put("k", "2")
        three.start()
        three.wait_healthy()
        self.assertEqual(three.client.range("k").kvs[0].value, b"2")
        self.finish()

    def test_wiped_founder(self):
        """The first of the list, wiped, must not found a second cluster (trap 45)."""
        self.cluster.start()
        one, two, _ = self.cluster
        two.client.put("k", "1")
        old = two.client.status().header.cluster_id
        one.kill9()
        one.wipe()
        one.start()
        one.wait_log("bound to another incarnation")
        two.wait_healthy()
        self.assertEqual(two.client.range("k").kvs[0].value, b"1")
        self.assertFalse(one.healthy())
        self.assertEqual(one.log_text().split("---- start")[-1].count("founding the cluster"), 0)
        self.assertEqual(two.client.status().header.cluster_id, old)
        self.finish()

    def test_different_lists(self):
        one, two, three = self.cluster

        class Fourth:
            name = "n4"
            peer_address = f"127.0.0.1:{e2e.free_port()}"
            client_address = f"127.0.0.1:{e2e.free_port()}"

        three.write_config(members=[one, two, three, Fourth])
        for node in self.cluster:
            node.start()
        one.wait_log("the members lists differ")
        self.never_healthy(self.cluster, 3)
        self.assertNotIn("founding the cluster", "".join(n.log_text() for n in self.cluster))
        # and once they agree, it works without wiping anything
        self.assertEqual(three.terminate(), 0)
        three.write_config()
        three.start()
        self.cluster.wait_healthy()
        self.finish()

    def test_not_listed(self):
        """Whoever founds with others than those of our list is told so. Once there is a cluster it may join that."""
        one, two, three = self.cluster
        one.write_config(members=[one, two])
        two.write_config(members=[one, two])
        one.start()
        three.start()
        sentence = "is not in the members list of node"
        three.wait_log(sentence)
        one.wait_log(sentence)
        self.assertFalse(one.healthy())
        self.assertFalse(three.healthy())
        two.start()
        one.wait_healthy()
        two.wait_healthy()
        three.wait_healthy()
        three.wait_log("joining the cluster")
        self.finish()

    def test_other_cluster_name(self):
        one, two, three = self.cluster
        three.write_config(cluster_name="production")
        for node in self.cluster:
            node.start()
        sentence = "is configured for cluster"
        three.wait_log(sentence)
        e2e.wait_until(lambda: sentence in one.log_text() + two.log_text(), "the others say it too")
        self.never_healthy(self.cluster, 3)
        self.finish()

    def test_foreign_data_directory(self):
        """A node of another founding, started among these, is told so, and nothing of it gets in."""
        self.cluster.start()
        one, two, three = self.cluster
        one.client.put("k", "ours")
        other = e2e.Cluster(3)
        self.addCleanup(other.close)
        other.start()
        other["n3"].client.put("k", "theirs")
        for node in other:
            self.assertEqual(node.terminate(), 0)
        self.assertEqual(three.terminate(), 0)
        three.wipe()
        shutil.copytree(other["n3"].data_dir, three.data_dir)
        three.start()
        three.wait_log("another cluster")
        e2e.wait_until(lambda: "belongs to another cluster" in one.log_text() + two.log_text(), "the others say it too")
        self.assertEqual(one.client.range("k").kvs[0].value, b"ours")
        self.assertFalse(three.healthy())
        self.finish()

    def test_address_of_another(self):
        """Two addresses exchanged in one file: the sentence names who was dialled and who answered."""
        one, two, three = self.cluster

        class Swapped:
            def __init__(self, name, like):
                self.name = name
                self.peer_address = like.peer_address
                self.client_address = like.client_address

        one.write_config(members=[one, Swapped("n2", three), Swapped("n3", two)])
        for node in self.cluster:
            node.start()
        one.wait_log("dialled 'n2' but reached 'n3'")
        self.assertNotIn("founding", one.log_text())
        self.finish()


class Single(WithCluster):
    count = 1

    def test_single(self):
        node = self.cluster["n1"]
        node.start()
        node.wait_healthy()
        node.client.put("a", "1")
        node.kill9()
        node.start()
        node.wait_healthy()
        self.assertEqual(node.client.range("a").kvs[0].value, b"1")
        self.assertEqual(node.client.status().leader, node.client.status().header.member_id)
        self.finish()

    def test_second_process(self):
        node = self.cluster["n1"]
        node.start()
        node.wait_healthy()
        code, _, err = daemon("-c", node.config_path)
        self.assertEqual(code, e2e.EXIT_IN_USE)
        self.assertIn(f"used by process {node.pid}", err)
        # another configuration with other ports is of no help
        other = os.path.join(self.cluster.directory, "other.conf")
        with open(node.config_path, encoding="utf-8") as file:
            text = file.read()
        for port in (node.client_port, node.peer_port):
            text = text.replace(str(port), str(e2e.free_port()))
        with open(other, "w", encoding="utf-8") as file:
            file.write(text)
        code, _, err = daemon("-c", other)
        self.assertEqual(code, e2e.EXIT_IN_USE, err)
        node.client.put("still", "here")
        self.finish()

    def test_port_in_use(self):
        node = self.cluster["n1"]
        node.start()
        node.wait_healthy()
        other = e2e.Cluster(1)
        self.addCleanup(other.close)
        other["n1"].client_port = node.client_port
        other["n1"].write_config()
        code, _, err = daemon("-c", other["n1"].config_path)
        self.assertEqual(code, e2e.EXIT_FAILURE)
        self.assertIn(node.client_address, err)
        self.finish()

    def test_renamed_node(self):
        """A data directory belongs to the name it was made with."""
        node = self.cluster["n1"]
        node.start()
        node.wait_healthy()
        self.assertEqual(node.terminate(), 0)
        with open(node.config_path, encoding="utf-8") as file:
            text = file.read()
        with open(node.config_path, "w", encoding="utf-8") as file:
            file.write(text.replace('"n1"', '"x1"'))
        code, _, err = daemon("-c", node.config_path)
        self.assertEqual(code, e2e.EXIT_IDENTITY, err)
        self.assertIn("n1", err)

    def test_unusable_data_dir(self):
        node = self.cluster["n1"]
        with open(node.data_dir, "w", encoding="utf-8") as file:
            file.write("a file")
        code, _, err = daemon("-c", node.config_path)
        self.assertEqual(code, e2e.EXIT_FAILURE)
        self.assertIn(node.data_dir, err)


class CommandLine(WithCluster):
    def refused(self, text, line, *parts):
        path = os.path.join(self.cluster.directory, "bad.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        for words in (("-c", path), ("--check-config", path)):
            code, _, err = daemon(*words)
            self.assertEqual(code, e2e.EXIT_CONFIG, err)
            self.assertIn(f"{path}:{line}:", err)
            for part in parts:
                self.assertIn(part, err)

    def test_configuration_errors(self):
        with open(self.cluster["n1"].config_path, encoding="utf-8") as file:
            good = file.read()
        self.refused(good + "colour = 7;\n", len(good.splitlines()) + 1, "colour")
        self.refused(good.replace('node = "n1"', 'node = "n9"'), 2, "n9")
        self.refused(good.replace('cluster = "test"', "cluster = 5"), 1, "cluster")
        self.refused(good.replace("heartbeat_ms = 50", "heartbeat_ms = 400"), len(good.splitlines()), "heartbeat")
        self.refused(good.replace("election_timeout_ms = 500", "election_timeout_ms = 5"), len(good.splitlines()),
                     "election_timeout_ms", "5")
        self.refused(good.replace("listen_client = ", "listen_client "), 4)
        self.refused(good.replace(self.cluster["n1"].client_address, "127.0.0.1:notaport"), 4, "notaport")
        code, _, err = daemon("-c", "/nonexistent/holdfast.conf")
        self.assertEqual(code, e2e.EXIT_CONFIG)
        self.assertIn("/nonexistent/holdfast.conf", err)

    def test_options(self):
        path = self.cluster["n2"].config_path
        code, out, _ = daemon("--check-config", path)
        self.assertEqual(code, 0)
        self.assertIn("ok: node n2 of 3 members of cluster test", out)
        self.assertFalse(os.path.exists(self.cluster["n2"].data_dir), "checking makes nothing")
        code, first, _ = daemon("-c", path, "--print-config")
        self.assertEqual(code, 0)
        printed = os.path.join(self.cluster.directory, "printed.conf")
        with open(printed, "w", encoding="utf-8") as file:
            file.write(first)
        code, again, err = daemon("-c", printed, "--print-config")
        self.assertEqual((code, again), (0, first), err)
        self.assertIn("flush_interval_ms", first)
        code, out, _ = daemon("--version")
        with open(os.path.join(e2e.ROOT, "VERSION"), encoding="utf-8") as file:
            self.assertEqual((code, out.strip()), (0, f"holdfastd {file.read().strip()}"))
        code, out, _ = daemon("--help")
        self.assertEqual(code, 0)
        for word in ("--config", "--check-config", "--print-config", "78 configuration"):
            self.assertIn(word, " ".join(out.split()))
        for words in (("--no-such-option",), ("surplus",), ("-c",)):
            self.assertEqual(daemon(*words)[0], e2e.EXIT_USAGE, words)

    def test_the_sample_is_right(self):
        sample = os.path.join(e2e.ROOT, "etc", "holdfast.conf")
        code, _, err = daemon("--check-config", sample)
        self.assertEqual(code, 0, err)


class Stopping(WithCluster):
    def test_idle(self):
        self.cluster.start()
        began = time.monotonic()
        for node in self.cluster:
            self.assertEqual(node.terminate(), 0)
            self.assertIn("stopped", node.log_text().splitlines()[-1])
        # Far below the minute systemd waits before it kills; no timer of seconds is waited for on the way.
        self.assertLess(time.monotonic() - began, 30)

    def test_interrupt(self):
        """Ctrl-C is as good as SIGTERM."""
        self.cluster.start()
        node = self.cluster["n1"]
        node.signal(signal.SIGINT)
        self.assertEqual(node.wait(), 0)

    def test_without_majority(self):
        self.cluster.start()
        one, two, three = self.cluster
        two.kill9()
        three.kill9()
        self.assertEqual(one.terminate(), 0)
        one.start()
        e2e.wait_until(one.listening, "n1 listens")
        self.assertEqual(one.terminate(), 0)

    def test_before_the_cluster_is_there(self):
        one = self.cluster["n1"]
        one.start()
        one.wait_log("waiting for the other members")
        self.assertEqual(one.terminate(), 0)

    def test_twice(self):
        """The second SIGTERM may cut the stopping short, but never makes it hang."""
        self.cluster.start()
        for node in self.cluster:
            node.signal(signal.SIGTERM)
            node.signal(signal.SIGTERM)
            self.assertIn(node.wait(), (0, e2e.EXIT_FAILURE))
        for node in self.cluster:
            node.start()
        self.cluster.wait_healthy()
        self.finish()

    def test_with_idle_connections(self):
        """Clients that keep their connections open and say nothing do not hold a node up."""
        self.cluster.start()
        for node in self.cluster:
            node.client.status()
            self.assertEqual(node.terminate(), 0)

    def test_under_way(self):
        """A put that waits for a majority when its node is stopped gets an answer, not a cut line."""
        self.cluster.start()
        leader = self.cluster.leader()
        others = self.cluster.followers()
        for node in others:
            node.pause()
        answers = []

        def put(number):
            try:
                with rpc.Client(leader.client_address, e2e.LIMIT_S) as client:
                    answers.append(client.put(f"late/{number}", "x"))
            except grpc.RpcError as problem:
                answers.append(problem)

        leader.client.status()
        clients = [threading.Thread(target=put, args=(i,)) for i in range(5)]
        for client in clients:
            client.start()
        e2e.wait_until(lambda: open_client_connections(leader) >= 6, "all are connected")
        leader.signal(signal.SIGTERM)
        self.assertEqual(leader.wait(), 0)
        for client in clients:
            client.join(e2e.LIMIT_S)
        self.assertEqual(len(answers), 5)
        for answer in answers:
            self.assertIsInstance(answer, grpc.RpcError)
            self.assertEqual(answer.code(), grpc.StatusCode.UNAVAILABLE)
            self.assertIn("etcdserver:", answer.details())
        for node in others:
            node.resume()

    def test_under_load(self):
        """Every call gets an answer from the server, or certainly did not reach it."""
        self.cluster.start()
        stop = threading.Event()
        strange = []
        done = [0]

        def load(node, number):
            with rpc.Client(node.client_address, e2e.LIMIT_S) as client:
                count = 0
                while not stop.is_set():
                    try:
                        client.put(f"load/{number}", str(count))
                        done[0] += 1
                    except grpc.RpcError as problem:
                        text = problem.details()
                        if not (text.startswith("etcdserver:") or "onnect" in text and "refused" in text.lower()
                                or "Failed to connect" in text):
                            strange.append(text)
                        if not node.alive():
                            return
                    count += 1

        target = self.cluster.followers()[0]
        clients = [threading.Thread(target=load, args=(target, i)) for i in range(4)]
        for client in clients:
            client.start()
        e2e.wait_until(lambda: done[0] > 100, "load runs")
        code = target.terminate()
        stop.set()
        for client in clients:
            client.join(e2e.LIMIT_S)
        self.assertEqual(code, 0)
        self.assertEqual(strange, [])
        target.start()
        target.wait_healthy()
        self.finish()


def open_client_connections(node):
    """Connections established to the node's client port, as the kernel lists them."""
    wanted = f"0100007F:{node.client_port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in file][1:]
    return sum(1 for row in rows if row[1] == wanted and row[3] == "01")


if __name__ == "__main__":
    e2e.main()
