/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_connection.c: see client_connection.h.
 */
#include "client_connection.h"

#include "../net/socket.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define SNIFF_BYTES 4 /* "PRI " belongs to HTTP/2 alone: no HTTP/1 method begins so */

static void watch(struct client_connection *c)
{
    bool http1_waits = c->http1 != NULL && http1_is_busy(c->http1) &&
                       !(c->web_lasts && c->in.size < CONNECTION_WAITING_BYTES_MAX);
    uint32_t events = 0;
    if (!c->blocked && !c->input_ended && !http1_waits) {
        events |= EPOLLIN;
    }
    if (c->blocked || c->dirty) {
        events |= EPOLLOUT; /* dirty after a flush: more to send than one turn allows */
    }
    if (events != c->watched) {
        c->watched = events;
        actor_rewatch(c->shared->actor, c->fd, events, c);
    }
}

/* ---- time ----------------------------------------------------------------------------------------- */

/* At most this far from now the connection has to be looked at. */
static void look_at(struct client_connection *c, uint64_t at_us)
{
    if (at_us != UINT64_MAX && (c->deadline.place == DEADLINE_NONE || at_us < c->deadline.at_us)) {
        deadlines_set(c->shared->deadlines, &c->deadline, at_us);
    }
}

/* Has the client begun something that it must bring to an end soon? */
static bool is_partial(const struct client_connection *c)
{
    switch (c->protocol) {
    case PROTOCOL_HTTP2:
        return http2_is_partial(c->http2);
    case PROTOCOL_HTTP1:
        return http1_is_partial(c->http1);
    case PROTOCOL_UNKNOWN:
        break;
    }
    return true;
}

static void update_partial(struct client_connection *c, uint64_t now_us)
{
    if (!is_partial(c)) {
        c->partial_until_us = UINT64_MAX;
    } else if (c->partial_until_us == UINT64_MAX) {
        c->partial_until_us = now_us + CONNECTION_REQUEST_US;
        look_at(c, c->partial_until_us);
    }
}

/* Does something wait for the client to read? Messages of lasting streams do not count, as long as the
 * socket takes octets: whoever sends them bounds himself. */
static void update_stall(struct client_connection *c, uint64_t now_us)
{
    if (!c->blocked && (c->http2 == NULL || http2_unread_answers(c->http2) == 0)) {
        c->stall_until_us = c->scarce_until_us = UINT64_MAX;
    } else if (c->stall_until_us == UINT64_MAX) {
        c->stall_until_us = now_us + CONNECTION_STALL_US;
        c->scarce_until_us = now_us + CONNECTION_STALL_SCARCE_US;
        c->stall_sent_bytes = c->scarce_sent_bytes = c->sent_bytes;
        look_at(c, c->scarce_until_us);
    }
}

/* Others need what it holds, and it reads too little. */
static bool stands_in_the_way(const struct client_connection *c)
{
    return c->charged_bytes > CONNECTION_SHARE_BYTES &&
           c->sent_bytes - c->scarce_sent_bytes < CONNECTION_STALL_BYTES &&
           credits_left(c->shared->bytes) < c->shared->bytes_max / 4;
}

/* True: it has not read for too long. */
static bool stall_is_over(struct client_connection *c, uint64_t now_us)
{
    bool over = false;
    if (c->stall_until_us <= now_us) {
        over = c->sent_bytes - c->stall_sent_bytes < CONNECTION_STALL_BYTES;
        c->stall_until_us = now_us + CONNECTION_STALL_US;
        c->stall_sent_bytes = c->sent_bytes;
    }
    if (c->scarce_until_us <= now_us) {
        over = over || stands_in_the_way(c);
        c->scarce_until_us = now_us + CONNECTION_STALL_SCARCE_US;
        c->scarce_sent_bytes = c->sent_bytes;
    }
    return over;
}

