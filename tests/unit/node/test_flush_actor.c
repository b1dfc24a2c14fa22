/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_flush_actor.c: batches are written in order, and what is said of one is said after its commit, which is synced
 * (trap 59: the log is trimmed by that word); an error of the disk ends the process before anything is said (traps 19, 20),
 * a full disk is waited for, a foreign write stops the node; what was compacted is taken out in slices, behind batches.
 * Real files, and the fault VFS. (src/node/flush_actor.c; a foreign lock is in test_disk_actors.c, an installation in
 * test_install.c)
 */
#include "fault_vfs.h"
#include "hand_runner.h"
#include "last_words.h"
#include "node/node.h"

#include "../store/store_test.h"

#include <sqlite3.h>

#define MS     UINT64_C(1000)
#define SECOND (1000 * MS)

struct fixture {
    char folder[TEST_PATH_MAX];
    struct node_actors actors;
    struct actor *flush;
    uint64_t now_us;
};

static void begin(struct fixture *f, struct kv_meta *meta)
{
    char problem[TEST_PROBLEM_MAX] = "";
    struct kv_writer *writer = NULL;
    CU_ASSERT_EQUAL_FATAL(kv_writer_open(f->folder, 0, 0, &writer, meta, problem, sizeof(problem)),
                          OK);
    f->actors = (struct node_actors){.raft = hand_receiver(), .apply = hand_receiver()};
    f->flush = flush_actor_create(writer, f->folder, &f->actors);
    f->now_us = SECOND;
    hand_started(f->flush, f->now_us);
}

static void set_up(struct fixture *f)
{
    struct kv_meta meta;
    test_folder_make(f->folder);
    begin(f, &meta);
}

static void end(struct fixture *f)
{
    actor_destroy(f->flush);
    actor_destroy(f->actors.raft);
    actor_destroy(f->actors.apply);
}

static void tear_down(struct fixture *f)
{
    end(f);
    test_folder_remove(f->folder);
}

static void turn(struct fixture *f)
{
    f->now_us += MS;
    hand_round(f->flush, f->now_us);
}

/* Batch `number`: one key is put once more, at revision number + 1; what lies below `compact` may go. */
static void send_batch(struct fixture *f, uint64_t number, int64_t compact)
{
    struct flush_batch *m = MSG_NEW(struct flush_batch, FLUSH_BATCH, release_flush_batch);
    struct kv_batch *b = m->batch = mem_zalloc(sizeof(*m->batch));
    b->number = number;
    b->applied_index = 10 * number;
    b->applied_term = 1;
    b->revision = (int64_t)number + 1;
    b->compact_revision = compact;
    struct kv_history row = {.change = change_id(b->revision, 0),
                             .key = view_of_text("key"),
                             .create_revision = 2,
                             .version = (int64_t)number,
                             .value = view_of_text("value"),
                             .previous_change = number > 1 ? change_id(b->revision - 1, 0) : 0};
    kv_batch_add_history(b, &row);
    struct kv_current current = {.key = view_of_text("key"),
                                 .change = row.change,
                                 .create_revision = 2,
                                 .version = (int64_t)number,
                                 .depth = (uint32_t)number};
    kv_batch_add_current(b, &current);
    ACTOR_SEND(f->flush, m);
}

