/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.c: see socket.h.
 */
#include "socket.h"

#include "config.h" /* address_split */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define HOST_TEXT_MAX 255

/* A client may idle for long; probe after a minute, give up after three more. */
#define CLIENT_KEEPALIVE_IDLE_S     60
#define CLIENT_KEEPALIVE_INTERVAL_S 30
#define CLIENT_KEEPALIVE_COUNT      6
#define CLIENT_USER_TIMEOUT_MS      120000 /* octets that the other end's kernel does not take */

#define PEER_KEEPALIVE_IDLE_S     1
#define PEER_KEEPALIVE_INTERVAL_S 1
#define PEER_KEEPALIVE_COUNT      3

/* Connections that died in the backlog, passed over by one socket_accept. */
#define ACCEPT_ABORTED_MAX 64

/* ---- addresses as text ------------------------------------------------------------------------- */

void socket_address_text(const struct socket_address *address, char *out, size_t out_size)
{
    char host[INET6_ADDRSTRLEN] = "";
    if (address->any.sa_family == AF_INET &&
        inet_ntop(AF_INET, &address->v4.sin_addr, host, sizeof(host)) != NULL) {
        (void)snprintf(out, out_size, "%s:%u", host, ntohs(address->v4.sin_port));
    } else if (address->any.sa_family == AF_INET6 &&
               inet_ntop(AF_INET6, &address->v6.sin6_addr, host, sizeof(host)) != NULL) {
        (void)snprintf(out, out_size, "[%s]:%u", host, ntohs(address->v6.sin6_port));
    } else {
        (void)snprintf(out, out_size, "?");
    }
}

bool socket_remote_address(int fd, struct socket_address *out)
{
    struct socket_address address = {.size = sizeof(struct sockaddr_in6)};
    if (getpeername(fd, &address.any, &address.size) != 0) {
        return false;
    }
    if (address.any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&address.v6.sin6_addr)) {
        struct socket_address mapped = address;
        memset(&address, 0, sizeof(address));
        address.size = sizeof(address.v4);
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = mapped.v6.sin6_port;
        memcpy(&address.v4.sin_addr, &mapped.v6.sin6_addr.s6_addr[12], sizeof(address.v4.sin_addr));
    } else if (address.any.sa_family != AF_INET && address.any.sa_family != AF_INET6) {
        return false;
    }
    *out = address;
    return true;
}

bool socket_address_equal(const struct socket_address *a, const struct socket_address *b)
{
    if (a->any.sa_family != b->any.sa_family) {
        return false;
    }
    switch (a->any.sa_family) {
    case AF_INET:
        return a->v4.sin_port == b->v4.sin_port && a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    case AF_INET6:
        return a->v6.sin6_port == b->v6.sin6_port &&
               memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
    default:
        return false;
    }
}

void socket_remote_text(int fd, char *out, size_t out_size)
{
    struct socket_address address = {.size = sizeof(struct sockaddr_in6)};
    if (getpeername(fd, &address.any, &address.size) != 0) {
        address.any.sa_family = AF_UNSPEC;
    }
    socket_address_text(&address, out, out_size);
}

/* ---- listening --------------------------------------------------------------------------------- */

/* Option values are ints; a failure leaves the system's default, which is slower but not wrong. */
static void set_option(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

static int listen_on(const struct addrinfo *at)
{
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    /* A restart must not wait for connections of the last process in TIME_WAIT. */
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (at->ai_family == AF_INET6) {
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    }
    if (bind(fd, at->ai_addr, at->ai_addrlen) != 0 || listen(fd, SOCKET_LISTEN_BACKLOG) != 0) {
        int error_number = errno;
        (void)close(fd);
        errno = error_number;
        return -1;
    }
    return fd;
}

enum err socket_listen(const char *address, int *out, char *problem, size_t problem_size)
{
    enum err error = ERR_ADDRESS;
    char host[HOST_TEXT_MAX + 1];
    char service[8];
    uint16_t port = 0;
    struct addrinfo *found = NULL;
    int last_error = 0;

    if (address_split(address, host, sizeof(host), &port) != OK) {
        (void)snprintf(problem, problem_size,
                       "cannot listen on '%s': write host:port or [v6 address]:port", address);
        goto out;
    }
    (void)snprintf(service, sizeof(service), "%u", port);
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                             .ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM};
    int code = getaddrinfo(host[0] == '\0' ? NULL : host, service, &hints, &found);
    if (code != 0) {
        (void)snprintf(problem, problem_size, "cannot listen on '%s': %s", address,
                       gai_strerror(code));
        error = code == EAI_AGAIN ? ERR_NOT_FOUND : ERR_ADDRESS;
        goto out;
    }
    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        int fd = listen_on(at);
        if (fd >= 0) {
            *out = fd;
            error = OK;
            goto out;
        }
        last_error = errno;
    }
    (void)snprintf(problem, problem_size, "cannot listen on '%s': %s%s", address,
                   strerrordesc_np(last_error),
                   last_error == EADDRINUSE ? "; is another holdfastd running?" : "");
