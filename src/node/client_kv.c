/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_kv.c: the methods of etcd's KV service: a request becomes one step, its result the answer. The
 * hot path of the client port: no state of its own, and answers are written straight into their frame.
 *
 * A write's answer is never refused for want of credits, because the write has happened; a long answer
 * to a read is.
 */
#include "client_methods.h"

#include "../api/rpc_kv.h"
#include "../api/rpc_txn.h"

/* ---- Range ---------------------------------------------------------------------------------------- */

static void range_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct query query;
    enum err error = rpc_range_decode(message, &query);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    call_query(a, call, &query);
}

static void range_reply(struct client_actor *a, struct client_call *call,
                        const struct result *result)
{
    struct response_header header = call_header(a, result->revision);
    uint8_t *room = call_room_or_fail(a, call, rpc_range_size(&header, result));
    if (room != NULL) {
        rpc_range_write(&header, result, room);
        call_push(a, call);
        call_finish(a, call);
    }
}

const struct call_ops client_range_ops = {.message = range_message, .reply = range_reply};

/* ---- Put ------------------------------------------------------------------------------------------ */

static void put_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct command command;
    enum err error = rpc_put_decode(message, a->config.request_bytes_max, &command);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    call_propose(a, call, &command);
}

static void put_reply(struct client_actor *a, struct client_call *call, const struct result *result)
{
    struct response_header header = call_header(a, result->revision);
    uint8_t *room = call_room(a, call, rpc_put_size(&header, result));
    rpc_put_write(&header, result, room);
    call_push(a, call);
    call_finish(a, call);
}

const struct call_ops client_put_ops = {.message = put_message, .reply = put_reply};

/* ---- DeleteRange ---------------------------------------------------------------------------------- */

static void delete_range_message(struct client_actor *a, struct client_call *call,
                                 struct view message)
{
    struct command command;
    enum err error = rpc_delete_range_decode(message, a->config.request_bytes_max, &command);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    call_propose(a, call, &command);
}

static void delete_range_reply(struct client_actor *a, struct client_call *call,
                               const struct result *result)
{
    struct response_header header = call_header(a, result->revision);
    uint8_t *room = call_room(a, call, rpc_delete_range_size(&header, result));
    rpc_delete_range_write(&header, result, room);
    call_push(a, call);
    call_finish(a, call);
}

const struct call_ops client_delete_range_ops = {.message = delete_range_message,
                                                 .reply = delete_range_reply};

/* ---- Txn ------------------------------------------------------------------------------------------ */

static void txn_answer(struct client_actor *a, struct client_call *call,
                       const struct result *result, bool may_refuse)
{
    struct response_header header = call_header(a, result->revision);
    struct txn_sizes sizes = {0};
    size_t size = rpc_txn_size(&header, result, &sizes);
    uint8_t *room = may_refuse ? call_room_or_fail(a, call, size) : call_room(a, call, size);
    if (room == NULL) {
        rpc_txn_sizes_free(&sizes);
        return;
    }
    rpc_txn_write(&header, result, &sizes, room);
    call_push(a, call);
    call_finish(a, call);
}

static void txn_reply(struct client_actor *a, struct client_call *call, const struct result *result)
{
    txn_answer(a, call, result, false);
}

static void txn_read_reply(struct client_actor *a, struct client_call *call,
                           const struct result *result)
{
    txn_answer(a, call, result, true);
}

static const struct call_ops txn_read_ops = {.reply = txn_read_reply};

static void txn_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct txn_request request;
    enum err error = rpc_txn_decode(message, a->config.client_txn_ops_max,
                                    a->config.request_bytes_max, &request);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    if (request.read_only) {
        struct query query = {.kind = QUERY_TXN,
                              .serializable = request.serializable,
                              .body = bytes_view(&request.body)};
        call->ops = &txn_read_ops; /* from here on it is a read */
        call_query(a, call, &query);
    } else {
        struct command command = {
            .op = COMMAND_TXN, .key = request.first_key, .body = bytes_view(&request.body)};
        call_propose(a, call, &command);
    }
    bytes_free(&request.body);
}

const struct call_ops client_txn_ops = {.message = txn_message, .reply = txn_reply};

/* ---- Compact -------------------------------------------------------------------------------------- */

static void compact_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct command command;
    enum err error = rpc_compact_decode(message, &command);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    call_propose(a, call, &command);
}

const struct call_ops client_compact_ops = {.message = compact_message, .reply = call_reply_bare};
