/* SPDX-License-Identifier: Apache-2.0 */
/*
 * overlay.c: nodes, their hash, the two batches and the cache of clean nodes.
 *
 * What is kept of a flushed value: only what was read while it was dirty. A put needs the node's
 * numbers but not its old value, so a store that is only written copies nothing when a batch turns
 * clean, and a key that is read keeps its value in memory over the flush.
 */
#include "kv/overlay.h"

#include <string.h>

#define OVERLAY_BUCKETS_FIRST ((size_t)64)      /* a power of two */
#define OVERLAY_ROWS_KEPT_MAX ((size_t)1 << 16) /* a larger array of rows is freed with its batch */
#define OVERLAY_KEY_BYTES_MAX UINT32_MAX

_Static_assert((OVERLAY_BUCKETS_FIRST & (OVERLAY_BUCKETS_FIRST - 1)) == 0, "a power of two");

void overlay_init(struct overlay *o, size_t cache_bytes_max)
{
    *o = (struct overlay){
        .bucket_capacity = OVERLAY_BUCKETS_FIRST,
        .bucket_round = OVERLAY_BUCKETS_FIRST,
        .cache_bytes_max = cache_bytes_max,
    };
    o->buckets = mem_zalloc(o->bucket_capacity * sizeof(struct overlay_node *));
}

static void batch_reset(struct overlay_batch *b)
{
    key_index_free(&b->index);
    arena_free(&b->values);
    b->row_count = 0;
    if (b->row_capacity > OVERLAY_ROWS_KEPT_MAX) {
        mem_free(b->rows);
        b->rows = NULL;
        b->row_capacity = 0;
    }
}

/* ---- nodes --------------------------------------------------------------------------------------- */

static uint8_t *octets_copy(struct view from)
{
    uint8_t *octets = mem_alloc(from.size);
    if (from.size > 0) {
        memcpy(octets, from.data, from.size);
    }
    return octets;
}

static void node_free(struct overlay_node *node)
{
    mem_free(node->owned);
    mem_free(node);
}

/* Give a node without a value a copy of it (invariant 4). */
static void node_own_value(struct overlay_node *node, struct view value)
{
    node->owned = octets_copy(value);
    node->value = node->owned;
    node->value_size = value.size;
    node->value_known = true;
    node->value_read = true;
}

/* With its bucket and its place among the clean ones. */
static size_t node_bytes_of(size_t key_size)
{
    return sizeof(struct overlay_node) + key_size + 2 * sizeof(void *);
}

static size_t node_bytes(const struct overlay_node *node)
{
    return node_bytes_of(node->key_size);
}

static size_t clean_bytes(const struct overlay_node *node)
{
    return node_bytes(node) + (node->value_known ? node->value_size : 0);
}

struct view overlay_key(const struct overlay_node *node)
{
    return view_of(node->key, node->key_size);
}

struct view overlay_value(struct overlay_node *node)
{
    ASSERT(node->value_known);
    node->value_read = true;
    return view_of(node->value, node->value_size);
}

struct kv_current overlay_current(const struct overlay_node *node)
{
    return (struct kv_current){
        .key = overlay_key(node),
        .change = node->change,
        .create_revision = node->create_revision,
        .version = node->version,
        .lease = node->lease,
        .depth = node->depth,
        .deleted = node->deleted,
    };
}

void overlay_free(struct overlay *o)
{
    for (size_t i = 0; o->buckets != NULL && i < o->bucket_round + o->bucket_split; i++) {
        struct overlay_node *node = o->buckets[i];
        while (node != NULL) {
            struct overlay_node *next = node->hash_next;
            node_free(node);
            node = next;
        }
    }
    batch_reset(&o->open);
    batch_reset(&o->sealed);
    mem_free(o->open.rows);
    mem_free(o->sealed.rows);
    mem_free(o->clean);
    mem_free(o->buckets);
    *o = (struct overlay){0};
}

/* ---- hash (linear hashing: Litwin 1980) ------------------------------------------------------------ */

