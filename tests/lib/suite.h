/* SPDX-License-Identifier: Apache-2.0 */
/*
 * suite.h: a CUnit runner in a few lines. One test file is one program:
 *
 *   static void votes_once_per_term(void) { ... CU_ASSERT_EQUAL(...); }
 *   SUITE("raft 5.2", TEST(votes_once_per_term), TEST(...))
 *
 * The exit code is CU_get_number_of_failures() != 0, never CU_get_error(), which is 0 with failed
 * tests. A program argument runs only the tests whose names contain it.
 */
#ifndef HOLDFAST_SUITE_H
#define HOLDFAST_SUITE_H

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct suite_test {
    const char *name;
    void (*run)(void);
};

#define TEST(function)                                                                             \
    {                                                                                              \
#function, function                                                                        \
    }

static inline int suite_run(const char *title, const struct suite_test *tests, size_t count,
                            const char *only)
{
    if (CU_initialize_registry() != CUE_SUCCESS) {
        return 2;
    }
    CU_pSuite suite = CU_add_suite(title, NULL, NULL);
    if (suite == NULL) {
        return 2;
    }
    for (size_t i = 0; i < count; i++) {
        if (only != NULL && strstr(tests[i].name, only) == NULL) {
            continue;
        }
        if (CU_add_test(suite, tests[i].name, tests[i].run) == NULL) {
            return 2;
        }
    }
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_ErrorCode ran = CU_basic_run_tests();
    bool failed =
        ran != CUE_SUCCESS || CU_get_number_of_failures() != 0 || CU_get_number_of_tests_run() == 0;
    CU_cleanup_registry();
    return failed ? 1 : 0;
}

#define SUITE(title, ...)                                                                          \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        static const struct suite_test tests[] = {__VA_ARGS__};                                    \
        return suite_run((title), tests, sizeof(tests) / sizeof(tests[0]),                         \
                         argc > 1 ? argv[1] : NULL);                                               \
    }

#endif
