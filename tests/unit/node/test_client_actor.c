/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_client_actor.c: requests of gRPC clients through the client actor: what raft and apply are asked,
 * what the client is told, and what becomes of credits, deadlines and numbers (sheet §3, §4; traps 51, 52).
 */
#include "client_fixture.h"

#include "rpc.pb-c.h"

static Etcdserverpb__PutResponse *put_response(const struct http2_client_answer *a)
{
    CU_ASSERT_STRING_EQUAL(a->grpc_status, "0");
    CU_ASSERT_TRUE_FATAL(a->body.size >= 5);
    Etcdserverpb__PutResponse *m =
        etcdserverpb__put_response__unpack(NULL, a->body.size - 5, a->body.data + 5);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    return m;
}

/* A put becomes a proposal with a command, its result an answer with the node's header (§2.2). */
static void put_is_proposed_and_answered(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    int32_t id = link_unary(&l, PATH_PUT, PUT_K_V);
    struct command c;
    struct bytes octets;
    uint64_t request = take_propose(&f, &c, &octets);
    CU_ASSERT_EQUAL(REQUEST_CLIENT_OF(request), 3);
    CU_ASSERT_EQUAL(c.op, COMMAND_PUT);
    CU_ASSERT_TRUE(view_equal(c.key, VIEW("k")));
    CU_ASSERT_TRUE(view_equal(c.value, VIEW("v")));
    bytes_free(&octets);
    reply_ok(&f, request, 7);
    Etcdserverpb__PutResponse *m = put_response(link_await(&l, id));
    CU_ASSERT_EQUAL(m->header->cluster_id, 10);
    CU_ASSERT_EQUAL(m->header->member_id, 20);
    CU_ASSERT_EQUAL(m->header->raft_term, 30);
    CU_ASSERT_EQUAL(m->header->revision, 7);
    CU_ASSERT_PTR_NULL(m->prev_kv);
    etcdserverpb__put_response__free_unpacked(m, NULL);

    /* raft says who leads in which term: the next header shows it */
    struct client_state *state = MSG_NEW(struct client_state, CLIENT_STATE, NULL);
    state->cluster_id = 11;
    state->member_id = 21;
    state->term = 31;
    ACTOR_SEND(f.client, state);
    id = link_unary(&l, PATH_PUT, PUT_K_V);
    uint64_t next = take_propose(&f, NULL, NULL);
    CU_ASSERT_TRUE(next > request); /* numbers rise (the filter for duplicates needs it, trap 52) */
    reply_ok(&f, next, 8);
    m = put_response(link_await(&l, id));
    CU_ASSERT_EQUAL(m->header->cluster_id, 11);
    CU_ASSERT_EQUAL(m->header->member_id, 21);
    CU_ASSERT_EQUAL(m->header->raft_term, 31);
    etcdserverpb__put_response__free_unpacked(m, NULL);
    link_close(&l);
    fixture_end(&f);
}

/* A linearizable range asks raft for the index first, a serializable one goes to apply at once (§2.4). */
static void ranges_take_their_road(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    int32_t id = link_unary(&l, PATH_RANGE, RANGE_K);
    struct read_request *m = take_read(&f.raft, RAFT_READ);
    CU_ASSERT_FALSE(m->members);
    CU_ASSERT_TRUE(view_equal(m->query->key, VIEW("k")));
    CU_ASSERT_FALSE(m->query->serializable);
    uint64_t request = m->request_id;
    MSG_FREE(m);
    struct result *r = result_create();
    struct key_value kv = {.key = VIEW("k"),
                           .value = VIEW("v"),
                           .create_revision = 2,
                           .mod_revision = 3,
                           .version = 2};
    result_add(r, &kv, false);
    r->count = 1;
    r->revision = 9;
    reply_result(&f, request, r);
    const struct http2_client_answer *a = link_await(&l, id);
    Etcdserverpb__RangeResponse *response =
        etcdserverpb__range_response__unpack(NULL, a->body.size - 5, a->body.data + 5);
    CU_ASSERT_PTR_NOT_NULL_FATAL(response);
    CU_ASSERT_EQUAL(response->header->revision, 9);
    CU_ASSERT_EQUAL(response->count, 1);
    CU_ASSERT_EQUAL_FATAL(response->n_kvs, 1);
    CU_ASSERT_EQUAL(response->kvs[0]->mod_revision, 3);
    etcdserverpb__range_response__free_unpacked(response, NULL);

    id = link_unary(&l, PATH_RANGE, RANGE_K_SERIALIZABLE);
    m = take_read(&f.apply, APPLY_READ);
    CU_ASSERT_TRUE(m->query->serializable);
    CU_ASSERT_EQUAL(m->read_index, 0);
    reply_ok(&f, m->request_id, 9);
    MSG_FREE(m);
    CU_ASSERT_STRING_EQUAL(link_await(&l, id)->grpc_status, "0");
    link_close(&l);
    fixture_end(&f);
}

