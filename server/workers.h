/* Requests that want a decode worker: first in, first out, in front of libuv's pool.
 *
 * Loop thread. libuv's own queue knows no limit, no order and no way out, so work is handed to it
 * only when a worker is free; the pool has more threads than that, for batches. A worker touches
 * only the request that it parses or the image that it decodes, until the handler has it back.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_WORKERS_H
#define RESNETD_SERVER_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

struct uv_loop_s;
struct metrics;
struct request;
struct request_image;
struct sandbox;
struct workers;

struct workers_handlers {
    void (*parsed)(void *context, struct request *request);
    void (*decoded)(void *context, struct request_image *image);
    void (*rendered)(void *context, struct request *request);
    void *context;
};

/* `sandbox` has a slot for each worker, or is NULL: images are decoded in the threads. */
struct workers *workers_new(struct uv_loop_s *loop, int n_workers,
                            const struct rn_image_limits *limits, struct sandbox *sandbox,
                            struct metrics *metrics,
                            const struct workers_handlers *handlers); /* NULL: out of memory */
/* For images handed out from now on. */
void workers_set_limits(struct workers *workers, const struct rn_image_limits *limits);
/* Only when nothing is in flight. */
void workers_free(struct workers *workers);

/* The request's parse() (if it has no images yet), its images in turn, or its render() (if all of
 * them have been handed out) are done; `first`: before all others. */
void workers_add(struct workers *workers, struct request *request, bool first);
/* Takes back a request that has work not yet started; false when it had none. */
bool workers_remove(struct workers *workers, const struct request *request);
/* When the oldest work in flight was handed out; UINT64_MAX when there is none. */
uint64_t workers_oldest_ns(const struct workers *workers);
/* The request that workers_start() would hand out next, NULL when there is none or no free worker.
 */
struct request *workers_next(const struct workers *workers);
/* Hands out work while workers are free. After every add and in every handler's wake. */
void workers_start(struct workers *workers);

#endif
