/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows what config.h promises: the sample in etc/ parses, the printed form parses back equal, every
 * key of the table is in the sample, and every kind of mistake is refused with file and line and a
 * word on what was expected. style.md, "Config".
 */
#include "suite.h"

#include "config.h"
#include "message.h"
#include "base/config_internal.h"
#include "base/config_table.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(CONFIG_CLIENT_THREADS_MAX == CLIENTS_MAX, "a request's number names its client");

#define SAMPLE_PATH "etc/holdfast.conf"

#define HEAD                                                                                       \
    "cluster = \"demo\";\n"               /* 1 */                                                  \
    "node = \"b\";\n"                     /* 2 */                                                  \
    "data_dir = \"data/b\";\n"            /* 3 */                                                  \
    "listen_client = \"0.0.0.0:2379\";\n" /* 4 */                                                  \
    "listen_peer = \"[::]:2380\";\n"      /* 5 */
#define MEMBERS                                                                                    \
    "members = (\n"                                                           /* 6 */              \
    " { name = \"a\"; peer = \"host-a:2380\"; client = \"host-a:2379\"; },\n" /* 7 */              \
    " { name = \"b\"; peer = \"[::1]:2380\"; client = \"10.0.0.2:2379\"; }\n" /* 8 */              \
    ");\n"                                                                    /* 9 */

static char path[] = "/tmp/holdfast-test-config-XXXXXX";
static char problem[512];

/* Load `text` as a file. */
static enum err load(const char *text, struct config *out)
{
    snprintf(path, sizeof(path), "/tmp/holdfast-test-config-XXXXXX");
    int fd = mkstemp(path);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    problem[0] = '\0';
    enum err error = config_load(path, out, problem, sizeof(problem));
    unlink(path);
    return error;
}

/* Is it refused at that line, with these words in what is said? */
static bool refused(const char *text, unsigned line, const char *words)
{
    struct config untouched, c;
    memset(&untouched, 0x5a, sizeof(untouched));
    memcpy(&c, &untouched, sizeof(c));
    enum err error = load(text, &c);
    char place[128];
    snprintf(place, sizeof(place), "%s:%u: ", path, line);
    bool good = error == ERR_CONFIG && strncmp(problem, place, strlen(place)) == 0 &&
                strstr(problem, words) != NULL && strstr(problem, "; expected ") != NULL &&
                memcmp(&c, &untouched, sizeof(c)) == 0;
    if (!good) {
        fprintf(stderr, "\n  error %d line %u words \"%s\": %s\n", (int)error, line, words,
                problem);
    }
    return good;
}

static void least_file_gets_the_defaults(void)
{
    struct config c;
    CU_ASSERT_EQUAL_FATAL(load(HEAD MEMBERS, &c), OK);
    CU_ASSERT_STRING_EQUAL(c.cluster, "demo");
    CU_ASSERT_STRING_EQUAL(c.node, "b");
    CU_ASSERT_STRING_EQUAL(c.data_dir, "data/b");
    CU_ASSERT_STRING_EQUAL(c.listen_client, "0.0.0.0:2379");
    CU_ASSERT_STRING_EQUAL(c.listen_peer, "[::]:2380");
    CU_ASSERT_EQUAL(c.member_count, 2);
    CU_ASSERT_EQUAL(c.node_index, 1);
    CU_ASSERT_STRING_EQUAL(c.members[0].name, "a");
    CU_ASSERT_STRING_EQUAL(c.members[0].peer, "host-a:2380");
    CU_ASSERT_STRING_EQUAL(c.members[0].client, "host-a:2379");
    CU_ASSERT_STRING_EQUAL(c.members[1].peer, "[::1]:2380");
    CU_ASSERT_EQUAL(c.log_level, LOG_INFO);
    CU_ASSERT_EQUAL(c.raft.election_timeout_ms, 1000);
    CU_ASSERT_EQUAL(c.raft.heartbeat_ms, 100);
    CU_ASSERT_EQUAL(c.raft.window_bytes, 4 << 20);
    CU_ASSERT_EQUAL(c.raft.append_bytes_max, 1 << 20);
    CU_ASSERT_EQUAL(c.raft.cache_bytes_max, 8 << 20);
    CU_ASSERT_EQUAL(c.raft.uncommitted_bytes_max, 64 << 20);
    CU_ASSERT_EQUAL(c.raft.apply_bytes_max, 16 << 20);
    CU_ASSERT_EQUAL(c.raft.disk_stall_ms, 1500);
    CU_ASSERT_EQUAL(c.kv.flush_changes_max, 20000);
    CU_ASSERT_EQUAL(c.kv.flush_interval_ms, 500);
    CU_ASSERT_EQUAL(c.kv.flush_bytes_max, 16 << 20);
    CU_ASSERT_EQUAL(c.kv.overlay_bytes_max, 64 << 20);
    CU_ASSERT_EQUAL(c.kv.cache_bytes_max, 8 << 20);
    CU_ASSERT_EQUAL(c.store.reserve_bytes, 32 << 20);
    CU_ASSERT_EQUAL(c.store.low_space_bytes, 128 << 20);
    CU_ASSERT_EQUAL(c.compaction.keep_s, 3600);
    CU_ASSERT_EQUAL(c.compaction.keep_revisions, 0);
    CU_ASSERT_EQUAL(c.client_threads, 2);
    CU_ASSERT_EQUAL(c.client_connections_max, 4096);
    CU_ASSERT_EQUAL(c.client_requests_in_flight_max, 65536);
    CU_ASSERT_EQUAL(c.client_streams_max, 65536);
    CU_ASSERT_EQUAL(c.client_txn_ops_max, 128);
    CU_ASSERT_EQUAL(c.client_streams_per_connection_max, 16384);
    CU_ASSERT_EQUAL(c.client_header_bytes_max, 32768);
    CU_ASSERT_EQUAL(c.client_idle_timeout_s, 7200);
    CU_ASSERT_EQUAL(c.client_bytes_in_flight_max, 256 << 20);
    CU_ASSERT_EQUAL(c.request_bytes_max, 1572864);
    CU_ASSERT_EQUAL(c.request_timeout_ms, 5000 + 2 * 1000);
    CU_ASSERT_STRING_EQUAL(c.web_hosts, "");
    CU_ASSERT_STRING_EQUAL(c.web_origins, "");
}

