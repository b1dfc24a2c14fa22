/* SPDX-License-Identifier: Apache-2.0 */
/* lease_table.c: see lease_table.h for what is kept and the invariants. */
#include "kv/lease_table.h"

#include <stdlib.h>
#include <string.h>

#define LEASE_BUCKETS_FIRST ((size_t)16) /* a power of two */

_Static_assert((LEASE_BUCKETS_FIRST & (LEASE_BUCKETS_FIRST - 1)) == 0, "a power of two");
_Static_assert(LEASES_MAX <= UINT32_MAX, "a place is 32 bits");

/* ---- hashes ----------------------------------------------------------------------------------------- */

typedef uint64_t link_hash_fn(const struct lease_link *link);

/* splitmix64's finish: ids that clients choose may be 1, 2, 3 ... */
static uint64_t hash_of_id(int64_t id)
{
    uint64_t z = (uint64_t)id;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t hash_of_lease(const struct lease_link *link)
{
    return hash_of_id(((const struct lease *)link)->id);
}

static uint64_t hash_of_key(const struct lease_link *link)
{
    return ((const struct lease_key *)link)->hash;
}

static void hash_init(struct lease_hash *h)
{
    *h = (struct lease_hash){.capacity = LEASE_BUCKETS_FIRST, .round = LEASE_BUCKETS_FIRST};
    h->buckets = mem_zalloc(h->capacity * sizeof(struct lease_link *));
}

static struct lease_link **bucket_of(const struct lease_hash *h, uint64_t hash)
{
    size_t at = (size_t)hash & (h->round - 1);
    return &h->buckets[at < h->split ? (size_t)hash & (2 * h->round - 1) : at];
}

static void split_next(struct lease_hash *h, link_hash_fn *hash_of)
{
    size_t to = h->round + h->split;
    ARRAY_RESERVE(h->buckets, h->capacity, to + 1);
    struct lease_link *link = h->buckets[h->split];
    h->buckets[h->split] = NULL;
    h->buckets[to] = NULL;
    h->split++;
    while (link != NULL) {
        struct lease_link *next = link->next;
        struct lease_link **bucket = bucket_of(h, hash_of(link));
        link->next = *bucket;
        *bucket = link;
        link = next;
    }
    if (h->split == h->round) {
        h->round *= 2;
        h->split = 0;
    }
}

static void hash_add(struct lease_hash *h, struct lease_link *link, link_hash_fn *hash_of)
{
    if (h->count >= h->round + h->split) {
        split_next(h, hash_of);
    }
    struct lease_link **bucket = bucket_of(h, hash_of(link));
    link->next = *bucket;
    *bucket = link;
    h->count++;
}

static void hash_remove(struct lease_hash *h, struct lease_link *link, link_hash_fn *hash_of)
{
    struct lease_link **at = bucket_of(h, hash_of(link));
    while (*at != link) {
        ASSERT(*at != NULL);
        at = &(*at)->next;
    }
    *at = link->next;
    h->count--;
}

/* ---- the queue: a heap by due_us, each lease knowing its place --------------------------------------- */

static void place_put(struct lease_table *t, size_t at, struct lease_place place)
{
    t->heap[at] = place;
    place.lease->place = (uint32_t)at;
}

static void sift_up(struct lease_table *t, size_t at)
{
    struct lease_place moved = t->heap[at];
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (t->heap[parent].due_us <= moved.due_us) {
            break;
        }
        place_put(t, at, t->heap[parent]);
        at = parent;
    }
    place_put(t, at, moved);
}

static void sift_down(struct lease_table *t, size_t at)
{
    struct lease_place moved = t->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= t->heap_count) {
            break;
        }
        if (child + 1 < t->heap_count && t->heap[child + 1].due_us < t->heap[child].due_us) {
            child++;
        }
        if (moved.due_us <= t->heap[child].due_us) {
            break;
        }
        place_put(t, at, t->heap[child]);
        at = child;
    }
    place_put(t, at, moved);
}

