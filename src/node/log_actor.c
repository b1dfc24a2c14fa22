/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_actor.c: owns raft.db. Persists in order, one transaction for whatever waits (group commit
 * without a timer: while one commit is on its way to the disk the next batch gathers), and says
 * "durable up to sequence n" only after the commit.
 *
 * In: LOG_PERSIST, LOG_READ, LOG_TRIM, LOG_CLUSTER_ID from raft. Out: RAFT_DURABLE,
 * RAFT_LOG_ENTRIES. Not here: what a sequence number means (the core knows), SQL (store/ knows).
 *
 * Invariants
 *  1. Persists reach the disk in the order they came; DURABLE is sent after the commit that holds
 *     them, never before (traps 1, 13).
 *  2. A write or sync error ends the process with EXIT_CODE_DISK; nothing is retried (trap 20). Only
 *     a person's write lock and a full disk are stalls: nothing was committed and no sync failed, so the same
 *     batch is tried again (docs/decisions/0021). The core sees it as a disk that hangs.
 *  3. The cluster id is written in the transaction of the persist that follows it, so that a node
 *     never durably belongs to a cluster of which its log knows nothing.
 *  4. Checkpoints run between transactions on this same connection (docs/decisions/0013): when the
 *     log has been quiet for a moment, or when the WAL has reached its hard limit.
 */
#include "node.h"

#include <stdio.h>

#define LOG_QUIET_US      (20 * UINT64_C(1000)) /* no commit for this long: a checkpoint costs nobody */
#define LOG_RETRY_US      (20 * UINT64_C(1000))   /* a person holds the write lock: look again */
#define LOG_FULL_RETRY_US (100 * UINT64_C(1000))  /* the disk is full: look again */
#define LOG_MARK_SYNC_US  (1000 * UINT64_C(1000)) /* the mark is synced and the WAL looked at */
#define LOG_TRIM_ROWS_MAX 2000                    /* rows deleted in one slice */

struct log_actor {
    struct log_db *db;
    const struct node_actors *links;
    struct actor *raft, *supervisor;

    struct log_persist **persists; /* waiting for the next commit, in order */
    size_t persist_count, persist_capacity;
    struct log_read **reads;
    size_t read_count, read_capacity;
    uint64_t cluster_id; /* to write with the next persist; 0: none */
    uint64_t trim_through;
    bool trim_pending;

    bool busy_said; /* the line about a foreign write lock or a full disk was logged */
    bool wal_dirty; /* something was committed since the last quiet checkpoint */
    bool mark_dirty;
    uint64_t quiet_at_us, mark_sync_at_us, retry_at_us;

    struct histogram commit_us, batch;
    uint64_t bytes;
};

static void fail(enum err error, const char *what)
{
    char detail[256];
    (void)snprintf(
        detail, sizeof(detail),
        "action=%s error=\"%s\" next=\"check the disk, then start the node again; it will "
        "treat its log as damaged until it has caught up\"",
        what, err_text(error));
    actor_fatal(EXIT_CODE_DISK, "raft.db failed", detail);
}

static void started(void *self, uint64_t now_us)
{
    struct log_actor *a = self;
    UNUSED(now_us);
    a->raft = a->links->raft;
    a->supervisor = a->links->supervisor;
}

static void handle(void *self, struct msg *m, uint64_t now_us)
{
    struct log_actor *a = self;
    UNUSED(now_us);
    switch ((enum log_kind)m->kind) {
    case LOG_PERSIST:
        ARRAY_RESERVE(a->persists, a->persist_capacity, a->persist_count + 1);
        a->persists[a->persist_count++] = (struct log_persist *)m;
        return;
    case LOG_READ:
        ARRAY_RESERVE(a->reads, a->read_capacity, a->read_count + 1);
        a->reads[a->read_count++] = (struct log_read *)m;
        return;
    case LOG_TRIM: {
        const struct log_trim *trim = (const struct log_trim *)m;
        if (trim->through > a->trim_through) {
            a->trim_through = trim->through;
            a->trim_pending = true;
        }
        break;
    }
    case LOG_CLUSTER_ID:
        a->cluster_id = ((const struct log_cluster_id *)m)->cluster_id;
        break;
    case LOG_FIGURES: {
        struct figures *figures = (struct figures *)m;
        log_db_figures(a->db, &figures->log_db);
        figures->log_commit_us = a->commit_us;
        figures->log_batch = a->batch;
        figures->log_bytes = a->bytes;
        figures_pass_on(&figures);
        return;
    }
    case LOG_PROBE:
        m->kind = SUPERVISOR_PROBED;
        actor_send_base(a->supervisor, &m);
        return;
    }
    msg_free_base(&m);
}

