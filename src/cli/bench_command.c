/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_command.c: `holdfastctl bench KIND`: the words, the connections (dealt out over the endpoints in
 * turn), and what is printed. See bench.h for what is measured and how.
 */
#include "bench.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define BENCH_CONNECTIONS_MAX 1000
#define BENCH_TIMER_SLACK_NS  1000 /* a call of an open loop leaves that late at most */
#define BENCH_HOLD_ROUND_US   UINT64_C(100000)

static const struct bench_kind *const kinds[] = {
    &bench_put,   &bench_get,        &bench_txn,         &bench_swap,
    &bench_grant, &bench_keep_alive, &bench_watched_put,
};

static const struct bench_kind *find_kind(const struct cli_arguments *arguments)
{
    for (size_t i = 0; arguments->word_count == 2 && i < ARRAY_COUNT(kinds); i++) {
        if (strcmp(arguments->words[1], kinds[i]->name) == 0) {
            return kinds[i];
        }
    }
    return NULL;
}

static enum cli_exit refuse(const char *why)
{
    fprintf(stderr, "holdfastctl: %s\n", why);
    return CLI_USAGE;
}

static enum cli_exit check(const struct cli_arguments *a, const struct bench_kind *kind)
{
    if (kind == NULL) {
        return cli_usage("bench put|get|txn|swap|grant|keep-alive|watch [--connections N] "
                         "[--streams N] [--requests N | --duration TIME] [--warm-up TIME] "
                         "[--rate N] ...");
    }
    if (a->bench_connections == 0 || a->bench_connections > BENCH_CONNECTIONS_MAX ||
        a->bench_streams == 0 || a->bench_keys == 0) {
        return refuse("connections are 1 to 1000; streams and keys at least 1");
    }
    if (a->bench_rate > 0 && !kind->open_loop) {
        return refuse("no --rate for that kind of load");
    }
    if (kind == &bench_txn &&
        (a->bench_operations == 0 || a->bench_operations > BENCH_OPERATIONS_MAX ||
         a->bench_operations > a->bench_keys)) {
        return refuse("operations are 1 to 100, and no more than there are keys");
    }
    if (kind == &bench_watched_put &&
        (a->bench_watchers == 0 || a->bench_value_bytes < sizeof(uint64_t))) {
        return refuse("at least one watcher, and values of 8 octets or more");
    }
    return CLI_OK;
}

static bool connect_all(struct bench *bench)
{
    const struct cli_arguments *arguments = bench->arguments;
    char problem[512];
    for (size_t i = 0; i < bench->channel_count; i++) {
        const char *address = arguments->endpoints[i % arguments->endpoint_count];
        if (grpc_channel_open(address, arguments->timeout_ms, &bench->channels[i], problem,
                              sizeof(problem)) != OK) {
            fprintf(stderr, "holdfastctl: %s\n", problem);
            return false;
        }
    }
    return true;
}

/* From now on they end the load, and what there is is printed. */
static void catch_signals(struct bench *bench)
{
    sigset_t wanted;
    (void)sigemptyset(&wanted);
    (void)sigaddset(&wanted, SIGINT);
    (void)sigaddset(&wanted, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &wanted, NULL);
    bench->signal_fd = signalfd(-1, &wanted, SFD_CLOEXEC);
}

/* Until a line or the end comes on standard input. */
static void hold(struct bench *bench)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (poll(&input, 1, 0) == 0 && !bench->interrupted) {
        bench_poll(bench, BENCH_HOLD_ROUND_US);
    }
}

