/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv.h: the replicated state machine: the meaning of an entry. Same log, same state, on every node.
 *
 * A multi-version store as etcd's: one revision counter, history of each key until compaction.
 * Write-behind (docs/decisions/0011): an applied change lives first in an ordered in-memory overlay
 * and in the open batch; a sealed batch is written by the flush actor in one transaction and leaves
 * the overlay when FLUSHED comes back. Reads merge overlay and kv_reader.
 *
 * Invariants
 *  1. kv_apply is a pure function of the state and the entry: no clock, no randomness, no failure that
 *     depends on this node (trap 19). A read error from disk is fatal, never skipped.
 *  2. Entries are applied in index order, each once; applied_index moves with the data (trap 18).
 *  3. Empty store: revision 1. An entry that changes at least one key adds exactly 1.
 *  4. At most one batch is open and one sealed.
 */
#ifndef HOLDFAST_KV_H
#define HOLDFAST_KV_H

#include "base.h"
#include "command.h"
#include "entry.h"
#include "store.h"
#include "watch.h"

struct kv;

struct kv_limits {
    uint64_t batch_changes_max; /* seal at this many changes ... */
    uint64_t batch_bytes_max;   /* ... or octets ... */
    uint64_t batch_age_us;      /* ... or this long after its first change (kv_should_seal) */
    uint64_t overlay_bytes_max; /* kv_is_full above this: stop applying until FLUSHED */
    uint64_t cache_bytes_max;   /* clean newest rows kept in memory for point reads and puts */
};

/* reader moves in; meta is what kv_writer_open found. */
struct kv *kv_create(struct kv_reader **reader, const struct kv_meta *meta,
                     const struct kv_limits *limits);
void kv_destroy(struct kv **kv);
/* As given at creation; borrowed. */
const struct kv_limits *kv_limits_of(const struct kv *kv);

/*
 * Apply one entry (any type; NOOP and CONFIG only move applied_index, CONFIG also goes to the
 * members table with the next batch).
 *
 * want_result  false: nobody on this node waits; *out stays NULL
 * out          owned by the caller afterwards
 *
 * Returns OK, or a fatal store error (ERR_IO, ERR_CORRUPT). What the client did wrong is in
 * (*out)->error: ERR_KEY_EMPTY, ERR_KEY_NOT_FOUND, ERR_LEASE_NOT_FOUND, ERR_TOO_MANY_OPS ...
 */
MUST_USE enum err kv_apply(struct kv *kv, const struct entry *e, uint64_t now_us, bool want_result,
                           struct result **out);

/*
 * Read, sliced: a query is answered at one fixed revision, a bounded number of rows per call, so
 * that a large range never delays applies.
 */
struct kv_read;
/* Pins the revision; query moves in. Errors of the query are found by the first step. */
struct kv_read *kv_read_start(struct kv *kv, struct query **query);
/* Works for at most rows_max rows. *done: the result is complete (its error field may be set).
 * Returns OK or a fatal store error. */
MUST_USE enum err kv_read_step(struct kv *kv, struct kv_read *read, uint64_t rows_max, bool *done);
/* Octets of keys and values the read holds so far. */
uint64_t kv_read_bytes(const struct kv_read *read);
/* Take the finished (or abandoned) read's result and free the read. */
struct result *kv_read_finish(struct kv_read **read);

/* True when the open batch should go: full, or old at now_us, and no batch is under way. */
bool kv_should_seal(const struct kv *kv, uint64_t now_us);
/* When kv_should_seal may turn true by age alone; UINT64_MAX if the open batch is empty or a sealed
 * one is under way (kv_flushed is the event to wait for then). */
uint64_t kv_seal_deadline_us(const struct kv *kv);
/* Seal: the batch to send to flush, or NULL if nothing is open or one is under way. */
struct kv_batch *kv_seal(struct kv *kv);
/* The flush actor committed batch `number`. */
void kv_flushed(struct kv *kv, uint64_t number);
bool kv_is_full(const struct kv *kv);
/* Applies and reads share one snapshot of kv.db until this; call it whenever a batch of them is over. */
void kv_release(struct kv *kv);

/* Record changes for watchers from now on, or forget what was recorded and record no more. */
void kv_events_want(struct kv *kv, bool wanted);
/* Move out what was recorded since the last time. */
void kv_events_take(struct kv *kv, struct event_block *out);

/*
 * Leases. They run in cluster time, the greatest stamp of an applied entry (design: "Leases run in
 * cluster time"): a deadline is the stamp of the entry that granted or renewed the lease plus its TTL, so it
 * follows from the log alone. A lease ends by an entry, never because time has passed.
 */
uint64_t kv_cluster_time_us(const struct kv *kv);
uint64_t kv_lease_count(const struct kv *kv);
/* Renewals applied since kv_create, for figures. */
uint64_t kv_leases_renewed(const struct kv *kv);
/* A lease that is due, and the renewal by which it is. */
struct lease_due {
    int64_t id;
    uint64_t deadline_us;
};
/*
 * For a leader: leases whose deadline is at or before time_us, count_max at most, each handed out once until
 * it is renewed or kv_leases_untake. What is taken and what not is this node's business and no part of the
 * state. There may be more when fewer than count_max came: the work of one call is bounded.
 */
size_t kv_leases_take_due(struct kv *kv, uint64_t time_us, struct lease_due *out, size_t count_max);
/* Taken, not ended and not renewed since. */
size_t kv_leases_taken(const struct kv *kv);
void kv_leases_untake(struct kv *kv);

int64_t kv_revision(const struct kv *kv);
/* kv.db holds every change up to this revision; what is newer lies in memory. */
int64_t kv_committed_revision(const struct kv *kv);
int64_t kv_compact_revision(const struct kv *kv);
uint64_t kv_applied_index(const struct kv *kv);
uint64_t kv_applied_term(const struct kv *kv);
/* Checksum over all live rows and history in key order at the current revision (state equality). */
MUST_USE enum err kv_hash(struct kv *kv, uint64_t *out);
void kv_sizes(struct kv *kv, uint64_t *file_bytes, uint64_t *used_bytes, uint64_t *overlay_bytes);

#endif
