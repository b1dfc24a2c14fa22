/* SPDX-License-Identifier: Apache-2.0 */
/* holder.c: see holder.h. */
#include "holder.h"

#include "net/grpc.h"

#include "election.pb-c.h"
#include "lock.pb-c.h"

#include <string.h>

static void begin_grant(struct holder *h);
static void begin_acquire(struct holder *h);
static void begin_read(struct holder *h);

/* ---- calls ----------------------------------------------------------------------------------------- */

static void on_answer(void *context, const struct grpc_answer *answer);

static void begin(struct holder *h, const char *path, const ProtobufCMessage *request)
{
    struct buffer packed = {0};
    cli_pack(request, &packed);
    struct grpc_stream_settings settings = {
        .path = path, .first = view_of(packed.data, packed.size), .done = on_answer, .context = h};
    h->sent_ms = h->loop->now_ms;
    h->call = grpc_channel_stream(h->loop->channel, &settings);
    buffer_free(&packed);
}

static void fail(struct holder *h, int status, const char *text)
{
    enum cli_exit code = cli_refused(cli_loop_endpoint(h->loop), status, text);
    h->state = HOLDER_OVER;
    lease_keeper_stop(&h->keeper);
    h->user->failed(h->context, code);
}

static void lose(struct holder *h, const char *why)
{
    bool was_held = h->state == HOLDER_HELD;
    lease_keeper_stop(&h->keeper);
    watch_stream_cancel(&h->watch);
    if (was_held) {
        h->state = HOLDER_OVER;
        h->user->lost(h->context, why);
    } else if (h->state != HOLDER_OVER) {
        h->lease = 0; /* it is gone: nothing to revoke */
        cli_loop_break(h->loop, why);
    }
}

/* ---- GRANT ----------------------------------------------------------------------------------------- */

static void ignore_answer(void *context, const struct grpc_answer *answer)
{
    UNUSED(context);
    UNUSED(answer);
}

/* The key of an attempt that broke must not stand in the way of the next one. */
static void revoke_old(struct holder *h)
{
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    request.id = h->lease;
    struct buffer packed = {0};
    cli_pack(&request.base, &packed);
    grpc_channel_call(h->loop->channel, "/etcdserverpb.Lease/LeaseRevoke",
                      view_of(packed.data, packed.size), ignore_answer, NULL);
    buffer_free(&packed);
    h->lease = 0;
}

static void begin_grant(struct holder *h)
{
    h->state = HOLDER_GRANT;
    bytes_free(&h->key);
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    request.ttl = h->arguments->ttl_s;
    begin(h, "/etcdserverpb.Lease/LeaseGrant", &request.base);
}

static bool take_grant(struct holder *h, struct view body)
{
    Etcdserverpb__LeaseGrantResponse *response =
        etcdserverpb__lease_grant_response__unpack(NULL, body.size, body.data);
    if (response == NULL || response->id == 0 || response->ttl <= 0) {
        if (response != NULL) {
            etcdserverpb__lease_grant_response__free_unpacked(response, NULL);
        }
        return false;
    }
    h->lease = response->id;
    lease_keeper_start(&h->keeper, response->id, response->ttl, h->sent_ms);
    etcdserverpb__lease_grant_response__free_unpacked(response, NULL);
    begin_acquire(h);
    return true;
}

/* ---- ACQUIRE --------------------------------------------------------------------------------------- */

static void begin_acquire(struct holder *h)
{
    h->state = HOLDER_ACQUIRE;
    if (h->campaign) {
        V3electionpb__CampaignRequest request = V3ELECTIONPB__CAMPAIGN_REQUEST__INIT;
        request.name = cli_binary(h->name);
        request.value = cli_binary(h->value);
        request.lease = h->lease;
        begin(h, "/v3electionpb.Election/Campaign", &request.base);
    } else {
        V3lockpb__LockRequest request = V3LOCKPB__LOCK_REQUEST__INIT;
        request.name = cli_binary(h->name);
        request.lease = h->lease;
        begin(h, "/v3lockpb.Lock/Lock", &request.base);
    }
}

