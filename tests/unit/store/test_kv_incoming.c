/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table that comes in chunks: whole, it is the table of the next generation; out of order, too much, with a
 * flipped bit, of a newer format or on a full disk it is refused, and the living table is not touched.
 * Real files. Traps 46, 58.
 */
#include "../kv/fixture.h"
#include "base/sha256.h"
#include "fault_vfs.h"
#include "store_test.h"

/* A copy of a table with `keys` keys, as octets. */
static struct bytes copy_of(int keys)
{
    struct fixture f;
    struct kv_snapshot *s = NULL;
    struct kv_snapshot_facts facts;
    char problem[TEST_PROBLEM_MAX];
    bool done = false;
    struct bytes out = {0};
    fixture_start(&f);
    for (int i = 0; i < keys; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "key-%04d", i);
        fixture_put(&f, key, "a value of some octets, so that there are pages");
    }
    fixture_flush(&f);
    CU_ASSERT_EQUAL_FATAL(kv_snapshot_begin(f.directory, 0, 0, 0, &s, problem, sizeof(problem)),
                          OK);
    while (!done) {
        CU_ASSERT_EQUAL_FATAL(kv_snapshot_step(s, 1000, &done), OK);
    }
    kv_snapshot_facts(s, &facts);
    out.size = facts.bytes;
    out.data = mem_alloc(out.size);
    CU_ASSERT_EQUAL_FATAL(kv_snapshot_read(s, 0, out.data, out.size), OK);
    kv_snapshot_close(&s);
    fixture_end(&f);
    return out;
}

static void digest_of(const struct bytes *octets, uint8_t out[SHA256_BYTES])
{
    struct sha256 s;
    sha256_start(&s);
    sha256_add(&s, bytes_view(octets));
    sha256_finish(&s, out);
}

static enum err write_all(struct kv_incoming *in, const struct bytes *octets, size_t chunk)
{
    enum err error = OK;
    for (size_t at = 0; error == OK && at < octets->size; at += chunk) {
        size_t left = octets->size - at;
        error = kv_incoming_write(in, at, view_of(octets->data + at, left < chunk ? left : chunk));
    }
    return error;
}

/* Each time another one. */
static struct kv_incoming_source source_of(uint64_t bytes)
{
    static uint64_t index;
    return (struct kv_incoming_source){.member = 7, .index = ++index, .term = 1, .bytes = bytes};
}

static enum err receive(const char *folder, const struct bytes *octets, size_t chunk,
                        struct kv_meta *facts)
{
    struct kv_incoming *in = NULL;
    uint8_t digest[SHA256_BYTES];
    digest_of(octets, digest);
    const struct kv_incoming_source source = source_of(octets->size);
    enum err error = kv_incoming_begin(folder, 0, 1, &source, &in);
    if (error == OK) {
        error = write_all(in, octets, chunk);
    }
    if (error == OK) {
        error = kv_incoming_complete(in, view_of(digest, sizeof(digest)), facts);
    }
    kv_incoming_close(&in);
    return error;
}

/* Unused pages behind the end: SQLite does not mind. */
static void octets_grow(struct bytes *octets)
{
    octets->data = mem_realloc(octets->data, octets->size + 262144);
    memset(octets->data + octets->size, 0, 262144);
    octets->size += 262144;
}

static void whole(void)
{
    struct fixture f;
    struct kv_meta facts;
    struct kv_meta meta;
    struct bytes octets = copy_of(300);
    char problem[TEST_PROBLEM_MAX];
    fixture_start(&f);
    fixture_put(&f, "living", "table");
    fixture_flush(&f);
    test_file_write(f.directory, "group-0/kv-1.db-wal", view_of_text("of an attempt before"));
    CU_ASSERT_EQUAL(receive(f.directory, &octets, 5000, &facts), OK);
    /* a power of two that SQLite's own VFS would cut to nothing */
    octets_grow(&octets);
    CU_ASSERT_EQUAL(receive(f.directory, &octets, 131072, &facts), OK);
    octets.size -= 262144;
    CU_ASSERT_EQUAL(receive(f.directory, &octets, octets.size, &facts), OK);
    CU_ASSERT_EQUAL(facts.applied_index, 300);
    CU_ASSERT_EQUAL(facts.revision, 301);
    CU_ASSERT_EQUAL(facts.generation, 1);
    struct kv_writer *w = NULL;
    CU_ASSERT_EQUAL_FATAL(kv_writer_open(f.directory, 0, 1, &w, &meta, problem, sizeof(problem)),
                          OK);
    CU_ASSERT_EQUAL(meta.applied_index, 300);
    CU_ASSERT_EQUAL(meta.generation, 1);
    kv_writer_close(&w);
    char value[64];
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "living", 0, value), "table");
    bytes_free(&octets);
    fixture_end(&f);
}

