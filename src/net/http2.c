/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2.c: see http2.h. RFC 9113 through nghttp2's memory interface.
 */
#include "http2.h"

#include "http2_header.h"

#include <nghttp2/nghttp2.h>
#include <string.h>

#define HTTP2_POOL_MAX  4096 /* free streams kept for reuse by one thread */
#define MICROS          1000000u
#define RESET_CREDIT_US (MICROS / HTTP2_RESETS_PER_SECOND)

struct http2_shared {
    const struct http2_callbacks *callbacks;
    struct http2_limits limits;
    nghttp2_session_callbacks *table;
    nghttp2_option *option;
    struct http2_stream *pool;
    size_t pool_count;
};

struct http2 {
    struct http2_shared *shared;
    void *context;
    nghttp2_session *session;
    struct http2_stream *streams; /* open ones, newest first */
    size_t stream_count;
    size_t unread;                /* streams that are finished and have something queued */
    struct http2_stream *reading; /* whose header block is being read */
    struct http2_stream *drained; /* whose owners are to be told so */
    struct buffer *out;           /* of the http2_take under way */
    size_t connection_consumed;   /* body octets of this feed */
    uint64_t now_us;
    uint64_t
        resets_free_at_us; /* leaky bucket: when the next cancelled stream would be free of debt */
    bool feeding;
    bool greeted; /* the client's SETTINGS have come */
    bool broken;
};

/* ---- memory: nghttp2 through mem_*, so that exhaustion is fatal here as everywhere --------------- */

static void *memory_malloc(size_t size, void *user)
{
    UNUSED(user);
    return mem_alloc(size);
}

static void memory_free(void *pointer, void *user)
{
    UNUSED(user);
    mem_free(pointer);
}

static void *memory_calloc(size_t count, size_t size, void *user)
{
    UNUSED(user);
    ASSERT(size == 0 || count <= SIZE_MAX / size);
    return mem_zalloc(count * size);
}

static void *memory_realloc(void *old, size_t size, void *user)
{
    UNUSED(user);
    return mem_realloc(old, size);
}

/* ---- chunks -------------------------------------------------------------------------------------- */

struct http2_chunk *http2_chunk_create(size_t size)
{
    ASSERT(size <= SIZE_MAX - sizeof(struct http2_chunk));
    struct http2_chunk *chunk = mem_alloc(sizeof *chunk + size);
    chunk->next = NULL;
    chunk->size = size;
    chunk->sent = 0;
    return chunk;
}

void http2_chunk_free(struct http2_chunk **chunk)
{
    mem_free(*chunk);
    *chunk = NULL;
}

/* ---- streams ------------------------------------------------------------------------------------- */

static struct http2_stream *stream_create(struct http2 *h, int32_t id)
{
    struct http2_shared *shared = h->shared;
    struct http2_stream *s = shared->pool;
    if (s != NULL) {
        shared->pool = s->next;
        shared->pool_count--;
    } else {
        s = mem_alloc(sizeof *s);
    }
    s->owner = NULL;
    s->connection = h;
    s->id = id;
    s->ended = s->cut = s->too_large = s->has_leader = s->responded = s->finished = false;
    s->method[0] = s->path[0] = s->content_type[0] = s->grpc_timeout[0] = s->grpc_encoding[0] = 0;
    s->authority[0] = s->max_staleness_ms[0] = 0;
    s->fields = NULL;
    s->path_size = s->header_bytes = s->queued_bytes = 0;
    s->first = s->last = NULL;
    s->deferred = s->with_trailers = s->drain_wanted = s->drain_listed = false;
    s->trailer_status = NULL;
    s->trailer_message = NULL;
    s->previous = NULL;
    s->next = h->streams;
    if (h->streams != NULL) {
        h->streams->previous = s;
    }
    h->streams = s;
    h->stream_count++;
    return s;
}

static bool is_unread(const struct http2_stream *s)
{
    return s->finished && s->queued_bytes > 0;
}

static void stream_drop_output(struct http2_stream *s)
{
    if (is_unread(s)) {
        s->connection->unread--;
    }
    while (s->first != NULL) {
        struct http2_chunk *chunk = s->first;
        s->first = chunk->next;
        http2_chunk_free(&chunk);
    }
    s->last = NULL;
    s->queued_bytes = 0;
}

