/* SPDX-License-Identifier: Apache-2.0 */
/*
 * write.c: see write.h. Puts and range deletes become history rows and new newest states in the open
 * batch; etcd's rules for versions are here.
 *
 * A deleted key keeps its row with deleted = 1 until compaction; when it is put again its chain of
 * revisions goes on, and with it the depth that the jump pointers are computed from.
 */
#include "kv/write.h"

#include "kv/history.h"
#include "kv/lease.h"
#include "kv/merge.h"
#include "kv/range.h"

bool is_alive(const struct kv_current *c)
{
    return c->change != 0 && !c->deleted;
}

struct write write_begin(struct kv *kv)
{
    ASSERT(kv->revision < REVISION_MAX);
    return (struct write){.kv = kv, .revision = kv->revision + 1};
}

void write_end(struct write *w)
{
    ASSERT(w->kv->revision + 1 == w->revision);
    if (w->count > 0) {
        w->kv->revision = w->revision;
    }
}

/* Write `row` (key, value, life and lease filled in) as the next change, behind `newest`. */
static void change_write(struct write *w, struct newest *newest, const struct history_link *link,
                         struct kv_history *row)
{
    struct kv *kv = w->kv;
    ASSERT(w->count < WRITE_CHANGES_MAX);
    row->change = change_id(w->revision, (uint32_t)w->count++);
    row->previous_change = link->previous_change;
    row->jump_change = link->jump_change;
    kv_batch_add_history(kv->open, row);
    events_record(kv, row);
    if (newest->node == NULL) {
        bool known = newest->current.change != 0;
        newest->node = overlay_hold(&kv->overlay, row->key, known ? &newest->current : NULL);
    }
    overlay_write(&kv->overlay, newest->node, row, link->jump_jump_known, link->jump_jump);
}

static struct key_value pair_of(struct view key, const struct kv_current *c, struct view value)
{
    return (struct key_value){
        .key = key,
        .value = value,
        .create_revision = c->create_revision,
        .mod_revision = change_revision(c->change),
        .version = c->version,
        .lease = c->lease,
    };
}

/* ---- put ------------------------------------------------------------------------------------------ */

enum err put_refusal(const struct put *p)
{
    if (p->key.size == 0) {
        return ERR_KEY_EMPTY;
    }
    if ((p->flags & COMMAND_IGNORE_VALUE) != 0 && p->value.size > 0) {
        return ERR_VALUE_PROVIDED;
    }
    if ((p->flags & COMMAND_IGNORE_LEASE) != 0 && p->lease != 0) {
        return ERR_LEASE_PROVIDED;
    }
    return OK;
}

enum err write_put(struct write *w, const struct put *p, struct newest *newest,
                   struct result *answer)
{
    struct kv *kv = w->kv;
    bool alive = is_alive(&newest->current);
    bool ignore_value = (p->flags & COMMAND_IGNORE_VALUE) != 0;
    bool ignore_lease = (p->flags & COMMAND_IGNORE_LEASE) != 0;
    bool want_previous = alive && answer != NULL && (p->flags & COMMAND_PREV_KV) != 0;
    int64_t old_lease = alive ? newest->current.lease : 0;
    struct history_link link = {0};
    struct view old_value = {0};

    enum err error = history_link_next(kv, p->key, newest, &link);
    if (error == OK && (want_previous || (ignore_value && alive))) {
        error = newest_value(kv, newest, p->key, &old_value);
    }
    if (error != OK) {
        return error;
    }
    if (want_previous) {
        struct key_value previous = pair_of(p->key, &newest->current, old_value);
        result_add(answer, &previous, false);
    }
    struct kv_history row = {
        .key = p->key,
        .value = ignore_value ? old_value : p->value,
        .create_revision = alive ? newest->current.create_revision : w->revision,
        .version = alive ? newest->current.version + 1 : 1,
        .lease = ignore_lease ? old_lease : p->lease,
    };
    change_write(w, newest, &link, &row);
    if (row.lease != old_lease) {
        if (old_lease != 0) {
            lease_detach(kv, old_lease, p->key);
        }
        if (row.lease != 0) {
            lease_attach(kv, row.lease, p->key);
        }
    }
    return OK;
}

