/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1.c: see http1.h. RFC 9112 through http_parser.
 */
#include "http1.h"

#include <http_parser.h>
#include <stdio.h>
#include <string.h>

struct http1 {
    http_parser parser;
    const struct http1_callbacks *callbacks;
    void *context;
    struct buffer *out;
    size_t body_bytes_max;

    size_t header_bytes; /* an upper bound of what the request's header has taken so far */
    struct buffer target;
    struct buffer body;
    int refusal; /* status of the answer to a request that goes too far; 0: none */
    bool partial;
    bool in_header;
    bool busy;
    bool keep_alive;
    bool head;
    bool over;
};

static struct http1 *self_of(http_parser *parser)
{
    return parser->data;
}

static int on_message_begin(http_parser *parser)
{
    struct http1 *h = self_of(parser);
    h->target.size = 0;
    h->body.size = 0;
    h->header_bytes = 0;
    h->in_header = true;
    h->partial = true;
    return 0;
}

static int on_url(http_parser *parser, const char *at, size_t size)
{
    struct http1 *h = self_of(parser);
    if (h->target.size + size > HTTP1_TARGET_MAX) {
        h->refusal = HTTP_STATUS_URI_TOO_LONG;
        return 1;
    }
    buffer_append(&h->target, at, size);
    return 0;
}

static int on_headers_complete(http_parser *parser)
{
    struct http1 *h = self_of(parser);
    h->in_header = false;
    /* an offer to upgrade is declined by not taking it (RFC 9110 §7.8) */
    parser->upgrade = 0;
    if (parser->method == HTTP_CONNECT) {
        h->refusal = HTTP_STATUS_METHOD_NOT_ALLOWED;
        return -1;
    }
    if ((parser->flags & F_CONTENTLENGTH) != 0 && parser->content_length > h->body_bytes_max) {
        h->refusal = HTTP_STATUS_PAYLOAD_TOO_LARGE;
        return -1;
    }
    return 0;
}

static int on_body(http_parser *parser, const char *at, size_t size)
{
    struct http1 *h = self_of(parser);
    if (h->body.size + size > h->body_bytes_max) {
        h->refusal = HTTP_STATUS_PAYLOAD_TOO_LARGE;
        return 1;
    }
    buffer_append(&h->body, at, size);
    return 0;
}

static int on_message_complete(http_parser *parser)
{
    struct http1 *h = self_of(parser);
    h->partial = false;
    h->busy = true;
    /* HTTP/1.0 keeps a connection only if both sides say so; we do not */
    h->keep_alive = parser->http_minor > 0 && http_should_keep_alive(parser) != 0;
    h->head = parser->method == HTTP_HEAD;
    http_parser_pause(parser, 1); /* one at a time */
    return 0;
}

static const http_parser_settings parser_settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

static const char *reason(int status)
{
    switch (status) {
#define REASON(number, name, text)                                                                 \
    case number:                                                                                   \
        return #text;
        HTTP_STATUS_MAP(REASON)
#undef REASON
    default:
        return "Unknown";
    }
}

struct http1 *http1_create(const struct http1_callbacks *callbacks, void *context,
                           struct buffer *out, size_t body_bytes_max)
{
    struct http1 *h = mem_zalloc(sizeof *h);
    http_parser_init(&h->parser, HTTP_REQUEST);
    h->parser.data = h;
    h->callbacks = callbacks;
    h->context = context;
    h->out = out;
    h->body_bytes_max = body_bytes_max;
    return h;
}

void http1_destroy(struct http1 **h)
{
    if (*h == NULL) {
        return;
    }
    buffer_free(&(*h)->target);
    buffer_free(&(*h)->body);
    mem_free(*h);
    *h = NULL;
}

static void refuse(struct http1 *h, int status)
{
    h->busy = true;
    h->keep_alive = false;
    h->head = false;
    h->partial = false;
    struct http1_answer answer = {.status = status,
                                  .content_type = "text/plain; charset=utf-8",
                                  .body = view_of_text(reason(status)),
                                  .close = true};
    http1_respond(h, &answer);
}

void http1_feed(struct http1 *h, struct view *in)
{
    while (in->size > 0 && !h->busy && !h->over) {
        size_t size = in->size;
        if (h->in_header || !h->partial) {
            /* bound the header: hand over no more than may still belong to it */
            size_t room = HTTP1_HEADER_BYTES_MAX - h->header_bytes;
            if (size > room) {
                size = room;
            }
        }
        size_t used =
            http_parser_execute(&h->parser, &parser_settings, (const char *)in->data, size);
        in->data += used;
        in->size -= used;
        enum http_errno problem = HTTP_PARSER_ERRNO(&h->parser);
        if (problem == HPE_PAUSED && h->busy) {
            struct http1_request request = {
                .method = http_method_str((enum http_method)h->parser.method),
                .target = view_of(h->target.data, h->target.size),
                .body = view_of(h->body.data, h->body.size),
            };
            h->callbacks->request(h->context, &request);
        } else if (problem != HPE_OK) {
            refuse(h, h->refusal != 0                  ? h->refusal
                      : problem == HPE_HEADER_OVERFLOW ? HTTP_STATUS_REQUEST_HEADER_FIELDS_TOO_LARGE
                                                       : HTTP_STATUS_BAD_REQUEST);
        } else if (h->in_header || !h->partial) {
            h->header_bytes += used;
            if (h->header_bytes >= HTTP1_HEADER_BYTES_MAX) {
                refuse(h, HTTP_STATUS_REQUEST_HEADER_FIELDS_TOO_LARGE);
            }
        }
    }
}

void http1_feed_end(struct http1 *h)
{
    if (!h->busy) {
        h->over = true;
    } else {
        h->keep_alive = false;
    }
}

bool http1_is_busy(const struct http1 *h)
{
    return h->busy;
}

bool http1_is_partial(const struct http1 *h)
{
    return h->partial;
}

bool http1_is_over(const struct http1 *h)
{
    return h->over;
}

void http1_respond(struct http1 *h, const struct http1_answer *answer)
{
    ASSERT(h->busy);
    char text[512];
    bool keep = h->keep_alive && !answer->close;
    int used =
        snprintf(text, sizeof text,
                 "HTTP/1.1 %d %s\r\n"
                 "%s%s%s"
                 "%s%s%s"
                 "Content-Length: %zu\r\n"
                 "%s\r\n",
                 answer->status, reason(answer->status),
                 answer->content_type != NULL ? "Content-Type: " : "",
                 answer->content_type != NULL ? answer->content_type : "",
                 answer->content_type != NULL ? "\r\n" : "", answer->allow != NULL ? "Allow: " : "",
                 answer->allow != NULL ? answer->allow : "", answer->allow != NULL ? "\r\n" : "",
                 answer->body.size, keep ? "" : "Connection: close\r\n");
    ASSERT(used > 0);
    ASSERT((size_t)used < sizeof text);
    buffer_append(h->out, text, (size_t)used);
    if (!h->head) {
        buffer_append(h->out, answer->body.data, answer->body.size);
    }
    h->busy = false;
    if (keep) {
        h->header_bytes = 0;
        http_parser_pause(&h->parser, 0);
    } else {
        h->over = true;
    }
}
