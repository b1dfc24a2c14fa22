/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How should applied puts reach kv.db? (docs/decisions/0011-write-behind.md)
 *
 *   A   the apply thread keeps one SQLite transaction open, writes as it goes, and commits and
 *       checkpoints inline: when about 1,000 pages are dirty ("A pages"), or every n puts
 *   B   the apply thread writes into an overlay in memory (a hash, key → newest) and hands sealed
 *       batches to a flusher thread: history in revision order, then only the newest current row
 *       of each key in key order, one transaction a batch. The flusher is the only connection that
 *       writes and checkpoints; it checkpoints between its transactions. The apply thread reads
 *       through a read-only connection, whose transaction lasts for one message of 64 puts
 *   B+  B, and the apply thread remembers newest rows it knows anyway: a 4-way table of `cache`
 *       slots. Only the apply thread makes revisions, so a remembered row is never stale
 *
 * Every put needs its key's newest row first: from the overlay, the cache, or a SELECT. Both forms
 * compact as fast as they write, in the same transactions, and use the SPLIT tables (kv_chain.h).
 *
 * Two loads: as fast as it goes (CPU and puts per second, everything flushed at the end), and
 * paced in ticks of a millisecond: how long single calls hold the apply thread up ("stall"; a commit
 * or hand-over made for its age is a call of its own), and how long after its arrival a put is done
 * ("late", which counts the puts that wait behind a stall too). Paced, what is a second old is
 * committed or sealed.
 *
 * Threads here share one slot guarded by a mutex: the batch being flushed. Its records do not
 * change between hand-over and `flushed`, so the apply thread may read them without the lock.
 *
 * usage: kv_write_behind [keys [puts per round [rounds [paced puts/s [window [paced seconds]]]]]]
 */
#include "kv_chain.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    MODE_COUNT = 7,
    MESSAGE_PUTS = 64,
    DIRTY_PAGES_MAX = 1000,
    COMMIT_PUTS_MAX = 20000,
    WAL_LIMIT_BYTES = 16 << 20,
    CACHE_KIB = 64 << 10,
    CACHE_WAYS = 4,
    CACHE_SLOTS = 1 << 18,
    CHECKPOINT_TRIES_MAX = 20
};

struct mode {
    const char *name;
    bool flusher;
    size_t batch; /* puts in a transaction; 0: as many as dirty DIRTY_PAGES_MAX pages */
    bool cache;
};

static const struct mode modes[MODE_COUNT] = {
    {"A pages", false, 0, false},     {"A 5000", false, 5000, false},
    {"A 20000", false, 20000, false}, {"B 5000", true, 5000, false},
    {"B 20000", true, 20000, false},  {"B 50000", true, 50000, false},
    {"B+ 20000", true, 20000, true},
};

struct record {
    struct kv_meta meta;
    uint8_t value[VALUE_BYTES];
};

/* Consecutive revisions and, by key, the newest of each. */
struct batch {
    struct record *records;
    size_t count;
    uint64_t first_rev;
    uint32_t *slots; /* 1 + position in records; 0: free */
    size_t slot_count;
};

/* The writing connection: the apply thread's in A, the flusher's in B. */
struct writer {
    struct bench_db db;
    sqlite3_stmt *begin, *commit, *history_put, *current_put, *superseded, *delete_row;
    sqlite3_stmt *free_pages, *all_pages;
    uint64_t compacted;
    uint64_t *scratch;
    uint64_t *sorted; /* pairs: key, position */
    uint64_t commit_count;
    uint64_t commit_ns_most;
};

