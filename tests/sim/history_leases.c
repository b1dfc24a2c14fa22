/* SPDX-License-Identifier: Apache-2.0 */
/* history_leases.c: see history.h. What must hold of leases and of a lock that hangs on one. */
#include "history.h"

#include "command.h"

#define SECOND_US UINT64_C(1000000)

/* ---- ends ------------------------------------------------------------------------------------------ */

/*
 * Trap 53. The renewal was stamped after it was asked for, and the expiry before it was committed, so true time
 * between them is no less than what the fastest clock shows as the TTL. That the entry is looked at when it is
 * first handed out, and the renewal when its client asks, makes the check milder, never wrong.
 */
static void check_not_early(struct history *h, const struct model_lease *l, uint64_t now_us)
{
    uint64_t *at = map_get(&h->by_request, l->renewed_origin, l->renewed_request);
    if (at == NULL) {
        return; /* said already */
    }
    const struct history_op *renewal = &h->ops[*at];
    uint64_t ttl_us = (uint64_t)l->ttl_s * SECOND_US;
    uint64_t least_us =
        ttl_us - ttl_us * HISTORY_DRIFT_PARTS / (1000000 + HISTORY_DRIFT_PARTS) - 1000;
    if (now_us - renewal->invoke_us < least_us) {
        history_fail(h, renewal,
                     "lease %" PRIx64 " of %" PRId64 " s has expired %" PRIu64
                     " us after this renewal was asked for",
                     (uint64_t)l->id, l->ttl_s, now_us - renewal->invoke_us);
    }
}

void history_lease_ended(struct history *h, const struct entry *e, uint64_t now_us)
{
    const struct model *m = &h->checks->model;
    uint8_t op = 0;
    uint32_t key_size = 0;
    command_peek(e->data, &op, &key_size);
    h->txns += op == COMMAND_TXN;
    h->leases_granted += op == COMMAND_LEASE_GRANT;
    if (op != COMMAND_LEASE_EXPIRE) {
        return;
    }
    for (size_t i = 0; i < m->lease_count; i++) {
        if (m->leases[i].ended_index == e->index) {
            h->leases_expired++;
            check_not_early(h, &m->leases[i], now_us);
        }
    }
}

/* ---- questions ------------------------------------------------------------------------------------- */

/* Did it live all the time from what had been answered before the question until now? */
static bool lived_throughout(const struct history_op *op, const struct model_lease *l)
{
    return l->granted_index <= op->floor_index && l->ended_index == 0;
}

/* ... at some moment of that time? */
static bool lived_at_all(const struct history_op *op, const struct model_lease *l)
{
    return l->ended_index == 0 || l->ended_index > op->floor_index;
}

static void judge_ttl(struct history *h, const struct history_op *op, const struct result *result)
{
    const struct model *m = &h->checks->model;
    bool may_live = false, must_live = false;
    if (result->lease_count != 1 || result->leases[0].id != op->lease) {
        history_fail(h, op, "answers for another lease");
        return;
    }
    const struct lease_info *info = &result->leases[0];
    for (size_t i = 0; i < m->lease_count; i++) {
        const struct model_lease *l = &m->leases[i];
        if (l->id == op->lease) {
            may_live = may_live || (lived_at_all(op, l) && info->granted_ttl_s == l->ttl_s);
            must_live = must_live || lived_throughout(op, l);
        }
    }
    if (info->ttl_s < 0 ? must_live : !may_live || info->ttl_s >= info->granted_ttl_s) {
        history_fail(h, op,
                     "says of lease %" PRIx64 ": %" PRId64 " of %" PRId64 " s left, but it %s",
                     (uint64_t)op->lease, info->ttl_s, info->granted_ttl_s,
                     must_live ? "lives" : "does not live so");
    }
    if (info->ttl_s < 0 || !op->want_keys) {
        return;
    }
    size_t count = 0;
    for (uint32_t key = 0; key < MODEL_KEYS_MAX; key++) {
        const struct model_version *v = model_at(m, key, result->revision);
        char text[8];
        struct view name = view_of(text, model_key_text(key, text, sizeof(text)));
        if (v == NULL || v->lease != op->lease) {
            continue;
        }
        if (count >= result->kv_count || !view_equal(result->kvs[count].key, name)) {
            history_fail(h, op, "lacks k%02u among the keys of lease %" PRIx64, (unsigned)key,
                         (uint64_t)op->lease);
            return;
        }
        count++;
    }
    if (count != result->kv_count) {
        history_fail(h, op, "has keys that do not hang on lease %" PRIx64, (uint64_t)op->lease);
    }
}

static bool listed(const struct result *result, int64_t id)
{
    for (size_t i = 0; i < result->lease_count; i++) {
        if (result->leases[i].id == id) {
            return true;
        }
    }
    return false;
}

static void judge_list(struct history *h, const struct history_op *op, const struct result *result)
{
    const struct model *m = &h->checks->model;
    size_t explained = 0;
    for (size_t i = 0; i < m->lease_count; i++) {
        const struct model_lease *l = &m->leases[i];
        if (lived_throughout(op, l) && !listed(result, l->id)) {
            history_fail(h, op, "does not list lease %" PRIx64 ", which lives", (uint64_t)l->id);
        }
    }
    for (size_t i = 0; i < result->lease_count; i++) {
        bool may_live = false;
        for (size_t k = 0; k < m->lease_count; k++) {
            may_live = may_live ||
                       (m->leases[k].id == result->leases[i].id && lived_at_all(op, &m->leases[k]));
        }
        explained += may_live;
    }
    if (explained != result->lease_count) {
        history_fail(h, op, "lists leases that do not live");
    }
}

void history_judge_leases(struct history *h, const struct history_op *op,
                          const struct result *result)
{
    if (op->kind == HISTORY_TTL) {
        judge_ttl(h, op, result);
    } else {
        judge_list(h, op, result);
    }
}

/* ---- the lock -------------------------------------------------------------------------------------- */

/* Trap 54: who was stopped for longer than his lease lasts may believe that the lock is his; what he writes
 * with its revision must not be taken once another holder was told so. This knows nothing of the model. */
void history_judge_lock(struct history *h, const struct history_op *op, const struct result *result)
{
    if (op->acquires && result->succeeded && result->revision > h->floor_lock) {
        h->floor_lock = result->revision;
    }
    if (op->guard == 0) {
        return;
    }
    h->guarded++;
    h->guarded_refused += !result->succeeded;
    if (result->succeeded && op->guard < op->floor_lock) {
        history_fail(h, op,
                     "a write with the lock of revision %" PRId64 " was taken although %" PRId64
                     " had been acquired",
                     op->guard, op->floor_lock);
    }
}