static void queue_add(struct lease_table *t, struct lease *lease)
{
    ARRAY_RESERVE(t->heap, t->heap_capacity, t->heap_count + 1);
    size_t at = t->heap_count++;
    lease->taken = false;
    place_put(t, at, (struct lease_place){.due_us = lease->deadline_us, .lease = lease});
    sift_up(t, at);
}

static void queue_remove(struct lease_table *t, const struct lease *lease)
{
    size_t at = lease->place;
    ASSERT(at < t->heap_count);
    struct lease_place last = t->heap[--t->heap_count];
    if (at == t->heap_count) {
        return;
    }
    place_put(t, at, last);
    sift_up(t, at);
    sift_down(t, last.lease->place);
}

static void taken_add(struct lease_table *t, struct lease *lease)
{
    ARRAY_RESERVE(t->taken, t->taken_capacity, t->taken_count + 1);
    lease->taken = true;
    lease->place = (uint32_t)t->taken_count;
    t->taken[t->taken_count++] = lease;
}

static void taken_remove(struct lease_table *t, const struct lease *lease)
{
    size_t at = lease->place;
    ASSERT(at < t->taken_count);
    ASSERT(t->taken[at] == lease);
    t->taken[at] = t->taken[--t->taken_count];
    t->taken[at]->place = (uint32_t)at;
}

static void unqueue(struct lease_table *t, const struct lease *lease)
{
    if (lease->taken) {
        taken_remove(t, lease);
    } else {
        queue_remove(t, lease);
    }
}

size_t lease_table_take_due(struct lease_table *t, uint64_t time_us, size_t looks_max,
                            struct lease **out, size_t count_max)
{
    size_t count = 0;
    for (size_t looks = 0; looks < looks_max && count < count_max && t->heap_count > 0; looks++) {
        struct lease *lease = t->heap[0].lease;
        if (t->heap[0].due_us > time_us) {
            break;
        }
        if (lease->deadline_us > t->heap[0].due_us) { /* it was renewed since it got its place */
            t->heap[0].due_us = lease->deadline_us;
            sift_down(t, 0);
            continue;
        }
        queue_remove(t, lease);
        taken_add(t, lease);
        out[count++] = lease;
    }
    return count;
}

void lease_table_untake(struct lease_table *t)
{
    while (t->taken_count > 0) {
        queue_add(t, t->taken[--t->taken_count]);
    }
}

/* ---- leases ----------------------------------------------------------------------------------------- */

void lease_table_init(struct lease_table *t)
{
    *t = (struct lease_table){0};
    hash_init(&t->leases);
    hash_init(&t->keys);
}

static void links_free(struct lease_hash *h)
{
    for (size_t i = 0; h->buckets != NULL && i < h->round + h->split; i++) {
        struct lease_link *link = h->buckets[i];
        while (link != NULL) {
            struct lease_link *next = link->next;
            mem_free(link);
            link = next;
        }
    }
    mem_free(h->buckets);
}

void lease_table_free(struct lease_table *t)
{
    links_free(&t->leases);
    links_free(&t->keys);
    mem_free(t->heap);
    mem_free(t->taken);
    mem_free(t->changed);
    *t = (struct lease_table){0};
}

struct lease *lease_table_find(const struct lease_table *t, int64_t id)
{
    struct lease_link *link = *bucket_of(&t->leases, hash_of_id(id));
    while (link != NULL && ((struct lease *)link)->id != id) {
        link = link->next;
    }
    return (struct lease *)link;
}

struct lease *lease_table_add(struct lease_table *t, int64_t id, int64_t ttl_s,
                              uint64_t deadline_us, uint64_t granted_us)
{
    CHECK_SLOW(lease_table_find(t, id) == NULL);
    ASSERT(t->leases.count < LEASES_MAX);
    struct lease *lease = mem_zalloc(sizeof(*lease));
    lease->id = id;
    lease->ttl_s = ttl_s;
    lease->deadline_us = deadline_us;
    lease->granted_us = granted_us;
    hash_add(&t->leases, &lease->link, hash_of_lease);
    queue_add(t, lease);
    return lease;
}

