/* What a real server has seen: when requests came, how long their bodies took, how long decoding
 * and batches took. Read from what tests/load/record.sh writes; for the simulation.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_TESTS_SUPPORT_TRACE_H
#define RESNETD_TESTS_SUPPORT_TRACE_H

#include <stddef.h>

#define TRACE_MAX_BATCH 64

struct trace_request {
    double arrived_ns; /* since the trace began; rising */
    double upload_ns;  /* from the header to the end of the body */
    double decode_ns;  /* the pixels included */
    int batch;         /* images in the batch that it ran in */
    double run_ns;     /* of that batch */
};

/* Owns its requests. */
struct trace {
    struct trace_request *requests;
    size_t n;
    double ns; /* from the first arrival to one after the last, if they go on like that */
    int max_batch;
    double mean_run_ns[TRACE_MAX_BATCH + 1]; /* by size; between recorded sizes a straight line */
};

/* Ends the process with a sentence where the file is none. */
void trace_read(const char *path, struct trace *trace);
void trace_done(struct trace *trace);
/* Arrivals a second. */
double trace_rate(const struct trace *trace);
/* Images a second of an engine that always has the largest recorded batch to run. */
double trace_capacity(const struct trace *trace);
/* A run of n images that went as request number i's run did, by the mean of its size. */
double trace_run_ns(const struct trace *trace, int n, size_t i);

#endif
