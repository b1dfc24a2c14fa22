# SPDX-License-Identifier: Apache-2.0
"""
compare.py: two answers to one request are equal, differ in a known way (differences.py), or are a Difference.

Equal means: the same code and the same text, or messages equal field by field. Three fields are promised
less than that by the interface, and are compared by what is promised: order among equal sort keys, the
order of keys in a time-to-live and of leases in a list, and a remaining time to live.
"""
import difflib

from google.protobuf import json_format, text_format

from ops import one_line


class Difference(Exception):
    """The two sides differ, and no entry of the table allows it."""


# Seconds by which a remaining time may lie below the granted one: longer than any run.
AGE_MAX_S = 24 * 3600


def answers(op, left, right, known):
    """None, or raise Difference. `known` decides about what is not equal."""
    if op.via == "json":
        same = left.code == right.code and left.message == right.message and left.text == right.text or \
            left.code == right.code == 200 and _json_as_promised(op, left.message, right.message)
    elif left.code != 0 or right.code != 0:
        same = left.code == right.code and left.text == right.text
    elif isinstance(left.message, list):
        same = left.message == right.message
    else:
        same = left.message == right.message or _as_promised(op, left.message, right.message)
    if not same and not known.answers(op, left, right):
        raise Difference(f"etcd     answered {shown(left)}\nholdfast answered {shown(right)}{_lines(left, right)}")


def _lines(left, right, most=20):
    """The lines in which two messages differ."""
    texts = []
    for answer in (left, right):
        message = answer.message
        if isinstance(message, list):
            texts.append([line for m in message for line in text_format.MessageToString(m).splitlines()])
        elif hasattr(message, "DESCRIPTOR"):
            texts.append(text_format.MessageToString(message).splitlines())
        else:
            return ""
    lines = list(difflib.unified_diff(*texts, "etcd", "holdfast", n=3, lineterm=""))
    return "\n" + "\n".join(lines[:most] + (["..."] if len(lines) > most else []))


def shown(answer):
    if answer.message is None:
        return f"code {answer.code} {answer.text!r}"
    if isinstance(answer.message, list):
        return "[" + "; ".join("{ " + one_line(m) + " }" for m in answer.message) + "]"
    if isinstance(answer.message, dict) or not hasattr(answer.message, "DESCRIPTOR"):
        return f"HTTP {answer.code} {str(answer.message)[:1500]}"
    return "{ " + one_line(answer.message) + " }"


def _as_promised(op, left, right):
    """Equal as far as the interface promises."""
    if isinstance(op.request, bytes) or op.request is None:
        return False
    kind = type(left).__name__
    if kind == "RangeResponse":
        return ranges(op.request, left, right)
    if kind == "TxnResponse":
        return txns(op.request, left, right)
    if kind == "LeaseTimeToLiveResponse":
        return _times(left, right)
    if kind == "LeaseLeasesResponse":
        return _sorted_equal(left, right, "leases", lambda lease: lease.ID)
    return False


def _json_as_promised(op, left, right):
    """As above, for what JSON says. Which fields are left out is compared where nothing else differs."""
    if op.request is None:
        return False
    try:
        a = json_format.ParseDict(left, op.method.answer())
        b = json_format.ParseDict(right, op.method.answer())
    except json_format.ParseError:
        return False
    return _as_promised(op, a, b) and not a == b


def _sorted_equal(left, right, field, key):
    a, b = type(left).FromString(left.SerializeToString()), type(right).FromString(right.SerializeToString())
    for message in (a, b):
        values = sorted(getattr(message, field), key=key)
        message.ClearField(field)
        getattr(message, field).extend(values)
    return a == b


def _times(left, right):
    for message in (left, right):
        if not (message.TTL == -1 or 0 <= message.grantedTTL - message.TTL <= AGE_MAX_S):
            return False
    if (left.TTL == -1) != (right.TTL == -1):
        return False
    copy = type(right).FromString(right.SerializeToString())
    copy.TTL = left.TTL
    return _sorted_equal(left, copy, "keys", lambda k: k)


SORT_KEYS = {0: lambda kv: kv.key, 1: lambda kv: kv.version, 2: lambda kv: kv.create_revision,
             3: lambda kv: kv.mod_revision, 4: lambda kv: kv.value}


def ranges(request, left, right):
    """Equal but for the order among equal sort keys, and for which of them a limit cuts off."""
    if left == right:
        return True
    target = request.sort_target
    if target not in (1, 2, 3, 4) or len(left.kvs) != len(right.kvs):
        return False
    if (left.header, left.more, left.count) != (right.header, right.more, right.count):
        return False
    if request.keys_only and target == 4:
        return False  # what it was sorted by does not show; the generator does not draw it
    key = SORT_KEYS[target]
    if [key(kv) for kv in left.kvs] != [key(kv) for kv in right.kvs]:
        return False
    cut = key(left.kvs[-1]) if left.more else None

    def fixed(kvs):
        return sorted((kv.SerializeToString(deterministic=True) for kv in kvs if not (left.more and key(kv) == cut)))

    return fixed(left.kvs) == fixed(right.kvs)


def txns(request, left, right):
    """As ranges(), for each range in a transaction."""
    if left.header != right.header or left.succeeded != right.succeeded or len(left.responses) != len(right.responses):
        return False
    ops = request.success if left.succeeded else request.failure
    for op, a, b in zip(ops, left.responses, right.responses):
        if a == b:
            continue
        if a.WhichOneof("response") != b.WhichOneof("response"):
            return False
        if a.WhichOneof("response") == "response_range":
            if not ranges(op.request_range, a.response_range, b.response_range):
                return False
        elif a.WhichOneof("response") == "response_txn":
            if not txns(op.request_txn, a.response_txn, b.response_txn):
                return False
        else:
            return False
    return True
