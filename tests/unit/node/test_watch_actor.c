/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_watch_actor.c: what watchers are told, by real apply and watch actors over real SQLite files, moved
 * by hand: messages between them wait as long as the seed says, batches reach kv.db when it says, clients
 * read when it says. A model keeps every event; each watcher must get exactly those of its range, filters and
 * revisions, once, in order, whole revisions at a time, whether they came live, from the ring or from
 * history, and with the right previous values. (src/node/watch_actor.c and its parts)
 */
#include "hand_runner.h"
#include "node/apply_actor.h"
#include "node/node.h"
#include "node/watch_actor.h"

#include "../store/store_test.h"
#include "fault_vfs.h"

#include <sqlite3.h>

#define SECOND_US UINT64_C(1000000)
#define KEYS      8
#define WATCHERS  64
#define STREAMS   8

/* ---- the model: every event there was --------------------------------------------------------------- */

struct told {
    int64_t revision;
    int key;
    bool deleted;
    char value[40];
    char previous[40]; /* "" none */
};

struct watcher_model {
    bool open;
    uint64_t stream;
    int64_t id;
    int first_key, end_key; /* [first, end) */
    bool no_put, no_delete, prev_kv;
    int64_t from;    /* first revision it is to get; 0: not known yet (created is on its way) */
    int64_t present; /* the store's when it was asked for: "from now on" is behind it */
    size_t next;     /* in the model's events: what it will be told next */
    bool created, cancel_sent;
};

struct fixture {
    char folder[TEST_PATH_MAX];
    struct config config;
    struct kv_writer *writer;
    struct kv *kv;
    struct node_actors actors;
    struct flush_batch *sealed; /* taken from the queue, not written yet */
    uint64_t now_us, index, seed;

    struct told *events;
    size_t event_count, event_capacity;
    int64_t revision, compact_revision;
    char values[KEYS][40]; /* "" absent */

    struct watcher_model watchers[WATCHERS];
    size_t watcher_count;
    struct {
        uint64_t owed; /* cost to be acknowledged */
        bool slow;     /* does not read */
        int64_t progress_revision;
        size_t taken;
    } streams[STREAMS];
    size_t responses;
    bool compacts, deaf;
    size_t compacted; /* watchers cancelled because what they lacked was */
};

static void set_up(struct fixture *f, uint64_t seed)
{
    char problem[512] = "";
    struct kv_meta meta;
    struct kv_reader *reader = NULL;
    struct kv_reader *watch_reader = NULL;
    const struct kv_limits limits = {.batch_changes_max = 100000,
                                     .batch_bytes_max = 64 << 20,
                                     .batch_age_us = 3600 * SECOND_US,
                                     .overlay_bytes_max = 256 << 20,
                                     .cache_bytes_max = 1 << 20};
    memset(f, 0, sizeof(*f));
    f->seed = seed;
    f->now_us = SECOND_US;
    f->config.watchers_max = 1000;
    f->config.watch.progress_interval_ms = 100000;
    f->config.watch.ring_bytes_max = random_below(&f->seed, 2) == 0 ? 1 : 1 << 20;
    f->config.watch.stream_bytes_max = 20000;
    f->config.watch.bytes_max = 60000;
    f->config.watch.response_bytes_max = 1 << 20;
    test_folder_make(f->folder);
    CU_ASSERT_EQUAL_FATAL(
        kv_writer_open(f->folder, 0, 0, &f->writer, &meta, problem, sizeof(problem)), OK);
    CU_ASSERT_EQUAL_FATAL(kv_reader_open(f->folder, 0, 0, &reader, problem, sizeof(problem)), OK);
    CU_ASSERT_EQUAL_FATAL(kv_reader_open(f->folder, 0, 0, &watch_reader, problem, sizeof(problem)),
                          OK);
    f->actors.raft = hand_receiver();
    f->actors.flush = hand_receiver();
    f->actors.client_count = 2;
    f->actors.clients[0] = hand_receiver();
    f->actors.clients[1] = hand_receiver();
    f->kv = kv_create(&reader, &meta, &limits);
    f->revision = meta.revision;
    f->actors.apply = apply_actor_create(f->kv, 7, NULL, &f->actors);
    f->actors.watch = watch_actor_create(&watch_reader, &f->config, seed, &f->actors);
    hand_started(f->actors.apply, f->now_us);
    hand_started(f->actors.watch, f->now_us);
}

static void tear_down(struct fixture *f)
{
    MSG_FREE(f->sealed);
    actor_destroy(f->actors.apply);
    actor_destroy(f->actors.watch);
    actor_destroy(f->actors.raft);
    actor_destroy(f->actors.flush);
    actor_destroy(f->actors.clients[0]);
    actor_destroy(f->actors.clients[1]);
    kv_writer_close(&f->writer);
    mem_free(f->events);
    test_folder_remove(f->folder);
}

/* ---- writes ----------------------------------------------------------------------------------------- */

static void model_add(struct fixture *f, int key, bool deleted, const char *value)
{
    ARRAY_RESERVE(f->events, f->event_capacity, f->event_count + 1);
    struct told *e = &f->events[f->event_count++];
    *e = (struct told){.revision = f->revision, .key = key, .deleted = deleted};
    (void)snprintf(e->value, sizeof(e->value), "%s", value);
    memcpy(e->previous, f->values[key], sizeof(e->previous));
    memcpy(f->values[key], e->value, sizeof(e->value));
}

