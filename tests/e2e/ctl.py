# SPDX-License-Identifier: Apache-2.0
"""
ctl.py: what the tests of holdfastctl share: running it to its end or beside the test, a server to speak to, a
way in between that can be cut or frozen, and servers that misbehave on purpose.

HOLDFAST_CTL_SERVER says what the commands are tried against: "holdfast" (three nodes, the default) or "etcd" (one
node of Debian's). holdfastctl speaks etcd's interface, so both must do.
"""
import fcntl
import os
import queue
import selectors
import signal
import socket
import threading
import unittest

import cluster as e2e
import etcd

SERVER = os.environ.get("HOLDFAST_CTL_SERVER", "holdfast")

OK, REFUSED, NOT_FOUND, UNKNOWN, UNREACHABLE, LOST, USAGE = 0, 1, 2, 3, 4, 5, 64


def ctl(endpoints, *words, input_text=None, env=None):
    """Run it to its end: (exit code, stdout, stderr)."""
    return e2e.run([e2e.HOLDFASTCTL, "--endpoints", endpoints, *words], input_text=input_text, env=env)


def etcdctl(endpoints, *words, input_text=None):
    return e2e.run(["etcdctl", "--endpoints", endpoints, *words], input_text=input_text,
                   env=dict(os.environ, ETCDCTL_API="3"))


class Running:
    """holdfastctl (or another program) beside the test; its lines can be waited for."""

    def __init__(self, words, env=None, new_session=True):
        self.process = e2e.start_process(words, stdin=-3, stdout=-1, stderr=-1, env=env,
                                         start_new_session=new_session)
        self.out, self.err = queue.Queue(), []
        self.threads = [threading.Thread(target=self._read_out, daemon=True),
                        threading.Thread(target=self._read_err, daemon=True)]
        for thread in self.threads:
            thread.start()

    def _read_out(self):
        for line in self.process.stdout:
            self.out.put(line.decode(errors="surrogateescape").rstrip("\n"))
        self.out.put(None)

    def _read_err(self):
        for line in self.process.stderr:
            self.err.append(line.decode(errors="replace"))

    def line(self):
        """The next line of standard output."""
        line = self.out.get(timeout=e2e.LIMIT_S)
        if line is None:
            self.out.put(None)
            raise AssertionError(f"no more output; standard error: {''.join(self.err)}")
        return line

    def lines(self, count):
        return [self.line() for _ in range(count)]

    def rest(self):
        """All that is still to come until the program closes its output."""
        lines = []
        while (line := self.out.get(timeout=e2e.LIMIT_S)) is not None:
            lines.append(line)
        self.out.put(None)
        return lines

    def wait_err(self, text):
        e2e.wait_until(lambda: text in "".join(self.err), f"standard error says {text!r}")

    def signal(self, number):
        os.kill(self.process.pid, number)

    def wait(self):
        """Its exit code; standard error is complete afterwards."""
        code = self.process.wait(e2e.LIMIT_S)
        for thread in self.threads:
            thread.join(e2e.LIMIT_S)
        return code

    def close(self):
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.wait()
        self.process.stdout.close()
        self.process.stderr.close()


