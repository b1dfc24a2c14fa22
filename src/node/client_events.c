/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_events.c: changes as they happen, over plain HTTP: GET /watch/KEY is a stream of server-sent events
 * (the EventSource of a browser), GET /kv/KEY?wait an answer that comes when something has changed.
 *
 * In: requests of the door, ops->watch. Out: one watch per call (client_watch.h); events as text.
 *
 * A stream's `id:` is a revision, and stands only at the last event of it, so that a client that reconnects
 * with Last-Event-ID gets each revision whole or not at all yet: what came of a revision before the
 * connection broke in the middle of it comes again. The first `id:` comes with the beginning, before any event:
 * a client that lost its connection before the first change misses nothing either.
 *
 * Invariants
 *  1. What is queued for a client that does not read is bounded by the watch actor's credit: every
 *     response is acknowledged when its octets have gone (call_watch_sent).
 */
#include "client_watch.h"
#include "client_web.h"

#include "../api/rpc_watch.h"
#include "../api/web_rest.h"
#include "../api/web_routes.h"

#include <stdio.h>

#define KEEPALIVE_US                                                                               \
    UINT64_C(15000000) /* a comment in a silent stream, for proxies and half-open sockets */
#define NUMBER_MAX 24

struct events_carrier {
    struct web_carrier base;
    struct rest_request request;
    struct call_watches watches;
    bool begun;
    struct buffer text;
};

static struct events_carrier *carrier_of(const struct client_call *call)
{
    return call->carrier;
}

static void events_release(struct client_call *call)
{
    struct events_carrier *carrier = call->carrier;
    rest_request_free(&carrier->request);
    buffer_free(&carrier->text);
    mem_free(carrier);
    call->carrier = NULL;
}

static void events_closed(struct client_actor *a, struct client_call *call)
{
    if (call->carrier != NULL) { /* NULL: it was not even admitted */
        call_watch_close(a, &carrier_of(call)->watches);
    }
}

static void events_drained(struct client_actor *a, struct client_call *call)
{
    call_watch_drained(a, call, &carrier_of(call)->watches);
}

static void answer_text(struct client_actor *a, struct client_call *call, int status,
                        const char *text)
{
    char line[REST_PROBLEM_MAX];
    (void)snprintf(line, sizeof line, "%s\n", text);
    struct web_answer answer = web_text(status, line);
    web_answer_call(a, call, &answer);
}

/* ---- server-sent events ----------------------------------------------------------------------------- */

static void write_id(struct buffer *out, int64_t revision)
{
    json_write_raw(out, "id: ");
    json_write_i64(out, revision);
    json_write_raw(out, "\n");
}

static void write_events(const struct watch_batch *batch, const struct watch_response *response,
                         struct buffer *out)
{
    const uint32_t *refs = batch->refs + response->ref_first;
    for (size_t i = 0; i < response->ref_count; i++) {
        const struct event *event = &batch->events.items[refs[i]];
        struct key_value pair = event_pair(&batch->events, refs[i]);
        bool last = i + 1 == response->ref_count ||
                    change_revision(batch->events.items[refs[i + 1]].change) !=
                        change_revision(event->change);
        json_write_raw(out, event->deleted ? "event: delete\n" : "event: put\n");
        if (last) {
            write_id(out, change_revision(event->change));
        }
        json_write_raw(out, "data: ");
        rest_write_event(&pair, event->deleted, out);
        json_write_raw(out, "\n\n");
    }
}

/* Send what was written since; its octets. */
static size_t send_text(struct client_call *call)
{
    struct events_carrier *carrier = carrier_of(call);
    size_t size = carrier->text.size;
    web_write(call, view_of(carrier->text.data, size));
    carrier->text.size = 0;
    return size;
}

static void stream_begin(struct client_actor *a, struct client_call *call,
                         const struct watch_response *response)
{
    struct events_carrier *carrier = carrier_of(call);
    struct web_answer answer = {.status = 200, .content_type = "text/event-stream"};
    web_add_header(&answer, "cache-control", view_of_text("no-store"));
    carrier->begun = true;
    web_begin(call, &answer);
    json_write_raw(&carrier->text, "retry: 1000\n");
    if (carrier->request.revision > 0) {
        write_id(&carrier->text, carrier->request.revision - 1);
    } else if (response->revision > 0) {
        write_id(&carrier->text, response->revision);
    }
    json_write_raw(&carrier->text, "\n");
    (void)send_text(call);
    call_set_timer(a, call, a->now_us + KEEPALIVE_US);
}

