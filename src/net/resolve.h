/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resolve.h: a host name to addresses, and the name of a service to its hosts and ports (SRV records,
 * RFC 2782), without waiting, by c-ares. Flow: a name in; requests to watch
 * descriptors out (through a hook) and readiness of them in; addresses or a reason out. The caller
 * brings the poll loop, so the same code runs under an actor's epoll and under a test's poll.
 *
 * A lookup opens a channel of its own and closes it at the end: /etc/resolv.conf and
 * /etc/hosts are read anew each time. A daemon that lives for a year must see them change.
 *
 * Deliberately not here: a cache. A name is looked up again at every dial, because after a
 * fail-over the answer of a minute ago is the wrong one; dials are rare and backed off.
 *
 * Invariants
 *  1. At most one lookup at a time per resolver; resolve_cancel or the answer ends it.
 *  2. When a lookup has ended, every descriptor given to the hook has been forgotten through it.
 *  3. IP literals and names in /etc/hosts are answered before resolve_start returns.
 */
#ifndef HOLDFAST_NET_RESOLVE_H
#define HOLDFAST_NET_RESOLVE_H

#include "base.h"
#include "socket.h"

#define RESOLVE_ADDRESSES_MAX 16
#define RESOLVE_SOCKETS_MAX   16

/* What to wait for on a descriptor; neither: forget it, it is about to be closed. `fresh`: it was not
 * watched before. */
typedef void resolve_watch_fn(void *context, int fd, bool fresh, bool readable, bool writable);

struct resolve_settings {
    resolve_watch_fn *watch;
    void *context;       /* borrowed by the hook */
    uint32_t timeout_ms; /* of the first try of one server; c-ares doubles it */
    uint32_t tries;      /* per server */
    /* "address:port,..." of name servers instead of the system's; NULL: the system's. Borrowed for
     * the resolver's life. */
    const char *servers;
};

struct resolve_answer {
    enum err error;                                         /* OK, or ERR_ADDRESS */
    const char *reason;                                     /* a static sentence on error */
    size_t count;                                           /* > 0 if OK */
    struct socket_address addresses[RESOLVE_ADDRESSES_MAX]; /* best first (RFC 6724) */
};

#define RESOLVE_SERVICES_MAX 16
#define RESOLVE_HOST_MAX     253

/* A target of an SRV record; its name is resolved where it is dialled. */
struct resolve_service {
    char host[RESOLVE_HOST_MAX + 1];
    uint16_t port, priority, weight;
};

struct resolve_services {
    enum err error;     /* OK, or ERR_ADDRESS */
    const char *reason; /* a static sentence on error */
    size_t count;       /* > 0 if OK */
    struct resolve_service
        items[RESOLVE_SERVICES_MAX]; /* lesser priority first, then greater weight, then name */
};

struct resolver;

/* settings: copied. */
struct resolver *resolve_create(const struct resolve_settings *settings);
void resolve_destroy(struct resolver **r); /* cancels; NULL is fine */

/* Begin; no lookup may be under way. host: name or IP literal, borrowed for the call. port: put into
 * the addresses. */
void resolve_start(struct resolver *r, const char *host, uint16_t port);
/* The same for "_service._proto.domain"; answered by resolve_take_services. */
void resolve_start_services(struct resolver *r, const char *name);
/* End a lookup without an answer; harmless if none is under way. */
void resolve_cancel(struct resolver *r);

/* A watched descriptor is ready. */
void resolve_ready(struct resolver *r, int fd, bool readable, bool writable);
/* Time has passed (resolve_wait_us was over). */
void resolve_tick(struct resolver *r);
/* How long the lookup wants to wait at most before resolve_tick; UINT64_MAX: no lookup. */
uint64_t resolve_wait_us(struct resolver *r);

/* Take the answer; false while the lookup is under way (or there is none). */
bool resolve_take(struct resolver *r, struct resolve_answer *out);
bool resolve_take_services(struct resolver *r, struct resolve_services *out);

#endif
