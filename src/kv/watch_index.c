/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_index.c: see watch_index.h. The tree is an AVL tree; its recursions are as deep as it is high,
 * less than 1.45 log2(n).
 */
#include "kv/watch_index.h"

#include <string.h>

#define BUCKETS_LEAST 16

/* ---- ranges ---------------------------------------------------------------------------------------- */

static bool is_unbounded(struct view range_end)
{
    return range_end.size == 1 && range_end.data[0] == 0;
}

bool watch_range_is_empty(struct view key, struct view range_end)
{
    return range_end.size > 0 && !is_unbounded(range_end) && view_compare(key, range_end) >= 0;
}

static struct view place_start(const struct watch_place *p)
{
    return view_of(p->octets, p->start_size);
}

static struct view place_end(const struct watch_place *p)
{
    return view_of(p->octets + p->start_size, p->end_size);
}

/* Which of two places ends first? An unbounded one never does. */
static int ends_compare(const struct watch_place *a, const struct watch_place *b)
{
    if (a->unbounded || b->unbounded) {
        return (int)a->unbounded - (int)b->unbounded;
    }
    return view_compare(place_end(a), place_end(b));
}

static int ranges_compare(const struct watch_place *a, const struct watch_place *b)
{
    int order = view_compare(place_start(a), place_start(b));
    return order != 0 ? order : ends_compare(a, b);
}

static bool ends_behind(const struct watch_place *p, struct view key)
{
    return p->unbounded || view_compare(key, place_end(p)) < 0;
}

static struct watch_place *place_create(struct view key, struct view range_end)
{
    struct watch_place *p = mem_zalloc(sizeof(*p) + key.size + range_end.size);
    p->start_size = key.size;
    p->end_size = range_end.size;
    p->single = range_end.size == 0;
    p->unbounded = is_unbounded(range_end);
    p->height = 1;
    p->greatest_end = p;
    if (key.size > 0) {
        memcpy(p->octets, key.data, key.size);
    }
    if (range_end.size > 0) {
        memcpy(p->octets + key.size, range_end.data, range_end.size);
    }
    return p;
}

/* ---- the tree -------------------------------------------------------------------------------------- */

static int height_of(const struct watch_place *p)
{
    return p != NULL ? p->height : 0;
}

static void take_greater_end(struct watch_place *p, const struct watch_place *child)
{
    if (child != NULL && ends_compare(child->greatest_end, p->greatest_end) > 0) {
        p->greatest_end = child->greatest_end;
    }
}

static void update(struct watch_place *p)
{
    int left = height_of(p->left);
    int right = height_of(p->right);
    p->height = 1 + (left > right ? left : right);
    p->greatest_end = p;
    take_greater_end(p, p->left);
    take_greater_end(p, p->right);
}

static struct watch_place *rotate_right(struct watch_place *p)
{
    struct watch_place *top = p->left;
    p->left = top->right;
    top->right = p;
    update(p);
    update(top);
    return top;
}

static struct watch_place *rotate_left(struct watch_place *p)
{
    struct watch_place *top = p->right;
    p->right = top->left;
    top->left = p;
    update(p);
    update(top);
    return top;
}

/* The subtree's new root after a child has grown or shrunk by one. */
static struct watch_place *balance(struct watch_place *p)
{
    int lean = height_of(p->left) - height_of(p->right);
    if (lean > 1) {
        if (height_of(p->left->left) < height_of(p->left->right)) {
            p->left = rotate_left(p->left);
        }
        return rotate_right(p);
    }
    if (lean < -1) {
        if (height_of(p->right->right) < height_of(p->right->left)) {
            p->right = rotate_right(p->right);
        }
        return rotate_left(p);
    }
    update(p);
    return p;
}

/* Put `added` into the subtree; if its range is there already, *found is that place. */
static struct watch_place *tree_add(struct watch_place *p, struct watch_place *added,
                                    struct watch_place **found)
{
    if (p == NULL) {
        *found = added;
        return added;
    }
    int order = ranges_compare(added, p);
    if (order == 0) {
        *found = p;
        return p;
    }
    if (order < 0) {
        p->left = tree_add(p->left, added, found);
    } else {
        p->right = tree_add(p->right, added, found);
    }
    return balance(p);
}

