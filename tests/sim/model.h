/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.h: what the cluster as a whole has committed, learnt from the entries nodes hand out for
 * apply, and what the store must therefore look like at each revision. Against it every answer to a
 * client is checked.
 *
 * Invariants (each broken one is a failure of the system under test, told by *_fail texts)
 *  1. An index is committed with one content for ever, on every node (State Machine Safety, Raft §5).
 *  2. A request is committed at most once, with the command its client sent.
 *  3. Revision 1 is the empty store; an entry that changes a key adds one.
 */
#ifndef HOLDFAST_SIM_MODEL_H
#define HOLDFAST_SIM_MODEL_H

#include "entry.h"
#include "map.h"

#define MODEL_KEYS_MAX 32
#define MODEL_TEXT_MAX 240

struct model_entry {
    uint64_t term;
    uint64_t checksum;
    int64_t revision; /* of the store after it */
    int deleted;      /* keys it deleted */
};

struct model_version {
    int64_t revision;
    uint64_t value; /* 0: deleted */
};

struct model_key {
    struct model_version *versions;
    size_t count, capacity;
};

struct model {
    struct model_entry *entries; /* entries[i-1] is index i */
    size_t count, capacity;
    struct map requests; /* (origin, request_id) -> index */
    struct model_key keys[MODEL_KEYS_MAX];
    int64_t revision;
    int64_t compact_revision; /* of the newest committed compaction */
};

void model_start(struct model *m);
void model_free(struct model *m);

/* The simulator's keys and values as octets: "k<key>" and 8 octets of value followed by padding. */
size_t model_key_text(uint32_t key, char *out, size_t out_size);
bool model_key_of(struct view text, uint32_t *key);
uint64_t model_value_of(struct view value);

uint64_t model_checksum(const struct entry *e);

/* An entry was handed out for apply. False: an invariant is broken, `why` says how. *is_new: nobody
 * handed it out before. */
bool model_committed(struct model *m, const struct entry *e, bool *is_new,
                     char why[MODEL_TEXT_MAX]);
/* Index at which the request was committed, 0 if it was not (yet). */
uint64_t model_index_of(const struct model *m, uint64_t origin, uint64_t request_id);
/* What the key held at that revision; 0: nothing. *mod_revision: since when. */
uint64_t model_value_at(const struct model *m, uint32_t key, int64_t revision,
                        int64_t *mod_revision);

#endif
