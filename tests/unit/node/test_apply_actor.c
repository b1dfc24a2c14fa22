/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_apply_actor.c: shows that a read is let go once its client has been told: while it waits for an
 * index that is never applied, and while others are worked on before it; and that reads that are in time
 * are answered, at their index and not before (trap 33); and what waits for kv.db, until it is there or
 * unwanted. Real kv.db. (src/node/apply_actor.c)
 */
#include "hand_runner.h"
#include "node/apply_actor.h"
#include "node/node.h"

#include "../store/store_test.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND_US UINT64_C(1000000)

struct fixture {
    char folder[TEST_PATH_MAX];
    struct kv_writer *writer;
    struct node_actors actors;
    struct actor *apply;
};

static size_t released;

static void count_read(struct msg *m)
{
    released++;
    release_read_request(m);
}

static void set_up(struct fixture *f)
{
    char problem[512] = "";
    struct kv_meta meta;
    struct kv_reader *reader = NULL;
    const struct kv_limits limits = {.batch_changes_max = 100000,
                                     .batch_bytes_max = 64 << 20,
                                     .batch_age_us = 3600 * SECOND_US,
                                     .overlay_bytes_max = 256 << 20,
                                     .cache_bytes_max = 1 << 20};
    memset(f, 0, sizeof(*f));
    released = 0;
    test_folder_make(f->folder);
    CU_ASSERT_EQUAL_FATAL(
        kv_writer_open(f->folder, 0, 0, &f->writer, &meta, problem, sizeof(problem)), OK);
    CU_ASSERT_EQUAL_FATAL(kv_reader_open(f->folder, 0, 0, &reader, problem, sizeof(problem)), OK);
    f->actors.raft = hand_receiver();
    f->actors.flush = hand_receiver();
    f->actors.copy = hand_receiver();
    f->actors.client_count = 1;
    f->actors.clients[0] = hand_receiver();
    f->apply = apply_actor_create(kv_create(&reader, &meta, &limits), 7, NULL, &f->actors);
    hand_started(f->apply, SECOND_US);
}

static void tear_down(struct fixture *f)
{
    actor_destroy(f->apply);
    actor_destroy(f->actors.raft);
    actor_destroy(f->actors.flush);
    actor_destroy(f->actors.copy);
    actor_destroy(f->actors.clients[0]);
    kv_writer_close(&f->writer);
    test_folder_remove(f->folder);
}

static void ask(struct fixture *f, uint64_t number, uint64_t read_index, uint64_t deadline_us)
{
    /* All keys: from the least key on, without end. */
    const struct query all = {.key = view_of("\0", 1), .range_end = view_of("\0", 1)};
    struct read_request *m = MSG_NEW(struct read_request, APPLY_READ, count_read);
    m->request_id = REQUEST_ID(0, number);
    m->read_index = read_index;
    m->deadline_us = deadline_us;
    m->query = query_create(&all);
    ACTOR_SEND(f->apply, m);
}

/* Entries first..last, each a put of a key of its own. */
static void apply_puts(struct fixture *f, uint64_t first, uint64_t last)
{
    struct apply_entries *m = MSG_NEW(struct apply_entries, APPLY_ENTRIES, release_apply_entries);
    m->entries = entries_create(last - first + 1, (last - first + 1) * 64);
    for (uint64_t i = first; i <= last; i++) {
        char key[24];
        uint8_t octets[64];
        (void)snprintf(key, sizeof(key), "k%08" PRIu64, i);
        struct command c = {.op = COMMAND_PUT, .key = view_of_text(key)};
        command_encode(&c, octets);
        struct entry e = {.index = i,
                          .term = 1,
                          .type = ENTRY_COMMAND,
                          .data = view_of(octets, command_size(&c))};
        entries_add(m->entries, &e);
    }
    ACTOR_SEND(f->apply, m);
}

