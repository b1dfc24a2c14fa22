/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KV table on disk: what the writer commits the reader sees and the next start finds, all of a batch
 * or none of it; who else wrote is found; each disk error is told. Real files. Traps 18, 19, 44, 59.
 */
#include "store_test.h"

#include "fault_vfs.h"

static struct kv_writer *writer_open(const char *folder, struct kv_meta *meta)
{
    char problem[TEST_PROBLEM_MAX] = "";
    struct kv_writer *w = NULL;
    enum err error = kv_writer_open(folder, 0, 0, &w, meta, problem, sizeof(problem));
    if (error != OK) {
        (void)fprintf(stderr, "kv_writer_open: %s: %s\n", err_text(error), problem);
        return NULL;
    }
    return w;
}

static struct kv_reader *reader_open(const char *folder)
{
    char problem[TEST_PROBLEM_MAX] = "";
    struct kv_reader *r = NULL;
    enum err error = kv_reader_open(folder, 0, 0, &r, problem, sizeof(problem));
    if (error != OK) {
        (void)fprintf(stderr, "kv_reader_open: %s: %s\n", err_text(error), problem);
        return NULL;
    }
    return r;
}

static void kv_file_path(const char *folder, char out[2 * TEST_PATH_MAX])
{
    (void)snprintf(out, 2 * TEST_PATH_MAX, "%.500s/group-0/kv.db", folder);
}

/* A batch that puts keys "k<first>".."k<last>" (zero-filled, so in order) in revision `revision`. */
static struct kv_batch *puts_batch(uint64_t first, uint64_t last, int64_t revision,
                                   size_t value_size)
{
    struct kv_batch *b = mem_zalloc(sizeof(*b));
    uint8_t *value = mem_alloc(value_size);
    b->number = (uint64_t)revision;
    b->applied_index = (uint64_t)revision;
    b->applied_term = 3;
    b->revision = revision;
    for (uint64_t i = first; i <= last; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%08" PRIu64, i);
        memset(value, (int)('a' + (uint64_t)revision % 26), value_size);
        const struct kv_history row = {.change = change_id(revision, (uint32_t)(i - first)),
                                       .key = view_of_text(key),
                                       .value = view_of(value, value_size),
                                       .create_revision = 2,
                                       .version = revision - 1,
                                       .lease = -5,
                                       .previous_change = change_id(revision - 1, 0),
                                       .jump_change = 77};
        kv_batch_add_history(b, &row);
    }
    for (uint64_t i = first; i <= last; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%08" PRIu64, i);
        const struct kv_current row = {.key = view_of_text(key),
                                       .change = change_id(revision, (uint32_t)(i - first)),
                                       .create_revision = 2,
                                       .version = revision - 1,
                                       .lease = -5,
                                       .depth = (uint64_t)revision - 1};
        kv_batch_add_current(b, &row);
    }
    mem_free(value);
    return b;
}

static enum err write_puts(struct kv_writer *w, uint64_t first, uint64_t last, int64_t revision,
                           size_t value_size)
{
    struct kv_batch *b = puts_batch(first, last, revision, value_size);
    enum err error = kv_writer_write(w, b);
    kv_batch_free(&b);
    return error;
}

