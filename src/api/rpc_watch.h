/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_watch.h: etcd's Watch service: what a client asks for on its stream, and the responses.
 *
 * An event is written once and its octets are copied into the response of everybody who watches its key:
 * they are the same for all. No state, no I/O.
 */
#ifndef HOLDFAST_API_RPC_WATCH_H
#define HOLDFAST_API_RPC_WATCH_H

#include "base.h"
#include "rpc_kv.h"
#include "watch.h"

enum watch_call_kind {
    WATCH_CALL_NONE, /* an empty oneof: to be ignored (sheet 2.6) */
    WATCH_CALL_CREATE,
    WATCH_CALL_CANCEL,
    WATCH_CALL_PROGRESS,
};

struct watch_call {
    enum watch_call_kind kind;
    struct view key, range_end; /* create; an empty key has become one 0x00 */
    int64_t start_revision;
    int64_t watch_id; /* create: 0, the server chooses; cancel */
    bool no_put, no_delete, prev_kv, progress_notify, fragment;
};

/* Views in *out point into `in` or at static octets. ERR_MALFORMED; *out is untouched then. */
MUST_USE enum err rpc_watch_decode(struct view in, struct watch_call *out);

/* One event of a response, tag and size included. previous: NULL without prev_kv. */
size_t rpc_watch_event_size(const struct key_value *pair, bool deleted,
                            const struct key_value *previous);
uint8_t *rpc_watch_event_put(uint8_t *out, const struct key_value *pair, bool deleted,
                             const struct key_value *previous);

/* The fields of a response before its events. */
struct watch_answer {
    struct response_header header; /* revision 0: unset, of a watch cancelled by a compaction */
    int64_t watch_id;
    int64_t compact_revision;
    const char *cancel_reason; /* NULL: none */
    bool created, canceled, fragment;
};
size_t rpc_watch_answer_size(const struct watch_answer *answer);
uint8_t *rpc_watch_answer_put(uint8_t *out, const struct watch_answer *answer);

#endif
