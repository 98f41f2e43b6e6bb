/* Results of images seen before: scores by content and model, the least recently used leave first.
 *
 * Loop thread, but for cache_hash. An image is known by the SHA-256 of its file, a model by its
 * digest, so that a model's return finds its old results and another one never sees them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CACHE_H
#define RESNETD_SERVER_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"

struct cache;

struct cache_key {
    uint8_t image[32]; /* SHA-256 of the file */
};

struct cache_result {
    struct rn_image_info info;
    const float *logits; /* [classes]; the cache's, until the next cache_put */
};

/* Keeps at most max_bytes, its own bookkeeping included. NULL when out of memory. */
struct cache *cache_new(size_t max_bytes);
void cache_free(struct cache *cache); /* NULL allowed */

/* Any thread. */
struct cache_key cache_hash(const uint8_t *bytes, size_t n);
/* False when it is not there. */
bool cache_get(struct cache *cache, const struct cache_key *key, const char *model_digest,
               struct cache_result *out);
/* Copies the scores; what does not fit or has no memory is not kept. */
void cache_put(struct cache *cache, const struct cache_key *key, const char *model_digest,
               const struct rn_image_info *info, const float *logits, int classes);
size_t cache_bytes(const struct cache *cache);

#endif