/* Written, read back by the other connection, found by the next start. */
static void round_trip(void)
{
    char folder[TEST_PATH_MAX];
    struct kv_meta meta;
    test_folder_make(folder);
    struct kv_writer *w = writer_open(folder, &meta);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    CU_ASSERT_EQUAL(meta.applied_index, 0);
    CU_ASSERT_EQUAL(meta.revision, 1);
    CU_ASSERT_EQUAL(meta.compact_revision, 0);
    CU_ASSERT_EQUAL(meta.configuration.count, 0);
    struct kv_reader *r = reader_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r);
    struct kv_current current;
    struct kv_history history;
    CU_ASSERT_EQUAL(kv_reader_current(r, view_of_text("k00000003"), &current), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(kv_reader_history(r, change_id(2, 0), &history), ERR_NOT_FOUND);

    CU_ASSERT_EQUAL(write_puts(w, 1, 9, 2, 40), OK);
    CU_ASSERT_EQUAL(write_puts(w, 3, 4, 3, 0), OK);
    /* one burst, one snapshot: the batches came after its first read */
    CU_ASSERT_EQUAL(kv_reader_current(r, view_of_text("k00000003"), &current), ERR_NOT_FOUND);
    kv_reader_release(r);
    CU_ASSERT_EQUAL_FATAL(kv_reader_current(r, view_of_text("k00000003"), &current), OK);
    CU_ASSERT_TRUE(view_equal(current.key, view_of_text("k00000003")));
    CU_ASSERT_EQUAL(current.change, change_id(3, 0));
    CU_ASSERT_EQUAL(current.create_revision, 2);
    CU_ASSERT_EQUAL(current.version, 2);
    CU_ASSERT_EQUAL(current.lease, -5);
    CU_ASSERT_EQUAL(current.depth, 2);
    CU_ASSERT_FALSE(current.deleted);
    CU_ASSERT_EQUAL_FATAL(kv_reader_history(r, change_id(2, 2), &history), OK);
    CU_ASSERT_TRUE(view_equal(history.key, view_of_text("k00000003")));
    CU_ASSERT_EQUAL(history.value.size, 40);
    CU_ASSERT_EQUAL(history.value.data[39], 'c');
    CU_ASSERT_EQUAL(history.create_revision, 2);
    CU_ASSERT_EQUAL(history.version, 1);
    CU_ASSERT_EQUAL(history.lease, -5);
    CU_ASSERT_EQUAL(history.previous_change, change_id(1, 0));
    CU_ASSERT_EQUAL(history.jump_change, 77);
    CU_ASSERT_FALSE(history.deleted);
    CU_ASSERT_EQUAL_FATAL(kv_reader_history(r, change_id(3, 1), &history), OK);
    CU_ASSERT_EQUAL(history.value.size, 0);
    CU_ASSERT_TRUE(view_equal(history.key, view_of_text("k00000004")));

    kv_reader_close(&r);
    kv_writer_close(&w);
    w = writer_open(folder, &meta);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    CU_ASSERT_EQUAL(meta.applied_index, 3);
    CU_ASSERT_EQUAL(meta.applied_term, 3);
    CU_ASSERT_EQUAL(meta.revision, 3);
    kv_writer_close(&w);
    test_folder_remove(folder);
}

/* Deletions stay as tombstones with their place in history; keys and values are any octets. */
static void tombstones_and_octets(void)
{
    char folder[TEST_PATH_MAX];
    struct kv_meta meta;
    test_folder_make(folder);
    struct kv_writer *w = writer_open(folder, &meta);
    struct kv_reader *r = reader_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r);
    static const uint8_t octets[] = {0, 255, 0, 'a', 128};
    const struct view key = view_of(octets, sizeof(octets));
    struct kv_batch *b = mem_zalloc(sizeof(*b));
    b->applied_index = 1;
    b->applied_term = 1;
    b->revision = 3;
    const struct kv_history put = {.change = change_id(2, CHANGE_SUB_MAX),
                                   .key = key,
                                   .value = key,
                                   .create_revision = 2,
                                   .version = 1};
    const struct kv_history deletion = {.change = change_id(3, 0),
                                        .key = key,
                                        .deleted = true,
                                        .previous_change = change_id(2, CHANGE_SUB_MAX)};
    const struct kv_current tombstone = {
        .key = key, .change = change_id(3, 0), .depth = 2, .deleted = true};
    kv_batch_add_history(b, &put);
    kv_batch_add_history(b, &deletion);
    kv_batch_add_current(b, &tombstone);
    CU_ASSERT_EQUAL(kv_writer_write(w, b), OK);
    kv_batch_free(&b);

    struct kv_current current;
    struct kv_history history;
    CU_ASSERT_EQUAL_FATAL(kv_reader_current(r, key, &current), OK);
    CU_ASSERT_TRUE(current.deleted);
    CU_ASSERT_EQUAL(current.version, 0);
    CU_ASSERT_EQUAL_FATAL(kv_reader_history(r, change_id(3, 0), &history), OK);
    CU_ASSERT_TRUE(history.deleted);
    CU_ASSERT_EQUAL(history.value.size, 0);
    CU_ASSERT_EQUAL_FATAL(kv_reader_history(r, history.previous_change, &history), OK);
    CU_ASSERT_EQUAL(change_revision(history.change), 2);
    CU_ASSERT_TRUE(view_equal(history.value, key));
    CU_ASSERT_TRUE(view_equal(history.key, key));
    kv_reader_close(&r);
    kv_writer_close(&w);
    test_folder_remove(folder);
}

/* In key order from the start key on, at one snapshot: what is committed meanwhile does not show;
 * point reads of history may come between. */
