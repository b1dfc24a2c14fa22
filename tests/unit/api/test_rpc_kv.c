/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_rpc_kv.c: the hand-written codec of the hot messages against octets built by hand and against
 * protobuf-c with random messages; the checks before a proposal in etcd's order (sheet §1.3, §2.3, §2.4).
 */
#include "base.h"
#include "suite.h"

#include "api/rpc_kv.h"
#include "rpc.pb-c.h"

#define REQUEST_MAX 1572864
#define VIEW(text)  view_of((text), sizeof(text) - 1)

/* ---- requests ------------------------------------------------------------------------------------- */

static void put_from_octets(void)
{
    struct command c;
    CU_ASSERT_EQUAL(rpc_put_decode(VIEW("\x0a\x03"
                                        "key\x12\x02\x00\xff\x18\x07\x20\x01"),
                                   REQUEST_MAX, &c),
                    OK);
    CU_ASSERT_EQUAL(c.op, COMMAND_PUT);
    CU_ASSERT_TRUE(view_equal(c.key, VIEW("key")));
    CU_ASSERT_TRUE(view_equal(c.value, VIEW("\x00\xff")));
    CU_ASSERT_EQUAL(c.lease, 7);
    CU_ASSERT_EQUAL(c.flags, COMMAND_PREV_KV);
    /* negative lease: a ten-octet varint; explicit zeros are as good as absence */
    CU_ASSERT_EQUAL(
        rpc_put_decode(VIEW("\x0a\x01k\x18\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x20\x00"
                            "\x30\x00"),
                       REQUEST_MAX, &c),
        OK);
    CU_ASSERT_EQUAL(c.lease, -2);
    CU_ASSERT_EQUAL(c.flags, 0);
    CU_ASSERT_EQUAL(c.value.size, 0);
    /* the last occurrence wins, unknown fields are skipped */
    CU_ASSERT_EQUAL(
        rpc_put_decode(VIEW("\x0a\x01x\x20\x01\x0a\x01y\x20\x00\x78\x09"), REQUEST_MAX, &c), OK);
    CU_ASSERT_TRUE(view_equal(c.key, VIEW("y")));
    CU_ASSERT_EQUAL(c.flags, 0);
}

/* Order of checks: key, ignore_value, ignore_lease, size (§2.3). Each error alone and before the next. */
static void put_is_checked_in_order(void)
{
    struct command c = {.lease = 42};
    CU_ASSERT_EQUAL(rpc_put_decode(VIEW(""), REQUEST_MAX, &c), ERR_KEY_EMPTY);
    CU_ASSERT_EQUAL(rpc_put_decode(VIEW("\x12\x01v\x28\x01"), REQUEST_MAX, &c), ERR_KEY_EMPTY);
    CU_ASSERT_EQUAL(
        rpc_put_decode(VIEW("\x0a\x01k\x12\x01v\x18\x01\x28\x01\x30\x01"), REQUEST_MAX, &c),
        ERR_VALUE_PROVIDED);
    CU_ASSERT_EQUAL(rpc_put_decode(VIEW("\x0a\x01k\x18\x01\x28\x01\x30\x01"), 1, &c),
                    ERR_LEASE_PROVIDED);
    CU_ASSERT_EQUAL(rpc_put_decode(VIEW("\x0a\x01k\x28\x01\x30\x01"), 1, &c), ERR_TOO_LARGE);
    CU_ASSERT_EQUAL(rpc_put_decode(VIEW("\x0a\x05k"), REQUEST_MAX, &c), ERR_MALFORMED);
    CU_ASSERT_EQUAL(rpc_put_decode(VIEW("\x08\x05"), REQUEST_MAX, &c), ERR_MALFORMED);
    CU_ASSERT_EQUAL(c.lease, 42); /* untouched by all of these */
    CU_ASSERT_EQUAL(rpc_put_decode(VIEW("\x0a\x01k\x28\x01\x30\x01"), REQUEST_MAX, &c), OK);
    CU_ASSERT_EQUAL(c.flags, COMMAND_IGNORE_VALUE | COMMAND_IGNORE_LEASE);
}

static struct bytes put_of_value_size(size_t value_size)
{
    Etcdserverpb__PutRequest put;
    etcdserverpb__put_request__init(&put);
    uint8_t *value = mem_zalloc(value_size);
    put.key = (ProtobufCBinaryData){.len = 3, .data = value}; /* three zero octets */
    put.value = (ProtobufCBinaryData){.len = value_size, .data = value};
    struct bytes out = {.size = etcdserverpb__put_request__get_packed_size(&put)};
    out.data = mem_alloc(out.size);
    (void)etcdserverpb__put_request__pack(&put, out.data);
    mem_free(value);
    return out;
}