/* The next batch that apply was told of; 0: none. Raft was told of it too. */
static uint64_t told(struct fixture *f)
{
    struct msg *m = hand_find(f->actors.apply, APPLY_FLUSHED);
    if (m == NULL) {
        CU_ASSERT_EQUAL(f->actors.raft->count, 0);
        return 0;
    }
    uint64_t number = ((struct apply_flushed *)m)->batch_number;
    msg_free_base(&m);
    m = hand_find(f->actors.raft, RAFT_KV_DURABLE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(((struct raft_index *)m)->index, 10 * number);
    msg_free_base(&m);
    return number;
}

static uint64_t applied_on_disk(struct fixture *f)
{
    struct kv_meta meta;
    end(f);
    begin(f, &meta);
    return meta.applied_index;
}

static void batches_are_written_in_order(void)
{
    struct fixture f;
    set_up(&f);
    for (uint64_t i = 1; i <= 5; i++) {
        send_batch(&f, i, 0);
    }
    turn(&f);
    for (uint64_t i = 1; i <= 5; i++) {
        CU_ASSERT_EQUAL(told(&f), i);
    }
    CU_ASSERT_EQUAL(told(&f), 0);
    CU_ASSERT_EQUAL(applied_on_disk(&f), 50);
    tear_down(&f);
}

static void what_waits_is_written_at_the_stop(void)
{
    struct fixture f;
    set_up(&f);
    send_batch(&f, 1, 0);
    struct msg *m = hand_take(f.flush);
    hand_running = f.flush;
    f.flush->ops->handle(f.flush->self, m, f.now_us);
    f.flush->ops->stop(f.flush->self, f.now_us);
    hand_running = NULL;
    CU_ASSERT_TRUE(f.flush->stopped);
    CU_ASSERT_EQUAL(told(&f), 1);
    CU_ASSERT_EQUAL(applied_on_disk(&f), 10);
    tear_down(&f);
}

static void without_room_it_waits(void)
{
    struct fixture f;
    fault_vfs_install();
    set_up(&f);
    send_batch(&f, 1, 0);
    turn(&f);
    CU_ASSERT_EQUAL(told(&f), 1);
    fault_vfs_arm(FAULT_WRITE, "-wal", 1, SQLITE_FULL, FAULT_STAY);
    send_batch(&f, 2, 0);
    turn(&f);
    CU_ASSERT_TRUE(fault_vfs_struck());
    send_batch(&f, 3, 0);
    turn(&f);
    CU_ASSERT_EQUAL(told(&f), 0);
    uint64_t tries = fault_vfs_matched();
    turn(&f); /* not at each message */
    CU_ASSERT_EQUAL(fault_vfs_matched(), tries);
    for (size_t i = 0; i < 5; i++) {
        CU_ASSERT_TRUE_FATAL(f.flush->deadline_us > f.now_us);
        f.now_us = f.flush->deadline_us;
        hand_round(f.flush, f.now_us);
    }
    CU_ASSERT_EQUAL(told(&f), 0);
    fault_vfs_disarm();
    f.now_us = f.flush->deadline_us;
    hand_round(f.flush, f.now_us);
    CU_ASSERT_EQUAL(told(&f), 2);
    CU_ASSERT_EQUAL(told(&f), 3);
    CU_ASSERT_EQUAL(applied_on_disk(&f), 30);
    tear_down(&f);
    fault_vfs_remove();
}

/* ---- the end ------------------------------------------------------------------------------------------------ */

static bool is_silent(const void *of)
{
    const struct fixture *f = of;
    return f->actors.raft->count == 0 && f->actors.apply->count == 0;
}

struct fault {
    struct fixture *f;
    enum fault_call call;
    uint64_t nth;
    int code;
};

/* Batches until the nth call fails, once. */
static void batches_until(void *context)
{
    const struct fault *fault = context;
    struct fixture *f = fault->f;
    struct kv_meta meta;
    fault_vfs_install();
    begin(f, &meta);
    fault_vfs_arm(fault->call, "-wal", fault->nth, fault->code, FAULT_ONCE);
    for (uint64_t i = 1; i <= 20 && !fault_vfs_struck(); i++) {
        send_batch(f, i, 0);
        turn(f);
        last_words_tell(told(f));
    }
}

/* A commit that was not synced is none: a failing sync is met by each batch, and nothing is said of it. */
static void an_error_of_the_disk_is_the_end(void)
{
    static const struct {
        enum fault_call call;
        int code;
    } faults[] = {{FAULT_SYNC, SQLITE_IOERR_FSYNC}, {FAULT_WRITE, SQLITE_IOERR_WRITE}};
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
        for (uint64_t nth = 1; nth <= 4; nth++) {
            struct fixture f;
            struct kv_meta meta;
            uint64_t said = 0;
            test_folder_make(f.folder);
            struct fault fault = {
                .f = &f, .call = faults[i].call, .nth = nth, .code = faults[i].code};
            int status = last_words_of(batches_until, &fault, is_silent, &f, &said);
            CU_ASSERT_TRUE(WIFEXITED(status));
            CU_ASSERT_EQUAL(WEXITSTATUS(status), ENDED_SILENT);
            if (faults[i].call == FAULT_SYNC) {
                CU_ASSERT_TRUE(said < nth); /* each batch has a sync of its own */
            }
            begin(&f, &meta);
            CU_ASSERT_TRUE(meta.applied_index >= 10 * said);
            tear_down(&f);
        }
    }
}

