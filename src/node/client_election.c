/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_election.c: the Election service beside Campaign: Proclaim, Leader, Resign, one step each, and
 * Observe, a stream of who leads and what it proclaims.
 *
 * Observe looks for the head of the line, tells it, and watches its key: a put is the next proclamation, a
 * deletion means looking again. A line that is empty is watched as a whole until someone enters. What is told
 * is bounded by the watch actor's credit: a client that reads slowly gets everything later, and one that
 * falls behind a compaction the head as it is then.
 */
#include "client_methods.h"
#include "client_recipes.h"
#include "client_watch.h"

#include "../api/rpc_election.h"
#include "../api/rpc_lock.h"
#include "../api/rpc_watch.h"

/* ---- Proclaim, Resign ----------------------------------------------------------------------------- */

static void recipe_refused(struct client_actor *a, struct client_call *call, enum err error)
{
    call_fail(a, call, rpc_recipe_error(error));
}

/* What is wrong with it as it stands. False: the call has failed. */
static bool check_leader(struct client_actor *a, struct client_call *call, enum err error,
                         const struct leader_request *request)
{
    if (error != OK) {
        call_fail_with(a, call, error);
    } else if (!request->given) {
        call_fail(a, call, rpc_error_leader_missing);
    } else if (request->leader.key.size == 0) {
        call_fail(a, call, rpc_recipe_error(ERR_KEY_EMPTY));
    } else if (3 * request->leader.key.size + request->value.size + 256 >
               a->config.request_bytes_max) { /* compared, put, and named at the front */
        call_fail(a, call, rpc_recipe_error(ERR_TOO_LARGE));
    } else {
        return true;
    }
    return false;
}

static void proclaim_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct leader_request request;
    enum err error = rpc_proclaim_decode(message, &request);
    if (check_leader(a, call, error, &request)) {
        struct txn_op put = {.kind = TXN_PUT,
                             .key = request.leader.key,
                             .value = request.value,
                             .lease = request.leader.lease};
        recipe_propose_guarded(a, call, request.leader.key, request.leader.create_revision, &put);
    }
}

static void proclaim_reply(struct client_actor *a, struct client_call *call,
                           const struct result *result)
{
    if (result->succeeded) {
        call_reply_bare(a, call, result);
    } else {
        call_fail(a, call, rpc_error_not_elected);
    }
}

const struct call_ops client_proclaim_ops = {
    .message = proclaim_message, .reply = proclaim_reply, .refused = recipe_refused};

static void resign_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct leader_request request;
    enum err error = rpc_resign_decode(message, &request);
    if (check_leader(a, call, error, &request)) {
        struct txn_op removal = {.kind = TXN_DELETE_RANGE, .key = request.leader.key};
        recipe_propose_guarded(a, call, request.leader.key, request.leader.create_revision,
                               &removal);
    }
}

/* Who leads no more has nothing to resign, and that is fine. */
const struct call_ops client_resign_ops = {
    .message = resign_message, .reply = call_reply_bare, .refused = recipe_refused};

/* ---- Leader --------------------------------------------------------------------------------------- */

static void leader_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct view name;
    enum err error = rpc_leader_decode(message, &name);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    struct line line;
    line_of(name, &line);
    struct query query = line_first(&line);
    call_query(a, call, &query);
    line_free(&line);
}

static size_t send_leader(struct client_actor *a, struct client_call *call, int64_t revision,
                          const struct key_value *kv)
{
    struct response_header header = call_header(a, revision);
    size_t size = rpc_leader_size(&header, kv);
    rpc_leader_write(&header, kv, call_room(a, call, size));
    call_push(a, call);
    return size;
}

static void leader_reply(struct client_actor *a, struct client_call *call,
                         const struct result *result)
{
    if (result->kv_count == 0) {
        call_fail(a, call, rpc_error_no_leader_elected);
        return;
    }
    (void)send_leader(a, call, result->revision, &result->kvs[0]);
    call_finish(a, call);
}

const struct call_ops client_leader_ops = {
    .message = leader_message, .reply = leader_reply, .refused = recipe_refused};

/* ---- Observe -------------------------------------------------------------------------------------- */

struct observer {
    struct line line;
    struct call_watches watches;
    int64_t watch_id; /* the newest; responses to those before are stale */
    bool watching;
    bool has_head;         /* a key is watched, not the line */
    struct bytes told_key; /* of what was told last ... */
    int64_t told_revision; /* ... and its mod revision */
};

static void observe_look(struct client_actor *a, struct client_call *call)
{
    struct observer *o = call->state;
    o->watching = false;
    struct query query = line_first(&o->line);
    call_query(a, call, &query);
}

