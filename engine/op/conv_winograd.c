/* Convolution of 3×3 by Winograd's minimal filtering: a tile of m×m outputs costs P multiplications
 * per pair of channels instead of 9m². See kernel/winograd.inl for the transforms.
 *
 * At stride 1 that is F(2×2, 3×3) with 16 or F(4×4, 3×3) with 36; at stride 2 3×3 outputs cost 49,
 * some of which share their weights. conv_stem.c has the stem's.
 *
 * The map is cut into tiles of m×m outputs. Input tiles are transformed into `values`, one matrix
 * of [tiles][channels] for each of the P products; each is multiplied by its matrix of transformed
 * weights; the products are transformed back, with bias, residual and ReLU.
 *
 * Three ways to spread that, with the same arithmetic. With many tiles a thread takes a group of
 * them through all three steps, and everything between stays in its cache. With few it would read
 * all weights, if they are many, for hardly any tiles: the threads transform them first. Then, with
 * very few, each takes some output channels through the other two steps; else it takes some of the
 * P products, since its values and weights are read by nobody else, before the last step.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/threads.h"
#include "engine/engine.h"
#include "engine/op/conv.h"
#include "engine/op/winograd_filter.h"

#define MAX_PRODUCTS (WINOGRAD_MAX_SIDE * WINOGRAD_MAX_SIDE)
#define MAX_GROUP 42    /* tiles that a thread takes along: whole tiles of rows, */
#define MAX_VALUES 1512 /* and so many products of each pair of channels: more save nothing */
#define MIN_TILES 32    /* of a thread; with fewer, the threads share them, */
#define MAX_SHARED 256  /* which are never more than these; */
#define FEW_WEIGHTS_BYTES (3 << 20) /* each thread may read so many weights for */
#define FEW_TILES 4
#define CHUNK_BLOCKS 4    /* of outputs, whose products are kept at a time */
#define SECTION_TILES 2   /* of a section: so many times the output blocks of a register tile */
#define PAD CHANNEL_BLOCK /* keeps rows from meeting in one set of the cache */

struct winograd {
    struct op_spec spec;
    enum winograd_kind kind;
    const struct winograd_filter *filter;
    int n_products, tile_rows, tile_columns;
    int in_blocks, out_blocks;
    int max_group; /* tiles that a thread takes along */
    int min_tiles; /* of a thread, to be worth reading all weights for */
    /* [chunks][weights][blocks of the chunk][channels][16]: in the order of reading;
       [out_blocks][16] */
    const float *weights, *bias;
};

/* The values of up to `n_tiles` tiles: [P][tiles][row]. */
struct values {
    float *floats;
    size_t row, plane; /* floats from tile to tile, from product to product */
};

static struct values values_at(const struct winograd *w, float *floats, int n_tiles)
{
    const size_t row = (size_t)w->in_blocks * CHANNEL_BLOCK + (w->in_blocks > 1 ? PAD : 0);
    return (struct values){floats, row, row * (size_t)n_tiles + PAD};
}

static size_t values_size(const struct winograd *w, int n_tiles)
{
    return values_at(w, NULL, n_tiles).plane * (size_t)w->n_products;
}

/* [chunk][P][tiles][16] */
static size_t products_plane(int n_tiles)
{
    return (size_t)n_tiles * CHANNEL_BLOCK + PAD;
}

/* Where the weights of output block b and product p begin. */
static size_t panel_at(const struct winograd *w, int b, int p)
{
    const size_t panel = (size_t)(w->in_blocks * CHANNEL_BLOCK) * CHANNEL_BLOCK;
    const int first = b / CHUNK_BLOCKS * CHUNK_BLOCKS, left = w->out_blocks - first;
    const int n = left < CHUNK_BLOCKS ? left : CHUNK_BLOCKS;
    const int n_weights = w->filter->rows * w->filter->rows;
    return (size_t)(first * n_weights + winograd_filter_weight(w->filter, p) * n + b - first) *
           panel;
}

static size_t products_size(const struct winograd *w, int n_tiles)
{
    return (size_t)(CHUNK_BLOCKS * w->n_products) * products_plane(n_tiles);
}

static size_t shared_size(const struct winograd *w, int n_tiles)
{
    return values_size(w, n_tiles) +
           (size_t)(w->out_blocks * w->n_products) * products_plane(n_tiles);
}

/* ---- the steps ------------------------------------------------------------------------------- */

struct winograd_run {
    const struct winograd *winograd;
    const struct op_args *args; /* in: the map */
    int n_tiles, n_groups;
    struct values shared; /* of all tiles */
    float *products;      /* of all tiles, [out_blocks][P][tiles][16] */
    int n_sections;       /* of output blocks */
};

/* First tile of group g of n_groups: groups differ by one tile at most. */
static int group_start(const struct winograd_run *run, int g)
{
    return (int)((int64_t)run->n_tiles * g / run->n_groups);
}

