/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_rpc_lease.c: the hand-written codec of the Lease service against octets built by hand and against
 * protobuf-c with random messages; the clamps of a TTL (sheet §1.5, §1.10, §2.7).
 */
#include "base.h"
#include "suite.h"

#include "api/rpc_error.h"
#include "api/rpc_lease.h"
#include "rpc.pb-c.h"

#define VIEW(text) view_of((text), sizeof(text) - 1)

static const struct response_header header = {
    .cluster_id = UINT64_C(0x1122334455667788), .member_id = 2, .raft_term = 300, .revision = 7};

static bool header_is(const Etcdserverpb__ResponseHeader *got)
{
    return got != NULL && got->cluster_id == header.cluster_id &&
           got->member_id == header.member_id && got->raft_term == header.raft_term &&
           got->revision == header.revision;
}

/* ---- requests ------------------------------------------------------------------------------------- */

/* One and a half election timeouts in whole seconds, rounded up: 2 s at etcd's own 1000 ms. */
static void least_ttl(void)
{
    CU_ASSERT_EQUAL(rpc_lease_ttl_min_s(1000), 2);
    CU_ASSERT_EQUAL(rpc_lease_ttl_min_s(2000), 3);
    CU_ASSERT_EQUAL(rpc_lease_ttl_min_s(2001), 4);
    CU_ASSERT_EQUAL(rpc_lease_ttl_min_s(666), 1);
    CU_ASSERT_EQUAL(rpc_lease_ttl_min_s(1), 1);
    CU_ASSERT_EQUAL(rpc_lease_ttl_min_s(UINT32_MAX), INT64_C(6442451));
}

static void grant_is_clamped(void)
{
    struct command c = {.lease_id = 42};
    CU_ASSERT_EQUAL(rpc_lease_grant_decode(VIEW("\x08\x0a\x10\x07"), 2, &c), OK);
    CU_ASSERT_EQUAL(c.op, COMMAND_LEASE_GRANT);
    CU_ASSERT_EQUAL(c.ttl_s, 10);
    CU_ASSERT_EQUAL(c.lease_id, 7);
    CU_ASSERT_EQUAL(c.cluster_time_us, 0);
    CU_ASSERT_EQUAL(rpc_lease_grant_decode(VIEW(""), 2, &c), OK);
    CU_ASSERT_EQUAL(c.ttl_s, 2);
    CU_ASSERT_EQUAL(c.lease_id, 0);
    /* TTL -1, id -2 */
    CU_ASSERT_EQUAL(
        rpc_lease_grant_decode(VIEW("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\xfe\xff\xff"
                                    "\xff\xff\xff\xff\xff\xff\x01"),
                               3, &c),
        OK);
    CU_ASSERT_EQUAL(c.ttl_s, 3);
    CU_ASSERT_EQUAL(c.lease_id, -2);
    /* 9,000,000,000 passes, one more does not */
    CU_ASSERT_EQUAL(rpc_lease_grant_decode(VIEW("\x08\x80\xb4\xc4\xc3\x21"), 2, &c), OK);
    CU_ASSERT_EQUAL(c.ttl_s, INT64_C(9000000000));
    c.ttl_s = 42;
    CU_ASSERT_EQUAL(rpc_lease_grant_decode(VIEW("\x08\x81\xb4\xc4\xc3\x21"), 2, &c),
                    ERR_LEASE_TTL_TOO_LARGE);
    CU_ASSERT_EQUAL(rpc_lease_grant_decode(VIEW("\x08"), 2, &c), ERR_MALFORMED);
    CU_ASSERT_EQUAL(rpc_lease_grant_decode(VIEW("\x0a\x01x"), 2, &c), ERR_MALFORMED);
    CU_ASSERT_EQUAL(c.ttl_s, 42); /* untouched */
}

