/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease_table.h: every lease of the store in memory, found by id, queued by deadline, each with the keys
 * that hang on it. A key hangs on one lease at most, so one hash of keys serves all leases.
 *
 * In: what lease.c applies (grants, renewals, revokes, keys written with a lease) and what the store
 * held at start. Out: leases by id, those that are due, the keys of one in order, and which were changed
 * since the last sealing, for kv.db.
 *
 * The queue is lazy. A renewal only writes the lease's deadline, which never falls; the place in the heap
 * still stands for an earlier one and is put right when that time has come. So a renewal costs one
 * look-up, and a lease is moved in the heap once per TTL, however often it is kept alive.
 *
 * Not here: time, entries, revisions (lease.c), SQLite.
 *
 * Invariants
 *  1. A lease is in the heap, or taken (handed out as due and not yet ended or renewed), never both. This
 *     part is the node's own business: whether a lease is taken changes nothing that others can see.
 *  2. The heap's key of a lease is never later than its deadline.
 *  3. A key is in the hash exactly if it is in the list of the one lease it names.
 *  4. `changed` names every lease whose row in kv.db may differ from what is here.
 */
#ifndef HOLDFAST_KV_LEASE_TABLE_H
#define HOLDFAST_KV_LEASE_TABLE_H

#include "base.h"

/* Links of the hashes; first member of what they hold. */
struct lease_link {
    struct lease_link *next;
};

/* Linear hashing, as in overlay.c: grows by a bucket per item, so no grant waits for a rehash. */
struct lease_hash {
    struct lease_link **buckets;
    size_t capacity;
    size_t round; /* a power of two; buckets 0 .. round + split - 1 are in use */
    size_t split;
    size_t count;
};

struct lease_key {
    struct lease_link link;
    struct lease *lease;
    struct lease_key *previous, *next; /* of the lease's keys, in no order */
    uint32_t hash;
    uint32_t size;
    uint8_t octets[];
};

/* One lease. Read by others, changed through the functions below only. */
struct lease {
    struct lease_link link;
    int64_t id;
    int64_t ttl_s;
    uint64_t deadline_us; /* cluster time */
    uint64_t granted_us;  /* cluster time, for people */
    struct lease_key *keys;
    size_t key_count;
    uint32_t place; /* in the heap, or among the taken ones */
    bool taken;
    bool changed; /* is in lease_table.changed */
};

struct lease_place {
    uint64_t due_us;
    struct lease *lease;
};

struct lease_table {
    struct lease_hash leases, keys;
    struct lease_place *heap;
    size_t heap_count, heap_capacity;
    struct lease **taken;
    size_t taken_count, taken_capacity;
    int64_t *changed; /* ids, some of them gone, some perhaps twice */
    size_t changed_count, changed_capacity;
    size_t key_bytes; /* held for keys, for figures */
};

#define LEASES_MAX ((size_t)1 << 24) /* the state machine refuses more (lease.c) */

void lease_table_init(struct lease_table *t);
void lease_table_free(struct lease_table *t);

/* NULL: there is none. Borrowed until it is removed. */
struct lease *lease_table_find(const struct lease_table *t, int64_t id);
/* There is none with this id and fewer than LEASES_MAX. The new one is not marked as changed. */
struct lease *lease_table_add(struct lease_table *t, int64_t id, int64_t ttl_s,
                              uint64_t deadline_us, uint64_t granted_us);
/* A later deadline, or the same; a taken lease goes back to the queue. */
void lease_table_renew(struct lease_table *t, struct lease *lease, uint64_t deadline_us);
/* Forgets the lease and which keys hung on it. */
void lease_table_remove(struct lease_table *t, struct lease **lease);
/* Its row in kv.db has to be written. */
void lease_table_mark(struct lease_table *t, struct lease *lease);

/* The key hangs on this lease from now on and on no other; NULL: on none. The key is copied. */
void lease_table_attach(struct lease_table *t, struct lease *lease, struct view key);
/* The lease the key hangs on; NULL: none. */
struct lease *lease_table_of_key(const struct lease_table *t, struct view key);
/* The keys of a lease in key order, key_count of them; the array is the caller's to mem_free, the views
 * are borrowed until the lease's keys change. */
struct view *lease_table_keys(const struct lease *lease);

/*
 * Take leases out of the queue whose deadline is at or before time_us.
 *
 * looks_max  places of the heap looked at; who is due later than its place says is only moved
 * out        room for count_max; the leases stay borrowed as from lease_table_find
 *
 * Returns how many. Fewer than count_max may be more next time, when looks_max was used up.
 */
size_t lease_table_take_due(struct lease_table *t, uint64_t time_us, size_t looks_max,
                            struct lease **out, size_t count_max);
/* Put all that were taken back into the queue: what was to become of them may have been lost. */
void lease_table_untake(struct lease_table *t);

/* One line of a list of leases, which must outlive them. */
struct lease_line {
    uint64_t deadline_us;
    int64_t id;
};

/* All leases, lease_table.leases.count of them, as a heap for lease_lines_pop. The caller frees. */
struct lease_line *lease_table_lines(const struct lease_table *t);
/* The first by deadline, then id; lines has one less then. Only while *count > 0. */
struct lease_line lease_lines_pop(struct lease_line *lines, size_t *count);

/* Octets held, for figures. */
size_t lease_table_bytes(const struct lease_table *t);
/* Asserts the invariants; walks everything. */
void lease_table_check(const struct lease_table *t);

#endif
