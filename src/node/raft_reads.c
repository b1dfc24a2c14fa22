/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_reads.c: linearizable reads wait here, by the batch of the core that they belong to, until its index is
 * confirmed; then they go to apply, or back to their clients with an error.
 */
#include "raft_state.h"

#include <string.h>

static uint64_t read_size(const struct read_request *request)
{
    const struct query *query = request->query;
    return sizeof(*request) + (query == NULL ? 0 : query->key.size + query->range_end.size);
}

void raft_reads_take(struct raft_actor *a, struct read_request *request, uint64_t now_us)
{
    if (a->seen.removed) {
        raft_actor_refuse(a, request->request_id, ERR_REMOVED);
        MSG_FREE(request);
        return;
    }
    uint64_t bytes = a->read_bytes + read_size(request);
    if (a->read_bytes > 0 && bytes > a->config.raft.uncommitted_bytes_max) { /* as in hold */
        raft_actor_refuse(a, request->request_id, ERR_OVERLOAD);
        MSG_FREE(request);
        return;
    }
    struct raft_event event = {.type = RAFT_EVENT_READ, .now_us = now_us};
    raft_actor_step(a, &event);
    struct read_batch *batch = a->batch_count > 0 ? &a->batches[a->batch_count - 1] : NULL;
    if (batch == NULL || batch->number != event.read.batch) {
        ASSERT(batch == NULL || batch->number < event.read.batch);
        ARRAY_RESERVE(a->batches, a->batch_capacity, a->batch_count + 1);
        ASSERT(a->batches != NULL);
        batch = &a->batches[a->batch_count++];
        memset(batch, 0, sizeof(*batch));
        batch->number = event.read.batch;
    }
    ARRAY_RESERVE(batch->requests, batch->capacity, batch->count + 1);
    batch->requests[batch->count++] = request;
    a->read_bytes = bytes;
}

static void answer_read(struct raft_actor *a, struct read_request *request,
                        const struct raft_read_answer *answer)
{
    if (answer->error != OK) {
        raft_actor_refuse(a, request->request_id, answer->error);
        MSG_FREE(request);
        return;
    }
    if (request->members) {
        size_t client = REQUEST_CLIENT_OF(request->request_id);
        if (client < a->to.client_count) {
            struct node_status *status = MSG_NEW(struct node_status, CLIENT_STATUS, NULL);
            status->request_id = request->request_id;
            raft_actor_status(a, status);
            ACTOR_SEND(a->to.clients[client], status);
        }
        MSG_FREE(request);
        return;
    }
    request->read_index = answer->index;
    if (request->query != NULL && request->query->kind == QUERY_LEASE_TTL) {
        struct raft_status status;
        raft_status(a->core, &status);
        request->query->cluster_time_us = status.cluster_time_us;
    }
    request->base.kind = APPLY_READ;
    ACTOR_SEND(a->to.apply, request);
}

void raft_reads_answer(struct raft_actor *a, const struct raft_read_answer *answer)
{
    for (size_t i = 0; i < a->batch_count; i++) {
        struct read_batch *batch = &a->batches[i];
        if (batch->number != answer->batch) {
            continue;
        }
        for (size_t k = 0; k < batch->count; k++) {
            a->read_bytes -= read_size(batch->requests[k]);
            answer_read(a, batch->requests[k], answer);
        }
        mem_free(batch->requests);
        memmove(batch, batch + 1, (a->batch_count - i - 1) * sizeof(*batch));
        a->batch_count--;
        return;
    }
}

/* Reads whose clients have been told go; their batches may stay empty until the core answers. */
void raft_reads_expire(struct raft_actor *a, uint64_t now_us)
{
    for (size_t i = 0; i < a->batch_count; i++) {
        struct read_batch *batch = &a->batches[i];
        size_t left = 0;
        for (size_t k = 0; k < batch->count; k++) {
            if (batch->requests[k]->deadline_us < now_us) {
                a->read_bytes -= read_size(batch->requests[k]);
                MSG_FREE(batch->requests[k]);
            } else {
                batch->requests[left++] = batch->requests[k];
            }
        }
        batch->count = left;
    }
}

void raft_reads_free(struct raft_actor *a)
{
    for (size_t i = 0; i < a->batch_count; i++) {
        for (size_t k = 0; k < a->batches[i].count; k++) {
            MSG_FREE(a->batches[i].requests[k]);
        }
        mem_free(a->batches[i].requests);
    }
    mem_free(a->batches);
}
