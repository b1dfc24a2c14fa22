/* SPDX-License-Identifier: Apache-2.0 */
/* merge.c: three ordered sources, the youngest wins. A key changed in both batches has one node, so
 * the two indexes never disagree; only a row of kv.db can be older than what is in memory. */
#include "kv/merge.h"

struct key_range key_range_of(struct view key, struct view range_end)
{
    struct key_range range = {.start = key, .end = range_end};
    range.single = range_end.size == 0;
    range.unbounded = range_end.size == 1 && range_end.data[0] == 0;
    return range;
}

/* Look ahead at the next row of kv.db; its key is copied, since the reader's views are short-lived. */
static enum err disk_advance(struct merge *m)
{
    m->disk_has = false;
    enum err error = kv_reader_scan_next(m->kv->reader, &m->disk);
    if (error == ERR_NOT_FOUND) {
        return OK;
    }
    if (error != OK) {
        return error;
    }
    struct buffer *key = &m->kv->scan_key;
    key->size = 0;
    buffer_append(key, m->disk.key.data, m->disk.key.size);
    m->disk.key = view_of(key->data, key->size);
    m->disk_has = true;
    return OK;
}

enum err merge_begin(struct merge *m, struct kv *kv, struct key_range range, struct view from)
{
    ASSERT(!range.single);
    *m = (struct merge){.kv = kv, .range = range};
    m->open = key_index_seek(&kv->overlay.open.index, from);
    m->sealed = key_index_seek(&kv->overlay.sealed.index, from);
    enum err error = kv_reader_scan_start(kv->reader, from);
    if (error != OK) {
        return error;
    }
    m->scanning = true;
    return disk_advance(m);
}

enum err merge_next(struct merge *m, struct newest *out)
{
    /* What was handed out last is passed now, not then: its key was in scan_key. */
    if (!m->scanning) {
        return ERR_NOT_FOUND;
    }
    if (m->disk_passed) {
        m->disk_passed = false;
        enum err error = disk_advance(m);
        if (error != OK) {
            return error;
        }
    }
    struct view key;
    struct view open_key;
    struct view sealed_key;
    struct overlay_node *open = key_index_get(&m->open, &open_key);
    struct overlay_node *sealed = key_index_get(&m->sealed, &sealed_key);
    struct overlay_node *node = open;
    if (open == NULL || (sealed != NULL && view_compare(sealed_key, open_key) < 0)) {
        node = sealed;
    }
    bool from_disk = m->disk_has;
    if (node != NULL && m->disk_has) {
        int order = view_compare(m->disk.key, overlay_key(node));
        from_disk = order < 0;
        m->disk_passed = order <= 0;
    } else {
        m->disk_passed = m->disk_has;
    }
    if (!from_disk && node == NULL) {
        return ERR_NOT_FOUND;
    }
    key = from_disk ? m->disk.key : overlay_key(node);
    if (!m->range.unbounded && view_compare(key, m->range.end) >= 0) {
        m->disk_passed = false;
        return ERR_NOT_FOUND;
    }
    if (from_disk) {
        *out = (struct newest){.node = NULL, .current = m->disk};
        return OK;
    }
    if (open == node) {
        key_index_next(&m->open);
    }
    if (sealed == node) {
        key_index_next(&m->sealed);
    }
    *out = (struct newest){.node = node, .current = overlay_current(node)};
    return OK;
}

void merge_end(struct merge *m)
{
    if (m->scanning) {
        kv_reader_scan_end(m->kv->reader);
        m->scanning = false;
    }
}