/* Metadata max-staleness-ms goes with a range, and with nothing else; what is no number is refused. */
static void staleness_goes_with_a_range(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    static const struct http2_client_header good[] = {{"max-staleness-ms", "250"}, {NULL, NULL}};
    int32_t id = http2_client_unary(l.client, PATH_RANGE, RANGE_K, good);
    link_send(&l);
    struct read_request *m = take_read(&f.raft, RAFT_READ);
    CU_ASSERT_EQUAL(m->max_staleness_us, 250000);
    reply_ok(&f, m->request_id, 9);
    MSG_FREE(m);
    CU_ASSERT_STRING_EQUAL(link_await(&l, id)->grpc_status, "0");
    id = link_unary(&l, PATH_RANGE, RANGE_K);
    m = take_read(&f.raft, RAFT_READ);
    CU_ASSERT_EQUAL(m->max_staleness_us, 0);
    reply_ok(&f, m->request_id, 9);
    MSG_FREE(m);
    (void)link_await(&l, id);
    static const char *const bad[] = {"-1", "1s", "100000000000", " "};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        const struct http2_client_header headers[] = {{"max-staleness-ms", bad[i]}, {NULL, NULL}};
        id = http2_client_unary(l.client, PATH_RANGE, RANGE_K, headers);
        link_send(&l);
        expect_error(&l, id, "3", "holdfast: max-staleness-ms is no number of milliseconds");
    }
    link_close(&l);
    fixture_end(&f);
}

/* A node that is too far behind names the leader. */
static void who_is_behind_names_the_leader(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    int32_t id = link_unary(&l, PATH_RANGE, RANGE_K);
    reply_error(&f, take_read_id(&f.raft, RAFT_READ), ERR_TOO_FAR_BEHIND);
    expect_error(&l, id, "14", "etcdserver: too far behind the leader");
    CU_ASSERT_STRING_EQUAL(link_await(&l, id)->leader, ""); /* it is not known who leads */

    struct client_state *state = MSG_NEW(struct client_state, CLIENT_STATE, NULL);
    state->leader_id = 7;
    state->configuration.count = 1;
    state->configuration.members[0].id = 7;
    (void)snprintf(state->configuration.members[0].client,
                   sizeof(state->configuration.members[0].client), "h7:2379");
    ACTOR_SEND(f.client, state);
    id = link_unary(&l, PATH_RANGE, RANGE_K);
    reply_error(&f, take_read_id(&f.raft, RAFT_READ), ERR_TOO_FAR_BEHIND);
    expect_error(&l, id, "14", "etcdserver: too far behind the leader");
    CU_ASSERT_STRING_EQUAL(link_await(&l, id)->leader, "h7:2379");
    id = link_unary(&l, PATH_RANGE, RANGE_K);
    reply_error(&f, take_read_id(&f.raft, RAFT_READ), ERR_NO_LEADER);
    expect_error(&l, id, "14", "etcdserver: no leader");
    CU_ASSERT_STRING_EQUAL(link_await(&l, id)->leader, "");
    link_close(&l);
    fixture_end(&f);
}

/* Errors of raft and of the state machine get etcd's code and text (§3); what is wrong with the request
 * itself never leaves this actor. */
static void errors_have_etcds_words(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    int32_t id = link_unary(&l, PATH_PUT, PUT_K_V);
    reply_error(&f, take_propose(&f, NULL, NULL), ERR_NO_LEADER);
    expect_error(&l, id, "14", "etcdserver: no leader");

    id = link_unary(&l, PATH_PUT, PUT_K_V);
    struct result *r = result_create();
    r->error = ERR_LEASE_NOT_FOUND;
    reply_result(&f, take_propose(&f, NULL, NULL), r);
    expect_error(&l, id, "5", "etcdserver: requested lease not found");

    id = link_unary(&l, PATH_PUT, VIEW("\x12\x01v"));
    expect_error(&l, id, "3", "etcdserver: key is not provided");
    id = link_unary(&l, PATH_RANGE, VIEW("\x0a\x01k\x28\x07"));
    expect_error(&l, id, "3", "etcdserver: invalid sort option");
    id = link_unary(&l, PATH_RANGE, VIEW("\x0a\x09k"));
    expect_error(&l, id, "13", "grpc: error unmarshalling request: malformed protobuf");
    id = link_unary(&l, "/etcdserverpb.Auth/UserAdd", VIEW(""));
    expect_error(&l, id, "12", "holdfast: not built yet");
    id = link_unary(&l, "/etcdserverpb.KV/Nope", VIEW(""));
    expect_error(&l, id, "12", "unknown method Nope for service etcdserverpb.KV");
    id = link_unary(&l, "/foo.Bar/Baz", VIEW(""));
    expect_error(&l, id, "12", "unknown service foo.Bar");
    link_close(&l);
    fixture_end(&f); /* nothing more reached raft */
}