static void the_other_requests(void)
{
    struct command c;
    struct query q;
    int64_t id = 42;
    CU_ASSERT_EQUAL(rpc_lease_revoke_decode(VIEW("\x08\x07"), &c), OK);
    CU_ASSERT_EQUAL(c.op, COMMAND_LEASE_REVOKE);
    CU_ASSERT_EQUAL(c.lease_id, 7);
    CU_ASSERT_EQUAL(rpc_lease_revoke_decode(VIEW("\x08"), &c), ERR_MALFORMED);
    CU_ASSERT_EQUAL(rpc_lease_keepalive_decode(VIEW("\x08\x80"), &id), ERR_MALFORMED);
    CU_ASSERT_EQUAL(id, 42);
    CU_ASSERT_EQUAL(rpc_lease_keepalive_decode(VIEW("\x08\x07\x08\x08"), &id), OK);
    CU_ASSERT_EQUAL(id, 8);
    CU_ASSERT_EQUAL(rpc_lease_keepalive_decode(VIEW(""), &id), OK);
    CU_ASSERT_EQUAL(id, 0);
    CU_ASSERT_EQUAL(rpc_lease_time_to_live_decode(VIEW("\x08\x07\x10\x01"), &q), OK);
    CU_ASSERT_EQUAL(q.kind, QUERY_LEASE_TTL);
    CU_ASSERT_EQUAL(q.lease, 7);
    CU_ASSERT_TRUE(q.want_keys);
    CU_ASSERT_FALSE(q.serializable);
    CU_ASSERT_EQUAL(rpc_lease_time_to_live_decode(VIEW("\x08\x07\x10\x01\x10\x00"), &q), OK);
    CU_ASSERT_FALSE(q.want_keys);
    CU_ASSERT_EQUAL(rpc_lease_time_to_live_decode(VIEW("\x12\x00"), &q), ERR_MALFORMED);
    CU_ASSERT_EQUAL(rpc_lease_leases_decode(VIEW("\x08\x07"), &q), OK); /* unknown fields pass */
    CU_ASSERT_EQUAL(q.kind, QUERY_LEASES);
    CU_ASSERT_EQUAL(rpc_lease_leases_decode(VIEW("\x08"), &q), ERR_MALFORMED);
}

