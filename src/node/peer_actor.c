/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_actor.c: one other member, seen through two TCP connections: the one we dialled, on which we
 * send, and the one it dialled, on which we receive (net/peer_wire.h says why two). This file takes
 * the messages and keeps what is known of the peer; peer_outbound.c and peer_inbound.c are the two
 * connections; peer.h has the state and the invariants.
 */
#include "peer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct peer_greeting peer_own_greeting(const struct peer *p)
{
    struct peer_greeting greeting = {
        .version_least = PEER_VERSION_LEAST, .version_most = PEER_VERSION_MOST, .hello = p->own};
    memcpy(greeting.target, p->settings.name, sizeof(greeting.target));
    return greeting;
}

bool peer_judge(const struct peer *p, const struct peer_greeting *greeting,
                struct peer_refusal *why)
{
    struct peer_door door = {.own = &p->own,
                             .configuration = &p->configuration,
                             .version_least = PEER_VERSION_LEAST,
                             .version_most = PEER_VERSION_MOST,
                             .expected = p->settings.name};
    uint16_t version = 0;
    return peer_handshake_check(&door, greeting, &version, why) == OK;
}

bool peer_is_news(uint64_t *told, const char *reason)
{
    uint64_t hash = checksum64(view_of_text(reason)) | 1;
    if (*told == hash) {
        return false;
    }
    *told = hash;
    return true;
}

bool peer_refusal_is_news(struct peer *p, uint64_t *told, const struct peer_refusal *why)
{
    uint64_t before_out = p->out.told, before_in = p->in.told;
    bool news = peer_is_news(told, why->sentence);
    return news && before_out != *told && before_in != *told;
}

void peer_report_up(struct peer *p)
{
    struct raft_peer_up *m = MSG_NEW(struct raft_peer_up, RAFT_PEER_UP, NULL);
    m->peer_index = p->settings.peer_index;
    m->hello = p->known;
    ACTOR_SEND(p->raft, m);
}

void peer_say_refused(int fd, struct buffer *unsent, size_t unsent_start,
                      const struct peer_refusal *why)
{
    size_t done = 0;
    peer_refusal_encode(why, unsent);
    if (socket_write(fd, unsent->data + unsent_start, unsent->size - unsent_start, &done) == OK) {
        (void)shutdown(fd, SHUT_WR);
    }
    buffer_free(unsent);
}

const char *peer_closed_reason(void)
{
    return errno == 0 ? "closed by the peer" : strerrordesc_np(errno);
}

/* ---- what is known of the peer ------------------------------------------------------------------ */

bool peer_note(struct peer *p, const struct peer_hello *hello, bool from_out, uint64_t now_us,
               struct peer_refusal *why)
{
    bool news = false;
    if (peer_handshake_note(&p->known, hello, &news, why) != OK) {
        return false;
    }
    if (p->in.fd >= 0 && p->in.hello.boot_id != hello->boot_id) {
        peer_inbound_close(p, "the peer has restarted");
    }
    if (p->out.state == OUT_UP && !from_out) {
        if (p->out.hello.boot_id != hello->boot_id) {
            peer_outbound_restarted(p, now_us);
        } else if (news) {
            peer_report_up(p);
        }
    }
    return true;
}

/* ---- handlers ----------------------------------------------------------------------------------- */

static void peer_started(void *self, uint64_t now_us)
{
    struct peer *p = self;
    p->raft = p->settings.actors->raft;
    p->settings.actors = NULL;
    p->out.deadline_us = p->settings.address[0] != '\0' ? now_us : UINT64_MAX; /* dial at once */
}

static void take_target(struct peer *p, const struct peer_target *target, uint64_t now_us)
{
    /* Without a name it is the address that counts. Whoever answered at a seed's is named now: the same node. */
    bool same = strcmp(p->settings.name, target->name) == 0 &&
                (target->name[0] != '\0' || strcmp(p->settings.address, target->address) == 0);
    same = same || (p->settings.name[0] == '\0' && p->known.member_id != 0 &&
                    strcmp(p->known.name, target->name) == 0);
    memcpy(p->settings.name, target->name, sizeof(p->settings.name));
    memcpy(p->settings.address, target->address, sizeof(p->settings.address));
    memcpy(p->settings.second, target->second, sizeof(p->settings.second));
    if (same && target->address[0] != '\0') {
        return; /* the address counts from the next dial on */
    }
    peer_inbound_stop(p);
    peer_outbound_retarget(p, now_us);
    memset(&p->known, 0, sizeof(p->known));
}

