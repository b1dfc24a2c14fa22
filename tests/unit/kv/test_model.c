/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state machine against a model that is too simple to be wrong: a list of all changes, read from
 * its beginning each time. From a seed: puts, deletes, range deletes, reads at any revision with any
 * limit, order and filter in slices of any size that run while more is applied, and between them every
 * step of sealing and flushing, and reopening from what is on disk (as after a kill: what was not
 * written is applied again).
 *
 * A failing seed is printed; the program argument of suite.h does not matter for it, MODEL_SEED in the
 * environment runs that one alone.
 */
#include "fixture.h"
#include "kv/state.h"

#include <stdlib.h>

enum {
    SEEDS = 300,
    STEPS = 250,
    CHANGES_MAX = 8192,
    ENTRIES_MAX = STEPS + 1,
    READS_MAX = 4,
    KEY_BYTES_MAX = 4,
    VALUE_BYTES_MAX = 12,
};

struct change {
    uint8_t key[KEY_BYTES_MAX], value[VALUE_BYTES_MAX];
    size_t key_size, value_size;
    int64_t create_revision, mod_revision, version;
    bool deleted;
};

struct logged {
    struct bytes command;
    int64_t revision; /* after it */
};

struct running {
    struct query *query; /* a copy to compare with; NULL: free place */
    struct kv_read *read;
    int64_t current; /* revision of the store when it began */
};

struct model {
    struct fixture f;
    uint64_t seed;
    int64_t revision;
    size_t change_count;
    struct change changes[CHANGES_MAX];
    size_t entry_count;
    struct logged entries[ENTRIES_MAX];
    struct running running[READS_MAX];
};

static struct view change_key(const struct change *c)
{
    return view_of(c->key, c->key_size);
}

static struct view change_value(const struct change *c)
{
    return view_of(c->value, c->value_size);
}

/* ---- the model ------------------------------------------------------------------------------------ */

static bool in_range(struct view key, struct view start, struct view end)
{
    if (end.size == 0) {
        return view_equal(key, start);
    }
    if (end.size == 1 && end.data[0] == 0) {
        return view_compare(key, start) >= 0;
    }
    return view_compare(key, start) >= 0 && view_compare(key, end) < 0;
}

static int by_key(const void *a, const void *b)
{
    const struct change *const *left = a;
    const struct change *const *right = b;
    return view_compare(change_key(*left), change_key(*right));
}

/* The live keys of the range at the revision, in key order. Returns how many. */
static size_t model_state(const struct model *m, struct view start, struct view end,
                          int64_t revision, const struct change **out)
{
    size_t count = 0;
    for (size_t i = 0; i < m->change_count; i++) {
        const struct change *c = &m->changes[i];
        if (c->mod_revision > revision || !in_range(change_key(c), start, end)) {
            continue;
        }
        size_t at = 0;
        while (at < count && !view_equal(change_key(out[at]), change_key(c))) {
            at++;
        }
        out[at] = c;
        count += at == count ? 1 : 0;
    }
    size_t alive = 0;
    for (size_t i = 0; i < count; i++) {
        if (!out[i]->deleted) {
            out[alive++] = out[i];
        }
    }
    qsort(out, alive, sizeof(*out), by_key);
    return alive;
}

static void model_change(struct model *m, struct view key, struct view value,
                         const struct change *before, int64_t revision, bool deleted)
{
    CU_ASSERT_FATAL(m->change_count < CHANGES_MAX);
    struct change *c = &m->changes[m->change_count++];
    *c = (struct change){.key_size = key.size, .value_size = value.size, .mod_revision = revision};
    memcpy(c->key, key.data, key.size);
    if (value.size > 0) {
        memcpy(c->value, value.data, value.size);
    }
    c->deleted = deleted;
    if (!deleted) {
        c->create_revision = before != NULL ? before->create_revision : revision;
        c->version = before != NULL ? before->version + 1 : 1;
    }
}

static void expect_pair(const struct key_value *pair, const struct change *c, bool with_value)
{
    CU_ASSERT(view_equal(pair->key, change_key(c)));
    CU_ASSERT(view_equal(pair->value, with_value ? change_value(c) : view_of(NULL, 0)));
    CU_ASSERT_EQUAL(pair->create_revision, c->create_revision);
    CU_ASSERT_EQUAL(pair->mod_revision, c->mod_revision);
    CU_ASSERT_EQUAL(pair->version, c->version);
    CU_ASSERT_EQUAL(pair->lease, 0);
}

/* ---- writes --------------------------------------------------------------------------------------- */

