/* What max_connections may be, by the limit on open files. Criterion gives each test a process.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <sys/resource.h>

#include "config/config.h"
#include "server/cmd/descriptors.h"
#include "server/log.h"

static int fitted(rlim_t soft, rlim_t hard, int max_connections)
{
    struct config config = {.max_connections = max_connections};
    (void)log_set_level("error");
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){soft, hard}), 0);
    descriptors_fit(&config, 2);
    return config.max_connections;
}

static rlim_t soft_limit(void)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit.rlim_cur;
}

Test(descriptors, a_limit_that_is_enough_stays)
{
    cr_expect_eq(fitted(500, 500, 400), 400);
    cr_expect_eq(soft_limit(), 500);
}

Test(descriptors, the_soft_limit_is_raised_as_far_as_is_wanted)
{
    cr_expect_eq(fitted(200, 1000, 400), 400);
    cr_expect_gt(soft_limit(), 400);
    cr_expect_lt(soft_limit(), 500);
}

Test(descriptors, a_hard_limit_lowers_the_connections)
{
    const int fit = fitted(200, 300, 400);
    cr_expect_eq(soft_limit(), 300);
    cr_expect_gt(fit, 200);
    cr_expect_lt(fit, 300 - DESCRIPTORS_OPERATORS);
}

Test(descriptors, one_connection_is_the_least)
{
    cr_expect_eq(fitted(60, 60, 400), 1);
}
