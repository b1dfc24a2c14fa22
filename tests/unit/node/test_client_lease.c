/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_client_lease.c: the Lease service at the client port: ids that the node draws, and keepalives, which
 * are gathered over streams into one proposal at a time and answered in order (sheet §2.7; design:
 * "keepalives batched into one entry per group commit").
 */
#include "client_fixture.h"

#include "rpc.pb-c.h"

#define PATH_GRANT     "/etcdserverpb.Lease/LeaseGrant"
#define PATH_REVOKE    "/etcdserverpb.Lease/LeaseRevoke"
#define PATH_KEEPALIVE "/etcdserverpb.Lease/LeaseKeepAlive"
#define PATH_TTL       "/etcdserverpb.Lease/LeaseTimeToLive"
#define PATH_LEASES    "/etcdserverpb.Lease/LeaseLeases"

/* ---- helpers -------------------------------------------------------------------------------------- */

static int32_t stream_open(struct link *l)
{
    int32_t id = http2_client_request(l->client, PATH_KEEPALIVE, NULL, false, false);
    link_send(l);
    return id;
}

/* A keepalive for a lease with an id below 128. */
static void ask(struct link *l, int32_t stream, uint8_t lease)
{
    const uint8_t octets[] = {0, 0, 0, 0, 2, 0x08, lease};
    http2_client_data(l->client, stream, view_of(octets, sizeof octets), false);
    link_send(l);
}

static void half_close(struct link *l, int32_t stream)
{
    http2_client_data(l->client, stream, VIEW(""), true);
    link_send(l);
}

struct batch {
    uint64_t request;
    size_t count;
    int64_t ids[16];
};

static struct batch take_batch(struct fixture *f)
{
    struct command c;
    struct bytes octets;
    struct batch b = {.request = take_propose(f, &c, &octets)};
    CU_ASSERT_EQUAL_FATAL(c.op, COMMAND_LEASE_KEEPALIVE);
    b.count = command_id_count(&c);
    CU_ASSERT_TRUE_FATAL(b.count <= ARRAY_COUNT(b.ids));
    for (size_t i = 0; i < b.count; i++) {
        b.ids[i] = command_id_at(&c, i);
    }
    bytes_free(&octets);
    return b;
}

/* Applied: a lease with an odd id lives and has its id as TTL, one with an even id does not exist. */
static void answer_batch(struct fixture *f, const struct batch *b)
{
    struct result *r = result_create();
    r->revision = 9;
    for (size_t i = 0; i < b->count; i++) {
        result_add_lease(
            r, &(struct lease_info){.id = b->ids[i], .ttl_s = b->ids[i] % 2 != 0 ? b->ids[i] : 0});
    }
    reply_result(f, b->request, r);
}

/* The ids answered on a stream so far, after waiting for `count` of them. */
static void expect_answers(struct link *l, int32_t stream, const int64_t *ids, size_t count)
{
    const struct http2_client_answer *a = http2_client_answer(l->client, stream);
    size_t found = 0;
    for (;;) {
        size_t at = 0;
        found = 0;
        while (at + 5 <= a->body.size) {
            const uint8_t *p = a->body.data + at;
            size_t size = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
            if (at + 5 + size > a->body.size) {
                break;
            }
            Etcdserverpb__LeaseKeepAliveResponse *m =
                etcdserverpb__lease_keep_alive_response__unpack(NULL, size, p + 5);
            CU_ASSERT_PTR_NOT_NULL_FATAL(m);
            CU_ASSERT_TRUE_FATAL(found < count);
            CU_ASSERT_EQUAL(m->id, ids[found]);
            CU_ASSERT_EQUAL(m->ttl, ids[found] % 2 != 0 ? ids[found] : 0);
            CU_ASSERT_EQUAL(m->header->revision, 9);
            CU_ASSERT_EQUAL(m->header->member_id, 20);
            etcdserverpb__lease_keep_alive_response__free_unpacked(m, NULL);
            found++;
            at += 5 + size;
        }
        if (found >= count || !link_round(l, WITNESS_PATIENCE_MS)) {
            break;
        }
    }
    CU_ASSERT_EQUAL(found, count);
}

