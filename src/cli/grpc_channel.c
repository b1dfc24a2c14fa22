/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_channel.c: see grpc_channel.h. One nghttp2 client session; each stream is a `struct grpc_call`. */
#include "grpc_channel.h"

#include "../api/web_target.h"

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
#include <time.h>
#include <unistd.h>

#define CHANNEL_WINDOW_BYTES (16 * 1024 * 1024)
#define CHANNEL_READ_BYTES   (64 * 1024)
#define CHANNEL_MESSAGE_MAX  (INT32_MAX)
/* A server may take pings more often than every 5 s for abuse (etcd does). */
#define CHANNEL_PING_IDLE_MS 6000

struct grpc_call {
    struct grpc_channel *channel;
    struct grpc_call *previous, *next; /* all calls under way */
    int32_t stream_id;                 /* <= 0: never submitted; ended by the next work or close */
    grpc_message_fn *message;          /* NULL: unary */
    grpc_done_fn *done;                /* NULL: cancelled */
    void *context;
    struct buffer request;
    size_t request_sent;
    bool stays_open, request_ended;
    struct grpc_reader reader;
    struct buffer body; /* a unary call's response */
    bool refused;
    int status; /* -1: none yet */
    char text[GRPC_ANSWER_TEXT_MAX + 1];
};

struct grpc_channel {
    int fd;
    bool connecting, broken, in_work;
    uint32_t timeout_ms;
    char address[MEMBER_ADDRESS_MAX + 1];
    char problem[MEMBER_ADDRESS_MAX + 128];
    struct addrinfo *found, *next_address;
    uint64_t connect_end_ms; /* of the address that is tried; 0: not yet known */
    nghttp2_session *session;
    size_t calls;
    struct grpc_call *first;
    struct buffer out;
    bool heard; /* octets came since the last tick */
    uint64_t quiet_since_ms, ping_sent_ms;
};

/* ---- nghttp2 callbacks ----------------------------------------------------------------------------- */

static ssize_t read_request(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t size,
                            uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    UNUSED(session);
    UNUSED(stream_id);
    UNUSED(user_data);
    struct grpc_call *call = source->ptr;
    size_t left = call->request.size - call->request_sent;
    size_t count = left < size ? left : size;
    if (count == 0 && call->stays_open) {
        return NGHTTP2_ERR_DEFERRED;
    }
    if (count > 0) {
        memcpy(out, call->request.data + call->request_sent, count);
    }
    call->request_sent += count;
    if (call->request_sent == call->request.size) {
        call->request.size = 0;
        call->request_sent = 0;
        if (!call->stays_open) {
            call->request_ended = true;
            *flags |= NGHTTP2_DATA_FLAG_EOF;
        }
    }
    return (ssize_t)count;
}

/* A status message is percent-encoded; what is no encoding stays as it is. */
static void decode_text(struct view in, char out[GRPC_ANSWER_TEXT_MAX + 1])
{
    size_t used = 0;
    for (size_t i = 0; i < in.size && used < GRPC_ANSWER_TEXT_MAX; i++) {
        uint8_t octet = in.data[i];
        if (octet == '%' && i + 2 < in.size && web_hex_digit(in.data[i + 1]) >= 0 &&
            web_hex_digit(in.data[i + 2]) >= 0) {
            octet = (uint8_t)(web_hex_digit(in.data[i + 1]) * 16 + web_hex_digit(in.data[i + 2]));
            i += 2;
        }
        out[used++] = (char)(octet == 0 ? '?' : octet);
    }
    out[used] = '\0';
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user_data)
{
    UNUSED(flags);
    UNUSED(user_data);
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (call == NULL) {
        return 0;
    }
    char text[16] = "";
    if (view_equal(view_of(name, name_size), view_of_text("grpc-status"))) {
        memcpy(text, value, value_size < sizeof(text) ? value_size : sizeof(text) - 1);
        call->status = (int)strtol(text, NULL, 10);
    } else if (view_equal(view_of(name, name_size), view_of_text("grpc-message"))) {
        decode_text(view_of(value, value_size), call->text);
    } else if (view_equal(view_of(name, name_size), view_of_text(":status")) &&
               !view_equal(view_of(value, value_size), view_of_text("200"))) {
        call->status = GRPC_UNAVAILABLE;
        (void)snprintf(call->text, sizeof(call->text), "not a gRPC server (HTTP status %.*s)",
                       (int)value_size, (const char *)value);
    }
    return 0;
}

