/* See huge.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/huge.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "engine/base/tensor.h"

void *huge_alloc(size_t bytes)
{
    const size_t align = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : TENSOR_ALIGN;
    if (bytes > SIZE_MAX - align)
        return NULL;
    void *p = aligned_alloc(align, (bytes + align - 1) / align * align);
    if (p && align == HUGE_PAGE)
        (void)madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}
