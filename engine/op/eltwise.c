/* Batch normalisation, ReLU and addition as steps of their own. An optimized ResNet has none of
 * them left (they are folded and fused into the convolutions); a plan of the network as written
 * runs them, and the tests compare the two.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/threads.h"
#include "engine/op/op.h"

struct eltwise {
    struct op_spec spec;
    const float *scale, *shift; /* [blocks][16], bn only */
};

static enum rn_status infer(const struct op_attrs *a, struct shape in, struct shape *out,
                            struct rn_error *err)
{
    (void)a;
    (void)err;
    *out = in;
    return RN_OK;
}

struct eltwise_run {
    const struct eltwise *eltwise;
    const struct op_args *args;
    void (*plane)(const struct eltwise *e, const struct op_args *args, size_t at, int block, int n);
};

static void plane_bn(const struct eltwise *e, const struct op_args *args, size_t at, int block,
                     int n)
{
    size_t c = (size_t)block * CHANNEL_BLOCK;
    e->spec.kernels->affine(args->in + at, e->scale + c, e->shift + c,
                            e->spec.attrs.relu && !args->no_relu, n, args->out + at);
}

static void plane_relu(const struct eltwise *e, const struct op_args *args, size_t at, int block,
                       int n)
{
    static const _Alignas(TENSOR_ALIGN) float one[CHANNEL_BLOCK] = {1, 1, 1, 1, 1, 1, 1, 1,
                                                                    1, 1, 1, 1, 1, 1, 1, 1};
    (void)block;
    e->spec.kernels->affine(args->in + at, one, e->spec.zeros, true, n, args->out + at);
}

static void plane_add(const struct eltwise *e, const struct op_args *args, size_t at, int block,
                      int n)
{
    (void)block;
    e->spec.kernels->add(args->in + at, args->residual + at, e->spec.attrs.relu && !args->no_relu,
                         n, args->out + at);
}

/* Item: one channel block of one image. */
static void run_item(void *context, int item)
{
    const struct eltwise_run *run = context;
    struct shape s = run->eltwise->spec.in;
    size_t plane = (size_t)(s.h * s.w) * CHANNEL_BLOCK;
    run->plane(run->eltwise, run->args, (size_t)item * plane, item % channel_blocks(s.c),
               s.h * s.w);
}

static void run_planes(const struct eltwise *e, const struct op_args *args,
                       void (*plane)(const struct eltwise *, const struct op_args *, size_t, int,
                                     int))
{
    struct eltwise_run run = {.eltwise = e, .args = args, .plane = plane};
    threads_run(args->threads, args->n * channel_blocks(e->spec.in.c), run_item, &run);
}

static void run_bn(const void *prepared, const struct op_args *args)
{
    run_planes(prepared, args, plane_bn);
}

static void run_relu(const void *prepared, const struct op_args *args)
{
    run_planes(prepared, args, plane_relu);
}

static void run_add(const void *prepared, const struct op_args *args)
{
    run_planes(prepared, args, plane_add);
}

static enum rn_status prepare(const struct op_spec *spec, struct arena *arena,
                              void (*run)(const void *data, const struct op_args *args),
                              struct op_prepared *out, struct eltwise **data, struct rn_error *err)
{
    struct eltwise *e = arena_alloc(arena, sizeof *e);
    if (!e)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for an element-wise layer");
    e->spec = *spec;
    *data = e;
    *out = (struct op_prepared){.data = e, .run = run, .algorithm = "eltwise"};
    return RN_OK;
}

static enum rn_status prepare_bn(const struct op_spec *spec, struct arena *arena,
                                 struct op_prepared *out, struct rn_error *err)
{
    struct eltwise *e = NULL;
    size_t n = (size_t)channel_blocks(spec->in.c) * CHANNEL_BLOCK;
    float *scale = arena_array(arena, n, sizeof *scale);
    float *shift = arena_array(arena, n, sizeof *shift);
    enum rn_status status = prepare(spec, arena, run_bn, out, &e, err);
    if (status != RN_OK)
        return status;
    if (!scale || !shift)
        return rn_fail(err, RN_NO_MEMORY, "out of memory for a batch normalisation");
    for (int c = 0; c < spec->in.c; c++)
        op_bn_affine(&spec->params, c, &scale[c], &shift[c]);
    e->scale = scale;
    e->shift = shift;
    return RN_OK;
}

static enum rn_status prepare_relu(const struct op_spec *spec, struct arena *arena,
                                   struct op_prepared *out, struct rn_error *err)
{
    struct eltwise *e = NULL;
    return prepare(spec, arena, run_relu, out, &e, err);
}

static enum rn_status prepare_add(const struct op_spec *spec, struct arena *arena,
                                  struct op_prepared *out, struct rn_error *err)
{
    struct eltwise *e = NULL;
    return prepare(spec, arena, run_add, out, &e, err);
}

const struct op op_bn = {.name = "bn", .infer = infer, .prepare = prepare_bn};
const struct op op_relu = {.name = "relu", .infer = infer, .prepare = prepare_relu};
const struct op op_add = {.name = "add", .infer = infer, .prepare = prepare_add};
