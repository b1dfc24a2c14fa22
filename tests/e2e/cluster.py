# SPDX-License-Identifier: Apache-2.0
"""
cluster.py: real holdfastd processes on loopback for the end-to-end tests. The gRPC client is in rpc.py and
loaded when it is first used, so that the demo needs nothing but Python itself.

A test makes a Cluster, starts its nodes, and does to them what the world does: kill -9, SIGSTOP,
SIGTERM, a wiped disk. Nothing here waits for a duration; every wait is for a condition, with a limit
that only a broken program reaches.

Rules
 1. Processes are ended by their own pid, and die with this one (PR_SET_PDEATHSIG).
 2. Files lie in one temporary directory per cluster; it is removed at the end.
 3. Ports lie below the kernel's range for outgoing connections. Inside it a client that dials a dead
    node's port again and again may be given that very port as its own and be connected to itself;
    the node then cannot come back.
 4. When a test fails, the end of every node's log is printed.

HOLDFAST_BIN names the directory of the binaries (default: build/release in the source tree).
"""
import atexit
import ctypes
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.abspath(os.environ.get("HOLDFAST_BIN", os.path.join(ROOT, "build", "release")))
HOLDFASTD = os.path.join(BIN, "holdfastd")
HOLDFASTCTL = os.path.join(BIN, "holdfastctl")

# libconfig leaks a little when it refuses a file; matters only for binaries built with MODE=asan.
os.environ.setdefault("LSAN_OPTIONS", "print_suppressions=0:suppressions=" + os.path.join(ROOT, "tests", "e2e", "lsan.supp"))

# A node left by a second SIGTERM ends with its threads running, as it should.
os.environ.setdefault("TSAN_OPTIONS", "report_thread_leaks=0")

# Limits that only a broken program reaches, also on a machine many times slower than ours.
LIMIT_S = 60
LOG_LINES_SHOWN = 80

EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_IDENTITY, EXIT_IN_USE, EXIT_CONFIG = 0, 1, 64, 66, 73, 78


def say(text):
    print(text, flush=True)


class NodeEnded(Exception):
    """A node that should run does not; waiting longer is of no use."""


# What a condition may raise to say "not yet"; rpc.py adds its own.
NOT_YET = [OSError, AssertionError]


def wait_until(condition, what, limit_s=LIMIT_S, every_s=0.02):
    """The first true value of condition()."""
    end = time.monotonic() + limit_s
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except tuple(NOT_YET) as problem:
            last = problem
        if time.monotonic() > end:
            raise AssertionError(f"after {limit_s} s still not: {what} (last seen: {last!r})")
        time.sleep(every_s)


# ---- ports ---------------------------------------------------------------------------------------

_ports_given = set()


def free_port():
    """A port nobody listens on, outside the range of outgoing connections (rule 3)."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        lowest = int(file.read().split()[0])
    draw = random.SystemRandom()
    for _ in range(1000):
        port = draw.randrange(10000, lowest) if lowest > 11000 else 0
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            port = probe.getsockname()[1]
        if port not in _ports_given:
            _ports_given.add(port)
            return port
    raise AssertionError("no free port found")


# ---- plain HTTP ----------------------------------------------------------------------------------


def http_get(address, path, timeout_s=10):
    """(status, body text, headers in lower case) of a plain HTTP/1.1 GET; other statuses do not raise."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}{path}", timeout=timeout_s) as answer:
            return answer.status, answer.read().decode(), {k.lower(): v for k, v in answer.headers.items()}
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode(), {k.lower(): v for k, v in answer.headers.items()}


# ---- processes -----------------------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


# A function to run in the child makes Python fork in earnest, and in about one of nine runs of test_members.py the
# test itself was aborted in that fork (gRPC's threads and fork handlers are suspected). setpriv asks for the signal
# behind a vfork, which runs no handlers: 32 runs without an abort.
SETPRIV = shutil.which("setpriv")


def start_process(words, **more):
    """subprocess.Popen whose child is killed when this process ends in whatever way."""
    # The signal comes when the *thread* that forked ends.
    assert threading.current_thread() is threading.main_thread(), "start processes on the main thread"
    if SETPRIV is not None:
        return subprocess.Popen([SETPRIV, "--pdeathsig", "KILL", *words], **more)
    return subprocess.Popen(words, preexec_fn=_die_with_parent, **more)


def run(words, input_text=None, timeout_s=LIMIT_S, env=None):
    """Run to the end; (exit code, stdout, stderr)."""
    done = subprocess.run(words, input=input_text, capture_output=True, text=True, timeout=timeout_s,
                          env=env, check=False)
    return done.returncode, done.stdout, done.stderr


