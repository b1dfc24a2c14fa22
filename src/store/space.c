/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space.c: how much room the data directory's file system has, and a reserve of it. In: looks, about once a
 * second, by one thread. Out: what is free, whether that is little, and a file "reserve" that is made and given up.
 *
 * Below low_space_bytes the node takes no writes that need room (who refuses them is no business of this file); deletions
 * and compaction need a little room themselves before they give back any, and so do the log and the WALs
 * of what had been taken by then. The reserve is room for that, held by a file that was given its
 * blocks when there were enough. It is given up in two steps: three quarters while the node runs, once what is free
 * falls below half of it; the rest only at a start, so that a node that was ended on a full disk can start
 * and serve reads. It is made again when there is room for it beside the watermark and a quarter.
 *
 * Invariants
 *  1. While less than the whole reserve is held, there is little room, whatever is free: what it gave back is not for growth.
 *  2. "little" ends only a quarter above where it begins.
 *  3. Off this host (the simulator) nothing is touched and there is always room.
 */
#include "store.h"

#include "host_files.h"

#include <stdio.h>
#include <string.h>

#define RESERVE_KEEP_PART 4 /* one part in so many is kept for a start */
#define LOW_END_PART      4 /* the watermark and one part in so many of it: enough again */

struct space {
    char *data_dir, *reserve_path;
    uint64_t reserve_bytes, low_space_bytes;
    bool low, disturbed; /* the reserve could not be made or given up: said once */
};

struct space *space_open(const char *data_dir, uint64_t reserve_bytes, uint64_t low_space_bytes)
{
    struct space *s = mem_zalloc(sizeof(*s));
    s->data_dir = mem_strdup(data_dir);
    size_t size = strlen(data_dir) + sizeof("/reserve");
    s->reserve_path = mem_alloc(size);
    (void)snprintf(s->reserve_path, size, "%s/reserve", data_dir);
    s->reserve_bytes = reserve_bytes;
    s->low_space_bytes = low_space_bytes;
    return s;
}

void space_close(struct space **space)
{
    struct space *s = *space;
    *space = NULL;
    if (s != NULL) {
        mem_free(s->data_dir);
        mem_free(s->reserve_path);
        mem_free(s);
    }
}

static void set_reserve(struct space *s, uint64_t bytes)
{
    enum err error = host_reserve_set(s->reserve_path, bytes);
    if (error != OK && !s->disturbed) {
        log_event(LOG_WARNING, "reserve file failed",
                  "file=%s wanted_bytes=%" PRIu64 " error=\"%s\"", s->reserve_path, bytes,
                  err_text(error));
    }
    s->disturbed = error != OK;
}

/* What the reserve should be now. */
static uint64_t wanted_reserve(const struct space *s, bool starting, const struct space_facts *now)
{
    uint64_t enough = s->low_space_bytes + s->low_space_bytes / LOW_END_PART;
    if (now->reserve_bytes >= s->reserve_bytes / RESERVE_KEEP_PART &&
        now->free_bytes < s->reserve_bytes / 2) {
        uint64_t kept = starting ? 0 : s->reserve_bytes / RESERVE_KEEP_PART;
        return now->reserve_bytes < kept ? now->reserve_bytes : kept;
    }
    if (now->reserve_bytes > s->reserve_bytes) {
        return s->reserve_bytes; /* the configuration has changed */
    }
    if (now->reserve_bytes < s->reserve_bytes &&
        now->free_bytes >= enough + (s->reserve_bytes - now->reserve_bytes)) {
        return s->reserve_bytes;
    }
    return now->reserve_bytes;
}

static enum err measure(const struct space *s, struct space_facts *out)
{
    enum err error = host_free_bytes(s->data_dir, &out->free_bytes);
    return error == OK ? host_reserve_size(s->reserve_path, &out->reserve_bytes) : error;
}

enum err space_look(struct space *s, bool starting, struct space_facts *out)
{
    struct space_facts now = {0};
    enum err error = measure(s, &now);
    if (error != OK) {
        return error;
    }
    uint64_t wanted = wanted_reserve(s, starting, &now);
    if (wanted != now.reserve_bytes) {
        set_reserve(s, wanted);
        error = measure(s, &now);
        if (error != OK) {
            return error;
        }
    }
    uint64_t least = s->low_space_bytes + (s->low ? s->low_space_bytes / LOW_END_PART : 0);
    s->low = now.reserve_bytes < s->reserve_bytes || now.free_bytes < least;
    now.low = s->low;
    *out = now;
    return OK;
}
