/* The NEON kernels: tiles of 6 positions in twenty-four 128-bit registers. Exports its init only,
 * so that no code compiled for this ISA can be linked into anything else.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/kernel/kernel.h"

#include "engine/kernel/simd/neon.h"

#define CONV_ROWS 6
#include "engine/kernel/conv.inl"
#include "engine/kernel/eltwise.inl"

void kernels_init_neon(struct kernels *kernels);
void kernels_init_neon(struct kernels *kernels)
{
    *kernels = (struct kernels){
        .name = "neon",
        .conv_rows = CONV_ROWS,
        .conv = conv,
        .max = max,
        .mean = mean,
        .affine = affine,
        .add = add,
    };
}
