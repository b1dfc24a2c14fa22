/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_web.c: what comes over HTTP and is not gRPC: who may come in, which door it is for, and how answers
 * become octets of HTTP/1.1 or frames of HTTP/2.
 *
 * A browser lets any page send requests here. Therefore, before anything else, and whatever is asked for: a
 * Host that is none of ours is answered with 421, an Origin that is not allowed with 403 (api/web_policy.h,
 * docs/decisions/0080-http-doors.md).
 *
 * Not here: what requests mean (the doors, client_web.h), framing (net).
 */
#include "client_web.h"

#include "../api/web_policy.h"

#include <stdio.h>
#include <string.h>

#define DOOR_METHODS "GET, HEAD, PUT, POST, DELETE, OPTIONS"
#define DOOR_FIELDS                                                                                \
    "accept, content-type, authorization, if-match, if-none-match, last-event-id, grpc-timeout"
#define DOOR_EXPOSED                                                                               \
    "etag, x-holdfast-revision, x-holdfast-create-revision, x-holdfast-version, "                  \
    "x-holdfast-lease, "                                                                           \
    "x-holdfast-count, x-holdfast-more, x-holdfast-deleted"

static const struct http_fields *fields_of(const struct client_connection *c,
                                           const struct http2_stream *s)
{
    return s != NULL ? s->fields : http1_fields(c->http1);
}

/* ---- answers -------------------------------------------------------------------------------------- */

/* What every answer says: no guessing of types; and to a page that may read it, that it may. */
static void add_common(const struct client_connection *c, const struct http2_stream *s,
                       struct web_answer *answer)
{
    struct view origin = http_fields_get(fields_of(c, s), "origin");
    web_add_header(answer, "x-content-type-options", view_of_text("nosniff"));
    if (origin.size > 0 && answer->status != 403 && answer->status != 421) {
        web_add_header(answer, "access-control-allow-origin", origin);
        web_add_header(answer, "access-control-expose-headers", view_of_text(DOOR_EXPOSED));
        web_add_header(answer, "vary", view_of_text("origin"));
    }
}

static void stream_header(struct http2_stream *s, const struct web_answer *answer, bool end)
{
    char status[16];
    int size = snprintf(status, sizeof status, "%d", answer->status);
    ASSERT(size > 0);
    struct http2_header headers[WEB_HEADERS_MAX + 2] = {
        {.name = ":status", .value = view_of(status, (size_t)size)},
    };
    size_t count = 1;
    if (answer->content_type != NULL) {
        headers[count++] = (struct http2_header){
            .name = "content-type", .value = view_of_text(answer->content_type), .lasting = true};
    }
    for (size_t i = 0; i < answer->header_count; i++) {
        headers[count++] = (struct http2_header){.name = answer->headers[i].name,
                                                 .value = answer->headers[i].value};
    }
    http2_respond(s, headers, count, end);
}

static void stream_write(struct http2_stream *s, struct view piece)
{
    struct http2_chunk *chunk = http2_chunk_create(piece.size);
    memcpy(chunk->data, piece.data, piece.size);
    http2_write(s, &chunk);
}

static struct http1_answer http1_of(const struct client_connection *c,
                                    const struct web_answer *answer,
                                    struct http1_header headers[WEB_HEADERS_MAX])
{
    for (size_t i = 0; i < answer->header_count; i++) {
        headers[i] = (struct http1_header){answer->headers[i].name, answer->headers[i].value};
    }
    return (struct http1_answer){.status = answer->status,
                                 .content_type = answer->content_type,
                                 .headers = headers,
                                 .header_count = answer->header_count,
                                 .body = answer->body,
                                 .close = c->draining};
}

static void answer_whole(struct client_connection *c, struct http2_stream *s,
                         const struct web_answer *given)
{
    struct web_answer answer = *given;
    add_common(c, s, &answer);
    if (s == NULL) {
        struct http1_header headers[WEB_HEADERS_MAX];
        struct http1_answer out = http1_of(c, &answer, headers);
        http1_respond(c->http1, &out);
    } else {
        bool empty = answer.body.size == 0 || strcmp(s->method, "HEAD") == 0;
        stream_header(s, &answer, empty);
        if (!empty) {
            stream_write(s, answer.body);
            http2_finish(s, NULL, (struct view){0});
        }
    }
    connection_touch(c);
}

void web_answer_request(const struct web_request *request, const struct web_answer *answer)
{
    answer_whole(request->connection, request->stream, answer);
}

