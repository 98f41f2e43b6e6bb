/* The stem of the ImageNet networks, a 7×7 convolution at stride 2 over a planar image, by
 * Winograd's F(4×4, 4×4), and the 3×3 max pool at stride 2 behind it.
 *
 * The pixels of every 2×2 square become channels of one position (squares.h), over which a 4×4
 * kernel goes at stride 1, with zeros where it sticks out of the 7×7 one. 4×4 outputs cost 49
 * products; those for the point ∞ have only the 4×4 kernel's last row or column as a factor, which
 * has nothing of the squares' second row or column: half the depth.
 *
 * A thread takes a band of tile rows, and each row through all steps: squares, transform, products,
 * transform back, pool. Nothing between the image and the pool's output leaves its L2. A window
 * over two tile rows is pooled in two parts; where the rows are of two bands, the upper part (a
 * seam) is kept, and follows when all bands are done. A maximum has no rounding, so that bands may
 * be cut in any way.
 *
 * Without a max pool, the outputs are written to where they belong.
 *
 * SPDX-License-Identifier: MIT */
#include <assert.h>
#include <string.h>

#include "engine/base/threads.h"
#include "engine/engine.h"
#include "engine/op/conv.h"
#include "engine/op/squares.h"
#include "engine/op/winograd_filter.h"

#define M 4    /* outputs of a tile, a dimension, */
#define SIDE 7 /* and inputs */
#define N_PRODUCTS (SIDE * SIDE)
#define AT_INFINITY 1      /* the point ∞, among the SIDE of a dimension */
#define MAX_GROUP 30       /* tiles that go through the products together */
#define CHUNK_TILES 2      /* of a chunk: so many times the output blocks of a register tile */
#define BANDS_PER_THREAD 4 /* so that a slow thread does not keep the others waiting */
#define PAD CHANNEL_BLOCK  /* keeps planes from meeting in one set of the cache */

struct stem {
    struct op_spec spec;
    int tile_rows, tile_columns, out_blocks;
    int chunk;                   /* output blocks whose products are kept at a time */
    int depth[N_PRODUCTS];       /* of each product, which may have */
    bool even[N_PRODUCTS];       /* channels 0, 2, 4, … only */
    int before[N_PRODUCTS + 1];  /* depths of those before it */
    bool pools;                  /* the max pool behind it, if it is asked to */
    const float *weights, *bias; /* [chunks][P][blocks of the chunk][depth][16]; [out_blocks][16] */
};

static int square_columns(int tiles)
{
    return M * tiles + SIDE - M;
}

/* Floats from one product's to the next one's: of values, [tiles][16], and of products. */
static size_t plane_size(int tiles)
{
    return (size_t)tiles * CHANNEL_BLOCK + PAD;
}

static struct shape pooled_shape(const struct stem *s)
{
    const struct shape out = s->spec.out;
    return (struct shape){out.c, (out.h + 1) / 2, (out.w + 1) / 2};
}

/* What a thread keeps of a tile row. */
struct room {
    float *squares;  /* [SIDE][square_columns][16]: row r of squares in r % SIDE */
    float *columns;  /* [square_columns of a group][SIDE][16] */
    float *values;   /* [P][plane_size] */
    float *products; /* [chunk][P][plane_size] */
    float *edges;    /* [out_blocks][3][16], if it pools: see winograd_pool */
};

/* Floats of each, in that order. */
static void room_sizes(const struct stem *s, size_t sizes[5])
{
    sizes[0] = (size_t)(SIDE * square_columns(s->tile_columns)) * CHANNEL_BLOCK;
    sizes[1] = (size_t)(SIDE * square_columns(MAX_GROUP)) * CHANNEL_BLOCK;
    sizes[2] = N_PRODUCTS * plane_size(MAX_GROUP);
    sizes[3] = (size_t)s->chunk * sizes[2];
    sizes[4] = (size_t)(s->out_blocks * 3 * CHANNEL_BLOCK);
}

static struct room room_of_thread(const struct stem *s, const struct op_args *args)
{
    size_t sizes[5];
    room_sizes(s, sizes);
    struct room room = {.squares = op_thread_scratch(args, threads_self())};
    room.columns = room.squares + sizes[0];
    room.values = room.columns + sizes[1];
    room.products = room.values + sizes[2];
    room.edges = room.products + sizes[3];
    return room;
}

static int chunk_end(const struct stem *s, int block)
{
    return block + s->chunk < s->out_blocks ? block + s->chunk : s->out_blocks;
}

/* Where the weights of product p of the chunk of output blocks from `block` on begin. */
static size_t panel_at(const struct stem *s, int block, int p)
{
    const int n = chunk_end(s, block) - block;
    return (size_t)(block * s->before[N_PRODUCTS] + n * s->before[p]) * CHANNEL_BLOCK;
}

