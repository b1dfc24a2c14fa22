/* SPDX-License-Identifier: Apache-2.0 */
/* raft_snapshots.c: see raft_snapshots.h. */
#include "raft_snapshots.h"

#include "install.h"

#include <string.h>

#define REPEAT_ELECTION_TIMEOUTS 2

void raft_snapshots_init(struct raft_snapshots *s, struct raft *core, struct raft_effects *effects,
                         struct raft_peers *peers, const struct node_actors *to, uint64_t own_id,
                         uint64_t election_timeout_us)
{
    memset(s, 0, sizeof(*s));
    s->core = core;
    s->effects = effects;
    s->peers = peers;
    s->to = to;
    s->own_id = own_id;
    s->repeat_us = REPEAT_ELECTION_TIMEOUTS * election_timeout_us;
}

/* Member 0 finds a free place. */
static struct snapshot_send *send_find(struct raft_snapshots *s, uint64_t member)
{
    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        if (s->sends[i].member == member) {
            return &s->sends[i];
        }
    }
    return NULL;
}

static void tell_copy(struct raft_snapshots *s, uint32_t kind, uint64_t member, uint64_t offset,
                      bool again)
{
    struct copy_go *m = MSG_NEW(struct copy_go, kind, NULL);
    m->member = member;
    m->offset = offset;
    m->again = again;
    ACTOR_SEND(s->to->copy, m);
}

static uint64_t current_term(const struct raft_snapshots *s)
{
    struct raft_status status;
    raft_status(s->core, &status);
    return status.current_term;
}

/* ---- sending ---------------------------------------------------------------------------------------- */

static void ask_for_copy(struct raft_snapshots *s, uint64_t member)
{
    struct copy_request *m = MSG_NEW(struct copy_request, APPLY_COPY, NULL);
    m->group = GROUP_DEFAULT;
    m->snapshot = true;
    m->member = member;
    ACTOR_SEND(s->to->apply, m);
}

static void core_sent(struct raft_snapshots *s, uint64_t member, bool installed, uint64_t now_us)
{
    struct raft_event event = {.type = RAFT_EVENT_SNAPSHOT_SENT, .now_us = now_us};
    event.snapshot_sent.member = member;
    event.snapshot_sent.installed = installed;
    raft_step(s->core, &event, s->effects);
}

static void send_end(struct raft_snapshots *s, struct snapshot_send *send)
{
    tell_copy(s, COPY_STOP, send->member, 0, false);
    *send = (struct snapshot_send){.member = 0};
}

void raft_snapshots_wanted(struct raft_snapshots *s)
{
    for (size_t i = 0; i < s->effects->snapshot_wanted_count; i++) {
        uint64_t member = s->effects->snapshots_wanted[i];
        struct snapshot_send *send = send_find(s, member);
        if (send == NULL) {
            send = send_find(s, 0);
            ASSERT(send != NULL); /* one for each member */
        }
        *send = (struct snapshot_send){.member = member};
        ask_for_copy(s, member);
    }
    s->effects->snapshot_wanted_count = 0;
}

void raft_snapshots_ready(struct raft_snapshots *s, const struct snapshot_ready *m, uint64_t now_us)
{
    struct snapshot_send *send = send_find(s, m->member);
    if (m->member == 0 || send == NULL) {
        tell_copy(s, COPY_STOP, m->member, 0, false);
        return;
    }
    if (m->error != OK) {
        log_event(LOG_WARNING, "snapshot cannot be sent", "member=%016" PRIx64 " error=\"%s\"",
                  m->member, err_text(m->error));
        core_sent(s, m->member, false, now_us);
        *send = (struct snapshot_send){.member = 0};
        return;
    }
    struct raft_event event = {.type = RAFT_EVENT_SNAPSHOT_READY, .now_us = now_us};
    event.snapshot_ready.member = m->member;
    event.snapshot_ready.index = m->index;
    raft_step(s->core, &event, s->effects);
    if (event.snapshot_ready.error == ERR_INVALID) { /* the log has gone on: too old already */
        ask_for_copy(s, m->member);
    } else if (event.snapshot_ready.error != OK) {
        send_end(s, send);
    } else {
        log_event(LOG_NOTICE, "sending a snapshot",
                  "member=%016" PRIx64 " index=%" PRIu64 " bytes=%" PRIu64, m->member, m->index,
                  m->total_bytes);
        send->ready = true;
        send->index = m->index;
        send->term = m->term;
        send->moved_us = now_us;
        tell_copy(s, COPY_GO, m->member, 0, false);
    }
}

void raft_snapshots_send_chunk(struct raft_snapshots *s, struct snapshot_chunk *m)
{
    const struct snapshot_send *send = send_find(s, m->member);
    struct raft_status status;
    raft_status(s->core, &status);
    /* Who has ceased to lead since it asked for the chunk must not say it under the term of its successor. */
    if (m->member == 0 || send == NULL || !send->ready || send->index != m->index ||
        status.role != RAFT_LEADER) {
        return;
    }
    struct raft_message message = {.type = RAFT_INSTALL_SNAPSHOT,
                                   .from = s->own_id,
                                   .to = m->member,
                                   .term = status.current_term,
                                   .last_included_index = m->index,
                                   .last_included_term = m->term,
                                   .offset = m->offset,
                                   .total_bytes = m->total_bytes,
                                   .chunk_checksum = checksum64(bytes_view(&m->octets)),
                                   .chunk = m->octets,
                                   .done = m->done};
    m->octets = (struct bytes){0};
    raft_peers_send(s->peers, &message);
}

