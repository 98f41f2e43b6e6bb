/* The vector vocabulary in NEON (AArch64, always there): 128 bits, fused multiply-add.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_KERNEL_SIMD_NEON_H
#define RESNETD_ENGINE_KERNEL_SIMD_NEON_H

#include <arm_neon.h>

#define VEC_FLOATS 4
typedef float32x4_t vec;

#define SIMD static inline __attribute__((always_inline))

SIMD vec vec_load(const float *p)
{
    return vld1q_f32(p);
}

SIMD void vec_store(float *p, vec a)
{
    vst1q_f32(p, a);
}

SIMD vec vec_set1(float x)
{
    return vdupq_n_f32(x);
}

SIMD vec vec_add(vec a, vec b)
{
    return vaddq_f32(a, b);
}

SIMD vec vec_sub(vec a, vec b)
{
    return vsubq_f32(a, b);
}

SIMD vec vec_mul(vec a, vec b)
{
    return vmulq_f32(a, b);
}

/* a * b + c */
SIMD vec vec_fma(vec a, vec b, vec c)
{
    return vfmaq_f32(c, a, b);
}

/* acc += a * b */
SIMD void vec_accumulate(vec *acc, vec a, vec b)
{
    *acc = vec_fma(a, b, *acc);
}

SIMD vec vec_max(vec a, vec b)
{
    return vmaxq_f32(a, b);
}

#endif
