/* 3×3 convolution by Winograd's minimal filtering, F(2×2) or F(4×4): a tile of outputs costs (m+2)²
 * multiplications per pair of channels instead of 9m². See kernel/winograd.inl for the transforms.
 *
 * The map is cut into tiles of m×m outputs. Input tiles are transformed into `values`, one matrix
 * of [tiles][channels] for each of the P = (m+2)² products; each is multiplied by its own matrix of
 * transformed weights; the products are transformed back, with bias, residual and ReLU.
 *
 * Two ways to spread that, with the same arithmetic. With many tiles a thread takes a group of them
 * through all three steps, and everything between stays in its cache. With few, when a thread would
 * read all weights for hardly any tiles, the threads transform the whole input first, and then each
 * takes some output channels.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/threads.h"
#include "engine/engine.h"
#include "engine/op/conv.h"

#define MAX_PRODUCTS 36
#define MAX_GROUP 32      /* tiles taken through the products at a time */
#define MIN_TILES 32      /* of a thread; with fewer, the threads share the transformed input, */
#define MAX_SHARED 256    /* which is never more tiles than these */
#define CHUNK_BLOCKS 4    /* output blocks whose products are kept at a time */
#define PAD CHANNEL_BLOCK /* keeps rows from meeting in one set of the cache */

struct winograd {
    struct op_spec spec;
    int m, n_products, tile_rows, tile_columns;
    int in_blocks, out_blocks;
    /* [chunks][P][blocks of the chunk][channels][16]: in the order of reading; [out_blocks][16] */
    const float *weights, *bias;
};

/* The values of up to `n_tiles` tiles: [P][tiles][row]. */
struct values {
    float *floats;
    size_t row, plane; /* floats from tile to tile, from product to product */
};

static struct values values_at(const struct winograd *w, float *floats, int n_tiles)
{
    const size_t row = (size_t)w->in_blocks * CHANNEL_BLOCK + PAD;
    return (struct values){floats, row, row * (size_t)n_tiles + PAD};
}

static size_t values_size(const struct winograd *w, int n_tiles)
{
    return values_at(w, NULL, n_tiles).plane * (size_t)w->n_products;
}

/* [CHUNK_BLOCKS][P][tiles][16] */
static size_t products_plane(int n_tiles)
{
    return (size_t)n_tiles * CHANNEL_BLOCK + PAD;
}

/* Where the weights of output block b and product p begin. */
static size_t panel_at(const struct winograd *w, int b, int p)
{
    const size_t panel = (size_t)w->in_blocks * CHANNEL_BLOCK * CHANNEL_BLOCK;
    const int first = b / CHUNK_BLOCKS * CHUNK_BLOCKS, left = w->out_blocks - first;
    const int n = left < CHUNK_BLOCKS ? left : CHUNK_BLOCKS;
    return (size_t)(first * w->n_products + p * n + b - first) * panel;
}

static size_t products_size(const struct winograd *w, int n_tiles)
{
    return CHUNK_BLOCKS * (size_t)w->n_products * products_plane(n_tiles);
}

/* ---- running --------------------------------------------------------------------------------- */

struct winograd_run {
    const struct winograd *winograd;
    const struct op_args *args;
    int n_tiles, n_groups;
    struct values shared; /* of all tiles; unused when threads keep their own */
};

/* First tile of group g of n_groups: groups differ by one tile at most. */
static int group_start(const struct winograd_run *run, int g)
{
    return (int)((int64_t)run->n_tiles * g / run->n_groups);
}

/* Transforms input blocks [block, end) of tiles [from, to) into the values from row `to_row` on. */
static void transform_in(const struct winograd_run *run, const struct values *values, int to_row,
                         int from, int to, int block, int end)
{
    const struct winograd *w = run->winograd;
    const struct op_spec *s = &w->spec;
    const int side = w->m + 2, per_image = w->tile_rows * w->tile_columns;
    const float *in[MAX_PRODUCTS];
    for (int t = from; t < to; t++, to_row++) {
        const float *image = run->args->in + (size_t)(t / per_image) * shape_blocked_size(s->in);
        const int top = t % per_image / w->tile_columns * w->m - 1;
        const int left = t % w->tile_columns * w->m - 1;
        for (int y = 0; y < side; y++)
            for (int x = 0; x < side; x++) {
                const int iy = top + y, ix = left + x;
                const bool inside = iy >= 0 && iy < s->in.h && ix >= 0 && ix < s->in.w;
                in[y * side + x] =
                    inside ? image + (size_t)(iy * s->in.w + ix) * CHANNEL_BLOCK : s->zeros;
            }
        for (int b = block; b < end; b++) {
            const struct winograd_in tile = {
                .in = in,
                .in_offset = (size_t)b * (size_t)(s->in.h * s->in.w) * CHANNEL_BLOCK,
                .out = values->floats + (size_t)to_row * values->row + (size_t)b * CHANNEL_BLOCK,
                .out_stride = values->plane,
            };
            if (w->m == 4)
                s->kernels->winograd_in_4(&tile);
            else
                s->kernels->winograd_in_2(&tile);
        }
    }
}

