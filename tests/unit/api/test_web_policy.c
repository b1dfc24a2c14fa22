/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_web_policy.c: which hosts are ours and which pages may come: attacks by name, and everyday requests.
 */
#include "base.h"
#include "suite.h"

#include "api/web_policy.h"

static const struct config config = {
    .listen_client = "listen-host:2379",
    .listen_peer = "0.0.0.0:2380",
    .member_count = 2,
    .members = {{.name = "n1", .peer = "peer1.example:2380", .client = "Client1.example:2379"},
                {.name = "n2", .peer = "10.0.0.2:2380", .client = "[fd00::2]:2379"}},
    .web_hosts = "lb.example.org, *.svc.cluster.local",
    .web_origins = "https://admin.example http://localhost:3000,null",
};

static bool host(const char *text)
{
    return web_host_allowed(&config, view_of_text(text));
}

static bool origin(const char *text)
{
    return web_origin_allowed(&config, view_of_text(text));
}

static void our_names_are_known(void)
{
    static const char *const good[] = {"",
                                       "localhost",
                                       "LOCALHOST:2379",
                                       "127.0.0.1:2379",
                                       "[::1]:2379",
                                       "1.2.3.4",
                                       "[fd00::2]:1",
                                       "listen-host",
                                       "client1.EXAMPLE:2379",
                                       "peer1.example",
                                       "n1:2379",
                                       "lb.example.org",
                                       "lb.example.org.:80",
                                       "etcd.svc.cluster.local",
                                       "[fe80::1%eth0]:1"};
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        CU_ASSERT_TRUE(host(good[i]));
        if (!host(good[i])) {
            (void)fprintf(stderr, "%s\n", good[i]);
        }
    }
}

/* DNS rebinding: a name of the attacker's that points at us. */
static void foreign_names_are_not(void)
{
    static const char *const bad[] = {"evil.example",
                                      "evil.example:2379",
                                      "localhost.evil.example",
                                      "127.0.0.1.evil.example",
                                      "xlb.example.org",
                                      ".svc.cluster.local",
                                      "svc.cluster.local",
                                      ":2379",
                                      "evilsvc.cluster.local",
                                      "n3",
                                      "[evil]:1",
                                      "lb.example.org.evil"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        CU_ASSERT_FALSE(host(bad[i]));
    }
    struct config all = config;
    memcpy(all.web_hosts, "*", 2);
    CU_ASSERT_TRUE(web_host_allowed(&all, view_of_text("evil.example")));
}

static void pages_are_told_apart(void)
{
    CU_ASSERT_TRUE(origin(""));
    CU_ASSERT_TRUE(origin("https://admin.example"));
    CU_ASSERT_TRUE(origin("http://localhost:3000"));
    CU_ASSERT_TRUE(origin("null"));
    static const char *const bad[] = {"http://admin.example",       "https://admin.example:444",
                                      "https://admin.example.evil", "http://localhost:2379",
                                      "http://localhost",           "https://evil.example"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        CU_ASSERT_FALSE(origin(bad[i]));
    }
    struct config none = config;
    none.web_origins[0] = 0;
    CU_ASSERT_FALSE(web_origin_allowed(&none, view_of_text("null")));
    struct config all = config;
    memcpy(all.web_origins, "*", 2);
    CU_ASSERT_TRUE(web_origin_allowed(&all, view_of_text("https://evil.example")));
}

static void loopback_is_known(void)
{
    CU_ASSERT_TRUE(web_is_loopback("127.0.0.1:1"));
    CU_ASSERT_TRUE(web_is_loopback("127.9.9.9:1"));
    CU_ASSERT_TRUE(web_is_loopback("localhost:1"));
    CU_ASSERT_TRUE(web_is_loopback("[::1]:1"));
    CU_ASSERT_FALSE(web_is_loopback("0.0.0.0:1"));
    CU_ASSERT_FALSE(web_is_loopback("[::]:1"));
    CU_ASSERT_FALSE(web_is_loopback("127.evil:1"));
    CU_ASSERT_FALSE(web_is_loopback("host:1"));
}

SUITE("api web policy", TEST(our_names_are_known), TEST(foreign_names_are_not),
      TEST(pages_are_told_apart), TEST(loopback_is_known))
