/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc.h: gRPC over HTTP/2 as pure functions: cutting messages out of a body, reading `grpc-timeout`
 * and `content-type`, writing prefixes, statuses and the texts of the framework's own errors.
 *
 * Flows in: header values and body octets of a stream. Flows out: messages, and the little that goes
 * around an answer. Not here: streams and windows (http2.h), what a message means (src/api).
 *
 * Invariants
 *  1. A reader never holds more than one message and never allocates before its size was checked
 *     against size_max and admitted by the caller.
 */
#ifndef HOLDFAST_GRPC_H
#define HOLDFAST_GRPC_H

#include "base.h"

#define GRPC_PREFIX_BYTES 5
#define GRPC_MESSAGE_MAX  512 /* octets of a percent-encoded grpc-message */

enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

/* The code in decimal, static. */
const char *grpc_code_text(enum grpc_code code);

/* Cuts length-prefixed messages out of body octets that come in any pieces. Zeroed is empty. */
struct grpc_reader {
    uint8_t prefix[GRPC_PREFIX_BYTES];
    uint8_t prefix_used;
    bool admitted; /* the caller has agreed to the message's size */
    bool complete; /* the message was handed out */
    uint32_t size; /* of the message under way */
    uint32_t used;
    uint8_t *octets; /* NULL while nothing had to be kept */
};

enum grpc_read {
    GRPC_READ_MORE,       /* all input is used up */
    GRPC_READ_SIZE,       /* a prefix is complete: look at reader->size, then grpc_reader_admit */
    GRPC_READ_MESSAGE,    /* *message is complete, valid until the next call */
    GRPC_READ_COMPRESSED, /* flag 1 */
    GRPC_READ_FORMAT,     /* a flag that is neither 0 nor 1, in reader->prefix[0] */
};

/* Take from the front of *in what is needed for the next event. */
enum grpc_read grpc_reader_next(struct grpc_reader *r, struct view *in, struct view *message);
/* The message of reader->size octets is welcome. */
void grpc_reader_admit(struct grpc_reader *r);
/* True between messages. */
bool grpc_reader_is_empty(const struct grpc_reader *r);
void grpc_reader_free(struct grpc_reader *r);

/* Write the prefix of an uncompressed message of `size` octets. */
void grpc_prefix_write(uint8_t out[GRPC_PREFIX_BYTES], size_t size);

/* `grpc-timeout`: 1 to 8 digits and a unit of H M S m u n; rounded up to microseconds. ERR_MALFORMED. */
MUST_USE enum err grpc_timeout_parse(const char *text, uint64_t *timeout_us);

/* True if the content type is gRPC's; *echo is what the answer says: "application/grpc" with the same
 * +subtype, without parameters; borrowed from `content_type` or static. */
bool grpc_content_type(const char *content_type, struct view *echo);

/* Percent-encode a status message: what is outside 0x20-0x7e, and '%'. Cut to GRPC_MESSAGE_MAX. */
size_t grpc_message_encode(const char *text, char out[GRPC_MESSAGE_MAX]);

/* The framework's text for a path nobody serves; known_service: only the method is unknown. */
void grpc_unknown_text(const char *path, bool known_service, char *out, size_t out_size);

#endif
