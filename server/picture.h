/* Numbers as pictures: feature maps as tiles, a class-activation map over a photograph.
 *
 * Pure; any thread. Pictures are malloc'ed RGB, [height][width][3]; NULL when out of memory.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_PICTURE_H
#define RESNETD_SERVER_PICTURE_H

#include <stdint.h>

struct rn_region;

#define PICTURE_MAX_TILES 64
#define PICTURE_TILE_SIDE                                                                          \
    128 /* the longer side of a tile, about; exactly of maps that are larger */
#define PICTURE_GAP 2

struct picture {
    uint8_t *rgb;
    int width, height;
    int columns; /* of tiles */
};

/* n maps, [n][h][w], each from its own least to its greatest value (from 0 where none is negative),
 * row by row; 1 <= n <= PICTURE_MAX_TILES. */
struct picture picture_tiles(const float *maps, int n, int h, int w);

/* Lays a grid [h][w] over the part `region` of a picture, in that picture's pixels: warm where it
 * is positive, cold where it is negative, the stronger the larger its values. */
void picture_overlay(struct picture *picture, const struct rn_region *region, const float *grid,
                     int h, int w);

#endif