struct table {
    const struct mode *mode;
    uint64_t keys, window, head;
    struct writer writer;
    /* reads */
    struct bench_db reader_db;
    sqlite3_stmt *get, *jump, *read_begin, *read_end;
    bool reading;
    uint64_t select_count;
    /* A */
    bool open;
    size_t open_puts, open_puts_max;
    uint64_t opened_ns;
    /* B */
    struct batch *active, *sealed; /* sealed: handed over and not yet dropped, or NULL */
    struct batch *spare;
    struct kv_meta *cache;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct batch *work; /* for the flusher; guarded by lock */
    bool busy, stopping;
    atomic_bool flushed;           /* the sealed batch is committed */
    atomic_uint_fast64_t boundary; /* odd while the apply thread is in a read transaction */
    /* measured */
    uint64_t *stalls;
    size_t stall_count;
    uint64_t *lates;
    size_t late_count;
    double *cpu_us, *wall_us, *p50, *p99, *p999, *worst, *late_p99, *late_p999, *paced_cpu_us;
};

static uint8_t value_bytes[VALUE_BYTES];

/* -------------------------------------------------------------------- writing */

static void writer_open(struct writer *w, const char *dir, const char *name, size_t most)
{
    memset(w, 0, sizeof *w);
    bench_open(&w->db, dir, name, false, "NORMAL", CACHE_KIB);
    bench_exec(&w->db, KV_SPLIT_SCHEMA);
    w->begin = bench_prepare(&w->db, "BEGIN IMMEDIATE");
    w->commit = bench_prepare(&w->db, "COMMIT");
    w->history_put = bench_prepare(&w->db, KV_HISTORY_PUT);
    w->current_put = bench_prepare(&w->db, KV_CURRENT_PUT);
    w->superseded = bench_prepare(&w->db, KV_HISTORY_SUPERSEDED);
    w->delete_row = bench_prepare(&w->db, KV_HISTORY_DELETE);
    w->free_pages = bench_prepare(&w->db, "PRAGMA freelist_count");
    w->all_pages = bench_prepare(&w->db, "PRAGMA page_count");
    w->scratch = bench_alloc(most, sizeof *w->scratch);
    w->sorted = bench_alloc(most, 2U * sizeof *w->sorted);
}

/* Compact up to head - window, COMMIT, and measure how long the commit took. */
static void writer_finish(struct writer *w, uint64_t head, uint64_t window)
{
    if (head > window && head - window > w->compacted) {
        (void)kv_compact_slice(w->superseded, w->delete_row, w->compacted, head - window,
                               w->scratch);
        w->compacted = head - window;
    }
    kv_vacuum_slice(&w->db, w->free_pages, w->all_pages);
    uint64_t start = bench_wall_ns();
    bench_run(w->commit);
    uint64_t took = bench_wall_ns() - start;
    w->commit_ns_most = took > w->commit_ns_most ? took : w->commit_ns_most;
    w->commit_count++;
}

static void writer_flush(struct writer *w, const struct batch *b, uint64_t window)
{
    char text[KEY_BYTES];
    bench_run(w->begin);
    for (size_t i = 0; i < b->count; i++) {
        const struct record *r = &b->records[i];
        bench_key_text(r->meta.key, text);
        kv_bind_history(w->history_put, &r->meta, text, r->value);
        bench_run(w->history_put);
    }
    size_t distinct = 0;
    for (size_t i = 0; i < b->slot_count; i++) {
        if (b->slots[i] != 0) {
            w->sorted[2U * distinct] = b->records[b->slots[i] - 1U].meta.key;
            w->sorted[2U * distinct + 1U] = b->slots[i] - 1U;
            distinct++;
        }
    }
    qsort(w->sorted, distinct, 2U * sizeof *w->sorted, bench_compare_u64);
    for (size_t i = 0; i < distinct; i++) {
        bench_key_text(w->sorted[2U * i], text);
        kv_bind_current(w->current_put, &b->records[w->sorted[2U * i + 1U]].meta, text);
        bench_run(w->current_put);
    }
    writer_finish(w, b->first_rev + b->count - 1U, window);
}

/* -------------------------------------------------------------------- the overlay */

