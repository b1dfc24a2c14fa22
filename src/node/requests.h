/* SPDX-License-Identifier: Apache-2.0 */
/*
 * requests.h: what is certain about requests whose leader went away, and what is certain about
 * forwarded requests that arrive twice. Pure bookkeeping, no messages, no I/O.
 *
 * Barrier. A request proposed (or forwarded) in term t is an entry of term t or no entry at all: a
 * leader appends in its own term, and refuses a forward of another term. Committed entries of a term
 * below T lie before the first entry of term T in every log. So once an entry of term T is applied
 * here, every request of this node that was proposed in a term below T and is still unanswered was
 * definitely not carried out, and its client may be told so instead of "unknown" (trap 51).
 *
 * Filter. A forward may be delivered twice. Its receiver remembers the greatest request number it
 * has decided on, per origin and client actor, for as long as it runs; what is not above it is
 * dropped without an answer: neither appended twice, nor called refused (trap 52).
 */
#ifndef HOLDFAST_REQUESTS_H
#define HOLDFAST_REQUESTS_H

#include "message.h"

struct request_barrier {
    uint64_t proposed_term;        /* the greatest term something was proposed in */
    uint64_t current[CLIENTS_MAX]; /* greatest request proposed in or before proposed_term */
    uint64_t older[CLIENTS_MAX];   /* greatest request proposed in a term below proposed_term */
    uint64_t applied_term;         /* the greatest term a barrier was given out for */
};

/* Request ids of one client actor rise. `term`: of the proposal; never falls. */
void request_barrier_proposed(struct request_barrier *b, uint64_t term, uint64_t request_id);

/* Entries up to term `term` are handed to apply in one block. Fills out[0..client_count-1] with the
 * barrier to send once the block is applied (0: none). True if there is one. */
bool request_barrier_applying(struct request_barrier *b, uint64_t term, size_t client_count,
                              uint64_t out[CLIENTS_MAX]);

#define REQUEST_ORIGINS_MAX (4 * MEMBERS_MAX) /* boots of other nodes remembered; the oldest goes */

struct request_filter {
    struct request_origin {
        uint64_t origin;
        uint64_t greatest[CLIENTS_MAX];
    } origins[REQUEST_ORIGINS_MAX];
    size_t count, next;
};

/* True the first time a request is seen, in rising order; false: drop it silently. */
bool request_filter_take(struct request_filter *f, uint64_t origin, uint64_t request_id);

#endif
