/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runner.h: the second runner behind actor.h: all actors of all simulated nodes in one thread, from
 * one seed, on a virtual clock.
 *
 * What the seed draws: how long a message takes from one actor to another, how long an actor takes
 * to wake, how many messages it finds in its inbox when it does. What it never changes: messages from
 * one sender to one receiver keep their order, and a flush follows every batch, as in src/actor.
 *
 * A handler runs at one instant of virtual time; what it spends (runner_spend_us: syncs, busy
 * waits, and a little per message) makes its actor busy until later, and what it sends leaves when it
 * was sent in that time. Each node has a clock of its own with an origin and a drift.
 *
 * A crash (runner_crash_node, or actor_fatal in a handler, which unwinds to the scheduler) ends all
 * actors of a node between two handlers. What is in flight to them is freed when its time comes.
 *
 * The state behind actor.h's functions, which know no context, is one static pointer: one runner at
 * a time in a process.
 */
#ifndef HOLDFAST_SIM_RUNNER_H
#define HOLDFAST_SIM_RUNNER_H

#include "actor.h"

#define RUNNER_NODES_MAX       16
#define RUNNER_ACTORS_PER_NODE 48
#define RUNNER_EVENTS_MAX      (1u << 20) /* more in flight is a runaway */

struct runner;

struct runner_hooks {
    /* A message is about to be queued for `to`; borrowed, unchanged. Called with `from` filled in. */
    void (*sent)(void *context, struct actor *to, const struct msg *m);
    /* A batch of this actor is over. */
    void (*ran)(void *context, struct actor *a);
    /* actor_fatal was called on this node; its actors are gone already. */
    void (*fatal)(void *context, size_t node, enum exit_code code, const char *event,
                  const char *detail);
    void *context;
};

/* Latencies within a node, in virtual microseconds. */
struct runner_pace {
    uint64_t hop_us_min, hop_us_max; /* message: from send to inbox */
    uint32_t slow_parts;             /* of a million: the hop or the wake-up takes up to slow_us */
    uint64_t slow_us;
    uint64_t handle_us; /* processor time charged for each message */
};

struct runner *runner_create(uint64_t seed, const struct runner_hooks *hooks);
void runner_destroy(struct runner **runner);

void runner_set_pace(struct runner *r, const struct runner_pace *pace);
/* The node's clock: origin_us at virtual time 0, gaining drift_parts of a million. */
void runner_set_clock(struct runner *r, size_t node, uint64_t origin_us, int64_t drift_parts);

/* Run until virtual time `until_us`, or until runner_halt. */
void runner_run(struct runner *r, uint64_t until_us);
void runner_halt(struct runner *r);
uint64_t runner_now_us(const struct runner *r);
/* As above plus what the running handler has spent. */
uint64_t runner_exact_us(const struct runner *r);
void runner_spend_us(struct runner *r, uint64_t us);
uint64_t runner_node_clock_us(const struct runner *r, size_t node);

/* Call function(context, argument) at that time, between handlers. */
typedef void runner_call_fn(void *context, uint64_t argument);
void runner_at(struct runner *r, uint64_t at_us, runner_call_fn *function, void *context,
               uint64_t argument);

/* Actors created from now on belong to this node. */
void runner_enter_node(struct runner *r, size_t node);
size_t runner_node_of(const struct actor *a);
const char *runner_name_of(const struct actor *a);
void *runner_private_of(const struct actor *a);
bool runner_is_alive(const struct actor *a);
bool runner_has_stopped(const struct actor *a);
bool runner_was_started(const struct actor *a);
/* A message as if `from` had sent it, from outside any handler. Arrives after `delay_us`, not earlier
 * than what went the same way before. */
void runner_send_as(struct runner *r, struct actor *from, struct actor *to, struct msg **m,
                    uint64_t delay_us);

/* No actor of the node runs before that time (a stopped process, a stalled machine). */
void runner_pause_node(struct runner *r, size_t node, uint64_t until_us);
/* End all actors of the node; their private structs are destroyed. Not from inside its handlers. */
void runner_crash_node(struct runner *r, size_t node);

/* A checksum over everything that ran, in order: equal for equal runs. */
uint64_t runner_digest(const struct runner *r);
uint64_t runner_event_count(const struct runner *r);

#endif
