/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_fields.c: header fields are kept whole, found regardless of case, and bounded.
 */
#include "base.h"
#include "suite.h"

#include "net/http_fields.h"

static bool is(struct view v, const char *text)
{
    return view_equal(v, view_of_text(text));
}

static void fields_are_found(void)
{
    struct http_fields f = {0};
    CU_ASSERT_TRUE(http_fields_add(&f, view_of_text("Host"), view_of_text("a")));
    CU_ASSERT_TRUE(http_fields_add(&f, view_of_text("If-Match"), view_of_text(" \"1\"\t")));
    CU_ASSERT_TRUE(http_fields_add(&f, view_of_text("X"), (struct view){0}));
    CU_ASSERT_TRUE(http_fields_begin(&f));
    http_fields_name(&f, view_of_text("if-"));
    http_fields_name(&f, view_of_text("MATCH"));
    http_fields_value(&f, view_of_text("\"2"));
    http_fields_value(&f, view_of_text("\""));
    CU_ASSERT_TRUE(is(http_fields_get(&f, "hOST"), "a"));
    CU_ASSERT_TRUE(is(http_fields_get(&f, "if-match"), "\"1\""));
    CU_ASSERT_EQUAL(http_fields_get(&f, "x").size, 0);
    CU_ASSERT_EQUAL(http_fields_get(&f, "none").size, 0);
    size_t at = 0;
    struct view value;
    CU_ASSERT_TRUE(http_fields_next(&f, "if-match", &at, &value) && is(value, "\"1\""));
    CU_ASSERT_TRUE(http_fields_next(&f, "if-match", &at, &value) && is(value, "\"2\""));
    CU_ASSERT_FALSE(http_fields_next(&f, "if-match", &at, &value));
    at = 0;
    CU_ASSERT_TRUE(http_fields_next(&f, "x", &at, &value)); /* there, and empty */
    at = 0;
    CU_ASSERT_FALSE(http_fields_next(NULL, "x", &at, &value));
    http_fields_clear(&f);
    CU_ASSERT_EQUAL(http_fields_get(&f, "host").size, 0);
    http_fields_free(&f);
}

static void their_number_is_bounded(void)
{
    struct http_fields f = {0};
    for (size_t i = 0; i < HTTP_FIELDS_MAX; i++) {
        CU_ASSERT_TRUE(http_fields_add(&f, view_of_text("a"), view_of_text("b")));
    }
    CU_ASSERT_FALSE(http_fields_add(&f, view_of_text("a"), view_of_text("b")));
    CU_ASSERT_EQUAL(f.count, HTTP_FIELDS_MAX);
    http_fields_free(&f);
}

SUITE("net http fields", TEST(fields_are_found), TEST(their_number_is_bounded))
