/* SPDX-License-Identifier: Apache-2.0 */
/* bench_kinds.c: what each unary kind of load asks for, and what it learns from the answers. */
#include "bench.h"

#include <string.h>

#define TXN_PATH   "/etcdserverpb.KV/Txn"
#define RANGE_PATH "/etcdserverpb.KV/Range"
#define PUT_PATH   "/etcdserverpb.KV/Put"
#define GRANT_PATH "/etcdserverpb.Lease/LeaseGrant"

static ProtobufCBinaryData key_data(uint64_t number, char octets[BENCH_KEY_SIZE_MAX])
{
    size_t size = bench_key(false, number, octets);
    return cli_binary(view_of(octets, size));
}

static ProtobufCBinaryData value_data(const struct bench *bench)
{
    return (ProtobufCBinaryData){.len = bench->arguments->bench_value_bytes, .data = bench->value};
}

/* ---- put, get -------------------------------------------------------------------------------------- */

static void begin_put(struct bench *bench, struct bench_call *call)
{
    char key[BENCH_KEY_SIZE_MAX];
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    call->key = random_below(&bench->random_state, bench->arguments->bench_keys);
    request.key = key_data(call->key, key);
    request.value = value_data(bench);
    bench_unary(call, PUT_PATH, &request.base);
}

const struct bench_kind bench_put = {.name = "put", .open_loop = true, .begin = begin_put};

static void begin_get(struct bench *bench, struct bench_call *call)
{
    char key[BENCH_KEY_SIZE_MAX];
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    call->key = random_below(&bench->random_state, bench->arguments->bench_keys);
    request.key = key_data(call->key, key);
    request.serializable = bench->arguments->serializable;
    bench_unary(call, RANGE_PATH, &request.base);
}

const struct bench_kind bench_get = {.name = "get", .open_loop = true, .begin = begin_get};

/* ---- txn: a comparison that holds, and puts ------------------------------------------------------- */

static void begin_txn(struct bench *bench, struct bench_call *call)
{
    const struct cli_arguments *a = bench->arguments;
    char keys[BENCH_OPERATIONS_MAX][BENCH_KEY_SIZE_MAX];
    Etcdserverpb__PutRequest puts[BENCH_OPERATIONS_MAX];
    Etcdserverpb__RequestOp operations[BENCH_OPERATIONS_MAX];
    Etcdserverpb__RequestOp *success[BENCH_OPERATIONS_MAX];
    /* Keys an equal step apart: none comes twice. */
    uint64_t start = random_below(&bench->random_state, a->bench_keys);
    uint64_t step = a->bench_keys / a->bench_operations;
    for (uint32_t i = 0; i < a->bench_operations; i++) {
        etcdserverpb__put_request__init(&puts[i]);
        puts[i].key = key_data((start + i * step) % a->bench_keys, keys[i]);
        puts[i].value = value_data(bench);
        etcdserverpb__request_op__init(&operations[i]);
        operations[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        operations[i].request_put = &puts[i];
        success[i] = &operations[i];
    }
    Etcdserverpb__Compare holds = ETCDSERVERPB__COMPARE__INIT;
    Etcdserverpb__Compare *compares[] = {&holds};
    holds.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER;
    holds.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
    char first[BENCH_KEY_SIZE_MAX];
    holds.key = key_data(start, first);
    holds.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    holds.version = -1;
    Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    request.n_compare = 1;
    request.compare = compares;
    request.n_success = a->bench_operations;
    request.success = success;
    bench_unary(call, TXN_PATH, &request.base);
}

const struct bench_kind bench_txn = {.name = "txn", .open_loop = true, .begin = begin_txn};

/* ---- swap: all calls compare and set one key ------------------------------------------------------ */

/* Put if the key is as this call saw it last; else read it, so that the next try has a chance. */
static void begin_swap(struct bench *bench, struct bench_call *call)
{
    char key[BENCH_KEY_SIZE_MAX];
    Etcdserverpb__Compare unchanged = ETCDSERVERPB__COMPARE__INIT;
    Etcdserverpb__Compare *compares[] = {&unchanged};
    unchanged.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
    unchanged.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    unchanged.key = key_data(0, key);
    unchanged.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    unchanged.mod_revision = call->known_revision;

    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = unchanged.key;
    put.value = value_data(bench);
    Etcdserverpb__RequestOp set = ETCDSERVERPB__REQUEST_OP__INIT;
    Etcdserverpb__RequestOp *success[] = {&set};
    set.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    set.request_put = &put;

    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = unchanged.key;
    Etcdserverpb__RequestOp look = ETCDSERVERPB__REQUEST_OP__INIT;
    Etcdserverpb__RequestOp *failure[] = {&look};
    look.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    look.request_range = &range;

    Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    request.n_compare = request.n_success = request.n_failure = 1;
    request.compare = compares;
    request.success = success;
    request.failure = failure;
    bench_unary(call, TXN_PATH, &request.base);
}

static const char *swap_answered(struct bench *bench, struct bench_call *call, struct view body)
{
    Etcdserverpb__TxnResponse *answer =
        etcdserverpb__txn_response__unpack(NULL, body.size, body.data);
    const char *failure = NULL;
    if (answer == NULL || answer->n_responses != 1 || answer->header == NULL) {
        failure = "an answer that makes no sense";
    } else if (answer->succeeded) {
        call->known_revision = answer->header->revision;
        bench->swaps++;
        bench->swaps_counted += bench_counts(bench, call->due_us, bench_now_us()) ? 1 : 0;
    } else {
        const Etcdserverpb__RangeResponse *seen = answer->responses[0]->response_range;
        call->known_revision = seen != NULL && seen->n_kvs == 1 ? seen->kvs[0]->mod_revision : 0;
    }
    if (answer != NULL) {
        etcdserverpb__txn_response__free_unpacked(answer, NULL);
    }
    return failure;
}

const struct bench_kind bench_swap = {
    .name = "swap", .begin = begin_swap, .answered = swap_answered};

/* ---- grant ----------------------------------------------------------------------------------------- */

static void begin_grant(struct bench *bench, struct bench_call *call)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    request.ttl = bench->arguments->ttl_s;
    request.id = BENCH_FIRST_LEASE + (int64_t)call->number;
    bench_unary(call, GRANT_PATH, &request.base);
}

const struct bench_kind bench_grant = {.name = "grant", .begin = begin_grant};

/* ---- watched put: the value says when it was due --------------------------------------------------- */

static void begin_watched_put(struct bench *bench, struct bench_call *call)
{
    char key[BENCH_KEY_SIZE_MAX];
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    call->key = random_below(&bench->random_state, bench->arguments->bench_keys);
    size_t size = bench_key(true, call->key, key);
    request.key = cli_binary(view_of(key, size));
    memcpy(bench->value, &call->due_us, sizeof(call->due_us));
    request.value = value_data(bench);
    bench_unary(call, PUT_PATH, &request.base);
}

static const char *watched_put_answered(struct bench *bench, struct bench_call *call,
                                        struct view body)
{
    UNUSED(body);
    bench_watchers_expect(bench->watchers, call->key);
    return NULL;
}

const struct bench_kind bench_watched_put = {.name = "watch",
                                             .open_loop = true,
                                             .begin = begin_watched_put,
                                             .answered = watched_put_answered};
