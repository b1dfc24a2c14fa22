#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
bench.py: three nodes of holdfast and three of Debian's etcd, in turn on one machine, under the same load.

    tests/bench/bench.py [--rounds N] [--seconds S] [--quick] [--only WORDS]... [--no-doc]

Each round starts a fresh cluster of one system, measures everything, stops it, and does the same with the
other; the order alternates, so that a machine that slows down or has other work to do hurts both. Printed
and written to docs/benchmarks.md: medians over the rounds, and the ratio holdfast / etcd.

What makes the numbers comparable
 1. Same machine, same file system, same load generator, nodes and generator sharing the processors.
 2. Both with their default durability: an acknowledged write is synced on a majority.
 3. "At the leader" goes to the node that says it leads, for both.
 4. Before anything is timed a real answer is checked octet for octet; after each run of puts the store's
    revision must have grown by at least as many as were counted (h2load looks at HTTP statuses only).
 5. Fresh data for each round: no run profits from what another left behind.
"""
import argparse
import datetime
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

import cluster as e2e  # noqa: E402
import rpc  # noqa: E402

KEY = b"bench/one"
VALUE = bytes(ord("a") + i % 26 for i in range(256))
PUT = "/etcdserverpb.KV/Put"
RANGE = "/etcdserverpb.KV/Range"
SHAPES = ((1, 1), (10, 10), (100, 10))  # connections, streams on each
KEYS = 100000
DOCUMENT = os.path.join(e2e.ROOT, "docs", "benchmarks.md")
FOREIGN_SHARE_MAX = 0.10  # with more of other work going on, the figures are not worth keeping
CLOCK_TICK = os.sysconf("SC_CLK_TCK")


# ---- the two systems -----------------------------------------------------------------------------


class Holdfast:
    name = "holdfast"

    def __init__(self):
        self.cluster = e2e.Cluster(3, name="bench", election_timeout_ms=1000, heartbeat_ms=100)
        self.cluster.start()
        self.directory = self.cluster.directory
        self.addresses = [n.client_address for n in self.cluster]
        self.pids = [n.pid for n in self.cluster]

    def stop(self):
        self.cluster.stop()


class Etcd:
    name = "etcd"

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="holdfast-bench-etcd-")
        ports = [(e2e.free_port(), e2e.free_port()) for _ in range(3)]
        cluster = ",".join(f"n{i + 1}=http://127.0.0.1:{peer}" for i, (_, peer) in enumerate(ports))
        self.processes = []
        for i, (client, peer) in enumerate(ports):
            with open(os.path.join(self.directory, f"n{i + 1}.log"), "wb") as log:
                self.processes.append(e2e.start_process(
                    [shutil.which("etcd"), "--name", f"n{i + 1}", "--logger", "zap", "--log-level", "error",
                     "--data-dir", os.path.join(self.directory, f"n{i + 1}.data"),
                     "--listen-client-urls", f"http://127.0.0.1:{client}",
                     "--advertise-client-urls", f"http://127.0.0.1:{client}",
                     "--listen-peer-urls", f"http://127.0.0.1:{peer}",
                     "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
                     "--initial-cluster", cluster, "--initial-cluster-state", "new"],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT))
        self.addresses = [f"127.0.0.1:{client}" for client, _ in ports]
        self.pids = [p.pid for p in self.processes]
        for address in self.addresses:
            e2e.wait_until(lambda a=address: '"true"' in e2e.http_get(a, "/health")[1], f"etcd at {address} is healthy")

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(e2e.LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def leader_first(system):
    """The addresses, the leader's first; checked by what the members say themselves."""

    def look():
        for address in system.addresses:
            with rpc.Client(address) as client:
                status = client.status()
                if status.leader == status.header.member_id:
                    return address
        return None

    leader = e2e.wait_until(look, "a leader")
    return [leader] + [a for a in system.addresses if a != leader]


# ---- one measurement -----------------------------------------------------------------------------


