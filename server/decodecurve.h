/* What it costs to decode an image of so many pixels: one line, a constant and a price per pixel,
 * for each way of decoding. A JPEG that is reduced by its DCT is another way than a whole one.
 *
 * Pure, and plain data: a copy travels with the order to a decode helper. Times are nanoseconds.
 * Lines are learned by least squares that forget; where only images of one size were seen, they
 * say little about others, and the price stays near a guess that is too low rather than too high:
 * what is admitted by mistake teaches, what is refused by mistake does not.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_DECODECURVE_H
#define RESNETD_SERVER_DECODECURVE_H

#include <stdint.h>

#include "engine/engine.h"

#define DECODECURVE_WAYS 5 /* JPEG whole, 1/2, 1/4, 1/8; PNG */

struct decodecurve {
    struct decodecurve_way {
        double n, x, y, xx, xy; /* decayed sums; x in megapixels */
        double fastest;         /* the best time ever seen, in expected ones */
    } ways[DECODECURVE_WAYS];
};

/* Zeroed is an empty curve. The way of an image whose format and reduction (1, 2, 4, 8) these are.
 */
int decodecurve_way(enum rn_image_format format, int reduction);
const char *decodecurve_format(int way);
int decodecurve_reduction(int way);

/* An image of so many pixels took so long. */
void decodecurve_learn(struct decodecurve *curve, int way, double n_pixels, uint64_t duration_ns);
/* One was refused because of what is expected: expects a little less from now on, so that no wrong
 * line locks the door. */
void decodecurve_doubt(struct decodecurve *curve, int way);

/* 0 where nothing is known. */
uint64_t decodecurve_expected_ns(const struct decodecurve *curve, int way, double n_pixels);
/* At the best speed ever seen. */
uint64_t decodecurve_fastest_ns(const struct decodecurve *curve, int way, double n_pixels);

#endif
