/* Files in flight are looked up by length and a hash of a few samples, and compared byte by byte
 * where both agree: nothing is spent on files that differ.
 *
 * SPDX-License-Identifier: MIT */
#include "server/reuse.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "server/cache.h"
#include "server/metrics.h"
#include "server/registry.h"
#include "server/request.h"

#define N_CHAINS 256
#define N_SAMPLES 32

struct reuse {
    struct cache *cache; /* NULL: none */
    struct metrics *metrics;
    struct request *chains[N_CHAINS]; /* leaders */
};

struct reuse *reuse_new(size_t cache_bytes, struct metrics *metrics)
{
    struct reuse *reuse = calloc(1, sizeof *reuse);
    if (!reuse)
        return NULL;
    reuse->metrics = metrics;
    if (cache_bytes > 0 && !(reuse->cache = cache_new(cache_bytes))) {
        free(reuse);
        return NULL;
    }
    return reuse;
}

void reuse_free(struct reuse *reuse)
{
    if (!reuse)
        return;
    cache_free(reuse->cache);
    free(reuse);
}

/* The one image of a request that may share; NULL for others. */
static struct request_image *image_of(const struct request *request)
{
    const bool scores_only = !request->explain && !request->render;
    const bool may_share = request->n_images == 1 && scores_only;
    return may_share && !request->images->is_tensor ? request->images : NULL;
}

/* FNV-1a over the length and bytes from all over the file. */
static uint64_t sample(const struct request_image *image)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ image->n_bytes;
    for (size_t i = 0; i < N_SAMPLES; i++) {
        const size_t at = image->n_bytes / N_SAMPLES * i + image->n_bytes % N_SAMPLES;
        hash = (hash ^ (at < image->n_bytes ? image->bytes[at] : 0)) * UINT64_C(0x100000001b3);
    }
    return hash;
}

/* Times of which none is this request's own work: all of it is waiting. */
static void set_times(struct request_image *image, uint64_t end_ns)
{
    const uint64_t ns = end_ns > image->request->received_ns ? end_ns : image->request->received_ns;
    image->decode_start_ns = image->decode_end_ns = image->preprocess_end_ns = ns;
    image->batch_start_ns = image->batch_end_ns = ns;
}

static bool copy_logits(struct request_image *image, const float *logits)
{
    const size_t n = (size_t)image->request->model->info->classes * sizeof *logits;
    image->logits = malloc(n);
    if (image->logits)
        memcpy(image->logits, logits, n);
    return image->logits != NULL;
}

bool reuse_cached(struct reuse *reuse, struct request *request)
{
    struct request_image *image = image_of(request);
    struct cache_result result;
    if (!reuse->cache || !image || !request->has_key)
        return false;
    const bool hit =
        cache_get(reuse->cache, &request->key, request->model->info->digest, &result) &&
        copy_logits(image, result.logits);
    metrics_add(reuse->metrics, hit ? METRIC_CACHE_HITS : METRIC_CACHE_MISSES, "", 1);
    if (!hit)
        return false;
    image->info = result.info;
    image->has_info = true;
    set_times(image, uv_hrtime());
    request->source = REQUEST_CACHED;
    return true;
}

bool reuse_follow(struct reuse *reuse, struct request *request)
{
    const struct request_image *image = image_of(request);
    if (!image)
        return false;
    request->sample = sample(image);
    for (struct request *leader = reuse->chains[request->sample % N_CHAINS]; leader;
         leader = leader->next_leader) {
        if (leader->sample != request->sample || leader->model != request->model ||
            leader->deadline_ns > request->deadline_ns || atomic_load(&leader->cancelled) ||
            leader->images->n_bytes != image->n_bytes)
            continue;
        if (memcmp(leader->images->bytes, image->bytes, image->n_bytes) != 0)
            return false; /* one comparison is enough work for one request */
        request->leader = leader;
        request->next_follower = leader->followers;
        leader->followers = request;
        metrics_add(reuse->metrics, METRIC_COALESCED, "", 1);
        return true;
    }
    return false;
}

void reuse_lead(struct reuse *reuse, struct request *request)
{
    if (!image_of(request))
        return;
    struct request **chain = &reuse->chains[request->sample % N_CHAINS];
    request->leads = true;
    request->next_leader = *chain;
    *chain = request;
}

static void unfollow(struct request *request)
{
    struct request **link = &request->leader->followers;
    while (*link != request)
        link = &(*link)->next_follower;
    *link = request->next_follower;
    request->leader = request->next_follower = NULL;
}

/* First come, first served again. */
static struct request *reverse(struct request *followers)
{
    struct request *list = NULL;
    while (followers) {
        struct request *next = followers->next_follower;
        followers->next_follower = list;
        followers->leader = NULL;
        list = followers;
        followers = next;
    }
    return list;
}

struct request *reuse_leave(struct reuse *reuse, struct request *request)
{
    if (request->leader)
        unfollow(request);
    if (!request->leads)
        return NULL;
    struct request **link = &reuse->chains[request->sample % N_CHAINS];
    while (*link != request)
        link = &(*link)->next_leader;
    *link = request->next_leader;
    request->leads = false;
    struct request *followers = reverse(request->followers);
    request->followers = NULL;
    const struct request_image *image = request->images;
    if (reuse->cache && request->has_key && image->state == REQUEST_FINISHED &&
        image->problem.type == PROBLEM_NONE)
        cache_put(reuse->cache, &request->key, request->model->info->digest, &image->info,
                  image->logits, request->model->info->classes);
    return followers;
}

bool reuse_share(const struct request *leader, struct request *follower)
{
    const struct request_image *from = leader->images;
    struct request_image *to = follower->images;
    const enum problem_type type = from->problem.type;
    if (from->state != REQUEST_FINISHED || atomic_load(&leader->cancelled) ||
        (type != PROBLEM_NONE && problem_row(type)->status >= 500))
        return false;
    if (type == PROBLEM_NONE && !copy_logits(to, from->logits))
        return false;
    to->problem = from->problem;
    to->info = from->info;
    to->has_info = from->has_info;
    to->batch_size = from->batch_size;
    if (type == PROBLEM_NONE)
        set_times(to, from->batch_end_ns);
    follower->source = REQUEST_COALESCED;
    return true;
}
