/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table's file changes its name when a snapshot is installed: which one is opened after a crash at
 * each step, and that nothing of the other stays (traps 46, 58). Real files; the node's own opening.
 */
#include "node/node.h"
#include "store_test.h"

static bool there(const char *folder, const char *name)
{
    char path[2 * TEST_PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/group-0/%s", folder, name);
    return access(path, F_OK) == 0;
}

static void settings_make(const char *folder, struct config *c)
{
    memset(c, 0, sizeof(*c));
    (void)snprintf(c->cluster, sizeof(c->cluster), "demo");
    (void)snprintf(c->node, sizeof(c->node), "n1");
    (void)snprintf(c->data_dir, sizeof(c->data_dir), "%s", folder);
}

/* A table of one batch whose applied index is `index`. */
static void table_make(const char *folder, uint64_t generation, uint64_t index)
{
    struct kv_writer *w = NULL;
    struct kv_meta meta;
    char problem[TEST_PROBLEM_MAX];
    struct kv_batch *b = mem_zalloc(sizeof(*b));
    CU_ASSERT_EQUAL_FATAL(
        kv_writer_open(folder, 0, generation, &w, &meta, problem, sizeof(problem)), OK);
    CU_ASSERT_EQUAL(meta.generation, generation);
    b->number = 1;
    b->applied_index = index;
    b->applied_term = 2;
    b->revision = (int64_t)index;
    CU_ASSERT_EQUAL(kv_writer_write(w, b), OK);
    kv_batch_free(&b);
    kv_writer_close(&w);
}

/* The log begins anew behind the table, as an installation writes it: one transaction. */
static void name_it(const char *folder, uint64_t generation)
{
    struct log_db *db = NULL;
    char problem[TEST_PROBLEM_MAX];
    uint64_t found = 0;
    CU_ASSERT_EQUAL_FATAL(log_db_open(folder, "demo", "n1", 1, &db, problem, sizeof(problem)), OK);
    CU_ASSERT_EQUAL(log_db_begin(db), OK);
    CU_ASSERT_EQUAL(log_db_set_generation(db, 0, generation), OK);
    CU_ASSERT_EQUAL(log_db_commit(db), OK);
    CU_ASSERT_EQUAL(log_db_generation(db, 0, &found), OK);
    CU_ASSERT_EQUAL(found, generation);
    log_db_close(&db);
}

static enum exit_code open_node(const char *folder, struct kv_meta *meta, bool *damaged)
{
    struct config config;
    struct node_stores stores;
    char problem[TEST_PROBLEM_MAX];
    settings_make(folder, &config);
    enum exit_code code = node_stores_open(&config, 3, &stores, problem, sizeof(problem));
    if (code == EXIT_CODE_OK) {
        *meta = stores.meta;
        *damaged = stores.recovered.damaged;
        node_stores_close(&stores);
    } else {
        (void)fprintf(stderr, "%s\n", problem);
    }
    return code;
}

/* A crash before raft.db names the new file: the old one is the table, the new one goes. */
static void before_the_switch(void)
{
    char folder[TEST_PATH_MAX];
    struct kv_meta meta;
    bool damaged = false;
    test_folder_make(folder);
    CU_ASSERT_EQUAL(open_node(folder, &meta, &damaged), EXIT_CODE_OK);
    CU_ASSERT_EQUAL(meta.generation, 0);
    table_make(folder, 1, 50);
    test_file_write(folder, "group-0/kv-1.db-wal", view_of_text("of an older attempt"));
    CU_ASSERT_EQUAL(open_node(folder, &meta, &damaged), EXIT_CODE_OK);
    CU_ASSERT_EQUAL(meta.generation, 0);
    CU_ASSERT_EQUAL(meta.applied_index, 0);
    CU_ASSERT_FALSE(damaged);
    CU_ASSERT_FALSE(there(folder, "kv-1.db"));
    CU_ASSERT_FALSE(there(folder, "kv-1.db-wal"));
    test_folder_remove(folder);
}

/* Behind it: the new one is, the old one goes, and the link for people follows. */
static void after_the_switch(void)
{
    char folder[TEST_PATH_MAX];
    char path[2 * TEST_PATH_MAX];
    char text[64];
    struct kv_meta meta;
    bool damaged = false;
    test_folder_make(folder);
    CU_ASSERT_EQUAL(open_node(folder, &meta, &damaged), EXIT_CODE_OK);
    table_make(folder, 1, 50);
    name_it(folder, 1);
    for (int again = 0; again < 2; again++) {
        CU_ASSERT_EQUAL(open_node(folder, &meta, &damaged), EXIT_CODE_OK);
        CU_ASSERT_EQUAL(meta.generation, 1);
        CU_ASSERT_EQUAL(meta.applied_index, 50);
        CU_ASSERT_FALSE(there(folder, "kv-0.db"));
        CU_ASSERT_TRUE(there(folder, "kv-1.db"));
    }
    (void)snprintf(path, sizeof(path), "%s/group-0/kv.db", folder);
    CU_ASSERT_TRUE(
        test_sqlite3("-readonly", path, "SELECT applied_index FROM meta", text, sizeof(text)));
    CU_ASSERT_STRING_EQUAL(text, "50");
    test_folder_remove(folder);
}

/* raft.db has lost the switch and the old file is gone: the new one is found, and the log is called damaged. */
static void the_switch_is_lost(void)
{
    char folder[TEST_PATH_MAX];
    struct kv_meta meta;
    bool damaged = false;
    test_folder_make(folder);
    CU_ASSERT_EQUAL(open_node(folder, &meta, &damaged), EXIT_CODE_OK);
    table_make(folder, 1, 50);
    CU_ASSERT_EQUAL(kv_generation_remove(folder, 0, 0), OK);
    CU_ASSERT_EQUAL(open_node(folder, &meta, &damaged), EXIT_CODE_OK);
    CU_ASSERT_EQUAL(meta.generation, 1);
    CU_ASSERT_EQUAL(meta.applied_index, 50);
    CU_ASSERT_TRUE(damaged);
    uint64_t found = 0;
    CU_ASSERT_EQUAL(kv_generation_find(folder, 0, 1, &found), OK);
    CU_ASSERT_EQUAL(found, 1);
    CU_ASSERT_EQUAL(open_node(folder, &meta, &damaged), EXIT_CODE_OK);
    CU_ASSERT_EQUAL(meta.generation, 1);
    test_folder_remove(folder);
}

/* The table is gone (a person took it away) while another was only half received: that one is not taken for it. */
static void half_of_a_table_is_none(void)
{
    char folder[TEST_PATH_MAX];
    struct kv_meta meta;
    bool damaged = false;
    uint64_t found = 0;
    test_folder_make(folder);
    CU_ASSERT_EQUAL(open_node(folder, &meta, &damaged), EXIT_CODE_OK);
    table_make(folder, 1, 50);
    test_file_write(folder, "group-0/kv-1.db-part", view_of_text("what is to come"));
    CU_ASSERT_EQUAL(kv_generation_find(folder, 0, 0, &found), OK);
    CU_ASSERT_EQUAL(found, 0);
    CU_ASSERT_EQUAL(kv_generation_remove(folder, 0, 0), OK);
    CU_ASSERT_EQUAL(kv_generation_find(folder, 0, 0, &found), OK);
    CU_ASSERT_EQUAL(found, 0);
    CU_ASSERT_EQUAL(open_node(folder, &meta, &damaged), EXIT_CODE_OK);
    CU_ASSERT_EQUAL(meta.generation, 0);
    CU_ASSERT_EQUAL(meta.applied_index, 0);
    test_folder_remove(folder);
}

SUITE("store: generations of kv.db", TEST(half_of_a_table_is_none), TEST(before_the_switch),
      TEST(after_the_switch), TEST(the_switch_is_lost))
