/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_command.c: a closed loop of puts or gets on random keys, against any etcd v3 server. Each of
 * C connections keeps S calls under way; connections are spread over the endpoints in turn. Prints
 * operations per second, latency percentiles and failures. Bounded by its number of requests.
 */
#include "cli.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BENCH_CONNECTIONS_MAX 1000
#define BENCH_IDLE_MS_MAX     30000 /* no answer at all for this long ends the run */

struct bench;

struct bench_call {
    struct bench *bench;
    struct grpc_channel *channel;
    uint64_t began_us;
};

struct bench {
    const struct cli_arguments *arguments;
    bool puts;
    uint64_t begun, ended, failed;
    uint64_t random_state;
    uint32_t *latencies_us;
    uint8_t *value;
    char first_failure[GRPC_ANSWER_TEXT_MAX + 1];
};

static uint64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void begin_call(struct bench_call *call);

static void call_done(void *context, const struct grpc_answer *answer)
{
    struct bench_call *call = context;
    struct bench *bench = call->bench;
    uint64_t took_us = now_us() - call->began_us;
    bench->latencies_us[bench->ended++] = took_us > UINT32_MAX ? UINT32_MAX : (uint32_t)took_us;
    if (answer->transport || answer->status != 0) {
        if (bench->failed++ == 0) {
            (void)snprintf(bench->first_failure, sizeof(bench->first_failure), "%s",
                           answer->transport ? "connection broke" : answer->message);
        }
    }
    if (!answer->transport && bench->begun < bench->arguments->bench_requests) {
        begin_call(call);
    }
}

static void begin_call(struct bench_call *call)
{
    struct bench *bench = call->bench;
    const struct cli_arguments *arguments = bench->arguments;
    char key[32];
    uint64_t number = random_below(&bench->random_state, arguments->bench_keys);
    int key_size = snprintf(key, sizeof(key), "bench/%010" PRIu64, number);
    ProtobufCBinaryData key_data = {.len = (size_t)key_size, .data = (uint8_t *)key};

    uint8_t *packed = NULL;
    size_t packed_size = 0;
    if (bench->puts) {
        Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
        request.key = key_data;
        request.value.data = bench->value;
        request.value.len = arguments->bench_value_bytes;
        packed_size = etcdserverpb__put_request__get_packed_size(&request);
        packed = mem_alloc(packed_size);
        (void)etcdserverpb__put_request__pack(&request, packed);
    } else {
        Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
        request.key = key_data;
        request.serializable = arguments->serializable;
        packed_size = etcdserverpb__range_request__get_packed_size(&request);
        packed = mem_alloc(packed_size);
        (void)etcdserverpb__range_request__pack(&request, packed);
    }
    bench->begun++;
    call->began_us = now_us();
    grpc_channel_call(call->channel,
                      bench->puts ? "/etcdserverpb.KV/Put" : "/etcdserverpb.KV/Range",
                      view_of(packed, packed_size), call_done, call);
    mem_free(packed);
}

static int compare_latency(const void *left, const void *right)
{
    const uint32_t *a = left;
    const uint32_t *b = right;
    return (*a > *b) - (*a < *b);
}

static void print_result(struct bench *bench, uint64_t took_us)
{
    const struct cli_arguments *arguments = bench->arguments;
    uint64_t n = bench->ended;
    qsort(bench->latencies_us, n, sizeof(bench->latencies_us[0]), compare_latency);
    double seconds = (double)took_us / 1e6;
    double rate = seconds > 0 ? (double)(n - bench->failed) / seconds : 0;
    uint32_t p50 = n > 0 ? bench->latencies_us[n / 2] : 0;
    uint32_t p99 = n > 0 ? bench->latencies_us[n * 99 / 100] : 0;
    uint32_t p999 = n > 0 ? bench->latencies_us[n * 999 / 1000] : 0;
    uint32_t most = n > 0 ? bench->latencies_us[n - 1] : 0;
    if (arguments->output == OUTPUT_JSON) {
        printf("{\"requests\":%" PRIu64 ",\"failed\":%" PRIu64
               ",\"seconds\":%.3f,\"per_second\":%.1f,\"p50_us\":%u,\"p99_us\":%u,\"p999_us\":%u,"
               "\"max_us\":%u}\n",
               n, bench->failed, seconds, rate, p50, p99, p999, most);
    } else {
        printf("%s: %" PRIu64
               " requests in %.2f s: %.0f/s, latency p50 %u us, p99 %u us, p99.9 %u us, "
               "max %u us, failed %" PRIu64 "\n",
               bench->puts ? "put" : "get", n, seconds, rate, p50, p99, p999, most, bench->failed);
    }
    if (bench->failed > 0) {
        fprintf(stderr, "holdfastctl: first failure: %s\n", bench->first_failure);
    }
}

