/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_rpc_txn.c: transactions and compactions between protobuf and our own forms: requests made by
 * protobuf-c come out as the same tree, results go out as what protobuf-c reads back; what etcd refuses
 * before it proposes; and what nobody may do with nesting and counts (sheet §1.3, §2.2, §2.5).
 */
#include "base.h"
#include "suite.h"

#include "api/rpc_txn.h"
#include "rpc.pb-c.h"

#define OPS_MAX     128
#define REQUEST_MAX 1572864
#define VIEW(text)  view_of((text), sizeof(text) - 1)

static ProtobufCBinaryData octets_of(const char *text)
{
    static uint8_t room[16][16];
    static size_t turn;
    uint8_t *at = room[turn++ % 16];
    size_t size = strlen(text);
    memcpy(at, text, size);
    return (ProtobufCBinaryData){.len = size, .data = at};
}

static struct bytes pack(const Etcdserverpb__TxnRequest *m)
{
    struct bytes out = {.size = etcdserverpb__txn_request__get_packed_size(m)};
    out.data = mem_alloc(out.size);
    (void)etcdserverpb__txn_request__pack(m, out.data);
    return out;
}

static enum err decode(const Etcdserverpb__TxnRequest *m, struct txn_request *out)
{
    struct bytes in = pack(m);
    enum err error = rpc_txn_decode(bytes_view(&in), OPS_MAX, REQUEST_MAX, out);
    bytes_free(&in);
    return error;
}

/* ---- requests ------------------------------------------------------------------------------------- */

