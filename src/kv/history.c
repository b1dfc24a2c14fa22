/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history.c: walking and extending the chain of a key's revisions.
 *
 * To extend it, the new row at depth n needs jump(jump(parent)) when its width is more than 1. A node
 * in memory carries both jumps of its newest row, so that a hot key reads a row for every fourth put
 * only, and that one is usually in memory too; depths up to 5 never need one.
 */
#include "kv/history.h"

uint64_t history_jump_width(uint64_t depth)
{
    ASSERT(depth > 0);
    ASSERT(depth < (UINT64_C(1) << 62));
    uint64_t rest = depth;
    uint64_t term = 0;
    while (rest > 0) {
        /* The greatest 2^k - 1 <= rest: rest + 1 >= 2^k. */
        term = (UINT64_C(1) << (63 - (unsigned)__builtin_clzll(rest + 1))) - 1;
        rest -= term;
    }
    return term;
}

static void row_from_overlay(const struct overlay_row *row, struct kv_history *out)
{
    *out = (struct kv_history){
        .change = row->change,
        .key = overlay_key(row->node),
        .value = view_of(row->value, row->value_size),
        .create_revision = row->create_revision,
        .version = row->version,
        .lease = row->lease,
        .deleted = row->deleted,
        .previous_change = row->previous_change,
        .jump_change = row->jump_change,
    };
}

/* As history_row, but a row that is not there is ERR_NOT_FOUND. */
static enum err row_look_up(struct kv *kv, struct view key, uint64_t change, struct kv_history *out)
{
    struct kv_history found = {0};
    const struct overlay_row *row = overlay_row_find(&kv->overlay, change);
    if (row != NULL) {
        row_from_overlay(row, &found);
    } else {
        kv->history_disk_reads++;
        enum err error = kv_reader_history(kv->reader, change, &found);
        if (error != OK) {
            return error;
        }
    }
    if (found.change != change || !view_equal(found.key, key) || found.previous_change >= change ||
        found.jump_change >= change) {
        log_event(LOG_ERROR, "history row does not belong to its key",
                  "revision=%" PRId64 " sub=%" PRIu64, change_revision(change),
                  change & CHANGE_SUB_MAX);
        return ERR_CORRUPT;
    }
    *out = found;
    return OK;
}

enum err history_row(struct kv *kv, struct view key, uint64_t change, struct kv_history *out)
{
    enum err error = row_look_up(kv, key, change, out);
    if (error == ERR_NOT_FOUND) {
        log_event(LOG_ERROR, "history row is missing", "revision=%" PRId64 " sub=%" PRIu64,
                  change_revision(change), change & CHANGE_SUB_MAX);
        return ERR_CORRUPT;
    }
    return error;
}

enum err history_row_or_none(struct kv *kv, struct view key, uint64_t change,
                             struct kv_history *out)
{
    enum err error = change == 0 ? ERR_NOT_FOUND : row_look_up(kv, key, change, out);
    if (error != ERR_NOT_FOUND) {
        return error;
    }
    if (change != 0 && change_revision(change) >= kv->compact_revision) {
        return history_row(kv, key, change, out); /* says what is missing */
    }
    *out = (struct kv_history){0};
    return OK;
}

enum err history_find(struct kv *kv, struct view key, uint64_t newest, uint64_t at_most,
                      struct kv_history *out, uint64_t *rows_read)
{
    struct kv_history row = {0};
    uint64_t change = newest;
    /* Ends: each step goes to a smaller change (row_look_up checks it). */
    while (change > at_most) {
        ++*rows_read;
        enum err error = history_row(kv, key, change, &row);
        if (error != OK) {
            return error;
        }
        change = row.jump_change > at_most ? row.jump_change : row.previous_change;
    }
    if (change == 0) {
        *out = (struct kv_history){0};
        return OK;
    }
    ++*rows_read;
    return history_row_or_none(kv, key, change, out);
}

/* The jump of a row. 0 for a row that compaction took away: a jump of 0 is never followed, so a chain
 * built on it is as right, only slower behind the compact revision, where nobody may read. */
static enum err jump_of(struct kv *kv, struct view key, uint64_t change, uint64_t *out)
{
    if (change == 0) {
        *out = 0;
        return OK;
    }
    struct kv_history row = {0};
    enum err error = row_look_up(kv, key, change, &row);
    if (error == ERR_NOT_FOUND && change_revision(change) <= kv->compact_revision) {
        *out = 0;
        return OK;
    }
    if (error == ERR_NOT_FOUND) {
        return ERR_CORRUPT;
    }
    if (error == OK) {
        *out = row.jump_change;
    }
    return error;
}

enum err history_link_next(struct kv *kv, struct view key, const struct newest *newest,
                           struct history_link *out)
{
    uint64_t parent = newest->current.change;
    uint64_t depth = newest->current.depth + 1;
    uint64_t width = history_jump_width(depth);
    struct overlay_node *node = newest->node;
    struct history_link link = {.previous_change = parent};
    enum err error = OK;

    if (width == depth) { /* the jump leads before the oldest row */
        link.jump_change = 0;
        link.jump_jump = 0;
        link.jump_jump_known = true;
        goto out;
    }
    if (width == 1) {
        link.jump_change = parent;
        link.jump_jump_known = node != NULL && node->jump_known;
        link.jump_jump = link.jump_jump_known ? node->jump_change : 0;
        goto out;
    }
    uint64_t jump = 0;
    uint64_t jump_jump = 0;
    if (node != NULL && node->jump_known) {
        jump = node->jump_change;
    } else {
        error = jump_of(kv, key, parent, &jump);
        if (error != OK) {
            goto out;
        }
    }
    if (node != NULL && node->jump_known && node->jump_jump_known) {
        jump_jump = node->jump_jump_change;
    } else {
        error = jump_of(kv, key, jump, &jump_jump);
        if (error != OK) {
            goto out;
        }
    }
    link.jump_change = jump_jump;
    link.jump_jump = 0;
    link.jump_jump_known = jump_jump == 0;

out:
    if (error == OK) {
        *out = link;
    }
    return error;
}
