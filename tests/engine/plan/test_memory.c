/* The arena planner: no two buffers that are alive together overlap, and the total is what it has
 * to be.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "engine/plan/plan.h"
#include "tests/support_random.h"

static void check_no_overlap(const struct memory_use *uses, int n, size_t total)
{
    for (int i = 0; i < n; i++) {
        cr_assert_eq(uses[i].offset % TENSOR_ALIGN, 0);
        cr_assert_leq(uses[i].offset + uses[i].bytes, total);
        for (int j = 0; j < i; j++) {
            bool together = uses[i].first <= uses[j].last && uses[j].first <= uses[i].last;
            bool overlap = uses[i].offset < uses[j].offset + uses[j].bytes &&
                           uses[j].offset < uses[i].offset + uses[i].bytes;
            cr_assert(!(together && overlap), "buffers %d and %d", i, j);
        }
    }
}

Test(memory, a_chain_needs_two_buffers)
{
    struct memory_use uses[50];
    size_t total;
    for (int i = 0; i < 50; i++)
        uses[i] = (struct memory_use){.first = i, .last = i + 1, .bytes = 1024};
    cr_assert_eq(memory_plan(uses, 50, &total), RN_OK);
    check_no_overlap(uses, 50, total);
    cr_assert_eq(total, 2 * 1024);
}

Test(memory, a_gap_is_used_again)
{
    struct memory_use uses[] = {{.first = 0, .last = 9, .bytes = 640},
                                {.first = 0, .last = 3, .bytes = 1280},
                                {.first = 4, .last = 9, .bytes = 1280},
                                {.first = 2, .last = 5, .bytes = 100}};
    size_t total;
    cr_assert_eq(memory_plan(uses, 4, &total), RN_OK);
    check_no_overlap(uses, 4, total);
    cr_assert_eq(total, 1280 + 640 + 128);
}

Test(memory, random_lifetimes_never_overlap)
{
    uint64_t seed = 21;
    for (int round = 0; round < 50; round++) {
        struct memory_use uses[60];
        size_t total, sum = 0;
        for (int i = 0; i < 60; i++) {
            uses[i].first = i;
            uses[i].last = i + random_below(&seed, 12);
            uses[i].bytes = (size_t)(1 + random_below(&seed, 5000));
        }
        cr_assert_eq(memory_plan(uses, 60, &total), RN_OK);
        for (int i = 0; i < 60; i++)
            sum += uses[i].bytes;
        check_no_overlap(uses, 60, total);
        cr_assert_lt(total, sum);
    }
}
