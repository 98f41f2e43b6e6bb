/* weights.c: conversions to fp32 are exact, whatever the alignment.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include <criterion/criterion.h>

#include "engine/load/weights.h"

static uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float convert_16(enum weight_type type, unsigned bits)
{
    uint8_t bytes[3] = {0xa5, (uint8_t)bits, (uint8_t)(bits >> 8)};
    struct weight weight = {.name = "w", .type = type, .data = bytes + 1, .count = 1};
    float out;
    weight_floats(&weight, 0, 1, &out);
    return out;
}

Test(weights, converts_known_halves_exactly)
{
    static const struct {
        unsigned half;
        float value;
    } known[] = {
        {0x0000, 0.0f},        {0x3c00, 1.0f},      {0xbc00, -1.0f},     {0xc000, -2.0f},
        {0x3555, 0x1.554p-2f}, {0x7bff, 65504.0f},  {0xfbff, -65504.0f}, {0x0400, 0x1p-14f},
        {0x03ff, 0x3ffp-24f},  {0x0001, 0x1p-24f},  {0x8001, -0x1p-24f}, {0x0200, 0x1p-15f},
        {0x3c01, 0x1.004p+0f}, {0x4248, 3.140625f}, {0x7c00, INFINITY},  {0xfc00, -INFINITY},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        cr_assert_eq(float_bits(convert_16(WEIGHT_F16, known[i].half)), float_bits(known[i].value),
                     "half %04x", known[i].half);
    cr_assert_eq(float_bits(convert_16(WEIGHT_F16, 0x8000)), 0x80000000u);
    cr_assert(isnan(convert_16(WEIGHT_F16, 0x7e00)));
    cr_assert(isnan(convert_16(WEIGHT_F16, 0xfc01)));
}

Test(weights, converts_every_half_to_the_value_of_its_definition)
{
    for (unsigned half = 0; half < 0x10000; half++) {
        unsigned exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
        if (exponent == 0x1f)
            continue;
        double magnitude =
            exponent ? ldexp(1024 + fraction, (int)exponent - 25) : ldexp(fraction, -24);
        double expected = half & 0x8000 ? -magnitude : magnitude;
        float got = convert_16(WEIGHT_F16, half);
        cr_assert_eq((double)got, expected, "half %04x", half);
        cr_assert_eq(!signbit(got), !(half & 0x8000), "half %04x", half);
    }
}

Test(weights, converts_bfloat16_to_the_upper_half_of_a_float)
{
    static const unsigned known[] = {0x0000, 0x8000, 0x3f80, 0xbf80, 0x0001, 0x007f,
                                     0x0080, 0x7f7f, 0x7f80, 0xff80, 0x7fc0, 0x4049};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        cr_assert_eq(float_bits(convert_16(WEIGHT_BF16, known[i])), (uint32_t)known[i] << 16);
    cr_assert_eq(convert_16(WEIGHT_BF16, 0x4049), 3.140625f);
}

Test(weights, reads_unaligned_floats)
{
    static const float values[3] = {1.5f, -0x1p-149f, 3.25e38f};
    uint8_t bytes[1 + sizeof values];
    for (size_t i = 0; i < 3; i++)
        for (int b = 0; b < 4; b++)
            bytes[1 + 4 * i + (size_t)b] = (uint8_t)(float_bits(values[i]) >> 8 * b);
    struct weight weight = {.name = "w", .type = WEIGHT_F32, .data = bytes + 1, .count = 3};
    float out[3];
    weight_floats(&weight, 0, 3, out);
    cr_assert_arr_eq(out, values, sizeof values);
}

Test(weights, converts_a_part)
{
    static const enum weight_type types[] = {WEIGHT_F32, WEIGHT_F16, WEIGHT_BF16};
    uint8_t bytes[4 * 5];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(0x11 + 7 * i);
    for (int t = 0; t < 3; t++) {
        struct weight weight = {.name = "w", .type = types[t], .data = bytes, .count = 5};
        float whole[5], part[3] = {0};
        weight_floats(&weight, 0, 5, whole);
        weight_floats(&weight, 2, 2, part);
        cr_assert_arr_eq(part, whole + 2, 2 * sizeof *part);
        cr_assert_eq(part[2], 0);
    }
}

Test(weights, shows_shapes_and_cuts_them_to_fit)
{
    char text[64];
    struct weight weight = {.n_dims = 4, .shape = {64, 3, 7, 7}};
    cr_assert_str_eq(weight_shape_text(&weight, text, sizeof text), "64×3×7×7");
    weight.n_dims = 1;
    cr_assert_str_eq(weight_shape_text(&weight, text, sizeof text), "64");
    weight.n_dims = 0;
    cr_assert_str_eq(weight_shape_text(&weight, text, sizeof text), "scalar");
    weight.n_dims = 4;
    cr_assert_str_eq(weight_shape_text(&weight, text, 3), "64");
}

Test(weights, finds_nothing_in_nothing)
{
    struct weights weights = {0};
    cr_assert_null(weights_find(&weights, "a"));
    cr_assert_null(weights_text(&weights, "a"));
    weights_done(&weights);
}
