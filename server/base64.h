/* Base64 (RFC 4648, section 4) to bytes.
 *
 * Pure; any thread. Strict about the alphabet, the padding and the unused bits of the last group,
 * so that a damaged upload is refused and not guessed at; blanks and line breaks between characters
 * are allowed, since encoders wrap lines.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_BASE64_H
#define RESNETD_SERVER_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/status.h"

/* Bytes that n characters can become at most. */
size_t base64_bound(size_t n);

/* out has room for base64_bound(n); *n_out bytes were written. RN_BAD_ARGUMENT naming the place. */
enum rn_status base64_decode(const char *text, size_t n, uint8_t *out, size_t *n_out,
                             struct rn_error *err) __attribute__((warn_unused_result));

#endif
