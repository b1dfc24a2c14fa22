/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot_command.c: snapshot save FILE and snapshot status FILE.
 *
 * save streams the database of one member into FILE.part beside FILE, checks the SHA-256 that ends the stream
 * against all octets before it, syncs, and renames. FILE is either whole or untouched. As with etcdctl the
 * digest stays at the end of the file, so that `status` can check it at any later time; neither SQLite nor
 * etcd's restore minds it.
 *
 * Invariants
 *  1. FILE is only ever replaced by a stream whose digest was right, after it is on the disk.
 *  2. FILE.part is removed however it ends.
 */
#include "loop.h"

#include "base/sha256.h"
#include "net/grpc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_READ_BYTES (256 * 1024)
#define FILE_MODE       0600 /* all keys and values are in it */

/* A digest of all but the last SHA256_BYTES octets of what is added, and these. */
struct tail_digest {
    struct sha256 sum;
    uint8_t tail[SHA256_BYTES];
    size_t tail_size;
    uint64_t summed_bytes;
};

static void tail_start(struct tail_digest *t)
{
    sha256_drop(&t->sum);
    memset(t, 0, sizeof(*t));
    sha256_start(&t->sum);
}

static void tail_sum(struct tail_digest *t, struct view octets)
{
    sha256_add(&t->sum, octets);
    t->summed_bytes += octets.size;
}

static void tail_add(struct tail_digest *t, struct view octets)
{
    if (octets.size >= SHA256_BYTES) {
        tail_sum(t, view_of(t->tail, t->tail_size));
        tail_sum(t, view_of(octets.data, octets.size - SHA256_BYTES));
        memcpy(t->tail, octets.data + octets.size - SHA256_BYTES, SHA256_BYTES);
        t->tail_size = SHA256_BYTES;
        return;
    }
    for (size_t i = 0; i < octets.size; i++) { /* few, and rarely */
        if (t->tail_size == SHA256_BYTES) {
            tail_sum(t, view_of(t->tail, 1));
            memmove(t->tail, t->tail + 1, --t->tail_size);
        }
        t->tail[t->tail_size++] = octets.data[i];
    }
}

/* Ends it. */
static bool tail_is_right(struct tail_digest *t)
{
    uint8_t digest[SHA256_BYTES];
    sha256_finish(&t->sum, digest);
    return t->tail_size == SHA256_BYTES && memcmp(digest, t->tail, SHA256_BYTES) == 0;
}

/* ---- save ------------------------------------------------------------------------------------------ */

struct save {
    const struct cli_arguments *arguments;
    struct cli_loop loop;
    struct grpc_call *call;
    const char *path;
    char part_path[PATH_MAX];
    int fd;
    struct tail_digest digest;
    uint64_t heard_ms;
    bool complete; /* the stream ended in order and its digest is right */
};

static enum cli_exit file_problem(const char *path, const char *what)
{
    fprintf(stderr, "holdfastctl: %s: %s: %s\n", path, what, strerror(errno));
    return CLI_FAILED;
}

static bool write_all(int fd, struct view octets)
{
    while (octets.size > 0) {
        ssize_t count = write(fd, octets.data, octets.size);
        if (count <= 0 && errno != EINTR) {
            return false;
        }
        size_t done = count > 0 ? (size_t)count : 0;
        octets = view_of(octets.data + done, octets.size - done);
    }
    return true;
}

static void on_message(void *context, struct view message)
{
    struct save *save = context;
    save->heard_ms = save->loop.now_ms;
    Etcdserverpb__SnapshotResponse *response =
        etcdserverpb__snapshot_response__unpack(NULL, message.size, message.data);
    if (response == NULL) {
        cli_loop_break(&save->loop, "its answer cannot be read; is it an etcd v3 server?");
        grpc_call_cancel(&save->call);
        return;
    }
    struct view blob = cli_view(&response->blob);
    if (blob.size > 0) {
        tail_add(&save->digest, blob);
        if (!write_all(save->fd, blob)) {
            cli_loop_stop(&save->loop, file_problem(save->part_path, "cannot be written"));
            grpc_call_cancel(&save->call);
        }
    }
    etcdserverpb__snapshot_response__free_unpacked(response, NULL);
}

static void on_done(void *context, const struct grpc_answer *answer)
{
    struct save *save = context;
    save->call = NULL;
    if (answer->transport || answer->status == GRPC_UNAVAILABLE) {
        cli_loop_break(&save->loop, answer->transport ? "the stream broke off" : answer->message);
        return;
    }
    if (answer->status != GRPC_OK) {
        cli_loop_stop(&save->loop,
                      cli_refused(cli_loop_endpoint(&save->loop), answer->status, answer->message));
    } else if (!tail_is_right(&save->digest)) {
        fprintf(stderr,
                "holdfastctl: %s: the snapshot is damaged: its SHA-256 is not that of what came\n",
                cli_loop_endpoint(&save->loop));
        cli_loop_stop(&save->loop, CLI_FAILED);
    } else {
        save->complete = true;
        cli_loop_stop(&save->loop, CLI_OK);
    }
}

static void on_up(void *context)
{
    struct save *save = context;
    if (ftruncate(save->fd, 0) != 0 || lseek(save->fd, 0, SEEK_SET) != 0) {
        cli_loop_stop(&save->loop, file_problem(save->part_path, "cannot be emptied"));
        return;
    }
    tail_start(&save->digest);
    save->heard_ms = save->loop.now_ms;
    struct grpc_stream_settings settings = {.path = "/etcdserverpb.Maintenance/Snapshot",
                                            .message = on_message,
                                            .done = on_done,
                                            .context = save};
    save->call = grpc_channel_stream(save->loop.channel, &settings);
}

static void on_down(void *context)
{
    struct save *save = context;
    save->call = NULL;
}

