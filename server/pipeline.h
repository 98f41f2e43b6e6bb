/* The life of a request: admit -> parse -> decode -> batch -> infer -> render -> done. READ THIS
 * FIRST.
 *
 * All functions run on the loop thread. Work goes to libuv's pool and comes back to the loop, so
 * there is no lock: a worker touches only the image or the batch that it was handed.
 *
 * The pipeline counts every image that it took in the metrics, from decode to inference; a request
 * that fails as a whole is its handler's to count.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_PIPELINE_H
#define RESNETD_SERVER_PIPELINE_H

#include "server/request.h"

struct uv_loop_s;
struct metrics;
struct pipeline;
struct sandbox;

struct pipeline_options {
    int decode_workers;  /* decodes in flight; the uv pool has two threads more */
    int queue_limit;     /* images admitted and not yet in a batch */
    size_t cache_bytes;  /* of results; 0 = no cache; set once */
    int batch_window_ms; /* longest wait for others that are being decoded; < 0: what that saves */
    struct rn_image_limits limits;
    struct sandbox
        *sandbox; /* to decode in, with decode_workers slots; NULL: in threads; set once */
};

struct pipeline *pipeline_new(struct uv_loop_s *loop, const struct pipeline_options *options,
                              struct metrics *metrics); /* NULL when out of memory */
/* Only when nothing is in flight. */
void pipeline_free(struct pipeline *pipeline);

/* From the next request on; the number of decode workers stays. */
void pipeline_set_options(struct pipeline *pipeline, const struct pipeline_options *options);

/* Would a request of `n_images` with this deadline be taken now? Sets `problem` (queue-full,
 * deadline-unmeetable with predicted_ms, deadline_ms, queue_depth and Retry-After) if not. Asked
 * at header time and by pipeline_submit. */
bool pipeline_admit(struct pipeline *pipeline, struct registry_model *model, int n_images,
                    uint64_t deadline_ns, struct problem *problem);

/* Would a request that wants the engine alone be taken now? Such ones are made one at a time, in
 * idle moments; sets `problem` (engine-busy with Retry-After) if not. */
bool pipeline_admit_alone(const struct pipeline *pipeline, struct problem *problem);

/* The answer that waited for a batch which ended then is written. */
void pipeline_answered(struct pipeline *pipeline, uint64_t batch_end_ns);
/* A request for this model came in, to be admitted or not. */
void pipeline_offered(struct pipeline *pipeline, const struct registry_model *model);
/* What was offered in the last ten seconds or so, as a part of what could be served: 1 is full. */
double pipeline_saturation(const struct pipeline *pipeline);

/* Takes the request until its done() has been called, possibly from inside this call (refused). */
void pipeline_submit(struct pipeline *pipeline, struct request *request);

/* In idle moments from now on, runs small batches of zeros whose cost is not known yet, one at a
 * time, so that the first burst meets a server that knows what batches are worth. */
void pipeline_measure(struct pipeline *pipeline, struct registry_model *model);

/* The client left: work not yet started is dropped; done() still comes, once. */
void pipeline_cancel(struct pipeline *pipeline, struct request *request);

/* Requests taken and not yet done, and a measurement that runs. */
size_t pipeline_in_flight(const struct pipeline *pipeline);
size_t pipeline_queued_images(const struct pipeline *pipeline);
/* When the work that was handed out longest ago should have been back: a batch after the time that
 * it was predicted to take, a decode at once. UINT64_MAX when nothing runs. */
uint64_t pipeline_oldest_due_ns(const struct pipeline *pipeline);
/* What an image arriving now would wait before its batch runs. */
double pipeline_predicted_wait_ms(const struct pipeline *pipeline, struct registry_model *model);

#endif
