# SPDX-License-Identifier: Apache-2.0
"""
docs/inspect.md as a person would follow it: each command printed there is run, as it stands there, in the
data directory of each node of a running cluster that is being written to. Commands end without an error,
the nodes do not notice, and the answers agree with what the API says.
"""
import os
import re
import subprocess
import threading
import unittest

import grpc

import cluster as e2e

DOCUMENT = os.path.join(e2e.ROOT, "docs", "inspect.md")


def commands():
    """Lines that begin with sqlite3 inside the document's fenced blocks."""
    with open(DOCUMENT, encoding="utf-8") as file:
        blocks = re.findall(r"^```\w*\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("sqlite3 ")]


def shell(node, command):
    done = subprocess.run(["bash", "-c", command], cwd=node.data_dir, capture_output=True, text=True,
                          errors="replace", timeout=e2e.LIMIT_S, check=False)
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"{node.name}: {command}\n{done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout


def sqlite(node, file, sql):
    return shell(node, f"sqlite3 -readonly {file} \"{sql}\"").strip()


class Inspect(e2e.ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        client = cls.cluster["n1"].client
        for i in range(5):
            client.put("app/colour", f"shade {i}")
        client.delete("app/colour")
        client.put("app/colour", "green")
        client.put("app/size", "7")
        lease = 0x499602d2  # the document asks for its keys
        client.call("/etcdserverpb.Lease/LeaseGrant", client.rpc.LeaseGrantRequest(ID=lease, TTL=3600),
                    client.rpc.LeaseGrantResponse)
        client.put("leased", "1", lease=lease)
        client.put(b"app/\xff\x00binary", b"\x00\x01\x02")
        cls.stop = threading.Event()
        cls.written = 0
        cls.writer = threading.Thread(target=cls._write)
        cls.writer.start()

    @classmethod
    def _write(cls):
        number = 0
        while not cls.stop.wait(0.001):
            try:
                cls.cluster["n2"].client.put(f"load/{number % 100}", "x" * 200)
                number += 1
                cls.written = number
            except grpc.RpcError:
                pass

    @classmethod
    def tearDownClass(cls):
        cls.stop.set()
        cls.writer.join()
        for node in cls.cluster:
            for bad in ("written by another process", "stalled", "fatal"):
                assert bad not in node.log_text(), f"log of {node.name} has {bad!r}"
        super().tearDownClass()

    def in_the_table(self):
        """kv.db is written behind; wait until the keys of setUpClass are in it everywhere."""
        for node in self.cluster:
            e2e.wait_until(lambda n=node: sqlite(n, "group-0/kv.db", "select count(*) from kv_readable "
                                                 "where key like 'app/%'") >= "2", "kv.db has the keys")

    def test_every_command_of_the_document(self):
        self.in_the_table()
        found = commands()
        self.assertGreaterEqual(len(found), 8, "the document has commands")
        for node in self.cluster:
            for command in found:
                with self.subTest(command=command, node=node.name):
                    before = self.written
                    out = shell(node, command)
                    if "INTO" not in command and ".backup" not in command:
                        self.assertNotEqual(out.strip(), "", "it shows something")
                    e2e.wait_until(lambda b=before: self.written > b, "writing goes on")
            copy = os.path.join(node.data_dir, "kv-copy.db")
            if os.path.exists(copy):
                self.assertEqual(shell(node, "sqlite3 kv-copy.db 'PRAGMA integrity_check'").strip(), "ok")
                os.unlink(copy)
        for node in self.cluster:
            node.wait_healthy()

    def test_answers_agree_with_the_api(self):
        self.in_the_table()
        leader = self.cluster.leader()
        for node in self.cluster:
            status = node.client.status()
            name, term, member, cluster_id, boots, votes = sqlite(
                node, "raft.db", "select name, current_term, member_id_hex, cluster_id_hex, boot_number, may_vote "
                "from status").split("|")
            self.assertEqual((name, int(term), int(member, 16), int(cluster_id, 16), int(boots), votes),
                             (node.name, status.raftTerm, status.header.member_id, status.header.cluster_id, 1, "yes"))
            history = sqlite(node, "group-0/kv.db", "select event, value, version from history_readable "
                             "where key = 'app/colour' order by revision").splitlines()
            self.assertEqual(history, [f"put|shade {i}|{i + 1}" for i in range(5)] + ["delete||0", "put|green|1"])
            kv = node.client.range("app/colour").kvs[0]
            self.assertEqual(sqlite(node, "group-0/kv.db", "select value, create_revision, mod_revision, version "
                                    "from kv_readable where key = 'app/colour'"),
                             f"green|{kv.create_revision}|{kv.mod_revision}|1")
            members = sqlite(node, "group-0/kv.db", "select name, peer, client from members_readable order by name")
            self.assertEqual(members.splitlines(),
                             [f"{n.name}|{n.peer_address}|{n.client_address}" for n in self.cluster])
        # who leads, and how far: as of the last write to the log
        def agrees(node):
            said = sqlite(node, "raft.db", "select leader_id_hex, is_leader, commit_index from status").split("|")
            self.assertEqual(int(said[0], 16), leader.client.status().header.member_id)
            self.assertEqual(said[1], "1" if node is leader else "0")
            return int(said[2]) > 0

        for node in self.cluster:
            e2e.wait_until(lambda n=node: agrees(n), f"raft.db of {node.name} names leader and commit index", 10)

    def test_schema_is_as_documented(self):
        """Each table and column of the document is there, and no other."""
        self.maxDiff = None
        with open(DOCUMENT, encoding="utf-8") as file:
            text = file.read()
        rows = re.findall(r"^\| `(\w+)` \| [^|]* \| (.*) \|$", text, re.MULTILINE)
        documented = {}
        for table, columns in rows:
            without = re.sub(r"\([^)]*\)", "", columns.replace("\\|", "/"))
            documented[table] = {w for w in re.findall(r"\b[a-z_]+\b", without) if w != "and"}
        node = self.cluster["n1"]
        there = {}
        for file in ("raft.db", "group-0/kv.db"):
            for table in sqlite(node, file, "select name from sqlite_schema where type = 'table' "
                                "and name not like 'sqlite_%'").split():
                there[table] = set(sqlite(node, file, f"select name from pragma_table_xinfo('{table}')").split())
                there[table].discard("one")  # what keeps a table of one row to one row
        self.assertEqual(there, documented)


if __name__ == "__main__":
    e2e.main()
