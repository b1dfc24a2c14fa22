/* SPDX-License-Identifier: Apache-2.0 */
/* kv_compact.c: see kv_compact.h. */
#include "kv_compact.h"

#include "actor.h"

#include <stdlib.h>

#ifndef HOLDFAST_SMALL_BOUNDS
#define COMPACT_WINDOW_MAX (512 * 1024) /* rows to delete collected before deleting: 4 MiB */
#define COMPACT_LOOK_ROWS  4096         /* rows looked at in one slice */
#define COMPACT_ROWS_MAX   4096         /* rows deleted in one slice ... */
#else                                   /* the simulator: many windows, many slices */
#define COMPACT_WINDOW_MAX 32
#define COMPACT_LOOK_ROWS  20
#define COMPACT_ROWS_MAX   10
#endif
#define COMPACT_SLICE_US  3000 /* ... unless this is over before */
#define COMPACT_LOOK_TIME 16   /* rows between two looks at the time */

static uint64_t before_revision(int64_t revision)
{
    return change_id(revision, 0) - 1;
}

enum err kv_compact_open(struct kv_compact *c, struct db *db, int64_t compact_revision,
                         uint64_t progress)
{
    *c = (struct kv_compact){
        .db = db,
        .bounds = {.window_max = COMPACT_WINDOW_MAX,
                   .look_rows = COMPACT_LOOK_ROWS,
                   .rows_max = COMPACT_ROWS_MAX},
        .wanted = compact_revision,
        .progress = progress,
    };
    const struct {
        sqlite3_stmt **out;
        const char *sql;
    } list[] = {
        {&c->look, "SELECT change, deleted, previous_change FROM history "
                   "WHERE change > ?1 AND change < ?2 ORDER BY change LIMIT ?3"},
        {&c->key_of, "SELECT key FROM history WHERE change = ?1"},
        {&c->history_delete, "DELETE FROM history WHERE change = ?1"},
        {&c->current_delete, "DELETE FROM current WHERE key = ?1 AND change = ?2"},
        {&c->progress_write, "UPDATE meta SET compact_progress = ?1"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(list); i++) {
        enum err error = db_prepare(db, list[i].sql, list[i].out);
        if (error != OK) {
            return error;
        }
    }
    return OK;
}

/* ---- changes in ascending order --------------------------------------------------------------------- */

static void list_clear(struct change_list *l)
{
    mem_free(l->items);
    mem_free(l->runs);
    *l = (struct change_list){0};
}

static void list_add(struct change_list *l, uint64_t change)
{
    ARRAY_RESERVE(l->items, l->capacity, l->count + 1);
    l->items[l->count++] = change;
}

static int change_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool run_before(const struct change_list *l, size_t a, size_t b)
{
    return l->items[l->runs[a].at] < l->items[l->runs[b].at];
}

static void run_swap(struct change_list *l, size_t a, size_t b)
{
    struct change_run run = l->runs[a];
    l->runs[a] = l->runs[b];
    l->runs[b] = run;
}

static void run_sink(struct change_list *l, size_t at)
{
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < l->run_count; child++) {
            least = run_before(l, child, least) ? child : least;
        }
        if (least == at) {
            return;
        }
        run_swap(l, at, least);
        at = least;
    }
}

