/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What does taking old rows out of kv.db cost those who write meanwhile? (src/store/kv_compact.h)
 *
 * A state machine and its file are filled with puts of random keys; then puts come at a fixed rate, in
 * batches of half a second as the apply actor makes them, and after a while everything is compacted.
 * One thread does what the flush actor does: a batch that is due goes first, else a slice, else sleep.
 * Printed for the time before, during and after the compaction: how long a batch took from the moment
 * it was due until it was committed, and what of it was waiting for a slice; then the file.
 *
 * It is the project's own code that runs here:
 *   make && gcc -O2 -D_GNU_SOURCE -Iinclude -Isrc tests/bench/storage/kv_compact.c -o build/kv_compact \
 *     build/release/libkv.a build/release/libstore.a build/release/libraft.a build/release/libactor.a \
 *     build/release/libbase.a -lsqlite3 -lxxhash -lconfig -lcrypto -pthread
 * usage: kv_compact [revisions [keys [puts per second]]]
 */
#include "bench.h"

#include "kv.h"

enum { BATCH_US = 500000, PAUSE_US = 1000, SHARE = 4, SAMPLES_MAX = 4096 };

struct bench {
    struct kv_writer *writer;
    struct kv *kv;
    uint64_t index, seed, keys;
    uint64_t slice_at_us;
    uint64_t slices, slice_us, slice_longest_us;
};

struct samples {
    uint64_t done_us[SAMPLES_MAX], late_us[SAMPLES_MAX];
    size_t count;
};

static uint64_t now_us(void)
{
    return bench_wall_ns() / 1000;
}

static void must(enum err error, const char *what)
{
    if (error != OK) {
        bench_die(what, err_text(error));
    }
}

static void apply(struct bench *b, const struct command *c)
{
    uint8_t octets[512];
    size_t size = command_size(c);
    command_encode(c, octets);
    const struct entry e = {
        .index = ++b->index, .term = 1, .type = ENTRY_COMMAND, .data = view_of(octets, size)};
    must(kv_apply(b->kv, &e, 0, false, NULL), "apply");
}

static void put(struct bench *b)
{
    char key[KEY_BYTES + 1];
    static uint8_t value[VALUE_BYTES];
    (void)snprintf(key, sizeof(key), "key%015" PRIu64, random_below(&b->seed, b->keys));
    uint64_t random = random_next(&b->seed);
    memcpy(value, &random, sizeof(random));
    const struct command c = {
        .op = COMMAND_PUT, .key = view_of(key, KEY_BYTES), .value = view_of(value, VALUE_BYTES)};
    apply(b, &c);
}

static void flush(struct bench *b)
{
    kv_release(b->kv);
    struct kv_batch *batch = kv_seal(b->kv);
    if (batch == NULL) {
        return;
    }
    uint64_t number = batch->number;
    must(kv_writer_write(b->writer, batch), "write");
    kv_batch_free(&batch);
    kv_flushed(b->kv, number);
    must(kv_writer_maintain(b->writer, false), "checkpoint");
}

static void slice(struct bench *b)
{
    uint64_t start_us = now_us();
    must(kv_writer_compact_slice(b->writer), "compact");
    must(kv_writer_maintain(b->writer, false), "checkpoint");
    uint64_t took_us = now_us() - start_us;
    b->slices++;
    b->slice_us += took_us;
    b->slice_longest_us = took_us > b->slice_longest_us ? took_us : b->slice_longest_us;
    b->slice_at_us = now_us() + PAUSE_US + took_us * SHARE;
}

/* Puts at the rate for so long, or until the compaction is done; into `s`. */
static void paced(struct bench *b, uint64_t rate, uint64_t for_us, struct samples *s)
{
    uint64_t end_us = now_us() + for_us;
    uint64_t due_us = now_us() + BATCH_US;
    bool until_done = for_us == 0;
    s->count = 0;
    while (until_done ? kv_writer_compacting(b->writer) : now_us() < end_us) {
        if (now_us() >= due_us) {
            uint64_t waited_us = now_us() - due_us;
            for (uint64_t i = 0; i < rate / (1000000 / BATCH_US); i++) {
                put(b);
            }
            uint64_t start_us = now_us();
            flush(b);
            if (s->count < SAMPLES_MAX) {
                s->late_us[s->count] = waited_us;
                s->done_us[s->count++] = waited_us + now_us() - start_us;
            }
            due_us += BATCH_US;
        } else if (kv_writer_compacting(b->writer) && now_us() >= b->slice_at_us) {
            slice(b);
        } else {
            (void)usleep(200);
        }
    }
}

