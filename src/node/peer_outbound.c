/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_outbound.c: the connection we dial: resolve, connect, greet, send, and start over with a
 * jittered, growing pause. Raft messages leave encoded, one write per batch. State and invariants
 * are in peer.h.
 */
#include "peer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define RESOLVE_TIMEOUT_US    (5000 * PEER_US_PER_MS)
#define RESOLVE_KNOWN_US      (1000 * PEER_US_PER_MS) /* where an address is known to fall back on */
#define NO_ANSWER             "name servers do not answer"
#define RESOLVE_TRY_MS        1000
#define RESOLVE_TRIES         2
#define PEER_WRITE_BYTES      ((size_t)1 << 20) /* offered to the socket at once */
#define PEER_WRITES_PER_FLUSH 8
#define OUT_KEEP_BYTES        ((size_t)1 << 20) /* capacity kept by an empty output buffer */
#define REASON_MAX            (PEER_SENTENCE_MAX + 64)

static const bool legal_moves[OUT_STATES][OUT_STATES] = {
    [OUT_WAITING] = {[OUT_RESOLVING] = true, [OUT_STOPPED] = true},
    [OUT_RESOLVING] = {[OUT_CONNECTING] = true, [OUT_WAITING] = true, [OUT_STOPPED] = true},
    [OUT_CONNECTING] = {[OUT_CONNECTING] = true,
                        [OUT_GREETING] = true,
                        [OUT_WAITING] = true,
                        [OUT_STOPPED] = true},
    [OUT_GREETING] = {[OUT_UP] = true, [OUT_WAITING] = true, [OUT_STOPPED] = true},
    [OUT_UP] = {[OUT_WAITING] = true, [OUT_STOPPED] = true},
};

static void outbound_fail(struct peer *p, uint64_t now_us, const char *format, ...)
    PRINTF_LIKE(3, 4);

static void outbound_move(struct peer *p, enum outbound_state to)
{
    ASSERT(legal_moves[p->out.state][to]);
    p->out.state = to;
}

/* ---- the end ------------------------------------------------------------------------------------ */

static size_t unsent_bytes(const struct outbound *out)
{
    return out->unsent.size - out->unsent_start;
}

static void outbound_release(struct peer *p)
{
    struct outbound *out = &p->out;
    resolve_cancel(out->resolver);
    if (out->fd >= 0) {
        actor_unwatch(actor_self(), out->fd);
        (void)close(out->fd);
        out->fd = -1;
    }
    peer_decoder_free(&out->decoder);
    buffer_free(&out->unsent);
    out->unsent_start = 0;
    out->blocked = false;
    memset(&out->hello, 0, sizeof(out->hello));
}

static void report_down(struct peer *p)
{
    struct raft_peer_down *m = MSG_NEW(struct raft_peer_down, RAFT_PEER_DOWN, NULL);
    m->peer_index = p->settings.peer_index;
    m->member_id = p->out.hello.member_id;
    ACTOR_SEND(p->raft, m);
}

/* True once a connection has lasted: it is success, what came before is history. */
static bool has_lasted(const struct peer *p, uint64_t now_us)
{
    return p->out.state == OUT_UP && now_us - p->out.up_since_us >= p->backoff_max_us;
}

/* Half of a pause is chance, so that nodes that lost each other at once do not dial at once. */
static void outbound_retry_later(struct peer *p, uint64_t now_us)
{
    struct outbound *out = &p->out;
    if (has_lasted(p, now_us)) {
        out->backoff_us = PEER_BACKOFF_MIN_US;
    }
    if (out->state == OUT_UP) {
        out->flapping = !has_lasted(p, now_us);
        report_down(p);
    }
    outbound_release(p);
    outbound_move(p, OUT_WAITING);
    uint64_t half = out->backoff_us / 2;
    out->deadline_us = now_us + half + random_below(&p->random, half + 1);
    uint64_t doubled = out->backoff_us * 2;
    out->backoff_us = doubled < p->backoff_max_us ? doubled : p->backoff_max_us;
}