static bool take_acquire(struct holder *h, struct view body)
{
    if (h->campaign) {
        V3electionpb__CampaignResponse *response =
            v3electionpb__campaign_response__unpack(NULL, body.size, body.data);
        if (response != NULL && response->leader != NULL) {
            h->key = bytes_copy(cli_view(&response->leader->key));
        }
        if (response != NULL) {
            v3electionpb__campaign_response__free_unpacked(response, NULL);
        }
    } else {
        V3lockpb__LockResponse *response =
            v3lockpb__lock_response__unpack(NULL, body.size, body.data);
        if (response != NULL) {
            h->key = bytes_copy(cli_view(&response->key));
            v3lockpb__lock_response__free_unpacked(response, NULL);
        }
    }
    if (h->key.size == 0) {
        return false;
    }
    begin_read(h);
    return true;
}

/* ---- READ ------------------------------------------------------------------------------------------ */

/* Of the fencing token, and the proof that the key is there and ours. */
static void begin_read(struct holder *h)
{
    h->state = HOLDER_READ;
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = cli_binary(bytes_view(&h->key));
    begin(h, "/etcdserverpb.KV/Range", &request.base);
}

static bool take_read(struct holder *h, struct view body)
{
    Etcdserverpb__RangeResponse *response =
        etcdserverpb__range_response__unpack(NULL, body.size, body.data);
    if (response == NULL) {
        return false;
    }
    bool ours = response->n_kvs == 1 && response->kvs[0]->lease == h->lease;
    if (ours) {
        cli_loop_good(
            h->loop); /* not sooner: a node may grant leases and yet not get any further */
        h->state = HOLDER_HELD;
        h->revision = response->kvs[0]->create_revision;
        h->watch.key = bytes_view(&h->key);
        h->watch.next_revision = cli_revision_of(response->header) + 1;
        watch_stream_up(&h->watch);
        h->user->held(h->context);
    } else {
        cli_loop_break(h->loop, "the key vanished as soon as it was got; trying again");
    }
    etcdserverpb__range_response__free_unpacked(response, NULL);
    return true;
}

static void on_answer(void *context, const struct grpc_answer *answer)
{
    struct holder *h = context;
    h->call = NULL;
    if (answer->transport) {
        cli_loop_break(h->loop, "connection broke");
        return;
    }
    if (answer->status == GRPC_UNAVAILABLE || answer->status == GRPC_CANCELED ||
        (answer->status != GRPC_OK && strstr(answer->message, "lease not found") != NULL) ||
        (answer->status != GRPC_OK && strstr(answer->message, "session is expired") != NULL)) {
        /* The node has no leader or stops, or the lease ran out while we waited: once more, elsewhere. */
        cli_loop_break(h->loop, answer->message);
        return;
    }
    if (answer->status != GRPC_OK) {
        fail(h, answer->status, answer->message);
        return;
    }
    bool understood = true;
    switch (h->state) {
    case HOLDER_GRANT:
        understood = take_grant(h, answer->body);
        break;
    case HOLDER_ACQUIRE:
        understood = take_acquire(h, answer->body);
        break;
    case HOLDER_READ:
        understood = take_read(h, answer->body);
        break;
    case HOLDER_HELD:
    case HOLDER_OVER:
        break;
    }
    if (!understood) {
        fail(h, GRPC_OK, "the answer cannot be read; is it an etcd v3 server?");
    }
}

/* ---- HELD ------------------------------------------------------------------------------------------ */

static void on_lease_lost(void *context, bool known)
{
    lose(context, known ? "its lease expired or was revoked"
                        : "no endpoint confirmed its lease within the TTL");
}

static void on_watch_created(void *context, int64_t revision)
{
    UNUSED(context);
    UNUSED(revision);
}

static void on_watch_events(void *context, Mvccpb__Event *const *events, size_t count,
                            int64_t header_revision)
{
    UNUSED(header_revision);
    for (size_t i = 0; i < count; i++) {
        if (events[i]->type == MVCCPB__EVENT__EVENT_TYPE__DELETE) {
            lose(context, "its key was deleted");
            return;
        }
    }
}

/* Compacted or refused: whether the key is there is not known any more, and that is too little. */
static void on_watch_ended(void *context, enum cli_exit code)
{
    UNUSED(code);
    lose(context, "its key can no longer be watched");
}

static const struct lease_keeper_user keeper_user = {.lost = on_lease_lost};
static const struct watch_stream_user watch_user = {
    .created = on_watch_created, .events = on_watch_events, .ended = on_watch_ended};

/* ---- the loop's functions -------------------------------------------------------------------------- */

