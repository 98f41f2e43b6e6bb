/* PNG through stb_image, and JPEG where the build has no libjpeg-turbo.
 *
 * Any thread: what the library may spend is counted per thread. stb_image 2.27, Debian's, has open
 * security bugs, hence a fence around it: it is compiled for these formats only; its memory is
 * zeroed, limited and ours to free; an assertion that fails ends the decoding, not the process; of
 * a PNG it sees a copy with nothing but the header and the image data, a palette picture going
 * through as grey so that its unchecked palette code never runs. What remains is covered by the
 * scans.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/image/decode.h"

#include <limits.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "engine/image/stopwatch.h"

enum refusal {
    REFUSED_NOTHING,
    REFUSED_MEMORY,
    REFUSED_BUDGET,
    REFUSED_EXCESS,
    REFUSED_WORK,
    REFUSED_TIME,
};

/* More than the library ever holds: three for each of four planes, and a few. */
#define MAX_BLOCKS 16
/* Some 0.1 ms of PNG. */
#define CHECKS_PER_LOOK 16384

static _Thread_local struct fence {
    struct {
        void *at;
        size_t n;
    } blocks[MAX_BLOCKS];
    size_t left;          /* bytes that may still be taken */
    uint64_t inflated;    /* bytes that a PNG's data must inflate to */
    uint64_t checks_left; /* assertions that may still be passed */
    struct stopwatch stopwatch;
    enum refusal refusal;        /* the last one */
    int width, height, channels; /* what the library found */
    jmp_buf escape;
} fence;

/* Zeroed, because v2.27 reads places that a damaged file has never filled. */
static void *fence_malloc(size_t n)
{
    int i = 0;
    while (i < MAX_BLOCKS && fence.blocks[i].at)
        i++;
    if (i == MAX_BLOCKS || n > fence.left) {
        fence.refusal = REFUSED_BUDGET;
        return NULL;
    }
    void *p = calloc(1, n);
    if (!p) {
        fence.refusal = REFUSED_MEMORY;
        return NULL;
    }
    fence.blocks[i].at = p;
    fence.blocks[i].n = n;
    fence.left -= n;
    return p;
}

static void fence_free(void *p)
{
    for (int i = 0; p && i < MAX_BLOCKS; i++)
        if (fence.blocks[i].at == p) {
            free(p);
            fence.blocks[i].at = NULL;
            fence.left += fence.blocks[i].n;
            return;
        }
}

/* All image data are one chunk here, so that a block which grows is the one that they are inflated
 * to; where it has room for the whole picture already, the file is a bomb. */
static void *fence_realloc(void *p, size_t old, size_t n)
{
    if (p && old >= fence.inflated) {
        fence.refusal = REFUSED_EXCESS;
        return NULL;
    }
    void *q = fence_malloc(n);
    if (q && p) {
        memcpy(q, p, old);
        fence_free(p);
    }
    return q;
}

/* The library's assertions, some of which a file can make fail. They are also where the work of
 * inflating shows: a Huffman table passes one per symbol, and ten bits of input can ask for a new
 * table. */
static void fence_assert(bool holds)
{
    if (!holds)
        fence.refusal = REFUSED_NOTHING;
    else if (fence.checks_left-- == 0)
        fence.refusal = REFUSED_WORK;
    else if (fence.checks_left % CHECKS_PER_LOOK == 0 && stopwatch_expired(&fence.stopwatch))
        fence.refusal = REFUSED_TIME;
    else
        return;
    longjmp(fence.escape, 1);
}

/* Some 7 ns each. An ordinary PNG has less than one in three bytes, one whose encoder flushed after
 * every row of eighty bytes has four for each. */
static uint64_t checks_for(const struct scan *scan)
{
    uint64_t checks = (4 << 20) + 4 * scan->png.inflated;
    uint64_t most = 128 << 20;
    return !scan->png.inflated ? UINT64_MAX : checks < most ? checks : most;
}

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#ifndef HAVE_TURBOJPEG
#define STBI_ONLY_JPEG
#endif
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_NO_FAILURE_STRINGS
#define STBI_ASSERT(x) fence_assert(x)
#define STBI_MALLOC(n) fence_malloc(n)
#define STBI_REALLOC_SIZED(p, old, n) fence_realloc(p, old, n)
#define STBI_REALLOC(p, n) fence_realloc(p, 0, n)
#define STBI_FREE(p) fence_free(p)
#include <stb/stb_image.h>

