/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_command.c: holdfastctl watch. Prints each event in one of the output forms, or runs COMMAND for
 * each, one after the other. While COMMAND runs nothing more is read, so that a slow one is waited for by the
 * server and what is held here is bounded by one read of the socket.
 */
#include "go_quote.h"
#include "watch_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ENVIRONMENT_VALUE_MAX (100 * 1024) /* the kernel takes 128 KiB per string */
#define ENVIRONMENT_COUNT_MAX 16

struct queued_event {
    struct queued_event *next;
    Mvccpb__Event *event;
    int64_t header_revision;
};

struct watch {
    const struct cli_arguments *arguments;
    struct cli_loop loop;
    struct watch_stream stream;
    bool said_created, title_printed;
    struct queued_event *first, **last; /* --exec: events that wait for COMMAND */
    int64_t running_revision;           /* of the event whose COMMAND runs */
    int stop_signal;                    /* came while COMMAND ran */
};

static const char *type_of(const Mvccpb__Event *event)
{
    return event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE ? "DELETE" : "PUT";
}

/* ---- printing -------------------------------------------------------------------------------------- */

static void print_event_json(const struct watch *watch, const Mvccpb__Event *event)
{
    printf("{\"type\":\"%s\",\"revision\":%" PRId64 ",\"kv\":", type_of(event),
           event->kv->mod_revision);
    print_json_kv(stdout, event->kv);
    if (watch->arguments->previous) {
        printf(",\"previous\":");
        if (event->prev_kv != NULL) {
            print_json_kv(stdout, event->prev_kv);
        } else {
            printf("null");
        }
    }
    printf("}\n");
}

static void print_cell(struct view v)
{
    if (text_is_printable(v)) {
        print_octets(v);
    } else {
        printf("(%zu octets)", v.size);
    }
}

/* One line each, columns by tabs: nobody knows how wide later ones will be. */
static void print_event_row(struct watch *watch, const Mvccpb__Event *event)
{
    bool previous = watch->arguments->previous;
    if (!watch->title_printed) {
        watch->title_printed = true;
        printf("REVISION\tTYPE\tVERSION\tKEY\tVALUE%s\n", previous ? "\tPREVIOUS" : "");
    }
    printf("%" PRId64 "\t%s\t%" PRId64 "\t", event->kv->mod_revision, type_of(event),
           event->kv->version);
    print_cell(cli_view(&event->kv->key));
    putchar('\t');
    print_cell(cli_view(&event->kv->value));
    if (previous) {
        putchar('\t');
        if (event->prev_kv != NULL) {
            print_cell(cli_view(&event->prev_kv->value));
        }
    }
    putchar('\n');
}

static void print_event(struct watch *watch, Mvccpb__Event *event)
{
    switch (watch->arguments->output) {
    case OUTPUT_JSON:
        print_event_json(watch, event);
        break;
    case OUTPUT_TABLE:
        print_event_row(watch, event);
        break;
    case OUTPUT_SIMPLE:
        printf("%s\n", type_of(event));
        if (watch->arguments->previous && event->prev_kv != NULL) {
            print_kvs_lines(&event->prev_kv, 1, true, true);
        }
        print_kvs_lines(&event->kv, 1, !watch->arguments->value_only, true);
        break;
    }
}

/* Who reads is gone: a watch that nobody sees is over. */
static void flush(struct watch *watch)
{
    if (fflush(stdout) != 0) {
        fprintf(stderr, "holdfastctl: standard output: %s\n", strerror(errno));
        cli_loop_stop(&watch->loop, CLI_FAILED);
    }
}

/* ---- COMMAND --------------------------------------------------------------------------------------- */

struct environment {
    char *lines[ENVIRONMENT_COUNT_MAX + 1];
    size_t count;
};

static void add_text(struct environment *e, const char *name, struct view value)
{
    if (value.size > ENVIRONMENT_VALUE_MAX ||
        (value.size > 0 && memchr(value.data, '\0', value.size) != NULL)) {
        return; /* no environment can hold it; it is on standard input, if it is the value */
    }
    ASSERT(e->count < ENVIRONMENT_COUNT_MAX);
    struct buffer line = {0};
    buffer_append(&line, name, strlen(name));
    buffer_append(&line, "=", 1);
    buffer_append(&line, value.data, value.size);
    buffer_u8(&line, '\0');
    e->lines[e->count++] = (char *)line.data;
}

