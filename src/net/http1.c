/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1.c: see http1.h. RFC 9112 through http_parser.
 *
 * The parser is paused behind every request, so that one run of it sees no more than one: `ended` is called
 * outside the run, `request` and `data` inside.
 */
#include "http1.h"

#include <http_parser.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum input {
    INPUT_IDLE,   /* between requests */
    INPUT_HEADER, /* some of a header has come */
    INPUT_BODY,   /* the request is out, its body is coming */
    INPUT_ENDED,  /* the request is complete */
};

enum output {
    OUTPUT_NOTHING,
    OUTPUT_BEGUN, /* in pieces */
    OUTPUT_FINISHED,
};

struct http1 {
    http_parser parser;
    const struct http1_callbacks *callbacks;
    void *context;
    struct buffer *out;

    enum input input;
    enum output output;
    size_t header_bytes; /* an upper bound of what the request's header has taken so far */
    struct buffer target;
    struct http_fields fields;
    bool in_value;    /* of the field that is coming */
    int refusal;      /* status of the answer to a request that goes too far; 0: none */
    bool feeding;     /* inside http1_feed */
    bool body_stream; /* the body may take as long as it likes */
    bool wants_continue;
    bool keep_alive;
    bool close_after; /* the answer under way closes */
    bool chunked;     /* the answer under way is sent in chunks */
    bool head;
    bool over;
};

static struct http1 *self_of(http_parser *parser)
{
    return parser->data;
}

/* ---- what the parser finds -------------------------------------------------------------------------- */

static int on_message_begin(http_parser *parser)
{
    struct http1 *h = self_of(parser);
    h->target.size = 0;
    http_fields_clear(&h->fields);
    h->in_value = true; /* the next octet of a name begins a field */
    h->header_bytes = 0;
    h->input = INPUT_HEADER;
    h->output = OUTPUT_NOTHING;
    h->body_stream = false;
    h->wants_continue = false;
    h->keep_alive = false;
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

static int on_header_field(http_parser *parser, const char *at, size_t size)
{
    struct http1 *h = self_of(parser);
    if (h->input != INPUT_HEADER) {
        return 0; /* behind a chunked body: nobody asks for them */
    }
    if (h->in_value && !http_fields_begin(&h->fields)) {
        h->refusal = HTTP_STATUS_REQUEST_HEADER_FIELDS_TOO_LARGE;
        return 1;
    }
    h->in_value = false;
    http_fields_name(&h->fields, view_of(at, size));
    return 0;
}

static int on_header_value(http_parser *parser, const char *at, size_t size)
{
    struct http1 *h = self_of(parser);
    if (h->input == INPUT_HEADER) {
        h->in_value = true;
        http_fields_value(&h->fields, view_of(at, size));
    }
    return 0;
}

/* Octets of body that the header promises. */
static uint64_t body_size(const http_parser *parser)
{
    if ((parser->flags & F_CHUNKED) != 0) {
        return HTTP1_LENGTH_UNKNOWN;
    }
    return (parser->flags & F_CONTENTLENGTH) != 0 ? parser->content_length : 0;
}

/* The status of the answer to a header that is wrong as a whole; 0: it is well. */
static int look_at_header(struct http1 *h)
{
    struct view value;
    size_t at = 0;
    if (h->parser.method == HTTP_CONNECT) {
        return HTTP_STATUS_METHOD_NOT_ALLOWED;
    }
    if (http_fields_next(&h->fields, "host", &at, &value) &&
        http_fields_next(&h->fields, "host", &at, &value)) {
        return HTTP_STATUS_BAD_REQUEST; /* RFC 9112 §3.2 */
    }
    at = 0;
    if (http_fields_next(&h->fields, "expect", &at, &value)) {
        if (value.size != 12 || strncasecmp((const char *)value.data, "100-continue", 12) != 0) {
            return HTTP_STATUS_EXPECTATION_FAILED;
        }
        h->wants_continue = h->parser.http_minor > 0;
    }
    return 0;
}

static int on_headers_complete(http_parser *parser)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct http1 *h = self_of(parser);
    /* an offer to upgrade is declined by not taking it (RFC 9110 §7.8) */
    parser->upgrade = 0;
    h->refusal = look_at_header(h);
    if (h->refusal != 0) {
        return -1;
    }
    h->input = INPUT_BODY;
    /* HTTP/1.0 keeps a connection only if both sides say so; we do not */
    h->keep_alive = parser->http_minor > 0 && http_should_keep_alive(parser) != 0;
    h->head = parser->method == HTTP_HEAD;
    struct http1_request request = {
        .method = http_method_str((enum http_method)parser->method),
        .target = view_of(h->target.data, h->target.size),
        .fields = &h->fields,
        .body_size = body_size(parser),
    };
    h->callbacks->request(h->context, &request);
    if (h->over) {
        return -1;
    }
    if (h->wants_continue && request.body_size > 0 && h->output == OUTPUT_NOTHING) {
        buffer_append(h->out, go_on, sizeof go_on - 1);
    }
    h->wants_continue = false;
    return 0;
}

