/* JSON of clients: whose fault it is that there is none.
 *
 * SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "server/api_json.h"
#include "server/problem.h"
#include "tests/support_alloc.h"

TestSuite(api_json, .init = api_json_init);

static json_t *load(const char *text, struct problem *problem)
{
    return api_json_load(text, strlen(text), problem);
}

Test(api_json, broken_is_the_clients_fault_and_says_where)
{
    struct problem problem = {0};
    cr_assert_null(load("{\"path\":\n\"a\",}", &problem));
    cr_assert_eq(problem.type, PROBLEM_BAD_JSON);
    cr_assert_eq(strncmp(problem.detail, "line 2, column ", 15), 0, "%s", problem.detail);
    cr_assert_null(load("{\"a\":1,\"a\":2}", &problem));
    cr_assert_eq(problem.type, PROBLEM_BAD_JSON);
}

Test(api_json, memory_that_runs_out_is_not)
{
    json_t *root = NULL;
    size_t k = 0;
    while (!root) {
        struct problem problem = {0};
        alloc_fail(++k);
        root = load("{\"path\":\"a\",\"numbers\":[1,2.5,{}]}", &problem);
        if (!root)
            cr_assert_eq(problem.type, PROBLEM_INTERNAL, "allocation %zu: %s", k, problem.detail);
    }
    alloc_fail(0);
    cr_assert_gt(k, 8);
    json_decref(root);
}