/* ---- a tile row ------------------------------------------------------------------------------ */

struct stem_run {
    const struct stem *stem;
    const struct op_args *args; /* of one image */
    int n_bands;
    bool pooled;
};

/* Bands differ by one row at most, the longer ones first: the others even out who was late. */
static int band_start(const struct stem_run *run, int band)
{
    const int rows = run->stem->tile_rows / run->n_bands,
              longer = run->stem->tile_rows % run->n_bands;
    return band * rows + (band < longer ? band : longer);
}

/* Rows of squares from the `have`-th on that tile row `row` reads: the others are there. */
static void gather(const struct stem_run *run, const struct room *room, int row, int have)
{
    const struct stem *s = run->stem;
    const int n = square_columns(s->tile_columns);
    for (int i = M * row + have; i < M * row + SIDE; i++)
        squares_row(run->args->images[0], s->spec.in, s->spec.attrs.pad, i, n,
                    room->squares + (size_t)(i % SIDE * n) * CHANNEL_BLOCK);
}

/* Tiles [from, to) of the row into values. */
static void transform_in(const struct stem *s, const struct room *room, int row, int from, int to)
{
    struct winograd_row tiles = {
        .n = to - from,
        .columns = room->columns,
        .out = room->values,
        .out_row = CHANNEL_BLOCK,
        .out_plane = plane_size(to - from),
    };
    for (int y = 0; y < SIDE; y++)
        tiles.rows[y] =
            room->squares +
            (size_t)((M * row + y) % SIDE * square_columns(s->tile_columns) + M * from) *
                CHANNEL_BLOCK;
    s->spec.kernels->winograd_in_stem(&tiles);
}

/* Values of n tiles by the weights of output blocks [block, end), a chunk. */
static void multiply(const struct stem *s, const struct room *room, int n, int block, int end)
{
    const size_t plane = plane_size(n);
    for (int p = 0; p < N_PRODUCTS; p++) {
        const struct gemm gemm = {
            .a = room->values + (size_t)p * plane,
            .a_stride = CHANNEL_BLOCK,
            .b = s->weights + panel_at(s, block, p),
            .next = s->weights + panel_at(s, block, p + 1),
            .c = room->products + (size_t)p * plane,
            .c_stride = CHANNEL_BLOCK,
            .c_block = plane * N_PRODUCTS,
            .rows = n,
            .depth = s->depth[p],
            .n_out = end - block,
            .even = s->even[p],
        };
        s->spec.kernels->gemm(&gemm);
    }
}

static int row_height(const struct stem *s, int row)
{
    const int left = s->spec.out.h - M * row;
    return left < M ? left : M;
}

/* Tiles [from, to) of a row, one output block. */
struct part {
    int row, from, to, block;
    const float *products;
};

/* Back to outputs. */
static void transform_out(const struct stem_run *run, const struct part *part)
{
    const struct stem *s = run->stem;
    const size_t line = (size_t)s->spec.out.w * CHANNEL_BLOCK;
    const size_t at = (size_t)(part->block * s->spec.out.h + M * part->row) * line;
    for (int t = part->from; t < part->to; t++) {
        const size_t place = at + (size_t)(M * t * CHANNEL_BLOCK);
        const int left = s->spec.out.w - M * t;
        const struct winograd_out tile = {
            .in = {part->products + (size_t)((t - part->from) * CHANNEL_BLOCK)},
            .in_stride = plane_size(part->to - part->from),
            .bias = s->bias + (size_t)part->block * CHANNEL_BLOCK,
            .residual = run->args->residual ? run->args->residual + place : NULL,
            .out = run->args->out + place,
            .row_stride = line,
            .rows = row_height(s, part->row),
            .columns = left < M ? left : M,
            .relu = s->spec.attrs.relu && !run->args->no_relu,
        };
        s->spec.kernels->winograd_out[WINOGRAD_STEM](&tile);
    }
}

/* Row `row` of the pool's outputs, an output block's. */
static float *pooled_at(const struct stem_run *run, int block, int row)
{
    const struct shape pooled = pooled_shape(run->stem);
    return run->args->out + (size_t)(block * pooled.h + row) * (size_t)pooled.w * CHANNEL_BLOCK;
}

/* What the last tile row of a band gives to the windows below, an output block's. */
static float *seam_at(const struct stem_run *run, int band, int block)
{
    const struct stem *s = run->stem;
    return run->args->scratch +
           (size_t)(band * s->out_blocks + block) * (size_t)pooled_shape(s).w * CHANNEL_BLOCK;
}

