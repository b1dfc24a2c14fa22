/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_actor.h: what tests and the simulator may look at in a raft actor.
 */
#ifndef HOLDFAST_RAFT_ACTOR_H
#define HOLDFAST_RAFT_ACTOR_H

#include "raft.h"

struct raft_actor;

/* The core inside, for checkers that run between two handlers; borrowed. */
const struct raft *raft_actor_core(const struct raft_actor *self);

#endif
