/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that the encoding of commands is the one command.h describes, octet for octet (raft.db's views
 * read it in place), that it goes there and back, and that whatever is not such an encoding is refused;
 * and that a query's copy stands on its own.
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
    } changes[] =
        {
            {0, 2, 2, ERR_NEWER_FORMAT}, {0, 0, 0, ERR_MALFORMED},
            {1, 0, 0, ERR_MALFORMED},    {1, 3, 3, ERR_MALFORMED},
            {2, 8, 2, ERR_MALFORMED}, /* flags that the operation does not have */
            {3, 1, 1, ERR_MALFORMED},    {4, 4, 2, ERR_TRUNCATED},
            {4, 2, 0, ERR_MALFORMED},    {7, 0xff, 0xff, ERR_TRUNCATED},
            {8, 6, 2, ERR_TRUNCATED},    {11, 0xff, 0xff, ERR_TRUNCATED},
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

static void query_copy_stands_on_its_own(void)
{
    char key[] = "abc", end[] = "abd";
    struct query from = {.key = view_of(key, 3),
                         .range_end = view_of(end, 3),
                         .limit = 7,
                         .revision = 8,
                         .sort_order = SORT_DESCEND,
                         .sort_target = SORT_MOD,
                         .keys_only = true};
    struct query *copy = query_create(&from);
    memset(key, 'x', 3);
    memset(end, 'x', 3);
    CU_ASSERT_TRUE(view_equal(copy->key, view_of_text("abc")));
    CU_ASSERT_TRUE(view_equal(copy->range_end, view_of_text("abd")));
    CU_ASSERT_EQUAL(copy->limit, 7);
    CU_ASSERT_EQUAL(copy->revision, 8);
    CU_ASSERT_EQUAL(copy->sort_order, SORT_DESCEND);
    CU_ASSERT_EQUAL(copy->sort_target, SORT_MOD);
    CU_ASSERT_TRUE(copy->keys_only);
    mem_free(copy);
    from = (struct query){.limit = 1};
    copy = query_create(&from);
    CU_ASSERT_EQUAL(copy->key.size, 0);
    CU_ASSERT_EQUAL(copy->range_end.size, 0);
    mem_free(copy);
}

SUITE("base command", TEST(encoding_is_the_documented_one), TEST(commands_go_there_and_back),
      TEST(every_cut_and_every_tail_is_refused), TEST(each_field_is_checked),
      TEST(newer_format_is_named_before_anything_else), TEST(query_copy_stands_on_its_own))