static void outbound_fail(struct peer *p, uint64_t now_us, const char *format, ...)
{
    char reason[REASON_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof(reason), format, arguments); /* may be cut */
    va_end(arguments);
    p->lost_count += p->out.state == OUT_UP;
    if (peer_is_news(&p->out.told, reason)) {
        bool was_up = p->out.state == OUT_UP;
        log_event(LOG_WARNING, was_up ? "peer connection lost" : "peer unreachable",
                  "peer=%s address=%s reason=\"%s\"", p->settings.name, p->settings.address,
                  reason);
    }
    outbound_retry_later(p, now_us);
}

/* They sent REFUSED. */
static void outbound_refused(struct peer *p, uint64_t now_us, const struct peer_refusal *why)
{
    if (peer_refusal_is_news(p, &p->out.told, why)) {
        log_event(peer_refusal_level(why), "refused by peer",
                  "peer=%s address=%s error=\"%s\" reason=\"%s\"", p->settings.name,
                  p->settings.address, err_text(why->error), why->sentence);
    }
    outbound_retry_later(p, now_us);
}

/* We refuse them, on the connection we dialled. */
static void outbound_refuse(struct peer *p, uint64_t now_us, const struct peer_refusal *why)
{
    peer_say_refused(p->out.fd, &p->out.unsent, p->out.unsent_start, why);
    p->out.unsent_start = 0;
    if (peer_refusal_is_news(p, &p->out.told, why)) {
        log_event(peer_refusal_level(why), "peer refused",
                  "peer=%s address=%s error=\"%s\" reason=\"%s\"", p->settings.name,
                  p->settings.address, err_text(why->error), why->sentence);
    }
    outbound_retry_later(p, now_us);
}

/* ---- writing ------------------------------------------------------------------------------------ */

static void outbound_watch(struct peer *p, bool writing)
{
    actor_rewatch(actor_self(), p->out.fd, writing ? EPOLLIN | EPOLLOUT : EPOLLIN, &p->out);
    p->out.blocked = writing;
}

/* Write what the socket takes. On error the connection is gone afterwards. */
static void outbound_write(struct peer *p, uint64_t now_us)
{
    struct outbound *out = &p->out;
    bool progress = false;
    for (int i = 0; i < PEER_WRITES_PER_FLUSH && unsent_bytes(out) > 0; i++) {
        size_t offered = unsent_bytes(out);
        if (offered > PEER_WRITE_BYTES) {
            offered = PEER_WRITE_BYTES;
        }
        size_t done = 0;
        if (socket_write(out->fd, out->unsent.data + out->unsent_start, offered, &done) != OK) {
            outbound_fail(p, now_us, "%s", strerrordesc_np(errno));
            return;
        }
        out->unsent_start += done;
        p->sent_bytes += done;
        progress = progress || done > 0;
        if (done < offered) {
            break; /* the socket is full */
        }
    }
    if (unsent_bytes(out) == 0) {
        out->unsent.size = 0;
        out->unsent_start = 0;
        if (out->unsent.capacity > OUT_KEEP_BYTES) {
            buffer_free(&out->unsent);
        }
        if (out->blocked) {
            outbound_watch(p, false);
        }
        return;
    }
    if (out->unsent_start > out->unsent.size / 2) { /* amortised: moves less than was sent */
        buffer_consume(&out->unsent, out->unsent_start);
        out->unsent_start = 0;
    }
    if (progress || !out->blocked) {
        out->stall_deadline_us = now_us + p->stall_us;
    }
    if (!out->blocked) {
        outbound_watch(p, true);
    }
}

static void outbound_announce(struct peer *p, enum peer_frame_type type)
{
    struct peer_greeting greeting = peer_own_greeting(p);
    peer_greeting_encode(type, &greeting, &p->out.unsent);
    p->out.announced = p->own;
}

static bool hello_equal(const struct peer_hello *a, const struct peer_hello *b)
{
    return a->member_id == b->member_id && a->cluster_id == b->cluster_id &&
           a->boot_id == b->boot_id && a->boot_number == b->boot_number &&
           a->list_digest == b->list_digest && a->empty == b->empty &&
           a->bootstrap == b->bootstrap && strcmp(a->peer, b->peer) == 0 &&
           strcmp(a->client, b->client) == 0 && strcmp(a->cluster, b->cluster) == 0 &&
           strcmp(a->name, b->name) == 0;
}

