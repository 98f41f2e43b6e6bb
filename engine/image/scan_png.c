/* Walks the chunks of a whole PNG file and refuses what no decoder should see: a damaged header,
 * wrong checksums of critical chunks, chunks by the thousand, compressed data that cannot belong to
 * an image of this size, a file that ends early.
 *
 * Pure, without allocation, any thread. Nothing is inflated here. Reference: PNG specification
 * (W3C), chapters 5 and 11.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/image/scan.h"

#include <inttypes.h>

#define MAX_CHUNKS 10000
#define SIGNATURE_BYTES 8
/* Deflate needs at least two bits for 258 bytes. */
#define DEFLATE_MAX_RATIO 1032
/* More than any encoder wastes: the data again, and 64 KiB. */
#define DEFLATE_SLACK_BYTES 65536

#define CHUNK(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

enum chunk_type {
    CHUNK_IHDR = CHUNK('I', 'H', 'D', 'R'),
    CHUNK_PLTE = CHUNK('P', 'L', 'T', 'E'),
    CHUNK_IDAT = CHUNK('I', 'D', 'A', 'T'),
    CHUNK_IEND = CHUNK('I', 'E', 'N', 'D'),
    CHUNK_EXIF = CHUNK('e', 'X', 'I', 'f'),
};

struct chunk {
    uint32_t type;
    const uint8_t *name; /* four letters, then the data */
    const uint8_t *data;
    size_t n;
};

struct walk {
    const struct rn_image_limits *limits;
    struct rn_error *err;
    struct scan scan;
    uint32_t last_type;
    uint32_t crc_table[256];
};

static void init_crc(uint32_t table[256])
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        table[i] = c;
    }
}

static bool crc_matches(const struct walk *w, const struct chunk *chunk)
{
    uint32_t crc = 0xffffffffu;
    const uint8_t *end = chunk->data + chunk->n;
    for (const uint8_t *p = chunk->name; p < end; p++)
        crc = w->crc_table[(crc ^ *p) & 255] ^ crc >> 8;
    return ~crc == scan_be32(end);
}

/* Channels of a colour type, 0 where depth and colour do not go together. */
static int channels_of(int depth, int colour)
{
    bool power_of_two = depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
    switch (colour) {
    case SCAN_COLOUR_GREY:
        return power_of_two ? 1 : 0;
    case SCAN_COLOUR_PALETTE:
        return power_of_two && depth <= 8 ? 1 : 0;
    case SCAN_COLOUR_GREY_ALPHA:
        return depth == 8 || depth == 16 ? 2 : 0;
    case SCAN_COLOUR_RGB:
        return depth == 8 || depth == 16 ? 3 : 0;
    case SCAN_COLOUR_RGBA:
        return depth == 8 || depth == 16 ? 4 : 0;
    default:
        return 0;
    }
}

/* Bytes of a width×height image after inflating: each row has a filter byte in front. */
static uint64_t filtered_bytes(uint64_t width, uint64_t height, int bits)
{
    return width ? ((width * (uint64_t)bits + 7) / 8 + 1) * height : 0;
}

