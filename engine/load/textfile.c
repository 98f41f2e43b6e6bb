/* Reads small text files and checks their encoding.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/load/textfile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/load/file.h"

/* Length of the UTF-8 sequence at the start of s[0…n), 0 where there is none: RFC 3629's table,
 * so neither overlong forms nor surrogates nor anything above U+10FFFF. NUL is refused, too. */
static size_t sequence_length(const unsigned char *s, size_t n)
{
    static const struct {
        unsigned char first, last; /* of the leading byte */
        unsigned char second_min, second_max;
        size_t length;
    } forms[] = {
        {0x01, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t f = 0; f < sizeof forms / sizeof forms[0]; f++) {
        size_t length = forms[f].length;
        if (s[0] < forms[f].first || s[0] > forms[f].last)
            continue;
        if (length > n)
            return 0;
        if (length > 1 && (s[1] < forms[f].second_min || s[1] > forms[f].second_max))
            return 0;
        for (size_t i = 2; i < length; i++)
            if (s[i] < 0x80 || s[i] > 0xbf)
                return 0;
        return length;
    }
    return 0;
}

/* Where the first byte is that is not, n: nowhere. */
static size_t find_not_utf8(const char *text, size_t n)
{
    size_t i = 0;
    for (size_t length; i < n; i += length) {
        length = sequence_length((const unsigned char *)text + i, n - i);
        if (length == 0)
            break;
    }
    return i;
}

bool textfile_is_utf8(const char *text, size_t n)
{
    return find_not_utf8(text, n) == n;
}

enum rn_status textfile_read(const char *path, size_t max_bytes, char **out, size_t *n,
                             struct rn_error *err)
{
    int fd;
    size_t size;
    enum rn_status status = file_open(path, &fd, &size, err);
    if (status != RN_OK)
        return status;
    FILE *file = fdopen(fd, "rb");
    if (!file) {
        (void)close(fd);
        return rn_fail(err, RN_IO, "%.150s: %s", path, strerror(errno));
    }
    /* One byte more than allowed tells a file that is too long; one is for the NUL. */
    char *text = malloc(max_bytes + 2);
    if (!text) {
        status = rn_fail(err, RN_NO_MEMORY, "%.150s: out of memory", path);
        goto done;
    }
    size_t got = fread(text, 1, max_bytes + 1, file);
    if (ferror(file)) {
        status = rn_fail(err, RN_IO, "%.150s: %s", path, strerror(errno));
        goto done;
    }
    if (got > max_bytes) {
        status = rn_fail(err, RN_BAD_ARGUMENT, "%.150s: it has more than the %zu bytes allowed",
                         path, max_bytes);
        goto done;
    }
    text[got] = '\0';
    const size_t bad = find_not_utf8(text, got);
    if (bad < got) {
        status = rn_fail(err, RN_BAD_ARGUMENT, "%.150s: byte %zu is not UTF-8 text", path, bad);
        goto done;
    }
    *out = text;
    *n = got;
    text = NULL;
done:
    free(text);
    (void)fclose(file);
    return status;
}