static void outbound_announce_news(struct peer *p)
{
    if (p->out.state == OUT_UP && !hello_equal(&p->own, &p->out.announced)) {
        outbound_announce(p, PEER_FRAME_HELLO_UPDATE);
    }
}

void peer_outbound_send(struct peer *p, const struct peer_send *m, uint64_t now_us)
{
    struct outbound *out = &p->out;
    if (out->state != OUT_UP) {
        p->dropped_count++;
        return;
    }
    size_t begin = peer_frame_begin(&out->unsent, PEER_FRAME_MESSAGE, m->group);
    raft_message_encode(&m->message, &out->unsent);
    if (peer_frame_end(&out->unsent, begin) != OK) {
        p->dropped_count++;
        if (peer_is_news(&out->told, "message too large")) { /* the core will repeat it */
            log_event(LOG_ERROR, "message too large for a peer frame; dropped",
                      "peer=%s limit_bytes=%zu", p->settings.name, PEER_FRAME_BYTES_MAX);
        }
        return;
    }
    if (unsent_bytes(out) > p->settings.window_bytes + PEER_UNSENT_BYTES_MAX) {
        outbound_fail(p, now_us, "it takes messages too slowly");
    }
}

static void measure(struct peer *p)
{
    uint64_t round_trip_us = 0;
    if (socket_round_trip_us(p->out.fd, &round_trip_us)) {
        histogram_add(&p->round_trip_us, round_trip_us, HISTOGRAM_TIMES);
    }
}

/* ---- dialling ----------------------------------------------------------------------------------- */

/* Try the addresses not yet tried; `reason` is why the last one did not work. */
static void dial_next(struct peer *p, uint64_t now_us, const char *reason)
{
    struct outbound *out = &p->out;
    while (out->found_next < out->found.count) {
        const struct socket_address *address = &out->found.addresses[out->found_next++];
        int fd = -1;
        if (socket_connect_start(address, &fd) == OK) {
            out->fd = fd;
            actor_watch(actor_self(), fd, EPOLLOUT, out);
            outbound_move(p, OUT_CONNECTING);
            out->deadline_us = now_us + p->dial_timeout_us;
            return;
        }
        reason = strerrordesc_np(errno);
    }
    outbound_fail(p, now_us, "%s", reason);
}

/* ---- dialling by name --------------------------------------------------------------------------- */

static void dial_found(struct peer *p, uint64_t now_us)
{
    struct outbound *out = &p->out;
    peer_lookup_done(p);
    out->found_next = 0;
    dial_next(p, now_us, out->found.error != OK ? out->found.reason : "no address");
}

static void dial_resolved(struct peer *p, uint64_t now_us)
{
    if (p->out.state == OUT_RESOLVING && resolve_take(p->out.resolver, &p->out.found)) {
        dial_found(p, now_us);
    }
}

/* The name servers take too long. */
static void dial_unresolved(struct peer *p, uint64_t now_us)
{
    resolve_cancel(p->out.resolver);
    p->out.found = (struct resolve_answer){.error = ERR_ADDRESS, .reason = NO_ANSWER};
    dial_found(p, now_us);
}

/* A connection is up and the peer says nothing: does its name still stand for where we are connected? */
static void look_again(struct peer *p, uint64_t now_us)
{
    struct outbound *out = &p->out;
    bool silent = p->received_bytes == out->look_received_bytes;
    out->look_at_us = now_us + PEER_LOOK_US;
    out->look_received_bytes = p->received_bytes;
    resolve_cancel(out->resolver);
    if (silent) {
        bool same = strcmp(out->dialled, p->settings.second) == 0;
        if (!peer_lookup_start(p, same ? p->settings.second : p->settings.address)) {
            return; /* there is no address any more: the target is about to change */
        }
    }
}

