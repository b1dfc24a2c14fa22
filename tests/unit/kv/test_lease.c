/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What entries about leases mean: etcd's rules (sheet §2.7), and that deadlines follow from the log alone
 * (design: "Leases run in cluster time"; trap 53). Over real files, so that each rule can be tried after a
 * restart as well.
 */
#include "fixture.h"
#include "kv/lease.h"

#include <sqlite3.h>

#define SECOND_US UINT64_C(1000000)

/* ---- helpers -------------------------------------------------------------------------------------- */

static struct result *grant(struct fixture *f, int64_t id, int64_t ttl_s, uint64_t time_us)
{
    struct command c = {
        .op = COMMAND_LEASE_GRANT, .lease_id = id, .ttl_s = ttl_s, .cluster_time_us = time_us};
    return fixture_apply(f, &c);
}

static void granted(struct fixture *f, int64_t id, int64_t ttl_s, uint64_t time_us)
{
    struct result *result = grant(f, id, ttl_s, time_us);
    CU_ASSERT_EQUAL(result->error, OK);
    CU_ASSERT_EQUAL_FATAL(result->lease_count, 1);
    CU_ASSERT_EQUAL(result->leases[0].id, id);
    CU_ASSERT_EQUAL(result->leases[0].ttl_s, ttl_s);
    result_free(&result);
}

static enum err revoked(struct fixture *f, int64_t id)
{
    struct command c = {.op = COMMAND_LEASE_REVOKE, .lease_id = id};
    return fixture_error(f, &c);
}

static void expired(struct fixture *f, int64_t id, uint64_t deadline_us, uint64_t time_us)
{
    struct command c = {.op = COMMAND_LEASE_EXPIRE,
                        .lease_id = id,
                        .deadline_us = deadline_us,
                        .cluster_time_us = time_us};
    CU_ASSERT_EQUAL(fixture_error(f, &c), OK);
}

static struct result *keepalive(struct fixture *f, const int64_t *ids, size_t count,
                                uint64_t time_us)
{
    struct buffer octets = {0};
    for (size_t i = 0; i < count; i++) {
        buffer_u64(&octets, (uint64_t)ids[i]);
    }
    struct command c = {.op = COMMAND_LEASE_KEEPALIVE,
                        .ids = view_of(octets.data, octets.size),
                        .cluster_time_us = time_us};
    struct result *result = fixture_apply(f, &c);
    buffer_free(&octets);
    return result;
}

static void kept_alive(struct fixture *f, int64_t id, uint64_t time_us)
{
    struct result *result = keepalive(f, &id, 1, time_us);
    CU_ASSERT_EQUAL(result->error, OK);
    CU_ASSERT_EQUAL_FATAL(result->lease_count, 1);
    CU_ASSERT_TRUE(result->leases[0].ttl_s > 0);
    result_free(&result);
}

static void clock_to(struct fixture *f, uint64_t time_us)
{
    struct command c = {.op = COMMAND_CLOCK, .cluster_time_us = time_us};
    CU_ASSERT_EQUAL(fixture_error(f, &c), OK);
}

static enum err put_with(struct fixture *f, const char *key, int64_t lease, uint16_t flags)
{
    struct command c = fixture_put_command(key, (flags & COMMAND_IGNORE_VALUE) != 0 ? "" : "v");
    c.lease = lease;
    c.flags = flags;
    return fixture_error(f, &c);
}

static int64_t ttl_of(struct fixture *f, int64_t id, uint64_t time_us)
{
    struct query q = {.kind = QUERY_LEASE_TTL, .lease = id, .cluster_time_us = time_us};
    struct result *result = fixture_query(f, &q);
    CU_ASSERT_EQUAL(result->error, OK);
    CU_ASSERT_EQUAL_FATAL(result->lease_count, 1);
    CU_ASSERT_EQUAL(result->leases[0].id, id);
    int64_t ttl_s = result->leases[0].ttl_s;
    CU_ASSERT_EQUAL(result->leases[0].granted_ttl_s == 0, ttl_s == -1);
    result_free(&result);
    return ttl_s;
}

static const char *keys_of(struct fixture *f, int64_t id, char out[256])
{
    struct query q = {.kind = QUERY_LEASE_TTL, .lease = id, .want_keys = true};
    struct result *result = fixture_query(f, &q);
    (void)fixture_keys(result, out);
    result_free(&result);
    lease_table_check(&f->kv->leases);
    return out;
}

