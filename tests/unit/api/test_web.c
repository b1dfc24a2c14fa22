/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_web.c: routes and bodies of the plain HTTP answers (sheet §5.1).
 */
#include "base.h"
#include "suite.h"

#include "api/version.h"
#include "api/web.h"

static enum web_kind route(const char *method, const char *target, struct web_answer *answer,
                           bool *local)
{
    *local = false;
    return web_route(method, view_of_text(target), answer, local);
}

static bool body_is(const struct web_answer *a, const char *expected)
{
    return view_equal(a->body, view_of_text(expected));
}

static void answers_version(void)
{
    struct web_answer a;
    bool local;
    CU_ASSERT_EQUAL(route("GET", "/version", &a, &local), WEB_ANSWER);
    CU_ASSERT_EQUAL(a.status, 200);
    CU_ASSERT_STRING_EQUAL(a.content_type, "application/json");
    CU_ASSERT_TRUE(body_is(&a, "{\"etcdserver\":\"" API_VERSION_SERVER
                               "\",\"etcdcluster\":\"3.6.0\",\"storage\":\"3.6.0\"}"));
    CU_ASSERT_EQUAL(route("GET", "/version?x", &a, &local), WEB_ANSWER);
    CU_ASSERT_EQUAL(a.status, 200);
}

static void routes_health(void)
{
    struct web_answer a;
    bool local;
    CU_ASSERT_EQUAL(route("GET", "/health", &a, &local), WEB_HEALTH);
    CU_ASSERT_FALSE(local);
    CU_ASSERT_EQUAL(route("GET", "/health?serializable=true", &a, &local), WEB_HEALTH);
    CU_ASSERT_TRUE(local);
    CU_ASSERT_EQUAL(route("GET", "/health?exclude=NOSPACE&serializable=true&x=", &a, &local),
                    WEB_HEALTH);
    CU_ASSERT_TRUE(local);
    CU_ASSERT_EQUAL(route("GET", "/health?serializable=false", &a, &local), WEB_HEALTH);
    CU_ASSERT_FALSE(local);
    CU_ASSERT_EQUAL(route("GET", "/health?xserializable=true&&", &a, &local), WEB_HEALTH);
    CU_ASSERT_FALSE(local);
}

static void refuses_the_rest(void)
{
    struct web_answer a;
    bool local;
    static const char *const methods[] = {"POST", "PUT", "HEAD", "DELETE"};
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
        CU_ASSERT_EQUAL(route(methods[i], "/health", &a, &local), WEB_ANSWER);
        CU_ASSERT_EQUAL(a.status, 405);
        CU_ASSERT_STRING_EQUAL(a.allow, "GET");
        CU_ASSERT_TRUE(body_is(&a, "Method Not Allowed\n"));
    }
    static const char *const targets[] = {"/", "",         "/healthy",          "/health/",
                                          "*", "/v2/keys", "?serializable=true"};
    for (size_t i = 0; i < ARRAY_COUNT(targets); i++) {
        CU_ASSERT_EQUAL(route("GET", targets[i], &a, &local), WEB_ANSWER);
        CU_ASSERT_EQUAL(a.status, 404);
        CU_ASSERT_TRUE(body_is(&a, "404 page not found\n"));
    }
    web_unsupported(&a);
    CU_ASSERT_EQUAL(a.status, 415);
}

static void says_how_it_is(void)
{
    struct web_answer a;
    char room[WEB_HEALTH_BODY_MAX];
    web_health(NULL, room, &a);
    CU_ASSERT_EQUAL(a.status, 200);
    CU_ASSERT_TRUE(body_is(&a, "{\"health\":\"true\",\"reason\":\"\"}"));
    web_health("RAFT NO LEADER", room, &a);
    CU_ASSERT_EQUAL(a.status, 503);
    CU_ASSERT_TRUE(body_is(&a, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}"));
}

SUITE("api web", TEST(answers_version), TEST(routes_health), TEST(refuses_the_rest),
      TEST(says_how_it_is))
