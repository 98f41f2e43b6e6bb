/* See squares.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/op/squares.h"

#include <string.h>

/* Every second pixel of a row from ix on, each to a square of its own, n squares at most. */
static void scatter(const float *pixels, int width, int ix, int n, float *out)
{
    for (; ix < 0; ix += 2, n--)
        out += CHANNEL_BLOCK;
    const int inside = (width - ix + 1) / 2;
    for (int i = 0; i < n && i < inside; i++)
        out[i * CHANNEL_BLOCK] = pixels[ix + 2 * i];
}

void squares_row(const float *image, struct shape shape, int pad, int row, int n, float *out)
{
    memset(out, 0, (size_t)(n * CHANNEL_BLOCK) * sizeof *out);
    for (int y = 0; y < 2; y++) {
        const int iy = 2 * row - pad + y;
        if (iy < 0 || iy >= shape.h)
            continue;
        for (int c = 0; c < shape.c; c++)
            for (int x = 0; x < 2; x++)
                scatter(image + (size_t)(c * shape.h + iy) * (size_t)shape.w, shape.w, x - pad, n,
                        out + (2 * x + y) * shape.c + c);
    }
}
