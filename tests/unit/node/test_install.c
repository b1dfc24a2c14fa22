/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_install.c: a received table takes the living one's place under real apply, flush, watch and copy actors
 * that are moved by hand: entries and reads that come meanwhile wait and find the new state, a watcher
 * loses no event and sees none twice although the node never saw most of them, what belonged to the old table
 * is void, and its files go. Traps 46, 47, 58. (src/node/install.h)
 */
#include "hand_runner.h"
#include "node/apply_actor.h"
#include "node/install.h"
#include "node/node.h"
#include "node/watch_actor.h"

#include "../kv/fixture.h"
#include "../store/store_test.h"

#include "base/sha256.h"

#define SECOND_US UINT64_C(1000000)
#define STREAM    REQUEST_ID(0, 999)

struct rig {
    char folder[TEST_PATH_MAX];
    struct config config;
    struct node_actors actors;
    uint64_t now_us;
    int64_t watched; /* the revision of the newest event the watcher got */
};

static void set_up(struct rig *r)
{
    char problem[512] = "";
    struct kv_meta meta;
    struct kv_writer *writer = NULL;
    struct kv_reader *reader = NULL;
    struct kv_reader *watch_reader = NULL;
    const struct kv_limits limits = {.batch_changes_max = 10,
                                     .batch_bytes_max = 64 << 20,
                                     .batch_age_us = 3600 * SECOND_US,
                                     .overlay_bytes_max = 256 << 20,
                                     .cache_bytes_max = 1 << 20};
    memset(r, 0, sizeof(*r));
    r->now_us = SECOND_US;
    r->config.watchers_max = 10;
    r->config.watch.progress_interval_ms = 100000;
    r->config.watch.ring_bytes_max = 1 << 20;
    r->config.watch.stream_bytes_max = 1 << 20;
    r->config.watch.bytes_max = 1 << 20;
    r->config.watch.response_bytes_max = 1 << 20;
    test_folder_make(r->folder);
    CU_ASSERT_EQUAL_FATAL(kv_writer_open(r->folder, 0, 0, &writer, &meta, problem, sizeof(problem)),
                          OK);
    CU_ASSERT_EQUAL_FATAL(kv_reader_open(r->folder, 0, 0, &reader, problem, sizeof(problem)), OK);
    CU_ASSERT_EQUAL_FATAL(kv_reader_open(r->folder, 0, 0, &watch_reader, problem, sizeof(problem)),
                          OK);
    r->actors.raft = hand_receiver();
    r->actors.client_count = 1;
    r->actors.clients[0] = hand_receiver();
    r->actors.flush = flush_actor_create(writer, r->folder, &r->actors);
    r->actors.copy = copy_actor_create(r->folder, 0, 0, &r->actors);
    r->actors.apply = apply_actor_create(kv_create(&reader, &meta, &limits), 7, NULL, &r->actors);
    r->actors.watch = watch_actor_create(&watch_reader, &r->config, 5, &r->actors);
    hand_started(r->actors.flush, r->now_us);
    hand_started(r->actors.copy, r->now_us);
    hand_started(r->actors.apply, r->now_us);
    hand_started(r->actors.watch, r->now_us);
}

static void tear_down(struct rig *r)
{
    actor_destroy(r->actors.apply);
    actor_destroy(r->actors.watch);
    actor_destroy(r->actors.copy);
    actor_destroy(r->actors.flush);
    actor_destroy(r->actors.raft);
    actor_destroy(r->actors.clients[0]);
    test_folder_remove(r->folder);
}

static void rounds(struct rig *r, int count)
{
    for (int i = 0; i < count; i++) {
        r->now_us += 10;
        hand_round(r->actors.apply, r->now_us);
        hand_round(r->actors.flush, r->now_us);
        hand_round(r->actors.watch, r->now_us);
        hand_round(r->actors.copy, r->now_us);
    }
}

/* Entry i puts key "k<i % 7>" to "v<i>"; so its revision is i + 1. */
static struct command put_of(uint64_t i, char key[16], char value[16])
{
    (void)snprintf(key, 16, "k%" PRIu64, i % 7);
    (void)snprintf(value, 16, "v%" PRIu64, i);
    return fixture_put_command(key, value);
}