static void forget_drained(struct http2_stream *s)
{
    struct http2_stream **at = &s->connection->drained;
    while (*at != s) {
        ASSERT(*at != NULL);
        at = &(*at)->next_drained;
    }
    *at = s->next_drained;
    s->drain_listed = false;
}

static void stream_destroy(struct http2_stream *s)
{
    struct http2 *h = s->connection;
    if (s->drain_listed) {
        forget_drained(s);
    }
    if (s->owner != NULL) {
        h->shared->callbacks->closed(h->context, s);
    }
    stream_drop_output(s);
    mem_free(s->trailer_message);
    if (s->fields != NULL) {
        http_fields_free(s->fields);
        mem_free(s->fields);
    }
    if (h->reading == s) {
        h->reading = NULL;
    }
    if (s->previous != NULL) {
        s->previous->next = s->next;
    } else {
        h->streams = s->next;
    }
    if (s->next != NULL) {
        s->next->previous = s->previous;
    }
    ASSERT(h->stream_count > 0);
    h->stream_count--;
    if (h->shared->pool_count < HTTP2_POOL_MAX) {
        s->next = h->shared->pool;
        h->shared->pool = s;
        h->shared->pool_count++;
    } else {
        mem_free(s);
    }
}

/* ---- what comes in ------------------------------------------------------------------------------- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2 *h = user;
    h->reading = NULL;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0; /* trailers of a client: gRPC has none, they are read past */
    }
    h->reading = stream_create(h, frame->hd.stream_id);
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, h->reading);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user)
{
    UNUSED(session);
    UNUSED(flags);
    struct http2 *h = user;
    struct http2_stream *s = h->reading;
    if (s == NULL || s->id != frame->hd.stream_id) {
        return 0;
    }
    s->header_bytes += name_size + value_size + 32; /* RFC 9113 §6.5.2 counts so */
    if (s->header_bytes > h->shared->limits.header_bytes_max) {
        s->too_large = true; /* its owner says so when the header has ended; but it must end */
        if (s->header_bytes / HTTP2_HEADER_FLOOD > h->shared->limits.header_bytes_max) {
            nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
        return 0;
    }
    http2_stream_keep(s, view_of(name, name_size), view_of(value, value_size));
    return 0;
}

/* A client that opens streams only to cancel them costs us work without ever waiting for an answer
 * ("rapid reset"); MAX_CONCURRENT_STREAMS does not bound that, so the cancelled are counted. */
static void count_reset(struct http2 *h)
{
    uint64_t debt_max_us = (uint64_t)HTTP2_RESETS_BURST * RESET_CREDIT_US;
    if (h->resets_free_at_us < h->now_us) {
        h->resets_free_at_us = h->now_us;
    }
    h->resets_free_at_us += RESET_CREDIT_US;
    if (h->resets_free_at_us - h->now_us > debt_max_us) {
        nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
    }
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2 *h = user;
    const struct http2_callbacks *callbacks = h->shared->callbacks;
    struct http2_stream *s;
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        s = h->reading;
        h->reading = NULL;
        if (s != NULL && s->id == frame->hd.stream_id) {
            s->ended = end;
            callbacks->request(h->context, s);
        } else {
            s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        }
        break;
    case NGHTTP2_SETTINGS:
        h->greeted = true;
        return 0;
    case NGHTTP2_DATA:
        s = end ? nghttp2_session_get_stream_user_data(session, frame->hd.stream_id) : NULL;
        break;
    case NGHTTP2_RST_STREAM:
        s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (s != NULL && !s->finished) {
            count_reset(h);
        }
        return 0;
    default:
        return 0;
    }
    if (end && s != NULL) {
        s->ended = true;
        if (s->owner != NULL) {
            callbacks->ended(h->context, s);
        }
    }
    return 0;
}

