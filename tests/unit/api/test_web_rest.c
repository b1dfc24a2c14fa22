/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_web_rest.c: requests to /kv/ and /watch/ are read or refused with a reason, conditions hold or do
 * not (RFC 9110 §13), writes with conditions become transactions, and pairs are shown.
 */
#include "base.h"
#include "suite.h"

#include "api/web_rest.h"

static char problem[REST_PROBLEM_MAX];

static int parse_with(const char *method, const char *key, const char *query, const char *match,
                      const char *none_match, struct rest_request *out)
{
    problem[0] = 0;
    return rest_parse(method, view_of_text(key), view_of_text(query), view_of_text(match),
                      view_of_text(none_match), out, problem);
}

static int parse(const char *method, const char *key, const char *query, struct rest_request *out)
{
    return parse_with(method, key, query, "", "", out);
}

static bool buffer_is(const struct buffer *b, const void *octets, size_t size)
{
    return view_equal(view_of(b->data, b->size), view_of(octets, size));
}

static void keys_are_decoded(void)
{
    struct rest_request r;
    CU_ASSERT_EQUAL(parse("GET", "a%2Fb/c%00%ff", "", &r), 0);
    CU_ASSERT_TRUE(buffer_is(&r.key, "a/b/c\0\xff", 7));
    CU_ASSERT_EQUAL(r.range_end.size, 0);
    CU_ASSERT_EQUAL(r.verb, REST_GET);
    CU_ASSERT_EQUAL(r.wait_revision, -1);
    CU_ASSERT_STRING_EQUAL(r.content_type, "application/octet-stream");
    rest_request_free(&r);
    CU_ASSERT_EQUAL(parse("GET", "", "", &r), 400);
    CU_ASSERT_PTR_NOT_NULL(strstr(problem, "empty"));
    CU_ASSERT_EQUAL(parse("PUT", "", "", &r), 400);
    CU_ASSERT_EQUAL(parse("GET", "a%2", "", &r), 400);
}

static void prefixes_are_ranges(void)
{
    struct rest_request r;
    CU_ASSERT_EQUAL(parse("GET", "a/", "prefix&limit=3&keys&rev=7&serializable", &r), 0);
    CU_ASSERT_TRUE(buffer_is(&r.range_end, "a0", 2));
    CU_ASSERT_TRUE(r.prefix && r.keys_only && r.serializable);
    CU_ASSERT_EQUAL(r.limit, 3);
    CU_ASSERT_EQUAL(r.revision, 7);
    rest_request_free(&r);
    CU_ASSERT_EQUAL(parse("GET", "a", "max_staleness_ms=250", &r), 0);
    CU_ASSERT_EQUAL(r.max_staleness_ms, 250);
    rest_request_free(&r);
    CU_ASSERT_EQUAL(parse("GET", "a%ff%FF", "prefix=true", &r), 0);
    CU_ASSERT_TRUE(buffer_is(&r.range_end, "b", 1));
    rest_request_free(&r);
    CU_ASSERT_EQUAL(parse("GET", "%ff", "prefix", &r), 0);
    CU_ASSERT_TRUE(buffer_is(&r.key, "\xff", 1));
    CU_ASSERT_TRUE(buffer_is(&r.range_end, "\0", 1));
    rest_request_free(&r);
    CU_ASSERT_EQUAL(parse("DELETE", "", "prefix", &r), 0);
    CU_ASSERT_TRUE(buffer_is(&r.key, "\0", 1));
    CU_ASSERT_TRUE(buffer_is(&r.range_end, "\0", 1));
    rest_request_free(&r);
}

/* A typing error never becomes another request. */
static void unknown_parameters_are_refused(void)
{
    static const char *const bad[][2] = {
        {"GET", "prefx"},
        {"GET", "prefix=no"},
        {"GET", "rev=0"},
        {"GET", "rev=x"},
        {"GET", "rev=5&rev=6"},
        {"GET", "prefix&keys&prefix"},
        {"GET", "limit=-1"},
        {"GET", "lease=1"},
        {"GET", "max_staleness_ms=-1"},
        {"GET", "max_staleness_ms=x"},
        {"GET", "max_staleness_ms=100000000000"},
        {"PUT", "max_staleness_ms=1"},
        {"GET", "type=html"},
        {"GET", "wait=x"},
        {"GET", "wait&rev=1"},
        {"GET", "keys"},
        {"GET", "limit=1"},
        {"PUT", "prefix"},
        {"PUT", "lease=0"},
        {"PUT", "lease=0x"},
        {"PUT", "lease=-1"},
        {"PUT", "lease=0xzz"},
        {"PUT", "lease=0x12345678901234567"},
        {"PUT", "lease=0x\x11"},
        {"DELETE", "keys"},
        {"DELETE", "lease=1"},
        {"PUT", "wait"},
        {"PUT", "lease=0xffffffffffffffff"},
    };
    struct rest_request r;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        CU_ASSERT_EQUAL(parse(bad[i][0], "a", bad[i][1], &r), 400);
        CU_ASSERT_TRUE(problem[0] != 0);
    }
    CU_ASSERT_EQUAL(parse("POST", "a", "", &r), 405);
    CU_ASSERT_EQUAL(parse("GET", "a", "x%0a<b>\n=1", &r), 400);
    CU_ASSERT_PTR_NULL(strchr(problem, '\n'));
}

