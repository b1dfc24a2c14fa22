/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web.c: see web.h.
 */
#include "web.h"

#include "version.h"

#include <stdio.h>
#include <string.h>

static const char plain[] = "text/plain; charset=utf-8";
static const char json[] = "application/json";

static bool view_is(struct view v, const char *text)
{
    return view_equal(v, view_of_text(text));
}

/* True if the query has name=value among its &-separated parts. */
static bool query_has(struct view query, const char *pair)
{
    struct view rest = query;
    while (rest.size > 0) {
        const uint8_t *end = memchr(rest.data, '&', rest.size);
        size_t size = end != NULL ? (size_t)(end - rest.data) : rest.size;
        if (view_is(view_of(rest.data, size), pair)) {
            return true;
        }
        size_t step = size < rest.size ? size + 1 : size;
        rest.data += step;
        rest.size -= step;
    }
    return false;
}

enum web_kind web_route(const char *method, struct view target, struct web_answer *answer,
                        bool *serializable)
{
    const uint8_t *mark = target.size > 0 ? memchr(target.data, '?', target.size) : NULL;
    struct view path = target;
    struct view query = {0};
    if (mark != NULL) {
        path.size = (size_t)(mark - target.data);
        query = view_of(mark + 1, target.size - path.size - 1);
    }
    bool is_version = view_is(path, "/version");
    bool is_health = view_is(path, "/health");
    if (!is_version && !is_health) {
        *answer = (struct web_answer){
            .status = 404, .content_type = plain, .body = view_of_text("404 page not found\n")};
        return WEB_ANSWER;
    }
    if (strcmp(method, "GET") != 0) {
        *answer = (struct web_answer){.status = 405,
                                      .content_type = plain,
                                      .allow = "GET",
                                      .body = view_of_text("Method Not Allowed\n")};
        return WEB_ANSWER;
    }
    if (is_health) {
        *serializable = query_has(query, "serializable=true");
        return WEB_HEALTH;
    }
    *answer =
        (struct web_answer){.status = 200,
                            .content_type = json,
                            .body = view_of_text("{\"etcdserver\":\"" API_VERSION_SERVER
                                                 "\",\"etcdcluster\":\"" API_VERSION_CLUSTER
                                                 "\",\"storage\":\"" API_VERSION_STORAGE "\"}")};
    return WEB_ANSWER;
}

void web_health(const char *reason, char room[WEB_HEALTH_BODY_MAX], struct web_answer *answer)
{
    int size = snprintf(room, WEB_HEALTH_BODY_MAX, "{\"health\":\"%s\",\"reason\":\"%s\"}",
                        reason == NULL ? "true" : "false", reason == NULL ? "" : reason);
    ASSERT(size > 0);
    ASSERT(size < WEB_HEALTH_BODY_MAX);
    *answer = (struct web_answer){.status = reason == NULL ? 200 : 503,
                                  .content_type = json,
                                  .body = view_of(room, (size_t)size)};
}

void web_unsupported(struct web_answer *answer)
{
    *answer = (struct web_answer){
        .status = 415, .content_type = plain, .body = view_of_text("415 unsupported media type\n")};
}
