# SPDX-License-Identifier: Apache-2.0
"""
differences.py: the one table of differences that are allowed, each with its reason. docs/compatibility.md
holds the same table as text (make diff-docs); a difference that is not here fails the run.

An entry's `match` is asked about two answers that are not equal: (op, left, right) where left is etcd. An
entry without one is decided where it arises, by name (Known.count), or by not drawing such requests.
"""
from ops import pb

INVALID_ARGUMENT, FAILED_PRECONDITION, INTERNAL, UNIMPLEMENTED = 3, 9, 13, 12


class Allowed:
    def __init__(self, name, what, reason, match=None):
        self.name = name
        self.what = what
        self.reason = reason
        self.match = match


def _orders(request):
    """Sort orders in a request, transactions included."""
    if isinstance(request, pb.RangeRequest):
        yield request.sort_order
    elif isinstance(request, pb.TxnRequest):
        for op in list(request.success) + list(request.failure):
            if op.HasField("request_range"):
                yield op.request_range.sort_order
            elif op.HasField("request_txn"):
                yield from _orders(op.request_txn)


def _invalid_sort(op, _left, right):
    return any(order not in (0, 1, 2) for order in _orders(op.request)) and \
        "etcdserver: invalid sort option" in (right.text, _json(right, "message"))


def _json(answer, field):
    return answer.message.get(field) if isinstance(answer.message, dict) else None


def _negative_start(op, left, right):
    return op.kind == "watch.create" and op.request.create_request.start_revision < 0 and \
        left.message.created and right.message.created and right.message.canceled and right.message.watch_id == -1 and \
        right.message.cancel_reason == "etcdserver: mvcc: required revision has been compacted"


def _same_but(message_left, message_right, *fields):
    a = type(message_left).FromString(message_left.SerializeToString())
    b = type(message_right).FromString(message_right.SerializeToString())
    for message in (a, b):
        for field in fields:
            message.ClearField(field)
    return a == b


def _hash(op, left, right):
    if op.kind != "HashKV" or left.code != 0 or right.code != 0 or op.via != "grpc":
        return False
    return max(left.message.compact_revision, 0) == right.message.compact_revision and \
        _same_but(left.message, right.message, "hash", "hash_revision", "compact_revision") and \
        right.message.hash_revision == \
        (op.request.revision if op.request.revision > 0 else right.message.header.revision)


def _hash_compacted(op, left, right):
    return op.kind == "HashKV" and left.code == 11 and right.code == 0 and \
        op.request.revision == right.message.compact_revision == right.message.hash_revision


def _alarm(op, left, right):
    return op.kind == "Alarm" and left.code == 0 and right.code == 0 and op.via == "grpc" and \
        not left.message.HasField("header") and _same_but(left.message, right.message, "header")


def _unmarshal(op, left, right):
    start = "grpc: error unmarshalling request: "
    return isinstance(op.request, bytes) and left.code == right.code == INTERNAL and \
        left.text.startswith(start) and right.text.startswith(start)


def _json_precondition(op, left, right):
    return op.via == "json" and left.code == 412 and right.code == 400 and _json(left, "code") == FAILED_PRECONDITION \
        and left.message == right.message


def _json_text(op, left, right):
    return op.via == "json" and "body" in op.detail and left.code == right.code == 400 and \
        _json(left, "code") == _json(right, "code") == INVALID_ARGUMENT and _json(right, "message") and \
        _json(right, "error")


def _json_behind(op, left, right):
    return op.via == "json" and op.detail.get("body", "").endswith("} trailing") and left.code == 200 and \
        right.code == 400 and _json(right, "code") == INVALID_ARGUMENT


def _json_padding(op, left, right):
    return op.via == "json" and op.detail.get("body", "").endswith(('"YQ"}', '"_w=="}')) and left.code == 400 and right.code == 200


def _json_null(op, left, right):
    return op.via == "json" and op.detail.get("body") == "null" and left.code == 200 and right.code == 400 and \
        _json(right, "code") == INVALID_ARGUMENT


def _compare_numbers(op, left, right):
    return op.kind == "Txn" and left.code in (0, 200) and \
        "holdfast: unknown result or target of a compare" in (right.text, _json(right, "message"))


def _compact_zero(op, left, right):
    return op.kind == "Compact" and op.request.revision == 0 and left.code == 11 and right.code == 0


