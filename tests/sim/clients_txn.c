/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clients_txn.c: transactions of every kind, and the single writes that share their keys. Operands of compares are
 * drawn near what is stored, so that both branches run.
 */
#include "clients_parts.h"

#include <string.h>

#define DRAFT_OPS      48
#define DRAFT_COMPARES 24
#define DRAFT_BODIES   12
#define DRAFT_OCTETS   (16 * 1024)
#define DRAFT_TRIES    6

/* A transaction being drawn, with all it points to. */
struct draft {
    struct txn_op ops[DRAFT_OPS];
    struct txn_compare compares[DRAFT_COMPARES];
    struct txn_body bodies[DRAFT_BODIES];
    size_t op_count, compare_count, body_count;
    uint8_t octets[DRAFT_OCTETS];
    size_t octets_used;
    int64_t past_revision; /* the least that a range asks for; 0: none does */
    bool read_only;
};

/* ---- parts ----------------------------------------------------------------------------------------- */

static struct view draft_copy(struct draft *t, const void *data, size_t size)
{
    ASSERT(t->octets_used + size <= DRAFT_OCTETS);
    uint8_t *at = t->octets + t->octets_used;
    memcpy(at, data, size);
    t->octets_used += size;
    return view_of(at, size);
}

static uint32_t shared_key(struct drawer *d)
{
    return HISTORY_SHARED_FIRST + (uint32_t)drawn(d, 0, HISTORY_SHARED_COUNT - 1);
}

/* Plain ones may be looked at, not touched. */
static uint32_t any_key(struct drawer *d)
{
    return drawn(d, 0, 2) == 0 ? (uint32_t)drawn(d, 0, d->load->key_count - 1) : shared_key(d);
}

static struct view key_name(struct draft *t, uint32_t key)
{
    char text[8];
    return draft_copy(t, text, model_key_text(key, text, sizeof(text)));
}

static int64_t near(struct drawer *d, int64_t number)
{
    return number + (int64_t)drawn(d, 0, 2) - 1;
}

static void draw_compare(struct drawer *d, struct draft *t, struct txn_compare *c)
{
    const struct model *m = &d->history->checks->model;
    uint32_t key = any_key(d);
    const struct model_version *v = model_at(m, key, m->revision);
    c->key = key_name(t, key);
    if (drawn(d, 0, 5) == 0) {
        c->range_end = key_name(t, key + (uint32_t)drawn(d, 1, 4));
    }
    c->target = (enum txn_compare_target)drawn(d, 0, 4);
    c->result = (enum txn_compare_result)drawn(d, 0, 3);
    switch (c->target) {
    case TXN_VERSION:
        c->number = near(d, v == NULL ? 0 : v->version);
        break;
    case TXN_CREATE:
        c->number = near(d, v == NULL ? 0 : v->create_revision);
        break;
    case TXN_MOD:
        c->number = near(d, v == NULL ? 0 : v->revision);
        break;
    case TXN_LEASE:
        c->number = drawn(d, 0, 1) == 0 || v == NULL ? drawn_lease(d) : v->lease;
        break;
    case TXN_VALUE: {
        uint8_t octets[8];
        uint64_t number = v == NULL ? 1 : v->value + drawn(d, 0, 2) - 1;
        for (size_t i = 0; i < sizeof(octets); i++) {
            octets[i] = (uint8_t)(number >> (8 * i));
        }
        c->value = draft_copy(t, octets, sizeof(octets));
        break;
    }
    }
}

static void draw_range(struct drawer *d, struct draft *t, struct query *q)
{
    int64_t newest = d->history->checks->model.revision;
    uint32_t key = any_key(d);
    q->key = key_name(t, key);
    if (drawn(d, 0, 1) == 0) {
        q->range_end = key_name(t, key + (uint32_t)drawn(d, 1, 9));
    }
    q->keys_only = drawn(d, 0, 7) == 0;
    q->count_only = drawn(d, 0, 7) == 0;
    q->limit = drawn(d, 0, 3) == 0 ? (int64_t)drawn(d, 1, 3) : 0;
    q->sort_order = drawn(d, 0, 3) == 0 ? SORT_DESCEND : SORT_NONE;
    if (drawn(d, 0, 5) == 0) {
        q->min_mod_revision = (int64_t)drawn(d, 1, (uint64_t)newest);
    }
    if (drawn(d, 0, 5) == 0) {
        /* One that only reads asks its own node, which may not be as far as the model. */
        int64_t most = t->read_only ? d->session_revision : newest + 1;
        q->revision = most < 1 ? 0 : (int64_t)drawn(d, 1, (uint64_t)most);
        if (q->revision != 0 && (t->past_revision == 0 || q->revision < t->past_revision)) {
            t->past_revision = q->revision;
        }
    }
}

