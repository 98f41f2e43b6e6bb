/* From bytes to tensor against Pillow and torchvision, and the ways in which a file can be refused.
 *
 * The oracle's answers and how they were made are in tests/golden. PNG and all that follows the
 * decoding are the same to the bit; so is JPEG through libjpeg-turbo, which Pillow uses too.
 * stb_image rounds a little otherwise and weighs the wrong neighbour in the last column where the
 * width of a 4:2:2 picture is odd.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "engine/engine.h"
#include "tests/support_alloc.h"
#include "tests/support_blob.h"

#ifdef HAVE_TURBOJPEG
#define JPEG_TOLERANCE 0
#else
#define JPEG_TOLERANCE 3
#endif

/* The lines of a golden list; hands out one a call, NULL at the end. */
struct list {
    struct blob text;
    char *rest;
};

static struct list list_open(const char *name)
{
    struct list list = {.text = blob_golden(name)};
    blob_add(&list.text, "", 1);
    list.rest = (char *)list.text.bytes;
    return list;
}

static const char *list_next(struct list *list)
{
    const char *line = strsep(&list->rest, "\n");
    if (line && *line)
        return line;
    blob_done(&list->text);
    return NULL;
}

static struct rn_image decode(const char *name)
{
    struct blob file = blob_golden(name);
    struct rn_image image;
    struct rn_error err = {0};
    cr_assert_eq(rn_image_decode(file.bytes, file.n, &rn_image_limits_default, &image, &err), RN_OK,
                 "%s: %s", name, err.text);
    cr_expect_eq(image.info.bytes, file.n);
    blob_done(&file);
    return image;
}

/* Whether `pixels` are near those in NAME.rgb. */
static void expect_near(const char *name, const struct rn_image *image)
{
    char rgb_name[64];
    (void)snprintf(rgb_name, sizeof rgb_name, "%.*s.rgb", (int)strcspn(name, "."), name);
    struct blob rgb = blob_golden(rgb_name);
    int width = image->info.width;
    size_t wrong = 0;
    for (size_t i = 0; i < rgb.n; i++) {
        bool last_of_422 = strstr(name, "422") && (int)(i / 3) % width == width - 1;
        if (!last_of_422 && abs(rgb.bytes[i] - image->rgb[i]) > JPEG_TOLERANCE)
            wrong++;
    }
    cr_expect_eq(wrong, 0, "%s: %zu samples are off by more than %d", name, wrong, JPEG_TOLERANCE);
    blob_done(&rgb);
}

Test(image, decodes_every_golden_file_as_Pillow_does)
{
    struct list list = list_open("decode.txt");
    int n = 0;
    for (const char *line; (line = list_next(&list)); n++) {
        char name[64];
        int width, height, orientation;
        unsigned crc;
        cr_assert_eq(sscanf(line, "%63s %d %d %d %x", name, &width, &height, &orientation, &crc),
                     5);
        struct rn_image image = decode(name);
        bool is_jpeg = strstr(name, ".jpg");
        cr_expect_eq(image.info.format, is_jpeg ? RN_FORMAT_JPEG : RN_FORMAT_PNG, "%s", name);
        cr_expect_eq(image.info.width, width, "%s", name);
        cr_expect_eq(image.info.height, height, "%s", name);
        cr_expect_eq(image.info.exif_orientation, orientation, "%s", name);
        if (is_jpeg && JPEG_TOLERANCE)
            expect_near(name, &image);
        else
            cr_expect_eq(blob_crc(image.rgb, 3 * (size_t)width * (size_t)height), crc, "%s", name);
        rn_image_done(&image);
    }
    cr_expect_gt(n, 50);
}

static enum rn_interpolation interpolation_of(const char *name)
{
    return strcmp(name, "bicubic") == 0 ? RN_BICUBIC : RN_BILINEAR;
}