static void refused(void)
{
    struct fixture f;
    struct kv_incoming *in = NULL;
    struct kv_meta facts;
    uint8_t digest[SHA256_BYTES];
    struct bytes octets = copy_of(100);
    fixture_start(&f);
    digest_of(&octets, digest);

    struct kv_incoming_source source = source_of(octets.size);
    CU_ASSERT_EQUAL_FATAL(kv_incoming_begin(f.directory, 0, 1, &source, &in), OK);
    CU_ASSERT_EQUAL(kv_incoming_write(in, 4096, view_of(octets.data, 10)), ERR_INVALID);
    CU_ASSERT_EQUAL(kv_incoming_write(in, 0, view_of(octets.data, 10)), OK);
    CU_ASSERT_EQUAL(kv_incoming_write(in, 0, view_of(octets.data, 10)), ERR_INVALID); /* again */
    CU_ASSERT_EQUAL(kv_incoming_received(in), 10);
    CU_ASSERT_EQUAL(kv_incoming_write(in, 10, view_of(octets.data, octets.size)), ERR_INVALID);
    octets.data[5000] ^= 1;
    CU_ASSERT_EQUAL(kv_incoming_write(in, 10, view_of(octets.data + 10, octets.size - 10)), OK);
    CU_ASSERT_EQUAL(kv_incoming_complete(in, view_of(digest, sizeof(digest)), &facts),
                    ERR_CHECKSUM);
    kv_incoming_close(&in);
    octets.data[5000] ^= 1;

    /* of another kind of file; of a newer format */
    octets.data[68] ^= 1; /* application id */
    CU_ASSERT_EQUAL(receive(f.directory, &octets, octets.size, &facts), ERR_CORRUPT);
    octets.data[68] ^= 1;
    octets.data[63] = 99; /* user_version */
    CU_ASSERT_EQUAL(receive(f.directory, &octets, octets.size, &facts), ERR_NEWER_FORMAT);
    octets.data[63] = KV_DB_FORMAT;
    CU_ASSERT_EQUAL(receive(f.directory, &octets, octets.size, &facts), OK);

    source = source_of(UINT64_MAX / 2);
    CU_ASSERT_EQUAL(kv_incoming_begin(f.directory, 0, 1, &source, &in), ERR_DISK_FULL);
    CU_ASSERT_PTR_NULL(in);
    fault_vfs_install();
    fault_vfs_arm(FAULT_WRITE, "kv-1.db", 2, SQLITE_FULL, FAULT_ONCE);
    CU_ASSERT_EQUAL(receive(f.directory, &octets, 4096, &facts), ERR_DISK_FULL);
    fault_vfs_arm(FAULT_SYNC, "kv-1.db", 1, SQLITE_IOERR_FSYNC, FAULT_ONCE);
    CU_ASSERT_EQUAL(receive(f.directory, &octets, 4096, &facts), ERR_IO);
    fault_vfs_arm(FAULT_OPEN, "kv-1.db", 1, SQLITE_CANTOPEN, FAULT_ONCE);
    CU_ASSERT_EQUAL(receive(f.directory, &octets, 4096, &facts), ERR_IO);
    fault_vfs_remove();
    bytes_free(&octets);
    fixture_end(&f);
}