/* The products of one output block of tiles [from, to), back to outputs. */
static void transform_out(const struct winograd_run *run, const float *products, int from, int to,
                          int block)
{
    const struct winograd *w = run->winograd;
    const struct op_spec *s = &w->spec;
    const int per_image = w->tile_rows * w->tile_columns;
    const size_t block_at = (size_t)block * (size_t)(s->out.h * s->out.w) * CHANNEL_BLOCK;
    for (int t = from; t < to; t++) {
        const int top = t % per_image / w->tile_columns * w->m;
        const int left = t % w->tile_columns * w->m;
        const size_t at = (size_t)(t / per_image) * shape_blocked_size(s->out) + block_at +
                          (size_t)(top * s->out.w + left) * CHANNEL_BLOCK;
        const struct winograd_out tile = {
            .in = products + (size_t)(t - from) * CHANNEL_BLOCK,
            .in_stride = products_plane(to - from),
            .bias = w->bias + (size_t)block * CHANNEL_BLOCK,
            .residual = run->args->residual ? run->args->residual + at : NULL,
            .out = run->args->out + at,
            .row_stride = (size_t)s->out.w * CHANNEL_BLOCK,
            .rows = s->out.h - top < w->m ? s->out.h - top : w->m,
            .columns = s->out.w - left < w->m ? s->out.w - left : w->m,
            .relu = s->attrs.relu && !run->args->no_relu,
        };
        if (w->m == 4)
            s->kernels->winograd_out_4(&tile);
        else
            s->kernels->winograd_out_2(&tile);
    }
}

/* Output blocks [block, end) of tiles [from, to), whose values begin at row `row`. */
static void multiply(const struct winograd_run *run, const struct values *values, int row,
                     float *products, int from, int to, int block, int end)
{
    const struct winograd *w = run->winograd;
    const size_t plane = products_plane(to - from), of_block = plane * (size_t)w->n_products;
    for (int p = 0; p < w->n_products; p++) {
        const struct gemm gemm = {
            .a = values->floats + (size_t)p * values->plane + (size_t)row * values->row,
            .a_stride = values->row,
            .b = w->weights + panel_at(w, block, p),
            .c = products + (size_t)p * plane,
            .c_stride = CHANNEL_BLOCK,
            .c_block = of_block,
            .rows = to - from,
            .depth = w->in_blocks * CHANNEL_BLOCK,
            .n_out = end - block,
        };
        w->spec.kernels->gemm(&gemm);
    }
    for (int b = block; b < end; b++)
        transform_out(run, products + (size_t)(b - block) * of_block, from, to, b);
}

static float *own_scratch(const struct winograd_run *run)
{
    const struct op_args *args = run->args;
    return (float *)(void *)(args->thread_scratch +
                             (size_t)threads_self() * args->thread_scratch_bytes);
}

/* Item: a group of tiles, all the way. */
static void group_item(void *context, int item)
{
    const struct winograd_run *run = context;
    const struct winograd *w = run->winograd;
    const int from = group_start(run, item), to = group_start(run, item + 1);
    float *products = own_scratch(run);
    const struct values values = values_at(w, products + products_size(w, MAX_GROUP), to - from);
    transform_in(run, &values, 0, from, to, 0, w->in_blocks);
    for (int b = 0; b < w->out_blocks; b += CHUNK_BLOCKS)
        multiply(run, &values, 0, products, from, to, b,
                 b + CHUNK_BLOCKS < w->out_blocks ? b + CHUNK_BLOCKS : w->out_blocks);
}

/* Item: one input block of one group of tiles. */
static void transform_item(void *context, int item)
{
    const struct winograd_run *run = context;
    const int group = item / run->winograd->in_blocks, block = item % run->winograd->in_blocks;
    const int from = group_start(run, group), to = group_start(run, group + 1);
    transform_in(run, &run->shared, from, from, to, block, block + 1);
}

/* Item: some output blocks of one group of tiles. */
static void multiply_item(void *context, int item)
{
    const struct winograd_run *run = context;
    const struct winograd *w = run->winograd;
    const int group = item % run->n_groups, block = item / run->n_groups * CHUNK_BLOCKS;
    const int from = group_start(run, group), to = group_start(run, group + 1);
    multiply(run, &run->shared, from, own_scratch(run), from, to, block,
             block + CHUNK_BLOCKS < w->out_blocks ? block + CHUNK_BLOCKS : w->out_blocks);
}

