/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli.h: holdfastctl's parts: what the command line said (arguments), a session over one or several
 * endpoints with fail-over, the commands, and how answers are printed.
 *
 * Fail-over rule: a read goes to the next endpoint on any transport failure or UNAVAILABLE. A write
 * goes on only when it certainly was not carried out (no connection could be made, or the server
 * said so); otherwise the tool stops and says that the outcome is unknown.
 */
#ifndef HOLDFAST_CLI_H
#define HOLDFAST_CLI_H

#include "base.h"
#include "config.h"
#include "grpc_channel.h"
#include "rpc.pb-c.h"

#include <stdio.h>

#define ENDPOINTS_MAX 16
#define WORDS_MAX     8

/* Exit codes of holdfastctl; documented in README.md and docs/holdfastctl.md. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,      /* the server refused, or nothing is as asked */
    CLI_NOT_FOUND = 2,   /* no such key or lease; the comparisons of a txn did not hold */
    CLI_UNKNOWN = 3,     /* a write's outcome is unknown: it may have happened */
    CLI_UNREACHABLE = 4, /* no endpoint answered */
    CLI_LOST = 5,        /* a lock, a leadership or a lease was lost while it was held */
    CLI_USAGE = 64,
};

enum output_format { OUTPUT_SIMPLE, OUTPUT_JSON, OUTPUT_TABLE };

struct cli_arguments {
    size_t endpoint_count;
    char endpoints[ENDPOINTS_MAX][MEMBER_ADDRESS_MAX + 1];
    enum output_format output;
    uint32_t timeout_ms;
    size_t word_count; /* command and its operands */
    const char *words[WORDS_MAX];
    char *const *command; /* what follows "--" for watch and lock, the last NULL; NULL: nothing */

    bool prefix, from_key, keys_only, count_only, serializable, previous, ignore_value,
        ignore_lease;
    bool value_only;
    uint32_t max_staleness_ms; /* 0: linearizable */
    int64_t revision, limit, lease;
    int sort_order, sort_target;
    int64_t min_mod_revision, max_mod_revision, min_create_revision, max_create_revision;
    bool physical;                        /* compact */
    bool json_request, interactive;       /* txn */
    bool from_now, progress_notify, exec; /* watch */
    bool no_put, no_delete;               /* watch */
    bool once, lease_keys;                /* lease */
    bool listen;                          /* elect */
    bool plan, force;                     /* recover */
    const char *file;                     /* recover, cluster plan and apply; NULL: the default;
                                             bench: times of calls go there */
    uint32_t ttl_s, wait_ms;              /* lock, elect; wait_ms 0: as long as it takes */

    /* bench */
    uint32_t bench_connections, bench_streams, bench_keys, bench_value_bytes;
    uint32_t bench_rate; /* calls a second of an open loop; 0: a closed one */
    uint32_t bench_duration_ms, bench_warm_up_ms; /* duration 0: ends by bench_requests */
    uint32_t bench_operations, bench_watchers;
    bool bench_hold;
    uint64_t bench_requests, bench_seed;
};

/* ---- session ----------------------------------------------------------------------------------------- */

struct cli_session {
    const struct cli_arguments *arguments;
    struct grpc_channel *channel; /* to endpoint `at`; NULL: none open */
    size_t at;
    uint32_t max_staleness_ms; /* of its calls, which are reads; 0: none */
};

void cli_session_close(struct cli_session *session);

/* The answer to a call; `body` belongs to the caller afterwards (bytes_free). */
struct cli_answer {
    int status; /* grpc-status; 0 = OK */
    char message[GRPC_ANSWER_TEXT_MAX + 1];
    struct bytes body;
};

/*
 * Call with fail-over as above, within arguments->timeout_ms for each try. On anything but OK an
 * error with the next step has been printed to stderr.
 *
 * write  the call changes something
 */
enum cli_exit cli_call(struct cli_session *session, const char *path, struct view request,
                       bool write, struct cli_answer *out);
/* Pack a protobuf-c message and call. */
enum cli_exit cli_call_message(struct cli_session *session, const char *path,
                               const ProtobufCMessage *request, bool write, struct cli_answer *out);
/* One try at one address, nothing printed. problem: why not (problem_size octets). */
enum cli_exit cli_call_one(const char *address, const char *path, struct view request,
                           uint32_t timeout_ms, struct cli_answer *out, char *problem,
                           size_t problem_size);

/* ---- commands ------------------------------------------------------------------------------------------ */

