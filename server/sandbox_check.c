/* A helper may have been taken over by the image that it decodes: what it says must be possible.
 *
 * Pure.
 *
 * SPDX-License-Identifier: MIT */
#include "server/sandbox_internal.h"

bool sandbox_check_result(const struct pixels_order *order, size_t n, uint64_t now_ns,
                          struct pixels_result *r)
{
    const struct rn_image_info *info = &r->info;
    r->err.text[sizeof r->err.text - 1] = '\0';
    if (r->has_info)
        r->has_info = info->width > 0 && info->width <= order->limits.max_side &&
                      info->height > 0 && info->height <= order->limits.max_side &&
                      info->exif_orientation >= 1 && info->exif_orientation <= 8 &&
                      (unsigned)info->format <= RN_FORMAT_PNG && info->bytes == n;
    if (r->start_ns > now_ns)
        return false;
    switch (r->verdict) {
    case PIXELS_MADE:
        return r->has_info && r->status == RN_OK && r->start_ns <= r->decode_end_ns &&
               r->decode_end_ns <= r->crop_end_ns && r->crop_end_ns <= now_ns;
    case PIXELS_REFUSED:
        return r->status > RN_OK && (unsigned)r->status < RN_N_STATUSES;
    case PIXELS_LATE:
        return true;
    case PIXELS_UNMEETABLE:
        return r->left_ns < r->predicted_ns && r->predicted_ns < UINT64_C(1) << 62;
    default:
        return false;
    }
}
