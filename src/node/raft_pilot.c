/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raft_pilot.c: runs the autopilot (pilot.h) on the leader: gathers what it sees of the members, asks it about once
 * a second, says each decision once with its reason, and hands a change to the core. Invariant: nothing is
 * remembered from one lead to the next; a new leader waits until it has seen the members for a while.
 */
#include "raft_state.h"

#include <stdio.h>
#include <string.h>

/* After a change, or after taking over, nothing is changed for so long; and so long a standby has to be heard
 * without a break before it is worth a vote. */
#define SETTLE_ELECTION_TIMEOUTS 2
#define STABLE_ELECTION_TIMEOUTS 5

static uint64_t timeout_us(const struct raft_actor *a)
{
    return (uint64_t)a->config.raft.election_timeout_ms * 1000;
}

static uint64_t alive_since(const struct raft_pilot *p, uint64_t id)
{
    for (size_t i = 0; i < p->seen_count; i++) {
        if (p->seen[i].id == id) {
            return p->seen[i].alive_since_us;
        }
    }
    return 0;
}

static void view_member(const struct raft_actor *a, uint64_t id, uint64_t now_us,
                        struct pilot_member *out)
{
    *out = (struct pilot_member){.id = id};
    if (id == a->own.member_id) {
        out->alive = true;
        out->caught_up = true;
        out->unfit = a->seen.may_not_vote || a->seen.disk_hangs;
        out->steady_us = now_us - a->pilot.led_since_us;
        return;
    }
    struct raft_progress progress;
    uint64_t heard_us = a->pilot.led_since_us;
    if (raft_progress_of(a->core, id, &progress)) {
        heard_us = progress.last_heard_us > heard_us ? progress.last_heard_us : heard_us;
        bool votes = configuration_is_voter(raft_configuration(a->core), id);
        out->alive = progress.last_heard_us != 0 && now_us - progress.last_heard_us < timeout_us(a);
        out->caught_up = votes ? !progress.probing && !progress.needs_snapshot : progress.caught_up;
        out->unfit = progress.may_not_vote || progress.disk_age_us >= timeout_us(a);
    }
    out->silent_us = out->alive ? 0 : now_us - heard_us;
    uint64_t since_us = alive_since(&a->pilot, id);
    out->steady_us = out->alive && since_us != 0 ? now_us - since_us : 0;
}

bool raft_pilot_settled(const struct raft_actor *a, const struct raft_status *status)
{
    return status->term_committed && status->transfer_target == 0 &&
           status->configuration_settled_index == status->configuration_index &&
           !configuration_is_joint(raft_configuration(a->core));
}

void raft_pilot_view(const struct raft_actor *a, uint64_t now_us, struct pilot_view *out)
{
    struct raft_status status;
    raft_status(a->core, &status);
    const struct configuration *c = raft_configuration(a->core);
    memset(out, 0, sizeof(*out));
    out->configuration = c;
    out->settled = raft_pilot_settled(a, &status);
    out->leader_id = a->own.member_id;
    out->settle_us = SETTLE_ELECTION_TIMEOUTS * timeout_us(a);
    out->stable_us = STABLE_ELECTION_TIMEOUTS * timeout_us(a);
    uint64_t since_us = a->pilot.changed_at_us > a->pilot.led_since_us ? a->pilot.changed_at_us
                                                                       : a->pilot.led_since_us;
    out->since_change_us = now_us - since_us;
    out->member_count = c->count;
    for (size_t i = 0; i < c->count; i++) {
        view_member(a, c->members[i].id, now_us, &out->members[i]);
    }
}

/* Since when each member has been heard without a break. */
static void remember_seen(struct raft_actor *a, const struct pilot_view *view, uint64_t now_us)
{
    struct pilot_seen next[MEMBERS_MAX] = {0};
    for (size_t i = 0; i < view->member_count; i++) {
        const struct pilot_member *m = &view->members[i];
        uint64_t since_us = alive_since(&a->pilot, m->id);
        next[i].id = m->id;
        next[i].alive_since_us = !m->alive ? 0 : since_us != 0 ? since_us : now_us;
    }
    memcpy(a->pilot.seen, next, view->member_count * sizeof(next[0]));
    a->pilot.seen_count = view->member_count;
}

