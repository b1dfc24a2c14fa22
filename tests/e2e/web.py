# SPDX-License-Identifier: Apache-2.0
"""
web.py: plain HTTP for the end-to-end tests: requests with every header given by the test, streams read line
by line, and a real etcd beside for comparison where Debian's etcd-server is installed.
"""
import base64
import http.client
import json
import os
import shutil
import subprocess
import tempfile

import cluster as e2e

ETCD = shutil.which("etcd")


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def unb64(text):
    return base64.b64decode(text)


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {k.lower(): v for k, v in headers}
        self.body = body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:300]!r}"


def ask(address, method, path, body=None, headers=None, timeout_s=e2e.LIMIT_S):
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


def post(address, path, message, headers=None):
    body = message if isinstance(message, (str, bytes)) else json.dumps(message)
    return ask(address, "POST", path, body, headers)


class Stream:
    """An answer that is read as it comes, closed by the test."""

    def __init__(self, address, method, path, body=None, headers=None):
        self.connection = http.client.HTTPConnection(address, timeout=e2e.LIMIT_S)
        self.connection.request(method, path, body=body, headers=headers or {})
        self.answer = self.connection.getresponse()

    @property
    def status(self):
        return self.answer.status

    def line(self):
        return self.answer.readline().decode()

    def json(self):
        return json.loads(self.line())

    def close(self):
        self.answer.close()
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Etcd:
    """A real etcd on loopback, with its files in a directory of its own."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="holdfast-e2e-etcd-")
        self.port = e2e.free_port()
        peer = e2e.free_port()
        url, peer_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{peer}"
        self.log = open(os.path.join(self.directory, "log"), "wb")  # pylint: disable=consider-using-with
        self.process = e2e.start_process(
            [ETCD, "--data-dir", os.path.join(self.directory, "data"), "--name", "e",
             "--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", peer_url,
             "--initial-advertise-peer-urls", peer_url, "--initial-cluster", f"e={peer_url}",
             "--log-level", "error"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env={"PATH": os.environ["PATH"], "ETCD_UNSUPPORTED_ARCH": os.uname().machine})
        e2e.wait_until(lambda: ask(self.address, "GET", "/health").json["health"] == "true", "etcd is healthy")

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)
