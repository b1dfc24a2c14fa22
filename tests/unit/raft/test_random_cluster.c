/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_random_cluster.c: three, four, five and seven cores under everything the world does to them, from
 * a seed: messages delayed, lost, doubled and reordered, links cut in one direction, nodes killed with
 * writes under way, disks that hang, connections that break, nodes that come back damaged; in every other
 * seed members also come, go, are promoted and demoted in any number at a time (traps 7, 8, 37 to 42), and leaders
 * are asked to hand over (traps 6, 34, 50). In every third leaders read by leases, with clocks that go up to 10 % wrong
 * (traps 10, 34, 35). Logs are kept short, so that who was away, or is new, needs a snapshot
 * (traps 46 to 48). The fake
 * cluster asserts Raft Fig. 3's properties (Election Safety, Leader Append-Only, Log Matching, Leader
 * Completeness, State Machine Safety) and linearizable reads after each step (traps 1-17, 22, 28-33).
 *
 * When the storm ends, the cluster must heal by itself: one leader, all logs equal, all applied, all
 * reads answered (traps 4, 5), no change of members half done, and nobody campaigning who is not a member.
 *
 * HOLDFAST_SEED=n runs one seed; HOLDFAST_SEEDS=n runs that many.
 */
#include "cluster.h"
#include "raft/raft_internal.h"
#include "suite.h"

#include <stdlib.h>

#define SEEDS_DEFAULT      300
#define STORM_STEPS        300
#define STORM_STEP_US      150000
#define HEAL_US            (60 * CLUSTER_ELECTION_US)
#define PROPOSALS_BURST    8
#define DRIFT_PERMILLE_MAX 100 /* of a clock, either way */
#define SPARES_MAX         5
#define TRIM_NEVER         (UINT64_C(1) << 40)

/* Over all seeds: did it happen at all? */
static size_t snapshots_installed, changes_begun, leaderships;

static const size_t sizes[] = {3, 5, 3, 4, 7, 1, 2};

/* In this seed members change. (Not together with damaged disks: what a minority lost may be a majority's
 * in the next configuration. With operators it is the same: a disk is replaced by a new member.) */
static bool is_changing(const struct cluster *c)
{
    return c->count > c->configuration.count;
}

static uint64_t below(struct cluster *c, uint64_t bound)
{
    return random_below(&c->random, bound);
}

static struct cluster_node *some_node(struct cluster *c)
{
    return &c->nodes[below(c, c->count)];
}

static size_t down_count(struct cluster *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++) {
        count += c->nodes[i].up ? 0 : 1;
    }
    return count;
}

static size_t damaged_count(struct cluster *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++) {
        const struct cluster_node *n = &c->nodes[i];
        count += n->disk.may_not_vote || (n->up && n->raft->may_not_vote) ? 1 : 0;
    }
    return count;
}

static void crash_some(struct cluster *c)
{
    struct cluster_node *n = some_node(c);
    if (!n->up) {
        return;
    }
    cluster_crash(c, n->id, (size_t)below(c, 4));
    /* A minority may lose what it had on disk; more damaged nodes than that cannot be survived. Where
     * logs are trimmed a loss reaches back to what the node had applied durably at most: nobody could
     * make good what all have trimmed, but for a snapshot. */
    uint64_t sure = c->trim_step_entries == TRIM_NEVER ? 0 : n->kv_durable_index;
    bool may_lose = !is_changing(c) && n->disk.count > sure && damaged_count(c) * 2 + 2 < c->count;
    if (may_lose && below(c, 4) == 0) {
        uint64_t lost = 1 + below(c, n->disk.count - sure);
        cluster_damage(c, n->id, n->disk.count + 1 - lost);
    }
}

static void start_some(struct cluster *c)
{
    struct cluster_node *n = some_node(c);
    if (!n->up) {
        cluster_start(c, n->id);
    }
}

static void break_connection(struct cluster *c)
{
    uint64_t a = 1 + below(c, c->count);
    uint64_t b = 1 + below(c, c->count);
    if (a == b || !cluster_node(c, a)->up || !cluster_node(c, b)->up) {
        return;
    }
    while (cluster_lose(c, a, b, 0)) {}
    struct raft_event down = {.type = RAFT_EVENT_PEER_DOWN, .peer = b};
    cluster_step(c, a, &down);
    struct raft_event up = {.type = RAFT_EVENT_PEER_UP, .peer = b};
    cluster_step(c, a, &up);
}

/* Most stay as they are; some come, go, or change their part. */
static void change_members(struct cluster *c)
{
    uint64_t leader = cluster_leader(c);
    if (leader == 0 || !is_changing(c)) {
        return;
    }
    const struct configuration *now = raft_configuration(cluster_node(c, leader)->raft);
    uint64_t voters[CLUSTER_NODES_MAX + 1] = {0};
    uint64_t learners[CLUSTER_NODES_MAX + 1] = {0};
    size_t voter_count = 0;
    size_t learner_count = 0;
    for (uint64_t id = 1; id <= c->count; id++) {
        bool member = configuration_find(now, id) >= 0;
        bool in = member ? below(c, 10) != 0 : below(c, 4) == 0;
        if (!in || configuration_was_removed(now, id)) {
            continue;
        }
        bool votes = configuration_is_voter(now, id) ? below(c, 5) != 0 : below(c, 2) == 0;
        if (votes) {
            voters[voter_count++] = id;
        } else {
            learners[learner_count++] = id;
        }
    }
    if (voter_count > 0) {
        enum err error = cluster_change(c, leader, voters, learners);
        changes_begun += error == OK ? 1 : 0;
        ASSERT(error == OK || error == ERR_CHANGE_PENDING || error == ERR_LEADER_CHANGED);
    }
}

