/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clients_watch.c: watchers. Each client has a few streams with a few places for subscriptions (watch_history.h). It
 * asks the real watch actor as the real client actor does, reads what comes, acknowledges late or not for a while,
 * cancels, closes streams; and what it lets go, or loses with its node, somebody takes up elsewhere.
 */
#include "clients_parts.h"

#include <string.h>

#define LOOK_US_MAX     UINT64_C(1500000)
#define FINISH_LOOK_US  UINT64_C(100000)
#define CHOSEN_ID_FIRST 100
#define CHOSEN_IDS      3

/* ---- requests -------------------------------------------------------------------------------------- */

static void send_create(const struct client_settings *s, const struct watches_stream *stream,
                        const struct watch_place *place)
{
    const struct watch_sub *sub = place->sub;
    struct watch_create *m = MSG_NEW(struct watch_create, WATCH_CREATE, release_watch_create);
    m->group = GROUP_DEFAULT;
    m->stream = stream->number;
    m->watch_id = place->watch_id;
    m->key = bytes_copy(view_of(sub->key, sub->key_size));
    m->range_end = bytes_copy(view_of(sub->end, sub->end_size));
    m->start_revision = sub->next_revision;
    m->no_put = sub->no_put;
    m->no_delete = sub->no_delete;
    m->prev_kv = sub->prev_kv;
    m->progress_notify = sub->progress_notify;
    m->fragment = sub->fragment;
    ACTOR_SEND(s->actors->watch, m);
}

static void send_request(const struct client_settings *s, uint64_t stream, enum watch_kind kind,
                         int64_t watch_id)
{
    struct watch_request *m = MSG_NEW(struct watch_request, kind, NULL);
    m->group = GROUP_DEFAULT;
    m->stream = stream;
    m->watch_id = watch_id;
    ACTOR_SEND(s->actors->watch, m);
}

static void send_ack(const struct client_settings *s, struct watches_stream *stream)
{
    if (stream->number == 0 || stream->unacked == 0) {
        return;
    }
    struct watch_ack *m = msg_new(sizeof(*m) + sizeof(struct watch_acked), WATCH_ACK, NULL);
    m->group = GROUP_DEFAULT;
    m->count = 1;
    m->items[0] = (struct watch_acked){.stream = stream->number, .cost = stream->unacked};
    stream->unacked = 0;
    ACTOR_SEND(s->actors->watch, m);
}

static void place_free(struct watch_place *place)
{
    watch_sub_release(place->sub);
    *place = (struct watch_place){.state = WATCH_FREE};
}

static void stream_forget(struct watches_stream *stream)
{
    for (size_t i = 0; i < WATCHES_PLACES; i++) {
        if (stream->places[i].state != WATCH_FREE) {
            place_free(&stream->places[i]);
        }
    }
    *stream = (struct watches_stream){.number = 0};
}

static void open_one(struct watches *w, struct drawer *d, const struct client_settings *s,
                     uint64_t *counter)
{
    struct watches_stream *stream = &w->streams[drawn(d, 0, WATCHES_STREAMS - 1)];
    struct watch_place *place = NULL;
    for (size_t i = 0; i < WATCHES_PLACES; i++) {
        if (stream->places[i].state == WATCH_FREE) {
            place = &stream->places[i];
        }
    }
    struct watch_sub *sub =
        place == NULL ? NULL : watch_sub_take(s->watches, s->node, !d->load->finishing);
    if (sub == NULL) {
        return;
    }
    if (stream->number == 0) {
        stream->number = REQUEST_ID(s->client_index, ++*counter);
    }
    *place = (struct watch_place){.state = WATCH_ASKED, .sub = sub};
    if (drawn(d, 0, 2) == 0) {
        place->watch_id = CHOSEN_ID_FIRST + (int64_t)drawn(d, 0, CHOSEN_IDS - 1);
        for (size_t i = 0; i < WATCHES_PLACES; i++) {
            const struct watch_place *other = &stream->places[i];
            place->may_clash = place->may_clash || (other != place && other->state != WATCH_FREE &&
                                                    other->watch_id == place->watch_id);
        }
    }
    stream->asked[stream->asked_count++] = (size_t)(place - stream->places);
    send_create(s, stream, place);
}

static void cancel_one(struct watches *w, struct drawer *d, const struct client_settings *s)
{
    struct watches_stream *stream = &w->streams[drawn(d, 0, WATCHES_STREAMS - 1)];
    struct watch_place *place = &stream->places[drawn(d, 0, WATCHES_PLACES - 1)];
    if (place->state == WATCH_OPEN) {
        place->state = WATCH_CANCELLING;
        send_request(s, stream->number, WATCH_CANCEL, place->watch_id);
    }
}

void watches_begin(struct watches *w, struct drawer *d, uint64_t now_us)
{
    *w = (struct watches){.at_us = now_us + drawn(d, 0, LOOK_US_MAX)};
    w->lazy_of_100 = drawn(d, 0, 2) == 0 ? 90 : 10;
}

