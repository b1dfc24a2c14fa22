/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches: when one is due, what it carries, that at most one is under way, and that the state reads the
 * same at every point between applying and the flusher's answer.
 */
#include "fixture.h"
#include "kv/state.h"

static void nothing_open_nothing_sealed(void)
{
    struct fixture f;
    fixture_start(&f);
    CU_ASSERT_FALSE(kv_should_seal(f.kv, UINT64_MAX));
    CU_ASSERT_EQUAL(kv_seal_deadline_us(f.kv), UINT64_MAX);
    CU_ASSERT_PTR_NULL(kv_seal(f.kv));
    fixture_end(&f);
}

static void due_by_changes_bytes_or_age(void)
{
    struct fixture f;
    fixture_start(&f);
    f.limits.batch_changes_max = 3;
    f.limits.batch_bytes_max = 2000;
    f.limits.batch_age_us = 500;
    fixture_close(&f);
    fixture_open(&f);

    f.now_us = 1000;
    fixture_put(&f, "a", "1");
    f.now_us = 1300;
    fixture_put(&f, "b", "1");
    CU_ASSERT_EQUAL(kv_seal_deadline_us(f.kv), 1500); /* of the first change, not the last */
    CU_ASSERT_FALSE(kv_should_seal(f.kv, 1499));
    CU_ASSERT_TRUE(kv_should_seal(f.kv, 1500));
    fixture_put(&f, "c", "1");
    CU_ASSERT_TRUE(kv_should_seal(f.kv, 1300));
    fixture_seal(&f);

    /* One under way: nothing is due until it is on disk, however much is open. */
    for (int i = 0; i < 10; i++) {
        fixture_put(&f, "c", "2");
    }
    CU_ASSERT_FALSE(kv_should_seal(f.kv, UINT64_MAX));
    CU_ASSERT_EQUAL(kv_seal_deadline_us(f.kv), UINT64_MAX);
    CU_ASSERT_PTR_NULL(kv_seal(f.kv));
    fixture_write(&f);
    fixture_tell(&f);
    CU_ASSERT_TRUE(kv_should_seal(f.kv, 1300));
    fixture_flush(&f);

    static char large[3000];
    memset(large, 'x', sizeof(large) - 1);
    fixture_put(&f, "d", large);
    CU_ASSERT_TRUE(kv_should_seal(f.kv, f.now_us));
    fixture_end(&f);
}

/* An entry that changes nothing still moves applied_index to disk, or the log could not be trimmed; and
 * applied_index and revision lie in the transaction of the data (trap 18). */
static void entries_without_changes_are_flushed(void)
{
    struct fixture f;
    fixture_start(&f);
    f.limits.batch_age_us = 500;
    fixture_close(&f);
    fixture_open(&f);
    f.now_us = 10;
    CU_ASSERT_EQUAL(fixture_entry(&f, ENTRY_NOOP, view_of(NULL, 0), NULL), OK);
    CU_ASSERT_EQUAL(kv_seal_deadline_us(f.kv), 510);
    CU_ASSERT_TRUE(kv_should_seal(f.kv, 510));
    fixture_flush(&f);
    fixture_close(&f);
    fixture_open(&f);
    CU_ASSERT_EQUAL(kv_applied_index(f.kv), 1);
    CU_ASSERT_EQUAL(kv_applied_term(f.kv), 1);
    CU_ASSERT_EQUAL(kv_revision(f.kv), 1);
    fixture_end(&f);
}