/* Everything that waits, in one transaction. *what: at which step an error came; *trim_more: rows are left. */
static enum err write_waiting(struct log_actor *a, bool *trim_more, const char **what)
{
    *what = "begin";
    enum err error = log_db_begin(a->db);
    if (error == OK && a->cluster_id != 0 && a->persist_count > 0) {
        *what = "cluster id";
        error = log_db_set_cluster_id(a->db, a->cluster_id);
    }
    for (size_t i = 0; error == OK && i < a->persist_count; i++) {
        const struct log_persist *persist = a->persists[i];
        *what = "append";
        log_db_observe(a->db, persist->group, persist->leader_id, persist->commit_index);
        error = log_db_persist(a->db, persist->group, &persist->persist);
        if (error == OK && persist->persist.reset_index != 0) {
            *what = "generation";
            error = log_db_set_generation(a->db, persist->group, persist->kv_generation);
        }
    }
    *trim_more = false;
    if (error == OK && a->trim_pending) {
        *what = "trim";
        error = log_db_trim(a->db, GROUP_DEFAULT, a->trim_through, LOG_TRIM_ROWS_MAX, trim_more);
    }
    if (error == OK) {
        *what = "commit";
        error = log_db_commit(a->db);
    }
    return error;
}

/* False: a person holds the write lock or the disk is full, try again later. */
static bool commit_waiting(struct log_actor *a, uint64_t now_us)
{
    bool trim_more = false;
    const char *what = NULL;
    uint64_t begun_us = actor_stopwatch_us();
    enum err error = write_waiting(a, &trim_more, &what);
    if (error == ERR_BUSY_FILE || error == ERR_DISK_FULL) {
        bool full = error == ERR_DISK_FULL;
        if (!a->busy_said) {
            log_event(LOG_WARNING, "log stalled", "reason=\"%s\" waiting=%zu",
                      full ? "the disk is full" : "another process holds a write lock on raft.db",
                      a->persist_count);
            a->busy_said = true;
        }
        a->retry_at_us = now_us + (full ? LOG_FULL_RETRY_US : LOG_RETRY_US);
        return false;
    }
    if (error != OK) {
        fail(error, what);
    }
    if (a->busy_said) {
        log_event(LOG_NOTICE, "log goes on", "waiting=%zu", a->persist_count);
        a->busy_said = false;
    }
    a->retry_at_us = UINT64_MAX;
    a->trim_pending = trim_more;
    a->cluster_id = a->persist_count > 0 ? 0 : a->cluster_id;
    for (size_t i = 0; i < a->persist_count; i++) {
        const struct entries *entries = a->persists[i]->persist.entries;
        a->bytes += entries != NULL ? entries->bytes : 0;
    }
    if (a->persist_count > 0) {
        histogram_add(&a->batch, a->persist_count, HISTOGRAM_COUNTS);
        histogram_add(&a->commit_us, actor_stopwatch_us() - begun_us, HISTOGRAM_TIMES);
    }
    return true;
}

static void answer_durable(struct log_actor *a)
{
    for (size_t i = 0; i < a->persist_count; i++) {
        struct log_persist *done = a->persists[i];
        bool last_of_group = true;
        for (size_t k = i + 1; k < a->persist_count; k++) {
            if (a->persists[k]->group == done->group) {
                last_of_group = false;
                break;
            }
        }
        if (last_of_group) {
            struct raft_durable *durable = MSG_NEW(struct raft_durable, RAFT_DURABLE, NULL);
            durable->group = done->group;
            durable->sequence = done->persist.sequence;
            ACTOR_SEND(a->raft, durable);
        }
    }
    for (size_t i = 0; i < a->persist_count; i++) {
        MSG_FREE(a->persists[i]);
    }
    a->persist_count = 0;
}

