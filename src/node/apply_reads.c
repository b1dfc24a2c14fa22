/* SPDX-License-Identifier: Apache-2.0 */
/* apply_reads.c: see apply_reads.h. */
#include "apply_reads.h"

#include <stdio.h>
#include <string.h>

#define APPLY_READ_ROWS_MAX    500 /* rows of one read handled in one go */
#define APPLY_READS_ACTIVE_MAX 64  /* sliced reads worked on side by side; the rest queue */
#define APPLY_CHARGE_BYTES     65536 /* an answer grows by this much between two looks at its credit */
#define APPLY_READS_QUEUED_MAX                                                                     \
    65536 /* waiting or active; a client that hangs up leaves its reads here */

void apply_fail(enum err error, const char *what)
{
    char detail[200];
    (void)snprintf(detail, sizeof(detail), "action=%s error=\"%s\"", what, err_text(error));
    if (error == ERR_NEWER_FORMAT) {
        actor_fatal(EXIT_CODE_DATA_FORMAT, "entry of a newer version", detail);
    }
    actor_fatal(EXIT_CODE_DISK, "kv.db failed", detail);
}

struct actor *apply_client(const struct node_actors *links, uint64_t request_id)
{
    size_t index = REQUEST_CLIENT_OF(request_id);
    return index < links->client_count ? links->clients[index] : NULL;
}

static void give_back(const struct node_actors *links, uint64_t charged)
{
    if (charged > 0) {
        credits_give(links->answer_bytes, charged);
    }
}

void apply_reply(const struct node_actors *links, uint64_t request_id, struct result **result,
                 uint64_t charged)
{
    struct actor *client = apply_client(links, request_id);
    if (client == NULL) {
        result_free(result);
        give_back(links, charged);
        return;
    }
    struct client_reply *answer = MSG_NEW(struct client_reply, CLIENT_REPLY, release_client_reply);
    answer->request_id = request_id;
    answer->error = OK;
    answer->result = *result;
    if (charged > 0) {
        answer->credits = links->answer_bytes;
        answer->charged = charged;
    }
    *result = NULL;
    ACTOR_SEND(client, answer);
}

static void reads_push(struct pending_reads *queue, struct pending_read read)
{
    QUEUE_RESERVE(queue->items, queue->first, queue->count, queue->capacity);
    queue->items[queue->first + queue->count++] = read;
}

static void refuse_read(struct apply_reads *r, struct read_request *request)
{
    struct actor *client = apply_client(r->links, request->request_id);
    if (client != NULL) {
        client_refuse(client, request->request_id, ERR_OVERLOAD);
    }
    MSG_FREE(request);
}

/* Answers that are being gathered and answers that wait to be sent share the clients' credit for octets;
 * small ones are not worth counting. False: there is none left. */
static bool charge(struct apply_reads *r, struct pending_read *pending)
{
    uint64_t bytes = kv_read_bytes(pending->read);
    if (r->links->answer_bytes == NULL || bytes < pending->charged + APPLY_CHARGE_BYTES) {
        return true;
    }
    if (!credits_take(r->links->answer_bytes, bytes - pending->charged)) {
        return false;
    }
    pending->charged = bytes;
    return true;
}

/* Work on a read for one slice. True: finished and answered. */
static bool read_work(struct apply_reads *r, struct kv *kv, struct pending_read *pending)
{
    if (pending->read == NULL) {
        pending->read = kv_read_start(kv, &pending->request->query);
    }
    bool done = false;
    enum err error = kv_read_step(kv, pending->read, APPLY_READ_ROWS_MAX, &done);
    if (error != OK) {
        apply_fail(error, "read");
    }
    if (!charge(r, pending)) {
        struct result *partial = kv_read_finish(&pending->read);
        result_free(&partial);
        give_back(r->links, pending->charged);
        refuse_read(r, pending->request);
        return true;
    }
    if (!done) {
        return false;
    }
    struct result *result = kv_read_finish(&pending->read);
    r->answered++;
    apply_reply(r->links, pending->request->request_id, &result, pending->charged);
    MSG_FREE(pending->request);
    return true;
}

