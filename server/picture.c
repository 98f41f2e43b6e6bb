/* Tiles are enlarged by whole factors and reduced by averages, so that a cell of a map looks like
 * one; the overlay is interpolated, since its cells have no edges in the photograph.
 *
 * SPDX-License-Identifier: MIT */
#include "server/picture.h"

#include <math.h>
#include <stdlib.h>

#include "engine/engine.h"

#define GAP_GREY 40
#define OVERLAY_ALPHA 0.75f

static uint8_t to_byte(float value)
{
    return value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)(value + 0.5f);
}

/* 0…1 to a colour whose lightness grows all the way, from black over violet and orange to yellow.
 */
static void heat(float t, uint8_t rgb[3])
{
    static const float stops[][3] = {{0, 0, 4},     {66, 10, 104},  {147, 38, 103},
                                     {221, 81, 58}, {252, 165, 10}, {252, 255, 164}};
    const int last = (int)(sizeof stops / sizeof *stops) - 1;
    const float at = !(t > 0) ? 0 : t >= 1 ? (float)last : t * (float)last; /* NaN is black */
    const int i = (int)at < last ? (int)at : last - 1;
    for (int c = 0; c < 3; c++)
        rgb[c] = to_byte(stops[i][c] + (at - (float)i) * (stops[i + 1][c] - stops[i][c]));
}

/* ---- tiles ----------------------------------------------------------------------------------- */

/* A tile's geometry: from h × w values to height × width pixels, larger by a whole factor or
 * smaller by any. */
struct tile {
    int h, w, height, width;
};

static struct tile tile_of(int h, int w)
{
    const int longer = h > w ? h : w;
    struct tile tile = {h, w, h, w};
    if (longer <= PICTURE_TILE_SIDE) {
        tile.height = h * (PICTURE_TILE_SIDE / longer);
        tile.width = w * (PICTURE_TILE_SIDE / longer);
    } else {
        tile.height = (h * PICTURE_TILE_SIDE + longer - 1) / longer;
        tile.width = (w * PICTURE_TILE_SIDE + longer - 1) / longer;
    }
    return tile;
}

/* The mean of the values that a pixel covers, at least one. */
static float value_at(const struct tile *t, const float *map, int y, int x)
{
    const int top = y * t->h / t->height, left = x * t->w / t->width;
    int bottom = (y + 1) * t->h / t->height, right = (x + 1) * t->w / t->width;
    bottom = bottom > top ? bottom : top + 1;
    right = right > left ? right : left + 1;
    float sum = 0;
    for (int i = top; i < bottom; i++)
        for (int k = left; k < right; k++)
            sum += map[i * t->w + k];
    return sum / (float)((bottom - top) * (right - left));
}

static void draw_tile(const struct tile *t, const float *map, uint8_t *rgb, int stride)
{
    float low = 0, high = 0;
    for (int i = 0; i < t->h * t->w; i++) {
        low = map[i] < low ? map[i] : low;
        high = map[i] > high ? map[i] : high;
    }
    const float scale = high > low ? 1 / (high - low) : 0;
    for (int y = 0; y < t->height; y++)
        for (int x = 0; x < t->width; x++)
            heat((value_at(t, map, y, x) - low) * scale, rgb + 3 * (y * stride + x));
}

struct picture picture_tiles(const float *maps, int n, int h, int w)
{
    const struct tile tile = tile_of(h, w);
    int columns = 1;
    while (columns * columns < n)
        columns++;
    const int rows = (n + columns - 1) / columns;
    struct picture picture = {.width = columns * (tile.width + PICTURE_GAP) - PICTURE_GAP,
                              .height = rows * (tile.height + PICTURE_GAP) - PICTURE_GAP,
                              .columns = columns};
    const size_t n_bytes = 3 * (size_t)picture.width * (size_t)picture.height;
    picture.rgb = malloc(n_bytes);
    if (!picture.rgb)
        return picture;
    for (size_t i = 0; i < n_bytes; i++)
        picture.rgb[i] = GAP_GREY;
    for (int i = 0; i < n; i++) {
        const int y = i / columns * (tile.height + PICTURE_GAP);
        const int x = i % columns * (tile.width + PICTURE_GAP);
        draw_tile(&tile, maps + (size_t)i * (size_t)h * (size_t)w,
                  picture.rgb + 3 * (y * picture.width + x), picture.width);
    }
    return picture;
}

/* ---- overlay --------------------------------------------------------------------------------- */

/* Between the centres of the cells straight lines, outside them the nearest cell; y and x count
 * cells from the grid's corner. */
static float interpolate(const float *grid, int h, int w, float y, float x)
{
    const float cy = fminf(fmaxf(y - 0.5f, 0), (float)(h - 1));
    const float cx = fminf(fmaxf(x - 0.5f, 0), (float)(w - 1));
    const int top = (int)cy, left = (int)cx;
    const int bottom = top + 1 < h ? top + 1 : top, right = left + 1 < w ? left + 1 : left;
    const float fy = cy - (float)top, fx = cx - (float)left;
    const float above = grid[top * w + left] * (1 - fx) + grid[top * w + right] * fx;
    const float below = grid[bottom * w + left] * (1 - fx) + grid[bottom * w + right] * fx;
    return above * (1 - fy) + below * fy;
}

/* t is -1…1. */
static void tint(uint8_t rgb[3], float t)
{
    static const float warm[2][3] = {{255, 200, 0}, {230, 20, 0}}, cold[3] = {0, 90, 255};
    const float strength = fabsf(t), alpha = OVERLAY_ALPHA * strength;
    for (int c = 0; c < 3; c++) {
        const float colour = t > 0 ? warm[0][c] + strength * (warm[1][c] - warm[0][c]) : cold[c];
        rgb[c] = to_byte((float)rgb[c] * (1 - alpha) + colour * alpha);
    }
}

void picture_overlay(struct picture *picture, const struct rn_region *region, const float *grid,
                     int h, int w)
{
    float largest = 0;
    for (int i = 0; i < h * w; i++)
        largest = fmaxf(largest, fabsf(grid[i]));
    if (!(largest > 0) || !isfinite(largest))
        return;
    for (int y = 0; y < picture->height; y++)
        for (int x = 0; x < picture->width; x++) {
            const double in_y = (y + 0.5 - region->y) / region->height;
            const double in_x = (x + 0.5 - region->x) / region->width;
            if (in_y < 0 || in_y >= 1 || in_x < 0 || in_x >= 1)
                continue;
            const float value =
                interpolate(grid, h, w, (float)in_y * (float)h, (float)in_x * (float)w);
            tint(picture->rgb + 3 * (y * picture->width + x), value / largest);
        }
}
