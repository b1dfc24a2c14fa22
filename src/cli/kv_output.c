/* SPDX-License-Identifier: Apache-2.0 */
/* kv_output.c: how keys, values and the answers to operations are printed, in each output form. */
#include "cli.h"

void print_octets(struct view v)
{
    if (v.size > 0) { /* data may be NULL */
        (void)fwrite(v.data, 1, v.size, stdout);
    }
}

void print_json_kv(FILE *out, const Mvccpb__KeyValue *kv)
{
    fputc('{', out);
    print_json_octets(out, "key", cli_view(&kv->key));
    fputc(',', out);
    print_json_octets(out, "value", cli_view(&kv->value));
    fprintf(out,
            ",\"create_revision\":%" PRId64 ",\"mod_revision\":%" PRId64 ",\"version\":%" PRId64
            ",\"lease\":%" PRId64 "}",
            kv->create_revision, kv->mod_revision, kv->version, kv->lease);
}

void print_json_kvs(FILE *out, const char *name, Mvccpb__KeyValue *const *kvs, size_t count)
{
    fprintf(out, "\"%s\":[", name);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            fputc(',', out);
        }
        print_json_kv(out, kvs[i]);
    }
    fputc(']', out);
}

void table_octets(struct table *t, struct view v)
{
    if (text_is_printable(v)) {
        table_cell(t, "%.*s", (int)v.size, (const char *)v.data);
    } else {
        table_cell(t, "(%zu octets)", v.size);
    }
}

void print_kvs_lines(Mvccpb__KeyValue *const *kvs, size_t count, bool keys, bool values)
{
    for (size_t i = 0; i < count; i++) {
        if (keys) {
            print_octets(cli_view(&kvs[i]->key));
            putchar('\n');
        }
        if (values) {
            print_octets(cli_view(&kvs[i]->value));
            putchar('\n');
        }
    }
}

void print_kvs(const struct cli_arguments *arguments, Mvccpb__KeyValue *const *kvs, size_t count)
{
    if (arguments->output != OUTPUT_TABLE) {
        print_kvs_lines(kvs, count, !arguments->value_only, !arguments->keys_only);
        return;
    }
    static const char *const titles[] = {"KEY", "VALUE", "CREATED", "MODIFIED", "VERSION"};
    struct table t;
    table_start(&t, ARRAY_COUNT(titles), titles);
    for (size_t i = 0; i < count; i++) {
        table_octets(&t, cli_view(&kvs[i]->key));
        table_octets(&t, cli_view(&kvs[i]->value));
        table_cell(&t, "%" PRId64, kvs[i]->create_revision);
        table_cell(&t, "%" PRId64, kvs[i]->mod_revision);
        table_cell(&t, "%" PRId64, kvs[i]->version);
    }
    table_print(&t, stdout);
}

void print_json_range(FILE *out, const Etcdserverpb__RangeResponse *response)
{
    fprintf(out, "{\"revision\":%" PRId64 ",\"count\":%" PRId64 ",\"more\":%s,",
            cli_revision_of(response->header), response->count, response->more ? "true" : "false");
    print_json_kvs(out, "kvs", response->kvs, response->n_kvs);
    fputc('}', out);
}

void print_json_put(FILE *out, const Etcdserverpb__PutResponse *response)
{
    fprintf(out, "{\"revision\":%" PRId64 ",", cli_revision_of(response->header));
    print_json_kvs(out, "previous", &response->prev_kv, response->prev_kv != NULL ? 1 : 0);
    fputc('}', out);
}

void print_json_delete(FILE *out, const Etcdserverpb__DeleteRangeResponse *response)
{
    fprintf(out, "{\"revision\":%" PRId64 ",\"deleted\":%" PRId64 ",",
            cli_revision_of(response->header), response->deleted);
    print_json_kvs(out, "previous", response->prev_kvs, response->n_prev_kvs);
    fputc('}', out);
}