static void add_quoted(struct environment *e, const char *name, struct view value)
{
    struct buffer quoted = {0};
    if (value.size <= ENVIRONMENT_VALUE_MAX) {
        go_quote(value, &quoted);
        add_text(e, name, view_of(quoted.data, quoted.size));
    }
    buffer_free(&quoted);
}

static void add_number(struct environment *e, const char *name, int64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%" PRId64, value);
    add_text(e, name, view_of_text(text));
}

/* etcdctl's four, as etcdctl writes them; and ours, as they are. */
static void fill_environment(struct environment *e, const struct queued_event *of)
{
    const Mvccpb__KeyValue *kv = of->event->kv;
    struct view type = view_of_text(type_of(of->event));
    add_number(e, "ETCD_WATCH_REVISION", of->header_revision);
    add_quoted(e, "ETCD_WATCH_EVENT_TYPE", type);
    add_quoted(e, "ETCD_WATCH_KEY", cli_view(&kv->key));
    add_quoted(e, "ETCD_WATCH_VALUE", cli_view(&kv->value));
    add_number(e, "HOLDFAST_WATCH_REVISION", kv->mod_revision);
    add_number(e, "HOLDFAST_WATCH_CREATE_REVISION", kv->create_revision);
    add_number(e, "HOLDFAST_WATCH_VERSION", kv->version);
    add_text(e, "HOLDFAST_WATCH_EVENT_TYPE", type);
    add_text(e, "HOLDFAST_WATCH_KEY", cli_view(&kv->key));
    add_text(e, "HOLDFAST_WATCH_VALUE", cli_view(&kv->value));
    if (of->event->prev_kv != NULL) {
        add_text(e, "HOLDFAST_WATCH_PREVIOUS", cli_view(&of->event->prev_kv->value));
    }
}

/* A file in memory that holds the value, to be read from its start; -1: none. */
static int value_file(struct view value)
{
    int fd = memfd_create("holdfastctl-watch-value", MFD_CLOEXEC);
    while (fd >= 0 && value.size > 0) {
        ssize_t count = write(fd, value.data, value.size);
        if (count <= 0) {
            (void)close(fd);
            return -1;
        }
        value = view_of(value.data + count, value.size - (size_t)count);
    }
    if (fd >= 0) {
        (void)lseek(fd, 0, SEEK_SET);
    }
    return fd;
}

static void free_queued(struct queued_event *queued)
{
    mvccpb__event__free_unpacked(queued->event, NULL);
    mem_free(queued);
}

/* Start COMMAND for the first event that waits, or read on when none does. */
static void run_next(struct watch *watch)
{
    struct queued_event *queued = watch->first;
    cli_loop_pause(&watch->loop, queued != NULL);
    if (queued == NULL || watch->loop.stopped) {
        return; /* stopped: one failed, and events of the same read still come in */
    }
    watch->first = queued->next;
    if (watch->first == NULL) {
        watch->last = &watch->first;
    }
    struct environment environment = {0};
    fill_environment(&environment, queued);
    watch->running_revision = queued->event->kv->mod_revision;
    int input_fd = value_file(cli_view(&queued->event->kv->value));
    if (input_fd < 0) {
        fprintf(stderr, "holdfastctl: no room for a value in memory: %s\n", strerror(errno));
        cli_loop_stop(&watch->loop, CLI_FAILED);
    } else if (!cli_child_start(&watch->loop, watch->arguments->command, environment.lines,
                                input_fd)) {
        cli_loop_stop(&watch->loop, CLI_FAILED);
    }
    if (input_fd >= 0) {
        (void)close(input_fd);
    }
    for (size_t i = 0; i < environment.count; i++) {
        mem_free(environment.lines[i]);
    }
    free_queued(queued);
}

static void on_child(void *context, int wait_status)
{
    struct watch *watch = context;
    int code = cli_child_code(wait_status);
    if (watch->stop_signal != 0) {
        cli_loop_stop(&watch->loop, CLI_OK);
    } else if (code != 0) {
        fprintf(stderr,
                "holdfastctl: %s ended with exit code %d at revision %" PRId64
                "; watch on with --rev %" PRId64 "\n",
                watch->arguments->command[0], code, watch->running_revision,
                watch->running_revision);
        cli_loop_stop(&watch->loop, CLI_FAILED);
    } else {
        run_next(watch);
    }
}

/* ---- the watch ------------------------------------------------------------------------------------- */

static void on_created(void *context, int64_t revision)
{
    struct watch *watch = context;
    if (!watch->said_created && watch->arguments->output == OUTPUT_JSON &&
        watch->arguments->command == NULL) {
        printf("{\"type\":\"CREATED\",\"revision\":%" PRId64 "}\n", revision);
        flush(watch);
    }
    watch->said_created = true;
}

