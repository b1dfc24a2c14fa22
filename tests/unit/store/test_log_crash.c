/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft.db when the process dies or the disk fails at any point: what was acknowledged is there, term and
 * vote belong together, a killed process is not taken for a damaged log, and after a failed write
 * nothing goes on (traps 1, 18, 20). Real files; the fault VFS of tests/lib, and kill -9.
 */
#include "store_test.h"

#include "fault_vfs.h"

#include <signal.h>

/* The states a node goes through, each made by one commit: an election lost, one won, entries, a
 * conflict cut away in a later term. */
struct state {
    uint64_t term, vote, last_index, last_term;
};

static const struct state states[] = {
    {0, 0, 0, 0},   {1, 11, 0, 0}, /* a vote */
    {2, 22, 0, 0},                 /* another, in another term */
    {2, 22, 40, 2},                /* entries */
    {3, 0, 40, 2},                 /* a term without a vote */
    {3, 33, 40, 2},                /* the vote in it */
    {4, 44, 30, 4},                /* truncated from 26 and written anew */
    {4, 44, 31, 4},                /* one more */
};
#define STATE_COUNT (sizeof(states) / sizeof(states[0]) - 1)

static enum err go_to_state(struct log_db *db, size_t i)
{
    struct entries *entries = NULL;
    uint64_t truncate_from = 0;
    if (i == 3) {
        entries = test_entries(1, 40, 2, 300);
    } else if (i == 6) {
        truncate_from = 26;
        entries = test_entries(26, 30, 4, 300);
    } else if (i == 7) {
        entries = test_entries(31, 31, 4, 300);
    }
    return test_persist(db, i, states[i].term, states[i].vote, truncate_from, entries);
}

struct run {
    bool opened;    /* log_db_open returned OK */
    bool recovered; /* log_db_recover too */
    size_t acked;   /* commits that returned OK */
    size_t stalls;  /* commits that found the disk full and worked at the second try */
    enum err error;
};

/* A node's life until the first error: open, recover, all states, a trim, a checkpoint, the mark. */
static void live(const char *folder, struct run *out)
{
    char problem[TEST_PROBLEM_MAX];
    struct log_db *db = NULL;
    struct log_recovered found = {0};
    memset(out, 0, sizeof(*out));
    out->error = log_db_open(folder, "demo", "n1", 5, &db, problem, sizeof(problem));
    if (out->error != OK) {
        CU_ASSERT_NOT_EQUAL(problem[0], '\0');
        return;
    }
    out->opened = true;
    out->error = log_db_recover(db, 0, &kv_empty, &found);
    log_recovered_free(&found);
    out->recovered = out->error == OK;
    for (size_t i = 1; out->error == OK && i <= STATE_COUNT; i++) {
        out->error = go_to_state(db, i);
        if (out->error == ERR_DISK_FULL) {
            /* Nothing of it was committed: the same again. After the mark's error nothing goes on. */
            bool works = go_to_state(db, i) == OK;
            out->error = works ? OK : out->error;
            out->stalls += works ? 1 : 0;
        }
        out->acked = out->error == OK ? i : out->acked;
    }
    if (out->error == OK) {
        out->error = log_db_sync_mark(db);
    }
    if (out->error != OK && out->recovered) {
        /* Nothing goes on after it, whatever is asked (trap 20). */
        struct entries *block = NULL;
        CU_ASSERT_EQUAL(log_db_begin(db), ERR_IO);
        CU_ASSERT_EQUAL(log_db_maintain(db, true), ERR_IO);
        CU_ASSERT_EQUAL(log_db_sync_mark(db), ERR_IO);
        CU_ASSERT_EQUAL(log_db_read(db, 0, 1, 1, 1, &block), ERR_IO);
    }
    log_db_close(&db);
}

/* What a healthy start finds, to be freed; true if it is one of the states `from`..`to`, none of it mixed. */
static bool finds_state(const char *folder, size_t from, size_t to, struct log_recovered *found)
{
    struct log_db *db = test_log_open(folder);
    if (db == NULL || log_db_recover(db, 0, &kv_empty, found) != OK) {
        log_db_close(&db);
        return false;
    }
    bool good = false;
    for (size_t i = from; i <= to; i++) {
        const struct state *s = &states[i];
        good = good ||
               (found->current_term == s->term && found->voted_for == s->vote &&
                found->last_log_index == s->last_index && found->last_log_term == s->last_term);
    }
    log_db_close(&db);
    return good;
}

