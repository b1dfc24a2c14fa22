/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flush_actor.c: owns the one writing connection of kv.db. Takes sealed batches from apply, writes
 * each in one transaction, and checkpoints between them. A committed batch is a durable batch
 * (synchronous=FULL, trap 59), so KV_DURABLE follows every commit and the log may be trimmed up to it.
 *
 * Between the batches it takes out of kv.db what was compacted, in slices of a few milliseconds with pauses
 * that are longer than they: whoever shares the disk or a core with it must not notice, and there is no hurry.
 * A batch that comes goes first. Room in the file that has become free is used again by what is written
 * next, and given back to the file system when there is more of it than of the rest.
 *
 * In: FLUSH_BATCH from apply. Out: APPLY_FLUSHED and APPLY_COMPACTED to apply, RAFT_KV_DURABLE to raft.
 *
 * Invariants
 *  1. Batches are written in the order they came, each once.
 *  2. kv.db is replaced by a received table only (install.h). An I/O error stops the node; the log replays what was not
 *     committed. A person's write lock is a stall, tried again and said once.
 *  3. A write by anybody else is found by data_version and stops the node loudly.
 */
#include "install.h"
#include "node.h"

#include <stdio.h>
#include <string.h>

#define FLUSH_RETRY_US (100 * UINT64_C(1000))
#define FLUSH_QUIET_US (250 * UINT64_C(1000))

#define FLUSH_SLICE_PAUSE_US UINT64_C(1000) /* after a slice of compaction at least ... */
#define FLUSH_SLICE_SHARE    4              /* ... and one part in so many of the time is its */

struct flush_actor {
    struct kv_writer *writer;
    char data_dir[PATH_TEXT_MAX + 1];
    struct install *install; /* to be done when nothing waits to be written to the old table */
    const struct node_actors *links;
    struct actor *apply, *raft;

    struct flush_batch **waiting; /* apply keeps at most one under way; the bound is apply's */
    size_t waiting_count, waiting_capacity;
    bool busy_said, wal_dirty;
    uint64_t retry_at_us, quiet_at_us;
    struct histogram commit_us, changes;

    uint64_t slice_at_us; /* next slice of compaction, if any is to be done */
    int64_t compacted_told;
};

static void fail(enum err error, const char *what)
{
    char detail[200];
    (void)snprintf(detail, sizeof(detail), "action=%s error=\"%s\"", what, err_text(error));
    actor_fatal(error == ERR_FOREIGN_WRITE ? EXIT_CODE_DATA_FORMAT : EXIT_CODE_DISK, "kv.db failed",
                detail);
}

/* Nothing was written, and it may be tried again: a person's write lock, or no room on the disk. */
static bool is_stall(enum err error)
{
    return error == ERR_BUSY_FILE || error == ERR_DISK_FULL;
}

static void started(void *self, uint64_t now_us)
{
    struct flush_actor *a = self;
    UNUSED(now_us);
    a->apply = a->links->apply;
    a->raft = a->links->raft;
}

static void handle(void *self, struct msg *m, uint64_t now_us)
{
    struct flush_actor *a = self;
    UNUSED(now_us);
    switch ((enum flush_kind)m->kind) {
    case FLUSH_BATCH:
        ARRAY_RESERVE(a->waiting, a->waiting_capacity, a->waiting_count + 1);
        a->waiting[a->waiting_count++] = (struct flush_batch *)m;
        return;
    case FLUSH_FIGURES: {
        struct figures *figures = (struct figures *)m;
        kv_writer_figures(a->writer, &figures->kv_db);
        figures->flush_commit_us = a->commit_us;
        figures->flush_changes = a->changes;
        figures_pass_on(&figures);
        return;
    }
    case FLUSH_INSTALL:
        ASSERT(a->install == NULL);
        a->install = (struct install *)m;
        return;
    }
    msg_free_base(&m);
}