def processor_s(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / CLOCK_TICK


def resident_mib(pids):
    sizes = []
    for pid in pids:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            sizes.append(int(next(line for line in file if line.startswith("VmRSS:")).split()[1]) / 1024)
    return max(sizes)


def disk_mib(directory):
    total = 0
    for folder, _, files in os.walk(directory):
        for file in files:
            try:
                total += os.lstat(os.path.join(folder, file)).st_blocks * 512  # kv.db is a link
            except FileNotFoundError:
                pass
    return total / 2**20 / 3


class Result(dict):
    """per_second, p50_us, p99_us, cpu_us: processor time of the three nodes for one operation."""


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0


def h2load(system, address, path, body, connections, streams, seconds, scratch):
    """Closed loop of one request against one node."""
    file = os.path.join(scratch, "body")
    with open(file, "wb") as out:
        out.write(b"\0" + len(body).to_bytes(4, "big") + body)
    log = os.path.join(scratch, "log")
    if os.path.exists(log):
        os.unlink(log)
    warm_up = 1
    before = processor_s(system.pids)
    code, out, err = e2e.run(
        ["h2load", "-D", str(seconds), f"--warm-up-time={warm_up}", "-c", str(connections), "-m", str(streams), "-t", "1",
         "-d", file, "-H", "content-type: application/grpc", "-H", "te: trailers", f"--log-file={log}",
         f"http://{address}{path}"], timeout_s=seconds + 120)
    spent = processor_s(system.pids) - before
    if code != 0:
        raise SystemExit(f"bench: h2load: {err}")
    counts = re.search(r"requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", out)
    _, _, _, succeeded, failed, errored = (int(n) for n in counts.groups())
    if failed or errored or not succeeded:
        raise SystemExit(f"bench: {system.name}: {path} {connections}x{streams}: {counts.group(0)}")
    latencies = []
    with open(log, encoding="ascii") as lines:
        for line in lines:
            _, status, micros = line.split("\t")
            if status == "200":
                latencies.append(int(micros))
    latencies.sort()
    operations = succeeded / seconds * (seconds + warm_up)  # processor time was spent in the warm-up too
    return Result(per_second=succeeded / seconds, p50_us=percentile(latencies, 0.5), p99_us=percentile(latencies, 0.99),
                  cpu_us=spent / operations * 1e6), succeeded


def ctl_bench(system, endpoints, what, connections, streams, requests, keys):
    """holdfastctl bench: random keys, connections dealt out over the endpoints. Works against both."""
    before = processor_s(system.pids)
    code, out, err = e2e.run([e2e.HOLDFASTCTL, "--endpoints", ",".join(endpoints), "bench", what,
                              "--connections", str(connections), "--streams", str(streams), "--requests", str(requests),
                              "--key-count", str(keys), "--value-size", str(len(VALUE)), "-o", "json"], timeout_s=600)
    spent = processor_s(system.pids) - before
    if code != 0:
        raise SystemExit(f"bench: {system.name}: holdfastctl bench {what}: {err}")
    said = json.loads(out)
    if said["failed"] or said["requests"] != requests:
        raise SystemExit(f"bench: {system.name}: holdfastctl bench {what}: {out}")
    return Result(per_second=said["per_second"], p50_us=said["p50_us"], p99_us=said["p99_us"], cpu_us=spent / requests * 1e6)


def revision(address):
    with rpc.Client(address) as client:
        return client.range(b"nothing").header.revision


def check_real_answers(addresses, put_body, get_body, serializable_body):
    """The very octets that h2load will send, once, with the answers looked at."""
    types = rpc.proto("rpc")
    with rpc.Client(addresses[0]) as client:
        put = client.call(PUT, put_body, types.PutResponse)
        assert put.header.revision > 1, put
        for body in (get_body, serializable_body):
            got = client.call(RANGE, body, types.RangeResponse)
            assert [(kv.key, kv.value) for kv in got.kvs] == [(KEY, VALUE)], got
    for address in addresses[1:]:
        with rpc.Client(address) as client:
            got = client.call(RANGE, get_body, types.RangeResponse)
            assert [(kv.key, kv.value) for kv in got.kvs] == [(KEY, VALUE)], got


# ---- all measurements of one system in one round -------------------------------------------------


def measure(system, seconds, only, scratch):
    types = rpc.proto("rpc")
    put_body = types.PutRequest(key=KEY, value=VALUE).SerializeToString()
    get_body = types.RangeRequest(key=KEY).SerializeToString()
    serializable_body = types.RangeRequest(key=KEY, serializable=True).SerializeToString()
    addresses = leader_first(system)
    check_real_answers(addresses, put_body, get_body, serializable_body)
    results = {}

    def wanted(name):
        return not only or any(word in name for word in only)

    def keep(name, result):
        results[name] = result
        print(f"    {system.name:9} {name:45} {result['per_second']:9.0f}/s  p50 {result['p50_us']:7.0f} us  "
              f"p99 {result['p99_us']:7.0f} us  node CPU {result['cpu_us']:5.1f} us/op", flush=True)

    def h2(name, path, body, where, puts=False):
        for connections, streams in SHAPES:
            full = f"{name} {connections}x{streams}"
            if not wanted(full):
                continue
            before = revision(where) if puts else 0
            result, succeeded = h2load(system, where, path, body, connections, streams, seconds, scratch)
            if puts and revision(where) - before < succeeded:
                raise SystemExit(f"bench: {system.name}: {succeeded} puts counted, but only {revision(where) - before} "
                                 "revisions were made")
            keep(full, result)

    # Reads first: the store is small for both. Then one hot key, then the many.
    h2("serializable range, one key, leader", RANGE, serializable_body, addresses[0])
    h2("linearizable range, one key, leader", RANGE, get_body, addresses[0])
    h2("linearizable range, one key, follower", RANGE, get_body, addresses[1])
    for connections, streams in SHAPES[1:]:
        name = f"linearizable range, one key, all nodes {connections}x{streams}"
        if wanted(name):
            ctl_bench(system, addresses, "put", 1, 1, 1, 1)
            keep(name, ctl_bench(system, addresses, "get", connections, streams, int(15000 * seconds), 1))
    h2("put, one key, leader", PUT, put_body, addresses[0], puts=True)
    h2("put, one key, follower", PUT, put_body, addresses[1], puts=True)
    for endpoints, where in ((addresses[:1], "leader"), (addresses, "all nodes")):
        for connections, streams in SHAPES[1:]:
            name = f"put, random of {KEYS} keys, {where} {connections}x{streams}"
            if wanted(name):
                keep(name, ctl_bench(system, endpoints, "put", connections, streams, int(15000 * seconds), KEYS))
    name = f"linearizable range, random of {KEYS} keys, all nodes 100x10"
    if wanted(name):
        keep(name, ctl_bench(system, addresses, "get", 100, 10, int(15000 * seconds), KEYS))
    assert leader_first(system)[0] == addresses[0], f"{system.name}: the leader changed during the round"
    sizes = {"rss": resident_mib(system.pids), "disk": disk_mib(system.directory),
             "revisions": revision(addresses[0])}
    print(f"    {system.name:9} largest node {sizes['rss']:.0f} MiB resident, {sizes['disk']:.0f} MiB on disk per node, "
          f"revision {sizes['revisions']}", flush=True)
    return results, sizes


class ForeignWork:
    """How much of the processors' time went to others than this script and what it started."""

    def __init__(self):
        self.began = self._busy_s(), self._own_s()

    @staticmethod
    def _busy_s():
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _idle, _wait, irq, softirq, *_ = (int(n) for n in file.readline().split()[1:])
        return (user + nice + system + irq + softirq) / CLOCK_TICK, time.monotonic()

    @staticmethod
    def _own_s():
        times = os.times()  # children count once they have ended and were waited for
        return times.user + times.system + times.children_user + times.children_system

    def share(self):
        (busy_before, at), own_before = self.began
        busy, now = self._busy_s()
        return max(0.0, (busy - busy_before) - (self._own_s() - own_before)) / ((now - at) * os.cpu_count())


# ---- the machine ---------------------------------------------------------------------------------


def sync_p50_us(directory):
    """What one fdatasync of 4 KiB costs here."""
    times = []
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        for _ in range(300):
            os.pwrite(file.fileno(), b"x" * 4096, 0)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1e6)
    return statistics.median(times)