static int on_body(http_parser *parser, const char *at, size_t size)
{
    struct http1 *h = self_of(parser);
    if (h->output != OUTPUT_FINISHED) {
        h->callbacks->data(h->context, view_of(at, size));
    }
    return h->over ? 1 : 0;
}

static int on_message_complete(http_parser *parser)
{
    struct http1 *h = self_of(parser);
    h->input = INPUT_ENDED;
    http_parser_pause(parser, 1); /* one at a time */
    return 0;
}

static const http_parser_settings parser_settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- life ------------------------------------------------------------------------------------------- */

struct http1 *http1_create(const struct http1_callbacks *callbacks, void *context,
                           struct buffer *out)
{
    struct http1 *h = mem_zalloc(sizeof *h);
    http_parser_init(&h->parser, HTTP_REQUEST);
    h->parser.data = h;
    h->callbacks = callbacks;
    h->context = context;
    h->out = out;
    return h;
}

void http1_destroy(struct http1 **h)
{
    if (*h == NULL) {
        return;
    }
    buffer_free(&(*h)->target);
    http_fields_free(&(*h)->fields);
    mem_free(*h);
    *h = NULL;
}

/* ---- answers ---------------------------------------------------------------------------------------- */

static const char *reason(int status)
{
    switch (status) {
    case 499:
        return "Client Closed Request"; /* gRPC's CANCELED, by convention */
#define REASON(number, name, text)                                                                 \
    case number:                                                                                   \
        return #text;
        HTTP_STATUS_MAP(REASON)
#undef REASON
    default:
        return "Unknown";
    }
}

static void put(struct http1 *h, const char *text)
{
    buffer_append(h->out, text, strlen(text));
}

static void put_field(struct http1 *h, const char *name, struct view value)
{
    put(h, name);
    put(h, ": ");
    if (value.size > 0) {
        ASSERT(memchr(value.data, '\n', value.size) == NULL);
        buffer_append(h->out, value.data, value.size);
    }
    put(h, "\r\n");
}

/* Can what the client still has to send be thrown away? */
static bool rest_is_small(const struct http1 *h)
{
    uint64_t left = body_size(&h->parser);
    return h->input == INPUT_ENDED || left == 0 ||
           (left <= HTTP1_DISCARD_MAX && !h->wants_continue);
}

/* Status line and fields, all but the one that says how long the body is, and the blank line. */
static void put_header(struct http1 *h, const struct http1_answer *answer, bool whole)
{
    char line[64];
    h->close_after = answer->close || !h->keep_alive || (whole && !rest_is_small(h));
    int size =
        snprintf(line, sizeof line, "HTTP/1.1 %d %s\r\n", answer->status, reason(answer->status));
    ASSERT(size > 0 && (size_t)size < sizeof line);
    put(h, line);
    if (answer->content_type != NULL) {
        put_field(h, "Content-Type", view_of_text(answer->content_type));
    }
    for (size_t i = 0; i < answer->header_count; i++) {
        put_field(h, answer->headers[i].name, answer->headers[i].value);
    }
}

static void next_request(struct http1 *h)
{
    h->input = INPUT_IDLE;
    h->header_bytes = 0;
    http_parser_pause(&h->parser, 0);
}

static void answered(struct http1 *h)
{
    h->output = OUTPUT_FINISHED;
    if (h->close_after) {
        h->over = true;
    } else if (h->input == INPUT_ENDED) {
        next_request(h);
    }
}

void http1_respond(struct http1 *h, const struct http1_answer *answer)
{
    ASSERT(h->input == INPUT_BODY || h->input == INPUT_ENDED);
    ASSERT(h->output == OUTPUT_NOTHING);
    bool bodiless = answer->status == 204 || answer->status == 304; /* RFC 9110 §6.4.1 */
    put_header(h, answer, true);
    if (!bodiless) {
        char text[24];
        int size = snprintf(text, sizeof text, "%zu", answer->body.size);
        put_field(h, "Content-Length", view_of(text, (size_t)size));
    }
    put(h, h->close_after ? "Connection: close\r\n\r\n" : "\r\n");
    if (!h->head && !bodiless && answer->body.size > 0) {
        buffer_append(h->out, answer->body.data, answer->body.size);
    }
    answered(h);
}

