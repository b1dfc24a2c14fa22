/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One raft.db for all groups or one each, and what the writer's own checkpoint costs the tail.
 * (docs/decisions/0012-one-raft-db-for-all-groups.md, 0013-checkpoint-by-the-writer.md)
 *
 *   composed  one file, one writer; log(id INTEGER PRIMARY KEY), id = group << 48 | index
 *   keyed     one file, one writer; log(group_id, idx, PRIMARY KEY(group_id, idx)) WITHOUT ROWID
 *   separate  a file and a writer thread for each group; log(idx INTEGER PRIMARY KEY)
 *
 * The main thread plays the Raft actors: for every group it keeps `outstanding` entries of 256
 * bytes in flight, sending the next as soon as one is reported durable (a closed loop). A writer
 * takes whatever waits, of all its groups, into one transaction: the entries, one hard-state row
 * for each group touched, and the trimming of as many old entries, the newest KEPT_COUNT being
 * kept. synchronous=FULL. Past `limit` the writer runs a PASSIVE checkpoint between COMMIT and
 * BEGIN. Latency is from sending an entry to hearing that it is durable.
 *
 * usage: raft_groups groups [outstanding [ms per round [rounds]]]
 *        raft_groups limits [groups [outstanding [ms per round [rounds]]]]
 */
#include "bench.h"

#include <pthread.h>

enum {
    GROUP_COUNT_MAX = 8,
    OUTSTANDING_MAX = 256,
    QUEUE_MAX = GROUP_COUNT_MAX * OUTSTANDING_MAX,
    KEPT_COUNT = 10000,
    SAMPLE_MAX = 4 << 20,
    CACHE_KIB = 16 << 10,
    LIMIT_COUNT = 5,
    SCHEMA_COUNT = 3
};

#define LIMIT_NEVER UINT64_MAX
#define GROUP_SHIFT 48U

enum schema { SCHEMA_COMPOSED, SCHEMA_KEYED, SCHEMA_SEPARATE };

static const char *const schema_name[SCHEMA_COUNT] = {"composed", "keyed", "separate"};

struct entry {
    uint64_t group;
    uint64_t sent_ns;
};

/* Entries on their way; the mutex guards all of it. A bounded closed loop: it never overflows. */
struct queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct entry entries[QUEUE_MAX];
    size_t count;
    bool closed;
};

struct writer {
    enum schema schema;
    struct bench_db db;
    uint64_t limit_bytes;
    uint64_t last_index[GROUP_COUNT_MAX];
    uint64_t persist_seq;
    uint64_t commit_count;
    sqlite3_stmt *begin, *commit, *insert, *trim, *state;
    struct queue inbox;
    struct queue *durable;
    pthread_t thread;
    struct entry taken[QUEUE_MAX];
};

/* One alternative: its files, and what its rounds measured. */
struct bed {
    enum schema schema;
    uint64_t group_count;
    uint64_t writer_count;
    struct writer *writers;
    struct queue *durable;
    uint64_t *samples;
    size_t sample_count;
    double *rate, *cpu_us, *p50_us, *p99_us, *p999_us, *worst_us, *per_commit;
};

static uint8_t data_bytes[VALUE_BYTES];

static void lock_queue(struct queue *q)
{
    if (pthread_mutex_lock(&q->lock) != 0) {
        bench_die("mutex", "failed");
    }
}

static void unlock_queue(struct queue *q)
{
    if (pthread_mutex_unlock(&q->lock) != 0) {
        bench_die("mutex", "failed");
    }
}

static void queue_open(struct queue *q)
{
    memset(q, 0, sizeof *q);
    if (pthread_mutex_init(&q->lock, NULL) != 0 || pthread_cond_init(&q->filled, NULL) != 0) {
        bench_die("queue", "failed");
    }
}

