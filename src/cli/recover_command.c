/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover_command.c: recover, the one command that needs no server and may have none: it reads a survivor's data directory
 * and says what a cluster of this node alone would hold (--plan), or makes it so (--force). recover.h has the rules.
 * As text for people, or (-o json) one object with the same facts.
 */
#include "cli.h"

#include "message.h" /* GROUP_DEFAULT */
#include "recover.h"

#include <string.h>
#include <sys/random.h>

#define RECOVER_CONFIG_DEFAULT "/etc/holdfast/holdfast.conf"
#define PROBLEM_TEXT_MAX       1024

static uint64_t draw_random(void)
{
    uint64_t value = 0;
    while (value == 0) {
        if (getrandom(&value, sizeof(value), 0) != (ssize_t)sizeof(value)) {
            value = 0;
        }
    }
    return value;
}

static const char *role_text(const struct member *m)
{
    return m->voter_incoming || m->voter_outgoing ? "voter" : "standby";
}

static void print_log(const struct recover_found *f)
{
    printf("log            entries %" PRIu64 " to %" PRIu64 ", the last of term %" PRIu64 "\n",
           f->first_index, f->last_index, f->last_term);
    printf("committed      at least to entry %" PRIu64 "; on disk in the table to entry %" PRIu64
           ", revision %" PRId64 "\n",
           f->committed_index, f->kv.applied_index, f->kv.revision);
    uint64_t open = f->last_index - f->committed_index;
    if (open > 0) {
        printf("kept           %" PRIu64
               " entries behind that, which are not known to be committed: their clients were told "
               "that they are done, or failed, or nothing\n",
               open);
    } else {
        printf("kept           all of it\n");
    }
    printf(
        "may be lost    what was acknowledged after entry %" PRIu64
        ": if members that are gone had more, it was only there; how much cannot be known here\n",
        f->last_index);
    if (f->damaged) {
        printf("               and this disk has lost entries that it had acknowledged (%s)\n",
               f->damage_text[0] != '\0' ? f->damage_text : "found at an earlier start");
    }
    if (!f->configuration.members[f->own_index].voter_incoming) {
        printf("               and this node did not vote: entries were acknowledged without it\n");
    }
}

static void print_members(const struct recover_found *f)
{
    for (size_t i = 0; i < f->configuration.count; i++) {
        const struct member *m = &f->configuration.members[i];
        printf("%-14s %s, %s, id %016" PRIx64 ", %s\n", i == f->own_index ? "stays" : "goes",
               m->name, role_text(m), m->id, m->peer);
    }
}

static void print_found(const struct recover_found *f, const char *data_dir, bool alone)
{
    printf("data directory %s of node %s, id %016" PRIx64 "\n", data_dir, f->identity.name,
           f->identity.member_id);
    printf("cluster        %s, id %016" PRIx64 "\n", f->identity.cluster, f->identity.cluster_id);
    if (alone) {
        printf("nothing to do  it is the only member of its cluster: start holdfastd\n");
        return;
    }
    print_log(f);
    print_members(f);
}

/* ---- as JSON; ids as in the text, since 64 bits do not survive every reader of numbers --------------- */

static void json_text(const char *name, const char *text)
{
    print_json_octets(stdout, name, view_of_text(text));
}

