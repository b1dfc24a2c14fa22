/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base.h: what every room stands on: error codes, owned and borrowed bytes, assert grades, memory,
 * checksums, byte order and log lines.
 *
 * Invariants
 *  1. Every function that can fail returns an enum err (0 = success); results go out by pointer and
 *     stay untouched on failure.
 *  2. Asserts are for our own mistakes and stay on in release builds. Errors are for the world.
 *  3. Memory exhaustion is fatal (docs/decisions/0001): mem_* never return NULL. A crashed node is a
 *     state Raft is built for; a half-applied entry is not.
 *  4. No hidden globals but the log sink and level, both set once before the first thread starts.
 */
#ifndef HOLDFAST_BASE_H
#define HOLDFAST_BASE_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE                         __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#define NO_RETURN                        _Noreturn
#define UNUSED(x)                        ((void)(x))
#define ARRAY_COUNT(a)                   (sizeof(a) / sizeof((a)[0]))

/* ---- errors ---------------------------------------------------------------------------------- */

/* code, text for people. etcd's wire texts and gRPC codes are mapped from these in src/api. */
#define ERR_TABLE(X)                                                                               \
    X(OK, "ok")                                                                                    \
    X(ERR_INVALID, "invalid argument")                                                             \
    X(ERR_NOT_FOUND, "not found")                                                                  \
    X(ERR_TOO_LARGE, "too large")                                                                  \
    X(ERR_TRUNCATED, "input ends too early")                                                       \
    X(ERR_MALFORMED, "malformed input")                                                            \
    X(ERR_CHECKSUM, "checksum does not match")                                                     \
    X(ERR_NEWER_FORMAT, "written by a newer version of holdfast")                                  \
    X(ERR_IO, "input/output error")                                                                \
    X(ERR_DISK_FULL, "no space left on the disk")                                                  \
    X(ERR_CORRUPT, "database file is corrupt")                                                     \
    X(ERR_BUSY_FILE, "database file is locked by another process")                                 \
    X(ERR_IN_USE, "data directory is used by another process")                                     \
    X(ERR_FOREIGN_WRITE, "database file was written by another process")                           \
    X(ERR_CONFIG, "configuration error")                                                           \
    X(ERR_ADDRESS, "address cannot be resolved or used")                                           \
    X(ERR_CLOSED, "connection closed")                                                             \
    X(ERR_PROTOCOL, "protocol violation")                                                          \
    X(ERR_VERSION, "no common protocol version")                                                   \
    X(ERR_CLUSTER_MISMATCH, "member of another cluster")                                           \
    X(ERR_UNKNOWN_MEMBER, "not a member of this cluster")                                          \
    X(ERR_NOT_FOUNDED, "there is no cluster to join yet")                                          \
    X(ERR_IDENTITY, "member name is bound to another identity")                                    \
    X(ERR_CHANGE_PENDING, "another change of members is not finished")                             \
    X(ERR_CHANGED_SINCE, "the members have changed since they were looked at")                     \
    X(ERR_ID_REUSED, "a member that was removed cannot come back under its old identity")          \
    X(ERR_BAD_TRANSFEREE, "that member cannot take over the lead")                                 \
    X(ERR_MEMBER_NOT_FOUND, "member not found")                                                    \
    X(ERR_PEER_URL_EXISTS, "that peer address is a member's already")                              \
    X(ERR_MEMBER_URLS, "no peer address that could be dialled")                                    \
    X(ERR_TOO_MANY_MEMBERS, "no room for another member")                                          \
    X(ERR_NOT_A_LEARNER, "that member votes already")                                              \
    X(ERR_LEARNER_NOT_READY, "that member is not in sync with the leader")                         \
    X(ERR_UNHEALTHY, "no majority of the voters is alive")                                         \
    X(ERR_NOT_ENOUGH_STARTED, "too few sound voters would be left")                                \
    X(ERR_REMOVED, "this node was removed from the cluster")                                       \
    X(ERR_NO_LEADER, "no leader")                                                                  \
    X(ERR_NOT_LEADER, "not the leader")                                                            \
    X(ERR_LEADER_CHANGED, "leader changed; the request was not carried out")                       \
    X(ERR_TOO_FAR_BEHIND, "this node lacks too much of the log to answer")                         \
    X(ERR_TIMEOUT, "timed out; the outcome is unknown")                                            \
    X(ERR_OVERLOAD, "too many requests")                                                           \
    X(ERR_STOPPED, "server stopped")                                                               \
    X(ERR_UNIMPLEMENTED, "not built yet")                                                          \
    X(ERR_COMPACTED, "required revision has been compacted")                                       \
    X(ERR_FUTURE_REVISION, "required revision is a future revision")                               \
    X(ERR_KEY_EMPTY, "key is not provided")                                                        \
    X(ERR_KEY_NOT_FOUND, "key not found")                                                          \
    X(ERR_VALUE_PROVIDED, "value is provided")                                                     \
    X(ERR_LEASE_PROVIDED, "lease is provided")                                                     \
    X(ERR_LEASE_NOT_FOUND, "requested lease not found")                                            \
    X(ERR_INVALID_SORT, "invalid sort option")                                                     \
    X(ERR_INVALID_COMPARE, "unknown result or target of a compare")                                \
    X(ERR_TOO_MANY_OPS, "too many operations")                                                     \
    X(ERR_DUPLICATE_KEY, "duplicate key given in txn request")                                     \
    X(ERR_LEASE_EXISTS, "lease already exists")                                                    \
    X(ERR_LEASE_TTL_TOO_LARGE, "too large lease TTL")                                              \
    X(ERR_NO_SPACE_LEFT, "database space exceeded")

