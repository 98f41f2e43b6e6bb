/* Convolution of 3×3 by Winograd's minimal filtering: a tile of m×m outputs costs P multiplications
 * per pair of channels instead of 9m². See kernel/winograd.inl for the transforms.
 *
 * At stride 1 that is F(2×2, 3×3) with 16, F(4×4, 3×3) with 36 or F(6×6, 3×3) with 64; at stride 2,
 * 2×2 outputs cost 25 and 4×4 cost 81, some of which share their weights. conv_stem.c has the
 * stem's.
 *
 * The map is cut into tiles of m×m outputs, the last rows and columns of which may be short: m - 1.
 * Input tiles are transformed into `values`, one matrix of [tiles][channels] for each of the P
 * products; each is multiplied by its matrix of transformed weights; the products are transformed
 * back, with bias, residual and ReLU. A short tile lacks some of the products, so their matrices
 * have fewer rows.
 *
 * Three ways to spread that, with the same arithmetic. With many tiles a thread takes a group of
 * them through all three steps, and what is between stays its own. With few it would read
 * all weights, if they are many, for hardly any tiles: the threads transform them first. Then, with
 * very few, each takes some output channels through the other two steps; else it takes some of the
 * P products, since its values and weights are read by nobody else, before the last step.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/threads.h"
#include "engine/engine.h"
#include "engine/op/conv.h"
#include "engine/op/winograd_tiles.h"

#define MAX_PRODUCTS (WINOGRAD_MAX_SIDE * WINOGRAD_MAX_SIDE)
#define MAX_GROUP 66                 /* tiles that a thread takes along, */
#define MAX_GROUP_BYTES (3300 << 10) /* with so many bytes of values and products */
/* So many multiplications with each weight a thread should have: with fewer tiles, the threads
 * share them, which are never more than 8 threads' though. */
#define MIN_USES 32
#define MAX_SHARED 8
#define FEW_WEIGHTS_BYTES (5 << 20) /* each thread may read so many for */
#define FEW_TILES 4
#define CHUNK_BLOCKS 4    /* of outputs, whose products are kept at a time */
#define SECTION_TILES 2   /* of a section: so many times the output blocks of a register tile */
#define PAD CHANNEL_BLOCK /* keeps rows from meeting in one set of the cache */

struct winograd {
    struct op_spec spec;
    enum winograd_kind kind;
    const struct winograd_filter *filter;
    struct winograd_tiles tiles;
    int n_products; /* P */
    int in_blocks, out_blocks;
    int max_group; /* tiles that a thread takes along */
    int min_tiles; /* of a thread, to be worth reading all weights for */
    /* [chunks][weights][blocks of the chunk][channels][16]: in the order of reading;
       [out_blocks][16] */
    const float *weights, *bias;
};

/* The values of up to `n_tiles` tiles: [P][tiles that have it][row]. */
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

/* [chunk][P][tiles that have it][16] */
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
    struct winograd_group all;
    int n_groups;
    struct values shared; /* of all tiles */
    float *products;      /* of all tiles, [out_blocks][P][tiles][16] */
    int n_sections;       /* of output blocks */
};

static int size_of(const struct winograd_group *group)
{
    return group->to - group->from;
}

/* First tile of group g of n_groups: groups differ by one tile at most. */
static int group_start(const struct winograd_run *run, int g)
{
    return (int)((int64_t)run->all.to * g / run->n_groups);
}

/* The inputs of a tile, row by row. */
static void find_inputs(const struct winograd_run *run, const struct winograd_tile *tile,
                        const float **in)
{
    const struct winograd *w = run->winograd;
    const struct op_spec *s = &w->spec;
    const int stride = s->attrs.stride, pad = s->attrs.pad;
    const int height = (tile->rows - 1) * stride + 3, width = (tile->columns - 1) * stride + 3;
    const float *image = run->args->in + (size_t)tile->image * shape_blocked_size(s->in);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const int iy = tile->top * stride - pad + y, ix = tile->left * stride - pad + x;
            const bool inside = iy >= 0 && iy < s->in.h && ix >= 0 && ix < s->in.w;
            in[y * width + x] =
                inside ? image + (size_t)(iy * s->in.w + ix) * CHANNEL_BLOCK : s->zeros;
        }
}

