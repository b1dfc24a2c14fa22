/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arguments.c: the command line (argp) and the environment into struct cli_arguments. What follows the
 * first "--" is a command of the user's own for `watch` and `lock`, and more words for all others.
 */
#include "cli.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *argp_program_version = "holdfastctl " HOLDFAST_VERSION;

const char *const cli_sort_orders[] = {"none", "ascend", "descend", NULL};
const char *const cli_sort_targets[] = {"key", "version", "create", "modify", "value", NULL};

#define TIMEOUT_MS_DEFAULT 10000
#define TIMEOUT_MS_MAX     (3600 * 1000)
#define TTL_S_DEFAULT      10
#define TTL_S_MAX          1000000000

enum option_key {
    OPTION_TIMEOUT = 256,
    OPTION_PREFIX,
    OPTION_FROM_KEY,
    OPTION_REV,
    OPTION_LIMIT,
    OPTION_KEYS_ONLY,
    OPTION_COUNT_ONLY,
    OPTION_SERIALIZABLE,
    OPTION_MAX_STALENESS,
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
    OPTION_MIN_MOD_REV,
    OPTION_MAX_MOD_REV,
    OPTION_MIN_CREATE_REV,
    OPTION_MAX_CREATE_REV,
    OPTION_PHYSICAL,
    OPTION_JSON,
    OPTION_FROM_NOW,
    OPTION_PROGRESS_NOTIFY,
    OPTION_EXEC,
    OPTION_NO_PUT,
    OPTION_NO_DELETE,
    OPTION_ONCE,
    OPTION_LEASE_KEYS,
    OPTION_LISTEN,
    OPTION_TTL,
    OPTION_WAIT,
    OPTION_PLAN,
    OPTION_FORCE,
    OPTION_RATE,
    OPTION_DURATION,
    OPTION_WARM_UP,
    OPTION_OPERATIONS,
    OPTION_WATCHERS,
    OPTION_HOLD,
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "Connection and output:", 1},
    {"endpoints", 'e', "HOST:PORT,...", 0,
     "Nodes to ask, tried in this order (default: $HOLDFASTCTL_ENDPOINTS or 127.0.0.1:2379)", 1},
    {"output", 'o', "simple|json|table", 0, "How answers are printed (default: simple)", 1},
    {"timeout", OPTION_TIMEOUT, "TIME", 0, "For each try, e.g. 500ms or 5s (default: 10s)", 1},
    {NULL, 0, NULL, 0, "Which keys (get, del, watch):", 2},
    {"prefix", OPTION_PREFIX, NULL, 0, "All keys that begin with KEY", 2},
    {"from-key", OPTION_FROM_KEY, NULL, 0, "All keys from KEY on", 2},
    {NULL, 0, NULL, 0, "get:", 3},
    {"rev", OPTION_REV, "REVISION", 0,
     "As of an earlier revision of the store; watch: history from it on; hash: of that revision",
     3},
    {"limit", OPTION_LIMIT, "N", 0, "At most N keys", 3},
    {"keys-only", OPTION_KEYS_ONLY, NULL, 0, "Without values", 3},
    {"count-only", OPTION_COUNT_ONLY, NULL, 0, "Only how many", 3},
    {"value-only", OPTION_VALUE_ONLY, NULL, 0, "Print values without their keys", 3},
    {"serializable", OPTION_SERIALIZABLE, NULL, 0,
     "Answer from the asked node's own state at once: may be stale, needs no leader", 3},
    {"max-staleness", OPTION_MAX_STALENESS, "TIME", 0,
     "Answer from the asked node's own state if that is surely not older, e.g. 500ms; else as "
     "usual",
     3},
    {"order", OPTION_ORDER, "ascend|descend", 0, "Order of the result", 3},
    {"sort-by", OPTION_SORT_BY, "key|version|create|modify|value", 0, "What the order goes by", 3},
    {"min-mod-rev", OPTION_MIN_MOD_REV, "REVISION", 0, "Only keys changed at it or later", 3},
    {"max-mod-rev", OPTION_MAX_MOD_REV, "REVISION", 0, "Only keys changed at it or earlier", 3},
    {"min-create-rev", OPTION_MIN_CREATE_REV, "REVISION", 0, "Only keys created at it or later", 3},
    {"max-create-rev", OPTION_MAX_CREATE_REV, "REVISION", 0, "Only keys created at it or earlier",
     3},
    {NULL, 0, NULL, 0, "put, del:", 4},
    {"prev-kv", OPTION_PREV_KV, NULL, 0, "Print what was there before (watch too)", 4},
    {"lease", OPTION_LEASE, "ID", 0, "Attach the key to a lease (hexadecimal)", 4},
    {"ignore-value", OPTION_IGNORE_VALUE, NULL, 0, "Keep the key's value", 4},
    {"ignore-lease", OPTION_IGNORE_LEASE, NULL, 0, "Keep the key's lease", 4},
    {NULL, 0, NULL, 0,
     "txn (read from standard input: comparisons, blank line, operations if they "
     "hold, blank line, operations if not, blank line):",
     5},
    {"json", OPTION_JSON, NULL, 0, "Read a TxnRequest as etcd's JSON instead (octets in base64)",
     5},
    {"interactive", 'i', NULL, 0, "Say what is asked for", 5},
    {NULL, 0, NULL, 0, "watch:", 6},
    {"from-now", OPTION_FROM_NOW, NULL, 0, "What happens from now on (the default without --rev)",
     6},
    {"progress-notify", OPTION_PROGRESS_NOTIFY, NULL, 0,
     "Also print how far the watch is when nothing happens", 6},
    {"no-put", OPTION_NO_PUT, NULL, 0, "Without puts", 6},
    {"no-delete", OPTION_NO_DELETE, NULL, 0, "Without deletes", 6},
    {"exec", OPTION_EXEC, NULL, 0, "Run what follows -- for every event", 6},
    {NULL, 0, NULL, 0, "lease, lock, elect:", 7},
    {"keys", OPTION_LEASE_KEYS, NULL, 0, "timetolive: also the keys attached", 7},
    {"once", OPTION_ONCE, NULL, 0, "keep-alive: renew once and end", 7},
    {"ttl", OPTION_TTL, "SECONDS", 0,
     "lock, elect: how long the hold lasts without a sign of life (default: 10)", 7},
    {"wait", OPTION_WAIT, "TIME", 0, "lock, elect: give up when it is not got by then", 7},
    {"listen", OPTION_LISTEN, NULL, 0, "elect: print every leader there is from now on", 7},
    {NULL, 0, NULL, 0, "compact:", 8},
    {"physical", OPTION_PHYSICAL, NULL, 0, "Wait until the history is really gone from the disk",
     8},
    {NULL, 0, NULL, 0, "recover (offline, on a survivor's machine):", 9},
    {"plan", OPTION_PLAN, NULL, 0,
     "Say what a cluster of this node alone would hold; change nothing", 9},
    {"force", OPTION_FORCE, NULL, 0, "Make it so", 9},
    {"file", 'f', "FILE", 0,
     "A node's configuration (recover: default /etc/holdfast/holdfast.conf; cluster plan, apply); "
     "bench: write each call's time and latency there",
     9},
    {NULL, 0, NULL, 0, "bench:", 10},
    {"connections", OPTION_CONNECTIONS, "N", 0, "Connections (default: 10)", 10},
    {"streams", OPTION_STREAMS, "N", 0, "Calls under way on each (default: 10)", 10},
    {"requests", OPTION_REQUESTS, "N", 0, "Calls in all (default: 100000)", 10},
    {"key-count", OPTION_KEYS, "N", 0, "Random keys to draw from (default: 100000)", 10},
    {"value-size", OPTION_VALUE_SIZE, "OCTETS", 0, "Size of a value (default: 256)", 10},
    {"seed", OPTION_SEED, "N", 0, "Seed of the random keys (default: 1)", 10},
    {"rate", OPTION_RATE, "N", 0,
     "Calls a second at fixed times, which their latency counts from (default: one after the "
     "other)",
     10},
    {"duration", OPTION_DURATION, "TIME", 0, "Go on for so long instead of for --requests", 10},
    {"warm-up", OPTION_WARM_UP, "TIME", 0, "Before anything is counted", 10},
    {"operations", OPTION_OPERATIONS, "N", 0, "txn: puts in one (default: 10)", 10},
    {"watchers", OPTION_WATCHERS, "N", 0,
     "watch: how many, each on a key of --key-count, or with --prefix on all (default: 10000)", 10},
    {"hold", OPTION_HOLD, NULL, 0, "watch: wait for a line on standard input before the first put",
     10},
    {0},
};

