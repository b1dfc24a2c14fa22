/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fixture.h: a state machine over real SQLite files in a directory of its own, with a flusher in the
 * same thread that tests drive step by step: seal, write, tell. Each step is separate, because reads
 * must be right between any two of them.
 */
#ifndef HOLDFAST_TEST_KV_FIXTURE_H
#define HOLDFAST_TEST_KV_FIXTURE_H

#include "kv.h"
#include "suite.h"

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#define FIXTURE_CACHE_BYTES (UINT64_C(1) << 20)

struct fixture {
    char directory[64];
    struct kv_limits limits;
    struct kv_writer *writer;
    struct kv *kv;
    struct kv_batch *batch; /* sealed, not written */
    uint64_t written;       /* written, the state machine not told */
    uint64_t index;
    uint64_t now_us;
};

static inline void fixture_open(struct fixture *f)
{
    char problem[256] = "";
    struct kv_meta meta = {0};
    struct kv_reader *reader = NULL;
    enum err error =
        kv_writer_open(f->directory, 0, 0, &f->writer, &meta, problem, sizeof(problem));
    if (error == OK) {
        error = kv_reader_open(f->directory, 0, 0, &reader, problem, sizeof(problem));
    }
    if (error != OK) {
        (void)fprintf(stderr, "fixture: %s: %s\n", err_text(error), problem);
        abort();
    }
    f->kv = kv_create(&reader, &meta, &f->limits);
    f->index = meta.applied_index;
}

static inline void fixture_start(struct fixture *f)
{
    *f = (struct fixture){
        .limits = {.batch_changes_max = UINT64_MAX,
                   .batch_bytes_max = UINT64_MAX,
                   .batch_age_us = UINT64_MAX,
                   .overlay_bytes_max = UINT64_MAX,
                   .cache_bytes_max = FIXTURE_CACHE_BYTES},
    };
    (void)snprintf(f->directory, sizeof(f->directory), "/tmp/holdfast-kv-XXXXXX");
    if (mkdtemp(f->directory) == NULL) {
        abort();
    }
    fixture_open(f);
}

static inline void fixture_close(struct fixture *f)
{
    kv_batch_free(&f->batch);
    kv_destroy(&f->kv);
    kv_writer_close(&f->writer);
    f->written = 0;
}

static inline int fixture_remove_one(const char *path, const struct stat *status, int type,
                                     struct FTW *walk)
{
    UNUSED(status);
    UNUSED(type);
    UNUSED(walk);
    return remove(path);
}

