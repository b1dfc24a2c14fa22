/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_rpc_error.c: each error a client can meet, with etcd's code and literal (sheet §3), and that no
 * error goes out without a text.
 */
#include "base.h"
#include "suite.h"

#include "api/rpc_error.h"

static void texts_are_etcds(void)
{
    static const struct {
        enum err error;
        uint8_t code;
        const char *text;
    } expected[] = {
        {OK, 0, ""},
        {ERR_KEY_EMPTY, 3, "etcdserver: key is not provided"},
        {ERR_KEY_NOT_FOUND, 3, "etcdserver: key not found"},
        {ERR_VALUE_PROVIDED, 3, "etcdserver: value is provided"},
        {ERR_LEASE_PROVIDED, 3, "etcdserver: lease is provided"},
        {ERR_TOO_MANY_OPS, 3, "etcdserver: too many operations in txn request"},
        {ERR_INVALID_SORT, 3, "etcdserver: invalid sort option"},
        {ERR_COMPACTED, 11, "etcdserver: mvcc: required revision has been compacted"},
        {ERR_FUTURE_REVISION, 11, "etcdserver: mvcc: required revision is a future revision"},
        {ERR_NO_SPACE_LEFT, 8, "etcdserver: mvcc: database space exceeded"},
        {ERR_LEASE_NOT_FOUND, 5, "etcdserver: requested lease not found"},
        {ERR_TOO_LARGE, 3, "etcdserver: request is too large"},
        {ERR_OVERLOAD, 8, "etcdserver: too many requests"},
        {ERR_NO_LEADER, 14, "etcdserver: no leader"},
        {ERR_NOT_LEADER, 14, "etcdserver: leader changed"},
        {ERR_LEADER_CHANGED, 14, "etcdserver: leader changed"},
        {ERR_TOO_FAR_BEHIND, 14, "etcdserver: too far behind the leader"},
        {ERR_STOPPED, 14, "etcdserver: server stopped"},
        {ERR_TIMEOUT, 14, "etcdserver: request timed out"},
        {ERR_CORRUPT, 15, "etcdserver: corrupt cluster"},
        {ERR_UNIMPLEMENTED, 12, "holdfast: not built yet"},
        {ERR_MALFORMED, 13, "grpc: error unmarshalling request: malformed protobuf"},
        {ERR_IO, 2, "input/output error"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        struct rpc_error got = rpc_error_of(expected[i].error);
        CU_ASSERT_EQUAL(got.code, expected[i].code);
        CU_ASSERT_STRING_EQUAL(got.text, expected[i].text);
    }
}

static void every_error_has_an_answer(void)
{
    for (int error = OK + 1; error < ERR_COUNT; error++) {
        struct rpc_error got = rpc_error_of((enum err)error);
        CU_ASSERT_TRUE(got.code >= 1);
        CU_ASSERT_TRUE(got.code <= 16);
        CU_ASSERT_PTR_NOT_NULL_FATAL(got.text);
        CU_ASSERT_TRUE(got.text[0] != 0);
    }
}

SUITE("api rpc_error", TEST(texts_are_etcds), TEST(every_error_has_an_answer))
