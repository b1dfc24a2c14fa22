/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.c: the configuration file to struct config, and back to text. In flows a libconfig file; out
 * flows a complete struct, or one sentence with file and line. Everything about a single key comes
 * from config_table.h; what keys say about each other is in config_check.c.
 *
 * Deliberately not here: environment variables, options that override keys, reloading. One file,
 * read once; what it said is copied into each actor.
 *
 * Invariants
 *  1. Nothing is guessed: an unknown key, a wrong type or a number out of range is refused, at every
 *     depth of the file.
 *  2. What config_print writes, config_load reads to the same struct.
 */
#include "config.h"
#include "config_internal.h"
#include "config_table.h"

#include <errno.h>
#include <libconfig.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CONFIG_FILE_BYTES_MAX (1024 * 1024)

const struct config_key config_keys[] = {
#define CONFIG_ROW(group_, key_, type_, owner_, field_, unit_, least_, most_, fallback_, text_)    \
    {                                                                                              \
        .group = (group_),                                                                         \
        .key = (key_),                                                                             \
        .type = (type_),                                                                           \
        .offset = offsetof(owner_, field_),                                                        \
        .size = sizeof(((owner_ *)0)->field_),                                                     \
        .unit = (unit_),                                                                           \
        .least = (least_),                                                                         \
        .most = (most_),                                                                           \
        .fallback = (fallback_),                                                                   \
        .text = (text_),                                                                           \
    },
    CONFIG_TABLE(CONFIG_ROW)
#undef CONFIG_ROW
};
const size_t config_key_count = ARRAY_COUNT(config_keys);

#define CONFIG_ROW_COUNT(...) +1
enum { CONFIG_KEYS_MAX = 0 CONFIG_TABLE(CONFIG_ROW_COUNT) };

enum err config_refuse(const struct config_problem *at, unsigned line, const char *format, ...)
{
    int used = snprintf(at->text, at->text_size, "%s:%u: ", at->path, line == 0 ? 1 : line);
    if (used >= 0 && (size_t)used < at->text_size) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(at->text + used, at->text_size - (size_t)used, format, arguments);
        va_end(arguments);
    }
    return ERR_CONFIG;
}

static const struct {
    uint64_t level;
    const char *word;
} levels[] = {{LOG_ERROR, "error"},
              {LOG_WARNING, "warning"},
              {LOG_NOTICE, "notice"},
              {LOG_INFO, "info"},
              {LOG_DEBUG, "debug"}};

const char *config_level_word(uint64_t level)
{
    for (size_t i = 0; i < ARRAY_COUNT(levels); i++) {
        if (levels[i].level == level) {
            return levels[i].word;
        }
    }
    return NULL;
}

/* ---- fields of the struct, by the table --------------------------------------------------------- */

static bool is_text(const struct config_key *key)
{
    return key->type == CONFIG_NAME || key->type == CONFIG_PATH || key->type == CONFIG_ADDRESS ||
           key->type == CONFIG_WORDS;
}

static void number_store(const struct config_key *key, void *owner, uint64_t value)
{
    uint8_t *field = (uint8_t *)owner + key->offset;
    if (key->type == CONFIG_U64) {
        memcpy(field, &value, sizeof(value));
    } else if (key->type == CONFIG_U32 || key->type == CONFIG_VOTERS) {
        uint32_t narrow = (uint32_t)value;
        memcpy(field, &narrow, sizeof(narrow));
    } else if (key->type == CONFIG_FLAG) {
        bool flag = value != 0;
        memcpy(field, &flag, sizeof(flag));
    } else {
        ASSERT(key->type == CONFIG_LEVEL);
        enum log_level level = (enum log_level)value;
        memcpy(field, &level, sizeof(level));
    }
}

static uint64_t number_fetch(const struct config_key *key, const void *owner)
{
    const uint8_t *field = (const uint8_t *)owner + key->offset;
    uint64_t value = 0;
    uint32_t narrow = 0;
    bool flag = false;
    enum log_level level = LOG_INFO;
    if (key->type == CONFIG_U64) {
        memcpy(&value, field, sizeof(value));
    } else if (key->type == CONFIG_U32 || key->type == CONFIG_VOTERS) {
        memcpy(&narrow, field, sizeof(narrow));
        value = narrow;
    } else if (key->type == CONFIG_FLAG) {
        memcpy(&flag, field, sizeof(flag));
        value = flag;
    } else {
        ASSERT(key->type == CONFIG_LEVEL);
        memcpy(&level, field, sizeof(level));
        value = (uint64_t)level;
    }
    return value;
}

