/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.h: the state machine's private struct, seen by the files of this room only.
 *
 *   mvcc.c     create, destroy, apply an entry
 *   write.c    the changes of one entry: puts and range deletes
 *   lease.c    leases in cluster time
 *   txn.c      transactions
 *   read.c     sliced reads
 *   range.c    one range
 *   scan.c     the live keys of a range at a revision
 *   seal.c     batches: sealing, flushed, sizes
 *   hash.c     checksum of the logical state
 *   events.c   changes recorded for watchers
 *   history.c  a key's chain of revisions, jump pointers
 *   merge.c    memory and disk as one ordered scan
 *
 * Invariants
 *  1. Every change of an applied entry is in overlay.open and, encoded for the flusher, in `open`; or
 *     both were sealed; or it is in kv.db.
 *  2. sealed_number != 0 exactly if overlay.has_sealed.
 *  3. open_entries > 0 exactly if applied_index is beyond what the last sealed batch carries.
 */
#ifndef HOLDFAST_KV_STATE_H
#define HOLDFAST_KV_STATE_H

#include "kv.h"
#include "kv/lease_table.h"
#include "kv/overlay.h"

/* A result that gRPC could not carry in one message is refused: etcd's own bound on sending. */
#define RESULT_BYTES_MAX ((size_t)INT32_MAX)

#define REVISION_MAX ((int64_t)((UINT64_C(1) << (63 - CHANGE_SUB_BITS)) - 1))

struct kv {
    struct kv_reader *reader;
    struct kv_limits limits;
    struct overlay overlay;

    int64_t revision;
    int64_t compact_revision;
    uint64_t cluster_time_us; /* greatest stamp of an applied entry */
    uint64_t applied_index, applied_term;

    struct kv_batch *open; /* NULL until an entry is applied after sealing */
    uint64_t open_entries;
    uint64_t open_since_us; /* when its first entry was applied */
    uint64_t next_number;
    uint64_t sealed_number;
    size_t sealed_bytes;        /* of the sealed batch's encoding, which flush holds */
    int64_t sealed_revision;    /* revision as of the newest sealed batch */
    int64_t committed_revision; /* kv.db holds every change up to here */

    struct lease_table leases;
    uint64_t leases_renewed; /* since kv_create; no part of the state */
    enum err load_error;     /* of kv_create, for the first call that can return it */

    bool events_wanted;        /* someone on this node watches */
    struct event_block events; /* since kv_events_take; empty unless wanted */

    struct buffer scan_key;      /* of merge.c: key of the disk row looked ahead at */
    uint64_t history_disk_reads; /* rows of history fetched from disk, for figures and tests */
};

/* Keep the change for watchers, if there are any. Before the row's octets go: they may be the overlay's. */
void events_record(struct kv *kv, const struct kv_history *row);

/* The keys a command or query speaks of, as etcd encodes them. */
struct key_range {
    struct view start;
    struct view end; /* exclusive; not looked at when unbounded or single */
    bool single;     /* just `start` */
    bool unbounded;  /* to the last key */
};
struct key_range key_range_of(struct view key, struct view range_end);

/* The key's newest state, from memory or disk. */
struct newest {
    struct overlay_node *node; /* NULL: not in memory */
    struct kv_current
        current; /* change 0: the key never existed; key valid until the next reader call */
};
MUST_USE enum err newest_of(struct kv *kv, struct view key, struct newest *out);
/* The value of the key's newest revision, which exists; valid until the next reader call. */
MUST_USE enum err newest_value(struct kv *kv, const struct newest *newest, struct view key,
                               struct view *out);

#endif
