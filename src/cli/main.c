/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c: holdfastctl, the everyday tool. Calls one command. The commands speak etcd's v3 API and work
 * against any server of it.
 */
#include "cli.h"

#include <string.h>

struct command {
    const char *name;
    size_t words_most; /* with the name; 0: the command looks itself */
    enum cli_exit (*run)(const struct cli_arguments *arguments);
};

static enum cli_exit run_elect(const struct cli_arguments *arguments)
{
    return arguments->listen ? command_elect_listen(arguments) : command_elect(arguments);
}

static enum cli_exit run_member(const struct cli_arguments *arguments)
{
    if (arguments->word_count != 2 || strcmp(arguments->words[1], "list") != 0) {
        return cli_usage("member list");
    }
    return command_member_list(arguments);
}

static const struct command commands[] = {
    {"put", 0, command_put},         {"get", 0, command_get},
    {"del", 0, command_del},         {"txn", 1, command_txn},
    {"watch", 0, command_watch},     {"lease", 0, command_lease},
    {"elect", 0, run_elect},         {"compact", 0, command_compact},
    {"hash", 1, command_hash},       {"snapshot", 0, command_snapshot},
    {"status", 1, command_status},   {"member", 0, run_member},
    {"bench", 0, command_bench},     {"recover", 0, command_recover},
    {"cluster", 0, command_cluster},
};

static int run(const struct cli_arguments *a)
{
    const char *name = a->words[0];
    if (strcmp(name, "lock") == 0) {
        return command_lock(a);
    }
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        if (strcmp(name, commands[i].name) == 0) {
            if (commands[i].words_most != 0 && a->word_count > commands[i].words_most) {
                return (int)cli_usage(name);
            }
            return (int)commands[i].run(a);
        }
    }
    fprintf(
        stderr,
        "holdfastctl: unknown command \"%s\"\n  commands: put get del txn watch lease lock elect "
        "compact hash snapshot status \"member list\" bench cluster recover\n",
        name);
    return CLI_USAGE;
}

int main(int argc, char **argv)
{
    struct cli_arguments *arguments = mem_zalloc(sizeof(*arguments));
    int code = (int)cli_arguments_parse(argc, argv, arguments);
    if (code == CLI_OK && arguments->word_count == 0) {
        code = (int)cli_usage("COMMAND...");
    }
    if (code == CLI_OK) {
        code = run(arguments);
    }
    if (fflush(stdout) != 0 && code == CLI_OK) {
        code = CLI_FAILED;
    }
    mem_free(arguments);
    return code;
}
