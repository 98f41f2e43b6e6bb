/* Counts the allocations of our own objects and makes one fail: the test binary is linked with
 * --wrap for malloc, calloc, realloc and aligned_alloc.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_TESTS_SUPPORT_ALLOC_H
#define RESNETD_TESTS_SUPPORT_ALLOC_H

#include <stddef.h>

/* Since the process started, all threads. */
size_t alloc_count(void);

/* The nth allocation from now on, 1 being the next, fails, and only that; 0 = none. */
void alloc_fail(size_t nth);

#endif