static void scan_in_order(void)
{
    char folder[TEST_PATH_MAX];
    struct kv_meta meta;
    test_folder_make(folder);
    struct kv_writer *w = writer_open(folder, &meta);
    struct kv_reader *r = reader_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r);
    CU_ASSERT_EQUAL(write_puts(w, 10, 50, 2, 10), OK);

    char start[] = "k00000020";
    CU_ASSERT_EQUAL(kv_reader_scan_start(r, view_of_text(start)), OK);
    memset(start, 'z', sizeof(start) - 1); /* the start key is not borrowed beyond the call */
    struct kv_current row;
    struct kv_history history;
    uint64_t expected = 20;
    enum err error = kv_reader_scan_next(r, &row);
    CU_ASSERT_EQUAL(write_puts(w, 51, 60, 3, 10), OK);
    while (error == OK) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%08" PRIu64, expected++);
        CU_ASSERT_TRUE(view_equal(row.key, view_of_text(key)));
        CU_ASSERT_EQUAL(kv_reader_history(r, row.change, &history), OK);
        CU_ASSERT_TRUE(view_equal(history.key, view_of_text(key)));
        error = kv_reader_scan_next(r, &row);
    }
    CU_ASSERT_EQUAL(error, ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(expected, 51);
    kv_reader_scan_end(r);
    kv_reader_release(r);

    CU_ASSERT_EQUAL(kv_reader_scan_start(r, view_of(NULL, 0)), OK);
    size_t count = 0;
    while (kv_reader_scan_next(r, &row) == OK) {
        count++;
    }
    kv_reader_scan_end(r);
    CU_ASSERT_EQUAL(count, 51);
    uint64_t file_bytes = 0;
    uint64_t used_bytes = 0;
    kv_reader_sizes(r, &file_bytes, &used_bytes);
    CU_ASSERT_TRUE(file_bytes >= used_bytes);
    CU_ASSERT_TRUE(used_bytes > 0);
    kv_reader_close(&r);
    kv_writer_close(&w);
    test_folder_remove(folder);
}

/* Members are written with the batch that applied them, in its transaction (trap 44). */
static void members_kept(void)
{
    char folder[TEST_PATH_MAX];
    struct kv_meta meta;
    test_folder_make(folder);
    struct kv_writer *w = writer_open(folder, &meta);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    for (int round = 0; round < 2; round++) {
        struct kv_batch *b = puts_batch(1, 1, 2 + round, 5);
        b->members = mem_zalloc(sizeof(*b->members));
        b->members->cluster_id = UINT64_C(0xf000000000000001);
        b->members->removed[0] = 7;
        b->members->removed[1] = UINT64_MAX;
        b->members->removed_count = 2;
        b->members->wish = (struct cluster_wish){.voters = 5, .heal_after_s = 7, .paused = true};
        b->members->declared_count = 1;
        b->members->declared[0] =
            (struct declared_member){.id = UINT64_MAX - 9, .peer = "new:1", .learner = true};
        for (uint64_t i = 0; i < (round == 0 ? 5 : 3); i++) {
            struct member *m = &b->members->members[b->members->count++];
            m->id = UINT64_MAX - i;
            (void)snprintf(m->name, sizeof(m->name), "node-%" PRIu64, i);
            (void)snprintf(m->peer, sizeof(m->peer), "host%" PRIu64 ":2380", i);
            (void)snprintf(m->client, sizeof(m->client), "host%" PRIu64 ":2379", i);
            m->voter_incoming = i < 2;
            m->voter_outgoing = i < 1;
            m->leaving = i == 2;
        }
        CU_ASSERT_EQUAL(kv_writer_write(w, b), OK);
        kv_batch_free(&b);
    }
    CU_ASSERT_EQUAL(write_puts(w, 2, 2, 4, 5), OK); /* a batch without members leaves them */
    kv_writer_close(&w);
    w = writer_open(folder, &meta);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    CU_ASSERT_EQUAL(meta.configuration.cluster_id, UINT64_C(0xf000000000000001));
    CU_ASSERT_EQUAL_FATAL(meta.configuration.count, 3);
    CU_ASSERT_EQUAL(meta.configuration.members[2].id, UINT64_MAX - 2);
    CU_ASSERT_STRING_EQUAL(meta.configuration.members[1].name, "node-1");
    CU_ASSERT_STRING_EQUAL(meta.configuration.members[1].peer, "host1:2380");
    CU_ASSERT_STRING_EQUAL(meta.configuration.members[1].client, "host1:2379");
    CU_ASSERT_TRUE(meta.configuration.members[1].voter_incoming);
    CU_ASSERT_FALSE(meta.configuration.members[1].voter_outgoing);
    CU_ASSERT_FALSE(meta.configuration.members[1].leaving);
    CU_ASSERT_TRUE(meta.configuration.members[2].leaving);
    CU_ASSERT_EQUAL(meta.configuration.wish.voters, 5);
    CU_ASSERT_EQUAL(meta.configuration.wish.heal_after_s, 7);
    CU_ASSERT_TRUE(meta.configuration.wish.paused);
    CU_ASSERT_EQUAL(meta.configuration.declared_count, 1);
    CU_ASSERT_EQUAL(meta.configuration.declared[0].id, UINT64_MAX - 9);
    CU_ASSERT_STRING_EQUAL(meta.configuration.declared[0].peer, "new:1");
    CU_ASSERT_TRUE(meta.configuration.declared[0].learner);
    CU_ASSERT_EQUAL(meta.configuration.removed_count, 2);
    CU_ASSERT_EQUAL(meta.configuration.removed[0], 7);
    CU_ASSERT_EQUAL(meta.configuration.removed[1], UINT64_MAX);
    kv_writer_close(&w);
    test_folder_remove(folder);
}