static void run(const void *data, const struct op_args *args)
{
    const struct winograd *w = data;
    struct winograd_run run = {.winograd = w, .args = args};
    const int n_threads = rn_threads_count(args->threads);
    const int enough = n_threads * MIN_TILES < MAX_SHARED ? n_threads * MIN_TILES : MAX_SHARED;
    run.n_tiles = args->n * w->tile_rows * w->tile_columns;
    run.n_groups = (run.n_tiles + MAX_GROUP - 1) / MAX_GROUP;
    if (run.n_tiles >= enough) {
        run.n_groups = (run.n_groups + n_threads - 1) / n_threads * n_threads;
        threads_run(args->threads, run.n_groups, group_item, &run);
        return;
    }
    run.shared = values_at(w, args->scratch, run.n_tiles);
    threads_run(args->threads, run.n_groups * w->in_blocks, transform_item, &run);
    const int n_chunks = (w->out_blocks + CHUNK_BLOCKS - 1) / CHUNK_BLOCKS;
    threads_run(args->threads, run.n_groups * n_chunks, multiply_item, &run);
}

/* ---- preparing ------------------------------------------------------------------------------- */

/* G of F(2) and F(4): transformed = G g Gᵀ. */
static const double g_2[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
static const double g_4[6][3] = {{1.0 / 4, 0, 0},
                                 {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                 {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                 {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                 {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                 {0, 0, 1}};

/* out = a·x + b·y + c·z for a block of output channels. */
static void combine(const double g[3], const double *x, const double *y, const double *z,
                    double *out)
{
    for (int k = 0; k < CHANNEL_BLOCK; k++)
        out[k] = g[0] * x[k] + g[1] * y[k] + g[2] * z[k];
}

/* The kernels from input channel i to output block b, [P][16] in panels of their own. */
static void pack_channel(const struct winograd *w, int b, int i, float *weights)
{
    const struct op_spec *s = &w->spec;
    const double(*g)[3] = w->m == 4 ? g_4 : g_2;
    const int side = w->m + 2, first = b * CHANNEL_BLOCK;
    double kernel[9][CHANNEL_BLOCK] = {{0}}, half[6][3][CHANNEL_BLOCK];
    for (int k = 0; k < CHANNEL_BLOCK && first + k < s->out.c; k++)
        for (int tap = 0; tap < 9; tap++)
            kernel[tap][k] =
                (double)s->params
                    .weight[((size_t)(first + k) * (size_t)s->in.c + (size_t)i) * 9 + (size_t)tap];
    for (int y = 0; y < side; y++)
        for (int x = 0; x < 3; x++)
            combine(g[y], kernel[x], kernel[3 + x], kernel[6 + x], half[y][x]);
    for (int p = 0; p < w->n_products; p++) {
        double product[CHANNEL_BLOCK];
        float *to = weights + panel_at(w, b, p) + (size_t)i * CHANNEL_BLOCK;
        combine(g[p % side], half[p / side][0], half[p / side][1], half[p / side][2], product);
        for (int k = 0; k < CHANNEL_BLOCK; k++)
            to[k] = (float)product[k];
    }
}

static size_t align_bytes(size_t floats)
{
    return (floats * sizeof(float) + TENSOR_ALIGN - 1) / TENSOR_ALIGN * TENSOR_ALIGN;
}

enum rn_status conv_winograd_prepare(const struct op_spec *spec, int m, struct arena *arena,
                                     struct op_prepared *out, struct rn_error *err)
{
    struct winograd *w = arena_alloc(arena, sizeof *w);
    const size_t n_products = (size_t)((m + 2) * (m + 2));
    const size_t in_blocks = (size_t)channel_blocks(spec->in.c);
    const size_t out_blocks = (size_t)channel_blocks(spec->out.c);
    float *weights =
        arena_array(arena, out_blocks * n_products * in_blocks * CHANNEL_BLOCK * CHANNEL_BLOCK,
                    sizeof *weights);
    float *bias = arena_array(arena, out_blocks * CHANNEL_BLOCK, sizeof *bias);
    if (!w || !weights || !bias)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for packed weights");
    *w = (struct winograd){.spec = *spec,
                           .m = m,
                           .n_products = (int)n_products,
                           .tile_rows = (spec->out.h + m - 1) / m,
                           .tile_columns = (spec->out.w + m - 1) / m,
                           .in_blocks = (int)in_blocks,
                           .out_blocks = (int)out_blocks,
                           .weights = weights,
                           .bias = bias};
    for (int b = 0; b < w->out_blocks; b++) {
        for (int i = 0; i < spec->in.c; i++)
            pack_channel(w, b, i, weights);
        op_rest(spec);
    }
    int n_shared = spec->max_batch * w->tile_rows * w->tile_columns;
    if (n_shared > MAX_SHARED)
        n_shared = MAX_SHARED;
    for (int o = 0; spec->params.bias && o < spec->out.c; o++)
        bias[o] = spec->params.bias[o];
    *out = (struct op_prepared){
        .data = w,
        .run = run,
        .work = UINT64_C(2) * n_products * (uint64_t)(w->tile_rows * w->tile_columns) *
                (uint64_t)spec->in.c * (uint64_t)spec->out.c,
        .algorithm = m == 4 ? "winograd4" : "winograd2",
        .scratch_bytes = align_bytes(values_size(w, n_shared)),
        .thread_scratch_bytes =
            align_bytes(products_size(w, MAX_GROUP) + values_size(w, MAX_GROUP)),
    };
    return RN_OK;
}