static int on_data_chunk_recv(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                              const uint8_t *data, size_t size, void *user)
{
    UNUSED(flags);
    struct http2 *h = user;
    h->connection_consumed += size;
    struct http2_stream *s = nghttp2_session_get_stream_user_data(session, stream_id);
    if (s != NULL && s->owner != NULL && !s->finished) {
        h->shared->callbacks->data(h->context, s, view_of(data, size));
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user)
{
    UNUSED(user);
    UNUSED(code);
    struct http2_stream *s = nghttp2_session_get_stream_user_data(session, stream_id);
    if (s != NULL) {
        nghttp2_session_set_stream_user_data(session, stream_id, NULL);
        stream_destroy(s);
    }
    return 0;
}

enum err http2_feed(struct http2 *h, struct view in, uint64_t now_us)
{
    ASSERT(!h->feeding);
    if (h->broken) {
        return ERR_PROTOCOL;
    }
    h->feeding = true;
    h->now_us = now_us;
    ssize_t taken = nghttp2_session_mem_recv(h->session, in.data, in.size);
    h->feeding = false;
    if (taken < 0) {
        h->broken = true;
        return ERR_PROTOCOL;
    }
    if (h->connection_consumed > 0) {
        int failed = nghttp2_session_consume_connection(h->session, h->connection_consumed);
        h->connection_consumed = 0;
        if (failed != 0) {
            h->broken = true;
            return ERR_PROTOCOL;
        }
    }
    return OK;
}

/* ---- what goes out ------------------------------------------------------------------------------- */

static nghttp2_nv field(const char *name, struct view value, bool lasting)
{
    /* nghttp2 takes pointers to non-const octets but does not write to them */
    union {
        const void *in;
        uint8_t *out;
    } name_octets = {.in = name},
      value_octets = {.in = value.data != NULL ? value.data : (const void *)""};
    uint8_t flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
    if (lasting) {
        flags |= NGHTTP2_NV_FLAG_NO_COPY_VALUE;
    }
    return (nghttp2_nv){.name = name_octets.out,
                        .value = value_octets.out,
                        .namelen = strlen(name),
                        .valuelen = value.size,
                        .flags = flags};
}

static void submit_trailers(struct http2_stream *s)
{
    nghttp2_nv fields[2];
    size_t count = 0;
    fields[count++] = field("grpc-status", view_of_text(s->trailer_status), true);
    if (s->trailer_message != NULL) {
        /* lives in the stream until it is closed */
        fields[count++] = field("grpc-message", view_of_text(s->trailer_message), true);
    }
    /* fails only if the stream is being closed, and then nobody wants trailers */
    (void)nghttp2_submit_trailer(s->connection->session, s->id, fields, count);
}

static ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *buffer, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    UNUSED(session);
    UNUSED(stream_id);
    UNUSED(buffer);
    UNUSED(user);
    struct http2_stream *s = source->ptr;
    if (s->queued_bytes == 0 && !s->finished) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t now = s->queued_bytes < size ? s->queued_bytes : size;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (s->finished && now == s->queued_bytes) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (s->with_trailers) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            submit_trailers(s);
        }
    }
    return (ssize_t)now;
}

static void look_at_drain(struct http2_stream *s)
{
    if (s->drain_wanted && s->queued_bytes <= s->drain_mark && !s->drain_listed) {
        s->drain_listed = true;
        s->next_drained = s->connection->drained;
        s->connection->drained = s;
    }
}

void http2_want_drained(struct http2_stream *s, size_t mark)
{
    s->drain_wanted = true;
    s->drain_mark = mark;
    if (s->drain_listed && s->queued_bytes > mark) {
        forget_drained(s);
    }
    look_at_drain(s);
}

/* Between two calls of nghttp2. At most once per stream, so that it ends whatever the owners do. */
static void tell_drained(struct http2 *h)
{
    for (size_t left = h->stream_count; left > 0 && h->drained != NULL; left--) {
        struct http2_stream *s = h->drained;
        h->drained = s->next_drained;
        s->drain_listed = s->drain_wanted = false;
        if (s->owner != NULL) {
            h->shared->callbacks->drained(h->context, s);
        }
    }
}