/* ---- other people ------------------------------------------------------------------------------ */

static void views_for_people(void)
{
    char folder[TEST_PATH_MAX];
    char path[2 * TEST_PATH_MAX];
    char line[512];
    struct kv_meta meta;
    test_folder_make(folder);
    kv_file_path(folder, path);
    struct kv_writer *w = writer_open(folder, &meta);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    struct kv_batch *b = mem_zalloc(sizeof(*b));
    b->applied_index = 12;
    b->applied_term = 2;
    b->revision = 4;
    b->members = mem_zalloc(sizeof(*b->members));
    b->members->cluster_id = 1;
    b->members->count = 1;
    (void)snprintf(b->members->members[0].name, sizeof(b->members->members[0].name), "n1");
    b->members->members[0].id = 255;
    b->members->members[0].voter_incoming = true;
    b->members->members[0].voter_outgoing = true;
    static const uint8_t raw[] = {'x', 0, 1};
    const struct kv_history rows[] = {
        {.change = change_id(2, 0),
         .key = view_of_text("colour"),
         .value = view_of_text("red"),
         .create_revision = 2,
         .version = 1},
        {.change = change_id(3, 0),
         .key = view_of_text("colour"),
         .value = view_of_text("grün"),
         .create_revision = 2,
         .version = 2,
         .previous_change = change_id(2, 0)},
        {.change = change_id(4, 0),
         .key = view_of_text("raw"),
         .value = view_of(raw, sizeof(raw)),
         .create_revision = 4,
         .version = 1},
        {.change = change_id(4, 1),
         .key = view_of_text("void"),
         .value = view_of(NULL, 0),
         .create_revision = 4,
         .version = 1,
         .lease = 16},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        kv_batch_add_history(b, &rows[i]);
    }
    for (size_t i = 1; i < ARRAY_COUNT(rows); i++) {
        const struct kv_current now = {.key = rows[i].key,
                                       .change = rows[i].change,
                                       .create_revision = rows[i].create_revision,
                                       .version = rows[i].version,
                                       .lease = rows[i].lease,
                                       .depth = 1};
        kv_batch_add_current(b, &now);
    }
    CU_ASSERT_EQUAL(kv_writer_write(w, b), OK);
    kv_batch_free(&b);

    CU_ASSERT_TRUE(test_sqlite3("-readonly", path, "SELECT * FROM kv_readable WHERE key='colour'",
                                line, sizeof(line)));
    CU_ASSERT_STRING_EQUAL(line, "colour|grün|2|3|2|0000000000000000");
    CU_ASSERT_TRUE(test_sqlite3("-readonly", path, "SELECT value FROM kv_readable WHERE key='raw'",
                                line, sizeof(line)));
    CU_ASSERT_STRING_EQUAL(line, "x'780001'");
    CU_ASSERT_TRUE(test_sqlite3("-readonly", path,
                                "SELECT value || '.', lease_hex FROM kv_readable WHERE key='void'",
                                line, sizeof(line)));
    CU_ASSERT_STRING_EQUAL(line, ".|0000000000000010");
    CU_ASSERT_TRUE(test_sqlite3("-readonly", path, "SELECT count(*) FROM history_readable", line,
                                sizeof(line)));
    CU_ASSERT_STRING_EQUAL(line, "4");
    CU_ASSERT_TRUE(
        test_sqlite3("-readonly", path, "SELECT * FROM members_readable", line, sizeof(line)));
    CU_ASSERT_STRING_EQUAL(line, "n1|00000000000000ff|||voter");
    CU_ASSERT_TRUE(test_sqlite3("-readonly", path, "SELECT * FROM status", line, sizeof(line)));
    CU_ASSERT_STRING_EQUAL(line, "0000000000000001|12|2|4|0|1");
    /* The key's history as docs/inspect.md asks for it, newest first. */
    CU_ASSERT_TRUE(test_sqlite3(
        "-readonly", path,
        "WITH RECURSIVE chain(change) AS (SELECT change FROM current WHERE key = CAST('colour' AS "
        "BLOB) UNION ALL SELECT h.previous_change FROM history h JOIN chain USING(change) WHERE "
        "h.previous_change <> 0) SELECT group_concat(revision || '=' || value, ' ') FROM "
        "(SELECT r.revision, r.value FROM chain JOIN history_readable r USING(change) "
        "ORDER BY revision DESC)",
        line, sizeof(line)));
    CU_ASSERT_STRING_EQUAL(line, "3=grün 2=red");
    kv_writer_close(&w);
    test_folder_remove(folder);
}

