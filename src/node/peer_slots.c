/* SPDX-License-Identifier: Apache-2.0 */
/* peer_slots.c: see peer_slots.h. */
#include "peer_slots.h"

#include <stdio.h>
#include <string.h>

static void text_set(char *to, size_t size, const char *from)
{
    int written = snprintf(to, size, "%s", from);
    ASSERT(written >= 0);
    ASSERT((size_t)written < size);
}

static void slot_set(struct peer_slot *slot, const char *name, const char *address,
                     const char *second)
{
    text_set(slot->name, sizeof(slot->name), name);
    text_set(slot->address, sizeof(slot->address), address);
    bool differs = strcmp(address, second) != 0;
    text_set(slot->second, sizeof(slot->second), differs ? second : "");
}

void peer_slots_init(struct peer_slots *s, const struct config *config, size_t count)
{
    size_t used = 0;
    memset(s, 0, sizeof(*s));
    ASSERT(count <= PEER_SLOTS_MAX);
    s->count = count;
    text_set(s->own_name, sizeof(s->own_name), config->node);
    text_set(s->own_address, sizeof(s->own_address), config->members[config->node_index].peer);
    for (size_t i = 0; i < config->member_count; i++) {
        if (i != config->node_index) {
            struct peer_slot *slot = &s->items[used++];
            slot->used = slot->listed = true;
            slot_set(slot, config->members[i].name, config->members[i].peer, "");
        }
    }
    for (size_t i = 0; i < config->join_count; i++) {
        struct peer_slot *slot = &s->items[used++];
        slot->used = slot->seed = true;
        slot_set(slot, "", config->join[i], "");
    }
    ASSERT(used <= count);
}

