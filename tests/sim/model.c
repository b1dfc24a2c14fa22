/* SPDX-License-Identifier: Apache-2.0 */
/* model.c: see model.h. Knows of a store only what its documentation says, and shares no code with
 * src/kv. */
#include "model.h"

#include "command.h"

#include <stdio.h>
#include <string.h>

void model_start(struct model *m)
{
    *m = (struct model){.revision = 1};
}

void model_free(struct model *m)
{
    for (size_t i = 0; i < m->count; i++) {
        mem_free(m->entries[i].answer);
    }
    mem_free(m->entries);
    map_free(&m->requests);
    for (size_t i = 0; i < MODEL_KEYS_MAX; i++) {
        mem_free(m->keys[i].versions);
    }
    mem_free(m->events);
    mem_free(m->leases);
}

size_t model_key_text(uint32_t key, char *out, size_t out_size)
{
    int size = snprintf(out, out_size, "k%02u", (unsigned)key);
    ASSERT(size > 0 && (size_t)size < out_size);
    return (size_t)size;
}

bool model_key_of(struct view text, uint32_t *key)
{
    if (text.size != 3 || text.data[0] != 'k') {
        return false;
    }
    uint32_t n = (uint32_t)(text.data[1] - '0') * 10 + (uint32_t)(text.data[2] - '0');
    if (n >= MODEL_KEYS_MAX) {
        return false;
    }
    *key = n;
    return true;
}

uint64_t model_value_of(struct view value)
{
    struct reader r = {value.data, value.size, false};
    uint64_t number = reader_u64(&r);
    return r.failed ? UINT64_MAX : number;
}

uint64_t model_checksum(const struct entry *e)
{
    uint64_t mixed = checksum64(e->data);
    mixed = mixed * 31 + e->term;
    mixed = mixed * 31 + e->origin;
    mixed = mixed * 31 + e->request_id;
    return mixed * 31 + (uint64_t)e->type;
}

bool model_committed(struct model *m, const struct entry *e, bool *is_new, char why[MODEL_TEXT_MAX])
{
    uint64_t checksum = model_checksum(e);
    *is_new = false;
    if (e->index <= m->count) {
        const struct model_entry *old = &m->entries[e->index - 1];
        if (old->term != e->term || old->checksum != checksum) {
            (void)snprintf(why, MODEL_TEXT_MAX,
                           "State Machine Safety: index %" PRIu64 " was committed in term %" PRIu64
                           ", now with other content in term %" PRIu64,
                           e->index, old->term, e->term);
            return false;
        }
        return true;
    }
    if (e->index != m->count + 1) {
        (void)snprintf(why, MODEL_TEXT_MAX,
                       "index %" PRIu64 " is handed out although %zu is the last one committed",
                       e->index, m->count);
        return false;
    }
    if (m->count > 0 && e->term < m->entries[m->count - 1].term) {
        (void)snprintf(why, MODEL_TEXT_MAX, "the term falls at committed index %" PRIu64, e->index);
        return false;
    }
    char *answer = NULL;
    if (e->type == ENTRY_COMMAND) {
        struct buffer text = {0};
        uint64_t *before =
            e->request_id == 0 ? NULL : map_get(&m->requests, e->origin, e->request_id);
        if (before != NULL) {
            (void)snprintf(why, MODEL_TEXT_MAX,
                           "request %" PRIx64 "/%" PRIx64 " is committed twice, at %" PRIu64
                           " and %" PRIu64,
                           e->origin, e->request_id, *before, e->index);
            return false;
        }
        if (e->request_id != 0) {
            map_put(&m->requests, e->origin, e->request_id, e->index);
        }
        if (!model_carry_out(m, e, &text)) {
            (void)snprintf(why, MODEL_TEXT_MAX,
                           "index %" PRIu64 " holds a command nobody here sent", e->index);
            buffer_free(&text);
            return false;
        }
        (void)answer_text_done(&text);
        answer = (char *)text.data; /* moved */
    }
    ARRAY_RESERVE(m->entries, m->capacity, m->count + 1);
    m->entries[m->count++] = (struct model_entry){.term = e->term,
                                                  .checksum = checksum,
                                                  .revision = m->revision,
                                                  .compact_revision = m->compact_revision,
                                                  .cluster_time_us = m->cluster_time_us,
                                                  .lease_count = m->leases_alive,
                                                  .answer = answer};
    *is_new = true;
    return true;
}

uint64_t model_index_of(const struct model *m, uint64_t origin, uint64_t request_id)
{
    uint64_t *index = map_get(&m->requests, origin, request_id);
    return index == NULL ? 0 : *index;
}

const struct model_version *model_at(const struct model *m, uint32_t key, int64_t revision)
{
    const struct model_key *k = &m->keys[key];
    size_t low = 0, high = k->count; /* versions[low-1] is at or before the revision */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (k->versions[middle].revision <= revision) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 || k->versions[low - 1].value == 0 ? NULL : &k->versions[low - 1];
}

uint64_t model_value_at(const struct model *m, uint32_t key, int64_t revision,
                        int64_t *mod_revision)
{
    const struct model_version *v = model_at(m, key, revision);
    *mod_revision = v == NULL ? 0 : v->revision;
    return v == NULL ? 0 : v->value;
}