/* Transforms input blocks [block, end) of tiles [from, to) into values. */
static void transform_in(const struct winograd_run *run, const struct values *values, int from,
                         int to, int block, int end)
{
    const struct winograd *w = run->winograd;
    const struct op_spec *s = &w->spec;
    const int side = w->filter->side, step = w->filter->m * w->filter->stride;
    const int per_image = w->tile_rows * w->tile_columns;
    const float *in[MAX_PRODUCTS];
    for (int t = from; t < to; t++) {
        const float *image = run->args->in + (size_t)(t / per_image) * shape_blocked_size(s->in);
        const int top = t % per_image / w->tile_columns * step - s->attrs.pad;
        const int left = t % w->tile_columns * step - s->attrs.pad;
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
                .out =
                    values->floats + (size_t)(t - from) * values->row + (size_t)b * CHANNEL_BLOCK,
                .out_stride = values->plane,
            };
            s->kernels->winograd_in[w->kind](&tile);
        }
    }
}

/* Where the outputs of tile t begin in block 0, and how many there are. */
struct place {
    size_t at;
    int rows, columns;
};

static struct place place_of(const struct winograd *w, int t)
{
    const struct shape out = w->spec.out;
    const int m = w->filter->m, per_image = w->tile_rows * w->tile_columns;
    const int top = t % per_image / w->tile_columns * m;
    const int left = t % w->tile_columns * m;
    return (struct place){(size_t)(t / per_image) * shape_blocked_size(out) +
                              (size_t)(top * out.w + left) * CHANNEL_BLOCK,
                          out.h - top < m ? out.h - top : m, out.w - left < m ? out.w - left : m};
}

static size_t out_plane(const struct winograd *w)
{
    return (size_t)(w->spec.out.h * w->spec.out.w) * CHANNEL_BLOCK;
}

/* Fetches the lines that the outputs of tile t, blocks [block, end), will be written to, and what
 * will be added: they have left the cache since they were last used. */
static void fetch_outputs(const struct winograd_run *run, int t, int block, int end)
{
    const struct winograd *w = run->winograd;
    const struct place place = place_of(w, t);
    for (int b = block; b < end; b++)
        for (int y = 0; y < place.rows; y++)
            for (int x = 0; x < place.columns; x++) {
                const size_t at = place.at + (size_t)b * out_plane(w) +
                                  (size_t)(y * w->spec.out.w + x) * CHANNEL_BLOCK;
                __builtin_prefetch(run->args->out + at, 1);
                if (run->args->residual)
                    __builtin_prefetch(run->args->residual + at, 0);
            }
}

/* The products of one output block of tiles [from, to), plane floats apart, back to outputs. */
static void transform_out(const struct winograd_run *run, const float *products, size_t plane,
                          int from, int to, int block)
{
    const struct winograd *w = run->winograd;
    const struct op_spec *s = &w->spec;
    for (int t = from; t < to; t++) {
        const struct place place = place_of(w, t);
        const size_t at = place.at + (size_t)block * out_plane(w);
        const struct winograd_out tile = {
            .in = products + (size_t)(t - from) * CHANNEL_BLOCK,
            .in_stride = plane,
            .bias = w->bias + (size_t)block * CHANNEL_BLOCK,
            .residual = run->args->residual ? run->args->residual + at : NULL,
            .out = run->args->out + at,
            .row_stride = (size_t)s->out.w * CHANNEL_BLOCK,
            .rows = place.rows,
            .columns = place.columns,
            .relu = s->attrs.relu && !run->args->no_relu,
        };
        s->kernels->winograd_out[w->kind](&tile);
    }
}

/* Where the chunk ends that `block` is in. */
static int chunk_end(const struct winograd *w, int block)
{
    const int end = (block / CHUNK_BLOCKS + 1) * CHUNK_BLOCKS;
    return end < w->out_blocks ? end : w->out_blocks;
}

/* Product p of `n` tiles with output blocks [block, end) of a chunk, to the first of
 * [block][P][tiles][16]. The weights at `next` are fetched meanwhile. */
static void multiply(const struct winograd *w, const struct values *values, int n, int p, int block,
                     int end, float *products, const float *next)
{
    const size_t plane = products_plane(n);
    const struct gemm gemm = {
        .a = values->floats + (size_t)p * values->plane,
        .a_stride = values->row,
        .b = w->weights + panel_at(w, block, p),
        .next = next,
        .c = products + (size_t)p * plane,
        .c_stride = CHANNEL_BLOCK,
        .c_block = plane * (size_t)w->n_products,
        .rows = n,
        .depth = w->in_blocks * CHANNEL_BLOCK,
        .n_out = end - block,
    };
    w->spec.kernels->gemm(&gemm);
}

