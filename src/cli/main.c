/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c: holdfastctl, the everyday tool. Parses the command line (argp) into struct cli_arguments
 * and calls one command. The commands speak etcd's v3 API and work against any server of it.
 */
#include "cli.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *argp_program_version = "holdfastctl " HOLDFAST_VERSION;

#define TIMEOUT_MS_DEFAULT 10000
#define TIMEOUT_MS_MAX     (3600 * 1000)

enum option_key {
    OPTION_TIMEOUT = 256,
    OPTION_PREFIX,
    OPTION_FROM_KEY,
    OPTION_REV,
    OPTION_LIMIT,
    OPTION_KEYS_ONLY,
    OPTION_COUNT_ONLY,
    OPTION_SERIALIZABLE,
    OPTION_PREV_KV,
    OPTION_VALUE_ONLY,
    OPTION_ORDER,
    OPTION_SORT_BY,
    OPTION_LEASE,
    OPTION_IGNORE_VALUE,
    OPTION_IGNORE_LEASE,
    OPTION_CONNECTIONS,
    OPTION_STREAMS,
    OPTION_REQUESTS,
    OPTION_KEYS,
    OPTION_VALUE_SIZE,
    OPTION_SEED,
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "Connection and output:", 1},
    {"endpoints", 'e', "HOST:PORT,...", 0,
     "Nodes to ask, tried in this order (default: $HOLDFASTCTL_ENDPOINTS or 127.0.0.1:2379)", 1},
    {"output", 'o', "simple|json|table", 0, "How answers are printed (default: simple)", 1},
    {"timeout", OPTION_TIMEOUT, "TIME", 0, "For each try, e.g. 500ms or 5s (default: 10s)", 1},
    {NULL, 0, NULL, 0, "Which keys:", 2},
    {"prefix", OPTION_PREFIX, NULL, 0, "All keys that begin with KEY", 2},
    {"from-key", OPTION_FROM_KEY, NULL, 0, "All keys from KEY on", 2},
    {NULL, 0, NULL, 0, "Reading:", 3},
    {"rev", OPTION_REV, "REVISION", 0, "As of an earlier revision of the store", 3},
    {"limit", OPTION_LIMIT, "N", 0, "At most N keys", 3},
    {"keys-only", OPTION_KEYS_ONLY, NULL, 0, "Without values", 3},
    {"count-only", OPTION_COUNT_ONLY, NULL, 0, "Only how many", 3},
    {"value-only", OPTION_VALUE_ONLY, NULL, 0, "Print values without their keys", 3},
    {"serializable", OPTION_SERIALIZABLE, NULL, 0,
     "Answer from the asked node's own state at once: may be stale, needs no leader", 3},
    {"order", OPTION_ORDER, "ascend|descend", 0, "Order of the result", 3},
    {"sort-by", OPTION_SORT_BY, "key|version|create|modify|value", 0, "What the order goes by", 3},
    {NULL, 0, NULL, 0, "Writing:", 4},
    {"prev-kv", OPTION_PREV_KV, NULL, 0, "Print what was there before", 4},
    {"lease", OPTION_LEASE, "ID", 0, "Attach the key to a lease (hexadecimal)", 4},
    {"ignore-value", OPTION_IGNORE_VALUE, NULL, 0, "Keep the key's value", 4},
    {"ignore-lease", OPTION_IGNORE_LEASE, NULL, 0, "Keep the key's lease", 4},
    {NULL, 0, NULL, 0, "bench:", 5},
    {"connections", OPTION_CONNECTIONS, "N", 0, "Connections (default: 10)", 5},
    {"streams", OPTION_STREAMS, "N", 0, "Calls under way on each (default: 10)", 5},
    {"requests", OPTION_REQUESTS, "N", 0, "Calls in all (default: 100000)", 5},
    {"keys", OPTION_KEYS, "N", 0, "Random keys to draw from (default: 100000)", 5},
    {"value-size", OPTION_VALUE_SIZE, "OCTETS", 0, "Size of a value (default: 256)", 5},
    {"seed", OPTION_SEED, "N", 0, "Seed of the random keys (default: 1)", 5},
    {0},
};

