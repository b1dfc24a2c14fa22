/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits.c: the sum of limits.h, in the order in which a put passes through the node.
 *
 * Payloads are copied per receiver, so one entry may be held by several lines at once: by its request,
 * the log, each peer and apply. Each copy is counted where it lies.
 */
#include "limits.h"

#include "entry.h"

#include <sys/resource.h>

#define BATCHES_OF_KV          2  /* one open, one on its way to kv.db */
#define DESCRIPTORS_OF_ACTOR   3  /* epoll, eventfd, timerfd */
#define DESCRIPTORS_OF_PEER    8  /* dialled, accepted, one half open, and its resolver's */
#define DESCRIPTORS_OF_PROCESS 64 /* listeners, greetings, stderr, lock, watchdog, room to spare */
#define ACTORS_BESIDE                                                                              \
    10 /* timer, raft, log, apply, watch, flush, copy, listener, logger, supervisor */

static void add(struct limits *l, const char *holder, const char *what, const char *through,
                uint64_t messages, uint64_t bytes)
{
    ASSERT(l->count < LIMITS_LINES_MAX);
    ASSERT(bytes <= UINT64_MAX - l->bytes);
    ASSERT(messages <= UINT64_MAX - l->messages);
    l->lines[l->count++] = (struct limit_line){
        .holder = holder,
        .what = what,
        .through = through,
        .messages = messages,
        .bytes = bytes,
    };
    l->messages += messages;
    l->bytes += bytes;
}

void limits_compute(const struct config *c, const struct limits_fixed *fixed, struct limits *out)
{
    uint64_t peers = c->member_count > 0 ? (uint64_t)c->member_count - 1 : 0;
    uint64_t connections = c->client_connections_max;
    *out = (struct limits){.count = 0};

    /* A request is one message at a time: it is moved from client to raft to apply and back. */
    add(out, "client", "requests and answers under way",
        "credits: client.requests_in_flight_max, client.bytes_in_flight_max",
        c->client_requests_in_flight_max, c->client_bytes_in_flight_max);
    add(out, "client", "calls that last; they count among the octets above",
        "credits: client.streams_max", c->client_streams_max, 0);
    add(out, "client", "output for connections that do not read",
        "credits: client.connections_max; nothing is read from a blocked one", connections,
        connections * fixed->connection_output_bytes);

    add(out, "client", "keepalives that wait for their turn",
        "a bound per client thread, then refusal", 0, c->client_threads * fixed->keepalive_bytes);

    add(out, "raft", "entries not yet committed", "raft.uncommitted_bytes_max, then refusal", 0,
        c->raft.uncommitted_bytes_max);
    add(out, "raft", "applied entries kept for followers", "raft.cache_bytes_max", 0,
        c->raft.cache_bytes_max);

    /* What raft handed over and the disk has not acknowledged is a copy of uncommitted entries; and one
     * answer to a read for a follower that lags. */
    add(out, "log", "entries to be written", "raft.uncommitted_bytes_max", 0,
        c->raft.uncommitted_bytes_max);
    add(out, "log", "entries read for a lagging follower", "one read outstanding", 1,
        c->raft.append_bytes_max + c->request_bytes_max + ENTRY_OVERHEAD);

    add(out, "peers", "appends in flight", "raft.window_bytes for each of the others", 0,
        peers * (c->raft.window_bytes + c->raft.append_bytes_max));
    add(out, "peers", "encoded and not yet taken by the socket",
        "beyond the bound messages are dropped", 0,
        peers * (fixed->peer_unsent_bytes + fixed->peer_frame_bytes));
    add(out, "peers", "a frame being read, and its message", "largest frame", peers,
        peers * 2 * fixed->peer_frame_bytes);

    add(out, "apply", "committed entries to be applied", "raft.apply_bytes_max", 0,
        c->raft.apply_bytes_max);
    add(out, "apply", "changes that kv.db does not have yet", "kv.overlay_bytes_max, then waiting",
        0, c->kv.overlay_bytes_max);
    add(out, "apply", "newest rows kept for reads", "kv.cache_bytes_max", 0, c->kv.cache_bytes_max);
    /* A batch is sealed by the entry that fills it, so it may be one request larger. */
    add(out, "flush", "batches, open and being written", "kv.flush_bytes_max each", BATCHES_OF_KV,
        BATCHES_OF_KV * (c->kv.flush_bytes_max + c->request_bytes_max));

    /* The ring keeps at least what kv.db lacks, which is counted for apply; here is what it keeps beyond. */
    add(out, "watch", "newest changes", "watch.ring_bytes_max, and what kv.db lacks", 0,
        c->watch.ring_bytes_max + c->kv.overlay_bytes_max);
    add(out, "watch", "changes on their way from apply", "then apply stops recording", 0,
        fixed->watch_changes_bytes + c->raft.apply_bytes_max);
    add(out, "watch", "responses on their way to sockets",
        "watch.bytes_max; a stream without credit lags and is served from history", 0,
        c->watch.bytes_max + c->watch.response_bytes_max);

    add(out, "logger", "lines to be written", "credits; further lines are dropped and counted",
        fixed->logger_lines, fixed->logger_lines * fixed->logger_line_bytes);

    out->descriptors =
        connections + peers * DESCRIPTORS_OF_PEER +
        (ACTORS_BESIDE + c->client_threads + fixed->peer_slots) * DESCRIPTORS_OF_ACTOR +
        fixed->databases_descriptors + DESCRIPTORS_OF_PROCESS;
}

void limits_log(const struct limits *limits)
{
    for (size_t i = 0; i < limits->count; i++) {
        const struct limit_line *line = &limits->lines[i];
        log_event(LOG_INFO, "limit",
                  "holder=%s bytes=%" PRIu64 " messages=%" PRIu64 " what=\"%s\" through=\"%s\"",
                  line->holder, line->bytes, line->messages, line->what, line->through);
    }
    log_event(LOG_NOTICE, "limits in sum",
              "bytes=%" PRIu64 " messages=%" PRIu64 " descriptors=%" PRIu64, limits->bytes,
              limits->messages, limits->descriptors);
    struct rlimit open_files;
    if (getrlimit(RLIMIT_NOFILE, &open_files) == 0 && open_files.rlim_cur < limits->descriptors) {
        log_event(LOG_WARNING, "fewer descriptors than could be needed",
                  "allowed=%ju needed=%" PRIu64
                  " advice=\"raise LimitNOFILE= or lower client.connections_max\"",
                  (uintmax_t)open_files.rlim_cur, limits->descriptors);
    }
}