static void queue_put(struct queue *q, const struct entry *entries, size_t count)
{
    lock_queue(q);
    if (q->count + count > QUEUE_MAX) {
        bench_die("queue", "full");
    }
    memcpy(&q->entries[q->count], entries, count * sizeof *entries);
    bool was_empty = q->count == 0;
    q->count += count;
    unlock_queue(q);
    if (was_empty) {
        (void)pthread_cond_signal(&q->filled);
    }
}

/* Take all that waits, waiting for something; 0 when closed. */
static size_t queue_take(struct queue *q, struct entry out[QUEUE_MAX])
{
    lock_queue(q);
    while (q->count == 0 && !q->closed) {
        (void)pthread_cond_wait(&q->filled, &q->lock);
    }
    size_t count = q->count;
    memcpy(out, q->entries, count * sizeof *out);
    q->count = 0;
    unlock_queue(q);
    return count;
}

static void queue_close(struct queue *q)
{
    lock_queue(q);
    q->closed = true;
    unlock_queue(q);
    (void)pthread_cond_signal(&q->filled);
}

/* -------------------------------------------------------------------- the writer */

static uint64_t row_id(const struct writer *w, uint64_t group, uint64_t index)
{
    return w->schema == SCHEMA_COMPOSED ? group << GROUP_SHIFT | index : index;
}

static void writer_open(struct writer *w, enum schema schema, const char *dir, const char *name,
                        uint64_t limit_bytes, struct queue *durable)
{
    memset(w, 0, sizeof *w);
    w->schema = schema;
    w->limit_bytes = limit_bytes;
    w->durable = durable;
    queue_open(&w->inbox);
    bench_open(&w->db, dir, name, false, "FULL", CACHE_KIB);
    bench_exec(&w->db, "CREATE TABLE state(group_id INTEGER PRIMARY KEY, term INTEGER,"
                       " voted_for INTEGER, persist_seq INTEGER)");
    if (schema == SCHEMA_KEYED) {
        bench_exec(&w->db, "CREATE TABLE log(group_id INTEGER, idx INTEGER, term INTEGER,"
                           " type INTEGER, data BLOB, crc INTEGER, PRIMARY KEY(group_id, idx))"
                           " WITHOUT ROWID");
        w->insert = bench_prepare(&w->db, "INSERT INTO log VALUES(?,?,7,1,?,12345678)");
        w->trim = bench_prepare(&w->db, "DELETE FROM log WHERE group_id=? AND idx>? AND idx<=?");
    } else {
        bench_exec(&w->db, "CREATE TABLE log(id INTEGER PRIMARY KEY, term INTEGER, type INTEGER,"
                           " data BLOB, crc INTEGER)");
        w->insert = bench_prepare(&w->db, "INSERT INTO log VALUES(?2,7,1,?3,12345678)");
        w->trim = bench_prepare(&w->db, "DELETE FROM log WHERE id>?2 AND id<=?3");
    }
    w->state = bench_prepare(&w->db, "INSERT OR REPLACE INTO state VALUES(?,7,1,?)");
    w->begin = bench_prepare(&w->db, "BEGIN IMMEDIATE");
    w->commit = bench_prepare(&w->db, "COMMIT");
}

/* One transaction: the entries, the state row and the trim of each group touched. */
static void writer_commit(struct writer *w, const struct entry *entries, size_t count)
{
    uint64_t added[GROUP_COUNT_MAX] = {0};
    bench_run(w->begin);
    for (size_t i = 0; i < count; i++) {
        uint64_t g = entries[i].group;
        added[g]++;
        if (w->schema == SCHEMA_KEYED) {
            bench_bind(w->insert, 1, g);
        }
        bench_bind(w->insert, 2, row_id(w, g, ++w->last_index[g]));
        bench_bind_blob(w->insert, 3, data_bytes, VALUE_BYTES);
        bench_run(w->insert);
    }
    w->persist_seq++;
    for (uint64_t g = 0; g < GROUP_COUNT_MAX; g++) {
        if (added[g] == 0) {
            continue;
        }
        bench_bind(w->state, 1, g);
        bench_bind(w->state, 2, w->persist_seq);
        bench_run(w->state);
        if (w->last_index[g] > KEPT_COUNT) {
            uint64_t to = w->last_index[g] - KEPT_COUNT;
            uint64_t from = to > added[g] ? to - added[g] : 0;
            if (w->schema == SCHEMA_KEYED) {
                bench_bind(w->trim, 1, g);
            }
            bench_bind(w->trim, 2, row_id(w, g, from));
            bench_bind(w->trim, 3, row_id(w, g, to));
            bench_run(w->trim);
        }
    }
    bench_run(w->commit);
    w->commit_count++;
}

