/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_raft_snapshots.c: snapshots between the core, the copy actor and the peers: a member that lacks the log's start is
 * sent one, goes on where it was cut, and ends it with the lead (trap 48); a receiver takes one of its leader, says
 * "done" when raft.db stands for it and not before (trap 46), and throws away what it has already (trap 47). A real
 * core. (src/node/raft_snapshots.c; the actors that carry it out are in test_copy_actor.c and test_install.c)
 */
#include "raft_hand.h"

#define INDEX 20 /* of the snapshot that is received */

/* ---- what the copy actor is told ------------------------------------------------------------------------------ */

/* The next word to the copy actor of a kind; the ones before it are let go. False: none. */
static bool copy_told(struct raft_hand *h, enum copy_kind kind, struct copy_go *out)
{
    struct msg *m = hand_find(h->actors.copy, kind);
    if (m == NULL) {
        return false;
    }
    *out = *(struct copy_go *)m;
    msg_free_base(&m);
    return true;
}

static void copy_made(struct raft_hand *h, uint64_t node, uint64_t index, enum err error)
{
    struct snapshot_ready *m = MSG_NEW(struct snapshot_ready, RAFT_SNAPSHOT_READY, NULL);
    m->member = HAND_ID(node);
    m->error = error;
    m->index = index;
    m->term = raft_term_at(h->raft->core, index);
    m->total_bytes = 100;
    ACTOR_SEND(h->actor, m);
    raft_hand_round(h);
}

static void chunk_made(struct raft_hand *h, uint64_t node, uint64_t index, uint64_t offset)
{
    struct snapshot_chunk *m =
        MSG_NEW(struct snapshot_chunk, RAFT_SNAPSHOT_CHUNK, release_snapshot_chunk);
    m->member = HAND_ID(node);
    m->index = index;
    m->term = raft_term_at(h->raft->core, index);
    m->offset = offset;
    m->total_bytes = 100;
    m->octets = bytes_copy(view_of_text("octets"));
    ACTOR_SEND(h->actor, m);
    raft_hand_round(h);
}

static void member_says(struct raft_hand *h, uint64_t node, uint64_t index, uint64_t offset,
                        bool granted, bool done)
{
    struct raft_status status;
    raft_status(h->raft->core, &status);
    raft_hand_receive(h, (struct raft_message){.type = RAFT_INSTALL_SNAPSHOT_REPLY,
                                               .from = HAND_ID(node),
                                               .term = status.current_term,
                                               .last_included_index = index,
                                               .last_included_term =
                                                   raft_term_at(h->raft->core, status.commit_index),
                                               .offset = offset,
                                               .granted = granted,
                                               .done = done});
    raft_hand_round(h);
}

/* ---- sending --------------------------------------------------------------------------------------------------- */

/* n1 leads n2, and n3 has an empty disk; a copy is made for it, as of the entry this returns. */
static uint64_t sending(struct raft_hand *h)
{
    struct copy_go go;
    raft_hand_create_log(h, 3, 3, true);
    hand_other(h, 3)->last_index = 0;
    hand_started(h->actor, h->now_us);
    raft_hand_up(h, 2);
    raft_hand_up(h, 3);
    for (size_t i = 0; i < 500 && h->copies_asked == 0; i++) {
        raft_hand_run(h, HAND_STEP);
    }
    CU_ASSERT_TRUE_FATAL(raft_hand_leads(h));
    CU_ASSERT_EQUAL(h->copies_asked, 1);
    struct raft_status status;
    raft_status(h->raft->core, &status);
    copy_made(h, 3, status.commit_index, OK);
    CU_ASSERT_TRUE(copy_told(h, COPY_GO, &go));
    CU_ASSERT_EQUAL(go.member, HAND_ID(3));
    CU_ASSERT_EQUAL(go.offset, 0);
    CU_ASSERT_FALSE(go.again);
    return status.commit_index;
}

