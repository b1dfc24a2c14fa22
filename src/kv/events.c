/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events.c: what watchers will see, recorded while entries are applied. Every change passes
 * change_write (mvcc.c), which calls events_record; the apply actor takes what has gathered and sends
 * it on. While nobody watches on this node nothing is recorded, and a put pays one comparison.
 *
 * Events are not state: they follow from the log like everything here, but whether they are recorded
 * is this node's own affair and changes nothing else.
 */
#include "kv/state.h"

void events_record(struct kv *kv, const struct kv_history *row)
{
    if (kv->events_wanted) {
        event_block_add(&kv->events, row);
    }
}

void kv_events_want(struct kv *kv, bool wanted)
{
    kv->events_wanted = wanted;
    if (!wanted) {
        event_block_free(&kv->events);
    }
}

void kv_events_take(struct kv *kv, struct event_block *out)
{
    *out = kv->events;
    kv->events = (struct event_block){0};
}
