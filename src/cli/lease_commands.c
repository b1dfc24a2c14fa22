/* SPDX-License-Identifier: Apache-2.0 */
/* lease_commands.c: lease grant, revoke, timetolive, list and keep-alive. IDs are hexadecimal. */
#include "lease_keeper.h"

#include "net/grpc.h"

#include <string.h>

static enum cli_exit no_such_lease(int64_t lease)
{
    fprintf(stderr, "holdfastctl: there is no lease %016" PRIx64 ": it expired or was revoked\n",
            (uint64_t)lease);
    return CLI_NOT_FOUND;
}

static enum cli_exit grant_lease(const struct cli_arguments *arguments, int64_t ttl_s,
                                 int64_t lease)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    request.ttl = ttl_s;
    request.id = lease;
    struct cli_session session = {.arguments = arguments};
    struct cli_answer answer = {0};
    enum cli_exit code =
        cli_call_message(&session, "/etcdserverpb.Lease/LeaseGrant", &request.base, true, &answer);
    cli_session_close(&session);
    if (code != CLI_OK) {
        return code;
    }
    Etcdserverpb__LeaseGrantResponse *response =
        etcdserverpb__lease_grant_response__unpack(NULL, answer.body.size, answer.body.data);
    if (response == NULL) {
        return cli_unreadable(&answer);
    }
    uint64_t id = (uint64_t)response->id;
    if (arguments->output == OUTPUT_JSON) {
        printf("{\"lease\":\"%016" PRIx64 "\",\"ttl_s\":%" PRId64 "}\n", id, response->ttl);
    } else {
        printf("lease %016" PRIx64 " granted with TTL(%" PRId64 "s)\n", id, response->ttl);
    }
    etcdserverpb__lease_grant_response__free_unpacked(response, NULL);
    bytes_free(&answer.body);
    return CLI_OK;
}

static enum cli_exit revoke_lease(const struct cli_arguments *arguments, int64_t lease)
{
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    request.id = lease;
    struct cli_session session = {.arguments = arguments};
    struct cli_answer answer = {0};
    enum cli_exit code =
        cli_call_message(&session, "/etcdserverpb.Lease/LeaseRevoke", &request.base, true, &answer);
    cli_session_close(&session);
    if (code == CLI_FAILED && answer.status == GRPC_NOT_FOUND) {
        code = CLI_NOT_FOUND;
    }
    if (code != CLI_OK) {
        return code;
    }
    bytes_free(&answer.body);
    if (arguments->output == OUTPUT_JSON) {
        printf("{\"revoked\":\"%016" PRIx64 "\"}\n", (uint64_t)lease);
    } else {
        printf("lease %016" PRIx64 " revoked\n", (uint64_t)lease);
    }
    return CLI_OK;
}

static void print_time_to_live(const struct cli_arguments *arguments,
                               const Etcdserverpb__LeaseTimeToLiveResponse *response)
{
    uint64_t id = (uint64_t)response->id;
    if (arguments->output == OUTPUT_JSON) {
        printf("{\"lease\":\"%016" PRIx64 "\",\"granted_ttl_s\":%" PRId64 ",\"ttl_s\":%" PRId64, id,
               response->grantedttl, response->ttl);
        if (arguments->lease_keys) {
            printf(",\"keys\":[");
            for (size_t i = 0; i < response->n_keys; i++) {
                printf("%s{", i > 0 ? "," : "");
                print_json_octets(stdout, "key", cli_view(&response->keys[i]));
                putchar('}');
            }
            putchar(']');
        }
        printf("}\n");
        return;
    }
    printf("lease %016" PRIx64 " granted with TTL(%" PRId64 "s), remaining(%" PRId64 "s)", id,
           response->grantedttl, response->ttl);
    if (arguments->lease_keys) {
        printf(", attached keys([");
        for (size_t i = 0; i < response->n_keys; i++) {
            printf("%s", i > 0 ? " " : "");
            print_octets(cli_view(&response->keys[i]));
        }
        printf("])");
    }
    putchar('\n');
}

static enum cli_exit time_to_live(const struct cli_arguments *arguments, int64_t lease)
{
    Etcdserverpb__LeaseTimeToLiveRequest request = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    request.id = lease;
    request.keys = arguments->lease_keys;
    struct cli_session session = {.arguments = arguments};
    struct cli_answer answer = {0};
    enum cli_exit code = cli_call_message(&session, "/etcdserverpb.Lease/LeaseTimeToLive",
                                          &request.base, false, &answer);
    cli_session_close(&session);
    if (code != CLI_OK) {
        return code;
    }
    Etcdserverpb__LeaseTimeToLiveResponse *response =
        etcdserverpb__lease_time_to_live_response__unpack(NULL, answer.body.size, answer.body.data);
    if (response == NULL) {
        return cli_unreadable(&answer);
    }
    if (response->ttl < 0) {
        code = no_such_lease(lease);
    } else {
        print_time_to_live(arguments, response);
    }
    etcdserverpb__lease_time_to_live_response__free_unpacked(response, NULL);
    bytes_free(&answer.body);
    return code;
}

