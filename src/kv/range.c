/* SPDX-License-Identifier: Apache-2.0 */
/*
 * range.c: reads. A query is answered at one revision, in slices: each step scans on from the key the
 * last one ended with, for a bounded number of rows, and leaves nothing open behind it.
 *
 * Order of work, as etcd's: the whole range is counted in any case. With a sort order or a filter all
 * of it is taken, filtered, sorted and then cut to the limit. Without, it is cut to limit + 1 first
 * (the one more tells `more`), and a target other than the key sorts only what was cut.
 *
 * Invariants
 *  1. Whatever is applied between two steps, the answer is the state at `revision`: a key whose newest
 *     change is later is followed back through its chain, and one that came later has no row there.
 *  2. No scan of kv.db is open between steps.
 */
#include "kv/range.h"

#include "kv/history.h"
#include "kv/lease.h"
#include "kv/merge.h"
#include "kv/range_sort.h"
#include "kv/state.h"

enum read_phase { READ_CHECK, READ_SCAN, READ_SORT, READ_LEASES, READ_DONE };

struct kv_read {
    struct query *query;
    struct result *result;
    enum read_phase phase;
    int64_t revision; /* what is read */
    uint64_t at_most; /* the last change of that revision */
    struct key_range range;
    bool all;             /* take the whole range before cutting (sort order or filter) */
    uint64_t taken_max;   /* pairs to take; UINT64_MAX: all */
    struct buffer resume; /* where the next step begins scanning; empty: at the range's start */
    struct range_sort sort;
    struct lease_line *lines; /* leases not taken into the answer yet */
    size_t line_count;
};

void range_answer_add(struct result *r, const struct key_value *kv, bool keys_only)
{
    size_t added = kv->key.size + (keys_only ? 0 : kv->value.size);
    if (r->error != OK) {
        return;
    }
    if (r->bytes + added > RESULT_BYTES_MAX) {
        r->error = ERR_TOO_LARGE;
        return;
    }
    result_add(r, kv, keys_only);
}

struct kv_read *kv_read_start(struct kv *kv, struct query **query)
{
    struct kv_read *read = mem_zalloc(sizeof(*read));
    read->query = *query;
    *query = NULL;
    read->result = result_create();
    read->result->revision = kv->revision;
    read->revision = read->query->revision > 0 ? read->query->revision : kv->revision;
    return read;
}

uint64_t kv_read_bytes(const struct kv_read *read)
{
    return read->result->bytes;
}

struct result *kv_read_finish(struct kv_read **read)
{
    struct kv_read *finished = *read;
    *read = NULL;
    struct result *result = finished->result;
    range_sort_free(&finished->sort);
    mem_free(finished->lines);
    buffer_free(&finished->resume);
    mem_free(finished->query);
    mem_free(finished);
    return result;
}

/* ---- check ---------------------------------------------------------------------------------------- */

static enum err query_refusal(const struct kv *kv, const struct kv_read *read)
{
    const struct query *q = read->query;
    /* The enums come from the wire as any number; compared as such. */
    unsigned order = (unsigned)q->sort_order;
    unsigned target = (unsigned)q->sort_target;
    if (q->key.size == 0) {
        return ERR_KEY_EMPTY;
    }
    if (order > SORT_DESCEND || target > SORT_VALUE) {
        return ERR_INVALID_SORT;
    }
    if (read->revision > read->result->revision) {
        return ERR_FUTURE_REVISION;
    }
    if (read->revision < kv->compact_revision) {
        return ERR_COMPACTED;
    }
    return OK;
}

static bool has_filter(const struct query *q)
{
    return q->min_mod_revision != 0 || q->max_mod_revision != 0 || q->min_create_revision != 0 ||
           q->max_create_revision != 0;
}

static bool needs_sort(const struct query *q)
{
    return q->sort_target != SORT_KEY || q->sort_order == SORT_DESCEND;
}

