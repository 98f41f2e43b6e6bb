/* Reading the fields of a recipe from JSON: each reader fills one field when the object has the
 * key, and refuses a value of the wrong kind or size with a sentence that names it.
 *
 * A member that is null is one that is not there: transformers writes out all that it does not use.
 * A field that has been filled before (*has) is left alone, so that sources are simply read in
 * their order of belief. `where` stands for the source in messages. Pure.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_ENGINE_LOAD_FIELDS_H
#define RESNETD_ENGINE_LOAD_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "engine/engine.h"

/* Whether text[0…n) has no more items than the JSON parser may have memory for: 131072, some 26 MB.
 * RN_BAD_MODEL. */
enum rn_status fields_check_size(const char *text, size_t n, const char *where,
                                 struct rn_error *err) RN_MUST_USE;

/* Parses text[0…n) as one JSON object of a size that fields_check_size allows; duplicate keys are
 * refused. NULL and a sentence in err when it is not. The caller ends it with json_decref. */
json_t *fields_parse(const char *text, size_t n, const char *where, struct rn_error *err);

/* Fails when the object has a key that is not among `known` (ended by NULL). */
enum rn_status fields_check_known(const json_t *object, const char *where, const char *const *known,
                                  struct rn_error *err) RN_MUST_USE;

/* The member `key` of an object; NULL where it is null, as a member that is not there. */
const json_t *fields_get(const json_t *object, const char *key);

/* A number of pixels, 1…RN_MAX_INPUT_SIDE. */
enum rn_status fields_side(const json_t *object, const char *where, const char *key, bool *has,
                           int *out, struct rn_error *err) RN_MUST_USE;

/* "bilinear" or "bicubic", or Pillow's numbers for them, 2 and 3. */
enum rn_status fields_interpolation(const json_t *object, const char *where, const char *key,
                                    bool *has, enum rn_interpolation *out,
                                    struct rn_error *err) RN_MUST_USE;

/* Mean and standard deviation, three numbers each; the one needs the other; std > 0. */
enum rn_status fields_mean_std(const json_t *object, const char *where, const char *mean_key,
                               const char *std_key, bool *has, struct rn_recipe *out,
                               struct rn_error *err) RN_MUST_USE;

#endif
