/* The marker walk on JPEG files that are built here, right and wrong.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include <criterion/criterion.h>

#include "engine/image/scan.h"
#include "tests/support_blob.h"

/* One grey block: DC difference 0, end of block, padding. */
static const uint8_t block[1] = {0x3f};

static struct blob start(void)
{
    struct blob jpeg = {0};
    blob_add_be16(&jpeg, 0xffd8);
    return jpeg;
}

static struct blob grey(int marker, unsigned width, unsigned height)
{
    struct blob jpeg = start();
    blob_add_grey_tables(&jpeg);
    blob_add_grey_frame(&jpeg, marker, width, height);
    blob_add_grey_scan(&jpeg, 0, marker == 0xc2 ? 0 : 63, block, sizeof block);
    return jpeg;
}

/* Scans and frees. */
static enum rn_status finish(struct blob *jpeg, struct scan *scan, struct rn_error *err)
{
    enum rn_status status = scan_jpeg(jpeg->bytes, jpeg->n, &rn_image_limits_default, scan, err);
    blob_done(jpeg);
    return status;
}

/* Ends the file first. */
static enum rn_status finish_whole(struct blob *jpeg, struct scan *scan, struct rn_error *err)
{
    blob_add_be16(jpeg, 0xffd9);
    return finish(jpeg, scan, err);
}

static enum rn_status status_of(struct blob jpeg)
{
    struct scan scan;
    return finish_whole(&jpeg, &scan, NULL);
}

Test(scan_jpeg, reads_size_components_and_scans)
{
    struct blob jpeg = grey(0xc0, 100, 60);
    struct scan scan;
    cr_assert_eq(finish_whole(&jpeg, &scan, NULL), RN_OK);
    cr_expect_eq(scan.width, 100);
    cr_expect_eq(scan.height, 60);
    cr_expect_eq(scan.jpeg.components, 1);
    cr_expect_eq(scan.jpeg.n_scans, 1);
    cr_expect_eq(scan.jpeg.block_visits, 13 * 8);
    cr_expect_eq(scan.jpeg.plane_bytes, 13 * 8 * 64);
    cr_expect_not(scan.jpeg.progressive);
    cr_expect_not(scan.jpeg.default_huffman);
}

Test(scan_jpeg, counts_the_blocks_of_subsampled_planes)
{
    struct blob jpeg = blob_golden("baseline-420.jpg"); /* 53×38: 4×3 units of 6 blocks */
    struct scan scan;
    cr_assert_eq(finish(&jpeg, &scan, NULL), RN_OK);
    cr_expect_eq(scan.jpeg.components, 3);
    cr_expect_eq(scan.jpeg.block_visits, 4 * 3 * 6);
    cr_expect_eq(scan.jpeg.plane_bytes, 4 * 3 * 6 * 64);
}

Test(scan_jpeg, takes_fill_bytes_restarts_and_bytes_between_segments)
{
    struct blob jpeg = start();
    blob_add(&jpeg, "\xff\xff\xff", 3);
    blob_add_grey_tables(&jpeg);
    blob_add(&jpeg, "\0junk", 5);
    blob_add_grey_frame(&jpeg, 0xc1, 8, 8);
    blob_add_grey_scan(&jpeg, 0, 63, "\x3f\xff\0\xff\xd0\x3f\xff\x01", 8);
    cr_expect_eq(status_of(jpeg), RN_OK);
}

Test(scan_jpeg, ends_at_the_end_marker)
{
    struct blob jpeg = grey(0xc0, 8, 8);
    blob_add_be16(&jpeg, 0xffd9);
    blob_add(&jpeg, "\xff\xd8 another picture", 18);
    cr_expect_eq(status_of(jpeg), RN_OK);
}

