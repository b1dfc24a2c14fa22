/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_recover.c: one member of three becomes a cluster of its own: everything its log held is still there, a configuration
 * of it alone under another cluster's id is the newest entry, of a term above all it knew, and file and mark agree.
 * Where there is nothing to recover it says so. (src/store/recover.c, data_dir.c)
 */
#include "recover.h"
#include "store_test.h"

/* A member of three, or of whom the test says, with entries 2..last behind the configuration. */
static uint64_t make_member(const char *folder, bool joined, bool member, uint64_t last)
{
    struct node_identity identity;
    struct log_recovered found = {0};
    struct log_db *db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    log_db_identity(db, &identity);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, &found), OK);
    log_recovered_free(&found);
    if (joined) {
        struct configuration c = {.cluster_id = 99, .count = 3, .removed_count = 1};
        struct buffer text = {0};
        c.removed[0] = 7;
        for (uint64_t i = 0; i < 3; i++) {
            c.members[i].id = i == 1 && member ? identity.member_id : 11 + i;
            (void)snprintf(c.members[i].name, sizeof(c.members[i].name), "m%" PRIu64, i);
            c.members[i].voter_incoming = c.members[i].voter_outgoing = true;
        }
        configuration_encode(&c, &text);
        struct entry e = {.index = 1, .term = 1, .type = ENTRY_CONFIG};
        e.data = view_of(text.data, text.size);
        struct entries *block = entries_create(1, text.size);
        entries_add(block, &e);
        buffer_free(&text);
        CU_ASSERT_EQUAL(log_db_begin(db), OK);
        CU_ASSERT_EQUAL(log_db_set_cluster_id(db, 99), OK);
        CU_ASSERT_EQUAL(log_db_commit(db), OK);
        CU_ASSERT_EQUAL(test_persist(db, 1, 1, 12, 0, block), OK);
        log_db_observe(db, 0, 11, last - 2);
        CU_ASSERT_EQUAL(test_persist(db, 2, 5, 11, 0, test_entries(2, last, 5, 20)), OK);
    }
    log_db_close(&db);
    return identity.member_id;
}

static enum err look(const char *folder, struct recover **out, char *problem)
{
    return recover_look(folder, "demo", "n1", 0, 43, out, problem, TEST_PROBLEM_MAX);
}

static void alone_with_all_it_had(void)
{
    char folder[TEST_PATH_MAX], problem[TEST_PROBLEM_MAX] = "";
    struct recover *r = NULL;
    struct configuration alone;
    struct member own = {.peer = "new:2380", .client = "new:2379"};
    test_folder_make(folder);
    uint64_t id = make_member(folder, true, true, 40);

    CU_ASSERT_EQUAL_FATAL(look(folder, &r, problem), OK);
    const struct recover_found *f = recover_found(r);
    CU_ASSERT_EQUAL(f->identity.member_id, id);
    CU_ASSERT_EQUAL(f->identity.cluster_id, 99);
    CU_ASSERT_EQUAL(f->first_index, 1);
    CU_ASSERT_EQUAL(f->last_index, 40);
    CU_ASSERT_EQUAL(f->last_term, 5);
    CU_ASSERT_EQUAL(f->current_term, 5);
    CU_ASSERT_EQUAL(f->committed_index, 38);
    CU_ASSERT_EQUAL(f->own_index, 1);
    CU_ASSERT_FALSE(f->damaged);
    CU_ASSERT_FALSE(recover_is_alone(r));
    recover_close(&r); /* a look changes nothing */
    CU_ASSERT_EQUAL_FATAL(look(folder, &r, problem), OK);
    CU_ASSERT_EQUAL(recover_found(r)->last_index, 40);
    CU_ASSERT_EQUAL_FATAL(recover_force(r, &own, 555, &alone), OK);
    CU_ASSERT_EQUAL(alone.cluster_id, 555);
    recover_close(&r);

    struct log_db *db = test_log_open(folder);
    struct log_recovered found = {0};
    struct node_identity identity;
    struct entries *block = NULL;
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, &found), OK);
    log_db_identity(db, &identity);
    CU_ASSERT_EQUAL(identity.member_id, id);
    CU_ASSERT_EQUAL(identity.cluster_id, 555);
    CU_ASSERT_FALSE(found.damaged); /* file and mark agree */
    CU_ASSERT_FALSE(found.may_not_vote);
    CU_ASSERT_EQUAL(found.current_term, 6);
    CU_ASSERT_EQUAL(found.voted_for, id);
    CU_ASSERT_EQUAL(found.last_log_index, 41);
    CU_ASSERT_EQUAL(found.last_log_term, 6);
    CU_ASSERT_EQUAL(found.configuration_index, 41);
    const struct configuration *c = &found.configuration;
    CU_ASSERT_EQUAL(c->cluster_id, 555);
    CU_ASSERT_EQUAL_FATAL(c->count, 1);
    CU_ASSERT_EQUAL(c->members[0].id, id);
    CU_ASSERT_STRING_EQUAL(c->members[0].name, "n1");
    CU_ASSERT_STRING_EQUAL(c->members[0].peer, "new:2380");
    CU_ASSERT_TRUE(configuration_is_voter(c, id));
    CU_ASSERT_FALSE(configuration_is_joint(c));
    CU_ASSERT_TRUE(configuration_was_removed(c, 7));
    CU_ASSERT_TRUE(configuration_was_removed(c, 11));
    CU_ASSERT_TRUE(configuration_was_removed(c, 13));
    CU_ASSERT_EQUAL_FATAL(log_db_read(db, 0, 1, 41, 1 << 20, &block), OK);
    CU_ASSERT_EQUAL(block->count, 41); /* the two that were not known to be committed as well */
    entries_free(&block);
    log_recovered_free(&found);
    log_db_close(&db);

    CU_ASSERT_EQUAL_FATAL(look(folder, &r, problem), OK);
    CU_ASSERT_TRUE(recover_is_alone(r));
    recover_close(&r);
    test_folder_remove(folder);
}

