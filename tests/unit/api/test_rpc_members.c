/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_rpc_members.c: etcd's Cluster service and holdfast.v1.Cluster: requests read and refused, answers written
 * (sheet §1.6, §2.9).
 */
#include "base.h"
#include "suite.h"

#include "api/rpc_cluster.h"
#include "api/rpc_members.h"
#include "holdfast.pb-c.h"
#include "rpc.pb-c.h"

#include <stdio.h>
#include <string.h>

#define VIEW(text) view_of((text), sizeof(text) - 1)

static const struct response_header header = {
    .cluster_id = 10, .member_id = 20, .raft_term = 30, .revision = 40};

static void decodes_member_list(void)
{
    bool linearizable = true;
    CU_ASSERT_EQUAL(rpc_member_list_decode(VIEW(""), &linearizable), OK);
    CU_ASSERT_FALSE(linearizable);
    CU_ASSERT_EQUAL(rpc_member_list_decode(VIEW("\x08\x01"), &linearizable), OK);
    CU_ASSERT_TRUE(linearizable);
    CU_ASSERT_EQUAL(rpc_member_list_decode(VIEW("\x08"), &linearizable), ERR_MALFORMED);
}

static void decodes_changes(void)
{
    struct member_request r;
    CU_ASSERT_EQUAL_FATAL(rpc_member_add_decode(VIEW("\x0a\x0ahttp://h:1\x10\x01"), &r), OK);
    CU_ASSERT_EQUAL(r.action, MEMBER_ADD);
    CU_ASSERT_STRING_EQUAL(r.peer, "h:1");
    CU_ASSERT_TRUE(r.learner);
    CU_ASSERT_EQUAL(rpc_member_add_decode(VIEW("\x0a\x0bhttp://h:1/"), &r), OK);
    CU_ASSERT_STRING_EQUAL(r.peer, "h:1");
    CU_ASSERT_FALSE(r.learner);
    CU_ASSERT_EQUAL(rpc_member_add_decode(VIEW(""), &r), ERR_MEMBER_URLS);
    CU_ASSERT_EQUAL(rpc_member_add_decode(VIEW("\x0a\x03h:1"), &r), ERR_MEMBER_URLS);
    CU_ASSERT_EQUAL(rpc_member_add_decode(VIEW("\x0a\x07http://"), &r), ERR_MEMBER_URLS);
    CU_ASSERT_EQUAL(rpc_member_add_decode(VIEW("\x0a\x08http://h"), &r), ERR_MEMBER_URLS);
    CU_ASSERT_EQUAL(rpc_member_add_decode(VIEW("\x0a\x0chttp://h:1/a"), &r), ERR_MEMBER_URLS);
    CU_ASSERT_EQUAL(rpc_member_add_decode(VIEW("\x0a\x0bhttps://h:1"), &r), ERR_MEMBER_URLS);
    CU_ASSERT_EQUAL(rpc_member_add_decode(VIEW("\x0a\x0ahttp://h:1\x0a\x0ahttp://i:1"), &r),
                    ERR_MEMBER_URLS);
    CU_ASSERT_EQUAL(rpc_member_add_decode(VIEW("\x0a\x7fhttp"), &r), ERR_MALFORMED);
    CU_ASSERT_EQUAL(rpc_member_remove_decode(VIEW("\x08\x07"), &r), OK);
    CU_ASSERT_EQUAL(r.action, MEMBER_REMOVE);
    CU_ASSERT_EQUAL(r.id, 7);
    CU_ASSERT_EQUAL(rpc_member_promote_decode(VIEW("\x08\x07"), &r), OK);
    CU_ASSERT_EQUAL(r.action, MEMBER_PROMOTE);
    CU_ASSERT_EQUAL(rpc_member_update_decode(VIEW("\x08\x07\x12\x0ahttp://h:1"), &r), OK);
    CU_ASSERT_EQUAL(r.action, MEMBER_UPDATE);
    CU_ASSERT_STRING_EQUAL(r.peer, "h:1");
    CU_ASSERT_EQUAL(rpc_member_update_decode(VIEW("\x08\x07"), &r), ERR_MEMBER_URLS);
    CU_ASSERT_EQUAL(rpc_member_remove_decode(VIEW("\x08"), &r), ERR_MALFORMED);
}