size_t peer_slots_find(const struct peer_slots *s, const char *name)
{
    for (size_t i = 0; i < s->count && name[0] != '\0'; i++) {
        if (s->items[i].used && strcmp(s->items[i].name, name) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* A free slot, or a stranger's. */
static size_t place(struct peer_slots *s)
{
    size_t stranger = SIZE_MAX;
    for (size_t i = 0; i < s->count; i++) {
        if (!s->items[i].used) {
            return i;
        }
        if (s->items[i].stranger) {
            stranger = i;
        }
    }
    return stranger;
}

/* Members have peer addresses that were checked; a wish for one without is not carried out. */
static bool slot_take(struct peer_slot *slot, const char *name, const char *address)
{
    struct peer_slot before = *slot;
    slot->used = true;
    slot->stranger = false;
    const char *second = slot->listed || slot->seed || slot->found ? before.address : "";
    if (slot->listed && before.second[0] != '\0') {
        second = before.second; /* the config file's address came second already */
    }
    slot_set(slot, name, address, second);
    return memcmp(&before, slot, sizeof(before)) != 0;
}

void peer_slots_update(struct peer_slots *s, const struct configuration *configuration,
                       bool changed[PEER_SLOTS_MAX])
{
    bool wanted[PEER_SLOTS_MAX] = {false};
    for (size_t i = 0; i < configuration->count; i++) {
        size_t at = peer_slots_find(s, configuration->members[i].name);
        if (at != SIZE_MAX) {
            wanted[at] = true;
        }
    }
    for (size_t i = 0; i < s->count; i++) {
        struct peer_slot *slot = &s->items[i];
        if (slot->used && !wanted[i] && !slot->listed && !slot->seed && !slot->found &&
            !slot->stranger) {
            memset(slot, 0, sizeof(*slot));
            changed[i] = true;
        }
    }
    for (size_t i = 0; i < configuration->count; i++) {
        const struct member *m = &configuration->members[i];
        if (strcmp(m->name, s->own_name) == 0 || m->peer[0] == '\0') {
            continue;
        }
        size_t at = peer_slots_find(s, m->name);
        if (at == SIZE_MAX) {
            at = place(s);
            ASSERT(at != SIZE_MAX); /* PEER_SLOTS_MAX holds all of all kinds */
            memset(&s->items[at], 0, sizeof(s->items[at]));
        }
        changed[at] = slot_take(&s->items[at], m->name, m->peer) || changed[at];
    }
}

static bool seeds_have(const struct raft_seeds *seeds, const char *address)
{
    for (size_t i = 0; i < seeds->count; i++) {
        if (strcmp(seeds->addresses[i], address) == 0) {
            return true;
        }
    }
    return false;
}

static bool address_known(const struct peer_slots *s, const char *address)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct peer_slot *slot = &s->items[i];
        if (slot->used &&
            (strcmp(slot->address, address) == 0 || strcmp(slot->second, address) == 0)) {
            return true;
        }
    }
    return strcmp(s->own_address, address) == 0;
}

void peer_slots_seeds(struct peer_slots *s, const struct raft_seeds *seeds,
                      bool changed[PEER_SLOTS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++) {
        struct peer_slot *slot = &s->items[i];
        if (slot->used && slot->found && !seeds_have(seeds, slot->address) &&
            !seeds_have(seeds, slot->second)) {
            slot->found =
                false; /* if it has a name, the next configuration says whether it stays */
            if (slot->name[0] == '\0') {
                memset(slot, 0, sizeof(*slot));
                changed[i] = true;
            }
        }
        count += slot->used && (slot->seed || slot->found);
    }
    for (size_t i = 0; i < seeds->count && count < CONFIG_JOIN_MAX; i++) {
        if (address_known(s, seeds->addresses[i])) {
            continue;
        }
        size_t at = place(s);
        if (at == SIZE_MAX) {
            return;
        }
        s->items[at] = (struct peer_slot){.used = true, .found = true};
        slot_set(&s->items[at], "", seeds->addresses[i], "");
        changed[at] = true;
        count++;
    }
}

bool peer_slots_drop_found(struct peer_slots *s, size_t at)
{
    if (!s->items[at].used || !s->items[at].found || s->items[at].name[0] != '\0') {
        return false;
    }
    memset(&s->items[at], 0, sizeof(s->items[at]));
    return true;
}

size_t peer_slots_add_stranger(struct peer_slots *s, const char *name, const char *address)
{
    if (address[0] == '\0' || strcmp(name, s->own_name) == 0) {
        return SIZE_MAX;
    }
    for (size_t i = 0; i < s->count; i++) {
        if (!s->items[i].used) {
            s->items[i] = (struct peer_slot){.used = true, .stranger = true};
            slot_set(&s->items[i], name, address, "");
            return i;
        }
    }
    return SIZE_MAX;
}

bool peer_slots_name_seed(struct peer_slots *s, size_t at, const char *name)
{
    struct peer_slot *slot = &s->items[at];
    ASSERT(slot->used);
    if (strcmp(slot->name, name) == 0) {
        return true;
    }
    if (peer_slots_find(s, name) != SIZE_MAX || strcmp(name, s->own_name) == 0) {
        return false;
    }
    text_set(slot->name, sizeof(slot->name), name);
    return true;
}

size_t peer_slots_rest_twin(struct peer_slots *s, size_t at, const char *name)
{
    struct peer_slot *seed = &s->items[at];
    ASSERT(seed->used);
    ASSERT(seed->name[0] == '\0');
    seed->resting = seed->twin = true;
    size_t own = peer_slots_find(s, name);
    if (own != SIZE_MAX && s->items[own].second[0] == '\0' &&
        strcmp(s->items[own].address, seed->address) != 0) {
        text_set(s->items[own].second, sizeof(s->items[own].second), seed->address);
    }
    return own;
}

void peer_slots_rest(struct peer_slots *s, bool wanted, bool afresh, bool changed[PEER_SLOTS_MAX])
{
    for (size_t i = 0; i < s->count; i++) {
        struct peer_slot *slot = &s->items[i];
        if (!slot->used || !slot->seed || slot->name[0] != '\0') {
            continue;
        }
        slot->twin = slot->twin && !afresh;
        bool dialled = wanted && !slot->twin;
        changed[i] = changed[i] || slot->resting == dialled;
        slot->resting = !dialled;
    }
}

bool peer_slots_drop_stranger(struct peer_slots *s, size_t at)
{
    if (!s->items[at].used || !s->items[at].stranger) {
        return false;
    }
    memset(&s->items[at], 0, sizeof(s->items[at]));
    return true;
}