static void looked(struct peer *p, uint64_t now_us)
{
    struct outbound *out = &p->out;
    if (out->state == OUT_UP && resolve_take(out->resolver, &out->found) &&
        !peer_lookup_confirms(p)) {
        outbound_fail(p, now_us, "its name stands for another address now");
    }
}

static void dial(struct peer *p, uint64_t now_us)
{
    struct outbound *out = &p->out;
    outbound_move(p, OUT_RESOLVING);
    bool second = out->second_turn && p->settings.second[0] != '\0';
    out->second_turn = !out->second_turn;
    if (!peer_lookup_start(p, second ? p->settings.second : p->settings.address)) {
        outbound_fail(p, now_us, "not a host:port address");
        return;
    }
    bool known = p->in.fd >= 0 || strcmp(out->good_of, out->dialled) == 0;
    out->deadline_us = now_us + (known ? RESOLVE_KNOWN_US : RESOLVE_TIMEOUT_US);
    dial_resolved(p, now_us); /* literals and hosts are answered at once */
}

static void dial_watch(void *context, int fd, bool fresh, bool readable, bool writable)
{
    struct peer *p = context;
    uint32_t events = (readable ? (uint32_t)EPOLLIN : 0) | (writable ? (uint32_t)EPOLLOUT : 0);
    if (events == 0) {
        actor_unwatch(actor_self(), fd);
    } else if (fresh) {
        actor_watch(actor_self(), fd, events, p->out.resolver);
    } else {
        actor_rewatch(actor_self(), fd, events, p->out.resolver);
    }
}

/* This address does not answer; there may be others. */
static void dial_address_failed(struct peer *p, uint64_t now_us, const char *reason)
{
    actor_unwatch(actor_self(), p->out.fd);
    (void)close(p->out.fd);
    p->out.fd = -1;
    dial_next(p, now_us, reason);
}

static void dial_connected(struct peer *p, uint64_t now_us)
{
    struct outbound *out = &p->out;
    int error_number = 0;
    switch (socket_connect_finish(out->fd, &error_number)) {
    case SOCKET_CONNECTING:
        return;
    case SOCKET_REFUSED:
        dial_address_failed(p, now_us, strerrordesc_np(error_number));
        return;
    case SOCKET_CONNECTED:
        break;
    }
    socket_tune_peer(out->fd, (uint32_t)(p->stall_us / PEER_US_PER_MS));
    peer_decoder_init(&out->decoder, PEER_HELLO_FRAME_BYTES_MAX);
    outbound_move(p, OUT_GREETING);
    out->deadline_us = now_us + p->dial_timeout_us;
    outbound_watch(p, false);
    outbound_announce(p, PEER_FRAME_HELLO);
    outbound_write(p, now_us);
}

/* ---- reading ------------------------------------------------------------------------------------ */

static void log_connected(struct peer *p)
{
    char remote[SOCKET_ADDRESS_TEXT_MAX + 1];
    socket_remote_text(p->out.fd, remote, sizeof(remote));
    log_event(LOG_NOTICE, "connected to peer", "peer=%s remote=%s member_id=%016" PRIx64,
              p->settings.name, remote, p->out.hello.member_id);
    p->out.flapping = false;
    p->out.told = 0;
}

static void outbound_welcome(struct peer *p, const struct peer_greeting *greeting, uint64_t now_us)
{
    struct outbound *out = &p->out;
    struct peer_refusal why;
    if (!peer_judge(p, greeting, &why) || !peer_note(p, &greeting->hello, true, now_us, &why)) {
        outbound_refuse(p, now_us, &why);
        return;
    }
    out->hello = greeting->hello;
    out->up_since_us = now_us;
    outbound_move(p, OUT_UP);
    measure(p);
    out->look_at_us = now_us + PEER_LOOK_US;
    out->look_received_bytes = p->received_bytes;
    out->moved = false;
    if (socket_remote_address(out->fd, &out->good)) {
        memcpy(out->good_of, out->dialled, sizeof(out->good_of));
    }
    if (!out->flapping) {
        log_connected(p);
    }
    peer_report_up(p);
    outbound_announce_news(p); /* what changed since the HELLO left */
}

