/* Convolution on a CPU's matrix unit, directly, every fp32 product made of three of bf16 (kernel.h
 * says how exact that is). The input is first split into halves (bf16x3_map.h).
 *
 * Large maps are cut into bands of rows: a thread splits the input of a band, and what it has split
 * stays in its cache while all output channels are made of it. The layers after, with more weights
 * than positions, are split by all threads first, and then each takes some output channels. Cutting
 * never changes the order in which an output is summed.
 *
 * SPDX-License-Identifier: MIT */
#include <assert.h>
#include <string.h>

#include "engine/base/threads.h"
#include "engine/engine.h"
#include "engine/op/bf16x3_map.h"
#include "engine/op/conv.h"

#define BAND_TILES 16        /* of a thread's band, */
#define BAND_TILES_PIXELS 64 /* of which neighbours have many rows of pixels in common, */
#define MAX_BAND_WEIGHTS ((size_t)1 << 20)  /* which stay in its L2, too, */
#define MAX_BAND_VALUES ((size_t)256 << 10) /* beside the band's input */
#define GROUP_VALUES ((size_t)2 << 20)      /* of images split together; one image at least */
#define PANEL_BYTES ((size_t)512 << 10)     /* weights of an item of those */

struct conv {
    struct op_spec spec;
    struct bf16x3_map map; /* a band of it, split */
    int n_taps, out_blocks;
    int n_pairs;               /* that an output reads: all, or those of its group */
    int group_out;             /* output blocks that read the same pairs */
    size_t *tap_offset;        /* [n_taps], values */
    bool banded;               /* each thread splits what it multiplies; else an image is a band */
    int rows, band_rows;       /* of tiles: of an image, and at most of a band */
    int row_positions;         /* of a row, with what is not stored */
    size_t row_floats;         /* of the output, from row to row */
    size_t band;               /* values of a band's split input */
    int group;                 /* images that are split at a time */
    struct bf16x3_tile *tiles; /* of a band */
    const uint16_t *weights;   /* [out_blocks / 2] panels */
    size_t panel;              /* values of two output blocks */
    const float *bias;         /* [out_blocks][16] */
};

/* ---- running --------------------------------------------------------------------------------- */

struct conv_run {
    const struct conv *conv;
    const struct op_args *args;
    int first, n; /* images, at most a group */
    int n_bands;
    int n_tiles, n_tile_chunks, chunk_blocks; /* of an image's tiles and blocks, in items */
};

static const float *input_of(const struct conv_run *run, int image)
{
    return run->args->in + (size_t)(run->first + image) * op_input_size(&run->conv->spec);
}

/* Floats to an image's output. */
static size_t output_of(const struct conv_run *run, int image)
{
    return (size_t)(run->first + image) * shape_blocked_size(run->conv->spec.out);
}

static int tiles_of_rows(const struct conv *c, int rows)
{
    return (rows * c->row_positions + BF16X3_ROWS - 1) / BF16X3_ROWS;
}

/* Output blocks [block, end) of tiles [from, to) of a band: it was split into `in`, and its outputs
 * are the `n_floats` of each block from `first` on. `after`: the block whose weights are wanted
 * next. */
static void multiply(const struct conv_run *run, const uint16_t *in, size_t first, size_t n_floats,
                     int from, int to, int block, int end, int after)
{
    const struct conv *c = run->conv;
    const struct op_spec *s = &c->spec;
    const size_t map = (size_t)(s->out.h * s->out.w) * CHANNEL_BLOCK;
    first += (size_t)block * map;
    struct bf16x3 tiles = {
        .in = in + (size_t)(block / c->group_out * c->n_pairs) * c->map.pair,
        .in_row = BF16X3_DEPTH * sizeof *in,
        .in_low = c->map.low,
        .in_stride = c->map.pair,
        .tap_offset = c->tap_offset,
        .n_taps = c->n_taps,
        .n_pairs = c->n_pairs,
        .group_out = c->group_out,
        .group_at = block % c->group_out,
        .in_group = (size_t)c->n_pairs * c->map.pair,
        .tiles = c->tiles + from,
        .n_tiles = to - from,
        .n_out = end - block,
        .weights = c->weights + (size_t)(block / 2) * c->panel,
        .bias = c->bias + (size_t)block * CHANNEL_BLOCK,
        .residual = run->args->residual ? run->args->residual + first : NULL,
        .out = run->args->out + first,
        .next = after < c->out_blocks ? c->weights + (size_t)(after / 2) * c->panel : NULL,
        .out_stride = map,
        .limit = n_floats,
        .relu = s->attrs.relu && !run->args->no_relu,
    };
    if (c->map.layout == BF16X3_PIXELS)
        tiles.in_row = (size_t)(s->attrs.stride * BF16X3_CHANNELS) * sizeof *in;
    s->kernels->bf16x3(&tiles);
}

