/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_rest.c: /kv/...: the store as files. A request becomes one step (a read, a write, or a transaction
 * when it has conditions) and its result an answer of octets or JSON (api/web_rest.h).
 *
 * A stored value is whatever somebody stored, and a browser must not run it: its type is octets unless the
 * request asks for text or JSON, `nosniff` forbids guessing, and the policy puts it into a sandbox with
 * nothing allowed.
 *
 * Invariants
 *  1. Octets of a body are charged to the octets in flight before they are kept, and bounded by the size of
 *     a request.
 */
#include "client_web.h"

#include "../api/web_rest.h"
#include "../api/web_routes.h"

#include <stdio.h>

#define REST_METHODS "GET, HEAD, PUT, DELETE"
#define NUMBER_MAX   24

struct rest_carrier {
    struct web_carrier base;
    struct rest_request request;
    struct buffer body;
};

/* ---- answers -------------------------------------------------------------------------------------- */

/* Numbers of an answer's header live here until it is sent. */
struct numbers {
    char text[6][NUMBER_MAX + 2];
    size_t count;
};

static void add_number(struct web_answer *answer, struct numbers *numbers, const char *name,
                       int64_t number, bool quoted)
{
    ASSERT(numbers->count < ARRAY_COUNT(numbers->text));
    char *text = numbers->text[numbers->count++];
    (void)snprintf(text, sizeof numbers->text[0], quoted ? "\"%" PRId64 "\"" : "%" PRId64, number);
    web_add_header(answer, name, view_of_text(text));
}

static void add_pair(struct web_answer *answer, struct numbers *numbers, const struct key_value *kv)
{
    add_number(answer, numbers, "etag", kv->mod_revision, true);
    add_number(answer, numbers, "x-holdfast-create-revision", kv->create_revision, false);
    add_number(answer, numbers, "x-holdfast-version", kv->version, false);
    if (kv->lease != 0) {
        add_number(answer, numbers, "x-holdfast-lease", kv->lease, false);
    }
}

static void answer_text(struct client_actor *a, struct client_call *call, int status,
                        const char *text)
{
    char line[REST_PROBLEM_MAX + 8];
    (void)snprintf(line, sizeof line, "%s\n", text);
    struct web_answer answer = web_text(status, line);
    call_end(a, call);
    web_answer_call(a, call, &answer);
}

static void rest_fail(struct client_actor *a, struct client_call *call, struct rpc_error error)
{
    char line[REST_PROBLEM_MAX + 8];
    (void)snprintf(line, sizeof line, "%s\n", error.text);
    struct web_answer answer = web_text(web_status_of_code(error.code), line);
    struct view leader;
    if (call_leader_hint(a, error, &leader)) {
        web_add_header(&answer, RPC_LEADER_FIELD, leader);
    }
    web_answer_call(a, call, &answer);
}

/* HTTP has better words for some errors than gRPC's codes. */
static int status_of(enum err error)
{
    if (error == ERR_TOO_LARGE) {
        return 413;
    }
    return error == ERR_COMPACTED ? 410 : web_status_of_code(rpc_error_of(error).code);
}

static void rest_refused(struct client_actor *a, struct client_call *call, enum err error)
{
    if (rpc_error_names_leader(rpc_error_of(error))) {
        call_fail_with(a, call, error);
        return;
    }
    answer_text(a, call, status_of(error), rpc_error_of(error).text);
}

static void answer_value(struct client_actor *a, struct client_call *call,
                         const struct result *result)
{
    const struct rest_carrier *carrier = call->carrier;
    const struct key_value *kv = result->kv_count > 0 ? &result->kvs[0] : NULL;
    if (kv != NULL && !call_take_answer(a, call, kv->value.size)) {
        call_fail_with(a, call, ERR_OVERLOAD);
        return;
    }
    int status = rest_conditions(&carrier->request, kv);
    struct numbers numbers = {0};
    struct web_answer answer = {.status = 200, .content_type = carrier->request.content_type};
    if (status == 412) {
        answer = web_text(412, "the condition does not hold\n");
    } else if (kv == NULL) {
        answer = web_text(404, "key not found\n");
    } else if (status == 304) {
        answer = (struct web_answer){.status = 304};
    } else {
        answer.body = kv->value;
        web_add_header(&answer, "content-security-policy", view_of_text(WEB_SANDBOX));
    }
    if (kv != NULL) {
        add_pair(&answer, &numbers, kv);
        web_add_header(&answer, "cache-control", view_of_text("no-cache"));
    }
    add_number(&answer, &numbers, "x-holdfast-revision", result->revision, false);
    call_end(a, call);
    web_answer_call(a, call, &answer);
}