static void *writer_main(void *arg)
{
    struct writer *w = arg;
    for (;;) {
        size_t count = queue_take(&w->inbox, w->taken);
        if (count == 0) {
            return NULL;
        }
        writer_commit(w, w->taken, count);
        queue_put(w->durable, w->taken, count);
        (void)bench_checkpoint_past(&w->db, w->limit_bytes);
    }
}

/* -------------------------------------------------------------------- the rounds */

static void bed_open(struct bed *b, enum schema schema, uint64_t groups, const char *dir,
                     uint64_t number, uint64_t limit_bytes, uint64_t rounds)
{
    char name[64];
    memset(b, 0, sizeof *b);
    b->schema = schema;
    b->group_count = groups;
    b->writer_count = schema == SCHEMA_SEPARATE ? groups : 1;
    b->writers = bench_alloc((size_t)b->writer_count, sizeof *b->writers);
    b->durable = bench_alloc(1, sizeof *b->durable);
    b->samples = bench_alloc(SAMPLE_MAX, sizeof *b->samples);
    queue_open(b->durable);
    for (uint64_t i = 0; i < b->writer_count; i++) {
        (void)snprintf(name, sizeof name, "raft-%" PRIu64 "-%" PRIu64, number, i);
        writer_open(&b->writers[i], schema, dir, name, limit_bytes, b->durable);
    }
    b->rate = bench_alloc((size_t)rounds, sizeof(double));
    b->cpu_us = bench_alloc((size_t)rounds, sizeof(double));
    b->p50_us = bench_alloc((size_t)rounds, sizeof(double));
    b->p99_us = bench_alloc((size_t)rounds, sizeof(double));
    b->p999_us = bench_alloc((size_t)rounds, sizeof(double));
    b->worst_us = bench_alloc((size_t)rounds, sizeof(double));
    b->per_commit = bench_alloc((size_t)rounds, sizeof(double));
}

static void bed_close(struct bed *b)
{
    for (uint64_t i = 0; i < b->writer_count; i++) {
        bench_close(&b->writers[i].db);
        (void)pthread_cond_destroy(&b->writers[i].inbox.filled);
        (void)pthread_mutex_destroy(&b->writers[i].inbox.lock);
    }
    free(b->writers);
    free(b->durable);
    free(b->samples);
    free(b->rate);
    free(b->cpu_us);
    free(b->p50_us);
    free(b->p99_us);
    free(b->p999_us);
    free(b->worst_us);
    free(b->per_commit);
}

static struct queue *bed_inbox(struct bed *b, uint64_t group)
{
    return &b->writers[b->schema == SCHEMA_SEPARATE ? group : 0].inbox;
}

/* Send `count` entries of one group, all stamped with the same moment. */
static void bed_send(struct bed *b, uint64_t group, size_t count)
{
    struct entry burst[OUTSTANDING_MAX];
    uint64_t now = bench_wall_ns();
    for (size_t i = 0; i < count; i++) {
        burst[i] = (struct entry){.group = group, .sent_ns = now};
    }
    queue_put(bed_inbox(b, group), burst, count);
}

