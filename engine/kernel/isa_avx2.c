/* The AVX2 + FMA kernels: tiles of 6 positions in twelve 256-bit registers. Exports its init only,
 * so that no code compiled for this ISA can be linked into anything else.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/kernel/kernel.h"

#include "engine/kernel/simd/avx2.h"

#define CONV_ROWS 6
#define CONV_BLOCKS 1
#define CONV_FETCH_BLOCKS 16
#include "engine/kernel/conv.inl"
#include "engine/kernel/eltwise.inl"
#include "engine/kernel/gemm.inl"
#include "engine/kernel/strassen.inl"
#include "engine/kernel/winograd.inl"

void kernels_init_avx2(struct kernels *kernels);
void kernels_init_avx2(struct kernels *kernels)
{
    *kernels = (struct kernels){
        .name = "avx2",
        .conv_rows = CONV_ROWS,
        .conv_blocks = CONV_BLOCKS,
        .strassen_channels = 256,
        .conv = conv,
        .gemm = gemm,
        .winograd_in = WINOGRAD_IN,
        .winograd_in_stem = winograd_in_stem,
        .winograd_out = WINOGRAD_OUT,
        .winograd_pool_stem = winograd_pool_stem,
        .strassen_in = strassen_in,
        .strassen_out = strassen_out,
        .multiply_add = multiply_add,
        .max = max,
        .larger = larger,
        .mean = mean,
        .affine = affine,
        .add = add,
    };
}