void lease_table_renew(struct lease_table *t, struct lease *lease, uint64_t deadline_us)
{
    ASSERT(deadline_us >= lease->deadline_us);
    lease->deadline_us = deadline_us;
    if (lease->taken) {
        taken_remove(t, lease);
        queue_add(t, lease);
    }
}

void lease_table_mark(struct lease_table *t, struct lease *lease)
{
    if (!lease->changed) {
        lease->changed = true;
        ARRAY_RESERVE(t->changed, t->changed_capacity, t->changed_count + 1);
        t->changed[t->changed_count++] = lease->id;
    }
}

static size_t key_bytes(size_t size)
{
    return sizeof(struct lease_key) + size + sizeof(struct lease_link *);
}

static void key_unlist(struct lease_key *key)
{
    struct lease *lease = key->lease;
    if (key->previous != NULL) {
        key->previous->next = key->next;
    } else {
        lease->keys = key->next;
    }
    if (key->next != NULL) {
        key->next->previous = key->previous;
    }
    lease->key_count--;
}

static void key_list(struct lease_key *key, struct lease *lease)
{
    key->lease = lease;
    key->previous = NULL;
    key->next = lease->keys;
    if (key->next != NULL) {
        key->next->previous = key;
    }
    lease->keys = key;
    lease->key_count++;
}

static void key_remove(struct lease_table *t, struct lease_key *key)
{
    key_unlist(key);
    hash_remove(&t->keys, &key->link, hash_of_key);
    t->key_bytes -= key_bytes(key->size);
    mem_free(key);
}

void lease_table_remove(struct lease_table *t, struct lease **lease)
{
    struct lease *removed = *lease;
    *lease = NULL;
    while (removed->keys != NULL) {
        key_remove(t, removed->keys);
    }
    lease_table_mark(t, removed);
    unqueue(t, removed);
    hash_remove(&t->leases, &removed->link, hash_of_lease);
    mem_free(removed);
}

/* ---- keys ------------------------------------------------------------------------------------------- */

static struct lease_key *key_find(const struct lease_table *t, struct view key, uint32_t hash)
{
    struct lease_link *link = *bucket_of(&t->keys, hash);
    for (; link != NULL; link = link->next) {
        struct lease_key *found = (struct lease_key *)link;
        if (found->hash == hash && view_equal(view_of(found->octets, found->size), key)) {
            return found;
        }
    }
    return NULL;
}

void lease_table_attach(struct lease_table *t, struct lease *lease, struct view key)
{
    uint32_t hash = checksum32(key);
    struct lease_key *found = key_find(t, key, hash);
    if (lease == NULL) {
        if (found != NULL) {
            key_remove(t, found);
        }
        return;
    }
    if (found != NULL) {
        if (found->lease != lease) {
            key_unlist(found);
            key_list(found, lease);
        }
        return;
    }
    ASSERT(key.size > 0);
    ASSERT(key.size <= UINT32_MAX);
    struct lease_key *added = mem_alloc(sizeof(*added) + key.size);
    added->hash = hash;
    added->size = (uint32_t)key.size;
    memcpy(added->octets, key.data, key.size);
    key_list(added, lease);
    hash_add(&t->keys, &added->link, hash_of_key);
    t->key_bytes += key_bytes(key.size);
}

struct lease *lease_table_of_key(const struct lease_table *t, struct view key)
{
    const struct lease_key *found = key_find(t, key, checksum32(key));
    return found != NULL ? found->lease : NULL;
}

static int compare_views(const void *a, const void *b)
{
    return view_compare(*(const struct view *)a, *(const struct view *)b);
}