static size_t bucket_of(const struct overlay *o, uint64_t hash)
{
    size_t at = (size_t)hash & (o->bucket_round - 1);
    return at < o->bucket_split ? (size_t)hash & (2 * o->bucket_round - 1) : at;
}

/* Split one bucket in two, so that the table grows by one. */
static void bucket_split_next(struct overlay *o)
{
    size_t from = o->bucket_split;
    size_t to = o->bucket_round + o->bucket_split;
    ARRAY_RESERVE(o->buckets, o->bucket_capacity, to + 1);
    struct overlay_node *node = o->buckets[from];
    o->buckets[from] = NULL;
    o->buckets[to] = NULL;
    o->bucket_split++;
    while (node != NULL) {
        struct overlay_node *next = node->hash_next;
        size_t at = bucket_of(o, node->hash);
        node->hash_next = o->buckets[at];
        o->buckets[at] = node;
        node = next;
    }
    if (o->bucket_split == o->bucket_round) {
        o->bucket_round *= 2;
        o->bucket_split = 0;
    }
}

struct overlay_node *overlay_find(struct overlay *o, struct view key)
{
    uint64_t hash = checksum64(key);
    struct overlay_node *node = o->buckets[bucket_of(o, hash)];
    while (node != NULL && (node->hash != hash || !view_equal(overlay_key(node), key))) {
        node = node->hash_next;
    }
    if (node != NULL) {
        node->referenced = true;
    }
    return node;
}

static struct overlay_node *node_add(struct overlay *o, struct view key,
                                     const struct kv_current *row)
{
    ASSERT(key.size > 0);
    ASSERT(key.size <= OVERLAY_KEY_BYTES_MAX);
    if (o->node_count >= o->bucket_round + o->bucket_split) {
        bucket_split_next(o);
    }
    struct overlay_node *node = mem_zalloc(sizeof(*node) + key.size);
    node->key_size = (uint32_t)key.size;
    memcpy(node->key, key.data, key.size);
    node->hash = checksum64(key);
    if (row != NULL) {
        node->change = row->change;
        node->create_revision = row->create_revision;
        node->version = row->version;
        node->lease = row->lease;
        node->depth = row->depth;
        node->deleted = row->deleted;
    }
    struct overlay_node **bucket = &o->buckets[bucket_of(o, node->hash)];
    node->hash_next = *bucket;
    *bucket = node;
    o->node_count++;
    return node;
}

static void node_remove(struct overlay *o, struct overlay_node *node)
{
    struct overlay_node **link = &o->buckets[bucket_of(o, node->hash)];
    while (*link != node) {
        ASSERT(*link != NULL);
        link = &(*link)->hash_next;
    }
    *link = node->hash_next;
    o->node_count--;
    node_free(node);
}

/* ---- cache: second chance (CLOCK) over the clean nodes ----------------------------------------------- */

static void clean_add(struct overlay *o, struct overlay_node *node)
{
    ASSERT(!node->clean);
    ARRAY_RESERVE(o->clean, o->clean_capacity, o->clean_count + 1);
    node->clean = true;
    node->clean_at = o->clean_count;
    o->clean[o->clean_count++] = node;
    o->cache_bytes += clean_bytes(node);
}

static void clean_take_out(struct overlay *o, struct overlay_node *node)
{
    ASSERT(node->clean);
    ASSERT(o->clean[node->clean_at] == node);
    o->cache_bytes -= clean_bytes(node);
    struct overlay_node *last = o->clean[--o->clean_count];
    o->clean[node->clean_at] = last;
    last->clean_at = node->clean_at;
}

/* Evict until the cache is within its bound; `keep` is spared. Ends: the hand clears each reference
 * it passes, so at most two rounds find a victim, and each victim makes the cache smaller. */
static void clean_evict(struct overlay *o, const struct overlay_node *keep)
{
    while (o->cache_bytes > o->cache_bytes_max && o->clean_count > (keep != NULL ? 1U : 0U)) {
        if (o->clean_hand >= o->clean_count) {
            o->clean_hand = 0;
        }
        struct overlay_node *node = o->clean[o->clean_hand];
        ASSERT(node != NULL);
        bool spared = keep != NULL && node == keep;
        if (node->referenced || spared) {
            node->referenced = false;
            o->clean_hand++;
            continue;
        }
        clean_take_out(o, node);
        node_remove(o, node);
    }
}

