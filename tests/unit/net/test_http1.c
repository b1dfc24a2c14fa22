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
    char target[HTTP1_TARGET_MAX + 1];
    char fields[3000]; /* "name=value;" of each asked for by the test */
    uint64_t body_size;
    struct buffer body;
    size_t ended;
    bool early;  /* answer at the header */
    bool later;  /* the test answers by itself */
    bool stream; /* the body takes as long as it likes */
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
    static const char *const names[] = {"host", "x-a", "x-b"};
    o->fields[0] = 0;
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        size_t at = 0;
        struct view value;
        while (http_fields_next(request->fields, names[i], &at, &value)) {
            size_t used = strlen(o->fields);
            (void)snprintf(o->fields + used, sizeof o->fields - used, "%s=%.*s;", names[i],
                           (int)value.size, (const char *)value.data);
        }
    }
    o->body_size = request->body_size;
    o->body.size = 0;
    if (o->stream) {
        http1_body_is_stream(o->h);
    }
    if (o->early) {
        answer(o);
    }
}

static void on_data(void *context, struct view piece)
{
    struct owner *o = context;
    CU_ASSERT_TRUE(piece.size > 0);
    buffer_append(&o->body, piece.data, piece.size);
}

static void on_ended(void *context)
{
    struct owner *o = context;
    o->ended++;
    if (!o->later) {
        answer(o);
    }
}

static const struct http1_callbacks callbacks = {
    .request = on_request, .data = on_data, .ended = on_ended};

struct door {
    struct owner owner;
    struct buffer out;
};

static void door_open(struct door *d)
{
    *d = (struct door){0};
    d->owner.h = http1_create(&callbacks, &d->owner, &d->out);
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
    refused_with("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n");
    refused_with("PUT / HTTP/1.1\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\n",
                 "HTTP/1.1 417 Expectation Failed\r\n");

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
    buffer_append(&big, "GET / HTTP/1.1\r\n", 16);
    for (int i = 0; i < HTTP_FIELDS_MAX + 1; i++) {
        buffer_append(&big, "a: d\r\n", 6);
    }
    buffer_append(&big, "\r\n\0", 3);
    refused_with((const char *)big.data, "HTTP/1.1 431 Request Header Fields Too Large\r\n");
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

/* The header's fields come whole, whatever pieces they came in; names regardless of case, blanks cut. */
static void fields_are_kept(void)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nX-A:  one two \t\r\nhOsT:h\r\nx-b:\r\nX-a: 2\r\nOther: x\r\n\r\n";
    for (size_t piece = 1; piece < sizeof request; piece++) {
        struct door d;
        door_open(&d);
        for (size_t at = 0; at < sizeof request - 1; at += piece) {
            size_t left = sizeof request - 1 - at;
            struct view in = view_of(request + at, left < piece ? left : piece);
            http1_feed(d.owner.h, &in);
        }
        CU_ASSERT_STRING_EQUAL(d.owner.fields, "host=h;x-a=one two;x-a=2;x-b=;");
        CU_ASSERT_EQUAL(d.owner.body_size, 0);
        CU_ASSERT_TRUE(out_is(&d, ANSWER_KEPT));
        door_close(&d);
    }
}

/* A client that waits for 100 gets it, unless the answer is there already (RFC 9110 §10.1.1). */
static void tells_the_client_to_go_on(void)
{
    static const char head[] =
        "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    struct door d;
    door_open(&d);
    CU_ASSERT_EQUAL(feed(&d, head), 0);
    CU_ASSERT_TRUE(out_is(&d, "HTTP/1.1 100 Continue\r\n\r\n"));
    CU_ASSERT_EQUAL(d.owner.body_size, 2);
    CU_ASSERT_EQUAL(feed(&d, "ab"), 0);
    CU_ASSERT_TRUE(out_is(&d, ANSWER_KEPT));
    /* refused at once: whether the body still comes is not known, so the connection ends */
    d.owner.early = true;
    (void)feed(&d, head);
    CU_ASSERT_TRUE(out_is(&d, ANSWER_LAST));
    CU_ASSERT_TRUE(http1_is_over(d.owner.h));
    door_close(&d);
    /* nothing to wait for */
    door_open(&d);
    CU_ASSERT_EQUAL(feed(&d, "GET / HTTP/1.1\r\nExpect: 100-Continue\r\n\r\n"), 0);
    CU_ASSERT_TRUE(out_is(&d, ANSWER_KEPT));
    door_close(&d);
}

