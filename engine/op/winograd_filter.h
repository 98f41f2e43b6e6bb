/* The minimal filters and what they make of weights; kernel/winograd.inl has what they make of
 * maps.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_OP_WINOGRAD_FILTER_H
#define RESNETD_ENGINE_OP_WINOGRAD_FILTER_H

#include "engine/base/tensor.h"
#include "engine/kernel/kernel.h"

#define WINOGRAD_MAX_SIDE 9 /* of a tile of inputs */
#define WINOGRAD_MAX_ROWS 8 /* of G */
#define WINOGRAD_MAX_TAPS 4

/* m×m outputs of an r×r kernel at a stride, from side² products of a tile of side² inputs. A tile
 * of m - 1 outputs in a dimension has the first short_side products of it; the stem's has all. */
struct winograd_filter {
    int m, r, side, short_side;
    const char *name;           /* of the algorithm */
    int row[WINOGRAD_MAX_SIDE]; /* of G, that a product's weights are from */
    int rows;
    double g[WINOGRAD_MAX_ROWS][WINOGRAD_MAX_TAPS];
};

const struct winograd_filter *winograd_filter(enum winograd_kind kind);

/* Which of the rows² weights of a pair of channels product p = row * side + column has. */
int winograd_filter_weight(const struct winograd_filter *filter, int p);

/* G g Gᵀ of the kernels g from one channel to 16, taps[x][y]: weights[y * rows + x]. */
void winograd_filter_transform(
    const struct winograd_filter *filter,
    const double taps[WINOGRAD_MAX_TAPS][WINOGRAD_MAX_TAPS][CHANNEL_BLOCK],
    float weights[][CHANNEL_BLOCK]);

#endif
