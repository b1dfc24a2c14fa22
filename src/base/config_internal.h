/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_internal.h: what the files of the configuration share: the table as an array, and the place
 * of a problem in the file. Not for other rooms: they see config.h.
 */
#ifndef HOLDFAST_CONFIG_INTERNAL_H
#define HOLDFAST_CONFIG_INTERNAL_H

#include "config.h"

enum config_type {
    CONFIG_NAME,    /* letters, digits, '.', '_' and '-' */
    CONFIG_PATH,    /* any text without control characters */
    CONFIG_ADDRESS, /* host:port */
    CONFIG_WORDS,   /* words divided by blanks or commas; may be left out or empty */
    CONFIG_FLAG,    /* true or false */
    CONFIG_U32,
    CONFIG_U64,
    CONFIG_LEVEL,  /* a word for enum log_level */
    CONFIG_VOTERS, /* an odd number of voters, "auto", or "": not said */
};

struct config_key {
    const char *group;
    const char *key;
    enum config_type type;
    size_t offset; /* of the field in struct config, or in struct config_member */
    size_t size;   /* of the field in octets */
    const char *unit;
    uint64_t least, most, fallback;
    const char *text;
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;

#define CONFIG_MEMBERS "members"

/* Where a problem goes: "FILE:LINE: what is wrong; what is expected". */
struct config_problem {
    const char *path;
    char *text;
    size_t text_size;
};

/* Write it; always returns ERR_CONFIG. line 0 (the file as a whole) is shown as 1. */
MUST_USE enum err config_refuse(const struct config_problem *at, unsigned line, const char *format,
                                ...) PRINTF_LIKE(3, 4);

/* Words of log levels; NULL for a number that is none. */
const char *config_level_word(uint64_t level);

/*
 * Make a file's text fit for libconfig 1.5, which wraps integers beyond 32 bits without a word unless
 * they end in L, and ends the process when an @include names a directory.
 *
 * text     borrowed; the file's octets
 * out      the same lines with an L behind each integer; terminated by a zero
 *
 * ERR_CONFIG: an integer beyond 64 bits, an @include, a zero octet, an open text or comment.
 */
MUST_USE enum err config_text_prepare(struct view text, struct buffer *out,
                                      const struct config_problem *at);

/* The lines at which relations between keys are refused. */
struct config_lines {
    unsigned members;
    unsigned member[MEMBERS_MAX];
    const unsigned *keys; /* by place in config_keys; 0: not given */
};

/* Relations between keys, each of them being right by itself. Fills in what depends on others
 * (node_index, request_timeout_ms). */
MUST_USE enum err config_check(struct config *c, const struct config_lines *lines,
                               const struct config_problem *at);

#endif