/* Trap 46: a transfer that was cut off goes on where it was, of the same copy only; and it is nobody's table. */
static void resumed(void)
{
    struct fixture f;
    struct kv_incoming *in = NULL;
    struct kv_meta facts;
    uint8_t digest[SHA256_BYTES];
    uint64_t found = 99;
    struct bytes octets = copy_of(200);
    fixture_start(&f);
    digest_of(&octets, digest);
    struct kv_incoming_source source = source_of(octets.size);
    CU_ASSERT_EQUAL_FATAL(kv_incoming_begin(f.directory, 0, 1, &source, &in), OK);
    CU_ASSERT_EQUAL(kv_incoming_write(in, 0, view_of(octets.data, 9000)), OK);
    kv_incoming_close(&in);
    /* a start: the living table is the one, the beginning stays */
    CU_ASSERT_EQUAL(kv_generation_find(f.directory, 0, 0, &found), OK);
    CU_ASSERT_EQUAL(found, 0);
    CU_ASSERT_EQUAL(kv_generations_clean(f.directory, 0, 0), OK);
    CU_ASSERT_EQUAL_FATAL(kv_incoming_begin(f.directory, 0, 1, &source, &in), OK);
    CU_ASSERT_EQUAL(kv_incoming_received(in), 9000);
    CU_ASSERT_EQUAL(kv_incoming_write(in, 9000, view_of(octets.data + 9000, octets.size - 9000)),
                    OK);
    CU_ASSERT_EQUAL(kv_incoming_complete(in, view_of(digest, sizeof(digest)), &facts), OK);
    CU_ASSERT_EQUAL(facts.applied_index, 200);
    kv_incoming_close(&in);

    /* whole and not named by raft.db: removed at a start */
    CU_ASSERT_EQUAL(kv_generations_clean(f.directory, 0, 0), OK);
    CU_ASSERT_EQUAL_FATAL(kv_incoming_begin(f.directory, 0, 1, &source, &in), OK);
    CU_ASSERT_EQUAL(kv_incoming_received(in), 0);
    CU_ASSERT_EQUAL(kv_incoming_write(in, 0, view_of(octets.data, 9000)), OK);
    kv_incoming_close(&in);
    /* even where raft.db's own is not there, a beginning is no table */
    CU_ASSERT_EQUAL(kv_generation_find(f.directory, 0, 3, &found), OK);
    CU_ASSERT_EQUAL(found, 3);
    CU_ASSERT_EQUAL(kv_generation_find(f.directory, 7, 0, &found), OK);
    CU_ASSERT_EQUAL(found, 0);

    /* another copy; a beginning that was lost; a beginning that is damaged */
    struct kv_incoming_source other = source;
    other.term++;
    CU_ASSERT_EQUAL_FATAL(kv_incoming_begin(f.directory, 0, 1, &other, &in), OK);
    CU_ASSERT_EQUAL(kv_incoming_received(in), 0);
    CU_ASSERT_EQUAL(kv_incoming_write(in, 0, view_of(octets.data, 9000)), OK);
    kv_incoming_close(&in);
    test_file_write(f.directory, "group-0/kv-1.db-part", view_of_text("short"));
    CU_ASSERT_EQUAL_FATAL(kv_incoming_begin(f.directory, 0, 1, &other, &in), OK);
    CU_ASSERT_EQUAL(kv_incoming_received(in), 0);
    octets.data[300] ^= 1;
    CU_ASSERT_EQUAL(kv_incoming_write(in, 0, view_of(octets.data, 9000)), OK);
    octets.data[300] ^= 1;
    kv_incoming_close(&in);
    CU_ASSERT_EQUAL_FATAL(kv_incoming_begin(f.directory, 0, 1, &other, &in), OK);
    CU_ASSERT_EQUAL(kv_incoming_write(in, 9000, view_of(octets.data + 9000, octets.size - 9000)),
                    OK);
    CU_ASSERT_EQUAL(kv_incoming_complete(in, view_of(digest, sizeof(digest)), &facts),
                    ERR_CHECKSUM);
    kv_incoming_close(&in);
    CU_ASSERT_EQUAL_FATAL(kv_incoming_begin(f.directory, 0, 1, &other, &in), OK);
    CU_ASSERT_EQUAL(kv_incoming_received(in), 0); /* not again the same way */
    kv_incoming_close(&in);
    bytes_free(&octets);
    fixture_end(&f);
}

SUITE("store: a table that comes in", TEST(whole), TEST(refused), TEST(resumed))
