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

/* Exit codes of holdfastctl; documented in README.md. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,      /* the server refused, or nothing is as asked */
    CLI_NOT_FOUND = 2,   /* get of a single key that does not exist */
    CLI_UNKNOWN = 3,     /* a write's outcome is unknown: it may have happened */
    CLI_UNREACHABLE = 4, /* no endpoint answered */
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

    bool prefix, from_key, keys_only, count_only, serializable, previous, ignore_value,
        ignore_lease;
    bool value_only;
    int64_t revision, limit, lease;
    int sort_order, sort_target;

    /* bench */
    uint32_t bench_connections, bench_streams, bench_keys, bench_value_bytes;
    uint64_t bench_requests, bench_seed;
};

/* ---- session ----------------------------------------------------------------------------------------- */

struct cli_session {
    const struct cli_arguments *arguments;
    struct grpc_channel *channel; /* to endpoint `at`; NULL: none open */
    size_t at;
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
enum cli_exit command_bench(const struct cli_arguments *arguments);

/* ---- output -------------------------------------------------------------------------------------------- */

/* A table with a header row; cells are printed left-aligned in columns as wide as needed. */
struct table {
    size_t columns, rows, capacity;
    char **cells;
};
void table_start(struct table *t, size_t columns, const char *const *titles);
void table_cell(struct table *t, const char *format, ...) PRINTF_LIKE(2, 3);
void table_print(struct table *t, FILE *out); /* and frees */

/* A JSON string literal of the octets if they are UTF-8 without control characters; else NULL. */
bool text_is_printable(struct view v);
void print_json_octets(FILE *out, const char *name,
                       struct view v); /* "name":"..." or "name_base64":"..." */

#endif
