/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_watch.c: see rpc_watch.h. Field numbers are those of src/api/proto/rpc.proto and kv.proto; the tests
 * compare with protobuf-c.
 */
#include "rpc_watch.h"

#include "rpc_kv_fields.h"

/* ---- requests ------------------------------------------------------------------------------------- */

enum request_field { REQUEST_CREATE = 1, REQUEST_CANCEL, REQUEST_PROGRESS };

enum create_field {
    CREATE_KEY = 1,
    CREATE_RANGE_END,
    CREATE_START_REVISION,
    CREATE_PROGRESS_NOTIFY,
    CREATE_FILTERS,
    CREATE_PREV_KV,
    CREATE_WATCH_ID,
    CREATE_FRAGMENT,
};

enum { CANCEL_WATCH_ID = 1 };

enum filter { FILTER_NO_PUT = 0, FILTER_NO_DELETE = 1 };

/* An unknown filter filters nothing, as in etcd. */
static void filter_add(struct watch_call *c, uint64_t number)
{
    c->no_put = c->no_put || (int32_t)number == FILTER_NO_PUT;
    c->no_delete = c->no_delete || (int32_t)number == FILTER_NO_DELETE;
}

/* A repeated enum comes packed, octets full of varints, or one by one; both must be taken. */
static void filters_add(struct watch_call *c, struct proto_reader *r)
{
    if (r->wire != PROTO_BYTES) {
        filter_add(c, proto_number(r));
        return;
    }
    struct proto_reader elements = proto_reader_of(r->octets);
    uint64_t number = 0;
    while (proto_packed_next(&elements, &number)) {
        filter_add(c, number);
    }
    r->failed = r->failed || elements.failed;
}

static bool create_decode(struct view in, struct watch_call *c)
{
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        switch (r.field) {
        case CREATE_KEY:
            c->key = proto_octets(&r);
            break;
        case CREATE_RANGE_END:
            c->range_end = proto_octets(&r);
            break;
        case CREATE_START_REVISION:
            c->start_revision = (int64_t)proto_number(&r);
            break;
        case CREATE_PROGRESS_NOTIFY:
            c->progress_notify = proto_number(&r) != 0;
            break;
        case CREATE_FILTERS:
            filters_add(c, &r);
            break;
        case CREATE_PREV_KV:
            c->prev_kv = proto_number(&r) != 0;
            break;
        case CREATE_WATCH_ID:
            c->watch_id = (int64_t)proto_number(&r);
            break;
        case CREATE_FRAGMENT:
            c->fragment = proto_number(&r) != 0;
            break;
        default:
            break;
        }
    }
    return !r.failed;
}

static bool cancel_decode(struct view in, struct watch_call *c)
{
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        if (r.field == CANCEL_WATCH_ID) {
            c->watch_id = (int64_t)proto_number(&r);
        }
    }
    return !r.failed;
}

static bool progress_decode(struct view in)
{
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {}
    return !r.failed;
}

/* The last member of the oneof counts; one that comes twice is merged. */
static void choose(struct watch_call *c, enum watch_call_kind kind)
{
    if (c->kind != kind) {
        *c = (struct watch_call){.kind = kind};
    }
}

enum err rpc_watch_decode(struct view in, struct watch_call *out)
{
    static const uint8_t zero = 0;
    struct watch_call c = {.kind = WATCH_CALL_NONE};
    struct proto_reader r = proto_reader_of(in);
    bool good = true;
    while (good && proto_next(&r)) {
        switch (r.field) {
        case REQUEST_CREATE:
            choose(&c, WATCH_CALL_CREATE);
            good = create_decode(proto_octets(&r), &c);
            break;
        case REQUEST_CANCEL:
            choose(&c, WATCH_CALL_CANCEL);
            good = cancel_decode(proto_octets(&r), &c);
            break;
        case REQUEST_PROGRESS:
            choose(&c, WATCH_CALL_PROGRESS);
            good = progress_decode(proto_octets(&r));
            break;
        default:
            break;
        }
    }
    if (!good || r.failed) {
        return ERR_MALFORMED;
    }
    if (c.kind == WATCH_CALL_CREATE && c.key.size == 0) {
        c.key = view_of(&zero, 1);
    }
    *out = c;
    return OK;
}

/* ---- responses ------------------------------------------------------------------------------------ */

enum response_field {
    RESPONSE_WATCH_ID = 2,
    RESPONSE_CREATED,
    RESPONSE_CANCELED,
    RESPONSE_COMPACT_REVISION,
    RESPONSE_CANCEL_REASON,
    RESPONSE_FRAGMENT,
    RESPONSE_EVENTS = 11,
};

enum event_field { EVENT_TYPE = 1, EVENT_KV, EVENT_PREV_KV };

enum { EVENT_TYPE_DELETE = 1 };

static size_t event_content_size(const struct key_value *pair, bool deleted,
                                 const struct key_value *previous)
{
    size_t size = proto_uint_size(deleted ? EVENT_TYPE_DELETE : 0) +
                  proto_embedded_size(rpc_key_value_size(pair));
    return previous != NULL ? size + proto_embedded_size(rpc_key_value_size(previous)) : size;
}

size_t rpc_watch_event_size(const struct key_value *pair, bool deleted,
                            const struct key_value *previous)
{
    return proto_embedded_size(event_content_size(pair, deleted, previous));
}

uint8_t *rpc_watch_event_put(uint8_t *out, const struct key_value *pair, bool deleted,
                             const struct key_value *previous)
{
    out = proto_embedded_put(out, RESPONSE_EVENTS, event_content_size(pair, deleted, previous));
    out = proto_uint_put(out, EVENT_TYPE, deleted ? EVENT_TYPE_DELETE : 0);
    out = rpc_key_value_put(out, EVENT_KV, pair);
    return previous != NULL ? rpc_key_value_put(out, EVENT_PREV_KV, previous) : out;
}

static struct view reason_of(const struct watch_answer *answer)
{
    return answer->cancel_reason != NULL ? view_of_text(answer->cancel_reason) : (struct view){0};
}

size_t rpc_watch_answer_size(const struct watch_answer *answer)
{
    return proto_embedded_size(rpc_header_size(&answer->header)) +
           proto_uint_size((uint64_t)answer->watch_id) + proto_uint_size(answer->created) +
           proto_uint_size(answer->canceled) + proto_uint_size((uint64_t)answer->compact_revision) +
           proto_bytes_size(reason_of(answer)) + proto_uint_size(answer->fragment);
}

uint8_t *rpc_watch_answer_put(uint8_t *out, const struct watch_answer *answer)
{
    out = rpc_header_put(out, &answer->header);
    out = proto_uint_put(out, RESPONSE_WATCH_ID, (uint64_t)answer->watch_id);
    out = proto_uint_put(out, RESPONSE_CREATED, answer->created);
    out = proto_uint_put(out, RESPONSE_CANCELED, answer->canceled);
    out = proto_uint_put(out, RESPONSE_COMPACT_REVISION, (uint64_t)answer->compact_revision);
    out = proto_bytes_put(out, RESPONSE_CANCEL_REASON, reason_of(answer));
    return proto_uint_put(out, RESPONSE_FRAGMENT, answer->fragment);
}