static void leases_and_waits_are_read(void)
{
    struct rest_request r;
    CU_ASSERT_EQUAL(parse("PUT", "a", "lease=0x7fffffffffffffff", &r), 0);
    CU_ASSERT_EQUAL(r.lease, INT64_MAX);
    rest_request_free(&r);
    CU_ASSERT_EQUAL(parse("PUT", "a", "lease=12", &r), 0);
    CU_ASSERT_EQUAL(r.lease, 12);
    rest_request_free(&r);
    CU_ASSERT_EQUAL(parse("GET", "a", "wait", &r), 0);
    CU_ASSERT_TRUE(r.wait);
    CU_ASSERT_EQUAL(r.wait_revision, -1);
    rest_request_free(&r);
    CU_ASSERT_EQUAL(parse("GET", "a", "wait=5&prefix", &r), 0);
    CU_ASSERT_EQUAL(r.wait_revision, 5);
    rest_request_free(&r);
}

static int holds(const char *match, const char *none_match, int64_t mod_revision)
{
    struct rest_request r;
    const struct key_value kv = {.mod_revision = mod_revision};
    CU_ASSERT_EQUAL_FATAL(parse_with("GET", "a", "", match, none_match, &r), 0);
    int status = rest_conditions(&r, mod_revision > 0 ? &kv : NULL);
    rest_request_free(&r);
    return status;
}

static void conditions_of_reads(void)
{
    CU_ASSERT_EQUAL(holds("", "", 0), 0);
    CU_ASSERT_EQUAL(holds("\"5\"", "", 5), 0);
    CU_ASSERT_EQUAL(holds("\"4\", \"5\"", "", 5), 0);
    CU_ASSERT_EQUAL(holds("\"4\"", "", 5), 412);
    CU_ASSERT_EQUAL(holds("*", "", 5), 0);
    CU_ASSERT_EQUAL(holds("*", "", 0), 412);
    CU_ASSERT_EQUAL(holds("\"foreign\"", "", 5), 412);
    CU_ASSERT_EQUAL(holds("", "\"5\"", 5), 304);
    CU_ASSERT_EQUAL(holds("", "W/\"5\"", 5), 304);
    CU_ASSERT_EQUAL(holds("", "\"4\",\"6\"", 5), 0);
    CU_ASSERT_EQUAL(holds("", "*", 5), 304);
    CU_ASSERT_EQUAL(holds("", "*", 0), 0);
    struct rest_request r;
    static const char *const bad[] = {"5", "\"5", "\"5\" *", ",", "W/5", "\""};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        CU_ASSERT_EQUAL(parse_with("GET", "a", "", bad[i], "", &r), 400);
    }
    CU_ASSERT_EQUAL(parse_with("GET", "a", "prefix", "\"5\"", "", &r), 400);
    CU_ASSERT_EQUAL(parse_with("PUT", "a", "", "\"5\",\"6\"", "", &r), 400);
    CU_ASSERT_EQUAL(parse_with("PUT", "a", "", "W/\"5\"", "", &r), 400);
    char many[200] = "";
    for (size_t i = 0; i < REST_TAGS_MAX + 1; i++) {
        strcat(many, "\"1\",");
    }
    CU_ASSERT_EQUAL(parse_with("GET", "a", "", "", many, &r), 400);
}

