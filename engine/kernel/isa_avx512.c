/* The AVX-512F kernels: tiles of 10 positions × 2 blocks in twenty 512-bit registers. Exports its
 * init only, so that no code compiled for this ISA can be linked into anything else.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/kernel/kernel.h"

#include "engine/kernel/simd/avx512.h"

#define CONV_ROWS 10
#define CONV_BLOCKS 2
#define CONV_FETCH_BLOCKS 1
#include "engine/kernel/conv.inl"
#include "engine/kernel/eltwise.inl"
#include "engine/kernel/gemm.inl"
#include "engine/kernel/strassen.inl"
#include "engine/kernel/winograd.inl"

void kernels_init_avx512(struct kernels *kernels);
void kernels_init_avx512(struct kernels *kernels)
{
    *kernels = (struct kernels){
        .name = "avx512",
        .conv_rows = CONV_ROWS,
        .conv_blocks = CONV_BLOCKS,
        .strassen_channels = 128,
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