static void second_batch(void *context)
{
    struct fixture *f = context;
    send_batch(f, 2, 0);
    turn(f);
}

/* Somebody has written to kv.db: what is in it is not what the log made of it any more. */
static void a_foreign_write_is_the_end(void)
{
    struct fixture f;
    char path[2 * TEST_PATH_MAX];
    set_up(&f);
    send_batch(&f, 1, 0);
    turn(&f);
    CU_ASSERT_EQUAL(told(&f), 1);
    (void)snprintf(path, sizeof(path), "%s/group-0/kv-0.db", f.folder);
    CU_ASSERT_TRUE(test_sqlite3("", path, "UPDATE current SET version = 9", NULL, 0));
    uint64_t said = 0;
    int status = last_words_of(second_batch, &f, is_silent, &f, &said);
    CU_ASSERT_TRUE(WIFEXITED(status));
    CU_ASSERT_EQUAL(WEXITSTATUS(status), ENDED_SILENT);
    tear_down(&f);
}

/* ---- compaction ------------------------------------------------------------------------------------------------ */

/* Told once, by itself; in slices whose pauses lie ahead, so that a batch in between is not kept waiting. */
static void what_was_compacted_goes_by_itself(void)
{
    struct fixture f;
    set_up(&f);
    for (uint64_t i = 1; i <= 50; i++) {
        send_batch(&f, i, 0);
    }
    turn(&f);
    send_batch(&f, 51, 40);
    turn(&f);
    size_t compacted = 0;
    int64_t revision = 0;
    for (size_t rounds = 0; rounds < 200; rounds++) {
        struct msg *m = NULL;
        while ((m = hand_take(f.actors.apply)) != NULL) {
            if (m->kind == APPLY_COMPACTED) {
                compacted++;
                revision = ((struct apply_compacted *)m)->revision;
            }
            msg_free_base(&m);
        }
        if (f.flush->deadline_us == UINT64_MAX) {
            break;
        }
        CU_ASSERT_TRUE_FATAL(f.flush->deadline_us > f.now_us);
        f.now_us = f.flush->deadline_us;
        hand_round(f.flush, f.now_us);
    }
    CU_ASSERT_EQUAL(f.flush->deadline_us, UINT64_MAX); /* it comes to rest */
    CU_ASSERT_EQUAL(compacted, 1);
    CU_ASSERT_EQUAL(revision, 40);
    char path[2 * TEST_PATH_MAX];
    char text[64];
    (void)snprintf(path, sizeof(path), "%s/group-0/kv-0.db", f.folder);
    CU_ASSERT_TRUE(
        test_sqlite3("-readonly", path, "SELECT count(*) FROM history", text, sizeof(text)));
    CU_ASSERT_STRING_EQUAL(text, "13"); /* of revisions 40 to 52 */
    tear_down(&f);
}

SUITE("node: flush actor", TEST(batches_are_written_in_order),
      TEST(what_waits_is_written_at_the_stop), TEST(without_room_it_waits),
      TEST(an_error_of_the_disk_is_the_end), TEST(a_foreign_write_is_the_end),
      TEST(what_was_compacted_goes_by_itself))
