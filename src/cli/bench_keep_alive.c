/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_keep_alive.c: leases that `bench grant` made (--key-count of them) are kept alive in turn. Each
 * call is a stream of its own that stays open; it has one keepalive under way at a time.
 */
#include "bench.h"

#define KEEP_ALIVE_PATH "/etcdserverpb.Lease/LeaseKeepAlive"

static void kept(void *context, struct view message)
{
    struct bench_call *call = context;
    Etcdserverpb__LeaseKeepAliveResponse *answer =
        etcdserverpb__lease_keep_alive_response__unpack(NULL, message.size, message.data);
    const char *failure = NULL;
    if (answer == NULL || answer->id != BENCH_FIRST_LEASE + (int64_t)call->key) {
        failure = "not the answer to that keepalive";
    } else if (answer->ttl <= 0) {
        failure = "no such lease; bench grant makes them";
    }
    if (answer != NULL) {
        etcdserverpb__lease_keep_alive_response__free_unpacked(answer, NULL);
    }
    bench_call_ended(call, failure, true);
}

static void stream_ended(void *context, const struct grpc_answer *answer)
{
    struct bench_call *call = context;
    call->stream = NULL;
    if (!call->under_way) {
        call->bench->failed++;
        return;
    }
    bench_call_ended(call, answer->transport ? "connection broke" : answer->message, false);
}

static void begin_keep_alive(struct bench *bench, struct bench_call *call)
{
    if (call->stream == NULL) {
        struct grpc_stream_settings settings = {.path = KEEP_ALIVE_PATH,
                                                .stays_open = true,
                                                .message = kept,
                                                .done = stream_ended,
                                                .context = call};
        call->stream = grpc_channel_stream(call->channel, &settings);
    }
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    call->key = call->number % bench->arguments->bench_keys;
    request.id = BENCH_FIRST_LEASE + (int64_t)call->key;
    bench->packed.size = 0;
    cli_pack(&request.base, &bench->packed);
    grpc_call_send(call->stream, view_of(bench->packed.data, bench->packed.size));
}

const struct bench_kind bench_keep_alive = {
    .name = "keep-alive", .open_loop = true, .begin = begin_keep_alive};
