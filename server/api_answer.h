/* Scores become the answer: JSON in the shape that the question had, and its timings.
 *
 * Loop thread. Everything is borrowed. Softmax runs in place of the images' logits, so an answer is
 * written once.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_ANSWER_H
#define RESNETD_SERVER_API_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "server/api_body.h"

struct http_exchange;
struct request_image;
struct rn_model_info;

struct api_answer {
    const char *id;
    const struct request *request; /* finished, at least one image worked or there are several */
    const struct api_params *params;
    enum api_shape shape;
    int top_k;       /* 1…classes */
    uint64_t end_ns; /* when the body was written, where `total` ends; api_answer_json sets it */
};

/* How many of the images worked. */
int api_answer_n_worked(const struct request *request);

/* The body; where no image worked, the problem no-image-worked with all their errors. malloc'ed;
 * NULL when out of memory. */
char *api_answer_json(struct api_answer *answer, size_t *n);

/* X-Resnetd-Label and -Score, the image's prediction, and -Class, what its map is of; the label
 * with %XX for what a header cannot hold. */
void api_answer_headers(const struct request_image *image, const struct rn_model_info *info,
                        struct http_exchange *exchange);

/* The value of Server-Timing, after api_answer_json. */
void api_answer_server_timing(const struct api_answer *answer, char *out, size_t size);

#endif
