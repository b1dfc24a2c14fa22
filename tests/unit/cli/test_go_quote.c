/* SPDX-License-Identifier: Apache-2.0 */
/* Shows that octets are quoted as the Go language writes them. go_quote.h. */
#include "suite.h"

#include "cli/go_quote.h"

static void as_go_writes_them(void)
{
    static const struct {
        const char *octets, *quoted;
    } cases[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"q\" b\\ \a\b\f\n\r\t\v", "\"q\\\" b\\\\ \\a\\b\\f\\n\\r\\t\\v\""},
        {"\x01\x1f\x7f", "\"\\x01\\x1f\\x7f\""},
        {"\xc3\xbc\xf0\x9f\x98\x80", "\"\xc3\xbc\xf0\x9f\x98\x80\""},
        {"\xff\xc3", "\"\\xff\\xc3\""},
        {"\xc0\x80", "\"\\xc0\\x80\""},          /* overlong */
        {"\xed\xa0\x80", "\"\\xed\\xa0\\x80\""}, /* a surrogate */
        {"\xc2\xa0\xc2\x85\xc2\xad", "\"\\u00a0\\u0085\\u00ad\""},
        {"\xf4\x90\x80\x80", "\"\\xf4\\x90\\x80\\x80\""}, /* beyond Unicode */
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buffer out = {0};
        go_quote(view_of_text(cases[i].octets), &out);
        CU_ASSERT_TRUE(view_equal(view_of(out.data, out.size), view_of_text(cases[i].quoted)));
        buffer_free(&out);
    }
    struct buffer out = {0};
    go_quote(view_of("a\0b", 3), &out);
    CU_ASSERT_TRUE(view_equal(view_of(out.data, out.size), view_of_text("\"a\\x00b\"")));
    buffer_free(&out);
}

SUITE("go quote", TEST(as_go_writes_them))