static size_t answers(struct fixture *f)
{
    size_t count = 0;
    struct msg *m = NULL;
    while ((m = hand_find(f->actors.clients[0], CLIENT_REPLY)) != NULL) {
        CU_ASSERT_EQUAL(((struct client_reply *)m)->error, OK);
        msg_free_base(&m);
        count++;
    }
    return count;
}

static void waits_for_its_index_or_its_time(void)
{
    struct fixture f;
    set_up(&f);
    for (uint64_t i = 1; i <= 10; i++) {
        ask(&f, i, 5, 3 * SECOND_US);
    }
    ask(&f, 11, 5, 9 * SECOND_US);
    hand_round(f.apply, 2 * SECOND_US);
    CU_ASSERT_EQUAL(released, 0);
    /* Nothing is applied; the actor looks by itself when the first have been told. */
    CU_ASSERT_TRUE_FATAL(f.apply->deadline_us > 2 * SECOND_US);
    CU_ASSERT_TRUE_FATAL(f.apply->deadline_us <= 4 * SECOND_US);
    hand_round(f.apply, f.apply->deadline_us);
    CU_ASSERT_EQUAL(released, 10);
    CU_ASSERT_TRUE(f.apply->deadline_us > 9 * SECOND_US);
    CU_ASSERT_EQUAL(answers(&f), 0);

    apply_puts(&f, 1, 4);
    hand_round(f.apply, 5 * SECOND_US);
    CU_ASSERT_EQUAL(answers(&f), 0); /* one entry short */
    apply_puts(&f, 5, 5);
    hand_round(f.apply, 6 * SECOND_US);
    CU_ASSERT_EQUAL(answers(&f), 1);
    CU_ASSERT_EQUAL(released, 11);
    tear_down(&f);
}

/* Answers are charged to the credit for octets until they are sent; without credit a read is refused. */
static void large_answers_need_credit(void)
{
    struct fixture f;
    set_up(&f);
    struct credits *credits = credits_create(120 * 1000);
    f.actors.answer_bytes = credits;
    hand_started(f.apply, SECOND_US); /* copies the links again */
    apply_puts(&f, 1, 12000);         /* 108 kB of keys */
    hand_round(f.apply, SECOND_US);

    ask(&f, 1, 0, 100 * SECOND_US);
    ask(&f, 2, 0, 100 * SECOND_US);
    ask(&f, 3, 0, 100 * SECOND_US);
    for (uint64_t i = 0; i < 60; i++) {
        hand_round(f.apply, 2 * SECOND_US + i);
    }
    size_t sent = 0;
    size_t refused = 0;
    struct msg *m = NULL;
    while ((m = hand_find(f.actors.clients[0], CLIENT_REPLY)) != NULL) {
        const struct client_reply *answer = (struct client_reply *)m;
        sent += answer->error == OK;
        refused += answer->error == ERR_OVERLOAD;
        if (answer->error == OK) {
            CU_ASSERT_EQUAL(answer->result->kv_count, 12000);
            CU_ASSERT_TRUE(answer->charged >= 65536);
            CU_ASSERT_TRUE(credits_left(credits) <= 120 * 1000 - answer->charged);
        }
        msg_free_base(&m);
    }
    CU_ASSERT_EQUAL(sent, 1);
    CU_ASSERT_EQUAL(refused, 2);
    CU_ASSERT_EQUAL(credits_left(credits), 120 * 1000);

    ask(&f, 4, 0, 100 * SECOND_US); /* begun, and dropped with the actor */
    hand_round(f.apply, 3 * SECOND_US);
    tear_down(&f);
    CU_ASSERT_EQUAL(credits_left(credits), 120 * 1000);
    credits_destroy(credits);
}

