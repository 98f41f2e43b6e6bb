/* Shapes, and the one memory layout of feature maps inside the engine.
 *
 * Feature maps are "blocked": [n][blocks][h][w][CHANNEL_BLOCK], channels in blocks of 16 whatever
 * the CPU, the last block filled up with zeros. One block is one 512-bit, two 256-bit or four
 * 128-bit registers, so that a kernel's weights, bias and outputs need no shuffling on any of them,
 * and plans look the same on every machine. Only the network's input is planar, [n][c][h][w].
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_BASE_TENSOR_H
#define RESNETD_ENGINE_BASE_TENSOR_H

#include <stddef.h>

#define CHANNEL_BLOCK 16
#define TENSOR_ALIGN 64 /* bytes; one block of fp32 */

/* Bytes, rounded up so that a tensor may follow. */
static inline size_t tensor_align(size_t bytes)
{
    return (bytes + TENSOR_ALIGN - 1) / TENSOR_ALIGN * TENSOR_ALIGN;
}

/* Of one image; n is kept apart because a plan serves any n up to its largest batch. */
struct shape {
    int c, h, w;
};

static inline int channel_blocks(int c)
{
    return (c + CHANNEL_BLOCK - 1) / CHANNEL_BLOCK;
}

/* Floats of one image in blocked layout. Shapes are checked on inference to make this fit. */
static inline size_t shape_blocked_size(struct shape s)
{
    return (size_t)channel_blocks(s.c) * CHANNEL_BLOCK * (size_t)s.h * (size_t)s.w;
}

#endif
