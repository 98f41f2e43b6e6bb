/* The queue of one model and the line  cost(n) = base + n * per_image  fitted to its batches.
 *
 * The fit is least squares over all batches seen, each new one weighing 1 and every older one
 * less, so that it follows a machine that slows down. Pure, no allocation after batcher_new.
 *
 * SPDX-License-Identifier: MIT */
#include "server/batcher.h"

#include <assert.h>
#include <stdlib.h>

#include "server/request.h"

#define FORGET 0.95     /* weight of the past after one more batch */
#define OUTLIER 4       /* a duration counts at most this many times the expected one */
#define MIN_SPREAD 1e-3 /* of batch sizes, below which base and slope cannot be told apart */

struct batcher {
    int max_batch;
    int n_ready, n_expected;
    struct request_image *first, **last;
    /* Weighted sums over batches of size n and duration t: 1, n, n*n, t, n*t. */
    double s_1, s_n, s_nn, s_t, s_nt;
    uint64_t fastest_image_ns; /* 0: nothing learned */
};

static uint64_t ready_ns(const struct request_image *image)
{
    return image->preprocess_end_ns;
}

static uint64_t batch_cost_ns(const struct batcher *batcher, int n)
{
    if (batcher->s_1 <= 0 || n == 0)
        return 0;
    const double spread = batcher->s_1 * batcher->s_nn - batcher->s_n * batcher->s_n;
    double per_image = batcher->s_t / batcher->s_n, base = 0;
    if (spread > MIN_SPREAD * batcher->s_1 * batcher->s_nn) {
        const double slope = (batcher->s_1 * batcher->s_nt - batcher->s_n * batcher->s_t) / spread;
        const double offset = (batcher->s_t - slope * batcher->s_n) / batcher->s_1;
        if (slope < 0) { /* noise; a larger batch is never cheaper */
            per_image = 0;
            base = batcher->s_t / batcher->s_1;
        } else if (offset > 0) {
            per_image = slope;
            base = offset;
        }
    }
    return (uint64_t)(base + per_image * n);
}

/* Unlinks what *link points to and returns it as the head of `list`. */
static struct request_image *unlink_image(struct batcher *batcher, struct request_image **link,
                                          struct request_image *list)
{
    struct request_image *image = *link;
    *link = image->next;
    if (batcher->last == &image->next)
        batcher->last = link;
    batcher->n_ready--;
    image->next = list;
    return image;
}

struct batcher *batcher_new(int max_batch)
{
    struct batcher *batcher = calloc(1, sizeof *batcher);
    if (batcher) {
        batcher->max_batch = max_batch;
        batcher->last = &batcher->first;
    }
    return batcher;
}

void batcher_free(struct batcher *batcher)
{
    free(batcher);
}

void batcher_expect(struct batcher *batcher, int n)
{
    batcher->n_expected += n;
    assert(batcher->n_expected >= 0);
}

void batcher_add(struct batcher *batcher, struct request_image *image)
{
    batcher_expect(batcher, -1);
    image->next = NULL;
    *batcher->last = image;
    batcher->last = &image->next;
    batcher->n_ready++;
}

int batcher_ready(const struct batcher *batcher)
{
    return batcher->n_ready;
}

int batcher_images(const struct batcher *batcher)
{
    return batcher->n_ready + batcher->n_expected;
}

struct request_image *batcher_remove(struct batcher *batcher, const struct request *request)
{
    struct request_image *removed = NULL;
    struct request_image **link = &batcher->first;
    while (*link) {
        if ((*link)->request == request)
            removed = unlink_image(batcher, link, removed);
        else
            link = &(*link)->next;
    }
    return removed;
}

struct request_image *batcher_expire(struct batcher *batcher, uint64_t now_ns)
{
    const uint64_t run_ns = batcher_fastest_ns(batcher, 1);
    struct request_image *expired = NULL;
    struct request_image **link = &batcher->first;
    while (*link) {
        if ((*link)->request->deadline_ns <= now_ns + run_ns)
            expired = unlink_image(batcher, link, expired);
        else
            link = &(*link)->next;
    }
    return expired;
}

bool batcher_due(const struct batcher *batcher, uint64_t now_ns, uint64_t window_ns,
                 uint64_t *wake_ns)
{
    *wake_ns = UINT64_MAX;
    if (batcher->n_ready == 0)
        return false;
    if (batcher->n_ready >= batcher->max_batch || batcher->n_expected == 0)
        return true;
    uint64_t latest_ns = UINT64_MAX;
    const uint64_t run_ns = batch_cost_ns(batcher, batcher->n_ready + 1);
    for (const struct request_image *image = batcher->first; image; image = image->next) {
        const uint64_t deadline_ns = image->request->deadline_ns;
        const uint64_t start_ns = deadline_ns > run_ns ? deadline_ns - run_ns : 0;
        if (start_ns < latest_ns)
            latest_ns = start_ns;
        if (ready_ns(image) + window_ns < latest_ns)
            latest_ns = ready_ns(image) + window_ns;
    }
    *wake_ns = latest_ns;
    return latest_ns <= now_ns;
}

int batcher_take(struct batcher *batcher, struct request_image **out)
{
    int n = 0;
    while (batcher->first && n < batcher->max_batch) {
        out[n] = unlink_image(batcher, &batcher->first, NULL);
        n++;
    }
    return n;
}

void batcher_learn(struct batcher *batcher, int n, uint64_t duration_ns)
{
    const uint64_t expected_ns = batch_cost_ns(batcher, n);
    double t = (double)duration_ns;
    if (expected_ns > 0 && t > OUTLIER * (double)expected_ns)
        t = OUTLIER * (double)expected_ns;
    batcher->s_1 = FORGET * batcher->s_1 + 1;
    batcher->s_n = FORGET * batcher->s_n + n;
    batcher->s_nn = FORGET * batcher->s_nn + (double)n * n;
    batcher->s_t = FORGET * batcher->s_t + t;
    batcher->s_nt = FORGET * batcher->s_nt + t * n;
    const uint64_t image_ns = duration_ns / (uint64_t)n;
    if (batcher->fastest_image_ns == 0 || image_ns < batcher->fastest_image_ns)
        batcher->fastest_image_ns = image_ns;
}

uint64_t batcher_cost_ns(const struct batcher *batcher, int n)
{
    return (uint64_t)(n / batcher->max_batch) * batch_cost_ns(batcher, batcher->max_batch) +
           batch_cost_ns(batcher, n % batcher->max_batch);
}

uint64_t batcher_fastest_ns(const struct batcher *batcher, int n)
{
    return batcher->fastest_image_ns * (uint64_t)n;
}

int batcher_max_batch(const struct batcher *batcher)
{
    return batcher->max_batch;
}
