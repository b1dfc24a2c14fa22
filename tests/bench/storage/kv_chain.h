/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chain of one key's revisions in the SPLIT layout, and its schema.
 *
 * Every revision of a key points to the one before it (prev_rev) and to one further back
 * (jump_rev). The jumps follow Myers' skew-binary list: the revision at depth d jumps back by the
 * smallest term of d written greedily as a sum of numbers 2^k - 1. "The key as of revision r" is
 * then found in at most about 2 log2(depth) steps, and a put has to know only its predecessor and,
 * when the term is more than 1, the jump of its predecessor's jump.
 *
 * Invariant: prev_rev and jump_rev are 0 or smaller than rev. A pointer below the compact revision
 * may dangle; a lookup at or above the compact revision never follows one.
 */
#ifndef HOLDFAST_BENCH_KV_CHAIN_H
#define HOLDFAST_BENCH_KV_CHAIN_H

#include "bench.h"

#define KV_SPLIT_SCHEMA                                                                            \
    "CREATE TABLE current(key BLOB PRIMARY KEY, mod INTEGER, create_rev INTEGER,"                  \
    " version INTEGER, lease INTEGER, jump_rev INTEGER, depth INTEGER) WITHOUT ROWID;"             \
    "CREATE TABLE history(rev INTEGER PRIMARY KEY, key BLOB, value BLOB, create_rev INTEGER,"      \
    " version INTEGER, lease INTEGER, prev_rev INTEGER, jump_rev INTEGER);"

#define KV_CURRENT_GET        "SELECT mod, create_rev, version, jump_rev, depth FROM current WHERE key=?"
#define KV_CURRENT_PUT        "INSERT OR REPLACE INTO current VALUES(?,?,?,?,0,?,?)"
#define KV_HISTORY_PUT        "INSERT INTO history VALUES(?,?,?,?,?,0,?,?)"
#define KV_HISTORY_JUMP       "SELECT jump_rev FROM history WHERE rev=?"
#define KV_HISTORY_SUPERSEDED "SELECT prev_rev FROM history WHERE rev>? AND rev<=? AND prev_rev>0"
#define KV_HISTORY_DELETE     "DELETE FROM history WHERE rev=?"

/* The newest revision of one key. mod == 0: the key has none. */
struct kv_meta {
    uint64_t key;
    uint64_t mod;
    uint64_t create_rev;
    uint64_t version;
    uint64_t prev_rev;
    uint64_t jump_rev;
    uint64_t depth;
};

/* How far the revision at `depth` jumps back; 1 means to its predecessor. */
static inline uint64_t kv_jump_width(uint64_t depth)
{
    uint64_t rest = depth;
    uint64_t term = 1;
    while (rest > 0) {
        term = (UINT64_C(2) << (63 - __builtin_clzll(rest))) - 1U;
        if (term > rest) {
            term >>= 1;
        }
        rest -= term;
    }
    return term;
}

static inline void kv_bind_history(sqlite3_stmt *s, const struct kv_meta *m, const char *key,
                                   const void *value)
{
    bench_bind(s, 1, m->mod);
    bench_bind_blob(s, 2, key, KEY_BYTES);
    bench_bind_blob(s, 3, value, VALUE_BYTES);
    bench_bind(s, 4, m->create_rev);
    bench_bind(s, 5, m->version);
    bench_bind(s, 6, m->prev_rev);
    bench_bind(s, 7, m->jump_rev);
}

static inline void kv_bind_current(sqlite3_stmt *s, const struct kv_meta *m, const char *key)
{
    bench_bind_blob(s, 1, key, KEY_BYTES);
    bench_bind(s, 2, m->mod);
    bench_bind(s, 3, m->create_rev);
    bench_bind(s, 4, m->version);
    bench_bind(s, 5, m->jump_rev);
    bench_bind(s, 6, m->depth);
}