static void defaults_lie_in_their_own_range(void)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->type == CONFIG_U32 || key->type == CONFIG_U64 || key->type == CONFIG_LEVEL) {
            CU_ASSERT_TRUE(key->least <= key->fallback);
            CU_ASSERT_TRUE(key->fallback <= key->most);
        }
        if (key->type == CONFIG_U32) {
            CU_ASSERT_TRUE(key->most <= UINT32_MAX);
            CU_ASSERT_EQUAL(key->size, sizeof(uint32_t));
        } else if (key->type == CONFIG_U64) {
            CU_ASSERT_TRUE(key->most <= INT64_MAX);
            CU_ASSERT_EQUAL(key->size, sizeof(uint64_t));
        } else if (key->type == CONFIG_FLAG) {
            CU_ASSERT_EQUAL(key->size, sizeof(bool));
        } else if (key->type == CONFIG_VOTERS) {
            CU_ASSERT_EQUAL(key->size, sizeof(uint32_t));
        } else if (key->type != CONFIG_LEVEL) {
            CU_ASSERT_EQUAL(key->size, key->most + 1);
        }
    }
}

static void every_number_is_read_into_its_own_field(void)
{
    struct config c;
    CU_ASSERT_EQUAL_FATAL(
        load(
            HEAD MEMBERS
            "raft = { election_timeout_ms = 2001; heartbeat_ms = 101; window_bytes = 5000001;\n"
            "  append_bytes_max = 1000002; cache_bytes_max = 3; uncommitted_bytes_max = 70000004;\n"
            "  apply_bytes_max = 20000005; disk_stall_ms = 1777; };\n"
            "kv = { flush_changes_max = 6; flush_interval_ms = 17; flush_bytes_max = 1000008;\n"
            "  overlay_bytes_max = 20000009; cache_bytes_max = 10; };\n"
            "store = { reserve_bytes = 79; low_space_bytes = 80; };\n"
            "compaction = { keep_s = 77; keep_revisions = 78; };\n"
            "client = { threads = 11; connections_max = 12; requests_in_flight_max = 13;\n"
            "  streams_max = 18; txn_ops_max = 19; streams_per_connection_max = 20;\n"
            "  header_bytes_max = 2100; idle_timeout_s = 22;\n"
            "  bytes_in_flight_max = 20000014; "
            "request_bytes_max = 1515; "
            "request_timeout_ms = 16;\n"
            "}; log = { level = \"debug\"; };\n",
            &c),
        OK);
    CU_ASSERT_EQUAL(c.raft.election_timeout_ms, 2001);
    CU_ASSERT_EQUAL(c.raft.heartbeat_ms, 101);
    CU_ASSERT_EQUAL(c.raft.window_bytes, 5000001);
    CU_ASSERT_EQUAL(c.raft.append_bytes_max, 1000002);
    CU_ASSERT_EQUAL(c.raft.cache_bytes_max, 3);
    CU_ASSERT_EQUAL(c.raft.uncommitted_bytes_max, 70000004);
    CU_ASSERT_EQUAL(c.raft.apply_bytes_max, 20000005);
    CU_ASSERT_EQUAL(c.raft.disk_stall_ms, 1777);
    CU_ASSERT_EQUAL(c.kv.flush_changes_max, 6);
    CU_ASSERT_EQUAL(c.kv.flush_interval_ms, 17);
    CU_ASSERT_EQUAL(c.kv.flush_bytes_max, 1000008);
    CU_ASSERT_EQUAL(c.kv.overlay_bytes_max, 20000009);
    CU_ASSERT_EQUAL(c.kv.cache_bytes_max, 10);
    CU_ASSERT_EQUAL(c.store.reserve_bytes, 79);
    CU_ASSERT_EQUAL(c.store.low_space_bytes, 80);
    CU_ASSERT_EQUAL(c.compaction.keep_s, 77);
    CU_ASSERT_EQUAL(c.compaction.keep_revisions, 78);
    CU_ASSERT_EQUAL(c.client_threads, 11);
    CU_ASSERT_EQUAL(c.client_connections_max, 12);
    CU_ASSERT_EQUAL(c.client_requests_in_flight_max, 13);
    CU_ASSERT_EQUAL(c.client_streams_max, 18);
    CU_ASSERT_EQUAL(c.client_txn_ops_max, 19);
    CU_ASSERT_EQUAL(c.client_streams_per_connection_max, 20);
    CU_ASSERT_EQUAL(c.client_header_bytes_max, 2100);
    CU_ASSERT_EQUAL(c.client_idle_timeout_s, 22);
    CU_ASSERT_EQUAL(c.client_bytes_in_flight_max, 20000014);
    CU_ASSERT_EQUAL(c.request_bytes_max, 1515);
    CU_ASSERT_EQUAL(c.request_timeout_ms, 16);
    CU_ASSERT_EQUAL(c.log_level, LOG_DEBUG);
}

