/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft.mark by itself: slots in turn, sectors that spoil alone, groups apart, the note of a failure, and
 * the errors (trap 22). And the WAL scan's answers to files that are no WAL.
 */
#include "store_test.h"

#include "fault_vfs.h"
#include "store/raft_mark.h"
#include "store/wal_scan.h"

static struct raft_mark *mark_open(const char *folder, enum err *error)
{
    char path[TEST_PATH_MAX + 32];
    struct raft_mark *mark = NULL;
    (void)snprintf(path, sizeof(path), "%s/raft.mark", folder);
    *error = raft_mark_open(path, &mark);
    return mark;
}

static struct raft_mark_slot slot_of(uint64_t sequence)
{
    return (struct raft_mark_slot){.persist_sequence = sequence,
                                   .current_term = sequence * 2,
                                   .voted_for = UINT64_MAX - sequence,
                                   .last_log_index = sequence * 3,
                                   .last_log_term = sequence};
}

/* The newest slot is found; with the newest spoiled, the one before; groups do not mix. */
static void slots_in_turn(void)
{
    char folder[TEST_PATH_MAX];
    enum err error = OK;
    enum raft_mark_state state;
    struct raft_mark_slot found;
    test_folder_make(folder);
    struct raft_mark *mark = mark_open(folder, &error);
    CU_ASSERT_EQUAL_FATAL(error, OK);
    CU_ASSERT_EQUAL(raft_mark_load(mark, 5, 0, &state, &found), OK);
    CU_ASSERT_EQUAL(state, RAFT_MARK_NONE);
    for (uint64_t i = 1; i <= 7; i++) {
        struct raft_mark_slot slot = slot_of(i);
        CU_ASSERT_EQUAL(raft_mark_store(mark, 5, 0, &slot), OK);
        slot = slot_of(i + 100);
        CU_ASSERT_EQUAL(raft_mark_store(mark, 5, RAFT_MARK_GROUPS_MAX - 1, &slot), OK);
    }
    CU_ASSERT_EQUAL(raft_mark_sync(mark), OK);
    raft_mark_close(&mark);

    struct bytes file;
    CU_ASSERT_TRUE_FATAL(test_file_read(folder, "raft.mark", &file));
    CU_ASSERT_EQUAL(file.size, (2 + 2 * RAFT_MARK_GROUPS_MAX) * RAFT_MARK_SECTOR_BYTES);
    for (size_t spoiled = 0; spoiled <= 2; spoiled++) {
        if (spoiled > 0) {
            file.data[(1 + spoiled) * 512 + 40] ^= 0x80;
        }
        test_file_write(folder, "raft.mark", bytes_view(&file));
        if (spoiled > 0) {
            file.data[(1 + spoiled) * 512 + 40] ^= 0x80;
        }
        mark = mark_open(folder, &error);
        CU_ASSERT_EQUAL_FATAL(error, OK);
        CU_ASSERT_EQUAL(raft_mark_load(mark, 5, 0, &state, &found), OK);
        CU_ASSERT_EQUAL(state, RAFT_MARK_FOUND);
        /* Seven stores: the first slot holds the newest. */
        struct raft_mark_slot want = slot_of(spoiled == 1 ? 6 : 7);
        CU_ASSERT_EQUAL(memcmp(&found, &want, sizeof(want)), 0);
        CU_ASSERT_EQUAL(raft_mark_load(mark, 5, RAFT_MARK_GROUPS_MAX - 1, &state, &found), OK);
        CU_ASSERT_EQUAL(found.persist_sequence, 107);
        CU_ASSERT_EQUAL(raft_mark_load(mark, 6, 0, &state, &found), OK);
        CU_ASSERT_NOT_EQUAL(state, RAFT_MARK_FOUND);
        raft_mark_close(&mark);
    }
    /* The next store goes over the older one. */
    mark = mark_open(folder, &error);
    CU_ASSERT_EQUAL(raft_mark_load(mark, 5, 0, &state, &found), OK);
    struct raft_mark_slot slot = slot_of(8);
    CU_ASSERT_EQUAL(raft_mark_store(mark, 5, 0, &slot), OK);
    raft_mark_close(&mark);
    bytes_free(&file);
    CU_ASSERT_TRUE_FATAL(test_file_read(folder, "raft.mark", &file));
    CU_ASSERT_EQUAL(file.data[2 * 512 + 24], 7);
    CU_ASSERT_EQUAL(file.data[3 * 512 + 24], 8);
    bytes_free(&file);
    test_folder_remove(folder);
}

