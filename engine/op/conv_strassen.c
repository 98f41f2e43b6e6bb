/* 1×1 convolution at stride 1, which is a matrix product, by one step of Strassen's algorithm: 7
 * products of half the channels instead of 8. See kernel/strassen.inl for the formulas.
 *
 * The matrices are cut in half along output channels, input channels and positions. Position p of
 * an image has p + plane/2 as its partner, in the same image, so that an answer does not depend on
 * what it is batched with. A thread takes a group of such pairs through all three steps: the sums
 * of inputs, the products, the sums of products with bias, residual and ReLU. The sums of weights
 * are made when the layer is prepared.
 *
 * SPDX-License-Identifier: MIT */
#include <assert.h>

#include "engine/base/threads.h"
#include "engine/engine.h"
#include "engine/op/conv.h"

#define PRODUCTS 7
#define VALUES_BYTES (384 * 1024) /* of a group: with the weights of a product, less than an L2 */
#define MIN_GROUP 16
#define MAX_GROUP 64
#define CHUNK_TILES 2     /* of a chunk: so many times the output blocks of a register tile */
#define PAD CHANNEL_BLOCK /* keeps rows from meeting in one set of the cache */

struct strassen {
    struct op_spec spec;
    int in_blocks, out_blocks; /* of a half */
    int n_pairs;               /* of an image */
    int max_group;
    int chunk; /* output blocks whose products are kept at a time */
    /* [chunks][7][blocks of the chunk][channels][16]: in the order of reading; [out channels] */
    const float *weights, *bias;
};

/* Floats from pair to pair of the values, from product to product of values and of products. */
static size_t values_row(const struct strassen *s)
{
    return (size_t)s->in_blocks * CHANNEL_BLOCK + PAD;
}

static size_t values_plane(const struct strassen *s)
{
    return values_row(s) * (size_t)s->max_group + PAD;
}

static size_t products_plane(const struct strassen *s)
{
    return (size_t)s->max_group * CHANNEL_BLOCK + PAD;
}

/* Where the weights of output block b and product p begin. */
static size_t panel_at(const struct strassen *s, int b, int p)
{
    const size_t panel = (size_t)s->in_blocks * CHANNEL_BLOCK * CHANNEL_BLOCK;
    const int first = b / s->chunk * s->chunk, left = s->out_blocks - first;
    const int n = left < s->chunk ? left : s->chunk;
    return (size_t)(first * PRODUCTS + p * n + b - first) * panel;
}

struct strassen_run {
    const struct strassen *strassen;
    const struct op_args *args;
    int n_pairs, n_tiles, n_groups; /* of the batch; tiles: of conv_rows pairs */
};

/* Pairs of one image that follow each other, of those from t on and before `to`. */
static int consecutive(const struct strassen *s, int t, int to)
{
    const int left = s->n_pairs - t % s->n_pairs;
    return to - t < left ? to - t : left;
}

static void sum_inputs(const struct strassen_run *run, int from, int to, float *values)
{
    const struct strassen *s = run->strassen;
    const size_t block = (size_t)s->n_pairs * 2 * CHANNEL_BLOCK;
    for (int t = from, n; t < to; t += n) {
        const float *image =
            run->args->in + (size_t)(t / s->n_pairs) * shape_blocked_size(s->spec.in);
        n = consecutive(s, t, to);
        for (int b = 0; b < s->in_blocks; b++) {
            const struct strassen_in sums = {
                .in = image + (size_t)b * block + (size_t)(t % s->n_pairs) * CHANNEL_BLOCK,
                .position_half = (size_t)s->n_pairs * CHANNEL_BLOCK,
                .channel_half = (size_t)s->in_blocks * block,
                .out = values + (size_t)(t - from) * values_row(s) + (size_t)b * CHANNEL_BLOCK,
                .out_row = values_row(s),
                .out_plane = values_plane(s),
                .n = n,
            };
            s->spec.kernels->strassen_in(&sums);
        }
    }
}

