/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_cluster.c: see rpc_cluster.h. protobuf-c wants char * in its structs, but only reads them when it packs;
 * so texts are copied into arrays first.
 */
#include "rpc_cluster.h"

#include "holdfast.pb-c.h"
#include "proto.h"
#include "rpc_answer.h"

#include <stdio.h>
#include <string.h>

/* ---- requests ------------------------------------------------------------------------------------------- */

enum err rpc_get_cluster_decode(struct view in, bool *linearizable)
{
    enum { GET_CLUSTER_LINEARIZABLE = 1 };
    bool found = false;
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        if (r.field == GET_CLUSTER_LINEARIZABLE) {
            found = proto_number(&r) != 0;
        }
    }
    if (r.failed) {
        return ERR_MALFORMED;
    }
    *linearizable = found;
    return OK;
}

enum err rpc_set_wish_decode(struct view in, struct member_request *out)
{
    enum { SET_VOTERS = 1, VOTERS, SET_HEAL_AFTER_S, HEAL_AFTER_S, SET_PAUSED, PAUSED };
    struct member_request request = {.action = MEMBER_WISH};
    uint64_t voters = 0;
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        uint64_t number = r.field >= SET_VOTERS && r.field <= PAUSED ? proto_number(&r) : 0;
        switch (r.field) {
        case SET_VOTERS:
            request.set_voters = number != 0;
            break;
        case VOTERS:
            voters = number;
            break;
        case SET_HEAL_AFTER_S:
            request.set_heal_after_s = number != 0;
            break;
        case HEAL_AFTER_S:
            request.wish.heal_after_s = (uint32_t)number;
            break;
        case SET_PAUSED:
            request.set_paused = number != 0;
            break;
        case PAUSED:
            request.wish.paused = number != 0;
            break;
        default: /* a field number, not an enum of ours */
            break;
        }
    }
    if (r.failed) {
        return ERR_MALFORMED;
    }
    if (request.set_voters && voters != WISH_VOTERS_AUTO &&
        (voters > WISH_VOTERS_MAX || voters % 2 == 0)) {
        return ERR_INVALID;
    }
    request.wish.voters = (uint32_t)voters;
    *out = request;
    return OK;
}

enum err rpc_replace_decode(struct view in, struct member_request *out)
{
    enum { REPLACE_ID = 1, REPLACE_NAME };
    struct member_request request = {.action = MEMBER_REPLACE};
    struct view name = {0};
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        if (r.field == REPLACE_ID) {
            request.id = proto_number(&r);
        } else if (r.field == REPLACE_NAME) {
            name = proto_octets(&r);
        }
    }
    if (r.failed) {
        return ERR_MALFORMED;
    }
    if (name.size > MEMBER_NAME_MAX || (request.id == 0 && name.size == 0) ||
        (name.size > 0 && memchr(name.data, 0, name.size) != NULL)) {
        return ERR_INVALID;
    }
    if (name.size > 0) {
        memcpy(request.name, name.data, name.size);
    }
    *out = request;
    return OK;
}

/* ---- responses ------------------------------------------------------------------------------------------- */

enum { LIST_MAX = MEMBERS_MAX + DECLARED_MAX };

struct member_list {
    size_t count;
    struct {
        char name[MEMBER_NAME_MAX + 1];
        char peer[MEMBER_ADDRESS_MAX + 1], client[MEMBER_ADDRESS_MAX + 1];
    } texts[LIST_MAX];
    Holdfast__V1__Member members[LIST_MAX];
    Holdfast__V1__Member *sorted[LIST_MAX];
};

static Holdfast__V1__Role role_of(const struct member *m)
{
    if (m->voter_incoming) {
        return m->voter_outgoing ? HOLDFAST__V1__ROLE__ROLE_VOTER
                                 : HOLDFAST__V1__ROLE__ROLE_JOINING;
    }
    return m->voter_outgoing ? HOLDFAST__V1__ROLE__ROLE_LEAVING : HOLDFAST__V1__ROLE__ROLE_STANDBY;
}

static Holdfast__V1__Member *list_add(struct member_list *list, uint64_t id, const char *name,
                                      const char *peer, const char *client)
{
    size_t i = list->count++;
    Holdfast__V1__Member *m = &list->members[i];
    (void)snprintf(list->texts[i].name, sizeof list->texts[i].name, "%s", name);
    (void)snprintf(list->texts[i].peer, sizeof list->texts[i].peer, "%s", peer);
    (void)snprintf(list->texts[i].client, sizeof list->texts[i].client, "%s", client);
    holdfast__v1__member__init(m);
    m->id = id;
    m->name = list->texts[i].name;
    m->peer = list->texts[i].peer;
    m->client = list->texts[i].client;
    size_t place = i;
    while (place > 0 && strcmp(list->sorted[place - 1]->name, name) > 0) {
        list->sorted[place] = list->sorted[place - 1];
        place--;
    }
    list->sorted[place] = m;
    return m;
}

static void add_seen(Holdfast__V1__Member *m, const struct cluster_facts *facts)
{
    for (size_t i = 0; i < facts->report->member_count; i++) {
        const struct pilot_member *seen = &facts->report->members[i].seen;
        if (seen->id == m->id) {
            uint64_t match_index = facts->report->members[i].match_index;
            m->alive = seen->alive;
            m->silent_ms = seen->silent_us / 1000;
            m->caught_up = seen->caught_up;
            m->match_index = match_index;
            m->lag_entries =
                facts->last_log_index > match_index ? facts->last_log_index - match_index : 0;
        }
    }
}

