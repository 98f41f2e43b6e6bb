/* Every kernel table that this CPU can run, against plain loops in double precision: all numbers of
 * rows, with and without residual and ReLU, canaries around the outputs, and equal bits for a row
 * whatever it was grouped with.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kernel/kernel.h"
#include "tests/support_random.h"

#define MAX_TAPS 4
#define MAX_BLOCKS 3
#define STRIDE (5 * CHANNEL_BLOCK)
#define MAX_OUT 2
#define PANEL (MAX_TAPS * MAX_BLOCKS * CHANNEL_BLOCK * CHANNEL_BLOCK)
#define OUT_ROW ((2 * MAX_OUT + 1) * CHANNEL_BLOCK)

struct tile_data {
    _Alignas(64) float in[KERNEL_MAX_ROWS * MAX_TAPS][MAX_BLOCKS * STRIDE + 8];
    _Alignas(64) float weights[MAX_OUT][PANEL];
    _Alignas(64) float bias[MAX_OUT * CHANNEL_BLOCK];
    _Alignas(64) float residual[KERNEL_MAX_ROWS][OUT_ROW]; /* like out */
    _Alignas(64) float out[KERNEL_MAX_ROWS][OUT_ROW];      /* canary and result by turns, canary */
};

static struct tile_data data;

static void fill(uint64_t seed)
{
    random_fill(&seed, &data.in[0][0], sizeof data.in / sizeof(float));
    random_fill(&seed, &data.weights[0][0], sizeof data.weights / sizeof(float));
    random_fill(&seed, data.bias, MAX_OUT * CHANNEL_BLOCK);
    random_fill(&seed, &data.residual[0][0], sizeof data.residual / sizeof(float));
}

/* What a tile that resumes finds in its output. */
static double started(int row, int out, int k)
{
    return (double)data.in[row][out * CHANNEL_BLOCK + k];
}

/* Where a position's first channel is under a tap. */
static const float *position(const struct conv_tiles *t, int tap, int row)
{
    int i = 0;
    while (t->first[i + 1] <= row)
        i++;
    const int rows = t->first[i + 1] - t->first[i], r = row - t->first[i];
    const float *const *in =
        t->in + (t->in_step ? 0 : t->first[i] * (t->tap_offset ? 1 : t->n_taps));
    return in[t->tap_offset ? r : tap * rows + r] + t->in_offset + (size_t)i * t->in_step +
           (t->tap_offset ? t->tap_offset[tap] : 0);
}

/* The contract of kernel.h, summed in double: channel k of output block `out`. */
static double expected(const struct conv_tiles *t, int row, int out, int k, double *magnitude)
{
    double sum = t->resume ? started(row, out, k) : (double)t->bias[out * CHANNEL_BLOCK + k];
    *magnitude = fabs(sum);
    const float *weights = t->weights + (size_t)out * t->weights_stride;
    for (int tap = 0; tap < t->n_taps; tap++)
        for (int b = 0; b < t->n_blocks; b++)
            for (int i = 0; i < t->depth; i++) {
                const float *in = position(t, tap, row);
                size_t w = (size_t)((tap * t->n_blocks + b) * t->depth + i);
                double product = (double)in[(size_t)b * t->in_stride + (size_t)i] *
                                 (double)weights[w * CHANNEL_BLOCK + (size_t)k];
                sum += product;
                *magnitude += fabs(product);
            }
    if (t->residual)
        sum += (double)t->residual[t->at[row] + (size_t)out * t->out_stride + (size_t)k];
    return t->relu && sum < 0 ? 0 : sum;
}

struct shape_of_tiles {
    int rows, n_out, n_taps, n_blocks, depth;
};

enum {
    RELU = 1,
    RESIDUAL = 2,
    RESUME = 4,
    TWO = 8,      /* tiles, of which the last has one row only if */
    ONE_ROW = 16, /* that is said */
    PACKED = 32,  /* pointers are those of the first tile's rows */
    HOW = 64
};

