/* The queue of one model, the curve of its batches and the pace of its images.
 *
 * Pure, no allocation after batcher_new.
 *
 * SPDX-License-Identifier: MIT */
#include "server/batcher.h"

#include <assert.h>
#include <stdlib.h>

#include "server/costcurve.h"
#include "server/request.h"

#define MEASURED_SIZES 4 /* larger batches are learned from traffic */
#define SLACK 8          /* a run may take an eighth longer than expected */
#define FORGET 0.9       /* weight of the past pace after one more batch */
#define MIN_WINDOW_NS 1000000u
#define PACE_OUTLIER 4 /* an interval counts at most this many times the expected one */

/* Decayed sums: images and the time that they took to come through. */
struct pace {
    double n, ns;
};

struct batcher {
    int n_ready, n_expected;
    struct request_image *first, **last;
    struct costcurve curve;
    struct pace pace, busy_pace; /* the latter with work all the time */
    uint64_t answer_ns;          /* what of a deadline is kept for the answer */
};

static uint64_t ready_ns(const struct request_image *image)
{
    return image->preprocess_end_ns;
}

/* When the image has to be through. */
static uint64_t due_ns(const struct batcher *batcher, const struct request_image *image)
{
    const uint64_t deadline_ns = image->request->deadline_ns;
    if (batcher_images(batcher) <= 1) /* alone it gets every chance */
        return deadline_ns;
    return deadline_ns > batcher->answer_ns ? deadline_ns - batcher->answer_ns : 0;
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
        costcurve_init(&batcher->curve, max_batch);
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
    const bool alone = batcher_images(batcher) == 1;
    const uint64_t run_ns = alone ? batcher_fastest_ns(batcher, 1) : batcher->curve.batch_ns[1];
    struct request_image *expired = NULL;
    struct request_image **link = &batcher->first;
    while (*link) {
        if (due_ns(batcher, *link) <= now_ns + run_ns)
            expired = unlink_image(batcher, link, expired);
        else
            link = &(*link)->next;
    }
    return expired;
}

/* How many of the oldest fit into one batch that ends before the first of their deadlines. */
static int fitting(const struct batcher *batcher, uint64_t now_ns)
{
    uint64_t tightest_ns = UINT64_MAX;
    int n = 0;
    for (const struct request_image *image = batcher->first; image && n < batcher->curve.max;
         image = image->next) {
        const uint64_t image_due_ns = due_ns(batcher, image);
        if (image_due_ns < tightest_ns)
            tightest_ns = image_due_ns;
        const uint64_t run_ns = batcher->curve.batch_ns[n + 1];
        if (n > 0 && now_ns + run_ns + run_ns / SLACK > tightest_ns)
            break;
        n++;
    }
    return n;
}

/* How long to wait for company. One more image is worth what running it together with the others
 * saves against running it by itself; timers count milliseconds, so that a shorter wait would be
 * none of this kind. Where enough images are on their way to fill a batch, the decoders use the
 * cores meanwhile and nothing is lost: then until it is full, though no longer than it will run. */
static uint64_t worthwhile_ns(const struct batcher *batcher)
{
    const int n = batcher->n_ready, best = batcher->curve.best;
    const uint64_t *batch_ns = batcher->curve.batch_ns;
    if (batcher_images(batcher) >= best)
        return batch_ns[best];
    const uint64_t apart_ns = batch_ns[n] + batch_ns[1], together_ns = batch_ns[n + 1];
    const uint64_t saved_ns = apart_ns > together_ns ? apart_ns - together_ns : 0;
    return saved_ns >= MIN_WINDOW_NS ? saved_ns : 0;
}

