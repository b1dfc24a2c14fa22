/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map.h: a small hash map from two 64-bit numbers to one, for the checkers. Nothing is ever removed.
 */
#ifndef HOLDFAST_SIM_MAP_H
#define HOLDFAST_SIM_MAP_H

#include "base.h"

struct map_item {
    uint64_t a, b, value;
    bool used;
};

struct map {
    struct map_item *items;
    size_t size, count;
};

/* NULL if the pair is not there; valid until the next map_put. */
uint64_t *map_get(const struct map *m, uint64_t a, uint64_t b);
/* Add the pair, which must not be there. */
void map_put(struct map *m, uint64_t a, uint64_t b, uint64_t value);
void map_free(struct map *m);

#endif