static void who_lacks_the_start_is_sent_all(void)
{
    struct raft_hand h;
    struct copy_go go;
    uint64_t index = sending(&h);
    chunk_made(&h, 3, index, 0);
    CU_ASSERT_EQUAL_FATAL(h.chunk_count, 1);
    CU_ASSERT_EQUAL(h.chunks[0].type, RAFT_INSTALL_SNAPSHOT);
    CU_ASSERT_EQUAL(h.chunks[0].to, HAND_ID(3));
    CU_ASSERT_EQUAL(h.chunks[0].index, index);
    CU_ASSERT_TRUE(h.chunks[0].whole);
    member_says(&h, 3, index, 6, true, false);
    CU_ASSERT_TRUE(copy_told(&h, COPY_GO, &go));
    CU_ASSERT_EQUAL(go.offset, 6);
    CU_ASSERT_FALSE(go.again);
    /* done: the copy is not needed any more, and the member is fed from where it ends */
    member_says(&h, 3, index, 100, true, true);
    CU_ASSERT_TRUE(copy_told(&h, COPY_STOP, &go));
    CU_ASSERT_EQUAL(go.member, HAND_ID(3));
    hand_other(&h, 3)->last_index = index;
    raft_hand_run(&h, HAND_SECOND);
    struct raft_progress progress;
    CU_ASSERT_TRUE(raft_progress_of(h.raft->core, HAND_ID(3), &progress));
    CU_ASSERT_FALSE(progress.needs_snapshot);
    CU_ASSERT_EQUAL(progress.match_index, index);
    CU_ASSERT_EQUAL(h.copies_asked, 1);
    raft_hand_destroy(&h);
}

/* Chunks of another copy, answers about another, and to a member that wants none: nothing follows. */
static void what_belongs_to_another_is_dropped(void)
{
    struct raft_hand h;
    struct copy_go go;
    uint64_t index = sending(&h);
    chunk_made(&h, 3, index - 1, 0);
    chunk_made(&h, 2, index, 0);
    CU_ASSERT_EQUAL(h.chunk_count, 0);
    member_says(&h, 3, index - 1, 50, true, false);
    member_says(&h, 2, index, 50, true, false);
    CU_ASSERT_FALSE(copy_told(&h, COPY_GO, &go));
    copy_made(&h, 2, index, OK); /* nobody asked */
    CU_ASSERT_TRUE(copy_told(&h, COPY_STOP, &go));
    CU_ASSERT_EQUAL(go.member, HAND_ID(2));
    raft_hand_destroy(&h);
}

/* Trap 48: a broken connection, or silence, begins again at what was acknowledged, not from the start. */
static void a_cut_transfer_goes_on(void)
{
    struct raft_hand h;
    struct copy_go go;
    uint64_t index = sending(&h);
    member_says(&h, 3, index, 60, true, false);
    CU_ASSERT_TRUE(copy_told(&h, COPY_GO, &go));
    raft_hand_down(&h, 3);
    raft_hand_up(&h, 3);
    raft_hand_round(&h);
    CU_ASSERT_TRUE(copy_told(&h, COPY_GO, &go));
    CU_ASSERT_EQUAL(go.offset, 60);
    CU_ASSERT_TRUE(go.again);
    raft_hand_run(&h, HAND_ELECTION);
    CU_ASSERT_FALSE(copy_told(&h, COPY_GO, &go));
    raft_hand_run(&h, 2 * HAND_ELECTION);
    CU_ASSERT_TRUE(copy_told(&h, COPY_GO, &go));
    CU_ASSERT_EQUAL(go.offset, 60);
    CU_ASSERT_TRUE(go.again);
    raft_hand_destroy(&h);
}

/* It cannot be made, or the member gives it up: another is made, after a while. */
static void a_failed_one_is_made_again_later(void)
{
    struct raft_hand h;
    struct copy_go go;
    uint64_t index = sending(&h);
    member_says(&h, 3, index, 0, false, false);
    CU_ASSERT_TRUE(copy_told(&h, COPY_STOP, &go));
    raft_hand_run(&h, HAND_ELECTION / 2);
    CU_ASSERT_EQUAL(h.copies_asked, 1);
    raft_hand_run(&h, 2 * HAND_ELECTION);
    CU_ASSERT_EQUAL(h.copies_asked, 2);
    copy_made(&h, 3, index, ERR_DISK_FULL);
    CU_ASSERT_FALSE(copy_told(&h, COPY_GO, &go));
    raft_hand_run(&h, 3 * HAND_ELECTION);
    CU_ASSERT_EQUAL(h.copies_asked, 3);
    raft_hand_destroy(&h);
}

