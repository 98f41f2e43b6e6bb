/* A pipeline in a real loop, with two models, "a" and "b", whose workers and engine can be held at
 * a gate until a test has arranged who waits and how little time is left: no clock decides.
 *
 * One per process at a time, which is what Criterion's one process per test needs:
 * TestSuite(x, .init = gate_start, .fini = gate_end). Failures fail the test; so does, at the end,
 * a request that was not done exactly once, and any image that is still counted.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_TESTS_SUPPORT_GATE_H
#define RESNETD_TESTS_SUPPORT_GATE_H

#include <uv.h>

#include "server/pipeline.h"
#include "server/registry.h"

#define GATE_WORKERS 2
#define GATE_MAX_BATCH 4
#define GATE_MINUTE_NS UINT64_C(60000000000)

struct gate {
    uv_loop_t loop;
    struct pipeline *pipeline;
    struct registry *registry;
    struct registry_model *model; /* "a", borrowed */
    int n_done;                   /* requests */
};
extern struct gate gate;

/* What there was when a request was done. */
struct gate_fate {
    int n_done;       /* calls of done() */
    int place;        /* among all that were done: 1, 2, … */
    size_t in_flight; /* the others */
    size_t queued;    /* the others' images */
    int model_images; /* those for the same model */
    enum problem_type type;
};

void gate_start(void);
void gate_end(void);

/* A request with copies of one photograph in a file that no other request has, or without images;
 * it has a hundred hours. Its done() notes its fate, which outlives it. */
struct request *gate_make(const char *model, int n_images);
const struct gate_fate *gate_fate(const struct request *request);
/* For a done() of the test's own. */
void gate_note(struct request *request);

/* Takes all workers, each with a request for "b" that has no images when it comes back. */
void gate_hold_workers(struct request *holders[GATE_WORKERS]);
void gate_free_holders(struct request *holders[GATE_WORKERS]);
/* Takes the engine; what is decoded meanwhile waits in its batcher. */
struct request *gate_hold_engine(void);
/* Where a parse() or a render() of the test's own stands until one of them is let go. */
void gate_wait_on_worker(void);
void gate_let_worker_go(void);
void gate_let_engine_go(void);

/* Runs the loop until so many requests are done, or so many images wait in the batcher of "a". */
void gate_run_until_done(int n);
void gate_run_until_ready(int n);

/* A number of a problem, or the value of a metric's series; -1 without it. */
int64_t gate_number(const struct problem *problem, const char *key);
double gate_metric(const char *series);

#endif
