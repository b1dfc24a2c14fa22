/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_reads.c: linearizable reads wait here, by the batch of the core that they belong to, until its index is
 * confirmed; then they go to apply, or back to their clients with an error.
 *
 * A read of bounded staleness is answered without a question where what an earlier one brought is young enough: an
 * answer says that everything committed before its batch was closed, by our own clock, is at or below its index. So
 * the bound rests on nothing but this clock's pace over the bound; how long a message took does not matter. Else
 * it is a linearizable read like others, and what that brings serves those after it: at most one question to the
 * leader per node and max_staleness.
 *
 * A node that lacks more than raft.read_lag_max_entries before it could answer refuses at once, so that its clients
 * go elsewhere while it catches up. A leader does not: nobody is ahead of it.
 */
#include "raft_state.h"

#include <string.h>

static uint64_t read_size(const struct read_request *request)
{
    const struct query *query = request->query;
    return sizeof(*request) + (query == NULL ? 0 : query->key.size + query->range_end.size);
}

static void join(struct raft_actor *a, struct read_request *request, uint64_t now_us)
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

void raft_reads_take(struct raft_actor *a, struct read_request *request, uint64_t now_us)
{
    if (request->max_staleness_us == 0) {
        join(a, request, now_us);
        return;
    }
    ARRAY_RESERVE(a->stale, a->stale_capacity, a->stale_count + 1);
    a->stale[a->stale_count++] = request;
}

/* To apply, which waits for the index; unless that would take too long. */
static void pass_on(struct raft_actor *a, struct read_request *request, uint64_t index,
                    const struct raft_status *status)
{
    bool leads = status->role == RAFT_LEADER;
    if (!leads && index > status->last_applied + a->config.raft.read_lag_max_entries) {
        raft_actor_refuse(a, request->request_id, ERR_TOO_FAR_BEHIND);
        MSG_FREE(request);
        return;
    }
    request->read_index = index;
    if (request->query != NULL && request->query->kind == QUERY_LEASE_TTL) {
        request->query->cluster_time_us = status->cluster_time_us;
    }
    request->base.kind = APPLY_READ;
    ACTOR_SEND(a->to.apply, request);
}

void raft_reads_flush(struct raft_actor *a, uint64_t now_us)
{
    if (a->stale_count == 0) {
        return;
    }
    struct raft_status status;
    raft_status(a->core, &status);
    uint64_t age_us = now_us - a->known_as_of_us; /* of the clock that the core was given */
    for (size_t i = 0; i < a->stale_count; i++) {
        if (a->known_as_of_us != 0 && age_us <= a->stale[i]->max_staleness_us) {
            pass_on(a, a->stale[i], a->known_index, &status);
        } else {
            join(a, a->stale[i], now_us);
        }
    }
    a->stale_count = 0;
}

static void answer_read(struct raft_actor *a, struct read_request *request,
                        const struct raft_read_answer *answer, const struct raft_status *status)
{
    if (answer->error != OK) {
        raft_actor_refuse(a, request->request_id, answer->error);
        MSG_FREE(request);
        return;
    }
    if (request->members) {
        raft_actor_answer_status(a, request->request_id);
        MSG_FREE(request);
        return;
    }
    pass_on(a, request, answer->index, status);
}

void raft_reads_answer(struct raft_actor *a, const struct raft_read_answer *answer)
{
    struct raft_status status;
    raft_status(a->core, &status);
    if (answer->error == OK && answer->as_of_us > a->known_as_of_us) {
        a->known_as_of_us = answer->as_of_us;
        a->known_index = answer->index;
    }
    for (size_t i = 0; i < a->batch_count; i++) {
        struct read_batch *batch = &a->batches[i];
        if (batch->number != answer->batch) {
            continue;
        }
        for (size_t k = 0; k < batch->count; k++) {
            a->read_bytes -= read_size(batch->requests[k]);
            answer_read(a, batch->requests[k], answer, &status);
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
    for (size_t i = 0; i < a->stale_count; i++) {
        MSG_FREE(a->stale[i]);
    }
    mem_free(a->stale);
}
