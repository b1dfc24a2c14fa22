/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_node.c: methods that ask about the node rather than the store: Status, and gRPC's own health
 * service.
 */
#include "client_methods.h"

#include "../api/rpc_node.h"

/* ---- Status --------------------------------------------------------------------------------------- */

static void status_message(struct client_actor *a, struct client_call *call, struct view message)
{
    enum err error = rpc_status_decode(message);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    call_status(a, call);
}

static void status_answer(struct client_actor *a, struct client_call *call,
                          const struct node_status *status)
{
    struct response_header header = call_header(a, status->revision);
    struct status_facts facts = {
        .leader = status->raft.leader,
        .commit_index = status->raft.commit_index,
        .applied_index = status->applied_index,
        .term = status->raft.current_term,
        .db_file_bytes = status->db_file_bytes,
        .db_used_bytes = status->db_used_bytes,
        .low_space = status->raft.cluster_low_space,
        .disk_hangs = status->raft.disk_hangs,
        .is_learner = status->configuration.count > 0 &&
                      !configuration_is_voter(&status->configuration, a->state.member_id),
    };
    size_t size = 0;
    uint8_t *message = rpc_status_encode(&header, &facts, 0, &size);
    call_answer_encoded(a, call, &message, size);
}

const struct call_ops client_status_ops = {.message = status_message, .status = status_answer};

/* ---- Health --------------------------------------------------------------------------------------- */

static void send_health(struct client_actor *a, struct client_call *call, enum health health)
{
    rpc_health_write(health, call_room(a, call, RPC_HEALTH_BYTES));
    call_push(a, call);
}

static void health_check_message(struct client_actor *a, struct client_call *call,
                                 struct view message)
{
    bool known = false;
    enum err error = rpc_health_decode(message, &known);
    if (error != OK) {
        call_fail_with(a, call, error);
    } else if (!known) {
        call_fail(a, call, rpc_error_unknown_health_service);
    } else {
        send_health(a, call, HEALTH_SERVING);
        call_finish(a, call);
    }
}

const struct call_ops client_health_check_ops = {.message = health_check_message};

/* The value now, and the next one when it changes, which is when the node stops. */
static void health_watch_message(struct client_actor *a, struct client_call *call,
                                 struct view message)
{
    bool known = false;
    enum err error = rpc_health_decode(message, &known);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    send_health(a, call, known ? HEALTH_SERVING : HEALTH_SERVICE_UNKNOWN);
}

static void health_watch_stopping(struct client_actor *a, struct client_call *call)
{
    if (call->dispatched) {
        send_health(a, call, HEALTH_NOT_SERVING);
    }
    call_fail_with(a, call, ERR_STOPPED);
}

const struct call_ops client_health_watch_ops = {
    .lasting = true, .message = health_watch_message, .stopping = health_watch_stopping};