static void failure_note(void)
{
    char folder[TEST_PATH_MAX];
    enum err error = OK;
    bool failed = true;
    test_folder_make(folder);
    struct raft_mark *mark = mark_open(folder, &error);
    CU_ASSERT_EQUAL_FATAL(error, OK);
    CU_ASSERT_EQUAL(raft_mark_read_failure(mark, &failed), OK);
    CU_ASSERT_FALSE(failed);
    for (int set = 1; set >= 0; set--) {
        CU_ASSERT_EQUAL(raft_mark_write_failure(mark, set == 1), OK);
        raft_mark_close(&mark);
        mark = mark_open(folder, &error);
        CU_ASSERT_EQUAL_FATAL(error, OK);
        CU_ASSERT_EQUAL(raft_mark_read_failure(mark, &failed), OK);
        CU_ASSERT_EQUAL(failed, set == 1);
    }
    raft_mark_close(&mark);
    /* A spoiled note was being written or cleared: taken for set. */
    struct bytes file;
    CU_ASSERT_TRUE_FATAL(test_file_read(folder, "raft.mark", &file));
    file.data[512 + 8] ^= 4;
    test_file_write(folder, "raft.mark", bytes_view(&file));
    bytes_free(&file);
    mark = mark_open(folder, &error);
    CU_ASSERT_EQUAL(raft_mark_read_failure(mark, &failed), OK);
    CU_ASSERT_TRUE(failed);
    raft_mark_close(&mark);
    test_folder_remove(folder);
}

/* A newer format is refused; a spoiled head is not one. */
static void formats(void)
{
    char folder[TEST_PATH_MAX];
    enum err error = OK;
    test_folder_make(folder);
    struct raft_mark *mark = mark_open(folder, &error);
    raft_mark_close(&mark);
    struct bytes file;
    CU_ASSERT_TRUE_FATAL(test_file_read(folder, "raft.mark", &file));
    file.data[8] = 2;
    test_file_write(folder, "raft.mark", bytes_view(&file));
    mark = mark_open(folder, &error);
    CU_ASSERT_EQUAL(error, OK);
    raft_mark_close(&mark);

    file.data[8] = 2;
    uint64_t sum = checksum64(view_of(file.data, 16));
    for (size_t i = 0; i < 8; i++) {
        file.data[16 + i] = (uint8_t)(sum >> (8 * i));
    }
    test_file_write(folder, "raft.mark", bytes_view(&file));
    mark = mark_open(folder, &error);
    CU_ASSERT_EQUAL(error, ERR_NEWER_FORMAT);
    CU_ASSERT_PTR_NULL(mark);
    bytes_free(&file);
    test_folder_remove(folder);
}