static void observe_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct view name;
    enum err error = rpc_leader_decode(message, &name);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    struct observer *o = mem_zalloc(sizeof *o);
    line_of(name, &o->line);
    call->state = o;
    call_begin(a, call);
    observe_look(a, call);
}

/* Whoever has waited in the line since before the last one proclaimed comes to its head with an older
 * revision; that the head is another is news as well. */
static void tell_head(struct client_actor *a, struct client_call *call, int64_t revision,
                      const struct key_value *head)
{
    struct observer *o = call->state;
    bool same = view_equal(bytes_view(&o->told_key), head->key);
    if (same && head->mod_revision <= o->told_revision) {
        return;
    }
    if (!same) {
        bytes_free(&o->told_key);
        o->told_key = bytes_copy(head->key);
    }
    o->told_revision = head->mod_revision;
    (void)send_leader(a, call, revision, head);
}

static void observe_reply(struct client_actor *a, struct client_call *call,
                          const struct result *result)
{
    struct observer *o = call->state;
    struct watch_call request = {.kind = WATCH_CALL_CREATE,
                                 .key = bytes_view(&o->line.prefix),
                                 .range_end = bytes_view(&o->line.end),
                                 .start_revision = result->revision + 1,
                                 .watch_id = ++o->watch_id,
                                 .no_delete = true};
    o->has_head = result->kv_count > 0;
    if (o->has_head) {
        const struct key_value *head = &result->kvs[0];
        request.key = head->key;
        request.range_end = (struct view){0};
        request.no_delete = false;
        tell_head(a, call, result->revision, head);
    }
    o->watching = true;
    bool watching = call_watch(a, call, &o->watches, &request);
    UNUSED(watching); /* else the call has failed */
}

/* The watch at hand has told what it was made for: look again, with another. */
static void observe_again(struct client_actor *a, struct client_call *call, bool cancel)
{
    struct observer *o = call->state;
    struct watch_call request = {.kind = WATCH_CALL_CANCEL, .watch_id = o->watch_id};
    if (cancel && !call_watch(a, call, &o->watches, &request)) {
        return;
    }
    observe_look(a, call);
}

static void observe_watch(struct client_actor *a, struct client_call *call,
                          const struct client_watch *m, const struct watch_response *response)
{
    struct observer *o = call->state;
    if (!call_watch_taken(&o->watches, response)) {
        return;
    }
    bool stale = !o->watching || response->watch_id != o->watch_id;
    size_t sent = 0;
    bool again = false;
    if (response->kind == WATCH_RESPONSE_EVENTS && !stale) {
        const struct watch_batch *batch = m->batch;
        again = !o->has_head;
        for (size_t i = 0; i < response->ref_count && !again; i++) {
            uint32_t index = batch->refs[response->ref_first + i];
            struct key_value kv = event_pair(&batch->events, index);
            if (batch->events.items[index].deleted) {
                again = true;
            } else {
                o->told_revision = kv.mod_revision;
                sent += send_leader(a, call, kv.mod_revision, &kv);
            }
        }
    }
    if (sent > 0) {
        call_watch_sent(a, call, &o->watches, response, sent);
    } else {
        call_watch_done(a, &o->watches, response);
    }
    if (again) {
        observe_again(a, call, true);
    } else if (response->kind == WATCH_RESPONSE_CANCELED && !stale &&
               response->compact_revision != 0) {
        observe_again(a, call, false);
    } else if (response->kind == WATCH_RESPONSE_REFUSED ||
               (response->kind == WATCH_RESPONSE_CANCELED && !stale)) {
        call_fail_with(a, call, ERR_OVERLOAD); /* no room for another watcher */
    }
}

static void observe_drained(struct client_actor *a, struct client_call *call)
{
    struct observer *o = call->state;
    call_watch_drained(a, call, &o->watches);
}

static void observe_refused(struct client_actor *a, struct client_call *call, enum err error)
{
    if (recipe_may_pass(error)) {
        call_set_timer(a, call, a->now_us + RECIPE_RETRY_US);
    } else {
        call_fail(a, call, rpc_recipe_error(error));
    }
}

static void observe_closed(struct client_actor *a, struct client_call *call)
{
    struct observer *o = call->state;
    if (o != NULL) {
        call_watch_close(a, &o->watches);
        line_free(&o->line);
        bytes_free(&o->told_key);
        mem_free(o);
        call->state = NULL;
    }
}

const struct call_ops client_observe_ops = {
    .lasting = true,
    .message = observe_message,
    .reply = observe_reply,
    .refused = observe_refused,
    .watch = observe_watch,
    .drained = observe_drained,
    .timer = observe_look,
    .closed = observe_closed,
};