Test(image, crops_every_size_as_torchvision_does)
{
    struct list list = list_open("crop.txt");
    int n = 0;
    for (const char *line; (line = list_next(&list)); n++) {
        char name[64], filter[16];
        struct rn_recipe recipe = {0};
        unsigned crc;
        cr_assert_eq(
            sscanf(line, "%63s %d %d %15s %x", name, &recipe.resize, &recipe.crop, filter, &crc),
            5);
        recipe.interpolation = interpolation_of(filter);
        struct rn_image image = decode(name);
        size_t bytes = 3 * (size_t)recipe.crop * (size_t)recipe.crop;
        uint8_t *rgb = malloc(bytes);
        cr_assert_not_null(rgb);
        cr_assert_eq(rn_image_crop(&image, &recipe, rgb, NULL), RN_OK);
        cr_expect_eq(blob_crc(rgb, bytes), crc, "%s", line);
        free(rgb);
        rn_image_done(&image);
    }
    cr_expect_gt(n, 50);
}

#ifdef HAVE_TURBOJPEG
Test(image, reduces_a_jpeg_to_the_pixels_of_a_draft)
{
    struct list list = list_open("scaled.txt");
    int n = 0, n_reduced = 0;
    for (const char *line; (line = list_next(&list)); n++) {
        char name[64], filter[16];
        struct rn_recipe recipe = {0};
        struct rn_image image;
        uint8_t rgb[3 * 9 * 9];
        int reduction;
        unsigned crc;
        cr_assert_eq(sscanf(line, "%63s %d %d %15s %d %x", name, &recipe.resize, &recipe.crop,
                            filter, &reduction, &crc),
                     6);
        recipe.interpolation = interpolation_of(filter);
        struct blob file = blob_golden(name);
        cr_assert_eq(rn_image_decode_for(file.bytes, file.n, &rn_image_limits_default, &recipe,
                                         &image, NULL),
                     RN_OK);
        cr_expect_eq(image.reduction, reduction, "%s", line);
        cr_assert_eq(rn_image_crop(&image, &recipe, rgb, NULL), RN_OK);
        cr_expect_eq(blob_crc(rgb, 3 * (size_t)recipe.crop * (size_t)recipe.crop), crc, "%s", line);
        n_reduced += reduction > 1;
        rn_image_done(&image);
        blob_done(&file);
    }
    cr_expect_gt(n_reduced, n / 2);
}
#endif

Test(image, takes_all_pixels_where_the_limits_say_so)
{
    const struct rn_recipe recipe = {.resize = 2, .crop = 2};
    struct rn_image_limits limits = rn_image_limits_default;
    struct blob file = blob_golden("baseline-444.jpg");
    struct rn_image image;
    limits.full_size = true;
    cr_assert_eq(rn_image_decode_for(file.bytes, file.n, &limits, &recipe, &image, NULL), RN_OK);
    cr_expect_eq(image.reduction, 1);
    rn_image_done(&image);
    blob_done(&file);
}

Test(image, normalizes_to_the_bits_of_torchvision)
{
    struct list list = list_open("tensor.txt");
    int n = 0;
    for (const char *line; (line = list_next(&list)); n++) {
        char name[64], filter[16];
        struct rn_recipe recipe = {.mean = {0.485f, 0.456f, 0.406f},
                                   .std = {0.229f, 0.224f, 0.225f}};
        unsigned crc;
        cr_assert_eq(
            sscanf(line, "%63s %d %d %15s %x", name, &recipe.resize, &recipe.crop, filter, &crc),
            5);
        recipe.interpolation = interpolation_of(filter);
        struct rn_image image = decode(name);
        size_t values = 3 * (size_t)recipe.crop * (size_t)recipe.crop;
        uint8_t *rgb = malloc(values);
        float *tensor = calloc(values, sizeof *tensor);
        cr_assert(rgb && tensor);
        cr_assert_eq(rn_image_crop(&image, &recipe, rgb, NULL), RN_OK);
        rn_image_normalize(rgb, &recipe, tensor);
        cr_expect_eq(blob_crc(tensor, values * sizeof *tensor), crc, "%s", line);
        free(tensor);
        free(rgb);
        rn_image_done(&image);
    }
    cr_expect_gt(n, 5);
}

Test(image, a_probe_tells_what_decoding_tells)
{
    static const char *const names[] = {"orientation-6.jpg", "orientation-3.png", "grey.jpg"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct blob file = blob_golden(names[i]);
        struct rn_image_info info;
        cr_assert_eq(rn_image_probe(file.bytes, file.n, &rn_image_limits_default, &info, NULL),
                     RN_OK);
        struct rn_image image = decode(names[i]);
        cr_expect_eq(info.format, image.info.format);
        cr_expect_eq(info.width, image.info.width);
        cr_expect_eq(info.height, image.info.height);
        cr_expect_eq(info.exif_orientation, image.info.exif_orientation);
        cr_expect_eq(info.bytes, image.info.bytes);
        rn_image_done(&image);
        blob_done(&file);
    }
}

