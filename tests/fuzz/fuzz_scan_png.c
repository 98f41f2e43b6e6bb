/* libFuzzer target: any bytes through the walk over a PNG file, which must bound what a decoder
 * does. `make fuzz` runs it.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "engine/image/scan.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char magic[] = "\x89PNG\r\n\x1a\n";
    const struct rn_image_limits *limits = &rn_image_limits_default;
    struct scan scan;
    if (n < sizeof magic - 1 || memcmp(bytes, magic, sizeof magic - 1) != 0 ||
        scan_png(bytes, n, limits, &scan, NULL) != RN_OK)
        return 0;
    if (scan.width < 1 || scan.height < 1 || scan.width > limits->max_side ||
        scan.height > limits->max_side ||
        (uint64_t)scan.width * (uint64_t)scan.height > limits->max_pixels)
        abort();
    if (scan.exif && (scan.exif < bytes || scan.exif + scan.exif_bytes > bytes + n))
        abort();
    const struct scan_of_png *png = &scan.png;
    if (png->palette &&
        (png->palette < bytes || png->palette + 3 * png->palette_entries > bytes + n))
        abort();
    if (png->idat_bytes > n || png->inflated < (uint64_t)scan.height)
        abort();
    return 0;
}
