/* SPDX-License-Identifier: Apache-2.0 */
/*
 * txn_body.c: a transaction's tree to octets and back, in the flat format of txn_body.h; and queries,
 * which only travel between actors and so have no encoding of their own.
 *
 * Decoding goes over the octets twice with the same code: once to check them and count what they hold,
 * once to fill one block of memory. What is read is bounded by the octets there are: a count is refused
 * before anything is reserved for it if that many of the smallest could not follow.
 *
 * Not here: what a client may ask (txn_check.c), what the tree means (src/kv/txn.c).
 */
#include "txn_body.h"

#include "txn_walk.h"

#include <string.h>

#define RANGE_SERIALIZABLE 1
#define RANGE_KEYS_ONLY    2
#define RANGE_COUNT_ONLY   4

/* ---- queries ------------------------------------------------------------------------------------ */

static struct view place(uint8_t **room, struct view from)
{
    uint8_t *at = *room;
    if (from.size > 0) {
        memcpy(at, from.data, from.size);
    }
    *room += from.size;
    return view_of(at, from.size);
}

struct query *query_create(const struct query *from)
{
    struct query *copy =
        mem_alloc(sizeof(*copy) + from->key.size + from->range_end.size + from->body.size);
    uint8_t *room = (uint8_t *)(copy + 1);
    *copy = *from;
    copy->key = place(&room, from->key);
    copy->range_end = place(&room, from->range_end);
    copy->body = place(&room, from->body);
    return copy;
}

/* ---- encode ------------------------------------------------------------------------------------- */

static void encode_compare(const struct txn_compare *c, struct buffer *out)
{
    bool value = c->target == TXN_VALUE;
    ASSERT((unsigned)c->result <= TXN_NOT_EQUAL);
    ASSERT((unsigned)c->target <= TXN_LEASE);
    buffer_u8(out, (uint8_t)c->result);
    buffer_u8(out, (uint8_t)c->target);
    buffer_u64(out, value ? 0 : (uint64_t)c->number);
    buffer_view(out, c->key);
    buffer_view(out, c->range_end);
    buffer_view(out, value ? c->value : view_of(NULL, 0));
}

static void encode_range(const struct query *q, struct buffer *out)
{
    buffer_u8(out, (uint8_t)((q->serializable ? RANGE_SERIALIZABLE : 0) |
                             (q->keys_only ? RANGE_KEYS_ONLY : 0) |
                             (q->count_only ? RANGE_COUNT_ONLY : 0)));
    buffer_u32(out, (uint32_t)q->sort_order);
    buffer_u32(out, (uint32_t)q->sort_target);
    buffer_u64(out, (uint64_t)q->limit);
    buffer_u64(out, (uint64_t)q->revision);
    buffer_u64(out, (uint64_t)q->min_mod_revision);
    buffer_u64(out, (uint64_t)q->max_mod_revision);
    buffer_u64(out, (uint64_t)q->min_create_revision);
    buffer_u64(out, (uint64_t)q->max_create_revision);
    buffer_view(out, q->key);
    buffer_view(out, q->range_end);
}

static void encode_op(const struct txn_op *op, struct buffer *out)
{
    buffer_u8(out, (uint8_t)op->kind);
    switch (op->kind) {
    case TXN_RANGE:
        encode_range(&op->range, out);
        return;
    case TXN_PUT:
        buffer_u16(out, op->flags);
        buffer_u64(out, (uint64_t)op->lease);
        buffer_view(out, op->key);
        buffer_view(out, op->value);
        return;
    case TXN_DELETE_RANGE:
        buffer_u16(out, op->flags);
        buffer_view(out, op->key);
        buffer_view(out, op->range_end);
        return;
    case TXN_TXN:
        return; /* its body is what comes next */
    case TXN_NONE:
        break;
    }
    ASSERT(op->kind != TXN_NONE);
}

static void encode_head(const struct txn_body *body, struct buffer *out)
{
    ASSERT(body->compare_count <= UINT32_MAX);
    ASSERT(body->success_count <= UINT32_MAX);
    ASSERT(body->failure_count <= UINT32_MAX);
    buffer_u32(out, (uint32_t)body->compare_count);
    buffer_u32(out, (uint32_t)body->success_count);
    buffer_u32(out, (uint32_t)body->failure_count);
    for (size_t i = 0; i < body->compare_count; i++) {
        encode_compare(&body->compares[i], out);
    }
}

void txn_body_encode(const struct txn_body *body, struct buffer *out)
{
    struct txn_walk walk;
    const struct txn_op *op = NULL;
    txn_walk_begin(&walk, body);
    encode_head(body, out);
    while ((op = txn_walk_next(&walk)) != NULL) {
        encode_op(op, out);
        if (op->kind == TXN_TXN) {
            encode_head(op->txn, out);
        }
    }
    ASSERT(!walk.too_deep);
}

/* ---- decode ------------------------------------------------------------------------------------- */