/* Large reads, each of several slices: those too late are dropped, begun or not; the others finish. */
static void late_reads_are_not_worked_on(void)
{
    struct fixture f;
    set_up(&f);
    apply_puts(&f, 1, 3000);
    hand_round(f.apply, SECOND_US);
    for (uint64_t i = 1; i <= 100; i++) {
        ask(&f, i, 0, i <= 90 ? 3 * SECOND_US : 9 * SECOND_US);
    }
    hand_round(f.apply, 2 * SECOND_US);
    CU_ASSERT_EQUAL(answers(&f), 0); /* 3,000 rows are more than two slices */
    hand_round(f.apply, 4 * SECOND_US);
    CU_ASSERT_EQUAL(released, 90);
    for (int i = 0; i < 20 && f.apply->deadline_us == 4 * SECOND_US; i++) {
        hand_round(f.apply, 4 * SECOND_US);
    }
    CU_ASSERT_EQUAL(answers(&f), 10);
    CU_ASSERT_EQUAL(released, 100);
    tear_down(&f);
}

static void apply_compaction(struct fixture *f, uint64_t index, int64_t revision, bool barrier)
{
    struct apply_entries *m = MSG_NEW(struct apply_entries, APPLY_ENTRIES, release_apply_entries);
    const struct command c = {
        .op = COMMAND_COMPACT, .flags = COMMAND_PHYSICAL, .revision = revision};
    uint8_t octets[64];
    command_encode(&c, octets);
    const struct entry e = {.index = index,
                            .term = 1,
                            .type = ENTRY_COMMAND,
                            .origin = 7,
                            .request_id = REQUEST_ID(0, index),
                            .data = view_of(octets, command_size(&c))};
    m->entries = entries_create(1, 64);
    entries_add(m->entries, &e);
    m->barrier_count = barrier ? 1 : 0;
    m->barriers[0] = barrier ? REQUEST_ID(0, index) : 0;
    ACTOR_SEND(f->apply, m);
}

/* A physical compaction is answered when kv.db is that far; or before a barrier, which would else tell the
 * client that it was not carried out. */
static void physical_compactions_wait(void)
{
    struct fixture f;
    set_up(&f);
    apply_puts(&f, 1, 9);
    apply_compaction(&f, 10, 5, false);
    apply_compaction(&f, 11, 7, false);
    hand_round(f.apply, 2 * SECOND_US);
    CU_ASSERT_EQUAL(answers(&f), 0);
    struct apply_compacted *told = MSG_NEW(struct apply_compacted, APPLY_COMPACTED, NULL);
    told->revision = 6;
    ACTOR_SEND(f.apply, told);
    hand_round(f.apply, 2 * SECOND_US);
    CU_ASSERT_EQUAL(answers(&f), 1);
    apply_compaction(&f, 12, 8, true);
    hand_round(f.apply, 2 * SECOND_US);
    CU_ASSERT_EQUAL(answers(&f), 2);
    tear_down(&f);
}

static void ask_copy(struct fixture *f, uint64_t number)
{
    struct copy_request *m = MSG_NEW(struct copy_request, APPLY_COPY, NULL);
    m->number = REQUEST_ID(0, number);
    ACTOR_SEND(f->apply, m);
}

static void cancel_copy(struct fixture *f, uint64_t number)
{
    struct copy_ack *m = MSG_NEW(struct copy_ack, APPLY_COPY_CANCEL, NULL);
    m->number = REQUEST_ID(0, number);
    ACTOR_SEND(f->apply, m);
}

static void expect_copy(struct fixture *f, uint32_t kind, uint64_t number)
{
    struct msg *m = hand_take(f->actors.copy);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->kind, kind);
    CU_ASSERT_EQUAL(kind == COPY_BEGIN ? ((struct copy_request *)m)->number
                                       : ((struct copy_ack *)m)->number,
                    REQUEST_ID(0, number));
    msg_free_base(&m);
}

/* Requests for copies wait for kv.db. Who goes away meanwhile is forgotten here, who goes away later there: a cancel
 * never comes before what it cancels. */
