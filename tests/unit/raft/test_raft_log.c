/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_raft_log.c: term runs, chunks, byte sums, eviction, trimming, and what is durable when. The long test
 * compares with a plain array under random operations.
 */
#include "raft/raft_internal.h"
#include "suite.h"

#include <stdlib.h>

static struct raft_boot empty_boot(void)
{
    return (struct raft_boot){.id = 1};
}

static void append(struct raft_log *log, uint64_t term, size_t bytes)
{
    uint8_t *data = mem_alloc(bytes);
    memset(data, (int)(term & 0xff), bytes);
    struct entry e = {.index = log->last_index + 1,
                      .term = term,
                      .type = ENTRY_COMMAND,
                      .data = view_of(data, bytes)};
    raft_log_append(log, &e);
    mem_free(data);
}

/* Hands out what is new; returns the sequence. */
static uint64_t hand_out(struct raft_log *log)
{
    struct raft_persist p = {0};
    raft_log_hand_out(log, &p);
    entries_free(&p.entries);
    return p.sequence;
}

static void terms_are_found_by_runs(void)
{
    struct raft_boot boot = empty_boot();
    struct raft_log log;
    raft_log_init(&log, &boot);
    CU_ASSERT_EQUAL(raft_log_last_term(&log), 0);
    const uint64_t terms[] = {1, 1, 1, 2, 5, 5, 5, 5, 9};
    for (size_t i = 0; i < ARRAY_COUNT(terms); i++) {
        append(&log, terms[i], 3);
    }
    for (size_t i = 0; i < ARRAY_COUNT(terms); i++) {
        CU_ASSERT_EQUAL(raft_log_term_at(&log, i + 1), terms[i]);
    }
    CU_ASSERT_EQUAL(log.run_count, 4);
    CU_ASSERT_EQUAL(raft_log_term_at(&log, 0), 0);
    CU_ASSERT_EQUAL(raft_log_run_first(&log, 7), 5);
    CU_ASSERT_EQUAL(raft_log_last_of_term(&log, 5, 99), 8);
    CU_ASSERT_EQUAL(raft_log_last_of_term(&log, 5, 6), 6);
    CU_ASSERT_EQUAL(raft_log_last_of_term(&log, 5, 4), 0);
    CU_ASSERT_EQUAL(raft_log_last_of_term(&log, 3, 99), 0);
    CU_ASSERT_EQUAL(raft_log_last_of_term(&log, 10, 99), 0);
    raft_log_check(&log);
    raft_log_release(&log);
}

/* Trap 14 in the small: three writes of index 2 under way, two of them for entries that are gone. */
static void completions_count_for_what_they_wrote(void)
{
    struct raft_boot boot = empty_boot();
    struct raft_log log;
    raft_log_init(&log, &boot);
    append(&log, 1, 1);
    append(&log, 1, 1);
    uint64_t first = hand_out(&log);
    raft_log_truncate(&log, 2);
    append(&log, 2, 1);
    append(&log, 2, 1);
    uint64_t second = hand_out(&log);
    raft_log_truncate(&log, 2);
    append(&log, 3, 1);
    struct raft_persist p = {0};
    raft_log_hand_out(&log, &p);
    CU_ASSERT_EQUAL(p.truncate_from, 2);
    CU_ASSERT_EQUAL(p.entries->count, 1);
    entries_free(&p.entries);
    raft_log_durable(&log, first);
    CU_ASSERT_EQUAL(log.durable_index, 1);
    raft_log_durable(&log, second);
    CU_ASSERT_EQUAL(log.durable_index, 1);
    raft_log_check(&log);
    raft_log_durable(&log, p.sequence);
    CU_ASSERT_EQUAL(log.durable_index, 2);
    raft_log_durable(&log, first); /* said again: nothing */
    CU_ASSERT_EQUAL(log.durable_index, 2);
    raft_log_release(&log);
}

/* What was cut before it was handed out needs no truncation on disk. */
static void unwritten_entries_are_cut_in_memory_only(void)
{
    struct raft_boot boot = empty_boot();
    struct raft_log log;
    raft_log_init(&log, &boot);
    append(&log, 1, 1);
    (void)hand_out(&log);
    append(&log, 1, 1);
    raft_log_truncate(&log, 2);
    CU_ASSERT_EQUAL(log.truncate_from, 0);
    append(&log, 2, 1);
    struct raft_persist p = {0};
    raft_log_hand_out(&log, &p);
    CU_ASSERT_EQUAL(p.truncate_from, 0);
    CU_ASSERT_EQUAL(p.entries->first_index, 2);
    CU_ASSERT_EQUAL(p.entries->items[0].term, 2);
    entries_free(&p.entries);
    raft_log_release(&log);
}

