/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_recipes.c: waiting in line: Lock and Unlock of the Lock service, Campaign of the Election service.
 * The rules are etcd's (sheet §2.8), so that its clients' own recipes may stand in the same line: a key is
 * name + "/" + lease in hexadecimal, made once, and the lowest create revision is at the head.
 *
 * A call that waits has two halves. The *client's call* is answered or ends: at its deadline, with its
 * stream, with its connection. The *worker*, an internal call, takes the steps, and goes on when the client
 * is gone until nothing of it is left in the line:
 *
 *   GRANTING   no lease was given: one of 60 seconds is made
 *   ENTERING   the key is put, and the head looked at, in one transaction
 *   LOOKING    who is right before us, and are we still there
 *   WAITING    watches our key and that one
 *   LEAVING    our key is deleted, or the lease we made revoked
 *
 * Whoever holds the lock or leads proves it by its key and the key's create revision (trap 54): a write
 * guarded by "create revision of KEY is REVISION" is refused once the lease is lost, however late it comes.
 * docs/locks.md has the example.
 *
 * Entering a line in which our key is already (the same lease asked before) takes the key over by a put
 * that keeps its create revision. Who leaves deletes the key only as he himself put it. So a call whose client
 * vanished and asked again elsewhere does not, when it notices late, delete what the new call relies on; etcd
 * does.
 *
 * Invariants
 *  1. recipe->client->state == recipe, and recipe->worker->state == recipe, as long as either is there.
 *  2. A recipe holds one credit of streams beside its client's, until it has left.
 *  3. After ENTERING was answered, either the client is told that it is at the head, or the key is removed,
 *     or it could not be for RECIPE_LEAVE_TRIES request timeouts; then the lease's end removes it.
 */
#include "client_recipes.h"

#include "client_lease.h"
#include "client_methods.h"
#include "client_watch.h"

#include "../api/rpc_election.h"
#include "../api/rpc_lock.h"
#include "../api/rpc_watch.h"

#include <stdio.h>
#include <string.h>

#define RECIPE_TTL_S       60 /* of a lease that the node makes; etcd's */
#define RECIPE_LEAVE_TRIES 8

enum recipe_kind { RECIPE_LOCK, RECIPE_CAMPAIGN };

enum recipe_stage {
    RECIPE_GRANTING,
    RECIPE_ENTERING,
    RECIPE_LOOKING,
    RECIPE_WAITING,
    RECIPE_LEAVING
};

struct recipe {
    enum recipe_kind kind;
    enum recipe_stage stage;
    struct client_call *client; /* NULL: answered, or gone */
    struct client_call *worker;
    struct line line;
    struct bytes name, key, value;
    int64_t lease;
    bool lease_is_ours;      /* made by us: leaving revokes it */
    bool entered;            /* the key is there, as we put it at put_revision */
    int64_t create_revision; /* of our key; with it the fencing token */
    int64_t put_revision;
    size_t leave_tries;
    struct call_watches watches;
    int64_t watch_id;     /* the newest; those below are of earlier looks */
    int64_t own_watch_id; /* of our key; 0: none yet */
};

static const struct call_ops worker_ops;
static void look(struct client_actor *a, struct recipe *r);

/* ---- lines ---------------------------------------------------------------------------------------- */

void line_of(struct view name, struct line *out)
{
    struct buffer prefix = {0};
    buffer_append(&prefix, name.data, name.size);
    buffer_u8(&prefix, '/');
    out->prefix = (struct bytes){.data = prefix.data, .size = prefix.size};
    out->end = bytes_copy(bytes_view(&out->prefix));
    out->end.data[out->end.size - 1] = '/' + 1;
}

void line_free(struct line *line)
{
    bytes_free(&line->prefix);
    bytes_free(&line->end);
}

struct query line_first(const struct line *line)
{
    return (struct query){.kind = QUERY_RANGE,
                          .key = bytes_view(&line->prefix),
                          .range_end = bytes_view(&line->end),
                          .limit = 1,
                          .sort_order = SORT_ASCEND,
                          .sort_target = SORT_CREATE};
}