/* Every member of every message lands in its place; nested bodies too. */
static void requests_become_trees(void)
{
    Etcdserverpb__Compare compares[6];
    Etcdserverpb__Compare *compare_list[6];
    for (size_t i = 0; i < 6; i++) {
        etcdserverpb__compare__init(&compares[i]);
        compares[i].key = octets_of("ck");
        compare_list[i] = &compares[i];
    }
    compares[0].result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER;
    compares[0].target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    compares[0].version = 5;
    compares[1].target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    compares[1].target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    compares[1].create_revision = 6;
    compares[2].target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compares[2].target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compares[2].mod_revision = -7;
    compares[3].target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
    compares[3].result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL;
    compares[3].target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
    compares[3].value = octets_of("cv");
    compares[4].target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE;
    compares[4].result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS;
    compares[4].target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
    compares[4].lease = 9;
    compares[4].range_end = octets_of("ce");
    /* a union whose member is not the target's counts as zero, as in etcd */
    compares[5].target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compares[5].target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    compares[5].version = 5;

    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = octets_of("rk");
    range.range_end = octets_of("re");
    range.limit = 1;
    range.revision = 2;
    range.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    range.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE;
    range.keys_only = 1;
    range.min_mod_revision = 3;
    range.max_mod_revision = 4;
    range.min_create_revision = 5;
    range.max_create_revision = 6;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = octets_of("pk");
    put.value = octets_of("pv");
    put.lease = 77;
    put.prev_kv = 1;
    Etcdserverpb__DeleteRangeRequest delete = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    delete.key = octets_of("dk");
    delete.range_end = octets_of("dl");
    delete.prev_kv = 1;

    Etcdserverpb__RequestOp ops[4];
    Etcdserverpb__RequestOp *op_list[4];
    for (size_t i = 0; i < 4; i++) {
        etcdserverpb__request_op__init(&ops[i]);
        op_list[i] = &ops[i];
    }
    ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    ops[0].request_range = &range;
    ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    ops[1].request_put = &put;
    ops[2].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    ops[2].request_delete_range = &delete;
    Etcdserverpb__TxnRequest nested = ETCDSERVERPB__TXN_REQUEST__INIT;
    nested.n_failure = 1;
    nested.failure = &op_list[2];
    ops[3].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    ops[3].request_txn = &nested;

    Etcdserverpb__TxnRequest m = ETCDSERVERPB__TXN_REQUEST__INIT;
    m.n_compare = 6;
    m.compare = compare_list;
    m.n_success = 2;
    m.success = op_list;
    m.n_failure = 1;
    m.failure = &op_list[3];

    struct bytes in = pack(&m);
    struct txn_request request;
    CU_ASSERT_EQUAL_FATAL(rpc_txn_decode(bytes_view(&in), OPS_MAX, REQUEST_MAX, &request), OK);
    CU_ASSERT_FALSE(request.read_only);
    CU_ASSERT_FALSE(request.serializable);
    CU_ASSERT_TRUE(view_equal(request.first_key, VIEW("ck")));
    bytes_free(&in);
    struct txn_body *body = NULL;
    CU_ASSERT_EQUAL_FATAL(txn_body_decode(bytes_view(&request.body), &body), OK);
    CU_ASSERT_EQUAL_FATAL(body->compare_count, 6);
    static const int64_t numbers[] = {5, 6, -7, 0, 9, 0};
    for (size_t i = 0; i < 6; i++) {
        const struct txn_compare *c = &body->compares[i];
        CU_ASSERT_TRUE(view_equal(c->key, VIEW("ck")));
        CU_ASSERT_EQUAL((int)c->result, (int)compares[i].result);
        CU_ASSERT_EQUAL((int)c->target, (int)compares[i].target);
        CU_ASSERT_EQUAL(c->number, numbers[i]);
        CU_ASSERT_TRUE(view_equal(c->value, i == 3 ? VIEW("cv") : VIEW("")));
        CU_ASSERT_TRUE(view_equal(c->range_end, i == 4 ? VIEW("ce") : VIEW("")));
    }
    CU_ASSERT_EQUAL_FATAL(body->success_count, 2);
    const struct query *q = &body->success[0].range;
    CU_ASSERT_EQUAL(body->success[0].kind, TXN_RANGE);
    CU_ASSERT_TRUE(view_equal(q->key, VIEW("rk")) && view_equal(q->range_end, VIEW("re")));
    CU_ASSERT_EQUAL(q->limit, 1);
    CU_ASSERT_EQUAL(q->revision, 2);
    CU_ASSERT_EQUAL(q->sort_order, SORT_DESCEND);
    CU_ASSERT_EQUAL(q->sort_target, SORT_VALUE);
    CU_ASSERT_TRUE(q->keys_only && !q->count_only && !q->serializable);
    CU_ASSERT_EQUAL(q->min_mod_revision, 3);
    CU_ASSERT_EQUAL(q->max_mod_revision, 4);
    CU_ASSERT_EQUAL(q->min_create_revision, 5);
    CU_ASSERT_EQUAL(q->max_create_revision, 6);
    const struct txn_op *p = &body->success[1];
    CU_ASSERT_EQUAL(p->kind, TXN_PUT);
    CU_ASSERT_TRUE(view_equal(p->key, VIEW("pk")) && view_equal(p->value, VIEW("pv")));
    CU_ASSERT_EQUAL(p->lease, 77);
    CU_ASSERT_EQUAL(p->flags, COMMAND_PREV_KV);
    CU_ASSERT_EQUAL_FATAL(body->failure_count, 1);
    CU_ASSERT_EQUAL_FATAL(body->failure[0].kind, TXN_TXN);
    const struct txn_body *inside = body->failure[0].txn;
    CU_ASSERT_EQUAL(inside->compare_count + inside->success_count, 0);
    CU_ASSERT_EQUAL_FATAL(inside->failure_count, 1);
    const struct txn_op *d = &inside->failure[0];
    CU_ASSERT_EQUAL(d->kind, TXN_DELETE_RANGE);
    CU_ASSERT_TRUE(view_equal(d->key, VIEW("dk")) && view_equal(d->range_end, VIEW("dl")));
    CU_ASSERT_EQUAL(d->flags, COMMAND_PREV_KV);
    mem_free(body);
    bytes_free(&request.body);
}

/* A transaction of ranges alone makes no entry; of serializable ones alone it does not ask the leader. */
static void reads_are_told_apart(void)
{
    struct txn_request request;
    /* success: range(k), failure: range(k) serializable */
    CU_ASSERT_EQUAL_FATAL(
        rpc_txn_decode(VIEW("\x12\x05\x0a\x03\x0a\x01k\x1a\x07\x0a\x05\x0a\x01k\x38\x01"), OPS_MAX,
                       1, &request),
        OK); /* the size of a command does not bound it */
    CU_ASSERT_TRUE(request.read_only);
    CU_ASSERT_FALSE(request.serializable);
    bytes_free(&request.body);
    CU_ASSERT_EQUAL_FATAL(
        rpc_txn_decode(VIEW("\x12\x07\x0a\x05\x0a\x01k\x38\x01"), OPS_MAX, 1, &request), OK);
    CU_ASSERT_TRUE(request.read_only);
    CU_ASSERT_TRUE(request.serializable);
    bytes_free(&request.body);
}

