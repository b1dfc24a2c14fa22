# SPDX-License-Identifier: Apache-2.0
"""
holdfastctl as a person and a script use it: what it prints, how it goes on over several endpoints, and
its exit codes: 0 done, 1 refused, 2 key not found, 3 outcome unknown, 4 no endpoint answered, 64 usage.
"""
import json
import os
import re
import socket
import threading
import unittest

import cluster as e2e

OK, REFUSED, NOT_FOUND, UNKNOWN, UNREACHABLE, USAGE = 0, 1, 2, 3, 4, 64


def ctl(endpoints, *words, input_text=None):
    return e2e.run([e2e.HOLDFASTCTL, "--endpoints", endpoints, *words], input_text=input_text)


class Silent:
    """A port that accepts and never says a word, as a frozen server does; or cuts the line after the
    first octets have come in."""

    def __init__(self, cut=False):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(16)
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.cut = cut
        self.accepted = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.accepted.append(connection)
            if self.cut:
                connection.settimeout(e2e.LIMIT_S)
                connection.recv(1)
                connection.close()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in self.accepted:
            connection.close()
        self.thread.join()


class Answering:
    """A gRPC server that answers every call with one status, as a proxy in between may."""

    def __init__(self, status, text):
        import grpc  # loaded late, as in cluster.py
        from concurrent import futures

        def answer(_request, context):
            context.abort(status, text)

        class AnyCall(grpc.GenericRpcHandler):
            def service(self, _details):
                return grpc.unary_unary_rpc_method_handler(answer)

        self.server = grpc.server(futures.ThreadPoolExecutor(1), handlers=(AnyCall(),))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def close(self):
        self.server.stop(None).wait()