/* libconfig 1.5 turns 5000000000 into 705032704 unless it ends in L; here both mean what they say. */
static void large_numbers_need_no_suffix(void)
{
    struct config c;
    CU_ASSERT_EQUAL_FATAL(load(HEAD MEMBERS "kv = { overlay_bytes_max = 5000000000; };", &c), OK);
    CU_ASSERT_EQUAL(c.kv.overlay_bytes_max, UINT64_C(5000000000));
    CU_ASSERT_EQUAL_FATAL(load(HEAD MEMBERS "kv = { overlay_bytes_max = 5000000000L; };", &c), OK);
    CU_ASSERT_EQUAL(c.kv.overlay_bytes_max, UINT64_C(5000000000));
    CU_ASSERT_EQUAL_FATAL(load(HEAD MEMBERS "kv = { overlay_bytes_max = 0x200000000; };", &c), OK);
    CU_ASSERT_EQUAL(c.kv.overlay_bytes_max, UINT64_C(0x200000000));
    CU_ASSERT_EQUAL_FATAL(load(HEAD MEMBERS "kv = { overlay_bytes_max = 0x8000000L; };", &c), OK);
    CU_ASSERT_EQUAL(c.kv.overlay_bytes_max, UINT64_C(0x8000000));
}

/* Digits in names, comments and texts are none of the numbers. */
static void comments_and_texts_keep_their_digits(void)
{
    struct config c;
    CU_ASSERT_EQUAL_FATAL(
        load("# 99999999999999999999 @include \"x\"\n"
             "// 5000000000\n/* 7 \" */ node = \"n1-2\"; cluster=\"0123456789\";\n"
             "data_dir = \"/a b/\\\"q\\\"/\\\\/99999999999999999999\";\n"
             "listen_client=\"h1:1\"; listen_peer=\"h1:2\";\n"
             "members = ({name=\"n1-2\";peer=\"h1:2\";client=\"h1:1\";});",
             &c),
        OK);
    CU_ASSERT_STRING_EQUAL(c.data_dir, "/a b/\"q\"/\\/99999999999999999999");
    CU_ASSERT_STRING_EQUAL(c.cluster, "0123456789");
}

/* ---- printed form and sample -------------------------------------------------------------------- */

static void check_prints_back(const struct config *c)
{
    struct buffer text = {0};
    config_print(c, &text);
    buffer_u8(&text, 0);
    struct config again;
    memset(&again, 0x5a, sizeof(again));
    enum err error = load((const char *)text.data, &again);
    CU_ASSERT_EQUAL(error, OK);
    if (error == OK) {
        CU_ASSERT_EQUAL(memcmp(c, &again, sizeof(again)), 0);
    } else {
        fprintf(stderr, "\n%s\n%s\n", problem, (const char *)text.data);
    }
    buffer_free(&text);
}

