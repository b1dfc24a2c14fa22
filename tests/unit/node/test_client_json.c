/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_client_json.c: the JSON gateway's calls: what reaches raft, what comes back, streams both ways, and that
 * nothing is carried out of a request that is wrong anywhere.
 */
#include "web_fixture.h"

static void post(int fd, const char *path, const char *body)
{
    char head[200];
    (void)snprintf(head, sizeof head,
                   "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n", path,
                   strlen(body));
    say(fd, head);
    say(fd, body);
}

/* A put is proposed as if gRPC had brought it, and answered in etcd's form; one after the other on one
 * connection, in any pieces. */
static void unary_calls(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    int fd = fixture_connect(&f);
    char got[1000];
    for (int round = 0; round < 2; round++) {
        struct command command;
        struct bytes keep;
        post(fd, round == 0 ? "/v3/kv/put" : "/v3beta/kv/put",
             "{\"key\":\"aw==\",\"value\":\"dg\"}");
        uint64_t id = take_propose(&f, &command, &keep);
        CU_ASSERT_EQUAL(command.op, COMMAND_PUT);
        CU_ASSERT_TRUE(view_equal(command.key, view_of_text("k")));
        CU_ASSERT_TRUE(view_equal(command.value, view_of_text("v")));
        bytes_free(&keep);
        reply_ok(&f, id, 9);
        read_answer(fd, got, sizeof got);
        CU_ASSERT_TRUE(begins(got, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                   "grpc-metadata-content-type: application/grpc\r\n"));
        CU_ASSERT_TRUE(ends(got, "\r\n\r\n{\"header\":{\"cluster_id\":\"10\",\"member_id\":\"20\","
                                 "\"revision\":\"9\",\"raft_term\":\"30\"}}"));
    }
    /* in chunks, octet by octet; and an error from raft */
    for (const char *at = "POST /v3/kv/range HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                          "7\r\n{\"key\":\r\n7\r\n\"aw==\"}\r\n0\r\n\r\n";
         *at != 0; at++) {
        send_all(fd, at, 1);
    }
    reply_error(&f, take_read_id(&f.raft, RAFT_READ), ERR_NO_LEADER);
    read_answer(fd, got, sizeof got);
    CU_ASSERT_TRUE(begins(got, "HTTP/1.1 503 "));
    CU_ASSERT_TRUE(
        ends(got, "{\"error\":\"etcdserver: no leader\",\"message\":\"etcdserver: no leader\","
                  "\"code\":14}"));
    close(fd);
    fixture_end(&f);
}

/* What is wrong anywhere is refused before anything is done: fixture_end finds raft and apply unasked. */
static void bad_requests_do_nothing(void)
{
    static const char *const cases[][3] = {
        {"/v3/kv/put", "{\"key\":\"aw==\"", "HTTP/1.1 400 "},
        {"/v3/kv/put", "{\"key\":\"aw==\"} {\"key\":\"aw==\"}", "HTTP/1.1 400 "},
        {"/v3/kv/put", "{\"key\":\"aw==\"} x", "HTTP/1.1 400 "},
        {"/v3/kv/put", "{\"key\":\"aw==\",\"lease\":true}", "HTTP/1.1 400 "},
        {"/v3/kv/put", "null", "HTTP/1.1 400 "},
        {"/v3/kv/put", "", "HTTP/1.1 400 "},
        {"/v3/kv/nothing", "{}", "HTTP/1.1 404 "},
        {"/v3/watch", "{\"create_request\":5}", "HTTP/1.1 400 "},
        {"/v3/watch", "{\"create_request\"", "HTTP/1.1 400 "},
    };
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char got[1000];
        int fd = fixture_connect(&f);
        post(fd, cases[i][0], cases[i][1]);
        read_answer(fd, got, sizeof got);
        CU_ASSERT_TRUE(begins(got, cases[i][2]));
        close(fd);
    }
    /* larger than any message in base64: refused as it comes, not kept */
    int fd = fixture_connect(&f);
    struct buffer body = {0};
    static const char head[] =
        "POST /v3/kv/put HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n{\"key\":\"";
    buffer_append(&body, head, sizeof head - 1);
    memset(buffer_extend(&body, 800000), 'a', 800000);
    send_all(fd, body.data, body.size);
    buffer_free(&body);
    expect_text(fd, "HTTP/1.1 429 Too Many Requests\r\n");
    close(fd);
    /* without credits for its octets */
    fixture_end(&f);
    fixture_start(&f, (struct fixture_options){.bytes = 600});
    fd = fixture_connect(&f);
    struct buffer large = {0};
    memset(buffer_extend(&large, 1001), ' ', 1000);
    large.data[1000] = 0;
    post(fd, "/v3/kv/put", (const char *)large.data);
    buffer_free(&large);
    expect_text(fd, "HTTP/1.1 429 Too Many Requests\r\n");
    close(fd);
    fixture_end(&f);
}