/* Transforms input blocks [block, end) of a group into values. */
static void transform_in(const struct winograd_run *run, const struct values *values,
                         const struct winograd_group *group, int block, int end)
{
    const struct winograd *w = run->winograd;
    const struct op_spec *s = &w->spec;
    const float *in[MAX_PRODUCTS];
    struct winograd_group done = {0};
    for (int t = group->from; t < group->to; t++) {
        const struct winograd_tile tile = winograd_tile(&w->tiles, t);
        find_inputs(run, &tile, in);
        struct winograd_in task = {
            .in = in, .out_stride = values->plane, .rows = tile.rows, .columns = tile.columns};
        for (int b = block; b < end; b++) {
            task.in_offset = (size_t)b * (size_t)(s->in.h * s->in.w) * CHANNEL_BLOCK;
            for (int i = 0; i < WINOGRAD_PARTS; i++)
                task.out[i] = values->floats + (size_t)done.count[i] * values->row +
                              (size_t)b * CHANNEL_BLOCK;
            s->kernels->winograd_in[w->kind](&task);
        }
        winograd_group_add(&done, &w->tiles, &tile);
    }
}

/* Where the outputs of a tile begin in block 0. */
static size_t place_of(const struct winograd *w, const struct winograd_tile *tile)
{
    const struct shape out = w->spec.out;
    return (size_t)tile->image * shape_blocked_size(out) +
           (size_t)(tile->top * out.w + tile->left) * CHANNEL_BLOCK;
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
    const struct winograd_tile tile = winograd_tile(&w->tiles, t);
    const size_t place = place_of(w, &tile);
    for (int b = block; b < end; b++)
        for (int y = 0; y < tile.rows; y++)
            for (int x = 0; x < tile.columns; x++) {
                const size_t at = place + (size_t)b * out_plane(w) +
                                  (size_t)(y * w->spec.out.w + x) * CHANNEL_BLOCK;
                __builtin_prefetch(run->args->out + at, 1);
                if (run->args->residual)
                    __builtin_prefetch(run->args->residual + at, 0);
            }
}

/* The products of one output block of a group, plane floats apart, back to outputs. */
static void transform_out(const struct winograd_run *run, const float *products, size_t plane,
                          const struct winograd_group *group, int block)
{
    const struct winograd *w = run->winograd;
    const struct op_spec *s = &w->spec;
    struct winograd_group done = {0};
    for (int t = group->from; t < group->to; t++) {
        const struct winograd_tile tile = winograd_tile(&w->tiles, t);
        const size_t at = place_of(w, &tile) + (size_t)block * out_plane(w);
        struct winograd_out task = {
            .in_stride = plane,
            .bias = w->bias + (size_t)block * CHANNEL_BLOCK,
            .residual = run->args->residual ? run->args->residual + at : NULL,
            .out = run->args->out + at,
            .row_stride = (size_t)s->out.w * CHANNEL_BLOCK,
            .rows = tile.rows,
            .columns = tile.columns,
            .relu = s->attrs.relu && !run->args->no_relu,
        };
        for (int i = 0; i < WINOGRAD_PARTS; i++)
            task.in[i] = products + (size_t)done.count[i] * CHANNEL_BLOCK;
        s->kernels->winograd_out[w->kind](&task);
        winograd_group_add(&done, &w->tiles, &tile);
    }
}

/* Where the chunk ends that `block` is in. */
static int chunk_end(const struct winograd *w, int block)
{
    const int end = (block / CHUNK_BLOCKS + 1) * CHUNK_BLOCKS;
    return end < w->out_blocks ? end : w->out_blocks;
}

/* Product p of a group with output blocks [block, end) of a chunk, to the first of
 * [block][P][tiles][16]. The weights at `next` are fetched meanwhile. */
