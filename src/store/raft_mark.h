/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_mark.h: the small file data_dir/raft.mark, which says what raft.db must at least contain.
 *
 * One flipped bit in the middle of an SQLite WAL silently drops every later committed transaction,
 * term and vote too (trap 22). The mark is the second witness: after each commit of raft.db and
 * before any acknowledgement leaves, the group's {persist_sequence, term, vote, last entry} is
 * written here. It is synced at once only when term or vote changed, else within a second by
 * log_db_sync_mark. So it is exact after kill -9, and after a power cut it may lag, never lead.
 *
 * Layout: sectors of 512 octets, so that a torn write spoils one of them at most.
 *   sector 0          magic, format
 *   sector 1          set when a sync of raft.db failed: the next start takes the log for damaged
 *   sector 2 + 2g     first slot of group g
 *   sector 3 + 2g     second slot; the two are written in turn, so the other one is always whole
 * Each used sector carries the member id (a mark of another incarnation counts for nothing) and a
 * checksum.
 *
 * Not here: what a difference between mark and file means; log_recover.c decides that.
 */
#ifndef HOLDFAST_STORE_RAFT_MARK_H
#define HOLDFAST_STORE_RAFT_MARK_H

#include "base.h"

#define RAFT_MARK_FORMAT       1
#define RAFT_MARK_SECTOR_BYTES 512
#define RAFT_MARK_GROUPS_MAX   1024

/* What the newest commit of a group left behind. */
struct raft_mark_slot {
    uint64_t persist_sequence;
    uint64_t current_term, voted_for;
    uint64_t last_log_index, last_log_term;
};

enum raft_mark_state {
    RAFT_MARK_NONE,    /* never written for this group and member */
    RAFT_MARK_FOUND,   /* the newest slot is in *out */
    RAFT_MARK_SPOILED, /* something was written, and neither slot can be read */
};

struct raft_mark;

/* Open or create. ERR_IO, ERR_DISK_FULL, ERR_NEWER_FORMAT. */
MUST_USE enum err raft_mark_open(const char *path, struct raft_mark **out);
/* Closes without a sync. NULL is fine. */
void raft_mark_close(struct raft_mark **mark);

/* Read both slots of a group. ERR_IO. Call before the first raft_mark_store of the group. */
MUST_USE enum err raft_mark_load(struct raft_mark *mark, uint64_t member_id, uint32_t group,
                                 enum raft_mark_state *state, struct raft_mark_slot *out);
/* Write the slot that is older; not synced. ERR_IO, ERR_DISK_FULL. */
MUST_USE enum err raft_mark_store(struct raft_mark *mark, uint64_t member_id, uint32_t group,
                                  const struct raft_mark_slot *slot);
/* fdatasync, if anything was written since the last one. ERR_IO */
MUST_USE enum err raft_mark_sync(struct raft_mark *mark);

/* Whether the last run ended because raft.db could not be written or synced. ERR_IO */
MUST_USE enum err raft_mark_read_failure(struct raft_mark *mark, bool *failed);
/* Note it for the next start, or clear the note; synced. Setting it is an attempt: the disk may be gone. */
MUST_USE enum err raft_mark_write_failure(struct raft_mark *mark, bool failed);

#endif