Test(scan_jpeg, refuses_kinds_of_coding_that_no_decoder_here_knows)
{
    static const int markers[] = {0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf};
    for (size_t i = 0; i < sizeof markers / sizeof *markers; i++)
        cr_expect_eq(status_of(grey(markers[i], 8, 8)), RN_UNSUPPORTED_FORMAT, "SOF%d",
                     markers[i] - 0xc0);

    struct blob jpeg = start();
    uint8_t twelve_bits[9] = {12, 0, 8, 0, 8, 1, 1, 0x11, 0};
    blob_add_segment(&jpeg, 0xc1, twelve_bits, 9);
    cr_expect_eq(status_of(jpeg), RN_UNSUPPORTED_FORMAT);

    jpeg = start();
    uint8_t two_components[12] = {8, 0, 8, 0, 8, 2, 1, 0x11, 0, 2, 0x11, 0};
    blob_add_segment(&jpeg, 0xc0, two_components, 12);
    cr_expect_eq(status_of(jpeg), RN_UNSUPPORTED_FORMAT);
}

Test(scan_jpeg, refuses_damaged_frames)
{
    cr_expect_eq(status_of(grey(0xc0, 0, 8)), RN_IMAGE_CORRUPT, "no width");
    cr_expect_eq(status_of(grey(0xc0, 8, 0)), RN_IMAGE_CORRUPT, "no height");

    struct blob jpeg = grey(0xc0, 8, 8);
    blob_add_grey_frame(&jpeg, 0xc0, 8, 8);
    cr_expect_eq(status_of(jpeg), RN_IMAGE_CORRUPT, "a second frame");

    static const uint8_t frames[][9] = {
        {8, 0, 8, 0, 8, 1, 1, 0x01, 0}, /* sampled 0×1 */
        {8, 0, 8, 0, 8, 1, 1, 0x15, 0}, /* sampled 1×5 */
        {8, 0, 8, 0, 8, 1, 1, 0x11, 4}, /* quantization table 4 */
        {8, 0, 8, 0, 8, 3, 1, 0x11, 0}, /* too short for three components */
    };
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        jpeg = start();
        blob_add_segment(&jpeg, 0xc0, frames[i], 9);
        cr_expect_eq(status_of(jpeg), RN_IMAGE_CORRUPT, "frame %zu", i);
    }
}

Test(scan_jpeg, refuses_overfull_Huffman_tables)
{
    static const struct {
        uint8_t counts[16];
        enum rn_status status;
    } tables[] = {
        {{2}, RN_OK},
        {{3}, RN_IMAGE_CORRUPT},
        {{1, 3}, RN_IMAGE_CORRUPT},
        {{0, 0, 0, 0, 0, 0, 0, 255, 1}, RN_OK},
        {{0, 0, 0, 0, 0, 0, 0, 255, 2}, RN_IMAGE_CORRUPT},
        {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200, 57}, RN_IMAGE_CORRUPT},
    };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        uint8_t data[17 + 257] = {0};
        size_t symbols = 0;
        for (size_t k = 0; k < 16; k++)
            symbols += data[1 + k] = tables[i].counts[k];
        struct blob jpeg = start();
        blob_add_segment(&jpeg, 0xc4, data, 17 + symbols);
        blob_add_grey_tables(&jpeg);
        blob_add_grey_frame(&jpeg, 0xc0, 8, 8);
        blob_add_grey_scan(&jpeg, 0, 63, block, sizeof block);
        cr_expect_eq(status_of(jpeg), tables[i].status, "table %zu", i);
    }
}

Test(scan_jpeg, refuses_tables_with_wrong_numbers_or_lengths)
{
    static const struct {
        int marker;
        uint8_t first;
        size_t n;
    } segments[] = {
        {0xc4, 0x04, 17}, {0xc4, 0x20, 17}, {0xc4, 0x00, 16}, {0xc4, 0x00, 1},
        {0xdb, 0x04, 65}, {0xdb, 0x00, 64}, {0xdb, 0x10, 65}, {0xdb, 0x10, 128},
    };
    for (size_t i = 0; i < sizeof segments / sizeof *segments; i++) {
        uint8_t data[129] = {segments[i].first};
        struct blob jpeg = start();
        blob_add_segment(&jpeg, segments[i].marker, data, segments[i].n);
        cr_expect_eq(status_of(jpeg), RN_IMAGE_CORRUPT, "segment %zu", i);
    }
}