static struct view key_name(int key)
{
    static const char names[] = "abcdefghijklmnop";
    return view_of(&names[key], 1);
}

static void add_entry(struct fixture *f, struct entries *entries, const struct command *c)
{
    uint8_t octets[256];
    command_encode(c, octets);
    struct entry e = {.index = ++f->index,
                      .term = 1,
                      .type = ENTRY_COMMAND,
                      .data = view_of(octets, command_size(c))};
    entries_add(entries, &e);
}

/* A life ends and another begins in one revision: the put begins one, so nothing was before it. */
static void end_and_begin(struct fixture *f, struct entries *entries, int key)
{
    char value[40];
    (void)snprintf(value, sizeof(value), "value-%zu", f->event_count);
    struct txn_op ops[] = {
        {.kind = TXN_DELETE_RANGE, .key = key_name(key)},
        {.kind = TXN_PUT, .key = key_name(key), .value = view_of_text(value)},
    };
    const struct txn_body body = {.success = ops, .success_count = ARRAY_COUNT(ops)};
    struct buffer octets = {0};
    txn_body_encode(&body, &octets);
    const struct command txn = {
        .op = COMMAND_TXN, .key = key_name(key), .body = view_of(octets.data, octets.size)};
    add_entry(f, entries, &txn);
    buffer_free(&octets);
    f->revision++;
    model_add(f, key, true, "");
    model_add(f, key, false, value);
}

/* One entry: a put, a deletion of a few keys in one revision, or both of one key. */
static void draw_entry(struct fixture *f, struct entries *entries)
{
    int key = (int)random_below(&f->seed, KEYS);
    if (f->compacts && random_below(&f->seed, 300) == 0 && f->revision > f->compact_revision) {
        uint64_t span = (uint64_t)(f->revision - f->compact_revision);
        f->compact_revision += 1 + (int64_t)random_below(&f->seed, span);
        const struct command compact = {.op = COMMAND_COMPACT, .revision = f->compact_revision};
        add_entry(f, entries, &compact);
        return;
    }
    if (f->values[key][0] != 0 && random_below(&f->seed, 10) == 0) {
        end_and_begin(f, entries, key);
        return;
    }
    if (random_below(&f->seed, 5) > 0) {
        char value[40];
        (void)snprintf(value, sizeof(value), "value-%zu", f->event_count);
        const struct command put = {
            .op = COMMAND_PUT, .key = key_name(key), .value = view_of_text(value)};
        add_entry(f, entries, &put);
        f->revision++;
        model_add(f, key, false, value);
        return;
    }
    int end = key + 1 + (int)random_below(&f->seed, 4);
    end = end < KEYS ? end : KEYS;
    const struct command gone = {
        .op = COMMAND_DELETE_RANGE, .key = key_name(key), .range_end = key_name(end)};
    add_entry(f, entries, &gone);
    bool any = false;
    for (int i = key; i < end; i++) {
        any = any || f->values[i][0] != 0;
    }
    f->revision += any;
    for (int i = key; i < end; i++) {
        if (f->values[i][0] != 0) {
            model_add(f, i, true, "");
        }
    }
}

static void write_some(struct fixture *f, size_t count)
{
    struct apply_entries *m = MSG_NEW(struct apply_entries, APPLY_ENTRIES, release_apply_entries);
    m->entries = entries_create(count, count * 300);
    for (size_t i = 0; i < count; i++) {
        draw_entry(f, m->entries);
    }
    ACTOR_SEND(f->actors.apply, m);
}

/* A step of the flusher: take a batch, or write the one taken and say so. */
static void flush_step(struct fixture *f)
{
    if (f->sealed == NULL) {
        f->sealed = (struct flush_batch *)hand_find(f->actors.flush, FLUSH_BATCH);
        return;
    }
    CU_ASSERT_EQUAL_FATAL(kv_writer_write(f->writer, f->sealed->batch), OK);
    struct apply_flushed *m = MSG_NEW(struct apply_flushed, APPLY_FLUSHED, NULL);
    m->batch_number = f->sealed->batch->number;
    ACTOR_SEND(f->actors.apply, m);
    MSG_FREE(f->sealed);
    for (int i = 0; i < 3 && kv_writer_compacting(f->writer); i++) {
        CU_ASSERT_EQUAL_FATAL(kv_writer_compact_slice(f->writer), OK);
    }
}

/* Have apply seal what is open, as its age would. */
static void seal(struct fixture *f)
{
    struct kv_batch *batch = kv_seal(f->kv);
    if (batch != NULL) {
        struct flush_batch *m = MSG_NEW(struct flush_batch, FLUSH_BATCH, release_flush_batch);
        m->batch = batch;
        ACTOR_SEND(f->actors.flush, m);
    }
}

/* ---- watchers --------------------------------------------------------------------------------------- */

static uint64_t stream_number(size_t stream)
{
    return REQUEST_ID(stream % 2, stream + 1);
}

static struct watch_create *create_message(uint64_t stream, struct view key, struct view end,
                                           int64_t start_revision)
{
    struct watch_create *m = MSG_NEW(struct watch_create, WATCH_CREATE, release_watch_create);
    m->stream = stream;
    m->key = bytes_copy(key);
    m->range_end = bytes_copy(end);
    m->start_revision = start_revision;
    return m;
}

