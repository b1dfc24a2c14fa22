/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the three storage measurements share: clocks, a seeded random stream, percentiles, a
 * temporary folder, and an SQLite file opened with the pragmas the project uses.
 *
 * A measurement that meets an error stops: a number taken after an error means nothing. So nothing
 * here returns an error; `bench_die` prints and aborts.
 */
#ifndef HOLDFAST_BENCH_H
#define HOLDFAST_BENCH_H

#include <dirent.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    PAGE_BYTES = 4096,
    WAL_FRAME_BYTES = PAGE_BYTES + 24,
    VALUE_BYTES = 256,
    KEY_BYTES = 18,
    PATH_BYTES_MAX = 512
};

static inline _Noreturn void bench_die(const char *what, const char *why)
{
    (void)fprintf(stderr, "%s: %s\n", what, why);
    abort();
}

static inline uint64_t bench_clock_ns(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0) {
        bench_die("clock_gettime", "failed");
    }
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static inline uint64_t bench_wall_ns(void)
{
    return bench_clock_ns(CLOCK_MONOTONIC);
}

static inline uint64_t bench_cpu_ns(void)
{
    return bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static inline void *bench_alloc(size_t count, size_t bytes)
{
    void *p = calloc(count, bytes);
    if (p == NULL) {
        bench_die("calloc", "out of memory");
    }
    return p;
}

/* splitmix64's finalizer: a bijection, so distinct ids give distinct, evenly spread keys. */
static inline uint64_t bench_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline uint64_t bench_random(uint64_t *seed)
{
    *seed += 1;
    return bench_mix(*seed);
}

/* The key's text sorts as `hash` does: "k/" and 16 hexadecimal digits. */
static inline void bench_key_text(uint64_t hash, char out[KEY_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    out[0] = 'k';
    out[1] = '/';
    for (int i = 0; i < 16; i++) {
        out[2 + i] = digits[(hash >> (60 - 4 * i)) & 15U];
    }
}

static inline int bench_compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static inline int bench_compare_double(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts `values`; returns the median. */
static inline double bench_median(double *values, size_t count)
{
    qsort(values, count, sizeof values[0], bench_compare_double);
    return count % 2U == 1U ? values[count / 2U]
                            : (values[count / 2U - 1U] + values[count / 2U]) / 2.0;
}

/* `sorted` ascending; `share` in 0..1; the answer in microseconds. */
static inline double bench_percentile_us(const uint64_t *sorted, size_t count, double share)
{
    if (count == 0) {
        return 0.0;
    }
    size_t at = (size_t)(share * (double)(count - 1U) + 0.5);
    return (double)sorted[at] / 1000.0;
}

/* -------------------------------------------------------------------- a temporary folder */

static inline void bench_dir_make(char out[PATH_BYTES_MAX])
{
    const char *base = getenv("TMPDIR");
    if (base == NULL || base[0] == '\0') {
        base = "/tmp";
    }
    int n = snprintf(out, PATH_BYTES_MAX, "%s/holdfast-bench-XXXXXX", base);
    if (n < 0 || n >= PATH_BYTES_MAX - 64 || mkdtemp(out) == NULL) {
        bench_die("mkdtemp", "failed");
    }
}

static inline void bench_dir_remove(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL) {
        bench_die(dir, "cannot be listed");
    }
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (e->d_name[0] != '.') {
            (void)unlinkat(dirfd(d), e->d_name, 0);
        }
    }
    (void)closedir(d);
    (void)rmdir(dir);
}

/* -------------------------------------------------------------------- SQLite */

/* One connection, and what its write-ahead log has done. */
struct bench_db {
    sqlite3 *handle;
    uint64_t wal_frame_count;     /* after the last commit */
    uint64_t wal_frame_count_max; /* ever */
    uint64_t checkpoint_count;
    uint64_t checkpoint_ns;
};

static inline void bench_check(sqlite3 *db, int rc, const char *what)
{
    if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW) {
        bench_die(what, db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
    }
}

static inline void bench_exec(struct bench_db *db, const char *sql)
{
    bench_check(db->handle, sqlite3_exec(db->handle, sql, NULL, NULL, NULL), sql);
}

static inline sqlite3_stmt *bench_prepare(struct bench_db *db, const char *sql)
{
    sqlite3_stmt *s = NULL;
    bench_check(db->handle,
                sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL), sql);
    return s;
}

