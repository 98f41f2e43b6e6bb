/* jansson takes an allocation that fails inside a text for a token that is none, and says so.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_json.h"

#include <stdbool.h>
#include <stdlib.h>

#include "server/problem.h"

static _Thread_local bool out_of_memory;

static void *allocate(size_t n)
{
    void *p = malloc(n);
    if (!p)
        out_of_memory = true;
    return p;
}

void api_json_init(void)
{
    json_set_alloc_funcs(allocate, free);
}

json_t *api_json_load(const void *bytes, size_t n, struct problem *problem)
{
    json_error_t error;
    out_of_memory = false;
    json_t *root = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &error);
    if (!root && out_of_memory)
        problem_set(problem, PROBLEM_INTERNAL, "out of memory");
    else if (!root)
        problem_set(problem, PROBLEM_BAD_JSON, "line %d, column %d: %s", error.line, error.column,
                    error.text);
    return root;
}