static void print_result(struct bench *bench, double processor_s)
{
    const struct cli_arguments *arguments = bench->arguments;
    bool timed = bench->end_us != UINT64_MAX;
    uint64_t until_us = timed ? bench->end_us : bench->last_counted_us;
    double seconds =
        until_us > bench->count_from_us ? (double)(until_us - bench->count_from_us) / 1e6 : 0;
    double rate = seconds > 0 ? (double)bench->counted / seconds : 0;
    double swap_rate = seconds > 0 ? (double)bench->swaps_counted / seconds : 0;
    struct bench_quantiles took = bench_quantiles_of(&bench->samples);
    bool swaps = bench->kind == &bench_swap;
    if (arguments->output == OUTPUT_JSON) {
        printf("{\"requests\":%" PRIu64 ",\"all\":%" PRIu64 ",\"failed\":%" PRIu64
               ",\"seconds\":%.3f,\"per_second\":%.1f,\"p50_us\":%u,\"p99_us\":%u,\"p999_us\":%u,"
               "\"max_us\":%u,\"processor_s\":%.3f",
               bench->counted, bench->ended, bench->failed, seconds, rate, took.p50, took.p99,
               took.p999, took.most, processor_s);
        if (swaps) {
            printf(",\"swaps\":%" PRIu64 ",\"swaps_per_second\":%.1f", bench->swaps, swap_rate);
        }
    } else {
        printf("%s: %" PRIu64 " requests in %.2f s: %.0f/s, latency p50 %u us, p99 %u us, "
               "p99.9 %u us, max %u us, failed %" PRIu64 "\n",
               bench->kind->name, bench->counted, seconds, rate, took.p50, took.p99, took.p999,
               took.most, bench->failed);
        if (swaps) {
            printf("swap: %.0f/s of them found the key as they knew it\n", swap_rate);
        }
    }
    if (bench->watchers != NULL) {
        bench_watchers_print(bench);
    }
    if (arguments->output == OUTPUT_JSON) {
        printf("}\n");
    }
    if (bench->failed > 0) {
        fprintf(stderr, "holdfastctl: first failure: %s\n", bench->first_failure);
    }
}

/* Connected; run and print. */
static enum cli_exit run(struct bench *bench)
{
    const struct cli_arguments *arguments = bench->arguments;
    if (bench->kind == &bench_watched_put) {
        size_t own = arguments->bench_connections;
        if (!bench_watchers_open(bench, bench->channels + own, bench->channel_count - own)) {
            return CLI_FAILED;
        }
        bench_watchers_print_created(bench);
        (void)fflush(stdout);
        if (arguments->bench_hold) {
            hold(bench);
        }
    }
    double before_s = bench_processor_s();
    bool ended = bench_run(bench);
    if (bench->watchers != NULL) {
        ended = bench_watchers_drain(bench) && ended;
    }
    print_result(bench, bench_processor_s() - before_s);
    return ended && bench->failed == 0 ? CLI_OK : CLI_FAILED;
}

enum cli_exit command_bench(const struct cli_arguments *arguments)
{
    const struct bench_kind *kind = find_kind(arguments);
    enum cli_exit code = check(arguments, kind);
    if (code != CLI_OK) {
        return code;
    }
    size_t own = arguments->bench_connections;
    struct bench bench = {.arguments = arguments,
                          .kind = kind,
                          .random_state = arguments->bench_seed,
                          .channel_count = kind == &bench_watched_put ? 2 * own : own,
                          .call_count = own * arguments->bench_streams};
    bench.channels = mem_zalloc(bench.channel_count * sizeof(struct grpc_channel *));
    bench.ready = mem_zalloc((bench.channel_count + 1) * sizeof(*bench.ready));
    bench.calls = mem_zalloc(bench.call_count * sizeof(*bench.calls));
    bench.value = mem_alloc(arguments->bench_value_bytes);
    for (size_t i = 0; i < arguments->bench_value_bytes; i++) {
        bench.value[i] = (uint8_t)('a' + random_below(&bench.random_state, 26));
    }
    catch_signals(&bench);
    (void)prctl(PR_SET_TIMERSLACK, BENCH_TIMER_SLACK_NS, 0, 0, 0);
    if (arguments->file != NULL && (bench.log = fopen(arguments->file, "we")) == NULL) {
        fprintf(stderr, "holdfastctl: %s: %s\n", arguments->file, strerror(errno));
        code = CLI_FAILED;
    } else if (!connect_all(&bench)) {
        code = CLI_UNREACHABLE;
    } else {
        for (size_t i = 0; i < bench.call_count; i++) {
            bench.calls[i] =
                (struct bench_call){.bench = &bench, .channel = bench.channels[i % own]};
        }
        code = run(&bench);
    }
    bench_watchers_close(&bench);
    for (size_t i = 0; i < bench.call_count; i++) {
        grpc_call_cancel(&bench.calls[i].stream);
    }
    for (size_t i = 0; i < bench.channel_count; i++) {
        grpc_channel_close(&bench.channels[i]);
    }
    if (bench.log != NULL && fclose(bench.log) != 0) {
        fprintf(stderr, "holdfastctl: %s could not be written\n", arguments->file);
        code = CLI_FAILED;
    }
    (void)close(bench.signal_fd);
    mem_free(bench.channels);
    mem_free(bench.ready);
    mem_free(bench.calls);
    mem_free(bench.value);
    mem_free(bench.samples.us);
    buffer_free(&bench.packed);
    return code;
}
