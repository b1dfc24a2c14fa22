/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_members.c: methods that look at the members and change them: etcd's Cluster service, MoveLeader, and
 * holdfast.v1.Cluster. A change is one step: the node carries it to the leader (raft_members.c) and answers with its
 * status once it is done.
 */
#include "client_methods.h"

#include "../api/rpc_admin.h"
#include "../api/rpc_cluster.h"
#include "../api/rpc_maintenance.h"
#include "../api/rpc_members.h"

static void free_state(struct client_actor *a, struct client_call *call)
{
    UNUSED(a);
    mem_free(call->state);
    call->state = NULL;
}

/* Answered by `status`, which is of this moment if that is asked for. */
static void look(struct client_actor *a, struct client_call *call, struct view message,
                 enum err (*decode)(struct view in, bool *linearizable))
{
    bool linearizable = false;
    enum err error = decode(message, &linearizable);
    if (error != OK) {
        call_fail_with(a, call, error);
    } else if (linearizable) {
        call_members(a, call);
    } else {
        call_status(a, call);
    }
}

/* ---- MemberList ------------------------------------------------------------------------------------------- */

static void member_list_message(struct client_actor *a, struct client_call *call,
                                struct view message)
{
    look(a, call, message, rpc_member_list_decode);
}

static void member_list_answer(struct client_actor *a, struct client_call *call,
                               const struct node_status *status)
{
    struct response_header header = call_header(a, 0);
    size_t size = 0;
    uint8_t *message = rpc_member_list_encode(&header, &status->configuration, 0, &size);
    call_answer_encoded(a, call, &message, size);
}

const struct call_ops client_member_list_ops = {.message = member_list_message,
                                                .status = member_list_answer};

/* ---- MemberAdd, MemberRemove, MemberUpdate, MemberPromote ---------------------------------------------------- */

static void change_or_fail(struct client_actor *a, struct client_call *call, enum err error,
                           const struct member_request *request)
{
    if (error != OK) {
        call_fail_with(a, call, error);
    } else {
        call_change_members(a, call, request);
    }
}

static void change(struct client_actor *a, struct client_call *call, struct view message,
                   enum err (*decode)(struct view in, struct member_request *out))
{
    struct member_request request;
    enum err error = decode(message, &request);
    change_or_fail(a, call, error, &request);
}

static void member_add_message(struct client_actor *a, struct client_call *call,
                               struct view message)
{
    struct member_request request;
    enum err error = rpc_member_add_decode(message, &request);
    if (error == OK) {
        do {
            request.id = random_next(&a->random);
        } while (request.id == 0);
        call->state = mem_dup(&request, sizeof request);
    }
    change_or_fail(a, call, error, &request);
}

static void member_add_answer(struct client_actor *a, struct client_call *call,
                              const struct node_status *status)
{
    struct response_header header = call_header(a, 0);
    size_t size = 0;
    uint8_t *message =
        rpc_member_add_encode(&header, &status->configuration, call->state, 0, &size);
    call_answer_encoded(a, call, &message, size);
}

const struct call_ops client_member_add_ops = {
    .message = member_add_message, .status = member_add_answer, .closed = free_state};

static void member_remove_message(struct client_actor *a, struct client_call *call,
                                  struct view message)
{
    change(a, call, message, rpc_member_remove_decode);
}

const struct call_ops client_member_remove_ops = {.message = member_remove_message,
                                                  .status = member_list_answer};

static void member_update_message(struct client_actor *a, struct client_call *call,
                                  struct view message)
{
    change(a, call, message, rpc_member_update_decode);
}

const struct call_ops client_member_update_ops = {.message = member_update_message,
                                                  .status = member_list_answer};

static void member_promote_message(struct client_actor *a, struct client_call *call,
                                   struct view message)
{
    change(a, call, message, rpc_member_promote_decode);
}

const struct call_ops client_member_promote_ops = {.message = member_promote_message,
                                                   .status = member_list_answer};

/* ---- MoveLeader ------------------------------------------------------------------------------------------------ */

struct move_leader {
    uint64_t target;
    bool asked;
};

