# SPDX-License-Identifier: Apache-2.0
"""
What the world may do to a node: requests that are too large or malformed, garbage on both ports,
connections that stay half open or come by the thousand, a stderr nobody reads. The node says what is
wrong where it can, forgets what it must, and goes on serving; nothing of it stays behind.
"""
import fcntl
import json
import os
import random
import re
import resource
import socket
import struct
import subprocess
import threading
import unittest

import grpc

import cluster as e2e
import rpc

PUT = "/etcdserverpb.KV/Put"
CONNECTIONS = 4000
HALF_OPEN = 300


def descriptors(node):
    return len(os.listdir(f"/proc/{node.pid}/fd"))


def resident_kib(node):
    with open(f"/proc/{node.pid}/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("VmRSS:")).split()[1])


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=e2e.LIMIT_S)


def curl(address, path, body, *words):
    """One HTTP/2 POST with prior knowledge; (HTTP status, grpc-status or None, all that came)."""
    done = subprocess.run(["curl", "-sS", "--http2-prior-knowledge", "--max-time", "30", "--noproxy", "*", "-i",
                           "--data-binary", "@-", *words, f"http://{address}{path}"], input=body,
                          capture_output=True, timeout=e2e.LIMIT_S, check=False)
    if done.returncode != 0:
        raise AssertionError(f"curl: exit code {done.returncode}: {done.stderr.decode()}")
    out = done.stdout.decode("latin-1").replace("\r", "")
    code = re.search(r"grpc-status: (\d+)", out)  # in the headers, or in the trailers behind any octets
    return int(out.split()[1]), code and code.group(1), out


GRPC_WORDS = ("-H", "content-type: application/grpc", "-H", "te: trailers")


def frame(body, flag=0, size=None):
    return (struct.pack(">BI", flag, len(body) if size is None else size) + body)


