/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_health.c: how the node is, for people, balancers and monitoring: /version, /health, /livez, /readyz, /metrics.
 * A check that needs a read is a call whose steps are those reads.
 */
#include "client_web.h"
#include "process_figures.h"

#include "../api/web_routes.h"

#include <stdio.h>
#include <string.h>

/* The key that health checks ask for; what it holds does not matter. */
#define HEALTH_KEY "health"

static void ask(struct client_actor *a, struct client_call *call, bool serializable)
{
    struct query query = {
        .key = view_of_text(HEALTH_KEY), .count_only = true, .serializable = serializable};
    call_query(a, call, &query);
}

/* ---- /health -------------------------------------------------------------------------------------- */

/* reason NULL: healthy. Counted as it is told. */
static void health_say(struct client_actor *a, const char *reason, char room[WEB_HEALTH_BODY_MAX],
                       struct web_answer *answer)
{
    *(reason == NULL ? &a->figures.healthy : &a->figures.unhealthy) += 1;
    web_health(reason, room, answer);
}

static void health_reply(struct client_actor *a, struct client_call *call,
                         const struct result *result)
{
    UNUSED(result);
    char room[WEB_HEALTH_BODY_MAX];
    struct web_answer answer;
    health_say(a, NULL, room, &answer);
    call_end(a, call);
    web_answer_call(a, call, &answer);
}

static void health_error(struct client_actor *a, struct rpc_error error,
                         char room[WEB_HEALTH_BODY_MAX], struct web_answer *answer)
{
    char reason[WEB_HEALTH_BODY_MAX / 2];
    (void)snprintf(reason, sizeof reason, "RANGE ERROR:%s", error.text);
    health_say(a, reason, room, answer);
}

static void health_fail(struct client_actor *a, struct client_call *call, struct rpc_error error)
{
    char room[WEB_HEALTH_BODY_MAX];
    struct web_answer answer;
    health_error(a, error, room, &answer);
    web_answer_call(a, call, &answer);
}

static const struct call_ops health_ops = {.reply = health_reply};
static const struct call_transport health_transport = {.fail = health_fail};

/* True if the query has name=value among its parts. */
static bool query_says(struct view query, const char *wanted, const char *as)
{
    struct view name;
    struct view value;
    bool has_value;
    while (web_query_next(&query, &name, &value, &has_value)) {
        if (view_equal(name, view_of_text(wanted)) && view_equal(value, view_of_text(as))) {
            return true;
        }
    }
    return false;
}

static void start_health(struct client_actor *a, const struct web_request *request)
{
    const struct call_request what = {
        .transport = &health_transport, .ops = &health_ops, .timeout_us = UINT64_MAX};
    bool serializable = query_says(request->target.query, "serializable", "true");
    char room[WEB_HEALTH_BODY_MAX];
    struct web_answer answer;
    struct rpc_error error;
    if (!a->stopping && !serializable && a->state.leader_id == 0) {
        health_say(a, "RAFT NO LEADER", room, &answer);
        web_answer_request(request, &answer);
        return;
    }
    struct client_call *call = web_admit(a, request, &what, NULL, &error);
    if (call == NULL) {
        health_error(a, error, room, &answer);
        web_answer_request(request, &answer);
        return;
    }
    ask(a, call, serializable);
}

/* ---- /livez and /readyz --------------------------------------------------------------------------- */

struct checks_carrier {
    struct web_carrier base;
    struct web_checks checks;
    size_t at; /* the check under way, or the next to make */
};

static void checks_answer(struct client_actor *a, struct client_call *call)
{
    struct checks_carrier *carrier = call->carrier;
    struct buffer room = {0};
    struct web_answer answer = web_checks_answer(&carrier->checks, &room);
    call_end(a, call);
    web_answer_call(a, call, &answer);
    buffer_free(&room);
}

/* A check that needs no read; what fails of it is noted. */
static void check_here(const struct client_actor *a, struct checks_carrier *carrier,
                       enum web_check check)
{
    if (check == WEB_CHECK_NON_LEARNER && a->state.configuration.count > 0 &&
        !configuration_is_voter(&a->state.configuration, a->state.member_id)) {
        (void)snprintf(carrier->checks.failure[check], sizeof carrier->checks.failure[0],
                       "this node has no vote");
    } /* WEB_CHECK_DATA_CORRUPTION: a node that finds any does not run (operations.md) */
}

static bool check_reads(enum web_check check)
{
    return check == WEB_CHECK_SERIALIZABLE_READ || check == WEB_CHECK_LINEARIZABLE_READ;
}

/* Make the checks from `at` on, until one needs a read or all are made. */
static void checks_go_on(struct client_actor *a, struct client_call *call)
{
    struct checks_carrier *carrier = call->carrier;
    for (; carrier->at < WEB_CHECK_COUNT; carrier->at++) {
        enum web_check check = (enum web_check)carrier->at;
        if (!carrier->checks.wanted[check]) {
            continue;
        }
        if (check_reads(check)) {
            ask(a, call, check == WEB_CHECK_SERIALIZABLE_READ);
            return;
        }
        check_here(a, carrier, check);
    }
    checks_answer(a, call);
}

