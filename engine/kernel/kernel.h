/* The table of kernels: what the operators call, one implementation per ISA.
 *
 * Kernels are pure functions on pointers: no allocation, no threads, no globals. All pointers to
 * blocks are CHANNEL_BLOCK floats long and aligned to TENSOR_ALIGN unless said otherwise. Each
 * output is accumulated in one fixed order that does not depend on `rows`, so an answer does not
 * depend on how positions were grouped.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_KERNEL_KERNEL_H
#define RESNETD_ENGINE_KERNEL_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/tensor.h"

#define KERNEL_MAX_ROWS 16 /* upper bound of conv_rows over all tables */

/* Register tiles of a convolution, each of up to conv_rows output positions × `n_out` blocks of
 * output channels. For every position r of tile i, first[i] … first[i + 1] - 1, and each of those
 * blocks
 *
 *   out[at[r] + k] = act(bias[k] + Σ_tap Σ_block Σ_j in(tap, r)[in_offset + i * in_step +
 * block * in_stride + j] · weights[((tap * n_blocks + block) * depth + j) * 16 + k]
 *                   + residual[at[r] + k])
 *
 * summed in that order, starting from the bias, or from what `out` has if it is to be resumed. A
 * fully connected layer is the case of one tap, an image a position. */
struct conv_tiles {
    const int *first; /* [n_tiles + 1]: the position that each tile begins with */
    int n_tiles;
    const float *const *in;   /* of each tile [n_taps][rows]: first channel of each position under
                                 each tap; unaligned where depth is not CHANNEL_BLOCK */
    const size_t *tap_offset; /* [n_taps]: floats from a position's pointer to each tap; then of
                                 each tile `in` is [rows] only; NULL: a pointer for each tap */
    size_t in_offset;         /* floats added to every pointer of `in`, */
    size_t in_step;           /* and for every tile; if not 0, all share the first one's pointers */
    size_t in_stride;         /* floats from one channel block of the input to the next */
    const float *weights;     /* [n_taps][n_blocks][depth][16] */
    size_t weights_stride;    /* floats from one output block's weights to the next one's */
    const float *bias;        /* [n_out][16] */
    bool resume;              /* `out` has the sum of the blocks before these */
    const float *residual;    /* like out, or NULL */
    float *out;               /* position r at out + at[r] */
    size_t out_stride;        /* floats from one output block to the next */
    const size_t *at;         /* [positions] */
    int n_out;                /* 1 … conv_blocks */
    int n_taps, n_blocks;
    int depth; /* channels read per block: 16, or the kernel's width for the planar stem */
    bool relu;
    /* Weights of later tiles: n_fetch lines of 64 bytes for each tile, tap and block are fetched
     * from here on, but not used. */
    const float *fetch;
    int n_fetch;
};

/* The matrix product c[r][k] = Σ_i a[r][i] · b[i][k] for `n_out` blocks of 16 columns, summed in
 * the order of i whatever the number of rows. Strides in floats, multiples of 16. */
#define GEMM_STEP 3 /* of the stem: a pixel of three colours */
struct gemm {
    const float *a;            /* [rows][depth] */
    const float *b;            /* [n_out][depth][16] */
    const float *next;         /* of a later product: fetched meanwhile, but not used */
    float *c;                  /* [n_out][rows][16] */
    size_t a_stride, c_stride; /* from row to row */
    size_t c_block;            /* from one block of columns to the next */
    int rows, depth;           /* depth: a multiple of 16, and then one of GEMM_STEP */
    int n_out;                 /* any number */
    bool even; /* a's values 0, 2, 4, … only; depth: a multiple of GEMM_STEP below 9 */
};

/* Winograd's minimal filters of m×m outputs, or one fewer in either dimension: a short tile.
 * winograd.inl has their formulas. */
enum winograd_kind {
    WINOGRAD_2,         /* F(2×2, 3×3) */
    WINOGRAD_4,         /* F(4×4, 3×3) */
    WINOGRAD_6,         /* F(6×6, 3×3) */
    WINOGRAD_STRIDED_2, /* 2×2 outputs of a 3×3 kernel at stride 2, */
    WINOGRAD_STRIDED_4, /* 4×4 */
    WINOGRAD_STEM,      /* F(4×4, 4×4); its input is transformed by the row */
    WINOGRAD_KINDS
};