/* ---- grant, revoke, look-ups ----------------------------------------------------------------------- */

/* Without an id the node draws one, and another if that exists; a client's own id is refused. */
static void ids_are_drawn(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    int64_t drawn[3] = {0};
    int32_t stream = link_unary(&l, PATH_GRANT, VIEW("\x08\x0a"));
    for (size_t i = 0; i < 3; i++) {
        struct command c;
        struct bytes octets;
        uint64_t request = take_propose(&f, &c, &octets);
        CU_ASSERT_EQUAL(c.op, COMMAND_LEASE_GRANT);
        CU_ASSERT_EQUAL(c.ttl_s, 10);
        CU_ASSERT_TRUE(c.lease_id > 0);
        drawn[i] = c.lease_id;
        bytes_free(&octets);
        struct result *r = result_create();
        if (i < 2) {
            r->error = ERR_LEASE_EXISTS;
        } else {
            result_add_lease(r, &(struct lease_info){.id = drawn[i], .ttl_s = 10});
        }
        reply_result(&f, request, r);
    }
    CU_ASSERT_NOT_EQUAL(drawn[0], drawn[1]);
    CU_ASSERT_NOT_EQUAL(drawn[1], drawn[2]);
    const struct http2_client_answer *a = link_await(&l, stream);
    CU_ASSERT_STRING_EQUAL(a->grpc_status, "0");
    Etcdserverpb__LeaseGrantResponse *m =
        etcdserverpb__lease_grant_response__unpack(NULL, a->body.size - 5, a->body.data + 5);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->id, drawn[2]);
    CU_ASSERT_EQUAL(m->ttl, 10);
    etcdserverpb__lease_grant_response__free_unpacked(m, NULL);

    stream = link_unary(&l, PATH_GRANT, VIEW("\x08\x0a\x10\x07"));
    uint64_t request = take_propose(&f, NULL, NULL);
    struct result *r = result_create();
    r->error = ERR_LEASE_EXISTS;
    reply_result(&f, request, r);
    expect_error(&l, stream, "9", "etcdserver: lease already exists");
    expect_error(&l, link_unary(&l, PATH_GRANT, VIEW("\x08\x81\xb4\xc4\xc3\x21")), "11",
                 "etcdserver: too large lease TTL");
    link_close(&l);
    fixture_end(&f);
}

static void revokes_and_look_ups(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    int32_t stream = link_unary(&l, PATH_REVOKE, VIEW("\x08\x07"));
    struct result *r = result_create();
    r->error = ERR_LEASE_NOT_FOUND;
    reply_result(&f, take_propose(&f, NULL, NULL), r);
    expect_error(&l, stream, "5", "etcdserver: requested lease not found");
    stream = link_unary(&l, PATH_REVOKE, VIEW("\x08\x07"));
    reply_ok(&f, take_propose(&f, NULL, NULL), 3);
    CU_ASSERT_STRING_EQUAL(link_await(&l, stream)->grpc_status, "0");

    stream = link_unary(&l, PATH_TTL, VIEW("\x08\x07\x10\x01"));
    struct read_request *m = take_read(&f.raft, RAFT_READ); /* linearizable: through raft */
    CU_ASSERT_EQUAL(m->query->kind, QUERY_LEASE_TTL);
    CU_ASSERT_EQUAL(m->query->lease, 7);
    r = result_create();
    result_add_lease(r, &(struct lease_info){.id = 7, .ttl_s = -1});
    reply_result(&f, m->request_id, r);
    MSG_FREE(m);
    CU_ASSERT_STRING_EQUAL(link_await(&l, stream)->grpc_status, "0");

    stream = link_unary(&l, PATH_LEASES, VIEW(""));
    m = take_read(&f.raft, RAFT_READ);
    CU_ASSERT_EQUAL(m->query->kind, QUERY_LEASES);
    reply_ok(&f, m->request_id, 3);
    MSG_FREE(m);
    CU_ASSERT_STRING_EQUAL(link_await(&l, stream)->grpc_status, "0");
    link_close(&l);
    fixture_end(&f);
}