static void outbound_frame(struct peer *p, const struct peer_frame *frame, uint64_t now_us)
{
    enum err error = ERR_PROTOCOL;
    if (frame->type == PEER_FRAME_REFUSED) {
        struct peer_refusal why;
        error = peer_refusal_decode(frame->body, &why);
        if (error == OK) {
            outbound_refused(p, now_us, &why);
            return;
        }
    } else if (frame->type == PEER_FRAME_WELCOME && p->out.state == OUT_GREETING) {
        struct peer_greeting greeting;
        error = peer_greeting_decode(frame->body, &greeting);
        if (error == OK) {
            outbound_welcome(p, &greeting, now_us);
            return;
        }
    }
    outbound_fail(p, now_us, "%s", err_text(error));
}

/* They answer only handshakes here: one read is plenty. */
static void outbound_read(struct peer *p, uint64_t now_us)
{
    struct outbound *out = &p->out;
    size_t came = 0;
    uint8_t *room = peer_decoder_room(&out->decoder, PEER_HELLO_FRAME_BYTES_MAX);
    enum err error = socket_read(out->fd, room, PEER_HELLO_FRAME_BYTES_MAX, &came);
    const char *reason = error == OK ? NULL : peer_closed_reason();
    peer_decoder_fed(&out->decoder, PEER_HELLO_FRAME_BYTES_MAX, came);
    if (error != OK) {
        outbound_fail(p, now_us, "%s", reason);
        return;
    }
    /* Ends: each round takes a frame out of a bounded input, or the connection is gone. */
    while (out->fd >= 0) {
        struct peer_frame frame;
        bool have = false;
        error = peer_decoder_next(&out->decoder, &frame, &have);
        if (error != OK) {
            outbound_fail(p, now_us, "%s", err_text(error));
            return;
        }
        if (!have) {
            return;
        }
        outbound_frame(p, &frame, now_us);
    }
}

/* ---- what the actor calls ----------------------------------------------------------------------- */

void peer_outbound_init(struct peer *p)
{
    struct resolve_settings resolve = {.watch = dial_watch,
                                       .context = p,
                                       .timeout_ms = RESOLVE_TRY_MS,
                                       .tries = RESOLVE_TRIES,
                                       .servers = p->settings.name_servers};
    p->out.state = OUT_WAITING;
    p->out.fd = -1;
    p->out.backoff_us = PEER_BACKOFF_MIN_US;
    p->out.resolver = resolve_create(&resolve);
}

void peer_outbound_ready(struct peer *p, int fd, const void *tag, uint32_t events, uint64_t now_us)
{
    struct outbound *out = &p->out;
    bool readable = (events & ~(uint32_t)EPOLLOUT) != 0; /* an error is read, too */
    bool writable = (events & EPOLLOUT) != 0;
    if (tag == out->resolver) {
        resolve_ready(out->resolver, fd, readable, writable);
        dial_resolved(p, now_us);
        looked(p, now_us);
        return;
    }
    ASSERT(tag == out);
    if (out->state == OUT_CONNECTING) {
        dial_connected(p, now_us);
        return;
    }
    if (readable) {
        outbound_read(p, now_us);
    }
    if (writable && out->fd == fd) {
        outbound_write(p, now_us);
    }
}

