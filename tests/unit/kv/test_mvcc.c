/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What entries mean: etcd's rules for revisions, puts and range deletes, one test per rule. Each rule
 * is tried with the key's old state in memory and on disk where that makes a difference.
 */
#include "fixture.h"
#include "kv/state.h"

#include <sqlite3.h>

/* ---- revisions ------------------------------------------------------------------------------------ */

/* An empty store is at revision 1, the first write gets 2. */
static void empty_store_is_at_revision_1(void)
{
    struct fixture f;
    fixture_start(&f);
    CU_ASSERT_EQUAL(kv_revision(f.kv), 1);
    CU_ASSERT_EQUAL(kv_applied_index(f.kv), 0);
    struct command c = fixture_put_command("a", "1");
    struct result *result = fixture_apply(&f, &c);
    CU_ASSERT_EQUAL(result->error, OK);
    CU_ASSERT_EQUAL(result->revision, 2);
    CU_ASSERT_EQUAL(result->kv_count, 0);
    CU_ASSERT_EQUAL(kv_revision(f.kv), 2);
    CU_ASSERT_EQUAL(kv_applied_index(f.kv), 1);
    CU_ASSERT_EQUAL(kv_applied_term(f.kv), 1);
    result_free(&result);
    fixture_end(&f);
}

/* Deleting nothing, refusals, NOOP and CONFIG entries add no revision but move applied_index. */
static void what_changes_nothing_adds_no_revision(void)
{
    struct fixture f;
    fixture_start(&f);
    fixture_put(&f, "a", "1");
    CU_ASSERT_EQUAL(fixture_delete(&f, "b", ""), 0);
    CU_ASSERT_EQUAL(fixture_delete(&f, "b", "c"), 0);
    CU_ASSERT_EQUAL(fixture_delete(&f, "b", "a"), 0); /* key >= range_end */
    struct command c = {.op = COMMAND_PUT};
    CU_ASSERT_EQUAL(fixture_error(&f, &c), ERR_KEY_EMPTY);
    CU_ASSERT_EQUAL(fixture_entry(&f, ENTRY_NOOP, view_of(NULL, 0), NULL), OK);
    struct configuration configuration = {.cluster_id = 5, .count = 1, .members = {{.id = 9}}};
    configuration.members[0].voter_incoming = true;
    configuration.members[0].voter_outgoing = true;
    (void)snprintf(configuration.members[0].name, sizeof(configuration.members[0].name), "n1");
    struct buffer encoded = {0};
    configuration_encode(&configuration, &encoded);
    CU_ASSERT_EQUAL(fixture_entry(&f, ENTRY_CONFIG, view_of(encoded.data, encoded.size), NULL), OK);
    buffer_free(&encoded);
    CU_ASSERT_EQUAL(kv_revision(f.kv), 2);
    CU_ASSERT_EQUAL(kv_applied_index(f.kv), 7);
    fixture_end(&f);
}

/* A range delete of many keys is one revision; the sub revisions are in key order. */
static void range_delete_is_one_revision(void)
{
    struct fixture f;
    fixture_start(&f);
    fixture_put(&f, "c", "1");
    fixture_put(&f, "a", "2");
    fixture_flush(&f);
    fixture_put(&f, "b", "3");
    fixture_flush(&f);
    CU_ASSERT_EQUAL(fixture_delete(&f, "a", "d"), 3);
    CU_ASSERT_EQUAL(kv_revision(f.kv), 5);
    const char *keys[] = {"a", "b", "c"};
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        struct overlay_node *node = overlay_find(&f.kv->overlay, view_of_text(keys[i]));
        CU_ASSERT_PTR_NOT_NULL_FATAL(node);
        CU_ASSERT_EQUAL(node->change, change_id(5, (uint32_t)i));
        CU_ASSERT_TRUE(node->deleted);
    }
    fixture_end(&f);
}

static void put_of_the_same_value_counts(void)
{
    struct fixture f;
    fixture_start(&f);
    fixture_put(&f, "a", "same");
    fixture_put(&f, "a", "same");
    fixture_flush(&f);
    fixture_put(&f, "a", "same");
    struct query q = fixture_range("a", "");
    struct result *result = fixture_query(&f, &q);
    CU_ASSERT_EQUAL_FATAL(result->kv_count, 1);
    CU_ASSERT_EQUAL(result->kvs[0].create_revision, 2);
    CU_ASSERT_EQUAL(result->kvs[0].mod_revision, 4);
    CU_ASSERT_EQUAL(result->kvs[0].version, 3);
    CU_ASSERT_EQUAL(result->revision, 4);
    result_free(&result);
    fixture_end(&f);
}

