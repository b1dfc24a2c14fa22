/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.h: what a client asks the replicated store to do, as it lies in the log; and what it asks
 * to read, which never enters the log.
 *
 * The encoding is flat and versioned: octet 0 format, octet 1 operation, octets 2-3 flags,
 * 4-7 key size, 8-11 second field's size, 12-19 a number (lease, revision or lease id), then the key,
 * then the second field; all little-endian. Fixed places let raft.db's views show operation and first
 * key to a person with the stock sqlite3, which cannot decode protobuf.
 *
 *   op                    format  number    key            second field
 *   PUT                   1       lease     the key        value
 *   DELETE_RANGE          1       0         first key      range_end
 *   TXN                   2       0         first key (1)  body, txn_body.h
 *   COMPACT               2       revision  empty          empty
 *   LEASE_GRANT           2       lease id  empty          stamp u64, ttl_s i64
 *   LEASE_REVOKE          2       lease id  empty          empty
 *   LEASE_KEEPALIVE       2       0         empty          stamp u64, lease ids i64 each, at least one
 *   LEASE_EXPIRE          2       lease id  empty          stamp u64, deadline_us u64
 *   CLOCK                 2       0         empty          stamp u64
 *   (1) the first named anywhere in it: for people who read raft.db, nothing else
 *
 * The format is the operation's: a node too old for an operation refuses it as written by a newer
 * version instead of doing something else than the others. A stamp is the leader's cluster time as it
 * appends (0 until then) and always lies at COMMAND_STAMP_AT, so that it is written without decoding.
 */
#ifndef HOLDFAST_COMMAND_H
#define HOLDFAST_COMMAND_H

#include "base.h"
#include "txn_body.h"

#define COMMAND_FORMAT       2 /* newest known */
#define COMMAND_HEADER_BYTES 20
#define COMMAND_STAMP_AT     COMMAND_HEADER_BYTES
#define COMMAND_STAMP_BYTES  8

enum command_op {
    COMMAND_PUT = 1,
    COMMAND_DELETE_RANGE = 2,
    COMMAND_TXN = 3,
    COMMAND_COMPACT = 4,
    COMMAND_LEASE_GRANT = 5,
    COMMAND_LEASE_REVOKE = 6,
    COMMAND_LEASE_KEEPALIVE = 7,
    COMMAND_LEASE_EXPIRE = 8,
    COMMAND_CLOCK = 9,
};

enum command_flag {
    COMMAND_PREV_KV = 1,      /* put, delete: the answer carries what was there before */
    COMMAND_IGNORE_VALUE = 2, /* put: keep the old value (the key must exist) */
    COMMAND_IGNORE_LEASE = 4, /* put: keep the old lease (the key must exist) */
    COMMAND_PHYSICAL = 8,     /* compact: answer when the rows are gone from this node's file */
};

/* Of the members that an operation does not have, none is looked at. */
struct command {
    enum command_op op;
    uint16_t flags;
    union { /* one place in the encoding, named as the operation calls it */
        int64_t number;
        int64_t lease;    /* put: 0 = none */
        int64_t revision; /* compact */
        int64_t lease_id; /* grant (never 0: whoever took the request drew it), revoke, expire */
    };
    struct view key; /* put, delete range, txn */
    union {          /* the second field, where it is octets */
        struct view second;
        struct view value; /* put */
        struct view
            range_end;    /* delete range; etcd's: empty = one key, one 0x00 octet = to the end */
        struct view body; /* txn */
        struct view ids;  /* keepalive: 8 octets each, command_id_at */
    };
    uint64_t cluster_time_us; /* grant, keepalive, expire, clock: the stamp; 0: not stamped yet */
    int64_t ttl_s;            /* grant */
    uint64_t deadline_us;     /* expire: the renewal it saw; a later one has another and voids it */
};

/* Size of the encoding in octets. */
size_t command_size(const struct command *c);
/* Encode into out[command_size(c)]. */
void command_encode(const struct command *c, uint8_t *out);
/* Decode; views point into the input. A txn's body is not looked into. ERR_NEWER_FORMAT,
 * ERR_TRUNCATED, ERR_MALFORMED. */
MUST_USE enum err command_decode(struct view in, struct command *out);
/* Operation and key size of an encoded command for the log table's plain columns; 0,0 if unreadable. */
void command_peek(struct view in, uint8_t *op, uint32_t *key_size);
/* Write the stamp into an encoded command that has room for one; any other is left as it is. For the
 * leader as it appends: a new entry, never one that was sent or stored. */
void command_stamp(uint8_t *octets, size_t size, uint64_t cluster_time_us);

/* It may make the store larger: a put, a txn with one in any branch, a new lease. What only takes away, or keeps
 * what there is, does not. A txn whose body cannot be read counts as one that does. */
bool command_grows(const struct command *c);

/* The lease ids of a keepalive. To build: append 8 octets little-endian each (buffer_u64). */
static inline size_t command_id_count(const struct command *c)
{
    return c->ids.size / sizeof(uint64_t);
}
int64_t command_id_at(const struct command *c, size_t at); /* at < command_id_count */

/* ---- answers ------------------------------------------------------------------------------------ */

struct key_value {
    struct view key;
    struct view value;
    int64_t create_revision;
    int64_t mod_revision;
    int64_t version;
    int64_t lease;
};

struct result;

/* The answer to one operation of a transaction. */
struct result_response {
    enum txn_op_kind kind;
    struct result
        *result; /* owned. revision: of the inner header, 0 for a nested txn (it has none) */
};

/* What an answer says of one lease. */
struct lease_info {
    int64_t id;
    /* grant, keepalive: the ttl it has now; 0: keepalive of a lease that does not exist.
     * time-to-live: whole seconds left; -1: no such lease. */
    int64_t ttl_s;
    int64_t granted_ttl_s; /* time-to-live */
};

/*
 * The state machine's answer to a command or a query. Owned by whoever holds it, with all it points
 * to; `octets` backs the views in kvs (views are valid until result_free).
 */
struct result {
    enum err error;
    int64_t revision;          /* of the store when it answered */
    int64_t compact_revision;  /* for ERR_COMPACTED's log line; 0 otherwise */
    int64_t physical_revision; /* compact: answer once kv.db is rid of what is below; 0: at once */
    int64_t count;             /* query: keys in the range; delete: keys deleted */
    bool more;
    bool succeeded;        /* txn: the compares held */
    size_t response_count; /* txn: one for each operation of the branch that ran */
    struct result_response *responses;
    size_t lease_count, lease_capacity; /* in the order of the request */
    struct lease_info *leases;
    size_t kv_count; /* query: the pairs; put with prev_kv: 0 or 1; delete with prev_kv: all;
                      * time-to-live: the keys of the lease */
    size_t kv_capacity;
    struct key_value *kvs;
    size_t octets_chunk_count;
    uint8_t **octets_chunks; /* arena of the views; grows by chunks so that views never move */
    size_t chunk_used, chunk_size;
    size_t bytes;        /* payload octets held, those of responses too, for byte budgets */
    struct result *next; /* result.c's alone */
};

struct result *result_create(void);
/* Append a copy of *kv (without the value if keys_only). */
void result_add(struct result *r, const struct key_value *kv, bool keys_only);
void result_add_lease(struct result *r, const struct lease_info *lease);
void result_free(struct result **r);

#endif