/* ---- one value ---------------------------------------------------------------------------------- */

/* "key" or "group.key" for messages. */
static const char *key_name(const struct config_key *key, char *out, size_t size)
{
    snprintf(out, size, "%s%s%s", key->group, key->group[0] != '\0' ? "." : "", key->key);
    return out;
}

#define KEY_NAME_MAX 64

static enum err read_number(const struct config_key *key, const config_setting_t *setting,
                            void *owner, const struct config_problem *at)
{
    char name[KEY_NAME_MAX];
    unsigned line = config_setting_source_line(setting);
    int type = config_setting_type(setting);
    if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) {
        return config_refuse(at, line,
                             "%s is not a whole number; expected %" PRIu64 " to %" PRIu64 " %s",
                             key_name(key, name, sizeof(name)), key->least, key->most, key->unit);
    }
    long long value = config_setting_get_int64(setting);
    if (value < 0 || (uint64_t)value < key->least || (uint64_t)value > key->most) {
        return config_refuse(
            at, line, "%s is %lld, out of range; expected %" PRIu64 " to %" PRIu64 " %s",
            key_name(key, name, sizeof(name)), value, key->least, key->most, key->unit);
    }
    number_store(key, owner, (uint64_t)value);
    return OK;
}

/* NULL if the text is right for the type, else what was expected. */
static const char *text_fault(enum config_type type, const char *text)
{
    static const char name_octets[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                      "0123456789._-";
    char host[MEMBER_ADDRESS_MAX + 1];
    uint16_t port;
    switch (type) {
    case CONFIG_NAME:
        return strspn(text, name_octets) == strlen(text) ? NULL
                                                         : "letters, digits, '.', '_' and '-' only";
    case CONFIG_ADDRESS:
        return address_split(text, host, sizeof(host), &port) == OK
                   ? NULL
                   : "host:port or [IPv6]:port with a port of 1 to 65535";
    case CONFIG_PATH:
        for (const char *octet = text; *octet != '\0'; octet++) {
            if ((unsigned char)*octet < 0x20 || *octet == 0x7f) {
                return "a path without control characters";
            }
        }
        return NULL;
    case CONFIG_WORDS:
        for (const char *octet = text; *octet != '\0'; octet++) {
            if ((unsigned char)*octet < 0x20 || (unsigned char)*octet > 0x7e || *octet == '"') {
                return "words of ASCII divided by blanks or commas";
            }
        }
        return NULL;
    case CONFIG_FLAG:
    case CONFIG_U32:
    case CONFIG_U64:
    case CONFIG_LEVEL:
    case CONFIG_VOTERS:
        break;
    }
    return "another type";
}

static enum err read_text(const struct config_key *key, const config_setting_t *setting,
                          void *owner, const struct config_problem *at)
{
    char name[KEY_NAME_MAX];
    unsigned line = config_setting_source_line(setting);
    const char *text = config_setting_get_string(setting);
    key_name(key, name, sizeof(name));
    if (text == NULL) {
        return config_refuse(at, line, "%s is not a text; expected \"...\", the %s", name,
                             key->text);
    }
    if (text[0] == '\0' && key->least > 0) {
        return config_refuse(at, line, "%s is empty; expected the %s", name, key->text);
    }
    if (strlen(text) > key->most) {
        return config_refuse(at, line, "%s has %zu octets; expected %" PRIu64 " at most", name,
                             strlen(text), key->most);
    }
    const char *fault = text_fault(key->type, text);
    if (fault != NULL) {
        return config_refuse(at, line, "%s \"%s\" is malformed; expected %s", name, text, fault);
    }
    ASSERT(strlen(text) < key->size);
    char *field = (char *)owner + key->offset;
    memset(field, 0, key->size);
    memcpy(field, text, strlen(text) + 1);
    return OK;
}

static enum err read_level(const struct config_key *key, const config_setting_t *setting,
                           void *owner, const struct config_problem *at)
{
    char name[KEY_NAME_MAX];
    const char *word = config_setting_get_string(setting);
    for (size_t i = 0; word != NULL && i < ARRAY_COUNT(levels); i++) {
        if (strcmp(levels[i].word, word) == 0) {
            number_store(key, owner, levels[i].level);
            return OK;
        }
    }
    return config_refuse(at, config_setting_source_line(setting),
                         "%s is no level; expected \"error\", \"warning\", \"notice\", \"info\" or "
                         "\"debug\"",
                         key_name(key, name, sizeof(name)));
}

static enum err read_voters(const struct config_key *key, const config_setting_t *setting,
                            void *owner, const struct config_problem *at)
{
    char name[KEY_NAME_MAX];
    const char *word = config_setting_get_string(setting);
    if (word != NULL && (word[0] == '\0' || strcmp(word, "auto") == 0)) {
        number_store(key, owner, word[0] == '\0' ? CONFIG_VOTERS_LISTED : WISH_VOTERS_AUTO);
        return OK;
    }
    int type = config_setting_type(setting);
    long long value = 0;
    if (type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64) {
        value = config_setting_get_int64(setting);
    }
    if (value >= 1 && (uint64_t)value <= key->most && value % 2 == 1) {
        number_store(key, owner, (uint64_t)value);
        return OK;
    }
    return config_refuse(
        at, config_setting_source_line(setting),
        "%s is no number of voters; expected 1, 3, 5 or 7 without quotes, or \"auto\"",
        key_name(key, name, sizeof(name)));
}

static enum err read_flag(const struct config_key *key, const config_setting_t *setting,
                          void *owner, const struct config_problem *at)
{
    char name[KEY_NAME_MAX];
    if (config_setting_type(setting) != CONFIG_TYPE_BOOL) {
        return config_refuse(at, config_setting_source_line(setting),
                             "%s is neither true nor false; expected one of them",
                             key_name(key, name, sizeof(name)));
    }
    number_store(key, owner, config_setting_get_bool(setting) != 0);
    return OK;
}

static enum err read_value(const struct config_key *key, const config_setting_t *setting,
                           void *owner, const struct config_problem *at)
{
    if (is_text(key)) {
        return read_text(key, setting, owner, at);
    }
    if (key->type == CONFIG_FLAG) {
        return read_flag(key, setting, owner, at);
    }
    if (key->type == CONFIG_LEVEL) {
        return read_level(key, setting, owner, at);
    }
    if (key->type == CONFIG_VOTERS) {
        return read_voters(key, setting, owner, at);
    }
    return read_number(key, setting, owner, at);
}

/* ---- groups ------------------------------------------------------------------------------------- */

static bool is_group(const char *name)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const char *group = config_keys[i].group;
        if (group[0] != '\0' && strcmp(group, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_key(const char *group, const char *name)
{
    for (size_t i = 0; i < config_key_count; i++) {
        if (strcmp(config_keys[i].group, group) == 0 && strcmp(config_keys[i].key, name) == 0) {
            return true;
        }
    }
    return false;
}

#define KEY_LIST_MAX 512

/* The keys of a group, and at the top the groups as well: "a, b, c". */
static const char *key_list(const char *group, char *out, size_t size)
{
    size_t used = 0;
    const char *last_group = "";
    out[0] = '\0';
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        const char *word = NULL;
        if (strcmp(key->group, group) == 0) {
            word = key->key;
        } else if (group[0] == '\0' && strcmp(key->group, last_group) != 0) {
            word = key->group;
        }
        last_group = key->group;
        if (word != NULL && used < size) {
            int length = snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "", word);
            used += length > 0 ? (size_t)length : 0;
        }
    }
    return out;
}

/*
 * Read all keys of one group of the file.
 *
 * group   name of the group as in the table
 * holder  the group's setting; NULL: the file does not have it
 * owner   the struct its fields lie in
 * lines   by place in config_keys; filled in for the keys that are given
 */
static enum err read_group(const char *group, const config_setting_t *holder, void *owner,
                           unsigned *lines, const struct config_problem *at)
{
    char text[KEY_LIST_MAX];
    int count = holder != NULL ? config_setting_length(holder) : 0;
    for (int i = 0; i < count; i++) {
        const config_setting_t *setting = config_setting_get_elem(holder, (unsigned)i);
        const char *name = config_setting_name(setting);
        if (!is_key(group, name) && !(group[0] == '\0' && is_group(name))) {
            return config_refuse(at, config_setting_source_line(setting),
                                 "unknown key \"%s%s%s\"; expected one of %s", group,
                                 group[0] != '\0' ? "." : "", name,
                                 key_list(group, text, sizeof(text)));
        }
    }
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (strcmp(key->group, group) != 0) {
            continue;
        }
        const config_setting_t *setting =
            holder != NULL ? config_setting_get_member(holder, key->key) : NULL;
        if (setting == NULL && key->type == CONFIG_WORDS) {
            continue; /* zeroed: no words */
        }
        if (setting == NULL && is_text(key)) {
            return config_refuse(at, holder != NULL ? config_setting_source_line(holder) : 0,
                                 "%s is missing; expected the %s",
                                 key_name(key, text, sizeof(text)), key->text);
        }
        if (setting == NULL) {
            number_store(key, owner, key->fallback);
            continue;
        }
        enum err error = read_value(key, setting, owner, at);
        if (error != OK) {
            return error;
        }
        lines[i] = config_setting_source_line(setting);
    }
    return OK;
}

