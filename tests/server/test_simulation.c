/* The promise about overload, in simulated time: what is accepted comes in time, and overload costs
 * next to nothing; beside two simpler policies, which break it.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "tests/support_simulation.h"

static struct simulation_result run(enum simulation_policy policy, double load, double slow_part)
{
    const struct simulation simulation = {.policy = policy,
                                          .rate = load * simulation_capacity(),
                                          .seconds = 120,
                                          .deadline_ms = 200,
                                          .slow_part = slow_part,
                                          .seed = 1};
    return simulation_run(&simulation);
}

Test(simulation, at_half_load_everything_is_served)
{
    const struct simulation_result result = run(SIMULATION_RESNETD, 0.5, 0);
    cr_assert_gt(result.good, 0.48 * simulation_capacity());
    cr_assert_lt(result.late + result.dropped, 0.002 * result.good);
}

Test(simulation, under_overload_goodput_stays_and_promises_are_kept)
{
    for (int load = 1; load <= 5; load++) {
        const struct simulation_result result = run(SIMULATION_RESNETD, load, 0);
        cr_assert_gt(result.good, 0.9 * simulation_capacity(), "%d: %.1f of %.1f a second", load,
                     result.good, simulation_capacity());
        cr_assert_lt(result.late + result.dropped, 0.01 * result.good, "%d: %.2f %.2f", load,
                     result.late, result.dropped);
    }
}

Test(simulation, slow_uploads_do_not_take_the_others_along)
{
    const struct simulation_result result = run(SIMULATION_RESNETD, 3, 0.2);
    cr_assert_gt(result.good, 0.9 * simulation_capacity(), "%.1f", result.good);
    cr_assert_lt(result.late + result.dropped, 0.01 * result.good, "%.2f %.2f", result.late,
                 result.dropped);
}

Test(simulation, simpler_policies_break_down)
{
    cr_assert_lt(run(SIMULATION_FIFO, 2, 0).good, 0.2 * simulation_capacity());
    cr_assert_lt(run(SIMULATION_DROP, 2, 0).good, 0.6 * simulation_capacity());
}
