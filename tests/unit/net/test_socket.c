/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_socket.c: shows on real loopback sockets that a taken port is an error that names the address,
 * that a second process cannot share it, that connecting and accepting never wait, and that each way
 * a connection can fail is told. (src/net/socket.h)
 */
#include "net/socket.h"
#include "suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS (60 * 1000) /* only ever waited out by a failing test */

/* A listening socket on a free port of 127.0.0.1 or ::1, and its address. */
static int listen_free(int family, struct socket_address *address)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    memset(address, 0, sizeof(*address));
    if (family == AF_INET) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address->size = sizeof(address->v4);
    } else {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_addr = in6addr_loopback;
        address->size = sizeof(address->v6);
    }
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, &address->any, address->size), 0);
    CU_ASSERT_EQUAL_FATAL(listen(fd, 16), 0);
    CU_ASSERT_EQUAL_FATAL(getsockname(fd, &address->any, &address->size), 0);
    return fd;
}

static bool wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    return poll(&p, 1, WAIT_MS) == 1;
}

/* Two connected sockets: [0] dialled, [1] accepted. */
static void connect_pair(int pair[2])
{
    struct socket_address address;
    int listening = listen_free(AF_INET, &address);
    int error_number = 0;
    CU_ASSERT_EQUAL_FATAL(socket_connect_start(&address, &pair[0]), OK);
    CU_ASSERT_FATAL(wait_for(pair[0], POLLOUT));
    CU_ASSERT_EQUAL_FATAL(socket_connect_finish(pair[0], &error_number), SOCKET_CONNECTED);
    CU_ASSERT_FATAL(wait_for(listening, POLLIN));
    CU_ASSERT_EQUAL_FATAL(socket_accept(listening, &pair[1]), SOCKET_ACCEPTED);
    close(listening);
}

static int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t size = sizeof(value);
    CU_ASSERT_EQUAL(getsockopt(fd, level, option, &value, &size), 0);
    return value;
}

