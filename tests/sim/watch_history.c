/* SPDX-License-Identifier: Apache-2.0 */
/* watch_history.c: see watch_history.h, whose numbers the comments below use. */
#include "watch_history.h"

#include "history.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void watch_sub_fail(struct watch_history *w, const struct watch_sub *s, const char *format, ...)
{
    char text[CHECKS_TEXT_MAX];
    int used = snprintf(text, sizeof(text),
                        "watch %zu on n%zu, [%.*s, %.*s) from revision %" PRId64 " on, %" PRIu64
                        " events so far: ",
                        (size_t)(s - w->subs), s->node, (int)s->key_size, s->key, (int)s->end_size,
                        s->end, s->next_revision, s->events);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text + used, sizeof(text) - (size_t)used, format, arguments);
    va_end(arguments);
    w->checks->fail(w->checks->context, text);
}

static uint64_t draw(struct watch_history *w, uint64_t least, uint64_t most)
{
    return least + random_below(&w->random, most - least + 1);
}

/* ---- positions ------------------------------------------------------------------------------------- */

static const struct model_version *version_of(const struct model *m, size_t at)
{
    const struct model_event *e = &m->events[at];
    return &m->keys[e->key].versions[e->version];
}

static bool wants(const struct watch_sub *s, const struct model *m, size_t at)
{
    const struct model_version *v = version_of(m, at);
    return v->revision >= s->first_revision && !(v->value == 0 ? s->no_delete : s->no_put) &&
           model_in_range(m->events[at].key, view_of(s->key, s->key_size),
                          view_of(s->end, s->end_size));
}

/* Pass by what it does not want; the place of the next event it does, or the end. */
static size_t seek(struct watch_sub *s, const struct model *m)
{
    while (s->cursor < m->event_count && !wants(s, m, s->cursor)) {
        s->cursor++;
    }
    return s->cursor;
}

/* From this revision on. */
static void place(struct watch_history *w, struct watch_sub *s, int64_t revision)
{
    const struct model *m = &w->checks->model;
    s->next_revision = s->first_revision = revision;
    s->cursor = 0;
    while (s->cursor < m->event_count && version_of(m, s->cursor)->revision < revision) {
        s->cursor++;
    }
}

/* ---- lives ----------------------------------------------------------------------------------------- */

/* Another range, from anywhere. */
static void renew(struct watch_history *w, struct watch_sub *s)
{
    int64_t newest = w->checks->model.revision;
    uint32_t from = (uint32_t)draw(w, 0, 1) == 0 ? (uint32_t)draw(w, 0, 5)
                                                 : HISTORY_SHARED_FIRST + (uint32_t)draw(w, 0, 7);
    s->end_size = 0;
    s->key_size = model_key_text(from, s->key, sizeof(s->key));
    switch (draw(w, 0, 3)) {
    case 0:
        break;
    case 1:
        s->end_size = model_key_text(from + (uint32_t)draw(w, 1, 6), s->end, sizeof(s->end));
        break;
    case 2: /* to the last key */
        s->end[0] = 0;
        s->end_size = 1;
        break;
    default: /* all */
        memcpy(s->key, "k", 1);
        memcpy(s->end, "l", 1);
        s->key_size = s->end_size = 1;
        break;
    }
    s->no_put = draw(w, 0, 7) == 0;
    s->no_delete = draw(w, 0, 7) == 0;
    s->prev_kv = draw(w, 0, 1) == 0;
    s->progress_notify = draw(w, 0, 3) == 0;
    s->fragment = draw(w, 0, 3) == 0;
    place(w, s, draw(w, 0, 1) == 0 ? 0 : (int64_t)draw(w, 1, (uint64_t)newest + 2));
    if (draw(w, 0, 3) == 0) {
        place(w, s, 1);
    }
}

void watch_history_start(struct watch_history *w, struct checks *checks, size_t count,
                         uint64_t seed)
{
    ASSERT(count <= WATCH_SUBS_MAX);
    *w = (struct watch_history){.count = count, .checks = checks, .random = seed};
    for (size_t i = 0; i < count; i++) {
        renew(w, &w->subs[i]);
    }
}

struct watch_sub *watch_sub_take(struct watch_history *w, size_t node, bool may_renew)
{
    size_t first = w->count == 0 ? 0 : (size_t)draw(w, 0, w->count - 1);
    for (size_t i = 0; i < w->count; i++) {
        struct watch_sub *s = &w->subs[(first + i) % w->count];
        if (!s->owned) {
            if (may_renew && draw(w, 0, 4) == 0) {
                renew(w, s);
            }
            place(w, s, s->next_revision);
            s->owned = true;
            s->node = node;
            w->taken_up++;
            return s;
        }
    }
    return NULL;
}

void watch_sub_release(struct watch_sub *s)
{
    s->owned = false;
}