/* Somebody else's write is found before a batch is laid over it. */
static void foreign_write_stops(void)
{
    char folder[TEST_PATH_MAX];
    char path[2 * TEST_PATH_MAX];
    struct kv_meta meta;
    test_folder_make(folder);
    kv_file_path(folder, path);
    struct kv_writer *w = writer_open(folder, &meta);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    CU_ASSERT_EQUAL(write_puts(w, 1, 5, 2, 10), OK);
    CU_ASSERT_EQUAL(kv_writer_maintain(w, true), OK);
    CU_ASSERT_EQUAL(write_puts(w, 1, 5, 3, 10), OK); /* own checkpoints are not foreign */
    CU_ASSERT_TRUE(test_sqlite3("", path, "DELETE FROM current", NULL, 0));
    CU_ASSERT_EQUAL(write_puts(w, 1, 5, 4, 10), ERR_FOREIGN_WRITE);
    CU_ASSERT_EQUAL(write_puts(w, 1, 5, 4, 10), ERR_IO);
    kv_writer_close(&w);
    test_folder_remove(folder);
}

/* A person who holds the write lock: nothing is written, the same batch goes in once they let go. */
static void busy_writer_is_a_stall(void)
{
    char folder[TEST_PATH_MAX];
    char path[2 * TEST_PATH_MAX];
    struct kv_meta meta;
    struct test_person person;
    test_folder_make(folder);
    kv_file_path(folder, path);
    struct kv_writer *w = writer_open(folder, &meta);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    CU_ASSERT_EQUAL(write_puts(w, 1, 5, 2, 10), OK);
    test_person_start(&person, "", path);
    CU_ASSERT_TRUE(test_person_say(&person, "BEGIN IMMEDIATE;"));
    struct kv_batch *b = puts_batch(1, 5, 3, 10);
    CU_ASSERT_EQUAL(kv_writer_write(w, b), ERR_BUSY_FILE);
    CU_ASSERT_EQUAL(kv_writer_write(w, b), ERR_BUSY_FILE);
    CU_ASSERT_EQUAL(kv_writer_maintain(w, true), OK);
    CU_ASSERT_TRUE(test_person_say(&person, "ROLLBACK;"));
    CU_ASSERT_EQUAL(kv_writer_write(w, b), OK);
    kv_batch_free(&b);
    CU_ASSERT_TRUE(test_person_quit(&person));
    kv_writer_close(&w);
    w = writer_open(folder, &meta);
    CU_ASSERT_EQUAL(meta.revision, 3);
    kv_writer_close(&w);
    test_folder_remove(folder);
}

static void other_formats_refused(void)
{
    char folder[TEST_PATH_MAX];
    char path[2 * TEST_PATH_MAX];
    char problem[TEST_PROBLEM_MAX];
    struct kv_meta meta;
    struct kv_writer *w = NULL;
    struct kv_reader *r = NULL;
    test_folder_make(folder);
    kv_file_path(folder, path);
    CU_ASSERT_EQUAL(kv_reader_open(folder, 0, 0, &r, problem, sizeof(problem)), ERR_IO);
    CU_ASSERT_NOT_EQUAL(problem[0], '\0');
    w = writer_open(folder, &meta);
    kv_writer_close(&w);
    CU_ASSERT_TRUE(test_sqlite3("", path, "PRAGMA user_version=7", NULL, 0));
    CU_ASSERT_EQUAL(kv_writer_open(folder, 0, 0, &w, &meta, problem, sizeof(problem)),
                    ERR_NEWER_FORMAT);
    CU_ASSERT_PTR_NOT_NULL(strstr(problem, "has format 7"));
    CU_ASSERT_EQUAL(kv_reader_open(folder, 0, 0, &r, problem, sizeof(problem)), ERR_NEWER_FORMAT);
    CU_ASSERT_TRUE(
        test_sqlite3("", path, "PRAGMA user_version=1; PRAGMA application_id=1", NULL, 0));
    CU_ASSERT_EQUAL(kv_writer_open(folder, 0, 0, &w, &meta, problem, sizeof(problem)), ERR_CORRUPT);
    CU_ASSERT_TRUE(
        test_sqlite3("", path, "PRAGMA application_id=1751542646; DELETE FROM meta", NULL, 0));
    CU_ASSERT_EQUAL(kv_writer_open(folder, 0, 0, &w, &meta, problem, sizeof(problem)), ERR_CORRUPT);
    CU_ASSERT_PTR_NULL(w);
    CU_ASSERT_PTR_NULL(r);
    test_folder_remove(folder);
    /* A file where the folder should be. */
    test_folder_make(folder);
    test_file_write(folder, "group-0", view_of_text("in the way"));
    CU_ASSERT_EQUAL(kv_writer_open(folder, 0, 0, &w, &meta, problem, sizeof(problem)), ERR_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(problem, "group-0"));
    test_folder_remove(folder);
}

