/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease_keeper.h: keeps one lease alive over a cli_loop, on whichever endpoint answers, and says when it
 * is lost. Its user calls the keeper's functions from the loop's functions of the same names.
 *
 * Invariants
 *  1. The lease is taken for lost at the latest when its TTL has passed since the *sending* of the last
 *     renewal that was answered. The server counts from a later moment, so `lost` comes before its own
 *     expiry, whatever the network did (as far as both clocks run equally fast).
 *  2. One renewal is under way at most. One that is not answered within a third of the TTL condemns the
 *     connection (cli_loop_break), so that two more endpoints can be tried in time.
 */
#ifndef HOLDFAST_CLI_LEASE_KEEPER_H
#define HOLDFAST_CLI_LEASE_KEEPER_H

#include "loop.h"

struct lease_keeper_user {
    void (*renewed)(void *context, int64_t ttl_s); /* NULL: not wanted */
    /* The lease is gone or must be taken for gone. known: the server said so. */
    void (*lost)(void *context, bool known);
};

struct lease_keeper {
    struct cli_loop *loop;
    const struct lease_keeper_user *user;
    void *context;
    int64_t lease;
    uint64_t ttl_ms; /* as granted; 0: not known yet, then nothing is taken for lost by time */
    uint64_t confirmed_ms; /* when the last answered renewal, or the grant, was sent */
    /* the keeper's own */
    bool active;
    uint64_t sent_ms; /* of the renewal under way; 0: none */
    struct grpc_call *call;
};

/* Begin to keep `lease`; sent_ms: when the grant was sent (0 with ttl_s 0: renew at once). */
void lease_keeper_start(struct lease_keeper *k, int64_t lease, int64_t ttl_s, uint64_t sent_ms);
void lease_keeper_stop(struct lease_keeper *k);
void lease_keeper_up(struct lease_keeper *k);
void lease_keeper_down(struct lease_keeper *k);
uint64_t lease_keeper_due_ms(const struct lease_keeper *k);
void lease_keeper_tick(struct lease_keeper *k, uint64_t now_ms);

#endif