/* Answered at the header: a small body is thrown away and the connection goes on, a large one or one of
 * unknown size ends it (invariant 4). */
static void an_early_answer_passes_the_body_over(void)
{
    struct door d;
    door_open(&d);
    d.owner.early = true;
    d.owner.later = true;
    CU_ASSERT_EQUAL(feed(&d, "PUT /1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhe"), 0);
    CU_ASSERT_TRUE(out_is(&d, ANSWER_KEPT));
    CU_ASSERT_FALSE(http1_is_busy(d.owner.h));
    CU_ASSERT_EQUAL(feed(&d, "lloGET /2 HTTP/1.1\r\n\r\n"), 0);
    CU_ASSERT_TRUE(out_is(&d, ANSWER_KEPT));
    CU_ASSERT_STRING_EQUAL(d.owner.target, "/2");
    CU_ASSERT_EQUAL(d.owner.ended, 0);
    CU_ASSERT_EQUAL(d.owner.body.size, 0);
    CU_ASSERT_TRUE(feed(&d, "PUT / HTTP/1.1\r\nContent-Length: 70000\r\n\r\nabc") >= 3);
    CU_ASSERT_TRUE(out_is(&d, ANSWER_LAST));
    CU_ASSERT_TRUE(http1_is_over(d.owner.h));
    door_close(&d);

    door_open(&d);
    d.owner.early = true;
    d.owner.later = true;
    (void)feed(&d, "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n");
    CU_ASSERT_TRUE(out_is(&d, ANSWER_LAST));
    CU_ASSERT_TRUE(http1_is_over(d.owner.h));
    door_close(&d);
}

static void begin(struct door *d)
{
    struct http1_header extra = {.name = "X-Y", .value = view_of_text("z")};
    struct http1_answer a = {.status = 200, .headers = &extra, .header_count = 1};
    http1_begin(d->owner.h, &a);
}

