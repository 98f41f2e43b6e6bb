/* How many values a JSON text could have, before a parser makes each of them an object in memory:
 * ten megabytes of "0,0,0,…" would become two hundred.
 *
 * Pure; any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_JSON_SCAN_H
#define RESNETD_SERVER_JSON_SCAN_H

#include <stddef.h>
#include <stdint.h>

/* At least as many as a parser would make of the text, whether it is well-formed or not, as long as
 * the parser stops at the first error. */
size_t json_scan_values(const uint8_t *bytes, size_t n);

#endif
