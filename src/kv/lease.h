/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease.h: leases in the state machine, for the other files of this room. What they are to others of the
 * program stands in kv.h.
 *
 * A lease that is beyond its deadline is alive until an entry ends it: its keys are there, keys can be put
 * with it, and a renewal may come first. An expiry names the deadline that its proposer saw. If the lease
 * has another by the time the entry is applied, it was renewed in between, and the expiry is void on every
 * node alike (trap 53).
 */
#ifndef HOLDFAST_KV_LEASE_H
#define HOLDFAST_KV_LEASE_H

#include "kv/state.h"

/*
 * Apply a grant, revoke, keepalive, expire or clock.
 *
 * result   NULL: nobody waits. Grant: the lease; keepalive: one lease_info for each id, in order
 * refusal  ERR_INVALID (an id of 0, a TTL below 1, time beyond all bounds), ERR_LEASE_EXISTS,
 *          ERR_LEASE_NOT_FOUND, ERR_OVERLOAD (LEASES_MAX)
 *
 * Returns OK or a fatal store error.
 */
MUST_USE enum err lease_apply(struct kv *kv, const struct command *c, struct result *result,
                              enum err *refusal);
bool lease_exists(const struct kv *kv, int64_t id);
/* The key was written with this lease, which exists, and hung on none or was detached before. */
void lease_attach(struct kv *kv, int64_t id, struct view key);
/* The key hung on this lease and was deleted or written without it. */
void lease_detach(struct kv *kv, int64_t id, struct view key);
/* Read leases and their keys from kv.db into the empty table. ERR_IO, ERR_CORRUPT. */
MUST_USE enum err lease_load(struct kv *kv);
/* Rows of the leases that changed since the last sealing. */
void lease_seal(struct kv *kv, struct kv_batch *batch);
/* What of leases is logical state, in an order that all nodes share. */
void lease_hash(const struct kv *kv, struct buffer *out);
/* Answer QUERY_LEASE_TTL. */
void lease_time_to_live(const struct kv *kv, const struct query *q, struct result *result);

#endif
