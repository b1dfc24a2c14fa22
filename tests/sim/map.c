/* SPDX-License-Identifier: Apache-2.0 */
/* map.c: open addressing with linear probing, at most half full. */
#include "map.h"

static size_t place_of(const struct map *m, uint64_t a, uint64_t b)
{
    uint64_t state = a * UINT64_C(0x9e3779b97f4a7c15) ^ b;
    size_t at = random_next(&state) & (m->size - 1);
    while (m->items[at].used && (m->items[at].a != a || m->items[at].b != b)) {
        at = (at + 1) & (m->size - 1);
    }
    return at;
}

uint64_t *map_get(const struct map *m, uint64_t a, uint64_t b)
{
    if (m->size == 0) {
        return NULL;
    }
    size_t at = place_of(m, a, b);
    return m->items[at].used ? &m->items[at].value : NULL;
}

void map_put(struct map *m, uint64_t a, uint64_t b, uint64_t value)
{
    if (m->count * 2 >= m->size) {
        struct map old = *m;
        m->size = old.size == 0 ? 256 : old.size * 2;
        m->items = mem_zalloc(m->size * sizeof(m->items[0]));
        for (size_t i = 0; i < old.size; i++) {
            if (old.items[i].used) {
                m->items[place_of(m, old.items[i].a, old.items[i].b)] = old.items[i];
            }
        }
        mem_free(old.items);
    }
    size_t at = place_of(m, a, b);
    ASSERT(!m->items[at].used);
    m->items[at] = (struct map_item){a, b, value, true};
    m->count++;
}

void map_free(struct map *m)
{
    mem_free(m->items);
    *m = (struct map){0};
}