static void draw_put(struct drawer *d, struct draft *t, struct txn_op *op)
{
    uint8_t value[1024];
    op->kind = TXN_PUT;
    op->key = key_name(t, shared_key(d));
    op->flags = drawn(d, 0, 3) == 0 ? COMMAND_PREV_KV : 0;
    switch (drawn(d, 0, 11)) {
    case 0:
        op->flags |= COMMAND_IGNORE_VALUE;
        break;
    case 1:
        op->flags |= COMMAND_IGNORE_LEASE;
        break;
    case 2:
        op->lease = drawn_lease(d);
        break;
    default:
        break;
    }
    if ((op->flags & COMMAND_IGNORE_VALUE) == 0) {
        struct view drawn_octets = drawn_value(d, value);
        op->value =
            draft_copy(t, drawn_octets.data, drawn_octets.size < 64 ? drawn_octets.size : 64);
    }
}

static struct txn_body *draw_body(struct drawer *d, struct draft *t, size_t depth);

static void draw_op(struct drawer *d, struct draft *t, struct txn_op *op, size_t depth)
{
    uint64_t kind = drawn(d, 0, 9);
    if (kind == 0 && depth < 3 && t->body_count < DRAFT_BODIES) {
        op->kind = TXN_TXN;
        op->txn = draw_body(d, t, depth + 1);
    } else if (kind < 4 || t->read_only) {
        op->kind = TXN_RANGE;
        draw_range(d, t, &op->range);
    } else if (kind < 8) {
        draw_put(d, t, op);
    } else {
        uint32_t key = shared_key(d);
        op->kind = TXN_DELETE_RANGE;
        op->key = key_name(t, key);
        op->flags = drawn(d, 0, 2) == 0 ? COMMAND_PREV_KV : 0;
        if (drawn(d, 0, 2) == 0) {
            uint32_t end = key + (uint32_t)drawn(d, 1, 3);
            uint32_t most = HISTORY_SHARED_FIRST + HISTORY_SHARED_COUNT;
            op->range_end = key_name(t, end < most ? end : most);
        }
    }
}

static struct txn_op *draw_ops(struct drawer *d, struct draft *t, size_t *count, size_t depth)
{
    struct txn_op *ops = &t->ops[t->op_count];
    *count = (size_t)drawn(d, 0, 3);
    if (t->op_count + *count > DRAFT_OPS) {
        *count = 0;
    }
    t->op_count += *count;
    for (size_t i = 0; i < *count; i++) {
        draw_op(d, t, &ops[i], depth);
    }
    return ops;
}

/* Three deep at most. */
static struct txn_body *draw_body(struct drawer *d, struct draft *t, size_t depth)
{
    struct txn_body *body = &t->bodies[t->body_count++];
    body->compares = &t->compares[t->compare_count];
    body->compare_count = (size_t)drawn(d, 0, 2);
    if (t->compare_count + body->compare_count > DRAFT_COMPARES) {
        body->compare_count = 0;
    }
    t->compare_count += body->compare_count;
    for (size_t i = 0; i < body->compare_count; i++) {
        draw_compare(d, t, &body->compares[i]);
    }
    body->success = draw_ops(d, t, &body->success_count, depth);
    body->failure = draw_ops(d, t, &body->failure_count, depth);
    return body;
}