static void hand_out(struct rig *r, uint64_t first, uint64_t last)
{
    struct apply_entries *m = MSG_NEW(struct apply_entries, APPLY_ENTRIES, release_apply_entries);
    m->entries = entries_create(last - first + 1, (last - first + 1) * 64);
    for (uint64_t i = first; i <= last; i++) {
        char key[16];
        char value[16];
        uint8_t octets[64];
        struct command c = put_of(i, key, value);
        command_encode(&c, octets);
        struct entry e = {.index = i,
                          .term = 1,
                          .type = ENTRY_COMMAND,
                          .data = view_of(octets, command_size(&c))};
        entries_add(m->entries, &e);
    }
    ACTOR_SEND(r->actors.apply, m);
}

/* What another node's table looks like after `last` entries, in the file of generation 1 here. */
static void receive_table(const struct rig *r, uint64_t last)
{
    struct fixture other;
    struct kv_snapshot *s = NULL;
    struct kv_snapshot_facts facts;
    struct kv_incoming *in = NULL;
    struct kv_meta meta;
    struct sha256 sum;
    uint8_t digest[SHA256_BYTES];
    char problem[TEST_PROBLEM_MAX];
    bool done = false;
    fixture_start(&other);
    for (uint64_t i = 1; i <= last; i++) {
        char key[16];
        char value[16];
        struct command c = put_of(i, key, value);
        CU_ASSERT_EQUAL(fixture_error(&other, &c), OK);
    }
    fixture_flush(&other);
    CU_ASSERT_EQUAL_FATAL(kv_snapshot_begin(other.directory, 0, 0, 0, &s, problem, sizeof(problem)),
                          OK);
    while (!done) {
        CU_ASSERT_EQUAL_FATAL(kv_snapshot_step(s, 1000, &done), OK);
    }
    kv_snapshot_facts(s, &facts);
    uint8_t *octets = mem_alloc(facts.bytes);
    CU_ASSERT_EQUAL_FATAL(kv_snapshot_read(s, 0, octets, facts.bytes), OK);
    sha256_start(&sum);
    sha256_add(&sum, view_of(octets, facts.bytes));
    sha256_finish(&sum, digest);
    const struct kv_incoming_source source = {
        .member = 7, .index = 1, .term = 1, .bytes = facts.bytes};
    CU_ASSERT_EQUAL_FATAL(kv_incoming_begin(r->folder, 0, 1, &source, &in), OK);
    CU_ASSERT_EQUAL(kv_incoming_write(in, 0, view_of(octets, facts.bytes)), OK);
    CU_ASSERT_EQUAL_FATAL(kv_incoming_complete(in, view_of(digest, sizeof(digest)), &meta), OK);
    CU_ASSERT_EQUAL(meta.applied_index, last);
    kv_incoming_close(&in);
    kv_snapshot_close(&s);
    mem_free(octets);
    fixture_end(&other);
}

static void install(struct rig *r)
{
    struct install *m = MSG_NEW(struct install, APPLY_INSTALL, release_install);
    m->generation = 1;
    ACTOR_SEND(r->actors.apply, m);
}

static void ask(struct rig *r, uint64_t number, const char *key, uint64_t read_index)
{
    const struct query q = {.key = view_of_text(key)};
    struct read_request *m = MSG_NEW(struct read_request, APPLY_READ, release_read_request);
    m->request_id = REQUEST_ID(0, number);
    m->read_index = read_index;
    m->deadline_us = UINT64_MAX;
    m->query = query_create(&q);
    ACTOR_SEND(r->actors.apply, m);
}

static void watch_everything(struct rig *r)
{
    struct watch_create *m = MSG_NEW(struct watch_create, WATCH_CREATE, release_watch_create);
    m->stream = STREAM;
    m->key = bytes_copy(view_of("\0", 1));
    m->range_end = bytes_copy(view_of("\0", 1));
    m->start_revision = 2;
    ACTOR_SEND(r->actors.watch, m);
    rounds(r, 4);
}

