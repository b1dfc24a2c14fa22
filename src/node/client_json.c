/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_json.c: etcd's JSON gateway: POST /v3/... with a JSON object is the call of an RPC, its answer a JSON
 * object, a stream's a line for each message (sheet §5.3). The RPC does not know: it gets and gives protobuf,
 * which api/json.h turns around.
 *
 * In: requests of the door. Out: call_admit, call_dispatch, call_half_close; answers by client_web.h.
 *
 * A stream's request objects are taken as they come; a unary one's body is collected and looked at when it is
 * complete, so that a second object in it is found before the first is carried out.
 *
 * Invariants
 *  1. Octets of a request are charged to the octets in flight before they are kept.
 */
#include "client_web.h"

#include "../api/web_routes.h"

#include <stdio.h>
#include <string.h>

#define JSON_BODY_SLACK                                                                            \
    (64 * 1024) /* names, braces and blanks beside a largest message in base64 */
#define STREAM_QUEUED_BYTES_MAX ((uint64_t)1 << 20) /* unread answers of one stream of requests */

struct json_carrier {
    struct web_carrier base;
    const struct web_route *route;
    size_t body_bytes_max;     /* of one request object */
    struct json_stream stream; /* of requests */
    struct buffer body;        /* of a unary request */
    uint64_t charged;
    bool begun; /* the answer's header is out */
    struct buffer message;
    struct buffer text;
};

/* ---- answers -------------------------------------------------------------------------------------- */

static struct web_answer json_answer(int status)
{
    struct web_answer answer = {.status = status, .content_type = WEB_JSON};
    web_add_header(&answer, "grpc-metadata-content-type", view_of_text("application/grpc"));
    return answer;
}

static bool is_stream(const struct client_call *call)
{
    return call->method->server_streams;
}

static void json_begin(struct client_actor *a, struct client_call *call)
{
    UNUSED(a);
    struct json_carrier *carrier = call->carrier;
    if (is_stream(call)) {
        struct web_answer answer = json_answer(200);
        carrier->begun = true;
        web_begin(call, &answer);
    }
}

static uint8_t *json_room(struct client_actor *a, struct client_call *call, size_t size)
{
    UNUSED(a);
    struct json_carrier *carrier = call->carrier;
    carrier->message.size = 0;
    return buffer_extend(&carrier->message, size);
}

static void json_push(struct client_actor *a, struct client_call *call)
{
    UNUSED(a);
    struct json_carrier *carrier = call->carrier;
    carrier->text.size = 0;
    if (is_stream(call)) {
        json_write_raw(&carrier->text, "{\"result\":");
    }
    /* our own messages are well formed, and a request that came as JSON cannot nest an answer too deep */
    enum err error =
        json_from_proto(carrier->route->response,
                        view_of(carrier->message.data, carrier->message.size), &carrier->text);
    ASSERT(error == OK);
    if (is_stream(call)) {
        json_write_raw(&carrier->text, "}\n");
        web_write(call, view_of(carrier->text.data, carrier->text.size));
    }
}

/* As text an answer takes room once more, and longer. */
static bool json_ready(struct client_actor *a, struct client_call *call)
{
    const struct json_carrier *carrier = call->carrier;
    return is_stream(call) || call_take_answer(a, call, carrier->text.size) || !call->may_withhold;
}

static void json_finish(struct client_actor *a, struct client_call *call)
{
    struct json_carrier *carrier = call->carrier;
    if (is_stream(call)) {
        call_begin(a, call);
        web_finish(a, call);
        return;
    }
    struct web_answer answer = json_answer(200);
    answer.body = view_of(carrier->text.data, carrier->text.size);
    web_answer_call(a, call, &answer);
}

static void json_fail(struct client_actor *a, struct client_call *call, struct rpc_error error)
{
    struct json_carrier *carrier = call->carrier;
    carrier->text.size = 0;
    if (carrier->begun) {
        web_stream_error(error.code, error.text, &carrier->text);
        web_write(call, view_of(carrier->text.data, carrier->text.size));
        web_finish(a, call);
        return;
    }
    struct web_answer answer = json_answer(web_status_of_code(error.code));
    web_error_body(error.code, error.text, &carrier->text);
    answer.body = view_of(carrier->text.data, carrier->text.size);
    struct view leader;
    if (call_leader_hint(a, error, &leader)) {
        web_add_header(&answer, RPC_LEADER_FIELD, leader);
    }
    web_answer_call(a, call, &answer);
}