/* Every change ever made as "revision.sub key" lines, a deletion with a minus; only those from `from` on. */
static const char *changes_from(struct fixture *f, int64_t from, char out[512])
{
    char path[96];
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    size_t used = 0;
    fixture_flush(f);
    (void)snprintf(path, sizeof(path), "%s/group-0/kv.db", f->directory);
    CU_ASSERT_EQUAL_FATAL(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    CU_ASSERT_EQUAL_FATAL(
        sqlite3_prepare_v2(db,
                           "SELECT revision, sub, event, key FROM history_readable WHERE "
                           "revision >= ?1 ORDER BY change",
                           -1, &s, NULL),
        SQLITE_OK);
    sqlite3_bind_int64(s, 1, from);
    out[0] = 0;
    while (sqlite3_step(s) == SQLITE_ROW && used < 400) {
        used += (size_t)snprintf(out + used, 512 - used, "%s%d.%d%s%s", used > 0 ? " " : "",
                                 sqlite3_column_int(s, 0), sqlite3_column_int(s, 1),
                                 sqlite3_column_text(s, 2)[0] == 'd' ? "-" : "+",
                                 (const char *)sqlite3_column_text(s, 3));
    }
    (void)sqlite3_finalize(s);
    (void)sqlite3_close(db);
    return out;
}

static void restart(struct fixture *f)
{
    fixture_flush(f);
    fixture_close(f);
    fixture_open(f);
    lease_table_check(&f->kv->leases);
}

static uint64_t hash_of(struct fixture *f)
{
    uint64_t hash = 0;
    CU_ASSERT_EQUAL(kv_hash(f->kv, &hash), OK);
    return hash;
}

/* ---- grant, revoke --------------------------------------------------------------------------------- */

static void grants_and_their_refusals(void)
{
    struct fixture f;
    fixture_start(&f);
    granted(&f, 7, 10, 5 * SECOND_US);
    granted(&f, -7, 10, 5 * SECOND_US); /* etcd takes negative ids */
    const struct {
        int64_t id, ttl_s;
        uint64_t time_us;
        enum err error;
    } bad[] = {
        {7, 10, 0, ERR_LEASE_EXISTS},    {0, 10, 0, ERR_MALFORMED},
        {8, 0, 0, ERR_INVALID},          {8, -1, 0, ERR_INVALID},
        {8, 9000000001, 0, ERR_INVALID}, {8, 10, UINT64_MAX, ERR_INVALID},
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct result *result = grant(&f, bad[i].id, bad[i].ttl_s, bad[i].time_us);
        CU_ASSERT_EQUAL(result->error, bad[i].error);
        CU_ASSERT_EQUAL(result->lease_count, 0);
        result_free(&result);
    }
    granted(&f, INT64_MIN, 9000000000, 0);
    CU_ASSERT_EQUAL(kv_lease_count(f.kv), 3);
    CU_ASSERT_EQUAL(kv_revision(f.kv), 1); /* leases are no revisions */
    CU_ASSERT_EQUAL(kv_cluster_time_us(f.kv), 5 * SECOND_US);
    CU_ASSERT_EQUAL(revoked(&f, 7), OK);
    CU_ASSERT_EQUAL(revoked(&f, 7), ERR_LEASE_NOT_FOUND);
    CU_ASSERT_EQUAL(kv_revision(f.kv), 1);
    granted(&f, 7, 20, 0); /* an id may be used again */
    fixture_end(&f);
}

/* Revoke: the keys go in key order in one revision, whatever the order they came in. */
static void a_revoked_lease_takes_its_keys_in_one_revision(void)
{
    struct fixture f;
    char text[512];
    fixture_start(&f);
    granted(&f, 1, 10, 0);
    granted(&f, 2, 10, 0);
    CU_ASSERT_EQUAL(put_with(&f, "k9", 1, 0), OK);
    CU_ASSERT_EQUAL(put_with(&f, "k7", 1, 0), OK);
    CU_ASSERT_EQUAL(put_with(&f, "other", 2, 0), OK);
    fixture_flush(&f); /* some on disk, some in memory */
    CU_ASSERT_EQUAL(put_with(&f, "k8", 1, 0), OK);
    CU_ASSERT_EQUAL(kv_revision(f.kv), 5);
    CU_ASSERT_EQUAL(revoked(&f, 1), OK);
    CU_ASSERT_EQUAL(kv_revision(f.kv), 6);
    CU_ASSERT_STRING_EQUAL(changes_from(&f, 6, text), "6.0-k7 6.1-k8 6.2-k9");
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "k8", 0, text), "(none)");
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "k8", 5, text), "v");
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "other", 0, text), "v");
    fixture_end(&f);
}

