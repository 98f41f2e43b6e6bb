/* The limits on the size of an image, which both formats' scans apply. Pure, any thread.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/image/scan.h"

#include <inttypes.h>

static void note(struct rn_error *err, uint32_t width, uint32_t height, uint64_t limit)
{
    if (!err)
        return;
    err->width = width;
    err->height = height;
    err->limit = limit;
}

enum rn_status scan_check_size(uint32_t width, uint32_t height, const char *kind,
                               const struct rn_image_limits *limits, struct rn_error *err)
{
    uint32_t longest = width > height ? width : height;
    if (longest > (uint32_t)limits->max_side) {
        note(err, width, height, (uint64_t)limits->max_side);
        return rn_fail(err, RN_IMAGE_SIDE_TOO_LONG,
                       "%" PRIu32 "×%" PRIu32 " pixels, the limit for a side is %d", width, height,
                       limits->max_side);
    }
    uint64_t pixels = (uint64_t)width * height;
    uint64_t limit = kind ? limits->max_pixels / 2 : limits->max_pixels;
    if (pixels > limit) {
        note(err, width, height, limit);
        return rn_fail(err, RN_IMAGE_TOO_MANY_PIXELS,
                       "%" PRIu32 "×%" PRIu32 " = %" PRIu64 " pixels, the limit%s%s is %" PRIu64,
                       width, height, pixels, kind ? " for " : "", kind ? kind : "", limit);
    }
    return RN_OK;
}
