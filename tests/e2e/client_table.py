# SPDX-License-Identifier: Apache-2.0
"""
client_table.py: the table of clients in docs/compatibility.md, made of what the tests say they show
(clients.py). `make diff-docs` writes it.
"""
import importlib
import os
import sys

import clients
import cluster as e2e
import document

PAGE = os.path.join(e2e.ROOT, "docs", "compatibility.md")
BEGIN, END = "<!-- made by make diff-docs: clients -->\n", "<!-- made by make diff-docs: end of clients -->\n"

TESTS = ("test_etcdctl", "test_etcdctl_same", "test_python_etcd3", "test_curl", "test_members")


def page_with_table():
    """The page as it is, and as it should be."""
    for name in TESTS:
        importlib.import_module(name)
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    return page, document.with_section(page, BEGIN, END, clients.as_text())


if __name__ == "__main__":
    was, wanted = page_with_table()
    if "--check" in sys.argv:
        sys.exit("docs/compatibility.md is not what make diff-docs writes" if was != wanted else 0)
    if was != wanted:
        with open(PAGE, "w", encoding="utf-8") as page_file:
            page_file.write(wanted)
