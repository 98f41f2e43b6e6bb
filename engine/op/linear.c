/* The fully connected layer: the convolution tile with one tap, an image a row.
 *
 * Input is what global average pooling leaves, [n][blocks][1][1][16] = [n][blocks * 16]; output is
 * blocked the same way, so that with one value per map it reads as [n][blocks * 16].
 *
 * SPDX-License-Identifier: MIT */
#include "engine/op/linear.h"

#include "engine/base/threads.h"
#include "engine/op/op.h"

struct linear {
    const struct kernels *kernels;
    int in_blocks, out_blocks;
    const float *weights,
        *bias; /* packed: [out_blocks][in_blocks][16 in][16 out], [out_blocks][16] */
};

static enum rn_status infer(const struct op_attrs *a, struct shape in, struct shape *out,
                            struct rn_error *err)
{
    if (in.h != 1 || in.w != 1)
        return rn_fail(err, RN_UNSUPPORTED_MODEL, "a linear layer on a map of %d×%d", in.h, in.w);
    *out = (struct shape){.c = a->out_channels, .h = 1, .w = 1};
    return RN_OK;
}

static uint64_t flops(const struct op_attrs *a, struct shape in, struct shape out)
{
    (void)a;
    return UINT64_C(2) * (uint64_t)in.c * (uint64_t)out.c;
}

struct linear_run {
    const struct linear *linear;
    const struct op_args *args;
};

/* Item: one block of 16 outputs, for all images. */
static void run_item(void *context, int block)
{
    const struct linear_run *run = context;
    const struct linear *l = run->linear;
    size_t in_size = (size_t)l->in_blocks * CHANNEL_BLOCK;
    size_t out_size = (size_t)l->out_blocks * CHANNEL_BLOCK;
    const float *in[KERNEL_MAX_ROWS];
    size_t at[KERNEL_MAX_ROWS];
    for (int from = 0; from < run->args->n; from += l->kernels->conv_rows) {
        int rows = run->args->n - from;
        if (rows > l->kernels->conv_rows)
            rows = l->kernels->conv_rows;
        for (int r = 0; r < rows; r++) {
            in[r] = run->args->in + (size_t)(from + r) * in_size;
            at[r] = (size_t)(from + r) * out_size;
        }
        const struct conv_tiles tiles = {.first = (const int[]){0, rows},
                                         .n_tiles = 1,
                                         .in = in,
                                         .in_stride = CHANNEL_BLOCK,
                                         .weights =
                                             l->weights + (size_t)block * in_size * CHANNEL_BLOCK,
                                         .bias = l->bias + (size_t)block * CHANNEL_BLOCK,
                                         .out = run->args->out + (size_t)block * CHANNEL_BLOCK,
                                         .at = at,
                                         .n_out = 1,
                                         .n_taps = 1,
                                         .n_blocks = l->in_blocks,
                                         .depth = CHANNEL_BLOCK};
        l->kernels->conv(&tiles);
    }
}

static void run(const void *prepared, const struct op_args *args)
{
    const struct linear *l = prepared;
    struct linear_run run = {.linear = l, .args = args};
    threads_run(args->threads, l->out_blocks, run_item, &run);
}

struct packing {
    const struct op_spec *spec;
    float *weights; /* as struct linear has them */
    size_t panel;
};

/* Piece: a block of outputs. */
static void pack_block(void *context, int block)
{
    const struct packing *p = context;
    const struct op_spec *s = p->spec;
    const int n_in = s->in.c, left = s->out.c - block * CHANNEL_BLOCK;
    float *to = p->weights + (size_t)block * p->panel;
    for (int i = 0; i < n_in; i++)
        for (int k = 0; k < CHANNEL_BLOCK && k < left; k++)
            to[i * CHANNEL_BLOCK + k] =
                s->params.weight[(size_t)(block * CHANNEL_BLOCK + k) * (size_t)n_in + (size_t)i];
}

static enum rn_status prepare(const struct op_spec *spec, struct arena *arena,
                              struct op_prepared *out, struct rn_error *err)
{
    size_t in_blocks = (size_t)channel_blocks(spec->in.c);
    size_t out_blocks = (size_t)channel_blocks(spec->out.c);
    size_t panel = in_blocks * CHANNEL_BLOCK * CHANNEL_BLOCK;
    struct linear *l = arena_alloc(arena, sizeof *l);
    float *weights = arena_array(arena, out_blocks * panel, sizeof *weights);
    float *bias = arena_array(arena, out_blocks * CHANNEL_BLOCK, sizeof *bias);
    if (!l || !weights || !bias)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for packed weights");
    op_pack(spec, (int)out_blocks, pack_block, &(struct packing){spec, weights, panel});
    op_pack_bias(spec, bias);
    *l = (struct linear){.kernels = spec->kernels,
                         .in_blocks = (int)in_blocks,
                         .out_blocks = (int)out_blocks,
                         .weights = weights,
                         .bias = bias};
    *out = (struct op_prepared){.data = l, .run = run, .algorithm = "gemm"};
    return RN_OK;
}

struct linear_row linear_row(const struct op_prepared *prepared, int output)
{
    const struct linear *l = prepared->data;
    const size_t panel = (size_t)l->in_blocks * CHANNEL_BLOCK * CHANNEL_BLOCK;
    return (struct linear_row){.weights = l->weights + (size_t)(output / CHANNEL_BLOCK) * panel +
                                          output % CHANNEL_BLOCK,
                               .stride = CHANNEL_BLOCK,
                               .bias = l->bias[output]};
}

const struct op op_linear = {.name = "linear", .infer = infer, .flops = flops, .prepare = prepare};