static void decodes_our_own(void)
{
    struct member_request r;
    bool linearizable = true;
    CU_ASSERT_EQUAL(rpc_get_cluster_decode(VIEW(""), &linearizable), OK);
    CU_ASSERT_FALSE(linearizable);
    CU_ASSERT_EQUAL(rpc_set_wish_decode(VIEW("\x08\x01\x10\x05\x28\x01\x30\x01"), &r), OK);
    CU_ASSERT_TRUE(r.set_voters);
    CU_ASSERT_EQUAL(r.wish.voters, 5);
    CU_ASSERT_FALSE(r.set_heal_after_s);
    CU_ASSERT_TRUE(r.set_paused);
    CU_ASSERT_TRUE(r.wish.paused);
    CU_ASSERT_EQUAL(rpc_set_wish_decode(VIEW("\x08\x01\x10\x04"), &r), ERR_INVALID);
    CU_ASSERT_EQUAL(rpc_set_wish_decode(VIEW("\x08\x01\x10\x09"), &r), ERR_INVALID);
    CU_ASSERT_EQUAL(rpc_set_wish_decode(VIEW("\x08"), &r), ERR_MALFORMED);
    CU_ASSERT_EQUAL(rpc_replace_decode(VIEW("\x12\x02n3"), &r), OK);
    CU_ASSERT_STRING_EQUAL(r.name, "n3");
    CU_ASSERT_EQUAL(rpc_replace_decode(VIEW("\x08\x03"), &r), OK);
    CU_ASSERT_EQUAL(r.id, 3);
    CU_ASSERT_EQUAL(rpc_replace_decode(VIEW(""), &r), ERR_INVALID);
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

/* What was added and has not come stands in the list without a name, as etcd shows it. */
static void encodes_member_add(void)
{
    struct configuration c = {.cluster_id = 10, .count = 1, .declared_count = 1};
    struct member_request added = {.action = MEMBER_ADD, .id = 3, .peer = "new:1", .learner = true};
    c.members[0] = member(5, "low", true);
    c.declared[0] = (struct declared_member){.id = 3, .peer = "new:1", .learner = true};
    size_t size = 0;
    uint8_t *out = rpc_member_add_encode(&header, &c, &added, 0, &size);
    Etcdserverpb__MemberAddResponse *m = etcdserverpb__member_add_response__unpack(NULL, size, out);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->member->id, 3);
    CU_ASSERT_STRING_EQUAL(m->member->peerurls[0], "http://new:1");
    CU_ASSERT_TRUE(m->member->islearner);
    CU_ASSERT_EQUAL_FATAL(m->n_members, 2);
    CU_ASSERT_EQUAL(m->members[0]->id, 3);
    CU_ASSERT_STRING_EQUAL(m->members[0]->name, "");
    CU_ASSERT_EQUAL(m->members[0]->n_clienturls, 0);
    etcdserverpb__member_add_response__free_unpacked(m, NULL);
    mem_free(out);
}

static void encodes_the_cluster(void)
{
    struct configuration c = {.cluster_id = 10, .count = 2, .wish = {.voters = 3}};
    c.members[0] = member(5, "b", true);
    c.members[1] = member(6, "a", false);
    struct cluster_report report = {
        .leads = true, .action = PILOT_WAIT, .reason = "paused", .member_count = 1};
    report.members[0].seen = (struct pilot_member){.id = 6, .silent_us = 2500000};
    report.members[0].match_index = 4;
    struct cluster_facts facts = {.cluster = "demo",
                                  .configuration = &c,
                                  .last_log_index = 9,
                                  .leader_id = 5,
                                  .report = &report};
    size_t size = 0;
    uint8_t *out = rpc_get_cluster_encode(&header, &facts, 0, &size);
    Holdfast__V1__GetClusterResponse *m =
        holdfast__v1__get_cluster_response__unpack(NULL, size, out);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_STRING_EQUAL(m->cluster, "demo");
    CU_ASSERT_EQUAL(m->header->raft_term, 30);
    CU_ASSERT_STRING_EQUAL(m->leader_client, "b:2379");
    CU_ASSERT_EQUAL_FATAL(m->n_members, 2);
    CU_ASSERT_STRING_EQUAL(m->members[0]->name, "a"); /* by name */
    CU_ASSERT_EQUAL(m->members[0]->role, HOLDFAST__V1__ROLE__ROLE_STANDBY);
    CU_ASSERT_EQUAL(m->members[0]->silent_ms, 2500);
    CU_ASSERT_EQUAL(m->members[0]->lag_entries, 5);
    CU_ASSERT_TRUE(m->members[1]->leader);
    CU_ASSERT_EQUAL(m->members[1]->role, HOLDFAST__V1__ROLE__ROLE_VOTER);
    CU_ASSERT_EQUAL(m->autopilot->action, HOLDFAST__V1__AUTOPILOT__ACTION__WAIT);
    CU_ASSERT_STRING_EQUAL(m->autopilot->reason, "paused");
    CU_ASSERT_EQUAL(m->wish->voters, 3);
    holdfast__v1__get_cluster_response__free_unpacked(m, NULL);
    mem_free(out);
    report.leads = false;
    out = rpc_get_cluster_encode(&header, &facts, 0, &size);
    m = holdfast__v1__get_cluster_response__unpack(NULL, size, out);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_PTR_NULL(m->autopilot);
    CU_ASSERT_EQUAL(m->members[0]->silent_ms, 0);
    holdfast__v1__get_cluster_response__free_unpacked(m, NULL);
    mem_free(out);
}

SUITE("api rpc_members", TEST(decodes_member_list), TEST(decodes_changes), TEST(decodes_our_own),
      TEST(encodes_member_list), TEST(encodes_member_add), TEST(encodes_the_cluster))
