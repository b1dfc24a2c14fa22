/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_resolve.c: shows, against a name server of its own on loopback, that lookups never wait, that
 * each one asks anew, that every way of failing is an answer with a reason, and that no descriptor
 * stays watched behind a lookup. (src/net/resolve.h)
 */
#include "net/resolve.h"
#include "name_server.h"
#include "suite.h"

#include <poll.h>

#define WATCHED_MAX 32

struct rig {
    struct resolver *resolver;
    struct name_server server;
    size_t watched_count;
    struct pollfd watched[WATCHED_MAX];
};

static void on_watch(void *context, int fd, bool fresh, bool readable, bool writable)
{
    struct rig *rig = context;
    size_t at = 0;
    while (at < rig->watched_count && rig->watched[at].fd != fd) {
        at++;
    }
    CU_ASSERT_EQUAL(fresh, at == rig->watched_count); /* as epoll_ctl wants to know */
    if (!readable && !writable) {
        CU_ASSERT_FATAL(at < rig->watched_count);
        rig->watched[at] = rig->watched[--rig->watched_count];
        return;
    }
    if (at == rig->watched_count) {
        CU_ASSERT_FATAL(at < WATCHED_MAX);
        rig->watched_count++;
    }
    rig->watched[at] = (struct pollfd){
        .fd = fd, .events = (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0))};
}

static void set_up(struct rig *rig, uint32_t timeout_ms, uint32_t tries)
{
    memset(rig, 0, sizeof(*rig));
    name_server_start(&rig->server);
    struct resolve_settings settings = {.watch = on_watch,
                                        .context = rig,
                                        .timeout_ms = timeout_ms,
                                        .tries = tries,
                                        .servers = rig->server.text};
    rig->resolver = resolve_create(&settings);
}

static void tear_down(struct rig *rig)
{
    resolve_destroy(&rig->resolver);
    CU_ASSERT_EQUAL(rig->watched_count, 0);
    name_server_end(&rig->server);
}

/* One round of the caller's loop: wait as long as the lookup wants to, then tell it what is ready. */
static void round_of(struct rig *rig)
{
    struct pollfd list[WATCHED_MAX + 1];
    size_t count = rig->watched_count;
    memcpy(list, rig->watched, count * sizeof(list[0]));
    list[count] = (struct pollfd){.fd = rig->server.fd, .events = POLLIN};
    uint64_t wait_us = resolve_wait_us(rig->resolver);
    CU_ASSERT_NOT_EQUAL(wait_us, UINT64_MAX);
    int ready = poll(list, count + 1, (int)(wait_us / 1000) + 1);
    CU_ASSERT_FATAL(ready >= 0);
    if ((list[count].revents & POLLIN) != 0) {
        name_server_answer(&rig->server);
    }
    for (size_t i = 0; i < count; i++) {
        if (list[i].revents != 0) {
            resolve_ready(rig->resolver, list[i].fd, (list[i].revents & ~POLLOUT) != 0,
                          (list[i].revents & POLLOUT) != 0);
        }
    }
    if (ready == 0) {
        resolve_tick(rig->resolver);
    }
}

static struct resolve_answer look_up(struct rig *rig, const char *host)
{
    struct resolve_answer answer;
    resolve_start(rig->resolver, host, 2380);
    while (!resolve_take(rig->resolver, &answer)) {
        round_of(rig);
    }
    CU_ASSERT_EQUAL(rig->watched_count, 0);
    CU_ASSERT_EQUAL(resolve_wait_us(rig->resolver), UINT64_MAX);
    return answer;
}

