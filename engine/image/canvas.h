/* The upright picture that a decoder paints row by row: turning by the Exif orientation happens
 * while a row is put down, so that a rotated photograph needs no second buffer.
 *
 * One thread at a time. The canvas owns its pixels until its user takes them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_IMAGE_CANVAS_H
#define RESNETD_ENGINE_IMAGE_CANVAS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"

struct canvas {
    int width, height;        /* of the picture as stored */
    uint8_t *rgb;             /* upright; NULL until canvas_open */
    ptrdiff_t origin;         /* bytes from rgb to where the stored pixel (0,0) belongs */
    ptrdiff_t step_x, step_y; /* bytes from there to the places of (1,0) and (0,1) */
};

/* Describes the picture; takes no memory yet. orientation is 1…8. */
void canvas_init(struct canvas *canvas, int width, int height, int orientation);

/* Takes the memory. Free canvas->rgb, or take it over. RN_NO_MEMORY. */
RN_MUST_USE enum rn_status canvas_open(struct canvas *canvas, struct rn_error *err);

/* Puts down stored row y; row: [width][3]. */
void canvas_put_row(struct canvas *canvas, int y, const uint8_t *row);

/* Whether an orientation exchanges width and height. */
static inline int canvas_is_transposed(int orientation)
{
    return orientation >= 5;
}

/* Whether it puts the last of the stored pixels first along an upright axis. */
static inline int canvas_is_mirrored_x(int orientation)
{
    return orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
}

static inline int canvas_is_mirrored_y(int orientation)
{
    return orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
}

#endif