static void load(struct cluster *c)
{
    uint64_t leader = cluster_leader(c);
    struct cluster_node *n =
        leader != 0 && below(c, 3) != 0 ? cluster_node(c, leader) : some_node(c);
    if (!n->up) {
        return;
    }
    uint64_t count = below(c, PROPOSALS_BURST);
    for (uint64_t i = 0; i < count; i++) {
        char text[200];
        (void)snprintf(text, sizeof(text), "%" PRIu64 " at %" PRIu64 "%*s", c->now_us, n->id,
                       (int)below(c, 100), "");
        (void)cluster_propose(c, n->id, text);
    }
    if (below(c, 2) == 0) {
        (void)cluster_read(c, n->id);
    }
    if (below(c, 2) == 0) {
        cluster_kv_flush(c, n->id);
    }
}

static void trouble(struct cluster *c)
{
    switch (below(c, 16)) {
    case 0:
        if (down_count(c) * 2 < c->count) {
            crash_some(c);
        }
        break;
    case 1:
    case 2:
        start_some(c);
        break;
    case 3:
        cluster_cut(c, 1 + below(c, c->count), 1 + below(c, c->count), true);
        break;
    case 4:
        cluster_isolate(c, 1 + below(c, c->count), below(c, 2) == 0);
        break;
    case 5:
        cluster_heal(c);
        break;
    case 6:
        cluster_disk_hold(c, some_node(c)->id, below(c, 3) == 0);
        break;
    case 7:
        cluster_apply_hold(c, some_node(c)->id, below(c, 3) == 0);
        break;
    case 8:
        break_connection(c);
        break;
    case 9:
        c->delay_us_max = below(c, 2) == 0 ? 2000 : 80000;
        c->disk_us_max = below(c, 2) == 0 ? 1000 : 120000;
        break;
    case 10:
        c->drop_permille = (unsigned)below(c, 200);
        c->duplicate_permille = (unsigned)below(c, 200);
        break;
    case 11:
        /* an election that nothing else would have caused now */
        if (below(c, 2) == 0) {
            struct cluster_node *n = some_node(c);
            if (n->up && n->raft->role != RAFT_LEADER) {
                cluster_time_out(c, n->id);
            }
        }
        break;
    case 12:
        change_members(c);
        break;
    case 13:
        if (cluster_leader(c) != 0) {
            (void)cluster_transfer(c, cluster_leader(c), below(c, c->count + 1));
        }
        break;
    case 14: {
        struct cluster_node *n = some_node(c);
        struct raft_event space = {.type = RAFT_EVENT_SPACE, .low_space = below(c, 2) == 0};
        if (n->up) {
            cluster_step(c, n->id, &space);
        }
        break;
    }
    default:
        break;
    }
}

static void calm(struct cluster *c)
{
    cluster_heal(c);
    c->drop_permille = 0;
    c->duplicate_permille = 0;
    c->delay_us_max = 2000;
    c->disk_us_max = 1000;
    c->apply_us_max = 1000;
    for (uint64_t id = 1; id <= c->count; id++) {
        cluster_disk_hold(c, id, false);
        cluster_apply_hold(c, id, false);
        if (!cluster_node(c, id)->up) {
            cluster_start(c, id);
        }
        struct raft_event room = {.type = RAFT_EVENT_SPACE, .low_space = false};
        cluster_step(c, id, &room);
    }
}

static bool is_member(struct cluster *c, uint64_t id)
{
    uint64_t leader = cluster_leader(c);
    return leader == 0 ||
           configuration_find(raft_configuration(cluster_node(c, leader)->raft), id) >= 0;
}

/* The last change is done, and who is out knows it: all but those whose coming in was never committed, and whom no
 * committed entry speaks of. They ask for votes that nobody gives. */
static bool members_are_settled(struct cluster *c)
{
    for (uint64_t id = 1; id <= c->count; id++) {
        const struct raft *r = cluster_node(c, id)->raft;
        bool settled = membership_current_index(r) <= r->commit_index &&
                       !configuration_is_joint(membership_current(r));
        bool wanted = election_may_campaign(r) && configuration_is_voter(membership_settled(r), id);
        if (is_member(c, id) ? !settled : wanted) {
            return false;
        }
    }
    return true;
}

static bool reads_are_answered(struct cluster *c)
{
    for (size_t i = 0; i < c->count; i++) {
        if (!is_member(c, i + 1)) {
            continue;
        }
        for (size_t k = 0; k < c->nodes[i].read_count; k++) {
            if (!c->nodes[i].reads[k].answered) {
                return false;
            }
        }
    }
    return true;
}

