/* SPDX-License-Identifier: Apache-2.0 */
/* auto_compact.c: see auto_compact.h. */
#include "auto_compact.h"

#include <string.h>

#define AGAIN_US_MAX     (3600 * UINT64_C(1000000)) /* compactions by age at least so often */
#define TICKS            10                         /* samples in that time */
#define TICK_BY_COUNT_US (300 * UINT64_C(1000000))

void auto_compact_init(struct auto_compact *k, uint64_t keep_s, uint64_t keep_revisions)
{
    *k = (struct auto_compact){.next_us = UINT64_MAX};
    ASSERT(keep_s <= UINT64_MAX / 1000000);
    ASSERT(keep_revisions <= INT64_MAX);
    k->keep_us = keep_s * 1000000;
    k->keep_revisions = (int64_t)keep_revisions;
    k->again_us = k->keep_us < AGAIN_US_MAX ? k->keep_us : AGAIN_US_MAX;
    k->tick_us = keep_s > 0 ? k->again_us / TICKS : TICK_BY_COUNT_US;
    if (keep_s > 0 || keep_revisions > 0) {
        k->next_us = 0;
    }
}

void auto_compact_free(struct auto_compact *k)
{
    mem_free(k->samples);
    *k = (struct auto_compact){.next_us = UINT64_MAX};
}

/* The newest revision that is keep_us old; 0: none is. */
static int64_t by_age(struct auto_compact *k, uint64_t now_us, int64_t revision)
{
    QUEUE_RESERVE(k->samples, k->first, k->count, k->capacity);
    k->samples[k->first + k->count++] =
        (struct auto_compact_sample){.at_us = now_us, .revision = revision};
    while (k->count > 1 && now_us - k->samples[k->first + 1].at_us >= k->keep_us) {
        k->first++;
        k->count--;
    }
    const struct auto_compact_sample *oldest = &k->samples[k->first];
    return now_us - oldest->at_us >= k->keep_us ? oldest->revision : 0;
}

int64_t auto_compact_step(struct auto_compact *k, uint64_t now_us, int64_t revision,
                          int64_t compact_revision, bool leads)
{
    int64_t target = 0;
    if (now_us < k->next_us) {
        return 0;
    }
    k->next_us = now_us + k->tick_us;
    if (k->keep_us > 0) {
        int64_t old = by_age(k, now_us, revision);
        bool lost = compact_revision < k->proposed;
        bool due = k->done_us == 0 || now_us - k->done_us >= k->again_us || lost;
        target = due ? old : 0;
    }
    int64_t most = revision - k->keep_revisions;
    if (k->keep_revisions > 0 && most > target) {
        target = most;
    }
    if (!leads || target <= compact_revision) {
        return 0;
    }
    k->done_us = now_us;
    k->proposed = target;
    return target;
}
