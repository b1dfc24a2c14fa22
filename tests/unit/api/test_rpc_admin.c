/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_rpc_admin.c: what is answered and what refused of Alarm, Downgrade, MoveLeader and Auth (sheet §2.10,
 * §2.11, §3).
 */
#include "base.h"
#include "suite.h"

#include "api/rpc_admin.h"
#include "rpc.pb-c.h"

#define VIEW(text) view_of((text), sizeof(text) - 1)

static bool is(struct rpc_error error, uint8_t code, const char *text)
{
    return error.code == code && strcmp(error.text, text) == 0;
}

/* None is raised: the lists are empty, and nobody is told that one was raised now. */
static void alarms(void)
{
    struct rpc_error e;
    CU_ASSERT_TRUE(rpc_alarm_decode(VIEW(""), &e));
    CU_ASSERT_TRUE(rpc_alarm_decode(VIEW("\x10\x05"), &e));                 /* GET of a member's */
    CU_ASSERT_TRUE(rpc_alarm_decode(VIEW("\x08\x01\x10\x05"), &e));         /* ACTIVATE NONE */
    CU_ASSERT_TRUE(rpc_alarm_decode(VIEW("\x08\x02\x10\x05\x18\x01"), &e)); /* DEACTIVATE NOSPACE */
    CU_ASSERT_FALSE(rpc_alarm_decode(VIEW("\x08\x01\x18\x01"), &e));
    CU_ASSERT_TRUE(is(e, 12, "holdfast: has no alarms, nothing makes the cluster read-only"));
    CU_ASSERT_FALSE(rpc_alarm_decode(VIEW("\x08\x07"), &e));
    CU_ASSERT_TRUE(is(e, 3, "holdfast: unknown alarm action"));
    CU_ASSERT_FALSE(rpc_alarm_decode(VIEW("\x08"), &e));
    CU_ASSERT_EQUAL(e.code, 13);
}

static void downgrades(void)
{
    struct rpc_error e;
    CU_ASSERT_FALSE(rpc_downgrade_decode(VIEW("\x12\x03"
                                              "3.5"),
                                         &e));
    CU_ASSERT_TRUE(is(e, 3, "etcdserver: invalid downgrade target version"));
    CU_ASSERT_FALSE(rpc_downgrade_decode(VIEW("\x08\x01\x12\x05"
                                              "3.5.0"),
                                         &e));
    CU_ASSERT_TRUE(is(e, 3, "etcdserver: invalid downgrade target version"));
    static const char *const bad[] = {"\x12\x01"
                                      "3",
                                      "\x12\x02"
                                      "3.",
                                      "\x12\x02"
                                      ".5",
                                      "\x12\x05"
                                      "3.x.0",
                                      "\x12\x07"
                                      "3.5.0.1",
                                      ""};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        CU_ASSERT_FALSE(rpc_downgrade_decode(view_of_text(bad[i]), &e));
        CU_ASSERT_TRUE(is(e, 3, "etcdserver: wrong downgrade target version format"));
    }
    CU_ASSERT_FALSE(rpc_downgrade_decode(VIEW("\x08\x02"), &e));
    CU_ASSERT_TRUE(is(e, 9, "etcdserver: no inflight downgrade job"));
    CU_ASSERT_FALSE(rpc_downgrade_decode(VIEW("\x08\x09"), &e));
    CU_ASSERT_TRUE(is(e, 2, "etcdserver: unknown method"));
    CU_ASSERT_FALSE(rpc_downgrade_decode(VIEW("\x12\x09"), &e));
    CU_ASSERT_EQUAL(e.code, 13);
}

/* Etcd's order: who does not lead says that first, whoever is named. */
static void moving_the_lead(void)
{
    uint64_t target = 0;
    struct rpc_error e;
    CU_ASSERT_TRUE(rpc_move_leader_decode(VIEW("\x08\x96\x01"), &target, &e));
    CU_ASSERT_EQUAL(target, 150);
    CU_ASSERT_FALSE(rpc_move_leader_decode(VIEW("\x0a\x09"), &target, &e));
    struct configuration c = {.count = 3};
    for (size_t i = 0; i < 3; i++) {
        c.members[i].id = 10 + i;
        c.members[i].voter_incoming = i < 2; /* the third is a learner */
    }
    CU_ASSERT_TRUE(is(rpc_move_leader_check(11, 10, 11, &c), 9, "etcdserver: not leader"));
    CU_ASSERT_TRUE(is(rpc_move_leader_check(99, 10, 0, &c), 9, "etcdserver: not leader"));
    CU_ASSERT_TRUE(
        is(rpc_move_leader_check(99, 10, 10, &c), 9, "etcdserver: bad leader transferee"));
    CU_ASSERT_TRUE(
        is(rpc_move_leader_check(12, 10, 10, &c), 9, "etcdserver: bad leader transferee"));
    CU_ASSERT_EQUAL(rpc_move_leader_check(11, 10, 10, &c).code, 0);
    CU_ASSERT_EQUAL(rpc_move_leader_check(10, 10, 10, &c).code, 0);
}

static void auth_is_off(void)
{
    struct rpc_error e;
    CU_ASSERT_FALSE(rpc_authenticate_decode(VIEW("\x0a\x01"
                                                 "a\x12\x01"
                                                 "b"),
                                            &e));
    CU_ASSERT_TRUE(is(e, 9, "etcdserver: authentication is not enabled"));
    const struct response_header header = {.cluster_id = 1, .member_id = 2, .revision = 3};
    uint8_t octets[64];
    size_t size = rpc_auth_status_size(&header);
    CU_ASSERT_TRUE_FATAL(size <= sizeof octets);
    rpc_auth_status_write(&header, octets);
    Etcdserverpb__AuthStatusResponse *m =
        etcdserverpb__auth_status_response__unpack(NULL, size, octets);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->header->revision, 3);
    CU_ASSERT_FALSE(m->enabled);
    CU_ASSERT_EQUAL(m->authrevision, 1);
    etcdserverpb__auth_status_response__free_unpacked(m, NULL);
}

SUITE("api rpc_admin", TEST(alarms), TEST(downgrades), TEST(moving_the_lead), TEST(auth_is_off))
