/* The table of problems and their JSON, parsed back.
 *
 * SPDX-License-Identifier: MIT */
#include "server/problem.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

static json_t *write(const struct problem *problem)
{
    size_t n;
    char *text = problem_json(problem, "ID", &n);
    json_error_t err;
    json_t *json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &err);
    cr_assert_not_null(json, "%s: %s", err.text, text);
    free(text);
    return json;
}

static const char *text_of(const json_t *json, const char *key)
{
    return json_string_value(json_object_get(json, key));
}

Test(problem, rows_are_complete_and_their_slugs_unique)
{
    for (int i = PROBLEM_NONE + 1; i < N_PROBLEMS; i++) {
        const struct problem_row *row = problem_row((enum problem_type)i);
        cr_assert(row->status >= 400 && row->status < 600, "%s", row->slug);
        cr_assert(row->slug[strspn(row->slug, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0');
        cr_assert(row->title[0] && row->meaning[0], "%s", row->slug);
        for (int k = i + 1; k < N_PROBLEMS; k++)
            cr_assert_str_neq(row->slug, problem_row((enum problem_type)k)->slug);
    }
}

Test(problem, a_limit_names_a_setting_that_exists)
{
    struct config config;
    struct config_error err;
    char *none[] = {NULL}, buf[64];
    cr_assert(config_load(&config, 0, none, none, NULL, &err));
    for (int i = PROBLEM_NONE + 1; i < N_PROBLEMS; i++) {
        const struct problem_row *row = problem_row((enum problem_type)i);
        if (row->setting[0])
            cr_assert_not_null(config_value(&config, row->setting, buf, sizeof buf), "%s",
                               row->setting);
    }
    config_done(&config);
}

Test(problem, json_has_the_members_of_rfc_9457_and_its_own)
{
    struct problem problem;
    problem_set(&problem, PROBLEM_QUEUE_FULL, "a \"detail\"");
    problem_number(&problem, "queue_depth", 37);
    problem.retry_after_ms = 180;
    json_t *json = write(&problem);
    cr_assert_str_eq(text_of(json, "type"), "/problems/queue-full");
    cr_assert_str_eq(text_of(json, "title"), problem_row(PROBLEM_QUEUE_FULL)->title);
    cr_assert_eq(json_integer_value(json_object_get(json, "status")), 503);
    cr_assert_str_eq(text_of(json, "detail"), "a \"detail\"");
    cr_assert_str_eq(text_of(json, "instance"), "urn:resnetd:request:ID");
    cr_assert_eq(json_integer_value(json_object_get(json, "queue_depth")), 37);
    cr_assert_eq(json_integer_value(json_object_get(json, "retry_after_ms")), 180);
    json_decref(json);
    problem_parameter(&problem, "top_k", "top_k: too many");
    json = write(&problem);
    cr_assert_str_eq(text_of(json_array_get(json_object_get(json, "invalid_params"), 0), "name"),
                     "top_k");
    json_decref(json);
}

Test(problem, a_refused_image_says_what_it_was_and_what_the_limit_is)
{
    const struct rn_image_limits limits = {1000, 100, 5000, 2, 1 << 20, 30, false};
    struct rn_error err = {.text = "too long", .width = 400, .height = 3, .limit = 100};
    struct problem problem;
    problem_from_image(&problem, RN_IMAGE_SIDE_TOO_LONG, &err, NULL, 0, &limits);
    json_t *json = write(&problem);
    cr_assert_str_eq(text_of(json, "type"), "/problems/image-side-too-long");
    cr_assert_eq(json_integer_value(json_object_get(json, "width")), 400);
    cr_assert_eq(json_integer_value(json_object_get(json, "limit_side")), 100);
    json_decref(json);
    problem_from_image(&problem, RN_UNSUPPORTED_FORMAT, &err, (const uint8_t *)"%PDF-1.4", 8,
                       &limits);
    json = write(&problem);
    cr_assert_str_eq(text_of(json, "detected"), "pdf");
    cr_assert_eq(json_array_size(json_object_get(json, "accepts")), 2);
    json_decref(json);
    problem_from_status(&problem, RN_NO_MEMORY, NULL);
    cr_assert_eq(problem.type, PROBLEM_INTERNAL, "not the client's fault");
}
