/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tables should hold keys and revisions? (docs/decisions/0010-kv-layout.md)
 *
 *   split     current(key → small row) and history(rev → key, value, prev_rev, jump_rev)
 *   wide      kv(key, rev → value) WITHOUT ROWID; what compaction must delete is remembered in
 *             memory, which no real server could rely on after a restart: the best case for wide
 *   wide+rev  the same with an index on rev, which compaction and watches need in earnest
 *
 * Each layout lives in a database of its own; the rounds alternate. A round is some transactions
 * of `batch` puts: every put reads the key's current row first (unless the batch has it already),
 * rows are written in the best order for the layout, the revisions superseded below
 * head - `window` are deleted, then COMMIT, then a checkpoint when the WAL is past 16 MiB. So the
 * table is in its steady state: as many rows go as come.
 *
 * Not measured here: threads and stalls (kv_write_behind.c).
 *
 * usage: kv_layout [keys [hot 0|1 [batch [window [puts per round [rounds]]]]]]
 */
#include "kv_chain.h"

enum { LAYOUT_COUNT = 3, WAL_LIMIT_BYTES = 16 << 20, CACHE_KIB = 64 << 10, READ_COUNT = 20000 };

enum layout_kind { LAYOUT_SPLIT, LAYOUT_WIDE, LAYOUT_WIDE_REV };

static const char *const layout_name[LAYOUT_COUNT] = {"split", "wide", "wide+rev"};

/* A revision and the key it belongs to, ordered by key, then revision. */
struct revision {
    uint64_t key;
    uint64_t rev;
};

struct layout {
    enum layout_kind kind;
    struct bench_db db;
    sqlite3_stmt *begin, *commit, *free_pages, *all_pages;
    sqlite3_stmt *get, *put, *delete_row;            /* of current or of kv */
    sqlite3_stmt *history_put, *jump, *superseded;   /* split only */
    sqlite3_stmt *value_get, *as_of, *scan, *by_rev; /* reads */
    uint64_t head, compacted;
    /* By key id: the newest row, valid when seen[id] is the running batch's number. */
    struct kv_meta *overlay;
    uint64_t *seen;
    uint64_t batch_number;
    /* wide: which revision each of the last `window` ones superseded, by rev modulo ring_size. */
    struct revision *ring;
    uint64_t ring_size;
    struct kv_meta *batch;
    uint64_t *scratch;
    struct revision *sorted;
};

static uint8_t value_bytes[VALUE_BYTES];

static int compare_revision(const void *a, const void *b)
{
    const struct revision *x = a;
    const struct revision *y = b;
    int by_key = (x->key > y->key) - (x->key < y->key);
    return by_key != 0 ? by_key : (x->rev > y->rev) - (x->rev < y->rev);
}

static void bind_wide(sqlite3_stmt *s, const struct kv_meta *m, const char *text)
{
    bench_bind_blob(s, 1, text, KEY_BYTES);
    bench_bind(s, 2, m->mod);
    bench_bind_blob(s, 3, value_bytes, VALUE_BYTES);
    bench_bind(s, 4, m->create_rev);
    bench_bind(s, 5, m->version);
}

static void fill_wide(struct layout *l, uint64_t keys)
{
    char text[KEY_BYTES];
    struct revision *order = bench_alloc((size_t)keys, sizeof *order);
    for (uint64_t i = 0; i < keys; i++) {
        order[i] = (struct revision){.key = bench_mix(i), .rev = i + 1U};
    }
    qsort(order, (size_t)keys, sizeof *order, compare_revision);
    bench_run(l->begin);
    for (uint64_t i = 0; i < keys; i++) {
        struct kv_meta m = {.mod = order[i].rev, .create_rev = order[i].rev, .version = 1};
        bench_key_text(order[i].key, text);
        bind_wide(l->put, &m, text);
        bench_run(l->put);
        if (i % 50000U == 49999U) {
            bench_run(l->commit);
            (void)bench_checkpoint_past(&l->db, 0);
            bench_run(l->begin);
        }
    }
    bench_run(l->commit);
    (void)bench_checkpoint_past(&l->db, 0);
    free(order);
}

