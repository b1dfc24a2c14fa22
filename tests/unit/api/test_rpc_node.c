/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_rpc_node.c: Status, MemberList and Health (sheet §1.6, §1.7, §2.9, §2.10).
 */
#include "base.h"
#include "suite.h"

#include "api/rpc_node.h"
#include "api/version.h"
#include "health.pb-c.h"
#include "rpc.pb-c.h"

#define VIEW(text) view_of((text), sizeof(text) - 1)

static const struct response_header header = {
    .cluster_id = 10, .member_id = 20, .raft_term = 30, .revision = 40};

static void decodes_requests(void)
{
    bool linearizable = true;
    bool known = false;
    CU_ASSERT_EQUAL(rpc_status_decode(VIEW("")), OK);
    CU_ASSERT_EQUAL(rpc_status_decode(VIEW("\x0a\x01x")), OK); /* unknown fields are skipped */
    CU_ASSERT_EQUAL(rpc_status_decode(VIEW("\x0a\x05x")), ERR_MALFORMED);
    CU_ASSERT_EQUAL(rpc_member_list_decode(VIEW(""), &linearizable), OK);
    CU_ASSERT_FALSE(linearizable);
    CU_ASSERT_EQUAL(rpc_member_list_decode(VIEW("\x08\x01"), &linearizable), OK);
    CU_ASSERT_TRUE(linearizable);
    CU_ASSERT_EQUAL(rpc_member_list_decode(VIEW("\x08"), &linearizable), ERR_MALFORMED);
    CU_ASSERT_EQUAL(rpc_health_decode(VIEW(""), &known), OK);
    CU_ASSERT_TRUE(known);
    CU_ASSERT_EQUAL(rpc_health_decode(VIEW("\x0a\x01x"), &known), OK);
    CU_ASSERT_FALSE(known);
    CU_ASSERT_EQUAL(rpc_health_decode(VIEW("\x0a\x09x"), &known), ERR_MALFORMED);
}

/* Fields 1-13, downgradeInfo present though empty (§2.10). */
static void encodes_status(void)
{
    struct status_facts facts = {.leader = 20,
                                 .commit_index = 1000,
                                 .applied_index = 999,
                                 .term = 30,
                                 .db_file_bytes = 4096,
                                 .db_used_bytes = 2048,
                                 .is_learner = true};
    size_t size = 0;
    uint8_t *out = rpc_status_encode(&header, &facts, 5, &size);
    Etcdserverpb__StatusResponse *m = etcdserverpb__status_response__unpack(NULL, size, out + 5);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->header->cluster_id, 10);
    CU_ASSERT_EQUAL(m->header->member_id, 20);
    CU_ASSERT_EQUAL(m->header->raft_term, 30);
    CU_ASSERT_EQUAL(m->header->revision, 40);
    CU_ASSERT_STRING_EQUAL(m->version, API_VERSION_SERVER);
    CU_ASSERT_EQUAL(m->dbsize, 4096);
    CU_ASSERT_EQUAL(m->leader, 20);
    CU_ASSERT_EQUAL(m->raftindex, 1000);
    CU_ASSERT_EQUAL(m->raftterm, 30);
    CU_ASSERT_EQUAL(m->raftappliedindex, 999);
    CU_ASSERT_EQUAL(m->n_errors, 0);
    CU_ASSERT_EQUAL(m->dbsizeinuse, 2048);
    CU_ASSERT_TRUE(m->islearner);
    CU_ASSERT_STRING_EQUAL(m->storageversion, "3.6.0");
    CU_ASSERT_EQUAL(m->dbsizequota, 2147483648);
    CU_ASSERT_PTR_NOT_NULL(m->downgradeinfo);
    etcdserverpb__status_response__free_unpacked(m, NULL);
    mem_free(out);

    facts.leader = 0;
    out = rpc_status_encode(&header, &facts, 0, &size);
    m = etcdserverpb__status_response__unpack(NULL, size, out);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL_FATAL(m->n_errors, 1);
    CU_ASSERT_STRING_EQUAL(m->errors[0], "etcdserver: no leader");
    etcdserverpb__status_response__free_unpacked(m, NULL);
    mem_free(out);
}