/* Few keys, so that they meet; octets from both ends of the alphabet. */
static struct view random_key(struct model *m, uint8_t out[KEY_BYTES_MAX], size_t least)
{
    static const uint8_t octets[] = {0x00, 'a', 'b', 0xff};
    size_t size = least + (size_t)random_below(&m->seed, KEY_BYTES_MAX - least);
    for (size_t i = 0; i < size; i++) {
        out[i] = octets[random_below(&m->seed, sizeof(octets))];
    }
    return view_of(out, size);
}

static struct view random_end(struct model *m, uint8_t out[KEY_BYTES_MAX])
{
    switch (random_below(&m->seed, 4)) {
    case 0:
        return view_of(out, 0);
    case 1:
        out[0] = 0;
        return view_of(out, 1);
    default:
        return random_key(m, out, 1);
    }
}

static struct result *apply(struct model *m, const struct command *c)
{
    struct result *result = fixture_apply(&m->f, c);
    CU_ASSERT_FATAL(m->entry_count < ENTRIES_MAX);
    struct logged *entry = &m->entries[m->entry_count++];
    entry->command.size = command_size(c);
    entry->command.data = mem_alloc(entry->command.size);
    command_encode(c, entry->command.data);
    entry->revision = m->revision;
    CU_ASSERT_EQUAL(result->revision, m->revision);
    CU_ASSERT_EQUAL(kv_revision(m->f.kv), m->revision);
    return result;
}

static void step_put(struct model *m)
{
    static const uint16_t flags[] = {0, 0, COMMAND_PREV_KV, COMMAND_PREV_KV | COMMAND_IGNORE_VALUE,
                                     COMMAND_IGNORE_LEASE};
    uint8_t key[KEY_BYTES_MAX];
    uint8_t value[VALUE_BYTES_MAX];
    const struct change *before = NULL;
    struct command c = {.op = COMMAND_PUT, .key = random_key(m, key, 1)};
    c.flags = flags[random_below(&m->seed, ARRAY_COUNT(flags))];
    bool ignore = (c.flags & COMMAND_IGNORE_VALUE) != 0;
    if (!ignore) {
        c.value = view_of(value, (size_t)random_below(&m->seed, VALUE_BYTES_MAX));
        for (size_t i = 0; i < c.value.size; i++) {
            value[i] = (uint8_t)random_next(&m->seed);
        }
    }
    bool exists = model_state(m, c.key, view_of(NULL, 0), m->revision, &before) == 1;
    bool refused = !exists && (c.flags & (COMMAND_IGNORE_VALUE | COMMAND_IGNORE_LEASE)) != 0;
    if (!refused) {
        m->revision++;
        model_change(m, c.key, ignore ? change_value(before) : c.value, exists ? before : NULL,
                     m->revision, false);
    }
    struct result *result = apply(m, &c);
    CU_ASSERT_EQUAL(result->error, refused ? ERR_KEY_NOT_FOUND : OK);
    bool previous = exists && !refused && (c.flags & COMMAND_PREV_KV) != 0;
    CU_ASSERT_EQUAL_FATAL(result->kv_count, previous ? 1U : 0U);
    if (previous) {
        expect_pair(&result->kvs[0], before, true);
    }
    result_free(&result);
}

static void step_delete(struct model *m)
{
    static const struct change *before[CHANGES_MAX];
    uint8_t key[KEY_BYTES_MAX];
    uint8_t end[KEY_BYTES_MAX];
    struct command c = {.op = COMMAND_DELETE_RANGE, .key = random_key(m, key, 1)};
    c.range_end = random_end(m, end);
    if (c.range_end.size == 1 && c.range_end.data[0] == 0 && random_below(&m->seed, 8) != 0) {
        c.range_end = view_of(NULL, 0); /* not too often everything */
    }
    c.flags = random_below(&m->seed, 2) == 0 ? COMMAND_PREV_KV : 0;
    size_t count = model_state(m, c.key, c.range_end, m->revision, before);
    m->revision += count > 0 ? 1 : 0;
    for (size_t i = 0; i < count; i++) {
        model_change(m, change_key(before[i]), view_of(NULL, 0), NULL, m->revision, true);
    }
    struct result *result = apply(m, &c);
    CU_ASSERT_EQUAL(result->error, OK);
    CU_ASSERT_EQUAL(result->count, (int64_t)count);
    CU_ASSERT_EQUAL_FATAL(result->kv_count, c.flags != 0 ? count : 0);
    for (size_t i = 0; i < result->kv_count; i++) {
        expect_pair(&result->kvs[i], before[i], true);
    }
    result_free(&result);
}

/* ---- reads ---------------------------------------------------------------------------------------- */

