/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer.h: the peer actor's private state, shared by its four files: peer_outbound.c (the connection
 * we dialled, on which we send), peer_lookup.c (where to dial), peer_inbound.c (the one the peer dialled, on which we receive) and
 * peer_actor.c (messages, timers, what is known of the peer). Nobody else includes it.
 *
 *   our side     WAITING -> RESOLVING -> CONNECTING -> GREETING -> UP, from each back to WAITING
 *   their side   a socket from the listener replaces the one before
 *
 * Deliberately not here: next_index, match_index and retransmission. The core knows what it has to
 * repeat; a peer actor owns sockets, not opinions. A message that cannot be sent now is dropped and
 * counted, as a network would.
 *
 * Invariants
 *  0. Whom it talks to may change (PEER_TARGET); nothing of the one before stays. Without an address it is
 *     at rest: nothing is dialled, nothing is armed.
 *  1. The name is resolved again at every dial; its addresses are tried in turn. Name servers that do not answer
 *     keep nobody apart: then the address from which the peer has dialled us and the one that worked last are
 *     tried. Whoever answers there has to say its name, as everywhere.
 *     A peer that calls from another address than the last time has moved: it is dialled there first.
 *  1a. While the peer is silent, its name is looked up again every PEER_LOOK_US; a connection to an address that the
 *     name does not stand for any more is given up.
 *  2. Unsent octets never exceed the core's window + PEER_UNSENT_BYTES_MAX + one frame; a peer that takes nothing for
 *     stall_us is disconnected. So a dead or blocked peer costs bounded memory.
 *  3. Input per look at a socket is bounded by PEER_READS_PER_READY reads.
 *  4. Only messages of the newest known start of the peer are passed on: when a handshake of either
 *     direction shows a newer start, the connection of an older one is closed; an older start is
 *     refused (design §4). A message's `from` is the member id of its connection's hello.
 *  5. Between two attempts to dial lie at least PEER_BACKOFF_MIN_US / 2 and, names and time-outs
 *     apart, at most one election timeout.
 *  6. A reason for being unconnected is logged when it changes, not at each attempt.
 *  7. RAFT_PEER_UP says that what raft sends can arrive: it is sent only while our side is UP, when
 *     it came up or when a handshake of either direction had news. Each loss after it sends
 *     RAFT_PEER_DOWN.
 */
#ifndef HOLDFAST_NODE_PEER_H
#define HOLDFAST_NODE_PEER_H

#include "node.h"

#include "histogram.h"

#include "../net/peer_handshake.h"
#include "../net/peer_wire.h"
#include "../net/resolve.h"
#include "../net/socket.h"

#define PEER_US_PER_MS UINT64_C(1000)

#define PEER_BACKOFF_MIN_US      (50 * PEER_US_PER_MS)
#define PEER_DIAL_TIMEOUT_MIN_MS 1000 /* one address, and the greeting behind it */
#define PEER_LOOK_US             (5000 * PEER_US_PER_MS)

_Static_assert(PEER_UNSENT_BYTES_MAX >= 4 * PEER_FRAME_BYTES_MAX, "room for some frames");

enum outbound_state {
    OUT_WAITING,
    OUT_RESOLVING,
    OUT_CONNECTING,
    OUT_GREETING,
    OUT_UP,
    OUT_STOPPED,
};
#define OUT_STATES (OUT_STOPPED + 1)

/* The connection we dialled. fd is -1 but in CONNECTING, GREETING and UP. */
struct outbound {
    enum outbound_state state;
    int fd;
    uint64_t deadline_us; /* WAITING: dial; else: give the attempt up; UP: none */
    uint64_t backoff_us;
    uint64_t up_since_us;
    struct resolver *resolver;
    bool second_turn; /* the next dial goes to settings.second */
    struct resolve_answer found;
    size_t found_next;                    /* the first address not yet tried */
    char dialled[MEMBER_ADDRESS_MAX + 1]; /* whose lookup `found` is, as the target said it */
    struct socket_address good;           /* of the last connection that came up ... */
    char good_of[MEMBER_ADDRESS_MAX + 1]; /* ... and what was dialled then; "": none yet */
    struct socket_address
        called_from; /* where the peer dialled us from last, port 0; size 0: not yet */
    bool moved; /* ... and it was elsewhere before: to be dialled there first, until it works */
    uint64_t names_told; /* hash of the lookup's failure last logged; 0: it works */
    uint64_t look_at_us,
        look_received_bytes; /* UP: the next look at the name; p->received_bytes then */
    struct peer_decoder decoder;
    struct buffer unsent; /* from unsent_start on */
    size_t unsent_start;
    bool blocked;                /* the socket takes no more; watched for writing */
    uint64_t stall_deadline_us;  /* while blocked */
    struct peer_hello announced; /* our own hello as last sent on this connection */
    struct peer_hello hello;     /* theirs; member_id 0 before WELCOME */
    /* The connection before broke soon after it came up: believe this one only after a while, so
     * that a peer that welcomes and then refuses us is not told about at each attempt. */
    bool flapping;
    uint64_t told; /* hash of the reason last logged; 0: none since it last worked */
};

