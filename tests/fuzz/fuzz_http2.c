/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_http2.c: whatever octets come to the HTTP/2 engine behind a valid preface, with an owner that
 * answers, streams, resets and withholds windows. libFuzzer.
 */
#include "base.h"

#include "net/http2.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct owner {
    size_t open;
    uint32_t turn;
};

static const struct http2_header header_200[] = {
    {.name = ":status", .value = {(const uint8_t *)"200", 3}, .lasting = true}};

static void act(struct owner *o, struct http2_stream *s)
{
    if (s->finished) {
        return;
    }
    switch (o->turn++ % 5) {
    case 0:
        if (!s->responded) {
            http2_respond(s, header_200, 1, true);
        }
        break;
    case 1:
        if (!s->responded) {
            http2_respond(s, header_200, 1, false);
        }
        break;
    case 2:
        if (s->responded) {
            http2_want_drained(s, 30000);
            struct http2_chunk *chunk = http2_chunk_create(70000);
            memset(chunk->data, 'x', chunk->size);
            http2_write(s, &chunk);
        }
        break;
    case 3:
        if (s->responded) {
            http2_finish(s, "0", view_of_text("m"));
        }
        break;
    default:
        http2_reset(s, HTTP2_CANCEL);
        break;
    }
}

static void on_request(void *context, struct http2_stream *s)
{
    struct owner *o = context;
    o->open++;
    s->owner = o;
    act(o, s);
}

static void on_data(void *context, struct http2_stream *s, struct view data)
{
    struct owner *o = context;
    http2_consume(s, data.size / 2);
    act(o, s);
}

static void on_ended(void *context, struct http2_stream *s)
{
    act(context, s);
}

static void on_drained(void *context, struct http2_stream *s)
{
    act(context, s);
    http2_want_drained(s, 10); /* also when that is so already */
}

static void on_closed(void *context, struct http2_stream *s)
{
    struct owner *o = context;
    ASSERT(s->owner == o);
    ASSERT(o->open > 0);
    o->open--;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http2_callbacks callbacks = {.request = on_request,
                                                     .data = on_data,
                                                     .ended = on_ended,
                                                     .drained = on_drained,
                                                     .closed = on_closed};
    static const struct http2_limits limits = {.streams_max = 100, .header_bytes_max = 4096};
    struct owner owner = {.turn = size > 0 ? data[0] : 0};
    struct http2_shared *shared = http2_shared_create(&callbacks, &limits);
    struct http2 *h = http2_create(shared, &owner);
    struct buffer out = {0};
    enum err error = http2_feed(h, view_of_text(HTTP2_PREFACE), 1);
    for (size_t at = 1; at < size && error == OK && !http2_is_over(h);) {
        size_t piece = 1 + (size_t)data[at] * 4;
        if (piece > size - at) {
            piece = size - at;
        }
        error = http2_feed(h, view_of(data + at, piece), at * 1000);
        at += piece;
        out.size = 0;
        (void)http2_take(h, &out, 100000);
        ASSERT(http2_stream_count(h) >= owner.open);
    }
    http2_destroy(&h);
    ASSERT(owner.open == 0);
    http2_shared_destroy(&shared);
    buffer_free(&out);
    return 0;
}
