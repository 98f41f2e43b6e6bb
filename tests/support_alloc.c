/* The wrapped allocator: counts, then does what was asked or fails as told. Any thread.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support_alloc.h"

#include <stdatomic.h>
#include <stdbool.h>

static atomic_size_t n_calls;
static atomic_size_t failing_call; /* 0 = none */

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);

static bool fails(void)
{
    return atomic_fetch_add(&n_calls, 1) + 1 == atomic_load(&failing_call);
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t count, size_t n)
{
    return fails() ? NULL : __real_calloc(count, n);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return fails() ? NULL : __real_aligned_alloc(align, n);
}

size_t alloc_count(void)
{
    return atomic_load(&n_calls);
}

void alloc_fail(size_t nth)
{
    atomic_store(&failing_call, nth ? alloc_count() + nth : 0);
}
