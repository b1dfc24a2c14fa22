/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_copy_actor.c: hashes and copies of kv.db by message: chunks that make up the file and end with its
 * digest, a receiver that does not acknowledge costs a window and delays nobody, receivers share a copy that
 * was begun after both asked, who goes away frees the slot, and bounds are told. Real kv.db.
 * (src/node/copy_actor.c)
 */
#include "hand_runner.h"
#include "node/node.h"

#include "../kv/fixture.h"
#include "../store/store_test.h"

#include "base/sha256.h"

#define WINDOW_BYTES ((uint64_t)512 * 1024)

struct copies {
    struct fixture kv;
    struct node_actors actors;
    struct actor *copy;
    uint64_t now_us;
};

static void set_up(struct copies *c, int keys)
{
    memset(c, 0, sizeof(*c));
    fixture_start(&c->kv);
    for (int i = 0; i < keys; i++) {
        char key[24];
        char value[1000];
        (void)snprintf(key, sizeof(key), "key-%06d", i);
        memset(value, 'x', sizeof(value) - 1);
        value[sizeof(value) - 1] = '\0';
        fixture_put(&c->kv, key, value);
    }
    fixture_flush(&c->kv);
    c->actors.client_count = 1;
    c->actors.clients[0] = hand_receiver();
    c->actors.raft = hand_receiver();
    c->copy = copy_actor_create(c->kv.directory, 0, 0, &c->actors);
    hand_started(c->copy, 1);
}

static void tear_down(struct copies *c)
{
    actor_destroy(c->copy);
    actor_destroy(c->actors.clients[0]);
    actor_destroy(c->actors.raft);
    fixture_end(&c->kv);
}

static void ask(struct copies *c, uint64_t number, bool snapshot, int64_t revision)
{
    struct copy_request *m = MSG_NEW(struct copy_request, COPY_BEGIN, NULL);
    m->number = REQUEST_ID(0, number);
    m->snapshot = snapshot;
    m->hash_revision = revision;
    m->revision = 1000 + (int64_t)number;
    ACTOR_SEND(c->copy, m);
}

static void tell(struct copies *c, uint64_t number, uint32_t kind, uint64_t bytes)
{
    struct copy_ack *m = MSG_NEW(struct copy_ack, kind, NULL);
    m->number = REQUEST_ID(0, number);
    m->bytes = bytes;
    ACTOR_SEND(c->copy, m);
}

/* Rounds until it has nothing to do but wait. */
static void work(struct copies *c)
{
    hand_round(c->copy, ++c->now_us);
    while (c->copy->deadline_us <= c->now_us) {
        hand_round(c->copy, c->now_us);
    }
}

static struct client_copy *take(struct copies *c)
{
    return (struct client_copy *)hand_find(c->actors.clients[0], CLIENT_COPY);
}

/* What receivers 1 to 7 got. */
struct received {
    struct buffer octets;
    uint64_t outstanding;
    bool ended;
    enum err error;
    uint8_t digest[SHA256_BYTES];
};

static void receive(struct copies *c, struct received all[8])
{
    struct client_copy *m = NULL;
    while ((m = take(c)) != NULL) {
        struct received *r = &all[m->number & 7];
        CU_ASSERT_FALSE(r->ended);
        if (m->error != OK) {
            r->error = m->error;
            r->ended = true;
        } else if (m->last) {
            CU_ASSERT_EQUAL_FATAL(m->octets.size, SHA256_BYTES);
            memcpy(r->digest, m->octets.data, SHA256_BYTES);
            r->ended = true;
        } else {
            buffer_append(&r->octets, m->octets.data, m->octets.size);
            r->outstanding += m->octets.size;
        }
        MSG_FREE(m);
    }
}

/* To the end, acknowledging everything. */
static void receive_all(struct copies *c, uint64_t number, struct received all[8])
{
    work(c);
    receive(c, all);
    while (!all[number].ended) {
        CU_ASSERT_FATAL(all[number].outstanding > 0);
        tell(c, number, COPY_ACK, all[number].outstanding);
        all[number].outstanding = 0;
        work(c);
        receive(c, all);
    }
}

static void check_file(struct received *r, const char *rows)
{
    struct sha256 s;
    uint8_t digest[SHA256_BYTES];
    char folder[TEST_PATH_MAX];
    char path[2 * TEST_PATH_MAX];
    char text[64];
    sha256_start(&s);
    sha256_add(&s, view_of(r->octets.data, r->octets.size));
    sha256_finish(&s, digest);
    CU_ASSERT_EQUAL(r->error, OK);
    CU_ASSERT_EQUAL(memcmp(digest, r->digest, sizeof(digest)), 0);
    CU_ASSERT_EQUAL(r->octets.size % 512, 0);
    test_folder_make(folder);
    test_file_write(folder, "copy.db", view_of(r->octets.data, r->octets.size));
    (void)snprintf(path, sizeof(path), "%s/copy.db", folder);
    CU_ASSERT_TRUE(
        test_sqlite3("-readonly", path, "SELECT count(*) FROM kv_readable", text, sizeof(text)));
    CU_ASSERT_STRING_EQUAL(text, rows);
    test_folder_remove(folder);
    buffer_free(&r->octets);
}

