/* Models by name, their references, and the self-test.
 *
 * SPDX-License-Identifier: MIT */
#include "server/registry.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "config/embedded.h"
#include "server/batcher.h"

static struct rn_threads *threads;
static struct registry *registry;

static void setup(void)
{
    struct rn_error err;
    cr_assert_eq(rn_threads_new(1, &threads, &err), RN_OK);
    registry = registry_new();
    cr_assert_not_null(registry);
}

static void teardown(void)
{
    registry_free(registry);
    rn_threads_free(threads);
}

TestSuite(registry, .init = setup, .fini = teardown);

static struct rn_model *open_bytes(const void *bytes, const char *name)
{
    const struct rn_model_options options = {.name = name, .max_batch = 2};
    struct rn_model *model = NULL;
    struct rn_error err;
    cr_assert_eq(
        rn_model_open_memory(bytes, config_embedded_model_bytes(), "test", &options, &model, &err),
        RN_OK, "%s", err.text);
    return model;
}

static void add(const char *name)
{
    struct rn_error err;
    cr_assert_eq(registry_add(registry, open_bytes(config_embedded_model, name), threads, &err),
                 RN_OK, "%s", err.text);
}

Test(registry, finds_by_name_and_the_first_without_one)
{
    cr_assert_null(registry_ref(registry, NULL));
    add("a");
    add("b");
    struct registry_model *first = registry_ref(registry, ""), *b = registry_ref(registry, "b");
    cr_assert_str_eq(first->info->name, "a");
    cr_assert_str_eq(b->info->name, "b");
    cr_assert_eq(registry_first(registry), first);
    cr_assert_null(registry_ref(registry, "c"));
    registry_unref(first);
    registry_unref(b);
}

Test(registry, a_reference_outlives_the_registry)
{
    add("a");
    struct registry_model *model = registry_ref(registry, "a");
    registry_free(registry);
    registry = registry_new();
    cr_assert_str_eq(model->info->name, "a"); /* freed memory would be told by AddressSanitizer */
    registry_unref(model);
}

Test(registry, a_name_is_taken_once)
{
    struct rn_error err;
    add("a");
    cr_assert_eq(registry_add(registry, open_bytes(config_embedded_model, "a"), threads, &err),
                 RN_BAD_ARGUMENT);
    cr_assert(strstr(err.text, "\"a\""), "%s", err.text);
}

Test(registry, the_self_test_passes_a_sound_model_and_teaches_what_it_costs)
{
    struct rn_error err;
    add("a");
    struct registry_model *model = registry_first(registry);
    cr_assert_not(model->self_tested);
    cr_assert_eq(registry_self_test(model, NULL, &err), RN_OK, "%s", err.text);
    cr_assert(model->self_tested);
    cr_assert_gt(batcher_cost_ns(model->batcher, 1), 0);
}

Test(registry, the_self_test_finds_weights_that_are_other_numbers)
{
    /* Behind the first layer's BN come its weights, in the order of names: some become -1.5. */
    struct rn_error err;
    const size_t n = config_embedded_model_bytes();
    uint8_t *bytes = malloc(n);
    cr_assert_not_null(bytes);
    memcpy(bytes, config_embedded_model, n);
    uint64_t n_header;
    memcpy(&n_header, bytes, sizeof n_header);
    memset(bytes + sizeof n_header + n_header + sizeof(float[4][16]), 0xbf, sizeof(float[100]));
    const struct rn_model_options options = {.name = "other", .max_batch = 1};
    struct rn_model *model = NULL;
    cr_assert_eq(rn_model_open_memory(bytes, n, "other", &options, &model, &err), RN_OK);
    cr_assert_eq(registry_add(registry, model, threads, &err), RN_OK);
    cr_assert_eq(registry_self_test(registry_first(registry), NULL, &err), RN_BAD_MODEL);
    cr_assert_not_null(strstr(err.text, "golden logits"), "%s", err.text);
    free(bytes);
}

Test(registry, the_self_test_finds_weights_that_are_no_numbers)
{
    /* The file's last floats become NaN: whatever tensor they are of, all scores see them. */
    struct rn_error err;
    const size_t n = config_embedded_model_bytes();
    uint8_t *bytes = malloc(n);
    cr_assert_not_null(bytes);
    memcpy(bytes, config_embedded_model, n);
    memset(bytes + n - 64, 0xff, 64);
    const struct rn_model_options options = {.name = "nan", .max_batch = 1};
    struct rn_model *model = NULL;
    enum rn_status status = rn_model_open_memory(bytes, n, "nan", &options, &model, &err);
    if (status == RN_OK)
        status = registry_add(registry, model, threads, &err);
    if (status == RN_OK)
        status = registry_self_test(registry_first(registry), NULL, &err);
    cr_assert_eq(status, RN_BAD_MODEL, "%d", status);
    free(bytes);
}
