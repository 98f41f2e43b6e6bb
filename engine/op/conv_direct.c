/* Convolution, directly: register tiles of positions × 16 or 32 output channels, with bias,
 * residual and ReLU applied before the store.
 *
 * There is no im2col and no padded copy: a tile gets a pointer per position and tap, and a tap that
 * falls outside the map gets a pointer to zeros. So one kernel serves 1×1, 3×3, strides and any
 * padding. Grouped convolution uses the same tile: for each block of 16 output channels only the
 * input blocks that its groups need are read, with zero weights where a block crosses groups. The
 * planar stem takes (channel, window row) as taps and the window's width as depth.
 *
 * Work is cut into items of some positions × some output blocks. Positions are as many as keep the
 * item's input in a core's L2: it is read for every output block, in pieces that no prefetcher
 * foresees, while weights are read in a row and fetched ahead. Blocks are all of them, or fewer
 * where there would be too few items. An item goes block by block (or two) over all its positions:
 * the block's weights stay in L1 or L2, and while they are used the next block's are fetched.
 *
 * Where the inputs of a position lie in many places, with many channels or at a stride, and many
 * output blocks read them, an item copies them first into the order in which its tiles read; if
 * they are many, in passes over some of the input channels, each of which goes on from the sums
 * that the one before has left in the output. Cutting never changes the order in which an output is
 * summed, but for the residual: it is added at the end of the first pass.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/op/conv.h"

#include <assert.h>
#include <string.h>

#include "engine/base/threads.h"
#include "engine/engine.h"

#define INPUT_BYTES                                                                                \
    (128 * 1024)           /* of one item: with weights and outputs it stays in a 512 KiB L2 */
#define ITEMS_PER_THREAD 4 /* at least, so that a slow thread does not keep the others waiting */
#define PACKED_BYTES (256 * 1024) /* the same of the copy for a pass */
/* Copying takes longer than it saves where fewer register tiles read a copy, or the inputs of a
 * position are in fewer places, times the blocks of a tile: the wider it is, the sooner it is done.
 */
#define PACK_MIN_TILES 16
#define PACK_MIN_TILES_STRIDED 8
#define PACK_MIN_BLOCKS 16
#define MAX_TAPS (OP_MAX_KERNEL * OP_MAX_KERNEL)
#define MAX_ITEM_POSITIONS 256
#define MIN_ITEM_POSITIONS 64 /* fewer are not worth reading the weights for */
#define MAX_TILES MAX_ITEM_POSITIONS
#define MAX_POINTERS (256 * 9)

struct conv {
    struct op_spec spec;
    int n_taps, n_blocks, depth; /* of a tile */
    int n_pointers;              /* of a position: one, or one for each tap */
    const size_t *tap_offset;    /* [n_taps] from the one pointer, else NULL */
    int out_blocks;
    size_t panel;                /* floats of packed weights per output block */
    const float *weights, *bias; /* [out_blocks][panel], [out_blocks][16] */
    const size_t *in_offset;     /* [out_blocks], floats */
    int chunk_positions;         /* of an item, at most */
    int n_passes, pass_blocks;   /* over the input blocks; the last pass may have fewer */
    bool packed; /* an item's inputs are copied for each pass in the order of reading */
};

/* Input blocks of a pass. */
static int blocks_of(const struct conv *c, int pass)
{
    const int left = c->n_blocks - pass * c->pass_blocks;
    return left < c->pass_blocks ? left : c->pass_blocks;
}

/* Floats of a panel before a pass. */
static size_t pass_at(const struct conv *c, int pass)
{
    return (size_t)(c->n_taps * pass * c->pass_blocks * c->depth) * CHANNEL_BLOCK;
}

/* Which row of its panel a weight is in, by the tap of the kernel and the input channel, counted
 * from the panel's first: [pass][tap][block][16], or [channel][tap] of the planar stem. */
