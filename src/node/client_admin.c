/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_admin.c: methods for those who look after a cluster: Alarm, Defragment, Downgrade; and
 * what Auth's clients must be told. Most are answered from the request and from how the node is.
 */
#include "client_methods.h"

#include "../api/rpc_admin.h"
#include "../api/rpc_maintenance.h"

/* The store's revision, for a header, is a question to the node. */
static void ask_status(struct client_actor *a, struct client_call *call, bool decoded,
                       struct rpc_error error)
{
    if (decoded) {
        call_status(a, call);
    } else {
        call_fail(a, call, error);
    }
}

/* ---- Alarm ---------------------------------------------------------------------------------------- */

static void alarm_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct rpc_error error;
    bool decoded = rpc_alarm_decode(message, &error);
    ask_status(a, call, decoded, error);
}

static void alarm_status(struct client_actor *a, struct client_call *call,
                         const struct node_status *status)
{
    call_answer_bare(a, call, status->revision);
}

const struct call_ops client_alarm_ops = {.message = alarm_message, .status = alarm_status};

/* ---- Defragment ------------------------------------------------------------------------------------ */

/* Freed pages are used again, and given back in small slices (kv.db): there is nothing to stop a node for. */
static void defragment_message(struct client_actor *a, struct client_call *call,
                               struct view message)
{
    enum err error = rpc_empty_decode(message);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    call_send(a, call, (struct view){0});
    call_finish(a, call);
}

const struct call_ops client_defragment_ops = {.message = defragment_message};

/* ---- Downgrade, Auth ------------------------------------------------------------------------------- */

static void downgrade_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct rpc_error error;
    bool possible = rpc_downgrade_decode(message, &error);
    ASSERT(!possible);
    call_fail(a, call, error);
}

const struct call_ops client_downgrade_ops = {.message = downgrade_message};

static void authenticate_message(struct client_actor *a, struct client_call *call,
                                 struct view message)
{
    struct rpc_error error;
    bool possible = rpc_authenticate_decode(message, &error);
    ASSERT(!possible);
    call_fail(a, call, error);
}

const struct call_ops client_authenticate_ops = {.message = authenticate_message};

static void auth_status_message(struct client_actor *a, struct client_call *call,
                                struct view message)
{
    enum err error = rpc_empty_decode(message);
    ask_status(a, call, error == OK, rpc_error_of(error));
}

static void auth_status_answer(struct client_actor *a, struct client_call *call,
                               const struct node_status *status)
{
    struct response_header header = call_header(a, status->revision);
    rpc_auth_status_write(&header, call_room(a, call, rpc_auth_status_size(&header)));
    call_push(a, call);
    call_finish(a, call);
}

const struct call_ops client_auth_status_ops = {.message = auth_status_message,
                                                .status = auth_status_answer};
