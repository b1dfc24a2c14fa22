# SPDX-License-Identifier: Apache-2.0
"""
netns.py: hosts with addresses and names of their own for the end-to-end tests: each node in a network namespace, all on
one bridge, and a real name server (dnsmasq) that can be told other addresses, stopped, frozen and started.

    hub   the bridge, the name server at 10.77.0.1, and the test itself (its sockets are made in there)
    n1..  eth0 with an address; /etc/netns/NAME/resolv.conf, which `ip netns exec` shows as /etc/resolv.conf

Rules
 1. Everything is called hf<pid>-..., so that runs do not meet; it is all removed at the end, however the run ends.
 2. Nothing of the machine's own network is touched: the bridge lives in the hub's namespace.
 3. Without root or namespaces `why_not()` says so in a sentence, and tests are skipped.
"""
import atexit
import ctypes
import os
import shutil
import signal
import subprocess
import time

import cluster as e2e

DOMAIN = "hf.test"
SERVER = "10.77.0.1"
CLIENT_PORT, PEER_PORT = 2379, 2380
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def _ip(*words, check=True):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.returncode == 0


def why_not():
    """Why hosts cannot be made here; None if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "dnsmasq"):
        if shutil.which(program) is None:
            return f"{program} is not installed (make deps)"
    name = f"hf{os.getpid()}-probe"
    if not _ip("netns", "add", name, check=False):
        return "this machine does not let us make network namespaces"
    made = _ip("-n", name, "link", "add", "br0", "type", "bridge", check=False)
    _ip("netns", "del", name, check=False)
    return None if made else "this machine does not let us make a bridge"


def _enter(path):
    with open(path, "rb") as namespace:
        if _libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {path}")


class Network:
    """The hub; hosts are added to it by name."""

    def __init__(self, services=()):
        self.prefix = f"hf{os.getpid()}-"
        self.hub = self.prefix + "hub"
        self.hosts = {}  # name -> address
        self.services = list(services)  # host names that SRV records name
        self.server = None
        self.made = []
        self.files = None
        atexit.register(self.close)
        self._add_namespace(self.hub)
        _ip("-n", self.hub, "link", "add", "br0", "type", "bridge")
        _ip("-n", self.hub, "link", "set", "br0", "up")
        _ip("-n", self.hub, "link", "set", "lo", "up")
        _ip("-n", self.hub, "addr", "add", SERVER + "/16", "dev", "br0")
        self.files = f"/run/{self.prefix}names"
        os.makedirs(self.files, exist_ok=True)
        self._home = open("/proc/self/ns/net", "rb")  # pylint: disable=consider-using-with
        _enter(f"/run/netns/{self.hub}")

    def _add_namespace(self, name):
        self.made.append(name)
        os.makedirs(f"/etc/netns/{name}", exist_ok=True)
        with open(f"/etc/netns/{name}/resolv.conf", "w", encoding="ascii") as file:
            file.write(f"nameserver {SERVER}\n")
        _ip("netns", "add", name)

    def namespace(self, host):
        return self.prefix + host

    def add_host(self, host, address):
        name = self.namespace(host)
        self._add_namespace(name)
        _ip("-n", self.hub, "link", "add", "v" + host, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("-n", self.hub, "link", "set", "v" + host, "master", "br0", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "addr", "add", address + "/16", "dev", "eth0")
        self.hosts[host] = address

    def move(self, host, address):
        """The machine has another address; the name server still says the one before."""
        name = self.namespace(host)
        _ip("-n", name, "addr", "flush", "dev", "eth0")
        _ip("-n", name, "addr", "add", address + "/16", "dev", "eth0")
        self.hosts[host] = address

    # ---- the name server ---------------------------------------------------------------------------

    def _write_names(self):
        path = os.path.join(self.files, "hosts")
        with open(path + ".new", "w", encoding="ascii") as file:
            for host, address in self.hosts.items():
                file.write(f"{address} {host}.{DOMAIN}\n")
        os.replace(path + ".new", path)
        return path

    def names_follow(self):
        """The name server says the addresses as they are now."""
        self._write_names()
        if self.server is not None:
            self.server.send_signal(signal.SIGHUP)

    def names_start(self):
        words = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                 f"--addn-hosts={self._write_names()}", "--bind-interfaces", f"--listen-address={SERVER}",
                 "--pid-file=", "--cache-size=0", f"--local=/{DOMAIN}/", "--user=root", "--log-facility=-"]
        words += [f"--srv-host=_holdfast._tcp.{DOMAIN},{h}.{DOMAIN},{PEER_PORT},{i}"
                  for i, h in enumerate(self.services)]
        self.server = e2e.start_process(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        return self

    def names_stop(self):
        if self.server is not None:
            self.server.kill()
            self.server.wait()
            self.server = None

    def names_freeze(self):
        """It takes questions and answers none."""
        self.server.send_signal(signal.SIGSTOP)

    # ---- the end -----------------------------------------------------------------------------------

    def close(self):
        self.names_stop()
        if self.files is not None:
            _libc.setns(self._home.fileno(), CLONE_NEWNET)
            shutil.rmtree(self.files, ignore_errors=True)
            self.files = None
        for name in self.made:
            _ip("netns", "del", name, check=False)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)
        self.made = []


class HostNode(e2e.Node):
    """A node on its own host, known to the others by name."""

    network = None

    @property
    def client_address(self):
        return f"{self.network.hosts[self.name]}:{CLIENT_PORT}"

    @property
    def peer_address(self):
        return f"{self.name}.{DOMAIN}:{PEER_PORT}"

    def write_config(self, members=None, cluster_name=None, extra="", node_name=None, bootstrap=False, join=(),
                     listen_host="0.0.0.0"):
        class Named:  # what stands in the file is names only
            def __init__(self, node):
                self.name = node.name
                self.peer_address = node.peer_address
                self.client_address = f"{node.name}.{DOMAIN}:{CLIENT_PORT}"

        extra += self.founding(bootstrap, join)
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(e2e.config_text(cluster_name or self.cluster.name, node_name or self.name, self.data_dir,
                                       f"{listen_host}:{CLIENT_PORT}", f"{listen_host}:{PEER_PORT}",
                                       [Named(m) for m in members or self.cluster.nodes.values()],
                                       self.cluster.election_timeout_ms, self.cluster.heartbeat_ms,
                                       self.cluster.extra + extra))

    def start(self, stderr=None, args=()):
        assert not self.alive(), f"{self.name} runs already"
        self.drop_client()
        with open(self.log_path, "ab") as log:
            log.write(b"---- start\n")
            log.flush()
            # `ip netns exec` becomes the daemon: the pid is the daemon's.
            self.process = e2e.start_process(
                ["ip", "netns", "exec", self.network.namespace(self.name), e2e.HOLDFASTD, "-c", self.config_path, *args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=stderr if stderr is not None else log,
                cwd=self.cluster.directory)
        self.paused = False


def timed(condition, what, limit_s=e2e.LIMIT_S):
    """How long it took until the condition held, in seconds."""
    began = time.monotonic()
    e2e.wait_until(condition, what, limit_s, 0.05)
    return time.monotonic() - began
