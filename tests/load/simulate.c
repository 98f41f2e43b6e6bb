/* Draws what the tests of the simulation assert: goodput by offered load for each policy, with and
 * without slow uploads. Writes FOLDER/POLICY.tsv with the columns of tests/load/plot.awk.
 *
 *   simulate FOLDER [SLOW_PART]
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support_simulation.h"

int main(int argc, char **argv)
{
    static const char *const names[] = {[SIMULATION_RESNETD] = "resnetd",
                                        [SIMULATION_FIFO] = "first come",
                                        [SIMULATION_DROP] = "late dropping"};
    static const double loads[] = {0.25, 0.5, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 2, 3};
    if (argc < 2) {
        (void)fprintf(stderr, "usage: simulate FOLDER [SLOW_PART]\n");
        return 2;
    }
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
                .rate = loads[i] * simulation_capacity(),
                .seconds = 300,
                .deadline_ms = 200,
                .slow_part = argc > 2 ? strtod(argv[2], NULL) : 0,
                .seed = 1,
            };
            const struct simulation_result r = simulation_run(&simulation);
            (void)fprintf(out, "%.2f\t%.2f\t%.2f\t%.3f\t%.2f\t%.3f\n", loads[i], simulation.rate,
                          r.good, r.late, r.refused, r.dropped);
        }
        (void)fclose(out);
    }
    return 0;
}