void watch_sub_created(struct watch_history *w, struct watch_sub *s, int64_t revision)
{
    if (revision > w->checks->model.revision) {
        watch_sub_fail(w, s, "created at revision %" PRId64 ", which does not exist", revision);
    }
    if (s->next_revision == 0) {
        place(w, s, revision + 1);
    }
}

/* ---- events ---------------------------------------------------------------------------------------- */

static void check_previous(struct watch_history *w, struct watch_sub *s,
                           const struct watch_batch *batch, uint32_t index, uint32_t key,
                           const struct model_version *v)
{
    const struct model *m = &w->checks->model;
    const struct model_version *before = model_at(m, key, v->revision - 1);
    uint32_t at = batch->previous_of[index];
    bool begins = v->value != 0 && v->create_revision == v->revision;
    if (at >= batch->previous.count) {
        if (before != NULL && !begins && v->revision - 1 >= m->compact_revision) {
            watch_sub_fail(w, s, "k%02u at revision %" PRId64 " comes without what was before",
                           (unsigned)key, v->revision);
        }
        return;
    }
    struct key_value got = event_pair(&batch->previous, at);
    w->previous++;
    if (before == NULL || begins || model_value_of(got.value) != before->value ||
        got.mod_revision != before->revision || got.version != before->version ||
        got.create_revision != before->create_revision || got.lease != before->lease) { /* 5 */
        watch_sub_fail(w, s,
                       "k%02u at revision %" PRId64 " comes with a previous value of %" PRId64,
                       (unsigned)key, v->revision, got.mod_revision);
    }
}

static bool is_the_event(const struct model_version *v, const struct event *e,
                         const struct key_value *pair)
{
    if (change_revision(e->change) != v->revision || e->deleted != (v->value == 0)) {
        return false;
    }
    return e->deleted ||
           (model_value_of(pair->value) == v->value && pair->value.size == v->value_size &&
            pair->create_revision == v->create_revision && pair->version == v->version &&
            pair->lease == v->lease && pair->mod_revision == v->revision);
}

void watch_sub_events(struct watch_history *w, struct watch_sub *s, const struct watch_batch *batch,
                      const struct watch_response *response)
{
    const struct model *m = &w->checks->model;
    int64_t revision = 0;
    for (size_t i = 0; i < response->ref_count; i++) {
        uint32_t index = batch->refs[response->ref_first + i];
        const struct event *e = &batch->events.items[index];
        struct key_value pair = event_pair(&batch->events, index);
        revision = change_revision(e->change);
        size_t at = seek(s, m);
        uint32_t key = 0;
        if (at == m->event_count || !model_key_of(pair.key, &key) || key != m->events[at].key ||
            !is_the_event(version_of(m, at), e, &pair)) { /* 1 */
            watch_sub_fail(w, s,
                           "%s of %.*s at revision %" PRId64
                           " comes where k%02u of revision %" PRId64 " should",
                           e->deleted ? "delete" : "put", (int)pair.key.size,
                           (const char *)pair.key.data, revision,
                           at == m->event_count ? 0 : (unsigned)m->events[at].key,
                           at == m->event_count ? 0 : version_of(m, at)->revision);
            return;
        }
        if (response->prev_kv) {
            check_previous(w, s, batch, index, key, version_of(m, at));
        }
        s->cursor++;
        s->events++;
        w->events++;
    }
    size_t next = seek(s, m);
    if (next < m->event_count && version_of(m, next)->revision == revision) { /* 2 */
        watch_sub_fail(w, s, "revision %" PRId64 " comes in pieces", revision);
    }
    if (response->revision < revision || response->revision > m->revision) {
        watch_sub_fail(w, s, "events of revision %" PRId64 " come under revision %" PRId64,
                       revision, response->revision);
    }
    s->next_revision = revision + 1;
}

void watch_sub_progress(struct watch_history *w, struct watch_sub *s, int64_t revision)
{
    const struct model *m = &w->checks->model;
    size_t next = seek(s, m);
    if (revision > m->revision) {
        watch_sub_fail(w, s, "progress to revision %" PRId64 ", which does not exist", revision);
    }
    if (next < m->event_count && version_of(m, next)->revision <= revision) { /* 3 */
        watch_sub_fail(w, s, "progress to revision %" PRId64 " without what happened at %" PRId64,
                       revision, version_of(m, next)->revision);
    }
    w->progressed++;
    if (revision + 1 > s->next_revision) {
        s->next_revision = revision + 1;
    }
}

void watch_sub_compacted(struct watch_history *w, struct watch_sub *s, int64_t compact_revision)
{
    const struct model *m = &w->checks->model;
    if (compact_revision > m->compact_revision || s->next_revision >= compact_revision) { /* 4 */
        watch_sub_fail(w, s, "cancelled as compacted at %" PRId64 ", the store is at %" PRId64,
                       compact_revision, m->compact_revision);
    }
    w->compacted++;
    place(w, s, compact_revision);
}

bool watch_sub_is_done(const struct watch_history *w, struct watch_sub *s)
{
    const struct model *m = &w->checks->model;
    return seek(s, m) == m->event_count;
}
