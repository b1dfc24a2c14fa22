/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.h: the few things done to TCP sockets, each with its reason. Every descriptor made here is
 * non-blocking and close-on-exec. What is said over them, and who waits for them, is elsewhere.
 *
 * Invariants
 *  1. No SO_REUSEPORT: with it a second daemon could take a share of the connections of the first
 *     and nobody would notice. A taken port is an error that names the address.
 *  2. Nothing here blocks but socket_listen, which runs before the first thread and may ask a
 *     name server.
 *  3. A write to a closed connection is an error, never SIGPIPE.
 */
#ifndef HOLDFAST_NET_SOCKET_H
#define HOLDFAST_NET_SOCKET_H

#include "base.h"

#include <netinet/in.h>
#include <sys/socket.h>

#define SOCKET_LISTEN_BACKLOG   1024
#define SOCKET_ADDRESS_TEXT_MAX 63 /* "[v6 address]:port" */

/* One IPv4 or IPv6 address with its port. */
struct socket_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t size;
};

/* "1.2.3.4:80" or "[::1]:80" of an address; "?" for other families. */
void socket_address_text(const struct socket_address *address, char *out, size_t out_size);
/* The other end of a connection; an IPv4 address in IPv6's clothes is given as what it is. False: unknown. */
MUST_USE bool socket_remote_address(int fd, struct socket_address *out);
/* Address and port are the same. */
MUST_USE bool socket_address_equal(const struct socket_address *a, const struct socket_address *b);
/* socket_address_text of the other end of a connection. */
void socket_remote_text(int fd, char *out, size_t out_size);

/*
 * Listen on "host:port" or "[v6]:port". A host that means several addresses: the first that works.
 * "[::]" takes IPv4 too.
 *
 * out      the descriptor; the caller closes it
 * problem  on error: one sentence that names the address (problem_size octets)
 *
 * ERR_ADDRESS; ERR_NOT_FOUND: it is a name, and name servers do not answer now.
 */
MUST_USE enum err socket_listen(const char *address, int *out, char *problem, size_t problem_size);

/*
 * A listening socket that systemd opened for us under this FileDescriptorName, or -1. The process
 * has taken it over: the caller closes it. Only before the first thread, and once per name.
 */
int socket_inherited(const char *name);

/* The port a socket is bound to, host order; 0 if it is none. */
uint16_t socket_local_port(int fd);

enum socket_accepted {
    SOCKET_ACCEPTED,  /* *out is a connection */
    SOCKET_NONE,      /* nobody waits */
    SOCKET_EXHAUSTED, /* out of descriptors or memory: look away for a while, it stays readable */
};
/* Take one waiting connection. Connections that died while they waited are passed over. */
enum socket_accepted socket_accept(int listening_fd, int *out);

/* Small writes leave at once; a dead client is noticed within minutes even if it never speaks. */
void socket_tune_client(int fd);
/* The same for a connection between nodes, where a silent path must break within timeout_ms: unanswered
 * octets by TCP_USER_TIMEOUT, an idle connection by keepalive probes. */
void socket_tune_peer(int fd, uint32_t timeout_ms);

/* Begin to connect without waiting; writable means done. ERR_ADDRESS with errno set. */
MUST_USE enum err socket_connect_start(const struct socket_address *address, int *out);

enum socket_connected {
    SOCKET_CONNECTED,
    SOCKET_CONNECTING, /* not yet; wait on */
    SOCKET_REFUSED,    /* *error_number says why */
};
/* How far a started connection is. A connection to itself (two free ports that met) counts as refused. */
enum socket_connected socket_connect_finish(int fd, int *error_number);

/*
 * Read or write what is possible now.
 *
 * done  out: octets read or written; 0 if it would block
 *
 * OK, ERR_CLOSED (end of stream when reading; reset or broken when either).
 */
MUST_USE enum err socket_read(int fd, void *data, size_t size, size_t *done);
MUST_USE enum err socket_write(int fd, const void *data, size_t size, size_t *done);

/* The kernel's smoothed round-trip time of a TCP connection. False: not known. */
bool socket_round_trip_us(int fd, uint64_t *out);

#endif
