/* The eight orientations as an origin and two steps in the upright picture.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/image/canvas.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void canvas_init(struct canvas *canvas, int width, int height, int orientation)
{
    bool transposed = canvas_is_transposed(orientation);
    bool mirror_x = canvas_is_mirrored_x(orientation), mirror_y = canvas_is_mirrored_y(orientation);
    ptrdiff_t upright_width = transposed ? height : width;
    ptrdiff_t upright_height = transposed ? width : height;

    ptrdiff_t right = mirror_x ? -3 : 3;
    ptrdiff_t down = 3 * upright_width * (mirror_y ? -1 : 1);
    *canvas = (struct canvas){
        .width = width,
        .height = height,
        .origin = (mirror_x ? 3 * (upright_width - 1) : 0) +
                  (mirror_y ? 3 * upright_width * (upright_height - 1) : 0),
        .step_x = transposed ? down : right,
        .step_y = transposed ? right : down,
    };
}

enum rn_status canvas_open(struct canvas *canvas, struct rn_error *err)
{
    size_t pixels, bytes;
    if (size_mul((size_t)canvas->width, (size_t)canvas->height, &pixels) ||
        size_mul(pixels, 3, &bytes) || !(canvas->rgb = malloc(bytes)))
        return rn_fail(err, RN_NO_MEMORY, "no memory for an image of %d×%d pixels", canvas->width,
                       canvas->height);
    return RN_OK;
}

void canvas_put_row(struct canvas *canvas, int y, const uint8_t *row)
{
    uint8_t *to = canvas->rgb + canvas->origin + y * canvas->step_y;
    if (canvas->step_x == 3) {
        memcpy(to, row, 3 * (size_t)canvas->width);
        return;
    }
    /* The last step may leave the picture, so the place is computed, not advanced. */
    for (ptrdiff_t x = 0; x < canvas->width; x++) {
        uint8_t *p = to + x * canvas->step_x;
        p[0] = row[3 * x];
        p[1] = row[3 * x + 1];
        p[2] = row[3 * x + 2];
    }
}
