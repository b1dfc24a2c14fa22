/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_client_rest.c: /kv/KEY and its waiting form: what reaches raft and watch, and the answers' octets.
 */
#include "web_fixture.h"

static struct result *one_pair(int64_t revision)
{
    struct result *r = result_create();
    struct key_value kv = {.key = view_of_text("k"),
                           .value = view_of_text("value"),
                           .create_revision = 2,
                           .mod_revision = 5,
                           .version = 3};
    r->revision = revision;
    r->count = 1;
    result_add(r, &kv, false);
    return r;
}

/* curl -T: the body waits for 100, then becomes the value. */
static void put_writes_the_body(void)
{
    struct fixture f;
    struct command command;
    struct bytes keep;
    fixture_start(&f, (struct fixture_options){0});
    int fd = fixture_connect(&f);
    say(fd, "PUT /kv/a%2Fb?lease=7 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: "
            "100-continue\r\n\r\n");
    expect_text(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    say(fd, "hello");
    uint64_t id = take_propose(&f, &command, &keep);
    CU_ASSERT_EQUAL(command.op, COMMAND_PUT);
    CU_ASSERT_TRUE(view_equal(command.key, view_of_text("a/b")));
    CU_ASSERT_TRUE(view_equal(command.value, view_of_text("hello")));
    CU_ASSERT_EQUAL(command.lease, 7);
    bytes_free(&keep);
    reply_ok(&f, id, 12);
    expect_text(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\netag: \"12\"\r\n"
                    "x-holdfast-revision: 12\r\n" NOSNIFF "Content-Length: 16\r\n\r\n"
                    "{\"revision\":12}\n");
    /* too large: said at the header, nothing is read */
    say(fd, "PUT /kv/a HTTP/1.1\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n");
    expect_text(fd, "HTTP/1.1 413 Payload Too Large\r\n");
    close(fd);
    fixture_end(&f);
}

/* Conditions become a transaction; a 412 says what is there. */
static void conditions_are_transactions(void)
{
    struct fixture f;
    struct command command;
    struct bytes keep;
    char got[1000];
    fixture_start(&f, (struct fixture_options){0});
    int fd = fixture_connect(&f);
    say(fd, "DELETE /kv/k HTTP/1.1\r\nIf-Match: \"4\"\r\n\r\n");
    uint64_t id = take_propose(&f, &command, &keep);
    CU_ASSERT_EQUAL(command.op, COMMAND_TXN);
    bytes_free(&keep);
    struct result *r = result_create();
    r->revision = 9;
    r->response_count = 1;
    r->responses = mem_zalloc(sizeof *r->responses);
    r->responses[0] = (struct result_response){.kind = TXN_RANGE, .result = one_pair(9)};
    reply_result(&f, id, r);
    read_answer(fd, got, sizeof got);
    CU_ASSERT_TRUE(begins(got, "HTTP/1.1 412 Precondition Failed\r\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(got, "\r\netag: \"5\"\r\n"));
    close(fd);
    fixture_end(&f);
}

static void get_gives_the_octets(void)
{
    struct fixture f;
    char got[1000];
    fixture_start(&f, (struct fixture_options){0});
    int fd = fixture_connect(&f);
    say(fd, "GET /kv/k?rev=3 HTTP/1.1\r\n\r\n");
    struct read_request *m = take_read(&f.raft, RAFT_READ);
    CU_ASSERT_EQUAL(m->query->revision, 3);
    CU_ASSERT_TRUE(view_equal(m->query->key, view_of_text("k")));
    reply_result(&f, m->request_id, one_pair(9));
    MSG_FREE(m);
    expect_text(fd,
                "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                "content-security-policy: default-src 'none'; sandbox\r\netag: \"5\"\r\n"
                "x-holdfast-create-revision: 2\r\nx-holdfast-version: 3\r\ncache-control: "
                "no-cache\r\nx-holdfast-revision: 9\r\n" NOSNIFF "Content-Length: 5\r\n\r\nvalue");
    say(fd, "GET /kv/k HTTP/1.1\r\nIf-None-Match: \"4\", \"5\"\r\n\r\n");
    reply_result(&f, take_read_id(&f.raft, RAFT_READ), one_pair(9));
    expect_text(
        fd, "HTTP/1.1 304 Not Modified\r\netag: \"5\"\r\nx-holdfast-create-revision: 2\r\n"
            "x-holdfast-version: 3\r\ncache-control: no-cache\r\nx-holdfast-revision: 9\r\n" NOSNIFF
            "\r\n");
    say(fd, "GET /kv/?prefix&serializable HTTP/1.1\r\n\r\n");
    reply_result(&f, take_read_id(&f.apply, APPLY_READ), one_pair(9));
    read_answer(fd, got, sizeof got);
    CU_ASSERT_TRUE(ends(got, "\r\n\r\n[\n{\"key\":\"k\",\"value\":\"value\",\"create_revision\":2,"
                             "\"mod_revision\":5,\"version\":3}\n]\n"));
    say(fd, "GET /kv/k HTTP/1.1\r\n\r\n");
    reply_ok(&f, take_read_id(&f.raft, RAFT_READ), 9); /* no pair */
    read_answer(fd, got, sizeof got);
    CU_ASSERT_TRUE(begins(got, "HTTP/1.1 404 "));
    say(fd, "GET /kv/k?rev=1 HTTP/1.1\r\n\r\n");
    reply_error(&f, take_read_id(&f.raft, RAFT_READ), ERR_COMPACTED);
    read_answer(fd, got, sizeof got);
    CU_ASSERT_TRUE(begins(got, "HTTP/1.1 410 Gone\r\n"));
    close(fd);
    fixture_end(&f);
}

/* A wait is a watch from the next revision on; what changed is the answer, and the connection goes on. */
static void wait_is_a_watch(void)
{
    struct fixture f;
    struct witness watch;
    char got[1000];
    fixture_start(&f, (struct fixture_options){0});
    witness_start(&watch, "watch");
    f.actors.watch = watch.actor;
    int fd = fixture_connect(&f);
    say(fd, "GET /kv/k?wait=4 HTTP/1.1\r\n\r\nGET /version HTTP/1.1\r\n\r\n"); /* one behind it */
    struct watch_create *create = (struct watch_create *)witness_take(&watch);
    CU_ASSERT_EQUAL_FATAL(create->base.kind, WATCH_CREATE);
    CU_ASSERT_EQUAL(create->start_revision, 5);
    uint64_t stream = create->stream;
    MSG_FREE(create);
    struct client_watch *m = MSG_NEW(struct client_watch, CLIENT_WATCH, release_client_watch);
    m->batch = mem_zalloc(sizeof *m->batch);
    ARRAY_RESERVE(m->batch->responses, m->batch->response_capacity, 2);
    ARRAY_RESERVE(m->batch->refs, m->batch->ref_capacity, 1);
    ARRAY_RESERVE(m->batch->previous_of, m->batch->previous_of_capacity, 1);
    const struct kv_history row = {.key = view_of_text("k"),
                                   .value = view_of_text("new"),
                                   .change = change_id(6, 0),
                                   .create_revision = 6,
                                   .version = 1};
    event_block_add(&m->batch->events, &row);
    m->batch->previous_of[0] = WATCH_PREVIOUS_NONE;
    m->batch->refs[m->batch->ref_count++] = 0;
    m->batch->responses[m->batch->response_count++] =
        (struct watch_response){.stream = stream, .kind = WATCH_RESPONSE_CREATED};
    m->batch->responses[m->batch->response_count++] =
        (struct watch_response){.stream = stream, .kind = WATCH_RESPONSE_EVENTS, .ref_count = 1};
    ACTOR_SEND(f.client, m);
    read_answer(fd, got, sizeof got);
    CU_ASSERT_TRUE(begins(
        got, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\netag: \"6\"\r\n"));
    CU_ASSERT_TRUE(ends(got, "\r\n\r\nnew"));
    read_answer(fd, got, sizeof got);
    CU_ASSERT_PTR_NOT_NULL(strstr(got, "etcdserver"));
    struct msg *closed = witness_take(&watch);
    CU_ASSERT_EQUAL(closed->kind, WATCH_STREAM_CLOSED);
    msg_free_base(&closed);
    /* a client that leaves while it waits is forgotten at once */
    say(fd, "GET /kv/k?wait HTTP/1.1\r\n\r\n");
    struct msg *asked = witness_take(&watch);
    CU_ASSERT_EQUAL(asked->kind, WATCH_CREATE);
    msg_free_base(&asked);
    close(fd);
    closed = witness_take(&watch);
    CU_ASSERT_EQUAL(closed->kind, WATCH_STREAM_CLOSED);
    msg_free_base(&closed);
    fixture_end(&f);
    CU_ASSERT_EQUAL(witness_end(&watch), 0);
}

/* Over HTTP/2 the same, with the fields that plain HTTP needs and a path longer than any of gRPC's. */
static void http2_is_the_same(void)
{
    struct fixture f;
    char path[700] = "/kv/";
    memset(path + 4, 'y', 600);
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    struct http2_client_header get[] = {
        {":method", "GET"},           {":scheme", "http"},        {":path", path},
        {":authority", "[::1]:2379"}, {"if-none-match", "\"5\""}, {NULL, NULL}};
    int32_t id = http2_client_request(l.client, NULL, get, true, true);
    link_send(&l);
    struct read_request *m = take_read(&f.raft, RAFT_READ);
    CU_ASSERT_EQUAL(m->query->key.size, 600);
    reply_result(&f, m->request_id, one_pair(9));
    MSG_FREE(m);
    CU_ASSERT_STRING_EQUAL(link_await(&l, id)->status, "304");
    get[3].value = "evil.example";
    id = http2_client_request(l.client, NULL, get, true, true);
    CU_ASSERT_STRING_EQUAL(link_await(&l, id)->status, "421");
    get[3].value = "n";
    get[4] = (struct http2_client_header){"origin", "null"};
    id = http2_client_request(l.client, NULL, get, true, true);
    CU_ASSERT_STRING_EQUAL(link_await(&l, id)->status, "403");
    /* a body in frames; the stream's window is given back */
    struct http2_client_header put[] = {{":method", "PUT"},
                                        {":scheme", "http"},
                                        {":path", "/kv/k"},
                                        {":authority", "localhost"},
                                        {NULL, NULL}};
    struct command command;
    struct bytes keep;
    id = http2_client_request(l.client, NULL, put, true, false);
    http2_client_data(l.client, id, view_of_text("hel"), false);
    link_send(&l);
    http2_client_data(l.client, id, view_of_text("lo"), true);
    link_send(&l);
    uint64_t request = take_propose(&f, &command, &keep);
    CU_ASSERT_TRUE(view_equal(command.value, view_of_text("hello")));
    bytes_free(&keep);
    reply_ok(&f, request, 3);
    const struct http2_client_answer *a = link_await(&l, id);
    CU_ASSERT_STRING_EQUAL(a->status, "200");
    CU_ASSERT_TRUE(
        view_equal(view_of(a->body.data, a->body.size), view_of_text("{\"revision\":3}\n")));
    link_close(&l);
    fixture_end(&f);
}

SUITE("node client rest", TEST(put_writes_the_body), TEST(conditions_are_transactions),
      TEST(get_gives_the_octets), TEST(wait_is_a_watch), TEST(http2_is_the_same))
