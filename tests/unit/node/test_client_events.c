/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_client_events.c: server-sent events: where they begin, which of them names its revision, what a gap by
 * compaction looks like, and how a stream ends. (?wait is in test_client_rest.c.)
 */
#include "web_fixture.h"

struct door {
    struct fixture f;
    struct witness watch;
    int fd;
    uint64_t stream;
};

/* Ask, and take the watch's creation, which must begin at this revision. */
static void door_open(struct door *d, const char *request, int64_t start_revision)
{
    fixture_start(&d->f, (struct fixture_options){0});
    witness_start(&d->watch, "watch");
    d->f.actors.watch = d->watch.actor;
    d->fd = fixture_connect(&d->f);
    say(d->fd, request);
    struct watch_create *create = (struct watch_create *)witness_take(&d->watch);
    CU_ASSERT_EQUAL_FATAL(create->base.kind, WATCH_CREATE);
    CU_ASSERT_EQUAL(create->start_revision, start_revision);
    d->stream = create->stream;
    MSG_FREE(create);
}

/* The stream is over on the server's side, or our end was closed: the watch goes. */
static void door_close(struct door *d)
{
    close(d->fd);
    struct msg *closed = witness_take(&d->watch);
    CU_ASSERT_EQUAL(closed->kind, WATCH_STREAM_CLOSED);
    msg_free_base(&closed);
    fixture_end(&d->f);
    CU_ASSERT_EQUAL(witness_end(&d->watch), 0);
}

static struct client_watch *batch_of(struct door *d, struct watch_response response)
{
    struct client_watch *m = MSG_NEW(struct client_watch, CLIENT_WATCH, release_client_watch);
    m->batch = mem_zalloc(sizeof *m->batch);
    ARRAY_RESERVE(m->batch->responses, m->batch->response_capacity, 1);
    response.stream = d->stream;
    m->batch->responses[m->batch->response_count++] = response;
    return m;
}

static void send_response(struct door *d, struct watch_response response)
{
    struct client_watch *m = batch_of(d, response);
    ACTOR_SEND(d->f.client, m);
}

#define HEADER                                                                                     \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\ncache-control: no-store\r\n" NOSNIFF    \
    "Transfer-Encoding: chunked\r\n\r\n"

/* One HTTP chunk with this content. */
static void expect_chunk(int fd, const char *content)
{
    char text[1000];
    (void)snprintf(text, sizeof text, "%zx\r\n%s\r\n", strlen(content), content);
    expect_text(fd, text);
}

/* From now on: the beginning names the revision, so that a client that loses its connection before the first
 * change misses nothing. Of several events of one revision the last alone names it. */
static void events_name_their_revision_once(void)
{
    struct door d;
    door_open(&d, "GET /watch/a/?prefix HTTP/1.1\r\n\r\n", 0);
    send_response(&d, (struct watch_response){.kind = WATCH_RESPONSE_CREATED, .revision = 41});
    expect_text(d.fd, HEADER);
    expect_chunk(d.fd, "retry: 1000\nid: 41\n\n");

    struct client_watch *m = batch_of(
        &d, (struct watch_response){.kind = WATCH_RESPONSE_EVENTS, .ref_count = 3, .cost = 10});
    const struct kv_history rows[] = {
        {.key = view_of_text("a/1"), .change = change_id(42, 0), .deleted = true},
        {.key = view_of_text("a/2"),
         .value = view_of_text("v"),
         .change = change_id(42, 1),
         .create_revision = 42,
         .version = 1},
        {.key = view_of_text("a/3"),
         .value = view_of("\xff", 1),
         .change = change_id(43, 0),
         .create_revision = 40,
         .version = 2,
         .lease = 9},
    };
    ARRAY_RESERVE(m->batch->refs, m->batch->ref_capacity, 3);
    ARRAY_RESERVE(m->batch->previous_of, m->batch->previous_of_capacity, 3);
    for (uint32_t i = 0; i < 3; i++) {
        event_block_add(&m->batch->events, &rows[i]);
        m->batch->previous_of[i] = WATCH_PREVIOUS_NONE;
        m->batch->refs[m->batch->ref_count++] = i;
    }
    ACTOR_SEND(d.f.client, m);
    expect_chunk(
        d.fd,
        "event: delete\ndata: {\"type\":\"delete\",\"key\":\"a/1\",\"mod_revision\":42}\n\n"
        "event: put\nid: 42\ndata: {\"type\":\"put\",\"key\":\"a/2\",\"value\":\"v\","
        "\"create_revision\":42,\"mod_revision\":42,\"version\":1}\n\n"
        "event: put\nid: 43\ndata: {\"type\":\"put\",\"key\":\"a/3\",\"value_base64\":\"/w==\","
        "\"create_revision\":40,\"mod_revision\":43,\"version\":2,\"lease\":\"9\"}\n\n");
    door_close(&d);
}

