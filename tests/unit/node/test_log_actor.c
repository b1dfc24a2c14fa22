/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_log_actor.c: what waits becomes one commit, in its order, and is called durable after it and never before
 * (traps 1, 13); the cluster id and a received table's number go with the persist they belong to (trap 46); an error of the
 * disk ends the process, with nothing said and nothing tried again (trap 20), but no room and a lock are waited for; old
 * entries go in slices, between commits (trap 23). Real files, and the fault VFS. (src/node/log_actor.c; what a
 * foreign lock does is in test_disk_actors.c)
 */
#include "fault_vfs.h"
#include "hand_runner.h"
#include "last_words.h"
#include "node/node.h"

#include "../store/store_test.h"

#include <sqlite3.h>

#define MS UINT64_C(1000)

struct fixture {
    char folder[TEST_PATH_MAX];
    struct log_db *db; /* the actor's; looked at only */
    struct node_actors actors;
    struct actor *log;
    uint64_t now_us;
};

#define RECEIVED_GENERATION 4
#define RECEIVED_INDEX      50

/* On the folder as it is; with the received table where raft.db stands for that. */
static void begin(struct fixture *f, struct log_recovered *found)
{
    uint64_t generation = 0;
    struct kv_meta received = {.generation = RECEIVED_GENERATION,
                               .applied_index = RECEIVED_INDEX,
                               .applied_term = 2,
                               .revision = 9};
    f->db = test_log_open(f->folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f->db);
    CU_ASSERT_EQUAL_FATAL(log_db_generation(f->db, 0, &generation), OK);
    const struct kv_meta *kv = generation == RECEIVED_GENERATION ? &received : &kv_empty;
    CU_ASSERT_EQUAL_FATAL(log_db_recover(f->db, 0, kv, found), OK);
    mem_free(found->term_runs);
    found->term_runs = NULL;
    f->actors = (struct node_actors){.raft = hand_receiver()};
    f->log = log_actor_create(f->db, &f->actors);
    f->now_us = 1000 * MS;
    hand_started(f->log, f->now_us);
}

static void set_up(struct fixture *f)
{
    struct log_recovered found;
    test_folder_make(f->folder);
    begin(f, &found);
}

static void end(struct fixture *f)
{
    actor_destroy(f->log);
    actor_destroy(f->actors.raft);
}

static void tear_down(struct fixture *f)
{
    end(f);
    test_folder_remove(f->folder);
}

static void turn(struct fixture *f)
{
    f->now_us += MS;
    hand_round(f->log, f->now_us);
}

static struct log_persist *persist_of(uint64_t sequence, uint64_t first, uint64_t last,
                                      uint64_t term)
{
    struct log_persist *m = MSG_NEW(struct log_persist, LOG_PERSIST, release_persist);
    m->persist.sequence = sequence;
    m->persist.current_term = term;
    m->persist.voted_for = 3;
    m->persist.entries = last < first ? NULL : test_entries(first, last, term, 100);
    return m;
}

static void persist(struct fixture *f, uint64_t sequence, uint64_t first, uint64_t last)
{
    struct log_persist *m = persist_of(sequence, first, last, 1);
    ACTOR_SEND(f->log, m);
}

/* The next "durable up to"; 0: none was said. */
static uint64_t durable(struct fixture *f)
{
    struct msg *m = hand_find(f->actors.raft, RAFT_DURABLE);
    uint64_t sequence = m == NULL ? 0 : ((struct raft_durable *)m)->sequence;
    if (m != NULL) {
        msg_free_base(&m);
    }
    return sequence;
}

static uint64_t commits(const struct fixture *f)
{
    struct db_figures figures;
    log_db_figures(f->db, &figures);
    return figures.commits;
}

/* How many entries a log_read of first..last brings; their first and last are those asked for as far as they are
 * there. -1: they are gone. */
