/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listener_actor.c: the node's two doors. Behind the client door it only counts (credits) and moves
 * each socket to a client actor in turn. Behind the peer door it waits for the HELLO, judges it
 * (net/peer_handshake.h), answers WELCOME or REFUSED, and moves the socket with what came behind the
 * HELLO to the actor of that peer; or, when no actor talks to a node of that name yet, to the raft actor.
 *
 * Deliberately not here: a word of HTTP, Raft messages, and boot numbers; the peer actor alone knows
 * which start of a peer is the newest and turns older ones away itself.
 *
 * Invariants
 *  1. At most GREETINGS_MAX peer connections are between accept and hand-over. Each has a deadline
 *     and a bounded input, so a half-open connection cannot stay; when one more comes, the one
 *     nearest its deadline goes.
 *  2. A descriptor is owned by exactly one of: a greeting, a message on its way, nobody (closed).
 *  3. Each client connection moved on holds one credit of `connections`; the client gives it back.
 *  4. What strangers do can cause a bounded number of log lines per LOG_PERIOD_US.
 */
#include "node.h"

#include "../net/peer_handshake.h"
#include "../net/peer_wire.h"
#include "../net/socket.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define US_PER_S UINT64_C(1000000)

#define ACCEPT_BATCH_MAX 64 /* per look at a door, so that one door does not starve the other */
#define GREETINGS_MAX    64
#define HELLO_TIMEOUT_US (3 * US_PER_S)

/* After REFUSED the socket is read to its end for a moment: closing it with octets unread would reset
 * the connection and the sentence would never arrive. */
#define LINGER_TIMEOUT_US (1 * US_PER_S)
#define LINGER_BYTES_MAX  ((size_t)64 << 10)

/* Out of descriptors: the backlog stays readable, so look away instead of spinning. */
#define EXHAUSTED_PAUSE_US (US_PER_S / 10)

#define LOG_PERIOD_US       (10 * US_PER_S)
#define LOGS_PER_PERIOD     16
#define REFUSALS_REMEMBERED 32

struct door {
    int fd; /* -1: closed */
    bool watched;
    uint64_t again_us; /* when to look again while not watched */
};

struct greeting {
    int fd; /* -1: free */
    struct peer_decoder decoder;
    uint64_t deadline_us;
    bool lingering; /* refused; reading to the end */
    size_t lingered_bytes;
};

/* The last refusal told about a name, so that its next attempts are not told again. */
struct refusal_told {
    uint64_t name_hash, sentence_hash; /* 0: free */
};

struct listener {
    struct listener_actor_settings settings;
    struct node_actors actors; /* a copy, made in `started` */
    struct peer_hello own;
    struct configuration configuration;
    struct door clients, peers;
    size_t peer_count;
    char peer_names[PEER_SLOTS_MAX][MEMBER_NAME_MAX + 1]; /* by the actor's place; "": nobody's */
    size_t client_next;
    struct greeting greetings[GREETINGS_MAX];
    struct refusal_told told[REFUSALS_REMEMBERED];
    size_t told_next;
    uint64_t log_period_ends_us;
    uint32_t logs_left;
};

/* ---- bounded log lines -------------------------------------------------------------------------- */

/* True if a line about what strangers do may be written now. */
static bool may_log(struct listener *l, uint64_t now_us)
{
    if (now_us >= l->log_period_ends_us) {
        l->log_period_ends_us = now_us + LOG_PERIOD_US;
        l->logs_left = LOGS_PER_PERIOD;
    }
    if (l->logs_left == 0) {
        return false;
    }
    l->logs_left--;
    if (l->logs_left == 0) {
        log_event(LOG_WARNING,
                  "many connections are turned away; further ones are not logged for now",
                  "seconds=%" PRIu64, LOG_PERIOD_US / US_PER_S);
    }
    return true;
}

static uint64_t text_hash(const char *text)
{
    return checksum64(view_of_text(text)) | 1; /* never the free slot's 0 */
}

