/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.c: see metrics.h.
 */
#include "metrics.h"

#include "method.h"
#include "version.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void print(struct buffer *out, const char *format, ...) PRINTF_LIKE(2, 3);

static void print(struct buffer *out, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ASSERT(size >= 0);
    ASSERT((size_t)size < sizeof text);
    buffer_append(out, text, (size_t)size);
}

/* Everything about one name stands together, its type once in front. */
static void head(struct buffer *out, const char *name, const char *type, const char *help)
{
    print(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one_u64(struct buffer *out, const char *name, const char *type, const char *help,
                    uint64_t value)
{
    head(out, name, type, help);
    print(out, "%s %" PRIu64 "\n", name, value);
}

static void gauge(struct buffer *out, const char *name, const char *help, uint64_t value)
{
    one_u64(out, name, "gauge", help, value);
}

static void counter(struct buffer *out, const char *name, const char *help, uint64_t value)
{
    one_u64(out, name, "counter", help, value);
}

/* labels: "a=\"b\"," or "" */
static void buckets(struct buffer *out, const char *name, const char *labels,
                    const struct histogram *h, unsigned scale)
{
    uint64_t sum = 0;
    double unit = scale == HISTOGRAM_TIMES ? 1e-6 : 1;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        sum += h->buckets[i];
        print(out, "%s_bucket{%sle=\"%.9g\"} %" PRIu64 "\n", name, labels,
              (double)histogram_bound(i, scale) * unit, sum);
    }
    print(out, "%s_bucket{%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, h->count);
    size_t size = strlen(labels);
    char braces[128] = "";
    if (size > 0) { /* without the comma at the end */
        (void)snprintf(braces, sizeof braces, "{%.*s}", (int)size - 1, labels);
    }
    print(out, "%s_sum%s %.9g\n", name, braces, (double)h->sum * unit);
    print(out, "%s_count%s %" PRIu64 "\n", name, braces, h->count);
}

static void times(struct buffer *out, const char *name, const char *help, const struct histogram *h)
{
    head(out, name, "histogram", help);
    buckets(out, name, "", h, HISTOGRAM_TIMES);
}

static void counts(struct buffer *out, const char *name, const char *help,
                   const struct histogram *h)
{
    head(out, name, "histogram", help);
    buckets(out, name, "", h, HISTOGRAM_COUNTS);
}

/* ---- etcd's names ----------------------------------------------------------------------------------- */

static void write_server(const struct figures *f, uint64_t member_id, struct buffer *out)
{
    const struct raft_status *raft = &f->raft;
    bool leads = raft->leader != 0 && raft->leader == raft->id;
    bool learner =
        f->configuration.count > 0 && !configuration_is_voter(&f->configuration, member_id);
    gauge(out, "etcd_server_has_leader", "Whether a leader is known.", raft->leader != 0);
    gauge(out, "etcd_server_is_leader", "Whether this member leads.", leads);
    gauge(out, "etcd_server_is_learner", "Whether this member has no vote.", learner);
    counter(out, "etcd_server_leader_changes_seen_total", "Leaders seen to come.",
            f->leader_changes);
    gauge(out, "etcd_server_proposals_committed_total", "Highest committed index of the log.",
          raft->commit_index);
    gauge(out, "etcd_server_proposals_applied_total", "Highest applied index of the log.",
          f->applied_index);
    gauge(out, "etcd_server_proposals_pending", "Entries of the log not committed yet.",
          raft->last_log_index - raft->commit_index);
    counter(out, "etcd_server_proposals_failed_total", "Proposals of this member refused.",
            f->proposals_failed);
    counter(out, "etcd_server_slow_apply_total", "Entries whose application took over 100 ms.",
            f->slow_applies);
    gauge(out, "etcd_server_snapshot_apply_in_progress_total",
          "Whether a received snapshot takes the place of the table.", f->installing);
    counter(out, "etcd_server_health_success", "Answers of /health that said healthy.",
            f->clients.healthy);
    counter(out, "etcd_server_health_failures", "Answers of /health that did not.",
            f->clients.unhealthy);
    if (f->space.free_bytes != 0) { /* there is no quota; this is where growth ends all the same */
        gauge(out, "etcd_server_quota_backend_bytes",
              "Size of kv.db and the room that is left on its file system.",
              f->kv_db.file_bytes + f->space.free_bytes);
    }
    head(out, "etcd_server_id", "gauge", "This member's id.");
    print(out, "etcd_server_id{server_id=\"%" PRIx64 "\"} 1\n", member_id);
    head(out, "etcd_server_version", "gauge", "The version of etcd that is spoken.");
    print(out, "etcd_server_version{server_version=\"" API_VERSION_SERVER "\"} 1\n");
    head(out, "etcd_cluster_version", "gauge", "The version of etcd that the cluster speaks.");
    print(out, "etcd_cluster_version{cluster_version=\"%s\"} 1\n", "3.6");
}

static void write_store(const struct figures *f, struct buffer *out)
{
    gauge(out, "etcd_mvcc_db_total_size_in_bytes", "Size of kv.db.", f->kv_db.file_bytes);
    gauge(out, "etcd_mvcc_db_total_size_in_use_in_bytes", "Size of kv.db without free pages.",
          f->kv_db.used_bytes);
    counter(out, "etcd_mvcc_put_total", "Puts applied here outside of transactions.", f->puts);
    counter(out, "etcd_mvcc_delete_total", "Deletes applied here outside of transactions.",
            f->delete_ranges);
    counter(out, "etcd_mvcc_txn_total", "Transactions with a write applied here.", f->txns);
    counter(out, "etcd_mvcc_range_total", "Reads answered here.", f->ranges);
    counter(out, "etcd_debugging_lease_granted_total", "Leases granted.", f->leases_granted);
    counter(out, "etcd_debugging_lease_revoked_total",
            "Leases revoked, by clients or because they expired.",
            f->leases_revoked + f->leases_expired);
    counter(out, "etcd_debugging_server_lease_expired_total", "Leases expired.", f->leases_expired);
    counter(out, "etcd_debugging_lease_renewed_total", "Renewals of leases, applied.",
            f->leases_renewed);
    gauge(out, "etcd_debugging_mvcc_current_revision", "The store's revision.",
          (uint64_t)f->revision);
    gauge(out, "etcd_debugging_mvcc_compact_revision", "The revision compacted last.",
          f->compact_revision > 0 ? (uint64_t)f->compact_revision : 0);
    if (f->has_watch) {
        gauge(out, "etcd_debugging_mvcc_watch_stream_total", "Streams of watches.",
              f->watch_streams);
        gauge(out, "etcd_debugging_mvcc_watcher_total", "Watchers.", f->watchers);
        gauge(out, "etcd_debugging_mvcc_slow_watcher_total", "Watchers served from history.",
              f->watchers_behind);
        counter(out, "etcd_debugging_mvcc_events_total", "Events told to watchers.",
                f->watch_events);
    }
    times(out, "etcd_disk_wal_fsync_duration_seconds",
          "Transactions of raft.db, from their first statement to the end of the fsync.",
          &f->log_commit_us);
    counter(out, "etcd_disk_wal_write_bytes_total", "Octets of entries written to raft.db.",
            f->log_bytes);
    times(out, "etcd_disk_backend_commit_duration_seconds",
          "Transactions of kv.db, from their first statement to the end of the commit.",
          &f->flush_commit_us);
}

/* A number of each peer. label: what the id stands for. at: the number's place in struct figures_peer (uint64_t). */
static void per_peer(const struct figures *f, struct buffer *out, const char *name,
                     const char *type, const char *help, const char *label, size_t at)
{
    head(out, name, type, help);
    for (size_t i = 0; i < f->peer_count; i++) {
        uint64_t value = 0;
        memcpy(&value, (const uint8_t *)&f->peers[i] + at, sizeof value);
        print(out, "%s{%s=\"%" PRIx64 "\"} %" PRIu64 "\n", name, label, f->peers[i].member_id,
              value);
    }
}
#define PEER_NUMBER(field) offsetof(struct figures_peer, field)

static void write_peers(const struct figures *f, struct buffer *out)
{
    if (f->peer_count == 0) {
        return; /* a name without a sample says nothing */
    }
    per_peer(f, out, "etcd_network_peer_sent_bytes_total", "counter", "Octets sent to peers.", "To",
             PEER_NUMBER(sent_bytes));
    per_peer(f, out, "etcd_network_peer_received_bytes_total", "counter",
             "Octets received from peers.", "From", PEER_NUMBER(received_bytes));
    per_peer(f, out, "etcd_network_peer_sent_failures_total", "counter",
             "Messages dropped because the peer's connection did not take them.", "To",
             PEER_NUMBER(dropped_messages));
    per_peer(f, out, "etcd_network_disconnected_peers_total", "counter",
             "Connections to the peer that had come up and were lost.", "Remote",
             PEER_NUMBER(lost_connections));
    head(out, "etcd_network_peer_round_trip_time_seconds", "histogram",
         "Round trips to the peer as the kernel measures them on the connection, every 5 s.");
    for (size_t i = 0; i < f->peer_count; i++) {
        char label[64];
        (void)snprintf(label, sizeof label, "To=\"%" PRIx64 "\",", f->peers[i].member_id);
        buckets(out, "etcd_network_peer_round_trip_time_seconds", label, &f->peers[i].round_trip_us,
                HISTOGRAM_TIMES);
    }
    head(out, "etcd_network_known_peers", "gauge", "The peers that were heard of.");
    for (size_t i = 0; i < f->peer_count; i++) {
        print(out, "etcd_network_known_peers{Remote=\"%" PRIx64 "\"} 1\n", f->peers[i].member_id);
    }
    head(out, "etcd_network_active_peers", "gauge", "Whether a connection to the peer stands.");
    for (size_t i = 0; i < f->peer_count; i++) {
        print(out, "etcd_network_active_peers{Remote=\"%" PRIx64 "\"} %d\n", f->peers[i].member_id,
              f->peers[i].connected ? 1 : 0);
    }
}

/* ---- gRPC ------------------------------------------------------------------------------------------- */

static const char *const code_names[FIGURES_CODES] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

/* grpc_service, grpc_method and grpc_type of a kind of methods. */
static void method_labels(const struct method *m, char out[160])
{
    const char *slash = strrchr(m->path, '/');
    const char *type = m->client_streams   ? "bidi_stream"
                       : m->server_streams ? "server_stream"
                                           : "unary";
    (void)snprintf(out, 160, "grpc_service=\"%.*s\",grpc_method=\"%s\",grpc_type=\"%s\"",
                   (int)(slash - m->path) - 1, m->path + 1, slash + 1, type);
}

static void write_grpc(const struct figures_clients *c, struct buffer *out)
{
    char labels[160];
    _Static_assert(METHOD_COUNT <= FIGURES_METHODS, "every kind of method has its place");
    head(out, "grpc_server_started_total", "counter", "Calls begun.");
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        const struct method *m = method_of_kind((enum method_kind)i);
        if (m != NULL && m->kind != METHOD_AUTH_CHANGE) {
            method_labels(m, labels);
            print(out, "grpc_server_started_total{%s} %" PRIu64 "\n", labels, c->started[i]);
        }
    }
    head(out, "grpc_server_handled_total", "counter", "Calls ended, by code.");
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        const struct method *m = method_of_kind((enum method_kind)i);
        for (size_t k = 0; m != NULL && m->kind != METHOD_AUTH_CHANGE && k < FIGURES_CODES; k++) {
            if (k == 0 || c->handled[i][k] > 0) {
                method_labels(m, labels);
                print(out, "grpc_server_handled_total{%s,grpc_code=\"%s\"} %" PRIu64 "\n", labels,
                      code_names[k], c->handled[i][k]);
            }
        }
    }
    counter(out, "etcd_network_client_grpc_received_bytes_total", "Octets of request messages.",
            c->received_bytes);
    counter(out, "etcd_network_client_grpc_sent_bytes_total", "Octets of response messages.",
            c->sent_bytes);
}

