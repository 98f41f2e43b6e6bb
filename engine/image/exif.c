/* A bounded reader of one tag, 0x0112, in the first directory of a TIFF structure.
 *
 * Pure, any thread. Reference: TIFF 6.0, section 2; Exif 2.3, section 4.6.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/image/exif.h"

#include <stdbool.h>
#include <string.h>

#define TAG_ORIENTATION 0x0112
#define TYPE_SHORT 3
#define TYPE_LONG 4
#define ENTRY_BYTES 12

struct tiff {
    const uint8_t *bytes;
    size_t n;
    bool big_endian;
};

static uint32_t read16(const struct tiff *t, size_t at)
{
    const uint8_t *p = t->bytes + at;
    return t->big_endian ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

static uint32_t read32(const struct tiff *t, size_t at)
{
    uint32_t first = read16(t, at), second = read16(t, at + 2);
    return t->big_endian ? first << 16 | second : second << 16 | first;
}

int exif_orientation(const uint8_t *tiff, size_t n)
{
    if (n < 8)
        return 1;
    struct tiff t = {tiff, n, memcmp(tiff, "MM\0*", 4) == 0};
    if (!t.big_endian && memcmp(tiff, "II*\0", 4) != 0)
        return 1;
    size_t at = read32(&t, 4);
    if (at > n - 2)
        return 1;

    uint32_t entries = read16(&t, at);
    at += 2;
    for (uint32_t i = 0; i < entries && n - at >= ENTRY_BYTES; i++, at += ENTRY_BYTES) {
        uint32_t type = read16(&t, at + 2);
        if (read16(&t, at) != TAG_ORIENTATION || read32(&t, at + 4) != 1 ||
            (type != TYPE_SHORT && type != TYPE_LONG))
            continue;
        uint32_t value = type == TYPE_SHORT ? read16(&t, at + 8) : read32(&t, at + 8);
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}
