/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_base64.c: RFC 4648's own examples, both alphabets, padding or none, and every size both ways.
 */
#include "base.h"
#include "suite.h"

#include "api/base64.h"

static bool writes(const char *octets, const char *text)
{
    struct buffer out = {0};
    base64_write(&out, view_of_text(octets));
    bool equal = view_equal(view_of(out.data, out.size), view_of_text(text));
    buffer_free(&out);
    return equal;
}

static bool reads(const char *text, const char *octets)
{
    uint8_t room[100];
    size_t size = 999;
    enum err error = base64_read(view_of_text(text), room, &size);
    if (octets == NULL) {
        return error == ERR_MALFORMED && size == 999;
    }
    return error == OK && view_equal(view_of(room, size), view_of_text(octets));
}

/* RFC 4648 §10 */
static void examples_of_the_rfc(void)
{
    static const char *const pairs[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        CU_ASSERT_TRUE(writes(pairs[i][0], pairs[i][1]));
        CU_ASSERT_TRUE(reads(pairs[i][1], pairs[i][0]));
    }
}

static void reads_both_alphabets_with_and_without_padding(void)
{
    CU_ASSERT_TRUE(reads("+/+/", "\xfb\xff\xbf"));
    CU_ASSERT_TRUE(reads("-_-_", "\xfb\xff\xbf"));
    CU_ASSERT_TRUE(reads("Zg", "f"));
    CU_ASSERT_TRUE(reads("Zm8", "fo"));
    CU_ASSERT_TRUE(reads("Zm9v\r\nYmFy\n", "foobar"));
}

static void refuses_what_is_none(void)
{
    static const char *const bad[] = {
        "Z", "Zg=", "Zg===", "Zm8==", "Zm9v=", "Z!", "Zg=g=", "=", "Zm9vZ", "Zg g"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        CU_ASSERT_TRUE(reads(bad[i], NULL));
    }
}

static void every_size_comes_back(void)
{
    uint8_t octets[200];
    uint8_t back[300];
    uint64_t seed = 1;
    for (size_t size = 0; size < sizeof octets; size++) {
        for (size_t i = 0; i < size; i++) {
            octets[i] = (uint8_t)random_next(&seed);
        }
        struct buffer out = {0};
        size_t got = 0;
        base64_write(&out, view_of(octets, size));
        CU_ASSERT_TRUE(base64_octets_max(out.size) <= sizeof back);
        CU_ASSERT_EQUAL(base64_read(view_of(out.data, out.size), back, &got), OK);
        CU_ASSERT_TRUE(view_equal(view_of(back, got), view_of(octets, size)));
        buffer_free(&out);
    }
}

SUITE("api base64", TEST(examples_of_the_rfc), TEST(reads_both_alphabets_with_and_without_padding),
      TEST(refuses_what_is_none), TEST(every_size_comes_back))