void raft_pilot_flush(struct raft_actor *a, const struct raft_status *status, uint64_t now_us)
{
    struct raft_pilot *p = &a->pilot;
    bool leads = status->role == RAFT_LEADER;
    if (leads != p->leads) {
        memset(p, 0, sizeof(*p));
        p->leads = leads;
        p->led_since_us = now_us;
    }
    if (p->settled_index != status->configuration_settled_index) {
        p->settled_index = status->configuration_settled_index;
        p->changed_at_us = now_us;
    }
}

static void say(const struct pilot_decision *before, const struct pilot_decision *now)
{
    if (before->action == now->action && strcmp(before->reason, now->reason) == 0) {
        return;
    }
    switch (now->action) {
    case PILOT_REST:
        log_event(LOG_INFO, "autopilot rests", "reason=\"all is as wished\"");
        break;
    case PILOT_WAIT:
        log_event(LOG_INFO, "autopilot waits", "reason=\"%s\"", now->reason);
        break;
    case PILOT_CHANGE:
        log_event(LOG_NOTICE, "autopilot changes the voters", "reason=\"%s\"", now->reason);
        break;
    }
}

static void change(struct raft_actor *a, struct pilot_decision *decision, uint64_t now_us)
{
    struct raft_event event = {.type = RAFT_EVENT_CHANGE_CONFIGURATION, .now_us = now_us};
    struct raft_status status;
    raft_status(a->core, &status);
    event.change.target = &decision->target;
    event.change.expected_index = status.configuration_index;
    raft_actor_step(a, &event);
    if (event.change.error != OK) {
        log_event(LOG_WARNING, "autopilot cannot change the voters", "reason=\"%s\"",
                  err_text(event.change.error));
        return;
    }
    memcpy(a->pilot.last_change, decision->reason, sizeof(a->pilot.last_change));
    a->pilot.last_change_us = now_us;
}

void raft_pilot_look(struct raft_actor *a, uint64_t now_us)
{
    if (!a->pilot.leads) {
        return;
    }
    struct pilot_view *view = mem_alloc(sizeof(*view));
    struct pilot_decision *decision = mem_zalloc(sizeof(*decision));
    raft_pilot_view(a, now_us, view);
    remember_seen(a, view, now_us);
    const struct cluster_wish *wish = &view->configuration->wish;
    const struct pilot_wish wished = {
        .voters = wish->voters,
        .heal_after_us = wish->heal_after_s == WISH_HEAL_NEVER
                             ? UINT64_MAX
                             : (uint64_t)wish->heal_after_s * 1000000,
        .paused = wish->paused,
    };
    if (view->configuration->count > 0) {
        pilot_decide(view, &wished, decision);
        say(&a->pilot.decision, decision);
        if (decision->action == PILOT_CHANGE) {
            change(a, decision, now_us);
        }
        a->pilot.decision = *decision;
    }
    mem_free(decision);
    mem_free(view);
}

void raft_pilot_report(const struct raft_actor *a, uint64_t now_us, struct cluster_report *out)
{
    memset(out, 0, sizeof(*out));
    out->leads = a->pilot.leads;
    if (!a->pilot.leads) {
        return;
    }
    struct pilot_view *view = mem_alloc(sizeof(*view));
    raft_pilot_view(a, now_us, view);
    out->action = a->pilot.decision.action;
    memcpy(out->reason, a->pilot.decision.reason, sizeof(out->reason));
    memcpy(out->last_change, a->pilot.last_change, sizeof(out->last_change));
    out->last_change_ago_us = a->pilot.last_change_us != 0 ? now_us - a->pilot.last_change_us : 0;
    out->member_count = view->member_count;
    size_t lasting = 0;
    for (size_t i = 0; i < view->member_count; i++) {
        struct raft_progress progress;
        out->members[i].seen = view->members[i];
        if (raft_progress_of(a->core, view->members[i].id, &progress)) {
            out->members[i].match_index = progress.match_index;
        } else if (view->members[i].id == a->own.member_id) {
            out->members[i].match_index = a->seen.last_log_index;
        }
        lasting += configuration_is_voter(view->configuration, view->members[i].id) ||
                   view->members[i].alive;
    }
    const struct pilot_wish wished = {.voters = view->configuration->wish.voters};
    out->voters_wanted = pilot_voters_wanted(&wished, lasting);
    mem_free(view);
}
