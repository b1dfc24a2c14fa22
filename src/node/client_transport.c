/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_transport.c: gRPC calls over HTTP/2: a stream's header becomes a call, its octets become
 * messages, and a call's answer becomes frames.
 *
 * In: HTTP/2's callbacks. Out: call_admit, call_dispatch, call_half_close, call_close; frames.
 * Not here: what a method means, and what on HTTP/2 is not gRPC (client_web.c).
 *
 * Invariants
 *  1. A call lives as long as its stream: finish and fail do not free it, `closed` does.
 *  2. Octets of a stream whose answers nobody reads are taken up to the stream's window and no
 *     further: the window is opened again when its answers have drained.
 */
#include "client_actor.h"

#include <stdio.h>
#include <string.h>

#define STREAM_QUEUED_BYTES_MAX (256 * 1024) /* of answers; beyond it requests of the stream wait */

static const struct http2_header status_200 = {
    .name = ":status", .value = {(const uint8_t *)"200", 3}, .lasting = true};

/* ---- answers -------------------------------------------------------------------------------------- */

/* A gRPC error without a message before it: one header frame says everything. */
static void refuse_stream(struct http2_stream *s, struct view content_type, struct rpc_error error,
                          const struct view *leader)
{
    char text[GRPC_MESSAGE_MAX];
    size_t size = grpc_message_encode(error.text, text);
    struct http2_header headers[] = {
        status_200,
        {.name = "content-type", .value = content_type, .lasting = true},
        {.name = "grpc-status",
         .value = view_of_text(grpc_code_text((enum grpc_code)error.code)),
         .lasting = true},
        {.name = "grpc-message", .value = view_of(text, size)},
        /* the last: left out if there is nobody to be named */
        {.name = RPC_LEADER_FIELD},
    };
    size_t count = ARRAY_COUNT(headers) - 1;
    if (leader != NULL) {
        headers[count++].value = *leader;
    }
    http2_respond(s, headers, count, true);
}

static void grpc_begin(struct client_actor *a, struct client_call *call)
{
    UNUSED(a);
    const struct http2_header headers[] = {
        status_200,
        {.name = "content-type", .value = call->content_type, .lasting = true},
    };
    http2_respond(call->stream, headers, ARRAY_COUNT(headers), false);
    connection_touch(call->connection);
}

static uint8_t *grpc_room(struct client_actor *a, struct client_call *call, size_t size)
{
    UNUSED(a);
    ASSERT(call->chunk == NULL);
    call->chunk = http2_chunk_create(GRPC_PREFIX_BYTES + size);
    grpc_prefix_write(call->chunk->data, size);
    return call->chunk->data + GRPC_PREFIX_BYTES;
}

static void grpc_push(struct client_actor *a, struct client_call *call)
{
    UNUSED(a);
    http2_write(call->stream, &call->chunk);
    connection_touch(call->connection);
}

static void grpc_finish(struct client_actor *a, struct client_call *call)
{
    call_begin(a, call);
    http2_finish(call->stream, grpc_code_text(GRPC_OK), (struct view){0});
    connection_touch(call->connection);
}

static void grpc_fail(struct client_actor *a, struct client_call *call, struct rpc_error error)
{
    if (call->begun) {
        char text[GRPC_MESSAGE_MAX];
        size_t size = grpc_message_encode(error.text, text);
        http2_finish(call->stream, grpc_code_text((enum grpc_code)error.code), view_of(text, size));
    } else {
        struct view leader;
        bool named = call_leader_hint(a, error, &leader);
        refuse_stream(call->stream, call->content_type, error, named ? &leader : NULL);
    }
    connection_touch(call->connection);
}

/* Two may wait for a stream to drain: its ops, and its own window. */
static void arm_drained(struct client_call *call)
{
    size_t mark = 0;
    if (call->drain_wanted) {
        mark = (size_t)call->drain_mark;
    }
    if (call->unread > 0 && mark < STREAM_QUEUED_BYTES_MAX) {
        mark = STREAM_QUEUED_BYTES_MAX;
    }
    if (call->drain_wanted || call->unread > 0) {
        http2_want_drained(call->stream, mark);
        connection_touch(call->connection);
    }
}