class Ctl(e2e.ClusterTest):
    def ok(self, *words, endpoints=None, code=OK, **more):
        got, out, err = ctl(endpoints or self.cluster.endpoints, *words, **more)
        self.assertEqual(got, code, f"{words}: {err}")
        return out

    def test_put_get_del(self):
        for node in self.cluster:
            address = node.client_address
            key = f"basic/{node.name}"
            self.assertEqual(self.ok("put", key, "one", endpoints=address), "OK\n")
            self.assertEqual(self.ok("put", key, "two", "--prev-kv", endpoints=address), f"OK\n{key}\none\n")
            self.assertEqual(self.ok("get", key, endpoints=address), f"{key}\ntwo\n")
            self.assertEqual(self.ok("get", key, "--value-only", endpoints=address), "two\n")
            self.assertEqual(self.ok("del", key, endpoints=address), "1\n")
            self.assertEqual(self.ok("get", key, endpoints=address, code=NOT_FOUND), "")
            self.assertEqual(self.ok("del", key, endpoints=address), "0\n")

    def test_value_from_stdin(self):
        text = "line one\nline two\n" * 1000
        self.assertEqual(self.ok("put", "stdin", input_text=text), "OK\n")
        self.assertEqual(self.ok("get", "stdin", "--value-only"), text + "\n")
        self.ok("put", "empty", "")
        self.assertEqual(self.ok("get", "empty"), "empty\n\n")

    def test_ranges(self):
        first = json.loads(self.ok("put", "range/a", "3", "-o", "json"))["revision"]
        for key, value in (("range/b", "2"), ("range/c", "1")):
            self.ok("put", key, value)
        self.ok("put", "range/b", "9")
        self.assertEqual(self.ok("get", "range/", "--prefix", "--keys-only"), "range/a\nrange/b\nrange/c\n")
        self.assertEqual(self.ok("get", "range/a", "range/c", "--keys-only"), "range/a\nrange/b\n")
        self.assertEqual(self.ok("get", "range/", "--prefix", "--count-only"), "3\n")
        self.assertEqual(self.ok("get", "range/", "--prefix", "--keys-only", "--order", "descend", "--limit", "1"),
                         "range/c\n")
        self.assertEqual(self.ok("get", "range/", "--prefix", "--value-only", "--sort-by", "value", "--order", "ascend"),
                         "1\n3\n9\n")
        self.assertEqual(self.ok("get", "range/", "--prefix", "--rev", str(first), "--keys-only"), "range/a\n")
        self.assertEqual(self.ok("get", "range/b", "--rev", str(first + 1)), "range/b\n2\n")
        self.assertIn("range/c", self.ok("get", "range/b", "--from-key", "--keys-only"))
        got, out, err = ctl(self.cluster.endpoints, "get", "range/", "--prefix", "--limit", "2", "--keys-only")
        self.assertEqual((got, out), (OK, "range/a\nrange/b\n"))
        self.assertIn("2 of 3 keys", err)
        out = self.ok("get", "range/", "--prefix", "--serializable", "--count-only")
        self.assertIn(out.strip(), ("0", "1", "2", "3"))  # its own node's state, which may lag
        self.assertEqual(self.ok("get", "nowhere/", "--prefix"), "", "an empty range is no error")
        self.assertEqual(self.ok("del", "range/", "--prefix", "--prev-kv"),
                         "3\nrange/a\n3\nrange/b\n9\nrange/c\n1\n")

    def test_json(self):
        put = json.loads(self.ok("put", "json", "1", "-o", "json"))
        put2 = json.loads(self.ok("put", "json", "2", "-o", "json", "--prev-kv"))
        revision = put["revision"]
        self.assertEqual(put, {"revision": revision, "previous": []})
        self.assertEqual(put2["revision"], revision + 1)
        self.assertEqual(put2["previous"], [{"key": "json", "value": "1", "create_revision": revision,
                                             "mod_revision": revision, "version": 1, "lease": 0}])
        got = json.loads(self.ok("get", "json", "-o", "json"))
        self.assertEqual(got, {"revision": revision + 1, "count": 1, "more": False,
                               "kvs": [{"key": "json", "value": "2", "create_revision": revision,
                                        "mod_revision": revision + 1, "version": 2, "lease": 0}]})
        self.cluster["n1"].client.put(b"json\xff", b"\x00\xfe\n")
        got = json.loads(self.ok("get", "json", "--prefix", "-o", "json"))["kvs"][1]
        self.assertEqual((got["key_base64"], got["value_base64"]), ("anNvbv8=", "AP4K"))
        self.ok("put", 'json"quote\\', "tab\there \"and\" ünïcode")
        got = json.loads(self.ok("get", 'json"', "--prefix", "-o", "json"))["kvs"][0]
        self.assertEqual((got["key"], got["value"]), ('json"quote\\', "tab\there \"and\" ünïcode"))
        deleted = json.loads(self.ok("del", "json", "--prefix", "-o", "json"))
        self.assertEqual(deleted["deleted"], 3)
        missing = json.loads(self.ok("get", "json", "-o", "json", code=NOT_FOUND))
        self.assertEqual((missing["count"], missing["kvs"]), (0, []))

    def test_table(self):
        self.ok("put", "table/a", "x")
        lines = self.ok("get", "table/", "--prefix", "-o", "table").splitlines()
        self.assertRegex(lines[1], r"^\| KEY +\| VALUE +\| CREATED +\| MODIFIED +\| VERSION +\|$")
        self.assertRegex(lines[3], r"^\| table/a +\| x +\| \d+ +\| \d+ +\| 1 +\|$")
        self.assertEqual({len(line) for line in lines}, {len(lines[0])})

    def test_status(self):
        leader = self.cluster.leader()
        for endpoints in [n.client_address for n in self.cluster] + [self.cluster.endpoints]:
            status = {m["name"]: m for m in json.loads(self.ok("status", "-o", "json", endpoints=endpoints))}
            self.assertEqual(sorted(status), ["n1", "n2", "n3"])
            for node in self.cluster:
                own = status[node.name]
                self.assertEqual(own["role"], "leader" if node is leader else "follower")
                self.assertEqual(own["leader"], leader.name)
                self.assertEqual(own["client"], node.client_address)
                self.assertEqual(int(own["id"], 16), node.client.status().header.member_id)
                self.assertGreater(own["commit_index"], 0)
        table = self.ok("status", "-o", "table")
        self.assertEqual(len(re.findall(r"\| leader +\|", table)), 1)
        self.assertEqual(len(re.findall(r"\| follower +\|", table)), 2)
        self.ok("status")

    def test_member_list(self):
        members = json.loads(self.ok("member", "list", "-o", "json"))
        self.assertEqual([m["name"] for m in sorted(members, key=lambda m: m["name"])], ["n1", "n2", "n3"])
        for member in members:
            node = self.cluster[member["name"]]
            self.assertEqual((member["peer"], member["client"], member["learner"]),
                             (node.peer_address, node.client_address, False))
        self.assertEqual(len(self.ok("member", "list").splitlines()), 3)
        self.assertIn("| n2 ", self.ok("member", "list", "-o", "table"))

    def test_refused(self):
        for words, text in ((("get", "a", "--rev", "1000000000"), "future revision"),
                            (("put", "absent", "--ignore-value"), "key not found"),
                            (("put", "", "x"), "key is not provided"),
                            (("put", "a", "x", "--lease", "7b"), "lease not found")):
            got, out, err = ctl(self.cluster.endpoints, *words)
            self.assertEqual((got, out), (REFUSED, ""), words)
            self.assertIn(text, err)
            self.assertTrue(err.startswith("holdfastctl: "), err)
        got, _, err = ctl(self.cluster.endpoints, "put", "large", input_text="x" * 2000000)
        self.assertEqual(got, REFUSED, err)
        self.assertIn("request is too large", err)

    def test_usage(self):
        for words in ((), ("nonsense",), ("put",), ("put", "a", "b", "c"), ("get",), ("del",), ("member",),
                      ("status", "surplus"), ("get", "a", "b", "--prefix"), ("get", "a", "-o", "xml"),
                      ("get", "a", "--limit", "many"), ("get", "a", "--timeout", "soon"), ("--no-such-option",),
                      ("get", "a", "--rev", "-1"), ("bench", "nothing"), ("bench", "put", "--connections", "0")):
            got, _, err = ctl(self.cluster.endpoints, *words)
            self.assertEqual(got, USAGE, f"{words}: {err}")
            self.assertNotEqual(err, "")
        for endpoints in ("nocolon", "", "a:b", "127.0.0.1:99999"):
            self.assertEqual(ctl(endpoints, "get", "a")[0], USAGE, endpoints)
        self.assertEqual(e2e.run([e2e.HOLDFASTCTL, "--help"])[0], OK)
        code, out, _ = e2e.run([e2e.HOLDFASTCTL, "--version"])
        self.assertEqual((code, out.split()[0]), (OK, "holdfastctl"))

    def test_endpoints_from_environment(self):
        environment = dict(os.environ, HOLDFASTCTL_ENDPOINTS="http://" + self.cluster["n2"].client_address)
        self.assertEqual(e2e.run([e2e.HOLDFASTCTL, "put", "env", "x"], env=environment)[:2], (OK, "OK\n"))
        environment["HOLDFASTCTL_ENDPOINTS"] = "nonsense"
        self.assertEqual(e2e.run([e2e.HOLDFASTCTL, "put", "env", "x"], env=environment)[0], USAGE)

    def test_dead_endpoints(self):
        dead = f"127.0.0.1:{e2e.free_port()}"
        got, _, err = ctl(dead, "get", "a")
        self.assertEqual(got, UNREACHABLE)
        self.assertIn(dead, err)
        self.assertEqual(ctl(dead, "put", "a", "b")[0], UNREACHABLE, "never connected: certainly not written")
        self.assertEqual(ctl(dead, "status")[0], UNREACHABLE)
        live = self.cluster["n3"].client_address
        self.assertEqual(ctl(f"{dead},{live}", "put", "over", "1")[:2], (OK, "OK\n"))
        self.assertEqual(ctl(f"{dead},{live}", "get", "over")[:2], (OK, "over\n1\n"))
        self.assertEqual(ctl(f"{dead},{live}", "status")[0], OK)

    def test_silent_endpoint(self):
        """A write that was sent and not answered is not sent again elsewhere; a read is."""
        for cut in (False, True):
            silent = Silent(cut)
            live = self.cluster["n1"].client_address
            try:
                got, out, err = ctl(f"{silent.address},{live}", "--timeout", "1s", "put", f"silent/{cut}", "x")
                if got == UNREACHABLE:
                    self.fail(f"sent, so the outcome is unknown: {err}")
                self.assertEqual((got, out), (UNKNOWN, ""), err)
                self.assertIn("may have happened", err)
                got, out, _ = ctl(f"{silent.address},{live}", "--timeout", "1s", "get", "silent/", "--prefix", "--count-only")
                self.assertEqual((got, out), (OK, "0\n"))
                self.assertEqual(ctl(silent.address, "--timeout", "1s", "get", "a")[0], UNREACHABLE)
            finally:
                silent.close()

    def test_status_that_leaves_it_open(self):
        """A status that a framework or proxy gives for a call cut short does not say "not written"; etcd's
        own refusals do, whatever their code (etcd 3.4 lets "too many requests" out as UNKNOWN)."""
        import grpc
        live = self.cluster["n1"].client_address
        for code in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL,
                     grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE):
            server = Answering(code, "stream terminated")
            try:
                for words in (("put", "open", "x"), ("del", "open")):
                    got, out, err = ctl(f"{server.address},{live}", *words)
                    self.assertEqual((got, out), (UNKNOWN, ""), f"{code} {words}: {err}")
                    self.assertIn("may have happened", err)
                self.assertIn(ctl(server.address, "get", "open")[0], (REFUSED, UNREACHABLE))
            finally:
                server.close()
        server = Answering(grpc.StatusCode.UNKNOWN, "etcdserver: too many requests")
        try:
            self.assertEqual(ctl(f"{server.address},{live}", "put", "open", "x")[:2], (OK, "OK\n"))
        finally:
            server.close()
        server = Answering(grpc.StatusCode.INVALID_ARGUMENT, "no")
        try:
            self.assertEqual(ctl(f"{server.address},{live}", "put", "open", "x")[0], REFUSED)
        finally:
            server.close()

    def test_bench(self):
        out = json.loads(self.ok("bench", "put", "--requests", "500", "--key-count", "50", "--connections", "3",
                                 "--streams", "2", "-o", "json"))
        self.assertEqual((out["requests"], out["failed"]), (500, 0))
        self.assertLessEqual(out["p50_us"], out["p99_us"])
        self.assertLessEqual(int(self.ok("get", "bench/", "--prefix", "--count-only")), 50)
        self.ok("bench", "get", "--requests", "500", "--key-count", "50")

    def test_bench_kinds(self):
        def bench(*words):
            return [json.loads(line) for line in self.ok("bench", *words, "-o", "json").splitlines()]

        revision = json.loads(self.ok("put", "before", "", "-o", "json"))["revision"]
        out, = bench("txn", "--requests", "100", "--operations", "7", "--key-count", "30")
        self.assertEqual(json.loads(self.ok("put", "after", "", "-o", "json"))["revision"] - revision, 101)
        self.assertEqual(out["failed"], 0)
        # Of those that compare and set one key, as many did as the key has become new versions.
        self.ok("del", "bench/", "--prefix")
        out, = bench("swap", "--requests", "300")
        self.assertEqual((out["requests"], out["failed"]), (300, 0))
        self.assertEqual(json.loads(self.ok("get", "bench/0000000000", "-o", "json"))["kvs"][0]["version"], out["swaps"])
        # Leases, each kept alive twice; one that is not there is a failure.
        out, = bench("grant", "--requests", "40", "--ttl", "600")
        self.assertEqual(out["failed"], 0)
        out, = bench("keep-alive", "--requests", "80", "--key-count", "40", "--connections", "2")
        self.assertEqual((out["requests"], out["failed"]), (80, 0))
        code, _, err = ctl(self.cluster.endpoints, "bench", "keep-alive", "--requests", "80", "--key-count", "41")
        self.assertEqual(code, REFUSED)
        self.assertIn("no such lease", err)
        # Every put is seen by every watcher of its key.
        for which, seen in (((), 2), (("--prefix",), 20)):
            created, out = bench("watch", *which, "--watchers", "20", "--key-count", "10", "--requests", "50")
            self.assertEqual((created["watchers"], out["failed"], out["events"]), (20, 0, 50 * seen))

    def test_bench_open_loop(self):
        """At a rate each call has a time it is due at, an equal step after the one before, whatever became of that."""
        log = os.path.join(self.cluster.directory, "times")
        out = json.loads(self.ok("bench", "get", "--rate", "500", "--duration", "400ms", "--warm-up", "100ms", "--key-count", "1",
                                 "--file", log, "-o", "json"))
        self.assertEqual((out["requests"], out["all"], out["failed"]), (200, 250, 0))
        with open(log, encoding="ascii") as file:
            due = [int(line.split()[0]) for line in file]
        self.assertEqual(len(due), 250)
        self.assertEqual(max(due) - min(due), 249 * 2000)
        self.assertEqual(ctl(self.cluster.endpoints, "bench", "swap", "--rate", "5")[0], USAGE)


