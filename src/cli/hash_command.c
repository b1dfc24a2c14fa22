/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash_command.c: asks every member for the hash of its keys and history at one and the same revision, and
 * says whether all agree. Without --rev it is the highest revision that all of them have reached.
 *
 * Hashes can be compared only if the members have compacted up to the same revision; where they have not,
 * that is said and is no disagreement.
 */
#include "cli.h"

#include <string.h>

#define ROUNDS_MAX 3 /* a compaction may come in between; then once more */

struct member_hash {
    const char *name;
    char address[MEMBER_ADDRESS_MAX + 1];
    bool answered;
    char problem[512];
    int64_t revision; /* the member's own when asked */
    uint32_t hash;
    int64_t compact_revision;
};

/* revision 0: the newest. */
static void ask(const struct cli_arguments *arguments, struct member_hash *of, int64_t revision)
{
    of->answered = false;
    if (of->address[0] == '\0') {
        (void)snprintf(of->problem, sizeof(of->problem), "tells no client address");
        return;
    }
    Etcdserverpb__HashKVRequest request = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    request.revision = revision;
    struct buffer packed = {0};
    cli_pack(&request.base, &packed);
    struct cli_answer answer = {0};
    if (cli_call_one(of->address, "/etcdserverpb.Maintenance/HashKV",
                     view_of(packed.data, packed.size), arguments->timeout_ms, &answer, of->problem,
                     sizeof(of->problem)) == CLI_OK) {
        Etcdserverpb__HashKVResponse *response =
            answer.status != 0
                ? NULL
                : etcdserverpb__hash_kvresponse__unpack(NULL, answer.body.size, answer.body.data);
        if (response != NULL) {
            of->answered = true;
            of->revision = cli_revision_of(response->header);
            of->hash = response->hash;
            of->compact_revision = response->compact_revision;
            etcdserverpb__hash_kvresponse__free_unpacked(response, NULL);
        } else {
            (void)snprintf(of->problem, sizeof(of->problem), "%s",
                           answer.status != 0 ? answer.message : "its answer cannot be read");
        }
        bytes_free(&answer.body);
    }
    buffer_free(&packed);
}

struct verdict {
    size_t answered;
    bool comparable, agree;
};

static struct verdict judge(const struct member_hash *all, size_t count)
{
    struct verdict v = {.comparable = true, .agree = true};
    const struct member_hash *first = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!all[i].answered) {
            continue;
        }
        v.answered++;
        if (first == NULL) {
            first = &all[i];
        } else {
            v.comparable = v.comparable && all[i].compact_revision == first->compact_revision;
            v.agree = v.agree && all[i].hash == first->hash;
        }
    }
    return v;
}

static void print_hashes(const struct cli_arguments *arguments, const struct member_hash *all,
                         size_t count, int64_t revision, const struct verdict *v)
{
    if (arguments->output == OUTPUT_JSON) {
        printf("{\"revision\":%" PRId64 ",\"agree\":%s,\"members\":[", revision,
               !v->comparable || v->answered == 0 ? "null"
               : v->agree                         ? "true"
                                                  : "false");
        for (size_t i = 0; i < count; i++) {
            printf("%s{", i > 0 ? "," : "");
            print_json_octets(stdout, "name", view_of_text(all[i].name));
            printf(",");
            print_json_octets(stdout, "client", view_of_text(all[i].address));
            if (all[i].answered) {
                printf(",\"hash\":%" PRIu32 ",\"compact_revision\":%" PRId64 "}", all[i].hash,
                       all[i].compact_revision);
            } else {
                printf(",");
                print_json_octets(stdout, "problem", view_of_text(all[i].problem));
                printf("}");
            }
        }
        printf("]}\n");
        return;
    }
    static const char *const titles[] = {"MEMBER", "CLIENT ADDRESS", "HASH", "COMPACTED"};
    struct table t;
    table_start(&t, ARRAY_COUNT(titles), titles);
    for (size_t i = 0; i < count; i++) {
        table_cell(&t, "%s", all[i].name);
        table_cell(&t, "%s", all[i].address);
        if (all[i].answered) {
            table_cell(&t, "%08" PRIx32, all[i].hash);
            table_cell(&t, "%" PRId64, all[i].compact_revision);
        } else {
            table_cell(&t, "-");
            table_cell(&t, "-");
        }
    }
    table_print(&t, stdout);
    for (size_t i = 0; i < count; i++) {
        if (!all[i].answered) {
            printf("%s: %s\n", all[i].name, all[i].problem);
        }
    }
    if (v->answered == 0) {
        return;
    }
    if (!v->comparable) {
        printf("not comparable: the members have compacted up to different revisions\n");
    } else {
        printf("%zu of %zu members %s at revision %" PRId64 "\n", v->answered, count,
               v->agree ? "agree" : "asked: THEY DIFFER", revision);
    }
}

/* The highest revision all who answer have reached. */
static int64_t common_revision(const struct cli_arguments *arguments, struct member_hash *all,
                               size_t count)
{
    int64_t revision = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        ask(arguments, &all[i], 0);
        if (all[i].answered && all[i].revision < revision) {
            revision = all[i].revision;
        }
    }
    return revision == INT64_MAX ? 0 : revision;
}

enum cli_exit command_hash(const struct cli_arguments *arguments)
{
    struct cli_session session = {.arguments = arguments};
    Etcdserverpb__MemberListResponse *members = NULL;
    enum cli_exit code = cli_fetch_members(&session, &members);
    cli_session_close(&session);
    if (code != CLI_OK) {
        return code;
    }
    size_t count = members->n_members;
    struct member_hash *all = mem_zalloc(count * sizeof(*all));
    for (size_t i = 0; i < count; i++) {
        all[i].name = members->members[i]->name;
        cli_member_address(members->members[i], all[i].address, sizeof(all[i].address));
    }
    struct verdict v = {0};
    int64_t revision = 0;
    for (int round = 0; round < ROUNDS_MAX && !(v.answered == count && v.comparable); round++) {
        revision =
            arguments->revision > 0 ? arguments->revision : common_revision(arguments, all, count);
        for (size_t i = 0; i < count; i++) {
            ask(arguments, &all[i], revision);
        }
        v = judge(all, count);
    }
    print_hashes(arguments, all, count, revision, &v);
    mem_free(all);
    etcdserverpb__member_list_response__free_unpacked(members, NULL);
    return count > 0 && v.answered == count && v.comparable && v.agree ? CLI_OK : CLI_FAILED;
}
