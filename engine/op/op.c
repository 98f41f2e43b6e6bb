/* What several operators share.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/op/op.h"

#include <math.h>
#include <string.h>

#include "engine/base/threads.h"

#define BN_EPSILON 1e-5

void op_pack(const struct op_spec *spec, int n, void (*fn)(void *context, int piece), void *context)
{
    if (spec->team) {
        threads_run(spec->team, n, fn, context);
        return;
    }
    for (int i = 0; i < n; i++) {
        fn(context, i);
        if (spec->rest)
            spec->rest();
    }
}

void op_pack_bias(const struct op_spec *spec, float *bias)
{
    if (spec->params.bias)
        memcpy(bias, spec->params.bias, (size_t)spec->out.c * sizeof *bias);
}

enum rn_status op_prepare_copy(const struct op_spec *spec, struct arena *arena,
                               void (*run)(const void *data, const struct op_args *args),
                               const char *algorithm, struct op_prepared *out, struct rn_error *err)
{
    struct op_spec *copy = arena_alloc(arena, sizeof *copy);
    if (!copy)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for a layer");
    *copy = *spec;
    *out = (struct op_prepared){.data = copy, .run = run, .algorithm = algorithm};
    return RN_OK;
}

void op_bn_affine(const struct op_params *p, int c, float *scale, float *shift)
{
    double s = (double)p->weight[c] / sqrt((double)p->var[c] + BN_EPSILON);
    *scale = (float)s;
    *shift = (float)((double)p->bias[c] - (double)p->mean[c] * s);
}
