/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_calls.c: requests in, answers out: from a stream's header and octets to a message for raft
 * or apply, and from their reply to the frames of an answer. Protocol on one side (net), etcd's
 * meaning on the other (api); here are the credits, the deadlines and the numbers between them.
 *
 * Admission: a call takes one credit of `requests` with its header and as many of `bytes` as its message
 * says, before a single octet of it is kept. Who gets none is told "too many requests". A long answer
 * to a read takes credits too and is withheld without them; a write's answer never is, because the
 * write has happened.
 *
 * Invariants
 *  1. A call is answered at most once, and nothing is promised after `closed`.
 *  2. request_id != 0 exactly while the call is in the table of pending ones.
 *  3. Request numbers rise in the order in which proposals are sent to raft (requests.h needs it).
 */
#include "client_actor.h"

#include "../api/rpc_kv.h"
#include "../api/rpc_node.h"
#include "../api/web.h"

#include <stdio.h>
#include <string.h>

/* The key that /health asks for; what it holds does not matter. */
#define HEALTH_KEY "health"

static const struct http2_header status_200 = {
    .name = ":status", .value = {(const uint8_t *)"200", 3}, .lasting = true};

static struct client_actor *actor_of(const struct client_connection *c)
{
    return c->shared->owner;
}

/* ---- life of a call ------------------------------------------------------------------------------- */

static struct client_call *call_create(struct client_actor *a, struct client_connection *c)
{
    struct client_call *call = a->pool;
    if (call != NULL) {
        a->pool = call->next;
        a->pool_count--;
    } else {
        call = mem_alloc(sizeof *call);
    }
    *call = (struct client_call){.connection = c};
    call->deadline.place = DEADLINE_NONE;
    call->deadline.kind = DEADLINE_OF_CALL;
    a->call_count++;
    return call;
}

static void unlist_watcher(struct client_actor *a, struct client_call *call)
{
    if (call->previous != NULL) {
        call->previous->next = call->next;
    } else if (a->watchers == call) {
        a->watchers = call->next;
    }
    if (call->next != NULL) {
        call->next->previous = call->previous;
    }
    call->next = call->previous = NULL;
}

/* Nobody works on it any more: a late reply will find nothing. */
static void call_settle(struct client_actor *a, struct client_call *call)
{
    if (call->request_id != 0) {
        (void)pending_take(&a->pending, call->request_id);
        call->request_id = 0;
    }
    deadlines_clear(&a->deadlines, &call->deadline);
}

static void call_destroy(struct client_actor *a, struct client_call *call)
{
    call_settle(a, call);
    unlist_watcher(a, call);
    grpc_reader_free(&call->reader);
    bytes_free(&call->command);
    credits_give(a->requests, 1);
    credits_give(a->bytes, call->bytes_held);
    ASSERT(a->call_count > 0);
    a->call_count--;
    if (a->pool_count < CALL_POOL_MAX) {
        call->next = a->pool;
        a->pool = call;
        a->pool_count++;
    } else {
        mem_free(call);
    }
}

void calls_free_pool(struct client_actor *a)
{
    while (a->pool != NULL) {
        struct client_call *call = a->pool;
        a->pool = call->next;
        mem_free(call);
    }
    a->pool_count = 0;
}

static bool call_take_bytes(struct client_actor *a, struct client_call *call, uint64_t bytes)
{
    if (!credits_take(a->bytes, bytes)) {
        return false;
    }
    call->bytes_held += bytes;
    return true;
}

/* Credits for a new call; NULL if there are none. */
static struct client_call *call_admit(struct client_actor *a, struct client_connection *c)
{
    if (!credits_take(a->requests, 1)) {
        return NULL;
    }
    if (!credits_take(a->bytes, CALL_BYTES)) {
        credits_give(a->requests, 1);
        return NULL;
    }
    struct client_call *call = call_create(a, c);
    call->bytes_held = CALL_BYTES;
    return call;
}

static uint64_t call_number(struct client_actor *a, struct client_call *call)
{
    call->request_id = REQUEST_ID(a->index, ++a->counter);
    pending_add(&a->pending, call->request_id, call);
    return call->request_id;
}

/* ---- answers -------------------------------------------------------------------------------------- */

static struct response_header header_of(const struct client_actor *a, int64_t revision)
{
    return (struct response_header){.cluster_id = a->state.cluster_id,
                                    .member_id = a->state.member_id,
                                    .raft_term = a->state.term,
                                    .revision = revision};
}