static bool slot_exists(const struct copies *c, int slot)
{
    char path[2 * TEST_PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/group-0/snapshot-%d.db", c->kv.directory, slot);
    return access(path, F_OK) == 0;
}

static void a_copy_in_chunks(void)
{
    struct copies c;
    struct received all[8] = {0};
    set_up(&c, 3000);
    ask(&c, 1, true, 0);
    receive_all(&c, 1, all);
    CU_ASSERT(all[1].octets.size > 3000 * 1000);
    check_file(&all[1], "3000");
    CU_ASSERT_FALSE(slot_exists(&c, 0));
    tear_down(&c);
}

static void who_does_not_read_costs_a_window(void)
{
    struct copies c;
    struct received all[8] = {0};
    set_up(&c, 3000);
    ask(&c, 1, true, 0);
    ask(&c, 2, true, 0);
    receive_all(&c, 2, all);
    check_file(&all[2], "3000");
    CU_ASSERT_FALSE(all[1].ended);
    CU_ASSERT_EQUAL(all[1].octets.size, WINDOW_BYTES);
    CU_ASSERT_TRUE(slot_exists(&c, 0));
    CU_ASSERT_FALSE(slot_exists(&c, 1)); /* both read the same copy */

    /* who comes later gets a later one */
    fixture_put(&c.kv, "later", "value");
    fixture_flush(&c.kv);
    ask(&c, 3, true, 0);
    receive_all(&c, 3, all);
    check_file(&all[3], "3001");

    tell(&c, 1, COPY_CANCEL, 0);
    tell(&c, 1, COPY_ACK, all[1].outstanding); /* on its way when it went */
    work(&c);
    CU_ASSERT_FALSE(slot_exists(&c, 0));
    CU_ASSERT_FALSE(slot_exists(&c, 1));
    buffer_free(&all[1].octets);
    tear_down(&c);
}

static void hashes_of_two_members(void)
{
    struct copies c;
    struct copies d;
    struct client_copy *m = NULL;
    struct client_copy *n = NULL;
    set_up(&c, 2500);
    set_up(&d, 2500);
    ask(&c, 1, false, 0);
    ask(&d, 9, false, 2501);
    work(&c);
    work(&d);
    m = take(&c);
    n = take(&d);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_PTR_NOT_NULL_FATAL(n);
    CU_ASSERT_EQUAL(m->error, OK);
    CU_ASSERT_EQUAL(m->hash.hash, n->hash.hash);
    CU_ASSERT_EQUAL(m->hash.revision, 2501);
    CU_ASSERT_EQUAL(m->revision, 1001);
    MSG_FREE(m);
    MSG_FREE(n);
    ask(&c, 2, false, 2502);
    ask(&c, 3, false, 2500);
    work(&c);
    m = take(&c);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->error, ERR_FUTURE_REVISION);
    MSG_FREE(m);
    m = take(&c);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->error, OK);
    MSG_FREE(m);
    tear_down(&c);
    tear_down(&d);
}

static void too_many_are_refused(void)
{
    struct copies c;
    size_t refused = 0;
    size_t answered = 0;
    struct client_copy *m = NULL;
    set_up(&c, 10);
    for (uint64_t i = 1; i <= 70; i++) {
        ask(&c, i, false, 0);
    }
    tell(&c, 5, COPY_CANCEL, 0);
    work(&c);
    while ((m = take(&c)) != NULL) {
        CU_ASSERT_NOT_EQUAL(m->number, REQUEST_ID(0, 5));
        refused += m->error == ERR_OVERLOAD;
        answered += m->error == OK;
        MSG_FREE(m);
    }
    CU_ASSERT_EQUAL(refused, 6);
    CU_ASSERT_EQUAL(answered, 63);
    for (uint64_t i = 1; i <= 17; i++) {
        ask(&c, i, true, 0);
    }
    hand_round(c.copy, 1000);
    m = take(&c);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->error, ERR_OVERLOAD);
    CU_ASSERT_EQUAL(m->number, REQUEST_ID(0, 17));
    MSG_FREE(m);
    tear_down(&c);
}

