/* How long a thread rests, and when it takes only what nobody wants.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/pace.h"

#include <criterion/criterion.h>

#define MS UINT64_C(1000000)

/* Pieces of 1 ms, each after that much waiting; how many until it yields, 0 for never in 100. */
static int pieces_until_yielding(uint64_t waiting_ns)
{
    struct pace pace = {0};
    struct pace_clocks clocks = {0};
    for (int i = 1; i <= 100; i++) {
        bool yields;
        clocks.now += waiting_ns + MS;
        clocks.cpu += MS;
        clocks.now += pace_look(&pace, clocks, &yields);
        pace.rested_ns = clocks.now;
        if (yields)
            return i;
    }
    return 0;
}

/* How many times as long as for a piece of 2 ms it rests, when it did 200 of them among threads
 * that keep so much of the cores busy. */
static double rests(double busy)
{
    struct pace pace = {0};
    struct pace_clocks clocks = {0};
    bool yields;
    uint64_t rest_ns = 0;
    for (int i = 0; i < 200; i++) {
        const uint64_t passed_ns = rest_ns + 2 * MS;
        clocks.now += passed_ns;
        clocks.cpu += 2 * MS;
        clocks.traffic += (uint64_t)(busy * (double)passed_ns);
        rest_ns = pace_look(&pace, clocks, &yields);
    }
    return (double)rest_ns / (double)(2 * MS);
}

Test(pace, rests_the_longer_the_busier_the_cores_are)
{
    cr_assert_float_eq(rests(0), 1, 0.1);
    cr_assert_float_eq(rests(0.25), 10.5, 0.1);
    cr_assert_float_eq(rests(1), 20, 0.1);
    cr_assert_float_eq(rests(1.1), 20, 0.1, "clocks may disagree");
}

Test(pace, rests_in_proportion_to_work)
{
    struct pace pace = {.idle = 1};
    bool yields;
    cr_assert_eq(pace_look(&pace, (struct pace_clocks){20 * MS, MS / 2, 0}, &yields), 0,
                 "not for so little");
    cr_assert_eq(pace_look(&pace, (struct pace_clocks){30 * MS, 3 * MS, 0}, &yields), 3 * MS,
                 "waiting is no work");
}

Test(pace, takes_the_cores_to_be_busy_until_it_has_seen_them)
{
    struct pace pace = {.looked.traffic = 7}; /* a difference of clocks, which may fall a little */
    bool yields;
    cr_assert_gt(pace_look(&pace, (struct pace_clocks){2 * MS, 2 * MS, 5}, &yields), 36 * MS);
}

Test(pace, yields_where_there_is_room_and_not_where_it_would_starve)
{
    cr_assert_eq(pieces_until_yielding(0), 5);
    cr_assert_eq(pieces_until_yielding(MS), 5);
    cr_assert_eq(pieces_until_yielding(3 * MS), 0);
}