static enum err read_members(const config_setting_t *root, struct config *c,
                             struct config_lines *lines, unsigned *key_lines,
                             const struct config_problem *at)
{
    static const char expected[] =
        "expected members = ( { name = ...; peer = ...; client = ...; }, "
        "... );";
    const config_setting_t *list = config_setting_get_member(root, CONFIG_MEMBERS);
    if (list == NULL) {
        return config_refuse(at, 0, "members is missing; %s", expected);
    }
    lines->members = config_setting_source_line(list);
    if (!config_setting_is_list(list)) {
        return config_refuse(at, lines->members, "members is not a list; %s", expected);
    }
    int count = config_setting_length(list);
    if (count < 1 || count > MEMBERS_MAX) {
        return config_refuse(at, lines->members, "members has %d of them; expected 1 to %d", count,
                             MEMBERS_MAX);
    }
    for (int i = 0; i < count; i++) {
        const config_setting_t *element = config_setting_get_elem(list, (unsigned)i);
        lines->member[i] = config_setting_source_line(element);
        if (!config_setting_is_group(element)) {
            return config_refuse(at, lines->member[i], "a member is not a group; %s", expected);
        }
        enum err error = read_group(CONFIG_MEMBERS, element, &c->members[i], key_lines, at);
        if (error != OK) {
            return error;
        }
    }
    c->member_count = (size_t)count;
    return OK;
}

