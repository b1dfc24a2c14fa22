/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_inbound.c: the connection the peer dialled, handed over by the listener after its handshake.
 * Frames in, RAFT_RECEIVED out. Nothing is written here but a REFUSED that ends it. State and
 * invariants are in peer.h.
 */
#include "peer.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define PEER_READS_PER_READY 4

static void inbound_release(struct peer *p)
{
    if (p->in.fd >= 0) {
        actor_unwatch(actor_self(), p->in.fd);
        (void)close(p->in.fd);
        p->in.fd = -1;
    }
    peer_decoder_free(&p->in.decoder);
    memset(&p->in.hello, 0, sizeof(p->in.hello));
    p->in.proven = false;
}

void peer_inbound_close(struct peer *p, const char *reason)
{
    if (p->in.fd >= 0 && peer_is_news(&p->in.told, reason)) {
        log_event(LOG_NOTICE, "connection from peer closed", "peer=%s reason=\"%s\"",
                  p->settings.name, reason);
    }
    inbound_release(p);
}

static void log_refusal(struct peer *p, const char *event, const struct peer_refusal *why)
{
    if (peer_refusal_is_news(p, &p->in.told, why)) {
        log_event(peer_refusal_level(why), event, "peer=%s error=\"%s\" reason=\"%s\"",
                  p->settings.name, err_text(why->error), why->sentence);
    }
}

/* We refuse them, on the connection they dialled. */
static void inbound_refuse(struct peer *p, const struct peer_refusal *why)
{
    struct buffer nothing = {0};
    peer_say_refused(p->in.fd, &nothing, 0, why);
    log_refusal(p, "peer refused", why);
    inbound_release(p);
}

static bool identity_kept(const struct peer *p, const struct peer_hello *hello)
{
    return hello->member_id == p->in.hello.member_id && hello->boot_id == p->in.hello.boot_id &&
           hello->boot_number == p->in.hello.boot_number &&
           strcmp(hello->name, p->in.hello.name) == 0;
}

static enum err inbound_update(struct peer *p, struct view body, uint64_t now_us)
{
    struct peer_greeting greeting;
    struct peer_refusal why;
    enum err error = peer_greeting_decode(body, &greeting);
    if (error != OK) {
        return error;
    }
    if (!identity_kept(p, &greeting.hello)) {
        return ERR_PROTOCOL; /* a connection belongs to one start of one member */
    }
    if (!peer_judge(p, &greeting, &why) || !peer_note(p, &greeting.hello, false, now_us, &why)) {
        inbound_refuse(p, &why);
        return OK;
    }
    p->in.hello = greeting.hello;
    return OK;
}

static enum err inbound_message(struct peer *p, const struct peer_frame *frame)
{
    struct raft_received *m = MSG_NEW(struct raft_received, RAFT_RECEIVED, release_received);
    m->group = frame->group;
    enum err error = raft_message_decode(frame->body, &m->message);
    if (error == OK && m->message.from != p->in.hello.member_id) {
        error = ERR_PROTOCOL;
    }
    if (error != OK) {
        MSG_FREE(m);
        return error;
    }
    if (!p->in.proven) {
        /* Only now: one that we or they refuse after the welcome comes again and again. */
        p->in.proven = true;
        p->in.told = 0;
        log_event(LOG_INFO, "receiving from peer", "peer=%s boot=%" PRIu64, p->settings.name,
                  p->in.hello.boot_number);
    }
    ACTOR_SEND(p->raft, m);
    return OK;
}

static enum err inbound_frame(struct peer *p, const struct peer_frame *frame, uint64_t now_us)
{
    switch (frame->type) {
    case PEER_FRAME_MESSAGE:
        return inbound_message(p, frame);
    case PEER_FRAME_HELLO_UPDATE:
        return inbound_update(p, frame->body, now_us);
    case PEER_FRAME_REFUSED: {
        struct peer_refusal why;
        enum err error = peer_refusal_decode(frame->body, &why);
        if (error == OK) {
            log_refusal(p, "refused by peer", &why);
            inbound_release(p);
        }
        return error;
    }
    case PEER_FRAME_HELLO:
    case PEER_FRAME_WELCOME:
        break;
    }
    return ERR_PROTOCOL;
}

static void inbound_frames(struct peer *p, uint64_t now_us)
{
    /* Ends: each round takes a frame out of what one read brought, or the connection is gone. */
    while (p->in.fd >= 0) {
        struct peer_frame frame;
        bool have = false;
        enum err error = peer_decoder_next(&p->in.decoder, &frame, &have);
        if (error == OK && !have) {
            return;
        }
        if (error == OK) {
            error = inbound_frame(p, &frame, now_us);
        }
        if (error != OK) {
            peer_inbound_close(p, err_text(error));
        }
    }
}

void peer_inbound_ready(struct peer *p, uint64_t now_us)
{
    for (int i = 0; i < PEER_READS_PER_READY && p->in.fd >= 0; i++) {
        size_t came = 0;
        uint8_t *room = peer_decoder_room(&p->in.decoder, PEER_READ_BYTES);
        enum err error = socket_read(p->in.fd, room, PEER_READ_BYTES, &came);
        const char *reason = error == OK ? NULL : peer_closed_reason();
        peer_decoder_fed(&p->in.decoder, PEER_READ_BYTES, came);
        p->received_bytes += came;
        if (error != OK) {
            peer_inbound_close(p, reason);
            return;
        }
        inbound_frames(p, now_us);
        if (came < PEER_READ_BYTES) {
            return;
        }
    }
}

void peer_inbound_take(struct peer *p, struct peer_socket *m, uint64_t now_us)
{
    struct peer_greeting greeting = {.version_least = (uint16_t)m->version,
                                     .version_most = (uint16_t)m->version,
                                     .hello = m->hello};
    struct peer_refusal why;
    memcpy(greeting.target, p->own.name, sizeof(greeting.target));
    /* The listener judged by what it knew; we may know more by now. */
    if (!peer_judge(p, &greeting, &why) || !peer_note(p, &m->hello, false, now_us, &why)) {
        struct buffer nothing = {0};
        peer_say_refused(m->fd, &nothing, 0, &why);
        log_refusal(p, "peer refused", &why);
        return; /* the message's release closes the socket */
    }
    inbound_release(p);
    p->in.fd = m->fd;
    m->fd = -1;
    p->in.hello = m->hello;
    socket_tune_peer(p->in.fd, (uint32_t)(p->stall_us / PEER_US_PER_MS));
    peer_decoder_init(&p->in.decoder, PEER_FRAME_BYTES_MAX);
    peer_decoder_feed(&p->in.decoder, view_of(m->early.data, m->early.size));
    actor_watch(actor_self(), p->in.fd, EPOLLIN, &p->in);
    peer_outbound_hurry(p, now_us);
    inbound_frames(p, now_us);
}

void peer_inbound_identity(struct peer *p)
{
    struct peer_refusal why;
    struct peer_greeting greeting = {.version_least = PEER_VERSION_LEAST,
                                     .version_most = PEER_VERSION_MOST,
                                     .hello = p->in.hello};
    memcpy(greeting.target, p->own.name, sizeof(greeting.target));
    if (p->in.fd >= 0 && !peer_judge(p, &greeting, &why)) {
        inbound_refuse(p, &why);
    }
}

void peer_inbound_stop(struct peer *p)
{
    inbound_release(p);
}
