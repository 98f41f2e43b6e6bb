/* The orientation tag in good, odd and hostile Exif data.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "engine/image/exif.h"

/* One directory with one entry: orientation 6 as a SHORT. */
static const uint8_t little[] = "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
static const uint8_t big[] = "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";

enum { DATA_BYTES = 26, TYPE_AT = 12, COUNT_AT = 14, VALUE_AT = 18 };

/* From a heap block of its size, so that a sanitizer sees any read beyond. */
static int orientation_of(const uint8_t *tiff, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    cr_assert_not_null(copy);
    memcpy(copy, tiff, n);
    int orientation = exif_orientation(copy, n);
    free(copy);
    return orientation;
}

static int with_byte(size_t at, uint8_t value)
{
    uint8_t tiff[DATA_BYTES];
    memcpy(tiff, little, sizeof tiff);
    tiff[at] = value;
    return orientation_of(tiff, sizeof tiff);
}

Test(exif, reads_both_byte_orders)
{
    cr_expect_eq(orientation_of(little, DATA_BYTES), 6);
    cr_expect_eq(orientation_of(big, DATA_BYTES), 6);
}

Test(exif, reads_all_eight_values_and_takes_others_for_upright)
{
    for (int value = 1; value <= 8; value++)
        cr_expect_eq(with_byte(VALUE_AT, (uint8_t)value), value);
    cr_expect_eq(with_byte(VALUE_AT, 0), 1);
    cr_expect_eq(with_byte(VALUE_AT, 9), 1);
    cr_expect_eq(with_byte(VALUE_AT + 1, 1), 1, "0x0106 is not 6");
}

Test(exif, takes_a_long_and_no_other_type_or_count)
{
    cr_expect_eq(with_byte(TYPE_AT, 4), 6, "LONG");
    cr_expect_eq(with_byte(TYPE_AT, 2), 1, "ASCII");
    cr_expect_eq(with_byte(COUNT_AT, 0), 1);
    cr_expect_eq(with_byte(COUNT_AT, 2), 1);
}

Test(exif, finds_the_tag_behind_others_and_in_a_directory_further_on)
{
    uint8_t tiff[64] = "II*\0\x14\0\0\0";
    memcpy(tiff + 20, "\x02\0\x0f\x01\x02\0\x04\0\0\0abc\0", 14);
    memcpy(tiff + 34, little + 10, 16);
    cr_expect_eq(orientation_of(tiff, 46), 6);
}

Test(exif, takes_what_is_cut_off_anywhere_for_upright)
{
    for (size_t n = 0; n < 22; n++) {
        cr_expect_eq(orientation_of(little, n), 1, "%zu bytes", n);
        cr_expect_eq(orientation_of(big, n), 1, "%zu bytes", n);
    }
    cr_expect_eq(orientation_of(little, 22), 6, "the link to the next directory may be missing");
}

Test(exif, survives_any_changed_byte)
{
    for (size_t at = 0; at < DATA_BYTES; at++)
        for (int value = 0; value < 256; value++) {
            int orientation = with_byte(at, (uint8_t)value);
            cr_assert(orientation >= 1 && orientation <= 8, "byte %zu = %d", at, value);
        }
}

Test(exif, refuses_directories_outside_the_data)
{
    static const uint8_t offsets[][4] = {
        {26}, {25}, {24}, {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 0x80}};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        uint8_t tiff[DATA_BYTES];
        memcpy(tiff, little, sizeof tiff);
        memcpy(tiff + 4, offsets[i], 4);
        cr_expect_eq(orientation_of(tiff, sizeof tiff), 1, "case %zu", i);
    }
}