#define COMPARE_BYTES_LEAST (1 + 1 + 8 + 4 + 4 + 4)
#define OP_BYTES_LEAST      (1 + 2 + 4 + 4)

/* Counts on the first pass (the arrays are NULL), fills on the second. */
struct decoder {
    struct reader in;
    struct txn_body *bodies;
    struct txn_compare *compares;
    struct txn_op *ops;
    size_t body_count, compare_count, op_count;
    bool malformed;
};

/* A body whose operations are being read. */
struct decoding {
    size_t op_first, op_at, op_end; /* places in decoder.ops */
};

static void decode_compare(struct decoder *d, struct txn_compare *out)
{
    uint8_t result = reader_u8(&d->in);
    uint8_t target = reader_u8(&d->in);
    *out = (struct txn_compare){
        .result = (enum txn_compare_result)result,
        .target = (enum txn_compare_target)target,
        .number = (int64_t)reader_u64(&d->in),
    };
    out->key = reader_view(&d->in);
    out->range_end = reader_view(&d->in);
    out->value = reader_view(&d->in);
    bool unused_set = target == TXN_VALUE ? out->number != 0 : out->value.size > 0;
    d->malformed = d->malformed || result > TXN_NOT_EQUAL || target > TXN_LEASE || unused_set;
}

static void decode_range(struct decoder *d, struct query *out)
{
    uint8_t flags = reader_u8(&d->in);
    *out = (struct query){.kind = QUERY_RANGE};
    out->serializable = (flags & RANGE_SERIALIZABLE) != 0;
    out->keys_only = (flags & RANGE_KEYS_ONLY) != 0;
    out->count_only = (flags & RANGE_COUNT_ONLY) != 0;
    out->sort_order = (enum sort_order)reader_u32(&d->in);
    out->sort_target = (enum sort_target)reader_u32(&d->in);
    out->limit = (int64_t)reader_u64(&d->in);
    out->revision = (int64_t)reader_u64(&d->in);
    out->min_mod_revision = (int64_t)reader_u64(&d->in);
    out->max_mod_revision = (int64_t)reader_u64(&d->in);
    out->min_create_revision = (int64_t)reader_u64(&d->in);
    out->max_create_revision = (int64_t)reader_u64(&d->in);
    out->key = reader_view(&d->in);
    out->range_end = reader_view(&d->in);
    d->malformed =
        d->malformed || flags > (RANGE_SERIALIZABLE | RANGE_KEYS_ONLY | RANGE_COUNT_ONLY);
}

static void decode_op(struct decoder *d, struct txn_op *out)
{
    uint8_t kind = reader_u8(&d->in);
    *out = (struct txn_op){.kind = (enum txn_op_kind)kind};
    switch (kind) {
    case TXN_RANGE:
        decode_range(d, &out->range);
        return;
    case TXN_PUT:
        out->flags = reader_u16(&d->in);
        out->lease = (int64_t)reader_u64(&d->in);
        out->key = reader_view(&d->in);
        out->value = reader_view(&d->in);
        d->malformed = d->malformed || out->flags > TXN_PUT_FLAGS;
        return;
    case TXN_DELETE_RANGE:
        out->flags = reader_u16(&d->in);
        out->key = reader_view(&d->in);
        out->range_end = reader_view(&d->in);
        d->malformed = d->malformed || out->flags > TXN_DELETE_FLAGS;
        return;
    case TXN_TXN:
        return; /* the caller goes on with its body */
    default:    /* an octet from outside, not an enum of ours */
        d->malformed = true;
        return;
    }
}

static struct decoding decode_body(struct decoder *d, struct txn_body **out)
{
    uint64_t compares = reader_u32(&d->in);
    uint64_t success = reader_u32(&d->in);
    uint64_t failure = reader_u32(&d->in);
    struct decoding body = {.op_first = d->op_count, .op_at = d->op_count, .op_end = d->op_count};
    if (d->in.failed || compares > d->in.size / COMPARE_BYTES_LEAST ||
        success + failure > d->in.size / OP_BYTES_LEAST) {
        d->in.failed = true;
        return body;
    }
    if (d->bodies != NULL) {
        *out = &d->bodies[d->body_count];
        **out = (struct txn_body){
            .compares = d->compares + d->compare_count,
            .compare_count = compares,
            .success = d->ops + d->op_count,
            .success_count = success,
            .failure = d->ops + d->op_count + success,
            .failure_count = failure,
        };
    }
    d->body_count++;
    for (uint64_t i = 0; i < compares && !d->in.failed; i++) {
        struct txn_compare unused;
        decode_compare(d, d->bodies != NULL ? &d->compares[d->compare_count] : &unused);
        d->compare_count++;
    }
    d->op_count += success + failure;
    body.op_end = d->op_count;
    return body;
}

