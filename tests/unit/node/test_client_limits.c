/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_client_limits.c: what clients may do to the client port and how long: silence, halves of things,
 * answers that nobody reads, more streams than there are credits. In virtual time, by hand.
 */
#include "client_hand.h"

#include "api/method.h"
#include "net/grpc.h"

#define PATH_PUT     "/etcdserverpb.KV/Put"
#define PATH_RANGE   "/etcdserverpb.KV/Range"
#define HEALTH_WATCH "/grpc.health.v1.Health/Watch"
#define HEALTH_CHECK "/grpc.health.v1.Health/Check"

static void take_all(struct caller *c)
{
    uint8_t in[65536];
    while (recv(c->fd, in, sizeof in, 0) > 0) {}
}

static bool is_closed(struct caller *c)
{
    uint8_t octet;
    take_all(c);
    return recv(c->fd, &octet, 1, 0) == 0;
}

/* Nothing under way and nothing heard for the timeout: closed, politely. A stream keeps its connection, and
 * so does talking. */
static void idle_connections_are_closed(void)
{
    struct port p;
    port_prepare(&p);
    port_start(&p);
    struct caller silent = caller_open(&p);
    struct caller watching = caller_open(&p);
    struct caller talking = caller_open(&p);
    struct caller web = caller_open(&p);
    (void)caller_unary(&silent, HEALTH_CHECK, VIEW(""), NULL);
    (void)caller_unary(&watching, HEALTH_WATCH, VIEW(""), NULL);
    (void)caller_unary(&talking, HEALTH_CHECK, VIEW(""), NULL);
    CU_ASSERT_TRUE(send(web.fd, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n", 34, 0) > 0);
    port_run(&p);
    uint64_t begin_us = p.now_us;
    port_wait(&p, begin_us + 1800 * SECOND);
    http2_client_ping(talking.client);
    caller_run(&talking);
    port_wait(&p, begin_us + 3599 * SECOND);
    CU_ASSERT_FALSE(is_closed(&web));
    caller_run(&silent);
    CU_ASSERT_FALSE(silent.ended);
    port_wait(&p, begin_us + 3601 * SECOND);
    caller_run(&silent);
    CU_ASSERT_TRUE(silent.ended);
    CU_ASSERT_EQUAL(http2_client_go_away(silent.client), 0); /* NO_ERROR: try again elsewhere */
    CU_ASSERT_TRUE(is_closed(&web));
    caller_run(&watching);
    CU_ASSERT_FALSE(watching.ended);
    caller_run(&talking);
    CU_ASSERT_FALSE(talking.ended);
    port_wait(&p, begin_us + 1800 * SECOND + 3601 * SECOND);
    caller_run(&talking);
    CU_ASSERT_TRUE(talking.ended);
    CU_ASSERT_EQUAL(credits_left(p.connections), PORT_CREDITS - 1);
    caller_close(&silent);
    caller_close(&watching);
    caller_close(&talking);
    caller_close(&web);
    port_end(&p);
}

/* Shorter than half a minute, the timeout is the same for both: what a connection has to begin with is another. */
static void short_idle_timeouts_hold(void)
{
    struct port p;
    port_prepare(&p);
    p.settings->config.client_idle_timeout_s = 2;
    port_start(&p);
    struct caller web = caller_open(&p);
    struct caller silent = caller_open(&p);
    (void)caller_unary(&silent, HEALTH_CHECK, VIEW(""), NULL);
    CU_ASSERT_TRUE(send(web.fd, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n", 34, 0) > 0);
    port_run(&p);
    uint64_t begin_us = p.now_us;
    port_wait(&p, begin_us + 1 * SECOND);
    CU_ASSERT_FALSE(is_closed(&web));
    port_wait(&p, begin_us + 3 * SECOND);
    CU_ASSERT_TRUE(is_closed(&web));
    caller_run(&silent);
    CU_ASSERT_TRUE(silent.ended);
    caller_close(&silent);
    caller_close(&web);
    port_end(&p);
}

/* What was begun must come to its end in half a minute, however slowly it drips: the first octets, SETTINGS,
 * a header over HTTP/2, a request over HTTP/1. */
static void drips_are_closed(void)
{
    struct port p;
    port_prepare(&p);
    port_start(&p);
    static const char *const beginnings[] = {"", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                                             "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\1",
                                             "GET /version HTTP/1.1\r\n"};
    struct caller drips[ARRAY_COUNT(beginnings) + 1];
    for (size_t i = 0; i < ARRAY_COUNT(beginnings); i++) {
        drips[i] = caller_open(&p);
        size_t size = strlen(beginnings[i]);
        CU_ASSERT_EQUAL(send(drips[i].fd, beginnings[i], size, 0), (ssize_t)size);
    }
    /* SETTINGS, and HEADERS of 1000 octets without their end */
    struct caller *header = &drips[ARRAY_COUNT(beginnings)];
    *header = caller_open(&p);
    CU_ASSERT_TRUE(send(header->fd,
                        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
                        "\0\3\xe8\1\5\0\0\0\1\x40\x7f",
                        24 + 9 + 9 + 2, 0) > 0);
    port_run(&p);
    for (size_t second = 0; second < 29; second++) {
        port_wait(&p, p.now_us + SECOND);
        CU_ASSERT_EQUAL(send(drips[4].fd, "a", 1, 0), 1);
        CU_ASSERT_EQUAL(send(header->fd, "a", 1, 0), 1);
        port_run(&p);
    }
    CU_ASSERT_EQUAL(credits_left(p.connections), PORT_CREDITS - ARRAY_COUNT(drips));
    port_wait(&p, p.now_us + 2 * SECOND);
    CU_ASSERT_EQUAL(credits_left(p.connections), PORT_CREDITS);
    for (size_t i = 0; i < ARRAY_COUNT(drips); i++) {
        CU_ASSERT_TRUE(is_closed(&drips[i]));
        caller_close(&drips[i]);
    }
    port_end(&p);
}

/* A message that comes octet by octet holds its credits no longer than the request timeout. */
static void dripping_message_times_out(void)
{
    struct port p;
    port_prepare(&p);
    port_start(&p);
    struct caller c = caller_open(&p);
    int32_t id = http2_client_request(c.client, PATH_PUT, NULL, false, false);
    http2_client_data(c.client, id, view_of("\0\0\1\x80\0\x0a", 6), false); /* of 98304 octets */
    caller_run(&c);
    CU_ASSERT_TRUE(credits_left(p.bytes) < PORT_BYTES - 98304);
    for (size_t second = 0; second < 6; second++) {
        port_wait(&p, p.now_us + SECOND);
        http2_client_data(c.client, id, view_of("k", 1), false);
        caller_run(&c);
    }
    CU_ASSERT_FALSE(http2_client_answer(c.client, id)->ended);
    port_wait(&p, p.now_us + 2 * SECOND);
    caller_expect(&c, id, "14", "etcdserver: request timed out");
    CU_ASSERT_EQUAL(credits_left(p.bytes), PORT_BYTES);

    /* a lasting call has no deadline, but what was begun has */
    id = http2_client_request(c.client, HEALTH_WATCH, NULL, false, false);
    caller_run(&c);
    port_wait(&p, p.now_us + 100 * SECOND);
    CU_ASSERT_FALSE(caller_answer(&c, id)->ended);
    http2_client_data(c.client, id, view_of("\0\0\1\x80\0\x0a", 6), false);
    caller_run(&c);
    CU_ASSERT_TRUE(credits_left(p.bytes) < PORT_BYTES - 98304);
    port_wait(&p, p.now_us + 31 * SECOND);
    caller_expect(&c, id, "14", "etcdserver: request timed out");
    CU_ASSERT_EQUAL(credits_left(p.bytes), PORT_BYTES);
    caller_close(&c);
    port_end(&p);
}

/* Answers that nobody reads hold credits that others need: after a minute without progress worth the name
 * the connection is closed. The socket takes everything here; it is the windows that are shut. */
static void unread_answers_end_the_connection(void)
{
    struct port p;
    port_prepare(&p);
    port_start(&p);
    struct caller c = caller_open(&p);
    struct caller other = caller_open(&p);
    int32_t check = caller_unary(&other, HEALTH_CHECK, VIEW(""), NULL);
    int32_t id = caller_unary(&c, PATH_RANGE, VIEW("\x0a\x01k"), NULL);
    CU_ASSERT_FALSE(http2_client_answer(c.client, id)->ended);
    struct read_request *m = (struct read_request *)hand_find(p.actors.raft, RAFT_READ);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    uint8_t *value = mem_zalloc(200000);
    struct result *r = result_create();
    struct key_value kv = {.key = VIEW("k"), .value = view_of(value, 200000), .mod_revision = 2};
    result_add(r, &kv, false);
    port_reply(&p, m->request_id, r);
    MSG_FREE(m);
    mem_free(value);
    CU_ASSERT_TRUE(credits_left(p.bytes) < PORT_BYTES - 200000);
    uint64_t begin_us = p.now_us;
    port_wait(&p, begin_us + 59 * SECOND);
    CU_ASSERT_TRUE(credits_left(p.bytes) < PORT_BYTES - 200000);
    port_wait(&p, begin_us + 61 * SECOND);
    CU_ASSERT_EQUAL(credits_left(p.bytes), PORT_BYTES);
    CU_ASSERT_EQUAL(credits_left(p.requests), PORT_CREDITS);
    CU_ASSERT_TRUE(is_closed(&c));
    check = caller_unary(&other, HEALTH_CHECK, VIEW(""), NULL);
    CU_ASSERT_STRING_EQUAL(caller_answer(&other, check)->grpc_status, "0");
    caller_close(&c);
    caller_close(&other);
    port_end(&p);
}

/* The state machine's answer to the read that was asked last: a value of so many octets. */
static void answer_read(struct port *p, size_t size)
{
    struct read_request *m = (struct read_request *)hand_find(p->actors.raft, RAFT_READ);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    uint8_t *value = mem_zalloc(size);
    struct result *r = result_create();
    struct key_value kv = {.key = VIEW("k"), .value = view_of(value, size), .mod_revision = 2};
    result_add(r, &kv, false);
    port_reply(p, m->request_id, r);
    MSG_FREE(m);
    mem_free(value);
}

/* Ask for so much and read nothing of it. True: it was not refused. */
static bool ask_unread(struct caller *c, size_t size)
{
    uint64_t left = credits_left(c->port->bytes);
    (void)http2_client_unary(c->client, PATH_RANGE, VIEW("\x0a\x01k"), NULL);
    caller_send(c);
    answer_read(c->port, size);
    return credits_left(c->port->bytes) + size <= left;
}

/* Who never reads its answers hurts no one else: however much it asks for on a connection, it gets no more than it leaves to
 * all others together. Its own further reads are refused, theirs are not. */
static void who_does_not_read_leaves_others_as_much(void)
{
    struct port p;
    port_prepare(&p);
    port_start(&p);
    struct caller deaf = caller_open(&p);
    struct caller other = caller_open(&p);
    size_t got = 0;
    for (int i = 0; i < 10; i++) {
        got += ask_unread(&deaf, 400000);
    }
    CU_ASSERT_EQUAL(got, 5); /* 2.0 of 4.2 million octets */
    CU_ASSERT_TRUE(credits_left(p.bytes) >= PORT_BYTES / 2);
    for (int i = 0; i < 10; i++) { /* it reads, so it may have large ones again and again */
        int32_t id = http2_client_unary(other.client, PATH_RANGE, VIEW("\x0a\x01k"), NULL);
        caller_send(&other);
        answer_read(&p, 900000);
        CU_ASSERT_STRING_EQUAL(caller_answer(&other, id)->grpc_status, "0");
    }
    caller_close(&deaf);
    caller_close(&other);
    port_end(&p);
}

/* Many of them: as soon as octets are scarce, those who hold more than a basic share and read nothing have seconds, not a
 * minute. Who holds little stays. */
static void many_who_do_not_read_are_closed_soon(void)
{
    struct port p;
    port_prepare(&p);
    port_start(&p);
    struct caller deaf[6];
    size_t asked = 0;
    struct caller small = caller_open(&p);
    int32_t id = http2_client_unary(small.client, PATH_RANGE, VIEW("\x0a\x01k"), NULL);
    caller_send(&small);
    for (size_t i = 0; i < ARRAY_COUNT(deaf); i++) {
        deaf[i] = caller_open(&p);
        struct read_request *first =
            i == 0 ? (struct read_request *)hand_find(p.actors.raft, RAFT_READ) : NULL;
        MSG_FREE(first);
        while (ask_unread(&deaf[i], 100000)) {
            asked++;
        }
    }
    CU_ASSERT_TRUE(asked > 30);
    CU_ASSERT_TRUE(credits_left(p.bytes) < PORT_BYTES / 4);
    uint64_t begin_us = p.now_us;
    port_wait(&p, begin_us + 4 * SECOND);
    CU_ASSERT_TRUE(credits_left(p.bytes) < PORT_BYTES / 4);
    port_wait(&p, begin_us + 6 * SECOND);
    CU_ASSERT_TRUE(credits_left(p.bytes) >
                   PORT_BYTES / 4); /* those that are left are no longer in the way */
    CU_ASSERT_FALSE(is_closed(&small));
    CU_ASSERT_FALSE(http2_client_answer(small.client, id)->closed);
    for (size_t i = 0; i < ARRAY_COUNT(deaf); i++) {
        caller_close(&deaf[i]);
    }
    caller_close(&small);
    port_end(&p);
}

/* A read that fits as a message and not as text is refused, and that is what is counted. */
static void json_refused_for_room_counts_as_refused(void)
{
    struct port p;
    port_prepare(&p);
    port_start(&p);
    struct actor *end = hand_receiver();
    struct caller c = caller_open(&p);
    const char *text = "POST /v3/kv/range HTTP/1.1\r\nContent-Length: 14\r\n\r\n{\"key\":\"aw==\"}";
    CU_ASSERT_EQUAL(send(c.fd, text, strlen(text), 0), (ssize_t)strlen(text));
    port_run(&p);
    answer_read(&p, 1300000);
    char answer[200] = "";
    CU_ASSERT_TRUE_FATAL(recv(c.fd, answer, sizeof(answer) - 1, 0) > 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(answer, "HTTP/1.1 429"));
    struct figures *m = MSG_NEW(struct figures, CLIENT_FIGURES, NULL);
    m->stop_count = 1;
    m->stops[0] = (struct figures_stop){.actor = end, .kind = CLIENT_FIGURES};
    ACTOR_SEND(p.client, m);
    port_run(&p);
    m = (struct figures *)hand_find(end, CLIENT_FIGURES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->clients.handled[METHOD_RANGE][GRPC_OK], 0);
    CU_ASSERT_EQUAL(m->clients.handled[METHOD_RANGE][GRPC_RESOURCE_EXHAUSTED], 1);
    MSG_FREE(m);
    caller_close(&c);
    port_end(&p);
    actor_destroy(end);
}

/* An answer over HTTP/1 outlives its request: what the socket has not taken stays charged, so that many who read
 * nothing cannot fill the memory; and it goes back as it is read, or with the connection. */
static void unread_answers_over_http1_stay_charged(void)
{
    struct port p;
    port_prepare(&p);
    port_start(&p);
    for (int closes = 0; closes < 2; closes++) {
        struct caller c = caller_open(&p);
        const char *text = "GET /kv/k HTTP/1.1\r\n\r\n";
        CU_ASSERT_EQUAL(send(c.fd, text, strlen(text), 0), (ssize_t)strlen(text));
        port_run(&p);
        struct read_request *m = (struct read_request *)hand_find(p.actors.raft, RAFT_READ);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        size_t size = 900000;
        uint8_t *value = mem_zalloc(size);
        struct result *r = result_create();
        struct key_value kv = {.key = VIEW("k"), .value = view_of(value, size), .mod_revision = 2};
        result_add(r, &kv, false);
        port_reply(&p, m->request_id, r);
        MSG_FREE(m);
        mem_free(value);
        CU_ASSERT_EQUAL(credits_left(p.requests), PORT_CREDITS);
        CU_ASSERT_TRUE(credits_left(p.bytes) < PORT_BYTES - 400000);
        if (closes == 0) {
            for (int i = 0; i < 1000 && credits_left(p.bytes) < PORT_BYTES; i++) {
                take_all(&c);
                port_run(&p);
            }
        }
        caller_close(&c);
        port_run(&p);
        CU_ASSERT_EQUAL(credits_left(p.bytes), PORT_BYTES);
    }
    port_end(&p);
}

/* Requests that came together are answered one after the other, and each when most of the answer before it has
 * gone: one connection makes no more than one large answer at a time. */
static void the_next_request_over_http1_waits_for_the_answer_to_go(void)
{
    struct port p;
    port_prepare(&p);
    port_start(&p);
    struct caller c = caller_open(&p);
    const char *text = "GET /kv/k HTTP/1.1\r\n\r\nGET /kv/l HTTP/1.1\r\n\r\n";
    CU_ASSERT_EQUAL(send(c.fd, text, strlen(text), 0), (ssize_t)strlen(text));
    port_run(&p);
    for (int i = 0; i < 2; i++) {
        struct read_request *m = (struct read_request *)hand_find(p.actors.raft, RAFT_READ);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        CU_ASSERT_TRUE(view_equal(m->query->key, i == 0 ? VIEW("k") : VIEW("l")));
        uint8_t *value = mem_zalloc(900000);
        struct result *r = result_create();
        struct key_value kv = {
            .key = VIEW("k"), .value = view_of(value, 900000), .mod_revision = 2};
        result_add(r, &kv, false);
        port_reply(&p, m->request_id, r);
        MSG_FREE(m);
        mem_free(value);
        CU_ASSERT_EQUAL(p.actors.raft->count, 0);
        for (int k = 0; k < 1000 && credits_left(p.bytes) < PORT_BYTES - 512; k++) {
            take_all(&c);
            port_run(&p);
        }
    }
    caller_close(&c);
    port_run(&p);
    port_end(&p);
}

/* Lasting calls have credits of their own: they leave those of requests alone, and the other way round. */
static void streams_have_their_own_credits(void)
{
    struct port p;
    port_prepare(&p);
    CU_ASSERT_TRUE(credits_take(p.streams, PORT_CREDITS - 2));
    port_start(&p);
    struct caller c = caller_open(&p);
    int32_t first = caller_unary(&c, HEALTH_WATCH, VIEW(""), NULL);
    int32_t second = caller_unary(&c, HEALTH_WATCH, VIEW(""), NULL);
    int32_t third = caller_unary(&c, HEALTH_WATCH, VIEW(""), NULL);
    caller_expect(&c, third, "8", "holdfast: too many streams");
    CU_ASSERT_EQUAL(credits_left(p.requests), PORT_CREDITS);
    CU_ASSERT_FALSE(caller_answer(&c, second)->ended);
    http2_client_reset(c.client, first, 8);
    caller_run(&c);
    int32_t fourth = caller_unary(&c, HEALTH_WATCH, VIEW(""), NULL);
    CU_ASSERT_FALSE(caller_answer(&c, fourth)->ended);
    CU_ASSERT_EQUAL(caller_answer(&c, fourth)->body.size, 7);
    caller_close(&c);
    credits_give(p.streams, PORT_CREDITS - 2);
    port_end(&p);
}

/* A client's own deadline ends a lasting call as any other. */
static void lasting_calls_keep_their_clients_deadline(void)
{
    struct port p;
    port_prepare(&p);
    port_start(&p);
    struct caller c = caller_open(&p);
    const struct http2_client_header timeout[] = {{"grpc-timeout", "100S"}, {NULL, NULL}};
    int32_t id = caller_unary(&c, HEALTH_WATCH, VIEW(""), timeout);
    port_wait(&p, p.now_us + 99 * SECOND);
    CU_ASSERT_FALSE(caller_answer(&c, id)->ended);
    port_wait(&p, p.now_us + 2 * SECOND);
    caller_expect(&c, id, "4", "context deadline exceeded");
    caller_close(&c);
    port_end(&p);
}

/* Who insists on a leader is told after three election timeouts without one; not sooner, and nobody else. */
static void leaderless_streams_end(void)
{
    struct port p;
    port_prepare(&p);
    port_start(&p);
    struct caller c = caller_open(&p);
    const struct http2_client_header insist[] = {{"hasleader", "true"}, {NULL, NULL}};
    int32_t insisting = caller_unary(&c, HEALTH_WATCH, VIEW(""), insist);
    int32_t patient = caller_unary(&c, HEALTH_WATCH, VIEW(""), NULL);
    port_set_leader(&p, 0);
    port_wait(&p, p.now_us + 2 * SECOND);
    port_set_leader(&p, 20); /* back in time: the clock starts anew */
    port_wait(&p, p.now_us + 10 * SECOND);
    port_set_leader(&p, 0);
    port_wait(&p, p.now_us + 29 * SECOND / 10);
    CU_ASSERT_FALSE(caller_answer(&c, insisting)->ended);
    port_wait(&p, p.now_us + SECOND);
    caller_expect(&c, insisting, "14", "etcdserver: no leader");
    CU_ASSERT_FALSE(caller_answer(&c, patient)->ended);
    int32_t late = caller_unary(&c, HEALTH_WATCH, VIEW(""), insist);
    caller_expect(&c, late, "14", "etcdserver: no leader");
    caller_close(&c);
    port_set_leader(&p, 20);
    port_set_leader(&p, 0); /* the leader stopped a moment before this node does */
    port_end(&p);
}

/* A header that is too large is said to be so, and costs its stream alone. */
static void large_header_is_refused(void)
{
    struct port p;
    port_prepare(&p);
    p.settings->config.client_header_bytes_max = 2000;
    port_start(&p);
    struct caller c = caller_open(&p);
    char value[1500];
    memset(value, 'v', sizeof value);
    value[sizeof value - 1] = 0;
    const struct http2_client_header big[] = {{"a", value}, {"b", value}, {NULL, NULL}};
    int32_t refused = caller_unary(&c, HEALTH_CHECK, VIEW(""), big);
    caller_expect(&c, refused, "8",
                  "holdfast: the request's header is larger than client.header_bytes_max");
    int32_t fine = caller_unary(&c, HEALTH_CHECK, VIEW(""), NULL);
    CU_ASSERT_STRING_EQUAL(caller_answer(&c, fine)->grpc_status, "0");
    caller_close(&c);
    port_end(&p);
}

SUITE("node client limits", TEST(idle_connections_are_closed), TEST(short_idle_timeouts_hold),
      TEST(drips_are_closed), TEST(dripping_message_times_out),
      TEST(unread_answers_end_the_connection), TEST(who_does_not_read_leaves_others_as_much),
      TEST(many_who_do_not_read_are_closed_soon), TEST(json_refused_for_room_counts_as_refused),
      TEST(unread_answers_over_http1_stay_charged),
      TEST(the_next_request_over_http1_waits_for_the_answer_to_go),
      TEST(streams_have_their_own_credits), TEST(lasting_calls_keep_their_clients_deadline),
      TEST(leaderless_streams_end), TEST(large_header_is_refused))
