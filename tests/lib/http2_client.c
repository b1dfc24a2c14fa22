/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_client.c: see http2_client.h.
 */
#include "http2_client.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>

struct stream {
    struct http2_client_answer answer;
    struct buffer body; /* to be sent */
    bool body_ended;
    bool deferred;
};

struct http2_client {
    nghttp2_session *session;
    struct stream *streams[HTTP2_CLIENT_STREAMS_MAX]; /* by (id - 1) / 2 */
    int64_t go_away;
    size_t ping_acks;
};

static struct stream *stream_of(const struct http2_client *client, int32_t id)
{
    ASSERT(id > 0);
    ASSERT((size_t)(id - 1) / 2 < HTTP2_CLIENT_STREAMS_MAX);
    return client->streams[(id - 1) / 2];
}

static void keep(char *place, size_t place_size, const uint8_t *value, size_t size)
{
    ASSERT(size < place_size);
    memcpy(place, value, size);
    place[size] = 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user)
{
    UNUSED(session);
    UNUSED(flags);
    struct stream *s = stream_of(user, frame->hd.stream_id);
    if (s == NULL) {
        return 0;
    }
    struct http2_client_answer *answer = &s->answer;
    if (name_size == 7 && memcmp(name, ":status", 7) == 0) {
        keep(answer->status, sizeof answer->status, value, value_size);
    } else if (name_size == 12 && memcmp(name, "content-type", 12) == 0) {
        keep(answer->content_type, sizeof answer->content_type, value, value_size);
    } else if (name_size == 11 && memcmp(name, "grpc-status", 11) == 0) {
        keep(answer->grpc_status, sizeof answer->grpc_status, value, value_size);
    } else if (name_size == 12 && memcmp(name, "grpc-message", 12) == 0) {
        keep(answer->grpc_message, sizeof answer->grpc_message, value, value_size);
    } else if (name_size == 15 && memcmp(name, "holdfast-leader", 15) == 0) {
        keep(answer->leader, sizeof answer->leader, value, value_size);
    }
    return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    UNUSED(session);
    struct http2_client *client = user;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        client->go_away = frame->goaway.error_code;
    } else if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
        client->ping_acks++;
    }
    struct stream *s = frame->hd.stream_id > 0 ? stream_of(client, frame->hd.stream_id) : NULL;
    if (s == NULL) {
        return 0;
    }
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) {
        s->answer.ended = s->answer.ended || end;
        if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_RESPONSE) {
            s->answer.header_ended = end;
        }
    } else if (frame->hd.type == NGHTTP2_WINDOW_UPDATE) {
        s->answer.window_updates++;
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t size, void *user)
{
    UNUSED(session);
    UNUSED(flags);
    buffer_append(&stream_of(user, stream)->answer.body, data, size);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user)
{
    UNUSED(session);
    struct stream *s = stream_of(user, stream);
    if (s != NULL) {
        s->answer.closed = true;
        s->answer.code = code;
    }
    return 0;
}

struct http2_client *http2_client_create(void)
{
    struct http2_client *client = mem_zalloc(sizeof *client);
    client->go_away = -1;
    nghttp2_session_callbacks *table = NULL;
    ASSERT(nghttp2_session_callbacks_new(&table) == 0);
    nghttp2_session_callbacks_set_on_header_callback(table, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(table, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(table, on_close);
    ASSERT(nghttp2_session_client_new(&client->session, table, client) == 0);
    nghttp2_session_callbacks_del(table);
    ASSERT(nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, NULL, 0) == 0);
    return client;
}

void http2_client_open_windows(struct http2_client *client)
{
    const nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 30};
    ASSERT(nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, &window, 1) == 0);
    ASSERT(nghttp2_session_set_local_window_size(client->session, NGHTTP2_FLAG_NONE, 0, 1 << 30) ==
           0);
}

