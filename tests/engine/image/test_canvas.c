/* The eight orientations of a picture small enough to be written out by hand.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include <criterion/criterion.h>

#include "engine/image/canvas.h"

/* Stored:  A B C
 *          D E F   ; what Exif's eight values make of it, rows joined. */
static const char *const upright[9] = {
    NULL, "ABCDEF", "CBAFED", "FEDCBA", "DEFABC", "ADBECF", "DAEBFC", "FCEBDA", "CFBEAD",
};

Test(canvas, turns_and_mirrors_as_Exif_says)
{
    for (int orientation = 1; orientation <= 8; orientation++) {
        struct canvas canvas;
        canvas_init(&canvas, 3, 2, orientation);
        cr_assert_eq(canvas_open(&canvas, NULL), RN_OK);
        for (int y = 0; y < 2; y++) {
            uint8_t row[9];
            for (int i = 0; i < 9; i++)
                row[i] = (uint8_t)('A' + 3 * y + i / 3 + 100 * (i % 3));
            canvas_put_row(&canvas, y, row);
        }
        for (int i = 0; i < 18; i++)
            cr_expect_eq(canvas.rgb[i], (uint8_t)(upright[orientation][i / 3] + 100 * (i % 3)),
                         "orientation %d, byte %d", orientation, i);
        free(canvas.rgb);
    }
}

Test(canvas, exchanges_the_sides_from_orientation_five_on)
{
    for (int orientation = 1; orientation <= 8; orientation++)
        cr_expect_eq(canvas_is_transposed(orientation), orientation > 4);
}
