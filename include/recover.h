/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover.h: a quorum is lost for good: one member's data directory becomes a cluster of that member alone. Offline: the
 * caller holds the data directory (data_dir_take), no daemon runs on it.
 *
 * What is kept is this node's log, all of it: also entries that were never acknowledged. What may be lost are
 * acknowledged writes after its last entry, if the members that are gone had them and this one did not.
 * Nobody can know from one disk whether there were any.
 *
 * The new cluster has a new id, so that a former member that comes back with its old disk is refused and the two never
 * mix; and the former members' ids stand in its list of removed ones. The new configuration is an entry of the log,
 * of a term above all this node knows, so that tables, followers and readers learn it as any other.
 *
 * Invariants
 *  1. recover_look changes nothing that a start of the daemon would not change (it counts as one; a damaged log
 *     is noted as such).
 *  2. recover_force is one transaction of raft.db, and its mark: after a crash there is the old state or the new one.
 */
#ifndef HOLDFAST_RECOVER_H
#define HOLDFAST_RECOVER_H

#include "store.h"

struct recover;

struct recover_found {
    struct node_identity identity;
    struct kv_meta kv;
    uint64_t current_term;
    uint64_t first_index, last_index, last_term; /* first_index > last_index: the log is empty */
    uint64_t committed_index;           /* at least so much is committed; the rest may be or not */
    bool damaged;                       /* the disk lost what it had acknowledged ... */
    char damage_text[160];              /* ... "" if that was found at an earlier start */
    struct configuration configuration; /* newest in the log */
    size_t own_index;                   /* this node in it */
};

/*
 * Hold data_dir/holdfast.lock for the life of the process. make: make the directory if its parent exists.
 *
 * problem  on error: one sentence (problem_size octets)
 *
 * ERR_BUSY_FILE: another process holds it; ERR_IO.
 */
MUST_USE enum err data_dir_take(const char *data_dir, bool make, char *problem,
                                size_t problem_size);

/*
 * Look at what there is.
 *
 * cluster, node  names, as of the configuration file
 * seed           randomness, should a member id be needed (there is none then, and nothing to recover)
 *
 * ERR_NOT_FOUND: no cluster, or this node is no member of it; as log_db_open and kv_writer_open else.
 */
MUST_USE enum err recover_look(const char *data_dir, const char *cluster, const char *node,
                               uint32_t group, uint64_t seed, struct recover **out, char *problem,
                               size_t problem_size);
const struct recover_found *recover_found(const struct recover *r);
/* It is the only member already. */
bool recover_is_alone(const struct recover *r);

/*
 * Make the new cluster.
 *
 * own         addresses of this node from now on; name and id are those of the data directory
 * cluster_id  new, random, never 0
 * out         the new configuration
 *
 * ERR_IO, ERR_DISK_FULL, ERR_BUSY_FILE (a person holds raft.db).
 */
MUST_USE enum err recover_force(struct recover *r, const struct member *own, uint64_t cluster_id,
                                struct configuration *out);
void recover_close(struct recover **r); /* NULL is fine */

#endif
