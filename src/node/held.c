/* SPDX-License-Identifier: Apache-2.0 */
/* held.c: see held.h. */
#include "held.h"

#include <string.h>

static uint64_t held_size(const struct raft_propose *propose)
{
    return propose->command.size + ENTRY_OVERHEAD;
}

bool held_push(struct held *h, struct raft_propose **propose, uint64_t bytes_max)
{
    uint64_t size = held_size(*propose);
    if (h->bytes > 0 && h->bytes + size > bytes_max) {
        return false;
    }
    QUEUE_RESERVE(h->items, h->first, h->count, h->capacity);
    h->items[h->first + h->count++] = *propose;
    h->bytes += size;
    *propose = NULL;
    return true;
}

void held_expire(struct held *h, uint64_t now_us)
{
    size_t left = 0;
    for (size_t i = 0; i < h->count; i++) {
        struct raft_propose *propose = h->items[h->first + i];
        if (propose->deadline_us < now_us) {
            h->bytes -= held_size(propose);
            MSG_FREE(propose);
        } else {
            h->items[h->first + left++] = propose;
        }
    }
    h->count = left;
}

struct entries *held_block(const struct held *h, uint64_t origin, size_t *count)
{
    ASSERT(h->count > 0);
    size_t bytes = 0;
    size_t n = 0;
    while (n < h->count) {
        size_t size = held_at(h, n)->command.size;
        if (n > 0 && bytes + size > PROPOSE_BYTES_MAX) {
            break;
        }
        bytes += size;
        n++;
    }
    struct entries *block = entries_create(n, bytes);
    for (size_t i = 0; i < n; i++) {
        const struct raft_propose *propose = held_at(h, i);
        struct entry e = {.index = i + 1,
                          .origin = origin,
                          .request_id = propose->request_id,
                          .type = ENTRY_COMMAND,
                          .data = bytes_view(&propose->command)};
        entries_add(block, &e);
    }
    *count = n;
    return block;
}

void held_done(struct held *h, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct raft_propose *propose = h->items[h->first + i];
        h->bytes -= held_size(propose);
        MSG_FREE(propose);
    }
    h->first += count;
    h->count -= count;
    if (h->count == 0) {
        h->first = 0;
    }
}

void held_free(struct held *h)
{
    held_done(h, h->count);
    mem_free(h->items);
    memset(h, 0, sizeof(*h));
}
