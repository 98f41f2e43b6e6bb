/* What every request that wants the engine has in common, whatever its protocol: what its header
 * can be refused for, and the bill at its end.
 *
 * Loop thread. Owns nothing.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_JOB_H
#define RESNETD_SERVER_API_JOB_H

#include <stdbool.h>

struct api;
struct http_exchange;
struct problem;
struct registry_model;
struct request;

/* False with a problem when the header is one for no model: a coded body, models that are not there
 * yet. *expected_ms is what a proxy in front says that it will wait, 0 where none does. */
bool api_job_header(const struct api *api, const struct http_exchange *exchange, int *expected_ms,
                    struct problem *refusal);

/* Models are loaded and have passed their self-test; false with the problem that says what else. */
bool api_job_models(const struct api *api, struct problem *refusal);

/* From on_completed: metrics, access log, the list of recent requests. `request` NULL: it never was
 * one; `model` NULL: none was found. */
void api_job_completed(const struct api *api, const struct http_exchange *exchange,
                       const struct request *request, const struct registry_model *model);

#endif
