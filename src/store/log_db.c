/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_db.c: raft.db while the node runs: group commits, reads for lagging followers, trimming, and
 * what people may see of it. Opening is in log_open.c, reading a group at start in log_recover.c.
 *
 * Order at a commit: rows and hard state in one transaction; COMMIT returns when the WAL is synced; then
 * the mark; only then does log_db_commit return, so that no acknowledgement leaves before (trap 22).
 */
#include "log_state.h"

#include "command.h"
#include "log_schema.h"

#include <string.h>

/* ---- shared with opening and recovery ---------------------------------------------------------- */

struct log_group *log_group_find(struct log_db *db, uint32_t group)
{
    for (size_t i = 0; i < db->group_count; i++) {
        if (db->groups[i].group == group) {
            return &db->groups[i];
        }
    }
    return NULL;
}

/* A new file has none, and then there are no arrays either. */
static void groups_copy(struct log_group *to, const struct log_group *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        to[i] = from[i];
    }
}

/* The disk is full: nothing was committed, and nothing here says otherwise. */
static void undo(struct log_db *db)
{
    db_rollback(&db->db);
    groups_copy(db->groups, db->saved_groups, db->group_count);
    db->identity.cluster_id = db->saved_cluster_id;
    db->in_batch = false;
}

enum err log_db_note(struct log_db *db, enum err error)
{
    if (error == ERR_DISK_FULL && db->in_batch) {
        undo(db);
        return error;
    }
    if (error != OK && error != ERR_BUSY_FILE) {
        db->db.failed = true;
        if (db->db.write_failed && !db->failure_noted) {
            db->failure_noted = true;
            if (raft_mark_write_failure(db->mark, true) != OK) {
                log_event(
                    LOG_ERROR, "failure cannot be noted",
                    "file=raft.mark next=\"replace the disk before starting this node again\"");
            }
        }
    }
    return error;
}

enum err log_group_write(struct log_db *db, const struct log_group *g)
{
    sqlite3_stmt *s = db->state_write;
    db_bind_u64(s, 1, g->group);
    db_bind_u64(s, 2, g->current_term);
    db_bind_u64(s, 3, g->voted_for);
    db_bind_u64(s, 4, g->persist_sequence);
    db_bind_u64(s, 5, g->may_not_vote ? 1 : 0);
    db_bind_u64(s, 6, g->trimmed_index);
    db_bind_u64(s, 7, g->trimmed_term);
    db_bind_u64(s, 8, g->last_log_index);
    db_bind_u64(s, 9, g->last_log_term);
    db_bind_u64(s, 10, g->leader);
    db_bind_u64(s, 11, g->commit_index);
    return db_run(&db->db, s);
}

enum err log_group_mark(struct log_db *db, struct log_group *g)
{
    struct raft_mark_slot slot = {
        .persist_sequence = g->persist_sequence,
        .current_term = g->current_term,
        .voted_for = g->voted_for,
        .last_log_index = g->last_log_index,
        .last_log_term = g->last_log_term,
    };
    enum err error = raft_mark_store(db->mark, db->identity.member_id, g->group, &slot);
    if (error == OK) {
        g->marked = slot;
    } else if (error == ERR_IO) {
        db->db.write_failed = true;
    }
    return error;
}

enum err log_entries_delete(struct log_db *db, uint32_t group, uint64_t first, uint64_t last)
{
    db_bind_u64(db->entry_delete, 1, log_row_id(group, first));
    db_bind_u64(db->entry_delete, 2, log_row_id(group, last));
    return db_run(&db->db, db->entry_delete);
}