/* The limit is on the encoded entry: a value of the limit itself is too large, 100 octets less pass (§4.1). */
static void size_limit_is_on_the_entry(void)
{
    struct command c;
    struct bytes whole = put_of_value_size(REQUEST_MAX);
    struct bytes less = put_of_value_size(REQUEST_MAX - 100);
    CU_ASSERT_EQUAL(rpc_put_decode(bytes_view(&whole), REQUEST_MAX, &c), ERR_TOO_LARGE);
    CU_ASSERT_EQUAL(rpc_put_decode(bytes_view(&less), REQUEST_MAX, &c), OK);
    CU_ASSERT_EQUAL(rpc_put_decode(bytes_view(&less), command_size(&c), &c),
                    OK); /* the edge itself */
    CU_ASSERT_EQUAL(rpc_put_decode(bytes_view(&less), command_size(&c) - 1, &c), ERR_TOO_LARGE);
    bytes_free(&whole);
    bytes_free(&less);
}

static void delete_range_from_octets(void)
{
    struct command c;
    CU_ASSERT_EQUAL(rpc_delete_range_decode(VIEW("\x0a\x01"
                                                 "a\x12\x01\x00\x18\x01"),
                                            REQUEST_MAX, &c),
                    OK);
    CU_ASSERT_EQUAL(c.op, COMMAND_DELETE_RANGE);
    CU_ASSERT_TRUE(view_equal(c.key, VIEW("a")));
    CU_ASSERT_TRUE(view_equal(c.range_end, VIEW("\0")));
    CU_ASSERT_EQUAL(c.flags, COMMAND_PREV_KV);
    CU_ASSERT_EQUAL(rpc_delete_range_decode(VIEW("\x12\x01z"), REQUEST_MAX, &c), ERR_KEY_EMPTY);
    CU_ASSERT_EQUAL(rpc_delete_range_decode(VIEW("\x0a\x01"
                                                 "a"),
                                            10, &c),
                    ERR_TOO_LARGE);
    CU_ASSERT_EQUAL(rpc_delete_range_decode(VIEW("\x0a"), REQUEST_MAX, &c), ERR_MALFORMED);
}

