/* SPDX-License-Identifier: Apache-2.0 */
/*
 * holder.h: gets a lock or a leadership and holds it: a lease that is kept alive, the call that waits for the
 * turn (Lock.Lock or Election.Campaign), and a watch on the key that was got.
 *
 *   GRANT ──▶ ACQUIRE ──▶ READ ──▶ HELD ──▶ (lost)
 *     ▲──────────┴──────────┘ connection breaks: again, with a lease of its own
 *
 * Before it is held, each connection starts from the beginning with a fresh lease: the server removes the key
 * of a waiting call that broke, and might do so after a repeated call has found it. (The old lease is revoked
 * on the new connection.) Once held, nothing but the keep-alive and the watch is repeated.
 *
 * The key's create revision is the fencing token: it grows with every holder, and a transaction that compares
 * it succeeds only while this holder's key exists.
 *
 * Invariants
 *  1. `held` is called once at most, with a key that a linearizable read has found under our lease.
 *  2. `lost` is called once at most, and only after `held`: the lease is gone, or the key is.
 */
#ifndef HOLDFAST_CLI_HOLDER_H
#define HOLDFAST_CLI_HOLDER_H

#include "lease_keeper.h"
#include "watch_stream.h"

enum holder_state { HOLDER_GRANT, HOLDER_ACQUIRE, HOLDER_READ, HOLDER_HELD, HOLDER_OVER };

struct holder_user {
    void (*held)(void *context);
    void (*lost)(void *context, const char *why);
    void (*failed)(void *context, enum cli_exit code); /* printed; before it was held */
};

struct holder {
    const struct cli_arguments *arguments;
    struct cli_loop *loop;
    const struct holder_user *user;
    void *context;
    bool campaign;     /* else lock */
    struct view name;  /* borrowed */
    struct view value; /* of a campaign; borrowed */

    /* what it has */
    enum holder_state state;
    int64_t lease;       /* 0: none */
    struct bytes key;    /* from ACQUIRE's answer on */
    int64_t revision;    /* the key's create revision, from READ's answer on */
    uint64_t give_up_ms; /* UINT64_MAX: waits as long as it takes */

    /* the holder's own */
    struct lease_keeper keeper;
    struct watch_stream watch;
    uint64_t sent_ms;       /* of the call under way */
    struct grpc_call *call; /* of GRANT, ACQUIRE or READ */
};

/* The fields above "what it has" are set by the caller. */
void holder_start(struct holder *h);
void holder_up(struct holder *h);
void holder_down(struct holder *h);
uint64_t holder_due_ms(const struct holder *h);
void holder_tick(struct holder *h, uint64_t now_ms);
/*
 * Give back what is held: Unlock or Resign, then revoke the lease, over a session of its own (the loop is
 * over). Prints if it cannot; then it ends with the lease.
 */
void holder_release(struct holder *h);
void holder_free(struct holder *h);

#endif
