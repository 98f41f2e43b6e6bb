/* The last classifications, for somebody who asks what has just happened.
 *
 * Loop thread. A ring of fixed size: nothing is allocated after recent_new, the oldest is
 * forgotten.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_RECENT_H
#define RESNETD_SERVER_RECENT_H

#include <stdint.h>

#define RECENT_MAX 256

struct http_exchange;
struct recent;
struct request;
struct text;

struct recent *recent_new(void); /* NULL when out of memory */
void recent_free(struct recent *recent);

/* A classification is over. `request` NULL: refused before it was one; `slug` of the problem that
 * it was answered with, "" for none; `model` its name. */
void recent_add(struct recent *recent, const struct http_exchange *exchange,
                const struct request *request, const char *model, const char *slug);
/* Appends a JSON array, the newest first. */
void recent_write(const struct recent *recent, struct text *out);

#endif
