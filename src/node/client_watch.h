/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_watch.h: watches for whoever in a client actor wants some: the Watch service itself, and calls
 * that wait for a key (locks, elections, REST).
 *
 * A call that watches keeps a `struct call_watches`, sends requests by the functions here, and gets
 * responses through ops->watch. It acknowledges every response, by call_watch_sent if it passed octets on
 * to its client, else by call_watch_done; a call that forgets to is taken for slow and lags.
 */
#ifndef HOLDFAST_CLIENT_WATCH_H
#define HOLDFAST_CLIENT_WATCH_H

#include "client_actor.h"

#include "watch.h"

/* Requests of one call under way to the watch actor; beyond it the call fails as too many. */
#define WATCH_REQUESTS_MAX 4096
/* Octets a stream's client may have taken before the watch actor is told; less than WATCH_STREAM_SHARE. */
#define WATCH_ACK_BYTES (8 * 1024)

/* Of one call; zero-initialised is ready. */
struct call_watches {
    uint64_t stream;  /* its number; 0: nothing was asked for yet */
    size_t requests;  /* under way */
    uint64_t unacked; /* cost of responses passed on since ... */
    uint64_t acking;  /* ... of those that are told of when what was sent by then has drained */
    uint64_t since;   /* octets sent since then */
};

struct watch_call;

/* Send a request. kind is not NONE. False: too many under way, and the call has failed. */
MUST_USE bool call_watch(struct client_actor *a, struct client_call *call, struct call_watches *w,
                         const struct watch_call *request);
/* At the beginning of ops->watch: keeps count of requests. False: nothing for the call. */
MUST_USE bool call_watch_taken(struct call_watches *w, const struct watch_response *response);
/* The response was passed on in `octets` octets of answers; ops->drained must call call_watch_drained. */
void call_watch_sent(struct client_actor *a, struct client_call *call, struct call_watches *w,
                     const struct watch_response *response, size_t octets);
void call_watch_drained(struct client_actor *a, struct client_call *call, struct call_watches *w);
/* The response was worked off here. */
void call_watch_done(struct client_actor *a, struct call_watches *w,
                     const struct watch_response *response);
/* In ops->closed: the watches end. */
void call_watch_close(struct client_actor *a, struct call_watches *w);

/* ---- for client_actor.c -------------------------------------------------------------------------- */

/* Hand out what came (CLIENT_WATCH). */
void watches_take(struct client_actor *a, const struct client_watch *m);
/* Send what is to be acknowledged. The end of a round. */
void watches_flush(struct client_actor *a);
void watches_free(struct client_actor *a);

#endif
