/* SPDX-License-Identifier: Apache-2.0 */
/* copy_incoming.c: see copy_incoming.h. */
#include "copy_incoming.h"

#include <string.h>

static bool is_same(const struct copy_incoming *in, const struct snapshot_chunk *c)
{
    return (in->file != NULL || in->complete) && in->from == c->member && in->index == c->index &&
           in->term == c->term && in->total_bytes == c->total_bytes;
}

static void answer(struct actor *raft, const struct snapshot_chunk *c, uint64_t offset,
                   enum err error, const struct kv_meta *meta)
{
    struct snapshot_taken *m = MSG_NEW(struct snapshot_taken, RAFT_CHUNK_TAKEN, NULL);
    m->member = c->member;
    m->index = c->index;
    m->term = c->term;
    m->offset = offset;
    m->error = error;
    if (meta != NULL) {
        m->complete = true;
        m->meta = *meta;
    }
    ACTOR_SEND(raft, m);
}

void copy_incoming_discard(struct copy_incoming *in, const char *data_dir)
{
    if (in->file == NULL && !in->complete) {
        return;
    }
    kv_incoming_close(&in->file);
    enum err error = kv_generation_remove(data_dir, GROUP_DEFAULT, in->generation);
    if (error != OK) { /* the next start, or the next snapshot, removes it */
        log_event(LOG_WARNING, "received table not removed", "error=\"%s\"", err_text(error));
    }
    *in = (struct copy_incoming){.file = NULL};
}

void copy_incoming_installed(struct copy_incoming *in)
{
    kv_incoming_close(&in->file);
    *in = (struct copy_incoming){.file = NULL};
}

/* The first chunk of a snapshot we do not know. */
static enum err begin(struct copy_incoming *in, const char *data_dir, uint64_t generation,
                      const struct snapshot_chunk *c)
{
    copy_incoming_discard(in, data_dir);
    const struct kv_incoming_source source = {
        .member = c->member, .index = c->index, .term = c->term, .bytes = c->total_bytes};
    enum err error = kv_incoming_begin(data_dir, GROUP_DEFAULT, generation + 1, &source, &in->file);
    if (error == OK) {
        in->from = c->member;
        in->index = c->index;
        in->term = c->term;
        in->total_bytes = c->total_bytes;
        in->generation = generation + 1;
        log_event(LOG_NOTICE, "receiving a snapshot",
                  "index=%" PRIu64 " term=%" PRIu64 " bytes=%" PRIu64 " from=%" PRIu64, c->index,
                  c->term, c->total_bytes, kv_incoming_received(in->file));
    }
    return error;
}

static enum err take(struct copy_incoming *in, struct actor *raft, const struct snapshot_chunk *c)
{
    uint64_t received = kv_incoming_received(in->file);
    if (c->offset != received) { /* of a window that was cut off: the answer says where we are */
        answer(raft, c, received, OK, NULL);
        return OK;
    }
    if (!c->done) {
        enum err error = kv_incoming_write(in->file, c->offset, bytes_view(&c->octets));
        if (error == OK) {
            answer(raft, c, kv_incoming_received(in->file), OK, NULL);
        }
        return error;
    }
    if (received != c->total_bytes) {
        return ERR_INVALID;
    }
    struct kv_meta meta;
    enum err error = kv_incoming_complete(in->file, bytes_view(&c->octets), &meta);
    kv_incoming_close(&in->file);
    in->complete = error == OK;
    if (error == OK && meta.applied_index != c->index) {
        error = ERR_CORRUPT;
    }
    if (error == OK) {
        answer(raft, c, received, OK, &meta);
    }
    return error;
}

void copy_incoming_chunk(struct copy_incoming *in, const char *data_dir, uint64_t generation,
                         struct actor *raft, struct snapshot_chunk **chunk)
{
    const struct snapshot_chunk *c = *chunk;
    enum err error = OK;
    if (is_same(in, c) && in->complete) {
        MSG_FREE(*chunk); /* said twice; raft decides what becomes of it */
        return;
    }
    if (!is_same(in, c)) {
        error = begin(in, data_dir, generation, c);
    }
    if (error == OK) {
        error = take(in, raft, c);
    }
    if (error != OK) {
        log_event(LOG_WARNING, "snapshot not taken", "index=%" PRIu64 " error=\"%s\"", c->index,
                  err_text(error));
        in->complete = in->complete || in->file != NULL; /* so that its file goes */
        copy_incoming_discard(in, data_dir);
        answer(raft, c, 0, error, NULL);
    }
    MSG_FREE(*chunk);
}