static void layout_open(struct layout *l, enum layout_kind kind, const char *dir, uint64_t keys,
                        uint64_t batch, uint64_t window)
{
    memset(l, 0, sizeof *l);
    l->kind = kind;
    bench_open(&l->db, dir, layout_name[kind], false, "NORMAL", CACHE_KIB);
    if (kind == LAYOUT_SPLIT) {
        bench_exec(&l->db, KV_SPLIT_SCHEMA);
        l->get = bench_prepare(&l->db, KV_CURRENT_GET);
        l->put = bench_prepare(&l->db, KV_CURRENT_PUT);
        l->history_put = bench_prepare(&l->db, KV_HISTORY_PUT);
        l->jump = bench_prepare(&l->db, KV_HISTORY_JUMP);
        l->superseded = bench_prepare(&l->db, KV_HISTORY_SUPERSEDED);
        l->delete_row = bench_prepare(&l->db, KV_HISTORY_DELETE);
        l->value_get = bench_prepare(&l->db, "SELECT value, prev_rev, jump_rev FROM history"
                                             " WHERE rev=?");
        l->scan = bench_prepare(&l->db, "SELECT c.key, h.value FROM current c JOIN history h"
                                        " ON h.rev=c.mod WHERE c.key>=? ORDER BY c.key LIMIT 100");
    } else {
        bench_exec(&l->db, "CREATE TABLE kv(key BLOB, rev INTEGER, value BLOB, create_rev INTEGER,"
                           " version INTEGER, lease INTEGER, PRIMARY KEY(key, rev)) WITHOUT ROWID");
        if (kind == LAYOUT_WIDE_REV) {
            bench_exec(&l->db, "CREATE UNIQUE INDEX kv_rev ON kv(rev)");
        }
        l->get = bench_prepare(&l->db, "SELECT rev, create_rev, version, 0, 0, value FROM kv"
                                       " WHERE key=? ORDER BY rev DESC LIMIT 1");
        l->put = bench_prepare(&l->db, "INSERT INTO kv VALUES(?,?,?,?,?,0)");
        l->delete_row = bench_prepare(&l->db, "DELETE FROM kv WHERE key=? AND rev=?");
        l->as_of = bench_prepare(&l->db, "SELECT value FROM kv WHERE key=? AND rev<=?"
                                         " ORDER BY rev DESC LIMIT 1");
        l->scan = bench_prepare(&l->db, "SELECT key, value, rev FROM kv WHERE key>=?"
                                        " ORDER BY key, rev");
    }
    l->begin = bench_prepare(&l->db, "BEGIN IMMEDIATE");
    l->commit = bench_prepare(&l->db, "COMMIT");
    l->free_pages = bench_prepare(&l->db, "PRAGMA freelist_count");
    l->all_pages = bench_prepare(&l->db, "PRAGMA page_count");
    if (kind == LAYOUT_SPLIT) {
        kv_fill_split(&l->db, keys, value_bytes);
    } else {
        fill_wide(l, keys);
    }
    l->head = l->compacted = keys;
    l->overlay = bench_alloc((size_t)keys, sizeof *l->overlay);
    l->seen = bench_alloc((size_t)keys, sizeof *l->seen);
    l->ring_size = window + 2U * batch;
    l->ring = bench_alloc((size_t)l->ring_size, sizeof *l->ring);
    l->batch = bench_alloc((size_t)batch, sizeof *l->batch);
    l->scratch = bench_alloc((size_t)batch, sizeof *l->scratch);
    l->sorted = bench_alloc((size_t)batch, sizeof *l->sorted);
}

static void layout_close(struct layout *l)
{
    bench_close(&l->db);
    free(l->overlay);
    free(l->seen);
    free(l->ring);
    free(l->batch);
    free(l->scratch);
    free(l->sorted);
}