/* Back to outputs, and these into the pool's. */
static void transform_pooled(const struct stem_run *run, const struct room *room, int band,
                             const struct part *part)
{
    const struct stem *s = run->stem;
    const int row = part->row, block = part->block, height = row_height(s, row);
    struct winograd_pool tiles = {
        .in = part->products,
        .in_stride = plane_size(part->to - part->from),
        .bias = s->bias + (size_t)block * CHANNEL_BLOCK,
        .edge = room->edges + (size_t)(block * 3) * CHANNEL_BLOCK,
        .out = {pooled_at(run, block, 2 * row)},
        .n = part->to - part->from,
        .rows = height,
        .columns = s->spec.out.w - M * part->from,
        .left = part->from == 0,
        .more = row > band_start(run, band),
        .relu = s->spec.attrs.relu && !run->args->no_relu,
    };
    if (height > 2)
        tiles.out[1] = pooled_at(run, block, 2 * row + 1);
    if (row + 1 < s->tile_rows)
        tiles.out[2] = row + 1 < band_start(run, band + 1) ? pooled_at(run, block, 2 * row + 2)
                                                           : seam_at(run, band, block);
    for (int i = 0; i < 3; i++)
        tiles.out[i] = tiles.out[i] ? tiles.out[i] + 2 * part->from * CHANNEL_BLOCK : NULL;
    s->spec.kernels->winograd_pool_stem(&tiles);
}

/* Tiles [from, to) of a row, all the way. */
static void convolve(const struct stem_run *run, const struct room *room, int band, int row,
                     int from, int to)
{
    const struct stem *s = run->stem;
    transform_in(s, room, row, from, to);
    for (int block = 0, end; block < s->out_blocks; block = end) {
        end = chunk_end(s, block);
        multiply(s, room, to - from, block, end);
        for (int b = block; b < end; b++) {
            const struct part part = {row, from, to, b,
                                      room->products + (size_t)((b - block) * N_PRODUCTS) *
                                                           plane_size(to - from)};
            if (run->pooled)
                transform_pooled(run, room, band, &part);
            else
                transform_out(run, &part);
        }
    }
}

/* ---- running --------------------------------------------------------------------------------- */

/* Item: a band. */
static void band_item(void *context, int band)
{
    const struct stem_run *run = context;
    const int first = band_start(run, band), end = band_start(run, band + 1);
    const int n = run->stem->tile_columns, n_groups = (n + MAX_GROUP - 1) / MAX_GROUP;
    const struct room room = room_of_thread(run->stem, run->args);
    for (int row = first; row < end; row++) {
        gather(run, &room, row, row == first ? 0 : SIDE - M);
        for (int g = 0; g < n_groups; g++)
            convolve(run, &room, band, row, n * g / n_groups, n * (g + 1) / n_groups);
    }
}

/* Item: the seam below a band. */
static void seam_item(void *context, int band)
{
    const struct stem_run *run = context;
    const struct stem *s = run->stem;
    for (int b = 0; b < s->out_blocks; b++)
        s->spec.kernels->larger(seam_at(run, band, b), pooled_shape(s).w,
                                pooled_at(run, b, 2 * band_start(run, band + 1)));
}

static void run_bands(const struct stem *s, const struct op_args *args, bool pooled)
{
    const size_t image = shape_blocked_size(pooled ? pooled_shape(s) : s->spec.out);
    const int n_bands = BANDS_PER_THREAD * rn_threads_count(args->threads);
    for (int i = 0; i < args->n; i++) {
        struct op_args one = *args;
        one.images += i;
        one.out += (size_t)i * image;
        one.residual = one.residual ? one.residual + (size_t)i * image : NULL;
        struct stem_run run = {.stem = s, .args = &one, .pooled = pooled};
        run.n_bands = n_bands < s->tile_rows ? n_bands : s->tile_rows;
        threads_run(args->threads, run.n_bands, band_item, &run);
        if (pooled && run.n_bands > 1)
            threads_run(args->threads, run.n_bands - 1, seam_item, &run);
    }
}

static void run(const void *data, const struct op_args *args)
{
    run_bands(data, args, false);
}

static void run_pooled(const void *data, const struct op_args *args)
{
    assert(!args->residual);
    run_bands(data, args, true);
}

/* ---- preparing ------------------------------------------------------------------------------- */

/* The channels that product p has weights for: the first `depth`, or so many even ones. */
static void choose_depths(struct stem *s)
{
    const int channels = 4 * s->spec.in.c;
    const bool colours = s->spec.in.c == GEMM_STEP;
    for (int p = 0; p < N_PRODUCTS; p++) {
        int depth = (channels + GEMM_STEP - 1) / GEMM_STEP * GEMM_STEP;
        if (colours && p / SIDE == AT_INFINITY)
            depth /= 2;
        s->even[p] = colours && p % SIDE == AT_INFINITY;
        if (s->even[p])
            depth /= 2;
        s->depth[p] = depth < CHANNEL_BLOCK ? depth : CHANNEL_BLOCK;
        s->before[p + 1] = s->before[p] + s->depth[p];
    }
}

