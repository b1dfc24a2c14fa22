/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_batch.c: the rows of a batch on their way from apply to flush, packed into two buffers so that
 * a batch of thousands of changes is three allocations. The format never leaves the process; a batch
 * that cannot be read back is our own mistake and asserts.
 */
#include "kv_batch.h"

void kv_batch_add_history(struct kv_batch *b, const struct kv_history *row)
{
    buffer_u64(&b->history, row->change);
    buffer_u64(&b->history, (uint64_t)row->create_revision);
    buffer_u64(&b->history, (uint64_t)row->version);
    buffer_u64(&b->history, (uint64_t)row->lease);
    buffer_u64(&b->history, row->previous_change);
    buffer_u64(&b->history, row->jump_change);
    buffer_u8(&b->history, row->deleted ? 1 : 0);
    buffer_view(&b->history, row->key);
    buffer_view(&b->history, row->value);
    b->history_count++;
}

void kv_batch_add_current(struct kv_batch *b, const struct kv_current *row)
{
    buffer_u64(&b->current, row->change);
    buffer_u64(&b->current, (uint64_t)row->create_revision);
    buffer_u64(&b->current, (uint64_t)row->version);
    buffer_u64(&b->current, (uint64_t)row->lease);
    buffer_u64(&b->current, row->depth);
    buffer_u8(&b->current, row->deleted ? 1 : 0);
    buffer_view(&b->current, row->key);
    b->current_count++;
}

void kv_batch_add_lease(struct kv_batch *b, const struct kv_lease *row, bool ended)
{
    buffer_u64(&b->leases, (uint64_t)row->id);
    buffer_u64(&b->leases, (uint64_t)row->ttl_s);
    buffer_u64(&b->leases, row->deadline_us);
    buffer_u64(&b->leases, row->granted_us);
    buffer_u8(&b->leases, ended ? 1 : 0);
    b->lease_count++;
}

void kv_batch_free(struct kv_batch **b)
{
    struct kv_batch *batch = *b;
    *b = NULL;
    if (batch == NULL) {
        return;
    }
    mem_free(batch->members);
    buffer_free(&batch->history);
    buffer_free(&batch->current);
    buffer_free(&batch->leases);
    mem_free(batch);
}

void kv_batch_history_start(const struct kv_batch *b, struct kv_batch_cursor *at)
{
    at->in = (struct reader){.data = b->history.data, .size = b->history.size};
    at->left = b->history_count;
}

bool kv_batch_history_next(struct kv_batch_cursor *at, struct kv_history *out)
{
    if (at->left == 0) {
        ASSERT(at->in.size == 0);
        return false;
    }
    at->left--;
    out->change = reader_u64(&at->in);
    out->create_revision = (int64_t)reader_u64(&at->in);
    out->version = (int64_t)reader_u64(&at->in);
    out->lease = (int64_t)reader_u64(&at->in);
    out->previous_change = reader_u64(&at->in);
    out->jump_change = reader_u64(&at->in);
    out->deleted = reader_u8(&at->in) != 0;
    out->key = reader_view(&at->in);
    out->value = reader_view(&at->in);
    ASSERT(!at->in.failed);
    return true;
}

void kv_batch_current_start(const struct kv_batch *b, struct kv_batch_cursor *at)
{
    at->in = (struct reader){.data = b->current.data, .size = b->current.size};
    at->left = b->current_count;
}

bool kv_batch_current_next(struct kv_batch_cursor *at, struct kv_current *out)
{
    if (at->left == 0) {
        ASSERT(at->in.size == 0);
        return false;
    }
    at->left--;
    out->change = reader_u64(&at->in);
    out->create_revision = (int64_t)reader_u64(&at->in);
    out->version = (int64_t)reader_u64(&at->in);
    out->lease = (int64_t)reader_u64(&at->in);
    out->depth = reader_u64(&at->in);
    out->deleted = reader_u8(&at->in) != 0;
    out->key = reader_view(&at->in);
    ASSERT(!at->in.failed);
    return true;
}

void kv_batch_lease_start(const struct kv_batch *b, struct kv_batch_cursor *at)
{
    at->in = (struct reader){.data = b->leases.data, .size = b->leases.size};
    at->left = b->lease_count;
}

bool kv_batch_lease_next(struct kv_batch_cursor *at, struct kv_lease *out, bool *ended)
{
    if (at->left == 0) {
        ASSERT(at->in.size == 0);
        return false;
    }
    at->left--;
    out->id = (int64_t)reader_u64(&at->in);
    out->ttl_s = (int64_t)reader_u64(&at->in);
    out->deadline_us = reader_u64(&at->in);
    out->granted_us = reader_u64(&at->in);
    *ended = reader_u8(&at->in) != 0;
    ASSERT(!at->in.failed);
    return true;
}