class Proxy:
    """A TCP way to a server that can be cut (connections die, new ones are refused), frozen (nothing passes,
    nothing breaks) and mended."""

    def __init__(self, target):
        host, port = target.rsplit(":", 1)
        self.target = (host, int(port))
        self.port = e2e.free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.frozen = False
        self.accepted = 0
        self.peer_of = {}
        self.selector = selectors.DefaultSelector()
        self.wake_read, self.wake_write = os.pipe()
        os.set_blocking(self.wake_read, False)
        self.selector.register(self.wake_read, selectors.EVENT_READ)
        self.orders = queue.Queue()
        self.listener = None
        self.ended = False
        self._listen()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _listen(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(64)
        self.selector.register(self.listener, selectors.EVENT_READ)

    def _order(self, what):
        done = threading.Event()
        self.orders.put((what, done))
        os.write(self.wake_write, b"x")
        assert done.wait(e2e.LIMIT_S)

    def cut(self):
        """All connections end; new ones are refused until mend()."""
        self._order("cut")

    def drop(self):
        """All connections end; new ones are welcome."""
        self._order("drop")

    def freeze(self):
        self._order("freeze")

    def mend(self):
        self._order("mend")

    def close(self):
        if not self.ended:
            self._order("end")
            self.thread.join(e2e.LIMIT_S)
            for fd in (self.wake_read, self.wake_write):
                os.close(fd)

    # the proxy's own thread

    def _obey(self):
        os.read(self.wake_read, 4096)
        while not self.orders.empty():
            what, done = self.orders.get()
            if what in ("cut", "drop", "end"):
                for connection in list(self.peer_of):
                    self._end(connection)
            if what in ("cut", "end") and self.listener is not None:
                self.selector.unregister(self.listener)
                self.listener.close()
                self.listener = None
            if what == "freeze":
                self.frozen = True
            if what == "mend":
                self.frozen = False
                if self.listener is None:
                    self._listen()
            self.ended = what == "end"
            done.set()

    def _end(self, connection):
        other = self.peer_of.pop(connection, None)
        if other is None:
            return
        self.peer_of.pop(other, None)
        for one in (connection, other):
            self.selector.unregister(one)
            one.close()

    def _accept(self):
        try:
            near, _ = self.listener.accept()
        except OSError:
            return
        try:
            far = socket.create_connection(self.target, timeout=e2e.LIMIT_S)
        except OSError:
            near.close()
            return
        self.accepted += 1
        self.peer_of[near], self.peer_of[far] = far, near
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, connection):
        try:
            octets = connection.recv(65536)
            if octets:
                self.peer_of[connection].sendall(octets)
                return
        except OSError:
            pass
        self._end(connection)

    def _run(self):
        while not self.ended:
            if self.frozen:
                ready = [self.wake_read] if selectors and self._wait_wake() else []
            else:
                ready = [key.fileobj for key, _ in self.selector.select()]
            for one in ready:
                if one == self.wake_read:
                    self._obey()
                elif one is self.listener:
                    self._accept()
                elif one in self.peer_of:
                    self._pass_on(one)

    def _wait_wake(self):
        with selectors.DefaultSelector() as only:
            only.register(self.wake_read, selectors.EVENT_READ)
            return bool(only.select())


class Fake:
    """A gRPC server made of Python functions: {path: function(request octets iterator, context)}, each a
    generator of answers (octets). Paths it does not have are UNIMPLEMENTED."""

    def __init__(self, methods):
        import grpc  # loaded late, as in cluster.py
        from concurrent import futures

        class Methods(grpc.GenericRpcHandler):
            def service(self, details):
                function = methods.get(details.method)
                return function and grpc.stream_stream_rpc_method_handler(function)

        self.server = grpc.server(futures.ThreadPoolExecutor(8), handlers=(Methods(),))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def close(self):
        self.server.stop(None).wait()


class CtlTest(unittest.TestCase):
    """A test class with one server of its own."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.etcd = None
        if SERVER == "holdfast":
            cls.cluster = e2e.Cluster(3).start()
            cls.addresses = [node.client_address for node in cls.cluster]
        else:
            cls.etcd = etcd.Etcd()
            cls.addresses = [cls.etcd.address]
        cls.endpoints = ",".join(cls.addresses)

    @classmethod
    def tearDownClass(cls):
        if cls.cluster is not None:
            cls.cluster.check_logs()
            cls.cluster.stop()
        else:
            cls.etcd.close()

    def ok(self, *words, endpoints=None, code=OK, **more):
        """Run it to its end with this exit code; what it printed."""
        got, out, err = ctl(endpoints or self.endpoints, *words, **more)
        self.assertEqual(got, code, f"{words}: {out} {err}")
        return out

    def fails(self, code, text, *words, endpoints=None, **more):
        """Run it to its end with this exit code, nothing on standard output, and this text on the other."""
        got, out, err = ctl(endpoints or self.endpoints, *words, **more)
        self.assertEqual((got, out), (code, ""), f"{words}: {err}")
        self.assertIn(text, err)
        self.assertTrue(err.startswith("holdfastctl: "), err)

    def begin(self, *words, endpoints=None, **more):
        """Run it beside the test."""
        running = Running([e2e.HOLDFASTCTL, "--endpoints", endpoints or self.endpoints, *words], **more)
        self.addCleanup(running.close)
        return running

    def proxy(self, at=0):
        proxy = Proxy(self.addresses[at % len(self.addresses)])
        self.addCleanup(proxy.close)
        return proxy

    def fake(self, methods):
        fake = Fake(methods)
        self.addCleanup(fake.close)
        return fake

    def revision(self):
        """The store's revision now."""
        import json
        return json.loads(self.ok("get", "no such key", "--prefix", "-o", "json"))["revision"]


def small_pipe():
    """A pipe that is full soon: (read end, write end)."""
    ends = os.pipe()
    fcntl.fcntl(ends[1], 1031, 4096)  # F_SETPIPE_SZ
    return ends
