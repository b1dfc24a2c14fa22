/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_schema.h: the tables of raft.db, format 2, and the one place that knows how an entry's row is
 * keyed. The tables and views are an interface for people (docs/inspect.md): a change here is a new
 * format.
 *
 * One raft.db serves all groups of a node, so that one sync is enough for all of them
 * (docs/decisions/0012). A row's key is one integer, group and index composed: appends then go to the
 * right-hand end of a rowid b-tree, SQLite's cheapest insert. People see group_id and idx as columns.
 *
 * hard_state is ONE row per group: term, vote, the number of the newest persist, where the log starts
 * and ends. It is written in the transaction of the entries (trap 1).
 *
 * crc covers group, index, term, type, origin, request_id and data (log_row_checksum). op and key_size
 * only repeat what is in data, for the views.
 *
 * Format 2: log_readable names the operations that came with transactions, leases and compaction.
 */
#ifndef HOLDFAST_STORE_LOG_SCHEMA_H
#define HOLDFAST_STORE_LOG_SCHEMA_H

#include "base.h"

#define LOG_INDEX_BITS 48
#define LOG_INDEX_MAX  ((UINT64_C(1) << LOG_INDEX_BITS) - 1)

/* The key of an entry's row. */
static inline uint64_t log_row_id(uint32_t group, uint64_t index)
{
    return (uint64_t)group << LOG_INDEX_BITS | index;
}

static inline uint64_t log_row_index(uint64_t id)
{
    return id & LOG_INDEX_MAX;
}

/* SQL: octets as text when they are printable, else as x'hex'. */
#define SQL_PRINTABLE(octets)                                                                      \
    "CASE WHEN instr(" octets ", x'00') = 0 AND CAST(" octets " AS TEXT) NOT GLOB '*[^ -~' || "    \
    "char(9, 10, 13) || char(160) || '-' || char(65532) || char(65536) || '-' || char(1114111) "   \
    "|| ']*' THEN CAST(" octets " AS TEXT) ELSE 'x''' || hex(" octets ") || '''' END"

#define LOG_READABLE_VIEW                                                                          \
    "CREATE VIEW log_readable AS SELECT group_id, idx, term,"                                      \
    " CASE type WHEN 0 THEN 'noop' WHEN 1 THEN 'command' WHEN 2 THEN 'configuration'"              \
    "  ELSE 'type ' || type END AS type,"                                                          \
    " CASE WHEN type <> 1 THEN '' ELSE CASE op"                                                    \
    "  WHEN 1 THEN 'put' WHEN 2 THEN 'delete_range' WHEN 3 THEN 'txn' WHEN 4 THEN 'compact'"       \
    "  WHEN 5 THEN 'lease_grant' WHEN 6 THEN 'lease_revoke' WHEN 7 THEN 'lease_keepalive'"         \
    "  WHEN 8 THEN 'lease_expire' WHEN 9 THEN 'clock'"                                             \
    "  ELSE 'operation ' || op END END AS op,"                                                     \
    " CASE WHEN type <> 1 THEN '' ELSE " SQL_PRINTABLE(                                            \
        "substr(data, 21, key_size)") " END AS key,"                                               \
                                      " length(data) AS size,"                                     \
                                      " printf('%016x', origin) AS origin_hex,"                    \
                                      " printf('%016x', request_id) AS request_hex"                \
                                      " FROM log;"

/* From format 1 to 2. */
#define LOG_UPGRADE_1 "DROP VIEW log_readable; " LOG_READABLE_VIEW

#define LOG_SCHEMA                                                                                 \
    "CREATE TABLE node("                                                                           \
    " one INTEGER PRIMARY KEY CHECK(one = 1),"                                                     \
    " cluster TEXT NOT NULL,"                                                                      \
    " name TEXT NOT NULL,"                                                                         \
    " member_id INTEGER NOT NULL,"                                                                 \
    " cluster_id INTEGER NOT NULL,"                                                                \
    " boot_number INTEGER NOT NULL);"                                                              \
                                                                                                   \
    "CREATE TABLE groups("                                                                         \
    " group_id INTEGER PRIMARY KEY,"                                                               \
    " kv_generation INTEGER NOT NULL);"                                                            \
                                                                                                   \
    "CREATE TABLE hard_state("                                                                     \
    " group_id INTEGER PRIMARY KEY,"                                                               \
    " current_term INTEGER NOT NULL,"                                                              \
    " voted_for INTEGER NOT NULL,"                                                                 \
    " persist_seq INTEGER NOT NULL,"                                                               \
    " may_not_vote INTEGER NOT NULL,"                                                              \
    " trimmed_index INTEGER NOT NULL,"                                                             \
    " trimmed_term INTEGER NOT NULL,"                                                              \
    " last_log_index INTEGER NOT NULL,"                                                            \
    " last_log_term INTEGER NOT NULL,"                                                             \
    " leader INTEGER NOT NULL,"                                                                    \
    " commit_index INTEGER NOT NULL);"                                                             \
                                                                                                   \
    "CREATE TABLE log("                                                                            \
    " id INTEGER PRIMARY KEY,"                                                                     \
    " group_id INTEGER AS (id >> 48) VIRTUAL,"                                                     \
    " idx INTEGER AS (id & 281474976710655) VIRTUAL,"                                              \
    " term INTEGER NOT NULL,"                                                                      \
    " type INTEGER NOT NULL,"                                                                      \
    " origin INTEGER NOT NULL,"                                                                    \
    " request_id INTEGER NOT NULL,"                                                                \
    " op INTEGER NOT NULL,"                                                                        \
    " key_size INTEGER NOT NULL,"                                                                  \
    " crc INTEGER NOT NULL,"                                                                       \
    " data BLOB NOT NULL);"                                                                        \
                                                                                                   \
        LOG_READABLE_VIEW                                                                          \
                                                                                                   \
    "CREATE VIEW status AS SELECT h.group_id, n.cluster, "                                         \
    "n.name,"                                                                                      \
    " printf('%016x', n.member_id) AS member_id_hex,"                                              \
    " printf('%016x', n.cluster_id) AS cluster_id_hex,"                                            \
    " n.boot_number, h.current_term,"                                                              \
    " printf('%016x', h.voted_for) AS voted_for_hex,"                                              \
    " printf('%016x', h.leader) AS leader_id_hex,"                                                 \
    " h.leader = n.member_id AS is_leader,"                                                        \
    " h.trimmed_index + 1 AS first_index,"                                                         \
    " h.last_log_index, h.last_log_term, h.commit_index, "                                         \
    "h.persist_seq,"                                                                               \
    " CASE h.may_not_vote WHEN 0 THEN 'yes' ELSE 'no: damaged, "                                   \
    "not yet caught up' END AS may_vote,"                                                          \
    " g.kv_generation"                                                                             \
    " FROM hard_state h CROSS JOIN node n LEFT JOIN groups g "                                     \
    "USING(group_id);"

#endif
