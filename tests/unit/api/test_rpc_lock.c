/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_rpc_lock.c: messages of the Lock and Election services against protobuf-c, and the codes of their
 * errors (sheet §1.9, §2.8).
 */
#include "base.h"
#include "suite.h"

#include "api/rpc_election.h"
#include "api/rpc_lock.h"
#include "election.pb-c.h"
#include "lock.pb-c.h"

#define VIEW(text) view_of((text), sizeof(text) - 1)

static const struct response_header header = {
    .cluster_id = 1, .member_id = 2, .raft_term = 3, .revision = 400};

static void lock_requests(void)
{
    struct lock_request lock = {.lease = 42};
    CU_ASSERT_EQUAL(rpc_lock_decode(VIEW("\x0a\x05x"), &lock), ERR_MALFORMED);
    CU_ASSERT_EQUAL(lock.lease, 42);
    CU_ASSERT_EQUAL(
        rpc_lock_decode(VIEW("\x0a\x01x\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), &lock), OK);
    CU_ASSERT_TRUE(view_equal(lock.name, VIEW("x")));
    CU_ASSERT_EQUAL(lock.lease, -1);
    struct view key = {0};
    CU_ASSERT_EQUAL(rpc_unlock_decode(VIEW("\x0a\x03x/1"), &key), OK);
    CU_ASSERT_TRUE(view_equal(key, VIEW("x/1")));
    CU_ASSERT_EQUAL(rpc_unlock_decode(VIEW("\x08\x03"), &key), ERR_MALFORMED);
}

static void election_requests(void)
{
    struct campaign_request campaign;
    CU_ASSERT_EQUAL(rpc_campaign_decode(VIEW("\x0a\x01n\x10\x07\x1a\x01v"), &campaign), OK);
    CU_ASSERT_TRUE(view_equal(campaign.name, VIEW("n")) && view_equal(campaign.value, VIEW("v")));
    CU_ASSERT_EQUAL(campaign.lease, 7);
    CU_ASSERT_EQUAL(rpc_campaign_decode(VIEW("\x0a"), &campaign), ERR_MALFORMED);

    struct leader_request leader;
    CU_ASSERT_EQUAL(rpc_proclaim_decode(VIEW("\x12\x01v"), &leader), OK);
    CU_ASSERT_FALSE(leader.given);
    CU_ASSERT_EQUAL(rpc_proclaim_decode(VIEW("\x0a\x00"), &leader), OK);
    CU_ASSERT_TRUE(leader.given); /* empty, but there */
    CU_ASSERT_EQUAL(
        rpc_proclaim_decode(VIEW("\x0a\x0c\x0a\x01n\x12\x03n/7\x18\x05\x20\x07\x12\x01v"), &leader),
        OK);
    CU_ASSERT_TRUE(view_equal(leader.leader.key, VIEW("n/7")));
    CU_ASSERT_EQUAL(leader.leader.create_revision, 5);
    CU_ASSERT_EQUAL(leader.leader.lease, 7);
    CU_ASSERT_TRUE(view_equal(leader.value, VIEW("v")));
    CU_ASSERT_EQUAL(rpc_proclaim_decode(VIEW("\x0a\x02\x0a\x09"), &leader), ERR_MALFORMED);
    CU_ASSERT_EQUAL(rpc_resign_decode(VIEW("\x0a\x05\x12\x03n/7"), &leader), OK);
    CU_ASSERT_TRUE(leader.given);
    struct view name = {0};
    CU_ASSERT_EQUAL(rpc_leader_decode(VIEW("\x0a\x01n"), &name), OK);
    CU_ASSERT_TRUE(view_equal(name, VIEW("n")));
    CU_ASSERT_EQUAL(rpc_leader_decode(VIEW("\x0a\x02n"), &name), ERR_MALFORMED);
}

static void responses(void)
{
    uint8_t octets[200];
    size_t size = rpc_lock_size(&header, VIEW("x/1"));
    CU_ASSERT_TRUE_FATAL(size <= sizeof octets);
    rpc_lock_write(&header, VIEW("x/1"), octets);
    V3lockpb__LockResponse *lock = v3lockpb__lock_response__unpack(NULL, size, octets);
    CU_ASSERT_PTR_NOT_NULL_FATAL(lock);
    CU_ASSERT_EQUAL(lock->header->revision, 400);
    CU_ASSERT_TRUE(view_equal(view_of(lock->key.data, lock->key.len), VIEW("x/1")));
    v3lockpb__lock_response__free_unpacked(lock, NULL);

    const struct leader_key leader = {
        .name = VIEW("n"), .key = VIEW("n/7"), .create_revision = 500, .lease = -7};
    size = rpc_campaign_size(&header, &leader);
    CU_ASSERT_TRUE_FATAL(size <= sizeof octets);
    rpc_campaign_write(&header, &leader, octets);
    V3electionpb__CampaignResponse *campaign =
        v3electionpb__campaign_response__unpack(NULL, size, octets);
    CU_ASSERT_PTR_NOT_NULL_FATAL(campaign);
    CU_ASSERT_EQUAL(campaign->header->member_id, 2);
    CU_ASSERT_EQUAL(campaign->leader->rev, 500);
    CU_ASSERT_EQUAL(campaign->leader->lease, -7);
    CU_ASSERT_TRUE(
        view_equal(view_of(campaign->leader->key.data, campaign->leader->key.len), VIEW("n/7")));
    v3electionpb__campaign_response__free_unpacked(campaign, NULL);

    const struct key_value kv = {
        .key = VIEW("n/7"), .value = VIEW("v"), .create_revision = 5, .mod_revision = 6};
    size = rpc_leader_size(&header, &kv);
    CU_ASSERT_TRUE_FATAL(size <= sizeof octets);
    rpc_leader_write(&header, &kv, octets);
    V3electionpb__LeaderResponse *m = v3electionpb__leader_response__unpack(NULL, size, octets);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->kv->create_revision, 5);
    CU_ASSERT_TRUE(view_equal(view_of(m->kv->value.data, m->kv->value.len), VIEW("v")));
    v3electionpb__leader_response__free_unpacked(m, NULL);
}

/* What the request did wrong is UNKNOWN, as etcd lets it out; what may pass keeps its code. */
static void errors(void)
{
    CU_ASSERT_EQUAL(rpc_recipe_error(ERR_LEASE_NOT_FOUND).code, 2);
    CU_ASSERT_STRING_EQUAL(rpc_recipe_error(ERR_LEASE_NOT_FOUND).text,
                           "etcdserver: requested lease not found");
    CU_ASSERT_EQUAL(rpc_recipe_error(ERR_KEY_EMPTY).code, 2);
    CU_ASSERT_EQUAL(rpc_recipe_error(ERR_TIMEOUT).code, 14);
    CU_ASSERT_EQUAL(rpc_recipe_error(ERR_OVERLOAD).code, 8);
}

SUITE("api rpc_lock", TEST(lock_requests), TEST(election_requests), TEST(responses), TEST(errors))
