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

    @shows("curl, JSON", "/v3/kv/txn", SAME)
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

    @shows("curl, JSON", "/v3/kv/compaction", SAME)
    def test_compaction(self):
        revision = int(self.same("/v3/kv/put", {"key": b64("compact")})[1]["header"]["revision"])
        self.same("/v3/kv/compaction", {"revision": str(revision), "physical": True})
        self.same("/v3/kv/compaction", {"revision": str(revision)})
        self.same("/v3/kv/range", {"key": b64("compact"), "revision": str(revision - 1)})

    @shows("curl, JSON", "/v3/lease/grant, revoke, timetolive, leases, keepalive; /v3/kv/lease/…", SAME)
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

    @shows("curl, JSON", "/v3/watch", SAME + ", a line per message; several requests in one body")
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

    @shows("curl, JSON", "/v3/lock/lock, unlock; /v3/election/campaign, proclaim, leader, resign, observe", SAME)
    def test_lock_and_election(self):
        self.same("/v3/lease/grant", {"TTL": 500, "ID": "4660"})
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


@unittest.skipIf(clients.AGAINST_ETCD, "etcd has no such doors")
class Doors(unittest.TestCase):
    """The commands of docs/http.md, with curl alone, each to another node than the one before."""

    @classmethod
    def setUpClass(cls):
        cls.ours = clients.Ours()
        cls.turn = 0
        cls.directory = tempfile.mkdtemp(prefix="holdfast-curl-")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.directory)
        cls.ours.close()

    def url(self, path):
        type(self).turn += 1
        return f"http://{self.ours.addresses[self.turn % 3]}{path}"

    def ask(self, path, *words):
        """(HTTP status, headers in lower case, body)"""
        code, out, err = curl("-i", *words, self.url(path))
        self.assertEqual(code, 0, err)
        head, body = out.split("\n\n", 1)
        while head.startswith("HTTP/1.1 100"):
            head, body = body.split("\n\n", 1)
        lines = head.splitlines()
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        return int(lines[0].split()[1]), headers, body

    def file(self, text):
        path = os.path.join(self.directory, "file")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    @shows("curl, REST", "`curl -T FILE /kv/KEY`, GET, HEAD, DELETE; prefix, rev, limit, keys",
           "written through one node, read through the next")
    def test_files(self):
        status, _, body = self.ask("/kv/rest/a", "-T", self.file("one"))
        self.assertEqual(status, 200, body)
        first = json.loads(body)["revision"]
        status, headers, body = self.ask("/kv/rest/a")
        self.assertEqual((status, headers["etag"], body), (200, f'"{first}"', "one"))
        self.ask("/kv/rest/a", "-T", self.file("two"))
        self.ask("/kv/rest/b%20c%2Fd", "-T", self.file("ü"))
        self.assertEqual(self.ask(f"/kv/rest/a?rev={first}")[2], "one")
        status, headers, body = self.ask("/kv/rest/?prefix")
        self.assertEqual([(pair["key"], pair["value"]) for pair in json.loads(body)],
                         [("rest/a", "two"), ("rest/b c/d", "ü")])
        status, headers, body = self.ask("/kv/rest/?prefix&limit=1&keys")
        self.assertEqual((headers["x-holdfast-count"], headers["x-holdfast-more"]), ("2", "true"))
        self.assertEqual([sorted(pair) for pair in json.loads(body)],
                         [["create_revision", "key", "mod_revision", "version"]])
        self.assertEqual(self.ask("/kv/rest/a", "--head")[0], 200)
        self.assertEqual(self.ask("/kv/rest/a", "-X", "DELETE")[0], 200)
        self.assertEqual(self.ask("/kv/rest/a", "-X", "DELETE")[0], 404)
        self.assertEqual(self.ask("/kv/rest/a")[0], 404)
        self.assertEqual(json.loads(self.ask("/kv/rest/?prefix", "-X", "DELETE")[2])["deleted"], 1)
        self.assertEqual(self.ask("/kv/rest/a?prefx", "-X", "DELETE")[0], 400)

    @shows("curl, REST", "If-Match, If-None-Match", "compare and set: 412 says what is there, 304 that nothing is new")
    def test_conditions(self):
        only_new = ["-H", "If-None-Match: *", "-T", self.file("one")]
        self.assertEqual(self.ask("/kv/cas", *only_new)[0], 200)
        status, headers, _ = self.ask("/kv/cas", *only_new)
        self.assertEqual(status, 412)
        tag = headers["etag"]
        self.assertEqual(self.ask("/kv/cas", "-H", f"If-None-Match: {tag}")[0], 304)
        self.assertEqual(self.ask("/kv/cas", "-H", f"If-Match: {tag}", "-T", self.file("two"))[0], 200)
        self.assertEqual(self.ask("/kv/cas", "-H", f"If-Match: {tag}", "-T", self.file("three"))[0], 412)
        self.assertEqual(self.ask("/kv/cas", "-H", f"If-Match: {tag}", "-X", "DELETE")[0], 412)
        self.assertEqual(self.ask("/kv/cas")[2], "two")

    @shows("curl, REST", "?wait", "answers with what was written after the revision named")
    def test_wait(self):
        known = self.ask("/kv/job", "-T", self.file("one"))[1]["x-holdfast-revision"]
        waiting = clients.Running([CURL, "--silent", "--noproxy", "*", self.url(f"/kv/job?wait={known}")], ENV)
        try:
            self.ask("/kv/job", "-T", self.file("two\n"))
            self.assertEqual(waiting.wait_lines(1), "two\n")
            self.assertEqual(waiting.process.wait(e2e.LIMIT_S), 0)
        finally:
            waiting.close()

    @shows("curl, server-sent events", "/watch/KEY?prefix, ?rev, Last-Event-ID",
           "every event once and in order, over a change of node too")
    def test_events(self):
        first = json.loads(self.ask("/kv/events/a", "-T", self.file("1"))[2])["revision"]

        def watch(*words, path="/watch/events/?prefix"):
            return clients.Running([CURL, "--silent", "--no-buffer", "--noproxy", "*", *words, self.url(path)], ENV)

        def events(running, count):
            """The first `count` puts and deletions, as (id, what happened)."""
            def look():
                found = []
                for block in running.out.split("\n\n")[:-1]:
                    fields = dict(re.findall(r"^(\w+): (.*)$", block, re.M))
                    if fields.get("event") in ("put", "delete"):
                        data = json.loads(fields["data"])
                        found.append((fields.get("id"), data["type"], data["key"], data.get("value")))
                return found[:count] if len(found) >= count else None
            return e2e.wait_until(look, f"{count} events, not only {running.out!r}")

        here = watch(path=f"/watch/events/?prefix&rev={first}")
        try:
            self.ask("/kv/events/b", "-T", self.file("2"))
            self.ask("/kv/events/a", "-X", "DELETE")
            self.assertEqual(events(here, 3), [(str(first), "put", "events/a", "1"), (str(first + 1), "put", "events/b", "2"),
                                               (str(first + 2), "delete", "events/a", None)])
        finally:
            here.close()
        self.ask("/kv/events/c", "-T", self.file("3"))
        there = watch("-H", f"Last-Event-ID: {first + 1}")
        try:
            self.assertEqual(events(there, 2), [(str(first + 2), "delete", "events/a", None),
                                                (str(first + 3), "put", "events/c", "3")])
        finally:
            there.close()


if __name__ == "__main__":
    if CURL is None:
        raise SystemExit("curl is missing")
    e2e.main()
