/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_http1.c: whatever octets come to the HTTP/1.1 engine in whatever pieces, answered in every way an
 * owner may answer: at the header, at the end, later, whole, in pieces, broken off. libFuzzer; the first
 * octet says in which pieces the rest comes, the second feeds the owner's choices.
 */
#include "base.h"

#include "net/http1.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct owner {
    struct http1 *h;
    uint64_t choices;
    bool open; /* a request is out and not answered completely */
    bool later;
    uint64_t body_left;
};

static void answer(struct owner *o)
{
    struct http1_header header = {.name = "X-A", .value = view_of_text("b")};
    struct http1_answer out = {.status = random_below(&o->choices, 2) == 0 ? 200 : 304,
                               .content_type = "text/plain",
                               .headers = &header,
                               .header_count = 1,
                               .body = view_of_text("body"),
                               .close = random_below(&o->choices, 8) == 0};
    if (http1_is_streaming(o->h)) {
        http1_write(o->h, view_of_text("more"));
    } else if (random_below(&o->choices, 2) == 0) {
        o->open = false;
        http1_respond(o->h, &out);
        return;
    } else {
        http1_begin(o->h, &out);
    }
    switch (random_below(&o->choices, 4)) {
    case 0:
        o->later = true;
        return;
    case 1:
        http1_break(o->h);
        break;
    default:
        http1_finish(o->h);
        break;
    }
    o->open = false;
}

static void on_request(void *context, const struct http1_request *request)
{
    struct owner *o = context;
    ASSERT(!o->open); /* one at a time */
    ASSERT(request->target.size <= HTTP1_TARGET_MAX);
    ASSERT(request->fields->count <= HTTP_FIELDS_MAX);
    ASSERT(request->fields->text.size <= HTTP1_HEADER_BYTES_MAX);
    o->open = true;
    o->later = false;
    o->body_left = request->body_size;
    for (size_t i = 0; i < request->fields->count; i++) {
        const struct http_field *f = &request->fields->items[i];
        ASSERT((size_t)f->name_at + f->name_size <= request->fields->text.size);
        ASSERT((size_t)f->value_at + f->value_size <= request->fields->text.size);
        ASSERT(f->name_size > 0);
    }
    if (random_below(&o->choices, 4) == 0) {
        http1_body_is_stream(o->h);
    }
    if (random_below(&o->choices, 4) == 0) {
        answer(o);
    }
}

static void on_data(void *context, struct view piece)
{
    struct owner *o = context;
    ASSERT(o->open);
    ASSERT(piece.size > 0);
    if (o->body_left != HTTP1_LENGTH_UNKNOWN) {
        ASSERT(piece.size <= o->body_left);
        o->body_left -= piece.size;
    }
    if (random_below(&o->choices, 8) == 0) {
        answer(o);
    }
}

static void on_ended(void *context)
{
    struct owner *o = context;
    ASSERT(o->open);
    if (random_below(&o->choices, 2) == 0) {
        answer(o);
    } else {
        o->later = true;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http1_callbacks callbacks = {
        .request = on_request, .data = on_data, .ended = on_ended};
    if (size < 2) {
        return 0;
    }
    size_t piece = (size_t)data[0] + 1;
    struct owner owner = {.choices = data[1]};
    struct buffer out = {0};
    owner.h = http1_create(&callbacks, &owner, &out);
    for (size_t at = 2; at < size && !http1_is_over(owner.h);) {
        struct view in = view_of(data + at, size - at < piece ? size - at : piece);
        size_t before = in.size;
        http1_feed(owner.h, &in);
        at += before - in.size;
        if (owner.open && owner.later && !http1_is_over(owner.h)) {
            answer(&owner);
        } else {
            ASSERT(before > in.size || http1_is_over(owner.h)); /* it always gets on */
        }
    }
    http1_feed_end(owner.h);
    http1_destroy(&owner.h);
    buffer_free(&out);
    return 0;
}
