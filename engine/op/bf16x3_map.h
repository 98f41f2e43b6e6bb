/* The input of a convolution as the matrix unit wants it: every fp32 split into two halves of bf16,
 * in a layout where a tap is nothing but an offset, and 16 positions that follow each other are a
 * tile. There are three such layouts. Used by conv_bf16x3.c only.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_OP_BF16X3_MAP_H
#define RESNETD_ENGINE_OP_BF16X3_MAP_H

#include "engine/op/op.h"

#define WINDOW_PIXELS (BF16X3_DEPTH / BF16X3_CHANNELS)

enum bf16x3_layout {
    /* For 1×1 kernels: the positions that the stride leaves, tile by tile:
     * [tile][pair][high, low][16][32]. */
    BF16X3_POINTS,
    /* Planes with their border of zeros; where the stride is 2, one for each parity of row and
     * column, into which the taps fall by turns: [pair][high, low][phase][plane_h][plane_w][32].
     * Outputs on the border are computed, and not stored. */
    BF16X3_WINDOWS,
    /* For the planar stem: pixels of 4 channels, so that the 8 from a window's left edge on are the
     * 32 values that a row of a tile multiplies: [high, low][plane_h][plane_w][4]. */
    BF16X3_PIXELS
};

struct bf16x3_map {
    const struct op_spec *spec;
    enum bf16x3_layout layout;
    int n_pairs;          /* of channel blocks */
    int n_phases;         /* of windows, in either direction */
    int plane_h, plane_w; /* of windows: positions; of pixels */
    size_t pair, low;     /* values from pair to pair, from high to low halves */
};

/* Points [from, to) of the images at `in`, of pairs [pair, end). */
void bf16x3_split_points(const struct bf16x3_map *map, const float *in, int from, int to, int pair,
                         int end, uint16_t *out);

/* The planes of pairs [pair, end) of an image: `n` rows of them from `row` on. */
void bf16x3_split_windows(const struct bf16x3_map *map, const float *in, int row, int n, int pair,
                          int end, uint16_t *out);

/* `n` rows of pixels of an image, planar with its border, from `row` on, or as many as there are;
 * and zeros for the pixels after, over which the last windows have weights of zero. */
void bf16x3_split_pixels(const struct bf16x3_map *map, const float *in, int row, int n,
                         uint16_t *out);

#endif