/* The frame's header is nghttp2's, its body goes from the stream's chunks straight to the output. */
static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *frame_header,
                     size_t size, nghttp2_data_source *source, void *user)
{
    UNUSED(session);
    struct http2 *h = user;
    struct http2_stream *s = source->ptr;
    size_t padding = frame->data.padlen;
    ASSERT(h->out != NULL);
    ASSERT(size <= s->queued_bytes);

    uint8_t *place = buffer_extend(h->out, 9 + padding + size);
    memcpy(place, frame_header, 9);
    place += 9;
    if (padding > 0) {
        *place++ = (uint8_t)(padding - 1);
    }
    for (size_t left = size; left > 0;) {
        struct http2_chunk *chunk = s->first;
        ASSERT(chunk != NULL);
        size_t part = chunk->size - chunk->sent;
        if (part > left) {
            part = left;
        }
        memcpy(place, chunk->data + chunk->sent, part);
        place += part;
        left -= part;
        chunk->sent += part;
        if (chunk->sent == chunk->size) {
            s->first = chunk->next;
            if (s->first == NULL) {
                s->last = NULL;
            }
            http2_chunk_free(&chunk);
        }
    }
    bool was_unread = is_unread(s);
    s->queued_bytes -= size;
    if (was_unread && s->queued_bytes == 0) {
        h->unread--;
    }
    look_at_drain(s);
    if (padding > 1) {
        memset(place, 0, padding - 1);
    }
    return 0;
}

/* An answer that is complete before the request is: tell the client to stop (RFC 9113 §8.1). */
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    UNUSED(user);
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
        nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0) {
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                        NGHTTP2_NO_ERROR);
    }
    return 0;
}

void http2_respond(struct http2_stream *s, const struct http2_header *headers, size_t count,
                   bool end)
{
    ASSERT(!s->responded);
    ASSERT(count <= HTTP2_HEADERS_OUT_MAX);
    nghttp2_nv fields[HTTP2_HEADERS_OUT_MAX];
    for (size_t i = 0; i < count; i++) {
        fields[i] = field(headers[i].name, headers[i].value, headers[i].lasting);
    }
    nghttp2_data_provider body = {.source = {.ptr = s}, .read_callback = read_body};
    s->responded = true;
    s->finished = end; /* and nothing is queued */
    /* fails only if the stream is being closed: then `closed` is on its way */
    (void)nghttp2_submit_response(s->connection->session, s->id, fields, count, end ? NULL : &body);
}

static void wake(struct http2_stream *s)
{
    if (s->deferred) {
        s->deferred = false;
        (void)nghttp2_session_resume_data(s->connection->session, s->id);
    }
}

void http2_write(struct http2_stream *s, struct http2_chunk **chunk)
{
    ASSERT(s->responded);
    ASSERT(!s->finished);
    struct http2_chunk *moved = *chunk;
    *chunk = NULL;
    if (moved->size == 0) {
        http2_chunk_free(&moved);
        return;
    }
    if (s->last != NULL) {
        s->last->next = moved;
    } else {
        s->first = moved;
    }
    s->last = moved;
    s->queued_bytes += moved->size;
    wake(s);
}

void http2_finish(struct http2_stream *s, const char *grpc_status, struct view grpc_message)
{
    ASSERT(s->responded);
    ASSERT(!s->finished);
    s->finished = true;
    if (is_unread(s)) {
        s->connection->unread++;
    }
    if (grpc_status != NULL) {
        s->with_trailers = true;
        s->trailer_status = grpc_status;
        if (grpc_message.size > 0) {
            s->trailer_message = mem_alloc(grpc_message.size + 1);
            memcpy(s->trailer_message, grpc_message.data, grpc_message.size);
            s->trailer_message[grpc_message.size] = 0;
        }
    }
    wake(s);
}

void http2_consume(struct http2_stream *s, size_t size)
{
    if (size > 0 && !s->ended) {
        (void)nghttp2_session_consume_stream(s->connection->session, s->id, size);
    }
}

void http2_reset(struct http2_stream *s, uint32_t code)
{
    stream_drop_output(s); /* the trailers' text stays: a queued frame may point to it */
    s->responded = s->finished = true;
    (void)nghttp2_submit_rst_stream(s->connection->session, NGHTTP2_FLAG_NONE, s->id, code);
}

