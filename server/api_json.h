/* JSON that clients send: broken JSON is their mistake, memory that runs out is not.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_JSON_H
#define RESNETD_SERVER_API_JSON_H

#include <jansson.h>
#include <stddef.h>

struct problem;

/* Before there are threads, and before anything else of jansson is called. */
void api_json_init(void);

/* No member may be there twice. NULL with problem set. Any thread. */
json_t *api_json_load(const void *bytes, size_t n, struct problem *problem);

#endif
