/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resolve.c: c-ares behind resolve.h. c-ares calls back from within its own functions, and a channel
 * must not be destroyed from a callback; so callbacks only note, and resolve_settle closes the
 * channel once the c-ares call has returned.
 */
#include "resolve.h"

#include <ares.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define US_PER_S     1000000
#define DNS_CLASS_IN 1  /* RFC 1035 §3.2.4 */
#define DNS_TYPE_SRV 33 /* RFC 2782 */

struct resolver {
    struct resolve_settings settings;
    ares_channel channel; /* NULL: no lookup */
    uint16_t port;
    bool answered;
    bool services_wanted; /* which of the two the lookup is about */
    struct resolve_answer answer;
    struct resolve_services services;
    /* Descriptors the hook knows about, to take them back whatever c-ares says. */
    size_t socket_count;
    int sockets[RESOLVE_SOCKETS_MAX];
};

static void fail(struct resolver *r, int status)
{
    r->answered = true;
    r->answer.error = ERR_ADDRESS;
    r->answer.reason = ares_strerror(status);
    r->answer.count = 0;
    r->services.error = ERR_ADDRESS;
    r->services.reason = r->answer.reason;
    r->services.count = 0;
}

static void on_socket(void *context, ares_socket_t fd, int readable, int writable)
{
    struct resolver *r = context;
    size_t at = 0;
    while (at < r->socket_count && r->sockets[at] != fd) {
        at++;
    }
    bool known = at < r->socket_count;
    if (!readable && !writable) {
        if (known) {
            r->sockets[at] = r->sockets[--r->socket_count];
            r->settings.watch(r->settings.context, fd, false, false, false);
        }
        return;
    }
    if (!known) {
        if (r->socket_count == RESOLVE_SOCKETS_MAX) {
            return; /* that server is not heard; its time-out moves on to the next */
        }
        r->sockets[r->socket_count++] = fd;
    }
    r->settings.watch(r->settings.context, fd, !known, readable != 0, writable != 0);
}

static bool take_address(int family, const struct sockaddr *address, size_t size, uint16_t port,
                         struct socket_address *out)
{
    memset(out, 0, sizeof(*out));
    if (family == AF_INET && size == sizeof(out->v4)) {
        memcpy(&out->v4, address, sizeof(out->v4));
        out->v4.sin_port = htons(port);
        out->size = sizeof(out->v4);
        return true;
    }
    if (family == AF_INET6 && size == sizeof(out->v6)) {
        memcpy(&out->v6, address, sizeof(out->v6));
        out->v6.sin6_port = htons(port);
        out->size = sizeof(out->v6);
        return true;
    }
    return false;
}

static void on_answer(void *context, int status, int timeouts, struct ares_addrinfo *found)
{
    struct resolver *r = context;
    UNUSED(timeouts);
    if (status == ARES_EDESTRUCTION || status == ARES_ECANCELLED) {
        return; /* our own resolve_cancel: nobody wants an answer */
    }
    if (status != ARES_SUCCESS) {
        fail(r, status);
        goto out;
    }
    r->answer.count = 0;
    for (const struct ares_addrinfo_node *node = found->nodes;
         node != NULL && r->answer.count < RESOLVE_ADDRESSES_MAX; node = node->ai_next) {
        if (take_address(node->ai_family, node->ai_addr, (size_t)node->ai_addrlen, r->port,
                         &r->answer.addresses[r->answer.count])) {
            r->answer.count++;
        }
    }
    if (r->answer.count == 0) {
        fail(r, ARES_ENODATA);
        goto out;
    }
    r->answered = true;
    r->answer.error = OK;
    r->answer.reason = NULL;
out:
    if (found != NULL) {
        ares_freeaddrinfo(found);
    }
}

static int compare_services(const void *left, const void *right)
{
    const struct resolve_service *a = left;
    const struct resolve_service *b = right;
    if (a->priority != b->priority) {
        return a->priority < b->priority ? -1 : 1;
    }
    if (a->weight != b->weight) {
        return a->weight > b->weight ? -1 : 1;
    }
    int names = strcmp(a->host, b->host);
    return names != 0 ? names : (int)a->port - (int)b->port;
}

static void on_services(void *context, int status, int timeouts, unsigned char *octets, int size)
{
    struct resolver *r = context;
    struct ares_srv_reply *found = NULL;
    struct resolve_services *services = &r->services;
    UNUSED(timeouts);
    if (status == ARES_EDESTRUCTION || status == ARES_ECANCELLED) {
        return;
    }
    if (status == ARES_SUCCESS) {
        status = ares_parse_srv_reply(octets, size, &found);
    }
    services->count = 0;
    for (const struct ares_srv_reply *item = found; item != NULL; item = item->next) {
        /* The root, ".", says that the service is not there; port 0 cannot be dialled. */
        size_t host_size = strlen(item->host);
        if (host_size == 0 || strcmp(item->host, ".") == 0 || host_size > RESOLVE_HOST_MAX ||
            item->port == 0 || services->count == RESOLVE_SERVICES_MAX) {
            continue;
        }
        struct resolve_service *service = &services->items[services->count++];
        memset(service, 0, sizeof(*service));
        memcpy(service->host, item->host, host_size);
        service->port = item->port;
        service->priority = item->priority;
        service->weight = item->weight;
    }
    if (found != NULL) {
        ares_free_data(found);
    }
    if (services->count == 0) {
        fail(r, status != ARES_SUCCESS ? status : ARES_ENODATA);
        return;
    }
    qsort(services->items, services->count, sizeof(services->items[0]), compare_services);
    r->answered = true;
    services->error = OK;
    services->reason = NULL;
}