/* What a process that was killed left is gone after the start. */
static void leftovers_are_removed(void)
{
    struct copies c;
    set_up(&c, 10);
    test_file_write(c.kv.directory, "group-0/snapshot-1.db", view_of_text("half a copy"));
    CU_ASSERT_TRUE(slot_exists(&c, 1));
    struct actor *again = copy_actor_create(c.kv.directory, 0, 0, &c.actors);
    hand_started(again, 2);
    CU_ASSERT_FALSE(slot_exists(&c, 1));
    actor_destroy(again);
    tear_down(&c);
}

/* Two who do not read hold both slots; a third one would wait for ever. */
static void who_does_not_read_is_given_up(void)
{
    struct copies c;
    struct received all[8] = {0};
    set_up(&c, 3000);
    ask(&c, 1, true, 0);
    work(&c);
    ask(&c, 2, true, 0);
    work(&c);
    receive(&c, all);
    CU_ASSERT_TRUE(slot_exists(&c, 0));
    CU_ASSERT_TRUE(slot_exists(&c, 1));
    c.now_us += 30 * UINT64_C(1000000);
    tell(&c, 2, COPY_ACK, 32768); /* slow, and it reads */
    ask(&c, 3, true, 0);
    work(&c);
    receive(&c, all);
    CU_ASSERT_FALSE(all[1].ended);
    CU_ASSERT_EQUAL(all[3].octets.size, 0);
    CU_ASSERT_TRUE_FATAL(c.copy->deadline_us < UINT64_MAX);
    c.now_us = c.copy->deadline_us;
    receive_all(&c, 3, all);
    CU_ASSERT_TRUE(all[1].ended);
    CU_ASSERT_EQUAL(all[1].error, ERR_TIMEOUT);
    CU_ASSERT_FALSE(all[2].ended);
    check_file(&all[3], "3000");
    buffer_free(&all[1].octets);
    buffer_free(&all[2].octets);
    tear_down(&c);
}

/* ---- for members ---------------------------------------------------------------------------------- */

#define MEMBER 77

/* Have a copy made for the member, as often as it is asked; returns its octets. */
static uint64_t member_ready(struct copies *c)
{
    struct copy_request *m = MSG_NEW(struct copy_request, COPY_BEGIN, NULL);
    m->snapshot = true;
    m->member = MEMBER;
    ACTOR_SEND(c->copy, m);
    work(c);
    struct snapshot_ready *ready =
        (struct snapshot_ready *)hand_find(c->actors.raft, RAFT_SNAPSHOT_READY);
    CU_ASSERT_PTR_NOT_NULL_FATAL(ready);
    CU_ASSERT_EQUAL_FATAL(ready->error, OK);
    uint64_t bytes = ready->total_bytes;
    MSG_FREE(ready);
    return bytes;
}

static void member_go(struct copies *c, uint64_t offset, bool again)
{
    struct copy_go *m = MSG_NEW(struct copy_go, COPY_GO, NULL);
    m->member = MEMBER;
    m->offset = offset;
    m->again = again;
    ACTOR_SEND(c->copy, m);
    work(c);
}

static void chunks_lose(struct copies *c)
{
    struct msg *m = NULL;
    while ((m = hand_take(c->actors.raft)) != NULL) {
        msg_free_base(&m);
    }
}

/* The member takes what follows, until it has `until` octets or all and the digest: then true. */
static bool member_take(struct copies *c, struct buffer *octets, uint64_t until, uint8_t *digest)
{
    struct snapshot_chunk *m = NULL;
    while (octets->size < until &&
           (m = (struct snapshot_chunk *)hand_take(c->actors.raft)) != NULL) {
        CU_ASSERT_EQUAL_FATAL(m->base.kind, RAFT_SNAPSHOT_CHUNK);
        CU_ASSERT_EQUAL_FATAL(m->offset, octets->size);
        bool done = m->done;
        if (done) {
            CU_ASSERT_EQUAL_FATAL(m->octets.size, SHA256_BYTES);
            memcpy(digest, m->octets.data, SHA256_BYTES);
        } else {
            buffer_append(octets, m->octets.data, m->octets.size);
        }
        MSG_FREE(m);
        if (done) {
            return true;
        }
        member_go(c, octets->size, false);
    }
    return false;
}

/* A member goes on at what it has of an earlier copy, which this sender never read (it was made anew in between), or
 * in the middle of what it was sent before (it was killed while it wrote): it gets the rest and the digest of the
 * whole. (trap 48) */