static bool is_idle(const struct client_connection *c)
{
    return c->http2 != NULL ? http2_stream_count(c->http2) == 0
                            : c->http1 != NULL && !http1_is_busy(c->http1);
}

static uint64_t idle_until_us(const struct client_connection *c)
{
    uint64_t timeout_us = c->shared->idle_timeout_us;
    return timeout_us < UINT64_MAX - c->heard_us ? c->heard_us + timeout_us : UINT64_MAX;
}

void connection_expired(struct client_connection *c, uint64_t now_us)
{
    if (c->linger_until_us <= now_us || c->partial_until_us <= now_us) {
        connection_close(c);
        return;
    }
    if (stall_is_over(c, now_us)) {
        log_event(LOG_INFO, "client closed: it does not read its answers",
                  "fd=%d held_bytes=%" PRIu64, c->fd, c->charged_bytes);
        connection_close(c);
        return;
    }
    uint64_t idle_us = idle_until_us(c);
    if (idle_us <= now_us) {
        if (is_idle(c)) {
            connection_drain(c);
            return;
        }
        idle_us = now_us + c->shared->idle_timeout_us; /* something lasts: look again later */
    }
    look_at(c, c->linger_until_us);
    look_at(c, c->partial_until_us);
    look_at(c, c->stall_until_us);
    look_at(c, c->scarce_until_us);
    look_at(c, idle_us);
}

/* ---- life ----------------------------------------------------------------------------------------- */

struct client_connection *connection_open(struct connection_shared *shared, int fd, uint64_t now_us)
{
    struct client_connection *c = mem_zalloc(sizeof *c);
    c->deadline.place = DEADLINE_NONE;
    c->deadline.kind = DEADLINE_OF_CONNECTION;
    c->fd = fd;
    c->shared = shared;
    c->next = shared->all;
    if (c->next != NULL) {
        c->next->previous = c;
    }
    shared->all = c;
    shared->count++;
    c->watched = EPOLLIN;
    actor_watch(shared->actor, fd, EPOLLIN, c);
    c->heard_us = now_us;
    c->stall_until_us = c->scarce_until_us = c->linger_until_us = c->partial_until_us = UINT64_MAX;
    update_partial(c, now_us);
    return c;
}

void connection_touch(struct client_connection *c)
{
    if (!c->dirty && c->fd >= 0) {
        c->dirty = true;
        c->next_dirty = c->shared->dirty;
        c->shared->dirty = c;
    }
}

bool connection_charge(struct client_connection *c, uint64_t bytes)
{
    uint64_t left = credits_left(c->shared->bytes);
    uint64_t charged = c->charged_bytes + bytes;
    if (charged > CONNECTION_SHARE_BYTES && (left < bytes || charged > left - bytes)) {
        return false;
    }
    if (!credits_take(c->shared->bytes, bytes)) {
        return false;
    }
    c->charged_bytes = charged;
    return true;
}

void connection_discharge(struct client_connection *c, uint64_t bytes)
{
    ASSERT(bytes <= c->charged_bytes);
    c->charged_bytes -= bytes;
    credits_give(c->shared->bytes, bytes);
}

void connection_hold(struct client_connection *c, uint64_t bytes)
{
    c->held_bytes += bytes;
}

/* What waits is no more than so many octets. */
static void let_go(struct client_connection *c, uint64_t waiting)
{
    if (c->held_bytes > waiting) {
        connection_discharge(c, c->held_bytes - waiting);
        c->held_bytes = waiting;
    }
}

void connection_close(struct client_connection *c)
{
    struct connection_shared *shared = c->shared;
    if (c->fd < 0) {
        return;
    }
    actor_unwatch(shared->actor, c->fd);
    (void)close(c->fd);
    c->fd = -1;
    deadlines_clear(shared->deadlines, &c->deadline);
    shared->closed(shared->owner, c);
    http2_destroy(&c->http2);
    http1_destroy(&c->http1);
    buffer_free(&c->in);
    buffer_free(&c->out);
    let_go(c, 0);
    if (c->previous != NULL) {
        c->previous->next = c->next;
    } else {
        shared->all = c->next;
    }
    if (c->next != NULL) {
        c->next->previous = c->previous;
    }
    ASSERT(shared->count > 0);
    shared->count--;
    c->next = shared->dead;
    shared->dead = c;
}