/* History has every revision, current each key once; the newest configuration goes along. */
static void batch_carries_what_was_applied(void)
{
    struct fixture f;
    fixture_start(&f);
    fixture_put(&f, "b", "1");
    fixture_put(&f, "a", "1");
    fixture_put(&f, "b", "2");
    (void)fixture_delete(&f, "a", "");
    struct buffer encoded = {0};
    for (uint64_t id = 1; id < 3; id++) {
        struct configuration configuration = {.cluster_id = 5, .count = 1};
        configuration.members[0] =
            (struct member){.id = id, .voter_incoming = true, .voter_outgoing = true};
        (void)snprintf(configuration.members[0].name, sizeof(configuration.members[0].name), "n1");
        encoded.size = 0;
        configuration_encode(&configuration, &encoded);
        CU_ASSERT_EQUAL(fixture_entry(&f, ENTRY_CONFIG, view_of(encoded.data, encoded.size), NULL),
                        OK);
    }
    buffer_free(&encoded);
    struct kv_batch *batch = kv_seal(f.kv);
    CU_ASSERT_PTR_NOT_NULL_FATAL(batch);
    CU_ASSERT_EQUAL(batch->number, 1);
    CU_ASSERT_EQUAL(batch->applied_index, 6);
    CU_ASSERT_EQUAL(batch->applied_term, 1);
    CU_ASSERT_EQUAL(batch->revision, 5);
    CU_ASSERT_EQUAL(batch->history_count, 4);
    CU_ASSERT_EQUAL(batch->current_count, 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(batch->members);
    CU_ASSERT_EQUAL(batch->members->members[0].id, 2);
    CU_ASSERT_EQUAL(kv_writer_write(f.writer, batch), OK);
    kv_flushed(f.kv, batch->number);
    kv_batch_free(&batch);
    fixture_put(&f, "c", "1");
    batch = kv_seal(f.kv);
    CU_ASSERT_PTR_NOT_NULL_FATAL(batch);
    CU_ASSERT_EQUAL(batch->number, 2);
    CU_ASSERT_EQUAL(batch->history_count, 1);
    CU_ASSERT_EQUAL(batch->current_count, 1);
    CU_ASSERT_PTR_NULL(batch->members);
    kv_batch_free(&batch);
    fixture_end(&f);
}

/* The same answers with a change open, sealed, written, told, and after a restart; also for a key that is
 * in the sealed batch and the open one. */
static void reads_do_not_see_where_a_row_lies(void)
{
    struct fixture f;
    char text[64];
    char keys[256];
    fixture_start(&f);
    fixture_put(&f, "a", "1"); /* 2 */
    fixture_put(&f, "b", "1"); /* 3 */
    fixture_flush(&f);
    fixture_put(&f, "a", "2"); /* 4 */
    fixture_put(&f, "c", "1"); /* 5 */
    for (int step = 0; step < 7; step++) {
        switch (step) {
        case 1:
            fixture_seal(&f);
            break;
        case 2:
            fixture_put(&f, "a", "3");         /* 6 */
            (void)fixture_delete(&f, "c", ""); /* 7 */
            break;
        case 3:
            fixture_write(&f);
            break;
        case 4:
            fixture_tell(&f);
            break;
        case 5:
            fixture_flush(&f);
            break;
        case 6:
            fixture_close(&f);
            fixture_open(&f);
            break;
        default:
            break;
        }
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 2, text), "1");
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 3, text), "1");
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 5, text), "2");
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 0, text), step < 2 ? "2" : "3");
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "c", 4, text), "(none)");
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "c", 5, text), "1");
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "c", 0, text), step < 2 ? "1" : "(none)");
        struct query q = fixture_everything();
        struct result *result = fixture_query(&f, &q);
        CU_ASSERT_STRING_EQUAL(fixture_keys(result, keys), step < 2 ? "a b c" : "a b");
        result_free(&result);
        q.revision = 5;
        result = fixture_query(&f, &q);
        CU_ASSERT_STRING_EQUAL(fixture_keys(result, keys), "a b c");
        result_free(&result);
        overlay_check(&f.kv->overlay);
    }
    fixture_end(&f);
}

/* Full while the disk does not keep up; empty again once it has. */
static void full_until_flushed(void)
{
    struct fixture f;
    fixture_start(&f);
    f.limits.overlay_bytes_max = 64 * 1024;
    fixture_close(&f);
    fixture_open(&f);
    static char value[1000];
    memset(value, 'x', sizeof(value) - 1);
    char key[16];
    int puts = 0;
    while (!kv_is_full(f.kv)) {
        (void)snprintf(key, sizeof(key), "k%d", puts++);
        fixture_put(&f, key, value);
        CU_ASSERT_FATAL(puts < 100);
        if (puts == 10) {
            fixture_seal(&f);
        }
    }
    CU_ASSERT(puts > 10);
    uint64_t file_bytes = 0;
    uint64_t used_bytes = 0;
    uint64_t overlay_bytes = 0;
    kv_sizes(f.kv, &file_bytes, &used_bytes, &overlay_bytes);
    CU_ASSERT(overlay_bytes > 64 * 1024);
    fixture_flush(&f);
    CU_ASSERT_FALSE(kv_is_full(f.kv));
    kv_sizes(f.kv, &file_bytes, &used_bytes, &overlay_bytes);
    CU_ASSERT(overlay_bytes < 64 * 1024);
    CU_ASSERT(file_bytes >= used_bytes);
    CU_ASSERT(used_bytes > (uint64_t)puts * 900);
    fixture_end(&f);
}

SUITE("kv seal", TEST(nothing_open_nothing_sealed), TEST(due_by_changes_bytes_or_age),
      TEST(entries_without_changes_are_flushed), TEST(batch_carries_what_was_applied),
      TEST(reads_do_not_see_where_a_row_lies), TEST(full_until_flushed))