/* The framework's own refusals: sizes, flags, encodings, missing and cut messages (§3, §4.1, §4.3). */
static void framing_errors(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);

    /* request_bytes_max bounds the entry, request_bytes_max + 512 KiB the message */
    struct buffer message = {0};
    static const uint8_t head[] = {0x0a, 0x01, 'k', 0x12, 0x90, 0x4e}; /* a value of 10000 */
    buffer_append(&message, head, sizeof head);
    memset(buffer_extend(&message, 10000), 'v', 10000);
    int32_t id = link_unary(&l, PATH_PUT, view_of(message.data, message.size));
    expect_error(&l, id, "3", "etcdserver: request is too large");
    memset(buffer_extend(&message, 600000), 'v', 600000);
    message.size = REQUEST_BYTES_MAX + 524288 + 1;
    id = link_unary(&l, PATH_PUT, view_of(message.data, message.size));
    expect_error(&l, id, "8", "grpc: received message larger than max (534289 vs. 534288)");
    buffer_free(&message);

    id = http2_client_request(l.client, PATH_RANGE, NULL, false, false);
    http2_client_data(l.client, id, view_of("\1\0\0\0\0", 5), true);
    expect_error(&l, id, "13", "grpc: compressed flag set with identity or empty encoding");
    id = http2_client_request(l.client, PATH_RANGE, NULL, false, false);
    http2_client_data(l.client, id, view_of("\7\0\0\0\0", 5), true);
    expect_error(&l, id, "13", "grpc: received unexpected payload format 7");
    id = http2_client_request(l.client, PATH_RANGE, NULL, false, true);
    expect_error(&l, id, "2", "EOF");
    id = http2_client_request(l.client, PATH_RANGE, NULL, false, false);
    http2_client_data(l.client, id, view_of("\0\0\0\0\7ab", 7), true);
    expect_error(&l, id, "2", "unexpected EOF");
    static const struct http2_client_header gzip[] = {{"grpc-encoding", "gzip"}, {NULL, NULL}};
    id = http2_client_request(l.client, PATH_RANGE, gzip, false, true);
    expect_error(&l, id, "12", "grpc: Decompressor is not installed for grpc-encoding \"gzip\"");
    static const struct http2_client_header bad[] = {{"grpc-timeout", "1x"}, {NULL, NULL}};
    id = http2_client_request(l.client, PATH_RANGE, bad, false, true);
    CU_ASSERT_EQUAL(link_await(&l, id)->code, 1); /* PROTOCOL_ERROR */
    static const struct http2_client_header json[] = {{":method", "POST"},
                                                      {":scheme", "http"},
                                                      {":path", PATH_RANGE},
                                                      {":authority", "a"},
                                                      {"content-type", "application/json"},
                                                      {NULL, NULL}};
    id = http2_client_request(l.client, NULL, json, true, true);
    CU_ASSERT_STRING_EQUAL(link_await(&l, id)->status, "415");

    /* the connection lives on, and every credit is back */
    id = link_unary(&l, PATH_RANGE, RANGE_K);
    reply_ok(&f, take_read_id(&f.raft, RAFT_READ), 1);
    CU_ASSERT_STRING_EQUAL(link_await(&l, id)->grpc_status, "0");
    link_close(&l);
    end_actor(f.client);
    CU_ASSERT_EQUAL(credits_left(f.requests), REQUESTS_TOTAL);
    CU_ASSERT_EQUAL(credits_left(f.bytes), BYTES_TOTAL);
    witness_end(&f.raft);
    witness_end(&f.apply);
    credits_destroy(f.connections);
    credits_destroy(f.requests);
    credits_destroy(f.streams);
    credits_destroy(f.bytes);
}

/* A message may come in any pieces over any number of frames. */
static void message_in_pieces(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    static const char wire[] = "\0\0\0\0\6\x0a\1k\x12\1v";
    int32_t id = http2_client_request(l.client, PATH_PUT, NULL, false, false);
    for (size_t i = 0; i < sizeof wire - 1; i++) {
        http2_client_data(l.client, id, view_of(wire + i, 1), i == sizeof wire - 2);
        link_send(&l);
    }
    struct command c;
    struct bytes octets;
    uint64_t request = take_propose(&f, &c, &octets);
    CU_ASSERT_TRUE(view_equal(c.value, VIEW("v")));
    bytes_free(&octets);
    reply_ok(&f, request, 2);
    CU_ASSERT_STRING_EQUAL(link_await(&l, id)->grpc_status, "0");
    link_close(&l);
    fixture_end(&f);
}

