/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linearizable.c: see linearizable.h.
 *
 * The history is a doubly linked list of calls and returns in time order. Taking an operation lifts
 * its two nodes out; backing up puts them in again. An operation without an answer has its return at
 * the end of the list, where it need not be passed: it may stay untaken for ever.
 *
 * Unanswered puts whose value nobody read are all alike but for when they began, and so are unanswered
 * deletes: taking the one that began first loses no order. Each such class is therefore taken in the
 * order of its calls only; without this the search doubles with every one of them.
 */
#include "linearizable.h"

#include <stdlib.h>
#include <string.h>

enum alike { ALIKE_NONE, ALIKE_PUT, ALIKE_DELETE, ALIKE_COUNT };

struct node {
    struct node *previous, *next;
    struct node *match; /* call: its return; return: NULL */
    size_t op;
    uint64_t at_us;
    bool is_return;
    enum alike alike; /* call: its class, */
    size_t rank;      /* and its place among that class by time */
};

struct taken {
    struct node *call;
    uint64_t value_before;
};

struct seen {
    uint64_t *bits; /* NULL: free place */
    uint64_t value;
    uint64_t hash;
};

struct search {
    const struct linearizable_op *ops;
    size_t count, words;
    struct node *nodes;
    struct node head;
    uint64_t *taken_bits;
    uint64_t bits_hash; /* xor of a hash per taken operation */
    struct taken *stack;
    size_t depth;
    struct seen *table;
    size_t table_size, table_used;
    uint64_t value;
    size_t alike_taken[ALIKE_COUNT];
};

#define VALUE_UNREAD UINT64_MAX

static uint64_t mix(uint64_t x)
{
    uint64_t state = x;
    return random_next(&state);
}

/* By time; at equal times calls before returns, so that the two overlap. */
static int compare_nodes(const void *left, const void *right)
{
    const struct node *a = left;
    const struct node *b = right;
    if (a->at_us != b->at_us) {
        return a->at_us < b->at_us ? -1 : 1;
    }
    if (a->is_return != b->is_return) {
        return a->is_return ? 1 : -1;
    }
    return a->op < b->op ? -1 : a->op > b->op;
}

/* The class of an operation; an unread put's value is made one that stands for all of them. */
static enum alike classify(struct linearizable_op *ops, size_t count, size_t op)
{
    if (ops[op].return_us != LINEARIZABLE_UNKNOWN) {
        return ALIKE_NONE;
    }
    if (ops[op].kind == LINEARIZABLE_DELETE) {
        return ALIKE_DELETE;
    }
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind == LINEARIZABLE_GET && ops[i].value == ops[op].value) {
            return ALIKE_NONE;
        }
    }
    ops[op].value = VALUE_UNREAD;
    return ALIKE_PUT;
}

static void build(struct search *s, struct linearizable_op *ops)
{
    size_t used = 0;
    for (size_t i = 0; i < s->count; i++) {
        s->nodes[used++] = (struct node){.op = i, .at_us = s->ops[i].invoke_us};
        s->nodes[used++] = (struct node){.op = i, .at_us = s->ops[i].return_us, .is_return = true};
    }
    qsort(s->nodes, used, sizeof(s->nodes[0]), compare_nodes);

    size_t ranks[ALIKE_COUNT] = {0};
    struct node **call_of = mem_zalloc((s->count + 1) * sizeof(struct node *));
    struct node *last = &s->head;
    for (size_t i = 0; i < used; i++) {
        struct node *n = &s->nodes[i];
        n->previous = last;
        last->next = n;
        last = n;
        if (n->is_return) {
            call_of[n->op]->match = n;
        } else {
            call_of[n->op] = n;
            n->alike = classify(ops, s->count, n->op);
            n->rank = ranks[n->alike]++;
        }
    }
    mem_free(call_of);
}

static void lift(struct node *call)
{
    call->previous->next = call->next;
    if (call->next != NULL) {
        call->next->previous = call->previous;
    }
    struct node *r = call->match;
    r->previous->next = r->next;
    if (r->next != NULL) {
        r->next->previous = r->previous;
    }
}

static void unlift(struct node *call)
{
    struct node *r = call->match;
    r->previous->next = r;
    if (r->next != NULL) {
        r->next->previous = r;
    }
    call->previous->next = call;
    if (call->next != NULL) {
        call->next->previous = call;
    }
}

/* The register: does this operation fit now, and what does it leave? */
static bool fits(const struct linearizable_op *op, uint64_t value, uint64_t *after)
{
    switch (op->kind) {
    case LINEARIZABLE_PUT:
        *after = op->value;
        return true;
    case LINEARIZABLE_DELETE:
        *after = 0;
        return op->deleted < 0 || (op->deleted > 0) == (value != 0);
    case LINEARIZABLE_GET:
        *after = value;
        return op->value == value;
    }
    return false;
}