def package(name):
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "not installed as a package"


def file_system(directory):
    """The kind of the file system that holds the directory: the longest mount point above it."""
    best = ("", "unknown")
    with open("/proc/mounts", encoding="utf-8") as file:
        for line in file:
            _, point, kind = line.split()[:3]
            inside = point == "/" or directory == point or directory.startswith(point + "/")
            if inside and len(point) >= len(best[0]):
                best = (point, kind)
    return best[1]


def our_version():
    with open(os.path.join(e2e.ROOT, "VERSION"), encoding="utf-8") as file:
        version = file.read().strip()
    done = subprocess.run(["git", "-C", e2e.ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                          check=False)
    return f"{version} (commit {done.stdout.strip()})" if done.returncode == 0 else version


# ---- the account ---------------------------------------------------------------------------------


def median(rounds, name, field):
    values = [r[name][field] for r in rounds if name in r]
    return statistics.median(values) if values else 0.0


def spread(rounds, name):
    values = [r[name]["per_second"] for r in rounds if name in r]
    middle = statistics.median(values)
    return max(abs(v - middle) for v in values) / middle * 100 if middle else 0


def table(ours, theirs):
    names = [n for n in ours[0] if all(n in r for r in ours + theirs)]
    lines = ["| what, connections x streams | holdfast /s | etcd /s | ratio | p50 us | etcd | p99 us | etcd | CPU us/op | etcd |",
             "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for n in names:
        a, b = median(ours, n, "per_second"), median(theirs, n, "per_second")
        lines.append(f"| {n} | {a:,.0f} | {b:,.0f} | **{a / b:.2f}** | {median(ours, n, 'p50_us'):,.0f} | "
                     f"{median(theirs, n, 'p50_us'):,.0f} | {median(ours, n, 'p99_us'):,.0f} | "
                     f"{median(theirs, n, 'p99_us'):,.0f} | {median(ours, n, 'cpu_us'):,.0f} | "
                     f"{median(theirs, n, 'cpu_us'):,.0f} |")
    return names, lines


def losses(names, ours, theirs):
    lines = []
    for n in names:
        a, b = median(ours, n, "per_second"), median(theirs, n, "per_second")
        if a < b:
            lines.append(f"* {n}: {a:,.0f}/s against {b:,.0f}/s.")
        a, b = median(ours, n, "p99_us"), median(theirs, n, "p99_us")
        if a > b:
            lines.append(f"* {n}: the slowest hundredth takes {a:,.0f} us and more, against {b:,.0f} us.")
    return lines or ["* None in this table."]


def document(arguments, ours, theirs, our_sizes, their_sizes, sync_us, directory, foreign):
    names, lines = table(ours, theirs)
    widest = max(spread(r, n) for r in (ours, theirs) for n in names)

    def size(sizes, field):
        return statistics.median(s[field] for s in sizes)

    def per_revision(sizes):
        return size(sizes, "disk") * 2**20 / size(sizes, "revisions")

    return "\n".join([
        "# Benchmarks",
        "",
        "Written by `make bench` (tests/bench/bench.py); run it on your own machine, the ratio is what carries over.",
        "",
        f"Three nodes of holdfast {our_version()} and three of etcd {package('etcd-server')} (Debian), in turn on one virtual",
        f"machine with {os.cpu_count()} processors that nodes and load generator share, {datetime.date.today().isoformat()}. "
        f"File system {file_system(os.path.realpath(directory))}, fdatasync of",
        f"4 KiB: median {sync_us:,.0f} us. Values of 256 octets. Each figure is the median of {arguments.rounds} rounds of "
        f"{arguments.seconds:g} s, the systems taking",
        "turns, each round on fresh data. Both with their default durability: acknowledged means synced on a majority.",
        "",
        *lines,
        "",
        "Latencies are the client's. *CPU us/op* is the processor time of all three nodes together for one operation.",
        f"The largest deviation of a single round from its median was {widest:.0f} %. Other work on the machine took",
        f"{foreign * 100:.0f} % of the processors meanwhile.",
        "",
        "| after each round | holdfast | etcd |",
        "|---|--:|--:|",
        f"| resident memory of the largest node, MiB | {size(our_sizes, 'rss'):.0f} | {size(their_sizes, 'rss'):.0f} |",
        f"| files of one node, MiB | {size(our_sizes, 'disk'):.0f} | {size(their_sizes, 'disk'):.0f} |",
        f"| revisions made | {size(our_sizes, 'revisions'):,.0f} | {size(their_sizes, 'revisions'):,.0f} |",
        f"| octets on disk for one revision of 256 octets | {per_revision(our_sizes):.0f} | {per_revision(their_sizes):.0f} |",
        "",
        "The faster system wrote more in the same time, so its files are larger; neither compacts here.",
        "",
        "## Where holdfast loses",
        "",
        *losses(names, ours, theirs),
        "",
        "## How it was taken",
        "",
        f"* One key, leader or follower: h2load ({package('nghttp2-client')}), one thread, one request repeated in a closed loop; C x S "
        "is connections x",
        "  concurrent streams on each. One second of warm-up. Percentiles from its per-request log.",
        "* Random keys and \"all nodes\": `holdfastctl bench`, a closed loop in one thread; connections are dealt out over "
        "the nodes.",
        "* \"At the leader\" is the node that names itself leader; the round is thrown away if that changes.",
        "* Before timing, the request's very octets are sent once and the answer is compared; after each run of puts the",
        "  store's revision must have grown by at least as many as were counted.",
        "* etcd runs with its defaults; holdfast too (election 1000 ms, heartbeat 100 ms, as etcd).",
        "* What this does not show: a newer etcd than Debian's, a network between the nodes, several machines, large",
        "  values, and what happens when a node is down. Transactions, watches, leases, compaction: Scale, below.",
        "",
    ])


def kept_sections():
    """What other programs of this folder measured stands behind this line and stays."""
    with open(DOCUMENT, encoding="utf-8") as file:
        _, line, rest = file.read().partition("<!-- kept by bench.py -->")
    return line + rest


def main():
    parser = argparse.ArgumentParser(description="Compare three nodes of holdfast with three of etcd.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--quick", action="store_true", help="one round of one second each; writes no document")
    parser.add_argument("--only", action="append", default=[], metavar="WORDS", help="only measurements whose name has these words")
    parser.add_argument("--no-doc", action="store_true", help="do not write docs/benchmarks.md")
    parser.add_argument("--ours-only", action="store_true", help="without etcd; writes no document")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds = 1, 1
    for program in ("h2load", "etcd"):
        if shutil.which(program) is None:
            raise SystemExit(f"bench: {program} is missing; install the Debian packages etcd-server and nghttp2-client")
    only = arguments.only
    scratch = tempfile.mkdtemp(prefix="holdfast-bench-")
    sync_us = sync_p50_us(scratch)
    print(f"fdatasync of 4 KiB: {sync_us:.0f} us; load average {os.getloadavg()[0]:.1f} before the start", flush=True)
    work = ForeignWork()
    runs = {"holdfast": [], "etcd": []}
    sizes = {"holdfast": [], "etcd": []}
    try:
        for number in range(arguments.rounds):
            order = [Holdfast] if arguments.ours_only else [Holdfast, Etcd] if number % 2 == 0 else [Etcd, Holdfast]
            for kind in order:
                print(f"round {number + 1} of {arguments.rounds}: {kind.name}", flush=True)
                system = kind()
                try:
                    results, after = measure(system, arguments.seconds, only, scratch)
                finally:
                    system.stop()
                runs[kind.name].append(results)
                sizes[kind.name].append(after)
        if arguments.ours_only:
            return
        text = document(arguments, runs["holdfast"], runs["etcd"], sizes["holdfast"], sizes["etcd"], sync_us, scratch,
                        foreign := work.share())
        print("\n" + text, flush=True)
        if only or arguments.quick or arguments.no_doc:
            return
        if foreign > FOREIGN_SHARE_MAX:
            print(f"not written: other work took {foreign * 100:.0f} % of the processors; repeat on a quiet machine", flush=True)
        else:
            kept = kept_sections()
            with open(DOCUMENT, "w", encoding="utf-8") as file:
                file.write(text + kept)
            print(f"written: {os.path.relpath(DOCUMENT)}", flush=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        e2e.close_all()


if __name__ == "__main__":
    main()
