/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_lease.h: what client_lease.c has for others: ids of leases, and the actor's gathered keepalives.
 */
#ifndef HOLDFAST_CLIENT_LEASE_H
#define HOLDFAST_CLIENT_LEASE_H

#include "client_actor.h"

struct keepalives;

#define KEEPALIVES_WAITING_MAX  ((size_t)1 << 20) /* requests of all streams of one client actor */
#define KEEPALIVE_WAITING_BYTES 16                /* held for each, beside the clients' credits */

/* An id for a lease whose client leaves it to us: positive, 63 bits, drawn. May, hardly, exist already. */
int64_t client_lease_id(struct client_actor *a);

/* The actor's round is over: what was gathered in it goes, if nothing is under way. */
void keepalives_flush(struct client_actor *a);
/* With the actor. NULL is fine. */
void keepalives_free(struct keepalives *k);

#endif