/* Two cuts before one write: the lower one counts. */
static void the_lowest_cut_is_told(void)
{
    struct raft_boot boot = empty_boot();
    struct raft_log log;
    raft_log_init(&log, &boot);
    for (int i = 0; i < 5; i++) {
        append(&log, 1, 1);
    }
    (void)hand_out(&log);
    raft_log_truncate(&log, 3);
    append(&log, 2, 1);
    append(&log, 2, 1);
    raft_log_truncate(&log, 4);
    append(&log, 3, 1);
    struct raft_persist p = {0};
    raft_log_hand_out(&log, &p);
    CU_ASSERT_EQUAL(p.truncate_from, 3);
    CU_ASSERT_EQUAL(p.entries->first_index, 3);
    CU_ASSERT_EQUAL(p.entries->count, 2);
    entries_free(&p.entries);
    raft_log_release(&log);
}

static void budgets_take_what_fits_and_at_least_one(void)
{
    struct raft_boot boot = empty_boot();
    struct raft_log log;
    raft_log_init(&log, &boot);
    for (int i = 0; i < 10; i++) {
        append(&log, 1, 100);
    }
    uint64_t one = 100 + ENTRY_OVERHEAD;
    CU_ASSERT_EQUAL(raft_log_bytes_between(&log, 0, 10), 10 * one);
    CU_ASSERT_EQUAL(raft_log_bytes_between(&log, 7, 7), 0);
    CU_ASSERT_EQUAL(raft_log_fit(&log, 0, 10, 3 * one), 3);
    CU_ASSERT_EQUAL(raft_log_fit(&log, 0, 10, 4 * one - 1), 3);
    CU_ASSERT_EQUAL(raft_log_fit(&log, 5, 10, 0), 6);
    CU_ASSERT_EQUAL(raft_log_fit(&log, 5, 10, UINT64_MAX), 10);
    raft_log_release(&log);
}

/* Whole chunks of applied entries go once they exceed the cache, the rest stays readable. */
static void applied_entries_are_evicted(void)
{
    struct raft_boot boot = empty_boot();
    struct raft_log log;
    raft_log_init(&log, &boot);
    for (int i = 0; i < 4 * LOG_CHUNK_ITEMS; i++) {
        append(&log, 1, 1);
    }
    raft_log_evict(&log, 0, 0);
    CU_ASSERT_EQUAL(log.memory_first, 1);
    raft_log_evict(&log, LOG_CHUNK_ITEMS + 5, 0);
    CU_ASSERT_EQUAL(log.memory_first, LOG_CHUNK_ITEMS + 1);
    raft_log_evict(&log, 3 * LOG_CHUNK_ITEMS, (uint64_t)1 << 40);
    CU_ASSERT_EQUAL(log.memory_first, LOG_CHUNK_ITEMS + 1);
    raft_log_check(&log);
    CU_ASSERT_EQUAL(raft_log_entry(&log, LOG_CHUNK_ITEMS + 1)->index, LOG_CHUNK_ITEMS + 1);
    CU_ASSERT_EQUAL(raft_log_term_at(&log, 1), 1);
    raft_log_release(&log);
}

static void trimming_keeps_terms_right(void)
{
    struct raft_boot boot = empty_boot();
    struct raft_log log;
    raft_log_init(&log, &boot);
    for (uint64_t i = 0; i < 30; i++) {
        append(&log, 1 + i / 10, 1);
    }
    raft_log_durable(&log, hand_out(&log));
    raft_log_trim(&log, 10);
    raft_log_check(&log);
    CU_ASSERT_EQUAL(log.trimmed_term, 1);
    CU_ASSERT_EQUAL(raft_log_term_at(&log, 10), 1);
    CU_ASSERT_EQUAL(raft_log_term_at(&log, 11), 2);
    raft_log_trim(&log, 15);
    raft_log_check(&log);
    CU_ASSERT_EQUAL(raft_log_term_at(&log, 15), 2);
    CU_ASSERT_EQUAL(raft_log_run_first(&log, 18), 16);
    raft_log_trim(&log, 30);
    raft_log_check(&log);
    CU_ASSERT_EQUAL(raft_log_last_term(&log), 3);
    append(&log, 4, 1);
    raft_log_check(&log);
    CU_ASSERT_EQUAL(raft_log_term_at(&log, 31), 4);
    raft_log_release(&log);
}

static void a_start_takes_up_what_the_disk_had(void)
{
    struct entries *tail = entries_create(2, 10);
    struct entry e = {.index = 21, .term = 4, .type = ENTRY_COMMAND, .data = view_of("abc", 3)};
    entries_add(tail, &e);
    e.index = 22;
    e.term = 6;
    entries_add(tail, &e);
    struct raft_term_run runs[] = {{11, 2}, {15, 3}, {21, 4}, {22, 6}};
    struct raft_boot boot = {.id = 1,
                             .trimmed_index = 10,
                             .trimmed_term = 2,
                             .term_runs = runs,
                             .term_run_count = 4,
                             .tail = tail,
                             .last_log_index = 22,
                             .last_persist_sequence = 77};
    struct raft_log log;
    raft_log_init(&log, &boot);
    entries_free(&tail);
    raft_log_check(&log);
    CU_ASSERT_EQUAL(log.memory_first, 21);
    CU_ASSERT_EQUAL(log.durable_index, 22);
    CU_ASSERT_EQUAL(raft_log_term_at(&log, 10), 2);
    CU_ASSERT_EQUAL(raft_log_term_at(&log, 14), 2);
    CU_ASSERT_EQUAL(raft_log_term_at(&log, 20), 3);
    CU_ASSERT_EQUAL(raft_log_last_term(&log), 6);
    append(&log, 6, 0);
    CU_ASSERT_EQUAL(hand_out(&log), 78);
    raft_log_release(&log);
}