static void request(struct fixture *f, uint64_t stream, enum watch_kind kind, int64_t id)
{
    struct watch_request *m = MSG_NEW(struct watch_request, kind, NULL);
    m->stream = stream;
    m->watch_id = id;
    ACTOR_SEND(f->actors.watch, m);
}

static void draw_watcher(struct fixture *f)
{
    if (f->watcher_count == WATCHERS) {
        return;
    }
    size_t stream = (size_t)random_below(&f->seed, STREAMS);
    struct watcher_model *w = &f->watchers[f->watcher_count++];
    *w = (struct watcher_model){
        .open = true, .stream = stream_number(stream), .present = kv_revision(f->kv)};
    w->id = (int64_t)f->watcher_count; /* chosen by us, so that none is 0 */
    w->first_key = (int)random_below(&f->seed, KEYS);
    w->end_key = w->first_key + 1;
    struct view end = view_of(NULL, 0);
    switch (random_below(&f->seed, 3)) {
    case 0: /* one key */
        break;
    case 1: /* to the end */
        w->end_key = KEYS;
        end = view_of("\0", 1);
        break;
    default:
        w->end_key += (int)random_below(&f->seed, (uint64_t)(KEYS - w->first_key));
        end = key_name(w->end_key);
        break;
    }
    w->no_put = random_below(&f->seed, 6) == 0;
    w->no_delete = random_below(&f->seed, 6) == 0;
    w->prev_kv = random_below(&f->seed, 2) == 0;
    if (random_below(&f->seed, 3) > 0) { /* from anywhere, a few beyond what there is */
        w->from = 1 + (int64_t)random_below(&f->seed, (uint64_t)f->revision + 4);
    }
    struct watch_create *m = create_message(w->stream, key_name(w->first_key), end, w->from);
    m->watch_id = w->id;
    m->no_put = w->no_put;
    m->no_delete = w->no_delete;
    m->prev_kv = w->prev_kv;
    ACTOR_SEND(f->actors.watch, m);
}

static struct watcher_model *model_of(struct fixture *f, uint64_t stream, int64_t id)
{
    CU_ASSERT_TRUE_FATAL(id >= 1 && (size_t)id <= f->watcher_count);
    struct watcher_model *w = &f->watchers[id - 1];
    CU_ASSERT_EQUAL_FATAL(w->stream, stream);
    return w;
}

static bool wants(const struct watcher_model *w, const struct told *e)
{
    return w->from != 0 && e->revision >= w->from && e->key >= w->first_key &&
           e->key < w->end_key && !(e->deleted ? w->no_delete : w->no_put);
}

/* The watcher's next event in the model; event_count: it has all. */
static size_t next_of(const struct fixture *f, struct watcher_model *w)
{
    while (w->next < f->event_count && !wants(w, &f->events[w->next])) {
        w->next++;
    }
    return w->next;
}

static void check_event(const struct fixture *f, const struct watch_batch *b, uint32_t index,
                        const struct watcher_model *w, const struct told *e)
{
    struct key_value pair = event_pair(&b->events, index);
    CU_ASSERT_EQUAL(pair.mod_revision, e->revision);
    CU_ASSERT(view_equal(pair.key, key_name(e->key)));
    CU_ASSERT(view_equal(pair.value, view_of_text(e->value)));
    CU_ASSERT_EQUAL(b->events.items[index].deleted, e->deleted);
    if (w->prev_kv) {
        uint32_t previous = b->previous_of[index];
        bool has = previous < b->previous.count;
        /* gone with a compaction that has come meanwhile, perhaps */
        CU_ASSERT(has == (e->previous[0] != 0) || (!has && e->revision - 1 < f->compact_revision));
        if (has) {
            struct key_value before = event_pair(&b->previous, previous);
            CU_ASSERT(view_equal(before.value, view_of_text(e->previous)));
            CU_ASSERT(view_equal(before.key, pair.key));
        }
    }
}

static void take_events(struct fixture *f, const struct watch_batch *b,
                        const struct watch_response *r)
{
    struct watcher_model *w = model_of(f, r->stream, r->watch_id);
    CU_ASSERT(w->open);
    CU_ASSERT(w->created);
    CU_ASSERT(r->ref_count > 0);
    CU_ASSERT_EQUAL(r->prev_kv, w->prev_kv);
    int64_t last = 0;
    for (size_t i = 0; i < r->ref_count; i++) {
        size_t at = next_of(f, w);
        CU_ASSERT_TRUE_FATAL(at < f->event_count);
        check_event(f, b, b->refs[r->ref_first + i], w, &f->events[at]);
        last = f->events[at].revision;
        w->next++;
    }
    CU_ASSERT(r->revision >= last);
    size_t more = next_of(f, w);
    CU_ASSERT(more == f->event_count || f->events[more].revision > last); /* whole revisions */
}

