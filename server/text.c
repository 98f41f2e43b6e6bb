/* A growing text with a JSON writer's three needs: structure by printf, strings escaped, numbers
 * with fixed decimals.
 *
 * Pure; any thread. Doubles its memory as it grows. Keeps no state of what JSON it is inside of.
 *
 * SPDX-License-Identifier: MIT */
#include "server/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

/* Room for n bytes more and a NUL. */
static bool reserve(struct text *text, size_t n)
{
    if (text->failed || n >= SIZE_MAX / 2 - text->n)
        text->failed = true;
    else if (text->n + n >= text->capacity) {
        size_t capacity = text->capacity ? text->capacity : 256;
        while (capacity <= text->n + n)
            capacity *= 2;
        char *bytes = realloc(text->bytes, capacity);
        if (bytes) {
            text->bytes = bytes;
            text->capacity = capacity;
        } else {
            text->failed = true;
        }
    }
    return !text->failed;
}

void text_bytes(struct text *text, const char *bytes, size_t n)
{
    if (!reserve(text, n))
        return;
    memcpy(text->bytes + text->n, bytes, n);
    text->n += n;
    text->bytes[text->n] = '\0';
}

void text_add(struct text *text, const char *s)
{
    text_bytes(text, s, strlen(s));
}

void text_format(struct text *text, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const size_t room = text->capacity - text->n; /* nearly always enough */
    const int n = vsnprintf(room > 0 ? text->bytes + text->n : NULL, room, format, args);
    va_end(args);
    if (n < 0) {
        text->failed = true;
    } else if (reserve(text, (size_t)n)) {
        if ((size_t)n >= room)
            (void)vsnprintf(text->bytes + text->n, (size_t)n + 1, format, again);
        text->n += (size_t)n;
    }
    va_end(again);
}

/* Length of the UTF-8 sequence (RFC 3629) that s begins with, 0 where it is none. A NUL ends a
 * sequence like any other byte that does not continue it, so nothing behind it is read. */
static size_t sequence(const unsigned char *s)
{
    unsigned char low = 0x80, high = 0xBF; /* of the second byte */
    size_t n;
    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xC2 && s[0] <= 0xDF) {
        n = 2;
    } else if (s[0] >= 0xE0 && s[0] <= 0xEF) {
        n = 3;
        low = s[0] == 0xE0 ? 0xA0 : low;   /* no overlong forms */
        high = s[0] == 0xED ? 0x9F : high; /* no surrogates */
    } else if (s[0] >= 0xF0 && s[0] <= 0xF4) {
        n = 4;
        low = s[0] == 0xF0 ? 0x90 : low;
        high = s[0] == 0xF4 ? 0x8F : high; /* not above U+10FFFF */
    } else {
        return 0;
    }
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (s[i] < 0x80 || s[i] > 0xBF)
            return 0;
    return n;
}

size_t text_visible(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    if (p[0] < 0x20 || p[0] == 0x7F || (p[0] == 0xC2 && p[1] < 0xA0))
        return 0;
    return sequence(p);
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

void text_json(struct text *text, const char *s)
{
    if (!s) {
        text_add(text, "null");
        return;
    }
    text_add(text, "\"");
    for (const unsigned char *p = (const unsigned char *)s; *p;) {
        size_t n = 0;
        while (is_plain(p[n]))
            n++;
        if (n > 0) {
            text_bytes(text, (const char *)p, n);
            p += n;
            continue;
        }
        n = sequence(p);
        if (n == 0) {
            text_add(text, replacement);
            n = 1;
        } else if (*p == '"' || *p == '\\') {
            text_format(text, "\\%c", *p);
        } else if (*p < 0x20 || *p == 0x7F) {
            text_format(text, "\\u%04x", *p);
        } else {
            text_bytes(text, (const char *)p, n);
        }
        p += n;
    }
    text_add(text, "\"");
}

void text_member(struct text *text, const char *key, const char *value)
{
    text_format(text, ",\"%s\":", key);
    text_json(text, value);
}

void text_real(struct text *text, double value, int decimals)
{
    if (isfinite(value))
        text_format(text, "%.*f", decimals, value);
    else
        text_add(text, "null");
}

void text_significant(struct text *text, double value, int digits)
{
    if (isfinite(value))
        text_format(text, "%.*g", digits, value);
    else
        text_add(text, "null");
}

char *text_take(struct text *text, size_t *n)
{
    if (text->failed || !reserve(text, 0)) {
        text_done(text);
        return NULL;
    }
    char *bytes = text->bytes;
    bytes[text->n] = '\0';
    *n = text->n;
    *text = (struct text){0};
    return bytes;
}

void text_done(struct text *text)
{
    free(text->bytes);
    *text = (struct text){0};
}
