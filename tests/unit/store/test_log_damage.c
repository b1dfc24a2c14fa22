/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every way in which a raft.db can come back with less or other than it had acknowledged, and what is
 * found and made of it (trap 22, design: "Damaged"). And what looks like damage but is not: a torn tail
 * after a power cut must never take away a node's vote, or a whole cluster could lock itself out.
 *
 * The files are those of a process that ended without closing anything.
 */
#include "store_test.h"

#include "store/raft_mark.h"

#define STEP_COUNT 6

/* What the persists of a scenario leave behind, in order; [0] is the empty log. */
struct step {
    uint64_t term, vote, last_index, last_term;
};

static const struct step steps[STEP_COUNT + 1] = {
    {0, 0, 0, 0}, {1, 7, 2, 1},  {1, 7, 4, 1},  {1, 7, 6, 1},
    {1, 7, 8, 1}, {1, 7, 10, 1}, {1, 7, 60, 1},
};

static enum err take_step(struct log_db *db, size_t i)
{
    const struct step *s = &steps[i];
    return test_persist(db, i, s->term, s->vote, 0,
                        test_entries(steps[i - 1].last_index + 1, s->last_index, s->term, 200));
}

/* Run `work` in a process that then ends as if killed: nothing is closed. */
static void in_dying_process(const char *folder, void (*work)(const char *folder))
{
    pid_t child = fork();
    if (child == 0) {
        work(folder);
        _exit(0);
    }
    int status = 0;
    CU_ASSERT_EQUAL_FATAL(waitpid(child, &status, 0), child);
    CU_ASSERT_TRUE_FATAL(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static struct log_db *child_open(const char *folder)
{
    struct log_recovered found;
    struct log_db *db = test_log_open(folder);
    if (db == NULL || log_db_recover(db, 0, &kv_empty, &found) != OK) {
        _exit(1);
    }
    log_recovered_free(&found);
    return db;
}

/* raft.mark as it was after step i stays as mark-<i>. */
static void child_keep_mark(const char *folder, size_t i)
{
    char name[32];
    struct bytes mark;
    if (!test_file_read(folder, "raft.mark", &mark)) {
        _exit(1);
    }
    (void)snprintf(name, sizeof(name), "mark-%zu", i);
    test_file_write(folder, name, bytes_view(&mark));
    bytes_free(&mark);
}

static void work_steps(const char *folder)
{
    struct log_db *db = child_open(folder);
    for (size_t i = 1; i <= STEP_COUNT; i++) {
        if (take_step(db, i) != OK) {
            _exit(1);
        }
        child_keep_mark(folder, i);
    }
}

static void work_open_only(const char *folder)
{
    if (test_log_open(folder) == NULL) {
        _exit(1);
    }
}

/* Folder in memory where there is one: the flips open a database tens of thousands of times. */
static void fast_folder(char out[TEST_PATH_MAX])
{
    if (access("/dev/shm", W_OK) == 0) {
        (void)snprintf(out, TEST_PATH_MAX, "/dev/shm/holdfast-test-XXXXXX");
        if (mkdtemp(out) != NULL) {
            return;
        }
    }
    test_folder_make(out);
}

static bool is_step(const struct log_recovered *r, size_t i)
{
    return r->persist_sequence == i && r->current_term == steps[i].term &&
           r->voted_for == steps[i].vote && r->last_log_index == steps[i].last_index &&
           r->last_log_term == steps[i].last_term;
}

enum outcome {
    OUTCOME_WHOLE,   /* everything is there, no damage said */
    OUTCOME_DAMAGED, /* said, and the node may not vote */
    OUTCOME_REFUSED, /* said, and the node does not start */
    OUTCOME_LESS,    /* less is there and nothing said: what must not be after an acknowledgement */
};

/* Open the files; *found_step is the step they are at when undamaged. */
static enum outcome look(const char *folder, const struct kv_meta *kv, size_t whole_step,
                         size_t *found_step)
{
    char problem[TEST_PROBLEM_MAX];
    struct log_db *db = NULL;
    struct log_recovered found = {0};
    enum err error = log_db_open(folder, "demo", "n1", 1, &db, problem, sizeof(problem));
    if (error == OK) {
        error = log_db_recover(db, 0, kv, &found);
    }
    enum outcome outcome = OUTCOME_LESS;
    if (error != OK) {
        outcome = OUTCOME_REFUSED;
    } else if (found.damaged) {
        CU_ASSERT_TRUE(found.may_not_vote);
        CU_ASSERT_NOT_EQUAL(found.damage_text[0], '\0');
        outcome = OUTCOME_DAMAGED;
    } else {
        for (size_t i = 0; i <= STEP_COUNT; i++) {
            if (is_step(&found, i)) {
                *found_step = i;
                outcome = i == whole_step ? OUTCOME_WHOLE : OUTCOME_LESS;
            }
        }
    }
    log_recovered_free(&found);
    log_db_close(&db);
    return outcome;
}

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Frames are 24 + 4096 octets behind a head of 32; a commit frame has a size in its second word. */
#define FRAME 4120
static size_t frame_count(const struct bytes *wal)
{
    return (wal->size - 32) / FRAME;
}

/* Commit frames at or behind frame `from` (from 0). */
static size_t commits_from(const struct bytes *wal, size_t from)
{
    size_t count = 0;
    for (size_t i = from; i < frame_count(wal); i++) {
        count += big_endian(wal->data + 32 + i * FRAME + 4) != 0;
    }
    return count;
}

/* The heads of the WAL and of all frames octet by octet, pages every 16th. */
static bool worth_flipping(size_t at)
{
    return at < 32 || (at - 32) % FRAME < 24 || at % 16 == 5;
}

/* Trap 22: flip each octet of the WAL in turn. With the mark as kill -9 leaves it, every flip is
 * harmless or said. */
static void each_flip_is_harmless_or_said(void)
{
    char folder[TEST_PATH_MAX];
    struct test_files files;
    fast_folder(folder);
    in_dying_process(folder, work_steps);
    test_files_read(folder, &files);
    CU_ASSERT_TRUE_FATAL(frame_count(&files.wal) > 12);

    size_t step = 0;
    test_files_write(folder, &files);
    CU_ASSERT_EQUAL_FATAL(look(folder, &kv_empty, STEP_COUNT, &step), OUTCOME_WHOLE);

    size_t said = 0;
    size_t silent = 0;
    for (size_t at = 0; at < files.wal.size; at++) {
        if (!worth_flipping(at)) {
            continue;
        }
        files.wal.data[at] ^= (uint8_t)(1u << (at % 8));
        test_files_write(folder, &files);
        files.wal.data[at] ^= (uint8_t)(1u << (at % 8));
        enum outcome outcome = look(folder, &kv_empty, STEP_COUNT, &step);
        said += outcome == OUTCOME_DAMAGED || outcome == OUTCOME_REFUSED;
        silent += outcome == OUTCOME_LESS;
    }
    CU_ASSERT_EQUAL(silent, 0);
    CU_ASSERT_TRUE(said > 1000);
    test_files_free(&files);
    test_folder_remove(folder);
}

/* The scan alone: a power cut may leave the mark behind (here: at step 1). A flip with a whole
 * transaction behind the broken one is still found. */
static void scan_finds_lost_commits(void)
{
    char folder[TEST_PATH_MAX];
    struct test_files files;
    fast_folder(folder);
    in_dying_process(folder, work_steps);
    test_files_read(folder, &files);
    bytes_free(&files.mark);
    CU_ASSERT_TRUE_FATAL(test_file_read(folder, "mark-1", &files.mark));

    size_t silent = 0;
    size_t said = 0;
    for (size_t at = 32; at < files.wal.size; at++) {
        size_t frame = (at - 32) / FRAME;
        if (!worth_flipping(at) || commits_from(&files.wal, frame) < 3) {
            continue;
        }
        size_t step = 0;
        files.wal.data[at] ^= (uint8_t)(1u << (at % 8));
        test_files_write(folder, &files);
        files.wal.data[at] ^= (uint8_t)(1u << (at % 8));
        enum outcome outcome = look(folder, &kv_empty, STEP_COUNT, &step);
        said += outcome == OUTCOME_DAMAGED || outcome == OUTCOME_REFUSED;
        silent += outcome == OUTCOME_LESS;
    }
    CU_ASSERT_EQUAL(silent, 0);
    CU_ASSERT_TRUE(said > 500);
    test_files_free(&files);
    test_folder_remove(folder);
}

/* A power cut in the last commit: its frames are there in part, in any order, the mark is of the step
 * before. That is a torn tail, not damage, and the log stands at the step before. */
static void torn_tail_is_no_damage(void)
{
    char folder[TEST_PATH_MAX];
    struct test_files files;
    fast_folder(folder);
    in_dying_process(folder, work_steps);
    test_files_read(folder, &files);
    bytes_free(&files.mark);
    CU_ASSERT_TRUE_FATAL(test_file_read(folder, "mark-5", &files.mark));

    size_t frames = frame_count(&files.wal);
    size_t first = frames - 1; /* of the last transaction */
    while (big_endian(files.wal.data + 32 + (first - 1) * FRAME + 4) == 0) {
        first--;
    }
    CU_ASSERT_TRUE_FATAL(frames - first >= 4);
    size_t step = 0;
    size_t whole_size = files.wal.size;
    for (size_t cut = 32 + first * FRAME; cut < whole_size; cut += 509) {
        files.wal.size = cut;
        test_files_write(folder, &files);
        CU_ASSERT_EQUAL(look(folder, &kv_empty, STEP_COUNT, &step), OUTCOME_LESS);
        CU_ASSERT_EQUAL(step, STEP_COUNT - 1);
    }
    files.wal.size = whole_size;
    /* Each subset of its frames lost, the commit frame being there or not. */
    struct bytes whole = bytes_copy(bytes_view(&files.wal));
    size_t lost_max = frames - first < 6 ? frames - first : 6;
    for (unsigned lost = 1; lost < 1u << lost_max; lost++) {
        memcpy(files.wal.data, whole.data, whole.size);
        for (size_t i = 0; i < lost_max; i++) {
            if (lost & 1u << i) {
                memset(files.wal.data + 32 + (frames - 1 - i) * FRAME, 0, FRAME);
            }
        }
        test_files_write(folder, &files);
        CU_ASSERT_EQUAL(look(folder, &kv_empty, STEP_COUNT, &step), OUTCOME_LESS);
        CU_ASSERT_EQUAL(step, STEP_COUNT - 1);
    }
    bytes_free(&whole);
    test_files_free(&files);
    test_folder_remove(folder);
}

/* With a torn tail behind it, a node that starts and ends again the same way leaves no tail of the old
 * run that the next scan could take for lost commits. */
static void torn_tail_is_gone_after_a_start(void)
{
    char folder[TEST_PATH_MAX];
    struct test_files files;
    fast_folder(folder);
    in_dying_process(folder, work_steps);
    test_files_read(folder, &files);
    bytes_free(&files.mark);
    CU_ASSERT_TRUE_FATAL(test_file_read(folder, "mark-4", &files.mark));
    /* Tear step 5; step 6 behind it stays: found, and the start after it finds nothing new. */
    size_t frames = frame_count(&files.wal);
    size_t first_of_six = frames - 1;
    while (big_endian(files.wal.data + 32 + (first_of_six - 1) * FRAME + 4) == 0) {
        first_of_six--;
    }
    files.wal.data[32 + (first_of_six - 1) * FRAME + 24 + 100] ^= 1;
    test_files_write(folder, &files);
    struct log_recovered found;
    struct log_db *db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, &found), OK);
    CU_ASSERT_TRUE(found.damaged);
    CU_ASSERT_PTR_NOT_NULL(strstr(found.damage_text, "raft.db-wal is spoiled"));
    log_recovered_free(&found);
    log_db_close(&db);
    db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, &found), OK);
    CU_ASSERT_FALSE(found.damaged);
    CU_ASSERT_TRUE(found.may_not_vote);
    log_recovered_free(&found);
    log_db_close(&db);
    test_files_free(&files);
    test_folder_remove(folder);
}

