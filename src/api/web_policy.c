/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web_policy.c: see web_policy.h.
 */
#include "web_policy.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#define HOST_MAX 255

static bool same_text(struct view v, const char *text)
{
    return v.size == strlen(text) && strncasecmp((const char *)v.data, text, v.size) == 0;
}

/* The next word of a list; *list moves on. Words are divided by blanks and commas. */
static bool next_word(const char **list, struct view *word)
{
    *list += strspn(*list, " ,");
    size_t size = strcspn(*list, " ,");
    *word = view_of(*list, size);
    *list += size;
    return size > 0;
}

/* The host without its port, brackets and a dot at its end. */
static struct view bare_host(struct view host)
{
    if (host.size > 0 && host.data[0] == '[') {
        const uint8_t *end = memchr(host.data, ']', host.size);
        return end != NULL ? view_of(host.data + 1, (size_t)(end - host.data) - 1) : host;
    }
    const uint8_t *colon = host.size > 0 ? memrchr(host.data, ':', host.size) : NULL;
    if (colon != NULL) {
        host.size = (size_t)(colon - host.data);
    }
    if (host.size > 1 && host.data[host.size - 1] == '.') {
        host.size--;
    }
    return host;
}

static bool is_address(struct view host)
{
    char text[HOST_MAX + 1];
    struct in6_addr room;
    if (host.size > HOST_MAX) {
        return false;
    }
    memcpy(text, host.data, host.size);
    text[host.size] = 0;
    char *zone = strchr(text, '%');
    if (zone != NULL) {
        *zone = 0;
    }
    return inet_pton(AF_INET, text, &room) == 1 || inet_pton(AF_INET6, text, &room) == 1;
}

static bool same_name(struct view a, struct view b)
{
    return a.size == b.size && strncasecmp((const char *)a.data, (const char *)b.data, a.size) == 0;
}

static bool is_host_of(struct view host, const char *address)
{
    return same_name(bare_host(view_of_text(address)), host);
}

/* A word of web.hosts: a name, "*.domain", or "*". */
static bool is_of_word(struct view host, struct view word)
{
    if (word.size == 1 && word.data[0] == '*') {
        return true;
    }
    if (word.size > 2 && word.data[0] == '*' && word.data[1] == '.') {
        struct view end = view_of(word.data + 1, word.size - 1);
        return host.size > end.size && strncasecmp((const char *)host.data + host.size - end.size,
                                                   (const char *)end.data, end.size) == 0;
    }
    return same_name(bare_host(word), host);
}

bool web_host_allowed(const struct config *config, struct view host)
{
    if (host.size == 0) {
        return true;
    }
    struct view name = bare_host(host);
    if (name.size == 0) {
        return false;
    }
    if (same_text(name, "localhost") || is_address(name) ||
        is_host_of(name, config->listen_client) || is_host_of(name, config->listen_peer)) {
        return true;
    }
    for (size_t i = 0; i < config->member_count; i++) {
        const struct config_member *m = &config->members[i];
        if (is_host_of(name, m->client) || is_host_of(name, m->peer) || same_text(name, m->name)) {
            return true;
        }
    }
    const char *list = config->web_hosts;
    struct view word;
    while (next_word(&list, &word)) {
        if (is_of_word(name, word)) {
            return true;
        }
    }
    return false;
}

bool web_origin_allowed(const struct config *config, struct view origin)
{
    if (origin.size == 0) {
        return true;
    }
    const char *list = config->web_origins;
    struct view word;
    while (next_word(&list, &word)) {
        if ((word.size == 1 && word.data[0] == '*') || same_name(word, origin)) {
            return true;
        }
    }
    return false;
}

bool web_is_loopback(const char *address)
{
    struct view host = bare_host(view_of_text(address));
    return same_text(host, "localhost") || same_text(host, "::1") ||
           (host.size > 4 && memcmp(host.data, "127.", 4) == 0 && is_address(host));
}
