/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clients_parts.h: what simulated clients ask, family by family. A part draws a request into a struct asking;
 * clients.c sends it, waits, and writes the history. Watches have their own course.
 */
#ifndef HOLDFAST_SIM_CLIENTS_PARTS_H
#define HOLDFAST_SIM_CLIENTS_PARTS_H

#include "clients.h"

/* One request. Zero-initialised is empty; asking_free. */
struct asking {
    struct history_op op;
    struct buffer command; /* writes: encoded */
    struct query query;    /* reads: views point into `octets` */
    struct buffer octets;
};

/* What a part draws from. Borrowed for the call. */
struct drawer {
    uint64_t *random;
    const struct client_load *load;
    struct history *history;
    int64_t session_revision; /* the newest the client has seen on its node */
};

static inline uint64_t drawn(struct drawer *d, uint64_t least, uint64_t most)
{
    return least + random_below(d->random, most - least + 1);
}

static inline bool drawn_of_100(struct drawer *d, uint32_t share)
{
    return random_below(d->random, 100) < share;
}

void asking_free(struct asking *a);
/* It is this write. */
void asking_command(struct asking *a, const struct command *command);
/* A value nobody has written, with some zeroes behind it; in place, out[1024]. */
struct view drawn_value(struct drawer *d, uint8_t *out);
/* A lease somebody asked for; 0: none yet. Some may have ended. */
int64_t drawn_lease(struct drawer *d);

/* ---- clients_txn.c ------------------------------------------------------------------------------- */

/* A transaction, to write or only to read. */
void draw_txn(struct drawer *d, struct asking *a);
/* A put or delete with options, of keys that all families share. */
void draw_shared_write(struct drawer *d, struct asking *a);
void draw_compact(struct drawer *d, struct asking *a);

/* ---- clients_lease.c ----------------------------------------------------------------------------- */

/* Any lease request at random. */
void draw_lease(struct drawer *d, struct asking *a);

/*
 * Who holds a lease, keeps it alive, takes the lock with it and writes under the lock's revision; and now and then
 * sleeps for longer than the lease lasts without knowing it.
 */
enum keeper_state { KEEPER_NONE, KEEPER_KEEPS, KEEPER_HOLDS };

struct keeper {
    enum keeper_state state;
    int64_t lease, ttl_s;
    int64_t lock; /* HOLDS: the lock's revision */
    bool acquiring;
};

/* What it asks next. */
void keeper_ask(struct keeper *k, struct drawer *d, struct asking *a);
/* result NULL: it does not know what became of it. */
void keeper_answer(struct keeper *k, const struct history_op *op, const struct result *result);
/* How long until it asks again. */
uint64_t keeper_pause_us(const struct keeper *k, struct drawer *d);

/* ---- clients_watch.c ----------------------------------------------------------------------------- */

#define WATCHES_STREAMS 2
#define WATCHES_PLACES  4 /* of a stream */

enum watch_place_state { WATCH_FREE, WATCH_ASKED, WATCH_OPEN, WATCH_CANCELLING };

struct watch_place {
    enum watch_place_state state;
    struct watch_sub *sub;
    int64_t watch_id; /* asked for (0: any), then given */
    bool may_clash;   /* with another of the same number on its stream */
};

struct watches_stream {
    uint64_t number; /* 0: not open */
    struct watch_place places[WATCHES_PLACES];
    size_t asked[WATCHES_PLACES]; /* places in the order of their requests */
    size_t asked_count;
    uint64_t unacked;
};

struct watches {
    struct watches_stream streams[WATCHES_STREAMS];
    uint64_t at_us;       /* next look, on the node's clock */
    uint32_t lazy_of_100; /* how often it does not acknowledge what it has read */
};

void watches_begin(struct watches *w, struct drawer *d, uint64_t now_us);
/* At w->at_us: open, cancel, close, acknowledge. number: where the next stream's number comes from. */
void watches_act(struct watches *w, struct drawer *d, const struct client_settings *s,
                 uint64_t *counter, uint64_t now_us);
void watches_take(struct watches *w, const struct client_settings *s, const struct client_watch *m);
/* The client ends. */
void watches_give_up(struct watches *w);

#endif
