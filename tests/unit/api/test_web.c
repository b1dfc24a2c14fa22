/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_web.c: /version, /health, /livez and /readyz as monitoring and etcd's clients expect them (sheet §5.1).
 */
#include "base.h"
#include "suite.h"

#include "api/version.h"
#include "api/web.h"

static bool body_is(const struct web_answer *a, const char *text)
{
    return view_equal(a->body, view_of_text(text));
}

/* Patroni splits both on dots and needs integers; keys in this order, no blanks. */
static void version_has_etcds_form(void)
{
    struct web_answer a = web_version();
    CU_ASSERT_EQUAL(a.status, 200);
    CU_ASSERT_STRING_EQUAL(a.content_type, "application/json");
    CU_ASSERT_TRUE(body_is(&a, "{\"etcdserver\":\"" API_VERSION_SERVER
                               "\",\"etcdcluster\":\"3.6.0\",\"storage\":\"3.6.0\"}"));
}

static void health_says_true_or_why_not(void)
{
    char room[WEB_HEALTH_BODY_MAX];
    struct web_answer a;
    web_health(NULL, room, &a);
    CU_ASSERT_EQUAL(a.status, 200);
    CU_ASSERT_TRUE(body_is(&a, "{\"health\":\"true\",\"reason\":\"\"}"));
    web_health("RAFT NO LEADER", room, &a);
    CU_ASSERT_EQUAL(a.status, 503);
    CU_ASSERT_TRUE(body_is(&a, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}"));
}

static void what_is_not_there_is_said(void)
{
    struct web_answer a = web_not_found();
    CU_ASSERT_EQUAL(a.status, 404);
    CU_ASSERT_TRUE(body_is(&a, "404 page not found\n"));
    a = web_not_allowed("GET");
    CU_ASSERT_EQUAL(a.status, 405);
    CU_ASSERT_EQUAL(a.header_count, 1);
    CU_ASSERT_STRING_EQUAL(a.headers[0].name, "allow");
    CU_ASSERT_TRUE(view_equal(a.headers[0].value, view_of_text("GET")));
}

/* "1010" = data_corruption and linearizable_read are wanted; NULL: no such path. */
static bool parses_to(const char *path, const char *query, const char *wanted)
{
    struct web_checks c = {0};
    bool found = web_checks_parse(view_of_text(path), view_of_text(query), &c);
    if (wanted == NULL || !found) {
        return !found && wanted == NULL;
    }
    for (size_t i = 0; i < WEB_CHECK_COUNT; i++) {
        if (c.wanted[i] != (wanted[i] == '1')) {
            return false;
        }
    }
    return true;
}

static void checks_are_chosen(void)
{
    CU_ASSERT_TRUE(parses_to("/livez", "", "0100"));
    CU_ASSERT_TRUE(parses_to("/readyz", "", "1111"));
    CU_ASSERT_TRUE(parses_to("/livez/serializable_read", "verbose", "0100"));
    CU_ASSERT_TRUE(parses_to("/readyz/non_learner", "", "0001"));
    CU_ASSERT_TRUE(
        parses_to("/readyz", "exclude=linearizable_read&verbose&exclude=non_learner", "1100"));
    CU_ASSERT_TRUE(parses_to("/livez/linearizable_read", "", NULL));
    CU_ASSERT_TRUE(parses_to("/readyz/", "", NULL));
    CU_ASSERT_TRUE(parses_to("/readyzx", "", NULL));
    CU_ASSERT_TRUE(parses_to("/kv/a", "", NULL));
}

static void checks_are_answered(void)
{
    struct buffer room = {0};
    struct web_checks c = {0};
    CU_ASSERT_TRUE(web_checks_parse(view_of_text("/readyz"), view_of_text(""), &c));
    struct web_answer a = web_checks_answer(&c, &room);
    CU_ASSERT_EQUAL(a.status, 200);
    CU_ASSERT_TRUE(body_is(&a, "ok\n"));
    room.size = 0;
    c.verbose = true;
    a = web_checks_answer(&c, &room);
    CU_ASSERT_TRUE(body_is(&a, "[+]data_corruption ok\n[+]serializable_read ok\n"
                               "[+]linearizable_read ok\n[+]non_learner ok\nok\n"));
    room.size = 0;
    c.verbose = false;
    c.wanted[WEB_CHECK_NON_LEARNER] = false;
    strcpy(c.failure[WEB_CHECK_LINEARIZABLE_READ], "etcdserver: no leader");
    a = web_checks_answer(&c, &room);
    CU_ASSERT_EQUAL(a.status, 503);
    CU_ASSERT_TRUE(body_is(&a, "[+]data_corruption ok\n[+]serializable_read ok\n"
                               "[-]linearizable_read failed: etcdserver: no leader\n"));
    buffer_free(&room);
}

SUITE("api web", TEST(version_has_etcds_form), TEST(health_says_true_or_why_not),
      TEST(what_is_not_there_is_said), TEST(checks_are_chosen), TEST(checks_are_answered))