Test(scan_jpeg, refuses_scans_that_refer_to_nothing)
{
    static const uint8_t scans[][6] = {
        {1, 2, 0x00, 0, 63, 0}, /* component 2 */
        {2, 1, 0x00, 0, 63, 0}, /* two components of one */
        {0, 1, 0x00, 0, 63, 0},
        {1, 1, 0x40, 0, 63, 0}, /* Huffman table 4 */
    };
    for (size_t i = 0; i < sizeof scans / sizeof *scans; i++) {
        struct blob jpeg = start();
        blob_add_grey_tables(&jpeg);
        blob_add_grey_frame(&jpeg, 0xc0, 8, 8);
        blob_add_segment(&jpeg, 0xda, scans[i], 6);
        cr_expect_eq(status_of(jpeg), RN_IMAGE_CORRUPT, "scan %zu", i);
    }
    struct blob jpeg = start();
    blob_add_grey_scan(&jpeg, 0, 63, block, 1);
    cr_expect_eq(status_of(jpeg), RN_IMAGE_CORRUPT, "a scan before the frame");

    jpeg = start();
    blob_add_grey_frame(&jpeg, 0xc0, 8, 8);
    blob_add_grey_scan(&jpeg, 0, 63, block, 1);
    cr_expect_eq(status_of(jpeg), RN_IMAGE_CORRUPT, "no quantization table");
}

Test(scan_jpeg, marks_files_that_count_on_default_Huffman_tables)
{
    struct blob jpeg = start();
    uint8_t quantization[65] = {0};
    blob_add_segment(&jpeg, 0xdb, quantization, 65);
    blob_add_grey_frame(&jpeg, 0xc0, 8, 8);
    blob_add_grey_scan(&jpeg, 0, 63, block, 1);
    struct scan scan;
    cr_assert_eq(finish_whole(&jpeg, &scan, NULL), RN_OK);
    cr_expect(scan.jpeg.default_huffman);
}

Test(scan_jpeg, refuses_what_is_coded_twice)
{
    struct blob jpeg = grey(0xc0, 8, 8);
    blob_add_grey_scan(&jpeg, 0, 63, block, 1);
    cr_expect_eq(status_of(jpeg), RN_IMAGE_CORRUPT);
}

Test(scan_jpeg, minds_no_table_that_a_scan_does_not_use)
{
    static const uint8_t of_ac[] = {1, 1, 0x40, 1, 63, 0}, of_dc[] = {1, 1, 0x04, 0, 0, 0};
    struct blob jpeg = grey(0xc2, 8, 8);
    blob_add_segment(&jpeg, 0xda, of_ac, sizeof of_ac);
    blob_add_segment(&jpeg, 0xda, of_dc, sizeof of_dc);
    cr_expect_eq(status_of(jpeg), RN_OK);
}

/* Damaged, not cut: the end mark is there. */
Test(scan_jpeg, tells_a_marker_that_leads_beyond_the_end_from_a_cut)
{
    struct blob jpeg = grey(0xc0, 8, 8);
    blob_add(&jpeg, "\xff\xe0\x7f\xff", 4);
    cr_expect_eq(status_of(jpeg), RN_IMAGE_CORRUPT);
}

Test(scan_jpeg, refuses_a_thousand_scans)
{
    struct blob jpeg = grey(0xc2, 8, 8);
    for (int i = 1; i < 1000; i++)
        blob_add_grey_scan(&jpeg, 1, 63, block, 1);
    struct scan scan;
    struct rn_error err;
    cr_expect_eq(finish_whole(&jpeg, &scan, &err), RN_IMAGE_TOO_MANY_SCANS);
    cr_expect_str_eq(err.text, "more than 32 scans in the JPEG");
}