struct query line_last_below(const struct line *line, int64_t max_create_revision)
{
    struct query q = line_first(line);
    q.sort_order = SORT_DESCEND;
    q.max_create_revision = max_create_revision;
    return q;
}

bool recipe_may_pass(enum err error)
{
    return error == ERR_TIMEOUT || error == ERR_NO_LEADER || error == ERR_NOT_LEADER ||
           error == ERR_LEADER_CHANGED || error == ERR_OVERLOAD;
}

static void propose_body(struct client_actor *a, struct client_call *call,
                         const struct txn_body *body)
{
    struct buffer encoded = {0};
    txn_body_encode(body, &encoded);
    struct command command = {.op = COMMAND_TXN,
                              .key = txn_body_first_key(body),
                              .body = view_of(encoded.data, encoded.size)};
    call_propose(a, call, &command);
    buffer_free(&encoded);
}

void recipe_propose_guarded(struct client_actor *a, struct client_call *call, struct view key,
                            int64_t create_revision, const struct txn_op *op)
{
    struct txn_compare guard = {
        .result = TXN_EQUAL, .target = TXN_CREATE, .key = key, .number = create_revision};
    struct txn_op once = *op;
    struct txn_body body = {
        .compares = &guard, .compare_count = 1, .success = &once, .success_count = 1};
    propose_body(a, call, &body);
}

/* ---- the end -------------------------------------------------------------------------------------- */

/* The worker's ops->closed: nothing of it will happen any more. */
static void worker_closed(struct client_actor *a, struct client_call *worker)
{
    struct recipe *r = worker->state;
    worker->state = NULL;
    if (r->client != NULL) {
        r->client->state = NULL; /* it is about to be ended too */
    }
    call_watch_close(a, &r->watches);
    credits_give(a->streams, 1);
    line_free(&r->line);
    bytes_free(&r->name);
    bytes_free(&r->key);
    bytes_free(&r->value);
    mem_free(r);
}

static void leave(struct client_actor *a, struct recipe *r)
{
    ASSERT(r->client == NULL);
    ASSERT(r->worker->request_id == 0);
    call_set_timer(a, r->worker, UINT64_MAX);
    if (r->leave_tries == RECIPE_LEAVE_TRIES || (!r->lease_is_ours && !r->entered)) {
        call_finish(a, r->worker);
        return;
    }
    r->stage = RECIPE_LEAVING;
    r->leave_tries++;
    if (r->lease_is_ours) {
        struct command revoke = {.op = COMMAND_LEASE_REVOKE, .lease_id = r->lease};
        call_propose(a, r->worker, &revoke);
        return;
    }
    struct txn_compare guard = {.result = TXN_EQUAL,
                                .target = TXN_MOD,
                                .key = bytes_view(&r->key),
                                .number = r->put_revision};
    struct txn_op removal = {.kind = TXN_DELETE_RANGE, .key = bytes_view(&r->key)};
    struct txn_body body = {
        .compares = &guard, .compare_count = 1, .success = &removal, .success_count = 1};
    propose_body(a, r->worker, &body);
}

/* The client is told why it does not get what it waits for; then nothing of it stays. */
static void give_up(struct client_actor *a, struct recipe *r, struct rpc_error error)
{
    struct client_call *client = r->client;
    if (client != NULL) {
        r->client = NULL;
        client->state = NULL;
        call_fail(a, client, error);
    }
    leave(a, r);
}

/* ops->closed of the client's call: it ended without an answer of ours. */
static void client_closed(struct client_actor *a, struct client_call *client)
{
    struct recipe *r = client->state;
    if (r == NULL) {
        return;
    }
    client->state = NULL;
    r->client = NULL;
    switch (r->stage) {
    case RECIPE_GRANTING:
    case RECIPE_ENTERING:
        break; /* what is under way may happen: its answer says what is there to be removed */
    case RECIPE_LOOKING:
    case RECIPE_WAITING:
        call_forget_step(a, r->worker);
        leave(a, r);
        break;
    case RECIPE_LEAVING:
        break;
    }
}

/* ---- being first ---------------------------------------------------------------------------------- */