static void close_channel(struct resolver *r)
{
    if (r->channel != NULL) {
        ares_channel channel = r->channel;
        r->channel = NULL;
        ares_destroy(channel); /* forgets its sockets through on_socket */
    }
    while (r->socket_count > 0) {
        r->settings.watch(r->settings.context, r->sockets[--r->socket_count], false, false, false);
    }
}

/* An IP literal, perhaps with a zone. c-ares 1.18 asks a name server about IPv4 literals when both
 * families are wanted; libc with AI_NUMERICHOST never asks anybody. */
static bool take_literal(struct resolver *r, const char *host)
{
    struct addrinfo *found = NULL;
    struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    if (getaddrinfo(host, NULL, &hints, &found) != 0) {
        return false;
    }
    r->answer = (struct resolve_answer){.error = OK};
    r->answered = take_address(found->ai_family, found->ai_addr, found->ai_addrlen, r->port,
                               &r->answer.addresses[0]);
    r->answer.count = 1;
    freeaddrinfo(found);
    return r->answered;
}

/* After every call into c-ares: an answered lookup needs its channel no more. */
static void settle(struct resolver *r)
{
    if (r->answered) {
        close_channel(r);
    }
}

struct resolver *resolve_create(const struct resolve_settings *settings)
{
    ASSERT(settings->watch != NULL);
    struct resolver *r = mem_zalloc(sizeof(*r));
    r->settings = *settings;
    return r;
}

void resolve_destroy(struct resolver **r)
{
    if (*r != NULL) {
        resolve_cancel(*r);
        mem_free(*r);
        *r = NULL;
    }
}

/* False: there is no channel, and the answer says why. */
static bool open_channel(struct resolver *r)
{
    /* A copy, because c-ares wants to write to it. */
    static const char lookups_hosts_then_dns[] = "fb";
    char lookups[sizeof(lookups_hosts_then_dns)];
    memcpy(lookups, lookups_hosts_then_dns, sizeof(lookups));
    struct ares_options options = {
        .timeout = (int)r->settings.timeout_ms,
        .tries = (int)r->settings.tries,
        .lookups = lookups,
        .sock_state_cb = on_socket,
        .sock_state_cb_data = r,
    };
    int status = ares_init_options(&r->channel, &options,
                                   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
                                       ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) {
        r->channel = NULL;
        fail(r, status);
        return false;
    }
    if (r->settings.servers != NULL) {
        status = ares_set_servers_ports_csv(r->channel, r->settings.servers);
        if (status != ARES_SUCCESS) {
            fail(r, status);
            settle(r);
            return false;
        }
    }
    return true;
}

void resolve_start(struct resolver *r, const char *host, uint16_t port)
{
    ASSERT(r->channel == NULL);
    r->answered = false;
    r->services_wanted = false;
    r->port = port;
    if (take_literal(r, host) || !open_channel(r)) {
        return;
    }
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    ares_getaddrinfo(r->channel, host, NULL, &hints, on_answer, r);
    settle(r);
}

void resolve_start_services(struct resolver *r, const char *name)
{
    ASSERT(r->channel == NULL);
    r->answered = false;
    r->services_wanted = true;
    if (open_channel(r)) {
        ares_query(r->channel, name, DNS_CLASS_IN, DNS_TYPE_SRV, on_services, r);
        settle(r);
    }
}

void resolve_cancel(struct resolver *r)
{
    close_channel(r);
    r->answered = false;
}

void resolve_ready(struct resolver *r, int fd, bool readable, bool writable)
{
    if (r->channel == NULL) {
        return;
    }
    ares_process_fd(r->channel, readable ? fd : ARES_SOCKET_BAD, writable ? fd : ARES_SOCKET_BAD);
    settle(r);
}

void resolve_tick(struct resolver *r)
{
    if (r->channel == NULL) {
        return;
    }
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    settle(r);
}

uint64_t resolve_wait_us(struct resolver *r)
{
    if (r->channel == NULL) {
        return UINT64_MAX;
    }
    struct timeval wait = {0};
    if (ares_timeout(r->channel, NULL, &wait) == NULL) {
        return UINT64_MAX;
    }
    return (uint64_t)wait.tv_sec * US_PER_S + (uint64_t)wait.tv_usec;
}

bool resolve_take(struct resolver *r, struct resolve_answer *out)
{
    if (!r->answered || r->services_wanted) {
        return false;
    }
    *out = r->answer;
    r->answered = false;
    return true;
}

bool resolve_take_services(struct resolver *r, struct resolve_services *out)
{
    if (!r->answered || !r->services_wanted) {
        return false;
    }
    *out = r->services;
    r->answered = false;
    return true;
}