/* A gRPC error without a message before it: one header frame says everything. */
static void refuse_stream(struct http2_stream *s, struct view content_type, struct rpc_error error)
{
    char text[GRPC_MESSAGE_MAX];
    size_t size = grpc_message_encode(error.text, text);
    const struct http2_header headers[] = {
        status_200,
        {.name = "content-type", .value = content_type, .lasting = true},
        {.name = "grpc-status",
         .value = view_of_text(grpc_code_text((enum grpc_code)error.code)),
         .lasting = true},
        {.name = "grpc-message", .value = view_of(text, size)},
    };
    http2_respond(s, headers, ARRAY_COUNT(headers), true);
}

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
    struct http1_answer out = {.status = answer->status,
                               .content_type = answer->content_type,
                               .allow = answer->allow,
                               .body = answer->body,
                               .close = c->draining};
    http1_respond(c->http1, &out);
    connection_touch(c);
}

static void call_web_answer(struct client_actor *a, struct client_call *call,
                            const struct web_answer *answer)
{
    struct client_connection *c = call->connection;
    call->answered = true;
    if (call->stream != NULL) {
        call_settle(a, call);
        web_answer_stream(call->stream, answer);
        connection_touch(c);
        return;
    }
    ASSERT(c->web_call == call);
    c->web_call = NULL;
    call_destroy(a, call);
    web_answer_http1(c, answer);
    connection_go_on(c, a->now_us);
}

void call_fail(struct client_actor *a, struct client_call *call, struct rpc_error error)
{
    ASSERT(!call->answered);
    if (call->call_kind == CALL_WEB) {
        char reason[WEB_HEALTH_BODY_MAX / 2];
        char room[WEB_HEALTH_BODY_MAX];
        struct web_answer answer;
        (void)snprintf(reason, sizeof reason, "RANGE ERROR:%s", error.text);
        web_health(reason, room, &answer);
        call_web_answer(a, call, &answer);
        return;
    }
    call_settle(a, call);
    call->answered = true;
    if (call->stream->responded) {
        char text[GRPC_MESSAGE_MAX];
        size_t size = grpc_message_encode(error.text, text);
        http2_finish(call->stream, grpc_code_text((enum grpc_code)error.code), view_of(text, size));
    } else {
        refuse_stream(call->stream, call->content_type, error);
    }
    connection_touch(call->connection);
}

static void begin_answer(struct client_call *call)
{
    const struct http2_header headers[] = {
        status_200,
        {.name = "content-type", .value = call->content_type, .lasting = true},
    };
    http2_respond(call->stream, headers, ARRAY_COUNT(headers), false);
}

/* The one message of a unary answer; the chunk has gRPC's prefix already. */
static void answer_chunk(struct client_actor *a, struct client_call *call,
                         struct http2_chunk **chunk)
{
    call_settle(a, call);
    call->answered = true;
    begin_answer(call);
    http2_write(call->stream, chunk);
    http2_finish(call->stream, grpc_code_text(GRPC_OK), (struct view){0});
    connection_touch(call->connection);
}

/* A chunk for a message of `size` octets, prefix written. NULL: no credits, and the call has failed. */
static struct http2_chunk *chunk_for(struct client_actor *a, struct client_call *call, size_t size,
                                     bool may_refuse)
{
    if (size > ANSWER_BYTES_UNCHARGED && !call_take_bytes(a, call, size) && may_refuse) {
        call_fail(a, call, rpc_error_of(ERR_OVERLOAD));
        return NULL;
    }
    struct http2_chunk *chunk = http2_chunk_create(GRPC_PREFIX_BYTES + size);
    grpc_prefix_write(chunk->data, size);
    return chunk;
}

static void answer_encoded(struct client_actor *a, struct client_call *call, uint8_t **message,
                           size_t size)
{
    struct http2_chunk *chunk = chunk_for(a, call, size, false);
    memcpy(chunk->data + GRPC_PREFIX_BYTES, *message, size);
    mem_free(*message);
    *message = NULL;
    answer_chunk(a, call, &chunk);
}

