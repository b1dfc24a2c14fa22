/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_web.h: what the doors of plain HTTP share: a request as they are given it, and how an answer goes
 * out over HTTP/1.1 or HTTP/2 without the door knowing which.
 *
 *   client_web.c     who may come in (Host, Origin), which door it is for, answers as octets
 *   client_health.c  /health, /livez, /readyz, /metrics
 *   client_json.c    /v3/...: etcd's JSON gateway
 *   client_rest.c    /kv/...: the store as files
 *   client_events.c  /watch/... and ?wait: changes as they happen
 *
 * Invariants
 *  1. c->web_call is the call of the connection's HTTP/1 request from its admission until its answer is
 *     complete; on HTTP/2 the stream's owner is the call.
 *  2. call->carrier of a web call begins with struct web_carrier and is freed by its transport's release.
 */
#ifndef HOLDFAST_CLIENT_WEB_H
#define HOLDFAST_CLIENT_WEB_H

#include "client_actor.h"

#include "../api/web.h"
#include "../api/web_target.h"

#include <string.h>

/* Everything is borrowed for the call of a door. */
struct web_request {
    struct client_connection *connection;
    struct http2_stream *stream; /* NULL: HTTP/1.1 */
    const char *method;
    struct web_target target;
    const struct http_fields *fields; /* may be NULL */
    struct view content_type;
    uint64_t body_size; /* HTTP1_LENGTH_UNKNOWN: unknown */
};

/* First member of every carrier. */
struct web_carrier {
    /* A piece of the request's body, and its end; not called once the call is answered. NULL: passed over. */
    void (*data)(struct client_actor *a, struct client_call *call, struct view piece);
    void (*ended)(struct client_actor *a, struct client_call *call);
};

/* ---- doors; each answers or makes a call ----------------------------------------------------------------- */

/* True if the path is one of the door's. */
bool health_door(struct client_actor *a, const struct web_request *request);
bool json_door(struct client_actor *a, const struct web_request *request);
bool rest_door(struct client_actor *a, const struct web_request *request);
bool events_door(struct client_actor *a, const struct web_request *request);

/* A value is whatever somebody stored: a browser may show it and nothing else. */
#define WEB_SANDBOX "default-src 'none'; sandbox"

struct rest_request;
/* GET /kv/KEY?wait: answered when the key, or something under the prefix, has changed. parsed moves in. */
void events_wait(struct client_actor *a, const struct web_request *request,
                 struct rest_request *parsed);

/* ---- for doors ------------------------------------------------------------------------------------------- */

static inline bool web_method_is(const struct web_request *request, const char *method)
{
    return strcmp(request->method, method) == 0;
}

/* Answer a request that has no call. */
void web_answer_request(const struct web_request *request, const struct web_answer *answer);

/*
 * Admit a request as a call. carrier moves in when it succeeds: then the call is the connection's or the
 * stream's, and its body will come to the carrier. NULL: refused, *error says why, nothing was sent.
 */
struct client_call *web_admit(struct client_actor *a, const struct web_request *request,
                              const struct call_request *what, struct web_carrier *carrier,
                              struct rpc_error *error);

/* The whole answer of a call that was ended (inside finish or fail, or after call_end). The call may be gone. */
void web_answer_call(struct client_actor *a, struct client_call *call,
                     const struct web_answer *answer);
/* The same in pieces; the call may be gone after the last. */
void web_begin(struct client_call *call, const struct web_answer *answer);
void web_write(struct client_call *call, struct view piece);
void web_finish(struct client_actor *a, struct client_call *call);

/* For a struct call_transport. */
uint64_t web_queued_bytes(const struct client_call *call);
void web_want_drained(struct client_actor *a, struct client_call *call, uint64_t mark);

#endif
