/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_manage.c: the `cluster` commands: status, scale, pause, resume, replace, plan and apply. They speak holdfast's own
 * service (holdfast.proto) and etcd's Cluster; any node answers, and changes are carried to the leader.
 *
 * apply pauses the autopilot, does the first step of a plan, makes the plan anew, and so on until it is empty; then
 * the autopilot goes on and makes voters of whom the number asks for. A signal lets the autopilot go on and
 * ends the command; the same command later begins with what is left.
 */
#include "cli.h"
#include "cluster_plan.h"

#include <signal.h>
#include <string.h>
#include <time.h>

#define LOOK_EVERY_MS    300
#define APPLY_STEPS_MAX  1000 /* a plan that does not shrink is somebody else's work against ours */
#define PROBLEM_TEXT_MAX 1024

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
    UNUSED(number);
    stopping = 1;
}

static void pause_a_little(void)
{
    const struct timespec pause = {.tv_nsec = LOOK_EVERY_MS * 1000000L};
    (void)nanosleep(&pause, NULL);
}

/* ---- calls -------------------------------------------------------------------------------------- */

/* The leader's word if it can be had, else that of whoever answers. Free with free_unpacked. */
static enum cli_exit fetch(struct cli_session *session, Holdfast__V1__GetClusterResponse **out)
{
    Holdfast__V1__GetClusterRequest request = HOLDFAST__V1__GET_CLUSTER_REQUEST__INIT;
    struct cli_answer answer = {0};
    enum cli_exit code =
        cli_call_message(session, "/holdfast.v1.Cluster/GetCluster", &request.base, false, &answer);
    if (code != CLI_OK) {
        return code;
    }
    Holdfast__V1__GetClusterResponse *got =
        holdfast__v1__get_cluster_response__unpack(NULL, answer.body.size, answer.body.data);
    if (got == NULL) {
        (void)cli_unreadable(&answer);
        return CLI_FAILED;
    }
    bytes_free(&answer.body);
    if (!got->from_leader && got->leader_client[0] != '\0') {
        char problem[PROBLEM_TEXT_MAX];
        struct cli_answer leaders = {0};
        if (cli_call_one(got->leader_client, "/holdfast.v1.Cluster/GetCluster", view_of("", 0),
                         session->arguments->timeout_ms, &leaders, problem,
                         sizeof(problem)) == CLI_OK) {
            Holdfast__V1__GetClusterResponse *better =
                leaders.status == 0 ? holdfast__v1__get_cluster_response__unpack(
                                          NULL, leaders.body.size, leaders.body.data)
                                    : NULL;
            if (better != NULL && better->from_leader) {
                holdfast__v1__get_cluster_response__free_unpacked(got, NULL);
                got = better;
            } else if (better != NULL) {
                holdfast__v1__get_cluster_response__free_unpacked(better, NULL);
            }
            bytes_free(&leaders.body);
        }
    }
    *out = got;
    return CLI_OK;
}

static void release(Holdfast__V1__GetClusterResponse *cluster)
{
    if (cluster != NULL) {
        holdfast__v1__get_cluster_response__free_unpacked(cluster, NULL);
    }
}

/* A call whose answer says nothing that we do not ask for anyway. */
static enum cli_exit change(struct cli_session *session, const char *path,
                            const ProtobufCMessage *request)
{
    struct cli_answer answer = {0};
    enum cli_exit code = cli_call_message(session, path, request, true, &answer);
    if (code == CLI_OK) {
        bytes_free(&answer.body);
    }
    return code;
}

static enum cli_exit set_wish(struct cli_session *session, const Holdfast__V1__SetWishRequest *wish)
{
    return change(session, "/holdfast.v1.Cluster/SetWish", &wish->base);
}

static enum cli_exit set_paused(struct cli_session *session, bool paused)
{
    Holdfast__V1__SetWishRequest wish = HOLDFAST__V1__SET_WISH_REQUEST__INIT;
    wish.set_paused = true;
    wish.paused = paused;
    return set_wish(session, &wish);
}

/* ---- status ------------------------------------------------------------------------------------- */