static void work(struct bench *bench, struct grpc_channel **channels, size_t count)
{
    struct pollfd *ready = mem_zalloc(count * sizeof(*ready));
    uint64_t last_ended = UINT64_MAX;
    uint64_t last_progress_us = now_us();
    while (bench->ended < bench->begun) {
        if (bench->ended != last_ended) {
            last_ended = bench->ended;
            last_progress_us = now_us();
        } else if (now_us() - last_progress_us > (uint64_t)BENCH_IDLE_MS_MAX * 1000) {
            break;
        }
        for (size_t i = 0; i < count; i++) {
            ready[i].fd = grpc_channel_calls(channels[i]) > 0 ? grpc_channel_fd(channels[i]) : -1;
            ready[i].events = grpc_channel_events(channels[i]);
        }
        (void)poll(ready, count, 1000);
        for (size_t i = 0; i < count; i++) {
            if (ready[i].fd >= 0 && ready[i].revents != 0) {
                /* A broken connection has ended its calls as failed. */
                enum err ignored = grpc_channel_work(channels[i]);
                UNUSED(ignored);
            }
        }
    }
    mem_free(ready);
}

enum cli_exit command_bench(const struct cli_arguments *arguments)
{
    bool puts = arguments->word_count == 2 && strcmp(arguments->words[1], "put") == 0;
    bool gets = arguments->word_count == 2 && strcmp(arguments->words[1], "get") == 0;
    if (!puts && !gets) {
        fprintf(stderr,
                "holdfastctl: usage: holdfastctl bench put|get [--connections N] [--streams N] "
                "[--requests N] [--key-count N] [--value-size OCTETS] [--seed N]\n");
        return CLI_USAGE;
    }
    size_t count = arguments->bench_connections;
    if (count == 0 || count > BENCH_CONNECTIONS_MAX || arguments->bench_streams == 0 ||
        arguments->bench_keys == 0 || arguments->bench_requests == 0) {
        fprintf(stderr,
                "holdfastctl: connections are 1 to %d; streams, keys and requests at least 1\n",
                BENCH_CONNECTIONS_MAX);
        return CLI_USAGE;
    }
    struct bench bench = {
        .arguments = arguments, .puts = puts, .random_state = arguments->bench_seed};
    bench.latencies_us = mem_alloc((arguments->bench_requests + count * arguments->bench_streams) *
                                   sizeof(uint32_t));
    bench.value = mem_alloc(arguments->bench_value_bytes);
    for (size_t i = 0; i < arguments->bench_value_bytes; i++) {
        bench.value[i] = (uint8_t)('a' + random_below(&bench.random_state, 26));
    }
    struct grpc_channel **channels = mem_zalloc(count * sizeof(*channels));
    size_t call_count = count * arguments->bench_streams;
    struct bench_call *calls = mem_zalloc(call_count * sizeof(*calls));
    enum cli_exit code = CLI_OK;
    char problem[512];
    for (size_t i = 0; i < count; i++) {
        const char *address = arguments->endpoints[i % arguments->endpoint_count];
        if (grpc_channel_open(address, arguments->timeout_ms, &channels[i], problem,
                              sizeof(problem)) != OK) {
            fprintf(stderr, "holdfastctl: %s\n", problem);
            code = CLI_UNREACHABLE;
            goto out;
        }
    }
    uint64_t began_us = now_us();
    for (size_t i = 0; i < call_count && bench.begun < arguments->bench_requests; i++) {
        calls[i].bench = &bench;
        calls[i].channel = channels[i % count];
        begin_call(&calls[i]);
    }
    work(&bench, channels, count);
    uint64_t took_us = now_us() - began_us;
    bool stuck = bench.ended < bench.begun;
    for (size_t i = 0; i < count; i++) {
        grpc_channel_close(&channels[i]); /* what is still under way ends as failed */
    }
    print_result(&bench, took_us);
    code = bench.failed > 0 || stuck ? CLI_FAILED : CLI_OK;
out:
    for (size_t i = 0; i < count; i++) {
        grpc_channel_close(&channels[i]);
    }
    mem_free(channels);
    mem_free(calls);
    mem_free(bench.latencies_us);
    mem_free(bench.value);
    return code;
}
