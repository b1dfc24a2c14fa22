# SPDX-License-Identifier: Apache-2.0
"""
etcd.py: Debian's etcd as one node on loopback, with files in a temporary directory: what holdfast is
compared with. It ends with this process, or with close().
"""
import atexit
import os
import shutil
import signal
import subprocess
import tempfile

import cluster as e2e

ETCD = shutil.which("etcd")


class Etcd:
    """One etcd, started and healthy."""

    def __init__(self, name="default"):
        if ETCD is None:
            raise SystemExit("etcd is missing; install the Debian package etcd-server")
        self.directory = tempfile.mkdtemp(prefix="holdfast-etcd-")
        self.process = None
        atexit.register(self.close)
        client_port, peer_port = e2e.free_port(), e2e.free_port()
        self.address = f"127.0.0.1:{client_port}"
        with open(os.path.join(self.directory, "log"), "wb") as log:
            self.process = e2e.start_process(
                [ETCD, "--name", name, "--data-dir", os.path.join(self.directory, "data"),
                 "--listen-client-urls", f"http://{self.address}",
                 "--advertise-client-urls", f"http://{self.address}",
                 "--listen-peer-urls", f"http://127.0.0.1:{peer_port}",
                 "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer_port}",
                 "--initial-cluster", f"{name}=http://127.0.0.1:{peer_port}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        e2e.wait_until(self.healthy, "etcd is healthy")

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def healthy(self):
        if not self.alive():
            raise e2e.NodeEnded(f"etcd ended with exit code {self.process.returncode}: {self.log_end()}")
        return e2e.http_get(self.address, "/health")[0] == 200

    def log_end(self, lines=20):
        with open(os.path.join(self.directory, "log"), encoding="utf-8", errors="replace") as file:
            return "\n".join(file.read().splitlines()[-lines:])

    def close(self):
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
        shutil.rmtree(self.directory, ignore_errors=True)
