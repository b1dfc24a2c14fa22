/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_web.c: what comes over HTTP and is not gRPC: GET /version and /health, on HTTP/1.1 and on HTTP/2.
 * A health check is a call whose one step is a read.
 *
 * Invariants
 *  1. c->web_call is the call of the connection's HTTP/1 request from its admission until its answer.
 */
#include "client_actor.h"

#include "../api/web.h"

#include <stdio.h>
#include <string.h>

/* The key that /health asks for; what it holds does not matter. */
#define HEALTH_KEY "health"

/* ---- answers -------------------------------------------------------------------------------------- */

static void web_answer_stream(struct http2_stream *s, const struct web_answer *answer)
{
    char status[16];
    int size = snprintf(status, sizeof status, "%d", answer->status);
    ASSERT(size > 0);
    struct http2_header headers[3] = {
        {.name = ":status", .value = view_of(status, (size_t)size)},
        {.name = "content-type", .value = view_of_text(answer->content_type), .lasting = true},
    };
    size_t count = 2;
    if (answer->allow != NULL) {
        headers[count++] = (struct http2_header){
            .name = "allow", .value = view_of_text(answer->allow), .lasting = true};
    }
    bool empty = answer->body.size == 0 || strcmp(s->method, "HEAD") == 0;
    http2_respond(s, headers, count, empty);
    if (!empty) {
        struct http2_chunk *chunk = http2_chunk_create(answer->body.size);
        memcpy(chunk->data, answer->body.data, answer->body.size);
        http2_write(s, &chunk);
        http2_finish(s, NULL, (struct view){0});
    }
}

static void web_answer_http1(struct client_connection *c, const struct web_answer *answer)
{
    struct http1_header allow = {.name = "Allow"};
    struct http1_answer out = {.status = answer->status,
                               .content_type = answer->content_type,
                               .headers = &allow,
                               .body = answer->body,
                               .close = c->draining};
    if (answer->allow != NULL) {
        allow.value = view_of_text(answer->allow);
        out.header_count = 1;
    }
    http1_respond(c->http1, &out);
    connection_touch(c);
}

/* The call has ended; with HTTP/1 it is gone after this. */
static void web_answer_call(struct client_actor *a, struct client_call *call,
                            const struct web_answer *answer)
{
    struct client_connection *c = call->connection;
    if (call->stream != NULL) {
        web_answer_stream(call->stream, answer);
        connection_touch(c);
        return;
    }
    ASSERT(c->web_call == call);
    c->web_call = NULL;
    call_close(a, call);
    web_answer_http1(c, answer);
    connection_go_on(c, a->now_us);
}

/* ---- health --------------------------------------------------------------------------------------- */

static void health_reply(struct client_actor *a, struct client_call *call,
                         const struct result *result)
{
    UNUSED(result);
    char room[WEB_HEALTH_BODY_MAX];
    struct web_answer answer;
    web_health(NULL, room, &answer);
    call_end(a, call);
    web_answer_call(a, call, &answer);
}

static void health_fail(struct client_actor *a, struct client_call *call, struct rpc_error error)
{
    char reason[WEB_HEALTH_BODY_MAX / 2];
    char room[WEB_HEALTH_BODY_MAX];
    struct web_answer answer;
    (void)snprintf(reason, sizeof reason, "RANGE ERROR:%s", error.text);
    web_health(reason, room, &answer);
    web_answer_call(a, call, &answer);
}

static const struct call_ops health_ops = {.reply = health_reply};
static const struct call_transport health_transport = {.fail = health_fail};

/* ---- requests ------------------------------------------------------------------------------------- */

/* Answer now, or begin the read that /health waits for. stream: NULL for HTTP/1. */
static void web_request(struct client_connection *c, struct http2_stream *stream,
                        const char *method, struct view target)
{
    struct client_actor *a = client_actor_of(c);
    struct web_answer answer;
    char room[WEB_HEALTH_BODY_MAX];
    bool serializable = false;
    struct client_call *call = NULL;

    if (web_route(method, target, &answer, &serializable) == WEB_HEALTH) {
        const struct call_request request = {
            .transport = &health_transport, .ops = &health_ops, .timeout_us = UINT64_MAX};
        struct rpc_error error;
        if (!a->stopping && !serializable && a->state.leader_id == 0) {
            web_health("RAFT NO LEADER", room, &answer);
        } else if ((call = call_admit(a, c, &request, &error)) == NULL) {
            char reason[WEB_HEALTH_BODY_MAX / 2];
            (void)snprintf(reason, sizeof reason, "RANGE ERROR:%s", error.text);
            web_health(reason, room, &answer);
        }
    }
    if (call == NULL) {
        if (stream != NULL) {
            web_answer_stream(stream, &answer);
            connection_touch(c);
        } else {
            web_answer_http1(c, &answer);
        }
        return;
    }
    call->stream = stream;
    if (stream != NULL) {
        stream->owner = call;
    } else {
        c->web_call = call;
    }
    struct query query = {
        .key = view_of_text(HEALTH_KEY), .count_only = true, .serializable = serializable};
    call_query(a, call, &query);
}

/* No route asks for a body: it is passed over. */
static void on_http1_request(void *context, const struct http1_request *request)
{
    web_request(context, NULL, request->method, request->target);
}

static void on_http1_data(void *context, struct view piece)
{
    UNUSED(context);
    UNUSED(piece);
}

static void on_http1_ended(void *context)
{
    UNUSED(context);
}

const struct http1_callbacks client_http1_callbacks = {
    .request = on_http1_request, .data = on_http1_data, .ended = on_http1_ended};

void web_http2_request(struct client_connection *c, struct http2_stream *s)
{
    if (strcmp(s->method, "POST") == 0 && s->content_type[0] != 0) {
        struct web_answer answer;
        web_unsupported(&answer);
        web_answer_stream(s, &answer);
        connection_touch(c);
    } else {
        web_request(c, s, s->method, view_of(s->path, s->path_size));
    }
}

void web_http2_data(struct client_connection *c, struct http2_stream *s, struct view data)
{
    UNUSED(c);
    http2_consume(s, data.size); /* a body that nobody asked for */
}

void web_http2_ended(struct client_connection *c, struct http2_stream *s)
{
    UNUSED(c);
    UNUSED(s);
}

void web_connection_closed(struct client_connection *c)
{
    struct client_call *call = c->web_call;
    if (call != NULL) {
        c->web_call = NULL;
        call_close(client_actor_of(c), call);
    }
}
