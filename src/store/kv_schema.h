/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_schema.h: the tables of kv-<generation>.db, format 2, and where the file lies. Tables and views
 * are an interface for people (docs/inspect.md): a change here is a new format.
 *
 *   current   the newest state of each key, small rows in key order; a deleted key stays as a
 *             tombstone until compaction
 *   history   every revision, appended in the order of changes; previous_change chains a key's
 *             revisions, jump_change skips (docs/decisions/0010)
 *   leases    those that exist, in cluster time; which keys a lease has is in current.lease, with an index
 *             over the rows that have one
 *   meta      one row: what of the log is in here. Written in the transaction of the data (trap 18).
 *             compact_progress: up to this change history is free of what compaction removes
 *   members   the configuration as of meta.applied_index (trap 44); removed_members: ids that were in
 *             it once and never come back (trap 42); declared_members: those who are to come
 *   wish      one row: how many should vote (0: auto), after which silence a voter is replaced
 *
 * change is revision << 20 | order within the revision: one integer, so that history is a rowid table.
 *
 * Format 2 brought leases and the removal of history. What it changed stands in pieces of its own below,
 * so that a new file and an upgraded one are made from the same text.
 */
#ifndef HOLDFAST_STORE_KV_SCHEMA_H
#define HOLDFAST_STORE_KV_SCHEMA_H

#include "base.h"
#include "db.h"
#include "log_schema.h"

#define KV_COPY_SYNC_BYTES                                                                         \
    (8u << 20) /* of a copy that grows are synced together; the rest at its end */

/* Full path of the group's file in data_dir; free with mem_free. ERR_IO. */
MUST_USE enum err kv_path(const char *data_dir, uint32_t group, uint64_t generation, char **out);
/* The file beside it that says whose copy it is the beginning of; while it is there kv_path is no table. */
MUST_USE enum err kv_part_path(const char *data_dir, uint32_t group, uint64_t generation,
                               char **out);

/* A connection to the table at `path`, for reading; waits a moment where another process recovers the WAL. name: of the
 * file, for people. Errors and problem are db_open's. */
MUST_USE enum err kv_connect(struct db *db, const char *path, const char *name, int cache_kib,
                             char *problem, size_t problem_size);

#define KV_META_CLUSTER_TIME     "cluster_time_us INTEGER NOT NULL DEFAULT 0"
#define KV_META_COMPACT_PROGRESS "compact_progress INTEGER NOT NULL DEFAULT 0"

#define KV_LEASES                                                                                  \
    "CREATE TABLE leases("                                                                         \
    " lease_id INTEGER PRIMARY KEY,"                                                               \
    " ttl_s INTEGER NOT NULL,"                                                                     \
    " deadline_us INTEGER NOT NULL,"                                                               \
    " granted_us INTEGER NOT NULL);"                                                               \
                                                                                                   \
    "CREATE INDEX current_lease ON current(lease) WHERE lease <> 0;"                               \
                                                                                                   \
    "CREATE VIEW leases_readable AS SELECT printf('%016x', lease_id) AS lease_hex, ttl_s,"         \
    " (deadline_us - (SELECT cluster_time_us FROM meta)) / 1000000 AS left_s,"                     \
    " (SELECT count(*) FROM current c WHERE c.lease = l.lease_id AND c.lease <> 0) AS key_count"   \
    " FROM leases l ORDER BY deadline_us;"

#define KV_MEMBERS_LEAVING  "leaving INTEGER NOT NULL DEFAULT 0"
#define KV_MEMBERS_ADDED_AS "added_as INTEGER NOT NULL DEFAULT 0"

#define KV_WISH                                                                                    \
    "CREATE TABLE wish("                                                                           \
    " one INTEGER PRIMARY KEY CHECK(one = 1),"                                                     \
    " voters INTEGER NOT NULL,"                                                                    \
    " heal_after_s INTEGER NOT NULL,"                                                              \
    " paused INTEGER NOT NULL);"                                                                   \
                                                                                                   \
    "CREATE TABLE declared_members("                                                               \
    " position INTEGER PRIMARY KEY,"                                                               \
    " member_id INTEGER NOT NULL UNIQUE,"                                                          \
    " peer TEXT NOT NULL,"                                                                         \
    " learner INTEGER NOT NULL);"

#define KV_REMOVED_MEMBERS                                                                         \
    "CREATE TABLE removed_members("                                                                \
    " position INTEGER PRIMARY KEY,"                                                               \
    " member_id INTEGER NOT NULL UNIQUE);"

#define KV_MEMBERS_READABLE                                                                        \
    "CREATE VIEW members_readable AS SELECT name, "                                                \
    "printf('%016x', member_id) AS member_id_hex,"                                                 \
    " peer, client,"                                                                               \
    " CASE WHEN leaving THEN 'leaving'"                                                            \
    " WHEN voter_incoming AND voter_outgoing THEN 'voter'"                                         \
    " WHEN voter_incoming THEN 'becoming a voter'"                                                 \
    " WHEN voter_outgoing THEN 'becoming a learner'"                                               \
    " ELSE 'learner' END AS role"                                                                  \
    " FROM members ORDER BY position;"

