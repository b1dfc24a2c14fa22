/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_http1.c: whatever octets come to the HTTP/1.1 engine in whatever pieces, and the routes behind it.
 * libFuzzer; the first octet says in which pieces the rest comes and when answers are given.
 */
#include "base.h"

#include "api/web.h"
#include "net/http1.h"

#define BODY_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct owner {
    struct http1 *h;
    bool later;
};

static void answer(struct owner *o, const struct web_answer *a)
{
    struct http1_answer out = {
        .status = a->status, .content_type = a->content_type, .allow = a->allow, .body = a->body};
    http1_respond(o->h, &out);
}

static void on_request(void *context, const struct http1_request *request)
{
    struct owner *o = context;
    struct web_answer a;
    bool serializable = false;
    ASSERT(request->body.size <= BODY_MAX);
    ASSERT(request->target.size <= HTTP1_TARGET_MAX);
    if (web_route(request->method, request->target, &a, &serializable) == WEB_HEALTH) {
        o->later = true;
        return;
    }
    answer(o, &a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http1_callbacks callbacks = {.request = on_request};
    if (size < 1) {
        return 0;
    }
    size_t piece = (size_t)data[0] + 1;
    struct owner owner = {0};
    struct buffer out = {0};
    owner.h = http1_create(&callbacks, &owner, &out, BODY_MAX);
    for (size_t at = 1; at < size && !http1_is_over(owner.h);) {
        struct view in = view_of(data + at, size - at < piece ? size - at : piece);
        size_t before = in.size;
        http1_feed(owner.h, &in);
        at += before - in.size;
        if (owner.later) {
            char room[WEB_HEALTH_BODY_MAX];
            struct web_answer a;
            owner.later = false;
            web_health(NULL, room, &a);
            answer(&owner, &a);
        } else {
            ASSERT(before > in.size || http1_is_over(owner.h)); /* it always gets on */
        }
    }
    http1_feed_end(owner.h);
    http1_destroy(&owner.h);
    buffer_free(&out);
    return 0;
}
