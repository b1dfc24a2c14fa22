# SPDX-License-Identifier: Apache-2.0
"""
watches.py: watch streams open on both sides at once, and when their events can be compared.

What events are due is known from one more watcher on the oracle: the whole store from its first revision, the log.
A check waits until both sides have delivered as many events to each watcher as the log says, then compares
them one by one: type, kv, prev_kv. An event too many shows at the next check; one too few ends the wait.

 1. How history is cut into responses is nobody's promise, and a live watcher that lags is served from history:
    events are compared flat. On each side by itself: header.revision is not below the events, and only who
    asked for fragments gets them. What a watcher gets that keeps up is in test_scenarios.py.
 2. Before a compaction and before a progress request every watcher must have reached the present, or the
    answer depends on the server's pace. A probe on the stream shows it: a further watcher on history,
    served after those that were there before.
 3. Events *at* the compacted revision are compared by the known difference "tombstone".
 4. A watcher with a negative start revision is cancelled at once where it is taken. etcd 3.4 looks at those that are
    behind every tenth of a second and may have found it compacted by then: it answers the cancel and that.
"""
import bisect
import queue
import threading
import time

import grpc

from compare import Difference
from ops import METHODS, pb
from sides import Answer

# The first watch id of probes; each has its own, as etcd keeps that of a watcher cancelled as compacted.
PROBE = 1 << 60
# Keys that one operation changes, at most.
EDGE_MAX = 1000
# How long an event may take; only a broken program needs as long.
EVENT_LIMIT_S = 30


class Stream:
    """One watch call to one node; a thread takes its responses apart."""

    def __init__(self, side, node):
        self.side = side
        self.node = side.node(node)
        self._requests = queue.SimpleQueue()
        self._changed = threading.Condition()
        self.control = []  # created and cancelled, in order
        self.progress = []
        self.negative = set()  # watch ids asked for with a negative start revision
        self.events = {}  # watch id: list of (response header revision, fragment, event)
        self.ended = None
        method = METHODS["Watch"]
        call = side.clients[self.node].channel.stream_stream(
            method.path, request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=method.answer.FromString)
        self._call = call(iter(self._requests.get, None))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def send(self, request):
        self._requests.put(request)

    def _read(self):
        try:
            for response in self._call:
                self.side.own(self.node, response)
                with self._changed:
                    self._take(response)
                    self._changed.notify_all()
            problem = "ended in order"
        except grpc.RpcError as error:
            problem = f"{error.code()}: {error.details()}"
        except Exception as error:  # pylint: disable=broad-except  (shown where the stream is waited for)
            problem = repr(error)
        with self._changed:
            self.ended = problem
            self._changed.notify_all()

    def _take(self, response):
        if response.canceled and response.compact_revision and response.watch_id in self.negative:
            return  # etcd 3.4 says "from now" and then, if it comes to it before the cancel, "compacted" (4)
        if response.created or response.canceled:
            if response.created and not response.canceled:
                self.events[response.watch_id] = []
            self.control.append(response)
        elif response.events:
            row = self.events.setdefault(response.watch_id, [])
            row.extend((response.header.revision, response.fragment, event) for event in response.events)
        elif response.watch_id == -1:
            self.progress.append(response)

    def wait(self, condition, what):
        end = time.monotonic() + EVENT_LIMIT_S
        with self._changed:
            while not condition(self):
                left = end - time.monotonic()
                if self.ended is not None:
                    raise Difference(f"{self.side.name}: the watch stream {self.ended}, but was to bring {what}")
                if left <= 0:
                    raise Difference(f"{self.side.name}: the watch stream did not bring {what} in {EVENT_LIMIT_S} s")
                self._changed.wait(left)

    def close(self):
        self._call.cancel()
        self._requests.put(None)
        self._thread.join(EVENT_LIMIT_S)


class Watcher:
    def __init__(self, create, floor, edge):
        self.edge = edge  # begins at the compacted revision, which is `floor`
        self.key = create.key or b"\0"
        self.range_end = create.range_end
        self.filters = set(create.filters)
        self.floor = floor  # events after this revision are due
        self.fragment = create.fragment
        self.due = 0
        self.seen = [0, 0]
        self.log_position = None

    def __str__(self):
        return (f"key {self.key!r} range_end {self.range_end!r} filters {sorted(self.filters)} events after revision "
                f"{self.floor}{' and puts at it' if self.edge else ''}")

    def wants(self, event):
        kind, key, _ = event
        if kind in self.filters:
            return False
        if not self.range_end:
            return key == self.key
        return key >= self.key and (self.range_end == b"\0" or key < self.range_end)


