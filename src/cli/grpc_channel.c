/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_channel.c: see grpc_channel.h. One nghttp2 client session; each stream is a `struct call`. */
#include "grpc_channel.h"

#include "config.h"
#include "net/grpc.h"
#include "net/socket.h"

#include <errno.h>
#include <netdb.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHANNEL_WINDOW_BYTES (16 * 1024 * 1024)
#define CHANNEL_READ_BYTES   (64 * 1024)
#define CHANNEL_BODY_MAX     (INT32_MAX)

struct call {
    struct call *previous, *next; /* all calls under way */
    int32_t stream_id;
    grpc_done_fn *done;
    void *context;
    struct buffer request;
    size_t request_sent;
    struct buffer body; /* prefix and message of the response */
    int status;         /* -1: none yet */
    char message[GRPC_ANSWER_TEXT_MAX + 1];
};

struct grpc_channel {
    int fd;
    char address[MEMBER_ADDRESS_MAX + 1];
    nghttp2_session *session;
    size_t calls;
    struct call *first;
    struct buffer out;
    bool broken;
};

/* ---- nghttp2 callbacks ----------------------------------------------------------------------------- */

static ssize_t read_request(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t size,
                            uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    UNUSED(session);
    UNUSED(stream_id);
    UNUSED(user_data);
    struct call *call = source->ptr;
    size_t left = call->request.size - call->request_sent;
    size_t count = left < size ? left : size;
    memcpy(out, call->request.data + call->request_sent, count);
    call->request_sent += count;
    if (call->request_sent == call->request.size) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)count;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user_data)
{
    UNUSED(flags);
    UNUSED(user_data);
    struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (call == NULL) {
        return 0;
    }
    char text[16] = "";
    if (view_equal(view_of(name, name_size), view_of_text("grpc-status"))) {
        memcpy(text, value, value_size < sizeof(text) ? value_size : sizeof(text) - 1);
        call->status = (int)strtol(text, NULL, 10);
    } else if (view_equal(view_of(name, name_size), view_of_text("grpc-message"))) {
        size_t size = value_size < GRPC_ANSWER_TEXT_MAX ? value_size : GRPC_ANSWER_TEXT_MAX;
        memcpy(call->message, value, size);
        call->message[size] = '\0';
    } else if (view_equal(view_of(name, name_size), view_of_text(":status")) &&
               !view_equal(view_of(value, value_size), view_of_text("200"))) {
        call->status = GRPC_UNAVAILABLE;
        (void)snprintf(call->message, sizeof(call->message), "not a gRPC server (HTTP status %.*s)",
                       (int)value_size, (const char *)value);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t size, void *user_data)
{
    UNUSED(flags);
    UNUSED(user_data);
    struct call *call = nghttp2_session_get_stream_user_data(session, stream_id);
    if (call == NULL || call->body.size + size > CHANNEL_BODY_MAX) {
        return 0;
    }
    buffer_append(&call->body, data, size);
    return 0;
}

static void end_call(struct grpc_channel *channel, struct call *call)
{
    struct grpc_answer answer = {.transport = call->status < 0, .status = call->status};
    memcpy(answer.message, call->message, sizeof(answer.message));
    if (call->body.size >= GRPC_PREFIX_BYTES) {
        answer.body =
            view_of(call->body.data + GRPC_PREFIX_BYTES, call->body.size - GRPC_PREFIX_BYTES);
    }
    channel->calls--;
    if (call->previous != NULL) {
        call->previous->next = call->next;
    } else {
        channel->first = call->next;
    }
    if (call->next != NULL) {
        call->next->previous = call->previous;
    }
    call->done(call->context, &answer);
    buffer_free(&call->request);
    buffer_free(&call->body);
    mem_free(call);
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                           void *user_data)
{
    UNUSED(error_code);
    struct call *call = nghttp2_session_get_stream_user_data(session, stream_id);
    if (call != NULL) {
        (void)nghttp2_session_set_stream_user_data(session, stream_id, NULL);
        end_call(user_data, call);
    }
    return 0;
}

/* The connection is gone: nothing more comes for any call. */
static void end_all_calls(struct grpc_channel *channel)
{
    channel->broken = true;
    while (channel->first != NULL) {
        struct call *call = channel->first;
        (void)nghttp2_session_set_stream_user_data(channel->session, call->stream_id, NULL);
        end_call(channel, call);
    }
}

/* ---- connect --------------------------------------------------------------------------------------- */

static enum err connect_one(const struct addrinfo *info, uint32_t timeout_ms, int *out,
                            int *error_number)
{
    struct socket_address address = {.size = info->ai_addrlen};
    memcpy(&address.any, info->ai_addr, info->ai_addrlen);
    int fd = -1;
    enum err error = socket_connect_start(&address, &fd);
    if (error != OK) {
        *error_number = errno;
        return error;
    }
    struct pollfd waiting = {.fd = fd, .events = POLLOUT};
    if (poll(&waiting, 1, (int)timeout_ms) <= 0) {
        *error_number = ETIMEDOUT;
        (void)close(fd);
        return ERR_TIMEOUT;
    }
    if (socket_connect_finish(fd, error_number) != SOCKET_CONNECTED) {
        (void)close(fd);
        return ERR_CLOSED;
    }
    socket_tune_client(fd);
    *out = fd;
    return OK;
}

static enum err connect_any(const char *address, uint32_t timeout_ms, int *out, char *problem,
                            size_t problem_size)
{
    char host[MEMBER_ADDRESS_MAX + 1];
    char port_text[8];
    uint16_t port = 0;
    enum err error = address_split(address, host, sizeof(host), &port);
    if (error != OK) {
        (void)snprintf(problem, problem_size, "\"%s\" is not host:port", address);
        return error;
    }
    (void)snprintf(port_text, sizeof(port_text), "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int code = getaddrinfo(host, port_text, &hints, &found);
    if (code != 0) {
        (void)snprintf(problem, problem_size, "%s: %s", address, gai_strerror(code));
        return ERR_ADDRESS;
    }
    int error_number = 0;
    error = ERR_ADDRESS;
    for (const struct addrinfo *info = found; info != NULL && error != OK; info = info->ai_next) {
        if (info->ai_family == AF_INET || info->ai_family == AF_INET6) {
            error = connect_one(info, timeout_ms, out, &error_number);
        }
    }
    freeaddrinfo(found);
    if (error != OK) {
        (void)snprintf(problem, problem_size, "%s: %s", address, strerror(error_number));
    }
    return error;
}

enum err grpc_channel_open(const char *address, uint32_t timeout_ms, struct grpc_channel **out,
                           char *problem, size_t problem_size)
{
    int fd = -1;
    enum err error = connect_any(address, timeout_ms, &fd, problem, problem_size);
    if (error != OK) {
        return error;
    }
    struct grpc_channel *channel = mem_zalloc(sizeof(*channel));
    channel->fd = fd;
    (void)snprintf(channel->address, sizeof(channel->address), "%s", address);

    nghttp2_session_callbacks *callbacks = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) {
        assert_failed("ASSERT", "nghttp2 has memory", __FILE__, __LINE__);
    }
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    int made = nghttp2_session_client_new(&channel->session, callbacks, channel);
    nghttp2_session_callbacks_del(callbacks);
    ASSERT(made == 0);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, CHANNEL_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
    };
    int submitted = nghttp2_submit_settings(channel->session, NGHTTP2_FLAG_NONE, settings,
                                            ARRAY_COUNT(settings));
    ASSERT(submitted == 0);
    int widened = nghttp2_session_set_local_window_size(channel->session, NGHTTP2_FLAG_NONE, 0,
                                                        CHANNEL_WINDOW_BYTES);
    ASSERT(widened == 0);
    *out = channel;
    return OK;
}

