/* The arena planner: lifetimes -> offsets, greedy by size. Pure but for scratch memory.
 *
 * Buffers are placed from the largest to the smallest (the earlier first among equals); each goes
 * into the lowest gap between the already placed buffers whose lifetimes overlap its own. For a
 * ResNet that is optimal in practice: the maps of a stage have one size and three are alive at a
 * time.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "engine/plan/plan.h"

static int by_size(const void *a, const void *b)
{
    const struct memory_use *x = *(struct memory_use *const *)a,
                            *y = *(struct memory_use *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->first - y->first;
}

/* Lowest offset where `use` overlaps none of the placed ones, which are sorted by offset. */
static size_t find_gap(const struct memory_use *use, struct memory_use *const *placed, int n)
{
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        const struct memory_use *other = placed[i];
        if (other->last < use->first || other->first > use->last)
            continue;
        if (other->offset >= at + use->bytes)
            break;
        if (other->offset + other->bytes > at)
            at = other->offset + other->bytes;
    }
    return at;
}

enum rn_status memory_plan(struct memory_use *uses, int n, size_t *bytes)
{
    struct memory_use **order = calloc((size_t)n + 1, sizeof *order);
    struct memory_use **placed = calloc((size_t)n + 1, sizeof *placed);
    if (!order || !placed) {
        free(order);
        free(placed);
        return RN_NO_MEMORY;
    }
    for (int i = 0; i < n; i++) {
        uses[i].bytes = tensor_align(uses[i].bytes);
        order[i] = &uses[i];
    }
    qsort(order, (size_t)n, sizeof *order, by_size);
    size_t total = 0;
    for (int i = 0; i < n; i++) {
        struct memory_use *use = order[i];
        use->offset = find_gap(use, placed, i);
        if (use->offset + use->bytes > total)
            total = use->offset + use->bytes;
        int at = i;
        for (; at > 0 && placed[at - 1]->offset > use->offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = use;
    }
    *bytes = total;
    free(order);
    free(placed);
    return RN_OK;
}
