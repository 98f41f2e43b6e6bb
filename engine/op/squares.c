/* See squares.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/op/squares.h"

#include <string.h>

#include "engine/base/threads.h"

struct squares_run {
    const float *planes;
    int channels, height, width; /* of the planes, their border included */
    float *map;
};

/* Item: a row of squares. */
static void row_item(void *context, int row)
{
    const struct squares_run *run = context;
    const size_t squares = (size_t)(run->width + 1) / 2;
    float *to = run->map + (size_t)row * squares * CHANNEL_BLOCK;
    memset(to, 0, squares * CHANNEL_BLOCK * sizeof *to);
    for (int c = 0; c < run->channels; c++)
        for (int y = 0; y < 2 && 2 * row + y < run->height; y++) {
            const float *from =
                run->planes + (size_t)(c * run->height + 2 * row + y) * (size_t)run->width;
            float *pair = to + 4 * c + 2 * y;
            for (int x = 0; x < run->width / 2; x++, pair += CHANNEL_BLOCK)
                memcpy(pair, from + 2 * x, 2 * sizeof *pair);
            if (run->width % 2 != 0)
                pair[0] = from[run->width - 1];
        }
}

struct shape squares_shape(const struct op_spec *spec)
{
    const int border = 2 * spec->in_border;
    return (struct shape){4 * spec->in.c, (spec->in.h + border + 1) / 2,
                          (spec->in.w + border + 1) / 2};
}

void squares_gather(const struct op_spec *spec, const float *planes, struct rn_threads *threads,
                    float *map)
{
    struct squares_run run = {.planes = planes,
                              .channels = spec->in.c,
                              .height = spec->in.h + 2 * spec->in_border,
                              .width = spec->in.w + 2 * spec->in_border,
                              .map = map};
    threads_run(threads, (run.height + 1) / 2, row_item, &run);
}