void http2_go_away(struct http2 *h, uint32_t code)
{
    (void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(h->session), code, NULL, 0);
}

bool http2_take(struct http2 *h, struct buffer *out, size_t limit)
{
    ASSERT(!h->feeding);
    h->out = out;
    bool more = true;
    bool told =
        false; /* since the last octet: owners who want to be told again are not asked for ever */
    while (more && out->size < limit) {
        const uint8_t *data = NULL;
        size_t before = out->size;
        ssize_t size = nghttp2_session_mem_send(h->session, &data);
        if (size < 0) {
            h->broken = true;
            more = false;
            break;
        }
        if (size > 0) {
            buffer_append(out, data, (size_t)size);
        }
        told = told && out->size == before;
        if (h->drained != NULL && !told) {
            tell_drained(h);
            told = true;
            more = !h->broken;
        } else {
            more = size > 0;
        }
    }
    h->out = NULL;
    return more;
}

bool http2_is_over(const struct http2 *h)
{
    return h->broken || (nghttp2_session_want_read(h->session) == 0 &&
                         nghttp2_session_want_write(h->session) == 0);
}

size_t http2_stream_count(const struct http2 *h)
{
    return h->stream_count;
}

bool http2_is_partial(const struct http2 *h)
{
    return !h->greeted || h->reading != NULL;
}

size_t http2_unread_answers(const struct http2 *h)
{
    return h->unread;
}

/* ---- life ---------------------------------------------------------------------------------------- */

struct http2_shared *http2_shared_create(const struct http2_callbacks *callbacks,
                                         const struct http2_limits *limits)
{
    struct http2_shared *shared = mem_zalloc(sizeof *shared);
    shared->callbacks = callbacks;
    shared->limits = *limits;
    ASSERT(nghttp2_session_callbacks_new(&shared->table) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(shared->table, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(shared->table, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(shared->table, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(shared->table, on_data_chunk_recv);
    nghttp2_session_callbacks_set_on_stream_close_callback(shared->table, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(shared->table, on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(shared->table, send_data);

    ASSERT(nghttp2_option_new(&shared->option) == 0);
    nghttp2_option_set_no_auto_window_update(shared->option, 1);
    nghttp2_option_set_no_http_messaging(shared->option, 1);
    nghttp2_option_set_no_closed_streams(shared->option, 1);
    /* nghttp2's own limit reads a clock and blames itself (INTERNAL_ERROR); count_reset stands in */
    nghttp2_option_set_stream_reset_rate_limit(shared->option, UINT32_MAX, UINT32_MAX);
    return shared;
}

void http2_shared_destroy(struct http2_shared **shared)
{
    if (*shared == NULL) {
        return;
    }
    while ((*shared)->pool != NULL) {
        struct http2_stream *s = (*shared)->pool;
        (*shared)->pool = s->next;
        mem_free(s);
    }
    nghttp2_session_callbacks_del((*shared)->table);
    nghttp2_option_del((*shared)->option);
    mem_free(*shared);
    *shared = NULL;
}

struct http2 *http2_create(struct http2_shared *shared, void *context)
{
    struct http2 *h = mem_zalloc(sizeof *h);
    h->shared = shared;
    h->context = context;
    nghttp2_mem memory = {.mem_user_data = NULL,
                          .malloc = memory_malloc,
                          .free = memory_free,
                          .calloc = memory_calloc,
                          .realloc = memory_realloc};
    ASSERT(nghttp2_session_server_new3(&h->session, shared->table, h, shared->option, &memory) ==
           0);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, shared->limits.streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, shared->limits.header_bytes_max},
    };
    ASSERT(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings,
                                   ARRAY_COUNT(settings)) == 0);
    ASSERT(nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
                                                 HTTP2_WINDOW_BYTES) == 0);
    return h;
}

void http2_destroy(struct http2 **h)
{
    if (*h == NULL) {
        return;
    }
    ASSERT(!(*h)->feeding);
    /* nghttp2 forgets its streams without a word, so ours are closed first */
    while ((*h)->streams != NULL) {
        stream_destroy((*h)->streams);
    }
    nghttp2_session_del((*h)->session);
    mem_free(*h);
    *h = NULL;
}
