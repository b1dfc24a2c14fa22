/* SPDX-License-Identifier: Apache-2.0 */
/* bench_load.c: see bench.h. The loop, the times, and what counts. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define MICROSECONDS UINT64_C(1000000)

uint64_t bench_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * MICROSECONDS + (uint64_t)now.tv_nsec / 1000;
}

double bench_processor_s(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return 0;
    }
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / (double)MICROSECONDS;
}

/* ---- samples --------------------------------------------------------------------------------------- */

void bench_sample(struct bench_samples *samples, uint64_t took_us)
{
    if (samples->count == samples->capacity) {
        if (samples->capacity == BENCH_SAMPLES_MAX) {
            return;
        }
        size_t more = samples->capacity == 0 ? 4096 : samples->capacity * 2;
        samples->capacity = more < BENCH_SAMPLES_MAX ? more : BENCH_SAMPLES_MAX;
        samples->us = mem_realloc(samples->us, samples->capacity * sizeof(samples->us[0]));
    }
    samples->us[samples->count++] = took_us > UINT32_MAX ? UINT32_MAX : (uint32_t)took_us;
}

static int compare_latency(const void *left, const void *right)
{
    const uint32_t *a = left;
    const uint32_t *b = right;
    return (*a > *b) - (*a < *b);
}

struct bench_quantiles bench_quantiles_of(struct bench_samples *samples)
{
    size_t n = samples->count;
    if (n == 0) {
        return (struct bench_quantiles){0};
    }
    qsort(samples->us, n, sizeof(samples->us[0]), compare_latency);
    return (struct bench_quantiles){.p50 = samples->us[n / 2],
                                    .p99 = samples->us[n * 99 / 100],
                                    .p999 = samples->us[n * 999 / 1000],
                                    .most = samples->us[n - 1]};
}

/* ---- calls ----------------------------------------------------------------------------------------- */

size_t bench_key(bool watched, uint64_t number, char out[BENCH_KEY_SIZE_MAX])
{
    return (size_t)snprintf(out, BENCH_KEY_SIZE_MAX, "%s%010" PRIu64,
                            watched ? BENCH_WATCHED_PREFIX : BENCH_PREFIX, number);
}

bool bench_counts(const struct bench *bench, uint64_t due_us, uint64_t now_us)
{
    uint64_t at = bench->arguments->bench_rate > 0 ? due_us : now_us;
    return at >= bench->count_from_us && at < bench->end_us;
}

/* When the next call of an open loop is due. */
static uint64_t next_due_us(const struct bench *bench)
{
    return bench->began_us + bench->begun * MICROSECONDS / bench->arguments->bench_rate;
}

static bool is_over(const struct bench *bench, uint64_t due_us)
{
    if (bench->end_us == UINT64_MAX) {
        return bench->interrupted || bench->begun == bench->arguments->bench_requests;
    }
    return due_us >= bench->end_us; /* what was due before a signal came is still begun */
}

/* False: the run is over, or (open loop) nothing is due yet. */
static bool begin_next(struct bench_call *call, uint64_t now_us)
{
    struct bench *bench = call->bench;
    uint64_t due_us = bench->arguments->bench_rate > 0 ? next_due_us(bench) : now_us;
    if (due_us > now_us || is_over(bench, due_us)) {
        return false;
    }
    call->due_us = due_us;
    call->number = bench->begun++;
    call->under_way = true;
    bench->kind->begin(bench, call);
    return true;
}

void bench_call_ended(struct bench_call *call, const char *failure, bool again)
{
    struct bench *bench = call->bench;
    uint64_t now_us = bench_now_us();
    uint64_t took_us = now_us - call->due_us;
    call->under_way = false;
    bench->ended++;
    if (failure != NULL) {
        if (bench->failed++ == 0) {
            (void)snprintf(bench->first_failure, sizeof(bench->first_failure), "%s", failure);
        }
    } else {
        if (bench->log != NULL) {
            fprintf(bench->log, "%" PRIu64 " %" PRIu64 "\n", call->due_us, took_us);
        }
        if (bench_counts(bench, call->due_us, now_us)) {
            bench->counted++;
            bench->last_counted_us = now_us;
            bench_sample(&bench->samples, took_us);
        }
    }
    if (again && !begin_next(call, now_us)) {
        call->next_free = bench->free;
        bench->free = call;
    }
}

