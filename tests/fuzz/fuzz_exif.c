/* libFuzzer target: any bytes through the reader of the orientation. `make fuzz` runs it.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "engine/image/exif.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const int orientation = exif_orientation(bytes, n);
    if (orientation < 1 || orientation > 8)
        abort();
    return 0;
}