/* ---- input --------------------------------------------------------------------------------------- */

/* Hand octets to the engine. */
static void feed(struct client_connection *c, struct view in, uint64_t now_us)
{
    if (c->protocol == PROTOCOL_HTTP2) {
        enum err error = http2_feed(c->http2, in, now_us);
        connection_touch(c); /* an acknowledgement, an answer, or a farewell */
        if (error != OK) {
            log_event(LOG_DEBUG, "client broke HTTP/2", "fd=%d", c->fd);
        }
        update_partial(c, now_us);
        return;
    }
    http1_feed(c->http1, &in);
    if (in.size > 0 && !http1_is_over(c->http1)) {
        buffer_append(&c->in, in.data, in.size);
    }
    update_partial(c, now_us);
    connection_touch(c);
}

/* The first octets decide. False: too few of them yet. */
static bool sniff(struct client_connection *c, struct view in)
{
    size_t size = in.size < SNIFF_BYTES ? in.size : SNIFF_BYTES;
    if (memcmp(in.data, HTTP2_PREFACE, size) != 0) {
        c->protocol = PROTOCOL_HTTP1;
        c->http1 = http1_create(c->shared->http1_callbacks, c, &c->out);
    } else if (size == SNIFF_BYTES) {
        c->protocol = PROTOCOL_HTTP2;
        c->http2 = http2_create(c->shared->http2, c);
    } else {
        return false;
    }
    look_at(c, idle_until_us(c));
    return true;
}

static void take_input(struct client_connection *c, struct view in, uint64_t now_us)
{
    if (c->protocol != PROTOCOL_UNKNOWN) {
        feed(c, in, now_us);
        return;
    }
    if (c->in.size == 0 && sniff(c, in)) {
        feed(c, in, now_us);
        return;
    }
    buffer_append(&c->in, in.data, in.size);
    if (sniff(c, view_of(c->in.data, c->in.size))) {
        struct buffer early = c->in;
        c->in = (struct buffer){0};
        feed(c, view_of(early.data, early.size), now_us);
        buffer_free(&early);
    }
}

void connection_go_on(struct client_connection *c, uint64_t now_us)
{
    if (c->fd >= 0 && c->in.size > 0 && c->out.size <= CONNECTION_OUTPUT_BYTES &&
        !http1_is_busy(c->http1) && !http1_is_feeding(c->http1)) {
        struct buffer waiting = c->in;
        c->in = (struct buffer){0};
        feed(c, view_of(waiting.data, waiting.size), now_us);
        buffer_free(&waiting);
    }
}

void connection_ready(struct client_connection *c, uint32_t events, uint64_t now_us)
{
    if (c->fd < 0) {
        return;
    }
    if ((events & EPOLLOUT) != 0) {
        connection_touch(c);
    }
    if ((c->watched & EPOLLIN) != 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        size_t done = 0;
        enum err error = socket_read(c->fd, c->shared->input, CONNECTION_INPUT_BYTES, &done);
        if (error == OK && c->lingering) {
            return;
        }
        if (error == OK && done > 0) {
            c->heard_us = now_us;
            take_input(c, view_of(c->shared->input, done), now_us);
        } else if (error != OK) {
            if (c->protocol == PROTOCOL_HTTP1 && !c->lingering && !c->web_lasts) {
                /* a client may half-close and still wait for its answer; not for one without end */
                c->input_ended = true;
                http1_feed_end(c->http1);
                connection_touch(c);
            } else {
                connection_close(c);
            }
        }
    } else if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        connection_close(c); /* both directions are gone, nobody would read an answer */
    }
}

