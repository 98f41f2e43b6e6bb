/* The set of models that is served: loaded at start, anew at SIGHUP, one by one by an operator.
 *
 * Loop thread. Models are opened and tried on a thread of their own, one job at a time; the set
 * changes on the loop in one step when all of a job's models are good, and not at all otherwise.
 * Once the daemon serves, that thread works at a pace (pace.h). A model that leaves the set goes
 * with its last request.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_CMD_MODELS_H
#define RESNETD_SERVER_CMD_MODELS_H

#include <stdbool.h>

#include "engine/engine.h"

struct uv_loop_s;
struct config;
struct metrics;
struct models;
struct pipeline;
struct registry;

/* A job is over; err is set unless status is RN_OK. */
typedef void (*models_done)(void *context, enum rn_status status, const struct rn_error *err);

/* `config` is read until models_free and may change between jobs; `idle` is called after each job,
 * when the next one may start. NULL: out of memory. */
struct models *models_new(struct uv_loop_s *loop, const struct config *config,
                          struct rn_threads *threads, struct metrics *metrics,
                          struct pipeline *pipeline, void (*idle)(void *context), void *context);
/* Only when no job runs. Before the loop's last turn: a handle is closed. NULL allowed. */
void models_free(struct models *models);

bool models_busy(const struct models *models);
/* The set; its address never changes. */
struct registry *models_registry(struct models *models);

/* Makes the set what `config` says (often the one given at models_new, before it is adopted).
 * False when a job runs already or no thread can be had: nothing happens then. */
bool models_load(struct models *models, const struct config *config, models_done done,
                 void *context);
/* Adds [NAME=]PATH, or replaces the model of that name. False as above. */
bool models_put(struct models *models, const char *text, const char *labels, models_done done,
                void *context);
/* False: no such model, or the last one. */
bool models_remove(struct models *models, const char *name);

/* Opens and tries all models of the settings, without serving: --check. */
enum rn_status models_check(struct models *models, struct rn_error *err)
    __attribute__((warn_unused_result));

#endif
