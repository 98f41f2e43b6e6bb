/* What a walk over an image file finds before any decoder sees it: the size, where the Exif data
 * are, and the numbers that tell an honest file from a bomb.
 *
 * Pure and without allocation; pointers in struct scan borrow from the file's bytes. The limits on
 * sides, pixels and scans are applied as soon as the header that breaks them has been read, so a
 * file that is too large and damaged is reported as too large. What a decoder will find anyway is
 * left to it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_IMAGE_SCAN_H
#define RESNETD_ENGINE_IMAGE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"

enum scan_colour {
    SCAN_COLOUR_GREY = 0,
    SCAN_COLOUR_RGB = 2,
    SCAN_COLOUR_PALETTE = 3,
    SCAN_COLOUR_GREY_ALPHA = 4,
    SCAN_COLOUR_RGBA = 6,
};

struct scan_of_jpeg {
    int components;        /* 1, 3 or 4 */
    int n_scans;           /* start-of-scan markers */
    bool progressive;      /* SOF2 */
    bool adobe;            /* has an Adobe marker, which says how 4 components are to be read */
    bool default_huffman;  /* uses a Huffman table that it does not define, as Motion JPEG does */
    uint64_t plane_bytes;  /* samples of all components, padded to whole MCUs */
    uint64_t block_visits; /* 8×8 blocks of each scan, summed over the scans: the work */
};

struct scan_of_png {
    int depth; /* bits per sample */
    enum scan_colour colour;
    int channels;
    bool interlaced;
    const uint8_t *palette; /* [palette_entries][3], NULL without */
    int palette_entries;
    size_t idat_bytes; /* compressed, all IDAT chunks together */
    uint64_t inflated; /* what they must inflate to, filter bytes included */
};

struct scan {
    int width, height;   /* as stored, before orientation */
    const uint8_t *exif; /* the TIFF structure inside the Exif data, NULL without */
    size_t exif_bytes;
    struct scan_of_jpeg jpeg;
    struct scan_of_png png;
};

/* `bytes` start with the format's magic. *out is written on success only. RN_UNSUPPORTED_FORMAT,
 * RN_IMAGE_*. */
RN_MUST_USE enum rn_status scan_jpeg(const uint8_t *bytes, size_t n,
                                     const struct rn_image_limits *limits, struct scan *out,
                                     struct rn_error *err);
RN_MUST_USE enum rn_status scan_png(const uint8_t *bytes, size_t n,
                                    const struct rn_image_limits *limits, struct scan *out,
                                    struct rn_error *err);

/* The limits on sides and pixels. `kind` names what may have half of max_pixels only, NULL for
 * what may have all of it. */
RN_MUST_USE enum rn_status scan_check_size(uint32_t width, uint32_t height, const char *kind,
                                           const struct rn_image_limits *limits,
                                           struct rn_error *err);

static inline uint32_t scan_be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t scan_be32(const uint8_t *p)
{
    return scan_be16(p) << 16 | scan_be16(p + 2);
}

#endif