/* The client's own deadline ends the call; raft's answer that comes later finds nobody and does no harm. */
static void client_deadline_passes(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    static const struct http2_client_header soon[] = {{"grpc-timeout", "10m"}, {NULL, NULL}};
    int32_t id = http2_client_unary(l.client, PATH_PUT, PUT_K_V, soon);
    link_send(&l);
    struct raft_propose *m = (struct raft_propose *)witness_take(&f.raft);
    uint64_t request = m->request_id;
    CU_ASSERT_TRUE(m->deadline_us > 0);
    CU_ASSERT_TRUE(m->deadline_us < UINT64_MAX);
    MSG_FREE(m);
    expect_error(&l, id, "4", "context deadline exceeded");
    reply_ok(&f, request, 5);
    reply_error(&f, request + 1000, ERR_NO_LEADER); /* a number nobody had */

    id = link_unary(&l, PATH_PUT, PUT_K_V);
    uint64_t next = take_propose(&f, NULL, NULL);
    CU_ASSERT_NOT_EQUAL(next, request);
    reply_ok(&f, next, 6);
    Etcdserverpb__PutResponse *response = put_response(link_await(&l, id));
    CU_ASSERT_EQUAL(response->header->revision, 6);
    etcdserverpb__put_response__free_unpacked(response, NULL);
    link_close(&l);
    fixture_end(&f);
}

/* Without a deadline of the client's, or with a later one, request_timeout ends the call: the outcome is
 * unknown and the text says no more than that (trap 51). */
static void request_timeout_passes(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){.request_timeout_ms = 20});
    struct link l = link_open(&f);
    int32_t put = link_unary(&l, PATH_PUT, PUT_K_V);
    static const struct http2_client_header late[] = {{"grpc-timeout", "99999999H"}, {NULL, NULL}};
    int32_t range = http2_client_unary(l.client, PATH_RANGE, RANGE_K, late);
    link_send(&l);
    (void)take_propose(&f, NULL, NULL);
    (void)take_read_id(&f.raft, RAFT_READ);
    expect_error(&l, put, "14", "etcdserver: request timed out");
    expect_error(&l, range, "14", "etcdserver: request timed out");
    /* a request whose message never comes ends too */
    int32_t half = http2_client_request(l.client, PATH_PUT, NULL, false, false);
    link_send(&l);
    expect_error(&l, half, "14", "etcdserver: request timed out");
    link_close(&l);
    fixture_end(&f);
}

/* A barrier says of older writes that they were not carried out, as does a refusal with "leader changed":
 * they are proposed again under new numbers; younger writes and reads wait on (traps 51, 52). */
static void lost_writes_are_proposed_again(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    int32_t put = link_unary(&l, PATH_PUT, PUT_K_V);
    uint64_t put_request = take_propose(&f, NULL, NULL);
    int32_t range = link_unary(&l, PATH_RANGE, RANGE_K);
    uint64_t range_request = take_read_id(&f.raft, RAFT_READ);
    int32_t delete = link_unary(&l, "/etcdserverpb.KV/DeleteRange", RANGE_K);
    uint64_t delete_request = take_propose(&f, NULL, NULL);
    int32_t young = link_unary(&l, PATH_PUT, PUT_K_V);
    uint64_t young_request = take_propose(&f, NULL, NULL);

    struct client_barrier *barrier = MSG_NEW(struct client_barrier, CLIENT_BARRIER, NULL);
    barrier->request_id = delete_request;
    ACTOR_SEND(f.client, barrier);
    uint64_t again[COMMAND_DELETE_RANGE + 1] = {0}; /* by operation */
    for (int i = 0; i < 2; i++) {
        struct command c;
        struct bytes octets;
        uint64_t request = take_propose(&f, &c, &octets);
        CU_ASSERT_TRUE(request > young_request);
        CU_ASSERT_TRUE(view_equal(c.key, VIEW("k")));
        CU_ASSERT_EQUAL(again[c.op], 0);
        again[c.op] = request;
        bytes_free(&octets);
    }
    reply_ok(&f, put_request, 5); /* would be a broken promise; it finds nobody */
    reply_error(&f, again[COMMAND_PUT], ERR_LEADER_CHANGED);
    uint64_t third = take_propose(&f, NULL, NULL);
    CU_ASSERT_TRUE(third > again[COMMAND_PUT]);
    reply_ok(&f, third, 6);
    reply_ok(&f, again[COMMAND_DELETE_RANGE], 7);
    reply_ok(&f, young_request, 8);
    Etcdserverpb__PutResponse *m = put_response(link_await(&l, put));
    CU_ASSERT_EQUAL(m->header->revision, 6);
    etcdserverpb__put_response__free_unpacked(m, NULL);
    CU_ASSERT_STRING_EQUAL(link_await(&l, delete)->grpc_status, "0");
    CU_ASSERT_STRING_EQUAL(link_await(&l, young)->grpc_status, "0");
    reply_error(&f, range_request, ERR_LEADER_CHANGED); /* a read is the client's to repeat */
    expect_error(&l, range, "14", "etcdserver: leader changed");
    link_close(&l);
    fixture_end(&f);
}