/* The same for the seven reduced images of Adam7. */
static uint64_t interlaced_bytes(uint64_t width, uint64_t height, int bits)
{
    static const struct {
        uint8_t x, y, dx, dy;
    } passes[7] = {
        {0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
        {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2},
    };
    uint64_t sum = 0;
    for (int i = 0; i < 7; i++) {
        uint64_t w = (width + passes[i].dx - 1 - passes[i].x) / passes[i].dx;
        uint64_t h = (height + passes[i].dy - 1 - passes[i].y) / passes[i].dy;
        sum += filtered_bytes(w, h, bits);
    }
    return sum;
}

static enum rn_status read_header(struct walk *w, const struct chunk *chunk)
{
    struct scan_of_png *png = &w->scan.png;
    if (chunk->n != 13)
        return rn_fail(w->err, RN_IMAGE_CORRUPT, "the header of the PNG has %zu bytes, not 13",
                       chunk->n);
    uint32_t width = scan_be32(chunk->data), height = scan_be32(chunk->data + 4);
    if (width == 0 || height == 0 || width > INT32_MAX || height > INT32_MAX)
        return rn_fail(w->err, RN_IMAGE_CORRUPT, "the PNG says that it is %" PRIu32 "×%" PRIu32,
                       width, height);
    enum rn_status status = scan_check_size(width, height, "a PNG", w->limits, w->err);
    if (status)
        return status;

    const uint8_t *kind = chunk->data + 8; /* depth, colour, compression, filter, interlace */
    png->channels = channels_of(kind[0], kind[1]);
    if (!png->channels || kind[2] != 0 || kind[3] != 0 || kind[4] > 1)
        return rn_fail(w->err, RN_IMAGE_CORRUPT,
                       "the PNG has depth %d, colour type %d, compression %d, filter %d, "
                       "interlacing %d, which do not exist together",
                       kind[0], kind[1], kind[2], kind[3], kind[4]);
    w->scan.width = (int)width;
    w->scan.height = (int)height;
    png->depth = kind[0];
    png->colour = (enum scan_colour)kind[1];
    png->interlaced = kind[4];
    int bits = png->depth * png->channels;
    png->inflated = png->interlaced ? interlaced_bytes(width, height, bits)
                                    : filtered_bytes(width, height, bits);
    return RN_OK;
}

static enum rn_status read_palette(struct walk *w, const struct chunk *chunk)
{
    struct scan_of_png *png = &w->scan.png;
    if (png->colour != SCAN_COLOUR_PALETTE) /* a suggestion, for screens with few colours */
        return RN_OK;
    if (png->palette || png->idat_bytes || chunk->n == 0 || chunk->n > 768 || chunk->n % 3)
        return rn_fail(w->err, RN_IMAGE_CORRUPT,
                       "the palette of the PNG is damaged or not in its place");
    png->palette = chunk->data;
    png->palette_entries = (int)(chunk->n / 3);
    return RN_OK;
}

static enum rn_status read_data(struct walk *w, const struct chunk *chunk)
{
    struct scan_of_png *png = &w->scan.png;
    if (png->idat_bytes && w->last_type != CHUNK_IDAT)
        return rn_fail(w->err, RN_IMAGE_CORRUPT, "the image data of the PNG are not in one piece");
    if (png->colour == SCAN_COLOUR_PALETTE && !png->palette)
        return rn_fail(w->err, RN_IMAGE_CORRUPT, "the PNG lacks its palette");
    png->idat_bytes += chunk->n;
    return RN_OK;
}

static enum rn_status read_chunk(struct walk *w, const struct chunk *chunk)
{
    bool critical = !(chunk->name[0] & 0x20);
    if (critical && !crc_matches(w, chunk))
        return rn_fail(w->err, RN_IMAGE_CORRUPT, "the checksum of a PNG chunk (%.4s) is wrong",
                       (const char *)chunk->name);
    switch (chunk->type) {
    case CHUNK_IHDR:
        if (w->last_type)
            return rn_fail(w->err, RN_IMAGE_CORRUPT, "the PNG has more than one header");
        return read_header(w, chunk);
    case CHUNK_PLTE:
        return read_palette(w, chunk);
    case CHUNK_IDAT:
        return read_data(w, chunk);
    case CHUNK_EXIF:
        if (!crc_matches(w, chunk))
            return RN_OK; /* as if it were not there */
        w->scan.exif = chunk->data;
        w->scan.exif_bytes = chunk->n;
        return RN_OK;
    case CHUNK_IEND:
        return RN_OK;
    default:
        if (critical)
            return rn_fail(w->err, RN_IMAGE_CORRUPT, "the PNG has an unknown critical chunk, %.4s",
                           (const char *)chunk->name);
        return RN_OK;
    }
}

static enum rn_status truncated(const struct walk *w, size_t n)
{
    return rn_fail(w->err, RN_IMAGE_TRUNCATED, "the PNG ends after %zu bytes, before its end chunk",
                   n);
}

static bool is_name(const uint8_t *p)
{
    for (int i = 0; i < 4; i++) {
        uint8_t lower = p[i] | 0x20;
        if (lower < 'a' || lower > 'z')
            return false;
    }
    return true;
}

/* Chunks from the signature to IEND. */
static enum rn_status walk_chunks(struct walk *w, const uint8_t *bytes, size_t n)
{
    size_t at = SIGNATURE_BYTES;
    for (int count = 0; w->last_type != CHUNK_IEND; count++) {
        if (count == MAX_CHUNKS)
            return rn_fail(w->err, RN_IMAGE_CORRUPT, "the PNG has more than %d chunks", MAX_CHUNKS);
        if (n - at < 8)
            return truncated(w, n);
        const uint8_t *p = bytes + at;
        struct chunk chunk = {scan_be32(p + 4), p + 4, p + 8, scan_be32(p)};
        if (!is_name(chunk.name) || chunk.n > INT32_MAX)
            return rn_fail(w->err, RN_IMAGE_CORRUPT,
                           "there is no chunk of the PNG at byte %zu, where one must be", at);
        if (count == 0 && chunk.type != CHUNK_IHDR)
            return rn_fail(w->err, RN_IMAGE_CORRUPT, "the PNG starts with %.4s, not with IHDR",
                           (const char *)chunk.name);
        if (n - at < 12 + chunk.n)
            return truncated(w, n);
        enum rn_status status = read_chunk(w, &chunk);
        if (status)
            return status;
        w->last_type = chunk.type;
        at += 12 + chunk.n;
    }
    return RN_OK;
}

enum rn_status scan_png(const uint8_t *bytes, size_t n, const struct rn_image_limits *limits,
                        struct scan *out, struct rn_error *err)
{
    struct walk w = {.limits = limits, .err = err};
    init_crc(w.crc_table);
    enum rn_status status = walk_chunks(&w, bytes, n);
    if (status)
        return status;
    const struct scan_of_png *png = &w.scan.png;
    if (png->idat_bytes == 0)
        return rn_fail(err, RN_IMAGE_CORRUPT, "the PNG has no image data");
    if (png->idat_bytes < png->inflated / DEFLATE_MAX_RATIO ||
        png->idat_bytes > 2 * png->inflated + DEFLATE_SLACK_BYTES)
        return rn_fail(err, RN_IMAGE_CORRUPT,
                       "%zu bytes of compressed data cannot be a PNG of %d×%d pixels",
                       png->idat_bytes, w.scan.width, w.scan.height);
    *out = w.scan;
    return RN_OK;
}