/* Read the current row of the key into `m`; false, and `m` as it was, when there is none. */
static inline bool kv_read_current(sqlite3_stmt *s, uint64_t key, struct kv_meta *m)
{
    char text[KEY_BYTES];
    bench_key_text(key, text);
    bench_bind_blob(s, 1, text, KEY_BYTES);
    bool found = bench_step(s);
    if (found) {
        m->key = key;
        m->mod = bench_column(s, 0);
        m->create_rev = bench_column(s, 1);
        m->version = bench_column(s, 2);
        m->jump_rev = bench_column(s, 3);
        m->depth = bench_column(s, 4);
    }
    bench_check(sqlite3_db_handle(s), sqlite3_reset(s), "reset");
    return found;
}

/* The jump of revision `rev`, or 0 when there is no such row (any more). */
static inline uint64_t kv_read_jump(sqlite3_stmt *s, uint64_t rev)
{
    if (rev == 0) {
        return 0;
    }
    bench_bind(s, 1, rev);
    uint64_t jump = bench_step(s) ? bench_column(s, 0) : 0;
    bench_check(sqlite3_db_handle(s), sqlite3_reset(s), "reset");
    return jump;
}

/*
 * Delete the revisions superseded by those in (from, to], in revision order. `scratch` has room
 * for to - from numbers. Returns how many were deleted.
 */
static inline size_t kv_compact_slice(sqlite3_stmt *superseded, sqlite3_stmt *delete_row,
                                      uint64_t from, uint64_t to, uint64_t *scratch)
{
    size_t count = 0;
    bench_bind(superseded, 1, from);
    bench_bind(superseded, 2, to);
    while (bench_step(superseded)) {
        scratch[count++] = bench_column(superseded, 0);
    }
    bench_check(sqlite3_db_handle(superseded), sqlite3_reset(superseded), "reset");
    qsort(scratch, count, sizeof scratch[0], bench_compare_u64);
    for (size_t i = 0; i < count; i++) {
        bench_bind(delete_row, 1, scratch[i]);
        bench_run(delete_row);
    }
    return count;
}

/* One slice of incremental vacuum, only when a quarter of the file is free. */
static inline void kv_vacuum_slice(struct bench_db *db, sqlite3_stmt *free_pages,
                                   sqlite3_stmt *all_pages)
{
    uint64_t unused = bench_step(free_pages) ? bench_column(free_pages, 0) : 0;
    uint64_t all = bench_step(all_pages) ? bench_column(all_pages, 0) : 0;
    (void)sqlite3_reset(free_pages);
    (void)sqlite3_reset(all_pages);
    if (unused * 4U > all) {
        bench_exec(db, "PRAGMA incremental_vacuum(512)");
    }
}

/*
 * Fill a SPLIT database with one revision of every key: ids 0..count-1 at revisions 1..count,
 * whose keys are in random order. Commits every 50,000 rows, checkpointing.
 */
static inline void kv_fill_split(struct bench_db *db, uint64_t count, const void *value)
{
    enum { FILL_ROWS = 50000 };
    char text[KEY_BYTES];
    struct kv_meta m = {.version = 1, .depth = 1};
    uint64_t *order = bench_alloc((size_t)count, 2U * sizeof *order);
    sqlite3_stmt *put = bench_prepare(db, KV_HISTORY_PUT);
    bench_exec(db, "BEGIN");
    for (uint64_t i = 0; i < count; i++) {
        m.key = bench_mix(i);
        m.mod = m.create_rev = i + 1U;
        order[2U * i] = m.key;
        order[2U * i + 1U] = m.mod;
        bench_key_text(m.key, text);
        kv_bind_history(put, &m, text, value);
        bench_run(put);
        if (i % FILL_ROWS == FILL_ROWS - 1U) {
            bench_exec(db, "COMMIT");
            (void)bench_checkpoint_past(db, 0);
            bench_exec(db, "BEGIN");
        }
    }
    (void)sqlite3_finalize(put);
    qsort(order, (size_t)count, 2U * sizeof *order, bench_compare_u64);
    put = bench_prepare(db, KV_CURRENT_PUT);
    for (uint64_t i = 0; i < count; i++) {
        m.key = order[2U * i];
        m.mod = m.create_rev = order[2U * i + 1U];
        bench_key_text(m.key, text);
        kv_bind_current(put, &m, text);
        bench_run(put);
    }
    (void)sqlite3_finalize(put);
    bench_exec(db, "COMMIT");
    (void)bench_checkpoint_past(db, 0);
    free(order);
}

#endif