void call_reply(struct client_actor *a, struct client_call *call, const struct result *result)
{
    if (result->error != OK) {
        call_fail(a, call, rpc_error_of(result->error));
        return;
    }
    if (call->call_kind == CALL_WEB) {
        char room[WEB_HEALTH_BODY_MAX];
        struct web_answer answer;
        web_health(NULL, room, &answer);
        call_web_answer(a, call, &answer);
        return;
    }
    struct response_header header = header_of(a, result->revision);
    struct http2_chunk *chunk = NULL;
    switch (call->kind) {
    case METHOD_RANGE:
        chunk = chunk_for(a, call, rpc_range_size(&header, result), true);
        if (chunk != NULL) {
            rpc_range_write(&header, result, chunk->data + GRPC_PREFIX_BYTES);
        }
        break;
    case METHOD_PUT:
        chunk = chunk_for(a, call, rpc_put_size(&header, result), false);
        rpc_put_write(&header, result, chunk->data + GRPC_PREFIX_BYTES);
        break;
    case METHOD_DELETE_RANGE:
        chunk = chunk_for(a, call, rpc_delete_range_size(&header, result), false);
        rpc_delete_range_write(&header, result, chunk->data + GRPC_PREFIX_BYTES);
        break;
    case METHOD_STATUS:
    case METHOD_MEMBER_LIST:
    case METHOD_HEALTH_CHECK:
    case METHOD_HEALTH_WATCH:
    case METHOD_NOT_BUILT:
        ASSERT(call->kind == METHOD_RANGE); /* the others asked for no result */
        break;
    }
    if (chunk != NULL) {
        answer_chunk(a, call, &chunk);
    }
}

void call_reply_status(struct client_actor *a, struct client_call *call,
                       const struct node_status *status)
{
    uint8_t *message = NULL;
    size_t size = 0;
    if (call->kind == METHOD_MEMBER_LIST) {
        struct response_header header = header_of(a, 0);
        message = rpc_member_list_encode(&header, &status->configuration, 0, &size);
    } else {
        ASSERT(call->kind == METHOD_STATUS);
        struct response_header header = header_of(a, status->revision);
        struct status_facts facts = {
            .leader = status->raft.leader,
            .commit_index = status->raft.commit_index,
            .applied_index = status->applied_index,
            .term = status->raft.current_term,
            .db_file_bytes = status->db_file_bytes,
            .db_used_bytes = status->db_used_bytes,
            .is_learner = status->configuration.count > 0 &&
                          !configuration_is_voter(&status->configuration, a->state.member_id),
        };
        message = rpc_status_encode(&header, &facts, 0, &size);
    }
    answer_encoded(a, call, &message, size);
}

/* ---- requests ------------------------------------------------------------------------------------- */

static void send_proposal(struct client_actor *a, struct client_call *call)
{
    struct raft_propose *m = MSG_NEW(struct raft_propose, RAFT_PROPOSE, release_propose);
    m->group = GROUP_DEFAULT;
    m->request_id = call_number(a, call);
    m->deadline_us = call->deadline.at_us;
    m->command = bytes_copy(bytes_view(&call->command));
    ACTOR_SEND(a->raft, m);
}

static void propose(struct client_actor *a, struct client_call *call, const struct command *command)
{
    call->command.size = command_size(command);
    call->command.data = mem_alloc(call->command.size);
    command_encode(command, call->command.data);
    send_proposal(a, call);
}

void call_propose_again(struct client_actor *a, struct client_call *call)
{
    ASSERT(call->command.size > 0);
    if (call->request_id != 0) {
        (void)pending_take(&a->pending, call->request_id);
        call->request_id = 0;
    }
    send_proposal(a, call);
}

static void read_from(struct client_actor *a, struct client_call *call, const struct query *query)
{
    bool serializable = query != NULL && query->serializable;
    struct read_request *m =
        MSG_NEW(struct read_request, serializable ? APPLY_READ : RAFT_READ, release_read_request);
    m->group = GROUP_DEFAULT;
    m->request_id = call_number(a, call);
    m->deadline_us = call->deadline.at_us;
    m->members = query == NULL;
    m->query = query != NULL ? query_create(query) : NULL;
    ACTOR_SEND(serializable ? a->apply : a->raft, m);
}

static void ask_status(struct client_actor *a, struct client_call *call)
{
    struct node_status *m = MSG_NEW(struct node_status, RAFT_STATUS, NULL);
    m->group = GROUP_DEFAULT;
    m->request_id = call_number(a, call);
    ACTOR_SEND(a->raft, m);
}

static void write_health(struct client_call *call, enum health health)
{
    struct http2_chunk *chunk = http2_chunk_create(GRPC_PREFIX_BYTES + RPC_HEALTH_BYTES);
    grpc_prefix_write(chunk->data, RPC_HEALTH_BYTES);
    rpc_health_write(health, chunk->data + GRPC_PREFIX_BYTES);
    http2_write(call->stream, &chunk);
    connection_touch(call->connection);
}