/* Delete, then put: a new life with create_revision of the put and version 1; the old one readable. */
static void put_after_delete_begins_a_new_life(void)
{
    for (int flushed = 0; flushed < 2; flushed++) {
        struct fixture f;
        char text[64];
        fixture_start(&f);
        fixture_put(&f, "a", "1");
        fixture_put(&f, "a", "2");
        CU_ASSERT_EQUAL(fixture_delete(&f, "a", ""), 1);
        if (flushed) {
            fixture_flush(&f);
        }
        CU_ASSERT_EQUAL(fixture_delete(&f, "a", ""), 0); /* once deleted is enough */
        fixture_put(&f, "a", "3");
        struct query q = fixture_range("a", "");
        struct result *result = fixture_query(&f, &q);
        CU_ASSERT_EQUAL_FATAL(result->kv_count, 1);
        CU_ASSERT_EQUAL(result->kvs[0].create_revision, 5);
        CU_ASSERT_EQUAL(result->kvs[0].mod_revision, 5);
        CU_ASSERT_EQUAL(result->kvs[0].version, 1);
        result_free(&result);
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 2, text), "1");
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 3, text), "2");
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 4, text), "(none)");
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 5, text), "3");
        fixture_end(&f);
    }
}

/* ---- put ------------------------------------------------------------------------------------------ */

/* prev_kv: what was there; nothing for a key that did not exist or was deleted. */
static void put_returns_the_previous_pair(void)
{
    for (int flushed = 0; flushed < 2; flushed++) {
        struct fixture f;
        fixture_start(&f);
        struct command c = fixture_put_command("a", "1");
        c.flags = COMMAND_PREV_KV;
        struct result *result = fixture_apply(&f, &c);
        CU_ASSERT_EQUAL(result->kv_count, 0);
        result_free(&result);
        if (flushed) {
            fixture_flush(&f);
        }
        c.value = view_of_text("2");
        result = fixture_apply(&f, &c);
        CU_ASSERT_EQUAL_FATAL(result->kv_count, 1);
        CU_ASSERT(fixture_view_is(result->kvs[0].key, "a"));
        CU_ASSERT(fixture_view_is(result->kvs[0].value, "1"));
        CU_ASSERT_EQUAL(result->kvs[0].create_revision, 2);
        CU_ASSERT_EQUAL(result->kvs[0].mod_revision, 2);
        CU_ASSERT_EQUAL(result->kvs[0].version, 1);
        CU_ASSERT_EQUAL(result->revision, 3);
        result_free(&result);
        (void)fixture_delete(&f, "a", "");
        if (flushed) {
            fixture_flush(&f);
        }
        result = fixture_apply(&f, &c);
        CU_ASSERT_EQUAL(result->kv_count, 0);
        result_free(&result);
        fixture_end(&f);
    }
}

static void ignore_value_keeps_the_value(void)
{
    for (int flushed = 0; flushed < 2; flushed++) {
        struct fixture f;
        char text[64];
        fixture_start(&f);
        fixture_put(&f, "a", "kept");
        if (flushed) {
            fixture_flush(&f);
        }
        struct command c = {
            .op = COMMAND_PUT, .flags = COMMAND_IGNORE_VALUE, .key = view_of_text("a")};
        CU_ASSERT_EQUAL(fixture_error(&f, &c), OK);
        CU_ASSERT_EQUAL(kv_revision(f.kv), 3);
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 0, text), "kept");
        fixture_flush(&f);
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 0, text), "kept");
        c.flags = COMMAND_IGNORE_LEASE;
        c.value = view_of_text("new");
        CU_ASSERT_EQUAL(fixture_error(&f, &c), OK);
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 0, text), "new");
        fixture_end(&f);
    }
}

/* A put without lease detaches the key from its lease; ignore_lease keeps it. (Leases cannot be granted
 * yet: the row with one is written to disk by hand.) */
