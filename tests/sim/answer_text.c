/* SPDX-License-Identifier: Apache-2.0 */
/* answer_text.c: see answer_text.h. */
#include "answer_text.h"

#include "model.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void add(struct buffer *out, const char *format, ...) PRINTF_LIKE(2, 3);

static void add(struct buffer *out, const char *format, ...)
{
    char text[160];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    ASSERT(size >= 0 && (size_t)size < sizeof(text));
    buffer_append(out, text, (size_t)size);
}

void answer_text_head(struct buffer *out, int64_t revision, int64_t count, bool more,
                      bool succeeded)
{
    add(out, "r%" PRId64 " n%" PRId64 "%s%s", revision, count, more ? " more" : "",
        succeeded ? " yes" : "");
}

void answer_text_error(struct buffer *out, int64_t revision, enum err error)
{
    add(out, "r%" PRId64 " error %s", revision, err_text(error));
}

void answer_text_pair(struct buffer *out, const struct key_value *pair, uint64_t value,
                      size_t value_size)
{
    add(out, " {%.*s %" PRIu64 "+%zu c%" PRId64 " m%" PRId64 " v%" PRId64 " l%" PRIx64 "}",
        (int)pair->key.size, (const char *)pair->key.data, value, value_size, pair->create_revision,
        pair->mod_revision, pair->version, (uint64_t)pair->lease);
}

void answer_text_lease(struct buffer *out, int64_t id, int64_t ttl_s)
{
    add(out, " <%" PRIx64 " %" PRId64 ">", (uint64_t)id, ttl_s);
}

void answer_text_open(struct buffer *out, enum txn_op_kind kind)
{
    add(out, " [%d ", (int)kind);
}

void answer_text_close(struct buffer *out)
{
    add(out, "]");
}

const char *answer_text_done(struct buffer *out)
{
    buffer_u8(out, 0);
    out->size--;
    return (const char *)out->data;
}

static void flat(struct buffer *out, const struct result *r)
{
    if (r->error != OK) {
        answer_text_error(out, r->revision, r->error);
        return;
    }
    answer_text_head(out, r->revision, r->count, r->more, r->succeeded);
    for (size_t i = 0; i < r->kv_count; i++) {
        const struct key_value *pair = &r->kvs[i];
        answer_text_pair(out, pair, pair->value.size == 0 ? 0 : model_value_of(pair->value),
                         pair->value.size);
    }
    for (size_t i = 0; i < r->lease_count; i++) {
        answer_text_lease(out, r->leases[i].id, r->leases[i].ttl_s);
    }
}

void answer_text_result(struct buffer *out, const struct result *result)
{
    const struct result *at[TXN_DEPTH_MAX] = {result};
    size_t next[TXN_DEPTH_MAX] = {0};
    size_t depth = 1;
    flat(out, result);
    while (depth > 0) {
        const struct result *r = at[depth - 1];
        if (r->error != OK || next[depth - 1] == r->response_count) {
            depth--;
            if (depth > 0) {
                answer_text_close(out);
            }
            continue;
        }
        const struct result_response *response = &r->responses[next[depth - 1]++];
        ASSERT(depth < TXN_DEPTH_MAX);
        answer_text_open(out, response->kind);
        flat(out, response->result);
        at[depth] = response->result;
        next[depth++] = 0;
    }
    (void)answer_text_done(out);
}
