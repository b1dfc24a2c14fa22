/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_txn.c: see model.h. A transaction as etcd's documentation has it: which branches run is decided on
 * the store as it was, one refused operation refuses the whole, and all changes are one revision, of which
 * later operations see what earlier ones did.
 */
#include "model.h"

#define DEPTH_MAX  8 /* of what simulated clients send */
#define BODIES_MAX 64

struct run {
    struct model *m; /* NULL: a read */
    const struct model *from;
    int64_t before; /* the revision it found */
    bool changed;
    bool path[BODIES_MAX]; /* did the compares hold, body by body as they are entered */
    size_t path_count, path_at;
    struct buffer *answer;
};

/* ---- deciding -------------------------------------------------------------------------------------- */

/* The value's octets against others: its number, then zeroes. */
static int value_compare(const struct model_version *v, struct view other)
{
    for (size_t i = 0; i < v->value_size && i < other.size; i++) {
        int octet = i < 8 ? (int)(v->value >> (8 * i) & 0xff) : 0;
        if (octet != other.data[i]) {
            return octet < other.data[i] ? -1 : 1;
        }
    }
    return (v->value_size > other.size) - (v->value_size < other.size);
}

static bool holds_for(const struct txn_compare *c, const struct model_version *v)
{
    static const struct model_version absent = {0};
    const struct model_version *stored = v == NULL ? &absent : v;
    int64_t number = 0;
    int order = 0;
    if (c->target == TXN_VALUE && v == NULL) {
        return false;
    }
    number = c->target == TXN_VERSION  ? stored->version
             : c->target == TXN_CREATE ? stored->create_revision
             : c->target == TXN_MOD    ? stored->revision
                                       : stored->lease;
    order = c->target == TXN_VALUE ? value_compare(stored, c->value)
                                   : (number > c->number) - (number < c->number);
    return c->result == TXN_EQUAL     ? order == 0
           : c->result == TXN_GREATER ? order > 0
           : c->result == TXN_LESS    ? order < 0
                                      : order != 0;
}

static bool holds(const struct run *r, const struct txn_compare *c)
{
    bool any = false;
    for (uint32_t key = 0; key < MODEL_KEYS_MAX; key++) {
        const struct model_version *v = model_at(r->from, key, r->before);
        if (v == NULL || !model_in_range(key, c->key, c->range_end)) {
            continue;
        }
        any = true;
        if (!holds_for(c, v)) {
            return false;
        }
    }
    return any || holds_for(c, NULL);
}

/* Bounded by what clients send: DEPTH_MAX. */
static void decide(struct run *r, const struct txn_body *body, size_t depth)
{
    bool all = true;
    ASSERT(depth < DEPTH_MAX && r->path_count < BODIES_MAX);
    for (size_t i = 0; i < body->compare_count; i++) {
        all = all && holds(r, &body->compares[i]);
    }
    r->path[r->path_count++] = all;
    const struct txn_op *ops = all ? body->success : body->failure;
    size_t count = all ? body->success_count : body->failure_count;
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind == TXN_TXN) {
            decide(r, ops[i].txn, depth + 1);
        }
    }
}

/* ---- refusing -------------------------------------------------------------------------------------- */

static enum err refuse_put(const struct run *r, const struct txn_op *op)
{
    uint32_t key = 0;
    bool known = model_key_of(op->key, &key);
    ASSERT(known);
    bool exists = model_at(r->from, key, r->before) != NULL;
    if ((op->flags & (COMMAND_IGNORE_VALUE | COMMAND_IGNORE_LEASE)) != 0 && !exists) {
        return ERR_KEY_NOT_FOUND;
    }
    return op->lease != 0 && model_lease_alive(r->from, op->lease) == NULL ? ERR_LEASE_NOT_FOUND
                                                                           : OK;
}

static enum err refuse_range(const struct run *r, const struct txn_op *op)
{
    if (op->range.revision > r->before) {
        return ERR_FUTURE_REVISION;
    }
    return op->range.revision != 0 && op->range.revision < r->from->compact_revision ? ERR_COMPACTED
                                                                                     : OK;
}

/* All puts are asked before all ranges. */
static enum err refuse(struct run *r, const struct txn_body *body, bool ranges)
{
    bool all = r->path[r->path_at++];
    const struct txn_op *ops = all ? body->success : body->failure;
    size_t count = all ? body->success_count : body->failure_count;
    enum err error = OK;
    for (size_t i = 0; i < count && error == OK; i++) {
        if (ops[i].kind == TXN_TXN) {
            error = refuse(r, ops[i].txn, ranges);
        } else if (ops[i].kind == TXN_PUT && !ranges) {
            error = refuse_put(r, &ops[i]);
        } else if (ops[i].kind == TXN_RANGE && ranges) {
            error = refuse_range(r, &ops[i]);
        }
    }
    return error;
}

/* ---- running --------------------------------------------------------------------------------------- */

static int64_t now(const struct run *r)
{
    return r->changed ? r->before + 1 : r->before;
}