/* ---- keys ------------------------------------------------------------------------------------------- */

static void puts_attach_move_and_detach(void)
{
    struct fixture f;
    char text[256];
    fixture_start(&f);
    CU_ASSERT_EQUAL(put_with(&f, "a", 1, 0), ERR_LEASE_NOT_FOUND);
    granted(&f, 1, 10, 0);
    granted(&f, 2, 10, 0);
    CU_ASSERT_EQUAL(put_with(&f, "a", 1, 0), OK);
    CU_ASSERT_EQUAL(put_with(&f, "b", 1, 0), OK);
    CU_ASSERT_EQUAL(put_with(&f, "c", 1, 0), OK);
    CU_ASSERT_EQUAL(put_with(&f, "d", 1, 0), OK);
    CU_ASSERT_STRING_EQUAL(keys_of(&f, 1, text), "a b c d");
    CU_ASSERT_EQUAL(put_with(&f, "a", 2, 0), OK);                    /* moved */
    CU_ASSERT_EQUAL(put_with(&f, "b", 0, 0), OK);                    /* detached */
    CU_ASSERT_EQUAL(put_with(&f, "c", 0, COMMAND_IGNORE_LEASE), OK); /* kept */
    CU_ASSERT_EQUAL(put_with(&f, "d", 1, COMMAND_IGNORE_VALUE), OK);
    CU_ASSERT_STRING_EQUAL(keys_of(&f, 1, text), "c d");
    CU_ASSERT_STRING_EQUAL(keys_of(&f, 2, text), "a");
    CU_ASSERT_EQUAL(fixture_delete(&f, "c", "e"), 2);
    CU_ASSERT_STRING_EQUAL(keys_of(&f, 1, text), "");
    restart(&f);
    CU_ASSERT_STRING_EQUAL(keys_of(&f, 1, text), "");
    CU_ASSERT_STRING_EQUAL(keys_of(&f, 2, text), "a");
    /* What came from disk moves like any other. */
    CU_ASSERT_EQUAL(put_with(&f, "a", 1, 0), OK);
    CU_ASSERT_STRING_EQUAL(keys_of(&f, 1, text), "a");
    CU_ASSERT_STRING_EQUAL(keys_of(&f, 2, text), "");
    CU_ASSERT_EQUAL(revoked(&f, 2), OK);
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 0, text), "v");
    CU_ASSERT_EQUAL(revoked(&f, 1), OK);
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 0, text), "(none)");
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "b", 0, text), "v");
    fixture_end(&f);
}

/* ---- time -------------------------------------------------------------------------------------------- */

/* Deadlines count from the entry's stamp; a stamp below what is known moves nothing back. */
static void time_is_the_greatest_stamp(void)
{
    struct fixture f;
    fixture_start(&f);
    granted(&f, 1, 10, 100 * SECOND_US);
    granted(&f, 2, 10, 90 * SECOND_US); /* as a new leader might, whose clock lags */
    CU_ASSERT_EQUAL(lease_table_find(&f.kv->leases, 1)->deadline_us, 110 * SECOND_US);
    CU_ASSERT_EQUAL(lease_table_find(&f.kv->leases, 2)->deadline_us, 110 * SECOND_US);
    clock_to(&f, 50 * SECOND_US);
    CU_ASSERT_EQUAL(kv_cluster_time_us(f.kv), 100 * SECOND_US);
    clock_to(&f, 105 * SECOND_US);
    CU_ASSERT_EQUAL(kv_cluster_time_us(f.kv), 105 * SECOND_US);
    kept_alive(&f, 1, 0);
    CU_ASSERT_EQUAL(lease_table_find(&f.kv->leases, 1)->deadline_us, 115 * SECOND_US);
    fixture_end(&f);
}

