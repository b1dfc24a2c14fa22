/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry.h: log entries, and blocks of consecutive entries as they travel between actors.
 *
 * A block is ONE allocation: the struct, the entry array and all payload octets, so that moving,
 * copying and freeing it costs one call. A block is immutable once filled and owned by one actor
 * at a time.
 *
 * Invariants
 *  1. Entries of a block have consecutive indexes, starting at `first_index`; terms never fall.
 *  2. Entry data is a payload in the format of its type: COMMAND (command.h), CONFIG (membership.h),
 *     NOOP (empty).
 *  3. (origin, request_id) names the request an entry carries: origin is the boot id of the node
 *     that took the request (drawn anew at every start, never reused), request_id is that node's
 *     number for it. 0/0: nobody waits for it. The node that applies an entry with its own origin
 *     answers the client; so an answer needs no map from index to client, and a lost message costs
 *     nothing but a timeout.
 */
#ifndef HOLDFAST_ENTRY_H
#define HOLDFAST_ENTRY_H

#include "base.h"

enum entry_type { ENTRY_NOOP = 0, ENTRY_COMMAND = 1, ENTRY_CONFIG = 2 };

#define ENTRY_FORMAT   1  /* version of an entry's encoding in raft.db and on the peer wire */
#define ENTRY_OVERHEAD 64 /* octets charged per entry beside its data in every byte budget */

struct entry {
    uint64_t index;
    uint64_t term;
    uint64_t origin;
    uint64_t request_id;
    enum entry_type type;
    struct view data; /* points into the block */
};

struct entries {
    uint64_t first_index;
    size_t count;
    size_t bytes; /* sum of data sizes + count * ENTRY_OVERHEAD */
    struct entry *items;
};

/* Allocate a block with room for `count` entries and `data_bytes` payload octets; then add in order. */
struct entries *entries_create(size_t count, size_t data_bytes);
/* Append a copy of *e (its data is copied into the block). Index must follow the last one. */
void entries_add(struct entries *block, const struct entry *e);
/* The octets of entry `at` of the block, for whoever still fills it: nobody else has seen them. */
uint8_t *entries_data(struct entries *block, size_t at);
/* A new block with copies of entries first..last (inclusive), which the block must hold. */
struct entries *entries_slice(const struct entries *block, uint64_t first, uint64_t last);
struct entries *entries_copy(const struct entries *block);
void entries_free(struct entries **block);
static inline uint64_t entries_last_index(const struct entries *block)
{
    return block->first_index + block->count - 1;
}

/* Encode for the peer wire (format versioned), and back. Decode checks every size against the input
 * and that indexes are consecutive and terms never fall: ERR_MALFORMED, ERR_TRUNCATED otherwise. */
void entries_encode(const struct entries *block, struct buffer *out);
MUST_USE enum err entries_decode(struct reader *in, struct entries **out);

#endif
