/* The ways to convolve; conv.c chooses one of them for a layer when it is prepared.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_OP_CONV_H
#define RESNETD_ENGINE_OP_CONV_H

#include "engine/op/op.h"

/* Any kernel, stride, padding and groups; blocked or planar input. */
enum rn_status conv_direct_prepare(const struct op_spec *spec, struct arena *arena,
                                   struct op_prepared *out, struct rn_error *err);

/* 3×3 with padding 1, one group and blocked input: WINOGRAD_2, _4 and _6 at stride 1,
 * WINOGRAD_STRIDED_2 and _4 at stride 2. The sides of the map must be what whole and short tiles
 * add up to, see winograd_tiles. */
enum rn_status conv_winograd_prepare(const struct op_spec *spec, enum winograd_kind kind,
                                     struct arena *arena, struct op_prepared *out,
                                     struct rn_error *err);

/* Winograd F(4×4, 4×4) for the stem: 7×7 at stride 2, one group and planar input of up to 4
 * channels. Reads op_args.images; takes the max pool behind it along. */
bool conv_stem_possible(const struct op_spec *spec);
enum rn_status conv_stem_prepare(const struct op_spec *spec, struct arena *arena,
                                 struct op_prepared *out, struct rn_error *err);

/* One step of Strassen's algorithm for 1×1 at stride 1, one group, blocked input, a multiple of 32
 * channels in and out, and an even number of positions. */
enum rn_status conv_strassen_prepare(const struct op_spec *spec, struct arena *arena,
                                     struct op_prepared *out, struct rn_error *err);

/* On a matrix unit, fp32 products as three of bf16. Any kernel, stride and padding; one group, or
 * as many outputs as inputs and groups that divide 32 channels or are multiples of them; blocked
 * input, or planar with up to 4 channels and a kernel of up to 8. */
bool conv_bf16x3_possible(const struct op_spec *spec);
enum rn_status conv_bf16x3_prepare(const struct op_spec *spec, struct arena *arena,
                                   struct op_prepared *out, struct rn_error *err);

/* The first output block of part `part` of n_parts, which are whole register tiles. */
int conv_part_start(const struct kernels *kernels, int out_blocks, int part, int n_parts);

#endif
