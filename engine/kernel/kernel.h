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

#include "engine/base/tensor.h"

#define KERNEL_MAX_ROWS 16 /* upper bound of conv_rows over all tables */

/* One register tile of a convolution: `rows` output positions × one block of output channels.
 *
 *   out[r][k] = act(bias[k] + Σ_tap Σ_block Σ_i in[tap * rows + r][in_offset + block * in_stride +
 * i] · weights[((tap * n_blocks + block) * depth + i) * 16 + k]
 *                   + residual[r][k])
 *
 * summed in that order, starting from the bias. A fully connected layer is the case of one tap, an
 * image a row. */
struct conv_tile {
    const float *const *in;       /* [n_taps][rows]: first channel of each position under each tap;
                                     unaligned where depth is not CHANNEL_BLOCK */
    size_t in_offset;             /* floats added to every pointer of `in`: a group's first block */
    size_t in_stride;             /* floats from one channel block of the input to the next */
    const float *weights;         /* [n_taps][n_blocks][depth][16] */
    const float *bias;            /* [16] */
    const float *const *residual; /* [rows], or NULL */
    float *const *out;            /* [rows] */
    int rows;                     /* 1 … conv_rows */
    int n_taps, n_blocks;
    int depth; /* channels read per block: 16, or the kernel's width for the planar stem */
    bool relu;
};

struct kernels {
    const char *name;
    int conv_rows; /* best (and largest) number of rows of a tile */
    void (*conv)(const struct conv_tile *tile);
    /* out[k] = max over in[0…n)[k], n >= 1. */
    void (*max)(const float *const *in, int n, float *out);
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