static const char usage_text[] = "put KEY [VALUE]\n"
                                 "get KEY [RANGE_END]\n"
                                 "del KEY [RANGE_END]\n"
                                 "txn [--json]\n"
                                 "watch KEY [RANGE_END] [-- COMMAND...]\n"
                                 "lease grant TTL [ID]\n"
                                 "lease revoke|timetolive|keep-alive ID\n"
                                 "lease list\n"
                                 "lock NAME [-- COMMAND...]\n"
                                 "elect NAME VALUE\n"
                                 "elect --listen NAME\n"
                                 "compact REVISION\n"
                                 "hash\n"
                                 "snapshot save|status FILE\n"
                                 "status\n"
                                 "member list\n"
                                 "cluster status|pause|resume\n"
                                 "cluster scale N|auto\n"
                                 "cluster replace NAME\n"
                                 "cluster plan|apply -f FILE\n"
                                 "recover --plan|--force [-f CONFIG]\n"
                                 "bench put|get|txn|swap|grant|keep-alive|watch";

static const char doc[] =
    "Read, write and watch a holdfast cluster (or any etcd v3 server), and look at its members.\v"
    "Exit codes: 0 done; 1 refused or failed; 2 no such key or lease, or the comparisons of a txn "
    "did "
    "not hold (its other branch ran); 3 a write's outcome is unknown; 4 no endpoint answered; 5 a "
    "lock, leadership or lease was lost while it was held; 64 usage. lock NAME -- COMMAND ends "
    "with "
    "the exit code of COMMAND (128 + N if signal N ended it).\n\n"
    "docs/holdfastctl.md has an example of each.";

