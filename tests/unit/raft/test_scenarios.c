/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_scenarios.c: transcripts. Each file in tests/scenario is a story that somebody who knows Raft can read and
 * judge: commands, a line of four dashes, then every word the nodes said and every write they did. The test plays the
 * commands and compares.
 *
 *   # comment, anywhere before a command
 *   command                      one or several lines
 *   ----
 *   expected                     up to an empty line
 *
 * Commands
 *   cluster N [blank]            N voters, not started; blank: without configuration
 *   learner ID                   before start: ID does not vote
 *   voters N                     before start: only 1..N are members, the others blank nodes
 *   log ID T T T                 before start: entries of these terms on its disk
 *   term ID T [VOTE]             before start: its term and vote
 *   short                        before start: logs are trimmed as soon and as far as they may be
 *   small                        before start: one entry per append message
 *   lease                        before start: leaders read by leases, all keep their promises
 *   drift ID PERMILLE            before start: its clock gains so much (with -: loses)
 *   start [ID]   crash ID [KEEP] KEEP writes under way are on disk after all
 *   damage ID FROM               while down: the disk lost the log from FROM on
 *   hold | release               messages stay in flight | travel again
 *   deliver A B [N|all]          the oldest (N, or all) in flight from A to B arrive
 *   lose A B | lose              the oldest is lost | all are
 *   disk ID hold | disk ID write N | disk ID release
 *   apply ID hold | apply ID release
 *   cut A B | isolate ID | heal
 *   timeout ID                   its election timeout passes, nobody else gets a tick
 *   pass MS                      time passes for all
 *   skip MS                      the same, but nothing of what is said meanwhile is written down
 *   propose ID TEXT   read ID   bootstrap ID
 *   change ID MEMBER...          ask ID for these members: 1 2 3, or 4L for a learner
 *   members ID                   the configuration in force there
 *   load ID N                    N proposals one after the other, nothing of them written down
 *   flush ID                     its KV table is durable as far as it is applied
 *   transfer ID TARGET           ask ID to hand over its lead; 0: to whom it likes
 *   settle                       all that can happen without time passing happens
 *   state                        a line per node
 *
 * HOLDFAST_SCENARIO_DIR: where the files are (default tests/scenario, seen from the repository's root).
 * HOLDFAST_SCENARIO_UPDATE=1: write what was said into the files, for a person to review in the difference.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

#include <dirent.h>
#include <stdlib.h>

#define FILES_MAX      100
#define FILE_BYTES_MAX (1U << 20)
#define LINE_BYTES_MAX 200
#define WORDS_MAX      20

struct scenario {
    struct cluster *cluster;
    struct buffer said; /* by the nodes, since the last dashes */
    bool manual;        /* messages are moved by commands: no settling by itself */
};

/* ---- commands --------------------------------------------------------------------------------------------------- */

static uint64_t number(const char *word)
{
    return word == NULL ? 0 : strtoull(word, NULL, 10);
}

static bool is(const char *word, const char *text)
{
    return word != NULL && strcmp(word, text) == 0;
}

static void say(struct scenario *s, const char *text)
{
    buffer_append(&s->said, text, strlen(text));
}

static bool before_start(struct scenario *s, char **words)
{
    struct cluster *c = s->cluster;
    uint64_t id = number(words[1]);
    if (is(words[0], "cluster")) {
        s->cluster = cluster_create((size_t)id, 1);
        s->cluster->blank = is(words[2], "blank");
        s->cluster->trace = &s->said;
    } else if (is(words[0], "learner")) {
        c->configuration.members[id - 1].voter_incoming = false;
        c->configuration.members[id - 1].voter_outgoing = false;
    } else if (is(words[0], "voters")) {
        cluster_set_voters(c, (size_t)id);
    } else if (is(words[0], "log")) {
        uint64_t terms[WORDS_MAX + 1] = {0};
        for (size_t i = 2; i < WORDS_MAX && words[i] != NULL; i++) {
            terms[i - 2] = number(words[i]);
        }
        cluster_set_log(c, id, terms);
    } else if (is(words[0], "term")) {
        cluster_set_term(c, id, number(words[2]), number(words[3]));
    } else if (is(words[0], "short")) {
        c->trim_slack_entries = 0;
        c->trim_step_entries = 1;
        c->log_keep_bytes = ENTRY_OVERHEAD;
    } else if (is(words[0], "stall")) {
        c->disk_stall_ms = (uint32_t)id;
    } else if (is(words[0], "lease")) {
        c->leader_lease = true;
    } else if (is(words[0], "drift")) {
        c->drift_permille[id] = words[2] == NULL ? 0 : strtoll(words[2], NULL, 10);
    } else if (is(words[0], "small")) {
        c->append_bytes_max = 1;
    } else if (is(words[0], "damage")) {
        cluster_damage(c, id, number(words[2]));
    } else {
        return false;
    }
    return true;
}

static bool network(struct scenario *s, char **words)
{
    struct cluster *c = s->cluster;
    uint64_t from = number(words[1]);
    uint64_t to = number(words[2]);
    if (is(words[0], "hold")) {
        c->network_held = true;
        s->manual = true;
    } else if (is(words[0], "release")) {
        c->network_held = false;
        s->manual = false;
    } else if (is(words[0], "deliver")) {
        uint64_t count = is(words[3], "all") ? cluster_count_flights(c, from, to, 0)
                         : words[3] == NULL  ? 1
                                             : number(words[3]);
        for (uint64_t i = 0; i < count; i++) {
            if (!cluster_deliver(c, from, to, 0)) {
                say(s, "nothing to deliver\n");
            }
        }
    } else if (is(words[0], "lose")) {
        if (words[1] == NULL) {
            cluster_lose_all(c);
        } else if (!cluster_lose(c, from, to, 0)) {
            say(s, "nothing to lose\n");
        }
    } else if (is(words[0], "cut")) {
        cluster_cut(c, from, to, true);
    } else if (is(words[0], "isolate")) {
        cluster_isolate(c, from, true);
    } else if (is(words[0], "heal")) {
        cluster_heal(c);
    } else {
        return false;
    }
    return true;
}

static bool disk(struct scenario *s, char **words)
{
    uint64_t id = number(words[1]);
    bool hold = is(words[2], "hold");
    if (is(words[0], "apply")) {
        cluster_apply_hold(s->cluster, id, hold);
    } else if (is(words[0], "disk") && is(words[2], "write")) {
        cluster_disk_release(s->cluster, id, (size_t)number(words[3]));
    } else if (is(words[0], "disk")) {
        cluster_disk_hold(s->cluster, id, hold);
    } else {
        return false;
    }
    return true;
}

static void change(struct scenario *s, uint64_t id, char **words)
{
    uint64_t voters[WORDS_MAX + 1] = {0};
    uint64_t learners[WORDS_MAX + 1] = {0};
    size_t voter_count = 0;
    size_t learner_count = 0;
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strchr(words[i], 'L') != NULL) {
            learners[learner_count++] = number(words[i]);
        } else {
            voters[voter_count++] = number(words[i]);
        }
    }
    enum err error = cluster_change(s->cluster, id, voters, learners);
    if (error != OK) {
        say(s, err_text(error));
        say(s, "\n");
    }
}