static void grpc_want_drained(struct client_actor *a, struct client_call *call, uint64_t mark)
{
    UNUSED(a);
    UNUSED(mark); /* it lies in the call */
    arm_drained(call);
}

const struct call_transport grpc_transport = {
    .begin = grpc_begin,
    .room = grpc_room,
    .push = grpc_push,
    .finish = grpc_finish,
    .fail = grpc_fail,
    .want_drained = grpc_want_drained,
};

/* ---- requests ------------------------------------------------------------------------------------- */

static void refuse_now(struct client_connection *c, struct http2_stream *s,
                       struct view content_type, struct rpc_error error)
{
    refuse_stream(s, content_type, error, NULL);
    connection_touch(c);
}

/* A header of which only the beginning was looked at. */
static void refuse_header(struct client_connection *c, struct http2_stream *s)
{
    struct view content_type;
    if (grpc_content_type(s->content_type, &content_type)) {
        refuse_now(c, s, content_type, rpc_error_large_header);
        return;
    }
    const struct http2_header headers[] = {
        {.name = ":status", .value = view_of_text("431"), .lasting = true}};
    http2_respond(s, headers, ARRAY_COUNT(headers), true);
    connection_touch(c);
}

/* Milliseconds, up to eleven digits: three years. */
static bool parse_staleness(const char *text, uint64_t *out_us)
{
    uint64_t ms = 0;
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        ms = ms * 10 + (uint64_t)(text[i] - '0');
    }
    *out_us = ms * 1000;
    return size > 0 && size <= 11;
}

static void on_request(void *context, struct http2_stream *s)
{
    struct client_connection *c = context;
    struct client_actor *a = client_actor_of(c);
    struct view content_type;
    struct call_request request = {.transport = &grpc_transport, .timeout_us = UINT64_MAX};

    if (s->too_large) {
        refuse_header(c, s);
        return;
    }
    if (!grpc_content_type(s->content_type, &content_type)) {
        web_http2_request(c, s);
        return;
    }
    if (s->fields != NULL && !web_http2_origin_allowed(c, s)) {
        refuse_now(c, s, content_type,
                   (struct rpc_error){GRPC_PERMISSION_DENIED,
                                      "holdfast: requests from this web page are not allowed"});
        return;
    }
    if (s->grpc_timeout[0] != 0 && grpc_timeout_parse(s->grpc_timeout, &request.timeout_us) != OK) {
        http2_reset(s, HTTP2_PROTOCOL_ERROR);
        connection_touch(c);
        return;
    }
    if (s->max_staleness_ms[0] != 0 &&
        !parse_staleness(s->max_staleness_ms, &request.max_staleness_us)) {
        refuse_now(c, s, content_type,
                   (struct rpc_error){GRPC_INVALID_ARGUMENT,
                                      "holdfast: max-staleness-ms is no number of milliseconds"});
        return;
    }
    bool known_service = false;
    request.method = s->cut ? NULL : method_find(view_of(s->path, s->path_size), &known_service);
    if (request.method == NULL) {
        char text[HTTP2_PATH_MAX + 64];
        grpc_unknown_text(s->path, known_service, text, sizeof text);
        refuse_now(c, s, content_type, (struct rpc_error){GRPC_UNIMPLEMENTED, text});
        return;
    }
    if (s->grpc_encoding[0] != 0 && strcmp(s->grpc_encoding, "identity") != 0) {
        char text[HTTP2_FIELD_MAX + 80];
        (void)snprintf(text, sizeof text,
                       "grpc: Decompressor is not installed for grpc-encoding \"%s\"",
                       s->grpc_encoding);
        refuse_now(c, s, content_type, (struct rpc_error){GRPC_UNIMPLEMENTED, text});
        return;
    }
    request.ops = ops_of_method(request.method->kind);
    request.has_leader = s->has_leader;
    struct rpc_error error;
    struct client_call *call = call_admit(a, c, &request, &error);
    if (call == NULL) {
        refuse_now(c, s, content_type, error);
        return;
    }
    call->stream = s;
    call->content_type = content_type;
    s->owner = call;
}