class Node:
    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name
        self.peer_port = free_port()
        self.client_port = free_port()
        self.data_dir = os.path.join(cluster.directory, name + ".data")
        self.config_path = os.path.join(cluster.directory, name + ".conf")
        self.log_path = os.path.join(cluster.directory, name + ".log")
        self.process = None
        self.paused = False
        self._client = None

    @property
    def client_address(self):
        return f"127.0.0.1:{self.client_port}"

    @property
    def peer_address(self):
        return f"127.0.0.1:{self.peer_port}"

    @property
    def group_dir(self):
        return os.path.join(self.data_dir, "group-0")

    @property
    def client(self):
        if self._client is None:
            import rpc  # pylint: disable=import-outside-toplevel

            self._client = rpc.Client(self.client_address)
        return self._client

    def write_config(self, members=None, cluster_name=None, extra="", node_name=None, bootstrap=False,
                     join=()):
        """bootstrap: founds a cluster alone; join: nodes by whose addresses it joins."""
        extra += self.founding(bootstrap, join)
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(config_text(cluster_name or self.cluster.name, node_name or self.name,
                                   self.data_dir, self.client_address, self.peer_address,
                                   members or self.cluster.nodes.values(),
                                   self.cluster.election_timeout_ms, self.cluster.heartbeat_ms,
                                   self.cluster.extra + extra, self.cluster.raft))

    @staticmethod
    def founding(bootstrap, join):
        text = " bootstrap = true;" if bootstrap else ""
        if join:
            text += f' join = "{", ".join(n.peer_address for n in join)}";'
        return text

    def start(self, stderr=None, args=()):
        assert not self.alive(), f"{self.name} runs already"
        self.drop_client()  # its channel may still hold the connection to the process before
        with open(self.log_path, "ab") as log:
            log.write(b"---- start\n")
            log.flush()
            self.process = start_process([HOLDFASTD, "-c", self.config_path, *args],
                                         stdin=subprocess.DEVNULL, stdout=log,
                                         stderr=stderr if stderr is not None else log,
                                         cwd=self.cluster.directory)
        self.paused = False

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        os.kill(self.pid, number)

    def kill9(self):
        if self.alive():
            self.signal(signal.SIGKILL)
        self.process.wait(LIMIT_S)

    def pause(self):
        self.signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        self.signal(signal.SIGCONT)
        self.paused = False

    def terminate(self, limit_s=LIMIT_S):
        """SIGTERM and the exit code."""
        if self.paused:
            self.resume()
        if self.alive():
            self.signal(signal.SIGTERM)
        return self.wait(limit_s)

    def wait(self, limit_s=LIMIT_S):
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {limit_s} s") from None

    def wipe(self):
        assert not self.alive()
        shutil.rmtree(self.data_dir)

    def log_text(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def wait_log(self, text, limit_s=LIMIT_S):
        wait_until(lambda: text in self.log_text(), f"log of {self.name} says {text!r}", limit_s, 0.05)

    def healthy(self):
        """A linearizable read works through this node."""
        if not self.alive():
            raise NodeEnded(f"{self.name} ended with exit code {self.process.returncode}")
        status, body, _ = http_get(self.client_address, "/health")
        return status == 200 and json.loads(body)["health"] == "true"

    def wait_healthy(self, limit_s=LIMIT_S):
        wait_until(self.healthy, f"{self.name} is healthy", limit_s, 0.05)

    def listening(self):
        with socket.create_connection(("127.0.0.1", self.client_port), timeout=5):
            return True

    def drop_client(self):
        if self._client is not None:
            self._client.close()
            self._client = None

    def close(self):
        self.drop_client()
        if self.alive():
            self.kill9()


def config_text(cluster_name, node_name, data_dir, listen_client, listen_peer, members,
                election_timeout_ms, heartbeat_ms, extra="", raft=""):
    lines = [f'cluster = "{cluster_name}";', f'node = "{node_name}";', f'data_dir = "{data_dir}";',
             f'listen_client = "{listen_client}";', f'listen_peer = "{listen_peer}";', "members = ("]
    lines.append(",\n".join(f'    {{ name = "{m.name}"; peer = "{m.peer_address}"; '
                            f'client = "{m.client_address}"; }}' for m in members))
    lines.append(");")
    lines.append(f"raft = {{ election_timeout_ms = {election_timeout_ms}; "
                 f"heartbeat_ms = {heartbeat_ms}; {raft} }};")
    if extra:
        lines.append(extra)
    return "\n".join(lines) + "\n"


_clusters = []


class Cluster:
    """Nodes n1..nN with their files; configured, not started."""

    def __init__(self, count=3, name="test", election_timeout_ms=500, heartbeat_ms=50, extra="", raft=""):
        for program in (HOLDFASTD, HOLDFASTCTL):
            if not os.access(program, os.X_OK):
                raise SystemExit(f"{program} is missing; build it with: make all (or set HOLDFAST_BIN)")
        self.name = name
        self.election_timeout_ms = election_timeout_ms
        self.heartbeat_ms = heartbeat_ms
        self.extra = extra
        self.raft = raft
        self.directory = tempfile.mkdtemp(prefix="holdfast-e2e-")
        self.nodes = {}
        for i in range(count):
            self.nodes[f"n{i + 1}"] = Node(self, f"n{i + 1}")
        for node in self.nodes.values():
            node.write_config()
        self.closed = False
        self.failed = False
        self.last_logs = ""
        _clusters.append(self)

    def __iter__(self):
        return iter(self.nodes.values())

    def __getitem__(self, name):
        return self.nodes[name]

    def start(self):
        for node in self:
            node.start()
        self.wait_healthy()
        return self

    def wait_healthy(self, limit_s=LIMIT_S):
        for node in self:
            if node.alive() and not node.paused:
                node.wait_healthy(limit_s)

    def start_bootstrapped(self, voters='"auto"', heal_after_s=60, count=None):
        """n1 founds alone, the next count - 1 join, each by the one before it."""
        before = None
        self.extra += f"\nmembership = {{ voters = {voters}; heal_after_s = {heal_after_s}; }};"
        for node in list(self)[:count]:
            node.write_config([node], bootstrap=before is None, join=[before] if before else ())
            node.start()
            before = node
        return self

    @property
    def endpoints(self):
        return ",".join(node.client_address for node in self)

    def running(self):
        return [n for n in self if n.alive() and not n.paused]

    def leader(self, limit_s=LIMIT_S):
        """The node a majority of all nodes names as leader in the same term, and that says so itself."""

        def look():
            answers = []
            for node in self.running():
                answers.append((node, node.client.status(timeout_s=5)))
            for node, own in answers:
                if own.leader != own.header.member_id:
                    continue
                said = [s for _, s in answers if s.leader == own.leader and s.raftTerm == own.raftTerm]
                if len(said) * 2 > len(self.nodes):
                    return node
            return None

        return wait_until(look, "a majority names one leader", limit_s, 0.05)

    def followers(self):
        leader = self.leader()
        return [n for n in self.running() if n is not leader]

    def wait_equal_revision(self, limit_s=LIMIT_S):
        """Every running node has applied the same revision; it is returned."""

        def look():
            seen = {n.client.range("x", serializable=True, count_only=True).header.revision
                    for n in self.running()}
            return seen.pop() if len(seen) == 1 else None

        return wait_until(look, "all nodes are at one revision", limit_s, 0.05)

    def stop(self):
        """SIGTERM to all that run. AssertionError if one does not end in order."""
        problems = []
        for node in self:
            if node.alive():
                if node.paused:
                    node.resume()
                node.signal(signal.SIGTERM)
        for node in self:
            if node.process is not None and node.process.returncode is None:
                try:
                    code = node.wait()
                    if code != 0:
                        problems.append(f"{node.name} ended with exit code {code} after SIGTERM")
                except AssertionError as problem:
                    problems.append(str(problem))
        self.close()
        if problems:
            raise AssertionError("; ".join(problems))

    def check_logs(self):
        """Nothing of our own making went wrong in any node."""
        for node in self:
            text = node.log_text()
            for bad in ("assert failed", "ASSERT", "AddressSanitizer", "LeakSanitizer", "runtime error:",
                        "ThreadSanitizer", "malformed peer message"):
                if bad in text:
                    raise AssertionError(f"log of {node.name} has {bad!r}")

    def close(self):
        if self.closed:
            return
        self.closed = True
        for node in self:
            node.close()
        parts = []
        for node in self:
            lines = node.log_text().splitlines()
            parts.append(f"---- {node.name} ({len(lines)} log lines, last {LOG_LINES_SHOWN})")
            parts.extend(lines[-LOG_LINES_SHOWN:])
        self.last_logs = "\n".join(parts)
        if os.environ.get("HOLDFAST_KEEP"):
            say(f"kept: {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)


class ClusterTest(unittest.TestCase):
    """A test class with one cluster of its own, started before its first test."""

    count = 3
    extra = ""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(cls.count, extra=cls.extra)
        cls.cluster.start()

    @classmethod
    def tearDownClass(cls):
        try:
            cls.cluster.check_logs()
            cls.cluster.stop()
        except AssertionError:
            cls.cluster.failed = True  # Result looks at clusters that are open, and this one is closed by now
            raise


def _leave(number, _frame):
    sys.exit(128 + number)


def close_all():
    for cluster in _clusters:
        cluster.close()


class Result(unittest.TextTestResult):
    """Remembers which clusters were there when a test failed; their logs are shown."""

    def _mark(self):
        for cluster in _clusters:
            if not cluster.closed:
                cluster.failed = True

    def addError(self, test, err):
        self._mark()
        super().addError(test, err)

    def addFailure(self, test, err):
        self._mark()
        super().addFailure(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._mark()
        super().addSubTest(test, subtest, err)


def main():
    """Run the tests of the calling script; on failure print the nodes' logs. Exit code 1 on failure."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _leave)
    atexit.register(close_all)
    runner = unittest.TextTestRunner(verbosity=2, resultclass=Result)
    program = unittest.main(module="__main__", exit=False, testRunner=runner)
    close_all()
    failed = not program.result.wasSuccessful() or program.result.testsRun == 0
    for cluster in _clusters:
        if cluster.failed:
            print(cluster.last_logs, file=sys.stderr)
    sys.stdout.flush()
    sys.exit(1 if failed else 0)


def set_pipe_small(fd):
    """Make a pipe as small as the kernel allows, so that it is full soon."""
    fcntl.fcntl(fd, 1031, 4096)  # F_SETPIPE_SZ