/* An answer in pieces goes out in chunks while the request's body is still coming. */
static void answers_in_pieces(void)
{
    struct door d;
    door_open(&d);
    d.owner.later = true;
    d.owner.stream = true;
    CU_ASSERT_EQUAL(feed(&d, "POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 0);
    CU_ASSERT_FALSE(http1_is_partial(d.owner.h)); /* it may take as long as it likes */
    begin(&d);
    CU_ASSERT_TRUE(http1_is_streaming(d.owner.h));
    http1_write(d.owner.h, view_of_text("0123456789abcdef"));
    http1_write(d.owner.h, (struct view){0});
    CU_ASSERT_TRUE(out_is(&d, "HTTP/1.1 200 OK\r\nX-Y: z\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "10\r\n0123456789abcdef\r\n"));
    CU_ASSERT_EQUAL(feed(&d, "1\r\nx\r\n0\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"),
                    strlen("GET /2 HTTP/1.1\r\n\r\n"));
    CU_ASSERT_TRUE(http1_is_busy(d.owner.h));
    CU_ASSERT_EQUAL(d.owner.ended, 1);
    http1_finish(d.owner.h);
    CU_ASSERT_TRUE(out_is(&d, "0\r\n\r\n"));
    CU_ASSERT_FALSE(http1_is_over(d.owner.h));
    CU_ASSERT_EQUAL(feed(&d, "GET /2 HTTP/1.1\r\n\r\n"), 0);
    CU_ASSERT_STRING_EQUAL(d.owner.target, "/2");
    /* broken off: no last chunk */
    begin(&d);
    d.out.size = 0;
    http1_break(d.owner.h);
    CU_ASSERT_EQUAL(d.out.size, 0);
    CU_ASSERT_TRUE(http1_is_over(d.owner.h));
    door_close(&d);

    /* HTTP/1.0 has no chunks: the close is the end */
    door_open(&d);
    d.owner.later = true;
    CU_ASSERT_EQUAL(feed(&d, "GET / HTTP/1.0\r\n\r\n"), 0);
    begin(&d);
    http1_write(d.owner.h, view_of_text("ab"));
    http1_finish(d.owner.h);
    CU_ASSERT_TRUE(out_is(&d, "HTTP/1.1 200 OK\r\nX-Y: z\r\nConnection: close\r\n\r\nab"));
    CU_ASSERT_TRUE(http1_is_over(d.owner.h));
    door_close(&d);

    /* HEAD: the header alone */
    door_open(&d);
    d.owner.later = true;
    CU_ASSERT_EQUAL(feed(&d, "HEAD / HTTP/1.1\r\n\r\n"), 0);
    begin(&d);
    http1_write(d.owner.h, view_of_text("ab"));
    http1_finish(d.owner.h);
    CU_ASSERT_TRUE(out_is(&d, "HTTP/1.1 200 OK\r\nX-Y: z\r\nTransfer-Encoding: chunked\r\n\r\n"));
    CU_ASSERT_FALSE(http1_is_over(d.owner.h));
    door_close(&d);

    /* finished while the body still comes: the connection ends */
    door_open(&d);
    d.owner.later = true;
    CU_ASSERT_EQUAL(feed(&d, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 0);
    begin(&d);
    http1_finish(d.owner.h);
    CU_ASSERT_TRUE(http1_is_over(d.owner.h));
    door_close(&d);

    /* garbage in the body while the answer is under way: no second answer */
    door_open(&d);
    d.owner.later = true;
    CU_ASSERT_EQUAL(feed(&d, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 0);
    begin(&d);
    d.out.size = 0;
    (void)feed(&d, "zz\r\n");
    CU_ASSERT_EQUAL(d.out.size, 0);
    CU_ASSERT_TRUE(http1_is_over(d.owner.h));
    door_close(&d);
}

/* 204 and 304 have no body and say no size. */
static void bodiless_answers(void)
{
    struct door d;
    door_open(&d);
    d.owner.later = true;
    CU_ASSERT_EQUAL(feed(&d, "GET / HTTP/1.1\r\n\r\n"), 0);
    struct http1_answer a = {.status = 304, .body = view_of_text("x")};
    http1_respond(d.owner.h, &a);
    CU_ASSERT_TRUE(out_is(&d, "HTTP/1.1 304 Not Modified\r\n\r\n"));
    door_close(&d);
}

/* Many small requests in one read: each has its own bound (the header's is not theirs together). */
static void pipelined_requests_are_bounded_one_by_one(void)
{
    struct door d;
    door_open(&d);
    struct buffer many = {0};
    for (int i = 0; i < 2000; i++) {
        buffer_append(&many, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
    }
    struct view in = view_of(many.data, many.size);
    http1_feed(d.owner.h, &in);
    CU_ASSERT_EQUAL(in.size, 0);
    CU_ASSERT_EQUAL(d.owner.requests, 2000);
    buffer_free(&many);
    door_close(&d);
}

SUITE("net http1", TEST(answers_on_a_kept_connection), TEST(reads_octet_by_octet),
      TEST(one_request_at_a_time), TEST(closes_when_asked), TEST(head_has_no_body),
      TEST(declines_upgrades), TEST(refuses_what_it_cannot_read),
      TEST(bounds_each_header_by_itself), TEST(truncations_and_flips_are_survived),
      TEST(fields_are_kept), TEST(tells_the_client_to_go_on),
      TEST(an_early_answer_passes_the_body_over), TEST(answers_in_pieces), TEST(bodiless_answers),
      TEST(pipelined_requests_are_bounded_one_by_one))