/* A list of words may be left out, empty, or full. */
static void words_are_read(void)
{
    struct config c;
    CU_ASSERT_EQUAL_FATAL(load(HEAD MEMBERS "web = { hosts = \"a.b, *.c\"; origins = \"\"; };", &c),
                          OK);
    CU_ASSERT_STRING_EQUAL(c.web_hosts, "a.b, *.c");
    CU_ASSERT_STRING_EQUAL(c.web_origins, "");
    check_prints_back(&c);
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "web = { hosts = \"a\\nb\"; };", 10, "web.hosts"));
    CU_ASSERT_TRUE(
        refused(HEAD MEMBERS "web = { origins = 7; };", 10, "web.origins is not a text"));
}

static void discovery_srv_is_the_name_of_a_service(void)
{
    static const char *const bad[] = {"example.org", "_holdfast.example.org", "_a._tcp.x _b._tcp.y",
                                      "_holdfast._tcp.example.org:1", "_holdfast._tcp.\\u00e9"};
    struct config c;
    CU_ASSERT_EQUAL_FATAL(load(HEAD MEMBERS "discovery_srv = \"_holdfast._tcp.example.org\";", &c),
                          OK);
    CU_ASSERT_STRING_EQUAL(c.discovery_srv, "_holdfast._tcp.example.org");
    check_prints_back(&c);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        char text[1024];
        snprintf(text, sizeof(text), HEAD MEMBERS "discovery_srv = \"%s\";", bad[i]);
        CU_ASSERT_TRUE(refused(text, 10, "is no name of SRV records"));
    }
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "discovery_srv = \"_a._b.c\"; bootstrap = true;", 10,
                           "bootstrap and discovery_srv are both given"));
}

static void printed_form_parses_back_equal(void)
{
    struct config c;
    CU_ASSERT_EQUAL_FATAL(load(HEAD MEMBERS, &c), OK);
    check_prints_back(&c);
    CU_ASSERT_EQUAL_FATAL(load(HEAD MEMBERS "kv = { overlay_bytes_max = 6000000000L; };"
                                            "log = { level = \"warning\"; };"
                                            "client = { request_timeout_ms = 12345; };",
                               &c),
                          OK);
    CU_ASSERT_EQUAL(c.request_timeout_ms, 12345);
    snprintf(c.data_dir, sizeof(c.data_dir), "%s", "/a \"b\"\\c # /* d");
    check_prints_back(&c);
}

static void printed_form_has_every_key(void)
{
    struct config c;
    CU_ASSERT_EQUAL_FATAL(load(HEAD MEMBERS, &c), OK);
    struct buffer text = {0};
    config_print(&c, &text);
    buffer_u8(&text, 0);
    for (size_t i = 0; i < config_key_count; i++) {
        char words[64];
        snprintf(words, sizeof(words), "%s = ", config_keys[i].key);
        CU_ASSERT_PTR_NOT_NULL(strstr((const char *)text.data, words));
    }
    buffer_free(&text);
}

static void sample_parses_and_names_every_key(void)
{
    struct config c, plain;
    enum err error = config_load(SAMPLE_PATH, &c, problem, sizeof(problem));
    CU_ASSERT_EQUAL(error, OK);
    if (error != OK) {
        fprintf(stderr, "\n%s\n", problem);
        return;
    }
    check_prints_back(&c);
    /* What it gives as values are the defaults. */
    CU_ASSERT_EQUAL_FATAL(load(HEAD MEMBERS, &plain), OK);
    CU_ASSERT_EQUAL(memcmp(&c.raft, &plain.raft, sizeof(c.raft)), 0);
    CU_ASSERT_EQUAL(memcmp(&c.kv, &plain.kv, sizeof(c.kv)), 0);
    CU_ASSERT_EQUAL(c.log_level, plain.log_level);
    CU_ASSERT_EQUAL(c.client_threads, plain.client_threads);
    CU_ASSERT_EQUAL(c.client_connections_max, plain.client_connections_max);
    CU_ASSERT_EQUAL(c.client_requests_in_flight_max, plain.client_requests_in_flight_max);
    CU_ASSERT_EQUAL(c.client_bytes_in_flight_max, plain.client_bytes_in_flight_max);
    CU_ASSERT_EQUAL(c.request_bytes_max, plain.request_bytes_max);
    CU_ASSERT_EQUAL(c.request_timeout_ms, plain.request_timeout_ms);

    FILE *file = fopen(SAMPLE_PATH, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    static char text[64 * 1024];
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    text[size] = '\0';
    fclose(file);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        char words[64];
        /* its group is open, and the key is set in it */
        snprintf(words, sizeof(words), "\n%s = ", key->group);
        const char *group = key->group[0] != '\0' ? strstr(text, words) : text;
        CU_ASSERT_PTR_NOT_NULL_FATAL(group);
        snprintf(words, sizeof(words), "%s = ", key->key);
        if (strstr(group, words) == NULL) {
            fprintf(stderr, "\n  the sample lacks %s.%s\n", key->group, key->key);
            CU_FAIL("every key is in the sample");
        }
    }
}

