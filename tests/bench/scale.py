#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
scale.py: three nodes of holdfast beside three of Debian's etcd, in turn: transactions, many watchers, many
leases, and compaction while puts go on. The systems are bench.py's; all load is `holdfastctl bench`, the same
program for both.

    tests/bench/scale.py [--rounds N] [--seconds S] [--watchers N] [--leases N] [--revisions N] [--only PART]...
                         [--compaction-rounds N] [--write]

Every part of every round has a fresh cluster. Printed: medians over the rounds. --write puts them into
docs/benchmarks.md, in place of the section of the last run.

What makes the figures comparable
 1. Load goes to the node that leads, for both. If another leads at the end of a part, or calls failed, the part is begun
    anew on fresh data, and that is told.
 2. A warm-up comes before each measurement. Processor time is that of all three nodes over a whole run, warm-up
    included, for each operation of it.
 3. "At a rate" is an open loop: latency counts from when a call was due, so a pause is charged in full.
 4. The answers are checked, not only counted: as many revisions as transactions, as many versions of the key as
    swaps that held, every event for every watcher, every keepalive with a TTL left, every lease in the list.
 5. Memory is the growth of the leader's resident size while nothing else happens, for each watcher or lease.
 6. The load generator's share of a processor is kept: a generator that is busy all the time measures itself.
"""
import argparse
import datetime
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import bench  # noqa: E402
import document  # noqa: E402
import rpc  # noqa: E402

e2e = bench.e2e
WARM_UP_S = 1
PUT_RATE = 2000
TXN_RATE = 500
FAN_OUT_RATE = 20
FAN_OUT_PUTS = 50
KEEP_ALIVE_RATE = 5000  # 100,000 leases of a minute, each kept alive three times in it
LOAD_KEYS = 10000
RATE_SHAPE = (10, 100)  # room for half a second of delay before a call must wait for another one
COMPACTION_BESIDE_S = 10  # before and after
SETTLE_S = 3  # dbSizeInUse that has fallen and not for this long falls no more
COMPACTION_LIMIT_S = 240
IDLE_S = 0.5  # before resident memory is read
RUN_LIMIT_S = 600
TRIES = 3  # of a part that is spoiled: another leader, or calls that failed
BEGIN, END = "<!-- scale.py begins -->", "<!-- scale.py ends -->"


class Spoiled(Exception):
    """The part is worth nothing: another leader than at its beginning, or calls that failed."""


class Generator:
    """How busy the load generator was, over all runs."""

    share = 0.0
    what = "nothing"

    @classmethod
    def look(cls, words, said, elapsed_s):
        share = said["processor_s"] / max(elapsed_s, 0.001)
        if share > cls.share:
            cls.share, cls.what = share, " ".join(str(w) for w in words)


class Part:
    """One part of the run for one system: its cluster, and the figures taken."""

    def __init__(self, system, arguments, scratch):
        self.system, self.arguments, self.scratch = system, arguments, scratch
        self.address = bench.leader_first(system)[0]
        self.leader = system.pids[system.addresses.index(self.address)]
        self.figures = {}
        self.processes = []

    def start(self, words, **more):
        self.processes.append(e2e.start_process(self.words(words), stdout=subprocess.PIPE, text=True, **more))
        return self.processes[-1]

    def close(self):
        """Nothing of it runs on."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def keep(self, name, value, better):
        """better: "more" or "less" of it, or None if it is neither."""
        self.figures[name] = (value, better)
        print(f"    {self.system.name:9} {name:66} {value:14,.2f}", flush=True)

    def words(self, words):
        return [e2e.HOLDFASTCTL, "--endpoints", self.address, "bench", *(str(w) for w in words), "-o", "json"]

    def fail(self, words, text):
        raise Spoiled(f"{self.system.name}: bench {' '.join(str(w) for w in words)}: {text.strip()}")

    def load(self, *words):
        """Run to the end; what it says, with the nodes' processor time for one operation."""
        before, began = bench.processor_s(self.system.pids), time.monotonic()
        code, out, err = e2e.run(self.words(words), timeout_s=RUN_LIMIT_S)
        if code != 0:
            self.fail(words, err or out)
        said = json.loads(out.splitlines()[-1])
        said["cpu_us"] = (bench.processor_s(self.system.pids) - before) / max(said["all"], 1) * 1e6
        Generator.look(words, said, time.monotonic() - began)
        return said

    def timed(self, *words, shape, seconds=None):
        return self.load(*words, "--connections", shape[0], "--streams", shape[1],
                         "--duration", f"{seconds or self.arguments.seconds}s", "--warm-up", f"{WARM_UP_S}s")

    def at_rate(self, name, *words, rate, processor=False, p999=False):
        said = self.timed(*words, "--rate", rate, shape=RATE_SHAPE)
        if said["requests"] != rate * self.arguments.seconds:
            self.fail(words, f"{said['requests']} of {rate * self.arguments.seconds} calls")
        self.latencies(name, said, p999)
        if processor:
            self.keep(f"{name}: CPU us/op", said["cpu_us"], "less")
        return said

    def latencies(self, name, said, p999=False):
        self.keep(f"{name}: p50 us", said["p50_us"], "less")
        self.keep(f"{name}: p99 us", said["p99_us"], "less")
        if p999:
            self.keep(f"{name}: p99.9 us", said["p999_us"], "less")

    def rate(self, name, said):
        self.keep(f"{name}: /s", said["per_second"], "more")
        self.latencies(name, said)
        self.keep(f"{name}: CPU us/op", said["cpu_us"], "less")

    def seen(self, name, said, p999=False):
        """Puts that watchers see."""
        self.latencies(f"{name}: the puts", said, p999)
        self.keep(f"{name}: event after the put, p50 us", said["event_p50_us"], "less")
        self.keep(f"{name}: event after the put, p99 us", said["event_p99_us"], "less")
        self.keep(f"{name}: CPU us/event", said["cpu_us"], "less")

    def resident(self):
        time.sleep(IDLE_S)
        return bench.resident_mib([self.leader]) * 2**20

    def end(self):
        if bench.leader_first(self.system)[0] != self.address:
            raise Spoiled(f"{self.system.name}: another node leads than at the beginning")