enum err {
#define ERR_ENUM(code, text) code,
    ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
        ERR_COUNT
};

/* The text of an error for people; a static string. */
const char *err_text(enum err error);

/* ---- exit codes of the programs; documented in docs/operations.md ------------------------------ */

enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_FAILURE = 1,      /* something went wrong that a restart may heal */
    EXIT_CODE_USAGE = 64,       /* command line is wrong */
    EXIT_CODE_DATA_FORMAT = 65, /* data directory: newer format, corrupt beyond repair */
    EXIT_CODE_IDENTITY = 66,    /* data directory belongs to another member or cluster */
    EXIT_CODE_BUG = 70,         /* an assert failed (the process aborts; shown for completeness) */
    EXIT_CODE_IN_USE = 73,      /* another process holds the data directory */
    EXIT_CODE_DISK = 74,        /* write or fsync on raft.db failed: do not restart by itself */
    EXIT_CODE_DISK_FULL =
        75, /* no room to open the files; holdfastd waits instead of ending with it */
    EXIT_CODE_CONFIG = 78, /* configuration file is wrong */
};

/* ---- asserts --------------------------------------------------------------------------------- */

NO_RETURN void assert_failed(const char *grade, const char *what, const char *file, int line);

/* Cannot happen. One condition each. Stays on in release builds. */
#define ASSERT(condition)                                                                          \
    ((condition) ? (void)0 : assert_failed("ASSERT", #condition, __FILE__, __LINE__))

/* Too dear for production; on in debug builds and in the simulator. */
#ifdef HOLDFAST_CHECK_SLOW
#define CHECK_SLOW(condition) ASSERT(condition)
#else
#define CHECK_SLOW(condition) ((void)sizeof((condition) ? 1 : 0))
#endif

/* ---- memory ---------------------------------------------------------------------------------- */

/* As malloc, calloc, realloc, strdup and memdup, but never NULL; size 0 gives a valid pointer. Free with mem_free. */
void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *old, size_t size) __attribute__((returns_nonnull));
char *mem_strdup(const char *text) __attribute__((malloc, returns_nonnull));
void *mem_dup(const void *data, size_t size) __attribute__((malloc, returns_nonnull));
void mem_free(void *pointer);

/* Grow an array to hold at least `needed` elements, doubling; items and capacity change together. */
#define ARRAY_RESERVE(items, capacity, needed)                                                     \
    do {                                                                                           \
        if ((needed) > (capacity)) {                                                               \
            size_t grown_ = (capacity) ? (capacity)*2 : 8;                                         \
            while (grown_ < (needed)) {                                                            \
                grown_ *= 2;                                                                       \
            }                                                                                      \
            (items) = mem_realloc((items), grown_ * sizeof(*(items)));                             \
            (capacity) = grown_;                                                                   \
        }                                                                                          \
    } while (0)

/*
 * Make room for one more at the end of a queue that lies in items[first .. first + count - 1] and is
 * taken from in front. It moves to the front only when more than half of the room is free there, so
 * that a push costs O(1) on average.
 */
#define QUEUE_RESERVE(items, first, count, capacity)                                               \
    do {                                                                                           \
        if ((first) > (capacity) / 2 && (first) + (count) == (capacity)) {                         \
            memmove((items), (items) + (first), (count) * sizeof(*(items)));                       \
            (first) = 0;                                                                           \
        }                                                                                          \
        ARRAY_RESERVE((items), (capacity), (first) + (count) + 1);                                 \
    } while (0)

/* ---- bytes ----------------------------------------------------------------------------------- */

/* Owned octets. data may be NULL when size is 0. */
struct bytes {
    uint8_t *data;
    size_t size;
};

/* Borrowed octets: valid as long as the lender says. */
struct view {
    const uint8_t *data;
    size_t size;
};

static inline struct view view_of(const void *data, size_t size)
{
    return (struct view){.data = data, .size = size};
}

static inline struct view bytes_view(const struct bytes *b)
{
    return (struct view){.data = b->data, .size = b->size};
}

struct view view_of_text(const char *text);
struct bytes bytes_copy(struct view from);
void bytes_free(struct bytes *b);               /* frees and empties */
int view_compare(struct view a, struct view b); /* memcmp order, shorter first on a tie */
bool view_equal(struct view a, struct view b);

/* A growing output buffer. Zero-initialised is empty. */
struct buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

void buffer_append(struct buffer *b, const void *data, size_t size);
uint8_t *buffer_extend(struct buffer *b,
                       size_t size);                /* uninitialised room at the end, counted in */
void buffer_consume(struct buffer *b, size_t size); /* drops from the front */
void buffer_free(struct buffer *b);
void buffer_u8(struct buffer *b, uint8_t value);
void buffer_u16(struct buffer *b, uint16_t value); /* little-endian, all of these */
void buffer_u32(struct buffer *b, uint32_t value);
void buffer_u64(struct buffer *b, uint64_t value);
void buffer_view(struct buffer *b, struct view v); /* u32 size, then the octets */

/* Reads what buffer_* wrote. A short input sets `failed`, which sticks; values read then are 0. */
struct reader {
    const uint8_t *data;
    size_t size;
    bool failed;
};

uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
struct view reader_view(struct reader *r); /* borrowed from the input */

/* ---- checksums and seeds --------------------------------------------------------------------- */

/* XXH3 of the octets; 32 bits of it in checksum32. Not cryptographic: for torn and flipped bytes. */
uint64_t checksum64(struct view data);
uint32_t checksum32(struct view data);

/* Deterministic pseudo-random numbers (splitmix64) from a state the caller owns. */
uint64_t random_next(uint64_t *state);
uint64_t random_below(uint64_t *state, uint64_t bound); /* 0 .. bound-1; bound > 0 */

/* ---- log lines ------------------------------------------------------------------------------- */

#define LOG_LINE_MAX 2048 /* octets of a finished line; longer ones are cut */

enum log_level { LOG_ERROR = 3, LOG_WARNING = 4, LOG_NOTICE = 5, LOG_INFO = 6, LOG_DEBUG = 7 };

/*
 * One line per event: `event text` then key=value pairs, written by the caller in the format, e.g.
 *   log_event(LOG_NOTICE, "became leader", "term=%" PRIu64 " log=%" PRIu64, term, last);
 * Values with blanks are quoted by the caller. Never one line per request; never secrets.
 */
void log_event(enum log_level level, const char *event, const char *format, ...) PRINTF_LIKE(3, 4);

/*
 * Where finished lines go (without newline; borrowed for the call). The default writes to stderr
 * with a journald priority prefix when stderr is the journal. Set before any thread starts.
 */
typedef void log_sink_fn(void *context, enum log_level level, const char *line, size_t size);
void log_set_sink(log_sink_fn *sink, void *context);
void log_set_level(enum log_level most_verbose);
/* The default sink's write, for a sink that only moves the line to another thread. May block. */
void log_write_stderr(enum log_level level, const char *line, size_t size);
/* Who is speaking on this thread, e.g. "n1/raft" or "log"; borrowed until changed. NULL: nobody. */
void log_set_speaker(const char *speaker);

#endif
