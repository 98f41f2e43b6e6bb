/* The wrapped allocator: counts, then does what was asked. Any thread.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support_alloc.h"

#include <stdatomic.h>

static atomic_size_t n_calls;

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);

void *__wrap_malloc(size_t n)
{
    atomic_fetch_add(&n_calls, 1);
    return __real_malloc(n);
}

void *__wrap_calloc(size_t count, size_t n)
{
    atomic_fetch_add(&n_calls, 1);
    return __real_calloc(count, n);
}

void *__wrap_realloc(void *p, size_t n)
{
    atomic_fetch_add(&n_calls, 1);
    return __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    atomic_fetch_add(&n_calls, 1);
    return __real_aligned_alloc(align, n);
}

size_t alloc_count(void)
{
    return atomic_load(&n_calls);
}
