/* What this machine can do: the yardsticks beside every timing. They are measured on all threads of
 * the team at the same time.
 *
 * The peak is that of a convolution tile whose input and weights stay in L1, not of a bare
 * multiply-add loop: a neighbour on the same core slows the first and hides from the second. Where
 * there is a matrix unit, it is its tile: fp32 products, each made of three.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "engine/base/huge.h"
#include "engine/base/nanotime.h"
#include "engine/base/threads.h"
#include "engine/engine.h"
#include "engine/kernel/kernel.h"

#define TILE_BLOCKS 8                 /* K = 128: 8 KiB of weights for an output block */
#define READ_BYTES ((size_t)64 << 20) /* of each thread; beyond any last-level cache's share */
#define FORK_JOINS 1001
#define PANEL_FLOATS (TILE_BLOCKS * CHANNEL_BLOCK * CHANNEL_BLOCK)
#define OUT_BLOCKS 2
/* Of each thread: weights, rows of input, bias and rows of output. */
#define WEIGHTS_FLOATS ((size_t)OUT_BLOCKS * PANEL_FLOATS)
#define ROW_FLOATS ((size_t)TILE_BLOCKS * CHANNEL_BLOCK)
#define IN_FLOATS (2 * KERNEL_MAX_ROWS * ROW_FLOATS)
#define OUT_FLOATS ((size_t)OUT_BLOCKS * 2 * KERNEL_MAX_ROWS * CHANNEL_BLOCK)
#define SHARE_FLOATS (WEIGHTS_FLOATS + IN_FLOATS + OUT_FLOATS)

struct measure {
    const struct kernels *kernels;
    double seconds;
    float *tile;   /* [n threads][SHARE_FLOATS] */
    float *blocks; /* [n threads][READ_BYTES] */
    double *rates; /* [n threads] */
};

static double now(void)
{
    return 1e-9 * (double)nanotime_monotonic();
}

static void measure_multiply_add(void *context, int thread)
{
    struct measure *m = context;
    float *sum = m->tile + (size_t)thread * SHARE_FLOATS;
    const double start = now();
    double best = 0;
    for (double at = start; at - start < m->seconds;) {
        const int rounds = 100000;
        const double flops = (double)rounds * m->kernels->multiply_add(rounds, sum);
        const double end = now();
        if (flops / (end - at) > best)
            best = flops / (end - at);
        at = end;
    }
    m->rates[thread] = best;
}

static void measure_tile(void *context, int thread)
{
    struct measure *m = context;
    enum { TILES = 500 };
    const int rows = m->kernels->conv_rows, n_out = m->kernels->conv_blocks;
    float *weights = m->tile + (size_t)thread * SHARE_FLOATS, *inputs = weights + WEIGHTS_FLOATS;
    const float *in[TILES * KERNEL_MAX_ROWS];
    size_t offsets[TILES * KERNEL_MAX_ROWS];
    int first[TILES + 1];
    for (int tile = 0; tile <= TILES; tile++)
        first[tile] = tile * rows;
    for (int r = 0; r < first[TILES]; r++) {
        in[r] = inputs + (size_t)(r % rows) * ROW_FLOATS;
        offsets[r] = (size_t)(r % rows) * CHANNEL_BLOCK;
    }
    const struct conv_tiles tiles = {.first = first,
                                     .n_tiles = TILES,
                                     .in = in,
                                     .in_stride = CHANNEL_BLOCK,
                                     .weights = weights,
                                     .weights_stride = PANEL_FLOATS,
                                     .bias = weights,
                                     .out = inputs + IN_FLOATS,
                                     .out_stride = (size_t)KERNEL_MAX_ROWS * CHANNEL_BLOCK,
                                     .at = offsets,
                                     .n_out = n_out,
                                     .n_taps = 1,
                                     .n_blocks = TILE_BLOCKS,
                                     .depth = CHANNEL_BLOCK};
    const double flops = 2.0 * TILES * rows * n_out * PANEL_FLOATS, start = now();
    double best = 0;
    for (double at = start; at - start < m->seconds;) {
        m->kernels->conv(&tiles);
        double end = now();
        if (flops / (end - at) > best)
            best = flops / (end - at);
        at = end;
    }
    m->rates[thread] = best;
}