/* The answer to an HTTP/1 request is complete: its call goes, what came behind it is looked at. */
static void call_is_done(struct client_actor *a, struct client_call *call)
{
    struct client_connection *c = call->connection;
    ASSERT(c->web_call == call);
    c->web_call = NULL;
    c->web_lasts = false;
    c->drain_wanted = false;
    call_leave_bytes(call, c->out.size);
    call_close(a, call);
    connection_go_on(c, a->now_us);
}

void web_answer_call(struct client_actor *a, struct client_call *call,
                     const struct web_answer *answer)
{
    answer_whole(call->connection, call->stream, answer);
    if (call->stream == NULL) {
        call_is_done(a, call);
    }
}

void web_begin(struct client_call *call, const struct web_answer *given)
{
    struct client_connection *c = call->connection;
    struct web_answer answer = *given;
    add_common(c, call->stream, &answer);
    if (call->stream != NULL) {
        stream_header(call->stream, &answer, false);
    } else {
        struct http1_header headers[WEB_HEADERS_MAX];
        struct http1_answer out = http1_of(c, &answer, headers);
        http1_begin(c->http1, &out);
    }
    connection_touch(c);
}

void web_write(struct client_call *call, struct view piece)
{
    struct client_connection *c = call->connection;
    if (call->stream == NULL) {
        http1_write(c->http1, piece);
    } else if (strcmp(call->stream->method, "HEAD") != 0) {
        stream_write(call->stream, piece);
    }
    connection_touch(c);
}

void web_finish(struct client_actor *a, struct client_call *call)
{
    struct client_connection *c = call->connection;
    connection_touch(c);
    if (call->stream != NULL) {
        http2_finish(call->stream, NULL, (struct view){0});
        return;
    }
    http1_finish(c->http1);
    call_is_done(a, call);
}

uint64_t web_queued_bytes(const struct client_call *call)
{
    return call->stream != NULL ? call->stream->queued_bytes : call->connection->out.size;
}

void web_want_drained(struct client_actor *a, struct client_call *call, uint64_t mark)
{
    UNUSED(a);
    struct client_connection *c = call->connection;
    if (call->stream != NULL) {
        http2_want_drained(call->stream, (size_t)mark);
    } else {
        c->drain_wanted = true;
        c->drain_mark = (size_t)mark;
    }
    connection_touch(c);
}

/* ---- requests ------------------------------------------------------------------------------------- */

struct client_call *web_admit(struct client_actor *a, const struct web_request *request,
                              const struct call_request *what, struct web_carrier *carrier,
                              struct rpc_error *error)
{
    struct client_connection *c = request->connection;
    struct client_call *call = call_admit(a, c, what, error);
    if (call == NULL) {
        return NULL;
    }
    call->carrier = carrier;
    call->stream = request->stream;
    if (request->stream != NULL) {
        request->stream->owner = call;
    } else {
        ASSERT(c->web_call == NULL);
        c->web_call = call;
        c->web_lasts = call->lasting;
    }
    return call;
}

/* A preflight of an allowed page, or the question what may be asked at all. */
static void answer_options(const struct web_request *request)
{
    struct web_answer answer = {.status = 200};
    if (http_fields_get(request->fields, "access-control-request-method").size > 0) {
        web_add_header(&answer, "access-control-allow-methods", view_of_text(DOOR_METHODS));
        web_add_header(&answer, "access-control-allow-headers", view_of_text(DOOR_FIELDS));
        web_add_header(&answer, "access-control-max-age", view_of_text("600"));
    } else {
        web_add_header(&answer, "allow", view_of_text(DOOR_METHODS));
    }
    web_answer_request(request, &answer);
}

static bool is_grpc(const struct web_request *request)
{
    struct view type = request->content_type;
    bool known = false;
    return web_path_take(&type, "application/grpc") ||
           (web_method_is(request, "POST") && method_find(request->target.path, &known) != NULL);
}