static void refusals(void)
{
    struct txn_request r = {.read_only = true};
    CU_ASSERT_EQUAL(rpc_txn_decode(VIEW("\x12\x00"), OPS_MAX, REQUEST_MAX, &r), ERR_KEY_NOT_FOUND);
    CU_ASSERT_EQUAL(rpc_txn_decode(VIEW("\x0a\x00"), OPS_MAX, REQUEST_MAX, &r), ERR_KEY_EMPTY);
    CU_ASSERT_EQUAL(rpc_txn_decode(VIEW("\x12\x02\x12\x00"), OPS_MAX, REQUEST_MAX, &r),
                    ERR_KEY_EMPTY);
    CU_ASSERT_EQUAL(rpc_txn_decode(VIEW("\x12\x05\x12\x03\x0a\x01k\x12\x05\x12\x03\x0a\x01k"),
                                   OPS_MAX, REQUEST_MAX, &r),
                    ERR_DUPLICATE_KEY);
    CU_ASSERT_EQUAL(rpc_txn_decode(VIEW("\x12\x05\x12\x03\x0a\x01k"), OPS_MAX, 10, &r),
                    ERR_TOO_LARGE);
    CU_ASSERT_EQUAL(rpc_txn_decode(VIEW("\x12\x05\x12\x03\x0a\x09k"), OPS_MAX, REQUEST_MAX, &r),
                    ERR_MALFORMED);
    CU_ASSERT_EQUAL(rpc_txn_decode(VIEW("\x12\x02\x22\x05"), OPS_MAX, REQUEST_MAX, &r),
                    ERR_MALFORMED);
    CU_ASSERT_EQUAL(rpc_txn_decode(VIEW("\x08\x01"), OPS_MAX, REQUEST_MAX, &r), ERR_MALFORMED);
    CU_ASSERT_TRUE(r.read_only); /* untouched */
    CU_ASSERT_EQUAL(rpc_txn_decode(VIEW("\x12\x05\x12\x03\x0a\x01k"), OPS_MAX, REQUEST_MAX, &r),
                    OK);
    CU_ASSERT_FALSE(r.read_only);
    bytes_free(&r.body);
}

/* 128 pass, 129 do not; a nested one has what its parent's longest list leaves (§2.5). */
static void counts(void)
{
    struct buffer in = {0};
    struct txn_request r;
    for (size_t i = 0; i < OPS_MAX; i++) {
        buffer_append(&in, "\x12\x05\x0a\x03\x0a\x01k", 7);
    }
    CU_ASSERT_EQUAL_FATAL(rpc_txn_decode(view_of(in.data, in.size), OPS_MAX, REQUEST_MAX, &r), OK);
    bytes_free(&r.body);
    buffer_append(&in, "\x12\x05\x0a\x03\x0a\x01k", 7);
    CU_ASSERT_EQUAL(rpc_txn_decode(view_of(in.data, in.size), OPS_MAX, REQUEST_MAX, &r),
                    ERR_TOO_MANY_OPS);
    buffer_free(&in);
    /* an outer list of one, an inner list of two: three are needed, not two */
    struct view nested = VIEW("\x12\x10\x22\x0e\x12\x05\x0a\x03\x0a\x01k\x12\x05\x0a\x03\x0a\x01k");
    CU_ASSERT_EQUAL(rpc_txn_decode(nested, 2, REQUEST_MAX, &r), ERR_TOO_MANY_OPS);
    CU_ASSERT_EQUAL_FATAL(rpc_txn_decode(nested, 3, REQUEST_MAX, &r), OK);
    bytes_free(&r.body);
}

/* Depth costs a level of operations each, and never stack; a wide and deep tree is refused before it costs
 * memory that is out of proportion to the message. */
