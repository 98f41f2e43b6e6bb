/* A decoder: one format, one library, one row in image.c's table.
 *
 * A decoder sees only files that their scan has accepted; it still trusts nothing in them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_IMAGE_DECODE_H
#define RESNETD_ENGINE_IMAGE_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/image/canvas.h"
#include "engine/image/scan.h"

struct decoder {
    enum rn_image_format format;

    /* The most bytes that decode() holds at once, the canvas included. */
    uint64_t (*memory)(const struct scan *scan);

    bool reduces; /* can decode to 1/2, 1/4 and 1/8 of the size, rounded up */

    /* Opens the canvas and puts down every row. On failure the canvas may be open or not.
     * RN_IMAGE_*, RN_UNSUPPORTED_FORMAT, RN_NO_MEMORY. */
    enum rn_status (*decode)(const uint8_t *bytes, size_t n, const struct scan *scan,
                             const struct rn_image_limits *limits, int reduction,
                             struct canvas *canvas, struct rn_error *err);
};

#ifdef HAVE_TURBOJPEG
extern const struct decoder decode_turbo_jpeg;
#else
extern const struct decoder decode_stb_jpeg;
#endif
extern const struct decoder decode_stb_png;

#endif