static struct batch *batch_new(size_t most)
{
    struct batch *b = bench_alloc(1, sizeof *b);
    b->records = bench_alloc(most, sizeof *b->records);
    b->slot_count = 1;
    while (b->slot_count < 2U * most) {
        b->slot_count *= 2U;
    }
    b->slots = bench_alloc(b->slot_count, sizeof *b->slots);
    return b;
}

static void batch_free(struct batch *b)
{
    if (b != NULL) {
        free(b->records);
        free(b->slots);
        free(b);
    }
}

/* The slot of `key`: where its newest position is, or 0 stands. */
static uint32_t *batch_slot(const struct batch *b, uint64_t key)
{
    size_t at = (size_t)(key ^ key >> 32) & (b->slot_count - 1U);
    while (b->slots[at] != 0 && b->records[b->slots[at] - 1U].meta.key != key) {
        at = (at + 1U) & (b->slot_count - 1U);
    }
    return &b->slots[at];
}

static const struct kv_meta *batch_find(const struct batch *b, uint64_t key)
{
    if (b == NULL) {
        return NULL;
    }
    uint32_t position = *batch_slot(b, key);
    return position == 0 ? NULL : &b->records[position - 1U].meta;
}

static const struct kv_meta *batch_find_rev(const struct batch *b, uint64_t rev)
{
    bool in = b != NULL && rev >= b->first_rev && rev < b->first_rev + b->count;
    return in ? &b->records[rev - b->first_rev].meta : NULL;
}

/* -------------------------------------------------------------------- the flusher */

/*
 * Checkpoint between transactions. A PASSIVE one copies only what no reader still needs, and the
 * WAL restarts only when no reader is in it: so go on until all is copied, then wait until the
 * apply thread has passed the end of a message. Each try is bounded; the WAL may grow a batch more.
 */
static void flusher_checkpoint(struct table *t)
{
    static const struct timespec pause = {.tv_nsec = 200000};
    if (t->writer.db.wal_frame_count * WAL_FRAME_BYTES <= WAL_LIMIT_BYTES) {
        return;
    }
    for (int i = 0; i < CHECKPOINT_TRIES_MAX; i++) {
        if (bench_checkpoint_past(&t->writer.db, WAL_LIMIT_BYTES)) {
            break;
        }
        (void)nanosleep(&pause, NULL);
    }
    uint64_t seen = atomic_load(&t->boundary);
    for (int i = 0; i < CHECKPOINT_TRIES_MAX && seen % 2U == 1U; i++) {
        if (atomic_load(&t->boundary) != seen) {
            break;
        }
        (void)nanosleep(&pause, NULL);
    }
}