/* Opening destroys the evidence (SQLite forgets what follows a spoiled frame, the note is cleared). A crash
 * right after it, before any group was looked at, must not give the node its vote back. */
static void evidence_outlives_a_crash(void)
{
    for (int kind = 0; kind < 2; kind++) {
        char folder[TEST_PATH_MAX];
        struct test_files files;
        struct log_recovered found;
        fast_folder(folder);
        in_dying_process(folder, work_steps);
        test_files_read(folder, &files);
        if (kind == 0) {
            bytes_free(&files.mark);
            CU_ASSERT_TRUE_FATAL(test_file_read(folder, "mark-1", &files.mark));
            files.wal.data[32 + 6 * FRAME + 24 + 100] ^= 1;
        }
        test_files_write(folder, &files);
        if (kind == 1) {
            char path[TEST_PATH_MAX + 32];
            struct raft_mark *mark = NULL;
            (void)snprintf(path, sizeof(path), "%s/raft.mark", folder);
            CU_ASSERT_EQUAL_FATAL(raft_mark_open(path, &mark), OK);
            CU_ASSERT_EQUAL(raft_mark_write_failure(mark, true), OK);
            raft_mark_close(&mark);
        }
        in_dying_process(folder, work_open_only);
        struct log_db *db = test_log_open(folder);
        CU_ASSERT_PTR_NOT_NULL_FATAL(db);
        CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, &found), OK);
        CU_ASSERT_TRUE(found.may_not_vote);
        log_recovered_free(&found);
        log_db_close(&db);
        test_files_free(&files);
        test_folder_remove(folder);
    }
}

