#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
reads.py: what linearizable reads at all three nodes cost the leader: its messages from and to other nodes, and its
processor time, for 1,000 reads. holdfast beside Debian's etcd, and beside an older build if one is given.

    tests/bench/reads.py [--rounds N] [--reads N] [--before DIRECTORY] [--write]

DIRECTORY holds another holdfastd. --write puts the table into docs/benchmarks.md, in place of the one before (make bench-reads). The load is `holdfastctl bench get`: connections dealt out over the nodes, so two
thirds of the reads come in at followers. The systems take turns.

A message here is a TCP segment with data on the leader's connections to other nodes, as `ss` counts them: one count
for all systems that needs nothing from them. Small messages that leave together are one segment, which is what they cost.
"""
import argparse
import datetime
import os
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import bench  # noqa: E402
import document  # noqa: E402
import rpc  # noqa: E402

e2e = bench.e2e
SHAPES = ((3, 1), (9, 10), (99, 10))
FIELDS = ("sent", "received", "leader_ms", "all_ms", "per_second", "p50_us", "p99_us")
BEGIN, END = "<!-- reads.py begins -->", "<!-- reads.py ends -->"


class Leased(bench.Holdfast):
    """Leaders read by leases."""

    name = "holdfast, leader_lease"

    def __init__(self):
        plain = e2e.config_text
        e2e.config_text = lambda *words, **more: plain(*words, **more).replace("raft = { ", "raft = { leader_lease = true; ")
        try:
            super().__init__()
        finally:
            e2e.config_text = plain


def pid_at(system, address):
    return system.pids[system.addresses.index(address)]


def peer_segments(pid, peers):
    """(sent, received) segments with data on the process's connections to the other nodes' processes."""
    out = subprocess.run(["ss", "-tinpH", "state", "established"], capture_output=True, text=True, check=True).stdout
    lines = out.splitlines()
    ends = {}  # (local, remote) -> pids, counts
    for head, info in zip(lines, lines[1:]):
        words = head.split()
        found = re.search(r"pid=(\d+)", head)
        if found is None or not info.startswith(("\t", " ")):
            continue
        counts = [int((re.search(rf"\bdata_segs_{way}:(\d+)", info) or [0, 0])[1]) for way in ("out", "in")]
        ends[(words[2], words[3])] = int(found[1]), counts
    sent = received = 0
    for (local, remote), (owner, counts) in ends.items():
        other = ends.get((remote, local))
        if owner == pid and other is not None and other[0] in peers:
            sent += counts[0]
            received += counts[1]
    return sent, received


def measure(system, reads):
    addresses = bench.leader_first(system)
    with rpc.Client(addresses[0]) as client:
        client.put(bench.KEY, bench.VALUE)
    leader = pid_at(system, addresses[0])
    peers = set(system.pids) - {leader}
    results = {}
    for connections, streams in SHAPES:
        count = reads if connections > 3 else reads // 5
        bench.ctl_bench(system, addresses, "get", connections, streams, count // 10, 1)  # warm
        busy, all_busy = bench.processor_s([leader]), bench.processor_s(system.pids)
        before = peer_segments(leader, peers)
        result = bench.ctl_bench(system, addresses, "get", connections, streams, count, 1)
        after = peer_segments(leader, peers)
        thousands = count / 1000
        results[(connections, streams)] = {
            "sent": (after[0] - before[0]) / thousands, "received": (after[1] - before[1]) / thousands,
            "leader_ms": (bench.processor_s([leader]) - busy) * 1000 / thousands,
            "all_ms": (bench.processor_s(system.pids) - all_busy) * 1000 / thousands,
            "per_second": result["per_second"], "p50_us": result["p50_us"], "p99_us": result["p99_us"]}
        print(f"    {system.name:24} {connections}x{streams}: " + "  ".join(
            f"{name} {value:.1f}" for name, value in results[(connections, streams)].items()), flush=True)
    assert bench.leader_first(system)[0] == addresses[0], f"{system.name}: the leader changed"
    return results


def figure(value):
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def section(arguments, runs, names, other_work):
    lines = ["## What reads at all nodes cost the leader", "",
             f"`make bench-reads` ({arguments.rounds} rounds of {arguments.reads:,} reads), {datetime.date.today()}, three nodes each, "
             "`holdfastctl bench get` with its",
             "connections dealt out over the nodes, so two thirds of the linearizable reads come in at followers. Medians of the rounds, the",
             f"systems taking turns; other work took {other_work * 100:.0f} % of the {os.cpu_count()} processors. *Sent* and *received* are TCP "
             "segments with data on the",
             "leader's connections to the other nodes.", "",
             "| per 1,000 reads, connections x streams | sent by the leader | received | its CPU ms | all nodes' CPU ms | reads /s | "
             "p50 us | p99 us |", "|---|--:|--:|--:|--:|--:|--:|--:|"]
    middle = {}
    for shape in SHAPES:
        for name in names:
            middle[name, shape] = {f: statistics.median(r[shape][f] for r in runs[name]) for f in FIELDS}
            lines.append(f"| {name}, {shape[0]}x{shape[1]} | "
                         + " | ".join(figure(middle[name, shape][f]) for f in FIELDS) + " |")
    lines += ["", "Against etcd (less is less work):", "",
              "| holdfast / etcd | messages of the leader, both ways | its CPU | reads /s |", "|---|--:|--:|--:|"]
    for shape in SHAPES:
        ours, theirs = middle["holdfast", shape], middle["etcd", shape]
        messages = (ours["sent"] + ours["received"]) / (theirs["sent"] + theirs["received"])
        lines.append(f"| {shape[0]}x{shape[1]} | {messages:.2f} | {ours['leader_ms'] / theirs['leader_ms']:.2f} | "
                     f"{ours['per_second'] / theirs['per_second']:.1f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description="What reads at all nodes cost the leader.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reads", type=int, default=60000)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    parser.add_argument("--before", metavar="DIRECTORY", help="with another holdfastd in it")
    arguments = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} before the start", flush=True)
    work = bench.ForeignWork()
    kinds = [(bench.Holdfast, e2e.HOLDFASTD), (Leased, e2e.HOLDFASTD), (bench.Etcd, e2e.HOLDFASTD)]
    if arguments.before:
        before = type("Before", (bench.Holdfast,), {"name": "holdfast before"})
        kinds.insert(0, (before, os.path.join(os.path.abspath(arguments.before), "holdfastd")))
    runs = {kind.name: [] for kind, _ in kinds}
    try:
        for number in range(arguments.rounds):
            for kind, program in kinds if number % 2 == 0 else reversed(kinds):
                e2e.HOLDFASTD = program
                system = kind()
                try:
                    runs[kind.name].append(measure(system, arguments.reads))
                finally:
                    system.stop()
    finally:
        e2e.close_all()
    text = section(arguments, runs, [kind.name for kind, _ in kinds], work.share())
    print("\n" + text)
    if arguments.write:
        document.replace_section(bench.DOCUMENT, BEGIN, END, "\n" + text)


if __name__ == "__main__":
    main()
