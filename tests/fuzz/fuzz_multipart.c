/* libFuzzer: a form's Content-Type up to the first NUL, then its body. Parts must lie inside.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "server/multipart.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *end = memchr(data, 0, n);
    if (!end)
        return 0;
    const uint8_t *body = end + 1;
    const size_t n_body = n - (size_t)(body - data);
    struct multipart form;
    struct multipart_part part;
    bool more = true;
    if (multipart_init(&form, (const char *)data, body, n_body, NULL) != RN_OK)
        return 0;
    while (multipart_next(&form, &part, &more, NULL) == RN_OK && more)
        if (part.bytes < body || part.n_bytes > n_body ||
            (size_t)(part.bytes - body) > n_body - part.n_bytes)
            abort();
    return 0;
}
