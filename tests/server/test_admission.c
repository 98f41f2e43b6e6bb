/* The margin of error settles where 997 of 1000 requests stay below it.
 *
 * SPDX-License-Identifier: MIT */
#include "server/admission.h"

#include <criterion/criterion.h>

#include "tests/support_random.h"

#define MS UINT64_C(1000000)
#define N 200000

static double uniform(uint64_t *state)
{
    return (double)(random_next(state) >> 11) / 9007199254740992.0;
}

Test(admission, learns_the_error_that_few_exceed)
{
    struct admission admission;
    uint64_t state = 7;
    int n_over = 0;
    admission_init(&admission);
    for (int i = 0; i < N; i++) { /* real times are 0.8 to 1.6 times the prediction */
        const uint64_t actual_ns = (uint64_t)((0.8 + 0.8 * uniform(&state)) * 100 * (double)MS);
        n_over += i >= N / 2 && (double)actual_ns > admission.margin * 100 * (double)MS;
        admission_learn(&admission, 100 * MS, actual_ns);
    }
    cr_assert_float_eq(n_over / (N / 2.0), 0.003, 0.002);
    cr_assert_float_eq(admission.margin, 1.6, 0.1);
}

Test(admission, bounds_a_prediction_by_margin_and_lag)
{
    struct admission admission;
    admission_init(&admission);
    const uint64_t before_ns = admission_bound_ns(&admission, 100 * MS);
    cr_assert_gt(before_ns, 100 * MS);
    for (int i = 0; i < 100; i++)
        admission_learn_lag(&admission, 20 * MS);
    cr_assert_gt(admission_bound_ns(&admission, 100 * MS), before_ns + 15 * MS);
}

Test(admission, stays_within_sense)
{
    struct admission admission;
    admission_init(&admission);
    for (int i = 0; i < 10000; i++)
        admission_learn(&admission, MS, 100 * MS);
    cr_assert_leq(admission.margin, 3);
    for (int i = 0; i < 10000000; i++)
        admission_learn(&admission, MS, 1);
    cr_assert_geq(admission.margin, 1);
    admission_learn(&admission, 0, MS); /* an idle server predicts nothing */
}