static void put_detaches_the_lease(void)
{
    for (int keep = 0; keep < 2; keep++) {
        struct fixture f;
        fixture_start(&f);
        struct kv_batch *batch = mem_zalloc(sizeof(*batch));
        batch->number = 1;
        batch->applied_index = 1;
        batch->applied_term = 1;
        batch->revision = 2;
        struct kv_history row = {.change = change_id(2, 0),
                                 .key = view_of_text("a"),
                                 .value = view_of_text("1"),
                                 .create_revision = 2,
                                 .version = 1,
                                 .lease = 77};
        struct kv_current current = {.key = row.key,
                                     .change = row.change,
                                     .create_revision = 2,
                                     .version = 1,
                                     .lease = 77,
                                     .depth = 1};
        kv_batch_add_history(batch, &row);
        kv_batch_add_current(batch, &current);
        const struct kv_lease lease = {.id = 77, .ttl_s = 10, .deadline_us = 1};
        kv_batch_add_lease(batch, &lease, false);
        CU_ASSERT_EQUAL_FATAL(kv_writer_write(f.writer, batch), OK);
        kv_batch_free(&batch);
        fixture_close(&f);
        fixture_open(&f);
        struct command c = fixture_put_command("a", "2");
        c.flags = COMMAND_PREV_KV | (keep ? COMMAND_IGNORE_LEASE : 0);
        struct result *result = fixture_apply(&f, &c);
        CU_ASSERT_EQUAL_FATAL(result->kv_count, 1);
        CU_ASSERT_EQUAL(result->kvs[0].lease, 77);
        result_free(&result);
        for (int flushed = 0; flushed < 2; flushed++) {
            struct query q = fixture_range("a", "");
            for (q.revision = 2; q.revision <= 3; q.revision++) {
                result = fixture_query(&f, &q);
                CU_ASSERT_EQUAL_FATAL(result->kv_count, 1);
                CU_ASSERT_EQUAL(result->kvs[0].lease, q.revision == 2 || keep ? 77 : 0);
                result_free(&result);
            }
            fixture_flush(&f);
        }
        fixture_end(&f);
    }
}

/* Every refusal of a put, and that it comes in etcd's order and changes nothing. */
static void put_refusals_in_order(void)
{
    static const struct {
        const char *key, *value;
        uint16_t flags;
        int64_t lease;
        enum err expected;
    } cases[] = {
        {"", "v", 0, 0, ERR_KEY_EMPTY},
        {"", "v", COMMAND_IGNORE_VALUE, 7, ERR_KEY_EMPTY},
        {"a", "v", COMMAND_IGNORE_VALUE, 0, ERR_VALUE_PROVIDED},
        {"a", "v", COMMAND_IGNORE_VALUE | COMMAND_IGNORE_LEASE, 7, ERR_VALUE_PROVIDED},
        {"a", "v", COMMAND_IGNORE_LEASE, 7, ERR_LEASE_PROVIDED},
        {"a", "v", 0, 7, ERR_LEASE_NOT_FOUND},
        {"none", "", COMMAND_IGNORE_VALUE, 7, ERR_LEASE_NOT_FOUND}, /* lease before existence */
        {"none", "", COMMAND_IGNORE_VALUE, 0, ERR_KEY_NOT_FOUND},
        {"none", "v", COMMAND_IGNORE_LEASE, 0, ERR_KEY_NOT_FOUND},
        {"gone", "", COMMAND_IGNORE_VALUE, 0, ERR_KEY_NOT_FOUND},
    };
    struct fixture f;
    char text[64];
    fixture_start(&f);
    fixture_put(&f, "a", "1");
    fixture_put(&f, "gone", "1");
    (void)fixture_delete(&f, "gone", "");
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct command c = fixture_put_command(cases[i].key, cases[i].value);
        c.flags = cases[i].flags;
        c.lease = cases[i].lease;
        struct result *result = fixture_apply(&f, &c);
        CU_ASSERT_EQUAL(result->error, cases[i].expected);
        CU_ASSERT_EQUAL(result->revision, 4);
        CU_ASSERT_EQUAL(result->kv_count, 0);
        result_free(&result);
    }
    CU_ASSERT_EQUAL(kv_revision(f.kv), 4);
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 0, text), "1");
    fixture_end(&f);
}

/* ---- delete range --------------------------------------------------------------------------------- */

