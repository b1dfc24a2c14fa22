# SPDX-License-Identifier: Apache-2.0
"""
Debian's etcdctl (3.4) against every node of three: what it prints is what a person and a script see.
JSON is checked field by field; test_etcdctl_same.py compares whole outputs with etcd's.
"""
import base64
import json
import os
import re
import shutil
import unittest

import cluster as e2e
from clients import shows

ETCDCTL = shutil.which("etcdctl")


def etcdctl(address, *words, input_text=None):
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "ETCDCTL_API": "3"}
    return e2e.run([ETCDCTL, "--endpoints", address, "--command-timeout", "30s", *words],
                   input_text=input_text, env=environment)


def b64(text):
    return base64.b64encode(text.encode()).decode()


class Etcdctl(e2e.ClusterTest):
    def ok(self, address, *words, **more):
        code, out, err = etcdctl(address, *words, **more)
        self.assertEqual(code, 0, f"etcdctl {' '.join(words)}: {err}")
        return out

    def ok_json(self, address, *words):
        return json.loads(self.ok(address, *words, "-w", "json"))

    def test_put_get_del_through_every_node(self):
        nodes = list(self.cluster)
        status = {n.name: n.client.status() for n in nodes}
        cluster_id = status["n1"].header.cluster_id
        for i, node in enumerate(nodes):
            reader = nodes[(i + 1) % 3]
            prefix = f"through-{node.name}/"
            put = self.ok_json(node.client_address, "put", prefix + "a", "one")
            header = put["header"]
            self.assertEqual(header["cluster_id"], cluster_id)
            self.assertEqual(header["member_id"], status[node.name].header.member_id)
            self.assertGreaterEqual(header["raft_term"], status[node.name].raftTerm)
            self.assertNotIn("prev_kv", put)
            first = header["revision"]
            put = self.ok_json(node.client_address, "put", "--prev-kv", prefix + "a", "two")
            self.assertEqual(put["header"]["revision"], first + 1)
            self.assertEqual(put["prev_kv"], {"key": b64(prefix + "a"), "value": b64("one"), "version": 1,
                                              "create_revision": first, "mod_revision": first})
            # read through another node than the one that wrote: linearizable
            got = self.ok_json(reader.client_address, "get", prefix + "a")
            self.assertEqual(got["header"]["member_id"], status[reader.name].header.member_id)
            self.assertEqual(got["header"]["revision"], first + 1)
            self.assertEqual(got["count"], 1)
            self.assertEqual(got["kvs"], [{"key": b64(prefix + "a"), "value": b64("two"), "version": 2,
                                           "create_revision": first, "mod_revision": first + 1}])
            deleted = self.ok_json(reader.client_address, "del", "--prev-kv", prefix + "a")
            self.assertEqual(deleted["deleted"], 1)
            self.assertEqual(deleted["header"]["revision"], first + 2)
            self.assertEqual(deleted["prev_kvs"][0]["value"], b64("two"))
            got = self.ok_json(node.client_address, "get", prefix + "a")
            self.assertNotIn("kvs", got)
            self.assertNotIn("count", got)
            nothing = self.ok_json(node.client_address, "del", prefix + "a")
            self.assertNotIn("deleted", nothing)
            self.assertEqual(nothing["header"]["revision"], first + 2)

    def test_ranges(self):
        writer = self.cluster["n2"].client_address
        revisions = {}
        for key, value in (("r/a", "3"), ("r/b", "2"), ("r/c", "1"), ("r/d", "0"), ("s/a", "x")):
            revisions[key] = self.ok_json(writer, "put", key, value)["header"]["revision"]
        again = self.ok_json(writer, "put", "r/b", "9")["header"]["revision"]
        for node in self.cluster:
            def keys(*words):
                out = self.ok_json(node.client_address, "get", *words)
                return [base64.b64decode(kv["key"]).decode() for kv in out.get("kvs", [])], out

            self.assertEqual(keys("r/", "--prefix")[0], ["r/a", "r/b", "r/c", "r/d"])
            found, out = keys("r/", "--prefix", "--limit", "2")
            self.assertEqual((found, out["more"], out["count"]), (["r/a", "r/b"], True, 4))
            self.assertEqual(keys("r/b", "r/d")[0], ["r/b", "r/c"])
            found, _ = keys("r/d", "--from-key")
            self.assertEqual(found[:2], ["r/d", "s/a"])
            self.assertEqual(keys("r/", "--prefix", "--order", "DESCEND")[0], ["r/d", "r/c", "r/b", "r/a"])
            self.assertEqual(keys("r/", "--prefix", "--order", "ASCEND", "--sort-by", "VALUE")[0],
                             ["r/d", "r/c", "r/a", "r/b"])
            self.assertEqual(keys("r/", "--prefix", "--order", "DESCEND", "--sort-by", "MODIFY")[0],
                             ["r/b", "r/d", "r/c", "r/a"])
            self.assertEqual(keys("r/", "--prefix", "--order", "DESCEND", "--sort-by", "CREATE", "--limit", "1")[0],
                             ["r/d"])
            self.assertEqual(keys("r/", "--prefix", "--order", "DESCEND", "--sort-by", "VERSION", "--limit", "1")[0],
                             ["r/b"])
            out = self.ok_json(node.client_address, "get", "r/", "--prefix", "--keys-only")
            self.assertEqual([kv.get("value") for kv in out["kvs"]], [None] * 4)
            # 3.4's etcdctl has no --count-only; its "fields" form prints the count
            fields = self.ok(node.client_address, "get", "r/", "--prefix", "--limit", "1", "-w", "fields")
            self.assertIn('"Count" : 4', fields)
            self.assertIn('"More" : true', fields)
            # the past, and consistency of one's own choice
            old = self.ok_json(node.client_address, "get", "r/", "--prefix", "--rev", str(again - 2))
            self.assertEqual({b["key"]: b["value"] for b in old["kvs"]}[b64("r/b")], b64("2"))
            self.assertEqual(old["header"]["revision"] >= again, True)
            before = self.ok_json(node.client_address, "get", "r/b", "--rev", str(revisions["r/a"]))
            self.assertNotIn("kvs", before)
            self.assertEqual(self.ok(node.client_address, "get", "r/a", "--print-value-only"), "3\n")
            node.wait_healthy()
            e2e.wait_until(lambda n=node: self.ok(n.client_address, "get", "r/b", "--consistency=s") == "r/b\n9\n",
                           "a serializable read shows what is applied here")

    def test_refusals(self):
        for node in self.cluster:
            code, _, err = etcdctl(node.client_address, "put", "--ignore-value", "absent")
            self.assertEqual(code, 1)
            self.assertIn("etcdserver: key not found", err)
            code, _, err = etcdctl(node.client_address, "get", "r/a", "--rev", "1000000000")
            self.assertEqual(code, 1)
            self.assertIn("etcdserver: mvcc: required revision is a future revision", err)
            code, _, err = etcdctl(node.client_address, "put", "", "v")
            self.assertEqual(code, 1)
            self.assertIn("etcdserver: key is not provided", err)
            code, _, err = etcdctl(node.client_address, "put", "k", "v", "--lease", "123")
            self.assertEqual(code, 1)
            self.assertIn("etcdserver: requested lease not found", err)

    def test_put_from_stdin_and_binary(self):
        self.ok(self.cluster["n1"].client_address, "put", "stdin", input_text="from the pipe")
        self.assertEqual(self.ok(self.cluster["n3"].client_address, "get", "stdin", "--print-value-only"),
                         "from the pipe\n")
        octets = bytes(range(256))
        self.cluster["n2"].client.put(b"binary\x00\xff", octets)
        out = self.ok_json(self.cluster["n3"].client_address, "get", "binary", "--prefix")
        self.assertEqual(base64.b64decode(out["kvs"][0]["key"]), b"binary\x00\xff")
        self.assertEqual(base64.b64decode(out["kvs"][0]["value"]), octets)
        self.ok(self.cluster["n1"].client_address, "put", "--ignore-value", "stdin")
        self.assertEqual(self.ok_json(self.cluster["n1"].client_address, "get", "stdin")["kvs"][0]["version"], 2)

    @shows("etcdctl 3.4", "endpoint status (`--cluster` too), endpoint health", "field by field")
    def test_endpoint_status(self):
        leader = self.cluster.leader()
        leader_id = leader.client.status().header.member_id
        for node in self.cluster:
            (answer,) = self.ok_json(node.client_address, "endpoint", "status")
            self.assertEqual(answer["Endpoint"], node.client_address)
            status = answer["Status"]
            self.assertRegex(status["version"], r"^3\.\d+\.\d+$")
            self.assertEqual(status["leader"], leader_id)
            self.assertEqual(status["header"]["member_id"] == leader_id, node is leader)
            self.assertGreater(status["dbSize"], 0)
            self.assertGreater(status["dbSizeInUse"], 0)
            self.assertGreaterEqual(status["dbSize"], status["dbSizeInUse"])
            self.assertGreater(status["raftIndex"], 0)
            self.assertGreater(status["raftAppliedIndex"], 0)
            self.assertLessEqual(status["raftAppliedIndex"], status["raftIndex"])
            self.assertGreater(status["raftTerm"], 0)
            self.assertNotIn("errors", status)
            self.assertNotIn("isLearner", status)
        table = self.ok(self.cluster.endpoints, "endpoint", "status", "-w", "table")
        self.assertEqual(len(re.findall(r"\| +true \| +false \|", table)), 1, table)

    def test_endpoint_health(self):
        for node in self.cluster:
            code, out, err = etcdctl(node.client_address, "endpoint", "health")
            self.assertEqual(code, 0, err)
            self.assertIn("is healthy", out + err)

    @shows("etcdctl 3.4", "member list", "field by field")
    def test_member_list(self):
        for node in self.cluster:
            members = self.ok_json(node.client_address, "member", "list")["members"]
            self.assertEqual(sorted(m["name"] for m in members), ["n1", "n2", "n3"])
            self.assertEqual([m["ID"] for m in members], sorted(m["ID"] for m in members))
            for member in members:
                wanted = self.cluster[member["name"]]
                self.assertEqual(member["peerURLs"], [f"http://{wanted.peer_address}"])
                self.assertEqual(member["clientURLs"], [f"http://{wanted.client_address}"])
                self.assertEqual(member["ID"], wanted.client.status().header.member_id)
        # --cluster asks one node for all the others
        code, out, err = etcdctl(self.cluster["n1"].client_address, "endpoint", "status", "--cluster", "-w", "json")
        self.assertEqual(code, 0, err)
        self.assertEqual(sorted(s["Endpoint"] for s in json.loads(out)),
                         sorted(f"http://{n.client_address}" for n in self.cluster))

    def test_what_is_not_built_says_so(self):
        """An unfinished call is refused as UNIMPLEMENTED, not hung and not answered wrongly."""
        code, _, err = etcdctl(self.cluster["n1"].client_address, "user", "list")
        if code != 0:
            self.assertIn("Unimplemented", err)


if __name__ == "__main__":
    if ETCDCTL is None:
        raise SystemExit("etcdctl is missing; install the Debian package etcd-client")
    e2e.main()
