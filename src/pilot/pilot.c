/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pilot.c: see pilot.h. The order of looking: may anything be done at all; is a voter to be replaced; are
 * there too few voters; too many. The first that applies is the decision, so a heal goes before growth.
 */
#include "pilot.h"

#include <stdio.h>
#include <string.h>

/* A member with both its sides: what it is and what is seen of it. */
struct candidate {
    const struct member *member;
    const struct pilot_member *seen;
};

struct table {
    struct candidate items[MEMBERS_MAX]; /* in order of names */
    size_t count;
};

static const struct pilot_member *seen_of(const struct pilot_view *view, uint64_t id)
{
    for (size_t i = 0; i < view->member_count; i++) {
        if (view->members[i].id == id) {
            return &view->members[i];
        }
    }
    return NULL;
}

static void table_fill(struct table *t, const struct pilot_view *view)
{
    t->count = 0;
    for (size_t i = 0; i < view->configuration->count; i++) {
        struct candidate added = {.member = &view->configuration->members[i]};
        added.seen = seen_of(view, added.member->id);
        ASSERT(added.seen != NULL);
        size_t at = t->count++;
        while (at > 0 && strcmp(t->items[at - 1].member->name, added.member->name) > 0) {
            t->items[at] = t->items[at - 1];
            at--;
        }
        t->items[at] = added;
    }
}

static bool is_voter(const struct candidate *c)
{
    return c->member->voter_incoming;
}

/* It could vote at once: alive, sound, with the log. */
static bool is_sound(const struct candidate *c)
{
    return c->seen->alive && c->seen->caught_up && !c->seen->unfit;
}

static bool is_ready(const struct candidate *c, const struct pilot_view *view)
{
    return !is_voter(c) && is_sound(c) && !c->seen->retiring &&
           c->seen->steady_us >= view->stable_us;
}

static size_t voters_of(const struct table *t)
{
    size_t count = 0;
    for (size_t i = 0; i < t->count; i++) {
        count += is_voter(&t->items[i]);
    }
    return count;
}

/* ---- rule 2 and 3 ----------------------------------------------------------------------------------- */

static bool majority_alive(const struct table *t)
{
    size_t alive = 0;
    for (size_t i = 0; i < t->count; i++) {
        alive += is_voter(&t->items[i]) && t->items[i].seen->alive;
    }
    return 2 * alive > voters_of(t);
}

static bool target_is_sound(const struct table *t, const struct configuration *target)
{
    size_t voters = 0;
    size_t sound = 0;
    for (size_t i = 0; i < t->count; i++) {
        int at = configuration_find(target, t->items[i].member->id);
        ASSERT(at >= 0);
        if (target->members[at].voter_incoming) {
            voters++;
            sound += is_sound(&t->items[i]);
        }
    }
    return voters > 0 && 2 * sound > voters;
}

/* ---- choosing ---------------------------------------------------------------------------------------- */

static const struct candidate *ready_standby(const struct table *t, const struct pilot_view *view,
                                             size_t skip)
{
    for (size_t i = 0; i < t->count; i++) {
        if (is_ready(&t->items[i], view) && skip-- == 0) {
            return &t->items[i];
        }
    }
    return NULL;
}

/* The voter that is most in need of being replaced; NULL: none is. */
static const struct candidate *failed_voter(const struct table *t, const struct pilot_wish *wish)
{
    const struct candidate *worst = NULL;
    for (size_t i = 0; i < t->count; i++) {
        const struct candidate *c = &t->items[i];
        bool failed = !c->seen->alive && c->seen->silent_us >= wish->heal_after_us;
        if (is_voter(c) && (failed || c->seen->retiring) &&
            (worst == NULL || c->seen->silent_us > worst->seen->silent_us)) {
            worst = c;
        }
    }
    return worst;
}

/* The voter that is missed least: one that is silent or unfit, else the last by name, the leader last of all. */
static const struct candidate *spare_voter(const struct table *t, const struct pilot_view *view,
                                           const struct configuration *target)
{
    const struct candidate *best = NULL;
    int best_rank = 0;
    for (size_t i = 0; i < t->count; i++) {
        const struct candidate *c = &t->items[i];
        int at = configuration_find(target, c->member->id);
        if (!target->members[at].voter_incoming) {
            continue;
        }
        int rank = 1;
        if (!is_sound(c) || c->seen->retiring) {
            rank = 2;
        } else if (c->member->id == view->leader_id) {
            rank = 0;
        }
        if (best == NULL || rank >= best_rank) {
            best = c;
            best_rank = rank;
        }
    }
    return best;
}

static void set_voter(struct configuration *target, const struct candidate *c, bool votes)
{
    int at = configuration_find(target, c->member->id);
    ASSERT(at >= 0);
    target->members[at].voter_incoming = votes;
}