/* Sheet §4.1. */
static void errors_as_etcd_says_them(void)
{
    static const struct {
        enum err error;
        uint8_t code;
        const char *text;
    } cases[] = {
        {ERR_LEASE_NOT_FOUND, 5, "etcdserver: requested lease not found"},
        {ERR_LEASE_EXISTS, 9, "etcdserver: lease already exists"},
        {ERR_LEASE_TTL_TOO_LARGE, 11, "etcdserver: too large lease TTL"},
        {ERR_NO_LEADER, 14, "etcdserver: no leader"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct rpc_error error = rpc_error_of(cases[i].error);
        CU_ASSERT_EQUAL(error.code, cases[i].code);
        CU_ASSERT_STRING_EQUAL(error.text, cases[i].text);
    }
}

/* ---- responses ------------------------------------------------------------------------------------ */

static int64_t any_id(uint64_t *random)
{
    return (int64_t)(random_next(random) >> random_below(random, 64));
}

static void grants_and_keepalives_are_read_by_protobuf_c(void)
{
    uint64_t random = 5;
    for (int i = 0; i < 200; i++) {
        struct lease_info lease = {.id = any_id(&random), .ttl_s = any_id(&random)};
        struct result *r = result_create();
        result_add_lease(r, &lease);
        size_t size = rpc_lease_grant_size(&header, r);
        uint8_t *octets = mem_alloc(size);
        rpc_lease_grant_write(&header, r, octets);
        Etcdserverpb__LeaseGrantResponse *grant =
            etcdserverpb__lease_grant_response__unpack(NULL, size, octets);
        CU_ASSERT_PTR_NOT_NULL_FATAL(grant);
        CU_ASSERT_TRUE(header_is(grant->header));
        CU_ASSERT_EQUAL(grant->id, lease.id);
        CU_ASSERT_EQUAL(grant->ttl, lease.ttl_s);
        CU_ASSERT_STRING_EQUAL(grant->error, "");
        etcdserverpb__lease_grant_response__free_unpacked(grant, NULL);

        CU_ASSERT_EQUAL(rpc_lease_keepalive_size(&header, &lease), size);
        rpc_lease_keepalive_write(&header, &lease, octets);
        Etcdserverpb__LeaseKeepAliveResponse *alive =
            etcdserverpb__lease_keep_alive_response__unpack(NULL, size, octets);
        CU_ASSERT_PTR_NOT_NULL_FATAL(alive);
        CU_ASSERT_TRUE(header_is(alive->header));
        CU_ASSERT_EQUAL(alive->id, lease.id);
        CU_ASSERT_EQUAL(alive->ttl, lease.ttl_s);
        etcdserverpb__lease_keep_alive_response__free_unpacked(alive, NULL);
        mem_free(octets);
        result_free(&r);
    }
}

static void a_revoke_is_a_header(void)
{
    uint8_t octets[64];
    size_t size = rpc_bare_size(&header);
    CU_ASSERT_TRUE_FATAL(size <= sizeof octets);
    rpc_bare_write(&header, octets);
    Etcdserverpb__LeaseRevokeResponse *m =
        etcdserverpb__lease_revoke_response__unpack(NULL, size, octets);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_TRUE(header_is(m->header));
    etcdserverpb__lease_revoke_response__free_unpacked(m, NULL);
}

static void a_time_to_live_has_keys(void)
{
    for (size_t keys = 0; keys < 4; keys++) {
        struct result *r = result_create();
        result_add_lease(r, &(struct lease_info){.id = -5, .ttl_s = -1, .granted_ttl_s = 60});
        for (size_t i = 0; i < keys; i++) {
            const struct key_value kv = {.key = view_of("key\0with zero", 3 + i)};
            result_add(r, &kv, true);
        }
        size_t size = rpc_lease_time_to_live_size(&header, r);
        uint8_t *octets = mem_alloc(size);
        rpc_lease_time_to_live_write(&header, r, octets);
        Etcdserverpb__LeaseTimeToLiveResponse *m =
            etcdserverpb__lease_time_to_live_response__unpack(NULL, size, octets);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        CU_ASSERT_TRUE(header_is(m->header));
        CU_ASSERT_EQUAL(m->id, -5);
        CU_ASSERT_EQUAL(m->ttl, -1);
        CU_ASSERT_EQUAL(m->grantedttl, 60);
        CU_ASSERT_EQUAL_FATAL(m->n_keys, keys);
        for (size_t i = 0; i < keys; i++) {
            CU_ASSERT_EQUAL(m->keys[i].len, 3 + i);
        }
        etcdserverpb__lease_time_to_live_response__free_unpacked(m, NULL);
        mem_free(octets);
        result_free(&r);
    }
}

static void a_list_keeps_its_order(void)
{
    struct result *r = result_create();
    const int64_t ids[] = {5, INT64_MIN, 1, INT64_MAX};
    for (size_t i = 0; i < ARRAY_COUNT(ids); i++) {
        result_add_lease(r, &(struct lease_info){.id = ids[i]});
    }
    size_t size = rpc_lease_leases_size(&header, r);
    uint8_t *octets = mem_alloc(size);
    rpc_lease_leases_write(&header, r, octets);
    Etcdserverpb__LeaseLeasesResponse *m =
        etcdserverpb__lease_leases_response__unpack(NULL, size, octets);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_TRUE(header_is(m->header));
    CU_ASSERT_EQUAL_FATAL(m->n_leases, ARRAY_COUNT(ids));
    for (size_t i = 0; i < ARRAY_COUNT(ids); i++) {
        CU_ASSERT_EQUAL(m->leases[i]->id, ids[i]);
    }
    etcdserverpb__lease_leases_response__free_unpacked(m, NULL);
    mem_free(octets);
    result_free(&r);
}

SUITE("api: Lease", TEST(least_ttl), TEST(grant_is_clamped), TEST(the_other_requests),
      TEST(errors_as_etcd_says_them), TEST(grants_and_keepalives_are_read_by_protobuf_c),
      TEST(a_revoke_is_a_header), TEST(a_time_to_live_has_keys), TEST(a_list_keeps_its_order))