Test(image, names_its_formats)
{
    cr_expect_str_eq(rn_image_format_name(RN_FORMAT_JPEG), "jpeg");
    cr_expect_str_eq(rn_image_format_name(RN_FORMAT_PNG), "png");
}

/* Decodes with these limits and expects a refusal that leaves the result alone. */
static void expect_refusal(const struct blob *file, const struct rn_image_limits *limits,
                           enum rn_status status, const char *text)
{
    struct rn_image image = {.info.width = -1};
    struct rn_image_info info = {.width = -1};
    struct rn_error err = {0};
    cr_expect_eq(rn_image_decode(file->bytes, file->n, limits, &image, &err), status, "%s",
                 err.text);
    cr_expect_str_eq(err.text, text);
    cr_expect_eq(image.info.width, -1);
    cr_expect_null(image.rgb);
    if (rn_image_probe(file->bytes, file->n, limits, &info, NULL) != RN_OK)
        cr_expect_eq(info.width, -1);
}

Test(image, says_what_a_file_is_that_it_does_not_read)
{
    struct blob empty = {0}, gif = {0}, text = {0};
    blob_add(&gif, "GIF89a", 6);
    blob_add(&text, "hello", 5);
    expect_refusal(&empty, &rn_image_limits_default, RN_UNSUPPORTED_FORMAT, "the file is empty");
    expect_refusal(&gif, &rn_image_limits_default, RN_UNSUPPORTED_FORMAT,
                   "the format of the file is gif; jpeg and png are supported");
    expect_refusal(&text, &rn_image_limits_default, RN_UNSUPPORTED_FORMAT,
                   "the file is not an image of a known format; jpeg and png are supported");
    blob_done(&gif);
    blob_done(&text);
}

Test(image, keeps_each_limit_to_the_last_one)
{
    struct blob jpeg = blob_golden("baseline-444.jpg"); /* 53×38 = 2014 */
    struct blob png = blob_golden("rgb8.png");          /* 29×23 = 667 */
    struct rn_image_limits exact = rn_image_limits_default;
    exact.max_bytes = jpeg.n;
    exact.max_side = 53;
    exact.max_pixels = 2014;
    exact.max_scans = 1;
    struct rn_image image;
    cr_assert_eq(rn_image_decode(jpeg.bytes, jpeg.n, &exact, &image, NULL), RN_OK);
    rn_image_done(&image);

    struct rn_image_limits limits = exact;
    limits.max_bytes = 1000;
    expect_refusal(&png, &limits, RN_IMAGE_TOO_MANY_BYTES,
                   "the file has 1406 bytes, the limit is 1000");
    limits = exact;
    limits.max_side = 52;
    expect_refusal(&jpeg, &limits, RN_IMAGE_SIDE_TOO_LONG,
                   "53×38 pixels, the limit for a side is 52");
    limits = exact;
    limits.max_pixels = 2013;
    expect_refusal(&jpeg, &limits, RN_IMAGE_TOO_MANY_PIXELS,
                   "53×38 = 2014 pixels, the limit is 2013");
    limits.max_pixels = 1333;
    expect_refusal(&png, &limits, RN_IMAGE_TOO_MANY_PIXELS,
                   "29×23 = 667 pixels, the limit for a PNG is 666");
    blob_done(&jpeg);
    blob_done(&png);

    struct blob progressive = blob_golden("progressive-444.jpg");
    limits = rn_image_limits_default;
    limits.max_scans = 2;
    expect_refusal(&progressive, &limits, RN_IMAGE_TOO_MANY_SCANS, "more than 2 scans in the JPEG");
    blob_done(&progressive);
}

#ifdef HAVE_TURBOJPEG /* stb_image is asked after some 0.1 ms of PNG only */
Test(image, stops_decoding_when_its_time_is_up)
{
    struct rn_image_limits limits = rn_image_limits_default;
    limits.max_cpu_ms = 0;
    struct blob progressive = blob_golden("progressive-444.jpg");
    expect_refusal(&progressive, &limits, RN_IMAGE_TOO_MUCH_TIME,
                   "decoding the image takes more than 0 ms of CPU time");
    blob_done(&progressive);
}
#endif