static void take_response(struct fixture *f, const struct watch_batch *b,
                          const struct watch_response *r)
{
    size_t stream = (size_t)(r->stream & 0xff) - 1;
    f->streams[stream].owed += r->cost;
    f->responses++;
    switch (r->kind) {
    case WATCH_RESPONSE_CREATED: {
        struct watcher_model *w = model_of(f, r->stream, r->watch_id);
        CU_ASSERT_FALSE(w->created);
        CU_ASSERT(r->revision >= w->present);
        w->created = true;
        w->from = w->from == 0 ? r->revision + 1 : w->from;
        break;
    }
    case WATCH_RESPONSE_EVENTS:
        take_events(f, b, r);
        break;
    case WATCH_RESPONSE_CANCELED: {
        struct watcher_model *w = model_of(f, r->stream, r->watch_id);
        CU_ASSERT(w->open);
        if (r->compact_revision != 0) { /* it lacked something older than that */
            CU_ASSERT_EQUAL(r->revision, 0);
            CU_ASSERT(r->compact_revision <= f->compact_revision);
            CU_ASSERT(w->from < r->compact_revision);
            f->compacted++;
        } else {
            CU_ASSERT(w->cancel_sent);
        }
        w->open = false;
        break;
    }
    case WATCH_RESPONSE_PROGRESS: /* everybody on the stream has everything up to there */
        CU_ASSERT_EQUAL(r->watch_id, -1);
        for (size_t i = 0; i < f->watcher_count; i++) {
            struct watcher_model *w = &f->watchers[i];
            if (w->open && w->created && w->stream == r->stream) {
                size_t next = next_of(f, w);
                CU_ASSERT(next == f->event_count || f->events[next].revision > r->revision);
                CU_ASSERT(w->from <= r->revision + 1);
            }
        }
        f->streams[stream].progress_revision = r->revision;
        break;
    case WATCH_RESPONSE_TAKEN:
        f->streams[stream].taken++;
        break;
    case WATCH_RESPONSE_REFUSED:
        CU_FAIL("nothing was to be refused");
        break;
    }
}

static void clients_take(struct fixture *f)
{
    for (size_t i = 0; i < f->actors.client_count; i++) {
        struct msg *m = NULL;
        while ((m = hand_take(f->actors.clients[i])) != NULL) {
            if (m->kind == CLIENT_WATCH) {
                const struct watch_batch *b = ((struct client_watch *)m)->batch;
                for (size_t k = 0; k < b->response_count; k++) {
                    take_response(f, b, &b->responses[k]);
                }
            }
            msg_free_base(&m);
        }
    }
}

static void acknowledge(struct fixture *f, size_t stream)
{
    uint64_t cost = f->streams[stream].owed;
    f->streams[stream].owed = 0;
    if (cost > 0) {
        struct watch_ack *m = msg_new(sizeof(*m) + sizeof(m->items[0]), WATCH_ACK, NULL);
        m->count = 1;
        m->items[0] = (struct watch_acked){.stream = stream_number(stream), .cost = cost};
        ACTOR_SEND(f->actors.watch, m);
    }
}

/* A round of the watch actor that finds only some of its messages: the others are on their way. */
static void watch_round(struct fixture *f)
{
    struct actor *a = f->actors.watch;
    if (random_below(&f->seed, 10) == 0) {
        f->deaf = !f->deaf; /* for a while nothing reaches it */
    }
    size_t hidden = f->deaf ? a->count : (size_t)random_below(&f->seed, a->count + 1);
    a->count -= hidden;
    size_t place = a->first + a->count;
    struct msg *later[HAND_QUEUE_MAX];
    memcpy(later, &a->queue[place], hidden * sizeof(later[0]));
    hand_round(a, f->now_us);
    memcpy(&a->queue[a->first + a->count], later, hidden * sizeof(later[0]));
    a->count += hidden;
}

/* ---- the random run --------------------------------------------------------------------------------- */

static void some_step(struct fixture *f)
{
    size_t stream = (size_t)random_below(&f->seed, STREAMS);
    f->now_us += 1000;
    switch (random_below(&f->seed, 14)) {
    case 0:
    case 1:
        write_some(f, 1 + (size_t)random_below(&f->seed, 30));
        break;
    case 2:
    case 3:
        hand_round(f->actors.apply, f->now_us);
        break;
    case 4:
    case 5:
        watch_round(f);
        break;
    case 6:
        clients_take(f);
        break;
    case 7:
        if (!f->streams[stream].slow) {
            acknowledge(f, stream);
        }
        break;
    case 8:
        f->streams[stream].slow = random_below(&f->seed, 3) == 0;
        break;
    case 9:
        if (random_below(&f->seed, 4) == 0) {
            draw_watcher(f);
        }
        break;
    case 10:
        request(f, stream_number(stream), WATCH_PROGRESS, 0);
        break;
    case 11:
        seal(f);
        break;
    case 12:
        flush_step(f);
        break;
    default:
        if (random_below(&f->seed, 8) == 0 && f->watcher_count > 0) {
            struct watcher_model *w = &f->watchers[random_below(&f->seed, f->watcher_count)];
            if (w->open && !w->cancel_sent) {
                w->cancel_sent = true;
                request(f, w->stream, WATCH_CANCEL, w->id);
            }
        }
        break;
    }
}