/* What was added since the last time becomes a run. */
static void list_sort_new(struct change_list *l)
{
    if (l->sorted == l->count) {
        return;
    }
    qsort(l->items + l->sorted, l->count - l->sorted, sizeof(l->items[0]), change_order);
    ARRAY_RESERVE(l->runs, l->run_capacity, l->run_count + 1);
    l->runs[l->run_count] = (struct change_run){.at = l->sorted, .end = l->count};
    l->sorted = l->count;
    size_t at = l->run_count++;
    while (at > 0 && run_before(l, at, (at - 1) / 2)) {
        run_swap(l, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

/* The least that is left. False: none; the list is empty again. */
static bool list_take(struct change_list *l, uint64_t *out)
{
    if (l->run_count == 0) {
        l->count = 0;
        l->sorted = 0;
        return false;
    }
    struct change_run *first = &l->runs[0];
    *out = l->items[first->at++];
    if (first->at == first->end) {
        *first = l->runs[--l->run_count];
    }
    run_sink(l, 0);
    return true;
}

/* ---- what to do -------------------------------------------------------------------------------------- */

void kv_compact_free(struct kv_compact *c)
{
    list_clear(&c->superseded);
    list_clear(&c->deletions);
}

void kv_compact_want(struct kv_compact *c, int64_t compact_revision)
{
    ASSERT(compact_revision >= c->wanted);
    c->wanted = compact_revision;
}

/* ---- looking ---------------------------------------------------------------------------------------- */

static enum err look(struct kv_compact *c)
{
    sqlite3_stmt *s = c->look;
    uint64_t oldest_kept = change_id(c->target, 0);
    uint64_t rows = 0;
    bool row = false;
    db_bind_u64(s, 1, c->looked);
    db_bind_u64(s, 2, change_id(c->target + 1, 0));
    db_bind_u64(s, 3, c->bounds.look_rows);
    enum err error = db_step(c->db, s, &row);
    while (error == OK && row) {
        uint64_t change = db_column_u64(s, 0);
        uint64_t previous = db_column_u64(s, 2);
        if (previous != 0) {
            list_add(&c->superseded, previous);
        }
        if (sqlite3_column_int(s, 1) != 0 && change < oldest_kept) {
            list_add(&c->deletions, change);
        }
        c->looked = change;
        rows++;
        if (c->superseded.count + c->deletions.count >= c->bounds.window_max) {
            break;
        }
        error = db_step(c->db, s, &row);
    }
    db_done(s);
    if (error != OK) {
        return error;
    }
    list_sort_new(&c->superseded);
    list_sort_new(&c->deletions);
    bool end = !row && rows < c->bounds.look_rows;
    if (end) {
        c->looked = change_id(c->target + 1, 0) - 1;
    }
    if (end || c->superseded.count + c->deletions.count >= c->bounds.window_max) {
        c->phase = COMPACT_SUPERSEDED;
    }
    return OK;
}

/* ---- deleting --------------------------------------------------------------------------------------- */

static enum err delete_change(struct kv_compact *c, uint64_t change)
{
    db_bind_u64(c->history_delete, 1, change);
    return db_run(c->db, c->history_delete);
}

/* A deletion, and its key's row in `current` unless the key has been put again since. */
static enum err delete_deletion(struct kv_compact *c, uint64_t change)
{
    bool row = false;
    db_bind_u64(c->key_of, 1, change);
    enum err error = db_step(c->db, c->key_of, &row);
    if (error == OK && row) {
        db_bind_blob(c->current_delete, 1, db_column_view(c->key_of, 0));
        db_bind_u64(c->current_delete, 2, change);
        error = db_run(c->db, c->current_delete);
    }
    db_done(c->key_of);
    return error == OK ? delete_change(c, change) : error;
}

/* The window is empty: it is over. Progress becomes durable with what comes next. */
static enum err finish_window(struct kv_compact *c)
{
    uint64_t most = before_revision(c->target);
    uint64_t progress = c->looked < most ? c->looked : most;
    if (progress > c->progress) {
        db_bind_u64(c->progress_write, 1, progress);
        enum err error = db_run(c->db, c->progress_write);
        if (error != OK) {
            return error;
        }
        c->progress = progress;
    }
    c->phase = COMPACT_LOOK;
    if (c->looked == change_id(c->target + 1, 0) - 1) {
        c->phase = COMPACT_IDLE;
        c->done = c->target;
        list_clear(&c->superseded);
        list_clear(&c->deletions);
    } else if (c->target < c->wanted) { /* the rest for both at once */
        c->target = c->wanted;
        c->looked = c->progress;
    }
    return OK;
}

static enum err delete_some(struct kv_compact *c)
{
    uint64_t until_us = actor_stopwatch_us() + COMPACT_SLICE_US;
    enum err error = OK;
    for (uint64_t rows = 0; error == OK && rows < c->bounds.rows_max; rows++) {
        uint64_t change = 0;
        if (rows % COMPACT_LOOK_TIME == 0 && rows > 0 && actor_stopwatch_us() > until_us) {
            return OK;
        }
        if (c->phase == COMPACT_SUPERSEDED && list_take(&c->superseded, &change)) {
            error = delete_change(c, change);
            continue;
        }
        c->phase = COMPACT_DELETIONS;
        if (!list_take(&c->deletions, &change)) {
            return finish_window(c);
        }
        error = delete_deletion(c, change);
    }
    return error;
}

static enum err delete_slice(struct kv_compact *c)
{
    uint64_t progress = c->progress;
    int64_t done = c->done;
    enum err error = db_set_sync(c->db, false);
    if (error != OK) {
        return error;
    }
    error = db_begin(c->db);
    if (error == OK) {
        error = delete_some(c);
        if (error == OK) {
            error = db_commit(c->db);
        } else {
            db_rollback(c->db);
        }
    }
    if (error == ERR_DISK_FULL) {
        /* What was taken from the lists is still there: look from the last window that is done. */
        c->progress = progress;
        c->done = done;
        c->phase = COMPACT_IDLE;
        list_clear(&c->superseded);
        list_clear(&c->deletions);
    }
    enum err restored = db_set_sync(c->db, true);
    return error != OK ? error : restored;
}

enum err kv_compact_slice(struct kv_compact *c)
{
    if (c->db->failed) {
        return ERR_IO;
    }
    switch (c->phase) {
    case COMPACT_IDLE:
        if (c->done >= c->wanted) {
            return OK;
        }
        c->target = c->wanted;
        c->looked = c->progress;
        c->phase = COMPACT_LOOK;
        return OK;
    case COMPACT_LOOK:
        return look(c);
    case COMPACT_SUPERSEDED:
    case COMPACT_DELETIONS:
        return delete_slice(c);
    }
    return OK;
}