static void multiply(const struct winograd *w, const struct values *values,
                     const struct winograd_group *group, int p, int block, int end, float *products,
                     const float *next)
{
    const size_t plane = products_plane(size_of(group));
    const int rows = winograd_group_rows(group, &w->tiles, p);
    if (rows == 0)
        return;
    const struct gemm gemm = {
        .a = values->floats + (size_t)p * values->plane,
        .a_stride = values->row,
        .b = w->weights + panel_at(w, block, p),
        .next = next,
        .c = products + (size_t)p * plane,
        .c_stride = CHANNEL_BLOCK,
        .c_block = plane * (size_t)w->n_products,
        .rows = rows,
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

/* Output blocks [block, end), of one chunk, of a group, whose products go into this thread's
 * scratch. */
static void run_chunk(const struct winograd_run *run, const struct values *values,
                      const struct winograd_group *group, int block, int end)
{
    const struct winograd *w = run->winograd;
    const size_t plane = products_plane(size_of(group));
    const size_t of_block = plane * (size_t)w->n_products;
    float *products = own_scratch(run);
    for (int p = 0; p < w->n_products; p++) {
        const float *next =
            w->weights + (p + 1 < w->n_products ? panel_at(w, block, p + 1) : panel_at(w, end, 0));
        multiply(w, values, group, p, block, end, products, next);
        for (int t = group->from + p; t < group->to; t += w->n_products)
            fetch_outputs(run, t, block, end);
    }
    for (int b = block; b < end; b++)
        transform_out(run, products + (size_t)(b - block) * of_block, plane, group, b);
}

/* Item: a group of tiles, all the way. */
static void group_item(void *context, int item)
{
    const struct winograd_run *run = context;
    const struct winograd *w = run->winograd;
    const struct winograd_group group =
        winograd_group(&w->tiles, group_start(run, item), group_start(run, item + 1));
    const struct values values =
        values_at(w, own_scratch(run) + products_size(w, w->max_group), size_of(&group));
    transform_in(run, &values, &group, 0, w->in_blocks);
    for (int block = 0, end; block < w->out_blocks; block = end) {
        end = chunk_end(w, block);
        run_chunk(run, &values, &group, block, end);
    }
}

/* ---- shared tiles ---------------------------------------------------------------------------- */

/* Item: one input block. */
static void transform_item(void *context, int block)
{
    const struct winograd_run *run = context;
    transform_in(run, &run->shared, &run->all, block, block + 1);
}

static int section_start(const struct winograd_run *run, int section)
{
    const struct winograd *w = run->winograd;
    return conv_part_start(w->spec.kernels, w->out_blocks, section, run->n_sections);
}

/* Those that an item begins with; the first ones, for want of others, where there is no such item.
 */
static const float *section_weights(const struct winograd_run *run, int item)
{
    const struct winograd *w = run->winograd;
    if (item >= w->n_products * run->n_sections)
        return w->weights;
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
        run_chunk(run, &run->shared, &run->all, block, to);
    }
}

/* Item: a section of one product. */
static void product_item(void *context, int item)
{
    const struct winograd_run *run = context;
    const struct winograd *w = run->winograd;
    const int p = item / run->n_sections, section = item % run->n_sections;
    const int end = section_start(run, section + 1);
    const size_t of_block = products_plane(size_of(&run->all)) * (size_t)w->n_products;
    /* With threads that take turns, this one's next item is this: */
    const int next = item + rn_threads_count(run->args->threads);
    for (int block = section_start(run, section), to; block < end; block = to) {
        to = chunk_end(w, block) < end ? chunk_end(w, block) : end;
        multiply(w, &run->shared, &run->all, p, block, to, run->products + (size_t)block * of_block,
                 to < end ? w->weights + panel_at(w, to, p) : section_weights(run, next));
    }
}

/* Item: one output block. */
static void output_item(void *context, int block)
{
    const struct winograd_run *run = context;
    const size_t plane = products_plane(size_of(&run->all));
    const float *products =
        run->products + (size_t)block * plane * (size_t)run->winograd->n_products;
    transform_out(run, products, plane, &run->all, block);
}

/* ---- running --------------------------------------------------------------------------------- */

/* So many tiles a team takes in groups, each thread its own. */
static int enough_tiles(const struct winograd *w, int n_threads)
{
    return w->min_tiles * (n_threads < MAX_SHARED ? n_threads : MAX_SHARED);
}

static size_t team_scratch_bytes(const void *data, int n_threads)
{
    const struct winograd *w = data;
    const int all = w->spec.max_batch * winograd_tiles_count(&w->tiles);
    const int enough = enough_tiles(w, n_threads);
    return tensor_align(shared_size(w, all < enough ? all : enough) * sizeof(float));
}

static void run(const void *data, const struct op_args *args)
{
    const struct winograd *w = data;
    const struct op_spec *s = &w->spec;
    struct winograd_run run = {.winograd = w, .args = args};
    const int n_threads = rn_threads_count(args->threads);
    const int n_tiles = args->n * winograd_tiles_count(&w->tiles);
    run.all = (struct winograd_group){.to = n_tiles};
    if (n_tiles >= enough_tiles(w, n_threads)) {
        run.n_groups = (n_tiles + w->max_group - 1) / w->max_group;
        run.n_groups = (run.n_groups + n_threads - 1) / n_threads * n_threads;
        threads_run(args->threads, run.n_groups, group_item, &run);
        return;
    }
    run.all = winograd_group(&w->tiles, 0, n_tiles);
    run.shared = values_at(w, args->team_scratch, n_tiles);
    threads_run(args->threads, w->in_blocks, transform_item, &run);
    if (n_tiles <= w->max_group) {
        run.n_sections = (w->out_blocks - 1) / (SECTION_TILES * s->kernels->conv_blocks) + 1;
        threads_run(args->threads, run.n_sections, section_item, &run);
        return;
    }
    run.products = args->team_scratch + values_size(w, n_tiles);
    run.n_sections = (4 * n_threads - 1) / w->n_products + 1;
    threads_run(args->threads, w->n_products * run.n_sections, product_item, &run);
    threads_run(args->threads, w->out_blocks, output_item, &run);
}

/* ---- preparing ------------------------------------------------------------------------------- */

struct packing {
    const struct winograd *winograd;
    float *weights;
};

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

/* Piece: an output block. */
static void pack_block(void *context, int block)
{
    const struct packing *p = context;
    for (int i = 0; i < p->winograd->spec.in.c; i++)
        pack_channel(p->winograd, block, i, p->weights);
}

/* In whole register tiles. */
static int max_group(const struct winograd *w)
{
    const size_t of_tile =
        (size_t)(w->n_products * (w->in_blocks + 1 + CHUNK_BLOCKS)) * CHANNEL_BLOCK * sizeof(float);
    const size_t fit = MAX_GROUP_BYTES / of_tile;
    const int n = fit < MAX_GROUP ? (int)fit : MAX_GROUP, rows = w->spec.kernels->conv_rows;
    return n < rows ? rows : n / rows * rows;
}

static int min_tiles(const struct winograd_filter *filter, size_t weights_bytes)
{
    const int n_weights = filter->rows * filter->rows;
    return weights_bytes > FEW_WEIGHTS_BYTES ? MIN_USES * n_weights / (filter->side * filter->side)
                                             : FEW_TILES;
}

enum rn_status conv_winograd_prepare(const struct op_spec *spec, enum winograd_kind kind,
                                     struct arena *arena, struct op_prepared *out,
                                     struct rn_error *err)
{
    const struct winograd_filter *filter = winograd_filter(kind);
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
                           .tiles = winograd_tiles(filter, spec->out),
                           .in_blocks = (int)in_blocks,
                           .out_blocks = (int)out_blocks,
                           .min_tiles = min_tiles(filter, n_floats * sizeof *weights),
                           .weights = weights,
                           .bias = bias};
    w->max_group = max_group(w);
    op_pack(spec, w->out_blocks, pack_block, &(struct packing){w, weights});
    const size_t own = products_size(w, w->max_group) + values_size(w, w->max_group);
    op_pack_bias(spec, bias);
    *out = (struct op_prepared){
        .data = w,
        .run = run,
        .work = UINT64_C(2) * winograd_tiles_products(&w->tiles) * (uint64_t)spec->in.c *
                (uint64_t)spec->out.c,
        .algorithm = filter->name,
        .thread_scratch_bytes = tensor_align(own * sizeof(float)),
        .team_scratch_bytes = team_scratch_bytes,
    };
    return RN_OK;
}
