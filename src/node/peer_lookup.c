/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_lookup.c: from the peer's name to the addresses that are worth dialling. What the name servers say comes
 * first; they may be wrong for a while after a peer has moved, and they may be down, so the address
 * from which the peer has dialled us and the one that worked last stand behind it. None of them is believed: whoever
 * answers says its name and its member id (peer_handshake.h). State and invariants are in peer.h.
 */
#include "peer.h"

#include <string.h>

#define HOST_TEXT_MAX 255

bool peer_lookup_start(struct peer *p, const char *address)
{
    char host[HOST_TEXT_MAX + 1];
    uint16_t port = 0;
    if (address_split(address, host, sizeof(host), &port) != OK) {
        return false;
    }
    memmove(p->out.dialled, address, strlen(address) + 1);
    resolve_start(p->out.resolver, host, port);
    return true;
}

static void set_port(struct socket_address *address, uint16_t port)
{
    if (address->any.sa_family == AF_INET) {
        address->v4.sin_port = htons(port);
    } else {
        address->v6.sin6_port = htons(port);
    }
}

static bool found_has(const struct resolve_answer *found, const struct socket_address *address)
{
    for (size_t i = 0; i < found->count; i++) {
        if (socket_address_equal(&found->addresses[i], address)) {
            return true;
        }
    }
    return false;
}

static void found_add(struct resolve_answer *found, const struct socket_address *address)
{
    if (found->count < RESOLVE_ADDRESSES_MAX && !found_has(found, address)) {
        found->addresses[found->count++] = *address;
    }
}

/* The last one goes if there is no room; it has no place twice. */
static void found_put_first(struct resolve_answer *found, const struct socket_address *address)
{
    struct resolve_answer others = *found;
    found->count = 0;
    found_add(found, address);
    for (size_t i = 0; i < others.count; i++) {
        found_add(found, &others.addresses[i]);
    }
}

/* Where the peer dialled us from, with the port that is dialled. */
static bool inbound_address(const struct peer *p, struct socket_address *out)
{
    char host[HOST_TEXT_MAX + 1];
    uint16_t port = 0;
    if (p->in.fd < 0 || !socket_remote_address(p->in.fd, out) ||
        address_split(p->out.dialled, host, sizeof(host), &port) != OK) {
        return false;
    }
    set_port(out, port);
    return true;
}

/* An answer of a minute ago is wrong after a fail-over, and no answer at all must keep nobody apart. */
static void add_known_addresses(struct peer *p)
{
    struct outbound *out = &p->out;
    struct socket_address from;
    if (inbound_address(p, &from)) {
        if (out->moved) {
            found_put_first(&out->found, &from);
        }
        found_add(&out->found, &from);
    }
    if (out->found.error != OK && strcmp(out->good_of, out->dialled) == 0) {
        found_add(&out->found, &out->good);
    }
}

void peer_lookup_done(struct peer *p)
{
    struct outbound *out = &p->out;
    add_known_addresses(p);
    if (out->found.error == OK) {
        if (out->names_told != 0) {
            log_event(LOG_NOTICE, "name resolved again", "peer=%s address=%s", p->settings.name,
                      out->dialled);
        }
        out->names_told = 0;
    } else if (out->found.count > 0 && peer_is_news(&out->names_told, out->found.reason)) {
        log_event(LOG_WARNING, "name cannot be resolved",
                  "peer=%s address=%s reason=\"%s\" next=\"dialling the address that is known\"",
                  p->settings.name, out->dialled, out->found.reason);
    }
}

bool peer_lookup_confirms(struct peer *p)
{
    struct socket_address at;
    if (p->out.found.error != OK || !socket_remote_address(p->out.fd, &at)) {
        return true;
    }
    add_known_addresses(p); /* where it dials from is right, whatever the name servers say */
    return found_has(&p->out.found, &at);
}

/* Behind a translator of addresses a peer calls from the same wrong address all the time: that is no news. */
void peer_lookup_called(struct peer *p)
{
    struct outbound *out = &p->out;
    struct socket_address from;
    if (p->in.fd < 0 || !socket_remote_address(p->in.fd, &from)) {
        return;
    }
    set_port(&from, 0);
    out->moved = out->moved ||
                 (out->called_from.size > 0 && !socket_address_equal(&out->called_from, &from));
    out->called_from = from;
}

bool peer_lookup_call_back(struct peer *p)
{
    struct outbound *out = &p->out;
    struct socket_address from;
    ASSERT(out->found_next > 0);
    struct socket_address *tried = &out->found.addresses[out->found_next - 1];
    if (!out->moved || !inbound_address(p, &from) || socket_address_equal(tried, &from)) {
        return false;
    }
    *tried = from;
    out->found_next--;
    return true;
}
