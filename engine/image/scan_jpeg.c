/* Walks the markers of a whole JPEG file and refuses what no decoder should see: over-full Huffman
 * tables, more than one frame, arithmetic coding, too many scans, a file that ends early.
 *
 * Pure, without allocation, any thread. Entropy-coded data are skipped, not decoded. Reference:
 * ITU-T T.81, annexes B and C.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/image/scan.h"

#include <inttypes.h>
#include <string.h>

enum marker {
    MARKER_TEM = 0x01,
    MARKER_SOF0 = 0xc0,
    MARKER_SOF1 = 0xc1,
    MARKER_SOF2 = 0xc2,
    MARKER_DHT = 0xc4,
    MARKER_JPG = 0xc8,
    MARKER_DAC = 0xcc,
    MARKER_SOF15 = 0xcf,
    MARKER_RST0 = 0xd0,
    MARKER_RST7 = 0xd7,
    MARKER_SOI = 0xd8,
    MARKER_EOI = 0xd9,
    MARKER_SOS = 0xda,
    MARKER_DQT = 0xdb,
    MARKER_APP1 = 0xe1,
    MARKER_APP14 = 0xee,
};

#define END (0xff00 | MARKER_EOI)

/* Decoding costs about 120 ns per block and scan, so that this is well under a second. */
#define MAX_BLOCK_VISITS 6000000

struct component {
    uint8_t id, h, v, quantization;
};

struct walk {
    const uint8_t *at, *end;
    const struct rn_image_limits *limits;
    struct rn_error *err;
    struct scan scan;
    struct component components[4];
    uint32_t h_max, v_max;
    unsigned huffman;      /* bit 4 * class + number of each table defined so far */
    unsigned quantization; /* bit number */
    unsigned coded;        /* bit number of each component that a scan has had */
};

/* The bytes of a marker segment after its length. */
struct segment {
    const uint8_t *at;
    size_t n;
};

/* The next marker, past fill bytes, stuffed zeros and whatever is no marker; false at the end. */
static bool next_marker(struct walk *w, uint8_t *marker)
{
    while ((w->at = memchr(w->at, 0xff, (size_t)(w->end - w->at)))) {
        while (w->at < w->end && *w->at == 0xff)
            w->at++;
        if (w->at == w->end)
            return false;
        *marker = *w->at++;
        if (*marker)
            return true;
    }
    return false;
}

static enum rn_status read_quantization(struct walk *w, struct segment s)
{
    while (s.n > 0) {
        unsigned number = s.at[0] & 15;
        size_t size = s.at[0] >> 4 ? 129 : 65;
        if (number > 3 || size > s.n)
            return rn_fail(w->err, RN_IMAGE_CORRUPT, "a quantization table of the JPEG is damaged");
        w->quantization |= 1u << number;
        s.at += size;
        s.n -= size;
    }
    return RN_OK;
}

static enum rn_status read_huffman(struct walk *w, struct segment s)
{
    while (s.n > 0) {
        if (s.n < 17)
            return rn_fail(w->err, RN_IMAGE_CORRUPT, "a Huffman table of the JPEG is cut off");
        unsigned class = s.at[0] >> 4, number = s.at[0] & 15;
        unsigned symbols = 0, codes = 0;
        bool fits = class <= 1 && number <= 3;
        for (unsigned length = 1; length <= 16; length++) {
            symbols += s.at[length];
            codes = 2 * codes + s.at[length];
            fits = fits && codes <= 1u << length;
        }
        if (!fits || symbols > 256 || symbols > s.n - 17)
            return rn_fail(w->err, RN_IMAGE_CORRUPT,
                           "Huffman table %u of the JPEG is not a prefix code of at most 256 "
                           "symbols (it lists %u)",
                           number, symbols);
        w->huffman |= 1u << (4 * class + number);
        s.at += 17 + symbols;
        s.n -= 17 + symbols;
    }
    return RN_OK;
}

static uint64_t ceil_div(uint64_t a, uint64_t b)
{
    return (a + b - 1) / b;
}

/* Blocks of one component in an image made of whole MCUs. */
static uint64_t padded_blocks(const struct walk *w, const struct component *c)
{
    return ceil_div((uint64_t)w->scan.width, 8u * w->h_max) * c->h *
           ceil_div((uint64_t)w->scan.height, 8u * w->v_max) * c->v;
}