/* The transform of one input tile × 16 channels into as many values that are multiplied one by one.
 * Value (y, x) goes to out[o] + (y * side + x) * out_stride, where side is that of a tile that is
 * not short, and o is 0 for what all tiles have; 1 for columns, 2 for rows that a short tile lacks;
 * 3 for both. */
struct winograd_in {
    const float *const *in; /* the positions' first channels, row by row */
    size_t in_offset;       /* floats added to every pointer of `in`: a channel block */
    float *out[4];
    size_t out_stride;
    int rows, columns; /* of outputs: m or m - 1 */
};

/* The stem's F(4×4, 4×4), side 7: the transforms of n tiles side by side, each 4 positions from the
 * one before, of 16 channels, into out[tile * out_row + p * out_plane]. */
struct winograd_row {
    const float *rows[7]; /* [4n + 3][16] */
    int n;
    float *columns; /* [4n + 3][7][16]: what is transformed in one dimension only */
    float *out;
    size_t out_row, out_plane;
};

/* The transform of one tile of products, where winograd_in has its values, back to positions × 16
 * channels: act(transformed + bias + residual). */
struct winograd_out {
    const float *in[4];
    size_t in_stride;
    const float *bias;     /* [16] */
    const float *residual; /* like out, or NULL */
    float *out;            /* position (y, x) at out + y * row_stride + x * 16 */
    size_t row_stride;
    int rows, columns; /* m or m - 1; of the stem, those inside the map */
    bool relu;
};

/* The same for F(4×4, 4×4), n tiles side by side, and a 3×3 max pool at stride 2 behind it, whose
 * windows begin a position above and left of the tiles. A row of tiles gives the lower part of a
 * row of windows, a whole one, and the upper part of a third; a tile so of columns. What the tiles
 * to the left gave to the first ones' windows is in `edge`, where the last tile leaves the same. */
struct winograd_pool {
    const float *in; /* [49][n][16], in_stride floats from product to product */
    size_t in_stride;
    const float *bias; /* [16] */
    float *edge;       /* [3][16] */
    float *out[3];     /* [2n][16]; NULL: there is no such row */
    int n, rows;
    int columns; /* of positions inside the map, from the first tile on */
    bool left;   /* no tile is left of the first: `edge` is only written */
    bool more;   /* out[0] has the upper part */
    bool relu;
};

/* Strassen's sums of inputs, before the seven products: `n` positions and their partners × 16
 * channels of either half of the channels, read at in[p * 16], p = 0 … n-1, plus either offset or
 * both. Writes the seven values of position p to out[i * out_plane + p * out_row], i = 0 … 6. */
struct strassen_in {
    const float *in;
    size_t position_half, channel_half; /* floats to a position's partner, to the other half */
    float *out;
    size_t out_row, out_plane;
    int n;
};

/* The sums of products: in[i * in_plane + p * 16] to out[p * 16], plus either offset or both:
 * act(sum + bias + residual). */
struct strassen_out {
    const float *in;
    size_t in_plane;
    const float *bias;     /* [16] of the first half of the channels, */
    size_t bias_half;      /* floats to those of the second */
    const float *residual; /* like out, or NULL */
    float *out;
    size_t position_half, channel_half;
    int n;
    bool relu;
};

/* ---- bf16x3: fp32 products from three of bf16 -------------------------------------------------
 */

/* A matrix unit multiplies bf16 (the upper half of an fp32: 8 bits of significand) and adds up in
 * fp32. An fp32 x is high + low + an error of at most 2⁻¹⁸ |x|, where high = bf16(x) and low =
 * bf16(x - high), both rounded to nearest even; so x · w = high · high + high · low + low · high
 * within 3 · 2⁻¹⁸ |x · w|: 17 bits of significand, where fp32 has 24 (Henry, Tang & Heinecke 2019,
 * arXiv:1904.06376). Denormals count as zero. */
#define BF16X3_ROWS 16  /* positions of a tile */
#define BF16X3_DEPTH 32 /* input channels of a tile: a pair of channel blocks */
#define BF16X3_TILE (BF16X3_ROWS * BF16X3_DEPTH)
#define BF16X3_NOWHERE SIZE_MAX

/* `n` positions × a pair of channel blocks, in_step floats apart: the high halves of their 32
 * channels into [n][32] at `out`, the low ones `low` values further. */
struct bf16x3_split {
    const float *in, *second; /* second: NULL for zeros */
    size_t in_step;
    uint16_t *out;
    size_t low;
    int n;
};

