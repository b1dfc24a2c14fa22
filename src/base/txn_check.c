/* SPDX-License-Identifier: Apache-2.0 */
/*
 * txn_check.c: which transactions a client may ask for: etcd's rules, checked on the request before it is
 * proposed (docs of etcd's API; the order of checks by observation of etcd 3.4).
 *
 * The duplicate rule. Call a *list* one branch of a transaction. Two operations *part* in the list where
 * their ways from the root leave each other: both are in it, directly or inside different nested
 * transactions of it; or they part between the two branches of one transaction, of which only one will run.
 *
 *   two puts of one key               are refused, unless they part between two branches
 *   a put of a key in a delete range  is refused if they part in a list, and there the delete is direct,
 *                                     or the put is, or the delete's nested transaction comes first
 *   a delete range whose end is one 0x00 octet, "to the last key", covers nothing here: so does etcd's
 *
 * How it is found without comparing all with all (a request may hold tens of thousands): equal puts lie
 * side by side once sorted by key and place, and it is enough to look at neighbours: if two of three in a
 * row part between branches, so do the outer two. For the deletes the tree is walked so that when a
 * list's puts are looked at, exactly the deletes that may collide are *active*: a counter for each put
 * key in a Fenwick tree. Of two branches the one with fewer deletes goes first and is switched off for
 * the other, so a delete is switched O(log n) times.
 */
#include "txn_walk.h"

#include <stdlib.h>

#define NONE UINT32_MAX

/* ---- what one body may hold ----------------------------------------------------------------------- */

static enum err check_head(const struct txn_body *body, size_t ops_max, size_t *left)
{
    size_t most = body->compare_count;
    most = body->success_count > most ? body->success_count : most;
    most = body->failure_count > most ? body->failure_count : most;
    if (most > ops_max) {
        return ERR_TOO_MANY_OPS;
    }
    *left = ops_max - most;
    for (size_t i = 0; i < body->compare_count; i++) {
        const struct txn_compare *c = &body->compares[i];
        if (c->key.size == 0) {
            return ERR_KEY_EMPTY;
        }
        if ((unsigned)c->result > TXN_NOT_EQUAL || (unsigned)c->target > TXN_LEASE) {
            return ERR_INVALID_COMPARE;
        }
    }
    return OK;
}

static enum err check_op(const struct txn_op *op)
{
    switch (op->kind) {
    case TXN_RANGE:
        if (op->range.key.size == 0) {
            return ERR_KEY_EMPTY;
        }
        return (unsigned)op->range.sort_order > SORT_DESCEND ||
                       (unsigned)op->range.sort_target > SORT_VALUE
                   ? ERR_INVALID_SORT
                   : OK;
    case TXN_PUT:
        if (op->key.size == 0) {
            return ERR_KEY_EMPTY;
        }
        if ((op->flags & COMMAND_IGNORE_VALUE) != 0 && op->value.size > 0) {
            return ERR_VALUE_PROVIDED;
        }
        return (op->flags & COMMAND_IGNORE_LEASE) != 0 && op->lease != 0 ? ERR_LEASE_PROVIDED : OK;
    case TXN_DELETE_RANGE:
        return op->key.size == 0 ? ERR_KEY_EMPTY : OK;
    case TXN_TXN:
        return OK; /* its head is checked with what its parent leaves it */
    case TXN_NONE:
        break;
    }
    return ERR_KEY_NOT_FOUND;
}

static enum err check_operations(const struct txn_body *body, size_t ops_max)
{
    struct txn_walk walk;
    const struct txn_op *op = NULL;
    size_t left[TXN_DEPTH_MAX] = {0}; /* of the bodies of the walk */
    enum err error = check_head(body, ops_max, &left[0]);
    txn_walk_begin(&walk, body);
    while (error == OK && (op = txn_walk_next(&walk)) != NULL) {
        error = check_op(op);
        if (error == OK && op->kind == TXN_TXN) {
            if (walk.depth == TXN_DEPTH_MAX) {
                return ERR_TOO_MANY_OPS;
            }
            error = check_head(op->txn, left[walk.depth - 1], &left[walk.depth]);
        }
    }
    return error;
}

/* ---- the tree of lists ------------------------------------------------------------------------------ */

struct list {
    uint32_t parent; /* the list its transaction is in; NONE for the root's two */
    uint32_t twin;   /* the other branch */
    uint32_t depth;
    uint32_t nested_first, nested_last; /* success lists of the transactions in it; NONE */
    uint32_t nested_next;               /* of a success list: the next transaction beside it */
    uint32_t put_first, put_last;       /* direct puts, linked; NONE */
    uint32_t direct_first, direct_last; /* direct deletes, linked; NONE */
    uint32_t deletes_first,
        delete_count; /* all deletes in and below it, side by side in `deletes` */
};

struct put {
    struct view key;
    uint32_t list;
    uint32_t place; /* in the order of the walk */
    uint32_t next;
    uint32_t ordinal; /* of its key among all keys put, ascending */
};

struct erasure {
    struct view start, end;
    bool single;
    uint32_t next;
    uint32_t first, count; /* the ordinals it covers */
};