uint32_t pilot_voters_wanted(const struct pilot_wish *wish, size_t lasting_count)
{
    uint32_t wanted = wish->voters;
    if (wanted == PILOT_VOTERS_AUTO) {
        wanted = lasting_count >= 5 ? 5 : 3;
    }
    if (wanted > lasting_count) {
        wanted = lasting_count == 0 ? 1 : (uint32_t)((lasting_count - 1) / 2 * 2 + 1);
    }
    return wanted;
}

/* Members that are voters, or could become ones: what the number of voters is measured by. A silent voter
 * counts, or silence would shrink the quorum. */
static size_t lasting_of(const struct table *t, const struct pilot_view *view)
{
    size_t count = 0;
    for (size_t i = 0; i < t->count; i++) {
        count +=
            (is_voter(&t->items[i]) && !t->items[i].seen->retiring) || is_ready(&t->items[i], view);
    }
    return count;
}

/* ---- decisions --------------------------------------------------------------------------------------- */

static void wait_for(struct pilot_decision *out, const char *reason)
{
    out->action = PILOT_WAIT;
    (void)snprintf(out->reason, sizeof(out->reason), "%s", reason);
}

/* Carry it out if rule 3 holds, else wait. */
static void change_to(const struct table *t, struct pilot_decision *out)
{
    if (target_is_sound(t, &out->target)) {
        out->action = PILOT_CHANGE;
        return;
    }
    wait_for(out, "the voters after the change would not have a sound majority");
}

static void say_replace(struct pilot_decision *out, const struct candidate *failed,
                        const struct candidate *standby)
{
    if (failed->seen->alive) {
        (void)snprintf(out->reason, sizeof(out->reason), "replace %s (retiring) by %s",
                       failed->member->name, standby->member->name);
    } else {
        (void)snprintf(out->reason, sizeof(out->reason),
                       "replace %s (silent for %" PRIu64 " s) by %s", failed->member->name,
                       failed->seen->silent_us / 1000000, standby->member->name);
    }
}

static void heal(const struct table *t, const struct pilot_view *view,
                 const struct candidate *failed, struct pilot_decision *out)
{
    const struct candidate *standby = ready_standby(t, view, 0);
    if (standby == NULL) {
        out->action = PILOT_WAIT;
        (void)snprintf(out->reason, sizeof(out->reason),
                       "%s should be replaced, but no standby is alive, caught up and sound",
                       failed->member->name);
        return;
    }
    set_voter(&out->target, failed, false);
    set_voter(&out->target, standby, true);
    say_replace(out, failed, standby);
    change_to(t, out);
}

static void grow(const struct table *t, const struct pilot_view *view, size_t voters,
                 uint32_t wanted, struct pilot_decision *out)
{
    for (size_t i = 0; i < wanted - voters; i++) {
        const struct candidate *standby = ready_standby(t, view, i);
        ASSERT(standby != NULL); /* wanted <= voters + ready ones */
        set_voter(&out->target, standby, true);
    }
    (void)snprintf(out->reason, sizeof(out->reason), "grow from %zu voters to %" PRIu32, voters,
                   wanted);
    change_to(t, out);
}

static void shrink(const struct table *t, const struct pilot_view *view, size_t voters,
                   uint32_t wanted, struct pilot_decision *out)
{
    for (size_t i = 0; i < voters - wanted; i++) {
        set_voter(&out->target, spare_voter(t, view, &out->target), false);
    }
    (void)snprintf(out->reason, sizeof(out->reason), "shrink from %zu voters to %" PRIu32, voters,
                   wanted);
    change_to(t, out);
}

void pilot_decide(const struct pilot_view *view, const struct pilot_wish *wish,
                  struct pilot_decision *out)
{
    struct table t;
    *out = (struct pilot_decision){.action = PILOT_REST, .target = *view->configuration};
    table_fill(&t, view);
    size_t voters = voters_of(&t);
    uint32_t wanted = pilot_voters_wanted(wish, lasting_of(&t, view));
    const struct candidate *failed = failed_voter(&t, wish);

    /* An explicit smaller number shrinks; "auto" never does: it would follow every silence of a standby. */
    bool too_many = voters > wanted && wish->voters != PILOT_VOTERS_AUTO && voters > wish->voters;
    bool too_few = voters < wanted;
    if (failed == NULL && !too_many && !too_few) {
        return;
    }
    if (wish->paused) {
        wait_for(out, "paused");
    } else if (!view->settled) {
        wait_for(out, "a change of members is under way");
    } else if (view->since_change_us < view->settle_us) {
        wait_for(out, "the last change is too recent");
    } else if (!majority_alive(&t)) {
        wait_for(out, "no majority of the voters is alive");
    } else if (too_many) {
        shrink(&t, view, voters, wish->voters, out); /* takes silent voters first */
    } else if (failed != NULL) {
        heal(&t, view, failed, out);
    } else {
        grow(&t, view, voters, wanted, out);
    }
}
