/* The minimal filters F(m×m, r×r) and what they make of weights; kernel/winograd.inl has what they
 * make of maps.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_OP_WINOGRAD_FILTER_H
#define RESNETD_ENGINE_OP_WINOGRAD_FILTER_H

#include "engine/base/tensor.h"

#define WINOGRAD_MAX_SIDE 7 /* of a tile of inputs: m + r - 1 */
#define WINOGRAD_MAX_TAPS 4 /* r */

/* F(m×m, r×r): m×m outputs of an r×r kernel at stride 1 from (m+r-1)² products. */
struct winograd_filter {
    int m, r;
    const char *name; /* of the algorithm */
    double g[WINOGRAD_MAX_SIDE][WINOGRAD_MAX_TAPS];
};

/* There are F(2×2, 3×3), F(4×4, 3×3) and F(4×4, 4×4). */
const struct winograd_filter *winograd_filter(int m, int r);

/* G g Gᵀ of the kernels g from one channel to 16, taps[x][y]: products[y * (m+r-1) + x]. */
void winograd_filter_transform(
    const struct winograd_filter *filter,
    const double taps[WINOGRAD_MAX_TAPS][WINOGRAD_MAX_TAPS][CHANNEL_BLOCK],
    float products[][CHANNEL_BLOCK]);

#endif