/* Work out the next revision of key `id`: what the apply thread does. */
static void layout_next(struct layout *l, uint64_t id, uint64_t first_rev, struct kv_meta *out)
{
    struct kv_meta *newest = &l->overlay[id];
    if (l->seen[id] != l->batch_number) {
        if (!kv_read_current(l->get, bench_mix(id), newest)) {
            bench_die("current row", "missing");
        }
        l->seen[id] = l->batch_number;
    }
    struct kv_meta next = *newest;
    next.prev_rev = newest->mod;
    next.mod = ++l->head;
    next.version++;
    next.depth++;
    if (l->kind == LAYOUT_SPLIT) {
        next.jump_rev = newest->mod;
        if (kv_jump_width(next.depth) > 1U) {
            next.jump_rev = newest->jump_rev >= first_rev
                                ? l->batch[newest->jump_rev - first_rev].jump_rev
                                : kv_read_jump(l->jump, newest->jump_rev);
        }
    }
    *newest = next;
    *out = next;
}

static void layout_write_split(struct layout *l, size_t batch)
{
    char text[KEY_BYTES];
    for (size_t i = 0; i < batch; i++) {
        bench_key_text(l->batch[i].key, text);
        kv_bind_history(l->history_put, &l->batch[i], text, value_bytes);
        bench_run(l->history_put);
        l->sorted[i] = (struct revision){.key = l->batch[i].key, .rev = i};
    }
    qsort(l->sorted, batch, sizeof l->sorted[0], compare_revision);
    for (size_t i = 0; i < batch; i++) {
        if (i + 1U < batch && l->sorted[i + 1U].key == l->sorted[i].key) {
            continue; /* only the newest of a key */
        }
        bench_key_text(l->sorted[i].key, text);
        kv_bind_current(l->put, &l->batch[l->sorted[i].rev], text);
        bench_run(l->put);
    }
}

static void layout_write_wide(struct layout *l, size_t batch)
{
    char text[KEY_BYTES];
    for (size_t i = 0; i < batch; i++) {
        const struct kv_meta *m = &l->batch[i];
        l->ring[m->mod % l->ring_size] = (struct revision){.key = m->key, .rev = m->prev_rev};
        l->sorted[i] = (struct revision){.key = m->key, .rev = i};
    }
    qsort(l->sorted, batch, sizeof l->sorted[0], compare_revision);
    for (size_t i = 0; i < batch; i++) {
        bench_key_text(l->sorted[i].key, text);
        bind_wide(l->put, &l->batch[l->sorted[i].rev], text);
        bench_run(l->put);
    }
}

static void layout_compact(struct layout *l, uint64_t to)
{
    char text[KEY_BYTES];
    if (l->kind == LAYOUT_SPLIT) {
        (void)kv_compact_slice(l->superseded, l->delete_row, l->compacted, to, l->scratch);
    } else {
        size_t count = 0;
        for (uint64_t rev = l->compacted + 1U; rev <= to; rev++) {
            l->sorted[count++] = l->ring[rev % l->ring_size];
        }
        qsort(l->sorted, count, sizeof l->sorted[0], compare_revision);
        for (size_t i = 0; i < count; i++) {
            bench_key_text(l->sorted[i].key, text);
            bench_bind_blob(l->delete_row, 1, text, KEY_BYTES);
            bench_bind(l->delete_row, 2, l->sorted[i].rev);
            bench_run(l->delete_row);
        }
    }
    l->compacted = to;
}

static void layout_batch(struct layout *l, uint64_t keys, bool hot, size_t batch, uint64_t window,
                         uint64_t *seed)
{
    uint64_t first_rev = l->head + 1U;
    l->batch_number++;
    bench_run(l->begin); /* the reads too: a transaction for each of them costs 3 us more */
    for (size_t i = 0; i < batch; i++) {
        layout_next(l, hot ? 0 : bench_random(seed) % keys, first_rev, &l->batch[i]);
    }
    if (l->kind == LAYOUT_SPLIT) {
        layout_write_split(l, batch);
    } else {
        layout_write_wide(l, batch);
    }
    if (l->head > window && l->head - window > l->compacted) {
        layout_compact(l, l->head - window);
    }
    kv_vacuum_slice(&l->db, l->free_pages, l->all_pages);
    bench_run(l->commit);
    (void)bench_checkpoint_past(&l->db, WAL_LIMIT_BYTES);
}