/* Item: a band of an image, all the way. */
static void band_item(void *context, int item)
{
    const struct conv_run *run = context;
    const struct conv *c = run->conv;
    const int image = item / run->n_bands, band = item % run->n_bands;
    const int row = (int)((int64_t)c->rows * band / run->n_bands);
    const int rows = (int)((int64_t)c->rows * (band + 1) / run->n_bands) - row;
    const float *in = input_of(run, image);
    uint16_t *split = op_thread_scratch(run->args, threads_self());
    const int k = c->spec.attrs.kernel, stride = c->spec.attrs.stride;
    if (c->map.layout == BF16X3_POINTS) {
        const int points = c->spec.out.h * c->spec.out.w, end = (row + rows) * BF16X3_ROWS;
        bf16x3_split_points(&c->map, in, row * BF16X3_ROWS, end < points ? end : points, 0,
                            c->map.n_pairs, split);
    } else if (c->map.layout == BF16X3_WINDOWS) {
        bf16x3_split_windows(&c->map, in, row, rows + (k - 1) / stride, 0, c->map.n_pairs, split);
    } else {
        bf16x3_split_pixels(&c->map, in, row * stride, (rows - 1) * stride + k, split);
    }
    const size_t from = (size_t)row * c->row_floats, to = from + (size_t)rows * c->row_floats;
    const size_t map = (size_t)(c->spec.out.h * c->spec.out.w) * CHANNEL_BLOCK;
    multiply(run, split, output_of(run, image) + from, (to < map ? to : map) - from, 0,
             tiles_of_rows(c, rows), 0, c->out_blocks, c->out_blocks);
}

/* Item: a pair of blocks of an image; of points, of all images. */
static void split_item(void *context, int item)
{
    const struct conv_run *run = context;
    const struct conv *c = run->conv;
    uint16_t *split = (uint16_t *)(void *)run->args->scratch;
    const int image = item / c->map.n_pairs, pair = item % c->map.n_pairs;
    if (c->map.layout == BF16X3_POINTS)
        bf16x3_split_points(&c->map, input_of(run, 0), 0, run->n * c->spec.out.h * c->spec.out.w,
                            pair, pair + 1, split);
    else
        bf16x3_split_windows(&c->map, input_of(run, image), 0, c->map.plane_h, pair, pair + 1,
                             split + (size_t)image * c->band);
}

/* Item: some output blocks of some tiles of an image; of points, of all images. */
static void multiply_item(void *context, int item)
{
    const struct conv_run *run = context;
    const struct conv *c = run->conv;
    const uint16_t *split = (const uint16_t *)(const void *)run->args->scratch;
    const int images = c->map.layout == BF16X3_POINTS ? 1 : run->n,
              per_chunk = run->n_tile_chunks * images;
    const int chunk = item % run->n_tile_chunks, image = item / run->n_tile_chunks % images;
    const int block = item / per_chunk * run->chunk_blocks, end = block + run->chunk_blocks;
    /* Of this thread's share the next item is this: */
    const int next = (item + 1) / per_chunk * run->chunk_blocks;
    const size_t map = (size_t)(c->spec.out.h * c->spec.out.w) * CHANNEL_BLOCK;
    const size_t all = (size_t)run->n * shape_blocked_size(c->spec.out);
    multiply(run, split + (size_t)image * c->band, output_of(run, image),
             c->map.layout == BF16X3_POINTS ? all : map,
             (int)((int64_t)run->n_tiles * chunk / run->n_tile_chunks),
             (int)((int64_t)run->n_tiles * (chunk + 1) / run->n_tile_chunks), block,
             end < c->out_blocks ? end : c->out_blocks, next == block ? c->out_blocks : next);
}

static void run_bands(struct conv_run *run)
{
    const struct conv *c = run->conv;
    const int enough = 4 * rn_threads_count(run->args->threads);
    run->n_bands = (c->rows + c->band_rows - 1) / c->band_rows;
    if (run->n * run->n_bands < enough)
        run->n_bands = enough / run->n < c->rows ? enough / run->n : c->rows;
    threads_run(run->args->threads, run->n * run->n_bands, band_item, run);
}

