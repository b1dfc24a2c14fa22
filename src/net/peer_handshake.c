/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_handshake.c: the checks of peer_handshake.h and their sentences. Sentences quote with ' so
 * that they fit into a quoted value of a log line.
 */
#include "peer_handshake.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static enum err refuse(struct peer_refusal *why, enum err error, const char *format, ...)
    PRINTF_LIKE(3, 4);

static enum err refuse(struct peer_refusal *why, enum err error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    memset(why, 0, sizeof(*why));
    why->error = error;
    (void)vsnprintf(why->sentence, sizeof(why->sentence), format, arguments); /* may be cut */
    va_end(arguments);
    return error;
}

enum log_level peer_refusal_level(const struct peer_refusal *why)
{
    return why->error == ERR_NOT_FOUNDED ? LOG_DEBUG : LOG_WARNING;
}

static bool name_listed(const struct peer_door *door, const char *name)
{
    if (door->expected != NULL) {
        return door->expected[0] == '\0' || strcmp(door->expected, name) == 0;
    }
    for (size_t i = 0; i < door->name_count; i++) {
        if (strcmp(door->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static bool member_votes(const struct member *m)
{
    return m->voter_incoming || m->voter_outgoing;
}

/* One belongs to a cluster, and the other to the same one or to none yet. */
static bool may_join(const struct peer_hello *own, const struct peer_hello *other)
{
    return own->cluster_id != other->cluster_id ? own->cluster_id == 0 || other->cluster_id == 0
                                                : own->cluster_id != 0;
}

enum err peer_handshake_check(const struct peer_door *door, const struct peer_greeting *greeting,
                              uint16_t *version, struct peer_refusal *why)
{
    const struct peer_hello *own = door->own;
    const struct peer_hello *other = &greeting->hello;

    if (greeting->version_least > door->version_most ||
        greeting->version_most < door->version_least) {
        return refuse(why, ERR_VERSION,
                      "node '%s' speaks peer protocol versions %u to %u, node '%s' speaks %u to "
                      "%u; upgrade the older one",
                      other->name, greeting->version_least, greeting->version_most, own->name,
                      door->version_least, door->version_most);
    }
    if (strcmp(own->cluster, other->cluster) != 0) {
        return refuse(why, ERR_CLUSTER_MISMATCH,
                      "node '%s' is configured for cluster '%s', node '%s' for cluster '%s'; "
                      "correct 'cluster' or the addresses in 'members' of one of them",
                      other->name, other->cluster, own->name, own->cluster);
    }
    if (greeting->target[0] != '\0' && strcmp(greeting->target, own->name) != 0) {
        return refuse(why, ERR_ADDRESS,
                      "node '%s' dialled '%s' but reached '%s'; correct the address of '%s' in "
                      "the members list of '%s'",
                      other->name, greeting->target, own->name, greeting->target, other->name);
    }
    if (strcmp(other->name, own->name) == 0) {
        return refuse(why, ERR_UNKNOWN_MEMBER,
                      "two nodes call themselves '%s'; give each its own name in 'node', or "
                      "correct the addresses in 'members'",
                      own->name);
    }
    if (door->expected != NULL && door->expected[0] != '\0' &&
        strcmp(door->expected, other->name) != 0) {
        return refuse(why, ERR_ADDRESS,
                      "node '%s' dialled '%s' but reached '%s'; correct the address of '%s' in "
                      "the members list of '%s'",
                      own->name, door->expected, other->name, door->expected, own->name);
    }
    if (own->cluster_id != 0 && other->cluster_id != 0 && own->cluster_id != other->cluster_id) {
        return refuse(why, ERR_CLUSTER_MISMATCH,
                      "node '%s' belongs to another cluster (id %016" PRIx64
                      ") than node '%s' (id %016" PRIx64
                      ") although both are called '%s'; one of them has a foreign data directory, "
                      "move it away and let the node join empty",
                      other->name, other->cluster_id, own->name, own->cluster_id, own->cluster);
    }
    if (!name_listed(door, other->name) && !(door->strangers && may_join(own, other))) {
        if (greeting->target[0] == '\0' && own->cluster_id == 0 && other->cluster_id == 0) {
            return refuse(why, ERR_NOT_FOUNDED,
                          "node '%s' wants to join the cluster of node '%s', which is not founded "
                          "yet; it asks again",
                          other->name, own->name);
        }
        return refuse(
            why, ERR_UNKNOWN_MEMBER,
            "node '%s' is not in the members list of node '%s'; add it there and restart, "
            "correct 'node' in its configuration, or let it join a cluster ('join')",
            other->name, own->name);
    }
    if (configuration_was_removed(door->configuration, other->member_id)) {
        return refuse(why, ERR_UNKNOWN_MEMBER,
                      "node '%s' (id %016" PRIx64 ") was removed from the cluster; empty its data "
                      "directory to let it join as a new member, or stop it",
                      other->name, other->member_id);
    }
    int bound = configuration_find_name(door->configuration, other->name);
    bool replaces =
        bound >= 0 && other->empty && !member_votes(&door->configuration->members[bound]);
    /* It has this cluster's log, so it was taken in under its name: our list of members is older. Refused, it could
     * not bring us the newer one, and we would stay outside for ever. Who was removed is known above where that is known;
     * what a stranger says does no harm (trap 8). */
    bool newer = !other->empty && own->cluster_id != 0 && own->cluster_id == other->cluster_id;
    if (bound >= 0 && door->configuration->members[bound].id != other->member_id && !replaces &&
        !newer) {
        uint64_t bound_id = door->configuration->members[bound].id;
        if (other->empty) {
            return refuse(
                why, ERR_IDENTITY,
                "node '%s' is an empty node whose name is bound to another incarnation "
                "(it has id %016" PRIx64 ", the cluster knows %016" PRIx64
                "); restore its data directory, or wait until another member votes in its "
                "place, which the autopilot sees to if there is a standby",
                other->name, other->member_id, bound_id);
        }
        return refuse(why, ERR_IDENTITY,
                      "the name of node '%s' is bound to another incarnation (it has id %016" PRIx64
                      ", the cluster knows %016" PRIx64
                      "); give it the data directory that belongs to it",
                      other->name, other->member_id, bound_id);
    }
    *version =
        greeting->version_most < door->version_most ? greeting->version_most : door->version_most;
    return OK;
}

enum err peer_handshake_note(struct peer_hello *known, const struct peer_hello *hello, bool *news,
                             struct peer_refusal *why)
{
    struct peer_hello merged = *hello;
    if (known->member_id == hello->member_id) {
        if (hello->boot_number < known->boot_number) {
            return refuse(why, ERR_IDENTITY,
                          "node '%s' came with boot number %" PRIu64 " after boot %" PRIu64
                          " was seen; an older process of it still runs, or its data directory is "
                          "an older copy",
                          hello->name, hello->boot_number, known->boot_number);
        }
        if (hello->boot_number == known->boot_number && hello->boot_id != known->boot_id) {
            return refuse(why, ERR_IDENTITY,
                          "node '%s' runs twice: two processes have member id %016" PRIx64
                          " and boot number %" PRIu64 "; one of them uses a copied data directory",
                          hello->name, hello->member_id, hello->boot_number);
        }
        if (hello->boot_id == known->boot_id) {
            /* The two directions may overtake each other; keep what is already known. */
            merged.empty = known->empty && hello->empty;
            merged.cluster_id = hello->cluster_id != 0 ? hello->cluster_id : known->cluster_id;
        }
    }
    *news = known->member_id != merged.member_id || known->boot_id != merged.boot_id ||
            known->boot_number != merged.boot_number || known->cluster_id != merged.cluster_id ||
            known->list_digest != merged.list_digest || known->empty != merged.empty ||
            strcmp(known->peer, merged.peer) != 0 || strcmp(known->client, merged.client) != 0;
    *known = merged;
    return OK;
}
