/* The loaded models: a short list, since a server has few; references decide when one goes.
 *
 * SPDX-License-Identifier: MIT */
#include "server/registry.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "server/batcher.h"

#define GOLDEN_TOLERANCE 1e-4f /* of the largest logit, or of 1 */

struct registry {
    struct registry_model *first, **last;
};

static void model_free(struct registry_model *model)
{
    rn_session_free(model->session);
    batcher_free(model->batcher);
    free(model->logits);
    rn_model_free(model->model);
    free(model);
}

/* One run of one image with every value `value`; false when the scores are no distribution. */
static bool try_image(const struct registry_model *model, struct rn_session *session, float *tensor,
                      size_t n_values, float value)
{
    for (size_t i = 0; i < n_values; i++)
        tensor[i] = value;
    const float *input = tensor;
    rn_session_run(session, &input, 1, model->logits);
    rn_softmax(model->logits, model->info->classes, model->logits);
    double sum = 0;
    for (int i = 0; i < model->info->classes; i++)
        sum += (double)model->logits[i];
    return isfinite(sum) && fabs(sum - 1) < 1e-3;
}

/* The link to the model of this name, or to the end of the list. */
static struct registry_model **find_link(struct registry *registry, const char *name)
{
    struct registry_model **link = &registry->first;
    while (*link && strcmp((*link)->info->name, name) != 0)
        link = &(*link)->next;
    return link;
}

/* *link is in the list. */
static void drop(struct registry *registry, struct registry_model **link)
{
    struct registry_model *model = *link;
    *link = model->next;
    if (registry->last == &model->next)
        registry->last = link;
    registry_unref(model);
}

static void append(struct registry *registry, struct registry_model *model)
{
    model->next = NULL;
    *registry->last = model;
    registry->last = &model->next;
}

struct registry *registry_new(void)
{
    struct registry *registry = calloc(1, sizeof *registry);
    if (registry)
        registry->last = &registry->first;
    return registry;
}

void registry_free(struct registry *registry)
{
    if (!registry)
        return;
    while (registry->first) {
        struct registry_model *model = registry->first;
        registry->first = model->next;
        registry_unref(model);
    }
    free(registry);
}

enum rn_status registry_add(struct registry *registry, struct rn_model *model,
                            struct rn_threads *threads, struct rn_error *err)
{
    const struct rn_model_info *info = rn_model_info(model);
    enum rn_status status = RN_NO_MEMORY;
    size_t n_logits = 0;
    struct registry_model *entry = calloc(1, sizeof *entry);
    if (!entry) {
        rn_model_free(model);
        return rn_fail(err, RN_NO_MEMORY, "out of memory for a model");
    }
    entry->model = model;
    entry->info = info;
    entry->refs = 1;
    for (const struct registry_model *other = registry->first; other; other = other->next) {
        if (strcmp(other->info->name, info->name) == 0) {
            status =
                rn_fail(err, RN_BAD_ARGUMENT,
                        "two models are called \"%s\"; give one a name as NAME=PATH", info->name);
            goto fail;
        }
    }
    status = rn_session_new(model, threads, &entry->session, err);
    if (status != RN_OK)
        goto fail;
    status = size_mul((size_t)info->max_batch, (size_t)info->classes, &n_logits);
    if (status == RN_OK) {
        entry->batcher = batcher_new(info->max_batch);
        entry->logits = calloc(n_logits, sizeof *entry->logits);
    }
    if (!entry->batcher || !entry->logits) {
        status = rn_fail(err, RN_NO_MEMORY, "model %s: out of memory", info->name);
        goto fail;
    }
    append(registry, entry);
    return RN_OK;
fail:
    model_free(entry);
    return status;
}

/* Whether the network answers as the file says: RN_OK also where it says nothing. */
static enum rn_status try_golden(struct registry_model *model, struct rn_session *session,
                                 float *tensor, struct rn_error *err)
{
    const struct rn_model_info *info = model->info;
    const float *inputs[] = {tensor};
    float largest = 1, worst = 0;
    if (!info->golden)
        return RN_OK;
    rn_golden_input(info, tensor);
    rn_session_run(session, inputs, 1, model->logits);
    for (int i = 0; i < info->classes; i++) {
        const float difference = fabsf(model->logits[i] - info->golden[i]);
        largest = fmaxf(largest, fabsf(info->golden[i]));
        if (!(difference <= worst) && !isnan(worst)) /* NaN is the worst, and stays */
            worst = difference;
    }
    if (worst <= GOLDEN_TOLERANCE * largest)
        return RN_OK;
    return rn_fail(err, RN_BAD_MODEL,
                   "model %s: its golden logits are missed by %g, at most %g is allowed",
                   info->name, (double)worst, (double)(GOLDEN_TOLERANCE * largest));
}