static size_t row_of(const struct conv *c, int channel, int tap)
{
    if (c->spec.in_border >= 0)
        return (size_t)(channel * c->spec.attrs.kernel * c->spec.attrs.kernel + tap);
    assert(channel >= 0 && channel / CHANNEL_BLOCK < c->n_blocks);
    const int pass = channel / CHANNEL_BLOCK / c->pass_blocks;
    const int block = channel / CHANNEL_BLOCK % c->pass_blocks;
    return pass_at(c, pass) / CHANNEL_BLOCK +
           (size_t)((tap * blocks_of(c, pass) + block) * CHANNEL_BLOCK + channel % CHANNEL_BLOCK);
}

struct packing {
    const struct conv *conv;
    const int *first_block; /* [out_blocks]: the first input block that each needs */
    float *weights;
};

/* The weights of output o for the input channels [from, to) of its group. */
static void pack_channels(const struct packing *p, int o, int from, int to)
{
    const struct conv *c = p->conv;
    const struct op_spec *s = &c->spec;
    const int taps = s->attrs.kernel * s->attrs.kernel, per_group = s->in.c / s->attrs.groups;
    const size_t step = s->in_border >= 0 ? (size_t)taps : 1; /* rows, within a channel block */
    const int group = o / (s->out.c / s->attrs.groups), block = o / CHANNEL_BLOCK;
    const int skipped = group * per_group - p->first_block[block] * CHANNEL_BLOCK;
    float *panel = p->weights + (size_t)block * c->panel + o % CHANNEL_BLOCK;
    const float *weight = s->params.weight + (size_t)o * (size_t)(per_group * taps);
    for (int tap = 0; tap < taps; tap++) {
        size_t row = 0;
        for (int i = from; i < to; i++, row += step) {
            if (i == from || (skipped + i) % CHANNEL_BLOCK == 0)
                row = row_of(c, skipped + i, tap);
            panel[row * CHANNEL_BLOCK] = weight[i * taps + tap];
        }
    }
}

/* Piece: an output block, some input channels at a time, so that what is written stays in L1. What
 * has no weight stays zero. */
static void pack_block(void *context, int block)
{
    const struct packing *p = context;
    const struct op_spec *s = &p->conv->spec;
    const int per_group = s->in.c / s->attrs.groups, left = s->out.c - block * CHANNEL_BLOCK;
    for (int from = 0, to; from < per_group; from = to) {
        to = from + CHANNEL_BLOCK < per_group ? from + CHANNEL_BLOCK : per_group;
        for (int k = 0; k < CHANNEL_BLOCK && k < left; k++)
            pack_channels(p, block * CHANNEL_BLOCK + k, from, to);
    }
}

/* First input block that output block `ob` needs, and through *n how many. */
static int blocks_needed(const struct op_spec *s, int ob, int *n)
{
    int in_per_group = s->in.c / s->attrs.groups, out_per_group = s->out.c / s->attrs.groups;
    int last_out = ob * CHANNEL_BLOCK + CHANNEL_BLOCK - 1;
    if (last_out >= s->out.c)
        last_out = s->out.c - 1;
    int first = ob * CHANNEL_BLOCK / out_per_group * in_per_group / CHANNEL_BLOCK;
    int last = ((last_out / out_per_group + 1) * in_per_group - 1) / CHANNEL_BLOCK;
    *n = last - first + 1;
    return first;
}

/* Geometry of the planar stem: a tap is a row of the window in a channel. False: out of memory. */
static bool plan_planar(struct conv *c, struct arena *arena)
{
    const struct op_spec *s = &c->spec;
    assert(s->attrs.groups == 1 && s->attrs.pad == s->in_border);
    const size_t w = (size_t)(s->in.w + 2 * s->in_border);
    const size_t plane = w * (size_t)(s->in.h + 2 * s->in_border);
    c->n_taps = s->in.c * s->attrs.kernel;
    c->n_blocks = c->n_pointers = 1;
    c->depth = s->attrs.kernel;
    size_t *offset = arena_array(arena, (size_t)c->n_taps, sizeof *offset);
    for (int tap = 0; offset && tap < c->n_taps; tap++)
        offset[tap] = (size_t)(tap / s->attrs.kernel) * plane + (size_t)(tap % s->attrs.kernel) * w;
    c->tap_offset = offset;
    return offset != NULL;
}

/* Geometry over blocked input: how many blocks a tile reads, and from where for each output block.
 */