static void check(struct kv *kv, struct kv_read *read)
{
    const struct query *q = read->query;
    switch (q->kind) {
    case QUERY_LEASE_TTL:
        lease_time_to_live(kv, q, read->result);
        read->phase = READ_DONE;
        return;
    case QUERY_LEASES:
        read->lines = lease_table_lines(&kv->leases);
        read->line_count = kv->leases.leases.count;
        read->phase = READ_LEASES;
        return;
    case QUERY_TXN:
        read->result->error = ERR_UNIMPLEMENTED;
        read->phase = READ_DONE;
        return;
    case QUERY_RANGE:
        break;
    }
    read->result->error = query_refusal(kv, read);
    if (read->result->error != OK) {
        if (read->result->error == ERR_COMPACTED) {
            read->result->compact_revision = kv->compact_revision;
        }
        read->phase = READ_DONE;
        return;
    }
    read->range = key_range_of(q->key, q->range_end);
    read->at_most = change_id(read->revision, (uint32_t)CHANGE_SUB_MAX);
    read->all = (q->sort_order != SORT_NONE && needs_sort(q)) || has_filter(q);
    read->taken_max = q->limit > 0 && !read->all ? (uint64_t)q->limit + 1 : UINT64_MAX;
    read->phase = READ_SCAN;
}

/* ---- scan ----------------------------------------------------------------------------------------- */

static bool passes_filter(const struct query *q, int64_t mod_revision, int64_t create_revision)
{
    return (q->max_mod_revision == 0 || mod_revision <= q->max_mod_revision) &&
           (q->min_mod_revision == 0 || mod_revision >= q->min_mod_revision) &&
           (q->max_create_revision == 0 || create_revision <= q->max_create_revision) &&
           (q->min_create_revision == 0 || create_revision >= q->min_create_revision);
}

/* Values are left out while reading when nobody looks at them, not even the sort. */
static bool wants_values(const struct query *q)
{
    return !q->keys_only || q->sort_target == SORT_VALUE;
}

/* The newest row's value for an answer. One from disk may be kept in memory, for single keys only: a scan
 * would wash the cache out. */
static enum err value_now(struct kv *kv, struct newest *newest, struct view key, bool keep,
                          struct view *out)
{
    if (newest->node == NULL && !keep) {
        newest->node = overlay_find(&kv->overlay, key); /* clean: the merge meets it on disk only */
    }
    return newest_value(kv, newest, key, out);
}

/* Look at one key: count it, and take it into the answer if it belongs there. */
static enum err visit(struct kv *kv, struct kv_read *read, struct newest *newest, struct view key,
                      bool keep, uint64_t *rows_read)
{
    const struct query *q = read->query;
    const struct kv_current *c = &newest->current;
    struct result *result = read->result;
    struct key_value pair = {
        .key = key,
        .create_revision = c->create_revision,
        .mod_revision = change_revision(c->change),
        .version = c->version,
        .lease = c->lease,
    };
    struct kv_history row = {0};
    bool past = c->change > read->at_most;
    bool alive = c->change != 0 && !c->deleted;
    if (past) {
        enum err error = history_find(kv, key, c->change, read->at_most, &row, rows_read);
        if (error != OK) {
            return error;
        }
        alive = row.change != 0 && !row.deleted;
        pair.value = row.value;
        pair.create_revision = row.create_revision;
        pair.mod_revision = change_revision(row.change);
        pair.version = row.version;
        pair.lease = row.lease;
    }
    if (!alive) {
        return OK;
    }
    result->count++;
    if (q->count_only || result->kv_count >= read->taken_max ||
        !passes_filter(q, pair.mod_revision, pair.create_revision)) {
        return OK;
    }
    if (!past && wants_values(q)) {
        ++*rows_read;
        enum err error = value_now(kv, newest, key, keep, &pair.value);
        if (error != OK) {
            return error;
        }
    }
    range_answer_add(result, &pair, !wants_values(q));
    if (keep && !past && newest->node == NULL) {
        overlay_cache(&kv->overlay, c, wants_values(q) ? &pair.value : NULL);
    } else if (keep && !past && newest->node->clean && !newest->node->value_known &&
               wants_values(q)) {
        overlay_cache_value(&kv->overlay, newest->node, pair.value);
    }
    return OK;
}