/* Take the least place out of a subtree that has one. */
static struct watch_place *tree_take_least(struct watch_place *p, struct watch_place **least)
{
    if (p->left == NULL) {
        *least = p;
        return p->right;
    }
    p->left = tree_take_least(p->left, least);
    return balance(p);
}

static struct watch_place *tree_remove(struct watch_place *p, const struct watch_place *removed)
{
    ASSERT(p != NULL);
    int order = ranges_compare(removed, p);
    if (order < 0) {
        p->left = tree_remove(p->left, removed);
        return balance(p);
    }
    if (order > 0) {
        p->right = tree_remove(p->right, removed);
        return balance(p);
    }
    ASSERT(p == removed);
    if (p->right == NULL) {
        return p->left;
    }
    struct watch_place *heir = NULL;
    struct watch_place *right = tree_take_least(p->right, &heir);
    heir->left = p->left;
    heir->right = right;
    return balance(heir);
}

static void matches_add(struct watch_matches *out, struct watch_place *p)
{
    ARRAY_RESERVE(out->items, out->capacity, out->count + 1);
    out->items[out->count++] = p;
}

static void tree_match(struct watch_place *p, struct view key, struct watch_matches *out)
{
    while (p != NULL && ends_behind(p->greatest_end, key)) {
        tree_match(p->left, key, out);
        if (view_compare(place_start(p), key) > 0) {
            return; /* and all to the right start behind the key too */
        }
        if (ends_behind(p, key)) {
            matches_add(out, p);
        }
        p = p->right;
    }
}

/* ---- the hash -------------------------------------------------------------------------------------- */

static struct watch_place **bucket_of(const struct watch_index *x, uint64_t hash)
{
    return &x->buckets[hash & (x->bucket_count - 1)];
}

static struct watch_place *hash_find(const struct watch_index *x, struct view key, uint64_t hash)
{
    if (x->bucket_count == 0) {
        return NULL;
    }
    struct watch_place *p = *bucket_of(x, hash);
    while (p != NULL && (p->hash != hash || !view_equal(place_start(p), key))) {
        p = p->left;
    }
    return p;
}

static void hash_grow(struct watch_index *x)
{
    struct watch_place **old = x->buckets;
    size_t old_count = x->bucket_count;
    x->bucket_count = old_count == 0 ? BUCKETS_LEAST : old_count * 2;
    x->buckets = mem_zalloc(x->bucket_count * sizeof(x->buckets[0]));
    for (size_t i = 0; i < old_count; i++) {
        struct watch_place *next = NULL;
        for (struct watch_place *p = old[i]; p != NULL; p = next) {
            next = p->left;
            struct watch_place **bucket = bucket_of(x, p->hash);
            p->left = *bucket;
            *bucket = p;
        }
    }
    mem_free(old);
}

static struct watch_place *hash_add(struct watch_index *x, struct view key)
{
    uint64_t hash = checksum64(key);
    struct watch_place *p = hash_find(x, key, hash);
    if (p != NULL) {
        return p;
    }
    if (x->single_count == x->bucket_count) {
        hash_grow(x);
    }
    p = place_create(key, (struct view){0});
    p->hash = hash;
    struct watch_place **bucket = bucket_of(x, hash);
    p->left = *bucket;
    *bucket = p;
    x->single_count++;
    return p;
}

static void hash_remove(struct watch_index *x, const struct watch_place *removed)
{
    struct watch_place **link = bucket_of(x, removed->hash);
    while (*link != removed) {
        ASSERT(*link != NULL);
        link = &(*link)->left;
    }
    *link = removed->left;
    x->single_count--;
}

/* ---- entries --------------------------------------------------------------------------------------- */

static struct watch_place *range_add(struct watch_index *x, struct view key, struct view range_end)
{
    struct watch_place *added = place_create(key, range_end);
    struct watch_place *found = NULL;
    x->root = tree_add(x->root, added, &found);
    if (found != added) {
        mem_free(added);
    } else {
        x->range_count++;
    }
    return found;
}

void watch_index_add(struct watch_index *x, struct watch_entry *e, struct view key,
                     struct view range_end)
{
    ASSERT(e->place == NULL);
    ASSERT(!watch_range_is_empty(key, range_end));
    struct watch_place *p = range_end.size == 0 ? hash_add(x, key) : range_add(x, key, range_end);
    e->place = p;
    e->previous = NULL;
    e->next = p->entries;
    if (e->next != NULL) {
        e->next->previous = e;
    }
    p->entries = e;
    x->entry_count++;
}

