/* Sockets by name from the service manager's variables.
 *
 * SPDX-License-Identifier: MIT */
#include "server/passed.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(passed);

static enum rn_status take(const char *pid, const char *n, const char *names, struct passed *out,
                           struct rn_error *err)
{
    char own[16];
    (void)snprintf(own, sizeof own, "%d", (int)getpid());
    memset(out, 0, sizeof *out);
    (void)unsetenv("LISTEN_FDNAMES");
    (void)setenv("LISTEN_PID", pid ? pid : own, 1);
    (void)setenv("LISTEN_FDS", n, 1);
    if (names)
        (void)setenv("LISTEN_FDNAMES", names, 1);
    const enum rn_status status = passed_take(out, err);
    cr_expect_null(getenv("LISTEN_PID"));
    cr_expect_null(getenv("LISTEN_FDS"));
    cr_expect_null(getenv("LISTEN_FDNAMES"));
    return status;
}

Test(passed, sockets_go_by_their_names_in_any_order)
{
    struct passed passed;
    cr_assert_eq(take(NULL, "3", "agent:http:admin", &passed, NULL), RN_OK);
    cr_expect_str_eq(passed.agent, "fd:3");
    cr_expect_str_eq(passed.http, "fd:4");
    cr_expect_str_eq(passed.admin, "fd:5");
}

Test(passed, any_other_name_or_none_is_the_public_one)
{
    static const char *const names[] = {"resnetd.socket", "unknown", "", NULL};
    struct passed passed;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cr_assert_eq(take(NULL, "1", names[i], &passed, NULL), RN_OK);
        cr_expect_str_eq(passed.http, "fd:3");
        cr_expect_str_empty(passed.admin);
        cr_expect_str_empty(passed.agent);
    }
}

Test(passed, what_is_meant_for_another_process_or_is_no_number_counts_for_nothing)
{
    struct passed passed;
    cr_expect_eq(take("1", "1", "http", &passed, NULL), RN_OK);
    cr_expect_str_empty(passed.http);
    cr_expect_eq(take("x", "1", "http", &passed, NULL), RN_OK);
    cr_expect_str_empty(passed.http);
    cr_expect_eq(take(NULL, "1x", "http", &passed, NULL), RN_OK);
    cr_expect_str_empty(passed.http);
    cr_expect_eq(take(NULL, "-1", "http", &passed, NULL), RN_OK);
    cr_expect_str_empty(passed.http);
}

Test(passed, two_sockets_for_the_same_are_refused_by_name)
{
    struct passed passed;
    struct rn_error err;
    cr_expect_eq(take(NULL, "2", "http:web", &passed, &err), RN_BAD_ARGUMENT);
    cr_expect_not_null(strstr(err.text, "\"web\""), "%s", err.text);
    cr_expect_eq(take(NULL, "3", "http:admin:admin", &passed, &err), RN_BAD_ARGUMENT);
    cr_expect_not_null(strstr(err.text, "\"admin\""), "%s", err.text);
    cr_expect_eq(take(NULL, "99", "http", &passed, &err), RN_BAD_ARGUMENT);
    cr_expect_not_null(strstr(err.text, "99"), "%s", err.text);
    cr_expect_str_empty(passed.http);
}
