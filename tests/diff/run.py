# SPDX-License-Identifier: Apache-2.0
"""
run.py: send operations to both sides in the same order and compare what comes back.

Reads that follow each other are under way together; a write goes alone, so that both sides do the same
things in the same order. An operation that a node answers from its own state is sent when that node has
applied the last write: the node that answered the write has, another one has after a linearizable read.
"""
import json
import time

from google.protobuf import json_format

import compare
import ops as operations
from compare import Difference
from differences import Known
from ops import METHODS, Op, pb
from sides import Answer, BadHeader
from watches import Watching

READS_TOGETHER = 8

# A read that a change of leaders ended is asked again, as etcd's own client does; a machine that stalls for an
# election timeout is no difference. So often at most.
AGAIN_MAX = 30
UNAVAILABLE = 14


class Failure(Exception):
    def __init__(self, number, op, text):
        super().__init__(text)
        self.number = number
        self.op = op


class Run:
    """
    left    the oracle
    right   what is compared with it
    alter   None, or a function (number, op, answer) -> answer over the right side's answers: a test of the test
    """

    def __init__(self, left, right, alter=None):
        self.left = left
        self.right = right
        self.known = Known()
        self.watching = Watching(left, right, self.known)
        self.alter = alter
        self.revision = 1
        self.compacted = 0
        self.fresh = set(range(len(right.addresses)))
        self.done = []  # what was run, to be kept when it fails
        self.count = {}
        self.refused = 0
        self.again = 0
        self._reads = []

    def go(self, source, count, learn=lambda op, answer: None, report=None):
        """Run `count` operations that source() gives; learn() is told each answer of the left side."""
        try:
            self._guarded(0, None, self.watching.start)
            began = time.monotonic()
            for number in range(1, count + 1):
                op = source()
                self.done.append(op)
                self._step(number, op, learn)
                if report and number % report == 0:
                    rate = number / (time.monotonic() - began)
                    print(f"{number} operations, revision {self.revision}, {rate:.0f} a second", flush=True)
            self._flush(learn)
            self._guarded(count, None, lambda: self.watching.check(self.revision, self.compacted))
        finally:
            self.watching.stop()

    def _step(self, number, op, learn):
        self.count[op.kind] = self.count.get(op.kind, 0) + 1
        if op.write:
            self._flush(learn)
            answer = self._guarded(number, op, lambda: self._alone(number, op))
            self._note(op, answer)
            learn(op, answer)
            return

        def send():
            if op.local:
                self._freshen(op.node)
            return (self.left.send(op.node, op.method, op.request), self.right.send(op.node, op.method, op.request))

        self._reads.append((number, op, self._guarded(number, op, send)))
        if len(self._reads) >= READS_TOGETHER:
            self._flush(learn)

    def _flush(self, learn):
        reads, self._reads = self._reads, []
        for number, op, (left, right) in reads:
            learn(op, self._guarded(number, op, lambda left=left, right=right, number=number, op=op: self._compare(
                number, op, self._read(self.left, op, left), self._read(self.right, op, right))))

    def _read(self, side, op, pending):
        answer = side.wait(pending)
        for _ in range(AGAIN_MAX):
            if answer.code != UNAVAILABLE:
                break
            self.again += 1
            answer = side.wait(side.send(op.node, op.method, op.request))
        return answer

    def _guarded(self, number, op, action):
        try:
            return action()
        except (Difference, BadHeader) as problem:
            raise Failure(number, op, str(problem)) from None

    def _compare(self, number, op, left, right):
        if self.alter is not None:
            right = self.alter(number, op, right)
        if left.code not in (0, 200):
            self.refused += 1
        compare.answers(op, left, right, self.known)
        return left

    def _note(self, op, answer):
        """Where the store is now, by the oracle."""
        if answer is None or answer.code not in (0, 200):
            return
        revision = self.revision
        if op.via == "json":
            header = answer.message.get("header", {}) if isinstance(answer.message, dict) else {}
            revision = int(header.get("revision", 0))
        elif hasattr(answer.message, "header"):
            revision = answer.message.header.revision
        method = op.method
        if method is not None and method.write:
            self.fresh = {self.right.node(op.node)}
        self.revision = max(self.revision, revision)
        if op.kind == "Compact":
            self.compacted = max(self.compacted, op.request.revision)

    def _freshen(self, node):
        """Make sure that `node` of the right side has applied all that was acknowledged."""
        node = self.right.node(node)
        if node not in self.fresh:
            op = Op("Range", node, pb.RangeRequest(key=b"\0", count_only=True))
            answer = self._read(self.right, op, self.right.send(node, op.method, op.request))
            if answer.code != 0:
                raise Difference(f"{self.right.name}: a read answered {compare.shown(answer)}")
            self.fresh.add(node)

    # ---- operations that go alone

    def _alone(self, number, op):
        if op.detail.get("check"):
            self.watching.check(self.revision, self.compacted)
        if op.kind.startswith("watch."):
            return getattr(self, op.kind.replace(".", "_"))(number, op)
        if op.kind == "hash.agree":
            return self._hash_agree(op)
        if op.local:
            self._freshen(op.node)
        if op.via == "json":
            body = op.detail.get("body") if "body" in op.detail else json_body(op.request, op.detail["form"])
            path = op.method.json_path
            left, right = self.left.post(op.node, path, body), self.right.post(op.node, path, body)
            return self._compare(number, op, self.left.posted(left), self.right.posted(right))
        if op.kind == "LeaseKeepAlive":
            requests = [pb.LeaseKeepAliveRequest(ID=lease) for lease in op.detail["ids"]]
            return self._compare(number, op, self.left.exchange(op.node, op.method, requests),
                                 self.right.exchange(op.node, op.method, requests))
        left, right = self.left.send(op.node, op.method, op.request), self.right.send(op.node, op.method, op.request)
        return self._compare(number, op, self.left.wait(left), self.right.wait(right))

    def _hash_agree(self, op):
        """All nodes of a side have one hash at one revision."""
        for side in (self.left, self.right):
            answers = []
            for node in range(len(side.addresses)):
                if side is self.right:
                    self._freshen(node)
                answers.append(side.wait(side.send(node, METHODS["HashKV"], op.request)))
            forms = {(a.code, a.text, a.message and (a.message.hash, a.message.compact_revision, a.message.hash_revision))
                     for a in answers}
            if len(forms) != 1:
                raise Difference(f"{side.name}: hashes differ: {'; '.join(compare.shown(a) for a in answers)}")

    def watch_open(self, _number, op):
        self.watching.open(op.detail["slot"], op.node)
        return Answer(0, "", None)

    def watch_close(self, _number, op):
        self.watching.close(op.detail["slot"])
        return Answer(0, "", None)

    def watch_nothing(self, _number, op):
        self.watching.request(op.detail["slot"], op.request)

    def watch_create(self, number, op):
        slot = op.detail["slot"]
        pair = self.watching.pairs[slot]
        self._freshen(pair.node)
        create = op.request.create_request
        if create.start_revision < 0:
            for stream in pair.streams:
                stream.negative.add(create.watch_id)
        self.watching.request(slot, op.request)
        left, right = pair.control()
        answer = self._compare(number, op, left, right)
        alive = [a.message.created and not a.message.canceled for a in (left, right)]
        if create.start_revision < 0:
            for i, stream in enumerate(pair.streams):
                if alive[i]:
                    stream.send(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=create.watch_id)))
                    pair.controls[i] += 1
                    want = pair.controls[i]
                    stream.wait(lambda s, want=want: len(s.control) >= want, "cancelled")
        elif alive[0] and 0 < create.start_revision < self.compacted:
            self._compare(number, op, *pair.control())
        elif alive[0]:
            self.watching.created(slot, create, answer, self.revision, self.compacted)
        return answer

    def watch_cancel(self, number, op):
        slot = op.detail["slot"]
        pair = self.watching.pairs[slot]
        self._freshen(pair.node)
        watch_id = op.request.cancel_request.watch_id
        self.watching.request(slot, op.request)
        if watch_id in pair.watchers:
            self._compare(number, op, *pair.control())
            self.watching.forget(slot, watch_id)
        return Answer(0, "", None)

    def watch_progress(self, number, op):
        slot = op.detail["slot"]
        pair = self.watching.pairs[slot]
        self._freshen(pair.node)
        left, right = pair.streams
        before = len(left.progress), len(right.progress)
        self.watching.request(slot, op.request)
        left.wait(lambda s: len(s.progress) > before[0], "progress")
        if not self.watching.expects_progress(slot, self.revision):
            self.known.count("progress")
            return None
        right.wait(lambda s: len(s.progress) > before[1], "progress")
        self._compare(number, op, Answer(0, "", left.progress[before[0]]), Answer(0, "", right.progress[before[1]]))
        return None