void watch_index_remove(struct watch_index *x, struct watch_entry *e)
{
    struct watch_place *p = e->place;
    ASSERT(p != NULL);
    if (e->previous != NULL) {
        e->previous->next = e->next;
    } else {
        p->entries = e->next;
    }
    if (e->next != NULL) {
        e->next->previous = e->previous;
    }
    *e = (struct watch_entry){0};
    x->entry_count--;
    if (p->entries != NULL) {
        return;
    }
    if (p->single) {
        hash_remove(x, p);
    } else {
        x->root = tree_remove(x->root, p);
        x->range_count--;
    }
    mem_free(p);
}

struct watch_entry *watch_index_any(const struct watch_index *x)
{
    if (x->root != NULL) {
        return x->root->entries;
    }
    for (size_t i = 0; i < x->bucket_count && x->single_count > 0; i++) {
        if (x->buckets[i] != NULL) {
            return x->buckets[i]->entries;
        }
    }
    return NULL;
}

void watch_index_match(const struct watch_index *x, struct view key, struct watch_matches *out)
{
    out->count = 0;
    if (x->single_count > 0) {
        struct watch_place *p = hash_find(x, key, checksum64(key));
        if (p != NULL) {
            matches_add(out, p);
        }
    }
    tree_match(x->root, key, out);
}

static void tree_free(struct watch_place *p)
{
    if (p != NULL) {
        tree_free(p->left);
        tree_free(p->right);
        mem_free(p);
    }
}

void watch_index_free(struct watch_index *x)
{
    tree_free(x->root);
    for (size_t i = 0; i < x->bucket_count; i++) {
        struct watch_place *next = NULL;
        for (struct watch_place *p = x->buckets[i]; p != NULL; p = next) {
            next = p->left;
            mem_free(p);
        }
    }
    mem_free(x->buckets);
    *x = (struct watch_index){0};
}

/* ---- invariants ------------------------------------------------------------------------------------ */

static size_t place_check(const struct watch_place *p)
{
    size_t count = 0;
    ASSERT(p->entries != NULL);
    ASSERT(p->entries->previous == NULL);
    for (const struct watch_entry *e = p->entries; e != NULL; e = e->next) {
        ASSERT(e->place == p);
        ASSERT(e->next == NULL || e->next->previous == e);
        count++;
    }
    return count;
}

/* *previous: the place before this subtree in order. */
static size_t tree_check(const struct watch_place *p, const struct watch_place **previous,
                         size_t *place_count)
{
    if (p == NULL) {
        return 0;
    }
    int lean = height_of(p->left) - height_of(p->right);
    ASSERT(lean >= -1);
    ASSERT(lean <= 1);
    ASSERT(!p->single);
    size_t entries = tree_check(p->left, previous, place_count);
    ASSERT(*previous == NULL || ranges_compare(*previous, p) < 0);
    *previous = p;
    (*place_count)++;
    entries += place_check(p);
    entries += tree_check(p->right, previous, place_count);
    ASSERT(ends_compare(p->greatest_end, p) >= 0);
    ASSERT(p->left == NULL || ends_compare(p->greatest_end, p->left->greatest_end) >= 0);
    ASSERT(p->right == NULL || ends_compare(p->greatest_end, p->right->greatest_end) >= 0);
    ASSERT(p->greatest_end == p || (p->left != NULL && p->greatest_end == p->left->greatest_end) ||
           (p->right != NULL && p->greatest_end == p->right->greatest_end));
    return entries;
}

void watch_index_check(const struct watch_index *x)
{
    const struct watch_place *previous = NULL;
    size_t places = 0;
    size_t entries = tree_check(x->root, &previous, &places);
    ASSERT(places == x->range_count);
    size_t singles = 0;
    for (size_t i = 0; i < x->bucket_count; i++) {
        for (const struct watch_place *p = x->buckets[i]; p != NULL; p = p->left) {
            ASSERT(p->single);
            ASSERT(bucket_of(x, p->hash) == &x->buckets[i]);
            entries += place_check(p);
            singles++;
        }
    }
    ASSERT(singles == x->single_count);
    ASSERT(entries == x->entry_count);
}
