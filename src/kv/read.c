/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read.c: queries, answered at one revision, in slices. What a range is stands in range.c, what a
 * transaction is in txn.c, leases in lease.c.
 *
 * A compaction that is applied between two slices may pass the revision that is being read, and then rows
 * that the read still needs may go. A query that asked for that very revision is told so; one that asked
 * for the newest state begins again with what is newest now: its answer may be younger than its question,
 * never older.
 */
#include "kv/lease.h"
#include "kv/range.h"
#include "kv/txn.h"

struct kv_read {
    struct query *query;
    struct result *result;
    int64_t
        revision; /* that is read; INT64_MAX before the first step, when there is nothing to lose */
    bool begun;
    bool running; /* range, txn or lines are to be freed */
    struct range_run range;
    struct txn_read *txn;     /* large, and few queries are one */
    struct lease_line *lines; /* leases not taken into the answer yet */
    size_t line_count;
};

struct kv_read *kv_read_start(struct kv *kv, struct query **query)
{
    struct kv_read *read = mem_zalloc(sizeof(*read));
    read->query = *query;
    *query = NULL;
    read->result = result_create();
    read->result->revision = kv->revision;
    return read;
}

uint64_t kv_read_bytes(const struct kv_read *read)
{
    return read->result->bytes + (read->txn != NULL ? txn_read_bytes(read->txn) : 0);
}

static void run_free(struct kv_read *read)
{
    if (!read->running) {
        return;
    }
    read->running = false;
    switch (read->query->kind) {
    case QUERY_RANGE:
        range_free(&read->range);
        break;
    case QUERY_TXN:
        txn_read_free(&read->txn);
        break;
    case QUERY_LEASE_TTL:
        break;
    case QUERY_LEASES:
        mem_free(read->lines);
        break;
    }
}

struct result *kv_read_finish(struct kv_read **read)
{
    struct kv_read *finished = *read;
    *read = NULL;
    struct result *result = finished->result;
    run_free(finished);
    mem_free(finished->query);
    mem_free(finished);
    return result;
}

/* False: refused, or answered at once. */
static bool run_begin(struct kv *kv, struct kv_read *read)
{
    const struct query *q = read->query;
    struct result *result = read->result;
    switch (q->kind) {
    case QUERY_RANGE:
        result->error = range_refusal(kv, q, result->revision, false);
        if (result->error != OK) {
            return false;
        }
        range_begin(&read->range, q, result->revision, result);
        read->revision = read->range.revision;
        read->running = true;
        return true;
    case QUERY_TXN:
        result->error = txn_read_begin(q, result, &read->txn);
        read->running = result->error == OK;
        return read->running;
    case QUERY_LEASE_TTL:
        lease_time_to_live(kv, q, result);
        return false;
    case QUERY_LEASES:
        read->lines = lease_table_lines(&kv->leases);
        read->line_count = kv->leases.leases.count;
        read->revision = INT64_MAX; /* not of any one revision */
        read->running = true;
        return true;
    }
    result->error = ERR_UNIMPLEMENTED;
    return false;
}

/* The oldest revision that it still needs. */
static int64_t revision_needed(const struct kv_read *read)
{
    bool txn = read->running && read->query->kind == QUERY_TXN;
    return txn ? read->txn->oldest_revision : read->revision;
}

/* The read's revision is gone. False: nothing is left to do. */
static bool run_passed(struct kv *kv, struct kv_read *read)
{
    bool newest = read->query->kind == QUERY_TXN || read->query->revision <= 0;
    run_free(read);
    result_free(&read->result);
    read->result = result_create();
    read->result->revision = kv->revision;
    if (!newest) {
        read->result->error = ERR_COMPACTED;
        return false;
    }
    return run_begin(kv, read);
}

static enum err run_step(struct kv *kv, struct kv_read *read, uint64_t *budget, bool *going)
{
    enum err error = OK;
    switch (read->query->kind) {
    case QUERY_RANGE:
        error = range_step(kv, &read->range, budget);
        *going = read->range.phase != RANGE_DONE;
        return error;
    case QUERY_TXN: {
        bool done = false;
        error = txn_read_step(kv, read->txn, budget, &done);
        *going = !done;
        return error;
    }
    case QUERY_LEASE_TTL:
        break;
    case QUERY_LEASES:
        for (; *budget > 0 && read->line_count > 0; --*budget) {
            struct lease_line line = lease_lines_pop(read->lines, &read->line_count);
            result_add_lease(read->result, &(struct lease_info){.id = line.id});
            read->result->bytes += sizeof(struct lease_info);
        }
        *going = read->line_count > 0;
        return OK;
    }
    *going = false;
    return OK;
}

enum err kv_read_step(struct kv *kv, struct kv_read *read, uint64_t rows_max, bool *done)
{
    ASSERT(rows_max > 0);
    uint64_t budget = rows_max;
    enum err error = kv->load_error;
    bool going = read->running;
    if (error != OK) {
        return error;
    }
    if (!read->begun) {
        read->begun = true;
        going = run_begin(kv, read);
    } else if (going && revision_needed(read) < kv->compact_revision) {
        going = run_passed(kv, read);
    }
    if (going) {
        error = run_step(kv, read, &budget, &going);
    }
    if (error == OK && !going && read->result->error == ERR_COMPACTED) {
        read->result->compact_revision = kv->compact_revision;
    }
    if (error == OK) {
        *done = !going;
    }
    return error;
}
