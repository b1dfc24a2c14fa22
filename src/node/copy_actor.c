/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy_actor.c: reads kv.db as a whole, for those who ask: a hash of it (HashKV), or a copy of it as one
 * file in chunks, for a client (Snapshot) or a member that lacks what the log no longer holds (Raft §7). And the
 * other end of the latter: copy_incoming.c. Connections of its own, read transactions of its own, in slices: neither the
 * writer nor the state machine waits.
 *
 * In: COPY_BEGIN (client -> apply -> here: kv.db holds by then everything that was applied when it was
 * asked) and COPY_CANCEL (the same way), COPY_ACK from clients, COPY_GO, COPY_STOP, COPY_CHUNK and COPY_DISCARD
 * from raft. Out: CLIENT_COPY, RAFT_SNAPSHOT_READY, RAFT_SNAPSHOT_CHUNK, RAFT_CHUNK_TAKEN.
 *
 * Not here: what the answers look like (api), how far kv.db is behind (apply), forcing a commit (apply).
 *
 * Invariants
 *  1. Memory does not depend on the store's size: one slice of a hash, COPY_WINDOW_BYTES per receiver. A member's
 *     window is smaller (COPY_MEMBER_WINDOW_BYTES), as its heartbeats come behind it in the same socket.
 *  2. A receiver gets a copy that was begun after it asked. Receivers that wait share the next one.
 *  3. A slot's file is removed when its last receiver is done, and before anything else at the start.
 *  4. An error ends what it concerns and nothing more: these are reads, and copies nobody depends on.
 *  5. A receiver that takes nothing for COPY_STALL_US is refused: the slots are few, others wait for them.
 */
#include "copy_incoming.h"
#include "node.h"

#include "../base/sha256.h"

#include <string.h>

#define COPY_HASHES_MAX       64 /* that wait; further ones are refused */
#define COPY_RECEIVERS_MAX    16 /* of copies, waiting or being served; further ones are refused */
#define COPY_HASH_ROWS        1000
#define COPY_PAGES            256   /* 1 MiB at a time */
#define COPY_CHUNK_BYTES      32768 /* etcd's, in one message to a client */
#define COPY_CHUNKS_PER_ROUND 16
#define COPY_WINDOW_BYTES     ((uint64_t)512 * 1024) /* sent to one receiver and not acknowledged */

#define COPY_STALL_US            (60 * UINT64_C(1000000))
#define COPY_MEMBER_CHUNK_BYTES  (128 * 1024)
#define COPY_MEMBER_WINDOW_BYTES ((uint64_t)512 * 1024)
#define COPY_BURST_US            UINT64_C(100000) /* of the rate limit */

#define NO_SLOT UINT32_MAX

struct receiver {
    uint64_t number; /* of the asking call; 0: free place, or a member */
    uint64_t member; /* that needs it; 0: a call */
    bool going;      /* member: it is ready and wanted */
    bool told;       /* member: that it is ready */
    uint64_t
        digested;  /* octets that are in the digest; below offset: a member's, being made up for */
    uint32_t slot; /* NO_SLOT: waits for the next copy */
    uint64_t offset;      /* octets sent */
    uint64_t outstanding; /* of them not acknowledged */
    uint64_t heard_us;    /* when it last took some, or could begin to */
    struct sha256 digest;
    uint8_t sum[SHA256_BYTES]; /* member: the digest, once all was read */
    bool ended;                /* member: the last chunk was sent */
};

struct slot {
    struct kv_snapshot *snapshot; /* NULL: free */
    bool complete;
    uint64_t begun_us;
};

struct copy_actor {
    char data_dir[PATH_TEXT_MAX + 1];
    uint64_t generation;
    const struct node_actors *links;
    size_t client_count;
    struct actor *clients[CLIENTS_MAX];

