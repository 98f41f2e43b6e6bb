/* A growing text, and JSON written into it by hand: the order of members, the decimals of numbers
 * and the escaping of strings are ours to decide.
 *
 * Pure; any thread. Running out of memory is remembered, not reported: everything after it is
 * ignored and text_take() answers NULL, so that a writer checks once, at the end.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_TEXT_H
#define RESNETD_SERVER_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Starts as {0}; owns its bytes. */
struct text {
    char *bytes; /* NUL-terminated once anything was added */
    size_t n, capacity;
    bool failed;
};

void text_add(struct text *text, const char *s);
/* Any bytes, also NUL. */
void text_bytes(struct text *text, const char *bytes, size_t n);
__attribute__((format(printf, 2, 3))) void text_format(struct text *text, const char *format, ...);

/* A quoted JSON string. Bytes that are no UTF-8 become U+FFFD; NULL becomes null. */
void text_json(struct text *text, const char *s);
/* ,"key":"value" for an object that has a member already. */
void text_member(struct text *text, const char *key, const char *value);
/* A JSON number with so many decimals; what is not finite becomes null. */
void text_real(struct text *text, double value, int decimals);
/* The same with so many significant digits. */
void text_significant(struct text *text, double value, int digits);

/* Bytes of the character that s begins with; 0 where that is no UTF-8 or a control character (those
 * of C1 too, which terminals obey), and at its end. */
size_t text_visible(const char *s);

/* Hands over the bytes (malloc'ed, NUL-terminated, *n without the NUL) and empties the text; NULL
 * when memory ran out. */
char *text_take(struct text *text, size_t *n);
void text_done(struct text *text);

#endif
