/* The curve of batch costs: points, what lies between, and which batch is large enough.
 *
 * SPDX-License-Identifier: MIT */
#include "server/costcurve.h"

#include <criterion/criterion.h>

#define MS UINT64_C(1000000)

static struct costcurve curve;

static void setup(void)
{
    costcurve_init(&curve, 8);
}

TestSuite(costcurve, .init = setup);

Test(costcurve, knows_nothing_at_first)
{
    cr_assert_eq(curve.batch_ns[8], 0);
    cr_assert_eq(curve.best, 8, "nothing speaks against a large batch");
    cr_assert_not(costcurve_knows(&curve, 1));
}

Test(costcurve, is_proportional_to_its_only_point)
{
    costcurve_learn(&curve, 2, 10 * MS);
    cr_assert_eq(curve.batch_ns[1], 5 * MS);
    cr_assert_eq(curve.batch_ns[2], 10 * MS);
    cr_assert_eq(curve.batch_ns[8], 40 * MS);
    cr_assert_eq(curve.best, 8);
}

Test(costcurve, is_straight_between_points_and_beyond_the_last)
{
    costcurve_learn(&curve, 1, 10 * MS);
    costcurve_learn(&curve, 5, 30 * MS);
    for (int n = 1; n <= 8; n++)
        cr_assert_eq(curve.batch_ns[n], (uint64_t)(5 + 5 * n) * MS, "%d", n);
    cr_assert_geq(curve.best, 7, "a base of 5 ms is worth sharing");
}

Test(costcurve, never_falls)
{
    costcurve_learn(&curve, 1, 10 * MS);
    costcurve_learn(&curve, 2, 8 * MS);
    for (int n = 2; n <= 8; n++)
        cr_assert_geq(curve.batch_ns[n], curve.batch_ns[n - 1]);
}

Test(costcurve, prefers_the_smallest_of_batches_that_are_as_good)
{
    costcurve_learn(&curve, 1, 14 * MS);
    costcurve_learn(&curve, 2, 20 * MS);
    costcurve_learn(&curve, 8, 80 * MS);
    cr_assert_eq(curve.best, 2);
}

Test(costcurve, moves_as_a_whole_when_the_machine_slows_down)
{
    for (int n = 1; n <= 8; n++)
        costcurve_learn(&curve, n, (uint64_t)(2 + n) * MS);
    for (int i = 0; i < 200; i++)
        costcurve_learn(&curve, 8, 2 * 10 * MS);
    cr_assert_float_eq((double)curve.batch_ns[8] / (double)MS, 20, 0.1);
    cr_assert_gt(curve.batch_ns[1], 4 * MS, "three times half as much again");
}

Test(costcurve, believes_a_stall_only_so_far)
{
    costcurve_learn(&curve, 1, 10 * MS);
    costcurve_learn(&curve, 1, 10000 * MS);
    cr_assert_lt(curve.batch_ns[1], 15 * MS);
    cr_assert_float_eq(curve.fastest_image_ns, (double)(10 * MS), 1);
}