static void answer(struct client_actor *a, struct recipe *r, int64_t revision)
{
    struct client_call *client = r->client;
    struct response_header header = call_header(a, revision);
    switch (r->kind) {
    case RECIPE_LOCK: {
        struct view key = bytes_view(&r->key);
        rpc_lock_write(&header, key, call_room(a, client, rpc_lock_size(&header, key)));
        break;
    }
    case RECIPE_CAMPAIGN: {
        struct leader_key leader = {.name = bytes_view(&r->name),
                                    .key = bytes_view(&r->key),
                                    .create_revision = r->create_revision,
                                    .lease = r->lease};
        rpc_campaign_write(&header, &leader,
                           call_room(a, client, rpc_campaign_size(&header, &leader)));
        break;
    }
    }
    r->client = NULL;
    client->state = NULL;
    call_finish(a, r->worker); /* frees the recipe */
    call_push(a, client);
    call_finish(a, client);
}

/* ---- entering ------------------------------------------------------------------------------------- */

static void enter(struct client_actor *a, struct recipe *r)
{
    uint64_t positive = r->lease < 0 ? 0 - (uint64_t)r->lease : (uint64_t)r->lease;
    char hex[24];
    int size = snprintf(hex, sizeof hex, "%s%" PRIx64, r->lease < 0 ? "-" : "", positive);
    ASSERT(size > 0);
    struct buffer key = {0};
    buffer_append(&key, r->line.prefix.data, r->line.prefix.size);
    buffer_append(&key, hex, (size_t)size);
    r->key = (struct bytes){.data = key.data, .size = key.size};
    r->stage = RECIPE_ENTERING;

    struct txn_compare absent = {
        .result = TXN_EQUAL, .target = TXN_CREATE, .key = bytes_view(&r->key)};
    struct txn_op make[2] = {
        {.kind = TXN_PUT,
         .key = bytes_view(&r->key),
         .value = bytes_view(&r->value),
         .lease = r->lease},
        {.kind = TXN_RANGE, .range = line_first(&r->line)},
    };
    struct txn_op take_over[2] = {make[0], make[1]};
    take_over[0].flags = COMMAND_PREV_KV;
    struct txn_body body = {.compares = &absent,
                            .compare_count = 1,
                            .success = make,
                            .success_count = 2,
                            .failure = take_over,
                            .failure_count = 2};
    propose_body(a, r->worker, &body);
}

static void granted(struct client_actor *a, struct recipe *r)
{
    r->lease_is_ours = true;
    if (r->client == NULL) {
        leave(a, r);
    } else {
        enter(a, r);
    }
}

static void entered(struct client_actor *a, struct recipe *r, const struct result *result)
{
    ASSERT(result->response_count == 2);
    const struct result *put = result->responses[0].result;
    const struct result *head = result->responses[1].result;
    r->entered = true;
    r->put_revision = result->revision;
    r->create_revision = result->revision;
    if (!result->succeeded) {
        ASSERT(put->kv_count == 1);
        r->create_revision = put->kvs[0].create_revision;
    }
    if (r->client == NULL) {
        leave(a, r);
    } else if (head->kv_count == 1 && head->kvs[0].create_revision == r->create_revision) {
        answer(a, r, result->revision);
    } else {
        look(a, r);
    }
}

/* ---- waiting -------------------------------------------------------------------------------------- */

/* Our key and the one right before it, as of one revision. */
static void look(struct client_actor *a, struct recipe *r)
{
    r->stage = RECIPE_LOOKING;
    struct txn_op ranges[2] = {
        {.kind = TXN_RANGE, .range = {.key = bytes_view(&r->key)}},
        {.kind = TXN_RANGE, .range = line_last_below(&r->line, r->create_revision - 1)},
    };
    struct txn_body body = {.success = ranges, .success_count = 2};
    struct buffer encoded = {0};
    txn_body_encode(&body, &encoded);
    struct query query = {.kind = QUERY_TXN, .body = view_of(encoded.data, encoded.size)};
    call_query(a, r->worker, &query);
    buffer_free(&encoded);
}

static struct rpc_error expired_error(const struct recipe *r)
{
    return r->kind == RECIPE_LOCK ? rpc_error_lock_expired : rpc_error_campaign_expired;
}

