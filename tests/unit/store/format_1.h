/* SPDX-License-Identifier: Apache-2.0 */
/* format_1.h: the tables as holdfast made them in format 1, word for word. Never changes. */
#ifndef HOLDFAST_TEST_STORE_FORMAT_1_H
#define HOLDFAST_TEST_STORE_FORMAT_1_H

#define FORMAT_1_PRAGMAS(application)                                                              \
    "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;"              \
    "PRAGMA application_id=" #application "; PRAGMA user_version=1;"

#define FORMAT_1_PRINTABLE(octets)                                                                 \
    "CASE WHEN instr(" octets ", x'00') = 0 AND CAST(" octets " AS TEXT) NOT GLOB '*[^ -~' || "    \
    "char(9, 10, 13) || char(160) || '-' || char(65532) || char(65536) || '-' || char(1114111) "   \
    "|| ']*' THEN CAST(" octets " AS TEXT) ELSE 'x''' || hex(" octets ") || '''' END"

#define FORMAT_1_LOG                                                                               \
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
    "CREATE VIEW log_readable AS SELECT group_id, idx, term,"                                      \
    " CASE type WHEN 0 THEN 'noop' WHEN 1 THEN 'command' WHEN 2 THEN 'configuration'"              \
    "  ELSE 'type ' || type END AS type,"                                                          \
    " CASE WHEN type <> 1 THEN '' WHEN op = 1 THEN 'put' WHEN op = 2 THEN 'delete_range'"          \
    "  ELSE 'operation ' || op END AS op,"                                                         \
    " CASE WHEN type <> 1 THEN '' ELSE " FORMAT_1_PRINTABLE(                                       \
        "substr(data, 21, key_size)") " END AS key,"                                               \
                                      " length(data) AS size,"                                     \
                                      " printf('%016x', origin) AS origin_hex,"                    \
                                      " printf('%016x', request_id) AS request_hex"                \
                                      " FROM log;"                                                 \
                                                                                                   \
                                      "CREATE VIEW status AS SELECT h.group_id, n.cluster, "       \
                                      "n.name,"                                                    \
                                      " printf('%016x', n.member_id) AS member_id_hex,"            \
                                      " printf('%016x', n.cluster_id) AS cluster_id_hex,"          \
                                      " n.boot_number, h.current_term,"                            \
                                      " printf('%016x', h.voted_for) AS voted_for_hex,"            \
                                      " printf('%016x', h.leader) AS leader_id_hex,"               \
                                      " h.leader = n.member_id AS is_leader,"                      \
                                      " h.trimmed_index + 1 AS first_index,"                       \
                                      " h.last_log_index, h.last_log_term, h.commit_index, "       \
                                      "h.persist_seq,"                                             \
                                      " CASE h.may_not_vote WHEN 0 THEN 'yes' ELSE 'no: damaged, " \
                                      "not yet caught up' END AS may_vote,"                        \
                                      " g.kv_generation"                                           \
                                      " FROM hard_state h CROSS JOIN node n LEFT JOIN groups g "   \
                                      "USING(group_id);"