static struct member_list *list_of(const struct cluster_facts *facts)
{
    const struct configuration *c = facts->configuration;
    struct member_list *list = mem_alloc(sizeof(*list));
    list->count = 0;
    for (size_t i = 0; i < c->count; i++) {
        const struct member *from = &c->members[i];
        Holdfast__V1__Member *m = list_add(list, from->id, from->name, from->peer, from->client);
        m->role = role_of(from);
        m->leader = from->id == facts->leader_id;
        m->added_as = from->added_as;
        if (facts->report->leads) {
            add_seen(m, facts);
        }
    }
    for (size_t i = 0; i < c->declared_count; i++) {
        Holdfast__V1__Member *m = list_add(list, c->declared[i].id, "", c->declared[i].peer, "");
        m->role = HOLDFAST__V1__ROLE__ROLE_DECLARED;
    }
    return list;
}

static Holdfast__V1__Header header_of(const struct response_header *header)
{
    Holdfast__V1__Header out = HOLDFAST__V1__HEADER__INIT;
    out.cluster_id = header->cluster_id;
    out.member_id = header->member_id;
    out.raft_term = header->raft_term;
    return out;
}

static Holdfast__V1__Wish wish_of(const struct cluster_wish *wish)
{
    Holdfast__V1__Wish out = HOLDFAST__V1__WISH__INIT;
    out.voters = wish->voters;
    out.heal_after_s = wish->heal_after_s;
    out.paused = wish->paused;
    return out;
}

static Holdfast__V1__Autopilot__Action action_of(enum pilot_action action)
{
    switch (action) {
    case PILOT_REST:
        break;
    case PILOT_WAIT:
        return HOLDFAST__V1__AUTOPILOT__ACTION__WAIT;
    case PILOT_CHANGE:
        return HOLDFAST__V1__AUTOPILOT__ACTION__CHANGE;
    }
    return HOLDFAST__V1__AUTOPILOT__ACTION__REST;
}

uint8_t *rpc_get_cluster_encode(const struct response_header *header,
                                const struct cluster_facts *facts, size_t room, size_t *size)
{
    char cluster[MEMBER_NAME_MAX + 1];
    char leader[MEMBER_ADDRESS_MAX + 1] = "";
    char reason[PILOT_REASON_MAX] = "";
    char last_change[PILOT_REASON_MAX] = "";
    (void)snprintf(cluster, sizeof cluster, "%s", facts->cluster);
    int at = configuration_find(facts->configuration, facts->leader_id);
    if (at >= 0) {
        (void)snprintf(leader, sizeof leader, "%s", facts->configuration->members[at].client);
    }
    struct member_list *list = list_of(facts);
    Holdfast__V1__Header head = header_of(header);
    Holdfast__V1__Wish wish = wish_of(&facts->configuration->wish);
    Holdfast__V1__Autopilot autopilot;
    Holdfast__V1__GetClusterResponse response;
    holdfast__v1__autopilot__init(&autopilot);
    holdfast__v1__get_cluster_response__init(&response);
    response.header = &head;
    response.cluster = cluster;
    response.n_members = list->count;
    response.members = list->sorted;
    response.wish = &wish;
    response.leader_id = facts->leader_id;
    response.leader_client = leader;
    response.from_leader = facts->report->leads;
    response.configuration_index = facts->configuration_index;
    response.change_pending = facts->change_pending;
    if (facts->report->leads) {
        (void)snprintf(reason, sizeof reason, "%s", facts->report->reason);
        (void)snprintf(last_change, sizeof last_change, "%s", facts->report->last_change);
        autopilot.action = action_of(facts->report->action);
        autopilot.reason = reason;
        autopilot.last_change = last_change;
        autopilot.last_change_ago_ms = facts->report->last_change_ago_us / 1000;
        response.autopilot = &autopilot;
        response.voters_wanted = facts->report->voters_wanted;
    }
    uint8_t *out = rpc_pack(&response.base, room, size);
    mem_free(list);
    return out;
}

uint8_t *rpc_set_wish_encode(const struct response_header *header, const struct cluster_wish *wish,
                             size_t room, size_t *size)
{
    Holdfast__V1__Header head = header_of(header);
    Holdfast__V1__Wish now = wish_of(wish);
    Holdfast__V1__SetWishResponse response = HOLDFAST__V1__SET_WISH_RESPONSE__INIT;
    response.header = &head;
    response.wish = &now;
    return rpc_pack(&response.base, room, size);
}

uint8_t *rpc_replace_encode(const struct response_header *header, const struct cluster_facts *facts,
                            size_t room, size_t *size)
{
    struct member_list *list = list_of(facts);
    Holdfast__V1__Header head = header_of(header);
    Holdfast__V1__ReplaceResponse response = HOLDFAST__V1__REPLACE_RESPONSE__INIT;
    response.header = &head;
    response.n_members = list->count;
    response.members = list->sorted;
    uint8_t *out = rpc_pack(&response.base, room, size);
    mem_free(list);
    return out;
}