static float *own_scratch(const struct winograd_run *run)
{
    const struct op_args *args = run->args;
    return op_thread_scratch(args, threads_self());
}

/* Output blocks [block, end), of one chunk, of tiles [from, to), whose products go into this
 * thread's scratch. */
static void run_chunk(const struct winograd_run *run, const struct values *values, int from, int to,
                      int block, int end)
{
    const struct winograd *w = run->winograd;
    const int n = to - from;
    const size_t plane = products_plane(n), of_block = plane * (size_t)w->n_products;
    float *products = own_scratch(run);
    for (int p = 0; p < w->n_products; p++) {
        const float *next =
            w->weights + (p + 1 < w->n_products ? panel_at(w, block, p + 1) : panel_at(w, end, 0));
        multiply(w, values, n, p, block, end, products, next);
        for (int t = from + p; t < to; t += w->n_products)
            fetch_outputs(run, t, block, end);
    }
    for (int b = block; b < end; b++)
        transform_out(run, products + (size_t)(b - block) * of_block, plane, from, to, b);
}

/* Item: a group of tiles, all the way. */
static void group_item(void *context, int item)
{
    const struct winograd_run *run = context;
    const struct winograd *w = run->winograd;
    const int from = group_start(run, item), to = group_start(run, item + 1);
    const struct values values =
        values_at(w, own_scratch(run) + products_size(w, w->max_group), to - from);
    transform_in(run, &values, from, to, 0, w->in_blocks);
    for (int block = 0, end; block < w->out_blocks; block = end) {
        end = chunk_end(w, block);
        run_chunk(run, &values, from, to, block, end);
    }
}

/* ---- shared tiles ---------------------------------------------------------------------------- */

/* Item: one input block. */
static void transform_item(void *context, int block)
{
    const struct winograd_run *run = context;
    transform_in(run, &run->shared, 0, run->n_tiles, block, block + 1);
}

static int section_start(const struct winograd_run *run, int section)
{
    const struct winograd *w = run->winograd;
    return conv_part_start(w->spec.kernels, w->out_blocks, section, run->n_sections);
}

static const float *section_weights(const struct winograd_run *run, int item)
{
    const struct winograd *w = run->winograd;
    const int block = section_start(run, item % run->n_sections), p = item / run->n_sections;
    return w->weights + panel_at(w, block, p);
}

/* Item: a section of output blocks, chunk by chunk. */
static void section_item(void *context, int section)
{
    const struct winograd_run *run = context;
    const int end = section_start(run, section + 1);
    for (int block = section_start(run, section), to; block < end; block = to) {
        to = chunk_end(run->winograd, block) < end ? chunk_end(run->winograd, block) : end;
        run_chunk(run, &run->shared, 0, run->n_tiles, block, to);
    }
}

/* Item: a section of one product. */
static void product_item(void *context, int item)
{
    const struct winograd_run *run = context;
    const struct winograd *w = run->winograd;
    const int p = item / run->n_sections, section = item % run->n_sections;
    const int end = section_start(run, section + 1);
    const size_t of_block = products_plane(run->n_tiles) * (size_t)w->n_products;
    /* With threads that take turns, this one's next item is this: */
    const int next = item + rn_threads_count(run->args->threads);
    for (int block = section_start(run, section), to; block < end; block = to) {
        to = chunk_end(w, block) < end ? chunk_end(w, block) : end;
        multiply(w, &run->shared, run->n_tiles, p, block, to,
                 run->products + (size_t)block * of_block,
                 to < end ? w->weights + panel_at(w, to, p) : section_weights(run, next));
    }
}

/* Item: one output block. */
static void output_item(void *context, int block)
{
    const struct winograd_run *run = context;
    const size_t plane = products_plane(run->n_tiles);
    const float *products =
        run->products + (size_t)block * plane * (size_t)run->winograd->n_products;
    transform_out(run, products, plane, 0, run->n_tiles, block);
}

/* ---- running --------------------------------------------------------------------------------- */

static void run(const void *data, const struct op_args *args)
{
    const struct winograd *w = data;
    const struct op_spec *s = &w->spec;
    struct winograd_run run = {.winograd = w, .args = args};
    const int n_threads = rn_threads_count(args->threads);
    const int all = n_threads * w->min_tiles, enough = all < MAX_SHARED ? all : MAX_SHARED;
    run.n_tiles = args->n * w->tile_rows * w->tile_columns;
    if (run.n_tiles >= enough) {
        run.n_groups = (run.n_tiles + w->max_group - 1) / w->max_group;
        run.n_groups = (run.n_groups + n_threads - 1) / n_threads * n_threads;
        threads_run(args->threads, run.n_groups, group_item, &run);
        return;
    }
    run.shared = values_at(w, args->scratch, run.n_tiles);
    threads_run(args->threads, w->in_blocks, transform_item, &run);
    if (run.n_tiles <= w->max_group) {
        run.n_sections = (w->out_blocks - 1) / (SECTION_TILES * s->kernels->conv_blocks) + 1;
        threads_run(args->threads, run.n_sections, section_item, &run);
        return;
    }
    run.products = args->scratch + values_size(w, run.n_tiles);
    run.n_sections = (4 * n_threads - 1) / w->n_products + 1;
    threads_run(args->threads, w->n_products * run.n_sections, product_item, &run);
    threads_run(args->threads, w->out_blocks, output_item, &run);
}