/* ---- keepalive ------------------------------------------------------------------------------------- */

/* One proposal is under way; what all streams ask meanwhile is the next one. Answers keep their order. */
static void keepalives_are_gathered_over_streams(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    struct link other = link_open(&f);
    int32_t first = stream_open(&l);
    int32_t second = stream_open(&l);
    int32_t third = stream_open(&other);
    ask(&l, first, 1);
    struct batch b = take_batch(&f);
    CU_ASSERT_EQUAL_FATAL(b.count, 1);
    ask(&l, first, 2);
    ask(&l, second, 3);
    ask(&l, first, 5);
    ask(&l, first, 5);
    /* A put behind them: when raft has it, the keepalives of this connection have been taken. */
    int32_t put = link_unary(&l, PATH_PUT, PUT_K_V);
    uint64_t put_request = take_propose(&f, NULL, NULL);
    ask(&other, third, 7);
    int32_t other_put = link_unary(&other, PATH_PUT, PUT_K_V);
    uint64_t other_request = take_propose(&f, NULL, NULL);
    answer_batch(&f, &b);
    expect_answers(&l, first, (const int64_t[]){1}, 1);
    b = take_batch(&f);
    const int64_t gathered[] = {2, 3, 5, 5, 7};
    CU_ASSERT_EQUAL_FATAL(b.count, ARRAY_COUNT(gathered));
    for (size_t i = 0; i < b.count; i++) {
        CU_ASSERT_EQUAL(b.ids[i], gathered[i]);
    }
    answer_batch(&f, &b);
    expect_answers(&l, first, (const int64_t[]){1, 2, 5, 5}, 4);
    expect_answers(&l, second, (const int64_t[]){3}, 1);
    expect_answers(&other, third, (const int64_t[]){7}, 1);
    reply_ok(&f, put_request, 2);
    reply_ok(&f, other_request, 2);
    (void)link_await(&l, put);
    (void)link_await(&other, other_put);
    /* The streams are open still; half-closed without a question they end with OK. */
    half_close(&l, second);
    CU_ASSERT_STRING_EQUAL(link_await(&l, second)->grpc_status, "0");
    link_close(&l);
    link_close(&other);
    fixture_end(&f);
}

/* When the node sent the batch; it is answered. */
static uint64_t pass_batch(struct fixture *f)
{
    struct raft_propose *m = (struct raft_propose *)witness_take(&f->raft);
    CU_ASSERT_EQUAL_FATAL(m->base.kind, RAFT_PROPOSE);
    uint64_t sent_us = m->base.sent_us;
    struct batch b = {.request = m->request_id, .count = 1, .ids = {1}};
    MSG_FREE(m);
    answer_batch(f, &b);
    return sent_us;
}

/* However fast answers and questions come, batches leave some time apart (a commit for each keepalive else). */
static void batches_keep_a_pace(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    int32_t stream = stream_open(&l);
    const int64_t answers[] = {1, 1, 1};
    uint64_t before_us = 0;
    for (size_t i = 0; i < ARRAY_COUNT(answers); i++) {
        ask(&l, stream, 1);
        uint64_t sent_us = pass_batch(&f);
        CU_ASSERT_TRUE(i == 0 || sent_us >= before_us + 2000);
        before_us = sent_us;
        expect_answers(&l, stream, answers, i + 1);
    }
    link_close(&l);
    fixture_end(&f);
}

