/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease.c: what entries about leases do. Rules (etcd v3 API)
 *
 *  1. A grant gives the lease its id and TTL; the deadline is now plus the TTL. An id in use is refused.
 *  2. A keepalive renews each lease it names for its whole TTL; one that does not exist is answered with
 *     TTL 0.
 *  3. Revoke and expire end the lease and delete its keys, in key order, in ONE revision; without keys
 *     there is no revision. (More keys than a revision can number take as many revisions as they need.)
 *  4. An expiry is void unless the lease has the very deadline it names, and that has come.
 *  5. Now is the greatest stamp applied. It moves first, then the entry does its work.
 *
 * Which key hangs on which lease follows from the changes of keys (write.c).
 */
#include "kv/lease.h"

#include "kv/range.h"
#include "kv/write.h"

#include <stdlib.h>

#define SECOND_US       UINT64_C(1000000)
#define LEASE_TTL_MAX_S INT64_C(9000000000) /* etcd's; 9e15 us, so sums stay far from 2^64 */
#define LEASE_TIME_MAX  (UINT64_C(1) << 62) /* 146,000 years */
#define LEASE_LOOKS_MAX 16384 /* places of the queue looked at in one kv_leases_take_due: some ms */

/* ---- entries -------------------------------------------------------------------------------------- */

static uint64_t deadline_of(const struct kv *kv, int64_t ttl_s)
{
    return kv->cluster_time_us + (uint64_t)ttl_s * SECOND_US;
}

static enum err grant_refusal(const struct kv *kv, const struct command *c)
{
    if (c->lease_id == 0 || c->ttl_s < 1 || c->ttl_s > LEASE_TTL_MAX_S) {
        return ERR_INVALID;
    }
    if (lease_table_find(&kv->leases, c->lease_id) != NULL) {
        return ERR_LEASE_EXISTS;
    }
    return kv->leases.leases.count >= LEASES_MAX ? ERR_OVERLOAD : OK;
}

static void grant(struct kv *kv, const struct command *c, struct result *result, enum err *refusal)
{
    *refusal = grant_refusal(kv, c);
    if (*refusal != OK) {
        return;
    }
    struct lease *lease = lease_table_add(&kv->leases, c->lease_id, c->ttl_s,
                                          deadline_of(kv, c->ttl_s), kv->cluster_time_us);
    lease_table_mark(&kv->leases, lease);
    if (result != NULL) {
        result_add_lease(result, &(struct lease_info){.id = lease->id,
                                                      .ttl_s = lease->ttl_s,
                                                      .granted_ttl_s = lease->ttl_s});
    }
}

static void keepalive(struct kv *kv, const struct command *c, struct result *result)
{
    size_t count = command_id_count(c);
    for (size_t i = 0; i < count; i++) {
        struct lease_info info = {.id = command_id_at(c, i)};
        struct lease *lease = lease_table_find(&kv->leases, info.id);
        if (lease != NULL) {
            lease_table_renew(&kv->leases, lease, deadline_of(kv, lease->ttl_s));
            lease_table_mark(&kv->leases, lease);
            info.ttl_s = info.granted_ttl_s = lease->ttl_s;
            kv->leases_renewed++;
        }
        if (result != NULL) {
            result_add_lease(result, &info);
        }
    }
}

/* Delete keys in one revision. They are copies: deleting a key takes it off its lease. */
static enum err keys_delete(struct kv *kv, const struct view *keys, size_t count)
{
    struct write w = write_begin(kv);
    for (size_t i = 0; i < count; i++) {
        enum err error =
            write_delete_range(&w, key_range_of(keys[i], (struct view){0}), false, NULL, NULL);
        if (error != OK) {
            return error;
        }
    }
    ASSERT(w.count == count);
    write_end(&w);
    return OK;
}

static enum err lease_end(struct kv *kv, struct lease *lease)
{
    enum err error = OK;
    struct arena copies = {0};
    size_t count = lease->key_count;
    struct view *keys = lease_table_keys(lease);
    for (size_t i = 0; i < count; i++) {
        keys[i] = arena_copy(&copies, keys[i]);
    }
    for (size_t done = 0; error == OK && done < count;) {
        size_t slice = count - done;
        if (slice > WRITE_CHANGES_MAX) {
            slice = WRITE_CHANGES_MAX;
        }
        error = keys_delete(kv, keys + done, slice);
        done += slice;
    }
    if (error == OK) {
        ASSERT(lease->key_count == 0);
        lease_table_remove(&kv->leases, &lease);
    }
    mem_free(keys);
    arena_free(&copies);
    return error;
}

