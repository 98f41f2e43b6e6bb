/* What every libFuzzer target defines.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_TESTS_FUZZ_H
#define RESNETD_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#endif