/* Half-closed with questions left: they are answered first (sheet: "server ends with OK"). */
static void a_half_closed_stream_ends_after_its_answers(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    int32_t stream = stream_open(&l);
    ask(&l, stream, 1);
    struct batch b = take_batch(&f);
    ask(&l, stream, 3);
    half_close(&l, stream);
    answer_batch(&f, &b);
    b = take_batch(&f);
    CU_ASSERT_FALSE(http2_client_answer(l.client, stream)->closed);
    answer_batch(&f, &b);
    expect_answers(&l, stream, (const int64_t[]){1, 3}, 2);
    CU_ASSERT_STRING_EQUAL(link_await(&l, stream)->grpc_status, "0");
    int32_t silent = stream_open(&l);
    half_close(&l, silent);
    CU_ASSERT_STRING_EQUAL(link_await(&l, silent)->grpc_status, "0");
    link_close(&l);
    fixture_end(&f);
}

/* A stream that is gone is not asked for any more, and its answers go nowhere. */
static void a_closed_stream_leaves_the_others_alone(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    struct link gone = link_open(&f);
    int32_t stream = stream_open(&l);
    int32_t lost = stream_open(&gone);
    ask(&gone, lost, 1);
    struct batch b = take_batch(&f);
    ask(&gone, lost, 3);
    ask(&gone, lost, 5);
    http2_client_reset(gone.client, lost, 8);
    int32_t put = link_unary(&gone, PATH_PUT, PUT_K_V); /* the reset has been taken before it */
    uint64_t put_request = take_propose(&f, NULL, NULL);
    ask(&l, stream, 7);
    int32_t behind = link_unary(&l, PATH_PUT, PUT_K_V);
    uint64_t behind_request = take_propose(&f, NULL, NULL);
    answer_batch(&f, &b);
    b = take_batch(&f);
    CU_ASSERT_EQUAL(b.count, 1);
    CU_ASSERT_EQUAL(b.ids[0], 7);
    answer_batch(&f, &b);
    expect_answers(&l, stream, (const int64_t[]){7}, 1);
    reply_ok(&f, put_request, 2);
    reply_ok(&f, behind_request, 2);
    (void)link_await(&gone, put);
    (void)link_await(&l, behind);
    link_close(&l);
    link_close(&gone);
    fixture_end(&f);
}

/* Lost for certain: proposed again, nobody notices (trap 51). Refused: the streams of that batch end, the
 * others' questions are asked. */
static void a_lost_batch_is_proposed_again_and_a_refused_one_ends_its_streams(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    int32_t first = stream_open(&l);
    int32_t second = stream_open(&l);
    ask(&l, first, 1);
    struct batch b = take_batch(&f);
    reply_error(&f, b.request, ERR_LEADER_CHANGED);
    struct batch again = take_batch(&f);
    CU_ASSERT_TRUE(again.request > b.request);
    CU_ASSERT_EQUAL(again.ids[0], 1);
    ask(&l, second, 3);
    int32_t put = link_unary(&l, PATH_PUT, PUT_K_V);
    uint64_t put_request = take_propose(&f, NULL, NULL);
    reply_error(&f, again.request, ERR_OVERLOAD);
    const struct http2_client_answer *a = link_await(&l, first);
    CU_ASSERT_STRING_EQUAL(a->grpc_status, "8");
    b = take_batch(&f);
    CU_ASSERT_EQUAL(b.count, 1);
    CU_ASSERT_EQUAL(b.ids[0], 3);
    answer_batch(&f, &b);
    expect_answers(&l, second, (const int64_t[]){3}, 1);
    reply_ok(&f, put_request, 2);
    (void)link_await(&l, put);
    link_close(&l);
    fixture_end(&f);
}

/* The same batch, proposed again; how often depends on the machine. */
static void drop_repeats(struct fixture *f)
{
    for (struct msg *m = witness_wait(&f->raft, 0); m != NULL; m = witness_wait(&f->raft, 0)) {
        CU_ASSERT_EQUAL(m->kind, RAFT_PROPOSE);
        msg_free_base(&m);
    }
}

