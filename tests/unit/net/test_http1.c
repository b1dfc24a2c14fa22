/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http1.c: the HTTP/1.1 engine: requests whole and in pieces, keep-alive, one at a time, bounds and
 * garbage (RFC 9112).
 */
#include "base.h"
#include "suite.h"

#include "net/http1.h"

struct owner {
    struct http1 *h;
    size_t requests;
    char method[16];
    char target[3000];
    struct buffer body;
    bool later; /* the test answers by itself */
    bool close;
};

static void answer(struct owner *o)
{
    struct http1_answer a = {
        .status = 200, .content_type = "text/plain", .body = view_of_text("hi"), .close = o->close};
    http1_respond(o->h, &a);
}

static void on_request(void *context, const struct http1_request *request)
{
    struct owner *o = context;
    o->requests++;
    (void)snprintf(o->method, sizeof o->method, "%s", request->method);
    (void)snprintf(o->target, sizeof o->target, "%.*s", (int)request->target.size,
                   (const char *)request->target.data);
    o->body.size = 0;
    if (request->body.size > 0) {
        buffer_append(&o->body, request->body.data, request->body.size);
    }
    if (!o->later) {
        answer(o);
    }
}

static const struct http1_callbacks callbacks = {.request = on_request};

#define BODY_MAX 1000

struct door {
    struct owner owner;
    struct buffer out;
};

static void door_open(struct door *d)
{
    *d = (struct door){0};
    d->owner.h = http1_create(&callbacks, &d->owner, &d->out, BODY_MAX);
}

static void door_close(struct door *d)
{
    http1_destroy(&d->owner.h);
    buffer_free(&d->owner.body);
    buffer_free(&d->out);
}

/* Feed; what the engine does not take now is the number that comes back. */
static size_t feed(struct door *d, const char *octets)
{
    struct view in = view_of_text(octets);
    http1_feed(d->owner.h, &in);
    return in.size;
}

static bool out_is(struct door *d, const char *expected)
{
    bool equal = view_equal(view_of(d->out.data, d->out.size), view_of_text(expected));
    d->out.size = 0;
    return equal;
}

#define ANSWER_KEPT "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
#define ANSWER_LAST                                                                                \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: "             \
    "close\r\n\r\nhi"

