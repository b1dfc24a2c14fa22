/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state's checksum: equal for the same log whatever was flushed when, different as soon as anything
 * a client could see differs, and blind for what compaction may or may not have deleted yet.
 */
#include "fixture.h"
#include "kv/state.h"

static uint64_t hash_of(struct fixture *f)
{
    uint64_t hash = 0;
    CU_ASSERT_EQUAL(kv_hash(f->kv, &hash), OK);
    return hash;
}

static void write_something(struct fixture *f, uint64_t flush_seed)
{
    uint64_t seed = 3;
    char key[16];
    char value[32];
    for (int i = 0; i < 300; i++) {
        (void)snprintf(key, sizeof(key), "k%02d", (int)random_below(&seed, 40));
        (void)snprintf(value, sizeof(value), "value %d", i);
        if (random_below(&seed, 6) == 0) {
            (void)fixture_delete(f, key, "k2");
        } else {
            fixture_put(f, key, value);
        }
        if (flush_seed != 0) {
            switch (random_below(&flush_seed, 8)) {
            case 0:
                fixture_seal(f);
                break;
            case 1:
                fixture_write(f);
                break;
            case 2:
                fixture_tell(f);
                break;
            default:
                break;
            }
        }
    }
}

static void equal_whatever_was_flushed_when(void)
{
    struct fixture f;
    fixture_start(&f);
    CU_ASSERT_NOT_EQUAL(hash_of(&f), 0);
    write_something(&f, 0);
    uint64_t expected = hash_of(&f);
    fixture_flush(&f);
    CU_ASSERT_EQUAL(hash_of(&f), expected);
    fixture_close(&f);
    fixture_open(&f);
    CU_ASSERT_EQUAL(hash_of(&f), expected);
    fixture_end(&f);
    for (uint64_t seed = 1; seed < 10; seed++) {
        fixture_start(&f);
        write_something(&f, seed);
        CU_ASSERT_EQUAL(hash_of(&f), expected);
        fixture_end(&f);
    }
}

/* Reading fills the cache and changes nothing else. */
static void reads_leave_it_alone(void)
{
    struct fixture f;
    char text[64];
    fixture_start(&f);
    write_something(&f, 4);
    uint64_t expected = hash_of(&f);
    (void)fixture_get(&f, "k11", 0, text);
    (void)fixture_get(&f, "k11", 40, text);
    CU_ASSERT_EQUAL(hash_of(&f), expected);
    fixture_end(&f);
}

static uint64_t hash_after(const char *key, const char *first, const char *second, bool deleted)
{
    struct fixture f;
    fixture_start(&f);
    fixture_put(&f, key, first);
    fixture_put(&f, key, second);
    if (deleted) {
        (void)fixture_delete(&f, key, "");
    }
    uint64_t hash = hash_of(&f);
    fixture_end(&f);
    return hash;
}

static void differs_when_the_state_differs(void)
{
    uint64_t expected = hash_after("a", "1", "2", false);
    CU_ASSERT_EQUAL(hash_after("a", "1", "2", false), expected);
    CU_ASSERT_NOT_EQUAL(hash_after("b", "1", "2", false), expected);
    CU_ASSERT_NOT_EQUAL(hash_after("a", "1", "3", false), expected);
    CU_ASSERT_NOT_EQUAL(hash_after("a", "0", "2", false), expected); /* history alone */
    CU_ASSERT_NOT_EQUAL(hash_after("a", "1", "2", true), expected);
}

/* What nobody may read any more does not count: superseded revisions at or below the compact revision,
 * and keys whose tombstone is. */
static void blind_for_the_compacted_past(void)
{
    uint64_t hashes[2];
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        fixture_start(&f);
        fixture_put(&f, "a", i == 0 ? "1" : "one");       /* 2: superseded at 4 */
        fixture_put(&f, i == 0 ? "b" : "x", "1");         /* 3 */
        fixture_put(&f, "a", "2");                        /* 4 */
        (void)fixture_delete(&f, i == 0 ? "b" : "x", ""); /* 5 */
        fixture_put(&f, "a", "3");                        /* 6 */
        f.kv->compact_revision = 5;
        hashes[i] = hash_of(&f);
        fixture_end(&f);
    }
    CU_ASSERT_EQUAL(hashes[0], hashes[1]);
}

SUITE("kv hash", TEST(equal_whatever_was_flushed_when), TEST(reads_leave_it_alone),
      TEST(differs_when_the_state_differs), TEST(blind_for_the_compacted_past))
