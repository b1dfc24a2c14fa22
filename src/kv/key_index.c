/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key_index.c: the insert-only B+-tree of key_index.h. Insertion walks down remembering its path and
 * splits full pages on the way back up. When keys arrive in order the rightmost page is left full
 * instead of halved, so that ascending insertion wastes nothing; any other page is halved, so that no
 * order of keys leaves a trail of pages with one entry.
 */
#include "kv/key_index.h"

#include <string.h>

#define KEY_INDEX_FANOUT     64
#define KEY_INDEX_HEIGHT_MAX 16 /* at least 2^16 pages of leaves even if every split is the worst */

struct key_index_entry {
    struct view key;
    void *item; /* in a leaf: the item; in an inner page: the child page */
};

struct key_index_page {
    uint32_t count;
    struct key_index_page *next; /* the page to the right on the same level */
    struct key_index_entry entries[KEY_INDEX_FANOUT];
};

static struct key_index_page *page_create(struct key_index *x)
{
    struct key_index_page *page = arena_alloc(&x->pages, sizeof(*page));
    page->count = 0;
    page->next = NULL;
    return page;
}

/* Number of the leaf's entries that are less than the key. */
static uint32_t leaf_lower(const struct key_index_page *leaf, struct view key)
{
    uint32_t low = 0;
    uint32_t high = leaf->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (view_compare(leaf->entries[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The child that covers the key: the last one whose least key is at or before it. */
static uint32_t inner_child(const struct key_index_page *page, struct view key)
{
    uint32_t low = 1;
    uint32_t high = page->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (view_compare(page->entries[middle].key, key) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low - 1;
}

static void page_put(struct key_index_page *page, uint32_t at, struct key_index_entry entry)
{
    memmove(&page->entries[at + 1], &page->entries[at],
            (page->count - at) * sizeof(page->entries[0]));
    page->entries[at] = entry;
    page->count++;
}

/* Put the entry into a full page by splitting it; returns the new page to its right. */
static struct key_index_page *page_split(struct key_index *x, struct key_index_page *page,
                                         uint32_t at, struct key_index_entry entry)
{
    struct key_index_page *right = page_create(x);
    bool rightmost = at == KEY_INDEX_FANOUT && page->next == NULL;
    uint32_t keep = rightmost ? KEY_INDEX_FANOUT : KEY_INDEX_FANOUT / 2;
    right->count = KEY_INDEX_FANOUT - keep;
    memcpy(right->entries, &page->entries[keep], right->count * sizeof(page->entries[0]));
    page->count = keep;
    right->next = page->next;
    page->next = right;
    if (at < keep) {
        page_put(page, at, entry);
    } else {
        page_put(right, at - keep, entry);
    }
    return right;
}

void key_index_insert(struct key_index *x, struct view key, void *item)
{
    struct key_index_page *path[KEY_INDEX_HEIGHT_MAX];
    uint32_t places[KEY_INDEX_HEIGHT_MAX];

    if (x->root == NULL) {
        x->root = page_create(x);
        x->height = 1;
    }
    ASSERT(x->height < KEY_INDEX_HEIGHT_MAX);
    struct key_index_page *page = x->root;
    for (uint32_t level = 0; level + 1 < x->height; level++) {
        path[level] = page;
        places[level] = inner_child(page, key);
        page = page->entries[places[level]].item;
    }
    uint32_t level = x->height - 1;
    path[level] = page;
    places[level] = leaf_lower(page, key);
    ASSERT(places[level] == page->count || !view_equal(page->entries[places[level]].key, key));
    x->count++;

    struct key_index_entry entry = {.key = key, .item = item};
    for (;;) {
        if (path[level]->count < KEY_INDEX_FANOUT) {
            page_put(path[level], places[level], entry);
            return;
        }
        struct key_index_page *right = page_split(x, path[level], places[level], entry);
        entry = (struct key_index_entry){.key = right->entries[0].key, .item = right};
        if (level == 0) {
            break;
        }
        level--;
        places[level]++; /* right of the child that was split */
    }
    struct key_index_page *root = page_create(x);
    root->entries[0] = (struct key_index_entry){.key = x->root->entries[0].key, .item = x->root};
    root->entries[1] = entry;
    root->count = 2;
    x->root = root;
    x->height++;
}

struct key_index_cursor key_index_seek(const struct key_index *x, struct view key)
{
    struct key_index_cursor c = {.leaf = x->root};
    if (x->root == NULL) {
        return c;
    }
    for (uint32_t level = 0; level + 1 < x->height; level++) {
        c.leaf = c.leaf->entries[inner_child(c.leaf, key)].item;
    }
    c.at = leaf_lower(c.leaf, key);
    if (c.at == c.leaf->count) {
        c.leaf = c.leaf->next;
        c.at = 0;
    }
    return c;
}

void *key_index_get(const struct key_index_cursor *c, struct view *key)
{
    if (c->leaf == NULL) {
        return NULL;
    }
    *key = c->leaf->entries[c->at].key;
    return c->leaf->entries[c->at].item;
}

void key_index_next(struct key_index_cursor *c)
{
    ASSERT(c->leaf != NULL);
    c->at++;
    if (c->at == c->leaf->count) {
        c->leaf = c->leaf->next;
        c->at = 0;
    }
}

void key_index_free(struct key_index *x)
{
    arena_free(&x->pages);
    *x = (struct key_index){0};
}

void key_index_check(const struct key_index *x)
{
    struct key_index_cursor c = key_index_seek(x, view_of(NULL, 0));
    struct view last = {0};
    struct view key = {0};
    size_t count = 0;
    while (key_index_get(&c, &key) != NULL) {
        ASSERT(count == 0 || view_compare(last, key) < 0);
        struct key_index_cursor found = key_index_seek(x, key);
        ASSERT(found.leaf == c.leaf);
        ASSERT(found.at == c.at);
        last = key;
        count++;
        key_index_next(&c);
    }
    ASSERT(count == x->count);
}
