/* How a map is cut into tiles for Winograd's filters, and which products the tiles of a group have.
 * Pure.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_OP_WINOGRAD_TILES_H
#define RESNETD_ENGINE_OP_WINOGRAD_TILES_H

#include <stdint.h>

#include "engine/base/tensor.h"
#include "engine/op/winograd_filter.h"

/* Tiles of m×m outputs, row by row; the last rows and columns may be short: m - 1. */
struct winograd_tiles {
    const struct winograd_filter *filter;
    int rows, columns;
    int whole_rows, whole_columns; /* the first of these */
};

/* Cuts a map whose sides whole and short tiles add up to: all of (m - 1)(m - 2) and more are. */
struct winograd_tiles winograd_tiles(const struct winograd_filter *filter, struct shape out);

/* Of one image. */
int winograd_tiles_count(const struct winograd_tiles *tiles);
uint64_t winograd_tiles_products(const struct winograd_tiles *tiles);

struct winograd_tile {
    int image, top, left; /* of its first output */
    int rows, columns;    /* of outputs: m or m - 1 */
};

/* Tile t of a batch. */
struct winograd_tile winograd_tile(const struct winograd_tiles *tiles, int t);

/* Tiles that follow each other, and how many of them have each part of the products, as winograd_in
 * tells the parts apart. */
#define WINOGRAD_PARTS 4
struct winograd_group {
    int from, to; /* tiles of a batch */
    int count[WINOGRAD_PARTS];
};

struct winograd_group winograd_group(const struct winograd_tiles *tiles, int from, int to);
void winograd_group_add(struct winograd_group *group, const struct winograd_tiles *tiles,
                        const struct winograd_tile *tile);

/* How many tiles of a group have product p = row * side + column. */
int winograd_group_rows(const struct winograd_group *group, const struct winograd_tiles *tiles,
                        int p);

#endif
