/* Counts the allocations of our own objects: the test binary is linked with --wrap for malloc, calloc,
 * realloc and aligned_alloc.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_TESTS_SUPPORT_ALLOC_H
#define RESNETD_TESTS_SUPPORT_ALLOC_H

#include <stddef.h>

/* Since the process started, all threads. */
size_t alloc_count(void);

#endif
