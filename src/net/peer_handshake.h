/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_handshake.h: whom a node talks to. A pure judgement over what two nodes say of themselves,
 * used by the acceptor on a HELLO, by the dialler on a WELCOME, and by both again when somebody's
 * identity has news. No I/O; peer_wire.h has the octets.
 *
 * A refusal is one sentence that names both nodes, says what does not fit and what to do; it goes
 * into the log on this side and over the wire into the log on the other, word by word the same.
 *
 * Invariants
 *  1. A node is let in only if all of it holds: a common protocol version, the same cluster name,
 *     it dialled us and not another, its name is one we expect (or one of the two is to join the
 *     other), cluster ids agree where both are known, its member id was not removed, and it is the one its
 *     name is bound to where that is known (trap 42, 45). An empty node may come in place of a member that
 *     does not vote: the leader will exchange the one for the other. And one that has this cluster's log may come
 *     under an id that we do not know: it took another's place while we were away.
 *  2. Within one start of a node (boot id) its knowledge only grows: an empty node may become
 *     non-empty, an unknown cluster id known, never back.
 *  3. Boot numbers of a member never fall: what an older start says is refused (design §4).
 */
#ifndef HOLDFAST_NET_PEER_HANDSHAKE_H
#define HOLDFAST_NET_PEER_HANDSHAKE_H

#include "base.h"
#include "peer_wire.h"

/* What we judge by; all borrowed. */
struct peer_door {
    const struct peer_hello *own;
    const struct configuration *configuration; /* count 0: not known yet */
    uint16_t version_least, version_most;
    const char *expected; /* the one name we want (dialler), "": any; NULL: any of `names` */
    bool strangers; /* names that nobody expects may come in, if one side is to join the other */
    size_t name_count;
    const char (*names)[MEMBER_NAME_MAX + 1]; /* who is expected at all (acceptor) */
};

/*
 * Judge a greeting.
 *
 * version  out: the highest both speak
 * why      out on refusal: code and sentence
 *
 * OK, or ERR_VERSION, ERR_CLUSTER_MISMATCH, ERR_ADDRESS (reached another node than the dialler
 * wanted), ERR_UNKNOWN_MEMBER, ERR_IDENTITY, ERR_NOT_FOUNDED (it dials an address to join by, and we
 * belong to no cluster yet either), which is also why->error.
 */
MUST_USE enum err peer_handshake_check(const struct peer_door *door,
                                       const struct peer_greeting *greeting, uint16_t *version,
                                       struct peer_refusal *why);

/*
 * Compare a checked hello with what is known of that peer, and merge (invariants 2 and 3).
 *
 * known  the newest known hello; member_id 0: none yet. Updated on success.
 * news   out: whether *known changed
 *
 * OK, or ERR_IDENTITY with `why` filled: an older start, or two starts with one number.
 */
MUST_USE enum err peer_handshake_note(struct peer_hello *known, const struct peer_hello *hello,
                                      bool *news, struct peer_refusal *why);

/* How loud a refusal is told: that there is nothing to join yet belongs to every first start. */
enum log_level peer_refusal_level(const struct peer_refusal *why);

#endif