/* More than the soft limit, copied into the file, then steps in a WAL started anew: behind the new
 * frames lie those of the old generation. */
static void work_checkpointed(const char *folder)
{
    struct log_db *db = child_open(folder);
    struct db_figures before;
    struct db_figures after;
    if (test_persist(db, 1, 1, 7, 0, test_entries(1, 3000, 1, 400)) != OK ||
        test_persist(db, 2, 1, 7, 0, test_entries(3001, 3100, 1, 400)) != OK) {
        _exit(1);
    }
    log_db_figures(db, &before);
    if (log_db_maintain(db, true) != OK) {
        _exit(1);
    }
    log_db_figures(db, &after);
    if (after.checkpoints != before.checkpoints + 1) {
        _exit(1);
    }
}

static void work_checkpointed_then_more(const char *folder)
{
    struct log_db *db = child_open(folder);
    if (test_persist(db, 1, 1, 7, 0, test_entries(1, 3000, 1, 400)) != OK ||
        log_db_maintain(db, true) != OK) {
        _exit(1);
    }
    for (uint64_t i = 2; i <= 6; i++) {
        if (test_persist(db, i, 1, 7, 0, test_entries(2990 + 10 * i - 9, 2990 + 10 * i, 1, 400)) !=
            OK) {
            _exit(1);
        }
    }
}

