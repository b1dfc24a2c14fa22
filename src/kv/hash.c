/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash.c: one number for the whole logical state, to compare nodes: the leases, every key in order, and of each
 * its revisions from the newest back to the one that is readable at the compact revision.
 *
 * It says nothing of where a row lies, how far compaction has come in deleting what nobody may read,
 * or the jump pointers (a chain whose jump pointed at a compacted row is built differently): two
 * nodes with the same log have the same hash whatever their flushers did. So it is dear, one row
 * read per revision in one go; for tests, the simulator and a person's doubt.
 */
#include "kv/history.h"
#include "kv/lease.h"
#include "kv/merge.h"
#include "kv/state.h"

struct hash {
    uint64_t value;
    struct buffer scratch;
};

static void hash_mix(struct hash *h)
{
    buffer_u64(&h->scratch, h->value);
    h->value = checksum64(view_of(h->scratch.data, h->scratch.size));
    h->scratch.size = 0;
}

static enum err hash_key(struct kv *kv, struct hash *h, const struct kv_current *newest)
{
    uint64_t readable = change_id(kv->compact_revision, (uint32_t)CHANGE_SUB_MAX);
    struct kv_history row = {.previous_change = newest->change};
    /* Ends: history_row refuses a chain that does not descend. */
    while (row.previous_change != 0) {
        enum err error = history_row_or_none(kv, newest->key, row.previous_change, &row);
        if (error != OK || row.change == 0) {
            return error;
        }
        bool last = row.change <= readable;
        if (last && row.deleted) {
            break;
        }
        buffer_view(&h->scratch, newest->key);
        buffer_u64(&h->scratch, row.change);
        buffer_u8(&h->scratch, row.deleted ? 1 : 0);
        buffer_u64(&h->scratch, (uint64_t)row.create_revision);
        buffer_u64(&h->scratch, (uint64_t)row.version);
        buffer_u64(&h->scratch, (uint64_t)row.lease);
        buffer_view(&h->scratch, row.value);
        hash_mix(h);
        if (last) {
            break;
        }
    }
    return OK;
}

enum err kv_hash(struct kv *kv, uint64_t *out)
{
    const uint8_t first = 0;
    struct hash h = {0};
    struct merge m;
    struct newest newest = {0};
    struct key_range everything = key_range_of(view_of(&first, 1), view_of(&first, 1));

    buffer_u64(&h.scratch, (uint64_t)kv->revision);
    buffer_u64(&h.scratch, (uint64_t)kv->compact_revision);
    lease_hash(kv, &h.scratch);
    hash_mix(&h);
    enum err error = merge_begin(&m, kv, everything, everything.start);
    while (error == OK) {
        error = merge_next(&m, &newest);
        if (error == OK) {
            error = hash_key(kv, &h, &newest.current);
        }
    }
    merge_end(&m);
    if (error == ERR_NOT_FOUND) {
        error = OK;
        *out = h.value;
    }
    buffer_free(&h.scratch);
    return error;
}
