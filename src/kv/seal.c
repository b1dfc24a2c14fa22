/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal.c: from applied to on disk. The open batch collects history rows as entries are applied; when
 * it is full or old and the one before it is on disk, it is completed with the newest state of each
 * key it changed, in key order, and goes to the flusher. What it says stays readable in the overlay
 * until the flusher has committed it.
 *
 * An entry that changes nothing (NOOP, a delete of nothing, a refusal) opens a batch too: it moves
 * applied_index, and only an applied_index on disk lets the log be trimmed.
 */
#include "kv/lease.h"
#include "kv/state.h"

static size_t open_bytes(const struct kv *kv)
{
    return kv->open != NULL ? kv->open->history.size : 0;
}

bool kv_should_seal(const struct kv *kv, uint64_t now_us)
{
    if (kv->open_entries == 0 || kv->sealed_number != 0) {
        return false;
    }
    /* Full: applying waits for a flush, so waiting for the batch's age too would stop the node. */
    return kv->open->history_count >= kv->limits.batch_changes_max ||
           open_bytes(kv) >= kv->limits.batch_bytes_max || kv_is_full(kv) ||
           now_us >= kv_seal_deadline_us(kv);
}

uint64_t kv_seal_deadline_us(const struct kv *kv)
{
    if (kv->open_entries == 0 || kv->sealed_number != 0) {
        return UINT64_MAX;
    }
    uint64_t age_us = kv->limits.batch_age_us;
    return age_us < UINT64_MAX - kv->open_since_us ? kv->open_since_us + age_us : UINT64_MAX;
}

struct kv_batch *kv_seal(struct kv *kv)
{
    if (kv->open_entries == 0 || kv->sealed_number != 0) {
        return NULL;
    }
    struct kv_batch *batch = kv->open;
    kv->open = NULL;
    kv->open_entries = 0;
    batch->number = kv->next_number++;
    batch->applied_index = kv->applied_index;
    batch->applied_term = kv->applied_term;
    batch->revision = kv->revision;
    batch->compact_revision = kv->compact_revision;
    batch->cluster_time_us = kv->cluster_time_us;

    struct key_index_cursor c = key_index_seek(&kv->overlay.open.index, view_of(NULL, 0));
    struct view key;
    const struct overlay_node *node = NULL;
    while ((node = key_index_get(&c, &key)) != NULL) {
        struct kv_current row = overlay_current(node);
        kv_batch_add_current(batch, &row);
        key_index_next(&c);
    }
    lease_seal(kv, batch);
    overlay_seal(&kv->overlay);
    kv->sealed_number = batch->number;
    kv->sealed_revision = batch->revision;
    kv->sealed_bytes = batch->history.capacity + batch->current.capacity + batch->leases.capacity;
#ifdef HOLDFAST_CHECK_SLOW
    overlay_check(&kv->overlay);
#endif
    return batch;
}

void kv_flushed(struct kv *kv, uint64_t number)
{
    ASSERT(number != 0);
    ASSERT(number == kv->sealed_number);
    kv_reader_release(kv->reader); /* its snapshot may be from before the commit */
    overlay_flushed(&kv->overlay);
    kv->sealed_number = 0;
    kv->sealed_bytes = 0;
    kv->committed_revision = kv->sealed_revision;
#ifdef HOLDFAST_CHECK_SLOW
    overlay_check(&kv->overlay);
#endif
}

int64_t kv_committed_revision(const struct kv *kv)
{
    return kv->committed_revision;
}

void kv_release(struct kv *kv)
{
    kv_reader_release(kv->reader);
}

/* Everything that waits for the disk: the overlay's two batches and their encodings. */
static size_t waiting_bytes(const struct kv *kv)
{
    size_t encoded = kv->sealed_bytes;
    if (kv->open != NULL) {
        encoded += kv->open->history.capacity;
    }
    return overlay_dirty_bytes(&kv->overlay) + encoded +
           kv->leases.changed_count * sizeof(kv->leases.changed[0]);
}

bool kv_is_full(const struct kv *kv)
{
    return waiting_bytes(kv) > kv->limits.overlay_bytes_max;
}

void kv_sizes(struct kv *kv, uint64_t *file_bytes, uint64_t *used_bytes, uint64_t *overlay_bytes)
{
    kv_reader_sizes(kv->reader, file_bytes, used_bytes);
    *overlay_bytes = waiting_bytes(kv) + kv->overlay.cache_bytes;
}
