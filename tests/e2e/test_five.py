# SPDX-License-Identifier: Apache-2.0
"""
Five nodes with names on hosts of their own, under load: a voter and then the leader die for good, come back with empty disks,
all move, 3 -> 5 -> 3, all are restarted (five.py). No operation fails for more than a second but while the
leader has died, and the clients themselves check what they read and watch (load.py).
"""
import unittest

import cluster as e2e
import netns
from five import UNPLANNED, Five

WHY_NOT = netns.why_not()
FAILS_MAX_S = 1.0
SLOW = 1 if e2e.BIN.endswith("release") else 8
BACK_MAX_S = 5.0


@unittest.skipIf(WHY_NOT, WHY_NOT)
class FiveNodes(unittest.TestCase):
    def test_all_that_happens(self):
        five = Five()
        self.addCleanup(five.close)
        five.run()
        five.tell()
        for name, seen in five.summaries():
            with self.subTest(name):
                self.assertGreater(seen.done, 0)
                if name != UNPLANNED:
                    self.assertLess(seen.longest_failing_s, FAILS_MAX_S * SLOW)
        for name in ("a restarted node serves at another address, the slowest", "a running node serves at another address"):
            self.assertLess(five.facts[name], BACK_MAX_S * SLOW, name)


if __name__ == "__main__":
    e2e.main()
