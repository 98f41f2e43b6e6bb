/* Image bytes to pixels to tensor: the `images` part of engine.h.
 *
 * Any thread; nothing is kept between calls. A file goes through sniff -> scan -> limits -> decoder
 * and only the last of these takes memory. What the tensor must be is written in PyTorch's terms:
 * Resize, CenterCrop, ToTensor and Normalize of torchvision on a Pillow image.
 *
 * SPDX-License-Identifier: MIT */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/image/canvas.h"
#include "engine/image/decode.h"
#include "engine/image/exif.h"
#include "engine/image/resample.h"
#include "engine/image/scan.h"

#define MAX_REDUCTION 8 /* of a JPEG: a block becomes one pixel */
#define ENOUGH 4        /* pixels for each that the recipe makes, along a side */

const struct rn_image_limits rn_image_limits_default = {
    .max_bytes = 10 << 20,
    .max_side = 16384,
    .max_pixels = 50000000,
    .max_scans = 32,
    .max_memory = 192 << 20,
    .max_cpu_ms = 1000,
};

/* One row per format; the scan is ours whoever decodes. */
static const struct format {
    const char *name;
    enum rn_status (*scan)(const uint8_t *bytes, size_t n, const struct rn_image_limits *limits,
                           struct scan *out, struct rn_error *err);
    const struct decoder *decoder;
} formats[] = {
#ifdef HAVE_TURBOJPEG
    [RN_FORMAT_JPEG] = {"jpeg", scan_jpeg, &decode_turbo_jpeg},
#else
    [RN_FORMAT_JPEG] = {"jpeg", scan_jpeg, &decode_stb_jpeg},
#endif
    [RN_FORMAT_PNG] = {"png", scan_png, &decode_stb_png},
};

const char *rn_image_format_name(enum rn_image_format format)
{
    return formats[format].name;
}

/* Sniffs, scans and applies all limits. */
static enum rn_status examine(const uint8_t *bytes, size_t n, const struct rn_image_limits *limits,
                              const struct decoder **decoder, struct scan *scan,
                              struct rn_error *err)
{
    if (n == 0)
        return rn_fail(err, RN_UNSUPPORTED_FORMAT, "the file is empty");
    if (n > limits->max_bytes)
        return rn_fail(err, RN_IMAGE_TOO_MANY_BYTES, "the file has %zu bytes, the limit is %zu", n,
                       limits->max_bytes);
    const char *name = rn_image_sniff(bytes, n);
    const struct format *format = NULL;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0)
            format = &formats[i];
    if (!format && strcmp(name, "unknown") == 0)
        return rn_fail(err, RN_UNSUPPORTED_FORMAT,
                       "the file is not an image of a known format; jpeg and png are supported");
    if (!format)
        return rn_fail(err, RN_UNSUPPORTED_FORMAT,
                       "the format of the file is %s; jpeg and png are supported", name);

    enum rn_status status = format->scan(bytes, n, limits, scan, err);
    if (status)
        return status;
    uint64_t memory = format->decoder->memory(scan);
    if (memory > limits->max_memory)
        return rn_fail(err, RN_IMAGE_TOO_MUCH_MEMORY,
                       "decoding %d×%d pixels takes %" PRIu64 " bytes of memory, the limit is %zu",
                       scan->width, scan->height, memory, limits->max_memory);
    *decoder = format->decoder;
    return RN_OK;
}

static struct rn_image_info describe(const struct decoder *decoder, const struct scan *scan,
                                     size_t n)
{
    int orientation = scan->exif ? exif_orientation(scan->exif, scan->exif_bytes) : 1;
    bool transposed = canvas_is_transposed(orientation);
    return (struct rn_image_info){
        .format = decoder->format,
        .width = transposed ? scan->height : scan->width,
        .height = transposed ? scan->width : scan->height,
        .exif_orientation = orientation,
        .bytes = n,
    };
}

enum rn_status rn_image_probe(const uint8_t *bytes, size_t n, const struct rn_image_limits *limits,
                              struct rn_image_info *out, struct rn_error *err)
{
    const struct decoder *decoder;
    struct scan scan;
    enum rn_status status = examine(bytes, n, limits, &decoder, &scan, err);
    if (!status)
        *out = describe(decoder, &scan, n);
    return status;
}

/* The largest reduction that leaves the shorter side `enough` pixels; 0 asks for all. */
static int choose_reduction(const struct decoder *decoder, int width, int height, int64_t enough)
{
    const int shorter = width < height ? width : height;
    int reduction = decoder->reduces && enough > 0 ? MAX_REDUCTION : 1;
    while (reduction > 1 && shorter < enough * reduction)
        reduction /= 2;
    return reduction;
}

static int reduced(int side, int reduction)
{
    return (side + reduction - 1) / reduction;
}

static enum rn_status decode(const uint8_t *bytes, size_t n, const struct rn_image_limits *limits,
                             int64_t enough, struct rn_image *out, struct rn_error *err)
{
    const struct decoder *decoder;
    struct scan scan;
    enum rn_status status = examine(bytes, n, limits, &decoder, &scan, err);
    if (status)
        return status;
    struct rn_image_info info = describe(decoder, &scan, n);
    const int reduction = choose_reduction(decoder, scan.width, scan.height, enough);
    struct canvas canvas;
    canvas_init(&canvas, reduced(scan.width, reduction), reduced(scan.height, reduction),
                info.exif_orientation);
    status = decoder->decode(bytes, n, &scan, limits, reduction, &canvas, err);
    if (status)
        free(canvas.rgb);
    else
        *out = (struct rn_image){info, reduction, canvas.rgb};
    return status;
}