struct duplicates {
    struct list *lists;
    size_t list_count, list_capacity;
    struct put *puts;
    size_t put_count, put_capacity;
    struct erasure *deletes;
    size_t delete_count, delete_capacity;
    struct put **sorted;
    struct view *keys; /* distinct, ascending */
    uint32_t key_count;
    int32_t *active; /* Fenwick tree over the differences of how many deletes cover an ordinal */
};

/* Both branches of a transaction; returns the success list, the failure list follows it. */
static uint32_t lists_add(struct duplicates *d, uint32_t parent)
{
    uint32_t success = (uint32_t)d->list_count;
    ARRAY_RESERVE(d->lists, d->list_capacity, d->list_count + 2);
    for (uint32_t i = 0; i < 2; i++) {
        d->lists[d->list_count++] = (struct list){
            .parent = parent,
            .twin = success + 1 - i,
            .depth = parent == NONE ? 0 : d->lists[parent].depth + 1,
            .nested_first = NONE,
            .nested_last = NONE,
            .nested_next = NONE,
            .put_first = NONE,
            .put_last = NONE,
            .direct_first = NONE,
            .direct_last = NONE,
            .deletes_first = (uint32_t)d->delete_count,
        };
    }
    if (parent != NONE) {
        struct list *in = &d->lists[parent];
        if (in->nested_last == NONE) {
            in->nested_first = success;
        } else {
            d->lists[in->nested_last].nested_next = success;
        }
        in->nested_last = success;
    }
    return success;
}

static void put_add(struct duplicates *d, uint32_t list, struct view key)
{
    uint32_t at = (uint32_t)d->put_count;
    ARRAY_RESERVE(d->puts, d->put_capacity, d->put_count + 1);
    d->puts[d->put_count++] = (struct put){.key = key, .list = list, .place = at, .next = NONE};
    struct list *in = &d->lists[list];
    if (in->put_last == NONE) {
        in->put_first = at;
    } else {
        d->puts[in->put_last].next = at;
    }
    in->put_last = at;
}

static void delete_add(struct duplicates *d, uint32_t list, const struct txn_op *op)
{
    uint32_t at = (uint32_t)d->delete_count;
    ARRAY_RESERVE(d->deletes, d->delete_capacity, d->delete_count + 1);
    d->deletes[d->delete_count++] = (struct erasure){
        .start = op->key, .end = op->range_end, .single = op->range_end.size == 0, .next = NONE};
    struct list *in = &d->lists[list];
    if (in->direct_last == NONE) {
        in->direct_first = at;
    } else {
        d->deletes[in->direct_last].next = at;
    }
    in->direct_last = at;
    for (uint32_t up = list; up != NONE; up = d->lists[up].parent) {
        d->lists[up].delete_count++;
    }
}

static void collect(struct duplicates *d, const struct txn_body *body)
{
    struct txn_walk walk;
    const struct txn_op *op = NULL;
    uint32_t success[TXN_DEPTH_MAX + 1]; /* lists of the walk's bodies */
    success[0] = lists_add(d, NONE);
    txn_walk_begin(&walk, body);
    while ((op = txn_walk_next(&walk)) != NULL) {
        size_t at = walk.depth - 1;
        bool failing = walk.at[at] > walk.bodies[at]->success_count;
        uint32_t list = success[at] + (failing ? 1 : 0);
        if (op->kind == TXN_PUT) {
            put_add(d, list, op->key);
        } else if (op->kind == TXN_DELETE_RANGE) {
            delete_add(d, list, op);
        } else if (op->kind == TXN_TXN) {
            success[walk.depth] = lists_add(d, list);
        }
    }
    /* The walk meets all of a success branch before the failure branch beside it. */
    for (size_t i = 1; i < d->list_count; i += 2) {
        d->lists[i].deletes_first = d->lists[i - 1].deletes_first + d->lists[i - 1].delete_count;
    }
}

/* ---- two puts ---------------------------------------------------------------------------------------- */

static int put_order(const void *a, const void *b)
{
    const struct put *x = *(struct put *const *)a;
    const struct put *y = *(struct put *const *)b;
    int order = view_compare(x->key, y->key);
    return order != 0 ? order : (x->place < y->place ? -1 : 1);
}

static bool part_between_branches(const struct duplicates *d, uint32_t a, uint32_t b)
{
    while (a != b) {
        if (d->lists[a].twin == b) {
            return true;
        }
        if (d->lists[a].depth >= d->lists[b].depth) {
            a = d->lists[a].parent;
        } else {
            b = d->lists[b].parent;
        }
    }
    return false;
}

static bool puts_collide(struct duplicates *d)
{
    d->sorted = mem_alloc(d->put_count * sizeof(struct put *));
    d->keys = mem_alloc(d->put_count * sizeof(struct view));
    for (size_t i = 0; i < d->put_count; i++) {
        d->sorted[i] = &d->puts[i];
    }
    qsort(d->sorted, d->put_count, sizeof(struct put *), put_order);
    for (size_t i = 0; i < d->put_count; i++) {
        struct put *p = d->sorted[i];
        bool again = i > 0 && view_equal(d->sorted[i - 1]->key, p->key);
        if (again && !part_between_branches(d, d->sorted[i - 1]->list, p->list)) {
            return true;
        }
        if (!again) {
            d->keys[d->key_count++] = p->key;
        }
        p->ordinal = d->key_count - 1;
    }
    return false;
}