/* Everybody reads, everything is flushed: then everybody has everything. */
static void settle(struct fixture *f)
{
    bool all = false;
    for (int i = 0; i < 20000 && !all; i++) {
        all = i > 10;
        for (size_t k = 0; k < f->watcher_count; k++) {
            struct watcher_model *w = &f->watchers[k];
            all = all && w->created && (!w->open || next_of(f, w) == f->event_count);
        }
        f->now_us += 1000;
        hand_round(f->actors.apply, f->now_us);
        seal(f);
        flush_step(f);
        hand_round(f->actors.watch, f->now_us);
        clients_take(f);
        for (size_t stream = 0; stream < STREAMS; stream++) {
            acknowledge(f, stream);
        }
    }
    hand_round(f->actors.watch, f->now_us);
    for (size_t i = 0; i < f->watcher_count; i++) {
        struct watcher_model *w = &f->watchers[i];
        CU_ASSERT(w->created);
        CU_ASSERT(w->open ? !w->cancel_sent : w->cancel_sent || f->compacts);
        if (w->open) {
            CU_ASSERT_EQUAL(next_of(f, w), f->event_count);
        }
    }
    watch_actor_check(f->actors.watch->self);
}

/* Returns how many rows were read from kv.db. */
static uint64_t random_run(uint64_t seed, bool compacts, size_t *compacted)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    struct watch_figures figures;
    set_up(f, seed);
    f->compacts = compacts;
    watch_actor_tune(f->actors.watch->self, 5 + random_below(&f->seed, 40),
                     random_below(&f->seed, 2) == 0 ? 200 : 1 << 20,
                     (int64_t)random_below(&f->seed, 100));
    for (int step = 0; step < 3000; step++) {
        some_step(f);
    }
    settle(f);
    watch_actor_figures(f->actors.watch->self, &figures);
    CU_ASSERT_EQUAL(figures.in_flight_bytes, 0);
    *compacted += f->compacted;
    tear_down(f);
    mem_free(f);
    return figures.history_rows;
}

static void each_event_once_and_in_order(void)
{
    uint64_t history_rows = 0;
    size_t compacted = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        history_rows += random_run(seed, false, &compacted);
    }
    CU_ASSERT(history_rows > 10000); /* the seam was crossed, and often */
    CU_ASSERT_EQUAL(compacted, 0);
}

/* The same while history is compacted and rows vanish from kv.db, as soon as they may. */
static void each_event_once_or_compacted(void)
{
    uint64_t history_rows = 0;
    size_t compacted = 0;
    for (uint64_t seed = 101; seed <= 120; seed++) {
        history_rows += random_run(seed, true, &compacted);
    }
    CU_ASSERT(history_rows > 10000);
    CU_ASSERT(compacted > 20);
}

/* ---- one by one ------------------------------------------------------------------------------------- */

/* Rounds of both actors and the flusher until nothing moves. */
static void rounds(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++) {
        f->now_us += 10;
        hand_round(f->actors.apply, f->now_us);
        flush_step(f);
        hand_round(f->actors.watch, f->now_us);
    }
}

static struct client_watch *take_batch(struct fixture *f)
{
    return (struct client_watch *)hand_find(f->actors.clients[0], CLIENT_WATCH);
}

static void expect_response(struct fixture *f, enum watch_response_kind kind, int64_t id,
                            const char *reason)
{
    struct client_watch *m = take_batch(f);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->batch->response_count, 1);
    const struct watch_response *r = &m->batch->responses[0];
    CU_ASSERT_EQUAL(r->kind, kind);
    CU_ASSERT_EQUAL(r->watch_id, id);
    CU_ASSERT((reason == NULL) == (r->cancel_reason == NULL));
    if (reason != NULL && r->cancel_reason != NULL) {
        CU_ASSERT_STRING_EQUAL(r->cancel_reason, reason);
    }
    MSG_FREE(m);
}

static void send_create(struct fixture *f, int64_t id, const char *key, const char *end)
{
    struct watch_create *m =
        create_message(stream_number(0), view_of_text(key), view_of_text(end), 0);
    m->watch_id = id;
    ACTOR_SEND(f->actors.watch, m);
    rounds(f, 3);
}

static void ids_and_refusals(void)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    set_up(f, 1);
    send_create(f, 0, "a", "");
    expect_response(f, WATCH_RESPONSE_CREATED, 0, NULL);
    send_create(f, 1, "a", "");
    expect_response(f, WATCH_RESPONSE_CREATED, 1, NULL);
    send_create(f, 0, "a", ""); /* the least from the counter on that is free */
    expect_response(f, WATCH_RESPONSE_CREATED, 2, NULL);
    send_create(f, 2, "a", "");
    expect_response(f, WATCH_RESPONSE_REFUSED, -1, WATCH_REASON_DUPLICATE);
    send_create(f, 0, "b", "a");
    expect_response(f, WATCH_RESPONSE_REFUSED, -1, WATCH_REASON_EMPTY);
    struct watch_create *m =
        create_message(stream_number(0), view_of_text("a"), view_of("", 0), -1);
    ACTOR_SEND(f->actors.watch, m);
    rounds(f, 2);
    expect_response(f, WATCH_RESPONSE_REFUSED, -1, WATCH_REASON_COMPACTED);
    tear_down(f);
    mem_free(f);
}