out:
    if (found != NULL) {
        freeaddrinfo(found);
    }
    return error;
}

int socket_inherited(const char *name)
{
    char **names = NULL;
    int result = -1;
    int count = sd_listen_fds_with_names(0, &names);
    for (int i = 0; i < count; i++) {
        int fd = SD_LISTEN_FDS_START + i;
        if (result < 0 && names != NULL && strcmp(names[i], name) == 0 &&
            sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) > 0) {
            int flags = fcntl(fd, F_GETFL);
            if (flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0) {
                result = fd;
            }
        }
    }
    for (int i = 0; i < count && names != NULL; i++) {
        free(names[i]);
    }
    free(names);
    return result;
}

uint16_t socket_local_port(int fd)
{
    struct socket_address address = {.size = sizeof(struct sockaddr_in6)};
    if (getsockname(fd, &address.any, &address.size) != 0) {
        return 0;
    }
    switch (address.any.sa_family) {
    case AF_INET:
        return ntohs(address.v4.sin_port);
    case AF_INET6:
        return ntohs(address.v6.sin6_port);
    default:
        return 0;
    }
}

enum socket_accepted socket_accept(int listening_fd, int *out)
{
    for (int i = 0; i < ACCEPT_ABORTED_MAX; i++) {
        int fd = accept4(listening_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            *out = fd;
            return SOCKET_ACCEPTED;
        }
        switch (errno) {
        case EAGAIN:
            return SOCKET_NONE;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            return SOCKET_EXHAUSTED;
        default: /* ECONNABORTED, EINTR, and network errors of the one connection (accept(2)) */
            break;
        }
    }
    return SOCKET_NONE;
}

/* ---- options ----------------------------------------------------------------------------------- */

static void set_keepalive(int fd, int idle_s, int interval_s, int count)
{
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle_s);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, interval_s);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, count);
}

void socket_tune_client(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, CLIENT_USER_TIMEOUT_MS);
    set_keepalive(fd, CLIENT_KEEPALIVE_IDLE_S, CLIENT_KEEPALIVE_INTERVAL_S, CLIENT_KEEPALIVE_COUNT);
}

void socket_tune_peer(int fd, uint32_t timeout_ms)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
               timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms);
    set_keepalive(fd, PEER_KEEPALIVE_IDLE_S, PEER_KEEPALIVE_INTERVAL_S, PEER_KEEPALIVE_COUNT);
}

/* ---- connecting -------------------------------------------------------------------------------- */

enum err socket_connect_start(const struct socket_address *address, int *out)
{
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return ERR_ADDRESS;
    }
    if (connect(fd, &address->any, address->size) != 0 && errno != EINPROGRESS && errno != EINTR) {
        int error_number = errno;
        (void)close(fd);
        errno = error_number;
        return ERR_ADDRESS;
    }
    *out = fd;
    return OK;
}

enum socket_connected socket_connect_finish(int fd, int *error_number)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
        error = errno;
    }
    if (error != 0) {
        *error_number = error;
        return SOCKET_REFUSED;
    }
    struct socket_address remote = {.size = sizeof(struct sockaddr_in6)};
    struct socket_address local = {.size = sizeof(struct sockaddr_in6)};
    if (getpeername(fd, &remote.any, &remote.size) != 0) {
        if (errno == ENOTCONN) {
            return SOCKET_CONNECTING;
        }
        *error_number = errno;
        return SOCKET_REFUSED;
    }
    /* Dialling a port nobody listens on, from the range of free ports, may meet itself (TCP's
     * simultaneous open) and would keep the real owner from binding it. */
    if (getsockname(fd, &local.any, &local.size) == 0 && local.size == remote.size &&
        memcmp(&local.any, &remote.any, local.size) == 0) {
        *error_number = ECONNREFUSED;
        return SOCKET_REFUSED;
    }
    return SOCKET_CONNECTED;
}

/* ---- octets ------------------------------------------------------------------------------------ */

static enum err would_block(int error_number)
{
    return error_number == EAGAIN || error_number == EINTR ? OK : ERR_CLOSED;
}

enum err socket_read(int fd, void *data, size_t size, size_t *done)
{
    ASSERT(size > 0);
    ssize_t got = recv(fd, data, size, 0);
    if (got > 0) {
        *done = (size_t)got;
        return OK;
    }
    *done = 0;
    if (got == 0) {
        errno = 0; /* the other side said goodbye: no error to name */
        return ERR_CLOSED;
    }
    return would_block(errno);
}

enum err socket_write(int fd, const void *data, size_t size, size_t *done)
{
    ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent >= 0) {
        *done = (size_t)sent;
        return OK;
    }
    *done = 0;
    return would_block(errno);
}

bool socket_round_trip_us(int fd, uint64_t *out)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || info.tcpi_rtt == 0) {
        return false;
    }
    *out = info.tcpi_rtt;
    return true;
}