static enum rn_status read_components(struct walk *w, struct segment s)
{
    struct scan_of_jpeg *jpeg = &w->scan.jpeg;
    w->h_max = w->v_max = 1;
    for (int i = 0; i < jpeg->components; i++) {
        const uint8_t *p = s.at + 6 + 3 * i;
        struct component *c = &w->components[i];
        *c = (struct component){p[0], p[1] >> 4, p[1] & 15, p[2]};
        if (c->h < 1 || c->h > 4 || c->v < 1 || c->v > 4 || c->quantization > 3)
            return rn_fail(w->err, RN_IMAGE_CORRUPT,
                           "component %d of the JPEG has sampling factors %d×%d and quantization "
                           "table %d",
                           c->id, c->h, c->v, c->quantization);
        w->h_max = c->h > w->h_max ? c->h : w->h_max;
        w->v_max = c->v > w->v_max ? c->v : w->v_max;
    }
    for (int i = 0; i < jpeg->components; i++)
        jpeg->plane_bytes += 64 * padded_blocks(w, &w->components[i]);
    return RN_OK;
}

static enum rn_status read_frame(struct walk *w, uint8_t marker, struct segment s)
{
    struct scan_of_jpeg *jpeg = &w->scan.jpeg;
    if (jpeg->components)
        return rn_fail(w->err, RN_IMAGE_CORRUPT, "the JPEG has more than one frame");
    if (marker > MARKER_SOF2)
        return rn_fail(
            w->err, RN_UNSUPPORTED_FORMAT, "a JPEG with %s coding (SOF%d) is not supported",
            marker > MARKER_JPG ? "arithmetic" : "lossless or hierarchical", marker - MARKER_SOF0);
    if (s.n < 6 || s.n != 6 + 3 * (size_t)s.at[5])
        return rn_fail(w->err, RN_IMAGE_CORRUPT, "the frame header of the JPEG is damaged");
    if (s.at[0] != 8)
        return rn_fail(w->err, RN_UNSUPPORTED_FORMAT,
                       "a JPEG with %d bits per sample is not supported", s.at[0]);

    uint32_t height = scan_be16(s.at + 1), width = scan_be16(s.at + 3);
    if (width == 0 || height == 0)
        return rn_fail(w->err, RN_IMAGE_CORRUPT, "the JPEG says that it is %" PRIu32 "×%" PRIu32,
                       width, height);
    jpeg->progressive = marker == MARKER_SOF2;
    enum rn_status status = scan_check_size(
        width, height, jpeg->progressive ? "a progressive JPEG" : NULL, w->limits, w->err);
    if (status)
        return status;
    w->scan.width = (int)width;
    w->scan.height = (int)height;

    int components = s.at[5];
    if (components != 1 && components != 3 && components != 4)
        return rn_fail(w->err, RN_UNSUPPORTED_FORMAT, "a JPEG with %d components is not supported",
                       components);
    jpeg->components = components;
    return read_components(w, s);
}

static const struct component *find_component(const struct walk *w, uint8_t id)
{
    for (int i = 0; i < w->scan.jpeg.components; i++)
        if (w->components[i].id == id)
            return &w->components[i];
    return NULL;
}

/* Blocks of a component that is alone in its scan: no padding to MCUs. */
static uint64_t lone_blocks(const struct walk *w, const struct component *c)
{
    uint64_t width = ceil_div((uint64_t)w->scan.width * c->h, w->h_max);
    uint64_t height = ceil_div((uint64_t)w->scan.height * c->v, w->v_max);
    return ceil_div(width, 8) * ceil_div(height, 8);
}

static enum rn_status read_scan(struct walk *w, struct segment s)
{
    struct scan_of_jpeg *jpeg = &w->scan.jpeg;
    if (!jpeg->components)
        return rn_fail(w->err, RN_IMAGE_CORRUPT, "the JPEG has a scan before its frame header");
    if (s.n < 1 || s.at[0] < 1 || s.at[0] > jpeg->components || s.n != 4 + 2 * (size_t)s.at[0])
        return rn_fail(w->err, RN_IMAGE_CORRUPT, "a scan header of the JPEG is damaged");