/* ---- our own ---------------------------------------------------------------------------------------- */

static void write_actors(const struct figures *f, struct buffer *out)
{
    static const struct {
        const char *name, *type, *help;
    } heads[] = {
        {"holdfast_actor_messages_total", "counter",
         "Messages handled by each thread of the node."},
        {"holdfast_actor_rounds_total", "counter", "Rounds, each with one flush, of each thread."},
        {"holdfast_actor_busy_seconds_total", "counter", "Time each thread spent in its handlers."},
        {"holdfast_actor_queue_length", "gauge", "Messages waiting for each thread."},
    };
    for (size_t h = 0; h < ARRAY_COUNT(heads); h++) {
        head(out, heads[h].name, heads[h].type, heads[h].help);
        for (size_t i = 0; i < f->actor_count; i++) {
            const struct actor_figures *a = &f->actors[i];
            const uint64_t values[] = {a->messages, a->rounds, a->busy_us, a->queued};
            if (h == 2) {
                print(out, "%s{actor=\"%s\"} %.9g\n", heads[h].name, a->name,
                      (double)values[h] * 1e-6);
            } else {
                print(out, "%s{actor=\"%s\"} %" PRIu64 "\n", heads[h].name, a->name, values[h]);
            }
        }
    }
    head(out, "holdfast_actor_queue_wait_seconds", "histogram",
         "Time messages waited for each thread.");
    for (size_t i = 0; i < f->actor_count; i++) {
        char label[64];
        (void)snprintf(label, sizeof label, "actor=\"%s\",", f->actors[i].name);
        buckets(out, "holdfast_actor_queue_wait_seconds", label, &f->actors[i].wait_us,
                HISTOGRAM_TIMES);
    }
}

