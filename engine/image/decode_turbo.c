/* JPEG through libjpeg-turbo, row by row, with the settings that Pillow uses: the accurate integer
 * DCT and smooth upsampling, so that the pixels are Pillow's.
 *
 * Any thread; all state is in struct turbo. The library reports errors by a jump, which ends in
 * run(); nothing that needs freeing lives between there and the library but what its own pools and
 * the canvas hold.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/image/decode.h"

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>
#include <jerror.h>

#include "engine/image/stopwatch.h"

struct turbo {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    const struct rn_image_limits *limits;
    struct stopwatch stopwatch;
    enum rn_status status;
    struct rn_error *err;
};

static enum rn_status status_of(int message)
{
    switch (message) {
    case JWRN_JPEG_EOF:
        return RN_IMAGE_TRUNCATED;
    case JERR_OUT_OF_MEMORY:
        return RN_NO_MEMORY;
    case JERR_NO_BACKING_STORE: /* max_memory_to_use is used up */
        return RN_IMAGE_TOO_MUCH_MEMORY;
    default:
        return RN_IMAGE_CORRUPT;
    }
}

static void fail(j_common_ptr cinfo)
{
    struct turbo *t = cinfo->client_data;
    char text[JMSG_LENGTH_MAX];
    cinfo->err->format_message(cinfo, text);
    t->status = rn_fail(t->err, status_of(cinfo->err->msg_code), "JPEG: %s", text);
    longjmp(t->escape, 1);
}

/* Warnings about damaged data are passed over, as Pillow does; a file that ends is an error. */
static void warn(j_common_ptr cinfo, int level)
{
    if (level < 0 && cinfo->err->msg_code == JWRN_JPEG_EOF)
        fail(cinfo);
}

/* Called for each row of MCUs of each scan. The scan has counted the scans already; this holds even
 * if the library reads the file otherwise. */
static void limit_work(j_common_ptr cinfo)
{
    struct turbo *t = cinfo->client_data;
    const int max_scans = t->limits->max_scans;
    if (t->cinfo.input_scan_number > max_scans)
        t->status =
            rn_fail(t->err, RN_IMAGE_TOO_MANY_SCANS, "more than %d scans in the JPEG", max_scans);
    else if (stopwatch_expired(&t->stopwatch))
        t->status = stopwatch_fail(t->limits, t->err);
    else
        return;
    longjmp(t->escape, 1);
}

/* a * b / 255, rounded; Pillow's way of doing it. */
static unsigned scale_255(unsigned a, unsigned b)
{
    unsigned t = a * b + 128;
    return ((t >> 8) + t) >> 8;
}

/* In place, [width][4] to [width][3]. Adobe stores inverted CMYK, and Pillow takes all CMYK to be
 * Adobe's. */
static void cmyk_to_rgb(uint8_t *row, int width)
{
    for (int x = 0; x < width; x++) {
        const uint8_t *from = row + 4 * x;
        uint8_t *to = row + 3 * x;
        unsigned white = from[3];
        for (int i = 0; i < 3; i++)
            to[i] = (uint8_t)(white - scale_255(255u - from[i], white));
    }
}

static enum rn_status run(struct turbo *t, const uint8_t *bytes, size_t n, const struct scan *scan,
                          int reduction, struct canvas *canvas)
{
    j_decompress_ptr cinfo = &t->cinfo;
    if (setjmp(t->escape))
        return t->status;
    jpeg_create_decompress(cinfo);
    cinfo->mem->max_memory_to_use = (long)t->limits->max_memory;
    cinfo->progress = &t->progress;
    jpeg_mem_src(cinfo, bytes, n);
    (void)jpeg_read_header(cinfo, TRUE);
    if (cinfo->image_width != (JDIMENSION)scan->width ||
        cinfo->image_height != (JDIMENSION)scan->height)
        return rn_fail(t->err, RN_IMAGE_CORRUPT, "the JPEG has two sizes");

    cinfo->out_color_space = cinfo->num_components == 4 ? JCS_CMYK : JCS_RGB;
    cinfo->dct_method = JDCT_ISLOW;
    cinfo->do_fancy_upsampling = TRUE;
    cinfo->scale_num = 1;
    cinfo->scale_denom = (unsigned)reduction;
    (void)jpeg_start_decompress(cinfo);
    if (cinfo->output_width != (JDIMENSION)canvas->width ||
        cinfo->output_height != (JDIMENSION)canvas->height)
        return rn_fail(t->err, RN_IMAGE_CORRUPT, "the JPEG has two sizes");
    JSAMPARRAY rows =
        cinfo->mem->alloc_sarray((j_common_ptr)cinfo, JPOOL_IMAGE,
                                 cinfo->output_width * (JDIMENSION)cinfo->output_components, 1);
    enum rn_status status = canvas_open(canvas, t->err);
    if (status)
        return status;
    for (int y = 0; y < canvas->height; y++) {
        (void)jpeg_read_scanlines(cinfo, rows, 1);
        if (cinfo->out_color_space == JCS_CMYK)
            cmyk_to_rgb(rows[0], canvas->width);
        canvas_put_row(canvas, y, rows[0]);
    }
    return RN_OK;
}

static enum rn_status decode(const uint8_t *bytes, size_t n, const struct scan *scan,
                             const struct rn_image_limits *limits, int reduction,
                             struct canvas *canvas, struct rn_error *err)
{
    struct turbo t = {.limits = limits, .stopwatch = stopwatch_start(limits), .err = err};
    t.cinfo.err = jpeg_std_error(&t.errors);
    t.cinfo.client_data = &t;
    t.errors.error_exit = fail;
    t.errors.emit_message = warn;
    t.progress.progress_monitor = limit_work;
    enum rn_status status = run(&t, bytes, n, scan, reduction, canvas);
    jpeg_destroy_decompress(&t.cinfo);
    return status;
}

/* The canvas, a few dozen rows of each component, and all coefficients (16 bit) where the picture
 * comes in more than one scan. */
static uint64_t memory(const struct scan *scan)
{
    const struct scan_of_jpeg *jpeg = &scan->jpeg;
    uint64_t width = (uint64_t)scan->width, height = (uint64_t)scan->height;
    bool buffered = jpeg->progressive || jpeg->n_scans > 1;
    return 3 * width * height + 64 * width * (uint64_t)jpeg->components +
           (buffered ? 2 * jpeg->plane_bytes : 0);
}

const struct decoder decode_turbo_jpeg = {RN_FORMAT_JPEG, memory, true, decode};