/* prev_kvs in key order as they were before, merged from disk and memory. */
static void delete_returns_previous_pairs_in_key_order(void)
{
    struct fixture f;
    char text[256];
    fixture_start(&f);
    fixture_put(&f, "b", "disk");
    fixture_put(&f, "d", "disk");
    fixture_flush(&f);
    fixture_put(&f, "c", "sealed");
    fixture_seal(&f);
    fixture_put(&f, "a", "open");
    fixture_put(&f, "b", "open");
    fixture_put(&f, "e", "outside");
    struct command c = fixture_delete_command("a", "e");
    c.flags = COMMAND_PREV_KV;
    struct result *result = fixture_apply(&f, &c);
    CU_ASSERT_EQUAL(result->error, OK);
    CU_ASSERT_EQUAL(result->count, 4);
    CU_ASSERT_EQUAL(result->revision, 8);
    CU_ASSERT_STRING_EQUAL(fixture_keys(result, text), "a b c d");
    CU_ASSERT(fixture_view_is(result->kvs[1].value, "open"));
    CU_ASSERT_EQUAL(result->kvs[1].version, 2);
    CU_ASSERT(fixture_view_is(result->kvs[2].value, "sealed"));
    CU_ASSERT(fixture_view_is(result->kvs[3].value, "disk"));
    result_free(&result);
    struct query everything = fixture_everything();
    result = fixture_query(&f, &everything);
    CU_ASSERT_STRING_EQUAL(fixture_keys(result, text), "e");
    result_free(&result);
    fixture_end(&f);
}

/* range_end of one zero octet: to the last key; key and range_end zero octets: everything (2.1). */
static void delete_ranges_as_etcd_encodes_them(void)
{
    static const uint8_t zero = 0;
    struct fixture f;
    fixture_start(&f);
    fixture_put(&f, "a", "1");
    fixture_put(&f, "b", "1");
    fixture_put(&f, "c", "1");
    struct command c = {.op = COMMAND_DELETE_RANGE, .range_end = view_of(&zero, 1)};
    CU_ASSERT_EQUAL(fixture_error(&f, &c), ERR_KEY_EMPTY);
    CU_ASSERT_EQUAL(kv_revision(f.kv), 4);
    c.key = view_of_text("b");
    struct result *result = fixture_apply(&f, &c);
    CU_ASSERT_EQUAL(result->count, 2);
    CU_ASSERT_EQUAL(result->kv_count, 0); /* not asked for */
    result_free(&result);
    c.key = view_of(&zero, 1);
    result = fixture_apply(&f, &c);
    CU_ASSERT_EQUAL(result->count, 1);
    result_free(&result);
    fixture_end(&f);
}

/* More keys than a revision has sub numbers: refused before the first is deleted, on every node alike. */
static void delete_of_too_many_keys_is_refused(void)
{
    struct fixture f;
    char key[16];
    fixture_start(&f);
    uint8_t octets[COMMAND_HEADER_BYTES + 8];
    for (uint64_t i = 0; i <= CHANGE_SUB_MAX; i++) {
        (void)snprintf(key, sizeof(key), "%08" PRIx64, i);
        struct command c = {.op = COMMAND_PUT, .key = view_of(key, 8)};
        command_encode(&c, octets);
        CU_ASSERT_EQUAL_FATAL(
            fixture_entry(&f, ENTRY_COMMAND, view_of(octets, sizeof(octets)), NULL), OK);
    }
    int64_t revision = kv_revision(f.kv);
    struct command c = fixture_delete_command("0", "g");
    struct result *result = fixture_apply(&f, &c);
    CU_ASSERT_EQUAL(result->error, ERR_TOO_MANY_OPS);
    CU_ASSERT_EQUAL(result->count, 0);
    CU_ASSERT_EQUAL(result->revision, revision);
    result_free(&result);
    struct query q = fixture_everything();
    q.count_only = true;
    result = fixture_query_sliced(&f, &q, UINT64_MAX);
    CU_ASSERT_EQUAL(result->count, (int64_t)CHANGE_SUB_MAX + 1);
    result_free(&result);
    CU_ASSERT_EQUAL(fixture_delete(&f, "00000000", ""), 1); /* one less: fits */
    CU_ASSERT_EQUAL(fixture_delete(&f, "0", "g"), (int64_t)CHANGE_SUB_MAX);
    CU_ASSERT_EQUAL(kv_revision(f.kv), revision + 2);
    fixture_end(&f);
}

/* ---- entries -------------------------------------------------------------------------------------- */

