# SPDX-License-Identifier: Apache-2.0
"""What each kind of read promises, with real nodes: docs/consistency.md."""
import unittest
import urllib.request

import cluster as e2e
from ctl import OK, USAGE, ctl


class Reads(unittest.TestCase):
    def setUp(self):
        self.cluster = e2e.Cluster(3, name="reads")
        self.cluster.start()

    def tearDown(self):
        self.cluster.stop()

    def test_old_enough_is_answered_without_the_others(self):
        nodes = list(self.cluster)
        asked, others = nodes[0], nodes[1:]
        self.assertEqual(ctl(asked.client_address, "put", "k", "new")[0], OK)
        code, out, err = ctl(asked.client_address, "get", "k", "--max-staleness", "10m")
        self.assertEqual((code, out.split()), (OK, ["k", "new"]), err)
        for node in others:
            node.pause()
        try:
            code, out, err = ctl(asked.client_address, "get", "k", "--max-staleness", "10m")
            self.assertEqual((code, out.split()), (OK, ["k", "new"]), err)
            with urllib.request.urlopen(f"http://{asked.client_address}/kv/k?max_staleness_ms=600000", timeout=20) as answer:
                self.assertEqual(answer.read(), b"new")
            self.assertEqual(ctl(asked.client_address, "get", "k", "--serializable")[0], OK)
            # what must not be so old, or not old at all, waits for the others
            for words in (["--max-staleness", "1ms"], []):
                self.assertNotEqual(ctl(asked.client_address, "--timeout", "700ms", "get", "k", *words)[0], OK)
        finally:
            for node in others:
                node.resume()

    def test_one_or_the_other(self):
        code, _, err = ctl("127.0.0.1:1", "get", "k", "--serializable", "--max-staleness", "1s")
        self.assertEqual(code, USAGE, err)


if __name__ == "__main__":
    e2e.main()