static enum err decode_pass(struct decoder *d)
{
    struct decoding bodies[TXN_DEPTH_MAX];
    struct txn_body *root = NULL;
    struct txn_op unused = {0};
    size_t depth = 1;
    bodies[0] = decode_body(d, &root);
    while (depth > 0 && !d->in.failed && !d->malformed) {
        struct decoding *body = &bodies[depth - 1];
        if (body->op_at == body->op_end) {
            depth--;
            continue;
        }
        struct txn_op *op = d->bodies != NULL ? &d->ops[body->op_at] : &unused;
        body->op_at++;
        decode_op(d, op);
        if (op->kind == TXN_TXN) {
            if (depth == TXN_DEPTH_MAX) {
                return ERR_TOO_MANY_OPS;
            }
            bodies[depth++] = decode_body(d, &op->txn);
        }
    }
    if (d->in.failed) { /* first: what could not be read looks like anything */
        return ERR_TRUNCATED;
    }
    return d->malformed || d->in.size > 0 ? ERR_MALFORMED : OK;
}

enum err txn_body_decode(struct view in, struct txn_body **out)
{
    struct decoder count = {.in = {.data = in.data, .size = in.size}};
    enum err error = decode_pass(&count);
    if (error != OK) {
        return error;
    }
    size_t bodies_bytes = count.body_count * sizeof(struct txn_body);
    size_t compares_bytes = count.compare_count * sizeof(struct txn_compare);
    uint8_t *room =
        mem_zalloc(bodies_bytes + compares_bytes + count.op_count * sizeof(struct txn_op));
    struct decoder fill = {
        .in = {.data = in.data, .size = in.size},
        .bodies = (struct txn_body *)(void *)room,
        .compares = (struct txn_compare *)(void *)(room + bodies_bytes),
        .ops = (struct txn_op *)(void *)(room + bodies_bytes + compares_bytes),
    };
    error = decode_pass(&fill);
    ASSERT(error == OK);
    ASSERT(fill.body_count == count.body_count);
    ASSERT(fill.op_count == count.op_count);
    *out = fill.bodies;
    return OK;
}

_Static_assert(_Alignof(struct txn_body) >= _Alignof(struct txn_compare), "behind each other");
_Static_assert(_Alignof(struct txn_compare) >= _Alignof(struct txn_op), "behind each other");

/* ---- looking at a tree --------------------------------------------------------------------------- */

/* The operation that txn_walk_begin and _next came to last is in a list of `ops`, at `at`. */
void txn_walk_begin(struct txn_walk *w, const struct txn_body *body)
{
    *w = (struct txn_walk){.depth = 1};
    w->bodies[0] = body;
    w->at[0] = 0;
}

const struct txn_op *txn_walk_next(struct txn_walk *w)
{
    if (w->entering != NULL) {
        if (w->depth == TXN_DEPTH_MAX) {
            w->too_deep = true;
            return NULL;
        }
        w->bodies[w->depth] = w->entering;
        w->at[w->depth] = 0;
        w->depth++;
        w->entering = NULL;
    }
    while (w->depth > 0) {
        const struct txn_body *body = w->bodies[w->depth - 1];
        size_t at = w->at[w->depth - 1];
        const struct txn_op *op = NULL;
        if (at < body->success_count) {
            op = &body->success[at];
        } else if (at - body->success_count < body->failure_count) {
            op = &body->failure[at - body->success_count];
        } else {
            w->depth--;
            continue;
        }
        w->at[w->depth - 1]++;
        w->entering = op->kind == TXN_TXN ? op->txn : NULL;
        return op;
    }
    return NULL;
}

struct view txn_body_first_key(const struct txn_body *body)
{
    struct txn_walk walk;
    const struct txn_op *op = NULL;
    if (body->compare_count > 0) {
        return body->compares[0].key;
    }
    txn_walk_begin(&walk, body);
    while ((op = txn_walk_next(&walk)) != NULL) {
        if (op->kind == TXN_RANGE) {
            return op->range.key;
        }
        if (op->kind != TXN_TXN) {
            return op->key;
        }
        if (op->txn->compare_count > 0) {
            return op->txn->compares[0].key;
        }
    }
    return view_of(NULL, 0);
}

bool txn_body_puts(const struct txn_body *body)
{
    struct txn_walk walk;
    const struct txn_op *op = NULL;
    txn_walk_begin(&walk, body);
    while ((op = txn_walk_next(&walk)) != NULL) {
        if (op->kind == TXN_PUT) {
            return true;
        }
    }
    return false;
}

bool txn_body_is_read_only(const struct txn_body *body)
{
    struct txn_walk walk;
    const struct txn_op *op = NULL;
    txn_walk_begin(&walk, body);
    while ((op = txn_walk_next(&walk)) != NULL) {
        if (op->kind == TXN_PUT || op->kind == TXN_DELETE_RANGE) {
            return false;
        }
    }
    return true;
}

bool txn_body_is_serializable(const struct txn_body *body)
{
    struct txn_walk walk;
    const struct txn_op *op = NULL;
    txn_walk_begin(&walk, body);
    while ((op = txn_walk_next(&walk)) != NULL) {
        if (op->kind != TXN_RANGE || !op->range.serializable) {
            return false;
        }
    }
    return true;
}