/* The watch has ended on the server's side: say why, and end the stream. */
static void stream_canceled(struct client_actor *a, struct client_call *call,
                            const struct watch_response *response)
{
    struct events_carrier *carrier = carrier_of(call);
    if (response->compact_revision > 0) {
        /* the browser comes again and goes on behind the gap, of which it has been told */
        json_write_raw(&carrier->text, "event: compacted\n");
        write_id(&carrier->text, response->compact_revision - 1);
        json_write_raw(&carrier->text, "data: {\"compact_revision\":");
        json_write_i64(&carrier->text, response->compact_revision);
    } else {
        json_write_raw(&carrier->text, "event: canceled\ndata: {\"reason\":");
        json_write_string(
            &carrier->text,
            view_of_text(response->cancel_reason != NULL ? response->cancel_reason : ""));
    }
    json_write_raw(&carrier->text, "}\n\n");
    (void)send_text(call);
    call_finish(a, call);
}

static void stream_watch(struct client_actor *a, struct client_call *call,
                         const struct client_watch *m, const struct watch_response *response)
{
    struct events_carrier *carrier = carrier_of(call);
    if (!call_watch_taken(&carrier->watches, response)) {
        return;
    }
    switch (response->kind) {
    case WATCH_RESPONSE_CREATED:
        stream_begin(a, call, response);
        break;
    case WATCH_RESPONSE_EVENTS:
        write_events(m->batch, response, &carrier->text);
        call_watch_sent(a, call, &carrier->watches, response, send_text(call));
        call_set_timer(a, call, a->now_us + KEEPALIVE_US);
        break;
    case WATCH_RESPONSE_REFUSED:
        call_end(a, call);
        answer_text(a, call, 503, response->cancel_reason);
        break;
    case WATCH_RESPONSE_CANCELED:
        stream_canceled(a, call, response);
        break;
    case WATCH_RESPONSE_PROGRESS:
    case WATCH_RESPONSE_TAKEN:
        call_watch_done(a, &carrier->watches, response);
        break;
    }
}

static void stream_timer(struct client_actor *a, struct client_call *call)
{
    struct events_carrier *carrier = carrier_of(call);
    if (carrier->begun && web_queued_bytes(call) == 0) {
        web_write(call, view_of_text(": still here\n\n"));
    }
    call_set_timer(a, call, a->now_us + KEEPALIVE_US);
}

static void stream_finish(struct client_actor *a, struct client_call *call)
{
    web_finish(a, call);
}

static void stream_fail(struct client_actor *a, struct client_call *call, struct rpc_error error)
{
    struct events_carrier *carrier = carrier_of(call);
    if (!carrier->begun) {
        answer_text(a, call, web_status_of_code(error.code), error.text);
        return;
    }
    json_write_raw(&carrier->text, "event: error\ndata: {\"reason\":");
    json_write_string(&carrier->text, view_of_text(error.text));
    json_write_raw(&carrier->text, "}\n\n");
    (void)send_text(call);
    web_finish(a, call);
}

static const struct call_ops stream_ops = {
    .lasting = true,
    .closed = events_closed,
    .watch = stream_watch,
    .drained = events_drained,
    .timer = stream_timer,
};
static const struct call_transport stream_transport = {
    .finish = stream_finish,
    .fail = stream_fail,
    .want_drained = web_want_drained,
    .release = events_release,
};

/* ---- ?wait ------------------------------------------------------------------------------------------ */

/* A single key's newest state. */
static void answer_newest(struct client_actor *a, struct client_call *call,
                          const struct watch_batch *batch, const struct watch_response *response)
{
    const struct events_carrier *carrier = carrier_of(call);
    uint32_t ref = batch->refs[response->ref_first + response->ref_count - 1];
    struct key_value pair = event_pair(&batch->events, ref);
    if (!call_take_answer(a, call, pair.value.size)) {
        call_fail_with(a, call, ERR_OVERLOAD);
        return;
    }
    char revision[NUMBER_MAX];
    char tag[NUMBER_MAX];
    struct web_answer answer = {
        .status = 200, .content_type = carrier->request.content_type, .body = pair.value};
    if (batch->events.items[ref].deleted) {
        answer = web_text(404, "key not found\n");
    } else {
        (void)snprintf(tag, sizeof tag, "\"%" PRId64 "\"", pair.mod_revision);
        web_add_header(&answer, "etag", view_of_text(tag));
        web_add_header(&answer, "content-security-policy", view_of_text(WEB_SANDBOX));
    }
    (void)snprintf(revision, sizeof revision, "%" PRId64, pair.mod_revision);
    web_add_header(&answer, "x-holdfast-revision", view_of_text(revision));
    call_end(a, call);
    web_answer_call(a, call, &answer);
}