static void check_tiles(const struct kernels *kernels, struct shape_of_tiles shape, int how)
{
    const float *in[KERNEL_MAX_ROWS * MAX_TAPS];
    size_t at[KERNEL_MAX_ROWS], tap_offset[MAX_TAPS];
    int first[KERNEL_MAX_ROWS + 1] = {0};
    const int n_tiles = how & TWO ? 2 : 1, depth = shape.depth;
    const size_t row_floats = sizeof data.in[0] / sizeof(float);
    for (int i = 0; i < n_tiles; i++)
        first[i + 1] = first[i] + (how & ONE_ROW && i == n_tiles - 1 ? 1 : shape.rows);
    const int rows = first[n_tiles];
    /* The planar stem reads at any float; blocks are aligned. */
    int shift = depth == CHANNEL_BLOCK ? 0 : 3, n = 0;
    for (int i = 0; i < n_tiles; i++)
        for (int tap = 0; tap < shape.n_taps; tap++) {
            tap_offset[tap] = (size_t)(tap * KERNEL_MAX_ROWS) * row_floats;
            for (int r = first[i]; r < first[i + 1]; r++)
                in[n++] = data.in[tap * KERNEL_MAX_ROWS + r] + shift;
        }
    for (int r = 0; r < rows; r++)
        at[r] = (size_t)r * OUT_ROW;
    memset(data.out, 0xA5, sizeof data.out);
    for (int r = 0; r < rows; r++)
        for (int k = 0; k < shape.n_out * CHANNEL_BLOCK && how & RESUME; k++) {
            const int out = k / CHANNEL_BLOCK;
            data.out[r][(2 * out + 1) * CHANNEL_BLOCK + k % CHANNEL_BLOCK] =
                (float)started(r, out, k % CHANNEL_BLOCK);
        }
    struct conv_tiles tiles = {
        .first = first,
        .n_tiles = n_tiles,
        .in = in,
        .tap_offset = how & PACKED ? tap_offset : NULL,
        .in_offset = shape.n_blocks < MAX_BLOCKS && depth == CHANNEL_BLOCK ? STRIDE : 0,
        .in_step = how & PACKED ? (size_t)shape.rows * row_floats : 0,
        .in_stride = STRIDE,
        .weights = data.weights[0],
        .weights_stride = PANEL,
        .bias = data.bias,
        .resume = how & RESUME,
        .residual = how & RESIDUAL ? data.residual[0] + CHANNEL_BLOCK : NULL,
        .out = data.out[0] + CHANNEL_BLOCK,
        .out_stride = (size_t)2 * CHANNEL_BLOCK,
        .at = at,
        .n_out = shape.n_out,
        .n_taps = shape.n_taps,
        .n_blocks = shape.n_blocks,
        .depth = depth,
        .relu = how & RELU,
    };
    kernels->conv(&tiles);

    const uint32_t canary = 0xA5A5A5A5;
    for (int r = 0; r < KERNEL_MAX_ROWS; r++)
        for (int k = 0; k < OUT_ROW; k++) {
            uint32_t bits;
            memcpy(&bits, &data.out[r][k], sizeof bits);
            const int out = k / CHANNEL_BLOCK / 2;
            if (r >= rows || k / CHANNEL_BLOCK % 2 != 1 || out >= shape.n_out) {
                cr_assert_eq(bits, canary, "%s wrote beyond its rows", kernels->name);
                continue;
            }
            double magnitude, want = expected(&tiles, r, out, k % CHANNEL_BLOCK, &magnitude);
            cr_assert_float_eq((double)data.out[r][k], want, 1e-6 * (magnitude + 1),
                               "%s: %d rows, %d taps, %d blocks, depth %d: row %d, output block %d "
                               "is %g, not %g",
                               kernels->name, rows, shape.n_taps, shape.n_blocks, depth, r, out,
                               (double)data.out[r][k], want);
        }
}

Test(kernels, convolution_tiles_equal_the_sum_in_double_for_every_size)
{
    fill(1);
    for (size_t i = 0; i < kernels_count(); i++) {
        const struct kernels *k = kernels_at(i);
        for (int rows = 1; rows <= k->conv_rows; rows++)
            for (int out = 1; out <= k->conv_blocks; out++)
                for (int how = 0; how < HOW; how++) {
                    if (how & TWO && 2 * rows > KERNEL_MAX_ROWS)
                        continue;
                    check_tiles(k, (struct shape_of_tiles){rows, out, 1, 1, CHANNEL_BLOCK}, how);
                    check_tiles(
                        k, (struct shape_of_tiles){rows, out, MAX_TAPS, MAX_BLOCKS, CHANNEL_BLOCK},
                        how);
                    check_tiles(k, (struct shape_of_tiles){rows, out, 3, 2, CHANNEL_BLOCK}, how);
                    for (int depth = 1; depth < CHANNEL_BLOCK; depth++)
                        check_tiles(k, (struct shape_of_tiles){rows, out, 2, 1, depth}, how);
                }
    }
}

