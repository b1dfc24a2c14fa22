/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw_peer.h: the other end of a peer connection, played by the test by hand: it says and hears single
 * frames, so that it can also say what a real node would not. And the log lines of the actors under
 * test, caught in order. Everything waits with a patience that only a failing test uses up.
 */
#ifndef HOLDFAST_TESTS_RAW_PEER_H
#define HOLDFAST_TESTS_RAW_PEER_H

#include "witness.h"

#include "net/peer_wire.h"
#include "net/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/resource.h>

/* ---- sockets ------------------------------------------------------------------------------------ */

static inline struct socket_address raw_address(const char *host, uint16_t port)
{
    struct socket_address a = {.size = sizeof(struct sockaddr_in)};
    a.v4.sin_family = AF_INET;
    a.v4.sin_port = htons(port);
    CU_ASSERT_EQUAL_FATAL(inet_pton(AF_INET, host, &a.v4.sin_addr), 1);
    return a;
}

/* Listen; port 0: a free one. */
static inline int raw_listen(const char *host, uint16_t port)
{
    struct socket_address a = raw_address(host, port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    CU_ASSERT_EQUAL_FATAL(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, &a.any, a.size), 0);
    CU_ASSERT_EQUAL_FATAL(listen(fd, 256), 0);
    return fd;
}

static inline void raw_wait(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    CU_ASSERT_EQUAL_FATAL(poll(&p, 1, WITNESS_PATIENCE_MS), 1);
}

static inline int raw_dial(uint16_t port)
{
    struct socket_address a = raw_address("127.0.0.1", port);
    int fd = -1, error_number = 0;
    CU_ASSERT_EQUAL_FATAL(socket_connect_start(&a, &fd), OK);
    raw_wait(fd, POLLOUT);
    CU_ASSERT_EQUAL_FATAL(socket_connect_finish(fd, &error_number), SOCKET_CONNECTED);
    return fd;
}

/* From a loopback address of ours. */
static inline int raw_dial_from(const char *host, uint16_t port)
{
    struct socket_address own = raw_address(host, 0);
    struct socket_address a = raw_address("127.0.0.1", port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, &own.any, own.size), 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, &a.any, a.size), 0);
    CU_ASSERT_EQUAL_FATAL(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static inline int raw_accept(int listening_fd)
{
    int fd = -1;
    raw_wait(listening_fd, POLLIN);
    CU_ASSERT_EQUAL_FATAL(socket_accept(listening_fd, &fd), SOCKET_ACCEPTED);
    return fd;
}

static inline void raw_write(int fd, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size > 0) {
        size_t done = 0;
        raw_wait(fd, POLLOUT);
        CU_ASSERT_EQUAL_FATAL(socket_write(fd, at, size, &done), OK);
        at += done;
        size -= done;
    }
}

/* ---- frames ------------------------------------------------------------------------------------- */

struct raw_peer {
    int fd;
    struct peer_decoder decoder;
};

static inline struct raw_peer raw_peer_of(int fd)
{
    struct raw_peer p = {.fd = fd};
    peer_decoder_init(&p.decoder, PEER_FRAME_BYTES_MAX);
    return p;
}

static inline void raw_close(struct raw_peer *p)
{
    close(p->fd);
    peer_decoder_free(&p->decoder);
}

/* The next frame; false at the end of the stream. */
static inline bool raw_next(struct raw_peer *p, struct peer_frame *frame)
{
    for (;;) {
        bool have = false;
        CU_ASSERT_EQUAL_FATAL(peer_decoder_next(&p->decoder, frame, &have), OK);
        if (have) {
            return true;
        }
        size_t came = 0;
        raw_wait(p->fd, POLLIN);
        uint8_t *room = peer_decoder_room(&p->decoder, PEER_READ_BYTES);
        enum err error = socket_read(p->fd, room, PEER_READ_BYTES, &came);
        peer_decoder_fed(&p->decoder, PEER_READ_BYTES, came);
        if (error != OK) {
            return false;
        }
    }
}

static inline void raw_expect_end(struct raw_peer *p)
{
    struct peer_frame frame;
    CU_ASSERT_FALSE(raw_next(p, &frame));
}

static inline struct peer_greeting raw_expect_greeting(struct raw_peer *p,
                                                       enum peer_frame_type type)
{
    struct peer_frame frame = {0};
    struct peer_greeting greeting = {0};
    CU_ASSERT_TRUE_FATAL(raw_next(p, &frame));
    CU_ASSERT_EQUAL_FATAL(frame.type, type);
    CU_ASSERT_EQUAL_FATAL(peer_greeting_decode(frame.body, &greeting), OK);
    return greeting;
}

static inline struct peer_refusal raw_expect_refusal(struct raw_peer *p)
{
    struct peer_frame frame = {0};
    struct peer_refusal refusal = {0};
    CU_ASSERT_TRUE_FATAL(raw_next(p, &frame));
    CU_ASSERT_EQUAL_FATAL(frame.type, PEER_FRAME_REFUSED);
    CU_ASSERT_EQUAL_FATAL(peer_refusal_decode(frame.body, &refusal), OK);
    return refusal;
}