static void run_shared(struct conv_run *run)
{
    const struct conv *c = run->conv;
    struct rn_threads *threads = run->args->threads;
    const int images = c->map.layout == BF16X3_POINTS ? 1 : run->n,
              points = c->spec.out.h * c->spec.out.w;
    threads_run(threads, images * c->map.n_pairs, split_item, run);
    run->n_tiles = c->map.layout == BF16X3_POINTS
                       ? (run->n * points + BF16X3_ROWS - 1) / BF16X3_ROWS
                       : tiles_of_rows(c, c->rows);
    run->n_tile_chunks = (run->n_tiles + BAND_TILES - 1) / BAND_TILES;
    const int chunks = images * run->n_tile_chunks;
    run->chunk_blocks = 2 * (int)(PANEL_BYTES / (c->panel * sizeof *c->weights));
    run->chunk_blocks = run->chunk_blocks < 2 ? 2 : run->chunk_blocks;
    /* A few large items would leave threads without work at the end. */
    while (run->chunk_blocks > 2 && (c->out_blocks - 1) / run->chunk_blocks * chunks + chunks <
                                        8 * rn_threads_count(threads))
        run->chunk_blocks = run->chunk_blocks / 4 * 2;
    threads_run(threads, ((c->out_blocks - 1) / run->chunk_blocks + 1) * chunks, multiply_item,
                run);
}

static void run(const void *prepared, const struct op_args *args)
{
    const struct conv *c = prepared;
    struct conv_run run = {.conv = c, .args = args};
    for (; run.first < args->n; run.first += run.n) {
        run.n = args->n - run.first < c->group ? args->n - run.first : c->group;
        if (c->banded)
            run_bands(&run);
        else
            run_shared(&run);
    }
}

/* ---- preparing ------------------------------------------------------------------------------- */