/* Whole seconds left, rounded down; a moment has always passed, so never the whole TTL (as etcd). */
static void time_to_live(void)
{
    struct fixture f;
    fixture_start(&f);
    granted(&f, 1, 100, 5 * SECOND_US);
    CU_ASSERT_EQUAL(ttl_of(&f, 1, 0), 99);
    CU_ASSERT_EQUAL(ttl_of(&f, 1, 5 * SECOND_US), 99);
    CU_ASSERT_EQUAL(ttl_of(&f, 1, 5 * SECOND_US + 999999), 99);
    CU_ASSERT_EQUAL(ttl_of(&f, 1, 6 * SECOND_US), 98);
    CU_ASSERT_EQUAL(ttl_of(&f, 1, 104 * SECOND_US - 1), 1);
    CU_ASSERT_EQUAL(ttl_of(&f, 1, 104 * SECOND_US), 0);
    CU_ASSERT_EQUAL(ttl_of(&f, 1, 1000 * SECOND_US), 0); /* due, but alive until an entry ends it */
    clock_to(&f, 10 * SECOND_US);
    CU_ASSERT_EQUAL(ttl_of(&f, 1, 0), 94); /* serializable: what this node has applied */
    CU_ASSERT_EQUAL(ttl_of(&f, 2, 0), -1);
    fixture_end(&f);
}

/* ---- keepalive, expiry ------------------------------------------------------------------------------- */

/* One entry renews many; each is answered in its place, unknown ones with 0. */
static void a_keepalive_is_a_batch(void)
{
    struct fixture f;
    fixture_start(&f);
    granted(&f, 1, 10, 0);
    granted(&f, 2, 20, 0);
    const int64_t ids[] = {2, 99, 1, 2};
    struct result *result = keepalive(&f, ids, ARRAY_COUNT(ids), 5 * SECOND_US);
    CU_ASSERT_EQUAL(result->error, OK);
    CU_ASSERT_EQUAL_FATAL(result->lease_count, 4);
    const int64_t ttls[] = {20, 0, 10, 20};
    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(result->leases[i].id, ids[i]);
        CU_ASSERT_EQUAL(result->leases[i].ttl_s, ttls[i]);
    }
    CU_ASSERT_EQUAL(result->revision, 1);
    result_free(&result);
    CU_ASSERT_EQUAL(lease_table_find(&f.kv->leases, 1)->deadline_us, 15 * SECOND_US);
    CU_ASSERT_EQUAL(lease_table_find(&f.kv->leases, 2)->deadline_us, 25 * SECOND_US);
    fixture_end(&f);
}

static void an_expiry_ends_the_lease_it_names(void)
{
    struct fixture f;
    char text[512];
    fixture_start(&f);
    granted(&f, 1, 10, SECOND_US);
    granted(&f, 2, 10, SECOND_US);
    CU_ASSERT_EQUAL(put_with(&f, "b", 1, 0), OK);
    CU_ASSERT_EQUAL(put_with(&f, "a", 1, 0), OK);
    CU_ASSERT_EQUAL(put_with(&f, "c", 2, 0), OK);
    struct lease_due due[4];
    CU_ASSERT_EQUAL(kv_leases_take_due(f.kv, 11 * SECOND_US - 1, due, 4), 0);
    CU_ASSERT_EQUAL(kv_leases_take_due(f.kv, 11 * SECOND_US, due, 4), 2);
    CU_ASSERT_EQUAL(kv_leases_taken(f.kv), 2);
    int64_t revision = kv_revision(f.kv);
    expired(&f, due[0].id, due[0].deadline_us, 11 * SECOND_US);
    expired(&f, due[1].id, due[1].deadline_us, 11 * SECOND_US);
    /* Two leases that end together are two revisions. */
    CU_ASSERT_EQUAL(kv_revision(f.kv), revision + 2);
    CU_ASSERT_EQUAL(kv_lease_count(f.kv), 0);
    CU_ASSERT_EQUAL(kv_leases_taken(f.kv), 0);
    expired(&f, 1, 11 * SECOND_US, 11 * SECOND_US); /* proposed twice: void */
    CU_ASSERT_EQUAL(kv_revision(f.kv), revision + 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(changes_from(&f, revision + 1, text), ".0-a "));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, ".1-b"));
    fixture_end(&f);
}

/* Trap 53: an expiry names the renewal it saw; another one in between voids it. So does a deadline that has
 * not come in the time of the log, whoever proposed it. */