class FailOver(unittest.TestCase):
    def test_dead_leader(self):
        """With all endpoints named, reads and writes go on while any majority lives."""
        cluster = e2e.Cluster(3).start()
        self.assertEqual(ctl(cluster.endpoints, "put", "k", "1")[0], OK)
        for victim in cluster:
            victim.kill9()
            rest = [n for n in cluster if n is not victim]
            for node in rest:
                node.wait_healthy()
            got, out, err = ctl(cluster.endpoints, "get", "k")
            self.assertEqual((got, out), (OK, "k\n1\n"), err)
            got, _, err = ctl(cluster.endpoints, "put", f"without/{victim.name}", "1")
            self.assertEqual(got, OK, err)
            status = {m["name"]: m for m in json.loads(ctl(cluster.endpoints, "status", "-o", "json")[1])}
            self.assertEqual(status[victim.name]["role"], "unreachable")
            self.assertIn(victim.client_address, status[victim.name]["problem"])
            victim.start()
            victim.wait_healthy()
        # without a majority a write is refused or unknown, never "OK"; a read of one's own state is given
        for victim in (cluster["n1"], cluster["n2"]):
            victim.kill9()
        code, out, err = ctl(cluster["n3"].client_address, "--timeout", "60s", "put", "k", "2")
        self.assertIn(code, (REFUSED, UNKNOWN), err)
        self.assertEqual(out, "")
        self.assertEqual(ctl(cluster["n3"].client_address, "get", "k", "--serializable")[:2], (OK, "k\n1\n"))
        code, out, err = ctl(cluster["n3"].client_address, "status")
        self.assertEqual(code, REFUSED, "status without a leader is not fine")
        cluster.check_logs()
        cluster.stop()


if __name__ == "__main__":
    e2e.main()