static void unary_done(void *context, const struct grpc_answer *answer)
{
    struct bench_call *call = context;
    struct bench *bench = call->bench;
    const char *failure = NULL;
    if (answer->transport) {
        failure = "connection broke";
    } else if (answer->status != 0) {
        failure = answer->message;
    } else if (bench->kind->answered != NULL) {
        failure = bench->kind->answered(bench, call, answer->body);
    }
    bench_call_ended(call, failure, !answer->transport);
}

void bench_unary(struct bench_call *call, const char *path, const ProtobufCMessage *message)
{
    struct buffer *packed = &call->bench->packed;
    packed->size = 0;
    cli_pack(message, packed);
    grpc_channel_call(call->channel, path, view_of(packed->data, packed->size), unary_done, call);
}

/* ---- the loop -------------------------------------------------------------------------------------- */

void bench_poll(struct bench *bench, uint64_t wait_us)
{
    for (size_t i = 0; i < bench->channel_count; i++) {
        const struct grpc_channel *channel = bench->channels[i];
        bench->ready[i].fd = grpc_channel_calls(channel) > 0 ? grpc_channel_fd(channel) : -1;
        bench->ready[i].events = grpc_channel_events(channel);
    }
    struct timespec wait = {.tv_sec = (time_t)(wait_us / MICROSECONDS),
                            .tv_nsec = (long)(wait_us % MICROSECONDS) * 1000};
    struct pollfd *signals = &bench->ready[bench->channel_count];
    *signals = (struct pollfd){.fd = bench->interrupted ? -1 : bench->signal_fd, .events = POLLIN};
    if (ppoll(bench->ready, bench->channel_count + 1, wait_us == UINT64_MAX ? NULL : &wait, NULL) <=
        0) {
        return;
    }
    if (signals->fd >= 0 && signals->revents != 0) {
        bench->interrupted = true;
        bench->end_us = bench->end_us == UINT64_MAX ? UINT64_MAX : bench_now_us();
    }
    for (size_t i = 0; i < bench->channel_count; i++) {
        if (bench->ready[i].fd >= 0 && bench->ready[i].revents != 0) {
            /* A broken connection has ended its calls as failed. */
            enum err ignored = grpc_channel_work(bench->channels[i]);
            UNUSED(ignored);
        }
    }
}

/* Begin what is due; how long nothing else will be. */
static uint64_t begin_due(struct bench *bench)
{
    if (bench->arguments->bench_rate == 0) {
        return MICROSECONDS; /* a call that ends begins the next */
    }
    uint64_t now_us = bench_now_us();
    while (bench->free != NULL) {
        struct bench_call *call = bench->free;
        bench->free = call->next_free;
        if (!begin_next(call, now_us)) {
            call->next_free = bench->free;
            bench->free = call;
            break;
        }
    }
    uint64_t due_us = next_due_us(bench);
    if (bench->free == NULL || is_over(bench, due_us)) {
        return MICROSECONDS;
    }
    now_us = bench_now_us();
    return due_us > now_us ? due_us - now_us : 0;
}

static bool goes_on(const struct bench *bench)
{
    if (bench->ended < bench->begun) {
        return true;
    }
    return bench->arguments->bench_rate > 0 && bench->free != NULL &&
           !is_over(bench, next_due_us(bench));
}

bool bench_run(struct bench *bench)
{
    const struct cli_arguments *arguments = bench->arguments;
    bench->began_us = bench_now_us();
    bench->count_from_us = bench->began_us + (uint64_t)arguments->bench_warm_up_ms * 1000;
    bench->end_us = arguments->bench_duration_ms == 0
                        ? UINT64_MAX
                        : bench->count_from_us + (uint64_t)arguments->bench_duration_ms * 1000;
    bench->free = NULL;
    for (size_t i = bench->call_count; i > 0; i--) {
        struct bench_call *call = &bench->calls[i - 1];
        if (arguments->bench_rate > 0 || !begin_next(call, bench_now_us())) {
            call->next_free = bench->free;
            bench->free = call;
        }
    }
    uint64_t last_ended = UINT64_MAX;
    uint64_t last_progress_us = bench->began_us;
    while (goes_on(bench)) {
        uint64_t wait_us = begin_due(bench);
        bench_poll(bench, wait_us);
        if (bench->ended != last_ended || bench->ended == bench->begun) {
            last_ended = bench->ended;
            last_progress_us = bench_now_us();
        } else if (bench_now_us() - last_progress_us > (uint64_t)BENCH_IDLE_MS_MAX * 1000) {
            return false;
        }
    }
    return true;
}