/* The connection the peer dialled. */
struct inbound {
    int fd; /* -1: none */
    struct peer_decoder decoder;
    struct peer_hello hello;
    bool proven; /* a valid message came */
    uint64_t told;
};

struct peer {
    struct peer_actor_settings settings;
    struct actor *raft;
    struct peer_hello own;
    struct configuration configuration;
    uint64_t random;
    uint64_t backoff_max_us, dial_timeout_us, stall_us;
    struct outbound out;
    struct inbound in;
    struct peer_hello known; /* the newest of either direction, merged; member_id 0: none yet */
    uint64_t dropped_count;
    uint64_t sent_bytes, received_bytes;
    uint64_t lost_count;            /* connections of ours that had come up */
    struct histogram round_trip_us; /* as the kernel measures it, at each look */
};

/* ---- peer_actor.c ------------------------------------------------------------------------------- */

/* Our greeting as of now. */
struct peer_greeting peer_own_greeting(const struct peer *p);
/* Is this who we expect? Else `why` is filled. */
MUST_USE bool peer_judge(const struct peer *p, const struct peer_greeting *greeting,
                         struct peer_refusal *why);
/*
 * A handshake of either direction was judged well: merge it into what is known, part with
 * connections of an older start, tell raft the news. False, with `why`, if it is the older one.
 *
 * from_out  it came on our connection
 */
MUST_USE bool peer_note(struct peer *p, const struct peer_hello *hello, bool from_out,
                        uint64_t now_us, struct peer_refusal *why);
void peer_report_up(struct peer *p);
/* Tell the other end of a connection why it ends, as far as its socket takes it at once. `unsent`:
 * what must go before it; consumed. */
void peer_say_refused(int fd, struct buffer *unsent, size_t unsent_start,
                      const struct peer_refusal *why);
/* True if this reason is not the one last told. */
bool peer_is_news(uint64_t *told, const char *reason);
/* The same for a refusal, which is one thing to tell whichever connection it came on. */
bool peer_refusal_is_news(struct peer *p, uint64_t *told, const struct peer_refusal *why);
/* Why socket_read failed, after errno. */
const char *peer_closed_reason(void);

/* ---- peer_outbound.c ---------------------------------------------------------------------------- */

void peer_outbound_init(struct peer *p);
void peer_outbound_ready(struct peer *p, int fd, const void *tag, uint32_t events, uint64_t now_us);
void peer_outbound_expired(struct peer *p, uint64_t now_us);
/* When peer_outbound_expired has something to do; UINT64_MAX: never. */
uint64_t peer_outbound_deadline_us(struct peer *p, uint64_t now_us);
/* Encode behind what is unsent, or drop and count. */
void peer_outbound_send(struct peer *p, const struct peer_send *m, uint64_t now_us);
/* The batch is over: write. */
void peer_outbound_flush(struct peer *p, uint64_t now_us);
/* Our own hello or the configuration has changed. */
void peer_outbound_identity(struct peer *p, uint64_t now_us);
/* A connection from the peer came: do not sit out a long back-off. */
void peer_outbound_hurry(struct peer *p, uint64_t now_us);
/* Our connection ends and whom to dial is another; dials at once if there is somebody. */
void peer_outbound_retarget(struct peer *p, uint64_t now_us);
/* Another connection showed a newer start of the peer than ours talks to. */
void peer_outbound_restarted(struct peer *p, uint64_t now_us);
void peer_outbound_stop(struct peer *p, uint64_t now_us);

/* ---- peer_lookup.c ------------------------------------------------------------------------------ */

/* Look up an address of the target, which is noted as what is dialled. False: it is none. */
MUST_USE bool peer_lookup_start(struct peer *p, const char *address);
/* out.found is what the lookup gave, perhaps an error: addresses that are known otherwise are put behind. Logs
 * when looking names up stops working and when it works again. */
void peer_lookup_done(struct peer *p);
/* The same while our connection is up: does the name still stand for its other end? True if unknown. */
MUST_USE bool peer_lookup_confirms(struct peer *p);
/* A connection from the peer came: has it moved? */
void peer_lookup_called(struct peer *p);
/* An attempt is under way, to where it was before it moved: where it is now is next. False: it is not so. */
MUST_USE bool peer_lookup_call_back(struct peer *p);

/* ---- peer_inbound.c ----------------------------------------------------------------------------- */

/* A welcomed socket from the listener; takes m->fd if it is accepted. */
void peer_inbound_take(struct peer *p, struct peer_socket *m, uint64_t now_us);
void peer_inbound_ready(struct peer *p, uint64_t now_us);
void peer_inbound_identity(struct peer *p);
/* Close, if there is one, and log the reason when it is news. */
void peer_inbound_close(struct peer *p, const char *reason);
void peer_inbound_stop(struct peer *p);

#endif
