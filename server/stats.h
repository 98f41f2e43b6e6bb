/* What a model has done since it was loaded, as Triton's statistics extension tells it.
 *
 * Loop thread. Lives in the model's entry of the registry; zeroed is new.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_STATS_H
#define RESNETD_SERVER_STATS_H

#include <stdint.h>

#include "engine/engine.h"

struct request;
struct request_image;
struct text;

struct stats_span {
    uint64_t count, ns;
};

struct stats {
    uint64_t last_inference_ms; /* since the epoch */
    uint64_t n_inferences;      /* images that ran, not those whose scores were known already */
    uint64_t n_executions;      /* batches */
    struct stats_span success, fail;                          /* requests */
    struct stats_span queue, input, infer, output, hit, miss; /* images */
    struct stats_span batches[RN_MAX_BATCH + 1];              /* by size: their inference */
    uint64_t batch_input_ns[RN_MAX_BATCH + 1];
};

/* A batch of n images ran. */
void stats_batch(struct stats *stats, struct request_image *const *images, int n, uint64_t start_ns,
                 uint64_t end_ns);
/* A request is over, well or not. */
void stats_request(struct stats *stats, const struct request *request, uint64_t now_ns);

/* Appends one object of "model_stats". */
void stats_write(const struct stats *stats, const char *name, const char *version,
                 struct text *out);

#endif
