/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that the encoding of commands is the one command.h describes, octet for octet (raft.db's views
 * read it in place), that it goes there and back, that whatever is not such an encoding is refused, and
 * that the leader's stamp lands where the decoder reads it.
 */
#include "suite.h"

#include "command.h"

static const struct command put = {
    .op = COMMAND_PUT,
    .flags = COMMAND_PREV_KV | COMMAND_IGNORE_LEASE,
    .lease = 0x0102030405060708,
    .key = {.data = (const uint8_t *)"key", .size = 3},
    .value = {.data = (const uint8_t *)"va\0ue", .size = 5},
};

static const struct command delete_range = {
    .op = COMMAND_DELETE_RANGE,
    .flags = COMMAND_PREV_KV,
    .key = {.data = (const uint8_t *)"a", .size = 1},
    .range_end = {.data = (const uint8_t *)"b", .size = 1},
};

static size_t encode(const struct command *c, uint8_t *out, size_t room)
{
    size_t size = command_size(c);
    CU_ASSERT_TRUE_FATAL(size <= room);
    command_encode(c, out);
    return size;
}

static void encoding_is_the_documented_one(void)
{
    uint8_t octets[64];
    size_t size = encode(&put, octets, sizeof(octets));
    static const uint8_t expected[] = {1, 1, 5, 0, 3, 0, 0,   0,   5,   0,   0,   0, 8,   7,
                                       6, 5, 4, 3, 2, 1, 'k', 'e', 'y', 'v', 'a', 0, 'u', 'e'};
    CU_ASSERT_TRUE(view_equal(view_of(octets, size), view_of(expected, sizeof(expected))));
    size = encode(&delete_range, octets, sizeof(octets));
    static const uint8_t second[] = {1, 2, 1, 0, 1, 0, 0, 0, 1, 0,   0,
                                     0, 0, 0, 0, 0, 0, 0, 0, 0, 'a', 'b'};
    CU_ASSERT_TRUE(view_equal(view_of(octets, size), view_of(second, sizeof(second))));
}

static bool same(const struct command *a, const struct command *b)
{
    return a->op == b->op && a->flags == b->flags && a->lease == b->lease &&
           view_equal(a->key, b->key) && view_equal(a->value, b->value) &&
           view_equal(a->range_end, b->range_end);
}

static void commands_go_there_and_back(void)
{
    static const struct command *const commands[] = {&put, &delete_range};
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        uint8_t octets[64];
        size_t size = encode(commands[i], octets, sizeof(octets));
        struct command back;
        CU_ASSERT_EQUAL_FATAL(command_decode(view_of(octets, size), &back), OK);
        CU_ASSERT_TRUE(same(commands[i], &back));
        uint8_t op = 0;
        uint32_t key_size = 0;
        command_peek(view_of(octets, size), &op, &key_size);
        CU_ASSERT_EQUAL(op, commands[i]->op);
        CU_ASSERT_EQUAL(key_size, commands[i]->key.size);
    }
    struct command negative = put, back;
    negative.lease = -5;
    uint8_t octets[64];
    size_t size = encode(&negative, octets, sizeof(octets));
    CU_ASSERT_EQUAL(command_decode(view_of(octets, size), &back), OK);
    CU_ASSERT_EQUAL(back.lease, -5);
}

static enum err decode_exactly(const uint8_t *octets, size_t size)
{
    uint8_t *exact = mem_dup(octets, size);
    struct command untouched;
    memset(&untouched, 0x5a, sizeof(untouched));
    struct command c = untouched;
    enum err error = command_decode(view_of(exact, size), &c);
    if (error != OK) {
        CU_ASSERT_EQUAL(memcmp(&c, &untouched, sizeof(c)), 0);
    }
    uint8_t op = 9;
    uint32_t key_size = 9;
    command_peek(view_of(exact, size), &op, &key_size);
    if (error != OK) {
        CU_ASSERT_EQUAL(op, 0);
        CU_ASSERT_EQUAL(key_size, 0);
    }
    mem_free(exact);
    return error;
}

static void every_cut_and_every_tail_is_refused(void)
{
    uint8_t octets[64] = {0};
    size_t size = encode(&put, octets, sizeof(octets));
    for (size_t cut = 0; cut < size; cut++) {
        CU_ASSERT_EQUAL(decode_exactly(octets, cut), ERR_TRUNCATED);
    }
    CU_ASSERT_EQUAL(decode_exactly(octets, size), OK);
    CU_ASSERT_EQUAL(decode_exactly(octets, size + 1), ERR_MALFORMED);
}

