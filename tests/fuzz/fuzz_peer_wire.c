/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_peer_wire.c: octets of a stranger through the peer wire, for libFuzzer:
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -std=c11 -D_GNU_SOURCE -Iinclude -Isrc \
 *     tests/fuzz/fuzz_peer_wire.c build/release/libnet.a build/release/libraft.a \
 *     build/release/libbase.a $(pkg-config --libs libxxhash libconfig)
 *
 * (libraries built with CC=clang CFLAGS=-fsanitize=fuzzer-no-link show their branches to the fuzzer)
 *
 * The first octet chooses the way in: as a stream, cut in pieces, whose checksums the fuzzer must
 * guess; or as the body of one frame of a chosen type with a right checksum, so that the decoders
 * behind the checksum are reached. Whatever is accepted must survive being written and read again.
 */
#include "net/peer_handshake.h"
#include "net/peer_wire.h"

#include "raft.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_greeting(struct view body)
{
    struct peer_greeting greeting, again;
    if (peer_greeting_decode(body, &greeting) != OK) {
        return;
    }
    struct buffer out = {0};
    peer_greeting_encode(PEER_FRAME_HELLO, &greeting, &out);
    ASSERT(out.size <= PEER_HELLO_FRAME_BYTES_MAX);
    struct view same =
        view_of(out.data + PEER_FRAME_HEADER_BYTES, out.size - PEER_FRAME_HEADER_BYTES);
    ASSERT(peer_greeting_decode(same, &again) == OK);
    ASSERT(strcmp(greeting.hello.name, again.hello.name) == 0);
    ASSERT(greeting.hello.member_id == again.hello.member_id);
    buffer_free(&out);

    /* Judged by somebody who knows a configuration: a verdict, and a sentence that ends. */
    static const char names[1][MEMBER_NAME_MAX + 1] = {"n2"};
    struct peer_hello own = {.cluster = "prod", .name = "n1", .member_id = 11, .cluster_id = 5};
    struct configuration configuration = {.cluster_id = 5, .count = 0};
    struct peer_door door = {.own = &own,
                             .configuration = &configuration,
                             .version_least = PEER_VERSION_LEAST,
                             .version_most = PEER_VERSION_MOST,
                             .name_count = 1,
                             .names = names};
    struct peer_refusal why;
    uint16_t version = 0;
    if (peer_handshake_check(&door, &greeting, &version, &why) != OK) {
        ASSERT(memchr(why.sentence, 0, sizeof(why.sentence)) != NULL);
    } else {
        ASSERT(version >= PEER_VERSION_LEAST);
    }
}

static void check_refusal(struct view body)
{
    struct peer_refusal refusal;
    if (peer_refusal_decode(body, &refusal) != OK) {
        return;
    }
    ASSERT(memchr(refusal.sentence, 0, sizeof(refusal.sentence)) != NULL);
    struct buffer out = {0};
    peer_refusal_encode(&refusal, &out);
    ASSERT(out.size <= PEER_HELLO_FRAME_BYTES_MAX);
    buffer_free(&out);
}

static void check_message(struct view body)
{
    struct raft_message message = {0};
    if (raft_message_decode(body, &message) != OK) {
        return;
    }
    struct buffer out = {0};
    raft_message_encode(&message, &out);
    struct raft_message again = {0};
    ASSERT(raft_message_decode(view_of(out.data, out.size), &again) == OK);
    ASSERT(again.term == message.term);
    buffer_free(&out);
    raft_message_free(&again);
    raft_message_free(&message);
}

static void check_frame(const struct peer_frame *frame)
{
    switch (frame->type) {
    case PEER_FRAME_HELLO:
    case PEER_FRAME_WELCOME:
    case PEER_FRAME_HELLO_UPDATE:
        check_greeting(frame->body);
        return;
    case PEER_FRAME_REFUSED:
        check_refusal(frame->body);
        return;
    case PEER_FRAME_MESSAGE:
        check_message(frame->body);
        return;
    }
    ASSERT(frame->type == PEER_FRAME_HELLO); /* the decoder gives out known types only */
}

static void stream(struct view input, size_t piece, size_t frame_bytes_max)
{
    struct peer_decoder d;
    size_t fed = 0;
    peer_decoder_init(&d, frame_bytes_max);
    for (;;) {
        struct peer_frame frame;
        bool have = false;
        enum err error = peer_decoder_next(&d, &frame, &have);
        if (error != OK) {
            ASSERT(!have);
            ASSERT(peer_decoder_next(&d, &frame, &have) == error);
            break;
        }
        if (have) {
            check_frame(&frame);
            continue;
        }
        if (fed == input.size) {
            break;
        }
        size_t next = piece < input.size - fed ? piece : input.size - fed;
        peer_decoder_feed(&d, view_of(input.data + fed, next));
        fed += next;
    }
    peer_decoder_free(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    struct view input = view_of(data + 1, size - 1);
    if (data[0] < 128) {
        stream(input, 1 + (size_t)data[0],
               data[0] % 2 == 0 ? PEER_HELLO_FRAME_BYTES_MAX : PEER_FRAME_BYTES_MAX);
        return 0;
    }
    struct buffer out = {0};
    size_t begin = peer_frame_begin(&out, (enum peer_frame_type)(1 + data[0] % 5), 0);
    buffer_append(&out, input.data, input.size);
    if (peer_frame_end(&out, begin) == OK) {
        stream(view_of(out.data, out.size), 4096, PEER_FRAME_BYTES_MAX);
    }
    buffer_free(&out);
    return 0;
}