static void watchers_are_bounded(void)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    set_up(f, 1);
    for (size_t i = 0; i < 1001; i++) { /* watchers_max and one */
        struct watch_create *m =
            create_message(stream_number(0), view_of_text("a"), view_of("", 0), 0);
        ACTOR_SEND(f->actors.watch, m);
    }
    rounds(f, 3);
    struct client_watch *m = take_batch(f);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL_FATAL(m->batch->response_count, 1001);
    CU_ASSERT_EQUAL(m->batch->responses[999].kind, WATCH_RESPONSE_CREATED);
    CU_ASSERT_EQUAL(m->batch->responses[1000].kind, WATCH_RESPONSE_REFUSED);
    CU_ASSERT_STRING_EQUAL(m->batch->responses[1000].cancel_reason, WATCH_REASON_TOO_MANY);
    MSG_FREE(m);
    tear_down(f);
    mem_free(f);
}

/* Nobody watches: nothing is recorded; the first watcher begins it and the last one ends it, a while later. */
static void recording_follows_the_watchers(void)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    struct watch_figures figures;
    set_up(f, 1);
    write_some(f, 10);
    rounds(f, 2);
    watch_actor_figures(f->actors.watch->self, &figures);
    CU_ASSERT_FALSE(figures.recording);
    CU_ASSERT_PTR_NULL(take_batch(f));
    send_create(f, 0, "a", "");
    rounds(f, 6);
    watch_actor_figures(f->actors.watch->self, &figures);
    CU_ASSERT_TRUE(figures.recording);
    CU_ASSERT_EQUAL(figures.revision, f->revision);
    CU_ASSERT(figures.committed_revision >= figures.ring_floor); /* hastened by apply */
    request(f, stream_number(0), WATCH_STREAM_CLOSED, 0);
    rounds(f, 2);
    write_some(f, 3);
    rounds(f, 2);
    watch_actor_figures(f->actors.watch->self, &figures);
    CU_ASSERT_TRUE(figures.recording);
    CU_ASSERT_EQUAL(figures.revision, f->revision);
    CU_ASSERT(f->actors.watch->deadline_us > f->now_us);
    CU_ASSERT_TRUE_FATAL(f->actors.watch->deadline_us < UINT64_MAX);
    f->now_us = f->actors.watch->deadline_us;
    rounds(f, 2);
    watch_actor_figures(f->actors.watch->self, &figures);
    CU_ASSERT_FALSE(figures.recording);
    tear_down(f);
    mem_free(f);
}

/* A stream that reads nothing gets its credit and no more; what it costs does not grow with the writes. */
static void a_stream_that_does_not_read_is_bounded(void)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    struct watch_figures figures;
    set_up(f, 3);
    struct watch_create *m =
        create_message(stream_number(0), view_of("\0", 1), view_of("\0", 1), 0);
    m->watch_id = 1;
    ACTOR_SEND(f->actors.watch, m);
    rounds(f, 3);
    for (int i = 0; i < 200; i++) {
        write_some(f, 30);
        rounds(f, 2);
        seal(f);
    }
    watch_actor_figures(f->actors.watch->self, &figures);
    CU_ASSERT_EQUAL(figures.behind, 1);
    CU_ASSERT(figures.in_flight_bytes >= 20000);
    CU_ASSERT(figures.in_flight_bytes < 20000 + 4000); /* its credit and one response */
    CU_ASSERT_EQUAL(f->actors.watch->deadline_us == f->now_us, false); /* and it waits in peace */
    tear_down(f);
    mem_free(f);
}

/* The actor does not run for so long that apply stops recording: it finds everything in kv.db. Who begins to
 * watch from now on meanwhile is told nothing of what was applied, and answered, before: not recorded either. */
static void falling_behind_apply(void)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    set_up(f, 5);
    f->watcher_count = 1;
    f->watchers[0] = (struct watcher_model){
        .open = true, .stream = stream_number(0), .id = 1, .end_key = KEYS, .prev_kv = true};
    struct watch_create *m =
        create_message(stream_number(0), view_of("\0", 1), view_of("\0", 1), 0);
    m->watch_id = 1;
    m->prev_kv = true;
    ACTOR_SEND(f->actors.watch, m);
    rounds(f, 3);
    clients_take(f);
    /* each block of one change says it takes more than its octets: a message, and room that is not used */
    size_t blocks = 0;
    for (; blocks < 3500; blocks++) {
        write_some(f, 200);
        f->now_us += 10;
        hand_round(f->actors.apply, f->now_us);
        seal(f);
        flush_step(f);
        flush_step(f);
        if (f->actors.watch->count < blocks) {
            break; /* apply has stopped sending */
        }
    }
    CU_ASSERT(blocks < 3500);
    write_some(f, 100);
    hand_round(f->actors.apply, f->now_us);
    f->watcher_count = 2;
    f->watchers[1] = (struct watcher_model){.open = true,
                                            .stream = stream_number(0),
                                            .id = 2,
                                            .end_key = KEYS,
                                            .present = kv_revision(f->kv)};
    CU_ASSERT_EQUAL(f->watchers[1].present, f->revision);
    m = create_message(stream_number(0), view_of("\0", 1), view_of("\0", 1), 0);
    m->watch_id = 2;
    ACTOR_SEND(f->actors.watch, m);
    request(f, stream_number(0), WATCH_PROGRESS, 0); /* waits behind it */
    settle(f);
    struct watch_figures figures;
    watch_actor_figures(f->actors.watch->self, &figures);
    CU_ASSERT_EQUAL(figures.live, 2);
    CU_ASSERT_EQUAL(f->streams[0].taken, 1);
    tear_down(f);
    mem_free(f);
}