/* Our side ends the call with a status of its own. */
static void give_up(struct grpc_call *call, int status, const char *text)
{
    call->status = status;
    (void)snprintf(call->text, sizeof(call->text), "%s", text);
    (void)nghttp2_submit_rst_stream(call->channel->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                    NGHTTP2_CANCEL);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t size, void *user_data)
{
    UNUSED(flags);
    UNUSED(user_data);
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
    struct view in = view_of(data, size);
    /* A callback may cancel its call, which lives on until its stream is closed. */
    while (call != NULL && call->done != NULL) {
        struct view message;
        switch (grpc_reader_next(&call->reader, &in, &message)) {
        case GRPC_READ_MORE:
            return 0;
        case GRPC_READ_SIZE:
            if (call->reader.size > CHANNEL_MESSAGE_MAX) {
                give_up(call, GRPC_RESOURCE_EXHAUSTED, "the answer is too large for this client");
                return 0;
            }
            grpc_reader_admit(&call->reader);
            break;
        case GRPC_READ_MESSAGE:
            if (call->message != NULL) {
                call->message(call->context, message);
            } else {
                call->body.size = 0;
                buffer_append(&call->body, message.data, message.size);
            }
            break;
        case GRPC_READ_COMPRESSED:
        case GRPC_READ_FORMAT:
            give_up(call, GRPC_INTERNAL, "the answer is framed in a way this client does not know");
            return 0;
        }
    }
    return 0;
}

static void end_call(struct grpc_channel *channel, struct grpc_call *call)
{
    if (call->stream_id > 0) {
        (void)nghttp2_session_set_stream_user_data(channel->session, call->stream_id, NULL);
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
    if (call->done != NULL) {
        struct grpc_answer answer = {.transport = call->status < 0,
                                     .refused = call->status < 0 && call->refused,
                                     .status = call->status,
                                     .body = view_of(call->body.data, call->body.size)};
        memcpy(answer.message, call->text, sizeof(answer.message));
        call->done(call->context, &answer);
    }
    buffer_free(&call->request);
    buffer_free(&call->body);
    grpc_reader_free(&call->reader);
    mem_free(call);
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                           void *user_data)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
    if (call != NULL) {
        call->refused = error_code == NGHTTP2_REFUSED_STREAM;
        end_call(user_data, call);
    }
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    UNUSED(user_data);
    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
        return 0;
    }
    const struct grpc_call *call =
        nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (call != NULL && !call->request_ended) {
        /* The server is done though we could say more: nothing else would close the stream. */
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                        NGHTTP2_NO_ERROR);
    }
    return 0;
}

/* A request that cannot leave, as after the server said goodbye: its stream was never opened. */
static int on_frame_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int code,
                             void *user_data)
{
    UNUSED(session);
    UNUSED(code);
    struct grpc_channel *channel = user_data;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        for (struct grpc_call *call = channel->first; call != NULL; call = call->next) {
            if (call->stream_id == frame->hd.stream_id) {
                call->refused = true;
                end_call(channel, call);
                break;
            }
        }
    }
    return 0;
}