static void plan_blocked(struct conv *c, int *first_block, size_t *in_offset)
{
    const struct op_spec *s = &c->spec;
    c->n_taps = c->n_pointers = s->attrs.kernel * s->attrs.kernel;
    c->depth = CHANNEL_BLOCK;
    c->n_blocks = 1;
    for (int ob = 0; ob < c->out_blocks; ob++) {
        int n;
        first_block[ob] = blocks_needed(s, ob, &n);
        c->n_blocks = n > c->n_blocks ? n : c->n_blocks;
    }
    for (int ob = 0; ob < c->out_blocks; ob++) {
        /* All output blocks read the same number: the last ones start earlier rather than overrun.
         */
        if (first_block[ob] + c->n_blocks > channel_blocks(s->in.c))
            first_block[ob] = channel_blocks(s->in.c) - c->n_blocks;
        in_offset[ob] = (size_t)first_block[ob] * CHANNEL_BLOCK * (size_t)s->in.h * (size_t)s->in.w;
    }
}

struct conv_run {
    const struct conv *conv;
    const struct op_args *args;
    int n_positions, n_position_chunks, n_block_chunks;
    int pass;
};

/* A thread's scratch, where inputs are packed: the chunk of positions whose copies of this pass it
 * has, or -1; from PACKED_AT on the copies, [tile][tap][block][conv_rows][16]. */
#define PACKED_AT CHANNEL_BLOCK /* floats */

/* The tiles of an item: pointers are found once and serve all its output blocks. */
struct item {
    int n_tiles;
    int first[MAX_TILES + 1];          /* of each tile, the position it begins with */
    const float *in[MAX_POINTERS];     /* [position's tile][tap][row] */
    size_t out_at[MAX_ITEM_POSITIONS]; /* floats to the position in output block 0 */
    /* Where the copies of a pass are: */
    const float *packed[KERNEL_MAX_ROWS]; /* of the first tile, the rows under the first tap; */
    size_t tap_offset[MAX_TAPS];          /* [n_taps], floats to each tap */
    size_t tile_floats;                   /* and to the next tile */
};

/* in[tap * rows] for one position over blocked input; taps outside the map read zeros. */
static void point_blocked(const struct conv *c, const float *image, int y, int x, int rows,
                          const float **in)
{
    const struct op_spec *s = &c->spec;
    int k = s->attrs.kernel, top = y * s->attrs.stride - s->attrs.pad;
    int left = x * s->attrs.stride - s->attrs.pad;
    for (int ky = 0; ky < k; ky++) {
        int iy = top + ky;
        for (int kx = 0; kx < k; kx++) {
            int ix = left + kx;
            bool inside = iy >= 0 && iy < s->in.h && ix >= 0 && ix < s->in.w;
            in[(ky * k + kx) * rows] =
                inside ? image + (size_t)(iy * s->in.w + ix) * CHANNEL_BLOCK : s->zeros;
        }
    }
}

/* Spreads positions [from, to) of the flattened (image, y, x) evenly over tiles. */
static void find_tiles(const struct conv_run *run, int from, int to, struct item *item)
{
    const struct conv *c = run->conv;
    const struct op_spec *s = &c->spec;
    const int plane = s->out.h * s->out.w, max_rows = s->kernels->conv_rows,
              stride = s->attrs.stride;
    const bool planar = s->in_border >= 0; /* or one tap, inside the map: one pointer will do */
    const bool one = planar || (s->attrs.kernel == 1 && s->attrs.pad == 0);
    const size_t in_size = op_input_size(s), out_size = shape_blocked_size(s->out);
    const size_t step = (size_t)stride * (planar ? 1 : CHANNEL_BLOCK);
    const size_t line = step * (size_t)(s->in.w + (planar ? 2 * s->in_border : 0));
    int image = from / plane, y = from % plane / s->out.w, x = from % plane % s->out.w, p = from;
    const float *map = run->args->in + (size_t)image * in_size, **in = item->in;
    size_t out_at = (size_t)image * out_size + (size_t)(from % plane) * CHANNEL_BLOCK;
    item->n_tiles = (to - from + max_rows - 1) / max_rows;
    const int least = (to - from) / item->n_tiles, more = (to - from) % item->n_tiles;
    for (int tile = 0; tile < item->n_tiles; tile++) {
        const int rows = least + (tile >= item->n_tiles - more);
        item->first[tile] = p - from;
        for (int r = 0; r < rows; r++, p++) {
            if (one)
                in[r] = map + (size_t)y * line + (size_t)x * step;
            else
                point_blocked(c, map, y, x, rows, in + r);
            item->out_at[p - from] = out_at;
            out_at += CHANNEL_BLOCK;
            if (++x == s->out.w) {
                x = 0;
                if (++y == s->out.h) {
                    y = 0;
                    map += in_size;
                    out_at = (size_t)++image * out_size;
                }
            }
        }
        in += rows * c->n_pointers;
    }
    item->first[item->n_tiles] = to - from;
}

