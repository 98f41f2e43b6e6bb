/* The table of problems and their JSON. Pure; any thread; knows no HTTP beyond the status codes.
 *
 * SPDX-License-Identifier: MIT */
#include "server/problem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "server/text.h"

static const struct problem_row rows[N_PROBLEMS] = {
#define PROBLEM(name, slug, status, title, setting, meaning)                                       \
    [PROBLEM_##name] = {slug, title, setting, meaning, status},
#include "server/problems.def"
#undef PROBLEM
};

const char *problem_slug(enum problem_type type)
{
    return type == PROBLEM_NONE ? "" : problem_row(type)->slug;
}

const struct problem_row *problem_row(enum problem_type type)
{
    assert(type > PROBLEM_NONE && type < N_PROBLEMS);
    return &rows[type];
}

void problem_set(struct problem *problem, enum problem_type type, const char *format, ...)
{
    *problem = (struct problem){.type = type};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(problem->detail, sizeof problem->detail, format, args);
    va_end(args);
}

void problem_parameter(struct problem *problem, const char *name, const char *format, ...)
{
    *problem = (struct problem){.type = PROBLEM_BAD_PARAMETER};
    (void)snprintf(problem->parameter, sizeof problem->parameter, "%s", name);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(problem->detail, sizeof problem->detail, format, args);
    va_end(args);
}

static struct problem_member *next_member(struct problem *problem, const char *key)
{
    size_t room = sizeof problem->members / sizeof problem->members[0], i = 0;
    while (i < room && problem->members[i].key)
        i++;
    assert(i < room);
    problem->members[i].key = key;
    return &problem->members[i];
}

void problem_number(struct problem *problem, const char *key, int64_t number)
{
    next_member(problem, key)->number = number;
}

void problem_text(struct problem *problem, const char *key, const char *text)
{
    next_member(problem, key)->text = text;
}

void problem_from_status(struct problem *problem, enum rn_status status, const struct rn_error *err)
{
    static const enum problem_type types[] = {
        [RN_UNSUPPORTED_FORMAT] = PROBLEM_UNSUPPORTED_FORMAT,
        [RN_IMAGE_CORRUPT] = PROBLEM_IMAGE_CORRUPT,
        [RN_IMAGE_TRUNCATED] = PROBLEM_IMAGE_TRUNCATED,
        [RN_IMAGE_TOO_MANY_BYTES] = PROBLEM_BODY_TOO_LARGE,
        [RN_IMAGE_SIDE_TOO_LONG] = PROBLEM_IMAGE_SIDE_TOO_LONG,
        [RN_IMAGE_TOO_MANY_PIXELS] = PROBLEM_IMAGE_TOO_MANY_PIXELS,
        [RN_IMAGE_TOO_MANY_SCANS] = PROBLEM_IMAGE_TOO_MANY_SCANS,
        [RN_IMAGE_TOO_MUCH_MEMORY] = PROBLEM_IMAGE_TOO_MUCH_MEMORY,
        [RN_IMAGE_TOO_MUCH_TIME] = PROBLEM_IMAGE_TOO_MUCH_TIME,
    };
    size_t i = (size_t)status;
    enum problem_type type = i < sizeof types / sizeof types[0] ? types[i] : PROBLEM_NONE;
    problem_set(problem, type ? type : PROBLEM_INTERNAL, "%s",
                err && err->text[0] ? err->text : rn_status_text(status));
}

void problem_from_image(struct problem *problem, enum rn_status status, const struct rn_error *err,
                        const uint8_t *bytes, size_t n, const struct rn_image_limits *limits)
{
    problem_from_status(problem, status, err);
    switch (problem->type) {
    case PROBLEM_UNSUPPORTED_FORMAT:
        problem_text(problem, "detected", rn_image_sniff(bytes, n));
        break;
    case PROBLEM_BODY_TOO_LARGE:
        problem_number(problem, "limit_bytes", (int64_t)limits->max_bytes);
        break;
    case PROBLEM_IMAGE_SIDE_TOO_LONG:
    case PROBLEM_IMAGE_TOO_MANY_PIXELS:
        problem_number(problem, "width", err->width);
        problem_number(problem, "height", err->height);
        problem_number(problem, status == RN_IMAGE_SIDE_TOO_LONG ? "limit_side" : "limit_pixels",
                       (int64_t)err->limit);
        break;
    case PROBLEM_IMAGE_TOO_MANY_SCANS:
        problem_number(problem, "limit_scans", limits->max_scans);
        break;
    case PROBLEM_IMAGE_TOO_MUCH_MEMORY:
        problem_number(problem, "limit_memory_bytes", (int64_t)limits->max_memory);
        break;
    case PROBLEM_IMAGE_TOO_MUCH_TIME:
        problem_number(problem, "limit_ms", limits->max_cpu_ms);
        break;
    default:
        break;
    }
}

void problem_write(struct text *out, const struct problem *problem, const char *id)
{
    const struct problem_row *row = problem_row(problem->type);
    text_format(out, "\"type\":\"/problems/%s\",\"title\":", row->slug);
    text_json(out, row->title);
    text_format(out, ",\"status\":%d,\"detail\":", row->status);
    text_json(out, problem->detail);
    if (id)
        text_format(out, ",\"instance\":\"urn:resnetd:request:%s\"", id);
    if (problem->parameter[0]) {
        text_add(out, ",\"invalid_parameter\":");
        text_json(out, problem->parameter);
        text_add(out, ",\"invalid_params\":[{\"name\":");
        text_json(out, problem->parameter);
        text_add(out, ",\"reason\":");
        text_json(out, problem->detail);
        text_add(out, "}]");
    }
    const struct problem_member *end =
        problem->members + sizeof problem->members / sizeof problem->members[0];
    for (const struct problem_member *m = problem->members; m < end && m->key; m++) {
        if (m->text)
            text_member(out, m->key, m->text);
        else
            text_format(out, ",\"%s\":%" PRId64, m->key, m->number);
    }
    if (problem->type == PROBLEM_UNSUPPORTED_FORMAT)
        text_format(out, ",\"accepts\":[\"%s\",\"%s\"]", rn_image_format_name(RN_FORMAT_JPEG),
                    rn_image_format_name(RN_FORMAT_PNG));
    if (problem->retry_after_ms > 0)
        text_format(out, ",\"retry_after_ms\":%d", problem->retry_after_ms);
}

char *problem_json(const struct problem *problem, const char *id, size_t *n)
{
    struct text out = {0};
    text_add(&out, "{");
    problem_write(&out, problem, id);
    text_add(&out, "}");
    return text_take(&out, n);
}
