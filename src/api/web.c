/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web.c: see web.h.
 */
#include "web.h"

#include "version.h"
#include "web_target.h"

#include <stdio.h>
#include <string.h>

void web_add_header(struct web_answer *answer, const char *name, struct view value)
{
    ASSERT(answer->header_count < WEB_HEADERS_MAX);
    answer->headers[answer->header_count++] = (struct web_header){.name = name, .value = value};
}

struct web_answer web_text(int status, const char *text)
{
    return (struct web_answer){
        .status = status, .content_type = WEB_PLAIN, .body = view_of_text(text)};
}

struct web_answer web_not_found(void)
{
    return web_text(404, "404 page not found\n");
}

struct web_answer web_not_allowed(const char *allow)
{
    struct web_answer answer = web_text(405, "Method Not Allowed\n");
    web_add_header(&answer, "allow", view_of_text(allow));
    return answer;
}

struct web_answer web_version(void)
{
    return (struct web_answer){.status = 200,
                               .content_type = WEB_JSON,
                               .body = view_of_text("{\"etcdserver\":\"" API_VERSION_SERVER
                                                    "\",\"etcdcluster\":\"" API_VERSION_CLUSTER
                                                    "\",\"storage\":\"" API_VERSION_STORAGE "\"}")};
}

void web_health(const char *reason, char room[WEB_HEALTH_BODY_MAX], struct web_answer *answer)
{
    int size = snprintf(room, WEB_HEALTH_BODY_MAX, "{\"health\":\"%s\",\"reason\":\"%s\"}",
                        reason == NULL ? "true" : "false", reason == NULL ? "" : reason);
    ASSERT(size > 0);
    ASSERT(size < WEB_HEALTH_BODY_MAX);
    *answer = (struct web_answer){.status = reason == NULL ? 200 : 503,
                                  .content_type = WEB_JSON,
                                  .body = view_of(room, (size_t)size)};
}

/* ---- /livez and /readyz ------------------------------------------------------------------------------ */

static const char *const check_names[WEB_CHECK_COUNT] = {
    [WEB_CHECK_DATA_CORRUPTION] = "data_corruption",
    [WEB_CHECK_SERIALIZABLE_READ] = "serializable_read",
    [WEB_CHECK_LINEARIZABLE_READ] = "linearizable_read",
    [WEB_CHECK_NON_LEARNER] = "non_learner",
};

bool web_checks_parse(struct view path, struct view query, struct web_checks *out)
{
    struct web_checks checks = {0};
    bool ready = web_path_take(&path, "/readyz");
    if (!ready && !web_path_take(&path, "/livez")) {
        return false;
    }
    bool one = web_path_take(&path, "/");
    if (!one && path.size > 0) {
        return false;
    }
    bool found = !one;
    for (size_t i = 0; i < WEB_CHECK_COUNT; i++) {
        bool of_path = ready || i == WEB_CHECK_SERIALIZABLE_READ;
        checks.wanted[i] = of_path && (!one || view_equal(path, view_of_text(check_names[i])));
        found = found || checks.wanted[i];
    }
    struct view name;
    struct view value;
    bool has_value;
    while (web_query_next(&query, &name, &value, &has_value)) {
        if (view_equal(name, view_of_text("verbose"))) {
            checks.verbose = true;
        }
        for (size_t i = 0; i < WEB_CHECK_COUNT; i++) {
            if (view_equal(name, view_of_text("exclude")) &&
                view_equal(value, view_of_text(check_names[i]))) {
                checks.wanted[i] = false;
            }
        }
    }
    if (found) {
        *out = checks;
    }
    return found;
}

struct web_answer web_checks_answer(const struct web_checks *checks, struct buffer *room)
{
    char line[160];
    bool failed = false;
    for (size_t i = 0; i < WEB_CHECK_COUNT; i++) {
        failed = failed || (checks->wanted[i] && checks->failure[i][0] != 0);
    }
    for (size_t i = 0; i < WEB_CHECK_COUNT && (failed || checks->verbose); i++) {
        if (!checks->wanted[i]) {
            continue;
        }
        int size = checks->failure[i][0] != 0
                       ? snprintf(line, sizeof line, "[-]%s failed: %s\n", check_names[i],
                                  checks->failure[i])
                       : snprintf(line, sizeof line, "[+]%s ok\n", check_names[i]);
        ASSERT(size > 0 && (size_t)size < sizeof line);
        buffer_append(room, line, (size_t)size);
    }
    if (!failed) {
        buffer_append(room, "ok\n", 3);
    }
    return (struct web_answer){.status = failed ? 503 : 200,
                               .content_type = WEB_PLAIN,
                               .body = view_of(room->data, room->size)};
}
