/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover_command.c: recover, the one command that needs no server and may have none: it reads a survivor's data directory
 * and says what a cluster of this node alone would hold (--plan), or makes it so (--force). recover.h has the rules.
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

static enum cli_exit force(struct recover *r, const struct config *config)
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
        code = cli_usage("recover --plan|--force [-f CONFIG]");
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
    printf("data directory %s of node %s, id %016" PRIx64 "\n", config->data_dir, f->identity.name,
           f->identity.member_id);
    printf("cluster        %s, id %016" PRIx64 "\n", f->identity.cluster, f->identity.cluster_id);
    if (recover_is_alone(r)) {
        printf("nothing to do  it is the only member of its cluster: start holdfastd\n");
        code = arguments->plan ? CLI_OK : CLI_FAILED;
        goto out;
    }
    print_log(f);
    print_members(f);
    if (arguments->force) {
        code = force(r, config);
        goto out;
    }
    printf(
        "next           nothing was changed. Only if the members that go never come back, and no "
        "other survivor's log ends later: the same with --force instead of --plan\n");
    code = CLI_OK;
out:
    recover_close(&r);
    mem_free(config);
    return code;
}