static void a_member_goes_on_where_it_is(void)
{
    struct copies c;
    uint8_t digests[3][SHA256_BYTES];
    uint8_t expected[SHA256_BYTES];
    struct buffer octets = {0};
    struct sha256 s;
    set_up(&c, 3000);
    uint64_t bytes = member_ready(&c);
    member_go(&c, 0, false);
    CU_ASSERT_TRUE(member_take(&c, &octets, UINT64_MAX, digests[0]));
    CU_ASSERT_EQUAL_FATAL(octets.size, bytes);
    sha256_start(&s);
    sha256_add(&s, view_of(octets.data, octets.size));
    sha256_finish(&s, expected);
    CU_ASSERT_EQUAL(memcmp(digests[0], expected, SHA256_BYTES), 0);

    CU_ASSERT_EQUAL(member_ready(&c), bytes); /* again, from the beginning */
    octets.size = 2000000;
    member_go(&c, 0, false); /* its first chunk; the answer to it says where the member is */
    chunks_lose(&c);
    member_go(&c, octets.size, false);
    CU_ASSERT_FALSE(member_take(&c, &octets, 2300000, digests[1]));
    octets.size -= 1000; /* the last of it was not written */
    chunks_lose(&c);
    member_go(&c, octets.size, true);
    CU_ASSERT_TRUE(member_take(&c, &octets, UINT64_MAX, digests[1]));
    CU_ASSERT_EQUAL(octets.size, bytes);
    CU_ASSERT_EQUAL(memcmp(digests[1], expected, SHA256_BYTES), 0);

    octets.size = bytes - 500; /* the end is said twice */
    member_go(&c, octets.size, true);
    CU_ASSERT_TRUE(member_take(&c, &octets, UINT64_MAX, digests[2]));
    CU_ASSERT_EQUAL(memcmp(digests[2], expected, SHA256_BYTES), 0);
    buffer_free(&octets);
    tear_down(&c);
}

static void expect_taken(struct copies *c, uint64_t total_bytes, size_t size, uint64_t offset)
{
    struct snapshot_chunk *m = MSG_NEW(struct snapshot_chunk, COPY_CHUNK, release_snapshot_chunk);
    m->member = MEMBER;
    m->index = 9;
    m->term = 1;
    m->total_bytes = total_bytes;
    m->octets = (struct bytes){.data = mem_zalloc(size), .size = size};
    ACTOR_SEND(c->copy, m);
    work(c);
    struct snapshot_taken *taken =
        (struct snapshot_taken *)hand_find(c->actors.raft, RAFT_CHUNK_TAKEN);
    CU_ASSERT_PTR_NOT_NULL_FATAL(taken);
    CU_ASSERT_EQUAL(taken->error, OK);
    CU_ASSERT_EQUAL(taken->offset, offset);
    MSG_FREE(taken);
}

/* As of the same entry and yet another file: what came of the first one is no beginning of it. */
static void a_copy_of_another_size_begins_anew(void)
{
    struct copies c;
    set_up(&c, 10);
    expect_taken(&c, 8192, 4096, 4096);
    expect_taken(&c, 8192, 100, 4096); /* said again: this is how far we are */
    expect_taken(&c, 4096, 1000, 1000);
    tear_down(&c);
}

/* Trap 47: raft takes no other table before it hears that this one has taken over here; the next one lies beside it. */
static void raft_hears_that_the_next_table_may_come(void)
{
    struct copies c;
    set_up(&c, 10);
    expect_taken(&c, 8192, 4096, 4096);
    struct raft_index *m = MSG_NEW(struct raft_index, COPY_INSTALL, NULL);
    m->index = 1;
    ACTOR_SEND(c.copy, m);
    work(&c);
    m = (struct raft_index *)hand_find(c.actors.raft, RAFT_INSTALLED);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->index, 1);
    MSG_FREE(m);
    expect_taken(&c, 4096, 1000, 1000);
    tear_down(&c);
}

/* More than there is: it cannot be a beginning of this copy. */
static void a_member_of_another_copy_is_refused(void)
{
    struct copies c;
    set_up(&c, 10);
    uint64_t bytes = member_ready(&c);
    member_go(&c, bytes + 1, false);
    struct snapshot_ready *m =
        (struct snapshot_ready *)hand_find(c.actors.raft, RAFT_SNAPSHOT_READY);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->error, ERR_INVALID);
    MSG_FREE(m);
    work(&c);
    CU_ASSERT_FALSE(slot_exists(&c, 0));
    tear_down(&c);
}

SUITE("node: copy actor", TEST(a_member_goes_on_where_it_is),
      TEST(a_member_of_another_copy_is_refused), TEST(a_copy_of_another_size_begins_anew),
      TEST(raft_hears_that_the_next_table_may_come), TEST(a_copy_in_chunks),
      TEST(who_does_not_read_costs_a_window), TEST(who_does_not_read_is_given_up),
      TEST(hashes_of_two_members), TEST(too_many_are_refused), TEST(leftovers_are_removed))
