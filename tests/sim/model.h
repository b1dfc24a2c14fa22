/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.h: what the cluster as a whole has committed, learnt from the entries nodes hand out for
 * apply, and what the store must therefore look like at each revision, what each entry must be answered,
 * and which events it makes. Against it every answer to a client is checked.
 *
 * It shares no code with src/kv: all versions of few keys in arrays, scanned from end to end.
 *
 *   model.c        entries in order, and what they leave
 *   model_store.c  keys, leases, compaction: the meaning of commands
 *   model_txn.c    transactions
 *
 * Invariants (each broken one is a failure of the system under test, told by *_fail texts)
 *  1. An index is committed with one content for ever, on every node (State Machine Safety, Raft §5).
 *  2. A request is committed at most once, with the command its client sent (traps 51, 52).
 *  3. Revision 1 is the empty store; an entry that changes a key adds one.
 */
#ifndef HOLDFAST_SIM_MODEL_H
#define HOLDFAST_SIM_MODEL_H

#include "answer_text.h"
#include "entry.h"
#include "map.h"

#define MODEL_KEYS_MAX 32
#define MODEL_TEXT_MAX 240

struct model_entry {
    uint64_t term;
    uint64_t
        commit_term; /* committed in this one or an earlier one; 0: not known yet. checkers.c's */
    uint64_t checksum;
    /* of the store after it */
    int64_t revision;
    int64_t compact_revision;
    uint64_t cluster_time_us;
    size_t lease_count;
    char *answer; /* owned; NULL: nobody is answered */
};

struct model_version {
    int64_t revision, create_revision, version, lease;
    uint64_t value; /* 0: deleted */
    size_t value_size;
};

struct model_key {
    struct model_version *versions;
    size_t count, capacity;
};

/* One change of one key, in the order of all changes. */
struct model_event {
    uint32_t key;
    size_t version; /* place in the key's versions */
};

/* One life of a lease; an id may have several, one after the other. */
struct model_lease {
    int64_t id, ttl_s;
    uint64_t deadline_us;
    uint64_t granted_index, ended_index;      /* 0: it lives */
    bool expired;                             /* ended by an expiry */
    uint64_t renewed_origin, renewed_request; /* who renewed it last, or asked for it */
};

struct model {
    struct model_entry *entries; /* entries[i-1] is index i */
    size_t count, capacity;
    struct map requests; /* (origin, request_id) -> index */
    struct model_key keys[MODEL_KEYS_MAX];
    struct model_event *events;
    size_t event_count, event_capacity;
    struct model_lease *leases;
    size_t lease_count, lease_capacity;
    size_t leases_alive;
    int64_t revision;
    int64_t compact_revision; /* of the newest committed compaction */
    uint64_t cluster_time_us;
};

void model_start(struct model *m);
void model_free(struct model *m);

/* The simulator's keys and values as octets: "k<key>" and 8 octets of value followed by zeroes. */
size_t model_key_text(uint32_t key, char *out, size_t out_size);
bool model_key_of(struct view text, uint32_t *key);
uint64_t model_value_of(struct view value);
/* Is the key in etcd's range [start, end)? */
bool model_in_range(uint32_t key, struct view start, struct view end);

uint64_t model_checksum(const struct entry *e);

/* An entry was handed out for apply. False: an invariant is broken, `why` says how. *is_new: nobody
 * handed it out before. */
bool model_committed(struct model *m, const struct entry *e, bool *is_new,
                     char why[MODEL_TEXT_MAX]);
/* Index at which the request was committed, 0 if it was not (yet). */
uint64_t model_index_of(const struct model *m, uint64_t origin, uint64_t request_id);
/* The key at that revision; NULL: it was not there. */
const struct model_version *model_at(const struct model *m, uint32_t key, int64_t revision);
/* What the key held at that revision; 0: nothing. *mod_revision: since when. */
uint64_t model_value_at(const struct model *m, uint32_t key, int64_t revision,
                        int64_t *mod_revision);
/* The lease that lives now under this id; NULL: none. */
struct model_lease *model_lease_alive(const struct model *m, int64_t id);
/* What a read-only transaction must be answered from the state at `revision`, whatever is compacted. */
void model_txn_read(const struct model *m, const struct txn_body *body, int64_t revision,
                    struct buffer *answer);

/* ---- between the files of the model ------------------------------------------------------------- */

/* Carry an entry's command out and write its answer. False: nobody here sends such a command. */
bool model_carry_out(struct model *m, const struct entry *e, struct buffer *answer);
void model_txn(struct model *m, struct view body, struct buffer *answer);
/* A change at `revision`, as part of it. value 0: a deletion. */
void model_change(struct model *m, uint32_t key, int64_t revision, uint64_t value,
                  size_t value_size, int64_t lease);
void model_pair_text(uint32_t key, const struct model_version *v, bool keys_only,
                     struct buffer *answer);

#endif
