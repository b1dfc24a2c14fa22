/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_rpc_node.c: Status and Health (sheet §1.6, §1.7, §2.10).
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
    bool known = false;
    CU_ASSERT_EQUAL(rpc_status_decode(VIEW("")), OK);
    CU_ASSERT_EQUAL(rpc_status_decode(VIEW("\x0a\x01x")), OK); /* unknown fields are skipped */
    CU_ASSERT_EQUAL(rpc_status_decode(VIEW("\x0a\x05x")), ERR_MALFORMED);
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

SUITE("api rpc_node", TEST(decodes_requests), TEST(encodes_status), TEST(encodes_health))
