/* SPDX-License-Identifier: Apache-2.0 */
/* output.c: tables, and octets as JSON. */
#include "cli.h"

#include "../api/base64.h"
#include "../api/json_text.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define CELL_TEXT_MAX 512

void table_start(struct table *t, size_t columns, const char *const *titles)
{
    memset(t, 0, sizeof(*t));
    t->columns = columns;
    for (size_t i = 0; i < columns; i++) {
        table_cell(t, "%s", titles[i]);
    }
}

void table_cell(struct table *t, const char *format, ...)
{
    char text[CELL_TEXT_MAX];
    va_list values;
    va_start(values, format);
    (void)vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    ARRAY_RESERVE(t->cells, t->capacity, t->rows + 1);
    t->cells[t->rows++] = mem_strdup(text);
}

static void print_rule(FILE *out, const size_t *widths, size_t columns)
{
    for (size_t c = 0; c < columns; c++) {
        fputs("+-", out);
        for (size_t i = 0; i <= widths[c]; i++) {
            fputc('-', out);
        }
    }
    fputs("+\n", out);
}

void table_print(struct table *t, FILE *out)
{
    size_t *widths = mem_zalloc(t->columns * sizeof(*widths));
    for (size_t i = 0; i < t->rows; i++) {
        size_t width = strlen(t->cells[i]);
        size_t column = i % t->columns;
        widths[column] = width > widths[column] ? width : widths[column];
    }
    print_rule(out, widths, t->columns);
    for (size_t i = 0; i < t->rows; i++) {
        size_t column = i % t->columns;
        fprintf(out, "| %-*s ", (int)widths[column], t->cells[i]);
        if (column + 1 == t->columns) {
            fputs("|\n", out);
        }
        if (i + 1 == t->columns) {
            print_rule(out, widths, t->columns);
        }
    }
    print_rule(out, widths, t->columns);
    for (size_t i = 0; i < t->rows; i++) {
        mem_free(t->cells[i]);
    }
    mem_free(t->cells);
    mem_free(widths);
    memset(t, 0, sizeof(*t));
}

static json_t *json_text(struct view v)
{
    return json_stringn((const char *)v.data, v.size); /* NULL unless UTF-8 */
}

bool text_is_printable(struct view v)
{
    for (size_t i = 0; i < v.size; i++) {
        if (v.data[i] < 0x20 || v.data[i] == 0x7f) {
            return false;
        }
    }
    return utf8_valid(v);
}

static void print_base64(FILE *out, struct view v)
{
    struct buffer text = {0};
    base64_write(&text, v);
    (void)fwrite(text.data, 1, text.size, out);
    buffer_free(&text);
}

void print_json_octets(FILE *out, const char *name, struct view v)
{
    json_t *text = v.size > 0 ? json_text(v) : json_string("");
    if (text != NULL) {
        char *literal = json_dumps(text, JSON_ENCODE_ANY);
        fprintf(out, "\"%s\":%s", name, literal);
        free(literal);
    } else {
        fprintf(out, "\"%s_base64\":\"", name);
        print_base64(out, v);
        fputc('"', out);
    }
    json_decref(text);
}