static void give_figures(const struct peer *p, struct figures *figures)
{
    if (p->known.member_id != 0 && figures->peer_count < MEMBERS_MAX) {
        struct figures_peer *own = &figures->peers[figures->peer_count++];
        memcpy(own->name, p->settings.name, sizeof(own->name));
        own->member_id = p->known.member_id;
        own->connected = p->out.state == OUT_UP;
        own->sent_bytes = p->sent_bytes;
        own->received_bytes = p->received_bytes;
        own->dropped_messages = p->dropped_count;
        own->lost_connections = p->lost_count;
        own->round_trip_us = p->round_trip_us;
    }
    figures_pass_on(&figures);
}

static void peer_handle(void *self, struct msg *m, uint64_t now_us)
{
    struct peer *p = self;
    switch ((enum peer_kind)m->kind) {
    case PEER_SEND:
        peer_outbound_send(p, (const struct peer_send *)m, now_us);
        msg_free_base(&m);
        return;
    case PEER_SOCKET:
        peer_inbound_take(p, (struct peer_socket *)m, now_us);
        msg_free_base(&m);
        return;
    case PEER_FIGURES:
        give_figures(p, (struct figures *)m);
        return;
    case PEER_IDENTITY:
        p->own = ((const struct peer_identity *)m)->own;
        p->configuration = ((const struct peer_identity *)m)->configuration;
        msg_free_base(&m);
        peer_outbound_identity(p, now_us);
        peer_inbound_identity(p);
        return;
    case PEER_TARGET:
        take_target(p, (const struct peer_target *)m, now_us);
        msg_free_base(&m);
        return;
    }
    assert_failed("ASSERT", "a kind of message the peer knows", __FILE__, __LINE__);
}

static void peer_ready(void *self, int fd, void *tag, uint32_t events, uint64_t now_us)
{
    struct peer *p = self;
    if (tag == &p->in) {
        peer_inbound_ready(p, now_us);
    } else {
        peer_outbound_ready(p, fd, tag, events, now_us);
    }
}

static void peer_expired(void *self, uint64_t now_us)
{
    peer_outbound_expired(self, now_us);
}

static void peer_flush(void *self, uint64_t now_us)
{
    struct peer *p = self;
    peer_outbound_flush(p, now_us);
    actor_set_deadline(actor_self(), peer_outbound_deadline_us(p, now_us));
}

/* What the socket takes at once still goes; nobody is waited for. */
static void peer_stop(void *self, uint64_t now_us)
{
    struct peer *p = self;
    peer_outbound_stop(p, now_us);
    peer_inbound_stop(p);
    if (p->dropped_count > 0) {
        log_event(LOG_INFO, "messages dropped for lack of a connection", "peer=%s count=%" PRIu64,
                  p->settings.name, p->dropped_count);
    }
    actor_stopped(actor_self());
}

static void peer_destroy(void *self)
{
    struct peer *p = self;
    resolve_destroy(&p->out.resolver);
    mem_free(p);
}

static uint64_t greater(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

struct actor *peer_actor_create(const struct peer_actor_settings *settings)
{
    static const struct actor_ops ops = {
        .started = peer_started,
        .handle = peer_handle,
        .flush = peer_flush,
        .ready = peer_ready,
        .expired = peer_expired,
        .stop = peer_stop,
        .destroy = peer_destroy,
    };
    struct peer *p = mem_zalloc(sizeof(*p));
    p->settings = *settings;
    p->own = settings->hello;
    p->configuration = settings->configuration;
    p->random = settings->seed;
    uint64_t election_ms = settings->election_timeout_ms;
    p->backoff_max_us = greater(election_ms * PEER_US_PER_MS, PEER_BACKOFF_MIN_US);
    p->dial_timeout_us = greater(election_ms, PEER_DIAL_TIMEOUT_MIN_MS) * PEER_US_PER_MS;
    p->stall_us = peer_stall_us(election_ms);
    p->in.fd = -1;
    peer_outbound_init(p);
    char name[MEMBER_NAME_MAX + 8];
    if (settings->name[0] != '\0') {
        (void)snprintf(name, sizeof(name), "peer-%s", settings->name);
    } else {
        (void)snprintf(name, sizeof(name), "peer-%zu", settings->peer_index);
    }
    return actor_create(&ops, p, name);
}