static const char usage_text[] = "put KEY [VALUE]\n"
                                 "get KEY [RANGE_END]\n"
                                 "del KEY [RANGE_END]\n"
                                 "status\n"
                                 "member list\n"
                                 "bench put|get";

static const char doc[] =
    "Read and write a holdfast cluster (or any etcd v3 server), and look at its members.\v"
    "Exit codes: 0 done; 1 refused or failed; 2 get of one key that does not exist; 3 a write's "
    "outcome "
    "is unknown; 4 no endpoint answered; 64 usage.";

static bool parse_number(const char *text, int base, int64_t least, int64_t most, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, base);
    if (errno != 0 || end == text || *end != '\0' || value < least || value > most) {
        return false;
    }
    *out = value;
    return true;
}

static bool parse_count(const char *text, uint32_t *out)
{
    int64_t value = 0;
    if (!parse_number(text, 10, 0, UINT32_MAX, &value)) {
        return false;
    }
    *out = (uint32_t)value;
    return true;
}

static bool parse_timeout(const char *text, uint32_t *out_ms)
{
    char *end = NULL;
    double value = strtod(text, &end);
    double factor = 0;
    if (strcmp(end, "ms") == 0) {
        factor = 1;
    } else if (strcmp(end, "s") == 0 || *end == '\0') {
        factor = 1000;
    } else if (strcmp(end, "m") == 0) {
        factor = 60000;
    }
    double ms = value * factor;
    if (end == text || !(ms >= 1) || ms > TIMEOUT_MS_MAX) {
        return false;
    }
    *out_ms = (uint32_t)ms;
    return true;
}