static void carrier_free(struct json_carrier *carrier)
{
    json_stream_free(&carrier->stream);
    buffer_free(&carrier->body);
    buffer_free(&carrier->message);
    buffer_free(&carrier->text);
    mem_free(carrier);
}

static void json_release(struct client_call *call)
{
    carrier_free(call->carrier);
    call->carrier = NULL;
}

static const struct call_transport json_transport = {
    .begin = json_begin,
    .room = json_room,
    .push = json_push,
    .ready = json_ready,
    .finish = json_finish,
    .fail = json_fail,
    .want_drained = web_want_drained,
    .release = json_release,
};

/* ---- requests ------------------------------------------------------------------------------------- */

static void fail_request(struct client_actor *a, struct client_call *call, const char *problem)
{
    call_fail(a, call, (struct rpc_error){GRPC_INVALID_ARGUMENT, problem});
}

static void fail_size(struct client_actor *a, struct client_call *call)
{
    struct json_carrier *carrier = call->carrier;
    char text[96];
    (void)snprintf(text, sizeof text,
                   "grpc: received message larger than max (more than %zu octets of JSON)",
                   carrier->body_bytes_max);
    call_fail(a, call, (struct rpc_error){GRPC_RESOURCE_EXHAUSTED, text});
}

/* False: the call has failed. */
static bool fail_read(struct client_actor *a, struct client_call *call, enum json_read got)
{
    switch (got) {
    case JSON_READ_MORE:
    case JSON_READ_OBJECT:
        return true;
    case JSON_READ_BAD:
        fail_request(a, call, "the request is no JSON object");
        return false;
    case JSON_READ_TOO_DEEP:
        fail_request(a, call, "the request is nested too deep");
        return false;
    case JSON_READ_TOO_LARGE:
        break;
    }
    fail_size(a, call);
    return false;
}

/* False: the call may be gone. */
static bool dispatch(struct client_actor *a, struct client_call *call, struct view object)
{
    struct json_carrier *carrier = call->carrier;
    struct client_connection *c = call->connection;
    struct http2_stream *stream = call->stream;
    char problem[JSON_PROBLEM_MAX];
    struct buffer message = {0};
    if (json_to_proto(carrier->route->request, object, &message, problem) != OK) {
        buffer_free(&message);
        fail_request(a, call, problem);
        return false;
    }
    call_dispatch(a, call, view_of(message.data, message.size));
    buffer_free(&message);
    return (stream != NULL || c->web_call == call) && !call->answered;
}

static bool charge(struct client_actor *a, struct client_call *call, uint64_t bytes)
{
    struct json_carrier *carrier = call->carrier;
    if (!call_take_bytes(a, call, bytes)) {
        call_fail_with(a, call, ERR_OVERLOAD);
        return false;
    }
    carrier->charged += bytes;
    return true;
}

static void unary_data(struct client_actor *a, struct client_call *call, struct view piece)
{
    struct json_carrier *carrier = call->carrier;
    if (carrier->body.size + piece.size > carrier->body_bytes_max) {
        fail_size(a, call);
    } else if (charge(a, call, piece.size)) {
        buffer_append(&carrier->body, piece.data, piece.size);
    }
}

static void unary_ended(struct client_actor *a, struct client_call *call)
{
    struct json_carrier *carrier = call->carrier;
    struct view rest = view_of(carrier->body.data, carrier->body.size);
    struct view object;
    enum json_read got = json_stream_next(&carrier->stream, &rest, &object);
    if (!fail_read(a, call, got)) {
        return;
    }
    if (got == JSON_READ_MORE && json_stream_is_partial(&carrier->stream)) {
        fail_request(a, call, "the request ends in the middle of a JSON object");
        return;
    }
    if (got == JSON_READ_MORE) { /* no body is an empty request */
        (void)dispatch(a, call, view_of_text("{}"));
        return;
    }
    struct json_stream behind = {.size_max = 1};
    struct view next;
    struct view left = rest;
    bool alone = json_stream_next(&behind, &left, &next) == JSON_READ_MORE &&
                 !json_stream_is_partial(&behind);
    json_stream_free(&behind);
    if (!alone) {
        fail_request(a, call, "something stands behind the JSON object of the request");
        return;
    }
    (void)dispatch(a, call, object);
}