static void assert_quiet_descriptor(int fd)
{
    CU_ASSERT_TRUE((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    CU_ASSERT_TRUE((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
}

/* ---- listening ---------------------------------------------------------------------------------- */

/* Try free ports until one is ours: somebody else may take it in between. */
static int listen_text(const char *host, char *text, size_t text_size)
{
    for (int i = 0; i < 100; i++) {
        struct socket_address free_one;
        char problem[256] = "";
        int fd = listen_free(AF_INET, &free_one);
        snprintf(text, text_size, "%s:%u", host, ntohs(free_one.v4.sin_port));
        close(fd);
        if (socket_listen(text, &fd, problem, sizeof(problem)) == OK) {
            return fd;
        }
    }
    return -1;
}

static void listens_on_text(void)
{
    static const char *const hosts[] = {"127.0.0.1", "[::1]", "localhost", "[::]"};
    for (size_t i = 0; i < ARRAY_COUNT(hosts); i++) {
        char text[64];
        int fd = listen_text(hosts[i], text, sizeof(text));
        CU_ASSERT_FATAL(fd >= 0);
        assert_quiet_descriptor(fd);
        CU_ASSERT_NOT_EQUAL(socket_local_port(fd), 0);
        CU_ASSERT_EQUAL(option_of(fd, SOL_SOCKET, SO_REUSEADDR), 1);
        CU_ASSERT_EQUAL(option_of(fd, SOL_SOCKET, SO_REUSEPORT), 0);
        close(fd);
    }
}

/* "[::]" is heard by those who dial 127.0.0.1. */
static void any_address_takes_v4(void)
{
    char text[64];
    int fd = listen_text("[::]", text, sizeof(text));
    CU_ASSERT_FATAL(fd >= 0);
    struct socket_address v4 = {.size = sizeof(struct sockaddr_in)};
    v4.v4.sin_family = AF_INET;
    v4.v4.sin_port = htons(socket_local_port(fd));
    v4.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int dialled = -1, accepted = -1;
    CU_ASSERT_EQUAL_FATAL(socket_connect_start(&v4, &dialled), OK);
    CU_ASSERT_TRUE(wait_for(fd, POLLIN));
    CU_ASSERT_EQUAL_FATAL(socket_accept(fd, &accepted), SOCKET_ACCEPTED);
    close(accepted);
    close(dialled);
    close(fd);
}

/* A second daemon gets an error with the address in it, not a share of the connections. */
static void taken_port(void)
{
    struct socket_address address;
    char text[64], problem[256] = "";
    int first = listen_free(AF_INET, &address), second = -1;
    /* The first one even allows it: still no. */
    int one = 1;
    CU_ASSERT_EQUAL(setsockopt(first, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
    snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(address.v4.sin_port));
    CU_ASSERT_EQUAL(socket_listen(text, &second, problem, sizeof(problem)), ERR_ADDRESS);
    CU_ASSERT_EQUAL(second, -1);
    CU_ASSERT_PTR_NOT_NULL(strstr(problem, text));
    CU_ASSERT_PTR_NOT_NULL(strstr(problem, "already in use"));
    close(first);
}

static void bad_addresses(void)
{
    static const char *const bad[] = {"", "127.0.0.1", "no port", "127.0.0.1:99999",
                                      "192.0.2.1:2380"}; /* the last: not one of this machine's */
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        char problem[256] = "";
        int fd = -1;
        CU_ASSERT_EQUAL(socket_listen(bad[i], &fd, problem, sizeof(problem)), ERR_ADDRESS);
        CU_ASSERT_EQUAL(fd, -1);
        CU_ASSERT_PTR_NOT_NULL(strstr(problem, "cannot listen on"));
        CU_ASSERT_PTR_NOT_NULL(strstr(problem, bad[i]));
    }
}

/* ---- accepting ---------------------------------------------------------------------------------- */

static void accepts_without_waiting(void)
{
    struct socket_address address;
    int listening = listen_free(AF_INET6, &address), dialled = -1, accepted = -1;
    CU_ASSERT_EQUAL(socket_accept(listening, &accepted), SOCKET_NONE);
    CU_ASSERT_EQUAL_FATAL(socket_connect_start(&address, &dialled), OK);
    assert_quiet_descriptor(dialled);
    CU_ASSERT_TRUE(wait_for(listening, POLLIN));
    CU_ASSERT_EQUAL_FATAL(socket_accept(listening, &accepted), SOCKET_ACCEPTED);
    assert_quiet_descriptor(accepted);
    CU_ASSERT_EQUAL(socket_accept(listening, &accepted), SOCKET_NONE);
    close(accepted);
    close(dialled);
    close(listening);
}

/* EMFILE is told apart, because the listening socket stays readable. */
static void out_of_descriptors(void)
{
    struct socket_address address;
    int listening = listen_free(AF_INET, &address), dialled = -1, accepted = -1;
    CU_ASSERT_EQUAL_FATAL(socket_connect_start(&address, &dialled), OK);
    CU_ASSERT_TRUE(wait_for(listening, POLLIN));
    struct rlimit before, none;
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum socket_accepted result = socket_accept(listening, &accepted);
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &before), 0);
    CU_ASSERT_EQUAL(result, SOCKET_EXHAUSTED);
    CU_ASSERT_EQUAL(socket_accept(listening, &accepted), SOCKET_ACCEPTED); /* it was not lost */
    close(accepted);
    close(dialled);
    close(listening);
}

/* ---- connecting --------------------------------------------------------------------------------- */

static void refused_connection(void)
{
    struct socket_address address;
    int fd = -1, error_number = 0;
    close(listen_free(AF_INET, &address)); /* nobody listens there now */
    CU_ASSERT_EQUAL_FATAL(socket_connect_start(&address, &fd), OK);
    CU_ASSERT_TRUE(wait_for(fd, POLLOUT));
    CU_ASSERT_EQUAL(socket_connect_finish(fd, &error_number), SOCKET_REFUSED);
    CU_ASSERT_EQUAL(error_number, ECONNREFUSED);
    close(fd);
}

/* A look that comes too early does not take a connection for made. */
static void not_yet_connected(void)
{
    int error_number = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL(socket_connect_finish(fd, &error_number), SOCKET_CONNECTING);
    close(fd);
}

/* TCP's simultaneous open: a socket bound to the port it dials meets itself. */
static void connection_to_itself(void)
{
    struct socket_address address;
    int error_number = 0;
    close(listen_free(AF_INET, &address));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    CU_ASSERT_EQUAL(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, &address.any, address.size), 0);
    int connected = connect(fd, &address.any, address.size);
    CU_ASSERT_TRUE(connected == 0 || errno == EINPROGRESS);
    CU_ASSERT_TRUE(wait_for(fd, POLLOUT));
    CU_ASSERT_EQUAL(socket_connect_finish(fd, &error_number), SOCKET_REFUSED);
    CU_ASSERT_EQUAL(error_number, ECONNREFUSED);
    close(fd);
}

static void unusable_family(void)
{
    struct socket_address address = {.size = sizeof(struct sockaddr_in)};
    address.any.sa_family = AF_UNSPEC;
    int fd = -1;
    CU_ASSERT_EQUAL(socket_connect_start(&address, &fd), ERR_ADDRESS);
    CU_ASSERT_EQUAL(fd, -1);
    address.v4.sin_family = AF_INET;
    address.v4.sin_addr.s_addr = htonl(INADDR_BROADCAST);
    address.v4.sin_port = htons(9);
    CU_ASSERT_EQUAL(socket_connect_start(&address, &fd), ERR_ADDRESS);
    CU_ASSERT_EQUAL(fd, -1);
}

/* ---- octets ------------------------------------------------------------------------------------- */

static void read_and_write(void)
{
    int pair[2];
    char got[16];
    size_t done = 99;
    connect_pair(pair);
    CU_ASSERT_EQUAL(socket_read(pair[1], got, sizeof(got), &done), OK); /* nothing yet */
    CU_ASSERT_EQUAL(done, 0);
    CU_ASSERT_EQUAL(socket_write(pair[0], "hello", 5, &done), OK);
    CU_ASSERT_EQUAL(done, 5);
    CU_ASSERT_TRUE(wait_for(pair[1], POLLIN));
    CU_ASSERT_EQUAL(socket_read(pair[1], got, sizeof(got), &done), OK);
    CU_ASSERT_EQUAL(done, 5);
    CU_ASSERT_EQUAL(memcmp(got, "hello", 5), 0);
    close(pair[0]);
    CU_ASSERT_TRUE(wait_for(pair[1], POLLIN));
    CU_ASSERT_EQUAL(socket_read(pair[1], got, sizeof(got), &done), ERR_CLOSED);
    CU_ASSERT_EQUAL(errno, 0); /* a goodbye, not a failure */
    close(pair[1]);
}

/* A full socket takes nothing more and says so; it does not wait. */
static void full_socket(void)
{
    int pair[2];
    static uint8_t block[1 << 16];
    size_t done = 1, sum = 0;
    connect_pair(pair);
    while (done > 0) {
        CU_ASSERT_EQUAL_FATAL(socket_write(pair[0], block, sizeof(block), &done), OK);
        sum += done;
        CU_ASSERT_FATAL(sum < (size_t)1 << 30);
    }
    close(pair[1]);
    close(pair[0]);
}

/* Writing to somebody who is gone is an error, not a signal that ends the process. */
static void broken_connection(void)
{
    int pair[2];
    char got[4];
    size_t done = 0;
    connect_pair(pair);
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    CU_ASSERT_EQUAL(setsockopt(pair[1], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    close(pair[1]);
    CU_ASSERT_TRUE(wait_for(pair[0], POLLIN));
    CU_ASSERT_EQUAL(socket_read(pair[0], got, sizeof(got), &done), ERR_CLOSED);
    CU_ASSERT_EQUAL(errno, ECONNRESET);
    CU_ASSERT_EQUAL(socket_write(pair[0], "x", 1, &done), ERR_CLOSED);
    CU_ASSERT_EQUAL(errno, EPIPE);
    CU_ASSERT_EQUAL(done, 0);
    close(pair[0]);
}

/* ---- options and texts -------------------------------------------------------------------------- */

static void tuning(void)
{
    int pair[2];
    connect_pair(pair);
    socket_tune_peer(pair[0], 4000);
    CU_ASSERT_EQUAL(option_of(pair[0], IPPROTO_TCP, TCP_NODELAY), 1);
    CU_ASSERT_EQUAL(option_of(pair[0], SOL_SOCKET, SO_KEEPALIVE), 1);
    CU_ASSERT_EQUAL(option_of(pair[0], IPPROTO_TCP, TCP_USER_TIMEOUT), 4000);
    socket_tune_client(pair[1]);
    CU_ASSERT_EQUAL(option_of(pair[1], IPPROTO_TCP, TCP_NODELAY), 1);
    CU_ASSERT_EQUAL(option_of(pair[1], SOL_SOCKET, SO_KEEPALIVE), 1);
    close(pair[0]);
    close(pair[1]);
}

static void texts(void)
{
    int pair[2];
    char text[SOCKET_ADDRESS_TEXT_MAX + 1];
    connect_pair(pair);
    socket_remote_text(pair[1], text, sizeof(text));
    CU_ASSERT_EQUAL(strncmp(text, "127.0.0.1:", 10), 0);
    close(pair[0]);
    close(pair[1]);
    struct socket_address v6 = {.size = sizeof(struct sockaddr_in6)};
    v6.v6.sin6_family = AF_INET6;
    v6.v6.sin6_addr = in6addr_loopback;
    v6.v6.sin6_port = htons(2380);
    socket_address_text(&v6, text, sizeof(text));
    CU_ASSERT_STRING_EQUAL(text, "[::1]:2380");
    v6.any.sa_family = AF_UNIX;
    socket_address_text(&v6, text, sizeof(text));
    CU_ASSERT_STRING_EQUAL(text, "?");
    socket_remote_text(-1, text, sizeof(text));
    CU_ASSERT_STRING_EQUAL(text, "?");
    CU_ASSERT_EQUAL(socket_local_port(-1), 0);
}

/* ---- systemd ------------------------------------------------------------------------------------ */

/* sd_listen_fds(3): descriptors from 3 on, named by LISTEN_FDNAMES, for the process LISTEN_PID. */
static void inherited_sockets(void)
{
    CU_ASSERT_EQUAL(socket_inherited("client"), -1); /* not started by systemd */
    pid_t child = fork();
    if (child == 0) {
        struct socket_address address;
        char pid[16];
        int listening = listen_free(AF_INET, &address);
        int plain = socket(AF_INET, SOCK_STREAM, 0); /* does not listen */
        if (dup2(listening, 100) < 0 || dup2(plain, 101) < 0 || dup2(100, 3) < 0 ||
            dup2(101, 4) < 0) {
            _exit(1);
        }
        snprintf(pid, sizeof(pid), "%d", (int)getpid());
        setenv("LISTEN_PID", pid, 1);
        setenv("LISTEN_FDS", "2", 1);
        setenv("LISTEN_FDNAMES", "client:peer", 1);
        bool right = socket_inherited("client") == 3 && socket_inherited("peer") == -1 &&
                     socket_inherited("other") == -1 && (fcntl(3, F_GETFL) & O_NONBLOCK) != 0;
        _exit(right ? 0 : 1);
    }
    int status = -1;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_EQUAL(status, 0);
}

SUITE("sockets", TEST(listens_on_text), TEST(any_address_takes_v4), TEST(taken_port),
      TEST(bad_addresses), TEST(accepts_without_waiting), TEST(out_of_descriptors),
      TEST(refused_connection), TEST(not_yet_connected), TEST(connection_to_itself),
      TEST(unusable_family), TEST(read_and_write), TEST(full_socket), TEST(broken_connection),
      TEST(tuning), TEST(texts), TEST(inherited_sockets))