    struct kv_hasher *hasher; /* opened at the first hash */
    bool hashing;             /* the first of `hashes` is under way */
    struct copy_request *hashes[COPY_HASHES_MAX];
    size_t hash_count;

    struct copy_incoming incoming;
    uint64_t bytes_per_second;             /* to all members together; 0: as fast as it goes */
    uint64_t allowed_bytes, allowed_at_us; /* what may go at once, as of then */

    struct slot slots[KV_SNAPSHOT_SLOTS];
    struct receiver receivers[COPY_RECEIVERS_MAX];
};

static struct client_copy *answer_new(uint64_t number)
{
    struct client_copy *m = MSG_NEW(struct client_copy, CLIENT_COPY, release_client_copy);
    m->number = number;
    return m;
}

static void answer_send(struct copy_actor *a, struct client_copy **m)
{
    size_t client = REQUEST_CLIENT_OF((*m)->number);
    if (client < a->client_count) {
        ACTOR_SEND(a->clients[client], *m);
    } else {
        MSG_FREE(*m);
    }
}

static void refuse(struct copy_actor *a, uint64_t number, enum err error)
{
    struct client_copy *m = answer_new(number);
    m->error = error;
    answer_send(a, &m);
}

/* ---- hashes --------------------------------------------------------------------------------------- */

static void hash_done(struct copy_actor *a, enum err error)
{
    struct copy_request *request = a->hashes[0];
    a->hash_count--;
    memmove(&a->hashes[0], &a->hashes[1], a->hash_count * sizeof(a->hashes[0]));
    a->hashing = false;
    struct client_copy *m = answer_new(request->number);
    m->error = error;
    m->revision = request->revision;
    if (error == OK) {
        kv_hasher_result(a->hasher, &m->hash);
    } else {
        kv_hasher_close(
            &a->hasher); /* whatever was wrong with the connection, the next one is new */
    }
    answer_send(a, &m);
    MSG_FREE(request);
}

static enum err hash_begin(struct copy_actor *a)
{
    char problem[512];
    enum err error = OK;
    if (a->hasher == NULL) {
        error = kv_hasher_open(a->data_dir, GROUP_DEFAULT, a->generation, &a->hasher, problem,
                               sizeof(problem));
        if (error != OK) {
            log_event(LOG_WARNING, "hash failed", "reason=\"%s\"", problem);
            return error;
        }
    }
    error = kv_hasher_begin(a->hasher, a->hashes[0]->hash_revision);
    a->hashing = error == OK;
    return error;
}

static void hash_work(struct copy_actor *a)
{
    bool done = false;
    enum err error = a->hashing ? OK : hash_begin(a);
    if (error == OK) {
        error = kv_hasher_step(a->hasher, COPY_HASH_ROWS, &done);
    }
    if (error != OK || done) {
        hash_done(a, error);
    }
}

/* The one under way is finished all the same: its number finds nobody. */
static void hash_cancel(struct copy_actor *a, uint64_t number)
{
    for (size_t i = a->hashing ? 1 : 0; i < a->hash_count; i++) {
        if (a->hashes[i]->number == number) {
            MSG_FREE(a->hashes[i]);
            a->hash_count--;
            memmove(&a->hashes[i], &a->hashes[i + 1], (a->hash_count - i) * sizeof(a->hashes[0]));
            return;
        }
    }
}

static bool is_receiver(const struct receiver *r)
{
    return r->number != 0 || r->member != 0;
}

/* ---- copies --------------------------------------------------------------------------------------- */

/* The call's (member 0) or the member's (number 0); both 0: a free place. */
static struct receiver *receiver_find(struct copy_actor *a, uint64_t number, uint64_t member)
{
    for (size_t i = 0; i < COPY_RECEIVERS_MAX; i++) {
        if (a->receivers[i].number == number && a->receivers[i].member == member) {
            return &a->receivers[i];
        }
    }
    return NULL;
}