static void an_expiry_of_an_older_renewal_is_void(void)
{
    struct fixture f;
    char text[64];
    fixture_start(&f);
    granted(&f, 1, 10, 0);
    CU_ASSERT_EQUAL(put_with(&f, "a", 1, 0), OK);
    struct lease_due due[1];
    CU_ASSERT_EQUAL(kv_leases_take_due(f.kv, 10 * SECOND_US, due, 1), 1);
    kept_alive(&f, 1, 10 * SECOND_US); /* in the log before the expiry */
    CU_ASSERT_EQUAL(kv_leases_taken(f.kv), 0);
    expired(&f, 1, due[0].deadline_us, 30 * SECOND_US);
    CU_ASSERT_EQUAL(kv_lease_count(f.kv), 1);
    CU_ASSERT_STRING_EQUAL(fixture_get(&f, "a", 0, text), "v");
    granted(&f, 2, 10, 40 * SECOND_US);
    expired(&f, 2, 50 * SECOND_US, 50 * SECOND_US - 1);
    CU_ASSERT_EQUAL(kv_lease_count(f.kv), 2);
    expired(&f, 2, 50 * SECOND_US, 50 * SECOND_US);
    CU_ASSERT_EQUAL(kv_lease_count(f.kv), 1);
    /* A new lease of the same id is another lease. */
    CU_ASSERT_EQUAL(revoked(&f, 1), OK);
    granted(&f, 1, 10, 0);
    expired(&f, 1, due[0].deadline_us, 90 * SECOND_US);
    CU_ASSERT_EQUAL(kv_lease_count(f.kv), 1);
    fixture_end(&f);
}

/* Beyond its deadline a lease is alive: a renewal that comes first keeps it, a put still takes it. */
static void nothing_ends_by_time_alone(void)
{
    struct fixture f;
    fixture_start(&f);
    granted(&f, 1, 10, 0);
    clock_to(&f, 1000 * SECOND_US);
    CU_ASSERT_EQUAL(put_with(&f, "a", 1, 0), OK);
    kept_alive(&f, 1, 0);
    CU_ASSERT_EQUAL(ttl_of(&f, 1, 0), 9);
    fixture_end(&f);
}

/* ---- lists ------------------------------------------------------------------------------------------- */

static void leases_are_listed_by_their_end(void)
{
    struct fixture f;
    fixture_start(&f);
    for (int64_t id = 1; id <= 5; id++) {
        granted(&f, id, 100 - id, 0);
    }
    kept_alive(&f, 5, 50 * SECOND_US); /* 145 s: last now */
    for (uint64_t rows = 1; rows <= 5; rows += 2) {
        struct query q = {.kind = QUERY_LEASES};
        struct result *result = fixture_query_sliced(&f, &q, rows);
        const int64_t order[] = {4, 3, 2, 1, 5};
        CU_ASSERT_EQUAL_FATAL(result->lease_count, 5);
        for (size_t i = 0; i < 5; i++) {
            CU_ASSERT_EQUAL(result->leases[i].id, order[i]);
        }
        result_free(&result);
    }
    fixture_end(&f);
}

/* The list is of one moment, whatever is applied while it is made. */
static void a_list_is_of_one_moment(void)
{
    struct fixture f;
    fixture_start(&f);
    for (int64_t id = 1; id <= 3; id++) {
        granted(&f, id, 10, 0);
    }
    struct query q = {.kind = QUERY_LEASES};
    struct query *moved = query_create(&q);
    struct kv_read *read = kv_read_start(f.kv, &moved);
    bool done = false;
    CU_ASSERT_EQUAL(kv_read_step(f.kv, read, 1, &done), OK);
    CU_ASSERT_FALSE(done);
    CU_ASSERT_EQUAL(revoked(&f, 1), OK);
    CU_ASSERT_EQUAL(revoked(&f, 2), OK);
    CU_ASSERT_EQUAL(revoked(&f, 3), OK);
    while (!done) {
        CU_ASSERT_EQUAL(kv_read_step(f.kv, read, 1, &done), OK);
    }
    struct result *result = kv_read_finish(&read);
    CU_ASSERT_EQUAL(result->lease_count, 3);
    result_free(&result);
    fixture_end(&f);
}

/* ---- disk and hash ----------------------------------------------------------------------------------- */

