/* What a prepared linear layer says of one of its outputs.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_OP_LINEAR_H
#define RESNETD_ENGINE_OP_LINEAR_H

#include <stddef.h>

struct op_prepared;

/* output = sum over c of weights[c * stride] * input[c], + bias. */
struct linear_row {
    const float *weights; /* the layer's own */
    size_t stride;
    float bias;
};

/* `prepared` is op_linear's. */
struct linear_row linear_row(const struct op_prepared *prepared, int output);

#endif