/* Compare and set of one key, as most transactions are. */
static struct txn_body *draw_cas(struct drawer *d, struct draft *t)
{
    const struct model *m = &d->history->checks->model;
    struct txn_body *body = &t->bodies[t->body_count++];
    uint32_t key = shared_key(d);
    const struct model_version *v = model_at(m, key, m->revision);
    body->compares = &t->compares[t->compare_count++];
    body->compare_count = 1;
    body->compares->key = key_name(t, key);
    body->compares->target = TXN_MOD;
    body->compares->result = TXN_EQUAL;
    body->compares->number = v == NULL ? 0 : v->revision;
    body->success = &t->ops[t->op_count++];
    body->success_count = 1;
    draw_put(d, t, body->success);
    body->success->key = body->compares->key;
    body->failure = &t->ops[t->op_count++];
    body->failure_count = 1;
    body->failure->kind = TXN_RANGE;
    body->failure->range.key = body->compares->key;
    return body;
}

/* ---- requests -------------------------------------------------------------------------------------- */

static struct txn_body *draw_allowed(struct drawer *d, struct draft *t, bool read_only)
{
    for (int tries = 0; tries < DRAFT_TRIES; tries++) {
        memset(t, 0, sizeof(*t));
        t->read_only = read_only;
        struct txn_body *body =
            !read_only && drawn(d, 0, 2) == 0 ? draw_cas(d, t) : draw_body(d, t, 0);
        if (txn_body_check(body, 128) == OK && txn_body_is_read_only(body) == read_only) {
            return body;
        }
    }
    memset(t, 0, sizeof(*t));
    t->read_only = read_only;
    struct txn_body *body = draw_cas(d, t);
    body->success_count = read_only ? 0 : 1;
    return body;
}

void draw_txn(struct drawer *d, struct asking *a)
{
    struct draft *t = mem_alloc(sizeof(*t));
    bool read_only = drawn(d, 0, 3) == 0;
    struct txn_body *body = draw_allowed(d, t, read_only);
    struct buffer octets = {0};
    txn_body_encode(body, &octets);
    if (read_only) {
        a->op.kind = HISTORY_TXN_READ;
        a->op.serializable = drawn_of_100(d, d->load->serializable_of_100);
        a->op.past_revision = t->past_revision;
        a->op.body = bytes_copy(view_of(octets.data, octets.size));
        a->octets = octets;
        a->query.kind = QUERY_TXN;
        a->query.body = view_of(octets.data, octets.size);
    } else {
        const struct command command = {.op = COMMAND_TXN,
                                        .key = txn_body_first_key(body),
                                        .body = view_of(octets.data, octets.size)};
        asking_command(a, &command);
        buffer_free(&octets);
    }
    mem_free(t);
}

void draw_shared_write(struct drawer *d, struct asking *a)
{
    char key[8], end[8];
    uint8_t value[1024];
    uint32_t at = shared_key(d);
    struct command command = {.key = view_of(key, model_key_text(at, key, sizeof(key)))};
    command.flags = drawn(d, 0, 1) == 0 ? COMMAND_PREV_KV : 0;
    if (drawn(d, 0, 3) == 0) {
        uint32_t last = at + (uint32_t)drawn(d, 0, 4);
        command.op = COMMAND_DELETE_RANGE;
        if (last > at) {
            command.range_end = view_of(end, model_key_text(last, end, sizeof(end)));
        }
    } else {
        command.op = COMMAND_PUT;
        command.lease = drawn(d, 0, 2) == 0 ? drawn_lease(d) : 0;
        if (command.lease == 0 && drawn(d, 0, 5) == 0) {
            command.flags |= COMMAND_IGNORE_LEASE;
        }
        if (drawn(d, 0, 7) == 0) {
            command.flags |= COMMAND_IGNORE_VALUE;
        } else {
            command.value = drawn_value(d, value);
        }
    }
    asking_command(a, &command);
}

void draw_compact(struct drawer *d, struct asking *a)
{
    int64_t newest = d->history->checks->model.revision;
    int64_t back = (int64_t)drawn(d, 0, 30);
    struct command command = {.op = COMMAND_COMPACT,
                              .revision = newest - back + (drawn(d, 0, 9) == 0 ? 40 : 0)};
    if (command.revision < 1) {
        command.revision = 1;
    }
    command.flags = drawn(d, 0, 2) == 0 ? COMMAND_PHYSICAL : 0;
    a->op.physical = command.flags != 0;
    a->op.compacts = true;
    a->op.past_revision = command.revision;
    asking_command(a, &command);
}