/* What the gRPC framework itself refuses about a message's prefix. */
static void refuse_message(struct client_actor *a, struct client_call *call, enum grpc_read problem)
{
    char text[128];
    struct rpc_error error = {.code = GRPC_INTERNAL, .text = text};
    if (problem == GRPC_READ_COMPRESSED) {
        error.text = "grpc: compressed flag set with identity or empty encoding";
    } else if (problem == GRPC_READ_FORMAT) {
        (void)snprintf(text, sizeof text, "grpc: received unexpected payload format %u",
                       (unsigned)call->reader.prefix[0]);
    } else {
        error.code = GRPC_RESOURCE_EXHAUSTED;
        (void)snprintf(text, sizeof text, "grpc: received message larger than max (%u vs. %zu)",
                       (unsigned)call->reader.size, a->message_max);
    }
    call_fail(a, call, error);
}

static void on_data(void *context, struct http2_stream *s, struct view data)
{
    struct client_connection *c = context;
    struct client_actor *a = client_actor_of(c);
    struct client_call *call = s->owner;
    size_t size = data.size;

    if (call->transport != &grpc_transport) {
        web_http2_data(c, s, data);
        return;
    }
    while (!call->answered && !call->dispatched) {
        struct view message;
        enum grpc_read got = grpc_reader_next(&call->reader, &data, &message);
        if (got == GRPC_READ_MORE) {
            break;
        }
        if (got == GRPC_READ_MESSAGE) {
            size_t charged = call->reader.size;
            call_dispatch(a, call, message);
            if (call->method->client_streams) {
                call_give_bytes(a, call, charged); /* the next one is charged for itself */
            }
        } else if (got == GRPC_READ_SIZE && call->reader.size <= a->message_max) {
            if (call_take_bytes(a, call, call->reader.size)) {
                grpc_reader_admit(&call->reader);
            } else {
                call_fail_with(a, call, ERR_OVERLOAD);
            }
        } else {
            refuse_message(a, call, got);
        }
    }
    if (call->lasting && !call->answered) {
        call_partial(a, call, !grpc_reader_is_empty(&call->reader));
    }
    if (call->lasting && !call->answered && s->queued_bytes > STREAM_QUEUED_BYTES_MAX) {
        call->unread += size;
        arm_drained(call);
    } else {
        http2_consume(s, size);
    }
}

static void on_ended(void *context, struct http2_stream *s)
{
    struct client_connection *c = context;
    struct client_actor *a = client_actor_of(c);
    struct client_call *call = s->owner;
    if (call->transport != &grpc_transport) {
        web_http2_ended(c, s);
        return;
    }
    if (call->answered) {
        return;
    }
    if (!grpc_reader_is_empty(&call->reader)) {
        call_fail(a, call, rpc_error_cut_message);
    } else if (call->method->client_streams) {
        call_half_close(a, call);
    } else if (!call->dispatched) {
        call_fail(a, call, rpc_error_no_message);
    }
}

static void on_drained(void *context, struct http2_stream *s)
{
    struct client_connection *c = context;
    struct client_call *call = s->owner;
    if (call->unread > 0 && s->queued_bytes <= STREAM_QUEUED_BYTES_MAX) {
        http2_consume(s, call->unread);
        call->unread = 0;
    }
    if (call->drain_wanted && s->queued_bytes <= call->drain_mark) {
        call_drained(client_actor_of(c), call);
    }
    arm_drained(call);
}

static void on_closed(void *context, struct http2_stream *s)
{
    struct client_connection *c = context;
    struct client_call *call = s->owner;
    s->owner = NULL;
    call_close(client_actor_of(c), call);
}

const struct http2_callbacks client_http2_callbacks = {.request = on_request,
                                                       .data = on_data,
                                                       .ended = on_ended,
                                                       .drained = on_drained,
                                                       .closed = on_closed};
