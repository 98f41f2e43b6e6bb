/* When a batch leaves, who is in it, what it will cost. Time is an argument: nothing here waits.
 *
 * SPDX-License-Identifier: MIT */
#include "server/batcher.h"

#include <criterion/criterion.h>
#include <string.h>

#include "server/request.h"

#define MS UINT64_C(1000000)
#define WINDOW (2 * MS)
#define FAR (UINT64_C(1000000) * MS) /* a deadline that does not matter */
#define MAX_BATCH 4

static struct batcher *batcher;
static struct request requests[8];
static struct request_image images[8];

static void setup(void)
{
    batcher = batcher_new(MAX_BATCH);
    cr_assert_not_null(batcher);
    memset(requests, 0, sizeof requests);
    memset(images, 0, sizeof images);
}

static void teardown(void)
{
    batcher_free(batcher);
}

TestSuite(batcher, .init = setup, .fini = teardown);

/* Image i is decoded at `ready_ns` and its request must be answered by `deadline_ns`. */
static void add(int i, uint64_t ready_ns, uint64_t deadline_ns)
{
    requests[i].deadline_ns = deadline_ns;
    images[i].request = &requests[i];
    images[i].preprocess_end_ns = ready_ns;
    batcher_expect(batcher, 1);
    batcher_add(batcher, &images[i]);
}

static bool due(uint64_t now_ns, uint64_t *wake_ns)
{
    return batcher_due(batcher, now_ns, WINDOW, wake_ns);
}

Test(batcher, is_never_due_when_nothing_is_ready)
{
    uint64_t wake;
    cr_assert_not(due(5 * MS, &wake));
    cr_assert_eq(wake, UINT64_MAX);
    batcher_expect(batcher, 3);
    cr_assert_not(due(5 * MS, &wake));
    cr_assert_eq(wake, UINT64_MAX);
    batcher_expect(batcher, -3);
}

Test(batcher, lets_a_lone_image_wait_for_nothing)
{
    uint64_t wake;
    add(0, 5 * MS, FAR);
    cr_assert(due(5 * MS, &wake));
}

Test(batcher, waits_for_what_is_being_decoded_until_the_window_closes)
{
    uint64_t wake;
    add(0, 5 * MS, FAR);
    batcher_expect(batcher, 1);
    cr_assert_not(due(6 * MS, &wake));
    cr_assert_eq(wake, 7 * MS);
    cr_assert(due(7 * MS, &wake));
    batcher_expect(batcher, -1); /* it was a bad image: nobody else comes */
    cr_assert(due(6 * MS, &wake));
}

Test(batcher, waits_by_itself_as_long_as_company_saves)
{
    uint64_t wake;
    for (int n = 1; n <= MAX_BATCH; n++)
        batcher_learn(batcher, n, 6 * MS + (uint64_t)n * 4 * MS); /* together saves 6 ms */
    add(0, 5 * MS, FAR);
    batcher_expect(batcher, 1);
    cr_assert_not(batcher_due(batcher, 5 * MS, BATCHER_WORTHWHILE, &wake));
    cr_assert_float_eq((double)wake, 11 * (double)MS, 0.01 * (double)MS);
    cr_assert(batcher_due(batcher, wake, BATCHER_WORTHWHILE, &wake));
}

Test(batcher, waits_for_a_batch_that_will_be_full_as_long_as_it_will_run)
{
    uint64_t wake;
    for (int n = 1; n <= MAX_BATCH; n++)
        batcher_learn(batcher, n, 2 * MS + (uint64_t)n * MS);
    add(0, 5 * MS, FAR);
    batcher_expect(batcher, MAX_BATCH - 1);
    cr_assert_not(batcher_due(batcher, 5 * MS, BATCHER_WORTHWHILE, &wake));
    cr_assert_float_eq((double)wake, 11 * (double)MS, 0.01 * (double)MS);
}

Test(batcher, waits_for_nobody_before_anything_is_known)
{
    uint64_t wake;
    add(0, 5 * MS, FAR);
    batcher_expect(batcher, 1);
    cr_assert(batcher_due(batcher, 5 * MS, BATCHER_WORTHWHILE, &wake));
}

