/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_model.c: the simulator's model itself: what etcd's documentation says of transactions and leases in a few cases
 * worked out by hand, so that model and store cannot be wrong in the same way unnoticed.
 */
#include "../../sim/model.h"
#include "command.h"
#include "suite.h"

#include <string.h>

static struct model model;
static uint64_t index_next;

static const char *commit(const struct command *c, uint64_t request_id)
{
    uint8_t octets[1024];
    char why[MODEL_TEXT_MAX];
    bool is_new = false;
    ASSERT(command_size(c) <= sizeof(octets));
    command_encode(c, octets);
    const struct entry e = {.index = ++index_next,
                            .term = 1,
                            .origin = 7,
                            .request_id = request_id,
                            .type = ENTRY_COMMAND,
                            .data = view_of(octets, command_size(c))};
    CU_ASSERT_TRUE_FATAL(model_committed(&model, &e, &is_new, why));
    return model.entries[model.count - 1].answer;
}

static const char *put(const char *key, uint64_t value, int64_t lease)
{
    struct buffer octets = {0};
    buffer_u64(&octets, value);
    const struct command c = {.op = COMMAND_PUT,
                              .key = view_of_text(key),
                              .value = view_of(octets.data, octets.size),
                              .lease = lease};
    const char *answer = commit(&c, index_next + 1);
    buffer_free(&octets);
    return answer;
}

static const char *transact(const struct txn_body *body)
{
    struct buffer octets = {0};
    txn_body_encode(body, &octets);
    const struct command c = {.op = COMMAND_TXN, .body = view_of(octets.data, octets.size)};
    const char *answer = commit(&c, index_next + 1);
    buffer_free(&octets);
    return answer;
}

static void begin(void)
{
    model_start(&model);
    index_next = 0;
}

/* One revision for all changes; a range sees what came before it; a nested one decides on the store as it was. */
static void a_transaction_is_one_revision_and_sees_itself(void)
{
    static const uint8_t value[8] = {9};
    begin();
    CU_ASSERT_STRING_EQUAL(put("k01", 5, 0), "r2 n0");
    struct txn_compare there = {.target = TXN_VERSION, .number = 1, .key = view_of_text("k01")};
    struct txn_op look = {.kind = TXN_RANGE, .range = {.key = view_of_text("k01")}};
    struct txn_body inner = {
        .compares = &there, .compare_count = 1, .success = &look, .success_count = 1};
    struct txn_op ops[] = {
        {.kind = TXN_PUT,
         .key = view_of_text("k01"),
         .value = view_of(value, 8),
         .flags = COMMAND_PREV_KV},
        look,
        {.kind = TXN_TXN, .txn = &inner},
        {.kind = TXN_DELETE_RANGE, .key = view_of_text("k02"), .range_end = view_of_text("k09")},
    };
    const struct txn_body body = {.success = ops, .success_count = ARRAY_COUNT(ops)};
    CU_ASSERT_STRING_EQUAL(
        transact(&body),
        "r3 n0 yes [2 r3 n0 {k01 5+8 c2 m2 v1 l0}] [1 r3 n1 {k01 9+8 c2 m3 v2 l0}] "
        "[4 r0 n0 yes [1 r3 n1 {k01 9+8 c2 m3 v2 l0}]] [3 r3 n0]");
    CU_ASSERT_EQUAL(model.revision, 3);
    model_free(&model);
}

/* A compare of the value of what is not there holds never, any other as if it were 0. */
static void what_is_not_there_counts_as_zero_but_has_no_value(void)
{
    begin();
    struct txn_compare c = {
        .result = TXN_NOT_EQUAL, .target = TXN_VALUE, .key = view_of_text("k01")};
    const struct txn_body body = {.compares = &c, .compare_count = 1};
    CU_ASSERT_STRING_EQUAL(transact(&body), "r1 n0");
    c.target = TXN_CREATE;
    c.result = TXN_EQUAL;
    CU_ASSERT_STRING_EQUAL(transact(&body), "r1 n0 yes");
    model_free(&model);
}

/* One refused put refuses the whole. */
static void a_refused_operation_refuses_all(void)
{
    begin();
    struct txn_op ops[] = {
        {.kind = TXN_DELETE_RANGE, .key = view_of_text("k01")},
        {.kind = TXN_PUT, .key = view_of_text("k02"), .lease = 77},
    };
    const struct txn_body body = {.success = ops, .success_count = ARRAY_COUNT(ops)};
    (void)put("k01", 1, 0);
    CU_ASSERT_STRING_EQUAL(transact(&body), "r2 error requested lease not found");
    CU_ASSERT_PTR_NOT_NULL(model_at(&model, 1, 2));
    model_free(&model);
}

/* Trap 53: an expiry that names an older renewal is void; one that names the newest takes the keys along. */
static void an_expiry_names_the_renewal(void)
{
    struct buffer ids = {0};
    begin();
    struct command c = {
        .op = COMMAND_LEASE_GRANT, .lease_id = 5, .ttl_s = 2, .cluster_time_us = 1000000};
    CU_ASSERT_STRING_EQUAL(commit(&c, 100), "r1 n0 <5 2>");
    (void)put("k03", 1, 5);
    buffer_u64(&ids, 5);
    buffer_u64(&ids, 6);
    c = (struct command){.op = COMMAND_LEASE_KEEPALIVE,
                         .ids = view_of(ids.data, ids.size),
                         .cluster_time_us = 2500000};
    CU_ASSERT_STRING_EQUAL(commit(&c, 101), "r2 n0 <5 2> <6 0>");
    c = (struct command){.op = COMMAND_LEASE_EXPIRE,
                         .lease_id = 5,
                         .cluster_time_us = 5000000,
                         .deadline_us = 3000000};
    (void)commit(&c, 0);
    CU_ASSERT_EQUAL(model.leases_alive, 1);
    c.deadline_us = 4500000;
    (void)commit(&c, 0);
    CU_ASSERT_EQUAL(model.leases_alive, 0);
    CU_ASSERT_TRUE(model.leases[0].expired);
    CU_ASSERT_EQUAL(model.revision, 3);
    CU_ASSERT_PTR_NULL(model_at(&model, 3, 3));
    buffer_free(&ids);
    model_free(&model);
}

SUITE("sim: model", TEST(a_transaction_is_one_revision_and_sees_itself),
      TEST(what_is_not_there_counts_as_zero_but_has_no_value),
      TEST(a_refused_operation_refuses_all), TEST(an_expiry_names_the_renewal))