static void write_own(const struct figures *f, struct buffer *out)
{
    times(out, "holdfast_write_seconds",
          "From a client's write to its answer: raft, disk, quorum and apply together.",
          &f->clients.write_us);
    head(out, "holdfast_write_stage_seconds", "histogram",
         "Of writes in this node's log: disk, until they are on its disk; commit, until they are "
         "known to be "
         "committed, beside that; apply, from then until they are applied.");
    buckets(out, "holdfast_write_stage_seconds", "stage=\"disk\",", &f->write_disk_us,
            HISTOGRAM_TIMES);
    buckets(out, "holdfast_write_stage_seconds", "stage=\"commit\",", &f->write_commit_us,
            HISTOGRAM_TIMES);
    buckets(out, "holdfast_write_stage_seconds", "stage=\"apply\",", &f->write_apply_us,
            HISTOGRAM_TIMES);
    counts(out, "holdfast_group_commit_appends", "Appends gathered in one transaction of raft.db.",
           &f->log_batch);
    counts(out, "holdfast_flush_changes", "Changes gathered in one transaction of kv.db.",
           &f->flush_changes);
    if (f->space.free_bytes != 0 || f->space.low) {
        gauge(out, "holdfast_disk_free_bytes", "Room on the data directory's file system.",
              f->space.free_bytes);
        gauge(out, "holdfast_disk_reserve_bytes", "Room held by the reserve file beside that.",
              f->space.reserve_bytes);
        gauge(out, "holdfast_disk_low_space", "Whether this member is short of room.",
              f->space.low);
    }
    gauge(out, "holdfast_cluster_low_space", "Whether writes that need room are refused.",
          f->raft.cluster_low_space);
    gauge(out, "holdfast_disk_hangs", "Whether a disk write is older than raft.disk_stall_ms.",
          f->raft.disk_hangs);
    head(out, "holdfast_disk_oldest_write_seconds", "gauge",
         "Age of the oldest write of the log that is not durable.");
    print(out, "holdfast_disk_oldest_write_seconds %" PRIu64 ".%06" PRIu64 "\n",
          f->raft.disk_age_us / 1000000, f->raft.disk_age_us % 1000000);
    gauge(out, "holdfast_overlay_bytes", "Changes that kv.db does not have yet.", f->overlay_bytes);
    gauge(out, "holdfast_leases", "Leases.", f->lease_count);
    gauge(out, "holdfast_client_connections", "Connections of clients.", f->clients.connections);
    gauge(out, "holdfast_client_calls", "Requests of clients under way.", f->clients.calls);
    const struct {
        const char *name;
        const struct db_figures *db;
    } files[] = {{"raft.db", &f->log_db}, {"kv.db", &f->kv_db}};
    head(out, "holdfast_wal_bytes", "gauge", "Size of the part of a file's WAL that is in use.");
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        print(out, "holdfast_wal_bytes{file=\"%s\"} %" PRIu64 "\n", files[i].name,
              files[i].db->wal_bytes);
    }
    head(out, "holdfast_wal_pinned_seconds", "gauge",
         "How long the oldest reader has kept a WAL from being emptied; 0 if none does.");
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        print(out, "holdfast_wal_pinned_seconds{file=\"%s\"} %.9g\n", files[i].name,
              (double)files[i].db->pinned_us * 1e-6);
    }
    head(out, "holdfast_checkpoints_total", "counter", "Checkpoints of a file's WAL.");
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        print(out, "holdfast_checkpoints_total{file=\"%s\"} %" PRIu64 "\n", files[i].name,
              files[i].db->checkpoints);
    }
    head(out, "holdfast_db_bytes", "gauge", "Size of a file.");
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        print(out, "holdfast_db_bytes{file=\"%s\"} %" PRIu64 "\n", files[i].name,
              files[i].db->file_bytes);
    }
}

