/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_log.c: the log as the core sees it: the terms of all of it, the entries of its end, and how
 * much of it is on disk. In: entries to append, points to truncate, completions of the disk. Out:
 * terms, copies of entries, the next persist. Raft §5.3.
 *
 * Terms are kept as runs (first index, term): a log of millions of entries has as many runs as it
 * had leaders, so every prevLogTerm question is answered without the disk. Entries are kept in chunks
 * of one allocation each, payload copied once; a running sum of bytes in each entry makes every byte
 * budget a subtraction.
 *
 * Durability: every persist remembers the last index it makes durable. Truncation lowers that mark
 * in all persists under way, so the completion of a write that held a truncated entry says nothing
 * about the entry that took its place (trap 14).
 *
 * Deliberately not here: what is committed, who has what.
 */
#include "raft_internal.h"

/* ---- term runs ----------------------------------------------------------------------------------------- */

/* Position of the run that holds index; trimmed_index < index <= last_index. */
static size_t run_of(const struct raft_log *log, uint64_t index)
{
    ASSERT(log->run_count > 0);
    size_t low = 0;
    size_t high = log->run_count - 1;
    if (log->runs[high].first_index <= index) {
        return high; /* nearly every question is about the newest term */
    }
    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        if (log->runs[middle].first_index <= index) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

uint64_t raft_log_term_at(const struct raft_log *log, uint64_t index)
{
    ASSERT(index >= log->trimmed_index);
    ASSERT(index <= log->last_index);
    return index == log->trimmed_index ? log->trimmed_term : log->runs[run_of(log, index)].term;
}

uint64_t raft_log_last_term(const struct raft_log *log)
{
    return raft_log_term_at(log, log->last_index);
}

uint64_t raft_log_run_first(const struct raft_log *log, uint64_t index)
{
    return log->runs[run_of(log, index)].first_index;
}

uint64_t raft_log_last_of_term(const struct raft_log *log, uint64_t term, uint64_t limit)
{
    limit = raft_min(limit, log->last_index);
    for (size_t i = log->run_count; i-- > 0;) {
        if (log->runs[i].term < term) {
            return 0;
        }
        if (log->runs[i].term == term) {
            uint64_t last =
                i + 1 < log->run_count ? log->runs[i + 1].first_index - 1 : log->last_index;
            last = raft_min(last, limit);
            return last >= log->runs[i].first_index ? last : 0;
        }
    }
    return 0;
}

static void runs_append(struct raft_log *log, uint64_t index, uint64_t term)
{
    if (log->run_count > 0 && log->runs[log->run_count - 1].term == term) {
        return;
    }
    ARRAY_RESERVE(log->runs, log->run_capacity, log->run_count + 1);
    log->runs[log->run_count++] = (struct raft_term_run){.first_index = index, .term = term};
}

/* ---- chunks -------------------------------------------------------------------------------------------- */

static struct log_chunk *chunk_at(const struct raft_log *log, size_t position)
{
    return log->chunks[log->chunk_start + position];
}

static void chunk_free(struct log_chunk *chunk)
{
    mem_free(chunk->data);
    mem_free(chunk);
}

static struct log_chunk *chunk_add(struct raft_log *log, uint64_t first_index, size_t data_bytes)
{
    if (log->chunk_start > 0 && log->chunk_start + log->chunk_count == log->chunk_capacity) {
        memmove(log->chunks, log->chunks + log->chunk_start,
                log->chunk_count * sizeof(struct log_chunk *));
        log->chunk_start = 0;
    }
    ARRAY_RESERVE(log->chunks, log->chunk_capacity, log->chunk_start + log->chunk_count + 1);
    struct log_chunk *chunk = mem_alloc(sizeof(*chunk));
    chunk->first_index = first_index;
    chunk->count = 0;
    chunk->data_used = 0;
    chunk->data_size = data_bytes > LOG_CHUNK_DATA_BYTES ? data_bytes : LOG_CHUNK_DATA_BYTES;
    chunk->data = mem_alloc(chunk->data_size);
    log->chunks[log->chunk_start + log->chunk_count++] = chunk;
    return chunk;
}

/* Position of the chunk that holds index, which must be in memory. */
static size_t chunk_of(const struct raft_log *log, uint64_t index)
{
    ASSERT(index >= log->memory_first);
    ASSERT(index <= log->last_index);
    size_t low = 0;
    size_t high = log->chunk_count - 1;
    if (chunk_at(log, high)->first_index <= index) {
        return high;
    }
    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        if (chunk_at(log, middle)->first_index <= index) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

static const struct log_item *item_at(const struct raft_log *log, uint64_t index)
{
    const struct log_chunk *chunk = chunk_at(log, chunk_of(log, index));
    return &chunk->items[index - chunk->first_index];
}

const struct entry *raft_log_entry(const struct raft_log *log, uint64_t index)
{
    return &item_at(log, index)->entry;
}

/* Running sum of bytes up to and including index; index >= memory_first - 1. */
static uint64_t end_bytes_at(const struct raft_log *log, uint64_t index)
{
    return index < log->memory_first ? log->memory_base_bytes : item_at(log, index)->end_bytes;
}

uint64_t raft_log_bytes_between(const struct raft_log *log, uint64_t after, uint64_t through)
{
    if (through <= after) {
        return 0;
    }
    return end_bytes_at(log, through) - end_bytes_at(log, after);
}

uint64_t raft_log_fit(const struct raft_log *log, uint64_t after, uint64_t through,
                      uint64_t bytes_max)
{
    ASSERT(after + 1 >= log->memory_first);
    ASSERT(through > after);
    uint64_t start = end_bytes_at(log, after);
    uint64_t low = after + 1; /* always fits: a large entry must get through */
    uint64_t high = through;
    while (low < high) {
        uint64_t middle = low + (high - low + 1) / 2;
        if (end_bytes_at(log, middle) - start <= bytes_max) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

struct entries *raft_log_slice(const struct raft_log *log, uint64_t first, uint64_t last)
{
    ASSERT(first <= last);
    size_t count = (size_t)(last - first + 1);
    uint64_t bytes = raft_log_bytes_between(log, first - 1, last);
    struct entries *block = entries_create(count, (size_t)bytes - count * ENTRY_OVERHEAD);
    size_t position = chunk_of(log, first);
    uint64_t index = first;
    while (index <= last) {
        const struct log_chunk *chunk = chunk_at(log, position++);
        size_t i = (size_t)(index - chunk->first_index);
        for (; i < chunk->count && index <= last; i++, index++) {
            entries_add(block, &chunk->items[i].entry);
        }
    }
    return block;
}

/* ---- growing and shrinking -------------------------------------------------------------------------------- */

static uint64_t *mark_at(struct raft_log *log, size_t i)
{
    return &log->marks[(log->mark_start + i) % ARRAY_COUNT(log->marks)];
}

/* The last entry makes the log larger by so much. */
static void mark(struct raft_log *log, uint64_t bytes)
{
    log->mark_bytes += bytes;
    if (log->keep_bytes == 0 || log->mark_bytes < log->keep_bytes / LOG_KEEP_MARKS) {
        return;
    }
    log->mark_bytes = 0;
    if (log->mark_count == ARRAY_COUNT(log->marks)) {
        log->mark_start = (log->mark_start + 1) % ARRAY_COUNT(log->marks);
        log->mark_count--;
    }
    *mark_at(log, log->mark_count++) = log->last_index;
}

static void marks_cut(struct raft_log *log)
{
    while (log->mark_count > 0 && *mark_at(log, log->mark_count - 1) > log->last_index) {
        log->mark_count--;
    }
}

uint64_t raft_log_keep_after(const struct raft_log *log, size_t times)
{
    size_t back = times * LOG_KEEP_MARKS + 1;
    if (log->mark_count < back) {
        return log->trimmed_index;
    }
    size_t at = (log->mark_start + log->mark_count - back) % ARRAY_COUNT(log->marks);
    return raft_max(log->marks[at], log->trimmed_index);
}

void raft_log_append(struct raft_log *log, const struct entry *e)
{
    ASSERT(e->index == log->last_index + 1);
    ASSERT(e->term >= raft_log_last_term(log));
    struct log_chunk *chunk = log->chunk_count > 0 ? chunk_at(log, log->chunk_count - 1) : NULL;
    if (chunk == NULL || chunk->count == LOG_CHUNK_ITEMS ||
        chunk->data_size - chunk->data_used < e->data.size) {
        chunk = chunk_add(log, e->index, e->data.size);
    }
    struct log_item *item = &chunk->items[chunk->count];
    item->entry = *e;
    item->entry.data.data = chunk->data + chunk->data_used;
    if (e->data.size > 0) {
        memcpy(chunk->data + chunk->data_used, e->data.data, e->data.size);
    }
    item->end_bytes = end_bytes_at(log, log->last_index) + e->data.size + ENTRY_OVERHEAD;
    chunk->data_used += e->data.size;
    chunk->count++;
    runs_append(log, e->index, e->term);
    log->last_index = e->index;
    mark(log, e->data.size + ENTRY_OVERHEAD);
}

void raft_log_truncate(struct raft_log *log, uint64_t from)
{
    ASSERT(from > log->trimmed_index);
    ASSERT(from <= log->last_index);
    while (log->chunk_count > 0) {
        struct log_chunk *chunk = chunk_at(log, log->chunk_count - 1);
        if (chunk->first_index < from) {
            size_t keep = (size_t)(from - chunk->first_index);
            if (keep < chunk->count) {
                const uint8_t *end = chunk->items[keep].entry.data.data;
                chunk->data_used = (size_t)(end - chunk->data);
                chunk->count = keep;
            }
            break;
        }
        chunk_free(chunk);
        log->chunk_count--;
    }
    if (from <= log->memory_first) {
        /* Nothing is left in memory. Below memory_first only a damaged log is ever cut. */
        ASSERT(log->chunk_count == 0);
        log->memory_first = from;
    }
    while (log->run_count > 0 && log->runs[log->run_count - 1].first_index >= from) {
        log->run_count--;
    }
    log->last_index = from - 1;
    marks_cut(log);

    if (from <= log->handed_index) {
        log->truncate_from = log->truncate_from == 0 ? from : raft_min(log->truncate_from, from);
        log->handed_index = from - 1;
    }
    log->durable_index = raft_min(log->durable_index, from - 1);
    for (size_t i = 0; i < log->pending_count; i++) {
        struct log_pending *p = &log->pendings[(log->pending_start + i) % PERSISTS_OUTSTANDING_MAX];
        p->last_index = raft_min(p->last_index, from - 1);
    }
}

static void chunk_drop_first(struct raft_log *log)
{
    struct log_chunk *chunk = chunk_at(log, 0);
    log->memory_base_bytes = chunk->items[chunk->count - 1].end_bytes;
    log->memory_first = chunk->first_index + chunk->count;
    chunk_free(chunk);
    log->chunk_start++;
    log->chunk_count--;
    if (log->chunk_count == 0) {
        log->chunk_start = 0;
    }
}

void raft_log_evict(struct raft_log *log, uint64_t applied, uint64_t bytes_max)
{
    while (log->chunk_count > 0) {
        const struct log_chunk *chunk = chunk_at(log, 0);
        if (chunk->first_index + chunk->count - 1 > applied) {
            break;
        }
        if (raft_log_bytes_between(log, log->memory_first - 1, applied) <= bytes_max) {
            break;
        }
        chunk_drop_first(log);
    }
}

void raft_log_trim(struct raft_log *log, uint64_t index)
{
    ASSERT(index > log->trimmed_index);
    ASSERT(index <= log->durable_index);
    uint64_t term = raft_log_term_at(log, index);
    size_t gone = 0;
    while (gone < log->run_count) {
        uint64_t run_last =
            gone + 1 < log->run_count ? log->runs[gone + 1].first_index - 1 : log->last_index;
        if (run_last > index) {
            break;
        }
        gone++;
    }
    log->run_count -= gone;
    if (log->run_count > 0) {
        memmove(log->runs, log->runs + gone, log->run_count * sizeof(*log->runs));
        log->runs[0].first_index = index + 1;
    }
    while (log->chunk_count > 0) {
        const struct log_chunk *chunk = chunk_at(log, 0);
        if (chunk->first_index + chunk->count - 1 > index) {
            break;
        }
        chunk_drop_first(log);
    }
    /* A chunk that straddles the point stays: memory_first may lie below the log's start. */
    log->trimmed_index = index;
    log->trimmed_term = term;
}

static void forget_all(struct raft_log *log, uint64_t index)
{
    for (size_t i = 0; i < log->chunk_count; i++) {
        chunk_free(chunk_at(log, i));
    }
    log->chunk_start = 0;
    log->chunk_count = 0;
    log->memory_first = index + 1;
    log->run_count = 0;
    if (log->handed_index > index) {
        log->truncate_from = index + 1;
    }
    log->last_index = index;
    log->handed_index = index;
    marks_cut(log);
}

void raft_log_reset(struct raft_log *log, uint64_t index, uint64_t term)
{
    ASSERT(index > log->trimmed_index);
    bool holds = index <= log->last_index && raft_log_term_at(log, index) == term;
    /* The rows up to index go with the reset; a truncation below it still concerns those behind. */
    log->truncate_from = log->truncate_from == 0 ? 0 : raft_max(log->truncate_from, index + 1);
    if (!holds) {
        forget_all(log, index);
    }
    log->handed_index = raft_max(log->handed_index, index);
    log->durable_index = raft_max(log->durable_index, index);
    log->durable_index = raft_min(log->durable_index, log->handed_index);
    for (size_t i = 0; i < log->pending_count; i++) {
        struct log_pending *p = &log->pendings[(log->pending_start + i) % PERSISTS_OUTSTANDING_MAX];
        p->last_index = raft_min(p->last_index, log->handed_index);
    }
    if (holds) {
        raft_log_trim(log, index);
    } else {
        log->trimmed_index = index;
        log->trimmed_term = term;
    }
    log->reset_waiting = true;
    log->reset_sequence = 0;
}

bool raft_log_reset_pending(const struct raft_log *log)
{
    return log->reset_waiting || log->durable_sequence < log->reset_sequence;
}

/* ---- the disk ----------------------------------------------------------------------------------------------- */

void raft_log_hand_out(struct raft_log *log, struct raft_persist *out)
{
    ASSERT(log->pending_count < PERSISTS_OUTSTANDING_MAX);
    out->sequence = ++log->persist_sequence;
    out->truncate_from = log->truncate_from;
    out->entries = log->handed_index < log->last_index
                       ? raft_log_slice(log, log->handed_index + 1, log->last_index)
                       : NULL;
    log->truncate_from = 0;
    if (log->reset_waiting) {
        out->reset_index = log->trimmed_index;
        out->reset_term = log->trimmed_term;
        log->reset_waiting = false;
        log->reset_sequence = out->sequence;
    }
    log->handed_index = log->last_index;
    size_t at = (log->pending_start + log->pending_count) % PERSISTS_OUTSTANDING_MAX;
    log->pendings[at] =
        (struct log_pending){.sequence = out->sequence, .last_index = log->last_index};
    log->pending_count++;
}

void raft_log_durable(struct raft_log *log, uint64_t sequence)
{
    ASSERT(sequence <= log->persist_sequence);
    if (sequence <= log->durable_sequence) {
        return;
    }
    log->durable_sequence = sequence;
    while (log->pending_count > 0 && log->pendings[log->pending_start].sequence <= sequence) {
        log->durable_index =
            raft_max(log->durable_index, log->pendings[log->pending_start].last_index);
        log->pending_start = (log->pending_start + 1) % PERSISTS_OUTSTANDING_MAX;
        log->pending_count--;
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

void raft_log_init(struct raft_log *log, const struct raft_boot *boot)
{
    ASSERT(boot->last_log_index >= boot->trimmed_index);
    memset(log, 0, sizeof(*log));
    log->keep_bytes = boot->log_keep_bytes;
    log->trimmed_index = boot->trimmed_index;
    log->trimmed_term = boot->trimmed_term;
    uint64_t in_memory = boot->tail == NULL ? 0 : boot->tail->count;
    ASSERT(in_memory <= boot->last_log_index - boot->trimmed_index);

    log->last_index = boot->last_log_index - in_memory;
    log->memory_first = log->last_index + 1;
    for (size_t i = 0; i < boot->term_run_count; i++) {
        const struct raft_term_run *run = &boot->term_runs[i];
        ASSERT(run->first_index > boot->trimmed_index);
        ASSERT(run->first_index <= boot->last_log_index);
        if (run->first_index <= log->last_index) {
            ASSERT(run->term >=
                   (log->run_count > 0 ? log->runs[log->run_count - 1].term : log->trimmed_term));
            runs_append(log, run->first_index, run->term);
        }
    }
    /* The tail brings its own terms. */
    for (size_t i = 0; i < in_memory; i++) {
        raft_log_append(log, &boot->tail->items[i]);
    }
    log->handed_index = log->last_index;
    log->durable_index = log->last_index;
    log->persist_sequence = boot->last_persist_sequence;
    log->durable_sequence = boot->last_persist_sequence;
}

void raft_log_release(struct raft_log *log)
{
    for (size_t i = 0; i < log->chunk_count; i++) {
        chunk_free(chunk_at(log, i));
    }
    mem_free(log->chunks);
    mem_free(log->runs);
    memset(log, 0, sizeof(*log));
}

void raft_log_check(const struct raft_log *log)
{
    ASSERT(log->trimmed_index <= log->durable_index);
    ASSERT(log->durable_index <= log->handed_index);
    ASSERT(log->handed_index <= log->last_index);
    ASSERT(log->durable_sequence <= log->persist_sequence);
    ASSERT(log->memory_first <= log->last_index + 1);
    ASSERT((log->run_count == 0) == (log->trimmed_index == log->last_index));
    for (size_t i = 0; i < log->run_count; i++) {
        uint64_t least_index = i == 0 ? log->trimmed_index + 1 : log->runs[i - 1].first_index + 1;
        uint64_t least_term = i == 0 ? log->trimmed_term : log->runs[i - 1].term + 1;
        ASSERT(log->runs[i].first_index >= least_index);
        ASSERT(i > 0 || log->runs[i].first_index == least_index);
        ASSERT(log->runs[i].term >= least_term);
        ASSERT(log->runs[i].first_index <= log->last_index);
    }
    uint64_t next = log->memory_first;
    uint64_t bytes = log->memory_base_bytes;
    for (size_t i = 0; i < log->chunk_count; i++) {
        const struct log_chunk *chunk = chunk_at(log, i);
        ASSERT(chunk->first_index == next);
        ASSERT(chunk->count > 0);
        ASSERT(chunk->data_used <= chunk->data_size);
        ASSERT(chunk->items[0].end_bytes > bytes);
        next = chunk->first_index + chunk->count;
        bytes = chunk->items[chunk->count - 1].end_bytes;
    }
    ASSERT(next == log->last_index + 1);
    for (size_t i = 0; i < log->pending_count; i++) {
        const struct log_pending *p =
            &log->pendings[(log->pending_start + i) % PERSISTS_OUTSTANDING_MAX];
        ASSERT(p->sequence > log->durable_sequence);
        ASSERT(p->last_index <= log->handed_index);
    }
}