static void answer_reads(struct log_actor *a)
{
    for (size_t i = 0; i < a->read_count; i++) {
        struct log_read *read = a->reads[i];
        struct raft_log_entries *answer =
            MSG_NEW(struct raft_log_entries, RAFT_LOG_ENTRIES, release_log_entries);
        answer->group = read->group;
        answer->from_index = read->from;
        enum err error = log_db_read(a->db, read->group, read->from, read->to, read->bytes_max,
                                     &answer->entries);
        if (error != OK && error != ERR_NOT_FOUND) {
            fail(error, "read");
        }
        ACTOR_SEND(a->raft, answer);
        MSG_FREE(a->reads[i]);
    }
    a->read_count = 0;
}

static void maintain(struct log_actor *a, bool idle)
{
    enum err error = log_db_maintain(a->db, idle);
    if (error != OK && error != ERR_BUSY_FILE && error != ERR_DISK_FULL) {
        fail(error, "checkpoint");
    }
}

static void set_deadline(struct log_actor *a)
{
    uint64_t at_us = a->retry_at_us;
    /* It is not quiet while persists wait for a foreign lock: a past quiet_at_us would spin until then. */
    if (a->wal_dirty && a->persist_count == 0 && a->quiet_at_us < at_us) {
        at_us = a->quiet_at_us;
    }
    if (a->mark_dirty && a->mark_sync_at_us < at_us) {
        at_us = a->mark_sync_at_us;
    }
    actor_set_deadline(actor_self(), at_us);
}

static void flush(void *self, uint64_t now_us)
{
    struct log_actor *a = self;
    bool stalled = a->retry_at_us != UINT64_MAX && now_us < a->retry_at_us;
    if ((a->persist_count > 0 || a->trim_pending) && !stalled) {
        if (commit_waiting(a, now_us)) {
            answer_durable(a);
            maintain(a, false);
            if (!a->mark_dirty) {
                a->mark_dirty = true;
                a->mark_sync_at_us = now_us + LOG_MARK_SYNC_US;
            }
            a->wal_dirty = true;
            a->quiet_at_us = now_us + (a->trim_pending ? 0 : LOG_QUIET_US);
        }
    }
    if (a->read_count > 0) {
        answer_reads(a);
    }
    set_deadline(a);
}

/* The runner calls flush after this, which goes on with a stalled commit or the next trim slice. */
static void expired(void *self, uint64_t now_us)
{
    struct log_actor *a = self;
    if (a->retry_at_us <= now_us) {
        a->retry_at_us = UINT64_MAX;
    }
    if (a->mark_dirty && a->mark_sync_at_us <= now_us) {
        enum err error = log_db_sync_mark(a->db);
        if (error != OK) {
            fail(error, "mark");
        }
        a->mark_dirty = false;
    }
    if (a->wal_dirty && a->quiet_at_us <= now_us && a->persist_count == 0) {
        maintain(a, true);
        a->wal_dirty = false;
    }
}

static void stop(void *self, uint64_t now_us)
{
    struct log_actor *a = self;
    a->retry_at_us = UINT64_MAX;
    a->trim_pending = false;
    flush(a, now_us);
    actor_stopped(actor_self());
}

static void destroy(void *self)
{
    struct log_actor *a = self;
    for (size_t i = 0; i < a->persist_count; i++) {
        MSG_FREE(a->persists[i]);
    }
    for (size_t i = 0; i < a->read_count; i++) {
        MSG_FREE(a->reads[i]);
    }
    mem_free(a->persists);
    mem_free(a->reads);
    log_db_close(&a->db);
    mem_free(a);
}

static const struct actor_ops log_actor_ops = {
    .started = started,
    .handle = handle,
    .flush = flush,
    .expired = expired,
    .stop = stop,
    .destroy = destroy,
};

struct actor *log_actor_create(struct log_db *db, const struct node_actors *actors)
{
    struct log_actor *a = mem_zalloc(sizeof(*a));
    a->db = db;
    a->links = actors;
    a->retry_at_us = UINT64_MAX;
    a->quiet_at_us = UINT64_MAX;
    a->mark_sync_at_us = UINT64_MAX;
    return actor_create(&log_actor_ops, a, "log");
}
