/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_fields.c: see http_fields.h.
 */
#include "http_fields.h"

#include <string.h>
#include <strings.h>

void http_fields_clear(struct http_fields *f)
{
    f->text.size = 0;
    f->count = 0;
}

void http_fields_free(struct http_fields *f)
{
    buffer_free(&f->text);
    f->count = 0;
}

bool http_fields_begin(struct http_fields *f)
{
    if (f->count == HTTP_FIELDS_MAX) {
        return false;
    }
    ASSERT(f->text.size <= UINT32_MAX);
    uint32_t at = (uint32_t)f->text.size;
    f->items[f->count++] = (struct http_field){.name_at = at, .value_at = at};
    return true;
}

void http_fields_name(struct http_fields *f, struct view piece)
{
    ASSERT(f->count > 0);
    struct http_field *field = &f->items[f->count - 1];
    ASSERT(field->value_size == 0);
    buffer_append(&f->text, piece.data, piece.size);
    field->name_size += (uint32_t)piece.size;
    field->value_at = field->name_at + field->name_size;
}

void http_fields_value(struct http_fields *f, struct view piece)
{
    ASSERT(f->count > 0);
    buffer_append(&f->text, piece.data, piece.size);
    f->items[f->count - 1].value_size += (uint32_t)piece.size;
}

bool http_fields_add(struct http_fields *f, struct view name, struct view value)
{
    if (!http_fields_begin(f)) {
        return false;
    }
    http_fields_name(f, name);
    if (value.size > 0) {
        http_fields_value(f, value);
    }
    return true;
}

static bool is_blank(uint8_t octet)
{
    return octet == ' ' || octet == '\t';
}

bool http_fields_next(const struct http_fields *f, const char *name, size_t *at, struct view *value)
{
    size_t name_size = strlen(name);
    for (size_t i = *at; f != NULL && i < f->count; i++) {
        const struct http_field *field = &f->items[i];
        if (field->name_size != name_size ||
            strncasecmp((const char *)f->text.data + field->name_at, name, name_size) != 0) {
            continue;
        }
        struct view v = view_of(f->text.data + field->value_at, field->value_size);
        while (v.size > 0 && is_blank(v.data[0])) {
            v.data++;
            v.size--;
        }
        while (v.size > 0 && is_blank(v.data[v.size - 1])) {
            v.size--;
        }
        *at = i + 1;
        *value = v;
        return true;
    }
    return false;
}

struct view http_fields_get(const struct http_fields *f, const char *name)
{
    size_t at = 0;
    struct view value = {0};
    (void)http_fields_next(f, name, &at, &value);
    return value;
}