static enum rn_status failure(const char *format, const struct scan *scan,
                              const struct rn_image_limits *limits, struct rn_error *err)
{
    switch (fence.refusal) {
    case REFUSED_MEMORY:
        return rn_fail(err, RN_NO_MEMORY, "no memory to decode a %s of %d×%d pixels", format,
                       scan->width, scan->height);
    case REFUSED_BUDGET:
        return rn_fail(err, RN_IMAGE_TOO_MUCH_MEMORY,
                       "decoding %d×%d pixels takes more than %zu bytes", scan->width, scan->height,
                       limits->max_memory);
    case REFUSED_EXCESS:
        return rn_fail(err, RN_IMAGE_CORRUPT,
                       "the PNG has more data than the %d×%d pixels that it claims", scan->width,
                       scan->height);
    case REFUSED_WORK:
        return rn_fail(err, RN_IMAGE_CORRUPT,
                       "the compressed data of the PNG are cut into too many blocks");
    case REFUSED_TIME:
        return stopwatch_fail(limits, err);
    default:
        return rn_fail(err, RN_IMAGE_CORRUPT, "the image data of the %s are damaged", format);
    }
}

/* Pixels of the whole file in `channels` bytes each, or in its own number of channels for 0; NULL
 * on failure. */
static uint8_t *load_checked(const uint8_t *bytes, size_t n, const struct scan *scan, int channels)
{
    uint8_t *pixels = stbi_load_from_memory(bytes, (int)n, &fence.width, &fence.height,
                                            &fence.channels, channels);
    bool as_scanned = pixels && fence.width == scan->width && fence.height == scan->height &&
                      (channels != 0 || fence.channels == scan->png.channels);
    return as_scanned ? pixels : NULL;
}

/* The same behind the fence. End with fence_free(). */
static uint8_t *load(const uint8_t *bytes, size_t n, const struct scan *scan,
                     const struct rn_image_limits *limits, int channels)
{
    size_t most = INT_MAX; /* the library counts in int */
    fence = (struct fence){
        .left = limits->max_memory < most ? limits->max_memory : most,
        .inflated = scan->png.inflated,
        .checks_left = checks_for(scan),
        .stopwatch = stopwatch_start(limits),
    };
    if (n <= most && !setjmp(fence.escape)) {
        uint8_t *pixels = load_checked(bytes, n, scan, channels);
        if (pixels)
            return pixels;
    }
    /* Left by the jump, or by the library, which forgets some when it fails. */
    for (int i = 0; i < MAX_BLOCKS; i++)
        fence_free(fence.blocks[i].at);
    return NULL;
}

static uint8_t *append(uint8_t *to, const void *from, size_t n)
{
    memcpy(to, from, n);
    return to + n;
}

static uint8_t *append_be32(uint8_t *to, size_t value)
{
    uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                        (uint8_t)value};
    return append(to, bytes, 4);
}

/* A PNG of the header, one IDAT chunk and the end, from a file that has passed its scan. Checksums
 * are zero: the library does not read them and the scan has. */
static uint8_t *repack_png(const uint8_t *bytes, const struct scan *scan, size_t *n)
{
    enum { SIGNATURE_AND_HEADER = 33, HEADER_COLOUR = 25 };
    *n = SIGNATURE_AND_HEADER + 12 + scan->png.idat_bytes + 12;
    uint8_t *packed = malloc(*n);
    if (!packed)
        return NULL;
    uint8_t *to = append(packed, bytes, SIGNATURE_AND_HEADER);
    if (scan->png.colour == SCAN_COLOUR_PALETTE)
        packed[HEADER_COLOUR] = SCAN_COLOUR_GREY;
    to = append_be32(to, scan->png.idat_bytes);
    to = append(to, "IDAT", 4);
    const uint8_t *from = bytes + SIGNATURE_AND_HEADER;
    for (; memcmp(from + 4, "IEND", 4) != 0; from += 12 + scan_be32(from))
        if (memcmp(from + 4, "IDAT", 4) == 0)
            to = append(to, from + 8, scan_be32(from));
    to = append_be32(to, 0);
    (void)append(to, "\0\0\0\0IEND\0\0\0", 12);
    return packed;
}

/* What a grey value of a palette picture means: the library spreads indices over 0…255. Indices
 * that the palette lacks are grey, as in Pillow. */
static void spread_palette(const struct scan_of_png *png, uint8_t colours[256][3])
{
    int spread = 255 / ((1 << png->depth) - 1);
    for (int i = 0; i * spread < 256; i++)
        for (int c = 0; c < 3; c++)
            colours[i * spread][c] =
                i < png->palette_entries ? png->palette[3 * i + c] : (uint8_t)i;
}