/* A command that cannot be decoded is refused alike everywhere; one of a newer format stops the node. */
static void undecodable_commands(void)
{
    struct fixture f;
    struct result *result = NULL;
    fixture_start(&f);
    fixture_put(&f, "a", "1");
    uint8_t octets[COMMAND_HEADER_BYTES + 1] = {COMMAND_FORMAT, COMMAND_PUT};
    CU_ASSERT_EQUAL(fixture_entry(&f, ENTRY_COMMAND, view_of(octets, 5), &result), OK);
    CU_ASSERT_EQUAL(result->error, ERR_TRUNCATED);
    result_free(&result);
    CU_ASSERT_EQUAL(fixture_entry(&f, ENTRY_COMMAND, view_of(octets, sizeof(octets)), &result),
                    OK); /* trailing octet */
    CU_ASSERT_EQUAL(result->error, ERR_MALFORMED);
    result_free(&result);
    CU_ASSERT_EQUAL(kv_applied_index(f.kv), 3);
    octets[0] = COMMAND_FORMAT + 1;
    CU_ASSERT_EQUAL(fixture_entry(&f, ENTRY_COMMAND, view_of(octets, sizeof(octets)), &result),
                    ERR_NEWER_FORMAT);
    CU_ASSERT_PTR_NULL(result);
    CU_ASSERT_EQUAL(fixture_entry(&f, (enum entry_type)77, view_of(NULL, 0), &result),
                    ERR_NEWER_FORMAT);
    CU_ASSERT_EQUAL(fixture_entry(&f, ENTRY_CONFIG, view_of(octets, 3), &result),
                    configuration_decode(view_of(octets, 3), &(struct configuration){0}));
    CU_ASSERT_EQUAL(kv_applied_index(f.kv), 3);
    CU_ASSERT_EQUAL(kv_revision(f.kv), 2);
    fixture_end(&f);
}

static void no_result_unless_wanted(void)
{
    struct fixture f;
    struct result *result = NULL;
    fixture_start(&f);
    CU_ASSERT_EQUAL(fixture_entry(&f, ENTRY_NOOP, view_of(NULL, 0), &result), OK);
    CU_ASSERT_PTR_NOT_NULL_FATAL(result);
    CU_ASSERT_EQUAL(result->revision, 1);
    result_free(&result);
    uint8_t octets[64];
    struct command c = fixture_put_command("a", "1");
    c.flags = COMMAND_PREV_KV;
    command_encode(&c, octets);
    struct entry e = {
        .index = 2, .term = 1, .type = ENTRY_COMMAND, .data = view_of(octets, command_size(&c))};
    CU_ASSERT_EQUAL(kv_apply(f.kv, &e, 0, false, &result), OK);
    CU_ASSERT_PTR_NULL(result);
    CU_ASSERT_EQUAL(kv_revision(f.kv), 2);
    fixture_end(&f);
}

/* What came from disk must belong together; a chain that does not is a fatal error, never an answer
 * (trap 19). */
static void broken_chain_on_disk_is_fatal(void)
{
    struct fixture f;
    char text[64];
    fixture_start(&f);
    struct kv_batch *batch = mem_zalloc(sizeof(*batch));
    batch->number = 1;
    batch->applied_index = 1;
    batch->applied_term = 1;
    batch->revision = 9;
    struct kv_history row = {.change = change_id(9, 0),
                             .key = view_of_text("other"),
                             .create_revision = 9,
                             .version = 1};
    kv_batch_add_history(batch, &row);
    struct kv_current missing = {.key = view_of_text("missing"),
                                 .change = change_id(8, 0),
                                 .create_revision = 8,
                                 .version = 1,
                                 .depth = 6};
    struct kv_current swapped = missing;
    swapped.key = view_of_text("swapped");
    swapped.change = change_id(9, 0);
    swapped.depth = 5;
    kv_batch_add_current(batch, &missing);
    kv_batch_add_current(batch, &swapped);
    CU_ASSERT_EQUAL_FATAL(kv_writer_write(f.writer, batch), OK);
    kv_batch_free(&batch);
    fixture_close(&f);
    fixture_open(&f);
    CU_ASSERT_EQUAL(kv_revision(f.kv), 9);

    const char *keys[] = {"missing", "swapped"};
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        struct query q = {.key = view_of_text(keys[i])};
        struct query *moved = query_create(&q);
        struct kv_read *read = kv_read_start(f.kv, &moved);
        bool done = false;
        CU_ASSERT_EQUAL(kv_read_step(f.kv, read, 100, &done), ERR_CORRUPT);
        CU_ASSERT_FALSE(done);
        struct result *result = kv_read_finish(&read);
        result_free(&result);
        struct command c = fixture_put_command(keys[i], "v");
        c.flags = COMMAND_PREV_KV;
        uint8_t octets[64];
        command_encode(&c, octets);
        result = NULL;
        CU_ASSERT_EQUAL(
            fixture_entry(&f, ENTRY_COMMAND, view_of(octets, command_size(&c)), &result),
            ERR_CORRUPT);
        CU_ASSERT_PTR_NULL(result);
        c = fixture_delete_command(keys[i], "");
        c.flags = COMMAND_PREV_KV;
        command_encode(&c, octets);
        CU_ASSERT_EQUAL(
            fixture_entry(&f, ENTRY_COMMAND, view_of(octets, command_size(&c)), &result),
            ERR_CORRUPT);
    }
    uint64_t hash = 0;
    CU_ASSERT_EQUAL(kv_hash(f.kv, &hash), ERR_CORRUPT);
    CU_ASSERT_EQUAL(kv_applied_index(f.kv), 1);
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "none", 0, text), "(none)");
    fixture_end(&f);
}