/* ---- preparing ------------------------------------------------------------------------------- */

/* The kernels from input channel i to output block b, one of each panel's rows. */
static void pack_channel(const struct winograd *w, int b, int i, float *weights)
{
    double taps[WINOGRAD_MAX_TAPS][WINOGRAD_MAX_TAPS][CHANNEL_BLOCK] = {{{0}}};
    float of_channel[WINOGRAD_MAX_ROWS * WINOGRAD_MAX_ROWS][CHANNEL_BLOCK];
    const struct op_spec *s = &w->spec;
    for (int k = 0; k < CHANNEL_BLOCK && b * CHANNEL_BLOCK + k < s->out.c; k++) {
        const size_t o = (size_t)(b * CHANNEL_BLOCK + k);
        const float *kernel = s->params.weight + (o * (size_t)s->in.c + (size_t)i) * 9;
        for (int tap = 0; tap < 9; tap++)
            taps[tap % 3][tap / 3][k] = (double)kernel[tap];
    }
    winograd_filter_transform(w->filter, taps, of_channel);
    for (int p = 0; p < w->n_products; p++)
        memcpy(weights + panel_at(w, b, p) + (size_t)i * CHANNEL_BLOCK,
               of_channel[winograd_filter_weight(w->filter, p)], sizeof of_channel[0]);
}

static int max_group(const struct winograd_filter *filter)
{
    const int fit = MAX_VALUES / (filter->side * filter->side) / 10 * 10;
    return fit < MAX_GROUP ? fit : MAX_GROUP;
}

enum rn_status conv_winograd_prepare(const struct op_spec *spec, enum winograd_kind kind,
                                     struct arena *arena, struct op_prepared *out,
                                     struct rn_error *err)
{
    const struct winograd_filter *filter = winograd_filter(kind);
    const int m = filter->m;
    struct winograd *w = arena_alloc(arena, sizeof *w);
    const size_t n_products = (size_t)(filter->side * filter->side);
    const size_t in_blocks = (size_t)channel_blocks(spec->in.c);
    const size_t out_blocks = (size_t)channel_blocks(spec->out.c);
    const size_t n_floats = out_blocks * (size_t)(filter->rows * filter->rows) * in_blocks *
                            CHANNEL_BLOCK * CHANNEL_BLOCK;
    float *weights = arena_array(arena, n_floats, sizeof *weights);
    float *bias = arena_array(arena, out_blocks * CHANNEL_BLOCK, sizeof *bias);
    if (!w || !weights || !bias)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for packed weights");
    *w = (struct winograd){.spec = *spec,
                           .kind = kind,
                           .filter = filter,
                           .n_products = (int)n_products,
                           .tile_rows = (spec->out.h + m - 1) / m,
                           .tile_columns = (spec->out.w + m - 1) / m,
                           .in_blocks = (int)in_blocks,
                           .out_blocks = (int)out_blocks,
                           .max_group = max_group(filter),
                           .min_tiles = n_floats * sizeof *weights > FEW_WEIGHTS_BYTES ? MIN_TILES
                                                                                       : FEW_TILES,
                           .weights = weights,
                           .bias = bias};
    for (int b = 0; b < w->out_blocks; b++)
        for (int i = 0; i < spec->in.c; i++) {
            pack_channel(w, b, i, weights);
            if (i % 32 == 0)
                op_rest(spec);
        }
    const int n_tiles = spec->max_batch * w->tile_rows * w->tile_columns;
    const size_t shared = shared_size(w, n_tiles < MAX_SHARED ? n_tiles : MAX_SHARED);
    const size_t own = products_size(w, w->max_group) + values_size(w, w->max_group);
    for (int o = 0; spec->params.bias && o < spec->out.c; o++)
        bias[o] = spec->params.bias[o];
    *out = (struct op_prepared){
        .data = w,
        .run = run,
        .work = UINT64_C(2) * n_products * (uint64_t)(w->tile_rows * w->tile_columns) *
                (uint64_t)spec->in.c * (uint64_t)spec->out.c,
        .algorithm = filter->name,
        .scratch_bytes = tensor_align(shared * sizeof(float)),
        .thread_scratch_bytes = tensor_align(own * sizeof(float)),
    };
    return RN_OK;
}
