# SPDX-License-Identifier: Apache-2.0
"""
generate.py: a seeded stream of operations. What it draws depends on the seed, the families, and on
answers of etcd that are the same in every run (revisions, which leases and watchers there are), so a
seed and a number of operations name a run.

Draws are made so that operations meet: few keys, few leases, revisions near the compacted and the current
one. Bad requests are drawn everywhere, each rarely. Not drawn: what ends etcd 3.4 (an unknown sort
target), what a clock decides (leases that may expire during a run), what blocks (a lock held by another).
"""
import random

import rpc
from ops import METHODS, Op, pb

FAMILIES = ("kv", "txn", "compact", "lease", "watch", "hash", "lock", "maintenance", "json", "big")

KEYS = [b"a", b"a/", b"a/1", b"a/2", b"a/22", b"a0", b"b", b"b\x00", b"b\x00\x00", b"b\xff", b"b\xff\xff", b"c",
        b"\x00", b"\x00\x01", b"\xff", b"\xff\xff", b"\xff\x00", "schlüssel/ключ".encode(), b"long/" + b"k" * 300]
KEYS += [b"k/%d" % i for i in range(16)]
VALUES = [b"", b"1", b"2", b"10", b"one", b"two", b"\x00", b"\xff\xfe", b"value", b"v" * 60]
LEASES = [7, 11, 12, 13, 14, 15, 0x5EED, 1 << 62, -5]
NO_LEASE = [99, -1, 1 << 40]
TTL_MAX = 9_000_000_000
SLOTS = 3
WATCHERS_MAX = 8
NODES = 3


def line_name(prefix, lease):
    """The lock or election that one lease alone goes to."""
    return prefix + b"-%x" % lease


def line_key(name, lease):
    """etcd writes a negative lease with its sign."""
    return name + b"/%x" % lease


