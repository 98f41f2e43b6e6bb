/* The fork-join team: every item runs once, whatever the number of threads and items, and between
 * runs it is asked whether somebody waits.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "engine/base/threads.h"
#include "engine/engine.h"

struct counts {
    atomic_int *runs;
};

static void count(void *context, int item)
{
    const struct counts *c = context;
    atomic_fetch_add(&c->runs[item], 1);
}

static void check(struct rn_threads *threads, int n)
{
    struct counts c = {.runs = calloc((size_t)n + 1, sizeof *c.runs)};
    threads_run(threads, n, count, &c);
    for (int i = 0; i < n; i++)
        cr_assert_eq(c.runs[i], 1, "item %d of %d ran %d times", i, n, c.runs[i]);
    cr_assert_eq(c.runs[n], 0);
    free(c.runs);
}

Test(threads, run_every_item_once)
{
    for (int n = 1; n <= 5; n++) {
        struct rn_threads *threads;
        struct rn_error err;
        cr_assert_eq(rn_threads_new(n, &threads, &err), RN_OK, "%s", err.text);
        cr_assert_eq(rn_threads_count(threads), n);
        for (int items = 0; items < 40; items++)
            check(threads, items);
        for (int round = 0; round < 2000; round++)
            check(threads, 7);
        check(threads, 1200000); /* more than one ticket can count */
        rn_threads_free(threads);
    }
}

static void count_alone(void *context, struct rn_threads *alone)
{
    cr_assert_eq(rn_threads_count(alone), 1);
    cr_assert_eq(threads_self(), 0);
    threads_run(alone, 3, count, context);
}

static void run_alone(void *context, int item)
{
    struct rn_threads *const *threads = context;
    struct counts c = {.runs = calloc(3, sizeof *c.runs)};
    const int self = threads_self();
    (void)item;
    threads_alone(*threads, count_alone, &c);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(c.runs[i], 1);
    cr_assert_eq(threads_self(), self);
    free(c.runs);
}

Test(threads, may_each_be_a_team_of_one_in_an_item)
{
    struct rn_threads *threads;
    struct rn_error err;
    cr_assert_eq(rn_threads_new(3, &threads, &err), RN_OK, "%s", err.text);
    threads_run(threads, 100, run_alone, &threads);
    check(threads, 7);
    rn_threads_free(threads);
}

static bool somebody_waits(void *context)
{
    atomic_fetch_add((atomic_int *)context, 1);
    return true;
}

Test(threads, ask_after_every_run_whether_somebody_waits)
{
    for (int n = 1; n <= 2; n++) {
        struct rn_threads *threads;
        struct rn_error err;
        atomic_int n_asked = 0;
        cr_assert_eq(rn_threads_new(n, &threads, &err), RN_OK, "%s", err.text);
        rn_threads_give_way(threads, somebody_waits, &n_asked);
        for (int i = 0; i < 10; i++)
            check(threads, 3);
        cr_assert_geq(n_asked, 10, "%d threads, %d times", n, n_asked);
        rn_threads_free(threads);
    }
}

Test(threads, refuse_absurd_numbers)
{
    struct rn_threads *threads = NULL;
    struct rn_error err;
    cr_assert_eq(rn_threads_new(0, &threads, &err), RN_BAD_ARGUMENT);
    cr_assert_eq(rn_threads_new(100000, &threads, &err), RN_BAD_ARGUMENT);
    cr_assert_null(threads);
    rn_threads_free(NULL);
}