static void answer_list(struct client_actor *a, struct client_call *call,
                        const struct result *result)
{
    const struct rest_carrier *carrier = call->carrier;
    struct numbers numbers = {0};
    struct buffer text = {0};
    rest_write_list(result, carrier->request.keys_only, &text);
    if (!call_take_answer(a, call, text.size)) {
        buffer_free(&text);
        call_fail_with(a, call, ERR_OVERLOAD);
        return;
    }
    struct web_answer answer = {
        .status = 200, .content_type = WEB_JSON, .body = view_of(text.data, text.size)};
    add_number(&answer, &numbers, "x-holdfast-revision", result->revision, false);
    add_number(&answer, &numbers, "x-holdfast-count", result->count, false);
    if (result->more) {
        web_add_header(&answer, "x-holdfast-more", view_of_text("true"));
    }
    call_end(a, call);
    web_answer_call(a, call, &answer);
    buffer_free(&text);
}

static void answer_write(struct client_actor *a, struct client_call *call, int64_t revision,
                         int64_t deleted)
{
    const struct rest_carrier *carrier = call->carrier;
    bool is_put = carrier->request.verb == REST_PUT;
    char body[80];
    struct numbers numbers = {0};
    struct web_answer answer = {.status = 200, .content_type = WEB_JSON};
    if (!is_put && deleted == 0 && !carrier->request.prefix) {
        answer = web_text(404, "key not found\n");
    } else {
        int size = is_put ? snprintf(body, sizeof body, "{\"revision\":%" PRId64 "}\n", revision)
                          : snprintf(body, sizeof body,
                                     "{\"revision\":%" PRId64 ",\"deleted\":%" PRId64 "}\n",
                                     revision, deleted);
        answer.body = view_of(body, (size_t)size);
    }
    if (is_put) {
        add_number(&answer, &numbers, "etag", revision, true);
    } else {
        add_number(&answer, &numbers, "x-holdfast-deleted", deleted, false);
    }
    add_number(&answer, &numbers, "x-holdfast-revision", revision, false);
    call_end(a, call);
    web_answer_call(a, call, &answer);
}

/* A write with conditions. */
static void answer_condition(struct client_actor *a, struct client_call *call,
                             const struct result *result)
{
    ASSERT(result->response_count == 1);
    const struct result *inner = result->responses[0].result;
    if (result->succeeded) {
        answer_write(a, call, result->revision, inner->count);
        return;
    }
    struct numbers numbers = {0};
    struct web_answer answer = web_text(412, "the condition does not hold\n");
    if (inner->kv_count > 0) {
        add_pair(&answer, &numbers, &inner->kvs[0]);
    }
    add_number(&answer, &numbers, "x-holdfast-revision", result->revision, false);
    call_end(a, call);
    web_answer_call(a, call, &answer);
}

static bool has_conditions(const struct rest_request *r)
{
    return r->if_match.given || r->if_none_match.given;
}

static void rest_reply(struct client_actor *a, struct client_call *call,
                       const struct result *result)
{
    const struct rest_carrier *carrier = call->carrier;
    const struct rest_request *r = &carrier->request;
    if (r->verb == REST_GET && !r->prefix) {
        answer_value(a, call, result);
    } else if (r->verb == REST_GET) {
        answer_list(a, call, result);
    } else if (has_conditions(r)) {
        answer_condition(a, call, result);
    } else {
        answer_write(a, call, result->revision, result->count);
    }
}

/* ---- requests ------------------------------------------------------------------------------------- */

static void carrier_free(struct rest_carrier *carrier)
{
    rest_request_free(&carrier->request);
    buffer_free(&carrier->body);
    mem_free(carrier);
}

static void rest_release(struct client_call *call)
{
    carrier_free(call->carrier);
    call->carrier = NULL;
}

static const struct call_ops rest_ops = {.reply = rest_reply, .refused = rest_refused};
static const struct call_transport rest_transport = {.fail = rest_fail, .release = rest_release};

