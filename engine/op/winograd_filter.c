/* See winograd_filter.h. The points of interpolation are 0, ±1, ∞ for four products a dimension and
 * 0, ±1, ±2, ∞ for six; row p of G is (1, p, p², …) by the product of p's distances to the others.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/op/winograd_filter.h"

static const struct winograd_filter filters[] = {
    {.m = 2,
     .r = 3,
     .name = "winograd2",
     .g = {{1, 0, 0}, {1.0 / 2, 1.0 / 2, 1.0 / 2}, {1.0 / 2, -1.0 / 2, 1.0 / 2}, {0, 0, 1}}},
    {.m = 4,
     .r = 3,
     .name = "winograd4",
     .g = {{1.0 / 4, 0, 0},
           {-1.0 / 6, -1.0 / 6, -1.0 / 6},
           {-1.0 / 6, 1.0 / 6, -1.0 / 6},
           {1.0 / 24, 1.0 / 12, 1.0 / 6},
           {1.0 / 24, -1.0 / 12, 1.0 / 6},
           {0, 0, 1}}},
    {.m = 3,
     .r = 4,
     .name = "winograd3",
     .g = {{1.0 / 4, 0, 0, 0},
           {-1.0 / 6, -1.0 / 6, -1.0 / 6, -1.0 / 6},
           {-1.0 / 6, 1.0 / 6, -1.0 / 6, 1.0 / 6},
           {1.0 / 24, 1.0 / 12, 1.0 / 6, 1.0 / 3},
           {1.0 / 24, -1.0 / 12, 1.0 / 6, -1.0 / 3},
           {0, 0, 0, 1}}},
};

const struct winograd_filter *winograd_filter(int m)
{
    const struct winograd_filter *filter = filters;
    while (filter->m != m)
        filter++;
    return filter;
}

/* out = Σ g[t] x[t] for a block of output channels; t < r = 3 or 4. */
static void combine(const double *g, int r, const double (*x)[CHANNEL_BLOCK], double *restrict out)
{
    for (int k = 0; k < CHANNEL_BLOCK; k++)
        out[k] = g[0] * x[0][k] + g[1] * x[1][k] + g[2] * x[2][k];
    for (int k = 0; k < CHANNEL_BLOCK && r > 3; k++)
        out[k] += g[3] * x[3][k];
}

void winograd_filter_transform(
    const struct winograd_filter *filter,
    const double taps[WINOGRAD_MAX_TAPS][WINOGRAD_MAX_TAPS][CHANNEL_BLOCK],
    float products[][CHANNEL_BLOCK])
{
    const int side = filter->m + filter->r - 1;
    double half[WINOGRAD_MAX_TAPS][CHANNEL_BLOCK], product[CHANNEL_BLOCK];
    for (int y = 0; y < side; y++) {
        for (int x = 0; x < filter->r; x++)
            combine(filter->g[y], filter->r, taps[x], half[x]);
        for (int x = 0; x < side; x++) {
            combine(filter->g[x], filter->r, half, product);
            for (int k = 0; k < CHANNEL_BLOCK; k++)
                products[y * side + x][k] = (float)product[k];
        }
    }
}
