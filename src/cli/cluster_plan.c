/* SPDX-License-Identifier: Apache-2.0 */
/* cluster_plan.c: see cluster_plan.h. */
#include "cluster_plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *cluster_role_text(Holdfast__V1__Role role)
{
    static const struct {
        Holdfast__V1__Role role;
        const char *text;
    } texts[] = {
        {HOLDFAST__V1__ROLE__ROLE_VOTER, "voter"},
        {HOLDFAST__V1__ROLE__ROLE_STANDBY, "standby"},
        {HOLDFAST__V1__ROLE__ROLE_JOINING, "becoming a voter"},
        {HOLDFAST__V1__ROLE__ROLE_LEAVING, "giving its vote up"},
        {HOLDFAST__V1__ROLE__ROLE_DECLARED, "declared, not come yet"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        if (texts[i].role == role) {
            return texts[i].text;
        }
    }
    return "unknown";
}

uint32_t cluster_plan_voters_declared(const struct config *declared)
{
    _Static_assert(WISH_VOTERS_AUTO == 0, "as the interface has it");
    return declared->voters;
}

const Holdfast__V1__Member *cluster_plan_member(const Holdfast__V1__GetClusterResponse *actual,
                                                const char *name)
{
    for (size_t i = 0; i < actual->n_members; i++) {
        const Holdfast__V1__Member *m = actual->members[i];
        if (m->role != HOLDFAST__V1__ROLE__ROLE_DECLARED && strcmp(m->name, name) == 0) {
            return m;
        }
    }
    return NULL;
}

size_t cluster_plan_voters(const Holdfast__V1__GetClusterResponse *actual)
{
    size_t count = 0;
    for (size_t i = 0; i < actual->n_members; i++) {
        count += actual->members[i]->role == HOLDFAST__V1__ROLE__ROLE_VOTER ||
                 actual->members[i]->role == HOLDFAST__V1__ROLE__ROLE_JOINING;
    }
    return count;
}

static void add(struct cluster_plan *plan, enum cluster_step_kind kind, uint64_t id,
                const char *name, const char *peer, const char *format, ...) PRINTF_LIKE(6, 7);

static void add(struct cluster_plan *plan, enum cluster_step_kind kind, uint64_t id,
                const char *name, const char *peer, const char *format, ...)
{
    if (plan->count == PLAN_STEPS_MAX) {
        return; /* the rest comes with the next plan */
    }
    struct cluster_step *step = &plan->steps[plan->count++];
    step->kind = kind;
    step->id = id;
    (void)snprintf(step->name, sizeof(step->name), "%s", name);
    (void)snprintf(step->peer, sizeof(step->peer), "%s", peer);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(step->text, sizeof(step->text), format, arguments); /* may be cut */
    va_end(arguments);
}

static const struct config_member *declared_name(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->member_count; i++) {
        if (strcmp(c->members[i].name, name) == 0) {
            return &c->members[i];
        }
    }
    return NULL;
}

/* Added by its address alone, not come yet. */
static const Holdfast__V1__Member *waited_for(const Holdfast__V1__GetClusterResponse *actual,
                                              const char *peer)
{
    for (size_t i = 0; i < actual->n_members; i++) {
        const Holdfast__V1__Member *m = actual->members[i];
        if (m->role == HOLDFAST__V1__ROLE__ROLE_DECLARED && strcmp(m->peer, peer) == 0) {
            return m;
        }
    }
    return NULL;
}

/* Somebody's vote is to go, so whoever could have it is worth waiting for. */
static bool a_voter_goes(const struct config *c, const Holdfast__V1__GetClusterResponse *actual)
{
    bool goes = false;
    for (size_t i = 0; i < actual->n_members; i++) {
        const Holdfast__V1__Member *m = actual->members[i];
        goes = goes || ((m->role == HOLDFAST__V1__ROLE__ROLE_VOTER ||
                         m->role == HOLDFAST__V1__ROLE__ROLE_JOINING) &&
                        declared_name(c, m->name) == NULL);
    }
    return goes;
}

