/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_watch.c: many watchers, and how many events reach them how late. Responses are looked through
 * field by field, not unpacked, so that what receives is not the bottleneck.
 *
 * In flow WatchResponses; out flow counts. Each value begins with the time its put was due at (this
 * process's clock), so an event tells its own age.
 *
 * Invariants
 *  1. `expected` grows when a put is answered, by the number of watchers that see the key; at the end
 *     `events` equals it exactly.
 */
#include "bench.h"

#include "api/proto.h"

#include <string.h>

#define WATCH_PATH     "/etcdserverpb.Watch/Watch"
#define DRAIN_ROUND_US UINT64_C(100000)
#define FIELD_CREATED  3
#define FIELD_CANCELED 4
#define FIELD_EVENTS   11
#define EVENT_KV       2
#define KV_VALUE       5

struct watch_call {
    struct bench_watchers *watchers;
    struct grpc_call *call; /* NULL once it has ended */
};

struct bench_watchers {
    struct bench *bench;
    struct watch_call *streams;
    size_t stream_count;
    uint64_t wanted, created, refused;
    uint64_t expected, events, responses;
    uint64_t events_counted, last_event_us;
    double create_s;
    struct bench_samples ages;
};

static void take_event(struct bench_watchers *watchers, struct view event, uint64_t now_us)
{
    struct bench *bench = watchers->bench;
    uint64_t due_us = 0;
    struct proto_reader in_event = proto_reader_of(event);
    while (proto_next(&in_event)) {
        if (in_event.field != EVENT_KV) {
            continue;
        }
        struct proto_reader in_kv = proto_reader_of(proto_octets(&in_event));
        while (proto_next(&in_kv)) {
            if (in_kv.field == KV_VALUE && proto_octets(&in_kv).size >= sizeof(due_us)) {
                memcpy(&due_us, in_kv.octets.data, sizeof(due_us));
            }
        }
    }
    watchers->events++;
    watchers->last_event_us = now_us;
    if (now_us >= bench->count_from_us && now_us < bench->end_us) {
        watchers->events_counted++;
    }
    if (bench_counts(bench, due_us, now_us)) {
        bench_sample(&watchers->ages, now_us > due_us ? now_us - due_us : 0);
    }
}

static void take_response(void *context, struct view message)
{
    const struct watch_call *stream = context;
    struct bench_watchers *watchers = stream->watchers;
    uint64_t now_us = bench_now_us();
    bool has_events = false;
    struct proto_reader r = proto_reader_of(message);
    while (proto_next(&r)) {
        if (r.field == FIELD_CREATED) {
            watchers->created++;
        } else if (r.field == FIELD_CANCELED) {
            watchers->refused++;
        } else if (r.field == FIELD_EVENTS) {
            take_event(watchers, proto_octets(&r), now_us);
            has_events = true;
        }
    }
    watchers->responses += has_events ? 1 : 0;
}

static void stream_ended(void *context, const struct grpc_answer *answer)
{
    struct watch_call *stream = context;
    stream->call = NULL;
    stream->watchers->refused++;
    fprintf(stderr, "holdfastctl: a stream of watchers has ended: %s\n",
            answer->transport ? "connection broke" : answer->message);
}

static void create(struct bench_watchers *watchers, struct grpc_call *stream, uint64_t number)
{
    struct bench *bench = watchers->bench;
    char key[BENCH_KEY_SIZE_MAX];
    Etcdserverpb__WatchCreateRequest one = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    if (bench->arguments->prefix) {
        one.key = cli_binary(view_of_text(BENCH_WATCHED_PREFIX));
        one.range_end = cli_binary(view_of_text(BENCH_WATCHED_END));
    } else {
        size_t size = bench_key(true, number % bench->arguments->bench_keys, key);
        one.key = cli_binary(view_of(key, size));
    }
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &one;
    bench->packed.size = 0;
    cli_pack(&request.base, &bench->packed);
    grpc_call_send(stream, view_of(bench->packed.data, bench->packed.size));
}

/* Poll until `count` has come. False: nothing came for too long, or a watcher was refused. */
static bool wait_for(struct bench *bench, const uint64_t *count, uint64_t wanted)
{
    const struct bench_watchers *watchers = bench->watchers;
    uint64_t seen = *count;
    uint64_t progress_us = bench_now_us();
    while (*count < wanted && watchers->refused == 0) {
        bench_poll(bench, DRAIN_ROUND_US);
        if (*count != seen) {
            seen = *count;
            progress_us = bench_now_us();
        } else if (bench_now_us() - progress_us > (uint64_t)BENCH_IDLE_MS_MAX * 1000) {
            return false;
        }
    }
    return watchers->refused == 0;
}

bool bench_watchers_open(struct bench *bench, struct grpc_channel **channels, size_t channel_count)
{
    const struct cli_arguments *arguments = bench->arguments;
    struct bench_watchers *watchers = mem_zalloc(sizeof(*watchers));
    bench->watchers = watchers;
    watchers->bench = bench;
    watchers->wanted = arguments->bench_watchers;
    watchers->stream_count = channel_count * arguments->bench_streams;
    ASSERT(watchers->stream_count > 0);
    watchers->streams = mem_zalloc(watchers->stream_count * sizeof(watchers->streams[0]));
    uint64_t began_us = bench_now_us();
    for (size_t i = 0; i < watchers->stream_count; i++) {
        struct watch_call *stream = &watchers->streams[i];
        struct grpc_stream_settings settings = {.path = WATCH_PATH,
                                                .stays_open = true,
                                                .message = take_response,
                                                .done = stream_ended,
                                                .context = stream};
        stream->watchers = watchers;
        stream->call = grpc_channel_stream(channels[i % channel_count], &settings);
    }
    for (uint64_t number = 0; number < watchers->wanted; number++) {
        create(watchers, watchers->streams[number % watchers->stream_count].call, number);
    }
    bool all = wait_for(bench, &watchers->created, watchers->wanted);
    watchers->create_s = (double)(bench_now_us() - began_us) / 1e6;
    if (!all) {
        fprintf(stderr, "holdfastctl: %" PRIu64 " of %" PRIu64 " watchers were created\n",
                watchers->created, watchers->wanted);
    }
    return all;
}

void bench_watchers_expect(struct bench_watchers *watchers, uint64_t key)
{
    const struct cli_arguments *arguments = watchers->bench->arguments;
    uint64_t keys = arguments->bench_keys;
    if (arguments->prefix) {
        watchers->expected += watchers->wanted;
    } else {
        watchers->expected += watchers->wanted / keys + (key < watchers->wanted % keys ? 1 : 0);
    }
}

bool bench_watchers_drain(struct bench *bench)
{
    const struct bench_watchers *watchers = bench->watchers;
    bool all = wait_for(bench, &watchers->events, watchers->expected);
    if (!all || watchers->events != watchers->expected) {
        fprintf(stderr, "holdfastctl: %" PRIu64 " events came, and not %" PRIu64 "\n",
                watchers->events, watchers->expected);
        return false;
    }
    return true;
}

void bench_watchers_print_created(const struct bench *bench)
{
    const struct bench_watchers *watchers = bench->watchers;
    double rate = watchers->create_s > 0 ? (double)watchers->created / watchers->create_s : 0;
    if (bench->arguments->output == OUTPUT_JSON) {
        printf("{\"watchers\":%" PRIu64 ",\"seconds\":%.3f,\"per_second\":%.1f}\n",
               watchers->created, watchers->create_s, rate);
    } else {
        printf("%" PRIu64 " watchers in %.2f s: %.0f/s\n", watchers->created, watchers->create_s,
               rate);
    }
}

void bench_watchers_print(const struct bench *bench)
{
    struct bench_watchers *watchers = bench->watchers;
    bool timed = bench->end_us != UINT64_MAX;
    uint64_t took_us =
        timed ? bench->end_us - bench->count_from_us : watchers->last_event_us - bench->began_us;
    uint64_t count = timed ? watchers->events_counted : watchers->events;
    double rate = watchers->events > 0 ? (double)count * 1e6 / (double)took_us : 0;
    struct bench_quantiles age = bench_quantiles_of(&watchers->ages);
    printf(bench->arguments->output == OUTPUT_JSON
               ? ",\"events\":%" PRIu64 ",\"responses\":%" PRIu64
                 ",\"events_per_second\":%.1f,\"event_p50_us\":%u,\"event_p99_us\":%u,"
                 "\"event_max_us\":%u"
               : "watch: %" PRIu64 " events in %" PRIu64
                 " responses, %.0f/s, after the put p50 %u us, p99 %u us, max %u us\n",
           watchers->events, watchers->responses, rate, age.p50, age.p99, age.most);
}

void bench_watchers_close(struct bench *bench)
{
    struct bench_watchers *watchers = bench->watchers;
    if (watchers == NULL) {
        return;
    }
    bench->watchers = NULL;
    for (size_t i = 0; i < watchers->stream_count; i++) {
        grpc_call_cancel(&watchers->streams[i].call);
    }
    mem_free(watchers->ages.us);
    mem_free(watchers->streams);
    mem_free(watchers);
}
