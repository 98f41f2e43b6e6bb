/* B. Zhou et al., Learning Deep Features for Discriminative Localization, 2016, equation 2.
 *
 * The logit is linear in the mean of the map, so it is the mean of what the positions give by
 * themselves: grid[y][x] = sum over c of weight[c] * map[c][y][x], and mean(grid) + bias = logit,
 * exactly but for rounding.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/cam.h"

void cam_grid(const float *map, struct shape shape, struct linear_row row, float *grid)
{
    const size_t n = (size_t)shape.h * (size_t)shape.w;
    for (size_t i = 0; i < n; i++)
        grid[i] = 0;
    for (int block = 0; block < channel_blocks(shape.c); block++) {
        float weights[CHANNEL_BLOCK] = {0}; /* the last block's channels may be fewer */
        for (int k = 0; k < CHANNEL_BLOCK && block * CHANNEL_BLOCK + k < shape.c; k++)
            weights[k] = row.weights[(size_t)(block * CHANNEL_BLOCK + k) * row.stride];
        for (size_t i = 0; i < n; i++, map += CHANNEL_BLOCK) {
            float lanes[4] = {0};
            for (int k = 0; k < CHANNEL_BLOCK; k++)
                lanes[k % 4] += weights[k] * map[k];
            grid[i] += (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
        }
    }
}
