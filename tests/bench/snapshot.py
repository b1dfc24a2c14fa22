#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
snapshot.py: a node joins a cluster of three whose store is large, while puts go on: what the puts notice, how long it takes,
and what it costs in memory, processor time and disk. holdfast beside Debian's etcd, in turn.

    tests/bench/snapshot.py [--gib G] [--rate N] [--seconds S] [--rounds N] [--write]

What a figure is
 1. The store: puts of VALUE_BYTES under random keys until it holds G GiB; enough of them that both systems have cut off
    the log behind them, so that the new node must get a snapshot.
 2. The load: h2load at the leader, N puts a second of 256 octets under one key, all the time. A put belongs to "during" if it was
    sent between the start of the new node's process and the moment it was caught up.
 3. Caught up: its Status says an applied index that is the leader's of just before. In both systems it is a learner then.
 4. Memory: the greatest resident size that was seen, each 20 ms. It contains the part of mapped files that is resident.
 5. Disk: what the blocks of the files take.
"""
import argparse
import datetime
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import bench  # noqa: E402
import document  # noqa: E402
import rpc  # noqa: E402

e2e = bench.e2e
GIB = 1 << 30
VALUE_BYTES = 8192
CONNECTIONS = 10
BEFORE_S = 8
SAMPLE_S = 0.02
BEGIN, END = "<!-- snapshot.py begins -->", "<!-- snapshot.py ends -->"


class Holdfast(bench.Holdfast):
    def join(self):
        """A fourth node starts; (its pid, its address, its directory)."""
        node = e2e.Node(self.cluster, "n4")
        others = list(self.cluster)
        self.cluster.nodes["n4"] = node
        node.write_config([node], join=others)
        node.start()
        return node.pid, node.client_address, node.data_dir

    def directory_of(self, address):
        return next(n.data_dir for n in self.cluster if n.client_address == address)


class Etcd(bench.Etcd):
    """With room for a large store; its quota is 2 GB."""

    def __init__(self):
        os.environ["ETCD_QUOTA_BACKEND_BYTES"] = str(16 * GIB)
        try:
            super().__init__()
        finally:
            del os.environ["ETCD_QUOTA_BACKEND_BYTES"]

    def join(self):
        client, peer = e2e.free_port(), e2e.free_port()
        leader = bench.leader_first(self)[0]
        code, out, err = e2e.run(["etcdctl", f"--endpoints={leader}", "member", "add", "n4", "--learner",
                                  f"--peer-urls=http://127.0.0.1:{peer}"], env=dict(os.environ, ETCDCTL_API="3"))
        if code != 0:
            raise SystemExit(f"snapshot: etcdctl member add: {err}")
        cluster = re.search(r'ETCD_INITIAL_CLUSTER="([^"]*)"', out)[1]
        directory = os.path.join(self.directory, "n4.data")
        environment = dict(os.environ, ETCD_QUOTA_BACKEND_BYTES=str(16 * GIB))
        with open(os.path.join(self.directory, "n4.log"), "wb") as log:
            self.processes.append(e2e.start_process(
                [shutil.which("etcd"), "--name", "n4", "--logger", "zap", "--log-level", "error", "--data-dir", directory,
                 "--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls", f"http://127.0.0.1:{client}",
                 "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
                 "--initial-cluster", cluster, "--initial-cluster-state", "existing"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment))
        return self.processes[-1].pid, f"127.0.0.1:{client}", directory

    def directory_of(self, address):
        return os.path.join(self.directory, f"n{self.addresses.index(address) + 1}.data")


def fill(system, addresses, octets):
    count = octets // VALUE_BYTES
    code, out, err = e2e.run([e2e.HOLDFASTCTL, "--endpoints", addresses[0], "bench", "put", "--connections", "8", "--streams",
                              "4", "--requests", str(count), "--key-count", "1000000000", "--value-size", str(VALUE_BYTES),
                              "-o", "json"], timeout_s=900)
    if code != 0:
        raise SystemExit(f"snapshot: {system.name}: fill: {err}{out}")


def load(address, rate, seconds, scratch):
    """Puts at a rate; [(sent at, microseconds since 1970; answered after, microseconds)]."""
    file, log = os.path.join(scratch, "put"), os.path.join(scratch, "log")
    body = rpc.proto("rpc").PutRequest(key=b"rate/one", value=bench.VALUE).SerializeToString()
    with open(file, "wb") as out:
        out.write(b"\0" + len(body).to_bytes(4, "big") + body)
    code, out, err = e2e.run(["h2load", "-t", "1", "-D", str(seconds), "-c", str(CONNECTIONS), "-m", "100", "--rps",
                              str(rate // CONNECTIONS), "-d", file, "-H", "content-type: application/grpc", "-H", "te: trailers",
                              f"--log-file={log}", f"http://{address}/etcdserverpb.KV/Put"], timeout_s=seconds + 120)
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", out)
    if code != 0 or counts is None or int(counts[2]) or int(counts[3]):
        print(f"snapshot: h2load: {err}{out}", file=sys.stderr)
        return []
    rows = []
    with open(log, encoding="ascii") as lines:
        for line in lines:
            began, status, micros = line.split("\t")
            if status == "200":
                rows.append((int(began), int(micros)))
    os.unlink(log)
    return rows


class Watch(threading.Thread):
    """The greatest resident sizes of processes and sizes of directories while it runs."""

    def __init__(self, leader, leader_directory):
        super().__init__(daemon=True)
        self.pids = {"leader": leader}
        self.directory = leader_directory
        self.resident = {"leader": 0.0, "new": 0.0}
        self.disk = 0.0
        self.ended = threading.Event()

    def run(self):
        turn = 0
        while not self.ended.wait(SAMPLE_S):
            for name, pid in list(self.pids.items()):
                try:
                    self.resident[name] = max(self.resident[name], bench.resident_mib([pid]))
                except (OSError, StopIteration):
                    pass
            if turn % 10 == 0:
                self.disk = max(self.disk, disk_mib(self.directory))
            turn += 1


def disk_mib(directory):
    return bench.disk_mib(directory) * 3  # it speaks of one of three nodes


def applied(client):
    return client.status(timeout_s=5).raftAppliedIndex


def wait_caught_up(new_address, leader_address, limit_s):
    with rpc.Client(leader_address) as leader, rpc.Client(new_address) as new:
        def look():
            goal = applied(leader)
            return applied(new) >= goal

        e2e.wait_until(look, "the new node has caught up", limit_s, SAMPLE_S)


def figures_of(rows, since, until):
    ordered = sorted(micros for began, micros in rows if since <= began / 1e6 < until)
    if not ordered:
        return [0, 0, 0, 0, 0]
    return [len(ordered)] + [bench.percentile(ordered, share) / 1000 for share in (0.5, 0.99, 0.999)] + [ordered[-1] / 1000]


def measure(system, arguments, scratch):
    addresses = bench.leader_first(system)
    began = time.monotonic()
    fill(system, addresses, int(arguments.gib * GIB))
    print(f"    {system.name}: filled in {time.monotonic() - began:.0f} s", flush=True)
    addresses = bench.leader_first(system)
    leader = system.pids[system.addresses.index(addresses[0])]
    os.sync()
    time.sleep(arguments.rest)  # what the filling left to do is done
    rows = []
    loading = threading.Thread(target=lambda: rows.extend(load(addresses[0], arguments.rate, arguments.seconds, scratch)),
                               daemon=True)
    load_began = time.time()
    loading.start()
    time.sleep(BEFORE_S)
    watch = Watch(leader, system.directory_of(addresses[0]))
    resident_before, disk_before = bench.resident_mib([leader]), disk_mib(watch.directory)
    watch.start()
    busy = bench.processor_s([leader])
    joined, joined_at = time.monotonic(), time.time()
    pid, address, directory = system.join()
    watch.pids["new"] = pid
    wait_caught_up(address, addresses[0], arguments.seconds)
    took_s, caught_up_at = time.monotonic() - joined, time.time()
    leader_s, new_s = bench.processor_s([leader]) - busy, bench.processor_s([pid])
    loading.join(arguments.seconds + 120)
    watch.ended.set()
    watch.join()
    if not rows or bench.leader_first(system)[0] != addresses[0]:
        raise SystemExit(f"snapshot: {system.name}: the load failed or the leader changed")
    end = load_began + arguments.seconds
    if caught_up_at > end - 2:
        raise SystemExit(f"snapshot: {system.name}: caught up after {took_s:.0f} s, when the load had ended: --seconds is too small")
    result = {}
    for name, since, until in (("before", load_began + 2, joined_at), ("during", joined_at, caught_up_at),
                               ("after", caught_up_at, end)):
        count, *result[name] = figures_of(rows, since, until)
        print(f"    {system.name} {name}: {count} puts, " + ", ".join(
            f"{what} {value:.2f} ms" for what, value in zip(("p50", "p99", "p99.9", "max"), result[name])), flush=True)
    print(f"    {system.name}: the slowest put of each half second from the start of the new node on, ms: " + " ".join(
        f"{figures_of(rows, joined_at + i / 2, joined_at + i / 2 + 0.5)[-1]:.0f}" for i in range(int(took_s * 2) + 7)), flush=True)
    result["facts"] = [took_s, resident_before, watch.resident["leader"], watch.resident["new"], leader_s, new_s, disk_before,
                       watch.disk, disk_mib(directory)]
    print(f"    {system.name}: caught up after {took_s:.1f} s", flush=True)
    return result


FACTS = ("new node caught up after, s", "leader's memory before, MiB", "leader's memory at most, MiB", "new node's memory at most, MiB",
         "leader's processor time, s", "new node's processor time, s", "leader's disk before, MiB", "leader's disk at most, MiB",
         "new node's disk at the end, MiB")


def as_table(runs, names):
    def middle(name, part, at):
        return statistics.median(run[part][at] for run in runs[name])

    lines = ["| puts, ms | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    for part in ("before", "during", "after"):
        for at, what in enumerate(("p50", "p99", "p99.9", "max")):
            lines.append(f"| {part}, {what} | " + " | ".join(f"{middle(n, part, at):.2f}" for n in names) + " |")
    lines += ["", "| | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    for at, what in enumerate(FACTS):
        lines.append(f"| {what} | " + " | ".join(f"{middle(n, 'facts', at):,.1f}" for n in names) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description="A node joins a large cluster under load.")
    parser.add_argument("--gib", type=float, default=1)
    parser.add_argument("--rate", type=int, default=1000, help="puts a second")
    parser.add_argument("--seconds", type=int, default=60, help="how long the load lasts")
    parser.add_argument("--rest", type=int, default=10, help="seconds between filling and load")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=("holdfast", "etcd"))
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    arguments = parser.parse_args()
    work = bench.ForeignWork()
    kinds = [kind for kind in (Holdfast, Etcd) if arguments.only in (None, kind.name)]
    runs = {kind.name: [] for kind in kinds}
    scratch = tempfile.mkdtemp(prefix="holdfast-bench-")
    try:
        for number in range(arguments.rounds):
            for kind in kinds if number % 2 == 0 else reversed(kinds):
                system = kind()
                try:
                    runs[kind.name].append(measure(system, arguments, scratch))
                finally:
                    system.stop()
    finally:
        e2e.close_all()
        shutil.rmtree(scratch, ignore_errors=True)
    text = ("## A node joins a store of a gigabyte\n\n"
            f"`make bench-snapshot`, {datetime.date.today()}: three nodes hold {arguments.gib:g} GiB ({VALUE_BYTES} octets a value); a fourth joins "
            f"as a learner\nwhile the leader takes {arguments.rate:,} puts a second (256 octets, h2load). {arguments.rounds} "
            f"round{'s, medians' if arguments.rounds > 1 else ''}; other work took {work.share() * 100:.0f} % of the processors. Nodes, load and measurement\nshare {os.cpu_count()} processors and one disk.\n\n"
            + as_table(runs, [kind.name for kind in kinds]))
    print("\n" + text)
    if arguments.write:
        document.replace_section(bench.DOCUMENT, BEGIN, END, "\n" + text)


if __name__ == "__main__":
    main()
