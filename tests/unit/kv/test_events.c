/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is recorded for watchers while entries are applied: every change once, in order, as it lies in
 * history; nothing while nobody wants it. And history read back from kv.db, change by change, which a
 * watcher that lags is served from: recorded events and rows read are the same.
 */
#include "fixture.h"

static void check_same(const struct event_block *b, size_t i, const struct kv_history *row)
{
    const struct event *e = &b->items[i];
    struct key_value pair = event_pair(b, i);
    CU_ASSERT_EQUAL(e->change, row->change);
    CU_ASSERT_EQUAL(e->previous_change, row->previous_change);
    CU_ASSERT_EQUAL(e->deleted, row->deleted);
    CU_ASSERT(view_equal(pair.key, row->key));
    CU_ASSERT(view_equal(pair.value, row->value));
    CU_ASSERT_EQUAL(pair.mod_revision, change_revision(row->change));
    CU_ASSERT_EQUAL(pair.create_revision, row->create_revision);
    CU_ASSERT_EQUAL(pair.version, row->version);
    CU_ASSERT_EQUAL(pair.lease, row->lease);
}

static void recorded_is_what_history_holds(void)
{
    struct fixture f;
    struct event_block events;
    struct kv_reader *reader = NULL;
    char problem[256] = "";
    fixture_start(&f);
    fixture_put(&f, "earlier", "nobody watches");
    kv_events_take(f.kv, &events);
    CU_ASSERT_EQUAL(events.count, 0);
    event_block_free(&events);

    kv_events_want(f.kv, true);
    int64_t from = kv_revision(f.kv) + 1;
    fixture_put(&f, "a", "1");
    fixture_put(&f, "b", "");
    fixture_put(&f, "a", "2");
    struct command keep = fixture_put_command("a", "");
    keep.flags = COMMAND_IGNORE_VALUE;
    CU_ASSERT_EQUAL(fixture_error(&f, &keep), OK);
    CU_ASSERT_EQUAL(fixture_delete(&f, "a", "c"), 2); /* one revision, two changes */
    CU_ASSERT_EQUAL(fixture_delete(&f, "a", "c"), 0);
    fixture_put(&f, "a", "again");
    kv_events_take(f.kv, &events);
    CU_ASSERT_EQUAL_FATAL(events.count, 7);

    CU_ASSERT(kv_committed_revision(f.kv) < from);
    fixture_seal(&f);
    fixture_write(&f);
    CU_ASSERT(kv_committed_revision(f.kv) < from); /* not before apply was told */
    fixture_tell(&f);
    CU_ASSERT_EQUAL(kv_committed_revision(f.kv), kv_revision(f.kv));

    CU_ASSERT_EQUAL_FATAL(kv_reader_open(f.directory, 0, 0, &reader, problem, sizeof(problem)), OK);
    int64_t compacted = -1;
    CU_ASSERT_EQUAL(kv_reader_compact_revision(reader, &compacted), OK);
    CU_ASSERT_EQUAL(compacted, 0);
    for (int turn = 0; turn < 2; turn++) {
        struct kv_history row = {0};
        CU_ASSERT_EQUAL(kv_reader_history_start(reader, change_id(from, 0)), OK);
        for (size_t i = 0; i < events.count; i++) {
            CU_ASSERT_EQUAL_FATAL(kv_reader_history_next(reader, &row), OK);
            check_same(&events, i, &row);
            if (events.items[i].previous_change != 0) { /* mixed into the scan */
                struct kv_history previous = {0};
                CU_ASSERT_EQUAL(
                    kv_reader_history(reader, events.items[i].previous_change, &previous), OK);
                CU_ASSERT(view_equal(previous.key, event_key(&events, i)));
            }
        }
        CU_ASSERT_EQUAL(kv_reader_history_next(reader, &row), ERR_NOT_FOUND);
        kv_reader_history_end(reader);
        kv_reader_release(reader);
    }
    event_block_free(&events);

    kv_events_want(f.kv, false);
    fixture_put(&f, "after", "nobody watches");
    kv_events_take(f.kv, &events);
    CU_ASSERT_EQUAL(events.count, 0);
    event_block_free(&events);
    kv_events_want(f.kv, true);
    fixture_put(&f, "left", "behind"); /* goes with the state machine */
    kv_reader_close(&reader);
    fixture_end(&f);
}

SUITE("kv: events", TEST(recorded_is_what_history_holds))
