/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_client_web.c: plain HTTP on the client port: sniffing, /health and /version over HTTP/1.1 and
 * HTTP/2, keep-alive, half-closed and impolite clients (sheet §4.2, §5.1).
 */
#include "client_fixture.h"

#include "api/version.h"

#define NOSNIFF "x-content-type-options: nosniff\r\n"
#define VERSION_BODY                                                                               \
    "{\"etcdserver\":\"" API_VERSION_SERVER "\",\"etcdcluster\":\"3.6.0\",\"storage\":\"3.6.0\"}"

/* Read until `size` octets came (terminated then), or until the end if size is SIZE_MAX. */
static size_t read_text(int fd, char *out, size_t out_size, size_t size)
{
    size_t used = 0;
    while (used < size && used + 1 < out_size) {
        size_t want = size - used < out_size - 1 - used ? size - used : out_size - 1 - used;
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        CU_ASSERT_EQUAL_FATAL(poll(&ready, 1, WITNESS_PATIENCE_MS), 1);
        ssize_t part = recv(fd, out + used, want, 0);
        if (part <= 0) {
            break;
        }
        used += (size_t)part;
    }
    out[used] = 0;
    return used;
}

static void expect_text(int fd, const char *expected)
{
    char got[2000];
    (void)read_text(fd, got, sizeof got, strlen(expected));
    CU_ASSERT_STRING_EQUAL(got, expected);
}

static void expect_end(int fd)
{
    char got[100];
    CU_ASSERT_EQUAL(read_text(fd, got, sizeof got, SIZE_MAX), 0);
}

static void say(int fd, const char *text)
{
    send_all(fd, text, strlen(text));
}

#define HEALTHY                                                                                    \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" NOSNIFF "Content-Length: 29\r\n\r\n"   \
    "{\"health\":\"true\",\"reason\":\"\"}"

/* /health reads through raft; /health?serializable=true asks apply alone; both on one kept connection,
 * sent octet by octet so that the sniffing sees every prefix. */
static void health_reads(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    int fd = fixture_connect(&f);
    for (int round = 0; round < 2; round++) {
        for (const char *at = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"; *at != 0; at++) {
            send_all(fd, at, 1);
        }
        struct read_request *m = take_read(&f.raft, RAFT_READ);
        CU_ASSERT_TRUE(m->query->count_only);
        CU_ASSERT_TRUE(m->query->key.size > 0);
        reply_ok(&f, m->request_id, 1);
        MSG_FREE(m);
        expect_text(fd, HEALTHY);
    }
    say(fd, "GET /health?serializable=true HTTP/1.1\r\n\r\n");
    reply_ok(&f, take_read_id(&f.apply, APPLY_READ), 1);
    expect_text(fd, HEALTHY);
    close(fd);
    fixture_end(&f);
}

/* Without a leader, or when the read fails, 503 and the reason. */
static void health_says_why_not(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    int fd = fixture_connect(&f);
    say(fd, "GET /health HTTP/1.1\r\n\r\n");
    reply_error(&f, take_read_id(&f.raft, RAFT_READ), ERR_TIMEOUT);
    expect_text(fd,
                "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n" NOSNIFF ""
                "Content-Length: 71\r\n\r\n"
                "{\"health\":\"false\",\"reason\":\"RANGE ERROR:etcdserver: request timed out\"}");
    close(fd);
    fixture_end(&f);

    fixture_start(&f, (struct fixture_options){.no_leader = true});
    fd = fixture_connect(&f);
    say(fd, "GET /health HTTP/1.1\r\n\r\n");
    expect_text(fd,
                "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n" NOSNIFF ""
                "Content-Length: 44\r\n\r\n"
                "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}");
    /* the local check needs none */
    say(fd, "GET /health?serializable=true HTTP/1.1\r\n\r\n");
    reply_ok(&f, take_read_id(&f.apply, APPLY_READ), 1);
    expect_text(fd, HEALTHY);
    close(fd);
    fixture_end(&f);

    fixture_start(&f, (struct fixture_options){.request_timeout_ms = 10});
    fd = fixture_connect(&f);
    say(fd, "GET /health HTTP/1.1\r\n\r\n");
    (void)take_read_id(&f.raft, RAFT_READ);
    expect_text(fd, "HTTP/1.1 503 Service Unavailable\r\n");
    close(fd);
    fixture_end(&f);
}

/* Requests sent in one go are answered one after the other, the waiting ones too; the connection closes
 * when the last asks for it. */
static void pipelined_requests_keep_their_order(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    int fd = fixture_connect(&f);
    say(fd, "GET /version HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n"
            "GET /none HTTP/1.1\r\nConnection: close\r\n\r\n");
    char version[300];
    (void)snprintf(version, sizeof version,
                   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" NOSNIFF
                   "Content-Length: %zu\r\n\r\n%s",
                   strlen(VERSION_BODY), VERSION_BODY);
    expect_text(fd, version);
    uint64_t first = take_read_id(&f.raft, RAFT_READ);
    CU_ASSERT_PTR_NULL(witness_wait(&f.raft, 0)); /* one at a time */
    reply_ok(&f, first, 1);
    expect_text(fd, HEALTHY);
    reply_ok(&f, take_read_id(&f.raft, RAFT_READ), 1);
    expect_text(fd, HEALTHY);
    expect_text(fd,
                "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n" NOSNIFF ""
                "Content-Length: 19\r\nConnection: close\r\n\r\n404 page not found\n");
    expect_end(fd);
    close(fd);
    fixture_end(&f);
}

