/* SPDX-License-Identifier: Apache-2.0 */
/* cluster_commands.c: status of all members, member list. */
#include "cli.h"

#include <string.h>

struct member_status {
    const Etcdserverpb__Member *member;
    char address[MEMBER_ADDRESS_MAX + 1]; /* where it was asked; "" if it tells no client address */
    bool answered;
    char problem[256];
    Etcdserverpb__StatusResponse *status;
};

enum cli_exit cli_fetch_members(struct cli_session *session, Etcdserverpb__MemberListResponse **out)
{
    /* Not linearizable: the list is wanted above all when there is no leader. */
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    struct cli_answer answer = {0};
    enum cli_exit code = cli_call_message(session, "/etcdserverpb.Cluster/MemberList",
                                          &request.base, false, &answer);
    if (code != CLI_OK) {
        return code;
    }
    *out = etcdserverpb__member_list_response__unpack(NULL, answer.body.size, answer.body.data);
    if (*out == NULL) {
        return cli_unreadable(&answer);
    }
    bytes_free(&answer.body);
    return CLI_OK;
}

/* "http://host:port" without the scheme. */
static void address_of_url(const char *url, char *out, size_t out_size)
{
    const char *host = strstr(url, "://");
    (void)snprintf(out, out_size, "%s", host == NULL ? url : host + 3);
}

void cli_member_address(const Etcdserverpb__Member *member, char *out, size_t out_size)
{
    address_of_url(member->n_clienturls > 0 ? member->clienturls[0] : "", out, out_size);
}

static void fetch_status(const struct cli_arguments *arguments, struct member_status *of)
{
    if (of->address[0] == '\0') {
        (void)snprintf(of->problem, sizeof(of->problem), "tells no client address");
        return;
    }
    struct cli_answer answer = {0};
    if (cli_call_one(of->address, "/etcdserverpb.Maintenance/Status", view_of(NULL, 0),
                     arguments->timeout_ms, &answer, of->problem, sizeof(of->problem)) != CLI_OK) {
        return;
    }
    if (answer.status != 0) {
        (void)snprintf(of->problem, sizeof(of->problem), "%s", answer.message);
    } else {
        of->status =
            etcdserverpb__status_response__unpack(NULL, answer.body.size, answer.body.data);
        of->answered = of->status != NULL;
    }
    bytes_free(&answer.body);
}

static const char *name_of(const Etcdserverpb__MemberListResponse *members, uint64_t id)
{
    for (size_t i = 0; i < members->n_members; i++) {
        if (members->members[i]->id == id) {
            return members->members[i]->name;
        }
    }
    return id == 0 ? "none" : "unknown";
}

static const char *role_of(const struct member_status *of)
{
    if (!of->answered) {
        return "unreachable";
    }
    if (of->status->islearner) {
        return "learner";
    }
    return of->status->leader == of->member->id ? "leader" : "follower";
}

/* Entries the member has not applied of what any member knows to be committed. */
static uint64_t lag_of(const struct member_status *of, uint64_t committed)
{
    uint64_t applied = of->status->raftappliedindex;
    return committed > applied ? committed - applied : 0;
}

static void print_status(const struct cli_arguments *arguments,
                         const Etcdserverpb__MemberListResponse *members,
                         const struct member_status *all, uint64_t committed)
{
    if (arguments->output == OUTPUT_JSON) {
        printf("[");
        for (size_t i = 0; i < members->n_members; i++) {
            const struct member_status *of = &all[i];
            printf("%s{", i > 0 ? "," : "");
            print_json_octets(stdout, "name", view_of_text(of->member->name));
            printf(",\"id\":\"%016" PRIx64 "\",\"role\":\"%s\",", of->member->id, role_of(of));
            print_json_octets(stdout, "client", view_of_text(of->address));
            if (of->answered) {
                const Etcdserverpb__StatusResponse *s = of->status;
                printf(",");
                print_json_octets(stdout, "leader", view_of_text(name_of(members, s->leader)));
                printf(",\"term\":%" PRIu64 ",\"commit_index\":%" PRIu64
                       ",\"applied_index\":%" PRIu64 ",\"lag\":%" PRIu64 ",\"revision\":%" PRId64
                       ",\"db_bytes\":%" PRId64 ",",
                       s->raftterm, s->raftindex, s->raftappliedindex, lag_of(of, committed),
                       s->header == NULL ? 0 : s->header->revision, s->dbsize);
                print_json_octets(stdout, "version", view_of_text(s->version));
            } else {
                printf(",");
                print_json_octets(stdout, "problem", view_of_text(of->problem));
            }
            printf("}");
        }
        printf("]\n");
        return;
    }
    static const char *const titles[] = {"MEMBER", "CLIENT ADDRESS", "ROLE",
                                         "LEADER", "TERM",           "APPLIED",
                                         "LAG",    "REVISION",       "DB SIZE"};
    struct table t;
    table_start(&t, ARRAY_COUNT(titles), titles);
    for (size_t i = 0; i < members->n_members; i++) {
        const struct member_status *of = &all[i];
        table_cell(&t, "%s", of->member->name);
        table_cell(&t, "%s", of->address);
        table_cell(&t, "%s", role_of(of));
        if (!of->answered) {
            for (size_t k = 3; k < ARRAY_COUNT(titles); k++) {
                table_cell(&t, "-");
            }
            continue;
        }
        table_cell(&t, "%s", name_of(members, of->status->leader));
        table_cell(&t, "%" PRIu64, of->status->raftterm);
        table_cell(&t, "%" PRIu64, of->status->raftappliedindex);
        table_cell(&t, "%" PRIu64, lag_of(of, committed));
        table_cell(&t, "%" PRId64, of->status->header == NULL ? 0 : of->status->header->revision);
        table_cell(&t, "%.1f MiB", (double)of->status->dbsize / (1024.0 * 1024.0));
    }
    table_print(&t, stdout);
    for (size_t i = 0; i < members->n_members; i++) {
        if (!all[i].answered) {
            printf("%s: %s\n", all[i].member->name, all[i].problem);
        }
        for (size_t k = 0; all[i].answered && k < all[i].status->n_errors; k++) {
            printf("%s: %s\n", all[i].member->name, all[i].status->errors[k]);
        }
    }
}

