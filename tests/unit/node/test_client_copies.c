/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_client_copies.c: Hash and Snapshot at the client port: who goes away is cancelled by the way the request
 * went, so that the cancel cannot be there first. (src/node/client_copies.c)
 */
#include "client_hand.h"

#define PATH_SNAPSHOT "/etcdserverpb.Maintenance/Snapshot"
#define PATH_HASH     "/etcdserverpb.Maintenance/Hash"

static void a_cancel_follows_its_request(void)
{
    static const char *const paths[] = {PATH_SNAPSHOT, PATH_HASH};
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        struct port p;
        port_prepare(&p);
        p.actors.copy = hand_receiver();
        port_start(&p);
        struct caller c = caller_open(&p);
        int32_t id = caller_unary(&c, paths[i], VIEW(""), NULL);
        CU_ASSERT_FALSE(caller_answer(&c, id)->closed);
        caller_close(&c); /* before anybody looked at the request */
        struct copy_request *asked = (struct copy_request *)hand_take(p.actors.apply);
        CU_ASSERT_PTR_NOT_NULL_FATAL(asked);
        CU_ASSERT_EQUAL_FATAL(asked->base.kind, APPLY_COPY);
        CU_ASSERT_EQUAL(asked->snapshot, i == 0);
        struct copy_ack *cancelled = (struct copy_ack *)hand_take(p.actors.apply);
        CU_ASSERT_PTR_NOT_NULL_FATAL(cancelled);
        CU_ASSERT_EQUAL_FATAL(cancelled->base.kind, APPLY_COPY_CANCEL);
        CU_ASSERT_EQUAL(cancelled->number, asked->number);
        CU_ASSERT_PTR_NULL(hand_take(p.actors.copy));
        MSG_FREE(asked);
        MSG_FREE(cancelled);
        port_end(&p);
        actor_destroy(p.actors.copy);
    }
}

SUITE("node: copies for clients", TEST(a_cancel_follows_its_request))
