/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench.h: load on any etcd v3 server: one thread, many connections, many calls under way. A *kind* knows
 * what is asked for (bench_kinds.c, bench_keep_alive.c, bench_watch.c); the loop (bench_load.c) knows
 * when, and keeps the times; bench_command.c reads the words and prints.
 *
 * Two loops. Closed: each call begins anew when it has ended, so a slow server is asked less often. Open
 * (--rate): call n is due at n / rate, whatever became of those before; when all calls are under way it
 * waits, and its time still counts from when it was due. A server that pauses is charged with everything
 * that should have happened meanwhile.
 *
 * What counts. Of a closed loop the calls that ended between warm-up and end; of an open one those that
 * were due then, however late they end.
 *
 * Invariants
 *  1. A call is under way or in the list of the free; `ended` <= `begun`.
 *  2. Bounded: by --requests or --duration, by BENCH_IDLE_MS_MAX without any answer, or by a signal.
 */
#ifndef HOLDFAST_CLI_BENCH_H
#define HOLDFAST_CLI_BENCH_H

#include "cli.h"

#include <poll.h>

#define BENCH_OPERATIONS_MAX 100
#define BENCH_IDLE_MS_MAX    30000    /* no answer at all for this long ends the run */
#define BENCH_SAMPLES_MAX    80000000 /* latencies kept; later ones are counted, not kept */
#define BENCH_PREFIX         "bench/"
#define BENCH_WATCHED_PREFIX "watched/"
#define BENCH_WATCHED_END    "watched0" /* of the range that the prefix is */
#define BENCH_KEY_SIZE_MAX   32
#define BENCH_FIRST_LEASE    INT64_C(0x62656e6300000000) /* leases get the numbers from here on */

/* Latencies, in microseconds. Zero-initialised is empty. */
struct bench_samples {
    uint32_t *us;
    size_t count, capacity;
};

struct bench_quantiles {
    uint32_t p50, p99, p999, most; /* 0 if there are none */
};

struct bench;

struct bench_call {
    struct bench *bench;
    struct grpc_channel *channel;
    struct bench_call *next_free;
    struct grpc_call *stream; /* keep-alive: stays open; NULL once it has ended */
    bool under_way;
    uint64_t due_us;        /* when it began, or should have */
    uint64_t number;        /* of the requests of this run, from 0 */
    uint64_t key;           /* number of the key it is about */
    int64_t known_revision; /* swap: of the key, as the last answer told */
};

struct bench_kind {
    const char *name;
    bool open_loop; /* takes --rate */
    /* Send the request of a call; bench_call_ended follows. */
    void (*begin)(struct bench *bench, struct bench_call *call);
    /* A unary call's answer is there, with status OK: what is wrong with it, or NULL. NULL: nothing to
     * learn from it. */
    const char *(*answered)(struct bench *bench, struct bench_call *call, struct view body);
};

struct bench {
    const struct cli_arguments *arguments;
    const struct bench_kind *kind;
    /* The first arguments->bench_connections carry the calls, the others the watchers, if any. */
    struct grpc_channel **channels;
    struct pollfd *ready; /* of the channels, and of the signals behind them */
    size_t channel_count;
    int signal_fd;
    bool interrupted; /* SIGINT or SIGTERM came: no further calls are due */
    struct bench_call *calls, *free;
    size_t call_count;
    struct bench_watchers *watchers; /* watch */
    uint64_t random_state;
    uint8_t *value; /* arguments->bench_value_bytes */
    struct buffer packed;
    FILE *log;

    uint64_t began_us, count_from_us, end_us; /* end_us UINT64_MAX: ends by number */
    uint64_t begun, ended, failed;
    uint64_t counted, last_counted_us; /* ended well, and in the time that counts */
    uint64_t swaps, swaps_counted;     /* comparisons that held */
    struct bench_samples samples;
    char first_failure[GRPC_ANSWER_TEXT_MAX + 1];
};

uint64_t bench_now_us(void);

void bench_sample(struct bench_samples *samples, uint64_t took_us);
/* Sorts them. */
struct bench_quantiles bench_quantiles_of(struct bench_samples *samples);
/* Work on the channels that have something to do; wait so long for that (UINT64_MAX: not bounded). */
void bench_poll(struct bench *bench, uint64_t wait_us);
/* Run the kind's calls to the end, or until a signal comes. False: some never ended. */
bool bench_run(struct bench *bench);
/* A call has ended. failure: why not well, or NULL. again: it can be used for another request. */
void bench_call_ended(struct bench_call *call, const char *failure, bool again);
/* Does a call that ends now count? */
bool bench_counts(const struct bench *bench, uint64_t due_us, uint64_t now_us);
/* Begin a unary call with this message, which is packed. path: borrowed for ever. */
void bench_unary(struct bench_call *call, const char *path, const ProtobufCMessage *message);
/* The octets of a key by its number, watched or of the other loads. Returns their count. */
size_t bench_key(bool watched, uint64_t number, char out[BENCH_KEY_SIZE_MAX]);
/* Processor time of this process, in seconds. */
double bench_processor_s(void);

extern const struct bench_kind bench_put, bench_get, bench_txn, bench_swap, bench_grant,
    bench_keep_alive, bench_watched_put;

/* Streams with watchers on them (bench_watch.c): on one prefix (--prefix) or one key each. */
struct bench_watchers;
/* Create arguments->bench_watchers, dealt out over `streams` streams on each of these channels, and wait
 * until all are there; bench->watchers is set. False: printed. */
bool bench_watchers_open(struct bench *bench, struct grpc_channel **channels, size_t channel_count);
/* A put on that key has happened. */
void bench_watchers_expect(struct bench_watchers *watchers, uint64_t key);
/* After the puts: until every event is there. False: some never came, or came twice; printed. */
bool bench_watchers_drain(struct bench *bench);
/* How fast they were created. */
void bench_watchers_print_created(const struct bench *bench);
/* What came, as a line of text, or as members of a JSON object with a comma before each. */
void bench_watchers_print(const struct bench *bench);
void bench_watchers_close(struct bench *bench);

#endif
