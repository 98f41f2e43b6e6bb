/* An upload to the square of pixels that the network sees: the part of a decoding that touches the
 * decoders.
 *
 * Any thread, or a helper process (sandbox.h), hence plain data in and out: no pointer of an order
 * or a result leads anywhere.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_PIXELS_H
#define RESNETD_SERVER_PIXELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "server/decodecurve.h"

/* What is known about times. */
struct decode_bounds {
    struct decodecurve curve; /* decoding and preprocessing */
    uint64_t run_ns;          /* of one image through the network */
    bool fastest;             /* count on the best time ever seen, not on the expected one */
};

/* The longer side of a preview at most, and what it takes. */
#define PIXELS_PREVIEW_SIDE 1024
#define PIXELS_PREVIEW_BYTES ((size_t)3 * PIXELS_PREVIEW_SIDE * PIXELS_PREVIEW_SIDE)

struct pixels_order {
    struct rn_image_limits limits;
    struct rn_recipe recipe;
    struct decode_bounds bounds;
    uint64_t deadline_ns; /* uv_hrtime, the same clock in every process */
    bool preview;         /* the whole upright image is wanted as well */
};

enum pixels_verdict {
    PIXELS_MADE,
    PIXELS_REFUSED,    /* status and err say why */
    PIXELS_LATE,       /* the deadline had passed when the header was read */
    PIXELS_UNMEETABLE, /* it will pass, by what is known about times: predicted_ns, left_ns */
};

struct pixels_result {
    enum pixels_verdict verdict;
    enum rn_status status;
    struct rn_error err;
    struct rn_image_info info; /* valid once has_info */
    bool has_info;
    uint64_t predicted_ns, left_ns;
    uint64_t start_ns, decode_end_ns, crop_end_ns; /* 0 = not come to */
};

/* rgb is [crop][crop][3] of the recipe, written where the verdict is PIXELS_MADE; behind it, where
 * the order says so, the preview: the image in the size of rn_image_fit for PIXELS_PREVIEW_SIDE. */
void pixels_make(const struct pixels_order *order, const uint8_t *bytes, size_t n,
                 struct pixels_result *result, uint8_t *rgb);

#endif
