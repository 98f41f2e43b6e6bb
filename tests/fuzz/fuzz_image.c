/* libFuzzer target: any bytes through probe, decode, crop and normalize. `make fuzz` runs it;
 * JPEG=stb sends JPEG through stb_image too. tests/golden/images is a good first corpus.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "engine/engine.h"
#include "tests/fuzz/fuzz.h"

enum { CROP = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const struct rn_recipe recipe = {
        .resize = CROP + 1, .crop = CROP, .interpolation = RN_BICUBIC, .std = {1, 1, 1}};
    struct rn_image_limits limits = rn_image_limits_default;
    limits.max_pixels = 1 << 18; /* what is larger is only slower */
    struct rn_image_info info;
    struct rn_image image;
    enum rn_status probed = rn_image_probe(bytes, n, &limits, &info, NULL);
    if (rn_image_decode_for(bytes, n, &limits, &recipe, &image, NULL) != RN_OK)
        return 0;
    if (probed != RN_OK || info.width != image.info.width || info.height != image.info.height)
        abort();
    uint8_t rgb[3 * CROP * CROP];
    float tensor[3 * CROP * CROP];
    if (rn_image_crop(&image, &recipe, rgb, NULL) == RN_OK)
        rn_image_normalize(rgb, &recipe, tensor);
    rn_image_done(&image);
    return 0;
}