Test(image, decodes_within_the_memory_that_it_announces_and_not_below)
{
    struct list list = list_open("decode.txt");
    for (const char *line; (line = list_next(&list));) {
        char name[64];
        cr_assert_eq(sscanf(line, "%63s", name), 1);
        struct blob file = blob_golden(name);
        struct rn_image_limits limits = rn_image_limits_default;
        struct rn_error err;
        struct rn_image image;
        limits.max_memory = 1;
        cr_expect_eq(rn_image_decode(file.bytes, file.n, &limits, &image, &err),
                     RN_IMAGE_TOO_MUCH_MEMORY, "%s", name);
        cr_assert_eq(sscanf(strstr(err.text, "takes "), "takes %zu", &limits.max_memory), 1);
        limits.max_memory += 64 << 10; /* what libraries hold besides pixels */
        cr_expect_eq(rn_image_decode(file.bytes, file.n, &limits, &image, &err), RN_OK, "%s: %s",
                     name, err.text);
        rn_image_done(&image);
        blob_done(&file);
    }
}

Test(image, decodes_no_beginning_of_a_file)
{
    static const char *const names[] = {
        "baseline-420.jpg", "progressive-422.jpg",     "grey.jpg",
        "rgb8.png",         "palette2-interlaced.png", "rgb-pieces.png"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct blob whole = blob_golden(names[i]);
        size_t magic = strstr(names[i], ".png") ? 8 : 3;
        for (size_t n = 1; n < whole.n; n++) {
            struct blob part = {0};
            struct rn_image image;
            blob_add(&part, whole.bytes, n);
            cr_assert_eq(rn_image_decode(part.bytes, n, &rn_image_limits_default, &image, NULL),
                         n < magic ? RN_UNSUPPORTED_FORMAT : RN_IMAGE_TRUNCATED, "%s, %zu bytes",
                         names[i], n);
            blob_done(&part);
        }
        blob_done(&whole);
    }
}

Test(image, survives_any_flipped_bit)
{
    static const char *const names[] = {"baseline-420.jpg", "progressive-420.jpg",
                                        "ycck.jpg",         "orientation-5.jpg",
                                        "palette4.png",     "rgba8-interlaced.png"};
    struct rn_image_limits limits = rn_image_limits_default;
    limits.max_side = 256; /* of the sizes that a flip can make, the quick ones */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct blob file = blob_golden(names[i]);
        for (size_t bit = 0; bit < 8 * file.n; bit += bit < 8 * 700 ? 1 : 13) {
            struct rn_image image;
            file.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (rn_image_decode(file.bytes, file.n, &limits, &image, NULL) == RN_OK)
                rn_image_done(&image);
            file.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        blob_done(&file);
    }
}

/* Appends bits to a zeroed deflate stream, the lowest of a byte first. */
static void put_bits(uint8_t *stream, size_t *n, const char *zeros_and_ones)
{
    for (const char *p = zeros_and_ones; *p; p++, (*n)++)
        stream[*n / 8] |= (uint8_t)((*p - '0') << *n % 8);
}

/* A zlib stream of one zero and `repeats` times 258 more, in fixed Huffman codes. */
static struct blob deflated_zeros(unsigned repeats)
{
    uint8_t *stream = calloc(13 * repeats / 8 + 8, 1);
    cr_assert_not_null(stream);
    size_t n = 0;
    put_bits(stream, &n, "110");      /* the last block, fixed codes */
    put_bits(stream, &n, "00110000"); /* literal 0 */
    for (unsigned i = 0; i < repeats; i++)
        put_bits(stream, &n, "1100010100000"); /* 258 bytes from a distance of 1 */
    put_bits(stream, &n, "0000000");           /* end */

    struct blob zlib = {0};
    blob_add(&zlib, "\x78\x9c", 2);
    blob_add(&zlib, stream, n / 8 + 1);
    blob_add_be16(&zlib, (1 + 258 * repeats) % 65521); /* Adler-32 of so many zeros */
    blob_add_be16(&zlib, 1);
    free(stream);
    return zlib;
}