/* Credits of requests: who gets none is refused at once; an answered request gives its credit back. */
/* Below the watermark a put is told so at once and never reaches raft; a deletion does, and so does a put once there
 * is room. */
static void without_room_only_what_grows_is_refused(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    for (int low = 1; low >= 0; low--) {
        struct client_state *state = MSG_NEW(struct client_state, CLIENT_STATE, NULL);
        state->cluster_id = 10;
        state->member_id = 20;
        state->leader_id = 20;
        state->term = 30;
        state->low_space = low == 1;
        ACTOR_SEND(f.client, state);
        int32_t put = link_unary(&l, PATH_PUT, PUT_K_V);
        struct command command;
        if (low == 1) {
            expect_error(&l, put, "8", "etcdserver: mvcc: database space exceeded");
        } else {
            uint64_t id = take_propose(&f, &command, NULL);
            reply_ok(&f, id, 8);
            CU_ASSERT_STRING_EQUAL(link_await(&l, put)->grpc_status, "0");
        }
        int32_t removal = link_unary(&l, "/etcdserverpb.KV/DeleteRange", VIEW("\x0a\x01k"));
        struct bytes keep = {0};
        uint64_t id = take_propose(&f, &command, &keep);
        CU_ASSERT_EQUAL(command.op, COMMAND_DELETE_RANGE);
        bytes_free(&keep);
        reply_ok(&f, id, 9);
        CU_ASSERT_STRING_EQUAL(link_await(&l, removal)->grpc_status, "0");
    }
    link_close(&l);
    fixture_end(&f);
}

static void requests_are_admitted_by_credit(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){.requests = 2});
    struct link l = link_open(&f);
    int32_t a = link_unary(&l, PATH_PUT, PUT_K_V);
    int32_t b = link_unary(&l, PATH_RANGE, RANGE_K);
    uint64_t request_a = take_propose(&f, NULL, NULL);
    uint64_t request_b = take_read_id(&f.raft, RAFT_READ);
    int32_t c = link_unary(&l, PATH_PUT, PUT_K_V);
    expect_error(&l, c, "8", "etcdserver: too many requests");
    reply_ok(&f, request_a, 2);
    CU_ASSERT_STRING_EQUAL(link_await(&l, a)->grpc_status, "0");
    int32_t d = link_unary(&l, PATH_PUT, PUT_K_V);
    reply_ok(&f, take_propose(&f, NULL, NULL), 3);
    CU_ASSERT_STRING_EQUAL(link_await(&l, d)->grpc_status, "0");
    reply_ok(&f, request_b, 3);
    CU_ASSERT_STRING_EQUAL(link_await(&l, b)->grpc_status, "0");
    link_close(&l);
    fixture_end(&f);
}

/* Credits of octets: charged by the prefix, before the message is kept; a long answer to a read is
 * withheld without them, a write's never. */
static void octets_are_admitted_by_credit(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){.bytes = 6000});
    struct link l = link_open(&f);
    /* the prefix alone decides: the message itself is never sent */
    int32_t id = http2_client_request(l.client, PATH_PUT, NULL, false, false);
    http2_client_data(l.client, id, view_of("\0\0\0\x20\0", 5), false);
    expect_error(&l, id, "8", "etcdserver: too many requests");

    static char value[8000];
    memset(value, 'v', sizeof value);
    struct key_value kv = {.key = VIEW("k"), .value = view_of(value, sizeof value), .version = 1};
    id = link_unary(&l, PATH_RANGE, RANGE_K);
    struct result *r = result_create();
    result_add(r, &kv, false);
    reply_result(&f, take_read_id(&f.raft, RAFT_READ), r);
    expect_error(&l, id, "8", "etcdserver: too many requests");

    id = link_unary(&l, PATH_PUT, VIEW("\x0a\1k\x20\1"));
    r = result_create();
    result_add(r, &kv, false);
    reply_result(&f, take_propose(&f, NULL, NULL), r);
    const struct http2_client_answer *a = link_await(&l, id);
    CU_ASSERT_STRING_EQUAL(a->grpc_status, "0");
    CU_ASSERT_TRUE(a->body.size > sizeof value);
    link_close(&l);
    end_actor(f.client);
    CU_ASSERT_EQUAL(credits_left(f.bytes), 6000);
    witness_end(&f.raft);
    witness_end(&f.apply);
    credits_destroy(f.connections);
    credits_destroy(f.requests);
    credits_destroy(f.streams);
    credits_destroy(f.bytes);
}