static void each_field_is_checked(void)
{
    static const struct {
        size_t at;
        uint8_t put_value, delete_value;
        enum err error;
    } changes[] = {
        {0, 3, 3, ERR_NEWER_FORMAT},    {0, 0, 0, ERR_MALFORMED}, {0, 2, 2, ERR_MALFORMED},
        {1, 0, 0, ERR_MALFORMED},       {1, 3, 3, ERR_MALFORMED}, {1, 10, 10, ERR_MALFORMED},
        {2, 8, 2, ERR_MALFORMED}, /* flags that the operation does not have */
        {3, 1, 1, ERR_MALFORMED},       {4, 4, 2, ERR_TRUNCATED}, {4, 2, 0, ERR_MALFORMED},
        {7, 0xff, 0xff, ERR_TRUNCATED}, {8, 6, 2, ERR_TRUNCATED}, {11, 0xff, 0xff, ERR_TRUNCATED},
    };
    for (size_t i = 0; i < ARRAY_COUNT(changes); i++) {
        uint8_t octets[64];
        size_t size = encode(&put, octets, sizeof(octets));
        octets[changes[i].at] = changes[i].put_value;
        CU_ASSERT_EQUAL(decode_exactly(octets, size), changes[i].error);
        size = encode(&delete_range, octets, sizeof(octets));
        octets[changes[i].at] = changes[i].delete_value;
        CU_ASSERT_EQUAL(decode_exactly(octets, size), changes[i].error);
    }
    uint8_t octets[64];
    size_t size = encode(&delete_range, octets, sizeof(octets));
    octets[12] = 1; /* a delete has no lease */
    CU_ASSERT_EQUAL(decode_exactly(octets, size), ERR_MALFORMED);
    /* both sizes at their most do not wrap to the right sum */
    size = encode(&put, octets, sizeof(octets));
    memset(octets + 4, 0xff, 8);
    CU_ASSERT_EQUAL(decode_exactly(octets, size), ERR_TRUNCATED);
}

/* A newer header may be shorter than ours: the format is looked at first. */
static void newer_format_is_named_before_anything_else(void)
{
    static const uint8_t octets[] = {COMMAND_FORMAT + 1};
    CU_ASSERT_EQUAL(decode_exactly(octets, 1), ERR_NEWER_FORMAT);
}

/* ---- operations of format 2 --------------------------------------------------------------------- */

#define STAMP 0x1112131415161718

static const uint8_t two_ids[] = {7,    0,    0,    0,    0,    0,    0,    0,
                                  0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static const struct command newer[] = {
    {.op = COMMAND_TXN,
     .key = {.data = (const uint8_t *)"k", .size = 1},
     .body = {.data = (const uint8_t *)"body", .size = 4}},
    {.op = COMMAND_TXN},
    {.op = COMMAND_COMPACT, .flags = COMMAND_PHYSICAL, .revision = 77},
    {.op = COMMAND_COMPACT, .revision = -1},
    {.op = COMMAND_LEASE_GRANT, .lease_id = -9, .cluster_time_us = STAMP, .ttl_s = 60},
    {.op = COMMAND_LEASE_REVOKE, .lease_id = 5},
    {.op = COMMAND_LEASE_KEEPALIVE,
     .ids = {.data = two_ids, .size = sizeof(two_ids)},
     .cluster_time_us = STAMP},
    {.op = COMMAND_LEASE_EXPIRE, .lease_id = 5, .cluster_time_us = STAMP, .deadline_us = 99},
    {.op = COMMAND_CLOCK, .cluster_time_us = STAMP},
};

static void newer_operations_go_there_and_back(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(newer); i++) {
        uint8_t octets[64];
        struct command back;
        size_t size = encode(&newer[i], octets, sizeof(octets));
        CU_ASSERT_EQUAL(octets[0], 2);
        CU_ASSERT_EQUAL(octets[1], newer[i].op);
        CU_ASSERT_EQUAL_FATAL(command_decode(view_of(octets, size), &back), OK);
        CU_ASSERT_TRUE(same(&newer[i], &back));
        CU_ASSERT_EQUAL(back.cluster_time_us, newer[i].cluster_time_us);
        CU_ASSERT_EQUAL(back.ttl_s, newer[i].ttl_s);
        CU_ASSERT_EQUAL(back.deadline_us, newer[i].deadline_us);
        for (size_t cut = 0; cut < size; cut++) {
            CU_ASSERT_EQUAL(decode_exactly(octets, cut), ERR_TRUNCATED);
        }
        CU_ASSERT_EQUAL(decode_exactly(octets, size + 1), ERR_MALFORMED);
        octets[0] = 1; /* the operations of format 1 are these two alone */
        CU_ASSERT_EQUAL(decode_exactly(octets, size), ERR_MALFORMED);
        octets[0] = COMMAND_FORMAT + 1;
        CU_ASSERT_EQUAL(decode_exactly(octets, size), ERR_NEWER_FORMAT);
    }
    uint8_t octets[64];
    size_t size = encode(&put, octets, sizeof(octets));
    octets[0] = 2;
    CU_ASSERT_EQUAL(decode_exactly(octets, size), ERR_MALFORMED);
}