static void dispatch_health(struct client_actor *a, struct client_call *call, struct view message)
{
    bool known = false;
    enum err error = rpc_health_decode(message, &known);
    if (error != OK) {
        call_fail(a, call, rpc_error_of(error));
        return;
    }
    if (call->kind == METHOD_HEALTH_CHECK) {
        if (!known) {
            call_fail(a, call, rpc_error_unknown_health_service);
            return;
        }
        struct http2_chunk *chunk = chunk_for(a, call, RPC_HEALTH_BYTES, false);
        rpc_health_write(HEALTH_SERVING, chunk->data + GRPC_PREFIX_BYTES);
        answer_chunk(a, call, &chunk);
        return;
    }
    /* a watch: the value now, and the next one when it changes, which is when we stop */
    begin_answer(call);
    write_health(call, known ? HEALTH_SERVING : HEALTH_SERVICE_UNKNOWN);
    call->next = a->watchers;
    if (call->next != NULL) {
        call->next->previous = call;
    }
    a->watchers = call;
}

void calls_end_watchers(struct client_actor *a)
{
    while (a->watchers != NULL) {
        struct client_call *call = a->watchers;
        unlist_watcher(a, call);
        write_health(call, HEALTH_NOT_SERVING);
        call_fail(a, call, rpc_error_of(ERR_STOPPED));
    }
}

static void dispatch(struct client_actor *a, struct client_call *call, struct view message)
{
    enum err error = OK;
    struct command command;
    struct query query;
    bool linearizable = false;

    call->dispatched = true;
    switch (call->kind) {
    case METHOD_PUT:
        error = rpc_put_decode(message, a->config.request_bytes_max, &command);
        if (error == OK) {
            propose(a, call, &command);
        }
        break;
    case METHOD_DELETE_RANGE:
        error = rpc_delete_range_decode(message, a->config.request_bytes_max, &command);
        if (error == OK) {
            propose(a, call, &command);
        }
        break;
    case METHOD_RANGE:
        error = rpc_range_decode(message, &query);
        if (error == OK) {
            read_from(a, call, &query);
        }
        break;
    case METHOD_STATUS:
        error = rpc_status_decode(message);
        if (error == OK) {
            ask_status(a, call);
        }
        break;
    case METHOD_MEMBER_LIST:
        error = rpc_member_list_decode(message, &linearizable);
        if (error == OK && linearizable) {
            read_from(a, call, NULL);
        } else if (error == OK) {
            ask_status(a, call);
        }
        break;
    case METHOD_HEALTH_CHECK:
    case METHOD_HEALTH_WATCH:
        dispatch_health(a, call, message);
        break;
    case METHOD_NOT_BUILT:
        error = ERR_UNIMPLEMENTED;
        break;
    }
    if (error != OK) {
        call_fail(a, call, rpc_error_of(error));
    }
}

/* ---- plain HTTP ------------------------------------------------------------------------------------ */

