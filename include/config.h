/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h: the typed configuration, read once, then copied into each actor that needs some of it.
 *
 * One table (src/base/config_table.h) gives each key's name, type, unit, least, most, default and
 * text; struct, parser, --print-config and the manual in etc/ come from it.
 */
#ifndef HOLDFAST_CONFIG_H
#define HOLDFAST_CONFIG_H

#include "base.h"
#include "membership.h"

#define PATH_TEXT_MAX    1023
#define CONFIG_WORDS_MAX 1023
#define CONFIG_JOIN_MAX  8
#define CONFIG_ADMIT_MAX 15

/* config.voters besides WISH_VOTERS_AUTO and a number: as many as found the cluster together, "auto" where a node
 * founds it alone. */
#define CONFIG_VOTERS_LISTED UINT32_MAX

struct config_member {
    char name[MEMBER_NAME_MAX + 1];
    char peer[MEMBER_ADDRESS_MAX + 1];
    char client[MEMBER_ADDRESS_MAX + 1];
};

struct config {
    char cluster[MEMBER_NAME_MAX + 1];
    char node[MEMBER_NAME_MAX + 1];
    char data_dir[PATH_TEXT_MAX + 1];
    char listen_client[MEMBER_ADDRESS_MAX + 1];
    char listen_peer[MEMBER_ADDRESS_MAX + 1];
    size_t member_count;
    struct config_member members[MEMBERS_MAX]; /* in the file's order */
    size_t node_index;                         /* which of them this process is */

    bool bootstrap;                        /* an empty node founds a cluster alone */
    char join_words[CONFIG_WORDS_MAX + 1]; /* addresses of members, as in the file ... */
    size_t join_count;                     /* ... and taken apart */
    char discovery_srv[CONFIG_WORDS_MAX +
                       1]; /* name of SRV records whose targets are like `join`; "": none */
    char join[CONFIG_JOIN_MAX][MEMBER_ADDRESS_MAX + 1];

    uint32_t voters;       /* the wish of a cluster that this node founds; CONFIG_VOTERS_* */
    uint32_t heal_after_s; /* likewise; WISH_HEAL_NEVER */
    char admit[CONFIG_ADMIT_MAX + 1]; /* "any" or "declared" ... */
    bool admit_declared;              /* ... that is: only who is listed or was added */

    enum log_level log_level;

    char web_hosts[CONFIG_WORDS_MAX + 1];   /* words divided by blanks or commas */
    char web_origins[CONFIG_WORDS_MAX + 1]; /* likewise */

    uint32_t client_threads;
    uint32_t client_connections_max;
    uint32_t client_requests_in_flight_max; /* over all client threads, as all of these */
    uint32_t client_streams_max;
    uint64_t client_bytes_in_flight_max;
    uint32_t request_bytes_max; /* etcd's max-request-bytes: the encoded log entry */
    uint32_t client_streams_per_connection_max;
    uint32_t client_header_bytes_max;
    uint32_t client_idle_timeout_s; /* 0: never */
    uint32_t client_txn_ops_max;    /* etcd's max-txn-ops */
    uint32_t watchers_max;          /* over all streams of the node */
    uint32_t request_timeout_ms;    /* 0: 5 s + 2 * election_timeout_ms, as etcd */

    struct {
        uint32_t election_timeout_ms;
        uint32_t heartbeat_ms;
        uint64_t window_bytes;
        uint64_t append_bytes_max;
        uint64_t cache_bytes_max;
        uint64_t uncommitted_bytes_max;
        uint64_t apply_bytes_max;
        uint32_t disk_stall_ms;
        uint64_t log_keep_bytes;
        uint64_t snapshot_bytes_per_second;
        uint64_t read_lag_max_entries;
        bool leader_lease;
    } raft;

    struct {
        uint32_t flush_changes_max;
        uint32_t flush_interval_ms;
        uint64_t flush_bytes_max;
        uint64_t overlay_bytes_max;
        uint64_t cache_bytes_max;
    } kv;

    struct {
        uint64_t reserve_bytes;
        uint64_t low_space_bytes;
    } store;

    struct {
        uint64_t keep_s;
        uint64_t keep_revisions;
    } compaction;

    struct {
        uint32_t progress_interval_ms;
        uint64_t ring_bytes_max;
        uint64_t stream_bytes_max;
        uint64_t bytes_max; /* over all streams */
        uint64_t response_bytes_max;
    } watch;
};

/*
 * Read a libconfig file.
 *
 * path     borrowed
 * out      filled completely, or untouched
 * problem  on error: "FILE:LINE: what is wrong; what is expected" (problem_size octets)
 *
 * ERR_CONFIG for anything wrong with the file's content, ERR_IO if it cannot be read.
 */
MUST_USE enum err config_load(const char *path, struct config *out, char *problem,
                              size_t problem_size);

/* The effective configuration in the file's own syntax, every key with its value; parses back equal. */
void config_print(const struct config *c, struct buffer *out);

/* Split "host:port" or "[v6]:port". ERR_ADDRESS. host of host_size octets, port in host order. */
MUST_USE enum err address_split(const char *text, char *host, size_t host_size, uint16_t *port);

#endif