/* How many output blocks from `block` on, at most `most`, a tile takes: they must read the same
 * input. */
static int count_blocks(const struct conv *c, int block, int most)
{
    const bool two = most >= 2 && c->spec.kernels->conv_blocks >= 2 &&
                     c->in_offset[block] == c->in_offset[block + 1];
    return two ? 2 : 1;
}

static const float *weights_at(const struct conv *c, int block, int pass)
{
    return c->weights + (size_t)block * c->panel + pass_at(c, pass);
}

static void copy_inputs(const struct conv_run *run, const struct item *item, float *to)
{
    const struct conv *c = run->conv;
    const struct op_spec *s = &c->spec;
    const size_t plane = (size_t)(s->in.h * s->in.w) * CHANNEL_BLOCK;
    const size_t rows_floats = (size_t)s->kernels->conv_rows * CHANNEL_BLOCK;
    const int block = run->pass * c->pass_blocks, end = block + blocks_of(c, run->pass);
    const float *const *in = item->in;
    for (int tile = 0; tile < item->n_tiles; tile++) {
        const int rows = item->first[tile + 1] - item->first[tile];
        for (int tap = 0; tap < c->n_taps; tap++, in += rows)
            for (int b = block; b < end; b++, to += rows_floats)
                for (int r = 0; r < rows; r++)
                    memcpy(to + r * CHANNEL_BLOCK, in[r] + (size_t)b * plane,
                           CHANNEL_BLOCK * sizeof(float));
    }
}

/* Sees to it that the copies of the item's inputs, those of chunk `chunk`, are in this thread's
 * scratch: its last item may have made them. */
static void pack_inputs(const struct conv_run *run, int chunk, struct item *item)
{
    const struct conv *c = run->conv;
    const int max_rows = c->spec.kernels->conv_rows, n_blocks = blocks_of(c, run->pass);
    const size_t tap_floats = (size_t)(n_blocks * max_rows) * CHANNEL_BLOCK;
    void *scratch = op_thread_scratch(run->args, threads_self());
    int *packed_chunk = scratch;
    float *packed = (float *)scratch + PACKED_AT;
    for (int r = 0; r < max_rows; r++)
        item->packed[r] = packed + r * CHANNEL_BLOCK;
    for (int tap = 0; tap < c->n_taps; tap++)
        item->tap_offset[tap] = (size_t)tap * tap_floats;
    item->tile_floats = (size_t)c->n_taps * tap_floats;
    if (*packed_chunk != chunk)
        copy_inputs(run, item, packed);
    *packed_chunk = chunk;
}

/* `n_out` output blocks of all tiles. Meanwhile the weights from `next` on are fetched, a share by
 * each tile. */