void watches_act(struct watches *w, struct drawer *d, const struct client_settings *s,
                 uint64_t *counter, uint64_t now_us)
{
    bool finishing = d->load->finishing;
    w->at_us = now_us + (finishing ? FINISH_LOOK_US : drawn(d, 10000, LOOK_US_MAX));
    for (size_t i = 0; i < WATCHES_STREAMS; i++) {
        if (finishing || !drawn_of_100(d, w->lazy_of_100)) {
            send_ack(s, &w->streams[i]);
        }
    }
    struct watches_stream *stream = &w->streams[drawn(d, 0, WATCHES_STREAMS - 1)];
    uint64_t kind = finishing ? 99 : drawn(d, 0, 99);
    if (kind < 8) {
        cancel_one(w, d, s);
    } else if (kind < 12 && stream->number != 0) {
        send_request(s, stream->number, WATCH_STREAM_CLOSED, 0);
        stream_forget(stream);
    } else if (kind < 30 && stream->number != 0) {
        send_request(s, stream->number, WATCH_PROGRESS, 0);
    } else {
        open_one(w, d, s, counter);
    }
}

void watches_give_up(struct watches *w)
{
    for (size_t i = 0; i < WATCHES_STREAMS; i++) {
        stream_forget(&w->streams[i]);
    }
}

/* ---- answers --------------------------------------------------------------------------------------- */

/* The place whose request is answered next. */
static struct watch_place *answered(struct watches_stream *stream)
{
    if (stream->asked_count == 0) {
        return NULL;
    }
    struct watch_place *place = &stream->places[stream->asked[0]];
    stream->asked_count--;
    memmove(stream->asked, stream->asked + 1, stream->asked_count * sizeof(stream->asked[0]));
    return place;
}

static struct watch_place *place_of(struct watches_stream *stream, int64_t watch_id)
{
    for (size_t i = 0; i < WATCHES_PLACES; i++) {
        struct watch_place *place = &stream->places[i];
        if (place->watch_id == watch_id &&
            (place->state == WATCH_OPEN || place->state == WATCH_CANCELLING)) {
            return place;
        }
    }
    return NULL;
}

static void created(struct watch_history *h, struct watches_stream *stream,
                    const struct watch_response *r)
{
    struct watch_place *place = answered(stream);
    if (place == NULL || (place->watch_id != 0 && place->watch_id != r->watch_id)) {
        watch_sub_fail(h, place == NULL ? h->subs : place->sub,
                       "watch %" PRId64 " is created unasked", r->watch_id);
        return;
    }
    if (place_of(stream, r->watch_id) != NULL) {
        watch_sub_fail(h, place->sub, "watch %" PRId64 " is there twice", r->watch_id);
    }
    place->state = WATCH_OPEN;
    place->watch_id = r->watch_id;
    watch_sub_created(h, place->sub, r->revision);
}

static void refused(struct watch_history *h, struct watches_stream *stream,
                    const struct watch_response *r)
{
    struct watch_place *place = answered(stream);
    if (place == NULL || !place->may_clash || r->cancel_reason == NULL ||
        strcmp(r->cancel_reason, WATCH_REASON_DUPLICATE) != 0) {
        watch_sub_fail(h, place == NULL ? h->subs : place->sub, "refused: %s",
                       r->cancel_reason == NULL ? "no reason" : r->cancel_reason);
        return;
    }
    place_free(place);
}

static void cancelled(struct watch_history *h, struct watches_stream *stream,
                      const struct watch_response *r)
{
    struct watch_place *place = place_of(stream, r->watch_id);
    if (place == NULL) {
        watch_sub_fail(h, h->subs, "watch %" PRId64 " is cancelled, which is not there",
                       r->watch_id);
        return;
    }
    if (r->compact_revision != 0) {
        watch_sub_compacted(h, place->sub, r->compact_revision);
    } else if (r->cancel_reason != NULL || place->state != WATCH_CANCELLING) {
        watch_sub_fail(h, place->sub, "cancelled: %s",
                       r->cancel_reason == NULL ? "no reason" : r->cancel_reason);
    }
    place_free(place);
}

static void progress(struct watch_history *h, struct watches_stream *stream,
                     const struct watch_response *r)
{
    for (size_t i = 0; i < WATCHES_PLACES; i++) {
        struct watch_place *place = &stream->places[i];
        bool meant = r->watch_id == -1 || place->watch_id == r->watch_id;
        if (meant && (place->state == WATCH_OPEN || place->state == WATCH_CANCELLING)) {
            watch_sub_progress(h, place->sub, r->revision);
        }
    }
}

static void take_response(struct watch_history *h, struct watches_stream *stream,
                          const struct watch_batch *batch, const struct watch_response *r)
{
    struct watch_place *place = NULL;
    stream->unacked += r->cost;
    switch (r->kind) {
    case WATCH_RESPONSE_CREATED:
        created(h, stream, r);
        break;
    case WATCH_RESPONSE_REFUSED:
        refused(h, stream, r);
        break;
    case WATCH_RESPONSE_EVENTS:
        place = place_of(stream, r->watch_id);
        if (place != NULL) {
            watch_sub_events(h, place->sub, batch, r);
        } else {
            watch_sub_fail(h, h->subs, "events for watch %" PRId64 ", which is not there",
                           r->watch_id);
        }
        break;
    case WATCH_RESPONSE_PROGRESS:
        progress(h, stream, r);
        break;
    case WATCH_RESPONSE_CANCELED:
        cancelled(h, stream, r);
        break;
    case WATCH_RESPONSE_TAKEN:
        break;
    }
}

void watches_take(struct watches *w, const struct client_settings *s, const struct client_watch *m)
{
    const struct watch_batch *batch = m->batch;
    for (size_t i = 0; i < batch->response_count; i++) {
        for (size_t k = 0; k < WATCHES_STREAMS; k++) {
            /* else the stream was closed meanwhile */
            if (w->streams[k].number == batch->responses[i].stream) {
                take_response(s->watches, &w->streams[k], batch, &batch->responses[i]);
                break;
            }
        }
    }
}