/* When everything is well no member thinks that a disk hangs or is full. */
static bool disks_are_well(struct cluster *c)
{
    for (uint64_t id = 1; id <= c->count; id++) {
        struct raft_status s = cluster_status(c, id);
        if (is_member(c, id) && (s.disk_hangs || s.low_space || s.cluster_low_space)) {
            return false;
        }
    }
    return true;
}

static bool is_healed(struct cluster *c)
{
    return cluster_is_converged(c) && reads_are_answered(c) && damaged_count(c) == 0 &&
           cluster_leader(c) != 0 && members_are_settled(c) && disks_are_well(c) &&
           cluster_status(c, cluster_leader(c)).transfer_target == 0;
}

static void run_seed(uint64_t seed)
{
    size_t members = sizes[seed % ARRAY_COUNT(sizes)];
    bool changing = seed / ARRAY_COUNT(sizes) % 2 == 1;
    struct cluster *c = cluster_create(members + (changing ? 1 + seed % SPARES_MAX : 0), seed);
    cluster_set_voters(c, members);
    /* Small bounds, so that windows, caches and back-pressure have work to do. */
    c->window_bytes = 200 + below(c, 2000);
    c->append_bytes_max = 100 + below(c, 1000);
    c->cache_bytes_max = below(c, 4000);
    c->uncommitted_bytes_max = 2000 + below(c, 8000);
    c->apply_bytes_max = 100 + below(c, 2000);
    c->trim_slack_entries = below(c, 10);
    c->trim_step_entries = below(c, 2) == 0 ? TRIM_NEVER : 1 + below(c, 10);
    c->log_keep_bytes = below(c, 3) == 0 ? 0 : 500 + below(c, 10000);
    c->disk_stall_ms = below(c, 2) == 0 ? 0 : 200 + (uint32_t)below(c, 2000);
    c->delay_us_max = 5000;
    c->disk_us_max = 5000;
    c->apply_us_max = 5000;
    c->leader_lease = seed % 3 == 1;
    for (uint64_t id = 1; c->leader_lease && id <= c->count; id++) {
        c->drift_permille[id] = (int64_t)below(c, 2 * DRIFT_PERMILLE_MAX + 1) - DRIFT_PERMILLE_MAX;
    }
    cluster_start_all(c);
    for (size_t step = 0; step < STORM_STEPS; step++) {
        trouble(c);
        load(c);
        cluster_run(c, below(c, STORM_STEP_US));
        load(c);
        if (step % 16 == 0) {
            cluster_check_logs(c);
        }
    }
    calm(c);
    uint64_t until = c->now_us + HEAL_US;
    while (!is_healed(c) && c->now_us < until) {
        cluster_run(c, CLUSTER_ELECTION_US / 2);
    }
    cluster_check_logs(c);
    bool healed = is_healed(c);
    if (!healed) {
        struct buffer text = {0};
        cluster_print_state(c, &text);
        for (uint64_t id = 1; id <= c->count; id++) {
            cluster_print_configuration(&text, raft_configuration(cluster_node(c, id)->raft));
        }
        (void)fprintf(stderr, "seed %" PRIu64 " did not heal:\n%.*s", seed, (int)text.size,
                      (const char *)text.data);
        buffer_free(&text);
    }
    CU_ASSERT_TRUE(healed);
    /* It works again: a command goes through. */
    uint64_t leader = cluster_leader(c);
    if (leader != 0) {
        uint64_t before = cluster_status(c, leader).commit_index;
        CU_ASSERT_EQUAL(cluster_propose(c, leader, "after the storm"), OK);
        cluster_run(c, CLUSTER_ELECTION_US);
        CU_ASSERT_TRUE(cluster_status(c, leader).commit_index > before);
    }
    for (size_t i = 0; i < c->count; i++) {
        snapshots_installed += c->nodes[i].snapshots_installed;
    }
    leaderships += c->leadership_count;
    cluster_destroy(&c);
}

static void safety_and_recovery_from_many_seeds(void)
{
    const char *one = getenv("HOLDFAST_SEED");
    const char *many = getenv("HOLDFAST_SEEDS");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 0;
    uint64_t count = one != NULL ? 1 : many != NULL ? strtoull(many, NULL, 10) : SEEDS_DEFAULT;
    for (uint64_t seed = first; seed < first + count; seed++) {
        /* stays on the screen if an assert ends the process */
        (void)fprintf(stderr, "\rseed %" PRIu64 " ", seed);
        run_seed(seed);
    }
    (void)fprintf(stderr, "\n%zu leaderships, %zu changes of members, %zu snapshots installed\n",
                  leaderships, changes_begun, snapshots_installed);
    if (count >= SEEDS_DEFAULT) {
        CU_ASSERT_TRUE(snapshots_installed >= count / 2);
        CU_ASSERT_TRUE(changes_begun >= count);
    }
}

SUITE("raft: random cluster", TEST(safety_and_recovery_from_many_seeds))
