/* SPDX-License-Identifier: Apache-2.0 */
/* session.c: calls over several endpoints; the fail-over rule stands in cli.h. */
#include "cli.h"

#include "net/grpc.h"

#include <poll.h>
#include <string.h>

struct waiting_call {
    bool done, transport, refused;
    struct cli_answer answer;
};

static void take_answer(void *context, const struct grpc_answer *answer)
{
    struct waiting_call *waiting = context;
    waiting->done = true;
    waiting->transport = answer->transport;
    waiting->refused = answer->refused;
    waiting->answer.status = answer->status;
    memcpy(waiting->answer.message, answer->message, sizeof(waiting->answer.message));
    waiting->answer.body = bytes_copy(answer->body);
}

/* Work until the call is done or time is up. False: time is up. */
static bool work_until_done(struct grpc_channel *channel, struct waiting_call *waiting,
                            uint32_t timeout_ms)
{
    uint64_t end_ms = grpc_channel_clock_ms() + timeout_ms;
    while (!waiting->done) {
        if (grpc_channel_work(channel) != OK || waiting->done) {
            break;
        }
        uint64_t at_ms = grpc_channel_clock_ms();
        if (at_ms >= end_ms) {
            return false;
        }
        struct pollfd ready = {.fd = grpc_channel_fd(channel),
                               .events = grpc_channel_events(channel)};
        (void)poll(&ready, 1, (int)(end_ms - at_ms));
    }
    return true;
}

void cli_session_close(struct cli_session *session)
{
    grpc_channel_close(&session->channel);
}

enum try_result { TRY_ANSWERED, TRY_NOT_CONNECTED, TRY_BROKEN, TRY_TIMED_OUT };

static enum try_result try_once(struct cli_session *session, const char *path, struct view request,
                                struct cli_answer *out, char *problem, size_t problem_size)
{
    const struct cli_arguments *arguments = session->arguments;
    const char *address = arguments->endpoints[session->at];
    if (session->channel == NULL &&
        grpc_channel_open(address, arguments->timeout_ms, &session->channel, problem,
                          problem_size) != OK) {
        return TRY_NOT_CONNECTED;
    }
    struct waiting_call waiting = {0};
    grpc_channel_read(session->channel, path, request, session->max_staleness_ms, take_answer,
                      &waiting);
    bool in_time = work_until_done(session->channel, &waiting, arguments->timeout_ms);
    if (!in_time || waiting.transport) {
        grpc_channel_close(&session->channel); /* ends the call: `waiting` is not used afterwards */
        bytes_free(&waiting.answer.body);
        (void)snprintf(problem, problem_size, "%s: %s", address,
                       in_time ? "connection broke before the answer" : "no answer in time");
        if (waiting.refused) {
            return TRY_NOT_CONNECTED; /* as a server that says goodbye: it has not looked at it */
        }
        return in_time ? TRY_BROKEN : TRY_TIMED_OUT;
    }
    *out = waiting.answer;
    return TRY_ANSWERED;
}

enum cli_exit cli_call_one(const char *address, const char *path, struct view request,
                           uint32_t timeout_ms, struct cli_answer *out, char *problem,
                           size_t problem_size)
{
    struct cli_arguments arguments = {.endpoint_count = 1, .timeout_ms = timeout_ms};
    (void)snprintf(arguments.endpoints[0], sizeof(arguments.endpoints[0]), "%s", address);
    struct cli_session session = {.arguments = &arguments};
    enum try_result tried = try_once(&session, path, request, out, problem, problem_size);
    cli_session_close(&session);
    return tried == TRY_ANSWERED ? CLI_OK : CLI_UNREACHABLE;
}

/* Refused before it could have had an effect: another endpoint may be asked. */
static bool certainly_not_done(const struct cli_answer *answer)
{
    static const char *const texts[] = {"etcdserver: leader changed", "etcdserver: no leader",
                                        "etcdserver: too many requests"};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        if (strcmp(answer->message, texts[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Statuses that also a framework or a proxy gives for a call that was cut short: they do not say that
 * nothing was done. All others are given by the server, before it begins or when it has decided. */
static bool leaves_open(const struct cli_answer *answer)
{
    switch (answer->status) {
    case GRPC_CANCELED:
    case GRPC_UNKNOWN:
    case GRPC_DEADLINE_EXCEEDED:
    case GRPC_ABORTED:
    case GRPC_INTERNAL:
    case GRPC_UNAVAILABLE:
        return !certainly_not_done(answer);
    default:
        return false;
    }
}

static enum cli_exit say_refused(const struct cli_arguments *arguments, size_t at,
                                 const struct cli_answer *answer, bool write)
{
    enum cli_exit code = cli_refused(arguments->endpoints[at], answer->status, answer->message);
    if (write && leaves_open(answer)) {
        fprintf(stderr, "  the write may have happened; read the key before writing again\n");
        code = CLI_UNKNOWN;
    } else if (answer->status == GRPC_UNAVAILABLE) {
        fprintf(stderr, "  look at the cluster with: holdfastctl status\n");
    }
    return code;
}

enum cli_exit cli_call(struct cli_session *session, const char *path, struct view request,
                       bool write, struct cli_answer *out)
{
    const struct cli_arguments *arguments = session->arguments;
    char problem[512] = "";
    struct cli_answer refused = {0};
    size_t refused_at = SIZE_MAX;
    for (size_t tries = 0; tries < arguments->endpoint_count; tries++) {
        enum try_result tried = try_once(session, path, request, out, problem, sizeof(problem));
        if (tried == TRY_ANSWERED && out->status == GRPC_OK) {
            return CLI_OK;
        }
        if (tried == TRY_ANSWERED) {
            bytes_free(&out->body);
            refused = *out;
            refused_at = session->at;
            bool go_on = write ? certainly_not_done(out) : out->status == GRPC_UNAVAILABLE;
            if (!go_on) {
                return say_refused(arguments, session->at, out, write);
            }
        } else if (tried != TRY_NOT_CONNECTED && write) {
            fprintf(stderr,
                    "holdfastctl: %s\n  the write may have happened; read the key before writing "
                    "again\n",
                    problem);
            return CLI_UNKNOWN;
        } else if (arguments->endpoint_count > 1) {
            fprintf(stderr, "holdfastctl: %s; trying the next endpoint\n", problem);
        }
        cli_session_close(session);
        session->at = (session->at + 1) % arguments->endpoint_count;
    }
    if (refused_at != SIZE_MAX) {
        return say_refused(arguments, refused_at, &refused, write);
    }
    fprintf(stderr,
            "holdfastctl: no endpoint answered; the last one said: %s\n"
            "  is holdfastd running there? name others with --endpoints host:port,host:port\n",
            problem);
    return CLI_UNREACHABLE;
}

enum cli_exit cli_call_message(struct cli_session *session, const char *path,
                               const ProtobufCMessage *request, bool write, struct cli_answer *out)
{
    struct buffer packed = {0};
    size_t size = protobuf_c_message_get_packed_size(request);
    (void)protobuf_c_message_pack(request, buffer_extend(&packed, size));
    enum cli_exit code = cli_call(session, path, view_of(packed.data, packed.size), write, out);
    buffer_free(&packed);
    return code;
}
