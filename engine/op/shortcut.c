/* The parameter-free shortcut across a change of shape (He et al. 2015, section 3.3, option A):
 * every stride-th position, with zero channels added, half before and half after.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/threads.h"
#include "engine/op/op.h"

static enum rn_status infer(const struct op_attrs *a, struct shape in, struct shape *out,
                            struct rn_error *err)
{
    int added = a->out_channels - in.c;
    if (added < 0 || added % 2 != 0)
        return rn_fail(err, RN_UNSUPPORTED_MODEL,
                       "a shortcut without weights cannot lead from %d to %d channels", in.c,
                       a->out_channels);
    *out = (struct shape){.c = a->out_channels,
                          .h = op_window_out(in.h, 1, a->stride, 0),
                          .w = op_window_out(in.w, 1, a->stride, 0)};
    return RN_OK;
}

struct shortcut_run {
    const struct op_spec *spec;
    const struct op_args *args;
};

/* Item: one row of one channel block of one image. */
static void run_item(void *context, int item)
{
    const struct shortcut_run *run = context;
    const struct op_spec *s = run->spec;
    int y = item % s->out.h, block = item / s->out.h % channel_blocks(s->out.c);
    int image = item / s->out.h / channel_blocks(s->out.c);
    int before = (s->out.c - s->in.c) / 2, stride = s->attrs.stride;
    size_t in_plane = (size_t)(s->in.h * s->in.w) * CHANNEL_BLOCK;
    const float *in = run->args->in + (size_t)image * shape_blocked_size(s->in) +
                      (size_t)(y * stride * s->in.w) * CHANNEL_BLOCK;
    float *out = run->args->out + (size_t)item * (size_t)s->out.w * CHANNEL_BLOCK;
    memset(out, 0, (size_t)s->out.w * CHANNEL_BLOCK * sizeof *out);
    for (int k = 0; k < CHANNEL_BLOCK; k++) {
        int c = block * CHANNEL_BLOCK + k - before;
        if (c < 0 || c >= s->in.c)
            continue;
        const float *from = in + (size_t)(c / CHANNEL_BLOCK) * in_plane + c % CHANNEL_BLOCK;
        for (int x = 0; x < s->out.w; x++)
            out[x * CHANNEL_BLOCK + k] = from[x * stride * CHANNEL_BLOCK];
    }
}

static void run(const void *prepared, const struct op_args *args)
{
    const struct op_spec *s = prepared;
    struct shortcut_run run = {.spec = s, .args = args};
    threads_run(args->threads, args->n * channel_blocks(s->out.c) * s->out.h, run_item, &run);
}

static enum rn_status prepare(const struct op_spec *spec, struct arena *arena,
                              struct op_prepared *out, struct rn_error *err)
{
    return op_prepare_copy(spec, arena, run, "subsample", out, err);
}

const struct op op_shortcut = {.name = "shortcut", .infer = infer, .prepare = prepare};