class Limits(e2e.ClusterTest):
    def setUp(self):
        self.node = self.cluster["n1"]

    def tearDown(self):
        """Whatever was done: the node lives, and serves through itself and the others."""
        for node in self.cluster:
            self.assertTrue(node.alive())
            node.wait_healthy()
        mark = str(random.random())
        self.node.client.put("alive", mark)
        self.assertEqual(self.cluster["n3"].client.range("alive").kvs[0].value.decode(), mark)
        self.cluster.check_logs()

    # ---- sizes ---------------------------------------------------------------------------------------

    def test_too_large(self):
        client = self.node.client
        near = b"v" * (1572864 - 4096)
        client.put("near", near)
        for node in self.cluster:
            self.assertEqual(node.client.range("near").kvs[0].value, near)
        for size, code, text in ((1572864, "INVALID_ARGUMENT", "etcdserver: request is too large"),
                                 (2000000, "INVALID_ARGUMENT", "etcdserver: request is too large"),
                                 (3000000, "RESOURCE_EXHAUSTED", "larger than max"),
                                 (40000000, "RESOURCE_EXHAUSTED", "larger than max")):
            with self.assertRaises(grpc.RpcError) as refused:
                client.put("large", b"v" * size, timeout_s=e2e.LIMIT_S)
            self.assertEqual((size, refused.exception.code().name), (size, code), refused.exception.details())
            self.assertIn(text, refused.exception.details())
        self.assertEqual(client.range("large").count, 0)
        client.delete("near")

    def test_large_answers(self):
        """A range of many large values is larger than any window of the connection."""
        client = self.node.client
        value = b"w" * 500000
        for i in range(60):
            client.put(f"big/{i:02}", value)
        for node in self.cluster:
            answer = node.client.prefix("big/", timeout_s=e2e.LIMIT_S)
            self.assertEqual([len(kv.value) for kv in answer.kvs], [500000] * 60)
        # a client that asks and never reads holds nobody else up
        deaf = []
        for _ in range(20):
            channel = connect(self.node.client_port)
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            channel.sendall(b"GET /version HTTP/1.1\r\nhost: localhost\r\n\r\n" * 2000)
            deaf.append(channel)
        self.node.wait_healthy()
        for channel in deaf:
            channel.close()
        client.delete("big/", rpc.prefix_end(b"big/"))

    # ---- gRPC ----------------------------------------------------------------------------------------

    def test_malformed_grpc(self):
        address = self.node.client_address
        request = rpc.proto("rpc").PutRequest(key=b"malformed", value=b"x").SerializeToString()
        cases = (  # codes as Debian's etcd 3.4 gives them
            ("protobuf garbage", frame(b"\xff\xff\xff\xff"), "13"),
            ("length beyond the end", frame(b"\x0a\x7fkey"), "13"),
            ("message ends early", frame(request, size=len(request) + 10), "2"),
            ("no message", b"", "2"),
            ("compressed without a word on how", frame(request, flag=1), "13"),
            ("4 GiB announced", frame(request, size=0xFFFFFFFF), "8"),
        )
        for name, body, wanted in cases:
            with self.subTest(name):
                status, code, out = curl(address, PUT, body, *GRPC_WORDS)
                self.assertEqual((status, code), (200, wanted), out)
        for path, wanted, text in (("/nobody.Knows/It", "UNIMPLEMENTED", "unknown service nobody.Knows"),
                                   ("/etcdserverpb.KV/Nothing", "UNIMPLEMENTED",
                                    "unknown method Nothing for service etcdserverpb.KV")):
            with self.assertRaises(grpc.RpcError) as refused:
                self.node.client.call(path, b"", rpc.proto("rpc").PutResponse)
            self.assertEqual((refused.exception.code().name, refused.exception.details()), (wanted, text))
        with self.subTest("wrong content-type"):
            # curl 7.88 gives up when the answer comes before it has sent its body; then once more
            status = e2e.wait_until(lambda: curl(address, PUT, b"x", "-H", "content-type: text/plain")[0], "an answer")
            self.assertEqual(status, 415)
        self.assertEqual(self.node.client.range("malformed").count, 0, "nothing of it was written")
        with self.subTest("good"):
            status, code, out = curl(address, PUT, frame(request), *GRPC_WORDS)
            self.assertEqual((status, code), (200, "0"), out)
        self.node.client.delete("malformed")

    def test_deadline(self):
        """The client's own deadline is answered as such, also when the server could not know better."""
        followers = self.cluster.followers()
        leader = self.cluster.leader()
        for node in followers:
            node.pause()
        try:
            with self.assertRaises(grpc.RpcError) as late:
                leader.client.put("late", "x", timeout_s=0.5)
            self.assertEqual(late.exception.code().name, "DEADLINE_EXCEEDED")
        finally:
            for node in followers:
                node.resume()

    def test_health_service(self):
        health = rpc.proto("health")
        check = "/grpc.health.v1.Health/Check"
        client = self.node.client
        answer = client.call(check, health.HealthCheckRequest(), health.HealthCheckResponse)
        self.assertEqual(answer.status, health.HealthCheckResponse.SERVING)
        with self.assertRaises(grpc.RpcError) as refused:
            client.call(check, health.HealthCheckRequest(service="nobody"), health.HealthCheckResponse)
        self.assertEqual((refused.exception.code().name, refused.exception.details()), ("NOT_FOUND", "unknown service"))
        watch = client.channel.unary_stream("/grpc.health.v1.Health/Watch",
                                            request_serializer=lambda m: m.SerializeToString(),
                                            response_deserializer=health.HealthCheckResponse.FromString)
        stream = watch(health.HealthCheckRequest(), timeout=e2e.LIMIT_S)
        self.assertEqual(next(stream).status, health.HealthCheckResponse.SERVING)
        stream.cancel()

    # ---- HTTP/1.1 ------------------------------------------------------------------------------------

    def test_http(self):
        for node in self.cluster:
            address = node.client_address
            status, body, headers = e2e.http_get(address, "/health")
            self.assertEqual((status, json.loads(body)["health"]), (200, "true"))
            self.assertIn("application/json", headers["content-type"])
            self.assertEqual(e2e.http_get(address, "/health?serializable=true")[0], 200)
            status, body, _ = e2e.http_get(address, "/version")
            self.assertEqual(status, 200)
            self.assertRegex(json.loads(body)["etcdserver"], r"^3\.\d+\.\d+$")
            self.assertRegex(json.loads(body)["etcdcluster"], r"^3\.\d+\.0$")
            self.assertEqual(e2e.http_get(address, "/nothing")[0], 404)
        # several requests on one connection, sent together
        with connect(self.node.client_port) as channel:
            channel.sendall(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3 +
                            b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}" +
                            b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = read_all(channel)
        self.assertEqual(answer.count(b"HTTP/1.1 200"), 3, answer)
        self.assertEqual(answer.count(b"HTTP/1.1 405"), 1, answer)
        self.assertEqual(answer.count(b"HTTP/1.1 404"), 1, answer)
        # octet by octet
        with connect(self.node.client_port) as channel:
            for octet in b"GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n":
                channel.sendall(bytes([octet]))
            self.assertIn(b"200", read_all(channel))
        # bad ones are answered or closed, never left hanging
        for bad in (b"GET\r\n\r\n", b"\r\n\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
                    b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20000 + b"\r\n",
                    b"POST /health HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
                    b"POST /health HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n"):
            with connect(self.node.client_port) as channel:
                try:
                    channel.sendall(bad)
                    channel.shutdown(socket.SHUT_WR)
                    answer = read_all(channel)
                except OSError:  # closed while we still wrote
                    continue
                self.assertNotIn(b" 200 ", answer[:15], bad[:40])

    # ---- garbage and crowds --------------------------------------------------------------------------

    def test_garbage(self):
        draw = random.Random(7)
        before = {n.name: descriptors(n) for n in self.cluster}
        starts = (b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PRI ", b"GET /", b"HFPP", b"\x00\x00\x00\x10", b"\xff\xff\xff\xff",
                  b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        for port in (self.node.client_port, self.node.peer_port):
            for i in range(400):
                channel = connect(port)
                try:
                    channel.sendall(starts[i % len(starts)] + draw.randbytes(draw.randrange(3000)))
                    if i % 3 == 0:
                        channel.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                if i % 5 == 0:  # with a reset
                    channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                channel.close()
        self.back_to(before)

    def back_to(self, before):
        """Descriptors fall to what they were (a few connections of our own and of peers may differ)."""
        for node in self.cluster:
            e2e.wait_until(lambda n=node: descriptors(n) <= before[n.name] + 8,
                           f"{node.name} closes what is over (now {descriptors(node)}, before {before[node.name]})")

    def test_half_open(self):
        """Connections that begin and say no more keep nobody else out, on both ports."""
        before = {n.name: descriptors(n) for n in self.cluster}
        channels = []
        beginnings = (b"", b"P", b"PRI * HTTP/2.0\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x40\x01\x04\x00\x00\x00\x01",
                      b"GET /health HT", b"\x00")
        for i in range(HALF_OPEN):
            for port in (self.node.client_port, self.node.peer_port):
                channel = connect(port)
                channel.sendall(beginnings[i % len(beginnings)])
                channels.append(channel)
        for node in self.cluster:
            node.wait_healthy()
        self.node.client.put("beside", "half open ones")
        # a node restarted now still gets its peers' connections through the crowd at n1's door
        other = self.cluster["n2"]
        other.kill9()
        other.start()
        other.wait_healthy()
        before["n2"] = max(before["n2"], descriptors(other))
        for channel in channels:
            channel.close()
        self.back_to(before)

    def test_thousands(self):
        before = {n.name: descriptors(n) for n in self.cluster}
        memory = resident_kib(self.node)
        problems = []

        def come_and_go(number):
            for i in range(CONNECTIONS // 4):
                try:
                    with connect(self.node.client_port) as channel:
                        if (i + number) % 2 == 0:
                            channel.sendall(b"GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                            if b"200" not in read_all(channel):
                                problems.append("no answer")
                except OSError as problem:
                    problems.append(repr(problem))

        crowd = [threading.Thread(target=come_and_go, args=(i,)) for i in range(4)]
        for person in crowd:
            person.start()
        for person in crowd:
            person.join(2 * e2e.LIMIT_S)
            self.assertFalse(person.is_alive())
        self.assertEqual(problems, [])
        self.back_to(before)
        self.assertLess(resident_kib(self.node) - memory, 20 * 1024, "memory of connections is given back")


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def h2_frame(kind, flags, stream, body=b""):
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def h2_header(path):
    """A gRPC request's header block, literals alone (HPACK without a table)."""
    fields = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x"),
              (b"content-type", b"application/grpc"), (b"te", b"trailers"))
    return b"".join(b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields)


HEADERS, DATA, RESET, SETTINGS = 1, 0, 3, 4


class Rude(e2e.ClusterTest):
    """Clients that want the most for the least; beside them a polite one is served as if they were not there."""
    extra = ("client = { connections_max = 300; requests_in_flight_max = 2000; streams_max = 100; idle_timeout_s = 3;\n"
             "  bytes_in_flight_max = 33554432; streams_per_connection_max = 500; txn_ops_max = 5; header_bytes_max = 4000; };")

    def setUp(self):
        self.node = self.cluster["n1"]

    def tearDown(self):
        for node in self.cluster:
            self.assertTrue(node.alive())
            node.wait_healthy()
        self.cluster.check_logs()

    def served(self, count=30):
        with rpc.Client(self.node.client_address) as polite:
            for i in range(count):
                polite.put("polite", str(i))
                self.assertEqual(polite.range("polite").kvs[0].value, str(i).encode())

    def test_octet_by_octet(self):
        """Two hundred drip: prefaces, headers, messages announced as 1 MiB. None of it is charged before it comes."""
        header = h2_frame(HEADERS, 4, 1, h2_header(PUT.encode()))
        body = h2_frame(DATA, 0, 1, struct.pack(">BI", 0, 100000) + b"\x0a" * 50)
        whole = PREFACE + h2_frame(SETTINGS, 0, 0) + header + body
        channels = [connect(self.node.client_port) for _ in range(200)]
        for at in range(min(len(whole), 60)):
            for channel in channels:
                channel.sendall(whole[at:at + 1])
        self.served()
        for channel in channels[:100]:  # and the rest of it at once; the message is never completed
            channel.sendall(whole[60:])
        self.served()
        for channel in channels:
            channel.close()

    def test_resets(self):
        """Streams opened and reset in a flood end the connection (ENHANCE_YOUR_CALM), not the service."""
        block = h2_header(b"/etcdserverpb.KV/Range")
        channel = connect(self.node.client_port)
        channel.sendall(PREFACE + h2_frame(SETTINGS, 0, 0))
        got = b""
        try:
            for number in range(20000):
                stream = 2 * number + 1
                channel.sendall(h2_frame(HEADERS, 4, stream, block) + h2_frame(RESET, 0, stream, (8).to_bytes(4, "big")))
            got = read_all(channel)
        except OSError:
            pass  # it was closed while we still wrote
        channel.close()
        if got:
            self.assertIn(b"\x00\x00\x00\x0b", got, "GOAWAY with ENHANCE_YOUR_CALM")
        self.served()

    def test_deaf(self):
        """Answers that are asked for and never read: the window shut, or the socket full."""
        client = self.node.client
        client.put("large", b"v" * 500000)
        query = frame(client.rpc.RangeRequest(key=b"large").SerializeToString())
        channels = []
        for window in (0, 2**31 - 1):  # SETTINGS_INITIAL_WINDOW_SIZE
            for _ in range(10):
                channel = connect(self.node.client_port)
                channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                out = PREFACE + h2_frame(SETTINGS, 0, 0, struct.pack(">HI", 4, window))
                for number in range(10):
                    stream = 2 * number + 1
                    out += h2_frame(HEADERS, 4, stream, h2_header(b"/etcdserverpb.KV/Range")) + h2_frame(DATA, 1, stream, query)
                channel.sendall(out)
                channels.append(channel)
        # together they asked for three times what may be in flight: long answers are refused, small ones go on
        self.served()
        for channel in channels:
            channel.close()
        e2e.wait_until(lambda: client.range("large").kvs, "what they held is given back")

    def test_deaf_and_greedy(self):
        """One connection that asks for more than may be in flight and reads nothing: long answers to others go on.

        While its burst is read from the table others may be told to try again, too; that ends though it never reads."""
        def answered(polite):
            try:
                return len(polite.range("large").kvs[0].value) == 500000
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
                return False

        client = self.node.client
        client.put("large", b"v" * 500000)
        query = frame(client.rpc.RangeRequest(key=b"large").SerializeToString())
        for window in (0, 2**31 - 1):
            channel = connect(self.node.client_port)
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            out = PREFACE + h2_frame(SETTINGS, 0, 0, struct.pack(">HI", 4, window))
            for number in range(100):
                stream = 2 * number + 1
                out += h2_frame(HEADERS, 4, stream, h2_header(b"/etcdserverpb.KV/Range")) + h2_frame(DATA, 1, stream, query)
            channel.sendall(out)
            with rpc.Client(self.node.client_address) as polite:
                for _ in range(30):
                    e2e.wait_until(lambda: answered(polite), "a long answer to another")
            channel.close()
        self.served()

    def test_idle(self):
        """A silent connection is closed; one with a stream open is not."""
        idle = connect(self.node.client_port)
        idle.sendall(PREFACE + h2_frame(SETTINGS, 0, 0))
        health = rpc.proto("health")
        with rpc.Client(self.node.client_address) as client:
            watch = client.channel.unary_stream("/grpc.health.v1.Health/Watch",
                                                request_serializer=lambda m: m.SerializeToString(),
                                                response_deserializer=health.HealthCheckResponse.FromString)
            stream = watch(health.HealthCheckRequest(), timeout=e2e.LIMIT_S)
            self.assertEqual(next(stream).status, health.HealthCheckResponse.SERVING)
            self.assertIn(h2_frame(7, 0, 0)[3:4], read_all(idle))  # until it ends: a GOAWAY came
            self.assertFalse(stream.done())
            stream.cancel()
        idle.close()

    def test_streams(self):
        """streams_max bounds what lasts, with a sentence; requests go on beside it."""
        health = rpc.proto("health")
        client = self.node.client
        watch = client.channel.unary_stream("/grpc.health.v1.Health/Watch", request_serializer=lambda m: m.SerializeToString(),
                                            response_deserializer=health.HealthCheckResponse.FromString)
        streams = [watch(health.HealthCheckRequest(), timeout=e2e.LIMIT_S) for _ in range(100)]
        for stream in streams:
            self.assertEqual(next(stream).status, health.HealthCheckResponse.SERVING)
        with self.assertRaises(grpc.RpcError) as refused:
            next(watch(health.HealthCheckRequest(), timeout=e2e.LIMIT_S))
        self.assertEqual((refused.exception.code().name, refused.exception.details()),
                         ("RESOURCE_EXHAUSTED", "holdfast: too many streams"))
        self.served()
        for stream in streams:
            stream.cancel()
        e2e.wait_until(lambda: self.stream_is_taken(watch, health), "places become free")

    def stream_is_taken(self, watch, health):
        stream = watch(health.HealthCheckRequest(), timeout=e2e.LIMIT_S)
        try:
            return next(stream).status == health.HealthCheckResponse.SERVING
        except grpc.RpcError:
            return False
        finally:
            stream.cancel()

    def test_refused_sizes(self):
        """Operations of a transaction and the header of a request, each refused with its own words."""
        types = self.node.client.rpc
        txn = types.TxnRequest(success=[types.RequestOp(request_range=types.RangeRequest(key=b"k"))] * 6)
        with self.assertRaises(grpc.RpcError) as refused:
            self.node.client.call("/etcdserverpb.KV/Txn", txn, types.TxnResponse)
        self.assertEqual((refused.exception.code().name, refused.exception.details()),
                         ("INVALID_ARGUMENT", "etcdserver: too many operations in txn request"))
        # curl 7.88 gives up when the answer comes before it has sent its body; then once more
        status, code, out = e2e.wait_until(lambda: curl(self.node.client_address, PUT, frame(b""), *GRPC_WORDS, "-H",
                                                        "large: " + "x" * 5000), "an answer")
        self.assertEqual((status, code), (200, "8"), out)
        self.assertIn("client.header_bytes_max", out)
        self.served(3)


class FewConnections(e2e.ClusterTest):
    count = 1
    extra = "client = { connections_max = 40; };"

    def test_bound(self):
        """One more than allowed is closed at once; when one goes, another may come."""
        node = self.cluster["n1"]
        channels = []

        def works(channel):
            try:
                channel.sendall(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return b"200" in channel.recv(1000)
            except OSError:
                return False

        def another():
            channel = connect(node.client_port)
            if works(channel):
                channels.append(channel)
                return True
            channel.close()
            return False

        # The connection that asked for the node's health may still be counted.
        while len(channels) < 40:
            e2e.wait_until(another, f"a place after {len(channels)}")
        for _ in range(5):
            with connect(node.client_port) as surplus:
                self.assertFalse(works(surplus))
        node.wait_log("client_connections_max reached")
        channels.pop().close()
        e2e.wait_until(another, "a place becomes free")
        self.assertTrue(all(works(channel) for channel in channels))
        for channel in channels:
            channel.close()


class SmallCredit(e2e.ClusterTest):
    extra = "client = { requests_in_flight_max = 20; };"

    def test_too_many_requests(self):
        """Work beyond the bound is refused at once, as something to try again; none is lost or done twice."""
        leader = self.cluster.leader()
        method = leader.client.channel.unary_unary(
            PUT, request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=leader.client.rpc.PutResponse.FromString)
        for node in self.cluster.followers():
            node.pause()
        calls = [method.future(leader.client.rpc.PutRequest(key=b"credit/%03d" % i, value=b"x"), timeout=e2e.LIMIT_S)
                 for i in range(200)]
        e2e.wait_until(lambda: sum(c.done() for c in calls) >= 180, "what is beyond the bound is refused at once")
        refused = [c for c in calls if c.done()]
        self.assertEqual({c.code().name for c in refused}, {"RESOURCE_EXHAUSTED"})
        self.assertEqual({c.details() for c in refused}, {"etcdserver: too many requests"})
        for node in self.cluster:
            if node.paused:
                node.resume()
        done, unknown = 0, 0
        for call in calls:
            if call not in refused:
                try:
                    call.result(timeout=e2e.LIMIT_S)
                    done += 1
                except grpc.RpcError:
                    unknown += 1
        self.cluster.wait_healthy()
        there = leader.client.prefix("credit/", count_only=True).count
        self.assertGreaterEqual(there, done)
        self.assertLessEqual(there, done + unknown)
        self.assertGreaterEqual(len(calls) - len(refused), 1)


class StuckStderr(unittest.TestCase):
    def test_stuck_stderr(self):
        """A full pipe behind stderr costs log lines, not service (and not the way out)."""
        cluster = e2e.Cluster(3, extra='log = { level = "debug"; };')
        self.addCleanup(cluster.close)
        reader, writer = os.pipe()
        e2e.set_pipe_small(writer)
        fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
        filled = 0
        try:
            while True:
                filled += os.write(writer, b"x" * 512)
        except BlockingIOError:
            pass
        self.assertGreater(filled, 0)
        fcntl.fcntl(writer, fcntl.F_SETFL, 0)
        stuck = cluster["n1"]
        stuck.start(stderr=writer)
        for name in ("n2", "n3"):
            cluster[name].start()
        cluster.wait_healthy()
        for i in range(2000):
            with connect(stuck.peer_port) as channel:
                channel.sendall(b"noise to be told about\r\n")
            if i % 100 == 0:
                stuck.client.put(f"stuck/{i}", "x")
        cluster["n2"].kill9()
        stuck.wait_healthy()
        self.assertEqual(stuck.client.prefix("stuck/", count_only=True).count, 20)
        self.assertEqual(stuck.terminate(), 0, "it also ends in order")
        stuck.start(stderr=writer)
        cluster["n2"].start()
        stuck.wait_healthy()
        # someone reads again: lines come, and the gap is told
        text = [b""]
        os.set_blocking(reader, False)

        def read_some():
            try:
                text[0] += os.read(reader, 65536)
            except BlockingIOError:
                pass
            return b"leader" in text[0]

        e2e.wait_until(read_some, "log lines come again")
        os.close(reader)
        stuck.wait_healthy()
        stuck.client.put("with a closed stderr", "x")
        os.close(writer)
        cluster.stop()


def read_all(channel):
    parts = []
    while True:
        part = channel.recv(65536)
        if not part:
            return b"".join(parts)
        parts.append(part)


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    e2e.main()
