# SPDX-License-Identifier: Apache-2.0
"""
holdfastctl watch: history then live, what is printed in each form, going on elsewhere without gap or repeat
after a break, compaction told, and a command per event.
"""
import json
import os
import re
import signal
import sys
import threading
import unittest

import cluster as e2e
from ctl import OK, REFUSED, UNREACHABLE, USAGE, CtlTest, Running, ctl, small_pipe


class Watch(CtlTest):
    def events(self, running, count):
        """The next events of a watch with -o json."""
        return [json.loads(line) for line in running.lines(count)]

    def test_history_then_live(self):
        start = self.revision() + 1
        self.ok("put", "h/a", "1")
        self.ok("put", "h/b", "x")
        self.ok("put", "elsewhere", "x")
        self.ok("del", "h/a")
        watch = self.begin("watch", "h/", "--prefix", "--rev", str(start))
        self.assertEqual(watch.lines(8), ["PUT", "h/a", "1", "PUT", "h/b", "x", "DELETE", "h/a"])
        self.assertEqual(watch.line(), "")
        self.ok("put", "h/a", "two\nlines")
        self.assertEqual(watch.lines(4), ["PUT", "h/a", "two", "lines"])
        watch.signal(signal.SIGINT)
        self.assertEqual(watch.wait(), OK)
        self.assertEqual(watch.rest(), [])

    def test_same_as_etcdctl(self):
        start = self.revision() + 1
        for words in (("put", "s/a", "1"), ("put", "s/a", "2"), ("del", "s/a"), ("put", "s/b", ""), ("del", "s/", "--prefix")):
            self.ok(*words)
        for more in ((), ("--prev-kv",)):
            words = ("watch", "s/", "--prefix", "--rev", str(start), *more)
            lines = []
            for program in ([e2e.HOLDFASTCTL], ["etcdctl"]):
                watch = Running([*program, "--endpoints", self.endpoints, *words], env=dict(os.environ, ETCDCTL_API="3"))
                self.addCleanup(watch.close)
                lines.append(watch.lines(15 + (6 if more else 0)))
            self.assertEqual(lines[0], lines[1])

    def test_forms(self):
        start = self.revision() + 1
        self.ok("put", "f", "1")
        self.ok("put", "f", "2")
        self.ok("del", "f")
        out = self.begin("watch", "f", "--rev", str(start), "-o", "json", "--prev-kv")
        created, one, two, gone = self.events(out, 4)
        self.assertEqual((created["type"], created["revision"] >= start + 2), ("CREATED", True))
        kv = {"key": "f", "value": "1", "create_revision": start, "mod_revision": start, "version": 1, "lease": 0}
        self.assertEqual(one, {"type": "PUT", "revision": start, "kv": kv, "previous": None})
        kv2 = dict(kv, value="2", mod_revision=start + 1, version=2)
        self.assertEqual(two, {"type": "PUT", "revision": start + 1, "kv": kv2, "previous": kv})
        self.assertEqual((gone["type"], gone["revision"], gone["kv"]["key"], gone["previous"]), ("DELETE", start + 2, "f", kv2))
        out = self.begin("watch", "f", "--rev", str(start), "-o", "table", "--prev-kv")
        self.assertEqual(out.lines(4), ["REVISION\tTYPE\tVERSION\tKEY\tVALUE\tPREVIOUS", f"{start}\tPUT\t1\tf\t1\t",
                                        f"{start + 1}\tPUT\t2\tf\t2\t1", f"{start + 2}\tDELETE\t0\tf\t\t2"])
        out = self.begin("watch", "f", "--rev", str(start), "--value-only")
        self.assertEqual(out.lines(4), ["PUT", "1", "PUT", "2"])

    def test_from_now(self):
        self.ok("put", "n", "before")
        for more in ((), ("--from-now",)):
            watch = self.begin("watch", "n", "-o", "json", *more)
            created = self.events(watch, 1)[0]
            self.ok("put", "n", "after")
            event = self.events(watch, 1)[0]
            self.assertEqual((event["kv"]["value"], event["revision"]), ("after", created["revision"] + 1))

    def test_ranges_and_filters(self):
        start = self.revision() + 1
        for key in ("r/1", "r/2", "r/3"):
            self.ok("put", key, key)
        self.ok("del", "r/2")
        for words, wanted in ((("r/1", "r/3"), ["r/1", "r/2", "-r/2"]), (("r/2", "--from-key"), ["r/2", "r/3", "-r/2"]),
                              (("r/", "--prefix", "--no-put"), ["-r/2"]), (("r/", "--prefix", "--no-delete"), ["r/1", "r/2", "r/3"]),
                              (("", "--prefix"), ["r/1", "r/2", "r/3", "-r/2"])):
            watch = self.begin("watch", *words, "--rev", str(start), "-o", "json")
            got = self.events(watch, 1 + len(wanted))[1:]
            self.assertEqual([("-" if e["type"] == "DELETE" else "") + e["kv"]["key"] for e in got], wanted, words)

    def test_usage(self):
        for words in (("watch",), ("watch", "a", "b", "c"), ("watch", "a", "b", "--prefix"), ("watch", "a", "--exec"),
                      ("watch", "a", "--rev", "3", "--from-now"), ("watch", "a", "--no-put", "--no-delete"),
                      ("watch", "a", "--rev", "-1"), ("watch", "a", "--exec", "--")):
            self.fails(USAGE, "", *words)

    def test_refused_and_unreachable(self):
        self.fails(REFUSED, "watcher range is empty", "watch", "b", "a")
        dead = f"127.0.0.1:{e2e.free_port()}"
        self.fails(UNREACHABLE, dead, "watch", "a", endpoints=dead)
        self.fails(UNREACHABLE, "trying the next endpoint", "watch", "a", endpoints=f"{dead},127.0.0.1:{e2e.free_port()}")
        fake = self.fake({})
        self.fails(REFUSED, "does not have that call", "watch", "a", endpoints=fake.address)
        watch = self.begin("watch", "a", "-o", "json", endpoints=f"{dead},{self.endpoints}")
        self.assertEqual(self.events(watch, 1)[0]["type"], "CREATED")

    # ---- breaks

    def test_breaks(self):
        """Two ways to the servers are cut again and again while a writer writes: every event once, in order."""
        ways = [self.proxy(0), self.proxy(1)]
        start = self.revision() + 1
        watch = self.begin("watch", "b/", "--prefix", "--rev", str(start), "-o", "json",
                           endpoints=",".join(way.address for way in ways))
        self.events(watch, 1)
        revisions = []
        for turn in range(12):
            for i in range(5):
                revisions.append(json.loads(self.ok("put", "b/k", f"{turn}.{i}", "-o", "json"))["revision"])
                if i == turn % 5:
                    (ways[0].drop if turn % 3 else ways[0].cut)()
                    (ways[1].drop if turn % 2 else ways[1].cut)()
            for way in ways:
                way.mend()
            if turn % 4 == 0:  # and now and then it must be there again before the next break
                got = self.events(watch, len(revisions))
                self.assertEqual([e["revision"] for e in got], revisions)
                revisions = []
        got = self.events(watch, len(revisions))
        self.assertEqual([e["revision"] for e in got], revisions)
        self.assertGreater(sum(way.accepted for way in ways), 3)
        watch.signal(signal.SIGTERM)
        self.assertEqual(watch.wait(), OK)
        self.assertIn("going on at", "".join(watch.err))

    def test_break_before_the_first_event(self):
        """From now on means from when the watch began, not from when it was mended."""
        way = self.proxy()
        watch = self.begin("watch", "first", "-o", "json", endpoints=way.address)
        self.events(watch, 1)
        way.cut()
        self.ok("put", "first", "while it was cut")
        way.mend()
        self.assertEqual(self.events(watch, 1)[0]["kv"]["value"], "while it was cut")

    def test_frozen_endpoint(self):
        """A way that swallows everything is noticed by its silence."""
        ways = [self.proxy(0), self.proxy(1)]
        watch = self.begin("--timeout", "500ms", "watch", "frozen", "-o", "json", endpoints=",".join(w.address for w in ways))
        self.events(watch, 1)
        ways[0].freeze()
        self.ok("put", "frozen", "x")
        self.assertEqual(self.events(watch, 1)[0]["kv"]["value"], "x")
        watch.wait_err("ping")

    def test_compacted(self):
        self.ok("put", "c", "1")
        self.ok("put", "c", "2")
        revision = self.revision()
        self.ok("compact", str(revision))
        got, out, err = ctl(self.endpoints, "watch", "c", "--rev", str(revision - 1))
        self.assertEqual((got, out), (REFUSED, ""))
        self.assertIn(f"the events of {revision - 1} to {revision - 1}", err)
        self.assertIn(f"--rev {revision}", err)
        watch = self.begin("watch", "c", "--rev", str(revision))
        self.assertEqual(watch.lines(3), ["PUT", "c", "2"])

    def test_compacted_while_cut(self):
        way = self.proxy()
        watch = self.begin("watch", "cw", "-o", "json", endpoints=way.address)
        self.events(watch, 1)
        way.cut()
        for i in range(3):
            self.ok("put", "cw", str(i))
        self.ok("compact", str(self.revision()))
        way.mend()
        self.assertEqual(watch.wait(), REFUSED)
        self.assertEqual(watch.rest(), [])
        self.assertRegex("".join(watch.err), r"the events of \d+ to \d+ cannot be told any more")

    def test_progress(self):
        """Progress is printed when asked for, and a break after it goes on behind it."""
        rpc = __import__("rpc")
        starts = []

        def serve(requests, _context):
            create = rpc.proto("rpc").WatchRequest.FromString(next(requests)).create_request
            starts.append((create.start_revision, create.progress_notify))
            answer = rpc.proto("rpc").WatchResponse
            yield answer(header={"revision": 10}, created=True).SerializeToString()
            yield answer(header={"revision": 10 + 10 * len(starts)}).SerializeToString()
            if len(starts) < 3:
                return  # ended by the server: a break
            yield answer(canceled=True, cancel_reason="enough of it").SerializeToString()

        fake = self.fake({"/etcdserverpb.Watch/Watch": serve})
        for more, wanted in ((("--progress-notify",), "progress notify: 20\nprogress notify: 30\nprogress notify: 40\n"),
                             (("--progress-notify", "-o", "json"), '{"type":"CREATED","revision":10}\n' + "".join(
                                 f'{{"type":"PROGRESS","revision":{r}}}\n' for r in (20, 30, 40))), ((), "")):
            starts.clear()
            code, out, err = ctl(fake.address, "watch", "p", *more)
            self.assertEqual((code, out), (REFUSED, wanted), err)
            self.assertIn("enough of it", err)
            self.assertEqual(starts, [(0, bool(more)), (21, bool(more)), (31, bool(more))])

    def test_repeats_are_dropped(self):
        """A server that sends again what was told already, or cuts off within its answer, confuses nobody."""
        rpc = __import__("rpc")
        starts = []

        def serve(requests, context):
            proto = rpc.proto("rpc")
            starts.append(proto.WatchRequest.FromString(next(requests)).create_request.start_revision)
            yield proto.WatchResponse(header={"revision": 9}, created=True).SerializeToString()
            events = [{"kv": {"key": b"k", "value": str(r).encode(), "mod_revision": r}} for r in (5, 6, 6, 7)]
            yield proto.WatchResponse(header={"revision": 9}, events=events).SerializeToString()
            if len(starts) < 2:
                context.abort(rpc.grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader")
            yield proto.WatchResponse(header={"revision": 9}, events=[
                {"type": "DELETE", "kv": {"key": b"k", "mod_revision": 8}}]).SerializeToString()
            yield b"\xff\xff garbage"

        fake = self.fake({"/etcdserverpb.Watch/Watch": serve})
        watch = self.begin("watch", "k", "--rev", "5", endpoints=fake.address)
        self.assertEqual(watch.lines(14), ["PUT", "k", "5", "PUT", "k", "6", "PUT", "k", "6", "PUT", "k", "7", "DELETE", "k"])
        watch.wait_err("no leader")
        watch.wait_err("cannot be read")
        self.assertEqual(starts[:2], [5, 8])

    def test_nobody_reads(self):
        start = self.revision() + 1
        self.ok("put", "nobody", "x")
        read_end, write_end = small_pipe()
        os.close(read_end)
        process = e2e.start_process([e2e.HOLDFASTCTL, "--endpoints", self.endpoints, "watch", "nobody", "--rev", str(start)],
                                    stdout=write_end, stderr=-3, restore_signals=False)
        os.close(write_end)
        self.assertEqual(process.wait(e2e.LIMIT_S), REFUSED, "SIGPIPE being ignored, the failed write ends it")

    # ---- COMMAND

    def test_exec_environment(self):
        """etcdctl's variables as etcdctl writes them, and ours as they are; the value on standard input."""
        start = self.revision() + 1
        value = 'quote" back\\slash\ttab\nline ünïcode \x7f\x01 \u00a0'
        self.ok("put", "exec", "first")
        self.ok("put", "exec", value)
        self.ok("del", "exec")
        show = [sys.executable, "-c", "import os, sys, json; print(json.dumps([{k: v for k, v in os.environ.items() "
                "if '_WATCH_' in k}, sys.stdin.read()]), flush=True)"]
        ours = self.begin("watch", "exec", "--rev", str(start), "--prev-kv", "--exec", "--", *show)
        theirs = Running(["etcdctl", "--endpoints", self.endpoints, "watch", "exec", "--rev", str(start), "--", *show],
                         env=dict(os.environ, ETCDCTL_API="3"))
        self.addCleanup(theirs.close)
        for i, (kind, text) in enumerate((("PUT", "first"), ("PUT", value), ("DELETE", ""))):
            environment, given = json.loads(ours.line())
            etcd_like = {k: v for k, v in environment.items() if k.startswith("ETCD_")}
            while not (line := theirs.line()).startswith("[{"):
                pass  # etcdctl prints the event, too
            self.assertEqual(etcd_like, json.loads(line)[0])
            self.assertEqual((environment["HOLDFAST_WATCH_REVISION"], environment["HOLDFAST_WATCH_EVENT_TYPE"],
                              environment["HOLDFAST_WATCH_KEY"], environment["HOLDFAST_WATCH_VALUE"], given),
                             (str(start + i), kind, "exec", text, text))
            self.assertEqual(environment.get("HOLDFAST_WATCH_PREVIOUS"), (None, "first", value)[i])

    def test_exec_large_and_binary(self):
        """What no environment can hold is on standard input alone."""
        start = self.revision() + 1
        octets = b"nul\0" + bytes(range(256)) + b"x" * 300000
        self.txn_put("exec2", octets)
        watch = self.begin("watch", "exec2", "--rev", str(start), "--", sys.executable, "-c",
                           "import os, sys, hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest(), "
                           "'HOLDFAST_WATCH_VALUE' in os.environ, 'ETCD_WATCH_VALUE' in os.environ)")
        import hashlib
        self.assertEqual(watch.line(), f"{hashlib.sha256(octets).hexdigest()} False False")

    def txn_put(self, key, octets):
        text = "".join(f"\\x{octet:02x}" for octet in octets)
        self.ok("txn", input_text=f'\nput {key} "{text}"\n\n\n')

    def test_exec_one_after_the_other(self):
        """COMMAND is slow, events many: none is lost, none overlaps; the rest waits at the server."""
        start = self.revision() + 1
        for i in range(40):
            self.ok("put", "slow", str(i))
        watch = self.begin("watch", "slow", "--rev", str(start), "--", "sh", "-c",
                           "echo begin; cat; echo; echo end $HOLDFAST_WATCH_REVISION")
        for i in range(40):
            self.assertEqual(watch.lines(3), ["begin", str(i), f"end {start + i}"])
        self.ok("put", "slow", "live")
        self.assertEqual(watch.lines(3), ["begin", "live", f"end {start + 40}"])

    def test_exec_fails(self):
        start = self.revision() + 1
        self.ok("put", "ef", "1")
        self.ok("put", "ef", "2")
        code, out, err = ctl(self.endpoints, "watch", "ef", "--rev", str(start), "--exec", "--", "sh", "-c", "echo ran; exit 3")
        self.assertEqual((code, out), (REFUSED, "ran\n"))
        self.assertIn(f"ended with exit code 3 at revision {start}", err)
        self.fails(REFUSED, "No such file", "watch", "ef", "--rev", str(start), "--", "/no/such/program")

    def test_exec_cannot_be_started(self):
        """The first event that COMMAND cannot be started for is the last one it is tried for."""
        def watchers():
            pages = (e2e.http_get(node.client_address, "/metrics")[1] for node in self.cluster)
            return sum(int(line.split()[1]) for page in pages for line in page.splitlines()
                       if line.startswith("etcd_debugging_mvcc_watcher_total "))

        before = watchers()
        watch = self.begin("watch", "ec", "--exec", "--", "/no/such/program")
        e2e.wait_until(lambda: watchers() > before, "the watch is there")
        watch.signal(signal.SIGSTOP)  # so that it finds three responses when it reads again
        for i in range(3):
            self.ok("put", "ec", str(i))
        watch.signal(signal.SIGCONT)
        self.assertEqual(watch.wait(), REFUSED)
        self.assertEqual("".join(watch.err).count("No such file"), 1)

    def test_exec_signal(self):
        """A signal is passed on to COMMAND, whose end is waited for."""
        start = self.revision() + 1
        self.ok("put", "es", "1")
        watch = self.begin("watch", "es", "--rev", str(start), "--", "sh", "-c",
                           "trap 'echo told; exit 0' TERM; echo ready; while :; do sleep 0.05; done")
        self.assertEqual(watch.line(), "ready")
        watch.signal(signal.SIGTERM)
        self.assertEqual(watch.line(), "told")
        self.assertEqual(watch.wait(), OK)


if __name__ == "__main__":
    e2e.main()