static inline void fixture_end(struct fixture *f)
{
    fixture_close(f);
    (void)nftw(f->directory, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- the flusher, in steps; each does nothing when it is not its turn ------------------------------ */

static inline void fixture_seal(struct fixture *f)
{
    if (f->batch == NULL && f->written == 0) {
        f->batch = kv_seal(f->kv);
    }
}

static inline void fixture_write(struct fixture *f)
{
    if (f->batch != NULL) {
        CU_ASSERT_EQUAL_FATAL(kv_writer_write(f->writer, f->batch), OK);
        f->written = f->batch->number;
        kv_batch_free(&f->batch);
    }
}

static inline void fixture_tell(struct fixture *f)
{
    if (f->written != 0) {
        kv_flushed(f->kv, f->written);
        f->written = 0;
    }
}

/* Everything applied so far goes to disk. */
static inline void fixture_flush(struct fixture *f)
{
    fixture_write(f);
    fixture_tell(f);
    fixture_seal(f);
    fixture_write(f);
    fixture_tell(f);
}

/* ---- entries ------------------------------------------------------------------------------------- */

static inline enum err fixture_entry(struct fixture *f, enum entry_type type, struct view data,
                                     struct result **out)
{
    struct entry e = {.index = f->index + 1, .term = 1, .type = type, .data = data};
    enum err error = kv_apply(f->kv, &e, f->now_us, out != NULL, out);
    if (error == OK) {
        f->index++;
    }
    return error;
}

/* Apply the command and return its result, for the caller to free. */
static inline struct result *fixture_apply(struct fixture *f, const struct command *c)
{
    size_t size = command_size(c);
    uint8_t *octets = mem_alloc(size);
    struct result *result = NULL;
    command_encode(c, octets);
    CU_ASSERT_EQUAL_FATAL(fixture_entry(f, ENTRY_COMMAND, view_of(octets, size), &result), OK);
    CU_ASSERT_PTR_NOT_NULL_FATAL(result);
    mem_free(octets);
    return result;
}

/* Apply and return only the error in the answer. */
static inline enum err fixture_error(struct fixture *f, const struct command *c)
{
    struct result *result = fixture_apply(f, c);
    enum err error = result->error;
    result_free(&result);
    return error;
}

static inline struct command fixture_put_command(const char *key, const char *value)
{
    return (struct command){
        .op = COMMAND_PUT, .key = view_of_text(key), .value = view_of_text(value)};
}

static inline struct command fixture_delete_command(const char *key, const char *end)
{
    return (struct command){
        .op = COMMAND_DELETE_RANGE, .key = view_of_text(key), .range_end = view_of_text(end)};
}

static inline void fixture_put(struct fixture *f, const char *key, const char *value)
{
    struct command c = fixture_put_command(key, value);
    CU_ASSERT_EQUAL(fixture_error(f, &c), OK);
}

/* Returns how many were deleted. */
static inline int64_t fixture_delete(struct fixture *f, const char *key, const char *end)
{
    struct command c = fixture_delete_command(key, end);
    struct result *result = fixture_apply(f, &c);
    CU_ASSERT_EQUAL(result->error, OK);
    int64_t count = result->count;
    result_free(&result);
    return count;
}

/* ---- reads --------------------------------------------------------------------------------------- */

static inline struct result *fixture_query_sliced(struct fixture *f, const struct query *q,
                                                  uint64_t rows_max)
{
    struct query *moved = query_create(q);
    struct kv_read *read = kv_read_start(f->kv, &moved);
    bool done = false;
    CU_ASSERT_PTR_NULL(moved);
    while (!done) {
        CU_ASSERT_EQUAL_FATAL(kv_read_step(f->kv, read, rows_max, &done), OK);
    }
    struct result *result = kv_read_finish(&read);
    CU_ASSERT_PTR_NULL(read);
    return result;
}

static inline struct result *fixture_query(struct fixture *f, const struct query *q)
{
    return fixture_query_sliced(f, q, 1000);
}

static inline struct query fixture_range(const char *key, const char *end)
{
    return (struct query){.key = view_of_text(key), .range_end = view_of_text(end)};
}

/* All keys: etcd's way to say it. */
static inline struct query fixture_everything(void)
{
    static const uint8_t zero = 0;
    return (struct query){.key = view_of(&zero, 1), .range_end = view_of(&zero, 1)};
}

static inline bool fixture_view_is(struct view v, const char *text)
{
    return view_equal(v, view_of_text(text));
}

/* The value of one key as text at a revision (0: newest); "(none)" if it is not there. */
static inline const char *fixture_get(struct fixture *f, const char *key, int64_t revision,
                                      char out[64])
{
    struct query q = {.key = view_of_text(key), .revision = revision};
    struct result *result = fixture_query(f, &q);
    CU_ASSERT_EQUAL(result->error, OK);
    (void)snprintf(out, 64, "(none)");
    if (result->kv_count == 1) {
        (void)snprintf(out, 64, "%.*s", (int)result->kvs[0].value.size,
                       (const char *)result->kvs[0].value.data);
    }
    result_free(&result);
    return out;
}

/* The keys of an answer joined by blanks. */
static inline const char *fixture_keys(const struct result *r, char out[256])
{
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < r->kv_count && used < 256; i++) {
        used += (size_t)snprintf(out + used, 256 - used, "%s%.*s", i > 0 ? " " : "",
                                 (int)r->kvs[i].key.size, (const char *)r->kvs[i].key.data);
    }
    return out;
}

#endif
