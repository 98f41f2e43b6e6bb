/* Resizing as Pillow does it, bit for bit: antialiased, 8 bit between the two passes, weights in
 * fixed point; computed for a window of the result only.
 *
 * Pure but for its scratch memory; any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_IMAGE_RESAMPLE_H
#define RESNETD_ENGINE_IMAGE_RESAMPLE_H

#include <stdint.h>

#include "engine/engine.h"

/* One axis: of `from` pixels the stretch of `length` from `begin` on becomes `to` pixels, of which
 * those from `first` on, `n` of them, are wanted. Pillow's box. */
struct resample_axis {
    int from;
    double begin, length;
    int to, first, n;
};

/* rgb: [y.from][x.from][3]; out: [y.n][x.n][3]. Each pixel of out is what it would be if the whole
 * picture were resized and then cut. RN_NO_MEMORY. */
RN_MUST_USE enum rn_status resample(const uint8_t *rgb, const struct resample_axis *x,
                                    const struct resample_axis *y,
                                    enum rn_interpolation interpolation, uint8_t *out,
                                    struct rn_error *err);

#endif
