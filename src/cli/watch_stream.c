/* SPDX-License-Identifier: Apache-2.0 */
/* watch_stream.c: see watch_stream.h. */
#include "watch_stream.h"

#include "net/grpc.h"

#include <string.h>

static void end(struct watch_stream *w, enum cli_exit code)
{
    grpc_call_cancel(&w->call);
    w->user->ended(w->context, code);
}

static void canceled(struct watch_stream *w, const Etcdserverpb__WatchResponse *response)
{
    if (response->compact_revision > 0) {
        fprintf(stderr,
                "holdfastctl: the history before revision %" PRId64
                " has been compacted: the events of %" PRId64 " to %" PRId64
                " cannot be told any more\n"
                "  read the keys again, and watch on with --rev of that answer's revision + 1; or "
                "take what is left of the history with --rev %" PRId64 "\n",
                response->compact_revision, w->next_revision, response->compact_revision - 1,
                response->compact_revision);
    } else {
        fprintf(stderr, "holdfastctl: the watch was cancelled by %s: %s\n",
                cli_loop_endpoint(w->loop),
                response->cancel_reason[0] != '\0' ? response->cancel_reason : "no reason given");
    }
    end(w, CLI_FAILED);
}

/* Hand out the events that were not handed out before. */
static void take_events(struct watch_stream *w, const Etcdserverpb__WatchResponse *response)
{
    size_t first = 0;
    while (first < response->n_events &&
           (response->events[first]->kv == NULL ||
            response->events[first]->kv->mod_revision < w->next_revision)) {
        first++;
    }
    for (size_t i = first; i < response->n_events; i++) {
        const Mvccpb__KeyValue *kv = response->events[i]->kv;
        if (kv == NULL) {
            cli_loop_break(w->loop, "an event without its key");
            return;
        }
        if (kv->mod_revision >= w->next_revision) {
            w->next_revision = kv->mod_revision + 1;
        }
    }
    if (first < response->n_events) {
        w->user->events(w->context, response->events + first, response->n_events - first,
                        cli_revision_of(response->header));
    }
}

static void on_message(void *context, struct view message)
{
    struct watch_stream *w = context;
    Etcdserverpb__WatchResponse *response =
        etcdserverpb__watch_response__unpack(NULL, message.size, message.data);
    if (response == NULL) {
        cli_loop_break(w->loop, "its answer cannot be read; is it an etcd v3 server?");
        grpc_call_cancel(&w->call);
        return;
    }
    int64_t revision = cli_revision_of(response->header);
    cli_loop_good(w->loop);
    if (response->canceled) {
        canceled(w, response);
    } else if (response->created) {
        if (w->next_revision == 0) {
            w->next_revision = revision + 1;
        }
        w->user->created(w->context, revision);
    } else if (response->n_events > 0) {
        take_events(w, response);
    } else if (revision > 0) {
        if (revision >= w->next_revision) {
            w->next_revision = revision + 1;
        }
        if (w->user->progress != NULL) {
            w->user->progress(w->context, revision);
        }
    }
    etcdserverpb__watch_response__free_unpacked(response, NULL);
}

static void on_done(void *context, const struct grpc_answer *answer)
{
    struct watch_stream *w = context;
    w->call = NULL;
    if (answer->transport) {
        return; /* the loop knows, or the stream alone was reset */
    }
    if (answer->status == GRPC_OK || answer->status == GRPC_UNAVAILABLE ||
        answer->status == GRPC_CANCELED) {
        cli_loop_break(w->loop, answer->status == GRPC_OK ? "ended the watch" : answer->message);
        return;
    }
    end(w, cli_refused(cli_loop_endpoint(w->loop), answer->status, answer->message));
}

/* A stream that the server reset alone, the connection being whole, is a break like any other. */
static void on_done_or_reset(void *context, const struct grpc_answer *answer)
{
    struct watch_stream *w = context;
    on_done(w, answer);
    if (answer->transport) {
        cli_loop_break(w->loop, "reset the watch");
    }
}

void watch_stream_up(struct watch_stream *w)
{
    Etcdserverpb__WatchCreateRequest__FilterType filters[2];
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    create.key = cli_binary(w->key);
    create.range_end = cli_binary(w->range_end);
    create.start_revision = w->next_revision;
    create.prev_kv = w->previous;
    create.progress_notify = w->progress_notify;
    create.filters = filters;
    if (w->no_put) {
        filters[create.n_filters++] = ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT;
    }
    if (w->no_delete) {
        filters[create.n_filters++] = ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE;
    }
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    struct buffer packed = {0};
    cli_pack(&request.base, &packed);
    struct grpc_stream_settings settings = {.path = "/etcdserverpb.Watch/Watch",
                                            .stays_open = true,
                                            .has_leader = true,
                                            .first = view_of(packed.data, packed.size),
                                            .message = on_message,
                                            .done = on_done_or_reset,
                                            .context = w};
    w->call = grpc_channel_stream(w->loop->channel, &settings);
    buffer_free(&packed);
}

void watch_stream_down(struct watch_stream *w)
{
    w->call = NULL;
}

void watch_stream_cancel(struct watch_stream *w)
{
    grpc_call_cancel(&w->call);
}
