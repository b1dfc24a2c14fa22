/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wal_scan.h: look through a write-ahead log before SQLite opens it, for commits that SQLite would
 * silently drop because something before them is spoiled (trap 22).
 *
 * SQLite reads a WAL up to the first frame whose checksum fails and forgets what follows. That is
 * right for a torn tail: the last transaction, whose sync never returned. It is wrong for a flipped
 * bit in the middle. The two are told apart: each transaction of raft.db is synced before the next one
 * begins, so a torn tail is ONE transaction. Proof of damage is therefore a valid commit frame that
 * belongs to a later transaction than the first spoiled frame:
 *   - two valid commit frames behind it, or
 *   - one behind a spoiled frame that itself ended a transaction.
 * A lone valid commit behind spoiled frames may be the torn tail's own; raft.mark decides those.
 *
 * A spoiled head proves nothing either: it is rewritten when the WAL starts anew, and then all that lay
 * behind it is in the database already. The mark decides.
 *
 * A frame's checksum goes on from the one before, so after a spoiled frame the chain is taken up again
 * from the checksum stored in the preceding frame's header. Only frames with the salts of this WAL
 * generation count; older ones lie behind legitimately.
 *
 * File format: sqlite.org/fileformat2.html, section 4 (read as documentation, not linked to).
 */
#ifndef HOLDFAST_STORE_WAL_SCAN_H
#define HOLDFAST_STORE_WAL_SCAN_H

#include "base.h"

struct wal_scan {
    uint64_t frame_count; /* whole frames in the file, of any generation */
    uint64_t valid_count; /* frames up to the last commit SQLite will see */
    uint64_t
        spoiled_frame;     /* first one that fails, from 1; 0 when the head is spoiled or none is */
    uint64_t lost_commits; /* valid commits behind it */
    bool damaged;
};

/* No file, or an empty one, is fine: all zero. ERR_IO. */
MUST_USE enum err wal_scan_file(const char *wal_path, struct wal_scan *out);

#endif
