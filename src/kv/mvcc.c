/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mvcc.c: the meaning of an entry: which of the room's files carries it out, and what is refused.
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
 */
#include "kv/history.h"
#include "kv/lease.h"
#include "kv/txn.h"
#include "kv/write.h"

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
    lease_table_init(&kv->leases);
    kv->revision = meta->revision;
    kv->compact_revision = meta->compact_revision;
    kv->cluster_time_us = meta->cluster_time_us;
    kv->committed_revision = meta->revision;
    kv->applied_index = meta->applied_index;
    kv->applied_term = meta->applied_term;
    kv->next_number = 1;
    kv->load_error = lease_load(kv);
    return kv;
}

const struct kv_limits *kv_limits_of(const struct kv *kv)
{
    return &kv->limits;
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
    lease_table_free(&freed->leases);
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

/* ---- commands ------------------------------------------------------------------------------------- */

static enum err put(struct kv *kv, const struct command *c, struct result *result,
                    enum err *refusal)
{
    const struct put p = {.key = c->key, .value = c->value, .lease = c->lease, .flags = c->flags};
    struct newest newest = {0};

    *refusal = put_refusal(&p);
    if (*refusal == OK && p.lease != 0 && !lease_exists(kv, p.lease)) {
        *refusal = ERR_LEASE_NOT_FOUND;
    }
    if (*refusal != OK) {
        return OK;
    }
    enum err error = newest_of(kv, c->key, &newest);
    if (error != OK) {
        return error;
    }
    if (!is_alive(&newest.current) &&
        (c->flags & (COMMAND_IGNORE_VALUE | COMMAND_IGNORE_LEASE)) != 0) {
        *refusal = ERR_KEY_NOT_FOUND;
        return OK;
    }
    struct write w = write_begin(kv);
    error = write_put(&w, &p, &newest, result);
    if (error == OK) {
        write_end(&w);
    }
    return error;
}

static enum err delete_range(struct kv *kv, const struct command *c, struct result *result,
                             enum err *refusal)
{
    struct key_range range = key_range_of(c->key, c->range_end);
    if (c->key.size == 0) {
        *refusal = ERR_KEY_EMPTY;
        return OK;
    }
    struct write w = write_begin(kv);
    enum err error =
        write_delete_range(&w, range, (c->flags & COMMAND_PREV_KV) != 0, result, refusal);
    if (error == OK) {
        write_end(&w);
    }
    return error;
}

/* From now on nobody reads below the revision; the rows go by and by, on each node at its own pace
 * (store/kv_compact.h). Not a change: no revision. */
static void compact(struct kv *kv, const struct command *c, struct result *result,
                    enum err *refusal)
{
    if (c->revision > kv->revision) {
        *refusal = ERR_FUTURE_REVISION;
    } else if (c->revision < 0 ||
               (c->revision <= kv->compact_revision && kv->compact_revision > 0)) {
        *refusal = ERR_COMPACTED;
    } else {
        kv->compact_revision = c->revision;
        if (result != NULL && (c->flags & COMMAND_PHYSICAL) != 0) {
            result->physical_revision = c->revision;
        }
    }
    if (result != NULL && *refusal == ERR_COMPACTED) {
        result->compact_revision = kv->compact_revision;
    }
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
    case COMMAND_LEASE_GRANT:
    case COMMAND_LEASE_REVOKE:
    case COMMAND_LEASE_KEEPALIVE:
    case COMMAND_LEASE_EXPIRE:
    case COMMAND_CLOCK:
        return lease_apply(kv, &c, result, refusal);
    case COMMAND_TXN:
        return txn_apply(kv, c.body, result, refusal);
    case COMMAND_COMPACT:
        compact(kv, &c, result, refusal);
        return OK;
    }
    *refusal = ERR_MALFORMED;
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
    enum err error = kv->load_error;

    ASSERT(e->index == kv->applied_index + 1);
    ASSERT(e->term >= kv->applied_term);
    if (error != OK) {
        goto out;
    }
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
