#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
diff.py: the differential test. The same random operations go to three nodes of holdfast and to Debian's
etcd; answers, errors, revisions and event streams are compared field by field. See run.py for the order of
things, generate.py for what is drawn, differences.py for what may differ and why.

    make diff                    100,000 operations from a fresh seed
    make diff SEED=17 OPS=5000   the run that was reported
    make diff SEED=17 OPS=5000 SHRINK=1     and leave out what the difference does not need
    make diff PAUSES=1                      nodes are stopped during the run, the leader too

A difference ends the run with exit code 1 and prints the seed, the operation's number, the operation and both
answers; all operations up to there are kept in a file that --replay runs again.
"""
import argparse
import os
import random
import signal
import sys
import threading
import time

import sides
import document
from differences import as_text
from generate import FAMILIES, Generator
from run import Failure, Run, replay, save, shrink
import ops as operations

ROOT = sides.e2e.ROOT
PAGE = os.path.join(ROOT, "docs", "compatibility.md")
BEGIN, END = "<!-- made by make diff-docs: begin -->\n", "<!-- made by make diff-docs: end -->\n"


def page_with_table():
    """The page as it is, and as it should be."""
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    return page, document.with_section(page, BEGIN, END, as_text())


def start_pair(against):
    left = sides.start_etcd()
    right = sides.start_etcd("etcd again") if against == "etcd" else sides.start_holdfast()
    return left, right


class Pauses:
    """Stops one node of holdfast after the other for longer than an election timeout, the leader too, while
    the run goes on: answers and events must be the same."""

    EVERY_S, FOR_S = 3, 2.5

    def __init__(self, cluster, seed):
        self.count = 0
        self._nodes = list(cluster)
        self._draw = random.Random(seed)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._end.wait(self.EVERY_S):
            node = self._draw.choice(self._nodes)
            node.pause()
            self._end.wait(self.FOR_S)
            node.resume()
            self.count += 1

    def stop(self):
        self._end.set()
        self._thread.join()


def summary(run, seconds):
    total = sum(run.count.values())
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(run.count.items(), key=lambda i: -i[1]))
    print(f"{total} operations in {seconds:.0f} s ({total / max(seconds, 0.001):.0f} a second), "
          f"{run.refused} refused by both, revision {run.revision}: {kinds}")
    if run.again:
        print(f"{run.again} reads were asked again after a change of leaders")
    for name, count in sorted(run.known.used.items()):
        print(f"known difference {name}: {count} times")


def report(args, failure, run, families):
    place = os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "diff")
    os.makedirs(place, exist_ok=True)
    path = os.path.join(place, f"seed-{args.seed}.ops")
    done = run.done[: failure.number]
    save(path, done)
    print(f"\nDIFFERENCE at operation {failure.number} of seed {args.seed}: {failure.op}\n{failure}\n"
          f"again:  make diff SEED={args.seed} OPS={failure.number} FAMILIES={','.join(families)}\n"
          f"kept:   {path}   (tests/diff/diff.py --replay {path})", flush=True)
    return done, path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--ops", type=int, default=100_000)
    parser.add_argument("--families", default=",".join(FAMILIES), help="some of: " + ",".join(FAMILIES))
    parser.add_argument("--against", choices=("holdfast", "etcd"), default="holdfast",
                        help="etcd: a second etcd stands in for holdfast, a test of the test")
    parser.add_argument("--replay", metavar="FILE", help="run the operations in FILE")
    parser.add_argument("--shrink", action="store_true", help="after a difference, look for fewer operations")
    parser.add_argument("--pauses", action="store_true", help="stop nodes for a while during the run, the leader too")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/compatibility.md")
    args = parser.parse_args()
    if args.docs:
        page, wanted = page_with_table()
        if page != wanted:
            with open(PAGE, "w", encoding="utf-8") as file:
                file.write(wanted)
        return 0

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sides.in_memory()
    if args.seed is None:
        args.seed = int.from_bytes(os.urandom(3), "big")
    families = tuple(args.families.split(","))
    left, right = start_pair(args.against)
    began = time.monotonic()
    failure = None
    run = Run(left, right)
    pauses = Pauses(right.cluster, args.seed) if args.pauses else None
    try:
        if args.replay:
            run = replay(left, right, operations.load(args.replay))
        else:
            print(f"seed {args.seed}, {args.ops} operations, families {','.join(families)}", flush=True)
            generator = Generator(args.seed, families)
            run.go(generator.next, args.ops, generator.learn, report=10_000)
    except Failure as problem:
        failure = problem
        if args.replay:
            print(f"\nDIFFERENCE at operation {failure.number}: {failure.op}\n{failure}")
    finally:
        if pauses is not None:
            pauses.stop()
            print(f"{pauses.count} times a node was stopped for {pauses.FOR_S} s")
        try:
            left.stop()
            right.stop()
        except AssertionError as problem:
            print(problem)
            failure = failure or Failure(0, None, str(problem))
    if failure is None:
        summary(run, time.monotonic() - began)
        return 0
    if not args.replay:
        done, path = report(args, failure, run, families)
        if args.shrink:
            best, last = shrink(lambda: start_pair(args.against), done, lambda text: print(text, flush=True))
            save(path + ".shrunk", best)
            print(f"\n{len(best)} operations are enough ({path}.shrunk):")
            for op in best[-60:]:
                print(f"  {op}")
            print(last or failure)
    return 1


if __name__ == "__main__":
    sys.exit(main())