/* Trap 1: the process dies between any two writes. At the next start the node is at the last
 * acknowledged state or the one that was under way, with the term and vote of one and the same; and it
 * is not damaged, for then a rolling kill would take the votes of a whole cluster. */
static void killed_between_any_two_writes(void)
{
    fault_vfs_install();
    bool struck = true;
    uint64_t nth = 0;
    while (struck) {
        char folder[TEST_PATH_MAX];
        struct run run;
        struct log_recovered found = {0};
        test_folder_make(folder);
        nth++;
        fault_vfs_arm(FAULT_CHANGE, "", nth, SQLITE_IOERR, FAULT_DIE);
        live(folder, &run);
        struck = fault_vfs_struck();
        fault_vfs_disarm();
        size_t next = run.acked < STATE_COUNT ? run.acked + 1 : run.acked;
        bool good = finds_state(folder, run.acked, next, &found);
        CU_ASSERT_TRUE(good);
        CU_ASSERT_FALSE(found.damaged);
        CU_ASSERT_FALSE(found.may_not_vote);
        if (!good || found.damaged) {
            (void)fprintf(stderr, "killed at change %" PRIu64 ", %zu acknowledged: %s\n", nth,
                          run.acked, found.damage_text);
        }
        log_recovered_free(&found);
        test_folder_remove(folder);
    }
    CU_ASSERT_TRUE(nth > 60);
    fault_vfs_remove();
}

/* Trap 20: one write, sync or open fails and the disk then works again. The error is told, nothing
 * goes on after it (but for a full disk: the same transaction is tried again), and what was acknowledged is there at the next start. After a failed write or sync of
 * the log that start does not trust it: no votes. */
static void each_error_is_final(void)
{
    static const struct {
        enum fault_call call;
        const char *suffix;
        int code;
        enum err error;
    } cases[] = {
        {FAULT_SYNC, "", SQLITE_IOERR_FSYNC, ERR_IO},
        {FAULT_WRITE, "", SQLITE_IOERR_WRITE, ERR_IO},
        {FAULT_WRITE, "", SQLITE_FULL, ERR_DISK_FULL},
        {FAULT_OPEN, "", SQLITE_CANTOPEN, ERR_IO},
        {FAULT_READ, "", SQLITE_IOERR_READ, ERR_IO},
    };
    fault_vfs_install();
    for (size_t c = 0; c < ARRAY_COUNT(cases); c++) {
        bool struck = true;
        uint64_t told = 0;
        uint64_t stalls = 0;
        for (uint64_t nth = 1; struck; nth++) {
            char folder[TEST_PATH_MAX];
            struct run run;
            struct log_recovered found = {0};
            test_folder_make(folder);
            fault_vfs_arm(cases[c].call, cases[c].suffix, nth, cases[c].code, FAULT_ONCE);
            live(folder, &run);
            struck = fault_vfs_struck();
            fault_vfs_disarm();
            told += run.error == cases[c].error;
            stalls += run.stalls;
            if (run.error != OK) {
                CU_ASSERT_EQUAL(run.error, cases[c].error);
            } else {
                CU_ASSERT_EQUAL(run.acked, STATE_COUNT);
            }
            size_t next = run.acked < STATE_COUNT ? run.acked + 1 : run.acked;
            bool good = finds_state(folder, run.acked, next, &found);
            CU_ASSERT_TRUE(good);
            bool distrust = run.opened && run.error == ERR_IO && cases[c].call != FAULT_READ;
            CU_ASSERT_EQUAL(found.damaged, distrust);
            CU_ASSERT_EQUAL(found.may_not_vote, distrust);
            if (!good || found.damaged != distrust) {
                (void)fprintf(stderr,
                              "case %zu, call %" PRIu64 ", %zu acknowledged, error %s: %s\n", c,
                              nth, run.acked, err_text(run.error), found.damage_text);
            }
            log_recovered_free(&found);
            /* The note is read once; the flag stays until the node has caught up. */
            struct log_db *db = test_log_open(folder);
            CU_ASSERT_PTR_NOT_NULL_FATAL(db);
            CU_ASSERT_EQUAL(log_db_recover(db, 0, &kv_empty, &found), OK);
            CU_ASSERT_FALSE(found.damaged);
            CU_ASSERT_EQUAL(found.may_not_vote, distrust);
            log_recovered_free(&found);
            log_db_close(&db);
            test_folder_remove(folder);
        }
        CU_ASSERT_TRUE(told > 2);
        CU_ASSERT_EQUAL(stalls > 10, cases[c].code == SQLITE_FULL);
    }
    fault_vfs_remove();
}

