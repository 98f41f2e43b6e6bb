/* The chunk walk on PNG files that are built here, right and wrong.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include <criterion/criterion.h>

#include "engine/image/scan.h"
#include "tests/support_blob.h"

/* Enough for a picture of a few pixels; the walk does not look into it. */
static const uint8_t data[12] = {0x78, 0x9c};

static struct blob start(int depth, int colour)
{
    struct blob png = {0};
    blob_add_png_header(&png, 4, 3, depth, colour);
    return png;
}

/* Scans and frees. */
static enum rn_status finish(struct blob *png, struct scan *scan, struct rn_error *err)
{
    enum rn_status status = scan_png(png->bytes, png->n, &rn_image_limits_default, scan, err);
    blob_done(png);
    return status;
}

static enum rn_status finish_whole(struct blob *png, struct scan *scan, struct rn_error *err)
{
    blob_add_png_chunk(png, "IEND", NULL, 0);
    return finish(png, scan, err);
}

static enum rn_status status_of(struct blob png)
{
    struct scan scan;
    return finish_whole(&png, &scan, NULL);
}

static enum rn_status status_with_data(struct blob png)
{
    blob_add_png_chunk(&png, "IDAT", data, sizeof data);
    return status_of(png);
}

Test(scan_png, knows_which_depths_and_colours_go_together)
{
    /* Bit d of row c: depth d goes with colour type c. */
    static const unsigned good[8] = {
        [SCAN_COLOUR_GREY] = 1u << 1 | 1u << 2 | 1u << 4 | 1u << 8 | 1u << 16,
        [SCAN_COLOUR_RGB] = 1u << 8 | 1u << 16,
        [SCAN_COLOUR_PALETTE] = 1u << 1 | 1u << 2 | 1u << 4 | 1u << 8,
        [SCAN_COLOUR_GREY_ALPHA] = 1u << 8 | 1u << 16,
        [SCAN_COLOUR_RGBA] = 1u << 8 | 1u << 16,
    };
    for (int colour = 0; colour < 8; colour++)
        for (int depth = 0; depth <= 17; depth++) {
            struct blob png = start(depth, colour);
            blob_add_png_chunk(&png, "PLTE", "rgb", 3);
            cr_expect_eq(status_with_data(png),
                         good[colour] >> depth & 1 ? RN_OK : RN_IMAGE_CORRUPT,
                         "depth %d, colour type %d", depth, colour);
        }
}

Test(scan_png, computes_the_bytes_behind_the_compression)
{
    static const struct {
        const char *name;
        uint64_t inflated;
    } files[] = {
        {"rgb8.png", (29 * 3 + 1) * 23},
        {"rgba16.png", (29 * 8 + 1) * 23},
        {"grey1.png", (4 + 1) * 23},
        {"palette4.png", (15 + 1) * 23},
        /* passes of 4×3, 4×3, 8×3, 7×6, 15×6, 14×12 and 29×11 pixels */
        {"grey8-interlaced.png", 15 + 15 + 27 + 48 + 96 + 180 + 330},
        {"one-pixel.png", 4},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct blob png = blob_golden(files[i].name);
        struct scan scan;
        cr_assert_eq(finish(&png, &scan, NULL), RN_OK, "%s", files[i].name);
        cr_expect_eq(scan.png.inflated, files[i].inflated, "%s", files[i].name);
    }
}

Test(scan_png, calls_every_beginning_of_a_file_truncated)
{
    struct blob whole = blob_golden("rgb-pieces.png");
    for (size_t n = 8; n < whole.n; n++) {
        struct blob part = {0};
        struct scan scan = {.width = -1};
        blob_add(&part, whole.bytes, n);
        cr_assert_eq(finish(&part, &scan, NULL), RN_IMAGE_TRUNCATED, "%zu bytes", n);
        cr_assert_eq(scan.width, -1);
    }
    blob_done(&whole);
}

