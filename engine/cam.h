/* Class-activation maps: how much each position of the last feature map adds to a class's logit.
 *
 * Pure; any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_CAM_H
#define RESNETD_ENGINE_CAM_H

#include "engine/base/tensor.h"
#include "engine/op/linear.h"

/* map is one image's, blocked: [blocks][h][w][16]; weights are row.weights[c * row.stride];
 * grid is [h][w]. */
void cam_grid(const float *map, struct shape shape, struct linear_row row, float *grid);

#endif