static bool node(struct scenario *s, char **words)
{
    struct cluster *c = s->cluster;
    uint64_t id = number(words[1]);
    if (is(words[0], "start")) {
        for (uint64_t each = 1; each <= c->count; each++) {
            if (id == 0 || id == each) {
                cluster_start(c, each);
            }
        }
    } else if (is(words[0], "crash")) {
        cluster_crash(c, id, (size_t)number(words[2]));
    } else if (is(words[0], "timeout")) {
        cluster_time_out(c, id);
    } else if (is(words[0], "pass")) {
        cluster_run(c, id * 1000);
    } else if (is(words[0], "skip")) {
        c->trace = NULL;
        cluster_run(c, id * 1000);
        c->trace = &s->said;
    } else if (is(words[0], "propose")) {
        enum err error = cluster_propose(c, id, words[2] == NULL ? "" : words[2]);
        if (error != OK) {
            say(s, err_text(error));
            say(s, "\n");
        }
    } else if (is(words[0], "read")) {
        (void)cluster_read(c, id);
    } else if (is(words[0], "bootstrap")) {
        struct raft_event event = {.type = RAFT_EVENT_BOOTSTRAP,
                                   .configuration = &c->configuration};
        cluster_step(c, id, &event);
    } else if (is(words[0], "change")) {
        change(s, id, words + 2);
    } else if (is(words[0], "load")) {
        c->trace = NULL;
        for (uint64_t i = number(words[2]); i > 0; i--) {
            (void)cluster_propose(c, id, "x");
            cluster_settle(c);
        }
        c->trace = &s->said;
    } else if (is(words[0], "flush")) {
        cluster_kv_flush(c, id);
    } else if (is(words[0], "transfer")) {
        enum err error = cluster_transfer(c, id, number(words[2]));
        if (error != OK) {
            say(s, err_text(error));
            say(s, "\n");
        }
    } else if (is(words[0], "members")) {
        cluster_print_configuration(&s->said, raft_configuration(cluster_node(c, id)->raft));
    } else if (is(words[0], "state")) {
        cluster_print_state(c, &s->said);
    } else if (!is(words[0], "settle")) {
        return false;
    }
    return true;
}

/* Disk and state machine do their part at once unless held; so does the network unless it is. */
static bool run_command(struct scenario *s, const char *line)
{
    char text[LINE_BYTES_MAX];
    (void)snprintf(text, sizeof(text), "%s", line);
    char *words[WORDS_MAX + 1] = {0};
    char *rest = NULL;
    size_t count = 0;
    for (char *word = strtok_r(text, " ", &rest); word != NULL && count < WORDS_MAX;
         word = strtok_r(NULL, " ", &rest)) {
        words[count++] = word;
    }
    if (count == 0 || (s->cluster == NULL && !is(words[0], "cluster"))) {
        return false;
    }
    bool known = before_start(s, words) || network(s, words) || disk(s, words) || node(s, words);
    if (known && !is(words[0], "cluster")) {
        cluster_settle(s->cluster);
    }
    return known;
}