#define FORMAT_1_KV                                                                                \
    "CREATE TABLE meta("                                                                           \
    " one INTEGER PRIMARY KEY CHECK(one = 1),"                                                     \
    " applied_index INTEGER NOT NULL,"                                                             \
    " applied_term INTEGER NOT NULL,"                                                              \
    " revision INTEGER NOT NULL,"                                                                  \
    " compact_revision INTEGER NOT NULL,"                                                          \
    " cluster_id INTEGER NOT NULL);"                                                               \
    "INSERT INTO meta VALUES(1, 0, 0, 1, 0, 0);"                                                   \
                                                                                                   \
    "CREATE TABLE members("                                                                        \
    " position INTEGER PRIMARY KEY,"                                                               \
    " member_id INTEGER NOT NULL UNIQUE,"                                                          \
    " name TEXT NOT NULL,"                                                                         \
    " peer TEXT NOT NULL,"                                                                         \
    " client TEXT NOT NULL,"                                                                       \
    " voter_incoming INTEGER NOT NULL,"                                                            \
    " voter_outgoing INTEGER NOT NULL);"                                                           \
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
    "CREATE VIEW kv_readable AS SELECT " FORMAT_1_PRINTABLE(                                       \
        "c.key") " AS key, " FORMAT_1_PRINTABLE("h.value") " AS value,"                            \
                                                           " c.create_revision, c.change >> 20 "   \
                                                           "AS mod_revision, c.version,"           \
                                                           " printf('%016x', c.lease) AS "         \
                                                           "lease_hex"                             \
                                                           " FROM current c JOIN history h ON "    \
                                                           "h.change = c.change"                   \
                                                           " WHERE c.deleted = 0 ORDER BY c.key;"  \
                                                                                                   \
                                                           "CREATE VIEW history_readable AS "      \
                                                           "SELECT change >> 20 AS revision,"      \
                                                           " change & 1048575 AS "                 \
                                                           "sub, " FORMAT_1_PRINTABLE(             \
                                                               "key") " AS key,"                   \
                                                                      " CASE deleted WHEN 0 THEN " \
                                                                      "'put' ELSE 'delete' END "   \
                                                                      "AS "                        \
                                                                      "event,"                     \
                                                                      " " FORMAT_1_PRINTABLE(      \
                                                                          "value") " AS value, "   \
                                                                                   "create_"       \
                                                                                   "revision, "    \
                                                                                   "version, "     \
                                                                                   "printf('%"     \
                                                                                   "016x', "       \
                                                                                   "lease) AS "    \
                                                                                   "lease_hex,"    \
                                                                                   " change, "     \
                                                                                   "previous_"     \
                                                                                   "change"        \
                                                                                   " FROM "        \
                                                                                   "history "      \
                                                                                   "ORDER BY "     \
                                                                                   "change;"       \
                                                                                                   \
                                                                                   "CREATE VIEW "  \
                                                                                   "members_"      \
                                                                                   "readable AS "  \
                                                                                   "SELECT name, " \
                                                                                   "printf('%"     \
                                                                                   "016x', "       \
                                                                                   "member_id) "   \
                                                                                   "AS "           \
                                                                                   "member_id_"    \
                                                                                   "hex,"          \
                                                                                   " peer, "       \
                                                                                   "client,"       \
                                                                                   " CASE WHEN "   \
                                                                                   "voter_"        \
                                                                                   "incoming AND " \
                                                                                   "voter_"        \
                                                                                   "outgoing "     \
                                                                                   "THEN "         \
                                                                                   "'voter' WHEN " \
                                                                                   "voter_"        \
                                                                                   "incoming THEN" \
                                                                                   "  'becoming "  \
                                                                                   "a voter' "     \
                                                                                   "WHEN "         \
                                                                                   "voter_"        \
                                                                                   "outgoing "     \
                                                                                   "THEN "         \
                                                                                   "'leaving' "    \
                                                                                   "ELSE "         \
                                                                                   "'learner' "    \
                                                                                   "END AS role"   \
                                                                                   " FROM "        \
                                                                                   "members "      \
                                                                                   "ORDER BY "     \
                                                                                   "position;"     \
                                                                                                   \
                                                                                   "CREATE VIEW "  \
                                                                                   "status AS "    \
                                                                                   "SELECT "       \
                                                                                   "printf('%"     \
                                                                                   "016x', "       \
                                                                                   "cluster_id) "  \
                                                                                   "AS "           \
                                                                                   "cluster_id_"   \
                                                                                   "hex,"          \
                                                                                   " applied_"     \
                                                                                   "index, "       \
                                                                                   "applied_term," \
                                                                                   " revision, "   \
                                                                                   "compact_"      \
                                                                                   "revision,"     \
                                                                                   " (SELECT "     \
                                                                                   "count(*) "     \
                                                                                   "FROM "         \
                                                                                   "members) AS "  \
                                                                                   "member_count " \
                                                                                   "FROM "         \
                                                                                   "meta;"

#endif
