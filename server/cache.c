/* A hash table with chains, and a ring through all entries in the order of their last use.
 *
 * The keys are SHA-256 sums, so any four bytes of them are a good hash.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cache.h"

#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#define MIN_ENTRY_BYTES 512 /* decides how many chains there are */
#define MAX_DIGEST 96

struct entry {
    struct entry *chain;
    struct entry *newer, *older; /* a ring; the cache's `ring` is between oldest and newest */
    struct cache_key key;
    char model_digest[MAX_DIGEST];
    size_t n_bytes;
    struct rn_image_info info;
    float logits[];
};

struct cache {
    size_t max_bytes, n_bytes;
    size_t n_chains; /* a power of two */
    struct entry **chains;
    struct entry ring; /* older: the newest entry; newer: the oldest */
};

struct cache *cache_new(size_t max_bytes)
{
    struct cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return NULL;
    cache->n_chains = 64;
    while (cache->n_chains * MIN_ENTRY_BYTES < max_bytes && cache->n_chains < (1u << 20))
        cache->n_chains *= 2;
    cache->chains = calloc(cache->n_chains, sizeof *cache->chains);
    if (!cache->chains) {
        free(cache);
        return NULL;
    }
    cache->max_bytes = max_bytes;
    cache->n_bytes = sizeof *cache + cache->n_chains * sizeof *cache->chains;
    cache->ring.newer = cache->ring.older = &cache->ring;
    return cache;
}

static void unlink_ring(struct entry *entry)
{
    entry->older->newer = entry->newer;
    entry->newer->older = entry->older;
}

static void make_newest(struct cache *cache, struct entry *entry)
{
    entry->older = cache->ring.older;
    entry->newer = &cache->ring;
    entry->older->newer = entry;
    cache->ring.older = entry;
}

/* The link that points to the entry, or to the NULL at the end of its chain. */
static struct entry **find(const struct cache *cache, const struct cache_key *key,
                           const char *model_digest)
{
    uint32_t hash;
    memcpy(&hash, key->image, sizeof hash);
    struct entry **link = &cache->chains[hash & (cache->n_chains - 1)];
    while (*link && (memcmp((*link)->key.image, key->image, sizeof key->image) != 0 ||
                     strcmp((*link)->model_digest, model_digest) != 0))
        link = &(*link)->chain;
    return link;
}

static void drop(struct cache *cache, struct entry *entry)
{
    struct entry **link = find(cache, &entry->key, entry->model_digest);
    *link = entry->chain;
    unlink_ring(entry);
    cache->n_bytes -= entry->n_bytes;
    free(entry);
}

void cache_free(struct cache *cache)
{
    if (!cache)
        return;
    while (cache->ring.newer != &cache->ring)
        drop(cache, cache->ring.newer);
    free(cache->chains);
    free(cache);
}

struct cache_key cache_hash(const uint8_t *bytes, size_t n)
{
    struct cache_key key;
    struct sha256_ctx sha;
    sha256_init(&sha);
    sha256_update(&sha, n, bytes);
    sha256_digest(&sha, sizeof key.image, key.image);
    return key;
}

bool cache_get(struct cache *cache, const struct cache_key *key, const char *model_digest,
               struct cache_result *out)
{
    struct entry *entry = *find(cache, key, model_digest);
    if (!entry)
        return false;
    unlink_ring(entry);
    make_newest(cache, entry);
    *out = (struct cache_result){entry->info, entry->logits};
    return true;
}

void cache_put(struct cache *cache, const struct cache_key *key, const char *model_digest,
               const struct rn_image_info *info, const float *logits, int classes)
{
    struct entry **link = find(cache, key, model_digest);
    const size_t n_logits = (size_t)classes * sizeof *logits;
    const size_t n_bytes = sizeof **link + n_logits;
    if (*link || strlen(model_digest) >= MAX_DIGEST)
        return;
    while (n_bytes > cache->max_bytes - cache->n_bytes && cache->ring.newer != &cache->ring)
        drop(cache, cache->ring.newer);
    if (cache->n_bytes > cache->max_bytes || n_bytes > cache->max_bytes - cache->n_bytes)
        return;
    struct entry *entry = malloc(n_bytes);
    if (!entry)
        return;
    link = find(cache, key, model_digest); /* its end may have been dropped */
    *entry = (struct entry){.key = *key, .n_bytes = n_bytes, .info = *info};
    memcpy(entry->model_digest, model_digest, strlen(model_digest) + 1);
    memcpy(entry->logits, logits, n_logits);
    *link = entry;
    make_newest(cache, entry);
    cache->n_bytes += n_bytes;
}

size_t cache_bytes(const struct cache *cache)
{
    return cache->n_bytes;
}