static int64_t entries_read(struct fixture *f, uint64_t first, uint64_t last)
{
    struct log_read *m = MSG_NEW(struct log_read, LOG_READ, NULL);
    m->from = first;
    m->to = last;
    m->bytes_max = 1 << 20;
    ACTOR_SEND(f->log, m);
    turn(f);
    struct msg *answer = hand_find(f->actors.raft, RAFT_LOG_ENTRIES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(answer);
    const struct raft_log_entries *got = (const struct raft_log_entries *)answer;
    CU_ASSERT_EQUAL(got->from_index, first);
    int64_t count = got->entries == NULL ? -1 : (int64_t)got->entries->count;
    CU_ASSERT_TRUE(got->entries == NULL || got->entries->first_index == first);
    msg_free_base(&answer);
    return count;
}

/* ---- commits -------------------------------------------------------------------------------------------------- */

static void what_waits_is_one_commit(void)
{
    struct fixture f;
    set_up(&f);
    uint64_t before = commits(&f);
    for (uint64_t i = 1; i <= 50; i++) {
        persist(&f, i, i, i);
    }
    turn(&f);
    CU_ASSERT_EQUAL(commits(&f), before + 1);
    CU_ASSERT_EQUAL(durable(&f), 50);
    CU_ASSERT_EQUAL(durable(&f), 0); /* said once */
    CU_ASSERT_EQUAL(entries_read(&f, 1, 50), 50);
    /* a persist without entries is one as well */
    persist(&f, 51, 1, 0);
    turn(&f);
    CU_ASSERT_EQUAL(durable(&f), 51);
    /* and nothing that waits, no commit */
    before = commits(&f);
    turn(&f);
    CU_ASSERT_EQUAL(commits(&f), before);
    tear_down(&f);
}

/* A cut and what follows it, handed over in two persists of one batch. */
static void in_the_order_they_came(void)
{
    struct fixture f;
    struct log_recovered found;
    set_up(&f);
    persist(&f, 1, 1, 10);
    struct log_persist *cut = persist_of(2, 5, 7, 2);
    cut->persist.truncate_from = 5;
    ACTOR_SEND(f.log, cut);
    struct log_persist *again = persist_of(3, 6, 6, 3);
    again->persist.truncate_from = 6;
    ACTOR_SEND(f.log, again);
    turn(&f);
    CU_ASSERT_EQUAL(durable(&f), 3);
    end(&f);
    begin(&f, &found);
    CU_ASSERT_EQUAL(found.last_log_index, 6);
    CU_ASSERT_EQUAL(found.last_log_term, 3);
    CU_ASSERT_EQUAL(found.current_term, 3);
    CU_ASSERT_EQUAL(found.persist_sequence, 3);
    tear_down(&f);
}

/* A cluster that this node belongs to is never on its disk without what its log knows of it. */
static void the_cluster_id_goes_with_a_persist(void)
{
    struct fixture f;
    struct log_recovered found;
    struct node_identity identity;
    set_up(&f);
    struct log_cluster_id *id = MSG_NEW(struct log_cluster_id, LOG_CLUSTER_ID, NULL);
    id->cluster_id = 77;
    ACTOR_SEND(f.log, id);
    turn(&f);
    end(&f);
    begin(&f, &found);
    log_db_identity(f.db, &identity);
    CU_ASSERT_EQUAL(identity.cluster_id, 0);
    id = MSG_NEW(struct log_cluster_id, LOG_CLUSTER_ID, NULL);
    id->cluster_id = 77;
    ACTOR_SEND(f.log, id);
    turn(&f);
    persist(&f, 1, 1, 1);
    turn(&f);
    end(&f);
    begin(&f, &found);
    log_db_identity(f.db, &identity);
    CU_ASSERT_EQUAL(identity.cluster_id, 77);
    CU_ASSERT_EQUAL(found.last_log_index, 1);
    tear_down(&f);
}

static void what_waits_is_written_at_the_stop(void)
{
    struct fixture f;
    struct log_recovered found;
    set_up(&f);
    persist(&f, 1, 1, 3);
    struct msg *m = hand_take(f.log); /* it has come, and its round has not ended */
    hand_running = f.log;
    f.log->ops->handle(f.log->self, m, f.now_us);
    f.log->ops->stop(f.log->self, f.now_us);
    hand_running = NULL;
    CU_ASSERT_TRUE(f.log->stopped);
    CU_ASSERT_EQUAL(durable(&f), 1);
    end(&f);
    begin(&f, &found);
    CU_ASSERT_EQUAL(found.last_log_index, 3);
    tear_down(&f);
}

/* ---- old entries ------------------------------------------------------------------------------------------------ */

/* Trap 23: thousands of old entries go over several commits, and a persist in between does not wait for the last. */
static void old_entries_go_in_slices(void)
{
    struct fixture f;
    set_up(&f);
    persist(&f, 1, 1, 9000);
    turn(&f);
    CU_ASSERT_EQUAL(durable(&f), 1);
    struct log_trim *trim = MSG_NEW(struct log_trim, LOG_TRIM, NULL);
    trim->through = 8000;
    ACTOR_SEND(f.log, trim);
    turn(&f);
    CU_ASSERT_EQUAL(entries_read(&f, 1, 1), -1);
    CU_ASSERT_EQUAL(entries_read(&f, 7999, 7999), 1); /* not all at once */
    persist(&f, 2, 9001, 9001);
    turn(&f);
    CU_ASSERT_EQUAL(durable(&f), 2);
    size_t rounds = 0;
    while (entries_read(&f, 8000, 8000) != -1 && rounds++ < 20) {
        CU_ASSERT_TRUE_FATAL(f.log->deadline_us <= f.now_us + 20 * MS); /* by itself */
    }
    CU_ASSERT_TRUE(rounds < 20);
    CU_ASSERT_EQUAL(entries_read(&f, 8001, 9001), 1001);
    /* an older wish changes nothing */
    uint64_t before = commits(&f);
    trim = MSG_NEW(struct log_trim, LOG_TRIM, NULL);
    trim->through = 5000;
    ACTOR_SEND(f.log, trim);
    turn(&f);
    CU_ASSERT_EQUAL(commits(&f), before);
    tear_down(&f);
}

static void who_asks_for_what_is_not_there_is_told(void)
{
    struct fixture f;
    set_up(&f);
    CU_ASSERT_EQUAL(entries_read(&f, 1, 5), -1);
    persist(&f, 1, 1, 5);
    turn(&f);
    CU_ASSERT_EQUAL(entries_read(&f, 4, 9), 2);
    CU_ASSERT_EQUAL(entries_read(&f, 6, 9), -1);
    tear_down(&f);
}

/* ---- the disk -------------------------------------------------------------------------------------------------- */

/* A full disk is a stall: nothing is called durable, all that came is written when there is room, in order. */
static void without_room_it_waits(void)
{
    struct fixture f;
    struct log_recovered found;
    fault_vfs_install();
    set_up(&f);
    persist(&f, 1, 1, 1);
    turn(&f);
    CU_ASSERT_EQUAL(durable(&f), 1);
    fault_vfs_arm(FAULT_WRITE, "raft.db-wal", 1, SQLITE_FULL, FAULT_STAY);
    persist(&f, 2, 2, 20);
    turn(&f);
    CU_ASSERT_TRUE(fault_vfs_struck());
    CU_ASSERT_EQUAL(durable(&f), 0);
    persist(&f, 3, 21, 22);
    turn(&f);
    CU_ASSERT_EQUAL(durable(&f), 0);
    for (size_t i = 0; i < 5; i++) {
        CU_ASSERT_TRUE_FATAL(f.log->deadline_us > f.now_us);
        f.now_us = f.log->deadline_us;
        hand_round(f.log, f.now_us);
    }
    CU_ASSERT_EQUAL(durable(&f), 0);
    fault_vfs_disarm();
    f.now_us = f.log->deadline_us;
    hand_round(f.log, f.now_us);
    CU_ASSERT_EQUAL(durable(&f), 3);
    end(&f);
    begin(&f, &found);
    CU_ASSERT_EQUAL(found.last_log_index, 22);
    CU_ASSERT_FALSE(found.damaged);
    tear_down(&f);
    fault_vfs_remove();
}

/* hand_runner's actor_fatal aborts: is there a word of the last batch? */
static bool is_silent(const void *of)
{
    const struct fixture *f = of;
    return f->actors.raft->count == 0;
}

struct fault {
    struct fixture *f;
    enum fault_call call;
    uint64_t nth;
    int code;
};

/* The nth sync or write after the first commit fails, once. What is called durable by then is told. */
static void persists_until(void *context)
{
    const struct fault *fault = context;
    struct fixture *f = fault->f;
    struct log_recovered found;
    fault_vfs_install();
    begin(f, &found);
    fault_vfs_arm(fault->call, "raft.db-wal", fault->nth, fault->code, FAULT_ONCE);
    uint64_t sequence = found.persist_sequence;
    uint64_t last = found.last_log_index;
    for (size_t i = 0; i < 100 && !fault_vfs_struck(); i++) {
        persist(f, ++sequence, last + 1, last + 3);
        last += 3;
        turn(f);
        last_words_tell(durable(f));
    }
}

/* Trap 20: the disk works again at once, and yet the process ends at the first error, before it says anything of that
 * batch. The next start calls the log damaged. */
static void an_error_of_the_disk_is_the_end(void)
{
    static const struct {
        enum fault_call call;
        int code;
    } faults[] = {{FAULT_SYNC, SQLITE_IOERR_FSYNC}, {FAULT_WRITE, SQLITE_IOERR_WRITE}};
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
        for (uint64_t nth = 1; nth <= 3; nth++) {
            struct fixture f;
            struct log_recovered found;
            uint64_t said = 0;
            test_folder_make(f.folder);
            struct fault fault = {
                .f = &f, .call = faults[i].call, .nth = nth, .code = faults[i].code};
            int status = last_words_of(persists_until, &fault, is_silent, &f, &said);
            CU_ASSERT_TRUE(WIFEXITED(status));
            CU_ASSERT_EQUAL(WEXITSTATUS(status), ENDED_SILENT);
            begin(&f, &found);
            CU_ASSERT_TRUE(found.damaged);
            CU_ASSERT_TRUE(found.persist_sequence >= said);
            CU_ASSERT_TRUE(found.last_log_index >= 3 * said);
            tear_down(&f);
        }
    }
}