/* The 4×4 kernels from channel i of the squares to output block b, transformed. */
static void transform_channel(const struct stem *s, const struct winograd_filter *filter, int b,
                              int i, float products[N_PRODUCTS][CHANNEL_BLOCK])
{
    const struct op_spec *spec = &s->spec;
    const int channel = i / 2 % spec->in.c, top = i / 2 / spec->in.c, left = i % 2;
    double taps[WINOGRAD_MAX_TAPS][WINOGRAD_MAX_TAPS][CHANNEL_BLOCK] = {{{0}}};
    for (int k = 0; k < CHANNEL_BLOCK && b * CHANNEL_BLOCK + k < spec->out.c; k++) {
        const int o = b * CHANNEL_BLOCK + k;
        const float *kernel = spec->params.weight + (size_t)(o * spec->in.c + channel) * 49;
        for (int y = top; y < 7; y += 2)
            for (int x = left; x < 7; x += 2)
                taps[x / 2][y / 2][k] = (double)kernel[7 * y + x];
    }
    winograd_filter_transform(filter, taps, products);
}

struct packing {
    const struct stem *stem;
    float *weights;
};

/* Piece: an output block. */
static void pack_block(void *context, int block)
{
    const struct packing *packing = context;
    const struct stem *s = packing->stem;
    const int first = block / s->chunk * s->chunk;
    float products[N_PRODUCTS][CHANNEL_BLOCK];
    for (int i = 0; i < 4 * s->spec.in.c; i++) {
        transform_channel(s, winograd_filter(WINOGRAD_STEM), block, i, products);
        for (int p = 0; p < N_PRODUCTS; p++) {
            const int at = s->even[p] ? i / 2 : i;
            if (at < s->depth[p] && !(s->even[p] && i % 2 != 0))
                memcpy(packing->weights + panel_at(s, first, p) +
                           (size_t)((block - first) * s->depth[p] + at) * CHANNEL_BLOCK,
                       products[p], sizeof products[p]);
        }
    }
}

/* Whether it is the pool that the kernels have, see winograd_pool. */
static bool takes_pool(const struct op_attrs *pool)
{
    return pool && pool->kernel == 3 && pool->stride == 2 && pool->pad == 1;
}

bool conv_stem_possible(const struct op_spec *spec)
{
    const struct op_attrs *a = &spec->attrs;
    return spec->in_border >= 0 && a->kernel == 7 && a->stride == 2 && a->groups == 1 &&
           4 * spec->in.c <= CHANNEL_BLOCK;
}

enum rn_status conv_stem_prepare(const struct op_spec *spec, struct arena *arena,
                                 struct op_prepared *out, struct rn_error *err)
{
    struct stem *s = arena_alloc(arena, sizeof *s);
    if (!s)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for a layer");
    *s = (struct stem){.spec = *spec,
                       .tile_rows = (spec->out.h + M - 1) / M,
                       .tile_columns = (spec->out.w + M - 1) / M,
                       .out_blocks = channel_blocks(spec->out.c),
                       .chunk = CHUNK_TILES * spec->kernels->conv_blocks};
    s->pools = takes_pool(spec->pool);
    choose_depths(s);
    const size_t out_channels = (size_t)(s->out_blocks * CHANNEL_BLOCK);
    const size_t depth = (size_t)s->before[N_PRODUCTS];
    float *weights = arena_array(arena, depth * out_channels, sizeof *weights);
    float *bias = arena_array(arena, out_channels, sizeof *bias);
    if (!weights || !bias)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for packed weights");
    s->weights = weights;
    s->bias = bias;
    op_pack(spec, s->out_blocks, pack_block, &(struct packing){s, weights});
    op_pack_bias(spec, bias);
    size_t sizes[5], room = 0;
    room_sizes(s, sizes);
    for (int i = 0; i < 5; i++)
        room += sizes[i];
    const size_t seams =
        (size_t)(s->tile_rows - 1) * (size_t)(s->out_blocks * pooled_shape(s).w) * CHANNEL_BLOCK;
    *out = (struct op_prepared){
        .data = s,
        .run = run,
        .run_pooled = s->pools ? run_pooled : NULL,
        .reads_images = true,
        .work = UINT64_C(2) * depth * (uint64_t)s->tile_rows * (uint64_t)s->tile_columns *
                (uint64_t)spec->out.c,
        .algorithm = winograd_filter(WINOGRAD_STEM)->name,
        .scratch_bytes = s->pools ? tensor_align(seams * sizeof(float)) : 0,
        .thread_scratch_bytes = tensor_align(room * sizeof(float)),
    };
    return RN_OK;
}
