/* SPDX-License-Identifier: Apache-2.0 */
/*
 * held.h: requests on their way to the leader, in the order of their numbers. They wait here while no
 * leader is known; otherwise only until the end of the batch they came in.
 *
 * A client's credits go back when it hangs up, but its request stays until a leader is known or its
 * deadline has passed; so what waits has a bound of its own.
 *
 * Invariants
 *  1. bytes is the sum of held_size over the items.
 *  2. Live items are items[first .. first + count - 1], in the order they came.
 */
#ifndef HOLDFAST_HELD_H
#define HOLDFAST_HELD_H

#include "message.h"

#define PROPOSE_BYTES_MAX (1024 * 1024) /* data octets proposed or forwarded in one block */

struct held {
    struct raft_propose **items;
    size_t first, count, capacity;
    uint64_t bytes; /* of their commands, with ENTRY_OVERHEAD each */
};

/* Take *propose and null it; false, and it stays the caller's, if it does not fit into bytes_max. Whoever
 * is alone fits, however large. */
bool held_push(struct held *h, struct raft_propose **propose, uint64_t bytes_max);
/* Free requests whose deadline has passed: their clients have been told that the outcome is unknown,
 * and it is that nothing happened. */
void held_expire(struct held *h, uint64_t now_us);
/* The next requests, up to PROPOSE_BYTES_MAX and at least one, as a block of entries from 1; *count of
 * them. Only while count > 0. The requests stay until held_done. */
struct entries *held_block(const struct held *h, uint64_t origin, size_t *count);
/* Free the first `count`. */
void held_done(struct held *h, size_t count);
void held_free(struct held *h);

static inline const struct raft_propose *held_at(const struct held *h, size_t i)
{
    return h->items[h->first + i];
}

#endif
