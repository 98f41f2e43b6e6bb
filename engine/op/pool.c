/* Max pooling over a window, and global average pooling. Padding never wins a maximum: only
 * positions inside the map are compared. Work items are single output rows (max) and single channel
 * blocks (average).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/threads.h"
#include "engine/op/op.h"

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

/* Item: one row of one channel block of one image. */
static void max_item(void *context, int item)
{
    const struct pool_run *run = context;
    const struct op_spec *s = run->spec;
    const struct op_attrs *a = &s->attrs;
    size_t map = (size_t)(item / s->out.h), in_plane = (size_t)(s->in.h * s->in.w) * CHANNEL_BLOCK;
    int y = item % s->out.h;
    const float *in = run->args->in + map * in_plane;
    float *out =
        run->args->out + (map * (size_t)s->out.h + (size_t)y) * (size_t)s->out.w * CHANNEL_BLOCK;
    for (int x = 0; x < s->out.w; x++) {
        const float *window[OP_MAX_KERNEL * OP_MAX_KERNEL];
        int n = 0;
        for (int ky = 0; ky < a->kernel; ky++)
            for (int kx = 0; kx < a->kernel; kx++) {
                int iy = y * a->stride - a->pad + ky, ix = x * a->stride - a->pad + kx;
                if (iy >= 0 && iy < s->in.h && ix >= 0 && ix < s->in.w)
                    window[n++] = in + (size_t)(iy * s->in.w + ix) * CHANNEL_BLOCK;
            }
        s->kernels->max(window, n, out + (size_t)x * CHANNEL_BLOCK);
    }
}

static void run_max(const void *prepared, const struct op_args *args)
{
    const struct op_spec *s = prepared;
    struct pool_run run = {.spec = s, .args = args};
    threads_run(args->threads, args->n * channel_blocks(s->out.c) * s->out.h, max_item, &run);
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