/* ---- process ---------------------------------------------------------------------------------------- */

static void write_process(const struct process_figures *p, struct buffer *out)
{
    const struct {
        const char *name, *help;
        int64_t value;
    } numbers[] = {
        {"process_resident_memory_bytes", "Resident memory.", p->resident_bytes},
        {"process_virtual_memory_bytes", "Virtual memory.", p->virtual_bytes},
        {"process_open_fds", "Open file descriptors.", p->open_fds},
        {"process_max_fds", "File descriptors that may be open.", p->max_fds},
        {"os_fd_used", "Open file descriptors.", p->open_fds},
        {"os_fd_limit", "File descriptors that may be open.", p->max_fds},
    };
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        if (numbers[i].value >= 0) {
            gauge(out, numbers[i].name, numbers[i].help, (uint64_t)numbers[i].value);
        }
    }
    if (p->cpu_s >= 0) {
        head(out, "process_cpu_seconds_total", "counter", "Processor time, user and system.");
        print(out, "process_cpu_seconds_total %.9g\n", p->cpu_s);
    }
    if (p->start_s >= 0) {
        head(out, "process_start_time_seconds", "gauge", "Start, in seconds since 1970.");
        print(out, "process_start_time_seconds %.3f\n", p->start_s);
    }
}

void metrics_write(const struct figures *figures, const struct process_figures *process,
                   uint64_t member_id, struct buffer *out)
{
    write_server(figures, member_id, out);
    write_store(figures, out);
    write_peers(figures, out);
    write_grpc(&figures->clients, out);
    write_actors(figures, out);
    write_own(figures, out);
    write_process(process, out);
}