static void bed_round(struct bed *b, uint64_t outstanding, uint64_t length_ms, uint64_t round)
{
    struct entry done[QUEUE_MAX];
    uint64_t commits = 0;
    uint64_t finished = 0;
    for (uint64_t i = 0; i < b->writer_count; i++) {
        b->writers[i].inbox.closed = false;
        commits -= b->writers[i].commit_count;
        if (pthread_create(&b->writers[i].thread, NULL, writer_main, &b->writers[i]) != 0) {
            bench_die("pthread_create", "failed");
        }
    }
    b->sample_count = 0;
    uint64_t in_flight = b->group_count * outstanding;
    uint64_t cpu = bench_cpu_ns();
    uint64_t start = bench_wall_ns();
    uint64_t end = start + length_ms * 1000000U;
    for (uint64_t g = 0; g < b->group_count; g++) {
        bed_send(b, g, (size_t)outstanding);
    }
    while (in_flight > 0) {
        size_t count = queue_take(b->durable, done);
        uint64_t now = bench_wall_ns();
        size_t again[GROUP_COUNT_MAX] = {0};
        for (size_t i = 0; i < count; i++) {
            again[done[i].group]++;
            if (b->sample_count < SAMPLE_MAX) {
                b->samples[b->sample_count++] = now - done[i].sent_ns;
            }
        }
        finished += count;
        if (now >= end) {
            in_flight -= count;
            continue;
        }
        for (uint64_t g = 0; g < b->group_count; g++) {
            if (again[g] > 0) {
                bed_send(b, g, again[g]);
            }
        }
    }
    double seconds = (double)(bench_wall_ns() - start) / 1e9;
    for (uint64_t i = 0; i < b->writer_count; i++) {
        queue_close(&b->writers[i].inbox);
        (void)pthread_join(b->writers[i].thread, NULL);
        commits += b->writers[i].commit_count;
    }
    qsort(b->samples, b->sample_count, sizeof b->samples[0], bench_compare_u64);
    b->cpu_us[round] = (double)(bench_cpu_ns() - cpu) / 1000.0 / (double)finished;
    b->rate[round] = (double)finished / seconds;
    b->p50_us[round] = bench_percentile_us(b->samples, b->sample_count, 0.50);
    b->p99_us[round] = bench_percentile_us(b->samples, b->sample_count, 0.99);
    b->p999_us[round] = bench_percentile_us(b->samples, b->sample_count, 0.999);
    b->worst_us[round] = bench_percentile_us(b->samples, b->sample_count, 1.0);
    b->per_commit[round] = (double)finished / (double)commits;
}

static void bed_report(struct bed *b, const char *name, size_t rounds)
{
    uint64_t wal_frames = 0;
    uint64_t checkpoints = 0;
    uint64_t checkpoint_ns = 0;
    for (uint64_t i = 0; i < b->writer_count; i++) {
        wal_frames += b->writers[i].db.wal_frame_count_max;
        checkpoints += b->writers[i].db.checkpoint_count;
        checkpoint_ns += b->writers[i].db.checkpoint_ns;
    }
    printf("  groups %" PRIu64 " %-9s %7.0f entries/s  cpu %.2f us  p50 %.0f  p99 %.0f  p99.9 %.0f"
           "  worst %.0f us  %.0f entries/commit  wal most %.1f MiB  %" PRIu64
           " checkpoints of %.1f ms\n",
           b->group_count, name, bench_median(b->rate, rounds), bench_median(b->cpu_us, rounds),
           bench_median(b->p50_us, rounds), bench_median(b->p99_us, rounds),
           bench_median(b->p999_us, rounds), bench_median(b->worst_us, rounds),
           bench_median(b->per_commit, rounds), (double)(wal_frames * WAL_FRAME_BYTES) / (1 << 20),
           checkpoints, checkpoints == 0 ? 0.0 : (double)checkpoint_ns / 1e6 / (double)checkpoints);
}