/* ---- refusals ----------------------------------------------------------------------------------- */

static void unreadable_file_is_an_io_error(void)
{
    struct config c;
    CU_ASSERT_EQUAL(config_load("/nonexistent/x.conf", &c, problem, sizeof(problem)), ERR_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(problem, "/nonexistent/x.conf:1: cannot be read: No such file"));
    CU_ASSERT_EQUAL(config_load("/tmp", &c, problem, sizeof(problem)), ERR_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(problem, "/tmp:1: cannot be read: Is a directory"));
}

static void problem_is_cut_to_its_room(void)
{
    char small[12];
    struct config c;
    memset(small, 'x', sizeof(small));
    CU_ASSERT_EQUAL(config_load("/nonexistent/x.conf", &c, small, sizeof(small)), ERR_IO);
    CU_ASSERT_EQUAL(small[sizeof(small) - 1], '\0');
}

static void the_wish_is_read_and_printed(void)
{
    struct config c;
    CU_ASSERT_EQUAL_FATAL(load(HEAD MEMBERS, &c), OK);
    CU_ASSERT_EQUAL(c.voters, CONFIG_VOTERS_LISTED);
    CU_ASSERT_EQUAL(c.heal_after_s, WISH_HEAL_AFTER_S);
    CU_ASSERT_FALSE(c.admit_declared);
    CU_ASSERT_EQUAL_FATAL(load(HEAD MEMBERS "membership = { voters = 5; heal_after_s = 0; "
                                            "admit = \"declared\"; };",
                               &c),
                          OK);
    CU_ASSERT_EQUAL(c.voters, 5);
    CU_ASSERT_EQUAL(c.heal_after_s, WISH_HEAL_NEVER);
    CU_ASSERT_TRUE(c.admit_declared);
    CU_ASSERT_EQUAL_FATAL(load(HEAD MEMBERS "membership = { voters = \"auto\"; };", &c), OK);
    CU_ASSERT_EQUAL(c.voters, WISH_VOTERS_AUTO);
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "membership = { voters = 4; };", 10, "membership.voters"));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "membership = { voters = 9; };", 10, "membership.voters"));
    CU_ASSERT_TRUE(
        refused(HEAD MEMBERS "membership = { voters = \"all\"; };", 10, "membership.voters"));
    CU_ASSERT_TRUE(
        refused(HEAD MEMBERS "membership = { admit = \"few\"; };", 10, "membership.admit"));
}

/* What no browser sends would turn everybody away without a word why. */
static void names_for_browsers_are_checked(void)
{
    struct config c;
    CU_ASSERT_EQUAL(load(HEAD MEMBERS
                         "web = { hosts = \"lb.example *.example.org, [::1]:99\"; origins = "
                         "\"https://a.example http://b:3000, null chrome-extension://x\"; };",
                         &c),
                    OK);
    CU_ASSERT_EQUAL(load(HEAD MEMBERS "web = { hosts = \"*\"; origins = \"*\"; };", &c), OK);
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "web = { origins = \"https://a b.example\"; };", 10,
                           "web.origins has \"b.example\""));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "web = { origins = \"https://a/\"; };", 10, "web.origins"));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "web = { origins = \"://a\"; };", 10, "web.origins"));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "web = { origins = \"http://\"; };", 10, "web.origins"));
    CU_ASSERT_TRUE(
        refused(HEAD MEMBERS "web = { hosts = \"http://lb.example\"; };", 10, "web.hosts has"));
}

static void syntax_is_refused(void)
{
    CU_ASSERT_TRUE(refused("a = 1;\nb = = 2;\n", 2, "syntax error"));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "node = \"b\";\n", 10, "duplicate setting"));
    CU_ASSERT_TRUE(refused("a = 1;\nb = \"open;\n\n", 2, "text is not closed"));
    CU_ASSERT_TRUE(refused("a = 1;\n\n/* open\n", 3, "comment is not closed"));
    CU_ASSERT_TRUE(refused(HEAD "@include \"more.conf\"\n", 6, "@include"));
    CU_ASSERT_TRUE(refused("a = 99999999999999999999;\n", 1, "too large"));
    CU_ASSERT_TRUE(refused("\na = 0xffffffffffffffffff;\n", 2, "too large"));
}

