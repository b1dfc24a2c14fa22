# SPDX-License-Identifier: Apache-2.0
"""
rpc.py: etcd v3's calls from Python, with the messages compiled from src/api/proto by protoc when first
needed. Debian's python3-grpcio and python3-protobuf; nothing generated is kept.
"""
import atexit
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading

import cluster

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc  # noqa: E402  (reads the environment when it is imported)

cluster.NOT_YET.append(grpc.RpcError)

_proto = {}
_proto_lock = threading.Lock()


def proto(name):
    """The module of src/api/proto/NAME.proto, compiled by protoc on first use."""
    with _proto_lock:
        if not _proto:
            place = tempfile.mkdtemp(prefix="holdfast-proto-")
            atexit.register(shutil.rmtree, place, ignore_errors=True)
            source = os.path.join(cluster.ROOT, "src", "api", "proto")
            files = sorted(f for f in os.listdir(source) if f.endswith(".proto"))
            subprocess.run(["protoc", f"--proto_path={source}", f"--python_out={place}", *files],
                           check=True, timeout=cluster.LIMIT_S)
            sys.path.insert(0, place)
            for file in files:
                stem = file[: -len(".proto")]
                _proto[stem] = importlib.import_module(stem + "_pb2")
        return _proto[name]


def prefix_end(key):
    """The range_end that makes [key, range_end) all keys beginning with `key`."""
    key = key.rstrip(b"\xff")
    return key[:-1] + bytes([key[-1] + 1]) if key else b"\0"


class Client:
    """One gRPC channel to one address. Raises grpc.RpcError on anything but OK."""

    def __init__(self, address, timeout_s=20.0):
        self.address = address
        self.timeout_s = timeout_s
        self.wait_for_ready = False  # True: calls wait for a connection
        self.rpc = proto("rpc")
        self.channel = grpc.insecure_channel(address, options=[
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.min_reconnect_backoff_ms", 5000),
            ("grpc.max_reconnect_backoff_ms", 300),
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1)])
        self._methods = {}

    def call(self, path, request, response_type, timeout_s=None):
        method = self._methods.get(path)
        if method is None:
            method = self.channel.unary_unary(
                path, request_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString(),
                response_deserializer=response_type.FromString)
            self._methods[path] = method
        return method(request, timeout=timeout_s or self.timeout_s, wait_for_ready=self.wait_for_ready)

    def put(self, key, value, timeout_s=None, **more):
        request = self.rpc.PutRequest(key=_octets(key), value=_octets(value), **more)
        return self.call("/etcdserverpb.KV/Put", request, self.rpc.PutResponse, timeout_s)

    def range(self, key, range_end=b"", timeout_s=None, **more):
        request = self.rpc.RangeRequest(key=_octets(key), range_end=_octets(range_end), **more)
        return self.call("/etcdserverpb.KV/Range", request, self.rpc.RangeResponse, timeout_s)

    def prefix(self, key, timeout_s=None, **more):
        return self.range(key, prefix_end(_octets(key)), timeout_s, **more)

    def delete(self, key, range_end=b"", timeout_s=None, **more):
        request = self.rpc.DeleteRangeRequest(key=_octets(key), range_end=_octets(range_end), **more)
        return self.call("/etcdserverpb.KV/DeleteRange", request, self.rpc.DeleteRangeResponse, timeout_s)

    def status(self, timeout_s=None):
        return self.call("/etcdserverpb.Maintenance/Status", self.rpc.StatusRequest(),
                         self.rpc.StatusResponse, timeout_s)

    def members(self, timeout_s=None):
        return self.call("/etcdserverpb.Cluster/MemberList", self.rpc.MemberListRequest(),
                         self.rpc.MemberListResponse, timeout_s)

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _octets(text):
    return text.encode() if isinstance(text, str) else text