static bool slot_in_use(const struct copy_actor *a, uint32_t slot)
{
    for (size_t i = 0; i < COPY_RECEIVERS_MAX; i++) {
        if (is_receiver(&a->receivers[i]) && a->receivers[i].slot == slot) {
            return true;
        }
    }
    return false;
}

static void slot_free(struct copy_actor *a, uint32_t slot)
{
    kv_snapshot_close(&a->slots[slot].snapshot);
    a->slots[slot].complete = false;
    enum err error = kv_snapshot_remove(a->data_dir, GROUP_DEFAULT, slot);
    if (error != OK) {
        log_event(LOG_WARNING, "copy not removed", "slot=%" PRIu32 " error=\"%s\"", slot,
                  err_text(error));
    }
}

static void receiver_end(struct receiver *r)
{
    sha256_drop(&r->digest);
    *r = (struct receiver){.number = 0, .slot = NO_SLOT};
}

static void tell_ready(struct copy_actor *a, struct receiver *r, enum err error,
                       const struct kv_snapshot_facts *facts)
{
    struct snapshot_ready *m = MSG_NEW(struct snapshot_ready, RAFT_SNAPSHOT_READY, NULL);
    m->member = r->member;
    m->error = error;
    if (facts != NULL) {
        m->index = facts->applied_index;
        m->term = facts->applied_term;
        m->total_bytes = facts->bytes;
    }
    r->told = true;
    ACTOR_SEND(a->links->raft, m);
}

static void receiver_refuse(struct copy_actor *a, struct receiver *r, enum err error)
{
    if (r->member != 0) {
        tell_ready(a, r, error, NULL);
    } else {
        refuse(a, r->number, error);
    }
    receiver_end(r);
}

/* Everybody of a slot, or (NO_SLOT) everybody who waits. */
static void receivers_refuse(struct copy_actor *a, uint32_t slot, enum err error)
{
    for (size_t i = 0; i < COPY_RECEIVERS_MAX; i++) {
        struct receiver *r = &a->receivers[i];
        if (is_receiver(r) && r->slot == slot) {
            receiver_refuse(a, r, error);
        }
    }
}

static uint32_t copying(const struct copy_actor *a)
{
    for (uint32_t i = 0; i < KV_SNAPSHOT_SLOTS; i++) {
        if (a->slots[i].snapshot != NULL && !a->slots[i].complete) {
            return i;
        }
    }
    return NO_SLOT;
}

static uint32_t free_slot(const struct copy_actor *a)
{
    for (uint32_t i = 0; i < KV_SNAPSHOT_SLOTS; i++) {
        if (a->slots[i].snapshot == NULL) {
            return i;
        }
    }
    return NO_SLOT;
}

/* Slots nobody reads any more go; who waits gets the next free one, one copy at a time. */
static void slots_look(struct copy_actor *a, uint64_t now_us)
{
    char problem[512];
    for (uint32_t i = 0; i < KV_SNAPSHOT_SLOTS; i++) {
        if (a->slots[i].snapshot != NULL && !slot_in_use(a, i)) {
            slot_free(a, i);
        }
    }
    uint32_t slot = free_slot(a);
    if (slot == NO_SLOT || copying(a) != NO_SLOT || !slot_in_use(a, NO_SLOT)) {
        return;
    }
    enum err error = kv_snapshot_begin(a->data_dir, GROUP_DEFAULT, a->generation, slot,
                                       &a->slots[slot].snapshot, problem, sizeof(problem));
    if (error != OK) {
        log_event(LOG_WARNING, "copy failed", "reason=\"%s\"", problem);
        receivers_refuse(a, NO_SLOT, error);
        return;
    }
    a->slots[slot].begun_us = now_us;
    for (size_t i = 0; i < COPY_RECEIVERS_MAX; i++) {
        struct receiver *r = &a->receivers[i];
        if (is_receiver(r) && r->slot == NO_SLOT) {
            r->slot = slot;
        }
    }
}