/* Trap 58: no database is ever renamed over another; each generation has a name of its own. kv.db is a
 * link for people; a file of theirs in its place is left alone, an old link is replaced. */
static void link_for_people(void)
{
    char folder[TEST_PATH_MAX];
    char path[2 * TEST_PATH_MAX];
    char target[64] = "";
    struct kv_meta meta;
    test_folder_make(folder);
    kv_file_path(folder, path);
    struct kv_writer *w = writer_open(folder, &meta);
    kv_writer_close(&w);
    CU_ASSERT_TRUE(readlink(path, target, sizeof(target) - 1) > 0);
    CU_ASSERT_STRING_EQUAL(target, "kv-0.db");
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(symlink("kv-9.db", path), 0);
    w = writer_open(folder, &meta);
    kv_writer_close(&w);
    memset(target, 0, sizeof(target));
    CU_ASSERT_TRUE(readlink(path, target, sizeof(target) - 1) > 0);
    CU_ASSERT_STRING_EQUAL(target, "kv-0.db");
    CU_ASSERT_EQUAL(unlink(path), 0);
    test_file_write(folder, "group-0/kv.db", view_of_text("mine"));
    w = writer_open(folder, &meta);
    CU_ASSERT_PTR_NOT_NULL(w);
    kv_writer_close(&w);
    struct bytes mine;
    CU_ASSERT_TRUE_FATAL(test_file_read(folder, "group-0/kv.db", &mine));
    CU_ASSERT_EQUAL(mine.size, 4);
    bytes_free(&mine);
    test_folder_remove(folder);
}

/* ---- crashes and errors ------------------------------------------------------------------------ */

#define BATCHES 4

/* The members of batch i are i in number. */
static enum err write_with_members(struct kv_writer *w, uint64_t i)
{
    struct kv_batch *b = puts_batch(1, 100, (int64_t)i + 1, 100);
    b->members = mem_zalloc(sizeof(*b->members));
    b->members->cluster_id = 9;
    for (uint64_t k = 0; k < i; k++) {
        struct member *m = &b->members->members[b->members->count++];
        m->id = k + 1;
        (void)snprintf(m->name, sizeof(m->name), "n%" PRIu64, k);
    }
    enum err error = kv_writer_write(w, b);
    kv_batch_free(&b);
    return error;
}

/* Batches until the first error; the number of those that were acknowledged. */
static uint64_t write_batches(const char *folder, enum err *error, bool *opened)
{
    char problem[TEST_PROBLEM_MAX];
    struct kv_meta meta;
    struct kv_writer *w = NULL;
    uint64_t acked = 0;
    *error = kv_writer_open(folder, 0, 0, &w, &meta, problem, sizeof(problem));
    *opened = *error == OK;
    for (uint64_t i = 1; *error == OK && i <= BATCHES; i++) {
        *error = write_with_members(w, i);
        if (*error == ERR_DISK_FULL) { /* nothing was written: the same again */
            *error = write_with_members(w, i);
        }
        acked = *error == OK ? i : acked;
        if (*error == OK) {
            *error = kv_writer_maintain(w, i % 2 == 0);
            *error = *error == ERR_DISK_FULL ? OK : *error;
        }
    }
    if (*error != OK && *opened) {
        CU_ASSERT_EQUAL(write_puts(w, 1, 1, 99, 1), ERR_IO);
        CU_ASSERT_EQUAL(kv_writer_maintain(w, true), ERR_IO);
    }
    kv_writer_close(&w);
    return acked;
}