static void compare_groups(uint64_t outstanding, uint64_t length_ms, uint64_t rounds)
{
    static const uint64_t group_counts[] = {1, 4, 8};
    for (size_t n = 0; n < sizeof group_counts / sizeof group_counts[0]; n++) {
        struct bed beds[SCHEMA_COUNT];
        char dir[PATH_BYTES_MAX];
        bench_dir_make(dir);
        for (uint64_t i = 0; i < SCHEMA_COUNT; i++) {
            bed_open(&beds[i], (enum schema)i, group_counts[n], dir, i, 4U << 20, rounds);
            bed_round(&beds[i], outstanding, length_ms, 0); /* warm up */
        }
        for (uint64_t r = 0; r < rounds; r++) {
            for (uint64_t i = 0; i < SCHEMA_COUNT; i++) {
                bed_round(&beds[i], outstanding, length_ms, r);
            }
        }
        for (uint64_t i = 0; i < SCHEMA_COUNT; i++) {
            bed_report(&beds[i], schema_name[i], (size_t)rounds);
            bed_close(&beds[i]);
        }
        bench_dir_remove(dir);
    }
}

static void compare_limits(uint64_t groups, uint64_t outstanding, uint64_t length_ms,
                           uint64_t rounds)
{
    static const uint64_t limits[LIMIT_COUNT] = {256U << 10, 1U << 20, 4U << 20, 16U << 20,
                                                 LIMIT_NEVER};
    static const char *const names[LIMIT_COUNT] = {"256 KiB", "1 MiB", "4 MiB", "16 MiB", "never"};
    struct bed beds[LIMIT_COUNT];
    char dir[PATH_BYTES_MAX];
    bench_dir_make(dir);
    for (uint64_t i = 0; i < LIMIT_COUNT; i++) {
        bed_open(&beds[i], SCHEMA_COMPOSED, groups, dir, i, limits[i], rounds);
        bed_round(&beds[i], outstanding, length_ms, 0); /* warm up */
    }
    for (uint64_t r = 0; r < rounds; r++) {
        for (uint64_t i = 0; i < LIMIT_COUNT; i++) {
            bed_round(&beds[i], outstanding, length_ms, r);
            if (limits[i] == LIMIT_NEVER) { /* outside the measured window */
                (void)bench_checkpoint_past(&beds[i].writers[0].db, 0);
                beds[i].writers[0].db.checkpoint_count = 0;
                beds[i].writers[0].db.checkpoint_ns = 0;
            }
        }
    }
    for (uint64_t i = 0; i < LIMIT_COUNT; i++) {
        bed_report(&beds[i], names[i], (size_t)rounds);
        bed_close(&beds[i]);
    }
    bench_dir_remove(dir);
}

int main(int argc, char **argv)
{
    memset(data_bytes, 'e', sizeof data_bytes);
    if (argc >= 2 && strcmp(argv[1], "groups") == 0) {
        uint64_t outstanding = bench_argument(argc, argv, 2, 64);
        if (outstanding < 1 || outstanding > OUTSTANDING_MAX) {
            bench_die("outstanding", "1..256");
        }
        printf("raft_groups outstanding=%" PRIu64 " sqlite %s\n", outstanding,
               sqlite3_libversion());
        compare_groups(outstanding, bench_argument(argc, argv, 3, 1500),
                       bench_argument(argc, argv, 4, 5));
        return 0;
    }
    if (argc >= 2 && strcmp(argv[1], "limits") == 0) {
        uint64_t groups = bench_argument(argc, argv, 2, 1);
        uint64_t outstanding = bench_argument(argc, argv, 3, 64);
        if (groups < 1 || groups > GROUP_COUNT_MAX || outstanding < 1 ||
            outstanding > OUTSTANDING_MAX) {
            bench_die("groups 1..8, outstanding", "1..256");
        }
        printf("raft_groups limits outstanding=%" PRIu64 "\n", outstanding);
        compare_limits(groups, outstanding, bench_argument(argc, argv, 4, 1500),
                       bench_argument(argc, argv, 5, 5));
        return 0;
    }
    (void)fprintf(stderr, "usage: raft_groups groups|limits ...\n");
    return 2;
}
