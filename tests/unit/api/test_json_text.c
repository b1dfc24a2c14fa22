/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_json_text.c: a stream of octets is cut into its objects, in whatever pieces it comes, within its
 * bounds; numbers as text.
 */
#include "base.h"
#include "suite.h"

#include "api/json_text.h"

#define SIZE_LIMIT 100

/* Feed in pieces; objects come back joined by '|'; the last character says how it ended. */
static void cut(const char *text, size_t piece, char *out)
{
    struct json_stream s = {.size_max = SIZE_LIMIT};
    struct view all = view_of_text(text);
    char *at = out;
    char end = s.depth == 0 ? '.' : '?';
    while (all.size > 0 && end != '!') {
        struct view in = view_of(all.data, all.size < piece ? all.size : piece);
        all.data += in.size;
        all.size -= in.size;
        struct view object;
        enum json_read got;
        while ((got = json_stream_next(&s, &in, &object)) == JSON_READ_OBJECT) {
            memcpy(at, object.data, object.size);
            at += object.size;
            *at++ = '|';
        }
        end = got != JSON_READ_MORE ? '!' : json_stream_is_partial(&s) ? '~' : '.';
    }
    *at++ = end;
    *at = 0;
    json_stream_free(&s);
}

static void objects_are_cut_out(void)
{
    static const char *const cases[][2] = {
        {"{}", "{}|."},
        {" {\"a\":1}\n{\"b\":[{}]}\r\n\t", "{\"a\":1}|{\"b\":[{}]}|."},
        {"{}{}{}", "{}|{}|{}|."},
        {"{\"}\":\"\\\"}{\\\\\"}{", "{\"}\":\"\\\"}{\\\\\"}|~"},
        {"{} x", "{}|!"},
        {"[]", "!"},
        {"1", "!"},
        {"", "."},
        {"{}}", "{}|!"},
        {"{]{}", "{]|{}|."}, /* whoever parses it will refuse it */
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        for (size_t piece = 1; piece < 20; piece++) {
            char got[200];
            cut(cases[i][0], piece, got);
            CU_ASSERT_STRING_EQUAL(got, cases[i][1]);
        }
    }
}

static void bounds_hold(void)
{
    char text[2 * SIZE_LIMIT];
    char got[2 * SIZE_LIMIT + 10];
    memset(text, 'a', sizeof text);
    memcpy(text, "{\"", 2);
    memcpy(text + SIZE_LIMIT - 2, "\"}", 3); /* exactly as long as may be */
    cut(text, 7, got);
    CU_ASSERT_EQUAL(strlen(got), SIZE_LIMIT + 2);
    memcpy(text + SIZE_LIMIT - 2, "a\"}", 4); /* one more */
    cut(text, 7, got);
    CU_ASSERT_STRING_EQUAL(got, "!");
    cut(text, 1000, got);
    CU_ASSERT_STRING_EQUAL(got, "!");

    struct json_stream s = {.size_max = 1000};
    struct view object;
    memset(text, '{', JSON_DEPTH_MAX + 1);
    struct view in = view_of(text, JSON_DEPTH_MAX);
    CU_ASSERT_EQUAL(json_stream_next(&s, &in, &object), JSON_READ_MORE);
    in = view_of("[", 1);
    CU_ASSERT_EQUAL(json_stream_next(&s, &in, &object), JSON_READ_TOO_DEEP);
    json_stream_free(&s);
}

static void numbers_are_written(void)
{
    struct buffer out = {0};
    json_write_u64(&out, 0);
    json_write_raw(&out, " ");
    json_write_u64(&out, UINT64_MAX);
    json_write_raw(&out, " ");
    json_write_i64(&out, INT64_MIN);
    json_write_raw(&out, " ");
    json_write_i64(&out, 42);
    CU_ASSERT_TRUE(view_equal(view_of(out.data, out.size),
                              view_of_text("0 18446744073709551615 -9223372036854775808 42")));
    buffer_free(&out);
}

SUITE("api json text", TEST(objects_are_cut_out), TEST(bounds_hold), TEST(numbers_are_written))