/* The test stands where apply would: changes with a word of compaction. */
static void say_changes(struct fixture *f, int64_t from_revision, int64_t revision,
                        int64_t compact_revision)
{
    struct watch_changes *m = MSG_NEW(struct watch_changes, WATCH_CHANGES, release_watch_changes);
    m->epoch = 1;
    m->from_revision = from_revision;
    m->revision = revision;
    m->compact_revision = compact_revision;
    m->committed_revision = from_revision;
    for (int64_t at = from_revision + 1; at <= revision; at++) {
        const struct kv_history row = {.change = change_id(at, 0),
                                       .key = view_of_text("k"),
                                       .value = view_of_text("v"),
                                       .create_revision = at,
                                       .version = 1};
        event_block_add(&m->events, &row);
    }
    ACTOR_SEND(f->actors.watch, m);
}

static void expect_compacted(const struct watch_response *r, int64_t id, int64_t compact_revision)
{
    CU_ASSERT_EQUAL(r->kind, WATCH_RESPONSE_CANCELED);
    CU_ASSERT_EQUAL(r->watch_id, id);
    CU_ASSERT_EQUAL(r->revision, 0); /* of the header */
    CU_ASSERT_EQUAL(r->compact_revision, compact_revision);
    CU_ASSERT_PTR_NULL(r->cancel_reason);
}

/* Who asks for what is compacted is created and then cancelled; who lags until it is, too; at the compacted
 * revision itself all is well (sheet 2.6). */
static void compacted_history_cancels(void)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    set_up(f, 1);
    struct watch_create *m = create_message(stream_number(0), view_of_text("k"), view_of("", 0), 2);
    m->watch_id = 1;
    ACTOR_SEND(f->actors.watch, m);
    hand_round(f->actors.watch, f->now_us); /* asks apply, which is us */
    say_changes(f, 1, 1, 0);
    hand_round(f->actors.watch, f->now_us);
    expect_response(f, WATCH_RESPONSE_CREATED, 1, NULL);
    say_changes(f, 1, 400, 0);
    hand_round(f->actors.watch,
               f->now_us); /* more than its credit: it lags from some revision on */
    struct watch_figures figures;
    watch_actor_figures(f->actors.watch->self, &figures);
    CU_ASSERT_EQUAL(figures.behind, 1);
    say_changes(f, 400, 401, 399);
    hand_round(f->actors.watch, f->now_us);
    struct msg *taken = NULL;
    uint64_t owed = 0;
    while ((taken = hand_find(f->actors.clients[0], CLIENT_WATCH)) != NULL) {
        const struct watch_batch *b = ((struct client_watch *)taken)->batch;
        for (size_t i = 0; i < b->response_count; i++) {
            CU_ASSERT_EQUAL(b->responses[i].kind, WATCH_RESPONSE_EVENTS);
            owed += b->responses[i].cost;
        }
        msg_free_base(&taken);
    }
    f->streams[0].owed = owed;
    acknowledge(f, 0); /* it reads again, too late */
    hand_round(f->actors.watch, f->now_us);
    struct client_watch *told = take_batch(f);
    CU_ASSERT_PTR_NOT_NULL_FATAL(told);
    CU_ASSERT_EQUAL_FATAL(told->batch->response_count, 1);
    expect_compacted(&told->batch->responses[0], 1, 399);
    MSG_FREE(told);

    for (int64_t start = 398; start <= 399; start++) {
        m = create_message(stream_number(0), view_of_text("k"), view_of("", 0), start);
        m->watch_id = start;
        ACTOR_SEND(f->actors.watch, m);
    }
    hand_round(f->actors.watch, f->now_us);
    hand_round(f->actors.watch, f->now_us);
    told = take_batch(f);
    CU_ASSERT_PTR_NOT_NULL_FATAL(told);
    CU_ASSERT_EQUAL_FATAL(told->batch->response_count, 4);
    CU_ASSERT_EQUAL(told->batch->responses[0].kind, WATCH_RESPONSE_CREATED);
    expect_compacted(&told->batch->responses[1], 398, 399);
    CU_ASSERT_EQUAL(told->batch->responses[2].kind, WATCH_RESPONSE_CREATED);
    CU_ASSERT_EQUAL(told->batch->responses[3].kind, WATCH_RESPONSE_EVENTS);
    CU_ASSERT_EQUAL(told->batch->responses[3].watch_id, 399);
    CU_ASSERT_EQUAL(told->batch->responses[3].ref_count, 3);
    MSG_FREE(told);
    tear_down(f);
    mem_free(f);
}

/* Somebody's lock on kv.db while a previous value is looked for is no disk error: who wants it is told a little
 * later, who does not at once. */