static void move_leader_message(struct client_actor *a, struct client_call *call,
                                struct view message)
{
    struct rpc_error error;
    struct move_leader move = {0};
    if (!rpc_move_leader_decode(message, &move.target, &error)) {
        call_fail(a, call, error);
        return;
    }
    call->state = mem_dup(&move, sizeof move);
    call_status(a, call);
}

/* First how things are, then that it has happened. */
static void move_leader_status(struct client_actor *a, struct client_call *call,
                               const struct node_status *status)
{
    struct move_leader *move = call->state;
    if (move->asked) {
        call_send(a, call, (struct view){0});
        call_finish(a, call);
        return;
    }
    struct rpc_error error = rpc_move_leader_check(move->target, a->state.member_id,
                                                   status->raft.leader, &status->configuration);
    if (error.code != 0) {
        call_fail(a, call, error);
        return;
    }
    const struct member_request request = {.action = MEMBER_TRANSFER, .id = move->target};
    move->asked = true;
    call_change_members(a, call, &request);
}

const struct call_ops client_move_leader_ops = {
    .message = move_leader_message, .status = move_leader_status, .closed = free_state};

/* ---- holdfast.v1.Cluster ------------------------------------------------------------------------------------------ */

static void fill_facts(const struct client_actor *a, const struct node_status *status,
                       struct cluster_facts *out)
{
    *out = (struct cluster_facts){
        .cluster = a->config.cluster,
        .configuration = &status->configuration,
        .configuration_index = status->raft.configuration_index,
        .last_log_index = status->raft.last_log_index,
        .change_pending =
            status->raft.configuration_index != status->raft.configuration_settled_index ||
            configuration_is_joint(&status->configuration),
        .leader_id = status->raft.leader,
        .report = &status->report,
    };
}

static void get_cluster_message(struct client_actor *a, struct client_call *call,
                                struct view message)
{
    look(a, call, message, rpc_get_cluster_decode);
}

static void get_cluster_answer(struct client_actor *a, struct client_call *call,
                               const struct node_status *status)
{
    struct response_header header = call_header(a, 0);
    struct cluster_facts facts;
    size_t size = 0;
    fill_facts(a, status, &facts);
    uint8_t *message = rpc_get_cluster_encode(&header, &facts, 0, &size);
    call_answer_encoded(a, call, &message, size);
}

const struct call_ops client_get_cluster_ops = {.message = get_cluster_message,
                                                .status = get_cluster_answer};

static const struct rpc_error no_such_wish = {
    GRPC_INVALID_ARGUMENT, "holdfast: voters must be 1, 3, 5 or 7, or 0 for as many as possible"};
static const struct rpc_error nobody_named = {GRPC_INVALID_ARGUMENT,
                                              "holdfast: say which member, by id or name"};

static void set_wish_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct member_request request;
    enum err error = rpc_set_wish_decode(message, &request);
    if (error == ERR_INVALID) {
        call_fail(a, call, no_such_wish);
    } else {
        change_or_fail(a, call, error, &request);
    }
}

static void set_wish_answer(struct client_actor *a, struct client_call *call,
                            const struct node_status *status)
{
    struct response_header header = call_header(a, 0);
    size_t size = 0;
    uint8_t *message = rpc_set_wish_encode(&header, &status->configuration.wish, 0, &size);
    call_answer_encoded(a, call, &message, size);
}

const struct call_ops client_set_wish_ops = {.message = set_wish_message,
                                             .status = set_wish_answer};

static void replace_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct member_request request;
    enum err error = rpc_replace_decode(message, &request);
    if (error == ERR_INVALID) {
        call_fail(a, call, nobody_named);
    } else {
        change_or_fail(a, call, error, &request);
    }
}

static void replace_answer(struct client_actor *a, struct client_call *call,
                           const struct node_status *status)
{
    struct response_header header = call_header(a, 0);
    struct cluster_facts facts;
    size_t size = 0;
    fill_facts(a, status, &facts);
    uint8_t *message = rpc_replace_encode(&header, &facts, 0, &size);
    call_answer_encoded(a, call, &message, size);
}

const struct call_ops client_replace_ops = {.message = replace_message, .status = replace_answer};