/* An error of the disk ends an apply, a read and a hash with that error, and nothing was applied: the node
 * stops, it never skips (trap 19). Here a person has dropped the tables. */
static void disk_errors_are_fatal(void)
{
    struct fixture f;
    char path[128];
    sqlite3 *person = NULL;
    fixture_start(&f);
    fixture_put(&f, "a", "1");
    fixture_flush(&f);
    fixture_close(&f);
    fixture_open(&f);
    (void)snprintf(path, sizeof(path), "%s/group-0/kv.db", f.directory);
    CU_ASSERT_EQUAL_FATAL(sqlite3_open_v2(path, &person, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    CU_ASSERT_EQUAL_FATAL(
        sqlite3_exec(person, "DROP VIEW kv_readable; DROP TABLE current", NULL, NULL, NULL),
        SQLITE_OK);

    struct command commands[] = {fixture_put_command("a", "2"), fixture_delete_command("a", ""),
                                 fixture_delete_command("a", "b")};
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        uint8_t octets[64];
        struct result *result = NULL;
        command_encode(&commands[i], octets);
        enum err error =
            fixture_entry(&f, ENTRY_COMMAND, view_of(octets, command_size(&commands[i])), &result);
        CU_ASSERT_NOT_EQUAL(error, OK);
        CU_ASSERT_NOT_EQUAL(error, ERR_NOT_FOUND);
        CU_ASSERT_PTR_NULL(result);
    }
    CU_ASSERT_EQUAL(kv_applied_index(f.kv), 1);
    CU_ASSERT_EQUAL(kv_revision(f.kv), 2);
    struct query queries[] = {fixture_range("a", ""), fixture_range("a", "b")};
    for (size_t i = 0; i < ARRAY_COUNT(queries); i++) {
        struct query *moved = query_create(&queries[i]);
        struct kv_read *read = kv_read_start(f.kv, &moved);
        bool done = false;
        CU_ASSERT_NOT_EQUAL(kv_read_step(f.kv, read, 100, &done), OK);
        CU_ASSERT_FALSE(done);
        struct result *result = kv_read_finish(&read);
        result_free(&result);
    }
    uint64_t hash = 7;
    CU_ASSERT_NOT_EQUAL(kv_hash(f.kv, &hash), OK);
    CU_ASSERT_EQUAL(hash, 7);
    (void)sqlite3_close(person);
    fixture_end(&f);
}

SUITE("kv mvcc", TEST(empty_store_is_at_revision_1), TEST(what_changes_nothing_adds_no_revision),
      TEST(range_delete_is_one_revision), TEST(put_of_the_same_value_counts),
      TEST(put_after_delete_begins_a_new_life), TEST(put_returns_the_previous_pair),
      TEST(ignore_value_keeps_the_value), TEST(put_detaches_the_lease), TEST(put_refusals_in_order),
      TEST(delete_returns_previous_pairs_in_key_order), TEST(delete_ranges_as_etcd_encodes_them),
      TEST(delete_of_too_many_keys_is_refused), TEST(undecodable_commands),
      TEST(no_result_unless_wanted), TEST(broken_chain_on_disk_is_fatal),
      TEST(disk_errors_are_fatal))