static void zero_octet_is_refused(void)
{
    static const char text[] = "cluster = \"x\";\n\0node = \"y\";\n";
    snprintf(path, sizeof(path), "/tmp/holdfast-test-config-XXXXXX");
    int fd = mkstemp(path);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, text, sizeof(text) - 1), (ssize_t)sizeof(text) - 1);
    struct config c;
    CU_ASSERT_EQUAL(config_load(path, &c, problem, sizeof(problem)), ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(problem, ":2: zero octet"));
    CU_ASSERT_EQUAL(ftruncate(fd, 2 * 1024 * 1024), 0);
    CU_ASSERT_EQUAL(config_load(path, &c, problem, sizeof(problem)), ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(problem, "file is too large"));
    close(fd);
    unlink(path);
}

static void unknown_keys_are_refused_at_every_depth(void)
{
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "colour = 1;\n", 10, "unknown key \"colour\""));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "raft = {\n election_timeout = 1000;\n};\n", 11,
                           "unknown key \"raft.election_timeout\""));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "kv = { raft = { }; };\n", 10, "unknown key \"kv.raft\""));
    CU_ASSERT_TRUE(refused(HEAD "members = (\n { name = \"b\"; peer = \"h:1\"; client = \"h:2\";\n"
                                "   weight = 2; }\n);\n",
                           8, "unknown key \"members.weight\""));
    /* and what is there instead is told */
    CU_ASSERT_PTR_NOT_NULL(strstr(problem, "expected one of name, peer, client"));
    CU_ASSERT_TRUE(refused("clusters = 1;\n", 1, "log"));
}

static void missing_keys_are_refused(void)
{
    CU_ASSERT_TRUE(refused("", 1, "cluster is missing"));
    CU_ASSERT_TRUE(refused("cluster = \"x\";\n", 1, "node is missing"));
    CU_ASSERT_TRUE(refused(HEAD, 1, "members is missing"));
    CU_ASSERT_TRUE(refused(HEAD "members = (\n { name = \"b\"; peer = \"h:1\"; }\n);\n", 7,
                           "members.client is missing"));
}

static void wrong_types_are_refused(void)
{
    CU_ASSERT_TRUE(refused("cluster = 5;\n", 1, "cluster is not a text"));
    CU_ASSERT_TRUE(refused(HEAD "members = 3;\n", 6, "members is not a list"));
    CU_ASSERT_TRUE(refused(HEAD "members = {\n};\n", 6, "members is not a list"));
    CU_ASSERT_TRUE(refused(HEAD "members = (\n \"a\",\n \"b\" );\n", 7, "a member is not a group"));
    CU_ASSERT_TRUE(refused(HEAD "members = ( );\n", 6, "members has 0"));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "\nraft = 5;\n", 11, "raft is not a group"));
    CU_ASSERT_TRUE(
        refused(HEAD MEMBERS "raft = { heartbeat_ms = \"100\"; };\n", 10, "not a whole number"));
    CU_ASSERT_TRUE(
        refused(HEAD MEMBERS "raft = { heartbeat_ms = 1.5; };\n", 10, "not a whole number"));
    CU_ASSERT_TRUE(
        refused(HEAD MEMBERS "raft = { heartbeat_ms = 1e3; };\n", 10, "not a whole number"));
    CU_ASSERT_TRUE(
        refused(HEAD MEMBERS "raft = { heartbeat_ms = true; };\n", 10, "not a whole number"));
    CU_ASSERT_TRUE(
        refused(HEAD MEMBERS "raft = { heartbeat_ms = { }; };\n", 10, "not a whole number"));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "log = { level = 3; };\n", 10, "log.level is no level"));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "log = { level = \"loud\"; };\n", 10, "\"warning\""));
}

/* Each number, one below and one above, by the table; at both ends themselves it is not this check
 * that refuses. */
#define ONE_NUMBER HEAD MEMBERS "%s = {\n\n %s = %lld;\n};\n"
static void numbers_out_of_range_are_refused(void)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->type != CONFIG_U32 && key->type != CONFIG_U64) {
            continue;
        }
        char text[2048], words[128];
        snprintf(words, sizeof(words), "%s.%s is ", key->group, key->key);
        snprintf(text, sizeof(text), ONE_NUMBER, key->group, key->key, (long long)key->least - 1);
        CU_ASSERT_TRUE(refused(text, 12, words));
        CU_ASSERT_PTR_NOT_NULL(strstr(problem, "out of range"));
        snprintf(text, sizeof(text), ONE_NUMBER, key->group, key->key, (long long)key->most + 1);
        CU_ASSERT_TRUE(refused(text, 12, words));
        CU_ASSERT_PTR_NOT_NULL(strstr(problem, "out of range"));

        struct config c;
        const uint64_t ends[] = {key->least, key->most};
        for (size_t k = 0; k < ARRAY_COUNT(ends); k++) {
            snprintf(text, sizeof(text), ONE_NUMBER, key->group, key->key, (long long)ends[k]);
            if (load(text, &c) != OK) {
                CU_ASSERT_PTR_NULL(strstr(problem, "out of range"));
            }
        }
    }
}