/* The disk stays full for a while: each try leaves the log as it was, in the file and in memory, and reads go on. */
static void full_for_a_while(void)
{
    char folder[TEST_PATH_MAX];
    struct log_recovered found = {0};
    test_folder_make(folder);
    fault_vfs_install();
    struct log_db *db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, &found), OK);
    log_recovered_free(&found);
    for (size_t i = 1; i <= 5; i++) {
        CU_ASSERT_EQUAL(go_to_state(db, i), OK);
    }
    fault_vfs_arm(FAULT_WRITE, "raft.db-wal", 1, SQLITE_FULL, FAULT_STAY);
    for (int i = 0; i < 20; i++) {
        struct entries *block = NULL;
        CU_ASSERT_EQUAL(go_to_state(db, 6), ERR_DISK_FULL); /* truncates and appends */
        CU_ASSERT_EQUAL(log_db_read(db, 0, 40, 40, 1000, &block), OK);
        entries_free(&block);
        CU_ASSERT_EQUAL(log_db_sync_mark(db), OK);
    }
    fault_vfs_disarm();
    CU_ASSERT_EQUAL(go_to_state(db, 6), OK);
    CU_ASSERT_EQUAL(go_to_state(db, 7), OK);
    log_db_close(&db);
    CU_ASSERT_TRUE(finds_state(folder, 7, 7, &found));
    CU_ASSERT_FALSE(found.damaged);
    log_recovered_free(&found);
    fault_vfs_remove();
    test_folder_remove(folder);
}

/* A sync that fails for good: the note cannot be written either, the process still stops. */
static void dead_disk(void)
{
    char folder[TEST_PATH_MAX];
    struct log_recovered found;
    test_folder_make(folder);
    fault_vfs_install();
    struct log_db *db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, &found), OK);
    log_recovered_free(&found);
    CU_ASSERT_EQUAL(go_to_state(db, 1), OK);
    fault_vfs_arm(FAULT_SYNC, "", 1, SQLITE_IOERR_FSYNC, FAULT_STAY);
    CU_ASSERT_EQUAL(go_to_state(db, 2), ERR_IO);
    CU_ASSERT_EQUAL(log_db_begin(db), ERR_IO);
    log_db_close(&db);
    fault_vfs_remove();
    test_folder_remove(folder);
}

/* The mark: written at every commit before it returns, synced at once when term or vote changed and only
 * then (an append must not cost a second sync), and by log_db_sync_mark. */
static void mark_is_synced_when_it_must(void)
{
    char folder[TEST_PATH_MAX];
    struct log_recovered found;
    test_folder_make(folder);
    fault_vfs_install();
    struct log_db *db = test_log_open(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(db);
    CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, &found), OK);
    log_recovered_free(&found);
    for (size_t i = 1; i <= STATE_COUNT; i++) {
        bool changed = states[i].term != states[i - 1].term || states[i].vote != states[i - 1].vote;
        fault_vfs_arm(FAULT_SYNC, "raft.mark", 0, 0, FAULT_ONCE);
        CU_ASSERT_EQUAL(go_to_state(db, i), OK);
        CU_ASSERT_EQUAL(fault_vfs_matched(), changed ? 1 : 0);
    }
    fault_vfs_arm(FAULT_WRITE, "raft.mark", 0, 0, FAULT_ONCE);
    CU_ASSERT_EQUAL(test_persist(db, STATE_COUNT + 1, 4, 44, 0, test_entries(32, 32, 4, 10)), OK);
    CU_ASSERT_EQUAL(fault_vfs_matched(), 1);
    fault_vfs_arm(FAULT_SYNC, "raft.mark", 0, 0, FAULT_ONCE);
    CU_ASSERT_EQUAL(log_db_sync_mark(db), OK);
    CU_ASSERT_EQUAL(log_db_sync_mark(db), OK);
    CU_ASSERT_EQUAL(fault_vfs_matched(), 1);
    /* One sync of the WAL makes a commit durable (trap 21). */
    fault_vfs_arm(FAULT_SYNC, "raft.db-wal", 0, 0, FAULT_ONCE);
    CU_ASSERT_EQUAL(test_persist(db, STATE_COUNT + 2, 4, 44, 0, test_entries(33, 33, 4, 10)), OK);
    CU_ASSERT_EQUAL(fault_vfs_matched(), 1);
    log_db_close(&db);
    fault_vfs_remove();
    test_folder_remove(folder);
}

