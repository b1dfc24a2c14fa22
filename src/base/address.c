/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address.c: "host:port" taken apart. Only the form is judged: names are resolved where they are
 * dialled, anew each time (src/net).
 */
#include "config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#define HOST_NAME_MAX_OCTETS 253 /* RFC 1035 §2.3.4, without the trailing dot's octets */
#define PORT_DIGITS_MAX      5

/* 1 .. 65535, decimal digits only; 0 if it is none. */
static uint16_t port_of(const char *text)
{
    uint32_t port = 0;
    size_t digits = strlen(text);
    if (digits == 0 || digits > PORT_DIGITS_MAX) {
        return 0;
    }
    for (size_t i = 0; i < digits; i++) {
        if (!isdigit((unsigned char)text[i])) {
            return 0;
        }
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    return port <= UINT16_MAX ? (uint16_t)port : 0;
}

static bool is_host_name(const char *host, size_t size)
{
    if (size == 0 || size > HOST_NAME_MAX_OCTETS) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        char octet = host[i];
        if (!isalnum((unsigned char)octet) && octet != '.' && octet != '-' && octet != '_') {
            return false;
        }
    }
    return true;
}

/* An IPv6 address, perhaps with a zone ("fe80::1%eth0"). */
static bool is_v6(const char *host, size_t size)
{
    char text[INET6_ADDRSTRLEN];
    const char *zone = memchr(host, '%', size);
    size_t address_size = zone != NULL ? (size_t)(zone - host) : size;
    if (address_size >= sizeof(text)) {
        return false;
    }
    if (zone != NULL && !is_host_name(zone + 1, size - address_size - 1)) {
        return false;
    }
    memcpy(text, host, address_size);
    text[address_size] = '\0';
    struct in6_addr address;
    return inet_pton(AF_INET6, text, &address) == 1;
}

enum err address_split(const char *text, char *host, size_t host_size, uint16_t *port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL) {
        return ERR_ADDRESS;
    }
    uint16_t found_port = port_of(colon + 1);
    if (found_port == 0) {
        return ERR_ADDRESS;
    }
    const char *start = text;
    size_t size = (size_t)(colon - text);
    bool good = false;
    if (size >= 2 && start[0] == '[' && start[size - 1] == ']') {
        start++;
        size -= 2;
        good = is_v6(start, size);
    } else {
        good = is_host_name(start, size);
    }
    if (!good || size + 1 > host_size) {
        return ERR_ADDRESS;
    }
    memcpy(host, start, size);
    host[size] = '\0';
    *port = found_port;
    return OK;
}
