/* The lines that decoding times are predicted by.
 *
 * SPDX-License-Identifier: MIT */
#include "server/decodecurve.h"

#include <criterion/criterion.h>

#define US UINT64_C(1000)
#define MP 1e6

static struct decodecurve curve;

static void setup(void)
{
    curve = (struct decodecurve){0};
}

TestSuite(decodecurve, .init = setup);

/* 100 µs and 6 ns a pixel. */
static uint64_t cost_ns(double n_pixels)
{
    return 100 * US + (uint64_t)(6 * n_pixels);
}

static double expected_us(int way, double n_pixels)
{
    return (double)decodecurve_expected_ns(&curve, way, n_pixels) / 1e3;
}

Test(decodecurve, knows_nothing_at_first)
{
    cr_assert_eq(decodecurve_expected_ns(&curve, 0, 12 * MP), 0);
    cr_assert_eq(decodecurve_fastest_ns(&curve, 0, 12 * MP), 0);
    decodecurve_doubt(&curve, 0);
    cr_assert_eq(decodecurve_expected_ns(&curve, 0, 12 * MP), 0);
}

Test(decodecurve, tells_ways_of_decoding_apart)
{
    cr_assert_eq(decodecurve_way(RN_FORMAT_JPEG, 1), 0);
    cr_assert_eq(decodecurve_way(RN_FORMAT_JPEG, 8), 3);
    cr_assert_eq(decodecurve_way(RN_FORMAT_PNG, 1), 4);
    for (int way = 0; way < DECODECURVE_WAYS; way++)
        cr_assert_eq(
            decodecurve_way(way == 4 ? RN_FORMAT_PNG : RN_FORMAT_JPEG, decodecurve_reduction(way)),
            way);
    cr_assert_str_eq(decodecurve_format(3), "jpeg");
    cr_assert_str_eq(decodecurve_format(4), "png");
    decodecurve_learn(&curve, 4, MP, 20000 * US);
    cr_assert_eq(decodecurve_expected_ns(&curve, 0, MP), 0);
}

Test(decodecurve, finds_the_constant_and_the_price_of_a_pixel)
{
    for (int i = 0; i < 100; i++) {
        const double n_pixels = (0.1 + 0.1 * (i * 7 % 20)) * MP; /* up to two megapixels */
        decodecurve_learn(&curve, 0, n_pixels, cost_ns(n_pixels));
    }
    cr_assert_float_eq(expected_us(0, 0.25 * MP), 1600, 20);
    cr_assert_float_eq(expected_us(0, 12 * MP), 72100, 700);
}

Test(decodecurve, is_right_for_the_only_size_seen_and_low_for_larger_ones)
{
    for (int i = 0; i < 100; i++)
        decodecurve_learn(&curve, 0, 32 * 32, 80 * US);
    cr_assert_float_eq(expected_us(0, 32 * 32), 80, 1);
    cr_assert_lt(expected_us(0, 12 * MP), 13000, "not 12 million times the price of a thumbnail's");
    decodecurve_learn(&curve, 0, 12 * MP, cost_ns(12 * MP));
    cr_assert_gt(expected_us(0, 12 * MP), 40000, "one is enough to learn from");
    cr_assert_float_eq(expected_us(0, 32 * 32), 80, 10);
}

Test(decodecurve, follows_a_machine_that_slows_down)
{
    for (int i = 0; i < 50; i++)
        decodecurve_learn(&curve, 0, MP / 4, 2000 * US);
    for (int i = 0; i < 200; i++)
        decodecurve_learn(&curve, 0, MP / 4, 4000 * US);
    cr_assert_float_eq(expected_us(0, MP / 4), 4000, 100);
    cr_assert_float_eq((double)decodecurve_fastest_ns(&curve, 0, MP / 4) / 1e3, 4000, 200);
}

Test(decodecurve, believes_a_stall_only_so_far)
{
    for (int i = 0; i < 50; i++)
        decodecurve_learn(&curve, 0, MP / 4, 2000 * US);
    decodecurve_learn(&curve, 0, MP / 4, 5000000 * US);
    cr_assert_lt(expected_us(0, MP / 4), 2400);
}

Test(decodecurve, doubts_what_only_refuses)
{
    decodecurve_learn(&curve, 0, MP / 4, 400000 * US);
    for (int i = 0; i < 200; i++)
        decodecurve_doubt(&curve, 0);
    cr_assert_lt(expected_us(0, MP / 4), 60000);
}
