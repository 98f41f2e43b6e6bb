/* A planar image as a map of its 2×2 squares, each a position that has their pixels as channels
 * ("space to depth"). A convolution at stride 2 over the image is one at stride 1 over the map.
 *
 * Channel 2 * (y * c + i) + x of a square is its pixel (y, x) of channel i out of c.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_OP_SQUARES_H
#define RESNETD_ENGINE_OP_SQUARES_H

#include "engine/base/tensor.h"

/* The first n squares of row `row`, to [n][16]. The squares begin `pad` pixels above and left of
 * the image, of up to 4 channels; where it has no pixel there are zeros. */
void squares_row(const float *image, struct shape shape, int pad, int row, int n, float *out);

#endif