static bool has(const struct resolve_answer *answer, const char *expected)
{
    for (size_t i = 0; i < answer->count; i++) {
        char text[SOCKET_ADDRESS_TEXT_MAX + 1];
        socket_address_text(&answer->addresses[i], text, sizeof(text));
        if (strcmp(text, expected) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- tests -------------------------------------------------------------------------------------- */

/* Literals and /etc/hosts need no server: answered before resolve_start returns. */
static void answered_at_once(void)
{
    static const char *const hosts[] = {"192.0.2.5", "2001:db8::5", "::1", "localhost"};
    static const char *const expected[] = {"192.0.2.5:2380", "[2001:db8::5]:2380", "[::1]:2380",
                                           "127.0.0.1:2380"};
    struct rig rig;
    set_up(&rig, 1000, 2);
    for (size_t i = 0; i < ARRAY_COUNT(hosts); i++) {
        struct resolve_answer answer;
        resolve_start(rig.resolver, hosts[i], 2380);
        CU_ASSERT_TRUE_FATAL(resolve_take(rig.resolver, &answer));
        CU_ASSERT_EQUAL(answer.error, OK);
        CU_ASSERT_TRUE(has(&answer, expected[i]));
        CU_ASSERT_FALSE(resolve_take(rig.resolver, &answer)); /* once */
    }
    CU_ASSERT_EQUAL(rig.server.question_count, 0);
    tear_down(&rig);
}

static void name_to_both_families(void)
{
    struct rig rig;
    set_up(&rig, 5000, 2);
    struct resolve_answer answer = look_up(&rig, "n2.cluster.example");
    CU_ASSERT_EQUAL(answer.error, OK);
    CU_ASSERT_EQUAL(answer.count, 2);
    CU_ASSERT_TRUE(has(&answer, "127.0.0.7:2380"));
    CU_ASSERT_TRUE(has(&answer, "[::1]:2380"));
    tear_down(&rig);
}

/* No cache: after a fail-over the next dial gets the new address. */
static void every_lookup_asks_anew(void)
{
    struct rig rig;
    set_up(&rig, 5000, 2);
    for (uint8_t i = 0; i < 5; i++) {
        int before = rig.server.question_count;
        char expected[32];
        rig.server.last_octet = (uint8_t)(10 + i);
        snprintf(expected, sizeof(expected), "127.0.0.%d:2380", 10 + i);
        struct resolve_answer answer = look_up(&rig, "n2.cluster.example");
        CU_ASSERT_EQUAL(answer.error, OK);
        CU_ASSERT_TRUE(has(&answer, expected));
        CU_ASSERT_TRUE(rig.server.question_count > before);
    }
    tear_down(&rig);
}

static void too_many_addresses(void)
{
    struct rig rig;
    set_up(&rig, 5000, 2);
    rig.server.a_count = RESOLVE_ADDRESSES_MAX + 5;
    struct resolve_answer answer = look_up(&rig, "n2.cluster.example");
    CU_ASSERT_EQUAL(answer.error, OK);
    CU_ASSERT_EQUAL(answer.count, RESOLVE_ADDRESSES_MAX);
    tear_down(&rig);
}

static void no_such_name(void)
{
    struct rig rig;
    set_up(&rig, 5000, 2);
    rig.server.mood = NO_SUCH_NAME;
    struct resolve_answer answer = look_up(&rig, "nobody.cluster.example");
    CU_ASSERT_EQUAL(answer.error, ERR_ADDRESS);
    CU_ASSERT_EQUAL(answer.count, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(answer.reason);
    CU_ASSERT_TRUE(strlen(answer.reason) > 0);
    rig.server.mood = ANSWERS; /* and it can be there the next time */
    answer = look_up(&rig, "nobody.cluster.example");
    CU_ASSERT_EQUAL(answer.error, OK);
    tear_down(&rig);
}

/* A server that does not answer, or answers nonsense, ends in an answer all the same. */
static void useless_servers(void)
{
    static const enum name_server_mood moods[] = {SILENT, GARBAGE};
    for (size_t i = 0; i < ARRAY_COUNT(moods); i++) {
        struct rig rig;
        set_up(&rig, 10, 2);
        rig.server.mood = moods[i];
        struct resolve_answer answer = look_up(&rig, "n2.cluster.example");
        CU_ASSERT_EQUAL(answer.error, ERR_ADDRESS);
        CU_ASSERT_PTR_NOT_NULL(answer.reason);
        CU_ASSERT_TRUE(rig.server.question_count > 0);
        tear_down(&rig);
    }
}

static void cancel_and_destroy(void)
{
    struct rig rig;
    struct resolve_answer answer;
    set_up(&rig, 5000, 2);
    resolve_cancel(rig.resolver); /* nothing to cancel */
    rig.server.mood = SILENT;
    resolve_start(rig.resolver, "n2.cluster.example", 1);
    CU_ASSERT_TRUE(rig.watched_count > 0);
    CU_ASSERT_FALSE(resolve_take(rig.resolver, &answer));
    resolve_cancel(rig.resolver);
    CU_ASSERT_EQUAL(rig.watched_count, 0);
    CU_ASSERT_FALSE(resolve_take(rig.resolver, &answer));
    CU_ASSERT_EQUAL(resolve_wait_us(rig.resolver), UINT64_MAX);
    resolve_ready(rig.resolver, 0, true, true); /* late reports do no harm */
    resolve_tick(rig.resolver);
    rig.server.mood = ANSWERS;
    answer = look_up(&rig, "n2.cluster.example");
    CU_ASSERT_EQUAL(answer.error, OK);
    resolve_start(rig.resolver, "n3.cluster.example", 1);
    CU_ASSERT_TRUE(rig.watched_count > 0);
    tear_down(&rig); /* in the middle of it; asserts that nothing is watched */
}

static void bad_server_list(void)
{
    struct rig rig;
    set_up(&rig, 1000, 1);
    snprintf(rig.server.text, sizeof(rig.server.text), "not an address");
    struct resolve_answer answer;
    resolve_start(rig.resolver, "n2.cluster.example", 1);
    CU_ASSERT_TRUE_FATAL(resolve_take(rig.resolver, &answer));
    CU_ASSERT_EQUAL(answer.error, ERR_ADDRESS);
    CU_ASSERT_PTR_NOT_NULL(answer.reason);
    tear_down(&rig);
}

static struct resolve_services look_up_services(struct rig *rig)
{
    struct resolve_services services;
    struct resolve_answer none;
    resolve_start_services(rig->resolver, "_holdfast._tcp.cluster.example");
    while (!resolve_take_services(rig->resolver, &services)) {
        CU_ASSERT_FALSE(resolve_take(rig->resolver, &none)); /* nobody asked for an address */
        round_of(rig);
    }
    CU_ASSERT_EQUAL(rig->watched_count, 0);
    return services;
}

/* RFC 2782: lesser priority first; the root as a target, and port 0, mean that nobody is there. */
static void services_in_order(void)
{
    struct rig rig;
    set_up(&rig, 5000, 2);
    rig.server.service_count = 5;
    rig.server.services[0].octet = 'a', rig.server.services[0].port = 2380;
    rig.server.services[0].priority = 20;
    rig.server.services[1].octet = 'b', rig.server.services[1].port = 2381;
    rig.server.services[1].priority = 10, rig.server.services[1].weight = 1;
    rig.server.services[2].octet = 'c', rig.server.services[2].port = 2382;
    rig.server.services[2].priority = 10, rig.server.services[2].weight = 5;
    rig.server.services[3].octet = 0, rig.server.services[3].port = 2383;
    rig.server.services[4].octet = 'd', rig.server.services[4].port = 0;
    struct resolve_services services = look_up_services(&rig);
    CU_ASSERT_EQUAL(services.error, OK);
    CU_ASSERT_EQUAL_FATAL(services.count, 3);
    CU_ASSERT_STRING_EQUAL(services.items[0].host, "nc.t");
    CU_ASSERT_EQUAL(services.items[0].port, 2382);
    CU_ASSERT_STRING_EQUAL(services.items[1].host, "nb.t");
    CU_ASSERT_STRING_EQUAL(services.items[2].host, "na.t");
    tear_down(&rig);
}

static void too_many_services(void)
{
    struct rig rig;
    set_up(&rig, 5000, 2);
    rig.server.service_count = RESOLVE_SERVICES_MAX + 2; /* still one UDP answer */
    for (size_t i = 0; i < rig.server.service_count; i++) {
        rig.server.services[i].octet = (uint8_t)('a' + i), rig.server.services[i].port = 1;
    }
    struct resolve_services services = look_up_services(&rig);
    CU_ASSERT_EQUAL(services.error, OK);
    CU_ASSERT_EQUAL(services.count, RESOLVE_SERVICES_MAX);
    tear_down(&rig);
}

/* No record, no such name, no answer, nonsense: each is an answer with a reason. */
static void services_that_are_not_there(void)
{
    static const enum name_server_mood moods[] = {ANSWERS, NO_SUCH_NAME, SILENT, GARBAGE};
    for (size_t i = 0; i < ARRAY_COUNT(moods); i++) {
        struct rig rig;
        set_up(&rig, 10, 2);
        rig.server.mood = moods[i];
        struct resolve_services services = look_up_services(&rig);
        CU_ASSERT_EQUAL(services.error, ERR_ADDRESS);
        CU_ASSERT_EQUAL(services.count, 0);
        CU_ASSERT_PTR_NOT_NULL(services.reason);
        tear_down(&rig);
    }
}

static void destroy_of_nothing(void)
{
    struct resolver *none = NULL;
    resolve_destroy(&none);
    CU_ASSERT_PTR_NULL(none);
}

SUITE("resolve", TEST(answered_at_once), TEST(name_to_both_families), TEST(every_lookup_asks_anew),
      TEST(too_many_addresses), TEST(no_such_name), TEST(useless_servers), TEST(cancel_and_destroy),
      TEST(bad_server_list), TEST(services_in_order), TEST(too_many_services),
      TEST(services_that_are_not_there), TEST(destroy_of_nothing))
