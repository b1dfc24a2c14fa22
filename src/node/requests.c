/* SPDX-License-Identifier: Apache-2.0 */
/* requests.c: see requests.h for what is kept and why it is sound. */
#include "requests.h"

#include <string.h>

void request_barrier_proposed(struct request_barrier *b, uint64_t term, uint64_t request_id)
{
    ASSERT(term >= b->proposed_term);
    if (term > b->proposed_term) {
        memcpy(b->older, b->current, sizeof(b->older));
        b->proposed_term = term;
    }
    size_t client = REQUEST_CLIENT_OF(request_id);
    ASSERT(client < CLIENTS_MAX);
    ASSERT(request_id > b->current[client]);
    b->current[client] = request_id;
}

bool request_barrier_applying(struct request_barrier *b, uint64_t term, size_t client_count,
                              uint64_t out[CLIENTS_MAX])
{
    if (term <= b->applied_term || term < b->proposed_term) {
        /* Below proposed_term nothing certain is kept apart; the next term's barrier covers it. */
        return false;
    }
    b->applied_term = term;
    const uint64_t *greatest = term > b->proposed_term ? b->current : b->older;
    bool any = false;
    for (size_t i = 0; i < client_count; i++) {
        out[i] = greatest[i];
        any = any || greatest[i] != 0;
    }
    return any;
}

bool request_filter_take(struct request_filter *f, uint64_t origin, uint64_t request_id)
{
    size_t client = REQUEST_CLIENT_OF(request_id);
    if (client >= CLIENTS_MAX) {
        return false;
    }
    struct request_origin *found = NULL;
    for (size_t i = 0; i < f->count; i++) {
        if (f->origins[i].origin == origin) {
            found = &f->origins[i];
            break;
        }
    }
    if (found == NULL) {
        if (f->count < REQUEST_ORIGINS_MAX) {
            found = &f->origins[f->count++];
        } else {
            found = &f->origins[f->next];
            f->next = (f->next + 1) % REQUEST_ORIGINS_MAX;
        }
        memset(found, 0, sizeof(*found));
        found->origin = origin;
    }
    if (request_id <= found->greatest[client]) {
        return false;
    }
    found->greatest[client] = request_id;
    return true;
}