/* False: the worker is gone. */
static bool watch_key(struct client_actor *a, struct recipe *r, struct view key, int64_t revision)
{
    struct watch_call request = {.kind = WATCH_CALL_CREATE,
                                 .key = key,
                                 .start_revision = revision,
                                 .watch_id = ++r->watch_id,
                                 .no_put = true};
    return call_watch(a, r->worker, &r->watches, &request);
}

static void looked(struct client_actor *a, struct recipe *r, const struct result *result)
{
    ASSERT(result->response_count == 2);
    const struct result *own = result->responses[0].result;
    const struct result *before = result->responses[1].result;
    if (own->kv_count == 0 || own->kvs[0].create_revision != r->create_revision) {
        r->entered = false;
        give_up(a, r, expired_error(r));
        return;
    }
    if (before->kv_count == 0) {
        answer(a, r, result->revision);
        return;
    }
    r->stage = RECIPE_WAITING;
    if (r->own_watch_id == 0) {
        r->own_watch_id = r->watch_id + 1;
        if (!watch_key(a, r, bytes_view(&r->key), result->revision + 1)) {
            return;
        }
    }
    bool watching = watch_key(a, r, before->kvs[0].key, result->revision + 1);
    UNUSED(watching); /* else the worker has ended, and the recipe with it */
}

/* The watch of the one before us has told all it can, or ours must be made anew: look again. */
static void look_again(struct client_actor *a, struct recipe *r)
{
    struct watch_call request = {.kind = WATCH_CALL_CANCEL, .watch_id = r->watch_id};
    if (call_watch(a, r->worker, &r->watches, &request)) {
        look(a, r);
    }
}

static void worker_watch(struct client_actor *a, struct client_call *worker,
                         const struct client_watch *m, const struct watch_response *response)
{
    struct recipe *r = worker->state;
    UNUSED(m);
    if (!call_watch_taken(&r->watches, response)) {
        return;
    }
    call_watch_done(a, &r->watches, response);
    if (r->stage != RECIPE_WAITING ||
        (response->watch_id != r->watch_id && response->watch_id != r->own_watch_id &&
         response->kind != WATCH_RESPONSE_REFUSED)) {
        return;
    }
    switch (response->kind) {
    case WATCH_RESPONSE_CREATED:
    case WATCH_RESPONSE_PROGRESS:
    case WATCH_RESPONSE_TAKEN:
        return;
    case WATCH_RESPONSE_EVENTS: /* deletions alone were asked for */
        if (response->watch_id == r->own_watch_id) {
            r->entered = false;
            give_up(a, r, expired_error(r));
            return;
        }
        look_again(a, r);
        return;
    case WATCH_RESPONSE_CANCELED:
        if (response->compact_revision != 0) { /* it lagged, and history is gone */
            if (response->watch_id == r->own_watch_id) {
                r->own_watch_id = 0;
            }
            look_again(a, r);
            return;
        }
        break;
    case WATCH_RESPONSE_REFUSED:
        break;
    }
    give_up(a, r, rpc_error_of(ERR_OVERLOAD)); /* no room for another watcher */
}

/* ---- the worker's steps --------------------------------------------------------------------------- */

static void worker_reply(struct client_actor *a, struct client_call *worker,
                         const struct result *result)
{
    struct recipe *r = worker->state;
    switch (r->stage) {
    case RECIPE_GRANTING:
        granted(a, r);
        return;
    case RECIPE_ENTERING:
        entered(a, r, result);
        return;
    case RECIPE_LOOKING:
        looked(a, r, result);
        return;
    case RECIPE_LEAVING:
        call_finish(a, worker);
        return;
    case RECIPE_WAITING:
        break;
    }
    ASSERT(r->stage == RECIPE_LOOKING); /* nobody was asked anything */
}

