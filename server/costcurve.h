/* What a batch of n images costs, for every n up to the largest: measured points and what lies
 * between them.
 *
 * Pure. Times are nanoseconds. A curve starts empty; every batch adds a point or corrects the
 * curve, which so follows a machine that slows down.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_COSTCURVE_H
#define RESNETD_SERVER_COSTCURVE_H

#include <stdbool.h>
#include <stdint.h>

#define COSTCURVE_MAX 256

struct costcurve {
    int max; /* largest n */
    /* The smallest n whose time per image is within a few percent of the best: in a larger batch
     * images would wait for each other and gain next to nothing. Before two sizes were seen: max.
     */
    int best;
    double point_ns[COSTCURVE_MAX + 1];   /* seen; 0 where not */
    uint64_t batch_ns[COSTCURVE_MAX + 1]; /* expected; never falls; all 0 while nothing is known */
    double fastest_image_ns;              /* best time per image ever seen */
};

/* An empty curve up to n = max, 1…COSTCURVE_MAX. */
void costcurve_init(struct costcurve *curve, int max);
/* A batch of n images, 1…max, took this long. */
void costcurve_learn(struct costcurve *curve, int n, uint64_t duration_ns);
bool costcurve_knows(const struct costcurve *curve, int n);

#endif
