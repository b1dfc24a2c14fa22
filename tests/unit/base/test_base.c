/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows the small ones of base.h: every error has a text, a broken assert aborts with its place,
 * exhausted memory ends the process with its exit code (docs/decisions/0001), random numbers are the
 * published ones and even, and checksums are those that lie on disks already.
 */
#include "suite.h"

#include "base.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void every_error_has_a_text(void)
{
    for (int i = 0; i < ERR_COUNT; i++) {
        const char *text = err_text((enum err)i);
        CU_ASSERT_PTR_NOT_NULL_FATAL(text);
        CU_ASSERT_TRUE(strlen(text) > 0);
        for (int k = 0; k < i; k++) {
            CU_ASSERT_STRING_NOT_EQUAL(text, err_text((enum err)k));
        }
    }
    CU_ASSERT_STRING_EQUAL(err_text((enum err)ERR_COUNT), "unknown error");
    CU_ASSERT_STRING_EQUAL(err_text((enum err) - 1), "unknown error");
}

static char said[4096];

/* Runs it in a child; what it wrote to stderr is in `said`. */
static int status_of_child(void (*child)(void))
{
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        unsetenv("JOURNAL_STREAM");
        child();
        _exit(0);
    }
    close(fds[1]);
    size_t size = 0;
    ssize_t got = 0;
    while (size < sizeof(said) - 1 &&
           ((got = read(fds[0], said + size, sizeof(said) - 1 - size)) > 0 ||
            (got < 0 && errno == EINTR))) {
        size += got > 0 ? (size_t)got : 0;
    }
    said[size] = '\0';
    close(fds[0]);
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return status;
}

static void break_an_assert(void)
{
    int two = 2;
    ASSERT(two == 3);
}

static void broken_assert_aborts_and_says_where(void)
{
    int status = status_of_child(break_an_assert);
    CU_ASSERT_TRUE(WIFSIGNALED(status));
    CU_ASSERT_EQUAL(WTERMSIG(status), SIGABRT);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "condition=\"two == 3\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "test_base.c:"));
}

static void assert_evaluates_once(void)
{
    int count = 0;
    ASSERT(++count == 1);
    CU_ASSERT_EQUAL(count, 1);
#ifndef HOLDFAST_CHECK_SLOW
    CHECK_SLOW(++count == 5);
    CU_ASSERT_EQUAL(count, 1);
#endif
}

/* Sanitizers replace malloc and end the process themselves; there the request itself is what they
 * refuse. So only builds without them show the exit code. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WITH_SANITIZER 1
#endif
#endif
#else
#define WITH_SANITIZER 1
#endif

/* volatile: the compiler would see through the constant */
static volatile size_t too_much = SIZE_MAX / 4;

static void exhaust_alloc(void)
{
    free(mem_alloc(too_much));
}

static void exhaust_zalloc(void)
{
    free(mem_zalloc(too_much));
}

static void exhaust_realloc(void)
{
    free(mem_realloc(NULL, too_much));
}

