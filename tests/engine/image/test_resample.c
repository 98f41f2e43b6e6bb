/* Properties of the resizing that hold without an oracle; that it gives Pillow's bits is shown by
 * test_image.c on the golden files.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "engine/image/resample.h"

enum { SIDE = 40 };

/* Seeded pixels of a picture, [height][width][3]. */
static uint8_t *pixels_of(int width, int height)
{
    size_t n = 3 * (size_t)width * (size_t)height;
    uint8_t *rgb = malloc(n);
    cr_assert_not_null(rgb);
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        rgb[i] = (uint8_t)(state >> 24);
    }
    return rgb;
}

static struct resample_axis whole(int from, int to)
{
    return (struct resample_axis){from, 0, from, to, 0, to};
}

static uint8_t *resize(const uint8_t *rgb, struct resample_axis x, struct resample_axis y,
                       enum rn_interpolation interpolation)
{
    uint8_t *out = malloc(3 * (size_t)x.n * (size_t)y.n);
    cr_assert_not_null(out);
    cr_assert_eq(resample(rgb, &x, &y, interpolation, out, NULL), RN_OK);
    return out;
}

Test(resample, to_the_same_size_copies)
{
    uint8_t *rgb = pixels_of(SIDE, 17);
    for (int i = RN_BILINEAR; i <= RN_BICUBIC; i++) {
        uint8_t *out = resize(rgb, whole(SIDE, SIDE), whole(17, 17), (enum rn_interpolation)i);
        cr_expect_arr_eq(out, rgb, 3 * SIDE * 17);
        free(out);
    }
    free(rgb);
}

Test(resample, keeps_a_flat_colour_flat)
{
    uint8_t rgb[3 * 7 * 5];
    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = (uint8_t)(i % 3 * 127 + 1);
    for (int to = 1; to <= 40; to++)
        for (int i = RN_BILINEAR; i <= RN_BICUBIC; i++) {
            uint8_t *out = resize(rgb, whole(7, to), whole(5, to), (enum rn_interpolation)i);
            for (int k = 0; k < 3 * to * to; k++)
                cr_assert_eq(out[k], k % 3 * 127 + 1, "side %d, byte %d", to, k);
            free(out);
        }
}

Test(resample, a_window_is_a_cut_of_the_whole)
{
    uint8_t *rgb = pixels_of(SIDE, SIDE);
    static const int sides[] = {1, 7, 33, 40, 41, 90};
    for (size_t s = 0; s < sizeof sides / sizeof *sides; s++) {
        int to = sides[s];
        uint8_t *full = resize(rgb, whole(SIDE, to), whole(SIDE, to), RN_BICUBIC);
        for (int first = 0; first < to; first += 5) {
            int n = to - first < 6 ? to - first : 6;
            struct resample_axis x = {SIDE, 0, SIDE, to, first, n};
            struct resample_axis y = {SIDE, 0, SIDE, to, to - first - n, n};
            uint8_t *part = resize(rgb, x, y, RN_BICUBIC);
            for (int row = 0; row < n; row++)
                cr_assert_arr_eq(part + 3 * row * n, full + 3 * ((y.first + row) * to + first),
                                 3 * (size_t)n, "side %d from %d, row %d", to, first, row);
            free(part);
        }
        free(full);
    }
    free(rgb);
}

Test(resample, halving_two_pixels_of_black_and_white_is_grey_rounded_up)
{
    static const uint8_t rgb[6] = {0, 0, 0, 255, 255, 255};
    uint8_t *out = resize(rgb, whole(2, 1), whole(1, 1), RN_BILINEAR);
    cr_expect_eq(out[0], 128);
    free(out);
}

Test(resample, a_bicubic_overshoot_is_clipped)
{
    static const uint8_t rgb[12] = {0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255};
    uint8_t *out = resize(rgb, whole(4, 16), whole(1, 1), RN_BICUBIC);
    for (int i = 0; i < 16; i++)
        cr_expect(i < 8 ? out[3 * i] < 128 : out[3 * i] >= 127, "pixel %d is %d", i, out[3 * i]);
    cr_expect_eq(out[3 * 5], 0);
    cr_expect_eq(out[3 * 10], 255);
    free(out);
}

Test(resample, shrinks_a_long_line_to_one_pixel)
{
    uint8_t *rgb = pixels_of(16384, 1);
    uint8_t *out = resize(rgb, whole(16384, 1), whole(1, 1), RN_BICUBIC);
    cr_expect_float_eq(out[0], 127.5, 4.0, "the mean of noise");
    free(out);
    free(rgb);
}
