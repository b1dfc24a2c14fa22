/* SPDX-License-Identifier: Apache-2.0 */
/* scan.c: see scan.h. */
#include "kv/scan.h"

#include "kv/history.h"
#include "kv/merge.h"

static bool is_empty_range(const struct key_range *range)
{
    return !range->single && !range->unbounded && view_compare(range->start, range->end) >= 0;
}

void scan_begin(struct scan *s, struct key_range range, uint64_t at_most)
{
    *s = (struct scan){.range = range, .at_most = at_most, .done = is_empty_range(&range)};
}

void scan_free(struct scan *s)
{
    buffer_free(&s->resume);
}

enum err scan_value(struct kv *kv, struct scan_row *row)
{
    if (row->past) {
        return OK; /* the row of history had it */
    }
    if (row->newest.node == NULL && !row->single) {
        /* clean: the merge meets it on disk only */
        row->newest.node = overlay_find(&kv->overlay, row->pair.key);
    }
    row->rows_read++;
    return newest_value(kv, &row->newest, row->pair.key, &row->pair.value);
}

void scan_keep(struct kv *kv, struct scan_row *row, bool value_read)
{
    if (!row->single || row->past) { /* a scan would wash the cache out */
        return;
    }
    struct overlay_node *node = row->newest.node;
    if (node == NULL) {
        struct kv_current current = row->newest.current;
        current.key = row->pair.key;
        overlay_cache(&kv->overlay, &current, value_read ? &row->pair.value : NULL);
    } else if (node->clean && !node->value_known && value_read) {
        overlay_cache_value(&kv->overlay, node, row->pair.value);
    }
}

/* Look at one key as it was: *alive and row->pair. */
static enum err look(struct scan *s, struct kv *kv, struct scan_row *row, struct view key,
                     bool *alive)
{
    const struct kv_current *c = &row->newest.current;
    row->past = c->change > s->at_most;
    *alive = c->change != 0 && !c->deleted;
    row->pair = (struct key_value){
        .key = key,
        .create_revision = c->create_revision,
        .mod_revision = change_revision(c->change),
        .version = c->version,
        .lease = c->lease,
    };
    if (row->past) {
        struct kv_history was = {0};
        enum err error = history_find(kv, key, c->change, s->at_most, &was, &row->rows_read);
        if (error != OK) {
            return error;
        }
        *alive = was.change != 0 && !was.deleted;
        row->pair.value = was.value;
        row->pair.create_revision = was.create_revision;
        row->pair.mod_revision = change_revision(was.change);
        row->pair.version = was.version;
        row->pair.lease = was.lease;
    }
    return OK;
}

static enum err single(struct scan *s, struct kv *kv, scan_visit_fn *visit, void *context)
{
    struct scan_row row = {.single = true};
    bool alive = false;
    bool go_on = true;
    enum err error = newest_of(kv, s->range.start, &row.newest);
    if (error == OK) {
        error = look(s, kv, &row, s->range.start, &alive);
    }
    if (error == OK && alive) {
        error = visit(context, kv, &row, &go_on);
    }
    s->stopped = !go_on;
    s->done = true;
    return error;
}

enum err scan_slice(struct scan *s, struct kv *kv, uint64_t *budget, scan_visit_fn *visit,
                    void *context)
{
    struct merge m;
    struct scan_row row = {0};
    bool go_on = true;
    if (s->done || *budget == 0) {
        return OK;
    }
    if (s->range.single) {
        return single(s, kv, visit, context);
    }
    struct view from = s->range.start;
    if (s->resume.size > 0) {
        from = view_of(s->resume.data, s->resume.size);
    }
    enum err error = merge_begin(&m, kv, s->range, from);
    while (error == OK && go_on && *budget > 0) {
        row = (struct scan_row){0};
        error = merge_next(&m, &row.newest);
        if (error != OK) {
            break;
        }
        bool alive = false;
        row.rows_read = 1;
        error = look(s, kv, &row, row.newest.current.key, &alive);
        if (error == OK && alive) {
            error = visit(context, kv, &row, &go_on);
        }
        *budget -= row.rows_read < *budget ? row.rows_read : *budget;
    }
    if (error == OK &&
        go_on) { /* go on behind the last key: its successor, itself and a zero octet */
        s->resume.size = 0;
        buffer_append(&s->resume, row.newest.current.key.data, row.newest.current.key.size);
        buffer_u8(&s->resume, 0);
    }
    merge_end(&m);
    if (error == ERR_NOT_FOUND) {
        s->done = true;
        error = OK;
    }
    if (!go_on) {
        s->done = true;
        s->stopped = true;
    }
    return error;
}
