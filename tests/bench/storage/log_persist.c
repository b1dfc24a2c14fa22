/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store itself costs per entry: log_db_persist and log_db_commit as the log actor calls them,
 * checkpoints and trimming included. The budget is 2.5 µs of CPU per entry at 1,000 entries of 256 B a
 * commit; raft_groups.c measures the bare SQLite under it.
 *
 * usage: log_persist FOLDER [entries per commit [commits]]
 */
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define KEPT_COUNT 20000
#define TRIM_ROWS  2000

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    return clock_gettime(clock, &t) == 0 ? (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec
                                         : 0;
}

static void must(enum err error, const char *what)
{
    if (error != OK) {
        (void)fprintf(stderr, "%s: %s\n", what, err_text(error));
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "usage: log_persist FOLDER [entries per commit [commits]]\n");
        return 64;
    }
    uint64_t per_commit = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000;
    uint64_t commits = argc > 3 ? strtoull(argv[3], NULL, 10) : 500;
    char problem[256];
    struct log_db *db = NULL;
    struct log_recovered found = {0};
    const struct kv_meta kv = {.revision = 1};
    must(log_db_open(argv[1], "bench", "n1", 1, &db, problem, sizeof(problem)), "open");
    must(log_db_recover(db, 0, &kv, &found), "recover");
    log_recovered_free(&found);

    uint8_t data[256] = {1, 1, 0, 0, 16};
    uint64_t last = 0;
    uint64_t cpu_ns = 0;
    uint64_t wall_ns = 0;
    for (uint64_t i = 1; i <= commits; i++) {
        struct entries *block = entries_create(per_commit, per_commit * sizeof(data));
        for (uint64_t k = 0; k < per_commit; k++) {
            struct entry e = {.index = last + 1 + k,
                              .term = 1,
                              .type = ENTRY_COMMAND,
                              .origin = 99,
                              .request_id = k,
                              .data = view_of(data, sizeof(data))};
            entries_add(block, &e);
        }
        struct raft_persist persist = {.sequence = i, .current_term = 1, .entries = block};
        bool more = false;
        uint64_t cpu_start = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        uint64_t wall_start = clock_ns(CLOCK_MONOTONIC);
        must(log_db_begin(db), "begin");
        must(log_db_persist(db, 0, &persist), "persist");
        last += per_commit;
        if (last > KEPT_COUNT) {
            must(log_db_trim(db, 0, last - KEPT_COUNT, TRIM_ROWS, &more), "trim");
        }
        must(log_db_commit(db), "commit");
        must(log_db_maintain(db, false), "maintain");
        cpu_ns += clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_start;
        wall_ns += clock_ns(CLOCK_MONOTONIC) - wall_start;
        entries_free(&block);
    }
    struct db_figures figures;
    log_db_figures(db, &figures);
    double entries = (double)(per_commit * commits);
    (void)printf("%" PRIu64 " entries a commit: %.2f us CPU and %.2f us in all per entry, %" PRIu64
                 " checkpoints, longest commit %" PRIu64 " us\n",
                 per_commit, (double)cpu_ns / 1000.0 / entries, (double)wall_ns / 1000.0 / entries,
                 figures.checkpoints, figures.longest_commit_us);
    log_db_close(&db);
    return 0;
}
