/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.h: what a client asks the replicated store to do, as it lies in the log; and what it asks
 * to read, which never enters the log.
 *
 * The encoding is flat and versioned: octet 0 format, octet 1 operation, octets 2-3 flags,
 * 4-7 key size, 8-11 second field's size (value or range_end), 12-19 lease, then the key, then the
 * second field; all little-endian. Fixed places let raft.db's views show operation and first key
 * to a person with the stock sqlite3, which cannot decode protobuf.
 */
#ifndef HOLDFAST_COMMAND_H
#define HOLDFAST_COMMAND_H

#include "base.h"

#define COMMAND_FORMAT       1
#define COMMAND_HEADER_BYTES 20

enum command_op { COMMAND_PUT = 1, COMMAND_DELETE_RANGE = 2 };

enum command_flag {
    COMMAND_PREV_KV = 1,      /* the answer carries what was there before */
    COMMAND_IGNORE_VALUE = 2, /* keep the old value (the key must exist) */
    COMMAND_IGNORE_LEASE = 4, /* keep the old lease (the key must exist) */
};

struct command {
    enum command_op op;
    uint16_t flags;
    int64_t lease; /* put only; 0 = none */
    struct view key;
    struct view value; /* put */
    struct view
        range_end; /* delete range; rules of etcd: empty = one key, one 0x00 octet = to the end */
};

/* Size of the encoding in octets. */
size_t command_size(const struct command *c);
/* Encode into out[command_size(c)]. */
void command_encode(const struct command *c, uint8_t *out);
/* Decode; views point into the input. ERR_NEWER_FORMAT, ERR_TRUNCATED, ERR_MALFORMED. */
MUST_USE enum err command_decode(struct view in, struct command *out);
/* Operation and key size of an encoded command for the log table's plain columns; 0,0 if unreadable. */
void command_peek(struct view in, uint8_t *op, uint32_t *key_size);

/* ---- reads ------------------------------------------------------------------------------------- */

enum sort_order { SORT_NONE = 0, SORT_ASCEND = 1, SORT_DESCEND = 2 };
enum sort_target { SORT_KEY = 0, SORT_VERSION = 1, SORT_CREATE = 2, SORT_MOD = 3, SORT_VALUE = 4 };

/* etcd's RangeRequest. One allocation (query_create), moved from client to raft to apply. */
struct query {
    struct view key;
    struct view range_end;
    int64_t limit;
    int64_t revision;
    int64_t min_mod_revision, max_mod_revision;
    int64_t min_create_revision, max_create_revision;
    enum sort_order sort_order;
    enum sort_target sort_target;
    bool serializable;
    bool keys_only;
    bool count_only;
};

/* A copy in one allocation, views pointing into it; free with mem_free. */
struct query *query_create(const struct query *from);

/* ---- answers ------------------------------------------------------------------------------------ */

struct key_value {
    struct view key;
    struct view value;
    int64_t create_revision;
    int64_t mod_revision;
    int64_t version;
    int64_t lease;
};

/*
 * The state machine's answer to a command or a query. Owned by whoever holds it; `octets` backs the
 * views in kvs (views are valid until result_free).
 */
struct result {
    enum err error;
    int64_t revision;         /* of the store when it answered */
    int64_t compact_revision; /* for ERR_COMPACTED's log line; 0 otherwise */
    int64_t count;            /* query: keys in the range; delete: keys deleted */
    bool more;
    size_t kv_count; /* query: the pairs; put with prev_kv: 0 or 1; delete with prev_kv: all */
    size_t kv_capacity;
    struct key_value *kvs;
    size_t octets_chunk_count;
    uint8_t **octets_chunks; /* arena of the views; grows by chunks so that views never move */
    size_t chunk_used, chunk_size;
    size_t bytes; /* payload octets held, for byte budgets */
};

struct result *result_create(void);
/* Append a copy of *kv (without the value if keys_only). */
void result_add(struct result *r, const struct key_value *kv, bool keys_only);
void result_free(struct result **r);

#endif
