/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_table.h: every key of the configuration file, once. Parser, checks, --print-config and the
 * tests of the manual (etc/holdfast.conf) are driven by this table; config.h holds the fields.
 *
 * X(group, key, type, owner, field, unit, least, most, fallback, text)
 *
 *   group     "" for a key at the top of the file; "members" for a key of each member in the list
 *   type      of enum config_type, config_internal.h
 *   owner     the struct that holds the field
 *   least, most   of the number, or of the octets of the text
 *   fallback  the value of a number that is not given; a text has none and must be given (but for a list
 *             of words, which is empty then)
 *   text      what it is, for error messages and people
 *
 * Keys of one group stand together; the printed form keeps this order.
 */
#ifndef HOLDFAST_CONFIG_TABLE_H
#define HOLDFAST_CONFIG_TABLE_H

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1024) * KIB)
#define GIB (UINT64_C(1024) * MIB)

/* No more threads of clients than a request's number has room for; test_config.c asserts the equality. */
#define CONFIG_CLIENT_THREADS_MAX 64

/* One append carries up to append_bytes_max and then at most one more entry; both together with their
 * heads must fit into a frame between nodes (8 MiB). */
#define CONFIG_APPEND_BYTES_MOST  (4 * MIB)
#define CONFIG_REQUEST_BYTES_MOST (3 * MIB)