enum cli_exit command_put(const struct cli_arguments *arguments);
enum cli_exit command_get(const struct cli_arguments *arguments);
enum cli_exit command_del(const struct cli_arguments *arguments);
enum cli_exit command_status(const struct cli_arguments *arguments);
enum cli_exit command_member_list(const struct cli_arguments *arguments);
enum cli_exit command_cluster(const struct cli_arguments *arguments);
enum cli_exit command_recover(const struct cli_arguments *arguments); /* offline */
enum cli_exit command_bench(const struct cli_arguments *arguments);
enum cli_exit command_compact(const struct cli_arguments *arguments);
enum cli_exit command_txn(const struct cli_arguments *arguments);
enum cli_exit command_watch(const struct cli_arguments *arguments);
enum cli_exit command_lease(const struct cli_arguments *arguments);
int command_lock(const struct cli_arguments *arguments); /* or the exit code of COMMAND */
enum cli_exit command_elect(const struct cli_arguments *arguments);
enum cli_exit command_elect_listen(const struct cli_arguments *arguments);
enum cli_exit command_hash(const struct cli_arguments *arguments);
enum cli_exit command_snapshot(const struct cli_arguments *arguments);

/* The members as the first answering endpoint knows them; free with free_unpacked. */
enum cli_exit cli_fetch_members(struct cli_session *session,
                                Etcdserverpb__MemberListResponse **out);
/* Where a member takes clients, "host:port"; "" if it tells none. out_size octets. */
void cli_member_address(const Etcdserverpb__Member *member, char *out, size_t out_size);

/* ---- the command line ------------------------------------------------------------------------------ */

/* Defaults, the environment and the words. CLI_USAGE has been printed. */
enum cli_exit cli_arguments_parse(int argc, char **argv, struct cli_arguments *out);
bool cli_parse_number(const char *text, int64_t least, int64_t most, int64_t *out);
/* A lease id: 64 bits in hexadecimal. */
bool cli_parse_lease(const char *text, int64_t *out);
/* Index of the word in a list that ends with NULL, or -1. */
int cli_parse_word(const char *text, const char *const *words);
extern const char *const cli_sort_orders[];
extern const char *const cli_sort_targets[];

/* ---- requests and answers -------------------------------------------------------------------------- */

ProtobufCBinaryData cli_binary(struct view v);
struct view cli_view(const ProtobufCBinaryData *b);
int64_t cli_revision_of(const Etcdserverpb__ResponseHeader *header);
/* Append the message's octets; `data` is not NULL afterwards, though the message may be empty. */
void cli_pack(const ProtobufCMessage *message, struct buffer *out);
/* Print what an endpoint answered (GRPC_... and its text), with a word of explanation where there is one; CLI_FAILED. */
enum cli_exit cli_refused(const char *endpoint, int status, const char *text);
/* Print, and CLI_USAGE. */
enum cli_exit cli_usage(const char *text);
/* Print that the answer makes no sense, free it, and CLI_FAILED. */
enum cli_exit cli_unreadable(struct cli_answer *answer);

/*
 * Key and range end as etcd knows them: KEY [RANGE_END], or --prefix, or --from-key. The end of a
 * prefix is the prefix with its last octet below 0xff raised and the rest cut. *key may become another
 * (static) one; `end` is the caller's. NULL, or why they do not go together.
 */
const char *cli_key_end(struct view *key, const struct view *range_end, bool prefix, bool from_key,
                        struct bytes *end);
/* The same from words[1] and words[2]; printed. */
enum cli_exit cli_key_range(const struct cli_arguments *arguments, struct view *key,
                            struct bytes *end);

/* ---- output -------------------------------------------------------------------------------------------- */

/* A table with a header row; cells are printed left-aligned in columns as wide as needed. */
struct table {
    size_t columns, rows, capacity;
    char **cells;
};
void table_start(struct table *t, size_t columns, const char *const *titles);
void table_cell(struct table *t, const char *format, ...) PRINTF_LIKE(2, 3);
void table_print(struct table *t, FILE *out); /* and frees */

void table_octets(struct table *t, struct view v); /* or how many they are */

void print_octets(struct view v); /* to stdout, as they are */
void print_kvs(const struct cli_arguments *arguments, Mvccpb__KeyValue *const *kvs, size_t count);
void print_kvs_lines(Mvccpb__KeyValue *const *kvs, size_t count, bool keys, bool values);
void print_json_kv(FILE *out, const Mvccpb__KeyValue *kv);
void print_json_kvs(FILE *out, const char *name, Mvccpb__KeyValue *const *kvs, size_t count);
void print_json_range(FILE *out, const Etcdserverpb__RangeResponse *response);
void print_json_put(FILE *out, const Etcdserverpb__PutResponse *response);
void print_json_delete(FILE *out, const Etcdserverpb__DeleteRangeResponse *response);

/* UTF-8 without control characters. */
bool text_is_printable(struct view v);
void print_json_octets(FILE *out, const char *name,
                       struct view v); /* "name":"..." or "name_base64":"..." */

#endif
