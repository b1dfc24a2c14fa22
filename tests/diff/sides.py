# SPDX-License-Identifier: Apache-2.0
"""
sides.py: the two systems that are compared, and how one request reaches them.

A side is a list of addresses and the channels to them: three nodes of holdfast, or one etcd. A request
goes in as an Op (ops.py) and comes out as an Answer: code, text and message. Nothing is judged here; only
what no request asked for is noticed: a cluster id, a member id or a term that moves when it must not.

Invariants
 1. send() does not wait; wait() does. Both sides work on one request at the same time.
 2. What says where an answer came from (cluster_id, member_id, raft_term) is checked by the side that got
    it and then replaced by 1, so that a difference in *presence* is still seen.
"""
import http.client
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))

import cluster as e2e  # noqa: E402
import etcd  # noqa: E402
import rpc  # noqa: E402
import grpc  # noqa: E402  (after rpc, which sets its environment)

# A write may be held while an election goes on; only a broken program needs longer.
CALL_LIMIT_S = 60


class Answer:
    """What came back: code 0 with a message (or a list of them from a stream), or a code and its text."""

    __slots__ = ("code", "text", "message")

    def __init__(self, code, text, message):
        self.code = code
        self.text = text
        self.message = message


class BadHeader(Exception):
    """An answer's header contradicts an earlier one of the same side."""


class Side:
    def __init__(self, name, addresses, stop):
        self.name = name
        self.addresses = addresses
        self._stop = stop
        self.clients = [rpc.Client(address, CALL_LIMIT_S) for address in addresses]
        self._calls = {}
        self._http = {}
        self.cluster_id = 0
        self.member_ids = [0] * len(addresses)
        self.terms = [0] * len(addresses)

    def node(self, number):
        return number % len(self.addresses)

    # ---- gRPC

    def send(self, node, method, request):
        """Start a unary call; `request` a message or octets. The result goes to wait()."""
        node = self.node(node)
        call = self._calls.get((node, method.path))
        if call is None:
            call = self.clients[node].channel.unary_unary(
                method.path, request_serializer=_octets, response_deserializer=method.answer.FromString)
            self._calls[(node, method.path)] = call
        return node, call.future(request, timeout=CALL_LIMIT_S)

    def wait(self, pending):
        node, future = pending
        try:
            message = future.result()
        except grpc.RpcError as problem:
            return Answer(problem.code().value[0], problem.details(), None)
        self.own(node, message)
        return Answer(0, "", message)

    def exchange(self, node, method, requests):
        """A two-way stream: all requests, half-close, all answers."""
        node = self.node(node)
        call = self.clients[node].channel.stream_stream(
            method.path, request_serializer=_octets, response_deserializer=method.answer.FromString)
        try:
            messages = list(call(iter(requests), timeout=CALL_LIMIT_S))
        except grpc.RpcError as problem:
            return Answer(problem.code().value[0], problem.details(), None)
        for message in messages:
            self.own(node, message)
        return Answer(0, "", messages)

    # ---- JSON

    def post(self, node, path, body):
        """Send one JSON request; the result goes to posted()."""
        node = self.node(node)
        connection = self._http.get(node)
        if connection is None:
            connection = http.client.HTTPConnection(self.addresses[node], timeout=CALL_LIMIT_S)
            self._http[node] = connection
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        return node, connection

    def posted(self, pending):
        """Answer: `code` is the HTTP status, `message` the JSON value, `text` the body if it is not JSON."""
        node, connection = pending
        response = connection.getresponse()
        body = response.read()
        if response.will_close:
            connection.close()
            self._http.pop(node, None)
        try:
            value = json.loads(body)
        except ValueError:
            return Answer(response.status, body.decode(errors="replace"), None)
        if isinstance(value, dict):
            header = value.get("header")
            if isinstance(header, dict):
                numbers = [int(header.get(name, 0)) for name in ("cluster_id", "member_id", "raft_term")]
                self._check(node, *numbers)
                for name in ("cluster_id", "member_id", "raft_term"):
                    if name in header:
                        header[name] = "1"
        return Answer(response.status, "", value)

    # ---- where an answer comes from

    def own(self, node, message):
        """Check the header's origin and make it the same on both sides (invariant 2)."""
        if message.DESCRIPTOR.fields_by_name.get("header") is None or not message.HasField("header"):
            return
        header = message.header
        self._check(node, header.cluster_id, header.member_id, header.raft_term)
        for name in ("cluster_id", "member_id", "raft_term"):
            if getattr(header, name):
                setattr(header, name, 1)

    def _check(self, node, cluster_id, member_id, term):
        if cluster_id == 0 and member_id == 0 and term == 0:
            return
        if self.cluster_id not in (0, cluster_id):
            raise BadHeader(f"{self.name}: cluster_id was {self.cluster_id}, now {cluster_id}")
        if self.member_ids[node] not in (0, member_id):
            raise BadHeader(f"{self.name}: member_id of node {node} was {self.member_ids[node]}, now {member_id}")
        if term < self.terms[node]:
            raise BadHeader(f"{self.name}: raft_term of node {node} was {self.terms[node]}, now {term}")
        self.cluster_id = cluster_id
        self.member_ids[node] = member_id
        self.terms[node] = term

    def stop(self):
        for client in self.clients:
            client.close()
        for connection in self._http.values():
            connection.close()
        self._stop()


def _octets(message):
    return message if isinstance(message, bytes) else message.SerializeToString()


def in_memory():
    """Files go to memory where there is room: durability is not what is compared here, and fsync is slow."""
    place = "/dev/shm"
    if os.access(place, os.W_OK):
        room = os.statvfs(place)
        if room.f_bavail * room.f_frsize > 2 << 30:
            tempfile.tempdir = place


def start_etcd(name="etcd"):
    server = etcd.Etcd()
    return Side(name, [server.address], server.close)


def start_holdfast():
    # etcd's own timing: the least lease time follows from it. Only the test compacts.
    nodes = e2e.Cluster(3, name="diff", election_timeout_ms=1000, heartbeat_ms=100,
                        extra="compaction = { keep_s = 0; };").start()

    def stop():
        nodes.check_logs()
        nodes.stop()

    side = Side("holdfast", [node.client_address for node in nodes], stop)
    side.cluster = nodes
    return side