static void copy_work(struct copy_actor *a, uint32_t slot, uint64_t now_us)
{
    struct slot *s = &a->slots[slot];
    struct kv_snapshot_facts facts;
    enum err error = kv_snapshot_step(s->snapshot, COPY_PAGES, &s->complete);
    if (error != OK) {
        log_event(LOG_WARNING, "copy failed", "error=\"%s\"", err_text(error));
        receivers_refuse(a, slot, error);
        slot_free(a, slot);
    } else if (s->complete) {
        kv_snapshot_facts(s->snapshot, &facts);
        log_event(LOG_INFO, "copied",
                  "file=kv.db bytes=%" PRIu64 " revision=%" PRId64 " applied=%" PRIu64
                  " took_ms=%" PRIu64,
                  facts.bytes, facts.revision, facts.applied_index, (now_us - s->begun_us) / 1000);
    }
}

/* Octets of the copy from `offset` on; those that are not in the digest yet go there. Nothing between may be
 * lacking. False: the receiver has ended. */
static bool octets_read(struct copy_actor *a, struct receiver *r, struct kv_snapshot *from,
                        uint64_t offset, struct bytes *out)
{
    ASSERT(offset <= r->digested);
    enum err error = kv_snapshot_read(from, offset, out->data, out->size);
    if (error != OK) {
        log_event(LOG_WARNING, "copy cannot be read", "error=\"%s\"", err_text(error));
        receiver_refuse(a, r, error);
        return false;
    }
    if (r->digested == 0 && r->digest.context == NULL) {
        sha256_start(&r->digest);
    }
    if (offset + out->size > r->digested) {
        size_t known = (size_t)(r->digested - offset);
        sha256_add(&r->digest, view_of(out->data + known, out->size - known));
        r->digested = offset + out->size;
    }
    return true;
}

/* Octets up to `size` from where the receiver is. False: it has ended. */
static bool chunk_read(struct copy_actor *a, struct receiver *r, struct kv_snapshot *from,
                       struct bytes *out)
{
    if (!octets_read(a, r, from, r->offset, out)) {
        return false;
    }
    r->offset += out->size;
    return true;
}

/* Towards where a member is that goes on with an earlier copy as of the same entry: the digest at the end is of the
 * whole, so that it notices if the two are not one. False: the receiver has ended. */
static bool digest_ahead(struct copy_actor *a, struct receiver *r, struct kv_snapshot *from)
{
    uint64_t left = r->offset - r->digested;
    struct bytes octets = {.size = left < COPY_MEMBER_CHUNK_BYTES ? (size_t)left
                                                                  : COPY_MEMBER_CHUNK_BYTES};
    octets.data = mem_alloc(octets.size);
    bool read = octets_read(a, r, from, r->digested, &octets);
    bytes_free(&octets);
    return read;
}

static void chunk_to_client(struct copy_actor *a, struct receiver *r, struct kv_snapshot *from,
                            const struct kv_snapshot_facts *facts)
{
    uint64_t left = facts->bytes - r->offset;
    size_t size = left < COPY_CHUNK_BYTES ? (size_t)left : COPY_CHUNK_BYTES;
    struct client_copy *m = answer_new(r->number);
    m->revision = facts->revision;
    m->octets.size = size == 0 ? SHA256_BYTES : size;
    m->octets.data = mem_alloc(m->octets.size);
    if (size == 0) { /* etcd: the digest goes as a last message of its own */
        sha256_finish(&r->digest, m->octets.data);
        m->last = true;
        answer_send(a, &m);
        receiver_end(r);
        return;
    }
    if (!chunk_read(a, r, from, &m->octets)) {
        MSG_FREE(m);
        return;
    }
    r->outstanding += size;
    m->remaining = left - size;
    answer_send(a, &m);
}

