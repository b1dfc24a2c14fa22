/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_disk_actors.c: shows that the log and the flush actor, kept waiting by a person's write lock,
 * ask for a time that lies ahead and not for one that has passed (which would spin a thread for as long
 * as the lock is held), and go on once the lock is gone. Real files. (src/node/log_actor.c,
 * src/node/flush_actor.c; design §4: a person's write lock is a stall to report and retry)
 */
#include "hand_runner.h"
#include "node/node.h"

#include "../store/store_test.h"

#include <sqlite3.h>

#define SECOND_US UINT64_C(1000000)

static sqlite3 *person_locks(const char *path)
{
    sqlite3 *person = NULL;
    CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &person), SQLITE_OK);
    CU_ASSERT_EQUAL_FATAL(sqlite3_exec(person, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return person;
}

static void person_leaves(sqlite3 *person)
{
    CU_ASSERT_EQUAL(sqlite3_exec(person, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    CU_ASSERT_EQUAL(sqlite3_close(person), SQLITE_OK);
}

/* Follow the actor's own deadlines for a second. Each must lie ahead when the flush is over. */
static uint64_t follow_deadlines(struct actor *a, uint64_t now_us)
{
    uint64_t end_us = now_us + SECOND_US;
    while (now_us < end_us) {
        CU_ASSERT_TRUE_FATAL(a->deadline_us > now_us);
        now_us = a->deadline_us;
        hand_round(a, now_us);
    }
    return now_us;
}

static void send_persist(struct actor *log, uint64_t sequence)
{
    struct log_persist *m = MSG_NEW(struct log_persist, LOG_PERSIST, release_persist);
    m->persist.sequence = sequence;
    m->persist.current_term = sequence;
    ACTOR_SEND(log, m);
}

static void log_waits_for_a_lock(void)
{
    char folder[TEST_PATH_MAX];
    char path[2 * TEST_PATH_MAX];
    struct log_recovered found;
    test_folder_make(folder);
    (void)snprintf(path, sizeof(path), "%.500s/raft.db", folder);
    struct log_db *db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, &found), OK);
    log_recovered_free(&found);

    struct node_actors actors = {.raft = hand_receiver()};
    struct actor *log = log_actor_create(db, &actors);
    hand_started(log, 0);
    send_persist(log, 1);
    hand_round(log, 1);
    struct msg *m = hand_find(actors.raft, RAFT_DURABLE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    msg_free_base(&m);

    sqlite3 *person = person_locks(path);
    send_persist(log, 2);
    hand_round(log, 2);
    CU_ASSERT_EQUAL(actors.raft->count, 0);
    (void)follow_deadlines(log, 2);
    CU_ASSERT_EQUAL(actors.raft->count, 0);

    person_leaves(person);
    hand_round(log, log->deadline_us);
    m = hand_find(actors.raft, RAFT_DURABLE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(((struct raft_durable *)m)->sequence, 2);
    msg_free_base(&m);
    actor_destroy(log);
    actor_destroy(actors.raft);
    test_folder_remove(folder);
}

static void send_batch(struct actor *flush, uint64_t number)
{
    struct flush_batch *m = MSG_NEW(struct flush_batch, FLUSH_BATCH, release_flush_batch);
    m->batch = mem_zalloc(sizeof(*m->batch));
    m->batch->number = number;
    m->batch->applied_index = number;
    m->batch->applied_term = 1;
    m->batch->revision = 1;
    ACTOR_SEND(flush, m);
}

static void flush_waits_for_a_lock(void)
{
    char folder[TEST_PATH_MAX];
    char path[2 * TEST_PATH_MAX];
    char problem[512] = "";
    struct kv_meta meta;
    struct kv_writer *writer = NULL;
    test_folder_make(folder);
    (void)snprintf(path, sizeof(path), "%.500s/group-0/kv-0.db", folder);
    CU_ASSERT_EQUAL_FATAL(kv_writer_open(folder, 0, 0, &writer, &meta, problem, sizeof(problem)),
                          OK);

    struct node_actors actors = {.raft = hand_receiver(), .apply = hand_receiver()};
    struct actor *flush = flush_actor_create(writer, folder, &actors);
    hand_started(flush, 0);
    send_batch(flush, 1);
    hand_round(flush, 1);
    struct msg *m = hand_find(actors.apply, APPLY_FLUSHED);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    msg_free_base(&m);

    sqlite3 *person = person_locks(path);
    send_batch(flush, 2);
    hand_round(flush, 2);
    CU_ASSERT_EQUAL(actors.apply->count, 0);
    (void)follow_deadlines(flush, 2);
    CU_ASSERT_EQUAL(actors.apply->count, 0);

    person_leaves(person);
    hand_round(flush, flush->deadline_us);
    m = hand_find(actors.apply, APPLY_FLUSHED);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(((struct apply_flushed *)m)->batch_number, 2);
    msg_free_base(&m);
    actor_destroy(flush);
    actor_destroy(actors.raft);
    actor_destroy(actors.apply);
    test_folder_remove(folder);
}

SUITE("node: the disk actors and a foreign lock", TEST(log_waits_for_a_lock),
      TEST(flush_waits_for_a_lock))
