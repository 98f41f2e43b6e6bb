/* What the pipeline*.c files share, and nobody else sees.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_PIPELINE_INTERNAL_H
#define RESNETD_SERVER_PIPELINE_INTERNAL_H

#include <uv.h>

#include "server/admission.h"
#include "server/pipeline.h"

struct pipeline {
    uv_loop_t *loop;
    uv_timer_t wake; /* a batcher's window closes or a deadline comes near */
    struct pipeline_options options;
    struct metrics *metrics;
    struct workers *workers;
    struct runner *runner;
    struct reuse *reuse;
    struct request *orphans, **last_orphan; /* lost their leader, to be taken once more */
    struct request *alone;       /* the one that wants the engine alone, until it is done */
    int n_previews;              /* requests that keep one */
    bool alone_waits;            /* it is decoded, and only the engine is missing */
    struct registry_model *busy; /* models with images, the next to serve first */
    uint64_t paced_ns;           /* since when the next batch has been worked for */
    bool was_busy;               /* and a whole batch was waiting then */
    struct admission admission;
    size_t n_requests; /* taken and not done */
    int n_queued;      /* images admitted and not yet in a batch */
};

/* ---- pipeline.c ------------------------------------------------------------------------------ */
/* n images join (or, negative, leave) those expected by the model's batcher; n have left it. */
void pipeline_expect(struct pipeline *pipeline, struct registry_model *model, int n);
void pipeline_left_batcher(struct pipeline *pipeline, struct registry_model *model, int n);
/* An image has its scores or its problem, which ends its request if it was the last; a request that
 * has no images is over. Both may be gone, and their model with them. */
void pipeline_finish_image(struct pipeline *pipeline, struct request_image *image);
void pipeline_finish_request(struct pipeline *pipeline, struct request *request);

/* ---- pipeline_late.c ------------------------------------------------------------------------- */
/* Ends the images that cannot be done in time any more, the next batch starting at start_ns; false
 * when the model has none left, and may be gone with its last request. */
bool pipeline_drop_expired(struct pipeline *pipeline, struct registry_model *model, uint64_t now_ns,
                           uint64_t start_ns);
/* Ends the next waiting requests, as far as no worker is to be troubled with them: what a batch
 * takes is more than they have left. A lone one is tried in any case. */
void pipeline_drop_waiting(struct pipeline *pipeline);

/* ---- pipeline_admit.c ------------------------------------------------------------------------ */
/* pipeline_admit() for a request whose body is there; notes when that was, and what was predicted.
 */
bool pipeline_admit_request(struct pipeline *pipeline, struct request *request, int n_images);
/* Whether there is time for a request whose body brought another deadline than the one that it was
 * admitted with; its problem says so if not. */
bool pipeline_can_meet(const struct pipeline *pipeline, struct request *request);
/* A request that keeps a preview takes one of few seats, until it is done; false with its problem
 * set when all are taken. */
bool pipeline_admit_preview(struct pipeline *pipeline, struct request *request);
/* From those requests only that had little time to spare, by what was counted on: how far off a
 * short wait was predicted says nothing about a long one, and nobody depends on it. */
void pipeline_learn_admission(struct pipeline *pipeline, const struct request *request,
                              uint64_t now_ns);

#endif