bool cli_parse_number(const char *text, int64_t least, int64_t most, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < least || value > most) {
        return false;
    }
    *out = value;
    return true;
}

bool cli_parse_lease(const char *text, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 16); /* a negative id is printed so, too */
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || *text == ' ') {
        return false;
    }
    *out = (int64_t)value;
    return true;
}

static bool parse_count(const char *text, uint32_t *out)
{
    int64_t value = 0;
    if (!cli_parse_number(text, 0, UINT32_MAX, &value)) {
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

int cli_parse_word(const char *text, const char *const *words)
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
    int word = 0;
    int64_t number = 0;
    switch (key) {
    case 'e':
        return parse_endpoints(value, a);
    case 'o':
        word = cli_parse_word(value, formats);
        a->output = word < 0 ? OUTPUT_SIMPLE : (enum output_format)word;
        return word >= 0;
    case 'f':
        a->file = value;
        return value[0] != '\0';
    case OPTION_TIMEOUT:
        return parse_timeout(value, &a->timeout_ms);
    case OPTION_MAX_STALENESS:
        return parse_timeout(value, &a->max_staleness_ms);
    case OPTION_REV:
        return cli_parse_number(value, 0, INT64_MAX, &a->revision);
    case OPTION_LIMIT:
        return cli_parse_number(value, 0, INT64_MAX, &a->limit);
    case OPTION_MIN_MOD_REV:
        return cli_parse_number(value, 0, INT64_MAX, &a->min_mod_revision);
    case OPTION_MAX_MOD_REV:
        return cli_parse_number(value, 0, INT64_MAX, &a->max_mod_revision);
    case OPTION_MIN_CREATE_REV:
        return cli_parse_number(value, 0, INT64_MAX, &a->min_create_revision);
    case OPTION_MAX_CREATE_REV:
        return cli_parse_number(value, 0, INT64_MAX, &a->max_create_revision);
    case OPTION_WAIT:
        return parse_timeout(value, &a->wait_ms);
    case OPTION_TTL:
        if (!cli_parse_number(value, 1, TTL_S_MAX, &number)) {
            return false;
        }
        a->ttl_s = (uint32_t)number;
        return true;
    case OPTION_LEASE:
        return cli_parse_lease(value, &a->lease);
    case OPTION_ORDER:
        return (a->sort_order = cli_parse_word(value, cli_sort_orders)) >= 0;
    case OPTION_SORT_BY:
        return (a->sort_target = cli_parse_word(value, cli_sort_targets)) >= 0;
    case OPTION_CONNECTIONS:
        return parse_count(value, &a->bench_connections);
    case OPTION_STREAMS:
        return parse_count(value, &a->bench_streams);
    case OPTION_KEYS:
        return parse_count(value, &a->bench_keys);
    case OPTION_VALUE_SIZE:
        return parse_count(value, &a->bench_value_bytes);
    case OPTION_RATE:
        return parse_count(value, &a->bench_rate);
    case OPTION_DURATION:
        return parse_timeout(value, &a->bench_duration_ms);
    case OPTION_WARM_UP:
        return parse_timeout(value, &a->bench_warm_up_ms);
    case OPTION_OPERATIONS:
        return parse_count(value, &a->bench_operations);
    case OPTION_WATCHERS:
        return parse_count(value, &a->bench_watchers);
    case OPTION_REQUESTS:
        if (!cli_parse_number(value, 1, 1000000000, &number)) {
            return false;
        }
        a->bench_requests = (uint64_t)number;
        return true;
    case OPTION_SEED:
        if (!cli_parse_number(value, 0, INT64_MAX, &number)) {
            return false;
        }
        a->bench_seed = (uint64_t)number;
        return true;
    default:
        return false;
    }
}

static bool *flag_of(int key, struct cli_arguments *a)
{
    switch (key) {
    case OPTION_PLAN:
        return &a->plan;
    case OPTION_FORCE:
        return &a->force;
    case OPTION_PREFIX:
        return &a->prefix;
    case OPTION_FROM_KEY:
        return &a->from_key;
    case OPTION_KEYS_ONLY:
        return &a->keys_only;
    case OPTION_COUNT_ONLY:
        return &a->count_only;
    case OPTION_SERIALIZABLE:
        return &a->serializable;
    case OPTION_PREV_KV:
        return &a->previous;
    case OPTION_VALUE_ONLY:
        return &a->value_only;
    case OPTION_IGNORE_VALUE:
        return &a->ignore_value;
    case OPTION_IGNORE_LEASE:
        return &a->ignore_lease;
    case OPTION_PHYSICAL:
        return &a->physical;
    case OPTION_JSON:
        return &a->json_request;
    case 'i':
        return &a->interactive;
    case OPTION_FROM_NOW:
        return &a->from_now;
    case OPTION_PROGRESS_NOTIFY:
        return &a->progress_notify;
    case OPTION_EXEC:
        return &a->exec;
    case OPTION_NO_PUT:
        return &a->no_put;
    case OPTION_NO_DELETE:
        return &a->no_delete;
    case OPTION_ONCE:
        return &a->once;
    case OPTION_LEASE_KEYS:
        return &a->lease_keys;
    case OPTION_LISTEN:
        return &a->listen;
    case OPTION_HOLD:
        return &a->bench_hold;
    default:
        return NULL;
    }
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    struct cli_arguments *a = state->input;
    bool *flag = flag_of(key, a);
    if (flag != NULL) {
        *flag = true;
        return 0;
    }
    switch (key) {
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

static bool takes_command(const struct cli_arguments *a)
{
    return a->word_count > 0 &&
           (strcmp(a->words[0], "watch") == 0 || strcmp(a->words[0], "lock") == 0);
}

/* What follows "--": words, or a command of the user's own. */
static enum cli_exit take_rest(struct cli_arguments *a, char **rest)
{
    if (takes_command(a)) {
        a->command = rest[0] == NULL ? NULL : rest;
        return CLI_OK;
    }
    for (; *rest != NULL; rest++) {
        if (a->word_count == WORDS_MAX) {
            fprintf(stderr, "holdfastctl: too many words from \"%s\" on\n", *rest);
            return CLI_USAGE;
        }
        a->words[a->word_count++] = *rest;
    }
    return CLI_OK;
}

enum cli_exit cli_arguments_parse(int argc, char **argv, struct cli_arguments *out)
{
    out->timeout_ms = TIMEOUT_MS_DEFAULT;
    out->ttl_s = TTL_S_DEFAULT;
    out->bench_connections = 10;
    out->bench_streams = 10;
    out->bench_requests = 100000;
    out->bench_keys = 100000;
    out->bench_value_bytes = 256;
    out->bench_operations = 10;
    out->bench_watchers = 10000;
    out->bench_seed = 1;
    const char *endpoints = getenv("HOLDFASTCTL_ENDPOINTS");
    if (!parse_endpoints(endpoints != NULL ? endpoints : "127.0.0.1:2379", out)) {
        fprintf(stderr, "holdfastctl: HOLDFASTCTL_ENDPOINTS is not a list of host:port\n");
        return CLI_USAGE;
    }
    int own = 1;
    while (own < argc && strcmp(argv[own], "--") != 0) {
        own++;
    }
    static const struct argp argp = {options, parse_option, usage_text, doc, NULL, NULL, NULL};
    argp_err_exit_status = CLI_USAGE;
    if (argp_parse(&argp, own, argv, 0, NULL, out) != 0) {
        return CLI_USAGE;
    }
    return own < argc ? take_rest(out, argv + own + 1) : CLI_OK;
}
