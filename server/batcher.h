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

/* Unlinks the ready images of a request, or those that could not be finished in time any more;
 * returns them as a list through `next`. Among others an image goes by the expected time of a run;
 * a lone one only when even the fastest run so far would be too slow, so that one stalled run
 * never locks the door. */
struct request_image *batcher_remove(struct batcher *batcher, const struct request *request);
struct request_image *batcher_expire(struct batcher *batcher, uint64_t now_ns);

/* What of a deadline the answer takes, once the batch is done: kept free for it, but for an image
 * that is alone. */
void batcher_set_answer(struct batcher *batcher, uint64_t answer_ns);

#define BATCHER_WORTHWHILE UINT64_MAX
/* Should a batch leave now, the engine being idle? When nothing is expected, so that waiting would
 * not help; when it is full, or the oldest image has waited for window_ns; with BATCHER_WORTHWHILE
 * when it is as large as is worth it, or has waited for as long as company could save; and when the
 * tightest deadline leaves no more time than a run takes. If not now, *wake_ns is when to ask
 * again. */
bool batcher_due(const struct batcher *batcher, uint64_t now_ns, uint64_t window_ns,
                 uint64_t *wake_ns);
/* The oldest ready images into out, at most max_batch and no more than let each of them be done
 * before its deadline; at least one if any is ready. How many. */
int batcher_take(struct batcher *batcher, uint64_t now_ns, struct request_image **out);

/* Learns what another one knows about costs, if their largest batches are the same. */
void batcher_inherit(struct batcher *batcher, const struct batcher *from);
/* A batch of n images took this long. */
void batcher_learn(struct batcher *batcher, int n, uint64_t duration_ns);
/* A batch of n images came this long after the one before it, or after work began: decoding and
 * everything else that shares the cores is in it. */
void batcher_learn_pace(struct batcher *batcher, int n, uint64_t interval_ns);
/* The same where there was work for it all the time: what the server can do at most. */
void batcher_learn_capacity(struct batcher *batcher, int n, uint64_t interval_ns);
/* What n >= 0 images cost in batches as full as can be, by what was learned; 0 before that. */
uint64_t batcher_cost_ns(const struct batcher *batcher, int n);
/* How long n images take to come through a busy server, by the learned pace. */
uint64_t batcher_pace_ns(const struct batcher *batcher, int n);
/* The part of a second of a fully busy server that n images take. */
uint64_t batcher_capacity_ns(const struct batcher *batcher, int n);
/* A batch of n at the best speed per image ever seen: a lower bound that no stalled run spoils. */
uint64_t batcher_fastest_ns(const struct batcher *batcher, int n);
/* A small batch size whose cost is not known yet, to be measured in an idle moment; else 0. */
int batcher_unknown_size(const struct batcher *batcher);
/* The smallest batch that is as quick per image as larger ones. */
int batcher_best_batch(const struct batcher *batcher);

#endif