Test(kernels, a_row_has_the_same_bits_whatever_it_is_grouped_with)
{
    fill(2);
    for (size_t i = 0; i < kernels_count(); i++) {
        const struct kernels *k = kernels_at(i);
        float first[CHANNEL_BLOCK];
        for (int rows = 1; rows <= k->conv_rows; rows++)
            for (int out = 1; out <= k->conv_blocks; out++) {
                check_tiles(k,
                            (struct shape_of_tiles){rows, out, MAX_TAPS, MAX_BLOCKS, CHANNEL_BLOCK},
                            RESIDUAL);
                if (rows == 1 && out == 1)
                    memcpy(first, data.out[0] + CHANNEL_BLOCK, sizeof first);
                cr_assert_arr_eq(first, data.out[0] + CHANNEL_BLOCK, sizeof first,
                                 "%s, %d rows, %d output blocks", k->name, rows, out);
            }
    }
}

Test(kernels, matrix_products_equal_the_sum_in_double_and_do_not_depend_on_the_rows)
{
    static const struct {
        int depth, step;
    } cases[] = {{3 * CHANNEL_BLOCK, 1},
                 {CHANNEL_BLOCK + 4 * GEMM_STEP, 1},
                 {3 * GEMM_STEP, 1},
                 {GEMM_STEP, 2},
                 {2 * GEMM_STEP, 2}};
    enum { CASES = sizeof cases / sizeof *cases };
    enum { DEPTH = 3 * CHANNEL_BLOCK, ROWS = 2 * KERNEL_MAX_ROWS + 1, A = DEPTH + CHANNEL_BLOCK };
    enum { OUTS = 3, C_ROW = 2 * CHANNEL_BLOCK, C_BLOCK = (ROWS + 1) * C_ROW };
    static _Alignas(64) float a[ROWS * A], b[OUTS * DEPTH * CHANNEL_BLOCK], c[OUTS * C_BLOCK];
    uint64_t seed = 4;
    random_fill(&seed, a, ROWS * A);
    random_fill(&seed, b, OUTS * DEPTH * CHANNEL_BLOCK);
    for (size_t i = 0; i < CASES * kernels_count(); i++) {
        const struct kernels *k = kernels_at(i / CASES);
        const int depth = cases[i % CASES].depth, step = cases[i % CASES].step;
        float first[CHANNEL_BLOCK];
        for (int rows = 1; rows <= ROWS; rows++)
            for (int out = 1; out <= OUTS; out++) {
                const struct gemm gemm = {a,       b,    b,     c,   A,        C_ROW,
                                          C_BLOCK, rows, depth, out, step == 2};
                for (size_t j = 0; j < sizeof c / sizeof *c; j++)
                    c[j] = 42;
                k->gemm(&gemm);
                for (int j = 0; j < OUTS * C_BLOCK; j++) {
                    const int o = j / C_BLOCK, r = j % C_BLOCK / C_ROW, n = j % C_ROW;
                    const bool inside = o < out && r < rows && n < CHANNEL_BLOCK;
                    double want = inside ? 0 : 42, magnitude = 1;
                    for (int d = 0; d < depth && inside; d++) {
                        double product = (double)a[r * A + d * step] *
                                         (double)b[(o * depth + d) * CHANNEL_BLOCK + n];
                        want += product;
                        magnitude += fabs(product);
                    }
                    cr_assert_float_eq((double)c[j], want, 1e-6 * magnitude,
                                       "%s: depth %d, %d rows, %d blocks, [%d][%d][%d]", k->name,
                                       depth, rows, out, o, r, n);
                }
                if (rows == 1 && out == 1)
                    memcpy(first, c, sizeof first);
                cr_assert_arr_eq(c, first, sizeof first, "%s, %d rows, %d blocks", k->name, rows,
                                 out);
            }
    }
}

