/* SPDX-License-Identifier: Apache-2.0 */
/* model_store.c: see model.h. Keys, leases, compaction: what each command does, from the documentation of
 * etcd's API and of leases in cluster time. */
#include "model.h"

#define SECOND_US UINT64_C(1000000)

/* ---- keys ------------------------------------------------------------------------------------------ */

bool model_in_range(uint32_t key, struct view start, struct view end)
{
    char text[8];
    struct view name = view_of(text, model_key_text(key, text, sizeof(text)));
    if (end.size == 0) {
        return view_equal(name, start);
    }
    bool unbounded = end.size == 1 && end.data[0] == 0;
    return view_compare(name, start) >= 0 && (unbounded || view_compare(name, end) < 0);
}

void model_change(struct model *m, uint32_t key, int64_t revision, uint64_t value,
                  size_t value_size, int64_t lease)
{
    struct model_key *k = &m->keys[key];
    const struct model_version *before = k->count > 0 ? &k->versions[k->count - 1] : NULL;
    struct model_version v = {.revision = revision, .value = value, .value_size = value_size};
    if (value != 0) {
        bool goes_on = before != NULL && before->value != 0;
        v.create_revision = goes_on ? before->create_revision : revision;
        v.version = goes_on ? before->version + 1 : 1;
        v.lease = lease;
    }
    ARRAY_RESERVE(k->versions, k->capacity, k->count + 1);
    ARRAY_RESERVE(m->events, m->event_capacity, m->event_count + 1);
    m->events[m->event_count++] = (struct model_event){.key = key, .version = k->count};
    k->versions[k->count++] = v;
}

void model_pair_text(uint32_t key, const struct model_version *v, bool keys_only,
                     struct buffer *answer)
{
    char text[8];
    struct key_value pair = {.key = view_of(text, model_key_text(key, text, sizeof(text))),
                             .create_revision = v->create_revision,
                             .mod_revision = v->revision,
                             .version = v->version,
                             .lease = v->lease};
    answer_text_pair(answer, &pair, keys_only ? 0 : v->value, keys_only ? 0 : v->value_size);
}

static void put(struct model *m, const struct command *c, struct buffer *answer)
{
    uint32_t key = 0;
    bool known = model_key_of(c->key, &key);
    ASSERT(known);
    const struct model_version *found = model_at(m, key, m->revision);
    struct model_version before = found == NULL ? (struct model_version){0} : *found;
    bool keep_value = (c->flags & COMMAND_IGNORE_VALUE) != 0;
    bool keep_lease = (c->flags & COMMAND_IGNORE_LEASE) != 0;
    if (c->lease != 0 && model_lease_alive(m, c->lease) == NULL) {
        answer_text_error(answer, m->revision, ERR_LEASE_NOT_FOUND);
        return;
    }
    if ((keep_value || keep_lease) && found == NULL) {
        answer_text_error(answer, m->revision, ERR_KEY_NOT_FOUND);
        return;
    }
    m->revision++;
    model_change(m, key, m->revision, keep_value ? before.value : model_value_of(c->value),
                 keep_value ? before.value_size : c->value.size,
                 keep_lease ? before.lease : c->lease);
    answer_text_head(answer, m->revision, 0, false, false);
    if (before.value != 0 && (c->flags & COMMAND_PREV_KV) != 0) {
        model_pair_text(key, &before, false, answer);
    }
}

static void delete_range(struct model *m, const struct command *c, struct buffer *answer)
{
    struct buffer pairs = {0};
    int64_t count = 0;
    int64_t now = m->revision;
    for (uint32_t key = 0; key < MODEL_KEYS_MAX; key++) {
        const struct model_version *before = model_at(m, key, now);
        if (before == NULL || !model_in_range(key, c->key, c->range_end)) {
            continue;
        }
        if ((c->flags & COMMAND_PREV_KV) != 0) {
            model_pair_text(key, before, false, &pairs);
        }
        model_change(m, key, now + 1, 0, 0, 0);
        count++;
    }
    m->revision += count > 0;
    answer_text_head(answer, m->revision, count, false, false);
    buffer_append(answer, pairs.data, pairs.size);
    buffer_free(&pairs);
}

static void compact(struct model *m, const struct command *c, struct buffer *answer)
{
    if (c->revision > m->revision) {
        answer_text_error(answer, m->revision, ERR_FUTURE_REVISION);
    } else if (c->revision < 0 || (c->revision <= m->compact_revision && m->compact_revision > 0)) {
        answer_text_error(answer, m->revision, ERR_COMPACTED);
    } else {
        m->compact_revision = c->revision;
        answer_text_head(answer, m->revision, 0, false, false);
    }
}

/* ---- leases ---------------------------------------------------------------------------------------- */

