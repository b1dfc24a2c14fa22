#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
scale.py: three nodes of holdfast beside three of Debian's etcd, in turn: transactions, many watchers, many
leases, and compaction while puts go on. Systems, clocks and h2load are bench.py's.

    tests/bench/scale.py [--rounds N] [--seconds S] [--watchers N] [--leases N] [--revisions N] [--only PART]... [--write]

Every part has a fresh cluster. Printed: medians over the rounds. --write puts them into docs/benchmarks.md, in place
of the section of the last run.

What a figure is
 1. Puts "beside" watchers or leases are a fixed rate (--rps of h2load), the same before and with them.
 2. Watchers sit at the leader on one connection, spread over STREAMS streams. What receives is Python, which takes
    some ten thousand messages a second: "delivered" is bounded by it for both systems, and told as such.
 3. Memory is the growth of the leader's resident size, divided by the number of watchers or leases.
 4. Compaction: the time until `dbSizeInUse` of the leader's Status has fallen to what is left at the end.
"""
import argparse
import datetime
import os
import queue
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
import rpc  # noqa: E402

e2e = bench.e2e
TXN = "/etcdserverpb.KV/Txn"
PUT_RATE = 2000
RATE_CONNECTIONS = 10
STREAMS = 4
EVENT_PUTS = 20
SETTLED_S = 3  # dbSizeInUse that has not fallen for this long falls no more
COMPACTION_LIMIT_S = 60
BEGIN, END = "<!-- scale.py begins -->", "<!-- scale.py ends -->"


def body_file(scratch, message):
    name = os.path.join(scratch, "scale-body")
    packed = message.SerializeToString()
    with open(name, "wb") as out:
        out.write(b"\0" + len(packed).to_bytes(4, "big") + packed)
    return name


def h2load(words, address, path, file, log, timeout_s=300):
    code, out, err = e2e.run(["h2load", "-t", "1", "-d", file, "-H", "content-type: application/grpc", "-H", "te: trailers",
                              f"--log-file={log}", *words, f"http://{address}{path}"], timeout_s=timeout_s)
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", out)
    if code != 0 or counts is None or int(counts[2]) or int(counts[3]):
        raise SystemExit(f"scale: h2load {path}: {err}{out}")
    rows = []
    with open(log, encoding="ascii") as lines:
        for line in lines:
            began, status, micros = line.split("\t")
            if status == "200":
                rows.append((int(began), int(micros)))
    os.unlink(log)
    return rows, out


def middle(rows):
    ordered = sorted(micros for _, micros in rows)
    return bench.percentile(ordered, 0.5), bench.percentile(ordered, 0.99)


def rate_words(seconds):
    return ["-D", str(seconds), "-c", str(RATE_CONNECTIONS), "-m", "100", "--rps", str(PUT_RATE // RATE_CONNECTIONS)]


def puts_at_rate(address, seconds, scratch):
    file = body_file(scratch, rpc.proto("rpc").PutRequest(key=b"rate/one", value=bench.VALUE))
    rows, _ = h2load(rate_words(seconds), address, "/etcdserverpb.KV/Put", file, os.path.join(scratch, "scale-log"))
    return middle(rows)


def leader_pid(system, address):
    return system.pids[system.addresses.index(address)]


# ---- the parts: each (system, arguments, scratch) -> {name: figure} ---------------------------------


def transactions(system, arguments, scratch):
    types = rpc.proto("rpc")
    address = bench.leader_first(system)[0]
    put = types.RequestOp(request_put=types.PutRequest(key=bench.KEY, value=bench.VALUE))
    holds = types.Compare(result=types.Compare.GREATER, target=types.Compare.VERSION, key=bench.KEY, version=-1)
    swap = types.TxnRequest(compare=[holds], success=[put])
    ten = types.TxnRequest(success=[types.RequestOp(request_put=types.PutRequest(key=b"bench/%d" % i, value=bench.VALUE))
                                    for i in range(10)])
    figures = {}
    for name, request in (("compare and put, one key", swap), ("10 puts", ten)):
        with rpc.Client(address) as client:
            answer = client.call(TXN, request, types.TxnResponse)
            assert answer.succeeded and len(answer.responses) == len(request.success), answer
        for connections, streams in ((1, 1), (10, 10)):
            before = bench.revision(address)
            result, counted = bench.h2load(system, address, TXN, request.SerializeToString(), connections, streams,
                                           arguments.seconds, scratch)
            if bench.revision(address) - before < counted:
                raise SystemExit(f"scale: {system.name}: fewer revisions than transactions")
            shape = f"txn: {name} {connections}x{streams}"
            figures[f"{shape}, /s"] = result["per_second"]
            figures[f"{shape}, p50 us"] = result["p50_us"]
            figures[f"{shape}, p99 us"] = result["p99_us"]
    return figures


class Watchers:
    """Streams whose responses are counted, not read."""

    def __init__(self, client, ranges):
        self.count = 0
        self.lock = threading.Lock()
        self.queues, self.calls = [], []
        types = rpc.proto("rpc")
        for number in range(STREAMS):
            requests = queue.Queue()
            call = client.channel.stream_stream("/etcdserverpb.Watch/Watch", request_serializer=lambda m: m,
                                                response_deserializer=lambda octets: octets)(iter(requests.get, None))
            for key, end in ranges[number::STREAMS]:
                create = types.WatchCreateRequest(key=key, range_end=end)
                requests.put(types.WatchRequest(create_request=create).SerializeToString())
            self.queues.append(requests)
            self.calls.append(call)
            threading.Thread(target=self._read, args=(call,), daemon=True).start()

    def _read(self, call):
        try:
            for _ in call:
                with self.lock:
                    self.count += 1
        except rpc.grpc.RpcError:
            pass

    def wait(self, count):
        e2e.wait_until(lambda: self.count >= count, f"{count} watch responses ({self.count})", limit_s=120, every_s=0.005)

    def close(self):
        for requests, call in zip(self.queues, self.calls):
            requests.put(None)
            call.cancel()


def watchers(system, arguments, scratch):
    address = bench.leader_first(system)[0]
    pid = leader_pid(system, address)
    count = arguments.watchers
    figures = {}
    figures["puts at a rate, no watchers, p50 us"], figures["puts at a rate, no watchers, p99 us"] = \
        puts_at_rate(address, arguments.seconds, scratch)
    prefix = [(b"w/", b"w0")] * count
    keys = [(b"k/%05d" % i, b"") for i in range(count)]
    for name, ranges in (("one prefix", prefix), (f"{count} keys", keys)):
        before = bench.resident_mib([pid])
        with rpc.Client(address) as client:
            began = time.monotonic()
            watching = Watchers(client, ranges)
            watching.wait(count)
            figures[f"watchers, {name}: created /s"] = count / (time.monotonic() - began)
            figures[f"watchers, {name}: octets for one"] = (bench.resident_mib([pid]) - before) * 2**20 / count
            # neighbours: puts that no watcher sees
            p50, p99 = puts_at_rate(address, arguments.seconds, scratch)
            figures[f"puts at a rate, beside watchers on {name}, p50 us"] = p50
            figures[f"puts at a rate, beside watchers on {name}, p99 us"] = p99
            if name == "one prefix":
                began = time.monotonic()
                for i in range(EVENT_PUTS):
                    client.put(b"w/%d" % i, b"v")
                watching.wait(count + EVENT_PUTS * count)
                figures["watchers, one prefix: responses received /s"] = EVENT_PUTS * count / (time.monotonic() - began)
            watching.close()
    return figures


def leases(system, arguments, scratch):
    types = rpc.proto("rpc")
    address = bench.leader_first(system)[0]
    pid = leader_pid(system, address)
    log = os.path.join(scratch, "scale-log")
    figures = {}
    figures["puts at a rate, no leases, p50 us"], figures["puts at a rate, no leases, p99 us"] = \
        puts_at_rate(address, arguments.seconds, scratch)
    before = bench.resident_mib([pid])
    grant = body_file(scratch, types.LeaseGrantRequest(TTL=3600))
    began = time.monotonic()
    h2load(["-n", str(arguments.leases), "-c", "10", "-m", "10"], address, "/etcdserverpb.Lease/LeaseGrant", grant, log)
    figures["leases: granted /s"] = arguments.leases / (time.monotonic() - began)
    figures["leases: octets for one"] = (bench.resident_mib([pid]) - before) * 2**20 / arguments.leases
    with rpc.Client(address) as client:
        every = client.call("/etcdserverpb.Lease/LeaseLeases", types.LeaseLeasesRequest(), types.LeaseLeasesResponse)
        assert len(every.leases) == arguments.leases, len(every.leases)
        lease = every.leases[0].ID
    alive = body_file(scratch, types.LeaseKeepAliveRequest(ID=lease))
    began = time.monotonic()
    number = max(1000, arguments.leases // 5)
    h2load(["-n", str(number), "-c", "10", "-m", "10"], address, "/etcdserverpb.Lease/LeaseKeepAlive", alive, log)
    figures["leases: kept alive /s (a stream each)"] = number / (time.monotonic() - began)
    p50, p99 = puts_at_rate(address, arguments.seconds, scratch)
    figures["puts at a rate, beside the leases, p50 us"], figures["puts at a rate, beside the leases, p99 us"] = p50, p99
    return figures


def compaction(system, arguments, scratch):
    types = rpc.proto("rpc")
    address = bench.leader_first(system)[0]
    bench.ctl_bench(system, [address], "put", 100, 10, arguments.revisions, 10000)
    file = body_file(scratch, types.PutRequest(key=b"rate/one", value=bench.VALUE))
    log = os.path.join(scratch, "compaction-log")
    # The load runs on its own from here: `before` is what began before the compaction was asked for.
    seconds = arguments.compaction_seconds
    load = e2e.start_process(["h2load", "-t", "1", "-d", file, "-H", "content-type: application/grpc", "-H", "te: trailers",
                              f"--log-file={log}", *rate_words(seconds), f"http://{address}/etcdserverpb.KV/Put"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(seconds / 4)
        with rpc.Client(address, timeout_s=COMPACTION_LIMIT_S) as client:
            revision = client.range(b"nothing").header.revision
            begin = time.time()
            client.call("/etcdserverpb.KV/Compact", types.CompactionRequest(revision=revision), types.CompactionResponse)
            answered = time.time()
            least, fell = client.status().dbSizeInUse, time.time()
            before_size = least
            while time.time() - begin < COMPACTION_LIMIT_S and time.time() - fell < SETTLED_S:
                time.sleep(0.05)
                size = client.status().dbSizeInUse
                if size < least - least // 100:
                    least, fell = size, time.time()
        load.wait(seconds + 60)
    finally:
        if load.poll() is None:
            load.kill()
            load.wait()
    rows = []
    with open(log, encoding="ascii") as lines:
        for line in lines:
            at, status, micros = line.split("\t")
            if status == "200":
                rows.append((int(at) / 1e6, int(micros)))
    os.unlink(log)
    done = max(fell, begin + 0.5)
    figures = {"compaction: Compact answered, ms": (answered - begin) * 1000,
               "compaction: until the pages are free, s": fell - begin,
               "compaction: in use just after the answer, MiB": before_size / 2**20,
               "compaction: in use at the end, MiB": least / 2**20}
    for name, low, high in (("before", 0, begin), ("during", begin, done), ("after", done, float("inf"))):
        part = [row for row in rows if low <= row[0] < high]
        if part:
            figures[f"compaction: puts {name}, p99 us"] = middle(part)[1]
            figures[f"compaction: puts {name}, slowest us"] = max(micros for _, micros in part)
            figures[f"compaction: puts {name}, counted"] = len(part)
    return figures


PARTS = {"transactions": transactions, "watchers": watchers, "leases": leases, "compaction": compaction}


# ---- the run -------------------------------------------------------------------------------------


def table(runs):
    names = list(dict.fromkeys(n for kind in runs.values() for r in kind for n in r))

    def figure(kind, name):
        values = [r[name] for r in runs[kind] if name in r]
        return statistics.median(values) if values else None

    def text(value):
        return "not taken" if value is None else f"{value:,.2f}" if abs(value) < 10 else f"{value:,.0f}"

    rows = [f"| {name} | {text(figure('holdfast', name))} | {text(figure('etcd', name))} |" for name in names]
    return "| what | holdfast | etcd |\n|---|--:|--:|\n" + "\n".join(rows)


def losses(runs):
    """Rows in which holdfast's median is worse: /s smaller, everything else (time, memory) larger."""
    lost = []
    for name in dict.fromkeys(n for r in runs["holdfast"] for n in r):
        ours = [r[name] for r in runs["holdfast"] if name in r]
        theirs = [r[name] for r in runs["etcd"] if name in r]
        if not theirs or name.endswith("counted") or "in use" in name:
            continue
        a, b = statistics.median(ours), statistics.median(theirs)
        if (a < b) if "/s" in name else (a > b):
            lost.append(f"* {name}: {a:,.2f} beside {b:,.2f}")
    return "\n".join(lost) or "* None in this table."