static void print_wish(const Holdfast__V1__GetClusterResponse *c)
{
    const Holdfast__V1__Wish *wish = c->wish;
    if (wish == NULL) {
        return;
    }
    if (wish->voters == 0) {
        printf("voters: auto, now %u", c->voters_wanted);
    } else {
        printf("voters: %u", wish->voters);
    }
    printf("; %zu vote%s; ", cluster_plan_voters(c),
           c->change_pending ? ", a change is under way" : "");
    if (wish->heal_after_s == 0) {
        printf("a silent voter is never replaced");
    } else {
        printf("a voter is replaced after %u s of silence", wish->heal_after_s);
    }
    printf("\n");
    if (c->autopilot != NULL && c->from_leader) {
        static const char *const actions[] = {"rests", "waits", "changes voters"};
        unsigned action = (unsigned)c->autopilot->action;
        printf("autopilot %s%s%s%s\n", action < ARRAY_COUNT(actions) ? actions[action] : "is busy",
               wish->paused ? " (paused)" : "", c->autopilot->reason[0] != '\0' ? ": " : "",
               c->autopilot->reason);
        if (c->autopilot->last_change[0] != '\0') {
            printf("last change %" PRIu64 " s ago: %s\n", c->autopilot->last_change_ago_ms / 1000,
                   c->autopilot->last_change);
        }
    } else {
        printf("autopilot %s; the leader does not answer, so nothing is known of progress\n",
               wish->paused ? "is paused" : "may act");
    }
}

static void print_json(const Holdfast__V1__GetClusterResponse *c)
{
    printf("{\"members\":[");
    for (size_t i = 0; i < c->n_members; i++) {
        const Holdfast__V1__Member *m = c->members[i];
        printf("%s{\"id\":\"%016" PRIx64 "\",", i > 0 ? "," : "", m->id);
        print_json_octets(stdout, "name", view_of_text(m->name));
        putchar(',');
        print_json_octets(stdout, "peer", view_of_text(m->peer));
        putchar(',');
        print_json_octets(stdout, "client", view_of_text(m->client));
        printf(",\"role\":\"%s\",\"leader\":%s", cluster_role_text(m->role),
               m->leader ? "true" : "false");
        if (c->from_leader) {
            printf(",\"alive\":%s,\"silent_ms\":%" PRIu64 ",\"lag\":%" PRIu64 ",\"caught_up\":%s",
                   m->alive ? "true" : "false", m->silent_ms, m->lag_entries,
                   m->caught_up ? "true" : "false");
        }
        putchar('}');
    }
    printf("],\"from_leader\":%s,\"change_pending\":%s,\"voters_wanted\":%u",
           c->from_leader ? "true" : "false", c->change_pending ? "true" : "false",
           c->voters_wanted);
    if (c->wish != NULL) {
        printf(",\"wish\":{\"voters\":%u,\"heal_after_s\":%u,\"paused\":%s}", c->wish->voters,
               c->wish->heal_after_s, c->wish->paused ? "true" : "false");
    }
    if (c->autopilot != NULL && c->from_leader) {
        printf(",\"autopilot\":{");
        print_json_octets(stdout, "reason", view_of_text(c->autopilot->reason));
        putchar(',');
        print_json_octets(stdout, "last_change", view_of_text(c->autopilot->last_change));
        putchar('}');
    }
    printf("}\n");
}

static void print_members(const Holdfast__V1__GetClusterResponse *c)
{
    static const char *const titles[] = {"MEMBER", "ID", "ROLE", "ALIVE", "LAG", "PEER ADDRESS"};
    struct table t;
    table_start(&t, ARRAY_COUNT(titles), titles);
    for (size_t i = 0; i < c->n_members; i++) {
        const Holdfast__V1__Member *m = c->members[i];
        bool come = m->role != HOLDFAST__V1__ROLE__ROLE_DECLARED;
        table_cell(&t, "%s", come ? m->name : "-");
        table_cell(&t, "%016" PRIx64, m->id);
        table_cell(&t, "%s%s", cluster_role_text(m->role), m->leader ? ", leader" : "");
        if (c->from_leader && come) {
            table_cell(&t, "%s", m->alive ? "yes" : "no");
            table_cell(&t, "%" PRIu64, m->lag_entries);
        } else {
            table_cell(&t, "-");
            table_cell(&t, "-");
        }
        table_cell(&t, "%s", m->peer);
    }
    table_print(&t, stdout);
}

static enum cli_exit cluster_status(struct cli_session *session)
{
    Holdfast__V1__GetClusterResponse *cluster = NULL;
    enum cli_exit code = fetch(session, &cluster);
    if (code != CLI_OK) {
        return code;
    }
    if (session->arguments->output == OUTPUT_JSON) {
        print_json(cluster);
    } else {
        print_members(cluster);
        print_wish(cluster);
    }
    code = cluster->leader_id != 0 ? CLI_OK : CLI_FAILED;
    release(cluster);
    return code;
}

/* ---- scale, replace ----------------------------------------------------------------------------- */

