/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_txn.c: a client's octets as requests of KV, Lock and Election; and the log's octets as a transaction's
 * body. What a request becomes must come back from the log as itself.
 */
#include "base.h"

#include "api/rpc_election.h"
#include "api/rpc_lock.h"
#include "api/rpc_txn.h"

#include <string.h>

#define REQUEST_MAX 1572864

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void request(struct view in, size_t ops_max)
{
    struct txn_request r;
    if (rpc_txn_decode(in, ops_max, REQUEST_MAX, &r) != OK) {
        return;
    }
    struct txn_body *body = NULL;
    ASSERT(txn_body_decode(bytes_view(&r.body), &body) == OK);
    ASSERT(txn_body_is_read_only(body) == r.read_only);
    ASSERT(view_equal(txn_body_first_key(body), r.first_key));
    struct buffer again = {0};
    txn_body_encode(body, &again);
    ASSERT(view_equal(view_of(again.data, again.size), bytes_view(&r.body)));
    buffer_free(&again);
    mem_free(body);
    bytes_free(&r.body);
}

static void small_ones(struct view in)
{
    struct command command;
    struct query query;
    struct lock_request lock;
    struct campaign_request campaign;
    struct leader_request leader;
    struct view text;
    bool read = rpc_put_decode(in, REQUEST_MAX, &command) == OK;
    read |= rpc_delete_range_decode(in, REQUEST_MAX, &command) == OK;
    read |= rpc_range_decode(in, &query) == OK;
    read |= rpc_compact_decode(in, &command) == OK;
    read |= rpc_lock_decode(in, &lock) == OK;
    read |= rpc_unlock_decode(in, &text) == OK;
    read |= rpc_campaign_decode(in, &campaign) == OK;
    read |= rpc_proclaim_decode(in, &leader) == OK;
    read |= rpc_resign_decode(in, &leader) == OK;
    read |= rpc_leader_decode(in, &text) == OK;
    UNUSED(read);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct view in = view_of(data + 1, size - 1);
    switch (data[0] % 3) {
    case 0:
        request(in, data[0]);
        break;
    case 1:
        small_ones(in);
        break;
    default: {
        struct txn_body *body = NULL;
        if (txn_body_decode(in, &body) == OK) {
            struct buffer again = {0};
            txn_body_encode(body, &again);
            ASSERT(view_equal(view_of(again.data, again.size), in));
            buffer_free(&again);
            mem_free(body);
        }
        break;
    }
    }
    return 0;
}