static void bad_names_are_refused(void)
{
    CU_ASSERT_TRUE(refused("cluster = \"\";\n", 1, "cluster is empty"));
    CU_ASSERT_TRUE(refused("cluster = \"a b\";\n", 1, "letters, digits"));
    CU_ASSERT_TRUE(refused("cluster = \"a/b\";\n", 1, "letters, digits"));
    CU_ASSERT_TRUE(refused("\ncluster = \"\xc3\xa4\";\n", 2, "letters, digits"));
    CU_ASSERT_TRUE(
        refused("cluster = \"0123456789012345678901234567890123456789012345678901234567890"
                "123\";\n",
                1, "has 64 octets"));
    CU_ASSERT_TRUE(
        refused("cluster = \"x\"; node = \"n\";\ndata_dir = \"\";\n", 2, "data_dir is empty"));
    CU_ASSERT_TRUE(refused("cluster = \"x\"; node = \"n\";\ndata_dir = \"a\\nb\";\n", 2,
                           "without control characters"));
}

static void bad_addresses_are_refused(void)
{
    static const char *const bad[] = {
        "",        "host",      "host:",    ":2379",      "host:0",     "host:65536",
        "host:-1", "host:http", "::1:2379", "[::1]",      "[::1]:",     "[host]:2379",
        "[:2379",  "a b:2379",  "h/x:2379", "host:2379 ", "host: 2379", "host:123456"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        char text[512];
        snprintf(text, sizeof(text),
                 "cluster = \"x\"; node = \"n\"; data_dir = \"d\";\n\nlisten_client = \"%s\";\n",
                 bad[i]);
        CU_ASSERT_TRUE(refused(text, 3, "listen_client"));
    }
}

static void relations_are_refused(void)
{
    CU_ASSERT_TRUE(refused("cluster = \"x\";\nnode = \"c\";\ndata_dir = \"d\";\nlisten_client = "
                           "\"h:1\";\nlisten_peer = \"h:2\";\n" MEMBERS,
                           2, "not among the members"));
    CU_ASSERT_TRUE(refused("cluster = \"x\";\nnode = \"b\";\ndata_dir = \"d\";\nlisten_client = "
                           "\"h:1\";\nlisten_peer = \"h:1\";\n" MEMBERS,
                           5, "listen_peer"));
    CU_ASSERT_TRUE(refused(HEAD
                           "members = (\n { name = \"b\"; peer = \"h:1\"; client = \"h:2\"; },\n"
                           " { name = \"b\"; peer = \"h:3\"; client = \"h:4\"; } );\n",
                           8, "is there twice"));
    CU_ASSERT_TRUE(refused(HEAD
                           "members = (\n { name = \"b\"; peer = \"h:1\"; client = \"h:2\"; },\n"
                           " { name = \"c\"; peer = \"h:1\"; client = \"h:4\"; } );\n",
                           8, "address \"h:1\""));
    CU_ASSERT_TRUE(refused(HEAD
                           "members = (\n { name = \"b\"; peer = \"h:1\"; client = \"h:2\"; },\n"
                           " { name = \"c\"; peer = \"h:2\"; client = \"h:4\"; } );\n",
                           8, "address \"h:2\""));
    CU_ASSERT_TRUE(refused(HEAD
                           "members = (\n { name = \"b\"; peer = \"h:1\"; client = \"h:1\"; });\n",
                           7, "expected two ports"));
    CU_ASSERT_TRUE(
        refused(HEAD "members = (\n { name = \"b\"; peer = \"0.0.0.0:1\"; client = \"h:1\"; });\n",
                7, "all interfaces"));
    CU_ASSERT_TRUE(
        refused(HEAD "members = (\n { name = \"b\"; peer = \"h:1\"; client = \"[::]:1\"; });\n", 7,
                "all interfaces"));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "raft = {\n election_timeout_ms = 499; };\n", 11,
                           "raft.election_timeout_ms is 499"));
    CU_ASSERT_TRUE(
        refused(HEAD MEMBERS "raft = {\n\n heartbeat_ms = 201; };\n", 12, "heartbeat of 201 ms"));
    struct config c;
    CU_ASSERT_EQUAL(load(HEAD MEMBERS "raft = { election_timeout_ms = 500; };\n", &c), OK);
}

