/* The input that golden answers belong to. Pure.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/engine.h"

/* Knuth's multiplicative hash; 24 bits of it are exact in a float, so that every machine and every
 * library makes the same numbers. */
void rn_golden_input(const struct rn_model_info *info, float *tensor)
{
    const size_t n = (size_t)info->input[0] * (size_t)info->input[1] * (size_t)info->input[2];
    for (size_t k = 0; k < n; k++)
        tensor[k] = (float)(((uint32_t)k * 2654435761u) >> 8) / 8388608.0f - 1.0f;
}
