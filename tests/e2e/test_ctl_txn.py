# SPDX-License-Identifier: Apache-2.0
"""
holdfastctl txn: etcdctl's text form and etcd's JSON form of a transaction, what is printed, and that nothing is
sent unless the whole input could be read.
"""
import base64
import json
import unittest

import cluster as e2e
from ctl import NOT_FOUND, OK, REFUSED, UNREACHABLE, USAGE, CtlTest, ctl, etcdctl


def text(compares, success=(), failure=()):
    return "".join("".join(line + "\n" for line in part) + "\n" for part in (compares, success, failure))


def b64(octets):
    return base64.b64encode(octets.encode() if isinstance(octets, str) else octets).decode()


class Txn(CtlTest):
    def txn(self, *parts, code=OK, words=()):
        return self.ok("txn", *words, input_text=text(*parts), code=code)

    def test_same_as_etcdctl(self):
        """Word for word what etcdctl prints, for the same text on the same state."""
        inputs = (
            (['mod("same/a") > "0"'], ['put same/a "two words"', "get same/ --prefix", "del same/z"], ["get same/a"]),
            (['value("same/a") = "no"'], ["put same/x y"], ["get same/a", "get same/none"]),
            (['version("same/a") = "1"', 'create("same/a") != "0"'], ["get same/a"], []),
            ([], [], []),
            ([], ["put same/q 'single quoted'", "del same/a --prev-kv"], []),
            ([], ['put same/r "back\\\\slash \\"quote\\" \\t tab"', "get same/r"], []),
        )
        for parts in inputs:
            got = {}
            for name, run in (("etcdctl", etcdctl), ("holdfastctl", ctl)):
                self.ok("del", "same/", "--prefix")
                self.ok("put", "same/a", "old")
                code, out, err = run(self.endpoints, "txn", input_text=text(*parts))
                got[name] = out
                self.assertIn(code, (OK, NOT_FOUND), err)
            self.assertEqual(got["holdfastctl"], got["etcdctl"], parts)
            self.assertEqual(code == OK, got["etcdctl"].startswith("SUCCESS"))

    def test_targets_and_operators(self):
        self.ok("del", "t", "--prefix")
        self.ok("lease", "grant", "1000", "7a1")
        self.ok("put", "t", "m", "--lease", "7a1")
        kv = json.loads(self.ok("get", "t", "-o", "json"))["kvs"][0]
        numbers = {"version": 1, "ver": 1, "create": kv["create_revision"], "c": kv["create_revision"],
                   "mod": kv["mod_revision"], "m": kv["mod_revision"]}
        for target, number in numbers.items():
            for operator, other, holds in (("=", number, True), ("=", number + 1, False), ("!=", number, False),
                                           ("!=", number - 1, True), ("<", number + 1, True), ("<", number, False),
                                           (">", number - 1, True), (">", number, False)):
                self.txn([f'{target}("t") {operator} "{other}"'], code=OK if holds else NOT_FOUND)
        for target in ("value", "val"):
            for operator, other, holds in (("=", "m", True), ("!=", "m", False), ("<", "n", True), (">", "n", False)):
                self.txn([f'{target}("t") {operator} "{other}"'], code=OK if holds else NOT_FOUND)
        self.txn(['lease("t") = "7a1"', "lease(t)=7a1", "lease('t') != '7a2'"])
        self.txn(['lease("t") > "7a1"'], code=NOT_FOUND)
        # a range: every key of it
        self.ok("put", "t2", "m")
        self.txn(['version("t", "u") = "1"', "version(t,u)=1", 'value("t","t3") = "m"'])
        self.ok("put", "t2", "other")
        self.txn(['version("t", "u") = "1"'], code=NOT_FOUND)
        # all must hold
        self.txn(['value("t") = "m"', 'value("t") = "x"'], code=NOT_FOUND)
        self.ok("lease", "revoke", "7a1")

    def test_options_of_operations(self):
        self.ok("del", "o/", "--prefix")
        self.ok("lease", "grant", "1000", "7a2")
        for i in range(3):
            self.ok("put", f"o/{i}", str(9 - i))
        revision = self.revision()
        self.ok("put", "o/0", "again")
        out = self.txn([], ["get o/ --prefix --limit 1", "get o/ --prefix --limit=1 --order=descend --keys-only",
                            "get o/ o/2 --sort-by value --order ascend", "get o/ --prefix --count-only",
                            f"get o/0 --rev {revision}", "get o/1 --from-key --limit 2 --serializable",
                            f"get o/ --prefix --min-mod-rev {revision + 1}",
                            f"get o/ --prefix --max-create-rev={revision - 2}"])
        self.assertEqual(out, "SUCCESS\n\no/0\nagain\n\no/2\n\n\no/1\n8\no/0\nagain\n\n\no/0\n9\n\no/1\n8\no/2\n7\n"
                              "\no/0\nagain\n\no/0\nagain\n")
        out = self.txn([], ["put o/0 leased --lease 7a2 --prev-kv", "put o/1 --ignore-value --lease=7a2",
                            "del o/2 --prev-kv"])
        self.assertEqual(out, "SUCCESS\n\nOK\no/0\nagain\n\nOK\n\n1\no/2\n7\n")
        self.assertEqual(self.ok("get", "o/1"), "o/1\n8\n")
        self.assertIn("[o/0 o/1]", self.ok("lease", "timetolive", "7a2", "--keys").replace("o/1 o/0", "o/0 o/1"))
        self.txn([], ["put o/0 kept --ignore-lease", "del o/9 --prefix", "del x --from-key --prev-kv"])
        self.ok("lease", "revoke", "7a2")
        self.assertEqual(self.ok("get", "o/", "--prefix"), "")
        # after -- and in quotes nothing is an option
        self.txn([], ["put -- --prefix --limit", "put '--rev' \"--order\""])
        self.assertEqual(self.ok("get", "--prefix", "--", "--"), "--prefix\n--limit\n--rev\n--order\n")
        self.ok("del", "--prefix", "--", "--")

    def test_octets(self):
        self.txn([], ['put "oct/\\x00\\xff" "\\001\\n\\u00fc\\U0001F600"'])
        kv = json.loads(self.ok("get", "oct/", "--prefix", "-o", "json"))["kvs"][0]
        self.assertEqual((base64.b64decode(kv["key_base64"]), kv["value"]), (b"oct/\x00\xff", "\x01\nü\U0001F600"))
        self.txn(['value("oct/\\x00\\377") = "\\x01\\n\\xc3\\xbc\\xf0\\x9f\\x98\\x80"'])
        self.txn(['val("oct/\\x00\\xff") != ""', "val(oct/none) = ''"], code=NOT_FOUND)

    def test_malformed(self):
        """A line that makes no sense is named, and nothing is sent: exit code 64."""
        self.ok("put", "bad", "untouched")
        compares = ("nonsense", 'mod("bad")', 'mod("bad") "1"', 'mod("bad") = "x"', 'mod("bad") == "1"', 'mod("bad" = "1"',
                    'size("bad") = "1"', 'mod("bad) = "1"', 'mod("bad") = "1" more', 'mod("bad") = "\\q"',
                    'lease("bad") = "xyz"', 'mod("bad") ! "1"', 'mod("bad") = ""', 'value("bad") =',
                    'mod("bad") = "99999999999999999999"', 'value("bad","x" y) = "1"')
        for line in compares:
            self.fails(USAGE, "line 2: ", "txn", input_text=text(['mod("bad") > "0"', line], ["put bad touched"]))
        operations = ("nonsense", "put", "put bad", "put bad a b", "get", "get a b c", "del", "put bad x --prefix",
                      "get bad --prev-kv", "get bad --limit", "get bad --limit=-1", "get bad --limit many", "del bad --rev 1",
                      "get bad x --prefix", "get bad --prefix --from-key", "get bad --prefix=yes", "get bad --order up",
                      "put bad 'x", 'put bad "x', 'put bad "x"y', 'put bad "\\400"', 'put bad "\\ud800"', "put bad x --lease zz",
                      'put bad "\\x1"', "get bad " + "w " * 50, '"put" bad x --lease=')
        for line in operations:
            for part in (1, 2):
                parts = [[], [], []]
                parts[part] = ["put bad touched", line]
                self.fails(USAGE, f"line {part + 2}: ", "txn", input_text=text(*parts))
        self.assertEqual(self.ok("get", "bad", "--value-only"), "untouched\n")

    def test_cut_off(self):
        """Input that ends before the third empty line might be a part of something larger: refused."""
        self.ok("put", "cut", "untouched")
        whole = text([], ["put cut touched"], ["get cut"])
        for size in range(len(whole)):
            self.fails(USAGE, "ends early", "txn", input_text=whole[:size])
        self.assertEqual(self.ok("get", "cut", "--value-only"), "untouched\n")
        self.ok("txn", input_text=whole)
        self.assertEqual(self.ok("get", "cut", "--value-only"), "touched\n")
        self.ok("txn", input_text=whole.replace("\n", "\r\n"))

    def test_interactive(self):
        code, out, err = ctl(self.endpoints, "txn", "-i", input_text=text(["wrong"], ["put i x"]))
        self.assertEqual((code, out), (OK, "SUCCESS\n\nOK\n"))
        for part in ("line 1: ", "comparisons", "if they hold", "if not"):
            self.assertIn(part, err)

    def test_refused(self):
        self.fails(REFUSED, "duplicate key", "txn", input_text=text([], ["put d 1", "put d 2"]))
        self.fails(REFUSED, "key is not provided", "txn", input_text=text([], ['put "" 2']))
        self.fails(REFUSED, "lease not found", "txn", input_text=text([], ["put d 2 --lease 7e57"]))
        self.fails(UNREACHABLE, "no endpoint", "txn", input_text=text([]), endpoints=f"127.0.0.1:{e2e.free_port()}")
        self.fails(USAGE, "usage", "txn", "surplus", input_text=text([]))

    def test_output_json(self):
        self.ok("del", "j/", "--prefix")
        self.ok("put", "j/a", "1")
        revision = self.revision()
        out = json.loads(self.txn(['val(j/a) = "1"'], ["put j/a 2 --prev-kv", "get j/a", "del j/b"],
                                  words=("-o", "json")))
        old = {"key": "j/a", "value": "1", "create_revision": revision, "mod_revision": revision, "version": 1, "lease": 0}
        new = dict(old, value="2", mod_revision=revision + 1, version=2)
        self.assertEqual(out, {"revision": revision + 1, "succeeded": True, "responses": [
            {"put": {"revision": revision + 1, "previous": [old]}},
            {"get": {"revision": revision + 1, "count": 1, "more": False, "kvs": [new]}},
            {"del": {"revision": revision + 1, "deleted": 0, "previous": []}}]})
        out = json.loads(self.txn(['val(j/a) = "1"'], words=("-o", "json"), code=NOT_FOUND))
        self.assertEqual(out, {"revision": revision + 1, "succeeded": False, "responses": []})

    def test_input_json(self):
        self.ok("del", "n/", "--prefix")
        inner = {"compare": [{"key": b64("n/a"), "target": "VERSION", "result": "EQUAL", "version": "0"}],
                 "success": [{"request_put": {"key": b64("n/a"), "value": b64("inner")}},
                             {"requestRange": {"key": b64("n/"), "rangeEnd": b64("n0")}}]}
        request = {"compare": [{"key": b64("n/a"), "target": "MOD", "result": "LESS", "mod_revision": 1}],
                   "success": [{"request_txn": inner}, {"request_put": {"key": b64("n/b\x00"), "value": b64("x")}}],
                   "failure": [{"request_delete_range": {"key": b64("n/b\x00")}}]}
        out = self.ok("txn", "--json", input_text=json.dumps(request))
        self.assertEqual(out, "SUCCESS\n\nSUCCESS\n\nOK\n\nn/a\ninner\n\nOK\n")
        self.assertEqual(self.ok("txn", "--json", input_text=json.dumps(request), code=NOT_FOUND), "FAILURE\n\n1\n")
        out = json.loads(self.ok("txn", "--json", "-o", "json", input_text=json.dumps({"success": [{"request_txn": inner}]})))
        self.assertEqual(out["responses"][0]["txn"]["succeeded"], False)
        for bad in ("", "[]", "{", '{"compare":', '{"compare":7}', '{"success":[{"request_put":{"key":"%%"}}]}', "null x"):
            self.fails(USAGE, "TxnRequest", "txn", "--json", input_text=bad)


if __name__ == "__main__":
    unittest.TestCase.maxDiff = None
    e2e.main()
