/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_recipes.h: what locks and elections are made of (client_recipes.c: waiting in line; client_election.c:
 * the rest). A *line* is all keys with one prefix, name + "/"; who has the lowest create revision is at its
 * head: holds the lock, is the leader.
 */
#ifndef HOLDFAST_CLIENT_RECIPES_H
#define HOLDFAST_CLIENT_RECIPES_H

#include "client_actor.h"

#define RECIPE_RETRY_US                                                                            \
    UINT64_C(250000) /* until a waiting call looks again after a passing trouble */

/* A line's prefix, and where it ends. */
struct line {
    struct bytes prefix, end;
};

/* Free with line_free. */
void line_of(struct view name, struct line *out);
void line_free(struct line *line);

/* The key of the line that came first, or, with max_create_revision, the last not above it. */
struct query line_first(const struct line *line);
struct query line_last_below(const struct line *line, int64_t max_create_revision);

/* if create_revision(key) == revision { op }, as a proposal. */
void recipe_propose_guarded(struct client_actor *a, struct client_call *call, struct view key,
                            int64_t create_revision, const struct txn_op *op);

/* The step failed for a reason that may pass: worth another look. */
bool recipe_may_pass(enum err error);

#endif