static void on_signal(void *context, int number, bool from_terminal)
{
    struct save *save = context;
    UNUSED(number);
    UNUSED(from_terminal);
    fprintf(stderr, "holdfastctl: interrupted; nothing saved\n");
    cli_loop_stop(&save->loop, CLI_FAILED);
}

static uint64_t on_due(void *context)
{
    const struct save *save = context;
    return save->call == NULL ? UINT64_MAX : save->heard_ms + save->arguments->timeout_ms;
}

static void on_tick(void *context, uint64_t now_ms)
{
    struct save *save = context;
    if (save->call != NULL && now_ms >= on_due(save)) {
        grpc_call_cancel(&save->call);
        cli_loop_break(&save->loop, "nothing more came in time");
    }
}

/* The folder's entry must be on the disk, too. */
static bool sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX];
    (void)snprintf(folder, sizeof(folder), "%.*s", slash == NULL ? 1 : (int)(slash - path) + 1,
                   slash == NULL ? "." : path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return synced;
}

static enum cli_exit put_in_place(struct save *save)
{
    if (fsync(save->fd) != 0) {
        return file_problem(save->part_path, "cannot be synced");
    }
    if (rename(save->part_path, save->path) != 0) {
        return file_problem(save->path, "cannot be put in place");
    }
    save->part_path[0] = '\0';
    if (!sync_folder_of(save->path)) {
        return file_problem(save->path, "its folder cannot be synced");
    }
    if (save->arguments->output == OUTPUT_JSON) {
        printf("{\"bytes\":%" PRIu64 ",", save->digest.summed_bytes);
        print_json_octets(stdout, "endpoint", view_of_text(cli_loop_endpoint(&save->loop)));
        printf("}\n");
    } else {
        printf("Snapshot saved at %s\n", save->path);
    }
    return CLI_OK;
}

static enum cli_exit command_save(const struct cli_arguments *arguments, const char *path)
{
    static const struct cli_loop_user loop_user = {
        .up = on_up, .down = on_down, .signal = on_signal, .due_ms = on_due, .tick = on_tick};
    struct save save = {.arguments = arguments, .path = path};
    int size = snprintf(save.part_path, sizeof(save.part_path), "%s.part", path);
    if (size < 0 || (size_t)size >= sizeof(save.part_path)) {
        fprintf(stderr, "holdfastctl: %s: the name is too long\n", path);
        return CLI_USAGE;
    }
    save.fd = open(save.part_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (save.fd < 0) {
        const char *what =
            errno == EEXIST ? "is another one being saved? if not, remove it" : "cannot be created";
        return file_problem(save.part_path, what);
    }
    cli_loop_start(&save.loop, arguments, &loop_user, &save);
    enum cli_exit code = cli_loop_run(&save.loop);
    if (code == CLI_OK) {
        code = put_in_place(&save);
    }
    cli_loop_end(&save.loop);
    sha256_drop(&save.digest.sum);
    (void)close(save.fd);
    if (save.part_path[0] != '\0') {
        (void)unlink(save.part_path);
    }
    return code;
}

/* ---- status ---------------------------------------------------------------------------------------- */

static const char *kind_of(const uint8_t *start, size_t size)
{
    static const uint8_t bolt_magic[] = {0xed, 0xda, 0x0c, 0xed};
    static const char sqlite_magic[] = "SQLite format 3"; /* with its NUL */
    if (size >= sizeof(sqlite_magic) && memcmp(start, sqlite_magic, sizeof(sqlite_magic)) == 0) {
        return "holdfast (SQLite)";
    }
    if (size >= 16 + sizeof(bolt_magic) &&
        memcmp(start + 16, bolt_magic, sizeof(bolt_magic)) == 0) {
        return "etcd (bbolt)";
    }
    return "unknown";
}

static enum cli_exit command_file_status(const struct cli_arguments *arguments, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return file_problem(path, "cannot be opened");
    }
    uint8_t *octets = mem_alloc(FILE_READ_BYTES);
    struct tail_digest digest = {0};
    tail_start(&digest);
    const char *kind = "unknown";
    ssize_t count = 0;
    bool first = true;
    while ((count = read(fd, octets, FILE_READ_BYTES)) > 0) {
        if (first) {
            kind = kind_of(octets, (size_t)count);
            first = false;
        }
        tail_add(&digest, view_of(octets, (size_t)count));
    }
    enum cli_exit code = count < 0 ? file_problem(path, "cannot be read") : CLI_OK;
    bool right = tail_is_right(&digest);
    if (code == CLI_OK && arguments->output == OUTPUT_JSON) {
        printf("{\"kind\":\"%s\",\"bytes\":%" PRIu64 ",\"sha256\":\"%s\"}\n", kind,
               digest.summed_bytes, right ? "right" : "wrong");
    } else if (code == CLI_OK) {
        printf("%s, %" PRIu64 " octets, SHA-256 %s\n", kind, digest.summed_bytes,
               right ? "right" : "wrong");
    }
    if (code == CLI_OK && !right) {
        fprintf(stderr,
                "holdfastctl: %s: damaged, or no snapshot: the SHA-256 at its end is not "
                "that of what is before it\n",
                path);
        code = CLI_FAILED;
    }
    mem_free(octets);
    (void)close(fd);
    return code;
}

enum cli_exit command_snapshot(const struct cli_arguments *arguments)
{
    if (arguments->word_count == 3 && arguments->words[2][0] != '\0') {
        if (strcmp(arguments->words[1], "save") == 0) {
            return command_save(arguments, arguments->words[2]);
        }
        if (strcmp(arguments->words[1], "status") == 0) {
            return command_file_status(arguments, arguments->words[2]);
        }
    }
    return cli_usage("snapshot save FILE | snapshot status FILE");
}