/* The same flips on a WAL whose content is in the database already, wholly or up to a generation before.
 * SQLite then lays old pages over newer ones. Nothing may come out of it but the whole log or word of
 * damage. */
static void flips_after_a_checkpoint(void)
{
    static const struct {
        void (*work)(const char *folder);
        uint64_t last_index, sequence;
    } cases[] = {{work_checkpointed, 3100, 2}, {work_checkpointed_then_more, 3050, 6}};
    for (size_t c = 0; c < ARRAY_COUNT(cases); c++) {
        char folder[TEST_PATH_MAX];
        struct test_files files;
        fast_folder(folder);
        in_dying_process(folder, cases[c].work);
        test_files_read(folder, &files);
        size_t silent = 0;
        size_t said = 0;
        size_t whole = 0;
        for (size_t at = 0; at < files.wal.size; at += at < 32 ? 1 : 1999) {
            char problem[TEST_PROBLEM_MAX];
            struct log_db *db = NULL;
            struct log_recovered found = {0};
            files.wal.data[at] ^= 0x40;
            test_files_write(folder, &files);
            files.wal.data[at] ^= 0x40;
            enum err error = log_db_open(folder, "demo", "n1", 1, &db, problem, sizeof(problem));
            if (error == OK) {
                error = log_db_recover(db, 0, &kv_empty, &found);
            }
            if (error != OK || found.damaged) {
                said++;
            } else if (found.last_log_index == cases[c].last_index &&
                       found.persist_sequence == cases[c].sequence) {
                whole++;
            } else {
                silent++;
            }
            log_recovered_free(&found);
            log_db_close(&db);
        }
        CU_ASSERT_EQUAL(silent, 0);
        CU_ASSERT_TRUE(said > 0);
        CU_ASSERT_TRUE(whole > 0);
        test_files_free(&files);
        test_folder_remove(folder);
    }
}

/* ---- the mark ---------------------------------------------------------------------------------- */

/* A log of 50 entries of term 3, closed in an orderly way, for what follows. */
static void make_log(const char *folder)
{
    struct log_recovered found;
    struct log_db *db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, &found), OK);
    log_recovered_free(&found);
    CU_ASSERT_EQUAL(test_persist(db, 1, 3, 7, 0, test_entries(1, 30, 3, 50)), OK);
    CU_ASSERT_EQUAL(test_persist(db, 2, 3, 7, 0, test_entries(31, 50, 3, 50)), OK);
    log_db_close(&db);
}

