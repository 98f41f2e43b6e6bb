/* Which images go into a batch, when it leaves, and what it will cost: one queue per model.
 *
 * Pure: time is an argument, nothing is allocated after batcher_new. The caller owns the images;
 * the batcher links them through `next` while it has them. Times are monotonic nanoseconds.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_BATCHER_H
#define RESNETD_SERVER_BATCHER_H

#include <stdbool.h>
#include <stdint.h>

struct batcher;
struct request;
struct request_image;

struct batcher *batcher_new(int max_batch); /* NULL when out of memory */
void batcher_free(struct batcher *batcher);

/* n images more (negative: fewer) are on their way: being decoded or waiting for it. A batch that
 * is not full waits for them, within its window. */
void batcher_expect(struct batcher *batcher, int n);
/* An expected image is ready, since its preprocess_end_ns. */
void batcher_add(struct batcher *batcher, struct request_image *image);
/* Ready ones, and ready ones plus expected ones. */
int batcher_ready(const struct batcher *batcher);
int batcher_images(const struct batcher *batcher);

/* Unlinks the ready images of a request, or those that even the fastest run so far could not
 * finish in time; returns them as a list through `next`. */
struct request_image *batcher_remove(struct batcher *batcher, const struct request *request);
struct request_image *batcher_expire(struct batcher *batcher, uint64_t now_ns);

/* Should a batch leave now, the engine being idle? When it is full; when nothing is expected, so
 * that waiting would not help; when the oldest image has waited for window_ns; when the tightest
 * deadline leaves no more time than a run takes. If not now, *wake_ns is when to ask again. */
bool batcher_due(const struct batcher *batcher, uint64_t now_ns, uint64_t window_ns,
                 uint64_t *wake_ns);
/* The oldest ready images, at most max_batch, into out; how many. */
int batcher_take(struct batcher *batcher, struct request_image **out);

/* A batch of n images took this long. */
void batcher_learn(struct batcher *batcher, int n, uint64_t duration_ns);
/* What n >= 0 images cost in batches as full as can be, by what was learned; 0 before that. */
uint64_t batcher_cost_ns(const struct batcher *batcher, int n);
/* The same at the best speed ever seen: a lower bound that one stalled run cannot spoil. */
uint64_t batcher_fastest_ns(const struct batcher *batcher, int n);
int batcher_max_batch(const struct batcher *batcher);

#endif