void http2_client_destroy(struct http2_client **client)
{
    nghttp2_session_del((*client)->session);
    for (size_t i = 0; i < HTTP2_CLIENT_STREAMS_MAX; i++) {
        struct stream *s = (*client)->streams[i];
        if (s != NULL) {
            buffer_free(&s->body);
            buffer_free(&s->answer.body);
            mem_free(s);
        }
    }
    mem_free(*client);
    *client = NULL;
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *out, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    UNUSED(session);
    UNUSED(id);
    UNUSED(user);
    struct stream *s = source->ptr;
    if (s->body.size == 0 && !s->body_ended) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t now = s->body.size < size ? s->body.size : size;
    if (now > 0) {
        memcpy(out, s->body.data, now);
        buffer_consume(&s->body, now);
    }
    if (s->body.size == 0 && s->body_ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)now;
}

static nghttp2_nv field(const char *name, const char *value)
{
    union {
        const char *in;
        uint8_t *out;
    } name_octets = {.in = name}, value_octets = {.in = value};
    return (nghttp2_nv){.name = name_octets.out,
                        .value = value_octets.out,
                        .namelen = strlen(name),
                        .valuelen = strlen(value)};
}

int32_t http2_client_request(struct http2_client *client, const char *path,
                             const struct http2_client_header *headers, bool bare, bool end)
{
    nghttp2_nv fields[32];
    size_t count = 0;
    if (!bare) {
        fields[count++] = field(":method", "POST");
        fields[count++] = field(":scheme", "http");
        fields[count++] = field(":path", path);
        fields[count++] = field(":authority", "localhost");
        fields[count++] = field("content-type", "application/grpc");
        fields[count++] = field("te", "trailers");
    }
    for (; headers != NULL && headers->name != NULL; headers++) {
        ASSERT(count < ARRAY_COUNT(fields));
        fields[count++] = field(headers->name, headers->value);
    }
    struct stream *s = mem_zalloc(sizeof *s);
    nghttp2_data_provider body = {.source = {.ptr = s}, .read_callback = read_body};
    int32_t id =
        nghttp2_submit_request(client->session, NULL, fields, count, end ? NULL : &body, s);
    ASSERT(id > 0);
    ASSERT((size_t)(id - 1) / 2 < HTTP2_CLIENT_STREAMS_MAX);
    client->streams[(id - 1) / 2] = s;
    return id;
}

void http2_client_data(struct http2_client *client, int32_t stream, struct view data, bool end)
{
    struct stream *s = stream_of(client, stream);
    buffer_append(&s->body, data.data, data.size);
    s->body_ended = end;
    if (s->deferred) {
        s->deferred = false;
        (void)nghttp2_session_resume_data(client->session, stream);
    }
}

void http2_client_reset(struct http2_client *client, int32_t stream, uint32_t code)
{
    (void)nghttp2_submit_rst_stream(client->session, NGHTTP2_FLAG_NONE, stream, code);
}

void http2_client_ping(struct http2_client *client)
{
    (void)nghttp2_submit_ping(client->session, NGHTTP2_FLAG_NONE, NULL);
}

void http2_client_take(struct http2_client *client, struct buffer *out)
{
    const uint8_t *data;
    ssize_t size;
    while ((size = nghttp2_session_mem_send(client->session, &data)) > 0) {
        buffer_append(out, data, (size_t)size);
    }
    ASSERT(size == 0);
}

bool http2_client_feed(struct http2_client *client, struct view in)
{
    return nghttp2_session_mem_recv(client->session, in.data, in.size) == (ssize_t)in.size;
}

const struct http2_client_answer *http2_client_answer(struct http2_client *client, int32_t stream)
{
    return &stream_of(client, stream)->answer;
}

int64_t http2_client_go_away(const struct http2_client *client)
{
    return client->go_away;
}

size_t http2_client_ping_acks(const struct http2_client *client)
{
    return client->ping_acks;
}

size_t http2_client_unsent(const struct http2_client *client, int32_t stream)
{
    return stream_of(client, stream)->body.size;
}

int32_t http2_client_unary(struct http2_client *client, const char *path, struct view message,
                           const struct http2_client_header *headers)
{
    int32_t id = http2_client_request(client, path, headers, false, false);
    uint8_t prefix[5] = {0, (uint8_t)(message.size >> 24), (uint8_t)(message.size >> 16),
                         (uint8_t)(message.size >> 8), (uint8_t)message.size};
    http2_client_data(client, id, view_of(prefix, sizeof prefix), false);
    http2_client_data(client, id, message, true);
    return id;
}
