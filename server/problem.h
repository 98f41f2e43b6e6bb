/* What can go wrong for a client: one table (problems.def), one writer of problem+json (RFC 9457).
 *
 * Pure; any thread. The rows give the slug of the type URI, the HTTP status, a title, what it
 * means and the setting that holds its limit, for errors and for GET /problems alike.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_PROBLEM_H
#define RESNETD_SERVER_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"

struct text;

enum problem_type {
    PROBLEM_NONE,
#define PROBLEM(name, slug, status, title, setting, meaning) PROBLEM_##name,
#include "server/problems.def"
#undef PROBLEM
    N_PROBLEMS
};

/* An extension member: "limit_bytes": 10485760, or "detected": "webp" where text is not NULL. */
struct problem_member {
    const char *key;
    const char *text; /* static or as long as the problem lives */
    int64_t number;
};

struct problem {
    enum problem_type type;
    char detail[256];
    char parameter[64];               /* of BAD_PARAMETER: its name; else "" */
    struct problem_member members[4]; /* up to the first with key NULL */
    int retry_after_ms; /* > 0: a member, and Retry-After in whole seconds, rounded up */
};

struct problem_row {
    const char *slug, *title, *setting, *meaning; /* setting "" where no limit is behind it */
    int status;
};
/* Not for PROBLEM_NONE. */
const struct problem_row *problem_row(enum problem_type type);
/* Its slug, "" for none. */
const char *problem_slug(enum problem_type type);

/* Fills in type and detail and clears the rest. */
__attribute__((format(printf, 3, 4))) void
problem_set(struct problem *problem, enum problem_type type, const char *format, ...);
/* BAD_PARAMETER with the parameter's name. */
__attribute__((format(printf, 3, 4))) void
problem_parameter(struct problem *problem, const char *name, const char *format, ...);
/* The next free member; more than there is room for is a bug. */
void problem_number(struct problem *problem, const char *key, int64_t number);
void problem_text(struct problem *problem, const char *key, const char *text);

/* The problem that an engine status is for a client, with the engine's sentence as detail. */
void problem_from_status(struct problem *problem, enum rn_status status,
                         const struct rn_error *err);
/* The same for an image that was refused, with the members that its file and the limits give: what
 * was detected, how large it is, the limit that it is over. */
void problem_from_image(struct problem *problem, enum rn_status status, const struct rn_error *err,
                        const uint8_t *bytes, size_t n, const struct rn_image_limits *limits);

/* Appends "type":…,"title":…,"status":…,"detail":… and the rest, without braces; "instance" from
 * the request's id where it is not NULL. */
void problem_write(struct text *out, const struct problem *problem, const char *id);
/* The whole object; malloc'ed, NUL-terminated, *n without the NUL; NULL when out of memory. */
char *problem_json(const struct problem *problem, const char *id, size_t *n);

#endif
