/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen_command.c: elect --listen NAME: prints the leader there is and every later one, and each new value a
 * leader proclaims. A break of the connection repeats nothing; leaders that came and went meanwhile are not
 * told (the service tells who leads, not who led).
 */
#include "loop.h"

#include "election.pb-c.h"
#include "net/grpc.h"

#include <string.h>

struct listen {
    const struct cli_arguments *arguments;
    struct cli_loop loop;
    struct grpc_call *call;
    int64_t last_revision; /* the mod revision of what was printed last */
};

static void on_message(void *context, struct view message)
{
    struct listen *listen = context;
    V3electionpb__LeaderResponse *response =
        v3electionpb__leader_response__unpack(NULL, message.size, message.data);
    if (response == NULL) {
        cli_loop_break(&listen->loop, "its answer cannot be read; is it an etcd v3 server?");
        return;
    }
    cli_loop_good(&listen->loop);
    const Mvccpb__KeyValue *kv = response->kv;
    if (kv != NULL && kv->mod_revision > listen->last_revision) {
        listen->last_revision = kv->mod_revision;
        if (listen->arguments->output == OUTPUT_JSON) {
            print_json_kv(stdout, kv);
            putchar('\n');
        } else {
            print_kvs_lines(&response->kv, 1, true, true);
        }
        if (fflush(stdout) != 0) {
            cli_loop_stop(&listen->loop, CLI_FAILED);
        }
    }
    v3electionpb__leader_response__free_unpacked(response, NULL);
}

static void on_done(void *context, const struct grpc_answer *answer)
{
    struct listen *listen = context;
    listen->call = NULL;
    if (answer->transport || answer->status == GRPC_OK || answer->status == GRPC_UNAVAILABLE ||
        answer->status == GRPC_CANCELED) {
        cli_loop_break(&listen->loop,
                       answer->message[0] != '\0' ? answer->message : "ended the stream");
        return;
    }
    cli_loop_stop(&listen->loop,
                  cli_refused(cli_loop_endpoint(&listen->loop), answer->status, answer->message));
}

static void on_up(void *context)
{
    struct listen *listen = context;
    V3electionpb__LeaderRequest request = V3ELECTIONPB__LEADER_REQUEST__INIT;
    request.name = cli_binary(view_of_text(listen->arguments->words[1]));
    struct buffer packed = {0};
    cli_pack(&request.base, &packed);
    struct grpc_stream_settings settings = {.path = "/v3electionpb.Election/Observe",
                                            .has_leader = true,
                                            .first = view_of(packed.data, packed.size),
                                            .message = on_message,
                                            .done = on_done,
                                            .context = listen};
    listen->call = grpc_channel_stream(listen->loop.channel, &settings);
    buffer_free(&packed);
}

static void on_down(void *context)
{
    struct listen *listen = context;
    listen->call = NULL;
}

static void on_signal(void *context, int number, bool from_terminal)
{
    struct listen *listen = context;
    UNUSED(number);
    UNUSED(from_terminal);
    cli_loop_stop(&listen->loop, CLI_OK);
}

enum cli_exit command_elect_listen(const struct cli_arguments *arguments)
{
    if (arguments->word_count != 2 || arguments->words[1][0] == '\0') {
        return cli_usage("elect --listen NAME");
    }
    static const struct cli_loop_user loop_user = {
        .up = on_up, .down = on_down, .signal = on_signal};
    struct listen listen = {.arguments = arguments};
    cli_loop_start(&listen.loop, arguments, &loop_user, &listen);
    enum cli_exit code = cli_loop_run(&listen.loop);
    cli_loop_end(&listen.loop);
    return code;
}
