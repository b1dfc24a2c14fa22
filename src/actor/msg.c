/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msg.c: birth and death of messages; the same under pthreads and in the simulator, so it stands apart
 * from actor.c. What the kinds mean is in message.h.
 */
#include "actor.h"

#include <stdatomic.h>

void *msg_new(size_t size, uint32_t kind, void (*release)(struct msg *self))
{
    ASSERT(size >= sizeof(struct msg));
    struct msg *m = mem_zalloc(size);
    atomic_init(&m->next, NULL);
    m->release = release;
    m->kind = kind;
    return m;
}

void msg_free_base(struct msg **m)
{
    struct msg *freed = *m;
    if (freed == NULL) {
        return;
    }
    *m = NULL;
    if (freed->release != NULL) {
        freed->release(freed);
    }
    mem_free(freed);
}