def section(arguments, runs, foreign, load):
    commit = subprocess.run(["git", "-C", e2e.ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return (f"{BEGIN}\n\n## Scale\n\n"
            f"Written by `make bench-scale` (tests/bench/scale.py), {datetime.date.today()}, commit {commit.stdout.strip()} and etcd "
            f"{bench.package('etcd-server')}.\nMedians of {arguments.rounds} round(s), the systems taking turns, three nodes each, "
            f"every part on a fresh cluster; parts: {', '.join(arguments.only or PARTS)}.\n"
            f"{arguments.watchers:,} watchers on {STREAMS} streams at the leader, {arguments.leases:,} leases, "
            f"{arguments.revisions:,} revisions compacted. \"At a rate\" is {PUT_RATE:,} puts/s.\n"
            f"**Other work took {foreign * 100:.0f} % of the processors; the load average was {load:.1f} before the start.** "
            "Above a few percent compare the two columns only, and p99 with care.\n\n" + table(runs) +
            "\n\n### Where holdfast loses here\n\n" + losses(runs) +
            "\n\n### How it was taken\n\n"
            "* h2load repeats one request in a closed loop; the compare always holds, so it is the cost of the transaction and\n"
            "  not of contention. At a rate: h2load's `--rps`; a request's time counts from its sending, not from when it was due.\n"
            "* Watch responses are received by a Python client, which is the limit at some ten thousand a second: the figure\n"
            "  tells what both reach with it, not what a node can send. Watchers beside puts see none of them.\n"
            "* Octets for one: the growth of the leader's resident size over the number; allocators and garbage collection blur it.\n"
            "* Compaction: until `dbSizeInUse` falls no more; *during* ends there, at the earliest 0.5 s after the request.\n"
            f"\n{END}\n")


def write(text):
    with open(bench.DOCUMENT, encoding="utf-8") as file:
        old = file.read()
    if BEGIN in old and END in old:
        head, _, rest = old.partition(BEGIN)
        new = head + text + rest.partition(END)[2].lstrip("\n")
    else:
        new = old.rstrip("\n") + "\n\n" + text
    with open(bench.DOCUMENT, "w", encoding="utf-8") as file:
        file.write(new)


def main():
    parser = argparse.ArgumentParser(description="Scale, beside etcd.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--watchers", type=int, default=10000)
    parser.add_argument("--leases", type=int, default=100000)
    parser.add_argument("--revisions", type=int, default=1000000)
    parser.add_argument("--compaction-seconds", type=int, default=40)
    parser.add_argument("--only", action="append", choices=list(PARTS), default=[])
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    arguments = parser.parse_args()
    for program in ("h2load", "etcd"):
        if shutil.which(program) is None:
            raise SystemExit(f"scale: {program} is missing; make deps")
    scratch = tempfile.mkdtemp(prefix="holdfast-scale-")
    load, work = os.getloadavg()[0], bench.ForeignWork()
    runs = {"holdfast": [], "etcd": []}
    try:
        for number in range(arguments.rounds):
            taken = {"holdfast": {}, "etcd": {}}
            for part in arguments.only or PARTS:
                for kind in (bench.Holdfast, bench.Etcd) if number % 2 == 0 else (bench.Etcd, bench.Holdfast):
                    system = kind()
                    try:
                        figures = PARTS[part](system, arguments, scratch)
                    finally:
                        system.stop()
                    taken[kind.name].update(figures)
                    for name, value in figures.items():
                        print(f"    {kind.name:9} {name:60} {value:12.2f}", flush=True)
            for name, figures in taken.items():
                runs[name].append(figures)
        text = section(arguments, runs, work.share(), load)
        print("\n" + text)
        if arguments.write:
            write(text)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        e2e.close_all()


if __name__ == "__main__":
    main()