static struct refusal_told *told_of(struct listener *l, uint64_t name_hash)
{
    for (size_t i = 0; i < REFUSALS_REMEMBERED; i++) {
        if (l->told[i].name_hash == name_hash) {
            return &l->told[i];
        }
    }
    return NULL;
}

static void log_refusal(struct listener *l, const struct greeting *g,
                        const struct peer_greeting *greeting, const struct peer_refusal *why,
                        uint64_t now_us)
{
    uint64_t name_hash = text_hash(greeting->hello.name);
    uint64_t sentence_hash = text_hash(why->sentence);
    struct refusal_told *told = told_of(l, name_hash);
    if (told != NULL && told->sentence_hash == sentence_hash) {
        return;
    }
    if (!may_log(l, now_us)) {
        return;
    }
    if (told == NULL) {
        told = &l->told[l->told_next];
        l->told_next = (l->told_next + 1) % REFUSALS_REMEMBERED;
    }
    *told = (struct refusal_told){.name_hash = name_hash, .sentence_hash = sentence_hash};
    char remote[SOCKET_ADDRESS_TEXT_MAX + 1];
    socket_remote_text(g->fd, remote, sizeof(remote));
    log_event(peer_refusal_level(why), "peer refused",
              "peer=%s remote=%s error=\"%s\" reason=\"%s\"", greeting->hello.name, remote,
              err_text(why->error), why->sentence);
}

/* ---- doors -------------------------------------------------------------------------------------- */

static void door_open(struct door *d)
{
    if (d->fd >= 0 && !d->watched) {
        actor_watch(actor_self(), d->fd, EPOLLIN, d);
        d->watched = true;
    }
}

static void door_look_away(struct door *d, uint64_t now_us)
{
    actor_unwatch(actor_self(), d->fd);
    d->watched = false;
    d->again_us = now_us + EXHAUSTED_PAUSE_US;
}

static void door_close(struct door *d)
{
    if (d->fd < 0) {
        return;
    }
    if (d->watched) {
        actor_unwatch(actor_self(), d->fd);
        d->watched = false;
    }
    (void)close(d->fd);
    d->fd = -1;
}

/* Accept one connection, or say why not and, if need be, look away. */
static bool door_accept(struct listener *l, struct door *d, uint64_t now_us, int *fd)
{
    switch (socket_accept(d->fd, fd)) {
    case SOCKET_ACCEPTED:
        return true;
    case SOCKET_NONE:
        return false;
    case SOCKET_EXHAUSTED:
        break;
    }
    if (may_log(l, now_us)) {
        log_event(LOG_ERROR, "cannot accept connections: out of file descriptors or memory",
                  "door=%s advice=\"raise LimitNOFILE or lower client_connections_max\"",
                  d == &l->clients ? "client" : "peer");
    }
    door_look_away(d, now_us);
    return false;
}

static void accept_clients(struct listener *l, uint64_t now_us)
{
    int fd = -1;
    for (int i = 0; i < ACCEPT_BATCH_MAX && door_accept(l, &l->clients, now_us, &fd); i++) {
        if (!credits_take(l->settings.connections, 1)) {
            if (may_log(l, now_us)) {
                char remote[SOCKET_ADDRESS_TEXT_MAX + 1];
                socket_remote_text(fd, remote, sizeof(remote));
                log_event(LOG_WARNING, "client turned away: client_connections_max reached",
                          "remote=%s", remote);
            }
            (void)close(fd);
            continue;
        }
        socket_tune_client(fd);
        struct client_socket *m =
            MSG_NEW(struct client_socket, CLIENT_SOCKET, release_client_socket);
        m->fd = fd;
        struct actor *client = l->actors.clients[l->client_next % l->actors.client_count];
        l->client_next++;
        ACTOR_SEND(client, m);
    }
}

/* ---- greetings ---------------------------------------------------------------------------------- */