static struct blob png_of(uint32_t width, uint32_t height, struct blob data)
{
    struct blob png = {0};
    blob_add_png_header(&png, width, height, 8, 0);
    blob_add_png_chunk(&png, "IDAT", data.bytes, data.n);
    blob_add_png_chunk(&png, "IEND", NULL, 0);
    blob_done(&data);
    return png;
}

Test(image, refuses_a_pixel_that_inflates_to_megabytes)
{
    struct blob bomb = png_of(1, 1, deflated_zeros(20000)); /* 5 MB */
    expect_refusal(&bomb, &rn_image_limits_default, RN_IMAGE_CORRUPT,
                   "the PNG has more data than the 1×1 pixels that it claims");
    blob_done(&bomb);

    bomb = png_of(1, 1, deflated_zeros(100000));
    cr_expect_gt(bomb.n, 128 << 10);
    struct rn_image_info info;
    cr_expect_eq(rn_image_probe(bomb.bytes, bomb.n, &rn_image_limits_default, &info, NULL),
                 RN_IMAGE_CORRUPT, "needs no decoder");
    blob_done(&bomb);
}

Test(image, refuses_data_cut_into_a_million_blocks)
{
    /* Eight empty blocks with fixed codes, ten bits each. */
    static const uint8_t empty[10] = {0x02, 0x08, 0x20, 0x80, 0x00, 0x02, 0x08, 0x20, 0x80, 0x00};
    struct blob data = {0};
    blob_add(&data, "\x78\x9c", 2);
    for (int i = 0; i < 20000; i++)
        blob_add(&data, empty, sizeof empty);
    struct blob png = png_of(400, 400, data);
    expect_refusal(&png, &rn_image_limits_default, RN_IMAGE_CORRUPT,
                   "the compressed data of the PNG are cut into too many blocks");
    blob_done(&png);
}

Test(image, takes_deflated_data_that_fit_and_refuses_one_byte_more_or_less)
{
    struct blob fits = png_of(258, 1, deflated_zeros(1));
    struct rn_image image;
    cr_assert_eq(rn_image_decode(fits.bytes, fits.n, &rn_image_limits_default, &image, NULL),
                 RN_OK);
    cr_expect_eq(image.rgb[0], 0);
    rn_image_done(&image);
    blob_done(&fits);

    struct blob more = png_of(257, 1, deflated_zeros(1));
    expect_refusal(&more, &rn_image_limits_default, RN_IMAGE_CORRUPT,
                   "the PNG has more data than the 257×1 pixels that it claims");
    blob_done(&more);

    struct blob less = png_of(259, 1, deflated_zeros(1));
    expect_refusal(&less, &rn_image_limits_default, RN_IMAGE_CORRUPT,
                   "the image data of the PNG are damaged");
    blob_done(&less);
}

Test(image, decodes_the_smallest_JPEG)
{
    struct blob jpeg = {0};
    blob_add_be16(&jpeg, 0xffd8);
    blob_add_grey_tables(&jpeg);
    blob_add_grey_frame(&jpeg, 0xc0, 8, 8);
    blob_add_grey_scan(&jpeg, 0, 63, "\x3f", 1);
    blob_add_be16(&jpeg, 0xffd9);
    struct rn_image image;
    struct rn_error err = {0};
    cr_assert_eq(rn_image_decode(jpeg.bytes, jpeg.n, &rn_image_limits_default, &image, &err), RN_OK,
                 "%s", err.text);
    for (int i = 0; i < 8 * 8 * 3; i++)
        cr_expect_eq(image.rgb[i], 128);
    rn_image_done(&image);
    blob_done(&jpeg);
}

