/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jump pointers (docs/decisions/0030): the width is the skew-binary one, the chain built put by put has
 * exactly these jumps whatever was in memory when, and an old revision of a key with many versions is
 * found in O(log n) row reads.
 */
#include "fixture.h"
#include "kv/history.h"

/* By definition: a canonical skew-binary number has digits 0 and 1 but for its lowest digit that is not
 * zero, which may be 2. Counting up: a 2 at 2^k - 1 becomes 0 and carries into the next; otherwise the
 * place of 1 counts up. The width is the place of the lowest digit that is not zero. */
static void width_is_skew_binary(void)
{
    enum { PLACES = 40, DEPTHS = 200000 };
    unsigned digits[PLACES] = {0};
    for (uint64_t depth = 1; depth <= DEPTHS; depth++) {
        size_t lowest = 0;
        while (lowest < PLACES && digits[lowest] == 0) {
            lowest++;
        }
        if (lowest < PLACES && digits[lowest] == 2) {
            digits[lowest] = 0;
            digits[lowest + 1]++;
        } else {
            digits[0]++;
        }
        lowest = 0;
        while (digits[lowest] == 0) {
            lowest++;
        }
        CU_ASSERT_EQUAL_FATAL(history_jump_width(depth), (UINT64_C(1) << (lowest + 1)) - 1);
    }
    CU_ASSERT_EQUAL(history_jump_width((UINT64_C(1) << 61) - 1), (UINT64_C(1) << 61) - 1);
}

/* Put one key VERSIONS times, deleting it now and then, with flushes and reopens at odd moments, so that
 * the jumps come from memory, from rows of both batches and from disk; then look at every row. */
static void chain_has_the_jumps_of_its_depths(void)
{
    enum { VERSIONS = 2000 };
    static uint64_t changes[VERSIONS + 1]; /* change id at each depth; 0 at depth 0 */
    struct fixture f;
    uint64_t seed = 5;
    fixture_start(&f);
    f.limits.cache_bytes_max = 0;
    fixture_close(&f);
    fixture_open(&f);
    for (uint64_t depth = 1; depth <= VERSIONS; depth++) {
        if (depth > 1 && random_below(&seed, 10) == 0 && fixture_delete(&f, "k", "") == 1) {
            changes[depth] = change_id(kv_revision(f.kv), 0);
        } else {
            fixture_put(&f, "k", "v");
            changes[depth] = change_id(kv_revision(f.kv), 0);
        }
        switch (random_below(&seed, 12)) {
        case 0:
            fixture_seal(&f);
            break;
        case 1:
            fixture_write(&f);
            break;
        case 2:
            fixture_tell(&f);
            break;
        case 3:
            fixture_put(&f, "other", "v");
            break;
        case 4: /* nothing stays in memory: the next put finds all on disk */
            fixture_flush(&f);
            CU_ASSERT_PTR_NULL(overlay_find(&f.kv->overlay, view_of_text("k")));
            break;
        default:
            break;
        }
    }
    for (int round = 0; round < 2; round++) {
        struct newest newest = {0};
        CU_ASSERT_EQUAL(newest_of(f.kv, view_of_text("k"), &newest), OK);
        CU_ASSERT_EQUAL(newest.current.depth, VERSIONS);
        for (uint64_t depth = 1; depth <= VERSIONS; depth++) {
            struct kv_history row = {0};
            CU_ASSERT_EQUAL_FATAL(history_row(f.kv, view_of_text("k"), changes[depth], &row), OK);
            CU_ASSERT_EQUAL(row.previous_change, changes[depth - 1]);
            CU_ASSERT_EQUAL(row.jump_change, changes[depth - history_jump_width(depth)]);
        }
        fixture_flush(&f); /* and once more from disk */
    }
    fixture_end(&f);
}

/* 100,000 versions on disk: any of them is found in at most 4 log2(n) row reads. A walk along
 * previous_change alone would take 50,000 on average. */
