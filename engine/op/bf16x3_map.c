/* Splitting feature maps and images into halves of bf16, in the layouts of bf16x3_map.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/op/bf16x3_map.h"

#include <string.h>

void bf16x3_split_points(const struct bf16x3_map *m, const float *in, int from, int to, int pair,
                         int end, uint16_t *out)
{
    const struct op_spec *s = m->spec;
    const int points = s->out.h * s->out.w, stride = s->attrs.stride;
    const size_t map = (size_t)(s->in.h * s->in.w) * CHANNEL_BLOCK;
    for (int p = from, n; p < to; p += n) {
        /* As far as the tile goes, and the row, or with stride 1 the image. */
        const int in_tile = BF16X3_ROWS - (p - from) % BF16X3_ROWS;
        const int x = p % points % s->out.w, y = p % points / s->out.w;
        const int in_run = stride > 1 ? s->out.w - x : points - p % points;
        n = in_tile < in_run ? in_tile : in_run;
        n = n < to - p ? n : to - p;
        const float *first = in + (size_t)(p / points) * shape_blocked_size(s->in) +
                             (size_t)((y * s->in.w + x) * stride) * CHANNEL_BLOCK;
        uint16_t *tile =
            out + (size_t)((p - from) / BF16X3_ROWS) * (size_t)m->n_pairs * 2 * BF16X3_TILE;
        for (int k = pair; k < end; k++) {
            const struct bf16x3_split split = {
                .in = first + 2 * (size_t)k * map,
                .second =
                    2 * k + 1 < channel_blocks(s->in.c) ? first + (2 * (size_t)k + 1) * map : NULL,
                .in_step = (size_t)stride * CHANNEL_BLOCK,
                .out =
                    tile + (size_t)k * m->pair + (size_t)((p - from) % BF16X3_ROWS * BF16X3_DEPTH),
                .low = m->low,
                .n = n,
            };
            s->kernels->bf16x3_split(&split);
        }
    }
}

/* Zeros for n positions of a border. */
static void clear(const struct bf16x3_map *m, int n, uint16_t *out)
{
    memset(out, 0, (size_t)n * BF16X3_DEPTH * sizeof *out);
    memset(out + m->low, 0, (size_t)n * BF16X3_DEPTH * sizeof *out);
}

/* Of a row's positions, of which x is column x * stride + left of the image, those inside: from
 * *first up to the result. */
static int find_inside(const struct bf16x3_map *m, int left, int *first)
{
    const int stride = m->spec->attrs.stride, w = m->spec->in.w;
    const int begin = left < 0 ? (-left + stride - 1) / stride : 0;
    int end = w > left ? (w - left - 1) / stride + 1 : 0;
    end = end < m->plane_w ? end : m->plane_w;
    *first = begin < end ? begin : end;
    return end;
}

void bf16x3_split_windows(const struct bf16x3_map *m, const float *in, int row, int n, int pair,
                          int end, uint16_t *out)
{
    const struct op_spec *s = m->spec;
    const int stride = s->attrs.stride;
    const size_t map = (size_t)(s->in.h * s->in.w) * CHANNEL_BLOCK;
    for (int k = pair; k < end; k++)
        for (int phase = 0; phase < m->n_phases * m->n_phases; phase++) {
            const int left = phase % m->n_phases - s->attrs.pad;
            int first, last = find_inside(m, left, &first);
            for (int y = 0; y < n; y++) {
                const int in_y = (row + y) * stride + phase / m->n_phases - s->attrs.pad;
                uint16_t *to = out + (size_t)k * m->pair +
                               (size_t)((phase * m->plane_h + y) * m->plane_w) * BF16X3_DEPTH;
                if (in_y < 0 || in_y >= s->in.h || first == last) {
                    clear(m, m->plane_w, to);
                    continue;
                }
                const float *from =
                    in + 2 * (size_t)k * map +
                    (size_t)(in_y * s->in.w + first * stride + left) * CHANNEL_BLOCK;
                const struct bf16x3_split split = {
                    .in = from,
                    .second = 2 * k + 1 < channel_blocks(s->in.c) ? from + map : NULL,
                    .in_step = (size_t)stride * CHANNEL_BLOCK,
                    .out = to + (size_t)first * BF16X3_DEPTH,
                    .low = m->low,
                    .n = last - first,
                };
                clear(m, first, to);
                s->kernels->bf16x3_split(&split);
                clear(m, m->plane_w - last, to + (size_t)last * BF16X3_DEPTH);
            }
        }
}

void bf16x3_split_pixels(const struct bf16x3_map *m, const float *in, int row, int n, uint16_t *out)
{
    const struct op_spec *s = m->spec;
    const int h = s->in.h + 2 * s->in_border;
    const struct bf16x3_pixels pixels = {
        .in = in + row * m->plane_w,
        .plane = (size_t)(h * m->plane_w),
        .channels = s->in.c,
        .out = out,
        .low = m->low,
        .n = (n < h - row ? n : h - row) * m->plane_w,
    };
    s->kernels->bf16x3_pixels(&pixels);
    /* The last windows have weights of zero over the pixels after. */
    uint16_t *after = out + pixels.n * BF16X3_CHANNELS;
    memset(after, 0, BF16X3_DEPTH * sizeof *after);
    memset(after + m->low, 0, BF16X3_DEPTH * sizeof *after);
}
