/* SPDX-License-Identifier: Apache-2.0 */
/*
 * range_sort.c: bottom-up merge sort between the caller's array and a spare one. Its whole state is
 * in struct range_sort, so a step can end after any pair.
 */
#include "kv/range_sort.h"

#include <string.h>

static int compare_int64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int pair_compare(const struct range_sort *s, const struct key_value *a,
                        const struct key_value *b)
{
    int order = 0;
    switch (s->target) {
    case SORT_KEY:
        order = view_compare(a->key, b->key);
        break;
    case SORT_VERSION:
        order = compare_int64(a->version, b->version);
        break;
    case SORT_CREATE:
        order = compare_int64(a->create_revision, b->create_revision);
        break;
    case SORT_MOD:
        order = compare_int64(a->mod_revision, b->mod_revision);
        break;
    case SORT_VALUE:
        order = view_compare(a->value, b->value);
        break;
    }
    if (!s->descending) {
        return order;
    }
    return (order < 0) - (order > 0);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void run_begin(struct range_sort *s, size_t run)
{
    s->run = run;
    s->left = run;
    s->right = least(run + s->width, s->count);
    s->at = run;
}

void range_sort_begin(struct range_sort *s, struct key_value *pairs, size_t count,
                      enum sort_target target, bool descending)
{
    *s = (struct range_sort){
        .from = pairs,
        .pairs = pairs,
        .count = count,
        .target = target,
        .descending = descending,
        .width = 1,
    };
    s->spare = mem_alloc(count * sizeof(*pairs));
    s->to = s->spare;
    run_begin(s, 0);
}

/* Merge what is left of the current two runs, as far as the budget goes. True: both are used up. */
static bool run_merge(struct range_sort *s, uint64_t *budget)
{
    size_t middle = least(s->run + s->width, s->count);
    size_t end = least(s->run + 2 * s->width, s->count);
    while (s->at < end) {
        if (*budget == 0) {
            return false;
        }
        --*budget;
        bool take_left =
            s->right == end ||
            (s->left < middle && pair_compare(s, &s->from[s->left], &s->from[s->right]) <= 0);
        s->to[s->at++] = s->from[take_left ? s->left++ : s->right++];
    }
    return true;
}

bool range_sort_step(struct range_sort *s, uint64_t *budget)
{
    /* Ends: each round doubles the width; a step leaves when its budget is used up. */
    while (s->width < s->count) {
        while (s->run < s->count) {
            if (!run_merge(s, budget)) {
                return false;
            }
            run_begin(s, least(s->run + 2 * s->width, s->count));
        }
        struct key_value *sorted = s->to;
        s->to = s->from;
        s->from = sorted;
        s->width *= 2;
        run_begin(s, 0);
    }
    if (s->from != s->pairs) {
        memcpy(s->pairs, s->from, s->count * sizeof(s->pairs[0]));
        s->to = s->from;
        s->from = s->pairs;
    }
    return true;
}

void range_sort_free(struct range_sort *s)
{
    mem_free(s->spare);
    *s = (struct range_sort){0};
}