static void ids_of_a_keepalive(void)
{
    const struct command c = {.op = COMMAND_LEASE_KEEPALIVE,
                              .ids = {.data = two_ids, .size = sizeof(two_ids)}};
    CU_ASSERT_EQUAL(command_id_count(&c), 2);
    CU_ASSERT_EQUAL(command_id_at(&c, 0), 7);
    CU_ASSERT_EQUAL(command_id_at(&c, 1), -2);
    uint8_t octets[64];
    size_t size = encode(&c, octets, sizeof(octets));
    CU_ASSERT_EQUAL(size, COMMAND_HEADER_BYTES + 8 + 16);
    octets[8] = 8 + 12; /* an id and a half */
    CU_ASSERT_EQUAL(decode_exactly(octets, size - 4), ERR_MALFORMED);
    octets[8] = 8; /* none at all */
    CU_ASSERT_EQUAL(decode_exactly(octets, size - 16), ERR_MALFORMED);
    octets[8] = 4; /* no stamp */
    CU_ASSERT_EQUAL(decode_exactly(octets, size - 20), ERR_MALFORMED);
}

static void what_an_operation_does_not_have_is_refused(void)
{
    static const struct {
        size_t command, at;
        uint8_t value;
    } changes[] = {
        {0, 2, 1},  {0, 12, 1},                                  /* txn: flags, number */
        {2, 2, 9},                                               /* compact: a flag of others */
        {4, 2, 1},  {5, 2, 8},  {6, 2, 1}, {7, 3, 1}, {8, 2, 4}, /* flags */
        {6, 12, 1}, {8, 19, 1},                                  /* number */
    };
    for (size_t i = 0; i < ARRAY_COUNT(changes); i++) {
        uint8_t octets[64];
        size_t size = encode(&newer[changes[i].command], octets, sizeof(octets));
        octets[changes[i].at] = changes[i].value;
        CU_ASSERT_EQUAL(decode_exactly(octets, size), ERR_MALFORMED);
    }
    /* a key where there is none: the second field gives an octet to it */
    static const size_t keyless[] = {4, 6, 7, 8};
    for (size_t i = 0; i < ARRAY_COUNT(keyless); i++) {
        uint8_t octets[64];
        size_t size = encode(&newer[keyless[i]], octets, sizeof(octets));
        octets[4]++;
        octets[8]--;
        CU_ASSERT_EQUAL(decode_exactly(octets, size), ERR_MALFORMED);
    }
    uint8_t octets[64] = {0};
    size_t size = encode(&newer[5], octets, sizeof(octets));
    octets[8] = 1; /* revoke with a second field */
    CU_ASSERT_EQUAL(decode_exactly(octets, size + 1), ERR_MALFORMED);
    struct command nobody = newer[4];
    nobody.lease_id = 0;
    size = encode(&nobody, octets, sizeof(octets));
    CU_ASSERT_EQUAL(decode_exactly(octets, size), ERR_MALFORMED); /* an id is drawn before */
}

