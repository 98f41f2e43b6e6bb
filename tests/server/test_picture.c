/* Pictures of numbers, pixel by pixel where it matters: which cell is where, what stays untouched.
 *
 * SPDX-License-Identifier: MIT */
#include "server/picture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "server/png.h"
#include "tests/support_alloc.h"

static int light(const struct picture *p, int y, int x)
{
    const uint8_t *rgb = p->rgb + 3 * (y * p->width + x);
    return rgb[0] + rgb[1] + rgb[2];
}

Test(picture, a_tile_shows_each_cell_as_a_square_the_lighter_the_larger)
{
    static const float map[] = {0, 1, 2, 3, 4, 5};
    struct picture p = picture_tiles(map, 1, 2, 3);
    cr_assert_not_null(p.rgb);
    cr_assert_eq(p.columns, 1);
    const int side = PICTURE_TILE_SIDE / 3;
    cr_assert_eq(p.width, 3 * side);
    cr_assert_eq(p.height, 2 * side);
    int last = -1;
    for (int i = 0; i < 6; i++) {
        const int y = i / 3 * side, x = i % 3 * side;
        cr_assert_gt(light(&p, y, x), last);
        cr_assert_eq(light(&p, y + side - 1, x + side - 1), light(&p, y, x));
        last = light(&p, y, x);
    }
    free(p.rgb);
}

Test(picture, tiles_stand_row_by_row_each_with_its_own_scale)
{
    static const float maps[] = {0, 1, 0, 100, -5, 0, 7, 7, 0, 0};
    struct picture p = picture_tiles(maps, 5, 1, 2);
    cr_assert_not_null(p.rgb);
    cr_assert_eq(p.columns, 3);
    const int half = PICTURE_TILE_SIDE / 2, step = PICTURE_TILE_SIDE + PICTURE_GAP;
    cr_assert_eq(p.width, 3 * step - PICTURE_GAP);
    cr_assert_eq(p.height, 2 * (half + PICTURE_GAP) - PICTURE_GAP);
    const int black = light(&p, 0, 0), white = light(&p, 0, half);
    cr_assert_lt(black, white);
    cr_assert_eq(light(&p, 0, step + half), white, "100 is the second's greatest");
    cr_assert_eq(light(&p, 0, 2 * step), black, "-5 is the third's least");
    cr_assert_eq(light(&p, 0, 2 * step + half), white);
    cr_assert_eq(light(&p, half + PICTURE_GAP, 0), white, "7 of 0…7");
    cr_assert_eq(light(&p, half + PICTURE_GAP, step), black, "a map of zeros");
    free(p.rgb);
}

/* Values that are not finite must not index the colours. */
Test(picture, any_value_has_a_colour)
{
    static const float maps[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1, NAN, NAN, NAN};
    struct picture p = picture_tiles(maps, 1, 3, 3);
    cr_assert_not_null(p.rgb);
    free(p.rgb);
}

Test(picture, large_maps_are_averaged_and_the_picture_stays_bounded)
{
    const int h = 300, w = 1000;
    float *maps = malloc((size_t)(h * w) * sizeof *maps);
    cr_assert_not_null(maps);
    for (int i = 0; i < h * w; i++)
        maps[i] = i % w < w / 2 ? 0 : 1;
    struct picture p = picture_tiles(maps, 1, h, w);
    cr_assert_not_null(p.rgb);
    cr_assert_eq(p.width, PICTURE_TILE_SIDE);
    cr_assert_eq(p.height, 39);
    cr_assert_lt(light(&p, 20, 63), light(&p, 20, 64));
    free(p.rgb);
    p = picture_tiles(maps, PICTURE_MAX_TILES, 40, 100);
    cr_assert_leq(p.width * p.height, 1100 * 1100);
    free(p.rgb);
    free(maps);
}

static struct picture grey(int width, int height)
{
    struct picture p = {.rgb = malloc((size_t)(3 * width * height)), width, height, 0};
    cr_assert_not_null(p.rgb);
    memset(p.rgb, 128, (size_t)(3 * width * height));
    return p;
}

Test(picture, an_overlay_is_warm_for_and_cold_against_and_leaves_the_rest_alone)
{
    static const float grid[] = {1, -1, 0, 0};
    const struct rn_region region = {10, 0, 40, 40};
    struct picture p = grey(60, 40);
    picture_overlay(&p, &region, grid, 2, 2);
    const uint8_t *warm = p.rgb + 3 * (5 * 60 + 15), *cold = p.rgb + 3 * (5 * 60 + 45);
    cr_assert_gt(warm[0], 128);
    cr_assert_lt(warm[2], 128);
    cr_assert_gt(cold[2], 128);
    cr_assert_lt(cold[0], 128);
    for (int y = 0; y < 40; y++)
        for (int x = 0; x < 60; x++)
            if (x < 10 || x >= 50 || y >= 30)
                cr_assert_eq(light(&p, y, x), 3 * 128, "%d, %d", x, y);
    free(p.rgb);
}

Test(picture, an_overlay_of_nothing_changes_nothing)
{
    static const float grids[][4] = {{0, 0, 0, 0}, {NAN, NAN, NAN, NAN}, {INFINITY, 1, 0, 0}};
    const struct rn_region region = {0, 0, 8, 8};
    for (int i = 0; i < 3; i++) {
        struct picture p = grey(8, 8);
        picture_overlay(&p, &region, grids[i], 2, 2);
        for (int k = 0; k < 64; k++)
            cr_assert_eq(light(&p, k / 8, k % 8), 3 * 128);
        free(p.rgb);
    }
}

/* As decoded again, and NULL without a leak for each allocation that fails. */
Test(picture, a_png_is_what_went_in_or_nothing)
{
    struct picture p = grey(70, 50);
    for (int i = 0; i < 3 * 70 * 50; i++)
        p.rgb[i] = (uint8_t)(i * i / 7);
    for (size_t nth = 1;; nth++) {
        size_t n = 0;
        const size_t before = alloc_count();
        alloc_fail(nth);
        char *png = png_encode(p.rgb, p.width, p.height, &n);
        alloc_fail(0);
        const bool failed = alloc_count() - before >= nth;
        cr_assert_eq(png == NULL, failed, "allocation %zu", nth);
        if (failed)
            continue;
        struct rn_image image;
        struct rn_error err;
        cr_assert_eq(
            rn_image_decode((const uint8_t *)png, n, &rn_image_limits_default, &image, &err), RN_OK,
            "%s", err.text);
        cr_assert_eq(image.info.width, 70);
        cr_assert_arr_eq(image.rgb, p.rgb, (size_t)(3 * 70 * 50));
        rn_image_done(&image);
        free(png);
        break;
    }
    free(p.rgb);
}