class Pair:
    """One stream on each side."""

    def __init__(self, left, right, node):
        self.streams = (Stream(left, node), Stream(right, node))
        self.node = node
        self.watchers = {}
        self.unsynced = False
        self.controls = [0, 0]
        self.probe = PROBE
        self.future = {}  # start revisions in the future, by watch id

    def control(self):
        """The next created or cancelled of each side, as Answers."""
        answers = []
        for i, stream in enumerate(self.streams):
            want = self.controls[i] + 1
            stream.wait(lambda s, want=want: len(s.control) >= want, "an answer to the request")
            self.controls[i] = want
            answers.append(Answer(0, "", stream.control[want - 1]))
        return answers

    def close(self):
        for stream in self.streams:
            stream.close()


class Watching:
    def __init__(self, left, right, known):
        self.left = left
        self.right = right
        self.known = known
        self.pairs = {}
        self._reference = None
        self.log = []  # (type, key, revision)
        self.log_revisions = []

    def start(self):
        """Watch the log. Called on an empty store, so that no history has to be caught up with."""
        if self._reference is None:
            self._reference = Stream(self.left, 0)
            self._reference.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(
                key=b"\0", range_end=b"\0")))
            self._reference.wait(lambda s: s.control, "created")

    def open(self, slot, node):
        self.pairs[slot] = Pair(self.left, self.right, node)

    def close(self, slot):
        self.pairs.pop(slot).close()

    def request(self, slot, request):
        for stream in self.pairs[slot].streams:
            stream.send(request)

    def created(self, slot, create, answer, revision, compacted):
        """The oracle's answer to a create: note the watcher and what is due to it."""
        pair = self.pairs[slot]
        start = create.start_revision
        edge = 0 < start == compacted
        floor = answer.message.header.revision if start <= 0 else start if edge else start - 1
        watcher = Watcher(create, floor, edge)
        pair.watchers[answer.message.watch_id] = watcher
        if 0 < start <= revision:
            pair.unsynced = True
        if start > revision:
            pair.future[answer.message.watch_id] = start

    def forget(self, slot, watch_id):
        self.pairs[slot].watchers.pop(watch_id, None)
        self.pairs[slot].future.pop(watch_id, None)

    # ---- checks

    def check(self, revision, compacted):
        """Wait for what is due up to `revision` and compare it."""
        if not self.pairs:
            return
        if revision > 1:
            self._reference.wait(lambda s: s.events.get(0) and s.events[0][-1][2].kv.mod_revision >= revision,
                                 f"the log up to revision {revision}")
        for _, _, event in self._reference.events.get(0, ())[len(self.log):]:
            self.log.append((event.type, event.kv.key, event.kv.mod_revision))
            self.log_revisions.append(event.kv.mod_revision)
        for slot, pair in sorted(self.pairs.items()):
            for watch_id, watcher in sorted(pair.watchers.items()):
                self._check_watcher(slot, pair, watch_id, watcher)
            if pair.unsynced:
                self._probe(slot, pair, revision, compacted)
            for i, stream in enumerate(pair.streams):
                if len(stream.control) > pair.controls[i]:
                    first = pair.controls[i]
                    told = "\n".join(str(answer) for answer in stream.control[max(0, first - 3):first])
                    raise Difference(f"{stream.side.name}, slot {slot}: not asked for: {stream.control[first]}\n"
                                     f"and before it:\n{told}")

    def _check_watcher(self, slot, pair, watch_id, watcher):
        if watcher.log_position is None:
            watcher.log_position = bisect.bisect_right(self.log_revisions, watcher.floor)
            if watcher.edge:
                watcher.due += self._due_at(watcher)
        while watcher.log_position < len(self.log):
            event = self.log[watcher.log_position]
            watcher.due += event[2] > watcher.floor and watcher.wants(event)
            watcher.log_position += 1
        rows = []
        for i, stream in enumerate(pair.streams):
            def arrived(s):
                events = s.events.get(watch_id, ())
                edge = sum(1 for _, _, e in events[:EDGE_MAX] if e.type and e.kv.mod_revision <= watcher.floor)
                return len(events) - edge >= watcher.due
            stream.wait(arrived, f"event {watcher.due} of watcher {watch_id} in slot {slot} ({watcher})")
            events = stream.events.get(watch_id, [])
            rows.append(events[watcher.seen[i]:])
            watcher.seen[i] = len(events)
            self._check_form(stream, watch_id, watcher, rows[i])
        left, right = rows
        if watcher.edge and any(row and row[0][2].kv.mod_revision <= watcher.floor for row in (left, right)):
            left, right = self._take_edge(watcher.floor, left), self._take_edge(watcher.floor, right)
        if len(left) == len(right) and all(a[2] == b[2] for a, b in zip(left, right)):
            return
        if not self.known.watch_events(watcher, [e for _, _, e in left], [e for _, _, e in right]):
            first = next((i for i, (a, b) in enumerate(zip(left, right)) if a[2] != b[2]), min(len(left), len(right)))
            raise Difference(f"watcher {watch_id} in slot {slot} ({watcher}) got other events, the first of them number "
                             f"{first} of {len(left)} and {len(right)} since the last check:\n"
                             f"{self.left.name}: {_shown(left, first)}\n{self.right.name}: {_shown(right, first)}")

    def _due_at(self, watcher):
        """Puts at the compacted revision that were not undone in it; deletions there are not counted on."""
        last = {}
        for event in self.log[bisect.bisect_left(self.log_revisions, watcher.floor):watcher.log_position]:
            last[event[1]] = event
        return sum(1 for event in last.values() if event[0] == 0 and watcher.wants(event))

    def _take_edge(self, floor, row):
        """Without deletions at the compacted revision: see the known difference "tombstone"."""
        kept = [r for r in row if r[2].kv.mod_revision > floor or r[2].type == 0]
        if len(kept) != len(row):
            self.known.count("tombstone")
        return kept

    def _check_form(self, stream, watch_id, watcher, row):
        """What one side promises by itself about its responses."""
        for header_revision, fragment, event in row:
            at = event.kv.mod_revision
            if header_revision < at:
                raise Difference(f"{stream.side.name}: watcher {watch_id}: header.revision {header_revision} "
                                 f"with an event of revision {at}")
            if fragment and not watcher.fragment:
                raise Difference(f"{stream.side.name}: watcher {watch_id} got a fragment and did not ask for it")

    def _probe(self, slot, pair, revision, compacted):
        """Every watcher of the stream has reached the present (2)."""
        pair.probe += 1
        probe = pair.probe
        create = pb.WatchCreateRequest(key=b"\0", range_end=b"\0", watch_id=probe,
                                       start_revision=1 if compacted > 1 else max(revision, 1))
        self.request(slot, pb.WatchRequest(create_request=create))
        pair.control()
        if compacted > 1:
            pair.control()  # cancelled as compacted
        else:
            for stream in pair.streams:
                if revision > 1:
                    stream.wait(lambda s: s.events.get(probe), "the probe's event")
            self.request(slot, pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=probe)))
            pair.control()
        pair.unsynced = False

    def expects_progress(self, slot, revision):
        pair = self.pairs[slot]
        return bool(pair.watchers) and not any(start > revision for start in pair.future.values())

    def stop(self):
        for slot in list(self.pairs):
            self.close(slot)
        if self._reference is not None:
            self._reference.close()


def _shown(row, first, most=6):
    """Some events from number `first` on."""
    text = []
    for _, _, event in row[first:first + most]:
        part = f"{'DELETE' if event.type else 'PUT'} {event.kv.key[:40]!r}@{event.kv.mod_revision}"
        if not event.type:
            part += f" created {event.kv.create_revision} version {event.kv.version} lease {event.kv.lease} {event.kv.value[:20]!r}"
        if event.HasField("prev_kv"):
            part += f" before {event.prev_kv.create_revision}/{event.prev_kv.mod_revision}/{event.prev_kv.version} " \
                    f"lease {event.prev_kv.lease} {event.prev_kv.value[:20]!r}"
        text.append(part)
    return ", ".join(text) or "nothing"
