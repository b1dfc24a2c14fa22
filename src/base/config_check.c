/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_check.c: relations between keys of the configuration, after each was found right by itself.
 * What other nodes have in their files cannot be seen here; the handshake between nodes finds that out.
 */
#include "config_internal.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Five heartbeats, so that one lost packet and one late thread do not start an election. */
#define HEARTBEATS_PER_ELECTION_TIMEOUT 5

/* etcd's rule: time for a disk, and for an election that fails once. */
#define REQUEST_TIMEOUT_BASE_MS 5000

/* Where the key stands, or where its group's absence left it: line 0, the file as a whole. */
static unsigned line_of(const struct config_lines *lines, const char *group, const char *key)
{
    for (size_t i = 0; i < config_key_count; i++) {
        if (strcmp(config_keys[i].group, group) == 0 && strcmp(config_keys[i].key, key) == 0) {
            return lines->keys[i];
        }
    }
    assert_failed("ASSERT", "the key is in the table", __FILE__, __LINE__);
}

/* An address that only a listener can have. */
static bool is_unspecified(const char *address)
{
    char host[MEMBER_ADDRESS_MAX + 1];
    uint16_t port;
    return address_split(address, host, sizeof(host), &port) == OK &&
           (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0);
}

static enum err check_member(const struct config *c, size_t at, const struct config_lines *lines,
                             const struct config_problem *problem)
{
    const struct config_member *m = &c->members[at];
    unsigned line = lines->member[at];
    if (is_unspecified(m->peer) || is_unspecified(m->client)) {
        return config_refuse(problem, line,
                             "member \"%s\" has an address for all interfaces; expected one that "
                             "others can dial",
                             m->name);
    }
    if (strcmp(m->peer, m->client) == 0) {
        return config_refuse(problem, line,
                             "member \"%s\" has peer and client address \"%s\"; expected two ports",
                             m->name, m->peer);
    }
    for (size_t i = 0; i < at; i++) {
        const struct config_member *other = &c->members[i];
        if (strcmp(m->name, other->name) == 0) {
            return config_refuse(problem, line,
                                 "member name \"%s\" is there twice; expected each name once",
                                 m->name);
        }
        const char *own[] = {m->peer, m->client};
        for (size_t k = 0; k < ARRAY_COUNT(own); k++) {
            if (strcmp(own[k], other->peer) == 0 || strcmp(own[k], other->client) == 0) {
                return config_refuse(
                    problem, line,
                    "address \"%s\" of member \"%s\" is that of member \"%s\" too; "
                    "expected each address once",
                    own[k], m->name, other->name);
            }
        }
    }
    return OK;
}

static enum err check_members(struct config *c, const struct config_lines *lines,
                              const struct config_problem *problem)
{
    bool found = false;
    for (size_t i = 0; i < c->member_count; i++) {
        enum err error = check_member(c, i, lines, problem);
        if (error != OK) {
            return error;
        }
        if (strcmp(c->members[i].name, c->node) == 0) {
            c->node_index = i;
            found = true;
        }
    }
    if (!found) {
        return config_refuse(problem, line_of(lines, "", "node"),
                             "node \"%s\" is not among the members; expected the name of one",
                             c->node);
    }
    return OK;
}

/* The words of `join` become addresses. */
static enum err check_join(struct config *c, const struct config_lines *lines,
                           const struct config_problem *problem)
{
    unsigned line = line_of(lines, "", "join");
    const char *at = c->join_words;
    c->join_count = 0;
    for (;;) {
        char host[MEMBER_ADDRESS_MAX + 1];
        uint16_t port;
        at += strspn(at, " ,");
        size_t size = strcspn(at, " ,");
        if (size == 0) {
            break;
        }
        if (c->join_count == CONFIG_JOIN_MAX) {
            return config_refuse(problem, line, "join has more than %d addresses; expected as many",
                                 CONFIG_JOIN_MAX);
        }
        char *address = c->join[c->join_count];
        if (size <= MEMBER_ADDRESS_MAX) {
            memcpy(address, at, size);
            address[size] = '\0';
        }
        if (size > MEMBER_ADDRESS_MAX || address_split(address, host, sizeof(host), &port) != OK ||
            is_unspecified(address)) {
            return config_refuse(problem, line,
                                 "join address \"%.*s\" cannot be dialled; expected host:port or "
                                 "[IPv6]:port",
                                 (int)size, at);
        }
        c->join_count++;
        at += size;
    }
    if (c->bootstrap && c->join_count > 0) {
        return config_refuse(problem, line,
                             "bootstrap and join are both given; expected one: found a cluster, or "
                             "join one");
    }
    return OK;
}

static enum err check_admit(struct config *c, const struct config_lines *lines,
                            const struct config_problem *problem)
{
    c->admit_declared = strcmp(c->admit, "declared") == 0;
    if (c->admit[0] != '\0' && !c->admit_declared && strcmp(c->admit, "any") != 0) {
        return config_refuse(problem, line_of(lines, "membership", "admit"),
                             "membership.admit is \"%s\"; expected \"any\" or \"declared\"",
                             c->admit);
    }
    return OK;
}

/* As a browser names a page: scheme://host:port and nothing behind it. */
static bool is_origin(const char *word, size_t size)
{
    static const char between[] = "://";
    if ((size == 1 && word[0] == '*') || (size == 4 && memcmp(word, "null", 4) == 0)) {
        return true;
    }
    const char *host = memmem(word, size, between, strlen(between));
    if (host == NULL || host == word) {
        return false;
    }
    host += strlen(between);
    size_t left = size - (size_t)(host - word);
    return left > 0 && memchr(host, '/', left) == NULL;
}

