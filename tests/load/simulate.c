/* Draws what the tests of the simulation assert: goodput by offered load for each policy. Writes
 * FOLDER/POLICY.tsv with the columns of tests/load/plot.awk, from a quarter to three times the
 * capacity: of made-up costs with a part of slow uploads (0 to 1), or of a recorded trace.
 * Deadlines are 200 ms, of a trace 500.
 *
 *   simulate FOLDER SLOW_PART|TRACE
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support_simulation.h"
#include "tests/support_trace.h"

int main(int argc, char **argv)
{
    static const char *const names[] = {[SIMULATION_RESNETD] = "resnetd",
                                        [SIMULATION_FIFO] = "first come",
                                        [SIMULATION_DROP] = "late dropping"};
    static const double loads[] = {0.25, 0.5, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 2, 3};
    if (argc != 3) {
        (void)fprintf(stderr, "usage: simulate FOLDER SLOW_PART|TRACE\n");
        return 2;
    }
    struct trace trace = {0};
    char *end;
    const double slow_part = strtod(argv[2], &end);
    if (*end != '\0')
        trace_read(argv[2], &trace);
    const double capacity = trace.n > 0 ? trace_capacity(&trace) : simulation_capacity();
    for (int policy = SIMULATION_RESNETD; policy <= SIMULATION_DROP; policy++) {
        char path[4096];
        (void)snprintf(path, sizeof path, "%s/%s.tsv", argv[1], names[policy]);
        FILE *out = fopen(path, "we");
        if (!out) {
            perror(path);
            return 1;
        }
        for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++) {
            const struct simulation simulation = {
                .policy = (enum simulation_policy)policy,
                .rate = loads[i] * capacity,
                .seconds = 300,
                .deadline_ms = trace.n > 0 ? 500 : 200,
                .slow_part = trace.n > 0 ? 0 : slow_part,
                .trace = trace.n > 0 ? &trace : NULL,
                .seed = 1,
            };
            const struct simulation_result r = simulation_run(&simulation);
            (void)fprintf(out, "%.2f\t%.2f\t%.2f\t%.3f\t%.2f\t%.3f\n", loads[i], simulation.rate,
                          r.good, r.late, r.refused, r.dropped);
        }
        (void)fclose(out);
    }
    trace_done(&trace);
    return 0;
}