void overlay_cache(struct overlay *o, const struct kv_current *row, const struct view *value)
{
    bool keep_value = value != NULL && value->size <= OVERLAY_CACHED_VALUE_BYTES_MAX;
    size_t needed = node_bytes_of(row->key.size) + (keep_value ? value->size : 0);
    if (needed > o->cache_bytes_max) {
        return;
    }
    struct overlay_node *node = node_add(o, row->key, row);
    if (keep_value) {
        node_own_value(node, *value);
    }
    clean_add(o, node);
    clean_evict(o, node);
}

void overlay_cache_value(struct overlay *o, struct overlay_node *node, struct view value)
{
    ASSERT(node->clean);
    ASSERT(!node->value_known);
    if (value.size > OVERLAY_CACHED_VALUE_BYTES_MAX ||
        clean_bytes(node) + value.size > o->cache_bytes_max) {
        return;
    }
    node_own_value(node, value);
    o->cache_bytes += value.size;
    clean_evict(o, node);
}

/* ---- batches ------------------------------------------------------------------------------------- */

struct overlay_node *overlay_hold(struct overlay *o, struct view key, const struct kv_current *row)
{
    return node_add(o, key, row);
}

void overlay_write(struct overlay *o, struct overlay_node *node, const struct kv_history *row,
                   bool jump_jump_known, uint64_t jump_jump)
{
    struct overlay_batch *b = &o->open;
    ASSERT(row->change > node->change);
    ASSERT(b->row_count == 0 || row->change > b->rows[b->row_count - 1].change);
    struct view value = arena_copy(&b->values, row->value);

    /* The copy is made: now the old value may go. */
    if (node->clean) {
        clean_take_out(o, node);
        node->clean = false;
        mem_free(node->owned);
        node->owned = NULL;
    }
    if (!node->dirty_open) {
        if (!node->dirty_sealed) {
            o->dirty_node_bytes += node_bytes(node);
        }
        node->dirty_open = true;
        key_index_insert(&b->index, overlay_key(node), node);
    }
    node->change = row->change;
    node->create_revision = row->create_revision;
    node->version = row->version;
    node->lease = row->lease;
    node->deleted = row->deleted;
    node->depth++;
    node->jump_change = row->jump_change;
    node->jump_known = true;
    node->jump_jump_change = jump_jump;
    node->jump_jump_known = jump_jump_known;
    node->value = value.data;
    node->value_size = value.size;
    node->value_known = true;
    node->value_read = false;
    node->referenced = true;

    ARRAY_RESERVE(b->rows, b->row_capacity, b->row_count + 1);
    b->rows[b->row_count++] = (struct overlay_row){
        .change = row->change,
        .previous_change = row->previous_change,
        .jump_change = row->jump_change,
        .node = node,
        .value = value.data,
        .value_size = value.size,
        .create_revision = row->create_revision,
        .version = row->version,
        .lease = row->lease,
        .deleted = row->deleted,
    };
}

static const struct overlay_row *batch_row_find(const struct overlay_batch *b, uint64_t change)
{
    size_t low = 0;
    size_t high = b->row_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (b->rows[middle].change < change) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < b->row_count && b->rows[low].change == change ? &b->rows[low] : NULL;
}

const struct overlay_row *overlay_row_find(const struct overlay *o, uint64_t change)
{
    if (o->open.row_count > 0 && change >= o->open.rows[0].change) {
        return batch_row_find(&o->open, change);
    }
    if (o->sealed.row_count > 0 && change >= o->sealed.rows[0].change) {
        return batch_row_find(&o->sealed, change);
    }
    return NULL;
}