/* ---- kill -9 ----------------------------------------------------------------------------------- */

#define KILL_ROUNDS 25

/* The child's loop: commits with 1..20 entries, a new term now and then, trims and checkpoints between, the
 * sequence number of each acknowledged commit into the pipe. */
static void commit_until_killed(const char *folder, int acknowledged, uint64_t seed)
{
    struct log_recovered found;
    struct log_db *db = test_log_open(folder);
    if (db == NULL || log_db_recover(db, 0, &kv_empty, &found) != OK) {
        _exit(1);
    }
    uint64_t term = found.current_term + 1;
    uint64_t last = found.last_log_index;
    uint64_t sequence = found.persist_sequence;
    log_recovered_free(&found);
    for (;;) {
        uint64_t count = 1 + random_below(&seed, 20);
        sequence++;
        term += random_below(&seed, 8) == 0;
        /* The vote says what the end of the log must be: any mixture of two commits shows. */
        if (test_persist(db, sequence, term, term * 3 + 1, 0,
                         test_entries(last + 1, last + count, term, 700)) != OK) {
            _exit(2);
        }
        last += count;
        uint64_t word[3] = {sequence, term, last};
        if (write(acknowledged, word, sizeof(word)) != (ssize_t)sizeof(word)) {
            _exit(3);
        }
        if (log_db_maintain(db, random_below(&seed, 4) == 0) != OK) {
            _exit(4);
        }
    }
}

/* Traps 1 and 18: a process that is killed at any moment has kept all it acknowledged. */
static void killed_at_any_moment(void)
{
    char folder[TEST_PATH_MAX];
    uint64_t seed = 20240607;
    test_folder_make(folder);
    for (int round = 0; round < KILL_ROUNDS; round++) {
        int ends[2];
        uint64_t word[3] = {0, 0, 0};
        CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
        uint64_t child_seed = random_next(&seed);
        pid_t child = fork();
        if (child == 0) {
            (void)close(ends[0]);
            commit_until_killed(folder, ends[1], child_seed);
        }
        (void)close(ends[1]);
        uint64_t wanted = 1 + random_below(&seed, 60);
        for (uint64_t i = 0; i < wanted; i++) {
            if (read(ends[0], word, sizeof(word)) != (ssize_t)sizeof(word)) {
                break;
            }
        }
        CU_ASSERT_EQUAL(kill(child, SIGKILL), 0);
        while (read(ends[0], word, sizeof(word)) == (ssize_t)sizeof(word)) {
            /* what it acknowledged until the kill arrived */
        }
        (void)close(ends[0]);
        int status = 0;
        CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
        CU_ASSERT_TRUE(WIFSIGNALED(status));

        struct log_recovered found;
        struct log_db *db = test_log_open(folder);
        CU_ASSERT_PTR_NOT_NULL_FATAL(db);
        CU_ASSERT_EQUAL_FATAL(log_db_recover(db, 0, &kv_empty, &found), OK);
        CU_ASSERT_FALSE(found.damaged);
        CU_ASSERT_TRUE(found.persist_sequence == word[0] || found.persist_sequence == word[0] + 1);
        CU_ASSERT_EQUAL(found.voted_for, found.current_term * 3 + 1);
        if (found.persist_sequence == word[0]) {
            CU_ASSERT_EQUAL(found.current_term, word[1]);
            CU_ASSERT_EQUAL(found.last_log_index, word[2]);
        } else {
            CU_ASSERT_TRUE(found.last_log_index > word[2]);
        }
        CU_ASSERT_EQUAL(found.last_log_term, found.current_term);
        log_recovered_free(&found);
        log_db_close(&db);
    }
    test_folder_remove(folder);
}

SUITE("store: crashes", TEST(killed_between_any_two_writes), TEST(each_error_is_final),
      TEST(full_for_a_while), TEST(dead_disk), TEST(mark_is_synced_when_it_must),
      TEST(killed_at_any_moment))