Test(kernels, element_wise_kernels_and_pools_equal_plain_loops)
{
    enum { N = 7 };
    static _Alignas(64) float a[N * CHANNEL_BLOCK], b[N * CHANNEL_BLOCK], out[N * CHANNEL_BLOCK];
    uint64_t seed = 3;
    random_fill(&seed, a, N * CHANNEL_BLOCK);
    random_fill(&seed, b, N * CHANNEL_BLOCK);
    static const struct {
        int rows, columns, row; /* the window, and blocks from row to row */
    } windows[] = {{1, 1, 0}, {1, N, 0}, {N, 1, 1}, {2, 3, 4}, {3, 2, 2}};
    for (size_t i = 0; i < kernels_count(); i++) {
        const struct kernels *k = kernels_at(i);
        for (size_t w = 0; w < sizeof windows / sizeof *windows; w++) {
            const int rows = windows[w].rows, columns = windows[w].columns, row = windows[w].row;
            k->max(a, (size_t)(row * CHANNEL_BLOCK), rows, columns, out);
            for (int c = 0; c < CHANNEL_BLOCK; c++) {
                float want = a[c];
                for (int j = 1; j < rows * columns; j++)
                    want = fmaxf(want, a[(j / columns * row + j % columns) * CHANNEL_BLOCK + c]);
                cr_assert_eq(out[c], want, "%s: max", k->name);
            }
        }
        for (int n = 1; n <= N; n++) {
            k->mean(a, n, out);
            for (int c = 0; c < CHANNEL_BLOCK; c++) {
                double want = 0;
                for (int j = 0; j < n; j++)
                    want += (double)a[j * CHANNEL_BLOCK + c] / n;
                cr_assert_float_eq((double)out[c], want, 1e-6, "%s: mean", k->name);
            }
        }
        for (int relu = 0; relu < 2; relu++) {
            k->affine(a, b, b + CHANNEL_BLOCK, relu, N, out);
            for (int c = 0; c < N * CHANNEL_BLOCK; c++) {
                double want = (double)a[c] * (double)b[c % CHANNEL_BLOCK] +
                              (double)b[CHANNEL_BLOCK + c % CHANNEL_BLOCK];
                cr_assert_float_eq((double)out[c], relu && want < 0 ? 0 : want, 1e-6, "%s: affine",
                                   k->name);
            }
            memcpy(out, b, sizeof out);
            k->larger(a, N - 1, out);
            for (int c = 0; c < N * CHANNEL_BLOCK; c++)
                cr_assert_eq(out[c], c < (N - 1) * CHANNEL_BLOCK ? fmaxf(a[c], b[c]) : b[c],
                             "%s: larger", k->name);
            k->add(a, b, relu, N, out);
            for (int c = 0; c < N * CHANNEL_BLOCK; c++)
                cr_assert_eq(out[c], relu ? fmaxf(a[c] + b[c], 0) : a[c] + b[c], "%s: add",
                             k->name);
        }
    }
}

Test(kernels, the_mean_of_a_large_map_is_as_exact_as_that_of_a_small_one)
{
    enum { N = 384 * 384 };
    float *map = aligned_alloc(64, N * CHANNEL_BLOCK * sizeof *map);
    static _Alignas(64) float out[CHANNEL_BLOCK];
    cr_assert_not_null(map);
    for (size_t i = 0; i < (size_t)N * CHANNEL_BLOCK; i++)
        map[i] = 0.1f;
    for (size_t i = 0; i < kernels_count(); i++) {
        kernels_at(i)->mean(map, N, out);
        for (int c = 0; c < CHANNEL_BLOCK; c++)
            cr_assert_float_eq((double)out[c], 0.1, 2e-6, "%s: %.9g", kernels_at(i)->name,
                               (double)out[c]);
    }
    free(map);
}

Test(kernels, relu_leaves_what_is_not_a_number)
{
    static _Alignas(64) float a[CHANNEL_BLOCK], zeros[CHANNEL_BLOCK], out[CHANNEL_BLOCK];
    for (int c = 0; c < CHANNEL_BLOCK; c++)
        a[c] = c % 2 == 0 ? NAN : -1;
    for (size_t i = 0; i < kernels_count(); i++) {
        kernels_at(i)->add(a, zeros, true, 1, out);
        for (int c = 0; c < CHANNEL_BLOCK; c++)
            cr_assert(c % 2 == 0 ? isnan(out[c]) : out[c] == 0, "%s: %g", kernels_at(i)->name,
                      (double)out[c]);
    }
}

Test(kernels, are_found_by_name_and_the_best_is_the_last)
{
    cr_assert_geq(kernels_count(), 1);
    cr_assert_str_eq(kernels_at(0)->name, "portable");
    cr_assert_eq(kernels_find(NULL), kernels_at(kernels_count() - 1));
    for (size_t i = 0; i < kernels_count(); i++)
        cr_assert_eq(kernels_find(kernels_at(i)->name), kernels_at(i));
    cr_assert_null(kernels_find("mmx"));
}