Test(scan_png, notices_any_flipped_bit)
{
    struct blob png = blob_golden("palette4.png");
    for (size_t bit = 8 * 8; bit < 8 * png.n; bit++) {
        struct scan scan;
        png.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_expect_neq(scan_png(png.bytes, png.n, &rn_image_limits_default, &scan, NULL), RN_OK,
                      "bit %zu", bit);
        png.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    blob_done(&png);
}

Test(scan_png, tells_a_file_that_is_too_large_before_one_that_is_cut_off)
{
    static const struct {
        uint32_t width, height;
        enum rn_status status;
        const char *text;
    } sizes[] = {
        {16385, 1, RN_IMAGE_SIDE_TOO_LONG, "16385×1 pixels, the limit for a side is 16384"},
        {100000, 100000, RN_IMAGE_SIDE_TOO_LONG,
         "100000×100000 pixels, the limit for a side is 16384"},
        {0x7fffffff, 0x7fffffff, RN_IMAGE_SIDE_TOO_LONG,
         "2147483647×2147483647 pixels, the limit for a side is 16384"},
        {5001, 5000, RN_IMAGE_TOO_MANY_PIXELS,
         "5001×5000 = 25005000 pixels, the limit for a PNG is 25000000"},
        {0x80000000, 1, RN_IMAGE_CORRUPT, "the PNG says that it is 2147483648×1"},
        {0, 1, RN_IMAGE_CORRUPT, "the PNG says that it is 0×1"},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct blob png = {0};
        struct scan scan;
        struct rn_error err;
        blob_add_png_header(&png, sizes[i].width, sizes[i].height, 8, 2);
        cr_expect_eq(finish(&png, &scan, &err), sizes[i].status, "case %zu", i);
        cr_expect_str_eq(err.text, sizes[i].text);
    }
}

Test(scan_png, refuses_chunks_in_the_wrong_place)
{
    struct blob png = {0};
    blob_add(&png, "\x89PNG\r\n\x1a\n", 8);
    blob_add_png_chunk(&png, "CgBI", "\x50\0\x20\x02", 4);
    cr_expect_eq(status_with_data(png), RN_IMAGE_CORRUPT, "the header is not first");

    png = start(8, 2);
    blob_add_png_chunk(&png, "IHDR", "\0\0\0\1\0\0\0\1\x08\2\0\0\0", 13);
    cr_expect_eq(status_with_data(png), RN_IMAGE_CORRUPT, "two headers");

    cr_expect_eq(status_of(start(8, 2)), RN_IMAGE_CORRUPT, "no data");
    cr_expect_eq(status_with_data(start(8, 3)), RN_IMAGE_CORRUPT, "no palette");

    png = start(8, 2);
    blob_add_png_chunk(&png, "IDAT", data, 6);
    blob_add_png_chunk(&png, "tEXt", "a\0b", 3);
    blob_add_png_chunk(&png, "IDAT", data, 6);
    cr_expect_eq(status_of(png), RN_IMAGE_CORRUPT, "data in two places");

    png = start(8, 2);
    blob_add_png_chunk(&png, "ABCD", NULL, 0);
    cr_expect_eq(status_with_data(png), RN_IMAGE_CORRUPT, "an unknown critical chunk");

    png = start(8, 2);
    blob_add_png_chunk(&png, "ab1d", NULL, 0);
    cr_expect_eq(status_with_data(png), RN_IMAGE_CORRUPT, "a chunk that is no chunk");
}

Test(scan_png, refuses_palettes_that_are_none)
{
    static const uint8_t colours[771];
    static const size_t sizes[] = {0, 1, 4, 771};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct blob png = start(8, 3);
        blob_add_png_chunk(&png, "PLTE", colours, sizes[i]);
        cr_expect_eq(status_with_data(png), RN_IMAGE_CORRUPT, "%zu bytes", sizes[i]);
    }
    struct blob png = start(8, 3);
    blob_add_png_chunk(&png, "PLTE", colours, 3);
    blob_add_png_chunk(&png, "PLTE", colours, 3);
    cr_expect_eq(status_with_data(png), RN_IMAGE_CORRUPT, "two palettes");
}

Test(scan_png, refuses_more_than_ten_thousand_chunks)
{
    for (int extra = 0; extra <= 1; extra++) {
        struct blob png = start(8, 2);
        for (int i = 0; i < 9997 + extra; i++)
            blob_add_png_chunk(&png, "teXt", NULL, 0);
        cr_expect_eq(status_with_data(png), extra ? RN_IMAGE_CORRUPT : RN_OK);
    }
}

Test(scan_png, refuses_data_that_cannot_belong_to_the_size)
{
    static const uint8_t zeros[1 << 17];
    struct blob png = start(8, 2);
    blob_add_png_chunk(&png, "IDAT", zeros, sizeof zeros);
    cr_expect_eq(status_of(png), RN_IMAGE_CORRUPT, "far too much for 4×3 pixels");

    png = (struct blob){0};
    blob_add_png_header(&png, 1000, 1000, 8, 2);
    blob_add_png_chunk(&png, "IDAT", zeros, 2000);
    cr_expect_eq(status_of(png), RN_IMAGE_CORRUPT, "even deflate cannot make a million of it");
}

Test(scan_png, finds_Exif_data_behind_the_picture)
{
    struct blob png = start(8, 2);
    blob_add_png_chunk(&png, "IDAT", data, sizeof data);
    blob_add_png_chunk(&png, "eXIf", "II*\0", 4);
    blob_add_png_chunk(&png, "IEND", NULL, 0);
    struct scan scan;
    cr_assert_eq(scan_png(png.bytes, png.n, &rn_image_limits_default, &scan, NULL), RN_OK);
    cr_assert_eq(scan.exif_bytes, 4);
    cr_expect_arr_eq(scan.exif, "II*", 3);
    const size_t checksum = png.n - 12 - 4; /* before the last chunk's 12 bytes */
    png.bytes[checksum] ^= 1;
    cr_assert_eq(scan_png(png.bytes, png.n, &rn_image_limits_default, &scan, NULL), RN_OK);
    cr_expect_null(scan.exif, "damaged");
    blob_done(&png);
}
