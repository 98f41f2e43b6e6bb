/* The parameters of a classification, from the query, a form's fields or JSON: one table of names.
 *
 * Pure; any thread. Values come as text. What depends on the model (the range of top_k) is checked
 * by api_params_check() once the model is known.
 *
 * SPDX-License-Identifier: MIT */
#ifndef RESNETD_SERVER_API_PARAMS_H
#define RESNETD_SERVER_API_PARAMS_H

#include <stdbool.h>

struct problem;

#define API_PARAMS_MAX_TIMEOUT_MS 600000

struct api_params {
    int top_k; /* as given; without it the server's, but no more than there are classes */
    bool has_top_k;
    double threshold; /* predictions below it are left out */
    int timeout_ms;   /* 0: the server's */
    char model[128];  /* "": the first */
    bool labels, timings;
    bool debug_input;  /* answer the picture that the network saw */
    bool explain;      /* add a class-activation map */
    int explain_class; /* as given */
    bool has_explain_class;
    bool explain_png; /* answer a picture of the map over the image */
    bool has_explain_format;
};
extern const struct api_params api_params_default;

/* A whole decimal number; one that fits no int becomes the nearest. False for anything else. */
bool api_params_int(const char *value, int *out);

/* False with a BAD_PARAMETER problem for an unknown name or a wrong value. */
bool api_params_set(struct api_params *params, const char *name, const char *value,
                    struct problem *problem);
bool api_params_check(const struct api_params *params, int classes, struct problem *problem);

#endif