# ---- transactions --------------------------------------------------------------------------------


def transactions(part):
    address = part.address
    for name, operations, keys in (("compare and put, one key", 1, 1), ("compare and 10 puts", 10, 100000)):
        words = ("txn", "--operations", operations, "--key-count", keys)
        for shape in ((1, 1), (10, 10)):
            before = bench.revision(address)
            said = part.timed(*words, shape=shape)
            if bench.revision(address) - before != said["all"]:
                part.fail(words, "not a revision for each transaction")
            part.rate(f"{name}, {shape[0]}x{shape[1]}", said)
    part.at_rate(f"compare and 10 puts, {TXN_RATE}/s", "txn", "--operations", 10, "--key-count", 100000, rate=TXN_RATE,
                 processor=True, p999=True)
    key = b"bench/%010d" % 0
    for shape in ((10, 1), (10, 10)):
        with rpc.Client(address) as client:
            client.delete(key)
            said = part.timed("swap", shape=shape)
            version = client.range(key).kvs[0].version
        if version != said["swaps"]:
            part.fail(["swap"], f"the key has {version} versions after {said['swaps']} swaps")
        name = f"{shape[0] * shape[1]} clients compare and set one key"
        part.keep(f"{name}: set /s", said["swaps_per_second"], "more")
        part.keep(f"{name}: tried /s", said["per_second"], "more")
        part.latencies(name, said)
        part.keep(f"{name}: CPU us/try", said["cpu_us"], "less")


# ---- watchers ------------------------------------------------------------------------------------


