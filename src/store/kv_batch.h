/* SPDX-License-Identifier: Apache-2.0 */
/* kv_batch.h: reading back the rows of a sealed batch, for kv_writer. Writing them is in store.h. */
#ifndef HOLDFAST_STORE_KV_BATCH_H
#define HOLDFAST_STORE_KV_BATCH_H

#include "base.h"
#include "store.h"

/* A place in one of a batch's two row buffers. */
struct kv_batch_cursor {
    struct reader in;
    size_t left;
};

void kv_batch_history_start(const struct kv_batch *b, struct kv_batch_cursor *at);
/* False at the end. Views are borrowed from the batch. */
bool kv_batch_history_next(struct kv_batch_cursor *at, struct kv_history *out);
void kv_batch_current_start(const struct kv_batch *b, struct kv_batch_cursor *at);
bool kv_batch_current_next(struct kv_batch_cursor *at, struct kv_current *out);
void kv_batch_lease_start(const struct kv_batch *b, struct kv_batch_cursor *at);
bool kv_batch_lease_next(struct kv_batch_cursor *at, struct kv_lease *out, bool *ended);

#endif