static void read_begin(struct apply_reads *r, struct kv *kv, struct read_request *request)
{
    struct pending_read pending = {.request = request};
    if (r->active.count < APPLY_READS_ACTIVE_MAX && read_work(r, kv, &pending)) {
        return;
    }
    reads_push(&r->active, pending);
}

void reads_take(struct apply_reads *r, struct kv *kv, struct read_request *request, uint64_t now_us)
{
    if (request->deadline_us < now_us) {
        MSG_FREE(request); /* the client has been told already */
        return;
    }
    if (r->waiting.count + r->active.count >= APPLY_READS_QUEUED_MAX) {
        refuse_read(r, request);
        return;
    }
    if (r->held || request->read_index > kv_applied_index(kv)) {
        reads_push(&r->waiting, (struct pending_read){.request = request});
        return;
    }
    read_begin(r, kv, request);
}

/* Reads whose index has been reached begin, and those too late for their clients go. In the order of
 * coming, which is the order of read indexes: a later leader's commit index is not below an earlier one's. */
void reads_wake(struct apply_reads *r, struct kv *kv, uint64_t now_us)
{
    uint64_t applied = r->held ? 0 : kv_applied_index(kv);
    struct pending_reads *queue = &r->waiting;
    while (queue->count > 0) {
        struct read_request *request = queue->items[queue->first].request;
        if ((r->held || request->read_index > applied) && request->deadline_us >= now_us) {
            break;
        }
        queue->first++;
        queue->count--;
        reads_take(r, kv, request, now_us);
    }
    if (queue->count == 0) {
        queue->first = 0;
    }
}

static void read_drop(struct apply_reads *r, struct pending_read *pending)
{
    give_back(r->links, pending->charged);
    if (pending->read != NULL) {
        struct result *result = kv_read_finish(&pending->read);
        result_free(&result);
    }
    MSG_FREE(pending->request);
}

/* What a client no longer waits for is not worked on: else a queue of large reads that has grown beyond
 * the request timeout would stay that long, with nobody ever getting an answer. */
void reads_work(struct apply_reads *r, struct kv *kv, uint64_t now_us)
{
    size_t left = 0;
    struct pending_reads *queue = &r->active;
    for (size_t i = 0; i < queue->count; i++) {
        struct pending_read *pending = &queue->items[queue->first + i];
        bool worked_on = i < APPLY_READS_ACTIVE_MAX;
        if (pending->request->deadline_us < now_us) {
            read_drop(r, pending);
        } else if (!worked_on || !read_work(r, kv, pending)) {
            queue->items[queue->first + left++] = *pending;
        }
    }
    queue->count = left;
    if (left == 0) {
        queue->first = 0;
    }
}

uint64_t reads_deadline_us(const struct apply_reads *r, uint64_t now_us)
{
    if (r->active.count > 0) {
        return now_us; /* it goes on at once, after whatever came in meanwhile */
    }
    /* A read whose index is not reached before its client has been told goes; without a look at that time it
     * would stay as long as nothing is applied, and all behind it. */
    if (r->waiting.count > 0) {
        uint64_t told_us = r->waiting.items[r->waiting.first].request->deadline_us;
        return told_us < UINT64_MAX ? told_us + 1 : UINT64_MAX;
    }
    return UINT64_MAX;
}

void reads_hold(struct apply_reads *r, enum err error)
{
    r->held = true;
    for (size_t i = 0; i < r->active.count; i++) {
        struct pending_read *pending = &r->active.items[r->active.first + i];
        struct actor *client = apply_client(r->links, pending->request->request_id);
        if (client != NULL) {
            client_refuse(client, pending->request->request_id, error);
        }
        read_drop(r, pending);
    }
    r->active.first = r->active.count = 0;
}

static void drop_reads(struct apply_reads *r, struct pending_reads *queue)
{
    for (size_t i = 0; i < queue->count; i++) {
        read_drop(r, &queue->items[queue->first + i]);
    }
    mem_free(queue->items);
}

void reads_go_on(struct apply_reads *r)
{
    r->held = false;
}

void reads_free(struct apply_reads *r)
{
    drop_reads(r, &r->waiting);
    drop_reads(r, &r->active);
}
