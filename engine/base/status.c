/* Names and texts of the statuses, and the one way to write an error sentence. Pure, any thread.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/status.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name, *text;
} statuses[] = {
#define X(name, text) {#name, text},
    RN_STATUSES(X)
#undef X
};

const char *rn_status_name(enum rn_status status)
{
    return statuses[status].name;
}

const char *rn_status_text(enum rn_status status)
{
    return statuses[status].text;
}

enum rn_status rn_fail(struct rn_error *err, enum rn_status status, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return status;
}
