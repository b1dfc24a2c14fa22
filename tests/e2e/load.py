# SPDX-License-Identifier: Apache-2.0
"""
load.py: clients of a cluster that changes, in a process of their own, and what they saw: each attempt with its time, so that
a test can say for any stretch of time how long which operation did not work.

    with Load(addresses) as load:  ...  load.addresses(others)  ...
    load.seen                      [Attempt], in the order of their ends, once it has ended

A client has one connection at a time and knows all addresses, as etcd's client library does: while a node says goodbye or does
not listen, its next call goes to another (gRPC's own doing). When a call fails all the same it begins anew at the next
address after PAUSE_S. It tries the same operation until it works. Like one that asks a name server, it hears of new addresses and
connects anew (watches do when their stream ends). Kinds: put, get (linearizable), txn (compare and put), lease (keepalive), and
watch: an attempt is then the wait for the next event of keys that the putters write without end.

Rules
 1. A gap is the time between two successes of one client: one that is stuck is not hidden by others that are not.
 2. A failing stretch begins where the first attempt that fails begins, and ends with the success that follows.
 3. Clients check what they get: an acknowledged put is read again (never an older value), watched events of a key have
    consecutive versions. What is wrong ends the load with an error.
"""
import collections
import json
import os
import queue
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
if __name__ == "__main__":
    sys.path.insert(0, HERE)

import cluster as e2e  # noqa: E402

KINDS = {"put": 4, "get": 3, "txn": 2, "lease": 1, "watch": 2}  # clients of each
PACE_S = 0.008   # between two operations of a client
PAUSE_S = 0.01   # before the next address
CALL_S = 0.5     # a call without an answer has failed
GAP_S = 0.1      # what is reported as a gap
UNKNOWN_S = 15   # a node gives up a request after this at the latest

Attempt = collections.namedtuple("Attempt", "client kind began ended ok what")


# ---- for tests ---------------------------------------------------------------------------------------


class Load:
    def __init__(self, addresses):
        self._first = list(addresses)
        self.process = None
        self.seen = []

    def _say(self, **words):
        self.process.stdin.write((json.dumps(words) + "\n").encode())
        self.process.stdin.flush()

    def __enter__(self):
        self.process = e2e.start_process([sys.executable, os.path.abspath(__file__)], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE)
        self.addresses(self._first)
        line = self.process.stdout.readline()  # all have had a success
        if line != b"running\n":
            raise AssertionError(f"the load did not begin: {line!r}")
        return self

    def addresses(self, addresses):
        """Where clients go from now on when a call fails."""
        self._say(addresses=list(addresses))

    def __exit__(self, kind, *_):
        if kind is not None:
            self.process.kill()
            self.process.communicate()
            return
        self._say(end=True)
        out, _ = self.process.communicate(timeout=e2e.LIMIT_S)
        lines = out.decode().splitlines()
        if self.process.returncode != 0:
            raise AssertionError(f"the load found: {lines[-1] if lines else 'nothing, and ended'}")
        self.seen = [Attempt(*json.loads(line)) for line in lines]


def per_client(seen):
    clients = collections.defaultdict(list)
    for attempt in seen:
        clients[attempt.client].append(attempt)
    return clients.values()


class Summary:
    """Of one kind of operation, or of several, from `began` until `ended`. A gap and a failing stretch belong where their
    middle lies: what a phase does to calls under way begins a moment before it."""

    def __init__(self, seen, began, ended, kinds=tuple(KINDS)):
        self.began, self.ended = began, ended
        self.done = self.failed = 0
        self.gaps = []  # (seconds, kind), longest first; those longer than GAP_S
        self.longest_gap_s = 0.0
        self.longest_failing_s = 0.0
        self.why = collections.Counter()
        for attempts in per_client(a for a in seen if a.kind in kinds):
            self._add(attempts)
        self.gaps.sort(reverse=True)

    def _covers(self, since, until):
        return self.began <= (since + until) / 2 < self.ended

    def _add(self, attempts):
        last, failing = None, None
        for a in attempts:
            inside = self._covers(a.ended, a.ended)
            self.done += inside and a.ok
            self.failed += inside and not a.ok
            if not a.ok:
                failing = a.began if failing is None else failing
                if inside:
                    self.why[f"{a.kind}: {a.what}"] += 1
                continue
            if failing is not None and self._covers(failing, a.ended):
                self.longest_failing_s = max(self.longest_failing_s, a.ended - failing)
            if last is not None and self._covers(last, a.ended):
                self.longest_gap_s = max(self.longest_gap_s, a.ended - last)
                if a.ended - last > GAP_S:
                    self.gaps.append((a.ended - last, a.kind))
            last, failing = a.ended, None