static void checks_reply(struct client_actor *a, struct client_call *call,
                         const struct result *result)
{
    UNUSED(result);
    struct checks_carrier *carrier = call->carrier;
    carrier->at++;
    checks_go_on(a, call);
}

static void checks_refused(struct client_actor *a, struct client_call *call, enum err error)
{
    struct checks_carrier *carrier = call->carrier;
    (void)snprintf(carrier->checks.failure[carrier->at], sizeof carrier->checks.failure[0], "%s",
                   rpc_error_of(error).text);
    carrier->at++;
    checks_go_on(a, call);
}

/* Its time is up, or the node stops: the read under way has failed, and those not begun. What needs none is told. */
static void checks_fail(struct client_actor *a, struct client_call *call, struct rpc_error error)
{
    struct checks_carrier *carrier = call->carrier;
    struct buffer room = {0};
    for (; carrier->at < WEB_CHECK_COUNT; carrier->at++) {
        enum web_check check = (enum web_check)carrier->at;
        if (check_reads(check)) {
            (void)snprintf(carrier->checks.failure[check], sizeof carrier->checks.failure[0], "%s",
                           error.text);
        } else {
            check_here(a, carrier, check);
        }
    }
    struct web_answer answer = web_checks_answer(&carrier->checks, &room);
    web_answer_call(a, call, &answer);
    buffer_free(&room);
}

static void checks_release(struct client_call *call)
{
    mem_free(call->carrier);
}

static const struct call_ops checks_ops = {.reply = checks_reply, .refused = checks_refused};
static const struct call_transport checks_transport = {.fail = checks_fail,
                                                       .release = checks_release};

static void start_checks(struct client_actor *a, const struct web_request *request,
                         const struct web_checks *checks)
{
    const struct call_request what = {
        .transport = &checks_transport, .ops = &checks_ops, .timeout_us = UINT64_MAX};
    struct checks_carrier *carrier = mem_zalloc(sizeof *carrier);
    struct rpc_error error;
    carrier->checks = *checks;
    struct client_call *call = web_admit(a, request, &what, &carrier->base, &error);
    if (call == NULL) {
        mem_free(carrier);
        char text[160];
        (void)snprintf(text, sizeof text, "[-]%s\n", error.text);
        struct web_answer answer = web_text(503, text);
        web_answer_request(request, &answer);
        return;
    }
    checks_go_on(a, call);
}

/* ---- /metrics ------------------------------------------------------------------------------------- */

static void metrics_figures(struct client_actor *a, struct client_call *call,
                            const struct figures *figures)
{
    struct process_figures process;
    struct buffer text = {0};
    process_figures_read(&process);
    metrics_write(figures, &process, a->state.member_id, &text);
    if (!call_take_bytes(a, call, text.size)) {
        buffer_free(&text);
        call_fail_with(a, call, ERR_OVERLOAD);
        return;
    }
    struct web_answer answer = {
        .status = 200, .content_type = METRICS_TYPE, .body = view_of(text.data, text.size)};
    call_end(a, call);
    web_answer_call(a, call, &answer);
    buffer_free(&text);
}

static void metrics_fail(struct client_actor *a, struct client_call *call, struct rpc_error error)
{
    char line[160];
    (void)snprintf(line, sizeof line, "%s\n", error.text);
    struct web_answer answer = web_text(web_status_of_code(error.code), line);
    web_answer_call(a, call, &answer);
}

static const struct call_ops metrics_ops = {.figures = metrics_figures};
static const struct call_transport metrics_transport = {.fail = metrics_fail};

static void start_metrics(struct client_actor *a, const struct web_request *request)
{
    const struct call_request what = {
        .transport = &metrics_transport, .ops = &metrics_ops, .timeout_us = UINT64_MAX};
    struct rpc_error error;
    struct client_call *call = web_admit(a, request, &what, NULL, &error);
    if (call == NULL) {
        struct web_answer answer = web_text(web_status_of_code(error.code), error.text);
        web_answer_request(request, &answer);
        return;
    }
    call_figures(a, call);
}

/* ---- the door ------------------------------------------------------------------------------------- */

bool health_door(struct client_actor *a, const struct web_request *request)
{
    struct view path = request->target.path;
    bool is_version = view_equal(path, view_of_text("/version"));
    bool is_health = view_equal(path, view_of_text("/health"));
    bool is_metrics = view_equal(path, view_of_text("/metrics"));
    struct web_checks checks = {0};
    if (!is_version && !is_health && !is_metrics &&
        !web_checks_parse(path, request->target.query, &checks)) {
        return false;
    }
    if (!web_method_is(request, "GET") && !web_method_is(request, "HEAD")) {
        struct web_answer answer = web_not_allowed("GET");
        web_answer_request(request, &answer);
    } else if (is_version) {
        struct web_answer answer = web_version();
        web_answer_request(request, &answer);
    } else if (is_health) {
        start_health(a, request);
    } else if (is_metrics) {
        start_metrics(a, request);
    } else {
        start_checks(a, request, &checks);
    }
    return true;
}