/* A watch answers in chunks while its request is open, and the watch ends as soon as its client leaves. */
static void a_stream_ends_with_its_client(void)
{
    struct fixture f;
    struct witness watch;
    fixture_start(&f, (struct fixture_options){0});
    witness_start(&watch, "watch");
    f.actors.watch = watch.actor;
    int fd = fixture_connect(&f);
    post(fd, "/v3/watch", "{\"create_request\":{\"key\":\"aw==\",\"startRevision\":\"5\"}}");
    struct watch_create *create = (struct watch_create *)witness_take(&watch);
    CU_ASSERT_EQUAL_FATAL(create->base.kind, WATCH_CREATE);
    CU_ASSERT_EQUAL(create->start_revision, 5);
    CU_ASSERT_TRUE(view_equal(bytes_view(&create->key), view_of_text("k")));
    uint64_t stream = create->stream;
    MSG_FREE(create);

    struct client_watch *m = MSG_NEW(struct client_watch, CLIENT_WATCH, release_client_watch);
    m->batch = mem_zalloc(sizeof *m->batch);
    ARRAY_RESERVE(m->batch->responses, m->batch->response_capacity, 1);
    m->batch->responses[m->batch->response_count++] =
        (struct watch_response){.stream = stream, .kind = WATCH_RESPONSE_CREATED, .revision = 7};
    ACTOR_SEND(f.client, m);
    expect_text(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    "grpc-metadata-content-type: application/grpc\r\n" NOSNIFF
                    "Transfer-Encoding: chunked\r\n\r\n"
                    "6a\r\n{\"result\":{\"header\":{\"cluster_id\":\"10\",\"member_id\":\"20\","
                    "\"revision\":\"7\",\"raft_term\":\"30\"},\"created\":true}}\n\r\n");
    close(fd);
    struct watch_request *closed = (struct watch_request *)witness_take(&watch);
    CU_ASSERT_EQUAL(closed->base.kind, WATCH_STREAM_CLOSED);
    CU_ASSERT_EQUAL(closed->stream, stream);
    MSG_FREE(closed);
    fixture_end(&f);
    CU_ASSERT_EQUAL(witness_end(&watch), 0);
}

/* Several requests in one body, which stays open: each is answered as it comes, and the end of the body
 * ends the stream. The node stopping is an error line of its own. */
static void a_node_that_stops_says_so(void)
{
    struct fixture f;
    struct witness watch;
    fixture_start(&f, (struct fixture_options){0});
    witness_start(&watch, "watch");
    f.actors.watch = watch.actor;
    int fd = fixture_connect(&f);
    say(fd, "POST /v3/watch HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            "32\r\n{\"create_request\":{\"key\":\"aw==\"}}{\"create_request\"\r\n"
            "11\r\n:{\"key\":\"eA==\"}}\n\r\n");
    uint64_t stream = 0;
    for (int i = 0; i < 2; i++) {
        struct watch_create *create = (struct watch_create *)witness_take(&watch);
        CU_ASSERT_EQUAL_FATAL(create->base.kind, WATCH_CREATE);
        CU_ASSERT_TRUE(view_equal(bytes_view(&create->key), view_of_text(i == 0 ? "k" : "x")));
        stream = create->stream;
        MSG_FREE(create);
    }
    struct client_watch *m = MSG_NEW(struct client_watch, CLIENT_WATCH, release_client_watch);
    m->batch = mem_zalloc(sizeof *m->batch);
    ARRAY_RESERVE(m->batch->responses, m->batch->response_capacity, 1);
    m->batch->responses[m->batch->response_count++] =
        (struct watch_response){.stream = stream, .kind = WATCH_RESPONSE_CREATED};
    ACTOR_SEND(f.client, m);
    expect_text(fd, "HTTP/1.1 200 OK\r\n");
    actor_stop(f.client);
    char got[2000];
    (void)read_text(fd, got, sizeof got, SIZE_MAX);
    CU_ASSERT_PTR_NOT_NULL(strstr(got, "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":"
                                       "\"etcdserver: server stopped\""));
    CU_ASSERT_TRUE(ends(got, "\r\n0\r\n\r\n"));
    close(fd);
    struct msg *closed = witness_take(&watch);
    msg_free_base(&closed);
    fixture_end(&f);
    CU_ASSERT_EQUAL(witness_end(&watch), 0);
}

SUITE("node client json", TEST(unary_calls), TEST(bad_requests_do_nothing),
      TEST(a_stream_ends_with_its_client), TEST(a_node_that_stops_says_so))