/* What the rate limit leaves now; at most a burst's worth is saved up. */
static uint64_t allowed_bytes(struct copy_actor *a, uint64_t now_us)
{
    if (a->bytes_per_second == 0) {
        return UINT64_MAX;
    }
    uint64_t burst = a->bytes_per_second * COPY_BURST_US / 1000000 + COPY_MEMBER_CHUNK_BYTES;
    uint64_t passed_us = now_us - a->allowed_at_us;
    uint64_t more = passed_us >= COPY_BURST_US ? burst : a->bytes_per_second * passed_us / 1000000;
    if (more > 0) {
        a->allowed_at_us = now_us;
        a->allowed_bytes = a->allowed_bytes + more < burst ? a->allowed_bytes + more : burst;
    }
    return a->allowed_bytes;
}

static void chunk_to_member(struct copy_actor *a, struct receiver *r, struct kv_snapshot *from,
                            const struct kv_snapshot_facts *facts)
{
    uint64_t left = facts->bytes - r->offset;
    size_t size = left < COPY_MEMBER_CHUNK_BYTES ? (size_t)left : COPY_MEMBER_CHUNK_BYTES;
    struct snapshot_chunk *m =
        MSG_NEW(struct snapshot_chunk, RAFT_SNAPSHOT_CHUNK, release_snapshot_chunk);
    m->member = r->member;
    m->index = facts->applied_index;
    m->term = facts->applied_term;
    m->offset = r->offset;
    m->total_bytes = facts->bytes;
    m->done = size == 0;
    m->octets.size = m->done ? SHA256_BYTES : size;
    m->octets.data = mem_alloc(m->octets.size);
    if (m->done) {
        if (r->digest.context != NULL) { /* once; then it is kept, as the last chunk may be lost */
            sha256_finish(&r->digest, r->sum);
        }
        memcpy(m->octets.data, r->sum, SHA256_BYTES);
        r->ended = true;
    } else if (!chunk_read(a, r, from, &m->octets)) {
        MSG_FREE(m);
        return;
    }
    r->outstanding += size;
    if (a->bytes_per_second != 0) {
        a->allowed_bytes -= size < a->allowed_bytes ? size : a->allowed_bytes;
    }
    ACTOR_SEND(a->links->raft, m);
}

/* When it wants to be looked at again, as receiver_work. */
static uint64_t member_work(struct copy_actor *a, struct receiver *r, struct kv_snapshot *from,
                            const struct kv_snapshot_facts *facts, uint64_t now_us)
{
    if (!r->told) {
        tell_ready(a, r, OK, facts);
    }
    for (int i = 0; i < COPY_CHUNKS_PER_ROUND; i++) {
        if (!r->going || r->ended || r->outstanding >= COPY_MEMBER_WINDOW_BYTES) {
            return UINT64_MAX;
        }
        if (r->digested < r->offset) {
            if (!digest_ahead(a, r, from)) {
                return UINT64_MAX;
            }
            continue;
        }
        if (allowed_bytes(a, now_us) < COPY_MEMBER_CHUNK_BYTES) {
            uint64_t wait_us =
                (uint64_t)COPY_MEMBER_CHUNK_BYTES * 1000000 / a->bytes_per_second + 1;
            return now_us + wait_us;
        }
        chunk_to_member(a, r, from, facts);
        if (r->member == 0) {
            return UINT64_MAX;
        }
    }
    return now_us;
}