/* A reset stream and a closed connection drop what they asked for; late replies find nobody, credits come
 * back. */
static void gone_clients_are_forgotten(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){.requests = 1});
    struct link l = link_open(&f);
    int32_t id = link_unary(&l, PATH_PUT, PUT_K_V);
    uint64_t request = take_propose(&f, NULL, NULL);
    http2_client_reset(l.client, id, 8);
    int32_t next = link_unary(&l, PATH_RANGE, RANGE_K); /* the only credit is free again */
    uint64_t range = take_read_id(&f.raft, RAFT_READ);
    reply_ok(&f, request, 2);
    reply_ok(&f, range, 2);
    CU_ASSERT_STRING_EQUAL(link_await(&l, next)->grpc_status, "0");

    (void)link_unary(&l, PATH_PUT, PUT_K_V);
    request = take_propose(&f, NULL, NULL);
    link_close(&l);
    /* the close is known to have been seen once the request's credit serves another connection */
    struct link other = link_open(&f);
    for (;;) {
        id = link_unary(&other, PATH_RANGE, RANGE_K);
        struct msg *m = witness_wait(&f.raft, 20);
        if (m != NULL) {
            reply_ok(&f, ((struct read_request *)m)->request_id, 3);
            msg_free_base(&m);
            CU_ASSERT_STRING_EQUAL(link_await(&other, id)->grpc_status, "0");
            break;
        }
        expect_error(&other, id, "8", "etcdserver: too many requests");
    }
    reply_ok(&f, request, 2);
    link_close(&other);
    fixture_end(&f);
}

/* Many requests at once, answered in another order, each gets its own answer; more than one table's
 * first size. */
static void many_at_once(void)
{
    enum { COUNT = 900 };
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    static int32_t streams[COUNT];
    static uint64_t requests[COUNT];
    /* until the server's SETTINGS are here a client keeps to 100 streams */
    CU_ASSERT_TRUE_FATAL(link_round(&l, WITNESS_PATIENCE_MS));
    for (int i = 0; i < COUNT; i++) {
        streams[i] = link_unary(&l, PATH_PUT, PUT_K_V);
    }
    for (int i = 0; i < COUNT; i++) {
        requests[i] = take_propose(&f, NULL, NULL);
    }
    for (int i = 0; i < COUNT; i++) {
        int which = (i * 7) % COUNT;
        reply_ok(&f, requests[which], 1000 + which);
    }
    for (int i = 0; i < COUNT; i++) {
        Etcdserverpb__PutResponse *m = put_response(link_await(&l, streams[i]));
        CU_ASSERT_EQUAL(m->header->revision, 1000 + i);
        etcdserverpb__put_response__free_unpacked(m, NULL);
    }
    link_close(&l);
    fixture_end(&f);
}

/* A client that asks and does not read is not read from any more once its socket is full; when it reads,
 * everything arrives. */
static void slow_reader_is_held_back(void)
{
    enum { COUNT = 200, SIZE = 100000 };
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    static int32_t streams[COUNT];
    static char value[SIZE];
    memset(value, 'v', sizeof value);
    http2_client_open_windows(l.client); /* only the socket is to hold the server back */
    CU_ASSERT_TRUE_FATAL(link_round(&l, WITNESS_PATIENCE_MS));
    size_t asked = 0;
    size_t answered = 0;
    for (; asked < COUNT; asked++) {
        streams[asked] = link_unary(&l, PATH_RANGE, RANGE_K_SERIALIZABLE);
        struct msg *m = asked == 0 ? witness_take(&f.apply) : witness_wait(&f.apply, 500);
        if (m == NULL) {
            break; /* held back: the request lies in the socket */
        }
        struct key_value kv = {.key = VIEW("k"), .value = view_of(value, SIZE), .version = 1};
        struct result *r = result_create();
        result_add(r, &kv, false);
        reply_result(&f, ((struct read_request *)m)->request_id, r);
        msg_free_base(&m);
        answered++;
    }
    CU_ASSERT_TRUE_FATAL(answered <
                         COUNT); /* 20 MB would be waiting for a client that reads nothing */
    for (size_t i = 0; i < answered; i++) {
        const struct http2_client_answer *a = link_await(&l, streams[i]);
        CU_ASSERT_STRING_EQUAL(a->grpc_status, "0");
        CU_ASSERT_TRUE(a->body.size > SIZE);
    }
    /* and the request that waited is taken now */
    reply_ok(&f, take_read_id(&f.apply, APPLY_READ), 1);
    CU_ASSERT_STRING_EQUAL(link_await(&l, streams[answered])->grpc_status, "0");
    link_close(&l);
    fixture_end(&f);
}