/* The file is at batch `from` or `to`, and all of it is (trap 18), the members too (trap 44). */
static void check_at_batch(const char *folder, uint64_t from, uint64_t to)
{
    struct kv_meta meta;
    struct kv_writer *w = writer_open(folder, &meta);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    uint64_t at = meta.applied_index == 0 ? 0 : meta.applied_index - 1;
    CU_ASSERT_TRUE(at >= from);
    CU_ASSERT_TRUE(at <= to);
    CU_ASSERT_EQUAL(meta.configuration.count, at);
    struct kv_reader *r = reader_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r);
    struct kv_current row;
    size_t count = 0;
    CU_ASSERT_EQUAL(kv_reader_scan_start(r, view_of(NULL, 0)), OK);
    while (kv_reader_scan_next(r, &row) == OK) {
        CU_ASSERT_EQUAL(change_revision(row.change), meta.revision);
        count++;
    }
    kv_reader_scan_end(r);
    CU_ASSERT_EQUAL(count, at == 0 ? 0 : 100);
    struct kv_history history;
    for (uint64_t i = 1; i <= BATCHES; i++) {
        enum err error = kv_reader_history(r, change_id((int64_t)i + 1, 99), &history);
        CU_ASSERT_EQUAL(error, i <= at ? OK : ERR_NOT_FOUND);
    }
    kv_reader_close(&r);
    kv_writer_close(&w);
}

/* Trap 18: killed between any two writes, applied_index and data are of the same batch. */
static void killed_between_any_two_writes(void)
{
    fault_vfs_install();
    bool struck = true;
    uint64_t nth = 0;
    while (struck) {
        char folder[TEST_PATH_MAX];
        enum err error;
        bool opened;
        test_folder_make(folder);
        nth++;
        fault_vfs_arm(FAULT_CHANGE, "", nth, SQLITE_IOERR, FAULT_DIE);
        uint64_t acked = write_batches(folder, &error, &opened);
        struck = fault_vfs_struck();
        fault_vfs_disarm();
        check_at_batch(folder, acked, acked < BATCHES ? acked + 1 : acked);
        test_folder_remove(folder);
    }
    CU_ASSERT_TRUE(nth > 40);
    fault_vfs_remove();
}

/* Each write, sync, open or read fails once: told, nothing goes on, nothing acknowledged is lost. */
static void each_error_is_told(void)
{
    static const struct {
        enum fault_call call;
        int code;
        enum err error;
    } cases[] = {
        {FAULT_SYNC, SQLITE_IOERR_FSYNC, ERR_IO},  {FAULT_WRITE, SQLITE_IOERR_WRITE, ERR_IO},
        {FAULT_WRITE, SQLITE_FULL, ERR_DISK_FULL}, {FAULT_OPEN, SQLITE_CANTOPEN, ERR_IO},
        {FAULT_READ, SQLITE_IOERR_READ, ERR_IO},
    };
    fault_vfs_install();
    for (size_t c = 0; c < ARRAY_COUNT(cases); c++) {
        bool struck = true;
        uint64_t told = 0;
        for (uint64_t nth = 1; struck; nth++) {
            char folder[TEST_PATH_MAX];
            enum err error;
            bool opened;
            test_folder_make(folder);
            fault_vfs_arm(cases[c].call, "", nth, cases[c].code, FAULT_ONCE);
            uint64_t acked = write_batches(folder, &error, &opened);
            struck = fault_vfs_struck();
            fault_vfs_disarm();
            told += error == cases[c].error;
            CU_ASSERT_TRUE(error == cases[c].error || (error == OK && acked == BATCHES));
            check_at_batch(folder, acked, acked < BATCHES ? acked + 1 : acked);
            test_folder_remove(folder);
        }
        CU_ASSERT_TRUE(told > 0);
    }
    fault_vfs_remove();
}

/* The reader's errors. */
static void reader_errors_are_told(void)
{
    char folder[TEST_PATH_MAX];
    struct kv_meta meta;
    struct kv_current current;
    struct kv_history history;
    test_folder_make(folder);
    struct kv_writer *w = writer_open(folder, &meta);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    CU_ASSERT_EQUAL(write_puts(w, 1, 2000, 2, 500), OK);
    fault_vfs_install();
    for (int i = 0; i < 3; i++) {
        struct kv_reader *r = reader_open(folder);
        CU_ASSERT_PTR_NOT_NULL_FATAL(r);
        fault_vfs_arm(FAULT_READ, "", 1, SQLITE_IOERR_READ, FAULT_STAY);
        enum err error = OK;
        if (i == 0) {
            error = kv_reader_current(r, view_of_text("k00000700"), &current);
        } else if (i == 1) {
            error = kv_reader_history(r, change_id(2, 700), &history);
        } else {
            error = kv_reader_scan_start(r, view_of_text("k00000700"));
            error = error == OK ? kv_reader_scan_next(r, &current) : error;
            kv_reader_scan_end(r);
        }
        CU_ASSERT_EQUAL(error, ERR_IO);
        fault_vfs_disarm();
        CU_ASSERT_EQUAL(kv_reader_current(r, view_of_text("k00000700"), &current), ERR_IO);
        kv_reader_close(&r);
    }
    fault_vfs_remove();
    kv_writer_close(&w);
    test_folder_remove(folder);
}

