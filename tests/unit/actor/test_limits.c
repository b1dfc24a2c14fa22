/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that the arithmetic of limits.c counts every bound of the configuration, that its sum is the sum
 * of its lines, that no accepted configuration overflows it, and what the daemon logs of it. design.md §2.
 */
#include "suite.h"

#include "actor/limits.h"
#include "base/config_internal.h"

#include <sys/resource.h>

static const struct limits_fixed fixed = {
    .logger_lines = 10,
    .watch_changes_bytes = 77,
    .keepalive_bytes = 99,
    .logger_line_bytes = 100,
    .peer_unsent_bytes = 1000,
    .peer_frame_bytes = 500,
    .connection_output_bytes = 50,
    .databases_descriptors = 7,
    .peer_slots = 5,
};

static void fill(struct config *c)
{
    *c = (struct config){
        .member_count = 3,
        .client_threads = 2,
        .client_connections_max = 20,
        .client_requests_in_flight_max = 30,
        .client_bytes_in_flight_max = 40000,
        .request_bytes_max = 2000,
        .raft = {.window_bytes = 5000,
                 .append_bytes_max = 600,
                 .cache_bytes_max = 70,
                 .uncommitted_bytes_max = 80000,
                 .apply_bytes_max = 9000},
        .watch = {.ring_bytes_max = 500, .bytes_max = 600, .response_bytes_max = 700},
        .kv = {.flush_bytes_max = 300, .overlay_bytes_max = 12000, .cache_bytes_max = 13},
    };
}

static uint64_t bytes_of(const struct limits *l, const char *holder)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(l->lines[i].holder, holder) == 0) {
            sum += l->lines[i].bytes;
        }
    }
    return sum;
}

static void each_holder_has_its_bounds(void)
{
    struct config c;
    struct limits l;
    fill(&c);
    limits_compute(&c, &fixed, &l);
    CU_ASSERT_EQUAL(bytes_of(&l, "client"), 40000 + 20 * 50 + 2 * 99);
    CU_ASSERT_EQUAL(bytes_of(&l, "watch"), 500 + 12000 + 77 + 9000 + 600 + 700);
    CU_ASSERT_EQUAL(bytes_of(&l, "raft"), 80000 + 70);
    CU_ASSERT_EQUAL(bytes_of(&l, "log"), 80000 + 600 + 2000 + 64);
    CU_ASSERT_EQUAL(bytes_of(&l, "peers"), 2 * (5000 + 600) + 2 * 1500 + 2 * 1000);
    CU_ASSERT_EQUAL(bytes_of(&l, "apply"), 9000 + 12000 + 13);
    CU_ASSERT_EQUAL(bytes_of(&l, "flush"), 2 * 2300);
    CU_ASSERT_EQUAL(bytes_of(&l, "logger"), 1000);
    CU_ASSERT_EQUAL(l.messages, 30 + 20 + 1 + 2 + 2 + 10);
    CU_ASSERT_EQUAL(l.descriptors, 20 + 2 * 8 + (10 + 2 + 5) * 3 + 7 + 64);
}

static void sum_is_that_of_the_lines(void)
{
    struct config c;
    struct limits l;
    fill(&c);
    limits_compute(&c, &fixed, &l);
    uint64_t bytes = 0, messages = 0;
    for (size_t i = 0; i < l.count; i++) {
        bytes += l.lines[i].bytes;
        messages += l.lines[i].messages;
    }
    CU_ASSERT_TRUE(l.count > 0);
    CU_ASSERT_EQUAL(l.bytes, bytes);
    CU_ASSERT_EQUAL(l.messages, messages);
}

static void single_node_has_no_peers(void)
{
    struct config c;
    struct limits l;
    fill(&c);
    c.member_count = 1;
    limits_compute(&c, &fixed, &l);
    CU_ASSERT_EQUAL(bytes_of(&l, "peers"), 0);
}

/* Every number of the configuration at its most; the asserts inside are the test. */
static void greatest_configuration_does_not_overflow(void)
{
    struct config c = {.member_count = MEMBERS_MAX};
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->type == CONFIG_U64) {
            memcpy((uint8_t *)&c + key->offset, &key->most, sizeof(uint64_t));
        } else if (key->type == CONFIG_U32) {
            uint32_t most = (uint32_t)key->most;
            memcpy((uint8_t *)&c + key->offset, &most, sizeof(most));
        }
    }
    struct limits l;
    limits_compute(&c, &fixed, &l);
    CU_ASSERT_TRUE(l.bytes >= c.client_bytes_in_flight_max);
    CU_ASSERT_TRUE(l.bytes < UINT64_C(1) << 48);
}

static struct {
    size_t infos, notices, warnings;
    char notice[256];
} seen;

static void count_lines(void *context, enum log_level level, const char *line, size_t size)
{
    UNUSED(context);
    seen.infos += level == LOG_INFO;
    seen.warnings += level == LOG_WARNING;
    if (level == LOG_NOTICE) {
        seen.notices++;
        snprintf(seen.notice, sizeof(seen.notice), "%.*s", (int)size, line);
    }
}

static void lines_sum_and_missing_descriptors_are_logged(void)
{
    struct config c;
    struct limits l;
    fill(&c);
    limits_compute(&c, &fixed, &l);
    memset(&seen, 0, sizeof(seen));
    log_set_sink(count_lines, NULL);
    limits_log(&l);
    struct rlimit open_files;
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &open_files), 0);
    CU_ASSERT_EQUAL(seen.infos, l.count);
    CU_ASSERT_EQUAL(seen.notices, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(seen.notice, "limits in sum bytes="));
    CU_ASSERT_EQUAL(seen.warnings, open_files.rlim_cur < l.descriptors);
    l.descriptors = UINT64_C(1) << 40; /* more than any process may */
    memset(&seen, 0, sizeof(seen));
    limits_log(&l);
    CU_ASSERT_EQUAL(seen.warnings, open_files.rlim_cur < l.descriptors);
    log_set_sink(NULL, NULL);
}

SUITE("actor limits", TEST(each_holder_has_its_bounds), TEST(sum_is_that_of_the_lines),
      TEST(single_node_has_no_peers), TEST(greatest_configuration_does_not_overflow),
      TEST(lines_sum_and_missing_descriptors_are_logged))
