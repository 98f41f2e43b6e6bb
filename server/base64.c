/* Base64 decoding by a table, four characters to three bytes. Pure; any thread; allocates nothing.
 *
 * SPDX-License-Identifier: MIT */
#include "server/base64.h"

enum { BAD = 0, SPACE = -1, PAD = -2 };

/* The six bits of a character plus one, or what else it is. */
static const int8_t values[256] = {
    ['A'] = 1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    ['N'] = 14,
    15,
    16,
    17,
    18,
    19,
    20,
    21,
    22,
    23,
    24,
    25,
    26,
    ['a'] = 27,
    28,
    29,
    30,
    31,
    32,
    33,
    34,
    35,
    36,
    37,
    38,
    39,
    ['n'] = 40,
    41,
    42,
    43,
    44,
    45,
    46,
    47,
    48,
    49,
    50,
    51,
    52,
    ['0'] = 53,
    54,
    55,
    56,
    57,
    58,
    59,
    60,
    61,
    62,
    ['+'] = 63,
    ['/'] = 64,
    ['='] = PAD,
    [' '] = SPACE,
    ['\t'] = SPACE,
    ['\r'] = SPACE,
    ['\n'] = SPACE,
};

size_t base64_bound(size_t n)
{
    return n / 4 * 3 + 3;
}

/* The one or two bytes of a last group of two or three characters. */
static enum rn_status last_group(uint32_t bits, int n_chars, int n_pads, uint8_t *out,
                                 size_t *n_out, struct rn_error *err)
{
    if (n_chars + n_pads != (n_chars || n_pads ? 4 : 0) || n_pads > 2)
        return rn_fail(err, RN_BAD_ARGUMENT,
                       "base64 ends with %d characters and %d '=' instead "
                       "of a group of four",
                       n_chars, n_pads);
    if (n_chars == 0)
        return RN_OK;
    bits <<= 6 * n_pads;
    if (bits & (n_pads == 1 ? 0xFFu : 0xFFFFu))
        return rn_fail(err, RN_BAD_ARGUMENT, "base64 has stray bits before its '='");
    for (int shift = 16; shift >= 8 * n_pads; shift -= 8)
        out[(*n_out)++] = (uint8_t)(bits >> shift);
    return RN_OK;
}

enum rn_status base64_decode(const char *text, size_t n, uint8_t *out, size_t *n_out,
                             struct rn_error *err)
{
    uint32_t bits = 0;
    int n_chars = 0, n_pads = 0;
    size_t written = 0;
    for (size_t i = 0; i < n; i++) {
        int v = values[(unsigned char)text[i]];
        if (v == SPACE)
            continue;
        if (v == PAD) {
            n_pads++;
            continue;
        }
        if (v == BAD || n_pads)
            return rn_fail(err, RN_BAD_ARGUMENT, "character %zu (0x%02x) is not base64%s", i + 1,
                           (unsigned)(unsigned char)text[i], v == BAD ? "" : " after '='");
        bits = bits << 6 | (uint32_t)(v - 1);
        if (++n_chars == 4) {
            out[written++] = (uint8_t)(bits >> 16);
            out[written++] = (uint8_t)(bits >> 8);
            out[written++] = (uint8_t)bits;
            bits = 0;
            n_chars = 0;
        }
    }
    enum rn_status status = last_group(bits, n_chars, n_pads, out, &written, err);
    if (status == RN_OK)
        *n_out = written;
    return status;
}
