/* The convolution operator: its shape, its cost, and the choice of the algorithm.
 *
 * The choice depends on the layer's shape only, never on the batch, so that an image's answer does
 * not depend on what it is batched with.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/op/conv.h"

#define WINOGRAD_MIN_CHANNELS 32 /* below, the transforms cost more than the products save */
/* Tiles of 4×4 outputs have 4 times the weights of the layer, those of 2×2 only 1.8 times: too many
 * to read for a few tiles, which is what a run of one image has of a smaller map. */
#define WINOGRAD_4_MIN_SIDE 10
#define WINOGRAD_STRIDED_4_MIN_SIDE 20
#define WINOGRAD_6_MIN_SIDE 20     /* the least that whole and short tiles of 6×6 cover */
#define STRASSEN_MIN_POSITIONS 128 /* with fewer, reading 7/4 of the weights costs more */

static enum rn_status infer(const struct op_attrs *a, struct shape in, struct shape *out,
                            struct rn_error *err)
{
    if (a->kernel < 1 || a->kernel > OP_MAX_KERNEL)
        return rn_fail(err, RN_UNSUPPORTED_MODEL, "a %d×%d kernel: 1 to %d are possible", a->kernel,
                       a->kernel, OP_MAX_KERNEL);
    if (a->groups < 1 || in.c % a->groups != 0 || a->out_channels % a->groups != 0)
        return rn_fail(err, RN_UNSUPPORTED_MODEL, "%d groups do not divide %d and %d channels",
                       a->groups, in.c, a->out_channels);
    if (in.h + 2 * a->pad < a->kernel || in.w + 2 * a->pad < a->kernel)
        return rn_fail(err, RN_UNSUPPORTED_MODEL, "a map of %d×%d is smaller than the %d×%d kernel",
                       in.h, in.w, a->kernel, a->kernel);
    *out = (struct shape){.c = a->out_channels,
                          .h = op_window_out(in.h, a->kernel, a->stride, a->pad),
                          .w = op_window_out(in.w, a->kernel, a->stride, a->pad)};
    return RN_OK;
}

static uint64_t flops(const struct op_attrs *a, struct shape in, struct shape out)
{
    return UINT64_C(2) * (uint64_t)(a->kernel * a->kernel) * (uint64_t)(in.c / a->groups) *
           (uint64_t)out.c * (uint64_t)out.h * (uint64_t)out.w;
}

int conv_part_start(const struct kernels *kernels, int out_blocks, int part, int n_parts)
{
    const int n_tiles = (out_blocks + kernels->conv_blocks - 1) / kernels->conv_blocks;
    const int block = (int)((int64_t)n_tiles * part / n_parts) * kernels->conv_blocks;
    return block < out_blocks ? block : out_blocks;
}

/* False: none of the filters is for this layer, or worth it. */
static bool choose_winograd(const struct op_spec *s, enum winograd_kind *kind)
{
    const struct op_attrs *a = &s->attrs;
    if (s->direct || s->in_border >= 0 || a->kernel != 3 || a->stride > 2 || a->pad != 1 ||
        a->groups != 1 || s->in.c < WINOGRAD_MIN_CHANNELS || s->out.c < WINOGRAD_MIN_CHANNELS)
        return false;
    const int side = s->out.h < s->out.w ? s->out.h : s->out.w;
    if (a->stride == 1)
        *kind = side >= WINOGRAD_6_MIN_SIDE   ? WINOGRAD_6
                : side >= WINOGRAD_4_MIN_SIDE ? WINOGRAD_4
                                              : WINOGRAD_2;
    else
        *kind = side >= WINOGRAD_STRIDED_4_MIN_SIDE ? WINOGRAD_STRIDED_4 : WINOGRAD_STRIDED_2;
    return true;
}

static bool choose_strassen(const struct op_spec *s)
{
    const struct op_attrs *a = &s->attrs;
    const int positions = s->out.h * s->out.w;
    return !s->direct && s->in_border < 0 && a->kernel == 1 && a->stride == 1 && a->pad == 0 &&
           a->groups == 1 && s->out.c >= s->kernels->strassen_channels &&
           s->in.c >= s->kernels->strassen_channels && s->in.c % (2 * CHANNEL_BLOCK) == 0 &&
           s->out.c % (2 * CHANNEL_BLOCK) == 0 && positions >= STRASSEN_MIN_POSITIONS &&
           positions % 2 == 0;
}

static enum rn_status prepare(const struct op_spec *spec, struct arena *arena,
                              struct op_prepared *out, struct rn_error *err)
{
    if (!spec->direct && conv_bf16x3_possible(spec))
        return conv_bf16x3_prepare(spec, arena, out, err);
    if (!spec->direct && conv_stem_possible(spec))
        return conv_stem_prepare(spec, arena, out, err);
    enum winograd_kind kind;
    if (choose_winograd(spec, &kind))
        return conv_winograd_prepare(spec, kind, arena, out, err);
    return choose_strassen(spec) ? conv_strassen_prepare(spec, arena, out, err)
                                 : conv_direct_prepare(spec, arena, out, err);
}

const struct op op_conv = {.name = "conv", .infer = infer, .flops = flops, .prepare = prepare};
