/* Image bytes to the tensor that a model wants, within limits and in time.
 *
 * Runs on a worker, which has the image to itself; of the request and its model it only reads. The
 * decoders themselves run in a helper process where there is a sandbox.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_DECODE_H
#define RESNETD_SERVER_DECODE_H

#include <stdbool.h>

#include "server/pixels.h"

struct request_image;
struct sandbox;

struct decode_means {
    struct rn_image_limits limits;
    struct decode_bounds bounds;
    struct sandbox *sandbox; /* NULL: decode in this thread */
    int slot;                /* of the sandbox, for this worker alone */
};

/* Sets info, tensor, rgb and preview (when the request keeps them) and the time stamps, and makes
 * room for logits and, where wanted, cam; or sets problem, and returns false. */
bool decode_image(struct request_image *image, const struct decode_means *means);

#endif