static int64_t random_bound(struct model *m)
{
    return random_below(&m->seed, 3) == 0
               ? (int64_t)random_below(&m->seed, (uint64_t)m->revision + 2)
               : 0;
}

static void read_begin(struct model *m, struct running *r)
{
    uint8_t key[KEY_BYTES_MAX];
    uint8_t end[KEY_BYTES_MAX];
    bool all = random_below(&m->seed, 3) == 0;
    uint8_t zero = 0;
    struct query q = {.key = all ? view_of(&zero, 1) : random_key(m, key, 1)};
    q.range_end = all ? view_of(&zero, 1) : random_end(m, end);
    q.limit = random_below(&m->seed, 2) == 0 ? (int64_t)random_below(&m->seed, 10) - 1 : 0;
    q.revision = random_below(&m->seed, 2) == 0
                     ? (int64_t)random_below(&m->seed, (uint64_t)m->revision + 2)
                     : 0;
    if (random_below(&m->seed, 2) == 0) {
        q.sort_order = (enum sort_order)random_below(&m->seed, 3);
        q.sort_target = (enum sort_target)random_below(&m->seed, 5);
    }
    if (random_below(&m->seed, 3) == 0) {
        q.min_mod_revision = random_bound(m);
        q.max_mod_revision = random_bound(m);
        q.min_create_revision = random_bound(m);
        q.max_create_revision = random_bound(m);
    }
    q.keys_only = random_below(&m->seed, 4) == 0;
    q.count_only = random_below(&m->seed, 8) == 0;
    struct query *moved = query_create(&q);
    r->query = query_create(&q);
    r->current = m->revision;
    r->read = kv_read_start(m->f.kv, &moved);
}

static int64_t sort_number(const struct change *c, enum sort_target target)
{
    return target == SORT_VERSION  ? c->version
           : target == SORT_CREATE ? c->create_revision
                                   : c->mod_revision;
}

/* Insertion sort: stable, so ties stay in key order. */
static void model_sort(const struct change **items, size_t count, enum sort_target target,
                       bool descending)
{
    for (size_t i = 1; i < count; i++) {
        for (size_t j = i; j > 0; j--) {
            const struct change *a = items[j - 1];
            const struct change *b = items[j];
            int order = 0;
            if (target == SORT_KEY) {
                order = view_compare(change_key(a), change_key(b));
            } else if (target == SORT_VALUE) {
                order = view_compare(change_value(a), change_value(b));
            } else {
                int64_t left = sort_number(a, target);
                int64_t right = sort_number(b, target);
                order = (left > right) - (left < right);
            }
            if (descending ? order >= 0 : order <= 0) {
                break;
            }
            items[j - 1] = b;
            items[j] = a;
        }
    }
}

static bool model_passes(const struct query *q, const struct change *c)
{
    return (q->min_mod_revision == 0 || c->mod_revision >= q->min_mod_revision) &&
           (q->max_mod_revision == 0 || c->mod_revision <= q->max_mod_revision) &&
           (q->min_create_revision == 0 || c->create_revision >= q->min_create_revision) &&
           (q->max_create_revision == 0 || c->create_revision <= q->max_create_revision);
}

/* etcd's order of work, word by word: fetch (cut to limit + 1 unless an order or a filter is given),
 * filter, sort, cut. */
static void expect_answer(const struct model *m, const struct running *r, const struct result *got)
{
    static const struct change *items[CHANGES_MAX];
    const struct query *q = r->query;
    CU_ASSERT_EQUAL(got->revision, r->current);
    if (q->revision > r->current) {
        CU_ASSERT_EQUAL(got->error, ERR_FUTURE_REVISION);
        return;
    }
    CU_ASSERT_EQUAL(got->error, OK);
    size_t count =
        model_state(m, q->key, q->range_end, q->revision > 0 ? q->revision : r->current, items);
    CU_ASSERT_EQUAL(got->count, (int64_t)count);
    bool filtered = q->min_mod_revision != 0 || q->max_mod_revision != 0 ||
                    q->min_create_revision != 0 || q->max_create_revision != 0;
    if (q->limit > 0 && q->sort_order == SORT_NONE && !filtered && count > (size_t)q->limit + 1) {
        count = (size_t)q->limit + 1;
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (model_passes(q, items[i])) {
            items[kept++] = items[i];
        }
    }
    count = q->count_only ? 0 : kept;
    if (q->sort_order != SORT_NONE || q->sort_target != SORT_KEY) {
        model_sort(items, count, q->sort_target, q->sort_order == SORT_DESCEND);
    }
    bool more = q->limit > 0 && count > (size_t)q->limit;
    count = more ? (size_t)q->limit : count;
    CU_ASSERT_EQUAL(got->more, more);
    CU_ASSERT_EQUAL_FATAL(got->kv_count, count);
    for (size_t i = 0; i < count; i++) {
        expect_pair(&got->kvs[i], items[i], !q->keys_only);
    }
}