class Watching:
    """`bench watch --hold`: watchers are there, puts on what they watch come when it is told to go on."""

    def __init__(self, part, first, *words):
        """first: of this cluster, so that memory they take is new."""
        self.part, self.words = part, ("watch", "--hold", "--watchers", part.arguments.watchers, *words)
        before = part.resident()
        self.process = part.start(self.words, stdin=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            part.fail(self.words, "no watchers")
        if first:
            part.keep("created /s", json.loads(line)["per_second"], "more")
            part.keep("memory for one, octets", (part.resident() - before) / part.arguments.watchers, "less")

    def go_on(self):
        before, began = bench.processor_s(self.part.system.pids), time.monotonic()
        out, _ = self.process.communicate("\n", timeout=RUN_LIMIT_S)
        if self.process.returncode != 0:
            self.part.fail(self.words, out)
        said = json.loads(out.splitlines()[-1])
        said["cpu_us"] = (bench.processor_s(self.part.system.pids) - before) / max(said["events"], 1) * 1e6
        Generator.look(self.words, said, time.monotonic() - began)
        return said


def watchers_one_prefix(part):
    count, seconds = part.arguments.watchers, part.arguments.seconds
    streams = ("--prefix", "--connections", 10, "--streams", 10)
    rate = f"puts at {PUT_RATE:,}/s"
    puts = ("put", "--key-count", LOAD_KEYS)
    part.at_rate(f"{rate}, no watchers", *puts, rate=PUT_RATE, p999=True)
    watching = Watching(part, True, *streams, "--requests", FAN_OUT_PUTS)
    part.at_rate(f"{rate} of other keys, beside {count:,} watchers", *puts, rate=PUT_RATE, p999=True)
    said = watching.go_on()
    if said["events"] != FAN_OUT_PUTS * count:
        part.fail(["watch"], f"{said['events']} events")
    part.keep(f"{FAN_OUT_PUTS} puts at once: events /s", said["events_per_second"], "more")
    part.keep(f"{FAN_OUT_PUTS} puts at once: CPU us/event", said["cpu_us"], "less")
    watching = Watching(part, False, *streams, "--rate", FAN_OUT_RATE, "--duration", f"{seconds}s", "--warm-up", f"{WARM_UP_S}s")
    part.seen(f"{FAN_OUT_RATE} puts/s", watching.go_on())


def watchers_key_each(part):
    count, seconds = part.arguments.watchers, part.arguments.seconds
    timed = ("--key-count", count, "--duration", f"{seconds}s", "--warm-up", f"{WARM_UP_S}s")
    rate = f"puts at {PUT_RATE:,}/s"
    part.at_rate(f"{rate}, no watchers", "put", "--key-count", count, rate=PUT_RATE, p999=True)
    watching = Watching(part, True, "--connections", 10, "--streams", 10, *timed)
    said = watching.go_on()
    part.keep("puts 10x10: events /s", said["events_per_second"], "more")
    part.seen("puts 10x10", said)
    watching = Watching(part, False, "--rate", PUT_RATE, "--connections", RATE_SHAPE[0], "--streams", RATE_SHAPE[1], *timed)
    part.seen(rate, watching.go_on(), p999=True)


# ---- leases --------------------------------------------------------------------------------------


def leases(part):
    count, seconds = part.arguments.leases, part.arguments.seconds
    rate = f"puts at {PUT_RATE:,}/s"
    puts = ("put", "--key-count", LOAD_KEYS)
    part.at_rate(f"{rate}, no leases", *puts, rate=PUT_RATE, p999=True)
    before = part.resident()
    said = part.load("grant", "--requests", count, "--ttl", 3600, "--connections", 10, "--streams", 10)
    part.rate(f"{count:,} granted, 10x10", said)
    part.keep(f"{count:,} granted: memory for one, octets", (part.resident() - before) / count, "less")
    types = rpc.proto("rpc")
    with rpc.Client(part.address) as client:
        every = client.call("/etcdserverpb.Lease/LeaseLeases", types.LeaseLeasesRequest(), types.LeaseLeasesResponse)
        if len(every.leases) != count:
            part.fail(["grant"], f"{len(every.leases)} leases in the list")
    part.at_rate(f"{rate}, beside {count:,} leases", *puts, rate=PUT_RATE, p999=True)
    alive = ("keep-alive", "--key-count", count)
    part.rate("kept alive on 10x10 streams", part.timed(*alive, shape=(10, 10)))
    part.at_rate(f"kept alive at {KEEP_ALIVE_RATE:,}/s", *alive, rate=KEEP_ALIVE_RATE, processor=True)
    keeping = part.start((*alive, "--rate", KEEP_ALIVE_RATE, "--connections", RATE_SHAPE[0], "--streams", RATE_SHAPE[1],
                          "--duration", f"{seconds + 30}s"), stdin=subprocess.DEVNULL)
    part.at_rate(f"{rate}, beside {KEEP_ALIVE_RATE:,} keepalives/s", *puts, rate=PUT_RATE, p999=True)
    keeping.send_signal(signal.SIGTERM)
    out, _ = keeping.communicate(timeout=RUN_LIMIT_S)
    if keeping.returncode != 0:
        part.fail(alive, out)


# ---- compaction ----------------------------------------------------------------------------------


def settled(client, first, begin):
    """When dbSizeInUse has fallen for the last time, and what it is then. It may take a while to begin."""
    least, fell = first, begin
    while time.monotonic() - begin < COMPACTION_LIMIT_S and (least > first * 0.9 or time.monotonic() - fell < SETTLE_S):
        time.sleep(0.05)
        size = client.status().dbSizeInUse
        if size < least - least // 100:
            least, fell = size, time.monotonic()
    return fell, least


def quantiles(part, name, latencies):
    ordered = sorted(latencies)
    part.keep(f"puts {name}: p50 us", bench.percentile(ordered, 0.5), "less")
    part.keep(f"puts {name}: p99 us", bench.percentile(ordered, 0.99), "less")
    part.keep(f"puts {name}: p99.9 us", bench.percentile(ordered, 0.999), "less")
    part.keep(f"puts {name}: slowest us", bench.percentile(ordered, 1), "less")
    part.keep(f"puts {name}: counted", len(ordered), None)


def compaction(part):
    types = rpc.proto("rpc")
    said = part.load("put", "--requests", part.arguments.revisions, "--key-count", LOAD_KEYS, "--connections", 100,
                     "--streams", 10)
    part.keep(f"{part.arguments.revisions:,} revisions written, 100x10: /s", said["per_second"], "more")
    log = os.path.join(part.scratch, "calls")
    words = ("put", "--rate", PUT_RATE, "--key-count", LOAD_KEYS, "--connections", RATE_SHAPE[0], "--streams", RATE_SHAPE[1],
             "--warm-up", f"{WARM_UP_S}s", "--duration", f"{COMPACTION_LIMIT_S + 60}s", "--file", log)
    load = part.start(words, stdin=subprocess.DEVNULL)
    begun = time.monotonic()
    time.sleep(WARM_UP_S + COMPACTION_BESIDE_S)
    busy, wrote = bench.processor_s(part.system.pids), time.monotonic()
    with rpc.Client(part.address, timeout_s=COMPACTION_LIMIT_S) as client:
        revision = client.range(b"nothing").header.revision
        first = client.status().dbSizeInUse
        begin = time.monotonic()
        client.call("/etcdserverpb.KV/Compact", types.CompactionRequest(revision=revision), types.CompactionResponse)
        gone, least = settled(client, first, begin)
        busy = (bench.processor_s(part.system.pids) - busy) / (time.monotonic() - wrote)
    done = max(gone, begin + 1)
    time.sleep(max(0, done + COMPACTION_BESIDE_S - time.monotonic()))
    load.send_signal(signal.SIGTERM)
    out, _ = load.communicate(timeout=RUN_LIMIT_S)
    if load.returncode != 0:
        part.fail(words, out)
    with open(log, encoding="ascii") as file:
        rows = [(int(due) / 1e6, int(took)) for due, took in (line.split() for line in file)]
    os.unlink(log)
    part.keep("until the leader's pages are free, s", gone - begin, "less")
    part.keep("in use before, MiB", first / 2**20, None)
    part.keep("in use at the end, MiB", least / 2**20, None)
    part.keep("processors busy meanwhile, all nodes and the puts", busy, None)
    for name, low, high in (("before", begun + WARM_UP_S, begin), ("during", begin, done),
                            ("after", done, done + COMPACTION_BESIDE_S)):
        quantiles(part, f"at {PUT_RATE:,}/s {name}", [took for due, took in rows if low <= due < high])


PARTS = {"transactions": transactions, "prefix": watchers_one_prefix, "keys": watchers_key_each, "leases": leases,
         "compaction": compaction}


def title(part, arguments):
    return {"transactions": "Transactions", "prefix": f"{arguments.watchers:,} watchers on one prefix",
            "keys": f"{arguments.watchers:,} watchers on a key each", "leases": f"{arguments.leases:,} leases",
            "compaction": f"Compaction of {arguments.revisions:,} revisions"}[part]



# ---- what is written -----------------------------------------------------------------------------


def figure(runs, kind, name):
    values = [r[name][0] for r in runs[kind] if name in r]
    return statistics.median(values) if values else None


def text_of(value):
    if value is None:
        return "not taken"
    return f"{value:,.2f}" if abs(value) < 10 else f"{value:,.0f}"


def factor(better, ours, theirs):
    """Above 1 where holdfast is better. None where nothing is better, or where there is nothing to divide by."""
    if better is None or ours is None or theirs is None or ours <= 0 or theirs <= 0:
        return None
    return ours / theirs if better == "more" else theirs / ours


def names_of(runs):
    return list(dict.fromkeys(n for kind in ("holdfast", "etcd") for r in runs[kind] for n in r))


def better_of(runs, name):
    return next(r[name][1] for kind in ("holdfast", "etcd") for r in runs[kind] if name in r)


def table(runs):
    rows = []
    for name in names_of(runs):
        ours, theirs = figure(runs, "holdfast", name), figure(runs, "etcd", name)
        f = factor(better_of(runs, name), ours, theirs)
        rows.append(f"| {name} | {text_of(ours)} | {text_of(theirs)} | {'' if f is None else f'{f:,.2f}' if f < 10 else f'{f:,.0f}'} |")
    return "| what | holdfast | etcd | factor |\n|---|--:|--:|--:|\n" + "\n".join(rows)


def losses(all_runs, arguments):
    """Where holdfast's median is worse, and whether the rounds of both overlap."""
    lost = []
    for part, runs in all_runs.items():
        for name in names_of(runs):
            better = better_of(runs, name)
            f = factor(better, figure(runs, "holdfast", name), figure(runs, "etcd", name))
            if f is None or f >= 1:
                continue
            ours = [r[name][0] for r in runs["holdfast"] if name in r]
            theirs = [r[name][0] for r in runs["etcd"] if name in r]
            clear = max(ours) < min(theirs) if better == "more" else min(ours) > max(theirs)
            spread = f"{text_of(min(ours))} to {text_of(max(ours))} beside {text_of(min(theirs))} to {text_of(max(theirs))}"
            lost.append(f"* {title(part, arguments)}: {name}: {spread}" +
                        ("." if len(ours) < 2 else ", in every round." if clear else "; the rounds overlap."))
    return "\n".join(lost) or "* Nowhere in these tables."


def machine(arguments, foreign, load):
    commit = subprocess.run(["git", "-C", e2e.ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    directory = tempfile.gettempdir()
    return (f"Written by `make bench-scale` (tests/bench/scale.py), {datetime.date.today()}: three nodes of holdfast "
            f"(commit {commit.stdout.strip()}) and three of etcd {bench.package('etcd-server')} in turn\non one virtual machine with "
            f"{os.cpu_count()} processors that nodes and load share ({bench.file_system(directory)}, fdatasync of 4 KiB: median "
            f"{bench.sync_p50_us(directory):.0f} us). Medians of {arguments.rounds} round(s)\n(compaction: "
            f"{arguments.compaction_rounds}) of {arguments.seconds} s after {WARM_UP_S} s of warm-up; every part of a round on fresh "
            "data. **Factor**: above 1 where holdfast is better.\n"
            f"Other work took {foreign * 100:.0f} % of the processors meanwhile, and the load average was {load:.1f} at the start" +
            (".\n" if foreign < bench.FOREIGN_SHARE_MAX else
             ": **not a quiet machine**. Compare the columns,\nnot these figures with other tables', and take the p99 with care.\n"))


HOW = """### How it was taken

* All load is `holdfastctl bench` on the leader: C x S is connections x calls under way on each. The generator is one thread; its
  greatest share of a processor was {share:.0f} % (`bench {what}`).
* *At n/s* is an open loop on 10 connections: latency counts from when a call was due, so a pause is charged with everything it delayed.
  The other figures are closed loops.
* *Compare and put*: the comparison holds always. *Clients compare and set one key*: each tries with the revision it saw last; *set*
  are those that found the key so. In the end the key has exactly that many versions.
* Watchers sit on 10 connections with 10 streams each (at a rate: 100). Each put's value tells when it was due, so an event tells
  its age; every event for every watcher must have come. *Puts at once*: one hundred under way at most.
* Memory: growth of the leader's resident size by that many, half a second after; allocators and garbage collection blur it.
* Leases have a TTL of an hour. A keepalive of holdfast is an entry of the log, answered when a majority has it, so that no change of
  leader ends a lease early; etcd's leader answers from memory.
* Compaction: of all {revisions:,} revisions of {keys:,} keys; *during* is until `dbSizeInUse` of the leader's Status has fallen
  and falls no more.
* *CPU us/op*: processor time of all three nodes for one operation, warm-up included."""


def section(arguments, all_runs, spoiled, foreign, load):
    parts = "\n\n".join(f"### {title(part, arguments)}\n\n{table(runs)}" for part, runs in all_runs.items())
    how = HOW.format(share=Generator.share * 100, what=Generator.what, revisions=arguments.revisions, keys=LOAD_KEYS)
    again = "".join(f"* {why}\n" for why in spoiled)
    again = f"### Parts that were begun anew\n\n{again}\n" if again else ""
    return (f"\n\n## Scale\n\n{machine(arguments, foreign, load)}\n{parts}\n\n### Where holdfast loses\n\n{losses(all_runs, arguments)}\n\n"
            f"{again}{how}\n\n")


# ---- the run -------------------------------------------------------------------------------------


def run_part(name, kind, arguments, scratch, spoiled):
    """Its figures; again if it is spoiled, which is noted. None at all if that comes to nothing."""
    for _ in range(TRIES):
        system = kind()
        part = None
        try:
            part = Part(system, arguments, scratch)
            PARTS[name](part)
            part.end()
            return part.figures
        except (Spoiled, AssertionError, rpc.grpc.RpcError, subprocess.TimeoutExpired) as why:
            why = why.details() if isinstance(why, rpc.grpc.RpcError) else " ".join(str(why).split())
            print(f"    spoiled: {why}", flush=True)
            spoiled.append(f"{title(name, arguments)}: {why}")
        finally:
            if part is not None:
                part.close()
            system.stop()
    spoiled.append(f"{title(name, arguments)}: {kind.name}: given up after {TRIES} tries")
    return {}


def main():
    parser = argparse.ArgumentParser(description="Scale, beside etcd.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compaction-rounds", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--watchers", type=int, default=10000)
    parser.add_argument("--leases", type=int, default=100000)
    parser.add_argument("--revisions", type=int, default=1000000)
    parser.add_argument("--only", action="append", choices=list(PARTS), default=[])
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    arguments = parser.parse_args()
    if shutil.which("etcd") is None:
        raise SystemExit("scale: etcd is missing; make deps")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    scratch = tempfile.mkdtemp(prefix="holdfast-scale-")
    load, work, began = os.getloadavg()[0], bench.ForeignWork(), time.monotonic()
    spoiled = []
    all_runs = {part: {"holdfast": [], "etcd": []} for part in arguments.only or PARTS}
    try:
        for number in range(max(arguments.rounds, arguments.compaction_rounds)):
            for part, runs in all_runs.items():
                if number < (arguments.compaction_rounds if part == "compaction" else arguments.rounds):
                    print(f"  round {number + 1}, {part}, after {time.monotonic() - began:.0f} s", flush=True)
                    for kind in (bench.Holdfast, bench.Etcd) if number % 2 == 0 else (bench.Etcd, bench.Holdfast):
                        runs[kind.name].append(run_part(part, kind, arguments, scratch, spoiled))
        text = section(arguments, all_runs, spoiled, work.share(), load)
        print("\n" + text)
        if arguments.write:
            document.replace_section(bench.DOCUMENT, BEGIN, END, text)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        e2e.close_all()


if __name__ == "__main__":
    main()