static uint64_t member_of(const char *folder)
{
    struct node_identity identity = {0};
    struct log_db *db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    log_db_identity(db, &identity);
    log_db_close(&db);
    return identity.member_id;
}

static void write_mark(const char *folder, uint64_t member_id, const struct raft_mark_slot *slot)
{
    char path[TEST_PATH_MAX + 32];
    struct raft_mark *mark = NULL;
    enum raft_mark_state state;
    struct raft_mark_slot newest;
    (void)snprintf(path, sizeof(path), "%s/raft.mark", folder);
    CU_ASSERT_EQUAL_FATAL(raft_mark_open(path, &mark), OK);
    CU_ASSERT_EQUAL(raft_mark_load(mark, member_id, 0, &state, &newest), OK);
    CU_ASSERT_EQUAL(raft_mark_store(mark, member_id, 0, slot), OK);
    CU_ASSERT_EQUAL(raft_mark_sync(mark), OK);
    raft_mark_close(&mark);
}

static struct log_db *recover(const char *folder, const struct kv_meta *kv,
                              struct log_recovered *found)
{
    struct log_db *db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, kv, found), OK);
    return db;
}

/* The mark knows a later persist, in a later term with another vote: term and vote are the mark's, the
 * flag is durable, is not cleared by starting again, and is cleared by a persist that says so. */