/* The connection is gone: nothing more comes for any call. `format`: why, unless that is known. */
static enum err break_off(struct grpc_channel *channel, const char *why)
{
    if (channel->problem[0] == '\0') {
        (void)snprintf(channel->problem, sizeof(channel->problem), "%s: %s", channel->address, why);
    }
    channel->broken = true;
    while (channel->first != NULL) {
        channel->first->refused = channel->first->refused || channel->connecting;
        end_call(channel, channel->first);
    }
    return ERR_CLOSED;
}

/* ---- connect --------------------------------------------------------------------------------------- */

/* Begin with the next address; ERR_CLOSED: there is none. error_number: why the last one failed. */
static enum err connect_next(struct grpc_channel *channel, int error_number)
{
    if (channel->fd >= 0) {
        (void)close(channel->fd);
        channel->fd = -1;
    }
    while (channel->next_address != NULL) {
        const struct addrinfo *info = channel->next_address;
        channel->next_address = info->ai_next;
        if (info->ai_family != AF_INET && info->ai_family != AF_INET6) {
            continue;
        }
        struct socket_address address = {.size = info->ai_addrlen};
        memcpy(&address.any, info->ai_addr, info->ai_addrlen);
        if (socket_connect_start(&address, &channel->fd) == OK) {
            channel->connect_end_ms = 0;
            return OK;
        }
        error_number = errno;
    }
    return break_off(channel, strerror(error_number));
}

static enum err connect_work(struct grpc_channel *channel)
{
    while (channel->connecting) {
        int error_number = 0;
        switch (socket_connect_finish(channel->fd, &error_number)) {
        case SOCKET_CONNECTING:
            return OK;
        case SOCKET_CONNECTED:
            socket_tune_client(channel->fd);
            channel->connecting = false;
            break;
        case SOCKET_REFUSED:
            if (connect_next(channel, error_number) != OK) {
                return ERR_CLOSED;
            }
            break;
        }
    }
    return OK;
}

static void start_session(struct grpc_channel *channel)
{
    nghttp2_session_callbacks *callbacks = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) {
        assert_failed("ASSERT", "nghttp2 has memory", __FILE__, __LINE__);
    }
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_sent);
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
}

enum err grpc_channel_start(const char *address, uint32_t timeout_ms, struct grpc_channel **out,
                            char *problem, size_t problem_size)
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
    struct grpc_channel *channel = mem_zalloc(sizeof(*channel));
    channel->fd = -1;
    channel->connecting = true;
    channel->timeout_ms = timeout_ms;
    channel->found = found;
    channel->next_address = found;
    (void)snprintf(channel->address, sizeof(channel->address), "%s", address);
    start_session(channel);
    if (connect_next(channel, EADDRNOTAVAIL) != OK) {
        (void)snprintf(problem, problem_size, "%s", channel->problem);
        grpc_channel_close(&channel);
        return ERR_ADDRESS;
    }
    *out = channel;
    return OK;
}

uint64_t grpc_channel_clock_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

enum err grpc_channel_open(const char *address, uint32_t timeout_ms, struct grpc_channel **out,
                           char *problem, size_t problem_size)
{
    struct grpc_channel *channel = NULL;
    enum err error = grpc_channel_start(address, timeout_ms, &channel, problem, problem_size);
    while (error == OK && channel->connecting) {
        uint64_t now_ms = grpc_channel_clock_ms();
        uint64_t due_ms = UINT64_MAX;
        error = grpc_channel_tick(channel, now_ms, &due_ms);
        if (error == OK) {
            struct pollfd waiting = {.fd = channel->fd, .events = POLLOUT};
            (void)poll(&waiting, 1, due_ms > now_ms ? (int)(due_ms - now_ms) : 0);
            error = connect_work(channel);
        }
    }
    if (error == OK) {
        *out = channel;
    } else if (channel != NULL) {
        (void)snprintf(problem, problem_size, "%s", channel->problem);
        grpc_channel_close(&channel);
    }
    return error;
}

