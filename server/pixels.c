/* Header, time check, pixels, resize and crop.
 *
 * SPDX-License-Identifier: MIT */
#include "server/pixels.h"

#include <uv.h>

/* After the header is known: can the image be done in time? */
static enum pixels_verdict check_time(const struct pixels_order *order,
                                      struct pixels_result *result)
{
    const uint64_t now_ns = uv_hrtime();
    if (order->deadline_ns <= now_ns)
        return PIXELS_LATE;
    const double n_pixels = (double)result->info.width * result->info.height;
    result->left_ns = order->deadline_ns - now_ns;
    const int way = decodecurve_way(
        result->info.format, rn_image_reduction(&result->info, &order->limits, &order->recipe));
    const struct decode_bounds *bounds = &order->bounds;
    result->predicted_ns =
        bounds->run_ns + (bounds->fastest ? decodecurve_fastest_ns(&bounds->curve, way, n_pixels)
                                          : decodecurve_expected_ns(&bounds->curve, way, n_pixels));
    return result->predicted_ns > result->left_ns ? PIXELS_UNMEETABLE : PIXELS_MADE;
}

/* For people, hence from all pixels: those for the network may be reduced. */
static enum rn_status preview(const struct pixels_order *order, const uint8_t *bytes, size_t n,
                              struct rn_error *err, uint8_t *rgb)
{
    struct rn_image image;
    int width, height;
    enum rn_status status = rn_image_decode(bytes, n, &order->limits, &image, err);
    if (status != RN_OK)
        return status;
    rn_image_fit(image.info.width, image.info.height, PIXELS_PREVIEW_SIDE, &width, &height);
    status = rn_image_scale(&image, width, height, rgb, err);
    rn_image_done(&image);
    return status;
}

static enum rn_status decode(const struct pixels_order *order, const uint8_t *bytes, size_t n,
                             struct pixels_result *result, uint8_t *rgb)
{
    struct rn_image image;
    enum rn_status status =
        rn_image_decode_for(bytes, n, &order->limits, &order->recipe, &image, &result->err);
    if (status != RN_OK)
        return status;
    result->decode_end_ns = uv_hrtime();
    status = rn_image_crop(&image, &order->recipe, rgb, &result->err);
    rn_image_done(&image);
    if (status == RN_OK && order->preview)
        status = preview(order, bytes, n, &result->err,
                         rgb + 3 * (size_t)order->recipe.crop * (size_t)order->recipe.crop);
    result->crop_end_ns = uv_hrtime();
    return status;
}

void pixels_make(const struct pixels_order *order, const uint8_t *bytes, size_t n,
                 struct pixels_result *result, uint8_t *rgb)
{
    *result = (struct pixels_result){.start_ns = uv_hrtime()};
    result->status = rn_image_probe(bytes, n, &order->limits, &result->info, &result->err);
    result->has_info = result->status == RN_OK;
    if (result->has_info) {
        result->verdict = check_time(order, result);
        if (result->verdict != PIXELS_MADE)
            return;
        result->status = decode(order, bytes, n, result, rgb);
    }
    result->verdict = result->status == RN_OK ? PIXELS_MADE : PIXELS_REFUSED;
}