/* A word that no browser can send would refuse everybody, and nobody would know why. */
static enum err check_web(const struct config *c, const struct config_lines *lines,
                          const struct config_problem *problem)
{
    const struct {
        const char *key, *words, *expected;
    } lists[] = {
        {"hosts", c->web_hosts, "a host name, \"*.domain\" or \"*\""},
        {"origins", c->web_origins, "scheme://host:port without a path, or \"*\""},
    };
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        const char *at = lists[i].words;
        while (*(at += strspn(at, " ,")) != '\0') {
            size_t size = strcspn(at, " ,");
            bool good = i == 0 ? memchr(at, '/', size) == NULL : is_origin(at, size);
            if (!good) {
                return config_refuse(problem, line_of(lines, "web", lists[i].key),
                                     "web.%s has \"%.*s\"; expected %s", lists[i].key, (int)size,
                                     at, lists[i].expected);
            }
            at += size;
        }
    }
    return OK;
}

/* _service._proto.domain (RFC 2782), as far as the form goes. */
static enum err check_discovery(const struct config *c, const struct config_lines *lines,
                                const struct config_problem *problem)
{
    unsigned line = line_of(lines, "", "discovery_srv");
    const char *name = c->discovery_srv;
    char with_port[CONFIG_WORDS_MAX + 8];
    char host[MEMBER_ADDRESS_MAX + 1];
    uint16_t port;
    if (name[0] == '\0') {
        return OK;
    }
    (void)snprintf(with_port, sizeof(with_port), "%s:1", name);
    if (name[0] != '_' || strstr(name, "._") == NULL ||
        address_split(with_port, host, sizeof(host), &port) != OK) {
        return config_refuse(problem, line,
                             "discovery_srv \"%s\" is no name of SRV records; expected "
                             "_holdfast._tcp.DOMAIN",
                             name);
    }
    if (c->bootstrap) {
        return config_refuse(problem, line,
                             "bootstrap and discovery_srv are both given; expected one: found a "
                             "cluster, or join one");
    }
    return OK;
}

/* One number may not be below another. */
struct order {
    const char *group, *key;
    uint64_t value;
    const char *least_group, *least_key;
    uint64_t least;
    const char *why;
};

static enum err check_sizes(const struct config *c, const struct config_lines *lines,
                            const struct config_problem *problem)
{
    const struct order orders[] = {
        {"raft", "window_bytes", c->raft.window_bytes, "raft", "append_bytes_max",
         c->raft.append_bytes_max, "one message must fit into the window"},
        {"raft", "uncommitted_bytes_max", c->raft.uncommitted_bytes_max, "client",
         "request_bytes_max", c->request_bytes_max, "one request must fit"},
        {"raft", "apply_bytes_max", c->raft.apply_bytes_max, "client", "request_bytes_max",
         c->request_bytes_max, "one request must fit"},
        {"client", "bytes_in_flight_max", c->client_bytes_in_flight_max, "client",
         "request_bytes_max", c->request_bytes_max, "one request must fit"},
        {"kv", "overlay_bytes_max", c->kv.overlay_bytes_max, "kv", "flush_bytes_max",
         c->kv.flush_bytes_max, "a batch stays in the overlay until it is written"},
        {"kv", "overlay_bytes_max", c->kv.overlay_bytes_max, "client", "request_bytes_max",
         c->request_bytes_max, "one request must fit"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(orders); i++) {
        const struct order *o = &orders[i];
        if (o->value < o->least) {
            unsigned line = line_of(lines, o->group, o->key);
            if (line == 0) { /* not given: the other one went beyond the default */
                line = line_of(lines, o->least_group, o->least_key);
            }
            return config_refuse(
                problem, line,
                "%s.%s is %" PRIu64 ", below %s.%s; expected %" PRIu64 " at least: %s", o->group,
                o->key, o->value, o->least_group, o->least_key, o->least, o->why);
        }
    }
    return OK;
}

enum err config_check(struct config *c, const struct config_lines *lines,
                      const struct config_problem *problem)
{
    if (strcmp(c->listen_client, c->listen_peer) == 0) {
        return config_refuse(problem, line_of(lines, "", "listen_peer"),
                             "listen_peer is the address of listen_client; expected another port");
    }
    enum err error = check_members(c, lines, problem);
    if (error == OK) {
        error = check_join(c, lines, problem);
    }
    if (error == OK) {
        error = check_discovery(c, lines, problem);
    }
    if (error != OK) {
        return error;
    }
    if (c->raft.election_timeout_ms < HEARTBEATS_PER_ELECTION_TIMEOUT * c->raft.heartbeat_ms) {
        unsigned line = line_of(lines, "raft", "election_timeout_ms");
        if (line == 0) {
            line = line_of(lines, "raft", "heartbeat_ms");
        }
        return config_refuse(problem, line,
                             "raft.election_timeout_ms is %" PRIu32 " with a heartbeat of %" PRIu32
                             " ms; expected %d heartbeats at least",
                             c->raft.election_timeout_ms, c->raft.heartbeat_ms,
                             HEARTBEATS_PER_ELECTION_TIMEOUT);
    }
    error = check_admit(c, lines, problem);
    if (error == OK) {
        error = check_web(c, lines, problem);
    }
    if (error == OK) {
        error = check_sizes(c, lines, problem);
    }
    if (error != OK) {
        return error;
    }
    if (c->request_timeout_ms == 0) {
        c->request_timeout_ms = REQUEST_TIMEOUT_BASE_MS + 2 * c->raft.election_timeout_ms;
    }
    return OK;
}
