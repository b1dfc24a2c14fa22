/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_members.c: see rpc_members.h.
 */
#include "rpc_members.h"

#include "config.h"
#include "proto.h"
#include "rpc_answer.h"

#include <stdio.h>
#include <string.h>

/* ---- requests ------------------------------------------------------------------------------------------- */

/* "http://host:port", perhaps with a slash behind it. */
static bool url_take(struct view url, char out[MEMBER_ADDRESS_MAX + 1])
{
    static const char scheme[] = "http://";
    size_t skip = sizeof(scheme) - 1;
    char host[MEMBER_ADDRESS_MAX + 1];
    uint16_t port;
    if (url.size <= skip || memcmp(url.data, scheme, skip) != 0) {
        return false;
    }
    size_t size = url.size - skip;
    const uint8_t *text = url.data + skip;
    size -= text[size - 1] == '/' ? 1 : 0;
    if (size == 0 || size > MEMBER_ADDRESS_MAX || memchr(text, 0, size) != NULL) {
        return false;
    }
    memcpy(out, text, size);
    out[size] = '\0';
    return address_split(out, host, sizeof(host), &port) == OK;
}

/* The fields that the four requests are made of: what is asked for under which number. */
struct member_fields {
    enum member_action action;
    uint32_t id, urls, learner; /* 0: has none */
};

static enum err decode(struct view in, const struct member_fields *fields,
                       struct member_request *out)
{
    struct member_request request = {.action = fields->action};
    size_t url_count = 0;
    bool url_good = true;
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        if (r.field == fields->id) {
            request.id = proto_number(&r);
        } else if (r.field == fields->learner) {
            request.learner = proto_number(&r) != 0;
        } else if (r.field == fields->urls) {
            url_count++;
            url_good = url_take(proto_octets(&r), request.peer) && url_good;
        }
    }
    if (r.failed) {
        return ERR_MALFORMED;
    }
    if (fields->urls != 0 && (url_count != 1 || !url_good)) {
        return ERR_MEMBER_URLS;
    }
    *out = request;
    return OK;
}

enum err rpc_member_add_decode(struct view in, struct member_request *out)
{
    static const struct member_fields fields = {.action = MEMBER_ADD, .urls = 1, .learner = 2};
    return decode(in, &fields, out);
}

enum err rpc_member_remove_decode(struct view in, struct member_request *out)
{
    static const struct member_fields fields = {.action = MEMBER_REMOVE, .id = 1};
    return decode(in, &fields, out);
}

enum err rpc_member_update_decode(struct view in, struct member_request *out)
{
    static const struct member_fields fields = {.action = MEMBER_UPDATE, .id = 1, .urls = 2};
    return decode(in, &fields, out);
}

enum err rpc_member_promote_decode(struct view in, struct member_request *out)
{
    static const struct member_fields fields = {.action = MEMBER_PROMOTE, .id = 1};
    return decode(in, &fields, out);
}

enum err rpc_member_list_decode(struct view in, bool *linearizable)
{
    enum { MEMBER_LIST_LINEARIZABLE = 1 };
    bool found = false;
    struct proto_reader r = proto_reader_of(in);
    while (proto_next(&r)) {
        if (r.field == MEMBER_LIST_LINEARIZABLE) {
            found = proto_number(&r) != 0;
        }
    }
    if (r.failed) {
        return ERR_MALFORMED;
    }
    *linearizable = found;
    return OK;
}

/* ---- responses ------------------------------------------------------------------------------------------- */

enum {
    LIST_MAX = MEMBERS_MAX + DECLARED_MAX,
    URL_SIZE = MEMBER_ADDRESS_MAX + sizeof "http://",
};

/* protobuf-c wants char *, but only reads. */
struct member_texts {
    char name[MEMBER_NAME_MAX + 1];
    char peer[URL_SIZE], client[URL_SIZE];
    char *peers[1], *clients[1];
};

struct member_list {
    size_t count;
    struct member_texts texts[LIST_MAX];
    Etcdserverpb__Member members[LIST_MAX];
    Etcdserverpb__Member *sorted[LIST_MAX];
};

static void list_add(struct member_list *list, uint64_t id, const char *name, const char *peer,
                     const char *client, bool learner)
{
    size_t i = list->count++;
    struct member_texts *texts = &list->texts[i];
    Etcdserverpb__Member *m = &list->members[i];
    (void)snprintf(texts->name, sizeof texts->name, "%s", name);
    (void)snprintf(texts->peer, URL_SIZE, "http://%s", peer);
    (void)snprintf(texts->client, URL_SIZE, "http://%s", client);
    texts->peers[0] = texts->peer;
    texts->clients[0] = texts->client;
    etcdserverpb__member__init(m);
    m->id = id;
    m->name = texts->name;
    if (peer[0] != '\0') {
        m->n_peerurls = 1;
        m->peerurls = texts->peers;
    }
    if (client[0] != '\0') {
        m->n_clienturls = 1;
        m->clienturls = texts->clients;
    }
    m->islearner = learner;
    size_t place = i; /* a handful of members: insertion keeps them in order of id */
    while (place > 0 && list->sorted[place - 1]->id > id) {
        list->sorted[place] = list->sorted[place - 1];
        place--;
    }
    list->sorted[place] = m;
}

static struct member_list *list_of(const struct configuration *c)
{
    struct member_list *list = mem_alloc(sizeof(*list));
    list->count = 0;
    ASSERT(c->count <= MEMBERS_MAX);
    for (size_t i = 0; i < c->count; i++) {
        const struct member *m = &c->members[i];
        list_add(list, m->id, m->name, m->peer, m->client,
                 !m->voter_incoming && !m->voter_outgoing);
    }
    for (size_t i = 0; i < c->declared_count; i++) {
        const struct declared_member *d = &c->declared[i];
        list_add(list, d->id, "", d->peer, "", d->learner);
    }
    return list;
}

uint8_t *rpc_member_list_encode(const struct response_header *header,
                                const struct configuration *configuration, size_t room,
                                size_t *size)
{
    struct member_list *list = list_of(configuration);
    Etcdserverpb__ResponseHeader head = rpc_header(header);
    Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    response.header = &head;
    response.n_members = list->count;
    response.members = list->sorted;
    uint8_t *out = rpc_pack(&response.base, room, size);
    mem_free(list);
    return out;
}

uint8_t *rpc_member_add_encode(const struct response_header *header,
                               const struct configuration *configuration,
                               const struct member_request *added, size_t room, size_t *size)
{
    struct member_list *list = list_of(configuration);
    char url[URL_SIZE];
    char *urls[1] = {url};
    (void)snprintf(url, sizeof url, "http://%s", added->peer);
    Etcdserverpb__Member member;
    etcdserverpb__member__init(&member);
    member.id = added->id;
    member.n_peerurls = 1;
    member.peerurls = urls;
    member.islearner = added->learner;
    Etcdserverpb__ResponseHeader head = rpc_header(header);
    Etcdserverpb__MemberAddResponse response = ETCDSERVERPB__MEMBER_ADD_RESPONSE__INIT;
    response.header = &head;
    response.member = &member;
    response.n_members = list->count;
    response.members = list->sorted;
    uint8_t *out = rpc_pack(&response.base, room, size);
    mem_free(list);
    return out;
}