void grpc_channel_close(struct grpc_channel **pointer)
{
    struct grpc_channel *channel = *pointer;
    if (channel == NULL) {
        return;
    }
    *pointer = NULL;
    end_all_calls(channel);
    nghttp2_session_del(channel->session);
    buffer_free(&channel->out);
    (void)close(channel->fd);
    mem_free(channel);
}

/* ---- calls ----------------------------------------------------------------------------------------- */

static nghttp2_nv header(const char *name, const char *value)
{
    union {
        const char *borrowed;
        uint8_t *octets; /* nghttp2 copies; its type only lacks const */
    } n = {.borrowed = name}, v = {.borrowed = value};
    return (nghttp2_nv){.name = n.octets,
                        .value = v.octets,
                        .namelen = strlen(name),
                        .valuelen = strlen(value),
                        .flags = NGHTTP2_NV_FLAG_NONE};
}

void grpc_channel_call(struct grpc_channel *channel, const char *path, struct view message,
                       grpc_done_fn *done, void *context)
{
    struct call *call = mem_zalloc(sizeof(*call));
    call->done = done;
    call->context = context;
    call->status = -1;
    uint8_t prefix[GRPC_PREFIX_BYTES];
    grpc_prefix_write(prefix, message.size);
    buffer_append(&call->request, prefix, sizeof(prefix));
    buffer_append(&call->request, message.data, message.size);

    const nghttp2_nv headers[] = {
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", path),
        header(":authority", channel->address),
        header("te", "trailers"),
        header("content-type", "application/grpc"),
        header("user-agent", "holdfastctl/" HOLDFAST_VERSION),
    };
    nghttp2_data_provider body = {.source = {.ptr = call}, .read_callback = read_request};
    channel->calls++;
    call->next = channel->first;
    if (call->next != NULL) {
        call->next->previous = call;
    }
    channel->first = call;
    if (!channel->broken) {
        call->stream_id = nghttp2_submit_request(channel->session, NULL, headers,
                                                 ARRAY_COUNT(headers), &body, call);
    }
    if (call->stream_id <= 0) {
        end_call(channel, call);
    }
}