static int order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void print(const char *when, struct samples *s)
{
    if (s->count == 0) {
        (void)printf("%-8s no batch came\n", when);
        return;
    }
    qsort(s->done_us, s->count, sizeof(s->done_us[0]), order);
    qsort(s->late_us, s->count, sizeof(s->late_us[0]), order);
    (void)printf("%-8s batches %4zu  commit p50 %6.1f ms  longest %6.1f ms   waited for a slice "
                 "p50 %4.1f ms  longest %4.1f ms\n",
                 when, s->count, (double)s->done_us[s->count / 2] / 1e3,
                 (double)s->done_us[s->count - 1] / 1e3, (double)s->late_us[s->count / 2] / 1e3,
                 (double)s->late_us[s->count - 1] / 1e3);
}

static void print_file(struct bench *b, const char *when)
{
    struct db_figures f;
    kv_writer_figures(b->writer, &f);
    (void)printf("%-8s file %" PRIu64 " MiB, in use %" PRIu64 " MiB, WAL %" PRIu64 " MiB\n", when,
                 f.file_bytes >> 20, f.used_bytes >> 20, f.wal_bytes >> 20);
}

int main(int argc, char **argv)
{
    uint64_t revisions = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    struct bench b = {.seed = 1, .keys = argc > 2 ? strtoull(argv[2], NULL, 10) : 100000};
    uint64_t rate = argc > 3 ? strtoull(argv[3], NULL, 10) : 5000;
    static struct samples samples;
    char folder[] = "/tmp/holdfast-compact-XXXXXX";
    char problem[256];
    struct kv_meta meta = {0};
    struct kv_reader *reader = NULL;
    const struct kv_limits limits = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, 8 << 20};
    if (mkdtemp(folder) == NULL) {
        bench_die("mkdtemp", "failed");
    }
    must(kv_writer_open(folder, 0, 0, &b.writer, &meta, problem, sizeof(problem)), "open");
    must(kv_reader_open(folder, 0, 0, &reader, problem, sizeof(problem)), "open");
    b.kv = kv_create(&reader, &meta, &limits);
    uint64_t start_ns = bench_wall_ns();
    for (uint64_t i = 0; i < revisions; i++) {
        put(&b);
        if (i % 20000 == 19999) {
            flush(&b);
        }
    }
    flush(&b);
    (void)printf("filled   %" PRIu64 " revisions of %" PRIu64 " keys in %.1f s\n", revisions,
                 b.keys, (double)(bench_wall_ns() - start_ns) / 1e9);
    print_file(&b, "filled");
    paced(&b, rate, 10000000, &samples);
    print("before", &samples);

    const struct command compact = {.op = COMMAND_COMPACT, .revision = kv_revision(b.kv)};
    apply(&b, &compact);
    flush(&b);
    start_ns = bench_wall_ns();
    uint64_t cpu_ns = bench_cpu_ns();
    paced(&b, rate, 0, &samples);
    (void)printf("compacted in %.1f s, %.1f s of CPU with the puts; %" PRIu64
                 " slices, mean %.2f ms, longest %.1f ms\n",
                 (double)(bench_wall_ns() - start_ns) / 1e9,
                 (double)(bench_cpu_ns() - cpu_ns) / 1e9, b.slices,
                 (double)b.slice_us / 1e3 / (double)b.slices, (double)b.slice_longest_us / 1e3);
    print("during", &samples);
    print_file(&b, "compacted");
    paced(&b, rate, 10000000, &samples);
    print("after", &samples);
    print_file(&b, "after"); /* no larger: what is free is used again */
    kv_destroy(&b.kv);
    kv_writer_close(&b.writer);
    char remove[96];
    (void)snprintf(remove, sizeof(remove), "rm -r %s", folder);
    return system(remove) == 0 ? 0 : 1;
}
