/* Small text files beside a model: read whole, with a limit, checked to be UTF-8. Blocking reads;
 * no state.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_LOAD_TEXTFILE_H
#define RESNETD_ENGINE_LOAD_TEXTFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/status.h"

/* Whether text[0…n) is UTF-8 without a NUL. */
bool textfile_is_utf8(const char *text, size_t n);

/* *out is the file's text with a NUL behind its *n bytes; the caller frees it. RN_IO when it
 * cannot be read, RN_BAD_ARGUMENT when it has more than max_bytes, a NUL, or is not UTF-8,
 * RN_NO_MEMORY. */
enum rn_status textfile_read(const char *path, size_t max_bytes, char **out, size_t *n,
                             struct rn_error *err) __attribute__((warn_unused_result));

#endif
