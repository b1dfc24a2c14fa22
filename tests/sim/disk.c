/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.c: files, the journal of names, and what a power cut leaves. See disk.h.
 *
 * A truncation is metadata: it has a number in the journal, and lies in its inode's list in its place
 * between the writes, because a write behind it must not be cut by it.
 */
#include "disk_model.h"

#include <string.h>

/* ---- images ------------------------------------------------------------------------------------- */

static void image_resize(struct disk_image *image, size_t size)
{
    ASSERT(size <= DISK_BYTES_MAX);
    if (size > image->size) {
        ARRAY_RESERVE(image->data, image->capacity, size);
        memset(image->data + image->size, 0, size - image->size);
    }
    image->size = size;
}

static void image_write(struct disk_image *image, uint64_t offset, const uint8_t *data, size_t size)
{
    ASSERT(offset <= DISK_BYTES_MAX);
    if (offset + size > image->size) {
        image_resize(image, (size_t)offset + size);
    }
    memcpy(image->data + offset, data, size);
}

static void image_copy(struct disk_image *to, const struct disk_image *from)
{
    to->size = 0;
    image_resize(to, from->size);
    if (from->size > 0) {
        memcpy(to->data, from->data, from->size);
    }
}

/* ---- inodes -------------------------------------------------------------------------------------- */

struct disk_inode *disk_inode_create(void)
{
    struct disk_inode *inode = mem_zalloc(sizeof(*inode));
    inode->users = 1;
    return inode;
}

void disk_share_release(struct disk_share *share)
{
    ASSERT(share->users > 0);
    if (--share->users > 0) {
        return;
    }
    for (size_t i = 0; i < share->shm_page_count; i++) {
        mem_free(share->shm_pages[i]);
    }
    mem_free(share->shm_pages);
    mem_free(share);
}

void disk_inode_release(struct disk_inode *inode)
{
    ASSERT(inode->users > 0);
    if (--inode->users > 0) {
        return;
    }
    if (inode->share != NULL) {
        disk_share_release(inode->share);
    }
    mem_free(inode->seen.data);
    mem_free(inode->platter.data);
    mem_free(inode->pending);
    buffer_free(&inode->pending_data);
    mem_free(inode);
}

static struct disk_pending *pending_add(struct disk_inode *inode)
{
    ARRAY_RESERVE(inode->pending, inode->pending_capacity, inode->pending_count + 1);
    struct disk_pending *p = &inode->pending[inode->pending_count++];
    *p = (struct disk_pending){0};
    return p;
}

void disk_inode_write(struct disk_inode *inode, uint64_t offset, const void *data, size_t size)
{
    image_write(&inode->seen, offset, data, size);
    inode->written_offset = offset;
    inode->written_size = size;
    struct disk_pending *p = pending_add(inode);
    p->offset = offset;
    p->size = size;
    p->data_at = inode->pending_data.size;
    buffer_append(&inode->pending_data, data, size);
}

static void journal_add(struct disk_unit *unit, const char *name, struct disk_inode *inode)
{
    ARRAY_RESERVE(unit->journal, unit->journal_capacity, unit->journal_count + 1);
    struct disk_journal_entry *e = &unit->journal[unit->journal_count++];
    *e = (struct disk_journal_entry){.number = ++unit->journal_next, .inode = inode};
    ASSERT(strlen(name) < sizeof(e->name));
    memcpy(e->name, name, strlen(name) + 1);
    if (inode != NULL) {
        inode->users++;
    }
}

void disk_inode_truncate(struct disk_unit *unit, struct disk_inode *inode, uint64_t size)
{
    ASSERT(size <= DISK_BYTES_MAX);
    image_resize(&inode->seen, (size_t)size);
    journal_add(unit, "", inode);
    struct disk_pending *p = pending_add(inode);
    p->truncate = true;
    p->offset = size;
    p->journal_number = unit->journal_next;
}

static void pending_clear(struct disk_inode *inode)
{
    inode->pending_count = 0;
    inode->pending_data.size = 0;
}

static void pending_apply(struct disk_inode *inode, const struct disk_pending *p)
{
    if (p->truncate) {
        image_resize(&inode->platter, (size_t)p->offset);
    } else {
        image_write(&inode->platter, p->offset, inode->pending_data.data + p->data_at, p->size);
    }
}

void disk_inode_sync(struct disk_inode *inode)
{
    for (size_t i = 0; i < inode->pending_count; i++) {
        pending_apply(inode, &inode->pending[i]);
    }
    pending_clear(inode);
}

/* Some sectors of one write reach the platter, each wholly or not at all, as disks promise and
 * raft.mark's slots of one sector rely on. Only octets of the write itself change (SQLite's "powersafe
 * overwrite", which it assumes of every disk). */
static void pending_tear(struct disk_inode *inode, const struct disk_pending *p, uint64_t *random)
{
    const uint8_t *data = inode->pending_data.data + p->data_at;
    for (size_t at = 0; at < p->size;) {
        size_t end = (size_t)((p->offset + at) / DISK_SECTOR + 1) * DISK_SECTOR;
        size_t size = end - (size_t)(p->offset + at);
        if (size > p->size - at) {
            size = p->size - at;
        }
        if (random_below(random, 2) == 0) {
            image_write(&inode->platter, p->offset + at, data + at, size);
        }
        at += size;
    }
}