#define CONFIG_TABLE(X)                                                                            \
    X("", "cluster", CONFIG_NAME, struct config, cluster, "", 1, MEMBER_NAME_MAX, 0,               \
      "name of the cluster, the same on all nodes")                                                \
    X("", "node", CONFIG_NAME, struct config, node, "", 1, MEMBER_NAME_MAX, 0,                     \
      "name of this node, one of the members")                                                     \
    X("", "data_dir", CONFIG_PATH, struct config, data_dir, "", 1, PATH_TEXT_MAX, 0,               \
      "directory of this node's databases")                                                        \
    X("", "listen_client", CONFIG_ADDRESS, struct config, listen_client, "host:port", 3,           \
      MEMBER_ADDRESS_MAX, 0, "address to accept clients on")                                       \
    X("", "listen_peer", CONFIG_ADDRESS, struct config, listen_peer, "host:port", 3,               \
      MEMBER_ADDRESS_MAX, 0, "address to accept other nodes on")                                   \
                                                                                                   \
    X("", "bootstrap", CONFIG_FLAG, struct config, bootstrap, "", 0, 1, 0,                         \
      "true: an empty node founds the cluster alone, and others join it")                          \
    X("", "join", CONFIG_WORDS, struct config, join_words, "", 0, CONFIG_WORDS_MAX, 0,             \
      "peer addresses (host:port) of members of a cluster to join")                                \
    X("", "discovery_srv", CONFIG_WORDS, struct config, discovery_srv, "", 0, CONFIG_WORDS_MAX, 0, \
      "name of DNS SRV records that stand for members of a cluster to join")                       \
                                                                                                   \
    X("members", "name", CONFIG_NAME, struct config_member, name, "", 1, MEMBER_NAME_MAX, 0,       \
      "the member's name")                                                                         \
    X("members", "peer", CONFIG_ADDRESS, struct config_member, peer, "host:port", 3,               \
      MEMBER_ADDRESS_MAX, 0, "address at which other nodes reach the member")                      \
    X("members", "client", CONFIG_ADDRESS, struct config_member, client, "host:port", 3,           \
      MEMBER_ADDRESS_MAX, 0, "address at which clients reach the member")                          \
                                                                                                   \
    X("membership", "voters", CONFIG_VOTERS, struct config, voters, "", 0, WISH_VOTERS_MAX,        \
      CONFIG_VOTERS_LISTED,                                                                        \
      "members that should vote: 1, 3, 5 or 7, or \"auto\"; of a cluster that this node founds")   \
    X("membership", "heal_after_s", CONFIG_U32, struct config, heal_after_s, "s", 0, 10000000,     \
      WISH_HEAL_AFTER_S, "silence after which a voter is replaced by a standby; 0: never")         \
    X("membership", "admit", CONFIG_WORDS, struct config, admit, "", 0, CONFIG_ADMIT_MAX, 0,       \
      "who may become a member: any node of the cluster's name, or declared ones only")            \
                                                                                                   \
    X("raft", "election_timeout_ms", CONFIG_U32, struct config, raft.election_timeout_ms, "ms",    \
      50, 60000, 1000, "silence of the leader after which a follower starts an election")          \
    X("raft", "heartbeat_ms", CONFIG_U32, struct config, raft.heartbeat_ms, "ms", 5, 10000, 100,   \
      "interval at which the leader makes itself heard")                                           \
    X("raft", "window_bytes", CONFIG_U64, struct config, raft.window_bytes, "bytes", 64 * KIB,     \
      GIB, 4 * MIB, "entries in flight to one follower")                                           \
    X("raft", "append_bytes_max", CONFIG_U64, struct config, raft.append_bytes_max, "bytes",       \
      4 * KIB, CONFIG_APPEND_BYTES_MOST, 1 * MIB, "entries in one message to a follower")          \
    X("raft", "cache_bytes_max", CONFIG_U64, struct config, raft.cache_bytes_max, "bytes", 0,      \
      16 * GIB, 8 * MIB, "applied entries kept in memory for followers that lag a little")         \
    X("raft", "uncommitted_bytes_max", CONFIG_U64, struct config, raft.uncommitted_bytes_max,      \
      "bytes", 1 * MIB, 16 * GIB, 64 * MIB,                                                        \
      "entries not yet committed; beyond it writes are "                                           \
      "refused")                                                                                   \
    X("raft", "apply_bytes_max", CONFIG_U64, struct config, raft.apply_bytes_max, "bytes",         \
      64 * KIB, 16 * GIB, 16 * MIB, "entries on their way to the key-value table")                 \
    X("raft", "disk_stall_ms", CONFIG_U32, struct config, raft.disk_stall_ms, "ms", 0, 600000,     \
      1500, "age of an unfinished disk write at which a leader gives way; 0: never")               \
    X("raft", "log_keep_bytes", CONFIG_U64, struct config, raft.log_keep_bytes, "bytes", 1 * MIB,  \
      1024 * GIB, 256 * MIB,                                                                       \
      "entries kept in raft.db for members that lack them; then they get a snapshot")              \
    X("raft", "snapshot_bytes_per_second", CONFIG_U64, struct config,                              \
      raft.snapshot_bytes_per_second, "bytes", 0, 1024 * GIB, 0,                                   \
      "how fast snapshots are sent to members; 0: as fast as it goes")                             \
    X("raft", "read_lag_max_entries", CONFIG_U64, struct config, raft.read_lag_max_entries,        \
      "entries", 1, INT64_C(1) << 40, 20000,                                                       \
      "how far this node may be behind to answer a linearizable read; beyond it reads are "        \
      "refused")                                                                                   \
    X("raft", "leader_lease", CONFIG_FLAG, struct config, raft.leader_lease, "", 0, 1, 0,          \
      "true: a leader answers reads by its lease, without asking; relies on the clocks")           \
                                                                                                   \
    X("kv", "flush_changes_max", CONFIG_U32, struct config, kv.flush_changes_max, "changes", 1,    \
      1000000, 20000, "changes written to kv.db in one transaction")                               \
    X("kv", "flush_interval_ms", CONFIG_U32, struct config, kv.flush_interval_ms, "ms", 10, 60000, \
      500, "age at which changes are written to kv.db at the latest")                              \
    X("kv", "flush_bytes_max", CONFIG_U64, struct config, kv.flush_bytes_max, "bytes", 64 * KIB,   \
      1 * GIB, 16 * MIB, "octets written to kv.db in one transaction")                             \
    X("kv", "overlay_bytes_max", CONFIG_U64, struct config, kv.overlay_bytes_max, "bytes",         \
      1 * MIB, 64 * GIB, 64 * MIB, "changes held in memory until kv.db has them")                  \
    X("kv", "cache_bytes_max", CONFIG_U64, struct config, kv.cache_bytes_max, "bytes", 0,          \
      64 * GIB, 8 * MIB, "newest rows kept in memory for reads of single keys")                    \
                                                                                                   \
    X("store", "reserve_bytes", CONFIG_U64, struct config, store.reserve_bytes, "bytes", 0,        \
      1024 * GIB, 32 * MIB, "room kept for a full disk by a file in data_dir; 0: none")            \
    X("store", "low_space_bytes", CONFIG_U64, struct config, store.low_space_bytes, "bytes", 0,    \
      1024 * GIB, 128 * MIB, "free space below which writes that need room are refused; 0: never") \
                                                                                                   \
    X("compaction", "keep_s", CONFIG_U64, struct config, compaction.keep_s, "s", 0, 315360000,     \
      3600, "age at which history is compacted by itself; 0: never by age")                        \
    X("compaction", "keep_revisions", CONFIG_U64, struct config, compaction.keep_revisions,        \
      "revisions", 0, INT64_C(1) << 40, 0,                                                         \
      "newest revisions that are kept, older ones are compacted; 0: never by number")              \
                                                                                                   \
    X("client", "threads", CONFIG_U32, struct config, client_threads, "threads", 1,                \
      CONFIG_CLIENT_THREADS_MAX, 2, "threads that serve clients")                                  \
    X("client", "connections_max", CONFIG_U32, struct config, client_connections_max,              \
      "connections", 1, 1000000, 4096, "connections of clients at a time")                         \
    X("client", "requests_in_flight_max", CONFIG_U32, struct config,                               \
      client_requests_in_flight_max, "requests", 1, 10000000, 65536,                               \
      "requests of all clients under way; beyond it they are refused as too many")                 \
    X("client", "streams_max", CONFIG_U32, struct config, client_streams_max, "streams", 1,        \
      10000000, 65536,                                                                             \
      "calls that last (watches, keepalives, waiting locks) of all clients at a time")             \
    X("client", "streams_per_connection_max", CONFIG_U32, struct config,                           \
      client_streams_per_connection_max, "streams", 1, 10000000, 16384,                            \
      "requests of all kinds that one connection may have under way")                              \
    X("client", "bytes_in_flight_max", CONFIG_U64, struct config, client_bytes_in_flight_max,      \
      "bytes", 1 * MIB, 64 * GIB, 256 * MIB, "octets of all requests and answers under way")       \
    X("client", "request_bytes_max", CONFIG_U32, struct config, request_bytes_max, "bytes", 1024,  \
      CONFIG_REQUEST_BYTES_MOST, 1572864, "size of one request as it lies in the log")             \
    X("client", "header_bytes_max", CONFIG_U32, struct config, client_header_bytes_max, "bytes",   \
      1024, 1 * MIB, 32768, "header of one request over HTTP/2")                                   \
    X("client", "idle_timeout_s", CONFIG_U32, struct config, client_idle_timeout_s, "s", 0,        \
      10000000, 7200, "silence after which a connection without requests is closed; 0: never")     \
    X("client", "txn_ops_max", CONFIG_U32, struct config, client_txn_ops_max, "operations", 1,     \
      10000, 128, "compares, operations if they hold, or else, of one transaction")                \
    X("client", "watchers_max", CONFIG_U32, struct config, watchers_max, "watchers", 1, 10000000,  \
      100000, "watchers of all streams; beyond it new ones are refused")                           \
    X("client", "request_timeout_ms", CONFIG_U32, struct config, request_timeout_ms, "ms", 0,      \
      600000, 0,                                                                                   \
      "time after which a request is answered as timed out; 0: 5000 and two "                      \
      "election timeouts")                                                                         \
                                                                                                   \
    X("web", "hosts", CONFIG_WORDS, struct config, web_hosts, "", 0, CONFIG_WORDS_MAX, 0,          \
      "names beside those of the members under which browsers reach this node")                    \
    X("web", "origins", CONFIG_WORDS, struct config, web_origins, "", 0, CONFIG_WORDS_MAX, 0,      \
      "web pages (their scheme and host) that may talk to this node")                              \
                                                                                                   \
    X("watch", "progress_interval_ms", CONFIG_U32, struct config, watch.progress_interval_ms,      \
      "ms", 100, 86400000, 600000,                                                                 \
      "interval at which quiet watchers that ask for it are told how far they are")                \
    X("watch", "ring_bytes_max", CONFIG_U64, struct config, watch.ring_bytes_max, "bytes",         \
      64 * KIB, 16 * GIB, 16 * MIB,                                                                \
      "newest changes kept in memory for watchers; older ones are read from kv.db")                \
    X("watch", "stream_bytes_max", CONFIG_U64, struct config, watch.stream_bytes_max, "bytes",     \
      64 * KIB, 1 * GIB, 1 * MIB,                                                                  \
      "events on their way to one stream; beyond it the stream lags and is served from history")   \
    X("watch", "bytes_max", CONFIG_U64, struct config, watch.bytes_max, "bytes", 1 * MIB,          \
      64 * GIB, 128 * MIB, "events on their way to all streams")                                   \
    X("watch", "response_bytes_max", CONFIG_U64, struct config, watch.response_bytes_max, "bytes", \
      1 * MIB, 1 * GIB, 64 * MIB,                                                                  \
      "events of one revision for one watcher; a watcher of more is cancelled")                    \
                                                                                                   \
    X("log", "level", CONFIG_LEVEL, struct config, log_level, "", LOG_ERROR, LOG_DEBUG, LOG_INFO,  \
      "least important lines that are logged: error, warning, notice, info or debug")

#endif
