/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name_server.h: a name server on loopback for tests: it knows every name, and answers as its mood is
 * (RFC 1035 §4). The test's own thread runs it: poll fd, then name_server_answer.
 */
#ifndef HOLDFAST_TESTS_NAME_SERVER_H
#define HOLDFAST_TESTS_NAME_SERVER_H

#include "suite.h"

#include "base.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAME_SERVER_TYPE_A    1
#define NAME_SERVER_TYPE_AAAA 28
#define NAME_SERVER_TYPE_SRV  33

enum name_server_mood { ANSWERS, ANSWERS_V4, NO_SUCH_NAME, SILENT, GARBAGE };

struct name_server {
    int fd;
    char text[64]; /* "127.0.0.1:port" */
    enum name_server_mood mood;
    uint8_t last_octet; /* the A record says 127.0.0.<last_octet> ... */
    int a_count;        /* ... and so many following ones; the AAAA record says ::1 */
    int question_count;
    /* SRV records: n<octet>.t with the ports, priorities and weights; octet 0 is the root, ".". */
    size_t service_count;
    struct {
        uint8_t octet, priority, weight;
        uint16_t port;
    } services[32];
};

static inline void name_server_start(struct name_server *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(at);
    memset(s, 0, sizeof(*s));
    s->last_octet = 7;
    s->a_count = 1;
    s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(s->fd, (struct sockaddr *)&at, size), 0);
    CU_ASSERT_EQUAL_FATAL(getsockname(s->fd, (struct sockaddr *)&at, &size), 0);
    snprintf(s->text, sizeof(s->text), "127.0.0.1:%u", ntohs(at.sin_port));
}

static inline void name_server_end(struct name_server *s)
{
    close(s->fd);
}

static inline size_t name_server_put(uint8_t *out, uint8_t type, const void *data, uint8_t size)
{
    /* A pointer to the question's name, type, class IN, a minute to live, the data. */
    uint8_t head[] = {0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, size};
    memcpy(out, head, sizeof(head));
    memcpy(out + sizeof(head), data, size);
    return sizeof(head) + size;
}

/* Answer one question, if one is there. */
static inline void name_server_answer(struct name_server *s)
{
    uint8_t m[2048];
    struct sockaddr_storage from;
    socklen_t from_size = sizeof(from);
    ssize_t got = recvfrom(s->fd, m, 512, 0, (struct sockaddr *)&from, &from_size);
    if (got < 12) {
        return;
    }
    s->question_count++;
    size_t at = 12;
    while (m[at] != 0) {
        at += (size_t)m[at] + 1;
        CU_ASSERT_FATAL(at + 5 <= (size_t)got);
    }
    uint8_t type = m[at + 2];
    at += 5;
    m[2] = 0x81;
    m[3] = s->mood == NO_SUCH_NAME ? 0x83 : 0x80;
    memset(m + 6, 0, 6); /* counts of answers, authorities, additional records */
    switch (s->mood) {
    case SILENT:
        return;
    case GARBAGE:
        memset(m + 12, 0xff, 100);
        at = 112;
        m[7] = 200; /* claims answers it does not have */
        break;
    case NO_SUCH_NAME:
        break;
    case ANSWERS:
    case ANSWERS_V4:
        if (type == NAME_SERVER_TYPE_A) {
            for (int i = 0; i < s->a_count; i++) {
                uint8_t address[4] = {127, 0, 0, (uint8_t)(s->last_octet + i)};
                at += name_server_put(m + at, type, address, sizeof(address));
                m[7]++;
            }
        } else if (type == NAME_SERVER_TYPE_AAAA && s->mood == ANSWERS) {
            at += name_server_put(m + at, type, &in6addr_loopback, sizeof(in6addr_loopback));
            m[7]++;
        }
        for (size_t i = 0; type == NAME_SERVER_TYPE_SRV && i < s->service_count; i++) {
            uint8_t record[16] = {0,
                                  s->services[i].priority,
                                  0,
                                  s->services[i].weight,
                                  (uint8_t)(s->services[i].port >> 8),
                                  (uint8_t)s->services[i].port};
            size_t size = 6;
            if (s->services[i].octet != 0) {
                const uint8_t name[] = {2, 'n', s->services[i].octet, 1, 't'};
                memcpy(record + size, name, sizeof(name));
                size += sizeof(name);
            }
            at += name_server_put(m + at, type, record,
                                  (uint8_t)(size + 1)); /* and the root's zero */
            m[7]++;
        }
        break;
    }
    CU_ASSERT_EQUAL(sendto(s->fd, m, at, 0, (struct sockaddr *)&from, from_size), (ssize_t)at);
}

#endif
