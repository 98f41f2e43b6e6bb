/* A server in simulated time: arrivals, decode workers, one engine; the real batcher and admission,
 * or a simpler policy to compare with. Arrivals and costs are those of a recorded trace, or made
 * up: Poisson arrivals and the costs of ResNet-18. An answer takes no time to write. Deterministic
 * for a seed.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_TESTS_SUPPORT_SIMULATION_H
#define RESNETD_TESTS_SUPPORT_SIMULATION_H

#include <stdint.h>

struct trace;

enum simulation_policy {
    SIMULATION_RESNETD, /* admission, batches that fit their deadlines */
    SIMULATION_FIFO,    /* a bounded queue, a batch window, nothing else */
    SIMULATION_DROP,    /* the same, and what is late already is dropped before a batch */
};

struct simulation {
    enum simulation_policy policy;
    double rate;        /* requests per second */
    double seconds;     /* of arrivals; the first fifth is not counted */
    double deadline_ms; /* from the header's arrival */
    double slow_part;   /* of made-up requests: their body takes 0.5 to 1.2 deadlines to arrive */
    const struct trace *trace; /* replayed again and again, as fast as gives `rate`; or NULL */
    uint64_t seed;
};

struct simulation_result {
    double good, late, refused, dropped; /* per second; dropped: accepted, and then given up */
};

struct simulation_result simulation_run(const struct simulation *simulation);
/* Images per second of the made-up engine and decoders when always busy. */
double simulation_capacity(void);

#endif