static void word_put(uint8_t *at, uint64_t value)
{
    for (size_t i = 0; i < 8; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

uint32_t log_row_checksum(uint32_t group, const struct entry *e)
{
    uint8_t words[7 * 8];
    word_put(words, group);
    word_put(words + 8, e->index);
    word_put(words + 16, e->term);
    word_put(words + 24, (uint64_t)e->type);
    word_put(words + 32, e->origin);
    word_put(words + 40, e->request_id);
    word_put(words + 48, checksum64(e->data));
    return checksum32(view_of(words, sizeof(words)));
}

void log_row_entry(struct log_db *db, uint32_t group, struct entry *out, bool *crc_matches)
{
    sqlite3_stmt *s = db->entry_read;
    int64_t type = sqlite3_column_int64(s, LOG_COLUMN_TYPE);
    out->index = log_row_index(db_column_u64(s, LOG_COLUMN_ID));
    out->term = db_column_u64(s, LOG_COLUMN_TERM);
    out->origin = db_column_u64(s, LOG_COLUMN_ORIGIN);
    out->request_id = db_column_u64(s, LOG_COLUMN_REQUEST_ID);
    out->type = (enum entry_type)type;
    out->data = db_column_view(s, LOG_COLUMN_DATA);
    *crc_matches = type >= ENTRY_NOOP && type <= ENTRY_CONFIG &&
                   db_column_u64(s, LOG_COLUMN_CRC) == log_row_checksum(group, out);
}

/* ---- group commit ------------------------------------------------------------------------------ */

enum err log_db_begin(struct log_db *db)
{
    enum err error = db_begin(&db->db);
    if (error == OK) {
        ARRAY_RESERVE(db->saved_groups, db->saved_capacity, db->group_count);
        groups_copy(db->saved_groups, db->groups, db->group_count);
        db->saved_cluster_id = db->identity.cluster_id;
        db->in_batch = true;
    }
    return log_db_note(db, error);
}

/* Term of an entry in the table, or of the entry the log starts after. */
static enum err term_at(struct log_db *db, const struct log_group *g, uint64_t index, uint64_t *out)
{
    if (index == g->trimmed_index) {
        *out = g->trimmed_term;
        return OK;
    }
    bool row = false;
    db_bind_u64(db->entry_term, 1, log_row_id(g->group, index));
    enum err error = db_step(&db->db, db->entry_term, &row);
    if (error == OK && !row) {
        error = ERR_CORRUPT;
    }
    if (error == OK) {
        *out = db_column_u64(db->entry_term, 0);
    }
    db_done(db->entry_term);
    return error;
}

static enum err truncate(struct log_db *db, struct log_group *g, uint64_t from)
{
    ASSERT(from > g->trimmed_index);
    if (from > g->last_log_index) {
        return OK;
    }
    enum err error = log_entries_delete(db, g->group, from, g->last_log_index);
    if (error == OK) {
        error = term_at(db, g, from - 1, &g->last_log_term);
    }
    if (error == OK) {
        g->last_log_index = from - 1;
    }
    return error;
}

static enum err append(struct log_db *db, struct log_group *g, const struct entry *e)
{
    ASSERT(e->index == g->last_log_index + 1);
    ASSERT(e->term >= g->last_log_term);
    ASSERT(e->index <= LOG_INDEX_MAX);
    uint8_t op = 0;
    uint32_t key_size = 0;
    if (e->type == ENTRY_COMMAND) {
        command_peek(e->data, &op, &key_size);
    }
    sqlite3_stmt *s = db->entry_insert;
    db_bind_u64(s, 1, log_row_id(g->group, e->index));
    db_bind_u64(s, 2, e->term);
    db_bind_u64(s, 3, (uint64_t)e->type);
    db_bind_u64(s, 4, e->origin);
    db_bind_u64(s, 5, e->request_id);
    db_bind_u64(s, 6, op);
    db_bind_u64(s, 7, key_size);
    db_bind_u64(s, 8, log_row_checksum(g->group, e));
    db_bind_blob(s, 9, e->data);
    enum err error = db_run(&db->db, s);
    if (error == OK) {
        g->last_log_index = e->index;
        g->last_log_term = e->term;
    }
    return error;
}

/* Behind a snapshot: what it stands for goes, all at once, because the log's start is one number. */
static enum err begin_anew(struct log_db *db, struct log_group *g, uint64_t index, uint64_t term)
{
    ASSERT(index > g->trimmed_index);
    ASSERT(index <= LOG_INDEX_MAX);
    uint64_t last = index < g->last_log_index ? index : g->last_log_index;
    if (last > g->trimmed_index) {
        enum err error = log_entries_delete(db, g->group, g->trimmed_index + 1, last);
        if (error != OK) {
            return error;
        }
    }
    g->trimmed_index = index;
    g->trimmed_term = term;
    if (g->last_log_index <= index) {
        g->last_log_index = index;
        g->last_log_term = term;
    }
    return OK;
}

enum err log_db_persist(struct log_db *db, uint32_t group, const struct raft_persist *persist)
{
    if (db->db.failed) {
        return ERR_IO;
    }
    ASSERT(db->db.in_transaction);
    struct log_group *g = log_group_find(db, group);
    ASSERT(g != NULL);
    ASSERT(persist->sequence > g->persist_sequence);
    ASSERT(persist->current_term >= g->current_term);
    ASSERT(persist->current_term > g->current_term || g->voted_for == 0 ||
           persist->voted_for == g->voted_for);

    enum err error = OK;
    if (persist->truncate_from != 0) {
        error = truncate(db, g, persist->truncate_from);
    }
    if (error == OK && persist->reset_index != 0) {
        error = begin_anew(db, g, persist->reset_index, persist->reset_term);
    }
    for (size_t i = 0; error == OK && persist->entries != NULL && i < persist->entries->count;
         i++) {
        error = append(db, g, &persist->entries->items[i]);
    }
    g->persist_sequence = persist->sequence;
    g->current_term = persist->current_term;
    g->voted_for = persist->voted_for;
    g->may_not_vote = persist->may_not_vote;
    g->row_dirty = true;
    g->mark_dirty = true;
    return log_db_note(db, error);
}

void log_db_observe(struct log_db *db, uint32_t group, uint64_t leader_id, uint64_t commit_index)
{
    struct log_group *g = log_group_find(db, group);
    ASSERT(g != NULL);
    g->leader = leader_id;
    g->commit_index = commit_index;
}

enum err log_db_generation(struct log_db *db, uint32_t group, uint64_t *out)
{
    bool row = false;
    if (db->db.failed) {
        return ERR_IO;
    }
    db_bind_u64(db->generation_read, 1, group);
    enum err error = db_step(&db->db, db->generation_read, &row);
    if (error == OK) {
        *out = row ? db_column_u64(db->generation_read, 0) : 0;
    }
    db_done(db->generation_read);
    return log_db_note(db, error);
}

enum err log_db_set_generation(struct log_db *db, uint32_t group, uint64_t generation)
{
    if (db->db.failed) {
        return ERR_IO;
    }
    ASSERT(db->db.in_transaction);
    db_bind_u64(db->generation_write, 1, group);
    db_bind_u64(db->generation_write, 2, generation);
    return log_db_note(db, db_run(&db->db, db->generation_write));
}

enum err log_db_set_cluster_id(struct log_db *db, uint64_t cluster_id)
{
    if (db->db.failed) {
        return ERR_IO;
    }
    ASSERT(db->db.in_transaction);
    db_bind_u64(db->cluster_write, 1, cluster_id);
    enum err error = db_run(&db->db, db->cluster_write);
    if (error == OK) {
        db->identity.cluster_id = cluster_id;
    }
    return log_db_note(db, error);
}

enum err log_db_trim(struct log_db *db, uint32_t group, uint64_t through_index, uint32_t rows_max,
                     bool *more)
{
    if (db->db.failed) {
        return ERR_IO;
    }
    ASSERT(db->db.in_transaction);
    ASSERT(rows_max > 0);
    struct log_group *g = log_group_find(db, group);
    ASSERT(g != NULL);
    uint64_t through = through_index < g->last_log_index ? through_index : g->last_log_index;
    if (through <= g->trimmed_index) {
        *more = false;
        return OK;
    }
    uint64_t slice_end = g->trimmed_index + rows_max;
    if (slice_end > through) {
        slice_end = through;
    }
    uint64_t term = 0;
    enum err error = term_at(db, g, slice_end, &term);
    if (error == OK) {
        error = log_entries_delete(db, group, g->trimmed_index + 1, slice_end);
    }
    if (error == OK) {
        g->trimmed_index = slice_end;
        g->trimmed_term = term;
        g->row_dirty = true;
        *more = slice_end < through;
    }
    return log_db_note(db, error);
}

/* After COMMIT, before anybody is told (trap 22). */
static enum err write_marks(struct log_db *db)
{
    bool sync = false;
    for (size_t i = 0; i < db->group_count; i++) {
        struct log_group *g = &db->groups[i];
        if (!g->mark_dirty) {
            continue;
        }
        sync = sync || g->marked.current_term != g->current_term ||
               g->marked.voted_for != g->voted_for;
        enum err error = log_group_mark(db, g);
        if (error != OK) {
            return error;
        }
        g->mark_dirty = false;
    }
    if (!sync) {
        return OK;
    }
    enum err error = raft_mark_sync(db->mark);
    if (error != OK) {
        db->db.write_failed = true;
    }
    return error;
}

enum err log_db_commit(struct log_db *db)
{
    enum err error = OK;
    for (size_t i = 0; error == OK && i < db->group_count && !db->db.failed; i++) {
        if (db->groups[i].row_dirty) {
            error = log_group_write(db, &db->groups[i]);
            db->groups[i].row_dirty = false;
        }
    }
    if (error == OK) {
        error = db_commit(&db->db);
    } else {
        db_rollback(&db->db);
    }
    if (error == OK) {
        db->in_batch = false; /* it is on the disk: from here on every error is final */
        error = write_marks(db);
    }
    return log_db_note(db, error);
}

/* ---- between commits --------------------------------------------------------------------------- */

enum err log_db_maintain(struct log_db *db, bool idle)
{
    enum err error = db_maintain(&db->db, idle);
    /* No room to copy the WAL into the file: it stays where it is. */
    return error == ERR_DISK_FULL ? error : log_db_note(db, error);
}

enum err log_db_sync_mark(struct log_db *db)
{
    if (db->db.failed) {
        return ERR_IO;
    }
    enum err error = raft_mark_sync(db->mark);
    if (error != OK) {
        db->db.write_failed = true;
    } else {
        error = db_check_names(&db->db);
    }
    return log_db_note(db, error);
}

void log_db_figures(struct log_db *db, struct db_figures *out)
{
    db_figures(&db->db, out);
}

/* Copies of entries as they are read, before their number and size are known. */
struct gathered {
    struct entry *items; /* data.size counts; the octets are in `octets`, one after the other */
    size_t count, capacity;
    struct buffer octets;
};

static struct entries *gathered_block(const struct gathered *from)
{
    struct entries *block = entries_create(from->count, from->octets.size);
    size_t at = 0;
    for (size_t i = 0; i < from->count; i++) {
        struct entry e = from->items[i];
        e.data = view_of(from->octets.data + at, e.data.size);
        at += e.data.size;
        entries_add(block, &e);
    }
    return block;
}

enum err log_db_read(struct log_db *db, uint32_t group, uint64_t from, uint64_t to,
                     uint64_t bytes_max, struct entries **out)
{
    if (db->db.failed) {
        return ERR_IO;
    }
    struct log_group *g = log_group_find(db, group);
    ASSERT(g != NULL);
    if (from <= g->trimmed_index || from > g->last_log_index || to < from) {
        return ERR_NOT_FOUND;
    }
    if (to > g->last_log_index) {
        to = g->last_log_index;
    }
    struct gathered found = {0};
    uint64_t bytes = 0;
    bool row = false;
    db_bind_u64(db->entry_read, 1, log_row_id(group, from));
    db_bind_u64(db->entry_read, 2, log_row_id(group, to));
    enum err error = db_step(&db->db, db->entry_read, &row);
    while (error == OK && row) {
        struct entry e;
        bool matches = false;
        log_row_entry(db, group, &e, &matches);
        if (!matches || e.index != from + found.count) {
            error = ERR_CHECKSUM;
            break;
        }
        bytes += e.data.size + ENTRY_OVERHEAD;
        if (found.count > 0 && bytes > bytes_max) {
            break;
        }
        ARRAY_RESERVE(found.items, found.capacity, found.count + 1);
        found.items[found.count++] = e;
        buffer_append(&found.octets, e.data.data, e.data.size);
        error = db_step(&db->db, db->entry_read, &row);
    }
    db_done(db->entry_read);
    if (error == OK && found.count == 0) {
        error = ERR_CHECKSUM; /* rows the hard state counts are not there */
    }
    if (error == OK) {
        *out = gathered_block(&found);
    }
    mem_free(found.items);
    buffer_free(&found.octets);
    return log_db_note(db, error);
}