static void say_written(struct flush_actor *a, const struct flush_batch *done)
{
    struct apply_flushed *flushed = MSG_NEW(struct apply_flushed, APPLY_FLUSHED, NULL);
    flushed->group = done->group;
    flushed->batch_number = done->batch->number;
    ACTOR_SEND(a->apply, flushed);

    struct raft_index *durable = MSG_NEW(struct raft_index, RAFT_KV_DURABLE, NULL);
    durable->group = done->group;
    durable->index = done->batch->applied_index;
    ACTOR_SEND(a->raft, durable);
}

static void write_waiting(struct flush_actor *a, uint64_t now_us)
{
    size_t written = 0;
    while (written < a->waiting_count) {
        uint64_t begun_us = actor_stopwatch_us();
        enum err error = kv_writer_write(a->writer, a->waiting[written]->batch);
        if (is_stall(error)) {
            if (!a->busy_said) {
                log_event(LOG_WARNING, "flush stalled", "reason=\"%s\"",
                          error == ERR_DISK_FULL ? "the disk is full"
                                                 : "another process holds a write lock on kv.db");
                a->busy_said = true;
            }
            a->retry_at_us = now_us + FLUSH_RETRY_US;
            break;
        }
        if (error != OK) {
            fail(error, "write");
        }
        if (a->busy_said) {
            log_event(LOG_NOTICE, "flush goes on", "batch=%" PRIu64,
                      a->waiting[written]->batch->number);
            a->busy_said = false;
        }
        histogram_add(&a->commit_us, actor_stopwatch_us() - begun_us, HISTOGRAM_TIMES);
        histogram_add(&a->changes, a->waiting[written]->batch->history_count, HISTOGRAM_COUNTS);
        say_written(a, a->waiting[written]);
        MSG_FREE(a->waiting[written]);
        written++;
        error = kv_writer_maintain(a->writer, false);
        if (error != OK && !is_stall(error)) {
            fail(error, "checkpoint");
        }
        a->wal_dirty = true;
        a->quiet_at_us = now_us + FLUSH_QUIET_US;
    }
    for (size_t i = written; i < a->waiting_count; i++) {
        a->waiting[i - written] = a->waiting[i];
    }
    a->waiting_count -= written;
}

/* ---- compaction ----------------------------------------------------------------------------------- */

static void say_compacted(struct flush_actor *a)
{
    int64_t revision = kv_writer_compacted(a->writer);
    if (revision == a->compacted_told) {
        return;
    }
    a->compacted_told = revision;
    struct apply_compacted *told = MSG_NEW(struct apply_compacted, APPLY_COMPACTED, NULL);
    told->group = GROUP_DEFAULT;
    told->revision = revision;
    ACTOR_SEND(a->apply, told);
}

/* One slice, if there is something to do, nothing more urgent, and the last one is long enough ago. */
static void compact_some(struct flush_actor *a, uint64_t now_us)
{
    if (a->waiting_count > 0 || now_us < a->slice_at_us || !kv_writer_compacting(a->writer)) {
        return;
    }
    uint64_t start_us = actor_stopwatch_us();
    enum err error = kv_writer_compact_slice(a->writer);
    if (is_stall(error)) {
        a->slice_at_us = now_us + FLUSH_RETRY_US;
        return;
    }
    if (error == OK) {
        error = kv_writer_maintain(a->writer, false);
        error = is_stall(error) ? OK : error;
    }
    if (error != OK) {
        fail(error, "compact");
    }
    uint64_t took_us = actor_stopwatch_us() - start_us;
    a->slice_at_us = now_us + FLUSH_SLICE_PAUSE_US + took_us * FLUSH_SLICE_SHARE;
    a->wal_dirty = true;
    a->quiet_at_us = a->slice_at_us + FLUSH_QUIET_US;
    say_compacted(a);
}

/* ---- another table ---------------------------------------------------------------------------------- */

static void open_failed(enum err error, const char *problem)
{
    actor_fatal(error == ERR_CORRUPT || error == ERR_NEWER_FORMAT ? EXIT_CODE_DATA_FORMAT
                                                                  : EXIT_CODE_DISK,
                "received table cannot be opened", problem);
}