/* Requests follow each other on a kept connection. */
static void answers_on_a_kept_connection(void)
{
    struct door d;
    door_open(&d);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(feed(&d, "GET /health?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
        CU_ASSERT_TRUE(out_is(&d, ANSWER_KEPT));
    }
    CU_ASSERT_EQUAL(d.owner.requests, 3);
    CU_ASSERT_STRING_EQUAL(d.owner.method, "GET");
    CU_ASSERT_STRING_EQUAL(d.owner.target, "/health?x=1");
    CU_ASSERT_FALSE(http1_is_over(d.owner.h));
    door_close(&d);
}

/* The same in single octets, with a body, sized and chunked. */
static void reads_octet_by_octet(void)
{
    static const char *const requests[] = {
        "PUT /v HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "PUT /v HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
        "chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    };
    for (size_t r = 0; r < ARRAY_COUNT(requests); r++) {
        struct door d;
        door_open(&d);
        for (const char *at = requests[r]; *at != 0; at++) {
            struct view in = view_of(at, 1);
            http1_feed(d.owner.h, &in);
            CU_ASSERT_EQUAL(in.size, 0);
            CU_ASSERT_EQUAL(http1_is_partial(d.owner.h), at[1] != 0);
        }
        CU_ASSERT_EQUAL(d.owner.requests, 1);
        CU_ASSERT_STRING_EQUAL(d.owner.method, "PUT");
        CU_ASSERT_TRUE(
            view_equal(view_of(d.owner.body.data, d.owner.body.size), view_of_text("hello")));
        CU_ASSERT_TRUE(out_is(&d, ANSWER_KEPT));
        door_close(&d);
    }
}

/* What is sent behind an unanswered request waits (invariant 1) and is answered in order. */
static void one_request_at_a_time(void)
{
    struct door d;
    door_open(&d);
    d.owner.later = true;
    static const char two[] = "GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n";
    size_t left = feed(&d, two);
    CU_ASSERT_EQUAL(left, strlen("GET /2 HTTP/1.1\r\n\r\n"));
    CU_ASSERT_TRUE(http1_is_busy(d.owner.h));
    CU_ASSERT_STRING_EQUAL(d.owner.target, "/1");
    CU_ASSERT_EQUAL(feed(&d, "x"), 1); /* not taken while busy */
    answer(&d.owner);
    CU_ASSERT_TRUE(out_is(&d, ANSWER_KEPT));
    CU_ASSERT_EQUAL(feed(&d, two + sizeof two - 1 - left), 0);
    CU_ASSERT_STRING_EQUAL(d.owner.target, "/2");
    answer(&d.owner);
    CU_ASSERT_TRUE(out_is(&d, ANSWER_KEPT));
    door_close(&d);
}

/* Who asked to close, speaks HTTP/1.0 or is told so, is closed after the answer (invariant 3). */
static void closes_when_asked(void)
{
    struct door d;
    door_open(&d);
    CU_ASSERT_EQUAL(
        feed(&d, "GET / HTTP/1.1\r\nConnection: close\r\n\r\nGET /more HTTP/1.1\r\n\r\n"),
        strlen("GET /more HTTP/1.1\r\n\r\n"));
    CU_ASSERT_TRUE(out_is(&d, ANSWER_LAST));
    CU_ASSERT_TRUE(http1_is_over(d.owner.h));
    CU_ASSERT_EQUAL(d.owner.requests, 1);
    door_close(&d);

    door_open(&d);
    CU_ASSERT_EQUAL(feed(&d, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 0);
    CU_ASSERT_TRUE(out_is(&d, ANSWER_LAST));
    CU_ASSERT_TRUE(http1_is_over(d.owner.h));
    door_close(&d);

    door_open(&d);
    d.owner.close = true;
    CU_ASSERT_EQUAL(feed(&d, "GET / HTTP/1.1\r\n\r\n"), 0);
    CU_ASSERT_TRUE(out_is(&d, ANSWER_LAST));
    CU_ASSERT_TRUE(http1_is_over(d.owner.h));
    door_close(&d);

    /* half-closed while its answer is under way: answered, then over */
    door_open(&d);
    d.owner.later = true;
    CU_ASSERT_EQUAL(feed(&d, "GET / HTTP/1.1\r\n\r\n"), 0);
    http1_feed_end(d.owner.h);
    CU_ASSERT_FALSE(http1_is_over(d.owner.h));
    answer(&d.owner);
    CU_ASSERT_TRUE(out_is(&d, ANSWER_LAST));
    CU_ASSERT_TRUE(http1_is_over(d.owner.h));
    door_close(&d);

    /* half-closed in the middle of a request: nothing to answer */
    door_open(&d);
    CU_ASSERT_EQUAL(feed(&d, "GET / HT"), 0);
    http1_feed_end(d.owner.h);
    CU_ASSERT_TRUE(http1_is_over(d.owner.h));
    CU_ASSERT_EQUAL(d.out.size, 0);
    door_close(&d);
}

/* HEAD gets the header of the answer alone; its size is that of GET's body (RFC 9110 §9.3.2). */
static void head_has_no_body(void)
{
    struct door d;
    door_open(&d);
    CU_ASSERT_EQUAL(feed(&d, "HEAD / HTTP/1.1\r\n\r\n"), 0);
    CU_ASSERT_TRUE(
        out_is(&d, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n"));
    door_close(&d);
}

/* An offer to speak another protocol is not taken up: the request is served as it is. */
static void declines_upgrades(void)
{
    struct door d;
    door_open(&d);
    CU_ASSERT_EQUAL(feed(&d,
                         "GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                         "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"),
                    0);
    CU_ASSERT_EQUAL(d.owner.requests, 1);
    CU_ASSERT_EQUAL(feed(&d, "GET /next HTTP/1.1\r\n\r\n"), 0);
    CU_ASSERT_STRING_EQUAL(d.owner.target, "/next");
    door_close(&d);
}

static void refused_with(const char *request, const char *status_line)
{
    struct door d;
    door_open(&d);
    struct view in = view_of_text(request);
    http1_feed(d.owner.h, &in);
    CU_ASSERT_EQUAL(d.owner.requests, 0);
    CU_ASSERT_TRUE(http1_is_over(d.owner.h));
    CU_ASSERT_TRUE_FATAL(d.out.size > strlen(status_line));
    CU_ASSERT_EQUAL(memcmp(d.out.data, status_line, strlen(status_line)), 0);
    door_close(&d);
}

/* Garbage and what goes too far is answered and then nothing more is read. */
static void refuses_what_it_cannot_read(void)
{
    refused_with("NONSENSE\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n");
    refused_with("\x16\x03\x01\x02", "HTTP/1.1 400 Bad Request\r\n"); /* TLS on a plain port */
    refused_with("GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                 "HTTP/1.1 400 Bad Request\r\n"); /* request smuggling */
    refused_with("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                 "HTTP/1.1 400 Bad Request\r\n");
    refused_with("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n");
    refused_with("PUT / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n",
                 "HTTP/1.1 413 Payload Too Large\r\n");

    struct buffer big = {0};
    buffer_append(&big, "GET /", 5);
    for (int i = 0; i < HTTP1_TARGET_MAX; i++) {
        buffer_u8(&big, 'a');
    }
    buffer_append(&big, " HTTP/1.1\r\n\r\n\0", 14);
    refused_with((const char *)big.data, "HTTP/1.1 414 URI Too Long\r\n");

    big.size = 0;
    buffer_append(&big, "GET / HTTP/1.1\r\n", 16);
    for (int i = 0; i < HTTP1_HEADER_BYTES_MAX / 8; i++) {
        buffer_append(&big, "abc: d\r\n", 8);
    }
    buffer_u8(&big, 0);
    refused_with((const char *)big.data, "HTTP/1.1 431 Request Header Fields Too Large\r\n");

    big.size = 0;
    buffer_append(&big, "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 46);
    for (int i = 0; i < BODY_MAX / 4 + 1; i++) {
        buffer_append(&big, "4\r\nabcd\r\n", 9);
    }
    buffer_u8(&big, 0);
    refused_with((const char *)big.data, "HTTP/1.1 413 Payload Too Large\r\n");
    buffer_free(&big);
}

/* A header just below the bound passes, also in pieces, and the bound is of each request anew. */
static void bounds_each_header_by_itself(void)
{
    struct door d;
    door_open(&d);
    struct buffer request = {0};
    buffer_append(&request, "GET / HTTP/1.1\r\nA: ", 19);
    while (request.size < HTTP1_HEADER_BYTES_MAX - 100) {
        buffer_u8(&request, 'v');
    }
    buffer_append(&request, "\r\n\r\n", 4);
    for (size_t i = 0; i < 3; i++) {
        for (size_t at = 0; at < request.size; at += 1000) {
            struct view in =
                view_of(request.data + at, request.size - at < 1000 ? request.size - at : 1000);
            http1_feed(d.owner.h, &in);
            CU_ASSERT_EQUAL(in.size, 0);
        }
        CU_ASSERT_EQUAL(d.owner.requests, i + 1);
    }
    buffer_free(&request);
    door_close(&d);
}

/* Every truncation and flip of a request is survived. */
static void truncations_and_flips_are_survived(void)
{
    static const char request[] =
        "PUT /v?a=b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    char copy[sizeof request];
    for (size_t at = 0; at < sizeof request - 1; at++) {
        for (unsigned flip = 0; flip < 256; flip += 17) {
            struct door d;
            door_open(&d);
            memcpy(copy, request, sizeof request);
            copy[at] = (char)(copy[at] ^ (char)flip);
            struct view in = view_of(copy, flip == 0 ? at : sizeof request - 1);
            http1_feed(d.owner.h, &in);
            CU_ASSERT_TRUE(in.size == 0 || http1_is_over(d.owner.h) || d.owner.requests > 0);
            door_close(&d);
        }
    }
}

SUITE("net http1", TEST(answers_on_a_kept_connection), TEST(reads_octet_by_octet),
      TEST(one_request_at_a_time), TEST(closes_when_asked), TEST(head_has_no_body),
      TEST(declines_upgrades), TEST(refuses_what_it_cannot_read),
      TEST(bounds_each_header_by_itself), TEST(truncations_and_flips_are_survived))
