/* The vector vocabulary in AVX2 + FMA: 256 bits.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_KERNEL_SIMD_AVX2_H
#define RESNETD_ENGINE_KERNEL_SIMD_AVX2_H

#include <immintrin.h>

#define VEC_FLOATS 8
typedef __m256 vec;

#define SIMD static inline __attribute__((always_inline))

SIMD vec vec_load(const float *p)
{
    return _mm256_load_ps(p);
}

SIMD void vec_store(float *p, vec a)
{
    _mm256_store_ps(p, a);
}

SIMD vec vec_set1(float x)
{
    return _mm256_set1_ps(x);
}

SIMD vec vec_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

SIMD vec vec_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}

SIMD vec vec_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

/* a * b + c */
SIMD vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* acc += a * b. In assembly, since the compiler would fold loads of b that others use, too, into
 * the instruction, and move accumulators from register to register. */
SIMD void vec_accumulate(vec *acc, vec a, vec b)
{
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(*acc) : "x"(a), "x"(b));
}

SIMD vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

#endif