static void propose(struct client_actor *a, struct client_call *call)
{
    struct rest_carrier *carrier = call->carrier;
    const struct rest_request *r = &carrier->request;
    struct view value = view_of(carrier->body.data, carrier->body.size);
    struct buffer body = {0};
    struct command command = {.key = view_of(r->key.data, r->key.size)};
    if (has_conditions(r)) {
        command.op = COMMAND_TXN;
        rest_write_body(r, value, &body);
        command.body = view_of(body.data, body.size);
    } else if (r->verb == REST_PUT) {
        command.op = COMMAND_PUT;
        command.lease = r->lease;
        command.value = value;
    } else {
        command.op = COMMAND_DELETE_RANGE;
        command.range_end = view_of(r->range_end.data, r->range_end.size);
    }
    if (command_size(&command) > a->config.request_bytes_max) {
        rest_refused(a, call, ERR_TOO_LARGE);
    } else {
        call_propose(a, call, &command);
    }
    buffer_free(&body);
}

static void put_data(struct client_actor *a, struct client_call *call, struct view piece)
{
    struct rest_carrier *carrier = call->carrier;
    if (carrier->body.size + piece.size > a->config.request_bytes_max) {
        rest_refused(a, call, ERR_TOO_LARGE);
    } else if (!call_take_bytes(a, call, piece.size)) {
        call_fail_with(a, call, ERR_OVERLOAD);
    } else {
        buffer_append(&carrier->body, piece.data, piece.size);
    }
}

static void read_now(struct client_actor *a, struct client_call *call)
{
    const struct rest_carrier *carrier = call->carrier;
    const struct rest_request *r = &carrier->request;
    struct query query = {.key = view_of(r->key.data, r->key.size),
                          .range_end = view_of(r->range_end.data, r->range_end.size),
                          .limit = r->limit,
                          .revision = r->revision,
                          .keys_only = r->keys_only && r->prefix,
                          .serializable = r->serializable};
    call->max_staleness_us = (uint64_t)r->max_staleness_ms * 1000;
    call_query(a, call, &query);
}

/* All fields of this name as one list. */
static void join_fields(const struct http_fields *fields, const char *name, struct buffer *out)
{
    size_t at = 0;
    struct view value;
    while (http_fields_next(fields, name, &at, &value)) {
        buffer_append(out, ",", out->size > 0 ? 1 : 0);
        if (value.size > 0) {
            buffer_append(out, value.data, value.size);
        }
    }
}

static void refuse(const struct web_request *request, int status, const char *text)
{
    char line[REST_PROBLEM_MAX + 8];
    (void)snprintf(line, sizeof line, "%s\n", text);
    struct web_answer answer = web_text(status, line);
    if (status == 405) {
        web_add_header(&answer, "allow", view_of_text(REST_METHODS));
    }
    web_answer_request(request, &answer);
}

static void start(struct client_actor *a, const struct web_request *request,
                  struct rest_carrier **moved)
{
    const struct call_request what = {
        .transport = &rest_transport, .ops = &rest_ops, .timeout_us = UINT64_MAX};
    struct rest_carrier *carrier = *moved;
    struct rpc_error error;
    if (carrier->request.verb == REST_PUT) {
        if (request->body_size != HTTP1_LENGTH_UNKNOWN &&
            request->body_size > a->config.request_bytes_max) {
            refuse(request, 413, rpc_error_of(ERR_TOO_LARGE).text);
            return;
        }
        carrier->base.data = put_data;
        carrier->base.ended = propose;
    }
    struct client_call *call = web_admit(a, request, &what, &carrier->base, &error);
    if (call == NULL) {
        refuse(request, web_status_of_code(error.code), error.text);
        return;
    }
    *moved = NULL;
    if (carrier->request.verb == REST_GET) {
        read_now(a, call);
    } else if (carrier->request.verb == REST_DELETE) {
        propose(a, call);
    }
}

bool rest_door(struct client_actor *a, const struct web_request *request)
{
    struct view key = request->target.path;
    char problem[REST_PROBLEM_MAX];
    if (!web_path_take(&key, "/kv/")) {
        return false;
    }
    struct buffer match = {0};
    struct buffer none_match = {0};
    struct rest_carrier *carrier = mem_zalloc(sizeof *carrier);
    join_fields(request->fields, "if-match", &match);
    join_fields(request->fields, "if-none-match", &none_match);
    int status =
        rest_parse(request->method, key, request->target.query, view_of(match.data, match.size),
                   view_of(none_match.data, none_match.size), &carrier->request, problem);
    buffer_free(&match);
    buffer_free(&none_match);
    if (status != 0) {
        refuse(request, status, problem);
    } else if (carrier->request.wait) {
        events_wait(a, request, &carrier->request);
        carrier->request = (struct rest_request){0};
    } else {
        start(a, request, &carrier);
    }
    if (carrier != NULL) {
        carrier_free(carrier);
    }
    return true;
}