void raft_snapshots_take_reply(struct raft_snapshots *s, const struct raft_message *message,
                               uint64_t now_us)
{
    struct snapshot_send *send = send_find(s, message->from);
    if (message->from == 0 || send == NULL || !send->ready ||
        send->index != message->last_included_index || send->term != message->last_included_term ||
        message->term != current_term(s)) {
        return;
    }
    if (message->granted && !message->done) {
        if (message->offset > send->acknowledged) {
            send->moved_us = now_us;
        }
        send->acknowledged = message->offset;
        tell_copy(s, COPY_GO, send->member, message->offset, false);
        return;
    }
    log_event(message->done ? LOG_NOTICE : LOG_WARNING,
              message->done ? "snapshot installed by member" : "snapshot refused by member",
              "member=%016" PRIx64 " index=%" PRIu64, send->member, send->index);
    core_sent(s, send->member, message->done, now_us);
    send_end(s, send);
}

void raft_snapshots_peer_up(struct raft_snapshots *s, uint64_t member, uint64_t now_us)
{
    struct snapshot_send *send = member != 0 ? send_find(s, member) : NULL;
    if (send != NULL && send->ready) {
        send->moved_us = now_us;
        tell_copy(s, COPY_GO, member, send->acknowledged, true);
    }
}

void raft_snapshots_tick(struct raft_snapshots *s, uint64_t now_us)
{
    struct raft_status status;
    raft_status(s->core, &status);
    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        struct snapshot_send *send = &s->sends[i];
        if (send->member == 0) {
            continue;
        }
        if (status.role != RAFT_LEADER) {
            send_end(s, send);
        } else if (send->ready && now_us - send->moved_us >= s->repeat_us) {
            send->moved_us = now_us;
            tell_copy(s, COPY_GO, send->member, send->acknowledged, true);
        }
    }
}

/* ---- receiving -------------------------------------------------------------------------------------- */

static void reply(struct raft_snapshots *s, uint64_t to, uint64_t index, uint64_t term,
                  uint64_t offset, bool granted, bool done)
{
    struct raft_message message = {.type = RAFT_INSTALL_SNAPSHOT_REPLY,
                                   .from = s->own_id,
                                   .to = to,
                                   .term = current_term(s),
                                   .last_included_index = index,
                                   .last_included_term = term,
                                   .offset = offset,
                                   .granted = granted,
                                   .done = done};
    raft_peers_send(s->peers, &message);
}

void raft_snapshots_take_chunk(struct raft_snapshots *s, const struct raft_message *message,
                               struct bytes *chunk)
{
    struct raft_status status;
    raft_status(s->core, &status);
    if (message->term != status.current_term || message->from != status.leader) {
        reply(s, message->from, message->last_included_index, message->last_included_term, 0, false,
              false);
        return;
    }
    if (message->last_included_index <= status.commit_index) { /* trap 47: answered, not taken */
        reply(s, message->from, message->last_included_index, message->last_included_term,
              message->offset, true, true);
        return;
    }
    if (s->whole.member != 0 || s->installing != 0 ||
        checksum64(bytes_view(chunk)) != message->chunk_checksum) {
        return; /* it will be repeated */
    }
    struct snapshot_chunk *m = MSG_NEW(struct snapshot_chunk, COPY_CHUNK, release_snapshot_chunk);
    m->member = message->from;
    m->index = message->last_included_index;
    m->term = message->last_included_term;
    m->offset = message->offset;
    m->total_bytes = message->total_bytes;
    m->done = message->done;
    m->octets = *chunk;
    *chunk = (struct bytes){0};
    ACTOR_SEND(s->to->copy, m);
}

void raft_snapshots_taken(struct raft_snapshots *s, const struct snapshot_taken *m, uint64_t now_us)
{
    if (!m->complete) {
        reply(s, m->member, m->index, m->term, m->offset, m->error == OK, false);
        return;
    }
    struct raft_event event = {.type = RAFT_EVENT_SNAPSHOT_INSTALLED, .now_us = now_us};
    event.snapshot_installed.index = m->meta.applied_index;
    event.snapshot_installed.term = m->meta.applied_term;
    event.snapshot_installed.cluster_time_us = m->meta.cluster_time_us;
    event.snapshot_installed.configuration = &m->meta.configuration;
    raft_step(s->core, &event, s->effects);
    if (event.snapshot_installed.accepted) {
        s->whole = *m;
        s->whole_sequence = 0;
        return;
    }
    tell_copy(s, COPY_DISCARD, 0, 0, false);
    reply(s, m->member, m->index, m->term, m->offset, true, true);
}

uint64_t raft_snapshots_persist(struct raft_snapshots *s, const struct raft_persist *persist)
{
    if (persist->reset_index == 0) {
        return 0;
    }
    ASSERT(s->whole.member != 0);
    ASSERT(persist->reset_index == s->whole.meta.applied_index);
    s->whole_sequence = persist->sequence;
    return s->whole.meta.generation;
}

bool raft_snapshots_durable(struct raft_snapshots *s, uint64_t sequence)
{
    if (s->whole.member == 0 || s->whole_sequence == 0 || sequence < s->whole_sequence) {
        return false;
    }
    struct install *install = MSG_NEW(struct install, APPLY_INSTALL, release_install);
    install->group = GROUP_DEFAULT;
    install->generation = s->installing = s->whole.meta.generation;
    ACTOR_SEND(s->to->apply, install);
    reply(s, s->whole.member, s->whole.index, s->whole.term, s->whole.offset, true, true);
    memset(&s->whole, 0, sizeof(s->whole));
    s->whole_sequence = 0;
    return true;
}

void raft_snapshots_installed(struct raft_snapshots *s, uint64_t generation)
{
    if (s->installing == generation) {
        s->installing = 0;
    }
}
