/* See squares.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/op/squares.h"

#include <string.h>

/* The pair of pixels at ix, or what the row has of it. */
static void edge(const float *pixels, int width, int ix, float *out)
{
    for (int x = 0; x < 2; x++)
        if (ix + x >= 0 && ix + x < width)
            out[x] = pixels[ix + x];
}

/* The pixels of a row from ix on, pair by pair, each to a square of its own, n squares at most. */
static void scatter(const float *pixels, int width, int ix, int n, float *out)
{
    for (; n > 0 && ix < 0; n--, ix += 2, out += CHANNEL_BLOCK)
        edge(pixels, width, ix, out);
    for (; n > 0 && ix + 1 < width; n--, ix += 2, out += CHANNEL_BLOCK)
        memcpy(out, pixels + ix, 2 * sizeof *out);
    if (n > 0)
        edge(pixels, width, ix, out);
}

void squares_row(const float *image, struct shape shape, int pad, int row, int n, float *out)
{
    memset(out, 0, (size_t)(n * CHANNEL_BLOCK) * sizeof *out);
    for (int y = 0; y < 2; y++) {
        const int iy = 2 * row - pad + y;
        for (int c = 0; c < shape.c && iy >= 0 && iy < shape.h; c++)
            scatter(image + (size_t)(c * shape.h + iy) * (size_t)shape.w, shape.w, -pad, n,
                    out + 2 * (y * shape.c + c));
    }
}