/* Nobody knows what became of a batch, and all others wait behind it: it is proposed again after a while. An
 * answer to the first proposal that comes late finds nobody. */
static void an_overdue_batch_is_proposed_again(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){.request_timeout_ms = 8000});
    struct link l = link_open(&f);
    int32_t stream = stream_open(&l);
    ask(&l, stream, 1);
    struct batch first = take_batch(&f);
    ask(&l, stream, 3);
    struct batch again = take_batch(&f);
    CU_ASSERT_TRUE(again.request > first.request);
    CU_ASSERT_EQUAL(again.count, 1);
    CU_ASSERT_EQUAL(again.ids[0], 1);
    answer_batch(&f, &first);
    answer_batch(&f, &again);
    expect_answers(&l, stream, (const int64_t[]){1}, 1);
    struct batch next = take_batch(&f);
    CU_ASSERT_EQUAL(next.count, 1);
    CU_ASSERT_EQUAL(next.ids[0], 3);
    answer_batch(&f, &next);
    expect_answers(&l, stream, (const int64_t[]){1, 3}, 2);
    drop_repeats(&f);
    link_close(&l);
    fixture_end(&f);
}

/* No answer within the request timeout, and nobody leads: etcd's words for it. */
static void without_a_leader_a_keepalive_ends(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){.no_leader = true, .request_timeout_ms = 50});
    struct link l = link_open(&f);
    int32_t stream = stream_open(&l);
    ask(&l, stream, 1);
    struct batch b = take_batch(&f);
    CU_ASSERT_EQUAL(b.count, 1);
    expect_error(&l, stream, "14", "etcdserver: no leader");
    drop_repeats(&f);
    link_close(&l);
    fixture_end(&f);
}

/* Questions that wait are charged to the octets in flight; answered and taken, they are given back. */
static void questions_are_charged_until_their_answers_are_taken(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){.bytes = 512 + 64 * 10});
    struct link l = link_open(&f);
    int32_t stream = stream_open(&l);
    for (int round = 0; round < 5; round++) {
        for (uint8_t i = 0; i < 3; i++) {
            ask(&l, stream, 1);
        }
        for (size_t answered = 0; answered < 3;) {
            struct batch b = take_batch(&f);
            answered += b.count;
            answer_batch(&f, &b);
        }
        expect_answers(&l, stream, (const int64_t[]){1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                       3 * (size_t)(round + 1));
    }
    /* None is answered: there is no room for a flood. */
    ask(&l, stream, 1);
    (void)take_batch(&f);
    for (int i = 0; i < 40; i++) {
        ask(&l, stream, 1);
    }
    const struct http2_client_answer *a = link_await(&l, stream);
    CU_ASSERT_STRING_EQUAL(a->grpc_status, "8");
    CU_ASSERT_STRING_EQUAL(a->grpc_message, "etcdserver: too many requests");
    link_close(&l);
    fixture_end(&f);
}

static void malformed_questions_end_the_stream(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    int32_t stream = stream_open(&l);
    http2_client_data(l.client, stream, VIEW("\0\0\0\0\1\x08"), false);
    link_send(&l);
    const struct http2_client_answer *a = link_await(&l, stream);
    CU_ASSERT_STRING_EQUAL(a->grpc_status, "13");
    link_close(&l);
    fixture_end(&f);
}

SUITE("node: Lease at the client port", TEST(ids_are_drawn), TEST(revokes_and_look_ups),
      TEST(keepalives_are_gathered_over_streams), TEST(batches_keep_a_pace),
      TEST(a_half_closed_stream_ends_after_its_answers),
      TEST(a_closed_stream_leaves_the_others_alone),
      TEST(a_lost_batch_is_proposed_again_and_a_refused_one_ends_its_streams),
      TEST(an_overdue_batch_is_proposed_again), TEST(without_a_leader_a_keepalive_ends),
      TEST(questions_are_charged_until_their_answers_are_taken),
      TEST(malformed_questions_end_the_stream))
