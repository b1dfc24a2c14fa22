/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_grpc.c: cutting messages, timeouts, content types and status texts (sheet §4.3, §4.4).
 */
#include "base.h"
#include "suite.h"

#include "net/grpc.h"

static struct view text(const char *from)
{
    return view_of_text(from);
}

/* Read everything of `in`, given in pieces; messages are joined with '|'. The last event that is not
 * MORE comes back. */
static enum grpc_read read_all(struct view in, size_t piece, struct buffer *out)
{
    struct grpc_reader r = {0};
    enum grpc_read got = GRPC_READ_MORE;
    for (size_t at = 0; at < in.size; at += piece) {
        struct view part = view_of(in.data + at, in.size - at < piece ? in.size - at : piece);
        struct view message;
        while ((got = grpc_reader_next(&r, &part, &message)) != GRPC_READ_MORE) {
            if (got == GRPC_READ_SIZE) {
                grpc_reader_admit(&r);
            } else if (got == GRPC_READ_MESSAGE) {
                if (message.size > 0) {
                    buffer_append(out, message.data, message.size);
                }
                buffer_u8(out, '|');
            } else {
                grpc_reader_free(&r);
                return got;
            }
        }
    }
    CU_ASSERT_TRUE(grpc_reader_is_empty(&r));
    grpc_reader_free(&r);
    return got;
}

/* Messages may share and span pieces; an empty one is a message (a StatusRequest is). */
static void cuts_messages(void)
{
    static const uint8_t wire[] = {0, 0, 0, 0, 3, 'a', 'b', 'c', 0, 0, 0, 0,
                                   0, 0, 0, 0, 0, 1,   'd', 0,   0, 0, 0, 0};
    for (size_t piece = 1; piece <= sizeof wire; piece++) {
        struct buffer out = {0};
        CU_ASSERT_EQUAL(read_all(view_of(wire, sizeof wire), piece, &out), GRPC_READ_MORE);
        CU_ASSERT_TRUE(view_equal(view_of(out.data, out.size), text("abc||d||")));
        buffer_free(&out);
    }
}

/* A whole message in one piece is not copied. */
static void whole_message_is_read_in_place(void)
{
    static const uint8_t wire[] = {0, 0, 0, 0, 2, 'x', 'y'};
    struct grpc_reader r = {0};
    struct view in = view_of(wire, sizeof wire);
    struct view message;
    CU_ASSERT_EQUAL(grpc_reader_next(&r, &in, &message), GRPC_READ_SIZE);
    CU_ASSERT_EQUAL(r.size, 2);
    grpc_reader_admit(&r);
    CU_ASSERT_EQUAL(grpc_reader_next(&r, &in, &message), GRPC_READ_MESSAGE);
    CU_ASSERT_PTR_EQUAL(message.data, wire + 5);
    CU_ASSERT_PTR_NULL(r.octets);
    grpc_reader_free(&r);
}

/* Nothing is kept of a message that was not admitted: the size is known before any octet is. */
static void size_comes_before_memory(void)
{
    static const uint8_t wire[] = {0, 0xff, 0xff, 0xff, 0xff, 'x'};
    struct grpc_reader r = {0};
    struct view in = view_of(wire, sizeof wire);
    struct view message;
    for (int i = 0; i < 3; i++) { /* asking again changes nothing */
        CU_ASSERT_EQUAL(grpc_reader_next(&r, &in, &message), GRPC_READ_SIZE);
        CU_ASSERT_EQUAL(r.size, UINT32_MAX);
        CU_ASSERT_PTR_NULL(r.octets);
        CU_ASSERT_EQUAL(in.size, 1);
    }
    CU_ASSERT_FALSE(grpc_reader_is_empty(&r));
    grpc_reader_free(&r);
}

static void refuses_flags(void)
{
    static const uint8_t compressed[] = {1, 0, 0, 0, 1, 'x'};
    static const uint8_t unknown[] = {7, 0, 0, 0, 1, 'x'};
    struct buffer out = {0};
    CU_ASSERT_EQUAL(read_all(view_of(compressed, 6), 6, &out), GRPC_READ_COMPRESSED);
    CU_ASSERT_EQUAL(read_all(view_of(unknown, 6), 2, &out), GRPC_READ_FORMAT);
    CU_ASSERT_EQUAL(out.size, 0);
}

static void writes_the_prefix(void)
{
    uint8_t out[GRPC_PREFIX_BYTES];
    grpc_prefix_write(out, 0x01020304);
    CU_ASSERT_EQUAL(memcmp(out, "\0\1\2\3\4", 5), 0);
}