/* Everything that changed under a prefix. */
static void answer_changes(struct client_actor *a, struct client_call *call,
                           const struct watch_batch *batch, const struct watch_response *response)
{
    const uint32_t *refs = batch->refs + response->ref_first;
    struct buffer text = {0};
    char revision[NUMBER_MAX];
    int64_t newest = 0;
    json_write_raw(&text, "[");
    for (size_t i = 0; i < response->ref_count; i++) {
        struct key_value pair = event_pair(&batch->events, refs[i]);
        newest = change_revision(batch->events.items[refs[i]].change);
        json_write_raw(&text, i > 0 ? ",\n" : "\n");
        rest_write_event(&pair, batch->events.items[refs[i]].deleted, &text);
    }
    json_write_raw(&text, "\n]\n");
    if (!call_take_answer(a, call, text.size)) {
        buffer_free(&text);
        call_fail_with(a, call, ERR_OVERLOAD);
        return;
    }
    struct web_answer answer = {
        .status = 200, .content_type = WEB_JSON, .body = view_of(text.data, text.size)};
    (void)snprintf(revision, sizeof revision, "%" PRId64, newest);
    web_add_header(&answer, "x-holdfast-revision", view_of_text(revision));
    call_end(a, call);
    web_answer_call(a, call, &answer);
    buffer_free(&text);
}

static void wait_watch(struct client_actor *a, struct client_call *call,
                       const struct client_watch *m, const struct watch_response *response)
{
    struct events_carrier *carrier = carrier_of(call);
    if (!call_watch_taken(&carrier->watches, response)) {
        return;
    }
    switch (response->kind) {
    case WATCH_RESPONSE_EVENTS:
        if (carrier->request.prefix) {
            answer_changes(a, call, m->batch, response);
        } else {
            answer_newest(a, call, m->batch, response);
        }
        break;
    case WATCH_RESPONSE_REFUSED:
    case WATCH_RESPONSE_CANCELED:
        call_end(a, call);
        if (response->compact_revision > 0) {
            answer_text(a, call, 410, rpc_error_of(ERR_COMPACTED).text);
        } else {
            answer_text(a, call, 503,
                        response->cancel_reason != NULL ? response->cancel_reason : "");
        }
        break;
    case WATCH_RESPONSE_CREATED:
    case WATCH_RESPONSE_PROGRESS:
    case WATCH_RESPONSE_TAKEN:
        call_watch_done(a, &carrier->watches, response);
        break;
    }
}

static void wait_fail(struct client_actor *a, struct client_call *call, struct rpc_error error)
{
    answer_text(a, call, web_status_of_code(error.code), error.text);
}

static const struct call_ops wait_ops = {
    .lasting = true, .closed = events_closed, .watch = wait_watch, .drained = events_drained};
static const struct call_transport wait_transport = {
    .fail = wait_fail,
    .want_drained = web_want_drained,
    .release = events_release,
};

/* ---- the doors -------------------------------------------------------------------------------------- */

static void refuse(const struct web_request *request, int status, const char *text)
{
    char line[REST_PROBLEM_MAX + 8];
    (void)snprintf(line, sizeof line, "%s\n", text);
    struct web_answer answer = web_text(status, line);
    if (status == 405) {
        web_add_header(&answer, "allow", view_of_text("GET"));
    }
    web_answer_request(request, &answer);
}

/* parsed moves in. */
static void start(struct client_actor *a, const struct web_request *request,
                  struct rest_request *parsed, const struct call_request *what,
                  int64_t start_revision)
{
    struct events_carrier *carrier = mem_zalloc(sizeof *carrier);
    struct rpc_error error;
    carrier->request = *parsed;
    struct client_call *call = web_admit(a, request, what, &carrier->base, &error);
    if (call == NULL) {
        rest_request_free(&carrier->request);
        mem_free(carrier);
        refuse(request, web_status_of_code(error.code), error.text);
        return;
    }
    const struct rest_request *r = &carrier->request;
    const struct watch_call watch = {.kind = WATCH_CALL_CREATE,
                                     .key = view_of(r->key.data, r->key.size),
                                     .range_end = view_of(r->range_end.data, r->range_end.size),
                                     .start_revision = start_revision};
    bool sent = call_watch(a, call, &carrier->watches, &watch);
    UNUSED(sent); /* else it has failed */
}

void events_wait(struct client_actor *a, const struct web_request *request,
                 struct rest_request *parsed)
{
    const struct call_request what = {
        .transport = &wait_transport, .ops = &wait_ops, .timeout_us = UINT64_MAX};
    int64_t from = parsed->wait_revision >= 0 ? parsed->wait_revision + 1 : 0;
    start(a, request, parsed, &what, from);
}

bool events_door(struct client_actor *a, const struct web_request *request)
{
    const struct call_request what = {
        .transport = &stream_transport, .ops = &stream_ops, .timeout_us = UINT64_MAX};
    struct view key = request->target.path;
    char problem[REST_PROBLEM_MAX];
    struct rest_request parsed;
    if (!web_path_take(&key, "/watch/")) {
        return false;
    }
    int status =
        rest_parse_watch(request->method, key, request->target.query,
                         http_fields_get(request->fields, "last-event-id"), &parsed, problem);
    if (status != 0) {
        refuse(request, status, problem);
    } else {
        start(a, request, &parsed, &what, parsed.revision);
    }
    return true;
}
