/* The network's input: gathers the images of a batch, each planar [c][h][w] at its own address,
 * into one planar buffer with the border of zeros that the stem's padding asks for. Plans leave it
 * out where the stem reads the images itself.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/threads.h"
#include "engine/op/op.h"

static enum rn_status infer(const struct op_attrs *a, struct shape in, struct shape *out,
                            struct rn_error *err)
{
    (void)a;
    (void)err;
    *out = in;
    return RN_OK;
}

struct input_run {
    const struct op_spec *spec;
    const struct op_args *args;
};

/* Item: one channel of one image. */
static void run_item(void *context, int item)
{
    const struct input_run *run = context;
    struct shape in = run->spec->in;
    size_t border = (size_t)run->spec->in_border, h = (size_t)in.h, w = (size_t)in.w;
    size_t row = w + 2 * border;
    const float *from = run->args->images[item / in.c] + (size_t)(item % in.c) * h * w;
    float *to = run->args->out + (size_t)item * row * (h + 2 * border);
    memset(to, 0, border * row * sizeof *to);
    to += border * row;
    for (size_t y = 0; y < h; y++, from += w, to += row) {
        memset(to, 0, border * sizeof *to);
        memcpy(to + border, from, w * sizeof *to);
        memset(to + border + w, 0, border * sizeof *to);
    }
    memset(to, 0, border * row * sizeof *to);
}

static void run(const void *prepared, const struct op_args *args)
{
    const struct op_spec *s = prepared;
    struct input_run run = {.spec = s, .args = args};
    threads_run(args->threads, args->n * s->in.c, run_item, &run);
}

static enum rn_status prepare(const struct op_spec *spec, struct arena *arena,
                              struct op_prepared *out, struct rn_error *err)
{
    return op_prepare_copy(spec, arena, run, "gather", out, err);
}

const struct op op_input = {.name = "input", .infer = infer, .prepare = prepare};