void holder_start(struct holder *h)
{
    h->state = HOLDER_GRANT;
    h->give_up_ms =
        h->arguments->wait_ms == 0 ? UINT64_MAX : grpc_channel_clock_ms() + h->arguments->wait_ms;
    h->keeper.loop = h->loop;
    h->keeper.user = &keeper_user;
    h->keeper.context = h;
    h->watch.loop = h->loop;
    h->watch.user = &watch_user;
    h->watch.context = h;
}

void holder_up(struct holder *h)
{
    if (h->state == HOLDER_HELD) {
        lease_keeper_up(&h->keeper);
        watch_stream_up(&h->watch);
    } else if (h->state != HOLDER_OVER) {
        lease_keeper_stop(&h->keeper);
        if (h->lease != 0) {
            revoke_old(h);
        }
        begin_grant(h);
    }
}

void holder_down(struct holder *h)
{
    h->call = NULL;
    lease_keeper_down(&h->keeper);
    watch_stream_down(&h->watch);
}

static bool waits_for_short_answer(const struct holder *h)
{
    return h->call != NULL && (h->state == HOLDER_GRANT || h->state == HOLDER_READ);
}

uint64_t holder_due_ms(const struct holder *h)
{
    uint64_t due_ms = lease_keeper_due_ms(&h->keeper);
    if (waits_for_short_answer(h)) {
        uint64_t end_ms = h->sent_ms + h->arguments->timeout_ms;
        due_ms = end_ms < due_ms ? end_ms : due_ms;
    }
    if (h->state < HOLDER_HELD && h->give_up_ms < due_ms) {
        due_ms = h->give_up_ms;
    }
    return due_ms;
}

void holder_tick(struct holder *h, uint64_t now_ms)
{
    if (h->state < HOLDER_HELD && now_ms >= h->give_up_ms) {
        fprintf(stderr, "holdfastctl: not got within the time given by --wait\n");
        h->state = HOLDER_OVER;
        grpc_call_cancel(&h->call);
        lease_keeper_stop(&h->keeper);
        h->user->failed(h->context, CLI_FAILED);
        return;
    }
    if (waits_for_short_answer(h) && now_ms >= h->sent_ms + h->arguments->timeout_ms) {
        grpc_call_cancel(&h->call);
        cli_loop_break(h->loop, "no answer in time");
        return;
    }
    lease_keeper_tick(&h->keeper, now_ms);
}

/* ---- release --------------------------------------------------------------------------------------- */

static enum cli_exit give_up_key(struct holder *h, struct cli_session *session)
{
    struct cli_answer answer = {0};
    enum cli_exit code = CLI_OK;
    if (h->campaign) {
        V3electionpb__LeaderKey leader = V3ELECTIONPB__LEADER_KEY__INIT;
        leader.name = cli_binary(h->name);
        leader.key = cli_binary(bytes_view(&h->key));
        leader.rev = h->revision;
        leader.lease = h->lease;
        V3electionpb__ResignRequest request = V3ELECTIONPB__RESIGN_REQUEST__INIT;
        request.leader = &leader;
        code = cli_call_message(session, "/v3electionpb.Election/Resign", &request.base, true,
                                &answer);
    } else {
        V3lockpb__UnlockRequest request = V3LOCKPB__UNLOCK_REQUEST__INIT;
        request.key = cli_binary(bytes_view(&h->key));
        code = cli_call_message(session, "/v3lockpb.Lock/Unlock", &request.base, true, &answer);
    }
    bytes_free(&answer.body);
    return code;
}

void holder_release(struct holder *h)
{
    struct cli_session session = {.arguments = h->arguments, .at = h->loop->at};
    enum cli_exit code = CLI_OK;
    if (h->revision != 0 && h->state == HOLDER_HELD) {
        code = give_up_key(h, &session);
    }
    if (h->lease != 0 && code != CLI_UNREACHABLE) {
        Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
        request.id = h->lease;
        struct cli_answer answer = {0};
        code = cli_call_message(&session, "/etcdserverpb.Lease/LeaseRevoke", &request.base, true,
                                &answer);
        bytes_free(&answer.body);
        code = answer.status == GRPC_NOT_FOUND ? CLI_OK : code; /* gone is gone */
    }
    if (code != CLI_OK) {
        fprintf(
            stderr,
            "holdfastctl: could not give it back; it is free when its lease ends, within %u s\n",
            h->arguments->ttl_s);
    }
    cli_session_close(&session);
    h->state = HOLDER_OVER;
}

void holder_free(struct holder *h)
{
    bytes_free(&h->key);
}
