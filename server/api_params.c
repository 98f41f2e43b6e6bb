/* The table of parameters and their readers. Pure; any thread.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_params.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/problem.h"

const struct api_params api_params_default = {.labels = true, .timings = true};

typedef bool (*read_fn)(struct api_params *params, const char *name, const char *value,
                        struct problem *problem);

/* strtol alone would take blanks and an empty text. */
bool api_params_int(const char *value, int *out)
{
    const char *digits = value[0] == '-' ? value + 1 : value;
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")])
        return false;
    errno = 0;
    long n = strtol(value, NULL, 10);
    *out = n > INT_MAX ? INT_MAX : n < INT_MIN ? INT_MIN : (int)n;
    return true;
}

static bool read_top_k(struct api_params *params, const char *name, const char *value,
                       struct problem *problem)
{
    if (!api_params_int(value, &params->top_k)) {
        problem_parameter(problem, name, "top_k: \"%s\" is not a whole number", value);
        return false;
    }
    params->has_top_k = true;
    return true;
}

static bool read_threshold(struct api_params *params, const char *name, const char *value,
                           struct problem *problem)
{
    char *end = NULL;
    bool plain = value[0] && !value[strspn(value, "+-.0123456789eE")];
    double threshold = plain ? strtod(value, &end) : -1;
    if (!plain || *end || !(threshold >= 0 && threshold <= 1)) {
        problem_parameter(problem, name, "threshold: \"%s\" is not a number in 0…1", value);
        return false;
    }
    params->threshold = threshold;
    return true;
}

static bool read_timeout_ms(struct api_params *params, const char *name, const char *value,
                            struct problem *problem)
{
    int timeout_ms;
    if (!api_params_int(value, &timeout_ms) || timeout_ms < 1 ||
        timeout_ms > API_PARAMS_MAX_TIMEOUT_MS) {
        problem_parameter(problem, name, "timeout_ms: \"%s\" is not a whole number in 1…%d", value,
                          API_PARAMS_MAX_TIMEOUT_MS);
        return false;
    }
    params->timeout_ms = timeout_ms;
    return true;
}

static bool read_model(struct api_params *params, const char *name, const char *value,
                       struct problem *problem)
{
    if (strlen(value) >= sizeof params->model) {
        problem_parameter(problem, name, "model: the name has more than %zu characters",
                          sizeof params->model - 1);
        return false;
    }
    memcpy(params->model, value, strlen(value) + 1);
    return true;
}

static bool read_switch(const char *name, const char *value, bool *out, struct problem *problem)
{
    bool on = strcmp(value, "1") == 0 || strcmp(value, "true") == 0;
    if (!on && strcmp(value, "0") != 0 && strcmp(value, "false") != 0) {
        problem_parameter(problem, name, "%s: \"%s\" is neither 0 nor 1", name, value);
        return false;
    }
    *out = on;
    return true;
}

static bool read_labels(struct api_params *params, const char *name, const char *value,
                        struct problem *problem)
{
    return read_switch(name, value, &params->labels, problem);
}

static bool read_timings(struct api_params *params, const char *name, const char *value,
                         struct problem *problem)
{
    return read_switch(name, value, &params->timings, problem);
}

static bool read_debug(struct api_params *params, const char *name, const char *value,
                       struct problem *problem)
{
    if (strcmp(value, "input") != 0) {
        problem_parameter(problem, name, "debug: \"%s\" is not \"input\"", value);
        return false;
    }
    params->debug_input = true;
    return true;
}

static bool read_explain(struct api_params *params, const char *name, const char *value,
                         struct problem *problem)
{
    if (strcmp(value, "cam") != 0) {
        problem_parameter(problem, name, "explain: \"%s\" is not \"cam\"", value);
        return false;
    }
    params->explain = true;
    return true;
}

static bool read_explain_class(struct api_params *params, const char *name, const char *value,
                               struct problem *problem)
{
    if (!api_params_int(value, &params->explain_class)) {
        problem_parameter(problem, name, "explain_class: \"%s\" is not a whole number", value);
        return false;
    }
    params->has_explain_class = true;
    return true;
}

static bool read_explain_format(struct api_params *params, const char *name, const char *value,
                                struct problem *problem)
{
    params->explain_png = strcmp(value, "png") == 0;
    params->has_explain_format = true;
    if (!params->explain_png && strcmp(value, "json") != 0) {
        problem_parameter(problem, name, "explain_format: \"%s\" is neither json nor png", value);
        return false;
    }
    return true;
}

static const struct {
    const char *name;
    read_fn read;
} table[] = {
    {"top_k", read_top_k},
    {"threshold", read_threshold},
    {"timeout_ms", read_timeout_ms},
    {"model", read_model},
    {"labels", read_labels},
    {"timings", read_timings},
    {"debug", read_debug},
    {"explain", read_explain},
    {"explain_class", read_explain_class},
    {"explain_format", read_explain_format},
};

bool api_params_set(struct api_params *params, const char *name, const char *value,
                    struct problem *problem)
{
    char names[160];
    size_t n = 0;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(table[i].name, name) == 0)
            return table[i].read(params, name, value, problem);
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", table[i].name);
    }
    problem_parameter(problem, name, "there is no parameter \"%.63s\"; there are %s", name, names);
    return false;
}

bool api_params_check(const struct api_params *params, int classes, struct problem *problem)
{
    if (params->has_top_k && (params->top_k < 1 || params->top_k > classes)) {
        problem_parameter(problem, "top_k", "top_k: %d is not in 1…%d, the model's classes",
                          params->top_k, classes);
        return false;
    }
    if ((params->has_explain_class || params->has_explain_format) && !params->explain) {
        const char *name = params->has_explain_class ? "explain_class" : "explain_format";
        problem_parameter(problem, name, "%s goes with explain=cam", name);
        return false;
    }
    if (params->explain_png && params->debug_input) {
        problem_parameter(problem, "debug",
                          "debug=input and explain_format=png ask for two pictures");
        return false;
    }
    if (params->has_explain_class &&
        (params->explain_class < 0 || params->explain_class >= classes)) {
        problem_parameter(problem, "explain_class",
                          "explain_class: %d is not in 0…%d, the model's classes",
                          params->explain_class, classes - 1);
        return false;
    }
    return true;
}