/* Stop watching and forget the descriptor without closing it. */
static int greeting_take_fd(struct greeting *g)
{
    int fd = g->fd;
    actor_unwatch(actor_self(), fd);
    peer_decoder_free(&g->decoder);
    *g = (struct greeting){.fd = -1};
    return fd;
}

static void greeting_close(struct greeting *g)
{
    (void)close(greeting_take_fd(g));
}

/* A free place; if there is none, the one nearest its deadline makes room: it had the longest to speak. */
static struct greeting *greeting_place(struct listener *l, uint64_t now_us)
{
    struct greeting *oldest = &l->greetings[0];
    for (size_t i = 0; i < GREETINGS_MAX; i++) {
        struct greeting *g = &l->greetings[i];
        if (g->fd < 0) {
            return g;
        }
        if (g->deadline_us < oldest->deadline_us) {
            oldest = g;
        }
    }
    if (may_log(l, now_us)) {
        log_event(LOG_WARNING,
                  "too many peer connections wait for their hello; the oldest is closed",
                  "count=%d", GREETINGS_MAX);
    }
    greeting_close(oldest);
    return oldest;
}

static void accept_peers(struct listener *l, uint64_t now_us)
{
    int fd = -1;
    for (int i = 0; i < ACCEPT_BATCH_MAX && door_accept(l, &l->peers, now_us, &fd); i++) {
        struct greeting *g = greeting_place(l, now_us);
        g->fd = fd;
        g->deadline_us = now_us + HELLO_TIMEOUT_US;
        peer_decoder_init(&g->decoder, PEER_HELLO_FRAME_BYTES_MAX);
        actor_watch(actor_self(), fd, EPOLLIN, g);
    }
}

/* Whole or not at all: a fresh socket has room for a frame. */
static bool send_frame(int fd, const struct buffer *frame)
{
    size_t done = 0;
    return socket_write(fd, frame->data, frame->size, &done) == OK && done == frame->size;
}

static void greeting_refuse(struct greeting *g, const struct peer_refusal *why, uint64_t now_us)
{
    struct buffer frame = {0};
    peer_refusal_encode(why, &frame);
    bool sent = send_frame(g->fd, &frame);
    buffer_free(&frame);
    if (!sent || shutdown(g->fd, SHUT_WR) != 0) {
        greeting_close(g);
        return;
    }
    g->lingering = true;
    g->deadline_us = now_us + LINGER_TIMEOUT_US;
}

static void greeting_welcome(struct listener *l, struct greeting *g,
                             const struct peer_greeting *greeting, uint16_t version)
{
    struct peer_greeting answer = {
        .version_least = version, .version_most = version, .hello = l->own};
    memcpy(answer.target, greeting->hello.name, sizeof(answer.target));
    struct buffer frame = {0};
    peer_greeting_encode(PEER_FRAME_WELCOME, &answer, &frame);
    bool sent = send_frame(g->fd, &frame);
    buffer_free(&frame);
    if (!sent) {
        greeting_close(g);
        return;
    }
    size_t peer = 0;
    while (peer < l->peer_count && strcmp(l->peer_names[peer], greeting->hello.name) != 0) {
        peer++;
    }
    struct refusal_told *told = told_of(l, text_hash(greeting->hello.name));
    if (told != NULL) {
        *told = (struct refusal_told){0}; /* its next refusal is news again */
    }
    struct peer_socket *m = MSG_NEW(struct peer_socket, PEER_SOCKET, release_peer_socket);
    struct view early = peer_decoder_rest(&g->decoder);
    buffer_append(&m->early, early.data, early.size);
    m->hello = greeting->hello;
    m->version = version;
    m->fd = greeting_take_fd(g);
    if (peer == l->peer_count) { /* it is for raft to say who shall talk to a stranger */
        m->base.kind = RAFT_STRANGER;
        ACTOR_SEND(l->actors.raft, m);
        return;
    }
    ACTOR_SEND(l->actors.peers[peer], m);
}