Test(batcher, keeps_time_for_the_answer)
{
    for (int i = 0; i < 40; i++)
        batcher_learn(batcher, 1, 10 * MS);
    batcher_set_answer(batcher, 5 * MS);
    add(0, 1, 114 * MS);
    add(1, 1, 116 * MS);
    add(2, 1, 200 * MS);
    cr_assert_eq(batcher_ready(batcher), 3);
    int n = 0;
    for (const struct request_image *image = batcher_expire(batcher, 100 * MS); image;
         image = image->next)
        n++;
    cr_assert_eq(n, 1);
}

Test(batcher, leaves_at_once_when_it_is_full)
{
    uint64_t wake;
    for (int i = 0; i < MAX_BATCH; i++)
        add(i, 5 * MS, FAR);
    batcher_expect(batcher, 9);
    cr_assert(due(5 * MS, &wake));
}

Test(batcher, leaves_when_the_tightest_deadline_is_as_near_as_a_run_is_long)
{
    uint64_t wake;
    for (int i = 0; i < 50; i++)
        for (int n = 1; n <= MAX_BATCH; n++)
            batcher_learn(batcher, n, (uint64_t)n * MS / 10 + 10 * MS); /* large ones pay */
    add(0, 5 * MS, FAR);
    add(1, 5 * MS, 16 * MS);
    batcher_expect(batcher, 1);
    cr_assert_not(due(5 * MS, &wake));
    cr_assert_leq(wake, 6 * MS); /* with one more image it would take 10.3 ms */
    cr_assert(due(6 * MS, &wake));
}

Test(batcher, leaves_at_once_when_more_images_would_gain_nothing)
{
    uint64_t wake;
    for (int n = 1; n <= MAX_BATCH; n++)
        batcher_learn(batcher, n, (uint64_t)n * 10 * MS);
    cr_assert_eq(batcher_best_batch(batcher), 1);
    add(0, 5 * MS, FAR);
    batcher_expect(batcher, 3);
    cr_assert(batcher_due(batcher, 5 * MS, BATCHER_WORTHWHILE, &wake));
    cr_assert_not(due(5 * MS, &wake), "who sets a window wants it");
    cr_assert_eq(wake, 5 * MS + WINDOW);
}

Test(batcher, makes_a_batch_no_larger_than_its_tightest_deadline_allows)
{
    struct request_image *out[MAX_BATCH];
    for (int n = 1; n <= MAX_BATCH; n++)
        batcher_learn(batcher, n, (uint64_t)n * 8 * MS);
    add(0, 5 * MS, FAR);
    add(1, 5 * MS, 5 * MS + 18 * MS); /* two take 16 ms, three 24 */
    add(2, 5 * MS, FAR);
    cr_assert_eq(batcher_take(batcher, 5 * MS, out), 2);
    cr_assert_eq(batcher_take(batcher, 5 * MS, out), 1);
    add(3, 5 * MS, 6 * MS);
    add(4, 5 * MS, FAR);
    cr_assert_eq(batcher_take(batcher, 5 * MS, out), 1, "one always goes");
    cr_assert_eq(batcher_take(batcher, 5 * MS, out), 1);
}

Test(batcher, takes_the_oldest_first_and_no_more_than_fit)
{
    struct request_image *out[MAX_BATCH];
    for (int i = 0; i < 6; i++)
        add(i, (uint64_t)i, FAR);
    cr_assert_eq(batcher_take(batcher, 5 * MS, out), MAX_BATCH);
    for (int i = 0; i < MAX_BATCH; i++)
        cr_assert_eq(out[i], &images[i]);
    cr_assert_eq(batcher_ready(batcher), 2);
    cr_assert_eq(batcher_take(batcher, 5 * MS, out), 2);
    cr_assert_eq(out[0], &images[4]);
    cr_assert_eq(out[1], &images[5]);
    cr_assert_eq(batcher_images(batcher), 0);
    add(6, 1, FAR); /* the list is whole again */
    cr_assert_eq(batcher_take(batcher, 5 * MS, out), 1);
    cr_assert_eq(out[0], &images[6]);
}