/* Answer now, or begin the read that /health waits for. stream: NULL for HTTP/1. */
static void web_request(struct client_connection *c, struct http2_stream *stream,
                        const char *method, struct view target)
{
    struct client_actor *a = actor_of(c);
    struct web_answer answer;
    char room[WEB_HEALTH_BODY_MAX];
    bool serializable = false;
    struct client_call *call = NULL;

    if (web_route(method, target, &answer, &serializable) == WEB_HEALTH) {
        if (a->stopping) {
            web_health("RANGE ERROR:etcdserver: server stopped", room, &answer);
        } else if (!serializable && a->state.leader_id == 0) {
            web_health("RAFT NO LEADER", room, &answer);
        } else if ((call = call_admit(a, c)) == NULL) {
            web_health("RANGE ERROR:etcdserver: too many requests", room, &answer);
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
    call->call_kind = CALL_WEB;
    call->dispatched = true;
    call->stream = stream;
    if (stream != NULL) {
        stream->owner = call;
    } else {
        c->web_call = call;
    }
    deadlines_set(&a->deadlines, &call->deadline, a->now_us + a->request_timeout_us);
    struct query query = {
        .key = view_of_text(HEALTH_KEY), .count_only = true, .serializable = serializable};
    read_from(a, call, &query);
}

static void on_http1_request(void *context, const struct http1_request *request)
{
    web_request(context, NULL, request->method, request->target);
}

void call_forget_web(struct client_connection *c)
{
    struct client_call *call = c->web_call;
    if (call != NULL) {
        c->web_call = NULL;
        call_destroy(actor_of(c), call);
    }
}

const struct http1_callbacks client_http1_callbacks = {.request = on_http1_request};

/* ---- HTTP/2 ----------------------------------------------------------------------------------------- */

static void refuse_now(struct client_connection *c, struct http2_stream *s,
                       struct view content_type, struct rpc_error error)
{
    refuse_stream(s, content_type, error);
    connection_touch(c);
}

static void on_request(void *context, struct http2_stream *s)
{
    struct client_connection *c = context;
    struct client_actor *a = actor_of(c);
    struct view path = view_of(s->path, s->path_size);
    struct view content_type;
    uint64_t timeout_us = a->request_timeout_us;
    bool client_deadline = false;

    if (!grpc_content_type(s->content_type, &content_type)) {
        if (strcmp(s->method, "POST") == 0 && s->content_type[0] != 0) {
            struct web_answer answer;
            web_unsupported(&answer);
            web_answer_stream(s, &answer);
            connection_touch(c);
        } else {
            web_request(c, s, s->method, path);
        }
        return;
    }
    if (s->grpc_timeout[0] != 0) {
        uint64_t wanted_us = 0;
        if (grpc_timeout_parse(s->grpc_timeout, &wanted_us) != OK) {
            http2_reset(s, HTTP2_PROTOCOL_ERROR);
            connection_touch(c);
            return;
        }
        client_deadline = wanted_us < timeout_us;
        timeout_us = wanted_us;
    }
    bool known_service = false;
    const struct method *method = s->cut ? NULL : method_find(path, &known_service);
    if (method == NULL) {
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
    if (a->stopping || method->kind == METHOD_NOT_BUILT) {
        refuse_now(c, s, content_type, rpc_error_of(a->stopping ? ERR_STOPPED : ERR_UNIMPLEMENTED));
        return;
    }
    if (s->has_leader && a->state.leader_id == 0) {
        refuse_now(c, s, content_type, rpc_error_of(ERR_NO_LEADER));
        return;
    }
    struct client_call *call = call_admit(a, c);
    if (call == NULL) {
        refuse_now(c, s, content_type, rpc_error_of(ERR_OVERLOAD));
        return;
    }
    call->stream = s;
    call->kind = method->kind;
    call->server_streams = method->server_streams;
    call->content_type = content_type;
    /* a stream ends when its client says so; anything else at the latest with the request timeout */
    if (!call->server_streams && timeout_us > a->request_timeout_us) {
        timeout_us = a->request_timeout_us;
    }
    call->client_deadline = client_deadline || call->server_streams;
    if (!call->server_streams || s->grpc_timeout[0] != 0) {
        deadlines_set(&a->deadlines, &call->deadline, a->now_us + timeout_us);
    }
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
    struct client_actor *a = actor_of(c);
    struct client_call *call = s->owner;
    size_t size = data.size;

    while (!call->answered && !call->dispatched) {
        struct view message;
        enum grpc_read got = grpc_reader_next(&call->reader, &data, &message);
        if (got == GRPC_READ_MORE) {
            break;
        }
        if (got == GRPC_READ_MESSAGE) {
            dispatch(a, call, message);
        } else if (got == GRPC_READ_SIZE && call->reader.size <= a->message_max) {
            if (call_take_bytes(a, call, call->reader.size)) {
                grpc_reader_admit(&call->reader);
            } else {
                call_fail(a, call, rpc_error_of(ERR_OVERLOAD));
            }
        } else {
            refuse_message(a, call, got);
        }
    }
    http2_consume(s, size);
}

static void on_ended(void *context, struct http2_stream *s)
{
    struct client_connection *c = context;
    struct client_call *call = s->owner;
    if (!call->answered && !call->dispatched) {
        call_fail(actor_of(c), call,
                  grpc_reader_is_empty(&call->reader) ? rpc_error_no_message
                                                      : rpc_error_cut_message);
    }
}

static void on_closed(void *context, struct http2_stream *s)
{
    struct client_connection *c = context;
    struct client_call *call = s->owner;
    s->owner = NULL;
    call_destroy(actor_of(c), call);
}

const struct http2_callbacks client_http2_callbacks = {
    .request = on_request, .data = on_data, .ended = on_ended, .closed = on_closed};