# ---- the process -------------------------------------------------------------------------------------


class Wrong(Exception):
    """The cluster has broken a promise."""


class Client(threading.Thread):
    """One client of one kind."""

    def __init__(self, shared, kind, number):
        super().__init__(daemon=True)
        self.shared, self.kind, self.number = shared, kind, number
        self.name = f"{kind}{number}"
        self.at = number
        self.connection, self.places = None, None
        self.turn = 0           # puts: the number written
        self.acknowledged = -1  # ... and the greatest that was
        self.unsure_until = 0   # a put that failed may still come, behind later ones: nothing is known of the key
        self.lease_id = 0
        self.revision, self.version = 0, {}
        self.watching, self.silent_since = None, None
        self.had_success = threading.Event()

    def run(self):
        act = getattr(self, self.kind)
        while not self.shared.ended.is_set():
            began = time.monotonic()
            try:
                if self.connection is not None and self.places is not self.shared.places and self.kind != "watch":
                    self.leave(0)
                if self.connection is None:
                    self.places = self.shared.places
                    self.connection = self.shared.connect(self.places, self.at)
                act()
                self.shared.note(Attempt(self.name, self.kind, began, time.monotonic(), True, ""))
                self.had_success.set()
                if self.kind != "watch":
                    time.sleep(PACE_S)
            except self.shared.rpc.grpc.RpcError as problem:
                what = f"{problem.code().name}: {problem.details()}"[:100]
                self.shared.note(Attempt(self.name, self.kind, began, time.monotonic(), False, what))
                self.acknowledged, self.unsure_until = -1, time.monotonic() + UNKNOWN_S
                self.leave()
                time.sleep(PAUSE_S)
            except Wrong as problem:
                self.shared.wrong.put(f"{self.name}: {problem}")
                return
        self.leave()

    def leave(self, step=1):
        if self.watching is not None:
            self.watching[0].put(None)
            self.watching[1].cancel()
            self.watching = None
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        self.at += step

    # An attempt each; grpc.RpcError: it failed.

    def put(self):
        self.turn += 1
        self.connection.put(f"load/put/{self.number}", f"{self.turn:09d}")
        if time.monotonic() >= self.unsure_until:
            self.acknowledged = self.turn

    def get(self):
        other = self.shared.clients["put"][self.number % len(self.shared.clients["put"])]
        least = other.acknowledged
        answer = self.connection.range(f"load/put/{other.number}")
        value = int(answer.kvs[0].value) if answer.kvs else -1
        if value < least:
            raise Wrong(f"read {value} after {least} was acknowledged")

    def txn(self):
        types = self.connection.rpc
        key = f"load/txn/{self.number}".encode()
        put = types.RequestOp(request_put=types.PutRequest(key=key, value=b"v"))
        holds = types.Compare(result=types.Compare.GREATER, target=types.Compare.VERSION, key=key, version=-1)
        self.connection.call("/etcdserverpb.KV/Txn", types.TxnRequest(compare=[holds], success=[put]), types.TxnResponse)

    def grant(self):
        types = self.connection.rpc
        self.lease_id = self.connection.call("/etcdserverpb.Lease/LeaseGrant", types.LeaseGrantRequest(TTL=60),
                                          types.LeaseGrantResponse).ID

    def stream(self, path, request, answer):
        """Streams of our own: a queue of requests, and what comes."""
        requests = queue.Queue()
        call = self.connection.channel.stream_stream(path, request_serializer=lambda m: m.SerializeToString(),
                                                     response_deserializer=answer.FromString)
        answers = call(iter(requests.get, None), timeout=None if self.kind == "watch" else CALL_S, wait_for_ready=True)
        requests.put(request)
        return requests, answers

    def lease(self):
        types = self.connection.rpc
        if self.lease_id == 0:
            self.grant()
        requests, answers = self.stream("/etcdserverpb.Lease/LeaseKeepAlive", types.LeaseKeepAliveRequest(ID=self.lease_id),
                                        types.LeaseKeepAliveResponse)
        try:
            answer = next(answers)
            if answer.TTL <= 0:
                raise Wrong("a lease that was kept alive has ended")
        finally:
            requests.put(None)
            answers.cancel()

    def watch(self):
        types = self.connection.rpc
        if self.watching is None:
            create = types.WatchCreateRequest(key=b"load/put/", range_end=b"load/put0", start_revision=self.revision + 1
                                              if self.revision else 0)
            self.watching = self.stream("/etcdserverpb.Watch/Watch", types.WatchRequest(create_request=create),
                                        types.WatchResponse)
        self.silent_since = time.monotonic()
        try:
            while True:
                answer = next(self.watching[1])
                if answer.canceled:
                    raise Wrong(f"watch cancelled: {answer.cancel_reason}")
                if answer.events:
                    break
        except StopIteration:
            raise Wrong("a watch ended without a status") from None
        finally:
            self.silent_since = None
        for event in answer.events:
            key, version = event.kv.key, event.kv.version
            if self.version.get(key, version - 1) != version - 1:
                raise Wrong(f"version {version} of {key} follows {self.version[key]}")
            self.version[key] = version
            self.revision = max(self.revision, event.kv.mod_revision)