static void exhausted_memory_ends_the_process(void)
{
#ifndef WITH_SANITIZER
    void (*const children[])(void) = {exhaust_alloc, exhaust_zalloc, exhaust_realloc};
    for (size_t i = 0; i < ARRAY_COUNT(children); i++) {
        int status = status_of_child(children[i]);
        CU_ASSERT_TRUE(WIFEXITED(status));
        CU_ASSERT_EQUAL(WEXITSTATUS(status), EXIT_CODE_FAILURE);
        CU_ASSERT_PTR_NOT_NULL(strstr(said, "memory exhausted"));
    }
#else
    void (*const children[])(void) = {exhaust_alloc, exhaust_zalloc, exhaust_realloc};
    for (size_t i = 0; i < ARRAY_COUNT(children); i++) {
        int status = status_of_child(children[i]);
        CU_ASSERT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
#endif
}

static void size_zero_gives_a_pointer(void)
{
    void *pointers[] = {mem_alloc(0), mem_zalloc(0), mem_realloc(NULL, 0), mem_dup(NULL, 0)};
    for (size_t i = 0; i < ARRAY_COUNT(pointers); i++) {
        CU_ASSERT_PTR_NOT_NULL(pointers[i]);
        mem_free(pointers[i]);
    }
    mem_free(NULL);
    char *text = mem_strdup("abc");
    CU_ASSERT_STRING_EQUAL(text, "abc");
    mem_free(text);
}

static void reserve_keeps_items_and_at_least_doubles(void)
{
    int *items = NULL;
    size_t capacity = 0;
    for (size_t i = 0; i < 1000; i++) {
        size_t before = capacity;
        ARRAY_RESERVE(items, capacity, i + 1);
        CU_ASSERT_TRUE(capacity == before || capacity >= 2 * before);
        items[i] = (int)i;
    }
    ARRAY_RESERVE(items, capacity, (size_t)5000);
    CU_ASSERT_TRUE(capacity >= 5000);
    for (size_t i = 0; i < 1000; i++) {
        CU_ASSERT_EQUAL(items[i], (int)i);
    }
    mem_free(items);
}

/* splitmix64's published first values for seed 1234567; a change would change every simulator seed. */
static void random_numbers_are_the_published_ones(void)
{
    static const uint64_t expected[] = {
        UINT64_C(6457827717110365317), UINT64_C(3203168211198807973), UINT64_C(9817491932198370423),
        UINT64_C(4593380528125082431), UINT64_C(16408922859458223821)};
    uint64_t state = 1234567;
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        CU_ASSERT_EQUAL(random_next(&state), expected[i]);
    }
}

static void random_below_stays_below_and_reaches_all(void)
{
    uint64_t state = 42;
    size_t seen[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint64_t value = random_below(&state, 7);
        CU_ASSERT_TRUE_FATAL(value < 7);
        seen[value]++;
    }
    for (size_t i = 0; i < 7; i++) {
        CU_ASSERT_TRUE(seen[i] > 9000 && seen[i] < 11000); /* a fixed seed: this never changes */
    }
    CU_ASSERT_EQUAL(random_below(&state, 1), 0);
    /* A bound just above 2^63: without refusing, the lower half would come twice as often. */
    uint64_t bound = (UINT64_C(3) << 62);
    size_t low = 0;
    for (int i = 0; i < 30000; i++) {
        low += random_below(&state, bound) < (UINT64_C(1) << 62);
    }
    CU_ASSERT_TRUE(low > 9500 && low < 10500);
}

/* Fixed values: they lie in raft.db rows and on the wire. */
static void checksums_never_change(void)
{
    CU_ASSERT_EQUAL(checksum64(view_of(NULL, 0)), UINT64_C(0x2d06800538d394c2));
    CU_ASSERT_EQUAL(checksum32(view_of(NULL, 0)), UINT32_C(0x38d394c2));
    uint8_t octets[1000];
    for (size_t i = 0; i < sizeof(octets); i++) {
        octets[i] = (uint8_t)i;
    }
    uint64_t whole = checksum64(view_of(octets, sizeof(octets)));
    for (size_t i = 0; i < sizeof(octets); i++) { /* each flipped octet is seen */
        octets[i] ^= 1;
        CU_ASSERT_NOT_EQUAL(checksum64(view_of(octets, sizeof(octets))), whole);
        octets[i] ^= 1;
    }
}

SUITE("base", TEST(every_error_has_a_text), TEST(broken_assert_aborts_and_says_where),
      TEST(assert_evaluates_once), TEST(exhausted_memory_ends_the_process),
      TEST(size_zero_gives_a_pointer), TEST(reserve_keeps_items_and_at_least_doubles),
      TEST(random_numbers_are_the_published_ones), TEST(random_below_stays_below_and_reaches_all),
      TEST(checksums_never_change))
