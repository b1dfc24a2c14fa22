/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docs/inspect.md tells people commands to type. This runs every one of them, as it stands there, in
 * the data directory of a node that has both files open, and the node must not notice.
 */
#include "store_test.h"

#include "command.h"

#define COMMANDS_EXPECTED 13

static struct log_db *make_log(const char *folder)
{
    struct log_recovered found;
    struct log_db *db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, &found), OK);
    log_recovered_free(&found);
    const struct command put = {
        .op = COMMAND_PUT, .key = view_of_text("app/colour"), .value = view_of_text("blue")};
    uint8_t encoded[64];
    CU_ASSERT_TRUE_FATAL(command_size(&put) <= sizeof(encoded));
    command_encode(&put, encoded);
    struct entries *block = entries_create(1, sizeof(encoded));
    const struct entry e = {
        .index = 1, .term = 1, .type = ENTRY_COMMAND, .data = view_of(encoded, command_size(&put))};
    entries_add(block, &e);
    log_db_observe(db, 0, 4711, 1);
    CU_ASSERT_EQUAL(test_persist(db, 1, 1, 0, 0, block), OK);
    return db;
}

static struct kv_writer *make_table(const char *folder)
{
    char problem[TEST_PROBLEM_MAX];
    struct kv_meta meta;
    struct kv_writer *w = NULL;
    CU_ASSERT_EQUAL_FATAL(kv_writer_open(folder, 0, 0, &w, &meta, problem, sizeof(problem)), OK);
    struct kv_batch *b = mem_zalloc(sizeof(*b));
    b->applied_index = 1;
    b->applied_term = 1;
    b->revision = 2;
    b->members = mem_zalloc(sizeof(*b->members));
    b->members->cluster_id = 5;
    b->members->count = 1;
    b->members->members[0].id = 4711;
    b->members->members[0].voter_incoming = true;
    b->members->members[0].voter_outgoing = true;
    (void)snprintf(b->members->members[0].name, sizeof(b->members->members[0].name), "n1");
    const struct kv_history row = {.change = change_id(2, 0),
                                   .key = view_of_text("app/colour"),
                                   .value = view_of_text("blue"),
                                   .create_revision = 2,
                                   .version = 1,
                                   .lease = 1234567890};
    const struct kv_current now = {.key = row.key,
                                   .change = row.change,
                                   .create_revision = 2,
                                   .version = 1,
                                   .lease = 1234567890,
                                   .depth = 1};
    const struct kv_lease lease = {
        .id = 1234567890, .ttl_s = 60, .deadline_us = 90000000, .granted_us = 30000000};
    kv_batch_add_history(b, &row);
    kv_batch_add_current(b, &now);
    kv_batch_add_lease(b, &lease, false);
    CU_ASSERT_EQUAL(kv_writer_write(w, b), OK);
    kv_batch_free(&b);
    return w;
}

/* Run the command in the folder; its output must hold something. */
static bool run_in(const char *folder, const char *command)
{
    char text[2048];
    char line[512];
    bool said = false;
    (void)snprintf(text, sizeof(text), "cd '%.200s' && %.1800s 2>&1", folder, command);
    FILE *pipe = popen(text, "re");
    if (pipe == NULL) {
        return false;
    }
    while (fgets(line, sizeof(line), pipe) != NULL) {
        said = said || line[0] != '\n';
    }
    bool silent_is_fine = strstr(command, "VACUUM INTO") != NULL;
    return pclose(pipe) == 0 && (said || silent_is_fine);
}

static void every_command_works(void)
{
    char folder[TEST_PATH_MAX];
    char line[2048];
    size_t commands = 0;
    test_folder_make(folder);
    struct log_db *db = make_log(folder);
    struct kv_writer *w = make_table(folder);
    FILE *document = fopen("docs/inspect.md", "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(document);
    while (fgets(line, sizeof(line), document) != NULL) {
        if (strncmp(line, "sqlite3 ", 8) != 0) {
            continue;
        }
        commands++;
        line[strcspn(line, "\n")] = '\0';
        bool good = run_in(folder, line);
        CU_ASSERT_TRUE(good);
        if (!good) {
            (void)fprintf(stderr, "fails: %s\n", line);
        }
    }
    (void)fclose(document);
    CU_ASSERT_EQUAL(commands, COMMANDS_EXPECTED);
    /* The node goes on. */
    CU_ASSERT_EQUAL(test_persist(db, 2, 1, 0, 0, test_entries(2, 2, 1, 30)), OK);
    CU_ASSERT_EQUAL(log_db_sync_mark(db), OK);
    CU_ASSERT_EQUAL(kv_writer_maintain(w, true), OK);
    log_db_close(&db);
    kv_writer_close(&w);
    test_folder_remove(folder);
}

SUITE("store: docs/inspect.md", TEST(every_command_works))
