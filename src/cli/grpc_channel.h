/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc_channel.h: a gRPC client over one clear-text HTTP/2 connection (nghttp2), with many calls at a
 * time. Single-threaded: the owner polls the descriptor and calls grpc_channel_work.
 *
 * Invariants
 *  1. `done` is called exactly once per call: with the server's status, or with `transport` set when
 *     the connection broke first. What a write did is unknown in the second case.
 *  2. No call is repeated here; that is the owner's decision.
 */
#ifndef HOLDFAST_GRPC_CHANNEL_H
#define HOLDFAST_GRPC_CHANNEL_H

#include "base.h"

#define GRPC_ANSWER_TEXT_MAX 255

struct grpc_answer {
    bool transport; /* no status came: the connection broke or never was */
    int status;     /* grpc-status, 0 = OK */
    char message[GRPC_ANSWER_TEXT_MAX + 1];
    struct view body; /* the response message; valid for the call of `done` */
};

typedef void grpc_done_fn(void *context, const struct grpc_answer *answer);

struct grpc_channel;

/*
 * Connect to "host:port" within timeout_ms (each address the name means is tried).
 * problem: on error one sentence (problem_size octets). ERR_ADDRESS, ERR_CLOSED.
 */
MUST_USE enum err grpc_channel_open(const char *address, uint32_t timeout_ms,
                                    struct grpc_channel **out, char *problem, size_t problem_size);
/* Ends calls that are under way with `transport`. */
void grpc_channel_close(struct grpc_channel **channel);

/* Begin a unary call. path: "/package.Service/Method", borrowed for ever; message: copied. */
void grpc_channel_call(struct grpc_channel *channel, const char *path, struct view message,
                       grpc_done_fn *done, void *context);

int grpc_channel_fd(const struct grpc_channel *channel);
short grpc_channel_events(const struct grpc_channel *channel); /* what to poll for */
/* Read and write what is possible now. ERR_CLOSED: all calls have been ended with `transport`. */
MUST_USE enum err grpc_channel_work(struct grpc_channel *channel);
size_t grpc_channel_calls(const struct grpc_channel *channel); /* under way */

#endif