/* Every message for the client: events in order, and the reply to a read if one came. */
static struct result *client_takes(struct rig *r)
{
    struct result *result = NULL;
    struct msg *m = NULL;
    while ((m = hand_take(r->actors.clients[0])) != NULL) {
        if (m->kind == CLIENT_REPLY) {
            struct client_reply *reply = (struct client_reply *)m;
            CU_ASSERT_EQUAL(reply->error, OK);
            result_free(&result);
            result = reply->result;
            reply->result = NULL;
        } else if (m->kind == CLIENT_WATCH) {
            const struct watch_batch *b = ((struct client_watch *)m)->batch;
            for (size_t i = 0; i < b->response_count; i++) {
                const struct watch_response *w = &b->responses[i];
                CU_ASSERT_NOT_EQUAL(w->kind, WATCH_RESPONSE_REFUSED);
                for (size_t k = 0; k < w->ref_count; k++) {
                    const struct event *e = &b->events.items[b->refs[w->ref_first + k]];
                    CU_ASSERT_EQUAL(change_revision(e->change), r->watched + 1);
                    r->watched = change_revision(e->change);
                }
            }
        }
        msg_free_base(&m);
    }
    return result;
}

static bool there(const struct rig *r, const char *name)
{
    char path[2 * TEST_PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/group-0/%s", r->folder, name);
    return access(path, F_OK) == 0;
}

static uint64_t applied(struct rig *r)
{
    uint64_t index = 0;
    struct msg *m = NULL;
    while ((m = hand_take(r->actors.raft)) != NULL) {
        if (m->kind == RAFT_APPLIED) {
            index = ((struct raft_index *)m)->index;
        }
        msg_free_base(&m);
    }
    return index;
}

static void takes_the_place(void)
{
    struct rig r;
    struct result *result = NULL;
    set_up(&r);
    r.watched = 1;
    hand_out(&r, 1, 15);
    watch_everything(&r);
    rounds(&r, 10);
    result = client_takes(&r);
    CU_ASSERT_PTR_NULL(result);
    CU_ASSERT_EQUAL(r.watched, 16);
    CU_ASSERT_EQUAL(applied(&r), 15);

    receive_table(&r, 200);
    hand_out(&r, 16, 18); /* void: the table holds them */
    install(&r);
    hand_out(&r, 201, 203);
    ask(&r, 1, "k0", 203);
    rounds(&r, 10);
    result = client_takes(&r);
    CU_ASSERT_PTR_NOT_NULL_FATAL(result);
    CU_ASSERT_EQUAL(result->revision, 204);
    CU_ASSERT_EQUAL(result->kv_count, 1);
    CU_ASSERT(view_equal(result->kvs[0].value, view_of_text("v203")));
    result_free(&result);
    CU_ASSERT_EQUAL(r.watched, 204); /* 17 .. 201 from the new table's history, then live */
    CU_ASSERT_EQUAL(applied(&r), 203);
    CU_ASSERT_FALSE(there(&r, "kv-0.db"));
    CU_ASSERT_FALSE(there(&r, "kv-0.db-wal"));
    CU_ASSERT_TRUE(there(&r, "kv-1.db"));

    /* life goes on, to the disk too */
    hand_out(&r, 204, 230);
    rounds(&r, 10);
    result = client_takes(&r);
    CU_ASSERT_EQUAL(r.watched, 231);
    char path[2 * TEST_PATH_MAX];
    char text[64];
    (void)snprintf(path, sizeof(path), "%s/group-0/kv.db", r.folder);
    CU_ASSERT_TRUE(test_sqlite3("-readonly", path, "SELECT applied_index >= 220 FROM meta", text,
                                sizeof(text)));
    CU_ASSERT_STRING_EQUAL(text, "1");
    tear_down(&r);
}

/* While the new table is being opened nothing of the old one is said or written. */
static void nothing_in_between(void)
{
    struct rig r;
    struct result *result = NULL;
    set_up(&r);
    hand_out(&r, 1, 25);
    hand_round(r.actors.apply, ++r.now_us); /* a batch is sealed and on its way to flush */
    receive_table(&r, 100);
    install(&r);
    ask(&r, 1, "k1", 0);
    for (int i = 0; i < 5; i++) {
        hand_round(r.actors.apply, ++r.now_us);
        CU_ASSERT_PTR_NULL(client_takes(&r));
        CU_ASSERT_NOT_EQUAL(r.actors.apply->deadline_us, r.now_us); /* and it does not spin */
    }
    rounds(&r, 6);
    result = client_takes(&r);
    CU_ASSERT_PTR_NOT_NULL_FATAL(result);
    CU_ASSERT_EQUAL(result->revision, 101);
    result_free(&result);
    CU_ASSERT_EQUAL(applied(&r), 100);
    tear_down(&r);
}

SUITE("node: installing a table", TEST(takes_the_place), TEST(nothing_in_between))
