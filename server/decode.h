/* Image bytes to the tensor that a model wants, within limits and in time.
 *
 * Runs on a worker, which has the image to itself; of the request and its model it only reads.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_DECODE_H
#define RESNETD_SERVER_DECODE_H

#include <stdbool.h>

#include "engine/engine.h"

struct request_image;

/* The best speeds seen so far, 0 where nothing is known. */
struct decode_bounds {
    double pixel_ns; /* decoding and preprocessing, per pixel of the upload */
    uint64_t run_ns; /* of one image through the network */
};

/* Sets info, tensor, logits, rgb (kept when request->keep_rgb) and the time stamps; or problem, and
 * returns false. */
bool decode_image(struct request_image *image, const struct rn_image_limits *limits,
                  const struct decode_bounds *bounds);

#endif