static enum err read_root(const config_setting_t *root, struct config *c,
                          const struct config_problem *at)
{
    unsigned key_lines[CONFIG_KEYS_MAX] = {0};
    struct config_lines lines = {.keys = key_lines};
    enum err error = read_group("", root, c, key_lines, at);
    if (error != OK) {
        return error;
    }
    error = read_members(root, c, &lines, key_lines, at);
    if (error != OK) {
        return error;
    }
    const char *last_group = "";
    for (size_t i = 0; i < config_key_count; i++) {
        const char *group = config_keys[i].group;
        if (strcmp(group, last_group) == 0 || strcmp(group, CONFIG_MEMBERS) == 0) {
            continue;
        }
        last_group = group;
        const config_setting_t *holder = config_setting_get_member(root, group);
        if (holder != NULL && !config_setting_is_group(holder)) {
            return config_refuse(at, config_setting_source_line(holder),
                                 "%s is not a group; expected %s = { ... };", group, group);
        }
        error = read_group(group, holder, c, key_lines, at);
        if (error != OK) {
            return error;
        }
    }
    return config_check(c, &lines, at);
}

/* ---- file --------------------------------------------------------------------------------------- */

static enum err read_file(const char *path, struct buffer *out, const struct config_problem *at)
{
    enum err error = ERR_IO;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        goto out;
    }
    size_t got = 0;
    do {
        uint8_t *room = buffer_extend(out, 4096);
        got = fread(room, 1, 4096, file);
        out->size -= 4096 - got;
        if (out->size > CONFIG_FILE_BYTES_MAX) {
            error = config_refuse(at, 0, "file is too large; expected %d octets at most",
                                  CONFIG_FILE_BYTES_MAX);
            goto out;
        }
    } while (got > 0);
    if (ferror(file)) { /* a directory, for example */
        goto out;
    }
    error = OK;