/* Up to 8 digits and a unit (§4.3). */
static void parses_timeouts(void)
{
    uint64_t us = 0;
    CU_ASSERT_EQUAL(grpc_timeout_parse("996602u", &us), OK);
    CU_ASSERT_EQUAL(us, 996602);
    CU_ASSERT_EQUAL(grpc_timeout_parse("99999999H", &us), OK);
    CU_ASSERT_EQUAL(us, 99999999ull * 3600 * 1000000);
    CU_ASSERT_EQUAL(grpc_timeout_parse("2M", &us), OK);
    CU_ASSERT_EQUAL(us, 120000000);
    CU_ASSERT_EQUAL(grpc_timeout_parse("7S", &us), OK);
    CU_ASSERT_EQUAL(us, 7000000);
    CU_ASSERT_EQUAL(grpc_timeout_parse("15m", &us), OK);
    CU_ASSERT_EQUAL(us, 15000);
    CU_ASSERT_EQUAL(grpc_timeout_parse("1n", &us), OK);
    CU_ASSERT_EQUAL(us, 1); /* rounded up, never to "none" */
    CU_ASSERT_EQUAL(grpc_timeout_parse("0S", &us), OK);
    CU_ASSERT_EQUAL(us, 0);

    static const char *const bad[] = {"",    "S",   "1",   "123456789S", "1s",
                                      "1 S", "-1S", "1SS", "1.5S",       "+1S"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        us = 42;
        CU_ASSERT_EQUAL(grpc_timeout_parse(bad[i], &us), ERR_MALFORMED);
        CU_ASSERT_EQUAL(us, 42);
    }
}

/* The subtype is echoed, parameters are not (§4.3). */
static void echoes_content_types(void)
{
    struct view echo;
    CU_ASSERT_TRUE(grpc_content_type("application/grpc", &echo));
    CU_ASSERT_TRUE(view_equal(echo, text("application/grpc")));
    CU_ASSERT_TRUE(grpc_content_type("application/grpc+proto", &echo));
    CU_ASSERT_TRUE(view_equal(echo, text("application/grpc+proto")));
    CU_ASSERT_TRUE(grpc_content_type("application/grpc+json;charset=utf-8", &echo));
    CU_ASSERT_TRUE(view_equal(echo, text("application/grpc+json")));
    CU_ASSERT_TRUE(grpc_content_type("application/grpc;charset=utf-8", &echo));
    CU_ASSERT_TRUE(view_equal(echo, text("application/grpc")));
    CU_ASSERT_FALSE(grpc_content_type("application/grpc-web", &echo));
    CU_ASSERT_FALSE(grpc_content_type("application/json", &echo));
    CU_ASSERT_FALSE(grpc_content_type("", &echo));
}

static bool encodes_to(const char *from, const char *expected)
{
    char out[GRPC_MESSAGE_MAX];
    size_t size = grpc_message_encode(from, out);
    return view_equal(view_of(out, size), text(expected));
}

/* Outside 0x20-0x7e and '%' itself are percent-encoded, UTF-8 octet by octet (§4.4). */
static void encodes_messages(void)
{
    CU_ASSERT_TRUE(
        encodes_to("etcdserver: key is not provided", "etcdserver: key is not provided"));
    CU_ASSERT_TRUE(encodes_to("50%\n\xc3\xa4~\x7f", "50%25%0A%C3%A4~%7F"));
    CU_ASSERT_TRUE(encodes_to("", ""));
    char longer[2000];
    char out[GRPC_MESSAGE_MAX];
    memset(longer, '%', sizeof longer);
    longer[sizeof longer - 1] = 0;
    size_t size = grpc_message_encode(longer, out);
    CU_ASSERT_TRUE(size <= GRPC_MESSAGE_MAX);
    CU_ASSERT_EQUAL(size % 3, 0); /* no escape is cut in the middle */
}

/* The framework's own words for a path nobody serves (§3). */
static void names_what_is_unknown(void)
{
    char out[128];
    grpc_unknown_text("/etcdserverpb.KV/Nope", true, out, sizeof out);
    CU_ASSERT_STRING_EQUAL(out, "unknown method Nope for service etcdserverpb.KV");
    grpc_unknown_text("/foo.Bar/Baz", false, out, sizeof out);
    CU_ASSERT_STRING_EQUAL(out, "unknown service foo.Bar");
    grpc_unknown_text("nothing", false, out, sizeof out);
    CU_ASSERT_STRING_EQUAL(out, "malformed method name: \"nothing\"");
    grpc_unknown_text("", false, out, sizeof out);
    CU_ASSERT_STRING_EQUAL(out, "malformed method name: \"\"");
}

static void names_codes(void)
{
    CU_ASSERT_STRING_EQUAL(grpc_code_text(GRPC_OK), "0");
    CU_ASSERT_STRING_EQUAL(grpc_code_text(GRPC_UNAVAILABLE), "14");
    CU_ASSERT_STRING_EQUAL(grpc_code_text(GRPC_UNAUTHENTICATED), "16");
}

SUITE("net grpc", TEST(cuts_messages), TEST(whole_message_is_read_in_place),
      TEST(size_comes_before_memory), TEST(refuses_flags), TEST(writes_the_prefix),
      TEST(parses_timeouts), TEST(echoes_content_types), TEST(encodes_messages),
      TEST(names_what_is_unknown), TEST(names_codes))