class Shared:
    def __init__(self):
        import rpc  # pylint: disable=import-outside-toplevel

        self.rpc = rpc
        self.places = []
        self.ended = threading.Event()
        self.wrong = queue.Queue()
        self.seen = []
        self.clients = {kind: [Client(self, kind, i) for i in range(count)] for kind, count in KINDS.items()}
        rpc.proto("rpc")

    def connect(self, places, first):
        """To whichever of the addresses can be reached, the `first` if it can."""
        at = first % len(places)
        client = self.rpc.Client("ipv4:" + ",".join(places[at:] + places[:at]), timeout_s=CALL_S)
        client.wait_for_ready = True
        return client

    def end_silence(self):
        """A watch stream without events has failed: its node may be gone without a word."""
        while not self.ended.wait(0.02):
            for client in self.clients["watch"]:
                since, watching = client.silent_since, client.watching
                if since is not None and watching is not None and time.monotonic() - since > CALL_S:
                    watching[1].cancel()

    def note(self, attempt):
        self.seen.append(attempt)  # one operation of Python: no lock


def main():
    shared = Shared()
    everyone = [c for clients in shared.clients.values() for c in clients]
    shared.places = json.loads(sys.stdin.readline())["addresses"]
    for client in everyone:
        client.start()
    threading.Thread(target=shared.end_silence, daemon=True).start()
    for client in everyone:
        client.had_success.wait(e2e.LIMIT_S)
    print("running", flush=True)
    for line in sys.stdin:
        words = json.loads(line)
        if "addresses" in words:
            shared.places = words["addresses"]
        if words.get("end"):
            break
    shared.ended.set()
    for client in everyone:
        client.join(10)
    if not shared.wrong.empty():
        print(shared.wrong.get(), flush=True)
        return 1
    out = sys.stdout
    for attempt in sorted(shared.seen, key=lambda a: a.ended):
        out.write(json.dumps(attempt) + "\n")
    out.flush()
    return 0


if __name__ == "__main__":
    code = main()
    os._exit(code)  # gRPC's own threads are not waited for