enum rn_status rn_image_decode(const uint8_t *bytes, size_t n, const struct rn_image_limits *limits,
                               struct rn_image *out, struct rn_error *err)
{
    return decode(bytes, n, limits, 0, out, err);
}

static int64_t enough_for(const struct rn_image_limits *limits, const struct rn_recipe *recipe)
{
    return limits->full_size ? 0 : (int64_t)ENOUGH * recipe->resize;
}

int rn_image_reduction(const struct rn_image_info *info, const struct rn_image_limits *limits,
                       const struct rn_recipe *recipe)
{
    return choose_reduction(formats[info->format].decoder, info->width, info->height,
                            enough_for(limits, recipe));
}

enum rn_status rn_image_decode_for(const uint8_t *bytes, size_t n,
                                   const struct rn_image_limits *limits,
                                   const struct rn_recipe *recipe, struct rn_image *out,
                                   struct rn_error *err)
{
    return decode(bytes, n, limits, enough_for(limits, recipe), out, err);
}

void rn_image_done(struct rn_image *image)
{
    free(image->rgb);
    image->rgb = NULL;
}

/* The side that is not the shorter one, as torchvision's Resize rounds it. */
static int resized(int side, int shorter, int resize)
{
    return side == shorter ? resize : (int)((double)((int64_t)resize * side) / shorter);
}

/* Where CenterCrop starts: half of the rest, rounded half to even as by Python's round(). */
static int crop_start(int side, int crop)
{
    int rest = side - crop;
    int half = rest / 2;
    return half + (rest & half & 1);
}

/* One axis of a decoded picture, to be resized. What a reduction rounded up is no part of the
 * picture: it lies behind it, or before it where the picture was mirrored. */
static struct resample_axis whole_axis(int side, int reduction, bool mirrored, int to)
{
    const int from = reduced(side, reduction);
    const double length = (double)side / reduction;
    return (struct resample_axis){from, mirrored ? from - length : 0.0, length, to, 0, to};
}

static struct resample_axis crop_axis(int side, int shorter, int reduction, bool mirrored,
                                      const struct rn_recipe *recipe)
{
    struct resample_axis axis =
        whole_axis(side, reduction, mirrored, resized(side, shorter, recipe->resize));
    axis.first = crop_start(axis.to, recipe->crop);
    axis.n = recipe->crop;
    return axis;
}

struct rn_region rn_image_region(int width, int height, const struct rn_recipe *recipe)
{
    const int shorter = width < height ? width : height;
    const struct resample_axis x = crop_axis(width, shorter, 1, false, recipe);
    const struct resample_axis y = crop_axis(height, shorter, 1, false, recipe);
    const double x_scale = x.length / x.to, y_scale = y.length / y.to;
    return (struct rn_region){x.first * x_scale, y.first * y_scale, x.n * x_scale, y.n * y_scale};
}

enum rn_status rn_image_crop(const struct rn_image *image, const struct rn_recipe *recipe,
                             uint8_t *rgb, struct rn_error *err)
{
    assert(recipe->crop >= 1 && recipe->crop <= recipe->resize);
    const int width = image->info.width, height = image->info.height;
    const int shorter = width < height ? width : height, o = image->info.exif_orientation;
    const struct resample_axis x =
        crop_axis(width, shorter, image->reduction, canvas_is_mirrored_x(o), recipe);
    const struct resample_axis y =
        crop_axis(height, shorter, image->reduction, canvas_is_mirrored_y(o), recipe);
    return resample(image->rgb, &x, &y, recipe->interpolation, rgb, err);
}

void rn_image_fit(int width, int height, int side, int *fit_width, int *fit_height)
{
    const int longer = width > height ? width : height;
    const int shorter = width > height ? height : width;
    const int fit_longer = longer < side ? longer : side;
    int fit_shorter = (int)(((int64_t)shorter * fit_longer + longer / 2) / longer);
    fit_shorter = fit_shorter < 1 ? 1 : fit_shorter;
    *fit_width = width > height ? fit_longer : fit_shorter;
    *fit_height = width > height ? fit_shorter : fit_longer;
}

enum rn_status rn_image_scale(const struct rn_image *image, int width, int height, uint8_t *rgb,
                              struct rn_error *err)
{
    const int o = image->info.exif_orientation;
    const struct resample_axis x =
        whole_axis(image->info.width, image->reduction, canvas_is_mirrored_x(o), width);
    const struct resample_axis y =
        whole_axis(image->info.height, image->reduction, canvas_is_mirrored_y(o), height);
    return resample(image->rgb, &x, &y, RN_BILINEAR, rgb, err);
}

void rn_image_normalize(const uint8_t *rgb, const struct rn_recipe *recipe, float *tensor)
{
    size_t pixels = (size_t)recipe->crop * (size_t)recipe->crop;
    for (size_t c = 0; c < 3; c++) {
        float values[256];
        for (int i = 0; i < 256; i++)
            values[i] = ((float)i / 255.0f - recipe->mean[c]) / recipe->std[c];
        for (size_t i = 0; i < pixels; i++)
            tensor[c * pixels + i] = values[rgb[3 * i + c]];
    }
}
