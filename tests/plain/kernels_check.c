/* A plain program for machines that exist as an emulator only: every kernel of a table against the
 * portable one on random data.
 *   kernels_check NAME     exit 0 when the table is there and agrees
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kernel/kernel.h"
#include "tests/support_random.h"

enum { B = CHANNEL_BLOCK, TAPS = 3, BLOCKS = 2, SIDE = 7, MAX_SIDE = 9, VALUES = 64 * 1024 };

static _Alignas(64) float data[VALUES], results[2][VALUES];
/* Of a tile; what F(6×6) makes of them is up to 67² times as large, and its rounding errors, too.
 */
static _Alignas(64) float products[MAX_SIDE * MAX_SIDE * B];
static int n_checks;

/* The stem's, of two tiles side by side. */
static size_t run_stem(const struct kernels *k, bool relu, float *out)
{
    enum { TILES = 2, PLACES = 4 * TILES + 3 };
    static _Alignas(64) float columns[PLACES * SIDE * B];
    struct winograd_row row = {
        .n = TILES, .columns = columns, .out = out, .out_row = B, .out_plane = TILES * B};
    for (int y = 0; y < SIDE; y++)
        row.rows[y] = data + y * PLACES * B;
    k->winograd_in_stem(&row);
    float *edge = out + SIDE * SIDE * TILES * B, *pooled = edge + 3 * B;
    const struct winograd_pool pool = {
        .in = data,
        .in_stride = TILES * B,
        .bias = data,
        .edge = edge,
        .out = {pooled, pooled + 2 * TILES * B, pooled + 4 * TILES * B},
        .n = TILES,
        .rows = relu ? 4 : 3,
        .columns = relu ? 4 * TILES : 4 * TILES - 1,
        .left = true,
        .relu = relu};
    k->winograd_pool_stem(&pool);
    return (size_t)(SIDE * SIDE * TILES + 3 + 6 * TILES) * B;
}

/* A filter's transforms of whole and short tiles; all parts of a tile in one place. */
static size_t run_winograd(const struct kernels *k, enum winograd_kind kind,
                           const float *const *window, bool relu, float *out)
{
    const int m = kind == WINOGRAD_2 || kind == WINOGRAD_STRIDED_2 ? 2 : kind == WINOGRAD_6 ? 6 : 4;
    const float *in = products;
    size_t n = 0;
    for (int rows = m - 1; rows <= m; rows++)
        for (int columns = m - 1; columns <= m; columns++) {
            float *values = out + n, *outputs = values + MAX_SIDE * MAX_SIDE * B;
            const struct winograd_in tile = {.in = window,
                                             .out = {values, values, values, values},
                                             .out_stride = B,
                                             .rows = rows,
                                             .columns = columns};
            const struct winograd_out back = {.in = {in, in, in, in},
                                              .in_stride = B,
                                              .bias = data,
                                              .residual = relu ? data + 3000 / B * B : NULL,
                                              .out = outputs,
                                              .row_stride = 6 * B,
                                              .rows = rows,
                                              .columns = columns,
                                              .relu = relu};
            if (kind != WINOGRAD_STEM)
                k->winograd_in[kind](&tile);
            k->winograd_out[kind](&back);
            n += (MAX_SIDE * MAX_SIDE + 36) * B;
        }
    return n;
}

