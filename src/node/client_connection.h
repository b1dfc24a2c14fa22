/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_connection.h: one client's connection: its socket, which of the two protocols its first
 * octets chose, the engine for it, and what waits to be sent. Inside the client actor's thread.
 *
 * Flows in: readiness of the socket. Flows out: the engines' callbacks (to client_actor.c), octets.
 * Not here: what requests mean and how they are answered.
 *
 * Invariants
 *  1. Memory for a client that does not read is bounded: while octets wait for its socket, nothing is
 *     read from it and at most CONNECTION_OUTPUT_BYTES (and a frame) are made ready.
 *  2. A closed connection (fd < 0) stays in memory until the end of the flush, so that nobody trips
 *     over a stale pointer in the same round.
 *  3. A connection is closed when it owes us something for too long: its first octets, the rest of a
 *     header or of an HTTP/1 request (CONNECTION_REQUEST_US), or reading what we sent
 *     (CONNECTION_STALL_US for CONNECTION_STALL_BYTES); or when nothing is under way and nothing came
 *     for idle_timeout_us.
 *  4. The deadline in the heap is never later than the earliest of these, and mostly earlier: it is
 *     looked at when it passes, so that requests and answers move nothing in the heap.
 */
#ifndef HOLDFAST_CLIENT_CONNECTION_H
#define HOLDFAST_CLIENT_CONNECTION_H

#include "actor.h"
#include "deadlines.h"

#include "../net/http1.h"
#include "../net/http2.h"

#define CONNECTION_INPUT_BYTES  (64 * 1024)  /* one read */
#define CONNECTION_OUTPUT_BYTES (256 * 1024) /* made ready at a time */
#define CONNECTION_ROUNDS_MAX   8            /* of output in one flush, for fairness */

/* What lies around a deadline of the client actor. */
#define CONNECTION_WAITING_BYTES_MAX                                                               \
    (64 * 1024) /* read ahead while an HTTP/1 answer takes long, to see the client leave */
#define CONNECTION_KEEP_BYTES (256 * 1024) /* of output room, once it is empty */

enum deadline_kind {
    DEADLINE_OF_CALL,
    DEADLINE_OF_TIMER, /* of a call */
    DEADLINE_OF_CONNECTION,
    DEADLINE_OF_LEADERLESS, /* the actor's */
};

#define CONNECTION_LINGER_US   UINT64_C(2000000) /* for a client to see an answer it did not expect */
#define CONNECTION_REQUEST_US  UINT64_C(30000000) /* to send a request that was begun */
#define CONNECTION_STALL_US    UINT64_C(60000000) /* in which a client must have read at least ... */
#define CONNECTION_STALL_BYTES (16 * 1024)        /* ... so much, if it had so much to read */
/* While less than a quarter of the octets in flight is left, who holds more than its basic share has this long. */
#define CONNECTION_STALL_SCARCE_US UINT64_C(5000000)
#define CONNECTION_SHARE_BYTES                                                                     \
    ((uint64_t)64 * 1024) /* what every connection may hold if it is there */

enum connection_protocol { PROTOCOL_UNKNOWN, PROTOCOL_HTTP2, PROTOCOL_HTTP1 };

struct client_call;
struct client_connection;

/* What all connections of one client actor share. */
struct connection_shared {
    void *owner;                                              /* the client actor */
    void (*closed)(void *owner, struct client_connection *c); /* as the engines are about to go */
    /* Not more than c->drain_mark octets wait for an HTTP/1 socket. Never from inside another call. */
    void (*drained)(void *owner, struct client_connection *c);
    struct actor *actor;
    struct http2_shared *http2;
    const struct http1_callbacks *http1_callbacks;
    struct deadlines *deadlines;
    struct credits *bytes;    /* octets in flight, over all clients ... */
    uint64_t bytes_max;       /* ... and how many there are */
    uint64_t idle_timeout_us; /* UINT64_MAX: for ever */
    uint8_t *input;           /* CONNECTION_INPUT_BYTES */
    struct buffer scratch;    /* output that leaves at once, as nearly all does */
    struct client_connection *all, *dirty, *dead;
    size_t count;
};

struct client_connection {
    struct deadline deadline; /* first, so that the one leads to the other */
    bool dirty;
    bool blocked;   /* the socket takes no more: `out` waits */
    bool draining;  /* no new requests; close when those under way are answered */
    bool lingering; /* we have said all; what still comes is thrown away until the client closes */
    bool input_ended;
    enum connection_protocol protocol;
    int fd; /* -1: closed */
    uint32_t watched;
    struct connection_shared *shared;
    struct http2 *http2;
    struct http1 *http1;
    struct client_call *web_call; /* the HTTP/1 request that waits for an answer */
    bool web_lasts;               /* ... and may wait for long: a client that leaves is noticed */
    bool drain_wanted;
    size_t drain_mark;
    struct buffer
        in; /* first octets, and what came behind an HTTP/1 request that is not answered */
    struct buffer out;         /* what the socket did not take ... */
    uint64_t held_bytes;       /* ... and how much of it is charged to shared->bytes */
    uint64_t charged_bytes;    /* taken from there in all: that, and what its calls hold */
    uint64_t heard_us;         /* when octets came last */
    uint64_t partial_until_us; /* to send the rest of what was begun; UINT64_MAX: nothing was */
    uint64_t stall_until_us;   /* to read some more; UINT64_MAX: nothing waits to be read */
    uint64_t linger_until_us;  /* UINT64_MAX: not lingering */
    uint64_t sent_bytes, stall_sent_bytes; /* to the socket in all; when stall_until_us was set */
    uint64_t scarce_until_us, scarce_sent_bytes; /* the same, for when octets are scarce */
    struct client_connection *next, *previous;
    struct client_connection *next_dirty;
};

/* The descriptor moves in. */
struct client_connection *connection_open(struct connection_shared *shared, int fd,
                                          uint64_t now_us);
/* The socket is ready. */
void connection_ready(struct client_connection *c, uint32_t events, uint64_t now_us);
/* There is output, or the state may have changed: look at it in this flush. */
void connection_touch(struct client_connection *c);
/*
 * Octets in flight for a request or an answer of this connection. False: there are not enough, or it would hold more than
 * it leaves to all others together. So one that does not read gets half of them, the next one a quarter, and what is left is
 * always somebody else's; up to CONNECTION_SHARE_BYTES it is who comes first.
 */
bool connection_charge(struct client_connection *c, uint64_t bytes);
void connection_discharge(struct client_connection *c, uint64_t bytes);
/* So many octets taken from shared->bytes stay taken until the socket has what is in `out` now. */
void connection_hold(struct client_connection *c, uint64_t bytes);
/* The HTTP/1 request was answered: go on with what came behind it, now or when most of the answer has gone. */
void connection_go_on(struct client_connection *c, uint64_t now_us);
/* Its deadline has passed: look whether it owes us something for too long. */
void connection_expired(struct client_connection *c, uint64_t now_us);
/* Take no new requests; close once those under way are answered. */
void connection_drain(struct client_connection *c);
/* Close now. The engines' `closed` callbacks run. */
void connection_close(struct client_connection *c);

/* Send what all touched connections have; free the closed ones. The end of a round. */
void connections_flush(struct connection_shared *shared, uint64_t now_us);

#endif