/* -------------------------------------------------------------------- reads */

static void read_current(struct layout *l, uint64_t id)
{
    struct kv_meta m;
    if (!kv_read_current(l->get, bench_mix(id), &m)) {
        bench_die("current row", "missing");
    }
    if (l->kind == LAYOUT_SPLIT) {
        bench_bind(l->value_get, 1, m.mod);
        if (!bench_step(l->value_get)) {
            bench_die("history row", "missing");
        }
        (void)sqlite3_column_blob(l->value_get, 0);
        (void)sqlite3_reset(l->value_get);
    }
}

/* The value of the key as of revision `rev`; returns how many history rows were read. */
static uint64_t read_as_of(struct layout *l, uint64_t id, uint64_t rev)
{
    char text[KEY_BYTES];
    if (l->kind != LAYOUT_SPLIT) {
        bench_key_text(bench_mix(id), text);
        bench_bind_blob(l->as_of, 1, text, KEY_BYTES);
        bench_bind(l->as_of, 2, rev);
        if (!bench_step(l->as_of)) {
            bench_die("old revision", "missing");
        }
        (void)sqlite3_column_blob(l->as_of, 0);
        (void)sqlite3_reset(l->as_of);
        return 1;
    }
    struct kv_meta m;
    (void)kv_read_current(l->get, bench_mix(id), &m);
    uint64_t at = m.mod;
    for (uint64_t steps = 1;; steps++) {
        bench_bind(l->value_get, 1, at);
        if (!bench_step(l->value_get)) {
            bench_die("old revision", "missing");
        }
        uint64_t prev = bench_column(l->value_get, 1);
        uint64_t jump = bench_column(l->value_get, 2);
        (void)sqlite3_column_blob(l->value_get, 0);
        (void)sqlite3_reset(l->value_get);
        if (at <= rev) {
            return steps;
        }
        at = jump > rev ? jump : prev;
    }
}

/* A hundred keys in order with their newest values. */
static void read_scan(struct layout *l, uint64_t id)
{
    char text[KEY_BYTES];
    char last[KEY_BYTES] = {0};
    bench_key_text(bench_mix(id), text);
    bench_bind_blob(l->scan, 1, text, KEY_BYTES);
    size_t count = 0;
    while (count <= 100U && bench_step(l->scan)) {
        const void *key = sqlite3_column_blob(l->scan, 0);
        (void)sqlite3_column_blob(l->scan, 1);
        if (memcmp(last, key, KEY_BYTES) != 0) {
            memcpy(last, key, KEY_BYTES);
            count++;
        }
    }
    (void)sqlite3_reset(l->scan);
}

static void report_reads(struct layout *l, uint64_t keys, bool hot, uint64_t *seed)
{
    uint64_t steps = 0;
    uint64_t steps_max = 0;
    bench_exec(&l->db, "BEGIN");
    uint64_t start = bench_cpu_ns();
    for (int i = 0; i < READ_COUNT; i++) {
        read_current(l, hot ? 0 : bench_random(seed) % keys);
    }
    double current_us = (double)(bench_cpu_ns() - start) / 1000.0 / READ_COUNT;
    start = bench_cpu_ns();
    for (int i = 0; i < READ_COUNT; i++) {
        uint64_t span = l->head - l->compacted + 1U;
        uint64_t n = read_as_of(l, hot ? 0 : bench_random(seed) % keys,
                                l->compacted + bench_random(seed) % span);
        steps += n;
        steps_max = n > steps_max ? n : steps_max;
    }
    double as_of_us = (double)(bench_cpu_ns() - start) / 1000.0 / READ_COUNT;
    start = bench_cpu_ns();
    for (int i = 0; i < READ_COUNT / 100; i++) {
        read_scan(l, bench_random(seed) % keys);
    }
    double scan_us = (double)(bench_cpu_ns() - start) / 1000.0 / (READ_COUNT / 100);
    bench_exec(&l->db, "COMMIT");
    printf("  %-9s get %.2f us  get as of an old revision %.2f us (rows read: mean %.1f, most"
           " %" PRIu64 ")  range of 100 %.0f us\n",
           layout_name[l->kind], current_us, as_of_us, (double)steps / READ_COUNT, steps_max,
           scan_us);
}