static void run_put(struct run *r, const struct txn_op *op)
{
    uint32_t key = 0;
    bool known = model_key_of(op->key, &key);
    ASSERT(known);
    const struct model_version *found = model_at(r->from, key, now(r));
    struct model_version before = found == NULL ? (struct model_version){0} : *found;
    bool keep_value = (op->flags & COMMAND_IGNORE_VALUE) != 0;
    bool keep_lease = (op->flags & COMMAND_IGNORE_LEASE) != 0;
    model_change(r->m, key, r->before + 1, keep_value ? before.value : model_value_of(op->value),
                 keep_value ? before.value_size : op->value.size,
                 keep_lease ? before.lease : op->lease);
    r->changed = true;
    answer_text_head(r->answer, now(r), 0, false, false);
    if (before.value != 0 && (op->flags & COMMAND_PREV_KV) != 0) {
        model_pair_text(key, &before, false, r->answer);
    }
}

static void run_delete(struct run *r, const struct txn_op *op)
{
    struct buffer pairs = {0};
    int64_t count = 0;
    for (uint32_t key = 0; key < MODEL_KEYS_MAX; key++) {
        const struct model_version *v = model_at(r->from, key, r->before + 1);
        if (v == NULL || !model_in_range(key, op->key, op->range_end)) {
            continue;
        }
        if ((op->flags & COMMAND_PREV_KV) != 0) {
            model_pair_text(key, v, false, &pairs);
        }
        model_change(r->m, key, r->before + 1, 0, 0, 0);
        count++;
    }
    r->changed = r->changed || count > 0;
    answer_text_head(r->answer, now(r), count, false, false);
    buffer_append(r->answer, pairs.data, pairs.size);
    buffer_free(&pairs);
}

static bool passes(const struct query *q, const struct model_version *v)
{
    return (q->min_mod_revision == 0 || v->revision >= q->min_mod_revision) &&
           (q->max_mod_revision == 0 || v->revision <= q->max_mod_revision) &&
           (q->min_create_revision == 0 || v->create_revision >= q->min_create_revision) &&
           (q->max_create_revision == 0 || v->create_revision <= q->max_create_revision);
}

static void run_range(struct run *r, const struct query *q)
{
    struct buffer pairs = {0};
    int64_t count = 0, taken = 0;
    int64_t at = q->revision > 0 ? q->revision : now(r);
    bool backwards = q->sort_order == SORT_DESCEND;
    for (uint32_t i = 0; i < MODEL_KEYS_MAX; i++) {
        uint32_t key = backwards ? MODEL_KEYS_MAX - 1 - i : i;
        const struct model_version *v = model_at(r->from, key, at);
        if (v == NULL || !model_in_range(key, q->key, q->range_end)) {
            continue;
        }
        count++;
        if (q->count_only || !passes(q, v)) {
            continue;
        }
        if (q->limit == 0 || taken < q->limit) {
            model_pair_text(key, v, q->keys_only, &pairs);
        }
        taken++;
    }
    answer_text_head(r->answer, now(r), count, q->limit > 0 && taken > q->limit, false);
    buffer_append(r->answer, pairs.data, pairs.size);
    buffer_free(&pairs);
}

static void run_body(struct run *r, const struct txn_body *body)
{
    bool all = r->path[r->path_at++];
    const struct txn_op *ops = all ? body->success : body->failure;
    size_t count = all ? body->success_count : body->failure_count;
    for (size_t i = 0; i < count; i++) {
        const struct txn_op *op = &ops[i];
        answer_text_open(r->answer, op->kind);
        switch (op->kind) {
        case TXN_PUT:
            run_put(r, op);
            break;
        case TXN_DELETE_RANGE:
            run_delete(r, op);
            break;
        case TXN_RANGE:
            run_range(r, &op->range);
            break;
        case TXN_TXN: /* its header has no revision */
            answer_text_head(r->answer, 0, 0, false, r->path[r->path_at]);
            run_body(r, op->txn);
            break;
        case TXN_NONE:
            break;
        }
        answer_text_close(r->answer);
    }
}

static void run(struct run *r, const struct txn_body *body, struct buffer *answer)
{
    struct buffer inner = {0};
    r->answer = &inner;
    r->path_at = 0;
    run_body(r, body);
    answer_text_head(answer, now(r), 0, false, r->path[0]);
    buffer_append(answer, inner.data, inner.size);
    buffer_free(&inner);
}

void model_txn(struct model *m, struct view octets, struct buffer *answer)
{
    struct txn_body *body = NULL;
    enum err error = txn_body_decode(octets, &body);
    ASSERT(error == OK);
    struct run r = {.m = m, .from = m, .before = m->revision};
    decide(&r, body, 0);
    error = refuse(&r, body, false);
    r.path_at = 0;
    if (error == OK) {
        error = refuse(&r, body, true);
    }
    if (error != OK) {
        answer_text_error(answer, m->revision, error);
    } else {
        run(&r, body, answer);
        m->revision = now(&r);
    }
    mem_free(body);
}

void model_txn_read(const struct model *m, const struct txn_body *body, int64_t revision,
                    struct buffer *answer)
{
    struct run r = {.from = m, .before = revision};
    decide(&r, body, 0);
    run(&r, body, answer);
}