/* A client that half-closes after its request still gets the answer (nc does so). */
static void half_closed_client_is_answered(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    int fd = fixture_connect(&f);
    say(fd, "GET /health HTTP/1.1\r\n\r\n");
    CU_ASSERT_EQUAL(shutdown(fd, SHUT_WR), 0);
    reply_ok(&f, take_read_id(&f.raft, RAFT_READ), 1);
    expect_text(fd, HEALTHY);
    expect_end(fd);
    close(fd);
    fixture_end(&f);
}

/* A client that leaves while its /health is under way is forgotten; the late answer finds nobody. */
static void gone_client_is_forgotten(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){.requests = 1});
    int fd = fixture_connect(&f);
    say(fd, "GET /health HTTP/1.1\r\n\r\n");
    uint64_t request = take_read_id(&f.raft, RAFT_READ);
    close(fd);
    for (;;) { /* once the request's only credit is back, another client gets through */
        fd = fixture_connect(&f);
        say(fd, "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n");
        struct msg *m = witness_wait(&f.raft, 20);
        if (m != NULL) {
            reply_ok(&f, ((struct read_request *)m)->request_id, 1);
            msg_free_base(&m);
            expect_text(fd, "HTTP/1.1 200 OK\r\n");
            close(fd);
            break;
        }
        expect_text(fd, "HTTP/1.1 503 Service Unavailable\r\n");
        close(fd);
    }
    reply_ok(&f, request, 1);
    fixture_end(&f);
}

/* What is neither HTTP/2 nor HTTP/1 gets a 400 and a close, also with more octets behind it. */
static void garbage_is_refused(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    static const char *const garbage[] = {"\x16\x03\x01\x02\x01\x01", "PRX", "PR\r\n\r\n",
                                          "hello\r\n\r\n"};
    for (size_t i = 0; i < ARRAY_COUNT(garbage); i++) {
        int fd = fixture_connect(&f);
        say(fd, garbage[i]);
        say(fd, "more of the same");
        expect_text(fd, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
                        "Content-Length: 11\r\nConnection: close\r\n\r\nBad Request");
        expect_end(fd);
        close(fd);
    }
    /* an HTTP/2 preface that goes wrong after its first word */
    int fd = fixture_connect(&f);
    say(fd, "PRI * HTTP/1.1\r\n\r\n");
    char got[200];
    (void)read_text(fd, got, sizeof got, SIZE_MAX);
    close(fd);
    fixture_end(&f);
}

/* The same answers over HTTP/2 without gRPC's content type. */
static void http2_gets_them_too(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    struct http2_client_header get[] = {{":method", "GET"},
                                        {":scheme", "http"},
                                        {":path", "/version"},
                                        {":authority", "localhost"},
                                        {NULL, NULL}};
    int32_t id = http2_client_request(l.client, NULL, get, true, true);
    const struct http2_client_answer *a = link_await(&l, id);
    CU_ASSERT_STRING_EQUAL(a->status, "200");
    CU_ASSERT_STRING_EQUAL(a->content_type, "application/json");
    CU_ASSERT_TRUE(view_equal(view_of(a->body.data, a->body.size), view_of_text(VERSION_BODY)));

    get[2].value = "/health";
    id = http2_client_request(l.client, NULL, get, true, true);
    link_send(&l);
    reply_ok(&f, take_read_id(&f.raft, RAFT_READ), 1);
    a = link_await(&l, id);
    CU_ASSERT_STRING_EQUAL(a->status, "200");
    CU_ASSERT_TRUE(view_equal(view_of(a->body.data, a->body.size),
                              view_of_text("{\"health\":\"true\",\"reason\":\"\"}")));
    get[0].value = "DELETE";
    id = http2_client_request(l.client, NULL, get, true, true);
    CU_ASSERT_STRING_EQUAL(link_await(&l, id)->status, "405");

    /* cancelled while under way */
    get[0].value = "GET";
    id = http2_client_request(l.client, NULL, get, true, true);
    link_send(&l);
    uint64_t request = take_read_id(&f.raft, RAFT_READ);
    http2_client_reset(l.client, id, 8);
    get[2].value = "/nope";
    id = http2_client_request(l.client, NULL, get, true, true);
    CU_ASSERT_STRING_EQUAL(link_await(&l, id)->status, "404");
    reply_ok(&f, request, 1);
    link_close(&l);
    fixture_end(&f);
}

/* A stop answers the /health under way, closes idle connections, and refuses what comes after. */
static void stop_ends_http1(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    int fd = fixture_connect(&f);
    int idle = fixture_connect(&f);
    say(idle, "GET /version HTTP/1.1\r\n\r\n");
    expect_text(idle, "HTTP/1.1 200 OK\r\n");
    say(fd, "GET /health HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n");
    uint64_t request = take_read_id(&f.raft, RAFT_READ);
    actor_stop(f.client);
    char rest[300];
    (void)read_text(idle, rest, sizeof rest, SIZE_MAX); /* its version's rest, then the end */
    reply_ok(&f, request, 1);
    expect_text(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" NOSNIFF
                    "Content-Length: 29\r\n"
                    "Connection: close\r\n\r\n{\"health\":\"true\",\"reason\":\"\"}");
    expect_end(fd);
    close(fd);
    close(idle);
    fixture_end(&f);
}

SUITE("node client web", TEST(health_reads), TEST(health_says_why_not),
      TEST(pipelined_requests_keep_their_order), TEST(half_closed_client_is_answered),
      TEST(gone_client_is_forgotten), TEST(garbage_is_refused), TEST(http2_gets_them_too),
      TEST(stop_ends_http1))