/* Everything comes back after a restart: deadlines, time, keys; renewals between two sealings are one row. */
static void a_restart_brings_leases_back(void)
{
    struct fixture f;
    char text[256];
    fixture_start(&f);
    granted(&f, 1, 10, SECOND_US);
    granted(&f, -2, 20, SECOND_US);
    granted(&f, 3, 30, SECOND_US);
    CU_ASSERT_EQUAL(put_with(&f, "a", 1, 0), OK);
    CU_ASSERT_EQUAL(put_with(&f, "b", -2, 0), OK);
    fixture_flush(&f);
    for (uint64_t i = 2; i < 8; i++) {
        kept_alive(&f, 1, i * SECOND_US);
    }
    CU_ASSERT_EQUAL(revoked(&f, 3), OK);
    granted(&f, 4, 5, 0);
    CU_ASSERT_EQUAL(revoked(&f, 4), OK); /* came and went within a batch */
    fixture_seal(&f);
    CU_ASSERT_EQUAL(f.batch->lease_count, 3); /* 1, 3 gone, 4 gone */
    uint64_t hash = hash_of(&f);
    restart(&f);
    CU_ASSERT_EQUAL(hash_of(&f), hash);
    CU_ASSERT_EQUAL(kv_lease_count(f.kv), 2);
    CU_ASSERT_EQUAL(kv_cluster_time_us(f.kv), 7 * SECOND_US);
    CU_ASSERT_EQUAL(lease_table_find(&f.kv->leases, 1)->deadline_us, 17 * SECOND_US);
    CU_ASSERT_EQUAL(lease_table_find(&f.kv->leases, 1)->granted_us, SECOND_US);
    CU_ASSERT_EQUAL(lease_table_find(&f.kv->leases, -2)->deadline_us, 21 * SECOND_US);
    CU_ASSERT_STRING_EQUAL(keys_of(&f, 1, text), "a");
    CU_ASSERT_STRING_EQUAL(keys_of(&f, -2, text), "b");
    struct lease_due due[4];
    CU_ASSERT_EQUAL(kv_leases_take_due(f.kv, 20 * SECOND_US, due, 4), 1);
    CU_ASSERT_EQUAL(due[0].id, 1);
    fixture_end(&f);
}

/* Nodes with the same log have the same hash, whatever was sealed when and taken by whom; deadlines count. */
static void the_hash_covers_leases(void)
{
    struct fixture f;
    struct fixture g;
    struct lease_due due[4];
    fixture_start(&f);
    fixture_start(&g);
    uint64_t empty = hash_of(&f);
    granted(&f, 1, 10, SECOND_US);
    CU_ASSERT_NOT_EQUAL(hash_of(&f), empty);
    granted(&g, 1, 10, SECOND_US);
    fixture_flush(&g);
    CU_ASSERT_EQUAL(kv_leases_take_due(g.kv, 100 * SECOND_US, due, 4), 1);
    CU_ASSERT_EQUAL(hash_of(&f), hash_of(&g));
    kept_alive(&g, 1, 2 * SECOND_US);
    clock_to(&f, 2 * SECOND_US);
    CU_ASSERT_NOT_EQUAL(hash_of(&f), hash_of(&g));
    kept_alive(&f, 1, 2 * SECOND_US);
    clock_to(&g, 2 * SECOND_US);
    CU_ASSERT_EQUAL(hash_of(&f), hash_of(&g));
    fixture_end(&f);
    fixture_end(&g);
}

/* A row that this program cannot have written stops the node at its first entry. */
static void rows_that_make_no_sense_are_corruption(void)
{
    const char *const damage[] = {
        "INSERT INTO leases VALUES(5, 0, 1, 1)",
        "INSERT INTO leases VALUES(0, 1, 1, 1)",
        "UPDATE current SET lease = 77",
    };
    for (size_t i = 0; i < ARRAY_COUNT(damage); i++) {
        struct fixture f;
        char path[96];
        sqlite3 *db = NULL;
        fixture_start(&f);
        fixture_put(&f, "a", "1");
        fixture_flush(&f);
        fixture_close(&f);
        (void)snprintf(path, sizeof(path), "%s/group-0/kv.db", f.directory);
        CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &db), SQLITE_OK);
        CU_ASSERT_EQUAL_FATAL(sqlite3_exec(db, damage[i], NULL, NULL, NULL), SQLITE_OK);
        (void)sqlite3_close(db);
        fixture_open(&f);
        CU_ASSERT_EQUAL(fixture_entry(&f, ENTRY_NOOP, view_of(NULL, 0), NULL), ERR_CORRUPT);
        fixture_end(&f);
    }
}

SUITE("kv: leases", TEST(grants_and_their_refusals),
      TEST(a_revoked_lease_takes_its_keys_in_one_revision), TEST(puts_attach_move_and_detach),
      TEST(time_is_the_greatest_stamp), TEST(time_to_live), TEST(a_keepalive_is_a_batch),
      TEST(an_expiry_ends_the_lease_it_names), TEST(an_expiry_of_an_older_renewal_is_void),
      TEST(nothing_ends_by_time_alone), TEST(leases_are_listed_by_their_end),
      TEST(a_list_is_of_one_moment), TEST(a_restart_brings_leases_back),
      TEST(the_hash_covers_leases), TEST(rows_that_make_no_sense_are_corruption))