static enum err scan_single(struct kv *kv, struct kv_read *read)
{
    struct newest newest = {0};
    uint64_t rows_read = 0;
    enum err error = newest_of(kv, read->range.start, &newest);
    if (error != OK) {
        return error;
    }
    newest.current.key = read->range.start;
    error = visit(kv, read, &newest, read->range.start, true, &rows_read);
    read->phase = READ_SORT;
    return error;
}

static enum err scan_slice(struct kv *kv, struct kv_read *read, uint64_t *budget)
{
    struct merge m;
    struct newest newest = {0};
    struct view from = read->range.start;
    if (read->resume.size > 0) {
        from = view_of(read->resume.data, read->resume.size);
    }
    enum err error = merge_begin(&m, kv, read->range, from);
    while (error == OK && *budget > 0) {
        error = merge_next(&m, &newest);
        if (error != OK) {
            break;
        }
        uint64_t rows_read = 1;
        error = visit(kv, read, &newest, newest.current.key, false, &rows_read);
        *budget -= rows_read < *budget ? rows_read : *budget;
        if (read->result->error != OK) {
            break;
        }
    }
    if (error == OK) { /* go on behind the last key: its successor is itself and a zero octet */
        read->resume.size = 0;
        buffer_append(&read->resume, newest.current.key.data, newest.current.key.size);
        buffer_u8(&read->resume, 0);
    }
    merge_end(&m);
    if (error == ERR_NOT_FOUND) {
        read->phase = READ_SORT;
        error = OK;
    }
    if (read->result->error != OK) {
        read->phase = READ_DONE;
    }
    return error;
}

static bool is_empty_range(const struct key_range *range)
{
    return !range->single && !range->unbounded && view_compare(range->start, range->end) >= 0;
}

/* ---- sort and cut ------------------------------------------------------------------------------------ */

static void cut(struct kv_read *read)
{
    const struct query *q = read->query;
    struct result *result = read->result;
    if (q->keys_only && wants_values(q)) {
        for (size_t i = 0; i < result->kv_count; i++) {
            result->bytes -= result->kvs[i].value.size;
            result->kvs[i].value = view_of(NULL, 0);
        }
    }
    if (q->limit > 0 && result->kv_count > (uint64_t)q->limit) {
        result->more = true;
        while (result->kv_count > (uint64_t)q->limit) {
            const struct key_value *last = &result->kvs[--result->kv_count];
            result->bytes -= last->key.size + last->value.size;
        }
    }
    read->phase = READ_DONE;
}

static void sort_slice(struct kv_read *read, uint64_t *budget)
{
    const struct query *q = read->query;
    struct result *result = read->result;
    if (!needs_sort(q) || result->kv_count < 2) {
        cut(read);
        return;
    }
    if (read->sort.pairs == NULL) {
        range_sort_begin(&read->sort, result->kvs, result->kv_count, q->sort_target,
                         q->sort_order == SORT_DESCEND);
    }
    if (range_sort_step(&read->sort, budget)) {
        cut(read);
    }
}

enum err kv_read_step(struct kv *kv, struct kv_read *read, uint64_t rows_max, bool *done)
{
    ASSERT(rows_max > 0);
    uint64_t budget = rows_max;
    enum err error = kv->load_error;
    if (error != OK) {
        return error;
    }
    if (read->phase == READ_CHECK) {
        check(kv, read);
    }
    if (read->phase == READ_SCAN) {
        if (is_empty_range(&read->range)) {
            read->phase = READ_SORT;
        } else if (read->range.single) {
            error = scan_single(kv, read);
        } else {
            error = scan_slice(kv, read, &budget);
        }
    }
    if (error == OK && read->phase == READ_SORT && (budget > 0 || !needs_sort(read->query))) {
        sort_slice(read, &budget);
    }
    if (read->phase == READ_LEASES) {
        for (; budget > 0 && read->line_count > 0; budget--) {
            struct lease_line line = lease_lines_pop(read->lines, &read->line_count);
            result_add_lease(read->result, &(struct lease_info){.id = line.id});
        }
        if (read->line_count == 0) {
            read->phase = READ_DONE;
        }
    }
    if (error == OK) {
        *done = read->phase == READ_DONE;
    }
    return error;
}
