/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_web_target.c: paths, queries, percent-encoding, numbers.
 */
#include "base.h"
#include "suite.h"

#include "api/web_target.h"

static bool is(struct view v, const char *text)
{
    return view_equal(v, view_of_text(text));
}

static void targets_are_taken_apart(void)
{
    static const char *const cases[][3] = {
        {"/a/b?x=1&y", "/a/b", "x=1&y"},
        {"/a", "/a", ""},
        {"/a?", "/a", ""},
        {"http://h:1/a?b", "/a", "b"},
        {"https://h", "/", ""},
        {"", "", ""},
        {"*", "*", ""},
        {"/a?b?c", "/a", "b?c"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct web_target t = web_target_split(view_of_text(cases[i][0]));
        CU_ASSERT_TRUE(is(t.path, cases[i][1]));
        CU_ASSERT_TRUE(is(t.query, cases[i][2]));
    }
    struct view path = view_of_text("/kv/a");
    CU_ASSERT_FALSE(web_path_take(&path, "/kv/ab"));
    CU_ASSERT_TRUE(web_path_take(&path, "/kv/"));
    CU_ASSERT_TRUE(is(path, "a"));
}

static void queries_are_read(void)
{
    struct view query = view_of_text("&a=1&&b&c=&d=x=y&");
    static const char *const expected[][3] = {
        {"a", "1", "v"}, {"b", "", ""}, {"c", "", "v"}, {"d", "x=y", "v"}};
    struct view name, value;
    bool has_value;
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        CU_ASSERT_TRUE_FATAL(web_query_next(&query, &name, &value, &has_value));
        CU_ASSERT_TRUE(is(name, expected[i][0]));
        CU_ASSERT_TRUE(is(value, expected[i][1]));
        CU_ASSERT_EQUAL(has_value, expected[i][2][0] != 0);
    }
    CU_ASSERT_FALSE(web_query_next(&query, &name, &value, &has_value));
}

static void percent_encoding_goes_both_ways(void)
{
    struct buffer out = {0};
    CU_ASSERT_EQUAL(web_percent_decode(view_of_text("a%2Fb%00%fF+"), &out), OK);
    CU_ASSERT_TRUE(view_equal(view_of(out.data, out.size), view_of("a/b\0\xff+", 6)));
    static const char *const bad[] = {"%", "%2", "a%zz", "%2g", "%%%"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        CU_ASSERT_EQUAL(web_percent_decode(view_of_text(bad[i]), &out), ERR_MALFORMED);
        CU_ASSERT_EQUAL(out.size, 6);
    }
    uint8_t all[256];
    for (size_t i = 0; i < sizeof all; i++) {
        all[i] = (uint8_t)i;
    }
    struct buffer text = {0};
    out.size = 0;
    web_percent_encode(view_of(all, sizeof all), &text);
    CU_ASSERT_EQUAL(web_percent_decode(view_of(text.data, text.size), &out), OK);
    CU_ASSERT_TRUE(view_equal(view_of(out.data, out.size), view_of(all, sizeof all)));
    buffer_free(&text);
    buffer_free(&out);
}

static void numbers_are_read(void)
{
    int64_t n = 77;
    CU_ASSERT_TRUE(web_number(view_of_text("0"), &n) && n == 0);
    CU_ASSERT_TRUE(web_number(view_of_text("9223372036854775807"), &n) && n == INT64_MAX);
    CU_ASSERT_TRUE(web_number(view_of_text("-12"), &n) && n == -12);
    static const char *const bad[] = {"", "-", "+1", "1 ", "9223372036854775808", "x", "1.0"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        CU_ASSERT_FALSE(web_number(view_of_text(bad[i]), &n));
    }
    CU_ASSERT_EQUAL(n, -12);
}

SUITE("api web target", TEST(targets_are_taken_apart), TEST(queries_are_read),
      TEST(percent_encoding_goes_both_ways), TEST(numbers_are_read))