/* A damaged log may be all there is: a person has said so, and the node votes again. */
static void a_damaged_survivor(void)
{
    char folder[TEST_PATH_MAX], problem[TEST_PROBLEM_MAX] = "";
    struct recover *r = NULL;
    struct configuration alone;
    struct member own = {.peer = "new:2380", .client = "new:2379"};
    struct test_files files, before;
    test_folder_make(folder);
    (void)make_member(folder, true, true, 40);
    test_files_read(folder, &before);
    struct log_db *db = test_log_open(folder);
    struct log_recovered found = {0};
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, &found), OK);
    log_recovered_free(&found);
    CU_ASSERT_EQUAL(test_persist(db, 3, 9, 0, 0, test_entries(41, 50, 9, 20)), OK);
    log_db_close(&db);
    test_files_read(folder, &files); /* raft.db of before with the mark of now */
    struct test_files mixed = {.db = before.db, .wal = before.wal, .mark = files.mark};
    test_files_write(folder, &mixed);
    CU_ASSERT_EQUAL_FATAL(look(folder, &r, problem), OK);
    CU_ASSERT_TRUE(recover_found(r)->damaged);
    CU_ASSERT_EQUAL(recover_found(r)->last_index, 40);
    CU_ASSERT_EQUAL(recover_found(r)->current_term, 9); /* the mark knows */
    CU_ASSERT_EQUAL(recover_force(r, &own, 555, &alone), OK);
    recover_close(&r);
    CU_ASSERT_EQUAL_FATAL(look(folder, &r, problem), OK);
    CU_ASSERT_FALSE(recover_found(r)->damaged);
    CU_ASSERT_EQUAL(recover_found(r)->last_term, 10);
    recover_close(&r);
    test_files_free(&before);
    test_files_free(&files);
    test_folder_remove(folder);
}

static void nothing_to_recover(void)
{
    static const struct {
        bool joined;
        const char *words;
    } cases[] = {{false, "has not joined one yet"}, {true, "no member of its cluster any more"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char folder[TEST_PATH_MAX], problem[TEST_PROBLEM_MAX] = "";
        struct recover *r = NULL;
        test_folder_make(folder);
        (void)make_member(folder, cases[i].joined, false, 5);
        CU_ASSERT_EQUAL(look(folder, &r, problem), ERR_NOT_FOUND);
        CU_ASSERT_PTR_NULL(r);
        CU_ASSERT_PTR_NOT_NULL(strstr(problem, cases[i].words));
        test_folder_remove(folder);
    }
}

/* Two processes, one directory. */
static void one_process_per_directory(void)
{
    char folder[TEST_PATH_MAX], problem[TEST_PROBLEM_MAX] = "";
    test_folder_make(folder);
    CU_ASSERT_EQUAL(data_dir_take(folder, false, problem, sizeof(problem)), ERR_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(problem, "holdfast.lock cannot be opened"));
    CU_ASSERT_EQUAL(data_dir_take(folder, true, problem, sizeof(problem)), OK);
    pid_t child = fork();
    if (child == 0) {
        enum err error = data_dir_take(folder, true, problem, sizeof(problem));
        _exit(error == ERR_BUSY_FILE && strstr(problem, "is used by process") != NULL ? 0 : 1);
    }
    int status = 1;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_EQUAL(status, 0);
    test_folder_remove(folder);
}

SUITE("store: recover", TEST(alone_with_all_it_had), TEST(a_damaged_survivor),
      TEST(nothing_to_recover), TEST(one_process_per_directory))