int main(int argc, char **argv)
{
    uint64_t keys = bench_argument(argc, argv, 1, 100000);
    bool hot = bench_argument(argc, argv, 2, 0) != 0;
    uint64_t batch = bench_argument(argc, argv, 3, 20000);
    uint64_t window = bench_argument(argc, argv, 4, 100000);
    uint64_t puts = bench_argument(argc, argv, 5, 100000);
    uint64_t rounds = bench_argument(argc, argv, 6, 5);
    uint64_t batches = puts / batch;
    uint64_t warm_batches = (window + keys / 2U) / batch + batches;
    struct layout layouts[LAYOUT_COUNT];
    double *cpu_us[LAYOUT_COUNT];
    double *wall_us[LAYOUT_COUNT];
    char dir[PATH_BYTES_MAX];
    uint64_t seed = 1;

    memset(value_bytes, 'v', sizeof value_bytes);
    bench_dir_make(dir);
    for (int i = 0; i < LAYOUT_COUNT; i++) {
        cpu_us[i] = bench_alloc((size_t)rounds, sizeof *cpu_us[i]);
        wall_us[i] = bench_alloc((size_t)rounds, sizeof *wall_us[i]);
        layout_open(&layouts[i], (enum layout_kind)i, dir, keys, batch, window);
        for (uint64_t b = 0; b < warm_batches; b++) {
            layout_batch(&layouts[i], keys, hot, (size_t)batch, window, &seed);
        }
        layouts[i].db.wal_frame_count_max = 0;
    }
    for (uint64_t r = 0; r < rounds; r++) {
        for (int i = 0; i < LAYOUT_COUNT; i++) {
            uint64_t cpu = bench_cpu_ns();
            uint64_t wall = bench_wall_ns();
            for (uint64_t b = 0; b < batches; b++) {
                layout_batch(&layouts[i], keys, hot, (size_t)batch, window, &seed);
            }
            double count = (double)(batches * batch) * 1000.0;
            cpu_us[i][r] = (double)(bench_cpu_ns() - cpu) / count;
            wall_us[i][r] = (double)(bench_wall_ns() - wall) / count;
        }
    }
    printf("%s keys=%" PRIu64 " hot=%d batch=%" PRIu64 " window=%" PRIu64 " sqlite %s\n",
           "kv_layout", keys, hot, batch, window, sqlite3_libversion());
    double base = 0.0;
    for (int i = 0; i < LAYOUT_COUNT; i++) {
        double cpu = bench_median(cpu_us[i], (size_t)rounds);
        base = i == 0 ? cpu : base;
        printf("  %-9s cpu %.2f us/put (%.2f..%.2f) ratio %.2f  wall %.2f us/put  file %" PRIu64
               " MiB (%" PRIu64 " pages free)  wal most %" PRIu64 " MiB\n",
               layout_name[i], cpu, cpu_us[i][0], cpu_us[i][rounds - 1U], cpu / base,
               bench_median(wall_us[i], (size_t)rounds),
               bench_pragma(&layouts[i].db, "PRAGMA page_count") * PAGE_BYTES >> 20,
               bench_pragma(&layouts[i].db, "PRAGMA freelist_count"),
               layouts[i].db.wal_frame_count_max * WAL_FRAME_BYTES >> 20);
    }
    for (int i = 0; i < LAYOUT_COUNT; i++) {
        report_reads(&layouts[i], keys, hot, &seed);
        layout_close(&layouts[i]);
        free(cpu_us[i]);
        free(wall_us[i]);
    }
    bench_dir_remove(dir);
    return 0;
}