class Generator:
    def __init__(self, seed, families):
        unknown = set(families) - set(FAMILIES)
        if unknown:
            raise SystemExit(f"unknown families: {', '.join(sorted(unknown))}; there are {', '.join(FAMILIES)}")
        self.draw = random.Random(seed)
        self.families = set(families)
        # learned from answers
        self.revision = 1
        self.compacted = 0
        self.leases = set()
        self.newest = {}  # key: mod_revision of its last put, as far as top-level puts tell
        self.deletes_to_end = False  # whether the transaction being made deletes up to the last key
        self.streams = {}  # slot: set of watch ids
        self.spent = {}  # slot: ids of watchers cancelled as compacted, see the known difference "watch-id"
        self.created = {}  # create revisions of the keys of elections
        self.in_line = set()  # keys of locks and elections that may be there
        self.table = [(weight, make) for family, weight, make in (
            ("kv", 200, self.put), ("kv", 180, self.range), ("kv", 45, self.delete), ("kv", 4, self.bad_kv),
            ("txn", 170, self.txn), ("txn", 3, self.bad_txn),
            ("compact", 6, self.compact),
            ("lease", 25, self.grant), ("lease", 14, self.revoke), ("lease", 12, self.time_to_live),
            ("lease", 5, self.list_leases), ("lease", 7, self.keep_alive),
            ("watch", 5, self.watch_open), ("watch", 22, self.watch_create), ("watch", 7, self.watch_cancel),
            ("watch", 5, self.watch_progress), ("watch", 2, self.watch_close), ("watch", 1, self.watch_nothing),
            ("hash", 5, self.hash), ("hash", 3, self.hash_agree),
            ("lock", 8, self.lock), ("lock", 8, self.election),
            ("maintenance", 4, self.maintenance),
            ("json", 40, self.json), ("json", 2, self.bad_json),
            ("big", 1, self.big)) if family in self.families]
        self.weights = [weight for weight, _ in self.table]
        self.plain = [self.put, self.range, self.delete] if "kv" in self.families else []

    def next(self):
        while True:
            _, make = self.draw.choices(self.table, self.weights)[0]
            op = make()
            if op is not None:
                return op

    def learn(self, op, answer):
        """Take from etcd's answer what later draws depend on."""
        if answer is None or answer.code not in (0, 200):
            return
        message = answer.message
        if op.via == "json":
            header = message.get("header", {}) if isinstance(message, dict) else {}
            self.revision = max(self.revision, int(header.get("revision", 0)))
        elif hasattr(message, "header"):
            self.revision = max(self.revision, message.header.revision)
        if isinstance(op.request, bytes) or (op.request is None and "slot" not in op.detail):
            return
        if op.kind == "Put" and op.request.key:
            self.newest[op.request.key] = self.revision
        elif op.kind == "Compact":
            self.compacted = max(self.compacted, op.request.revision)
        elif op.kind == "LeaseGrant":
            self.leases.add(op.request.ID)
        elif op.kind == "LeaseRevoke":
            self.leases.discard(op.request.ID)
            self.in_line -= {line_key(name, op.request.ID) for name in (line_name(b"lock", op.request.ID),
                                                                        line_name(b"vote", op.request.ID))}
        elif op.kind in ("Lock", "Campaign"):
            self.in_line.add(line_key(op.request.name, op.request.lease))
            self.created[line_key(op.request.name, op.request.lease)] = self.revision
        elif op.kind == "Unlock":
            self.in_line.discard(op.request.key)
        elif op.kind == "Proclaim":
            self.in_line.add(op.request.leader.key)
            if op.request.leader.rev == 0:  # "if there is none", so there is one now
                self.created[op.request.leader.key] = self.revision
        elif op.kind == "Resign":
            leader = op.request.leader
            if leader.rev == self.created.get(leader.key):
                self.in_line.discard(leader.key)
        elif op.kind == "watch.open":
            self.streams[op.detail["slot"]] = set()
            self.spent[op.detail["slot"]] = set()
        elif op.kind == "watch.close":
            self.streams.pop(op.detail["slot"], None)
        elif op.kind == "watch.create":
            if message.created and not message.canceled:
                ids = self.streams if op.detail["lives"] else self.spent
                ids[op.detail["slot"]].add(message.watch_id)
        elif op.kind == "watch.cancel":
            self.streams[op.detail["slot"]].discard(op.request.cancel_request.watch_id)

    # ---- parts

    def chance(self, percent):
        return self.draw.random() * 100 < percent

    def node(self):
        return self.draw.randrange(NODES)

    def key(self):
        if self.chance(0.5):
            return b""
        return self.draw.choice(KEYS)

    def value(self):
        if self.chance(1):
            return self.draw.randbytes(self.draw.randrange(12000))
        return self.draw.choice(VALUES)

    def span(self):
        """key and range_end, of every kind the interface knows."""
        kind = self.draw.choices(("one", "pair", "prefix", "from", "all", "inverted", "same", "first"),
                                 (44, 16, 16, 6, 8, 5, 3, 2))[0]
        key = self.key()
        if kind == "one":
            return key, b""
        if kind == "pair":
            low, high = sorted((key, self.draw.choice(KEYS)))
            return low, high
        if kind == "prefix":
            prefix = key[: self.draw.randrange(1, 4)] or b"a"
            return prefix, rpc.prefix_end(prefix)
        if kind == "from":
            return key, b"\0"
        if kind == "all":
            return b"\0", b"\0"
        if kind == "inverted":
            low, high = sorted((key, self.draw.choice(KEYS)))
            return high, low
        if kind == "same":
            return key, key
        return key, key + b"\0"

    def some_revision(self):
        """A revision in the history that can be read."""
        return self.draw.randint(max(1, self.compacted), self.revision)

    def read_revision(self, none=60):
        kind = self.draw.choices(("none", "history", "now", "future", "compacted", "before", "negative", "first"),
                                 (none, 26, 4, 2, 4, 2, 1, 1))[0]
        return {"none": 0, "history": self.some_revision(), "now": self.revision,
                "future": self.revision + self.draw.randint(1, 3), "compacted": self.compacted,
                "before": max(0, self.compacted - self.draw.randint(1, 3)), "negative": -self.draw.randint(1, 3),
                "first": 1}[kind]

    def lease(self):
        if self.chance(3):
            return self.draw.choice(NO_LEASE)
        if self.leases and not self.chance(5):
            return self.draw.choice(sorted(self.leases))
        return self.draw.choice(LEASES)

    # ---- KV

    def put_request(self):
        request = pb.PutRequest(key=self.key())
        ignore_value = self.chance(4)
        if not ignore_value or self.chance(5):
            request.value = self.value()
        request.ignore_value = ignore_value
        request.ignore_lease = self.chance(4)
        if "lease" in self.families and self.chance(18) and (not request.ignore_lease or self.chance(10)):
            request.lease = self.lease()
        elif self.chance(0.5):
            request.lease = self.draw.choice(NO_LEASE)
        request.prev_kv = self.chance(30)
        return request

    def put(self):
        return Op("Put", self.node(), self.put_request())

    def range_request(self, revision_none=60):
        key, range_end = self.span()
        request = pb.RangeRequest(key=key, range_end=range_end, revision=self.read_revision(revision_none))
        if self.chance(30):
            request.limit = self.draw.choice((1, 1, 2, 3, 5, 8, 1000, -2))
        if self.chance(30):
            request.sort_order = self.draw.randrange(3)
            request.sort_target = self.draw.randrange(5)
            if self.chance(1):
                request.sort_order = 3
        # what keys were sorted by must show, or an order among equals cannot be told from a wrong one
        request.keys_only = self.chance(8) and request.sort_target != pb.RangeRequest.VALUE
        request.count_only = self.chance(8)
        if self.chance(15):
            for name in ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
                if self.chance(35):
                    setattr(request, name, self.draw.randint(-1, self.revision + 1))
        return request

    def range(self):
        request = self.range_request()
        request.serializable = self.chance(12)
        return Op("Range", self.node(), request, local=request.serializable)

    def delete_request(self):
        key, range_end = self.span()
        if range_end == b"\0" and not self.chance(15):
            range_end = b""
        return pb.DeleteRangeRequest(key=key, range_end=range_end, prev_kv=self.chance(40))

    def delete(self):
        return Op("DeleteRange", self.node(), self.delete_request())

    def bad_kv(self):
        kind = self.draw.choice(("Range", "Put", "DeleteRange", "garbage", "unknown", "service", "cut", "member"))
        if kind == "garbage":
            return Op(self.draw.choice(("Range", "Put", "DeleteRange")), self.node(), b"\xff\xff\xff\xff")
        if kind == "cut":
            return Op("Put", self.node(), pb.PutRequest(key=b"a", value=b"0123456789").SerializeToString()[:-4])
        if kind == "unknown":
            return Op("NoSuchMethod", self.node(), pb.RangeRequest(key=b"a"))
        if kind == "service":
            return Op("NoSuchService", self.node(), pb.RangeRequest(key=b"a"))
        if kind == "member":
            # an unknown field, and one sent twice: the last one counts
            octets = pb.RangeRequest(key=b"a").SerializeToString() + b"\xfa\x3f\x02hi" + \
                pb.RangeRequest(key=b"b").SerializeToString()
            return Op("Range", self.node(), octets)
        return Op(kind, self.node(), METHODS[kind].request())

    # ---- Txn

    def compare(self):
        key = self.key()
        compare = pb.Compare(key=key, result=self.draw.randrange(4), target=self.draw.randrange(5))
        target = compare.target
        if self.chance(2):
            target = self.draw.randrange(5)  # a value that does not belong to the target
        if not self.chance(2):
            if target == 0:
                compare.version = self.draw.randint(0, 4)
            elif target in (1, 2):
                revision = self.newest.get(key, 0) if self.chance(50) else self.draw.randint(0, self.revision)
                setattr(compare, "create_revision" if target == 1 else "mod_revision", revision)
            elif target == 3:
                compare.value = self.draw.choice(VALUES)
            else:
                compare.lease = self.draw.choice(LEASES + [0, 0, 0])
        if self.chance(20):
            compare.key, compare.range_end = self.span()
        return compare

    def ops(self, count, depth, keys):
        """`count` operations of one branch. `keys` holds what the transaction puts already: mostly
        avoided, as the rule about duplicates refuses nearly everything else."""
        made = []
        for _ in range(count):
            op = pb.RequestOp()
            kind = self.draw.choices(("put", "range", "delete", "txn", "nothing"),
                                     (50, 28, 12, 10 if depth < 3 else 0, 0.3))[0]
            if kind == "put":
                request = self.put_request()
                if request.key in keys and not self.chance(8):
                    request.key = b"t/%d" % self.draw.randrange(12)
                    if request.key in keys and not self.chance(8):
                        continue
                keys.add(request.key)
                if self.deletes_to_end:  # see the known difference "ignore-deleted"
                    request.ignore_value = request.ignore_lease = False
                if request.lease and not self.leases and not self.chance(10):
                    request.lease = 0
                op.request_put.CopyFrom(request)
            elif kind == "range":
                request = self.range_request(revision_none=90)
                request.sort_order = min(request.sort_order, 2)
                request.serializable = self.chance(20)
                if request.revision == -1:
                    request.revision = -2  # see the known difference "txn-minus-one"
                op.request_range.CopyFrom(request)
            elif kind == "delete":
                request = self.delete_request()
                if request.range_end and not self.chance(30):
                    request.range_end = b""
                if request.key in keys and not self.chance(15):
                    request.key = b"t/d%d" % self.draw.randrange(12)
                self.deletes_to_end |= request.range_end == b"\0"
                op.request_delete_range.CopyFrom(request)
            elif kind == "txn":
                op.request_txn.CopyFrom(self.txn_request(depth + 1, keys))
            made.append(op)
        return made

    def txn_request(self, depth=0, keys=None):
        request = pb.TxnRequest()
        self.deletes_to_end = self.deletes_to_end and depth > 0
        request.compare.extend(self.compare() for _ in range(self.draw.choices((0, 1, 2, 3), (30, 45, 20, 5))[0]))
        counts = (0, 1, 2, 3, 5), (15, 40, 25, 15, 5)
        outer = keys if keys is not None else set()
        request.success.extend(self.ops(self.draw.choices(*counts)[0], depth, set(outer)))
        request.failure.extend(self.ops(self.draw.choices(*counts)[0], depth, set(outer)))
        return request

    def txn(self):
        return self.txn_op(self.txn_request())

    def txn_op(self, request):
        """One of serializable ranges alone, or of nothing, is answered from what the node has applied."""
        local = all(op.HasField("request_range") and op.request_range.serializable
                    for op in list(request.success) + list(request.failure))
        return Op("Txn", self.node(), request, local=local)

    def bad_txn(self):
        kind = self.draw.choice(("many", "most", "compares", "nested", "numbers", "garbage", "quirk", "reads", "deep"))
        request = pb.TxnRequest()
        if kind in ("many", "most", "nested"):
            for i in range(129 if kind == "many" else 128 if kind == "most" else 127):
                request.success.add().request_put.key = b"t/%d" % i
            if kind == "nested":
                inner = request.success.add().request_txn
                inner.failure.add().request_range.key = b"a"
        elif kind == "compares":
            for _ in range(self.draw.choice((128, 129))):
                request.compare.add(key=b"absent", target=0, version=0)
        elif kind == "numbers":
            request.compare.add(key=self.key(), target=self.draw.choice((0, 2, 9)), result=self.draw.choice((0, 9)))
            request.success.add().request_range.key = b"a"
        elif kind == "garbage":
            return Op("Txn", self.node(), b"\x12\x05\x12\x03\x0a\xff")
        elif kind == "quirk":
            # range_end 0x00 is not read as "infinite" by the rule about duplicates
            request.success.add().request_put.key = b"k/5"
            request.success.add().request_delete_range.CopyFrom(pb.DeleteRangeRequest(key=b"a", range_end=b"\0"))
        elif kind == "reads":
            for _ in range(3):
                request.success.add().request_range.CopyFrom(self.range_request(90))
            for op in request.success:
                op.request_range.serializable = True
                op.request_range.sort_order = min(op.request_range.sort_order, 2)
                op.request_range.revision = max(op.request_range.revision, 0)
        else:
            inner = request
            for _ in range(20):
                inner = inner.success.add().request_txn
            inner.success.add().request_put.key = b"deep"
        return self.txn_op(request)

    # ---- Compact

    def compact(self):
        kind = self.draw.choices(("history", "now", "future", "compacted", "zero", "negative"),
                                 (60, 10, 6, 10, 4, 2))[0]
        revision = {"history": self.some_revision(), "now": self.revision, "future": self.revision + 1,
                    "compacted": self.compacted, "zero": 0, "negative": -1}[kind]
        return Op("Compact", self.node(), pb.CompactionRequest(revision=revision, physical=self.chance(40)),
                  detail={"check": True})

    # ---- Lease

    def grant(self):
        ttl = self.draw.randrange(100_000, TTL_MAX)
        if self.chance(6):
            ttl = self.draw.choice((TTL_MAX, TTL_MAX + 1, 1 << 62))
        return Op("LeaseGrant", self.node(), pb.LeaseGrantRequest(ID=self.draw.choice(LEASES), TTL=ttl))

    def revoke(self):
        return Op("LeaseRevoke", self.node(), pb.LeaseRevokeRequest(ID=self.lease()))

    def time_to_live(self):
        return Op("LeaseTimeToLive", self.node(), pb.LeaseTimeToLiveRequest(ID=self.lease(), keys=self.chance(60)),
                  local=True)

    def list_leases(self):
        return Op("LeaseLeases", self.node(), pb.LeaseLeasesRequest(), local=True)

    def keep_alive(self):
        ids = [self.lease() for _ in range(self.draw.randrange(1, 4))]
        return Op("LeaseKeepAlive", self.node(), local=True, detail={"ids": ids})

    # ---- Watch

    def slot(self):
        return self.draw.choice(sorted(self.streams)) if self.streams else None

    def watch_open(self):
        free = [slot for slot in range(SLOTS) if slot not in self.streams]
        if not free:
            return None
        return Op("watch.open", self.node(), detail={"slot": free[0]})

    def watch_create(self):
        slot = self.slot()
        if slot is None or sum(len(ids) for ids in self.streams.values()) >= WATCHERS_MAX:
            return None
        key, range_end = self.span()
        create = pb.WatchCreateRequest(key=key, range_end=range_end, prev_kv=self.chance(40),
                                       fragment=self.chance(25), progress_notify=self.chance(20))
        kind = self.draw.choices(("now", "history", "current", "next", "future", "compacted", "before", "negative"),
                                 (45, 25, 6, 6, 6, 8, 6, 1))[0]
        create.start_revision = {
            "now": 0, "history": self.some_revision(), "current": self.revision, "next": self.revision + 1,
            "future": self.revision + self.draw.randint(2, 30), "compacted": self.compacted,
            "before": max(0, self.compacted - self.draw.randint(1, 5)), "negative": -self.draw.randint(1, 9)}[kind]
        for filter_type in (0, 1):
            if self.chance(12):
                create.filters.append(filter_type)
        if kind == "negative":
            # an id of its own: where it is refused it must not have moved the counter of ids
            create.watch_id = (1 << 51) + self.draw.randrange(1 << 40)
        elif self.chance(20) and kind != "before":
            watch_id = self.draw.choice((1, 2, 3, 5, 1 << 50, -7))
            if watch_id not in self.spent[slot]:
                create.watch_id = watch_id
        lives = create.start_revision == 0 or create.start_revision >= max(1, self.compacted)
        return Op("watch.create", 0, pb.WatchRequest(create_request=create), local=True,
                  detail={"slot": slot, "lives": lives})

    def watch_cancel(self):
        slot = self.slot()
        if slot is None:
            return None
        ids = sorted(self.streams[slot])
        watch_id = self.draw.choice(ids) if ids and not self.chance(10) else 4711
        return Op("watch.cancel", 0, pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=watch_id)),
                  local=True, detail={"slot": slot, "known": watch_id in ids, "check": True})

    def watch_progress(self):
        slot = self.slot()
        if slot is None:
            return None
        return Op("watch.progress", 0, pb.WatchRequest(progress_request=pb.WatchProgressRequest()), local=True,
                  detail={"slot": slot, "check": True})

    def watch_close(self):
        slot = self.slot()
        return None if slot is None else Op("watch.close", 0, detail={"slot": slot, "check": True})

    def watch_nothing(self):
        slot = self.slot()
        return None if slot is None else Op("watch.nothing", 0, pb.WatchRequest(), detail={"slot": slot})

    # ---- the rest

    def hash(self):
        return Op("HashKV", self.node(), pb.HashKVRequest(revision=self.read_revision(40)), local=True)

    def hash_agree(self):
        return Op("hash.agree", 0, pb.HashKVRequest(revision=self.draw.choice((0, self.some_revision()))),
                  detail={"all": True})

    def lock(self):
        """Never one that waits: each lease has a lock of its own. None again while it may be held: see the
        known difference "lock-again"."""
        lease = self.lease()
        name = line_name(b"lock", lease)
        key = line_key(name, lease)
        if key in self.in_line or self.chance(20):
            key = key if self.chance(80) else self.key()
            return Op("Unlock", self.node(), METHODS["Unlock"].request(key=key))
        return Op("Lock", self.node(), METHODS["Lock"].request(name=name, lease=lease))

    def election(self):
        lease = self.lease()
        name = line_name(b"vote", lease)
        key = line_key(name, lease)
        kind = self.draw.choice(("Campaign", "Campaign", "Proclaim", "Leader", "Resign"))
        if kind == "Campaign" and key in self.in_line:
            kind = "Proclaim"
        request = METHODS[kind].request()
        if kind == "Campaign":
            request.name, request.lease, request.value = name, lease, self.draw.choice(VALUES)
        elif kind == "Leader":
            request.name = name
        elif not self.chance(5):
            request.leader.name, request.leader.key, request.leader.lease = name, key, lease
            request.leader.rev = self.created.get(key, 0) if self.chance(80) else self.some_revision()
            if kind == "Proclaim":
                request.value = self.draw.choice(VALUES)
        return Op(kind, self.node(), request)

    def maintenance(self):
        kind = self.draw.choice(("Alarm", "Defragment"))
        return Op(kind, self.node(), METHODS[kind].request(), local=True)

    # ---- JSON

    def json(self):
        for _ in range(20):
            op = self.next()
            if op.via == "grpc" and op.method and op.method.json_path and not isinstance(op.request, bytes) \
                    and not op.detail and op.request.ByteSize() < 1 << 16:
                op.via = "json"
                op.detail = {"form": self.draw.choice(("proto", "camel", "numbers", "extra"))}
                return op
        return None

    def bad_json(self):
        kind = self.draw.choice(("Range", "Put", "Txn") if "txn" in self.families else ("Range", "Put"))
        body = self.draw.choice(("", "{", "[]", "nonsense", '{"key":"not base64!"}', '{"key":5}', '{"key":null}',
                                 '{"key":"YQ==","limit":"x"}', '{"key":"YQ=="} trailing', '{"key":"YQ"}', '{"key":"_w=="}',
                                 '{"KEY":"YQ=="}', '{"key":"YQ==","sort_order":"UP"}', "null"))
        if body.endswith(("trailing", '"YQ"}', '"_w=="}')):
            kind = "Range"  # the sides differ in whether they take it: nothing may be written
        return Op(kind, self.node(), local=kind == "Txn", via="json", detail={"body": body})

    # ---- large requests

    def big(self):
        size = self.draw.choice((100_000, 500_000, 1_572_864 - 100, 1_572_864, 2_000_000, 2_100_000))
        return Op("Put", self.node(), pb.PutRequest(key=b"big", value=bytes(size)))