static enum err revoke(struct kv *kv, const struct command *c, enum err *refusal)
{
    struct lease *lease = lease_table_find(&kv->leases, c->lease_id);
    if (lease == NULL) {
        *refusal = ERR_LEASE_NOT_FOUND;
        return OK;
    }
    return lease_end(kv, lease);
}

static enum err expire(struct kv *kv, const struct command *c)
{
    struct lease *lease = lease_table_find(&kv->leases, c->lease_id);
    if (lease == NULL || lease->deadline_us != c->deadline_us ||
        lease->deadline_us > kv->cluster_time_us) {
        return OK; /* void: ended already, or renewed since it was proposed */
    }
    return lease_end(kv, lease);
}

enum err lease_apply(struct kv *kv, const struct command *c, struct result *result,
                     enum err *refusal)
{
    if (c->cluster_time_us > LEASE_TIME_MAX) {
        *refusal = ERR_INVALID;
        return OK;
    }
    if (c->op != COMMAND_LEASE_REVOKE && c->cluster_time_us > kv->cluster_time_us) {
        kv->cluster_time_us = c->cluster_time_us;
    }
    switch (c->op) {
    case COMMAND_LEASE_GRANT:
        grant(kv, c, result, refusal);
        return OK;
    case COMMAND_LEASE_REVOKE:
        return revoke(kv, c, refusal);
    case COMMAND_LEASE_KEEPALIVE:
        keepalive(kv, c, result);
        return OK;
    case COMMAND_LEASE_EXPIRE:
        return expire(kv, c);
    case COMMAND_CLOCK:
        return OK;
    case COMMAND_PUT:
    case COMMAND_DELETE_RANGE:
    case COMMAND_TXN:
    case COMMAND_COMPACT:
        break;
    }
    ASSERT(c->op == COMMAND_CLOCK); /* the others are not for this file */
    return OK;
}

/* ---- keys ----------------------------------------------------------------------------------------- */

bool lease_exists(const struct kv *kv, int64_t id)
{
    return lease_table_find(&kv->leases, id) != NULL;
}

void lease_attach(struct kv *kv, int64_t id, struct view key)
{
    struct lease *lease = lease_table_find(&kv->leases, id);
    ASSERT(lease != NULL);
    lease_table_attach(&kv->leases, lease, key);
}

void lease_detach(struct kv *kv, int64_t id, struct view key)
{
    UNUSED(id); /* the table knows */
    lease_table_attach(&kv->leases, NULL, key);
}

/* ---- queries -------------------------------------------------------------------------------------- */

/* A moment has passed since the stamp that the deadline was counted from, also where it is too short for the
 * clock that is known here: who asks at once about a lease of 100 s is told 99, as by etcd. */
static int64_t seconds_left(uint64_t deadline_us, uint64_t now_us)
{
    return deadline_us > now_us ? (int64_t)((deadline_us - now_us - 1) / SECOND_US) : 0;
}

void lease_time_to_live(const struct kv *kv, const struct query *q, struct result *result)
{
    const struct lease *lease = lease_table_find(&kv->leases, q->lease);
    struct lease_info info = {.id = q->lease, .ttl_s = -1};
    if (lease == NULL) {
        result_add_lease(result, &info);
        return;
    }
    uint64_t now_us = kv->cluster_time_us;
    if (q->cluster_time_us > now_us) {
        now_us = q->cluster_time_us;
    }
    info.ttl_s = seconds_left(lease->deadline_us, now_us);
    info.granted_ttl_s = lease->ttl_s;
    result_add_lease(result, &info);
    if (q->want_keys) {
        struct view *keys = lease_table_keys(lease);
        for (size_t i = 0; i < lease->key_count; i++) {
            range_answer_add(result, &(struct key_value){.key = keys[i]}, true);
        }
        mem_free(keys);
    }
}

uint64_t kv_cluster_time_us(const struct kv *kv)
{
    return kv->cluster_time_us;
}

