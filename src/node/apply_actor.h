/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply_actor.h: what tests and the simulator may look at in an apply actor.
 */
#ifndef HOLDFAST_APPLY_ACTOR_H
#define HOLDFAST_APPLY_ACTOR_H

#include "kv.h"

struct apply_actor;

/* The state machine inside, for checkers that run between two handlers; borrowed. */
struct kv *apply_actor_kv(struct apply_actor *self);

#endif
