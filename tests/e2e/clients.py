# SPDX-License-Identifier: Apache-2.0
"""
clients.py: unmodified clients of etcd against holdfast. Each test says what it shows with @shows; from these
lines the table in docs/compatibility.md is made (make diff-docs), and a test checks that it is current. So a
row of the table is a test that passes.

HOLDFAST_AGAINST=etcd runs the same tests against a second etcd: a test of the tests.
"""
import functools
import os
import signal
import subprocess
import tempfile

import cluster as e2e
import etcd

AGAINST_ETCD = os.environ.get("HOLDFAST_AGAINST") == "etcd"

# What holdfast does not serve. A test that needs it is skipped, and is no row of the table.
NOT_BUILT = set()

ROWS = []

# Commands that there are and that no test runs, with the reason.
LEFT_OUT = [
    ("etcdctl 3.4", "check perf, check datascale", "a minute of load each; the benchmark measures"),
    ("etcdctl 3.4", "snapshot status, snapshot restore", "they read bbolt files; holdfast's snapshot is an SQLite file"),
    ("etcdctl 3.4", "migrate", "reads the files of an etcd of version 2"),
    ("etcdctl 3.4", "auth, user, role", "there is no authentication yet"),
]


def shows(client, commands, how, needs=()):
    """A test method that shows `commands` of `client` to work; `how` they are checked; what it `needs`."""
    def mark(method):
        missing = NOT_BUILT & set(needs)
        if not missing:
            ROWS.append((client, commands, how))

        @functools.wraps(method)
        def run(self, *args):
            if missing and not AGAINST_ETCD:
                self.skipTest("not built: " + ", ".join(sorted(missing)))
            return method(self, *args)

        return run
    return mark


def as_text():
    lines = ["| Client | Commands | Checked |", "|---|---|---|"]
    lines += [f"| {client} | {commands} | {how} |" for client, commands, how in sorted(ROWS)]
    lines += ["", "Left out:", ""]
    lines += [f"* {client}: {commands}: {why}." for client, commands, why in LEFT_OUT]
    return "\n".join(lines) + "\n"


class Ours:
    """Three nodes of holdfast, or what stands in for them."""

    def __init__(self):
        self.stand_in = etcd.Etcd() if AGAINST_ETCD else None
        self.cluster = None if AGAINST_ETCD else e2e.Cluster(3, election_timeout_ms=1000, heartbeat_ms=100).start()

    @property
    def addresses(self):
        return [self.stand_in.address] * 3 if AGAINST_ETCD else [n.client_address for n in self.cluster]

    def close(self):
        if self.stand_in is not None:
            self.stand_in.close()
        else:
            self.cluster.check_logs()
            self.cluster.stop()


class Running:
    """A client that goes on until it is told to end, with its output in files and its input left open."""

    def __init__(self, words, env=None, input_text=""):
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self.process = e2e.start_process(words, stdin=subprocess.PIPE, stdout=self._out, stderr=self._err, env=env)
        self.process.stdin.write(input_text.encode())
        self.process.stdin.flush()

    @staticmethod
    def _text(file):
        return os.pread(file.fileno(), 1 << 24, 0).decode(errors="replace")

    @property
    def out(self):
        return self._text(self._out)

    @property
    def err(self):
        return self._text(self._err)

    def wait_lines(self, count):
        """The output once it has `count` lines."""
        def look():
            if self.out.count("\n") >= count:
                return True
            if self.process.poll() is not None:
                raise e2e.NodeEnded(f"ended with {self.process.returncode}: {self.out}{self.err}")
            return False

        e2e.wait_until(look, f"{count} lines of output, not only {self.out!r} {self.err!r}")
        return self.out

    def end(self, number=signal.SIGINT):
        """Send a signal; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(e2e.LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"{self.process.args} did not end") from None

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self._out, self._err):
            file.close()