static void row_to_rgb(const struct scan_of_png *png, uint8_t colours[256][3], const uint8_t *from,
                       int width, uint8_t *to)
{
    bool grey = png->channels <= 2;
    for (int x = 0; x < width; x++, from += png->channels, to += 3) {
        if (png->colour == SCAN_COLOUR_PALETTE) {
            memcpy(to, colours[*from], 3);
        } else {
            to[0] = from[0];
            to[1] = from[grey ? 0 : 1];
            to[2] = from[grey ? 0 : 2];
        }
    }
}

static enum rn_status paint_png(const uint8_t *pixels, const struct scan *scan,
                                struct canvas *canvas, struct rn_error *err)
{
    uint8_t colours[256][3] = {0};
    if (scan->png.palette)
        spread_palette(&scan->png, colours);
    size_t width = (size_t)scan->width;
    uint8_t *row = malloc(3 * width);
    if (!row)
        return rn_fail(err, RN_NO_MEMORY, "no memory for a row of %d pixels", scan->width);
    enum rn_status status = canvas_open(canvas, err);
    for (int y = 0; !status && y < scan->height; y++) {
        const uint8_t *from = pixels + (size_t)y * width * (size_t)scan->png.channels;
        row_to_rgb(&scan->png, colours, from, scan->width, row);
        canvas_put_row(canvas, y, row);
    }
    free(row);
    return status;
}

static enum rn_status decode_png(const uint8_t *bytes, size_t n, const struct scan *scan,
                                 const struct rn_image_limits *limits, int reduction,
                                 struct canvas *canvas, struct rn_error *err)
{
    (void)n;
    (void)reduction;
    size_t packed_bytes;
    uint8_t *packed = repack_png(bytes, scan, &packed_bytes);
    if (!packed)
        return rn_fail(err, RN_NO_MEMORY, "no memory for a copy of the image data");
    uint8_t *pixels = load(packed, packed_bytes, scan, limits, 0);
    free(packed);
    if (!pixels)
        return failure("PNG", scan, limits, err);
    enum rn_status status = paint_png(pixels, scan, canvas, err);
    fence_free(pixels);
    return status;
}

/* The peak is the inflated data together with the samples, and half of these again for the last
 * pass of an interlaced picture; or, if that is less, 8-bit samples with the canvas. */
static uint64_t memory_png(const struct scan *scan)
{
    const struct scan_of_png *png = &scan->png;
    uint64_t pixels = (uint64_t)scan->width * (uint64_t)scan->height;
    uint64_t bytes = png->depth == 16 ? 2 : 1;
    uint64_t samples = pixels * (uint64_t)png->channels;
    uint64_t unpacking = png->inflated + samples * bytes;
    if (png->interlaced)
        unpacking += samples * bytes / 2;
    uint64_t painting = samples + 3 * pixels;
    return 2 * (uint64_t)png->idat_bytes + (unpacking > painting ? unpacking : painting);
}

const struct decoder decode_stb_png = {RN_FORMAT_PNG, memory_png, false, decode_png};

#ifndef HAVE_TURBOJPEG

static enum rn_status decode_jpeg(const uint8_t *bytes, size_t n, const struct scan *scan,
                                  const struct rn_image_limits *limits, int reduction,
                                  struct canvas *canvas, struct rn_error *err)
{
    (void)reduction;
    if (scan->jpeg.default_huffman)
        return rn_fail(err, RN_UNSUPPORTED_FORMAT,
                       "a JPEG without its Huffman tables is not supported by this build");
    if (scan->jpeg.components == 4 && !scan->jpeg.adobe)
        return rn_fail(err, RN_UNSUPPORTED_FORMAT,
                       "a CMYK JPEG without an Adobe marker is not supported by this build");
    uint8_t *pixels = load(bytes, n, scan, limits, 3);
    if (!pixels)
        return failure("JPEG", scan, limits, err);
    enum rn_status status = canvas_open(canvas, err);
    for (int y = 0; !status && y < scan->height; y++)
        canvas_put_row(canvas, y, pixels + 3 * (size_t)y * (size_t)scan->width);
    fence_free(pixels);
    return status;
}

/* The planes, with 16-bit coefficients if progressive, and the pixels; or pixels and canvas. */
static uint64_t memory_jpeg(const struct scan *scan)
{
    uint64_t rgb = 3 * (uint64_t)scan->width * (uint64_t)scan->height;
    uint64_t planes = scan->jpeg.plane_bytes * (scan->jpeg.progressive ? 3 : 1);
    return rgb + (planes > rgb ? planes : rgb);
}

const struct decoder decode_stb_jpeg = {RN_FORMAT_JPEG, memory_jpeg, false, decode_jpeg};

#endif