void peer_outbound_expired(struct peer *p, uint64_t now_us)
{
    struct outbound *out = &p->out;
    bool due = out->deadline_us <= now_us;
    switch (out->state) {
    case OUT_WAITING:
        if (due) {
            dial(p, now_us);
        }
        return;
    case OUT_RESOLVING:
        resolve_tick(out->resolver);
        dial_resolved(p, now_us);
        if (due && out->state == OUT_RESOLVING) {
            dial_unresolved(p, now_us);
        }
        return;
    case OUT_CONNECTING:
        if (due) {
            dial_address_failed(p, now_us, "connecting timed out");
        }
        return;
    case OUT_GREETING:
        if (due) {
            outbound_fail(p, now_us, "its handshake does not come");
        }
        return;
    case OUT_UP:
        if (out->blocked && out->stall_deadline_us <= now_us) {
            outbound_fail(p, now_us, "it takes no data");
            return;
        }
        if (out->flapping && has_lasted(p, now_us)) {
            log_connected(p);
        }
        if (out->look_at_us <= now_us) {
            measure(p);
            look_again(p, now_us);
        }
        resolve_tick(out->resolver);
        looked(p, now_us);
        return;
    case OUT_STOPPED:
        return;
    }
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t peer_outbound_deadline_us(struct peer *p, uint64_t now_us)
{
    const struct outbound *out = &p->out;
    uint64_t at_us = UINT64_MAX;
    switch (out->state) {
    case OUT_RESOLVING: {
        uint64_t wait_us = resolve_wait_us(out->resolver);
        at_us = wait_us == UINT64_MAX ? UINT64_MAX : now_us + wait_us;
        return lesser(at_us, out->deadline_us);
    }
    case OUT_WAITING:
    case OUT_CONNECTING:
    case OUT_GREETING:
        return out->deadline_us;
    case OUT_UP: {
        uint64_t wait_us = resolve_wait_us(out->resolver);
        at_us = wait_us == UINT64_MAX ? out->look_at_us : lesser(out->look_at_us, now_us + wait_us);
        if (out->blocked) {
            at_us = lesser(at_us, out->stall_deadline_us);
        }
        if (out->flapping) {
            at_us = lesser(at_us, out->up_since_us + p->backoff_max_us);
        }
        return at_us;
    }
    case OUT_STOPPED:
        break;
    }
    return UINT64_MAX;
}

void peer_outbound_flush(struct peer *p, uint64_t now_us)
{
    if (p->out.state == OUT_UP && !p->out.blocked && unsent_bytes(&p->out) > 0) {
        outbound_write(p, now_us);
    }
}

void peer_outbound_identity(struct peer *p, uint64_t now_us)
{
    struct peer_refusal why;
    struct peer_greeting greeting = {.version_least = PEER_VERSION_LEAST,
                                     .version_most = PEER_VERSION_MOST,
                                     .hello = p->out.hello};
    memcpy(greeting.target, p->own.name, sizeof(greeting.target));
    outbound_announce_news(p);
    /* Who is connected may no longer be welcome. */
    if (p->out.state == OUT_UP && !peer_judge(p, &greeting, &why)) {
        outbound_refuse(p, now_us, &why);
    }
}

void peer_outbound_retarget(struct peer *p, uint64_t now_us)
{
    struct outbound *out = &p->out;
    peer_outbound_flush(p, now_us); /* what was still to be said to the one before */
    if (out->state == OUT_UP) {
        report_down(p);
    }
    if (out->state != OUT_WAITING) {
        outbound_release(p);
        outbound_move(p, OUT_WAITING);
    }
    out->told = p->in.told = 0;
    out->flapping = false;
    out->second_turn = false;
    out->good_of[0] = '\0';
    out->moved = false;
    out->called_from.size = 0;
    out->names_told = 0;
    out->backoff_us = PEER_BACKOFF_MIN_US;
    out->deadline_us = p->settings.address[0] != '\0' ? now_us : UINT64_MAX;
}

void peer_outbound_hurry(struct peer *p, uint64_t now_us)
{
    uint64_t soon_us = now_us + PEER_BACKOFF_MIN_US / 2;
    if (p->out.state == OUT_WAITING && p->settings.address[0] != '\0' &&
        p->out.deadline_us > soon_us) {
        p->out.deadline_us = soon_us;
    }
    peer_lookup_called(p);
    /* Where it was before it moved nobody says no: that attempt would end by its time-out only. */
    if (p->out.state == OUT_CONNECTING && peer_lookup_call_back(p)) {
        dial_address_failed(p, now_us, "it has called from another address");
    }
}

void peer_outbound_restarted(struct peer *p, uint64_t now_us)
{
    p->out.backoff_us = PEER_BACKOFF_MIN_US;
    outbound_fail(p, now_us, "the peer has restarted");
}

void peer_outbound_stop(struct peer *p, uint64_t now_us)
{
    peer_outbound_flush(p, now_us);
    outbound_release(p);
    outbound_move(p, OUT_STOPPED);
}