static void read_drop(struct running *r)
{
    if (r->query != NULL) {
        struct result *result = kv_read_finish(&r->read);
        result_free(&result);
        mem_free(r->query);
        r->query = NULL;
    }
}

static void step_read(struct model *m)
{
    struct running *r = &m->running[random_below(&m->seed, READS_MAX)];
    bool done = false;
    if (r->query == NULL) {
        read_begin(m, r);
    }
    uint64_t rows_max = random_below(&m->seed, 2) == 0 ? 1 + random_below(&m->seed, 6) : 1000;
    CU_ASSERT_EQUAL_FATAL(kv_read_step(m->f.kv, r->read, rows_max, &done), OK);
    if (done) {
        struct result *result = kv_read_finish(&r->read);
        expect_answer(m, r, result);
        result_free(&result);
        mem_free(r->query);
        r->query = NULL;
    }
}

/* ---- the disk ------------------------------------------------------------------------------------- */

/* Kill and start again: the disk may be behind, applied_index says how far (trap 18); the log replays the
 * rest to the same state. */
static void step_reopen(struct model *m)
{
    uint64_t hash_before = 0;
    uint64_t hash_after = 0;
    for (size_t i = 0; i < READS_MAX; i++) {
        read_drop(&m->running[i]);
    }
    CU_ASSERT_EQUAL(kv_hash(m->f.kv, &hash_before), OK);
    fixture_close(&m->f);
    fixture_open(&m->f);
    CU_ASSERT_FATAL(m->f.index <= m->entry_count);
    int64_t expected = m->f.index == 0 ? 1 : m->entries[m->f.index - 1].revision;
    CU_ASSERT_EQUAL(kv_revision(m->f.kv), expected);
    while (m->f.index < m->entry_count) {
        const struct logged *entry = &m->entries[m->f.index];
        CU_ASSERT_EQUAL_FATAL(
            fixture_entry(&m->f, ENTRY_COMMAND, bytes_view(&entry->command), NULL), OK);
        CU_ASSERT_EQUAL(kv_revision(m->f.kv), entry->revision);
    }
    CU_ASSERT_EQUAL(kv_hash(m->f.kv, &hash_after), OK);
    CU_ASSERT_EQUAL(hash_before, hash_after);
}

static void step(struct model *m)
{
    uint64_t what = random_below(&m->seed, 100);
    if (what < 40) {
        step_put(m);
    } else if (what < 50) {
        step_delete(m);
    } else if (what < 85) {
        step_read(m);
    } else if (what < 89) {
        fixture_seal(&m->f);
    } else if (what < 94) {
        fixture_write(&m->f);
    } else if (what < 99) {
        fixture_tell(&m->f);
    } else {
        step_reopen(m);
    }
}

static void run_seed(struct model *m, uint64_t seed)
{
    static const uint64_t cache_bytes[] = {0, 2000, FIXTURE_CACHE_BYTES};
    memset(m, 0, sizeof(*m));
    m->seed = seed;
    m->revision = 1;
    fixture_start(&m->f);
    m->f.limits.cache_bytes_max = cache_bytes[random_below(&m->seed, ARRAY_COUNT(cache_bytes))];
    fixture_close(&m->f);
    fixture_open(&m->f);
    unsigned failures = CU_get_number_of_failures();
    for (size_t i = 0; i < STEPS; i++) {
        step(m);
        overlay_check(&m->f.kv->overlay);
        if (CU_get_number_of_failures() != failures) {
            (void)fprintf(stderr, "model: seed %" PRIu64 " failed at step %zu\n", seed, i);
            break;
        }
    }
    for (size_t i = 0; i < READS_MAX; i++) {
        read_drop(&m->running[i]);
    }
    for (size_t i = 0; i < m->entry_count; i++) {
        bytes_free(&m->entries[i].command);
    }
    fixture_end(&m->f);
}

static void agrees_with_the_model(void)
{
    struct model *m = mem_alloc(sizeof(*m));
    const char *only = getenv("MODEL_SEED");
    uint64_t first = only != NULL ? strtoull(only, NULL, 10) : 1;
    uint64_t last = only != NULL ? first : SEEDS;
    for (uint64_t seed = first; seed <= last; seed++) {
        run_seed(m, seed);
        if (CU_get_number_of_failures() != 0) {
            break;
        }
    }
    mem_free(m);
}

SUITE("kv model", TEST(agrees_with_the_model))