/* The upper half of an fp32, rounded to nearest even. */
static uint16_t round_to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float bf16_value(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The weight of output o for value i of a tile's row, under a tap, of a pair that o reads. */
static void pack_weight(const struct conv *c, float weight, int o, int pair, int tap, int i,
                        uint16_t *packed)
{
    const int n_out = o / CHANNEL_BLOCK / 2 * 2 + 2 <= c->out_blocks ? 2 : 1;
    const size_t step = (size_t)(pair * c->n_taps + tap) * 2 * (size_t)n_out * BF16X3_TILE;
    uint16_t *high = packed + (size_t)(o / CHANNEL_BLOCK / 2) * c->panel + step +
                     o / CHANNEL_BLOCK % 2 * BF16X3_TILE + i / 2 * BF16X3_DEPTH +
                     o % CHANNEL_BLOCK * 2 + i % 2;
    *high = round_to_bf16(weight);
    high[n_out * BF16X3_TILE] = round_to_bf16(weight - bf16_value(*high));
}

struct packing {
    const struct conv *conv;
    uint16_t *weights;
};

/* Piece: an output block, in the order of the file; what is beyond the layer and the groups stays
 * zero. */
static void pack_block(void *context, int block)
{
    const struct packing *p = context;
    const struct conv *c = p->conv;
    const struct op_spec *s = &c->spec;
    const int k = s->attrs.kernel, in_per_group = s->in.c / s->attrs.groups;
    const int first = block / c->group_out * c->n_pairs * BF16X3_DEPTH;
    for (int o = block * CHANNEL_BLOCK; o < (block + 1) * CHANNEL_BLOCK && o < s->out.c; o++) {
        const int group = o / (s->out.c / s->attrs.groups);
        const float *weight = s->params.weight + (size_t)o * (size_t)(in_per_group * k * k);
        for (int channel = group * in_per_group; channel < (group + 1) * in_per_group; channel++)
            for (int tap = 0; tap < k * k; tap++, weight++) {
                if (c->map.layout == BF16X3_PIXELS) /* a tap is a row of the window */
                    pack_weight(c, *weight, o, 0, tap / k, tap % k * BF16X3_CHANNELS + channel,
                                p->weights);
                else
                    pack_weight(c, *weight, o, (channel - first) / BF16X3_DEPTH, tap,
                                (channel - first) % BF16X3_DEPTH, p->weights);
            }
    }
}

/* How the input is split and which of it are bands. */
static void plan_layout(struct conv *c)
{
    const struct op_spec *s = &c->spec;
    const int k = s->attrs.kernel, stride = s->attrs.stride;
    c->map.n_pairs = (channel_blocks(s->in.c) + 1) / 2;
    c->n_taps = k * k;
    c->rows = s->out.h;
    c->row_floats = (size_t)s->out.w * CHANNEL_BLOCK;
    if (s->in_border >= 0) {
        c->map.layout = BF16X3_PIXELS;
        c->map.n_pairs = 1;
        c->n_taps = k;
        c->map.plane_w = s->in.w + 2 * s->in_border;
        c->row_positions = (s->out.w + BF16X3_ROWS - 1) / BF16X3_ROWS * BF16X3_ROWS;
    } else if (k == 1 && s->attrs.pad == 0) {
        c->map.layout = BF16X3_POINTS;
        c->rows = (s->out.h * s->out.w + BF16X3_ROWS - 1) / BF16X3_ROWS;
        c->row_positions = BF16X3_ROWS;
        c->row_floats = BF16X3_ROWS * CHANNEL_BLOCK;
    } else {
        c->map.layout = BF16X3_WINDOWS;
        c->map.n_phases = k < stride ? k : stride;
        c->map.plane_w = c->row_positions = s->out.w + (k - 1) / stride;
    }
    c->n_pairs = c->map.n_pairs;
    c->group_out = c->out_blocks + 1; /* more than there are */
    if (s->attrs.groups > 1) {
        const int in_per_group = s->in.c / s->attrs.groups;
        c->n_pairs = in_per_group > BF16X3_DEPTH ? in_per_group / BF16X3_DEPTH : 1;
        c->group_out = 2 * c->n_pairs;
    }
    const int band_tiles = c->map.layout == BF16X3_PIXELS ? BAND_TILES_PIXELS : BAND_TILES;
    const int tiles_rows = band_tiles * BF16X3_ROWS / c->row_positions;
    const size_t row_values =
        (size_t)(c->row_positions * c->map.n_pairs * (c->map.n_phases > 1 ? 4 : 1)) * 2 *
        BF16X3_DEPTH;
    const int rows = (int)(MAX_BAND_VALUES / row_values);
    c->band_rows = rows < tiles_rows ? rows : tiles_rows;
    c->panel = (size_t)(c->n_pairs * c->n_taps) * 4 * BF16X3_TILE;
    const size_t weights = (size_t)c->out_blocks * c->panel / 2 * sizeof *c->weights;
    c->banded = c->map.layout == BF16X3_PIXELS ||
                (c->rows >= 2 * c->band_rows && c->band_rows > 0 && weights <= MAX_BAND_WEIGHTS);
    if (c->band_rows < 1)
        c->band_rows = 1;
    if (!c->banded)
        c->band_rows = c->rows;
}

/* Where everything is in a band's split input. */
static void plan_band(struct conv *c)
{
    const struct op_attrs *a = &c->spec.attrs;
    const int k = a->kernel, stride = a->stride;
    if (c->map.layout == BF16X3_POINTS) {
        c->map.low = BF16X3_TILE;
        c->map.pair = 2 * BF16X3_TILE;
        c->band = (size_t)c->band_rows * (size_t)c->map.n_pairs * c->map.pair;
        c->tap_offset[0] = 0;
        return;
    }
    if (c->map.layout == BF16X3_PIXELS) {
        c->map.plane_h = (c->band_rows - 1) * stride + k;
        c->map.low = (size_t)(c->map.plane_h * c->map.plane_w + WINDOW_PIXELS) * BF16X3_CHANNELS;
        c->band = 2 * c->map.low;
        for (int tap = 0; tap < k; tap++)
            c->tap_offset[tap] = (size_t)(tap * c->map.plane_w * BF16X3_CHANNELS);
        return;
    }
    c->map.plane_h = c->band_rows + (k - 1) / stride;
    c->map.low = (size_t)(c->map.n_phases * c->map.n_phases * c->map.plane_h * c->map.plane_w) *
                 BF16X3_DEPTH;
    c->map.pair = 2 * c->map.low;
    c->band = (size_t)c->map.n_pairs * c->map.pair;
    for (int tap = 0; tap < k * k; tap++) {
        const int y = tap / k, x = tap % k, phase = y % stride * c->map.n_phases + x % stride;
        c->tap_offset[tap] =
            (size_t)((phase * c->map.plane_h + y / stride) * c->map.plane_w + x / stride) *
            BF16X3_DEPTH;
    }
}

static int count_tiles(const struct conv *c)
{
    if (c->map.layout == BF16X3_POINTS && !c->banded)
        return (c->group * c->spec.out.h * c->spec.out.w + BF16X3_ROWS - 1) / BF16X3_ROWS;
    return tiles_of_rows(c, c->band_rows);
}

static void find_tiles(const struct conv *c)
{
    const struct op_spec *s = &c->spec;
    const int n_tiles = count_tiles(c), points = s->out.h * s->out.w;
    for (int t = 0; t < n_tiles; t++) {
        struct bf16x3_tile *tile = &c->tiles[t];
        const int first = t * BF16X3_ROWS, y = first / c->row_positions,
                  x = first % c->row_positions;
        tile->in = (size_t)first * BF16X3_DEPTH;
        if (c->map.layout == BF16X3_POINTS)
            tile->in = (size_t)t * (size_t)c->map.n_pairs * c->map.pair;
        else if (c->map.layout == BF16X3_PIXELS)
            tile->in = (size_t)(s->attrs.stride * (y * c->map.plane_w + x) * BF16X3_CHANNELS);
        for (int r = 0; r < BF16X3_ROWS; r++) {
            const int p = first + r;
            if (c->map.layout == BF16X3_POINTS)
                tile->at[r] = (size_t)(p / points) * shape_blocked_size(s->out) +
                              (size_t)(p % points) * CHANNEL_BLOCK;
            else
                tile->at[r] = p % c->row_positions < s->out.w
                                  ? (size_t)(p / c->row_positions) * c->row_floats +
                                        (size_t)(p % c->row_positions) * CHANNEL_BLOCK
                                  : BF16X3_NOWHERE;
        }
    }
}

/* As many outputs as inputs, and groups that share a pair of blocks or take up whole ones. */
static bool groups_fit(const struct op_spec *s)
{
    const int in_per_group = s->in.c / s->attrs.groups;
    return s->attrs.groups == 1 || (s->in.c == s->out.c && (BF16X3_DEPTH % in_per_group == 0 ||
                                                            in_per_group % BF16X3_DEPTH == 0));
}

bool conv_bf16x3_possible(const struct op_spec *s)
{
    return s->kernels->bf16x3 && groups_fit(s) &&
           (s->in_border < 0 || (s->attrs.groups == 1 && s->in.c <= BF16X3_CHANNELS &&
                                 s->attrs.kernel <= WINDOW_PIXELS && s->attrs.pad == s->in_border));
}

static size_t scratch_bytes(const struct conv *c)
{
    /* Tiles at the end read beyond the last plane what they then leave out. */
    const size_t step = c->map.layout == BF16X3_PIXELS
                            ? (size_t)c->spec.attrs.stride * BF16X3_CHANNELS
                            : BF16X3_DEPTH;
    const size_t slack = BF16X3_ROWS * step + BF16X3_DEPTH;
    const size_t bands = c->banded ? 1 : (size_t)c->group;
    return tensor_align((bands * c->band + slack) * sizeof(uint16_t));
}

enum rn_status conv_bf16x3_prepare(const struct op_spec *spec, struct arena *arena,
                                   struct op_prepared *out, struct rn_error *err)
{
    assert(conv_bf16x3_possible(spec));
    struct conv *c = arena_alloc(arena, sizeof *c);
    if (!c)
        goto no_memory;
    c->spec = *spec;
    c->map.spec = &c->spec;
    c->out_blocks = channel_blocks(spec->out.c);
    plan_layout(c);
    c->tap_offset = arena_array(arena, (size_t)c->n_taps, sizeof *c->tap_offset);
    if (!c->tap_offset)
        goto no_memory;
    plan_band(c);
    const size_t group = GROUP_VALUES / c->band;
    c->group = c->banded || group >= (size_t)spec->max_batch ? spec->max_batch
               : group < 1                                   ? 1
                                                             : (int)group;
    c->tiles = arena_array(arena, (size_t)count_tiles(c), sizeof *c->tiles);
    uint16_t *weights =
        arena_array(arena, ((size_t)c->out_blocks + 1) / 2 * c->panel, sizeof *weights);
    float *bias = arena_array(arena, (size_t)c->out_blocks * CHANNEL_BLOCK, sizeof *bias);
    if (!c->tiles || !weights || !bias)
        goto no_memory;
    find_tiles(c);
    op_pack(spec, c->out_blocks, pack_block, &(struct packing){c, weights});
    op_pack_bias(spec, bias);
    c->weights = weights;
    c->bias = bias;
    *out = (struct op_prepared){.data = c, .run = run, .algorithm = "bf16x3"};
    if (c->banded)
        out->thread_scratch_bytes = scratch_bytes(c);
    else
        out->scratch_bytes = scratch_bytes(c);
    return RN_OK;

no_memory:
    return rn_fail(err, RN_NO_MEMORY, "out of memory for packed weights");
}
