/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_rpc_watch.c: requests of the Watch service from octets as clients write them (filters packed and one by
 * one, an empty oneof, a oneof given twice), and responses read back by protobuf-c (sheet 1.4, 2.6).
 */
#include "suite.h"

#include "api/rpc_watch.h"
#include "rpc.pb-c.h"

#define VIEW(text) view_of((text), sizeof(text) - 1)

static void create_from_octets(void)
{
    struct watch_call c;
    CU_ASSERT_EQUAL(rpc_watch_decode(VIEW("\x0a\x10\x0a\x01"
                                          "k\x12\x01"
                                          "l\x18\x07\x20\x01\x30\x01\x38\x09\x40\x01"),
                                     &c),
                    OK);
    CU_ASSERT_EQUAL(c.kind, WATCH_CALL_CREATE);
    CU_ASSERT(view_equal(c.key, VIEW("k")));
    CU_ASSERT(view_equal(c.range_end, VIEW("l")));
    CU_ASSERT_EQUAL(c.start_revision, 7);
    CU_ASSERT_EQUAL(c.watch_id, 9);
    CU_ASSERT_TRUE(c.progress_notify);
    CU_ASSERT_TRUE(c.prev_kv);
    CU_ASSERT_TRUE(c.fragment);
    CU_ASSERT_FALSE(c.no_put);
    CU_ASSERT_FALSE(c.no_delete);
    /* an empty key is the least one; a negative revision is a ten-octet varint */
    CU_ASSERT_EQUAL(
        rpc_watch_decode(VIEW("\x0a\x0b\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), &c), OK);
    CU_ASSERT(view_equal(c.key, VIEW("\0")));
    CU_ASSERT_EQUAL(c.range_end.size, 0);
    CU_ASSERT_EQUAL(c.start_revision, -1);
}

static void filters_packed_and_not(void)
{
    struct watch_call c;
    CU_ASSERT_EQUAL(rpc_watch_decode(VIEW("\x0a\x04\x2a\x02\x00\x01"), &c), OK);
    CU_ASSERT_TRUE(c.no_put);
    CU_ASSERT_TRUE(c.no_delete);
    CU_ASSERT_EQUAL(rpc_watch_decode(VIEW("\x0a\x02\x28\x01"), &c), OK);
    CU_ASSERT_FALSE(c.no_put);
    CU_ASSERT_TRUE(c.no_delete);
    CU_ASSERT_EQUAL(rpc_watch_decode(VIEW("\x0a\x06\x28\x01\x2a\x02\x00\x07"), &c), OK);
    CU_ASSERT_TRUE(c.no_put);
    CU_ASSERT_TRUE(c.no_delete);
    CU_ASSERT_EQUAL(rpc_watch_decode(VIEW("\x0a\x03\x2a\x01\x80"), &c), ERR_MALFORMED);
    CU_ASSERT_EQUAL(rpc_watch_decode(VIEW("\x0a\x0d\x2a\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff"
                                          "\xff\x01"),
                                     &c),
                    ERR_MALFORMED);
}

static void the_others_and_the_oneof(void)
{
    struct watch_call c;
    CU_ASSERT_EQUAL(rpc_watch_decode(VIEW(""), &c), OK);
    CU_ASSERT_EQUAL(c.kind, WATCH_CALL_NONE);
    CU_ASSERT_EQUAL(rpc_watch_decode(VIEW("\x12\x02\x08\x05"), &c), OK);
    CU_ASSERT_EQUAL(c.kind, WATCH_CALL_CANCEL);
    CU_ASSERT_EQUAL(c.watch_id, 5);
    CU_ASSERT_EQUAL(rpc_watch_decode(VIEW("\x12\x00"), &c), OK);
    CU_ASSERT_EQUAL(c.watch_id, 0);
    CU_ASSERT_EQUAL(rpc_watch_decode(VIEW("\x1a\x00"), &c), OK);
    CU_ASSERT_EQUAL(c.kind, WATCH_CALL_PROGRESS);
    /* the last member counts, and twice the same is merged */
    CU_ASSERT_EQUAL(rpc_watch_decode(VIEW("\x12\x02\x08\x05\x0a\x03\x0a\x01k"), &c), OK);
    CU_ASSERT_EQUAL(c.kind, WATCH_CALL_CREATE);
    CU_ASSERT_EQUAL(c.watch_id, 0);
    CU_ASSERT_EQUAL(rpc_watch_decode(VIEW("\x0a\x03\x0a\x01k\x0a\x02\x18\x04"), &c), OK);
    CU_ASSERT(view_equal(c.key, VIEW("k")));
    CU_ASSERT_EQUAL(c.start_revision, 4);
    /* unknown fields are skipped; garbage and wrong wire types are refused, *out untouched */
    CU_ASSERT_EQUAL(rpc_watch_decode(VIEW("\x78\x01\x1a\x02\x08\x01"), &c), OK);
    CU_ASSERT_EQUAL(c.kind, WATCH_CALL_PROGRESS);
    CU_ASSERT_EQUAL(rpc_watch_decode(VIEW("\x0a\x05k"), &c), ERR_MALFORMED);
    CU_ASSERT_EQUAL(rpc_watch_decode(VIEW("\x08\x05"), &c), ERR_MALFORMED);
    CU_ASSERT_EQUAL(rpc_watch_decode(VIEW("\x0a\x02\x08\x05"), &c), ERR_MALFORMED);
    /* a packed filter of more than 64 bits */
    CU_ASSERT_EQUAL(
        rpc_watch_decode(VIEW("\x0a\x0c\x2a\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7e"), &c),
        ERR_MALFORMED);
    CU_ASSERT_EQUAL(c.kind, WATCH_CALL_PROGRESS);
}

static Etcdserverpb__WatchResponse *read_back(const uint8_t *octets, size_t size)
{
    Etcdserverpb__WatchResponse *r = etcdserverpb__watch_response__unpack(NULL, size, octets);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r);
    return r;
}

static void answers_are_read_back(void)
{
    const struct watch_answer answer = {.header = {.cluster_id = 1, .member_id = 2, .raft_term = 3},
                                        .watch_id = -1,
                                        .compact_revision = 12,
                                        .cancel_reason = "why not",
                                        .created = true,
                                        .canceled = true,
                                        .fragment = true};
    size_t size = rpc_watch_answer_size(&answer);
    uint8_t *octets = mem_alloc(size);
    CU_ASSERT_PTR_EQUAL(rpc_watch_answer_put(octets, &answer), octets + size);
    Etcdserverpb__WatchResponse *r = read_back(octets, size);
    CU_ASSERT_EQUAL(r->header->cluster_id, 1);
    CU_ASSERT_EQUAL(r->header->member_id, 2);
    CU_ASSERT_EQUAL(r->header->revision, 0);
    CU_ASSERT_EQUAL(r->watch_id, -1);
    CU_ASSERT_EQUAL(r->compact_revision, 12);
    CU_ASSERT_STRING_EQUAL(r->cancel_reason, "why not");
    CU_ASSERT_TRUE(r->created);
    CU_ASSERT_TRUE(r->canceled);
    CU_ASSERT_TRUE(r->fragment);
    CU_ASSERT_EQUAL(r->n_events, 0);
    etcdserverpb__watch_response__free_unpacked(r, NULL);
    mem_free(octets);
}

static void events_are_read_back(void)
{
    const struct watch_answer answer = {.header = {.revision = 9}};
    const struct key_value put = {.key = VIEW("k"),
                                  .value = VIEW("new"),
                                  .create_revision = 3,
                                  .mod_revision = 9,
                                  .version = 4,
                                  .lease = -5};
    const struct key_value before = {.key = VIEW("k"),
                                     .value = VIEW("old"),
                                     .create_revision = 3,
                                     .mod_revision = 8,
                                     .version = 3};
    const struct key_value gone = {.key = VIEW("l"), .mod_revision = 9};
    size_t size = rpc_watch_answer_size(&answer) + rpc_watch_event_size(&put, false, &before) +
                  rpc_watch_event_size(&gone, true, NULL);
    uint8_t *octets = mem_alloc(size);
    uint8_t *end = rpc_watch_answer_put(octets, &answer);
    end = rpc_watch_event_put(end, &put, false, &before);
    end = rpc_watch_event_put(end, &gone, true, NULL);
    CU_ASSERT_PTR_EQUAL(end, octets + size);
    Etcdserverpb__WatchResponse *r = read_back(octets, size);
    CU_ASSERT_EQUAL_FATAL(r->n_events, 2);
    CU_ASSERT_EQUAL(r->events[0]->type, MVCCPB__EVENT__EVENT_TYPE__PUT);
    CU_ASSERT_EQUAL(r->events[0]->kv->lease, -5);
    CU_ASSERT_EQUAL(r->events[0]->kv->version, 4);
    CU_ASSERT_EQUAL(r->events[0]->kv->value.len, 3);
    CU_ASSERT_EQUAL(r->events[0]->prev_kv->mod_revision, 8);
    CU_ASSERT_EQUAL(r->events[1]->type, MVCCPB__EVENT__EVENT_TYPE__DELETE);
    CU_ASSERT_EQUAL(r->events[1]->kv->mod_revision, 9);
    CU_ASSERT_PTR_NULL(r->events[1]->prev_kv);
    etcdserverpb__watch_response__free_unpacked(r, NULL);
    mem_free(octets);
}

SUITE("api: rpc watch", TEST(create_from_octets), TEST(filters_packed_and_not),
      TEST(the_others_and_the_oneof), TEST(answers_are_read_back), TEST(events_are_read_back))
