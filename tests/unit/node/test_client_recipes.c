/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_client_recipes.c: Lock and Campaign step by step: what is proposed and watched, and what becomes of the
 * key when the client goes at each of the steps (sheet §2.8; trap 54). By hand, so that every order is one
 * that the test chose.
 */
#include "client_hand.h"

#include "node/client_watch.h"

#define LOCK     "/v3lockpb.Lock/Lock"
#define CAMPAIGN "/v3electionpb.Election/Campaign"
#define L_BY_7   VIEW("\x0a\x01L\x10\x07") /* name L, lease 7 */

static struct port port;
static struct caller caller;

static void begin(void)
{
    port_prepare(&port);
    port_start(&port);
    caller = caller_open(&port);
}

static void end(void)
{
    caller_close(&caller);
    CU_ASSERT_EQUAL(port.actors.raft->count, 0);
    port_end(&port);
}

/* ---- what is asked for ---------------------------------------------------------------------------- */

/* The next proposal, a transaction; *body until step_free. */
struct step {
    uint64_t id;
    struct command command;
    struct bytes octets;
    struct txn_body *body;
};

static void step_take(struct step *s)
{
    *s = (struct step){0};
    s->id = port_take_propose(&port, &s->command, &s->octets);
    CU_ASSERT_NOT_EQUAL_FATAL(s->id, 0);
    if (s->command.op == COMMAND_TXN) {
        CU_ASSERT_EQUAL_FATAL(txn_body_decode(s->command.body, &s->body), OK);
    }
}

static void step_free(struct step *s)
{
    mem_free(s->body);
    bytes_free(&s->octets);
}

/* Answers: of entering (a put and the head of the line), and of looking (our key and who is before us). */
static void add_answer(struct result *r, size_t at, enum txn_op_kind kind, const char *key,
                       int64_t create_revision)
{
    r->responses[at].kind = kind;
    r->responses[at].result = result_create();
    if (key != NULL) {
        struct key_value kv = {.key = view_of_text(key), .create_revision = create_revision};
        result_add(r->responses[at].result, &kv, false);
    }
}

static struct result *two_answers(int64_t revision, bool succeeded)
{
    struct result *r = result_create();
    r->revision = revision;
    r->succeeded = succeeded;
    r->response_count = 2;
    r->responses = mem_zalloc(2 * sizeof(struct result_response));
    return r;
}

/* The key is new, at `revision`; at the head stands head_revision. */
static struct result *entered_result(int64_t revision, int64_t head_revision)
{
    struct result *r = two_answers(revision, true);
    add_answer(r, 0, TXN_PUT, NULL, 0);
    add_answer(r, 1, TXN_RANGE, "L/5", head_revision);
    return r;
}

static struct result *looked_result(int64_t revision, int64_t own, const char *before)
{
    struct result *r = two_answers(revision, true);
    add_answer(r, 0, TXN_RANGE, own != 0 ? "L/7" : NULL, own);
    add_answer(r, 1, TXN_RANGE, before, own - 1);
    return r;
}

static uint64_t take_look(void)
{
    struct read_request *m = (struct read_request *)hand_find(port.actors.raft, RAFT_READ);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->query->kind, QUERY_TXN);
    uint64_t id = m->request_id;
    MSG_FREE(m);
    return id;
}