/* The products of output block b of either half. */
static void sum_products(const struct strassen_run *run, int from, int to, int b,
                         const float *products)
{
    const struct strassen *s = run->strassen;
    const size_t block = (size_t)s->n_pairs * 2 * CHANNEL_BLOCK;
    for (int t = from, n; t < to; t += n) {
        const size_t at = (size_t)(t / s->n_pairs) * shape_blocked_size(s->spec.out) +
                          (size_t)b * block + (size_t)(t % s->n_pairs) * CHANNEL_BLOCK;
        n = consecutive(s, t, to);
        const struct strassen_out sums = {
            .in = products + (size_t)(t - from) * CHANNEL_BLOCK,
            .in_plane = products_plane(s),
            .bias = s->bias + (size_t)b * CHANNEL_BLOCK,
            .bias_half = (size_t)s->out_blocks * CHANNEL_BLOCK,
            .residual = run->args->residual ? run->args->residual + at : NULL,
            .out = run->args->out + at,
            .position_half = (size_t)s->n_pairs * CHANNEL_BLOCK,
            .channel_half = (size_t)s->out_blocks * block,
            .n = n,
            .relu = s->spec.attrs.relu && !run->args->no_relu,
        };
        s->spec.kernels->strassen_out(&sums);
    }
}

/* Output blocks [block, end) of either half. */
static void multiply(const struct strassen_run *run, int from, int to, int block, int end,
                     const float *values, float *products)
{
    const struct strassen *s = run->strassen;
    const size_t of_block = PRODUCTS * products_plane(s);
    for (int p = 0; p < PRODUCTS; p++) {
        const struct gemm gemm = {
            .a = values + (size_t)p * values_plane(s),
            .a_stride = values_row(s),
            .b = s->weights + panel_at(s, block, p),
            .next =
                s->weights + (p + 1 < PRODUCTS ? panel_at(s, block, p + 1) : panel_at(s, end, 0)),
            .c = products + (size_t)p * products_plane(s),
            .c_stride = CHANNEL_BLOCK,
            .c_block = of_block,
            .rows = to - from,
            .depth = s->in_blocks * CHANNEL_BLOCK,
            .n_out = end - block,
        };
        s->spec.kernels->gemm(&gemm);
    }
    for (int b = block; b < end; b++)
        sum_products(run, from, to, b, products + (size_t)(b - block) * of_block);
}

/* First pair of group g: groups are whole register tiles but for the last. */
static int group_start(const struct strassen_run *run, int g)
{
    const int tile = (int)((int64_t)run->n_tiles * g / run->n_groups);
    const int pair = tile * run->strassen->spec.kernels->conv_rows;
    return pair < run->n_pairs ? pair : run->n_pairs;
}

/* Item: a group of pairs, all the way. */
static void run_item(void *context, int item)
{
    const struct strassen_run *run = context;
    const struct strassen *s = run->strassen;
    const struct op_args *args = run->args;
    const int from = group_start(run, item), to = group_start(run, item + 1);
    float *products = op_thread_scratch(args, threads_self());
    float *values = products + (size_t)(s->chunk * PRODUCTS) * products_plane(s);
    sum_inputs(run, from, to, values);
    for (int b = 0; b < s->out_blocks; b += s->chunk)
        multiply(run, from, to, b, b + s->chunk < s->out_blocks ? b + s->chunk : s->out_blocks,
                 values, products);
}

static void run(const void *data, const struct op_args *args)
{
    const struct strassen *s = data;
    struct strassen_run run = {.strassen = s, .args = args, .n_pairs = args->n * s->n_pairs};
    const int n_threads = rn_threads_count(args->threads);
    const int rows = s->spec.kernels->conv_rows;
    run.n_tiles = (run.n_pairs + rows - 1) / rows;
    run.n_groups = (run.n_pairs + s->max_group - 1) / s->max_group;
    run.n_groups = (run.n_groups + n_threads - 1) / n_threads * n_threads;
    if (run.n_groups > run.n_tiles)
        run.n_groups = run.n_tiles;
    threads_run(args->threads, run.n_groups, run_item, &run);
}