static inline void bench_bind(sqlite3_stmt *s, int at, uint64_t value)
{
    bench_check(sqlite3_db_handle(s), sqlite3_bind_int64(s, at, (sqlite3_int64)value), "bind");
}

/* `data` is borrowed until the statement is reset. */
static inline void bench_bind_blob(sqlite3_stmt *s, int at, const void *data, int bytes)
{
    bench_check(sqlite3_db_handle(s), sqlite3_bind_blob(s, at, data, bytes, SQLITE_STATIC), "bind");
}

static inline uint64_t bench_column(sqlite3_stmt *s, int at)
{
    return (uint64_t)sqlite3_column_int64(s, at);
}

/* Steps once; true when there is a row. The caller resets. */
static inline bool bench_step(sqlite3_stmt *s)
{
    int rc = sqlite3_step(s);
    bench_check(sqlite3_db_handle(s), rc, sqlite3_sql(s));
    return rc == SQLITE_ROW;
}

static inline void bench_run(sqlite3_stmt *s)
{
    (void)bench_step(s);
    bench_check(sqlite3_db_handle(s), sqlite3_reset(s), "reset");
}

static inline int bench_wal_hook(void *arg, sqlite3 *handle, const char *name, int frames)
{
    struct bench_db *db = arg;
    (void)handle;
    (void)name;
    db->wal_frame_count = (uint64_t)frames;
    if (db->wal_frame_count > db->wal_frame_count_max) {
        db->wal_frame_count_max = db->wal_frame_count;
    }
    return SQLITE_OK;
}

/*
 * Open dir/name, as the writer or read-only, with the project's pragmas.
 * `synchronous` is NORMAL for kv.db and FULL for raft.db; `db` must stay where it is until closed.
 */
static inline void bench_open(struct bench_db *db, const char *dir, const char *name,
                              bool read_only, const char *synchronous, int cache_kib)
{
    char path[PATH_BYTES_MAX];
    char sql[256];
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof path) {
        bench_die(dir, "too long");
    }
    memset(db, 0, sizeof *db);
    int flags = read_only ? SQLITE_OPEN_READONLY : (SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    bench_check(NULL, sqlite3_open_v2(path, &db->handle, flags | SQLITE_OPEN_NOMUTEX, NULL), path);
    bench_check(db->handle, sqlite3_busy_timeout(db->handle, 5000), "busy_timeout");
    if (!read_only) {
        bench_exec(db, "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL;"
                       "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0");
        (void)sqlite3_wal_hook(db->handle, bench_wal_hook, db);
    }
    (void)snprintf(sql, sizeof sql, "PRAGMA synchronous=%s; PRAGMA cache_size=-%d", synchronous,
                   cache_kib);
    bench_exec(db, sql);
}

static inline void bench_close(struct bench_db *db)
{
    for (sqlite3_stmt *s = sqlite3_next_stmt(db->handle, NULL); s != NULL;
         s = sqlite3_next_stmt(db->handle, NULL)) {
        (void)sqlite3_finalize(s);
    }
    bench_check(db->handle, sqlite3_close(db->handle), "close");
    db->handle = NULL;
}

/*
 * The writer's own PASSIVE checkpoint, between COMMIT and BEGIN, once the WAL is past
 * `limit_bytes`. True when everything was copied, so that the next transaction restarts the WAL.
 */
static inline bool bench_checkpoint_past(struct bench_db *db, uint64_t limit_bytes)
{
    int frames = 0;
    int copied = 0;
    if (db->wal_frame_count * WAL_FRAME_BYTES <= limit_bytes) {
        return true;
    }
    uint64_t start = bench_wall_ns();
    int rc =
        sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, &frames, &copied);
    if (rc == SQLITE_BUSY) {
        return false;
    }
    bench_check(db->handle, rc, "checkpoint");
    db->checkpoint_ns += bench_wall_ns() - start;
    db->checkpoint_count++;
    if (frames != copied) {
        return false;
    }
    db->wal_frame_count = 0;
    return true;
}

static inline uint64_t bench_pragma(struct bench_db *db, const char *sql)
{
    sqlite3_stmt *s = bench_prepare(db, sql);
    uint64_t value = bench_step(s) ? bench_column(s, 0) : 0;
    (void)sqlite3_finalize(s);
    return value;
}

static inline uint64_t bench_argument(int argc, char **argv, int at, uint64_t otherwise)
{
    return argc > at ? strtoull(argv[at], NULL, 10) : otherwise;
}

#endif
