/* See winograd_filter.h. The points of interpolation are the first of 0, ∞, 1, -1, 2, -2, 1/2,
 * -1/2; row p of G is (1, p, p², …) by the value at p of row p of Bᵀ (kernel/winograd.inl), which
 * is the product of p's distances to the others, or a multiple of that. At stride 2 that goes for
 * the outer two taps, and the middle one has a row for itself.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/op/winograd_filter.h"

static const struct winograd_filter filters[WINOGRAD_KINDS] = {
    [WINOGRAD_2] =
        {.m = 2,
         .r = 3,
         .side = 4,
         .short_side = 3,
         .row = {0, 1, 2, 3},
         .rows = 4,
         .name = "winograd2",
         .g = {{1, 0, 0}, {0, 0, 1}, {1.0 / 2, 1.0 / 2, 1.0 / 2}, {1.0 / 2, -1.0 / 2, 1.0 / 2}}},
    [WINOGRAD_4] = {.m = 4,
                    .r = 3,
                    .side = 6,
                    .short_side = 5,
                    .row = {0, 1, 2, 3, 4, 5},
                    .rows = 6,
                    .name = "winograd4",
                    .g = {{1.0 / 4, 0, 0},
                          {0, 0, 1},
                          {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                          {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                          {1.0 / 24, 1.0 / 12, 1.0 / 6},
                          {1.0 / 24, -1.0 / 12, 1.0 / 6}}},
    [WINOGRAD_6] = {.m = 6,
                    .r = 3,
                    .side = 8,
                    .short_side = 7,
                    .row = {0, 1, 2, 3, 4, 5, 6, 7},
                    .rows = 8,
                    .name = "winograd6",
                    .g = {{1.0 / 4, 0, 0},
                          {0, 0, -1.0 / 4},
                          {1.0 / 18, 1.0 / 18, 1.0 / 18},
                          {1.0 / 18, -1.0 / 18, 1.0 / 18},
                          {-1.0 / 360, -1.0 / 180, -1.0 / 90},
                          {-1.0 / 360, 1.0 / 180, -1.0 / 90},
                          {32.0 / 45, 16.0 / 45, 8.0 / 45},
                          {32.0 / 45, -16.0 / 45, 8.0 / 45}}},
    [WINOGRAD_STRIDED_2] = {.m = 2,
                            .r = 3,
                            .side = 5,
                            .short_side = 3,
                            .row = {0, 1, 3, 2, 3},
                            .rows = 4,
                            .name = "winograd2/2",
                            .g = {{1, 0, 0}, {0, 0, 1}, {1, 0, 1}, {0, 1, 0}}},
    [WINOGRAD_STRIDED_4] = {.m = 4,
                            .r = 3,
                            .side = 9,
                            .short_side = 7,
                            .row = {0, 1, 2, 3, 5, 5, 5, 4, 5},
                            .rows = 6,
                            .name = "winograd4/2",
                            .g = {{1.0 / 2, 0, 0},
                                  {0, 0, 1},
                                  {-1.0 / 2, 0, -1.0 / 2},
                                  {-1.0 / 6, 0, 1.0 / 6},
                                  {1.0 / 6, 0, 1.0 / 3},
                                  {0, 1, 0}}},
    [WINOGRAD_STEM] = {.m = 4,
                       .r = 4,
                       .side = 7,
                       .short_side = 7,
                       .row = {0, 1, 2, 3, 4, 5, 6},
                       .rows = 7,
                       .name = "winograd-stem",
                       .g = {{1.0 / 4, 0, 0, 0},
                             {0, 0, 0, -1.0 / 2},
                             {1.0 / 6, 1.0 / 6, 1.0 / 6, 1.0 / 6},
                             {-1.0 / 18, 1.0 / 18, -1.0 / 18, 1.0 / 18},
                             {-1.0 / 72, -1.0 / 36, -1.0 / 18, -1.0 / 9},
                             {1.0 / 120, -1.0 / 60, 1.0 / 30, -1.0 / 15},
                             {32.0 / 45, 16.0 / 45, 8.0 / 45, 4.0 / 45}}},
};

const struct winograd_filter *winograd_filter(enum winograd_kind kind)
{
    return &filters[kind];
}

int winograd_filter_weight(const struct winograd_filter *filter, int p)
{
    return filter->row[p / filter->side] * filter->rows + filter->row[p % filter->side];
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
    float weights[][CHANNEL_BLOCK])
{
    double half[WINOGRAD_MAX_TAPS][CHANNEL_BLOCK], weight[CHANNEL_BLOCK];
    for (int y = 0; y < filter->rows; y++) {
        for (int x = 0; x < filter->r; x++)
            combine(filter->g[y], filter->r, taps[x], half[x]);
        for (int x = 0; x < filter->rows; x++) {
            combine(filter->g[x], filter->r, half, weight);
            for (int k = 0; k < CHANNEL_BLOCK; k++)
                weights[y * filter->rows + x][k] = (float)weight[k];
        }
    }
}
