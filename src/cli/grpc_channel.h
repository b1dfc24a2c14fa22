/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc_channel.h: a gRPC client over one clear-text HTTP/2 connection (nghttp2), with many calls at a
 * time: unary ones, and streams in either or both directions. Single-threaded: the owner polls the
 * descriptor, calls grpc_channel_work when it is ready and grpc_channel_tick when time has passed.
 *
 * Nothing here waits but grpc_channel_open, and the look-up of a host name (getaddrinfo) when a
 * connection is started.
 *
 * Invariants
 *  1. `done` is called exactly once per call that was not cancelled: with the server's status, or with
 *     `transport` set when the connection broke first. What a write did is unknown in the second case,
 *     unless `refused` says that the server never took the call.
 *  2. No call is repeated here; that is the owner's decision.
 *  3. Callbacks run from grpc_channel_work, grpc_channel_tick and grpc_channel_close only. They may
 *     begin, feed and cancel calls, but not close the channel.
 *  4. After grpc_call_cancel no callback of that call runs.
 *  5. A stream's messages are bounded by CHANNEL_MESSAGE_MAX; a larger one ends the call.
 */
#ifndef HOLDFAST_GRPC_CHANNEL_H
#define HOLDFAST_GRPC_CHANNEL_H

#include "base.h"

#define GRPC_ANSWER_TEXT_MAX 255

struct grpc_answer {
    bool transport; /* no status came: the connection broke or never was */
    bool refused;   /* with `transport`: the server has certainly not looked at the call */
    int status;     /* grpc-status, 0 = OK */
    char message[GRPC_ANSWER_TEXT_MAX + 1];
    struct view body; /* a unary call's response message; valid for the call of `done` */
};

typedef void grpc_done_fn(void *context, const struct grpc_answer *answer);
typedef void grpc_message_fn(void *context, struct view message);

struct grpc_channel;
struct grpc_call;

/*
 * Begin to connect to "host:port"; calls may be begun at once.
 *
 * timeout_ms  for each address the name means, and for the answer to a ping
 * problem     on error one sentence (problem_size octets)
 *
 * ERR_ADDRESS.
 */
MUST_USE enum err grpc_channel_start(const char *address, uint32_t timeout_ms,
                                     struct grpc_channel **out, char *problem, size_t problem_size);
/* The same, and wait until it is connected. ERR_ADDRESS, ERR_CLOSED. */
MUST_USE enum err grpc_channel_open(const char *address, uint32_t timeout_ms,
                                    struct grpc_channel **out, char *problem, size_t problem_size);
/* Ends calls that are under way with `transport`. NULL is fine. */
void grpc_channel_close(struct grpc_channel **channel);

/* Begin a unary call. path: "/package.Service/Method", borrowed for ever; message: copied. */
void grpc_channel_call(struct grpc_channel *channel, const char *path, struct view message,
                       grpc_done_fn *done, void *context);
/* The same for a read whose answer may be so old (metadata `max-staleness-ms`). */
void grpc_channel_read(struct grpc_channel *channel, const char *path, struct view message,
                       uint32_t max_staleness_ms, grpc_done_fn *done, void *context);

struct grpc_stream_settings {
    const char *path;          /* borrowed for ever */
    bool stays_open;           /* more may be sent with grpc_call_send; else `first` is all */
    uint32_t max_staleness_ms; /* 0: none */
    bool has_leader;           /* metadata `hasleader: true`: refuse without a leader */
    struct view first;         /* the first message, copied; data NULL and stays_open: none yet */
    grpc_message_fn *message;  /* each message that comes */
    grpc_done_fn *done;
    void *context;
};
/* Begin a stream. The call is valid until `done` or grpc_call_cancel. */
struct grpc_call *grpc_channel_stream(struct grpc_channel *channel,
                                      const struct grpc_stream_settings *settings);
/* One more message; only if the stream stays open. */
void grpc_call_send(struct grpc_call *call, struct view message);
/* Reset the stream and forget it: *call becomes NULL. NULL is fine. */
void grpc_call_cancel(struct grpc_call **call);

int grpc_channel_fd(const struct grpc_channel *channel);
short grpc_channel_events(const struct grpc_channel *channel); /* what to poll for */
bool grpc_channel_is_connected(const struct grpc_channel *channel);
/* Milliseconds of CLOCK_MONOTONIC: what the now_ms of these functions are read from. */
uint64_t grpc_channel_clock_ms(void);
/* Connect, read and write what is possible now. ERR_CLOSED: all calls have been ended with `transport`. */
MUST_USE enum err grpc_channel_work(struct grpc_channel *channel);
/*
 * Give up an address that does not answer, ping a server that has been silent while calls are under way,
 * and find it dead when it does not answer that. *due_ms: when to call again at the latest (UINT64_MAX:
 * not by itself). ERR_CLOSED as above.
 */
MUST_USE enum err grpc_channel_tick(struct grpc_channel *channel, uint64_t now_ms,
                                    uint64_t *due_ms);
/* Why it closed, one sentence with the address; valid as long as the channel. */
const char *grpc_channel_problem(const struct grpc_channel *channel);
size_t grpc_channel_calls(const struct grpc_channel *channel); /* under way */

#endif
