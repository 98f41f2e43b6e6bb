/* A point per batch size that was seen, each an exponentially weighted mean; straight lines between
 * the points, and beyond the last as steep as before it.
 *
 * What slows one size down (a neighbour, a warm CPU) slows all: a deviation at one point moves the
 * others by half as much.
 *
 * SPDX-License-Identifier: MIT */
#include "server/costcurve.h"

#include <assert.h>
#include <string.h>

#define OWN_WEIGHT 0.125     /* of a new time in the point of its size */
#define OTHERS_WEIGHT 0.0625 /* of its deviation in all other points */
#define OUTLIER 4            /* a time counts at most this many times the expected one */
#define NEAR_BEST 1.03       /* times the best time per image is as good */

/* Fills batch_ns and best from the points. */
static void draw(struct costcurve *curve)
{
    int from = 0, n_points = 0; /* from: the last point; no images take no time */
    double slope = 0;
    for (int to = 1; to <= curve->max; to++) {
        if (!costcurve_knows(curve, to))
            continue;
        slope = (curve->point_ns[to] - curve->point_ns[from]) / (to - from);
        slope = slope < 0 ? 0 : slope; /* noise */
        for (int n = from + 1; n <= to; n++)
            curve->batch_ns[n] = curve->batch_ns[from] + (uint64_t)(slope * (n - from));
        from = to;
        n_points++;
    }
    for (int n = from + 1; n <= curve->max; n++)
        curve->batch_ns[n] = curve->batch_ns[from] + (uint64_t)(slope * (n - from));
    double least = (double)curve->batch_ns[1];
    for (int n = 2; n <= curve->max; n++)
        if ((double)curve->batch_ns[n] / n < least)
            least = (double)curve->batch_ns[n] / n;
    curve->best = n_points > 1 ? 1 : curve->max;
    while ((double)curve->batch_ns[curve->best] > NEAR_BEST * least * curve->best)
        curve->best++;
}

void costcurve_init(struct costcurve *curve, int max)
{
    assert(max >= 1 && max <= COSTCURVE_MAX);
    memset(curve, 0, sizeof *curve);
    curve->max = max;
    curve->best = max;
}

void costcurve_learn(struct costcurve *curve, int n, uint64_t duration_ns)
{
    const double expected_ns = (double)curve->batch_ns[n];
    double ns = duration_ns > 0 ? (double)duration_ns : 1;
    if (curve->fastest_image_ns <= 0 || ns / n < curve->fastest_image_ns)
        curve->fastest_image_ns = ns / n;
    if (expected_ns > 0 && ns > OUTLIER * expected_ns)
        ns = OUTLIER * expected_ns;
    if (costcurve_knows(curve, n)) {
        const double deviation = ns / curve->point_ns[n] - 1;
        for (int i = 1; i <= curve->max; i++)
            curve->point_ns[i] *= 1 + deviation * (i == n ? OWN_WEIGHT : OTHERS_WEIGHT);
    } else {
        curve->point_ns[n] = ns;
    }
    draw(curve);
}

bool costcurve_knows(const struct costcurve *curve, int n)
{
    return curve->point_ns[n] > 0;
}