struct view *lease_table_keys(const struct lease *lease)
{
    struct view *keys = mem_alloc(lease->key_count * sizeof(*keys));
    size_t count = 0;
    for (const struct lease_key *key = lease->keys; key != NULL; key = key->next) {
        keys[count++] = view_of(key->octets, key->size);
    }
    ASSERT(count == lease->key_count);
    qsort(keys, count, sizeof(*keys), compare_views);
    return keys;
}

/* ---- lists ------------------------------------------------------------------------------------------ */

static bool line_before(const struct lease_line *a, const struct lease_line *b)
{
    return a->deadline_us != b->deadline_us ? a->deadline_us < b->deadline_us : a->id < b->id;
}

static void line_sift_down(struct lease_line *lines, size_t count, size_t at)
{
    struct lease_line moved = lines[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) {
            break;
        }
        if (child + 1 < count && line_before(&lines[child + 1], &lines[child])) {
            child++;
        }
        if (!line_before(&lines[child], &moved)) {
            break;
        }
        lines[at] = lines[child];
        at = child;
    }
    lines[at] = moved;
}

struct lease_line *lease_table_lines(const struct lease_table *t)
{
    struct lease_line *lines = mem_alloc(t->leases.count * sizeof(*lines));
    size_t count = 0;
    for (size_t i = 0; i < t->heap_count + t->taken_count; i++) {
        const struct lease *lease =
            i < t->heap_count ? t->heap[i].lease : t->taken[i - t->heap_count];
        lines[count++] = (struct lease_line){.deadline_us = lease->deadline_us, .id = lease->id};
    }
    ASSERT(count == t->leases.count);
    for (size_t i = count / 2; i > 0; i--) {
        line_sift_down(lines, count, i - 1);
    }
    return lines;
}

struct lease_line lease_lines_pop(struct lease_line *lines, size_t *count)
{
    ASSERT(*count > 0);
    struct lease_line first = lines[0];
    lines[0] = lines[--*count];
    if (*count > 0) {
        line_sift_down(lines, *count, 0);
    }
    return first;
}

/* ---- looking in ------------------------------------------------------------------------------------- */

size_t lease_table_bytes(const struct lease_table *t)
{
    return t->leases.count * (sizeof(struct lease) + sizeof(struct lease_link *)) + t->key_bytes +
           t->heap_capacity * sizeof(*t->heap) + t->taken_capacity * sizeof(struct lease *) +
           t->changed_capacity * sizeof(*t->changed);
}

void lease_table_check(const struct lease_table *t)
{
    size_t keys = 0;
    ASSERT(t->heap_count + t->taken_count == t->leases.count);
    for (size_t i = 0; i < t->heap_count; i++) {
        const struct lease *lease = t->heap[i].lease;
        ASSERT(lease->place == i);
        ASSERT(!lease->taken);
        ASSERT(t->heap[i].due_us <= lease->deadline_us);
        ASSERT(i == 0 || t->heap[(i - 1) / 2].due_us <= t->heap[i].due_us);
        ASSERT(lease_table_find(t, lease->id) == lease);
        keys += lease->key_count;
    }
    for (size_t i = 0; i < t->taken_count; i++) {
        ASSERT(t->taken[i]->taken);
        ASSERT(t->taken[i]->place == i);
        ASSERT(lease_table_find(t, t->taken[i]->id) == t->taken[i]);
        keys += t->taken[i]->key_count;
    }
    ASSERT(keys == t->keys.count);
    for (size_t i = 0; i < t->keys.round + t->keys.split; i++) {
        for (const struct lease_link *link = t->keys.buckets[i]; link != NULL; link = link->next) {
            const struct lease_key *key = (const struct lease_key *)link;
            ASSERT(lease_table_find(t, key->lease->id) == key->lease);
            ASSERT(key->previous != NULL ? key->previous->next == key : key->lease->keys == key);
            ASSERT(key->next == NULL || key->next->previous == key);
        }
    }
}