static struct member member(uint64_t id, const char *name, bool voter)
{
    struct member m = {.id = id, .voter_incoming = voter, .voter_outgoing = voter};
    (void)snprintf(m.name, sizeof m.name, "%s", name);
    (void)snprintf(m.peer, sizeof m.peer, "%s:2380", name);
    (void)snprintf(m.client, sizeof m.client, "%s:2379", name);
    return m;
}

/* Sorted by id as unsigned numbers, addresses as URLs (§2.9). */
static void encodes_member_list(void)
{
    struct configuration c = {.cluster_id = 10, .count = 3};
    c.members[0] = member(UINT64_MAX, "high", true);
    c.members[1] = member(5, "low", true);
    c.members[2] = member(70, "mid", false);
    struct response_header unset = header;
    unset.revision = 0;
    size_t size = 0;
    uint8_t *out = rpc_member_list_encode(&unset, &c, 0, &size);
    Etcdserverpb__MemberListResponse *m =
        etcdserverpb__member_list_response__unpack(NULL, size, out);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->header->revision, 0);
    CU_ASSERT_EQUAL_FATAL(m->n_members, 3);
    static const struct {
        uint64_t id;
        const char *name, *peer, *client;
        bool learner;
    } expected[] = {{5, "low", "http://low:2380", "http://low:2379", false},
                    {70, "mid", "http://mid:2380", "http://mid:2379", true},
                    {UINT64_MAX, "high", "http://high:2380", "http://high:2379", false}};
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(m->members[i]->id, expected[i].id);
        CU_ASSERT_STRING_EQUAL(m->members[i]->name, expected[i].name);
        CU_ASSERT_EQUAL_FATAL(m->members[i]->n_peerurls, 1);
        CU_ASSERT_STRING_EQUAL(m->members[i]->peerurls[0], expected[i].peer);
        CU_ASSERT_EQUAL_FATAL(m->members[i]->n_clienturls, 1);
        CU_ASSERT_STRING_EQUAL(m->members[i]->clienturls[0], expected[i].client);
        CU_ASSERT_EQUAL(m->members[i]->islearner != 0, expected[i].learner);
    }
    etcdserverpb__member_list_response__free_unpacked(m, NULL);
    mem_free(out);

    /* no configuration yet: an empty list; the greatest one fits */
    c.count = 0;
    out = rpc_member_list_encode(&unset, &c, 0, &size);
    m = etcdserverpb__member_list_response__unpack(NULL, size, out);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->n_members, 0);
    etcdserverpb__member_list_response__free_unpacked(m, NULL);
    mem_free(out);
    c.count = MEMBERS_MAX;
    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        memset(&c.members[i], 'x', sizeof c.members[i]);
        c.members[i].id = MEMBERS_MAX - i;
        c.members[i].name[MEMBER_NAME_MAX] = 0;
        c.members[i].peer[MEMBER_ADDRESS_MAX] = 0;
        c.members[i].client[MEMBER_ADDRESS_MAX] = 0;
        c.members[i].voter_incoming = c.members[i].voter_outgoing = true;
    }
    out = rpc_member_list_encode(&unset, &c, 0, &size);
    m = etcdserverpb__member_list_response__unpack(NULL, size, out);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->n_members, MEMBERS_MAX);
    CU_ASSERT_EQUAL(m->members[0]->id, 1);
    CU_ASSERT_EQUAL(strlen(m->members[0]->clienturls[0]), MEMBER_ADDRESS_MAX + strlen("http://"));
    etcdserverpb__member_list_response__free_unpacked(m, NULL);
    mem_free(out);
}

static void encodes_health(void)
{
    static const enum health values[] = {HEALTH_SERVING, HEALTH_NOT_SERVING,
                                         HEALTH_SERVICE_UNKNOWN};
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        uint8_t out[RPC_HEALTH_BYTES];
        rpc_health_write(values[i], out);
        Grpc__Health__V1__HealthCheckResponse *m =
            grpc__health__v1__health_check_response__unpack(NULL, sizeof out, out);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        CU_ASSERT_EQUAL((int)m->status, (int)values[i]);
        grpc__health__v1__health_check_response__free_unpacked(m, NULL);
    }
}

SUITE("api rpc_node", TEST(decodes_requests), TEST(encodes_status), TEST(encodes_member_list),
      TEST(encodes_health))
