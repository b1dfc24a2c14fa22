/* SPDX-License-Identifier: Apache-2.0 */
/* clients_lease.c: leases, those who keep them, and the lock that hangs on one. */
#include "clients_parts.h"

#include <string.h>

#define SECOND_US UINT64_C(1000000)

/* ---- requests -------------------------------------------------------------------------------------- */

static int64_t new_lease(struct drawer *d)
{
    struct history *h = d->history;
    int64_t id = (int64_t)(random_next(d->random) >> 1 | 1);
    h->ids[h->id_count++ % HISTORY_IDS_MAX] = id;
    return id;
}

static void ask_grant(struct asking *a, int64_t id, int64_t ttl_s)
{
    const struct command command = {.op = COMMAND_LEASE_GRANT, .lease_id = id, .ttl_s = ttl_s};
    asking_command(a, &command);
}

static void ask_keepalive(struct asking *a, const int64_t *ids, size_t count)
{
    struct buffer octets = {0};
    for (size_t i = 0; i < count; i++) {
        buffer_u64(&octets, (uint64_t)ids[i]);
    }
    const struct command command = {.op = COMMAND_LEASE_KEEPALIVE,
                                    .ids = view_of(octets.data, octets.size)};
    asking_command(a, &command);
    buffer_free(&octets);
}

void draw_lease(struct drawer *d, struct asking *a)
{
    int64_t id = drawn_lease(d);
    uint64_t kind = drawn(d, 0, 19);
    if (id == 0 || kind < 3) {
        bool known = id != 0 && drawn(d, 0, 4) == 0; /* refused, if it lives */
        ask_grant(a, known ? id : new_lease(d), (int64_t)drawn(d, 1, 4));
    } else if (kind < 12) {
        int64_t ids[4];
        size_t count = (size_t)drawn(d, 1, 4);
        for (size_t i = 0; i < count; i++) {
            ids[i] = drawn_lease(d);
        }
        ask_keepalive(a, ids, count);
    } else if (kind < 13) {
        const struct command command = {.op = COMMAND_LEASE_REVOKE, .lease_id = id};
        asking_command(a, &command);
    } else if (kind < 17) {
        a->op.kind = HISTORY_TTL;
        a->op.lease = a->query.lease = id;
        a->op.want_keys = a->query.want_keys = drawn(d, 0, 1) == 0;
        a->query.kind = QUERY_LEASE_TTL;
    } else {
        a->op.kind = HISTORY_LEASES;
        a->query.kind = QUERY_LEASES;
    }
}

/* ---- who keeps one ----------------------------------------------------------------------------------- */

static struct view lock_name(char out[8])
{
    return view_of(out, model_key_text(HISTORY_LOCK_KEY, out, 8));
}

/* If the lock's create_revision is `revision` (0: nobody's), put this key. */
static void ask_guarded(struct asking *a, int64_t revision, struct view key, struct view value,
                        int64_t lease)
{
    char lock[8];
    struct txn_compare compare = {
        .result = TXN_EQUAL, .target = TXN_CREATE, .key = lock_name(lock), .number = revision};
    struct txn_op put = {.kind = TXN_PUT, .key = key, .value = value, .lease = lease};
    struct txn_op look = {.kind = TXN_RANGE, .range = {.key = compare.key}};
    const struct txn_body body = {.compares = &compare,
                                  .compare_count = 1,
                                  .success = &put,
                                  .success_count = 1,
                                  .failure = &look,
                                  .failure_count = 1};
    struct buffer octets = {0};
    txn_body_encode(&body, &octets);
    const struct command command = {
        .op = COMMAND_TXN, .key = compare.key, .body = view_of(octets.data, octets.size)};
    asking_command(a, &command);
    buffer_free(&octets);
}

void keeper_ask(struct keeper *k, struct drawer *d, struct asking *a)
{
    uint8_t value[1024];
    char key[8];
    k->acquiring = false;
    if (k->state == KEEPER_NONE) {
        k->lease = new_lease(d);
        k->ttl_s = (int64_t)drawn(d, 1, 3);
        ask_grant(a, k->lease, k->ttl_s);
    } else if (k->state == KEEPER_KEEPS && drawn(d, 0, 2) == 0) {
        k->acquiring = true;
        a->op.acquires = true;
        ask_guarded(a, 0, lock_name(key), drawn_value(d, value), k->lease);
    } else if (k->state == KEEPER_HOLDS && drawn(d, 0, 1) == 0) {
        uint32_t at = HISTORY_SHARED_FIRST + (uint32_t)drawn(d, 0, HISTORY_SHARED_COUNT - 1);
        a->op.guard = k->lock;
        ask_guarded(a, k->lock, view_of(key, model_key_text(at, key, sizeof(key))),
                    drawn_value(d, value), 0);
    } else {
        ask_keepalive(a, &k->lease, 1);
    }
}

void keeper_answer(struct keeper *k, const struct history_op *op, const struct result *result)
{
    bool known = result != NULL && result->error == OK;
    if (!known) {
        /* A keepalive may be tried again; of an acquisition or a grant nobody knows, so begin anew. */
        k->state = k->acquiring || k->state == KEEPER_NONE ? KEEPER_NONE : k->state;
        return;
    }
    if (k->state == KEEPER_NONE) {
        k->state = KEEPER_KEEPS;
    } else if (op->acquires && result->succeeded) {
        k->state = KEEPER_HOLDS;
        k->lock = result->revision;
    } else if (op->guard != 0 && !result->succeeded) {
        k->state = KEEPER_NONE; /* the lock is lost */
    } else if (result->lease_count == 1 && result->leases[0].ttl_s == 0) {
        /* The lease is lost. Who holds a lock may not have noticed and goes on to write. */
        k->state = k->state == KEEPER_HOLDS ? KEEPER_HOLDS : KEEPER_NONE;
    }
}

uint64_t keeper_pause_us(const struct keeper *k, struct drawer *d)
{
    uint64_t ttl_us = (uint64_t)(k->ttl_s > 0 ? k->ttl_s : 1) * SECOND_US;
    if (k->state == KEEPER_NONE) {
        return drawn(d, 0, SECOND_US);
    }
    if (drawn(d, 0, 19) == 0) {
        return drawn(d, ttl_us, 3 * ttl_us);
    }
    return drawn(d, ttl_us / 10, ttl_us / 3);
}
