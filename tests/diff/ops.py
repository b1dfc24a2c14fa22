# SPDX-License-Identifier: Apache-2.0
"""
ops.py: what an operation is: a method, the node it goes to, the request, and how it is to be run. An
operation is data; a run of them can be written to a file and run again.

 write    it may change the store, so it goes alone: the next operation starts when both sides answered
 local    the node answers from its own state, so it must have applied the last write before it is asked
 via      "grpc", or "json": the same request as JSON over HTTP/1.1
 detail   what is no protobuf: ids of a keepalive stream, slots and ids of watch streams, raw bodies
"""
import base64
import json

import rpc
from google.protobuf import text_format

pb = rpc.proto("rpc")


class Method:
    def __init__(self, path, request, answer, json_path=None, write=False):
        self.path = path
        self.request = request
        self.answer = answer
        self.json_path = json_path
        self.write = write


def _etcd(service, name, request, answer, json_path=None, write=False):
    return Method(f"/etcdserverpb.{service}/{name}", request, answer, json_path, write)


METHODS = {
    "Range": _etcd("KV", "Range", pb.RangeRequest, pb.RangeResponse, "/v3/kv/range"),
    "Put": _etcd("KV", "Put", pb.PutRequest, pb.PutResponse, "/v3/kv/put", True),
    "DeleteRange": _etcd("KV", "DeleteRange", pb.DeleteRangeRequest, pb.DeleteRangeResponse, "/v3/kv/deleterange", True),
    "Txn": _etcd("KV", "Txn", pb.TxnRequest, pb.TxnResponse, "/v3/kv/txn", True),
    "Compact": _etcd("KV", "Compact", pb.CompactionRequest, pb.CompactionResponse, "/v3/kv/compaction", True),
    "LeaseGrant": _etcd("Lease", "LeaseGrant", pb.LeaseGrantRequest, pb.LeaseGrantResponse, "/v3/lease/grant", True),
    "LeaseRevoke": _etcd("Lease", "LeaseRevoke", pb.LeaseRevokeRequest, pb.LeaseRevokeResponse,
                         "/v3/lease/revoke", True),
    "LeaseTimeToLive": _etcd("Lease", "LeaseTimeToLive", pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse,
                             "/v3/lease/timetolive"),
    "LeaseLeases": _etcd("Lease", "LeaseLeases", pb.LeaseLeasesRequest, pb.LeaseLeasesResponse, "/v3/lease/leases"),
    "LeaseKeepAlive": _etcd("Lease", "LeaseKeepAlive", pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse,
                            None, True),
    "Watch": _etcd("Watch", "Watch", pb.WatchRequest, pb.WatchResponse),
    "HashKV": _etcd("Maintenance", "HashKV", pb.HashKVRequest, pb.HashKVResponse),
    "Alarm": _etcd("Maintenance", "Alarm", pb.AlarmRequest, pb.AlarmResponse),
    "Defragment": _etcd("Maintenance", "Defragment", pb.DefragmentRequest, pb.DefragmentResponse,
                        "/v3/maintenance/defragment"),
    "MemberPromote": _etcd("Cluster", "MemberPromote", pb.MemberPromoteRequest, pb.MemberPromoteResponse),
    "MemberRemove": _etcd("Cluster", "MemberRemove", pb.MemberRemoveRequest, pb.MemberRemoveResponse),
    "NoSuchMethod": _etcd("KV", "NoSuchMethod", pb.RangeRequest, pb.RangeResponse),
    "NoSuchService": _etcd("Nobody", "Range", pb.RangeRequest, pb.RangeResponse),
}


def _add_lock_and_election():
    lock, election = rpc.proto("lock"), rpc.proto("election")
    for name, path in (("Lock", "/v3/lock/lock"), ("Unlock", "/v3/lock/unlock")):
        METHODS[name] = Method(f"/v3lockpb.Lock/{name}", getattr(lock, name + "Request"),
                               getattr(lock, name + "Response"), path, True)
    for name in ("Campaign", "Proclaim", "Leader", "Resign"):
        METHODS[name] = Method(f"/v3electionpb.Election/{name}", getattr(election, name + "Request"),
                               getattr(election, name + "Response"), "/v3/election/" + name.lower(), name != "Leader")


_add_lock_and_election()


class Op:
    __slots__ = ("kind", "node", "request", "local", "via", "detail")

    def __init__(self, kind, node, request=None, local=False, via="grpc", detail=None):
        self.kind = kind
        self.node = node
        self.request = request
        self.local = local
        self.via = via
        self.detail = detail or {}

    @property
    def method(self):
        return METHODS.get(self.kind)

    @property
    def write(self):
        """Goes alone. Watch operations change nothing, but what follows must find them done."""
        method = self.method
        return method is None or method.write or self.via == "json" or bool(self.detail)

    def __str__(self):
        parts = [f"{self.kind} to node {self.node}"]
        if self.via != "grpc":
            parts.append(f"as {self.via}")
        if self.local:
            parts.append("(local)")
        if isinstance(self.request, bytes):
            shown = self.request if len(self.request) <= 80 else self.request[:80] + b"..."
            parts.append(f"octets {shown!r}")
        elif self.request is not None:
            parts.append("{ " + one_line(self.request) + " }")
        if self.detail:
            parts.append(repr(self.detail))
        return " ".join(parts)

    def to_json(self):
        row = {"kind": self.kind, "node": self.node, "local": self.local, "via": self.via, "detail": self.detail}
        if isinstance(self.request, bytes):
            row["octets"] = base64.b64encode(self.request).decode()
        elif self.request is not None:
            row["request"] = base64.b64encode(self.request.SerializeToString()).decode()
            row["text"] = one_line(self.request)
        return row

    @staticmethod
    def from_json(row):
        request = None
        if "octets" in row:
            request = base64.b64decode(row["octets"])
        elif "request" in row:
            request = Op._request_type(row["kind"]).FromString(base64.b64decode(row["request"]))
        return Op(row["kind"], row["node"], request, row["local"], row["via"], row["detail"])

    @staticmethod
    def _request_type(kind):
        if kind == "hash.agree":
            return pb.HashKVRequest
        return pb.WatchRequest if kind.startswith("watch.") else METHODS[kind].request


def one_line(message, length_max=700):
    text = text_format.MessageToString(message, as_one_line=True)
    return text if len(text) <= length_max else text[:length_max] + f"... ({len(text)} characters)"


def save(path, ops):
    with open(path, "w", encoding="utf-8") as file:
        for op in ops:
            file.write(json.dumps(op.to_json()) + "\n")


def load(path):
    with open(path, encoding="utf-8") as file:
        return [Op.from_json(json.loads(line)) for line in file]