bool batcher_due(const struct batcher *batcher, uint64_t now_ns, uint64_t window_ns,
                 uint64_t *wake_ns)
{
    *wake_ns = UINT64_MAX;
    if (batcher->n_ready == 0)
        return false;
    const bool chosen = window_ns == BATCHER_WORTHWHILE; /* else somebody has set the window */
    const int enough = chosen ? batcher->curve.best : batcher->curve.max;
    if (batcher->n_ready >= enough || batcher->n_expected == 0)
        return true;
    if (chosen)
        window_ns = worthwhile_ns(batcher);
    uint64_t latest_ns = UINT64_MAX;
    const uint64_t run_ns = batcher->curve.batch_ns[batcher->n_ready + 1];
    for (const struct request_image *image = batcher->first; image; image = image->next) {
        const uint64_t image_due_ns = due_ns(batcher, image);
        const uint64_t start_ns = image_due_ns > run_ns ? image_due_ns - run_ns : 0;
        if (start_ns < latest_ns)
            latest_ns = start_ns;
        if (ready_ns(image) + window_ns < latest_ns)
            latest_ns = ready_ns(image) + window_ns;
    }
    *wake_ns = latest_ns;
    return latest_ns <= now_ns;
}

int batcher_take(struct batcher *batcher, uint64_t now_ns, struct request_image **out)
{
    const int n = fitting(batcher, now_ns);
    for (int i = 0; i < n; i++)
        out[i] = unlink_image(batcher, &batcher->first, NULL);
    return n;
}

void batcher_set_answer(struct batcher *batcher, uint64_t answer_ns)
{
    batcher->answer_ns = answer_ns;
}

void batcher_inherit(struct batcher *batcher, const struct batcher *from)
{
    if (batcher->curve.max != from->curve.max)
        return;
    batcher->curve = from->curve;
    batcher->pace = from->pace;
    batcher->busy_pace = from->busy_pace;
}

void batcher_learn(struct batcher *batcher, int n, uint64_t duration_ns)
{
    costcurve_learn(&batcher->curve, n, duration_ns);
}

static void learn_pace(struct pace *pace, int n, uint64_t interval_ns)
{
    double ns = (double)interval_ns;
    if (pace->n > 0 && ns > PACE_OUTLIER * pace->ns / pace->n * n)
        ns = PACE_OUTLIER * pace->ns / pace->n * n;
    pace->n = FORGET * pace->n + n;
    pace->ns = FORGET * pace->ns + ns;
}

void batcher_learn_pace(struct batcher *batcher, int n, uint64_t interval_ns)
{
    learn_pace(&batcher->pace, n, interval_ns);
}

void batcher_learn_capacity(struct batcher *batcher, int n, uint64_t interval_ns)
{
    learn_pace(&batcher->busy_pace, n, interval_ns);
}

uint64_t batcher_cost_ns(const struct batcher *batcher, int n)
{
    const struct costcurve *curve = &batcher->curve;
    return (uint64_t)(n / curve->max) * curve->batch_ns[curve->max] +
           curve->batch_ns[n % curve->max];
}

uint64_t batcher_pace_ns(const struct batcher *batcher, int n)
{
    const struct pace *pace = &batcher->pace;
    return pace->n > 0 ? (uint64_t)(pace->ns / pace->n * n) : batcher_cost_ns(batcher, n);
}

uint64_t batcher_capacity_ns(const struct batcher *batcher, int n)
{
    const struct pace *pace = &batcher->busy_pace;
    return pace->n > 0 ? (uint64_t)(pace->ns / pace->n * n) : batcher_pace_ns(batcher, n);
}

uint64_t batcher_fastest_ns(const struct batcher *batcher, int n)
{
    return (uint64_t)(batcher->curve.fastest_image_ns * n);
}

int batcher_unknown_size(const struct batcher *batcher)
{
    for (int n = 1; n <= batcher->curve.max && n <= MEASURED_SIZES; n *= 2)
        if (!costcurve_knows(&batcher->curve, n))
            return n;
    return 0;
}

int batcher_best_batch(const struct batcher *batcher)
{
    return batcher->curve.best;
}