/* Trap 59: when kv_writer_write has returned, the batch is on the disk: its WAL was synced after the
 * last write to it. */
static void committed_is_synced(void)
{
    char folder[TEST_PATH_MAX];
    struct kv_meta meta;
    test_folder_make(folder);
    fault_vfs_install();
    struct kv_writer *w = writer_open(folder, &meta);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    CU_ASSERT_EQUAL(write_puts(w, 1, 10, 2, 10), OK);
    fault_vfs_arm(FAULT_SYNC, "kv-0.db-wal", 0, 0, FAULT_ONCE);
    CU_ASSERT_EQUAL(write_puts(w, 1, 10, 3, 10), OK);
    CU_ASSERT_EQUAL(fault_vfs_matched(), 1);
    kv_writer_close(&w);
    fault_vfs_remove();
    test_folder_remove(folder);
}

/* Leases come and go with the batches; the keys that hang on one are found without reading the others. */
static void leases_and_their_keys(void)
{
    char folder[TEST_PATH_MAX];
    struct kv_meta meta;
    test_folder_make(folder);
    struct kv_writer *w = writer_open(folder, &meta);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    CU_ASSERT_EQUAL(write_puts(w, 1, 3, 2, 1), OK); /* keys of lease -5 */
    struct kv_batch *b = mem_zalloc(sizeof(*b));
    const struct kv_lease first = {.id = -5, .ttl_s = 60, .deadline_us = 70, .granted_us = 10};
    const struct kv_lease second = {.id = 9, .ttl_s = 2, .deadline_us = 12, .granted_us = 10};
    const struct kv_lease later = {.id = -5, .ttl_s = 60, .deadline_us = 80, .granted_us = 10};
    const struct kv_current free_key = {
        .key = view_of_text("free"), .change = change_id(3, 0), .create_revision = 3};
    kv_batch_add_lease(b, &first, false);
    kv_batch_add_lease(b, &second, false);
    kv_batch_add_lease(b, &later, false);
    kv_batch_add_lease(b, &second, true);
    kv_batch_add_current(b, &free_key);
    b->revision = 3;
    b->compact_revision = 2;
    b->cluster_time_us = 77;
    CU_ASSERT_EQUAL(kv_writer_write(w, b), OK);
    kv_batch_free(&b);

    struct kv_reader *r = reader_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r);
    struct kv_lease *leases = NULL;
    struct kv_lease_key *keys = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL_FATAL(kv_reader_leases(r, &leases, &count), OK);
    CU_ASSERT_EQUAL_FATAL(count, 1);
    CU_ASSERT_EQUAL(leases[0].id, -5);
    CU_ASSERT_EQUAL(leases[0].ttl_s, 60);
    CU_ASSERT_EQUAL(leases[0].deadline_us, 80);
    CU_ASSERT_EQUAL(leases[0].granted_us, 10);
    mem_free(leases);
    CU_ASSERT_EQUAL_FATAL(kv_reader_lease_keys(r, &keys, &count), OK);
    CU_ASSERT_EQUAL_FATAL(count, 3);
    for (size_t i = 0; i < count; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%08zu", i + 1);
        CU_ASSERT_EQUAL(keys[i].lease, -5);
        CU_ASSERT_TRUE(view_equal(keys[i].key, view_of_text(key)));
    }
    mem_free(keys);
    kv_reader_close(&r);
    kv_writer_close(&w);
    w = writer_open(folder, &meta);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    CU_ASSERT_EQUAL(meta.compact_revision, 2);
    CU_ASSERT_EQUAL(meta.cluster_time_us, 77);
    kv_writer_close(&w);
    test_folder_remove(folder);
}

SUITE("store: kv.db", TEST(leases_and_their_keys), TEST(round_trip), TEST(tombstones_and_octets),
      TEST(scan_in_order), TEST(members_kept), TEST(views_for_people), TEST(foreign_write_stops),
      TEST(busy_writer_is_a_stall), TEST(other_formats_refused), TEST(link_for_people),
      TEST(killed_between_any_two_writes), TEST(each_error_is_told), TEST(reader_errors_are_told),
      TEST(committed_is_synced))
