/* LeakSanitizer looks at the processes that run tests, not at Criterion's runner, which now and
 * then ends with some allocations of its own left.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <criterion/hooks.h>

static int is_runner;

/* Tests run in processes that were started anew, where this is not called. */
ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
    (void)tests;
    is_runner = 1;
}

/* Asked by LeakSanitizer at exit (sanitizer/lsan_interface.h). */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return is_runner;
}