static void stream_data(struct client_actor *a, struct client_call *call, struct view piece)
{
    struct json_carrier *carrier = call->carrier;
    if (web_queued_bytes(call) > STREAM_QUEUED_BYTES_MAX) {
        call_fail_with(a, call, ERR_OVERLOAD); /* it asks and asks and reads no answers */
        return;
    }
    if (!charge(a, call, piece.size)) {
        return;
    }
    for (;;) {
        struct view object;
        enum json_read got = json_stream_next(&carrier->stream, &piece, &object);
        if (!fail_read(a, call, got)) {
            return;
        }
        if (got == JSON_READ_MORE) {
            break;
        }
        if (!dispatch(a, call, object)) {
            return;
        }
    }
    if (!json_stream_is_partial(&carrier->stream)) { /* nothing is kept */
        call_give_bytes(a, call, carrier->charged);
        carrier->charged = 0;
    }
}

static void stream_ended(struct client_actor *a, struct client_call *call)
{
    struct json_carrier *carrier = call->carrier;
    if (json_stream_is_partial(&carrier->stream)) {
        fail_request(a, call, "the request ends in the middle of a JSON object");
        return;
    }
    call_half_close(a, call);
}

/* ---- the door ------------------------------------------------------------------------------------- */

static void refuse(const struct web_request *request, struct rpc_error error)
{
    struct buffer body = {0};
    struct web_answer answer = json_answer(web_status_of_code(error.code));
    web_error_body(error.code, error.text, &body);
    answer.body = view_of(body.data, body.size);
    web_answer_request(request, &answer);
    buffer_free(&body);
}

/* A client's own deadline; false: it cannot be read. */
static bool find_timeout(const struct web_request *request, uint64_t *timeout_us)
{
    char text[16];
    struct view value = http_fields_get(request->fields, "grpc-timeout");
    if (value.size == 0) {
        return true;
    }
    if (value.size >= sizeof text) {
        return false;
    }
    memcpy(text, value.data, value.size);
    text[value.size] = 0;
    return grpc_timeout_parse(text, timeout_us) == OK;
}

static void start(struct client_actor *a, const struct web_request *request,
                  const struct web_route *route)
{
    bool known = false;
    const struct method *method = method_find(view_of_text(route->rpc), &known);
    struct call_request what = {
        .transport = &json_transport,
        .ops = route->request != NULL ? ops_of_method(method->kind) : NULL,
        .method = method,
        .timeout_us = UINT64_MAX,
        .has_leader = view_equal(http_fields_get(request->fields, "grpc-metadata-hasleader"),
                                 view_of_text("true")),
    };
    if (!find_timeout(request, &what.timeout_us)) {
        refuse(request, (struct rpc_error){GRPC_INVALID_ARGUMENT, "malformed grpc-timeout"});
        return;
    }
    struct json_carrier *carrier = mem_zalloc(sizeof *carrier);
    struct rpc_error error;
    carrier->route = route;
    carrier->body_bytes_max = a->message_max / 3 * 4 + JSON_BODY_SLACK;
    carrier->stream.size_max = carrier->body_bytes_max;
    carrier->base.data = method->client_streams ? stream_data : unary_data;
    carrier->base.ended = method->client_streams ? stream_ended : unary_ended;
    if (web_admit(a, request, &what, &carrier->base, &error) == NULL) {
        carrier_free(carrier);
        refuse(request, error);
        return;
    }
    if (method->client_streams && request->stream == NULL) {
        http1_body_is_stream(request->connection->http1);
    }
}

bool json_door(struct client_actor *a, const struct web_request *request)
{
    struct view path = request->target.path;
    if (!web_route_take_version(&path)) {
        return false;
    }
    const struct web_route *route = web_route_find(path);
    if (route == NULL) {
        struct web_answer answer = web_not_found();
        web_answer_request(request, &answer);
    } else if (!web_method_is(request, "POST")) {
        struct web_answer answer = web_not_allowed("POST");
        web_answer_request(request, &answer);
    } else {
        start(a, request, route);
    }
    return true;
}