Test(image, starts_the_crop_at_half_the_rest_rounded_to_even)
{
    /* Each column of a picture that keeps its size holds its own number. */
    static const struct {
        int width, crop, first;
    } cases[] = {{9, 4, 2}, {11, 4, 4}, {5, 4, 0}, {7, 4, 2}, {8, 4, 2}, {4, 4, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t pixels[3 * 11 * 4];
        int width = cases[i].width;
        for (int k = 0; k < 3 * width * 4; k++)
            pixels[k] = (uint8_t)(k / 3 % width);
        struct rn_image image = {{RN_FORMAT_PNG, width, 4, 1, 0}, 1, pixels};
        struct rn_recipe recipe = {.resize = 4, .crop = cases[i].crop};
        uint8_t rgb[3 * 4 * 4];
        cr_assert_eq(rn_image_crop(&image, &recipe, rgb, NULL), RN_OK);
        cr_expect_eq(rgb[0], cases[i].first, "%d wide", width);
    }
}

/* Red tells the column and green the row that a pixel of the crop comes from. */
Test(image, the_region_is_where_the_crop_comes_from)
{
    static const int sizes[][2] = {{200, 130}, {130, 200}, {128, 128}, {255, 40}, {90, 255}};
    const struct rn_recipe recipe = {.resize = 64, .crop = 50, .std = {1, 1, 1}};
    uint8_t crop[50 * 50 * 3];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int width = sizes[i][0], height = sizes[i][1];
        struct rn_image image = {.info = {.width = width, .height = height},
                                 .reduction = 1,
                                 .rgb = calloc((size_t)(width * height), 3)};
        struct rn_error err;
        cr_assert_not_null(image.rgb);
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                image.rgb[3 * (y * width + x)] = (uint8_t)x;
                image.rgb[3 * (y * width + x) + 1] = (uint8_t)y;
            }
        cr_assert_eq(rn_image_crop(&image, &recipe, crop, &err), RN_OK);
        const struct rn_region r = rn_image_region(width, height, &recipe);
        for (int k = 5; k < 45; k++) {
            const double x = r.x + (k + 0.5) * r.width / 50 - 0.5;
            const double y = r.y + (k + 0.5) * r.height / 50 - 0.5;
            cr_expect_float_eq(crop[3 * k], x, 1, "column %d of %dx%d", k, width, height);
            cr_expect_float_eq(crop[3 * 50 * k + 1], y, 1, "row %d of %dx%d", k, width, height);
        }
        rn_image_done(&image);
    }
}

Test(image, fits_a_size_into_a_square_and_never_enlarges)
{
    static const int rows[][5] = {{3000, 2000, 1024, 1024, 683}, {2000, 3000, 1024, 683, 1024},
                                  {16384, 1, 1024, 1024, 1},     {1024, 1024, 1024, 1024, 1024},
                                  {53, 38, 1024, 53, 38},        {1025, 1025, 1024, 1024, 1024}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int width, height;
        rn_image_fit(rows[i][0], rows[i][1], rows[i][2], &width, &height);
        cr_expect_eq(width, rows[i][3], "row %zu: %d", i, width);
        cr_expect_eq(height, rows[i][4], "row %zu: %d", i, height);
    }
}

/* What resizing and cutting gives where nothing is cut. */
Test(image, scales_as_the_crop_does)
{
    struct rn_image image = decode("crop-square.png");
    const struct rn_recipe recipe = {.resize = 20, .crop = 20, .std = {1, 1, 1}};
    uint8_t crop[3 * 20 * 20], scaled[3 * 20 * 20];
    struct rn_error err;
    cr_assert_eq(image.info.width, image.info.height);
    cr_assert_eq(rn_image_crop(&image, &recipe, crop, &err), RN_OK);
    cr_assert_eq(rn_image_scale(&image, 20, 20, scaled, &err), RN_OK);
    cr_assert_arr_eq(crop, scaled, sizeof crop);
    rn_image_done(&image);
}

Test(image, reports_each_allocation_that_fails)
{
    static const char *const names[] = {"orientation-6.jpg", "cmyk-progressive.jpg",
                                        "rgba16-interlaced.png", "palette4.png"};
    static const struct rn_recipe recipe = {.resize = 20, .crop = 16, .std = {1, 1, 1}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct blob file = blob_golden(names[i]);
        for (size_t nth = 1;; nth++) {
            struct rn_image image;
            uint8_t rgb[3 * 16 * 16];
            size_t before = alloc_count();
            alloc_fail(nth);
            enum rn_status status =
                rn_image_decode(file.bytes, file.n, &rn_image_limits_default, &image, NULL);
            if (!status) {
                status = rn_image_crop(&image, &recipe, rgb, NULL);
                rn_image_done(&image);
            }
            alloc_fail(0);
            bool failed = alloc_count() - before >= nth;
            cr_assert_eq(status, failed ? RN_NO_MEMORY : RN_OK, "%s, allocation %zu", names[i],
                         nth);
            if (!failed)
                break;
        }
        blob_done(&file);
    }
}
