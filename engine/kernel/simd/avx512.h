/* The vector vocabulary in AVX-512F: 512 bits.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_KERNEL_SIMD_AVX512_H
#define RESNETD_ENGINE_KERNEL_SIMD_AVX512_H

#include <immintrin.h>

#define VEC_FLOATS 16
typedef __m512 vec;

#define SIMD static inline __attribute__((always_inline))

SIMD vec vec_load(const float *p)
{
    return _mm512_load_ps(p);
}

SIMD void vec_store(float *p, vec a)
{
    _mm512_store_ps(p, a);
}

SIMD vec vec_set1(float x)
{
    return _mm512_set1_ps(x);
}

SIMD vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

SIMD vec vec_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}

SIMD vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

/* a * b + c */
SIMD vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* acc += a * b */
SIMD void vec_accumulate(vec *acc, vec a, vec b)
{
    *acc = vec_fma(a, b, *acc);
}

SIMD vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

#endif