Test(scan_jpeg, refuses_scans_that_add_up_to_too_much_work)
{
    struct blob jpeg = grey(0xc2, 4096, 4096); /* 2^18 blocks, 22 times is 5767168 */
    for (int i = 1; i < 22; i++)
        blob_add_grey_scan(&jpeg, 1, 63, block, 1);
    struct blob more = {0};
    blob_add(&more, jpeg.bytes, jpeg.n);
    blob_add_grey_scan(&more, 1, 63, block, 1);
    cr_expect_eq(status_of(jpeg), RN_OK);
    cr_expect_eq(status_of(more), RN_IMAGE_TOO_MANY_SCANS);
}

Test(scan_jpeg, tells_a_file_that_is_too_large_before_one_that_is_cut_off)
{
    struct scan scan;
    struct rn_error err;
    struct blob jpeg = start();
    blob_add_grey_frame(&jpeg, 0xc0, 16385, 1);
    cr_expect_eq(finish(&jpeg, &scan, &err), RN_IMAGE_SIDE_TOO_LONG);
    cr_expect_str_eq(err.text, "16385×1 pixels, the limit for a side is 16384");

    jpeg = start();
    blob_add_grey_frame(&jpeg, 0xc0, 7000, 9000);
    cr_expect_eq(finish(&jpeg, &scan, &err), RN_IMAGE_TOO_MANY_PIXELS);
    cr_expect_str_eq(err.text, "7000×9000 = 63000000 pixels, the limit is 50000000");

    jpeg = start();
    blob_add_grey_frame(&jpeg, 0xc2, 5000, 6000);
    cr_expect_eq(finish(&jpeg, &scan, &err), RN_IMAGE_TOO_MANY_PIXELS);
    cr_expect_str_eq(err.text,
                     "5000×6000 = 30000000 pixels, the limit for a progressive JPEG is 25000000");
}

Test(scan_jpeg, calls_every_beginning_of_a_file_truncated)
{
    static const char *const names[] = {"baseline-420.jpg", "progressive-444.jpg", "cmyk.jpg"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct blob whole = blob_golden(names[i]);
        for (size_t n = 2; n < whole.n; n++) {
            struct blob part = {0};
            struct scan scan = {.width = -1};
            blob_add(&part, whole.bytes, n);
            cr_assert_eq(finish(&part, &scan, NULL), RN_IMAGE_TRUNCATED, "%s, %zu bytes", names[i],
                         n);
            cr_assert_eq(scan.width, -1);
        }
        blob_done(&whole);
    }
}

Test(scan_jpeg, finds_the_first_Exif_data_in_front_of_the_picture)
{
    struct blob jpeg = start();
    blob_add_segment(&jpeg, 0xe1, "http://ns.adobe.com/xap", 23);
    blob_add_segment(&jpeg, 0xe1, "Exif\0\0first", 11);
    blob_add_segment(&jpeg, 0xe1, "Exif\0\0second", 12);
    blob_add_grey_tables(&jpeg);
    blob_add_grey_frame(&jpeg, 0xc0, 8, 8);
    blob_add_grey_scan(&jpeg, 0, 63, block, 1);
    blob_add_be16(&jpeg, 0xffd9);
    struct scan scan;
    cr_assert_eq(scan_jpeg(jpeg.bytes, jpeg.n, &rn_image_limits_default, &scan, NULL), RN_OK);
    cr_assert_eq(scan.exif_bytes, 5);
    cr_expect_arr_eq(scan.exif, "first", 5);
    blob_done(&jpeg);
}

Test(scan_jpeg, refuses_files_without_a_picture_and_with_two_beginnings)
{
    cr_expect_eq(status_of(start()), RN_IMAGE_CORRUPT);
    struct blob jpeg = start();
    blob_add_be16(&jpeg, 0xffd8);
    cr_expect_eq(status_of(jpeg), RN_IMAGE_CORRUPT);
    jpeg = start();
    blob_add(&jpeg, "\xff\xe0\0\x01", 4);
    cr_expect_eq(status_of(jpeg), RN_IMAGE_CORRUPT, "a segment shorter than its own length");
}