/* When it wants to be looked at again: UINT64_MAX if nothing but messages moves it. */
static uint64_t receiver_work(struct copy_actor *a, struct receiver *r, uint64_t now_us)
{
    struct kv_snapshot_facts facts;
    if (!is_receiver(r) || r->slot == NO_SLOT || !a->slots[r->slot].complete) {
        return UINT64_MAX;
    }
    struct kv_snapshot *from = a->slots[r->slot].snapshot;
    kv_snapshot_facts(from, &facts);
    if (r->member != 0) { /* whoever sends it notices when it stalls (raft_snapshots.c) */
        return member_work(a, r, from, &facts, now_us);
    }
    if (r->outstanding == 0) {
        r->heard_us = now_us;
    } else if (now_us - r->heard_us >= COPY_STALL_US) {
        log_event(LOG_INFO, "copy given up", "reason=\"its receiver does not read\"");
        refuse(a, r->number, ERR_TIMEOUT);
        receiver_end(r);
        return UINT64_MAX;
    }
    for (int i = 0; i < COPY_CHUNKS_PER_ROUND && r->outstanding < COPY_WINDOW_BYTES; i++) {
        chunk_to_client(a, r, from, &facts);
        if (r->number == 0) {
            return UINT64_MAX;
        }
    }
    return r->outstanding < COPY_WINDOW_BYTES ? now_us : r->heard_us + COPY_STALL_US;
}

/* The member has everything up to the offset; perhaps of an earlier copy as of the same entry, so that it is farther
 * than this one was ever read. */
static void take_go(struct copy_actor *a, const struct copy_go *go)
{
    struct receiver *r = receiver_find(a, 0, go->member);
    if (r == NULL || !r->told) {
        return; /* of an earlier copy */
    }
    struct kv_snapshot_facts facts;
    kv_snapshot_facts(a->slots[r->slot].snapshot, &facts);
    if (go->offset > facts.bytes) { /* another file: a later copy is of a later entry */
        receiver_refuse(a, r, ERR_INVALID);
        return;
    }
    r->going = true;
    if (go->again || go->offset > r->offset) {
        r->offset = go->offset;
        r->ended = false;
    }
    r->outstanding = r->offset - go->offset;
}

/* ---- handlers ------------------------------------------------------------------------------------- */

static void started(void *self, uint64_t now_us)
{
    struct copy_actor *a = self;
    UNUSED(now_us);
    a->client_count = a->links->client_count;
    memcpy(a->clients, a->links->clients, a->client_count * sizeof(a->clients[0]));
    for (uint32_t i = 0; i < KV_SNAPSHOT_SLOTS; i++) {
        slot_free(a, i); /* what an earlier process left */
    }
}

static void take_request(struct copy_actor *a, struct copy_request *request)
{
    if (!request->snapshot && a->hash_count < COPY_HASHES_MAX) {
        a->hashes[a->hash_count++] = request;
        return;
    }
    struct receiver *r = request->snapshot ? receiver_find(a, 0, 0) : NULL;
    struct receiver *before = request->member != 0 ? receiver_find(a, 0, request->member) : NULL;
    if (before != NULL) { /* raft forgot about that one */
        receiver_end(before);
        r = before;
    }
    if (r == NULL && request->member != 0) {
        struct receiver nobody = {.member = request->member};
        tell_ready(a, &nobody, ERR_OVERLOAD, NULL);
    } else if (r == NULL) {
        refuse(a, request->number, ERR_OVERLOAD);
    } else {
        r->number = request->member != 0 ? 0 : request->number;
        r->member = request->member;
        r->slot = NO_SLOT;
    }
    MSG_FREE(request);
}