void overlay_seal(struct overlay *o)
{
    ASSERT(!o->has_sealed);
    struct key_index_cursor c = key_index_seek(&o->open.index, view_of(NULL, 0));
    struct view key;
    struct overlay_node *node = NULL;
    while ((node = key_index_get(&c, &key)) != NULL) {
        node->dirty_open = false;
        node->dirty_sealed = true;
        key_index_next(&c);
    }
    struct overlay_batch spare = o->sealed; /* empty; its array of rows is used again */
    o->sealed = o->open;
    o->open = spare;
    o->has_sealed = true;
}

static void node_turn_clean(struct overlay *o, struct overlay_node *node)
{
    o->dirty_node_bytes -= node_bytes(node);
    struct view value = view_of(node->value, node->value_size);
    bool keep = node->value_read && value.size <= OVERLAY_CACHED_VALUE_BYTES_MAX;
    node->value = NULL;
    node->value_size = 0;
    node->value_known = false;
    if (keep) {
        node_own_value(node, value);
    }
    clean_add(o, node);
}

void overlay_flushed(struct overlay *o)
{
    ASSERT(o->has_sealed);
    struct key_index_cursor c = key_index_seek(&o->sealed.index, view_of(NULL, 0));
    struct view key;
    struct overlay_node *node = NULL;
    while ((node = key_index_get(&c, &key)) != NULL) {
        key_index_next(&c); /* before the node, and with it its key, may be evicted */
        ASSERT(node->dirty_sealed);
        node->dirty_sealed = false;
        if (!node->dirty_open) {
            node_turn_clean(o, node);
            clean_evict(o, NULL);
        }
    }
    batch_reset(&o->sealed);
    o->has_sealed = false;
}

/* ---- figures and checks ---------------------------------------------------------------------------- */

static size_t batch_bytes(const struct overlay_batch *b)
{
    return b->values.bytes + b->index.pages.bytes + b->row_count * sizeof(b->rows[0]);
}

size_t overlay_dirty_bytes(const struct overlay *o)
{
    return o->dirty_node_bytes + batch_bytes(&o->open) + batch_bytes(&o->sealed);
}

static size_t batch_check(const struct overlay *o, const struct overlay_batch *b, bool open)
{
    size_t bytes = 0;
    key_index_check(&b->index);
    struct key_index_cursor c = key_index_seek(&b->index, view_of(NULL, 0));
    struct view key;
    const struct overlay_node *node = NULL;
    while ((node = key_index_get(&c, &key)) != NULL) {
        ASSERT(open ? node->dirty_open : node->dirty_sealed);
        ASSERT(!node->clean);
        ASSERT(view_equal(key, overlay_key(node)));
        if (open || !node->dirty_open) {
            const struct overlay_row *newest = overlay_row_find(o, node->change);
            ASSERT(newest != NULL);
            ASSERT(newest->node == node);
            ASSERT(newest->value == node->value);
            bytes += node_bytes(node);
        }
        key_index_next(&c);
    }
    for (size_t i = 1; i < b->row_count; i++) {
        ASSERT(b->rows[i - 1].change < b->rows[i].change);
    }
    return bytes;
}

void overlay_check(const struct overlay *o)
{
    ASSERT(o->has_sealed || o->sealed.row_count == 0);
    size_t dirty = batch_check(o, &o->open, true) + batch_check(o, &o->sealed, false);
    ASSERT(dirty == o->dirty_node_bytes);
    size_t cache = 0;
    for (size_t i = 0; i < o->clean_count; i++) {
        ASSERT(o->clean[i]->clean);
        ASSERT(o->clean[i]->clean_at == i);
        ASSERT(!o->clean[i]->dirty_open);
        ASSERT(!o->clean[i]->dirty_sealed);
        cache += clean_bytes(o->clean[i]);
    }
    ASSERT(cache == o->cache_bytes);
    ASSERT(o->cache_bytes <= o->cache_bytes_max);
    size_t nodes = 0;
    for (size_t i = 0; i < o->bucket_round + o->bucket_split; i++) {
        for (const struct overlay_node *node = o->buckets[i]; node != NULL;
             node = node->hash_next) {
            ASSERT(bucket_of(o, node->hash) == i);
            ASSERT(node->clean || node->dirty_open || node->dirty_sealed);
            nodes++;
        }
    }
    ASSERT(nodes == o->node_count);
}
