# SPDX-License-Identifier: Apache-2.0
"""
Plain HTTP on the client port of three real nodes: etcd's JSON gateway beside a real etcd's, the store as files
with curl, server-sent events, who is turned away, health and metrics.
"""
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import threading
import unittest

import cluster as e2e
import web
from web import ask, b64, post, unb64

CURL = shutil.which("curl")


def curl(*words):
    done = subprocess.run([CURL, "-sS", "--max-time", str(e2e.LIMIT_S), *words], capture_output=True, check=False)
    assert done.returncode == 0, f"curl {words}: {done.stderr.decode()}"
    return done.stdout


class HttpTest(e2e.ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for node in cls.cluster:
            e2e.wait_until(lambda n=node: ask(n.client_address, "GET", "/health").status == 200, "healthy")

    def addresses(self):
        return [node.client_address for node in self.cluster]


class Json(HttpTest):
    def test_exact_numbers_and_names(self):
        for i, address in enumerate(self.addresses()):
            key = b64(f"json/{i}")
            put = post(address, "/v3/kv/put", {"key": key, "value": b64(b"\0\xff"), "lease": 0})
            self.assertEqual(put.status, 200, put)
            self.assertEqual(put.headers["content-type"], "application/json")
            self.assertEqual(put.headers["grpc-metadata-content-type"], "application/grpc")
            header = put.json["header"]
            self.assertEqual(header["member_id"], str(int(header["member_id"])))
            got = post(address, "/v3beta/kv/range", {"key": key, "rangeEnd": "", "sortOrder": "ASCEND"}).json
            self.assertEqual(unb64(got["kvs"][0]["value"]), b"\0\xff")
            self.assertEqual(got["count"], "1")
            self.assertNotIn("more", got)
            members = post(address, "/v3/cluster/member/list", "").json["members"]
            self.assertEqual(len(members), 3)
            self.assertIn(header["member_id"], [m["ID"] for m in members])

    def test_txn_and_lease(self):
        address = self.addresses()[0]
        lease = post(address, "/v3/lease/grant", {"TTL": "60"}).json
        self.assertEqual(lease["TTL"], "60")
        txn = {"compare": [{"key": b64("t"), "target": "CREATE", "create_revision": "0"}],
               "success": [{"request_put": {"key": b64("t"), "value": b64("1"), "lease": lease["ID"]}}],
               "failure": [{"requestRange": {"key": b64("t")}}]}
        first = post(address, "/v3/kv/txn", txn).json
        self.assertIs(first["succeeded"], True)
        self.assertIn("response_put", first["responses"][0])
        second = post(address, "/v3/kv/txn", txn).json
        self.assertNotIn("succeeded", second)
        kv = second["responses"][0]["response_range"]["kvs"][0]
        self.assertEqual(kv["lease"], lease["ID"])
        # 63 random bits survive a client that writes them as a number
        alive = post(address, "/v3/lease/timetolive", '{"ID": %s, "keys": true}' % lease["ID"]).json
        self.assertEqual([unb64(k) for k in alive["keys"]], [b"t"])
        kept = post(address, "/v3/lease/keepalive", '{"ID": "%s"}\n{"ID": 12345}' % lease["ID"]).body.split(b"\n")
        self.assertEqual(len(kept), 3)
        self.assertEqual(json.loads(kept[0])["result"]["TTL"], "60")
        self.assertNotIn("TTL", json.loads(kept[1])["result"])

    def test_watch_streams(self):
        writer, reader = self.addresses()[0], self.addresses()[1]
        revision = post(writer, "/v3/kv/put", {"key": b64("w/1"), "value": b64("old")}).json["header"]["revision"]
        body = json.dumps({"create_request": {"key": b64("w/"), "range_end": b64("w0"), "start_revision": revision}})
        with web.Stream(reader, "POST", "/v3/watch", body) as stream:
            self.assertEqual(stream.status, 200)
            self.assertIs(stream.json()["result"]["created"], True)
            self.assertEqual(stream.json()["result"]["events"][0]["kv"]["mod_revision"], revision)
            post(writer, "/v3/kv/deleterange", {"key": b64("w/1")})
            event = stream.json()["result"]["events"][0]
            self.assertEqual(event["type"], "DELETE")
        # and over HTTP/2, where the client leaves in the middle
        process = e2e.start_process([CURL, "-sN", "--http2-prior-knowledge", "-d", body, f"http://{reader}/v3/watch"],
                                    stdout=subprocess.PIPE)
        types = []
        while len(types) < 2:
            result = json.loads(process.stdout.readline())["result"]
            types += [event.get("type", "PUT") for event in result.get("events", [])]
        self.assertEqual(types, ["PUT", "DELETE"])
        process.kill()
        process.wait()
        process.stdout.close()

    def test_locks_and_elections(self):
        a, b = self.addresses()[0], self.addresses()[1]
        key = post(a, "/v3/lock/lock", {"name": b64("lock")}).json["key"]
        second = {}
        waiter = threading.Thread(target=lambda: second.update(post(b, "/v3/lock/lock", {"name": b64("lock")}).json))
        waiter.start()
        self.assertEqual(post(a, "/v3/lock/unlock", {"key": key}).status, 200)
        waiter.join(e2e.LIMIT_S)
        self.assertNotEqual(second["key"], key)
        won = post(a, "/v3/election/campaign", {"name": b64("e"), "value": b64("one")}).json["leader"]
        with web.Stream(b, "POST", "/v3/election/observe", json.dumps({"name": b64("e")})) as stream:
            self.assertEqual(unb64(stream.json()["result"]["kv"]["value"]), b"one")
            post(a, "/v3/election/proclaim", {"leader": won, "value": b64("two")})
            self.assertEqual(unb64(stream.json()["result"]["kv"]["value"]), b"two")

    def test_snapshot(self):
        address = self.addresses()[1]
        post(address, "/v3/kv/put", {"key": b64("snap"), "value": b64("shot")})
        octets = b"".join(unb64(json.loads(line)["result"].get("blob", ""))
                          for line in post(address, "/v3/maintenance/snapshot", {}).body.splitlines())
        path = os.path.join(self.cluster.directory, "snapshot.db")
        with open(path, "wb") as file:
            file.write(octets[:-32])
        self.assertEqual(hashlib.sha256(octets[:-32]).digest(), octets[-32:])
        connection = sqlite3.connect(path)
        self.assertEqual(connection.execute("PRAGMA integrity_check").fetchone(), ("ok",))
        connection.close()

    def test_errors(self):
        address = self.addresses()[2]
        cases = [
            ("/v3/kv/put", "{", 400, 3), ("/v3/kv/put", "[]", 400, 3), ("/v3/kv/put", '{"key": 5}', 400, 3),
            ("/v3/kv/put", '{"key": "a"}', 400, 3), ("/v3/kv/put", "", 400, 3), ("/v3/kv/put", "{} {}", 400, 3),
            ("/v3/kv/range", {"key": b64("k"), "revision": "99999999"}, 400, 11),
            ("/v3/kv/put", {"key": b64("k"), "lease": "4711"}, 404, 5),
            ("/v3/watch", "x", 400, 3),
            ("/v3/kv/put", {"key": b64("k"), "value": b64(b"x" * 1600000)}, 400, 3),
            ("/v3/kv/put", {"key": b64("k"), "value": b64(b"x" * 4000000)}, 429, 8),
            ("/v3/kv/range", '{"a":' * 100 + "1" + "}" * 100, 400, 3),
        ]
        for path, message, status, code in cases:
            with self.subTest(path=path, message=str(message)[:60]):
                answer = post(address, path, message)
                self.assertEqual(answer.status, status, answer)
                self.assertEqual(answer.json["code"], code)
                self.assertEqual(answer.json["error"], answer.json["message"])
        self.assertEqual(ask(address, "GET", "/v3/kv/put").status, 405)
        self.assertEqual(post(address, "/v3/kv/nothing", {}).status, 404)
        late = post(address, "/v3/kv/range", {"key": b64("k")}, {"Grpc-Timeout": "1n"})
        self.assertEqual((late.status, late.json["code"]), (504, 4))


NORMAL = re.compile(r'"(cluster_id|member_id|raft_term)":"\d+"')
SCRIPT = [
    ("kv/put", {"key": b64("foo"), "value": b64("bar")}),
    ("kv/put", {"key": b64("foo"), "value": b64("<&>\n"), "prevKv": True}),
    ("kv/range", {"key": b64("foo")}),
    ("kv/range", {"key": b64("\0"), "rangeEnd": b64("\0"), "limit": "1", "sort_order": "DESCEND", "sort_target": "VALUE"}),
    ("kv/range", {"key": b64("foo"), "count_only": True}),
    ("kv/range", {"key": b64("foo"), "keysOnly": True, "serializable": True, "unknown": [1, {"x": None}]}),
    ("kv/range", {"key": b64("none")}),
    ("kv/range", {"key": b64("foo"), "revision": 2}),
    ("kv/range", {}),
    ("kv/put", {"key": b64("foo"), "value": b64("x"), "ignore_value": True}),
    ("kv/put", {"key": b64("foo"), "lease": 99}),
    ("kv/txn", {}),
    ("kv/txn", {"compare": [{"key": b64("foo"), "result": "GREATER", "target": "VERSION", "version": "1"}],
                "success": [{"requestRange": {"key": b64("foo")}}, {"request_put": {"key": b64("t1"), "value": b64("v")}},
                            {"request_txn": {"success": [{"request_range": {"key": b64("t1")}}]}}],
                "failure": [{"request_delete_range": {"key": b64("foo")}}]}),
    ("kv/txn", {"compare": [{"key": b64("foo"), "target": 3, "value": b64("no")}],
                "failure": [{"request_delete_range": {"key": b64("foo"), "prev_kv": True}}]}),
    ("kv/deleterange", {"key": b64("t1"), "prev_kv": True}),
    ("kv/deleterange", {"key": b64("t1")}),
    ("lease/grant", {"TTL": 100, "ID": "77"}),
    ("lease/grant", {"TTL": 100, "ID": "77"}),
    ("kv/put", {"key": b64("leased"), "lease": "77"}),
    ("lease/timetolive", {"ID": 78}),
    ("lease/leases", {}),
    ("kv/lease/revoke", {"ID": 77}),
    ("lease/revoke", {"ID": 77}),
    ("kv/compaction", {"revision": "3"}),
    ("kv/compaction", {"revision": "3"}),
    ("kv/compaction", {"revision": "300"}),
    ("kv/range", {"key": b64("foo"), "revision": "2"}),
    ("kv/compaction", {"revision": "5", "physical": True}),
]


class SameAsEtcd(HttpTest):
    @unittest.skipUnless(web.ETCD, "Debian's etcd-server is not installed")
    def test_same_answers(self):
        etcd = web.Etcd()
        try:
            for i, (path, message) in enumerate(SCRIPT):
                with self.subTest(path=path, message=json.dumps(message)):
                    ours = post(self.addresses()[i % 3], "/v3/" + path, message)
                    theirs = post(etcd.address, "/v3/" + path, message)
                    status = 400 if theirs.status == 412 else theirs.status  # Debian's gateway is an old one
                    self.assertEqual(ours.status, status, (ours, theirs))
                    self.assertEqual(NORMAL.sub("", ours.text), NORMAL.sub("", theirs.text))
            for path, body in [("watch", {"create_request": {"key": b64("foo"), "start_revision": "4"}})]:
                with web.Stream(self.addresses()[0], "POST", "/v3/" + path, json.dumps(body)) as ours, \
                        web.Stream(etcd.address, "POST", "/v3/" + path, json.dumps(body)) as theirs:
                    for _ in range(2):
                        self.assertEqual(NORMAL.sub("", ours.line()), NORMAL.sub("", theirs.line()))
        finally:
            etcd.close()


class Rest(HttpTest):
    def test_files_with_curl(self):
        path = os.path.join(self.cluster.directory, "file")
        content = os.urandom(1000000)
        with open(path, "wb") as file:
            file.write(content)
        for i, address in enumerate(self.addresses()):
            url = f"http://{address}/kv/files/{i}"
            self.assertIn(b'"revision":', curl("-T", path, url))
            self.assertEqual(curl(url), content)
            self.assertEqual(curl("--http2-prior-knowledge", url), content)
            head = curl("-I", url).decode().lower()
            self.assertIn("content-length: 1000000", head)
        self.assertEqual(curl("-o", "/dev/null", "-w", "%{http_code}", "-X", "DELETE",
                              f"http://{self.addresses()[0]}/kv/files/?prefix"), b"200")

    def test_conditions(self):
        a, b = self.addresses()[0], self.addresses()[1]
        made = ask(a, "PUT", "/kv/c/1", "one", {"If-None-Match": "*"})
        self.assertEqual(made.status, 200, made)
        tag = made.headers["etag"]
        again = ask(b, "PUT", "/kv/c/1", "two", {"If-None-Match": "*"})
        self.assertEqual((again.status, again.headers["etag"]), (412, tag))
        self.assertEqual(ask(b, "GET", "/kv/c/1", headers={"If-None-Match": tag}).status, 304)
        self.assertEqual(ask(b, "GET", "/kv/c/1", headers={"If-Match": '"1"'}).status, 412)
        new = ask(b, "PUT", "/kv/c/1", "two", {"If-Match": tag})
        self.assertEqual(new.status, 200)
        self.assertEqual(ask(a, "DELETE", "/kv/c/1", headers={"If-Match": tag}).status, 412)
        self.assertEqual(ask(a, "GET", "/kv/c/1").text, "two")
        self.assertEqual(ask(a, "GET", f"/kv/c/1?rev={tag.strip(chr(34))}").text, "one")
        self.assertEqual(ask(a, "DELETE", "/kv/c/1", headers={"If-Match": new.headers["etag"]}).status, 200)
        self.assertEqual(ask(a, "GET", "/kv/c/1").status, 404)

    def test_keys_and_lists(self):
        a, b = self.addresses()[1], self.addresses()[2]
        ask(a, "PUT", "/kv/l%2Fa%00b", "text")
        ask(a, "PUT", "/kv/l/b", b"\xff\xfe")
        pairs = ask(b, "GET", "/kv/l/?prefix").json
        self.assertEqual([p["key"] for p in pairs], ["l/a\0b", "l/b"])
        self.assertEqual(pairs[0]["value"], "text")
        self.assertEqual(unb64(pairs[1]["value_base64"]), b"\xff\xfe")
        keys = ask(b, "GET", "/kv/l/?prefix&keys&limit=1")
        self.assertEqual((len(keys.json), keys.headers["x-holdfast-count"], keys.headers["x-holdfast-more"]), (1, "2", "true"))
        self.assertNotIn("value", keys.json[0])
        for path in ["/kv/", "/kv/a?prefx", "/kv/a%2", "/kv/a?rev=0"]:
            self.assertEqual(ask(a, "GET", path).status, 400, path)
        self.assertEqual(ask(a, "POST", "/kv/a").status, 405)

    def test_a_stored_page_is_not_run(self):
        address = self.addresses()[0]
        ask(address, "PUT", "/kv/page", "<script>alert(1)</script>", {"Content-Type": "text/html"})
        page = ask(address, "GET", "/kv/page")
        self.assertEqual(page.headers["content-type"], "application/octet-stream")
        self.assertEqual(page.headers["x-content-type-options"], "nosniff")
        self.assertIn("sandbox", page.headers["content-security-policy"])
        self.assertEqual(ask(address, "GET", "/kv/page?type=text").headers["content-type"], "text/plain; charset=utf-8")

    def test_wait(self):
        a, b = self.addresses()[0], self.addresses()[1]
        known = ask(a, "PUT", "/kv/wait", "one").headers["x-holdfast-revision"]
        answers = {}
        waiter = threading.Thread(target=lambda: answers.update(now=ask(b, "GET", f"/kv/wait?wait={known}")))
        waiter.start()
        ask(a, "PUT", "/kv/wait", "two")
        waiter.join(e2e.LIMIT_S)
        self.assertEqual(answers["now"].text, "two")
        # what has happened since is answered at once
        self.assertEqual(ask(b, "GET", f"/kv/wait?wait={known}").text, "two")


def read_event(stream):
    """The fields of one event, comments passed over."""
    fields = {}
    while True:
        line = stream.line().rstrip("\n")
        if not line and fields:
            return fields
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


class Events(HttpTest):
    def test_a_browser_resumes(self):
        a, b = self.addresses()[0], self.addresses()[2]
        with web.Stream(b, "GET", "/watch/e/?prefix") as stream:
            self.assertEqual(stream.answer.getheader("content-type"), "text/event-stream")
            self.assertIn("id", read_event(stream))
            ask(a, "PUT", "/kv/e/1", "one")
            event = read_event(stream)
            self.assertEqual(event["event"], "put")
            self.assertEqual(json.loads(event["data"])["value"], "one")
        ask(a, "PUT", "/kv/e/2", "two")
        ask(a, "DELETE", "/kv/e/?prefix")
        with web.Stream(self.addresses()[1], "GET", "/watch/e/?prefix", headers={"Last-Event-ID": event["id"]}) as stream:
            read_event(stream)
            self.assertEqual(json.loads(read_event(stream)["data"])["key"], "e/2")
            gone = [read_event(stream), read_event(stream)]
            self.assertEqual([g["event"] for g in gone], ["delete", "delete"])
            self.assertNotIn("id", gone[0])  # the revision's last event alone names it
            self.assertIn("id", gone[1])


class Doors(HttpTest):
    extra = 'web = { origins = "https://good.example"; hosts = "*.lb.example"; };\n'

    def test_pages_are_refused(self):
        address = self.addresses()[0]
        evil = {"Origin": "https://evil.example"}
        for method, path, more in [("GET", "/kv/a", {}), ("POST", "/v3/kv/put", {"Content-Type": "text/plain"}),
                                   ("POST", "/v3/kv/range", {"Content-Type": "application/grpc-web+proto"}),
                                   ("OPTIONS", "/kv/a", {"Access-Control-Request-Method": "PUT"}),
                                   ("GET", "/metrics", {}), ("GET", "/watch/a", {}), ("PUT", "/kv/a", {})]:
            answer = ask(address, method, path, None, {**evil, **more})
            self.assertEqual(answer.status, 403, (method, path))
            self.assertNotIn("access-control-allow-origin", answer.headers)
        out = curl("--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Origin: null", f"http://{address}/kv/a")
        self.assertEqual(out, b"403")

    def test_a_listed_page_may(self):
        address = self.addresses()[1]
        good = {"Origin": "https://good.example"}
        preflight = ask(address, "OPTIONS", "/kv/a", None, {**good, "Access-Control-Request-Method": "PUT"})
        self.assertEqual(preflight.status, 200)
        self.assertEqual(preflight.headers["access-control-allow-origin"], "https://good.example")
        self.assertIn("PUT", preflight.headers["access-control-allow-methods"])
        answer = ask(address, "PUT", "/kv/a", "x", good)
        self.assertEqual((answer.status, answer.headers["access-control-allow-origin"]), (200, "https://good.example"))
        self.assertIn("etag", answer.headers["access-control-expose-headers"])

    def test_names_are_checked(self):
        address = self.addresses()[2]
        for host, status in [("evil.example", 421), (f"localhost:{address.split(':')[1]}", 200), ("x.lb.example", 200),
                             ("[::1]:2379", 200), ("10.1.2.3", 200), ("n1", 200), ("evil.example:2379", 421)]:
            self.assertEqual(ask(address, "GET", "/version", None, {"Host": host}).status, status, host)


class Health(HttpTest):
    def test_checks(self):
        for address in self.addresses():
            self.assertEqual(ask(address, "GET", "/health").json, {"health": "true", "reason": ""})
            self.assertEqual(ask(address, "GET", "/livez").text, "ok\n")
            ready = ask(address, "GET", "/readyz?verbose&exclude=non_learner").text
            self.assertEqual(ready, "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok\n")
            self.assertEqual(ask(address, "GET", "/readyz/linearizable_read").status, 200)
            self.assertEqual(ask(address, "GET", "/readyz/none").status, 404)
            self.assertEqual(set(ask(address, "GET", "/version").json), {"etcdserver", "etcdcluster", "storage"})

    def test_metrics(self):
        for i, address in enumerate(self.addresses()):
            for n in range(20):
                ask(address, "PUT", f"/kv/m/{i}/{n}", "x")
            post(address, "/v3/kv/put", {"key": b64("m")})
            post(address, "/v3/kv/put", {"key": ""})
            before, after = (metrics_of(ask(address, "GET", "/metrics")) for _ in range(2))
            for name, kind in [("etcd_server_has_leader", "gauge"), ("etcd_server_leader_changes_seen_total", "counter"),
                               ("etcd_server_proposals_committed_total", "gauge"),
                               ("etcd_mvcc_db_total_size_in_bytes", "gauge"), ("etcd_disk_wal_fsync_duration_seconds", "histogram"),
                               ("etcd_disk_backend_commit_duration_seconds", "histogram"),
                               ("etcd_network_peer_sent_bytes_total", "counter"), ("process_resident_memory_bytes", "gauge"),
                               ("grpc_server_handled_total", "counter"), ("holdfast_actor_queue_wait_seconds", "histogram"),
                               ("holdfast_group_commit_appends", "histogram"), ("holdfast_wal_pinned_seconds", "gauge")]:
                self.assertEqual(before[name].kind, kind)
                self.assertTrue(before[name].samples, name)
            # counters do not fall
            for name, family in before.items():
                for key, value in family.samples.items():
                    if family.kind == "counter" or key[0].endswith(("_bucket", "_count")):
                        self.assertLessEqual(value, after[name].samples[key], key)
            self.assertEqual(before["etcd_server_has_leader"].one(), 1)
            self.assertGreaterEqual(before["etcd_mvcc_put_total"].one(), 20 * (i + 1))
            put = ('grpc_service', 'etcdserverpb.KV'), ('grpc_method', 'Put'), ('grpc_type', 'unary')
            handled = before["grpc_server_handled_total"].samples
            self.assertEqual(handled[("grpc_server_handled_total", put + (("grpc_code", "OK"),))], 1)
            self.assertEqual(handled[("grpc_server_handled_total", put + (("grpc_code", "InvalidArgument"),))], 1)
            self.assertEqual(before["grpc_server_started_total"].samples[("grpc_server_started_total", put)], 2)
            self.assertGreater(before["process_resident_memory_bytes"].one(), 1000000)
            self.assertEqual(len(before["etcd_network_active_peers"].samples), 2)


    def test_metrics_are_documented(self):
        """docs/http.md lists every name that a node exports, and no other; and names of etcd's that it does not."""
        with open(os.path.join(e2e.ROOT, "docs", "http.md"), encoding="utf-8") as file:
            section = file.read().split("### Names")[1].split("\n## ")[0]
        etcds, ours, absent = (set(block.split()) for block in re.findall(r"```\n(.*?)```", section, re.S))
        for address in self.addresses():
            def known():  # of both peers and the disk
                names = metrics_of(ask(address, "GET", "/metrics"))
                return names if names.keys() >= {"etcd_network_known_peers", "holdfast_disk_free_bytes"} else None
            names = e2e.wait_until(known, "everything is known")
            self.assertEqual(set(names), etcds | ours)
            self.assertFalse(absent & set(names))
            for name in ("etcd_network_known_peers", "etcd_network_disconnected_peers_total"):
                self.assertEqual(len(names[name].samples), 2)

    def test_metrics_count(self):
        """Renewals, events, answers about the health: what was done is what is counted."""
        address = self.addresses()[0]
        lease = post(address, "/v3/lease/grant", {"TTL": "60"}).json["ID"]
        watch = subprocess.Popen(["curl", "-sN", "--noproxy", "*", "-d", json.dumps({"create_request": {"key": b64("counted")}}),
                                  f"http://{address}/v3/watch"], stdout=subprocess.PIPE)
        self.addCleanup(watch.wait)
        self.addCleanup(watch.stdout.close)
        self.addCleanup(watch.kill)
        self.assertIn(b"created", watch.stdout.readline())
        before = metrics_of(ask(address, "GET", "/metrics"))
        for i in range(3):
            post(address, "/v3/lease/keepalive", {"ID": lease})
            ask(address, "PUT", "/kv/counted", str(i))
            ask(address, "GET", "/health")
        for _ in range(3):
            self.assertIn(b"events", watch.stdout.readline())
        after = metrics_of(ask(address, "GET", "/metrics"))
        for name in ("etcd_debugging_lease_renewed_total", "etcd_debugging_mvcc_events_total", "etcd_server_health_success"):
            self.assertEqual(after[name].one() - before[name].one(), 3, name)
        self.assertGreater(after["etcd_server_quota_backend_bytes"].one(), after["etcd_mvcc_db_total_size_in_bytes"].one())


# ---- a strict reader of Prometheus' text format 0.0.4 -------------------------------------------------


class Family:
    def __init__(self, name):
        self.name, self.kind, self.help, self.samples = name, None, None, {}

    def one(self):
        assert len(self.samples) == 1, self.samples
        return next(iter(self.samples.values()))


NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? ([0-9.eE+-]+|NaN|[+-]?Inf)\Z")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|\Z)')


def labels_of(text):
    labels, at = [], 0
    while at < len(text):
        found = LABEL.match(text, at)
        assert found, f"bad labels: {text}"
        labels.append((found[1], found[2]))
        at = found.end()
    assert len({name for name, _ in labels}) == len(labels), f"a label twice: {text}"
    return tuple(labels)


def check_histogram(family):
    series = {}
    for (name, labels), value in family.samples.items():
        rest = tuple(label for label in labels if label[0] != "le")
        entry = series.setdefault(rest, {"buckets": []})
        if name.endswith("_bucket"):
            entry["buckets"].append((float(dict(labels)["le"]), value))
        else:
            entry[name[len(family.name):]] = value
    for rest, entry in series.items():
        bounds = [bound for bound, _ in entry["buckets"]]
        values = [value for _, value in entry["buckets"]]
        assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf"), (family.name, rest, bounds)
        assert values == sorted(values), (family.name, rest, values)
        assert values[-1] == entry["_count"], (family.name, rest)
        assert entry["_sum"] >= 0


def metrics_of(answer):
    """Families by name; whatever promtool would refuse is an assertion."""
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4"), answer
    assert answer.text.endswith("\n")
    families, current = {}, None
    for line in answer.text.splitlines():
        if line.startswith("# "):
            _, word, name, rest = line.split(" ", 3)
            if word == "HELP":
                assert name not in families, f"{name} comes twice"
                current = families[name] = Family(name)
                current.help = rest
                assert rest, f"{name} says nothing"
            else:
                assert word == "TYPE" and name == current.name and current.kind is None, line
                assert rest in ("counter", "gauge", "histogram"), line
                current.kind = rest
            continue
        found = SAMPLE.match(line)
        assert found, f"bad line: {line}"
        name, key = found[1], (found[1], labels_of(found[2] or ""))
        allowed = [current.name + end for end in ("_bucket", "_sum", "_count")] if current.kind == "histogram" else [current.name]
        assert name in allowed, f"{name} stands among {current.name}"
        assert key not in current.samples, f"twice: {line}"
        current.samples[key] = float(found[3])
    for family in families.values():
        assert family.kind is not None and family.samples, f"{family.name} is empty"
        if family.kind == "counter":
            assert family.name.endswith("_total") or family.name.startswith("etcd_server_health_"), family.name
        if family.kind == "histogram":
            check_histogram(family)
    return families


if __name__ == "__main__":
    if CURL is None:
        raise SystemExit("curl is missing; install the Debian package curl")
    e2e.main()
