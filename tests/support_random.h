/* A small seeded generator, so that test data is the same everywhere. Header only.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_TESTS_SUPPORT_RANDOM_H
#define RESNETD_TESTS_SUPPORT_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* 0 … n - 1. */
static inline int random_below(uint64_t *state, int n)
{
    return (int)(random_next(state) % (uint64_t)n);
}

/* -1 … 1, 24 random bits. */
static inline float random_float(uint64_t *state)
{
    return (float)(random_next(state) >> 40) / 8388608.0f - 1.0f;
}

static inline void random_fill(uint64_t *state, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = random_float(state);
}

#endif