static void run_blocks(const struct conv_run *run, const struct item *item, int block, int n_out,
                       const float *next)
{
    const struct conv *c = run->conv;
    const int pass = run->pass;
    const struct op_spec *s = &c->spec;
    const size_t plane = (size_t)(s->out.h * s->out.w) * CHANNEL_BLOCK;
    const size_t block_at = (size_t)block * plane;
    const bool last = pass + 1 == c->n_passes;
    const float *residual = pass == 0 ? run->args->residual : NULL;
    const struct conv_tiles tiles = {
        .first = item->first,
        .n_tiles = item->n_tiles,
        .in = c->packed ? item->packed : item->in,
        .tap_offset = c->packed ? item->tap_offset : c->tap_offset,
        .in_offset = c->in_offset[block],
        .in_step = c->packed ? item->tile_floats : 0,
        .in_stride = c->packed ? (size_t)s->kernels->conv_rows * CHANNEL_BLOCK
                               : (size_t)(s->in.h * s->in.w) * CHANNEL_BLOCK,
        .weights = weights_at(c, block, pass),
        .weights_stride = c->panel,
        .bias = c->bias + (size_t)block * CHANNEL_BLOCK,
        .resume = pass > 0,
        .residual = residual ? residual + block_at : NULL,
        .out = run->args->out + block_at,
        .out_stride = plane,
        .at = item->out_at,
        .n_out = n_out,
        .n_taps = c->n_taps,
        .n_blocks = blocks_of(c, pass),
        .depth = c->depth,
        .relu = last && s->attrs.relu && !run->args->no_relu,
        .fetch = next,
        .n_fetch = (n_out * c->depth - 1) / item->n_tiles + 1,
    };
    s->kernels->conv(&tiles);
}

static int block_start(const struct conv_run *run, int chunk)
{
    const struct conv *c = run->conv;
    return conv_part_start(c->spec.kernels, c->out_blocks, chunk, run->n_block_chunks);
}

/* Items are in the order in which a thread that goes on from one to the next has most of what it
 * needs: the same copies of inputs, or the same weights. */
static void run_item(void *context, int item_index)
{
    const struct conv_run *run = context;
    const struct conv *c = run->conv;
    const int n_chunks = run->n_position_chunks, n_parts = run->n_block_chunks;
    const int chunk = c->packed ? item_index / n_parts : item_index % n_chunks;
    const int part = c->packed ? item_index % n_parts : item_index / n_chunks;
    const int after = c->packed ? (item_index + 1) % n_parts : (item_index + 1) / n_chunks;
    const int block = block_start(run, part), end = block_start(run, part + 1);
    struct item item;
    find_tiles(run, (int)((int64_t)run->n_positions * chunk / n_chunks),
               (int)((int64_t)run->n_positions * (chunk + 1) / n_chunks), &item);
    if (c->packed)
        pack_inputs(run, chunk, &item);
    for (int b = block, n; b < end; b += n) {
        n = count_blocks(c, b, end - b);
        const int next = b + n < end ? b + n : block_start(run, after);
        run_blocks(run, &item, b, n, weights_at(c, next, run->pass));
    }
}

static void run(const void *prepared, const struct op_args *args)
{
    const struct conv *c = prepared;
    struct conv_run run = {.conv = c, .args = args};
    const int n_threads = rn_threads_count(args->threads);
    const int least = ITEMS_PER_THREAD * n_threads, of_tile = c->spec.kernels->conv_blocks;
    const int n_tiles = (c->out_blocks + of_tile - 1) / of_tile;
    run.n_positions = args->n * c->spec.out.h * c->spec.out.w;
    run.n_position_chunks = (run.n_positions - 1) / c->chunk_positions + 1;
    run.n_block_chunks = (least - 1) / run.n_position_chunks + 1;
    if (run.n_block_chunks > n_tiles)
        run.n_block_chunks = n_tiles;
    /* A whole number for each thread. */
    if (run.n_block_chunks % n_threads != 0)
        run.n_position_chunks = (run.n_position_chunks + n_threads - 1) / n_threads * n_threads;
    if (run.n_position_chunks > run.n_positions)
        run.n_position_chunks = run.n_positions;
    for (run.pass = 0; run.pass < c->n_passes; run.pass++) {
        for (int thread = 0; thread < n_threads && c->packed; thread++)
            *(int *)op_thread_scratch(args, thread) = -1;
        threads_run(args->threads, run.n_block_chunks * run.n_position_chunks, run_item, &run);
    }
}

/* Of the input, what an output position adds to an item. */
static size_t input_bytes(const struct conv *c)
{
    const struct op_attrs *a = &c->spec.attrs;
    const int step = a->stride < a->kernel ? a->stride : a->kernel;
    return (size_t)(step * step * c->n_blocks * c->depth) * sizeof(float);
}