/* The next watch asked for: of this key, from this revision, deletions alone. */
static int64_t expect_watch(const char *key, int64_t start_revision, uint64_t *stream)
{
    struct watch_create *m = (struct watch_create *)hand_find(port.actors.watch, WATCH_CREATE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_TRUE(view_equal(bytes_view(&m->key), view_of_text(key)));
    CU_ASSERT_EQUAL(m->start_revision, start_revision);
    CU_ASSERT_TRUE(m->no_put);
    CU_ASSERT_FALSE(m->no_delete);
    int64_t id = m->watch_id;
    *stream = m->stream;
    MSG_FREE(m);
    return id;
}

static void tell(uint64_t stream, int64_t watch_id, enum watch_response_kind kind,
                 int64_t compact_revision)
{
    struct client_watch *m = MSG_NEW(struct client_watch, CLIENT_WATCH, release_client_watch);
    m->batch = mem_zalloc(sizeof *m->batch);
    m->batch->responses = mem_zalloc(sizeof *m->batch->responses);
    m->batch->response_count = m->batch->response_capacity = 1;
    m->batch->responses[0] = (struct watch_response){
        .stream = stream, .watch_id = watch_id, .kind = kind, .compact_revision = compact_revision};
    ACTOR_SEND(port.client, m);
    port_run(&port);
}

/* The deletion of L/7 as we put it at `revision`. */
static void expect_removal(int64_t revision)
{
    struct step s;
    step_take(&s);
    CU_ASSERT_EQUAL_FATAL(s.command.op, COMMAND_TXN);
    CU_ASSERT_EQUAL(s.body->compare_count, 1);
    CU_ASSERT_EQUAL(s.body->compares[0].target, TXN_MOD);
    CU_ASSERT_EQUAL(s.body->compares[0].result, TXN_EQUAL);
    CU_ASSERT_EQUAL(s.body->compares[0].number, revision);
    CU_ASSERT_TRUE(view_equal(s.body->compares[0].key, VIEW("L/7")));
    CU_ASSERT_EQUAL(s.body->success_count, 1);
    CU_ASSERT_EQUAL(s.body->success[0].kind, TXN_DELETE_RANGE);
    CU_ASSERT_TRUE(view_equal(s.body->success[0].key, VIEW("L/7")));
    CU_ASSERT_EQUAL(s.body->failure_count, 0);
    port_reply(&port, s.id, result_create());
    step_free(&s);
    CU_ASSERT_EQUAL(credits_left(port.streams), PORT_CREDITS);
}

static void expect_nothing(void)
{
    struct command c;
    struct bytes octets;
    CU_ASSERT_EQUAL(port_take_propose(&port, &c, &octets), 0);
}

/* Lock L with lease 7 up to waiting for L/5, as revision 20; ids of both watches. */
static int32_t wait_in_line(uint64_t *stream, int64_t *own, int64_t *before)
{
    int32_t call = caller_unary(&caller, LOCK, L_BY_7, NULL);
    struct step s;
    step_take(&s);
    port_reply(&port, s.id, entered_result(20, 10));
    step_free(&s);
    port_reply(&port, take_look(), looked_result(21, 20, "L/5"));
    *own = expect_watch("L/7", 22, stream);
    *before = expect_watch("L/5", 22, stream);
    CU_ASSERT_NOT_EQUAL(*own, *before);
    tell(*stream, *own, WATCH_RESPONSE_CREATED, 0);
    tell(*stream, *before, WATCH_RESPONSE_CREATED, 0);
    CU_ASSERT_FALSE(caller_answer(&caller, call)->ended);
    return call;
}

/* ---- tests ---------------------------------------------------------------------------------------- */

/* The line is empty: one transaction and the lock is held. */
static void first_in_line(void)
{
    begin();
    int32_t call = caller_unary(&caller, LOCK, L_BY_7, NULL);
    struct step s;
    step_take(&s);
    CU_ASSERT_EQUAL_FATAL(s.command.op, COMMAND_TXN);
    CU_ASSERT_EQUAL(s.body->compares[0].target, TXN_CREATE);
    CU_ASSERT_EQUAL(s.body->compares[0].number, 0);
    CU_ASSERT_TRUE(view_equal(s.body->compares[0].key, VIEW("L/7")));
    CU_ASSERT_EQUAL_FATAL(s.body->success_count, 2);
    CU_ASSERT_EQUAL(s.body->success[0].kind, TXN_PUT);
    CU_ASSERT_EQUAL(s.body->success[0].lease, 7);
    CU_ASSERT_EQUAL(s.body->success[1].kind, TXN_RANGE);
    CU_ASSERT_TRUE(view_equal(s.body->success[1].range.key, VIEW("L/")));
    CU_ASSERT_TRUE(view_equal(s.body->success[1].range.range_end, VIEW("L0")));
    CU_ASSERT_EQUAL(s.body->success[1].range.limit, 1);
    CU_ASSERT_EQUAL(s.body->success[1].range.sort_target, SORT_CREATE);
    port_reply(&port, s.id, entered_result(20, 20));
    step_free(&s);
    const struct http2_client_answer *a = caller_answer(&caller, call);
    CU_ASSERT_STRING_EQUAL(a->grpc_status, "0");
    CU_ASSERT_TRUE(
        view_equal(view_of(a->body.data, a->body.size),
                   VIEW("\0\0\0\0\x0f\x0a\x08\x08\x0a\x10\x14\x18\x14\x20\x1e\x12\x03L/7")));
    expect_nothing(); /* who holds it keeps the key */
    end();
}

/* Without a lease the node makes one of a minute; leaving then ends the lease, and the key with it. */
static void lease_of_its_own(void)
{
    begin();
    int32_t call = caller_unary(&caller, LOCK, VIEW("\x0a\x01L"), NULL);
    struct step s;
    step_take(&s);
    CU_ASSERT_EQUAL(s.command.op, COMMAND_LEASE_GRANT);
    CU_ASSERT_EQUAL(s.command.ttl_s, 60);
    int64_t lease = s.command.lease_id;
    CU_ASSERT_TRUE(lease > 0);
    port_reply(&port, s.id, result_create());
    step_free(&s);
    step_take(&s);
    CU_ASSERT_EQUAL(s.command.op, COMMAND_TXN);
    CU_ASSERT_EQUAL(s.body->success[0].lease, lease);
    http2_client_reset(caller.client, call, 8);
    caller_run(&caller);
    expect_nothing(); /* the answer to entering first */
    port_reply(&port, s.id, entered_result(20, 10));
    step_free(&s);
    step_take(&s);
    CU_ASSERT_EQUAL(s.command.op, COMMAND_LEASE_REVOKE);
    CU_ASSERT_EQUAL(s.command.lease_id, lease);
    port_reply(&port, s.id, result_create());
    step_free(&s);
    CU_ASSERT_EQUAL(credits_left(port.streams), PORT_CREDITS);
    end();
}

/* The one before us leaves: we look again, and again if somebody else stands there. Passing trouble is waited
 * out, since the call may have waited for hours. */
static void moves_up(void)
{
    begin();
    uint64_t stream = 0;
    int64_t own = 0;
    int64_t before = 0;
    int32_t call = wait_in_line(&stream, &own, &before);
    port_wait(&port, port.now_us + 10000 * SECOND); /* no deadline of ours */
    tell(stream, before, WATCH_RESPONSE_EVENTS, 0);
    port_reply(&port, take_look(), looked_result(30, 20, "L/6"));
    int64_t second = expect_watch("L/6", 31, &stream);
    tell(stream, before, WATCH_RESPONSE_EVENTS, 0); /* of the one that left: stale */
    CU_ASSERT_EQUAL(port.actors.raft->count, 0);
    tell(stream, second, WATCH_RESPONSE_EVENTS, 0);
    port_refuse(&port, take_look(), ERR_LEADER_CHANGED);
    CU_ASSERT_FALSE(caller_answer(&caller, call)->ended);
    port_wait(&port, port.now_us + SECOND);
    uint64_t unanswered = take_look();
    UNUSED(unanswered);
    port_wait(&port, port.now_us + 8 * SECOND); /* the request timeout, and another look */
    CU_ASSERT_FALSE(caller_answer(&caller, call)->ended);
    port_reply(&port, take_look(), looked_result(40, 20, NULL));
    CU_ASSERT_STRING_EQUAL(caller_answer(&caller, call)->grpc_status, "0");
    expect_nothing();
    end();
}

/* A lost lease takes the key: the call ends at once, also if the loss is seen only when looking. */
static void lost_lease_ends_the_wait(void)
{
    begin();
    uint64_t stream = 0;
    int64_t own = 0;
    int64_t before = 0;
    int32_t call = wait_in_line(&stream, &own, &before);
    tell(stream, own, WATCH_RESPONSE_EVENTS, 0);
    caller_expect(&caller, call, "2", "mutex: session is expired");
    expect_nothing(); /* there is nothing to remove */
    CU_ASSERT_EQUAL(credits_left(port.streams), PORT_CREDITS);

    call = wait_in_line(&stream, &own, &before);
    tell(stream, before, WATCH_RESPONSE_EVENTS, 0);
    port_reply(&port, take_look(), looked_result(30, 0, NULL));
    caller_expect(&caller, call, "2", "mutex: session is expired");
    expect_nothing();
    end();
}

/* However the waiting client goes - its stream, its deadline, its connection, our stop - its key goes too. */
static void cancelled_wait_removes_its_key(void)
{
    begin();
    uint64_t stream = 0;
    int64_t own = 0;
    int64_t before = 0;
    int32_t call = wait_in_line(&stream, &own, &before);
    http2_client_reset(caller.client, call, 8);
    caller_run(&caller);
    struct msg *closed = hand_find(port.actors.watch, WATCH_STREAM_CLOSED);
    CU_ASSERT_PTR_NULL(
        closed); /* not before the key is gone: the worker's stream, nothing waits for it */
    expect_removal(20);
    closed = hand_find(port.actors.watch, WATCH_STREAM_CLOSED);
    CU_ASSERT_PTR_NOT_NULL_FATAL(closed);
    msg_free_base(&closed);

    const struct http2_client_header timeout[] = {{"grpc-timeout", "5S"}, {NULL, NULL}};
    call = caller_unary(&caller, LOCK, L_BY_7, timeout);
    struct step s;
    step_take(&s);
    port_reply(&port, s.id, entered_result(20, 10));
    step_free(&s);
    port_wait(&port, port.now_us + 6 * SECOND); /* while it looks */
    caller_expect(&caller, call, "4", "context deadline exceeded");
    expect_removal(20);

    (void)wait_in_line(&stream, &own, &before);
    caller_close(&caller);
    expect_removal(20);

    caller = caller_open(&port);
    call = wait_in_line(&stream, &own, &before);
    port.client->ops->stop(port.client->self, port.now_us);
    caller_expect(&caller, call, "14", "etcdserver: server stopped");
    CU_ASSERT_FALSE(port.client->stopped); /* there is time for what is begun */
    expect_removal(20);
    end();
}

/* The removal is tried again over a change of leaders, and given up in the end: the lease ends it then. */
static void removal_is_tried_again(void)
{
    begin();
    uint64_t stream = 0;
    int64_t own = 0;
    int64_t before = 0;
    int32_t call = wait_in_line(&stream, &own, &before);
    http2_client_reset(caller.client, call, 8);
    caller_run(&caller);
    size_t tries = 0;
    struct command c;
    struct bytes octets;
    for (uint64_t id = 0; (id = port_take_propose(&port, &c, &octets)) != 0; tries++) {
        bytes_free(&octets);
        port_refuse(&port, id, ERR_NO_LEADER);
        port_wait(&port, port.now_us + SECOND);
    }
    CU_ASSERT_EQUAL(tries, 8);
    CU_ASSERT_EQUAL(credits_left(port.streams), PORT_CREDITS);
    end();
}

/* A stop does not wait for ever for a line to be left, neither for the answer nor for the next try. */
static void stop_is_bounded(void)
{
    uint64_t stream = 0;
    int64_t own = 0;
    int64_t before = 0;
    for (size_t refused = 0; refused < 2; refused++) {
        begin();
        (void)wait_in_line(&stream, &own, &before);
        port.client->ops->stop(port.client->self, port.now_us);
        port_run(&port);
        struct command c;
        struct bytes octets;
        uint64_t id = port_take_propose(&port, &c, &octets);
        CU_ASSERT_NOT_EQUAL(id, 0);
        bytes_free(&octets);
        if (refused == 1) {
            port_wait(&port, port.now_us + 29 * SECOND / 10);
            port_refuse(&port, id, ERR_NO_LEADER); /* it would try again, but time is up */
        }
        port_wait(&port, port.now_us + 4 * SECOND);
        CU_ASSERT_TRUE(port.client->stopped);
        struct msg *m = NULL;
        while ((m = hand_take(port.actors.raft)) != NULL) {
            msg_free_base(&m);
        }
        end();
    }
}

/* The same lease asked before: the key keeps its create revision and changes hands, so that a late removal by
 * the earlier call, which names its own put, does nothing. */
static void takes_its_own_key_over(void)
{
    begin();
    int32_t call = caller_unary(&caller, LOCK, L_BY_7, NULL);
    struct step s;
    step_take(&s);
    CU_ASSERT_EQUAL_FATAL(s.body->failure_count, 2);
    CU_ASSERT_EQUAL(s.body->failure[0].kind, TXN_PUT);
    CU_ASSERT_EQUAL(s.body->failure[0].flags, COMMAND_PREV_KV);
    struct result *r = two_answers(30, false);
    add_answer(r, 0, TXN_PUT, "L/7", 20); /* as it was */
    add_answer(r, 1, TXN_RANGE, "L/5", 10);
    port_reply(&port, s.id, r);
    step_free(&s);
    port_reply(&port, take_look(), looked_result(31, 20, "L/5"));
    http2_client_reset(caller.client, call, 8);
    caller_run(&caller);
    expect_removal(30); /* not 20 */
    end();
}

/* A watch that lagged behind a compaction is begun anew; one there is no room for fails the call. */
static void watches_may_end(void)
{
    begin();
    uint64_t stream = 0;
    int64_t own = 0;
    int64_t before = 0;
    int32_t call = wait_in_line(&stream, &own, &before);
    tell(stream, own, WATCH_RESPONSE_CANCELED, 25);
    port_reply(&port, take_look(), looked_result(30, 20, "L/5"));
    int64_t own_again = expect_watch("L/7", 31, &stream);
    int64_t before_again = expect_watch("L/5", 31, &stream);
    CU_ASSERT_TRUE(own_again > before);
    tell(stream, own_again, WATCH_RESPONSE_CREATED, 0);
    tell(stream, -1, WATCH_RESPONSE_REFUSED, 0);
    UNUSED(before_again);
    caller_expect(&caller, call, "8", "etcdserver: too many requests");
    expect_removal(20);
    end();
}

/* What the state machine refuses leaves nothing behind. */
static void refused_entry(void)
{
    begin();
    int32_t call = caller_unary(&caller, CAMPAIGN, VIEW("\x0a\x01L\x10\x07\x1a\x01v"), NULL);
    struct step s;
    step_take(&s);
    CU_ASSERT_TRUE(view_equal(s.body->success[0].value, VIEW("v")));
    struct result *r = result_create();
    r->error = ERR_LEASE_NOT_FOUND;
    port_reply(&port, s.id, r);
    step_free(&s);
    caller_expect(&caller, call, "2", "etcdserver: requested lease not found");
    expect_nothing();
    CU_ASSERT_EQUAL(credits_left(port.streams), PORT_CREDITS);
    end();
}

/* Each takes two credits of streams, and is refused without. */
static void credits_bound_them(void)
{
    port_prepare(&port);
    CU_ASSERT_TRUE(credits_take(port.streams, PORT_CREDITS - 3));
    port_start(&port);
    caller = caller_open(&port);
    int32_t first = caller_unary(&caller, LOCK, L_BY_7, NULL);
    int32_t second = caller_unary(&caller, LOCK, L_BY_7, NULL);
    caller_expect(&caller, second, "8", "holdfast: too many streams");
    struct step s;
    step_take(&s);
    port_reply(&port, s.id, entered_result(20, 20));
    step_free(&s);
    CU_ASSERT_STRING_EQUAL(caller_answer(&caller, first)->grpc_status, "0");
    credits_give(port.streams, PORT_CREDITS - 3);
    end();
}

SUITE("node client recipes", TEST(first_in_line), TEST(lease_of_its_own), TEST(moves_up),
      TEST(lost_lease_ends_the_wait), TEST(cancelled_wait_removes_its_key),
      TEST(removal_is_tried_again), TEST(stop_is_bounded), TEST(takes_its_own_key_over),
      TEST(watches_may_end), TEST(refused_entry), TEST(credits_bound_them))