/* Everything but the end, which says what was done. */
static void json_begin(const struct recover_found *f, const char *data_dir, bool alone)
{
    printf("{");
    json_text("data_dir", data_dir);
    printf(",");
    json_text("node", f->identity.name);
    printf(",\"member_id\":\"%016" PRIx64 "\",", f->identity.member_id);
    json_text("cluster", f->identity.cluster);
    printf(",\"cluster_id\":\"%016" PRIx64 "\",\"alone\":%s", f->identity.cluster_id,
           alone ? "true" : "false");
    if (alone) {
        return;
    }
    printf(",\"first_index\":%" PRIu64 ",\"last_index\":%" PRIu64 ",\"last_term\":%" PRIu64
           ",\"committed_index\":%" PRIu64 ",\"applied_index\":%" PRIu64 ",\"revision\":%" PRId64
           ",\"uncommitted\":%" PRIu64 ",\"voted\":%s,\"damaged\":%s",
           f->first_index, f->last_index, f->last_term, f->committed_index, f->kv.applied_index,
           f->kv.revision, f->last_index - f->committed_index,
           f->configuration.members[f->own_index].voter_incoming ? "true" : "false",
           f->damaged ? "true" : "false");
    if (f->damaged) {
        printf(",");
        json_text("damage", f->damage_text);
    }
    printf(",\"members\":[");
    for (size_t i = 0; i < f->configuration.count; i++) {
        const struct member *m = &f->configuration.members[i];
        printf("%s{", i > 0 ? "," : "");
        json_text("name", m->name);
        printf(",\"id\":\"%016" PRIx64 "\",\"role\":\"%s\",", m->id, role_text(m));
        json_text("peer", m->peer);
        printf(",\"stays\":%s}", i == f->own_index ? "true" : "false");
    }
    printf("]");
}

static enum cli_exit force(struct recover *r, const struct config *config, bool json)
{
    const struct recover_found *f = recover_found(r);
    const struct config_member *listed = &config->members[config->node_index];
    struct configuration alone;
    struct member own = {0};
    memcpy(own.peer, listed->peer, sizeof(own.peer));
    memcpy(own.client, listed->client, sizeof(own.client));
    enum err error = recover_force(r, &own, draw_random(), &alone);
    if (error != OK) {
        fprintf(stderr, "holdfastctl: %s/raft.db cannot be written: %s; nothing was changed\n",
                config->data_dir, err_text(error));
        return CLI_FAILED;
    }
    if (json) {
        json_begin(f, config->data_dir, false);
        printf(",\"done\":true,\"new_cluster_id\":\"%016" PRIx64 "\",\"new_index\":%" PRIu64
               ",\"new_term\":%" PRIu64 "}\n",
               alone.cluster_id, f->last_index + 1, f->current_term + 1);
        return CLI_OK;
    }
    printf(
        "done           %s is a cluster of its own with the id %016" PRIx64 ", from entry %" PRIu64
        " of term %" PRIu64 " on\n"
        "next           start holdfastd here; on each of the others empty the data directory, set "
        "join = \"%s\", and start it\n",
        f->identity.name, alone.cluster_id, f->last_index + 1, f->current_term + 1, listed->peer);
    return CLI_OK;
}

enum cli_exit command_recover(const struct cli_arguments *arguments)
{
    struct config *config = mem_zalloc(sizeof(*config));
    struct recover *r = NULL;
    char problem[PROBLEM_TEXT_MAX] = "";
    enum cli_exit code = CLI_FAILED;
    if (arguments->word_count != 1 || arguments->plan == arguments->force) {
        code = cli_usage("recover --plan|--force [-f CONFIG] [-o json]");
        goto out;
    }
    const char *path = arguments->file != NULL ? arguments->file : RECOVER_CONFIG_DEFAULT;
    if (config_load(path, config, problem, sizeof(problem)) != OK ||
        data_dir_take(config->data_dir, false, problem, sizeof(problem)) != OK ||
        recover_look(config->data_dir, config->cluster, config->node, GROUP_DEFAULT, draw_random(),
                     &r, problem, sizeof(problem)) != OK) {
        fprintf(stderr, "holdfastctl: %s\n", problem);
        goto out;
    }
    const struct recover_found *f = recover_found(r);
    bool json = arguments->output == OUTPUT_JSON;
    bool alone = recover_is_alone(r);
    if (!json) {
        print_found(f, config->data_dir, alone);
    }
    if (!alone && arguments->force) {
        code = force(r, config, json);
        goto out;
    }
    code = alone && arguments->force ? CLI_FAILED : CLI_OK;
    if (json) {
        json_begin(f, config->data_dir, alone);
        printf(",\"done\":false}\n");
    } else if (!alone) {
        printf(
            "next           nothing was changed. Only if the members that go never come back, and "
            "no other survivor's log ends later: the same with --force instead of --plan\n");
    }
out:
    recover_close(&r);
    mem_free(config);
    return code;
}
