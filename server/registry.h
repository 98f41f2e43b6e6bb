/* The loaded models by name, counted by reference.
 *
 * One thread at a time: cmd/serve.c builds a registry on a worker and hands it to the loop, whose
 * it then is. A model's batcher and session live here, beside it, so that everything a model
 * owns goes with its last reference.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_REGISTRY_H
#define RESNETD_SERVER_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/engine.h"
#include "server/stats.h"

struct batcher;
struct registry;

struct registry_model {
    struct registry_model *next;
    struct rn_model *model;
    struct rn_session *session;
    const struct rn_model_info *info;
    struct batcher *batcher;
    float *logits; /* [max_batch][classes], of the batch that runs */
    struct stats stats;
    int refs;
    struct registry_model *next_busy;       /* the pipeline's list of models with work */
    struct registry_model *next_unmeasured; /* the runner's, of those to measure */
    bool wants_measurement;                 /* is in that list */
    bool self_tested; /* one inference ran, its scores are finite and sum to 1, and golden */
};

struct registry *registry_new(void); /* NULL when out of memory */
void registry_free(struct registry *registry);

/* Adds an opened model under its info's name (takes it, also on failure) and builds its session
 * and batcher. RN_BAD_ARGUMENT when the name is taken, RN_NO_MEMORY. */
enum rn_status registry_add(struct registry *registry, struct rn_model *model,
                            struct rn_threads *threads, struct rn_error *err)
    __attribute__((warn_unused_result));

/* Runs an image of zeros and one of ones: both must give finite scores that sum to 1; and the
 * golden input, where the file says what it must give. Sets self_tested and teaches the batcher
 * what a run costs; not so with a team of its own (else NULL), for a model whose threads are in
 * use. RN_BAD_MODEL, RN_NO_MEMORY. */
enum rn_status registry_self_test(struct registry_model *model, struct rn_threads *aside,
                                  struct rn_error *err) __attribute__((warn_unused_result));

/* Moves the models of `fresh` into the registry, over those of the same names, from whom they
 * inherit what a run costs; new names go to the end. `fresh` has none then. */
void registry_put(struct registry *registry, struct registry *fresh);
/* The same, and what has no namesake in `fresh` leaves; the order is that of `fresh`. */
void registry_exchange(struct registry *registry, struct registry *fresh);
/* False when there is none of this name. */
bool registry_remove(struct registry *registry, const char *name);

/* By name; NULL or "" gives the first one. NULL when there is none. Adds a reference. */
struct registry_model *registry_ref(struct registry *registry, const char *name);
void registry_unref(struct registry_model *model);
/* The pipeline's list of models with work, through next_busy: to its end, and out of it (nothing if
 * it is not there). */
void registry_append_busy(struct registry_model **list, struct registry_model *model);
void registry_unlink_busy(struct registry_model **list, struct registry_model *model);
/* In the order of adding, borrowed; follow ->next. */
struct registry_model *registry_first(const struct registry *registry);

#endif