/* Empty key first, then the sort option, also with numbers no enum has (§2.4). */
static void range_is_checked(void)
{
    struct query q;
    CU_ASSERT_EQUAL(rpc_range_decode(VIEW("\x28\x09"), &q), ERR_KEY_EMPTY);
    CU_ASSERT_EQUAL(rpc_range_decode(VIEW("\x0a\x01k\x28\x03"), &q), ERR_INVALID_SORT);
    CU_ASSERT_EQUAL(rpc_range_decode(VIEW("\x0a\x01k\x30\x05"), &q), ERR_INVALID_SORT);
    CU_ASSERT_EQUAL(
        rpc_range_decode(VIEW("\x0a\x01k\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), &q),
        ERR_INVALID_SORT);
    CU_ASSERT_EQUAL(rpc_range_decode(VIEW("\x0a\x01k\x28\x02\x30\x04"), &q), OK);
    CU_ASSERT_EQUAL(q.sort_order, SORT_DESCEND);
    CU_ASSERT_EQUAL(q.sort_target, SORT_VALUE);
    CU_ASSERT_EQUAL(rpc_range_decode(VIEW("\x0a\x01"), &q), ERR_MALFORMED);
}

static int64_t some_number(uint64_t *seed)
{
    uint64_t kind = random_below(seed, 5);
    uint64_t number = random_next(seed) >> random_below(seed, 64);
    return kind == 0 ? 0 : kind == 1 ? -(int64_t)(number >> 1) : (int64_t)number;
}

static ProtobufCBinaryData some_octets(uint64_t *seed, uint8_t *place, size_t size_max)
{
    size_t size = (size_t)random_below(seed, size_max + 1);
    for (size_t i = 0; i < size; i++) {
        place[i] = (uint8_t)random_next(seed);
    }
    return (ProtobufCBinaryData){.len = size, .data = place};
}

static bool same_octets(struct view ours, ProtobufCBinaryData theirs)
{
    return view_equal(ours, view_of(theirs.data, theirs.len));
}

/* Whatever protobuf-c writes, the reader of ranges reads as it was meant. */
static void range_agrees_with_protobuf_c(void)
{
    uint64_t seed = 1;
    for (int round = 0; round < 2000; round++) {
        uint8_t key[300], end[300], wire[1000];
        Etcdserverpb__RangeRequest m;
        etcdserverpb__range_request__init(&m);
        m.key = some_octets(&seed, key, sizeof key);
        m.range_end = some_octets(&seed, end, sizeof end);
        m.limit = some_number(&seed);
        m.revision = some_number(&seed);
        m.sort_order = (Etcdserverpb__RangeRequest__SortOrder)random_below(&seed, 3);
        m.sort_target = (Etcdserverpb__RangeRequest__SortTarget)random_below(&seed, 5);
        m.serializable = random_below(&seed, 2) == 1;
        m.keys_only = random_below(&seed, 2) == 1;
        m.count_only = random_below(&seed, 2) == 1;
        m.min_mod_revision = some_number(&seed);
        m.max_mod_revision = some_number(&seed);
        m.min_create_revision = some_number(&seed);
        m.max_create_revision = some_number(&seed);
        size_t size = etcdserverpb__range_request__pack(&m, wire);
        struct query q;
        enum err error = rpc_range_decode(view_of(wire, size), &q);
        CU_ASSERT_EQUAL(error, m.key.len == 0 ? ERR_KEY_EMPTY : OK);
        if (error != OK) {
            continue;
        }
        CU_ASSERT_TRUE(same_octets(q.key, m.key));
        CU_ASSERT_TRUE(same_octets(q.range_end, m.range_end));
        CU_ASSERT_EQUAL(q.limit, m.limit);
        CU_ASSERT_EQUAL(q.revision, m.revision);
        CU_ASSERT_EQUAL((int)q.sort_order, (int)m.sort_order);
        CU_ASSERT_EQUAL((int)q.sort_target, (int)m.sort_target);
        CU_ASSERT_EQUAL(q.serializable, m.serializable != 0);
        CU_ASSERT_EQUAL(q.keys_only, m.keys_only != 0);
        CU_ASSERT_EQUAL(q.count_only, m.count_only != 0);
        CU_ASSERT_EQUAL(q.min_mod_revision, m.min_mod_revision);
        CU_ASSERT_EQUAL(q.max_mod_revision, m.max_mod_revision);
        CU_ASSERT_EQUAL(q.min_create_revision, m.min_create_revision);
        CU_ASSERT_EQUAL(q.max_create_revision, m.max_create_revision);
    }
}

/* Garbage of any kind is read past or refused, never more (run under ASan). */
static void garbage_is_survived(void)
{
    uint64_t seed = 2;
    size_t accepted = 0;
    for (int round = 0; round < 50000; round++) {
        uint8_t wire[24];
        size_t size = (size_t)random_below(&seed, sizeof wire + 1);
        uint8_t *exact = mem_alloc(size); /* so that ASan sees the first octet behind */
        for (size_t i = 0; i < size; i++) {
            exact[i] = (uint8_t)(random_below(&seed, 2) == 0 ? random_below(&seed, 40)
                                                             : random_next(&seed));
        }
        struct command c;
        struct query q;
        accepted += rpc_put_decode(view_of(exact, size), REQUEST_MAX, &c) == OK;
        accepted += rpc_delete_range_decode(view_of(exact, size), REQUEST_MAX, &c) == OK;
        accepted += rpc_range_decode(view_of(exact, size), &q) == OK;
        mem_free(exact);
    }
    CU_ASSERT_TRUE(accepted > 0);
    CU_ASSERT_TRUE(accepted < 150000);
}

/* ---- responses ------------------------------------------------------------------------------------ */

static const struct response_header header = {
    .cluster_id = 0xfedcba9876543210, .member_id = 1, .raft_term = 300, .revision = 2};

static const char header_octets[] =
    "\x0a\x12\x08\x90\xe4\xd0\xb2\x87\xd3\xae\xee\xfe\x01\x10\x01\x18\x02"
    "\x20\xac\x02";

static bool equal_octets(const uint8_t *ours, size_t size, const char *head, size_t head_size,
                         const char *rest, size_t rest_size)
{
    return size == head_size + rest_size && memcmp(ours, head, head_size) == 0 &&
           memcmp(ours + head_size, rest, rest_size) == 0;
}
#define IS(out, size, rest)                                                                        \
    equal_octets((out), (size), header_octets, sizeof header_octets - 1, (rest), sizeof(rest) - 1)

static void responses_to_octets(void)
{
    uint8_t out[200];
    struct result *empty = result_create();
    size_t size = rpc_put_size(&header, empty);
    rpc_put_write(&header, empty, out);
    CU_ASSERT_TRUE(IS(out, size, ""));
    size = rpc_delete_range_size(&header, empty);
    rpc_delete_range_write(&header, empty, out);
    CU_ASSERT_TRUE(IS(out, size, "")); /* deleted 0 is left out */
    size = rpc_range_size(&header, empty);
    rpc_range_write(&header, empty, out);
    CU_ASSERT_TRUE(IS(out, size, ""));

    struct result *one = result_create();
    struct key_value kv = {.key = VIEW("k"),
                           .value = VIEW("vv"),
                           .create_revision = 2,
                           .mod_revision = 3,
                           .version = 2,
                           .lease = -1};
    result_add(one, &kv, false);
    one->count = 5;
    one->more = true;
#define KV_OCTETS                                                                                  \
    "\x0a\x01k\x10\x02\x18\x03\x20\x02\x2a\x02vv\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
    size = rpc_range_size(&header, one);
    rpc_range_write(&header, one, out);
    CU_ASSERT_TRUE(IS(out, size, "\x12\x18" KV_OCTETS "\x18\x01\x20\x05"));
    size = rpc_put_size(&header, one);
    rpc_put_write(&header, one, out);
    CU_ASSERT_TRUE(IS(out, size, "\x12\x18" KV_OCTETS));
    size = rpc_delete_range_size(&header, one);
    rpc_delete_range_write(&header, one, out);
    CU_ASSERT_TRUE(IS(out, size, "\x10\x05\x1a\x18" KV_OCTETS));
    result_free(&empty);
    result_free(&one);

    /* a header of zeros is present and empty */
    struct response_header nothing = {0};
    struct result *none = result_create();
    size = rpc_put_size(&nothing, none);
    rpc_put_write(&nothing, none, out);
    CU_ASSERT_EQUAL(size, 2);
    CU_ASSERT_EQUAL(memcmp(out, "\x0a\x00", 2), 0);
    result_free(&none);
}

/* protobuf-c reads from our octets what went in, with results of any size. */
static void range_response_agrees_with_protobuf_c(void)
{
    uint64_t seed = 3;
    for (int round = 0; round < 300; round++) {
        struct result *r = result_create();
        size_t count = (size_t)random_below(&seed, 40);
        uint8_t place[600];
        for (size_t i = 0; i < count; i++) {
            ProtobufCBinaryData octets = some_octets(&seed, place, sizeof place);
            size_t cut = (size_t)random_below(&seed, octets.len + 1);
            struct key_value kv = {.key = view_of(place, cut),
                                   .value = view_of(place + cut, octets.len - cut),
                                   .create_revision = some_number(&seed),
                                   .mod_revision = some_number(&seed),
                                   .version = some_number(&seed),
                                   .lease = some_number(&seed)};
            result_add(r, &kv, random_below(&seed, 4) == 0);
        }
        r->count = some_number(&seed);
        r->more = random_below(&seed, 2) == 1;
        size_t size = rpc_range_size(&header, r);
        uint8_t *out = mem_alloc(size); /* exactly: ASan sees one octet too many */
        rpc_range_write(&header, r, out);
        Etcdserverpb__RangeResponse *m = etcdserverpb__range_response__unpack(NULL, size, out);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        CU_ASSERT_EQUAL(m->header->cluster_id, header.cluster_id);
        CU_ASSERT_EQUAL(m->header->member_id, header.member_id);
        CU_ASSERT_EQUAL(m->header->raft_term, header.raft_term);
        CU_ASSERT_EQUAL(m->header->revision, header.revision);
        CU_ASSERT_EQUAL(m->count, r->count);
        CU_ASSERT_EQUAL(m->more != 0, r->more);
        CU_ASSERT_EQUAL_FATAL(m->n_kvs, count);
        for (size_t i = 0; i < count; i++) {
            CU_ASSERT_TRUE(same_octets(r->kvs[i].key, m->kvs[i]->key));
            CU_ASSERT_TRUE(same_octets(r->kvs[i].value, m->kvs[i]->value));
            CU_ASSERT_EQUAL(m->kvs[i]->create_revision, r->kvs[i].create_revision);
            CU_ASSERT_EQUAL(m->kvs[i]->mod_revision, r->kvs[i].mod_revision);
            CU_ASSERT_EQUAL(m->kvs[i]->version, r->kvs[i].version);
            CU_ASSERT_EQUAL(m->kvs[i]->lease, r->kvs[i].lease);
        }
        etcdserverpb__range_response__free_unpacked(m, NULL);
        mem_free(out);
        result_free(&r);
    }
}

SUITE("api rpc_kv", TEST(put_from_octets), TEST(put_is_checked_in_order),
      TEST(size_limit_is_on_the_entry), TEST(delete_range_from_octets), TEST(range_is_checked),
      TEST(range_agrees_with_protobuf_c), TEST(garbage_is_survived), TEST(responses_to_octets),
      TEST(range_response_agrees_with_protobuf_c))