static enum cli_exit cluster_scale(struct cli_session *session, const char *text)
{
    Holdfast__V1__SetWishRequest wish = HOLDFAST__V1__SET_WISH_REQUEST__INIT;
    int64_t voters = 0;
    if (strcmp(text, "auto") != 0 &&
        (!cli_parse_number(text, 1, WISH_VOTERS_MAX, &voters) || voters % 2 == 0)) {
        return cli_usage("cluster scale 1|3|5|7|auto");
    }
    wish.set_voters = true;
    wish.voters = (uint32_t)voters;
    enum cli_exit code = set_wish(session, &wish);
    return code == CLI_OK ? cluster_status(session) : code;
}

static enum cli_exit replace(struct cli_session *session, uint64_t id, const char *name)
{
    Holdfast__V1__ReplaceRequest request;
    char copy[MEMBER_NAME_MAX + 1];
    (void)snprintf(copy, sizeof(copy), "%s", name);
    holdfast__v1__replace_request__init(&request);
    request.id = id;
    if (id == 0) {
        request.name = copy;
    }
    return change(session, "/holdfast.v1.Cluster/Replace", &request.base);
}

static enum cli_exit cluster_replace(struct cli_session *session, const char *name)
{
    enum cli_exit code = replace(session, 0, name);
    return code == CLI_OK ? cluster_status(session) : code;
}

/* ---- plan and apply ----------------------------------------------------------------------------- */

static enum cli_exit make_plan(struct cli_session *session, const struct config *declared,
                               struct cluster_plan *out)
{
    Holdfast__V1__GetClusterResponse *cluster = NULL;
    enum cli_exit code = fetch(session, &cluster);
    if (code != CLI_OK) {
        return code;
    }
    if (strcmp(cluster->cluster, declared->cluster) != 0) {
        fprintf(stderr, "holdfastctl: the file declares cluster \"%s\", this is \"%s\"\n",
                declared->cluster, cluster->cluster);
        code = CLI_FAILED;
    } else {
        cluster_plan_make(declared, cluster, out);
    }
    release(cluster);
    return code;
}

static void print_plan(const struct cluster_plan *plan)
{
    if (plan->count == 0) {
        printf("nothing to do: the cluster is as declared\n");
    }
    for (size_t i = 0; i < plan->count; i++) {
        printf("%zu. %s\n", i + 1, plan->steps[i].text);
    }
}

/* Until the node has come and has the log, or a signal. */
static enum cli_exit wait_joined(struct cli_session *session, const struct cluster_step *step)
{
    for (;;) { /* as long as the person waits */
        Holdfast__V1__GetClusterResponse *cluster = NULL;
        enum cli_exit code = fetch(session, &cluster);
        if (code != CLI_OK) {
            return code;
        }
        const Holdfast__V1__Member *m = cluster_plan_member(cluster, step->name);
        bool done = m != NULL && cluster->from_leader && m->caught_up;
        release(cluster);
        if (done || stopping) {
            return CLI_OK;
        }
        pause_a_little();
    }
}

static enum cli_exit take_step(struct cli_session *session, const struct config *declared,
                               const struct cluster_step *step)
{
    char url[MEMBER_ADDRESS_MAX + 8];
    char *urls[] = {url};
    (void)snprintf(url, sizeof(url), "http://%s", step->peer);
    switch (step->kind) {
    case STEP_DECLARE: {
        Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
        request.n_peerurls = 1;
        request.peerurls = urls;
        request.islearner = true;
        return change(session, "/etcdserverpb.Cluster/MemberAdd", &request.base);
    }
    case STEP_JOIN:
        return wait_joined(session, step);
    case STEP_UPDATE: {
        Etcdserverpb__MemberUpdateRequest request = ETCDSERVERPB__MEMBER_UPDATE_REQUEST__INIT;
        request.id = step->id;
        request.n_peerurls = 1;
        request.peerurls = urls;
        return change(session, "/etcdserverpb.Cluster/MemberUpdate", &request.base);
    }
    case STEP_REPLACE:
        return replace(session, step->id, "");
    case STEP_REMOVE: {
        Etcdserverpb__MemberRemoveRequest request = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
        request.id = step->id;
        return change(session, "/etcdserverpb.Cluster/MemberRemove", &request.base);
    }
    case STEP_WISH: {
        Holdfast__V1__SetWishRequest wish = HOLDFAST__V1__SET_WISH_REQUEST__INIT;
        wish.set_heal_after_s = true;
        wish.heal_after_s = declared->heal_after_s;
        wish.set_voters = declared->voters != CONFIG_VOTERS_LISTED;
        wish.voters = wish.set_voters ? cluster_plan_voters_declared(declared) : 0;
        return set_wish(session, &wish);
    }
    case STEP_RESUME:
        return set_paused(session, false);
    }
    return CLI_FAILED;
}

