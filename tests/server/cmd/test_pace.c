/* How long a thread rests, and when it takes only what nobody wants.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/pace.h"

#include <criterion/criterion.h>

#define MS UINT64_C(1000000)

/* Pieces of 1 ms, each after that much waiting; how many until it yields, 0 for never in 100. */
static int pieces_until_yielding(uint64_t waiting_ns)
{
    struct pace pace = {.rested_ns = 7 * MS};
    for (int i = 1; i <= 100; i++) {
        bool yields;
        const uint64_t now_ns = pace.rested_ns + waiting_ns + MS;
        const uint64_t cpu_ns = pace.rested_cpu_ns + MS;
        cr_assert_eq(pace_look(&pace, now_ns, cpu_ns, &yields), 7 * MS);
        pace.rested_ns = now_ns + 7 * MS;
        pace.rested_cpu_ns = cpu_ns;
        if (yields)
            return i;
    }
    return 0;
}

Test(pace, rests_in_proportion_to_work)
{
    struct pace pace = {0};
    bool yields;
    cr_assert_eq(pace_look(&pace, 20 * MS, MS / 2, &yields), 0, "not for so little");
    cr_assert_eq(pace_look(&pace, 30 * MS, 3 * MS, &yields), 21 * MS, "waiting is no work");
}

Test(pace, yields_where_there_is_room_and_not_where_it_would_starve)
{
    cr_assert_eq(pieces_until_yielding(0), 5);
    cr_assert_eq(pieces_until_yielding(MS), 5);
    cr_assert_eq(pieces_until_yielding(3 * MS), 0);
}