static void the_stamp_is_written_where_there_is_room_for_one(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(newer); i++) {
        uint8_t octets[64] = {0}, before[64];
        struct command back;
        size_t size = encode(&newer[i], octets, sizeof(octets));
        memcpy(before, octets, sizeof(before));
        command_stamp(octets, size, STAMP + 1);
        CU_ASSERT_EQUAL_FATAL(command_decode(view_of(octets, size), &back), OK);
        if (newer[i].cluster_time_us != 0) {
            CU_ASSERT_EQUAL(back.cluster_time_us, STAMP + 1);
            back.cluster_time_us = STAMP;
            CU_ASSERT_TRUE(same(&newer[i], &back));
            CU_ASSERT_EQUAL(back.ttl_s, newer[i].ttl_s);
            CU_ASSERT_EQUAL(back.deadline_us, newer[i].deadline_us);
        } else {
            CU_ASSERT_EQUAL(memcmp(before, octets, sizeof(before)), 0);
        }
    }
    static const struct command *const plain[] = {&put, &delete_range};
    for (size_t i = 0; i < ARRAY_COUNT(plain); i++) {
        uint8_t octets[64] = {0}, before[64];
        size_t size = encode(plain[i], octets, sizeof(octets));
        memcpy(before, octets, sizeof(before));
        command_stamp(octets, size, STAMP);
        CU_ASSERT_EQUAL(memcmp(before, octets, sizeof(before)), 0);
    }
    uint8_t torn[27] = {2, COMMAND_CLOCK};
    uint8_t untouched[27] = {2, COMMAND_CLOCK};
    command_stamp(torn, sizeof(torn), STAMP); /* from a client or a peer: any octets */
    CU_ASSERT_EQUAL(memcmp(torn, untouched, sizeof(torn)), 0);
    uint8_t strange[40] = {2, 200};
    command_stamp(strange, sizeof(strange), STAMP);
    CU_ASSERT_EQUAL(strange[20], 0);
}

static bool txn_grows(struct txn_op *success, struct txn_op *failure)
{
    struct txn_body body = {.success = success,
                            .success_count = success != NULL ? 1 : 0,
                            .failure = failure,
                            .failure_count = failure != NULL ? 1 : 0};
    struct buffer octets = {0};
    txn_body_encode(&body, &octets);
    struct command txn = {.op = COMMAND_TXN, .body = view_of(octets.data, octets.size)};
    bool grows = command_grows(&txn);
    buffer_free(&octets);
    return grows;
}

/* What is refused when there is little room: a put in whatever branch, however deep; never what takes away. */
static void what_may_need_room(void)
{
    static const enum command_op growing[] = {COMMAND_PUT, COMMAND_LEASE_GRANT};
    static const enum command_op others[] = {COMMAND_DELETE_RANGE, COMMAND_COMPACT,
                                             COMMAND_LEASE_REVOKE, COMMAND_LEASE_KEEPALIVE,
                                             COMMAND_LEASE_EXPIRE, COMMAND_CLOCK};
    for (size_t i = 0; i < ARRAY_COUNT(growing); i++) {
        CU_ASSERT_TRUE(command_grows(&(struct command){.op = growing[i]}));
    }
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        CU_ASSERT_FALSE(command_grows(&(struct command){.op = others[i]}));
    }
    struct txn_op put_op = {.kind = TXN_PUT, .key = view_of_text("k")};
    struct txn_op removal = {.kind = TXN_DELETE_RANGE, .key = view_of_text("k")};
    struct txn_op range = {.kind = TXN_RANGE, .range = {.key = view_of_text("k")}};
    CU_ASSERT_TRUE(txn_grows(&put_op, NULL));
    CU_ASSERT_TRUE(txn_grows(&removal, &put_op));
    CU_ASSERT_FALSE(txn_grows(&removal, &range));
    CU_ASSERT_FALSE(txn_grows(NULL, NULL));
    struct txn_body inner = {.failure = &put_op, .failure_count = 1};
    struct txn_op nested = {.kind = TXN_TXN, .txn = &inner};
    CU_ASSERT_TRUE(txn_grows(&nested, NULL));
    CU_ASSERT_TRUE(
        command_grows(&(struct command){.op = COMMAND_TXN, .body = view_of_text("\x01nonsense")}));
}

SUITE("base command", TEST(encoding_is_the_documented_one), TEST(commands_go_there_and_back),
      TEST(every_cut_and_every_tail_is_refused), TEST(each_field_is_checked),
      TEST(newer_format_is_named_before_anything_else), TEST(newer_operations_go_there_and_back),
      TEST(ids_of_a_keepalive), TEST(what_an_operation_does_not_have_is_refused),
      TEST(the_stamp_is_written_where_there_is_room_for_one), TEST(what_may_need_room))
