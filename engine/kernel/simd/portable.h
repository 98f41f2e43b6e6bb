/* The vector vocabulary in GNU C vectors of 128 bits: every compiler target has something for
 * these. Multiply and add are two roundings here; the other ISAs fuse them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_KERNEL_SIMD_PORTABLE_H
#define RESNETD_ENGINE_KERNEL_SIMD_PORTABLE_H

#define VEC_FLOATS 4
typedef float vec __attribute__((vector_size(16)));

#define SIMD static inline __attribute__((always_inline))

SIMD vec vec_load(const float *p)
{
    return *(const vec *)p;
}

SIMD void vec_store(float *p, vec a)
{
    *(vec *)p = a;
}

SIMD vec vec_set1(float x)
{
    return (vec){x, x, x, x};
}

SIMD vec vec_add(vec a, vec b)
{
    return a + b;
}

SIMD vec vec_sub(vec a, vec b)
{
    return a - b;
}

SIMD vec vec_mul(vec a, vec b)
{
    return a * b;
}

/* a * b + c */
SIMD vec vec_fma(vec a, vec b, vec c)
{
    return a * b + c;
}

/* acc += a * b */
SIMD void vec_accumulate(vec *acc, vec a, vec b)
{
    *acc = vec_fma(a, b, *acc);
}

SIMD vec vec_max(vec a, vec b)
{
    typedef int mask __attribute__((vector_size(16)));
    mask greater = a > b;
    return (vec)((greater & (mask)a) | (~greater & (mask)b));
}

#endif