struct packing {
    const struct strassen *strassen;
    float *weights;
};

/* The seven sums of weights from input channel i of either half to output channel o of either. */
static void pack_weight(const struct strassen *s, int o, int i, float *weights)
{
    const float *w = s->spec.params.weight;
    const size_t in = (size_t)s->spec.in.c, out_half = (size_t)s->spec.out.c / 2 * in;
    const size_t at = (size_t)o * in + (size_t)i;
    const double a11 = (double)w[at], a12 = (double)w[at + in / 2];
    const double a21 = (double)w[at + out_half], a22 = (double)w[at + out_half + in / 2];
    const double s1 = a21 + a22, s2 = s1 - a11;
    const double sums[PRODUCTS] = {a11, a12, a12 - s2, a22, s1, s2, a11 - a21};
    for (int p = 0; p < PRODUCTS; p++)
        weights[panel_at(s, o / CHANNEL_BLOCK, p) + (size_t)(i * CHANNEL_BLOCK) +
                (size_t)(o % CHANNEL_BLOCK)] = (float)sums[p];
}

/* Piece: an output block of either half. */
static void pack_block(void *context, int block)
{
    const struct packing *p = context;
    for (int o = block * CHANNEL_BLOCK; o < (block + 1) * CHANNEL_BLOCK; o++)
        for (int i = 0; i < p->strassen->spec.in.c / 2; i++)
            pack_weight(p->strassen, o, i, p->weights);
}

enum rn_status conv_strassen_prepare(const struct op_spec *spec, struct arena *arena,
                                     struct op_prepared *out, struct rn_error *err)
{
    const int plane = spec->in.h * spec->in.w;
    assert(spec->in.c % (2 * CHANNEL_BLOCK) == 0 && spec->out.c % (2 * CHANNEL_BLOCK) == 0);
    assert(plane % 2 == 0);
    struct strassen *s = arena_alloc(arena, sizeof *s);
    float *weights = arena_array(arena, (size_t)spec->in.c / 2 * (size_t)spec->out.c / 2,
                                 PRODUCTS * sizeof *weights);
    float *bias = arena_array(arena, (size_t)spec->out.c, sizeof *bias);
    if (!s || !weights || !bias)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for packed weights");
    *s = (struct strassen){.spec = *spec,
                           .in_blocks = spec->in.c / 2 / CHANNEL_BLOCK,
                           .out_blocks = spec->out.c / 2 / CHANNEL_BLOCK,
                           .n_pairs = plane / 2,
                           .chunk = CHUNK_TILES * spec->kernels->conv_blocks,
                           .weights = weights,
                           .bias = bias};
    const size_t fit = VALUES_BYTES / sizeof(float) / PRODUCTS / values_row(s);
    s->max_group = fit < MIN_GROUP ? MIN_GROUP : fit > MAX_GROUP ? MAX_GROUP : (int)fit;
    s->max_group = s->max_group / spec->kernels->conv_rows * spec->kernels->conv_rows;
    op_pack(spec, s->out_blocks, pack_block, &(struct packing){s, weights});
    op_pack_bias(spec, bias);
    const size_t scratch =
        PRODUCTS * ((size_t)s->chunk * products_plane(s) + values_plane(s)) * sizeof(float);
    *out = (struct op_prepared){
        .data = s,
        .run = run,
        .work = UINT64_C(2) * PRODUCTS * (uint64_t)s->n_pairs * (uint64_t)(spec->in.c / 2) *
                (uint64_t)(spec->out.c / 2),
        .algorithm = "strassen",
        .thread_scratch_bytes = tensor_align(scratch),
    };
    return RN_OK;
}