static void old_revision_is_found_in_logarithmic_time(void)
{
    enum { VERSIONS = 100000, LOG2 = 17, READS_MAX = 4 * LOG2 };
    struct fixture f;
    char text[64];
    uint64_t seed = 11;
    fixture_start(&f);
    for (int i = 0; i < VERSIONS; i++) {
        (void)snprintf(text, sizeof(text), "v%d", i);
        fixture_put(&f, "hot", text);
        if (i == VERSIONS / 2) {
            fixture_flush(&f);
        }
    }
    fixture_flush(&f);
    fixture_close(&f);
    fixture_open(&f);
    uint64_t most = 0;
    for (int i = 0; i < 3000; i++) {
        int64_t revision = (int64_t)random_below(&seed, VERSIONS) + 2;
        if (i < 20) { /* both ends too */
            revision = i % 2 == 0 ? 2 + i : VERSIONS + 1 - i;
        }
        uint64_t before = f.kv->history_disk_reads;
        char got[64];
        char expected[64];
        (void)snprintf(expected, sizeof(expected), "v%d", (int)(revision - 2));
        CU_ASSERT_STRING_EQUAL(fixture_get(&f, "hot", revision, got), expected);
        uint64_t reads = f.kv->history_disk_reads - before;
        most = reads > most ? reads : most;
    }
    CU_ASSERT(most <= READS_MAX);
    CU_ASSERT(most > LOG2 / 2); /* the counter does count */
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "hot", 1, text), "(none)");
    fixture_end(&f);
}

/* A hot key's puts seldom need a row to compute their jump: not from disk while it stays in memory. */
static void hot_puts_read_no_rows_from_disk(void)
{
    enum { VERSIONS = 1000 };
    struct fixture f;
    fixture_start(&f);
    for (int i = 0; i < VERSIONS; i++) {
        fixture_put(&f, "hot", "v");
    }
    CU_ASSERT_EQUAL(f.kv->history_disk_reads, 0);
    fixture_flush(&f);
    for (int i = 0; i < VERSIONS; i++) {
        fixture_put(&f, "hot", "v");
    }
    CU_ASSERT(f.kv->history_disk_reads < 2 * 10); /* a few of the spine, once each */
    fixture_end(&f);
}

/* Rows compacted away may be pointed at: the chain goes on, with a jump of 0, and stays right for every
 * revision that may be read. */
static void chain_goes_on_over_compacted_rows(void)
{
    struct fixture f;
    char text[64];
    fixture_start(&f);
    struct kv_batch *batch = mem_zalloc(sizeof(*batch));
    batch->number = 1;
    batch->applied_index = 1;
    batch->applied_term = 1;
    batch->revision = 10;
    struct kv_history row = {.change = change_id(10, 0),
                             .key = view_of_text("k"),
                             .value = view_of_text("ten"),
                             .create_revision = 6,
                             .version = 5,
                             .previous_change = change_id(9, 0), /* gone */
                             .jump_change = change_id(9, 0)};
    kv_batch_add_history(batch, &row);
    struct kv_current current = {
        .key = row.key, .change = row.change, .create_revision = 6, .version = 5, .depth = 5};
    kv_batch_add_current(batch, &current);
    CU_ASSERT_EQUAL_FATAL(kv_writer_write(f.writer, batch), OK);
    kv_batch_free(&batch);
    for (int compacted = 0; compacted < 2; compacted++) {
        fixture_close(&f);
        fixture_open(&f);
        f.kv->compact_revision = compacted ? 10 : 8;
        struct command c =
            fixture_put_command("k", "eleven"); /* depth 6: jump of the jump wanted */
        uint8_t octets[64];
        command_encode(&c, octets);
        struct result *result = NULL;
        enum err error =
            fixture_entry(&f, ENTRY_COMMAND, view_of(octets, command_size(&c)), &result);
        result_free(&result);
        CU_ASSERT_EQUAL(error, compacted ? OK : ERR_CORRUPT);
    }
    for (int i = 0; i < 20; i++) {
        fixture_put(&f, "k", "later");
    }
    fixture_flush(&f);
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "k", 10, text), "ten");
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "k", 11, text), "eleven");
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "k", 0, text), "later");
    uint64_t hash = 0;
    CU_ASSERT_EQUAL(kv_hash(f.kv, &hash), OK);
    fixture_end(&f);
}

SUITE("kv history", TEST(width_is_skew_binary), TEST(chain_has_the_jumps_of_its_depths),
      TEST(old_revision_is_found_in_logarithmic_time), TEST(hot_puts_read_no_rows_from_disk),
      TEST(chain_goes_on_over_compacted_rows))