/* Every kernel with `rows` rows, results one after the other into `out`; how many floats. */
static size_t run_all(const struct kernels *k, int rows, bool relu, float *out)
{
    const float *in[TAPS * KERNEL_MAX_ROWS], *window[MAX_SIDE * MAX_SIDE];
    size_t at[KERNEL_MAX_ROWS];
    size_t n = 0;
    for (int depth = 3; depth <= B; depth += depth == 3 ? 4 : depth == 7 ? 9 : 1) {
        for (int i = 0; i < TAPS * rows; i++)
            in[i] = data + 4096 + i * BLOCKS * B;
        for (int r = 0; r < rows; r++)
            at[r] = (size_t)r * B;
        const struct conv_tiles tiles = {.first = (const int[]){0, rows},
                                         .n_tiles = 1,
                                         .in = in,
                                         .in_stride = B,
                                         .weights = data,
                                         .bias = data + 128,
                                         .residual = relu ? data + 512 : NULL,
                                         .out = out + n,
                                         .at = at,
                                         .n_out = 1,
                                         .n_taps = TAPS,
                                         .n_blocks = depth == B ? BLOCKS : 1,
                                         .depth = depth,
                                         .relu = relu,
                                         .fetch = data,
                                         .n_fetch = 2};
        k->conv(&tiles);
        n += (size_t)rows * B;
    }
    const struct gemm gemm = {.a = data,
                              .b = data + 8192,
                              .next = data,
                              .c = out + n,
                              .a_stride = 3 * B,
                              .c_stride = B,
                              .rows = rows,
                              .c_block = (size_t)rows * B,
                              .depth = 2 * B,
                              .n_out = 3};
    k->gemm(&gemm);
    n += 3 * (size_t)rows * B;
    for (int i = 0; i < MAX_SIDE * MAX_SIDE; i++)
        window[i] = data + i * B;
    for (int kind = 0; kind < WINOGRAD_KINDS; kind++)
        n += run_winograd(k, (enum winograd_kind)kind, window, relu, out + n);
    n += run_stem(k, relu, out + n);
    const struct strassen_in sums = {.in = data,
                                     .position_half = KERNEL_MAX_ROWS * B,
                                     .channel_half = 4096,
                                     .out = out + n,
                                     .out_row = B,
                                     .out_plane = (size_t)rows * B,
                                     .n = rows};
    k->strassen_in(&sums);
    n += 7 * (size_t)rows * B;
    const struct strassen_out quarters = {.in = data + 1024,
                                          .in_plane = (size_t)rows * B,
                                          .bias = data,
                                          .bias_half = B,
                                          .residual = relu ? data + 4096 : NULL,
                                          .out = out + n,
                                          .position_half = (size_t)rows * B,
                                          .channel_half = 2 * (size_t)rows * B,
                                          .n = rows,
                                          .relu = relu};
    k->strassen_out(&quarters);
    n += 4 * (size_t)rows * B;
    k->max(data, 4 * B, rows, 3, out + n);
    k->mean(data, rows, out + n + B);
    k->affine(data, data + 64, data + 128, relu, rows, out + n + 2 * B);
    n += (size_t)(2 + rows) * B;
    k->add(data, data + 1024, relu, rows, out + n);
    return n + (size_t)rows * B;
}

static bool compare(const struct kernels *k, int rows, bool relu)
{
    memset(results, 0, sizeof results);
    const size_t n = run_all(kernels_at(0), rows, relu, results[0]);
    if (run_all(k, rows, relu, results[1]) != n)
        return false;
    for (size_t i = 0; i < n; i++, n_checks++)
        if (results[0][i] != results[1][i] && /* both may be infinite */
            !(fabsf(results[0][i] - results[1][i]) <= 2e-5f * (1 + fabsf(results[0][i])))) {
            (void)fprintf(stderr, "%s, %d rows: value %zu is %g, portable's %g\n", k->name, rows, i,
                          (double)results[1][i], (double)results[0][i]);
            return false;
        }
    return true;
}

int main(int argc, char **argv)
{
    const struct kernels *k = argc > 1 ? kernels_find(argv[1]) : NULL;
    uint64_t seed = 1;
    if (!k) {
        (void)fprintf(stderr, "there are no kernels of that name here\n");
        return 2;
    }
    random_fill(&seed, data, VALUES);
    for (int i = 0; i < MAX_SIDE * MAX_SIDE * B; i++)
        products[i] = data[i] / 64;
    const int portable_rows = kernels_at(0)->conv_rows;
    const int most = k->conv_rows < portable_rows ? k->conv_rows : portable_rows;
    for (int rows = 1; rows <= most; rows++)
        for (int relu = 0; relu < 2; relu++)
            if (!compare(k, rows, relu))
                return 1;
    printf("%s: %d values agree with the portable kernels'\n", k->name, n_checks);
    return 0;
}