static void *flusher_main(void *arg)
{
    struct table *t = arg;
    (void)pthread_mutex_lock(&t->lock);
    for (;;) {
        while (t->work == NULL && !t->stopping) {
            (void)pthread_cond_wait(&t->changed, &t->lock);
        }
        if (t->work == NULL) {
            break;
        }
        const struct batch *b = t->work;
        (void)pthread_mutex_unlock(&t->lock);
        writer_flush(&t->writer, b, t->window);
        atomic_store(&t->flushed, true);
        flusher_checkpoint(t);
        (void)pthread_mutex_lock(&t->lock);
        t->work = NULL;
        t->busy = false;
        (void)pthread_cond_broadcast(&t->changed);
    }
    (void)pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* -------------------------------------------------------------------- the apply thread */

/* End of a message: leave the read transaction, and drop the sealed batch once it is in the file. */
static void apply_boundary(struct table *t)
{
    if (t->reading) {
        bench_run(t->read_end);
        t->reading = false;
        (void)atomic_fetch_add(&t->boundary, 1);
    }
    if (t->sealed != NULL && atomic_load(&t->flushed)) {
        t->spare = t->sealed;
        t->sealed = NULL;
    }
}

static void apply_reading(struct table *t)
{
    if (t->mode->flusher && !t->reading) {
        (void)atomic_fetch_add(&t->boundary, 1);
        bench_run(t->read_begin);
        t->reading = true;
    }
    t->select_count++;
}

static void apply_wait_idle(struct table *t)
{
    apply_boundary(t);
    (void)pthread_mutex_lock(&t->lock);
    while (t->busy) {
        (void)pthread_cond_wait(&t->changed, &t->lock);
    }
    (void)pthread_mutex_unlock(&t->lock);
    apply_boundary(t);
}

static bool apply_flusher_busy(struct table *t)
{
    (void)pthread_mutex_lock(&t->lock);
    bool busy = t->busy;
    (void)pthread_mutex_unlock(&t->lock);
    return busy;
}

/* Hand the active batch to the flusher, waiting for it when it is behind: the bound on memory. */
static void apply_seal(struct table *t)
{
    apply_wait_idle(t);
    t->sealed = t->active;
    t->active = t->spare;
    t->spare = NULL;
    memset(t->active->slots, 0, t->active->slot_count * sizeof *t->active->slots);
    t->active->count = 0;
    atomic_store(&t->flushed, false);
    (void)pthread_mutex_lock(&t->lock);
    t->work = t->sealed;
    t->busy = true;
    (void)pthread_cond_broadcast(&t->changed);
    (void)pthread_mutex_unlock(&t->lock);
}

static struct kv_meta *apply_cache_slot(struct table *t, uint64_t key)
{
    struct kv_meta *set = &t->cache[(key & (CACHE_SLOTS / CACHE_WAYS - 1U)) * CACHE_WAYS];
    for (size_t i = 0; i < CACHE_WAYS; i++) {
        if (set[i].key == key || set[i].mod == 0) {
            return &set[i];
        }
    }
    return &set[key >> 62];
}

/* The newest row of `key`, and the jump of its jump when the next revision needs that. */
static void apply_read(struct table *t, uint64_t key, struct kv_meta *out)
{
    const struct kv_meta *m = NULL;
    if (t->mode->flusher) {
        m = batch_find(t->active, key);
        m = m != NULL ? m : batch_find(t->sealed, key);
        if (m == NULL && t->cache != NULL) {
            const struct kv_meta *c = apply_cache_slot(t, key);
            m = c->mod != 0 && c->key == key ? c : NULL;
        }
    }
    if (m != NULL) {
        *out = *m;
        return;
    }
    apply_reading(t);
    if (!kv_read_current(t->get, key, out)) {
        bench_die("current row", "missing");
    }
}

static uint64_t apply_jump(struct table *t, const struct kv_meta *newest)
{
    uint64_t rev = newest->jump_rev;
    if (kv_jump_width(newest->depth + 1U) == 1U) {
        return newest->mod;
    }
    if (rev == 0 || rev + t->window < t->head) {
        return 0; /* compacted or about to be: no lookup will follow it */
    }
    const struct kv_meta *m = batch_find_rev(t->active, rev);
    m = m != NULL ? m : batch_find_rev(t->sealed, rev);
    if (m != NULL) {
        return m->jump_rev;
    }
    apply_reading(t);
    return kv_read_jump(t->jump, rev);
}

static void apply_commit_inline(struct table *t)
{
    struct writer *w = &t->writer;
    int pages = 0;
    int most = 0;
    writer_finish(w, t->head, t->window);
    (void)bench_checkpoint_past(&w->db, WAL_LIMIT_BYTES);
    t->open = false;
    (void)sqlite3_db_status(w->db.handle, SQLITE_DBSTATUS_CACHE_WRITE, &pages, &most, 1);
    if (t->mode->batch == 0 && pages > 0) {
        size_t next = t->open_puts * DIRTY_PAGES_MAX / (size_t)pages;
        next = next < 100U ? 100U : next;
        t->open_puts_max = next > COMMIT_PUTS_MAX ? COMMIT_PUTS_MAX : next;
    }
    t->open_puts = 0;
}

static void apply_put_inline(struct table *t, const struct kv_meta *m)
{
    char text[KEY_BYTES];
    bench_key_text(m->key, text);
    kv_bind_history(t->writer.history_put, m, text, value_bytes);
    bench_run(t->writer.history_put);
    kv_bind_current(t->writer.current_put, m, text);
    bench_run(t->writer.current_put);
    t->open_puts++;
}

static void apply_put_overlay(struct table *t, const struct kv_meta *m)
{
    struct batch *b = t->active;
    if (b->count == 0) {
        b->first_rev = m->mod;
        t->opened_ns = bench_wall_ns();
    }
    b->records[b->count].meta = *m;
    memcpy(b->records[b->count].value, value_bytes, VALUE_BYTES);
    *batch_slot(b, m->key) = (uint32_t)b->count + 1U;
    b->count++;
    if (t->cache != NULL) {
        *apply_cache_slot(t, m->key) = *m;
    }
}

static void apply_put(struct table *t, uint64_t key)
{
    struct kv_meta m = {0};
    if (!t->mode->flusher && !t->open) {
        bench_run(t->writer.begin);
        t->open = true;
        t->opened_ns = bench_wall_ns();
    }
    apply_read(t, key, &m);
    m.jump_rev = apply_jump(t, &m);
    m.prev_rev = m.mod;
    m.mod = ++t->head;
    m.version++;
    m.depth++;
    if (!t->mode->flusher) {
        apply_put_inline(t, &m);
        if (t->open_puts >= t->open_puts_max) {
            apply_commit_inline(t);
        }
        return;
    }
    apply_put_overlay(t, &m);
    if (t->active->count == t->mode->batch) {
        apply_seal(t);
    }
}

/* Between messages: what is a second old goes out. True when something did. */
static bool apply_tick(struct table *t, uint64_t now)
{
    bool old = now - t->opened_ns > 1000000000U;
    if (!t->mode->flusher) {
        if (t->open && old) {
            apply_commit_inline(t);
            return true;
        }
        return false;
    }
    apply_boundary(t);
    if (t->active->count > 0 && old && !apply_flusher_busy(t)) {
        apply_seal(t);
        return true;
    }
    return false;
}

static void apply_drain(struct table *t)
{
    if (!t->mode->flusher) {
        if (t->open) {
            apply_commit_inline(t);
        }
        return;
    }
    if (t->active->count > 0) {
        apply_seal(t);
    }
    apply_wait_idle(t);
}

/* -------------------------------------------------------------------- rounds */

static void table_open(struct table *t, const struct mode *mode, const char *dir, uint64_t keys,
                       uint64_t window, size_t rounds, size_t stalls)
{
    size_t most = mode->batch > COMMIT_PUTS_MAX ? mode->batch : COMMIT_PUTS_MAX;
    memset(t, 0, sizeof *t);
    t->mode = mode;
    t->keys = keys;
    t->window = window;
    writer_open(&t->writer, dir, mode->name, most);
    kv_fill_split(&t->writer.db, keys, value_bytes);
    t->head = t->writer.compacted = keys;
    t->open_puts_max = mode->batch == 0 ? DIRTY_PAGES_MAX : mode->batch;
    struct bench_db *db = &t->writer.db;
    if (mode->flusher) {
        bench_open(&t->reader_db, dir, mode->name, true, "NORMAL", CACHE_KIB);
        db = &t->reader_db;
        t->read_begin = bench_prepare(db, "BEGIN");
        t->read_end = bench_prepare(db, "COMMIT");
        t->active = batch_new(most);
        t->spare = batch_new(most);
        t->cache = mode->cache ? bench_alloc(CACHE_SLOTS, sizeof *t->cache) : NULL;
        if (pthread_mutex_init(&t->lock, NULL) != 0 || pthread_cond_init(&t->changed, NULL) != 0 ||
            pthread_create(&t->thread, NULL, flusher_main, t) != 0) {
            bench_die("flusher", "cannot start");
        }
    }
    t->get = bench_prepare(db, KV_CURRENT_GET);
    t->jump = bench_prepare(db, KV_HISTORY_JUMP);
    t->stalls = bench_alloc(stalls, sizeof *t->stalls);
    t->lates = bench_alloc(stalls, sizeof *t->lates);
    t->cpu_us = bench_alloc(rounds, sizeof(double));
    t->wall_us = bench_alloc(rounds, sizeof(double));
    t->p50 = bench_alloc(rounds, sizeof(double));
    t->p99 = bench_alloc(rounds, sizeof(double));
    t->p999 = bench_alloc(rounds, sizeof(double));
    t->worst = bench_alloc(rounds, sizeof(double));
    t->late_p99 = bench_alloc(rounds, sizeof(double));
    t->late_p999 = bench_alloc(rounds, sizeof(double));
    t->paced_cpu_us = bench_alloc(rounds, sizeof(double));
}

static void table_close(struct table *t)
{
    if (t->mode->flusher) {
        (void)pthread_mutex_lock(&t->lock);
        t->stopping = true;
        (void)pthread_cond_broadcast(&t->changed);
        (void)pthread_mutex_unlock(&t->lock);
        (void)pthread_join(t->thread, NULL);
        bench_close(&t->reader_db);
        batch_free(t->active);
        batch_free(t->sealed);
        batch_free(t->spare);
        free(t->cache);
    }
    bench_close(&t->writer.db);
    free(t->writer.scratch);
    free(t->writer.sorted);
    free(t->stalls);
    free(t->lates);
    free(t->cpu_us);
    free(t->wall_us);
    free(t->p50);
    free(t->p99);
    free(t->p999);
    free(t->worst);
    free(t->late_p99);
    free(t->late_p999);
    free(t->paced_cpu_us);
}

static void run_full_speed(struct table *t, uint64_t puts, uint64_t *seed)
{
    for (uint64_t i = 0; i < puts; i++) {
        apply_put(t, bench_mix(bench_random(seed) % t->keys));
        if (i % MESSAGE_PUTS == MESSAGE_PUTS - 1U && t->mode->flusher) {
            apply_boundary(t);
        }
    }
    apply_drain(t);
}

static void run_paced(struct table *t, uint64_t rate, uint64_t seconds, uint64_t *seed)
{
    uint64_t ticks = seconds * 1000U;
    uint64_t next = bench_wall_ns();
    t->stall_count = 0;
    t->late_count = 0;
    for (uint64_t i = 0; i < ticks; i++) {
        uint64_t arrived = next;
        next += 1000000U;
        for (uint64_t p = 0; p < rate / 1000U; p++) {
            uint64_t start = bench_wall_ns();
            apply_put(t, bench_mix(bench_random(seed) % t->keys));
            uint64_t end = bench_wall_ns();
            t->stalls[t->stall_count++] = end - start;
            t->lates[t->late_count++] = end - arrived;
        }
        uint64_t start = bench_wall_ns();
        bool sent = apply_tick(t, start);
        uint64_t now = bench_wall_ns();
        if (sent) {
            t->stalls[t->stall_count++] = now - start;
        }
        if (now < next) {
            struct timespec pause = {.tv_nsec = (long)(next - now)};
            (void)nanosleep(&pause, NULL);
        }
    }
    apply_drain(t);
}

static void measure_full_speed(struct table *t, uint64_t puts, uint64_t round, uint64_t *seed)
{
    uint64_t cpu = bench_cpu_ns();
    uint64_t wall = bench_wall_ns();
    run_full_speed(t, puts, seed);
    t->cpu_us[round] = (double)(bench_cpu_ns() - cpu) / 1000.0 / (double)puts;
    t->wall_us[round] = (double)(bench_wall_ns() - wall) / 1000.0 / (double)puts;
}

static void measure_paced(struct table *t, uint64_t rate, uint64_t seconds, uint64_t round,
                          uint64_t *seed)
{
    uint64_t cpu = bench_cpu_ns();
    run_paced(t, rate, seconds, seed);
    t->paced_cpu_us[round] = (double)(bench_cpu_ns() - cpu) / 1000.0 / (double)t->late_count;
    qsort(t->stalls, t->stall_count, sizeof t->stalls[0], bench_compare_u64);
    t->p50[round] = bench_percentile_us(t->stalls, t->stall_count, 0.50);
    t->p99[round] = bench_percentile_us(t->stalls, t->stall_count, 0.99);
    t->p999[round] = bench_percentile_us(t->stalls, t->stall_count, 0.999);
    t->worst[round] = bench_percentile_us(t->stalls, t->stall_count, 1.0);
    qsort(t->lates, t->late_count, sizeof t->lates[0], bench_compare_u64);
    t->late_p99[round] = bench_percentile_us(t->lates, t->late_count, 0.99);
    t->late_p999[round] = bench_percentile_us(t->lates, t->late_count, 0.999);
}

static void report(struct table *t, size_t rounds, uint64_t put_count)
{
    printf("  %-9s cpu %.2f us/put  %7.0f puts/s | paced: cpu %.2f  stall p50 %.1f  p99 %.1f"
           "  p99.9 %.0f  worst %.0f us  late p99 %.0f  p99.9 %.0f us | longest commit %.0f ms  "
           "wal most %.0f MiB"
           "  %.2f selects/put\n",
           t->mode->name, bench_median(t->cpu_us, rounds), 1e6 / bench_median(t->wall_us, rounds),
           bench_median(t->paced_cpu_us, rounds), bench_median(t->p50, rounds),
           bench_median(t->p99, rounds), bench_median(t->p999, rounds),
           bench_median(t->worst, rounds), bench_median(t->late_p99, rounds),
           bench_median(t->late_p999, rounds), (double)t->writer.commit_ns_most / 1e6,
           (double)(t->writer.db.wal_frame_count_max * WAL_FRAME_BYTES) / (1 << 20),
           (double)t->select_count / (double)put_count);
}

int main(int argc, char **argv)
{
    uint64_t keys = bench_argument(argc, argv, 1, 100000);
    uint64_t puts = bench_argument(argc, argv, 2, 100000);
    uint64_t rounds = bench_argument(argc, argv, 3, 5);
    uint64_t rate = bench_argument(argc, argv, 4, 10000);
    uint64_t window = bench_argument(argc, argv, 5, 100000);
    uint64_t seconds = bench_argument(argc, argv, 6, 4);
    struct table *tables = bench_alloc(MODE_COUNT, sizeof *tables);
    char dir[PATH_BYTES_MAX];
    uint64_t seed = 1;

    memset(value_bytes, 'v', sizeof value_bytes);
    bench_dir_make(dir);
    for (size_t i = 0; i < MODE_COUNT; i++) {
        table_open(&tables[i], &modes[i], dir, keys, window, (size_t)rounds,
                   (size_t)((rate + 1000U) * seconds));
        run_full_speed(&tables[i], window + 2U * puts, &seed);
        tables[i].writer.db.wal_frame_count_max = 0;
        tables[i].writer.commit_ns_most = 0;
        tables[i].select_count = 0;
    }
    for (uint64_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i < MODE_COUNT; i++) {
            measure_full_speed(&tables[i], puts, r, &seed);
        }
    }
    for (uint64_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i < MODE_COUNT; i++) {
            measure_paced(&tables[i], rate, seconds, r, &seed);
        }
    }
    printf("kv_write_behind keys=%" PRIu64 " window=%" PRIu64 " paced at %" PRIu64 "/s sqlite %s\n",
           keys, window, rate, sqlite3_libversion());
    for (size_t i = 0; i < MODE_COUNT; i++) {
        report(&tables[i], (size_t)rounds, rounds * (puts + rate * seconds));
        table_close(&tables[i]);
    }
    free(tables);
    bench_dir_remove(dir);
    return 0;
}
