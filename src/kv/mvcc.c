/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mvcc.c: the meaning of an entry. Puts and range deletes become history rows and new newest states
 * in the open batch; etcd's rules for revisions and versions are here.
 *
 * Rules (etcd v3 API)
 *  1. The empty store is at revision 1. An entry that changes at least one key adds exactly 1, any
 *     other adds 0. Within a revision each change has a sub number, in key order for a range delete.
 *  2. A put of an absent or deleted key begins a life: create_revision = this revision, version 1.
 *     Any other put adds 1 to version, also with an identical value.
 *  3. Refusals in order: empty key, flags that contradict the fields, lease, existence.
 *  4. A put without lease and without ignore_lease detaches the key from its lease.
 *  5. What is refused changes nothing, on any node: every refusal is decided from the entry and the
 *     logical state before the first change.
 *
 * A deleted key keeps its row with deleted = 1 until compaction; when it is put again its chain of
 * revisions goes on, and with it the depth that the jump pointers are computed from.
 */
#include "kv/history.h"
#include "kv/merge.h"
#include "kv/range.h"
#include "kv/state.h"

struct kv *kv_create(struct kv_reader **reader, const struct kv_meta *meta,
                     const struct kv_limits *limits)
{
    ASSERT(*reader != NULL);
    ASSERT(meta->revision >= 1);
    struct kv *kv = mem_zalloc(sizeof(*kv));
    kv->reader = *reader;
    *reader = NULL;
    kv->limits = *limits;
    overlay_init(&kv->overlay, (size_t)limits->cache_bytes_max);
    kv->revision = meta->revision;
    kv->compact_revision = meta->compact_revision;
    kv->committed_revision = meta->revision;
    kv->applied_index = meta->applied_index;
    kv->applied_term = meta->applied_term;
    kv->next_number = 1;
    return kv;
}

void kv_destroy(struct kv **kv)
{
    struct kv *freed = *kv;
    if (freed == NULL) {
        return;
    }
    *kv = NULL;
    kv_batch_free(&freed->open);
    overlay_free(&freed->overlay);
    buffer_free(&freed->scan_key);
    event_block_free(&freed->events);
    kv_reader_close(&freed->reader);
    mem_free(freed);
}

enum err newest_of(struct kv *kv, struct view key, struct newest *out)
{
    struct newest found = {.node = overlay_find(&kv->overlay, key)};
    if (found.node != NULL) {
        found.current = overlay_current(found.node);
    } else {
        enum err error = kv_reader_current(kv->reader, key, &found.current);
        if (error == ERR_NOT_FOUND) {
            found.current = (struct kv_current){.key = key};
        } else if (error != OK) {
            return error;
        }
    }
    *out = found;
    return OK;
}

enum err newest_value(struct kv *kv, const struct newest *newest, struct view key, struct view *out)
{
    if (newest->node != NULL && newest->node->value_known) {
        *out = overlay_value(newest->node);
        return OK;
    }
    struct kv_history row = {0};
    enum err error = history_row(kv, key, newest->current.change, &row);
    if (error == OK) {
        *out = row.value;
    }
    return error;
}

static bool is_alive(const struct kv_current *c)
{
    return c->change != 0 && !c->deleted;
}

/* ---- writing one change ---------------------------------------------------------------------------- */