uint64_t kv_lease_count(const struct kv *kv)
{
    return kv->leases.leases.count;
}

uint64_t kv_leases_renewed(const struct kv *kv)
{
    return kv->leases_renewed;
}

/* ---- what is due ---------------------------------------------------------------------------------- */

size_t kv_leases_take_due(struct kv *kv, uint64_t time_us, struct lease_due *out, size_t count_max)
{
    if (kv->leases.heap_count == 0 || kv->leases.heap[0].due_us > time_us) {
        return 0; /* as nearly always */
    }
    struct lease **due = mem_alloc(count_max * sizeof(struct lease *));
    size_t count = lease_table_take_due(&kv->leases, time_us, LEASE_LOOKS_MAX, due, count_max);
    for (size_t i = 0; i < count; i++) {
        out[i] = (struct lease_due){.id = due[i]->id, .deadline_us = due[i]->deadline_us};
    }
    mem_free(due);
    return count;
}

size_t kv_leases_taken(const struct kv *kv)
{
    return kv->leases.taken_count;
}

void kv_leases_untake(struct kv *kv)
{
    lease_table_untake(&kv->leases);
}

/* ---- disk ----------------------------------------------------------------------------------------- */

static bool row_makes_sense(const struct kv *kv, const struct kv_lease *row)
{
    return row->id != 0 && row->ttl_s >= 1 && row->ttl_s <= LEASE_TTL_MAX_S &&
           row->deadline_us <= 2 * LEASE_TIME_MAX && kv->leases.leases.count < LEASES_MAX;
}

enum err lease_load(struct kv *kv)
{
    struct kv_lease *rows = NULL;
    struct kv_lease_key *keys = NULL;
    size_t count = 0;
    enum err error = kv_reader_leases(kv->reader, &rows, &count);
    for (size_t i = 0; error == OK && i < count; i++) {
        if (!row_makes_sense(kv, &rows[i])) {
            error = ERR_CORRUPT;
            break;
        }
        (void)lease_table_add(&kv->leases, rows[i].id, rows[i].ttl_s, rows[i].deadline_us,
                              rows[i].granted_us);
    }
    if (error == OK) {
        error = kv_reader_lease_keys(kv->reader, &keys, &count);
    }
    for (size_t i = 0; error == OK && i < count; i++) {
        struct lease *lease = lease_table_find(&kv->leases, keys[i].lease);
        if (lease == NULL || keys[i].key.size == 0) {
            error = ERR_CORRUPT;
            break;
        }
        lease_table_attach(&kv->leases, lease, keys[i].key);
    }
    kv_reader_release(kv->reader);
    mem_free(rows);
    mem_free(keys);
    return error;
}

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

void lease_seal(struct kv *kv, struct kv_batch *batch)
{
    struct lease_table *t = &kv->leases;
    if (t->changed_count == 0) {
        return;
    }
    qsort(t->changed, t->changed_count, sizeof(t->changed[0]), compare_ids);
    for (size_t i = 0; i < t->changed_count; i++) {
        int64_t id = t->changed[i];
        if (i > 0 && t->changed[i - 1] == id) {
            continue;
        }
        struct kv_lease row = {.id = id};
        struct lease *lease = lease_table_find(t, id);
        if (lease != NULL) {
            lease->changed = false;
            row.ttl_s = lease->ttl_s;
            row.deadline_us = lease->deadline_us;
            row.granted_us = lease->granted_us;
        }
        kv_batch_add_lease(batch, &row, lease == NULL);
    }
    t->changed_count = 0;
}

void lease_hash(const struct kv *kv, struct buffer *out)
{
    const struct lease_table *t = &kv->leases;
    size_t count = t->leases.count;
    struct lease_line *lines = lease_table_lines(t);
    buffer_u64(out, kv->cluster_time_us);
    buffer_u64(out, count);
    while (count > 0) {
        const struct lease *lease = lease_table_find(t, lease_lines_pop(lines, &count).id);
        buffer_u64(out, (uint64_t)lease->id);
        buffer_u64(out, (uint64_t)lease->ttl_s);
        buffer_u64(out, lease->deadline_us);
        buffer_u64(out, lease->granted_us);
        buffer_u64(out, lease->key_count);
    }
    mem_free(lines);
}
