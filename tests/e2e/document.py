# SPDX-License-Identifier: Apache-2.0
"""
document.py: parts of the documentation that programs write stand between two comments of their own.
"""


def with_section(document, begin, end, text):
    """The document with this text between its two comments. SystemExit: it has not both."""
    head, first, rest = document.partition(begin)
    _, last, tail = rest.partition(end)
    if not first or not last:
        raise SystemExit(f"there is no {(end if first else begin).strip()} in the document")
    return head + begin + text + end + tail


def replace_section(path, begin, end, text):
    with open(path, encoding="utf-8") as file:
        document = file.read()
    wanted = with_section(document, begin, end, text)
    with open(path, "w", encoding="utf-8") as file:
        file.write(wanted)
