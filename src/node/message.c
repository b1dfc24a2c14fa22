/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message.c: what each kind of message owns, and how it is let go. One function per shape; msg_free
 * calls it for messages that were dropped, queued at shutdown, or whose receiver is done with them.
 */
#include "message.h"

#include "install.h"

#include <unistd.h>

void release_propose(struct msg *m)
{
    struct raft_propose *propose = (struct raft_propose *)m;
    bytes_free(&propose->command);
}

void release_read_request(struct msg *m)
{
    struct read_request *read = (struct read_request *)m;
    mem_free(read->query);
}

void release_received(struct msg *m)
{
    struct raft_received *received = (struct raft_received *)m;
    raft_message_free(&received->message);
}

void release_log_entries(struct msg *m)
{
    struct raft_log_entries *answer = (struct raft_log_entries *)m;
    entries_free(&answer->entries);
}

void release_persist(struct msg *m)
{
    struct log_persist *persist = (struct log_persist *)m;
    entries_free(&persist->persist.entries);
}

void release_peer_send(struct msg *m)
{
    struct peer_send *send = (struct peer_send *)m;
    raft_message_free(&send->message);
}

void release_peer_socket(struct msg *m)
{
    struct peer_socket *socket = (struct peer_socket *)m;
    if (socket->fd >= 0) {
        (void)close(socket->fd);
    }
    buffer_free(&socket->early);
}

void release_apply_entries(struct msg *m)
{
    struct apply_entries *apply = (struct apply_entries *)m;
    entries_free(&apply->entries);
}

void release_flush_batch(struct msg *m)
{
    struct flush_batch *flush = (struct flush_batch *)m;
    kv_batch_free(&flush->batch);
}

void release_watch_changes(struct msg *m)
{
    struct watch_changes *changes = (struct watch_changes *)m;
    event_block_free(&changes->events);
}

void release_watch_create(struct msg *m)
{
    struct watch_create *create = (struct watch_create *)m;
    bytes_free(&create->key);
    bytes_free(&create->range_end);
}

void release_client_watch(struct msg *m)
{
    struct client_watch *watch = (struct client_watch *)m;
    watch_batch_free(&watch->batch);
}

void release_client_socket(struct msg *m)
{
    struct client_socket *socket = (struct client_socket *)m;
    if (socket->fd >= 0) {
        (void)close(socket->fd);
    }
}

void release_client_reply(struct msg *m)
{
    struct client_reply *reply = (struct client_reply *)m;
    result_free(&reply->result);
    if (reply->credits != NULL) {
        credits_give(reply->credits, reply->charged);
    }
}

void client_refuse(struct actor *client, uint64_t request_id, enum err error)
{
    ASSERT(error != OK);
    struct client_reply *answer = MSG_NEW(struct client_reply, CLIENT_REPLY, release_client_reply);
    answer->request_id = request_id;
    answer->error = error;
    ACTOR_SEND(client, answer);
}

void propose_as_leader(struct actor *raft, const struct command *command)
{
    struct raft_propose *m = MSG_NEW(struct raft_propose, RAFT_PROPOSE, release_propose);
    m->group = GROUP_DEFAULT;
    m->deadline_us = UINT64_MAX; /* it goes with raft's next flush or nowhere */
    m->only_if_leader = true;
    m->command.size = command_size(command);
    m->command.data = mem_alloc(m->command.size);
    command_encode(command, m->command.data);
    ACTOR_SEND(raft, m);
}

void release_client_copy(struct msg *m)
{
    struct client_copy *copy = (struct client_copy *)m;
    bytes_free(&copy->octets);
}

void release_install(struct msg *m)
{
    struct install *install = (struct install *)m;
    kv_reader_close(&install->reader);
    kv_reader_close(&install->watch_reader);
}

void release_snapshot_chunk(struct msg *m)
{
    struct snapshot_chunk *chunk = (struct snapshot_chunk *)m;
    bytes_free(&chunk->octets);
}