static void sizes_that_contradict_are_refused(void)
{
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "raft = {\n window_bytes = 1000000; };\n", 11,
                           "raft.window_bytes is 1000000, below raft.append_bytes_max"));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "client = {\n request_bytes_max = 3000000; };\n"
                                        "raft = { uncommitted_bytes_max = 2999999; };\n",
                           12, "raft.uncommitted_bytes_max"));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "raft = { apply_bytes_max = 1572863; };\n", 10,
                           "raft.apply_bytes_max"));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "client = { bytes_in_flight_max = 1048576; };\n", 10,
                           "client.bytes_in_flight_max"));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "kv = { overlay_bytes_max = 16777215; };\n", 10,
                           "kv.overlay_bytes_max is 16777215, below kv.flush_bytes_max"));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "kv = { flush_bytes_max = 67108865; };\n", 10,
                           "below kv.flush_bytes_max"));
    CU_ASSERT_TRUE(refused(HEAD MEMBERS "kv = { flush_bytes_max = 65536;\n"
                                        "overlay_bytes_max = 1048576; };\n",
                           11, "below client.request_bytes_max"));
}

static void too_many_members_are_refused(void)
{
    struct buffer text = {0};
    struct config c;
    for (int count = MEMBERS_MAX; count <= MEMBERS_MAX + 1; count++) {
        text.size = 0;
        buffer_append(&text, HEAD, strlen(HEAD));
        buffer_append(&text, "members = (\n", 12);
        for (int i = 0; i < count; i++) {
            char member[128];
            int length = snprintf(member, sizeof(member),
                                  "%s{ name = \"%c\"; peer = \"h:%d\"; client = \"h:%d\"; }\n",
                                  i > 0 ? "," : "", 'a' + i, 1000 + i, 2000 + i);
            buffer_append(&text, member, (size_t)length);
        }
        buffer_append(&text, ");\n", 4);
        if (count <= MEMBERS_MAX) {
            CU_ASSERT_EQUAL(load((const char *)text.data, &c), OK);
            CU_ASSERT_EQUAL(c.member_count, MEMBERS_MAX);
        } else {
            CU_ASSERT_TRUE(refused((const char *)text.data, 6, "members has 17"));
        }
    }
    buffer_free(&text);
}

/* ---- addresses ---------------------------------------------------------------------------------- */

static void addresses_are_taken_apart(void)
{
    char host[MEMBER_ADDRESS_MAX + 1];
    uint16_t port = 0;
    CU_ASSERT_EQUAL(address_split("host.example:2379", host, sizeof(host), &port), OK);
    CU_ASSERT_STRING_EQUAL(host, "host.example");
    CU_ASSERT_EQUAL(port, 2379);
    CU_ASSERT_EQUAL(address_split("[fe80::1%eth0]:65535", host, sizeof(host), &port), OK);
    CU_ASSERT_STRING_EQUAL(host, "fe80::1%eth0");
    CU_ASSERT_EQUAL(port, 65535);
    CU_ASSERT_EQUAL(address_split("10.0.0.1:1", host, sizeof(host), &port), OK);
    CU_ASSERT_STRING_EQUAL(host, "10.0.0.1");
    /* untouched on failure; also when only the room is too small */
    CU_ASSERT_EQUAL(address_split("::1:80", host, sizeof(host), &port), ERR_ADDRESS);
    CU_ASSERT_EQUAL(address_split("10.0.0.1:80", host, 8, &port), ERR_ADDRESS);
    CU_ASSERT_EQUAL(address_split("10.0.0.1:80", host, 9, &port), OK);
    CU_ASSERT_EQUAL(address_split("[fe80::1%]:80", host, sizeof(host), &port), ERR_ADDRESS);
    CU_ASSERT_STRING_EQUAL(host, "10.0.0.1");
    CU_ASSERT_EQUAL(port, 80);
}

SUITE("base config", TEST(least_file_gets_the_defaults), TEST(defaults_lie_in_their_own_range),
      TEST(every_number_is_read_into_its_own_field), TEST(large_numbers_need_no_suffix),
      TEST(comments_and_texts_keep_their_digits), TEST(printed_form_parses_back_equal),
      TEST(printed_form_has_every_key), TEST(sample_parses_and_names_every_key),
      TEST(unreadable_file_is_an_io_error), TEST(problem_is_cut_to_its_room),
      TEST(the_wish_is_read_and_printed), TEST(names_for_browsers_are_checked),
      TEST(syntax_is_refused), TEST(zero_octet_is_refused),
      TEST(unknown_keys_are_refused_at_every_depth), TEST(missing_keys_are_refused),
      TEST(wrong_types_are_refused), TEST(numbers_out_of_range_are_refused),
      TEST(bad_names_are_refused), TEST(bad_addresses_are_refused), TEST(relations_are_refused),
      TEST(sizes_that_contradict_are_refused), TEST(too_many_members_are_refused),
      TEST(addresses_are_taken_apart), TEST(words_are_read),
      TEST(discovery_srv_is_the_name_of_a_service))