static void errors(void)
{
    char folder[TEST_PATH_MAX];
    enum err error = OK;
    enum raft_mark_state state;
    struct raft_mark_slot slot = slot_of(1);
    bool failed;
    test_folder_make(folder);
    fault_vfs_install();
    fault_vfs_arm(FAULT_OPEN, "raft.mark", 1, SQLITE_CANTOPEN, FAULT_ONCE);
    struct raft_mark *mark = mark_open(folder, &error);
    CU_ASSERT_EQUAL(error, ERR_IO);
    fault_vfs_arm(FAULT_WRITE, "raft.mark", 1, SQLITE_FULL, FAULT_ONCE);
    mark = mark_open(folder, &error);
    CU_ASSERT_EQUAL(error, ERR_DISK_FULL);
    fault_vfs_arm(FAULT_SYNC, "raft.mark", 1, SQLITE_IOERR_FSYNC, FAULT_ONCE);
    mark = mark_open(folder, &error);
    CU_ASSERT_EQUAL(error, ERR_IO);
    CU_ASSERT_PTR_NULL(mark);
    fault_vfs_disarm();
    mark = mark_open(folder, &error);
    CU_ASSERT_EQUAL_FATAL(error, OK);
    CU_ASSERT_EQUAL(raft_mark_store(mark, 5, 0, &slot), OK);
    CU_ASSERT_EQUAL(raft_mark_store(mark, 5, 0, &slot), OK);
    CU_ASSERT_EQUAL(raft_mark_write_failure(mark, false), OK);

    fault_vfs_arm(FAULT_READ, "raft.mark", 1, SQLITE_IOERR_READ, FAULT_STAY);
    CU_ASSERT_EQUAL(raft_mark_load(mark, 5, 0, &state, &slot), ERR_IO);
    CU_ASSERT_EQUAL(raft_mark_read_failure(mark, &failed), ERR_IO);
    fault_vfs_arm(FAULT_WRITE, "raft.mark", 1, SQLITE_IOERR_WRITE, FAULT_ONCE);
    CU_ASSERT_EQUAL(raft_mark_store(mark, 5, 0, &slot), ERR_IO);
    CU_ASSERT_EQUAL(raft_mark_store(mark, 5, 0, &slot), OK);
    fault_vfs_arm(FAULT_SYNC, "raft.mark", 1, SQLITE_IOERR_FSYNC, FAULT_ONCE);
    CU_ASSERT_EQUAL(raft_mark_sync(mark), ERR_IO);
    CU_ASSERT_EQUAL(raft_mark_sync(mark), OK);
    raft_mark_close(&mark);
    raft_mark_close(&mark);
    fault_vfs_remove();
    test_folder_remove(folder);
}

/* What is no WAL has nothing to say and harms nobody; what cannot be read is an error. */
static void scan_of_other_files(void)
{
    char folder[TEST_PATH_MAX];
    char path[TEST_PATH_MAX + 32];
    struct wal_scan found;
    test_folder_make(folder);
    (void)snprintf(path, sizeof(path), "%s/raft.db-wal", folder);
    CU_ASSERT_EQUAL(wal_scan_file(path, &found), OK);
    CU_ASSERT_FALSE(found.damaged);
    uint64_t seed = 3;
    uint8_t *noise = mem_alloc(100000);
    for (size_t i = 0; i < 100000; i++) {
        noise[i] = (uint8_t)random_next(&seed);
    }
    static const size_t sizes[] = {0, 1, 31, 32, 33, 56, 4151, 4152, 100000};
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        test_file_write(folder, "raft.db-wal", view_of(noise, sizes[i]));
        CU_ASSERT_EQUAL(wal_scan_file(path, &found), OK);
        CU_ASSERT_FALSE(found.damaged);
    }
    mem_free(noise);
    fault_vfs_install();
    fault_vfs_arm(FAULT_READ, "-wal", 1, SQLITE_IOERR_READ, FAULT_ONCE);
    CU_ASSERT_EQUAL(wal_scan_file(path, &found), ERR_IO);
    fault_vfs_arm(FAULT_OPEN, "-wal", 1, SQLITE_CANTOPEN, FAULT_ONCE);
    CU_ASSERT_EQUAL(wal_scan_file(path, &found), ERR_IO);
    fault_vfs_remove();
    test_folder_remove(folder);
}

SUITE("store: raft.mark", TEST(slots_in_turn), TEST(failure_note), TEST(formats), TEST(errors),
      TEST(scan_of_other_files))
