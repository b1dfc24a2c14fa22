/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What raft.db gives back after being closed and opened again: identity, term, vote, entries, starts;
 * and what it refuses. Real files. Raft Fig. 2 (persistent state), traps 1, 2, 18, 20, 23.
 */
#include "store_test.h"

#include "command.h"

static void round_trip(void)
{
    char folder[TEST_PATH_MAX];
    test_folder_make(folder);
    struct log_db *db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    struct node_identity first;
    log_db_identity(db, &first);
    CU_ASSERT_EQUAL(first.boot_number, 1);
    CU_ASSERT_EQUAL(first.cluster_id, 0);
    CU_ASSERT_NOT_EQUAL(first.member_id, 0);

    struct log_recovered found;
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, &found), OK);
    CU_ASSERT_EQUAL(found.current_term, 0);
    CU_ASSERT_EQUAL(found.last_log_index, 0);
    CU_ASSERT_EQUAL(found.term_run_count, 0);
    CU_ASSERT_FALSE(found.damaged);
    CU_ASSERT_EQUAL(found.configuration.count, 0);
    log_recovered_free(&found);

    CU_ASSERT_EQUAL(test_persist(db, 1, 1, 7, 0, test_entries(1, 5, 1, 100)), OK);
    CU_ASSERT_EQUAL(test_persist(db, 2, 3, UINT64_MAX, 4, test_entries(4, 9, 3, 10)), OK);
    CU_ASSERT_EQUAL(log_db_begin(db), OK);
    CU_ASSERT_EQUAL(log_db_set_cluster_id(db, UINT64_MAX - 1), OK);
    CU_ASSERT_EQUAL(log_db_commit(db), OK);
    log_db_close(&db);
    CU_ASSERT_PTR_NULL(db);

    db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    struct node_identity second;
    log_db_identity(db, &second);
    CU_ASSERT_EQUAL(second.member_id, first.member_id);
    CU_ASSERT_EQUAL(second.cluster_id, UINT64_MAX - 1);
    CU_ASSERT_EQUAL(second.boot_number, 2);

    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, &found), OK);
    CU_ASSERT_FALSE(found.damaged);
    CU_ASSERT_FALSE(found.may_not_vote);
    CU_ASSERT_EQUAL(found.current_term, 3);
    CU_ASSERT_EQUAL(found.voted_for, UINT64_MAX);
    CU_ASSERT_EQUAL(found.persist_sequence, 2);
    CU_ASSERT_EQUAL(found.last_log_index, 9);
    CU_ASSERT_EQUAL(found.last_log_term, 3);
    CU_ASSERT_EQUAL_FATAL(found.term_run_count, 2);
    CU_ASSERT_EQUAL(found.term_runs[0].first_index, 1);
    CU_ASSERT_EQUAL(found.term_runs[0].term, 1);
    CU_ASSERT_EQUAL(found.term_runs[1].first_index, 4);
    CU_ASSERT_EQUAL(found.term_runs[1].term, 3);
    log_recovered_free(&found);

    struct entries *block = NULL;
    CU_ASSERT_EQUAL_FATAL(log_db_read(db, 0, 3, 100, UINT64_MAX, &block), OK);
    CU_ASSERT_EQUAL(block->first_index, 3);
    CU_ASSERT_EQUAL_FATAL(block->count, 7);
    struct entries *want_old = test_entries(3, 3, 1, 100);
    struct entries *want_new = test_entries(4, 9, 3, 10);
    for (size_t i = 0; i < block->count; i++) {
        const struct entry *want = i == 0 ? &want_old->items[0] : &want_new->items[i - 1];
        const struct entry *got = &block->items[i];
        CU_ASSERT_EQUAL(got->index, want->index);
        CU_ASSERT_EQUAL(got->term, want->term);
        CU_ASSERT_EQUAL(got->origin, want->origin);
        CU_ASSERT_EQUAL(got->request_id, want->request_id);
        CU_ASSERT_EQUAL(got->type, want->type);
        CU_ASSERT_TRUE(view_equal(got->data, want->data));
    }
    entries_free(&want_old);
    entries_free(&want_new);
    entries_free(&block);
    log_db_close(&db);
    test_folder_remove(folder);
}

SUITE("store: log_db", TEST(round_trip))