static void greeting_judge(struct listener *l, struct greeting *g,
                           const struct peer_greeting *greeting, uint64_t now_us)
{
    struct peer_door door = {
        .own = &l->own,
        .configuration = &l->configuration,
        .version_least = PEER_VERSION_LEAST,
        .version_most = PEER_VERSION_MOST,
        .strangers = true,
        .name_count = l->peer_count,
        .names = (const char(*)[MEMBER_NAME_MAX + 1]) l->peer_names,
    };
    uint16_t version = 0;
    struct peer_refusal why;
    if (peer_handshake_check(&door, greeting, &version, &why) != OK) {
        log_refusal(l, g, greeting, &why, now_us);
        greeting_refuse(g, &why, now_us);
        return;
    }
    greeting_welcome(l, g, greeting, version);
}

/* The connection said nothing we can answer. */
static void greeting_drop(struct listener *l, struct greeting *g, const char *reason,
                          uint64_t now_us)
{
    if (may_log(l, now_us)) {
        char remote[SOCKET_ADDRESS_TEXT_MAX + 1];
        socket_remote_text(g->fd, remote, sizeof(remote));
        log_event(LOG_NOTICE, "peer connection without a valid hello closed",
                  "remote=%s reason=\"%s\"", remote, reason);
    }
    greeting_close(g);
}

static void greeting_linger(struct greeting *g)
{
    uint8_t discarded[4096];
    size_t came = 0;
    enum err error = socket_read(g->fd, discarded, sizeof(discarded), &came);
    g->lingered_bytes += came;
    if (error != OK || g->lingered_bytes > LINGER_BYTES_MAX) {
        greeting_close(g);
    }
}

static void greeting_read(struct listener *l, struct greeting *g, uint64_t now_us)
{
    size_t came = 0;
    uint8_t *room = peer_decoder_room(&g->decoder, PEER_HELLO_FRAME_BYTES_MAX);
    enum err error = socket_read(g->fd, room, PEER_HELLO_FRAME_BYTES_MAX, &came);
    peer_decoder_fed(&g->decoder, PEER_HELLO_FRAME_BYTES_MAX, came);
    if (error != OK) {
        greeting_close(g); /* went away before it said anything: a health check, a scan */
        return;
    }
    struct peer_frame frame;
    bool have = false;
    error = peer_decoder_next(&g->decoder, &frame, &have);
    if (error == OK && !have) {
        return;
    }
    struct peer_greeting greeting;
    if (error == OK && frame.type != PEER_FRAME_HELLO) {
        error = ERR_PROTOCOL;
    }
    if (error == OK) {
        error = peer_greeting_decode(frame.body, &greeting);
    }
    if (error != OK) {
        greeting_drop(l, g, err_text(error), now_us);
        return;
    }
    greeting_judge(l, g, &greeting, now_us);
}

/* ---- handlers ----------------------------------------------------------------------------------- */

static void listener_started(void *self, uint64_t now_us)
{
    struct listener *l = self;
    UNUSED(now_us);
    l->actors = *l->settings.actors;
    l->settings.actors = NULL;
    l->peer_count = l->actors.peer_count;
    memcpy(l->peer_names, l->actors.peer_names, sizeof(l->actors.peer_names));
    ASSERT(l->actors.client_count > 0 || l->clients.fd < 0);
    door_open(&l->clients);
    door_open(&l->peers);
}

static void listener_handle(void *self, struct msg *m, uint64_t now_us)
{
    struct listener *l = self;
    UNUSED(now_us);
    switch ((enum listener_kind)m->kind) {
    case LISTENER_IDENTITY: {
        const struct peer_identity *identity = (const struct peer_identity *)m;
        l->own = identity->own;
        l->configuration = identity->configuration;
        msg_free_base(&m);
        return;
    }
    case LISTENER_PEERS: {
        const struct listener_peers *peers = (const struct listener_peers *)m;
        l->peer_count = peers->count;
        memcpy(l->peer_names, peers->names, sizeof(l->peer_names));
        msg_free_base(&m);
        return;
    }
    }
    assert_failed("ASSERT", "a kind of message the listener knows", __FILE__, __LINE__);
}