/* Write `row` (key, value, life and lease filled in) as the change `change` behind `newest`. */
static void change_write(struct kv *kv, struct newest *newest, const struct history_link *link,
                         uint64_t change, struct kv_history *row)
{
    row->change = change;
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

static void revision_add(struct kv *kv)
{
    kv->revision++;
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

static enum err put_refusal(const struct command *c)
{
    if (c->key.size == 0) {
        return ERR_KEY_EMPTY;
    }
    if ((c->flags & COMMAND_IGNORE_VALUE) != 0 && c->value.size > 0) {
        return ERR_VALUE_PROVIDED;
    }
    if ((c->flags & COMMAND_IGNORE_LEASE) != 0 && c->lease != 0) {
        return ERR_LEASE_PROVIDED;
    }
    if (c->lease != 0) { /* no lease exists: granting them is not built yet */
        return ERR_LEASE_NOT_FOUND;
    }
    return OK;
}

static enum err put(struct kv *kv, const struct command *c, struct result *result,
                    enum err *refusal)
{
    bool ignore_value = (c->flags & COMMAND_IGNORE_VALUE) != 0;
    bool ignore_lease = (c->flags & COMMAND_IGNORE_LEASE) != 0;
    struct newest newest = {0};
    struct history_link link = {0};
    struct view old_value = {0};

    *refusal = put_refusal(c);
    if (*refusal != OK) {
        return OK;
    }
    enum err error = newest_of(kv, c->key, &newest);
    if (error != OK) {
        return error;
    }
    bool alive = is_alive(&newest.current);
    if (!alive && (ignore_value || ignore_lease)) {
        *refusal = ERR_KEY_NOT_FOUND;
        return OK;
    }
    error = history_link_next(kv, c->key, &newest, &link);
    if (error != OK) {
        return error;
    }
    bool want_previous = alive && result != NULL && (c->flags & COMMAND_PREV_KV) != 0;
    if (want_previous || ignore_value) {
        error = newest_value(kv, &newest, c->key, &old_value);
        if (error != OK) {
            return error;
        }
    }
    if (want_previous) {
        struct key_value previous = pair_of(c->key, &newest.current, old_value);
        result_add(result, &previous, false);
    }
    int64_t revision = kv->revision + 1;
    ASSERT(revision <= REVISION_MAX);
    struct kv_history row = {
        .key = c->key,
        .value = ignore_value ? old_value : c->value,
        .create_revision = alive ? newest.current.create_revision : revision,
        .version = alive ? newest.current.version + 1 : 1,
        .lease = ignore_lease ? newest.current.lease : c->lease,
    };
    change_write(kv, &newest, &link, change_id(revision, 0), &row);
    revision_add(kv);
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

/* ERR_TOO_MANY_OPS goes to *refusal: the sub numbers of one revision would not suffice. */
static enum err victims_find(struct kv *kv, struct key_range range, struct victims *v,
                             enum err *refusal)
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
    while (error == OK && v->count <= CHANGE_SUB_MAX) {
        error = merge_next(&m, &newest);
        if (error == OK && is_alive(&newest.current)) {
            victims_add(v, &newest.current);
        }
    }
    merge_end(&m);
    if (error == ERR_NOT_FOUND) {
        error = OK;
    }
    if (error == OK && v->count > CHANGE_SUB_MAX) {
        *refusal = ERR_TOO_MANY_OPS;
    }
    return error;
}

static enum err victim_delete(struct kv *kv, const struct kv_current *victim, uint64_t change,
                              struct result *previous_to)
{
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
    change_write(kv, &newest, &link, change, &tombstone);
    return OK;
}

static enum err delete_range(struct kv *kv, const struct command *c, struct result *result,
                             enum err *refusal)
{
    struct victims victims = {0};
    enum err error = OK;

    if (c->key.size == 0) {
        *refusal = ERR_KEY_EMPTY;
        return OK;
    }
    error = victims_find(kv, key_range_of(c->key, c->range_end), &victims, refusal);
    if (error != OK || *refusal != OK || victims.count == 0) {
        goto out;
    }
    int64_t revision = kv->revision + 1;
    ASSERT(revision <= REVISION_MAX);
    bool want_previous = result != NULL && (c->flags & COMMAND_PREV_KV) != 0;
    for (size_t i = 0; i < victims.count; i++) {
        error = victim_delete(kv, &victims.items[i], change_id(revision, (uint32_t)i),
                              want_previous ? result : NULL);
        if (error != OK) {
            goto out;
        }
    }
    revision_add(kv);
    if (result != NULL) {
        result->count = (int64_t)victims.count;
    }
out:
    arena_free(&victims.keys);
    mem_free(victims.items);
    return error;
}

/* ---- entries -------------------------------------------------------------------------------------- */

static enum err command_apply(struct kv *kv, struct view data, struct result *result,
                              enum err *refusal)
{
    struct command c = {0};
    enum err error = command_decode(data, &c);
    if (error == ERR_NEWER_FORMAT) {
        return error; /* this node is too old to know what the others do with it */
    }
    if (error != OK) {
        *refusal = error; /* the same octets, so the same refusal, everywhere */
        return OK;
    }
    switch (c.op) {
    case COMMAND_PUT:
        return put(kv, &c, result, refusal);
    case COMMAND_DELETE_RANGE:
        return delete_range(kv, &c, result, refusal);
    case COMMAND_TXN:
    case COMMAND_COMPACT:
    case COMMAND_LEASE_GRANT:
    case COMMAND_LEASE_REVOKE:
    case COMMAND_LEASE_KEEPALIVE:
    case COMMAND_LEASE_EXPIRE:
    case COMMAND_CLOCK:
        break;
    }
    *refusal = ERR_UNIMPLEMENTED; /* on every node of this version alike */
    return OK;
}

static enum err configuration_apply(struct kv *kv, struct view data)
{
    if (kv->open->members == NULL) {
        kv->open->members = mem_zalloc(sizeof(*kv->open->members));
    }
    return configuration_decode(data, kv->open->members);
}

enum err kv_apply(struct kv *kv, const struct entry *e, uint64_t now_us, bool want_result,
                  struct result **out)
{
    struct result *result = want_result ? result_create() : NULL;
    enum err refusal = OK;
    enum err error = OK;

    ASSERT(e->index == kv->applied_index + 1);
    ASSERT(e->term >= kv->applied_term);
    if (kv->open == NULL) {
        kv->open = mem_zalloc(sizeof(*kv->open));
        kv->open_since_us = now_us;
    }
    switch (e->type) {
    case ENTRY_NOOP:
        break;
    case ENTRY_COMMAND:
        error = command_apply(kv, e->data, result, &refusal);
        break;
    case ENTRY_CONFIG:
        error = configuration_apply(kv, e->data);
        break;
    default:
        error = ERR_NEWER_FORMAT;
        break;
    }
    if (error != OK) {
        goto out;
    }
    kv->open_entries++;
    kv->applied_index = e->index;
    kv->applied_term = e->term;
    if (result != NULL) {
        result->revision = kv->revision;
        if (refusal != OK) {
            result->error = refusal;
        }
        *out = result;
        result = NULL;
    }
out:
    result_free(&result);
    return error;
}

int64_t kv_revision(const struct kv *kv)
{
    return kv->revision;
}

int64_t kv_compact_revision(const struct kv *kv)
{
    return kv->compact_revision;
}

uint64_t kv_applied_index(const struct kv *kv)
{
    return kv->applied_index;
}

uint64_t kv_applied_term(const struct kv *kv)
{
    return kv->applied_term;
}