/* Index of the word in a list that ends with NULL, or -1. */
static int parse_word(const char *text, const char *const *words)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(text, words[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static bool parse_endpoints(const char *text, struct cli_arguments *out)
{
    out->endpoint_count = 0;
    while (*text != '\0') {
        const char *http = "http://";
        if (strncmp(text, http, strlen(http)) == 0) {
            text += strlen(http);
        }
        size_t size = strcspn(text, ",");
        if (size == 0 || size > MEMBER_ADDRESS_MAX || out->endpoint_count == ENDPOINTS_MAX) {
            return false;
        }
        char *endpoint = out->endpoints[out->endpoint_count];
        memcpy(endpoint, text, size);
        endpoint[size] = '\0';
        char host[MEMBER_ADDRESS_MAX + 1];
        uint16_t port = 0;
        if (address_split(endpoint, host, sizeof(host), &port) != OK) {
            return false;
        }
        out->endpoint_count++;
        text += size;
        if (*text == ',') {
            text++;
        }
    }
    return out->endpoint_count > 0;
}

static bool parse_value(int key, const char *value, struct cli_arguments *a)
{
    static const char *const formats[] = {"simple", "json", "table", NULL};
    static const char *const orders[] = {"none", "ascend", "descend", NULL};
    static const char *const targets[] = {"key", "version", "create", "modify", "value", NULL};
    int word = 0;
    int64_t number = 0;
    switch (key) {
    case 'e':
        return parse_endpoints(value, a);
    case 'o':
        word = parse_word(value, formats);
        a->output = word < 0 ? OUTPUT_SIMPLE : (enum output_format)word;
        return word >= 0;
    case OPTION_TIMEOUT:
        return parse_timeout(value, &a->timeout_ms);
    case OPTION_REV:
        return parse_number(value, 10, 0, INT64_MAX, &a->revision);
    case OPTION_LIMIT:
        return parse_number(value, 10, 0, INT64_MAX, &a->limit);
    case OPTION_LEASE:
        return parse_number(value, 16, INT64_MIN, INT64_MAX, &a->lease);
    case OPTION_ORDER:
        return (a->sort_order = parse_word(value, orders)) >= 0;
    case OPTION_SORT_BY:
        return (a->sort_target = parse_word(value, targets)) >= 0;
    case OPTION_CONNECTIONS:
        return parse_count(value, &a->bench_connections);
    case OPTION_STREAMS:
        return parse_count(value, &a->bench_streams);
    case OPTION_KEYS:
        return parse_count(value, &a->bench_keys);
    case OPTION_VALUE_SIZE:
        return parse_count(value, &a->bench_value_bytes);
    case OPTION_REQUESTS:
        if (!parse_number(value, 10, 1, 1000000000, &number)) {
            return false;
        }
        a->bench_requests = (uint64_t)number;
        return true;
    case OPTION_SEED:
        if (!parse_number(value, 10, 0, INT64_MAX, &number)) {
            return false;
        }
        a->bench_seed = (uint64_t)number;
        return true;
    default:
        return false;
    }
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    struct cli_arguments *a = state->input;
    switch (key) {
    case OPTION_PREFIX:
        a->prefix = true;
        return 0;
    case OPTION_FROM_KEY:
        a->from_key = true;
        return 0;
    case OPTION_KEYS_ONLY:
        a->keys_only = true;
        return 0;
    case OPTION_COUNT_ONLY:
        a->count_only = true;
        return 0;
    case OPTION_SERIALIZABLE:
        a->serializable = true;
        return 0;
    case OPTION_PREV_KV:
        a->previous = true;
        return 0;
    case OPTION_VALUE_ONLY:
        a->value_only = true;
        return 0;
    case OPTION_IGNORE_VALUE:
        a->ignore_value = true;
        return 0;
    case OPTION_IGNORE_LEASE:
        a->ignore_lease = true;
        return 0;
    case ARGP_KEY_ARG:
        if (a->word_count == WORDS_MAX) {
            argp_error(state, "too many words from \"%s\" on", value);
            return EINVAL;
        }
        a->words[a->word_count++] = value;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_state_help(state, stderr, ARGP_HELP_STD_USAGE | ARGP_HELP_EXIT_ERR);
        return EINVAL;
    default:
        if (value == NULL) {
            return ARGP_ERR_UNKNOWN;
        }
        if (!parse_value(key, value, a)) {
            argp_error(state, "\"%s\" is no valid value for that option", value);
            return EINVAL;
        }
        return 0;
    }
}

static enum cli_exit run(const struct cli_arguments *a)
{
    const char *command = a->words[0];
    if (strcmp(command, "put") == 0) {
        return command_put(a);
    }
    if (strcmp(command, "get") == 0) {
        return command_get(a);
    }
    if (strcmp(command, "del") == 0) {
        return command_del(a);
    }
    if (strcmp(command, "status") == 0 && a->word_count == 1) {
        return command_status(a);
    }
    if (strcmp(command, "member") == 0 && a->word_count == 2 && strcmp(a->words[1], "list") == 0) {
        return command_member_list(a);
    }
    if (strcmp(command, "bench") == 0) {
        return command_bench(a);
    }
    fprintf(stderr,
            "holdfastctl: unknown command \"%s\"\n  commands: put get del status \"member list\" "
            "bench\n",
            command);
    return CLI_USAGE;
}

int main(int argc, char **argv)
{
    struct cli_arguments *arguments = mem_zalloc(sizeof(*arguments));
    arguments->timeout_ms = TIMEOUT_MS_DEFAULT;
    arguments->bench_connections = 10;
    arguments->bench_streams = 10;
    arguments->bench_requests = 100000;
    arguments->bench_keys = 100000;
    arguments->bench_value_bytes = 256;
    arguments->bench_seed = 1;
    const char *endpoints = getenv("HOLDFASTCTL_ENDPOINTS");
    if (!parse_endpoints(endpoints != NULL ? endpoints : "127.0.0.1:2379", arguments)) {
        fprintf(stderr, "holdfastctl: HOLDFASTCTL_ENDPOINTS is not a list of host:port\n");
        mem_free(arguments);
        return CLI_USAGE;
    }
    static const struct argp argp = {options, parse_option, usage_text, doc, NULL, NULL, NULL};
    argp_err_exit_status = CLI_USAGE;
    enum cli_exit code = CLI_USAGE;
    if (argp_parse(&argp, argc, argv, 0, NULL, arguments) == 0) {
        code = run(arguments);
    }
    if (fflush(stdout) != 0 && code == CLI_OK) {
        code = CLI_FAILED;
    }
    mem_free(arguments);
    return (int)code;
}