/* ---- puts and deletes --------------------------------------------------------------------------------- */

/* The first key put that is not below this one. */
static uint32_t ordinal_of(const struct duplicates *d, struct view key)
{
    uint32_t low = 0;
    uint32_t high = d->key_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (view_compare(d->keys[middle], key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void active_add(struct duplicates *d, uint32_t ordinal, int32_t by)
{
    for (uint32_t i = ordinal + 1; i <= d->key_count + 1; i += i & (~i + 1)) {
        d->active[i] += by;
    }
}

static int32_t active_at(const struct duplicates *d, uint32_t ordinal)
{
    int32_t sum = 0;
    for (uint32_t i = ordinal + 1; i > 0; i -= i & (~i + 1)) {
        sum += d->active[i];
    }
    return sum;
}

static void delete_switch(struct duplicates *d, uint32_t at, int32_t by)
{
    const struct erasure *e = &d->deletes[at];
    if (e->count > 0) {
        active_add(d, e->first, by);
        active_add(d, e->first + e->count, -by);
    }
}

static void list_switch(struct duplicates *d, uint32_t list, int32_t by)
{
    const struct list *l = &d->lists[list];
    for (uint32_t i = 0; i < l->delete_count; i++) {
        delete_switch(d, l->deletes_first + i, by);
    }
}

/* A list being looked at. */
struct visit {
    uint32_t list;
    uint32_t nested; /* the transaction in it that comes next, or is being looked at */
    enum { VISIT_NEXT, VISIT_SMALLER, VISIT_LARGER } stage;
};

static uint32_t smaller_branch(const struct duplicates *d, uint32_t success)
{
    return d->lists[success].delete_count <= d->lists[success + 1].delete_count ? success
                                                                                : success + 1;
}

static struct visit visit_begin(struct duplicates *d, uint32_t list)
{
    for (uint32_t i = d->lists[list].direct_first; i != NONE; i = d->deletes[i].next) {
        delete_switch(d, i, 1);
    }
    return (struct visit){.list = list, .nested = d->lists[list].nested_first};
}

/* One root list and all below it; its deletes are active afterwards. */
static bool list_collides(struct duplicates *d, uint32_t root)
{
    struct visit visits[TXN_DEPTH_MAX];
    size_t depth = 1;
    visits[0] = visit_begin(d, root);
    while (depth > 0) {
        struct visit *v = &visits[depth - 1];
        if (v->nested == NONE) {
            for (uint32_t i = d->lists[v->list].put_first; i != NONE; i = d->puts[i].next) {
                if (active_at(d, d->puts[i].ordinal) > 0) {
                    return true;
                }
            }
            depth--;
            continue;
        }
        uint32_t smaller = smaller_branch(d, v->nested);
        switch (v->stage) {
        case VISIT_NEXT:
            v->stage = VISIT_SMALLER;
            visits[depth++] = visit_begin(d, smaller);
            break;
        case VISIT_SMALLER:
            v->stage = VISIT_LARGER;
            list_switch(d, smaller, -1);
            visits[depth++] = visit_begin(d, d->lists[smaller].twin);
            break;
        case VISIT_LARGER:
            v->stage = VISIT_NEXT;
            list_switch(d, smaller, 1);
            v->nested = d->lists[v->nested].nested_next;
            break;
        }
    }
    return false;
}

static bool deletes_collide(struct duplicates *d)
{
    d->active = mem_zalloc(((size_t)d->key_count + 2) * sizeof(d->active[0]));
    for (size_t i = 0; i < d->delete_count; i++) {
        struct erasure *e = &d->deletes[i];
        e->first = ordinal_of(d, e->start);
        uint32_t end = e->first;
        if (!e->single) {
            end = ordinal_of(d, e->end);
        } else if (e->first < d->key_count && view_equal(d->keys[e->first], e->start)) {
            end = e->first + 1;
        }
        e->count = end > e->first ? end - e->first : 0;
    }
    if (list_collides(d, 0)) {
        return true;
    }
    list_switch(d, 0, -1);
    return list_collides(d, 1);
}

enum err txn_body_check(const struct txn_body *body, size_t ops_max)
{
    enum err error = check_operations(body, ops_max);
    if (error != OK) {
        return error;
    }
    struct duplicates d = {0};
    collect(&d, body);
    bool collide = d.put_count > 1 || (d.put_count > 0 && d.delete_count > 0);
    collide = collide && (puts_collide(&d) || (d.delete_count > 0 && deletes_collide(&d)));
    mem_free(d.lists);
    mem_free(d.puts);
    mem_free(d.deletes);
    mem_free(d.sorted);
    mem_free(d.keys);
    mem_free(d.active);
    return collide ? ERR_DUPLICATE_KEY : OK;
}