/* A browser that comes again goes on behind what it has seen; if that is compacted it is told, and its next
 * attempt begins where there is something. */
static void a_gap_is_told(void)
{
    struct door d;
    door_open(&d, "GET /watch/a?rev=3 HTTP/1.1\r\nLast-Event-ID: 41\r\n\r\n", 42);
    send_response(&d, (struct watch_response){.kind = WATCH_RESPONSE_CREATED, .revision = 90});
    expect_text(d.fd, HEADER);
    expect_chunk(d.fd, "retry: 1000\nid: 41\n\n");
    send_response(&d,
                  (struct watch_response){.kind = WATCH_RESPONSE_CANCELED, .compact_revision = 80});
    expect_chunk(d.fd, "event: compacted\nid: 79\ndata: {\"compact_revision\":80}\n\n");
    expect_text(d.fd, "0\r\n\r\n");
    /* the connection is free for another request */
    char got[500];
    say(d.fd, "GET /version HTTP/1.1\r\n\r\n");
    read_answer(d.fd, got, sizeof got);
    CU_ASSERT_TRUE(begins(got, "HTTP/1.1 200 "));
    door_close(&d);
}

/* Refused, cancelled with a reason, or the node stops. */
static void ends_give_their_reason(void)
{
    struct door d;
    char got[500];
    door_open(&d, "GET /watch/a HTTP/1.1\r\n\r\n", 0);
    send_response(&d, (struct watch_response){.kind = WATCH_RESPONSE_REFUSED,
                                              .watch_id = -1,
                                              .cancel_reason = WATCH_REASON_TOO_MANY});
    read_answer(d.fd, got, sizeof got);
    CU_ASSERT_TRUE(begins(got, "HTTP/1.1 503 "));
    CU_ASSERT_TRUE(ends(got, WATCH_REASON_TOO_MANY "\n"));
    door_close(&d);

    door_open(&d, "GET /watch/a HTTP/1.1\r\n\r\n", 0);
    send_response(&d, (struct watch_response){.kind = WATCH_RESPONSE_CREATED, .revision = 1});
    expect_text(d.fd, HEADER);
    expect_chunk(d.fd, "retry: 1000\nid: 1\n\n");
    actor_stop(d.f.client);
    expect_chunk(d.fd, "event: error\ndata: {\"reason\":\"etcdserver: server stopped\"}\n\n");
    expect_text(d.fd, "0\r\n\r\n");
    door_close(&d);
}

/* What is no such request is refused without a watch. */
static void bad_requests_are_refused(void)
{
    static const char *const cases[][2] = {
        {"GET /watch/ HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
        {"GET /watch/a?limit=1 HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
        {"GET /watch/a HTTP/1.1\r\nLast-Event-ID: x\r\n\r\n", "HTTP/1.1 400 "},
        {"PUT /watch/a HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "},
    };
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    int fd = fixture_connect(&f);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char got[500];
        say(fd, cases[i][0]);
        read_answer(fd, got, sizeof got);
        CU_ASSERT_TRUE(begins(got, cases[i][1]));
    }
    close(fd);
    fixture_end(&f);
}

SUITE("node client events", TEST(events_name_their_revision_once), TEST(a_gap_is_told),
      TEST(ends_give_their_reason), TEST(bad_requests_are_refused))
