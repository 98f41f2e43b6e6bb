/* Tiles cover a map without a rest or an overlap, and their products are counted alike one by one
 * and in all.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/op/winograd_tiles.h"

#define MAX_SIDE 61
#define IMAGES 2

static void cover(const struct winograd_tiles *tiles, struct shape out)
{
    static char covered[IMAGES][MAX_SIDE][MAX_SIDE];
    const int n = IMAGES * winograd_tiles_count(tiles);
    memset(covered, 0, sizeof covered);
    for (int t = 0; t < n; t++) {
        const struct winograd_tile tile = winograd_tile(tiles, t);
        cr_assert(tile.top + tile.rows <= out.h && tile.left + tile.columns <= out.w);
        for (int y = 0; y < tile.rows; y++)
            for (int x = 0; x < tile.columns; x++)
                covered[tile.image][tile.top + y][tile.left + x]++;
    }
    for (int i = 0; i < IMAGES; i++)
        for (int y = 0; y < out.h; y++)
            for (int x = 0; x < out.w; x++)
                cr_assert_eq(covered[i][y][x], 1, "%d×%d: (%d, %d) is in %d tiles", out.h, out.w, y,
                             x, covered[i][y][x]);
}

static void count(const struct winograd_tiles *tiles)
{
    const int n = winograd_tiles_count(tiles), side = tiles->filter->side;
    const struct winograd_group all = winograd_group(tiles, n, 2 * n);
    uint64_t products = 0;
    for (int p = 0; p < side * side; p++)
        products += (uint64_t)winograd_group_rows(&all, tiles, p);
    cr_assert_eq(products, winograd_tiles_products(tiles));
}

Test(winograd_tiles, cover_every_map_once)
{
    for (int kind = WINOGRAD_2; kind < WINOGRAD_STEM; kind++) {
        const struct winograd_filter *filter = winograd_filter((enum winograd_kind)kind);
        const int least = filter->m > 2 ? (filter->m - 1) * (filter->m - 2) : 1;
        for (int h = least; h <= MAX_SIDE; h++)
            for (int w = least; w <= MAX_SIDE; w += 5) {
                const struct shape out = {16, h, w};
                const struct winograd_tiles tiles = winograd_tiles(filter, out);
                cover(&tiles, out);
                count(&tiles);
            }
    }
}

Test(winograd_tiles, have_the_products_that_they_need)
{
    /* m + 2 at stride 1 and 2m + 1 at stride 2, by dimension: 4 + 4 + 3 + 3 outputs of 14. */
    const struct shape map = {16, 14, 14};
    struct winograd_tiles tiles = winograd_tiles(winograd_filter(WINOGRAD_4), map);
    cr_expect_eq(winograd_tiles_products(&tiles), (6 + 6 + 5 + 5) * (6 + 6 + 5 + 5));
    tiles = winograd_tiles(winograd_filter(WINOGRAD_STRIDED_4), map);
    cr_expect_eq(winograd_tiles_products(&tiles), (9 + 9 + 7 + 7) * (9 + 9 + 7 + 7));
    tiles = winograd_tiles(winograd_filter(WINOGRAD_2), (struct shape){16, 7, 1});
    cr_expect_eq(winograd_tiles_products(&tiles), (4 + 4 + 4 + 3) * 3);
}