TABLE = [
    Allowed("versions", "The version in `Status` and `/version`, and the fields of `Status` that 3.6 added.",
            "holdfast speaks etcd 3.6; the etcd compared with is Debian's 3.4.23. Clients steer by the version."),
    Allowed("sort", "A Range with an unknown `sort_order` or `sort_target` is INVALID_ARGUMENT `etcdserver: invalid "
            "sort option`.", "As etcd 3.6 does. 3.4 ignores an unknown order and ends at an unknown target, so the "
            "latter is not sent to it.", _invalid_sort),
    Allowed("negative-start", "A watch with a negative `start_revision` is created and cancelled as compacted.",
            "As etcd since 3.5.24 and 3.6.6; 3.4.23 takes it for *from now*.", _negative_start),
    Allowed("tombstone", "A watch from the compacted revision on gets the deletions of that revision too.",
            "As etcd since 3.5.16 and 3.4.34, which keep them; 3.4.23 drops them, so that a watcher that resumes "
            "there misses a deletion."),
    Allowed("progress", "A progress request on a stream without watchers, or with one whose start lies in the future, "
            "is not answered.", "As etcd since 3.5.8 and 3.5.22; 3.4.23 always answers, also with a revision that "
            "events are still on their way for."),
    Allowed("hash", "`HashKV` has a value of its own, `hash_revision` is set, and `compact_revision` is 0 on a store "
            "never compacted, where etcd says -1.",
            "The hash is over holdfast's own rows; etcd's is over bbolt's. All nodes of one cluster agree, which the "
            "test checks at every revision it asks for. `hash_revision` is 3.6's.", _hash),
    Allowed("hash-compacted", "`HashKV` at the compacted revision has an answer.",
            "As etcd 3.6: a Range at that revision has one too. 3.4 refuses it as compacted.", _hash_compacted),
    Allowed("alarm-header", "`Alarm` has a header.", "As etcd since 3.5; 3.4 leaves it out.", _alarm),
    Allowed("unmarshal-text", "What follows `grpc: error unmarshalling request: ` for a malformed message.",
            "It is the text of another protobuf library; code and beginning are the same.", _unmarshal),
    Allowed("json-precondition", "JSON: FAILED_PRECONDITION is HTTP 400.",
            "As etcd since 3.5; the gateway in 3.4 says 412.", _json_precondition),
    Allowed("json-text", "JSON: the text that explains a malformed body.",
            "It is the text of another JSON library; status 400 and code 3 are the same.", _json_text),
    Allowed("json-behind", "JSON: octets behind the object of a unary request are INVALID_ARGUMENT.",
            "etcd does not read them. Who sends them is mistaken about what was sent, and should know.", _json_behind),
    Allowed("json-padding", "JSON: base64 without padding, and in the form for URLs, is taken.",
            "As etcd 3.6's gateway does; 3.4's refuses it.", _json_padding),
    Allowed("json-null", "JSON: `null` as the whole body is INVALID_ARGUMENT.",
            "As etcd 3.6's gateway; 3.4's takes it for an empty message.", _json_null),
    Allowed("json-stream", "JSON: a malformed request in the body of a stream is INVALID_ARGUMENT: HTTP 400, or the last line "
            "if there are answers already.", "As of a unary call. etcd 3.4 says UNKNOWN (500), or nothing at all behind a "
            "request that it understood. Not drawn."),
    Allowed("json-oneof", "JSON: two members of a oneof in one object are INVALID_ARGUMENT.",
            "As etcd 3.6's gateway; 3.4's takes one of them. Not drawn."),
    Allowed("json-numbers", "JSON: 64-bit numbers may be written 1.0 or 1e2.",
            "As etcd 3.6's gateway does; 3.4's refuses them. Not drawn."),
    Allowed("txn-minus-one", "In a transaction a Range at revision -1 is refused as compacted on every store.",
            "As any other negative revision there. etcd takes exactly -1 for *now* as long as the store was never "
            "compacted. Not drawn, as what the transaction writes would differ."),
    Allowed("compare", "An unknown result or target of a compare is INVALID_ARGUMENT.",
            "etcd takes a result that it does not know for a compare that holds. A guard must not be skipped silently.",
            _compare_numbers),
    Allowed("lock-again", "`Lock` or `Campaign` again with a lease that is in the line already writes its key anew, a revision "
            "more; the create revision stays.",
            "The later call takes the key over, so that the end of the earlier one does not remove what the later one "
            "relies on, as it does in etcd. Not drawn, as every revision after it would differ."),
    Allowed("watch-id", "The id of a watcher that was cancelled as compacted can be used again.",
            "etcd keeps it taken until the stream ends. Not drawn."),
    Allowed("compact-zero", "`Compact` at revision 0 is accepted as long as nothing was compacted, as often as it is asked for.",
            "etcd accepts it once. It removes nothing.", _compact_zero),
    Allowed("ignore-deleted", "In a transaction a `Put` with `ignore_value` or `ignore_lease` behind a `DeleteRange` to the last "
            "key that covers it is refused as `key not found`.",
            "There is nothing left to keep. etcd 3.4.23 lets it through its checks and then fails inside. Not drawn."),
    Allowed("busy", "`etcdserver: too many requests` is RESOURCE_EXHAUSTED (8).",
            "As etcd defines it; its mapping lets UNKNOWN (2) out. Not reached by this test."),
]


class Known:
    """The table at work, and how often each entry was needed."""

    def __init__(self):
        self.by_name = {entry.name: entry for entry in TABLE}
        self.used = {}

    def count(self, name):
        assert name in self.by_name
        self.used[name] = self.used.get(name, 0) + 1

    def answers(self, op, left, right):
        for entry in TABLE:
            if entry.match is not None and entry.match(op, left, right):
                self.count(entry.name)
                return True
        return False

    def watch_events(self, _watcher, _left, _right):
        return False


def as_text():
    lines = ["| What a client sees | Why |", "|---|---|"]
    lines += [f"| {entry.what} | {entry.reason} |" for entry in TABLE]
    return "\n".join(lines) + "\n"