enum cli_exit command_status(const struct cli_arguments *arguments)
{
    struct cli_session session = {.arguments = arguments};
    Etcdserverpb__MemberListResponse *members = NULL;
    enum cli_exit code = cli_fetch_members(&session, &members);
    cli_session_close(&session);
    if (code != CLI_OK) {
        return code;
    }
    if (members->n_members == 0) {
        fprintf(stderr, "holdfastctl: this node belongs to no cluster yet; it waits for all listed "
                        "members to answer\n");
        etcdserverpb__member_list_response__free_unpacked(members, NULL);
        return CLI_FAILED;
    }
    struct member_status *all = mem_zalloc(members->n_members * sizeof(*all));
    uint64_t committed = 0;
    bool leader_known = false;
    for (size_t i = 0; i < members->n_members; i++) {
        struct member_status *of = &all[i];
        of->member = members->members[i];
        cli_member_address(of->member, of->address, sizeof(of->address));
        fetch_status(arguments, of);
        if (of->answered) {
            committed = of->status->raftindex > committed ? of->status->raftindex : committed;
            leader_known = leader_known || of->status->leader != 0;
        }
    }
    print_status(arguments, members, all, committed);
    for (size_t i = 0; i < members->n_members; i++) {
        if (all[i].status != NULL) {
            etcdserverpb__status_response__free_unpacked(all[i].status, NULL);
        }
    }
    mem_free(all);
    etcdserverpb__member_list_response__free_unpacked(members, NULL);
    return leader_known ? CLI_OK : CLI_FAILED;
}

enum cli_exit command_member_list(const struct cli_arguments *arguments)
{
    struct cli_session session = {.arguments = arguments};
    Etcdserverpb__MemberListResponse *members = NULL;
    enum cli_exit code = cli_fetch_members(&session, &members);
    cli_session_close(&session);
    if (code != CLI_OK) {
        return code;
    }
    struct table t;
    static const char *const titles[] = {"ID", "NAME", "PEER ADDRESS", "CLIENT ADDRESS", "LEARNER"};
    if (arguments->output == OUTPUT_TABLE) {
        table_start(&t, ARRAY_COUNT(titles), titles);
    } else if (arguments->output == OUTPUT_JSON) {
        printf("[");
    }
    for (size_t i = 0; i < members->n_members; i++) {
        const Etcdserverpb__Member *m = members->members[i];
        char peer[MEMBER_ADDRESS_MAX + 1] = "";
        char client[MEMBER_ADDRESS_MAX + 1];
        cli_member_address(m, client, sizeof(client));
        if (m->n_peerurls > 0) {
            address_of_url(m->peerurls[0], peer, sizeof(peer));
        }
        if (arguments->output == OUTPUT_TABLE) {
            table_cell(&t, "%016" PRIx64, m->id);
            table_cell(&t, "%s", m->name);
            table_cell(&t, "%s", peer);
            table_cell(&t, "%s", client);
            table_cell(&t, "%s", m->islearner ? "yes" : "no");
        } else if (arguments->output == OUTPUT_JSON) {
            printf("%s{\"id\":\"%016" PRIx64 "\",", i > 0 ? "," : "", m->id);
            print_json_octets(stdout, "name", view_of_text(m->name));
            putchar(',');
            print_json_octets(stdout, "peer", view_of_text(peer));
            putchar(',');
            print_json_octets(stdout, "client", view_of_text(client));
            printf(",\"learner\":%s}", m->islearner ? "true" : "false");
        } else {
            printf("%016" PRIx64 " %s peer=%s client=%s%s\n", m->id, m->name, peer, client,
                   m->islearner ? " learner" : "");
        }
    }
    if (arguments->output == OUTPUT_TABLE) {
        table_print(&t, stdout);
    } else if (arguments->output == OUTPUT_JSON) {
        printf("]\n");
    }
    etcdserverpb__member_list_response__free_unpacked(members, NULL);
    return CLI_OK;
}
