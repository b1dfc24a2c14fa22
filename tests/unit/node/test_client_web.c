/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_client_web.c: plain HTTP on the client port: sniffing, /health and /version over HTTP/1.1 and
 * HTTP/2, keep-alive, half-closed and impolite clients (sheet §4.2, §5.1).
 */
#include "web_fixture.h"

#include "api/version.h"

#define VERSION_BODY                                                                               \
    "{\"etcdserver\":\"" API_VERSION_SERVER "\",\"etcdcluster\":\"3.6.0\",\"storage\":\"3.6.0\"}"

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

/* Foreign names and pages are turned away before anything is done, whatever they ask for; a preflight of
 * theirs too. */
static void strangers_are_turned_away(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    static const char *const asked[] = {"GET /health",   "PUT /kv/a",    "POST /v3/kv/put",
                                        "OPTIONS /kv/a", "GET /metrics", "GET /watch/a",
                                        "GET /x"};
    int fd = fixture_connect(&f);
    for (size_t i = 0; i < ARRAY_COUNT(asked); i++) {
        char request[200];
        char got[400];
        (void)snprintf(request, sizeof request,
                       "%s HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil\r\n\r\n", asked[i]);
        say(fd, request);
        read_answer(fd, got, sizeof got);
        CU_ASSERT_TRUE(begins(got, "HTTP/1.1 403 "));
        CU_ASSERT_PTR_NULL(strstr(got, "access-control"));
        (void)snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: evil:2379\r\n\r\n", asked[i]);
        say(fd, request);
        read_answer(fd, got, sizeof got);
        CU_ASSERT_TRUE(begins(got, "HTTP/1.1 421 "));
    }
    /* gRPC over HTTP/2 that names a page */
    struct link l = link_open(&f);
    static const struct http2_client_header origin[] = {{"origin", "http://evil"}, {NULL, NULL}};
    int32_t id = http2_client_request(l.client, PATH_PUT, origin, false, true);
    expect_error(&l, id, "7", "holdfast: requests from this web page are not allowed");
    link_close(&l);
    close(fd);
    fixture_end(&f); /* nobody asked raft or apply for anything */
}

/* /readyz makes its checks one after the other and says which failed. */
static void checks_are_made(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    int fd = fixture_connect(&f);
    char got[400];
    say(fd, "GET /readyz?verbose HTTP/1.1\r\n\r\n");
    reply_ok(&f, take_read_id(&f.apply, APPLY_READ), 1);
    reply_error(&f, take_read_id(&f.raft, RAFT_READ), ERR_NO_LEADER);
    read_answer(fd, got, sizeof got);
    CU_ASSERT_TRUE(begins(got, "HTTP/1.1 503 "));
    CU_ASSERT_PTR_NOT_NULL(strstr(got, "[+]serializable_read ok\n[-]linearizable_read failed: "
                                       "etcdserver: no leader\n[+]non_learner ok\n"));
    say(fd, "GET /livez HTTP/1.1\r\n\r\n");
    reply_ok(&f, take_read_id(&f.apply, APPLY_READ), 1);
    read_answer(fd, got, sizeof got);
    CU_ASSERT_TRUE(begins(got, "HTTP/1.1 200 "));
    CU_ASSERT_PTR_NOT_NULL(strstr(got, "\r\n\r\nok\n"));
    /* figures come back as text; an answer to nobody's question is dropped */
    say(fd, "GET /metrics HTTP/1.1\r\n\r\n");
    struct figures *figures = (struct figures *)witness_take(&f.raft);
    CU_ASSERT_EQUAL_FATAL(figures->base.kind, RAFT_FIGURES);
    figures->base.kind = CLIENT_FIGURES;
    figures->stop_at = figures->stop_count;
    figures->raft.leader = 7;
    struct figures *again = mem_dup(figures, sizeof *figures);
    ACTOR_SEND(f.client, figures);
    char text[65536];
    read_answer(fd, text, sizeof text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\netcd_server_has_leader 1\n"));
    ACTOR_SEND(f.client, again);
    close(fd);
    fixture_end(&f);
}

/* A check that only looks at this node says what it sees, also when the read before it got no answer in time. */
static void late_checks_accuse_no_other(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){.request_timeout_ms = 10});
    int fd = fixture_connect(&f);
    char got[400];
    say(fd, "GET /readyz?verbose&exclude=serializable_read HTTP/1.1\r\n\r\n");
    (void)take_read_id(&f.raft, RAFT_READ);
    read_answer(fd, got, sizeof got);
    CU_ASSERT_TRUE(begins(got, "HTTP/1.1 503 "));
    CU_ASSERT_PTR_NOT_NULL(strstr(got, "[+]data_corruption ok\n[-]linearizable_read failed: "
                                       "etcdserver: request timed out\n[+]non_learner ok\n"));
    close(fd);
    fixture_end(&f);
}

SUITE("node client web", TEST(health_reads), TEST(health_says_why_not),
      TEST(pipelined_requests_keep_their_order), TEST(half_closed_client_is_answered),
      TEST(gone_client_is_forgotten), TEST(garbage_is_refused), TEST(http2_gets_them_too),
      TEST(stop_ends_http1), TEST(strangers_are_turned_away), TEST(checks_are_made),
      TEST(late_checks_accuse_no_other))