/* ---- against a model ------------------------------------------------------------------------------ */

#define MODEL_MAX   20000
#define MODEL_STEPS 60000

struct model {
    uint64_t terms[MODEL_MAX + 1];
    size_t sizes[MODEL_MAX + 1];
    uint64_t last, term;
};

static void check_slice(const struct raft_log *log, const struct model *m, uint64_t *random)
{
    if (log->memory_first > m->last) {
        return;
    }
    uint64_t low = raft_max(log->memory_first, log->trimmed_index + 1);
    if (low > m->last) {
        return;
    }
    uint64_t first = low + random_below(random, m->last - low + 1);
    uint64_t last = first + random_below(random, m->last - first + 1);
    last = raft_min(last, first + 700);
    struct entries *block = raft_log_slice(log, first, last);
    uint64_t bytes = 0;
    for (uint64_t i = first; i <= last; i++) {
        const struct entry *e = &block->items[i - first];
        bytes += m->sizes[i] + ENTRY_OVERHEAD;
        if (e->index != i || e->term != m->terms[i] || e->data.size != m->sizes[i] ||
            (e->data.size > 0 && e->data.data[e->data.size - 1] != (m->terms[i] & 0xff))) {
            CU_FAIL("slice differs from the model");
        }
    }
    if (block->bytes != bytes || raft_log_bytes_between(log, first - 1, last) != bytes) {
        CU_FAIL("bytes differ from the model");
    }
    entries_free(&block);
}

static void it_agrees_with_a_plain_array(void)
{
    struct model *m = mem_zalloc(sizeof(*m));
    struct raft_boot boot = empty_boot();
    struct raft_log log;
    uint64_t random = 5;
    raft_log_init(&log, &boot);
    m->term = 1;
    for (int step = 0; step < MODEL_STEPS; step++) {
        uint64_t what = random_below(&random, 100);
        if (what < 90 && m->last < MODEL_MAX) {
            m->last++;
            m->terms[m->last] = m->term;
            m->sizes[m->last] = (size_t)random_below(&random, what == 0 ? 70000 : 300);
            append(&log, m->term, m->sizes[m->last]);
        } else if (what == 91) {
            m->term++;
        } else if (what == 92 && m->last > log.trimmed_index + 1 && log.memory_first <= m->last) {
            uint64_t least = raft_max(log.memory_first, log.trimmed_index + 1);
            uint64_t span = raft_min(m->last - least + 1, 400);
            uint64_t from = m->last - random_below(&random, span);
            raft_log_truncate(&log, from);
            m->last = from - 1;
            m->term++;
        } else if (what == 93) {
            raft_log_durable(&log, hand_out(&log));
        } else if (what == 94 && log.durable_index > log.trimmed_index) {
            raft_log_evict(&log, log.durable_index - random_below(&random, 50) % 2, 20000);
        } else if (what == 95 && log.durable_index > log.trimmed_index + 3000) {
            raft_log_trim(&log, log.durable_index - 2000);
        } else {
            check_slice(&log, m, &random);
        }
        raft_log_check(&log);
        if (log.last_index != m->last ||
            (m->last > 0 && raft_log_last_term(&log) != m->terms[m->last])) {
            CU_FAIL("end differs from the model");
        }
        if (m->last > log.trimmed_index) {
            uint64_t i = log.trimmed_index + 1 + random_below(&random, m->last - log.trimmed_index);
            if (raft_log_term_at(&log, i) != m->terms[i]) {
                CU_FAIL("term differs from the model");
            }
        }
    }
    CU_ASSERT_TRUE(log.trimmed_index > 0);
    CU_ASSERT_TRUE(log.memory_first > 1);
    CU_ASSERT_TRUE(log.run_count > 10);
    raft_log_release(&log);
    mem_free(m);
}

SUITE("raft: log", TEST(terms_are_found_by_runs), TEST(completions_count_for_what_they_wrote),
      TEST(unwritten_entries_are_cut_in_memory_only), TEST(the_lowest_cut_is_told),
      TEST(budgets_take_what_fits_and_at_least_one), TEST(applied_entries_are_evicted),
      TEST(trimming_keeps_terms_right), TEST(a_start_takes_up_what_the_disk_had),
      TEST(it_agrees_with_a_plain_array))