static void nesting_is_bounded(void)
{
    struct txn_request r;
    struct buffer in = {0};
    for (size_t depth = 0; depth < 10000; depth++) {
        /* wrap: success { request_txn { what is there } } */
        struct buffer out = {0};
        for (unsigned field = 4; field >= 2; field -= 2) {
            size_t size = field == 4 ? in.size : out.size;
            struct buffer next = {0};
            buffer_u8(&next, (uint8_t)(field << 3 | 2));
            for (size_t rest = size;; rest >>= 7) {
                buffer_u8(&next, (uint8_t)(rest >= 0x80 ? rest | 0x80 : rest));
                if (rest < 0x80) {
                    break;
                }
            }
            buffer_append(&next, field == 4 ? in.data : out.data, size);
            buffer_free(&out);
            out = next;
        }
        buffer_free(&in);
        in = out;
        if (depth == 40) {
            CU_ASSERT_EQUAL(rpc_txn_decode(view_of(in.data, in.size), OPS_MAX, REQUEST_MAX, &r),
                            OK);
            bytes_free(&r.body);
        }
        if (depth == 130) {
            CU_ASSERT_EQUAL(rpc_txn_decode(view_of(in.data, in.size), OPS_MAX, REQUEST_MAX, &r),
                            ERR_TOO_MANY_OPS);
        }
    }
    CU_ASSERT_EQUAL(rpc_txn_decode(view_of(in.data, in.size), OPS_MAX, REQUEST_MAX, &r),
                    ERR_TOO_MANY_OPS);
    CU_ASSERT_EQUAL(rpc_txn_decode(view_of(in.data, in.size), 1000000, REQUEST_MAX, &r),
                    ERR_TOO_MANY_OPS); /* deeper than any tree of ours */
    buffer_free(&in);

    /* 60 transactions that hold 60 that hold 8 empty operations each: 28,800 in all */
    struct buffer inner = {0};
    for (size_t i = 0; i < 8; i++) {
        buffer_append(&inner, "\x12\x00", 2);
    }
    struct buffer middle = {0};
    for (size_t i = 0; i < 60; i++) {
        buffer_append(&middle, "\x12\x12\x22\x10", 4);
        buffer_append(&middle, inner.data, inner.size);
    }
    CU_ASSERT_EQUAL(middle.size, 1200);
    for (size_t i = 0; i < 60; i++) {
        buffer_append(&in, "\x12\xb3\x09\x22\xb0\x09", 6);
        buffer_append(&in, middle.data, middle.size);
    }
    CU_ASSERT_EQUAL(rpc_txn_decode(view_of(in.data, in.size), OPS_MAX, REQUEST_MAX, &r),
                    ERR_TOO_MANY_OPS);
    buffer_free(&in);
    buffer_free(&middle);
    buffer_free(&inner);
}

/* Any octets: an error or a tree, never more; every good one can be encoded and decoded. */
static void random_octets(void)
{
    uint64_t seed = 20261125;
    size_t good = 0;
    for (size_t round = 0; round < 200000; round++) {
        static const uint8_t likely[] = {0x0a, 0x12, 0x1a, 0x22, 0,    1,    2,
                                         3,    4,    5,    7,    0x38, 0x10, 'k'};
        uint8_t in[24];
        size_t size = random_below(&seed, sizeof in + 1);
        for (size_t i = 0; i < size; i++) {
            in[i] = random_below(&seed, 20) == 0 ? (uint8_t)random_next(&seed)
                                                 : likely[random_below(&seed, sizeof likely)];
        }
        struct txn_request r;
        if (rpc_txn_decode(view_of(in, size), OPS_MAX, REQUEST_MAX, &r) == OK) {
            struct txn_body *body = NULL;
            CU_ASSERT_EQUAL_FATAL(txn_body_decode(bytes_view(&r.body), &body), OK);
            CU_ASSERT_EQUAL(txn_body_is_read_only(body), r.read_only);
            mem_free(body);
            bytes_free(&r.body);
            good++;
        }
    }
    CU_ASSERT_TRUE(good > 100);
}

/* ---- responses ------------------------------------------------------------------------------------ */