static void writes_become_transactions(void)
{
    struct rest_request r;
    struct buffer body = {0};
    struct txn_body *tree = NULL;
    CU_ASSERT_EQUAL_FATAL(parse_with("PUT", "k", "lease=9", "\"5\"", "*", &r), 0);
    rest_write_body(&r, view_of_text("value"), &body);
    CU_ASSERT_EQUAL_FATAL(txn_body_decode(view_of(body.data, body.size), &tree), OK);
    CU_ASSERT_EQUAL(tree->compare_count, 2);
    CU_ASSERT_EQUAL(tree->compares[0].target, TXN_MOD);
    CU_ASSERT_EQUAL(tree->compares[0].result, TXN_EQUAL);
    CU_ASSERT_EQUAL(tree->compares[0].number, 5);
    CU_ASSERT_EQUAL(tree->compares[1].target, TXN_VERSION);
    CU_ASSERT_EQUAL(tree->compares[1].result, TXN_EQUAL);
    CU_ASSERT_EQUAL(tree->success_count, 1);
    CU_ASSERT_EQUAL(tree->success[0].kind, TXN_PUT);
    CU_ASSERT_EQUAL(tree->success[0].lease, 9);
    CU_ASSERT_TRUE(view_equal(tree->success[0].value, view_of_text("value")));
    CU_ASSERT_EQUAL(tree->failure[0].kind, TXN_RANGE);
    CU_ASSERT_EQUAL(txn_body_check(tree, 128), OK);
    mem_free(tree);
    rest_request_free(&r);
    body.size = 0;
    CU_ASSERT_EQUAL_FATAL(parse_with("DELETE", "k", "", "*", "\"3\", \"4\"", &r), 0);
    rest_write_body(&r, (struct view){0}, &body);
    CU_ASSERT_EQUAL_FATAL(txn_body_decode(view_of(body.data, body.size), &tree), OK);
    CU_ASSERT_EQUAL(tree->compare_count, 3);
    CU_ASSERT_EQUAL(tree->compares[0].result, TXN_GREATER);
    CU_ASSERT_EQUAL(tree->compares[2].result, TXN_NOT_EQUAL);
    CU_ASSERT_EQUAL(tree->compares[2].number, 4);
    CU_ASSERT_EQUAL(tree->success[0].kind, TXN_DELETE_RANGE);
    CU_ASSERT_EQUAL(txn_body_check(tree, 128), OK);
    mem_free(tree);
    rest_request_free(&r);
    buffer_free(&body);
}

static void pairs_are_shown(void)
{
    struct buffer out = {0};
    const struct key_value text = {.key = view_of_text("a/\xc3\xa9"),
                                   .value = view_of_text("<x>\n"),
                                   .create_revision = 2,
                                   .mod_revision = 3,
                                   .version = 2,
                                   .lease = INT64_MAX};
    rest_write_kv(&text, false, &out);
    buffer_u8(&out, 0);
    CU_ASSERT_STRING_EQUAL(
        (const char *)out.data,
        "{\"key\":\"a/\xc3\xa9\",\"value\":\"\\u003cx\\u003e\\n\",\"create_revision\":2,"
        "\"mod_revision\":3,\"version\":2,\"lease\":\"9223372036854775807\"}");
    out.size = 0;
    struct result *result = result_create();
    struct key_value raw = {.key = view_of("\xff", 1), .value = view_of("\0\x80", 2)};
    result_add(result, &raw, false);
    result_add(result, &raw, false);
    rest_write_list(result, false, &out);
    buffer_u8(&out, 0);
    CU_ASSERT_STRING_EQUAL(
        (const char *)out.data,
        "[\n{\"key_base64\":\"/w==\",\"value_base64\":\"AIA=\",\"create_revision\":0,"
        "\"mod_revision\":0,\"version\":0},\n{\"key_base64\":\"/w==\",\"value_base64\":"
        "\"AIA=\",\"create_revision\":0,\"mod_revision\":0,\"version\":0}\n]\n");
    out.size = 0;
    result_free(&result);
    result = result_create();
    rest_write_list(result, false, &out);
    CU_ASSERT_TRUE(buffer_is(&out, "[\n]\n", 4));
    result_free(&result);
    buffer_free(&out);
}

static void watches_are_read(void)
{
    struct rest_request r;
    CU_ASSERT_EQUAL(rest_parse_watch("GET", view_of_text("a"), view_of_text("prefix&rev=9"),
                                     (struct view){0}, &r, problem),
                    0);
    CU_ASSERT_EQUAL(r.revision, 9);
    CU_ASSERT_TRUE(r.prefix);
    rest_request_free(&r);
    CU_ASSERT_EQUAL(rest_parse_watch("GET", view_of_text("a"), view_of_text("rev=9"),
                                     view_of_text("41"), &r, problem),
                    0);
    CU_ASSERT_EQUAL(r.revision, 42);
    rest_request_free(&r);
    CU_ASSERT_EQUAL(rest_parse_watch("GET", view_of_text("a"), view_of_text("limit=9"),
                                     (struct view){0}, &r, problem),
                    400);
    CU_ASSERT_EQUAL(rest_parse_watch("GET", view_of_text("a"), (struct view){0}, view_of_text("x"),
                                     &r, problem),
                    400);
    CU_ASSERT_EQUAL(
        rest_parse_watch("PUT", view_of_text("a"), (struct view){0}, (struct view){0}, &r, problem),
        405);
}

SUITE("api web rest", TEST(keys_are_decoded), TEST(prefixes_are_ranges),
      TEST(unknown_parameters_are_refused), TEST(leases_and_waits_are_read),
      TEST(conditions_of_reads), TEST(writes_become_transactions), TEST(pairs_are_shown),
      TEST(watches_are_read))