/* ---- files -------------------------------------------------------------------------------------------------------- */

/* The next line of `text` at *at, without its newline, cut to the size; false at the end. */
static bool next_line(const struct buffer *text, size_t *at, char line[LINE_BYTES_MAX])
{
    if (*at >= text->size) {
        return false;
    }
    const uint8_t *begin = text->data + *at;
    const uint8_t *end = memchr(begin, '\n', text->size - *at);
    size_t size = end == NULL ? text->size - *at : (size_t)(end - begin);
    *at += size + 1;
    size = size < LINE_BYTES_MAX ? size : LINE_BYTES_MAX - 1;
    memcpy(line, begin, size);
    line[size] = 0;
    return true;
}

static bool read_file(const char *path, struct buffer *out)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return false;
    }
    uint8_t *room = buffer_extend(out, FILE_BYTES_MAX);
    out->size = fread(room, 1, FILE_BYTES_MAX, file);
    bool whole = feof(file) != 0 && ferror(file) == 0;
    return fclose(file) == 0 && whole;
}

/* Plays the file; *played is the file as it would have to be. False if a command is not understood. */
static bool play(const struct buffer *file, struct buffer *played)
{
    struct scenario s = {0};
    char line[LINE_BYTES_MAX];
    size_t at = 0;
    bool understood = true;
    while (understood && next_line(file, &at, line)) {
        bool dashes = strcmp(line, "----") == 0;
        buffer_append(played, line, strlen(line));
        buffer_u8(played, '\n');
        if (!dashes && line[0] != '#' && line[0] != 0) {
            understood = run_command(&s, line);
            if (!understood) {
                (void)fprintf(stderr, "not understood: %s\n", line);
            }
        }
        if (dashes) {
            while (next_line(file, &at, line) && line[0] != 0) {}
            buffer_append(played, s.said.data, s.said.size);
            buffer_u8(played, '\n');
            s.said.size = 0;
        }
    }
    if (s.cluster != NULL) {
        cluster_check_logs(s.cluster);
        cluster_destroy(&s.cluster);
    }
    buffer_free(&s.said);
    return understood;
}

static void show_difference(const char *path, const struct buffer *expected,
                            const struct buffer *played)
{
    char want[LINE_BYTES_MAX];
    char got[LINE_BYTES_MAX];
    size_t at_want = 0;
    size_t at_got = 0;
    for (size_t number_of_line = 1;; number_of_line++) {
        bool more_want = next_line(expected, &at_want, want);
        bool more_got = next_line(played, &at_got, got);
        if (!more_want && !more_got) {
            return;
        }
        if (more_want != more_got || strcmp(want, got) != 0) {
            (void)fprintf(stderr, "%s:%zu\n  expected: %s\n  said:     %s\n", path, number_of_line,
                          more_want ? want : "(end)", more_got ? got : "(end)");
            return;
        }
    }
}

static void run_file(const char *path)
{
    struct buffer file = {0};
    struct buffer played = {0};
    CU_ASSERT_TRUE_FATAL(read_file(path, &file));
    CU_ASSERT_TRUE(play(&file, &played));
    bool same = view_equal(view_of(file.data, file.size), view_of(played.data, played.size));
    if (!same && getenv("HOLDFAST_SCENARIO_UPDATE") != NULL) {
        FILE *out = fopen(path, "w");
        CU_ASSERT_PTR_NOT_NULL_FATAL(out);
        CU_ASSERT_EQUAL(fwrite(played.data, 1, played.size, out), played.size);
        CU_ASSERT_EQUAL(fclose(out), 0);
        same = true;
    }
    if (!same) {
        show_difference(path, &file, &played);
    }
    CU_ASSERT_TRUE(same);
    buffer_free(&file);
    buffer_free(&played);
}

static int is_scenario(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);
    return size > 4 && strcmp(entry->d_name + size - 4, ".txt") == 0;
}

static void every_transcript_is_spoken_as_written(void)
{
    const char *directory = getenv("HOLDFAST_SCENARIO_DIR");
    directory = directory != NULL ? directory : "tests/scenario";
    struct dirent **files = NULL;
    int count = scandir(directory, &files, is_scenario, alphasort);
    CU_ASSERT_TRUE_FATAL(count > 0);
    CU_ASSERT_TRUE_FATAL(count < FILES_MAX);
    for (int i = 0; i < count; i++) {
        char path[1024];
        (void)snprintf(path, sizeof(path), "%s/%s", directory, files[i]->d_name);
        run_file(path);
        free(files[i]); /* scandir allocates with malloc */
    }
    free(files);
}

SUITE("raft: scenarios", TEST(every_transcript_is_spoken_as_written))
