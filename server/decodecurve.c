/* Ridge regression over decayed sums: the guess counts like images spread over some distance.
 *
 * SPDX-License-Identifier: MIT */
#include "server/decodecurve.h"

#define FORGET 0.98       /* weight of the past after one more image */
#define GUESS 1e6         /* nanoseconds for a megapixel: what the quickest decoders need */
#define GUESS_SPREAD 0.01 /* of sizes in megapixels, squared, from which on data beat the guess */
#define OUTLIER 4         /* a time counts at most this many times the expected one */
#define DOUBT 0.99

int decodecurve_way(enum rn_image_format format, int reduction)
{
    int way = 0;
    if (format == RN_FORMAT_PNG)
        return DECODECURVE_WAYS - 1;
    while (reduction > 1 && way < DECODECURVE_WAYS - 2) {
        reduction /= 2;
        way++;
    }
    return way;
}

const char *decodecurve_format(int way)
{
    return rn_image_format_name(way == DECODECURVE_WAYS - 1 ? RN_FORMAT_PNG : RN_FORMAT_JPEG);
}

int decodecurve_reduction(int way)
{
    return way == DECODECURVE_WAYS - 1 ? 1 : 1 << way;
}

static double expected(const struct decodecurve_way *way, double x)
{
    if (way->n <= 0)
        return 0;
    const double mean_x = way->x / way->n, mean_y = way->y / way->n;
    const double spread = way->xx - way->x * mean_x, both = way->xy - way->y * mean_x;
    double slope = (both + GUESS_SPREAD * GUESS) / ((spread > 0 ? spread : 0) + GUESS_SPREAD);
    if (slope < 0)
        slope = 0;
    if (slope * mean_x > mean_y) /* no negative constant */
        slope = mean_y / mean_x;
    return mean_y + slope * (x - mean_x);
}

void decodecurve_learn(struct decodecurve *curve, int number, double n_pixels, uint64_t duration_ns)
{
    struct decodecurve_way *way = &curve->ways[number];
    const double x = n_pixels / 1e6, before = expected(way, x);
    double y = duration_ns > 0 ? (double)duration_ns : 1;
    if (before > 0 && y > OUTLIER * before)
        y = OUTLIER * before;
    way->n = FORGET * way->n + 1;
    way->x = FORGET * way->x + x;
    way->y = FORGET * way->y + y;
    way->xx = FORGET * way->xx + x * x;
    way->xy = FORGET * way->xy + x * y;
    const double ratio = y / expected(way, x);
    if (way->fastest <= 0 || ratio < way->fastest)
        way->fastest = ratio < 1 ? ratio : 1;
}

void decodecurve_doubt(struct decodecurve *curve, int number)
{
    struct decodecurve_way *way = &curve->ways[number];
    way->y *= DOUBT;
    way->xy *= DOUBT;
}

uint64_t decodecurve_expected_ns(const struct decodecurve *curve, int way, double n_pixels)
{
    return (uint64_t)expected(&curve->ways[way], n_pixels / 1e6);
}

uint64_t decodecurve_fastest_ns(const struct decodecurve *curve, int way, double n_pixels)
{
    const struct decodecurve_way *of = &curve->ways[way];
    return (uint64_t)(of->fastest * expected(of, n_pixels / 1e6));
}