Test(batcher, gives_up_the_images_of_one_request)
{
    struct request_image *out[MAX_BATCH];
    for (int i = 0; i < 4; i++)
        add(i, 1, FAR);
    images[3].request = &requests[1];
    int n = 0;
    for (struct request_image *image = batcher_remove(batcher, &requests[1]); image;
         image = image->next, n++)
        cr_assert_eq(image->request, &requests[1]);
    cr_assert_eq(n, 2);
    add(4, 1, FAR); /* behind what is left, the removed one having been the last */
    cr_assert_eq(batcher_take(batcher, 5 * MS, out), 3);
    cr_assert_eq(out[0], &images[0]);
    cr_assert_eq(out[1], &images[2]);
    cr_assert_eq(out[2], &images[4]);
}

static int expire(uint64_t now_ns)
{
    int n = 0;
    for (const struct request_image *image = batcher_expire(batcher, now_ns); image;
         image = image->next)
        n++;
    return n;
}

Test(batcher, expires_what_a_run_would_make_late)
{
    for (int i = 0; i < 40; i++)
        batcher_learn(batcher, 1, 10 * MS);
    add(0, 1, 100 * MS);
    add(1, 1, 109 * MS);
    add(2, 1, 111 * MS);
    cr_assert_eq(expire(100 * MS), 2);
    cr_assert_eq(batcher_ready(batcher), 1);
}

Test(batcher, lets_a_lone_image_try_what_was_fast_enough_once)
{
    for (int i = 0; i < 10; i++)
        batcher_learn(batcher, 1, (i == 3 ? 4 : 10) * MS);
    add(0, 1, 105 * MS);
    cr_assert_eq(expire(100 * MS), 0, "a run took 4 ms once");
    cr_assert_eq(expire(101 * MS), 1);
}

Test(batcher, learns_a_base_and_a_slope)
{
    cr_assert_eq(batcher_cost_ns(batcher, 3), 0, "nothing is known");
    for (int i = 0; i < 100; i++) {
        const int n = 1 + i % MAX_BATCH;
        batcher_learn(batcher, n, 3 * MS + (uint64_t)n * 2 * MS);
    }
    for (int n = 1; n <= MAX_BATCH; n++)
        cr_assert_float_eq((double)batcher_cost_ns(batcher, n) / (double)MS, 3 + 2 * n, 0.01);
    /* Ten images are two full batches and one of two. */
    cr_assert_float_eq((double)batcher_cost_ns(batcher, 10) / (double)MS, 11 + 11 + 7, 0.02);
    cr_assert_eq(batcher_cost_ns(batcher, 0), 0);
}

Test(batcher, is_not_misled_for_long_by_one_stalled_run)
{
    for (int i = 0; i < 20; i++)
        batcher_learn(batcher, 1, 5 * MS);
    batcher_learn(batcher, 1, 5000 * MS);
    cr_assert_lt(batcher_cost_ns(batcher, 1), 7 * MS);
    cr_assert_eq(batcher_fastest_ns(batcher, 1), 5 * MS);
    for (int i = 0; i < 100; i++)
        batcher_learn(batcher, 1, 5 * MS);
    cr_assert_float_eq((double)batcher_cost_ns(batcher, 1) / (double)MS, 5, 0.1);
}

Test(batcher, follows_a_machine_that_has_become_slower)
{
    for (int i = 0; i < 100; i++)
        batcher_learn(batcher, 1 + i % 2, (uint64_t)(1 + i % 2) * 5 * MS);
    for (int i = 0; i < 100; i++)
        batcher_learn(batcher, 1 + i % 2, (uint64_t)(1 + i % 2) * 9 * MS);
    cr_assert_float_eq((double)batcher_cost_ns(batcher, 2) / (double)MS, 18, 0.5);
}

Test(batcher, paces_a_server_by_what_came_through)
{
    batcher_learn(batcher, 1, 5 * MS);
    cr_assert_eq(batcher_pace_ns(batcher, 3), batcher_cost_ns(batcher, 3), "nothing better known");
    for (int i = 0; i < 50; i++)
        batcher_learn_pace(batcher, 4, 40 * MS); /* decoding shares the cores: 10 ms an image */
    cr_assert_float_eq((double)batcher_pace_ns(batcher, 3) / (double)MS, 30, 0.1);
}