/* Status goes through raft and apply, MemberList too, linearizable or not (§2.9, §2.10). */
static void status_and_members(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    int32_t id = link_unary(&l, "/etcdserverpb.Maintenance/Status", VIEW(""));
    struct node_status *m = (struct node_status *)witness_take(&f.raft);
    CU_ASSERT_EQUAL_FATAL(m->base.kind, RAFT_STATUS);
    m->base.kind = CLIENT_STATUS;
    m->raft = (struct raft_status){.leader = 20, .commit_index = 7, .current_term = 30};
    m->revision = 5;
    m->applied_index = 6;
    m->db_file_bytes = 4096;
    ACTOR_SEND(f.client, m);
    const struct http2_client_answer *a = link_await(&l, id);
    Etcdserverpb__StatusResponse *status =
        etcdserverpb__status_response__unpack(NULL, a->body.size - 5, a->body.data + 5);
    CU_ASSERT_PTR_NOT_NULL_FATAL(status);
    CU_ASSERT_EQUAL(status->header->revision, 5);
    CU_ASSERT_EQUAL(status->leader, 20);
    CU_ASSERT_EQUAL(status->raftindex, 7);
    CU_ASSERT_EQUAL(status->raftappliedindex, 6);
    CU_ASSERT_FALSE(status->islearner);
    etcdserverpb__status_response__free_unpacked(status, NULL);

    for (int linearizable = 0; linearizable < 2; linearizable++) {
        id = link_unary(&l, "/etcdserverpb.Cluster/MemberList",
                        linearizable ? VIEW("\x08\1") : VIEW(""));
        struct msg *asked = witness_take(&f.raft);
        uint64_t request;
        if (linearizable) {
            CU_ASSERT_EQUAL_FATAL(asked->kind, RAFT_READ);
            struct read_request *read = (struct read_request *)asked;
            CU_ASSERT_TRUE(read->members);
            CU_ASSERT_PTR_NULL(read->query);
            request = read->request_id;
        } else {
            CU_ASSERT_EQUAL_FATAL(asked->kind, RAFT_STATUS);
            request = ((struct node_status *)asked)->request_id;
        }
        msg_free_base(&asked);
        m = MSG_NEW(struct node_status, CLIENT_STATUS, NULL);
        m->request_id = request;
        m->configuration.count = 1;
        m->configuration.members[0] =
            (struct member){.id = 20, .name = "n1", .voter_incoming = true};
        ACTOR_SEND(f.client, m);
        a = link_await(&l, id);
        Etcdserverpb__MemberListResponse *list =
            etcdserverpb__member_list_response__unpack(NULL, a->body.size - 5, a->body.data + 5);
        CU_ASSERT_PTR_NOT_NULL_FATAL(list);
        CU_ASSERT_EQUAL(list->header->revision, 0); /* Cluster's answers leave it unset (§2.2) */
        CU_ASSERT_EQUAL(list->header->cluster_id, 10);
        CU_ASSERT_EQUAL_FATAL(list->n_members, 1);
        CU_ASSERT_STRING_EQUAL(list->members[0]->name, "n1");
        etcdserverpb__member_list_response__free_unpacked(list, NULL);
    }
    /* refused by raft */
    id = link_unary(&l, "/etcdserverpb.Cluster/MemberList", VIEW("\x08\1"));
    reply_error(&f, take_read_id(&f.raft, RAFT_READ), ERR_NO_LEADER);
    expect_error(&l, id, "14", "etcdserver: no leader");
    link_close(&l);
    fixture_end(&f);
}

static bool body_is(const struct http2_client_answer *a, struct view expected)
{
    return view_equal(view_of(a->body.data, a->body.size), expected);
}

/* grpc.health.v1: "" is the server, other names are unknown; a watch gets the value and its change at the
 * stop (§1.1). */