static void table_grow(struct search *s)
{
    struct seen *old = s->table;
    size_t old_size = s->table_size;
    s->table_size = old_size == 0 ? 1024 : old_size * 2;
    s->table = mem_zalloc(s->table_size * sizeof(s->table[0]));
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].bits != NULL) {
            size_t at = old[i].hash & (s->table_size - 1);
            while (s->table[at].bits != NULL) {
                at = (at + 1) & (s->table_size - 1);
            }
            s->table[at] = old[i];
        }
    }
    mem_free(old);
}

/* Remember the configuration; false if it was there before. */
static bool remember(struct search *s, uint64_t value)
{
    if (s->table_used * 2 >= s->table_size) {
        table_grow(s);
    }
    uint64_t hash = s->bits_hash ^ mix(value);
    size_t at = hash & (s->table_size - 1);
    while (s->table[at].bits != NULL) {
        if (s->table[at].hash == hash && s->table[at].value == value &&
            memcmp(s->table[at].bits, s->taken_bits, s->words * sizeof(uint64_t)) == 0) {
            return false;
        }
        at = (at + 1) & (s->table_size - 1);
    }
    s->table[at] = (struct seen){mem_dup(s->taken_bits, s->words * sizeof(uint64_t)), value, hash};
    s->table_used++;
    return true;
}

static void flip(struct search *s, size_t op)
{
    s->taken_bits[op / 64] ^= UINT64_C(1) << (op % 64);
    s->bits_hash ^= mix(op + UINT64_C(0x9e3779b97f4a7c15));
}

/* Back up one step; the place to go on from, or NULL at the bottom. */
static struct node *back_up(struct search *s)
{
    if (s->depth == 0) {
        return NULL;
    }
    struct taken *top = &s->stack[--s->depth];
    s->value = top->value_before;
    s->alike_taken[top->call->alike]--;
    flip(s, top->call->op);
    unlift(top->call);
    return top->call->next;
}

static enum linearizable_verdict search_run(struct search *s, uint64_t steps_max, size_t *culprit)
{
    size_t deepest = 0;
    struct node *at = s->head.next;
    for (uint64_t step = 0; step < steps_max; step++) {
        /* Every answer is explained: what is left has none. */
        if (s->head.next == NULL || at == NULL) {
            return LINEARIZABLE_YES;
        }
        if (at->is_return) {
            if (at->at_us == LINEARIZABLE_UNKNOWN) {
                return LINEARIZABLE_YES; /* only unanswered ones from here on */
            }
            if (s->depth >= deepest) {
                deepest = s->depth;
                if (culprit != NULL) {
                    *culprit = at->op;
                }
            }
            at = back_up(s);
            if (at == NULL) {
                return LINEARIZABLE_NO;
            }
            continue;
        }
        uint64_t after = 0;
        bool its_turn = at->alike == ALIKE_NONE || at->rank == s->alike_taken[at->alike];
        if (its_turn && fits(&s->ops[at->op], s->value, &after)) {
            flip(s, at->op);
            if (remember(s, after)) {
                s->stack[s->depth++] = (struct taken){at, s->value};
                s->value = after;
                s->alike_taken[at->alike]++;
                lift(at);
                at = s->head.next;
                continue;
            }
            flip(s, at->op);
        }
        at = at->next;
    }
    return LINEARIZABLE_UNDECIDED;
}

enum linearizable_verdict linearizable_check(const struct linearizable_op *ops, size_t count,
                                             uint64_t steps_max, size_t *culprit)
{
    struct linearizable_op *kept = mem_alloc((count + 1) * sizeof(*kept));
    size_t *place = mem_alloc((count + 1) * sizeof(*place));
    size_t kept_count = 0;
    for (size_t i = 0; i < count; i++) {
        ASSERT(ops[i].invoke_us <= ops[i].return_us);
        if (ops[i].kind == LINEARIZABLE_GET && ops[i].return_us == LINEARIZABLE_UNKNOWN) {
            continue;
        }
        place[kept_count] = i;
        kept[kept_count++] = ops[i];
    }
    ASSERT(kept_count <= LINEARIZABLE_OPS_MAX);

    struct search s = {.ops = kept, .count = kept_count, .words = kept_count / 64 + 1};
    s.nodes = mem_zalloc((2 * kept_count + 1) * sizeof(s.nodes[0]));
    s.taken_bits = mem_zalloc(s.words * sizeof(uint64_t));
    s.stack = mem_zalloc((kept_count + 1) * sizeof(s.stack[0]));
    build(&s, kept);

    size_t at = 0;
    enum linearizable_verdict verdict = search_run(&s, steps_max, &at);
    if (verdict == LINEARIZABLE_NO && culprit != NULL) {
        *culprit = place[at];
    }
    for (size_t i = 0; i < s.table_size; i++) {
        mem_free(s.table[i].bits);
    }
    mem_free(s.table);
    mem_free(s.stack);
    mem_free(s.taken_bits);
    mem_free(s.nodes);
    mem_free(place);
    mem_free(kept);
    return verdict;
}
