/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reserve file and the watermark, on a file system with plenty of room: what is made, what is not, and what says
 * "little". A file system that fills up is in tests/e2e/test_disk.py.
 */
#include "store_test.h"

#define RESERVE ((uint64_t)1 << 20)

static uint64_t reserve_on_disk(const char *folder)
{
    char path[TEST_PATH_MAX + 16];
    struct stat there;
    (void)snprintf(path, sizeof(path), "%s/reserve", folder);
    return stat(path, &there) == 0 ? (uint64_t)there.st_size : 0;
}

static struct space_facts look(const char *folder, uint64_t reserve_bytes, uint64_t low_bytes)
{
    struct space_facts facts = {0};
    struct space *s = space_open(folder, reserve_bytes, low_bytes);
    CU_ASSERT_EQUAL(space_look(s, true, &facts), OK);
    space_close(&s);
    CU_ASSERT_PTR_NULL(s);
    return facts;
}

static void the_reserve_is_made_with_blocks(void)
{
    char folder[TEST_PATH_MAX];
    test_folder_make(folder);
    struct space_facts facts = look(folder, RESERVE, 4096);
    CU_ASSERT_FALSE(facts.low);
    CU_ASSERT_EQUAL(facts.reserve_bytes, RESERVE);
    CU_ASSERT_TRUE(facts.free_bytes > 4096);
    char path[TEST_PATH_MAX + 16];
    struct stat there;
    (void)snprintf(path, sizeof(path), "%s/reserve", folder);
    CU_ASSERT_EQUAL_FATAL(stat(path, &there), 0);
    CU_ASSERT_TRUE((uint64_t)there.st_blocks * 512 >= RESERVE); /* not a hole */
    /* the next start finds it; another size in the configuration is followed both ways */
    CU_ASSERT_EQUAL(look(folder, RESERVE, 4096).reserve_bytes, RESERVE);
    CU_ASSERT_EQUAL(look(folder, RESERVE / 2, 4096).reserve_bytes, RESERVE / 2);
    CU_ASSERT_EQUAL(look(folder, RESERVE * 2, 4096).reserve_bytes, RESERVE * 2);
    CU_ASSERT_EQUAL(look(folder, 0, 4096).reserve_bytes, 0);
    CU_ASSERT_EQUAL(reserve_on_disk(folder), 0);
    test_folder_remove(folder);
}

/* No disk has so much room: everything is little, and no reserve takes from it what is left. */
static void below_the_watermark_there_is_little_room(void)
{
    char folder[TEST_PATH_MAX];
    test_folder_make(folder);
    struct space_facts facts = look(folder, RESERVE, UINT64_C(1) << 60);
    CU_ASSERT_TRUE(facts.low);
    CU_ASSERT_EQUAL(facts.reserve_bytes, 0);
    CU_ASSERT_TRUE(look(folder, 0, UINT64_C(1) << 60).low);
    /* without a watermark only a lost reserve says so */
    CU_ASSERT_FALSE(look(folder, 0, 0).low);
    CU_ASSERT_FALSE(look(folder, RESERVE, 0).low);
    test_folder_remove(folder);
}

/* A reserve larger than the disk: not made, nothing is left behind, and there is little room until it can be. */
static void a_reserve_that_does_not_fit_is_not_made(void)
{
    char folder[TEST_PATH_MAX];
    test_folder_make(folder);
    struct space_facts facts = look(folder, UINT64_C(1) << 60, 0);
    CU_ASSERT_TRUE(facts.low);
    CU_ASSERT_EQUAL(reserve_on_disk(folder), 0);
    test_folder_remove(folder);
}

static void a_folder_that_is_gone_says_nothing(void)
{
    struct space_facts facts = {.free_bytes = 7};
    struct space *s = space_open("/nonexistent/holdfast", RESERVE, 0);
    CU_ASSERT_EQUAL(space_look(s, false, &facts), ERR_IO);
    CU_ASSERT_EQUAL(facts.free_bytes, 7);
    space_close(&s);
    space_close(&s);
}

SUITE("store: space", TEST(the_reserve_is_made_with_blocks),
      TEST(below_the_watermark_there_is_little_room), TEST(a_reserve_that_does_not_fit_is_not_made),
      TEST(a_folder_that_is_gone_says_nothing))
