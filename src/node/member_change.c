/* SPDX-License-Identifier: Apache-2.0 */
/* member_change.c: see member_change.h. */
#include "member_change.h"

#include <stdio.h>
#include <string.h>

#define MEMBER_REQUEST_FORMAT 1

/* ---- looking --------------------------------------------------------------------------------------------- */

int member_change_find(const struct configuration *c, uint64_t id)
{
    int found = configuration_find(c, id);
    for (size_t i = 0; found < 0 && id != 0 && i < c->count; i++) {
        if (c->members[i].added_as == id) {
            found = (int)i;
        }
    }
    return found;
}

static const struct pilot_member *seen_of(const struct pilot_view *view, uint64_t id)
{
    for (size_t i = 0; i < view->member_count; i++) {
        if (view->members[i].id == id) {
            return &view->members[i];
        }
    }
    return NULL;
}

static bool is_alive(const struct pilot_view *view, uint64_t id)
{
    const struct pilot_member *seen = seen_of(view, id);
    return seen != NULL && seen->alive;
}

/* It could vote at once. */
static bool is_sound(const struct pilot_view *view, uint64_t id)
{
    const struct pilot_member *seen = seen_of(view, id);
    return seen != NULL && seen->alive && seen->caught_up && !seen->unfit;
}

static bool peer_in_use(const struct configuration *c, const char *peer, uint64_t but_id)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->members[i].id != but_id && strcmp(c->members[i].peer, peer) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < c->declared_count; i++) {
        if (c->declared[i].id != but_id && strcmp(c->declared[i].peer, peer) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- rule 2 ------------------------------------------------------------------------------------------------ */

static enum err may_vote_so(const struct pilot_view *view, const struct configuration *target)
{
    size_t voters = 0;
    size_t good = 0;
    for (size_t i = 0; i < view->configuration->count; i++) {
        const struct member *m = &view->configuration->members[i];
        voters += m->voter_incoming ? 1 : 0;
        good += m->voter_incoming && is_alive(view, m->id) ? 1 : 0;
    }
    if (2 * good <= voters) {
        return ERR_UNHEALTHY;
    }
    voters = 0;
    good = 0;
    for (size_t i = 0; i < target->count; i++) {
        const struct member *m = &target->members[i];
        voters += m->voter_incoming ? 1 : 0;
        good += m->voter_incoming && is_sound(view, m->id) ? 1 : 0;
    }
    return 2 * good > voters ? OK : ERR_NOT_ENOUGH_STARTED;
}

/* ---- steps -------------------------------------------------------------------------------------------------- */

static void drop_member(struct configuration *c, size_t at)
{
    memmove(&c->members[at], &c->members[at + 1], (c->count - at - 1) * sizeof(c->members[0]));
    c->count--;
    memset(&c->members[c->count], 0, sizeof(c->members[0]));
}

static void drop_declared(struct configuration *c, size_t at)
{
    memmove(&c->declared[at], &c->declared[at + 1],
            (c->declared_count - at - 1) * sizeof(c->declared[0]));
    c->declared_count--;
    memset(&c->declared[c->declared_count], 0, sizeof(c->declared[0]));
}

/* Rule 4. */
static void wish_at_least(struct configuration *c, size_t voters)
{
    if (c->wish.voters != WISH_VOTERS_AUTO && c->wish.voters < voters &&
        voters <= WISH_VOTERS_MAX) {
        c->wish.voters = (uint32_t)voters;
    }
}

static void text_set(char *to, size_t size, const char *from)
{
    int written = snprintf(to, size, "%s", from);
    ASSERT(written >= 0);
    ASSERT((size_t)written < size);
}

/* ---- requests ------------------------------------------------------------------------------------------------ */

static enum err admit(const struct member_request *request, struct configuration *c)
{
    if (configuration_find(c, request->id) >= 0) {
        return OK;
    }
    /* Nobody draws an id that is taken; whoever says one is not who it says. */
    if (configuration_was_removed(c, request->id) || member_change_find(c, request->id) >= 0 ||
        configuration_find_declared(c, request->id) >= 0) {
        return ERR_ID_REUSED;
    }
    if (request->id == 0 || request->name[0] == '\0' || request->peer[0] == '\0') {
        return ERR_MEMBER_URLS;
    }
    int namesake = configuration_find_name(c, request->name);
    if (namesake >= 0) {
        const struct member *old = &c->members[namesake];
        if (old->voter_incoming || old->voter_outgoing) {
            return ERR_IDENTITY;
        }
        drop_member(c, (size_t)namesake);
    }
    if (c->count == MEMBERS_MAX) {
        return ERR_TOO_MANY_MEMBERS;
    }
    struct member *m = &c->members[c->count++];
    *m = (struct member){.id = request->id};
    text_set(m->name, sizeof(m->name), request->name);
    text_set(m->peer, sizeof(m->peer), request->peer);
    text_set(m->client, sizeof(m->client), request->client);
    for (size_t i = 0; i < c->declared_count; i++) {
        if (strcmp(c->declared[i].peer, request->peer) == 0) {
            m->added_as = c->declared[i].id;
            drop_declared(c, i);
            break;
        }
    }
    return OK;
}

static enum err add(const struct member_request *request, struct configuration *c)
{
    if (request->again && (configuration_find_declared(c, request->id) >= 0 ||
                           member_change_find(c, request->id) >= 0)) {
        return OK;
    }
    if (request->id == 0 || request->peer[0] == '\0') {
        return ERR_MEMBER_URLS;
    }
    if (peer_in_use(c, request->peer, 0)) {
        return ERR_PEER_URL_EXISTS;
    }
    if (member_change_find(c, request->id) >= 0 ||
        configuration_find_declared(c, request->id) >= 0 ||
        configuration_was_removed(c, request->id)) {
        return ERR_ID_REUSED;
    }
    if (c->declared_count == DECLARED_MAX || c->count + c->declared_count >= MEMBERS_MAX) {
        return ERR_TOO_MANY_MEMBERS;
    }
    struct declared_member *d = &c->declared[c->declared_count++];
    *d = (struct declared_member){.id = request->id, .learner = request->learner};
    text_set(d->peer, sizeof(d->peer), request->peer);
    size_t voters = configuration_voter_count(c);
    for (size_t i = 0; i < c->declared_count; i++) {
        voters += c->declared[i].learner ? 0 : 1;
    }
    if (!request->learner) {
        wish_at_least(c, voters);
    }
    return OK;
}

/* The standby that takes a removed voter's place, if there are fewer voters than wished; by name. */
static void fill_place(const struct pilot_view *view, struct configuration *c)
{
    struct pilot_wish wish = {.voters = c->wish.voters};
    struct member *best = NULL;
    size_t lasting = configuration_voter_count(c);
    for (size_t i = 0; i < c->count; i++) {
        struct member *m = &c->members[i];
        if (!m->voter_incoming && is_sound(view, m->id)) {
            lasting++;
            if (best == NULL || strcmp(m->name, best->name) < 0) {
                best = m;
            }
        }
    }
    if (best != NULL && configuration_voter_count(c) < pilot_voters_wanted(&wish, lasting)) {
        best->voter_incoming = true;
    }
}

static enum err drop(const struct pilot_view *view, const struct member_request *request,
                     struct configuration *c)
{
    int declared = configuration_find_declared(c, request->id);
    if (declared >= 0) {
        drop_declared(c, (size_t)declared);
        return OK;
    }
    int at = request->id != 0 ? member_change_find(c, request->id)
                              : configuration_find_name(c, request->name);
    if (at < 0) {
        return request->again && configuration_was_removed(c, request->id) ? OK
                                                                           : ERR_MEMBER_NOT_FOUND;
    }
    bool voted = c->members[at].voter_incoming;
    drop_member(c, (size_t)at);
    if (!voted) {
        return OK;
    }
    fill_place(view, c);
    return configuration_voter_count(c) == 0 ? ERR_NOT_ENOUGH_STARTED : may_vote_so(view, c);
}

static enum err update(const struct member_request *request, struct configuration *c)
{
    int declared = configuration_find_declared(c, request->id);
    int at = member_change_find(c, request->id);
    if (at < 0 && declared < 0) {
        return ERR_MEMBER_NOT_FOUND;
    }
    if (request->peer[0] == '\0') {
        return ERR_MEMBER_URLS;
    }
    char *peer = at >= 0 ? c->members[at].peer : c->declared[declared].peer;
    if (peer_in_use(c, request->peer, at >= 0 ? c->members[at].id : request->id)) {
        return ERR_PEER_URL_EXISTS;
    }
    text_set(peer, MEMBER_ADDRESS_MAX + 1, request->peer);
    return OK;
}

static enum err promote(const struct pilot_view *view, const struct member_request *request,
                        struct configuration *c)
{
    int at = member_change_find(c, request->id);
    if (at < 0) { /* one that has not come yet is not in sync */
        return configuration_find_declared(c, request->id) >= 0 ? ERR_LEARNER_NOT_READY
                                                                : ERR_MEMBER_NOT_FOUND;
    }
    struct member *m = &c->members[at];
    if (m->voter_incoming) {
        return request->again ? OK : ERR_NOT_A_LEARNER;
    }
    if (!is_sound(view, m->id)) {
        return ERR_LEARNER_NOT_READY;
    }
    m->voter_incoming = true;
    wish_at_least(c, configuration_voter_count(c));
    return may_vote_so(view, c);
}

static enum err set_wish(const struct member_request *request, struct configuration *c)
{
    uint32_t voters = request->wish.voters;
    if (request->set_voters && voters != WISH_VOTERS_AUTO &&
        (voters > WISH_VOTERS_MAX || voters % 2 == 0)) {
        return ERR_INVALID;
    }
    c->wish.voters = request->set_voters ? voters : c->wish.voters;
    c->wish.heal_after_s =
        request->set_heal_after_s ? request->wish.heal_after_s : c->wish.heal_after_s;
    c->wish.paused = request->set_paused ? request->wish.paused : c->wish.paused;
    return OK;
}

static enum err change(const struct pilot_view *view, const struct member_request *request,
                       struct configuration *c)
{
    switch (request->action) {
    case MEMBER_ADMIT:
        return admit(request, c);
    case MEMBER_ADD:
        return add(request, c);
    case MEMBER_REMOVE:
    case MEMBER_REPLACE:
        return drop(view, request, c);
    case MEMBER_UPDATE:
        return update(request, c);
    case MEMBER_PROMOTE:
        return promote(view, request, c);
    case MEMBER_WISH:
        return set_wish(request, c);
    case MEMBER_TRANSFER:
        break;
    }
    return ERR_INVALID;
}

enum err member_change(const struct pilot_view *view, const struct member_request *request,
                       struct configuration *out)
{
    struct configuration *c = mem_dup(view->configuration, sizeof(*c));
    enum err error = change(view, request, c);
    if (error == OK) {
        *out = *c;
    }
    mem_free(c);
    return error;
}

/* ---- wire ----------------------------------------------------------------------------------------------------- */

enum {
    REQUEST_LEARNER = 1,
    REQUEST_AGAIN = 2,
    REQUEST_SET_VOTERS = 4,
    REQUEST_SET_HEAL = 8,
    REQUEST_SET_PAUSED = 16,
    REQUEST_PAUSED = 32,
    REQUEST_FLAGS_ALL = 63,
};

void member_request_encode(const struct member_request *request, struct buffer *out)
{
    unsigned flags = (request->learner ? REQUEST_LEARNER : 0U) |
                     (request->again ? REQUEST_AGAIN : 0U) |
                     (request->set_voters ? REQUEST_SET_VOTERS : 0U) |
                     (request->set_heal_after_s ? REQUEST_SET_HEAL : 0U) |
                     (request->set_paused ? REQUEST_SET_PAUSED : 0U) |
                     (request->wish.paused ? REQUEST_PAUSED : 0U);
    buffer_u8(out, MEMBER_REQUEST_FORMAT);
    buffer_u8(out, (uint8_t)request->action);
    buffer_u8(out, (uint8_t)flags);
    buffer_u64(out, request->id);
    buffer_u32(out, request->wish.voters);
    buffer_u32(out, request->wish.heal_after_s);
    buffer_view(out, view_of_text(request->name));
    buffer_view(out, view_of_text(request->peer));
    buffer_view(out, view_of_text(request->client));
}

/* A text without a zero octet into a zeroed array of size octets. */
static bool read_text(struct reader *in, char *out, size_t size)
{
    struct view text = reader_view(in);
    if (in->failed || text.size >= size ||
        (text.size > 0 && memchr(text.data, 0, text.size) != NULL)) {
        return false;
    }
    if (text.size > 0) {
        memcpy(out, text.data, text.size);
    }
    return true;
}

enum err member_request_decode(struct view in, struct member_request *out)
{
    struct reader reader = {.data = in.data, .size = in.size};
    struct member_request request = {0};
    uint8_t format = reader_u8(&reader);
    uint8_t action = reader_u8(&reader);
    uint8_t flags = reader_u8(&reader);
    if (!reader.failed && format > MEMBER_REQUEST_FORMAT) {
        return ERR_NEWER_FORMAT;
    }
    request.id = reader_u64(&reader);
    request.wish.voters = reader_u32(&reader);
    request.wish.heal_after_s = reader_u32(&reader);
    bool texts = read_text(&reader, request.name, sizeof(request.name)) &&
                 read_text(&reader, request.peer, sizeof(request.peer)) &&
                 read_text(&reader, request.client, sizeof(request.client));
    if (reader.failed) {
        return ERR_TRUNCATED;
    }
    if (!texts || format == 0 || action < MEMBER_ADMIT || action >= MEMBER_TRANSFER ||
        (flags & ~(unsigned)REQUEST_FLAGS_ALL) != 0 || reader.size != 0) {
        return ERR_MALFORMED;
    }
    request.action = (enum member_action)action;
    request.learner = (flags & REQUEST_LEARNER) != 0;
    request.again = (flags & REQUEST_AGAIN) != 0;
    request.set_voters = (flags & REQUEST_SET_VOTERS) != 0;
    request.set_heal_after_s = (flags & REQUEST_SET_HEAL) != 0;
    request.set_paused = (flags & REQUEST_SET_PAUSED) != 0;
    request.wish.paused = (flags & REQUEST_PAUSED) != 0;
    *out = request;
    return OK;
}

/* Errors have numbers of their own on the wire: their places here. Never reordered. */
static const enum err reply_errors[] = {
    OK,
    ERR_NOT_LEADER,
    ERR_OVERLOAD,
    ERR_TIMEOUT,
    ERR_MEMBER_NOT_FOUND,
    ERR_PEER_URL_EXISTS,
    ERR_MEMBER_URLS,
    ERR_TOO_MANY_MEMBERS,
    ERR_NOT_A_LEARNER,
    ERR_LEARNER_NOT_READY,
    ERR_UNHEALTHY,
    ERR_NOT_ENOUGH_STARTED,
    ERR_ID_REUSED,
    ERR_IDENTITY,
    ERR_INVALID,
    ERR_TOO_LARGE,
};

void member_reply_encode(const struct member_reply *reply, struct buffer *out)
{
    uint8_t code = UINT8_MAX; /* an error that has no number: read as "unknown" */
    for (size_t i = 0; i < ARRAY_COUNT(reply_errors); i++) {
        if (reply_errors[i] == reply->error) {
            code = (uint8_t)i;
            break;
        }
    }
    buffer_u8(out, MEMBER_REQUEST_FORMAT);
    buffer_u8(out, code);
    buffer_u64(out, reply->index);
    buffer_u64(out, reply->term);
}

enum err member_reply_decode(struct view in, struct member_reply *out)
{
    struct reader reader = {.data = in.data, .size = in.size};
    uint8_t format = reader_u8(&reader);
    uint8_t code = reader_u8(&reader);
    struct member_reply reply = {.index = reader_u64(&reader)};
    reply.term = reader_u64(&reader);
    if (reader.failed) {
        return ERR_TRUNCATED;
    }
    if (format > MEMBER_REQUEST_FORMAT) {
        return ERR_NEWER_FORMAT;
    }
    if (format == 0 || reader.size != 0) {
        return ERR_MALFORMED;
    }
    reply.error = code < ARRAY_COUNT(reply_errors) ? reply_errors[code] : ERR_INVALID;
    *out = reply;
    return OK;
}