static void handle(void *self, struct msg *m, uint64_t now_us)
{
    struct copy_actor *a = self;
    struct receiver *r = NULL;
    switch ((enum copy_kind)m->kind) {
    case COPY_BEGIN:
        take_request(a, (struct copy_request *)m);
        return;
    case COPY_ACK: {
        const struct copy_ack *ack = (const struct copy_ack *)m;
        r = ack->number != 0 ? receiver_find(a, ack->number, 0) : NULL;
        if (r != NULL) {
            ASSERT(ack->bytes <= r->outstanding);
            r->outstanding -= ack->bytes;
            r->heard_us = now_us;
        }
        break;
    }
    case COPY_GO:
        take_go(a, (const struct copy_go *)m);
        break;
    case COPY_STOP:
        r = receiver_find(a, 0, ((const struct copy_go *)m)->member);
        if (r != NULL && r->member != 0) {
            receiver_end(r);
        }
        break;
    case COPY_CHUNK: {
        struct snapshot_chunk *chunk = (struct snapshot_chunk *)m;
        copy_incoming_chunk(&a->incoming, a->data_dir, a->generation, a->links->raft, &chunk);
        return;
    }
    case COPY_DISCARD:
        copy_incoming_discard(&a->incoming, a->data_dir);
        break;
    case COPY_INSTALL: /* what is under way goes on with the table it began with */
        a->generation = ((const struct raft_index *)m)->index;
        copy_incoming_installed(&a->incoming);
        kv_hasher_close(&a->hasher);
        if (a->hashing) {
            hash_done(a, ERR_LEADER_CHANGED);
        }
        m->kind = RAFT_INSTALLED; /* the next one goes beside it now */
        actor_send_base(a->links->raft, &m);
        return;
    case COPY_CANCEL: {
        uint64_t number = ((const struct copy_ack *)m)->number;
        r = number != 0 ? receiver_find(a, number, 0) : NULL;
        if (r != NULL) {
            receiver_end(r);
        }
        hash_cancel(a, number);
        break;
    }
    }
    msg_free_base(&m);
}

static void flush(void *self, uint64_t now_us)
{
    struct copy_actor *a = self;
    uint64_t at_us = UINT64_MAX;
    if (a->hash_count > 0) {
        hash_work(a);
    }
    slots_look(a, now_us);
    uint32_t slot = copying(a);
    if (slot != NO_SLOT) {
        copy_work(a, slot, now_us);
        at_us = now_us;
    }
    for (size_t i = 0; i < COPY_RECEIVERS_MAX; i++) {
        uint64_t work_us = receiver_work(a, &a->receivers[i], now_us);
        at_us = work_us < at_us ? work_us : at_us;
    }
    slots_look(a, now_us);
    bool more = a->hash_count > 0 || copying(a) != NO_SLOT;
    actor_set_deadline(actor_self(), more ? now_us : at_us);
}

/* The flush that follows goes on with the next slice. */
static void expired(void *self, uint64_t now_us)
{
    UNUSED(self);
    UNUSED(now_us);
}

static void stop(void *self, uint64_t now_us)
{
    UNUSED(self);
    UNUSED(now_us);
    actor_stopped(actor_self());
}

static void destroy(void *self)
{
    struct copy_actor *a = self;
    for (size_t i = 0; i < a->hash_count; i++) {
        MSG_FREE(a->hashes[i]);
    }
    for (size_t i = 0; i < COPY_RECEIVERS_MAX; i++) {
        receiver_end(&a->receivers[i]);
    }
    for (size_t i = 0; i < KV_SNAPSHOT_SLOTS; i++) {
        kv_snapshot_close(&a->slots[i].snapshot);
    }
    kv_hasher_close(&a->hasher);
    kv_incoming_close(&a->incoming.file);
    mem_free(a);
}

static const struct actor_ops copy_actor_ops = {
    .started = started,
    .handle = handle,
    .flush = flush,
    .expired = expired,
    .stop = stop,
    .destroy = destroy,
};

struct actor *copy_actor_create(const char *data_dir, uint64_t generation,
                                uint64_t bytes_per_second, const struct node_actors *actors)
{
    struct copy_actor *a = mem_zalloc(sizeof(*a));
    ASSERT(strlen(data_dir) <= PATH_TEXT_MAX);
    memcpy(a->data_dir, data_dir, strlen(data_dir) + 1);
    a->links = actors;
    a->generation = generation;
    a->bytes_per_second = bytes_per_second;
    for (size_t i = 0; i < COPY_RECEIVERS_MAX; i++) {
        a->receivers[i].slot = NO_SLOT;
    }
    return actor_create(&copy_actor_ops, a, "copy");
}