    int n = s.at[0];
    const uint8_t *tail = s.at + 1 + 2 * n; /* first coefficient, last, approximation */
    bool needs_dc = !jpeg->progressive || (tail[0] == 0 && tail[2] >> 4 == 0);
    bool needs_ac = !jpeg->progressive || tail[0] > 0;
    for (int i = 0; i < n; i++) {
        const uint8_t *p = s.at + 1 + 2 * i;
        const struct component *c = find_component(w, p[0]);
        unsigned dc = p[1] >> 4, ac = p[1] & 15;
        if (!c || (needs_dc && dc > 3) || (needs_ac && ac > 3) ||
            !(w->quantization >> c->quantization & 1))
            return rn_fail(w->err, RN_IMAGE_CORRUPT,
                           "scan %d of the JPEG refers to a component or table that it lacks",
                           jpeg->n_scans + 1);
        const unsigned bit = 1u << (c - w->components);
        if (!jpeg->progressive && w->coded & bit)
            return rn_fail(w->err, RN_IMAGE_CORRUPT,
                           "scan %d of the JPEG has a component that an earlier one has had",
                           jpeg->n_scans + 1);
        w->coded |= bit;
        if ((needs_dc && !(w->huffman >> dc & 1)) || (needs_ac && !(w->huffman >> (4 + ac) & 1)))
            jpeg->default_huffman = true;
        jpeg->block_visits += n == 1 ? lone_blocks(w, c) : padded_blocks(w, c);
    }

    if (++jpeg->n_scans > w->limits->max_scans)
        return rn_fail(w->err, RN_IMAGE_TOO_MANY_SCANS, "more than %d scans in the JPEG",
                       w->limits->max_scans);
    /* What a single scan visits is bounded by the pixels. */
    if (jpeg->n_scans > 1 && jpeg->block_visits > MAX_BLOCK_VISITS)
        return rn_fail(w->err, RN_IMAGE_TOO_MANY_SCANS,
                       "%d scans visit %" PRIu64 " blocks of %d×%d pixels, the limit is %d",
                       jpeg->n_scans, jpeg->block_visits, w->scan.width, w->scan.height,
                       MAX_BLOCK_VISITS);
    return RN_OK;
}

/* Of several Exif segments the first counts, and only in front of the picture, as in Pillow. */
static void read_exif(struct walk *w, struct segment s)
{
    if (w->scan.exif || w->scan.jpeg.n_scans || s.n < 6 || memcmp(s.at, "Exif\0", 6) != 0)
        return;
    w->scan.exif = s.at + 6;
    w->scan.exif_bytes = s.n - 6;
}

static enum rn_status read_segment(struct walk *w, uint8_t marker, struct segment s)
{
    switch (marker) {
    case MARKER_DQT:
        return read_quantization(w, s);
    case MARKER_DHT:
        return read_huffman(w, s);
    case MARKER_SOS:
        return read_scan(w, s);
    case MARKER_APP1:
        read_exif(w, s);
        return RN_OK;
    case MARKER_APP14:
        w->scan.jpeg.adobe |= s.n >= 12 && memcmp(s.at, "Adobe", 5) == 0;
        return RN_OK;
    case MARKER_JPG:
    case MARKER_DAC:
        return RN_OK;
    default:
        if (marker >= MARKER_SOF0 && marker <= MARKER_SOF15)
            return read_frame(w, marker, s);
        return RN_OK;
    }
}

static enum rn_status truncated(const struct walk *w, size_t n)
{
    return rn_fail(w->err, RN_IMAGE_TRUNCATED,
                   "the JPEG ends after %zu bytes, before its end marker", n);
}

enum rn_status scan_jpeg(const uint8_t *bytes, size_t n, const struct rn_image_limits *limits,
                         struct scan *out, struct rn_error *err)
{
    struct walk w = {.at = bytes + 2, .end = bytes + n, .limits = limits, .err = err};
    for (;;) {
        uint8_t marker;
        if (!next_marker(&w, &marker))
            return truncated(&w, n);
        if (marker == MARKER_EOI)
            break;
        if (marker == MARKER_SOI)
            return rn_fail(err, RN_IMAGE_CORRUPT, "the JPEG starts twice");
        if (marker == MARKER_TEM || (marker >= MARKER_RST0 && marker <= MARKER_RST7))
            continue;

        size_t left = (size_t)(w.end - w.at);
        if (left < 2)
            return truncated(&w, n);
        size_t length = scan_be16(w.at);
        if (length < 2)
            return rn_fail(err, RN_IMAGE_CORRUPT, "a JPEG segment has a length of %zu", length);
        if (length > left && w.scan.jpeg.n_scans > 0 && scan_be16(bytes + n - 2) == END)
            return rn_fail(err, RN_IMAGE_CORRUPT,
                           "a marker in the image data of the JPEG leads beyond its end");
        if (length > left)
            return truncated(&w, n);
        struct segment segment = {w.at + 2, length - 2};
        w.at += length;
        enum rn_status status = read_segment(&w, marker, segment);
        if (status)
            return status;
    }
    if (w.scan.jpeg.n_scans == 0)
        return rn_fail(err, RN_IMAGE_CORRUPT, "the JPEG has no image data");
    *out = w.scan;
    return RN_OK;
}
