/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease.h: leases in the state machine, for the other files of this room: what a write does to the
 * leases of its keys.
 */
#ifndef HOLDFAST_KV_LEASE_H
#define HOLDFAST_KV_LEASE_H

#include "kv/state.h"

bool lease_exists(const struct kv *kv, int64_t id);
/* The key was written with this lease, which exists, and hung on none or was detached before. */
void lease_attach(struct kv *kv, int64_t id, struct view key);
/* The key hung on this lease and was deleted or written without it. */
void lease_detach(struct kv *kv, int64_t id, struct view key);

#endif
