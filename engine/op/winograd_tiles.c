/* See winograd_tiles.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/op/winograd_tiles.h"

#include <assert.h>
#include <stdbool.h>

static int count(int outputs, int m)
{
    return (outputs + m - 1) / m;
}

static int count_whole(int outputs, int m)
{
    const int n = count(outputs, m), n_short = n * m - outputs;
    assert(n_short <= n);
    return n - n_short;
}

struct winograd_tiles winograd_tiles(const struct winograd_filter *filter, struct shape out)
{
    const int m = filter->m;
    return (struct winograd_tiles){filter, count(out.h, m), count(out.w, m), count_whole(out.h, m),
                                   count_whole(out.w, m)};
}

int winograd_tiles_count(const struct winograd_tiles *tiles)
{
    return tiles->rows * tiles->columns;
}

/* Of a dimension with n tiles. */
static uint64_t products(const struct winograd_filter *filter, int n, int n_whole)
{
    return (uint64_t)(n_whole * filter->side + (n - n_whole) * filter->short_side);
}

uint64_t winograd_tiles_products(const struct winograd_tiles *tiles)
{
    return products(tiles->filter, tiles->rows, tiles->whole_rows) *
           products(tiles->filter, tiles->columns, tiles->whole_columns);
}

/* Where tile i of a dimension begins. */
static int start(const struct winograd_filter *filter, int i, int n_whole)
{
    return i * filter->m - (i > n_whole ? i - n_whole : 0);
}

struct winograd_tile winograd_tile(const struct winograd_tiles *tiles, int t)
{
    const struct winograd_filter *filter = tiles->filter;
    const int row = t / tiles->columns % tiles->rows, column = t % tiles->columns;
    return (struct winograd_tile){
        .image = t / winograd_tiles_count(tiles),
        .top = start(filter, row, tiles->whole_rows),
        .left = start(filter, column, tiles->whole_columns),
        .rows = filter->m - (row >= tiles->whole_rows),
        .columns = filter->m - (column >= tiles->whole_columns),
    };
}

void winograd_group_add(struct winograd_group *group, const struct winograd_tiles *tiles,
                        const struct winograd_tile *tile)
{
    const int m = tiles->filter->m;
    const bool high = tile->rows == m, wide = tile->columns == m;
    group->to++;
    group->count[0]++;
    group->count[1] += wide;
    group->count[2] += high;
    group->count[3] += high && wide;
}

struct winograd_group winograd_group(const struct winograd_tiles *tiles, int from, int to)
{
    struct winograd_group group = {.from = from, .to = from};
    while (group.to < to) {
        const struct winograd_tile tile = winograd_tile(tiles, group.to);
        winograd_group_add(&group, tiles, &tile);
    }
    return group;
}

int winograd_group_rows(const struct winograd_group *group, const struct winograd_tiles *tiles,
                        int p)
{
    const struct winograd_filter *filter = tiles->filter;
    const int y = p / filter->side, x = p % filter->side;
    return group->count[2 * (y >= filter->short_side) + (x >= filter->short_side)];
}