static enum cli_exit list_leases(const struct cli_arguments *arguments)
{
    Etcdserverpb__LeaseLeasesRequest request = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    struct cli_session session = {.arguments = arguments};
    struct cli_answer answer = {0};
    enum cli_exit code = cli_call_message(&session, "/etcdserverpb.Lease/LeaseLeases",
                                          &request.base, false, &answer);
    cli_session_close(&session);
    if (code != CLI_OK) {
        return code;
    }
    Etcdserverpb__LeaseLeasesResponse *response =
        etcdserverpb__lease_leases_response__unpack(NULL, answer.body.size, answer.body.data);
    if (response == NULL) {
        return cli_unreadable(&answer);
    }
    if (arguments->output == OUTPUT_JSON) {
        printf("[");
        for (size_t i = 0; i < response->n_leases; i++) {
            printf("%s\"%016" PRIx64 "\"", i > 0 ? "," : "", (uint64_t)response->leases[i]->id);
        }
        printf("]\n");
    } else {
        printf("found %zu leases\n", response->n_leases);
        for (size_t i = 0; i < response->n_leases; i++) {
            printf("%016" PRIx64 "\n", (uint64_t)response->leases[i]->id);
        }
    }
    etcdserverpb__lease_leases_response__free_unpacked(response, NULL);
    bytes_free(&answer.body);
    return CLI_OK;
}

/* ---- keep-alive ------------------------------------------------------------------------------------ */

struct keep_alive {
    const struct cli_arguments *arguments;
    struct cli_loop loop;
    struct lease_keeper keeper;
    bool renewed;
};

static void on_renewed(void *context, int64_t ttl_s)
{
    struct keep_alive *k = context;
    uint64_t id = (uint64_t)k->keeper.lease;
    k->renewed = true;
    if (k->arguments->output == OUTPUT_JSON) {
        printf("{\"lease\":\"%016" PRIx64 "\",\"ttl_s\":%" PRId64 "}\n", id, ttl_s);
    } else {
        printf("lease %016" PRIx64 " keepalived with TTL(%" PRId64 ")\n", id, ttl_s);
    }
    if (fflush(stdout) != 0) {
        cli_loop_stop(&k->loop, CLI_FAILED);
    } else if (k->arguments->once) {
        cli_loop_stop(&k->loop, CLI_OK);
    }
}

static void on_lost(void *context, bool known)
{
    struct keep_alive *k = context;
    if (!k->renewed) {
        cli_loop_stop(&k->loop, no_such_lease(k->keeper.lease));
        return;
    }
    fprintf(stderr, "holdfastctl: lease %016" PRIx64 " is lost: %s\n", (uint64_t)k->keeper.lease,
            known ? "it expired or was revoked" : "no endpoint confirmed it within its TTL");
    cli_loop_stop(&k->loop, CLI_LOST);
}

static void on_up(void *context)
{
    struct keep_alive *k = context;
    lease_keeper_up(&k->keeper);
}

static void on_down(void *context)
{
    struct keep_alive *k = context;
    lease_keeper_down(&k->keeper);
}

static void on_signal(void *context, int number, bool from_terminal)
{
    struct keep_alive *k = context;
    UNUSED(number);
    UNUSED(from_terminal);
    cli_loop_stop(&k->loop, CLI_OK);
}

static uint64_t on_due(void *context)
{
    const struct keep_alive *k = context;
    return lease_keeper_due_ms(&k->keeper);
}

static void on_tick(void *context, uint64_t now_ms)
{
    struct keep_alive *k = context;
    lease_keeper_tick(&k->keeper, now_ms);
}

static enum cli_exit keep_alive_command(const struct cli_arguments *arguments, int64_t lease)
{
    static const struct cli_loop_user loop_user = {
        .up = on_up, .down = on_down, .signal = on_signal, .due_ms = on_due, .tick = on_tick};
    static const struct lease_keeper_user keeper_user = {.renewed = on_renewed, .lost = on_lost};
    struct keep_alive k = {.arguments = arguments};
    k.keeper.loop = &k.loop;
    k.keeper.user = &keeper_user;
    k.keeper.context = &k;
    cli_loop_start(&k.loop, arguments, &loop_user, &k);
    lease_keeper_start(&k.keeper, lease, 0, 0);
    enum cli_exit code = cli_loop_run(&k.loop);
    cli_loop_end(&k.loop);
    return code;
}

/* ---- lease WORD ------------------------------------------------------------------------------------ */

enum cli_exit command_lease(const struct cli_arguments *arguments)
{
    static const char usage_text[] = "lease grant TTL [ID] | lease revoke ID | lease timetolive ID "
                                     "[--keys] | lease list | lease keep-alive ID [--once]";
    const char *word = arguments->word_count > 1 ? arguments->words[1] : "";
    if (strcmp(word, "list") == 0 && arguments->word_count == 2) {
        return list_leases(arguments);
    }
    int64_t ttl_s = 0;
    int64_t lease = 0;
    if (strcmp(word, "grant") == 0 && arguments->word_count >= 3 && arguments->word_count <= 4 &&
        cli_parse_number(arguments->words[2], INT64_MIN, INT64_MAX, &ttl_s) &&
        (arguments->word_count == 3 || cli_parse_lease(arguments->words[3], &lease))) {
        return grant_lease(arguments, ttl_s, lease);
    }
    if (arguments->word_count != 3 || !cli_parse_lease(arguments->words[2], &lease)) {
        return cli_usage(usage_text);
    }
    if (strcmp(word, "revoke") == 0) {
        return revoke_lease(arguments, lease);
    }
    if (strcmp(word, "timetolive") == 0) {
        return time_to_live(arguments, lease);
    }
    if (strcmp(word, "keep-alive") == 0) {
        return keep_alive_command(arguments, lease);
    }
    return cli_usage(usage_text);
}