void disk_inode_sync_failed(struct disk_inode *inode, uint64_t *random)
{
    for (size_t i = 0; i < inode->pending_count; i++) {
        if (inode->pending[i].truncate || random_below(random, 2) == 0) {
            pending_apply(inode, &inode->pending[i]);
        }
    }
    pending_clear(inode);
}

/* keep_of_100: chance of each write to have reached the platter. */
static void inode_power_cut(struct disk_inode *inode, uint64_t journal_kept, uint64_t keep_of_100,
                            uint64_t tear_of_100, uint64_t *random)
{
    for (size_t i = 0; i < inode->pending_count; i++) {
        const struct disk_pending *p = &inode->pending[i];
        if (p->truncate) {
            if (p->committed || p->journal_number <= journal_kept) {
                pending_apply(inode, p);
            }
            continue;
        }
        if (random_below(random, 100) < tear_of_100) {
            pending_tear(inode, p, random);
        } else if (random_below(random, 100) < keep_of_100) {
            pending_apply(inode, p);
        }
    }
    pending_clear(inode);
    image_copy(&inode->seen, &inode->platter);
}

/* ---- names and their journal ----------------------------------------------------------------------- */

struct disk_inode *disk_folder_find(const struct disk_folder *folder, const char *name)
{
    for (size_t i = 0; i < folder->count; i++) {
        if (strcmp(folder->names[i].text, name) == 0) {
            return folder->names[i].inode;
        }
    }
    return NULL;
}

/* Bind the name to the inode, or to nothing (NULL). */
static void folder_set(struct disk_folder *folder, const char *name, struct disk_inode *inode)
{
    if (inode != NULL) {
        inode->users++;
    }
    for (size_t i = 0; i < folder->count; i++) {
        if (strcmp(folder->names[i].text, name) == 0) {
            disk_inode_release(folder->names[i].inode);
            if (inode != NULL) {
                folder->names[i].inode = inode;
            } else {
                folder->names[i] = folder->names[--folder->count];
            }
            return;
        }
    }
    if (inode != NULL) {
        ASSERT(folder->count < DISK_FILES_MAX);
        ASSERT(strlen(name) <= DISK_NAME_MAX);
        struct disk_name *n = &folder->names[folder->count++];
        memcpy(n->text, name, strlen(name) + 1);
        n->inode = inode;
    }
}

struct disk_inode *disk_unit_create(struct disk_unit *unit, const char *name)
{
    struct disk_inode *inode = disk_inode_create();
    folder_set(&unit->seen, name, inode);
    journal_add(unit, name, inode);
    disk_inode_release(inode); /* the folder and the journal hold it now */
    return inode;
}

void disk_unit_delete(struct disk_unit *unit, const char *name)
{
    folder_set(&unit->seen, name, NULL);
    journal_add(unit, name, NULL);
}

/* The first `count` entries reach the platter, the rest is forgotten. */
static void journal_apply(struct disk_unit *unit, size_t count)
{
    for (size_t i = 0; i < unit->journal_count; i++) {
        struct disk_journal_entry *e = &unit->journal[i];
        if (i < count && e->name[0] != '\0') {
            folder_set(&unit->platter, e->name, e->inode);
        }
        if (i < count && e->name[0] == '\0') {
            for (size_t k = 0; k < e->inode->pending_count; k++) {
                struct disk_pending *p = &e->inode->pending[k];
                if (p->truncate && p->journal_number == e->number) {
                    p->committed = true;
                }
            }
        }
        if (e->inode != NULL) {
            disk_inode_release(e->inode);
        }
    }
    unit->journal_count = 0;
}

void disk_unit_commit_journal(struct disk_unit *unit)
{
    journal_apply(unit, unit->journal_count);
}

static void folder_clear(struct disk_folder *folder)
{
    for (size_t i = 0; i < folder->count; i++) {
        disk_inode_release(folder->names[i].inode);
    }
    folder->count = 0;
}