static void on_events(void *context, Mvccpb__Event *const *events, size_t count,
                      int64_t header_revision)
{
    struct watch *watch = context;
    for (size_t i = 0; i < count; i++) {
        if (watch->arguments->command == NULL) {
            print_event(watch, events[i]);
            continue;
        }
        struct queued_event *queued = mem_zalloc(sizeof(*queued));
        size_t size = mvccpb__event__get_packed_size(events[i]);
        uint8_t *packed = mem_alloc(size); /* a copy of an event is its octets, unpacked again */
        (void)mvccpb__event__pack(events[i], packed);
        queued->event = mvccpb__event__unpack(NULL, size, packed);
        mem_free(packed);
        ASSERT(queued->event != NULL);
        queued->header_revision = header_revision;
        *watch->last = queued;
        watch->last = &queued->next;
    }
    if (watch->arguments->command == NULL) {
        flush(watch);
    } else if (watch->loop.child == 0) {
        run_next(watch);
    }
}

static void on_progress(void *context, int64_t revision)
{
    struct watch *watch = context;
    const struct cli_arguments *arguments = watch->arguments;
    if (!arguments->progress_notify || arguments->command != NULL) {
        return;
    }
    if (arguments->output == OUTPUT_JSON) {
        printf("{\"type\":\"PROGRESS\",\"revision\":%" PRId64 "}\n", revision);
    } else {
        printf("progress notify: %" PRId64 "\n", revision);
    }
    flush(watch);
}

static void on_ended(void *context, enum cli_exit code)
{
    struct watch *watch = context;
    cli_loop_stop(&watch->loop, code);
}

static void on_up(void *context)
{
    struct watch *watch = context;
    watch_stream_up(&watch->stream);
}

static void on_down(void *context)
{
    struct watch *watch = context;
    watch_stream_down(&watch->stream);
}

static void on_signal(void *context, int number, bool from_terminal)
{
    struct watch *watch = context;
    if (watch->loop.child == 0) {
        cli_loop_stop(&watch->loop, CLI_OK);
        return;
    }
    watch->stop_signal = number; /* COMMAND may finish */
    if (!from_terminal) {
        (void)kill(watch->loop.child, number);
    }
}

static enum cli_exit check(const struct cli_arguments *a)
{
    if (a->word_count < 2 || a->word_count > 3) {
        return cli_usage("watch KEY [RANGE_END] [--prefix] [--rev N] [--prev-kv] [-- COMMAND...]");
    }
    const char *problem = NULL;
    if (a->from_now && a->revision > 0) {
        problem = "--from-now and --rev exclude each other";
    } else if (a->exec && a->command == NULL) {
        problem = "--exec wants a COMMAND: watch KEY --exec -- COMMAND...";
    } else if (a->no_put && a->no_delete) {
        problem = "--no-put and --no-delete leave nothing to watch";
    }
    if (problem != NULL) {
        fprintf(stderr, "holdfastctl: %s\n", problem);
        return CLI_USAGE;
    }
    return CLI_OK;
}

enum cli_exit command_watch(const struct cli_arguments *arguments)
{
    static const struct cli_loop_user loop_user = {
        .up = on_up, .down = on_down, .signal = on_signal, .child = on_child};
    static const struct watch_stream_user stream_user = {
        .created = on_created, .events = on_events, .progress = on_progress, .ended = on_ended};
    enum cli_exit code = check(arguments);
    struct bytes end = {0};
    struct watch watch = {.arguments = arguments};
    if (code == CLI_OK) {
        code = cli_key_range(arguments, &watch.stream.key, &end);
    }
    if (code != CLI_OK) {
        return code;
    }
    watch.last = &watch.first;
    watch.stream.loop = &watch.loop;
    watch.stream.user = &stream_user;
    watch.stream.context = &watch;
    watch.stream.range_end = bytes_view(&end);
    watch.stream.previous = arguments->previous;
    watch.stream.progress_notify = arguments->progress_notify;
    watch.stream.no_put = arguments->no_put;
    watch.stream.no_delete = arguments->no_delete;
    watch.stream.next_revision = arguments->revision;
    cli_loop_start(&watch.loop, arguments, &loop_user, &watch);
    code = cli_loop_run(&watch.loop);
    cli_loop_end(&watch.loop);
    while (watch.first != NULL) {
        struct queued_event *queued = watch.first;
        watch.first = queued->next;
        free_queued(queued);
    }
    bytes_free(&end);
    return code;
}