static inline void raw_greet(struct raw_peer *p, enum peer_frame_type type,
                             const struct peer_greeting *greeting)
{
    struct buffer out = {0};
    peer_greeting_encode(type, greeting, &out);
    raw_write(p->fd, out.data, out.size);
    buffer_free(&out);
}

static inline void raw_refuse(struct raw_peer *p, enum err error, const char *sentence)
{
    struct peer_refusal refusal = {.error = error};
    struct buffer out = {0};
    snprintf(refusal.sentence, sizeof(refusal.sentence), "%s", sentence);
    peer_refusal_encode(&refusal, &out);
    raw_write(p->fd, out.data, out.size);
    buffer_free(&out);
}

static inline void raw_put_message(struct buffer *out, uint64_t from, uint64_t term)
{
    struct raft_message m = {.type = RAFT_REQUEST_VOTE, .from = from, .to = 1, .term = term};
    size_t begin = peer_frame_begin(out, PEER_FRAME_MESSAGE, GROUP_DEFAULT);
    raft_message_encode(&m, out);
    CU_ASSERT_EQUAL_FATAL(peer_frame_end(out, begin), OK);
}

static inline void raw_send_message(struct raw_peer *p, uint64_t from, uint64_t term)
{
    struct buffer out = {0};
    raw_put_message(&out, from, term);
    raw_write(p->fd, out.data, out.size);
    buffer_free(&out);
}

/* The hello of node n<number> of cluster "prod", member id number * 11, its first start. */
static inline struct peer_hello raw_hello(unsigned number)
{
    struct peer_hello hello = {.cluster = "prod",
                               .member_id = number * 11,
                               .boot_id = number * 1000 + 1,
                               .boot_number = 1,
                               .list_digest = 5,
                               .empty = true};
    snprintf(hello.name, sizeof(hello.name), "n%u", number);
    return hello;
}

static inline struct peer_greeting raw_greeting(const struct peer_hello *hello, const char *target)
{
    struct peer_greeting greeting = {
        .version_least = PEER_VERSION_LEAST, .version_most = PEER_VERSION_MOST, .hello = *hello};
    snprintf(greeting.target, sizeof(greeting.target), "%s", target);
    return greeting;
}

/* ---- log lines ---------------------------------------------------------------------------------- */

struct log_catch {
    int read_fd, write_fd;
    char *text;
    size_t size, capacity;
};

/* Any thread; a line is shorter than PIPE_BUF, so lines never mix. */
static inline void log_catch_sink(void *context, enum log_level level, const char *line,
                                  size_t size)
{
    const struct log_catch *c = context;
    char copy[4096];
    (void)level;
    size = size < sizeof(copy) - 1 ? size : sizeof(copy) - 1;
    memcpy(copy, line, size);
    copy[size] = '\n';
    ASSERT(write(c->write_fd, copy, size + 1) == (ssize_t)size + 1);
}

static inline void log_catch_start(struct log_catch *c)
{
    int fds[2];
    memset(c, 0, sizeof(*c));
    CU_ASSERT_EQUAL_FATAL(pipe2(fds, O_CLOEXEC), 0);
    CU_ASSERT_EQUAL_FATAL(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    c->read_fd = fds[0];
    c->write_fd = fds[1];
    c->text = mem_strdup("");
    c->capacity = 1;
    log_set_level(LOG_DEBUG);
    log_set_sink(log_catch_sink, c);
}

static inline void log_catch_end(struct log_catch *c)
{
    log_set_sink(NULL, NULL);
    close(c->read_fd);
    close(c->write_fd);
    mem_free(c->text);
}

/* Take what has been logged so far. */
static inline void log_catch_pump(struct log_catch *c)
{
    char octets[4096];
    ssize_t came;
    while ((came = read(c->read_fd, octets, sizeof(octets))) > 0) {
        ARRAY_RESERVE(c->text, c->capacity, c->size + (size_t)came + 1);
        memcpy(c->text + c->size, octets, (size_t)came);
        c->size += (size_t)came;
        c->text[c->size] = '\0';
    }
}

/* How many lines so far hold the part. */
static inline size_t log_catch_count(struct log_catch *c, const char *part)
{
    size_t count = 0;
    log_catch_pump(c);
    for (const char *at = c->text; (at = strstr(at, part)) != NULL; at++) {
        count++;
    }
    return count;
}

/* Wait until it was logged so many times. */
static inline void log_catch_wait(struct log_catch *c, const char *part, size_t count)
{
    while (log_catch_count(c, part) < count) {
        struct pollfd p = {.fd = c->read_fd, .events = POLLIN};
        int ready = poll(&p, 1, WITNESS_PATIENCE_MS);
        if (ready != 1) {
            fprintf(stdout, "waited for \"%s\" in:\n%s", part, c->text);
        }
        CU_ASSERT_EQUAL_FATAL(ready, 1);
    }
}

#endif