struct model_lease *model_lease_alive(const struct model *m, int64_t id)
{
    for (size_t i = 0; i < m->lease_count; i++) {
        if (m->leases[i].id == id && m->leases[i].ended_index == 0) {
            return &m->leases[i];
        }
    }
    return NULL;
}

static void renew(struct model *m, struct model_lease *l, const struct entry *e)
{
    l->deadline_us = m->cluster_time_us + (uint64_t)l->ttl_s * SECOND_US;
    l->renewed_origin = e->origin;
    l->renewed_request = e->request_id;
}

static void grant(struct model *m, const struct command *c, const struct entry *e,
                  struct buffer *answer)
{
    if (c->lease_id == 0 || c->ttl_s < 1) {
        answer_text_error(answer, m->revision, ERR_INVALID);
        return;
    }
    if (model_lease_alive(m, c->lease_id) != NULL) {
        answer_text_error(answer, m->revision, ERR_LEASE_EXISTS);
        return;
    }
    ARRAY_RESERVE(m->leases, m->lease_capacity, m->lease_count + 1);
    struct model_lease *l = &m->leases[m->lease_count++];
    *l = (struct model_lease){.id = c->lease_id, .ttl_s = c->ttl_s, .granted_index = e->index};
    m->leases_alive++;
    renew(m, l, e);
    answer_text_head(answer, m->revision, 0, false, false);
    answer_text_lease(answer, l->id, l->ttl_s);
}

static void keepalive(struct model *m, const struct command *c, const struct entry *e,
                      struct buffer *answer)
{
    answer_text_head(answer, m->revision, 0, false, false);
    for (size_t i = 0; i < command_id_count(c); i++) {
        struct model_lease *l = model_lease_alive(m, command_id_at(c, i));
        if (l != NULL) {
            renew(m, l, e);
        }
        answer_text_lease(answer, command_id_at(c, i), l == NULL ? 0 : l->ttl_s);
    }
}

/* Its keys go with it, in one revision. */
static void lease_end(struct model *m, struct model_lease *l, uint64_t index)
{
    int64_t now = m->revision;
    bool any = false;
    for (uint32_t key = 0; key < MODEL_KEYS_MAX; key++) {
        const struct model_version *v = model_at(m, key, now);
        if (v != NULL && v->lease == l->id) {
            model_change(m, key, now + 1, 0, 0, 0);
            any = true;
        }
    }
    m->revision += any;
    l->ended_index = index;
    m->leases_alive--;
}

static void revoke(struct model *m, const struct command *c, const struct entry *e,
                   struct buffer *answer)
{
    struct model_lease *l = model_lease_alive(m, c->lease_id);
    if (l == NULL) {
        answer_text_error(answer, m->revision, ERR_LEASE_NOT_FOUND);
        return;
    }
    lease_end(m, l, e->index);
    answer_text_head(answer, m->revision, 0, false, false);
}

/* Void unless it names the newest renewal and that is over (trap 53). */
static void expire(struct model *m, const struct command *c, const struct entry *e)
{
    struct model_lease *l = model_lease_alive(m, c->lease_id);
    if (l != NULL && l->deadline_us == c->deadline_us && l->deadline_us <= m->cluster_time_us) {
        l->expired = true;
        lease_end(m, l, e->index);
    }
}

/* ---- commands -------------------------------------------------------------------------------------- */

bool model_carry_out(struct model *m, const struct entry *e, struct buffer *answer)
{
    struct command c;
    if (command_decode(e->data, &c) != OK) {
        return false;
    }
    bool stamped = c.op == COMMAND_LEASE_GRANT || c.op == COMMAND_LEASE_KEEPALIVE ||
                   c.op == COMMAND_LEASE_EXPIRE || c.op == COMMAND_CLOCK;
    bool leaders = c.op == COMMAND_LEASE_EXPIRE || c.op == COMMAND_CLOCK;
    if ((e->request_id == 0) != leaders && c.op != COMMAND_COMPACT) {
        return false;
    }
    if (stamped && c.cluster_time_us > m->cluster_time_us) {
        m->cluster_time_us = c.cluster_time_us;
    }
    switch (c.op) {
    case COMMAND_PUT:
        put(m, &c, answer);
        return true;
    case COMMAND_DELETE_RANGE:
        delete_range(m, &c, answer);
        return true;
    case COMMAND_TXN:
        model_txn(m, c.body, answer);
        return true;
    case COMMAND_COMPACT:
        compact(m, &c, answer);
        return true;
    case COMMAND_LEASE_GRANT:
        grant(m, &c, e, answer);
        return true;
    case COMMAND_LEASE_REVOKE:
        revoke(m, &c, e, answer);
        return true;
    case COMMAND_LEASE_KEEPALIVE:
        keepalive(m, &c, e, answer);
        return true;
    case COMMAND_LEASE_EXPIRE:
        expire(m, &c, e);
        return true;
    case COMMAND_CLOCK:
        return true;
    }
    return false;
}
