/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base64.c: see base64.h.
 */
#include "base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_write(struct buffer *out, struct view octets)
{
    uint8_t *to = buffer_extend(out, (octets.size + 2) / 3 * 4);
    const uint8_t *from = octets.data;
    size_t left = octets.size;
    for (; left >= 3; left -= 3, from += 3) {
        unsigned bits = (unsigned)from[0] << 16 | (unsigned)from[1] << 8 | from[2];
        *to++ = (uint8_t)alphabet[bits >> 18];
        *to++ = (uint8_t)alphabet[bits >> 12 & 63];
        *to++ = (uint8_t)alphabet[bits >> 6 & 63];
        *to++ = (uint8_t)alphabet[bits & 63];
    }
    if (left > 0) {
        unsigned bits = (unsigned)from[0] << 16 | (left == 2 ? (unsigned)from[1] << 8 : 0);
        *to++ = (uint8_t)alphabet[bits >> 18];
        *to++ = (uint8_t)alphabet[bits >> 12 & 63];
        *to++ = left == 2 ? (uint8_t)alphabet[bits >> 6 & 63] : '=';
        *to = '=';
    }
}

/* The six bits of a letter; 64 for none. */
static unsigned letter(uint8_t octet)
{
    if (octet >= 'A' && octet <= 'Z') {
        return octet - (unsigned)'A';
    }
    if (octet >= 'a' && octet <= 'z') {
        return octet - (unsigned)'a' + 26;
    }
    if (octet >= '0' && octet <= '9') {
        return octet - (unsigned)'0' + 52;
    }
    if (octet == '+' || octet == '-') {
        return 62;
    }
    return octet == '/' || octet == '_' ? 63 : 64;
}

enum err base64_read(struct view text, uint8_t *out, size_t *size)
{
    uint8_t *to = out;
    unsigned bits = 0;
    size_t letters = 0;
    size_t padding = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];
        if (octet == '\n' || octet == '\r') {
            continue;
        }
        if (octet == '=') {
            padding++;
            continue;
        }
        unsigned six = letter(octet);
        if (six == 64 || padding > 0) {
            return ERR_MALFORMED;
        }
        bits = bits << 6 | six;
        switch (++letters % 4) {
        case 2:
            *to++ = (uint8_t)(bits >> 4);
            break;
        case 3:
            *to++ = (uint8_t)(bits >> 2);
            break;
        case 0:
            *to++ = (uint8_t)bits;
            break;
        default:
            break;
        }
    }
    size_t over = letters % 4;
    if (over == 1 || (padding != 0 && (over == 0 || padding != 4 - over))) {
        return ERR_MALFORMED;
    }
    *size = (size_t)(to - out);
    return OK;
}
