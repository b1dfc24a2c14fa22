/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_state.h: what log_db.c (writing) and log_recover.c (reading at start) share: the open raft.db,
 * its mark, and the state of each group as the newest transaction left it.
 *
 * Invariants
 *  1. A group's fields are what its hard_state row holds, plus what the open transaction will write
 *     (row_dirty) and the mark then must say (mark_dirty).
 *  2. trimmed_index <= last_log_index; the table holds exactly the entries between them.
 *  3. persist_sequence rises with every persist; the mark never says more than a committed row.
 */
#ifndef HOLDFAST_STORE_LOG_STATE_H
#define HOLDFAST_STORE_LOG_STATE_H

#include "db.h"
#include "raft_mark.h"
#include "store.h"

#define LOG_DAMAGE_TEXT_MAX 160

struct log_group {
    uint32_t group;
    uint64_t current_term, voted_for;
    uint64_t persist_sequence;
    uint64_t trimmed_index, trimmed_term;
    uint64_t last_log_index, last_log_term;
    uint64_t leader, commit_index; /* as observed; for people */
    bool may_not_vote;
    bool row_dirty, mark_dirty;
    struct raft_mark_slot marked; /* as last written */
};

struct log_db {
    struct db db;
    struct raft_mark *mark;
    struct node_identity identity;
    struct log_group *groups; /* those recovered */
    size_t group_count, group_capacity;
    /* As they were at log_db_begin, for a transaction that finds the disk full. */
    struct log_group *saved_groups;
    size_t saved_capacity;
    uint64_t saved_cluster_id;
    bool in_batch;
    bool failure_noted;
    char
        damage_text[LOG_DAMAGE_TEXT_MAX]; /* what was found before any group was read; "" nothing */

    sqlite3_stmt *entry_insert, *entry_delete, *entry_read, *entry_term;
    sqlite3_stmt *generation_read, *generation_write;
    sqlite3_stmt *state_read, *state_write, *cluster_write;
};

/* The recovered group, or NULL. */
struct log_group *log_group_find(struct log_db *db, uint32_t group);
/* Write the group's hard_state row; in a transaction. */
MUST_USE enum err log_group_write(struct log_db *db, const struct log_group *g);
/* Write the group's mark (not synced). */
MUST_USE enum err log_group_mark(struct log_db *db, struct log_group *g);
/* Delete the rows of entries first..last. */
MUST_USE enum err log_entries_delete(struct log_db *db, uint32_t group, uint64_t first,
                                     uint64_t last);
/* Passes the error on; a write or sync error is noted in the mark for the next start (trap 20). */
enum err log_db_note(struct log_db *db, enum err error);

/* What crc of a row must be. */
uint32_t log_row_checksum(uint32_t group, const struct entry *e);

/* The columns entry_read gives, in its order. */
enum log_column {
    LOG_COLUMN_ID,
    LOG_COLUMN_TERM,
    LOG_COLUMN_TYPE,
    LOG_COLUMN_ORIGIN,
    LOG_COLUMN_REQUEST_ID,
    LOG_COLUMN_CRC,
    LOG_COLUMN_DATA
};
/* The row entry_read stands on; *crc_matches says whether it is what was written. Data is borrowed until
 * the next step. */
void log_row_entry(struct log_db *db, uint32_t group, struct entry *out, bool *crc_matches);

#endif