def json_body(request, form):
    """The request as JSON: names of the proto or lowerCamel, numbers as text or as numbers, unknown fields."""
    value = json_format.MessageToDict(request, preserving_proto_field_name=form != "camel",
                                      use_integers_for_enums=form == "numbers")
    if form == "numbers":
        value = _numbers(value, request)
    if form == "extra":
        value["nobody_knows"] = {"this": [1, None]}
    return json.dumps(value)


def _numbers(value, message):
    fields = {f.name: f for f in message.DESCRIPTOR.fields}
    for name, part in value.items():
        field = fields[name]
        if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64) and isinstance(part, str):
            value[name] = int(part)
        elif field.message_type is not None:
            child = getattr(message, name)
            if isinstance(part, list):
                value[name] = [_numbers(p, c) for p, c in zip(part, child)]
            else:
                value[name] = _numbers(part, child)
    return value


def replay(left, right, ops, alter=None):
    """Run recorded operations; those that no longer make sense without the ones before are left out."""
    run = Run(left, right, alter)
    kept = []
    streams = {}
    for op in ops:
        if op.kind.startswith("watch."):
            slot = op.detail["slot"]
            if op.kind == "watch.open":
                if slot in streams:
                    continue
                streams[slot] = True
            elif slot not in streams:
                continue
            elif op.kind == "watch.close":
                del streams[slot]
        kept.append(op)
    waiting = iter(kept)
    run.go(lambda: next(waiting), len(kept))
    return run


def shrink(start_pair, ops, say, tries_max=60, alter=None):
    """
    Leave out what the difference does not need: halves first, then smaller pieces. Each try gets servers of
    its own, so revisions start at 1 again. Returns the operations that still differ, and the last Failure.
    """
    best, failure = ops, None
    tries = 0

    def fails(candidate):
        nonlocal failure, tries
        tries += 1
        left, right = start_pair()
        try:
            replay(left, right, candidate, alter)
            return False
        except Failure as problem:
            failure = problem
            return True
        finally:
            left.stop()
            right.stop()

    size = max(1, len(best) // 2)
    while tries < tries_max:
        cut = False
        at = 0
        while at < len(best) and tries < tries_max:
            candidate = best[:at] + best[at + size:]
            if candidate and fails(candidate):
                best = candidate[: failure.number] if failure.number else candidate
                cut = True
                say(f"shrunk to {len(best)} operations after {tries} tries")
            else:
                at += size
        if size == 1 and not cut:
            break
        size = max(1, size // 2)
    return best, failure


def save(path, ops):
    operations.save(path, ops)
