# SPDX-License-Identifier: Apache-2.0
"""
curl against the HTTP/1.1 side of holdfast: etcd's JSON gateway (the same requests to etcd, statuses and
bodies compared), its streams, and holdfast's own doors: REST and server-sent events.
"""
import base64
import json
import os
import re
import shutil
import tempfile
import unittest

import clients
import cluster as e2e
import etcd
from clients import shows

CURL = shutil.which("curl")
ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
SAME = "statuses and bodies are etcd's"


def curl(*words, input_text=None):
    """(exit code, output, error text)"""
    return e2e.run([CURL, "--silent", "--show-error", "--noproxy", "*", "--max-time", "30", *words],
                   input_text=input_text, env=ENV)


def post(address, path, body):
    """(HTTP status, JSON value)"""
    code, out, err = curl("-X", "POST", "-d", body if isinstance(body, str) else json.dumps(body),
                          "-w", "\n%{http_code}", f"http://{address}{path}")
    assert code == 0, f"{path}: curl ended with {code}: {err}"
    text, status = out.rsplit("\n", 1)
    try:
        return int(status), json.loads(text)
    except ValueError:
        return int(status), text


def b64(text):
    return base64.b64encode(text.encode()).decode()


def plain(value):
    """Without what must differ: ids, terms, hashes, times left."""
    if isinstance(value, list):
        return [plain(part) for part in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for name, part in value.items():
        if name in ("cluster_id", "member_id", "raft_term", "hash"):
            made[name] = "some" if part else part
        elif name == "TTL" and "grantedTTL" in value:
            made[name] = "what is left"
        elif name not in ("hash_revision",):
            made[name] = plain(part)
    return made


class Json(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.oracle = etcd.Etcd()
        cls.ours = clients.Ours()
        cls.turn = 0

    @classmethod
    def tearDownClass(cls):
        cls.oracle.close()
        cls.ours.close()

    def setUp(self):
        self.running = []

    def tearDown(self):
        for running in self.running:
            running.close()

    def node(self):
        type(self).turn += 1
        return self.ours.addresses[self.turn % 3]

    def same(self, path, body):
        """POST to both; the same status and body. holdfast's answer."""
        theirs = post(self.oracle.address, path, body)
        if theirs[0] == 412:
            theirs = 400, theirs[1]  # etcd 3.4 for FAILED_PRECONDITION; newer ones and holdfast say 400
        mine = post(self.node(), path, body)
        if mine[0] == 412 and clients.AGAINST_ETCD:
            mine = 400, mine[1]
        with self.subTest(f"{path} {body}"):
            self.assertEqual((mine[0], plain(mine[1])), (theirs[0], plain(theirs[1])))
        return mine

    @shows("curl, JSON", "/v3/kv/range, put, deleterange", SAME)
    def test_a_kv(self):
        for path, body in (
                ("/v3/kv/put", {"key": b64("json/a"), "value": b64("1")}),
                ("/v3/kv/put", {"key": b64("json/a"), "value": b64("2"), "prev_kv": True}),
                ("/v3/kv/put", {"key": b64("json/b"), "value": b64("3"), "prevKv": True}),
                ("/v3beta/kv/put", {"key": b64("json/c"), "value": ""}),
                ("/v3/kv/range", {"key": b64("json/"), "range_end": b64("json0")}),
                ("/v3/kv/range", {"key": b64("json/"), "rangeEnd": b64("json0"), "limit": "2"}),
                ("/v3/kv/range", {"key": b64("json/"), "range_end": b64("json0"), "limit": 1, "sort_order": "DESCEND",
                                  "sort_target": "VALUE"}),
                ("/v3/kv/range", {"key": b64("json/"), "range_end": b64("json0"), "count_only": True, "unknown": [1]}),
                ("/v3/kv/range", {"key": b64("json/a"), "revision": 2}),
                ("/v3/kv/range", {"key": b64("json/a"), "revision": 99}),
                ("/v3/kv/range", {"key": b64("nobody")}),
                ("/v3/kv/range", {}),
                ("/v3/kv/put", {"key": b64("json/a"), "lease": "77"}),
                ("/v3/kv/put", {"key": b64("nobody"), "ignore_value": True}),
                ("/v3/kv/deleterange", {"key": b64("json/b"), "prev_kv": True}),
                ("/v3/kv/deleterange", {"key": b64("json/b")})):
            self.same(path, body)

    @shows("curl, JSON", "/v3/kv/txn", SAME, needs=["txn"])
    def test_txn(self):
        self.same("/v3/kv/put", {"key": b64("txn/a"), "value": b64("1")})
        for body in (
                {"compare": [{"target": "VALUE", "key": b64("txn/a"), "value": b64("1")}],
                 "success": [{"request_put": {"key": b64("txn/a"), "value": b64("2")}},
                             {"requestRange": {"key": b64("txn/a")}},
                             {"request_txn": {"success": [{"request_delete_range": {"key": b64("txn/b")}}]}}]},
                {"compare": [{"result": "GREATER", "target": "CREATE", "key": b64("txn/a"), "create_revision": "1000"}],
                 "failure": [{"request_range": {"key": b64("txn/a")}}]},
                {"compare": [{"result": "NOT_EQUAL", "target": "MOD", "key": b64("txn/a"), "modRevision": 5},
                             {"result": 2, "target": 0, "key": b64("txn/a"), "version": "9"}]},
                {"success": [{"request_put": {"key": b64("txn/a")}}, {"request_put": {"key": b64("txn/a")}}]},
                {"success": [{}]}, {}):
            self.same("/v3/kv/txn", body)

    @shows("curl, JSON", "/v3/kv/compaction", SAME, needs=["compact"])
    def test_compaction(self):
        revision = int(self.same("/v3/kv/put", {"key": b64("compact")})[1]["header"]["revision"])
        self.same("/v3/kv/compaction", {"revision": str(revision), "physical": True})
        self.same("/v3/kv/compaction", {"revision": str(revision)})
        self.same("/v3/kv/range", {"key": b64("compact"), "revision": str(revision - 1)})

    @shows("curl, JSON", "/v3/lease/grant, revoke, timetolive, leases, keepalive; /v3/kv/lease/…", SAME, needs=["lease"])
    def test_lease(self):
        for path, body in (
                ("/v3/lease/grant", {"TTL": 500, "ID": "321"}),
                ("/v3/lease/grant", {"TTL": "500", "ID": 321}),
                ("/v3/lease/grant", {"TTL": "9000000001", "ID": 322}),
                ("/v3/kv/put", {"key": b64("leased"), "lease": 321}),
                ("/v3/lease/timetolive", {"ID": 321, "keys": True}),
                ("/v3/kv/lease/timetolive", {"ID": "322"}),
                ("/v3/lease/leases", {}), ("/v3/kv/lease/leases", {}),
                ("/v3/lease/keepalive", {"ID": 321}),
                ("/v3/lease/keepalive", {"ID": 999}),
                ("/v3/kv/lease/revoke", {"ID": 321}),
                ("/v3/lease/revoke", {"ID": 321}),
                ("/v3/kv/range", {"key": b64("leased")})):
            self.same(path, body)

    @shows("curl, JSON", "/v3/watch", SAME + ", a line per message; several requests in one body", needs=["watch"])
    def test_watch(self):
        first = int(self.same("/v3/kv/put", {"key": b64("watched/a"), "value": b64("1")})[1]["header"]["revision"])
        create = {"create_request": {"key": b64("watched/"), "range_end": b64("watched0"), "start_revision": str(first),
                                     "prev_kv": True}}
        second = {"create_request": {"key": b64("watched/b"), "start_revision": str(first + 1), "filters": ["NODELETE"]}}
        pair = [clients.Running([CURL, "--silent", "--show-error", "--no-buffer", "--noproxy", "*", "-X", "POST", "-d",
                                 json.dumps(create) + json.dumps(second), f"http://{address}/v3/watch"], ENV)
                for address in (self.oracle.address, self.node())]
        self.running += pair
        for running in pair:
            running.wait_lines(3)
        self.same("/v3/kv/put", {"key": b64("watched/b"), "value": b64("2")})
        self.same("/v3/kv/deleterange", {"key": b64("watched/b")})
        seen = []
        for running in pair:
            running.wait_lines(6)
            rows = [json.loads(line)["result"] for line in running.out.splitlines()]
            # watchers of one stream are served in no fixed order
            made = {}
            for row in rows:
                made.setdefault(row.get("watch_id", "0"), []).append(plain(row))
            seen.append(made)
        self.assertEqual(seen[1], seen[0])

    @shows("curl, JSON", "/v3/lock/lock, unlock; /v3/election/campaign, proclaim, leader, resign, observe", SAME,
           needs=["lock", "watch"])
    def test_lock_and_election(self):
        self.same("/v3/lease/grant", {"TTL": 500, "ID": "4660"})
        self.same("/v3/lock/lock", {"name": b64("mutex"), "lease": "4660"})
        self.same("/v3/lock/lock", {"name": b64("mutex"), "lease": "4660"})
        self.same("/v3/lock/unlock", {"key": b64("mutex/1234")})
        self.same("/v3/election/leader", {"name": b64("vote")})
        won = self.same("/v3/election/campaign", {"name": b64("vote"), "lease": "4660", "value": b64("me")})[1]
        observers = [clients.Running([CURL, "--silent", "--no-buffer", "--noproxy", "*", "-X", "POST", "-d",
                                      json.dumps({"name": b64("vote")}), f"http://{address}/v3/election/observe"], ENV)
                     for address in (self.oracle.address, self.node())]
        self.running += observers
        for running in observers:
            running.wait_lines(1)
        self.same("/v3/election/leader", {"name": b64("vote")})
        self.same("/v3/election/proclaim", {"leader": won["leader"], "value": b64("you")})
        lines = [[plain(json.loads(line)) for line in running.wait_lines(2).splitlines()] for running in observers]
        self.assertEqual(lines[1], lines[0])
        self.same("/v3/election/resign", {"leader": won["leader"]})
        self.same("/v3/election/proclaim", {"leader": won["leader"]})
        self.same("/v3/lease/revoke", {"ID": "4660"})

    @shows("curl, JSON", "/v3/maintenance/status; /v3/cluster/member/list", "fields and their types")
    def test_maintenance(self):
        for path in ("/v3/maintenance/status", "/v3/cluster/member/list"):
            status, theirs = post(self.oracle.address, path, {})
            self.assertEqual(status, 200)
            for address in self.ours.addresses:
                status, mine = post(address, path, {})
                self.assertEqual(status, 200)
                self.assertLessEqual(set(theirs), set(mine))
                for name in theirs:
                    self.assertIs(type(mine[name]), type(theirs[name]), name)

    @shows("curl, JSON", "what is wrong: no JSON, no such path, another method", "statuses and codes are etcd's")
    def test_z_errors(self):
        for path, body in (("/v3/kv/range", "{"), ("/v3/kv/range", "nonsense"), ("/v3/kv/put", '{"key":"not base64!"}'),
                           ("/v3/kv/nobody", "{}"), ("/v3/nobody", "{}")):
            theirs, mine = post(self.oracle.address, path, body), post(self.node(), path, body)
            self.assertEqual(mine[0], theirs[0], path)
            if isinstance(theirs[1], dict) and "code" in theirs[1]:
                self.assertEqual(mine[1]["code"], theirs[1]["code"])
                self.assertTrue(mine[1]["message"])
                self.assertTrue(mine[1]["error"])
        for address in (self.oracle.address, self.node()):
            _, out, _ = curl("-o", "/dev/null", "-w", "%{http_code}", f"http://{address}/v3/kv/range")
            self.assertEqual(out, "405")

    @shows("curl, plain", "/health, /version", "shape as etcd's")
    def test_plain(self):
        for address in (self.oracle.address, *self.ours.addresses):
            code, out, err = curl(f"http://{address}/health")
            self.assertEqual((code, json.loads(out)["health"]), (0, "true"), err)
            code, out, err = curl(f"http://{address}/version")
            self.assertEqual(code, 0, err)
            self.assertRegex(json.loads(out)["etcdserver"], r"^3\.\d+\.\d+$")
            self.assertRegex(json.loads(out)["etcdcluster"], r"^3\.\d+\.0$")


if __name__ == "__main__":
    if CURL is None:
        raise SystemExit("curl is missing")
    e2e.main()