static void worker_refused(struct client_actor *a, struct client_call *worker, enum err error)
{
    struct recipe *r = worker->state;
    switch (r->stage) {
    case RECIPE_GRANTING:
        /* after a timeout there may be a lease: then it is ours to end */
        r->lease_is_ours = error == ERR_TIMEOUT;
        give_up(a, r, rpc_recipe_error(error));
        return;
    case RECIPE_ENTERING:
        give_up(a, r, rpc_recipe_error(error));
        return;
    case RECIPE_LOOKING:
    case RECIPE_LEAVING:
        if (recipe_may_pass(error)) {
            call_set_timer(a, worker, a->now_us + RECIPE_RETRY_US);
        } else if (r->stage == RECIPE_LOOKING) {
            give_up(a, r, rpc_recipe_error(error));
        } else {
            call_finish(a, worker); /* the lease is gone, and the key with it */
        }
        return;
    case RECIPE_WAITING:
        break;
    }
    ASSERT(r->stage == RECIPE_LOOKING);
}

static void worker_timer(struct client_actor *a, struct client_call *worker)
{
    struct recipe *r = worker->state;
    if (r->stage == RECIPE_LOOKING) {
        look(a, r);
    } else {
        ASSERT(r->stage == RECIPE_LEAVING);
        leave(a, r);
    }
}

/* When the node stops the client's half ends, and this one leaves the line as far as there is time. */
static void worker_stopping(struct client_actor *a, struct client_call *worker)
{
    UNUSED(a);
    UNUSED(worker);
}

static const struct call_ops worker_ops = {
    .lasting = true,
    .reply = worker_reply,
    .refused = worker_refused,
    .watch = worker_watch,
    .timer = worker_timer,
    .stopping = worker_stopping,
    .closed = worker_closed,
};

/* ---- requests ------------------------------------------------------------------------------------- */

static void begin(struct client_actor *a, struct client_call *client, enum recipe_kind kind,
                  struct view name, struct view value, int64_t lease)
{
    if (!credits_take(a->streams, 1)) {
        call_fail(a, client, rpc_error_too_many_streams);
        return;
    }
    /* the entry names the line eight times and the value twice */
    if (8 * (name.size + 64) + 2 * value.size > a->config.request_bytes_max) {
        credits_give(a->streams, 1);
        call_fail(a, client, rpc_recipe_error(ERR_TOO_LARGE));
        return;
    }
    struct recipe *r = mem_zalloc(sizeof *r);
    r->kind = kind;
    r->client = client;
    client->state = r;
    r->worker = call_create_internal(a, &worker_ops);
    r->worker->state = r;
    line_of(name, &r->line);
    r->name = bytes_copy(name);
    r->value = bytes_copy(value);
    r->lease = lease;
    if (lease != 0) {
        enter(a, r);
        return;
    }
    r->lease = client_lease_id(a);
    r->stage = RECIPE_GRANTING;
    struct command grant = {.op = COMMAND_LEASE_GRANT, .lease_id = r->lease, .ttl_s = RECIPE_TTL_S};
    call_propose(a, r->worker, &grant);
}

static void lock_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct lock_request request;
    enum err error = rpc_lock_decode(message, &request);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    begin(a, call, RECIPE_LOCK, request.name, (struct view){0}, request.lease);
}

const struct call_ops client_lock_ops = {
    .lasting = true, .message = lock_message, .closed = client_closed};

static void campaign_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct campaign_request request;
    enum err error = rpc_campaign_decode(message, &request);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    begin(a, call, RECIPE_CAMPAIGN, request.name, request.value, request.lease);
}

const struct call_ops client_campaign_ops = {
    .lasting = true, .message = campaign_message, .closed = client_closed};

/* ---- Unlock --------------------------------------------------------------------------------------- */

static void unlock_message(struct client_actor *a, struct client_call *call, struct view message)
{
    struct view key;
    enum err error = rpc_unlock_decode(message, &key);
    if (error != OK) {
        call_fail_with(a, call, error);
        return;
    }
    struct command removal = {.op = COMMAND_DELETE_RANGE, .key = key};
    if (key.size == 0) {
        error = ERR_KEY_EMPTY;
    } else if (command_size(&removal) > a->config.request_bytes_max) {
        error = ERR_TOO_LARGE;
    }
    if (error != OK) {
        call_fail(a, call, rpc_recipe_error(error));
        return;
    }
    call_propose(a, call, &removal);
}

const struct call_ops client_unlock_ops = {.message = unlock_message, .reply = call_reply_bare};