void grpc_channel_close(struct grpc_channel **pointer)
{
    struct grpc_channel *channel = *pointer;
    if (channel == NULL) {
        return;
    }
    ASSERT(!channel->in_work);
    *pointer = NULL;
    enum err ended = break_off(channel, "closed");
    UNUSED(ended);
    nghttp2_session_del(channel->session);
    buffer_free(&channel->out);
    if (channel->fd >= 0) {
        (void)close(channel->fd);
    }
    freeaddrinfo(channel->found);
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

static void add_message(struct grpc_call *call, struct view message)
{
    uint8_t prefix[GRPC_PREFIX_BYTES];
    grpc_prefix_write(prefix, message.size);
    buffer_append(&call->request, prefix, sizeof(prefix));
    buffer_append(&call->request, message.data, message.size);
}

static struct grpc_call *begin(struct grpc_channel *channel,
                               const struct grpc_stream_settings *settings)
{
    struct grpc_call *call = mem_zalloc(sizeof(*call));
    call->channel = channel;
    call->message = settings->message;
    call->done = settings->done;
    call->context = settings->context;
    call->stays_open = settings->stays_open;
    call->status = -1;
    if (!settings->stays_open || settings->first.data != NULL) {
        add_message(call, settings->first);
    }
    nghttp2_nv headers[] = {
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", settings->path),
        header(":authority", channel->address),
        header("te", "trailers"),
        header("content-type", "application/grpc"),
        header("user-agent", "holdfastctl/" HOLDFAST_VERSION),
        header("", ""), /* the last: left out unless something is asked for */
    };
    char staleness[16];
    size_t header_count = ARRAY_COUNT(headers) - 1;
    if (settings->has_leader) {
        headers[header_count++] = header("hasleader", "true");
    } else if (settings->max_staleness_ms > 0) {
        (void)snprintf(staleness, sizeof(staleness), "%" PRIu32, settings->max_staleness_ms);
        headers[header_count++] = header("max-staleness-ms", staleness);
    }
    channel->calls++;
    call->next = channel->first;
    if (call->next != NULL) {
        call->next->previous = call;
    }
    channel->first = call;
    if (!channel->broken) {
        nghttp2_data_provider body = {.source = {.ptr = call}, .read_callback = read_request};
        call->stream_id =
            nghttp2_submit_request(channel->session, NULL, headers, header_count, &body, call);
    }
    return call;
}

void grpc_channel_call(struct grpc_channel *channel, const char *path, struct view message,
                       grpc_done_fn *done, void *context)
{
    grpc_channel_read(channel, path, message, 0, done, context);
}

void grpc_channel_read(struct grpc_channel *channel, const char *path, struct view message,
                       uint32_t max_staleness_ms, grpc_done_fn *done, void *context)
{
    struct grpc_stream_settings settings = {.path = path,
                                            .first = message,
                                            .max_staleness_ms = max_staleness_ms,
                                            .done = done,
                                            .context = context};
    (void)begin(channel, &settings);
}

struct grpc_call *grpc_channel_stream(struct grpc_channel *channel,
                                      const struct grpc_stream_settings *settings)
{
    ASSERT(settings->done != NULL);
    return begin(channel, settings);
}

void grpc_call_send(struct grpc_call *call, struct view message)
{
    ASSERT(call->stays_open);
    add_message(call, message);
    if (call->stream_id > 0) {
        /* Not deferred (the last message has not left yet) is fine too. */
        (void)nghttp2_session_resume_data(call->channel->session, call->stream_id);
    }
}

void grpc_call_cancel(struct grpc_call **pointer)
{
    struct grpc_call *call = *pointer;
    *pointer = NULL;
    if (call == NULL) {
        return;
    }
    call->done = NULL; /* it is freed when its stream closes */
    if (call->stream_id > 0) {
        (void)nghttp2_submit_rst_stream(call->channel->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                        NGHTTP2_CANCEL);
    }
}

/* ---- work ------------------------------------------------------------------------------------------ */

int grpc_channel_fd(const struct grpc_channel *channel)
{
    return channel->fd;
}

size_t grpc_channel_calls(const struct grpc_channel *channel)
{
    return channel->calls;
}

bool grpc_channel_is_connected(const struct grpc_channel *channel)
{
    return !channel->connecting && !channel->broken;
}

const char *grpc_channel_problem(const struct grpc_channel *channel)
{
    return channel->problem;
}

short grpc_channel_events(const struct grpc_channel *channel)
{
    if (channel->connecting) {
        return POLLOUT;
    }
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

/* One round at most, so that an owner who reads slowly is not flooded. */
static enum err read_some(struct grpc_channel *channel)
{
    uint8_t octets[CHANNEL_READ_BYTES];
    size_t done = 0;
    enum err error = socket_read(channel->fd, octets, sizeof(octets), &done);
    if (error == OK && done > 0) {
        channel->heard = true;
        error = nghttp2_session_mem_recv(channel->session, octets, done) < 0 ? ERR_PROTOCOL : OK;
    }
    return error;
}

/* Calls that nghttp2 would not take, as when it has run out of stream numbers. */
static void end_unsubmitted(struct grpc_channel *channel)
{
    struct grpc_call *call = channel->first;
    while (call != NULL) {
        struct grpc_call *next = call->next;
        if (call->stream_id <= 0) {
            call->refused = true;
            end_call(channel, call);
            next = channel->first; /* its `done` may have begun or ended others */
        }
        call = next;
    }
}

enum err grpc_channel_work(struct grpc_channel *channel)
{
    if (channel->broken) {
        return break_off(channel, "");
    }
    channel->in_work = true;
    enum err error = connect_work(channel);
    if (error == OK && !channel->connecting) {
        error = read_some(channel);
        if (error == OK) {
            error = write_some(channel);
        }
        end_unsubmitted(channel);
        if (error == OK && nghttp2_session_want_read(channel->session) == 0 &&
            nghttp2_session_want_write(channel->session) == 0) {
            error = ERR_CLOSED;
        }
    }
    if (error != OK) {
        error =
            break_off(channel, error == ERR_PROTOCOL ? "does not speak gRPC" : "connection broke");
    }
    channel->in_work = false;
    return error;
}

enum err grpc_channel_tick(struct grpc_channel *channel, uint64_t now_ms, uint64_t *due_ms)
{
    if (channel->broken) {
        return break_off(channel, "");
    }
    if (channel->connecting) {
        if (channel->connect_end_ms == 0) {
            channel->connect_end_ms = now_ms + channel->timeout_ms;
        } else if (now_ms >= channel->connect_end_ms) {
            if (connect_next(channel, ETIMEDOUT) != OK) {
                return ERR_CLOSED;
            }
            channel->connect_end_ms = now_ms + channel->timeout_ms;
        }
        *due_ms = channel->connect_end_ms;
        return OK;
    }
    if (channel->heard || channel->calls == 0 || channel->quiet_since_ms == 0) {
        channel->heard = false;
        channel->quiet_since_ms = now_ms;
        channel->ping_sent_ms = 0;
    }
    if (channel->ping_sent_ms == 0 && now_ms - channel->quiet_since_ms >= CHANNEL_PING_IDLE_MS) {
        (void)nghttp2_submit_ping(channel->session, NGHTTP2_FLAG_NONE, NULL);
        channel->ping_sent_ms = now_ms;
    }
    if (channel->ping_sent_ms != 0 && now_ms - channel->ping_sent_ms >= channel->timeout_ms) {
        return break_off(channel, "is silent: it does not even answer a ping");
    }
    *due_ms = channel->ping_sent_ms != 0 ? channel->ping_sent_ms + channel->timeout_ms
                                         : channel->quiet_since_ms + CHANNEL_PING_IDLE_MS;
    if (channel->calls == 0) {
        *due_ms = UINT64_MAX;
    }
    return OK;
}
