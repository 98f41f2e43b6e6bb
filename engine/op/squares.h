/* A planar image as a map of its 2×2 squares, each a position whose channel 4c + 2y + x is pixel
 * (y, x) of channel c ("space to depth"). A convolution at stride 2 over the image is one at stride
 * 1 over the map.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_OP_SQUARES_H
#define RESNETD_ENGINE_OP_SQUARES_H

#include "engine/op/op.h"

/* Of the operator's planar input with its border: up to 4 channels. */
struct shape squares_shape(const struct op_spec *spec);

/* One image to [h][w][16] of that shape, zeros where there is no pixel or channel. */
void squares_gather(const struct op_spec *spec, const float *planes, struct rn_threads *threads,
                    float *map);

#endif