static void previous_values_of_a_locked_file(void)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    struct watch_figures figures;
    fault_vfs_install();
    set_up(f, 1);
    const char keys[] = "abcdefgh";
    const struct command put = {
        .op = COMMAND_PUT, .key = view_of_text("a"), .value = view_of_text("before")};
    struct apply_entries *m = MSG_NEW(struct apply_entries, APPLY_ENTRIES, release_apply_entries);
    m->entries = entries_create(1, 300);
    add_entry(f, m->entries, &put);
    ACTOR_SEND(f->actors.apply, m);
    rounds(f, 2);
    seal(f);
    rounds(f, 4);
    for (int64_t id = 1; id <= 2; id++) { /* the first one wants previous values */
        struct watch_create *create =
            create_message(stream_number(0), view_of(keys, 1), view_of("", 0), 0);
        create->watch_id = id;
        create->prev_kv = id == 1;
        ACTOR_SEND(f->actors.watch, create);
        rounds(f, 4);
        expect_response(f, WATCH_RESPONSE_CREATED, id, NULL);
    }
    m = MSG_NEW(struct apply_entries, APPLY_ENTRIES, release_apply_entries);
    m->entries = entries_create(1, 300);
    add_entry(f, m->entries, &put);
    ACTOR_SEND(f->actors.apply, m);
    hand_round(f->actors.apply, f->now_us);
    fault_vfs_arm(FAULT_READ, "", 1, SQLITE_BUSY, FAULT_STAY);
    hand_round(f->actors.watch, f->now_us);
    CU_ASSERT_TRUE(fault_vfs_struck());
    expect_response(f, WATCH_RESPONSE_EVENTS, 2, NULL);
    watch_actor_figures(f->actors.watch->self, &figures);
    CU_ASSERT_EQUAL(figures.behind, 1);
    CU_ASSERT(f->actors.watch->deadline_us > f->now_us); /* not asked all the time */
    f->now_us = f->actors.watch->deadline_us;
    hand_round(f->actors.watch, f->now_us); /* still locked */
    CU_ASSERT_PTR_NULL(take_batch(f));
    fault_vfs_disarm();
    CU_ASSERT_TRUE_FATAL(f->actors.watch->deadline_us < UINT64_MAX);
    f->now_us = f->actors.watch->deadline_us;
    rounds(f, 3);
    struct client_watch *told = take_batch(f);
    CU_ASSERT_PTR_NOT_NULL_FATAL(told);
    CU_ASSERT_EQUAL_FATAL(told->batch->response_count, 1);
    const struct watch_response *r = &told->batch->responses[0];
    CU_ASSERT_EQUAL(r->kind, WATCH_RESPONSE_EVENTS);
    CU_ASSERT_EQUAL(r->watch_id, 1);
    CU_ASSERT_EQUAL_FATAL(r->ref_count, 1);
    uint32_t previous = told->batch->previous_of[told->batch->refs[r->ref_first]];
    CU_ASSERT_EQUAL_FATAL(previous, 0);
    CU_ASSERT(view_equal(event_pair(&told->batch->previous, 0).value, view_of_text("before")));
    MSG_FREE(told);
    watch_actor_figures(f->actors.watch->self, &figures);
    CU_ASSERT_EQUAL(figures.live, 2);
    fault_vfs_remove();
    tear_down(f);
    mem_free(f);
}

/* What a response may hold bounds a revision, not how much history is looked at in one go: with the previous
 * values a slice of it may come to more. It is told in several responses of whole revisions. */
static void history_of_large_previous_values(void)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    char value[200];
    set_up(f, 1);
    memset(value, 'v', sizeof(value));
    watch_actor_tune(f->actors.watch->self, 100000, 600000, 10);
    const struct command put = {
        .op = COMMAND_PUT, .key = view_of_text("a"), .value = view_of(value, sizeof(value))};
    struct apply_entries *m = MSG_NEW(struct apply_entries, APPLY_ENTRIES, release_apply_entries);
    m->entries = entries_create(4000, 4000 * 300);
    for (int i = 0; i < 4000;
         i++) { /* revisions 2 to 4001; with what was before 2 MB, in slices of 1.5 */
        add_entry(f, m->entries, &put);
    }
    ACTOR_SEND(f->actors.apply, m);
    rounds(f, 2);
    seal(f);
    rounds(f, 4);
    struct watch_create *create =
        create_message(stream_number(0), view_of_text("a"), view_of("", 0), 2);
    create->prev_kv = true;
    ACTOR_SEND(f->actors.watch, create);
    int64_t told = 1;
    for (int round = 0; round < 100; round++) {
        rounds(f, 2);
        struct client_watch *batch = take_batch(f);
        for (size_t i = 0; batch != NULL && i < batch->batch->response_count; i++) {
            const struct watch_response *r = &batch->batch->responses[i];
            CU_ASSERT_NOT_EQUAL(r->kind, WATCH_RESPONSE_CANCELED);
            for (size_t k = 0; k < r->ref_count; k++) {
                uint32_t index = batch->batch->refs[r->ref_first + k];
                CU_ASSERT_EQUAL(change_revision(batch->batch->events.items[index].change), ++told);
            }
            f->streams[0].owed += r->cost;
        }
        MSG_FREE(batch);
        acknowledge(f, 0);
    }
    CU_ASSERT_EQUAL(told, 4001);
    tear_down(f);
    mem_free(f);
}

SUITE("node: watch actor", TEST(each_event_once_and_in_order), TEST(each_event_once_or_compacted),
      TEST(ids_and_refusals), TEST(watchers_are_bounded), TEST(recording_follows_the_watchers),
      TEST(a_stream_that_does_not_read_is_bounded), TEST(falling_behind_apply),
      TEST(compacted_history_cancels), TEST(previous_values_of_a_locked_file),
      TEST(history_of_large_previous_values))