/* The autopilot makes voters of as many as are wanted. */
static enum cli_exit wait_voters(struct cli_session *session)
{
    bool told = false;
    for (;;) { /* as long as the person waits */
        Holdfast__V1__GetClusterResponse *cluster = NULL;
        enum cli_exit code = fetch(session, &cluster);
        if (code != CLI_OK) {
            return code;
        }
        size_t voters = cluster_plan_voters(cluster);
        bool done = !cluster->change_pending && voters == cluster->voters_wanted;
        if (!done && !told) {
            told = true;
            printf("now %zu of %u vote; waiting for the autopilot\n", voters,
                   cluster->voters_wanted);
            (void)fflush(stdout);
        } else if (done) {
            printf("done: %zu vote\n", voters);
        }
        release(cluster);
        if (done) {
            return CLI_OK;
        }
        if (stopping) {
            fprintf(stderr, "holdfastctl: stopped; the autopilot goes on by itself\n");
            return CLI_FAILED;
        }
        pause_a_little();
    }
}

/* Let the autopilot go on, whatever it was that ended us. */
static enum cli_exit stop_apply(struct cli_session *session, enum cli_exit code)
{
    if (set_paused(session, false) != CLI_OK) {
        fprintf(stderr, "holdfastctl: the autopilot is still paused: holdfastctl cluster resume\n");
    }
    fprintf(stderr, "holdfastctl: %s; the same command goes on with what is left\n",
            stopping ? "stopped" : "a step failed");
    return code == CLI_OK ? CLI_FAILED : code;
}

static enum cli_exit apply(struct cli_session *session, const struct config *declared)
{
    struct cluster_plan *plan = mem_zalloc(sizeof(*plan));
    enum cli_exit code = make_plan(session, declared, plan);
    if (code != CLI_OK || plan->count == 0) {
        if (code == CLI_OK) {
            print_plan(plan);
        }
        goto out;
    }
    const struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    print_plan(plan);
    code = set_paused(session, true);
    for (int i = 0; code == CLI_OK && i < APPLY_STEPS_MAX; i++) {
        code = make_plan(session, declared, plan);
        if (code != CLI_OK || plan->count == 0) {
            break;
        }
        printf("-> %s\n", plan->steps[0].text);
        (void)fflush(stdout);
        code = take_step(session, declared, &plan->steps[0]);
        if (stopping && plan->steps[0].kind != STEP_RESUME) {
            break;
        }
    }
    code = code != CLI_OK || stopping || plan->count > 0 ? stop_apply(session, code)
                                                         : wait_voters(session);
out:
    mem_free(plan);
    return code;
}

static enum cli_exit cluster_file(struct cli_session *session, bool carry_out)
{
    char problem[PROBLEM_TEXT_MAX] = "";
    struct config *declared = mem_zalloc(sizeof(*declared));
    struct cluster_plan *plan = mem_zalloc(sizeof(*plan));
    enum cli_exit code = CLI_FAILED;
    if (session->arguments->file == NULL) {
        code = cli_usage(carry_out ? "cluster apply -f FILE" : "cluster plan -f FILE");
    } else if (config_load(session->arguments->file, declared, problem, sizeof(problem)) != OK) {
        fprintf(stderr, "holdfastctl: %s\n", problem);
    } else if (carry_out) {
        code = apply(session, declared);
    } else {
        code = make_plan(session, declared, plan);
        if (code == CLI_OK) {
            print_plan(plan);
        }
    }
    mem_free(plan);
    mem_free(declared);
    return code;
}

enum cli_exit command_cluster(const struct cli_arguments *arguments)
{
    struct cli_session session = {.arguments = arguments};
    const char *word = arguments->word_count > 1 ? arguments->words[1] : "";
    enum cli_exit code = CLI_USAGE;
    if (arguments->word_count == 2 && strcmp(word, "status") == 0) {
        code = cluster_status(&session);
    } else if (arguments->word_count == 3 && strcmp(word, "scale") == 0) {
        code = cluster_scale(&session, arguments->words[2]);
    } else if (arguments->word_count == 3 && strcmp(word, "replace") == 0) {
        code = cluster_replace(&session, arguments->words[2]);
    } else if (arguments->word_count == 2 &&
               (strcmp(word, "pause") == 0 || strcmp(word, "resume") == 0)) {
        code = set_paused(&session, word[0] == 'p');
    } else if (arguments->word_count == 2 &&
               (strcmp(word, "plan") == 0 || strcmp(word, "apply") == 0)) {
        code = cluster_file(&session, word[0] == 'a');
    } else {
        code = cli_usage(
            "cluster status|scale N|replace NAME|plan -f FILE|apply -f FILE|pause|resume");
    }
    cli_session_close(&session);
    return code;
}