static void copies_are_cancelled_where_they_are(void)
{
    struct fixture f;
    set_up(&f);
    apply_puts(&f, 1, 3);
    for (uint64_t i = 1; i <= 3; i++) {
        ask_copy(&f, i);
    }
    cancel_copy(&f, 2);
    hand_round(f.apply, 2 * SECOND_US);
    CU_ASSERT_PTR_NULL(hand_take(f.actors.copy));
    struct flush_batch *batch = (struct flush_batch *)hand_find(f.actors.flush, FLUSH_BATCH);
    CU_ASSERT_PTR_NOT_NULL_FATAL(batch);
    struct apply_flushed *m = MSG_NEW(struct apply_flushed, APPLY_FLUSHED, NULL);
    m->batch_number = batch->batch->number;
    CU_ASSERT_EQUAL_FATAL(kv_writer_write(f.writer, batch->batch), OK);
    MSG_FREE(batch);
    ACTOR_SEND(f.apply, m);
    cancel_copy(&f, 3);
    ask_copy(&f, 4);
    cancel_copy(&f, 4);
    hand_round(f.apply, 2 * SECOND_US);
    expect_copy(&f, COPY_BEGIN, 1);
    expect_copy(&f, COPY_BEGIN, 3);
    expect_copy(&f, COPY_CANCEL, 3);
    expect_copy(&f, COPY_BEGIN, 4);
    expect_copy(&f, COPY_CANCEL, 4);
    CU_ASSERT_PTR_NULL(hand_take(f.actors.copy));
    tear_down(&f);
}

/* ---- errors of the disk ------------------------------------------------------------------------------------ */

static void read_all(struct fixture *f)
{
    ask(f, 1, 0, 9 * SECOND_US);
}

static void put_one(struct fixture *f)
{
    apply_puts(f, 1, 1);
}

/* In a process of its own, a person drops a table of kv.db and then this is asked. What the process said at its end, by
 * SIGABRT: that is what the hand's actor_fatal does. */
static void dies_of(void (*ask_for)(struct fixture *f), char *said, size_t size)
{
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    pid_t child = fork();
    CU_ASSERT_TRUE_FATAL(child >= 0);
    if (child == 0) {
        struct fixture f;
        char path[TEST_PATH_MAX + 32];
        sqlite3 *person = NULL;
        set_up(&f);
        (void)dup2(ends[1], STDERR_FILENO);
        (void)fprintf(stderr, "%s\n", f.folder);
        (void)snprintf(path, sizeof(path), "%s/group-0/kv.db", f.folder);
        if (sqlite3_open_v2(path, &person, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
            sqlite3_exec(person, "DROP VIEW kv_readable; DROP TABLE current", NULL, NULL, NULL) ==
                SQLITE_OK) {
            ask_for(&f);
            hand_round(f.apply, 2 * SECOND_US);
        }
        _exit(0);
    }
    (void)close(ends[1]);
    size_t used = 0;
    ssize_t got = 0;
    while (used + 1 < size && (got = read(ends[0], said + used, size - 1 - used)) > 0) {
        used += (size_t)got;
    }
    said[used] = '\0';
    (void)close(ends[0]);
    int status = 0;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    char *end = strchr(said, '\n');
    CU_ASSERT_PTR_NOT_NULL_FATAL(end);
    *end = '\0';
    test_folder_remove(said);
    *end = '\n';
}

/* Trap 19: an entry that cannot be applied, or a read that cannot be answered, for the disk's sake ends the process. It
 * is neither skipped nor answered with less: the other nodes could. */
static void an_error_of_the_disk_is_the_end(void)
{
    char said[4096];
    char code[32];
    (void)snprintf(code, sizeof(code), "(exit code %d)", (int)EXIT_CODE_DISK);
    dies_of(read_all, said, sizeof(said));
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "action=read"));
    CU_ASSERT_PTR_NOT_NULL(strstr(said, code));
    dies_of(put_one, said, sizeof(said));
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "action=apply"));
    CU_ASSERT_PTR_NOT_NULL(strstr(said, code));
}

SUITE("node: apply actor", TEST(an_error_of_the_disk_is_the_end),
      TEST(copies_are_cancelled_where_they_are), TEST(physical_compactions_wait),
      TEST(waits_for_its_index_or_its_time), TEST(large_answers_need_credit),
      TEST(late_reads_are_not_worked_on))
