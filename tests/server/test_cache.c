/* Results by content and model; the least recently used leave first, within the limit.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cache.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define CLASSES 10
#define LIMIT 65536

static struct cache *cache;

static void setup(void)
{
    cache = cache_new(LIMIT);
    cr_assert_not_null(cache);
}

static void teardown(void)
{
    cache_free(cache);
}

TestSuite(cache, .init = setup, .fini = teardown);

static struct cache_key key_of(int i)
{
    return cache_hash((const uint8_t *)&i, sizeof i);
}

static void put(int i, const char *model)
{
    const struct cache_key key = key_of(i);
    const struct rn_image_info info = {.width = i};
    float logits[CLASSES];
    for (int c = 0; c < CLASSES; c++)
        logits[c] = (float)(i * CLASSES + c);
    cache_put(cache, &key, model, &info, logits, CLASSES);
}

static bool has(int i, const char *model)
{
    const struct cache_key key = key_of(i);
    struct cache_result result;
    if (!cache_get(cache, &key, model, &result))
        return false;
    cr_assert_eq(result.info.width, i);
    cr_assert_eq(result.logits[3], (float)(i * CLASSES + 3));
    return true;
}

Test(cache, hashes_as_sha_256_does)
{
    /* FIPS 180-2, appendix B.1 */
    static const uint8_t abc[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea};
    const struct cache_key key = cache_hash((const uint8_t *)"abc", 3);
    cr_assert_arr_eq(key.image, abc, sizeof abc);
}

Test(cache, finds_by_content_and_model)
{
    cr_assert_not(has(1, "m"));
    put(1, "m");
    cr_assert(has(1, "m"));
    cr_assert_not(has(2, "m"));
    cr_assert_not(has(1, "n"));
    put(1, "n");
    cr_assert(has(1, "n"));
    put(1, "n"); /* twice is once */
    cr_assert(has(1, "m"));
}

Test(cache, forgets_the_least_recently_used_and_keeps_within_its_limit)
{
    put(0, "m");
    for (int i = 1; i < 10000; i++) {
        put(i, "m");
        cr_assert_leq(cache_bytes(cache), LIMIT);
        cr_assert(has(0, "m"), "used all the time, at %d", i);
    }
    cr_assert_not(has(1, "m"));
    cr_assert(has(9999, "m"));
    cr_assert(has(9990, "m"));
}

Test(cache, keeps_nothing_that_does_not_fit)
{
    struct cache *tiny = cache_new(1);
    const struct cache_key key = key_of(1);
    const struct rn_image_info info = {0};
    const float logits[CLASSES] = {0};
    struct cache_result result;
    cache_put(tiny, &key, "m", &info, logits, CLASSES);
    cr_assert_not(cache_get(tiny, &key, "m", &result));
    cache_free(tiny);
}
