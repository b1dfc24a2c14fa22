/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_metrics.c: figures as Prometheus text: names that dashboards rely on (sheet §5.2), sums of histograms, and
 * what is not known left out. The grammar as a whole is checked on real nodes by tests/e2e/test_web.py.
 */
#include "base.h"
#include "suite.h"

#include "api/metrics.h"
#include "api/method.h"

static struct figures *some_figures(void)
{
    struct figures *f = mem_zalloc(sizeof *f);
    f->raft.id = f->raft.leader = 7;
    f->raft.commit_index = 10;
    f->raft.last_log_index = 12;
    f->configuration.count = 1;
    f->configuration.members[0].id = 7;
    f->configuration.members[0].voter_incoming = true;
    f->actor_count = 1;
    memcpy(f->actors[0].name, "raft", 5);
    histogram_add(&f->log_commit_us, 1, HISTOGRAM_TIMES);
    histogram_add(&f->log_commit_us, 100, HISTOGRAM_TIMES);
    histogram_add(&f->log_commit_us, UINT64_C(100000000), HISTOGRAM_TIMES); /* beyond the last */
    f->clients.started[METHOD_PUT] = 3;
    f->clients.handled[METHOD_PUT][0] = 2;
    f->clients.handled[METHOD_PUT][14] = 1;
    f->peer_count = 1;
    f->peers[0].member_id = 0xabc;
    f->peers[0].sent_bytes = 99;
    histogram_add(&f->write_commit_us, 30, HISTOGRAM_TIMES);
    f->peers[0].lost_connections = 2;
    histogram_add(&f->peers[0].round_trip_us, 100, HISTOGRAM_TIMES);
    f->space.free_bytes = 1000;
    f->kv_db.file_bytes = 24;
    f->slow_applies = 5;
    f->leases_renewed = 6;
    f->clients.healthy = 8;
    f->leases_revoked = 2;
    f->leases_expired = 3;
    return f;
}

static bool says(const struct buffer *text, const char *line)
{
    bool found = strstr((const char *)text->data, line) != NULL;
    if (!found) {
        (void)fprintf(stderr, "not there: %s\n", line);
    }
    return found;
}

static void names_and_numbers(void)
{
    struct figures *f = some_figures();
    struct process_figures process = {.cpu_s = 1.5,
                                      .start_s = -1,
                                      .resident_bytes = 4096,
                                      .virtual_bytes = -1,
                                      .open_fds = 3,
                                      .max_fds = -1};
    struct buffer text = {0};
    metrics_write(f, &process, 7, &text);
    buffer_u8(&text, 0);
    static const char *const lines[] = {
        "# TYPE etcd_server_has_leader gauge\netcd_server_has_leader 1\n",
        "\netcd_server_is_leader 1\n",
        "\netcd_server_is_learner 0\n",
        "\netcd_server_proposals_pending 2\n",
        "\netcd_disk_wal_fsync_duration_seconds_bucket{le=\"1.6e-05\"} 1\n",
        "\netcd_disk_wal_fsync_duration_seconds_bucket{le=\"6.4e-05\"} 1\n",
        "\netcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.000128\"} 2\n",
        "\netcd_disk_wal_fsync_duration_seconds_bucket{le=\"8.388608\"} 2\n",
        "\netcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} 3\n",
        "\netcd_disk_wal_fsync_duration_seconds_sum 100.000101\n",
        "\netcd_disk_wal_fsync_duration_seconds_count 3\n",
        "\ngrpc_server_started_total{grpc_service=\"etcdserverpb.KV\",grpc_method=\"Put\",grpc_"
        "type=\"unary\"} 3\n",
        "grpc_method=\"Put\",grpc_type=\"unary\",grpc_code=\"OK\"} 2\n",
        "grpc_method=\"Put\",grpc_type=\"unary\",grpc_code=\"Unavailable\"} 1\n",
        "grpc_method=\"Watch\",grpc_type=\"bidi_stream\"} 0\n",
        "grpc_method=\"Snapshot\",grpc_type=\"server_stream\"} 0\n",
        "\netcd_network_peer_sent_bytes_total{To=\"abc\"} 99\n",
        "\netcd_network_peer_round_trip_time_seconds_bucket{To=\"abc\",le=\"0.000128\"} 1\n",
        "\netcd_network_peer_round_trip_time_seconds_sum{To=\"abc\"} 0.0001\n",
        "\netcd_network_disconnected_peers_total{Remote=\"abc\"} 2\n",
        "\netcd_network_known_peers{Remote=\"abc\"} 1\n",
        "\netcd_server_quota_backend_bytes 1024\n",
        "\netcd_server_slow_apply_total 5\n",
        "\netcd_server_health_success 8\n",
        "\netcd_server_health_failures 0\n",
        "\netcd_server_snapshot_apply_in_progress_total 0\n",
        "\netcd_debugging_lease_renewed_total 6\n",
        "\nholdfast_actor_queue_wait_seconds_count{actor=\"raft\"} 0\n",
        "\nholdfast_write_stage_seconds_bucket{stage=\"commit\",le=\"3.2e-05\"} 1\n",
        "\nholdfast_write_stage_seconds_count{stage=\"apply\"} 0\n",
        "\netcd_debugging_lease_revoked_total 5\n", /* etcd counts those that expired too */
        "\netcd_debugging_server_lease_expired_total 3\n",
        "\nprocess_resident_memory_bytes 4096\n",
        "\nprocess_cpu_seconds_total 1.5\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        CU_ASSERT_TRUE(says(&text, lines[i]));
    }
    /* what nobody knows is not made up */
    static const char *const absent[] = {"process_max_fds", "process_virtual_memory_bytes",
                                         "process_start_time_seconds", "watcher_total",
                                         "mvcc_events_total"};
    for (size_t i = 0; i < ARRAY_COUNT(absent); i++) {
        CU_ASSERT_PTR_NULL(strstr((const char *)text.data, absent[i]));
    }
    buffer_free(&text);
    mem_free(f);
}

/* Every value lies at or below its bucket's bound, and above the one before. */
static void histograms_count_right(void)
{
    const unsigned scales[] = {HISTOGRAM_TIMES, HISTOGRAM_COUNTS};
    for (size_t s = 0; s < ARRAY_COUNT(scales); s++) {
        for (uint64_t value = 0; value < 100000; value = value < 70 ? value + 1 : value * 3 / 2) {
            struct histogram h = {0};
            histogram_add(&h, value, scales[s]);
            CU_ASSERT_EQUAL(h.count, 1);
            CU_ASSERT_EQUAL(h.sum, value);
            for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
                if (h.buckets[i] > 0) {
                    CU_ASSERT_TRUE(value <= histogram_bound(i, scales[s]));
                    CU_ASSERT_TRUE(i == 0 || value > histogram_bound(i - 1, scales[s]));
                }
            }
        }
        struct histogram h = {0};
        histogram_add(&h, UINT64_MAX, scales[s]);
        CU_ASSERT_EQUAL(h.count, 1);
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
            CU_ASSERT_EQUAL(h.buckets[i], 0);
        }
    }
}

SUITE("api metrics", TEST(names_and_numbers), TEST(histograms_count_right))