int grpc_channel_fd(const struct grpc_channel *channel)
{
    return channel->fd;
}

size_t grpc_channel_calls(const struct grpc_channel *channel)
{
    return channel->calls;
}

short grpc_channel_events(const struct grpc_channel *channel)
{
    bool writes = channel->out.size > 0 || nghttp2_session_want_write(channel->session) != 0;
    return writes ? POLLIN | POLLOUT : POLLIN;
}

static enum err write_some(struct grpc_channel *channel)
{
    for (;;) {
        while (channel->out.size < CHANNEL_READ_BYTES) {
            const uint8_t *data = NULL;
            ssize_t size = nghttp2_session_mem_send(channel->session, &data);
            if (size < 0) {
                return ERR_PROTOCOL;
            }
            if (size == 0) {
                break;
            }
            buffer_append(&channel->out, data, (size_t)size);
        }
        if (channel->out.size == 0) {
            return OK;
        }
        size_t done = 0;
        enum err error = socket_write(channel->fd, channel->out.data, channel->out.size, &done);
        if (error != OK) {
            return error;
        }
        buffer_consume(&channel->out, done);
        if (done == 0) {
            return OK;
        }
    }
}

static enum err read_some(struct grpc_channel *channel)
{
    uint8_t octets[CHANNEL_READ_BYTES];
    for (;;) {
        size_t done = 0;
        enum err error = socket_read(channel->fd, octets, sizeof(octets), &done);
        if (error != OK) {
            return error;
        }
        if (done == 0) {
            return OK;
        }
        if (nghttp2_session_mem_recv(channel->session, octets, done) < 0) {
            return ERR_PROTOCOL;
        }
        if (done < sizeof(octets)) {
            return OK;
        }
    }
}

enum err grpc_channel_work(struct grpc_channel *channel)
{
    enum err error = read_some(channel);
    if (error == OK) {
        error = write_some(channel);
    }
    if (error == OK && nghttp2_session_want_read(channel->session) == 0 &&
        nghttp2_session_want_write(channel->session) == 0) {
        error = ERR_CLOSED;
    }
    if (error != OK) {
        end_all_calls(channel);
        return ERR_CLOSED;
    }
    return OK;
}
