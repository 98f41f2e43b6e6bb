/* Max pooling over a window, and global average pooling. Padding never wins a maximum: only
 * positions inside the map are compared. The max pool behind a stem by Winograd is that one's
 * (conv_stem.c), and here only for who wants to see the map between. Work items are bands of output
 * rows (max) and single channel blocks (average).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/threads.h"
#include "engine/op/op.h"

#define BAND_ROWS                                                                                  \
    7 /* the rows of two bands' windows overlap: few bands, and enough for all threads */

struct pool_run {
    const struct op_spec *spec;
    const struct op_args *args;
};

/* ---- max ------------------------------------------------------------------------------------- */

static enum rn_status infer_max(const struct op_attrs *a, struct shape in, struct shape *out,
                                struct rn_error *err)
{
    if (in.h + 2 * a->pad < a->kernel || in.w + 2 * a->pad < a->kernel)
        return rn_fail(err, RN_UNSUPPORTED_MODEL, "a map of %d×%d is smaller than the %d×%d pool",
                       in.h, in.w, a->kernel, a->kernel);
    *out = (struct shape){.c = in.c,
                          .h = op_window_out(in.h, a->kernel, a->stride, a->pad),
                          .w = op_window_out(in.w, a->kernel, a->stride, a->pad)};
    return RN_OK;
}

/* The part of a window that is inside a map of `side` values. */
static int clip(int start, int kernel, int side, int *n)
{
    const int from = start < 0 ? 0 : start, to = start + kernel < side ? start + kernel : side;
    *n = to - from;
    return from;
}

static int max_bands(const struct op_spec *s)
{
    return (s->out.h + BAND_ROWS - 1) / BAND_ROWS;
}

/* Item: a band of rows of one channel block of one image. */
static void max_item(void *context, int item)
{
    const struct pool_run *run = context;
    const struct op_spec *s = run->spec;
    const struct op_attrs *a = &s->attrs;
    const size_t row = (size_t)s->in.w * CHANNEL_BLOCK;
    const size_t map = (size_t)(item / max_bands(s));
    const float *in = run->args->in + map * (size_t)s->in.h * row;
    float *out = run->args->out + map * (size_t)(s->out.h * s->out.w) * CHANNEL_BLOCK;
    const int first = item % max_bands(s) * BAND_ROWS;
    for (int y = first; y < first + BAND_ROWS && y < s->out.h; y++)
        for (int x = 0; x < s->out.w; x++) {
            int rows, columns;
            const int top = clip(y * a->stride - a->pad, a->kernel, s->in.h, &rows);
            const int left = clip(x * a->stride - a->pad, a->kernel, s->in.w, &columns);
            s->kernels->max(in + (size_t)top * row + (size_t)left * CHANNEL_BLOCK, row, rows,
                            columns, out + (size_t)(y * s->out.w + x) * CHANNEL_BLOCK);
        }
}

static void run_max(const void *prepared, const struct op_args *args)
{
    const struct op_spec *s = prepared;
    struct pool_run run = {.spec = s, .args = args};
    threads_run(args->threads, args->n * channel_blocks(s->out.c) * max_bands(s), max_item, &run);
}

static enum rn_status prepare_max(const struct op_spec *spec, struct arena *arena,
                                  struct op_prepared *out, struct rn_error *err)
{
    return op_prepare_copy(spec, arena, run_max, "window", out, err);
}

const struct op op_maxpool = {.name = "maxpool", .infer = infer_max, .prepare = prepare_max};

/* ---- global average -------------------------------------------------------------------------- */

static enum rn_status infer_mean(const struct op_attrs *a, struct shape in, struct shape *out,
                                 struct rn_error *err)
{
    (void)a;
    (void)err;
    *out = (struct shape){.c = in.c, .h = 1, .w = 1};
    return RN_OK;
}

static void mean_item(void *context, int item)
{
    const struct pool_run *run = context;
    int plane = run->spec->in.h * run->spec->in.w;
    run->spec->kernels->mean(run->args->in + (size_t)item * (size_t)plane * CHANNEL_BLOCK, plane,
                             run->args->out + (size_t)item * CHANNEL_BLOCK);
}

static void run_mean(const void *prepared, const struct op_args *args)
{
    const struct op_spec *s = prepared;
    struct pool_run run = {.spec = s, .args = args};
    threads_run(args->threads, args->n * channel_blocks(s->in.c), mean_item, &run);
}

static enum rn_status prepare_mean(const struct op_spec *spec, struct arena *arena,
                                   struct op_prepared *out, struct rn_error *err)
{
    return op_prepare_copy(spec, arena, run_mean, "mean", out, err);
}

const struct op op_avgpool = {.name = "avgpool", .infer = infer_mean, .prepare = prepare_mean};
