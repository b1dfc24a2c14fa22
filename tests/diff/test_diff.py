# SPDX-License-Identifier: Apache-2.0
"""
The differential test on a fixed seed, and the test of the test: two etcds show no difference, and each
kind of fault that is put into an answer or an event stream is found and named.
"""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import sides  # noqa: E402
import diff  # noqa: E402
import watches  # noqa: E402
from generate import FAMILIES, Generator  # noqa: E402
from ops import Op, pb  # noqa: E402
from run import Failure, Run, shrink  # noqa: E402

SEED = 20
OPS = 4000


class FixedSeed(unittest.TestCase):
    def test_holdfast_is_as_etcd(self):
        left, right = diff.start_pair("holdfast")
        failure = None
        try:
            generator = Generator(SEED, FAMILIES)
            run = Run(left, right)
            run.go(generator.next, OPS, generator.learn)
        except Failure as problem:
            failure = problem
        finally:
            left.stop()
            right.stop()
        if failure is not None:
            self.fail(f"seed {SEED}, operation {failure.number}, {failure.op}\n{failure}\n"
                      f"again: make diff SEED={SEED} OPS={failure.number}")
        # not a comparison of nothing
        self.assertGreater(run.revision, OPS // 5)
        self.assertGreater(run.refused, OPS // 100)


class OfTheTest(unittest.TestCase):
    def setUp(self):
        self.sides = []

    def tearDown(self):
        for side in self.sides:
            side.stop()

    def pair(self):
        left, right = diff.start_pair("etcd")
        self.sides += [left, right]
        return left, right

    def run_altered(self, alter, families=("kv",), ops=400, seed=3):
        run = Run(*self.pair(), alter=alter)
        generator = Generator(seed, families)
        run.go(generator.next, ops, generator.learn)

    def found(self, change, want_kind=None):
        """A fault put into one answer at operation 100 or later is found there."""
        at = []

        def alter(number, op, answer):
            if number >= 100 and not at and change(op, answer):
                at.append(number)
            return answer

        with self.assertRaises(Failure) as caught:
            self.run_altered(alter)
        self.assertEqual([caught.exception.number], at)
        if want_kind:
            self.assertEqual(caught.exception.op.kind, want_kind)

    def test_two_etcds_do_not_differ(self):
        run = Run(*self.pair())
        generator = Generator(SEED, FAMILIES)
        run.go(generator.next, 2000, generator.learn)
        self.assertEqual({name for name in run.known.used if name != "progress"}, set())

    def test_a_wrong_revision_is_found(self):
        def change(op, answer):
            if op.kind != "Put" or answer.code != 0:
                return False
            answer.message.header.revision += 1
            return True
        self.found(change, "Put")

    def test_a_wrong_value_is_found(self):
        def change(op, answer):
            if op.kind != "Range" or answer.code != 0 or not answer.message.kvs or op.request.keys_only:
                return False
            answer.message.kvs[0].value += b"x"
            return True
        self.found(change, "Range")

    def test_a_missing_inner_message_is_found(self):
        """A field that is there and empty is not a field that is missing."""
        def change(op, answer):
            if op.kind != "Put" or answer.code != 0:
                return False
            answer.message.ClearField("header")
            return True
        self.found(change, "Put")

    def test_another_text_is_found(self):
        def change(_op, answer):
            if answer.code == 0:
                return False
            answer.text += "."
            return True
        self.found(change)

    def test_another_code_is_found(self):
        def change(_op, answer):
            if answer.code == 0:
                return False
            answer.code += 1
            return True
        self.found(change)

    def test_a_lost_event_is_found(self):
        """And so are one too many and a wrong one."""
        limit = watches.EVENT_LIMIT_S
        watches.EVENT_LIMIT_S = 3
        original = watches.Stream._take

        def with_fault(fault):
            def take(stream, response):
                if stream.side is self.sides[-1] and response.events and response.events[0].kv.key == b"victim":
                    fault(response)
                original(stream, response)
            return take

        def lose(response):
            del response.events[0]

        def repeat(response):
            response.events.add().CopyFrom(response.events[0])

        def change(response):
            response.events[0].kv.version += 1

        script = [Op("watch.open", 0, detail={"slot": 0}),
                  Op("watch.create", 0, pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"victim")),
                     detail={"slot": 0, "lives": True}),
                  Op("Put", 0, pb.PutRequest(key=b"victim", value=b"1")),
                  Op("watch.cancel", 0, pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=0)),
                     detail={"slot": 0, "check": True})]
        try:
            for fault in (None, lose, repeat, change):
                watches.Stream._take = with_fault(fault) if fault else original
                waiting = iter(script)
                run = Run(*self.pair())
                if fault is None:
                    run.go(lambda: next(waiting), len(script))
                    continue
                with self.assertRaises(Failure, msg=fault.__name__) as caught:
                    run.go(lambda: next(waiting), len(script))
                self.assertEqual(caught.exception.op.kind, "watch.cancel")
        finally:
            watches.Stream._take = original
            watches.EVENT_LIMIT_S = limit

    def test_a_difference_is_shrunk(self):
        """Of 24 operations the two that matter are left."""
        state = {}

        def alter(number, op, answer):
            if number == 1:
                state.clear()
            if op.kind == "Put" and op.request.key == b"cause":
                state["put"] = True
            if op.kind == "Range" and op.request.key == b"effect" and "put" in state:
                answer.message.count += 1
            return answer

        script = [Op("Put", 0, pb.PutRequest(key=b"k%d" % i)) for i in range(24)]
        script[5] = Op("Put", 0, pb.PutRequest(key=b"cause"))
        script[20] = Op("Range", 0, pb.RangeRequest(key=b"effect"))

        def start():
            return diff.start_pair("etcd")

        best, failure = shrink(start, script, lambda text: None, alter=alter)
        self.assertEqual([op.request.key for op in best], [b"cause", b"effect"])
        self.assertEqual(failure.number, 2)

    def test_operations_are_kept_as_they_are(self):
        generator = Generator(5, FAMILIES)
        generator.streams, generator.spent = {0: {1}}, {0: set()}
        for _ in range(2000):
            op = generator.next()
            if op.kind in ("watch.open", "watch.close"):
                continue
            again = Op.from_json(op.to_json())
            self.assertEqual((str(again), again.request, again.local, again.via, again.detail),
                             (str(op), op.request, op.local, op.via, op.detail))


class Page(unittest.TestCase):
    def test_the_page_holds_the_table(self):
        page, wanted = diff.page_with_table()
        self.assertEqual(page, wanted, "docs/compatibility.md is not what make diff-docs writes")

    def test_the_page_holds_the_table_of_clients(self):
        script = os.path.join(sides.e2e.ROOT, "tests", "e2e", "client_table.py")
        code, _, err = sides.e2e.run([sys.executable, script, "--check"])
        self.assertEqual(code, 0, err)


if __name__ == "__main__":
    sides.in_memory()
    sides.e2e.main()