static void health_service(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    int32_t id = link_unary(&l, "/grpc.health.v1.Health/Check", VIEW(""));
    CU_ASSERT_TRUE(body_is(link_await(&l, id), VIEW("\0\0\0\0\2\x08\1")));
    id = link_unary(&l, "/grpc.health.v1.Health/Check", VIEW("\x0a\1x"));
    expect_error(&l, id, "5", "unknown service");

    int32_t watch = link_unary(&l, "/grpc.health.v1.Health/Watch", VIEW(""));
    int32_t unknown = link_unary(&l, "/grpc.health.v1.Health/Watch", VIEW("\x0a\1x"));
    int32_t cancelled = link_unary(&l, "/grpc.health.v1.Health/Watch", VIEW(""));
    const struct http2_client_answer *a = http2_client_answer(l.client, watch);
    const struct http2_client_answer *b = http2_client_answer(l.client, unknown);
    const struct http2_client_answer *c = http2_client_answer(l.client, cancelled);
    while (a->body.size < 7 || b->body.size < 7 || c->body.size < 7) {
        CU_ASSERT_TRUE_FATAL(link_round(&l, WITNESS_PATIENCE_MS));
    }
    CU_ASSERT_TRUE(body_is(a, VIEW("\0\0\0\0\2\x08\1")));
    CU_ASSERT_TRUE(body_is(b, VIEW("\0\0\0\0\2\x08\3")));
    CU_ASSERT_FALSE(a->ended);
    http2_client_reset(l.client, cancelled, 8);
    link_send(&l);
    id = link_unary(&l, "/grpc.health.v1.Health/Check", VIEW(""));
    (void)link_await(&l, id); /* the reset has been seen */

    actor_stop(f.client);
    (void)link_await(&l, watch);
    CU_ASSERT_TRUE(body_is(a, VIEW("\0\0\0\0\2\x08\1\0\0\0\0\2\x08\2")));
    CU_ASSERT_STRING_EQUAL(a->grpc_status, "14");
    CU_ASSERT_STRING_EQUAL(a->grpc_message, "etcdserver: server stopped");
    CU_ASSERT_TRUE(body_is(c, VIEW("\0\0\0\0\2\x08\1")));
    link_close(&l);
    fixture_end(&f);
}

/* A stop lets what is under way end, takes nothing new, and says GOAWAY so that clients go elsewhere. */
static void stop_lets_requests_end(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    struct link idle = link_open(&f);
    int32_t idle_put = link_unary(&idle, PATH_PUT, PUT_K_V);
    reply_ok(&f, take_propose(&f, NULL, NULL), 2);
    CU_ASSERT_STRING_EQUAL(link_await(&idle, idle_put)->grpc_status, "0");

    int32_t id = link_unary(&l, PATH_PUT, PUT_K_V);
    uint64_t request = take_propose(&f, NULL, NULL);
    actor_stop(f.client);
    while (http2_client_go_away(l.client) < 0) {
        CU_ASSERT_TRUE_FATAL(link_round(&l, WITNESS_PATIENCE_MS));
    }
    CU_ASSERT_EQUAL(http2_client_go_away(l.client), 0);
    while (link_round(&idle, WITNESS_PATIENCE_MS)) { /* nothing under way: closed at once */
    }
    CU_ASSERT_EQUAL(http2_client_go_away(idle.client), 0);
    CU_ASSERT_TRUE(idle.ended);
    reply_ok(&f, request, 9);
    Etcdserverpb__PutResponse *m = put_response(link_await(&l, id));
    CU_ASSERT_EQUAL(m->header->revision, 9);
    etcdserverpb__put_response__free_unpacked(m, NULL);
    link_close(&l);
    link_close(&idle);
    fixture_end(&f); /* joins: the actor has stopped by itself */
}

/* What does not end by itself is told so after a bounded time, and the actor stops all the same. */
static void stop_is_bounded(void)
{
    struct fixture f;
    fixture_start(&f, (struct fixture_options){0});
    struct link l = link_open(&f);
    int32_t put = link_unary(&l, PATH_PUT, PUT_K_V);
    int32_t range = link_unary(&l, PATH_RANGE, RANGE_K);
    (void)take_propose(&f, NULL, NULL);
    (void)take_read_id(&f.raft, RAFT_READ);
    actor_stop(f.client);
    expect_error(&l, put, "14", "etcdserver: server stopped");
    expect_error(&l, range, "14", "etcdserver: server stopped");
    link_close(&l);
    fixture_end(&f);
}

SUITE("node client_actor", TEST(put_is_proposed_and_answered), TEST(ranges_take_their_road),
      TEST(staleness_goes_with_a_range), TEST(who_is_behind_names_the_leader),
      TEST(errors_have_etcds_words), TEST(framing_errors), TEST(message_in_pieces),
      TEST(client_deadline_passes), TEST(request_timeout_passes),
      TEST(lost_writes_are_proposed_again), TEST(without_room_only_what_grows_is_refused),
      TEST(requests_are_admitted_by_credit), TEST(octets_are_admitted_by_credit),
      TEST(gone_clients_are_forgotten), TEST(many_at_once), TEST(slow_reader_is_held_back),
      TEST(status_and_members), TEST(health_service), TEST(stop_lets_requests_end),
      TEST(stop_is_bounded))
