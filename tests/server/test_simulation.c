/* The promise about overload, in simulated time: what is accepted comes in time, and overload costs
 * next to nothing; beside two simpler policies, which break it. With made-up arrivals and costs,
 * and with those of a trace that tests/load/record.sh has recorded.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "tests/support_simulation.h"
#include "tests/support_trace.h"

#define TRACE "tests/load/resnet18.trace"

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

static struct simulation_result replay(enum simulation_policy policy, double load, double *capacity)
{
    struct trace trace;
    trace_read(TRACE, &trace);
    *capacity = trace_capacity(&trace);
    const struct simulation simulation = {.policy = policy,
                                          .rate = load * *capacity,
                                          .seconds = 120,
                                          .deadline_ms = 500,
                                          .trace = &trace,
                                          .seed = 1};
    const struct simulation_result result = simulation_run(&simulation);
    trace_done(&trace);
    return result;
}

/* The trace has times of half again as much as its mean, and uploads that eat their deadline. */
Test(simulation, a_recorded_trace_keeps_its_goodput_and_promises)
{
    static const double loads[] = {0.5, 1, 2, 3, 5}, least[] = {0.45, 0.7, 0.88, 0.9, 0.9};
    for (int i = 0; i < 5; i++) {
        double capacity;
        const struct simulation_result result = replay(SIMULATION_RESNETD, loads[i], &capacity);
        cr_assert_gt(result.good, least[i] * capacity, "%.1f: %.1f of %.1f a second", loads[i],
                     result.good, capacity);
        cr_assert_lt(result.late + result.dropped, 0.01 * result.good, "%.1f: %.2f %.2f", loads[i],
                     result.late, result.dropped);
    }
}

Test(simulation, simpler_policies_break_down_on_a_recorded_trace)
{
    double capacity;
    cr_assert_lt(replay(SIMULATION_FIFO, 2, &capacity).good, 0.2 * capacity);
    cr_assert_lt(replay(SIMULATION_DROP, 2, &capacity).good, 0.6 * capacity);
}
