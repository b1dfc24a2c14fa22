/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What raft.db gives back after being closed and opened again: identity, term, vote, entries, starts;
 * and what it refuses. Real files. Raft Fig. 2 (persistent state), traps 23, 24, 38.
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

static struct log_db *open_and_recover(const char *folder, struct log_recovered *found)
{
    struct log_db *db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, found), OK);
    return db;
}

/* Opened, recovered, and what was found thrown away. */
static struct log_db *open_ready(const char *folder)
{
    struct log_recovered found;
    struct log_db *db = open_and_recover(folder, &found);
    log_recovered_free(&found);
    return db;
}

/* A read gives at least one entry, stops at the octets asked for, and says "not found" outside. */
static void read_limits(void)
{
    char folder[TEST_PATH_MAX];
    test_folder_make(folder);
    struct log_db *db = open_ready(folder);
    struct entries *block = NULL;
    CU_ASSERT_EQUAL(log_db_read(db, 0, 1, 1, 1000, &block), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(test_persist(db, 1, 1, 0, 0, test_entries(1, 20, 1, 100)), OK);

    CU_ASSERT_EQUAL_FATAL(log_db_read(db, 0, 5, 20, 1, &block), OK);
    CU_ASSERT_EQUAL(block->count, 1);
    entries_free(&block);
    CU_ASSERT_EQUAL_FATAL(log_db_read(db, 0, 5, 20, 3 * (100 + ENTRY_OVERHEAD), &block), OK);
    CU_ASSERT_EQUAL(block->count, 3);
    CU_ASSERT_EQUAL(block->first_index, 5);
    entries_free(&block);
    CU_ASSERT_EQUAL_FATAL(log_db_read(db, 0, 5, 7, UINT64_MAX, &block), OK);
    CU_ASSERT_EQUAL(block->count, 3);
    entries_free(&block);
    CU_ASSERT_EQUAL(log_db_read(db, 0, 21, 30, 1000, &block), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(log_db_read(db, 0, 8, 7, 1000, &block), ERR_NOT_FOUND);
    CU_ASSERT_PTR_NULL(block);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* Empty and large payloads come back as they were (an empty one is not NULL, a large one spans pages). */
static void payload_sizes(void)
{
    char folder[TEST_PATH_MAX];
    test_folder_make(folder);
    struct log_db *db = open_ready(folder);
    struct entries *block = entries_create(2, 1500000);
    struct entry e = {.index = 1, .term = 1, .type = ENTRY_NOOP};
    entries_add(block, &e);
    uint8_t *large = mem_alloc(1500000);
    for (size_t i = 0; i < 1500000; i++) {
        large[i] = (uint8_t)(i * 7);
    }
    e = (struct entry){
        .index = 2, .term = 1, .type = ENTRY_COMMAND, .data = view_of(large, 1500000)};
    entries_add(block, &e);
    CU_ASSERT_EQUAL(test_persist(db, 1, 1, 0, 0, block), OK);
    log_db_close(&db);

    db = open_ready(folder);
    CU_ASSERT_EQUAL_FATAL(log_db_read(db, 0, 1, 2, UINT64_MAX, &block), OK);
    CU_ASSERT_EQUAL_FATAL(block->count, 2);
    CU_ASSERT_EQUAL(block->items[0].data.size, 0);
    CU_ASSERT_TRUE(view_equal(block->items[1].data, view_of(large, 1500000)));
    entries_free(&block);
    mem_free(large);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* The prefix goes in slices, the place before the first entry is kept with its term, and a log trimmed to
 * its end goes on (trap 23; Raft §7). */
static void trim_in_slices(void)
{
    char folder[TEST_PATH_MAX];
    test_folder_make(folder);
    struct log_db *db = open_ready(folder);
    CU_ASSERT_EQUAL(test_persist(db, 1, 1, 0, 0, test_entries(1, 50, 1, 20)), OK);
    CU_ASSERT_EQUAL(test_persist(db, 2, 2, 0, 0, test_entries(51, 60, 2, 20)), OK);

    bool more = false;
    CU_ASSERT_EQUAL(log_db_begin(db), OK);
    CU_ASSERT_EQUAL(log_db_trim(db, 0, 55, 30, &more), OK);
    CU_ASSERT_TRUE(more);
    CU_ASSERT_EQUAL(log_db_commit(db), OK);
    struct entries *block = NULL;
    CU_ASSERT_EQUAL(log_db_read(db, 0, 30, 60, UINT64_MAX, &block), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL_FATAL(log_db_read(db, 0, 31, 60, UINT64_MAX, &block), OK);
    CU_ASSERT_EQUAL(block->count, 30);
    entries_free(&block);
    CU_ASSERT_EQUAL(log_db_begin(db), OK);
    CU_ASSERT_EQUAL(log_db_trim(db, 0, 55, 30, &more), OK);
    CU_ASSERT_FALSE(more);
    CU_ASSERT_EQUAL(log_db_trim(db, 0, 10, 30, &more), OK); /* behind the start: nothing */
    CU_ASSERT_FALSE(more);
    CU_ASSERT_EQUAL(log_db_commit(db), OK);
    log_db_close(&db);

    struct kv_meta kv = kv_empty;
    kv.applied_index = 57;
    kv.applied_term = 2;
    struct log_recovered found;
    db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv, &found), OK);
    CU_ASSERT_FALSE(found.damaged);
    CU_ASSERT_EQUAL(found.trimmed_index, 55);
    CU_ASSERT_EQUAL(found.trimmed_term, 2);
    CU_ASSERT_EQUAL(found.last_log_index, 60);
    CU_ASSERT_EQUAL_FATAL(found.term_run_count, 1);
    CU_ASSERT_EQUAL(found.term_runs[0].first_index, 56);
    log_recovered_free(&found);

    CU_ASSERT_EQUAL(log_db_begin(db), OK);
    CU_ASSERT_EQUAL(log_db_trim(db, 0, 1000, 1000, &more), OK); /* beyond the end: to the end */
    CU_ASSERT_FALSE(more);
    CU_ASSERT_EQUAL(log_db_commit(db), OK);
    CU_ASSERT_EQUAL(test_persist(db, 3, 2, 0, 0, test_entries(61, 61, 2, 20)), OK);
    log_db_close(&db);

    kv.applied_index = 60;
    db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv, &found), OK);
    CU_ASSERT_FALSE(found.damaged);
    CU_ASSERT_EQUAL(found.trimmed_index, 60);
    CU_ASSERT_EQUAL(found.last_log_index, 61);
    log_recovered_free(&found);
    log_db_close(&db);

    /* A KV table older than the log's start cannot be brought up from this log. */
    kv.applied_index = 59;
    db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL(log_db_recover(db, 0, &kv, &found), ERR_CORRUPT);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* Pages that become free are not written once more (docs/decisions/0022): each of these entries has a page. */
static void trim_writes_little(void)
{
    char folder[TEST_PATH_MAX];
    test_folder_make(folder);
    struct log_db *db = open_ready(folder);
    CU_ASSERT_EQUAL(test_persist(db, 1, 1, 0, 0, test_entries(1, 200, 1, 3000)), OK);
    struct db_figures before;
    struct db_figures after;
    log_db_figures(db, &before);
    CU_ASSERT_TRUE(before.wal_bytes > (uint64_t)200 * 4096);
    bool more = false;
    CU_ASSERT_EQUAL(log_db_begin(db), OK);
    CU_ASSERT_EQUAL(log_db_trim(db, 0, 150, 1000, &more), OK);
    CU_ASSERT_FALSE(more);
    CU_ASSERT_EQUAL(log_db_commit(db), OK);
    log_db_figures(db, &after);
    CU_ASSERT_TRUE(after.wal_bytes - before.wal_bytes < (uint64_t)20 * 4096);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* Truncating may cut everything the table holds, and what follows may come in the same persist. */
static void truncate_to_the_start(void)
{
    char folder[TEST_PATH_MAX];
    test_folder_make(folder);
    struct log_db *db = open_ready(folder);
    CU_ASSERT_EQUAL(test_persist(db, 1, 1, 0, 0, test_entries(1, 3, 1, 20)), OK);
    CU_ASSERT_EQUAL(test_persist(db, 2, 2, 0, 1, NULL), OK);
    CU_ASSERT_EQUAL(test_persist(db, 3, 4, 9, 1, test_entries(1, 1, 4, 20)), OK);
    CU_ASSERT_EQUAL(test_persist(db, 4, 4, 9, 7, NULL), OK); /* nothing there to cut */
    log_db_close(&db);
    struct log_recovered found;
    db = open_and_recover(folder, &found);
    CU_ASSERT_FALSE(found.damaged);
    CU_ASSERT_EQUAL(found.last_log_index, 1);
    CU_ASSERT_EQUAL(found.last_log_term, 4);
    CU_ASSERT_EQUAL(found.current_term, 4);
    CU_ASSERT_EQUAL(found.voted_for, 9);
    log_recovered_free(&found);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* Groups share the file and a commit, nothing else (docs/decisions/0012; trap 55: none waits for another). */
static void groups_apart(void)
{
    char folder[TEST_PATH_MAX];
    test_folder_make(folder);
    struct log_db *db = open_ready(folder);
    struct log_recovered found;
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 7, &kv_empty, &found), OK);
    log_recovered_free(&found);
    struct entries *zero = test_entries(1, 4, 1, 30);
    struct entries *seven = test_entries(1, 9, 5, 30);
    struct raft_persist in_zero = {
        .sequence = 1, .current_term = 1, .voted_for = 3, .entries = zero};
    struct raft_persist in_seven = {
        .sequence = 11, .current_term = 5, .voted_for = 4, .entries = seven};
    CU_ASSERT_EQUAL(log_db_begin(db), OK);
    CU_ASSERT_EQUAL(log_db_persist(db, 0, &in_zero), OK);
    CU_ASSERT_EQUAL(log_db_persist(db, 7, &in_seven), OK);
    CU_ASSERT_EQUAL(log_db_commit(db), OK);
    entries_free(&zero);
    entries_free(&seven);
    log_db_close(&db);

    db = open_and_recover(folder, &found);
    CU_ASSERT_EQUAL(found.last_log_index, 4);
    CU_ASSERT_EQUAL(found.current_term, 1);
    CU_ASSERT_EQUAL(found.voted_for, 3);
    CU_ASSERT_FALSE(found.damaged);
    log_recovered_free(&found);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 7, &kv_empty, &found), OK);
    CU_ASSERT_EQUAL(found.last_log_index, 9);
    CU_ASSERT_EQUAL(found.current_term, 5);
    CU_ASSERT_EQUAL(found.persist_sequence, 11);
    CU_ASSERT_FALSE(found.damaged);
    log_recovered_free(&found);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* ---- configuration ----------------------------------------------------------------------------- */

static void set_members(struct configuration *c, uint64_t count)
{
    memset(c, 0, sizeof(*c));
    c->cluster_id = 99;
    for (uint64_t i = 1; i <= count; i++) {
        struct member *m = &c->members[c->count++];
        m->id = i;
        (void)snprintf(m->name, sizeof(m->name), "n%" PRIu64, i);
        (void)snprintf(m->peer, sizeof(m->peer), "h%" PRIu64 ":2380", i);
        (void)snprintf(m->client, sizeof(m->client), "h%" PRIu64 ":2379", i);
        m->voter_incoming = true;
        m->voter_outgoing = true;
    }
}

static struct entries *config_entry(uint64_t index, uint64_t term, uint64_t member_count)
{
    struct configuration c;
    struct buffer encoded = {0};
    set_members(&c, member_count);
    configuration_encode(&c, &encoded);
    struct entries *block = entries_create(1, encoded.size);
    struct entry e = {.index = index,
                      .term = term,
                      .type = ENTRY_CONFIG,
                      .data = view_of(encoded.data, encoded.size)};
    entries_add(block, &e);
    buffer_free(&encoded);
    return block;
}

/* The newest CONFIG entry counts; one that is truncated away counts no more (trap 38); one that was
 * trimmed away is known from the KV table. */
static void configuration_found(void)
{
    char folder[TEST_PATH_MAX];
    test_folder_make(folder);
    struct log_db *db = open_ready(folder);
    CU_ASSERT_EQUAL(test_persist(db, 1, 1, 0, 0, config_entry(1, 1, 3)), OK);
    CU_ASSERT_EQUAL(test_persist(db, 2, 1, 0, 0, test_entries(2, 5, 1, 10)), OK);
    CU_ASSERT_EQUAL(test_persist(db, 3, 1, 0, 0, config_entry(6, 1, 5)), OK);
    log_db_close(&db);

    struct log_recovered found;
    db = open_and_recover(folder, &found);
    CU_ASSERT_EQUAL(found.configuration_index, 6);
    CU_ASSERT_EQUAL(found.configuration.count, 5);
    log_recovered_free(&found);
    CU_ASSERT_EQUAL(test_persist(db, 4, 2, 0, 6, NULL), OK);
    log_db_close(&db);

    db = open_and_recover(folder, &found);
    CU_ASSERT_EQUAL(found.configuration_index, 1);
    CU_ASSERT_EQUAL(found.configuration.count, 3);
    CU_ASSERT_STRING_EQUAL(found.configuration.members[2].name, "n3");
    log_recovered_free(&found);
    bool more = false;
    CU_ASSERT_EQUAL(log_db_begin(db), OK);
    CU_ASSERT_EQUAL(log_db_trim(db, 0, 3, 100, &more), OK);
    CU_ASSERT_EQUAL(log_db_commit(db), OK);
    log_db_close(&db);

    struct kv_meta kv = {.applied_index = 4, .applied_term = 1, .revision = 2};
    set_members(&kv.configuration, 4);
    db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv, &found), OK);
    CU_ASSERT_FALSE(found.damaged);
    CU_ASSERT_EQUAL(found.configuration_index, 4);
    CU_ASSERT_EQUAL(found.configuration.count, 4);
    log_recovered_free(&found);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* ---- what is refused --------------------------------------------------------------------------- */

