/* Scores become an answer of the Open Inference Protocol v2: JSON, or JSON and a binary tensor.
 *
 * Loop thread. Everything is borrowed. Softmax runs in place of the images' logits, so an answer is
 * written once.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_V2_ANSWER_H
#define RESNETD_SERVER_API_V2_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

struct api_v2_body;
struct request;
struct rn_model_info;

/* "1" where the file says nothing, since a version is a segment of the path. */
const char *api_v2_version(const struct rn_model_info *info);

/* False where an image's scores are no numbers, from a tensor of extreme values. Before the answer.
 */
bool api_v2_answer_scores(const struct request *request);

/* malloc'ed; NULL when out of memory. *n_json is the length of its JSON, where a tensor follows. */
char *api_v2_answer(const struct request *request, const struct api_v2_body *body, size_t *n,
                    size_t *n_json);

#endif