/* From format 1 to 2. */
#define KV_UPGRADE_1                                                                               \
    "ALTER TABLE meta ADD COLUMN " KV_META_CLUSTER_TIME ";"                                        \
    "ALTER TABLE meta ADD COLUMN " KV_META_COMPACT_PROGRESS ";" KV_LEASES                          \
    "ALTER TABLE members ADD COLUMN " KV_MEMBERS_LEAVING ";" KV_REMOVED_MEMBERS                    \
    "ALTER TABLE members ADD COLUMN " KV_MEMBERS_ADDED_AS ";"                                      \
    "DROP VIEW members_readable;" KV_MEMBERS_READABLE KV_WISH                                      \
    "INSERT INTO wish SELECT 1, count(*), 60, 0 FROM members WHERE voter_incoming;"

#define KV_SCHEMA                                                                                  \
    "CREATE TABLE meta("                                                                           \
    " one INTEGER PRIMARY KEY CHECK(one = 1),"                                                     \
    " applied_index INTEGER NOT NULL,"                                                             \
    " applied_term INTEGER NOT NULL,"                                                              \
    " revision INTEGER NOT NULL,"                                                                  \
    " compact_revision INTEGER NOT NULL,"                                                          \
    " cluster_id INTEGER NOT NULL, " KV_META_CLUSTER_TIME ", " KV_META_COMPACT_PROGRESS ");"       \
    "INSERT INTO meta(one, applied_index, applied_term, revision, compact_revision, cluster_id)"   \
    " VALUES(1, 0, 0, 1, 0, 0);"                                                                   \
                                                                                                   \
    "CREATE TABLE members("                                                                        \
    " position INTEGER PRIMARY KEY,"                                                               \
    " member_id INTEGER NOT NULL UNIQUE,"                                                          \
    " name TEXT NOT NULL,"                                                                         \
    " peer TEXT NOT NULL,"                                                                         \
    " client TEXT NOT NULL,"                                                                       \
    " voter_incoming INTEGER NOT NULL,"                                                            \
    " voter_outgoing INTEGER NOT NULL, " KV_MEMBERS_LEAVING ", " KV_MEMBERS_ADDED_AS ");"          \
                                                                                                   \
        KV_REMOVED_MEMBERS KV_WISH "INSERT INTO wish VALUES(1, 0, 60, 0);"                         \
                                                                                                   \
    "CREATE TABLE current("                                                                        \
    " key BLOB PRIMARY KEY,"                                                                       \
    " change INTEGER NOT NULL,"                                                                    \
    " create_revision INTEGER NOT NULL,"                                                           \
    " version INTEGER NOT NULL,"                                                                   \
    " lease INTEGER NOT NULL,"                                                                     \
    " depth INTEGER NOT NULL,"                                                                     \
    " deleted INTEGER NOT NULL) WITHOUT ROWID;"                                                    \
                                                                                                   \
    "CREATE TABLE history("                                                                        \
    " change INTEGER PRIMARY KEY,"                                                                 \
    " key BLOB NOT NULL,"                                                                          \
    " create_revision INTEGER NOT NULL,"                                                           \
    " version INTEGER NOT NULL,"                                                                   \
    " lease INTEGER NOT NULL,"                                                                     \
    " deleted INTEGER NOT NULL,"                                                                   \
    " previous_change INTEGER NOT NULL,"                                                           \
    " jump_change INTEGER NOT NULL,"                                                               \
    " value BLOB NOT NULL);"                                                                       \
                                                                                                   \
    "CREATE VIEW kv_readable AS SELECT " SQL_PRINTABLE("c.key") " AS key, " SQL_PRINTABLE(         \
        "h.value") " AS value,"                                                                    \
                   " c.create_revision, c.change >> 20 AS mod_revision, c.version,"                \
                   " printf('%016x', c.lease) AS lease_hex"                                        \
                   " FROM current c JOIN history h ON h.change = c.change"                         \
                   " WHERE c.deleted = 0 ORDER BY c.key;"                                          \
                                                                                                   \
                   "CREATE VIEW history_readable AS SELECT change >> 20 AS revision,"              \
                   " change & 1048575 AS sub, " SQL_PRINTABLE(                                     \
                       "key") " AS key,"                                                           \
                              " CASE deleted WHEN 0 THEN 'put' ELSE 'delete' END AS "              \
                              "event, " SQL_PRINTABLE(                                             \
                                  "value") " AS value, create_revision, version, printf('%016x', " \
                                           "lease) AS lease_hex,"                                  \
                                           " change, previous_change"                              \
                                           " FROM history ORDER BY change;"                        \
                                                                                                   \
        KV_MEMBERS_READABLE                                                                        \
                                                                                                   \
                                           "CREATE VIEW status AS SELECT printf('%016x', "         \
                                           "cluster_id) AS cluster_id_hex,"                        \
                                           " applied_index, applied_term, revision, "              \
                                           "compact_revision,"                                     \
                                           " (SELECT count(*) FROM members) AS member_count FROM " \
                                           "meta;" KV_LEASES

#endif