/* The same of the matrix unit: two tiles of positions by turns, their input and weights in L1. */
static void measure_bf16x3(void *context, int thread)
{
    enum { PAIRS = TILE_BLOCKS / 2, TILES = 64 };
    struct measure *m = context;
    float *weights = m->tile + (size_t)thread * SHARE_FLOATS;
    struct bf16x3_tile tiles[TILES];
    for (size_t t = 0; t < TILES; t++) {
        tiles[t].in = t % 2 * PAIRS * 2 * BF16X3_TILE;
        for (size_t r = 0; r < BF16X3_ROWS; r++)
            tiles[t].at[r] = (t % 2 * BF16X3_ROWS + r) * CHANNEL_BLOCK;
    }
    const size_t tap = 0;
    const struct bf16x3 product = {
        .in = (const uint16_t *)(const void *)(weights + WEIGHTS_FLOATS),
        .in_row = BF16X3_DEPTH * sizeof(uint16_t),
        .in_low = BF16X3_TILE,
        .in_stride = (size_t)2 * BF16X3_TILE,
        .tap_offset = &tap,
        .n_taps = 1,
        .n_pairs = PAIRS,
        .weights = (const uint16_t *)(const void *)weights,
        .tiles = tiles,
        .n_tiles = TILES,
        .n_out = OUT_BLOCKS,
        .group_out = OUT_BLOCKS,
        .bias = weights,
        .out = weights + WEIGHTS_FLOATS + IN_FLOATS,
        .out_stride = (size_t)2 * BF16X3_ROWS * CHANNEL_BLOCK,
        .limit = SIZE_MAX,
    };
    const double flops = 2.0 * TILES * BF16X3_ROWS * OUT_BLOCKS * PANEL_FLOATS, start = now();
    double best = 0;
    for (double at = start; at - start < m->seconds;) {
        for (int i = 0; i < 20; i++)
            m->kernels->bf16x3(&product);
        const double end = now();
        if (20 * flops / (end - at) > best)
            best = 20 * flops / (end - at);
        at = end;
    }
    m->rates[thread] = best;
}

static void measure_read(void *context, int thread)
{
    struct measure *m = context;
    const size_t n = READ_BYTES / sizeof(float) / CHANNEL_BLOCK;
    const float *blocks = m->blocks + (size_t)thread * n * CHANNEL_BLOCK;
    _Alignas(TENSOR_ALIGN) float mean[CHANNEL_BLOCK];
    const double start = now();
    double best = 0;
    for (double at = start; at - start < m->seconds;) {
        m->kernels->mean(blocks, (int)n, mean);
        const double end = now();
        if ((double)READ_BYTES / (end - at) > best)
            best = (double)READ_BYTES / (end - at);
        at = end;
    }
    m->rates[thread] = best;
}

/* The median of many, since a neighbour on the core makes single ones long. */
static double measure_fork_join_us(struct rn_threads *threads)
{
    double us[FORK_JOINS];
    for (int i = 0; i < FORK_JOINS; i++) {
        double start = now();
        threads_meet(threads);
        us[i] = 1e6 * (now() - start);
        for (int k = i; k > 0 && us[k - 1] > us[k]; k--) {
            double smaller = us[k];
            us[k] = us[k - 1];
            us[k - 1] = smaller;
        }
    }
    return us[FORK_JOINS / 2];
}

static double total(const double *rates, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += rates[i];
    return sum;
}

enum rn_status rn_machine_measure(struct rn_threads *threads, const char *cpu, double seconds,
                                  struct rn_machine *out, struct rn_error *err)
{
    int n = rn_threads_count(threads);
    struct measure m = {.kernels = kernels_find(cpu), .seconds = seconds / 3};
    if (!m.kernels)
        return rn_fail(err, RN_BAD_ARGUMENT, "this build or CPU has no kernels named %.60s", cpu);
    size_t tile_bytes = (size_t)n * SHARE_FLOATS * sizeof(float);
    m.tile = aligned_alloc(TENSOR_ALIGN, tile_bytes);
    m.blocks = huge_alloc((size_t)n * READ_BYTES);
    m.rates = calloc((size_t)n, sizeof *m.rates);
    enum rn_status status = RN_OK;
    if (m.tile && m.blocks && m.rates) {
        for (size_t i = 0; i < tile_bytes / sizeof(float); i++)
            m.tile[i] = (float)(i % 7) * 0.125f;
        memset(m.blocks, 0, (size_t)n * READ_BYTES); /* so that every page is one of its own */
        threads_run(threads, n, measure_multiply_add, &m);
        out->fma_gflops = total(m.rates, n) / 1e9;
        threads_run(threads, n, m.kernels->bf16x3 ? measure_bf16x3 : measure_tile, &m);
        out->peak_gflops = total(m.rates, n) / 1e9;
        threads_run(threads, n, measure_read, &m);
        out->bandwidth_gbs = total(m.rates, n) / 1e9;
        out->fork_join_us = measure_fork_join_us(threads);
    } else {
        status = rn_fail(err, RN_NO_MEMORY, "out of memory for measuring the machine");
    }
    free(m.tile);
    free(m.blocks);
    free(m.rates);
    return status;
}