static void who_leads_no_more_sends_no_more(void)
{
    struct raft_hand h;
    struct copy_go go;
    struct raft_status status;
    uint64_t index = sending(&h);
    raft_status(h.raft->core, &status);
    raft_hand_led_by(&h, 2, status.current_term + 1, status.commit_index, NULL,
                     status.last_log_index, status.current_term);
    /* At once: a chunk on its way here would go out under the term of another, which is a second leader to who gets it. */
    size_t before = h.chunk_count;
    chunk_made(&h, 3, index, 0);
    CU_ASSERT_EQUAL(h.chunk_count, before);
    raft_hand_run(&h, 3 * HAND_ELECTION);
    CU_ASSERT_TRUE(copy_told(&h, COPY_STOP, &go));
    CU_ASSERT_EQUAL(go.member, HAND_ID(3));
    chunk_made(&h, 3, index, 6);
    CU_ASSERT_EQUAL(h.chunk_count, before);
    raft_hand_destroy(&h);
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

static void chunk_comes(struct raft_hand *h, uint64_t from, uint64_t term, uint64_t index,
                        uint64_t offset, bool spoiled)
{
    struct bytes octets = bytes_copy(view_of_text("octets"));
    raft_hand_receive(
        h, (struct raft_message){.type = RAFT_INSTALL_SNAPSHOT,
                                 .from = HAND_ID(from),
                                 .term = term,
                                 .last_included_index = index,
                                 .last_included_term = 3,
                                 .offset = offset,
                                 .total_bytes = 100,
                                 .chunk_checksum = checksum64(bytes_view(&octets)) + spoiled,
                                 .chunk = octets});
    raft_hand_round(h);
}

static void taken(struct raft_hand *h, uint64_t index, uint64_t offset, bool complete,
                  enum err error)
{
    struct snapshot_taken *m = MSG_NEW(struct snapshot_taken, RAFT_CHUNK_TAKEN, NULL);
    m->member = HAND_ID(2);
    m->index = m->meta.applied_index = index;
    m->term = m->meta.applied_term = 3;
    m->offset = offset;
    m->error = error;
    m->complete = complete;
    m->meta.generation = 2;
    m->meta.configuration = *raft_hand_members(h);
    ACTOR_SEND(h->actor, m);
    raft_hand_round(h);
}

/* The last answer to a chunk; granted, done and offset as said. */
static void answered(const struct raft_hand *h, size_t count, uint64_t offset, bool granted,
                     bool done)
{
    CU_ASSERT_EQUAL_FATAL(h->chunk_count, count);
    const struct hand_chunk *c = &h->chunks[count - 1];
    CU_ASSERT_EQUAL(c->type, RAFT_INSTALL_SNAPSHOT_REPLY);
    CU_ASSERT_EQUAL(c->offset, offset);
    CU_ASSERT_EQUAL(c->granted, granted);
    CU_ASSERT_EQUAL(c->done, done);
}

static void chunks_of_the_leader_are_taken(void)
{
    struct raft_hand h;
    raft_hand_follow(&h, 3, 3);
    chunk_comes(&h, 2, 3, INDEX, 0, false);
    struct msg *m = hand_find(h.actors.copy, COPY_CHUNK);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    const struct snapshot_chunk *chunk = (const struct snapshot_chunk *)m;
    CU_ASSERT_EQUAL(chunk->member, HAND_ID(2));
    CU_ASSERT_EQUAL(chunk->index, INDEX);
    CU_ASSERT_TRUE(view_equal(bytes_view(&chunk->octets), view_of_text("octets")));
    msg_free_base(&m);
    CU_ASSERT_EQUAL(h.chunk_count, 0); /* not before it is on the disk */
    taken(&h, INDEX, 6, false, OK);
    answered(&h, 1, 6, true, false);
    taken(&h, INDEX, 0, false, ERR_DISK_FULL);
    answered(&h, 2, 0, false, false);
    /* what was spoiled on the way is repeated by the sender */
    chunk_comes(&h, 2, 3, INDEX, 6, true);
    CU_ASSERT_PTR_NULL(hand_find(h.actors.copy, COPY_CHUNK));
    CU_ASSERT_EQUAL(h.chunk_count, 2);
    /* another leads: the former one's are refused */
    raft_hand_led_by(&h, 3, 4, 1, NULL, 1, 1);
    raft_hand_round(&h);
    chunk_comes(&h, 2, 3, INDEX, 6, false);
    CU_ASSERT_PTR_NULL(hand_find(h.actors.copy, COPY_CHUNK));
    CU_ASSERT_EQUAL(h.chunks[h.chunk_count - 1].granted, false);
    raft_hand_destroy(&h);
}

/* Trap 47: what this node has committed already is answered as done, and nothing of it touched. */
static void what_is_not_newer_is_not_needed(void)
{
    struct raft_hand h;
    struct copy_go go;
    raft_hand_follow(&h, 3, 3);
    chunk_comes(&h, 2, 3, 1, 0, false);
    CU_ASSERT_PTR_NULL(hand_find(h.actors.copy, COPY_CHUNK));
    answered(&h, 1, 0, true, true);
    /* and when that became so while it came */
    taken(&h, 1, 100, true, OK);
    CU_ASSERT_TRUE(copy_told(&h, COPY_DISCARD, &go));
    answered(&h, 2, 100, true, true);
    CU_ASSERT_EQUAL(h.installs, 0);
    raft_hand_destroy(&h);
}

/* Trap 46: whole and on the disk it is not this node's table yet. Only when raft.db stands for it the leader hears
 * "done" and apply changes over; until the copy actor stands for it too another is not begun, which it would write over
 * this one (trap 47). */
static void done_is_said_when_raft_db_stands_for_it(void)
{
    struct raft_hand h;
    raft_hand_follow(&h, 3, 3);
    h.disk_waits = true;
    taken(&h, INDEX, 100, true, OK);
    raft_hand_run(&h, HAND_SECOND / 2);
    CU_ASSERT_EQUAL(h.chunk_count, 0);
    CU_ASSERT_EQUAL(h.installs, 0);
    chunk_comes(&h, 2, 3, INDEX + 5, 0, false);
    CU_ASSERT_PTR_NULL(hand_find(h.actors.copy, COPY_CHUNK));
    h.disk_waits = false;
    raft_hand_round(&h);
    raft_hand_round(&h);
    hand_play_apply(&h);
    answered(&h, 1, 100, true, true);
    CU_ASSERT_EQUAL(h.installs, 1);
    struct raft_status status;
    raft_status(h.raft->core, &status);
    CU_ASSERT_EQUAL(status.commit_index, INDEX);
    CU_ASSERT_EQUAL(status.first_log_index, INDEX + 1);
    chunk_comes(&h, 2, 3, INDEX + 5, 0, false);
    CU_ASSERT_PTR_NULL(hand_find(h.actors.copy, COPY_CHUNK));
    struct raft_index *installed = MSG_NEW(struct raft_index, RAFT_INSTALLED, NULL);
    installed->index = 2;
    ACTOR_SEND(h.actor, installed);
    raft_hand_round(&h);
    chunk_comes(&h, 2, 3, INDEX + 5, 0, false);
    struct msg *m = hand_find(h.actors.copy, COPY_CHUNK);
    CU_ASSERT_PTR_NOT_NULL(m);
    if (m != NULL) {
        msg_free_base(&m);
    }
    raft_hand_destroy(&h);
}

SUITE("node: snapshots", TEST(who_lacks_the_start_is_sent_all),
      TEST(what_belongs_to_another_is_dropped), TEST(a_cut_transfer_goes_on),
      TEST(a_failed_one_is_made_again_later), TEST(who_leads_no_more_sends_no_more),
      TEST(chunks_of_the_leader_are_taken), TEST(what_is_not_newer_is_not_needed),
      TEST(done_is_said_when_raft_db_stands_for_it))