/* True if the request may not come in; it is answered then. */
static bool is_turned_away(const struct client_actor *a, const struct web_request *request,
                           struct view host)
{
    struct web_answer answer;
    size_t at = 0;
    struct view origin = {0};
    while (http_fields_next(request->fields, "origin", &at, &origin)) {
        if (origin.size == 0 || !web_origin_allowed(&a->config, origin)) {
            answer = web_text(403, "403 requests from this web page are not allowed: see "
                                   "web.origins in the node's configuration\n");
            web_answer_request(request, &answer);
            return true;
        }
    }
    if (is_grpc(request)) { /* :authority of gRPC's clients may be anything, so say this first */
        answer = web_text(415, "415 unsupported media type: gRPC is spoken over HTTP/2 with "
                               "application/grpc\n");
        web_answer_request(request, &answer);
        return true;
    }
    if (!web_host_allowed(&a->config, host)) {
        answer = web_text(421, "421 this host name is none of the node's: see web.hosts in its "
                               "configuration\n");
        web_answer_request(request, &answer);
        return true;
    }
    return false;
}

static void take_request(struct client_actor *a, const struct web_request *request,
                         struct view host)
{
    struct web_answer answer;
    if (is_turned_away(a, request, host)) {
        return;
    }
    if (web_method_is(request, "OPTIONS")) {
        answer_options(request);
        return;
    }
    if (health_door(a, request) || json_door(a, request) || rest_door(a, request) ||
        events_door(a, request)) {
        return;
    }
    answer = web_not_found();
    web_answer_request(request, &answer);
}

static void on_http1_request(void *context, const struct http1_request *in)
{
    struct client_connection *c = context;
    const struct web_request request = {
        .connection = c,
        .method = in->method,
        .target = web_target_split(in->target),
        .fields = in->fields,
        .content_type = http_fields_get(in->fields, "content-type"),
        .body_size = in->body_size,
    };
    take_request(client_actor_of(c), &request, http_fields_get(in->fields, "host"));
}

static void on_http1_data(void *context, struct view piece)
{
    struct client_connection *c = context;
    struct client_call *call = c->web_call;
    struct web_carrier *carrier = call != NULL && !call->answered ? call->carrier : NULL;
    if (carrier != NULL && carrier->data != NULL) {
        carrier->data(client_actor_of(c), call, piece);
    }
}

static void on_http1_ended(void *context)
{
    struct client_connection *c = context;
    struct client_call *call = c->web_call;
    struct web_carrier *carrier = call != NULL && !call->answered ? call->carrier : NULL;
    if (carrier != NULL && carrier->ended != NULL) {
        carrier->ended(client_actor_of(c), call);
    }
}

const struct http1_callbacks client_http1_callbacks = {
    .request = on_http1_request, .data = on_http1_data, .ended = on_http1_ended};

/* Its path, from where it was kept. */
static struct view stream_path(const struct http2_stream *s)
{
    struct view longer = http_fields_get(s->fields, ":path");
    return longer.size > 0 ? longer : view_of(s->path, s->path_size);
}

void web_http2_request(struct client_connection *c, struct http2_stream *s)
{
    struct view host = view_of_text(s->authority);
    if (host.size == 0) {
        host = http_fields_get(s->fields, "host");
    }
    const struct web_request request = {
        .connection = c,
        .stream = s,
        .method = s->method,
        .target = web_target_split(stream_path(s)),
        .fields = s->fields,
        .content_type = view_of_text(s->content_type),
        .body_size = s->ended ? 0 : HTTP1_LENGTH_UNKNOWN,
    };
    if (request.target.path.size + request.target.query.size >= HTTP1_TARGET_MAX) {
        struct web_answer answer = web_text(414, "414 URI Too Long\n");
        web_answer_request(&request, &answer);
        return;
    }
    take_request(client_actor_of(c), &request, host);
}

void web_http2_data(struct client_connection *c, struct http2_stream *s, struct view data)
{
    struct client_call *call = s->owner;
    struct web_carrier *carrier = !call->answered ? call->carrier : NULL;
    if (carrier != NULL && carrier->data != NULL) {
        carrier->data(client_actor_of(c), call, data);
    }
    http2_consume(s, data.size);
}

void web_http2_ended(struct client_connection *c, struct http2_stream *s)
{
    struct client_call *call = s->owner;
    struct web_carrier *carrier = !call->answered ? call->carrier : NULL;
    if (carrier != NULL && carrier->ended != NULL) {
        carrier->ended(client_actor_of(c), call);
    }
}

bool web_http2_origin_allowed(const struct client_connection *c, const struct http2_stream *s)
{
    return web_origin_allowed(&client_actor_of(c)->config, http_fields_get(s->fields, "origin"));
}

void web_connection_closed(struct client_connection *c)
{
    struct client_call *call = c->web_call;
    if (call != NULL) {
        c->web_call = NULL;
        call_close(client_actor_of(c), call);
    }
}