static void listener_ready(void *self, int fd, void *tag, uint32_t events, uint64_t now_us)
{
    struct listener *l = self;
    UNUSED(fd);
    UNUSED(events);
    if (tag == &l->clients) {
        accept_clients(l, now_us);
    } else if (tag == &l->peers) {
        accept_peers(l, now_us);
    } else {
        struct greeting *g = tag;
        ASSERT(g->fd == fd);
        if (g->lingering) {
            greeting_linger(g);
        } else {
            greeting_read(l, g, now_us);
        }
    }
}

static void listener_expired(void *self, uint64_t now_us)
{
    struct listener *l = self;
    for (size_t i = 0; i < GREETINGS_MAX; i++) {
        struct greeting *g = &l->greetings[i];
        if (g->fd >= 0 && g->deadline_us <= now_us) {
            if (g->lingering) {
                greeting_close(g);
            } else {
                greeting_drop(l, g, "no hello came in time", now_us);
            }
        }
    }
    if (l->clients.again_us <= now_us) {
        door_open(&l->clients);
    }
    if (l->peers.again_us <= now_us) {
        door_open(&l->peers);
    }
}

static void listener_flush(void *self, uint64_t now_us)
{
    struct listener *l = self;
    UNUSED(now_us);
    uint64_t at_us = UINT64_MAX;
    const struct door *doors[] = {&l->clients, &l->peers};
    for (size_t i = 0; i < ARRAY_COUNT(doors); i++) {
        if (doors[i]->fd >= 0 && !doors[i]->watched && doors[i]->again_us < at_us) {
            at_us = doors[i]->again_us;
        }
    }
    for (size_t i = 0; i < GREETINGS_MAX; i++) {
        if (l->greetings[i].fd >= 0 && l->greetings[i].deadline_us < at_us) {
            at_us = l->greetings[i].deadline_us;
        }
    }
    actor_set_deadline(actor_self(), at_us);
}

static void listener_stop(void *self, uint64_t now_us)
{
    struct listener *l = self;
    UNUSED(now_us);
    door_close(&l->clients);
    door_close(&l->peers);
    for (size_t i = 0; i < GREETINGS_MAX; i++) {
        if (l->greetings[i].fd >= 0) {
            greeting_close(&l->greetings[i]);
        }
    }
    actor_stopped(actor_self());
}

/* Also of a listener that never ran: then its doors are still open. */
static void listener_destroy(void *self)
{
    struct listener *l = self;
    const struct door *doors[] = {&l->clients, &l->peers};
    for (size_t i = 0; i < ARRAY_COUNT(doors); i++) {
        if (doors[i]->fd >= 0) {
            (void)close(doors[i]->fd);
        }
    }
    for (size_t i = 0; i < GREETINGS_MAX; i++) {
        if (l->greetings[i].fd >= 0) {
            (void)close(l->greetings[i].fd);
            peer_decoder_free(&l->greetings[i].decoder);
        }
    }
    mem_free(l);
}

struct actor *listener_actor_create(const struct listener_actor_settings *settings)
{
    static const struct actor_ops ops = {
        .started = listener_started,
        .handle = listener_handle,
        .flush = listener_flush,
        .ready = listener_ready,
        .expired = listener_expired,
        .stop = listener_stop,
        .destroy = listener_destroy,
    };
    struct listener *l = mem_zalloc(sizeof(*l));
    l->settings = *settings;
    l->own = settings->hello;
    l->configuration = settings->configuration;
    l->clients.fd = settings->client_fd;
    l->peers.fd = settings->peer_fd;
    for (size_t i = 0; i < GREETINGS_MAX; i++) {
        l->greetings[i].fd = -1;
    }
    return actor_create(&ops, l, "listener");
}