/* ---- output -------------------------------------------------------------------------------------- */

/* Write from `from`; what the socket does not take goes to c->out. False: the connection broke. */
static bool write_some(struct client_connection *c, struct buffer *from)
{
    size_t done = 0;
    if (socket_write(c->fd, from->data, from->size, &done) != OK) {
        return false;
    }
    c->sent_bytes += done;
    c->blocked = done < from->size;
    if (from == &c->out) {
        buffer_consume(&c->out, done);
    } else if (c->blocked) {
        buffer_append(&c->out, from->data + done, from->size - done);
    }
    return true;
}

static bool is_finished(const struct client_connection *c)
{
    if (c->blocked || c->out.size > 0) {
        return false;
    }
    switch (c->protocol) {
    case PROTOCOL_HTTP2:
        return http2_is_over(c->http2) || (c->draining && http2_stream_count(c->http2) == 0);
    case PROTOCOL_HTTP1:
        return http1_is_over(c->http1) ||
               (c->draining && !http1_is_busy(c->http1) && !http1_is_partial(c->http1));
    case PROTOCOL_UNKNOWN:
        break;
    }
    return c->draining;
}

static void flush_one(struct client_connection *c, uint64_t now_us)
{
    struct buffer *scratch = &c->shared->scratch;
    bool more = true;
    if (c->out.size > 0 && !write_some(c, &c->out)) {
        connection_close(c);
        return;
    }
    for (size_t round = 0; more && !c->blocked && c->http2 != NULL; round++) {
        if (round == CONNECTION_ROUNDS_MAX) {
            connection_touch(
                c); /* the others first; the socket is writable, so we are called again */
            break;
        }
        scratch->size = 0;
        more = http2_take(c->http2, scratch, CONNECTION_OUTPUT_BYTES);
        if (scratch->size > 0 && !write_some(c, scratch)) {
            connection_close(c);
            return;
        }
    }
    let_go(c, c->out.size);
    if (c->drain_wanted && c->out.size <= c->drain_mark) {
        c->drain_wanted = false;
        c->shared->drained(c->shared->owner, c);
    }
    if (c->http1 != NULL && !c->lingering) {
        connection_go_on(c, now_us); /* with what waited for this answer to leave */
    }
    if (c->out.size == 0 && c->out.capacity > CONNECTION_KEEP_BYTES) {
        buffer_free(&c->out);
    }
    if (!c->dirty && !c->lingering && is_finished(c)) {
        if (c->input_ended || c->draining) {
            connection_close(c);
            return;
        }
        /* A close with unread input would reset the connection and could take our last words with
         * it; so say the end, and read on for a while without listening. */
        (void)shutdown(c->fd, SHUT_WR);
        c->lingering = true;
        c->linger_until_us = now_us + CONNECTION_LINGER_US;
        look_at(c, c->linger_until_us);
    }
    update_stall(c, now_us);
    watch(c);
}

void connections_flush(struct connection_shared *shared, uint64_t now_us)
{
    struct client_connection *dirty = shared->dirty;
    shared->dirty = NULL; /* whoever is touched from here on waits for the next round */
    while (dirty != NULL) {
        struct client_connection *c = dirty;
        dirty = c->next_dirty;
        c->next_dirty = NULL;
        c->dirty = false;
        if (c->fd >= 0) {
            flush_one(c, now_us);
        }
    }
    if (shared->dirty != NULL) {
        return; /* a dead one may be in that list still */
    }
    while (shared->dead != NULL) {
        struct client_connection *c = shared->dead;
        shared->dead = c->next;
        ASSERT(c->charged_bytes == 0);
        mem_free(c);
    }
}

void connection_drain(struct client_connection *c)
{
    if (c->draining || c->fd < 0) {
        return;
    }
    c->draining = true;
    if (c->http2 != NULL) {
        http2_go_away(c->http2, HTTP2_NO_ERROR);
    }
    connection_touch(c);
}
