/* SPDX-License-Identifier: Apache-2.0 */
/* lease_keeper.c: see lease_keeper.h. */
#include "lease_keeper.h"

#include "net/grpc.h"

#define RENEWAL_TTL_MS_UNKNOWN 15000 /* of a lease whose TTL no answer has told yet */

/* How long a renewal may take, and how long after one was confirmed the next is sent. */
static uint64_t third_ms(const struct lease_keeper *k)
{
    return (k->ttl_ms == 0 ? RENEWAL_TTL_MS_UNKNOWN : k->ttl_ms) / 3;
}

static void lost(struct lease_keeper *k, bool known)
{
    lease_keeper_stop(k);
    k->user->lost(k->context, known);
}

static void on_message(void *context, struct view message)
{
    struct lease_keeper *k = context;
    Etcdserverpb__LeaseKeepAliveResponse *response =
        etcdserverpb__lease_keep_alive_response__unpack(NULL, message.size, message.data);
    if (response == NULL) {
        cli_loop_break(k->loop, "its answer cannot be read; is it an etcd v3 server?");
        return;
    }
    int64_t ttl_s = response->ttl;
    etcdserverpb__lease_keep_alive_response__free_unpacked(response, NULL);
    cli_loop_good(k->loop);
    if (ttl_s <= 0) {
        lost(k, true);
        return;
    }
    k->ttl_ms = (uint64_t)ttl_s * 1000;
    k->confirmed_ms = k->sent_ms != 0 ? k->sent_ms : k->confirmed_ms;
    k->sent_ms = 0;
    if (k->user->renewed != NULL) {
        k->user->renewed(k->context, ttl_s);
    }
}

static void on_done(void *context, const struct grpc_answer *answer)
{
    struct lease_keeper *k = context;
    k->call = NULL;
    k->sent_ms = 0;
    if (!answer->transport && answer->status == GRPC_UNIMPLEMENTED) {
        lease_keeper_stop(k);
        cli_loop_stop(k->loop,
                      cli_refused(cli_loop_endpoint(k->loop), answer->status, answer->message));
        return;
    }
    /* No leader, a deposed one, a node that stops: another may know better. The time is what decides. */
    cli_loop_break(k->loop, answer->transport            ? "reset the keep-alive"
                            : answer->message[0] != '\0' ? answer->message
                                                         : "ended the keep-alive");
}

static void send_renewal(struct lease_keeper *k, uint64_t now_ms)
{
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    request.id = k->lease;
    struct buffer packed = {0};
    cli_pack(&request.base, &packed);
    k->sent_ms = now_ms;
    if (k->call != NULL) {
        grpc_call_send(k->call, view_of(packed.data, packed.size));
    } else {
        struct grpc_stream_settings settings = {.path = "/etcdserverpb.Lease/LeaseKeepAlive",
                                                .stays_open = true,
                                                .has_leader = true,
                                                .first = view_of(packed.data, packed.size),
                                                .message = on_message,
                                                .done = on_done,
                                                .context = k};
        k->call = grpc_channel_stream(k->loop->channel, &settings);
    }
    buffer_free(&packed);
}

void lease_keeper_start(struct lease_keeper *k, int64_t lease, int64_t ttl_s, uint64_t sent_ms)
{
    k->lease = lease;
    k->ttl_ms = ttl_s > 0 ? (uint64_t)ttl_s * 1000 : 0;
    k->confirmed_ms = sent_ms;
    k->active = true;
    if (ttl_s <= 0 && k->loop->is_up) {
        send_renewal(k, k->loop->now_ms);
    }
}

void lease_keeper_stop(struct lease_keeper *k)
{
    k->active = false;
    k->sent_ms = 0;
    grpc_call_cancel(&k->call);
}

void lease_keeper_up(struct lease_keeper *k)
{
    if (k->active) {
        send_renewal(k, k->loop->now_ms);
    }
}

void lease_keeper_down(struct lease_keeper *k)
{
    k->call = NULL;
    k->sent_ms = 0;
}

uint64_t lease_keeper_due_ms(const struct lease_keeper *k)
{
    if (!k->active) {
        return UINT64_MAX;
    }
    uint64_t end_ms = k->ttl_ms != 0 ? k->confirmed_ms + k->ttl_ms : UINT64_MAX;
    uint64_t next_ms = UINT64_MAX;
    if (k->sent_ms != 0) {
        next_ms = k->sent_ms + third_ms(k);
    } else if (k->loop->is_up) {
        next_ms = k->confirmed_ms + third_ms(k);
    }
    return next_ms < end_ms ? next_ms : end_ms;
}

void lease_keeper_tick(struct lease_keeper *k, uint64_t now_ms)
{
    if (!k->active) {
        return;
    }
    if (k->ttl_ms != 0 && now_ms >= k->confirmed_ms + k->ttl_ms) {
        lost(k, false);
    } else if (k->sent_ms != 0) {
        if (now_ms >= k->sent_ms + third_ms(k)) {
            k->sent_ms = 0;
            cli_loop_break(k->loop, "does not answer a keep-alive");
        }
    } else if (k->loop->is_up && now_ms >= k->confirmed_ms + third_ms(k)) {
        send_renewal(k, now_ms);
    }
}