static enum err open_as(const char *folder, const char *cluster, const char *node, char *problem)
{
    struct log_db *db = NULL;
    enum err error = log_db_open(folder, cluster, node, 1, &db, problem, TEST_PROBLEM_MAX);
    log_db_close(&db);
    return error;
}

/* Another node's or cluster's file is refused with a sentence that says what to do. */
static void other_identity_refused(void)
{
    char folder[TEST_PATH_MAX];
    char problem[TEST_PROBLEM_MAX];
    test_folder_make(folder);
    struct log_db *db = open_ready(folder);
    log_db_close(&db);
    CU_ASSERT_EQUAL(open_as(folder, "demo", "n2", problem), ERR_IDENTITY);
    CU_ASSERT_PTR_NOT_NULL(strstr(problem, "belongs to node \"n1\" of cluster \"demo\""));
    CU_ASSERT_EQUAL(open_as(folder, "other", "n1", problem), ERR_IDENTITY);
    CU_ASSERT_EQUAL(open_as(folder, "demo", "n1", problem), OK);
    /* A refused start is no start. */
    struct node_identity identity;
    db = open_ready(folder);
    log_db_identity(db, &identity);
    CU_ASSERT_EQUAL(identity.boot_number, 3);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* A newer format, a newer mark, a snapshot-installed table, a file of something else. */
static void other_formats_refused(void)
{
    char folder[TEST_PATH_MAX];
    char path[TEST_PATH_MAX + 32];
    char problem[TEST_PROBLEM_MAX];
    test_folder_make(folder);
    (void)snprintf(path, sizeof(path), "%s/raft.db", folder);
    struct log_db *db = open_ready(folder);
    log_db_close(&db);

    CU_ASSERT_TRUE(test_sqlite3("", path, "PRAGMA user_version=3", NULL, 0));
    CU_ASSERT_EQUAL(open_as(folder, "demo", "n1", problem), ERR_NEWER_FORMAT);
    CU_ASSERT_PTR_NOT_NULL(strstr(problem, "has format 3"));
    CU_ASSERT_TRUE(test_sqlite3("", path, "PRAGMA user_version=2", NULL, 0));
    CU_ASSERT_EQUAL(open_as(folder, "demo", "n1", problem), OK);

    CU_ASSERT_TRUE(test_sqlite3("", path, "PRAGMA application_id=5", NULL, 0));
    CU_ASSERT_EQUAL(open_as(folder, "demo", "n1", problem), ERR_CORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(problem, "not a holdfast file"));

    test_file_write(folder, "raft.db",
                    view_of_text("this is no database, but it is long enough "
                                 "to look like a file with something in it"));
    CU_ASSERT_EQUAL(open_as(folder, "demo", "n1", problem), ERR_CORRUPT);
    CU_ASSERT_NOT_EQUAL(problem[0], '\0');
    test_folder_remove(folder);

    CU_ASSERT_EQUAL(open_as("/nonexistent/folder", "demo", "n1", problem), ERR_IO);
    CU_ASSERT_NOT_EQUAL(problem[0], '\0');
}

/* A person who holds the write lock makes a stall, not an error: nothing is begun, and it goes on
 * once they let go. */
static void busy_writer_is_a_stall(void)
{
    char folder[TEST_PATH_MAX];
    char path[TEST_PATH_MAX + 32];
    test_folder_make(folder);
    (void)snprintf(path, sizeof(path), "%s/raft.db", folder);
    struct log_db *db = open_ready(folder);
    CU_ASSERT_EQUAL(test_persist(db, 1, 1, 0, 0, test_entries(1, 1, 1, 20)), OK);

    struct test_person person;
    test_person_start(&person, "", path);
    CU_ASSERT_TRUE(test_person_say(&person, "BEGIN IMMEDIATE;"));
    CU_ASSERT_EQUAL(log_db_begin(db), ERR_BUSY_FILE);
    CU_ASSERT_EQUAL(log_db_begin(db), ERR_BUSY_FILE);
    struct entries *block = NULL;
    CU_ASSERT_EQUAL(log_db_read(db, 0, 1, 1, 100, &block), OK);
    entries_free(&block);
    CU_ASSERT_TRUE(test_person_say(&person, "ROLLBACK;"));
    CU_ASSERT_TRUE(test_person_quit(&person));
    CU_ASSERT_EQUAL(test_persist(db, 2, 1, 0, 0, test_entries(2, 2, 1, 20)), OK);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* Somebody else's committed write is found before anything is written on top of it. */
static void foreign_write_stops(void)
{
    char folder[TEST_PATH_MAX];
    char path[TEST_PATH_MAX + 32];
    test_folder_make(folder);
    (void)snprintf(path, sizeof(path), "%s/raft.db", folder);
    struct log_db *db = open_ready(folder);
    CU_ASSERT_EQUAL(test_persist(db, 1, 1, 0, 0, test_entries(1, 1, 1, 20)), OK);
    CU_ASSERT_TRUE(test_sqlite3("", path, "UPDATE hard_state SET current_term=9", NULL, 0));
    CU_ASSERT_EQUAL(log_db_begin(db), ERR_FOREIGN_WRITE);
    CU_ASSERT_EQUAL(log_db_begin(db), ERR_IO);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* ---- for people -------------------------------------------------------------------------------- */

/* What docs/inspect.md promises: the views read without knowing Raft, from another process, while the
 * node runs. */
static void views_for_people(void)
{
    char folder[TEST_PATH_MAX];
    char path[TEST_PATH_MAX + 32];
    char line[512];
    test_folder_make(folder);
    (void)snprintf(path, sizeof(path), "%s/raft.db", folder);
    struct log_db *db = open_ready(folder);
    struct command put = {
        .op = COMMAND_PUT, .key = view_of_text("app/colour"), .value = view_of_text("blue")};
    uint8_t encoded[128];
    size_t size = command_size(&put);
    CU_ASSERT_FATAL(size <= sizeof(encoded));
    command_encode(&put, encoded);
    struct entries *block = entries_create(2, size);
    struct entry e = {.index = 1, .term = 1, .type = ENTRY_NOOP};
    entries_add(block, &e);
    e = (struct entry){.index = 2,
                       .term = 1,
                       .type = ENTRY_COMMAND,
                       .origin = UINT64_MAX,
                       .data = view_of(encoded, size)};
    entries_add(block, &e);
    log_db_observe(db, 0, UINT64_C(0x8000000000000001), 2);
    CU_ASSERT_EQUAL(test_persist(db, 1, 1, 5, 0, block), OK);

    CU_ASSERT_TRUE(test_sqlite3("-readonly", path,
                                "SELECT idx, term, type, op, key, origin_hex FROM log_readable "
                                "WHERE idx = 2",
                                line, sizeof(line)));
    CU_ASSERT_STRING_EQUAL(line, "2|1|command|put|app/colour|ffffffffffffffff");
    CU_ASSERT_TRUE(test_sqlite3("-readonly", path,
                                "SELECT type, op, key FROM log_readable WHERE idx = 1", line,
                                sizeof(line)));
    CU_ASSERT_STRING_EQUAL(line, "noop||");
    CU_ASSERT_TRUE(test_sqlite3("-readonly", path,
                                "SELECT cluster, name, current_term, voted_for_hex, leader_id_hex, "
                                "first_index, last_log_index, commit_index, may_vote FROM status",
                                line, sizeof(line)));
    CU_ASSERT_STRING_EQUAL(line, "demo|n1|1|0000000000000005|8000000000000001|1|2|2|yes");
    CU_ASSERT_EQUAL(test_persist(db, 2, 1, 5, 0, test_entries(3, 3, 1, 20)), OK);
    log_db_close(&db);
    test_folder_remove(folder);
}

static void figures_count(void)
{
    char folder[TEST_PATH_MAX];
    test_folder_make(folder);
    struct log_db *db = open_ready(folder);
    struct db_figures before;
    struct db_figures after;
    log_db_figures(db, &before);
    CU_ASSERT_EQUAL(test_persist(db, 1, 1, 0, 0, test_entries(1, 1000, 1, 256)), OK);
    log_db_figures(db, &after);
    CU_ASSERT_EQUAL(after.commits, before.commits + 1);
    CU_ASSERT_TRUE(after.used_bytes > before.used_bytes + 1000 * 256);
    CU_ASSERT_TRUE(after.wal_bytes > 1000 * 256);
    CU_ASSERT_TRUE(after.file_bytes >= after.used_bytes);
    CU_ASSERT_TRUE(after.longest_commit_us >= after.last_commit_us);
    log_db_close(&db);
    test_folder_remove(folder);
}

static enum err reset(struct log_db *db, uint64_t sequence, uint64_t index, uint64_t term,
                      uint64_t truncate_from, struct entries *entries)
{
    struct raft_persist persist = {.sequence = sequence,
                                   .current_term = 9,
                                   .reset_index = index,
                                   .reset_term = term,
                                   .truncate_from = truncate_from,
                                   .entries = entries};
    enum err error = log_db_begin(db);
    error = error == OK ? log_db_persist(db, 0, &persist) : error;
    error = error == OK ? log_db_set_generation(db, 0, sequence) : error;
    error = error == OK ? log_db_commit(db) : error;
    entries_free(&persist.entries);
    return error;
}

/* Start, end and generation as a table that was applied up to the start finds them. */
static void check_anew(const char *folder, uint64_t start, uint64_t start_term, uint64_t last,
                       uint64_t last_term, uint64_t generation)
{
    struct log_recovered found;
    struct kv_meta kv = {.applied_index = start,
                         .applied_term = start_term,
                         .generation = generation,
                         .revision = 1};
    struct log_db *db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    uint64_t got = 0;
    CU_ASSERT_EQUAL(log_db_generation(db, 0, &got), OK);
    CU_ASSERT_EQUAL(got, generation);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv, &found), OK);
    CU_ASSERT_FALSE(found.damaged);
    CU_ASSERT_EQUAL(found.trimmed_index, start);
    CU_ASSERT_EQUAL(found.trimmed_term, start_term);
    CU_ASSERT_EQUAL(found.last_log_index, last);
    CU_ASSERT_EQUAL(found.last_log_term, last_term);
    log_recovered_free(&found);
    log_db_close(&db);
}

/* Traps 46, 47: behind a snapshot the log has a new start; what follows it stays if it was not cut. */
static void a_log_begins_anew_behind_a_snapshot(void)
{
    static const struct {
        uint64_t index, term, truncate_from, last, last_term;
    } cases[] = {
        {20, 5, 0, 20, 5},  /* beyond the end */
        {10, 1, 0, 10, 1},  /* the very end */
        {10, 4, 0, 10, 4},  /* the end, of another term */
        {6, 1, 0, 10, 1},   /* a suffix that agrees */
        {6, 4, 7, 6, 4},    /* one that does not */
        {20, 5, 21, 20, 5}, /* a cut behind the end is none */
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char folder[TEST_PATH_MAX];
        test_folder_make(folder);
        struct log_db *db = open_ready(folder);
        CU_ASSERT_EQUAL(test_persist(db, 1, 1, 0, 0, test_entries(1, 10, 1, 100)), OK);
        CU_ASSERT_EQUAL(reset(db, 2, cases[i].index, cases[i].term, cases[i].truncate_from, NULL),
                        OK);
        struct entries *block = NULL;
        CU_ASSERT_EQUAL(log_db_read(db, 0, cases[i].index, 100, 1000, &block), ERR_NOT_FOUND);
        log_db_close(&db);
        check_anew(folder, cases[i].index, cases[i].term, cases[i].last, cases[i].last_term, 2);
        test_folder_remove(folder);
    }
}

/* With entries in the same persist, and again later. */
static void a_log_goes_on_behind_a_snapshot(void)
{
    char folder[TEST_PATH_MAX];
    test_folder_make(folder);
    struct log_db *db = open_ready(folder);
    CU_ASSERT_EQUAL(test_persist(db, 1, 1, 0, 0, test_entries(1, 10, 1, 100)), OK);
    CU_ASSERT_EQUAL(reset(db, 2, 20, 5, 0, test_entries(21, 25, 6, 10)), OK);
    CU_ASSERT_EQUAL(reset(db, 3, 23, 6, 0, NULL), OK);
    log_db_close(&db);
    check_anew(folder, 23, 6, 25, 6, 3);
    test_folder_remove(folder);
}

SUITE("store: log_db", TEST(round_trip), TEST(read_limits), TEST(payload_sizes),
      TEST(trim_in_slices), TEST(trim_writes_little), TEST(truncate_to_the_start),
      TEST(groups_apart), TEST(configuration_found), TEST(other_identity_refused),
      TEST(other_formats_refused), TEST(busy_writer_is_a_stall), TEST(foreign_write_stops),
      TEST(views_for_people), TEST(figures_count), TEST(a_log_begins_anew_behind_a_snapshot),
      TEST(a_log_goes_on_behind_a_snapshot))