static struct result *random_result(uint64_t *seed, enum txn_op_kind kind)
{
    struct result *r = result_create();
    r->revision = kind == TXN_TXN ? 0 : (int64_t)random_below(seed, 1000);
    size_t kvs = kind == TXN_TXN ? 0 : random_below(seed, kind == TXN_PUT ? 2 : 4);
    for (size_t i = 0; i < kvs; i++) {
        static const uint8_t value[300];
        struct key_value kv = {.key = VIEW("key"),
                               .value = view_of(value, random_below(seed, sizeof value)),
                               .create_revision = (int64_t)random_next(seed),
                               .mod_revision = 3,
                               .version = 1,
                               .lease = (int64_t)random_below(seed, 2)};
        result_add(r, &kv, false);
    }
    r->count = kind == TXN_RANGE || kind == TXN_DELETE_RANGE ? (int64_t)random_below(seed, 300) : 0;
    r->more = kind == TXN_RANGE && random_below(seed, 2) == 0;
    r->succeeded = kind == TXN_TXN && random_below(seed, 2) == 0;
    return r;
}

/* A tree of answers: each open transaction gets some, nested ones are opened in turn. */
static struct result *random_tree(uint64_t *seed)
{
    struct result *root = random_result(seed, TXN_TXN);
    struct result *open[64] = {root};
    size_t count = 1;
    for (size_t i = 0; i < count; i++) {
        size_t responses = random_below(seed, 5);
        open[i]->responses = mem_zalloc((responses + 1) * sizeof(struct result_response));
        open[i]->response_count = responses;
        for (size_t k = 0; k < responses; k++) {
            enum txn_op_kind kind = (enum txn_op_kind)(1 + random_below(seed, 4));
            if (kind == TXN_TXN && count == ARRAY_COUNT(open)) {
                kind = TXN_PUT;
            }
            open[i]->responses[k].kind = kind;
            open[i]->responses[k].result = random_result(seed, kind);
            if (kind == TXN_TXN) {
                open[count++] = open[i]->responses[k].result;
            }
        }
    }
    return root;
}

static bool same_pairs(size_t n, Mvccpb__KeyValue **kvs, const struct result *r)
{
    bool same = n == r->kv_count;
    for (size_t i = 0; same && i < n; i++) {
        same = view_equal(view_of(kvs[i]->key.data, kvs[i]->key.len), r->kvs[i].key) &&
               view_equal(view_of(kvs[i]->value.data, kvs[i]->value.len), r->kvs[i].value) &&
               kvs[i]->create_revision == r->kvs[i].create_revision &&
               kvs[i]->lease == r->kvs[i].lease;
    }
    return same;
}

/* An inner header holds the revision alone (§2.2). */
static bool same_inner(const Etcdserverpb__ResponseHeader *header, const struct result *r)
{
    return header != NULL && header->revision == r->revision && header->cluster_id == 0 &&
           header->member_id == 0 && header->raft_term == 0;
}

struct pair {
    const Etcdserverpb__TxnResponse *m;
    const struct result *r;
};

static void check_tree(const Etcdserverpb__TxnResponse *m, const struct result *root)
{
    struct pair open[64] = {{m, root}};
    size_t count = 1;
    for (size_t i = 0; i < count; i++) {
        const struct result *r = open[i].r;
        CU_ASSERT_EQUAL(open[i].m->succeeded != 0, r->succeeded);
        CU_ASSERT_PTR_NOT_NULL_FATAL(open[i].m->header); /* a nested one's is there and empty */
        CU_ASSERT_TRUE(i == 0 || same_inner(open[i].m->header, r));
        CU_ASSERT_EQUAL_FATAL(open[i].m->n_responses, r->response_count);
        for (size_t k = 0; k < r->response_count; k++) {
            const Etcdserverpb__ResponseOp *op = open[i].m->responses[k];
            const struct result *inner = r->responses[k].result;
            CU_ASSERT_EQUAL_FATAL((int)op->response_case, (int)r->responses[k].kind);
            switch (r->responses[k].kind) {
            case TXN_RANGE:
                CU_ASSERT_TRUE(same_inner(op->response_range->header, inner));
                CU_ASSERT_TRUE(
                    same_pairs(op->response_range->n_kvs, op->response_range->kvs, inner));
                CU_ASSERT_EQUAL(op->response_range->count, inner->count);
                CU_ASSERT_EQUAL(op->response_range->more != 0, inner->more);
                break;
            case TXN_PUT:
                CU_ASSERT_TRUE(same_inner(op->response_put->header, inner));
                CU_ASSERT_TRUE(same_pairs(op->response_put->prev_kv != NULL,
                                          &op->response_put->prev_kv, inner));
                break;
            case TXN_DELETE_RANGE:
                CU_ASSERT_TRUE(same_inner(op->response_delete_range->header, inner));
                CU_ASSERT_EQUAL(op->response_delete_range->deleted, inner->count);
                CU_ASSERT_TRUE(same_pairs(op->response_delete_range->n_prev_kvs,
                                          op->response_delete_range->prev_kvs, inner));
                break;
            case TXN_TXN:
                open[count++] = (struct pair){op->response_txn, inner};
                break;
            case TXN_NONE:
                CU_FAIL("nobody answers nothing");
                break;
            }
        }
    }
}