out:
    if (error == ERR_IO) {
        char text[128];
        snprintf(at->text, at->text_size, "%s:1: cannot be read: %s; expected a readable file",
                 at->path, strerror_r(errno, text, sizeof(text)));
    }
    if (file != NULL) {
        fclose(file);
    }
    return error;
}

enum err config_load(const char *path, struct config *out, char *problem, size_t problem_size)
{
    const struct config_problem at = {.path = path, .text = problem, .text_size = problem_size};
    struct buffer text = {0}, prepared = {0};
    struct config loaded;
    config_t file;
    config_init(&file);
    memset(&loaded, 0, sizeof(loaded)); /* padding too: two loads of one file are equal octets */

    enum err error = read_file(path, &text, &at);
    if (error != OK) {
        goto out;
    }
    error = config_text_prepare(view_of(text.data, text.size), &prepared, &at);
    if (error != OK) {
        goto out;
    }
    if (config_read_string(&file, (const char *)prepared.data) != CONFIG_TRUE) {
        error = config_refuse(&at, (unsigned)config_error_line(&file),
                              "%s; expected key = value; { group } or ( list )",
                              config_error_text(&file));
        goto out;
    }
    error = read_root(config_root_setting(&file), &loaded, &at);
    if (error == OK) {
        *out = loaded;
    }
out:
    config_destroy(&file);
    buffer_free(&prepared);
    buffer_free(&text);
    return error;
}

/* ---- printing ----------------------------------------------------------------------------------- */

static void print(struct buffer *out, const char *format, ...) PRINTF_LIKE(2, 3);

#define PRINT_MAX 128 /* names, numbers and punctuation; texts go by print_text */

static void print(struct buffer *out, const char *format, ...)
{
    char text[PRINT_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    ASSERT(length >= 0);
    ASSERT((size_t)length < sizeof(text));
    buffer_append(out, text, (size_t)length);
}

static void print_text(struct buffer *out, const char *text)
{
    buffer_u8(out, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            buffer_u8(out, '\\');
        }
        buffer_u8(out, (uint8_t)*text);
    }
    buffer_u8(out, '"');
}

static void print_value(struct buffer *out, const struct config_key *key, const void *owner)
{
    if (is_text(key)) {
        print_text(out, (const char *)owner + key->offset);
        return;
    }
    uint64_t value = number_fetch(key, owner);
    if (key->type == CONFIG_LEVEL) {
        const char *word = config_level_word(value);
        ASSERT(word != NULL);
        print_text(out, word);
        return;
    }
    if (key->type == CONFIG_FLAG) {
        print(out, "%s", value != 0 ? "true" : "false");
        return;
    }
    if (key->type == CONFIG_VOTERS &&
        (value == CONFIG_VOTERS_LISTED || value == WISH_VOTERS_AUTO)) {
        print_text(out, value == WISH_VOTERS_AUTO ? "auto" : "");
        return;
    }
    /* The L lets libconfig's own tools read it as well. */
    print(out, "%" PRIu64 "%s", value, value > INT_MAX ? "L" : "");
}

static void print_members(struct buffer *out, const struct config *c)
{
    print(out, "\n" CONFIG_MEMBERS " = (\n");
    for (size_t i = 0; i < c->member_count; i++) {
        print(out, "    {");
        for (size_t k = 0; k < config_key_count; k++) {
            if (strcmp(config_keys[k].group, CONFIG_MEMBERS) == 0) {
                print(out, " %s = ", config_keys[k].key);
                print_value(out, &config_keys[k], &c->members[i]);
                print(out, ";");
            }
        }
        print(out, " }%s\n", i + 1 < c->member_count ? "," : "");
    }
    print(out, ");\n");
}

void config_print(const struct config *c, struct buffer *out)
{
    const char *open_group = "";
    bool members_printed = false;
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (strcmp(key->group, CONFIG_MEMBERS) == 0) {
            if (!members_printed) {
                print_members(out, c);
            }
            members_printed = true;
            continue;
        }
        if (strcmp(key->group, open_group) != 0) {
            print(out, "%s\n%s = {\n", open_group[0] != '\0' ? "};\n" : "", key->group);
            open_group = key->group;
        }
        print(out, "%s%s = ", open_group[0] != '\0' ? "    " : "", key->key);
        print_value(out, key, c);
        print(out, ";\n");
    }
    print(out, "%s", open_group[0] != '\0' ? "};\n" : "");
}