/* Trap 46: the log's new start and the table that it stands for become durable together, wherever the process dies. */
static void the_received_table_counts_with_the_new_start(void)
{
    bool whole = false;
    for (uint64_t nth = 1; nth < 200 && !whole; nth++) {
        struct fixture f;
        struct log_recovered found;
        uint64_t generation = 0;
        fault_vfs_install();
        set_up(&f);
        persist(&f, 1, 1, 10);
        turn(&f);
        end(&f);
        pid_t child = fork();
        CU_ASSERT_TRUE_FATAL(child >= 0);
        if (child == 0) {
            int silent = open("/dev/null", O_WRONLY | O_CLOEXEC);
            (void)dup2(silent, STDERR_FILENO);
            begin(&f, &found);
            fault_vfs_arm(FAULT_CHANGE, "", nth, SQLITE_IOERR_WRITE, FAULT_DIE);
            struct log_persist *m = persist_of(2, 1, 0, 2);
            m->persist.reset_index = RECEIVED_INDEX;
            m->persist.reset_term = 2;
            m->kv_generation = RECEIVED_GENERATION;
            ACTOR_SEND(f.log, m);
            turn(&f);
            _exit(fault_vfs_struck() ? 1 : 0);
        }
        int status = 0;
        CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
        whole = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        fault_vfs_remove();
        begin(&f, &found);
        CU_ASSERT_EQUAL(log_db_generation(f.db, 0, &generation), OK);
        CU_ASSERT_TRUE(
            (generation == 0 && found.trimmed_index == 0 && found.last_log_index == 10) ||
            (generation == RECEIVED_GENERATION && found.trimmed_index == RECEIVED_INDEX));
        CU_ASSERT_TRUE(!whole || generation == RECEIVED_GENERATION);
        tear_down(&f);
    }
    CU_ASSERT_TRUE(whole);
}

SUITE("node: log actor", TEST(what_waits_is_one_commit), TEST(in_the_order_they_came),
      TEST(the_cluster_id_goes_with_a_persist), TEST(what_waits_is_written_at_the_stop),
      TEST(old_entries_go_in_slices), TEST(who_asks_for_what_is_not_there_is_told),
      TEST(without_room_it_waits), TEST(an_error_of_the_disk_is_the_end),
      TEST(the_received_table_counts_with_the_new_start))
