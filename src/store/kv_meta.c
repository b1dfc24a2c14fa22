/* SPDX-License-Identifier: Apache-2.0 */
/* kv_meta.c: see kv_meta.h. */
#include "kv_meta.h"

#include <string.h>

static bool copy_text(sqlite3_stmt *s, int at, char *out, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(s, at);
    if (text == NULL || strlen(text) >= size) {
        return false;
    }
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static enum err read_members(struct db *db, struct configuration *out)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    enum err error = db_prepare(db,
                                "SELECT member_id, name, peer, client, voter_incoming, "
                                "voter_outgoing, leaving, added_as FROM members ORDER BY position",
                                &s);
    if (error != OK) {
        return error;
    }
    error = db_step(db, s, &row);
    while (error == OK && row) {
        if (out->count == MEMBERS_MAX) {
            error = ERR_CORRUPT;
            break;
        }
        struct member *m = &out->members[out->count];
        m->id = db_column_u64(s, 0);
        if (!copy_text(s, 1, m->name, sizeof(m->name)) ||
            !copy_text(s, 2, m->peer, sizeof(m->peer)) ||
            !copy_text(s, 3, m->client, sizeof(m->client))) {
            error = ERR_CORRUPT;
            break;
        }
        m->voter_incoming = sqlite3_column_int(s, 4) != 0;
        m->voter_outgoing = sqlite3_column_int(s, 5) != 0;
        m->leaving = sqlite3_column_int(s, 6) != 0;
        m->added_as = db_column_u64(s, 7);
        out->count++;
        error = db_step(db, s, &row);
    }
    db_done(s);
    return error;
}

static enum err read_removed(struct db *db, struct configuration *out)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    enum err error = db_prepare(db, "SELECT member_id FROM removed_members ORDER BY position", &s);
    if (error != OK) {
        return error;
    }
    error = db_step(db, s, &row);
    while (error == OK && row) {
        if (out->removed_count == REMOVED_MAX) {
            error = ERR_CORRUPT;
            break;
        }
        out->removed[out->removed_count++] = db_column_u64(s, 0);
        error = db_step(db, s, &row);
    }
    db_done(s);
    return error;
}

static enum err read_wish(struct db *db, struct configuration *out)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    enum err error = db_prepare(db, "SELECT voters, heal_after_s, paused FROM wish", &s);
    if (error != OK) {
        return error;
    }
    error = db_step(db, s, &row);
    if (error == OK && !row) {
        error = ERR_CORRUPT;
    }
    if (error == OK) {
        out->wish.voters = (uint32_t)db_column_u64(s, 0);
        out->wish.heal_after_s = (uint32_t)db_column_u64(s, 1);
        out->wish.paused = sqlite3_column_int(s, 2) != 0;
        error = out->wish.voters > MEMBERS_MAX ? ERR_CORRUPT : OK;
    }
    db_done(s);
    return error;
}

static enum err read_declared(struct db *db, struct configuration *out)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    enum err error = db_prepare(
        db, "SELECT member_id, peer, learner FROM declared_members ORDER BY position", &s);
    if (error != OK) {
        return error;
    }
    error = db_step(db, s, &row);
    while (error == OK && row) {
        struct declared_member *d = &out->declared[out->declared_count];
        if (out->declared_count == DECLARED_MAX || !copy_text(s, 1, d->peer, sizeof(d->peer))) {
            error = ERR_CORRUPT;
            break;
        }
        d->id = db_column_u64(s, 0);
        d->learner = sqlite3_column_int(s, 2) != 0;
        out->declared_count++;
        error = db_step(db, s, &row);
    }
    db_done(s);
    return error;
}

static enum err read_configuration(struct db *db, struct configuration *out)
{
    enum err error = read_members(db, out);
    if (error == OK) {
        error = read_removed(db, out);
    }
    if (error == OK) {
        error = read_wish(db, out);
    }
    return error == OK ? read_declared(db, out) : error;
}

enum err kv_meta_read(struct db *db, struct kv_meta *out)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    enum err error =
        db_prepare(db,
                   "SELECT applied_index, applied_term, revision, compact_revision, cluster_id, "
                   "cluster_time_us, compact_progress FROM meta",
                   &s);
    if (error == OK) {
        error = db_step(db, s, &row);
    }
    if (error == OK && !row) {
        error = ERR_CORRUPT;
    }
    if (error == OK) {
        out->applied_index = db_column_u64(s, 0);
        out->applied_term = db_column_u64(s, 1);
        out->revision = sqlite3_column_int64(s, 2);
        out->compact_revision = sqlite3_column_int64(s, 3);
        out->configuration.cluster_id = db_column_u64(s, 4);
        out->cluster_time_us = db_column_u64(s, 5);
        out->compact_progress = db_column_u64(s, 6);
    }
    if (s != NULL) {
        db_done(s);
    }
    return error == OK ? read_configuration(db, &out->configuration) : error;
}