/* `n` pixels of 1 to 4 planes: the high halves into [n][4] at `out`, zeros for channels that there
 * are not, the low ones `low` values further. */
struct bf16x3_pixels {
    const float *in;
    size_t plane; /* floats from plane to plane */
    int channels;
    uint16_t *out;
    size_t low;
    int n;
};
#define BF16X3_CHANNELS 4

/* 16 positions of the split input and of the output. */
struct bf16x3_tile {
    size_t in;              /* where the first position is, in values; the others follow */
    size_t at[BF16X3_ROWS]; /* each one's in the output, in floats, or BF16X3_NOWHERE */
};

/* A convolution's tiles × blocks of output channels:
 *
 *   out[at][k] = act(bias[k] + Σ_pair Σ_tap Σ_i in[pair][position + tap][i] · w[pair][tap][i][k]
 *                    + residual[at][k])
 *
 * each product split in three, summed in that order whatever the number of tiles and blocks. */
struct bf16x3 {
    const uint16_t *in;
    size_t in_row;            /* bytes from one position of a tile to the next */
    size_t in_low, in_stride; /* values from the high halves to the low ones, from pair to pair */
    const size_t *tap_offset; /* [n_taps], values */
    int n_taps, n_pairs;
    const uint16_t *weights; /* for every two blocks, the last may be alone:
                                [n_pairs][n_taps][high, low][blocks][16 i / 2][16 k][2 of i] */
    const struct bf16x3_tile *tiles;
    int n_tiles, n_out;
    int group_out;   /* so many blocks of outputs, an even number, read the same pairs of inputs; */
    int group_at;    /* of the first of which so many come before; */
    size_t in_group; /* the next ones' are so many values further */
    const float *bias, *residual; /* [n_out][16]; like out, or NULL */
    float *out;
    size_t out_stride; /* floats from one block of output channels to the next */
    size_t limit;      /* positions from here on are left out */
    bool relu;
    const uint16_t *next; /* weights of two blocks that are fetched meanwhile, or NULL */
};

struct kernels {
    const char *name;
    int conv_rows;   /* best (and largest) number of rows of a tile */
    int conv_blocks; /* best (and largest) number of output blocks of a tile: 1 or 2 */
    /* The fewest output channels of a 1×1, of at least as many inputs, with which a product costs
     * more than the sums that Strassen saves it with. */
    int strassen_channels;
    void (*conv)(const struct conv_tiles *tiles);
    void (*gemm)(const struct gemm *gemm);
    void (*winograd_in[WINOGRAD_STEM])(const struct winograd_in *tile);
    void (*winograd_in_stem)(const struct winograd_row *row);
    void (*winograd_out[WINOGRAD_KINDS])(const struct winograd_out *tile);
    void (*winograd_pool_stem)(const struct winograd_pool *row);
    void (*strassen_in)(const struct strassen_in *sums);
    void (*strassen_out)(const struct strassen_out *sums);
    /* NULL where there is no matrix unit. */
    void (*bf16x3)(const struct bf16x3 *tiles);
    void (*bf16x3_split)(const struct bf16x3_split *split);
    void (*bf16x3_pixels)(const struct bf16x3_pixels *pixels);
    /* For measuring: n rounds of independent multiply-adds in registers, sum[k] of which depend on
     * all of them; returns how many operations a round is. */
    int (*multiply_add)(int n, float *sum);
    /* out[k] = max over a window of rows × columns blocks, row_stride floats from row to row. */
    void (*max)(const float *in, size_t row_stride, int rows, int columns, float *out);
    /* out[j] = max(a[j], out[j]) over n consecutive blocks. */
    void (*larger)(const float *a, int n, float *out);
    /* out[k] = mean over the n consecutive blocks at in. */
    void (*mean)(const float *in, int n, float *out);
    /* out[j][k] = act(in[j][k] * scale[k] + shift[k]) over n consecutive blocks; in place allowed.
     */
    void (*affine)(const float *in, const float *scale, const float *shift, bool relu, int n,
                   float *out);
    /* out[j] = act(a[j] + b[j]) over n consecutive blocks; in place allowed. */
    void (*add)(const float *a, const float *b, bool relu, int n, float *out);
};

/* The tables that this build has and this CPU can run, portable first, best last. */
size_t kernels_count(void);
const struct kernels *kernels_at(size_t i);
/* By name; NULL gives the best; NULL when this build or CPU has none of that name. */
const struct kernels *kernels_find(const char *name);

#endif