static void plan_arrivals(const struct config *c, const Holdfast__V1__GetClusterResponse *actual,
                          struct cluster_plan *out)
{
    for (size_t i = 0; i < c->member_count; i++) {
        const struct config_member *d = &c->members[i];
        if (cluster_plan_member(actual, d->name) == NULL && waited_for(actual, d->peer) == NULL) {
            add(out, STEP_DECLARE, 0, d->name, d->peer, "add %s at %s as a standby", d->name,
                d->peer);
        }
    }
    for (size_t i = 0; i < c->member_count; i++) {
        const struct config_member *d = &c->members[i];
        const Holdfast__V1__Member *m = cluster_plan_member(actual, d->name);
        if (m == NULL) {
            add(out, STEP_JOIN, 0, d->name, d->peer,
                "wait until %s has joined and has the log (start holdfastd there with join = "
                "\"%s\")",
                d->name,
                actual->n_members > 0 && actual->members[0]->peer[0] != '\0'
                    ? actual->members[0]->peer
                    : "HOST:PORT");
        } else if (actual->from_leader && m->role == HOLDFAST__V1__ROLE__ROLE_STANDBY && m->alive &&
                   !m->caught_up && a_voter_goes(c, actual)) {
            add(out, STEP_JOIN, m->id, d->name, d->peer, "wait until %s has the log", d->name);
        } else if (strcmp(m->peer, d->peer) != 0) {
            add(out, STEP_UPDATE, m->id, d->name, d->peer,
                "change the peer address of %s from %s to %s", d->name, m->peer, d->peer);
        }
    }
}

static void plan_departures(const struct config *c, const Holdfast__V1__GetClusterResponse *actual,
                            struct cluster_plan *out)
{
    for (size_t i = 0; i < actual->n_members; i++) {
        const Holdfast__V1__Member *m = actual->members[i];
        bool come = m->role != HOLDFAST__V1__ROLE__ROLE_DECLARED;
        bool wanted = come && declared_name(c, m->name) != NULL;
        for (size_t k = 0; k < c->member_count && !come; k++) {
            wanted = wanted || strcmp(c->members[k].peer, m->peer) == 0;
        }
        if (wanted) {
            continue;
        }
        if (come && m->role != HOLDFAST__V1__ROLE__ROLE_STANDBY) {
            add(out, STEP_REPLACE, m->id, m->name, m->peer,
                "remove %s; a standby gets its vote if there is one", m->name);
        } else {
            add(out, STEP_REMOVE, m->id, m->name, m->peer, "remove %s (%s)",
                come ? m->name : m->peer, cluster_role_text(m->role));
        }
    }
}

static void plan_wish(const struct config *c, const Holdfast__V1__GetClusterResponse *actual,
                      struct cluster_plan *out)
{
    char from[16] = "auto", to[16] = "auto";
    uint32_t voters = cluster_plan_voters_declared(c);
    const Holdfast__V1__Wish *wish = actual->wish;
    if (wish == NULL || (wish->heal_after_s == c->heal_after_s &&
                         (c->voters == CONFIG_VOTERS_LISTED || wish->voters == voters))) {
        return;
    }
    if (wish->voters != 0) {
        (void)snprintf(from, sizeof(from), "%u", wish->voters);
    }
    if (c->voters == CONFIG_VOTERS_LISTED) {
        memcpy(to, from, sizeof(to));
    } else if (voters != 0) {
        (void)snprintf(to, sizeof(to), "%u", voters);
    }
    add(out, STEP_WISH, 0, "", "",
        "voters from %s to %s, replaced after a silence of %u s (now %u s; 0: never)", from, to,
        c->heal_after_s, wish->heal_after_s);
}

void cluster_plan_make(const struct config *declared,
                       const Holdfast__V1__GetClusterResponse *actual, struct cluster_plan *out)
{
    out->count = 0;
    plan_arrivals(declared, actual, out);
    bool grows = declared->voters != CONFIG_VOTERS_LISTED && actual->wish != NULL &&
                 cluster_plan_voters_declared(declared) > actual->wish->voters;
    if (grows) {
        plan_wish(declared, actual, out);
    }
    plan_departures(declared, actual, out);
    if (!grows) {
        plan_wish(declared, actual, out);
    }
    if (actual->wish != NULL && actual->wish->paused) {
        add(out, STEP_RESUME, 0, "", "", "let the autopilot go on");
    }
}