/* raft.db stands for the new table already: there is no way back, and none is needed. */
static void install(struct flush_actor *a)
{
    char problem[512] = "";
    struct install *m = a->install;
    a->install = NULL;
    kv_writer_close(&a->writer);
    enum err error = kv_writer_open(a->data_dir, m->group, m->generation, &a->writer, &m->meta,
                                    problem, sizeof(problem));
    if (error == OK) {
        error = kv_reader_open(a->data_dir, m->group, m->generation, &m->reader, problem,
                               sizeof(problem));
    }
    if (error == OK) {
        error = kv_reader_open(a->data_dir, m->group, m->generation, &m->watch_reader, problem,
                               sizeof(problem));
    }
    if (error != OK) {
        open_failed(error, problem);
    }
    error = kv_generations_clean(a->data_dir, m->group, m->generation);
    if (error != OK) { /* the next start removes them */
        log_event(LOG_WARNING, "old table not removed", "generation=%" PRIu64 " error=\"%s\"",
                  m->generation, err_text(error));
    }
    a->compacted_told = m->compacted_revision = kv_writer_compacted(a->writer);
    a->wal_dirty = false;
    a->quiet_at_us = UINT64_MAX;
    m->base.kind = APPLY_INSTALLED;
    ACTOR_SEND(a->apply, m);
}

static void flush(void *self, uint64_t now_us)
{
    struct flush_actor *a = self;
    if (a->waiting_count > 0 && (a->retry_at_us == UINT64_MAX || a->retry_at_us <= now_us)) {
        a->retry_at_us = UINT64_MAX;
        write_waiting(a, now_us);
    }
    if (a->install != NULL && a->waiting_count == 0) {
        install(a);
    }
    compact_some(a, now_us);
    uint64_t at_us = a->retry_at_us;
    if (a->waiting_count == 0 && kv_writer_compacting(a->writer) && a->slice_at_us < at_us) {
        at_us = a->slice_at_us;
    }
    /* It is not quiet while batches wait for a foreign lock: a past quiet_at_us would spin until then. */
    if (a->wal_dirty && a->waiting_count == 0 && a->quiet_at_us < at_us) {
        at_us = a->quiet_at_us;
    }
    actor_set_deadline(actor_self(), at_us);
}

static void expired(void *self, uint64_t now_us)
{
    struct flush_actor *a = self;
    if (a->wal_dirty && a->quiet_at_us <= now_us && a->waiting_count == 0) {
        enum err error = kv_writer_maintain(a->writer, true);
        if (error != OK && !is_stall(error)) {
            fail(error, "checkpoint");
        }
        a->wal_dirty = false;
    }
}

static void stop(void *self, uint64_t now_us)
{
    struct flush_actor *a = self;
    a->retry_at_us = UINT64_MAX;
    flush(a, now_us); /* what a lock still holds back is replayed from the log at the next start */
    actor_stopped(actor_self());
}

static void destroy(void *self)
{
    struct flush_actor *a = self;
    for (size_t i = 0; i < a->waiting_count; i++) {
        MSG_FREE(a->waiting[i]);
    }
    mem_free(a->waiting);
    MSG_FREE(a->install);
    kv_writer_close(&a->writer);
    mem_free(a);
}

static const struct actor_ops flush_actor_ops = {
    .started = started,
    .handle = handle,
    .flush = flush,
    .expired = expired,
    .stop = stop,
    .destroy = destroy,
};

struct actor *flush_actor_create(struct kv_writer *writer, const char *data_dir,
                                 const struct node_actors *actors)
{
    struct flush_actor *a = mem_zalloc(sizeof(*a));
    ASSERT(strlen(data_dir) <= PATH_TEXT_MAX);
    memcpy(a->data_dir, data_dir, strlen(data_dir) + 1);
    a->writer = writer;
    a->links = actors;
    a->retry_at_us = UINT64_MAX;
    a->quiet_at_us = UINT64_MAX;
    a->compacted_told = kv_writer_compacted(writer);
    return actor_create(&flush_actor_ops, a, "flush");
}