/* ---- delete range --------------------------------------------------------------------------------- */

/* The live keys of a range, found before the first of them is deleted. */
struct victims {
    struct kv_current *items; /* keys lie in `keys` */
    size_t count, capacity;
    struct arena keys;
};

static void victims_add(struct victims *v, const struct kv_current *c)
{
    ARRAY_RESERVE(v->items, v->capacity, v->count + 1);
    v->items[v->count] = *c;
    v->items[v->count].key = arena_copy(&v->keys, c->key);
    v->count++;
}

/* Stops beyond `most`. */
static enum err victims_find(struct kv *kv, struct key_range range, uint64_t most,
                             struct victims *v)
{
    struct newest newest = {0};
    if (range.single) {
        enum err error = newest_of(kv, range.start, &newest);
        if (error == OK && is_alive(&newest.current)) {
            newest.current.key = range.start;
            victims_add(v, &newest.current);
        }
        return error;
    }
    struct merge m;
    enum err error = merge_begin(&m, kv, range, range.start);
    while (error == OK && v->count <= most) {
        error = merge_next(&m, &newest);
        if (error == OK && is_alive(&newest.current)) {
            victims_add(v, &newest.current);
        }
    }
    merge_end(&m);
    return error == ERR_NOT_FOUND ? OK : error;
}

static enum err victim_delete(struct write *w, const struct kv_current *victim,
                              struct result *previous_to)
{
    struct kv *kv = w->kv;
    struct newest newest = {.node = overlay_find(&kv->overlay, victim->key), .current = *victim};
    struct history_link link = {0};
    enum err error = history_link_next(kv, victim->key, &newest, &link);
    if (error != OK) {
        return error;
    }
    if (previous_to != NULL) {
        struct view value = {0};
        error = newest_value(kv, &newest, victim->key, &value);
        if (error != OK) {
            return error;
        }
        struct key_value pair = pair_of(victim->key, victim, value);
        range_answer_add(previous_to, &pair, false);
    }
    struct kv_history tombstone = {.key = victim->key, .deleted = true};
    change_write(w, &newest, &link, &tombstone);
    if (victim->lease != 0) {
        lease_detach(kv, victim->lease, victim->key);
    }
    return OK;
}

enum err write_delete_range(struct write *w, struct key_range range, bool prev_kv,
                            struct result *answer, enum err *refusal)
{
    struct victims victims = {0};
    uint64_t room = WRITE_CHANGES_MAX - w->count;
    enum err error = victims_find(w->kv, range, room, &victims);
    if (error == OK && victims.count > room) {
        ASSERT(refusal != NULL);
        *refusal = ERR_TOO_MANY_OPS;
        goto out;
    }
    for (size_t i = 0; error == OK && i < victims.count; i++) {
        error = victim_delete(w, &victims.items[i], prev_kv ? answer : NULL);
    }
    if (error == OK && answer != NULL) {
        answer->count = (int64_t)victims.count;
    }
out:
    arena_free(&victims.keys);
    mem_free(victims.items);
    return error;
}

enum err write_count_keys(struct kv *kv, struct key_range range, uint64_t most, uint64_t *out)
{
    struct newest newest = {0};
    uint64_t count = 0;
    if (range.single) {
        *out = 1;
        return OK;
    }
    struct merge m;
    enum err error = merge_begin(&m, kv, range, range.start);
    while (error == OK && count <= most) {
        error = merge_next(&m, &newest);
        if (error == OK && is_alive(&newest.current)) {
            count++;
        }
    }
    merge_end(&m);
    if (error == ERR_NOT_FOUND) {
        error = OK;
    }
    if (error == OK) {
        *out = count;
    }
    return error;
}