/* Many reads of inputs that lie far apart are worth a copy; at a stride they always do, and fewer
 * are. */
static bool worth_packing(const struct conv *c)
{
    const struct op_spec *s = &c->spec;
    const int of_tile = s->kernels->conv_blocks, n_tiles = c->out_blocks / of_tile;
    return s->in_border < 0 && s->attrs.groups == 1 &&
           (s->attrs.stride > 1
                ? n_tiles >= PACK_MIN_TILES_STRIDED
                : n_tiles >= PACK_MIN_TILES && c->n_blocks >= PACK_MIN_BLOCKS * of_tile);
}

/* How many positions an item has, and in how many passes it goes through its input. */
static void plan_items(struct conv *c)
{
    c->packed = worth_packing(c);
    c->n_passes = 1;
    c->pass_blocks = c->n_blocks;
    const int most = MAX_POINTERS / c->n_pointers;
    size_t fit = INPUT_BYTES / input_bytes(c);
    if (c->packed) {
        const size_t block = (size_t)(c->n_taps * CHANNEL_BLOCK) * sizeof(float);
        const size_t least = MIN_ITEM_POSITIONS * block * (size_t)c->n_blocks;
        const int n = (int)((least - 1) / PACKED_BYTES) + 1;
        c->pass_blocks = (c->n_blocks - 1) / n + 1;
        c->n_passes = (c->n_blocks - 1) / c->pass_blocks + 1;
        fit = PACKED_BYTES / (block * (size_t)c->pass_blocks);
    }
    c->chunk_positions = fit < MIN_ITEM_POSITIONS   ? MIN_ITEM_POSITIONS
                         : fit > MAX_ITEM_POSITIONS ? MAX_ITEM_POSITIONS
                                                    : (int)fit;
    c->chunk_positions = c->chunk_positions < most ? c->chunk_positions : most;
}

/* Of a thread: the packed inputs of an item, in whole tiles. */
static size_t packed_bytes(const struct conv *c)
{
    const int rows = c->spec.kernels->conv_rows;
    const size_t tiles = (size_t)((c->chunk_positions + rows - 1) / rows);
    const size_t floats = tiles * (size_t)(rows * c->n_taps * c->pass_blocks * CHANNEL_BLOCK);
    return (PACKED_AT + floats) * sizeof(float);
}

enum rn_status conv_direct_prepare(const struct op_spec *spec, struct arena *arena,
                                   struct op_prepared *out, struct rn_error *err)
{
    struct conv *c = arena_alloc(arena, sizeof *c);
    size_t out_blocks = (size_t)channel_blocks(spec->out.c);
    int *first_block = arena_array(arena, out_blocks, sizeof *first_block);
    size_t *in_offset = arena_array(arena, out_blocks, sizeof *in_offset);
    float *bias = arena_array(arena, out_blocks * CHANNEL_BLOCK, sizeof *bias);
    if (!c || !first_block || !in_offset || !bias)
        goto no_memory;
    c->spec = *spec;
    c->out_blocks = (int)out_blocks;
    if (spec->in_border >= 0) {
        if (!plan_planar(c, arena))
            goto no_memory;
    } else {
        plan_blocked(c, first_block, in_offset);
    }
    c->panel = (size_t)c->n_taps * (size_t)c->n_blocks * (size_t)c->depth * CHANNEL_BLOCK;
    plan_items(c);

    float *weights = arena_array(arena, out_blocks * c->panel, sizeof *weights);
    if (!weights)
        goto no_memory;
    op_pack(spec, c->out_blocks, pack_block, &(struct packing){c, first_block, weights});
    op_pack_bias(spec, bias);
    c->weights = weights;
    c->bias = bias;
    c->in_offset = in_offset;
    *out = (struct op_prepared){.data = c,
                                .run = run,
                                .algorithm = "direct",
                                .thread_scratch_bytes = c->packed ? packed_bytes(c) : 0};
    return RN_OK;

no_memory:
    return rn_fail(err, RN_NO_MEMORY, "out of memory for packed weights");
}
