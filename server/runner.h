/* The engine's turn: one batch at a time on a worker, and what it teaches.
 *
 * Loop thread. While a batch runs its worker has the images' tensors and maps and the model's
 * session and logits; everything else stays the loop's. A batch of zeros is a measurement: it
 * belongs to nobody and is run in idle moments, so that the first burst meets a server that knows
 * what batches are worth.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_RUNNER_H
#define RESNETD_SERVER_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

struct uv_loop_s;
struct metrics;
struct registry_model;
struct request;
struct request_image;
struct runner;

/* The batch that runs or has just run. */
struct runner_batch {
    struct registry_model *model;
    int n;
    struct request_image *images[RN_MAX_BATCH]; /* nobody's in a measurement */
    bool measurement;
    bool alone; /* one request's own work */
    uint64_t launched_ns, expected_ns;
    uint64_t start_ns, end_ns; /* on the worker; set when it is done */
};

/* done: the images have their logits and time stamps, their model's batcher knows the cost; the
 * runner is idle again. */
struct runner *runner_new(struct uv_loop_s *loop, struct metrics *metrics,
                          void (*done)(void *context, const struct runner_batch *batch),
                          void *context); /* NULL when out of memory */
/* Only when nothing runs. NULL allowed. */
void runner_free(struct runner *runner);

/* NULL when the engine is idle. */
const struct runner_batch *runner_running(const struct runner *runner);
/* Takes the next batch out of the model's batcher and runs it. Only when idle and one is due. */
void runner_launch(struct runner *runner, struct registry_model *model, uint64_t now_ns);

/* Runs the request's alone() instead of a batch. Only when idle. */
void runner_launch_alone(struct runner *runner, struct request *request, uint64_t now_ns);

/* The model's unknown small batch sizes are to be measured; takes a reference until they are. */
void runner_want_measured(struct runner *runner, struct registry_model *model);
/* Runs one measurement that is wanted; false when there is none. Only when idle. */
bool runner_measure(struct runner *runner);

#endif