static void mark_ahead(void)
{
    char folder[TEST_PATH_MAX];
    struct log_recovered found;
    test_folder_make(folder);
    make_log(folder);
    const struct raft_mark_slot later = {.persist_sequence = 9,
                                         .current_term = 8,
                                         .voted_for = 12,
                                         .last_log_index = 70,
                                         .last_log_term = 8};
    write_mark(folder, member_of(folder), &later);

    struct log_db *db = recover(folder, &kv_empty, &found);
    CU_ASSERT_TRUE(found.damaged);
    CU_ASSERT_TRUE(found.may_not_vote);
    CU_ASSERT_EQUAL(found.current_term, 8);
    CU_ASSERT_EQUAL(found.voted_for, 12);
    CU_ASSERT_EQUAL(found.last_log_index, 50);
    CU_ASSERT_TRUE(found.persist_sequence > 9);
    CU_ASSERT_PTR_NOT_NULL(strstr(found.damage_text, "raft.mark at 9"));
    uint64_t sequence = found.persist_sequence;
    log_recovered_free(&found);
    log_db_close(&db);

    db = recover(folder, &kv_empty, &found);
    CU_ASSERT_FALSE(found.damaged);
    CU_ASSERT_TRUE(found.may_not_vote);
    CU_ASSERT_EQUAL(found.current_term, 8);
    CU_ASSERT_EQUAL(found.voted_for, 12);
    CU_ASSERT_EQUAL(found.persist_sequence, sequence);
    log_recovered_free(&found);
    CU_ASSERT_EQUAL(test_persist(db, sequence + 1, 9, 0, 0, NULL), OK);
    log_db_close(&db);

    db = recover(folder, &kv_empty, &found);
    CU_ASSERT_FALSE(found.may_not_vote);
    CU_ASSERT_EQUAL(found.current_term, 9);
    log_recovered_free(&found);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* The same persist, but not the same content. */
static void mark_differs(void)
{
    const struct raft_mark_slot as_written = {.persist_sequence = 2,
                                              .current_term = 3,
                                              .voted_for = 7,
                                              .last_log_index = 50,
                                              .last_log_term = 3};
    for (int i = 0; i < 5; i++) {
        char folder[TEST_PATH_MAX];
        struct log_recovered found;
        test_folder_make(folder);
        make_log(folder);
        struct raft_mark_slot other = as_written;
        other.current_term += i == 0;
        other.voted_for += i == 1;
        other.last_log_index += i == 2;
        other.last_log_term += i == 3;
        /* Both slots, or the other one would still say what is right. */
        uint64_t member = member_of(folder);
        write_mark(folder, member, &other);
        write_mark(folder, member, &other);
        struct log_db *db = recover(folder, &kv_empty, &found);
        CU_ASSERT_EQUAL(found.damaged, i < 4);
        CU_ASSERT_EQUAL(found.may_not_vote, i < 4);
        CU_ASSERT_EQUAL(found.current_term, other.current_term);
        CU_ASSERT_EQUAL(found.voted_for, other.voted_for);
        log_recovered_free(&found);
        log_db_close(&db);
        test_folder_remove(folder);
    }
}

/* A mark that lags (power cut), one of another incarnation, and none at all prove nothing. */
static void mark_behind(void)
{
    char folder[TEST_PATH_MAX];
    struct log_recovered found;
    test_folder_make(folder);
    make_log(folder);
    uint64_t member = member_of(folder);
    const struct raft_mark_slot other = {.persist_sequence = 99, .current_term = 99};
    write_mark(folder, member + 1, &other);
    write_mark(folder, member + 1, &other);
    struct log_db *db = recover(folder, &kv_empty, &found);
    CU_ASSERT_FALSE(found.damaged);
    CU_ASSERT_EQUAL(found.current_term, 3);
    log_recovered_free(&found);
    log_db_close(&db);

    char path[TEST_PATH_MAX + 32];
    (void)snprintf(path, sizeof(path), "%s/raft.mark", folder);
    CU_ASSERT_EQUAL(unlink(path), 0);
    db = recover(folder, &kv_empty, &found);
    CU_ASSERT_FALSE(found.damaged);
    log_recovered_free(&found);
    log_db_close(&db);
    /* ... and it is there again, exact: one step back in the file is seen. */
    struct bytes mark;
    CU_ASSERT_TRUE_FATAL(test_file_read(folder, "raft.mark", &mark));
    bytes_free(&mark);
    (void)snprintf(path, sizeof(path), "%s/raft.db", folder);
    CU_ASSERT_TRUE(test_sqlite3("", path, "UPDATE hard_state SET persist_seq=1", NULL, 0));
    db = recover(folder, &kv_empty, &found);
    CU_ASSERT_TRUE(found.damaged);
    log_recovered_free(&found);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* One slot spoiled: the other one is believed. Both: nothing is known, so no vote. */
static void mark_spoiled(void)
{
    char folder[TEST_PATH_MAX];
    struct log_recovered found;
    struct bytes mark;
    test_folder_make(folder);
    make_log(folder);
    for (size_t slot = 2; slot <= 3; slot++) {
        CU_ASSERT_TRUE_FATAL(test_file_read(folder, "raft.mark", &mark));
        mark.data[slot * 512 + 30] ^= 1;
        test_file_write(folder, "raft.mark", bytes_view(&mark));
        struct log_db *db = recover(folder, &kv_empty, &found);
        CU_ASSERT_FALSE(found.damaged);
        log_recovered_free(&found);
        log_db_close(&db);
        mark.data[slot * 512 + 30] ^= 1;
        test_file_write(folder, "raft.mark", bytes_view(&mark));
        bytes_free(&mark);
    }
    CU_ASSERT_TRUE_FATAL(test_file_read(folder, "raft.mark", &mark));
    mark.data[2 * 512 + 30] ^= 1;
    mark.data[3 * 512 + 9] ^= 1;
    test_file_write(folder, "raft.mark", bytes_view(&mark));
    bytes_free(&mark);
    struct log_db *db = recover(folder, &kv_empty, &found);
    CU_ASSERT_TRUE(found.damaged);
    CU_ASSERT_TRUE(found.may_not_vote);
    log_recovered_free(&found);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* ---- rows -------------------------------------------------------------------------------------- */

static void change(const char *folder, const char *sql)
{
    char path[TEST_PATH_MAX + 32];
    (void)snprintf(path, sizeof(path), "%s/raft.db", folder);
    CU_ASSERT_TRUE_FATAL(test_sqlite3("", path, sql, NULL, 0));
}

/* A changed, missing or out-of-place row: the log ends before it, and what is below stays readable. */
static void bad_rows_are_cut(void)
{
    static const struct {
        const char *sql;
        const char *text;
        uint64_t last_index;
    } cases[] = {
        {"UPDATE log SET data = zeroblob(length(data)) WHERE id = 41", "checksum of entry 41", 40},
        {"UPDATE log SET term = 2 WHERE id = 41", "checksum of entry 41", 40},
        {"UPDATE log SET type = 2 WHERE id = 50", "checksum of entry 50", 49},
        {"UPDATE log SET origin = 1 WHERE id = 1", "checksum of entry 1", 0},
        {"UPDATE log SET request_id = 1 WHERE id = 2", "checksum of entry 2", 1},
        {"UPDATE log SET crc = crc + 1 WHERE id = 33", "checksum of entry 33", 32},
        {"DELETE FROM log WHERE id = 12", "entry 12 is missing", 11},
        {"DELETE FROM log WHERE id = 50", "the log ends at entry 49", 49},
        {"DELETE FROM log", "the log ends at entry 0", 0},
        {"INSERT INTO log(id, term, type, origin, request_id, op, key_size, crc, data) "
         "SELECT 51, term, type, origin, request_id, op, key_size, crc, data FROM log WHERE id = "
         "50",
         "checksum of entry 51", 50},
        {"UPDATE hard_state SET last_log_index = 45", "entry 46 lies beyond", 45},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char folder[TEST_PATH_MAX];
        struct log_recovered found;
        test_folder_make(folder);
        make_log(folder);
        change(folder, cases[i].sql);
        struct log_db *db = recover(folder, &kv_empty, &found);
        CU_ASSERT_TRUE(found.damaged);
        CU_ASSERT_TRUE(found.may_not_vote);
        if (strstr(found.damage_text, cases[i].text) == NULL &&
            strstr(found.damage_text, "differ at persist") == NULL) {
            CU_FAIL(cases[i].text);
            (void)fprintf(stderr, "%s: %s\n", cases[i].sql, found.damage_text);
        }
        CU_ASSERT_EQUAL(found.last_log_index, cases[i].last_index);
        CU_ASSERT_EQUAL(found.last_log_term, cases[i].last_index == 0 ? 0 : 3);
        CU_ASSERT_EQUAL(found.current_term, 3);
        CU_ASSERT_EQUAL(found.voted_for, 7);
        /* It is fetched again from the leader. */
        CU_ASSERT_EQUAL(
            test_persist(db, found.persist_sequence + 1, 4, 0, 0,
                         test_entries(found.last_log_index + 1, found.last_log_index + 9, 4, 20)),
            OK);
        uint64_t last = found.last_log_index + 9;
        log_recovered_free(&found);
        log_db_close(&db);
        db = recover(folder, &kv_empty, &found);
        CU_ASSERT_FALSE(found.damaged);
        CU_ASSERT_EQUAL(found.last_log_index, last);
        log_recovered_free(&found);
        log_db_close(&db);
        test_folder_remove(folder);
    }
}

/* While the node runs, too: a changed row is never handed out. */
static void bad_row_is_not_read(void)
{
    char folder[TEST_PATH_MAX];
    struct log_recovered found;
    struct entries *block = NULL;
    test_folder_make(folder);
    make_log(folder);
    struct log_db *db = recover(folder, &kv_empty, &found);
    log_recovered_free(&found);
    change(folder, "UPDATE log SET data = zeroblob(length(data)) WHERE id = 41");
    CU_ASSERT_EQUAL(log_db_read(db, 0, 41, 50, UINT64_MAX, &block), ERR_CHECKSUM);
    CU_ASSERT_PTR_NULL(block);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* Entries the KV table has are not needed any more: a bad one among them moves the log's start. */
static void bad_row_below_applied(void)
{
    char folder[TEST_PATH_MAX];
    struct log_recovered found;
    const struct kv_meta kv = {.applied_index = 40, .applied_term = 3, .revision = 30};
    test_folder_make(folder);
    make_log(folder);
    change(folder, "UPDATE log SET data = zeroblob(length(data)) WHERE id = 12");
    struct log_db *db = recover(folder, &kv, &found);
    CU_ASSERT_TRUE(found.damaged);
    CU_ASSERT_EQUAL(found.trimmed_index, 40);
    CU_ASSERT_EQUAL(found.trimmed_term, 3);
    CU_ASSERT_EQUAL(found.last_log_index, 50);
    CU_ASSERT_EQUAL_FATAL(found.term_run_count, 1);
    CU_ASSERT_EQUAL(found.term_runs[0].first_index, 41);
    log_recovered_free(&found);
    struct entries *block = NULL;
    CU_ASSERT_EQUAL(log_db_read(db, 0, 40, 50, UINT64_MAX, &block), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL_FATAL(log_db_read(db, 0, 41, 50, UINT64_MAX, &block), OK);
    CU_ASSERT_EQUAL(block->count, 10);
    entries_free(&block);
    log_db_close(&db);
    test_folder_remove(folder);
}

/* kv.db holds entries the log does not, or of another term: the log starts anew after them. */
static void kv_knows_more(void)
{
    static const struct kv_meta cases[] = {
        {.applied_index = 60, .applied_term = 3, .revision = 9},
        {.applied_index = 50, .applied_term = 4, .revision = 9},
        {.applied_index = 20, .applied_term = 2, .revision = 9},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char folder[TEST_PATH_MAX];
        struct log_recovered found;
        test_folder_make(folder);
        make_log(folder);
        struct log_db *db = recover(folder, &cases[i], &found);
        CU_ASSERT_TRUE(found.damaged);
        CU_ASSERT_TRUE(found.may_not_vote);
        CU_ASSERT_EQUAL(found.trimmed_index, cases[i].applied_index);
        CU_ASSERT_EQUAL(found.trimmed_term, cases[i].applied_term);
        CU_ASSERT_EQUAL(found.last_log_index, cases[i].applied_index);
        CU_ASSERT_EQUAL(found.last_log_term, cases[i].applied_term);
        CU_ASSERT_EQUAL(found.term_run_count, 0);
        CU_ASSERT_EQUAL(test_persist(db, found.persist_sequence + 1, 5, 0, 0,
                                     test_entries(cases[i].applied_index + 1,
                                                  cases[i].applied_index + 3, 5, 20)),
                        OK);
        log_recovered_free(&found);
        log_db_close(&db);
        db = recover(folder, &cases[i], &found);
        CU_ASSERT_FALSE(found.damaged);
        CU_ASSERT_EQUAL(found.last_log_index, cases[i].applied_index + 3);
        log_recovered_free(&found);
        log_db_close(&db);
        test_folder_remove(folder);
    }
}

/* A b-tree that cannot be read is not repaired but refused. */
static void broken_pages_are_refused(void)
{
    char folder[TEST_PATH_MAX];
    struct bytes file;
    size_t step = 0;
    test_folder_make(folder);
    make_log(folder);
    CU_ASSERT_TRUE_FATAL(test_file_read(folder, "raft.db", &file));
    CU_ASSERT_TRUE_FATAL(file.size > 4 * 4096);
    for (size_t page = 2; page < file.size / 4096; page++) {
        memset(file.data + page * 4096, 0x5a, 4096);
    }
    test_file_write(folder, "raft.db", bytes_view(&file));
    CU_ASSERT_EQUAL(look(folder, &kv_empty, 0, &step), OUTCOME_REFUSED);
    bytes_free(&file);
    test_folder_remove(folder);
}

/* The structure of a log known to be damaged is checked as a whole, for old pages may lie over newer ones
 * where no row shows it. Here: leaf pages whose count of unused octets is wrong. */
static void broken_structure_is_refused(void)
{
    for (int ahead = 0; ahead < 2; ahead++) {
        char folder[TEST_PATH_MAX];
        struct bytes file;
        size_t step = 0;
        test_folder_make(folder);
        make_log(folder);
        const struct raft_mark_slot later = {.persist_sequence = 9, .current_term = 3};
        if (ahead == 1) {
            write_mark(folder, member_of(folder), &later);
        }
        CU_ASSERT_TRUE_FATAL(test_file_read(folder, "raft.db", &file));
        size_t changed = 0;
        for (size_t at = 4096; at < file.size; at += 4096) {
            if (file.data[at] == 0x0d) {
                file.data[at + 7]++;
                changed++;
            }
        }
        CU_ASSERT_TRUE(changed > 1);
        test_file_write(folder, "raft.db", bytes_view(&file));
        enum outcome outcome = look(folder, &kv_empty, 2, &step);
        CU_ASSERT_EQUAL(outcome == OUTCOME_REFUSED, ahead == 1);
        bytes_free(&file);
        test_folder_remove(folder);
    }
}

SUITE("store: damage", TEST(each_flip_is_harmless_or_said), TEST(scan_finds_lost_commits),
      TEST(torn_tail_is_no_damage), TEST(torn_tail_is_gone_after_a_start),
      TEST(evidence_outlives_a_crash), TEST(flips_after_a_checkpoint), TEST(mark_ahead),
      TEST(mark_differs), TEST(mark_behind), TEST(mark_spoiled), TEST(bad_rows_are_cut),
      TEST(bad_row_is_not_read), TEST(bad_row_below_applied), TEST(kv_knows_more),
      TEST(broken_pages_are_refused), TEST(broken_structure_is_refused))