void http1_begin(struct http1 *h, const struct http1_answer *answer)
{
    ASSERT(h->input == INPUT_BODY || h->input == INPUT_ENDED);
    ASSERT(h->output == OUTPUT_NOTHING);
    put_header(h, answer, false);
    h->chunked = h->parser.http_minor > 0;
    if (h->chunked) {
        put(h, "Transfer-Encoding: chunked\r\n");
    }
    put(h, h->close_after ? "Connection: close\r\n\r\n" : "\r\n");
    h->output = OUTPUT_BEGUN;
}

void http1_write(struct http1 *h, struct view piece)
{
    ASSERT(h->output == OUTPUT_BEGUN);
    if (piece.size == 0 || h->head) {
        return; /* a chunk of no octets would be the last */
    }
    if (h->chunked) {
        char line[24];
        (void)snprintf(line, sizeof line, "%zx\r\n", piece.size);
        put(h, line);
    }
    buffer_append(h->out, piece.data, piece.size);
    if (h->chunked) {
        put(h, "\r\n");
    }
}

void http1_finish(struct http1 *h)
{
    ASSERT(h->output == OUTPUT_BEGUN);
    if (h->chunked && !h->head) {
        put(h, "0\r\n\r\n");
    }
    /* the header has promised to go on; a client that is still sending a long body is cut off now */
    h->close_after = h->close_after || !rest_is_small(h);
    answered(h);
}

void http1_break(struct http1 *h)
{
    ASSERT(h->output == OUTPUT_BEGUN);
    h->close_after = true;
    answered(h);
}

/* An answer of our own to what cannot be read. */
static void refuse(struct http1 *h, int status)
{
    if (h->output == OUTPUT_BEGUN) { /* its answer has begun: no place for another */
        http1_break(h);
        return;
    }
    if (h->output == OUTPUT_FINISHED && h->input == INPUT_BODY) {
        h->over = true; /* it has its answer */
        return;
    }
    h->input = INPUT_ENDED;
    h->output = OUTPUT_NOTHING;
    h->keep_alive = false;
    h->head = false;
    struct http1_answer answer = {.status = status,
                                  .content_type = "text/plain; charset=utf-8",
                                  .body = view_of_text(reason(status)),
                                  .close = true};
    http1_respond(h, &answer);
}

/* ---- input ------------------------------------------------------------------------------------------ */

static bool in_header(const struct http1 *h)
{
    return h->input == INPUT_IDLE || h->input == INPUT_HEADER;
}

void http1_feed(struct http1 *h, struct view *in)
{
    ASSERT(!h->feeding);
    h->feeding = true;
    while (in->size > 0 && !http1_is_busy(h) && !h->over) {
        size_t size = in->size;
        if (in_header(h)) {
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
        if (h->over) {
            break;
        }
        if (problem == HPE_PAUSED && h->input == INPUT_ENDED) {
            if (h->output == OUTPUT_FINISHED) {
                next_request(h);
            } else {
                h->callbacks->ended(h->context);
            }
        } else if (problem != HPE_OK) {
            refuse(h, h->refusal != 0                  ? h->refusal
                      : problem == HPE_HEADER_OVERFLOW ? HTTP_STATUS_REQUEST_HEADER_FIELDS_TOO_LARGE
                                                       : HTTP_STATUS_BAD_REQUEST);
        } else if (in_header(h)) {
            h->header_bytes += used;
            if (h->header_bytes >= HTTP1_HEADER_BYTES_MAX) {
                refuse(h, HTTP_STATUS_REQUEST_HEADER_FIELDS_TOO_LARGE);
            }
        }
    }
    h->feeding = false;
}

void http1_feed_end(struct http1 *h)
{
    if (!http1_is_busy(h)) {
        h->over = true;
    } else {
        h->keep_alive = false;
        h->close_after = true;
    }
}

bool http1_is_busy(const struct http1 *h)
{
    return h->input == INPUT_ENDED && h->output != OUTPUT_FINISHED;
}

bool http1_is_feeding(const struct http1 *h)
{
    return h->feeding;
}

bool http1_is_partial(const struct http1 *h)
{
    return h->input == INPUT_HEADER || (h->input == INPUT_BODY && !h->body_stream);
}

bool http1_is_streaming(const struct http1 *h)
{
    return h->output == OUTPUT_BEGUN;
}

bool http1_is_over(const struct http1 *h)
{
    return h->over;
}

void http1_body_is_stream(struct http1 *h)
{
    h->body_stream = true;
}

const struct http_fields *http1_fields(const struct http1 *h)
{
    return &h->fields;
}