static void unit_power_cut(struct disk_unit *unit, uint64_t *random)
{
    static const uint64_t keep_choices[] = {0, 0, 20, 50, 80, 100};
    static const uint64_t tear_choices[] = {0, 10, 40};
    uint64_t keep = keep_choices[random_below(random, ARRAY_COUNT(keep_choices))];
    uint64_t tear = tear_choices[random_below(random, ARRAY_COUNT(tear_choices))];

    size_t journal_count = (size_t)random_below(random, unit->journal_count + 1);
    uint64_t journal_kept = journal_count > 0 ? unit->journal[journal_count - 1].number : 0;
    /* Files first seen and then perhaps gone again: those only the journal knows are reached through
     * both folders after it is applied; what no folder names any more is lost with it. */
    journal_apply(unit, journal_count);
    folder_clear(&unit->seen);
    for (size_t i = 0; i < unit->platter.count; i++) {
        struct disk_inode *inode = unit->platter.names[i].inode;
        if (inode->share != NULL) { /* a deletion that did not last */
            disk_share_release(inode->share);
            inode->share = NULL;
        }
        inode_power_cut(inode, journal_kept, keep, tear, random);
        folder_set(&unit->seen, unit->platter.names[i].text, inode);
    }
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

struct disk *disk_create(uint64_t seed, const struct disk_hooks *hooks)
{
    struct disk *d = mem_zalloc(sizeof(*d));
    d->random = seed ^ UINT64_C(0x6469736b);
    d->hooks = *hooks;
    disk_vfs_fill(d);
    /* One thread, no statistics: a tenth of the time. Refused, harmlessly, once SQLite is awake. */
    (void)sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    int rc = sqlite3_initialize();
    ASSERT(rc == SQLITE_OK);
    rc = sqlite3_vfs_register(&d->vfs, 1);
    ASSERT(rc == SQLITE_OK);
    sqlite3_randomness(0, NULL);
    return d;
}

void disk_destroy(struct disk **disk)
{
    struct disk *d = *disk;
    *disk = NULL;
    if (d == NULL) {
        return;
    }
    sqlite3_vfs_unregister(&d->vfs);
    for (size_t i = 0; i < DISK_NODES_MAX; i++) {
        journal_apply(&d->units[i], d->units[i].journal_count);
        folder_clear(&d->units[i].seen);
        folder_clear(&d->units[i].platter);
        mem_free(d->units[i].journal);
    }
    mem_free(d);
}

void disk_set_faults(struct disk *d, size_t node, const struct disk_faults *faults)
{
    ASSERT(node < DISK_NODES_MAX);
    d->units[node].faults = *faults;
}

void disk_die_after(struct disk *d, size_t node, uint64_t count)
{
    ASSERT(node < DISK_NODES_MAX);
    d->units[node].die_after = count;
}

bool disk_is_dead(const struct disk *d, size_t node)
{
    ASSERT(node < DISK_NODES_MAX);
    return d->units[node].dead;
}

void disk_cut(struct disk *d, size_t node, enum disk_cut cut)
{
    ASSERT(node < DISK_NODES_MAX);
    struct disk_unit *unit = &d->units[node];
    unit->dead = true;
    unit->die_after = 0;
    /* The locks and the shared memory of the dead process are gone; its handles keep the memory until
     * they are closed. */
    for (size_t i = 0; i < unit->seen.count; i++) {
        struct disk_inode *inode = unit->seen.names[i].inode;
        if (inode->share != NULL) {
            disk_share_release(inode->share);
            inode->share = NULL;
        }
    }
    if (cut == DISK_CUT_POWER) {
        unit_power_cut(unit, &d->random);
    }
}

void disk_wipe(struct disk *d, size_t node)
{
    ASSERT(node < DISK_NODES_MAX);
    ASSERT(d->units[node].dead);
    journal_apply(&d->units[node], 0);
    folder_clear(&d->units[node].seen);
    folder_clear(&d->units[node].platter);
}

void disk_power_on(struct disk *d, size_t node)
{
    ASSERT(node < DISK_NODES_MAX);
    d->units[node].dead = false;
    d->units[node].die_after = 0;
    d->units[node].generation++;
}

static struct disk_inode *unit_find_end(struct disk_unit *unit, const char *name_end)
{
    size_t end_size = strlen(name_end);
    for (size_t i = 0; i < unit->seen.count; i++) {
        size_t size = strlen(unit->seen.names[i].text);
        if (size >= end_size && strcmp(unit->seen.names[i].text + size - end_size, name_end) == 0) {
            return unit->seen.names[i].inode;
        }
    }
    return NULL;
}

bool disk_flip_bit(struct disk *d, size_t node, const char *name_end)
{
    ASSERT(node < DISK_NODES_MAX);
    ASSERT(d->units[node].dead);
    struct disk_inode *inode = unit_find_end(&d->units[node], name_end);
    if (inode == NULL || inode->seen.size == 0) {
        return false;
    }
    size_t at = (size_t)random_below(&d->random, inode->seen.size);
    size_t last_end = (size_t)inode->written_offset + inode->written_size;
    if (random_below(&d->random, 2) == 0 && inode->written_size > 0 &&
        last_end <= inode->seen.size) {
        at = (size_t)inode->written_offset + (size_t)random_below(&d->random, inode->written_size);
    }
    uint8_t mask = (uint8_t)(1u << random_below(&d->random, 8));
    inode->seen.data[at] ^= mask;
    if (at < inode->platter.size) {
        inode->platter.data[at] ^= mask;
    }
    return true;
}

uint64_t disk_file_bytes(struct disk *d, size_t node, const char *name_end)
{
    struct disk_inode *inode = unit_find_end(&d->units[node], name_end);
    return inode == NULL ? 0 : inode->seen.size;
}

uint64_t disk_pending_count(struct disk *d, size_t node)
{
    uint64_t count = 0;
    for (size_t i = 0; i < d->units[node].seen.count; i++) {
        count += d->units[node].seen.names[i].inode->pending_count;
    }
    return count;
}

void disk_figures(const struct disk *d, struct disk_figures *out)
{
    *out = d->figures;
}