enum rn_status registry_self_test(struct registry_model *model, struct rn_threads *aside,
                                  struct rn_error *err)
{
    const int *input = model->info->input;
    const size_t n_values = (size_t)input[0] * (size_t)input[1] * (size_t)input[2];
    struct rn_session *session = model->session;
    if (aside) {
        const enum rn_status status = rn_session_new(model->model, aside, &session, err);
        if (status != RN_OK)
            return status;
    }
    float *tensor = calloc(n_values, sizeof *tensor);
    bool good = tensor && try_image(model, session, tensor, n_values, 0.0f);
    const uint64_t start_ns = uv_hrtime(); /* the first run also pays for cold memory */
    good = good && try_image(model, session, tensor, n_values, 1.0f);
    if (!aside && good)
        batcher_learn(model->batcher, 1, uv_hrtime() - start_ns);
    const enum rn_status golden = good ? try_golden(model, session, tensor, err) : RN_OK;
    if (aside)
        rn_session_free(session);
    const bool had_memory = tensor != NULL;
    free(tensor);
    if (!had_memory)
        return rn_fail(err, RN_NO_MEMORY, "model %s: out of memory", model->info->name);
    if (!good)
        return rn_fail(err, RN_BAD_MODEL,
                       "model %s: the self-test's scores are not finite or do not sum to 1",
                       model->info->name);
    if (golden != RN_OK)
        return golden;
    model->self_tested = true;
    return RN_OK;
}

void registry_put(struct registry *registry, struct registry *fresh)
{
    while (fresh->first) {
        struct registry_model *model = fresh->first;
        struct registry_model **link = find_link(registry, model->info->name);
        fresh->first = model->next;
        if (!*link) {
            append(registry, model);
            continue;
        }
        batcher_inherit(model->batcher, (*link)->batcher);
        model->next = *link; /* before its namesake, which then goes */
        *link = model;
        drop(registry, &model->next);
    }
    fresh->last = &fresh->first;
}

void registry_exchange(struct registry *registry, struct registry *fresh)
{
    const struct registry old = *registry;
    for (struct registry_model *model = fresh->first; model; model = model->next) {
        const struct registry_model *namesake = *find_link(registry, model->info->name);
        if (namesake)
            batcher_inherit(model->batcher, namesake->batcher);
    }
    registry->first = fresh->first;
    registry->last = fresh->first ? fresh->last : &registry->first;
    fresh->first = old.first;
    fresh->last = old.first ? old.last : &fresh->first;
    while (fresh->first)
        drop(fresh, &fresh->first);
}

bool registry_remove(struct registry *registry, const char *name)
{
    struct registry_model **link = find_link(registry, name);
    if (!*link)
        return false;
    drop(registry, link);
    return true;
}

struct registry_model *registry_ref(struct registry *registry, const char *name)
{
    struct registry_model *model = registry->first;
    if (name && name[0] != '\0')
        while (model && strcmp(model->info->name, name) != 0)
            model = model->next;
    if (model)
        model->refs++;
    return model;
}

void registry_unref(struct registry_model *model)
{
    if (--model->refs == 0)
        model_free(model);
}

struct registry_model *registry_first(const struct registry *registry)
{
    return registry->first;
}

static struct registry_model **find_busy(struct registry_model **list,
                                         const struct registry_model *model)
{
    while (*list && *list != model)
        list = &(*list)->next_busy;
    return list;
}

void registry_append_busy(struct registry_model **list, struct registry_model *model)
{
    *find_busy(list, NULL) = model;
    model->next_busy = NULL;
}

void registry_unlink_busy(struct registry_model **list, struct registry_model *model)
{
    struct registry_model **link = find_busy(list, model);
    if (*link)
        *link = model->next_busy;
}
