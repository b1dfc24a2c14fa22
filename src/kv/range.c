/* SPDX-License-Identifier: Apache-2.0 */
/*
 * range.c: see range.h.
 *
 * Order of work, as etcd's: the whole range is counted in any case. With a sort order or a filter all
 * of it is taken, filtered, sorted and then cut to the limit. Without, it is cut to limit + 1 first
 * (the one more tells `more`), and a target other than the key sorts only what was cut.
 */
#include "kv/range.h"

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

/* ---- check ---------------------------------------------------------------------------------------- */

enum err range_refusal(const struct kv *kv, const struct query *q, int64_t now, bool in_txn)
{
    /* The enums come from the wire as any number; compared as such. */
    unsigned order = (unsigned)q->sort_order;
    unsigned target = (unsigned)q->sort_target;
    if (q->key.size == 0) {
        return ERR_KEY_EMPTY;
    }
    if (order > SORT_DESCEND || target > SORT_VALUE) {
        return ERR_INVALID_SORT;
    }
    if (q->revision > now) {
        return ERR_FUTURE_REVISION;
    }
    if (q->revision < kv->compact_revision && (q->revision > 0 || (in_txn && q->revision < 0))) {
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

void range_begin(struct range_run *run, const struct query *q, int64_t now, struct result *result)
{
    *run = (struct range_run){.query = q, .result = result, .phase = RANGE_SCAN};
    run->revision = q->revision > 0 ? q->revision : now;
    run->all = (q->sort_order != SORT_NONE && needs_sort(q)) || has_filter(q);
    run->taken_max = q->limit > 0 && !run->all ? (uint64_t)q->limit + 1 : UINT64_MAX;
    scan_begin(&run->scan, key_range_of(q->key, q->range_end),
               change_id(run->revision, (uint32_t)CHANGE_SUB_MAX));
}

void range_free(struct range_run *run)
{
    range_sort_free(&run->sort);
    scan_free(&run->scan);
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

/* Count one key, and take it into the answer if it belongs there. */
static enum err visit(void *context, struct kv *kv, struct scan_row *row, bool *go_on)
{
    struct range_run *run = context;
    const struct query *q = run->query;
    struct result *result = run->result;
    bool wanted = wants_values(q);
    result->count++;
    if (q->count_only || result->kv_count >= run->taken_max ||
        !passes_filter(q, row->pair.mod_revision, row->pair.create_revision)) {
        return OK;
    }
    if (wanted) {
        enum err error = scan_value(kv, row);
        if (error != OK) {
            return error;
        }
    }
    range_answer_add(result, &row->pair, !wanted);
    scan_keep(kv, row, wanted);
    *go_on = result->error == OK;
    return OK;
}

/* ---- sort and cut ------------------------------------------------------------------------------------ */

static void cut(struct range_run *run)
{
    const struct query *q = run->query;
    struct result *result = run->result;
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
    run->phase = RANGE_DONE;
}

static void sort_slice(struct range_run *run, uint64_t *budget)
{
    const struct query *q = run->query;
    struct result *result = run->result;
    if (!needs_sort(q) || result->kv_count < 2) {
        cut(run);
        return;
    }
    if (run->sort.pairs == NULL) {
        range_sort_begin(&run->sort, result->kvs, result->kv_count, q->sort_target,
                         q->sort_order == SORT_DESCEND);
    }
    if (range_sort_step(&run->sort, budget)) {
        cut(run);
    }
}

enum err range_step(struct kv *kv, struct range_run *run, uint64_t *budget)
{
    if (run->phase == RANGE_SCAN) {
        enum err error = scan_slice(&run->scan, kv, budget, visit, run);
        if (error != OK) {
            return error;
        }
        if (run->result->error != OK) {
            run->phase = RANGE_DONE;
        } else if (run->scan.done) {
            run->phase = RANGE_SORT;
        }
    }
    if (run->phase == RANGE_SORT && (*budget > 0 || !needs_sort(run->query))) {
        sort_slice(run, budget);
    }
    return OK;
}