static void results_become_responses(void)
{
    uint64_t seed = 7;
    const struct response_header header = {
        .cluster_id = 1, .member_id = UINT64_MAX, .raft_term = 3, .revision = 1000};
    for (size_t round = 0; round < 3000; round++) {
        struct result *r = random_tree(&seed);
        struct txn_sizes sizes = {0};
        size_t size = rpc_txn_size(&header, r, &sizes);
        uint8_t *octets = mem_alloc(size); /* exactly: ASan sees one too many */
        rpc_txn_write(&header, r, &sizes, octets);
        Etcdserverpb__TxnResponse *m = etcdserverpb__txn_response__unpack(NULL, size, octets);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        CU_ASSERT_EQUAL(m->header->cluster_id, 1);
        CU_ASSERT_EQUAL(m->header->member_id, UINT64_MAX);
        CU_ASSERT_EQUAL(m->header->revision, 1000);
        check_tree(m, r);
        CU_ASSERT_EQUAL(etcdserverpb__txn_response__get_packed_size(m), size);
        etcdserverpb__txn_response__free_unpacked(m, NULL);
        mem_free(octets);
        result_free(&r);
    }
}

/* ---- Compact -------------------------------------------------------------------------------------- */

static void compact(void)
{
    struct command c = {.op = COMMAND_PUT};
    CU_ASSERT_EQUAL(rpc_compact_decode(VIEW("\x0a\x01k"), &c), ERR_MALFORMED);
    CU_ASSERT_EQUAL(c.op, COMMAND_PUT);
    CU_ASSERT_EQUAL(rpc_compact_decode(VIEW("\x08\x05\x10\x01"), &c), OK);
    CU_ASSERT_EQUAL(c.op, COMMAND_COMPACT);
    CU_ASSERT_EQUAL(c.revision, 5);
    CU_ASSERT_EQUAL(c.flags, COMMAND_PHYSICAL);
    CU_ASSERT_EQUAL(rpc_compact_decode(VIEW(""), &c), OK);
    CU_ASSERT_EQUAL(c.revision, 0);
    CU_ASSERT_EQUAL(c.flags, 0);
    const struct response_header header = {.cluster_id = 1, .revision = 300};
    uint8_t octets[64];
    size_t size = rpc_bare_size(&header);
    CU_ASSERT_TRUE_FATAL(size <= sizeof octets);
    rpc_bare_write(&header, octets);
    CU_ASSERT_TRUE(view_equal(view_of(octets, size), VIEW("\x0a\x05\x08\x01\x18\xac\x02")));
}

static void empty_transaction(void)
{
    Etcdserverpb__TxnRequest m = ETCDSERVERPB__TXN_REQUEST__INIT;
    struct txn_request r;
    CU_ASSERT_EQUAL_FATAL(decode(&m, &r), OK); /* the empty transaction is one, and reads nothing */
    CU_ASSERT_TRUE(r.read_only);
    CU_ASSERT_EQUAL(r.first_key.size, 0);
    bytes_free(&r.body);
}

SUITE("api rpc_txn", TEST(requests_become_trees), TEST(reads_are_told_apart), TEST(refusals),
      TEST(counts), TEST(nesting_is_bounded), TEST(random_octets), TEST(results_become_responses),
      TEST(compact), TEST(empty_transaction))
