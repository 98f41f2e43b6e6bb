/* Reads forms and JSON into a request's images and parameters.
 *
 * Runs on a worker. Two passes over a form: count and check, then fill in. JSON is parsed by
 * jansson with duplicate keys refused; its size is bounded by the body's limit, and how many values
 * it has before any of them is made.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_body.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "server/api_json.h"
#include "server/base64.h"
#include "server/json_scan.h"
#include "server/multipart.h"
#include "server/request.h"

#define OTHER_VALUES 256 /* of JSON, besides the images */
#define NAME_SIZE 256    /* of a name, with its NUL: as long as a form's */

enum api_form api_body_form(const char *content_type, const uint8_t *bytes, size_t n)
{
    size_t type = strcspn(content_type, "; \t");
    if (type == strlen("multipart/form-data") &&
        strncasecmp(content_type, "multipart/form-data", type) == 0)
        return API_FORM_MULTIPART;
    if (type == strlen("application/json") &&
        strncasecmp(content_type, "application/json", type) == 0)
        return API_FORM_JSON;
    size_t i = 0;
    while (i < n && bytes[i] && strchr(" \t\r\n", bytes[i]))
        i++;
    bool image = strncasecmp(content_type, "image/", 6) == 0;
    return !image && i < n && bytes[i] == '{' ? API_FORM_JSON : API_FORM_RAW;
}

static bool out_of_memory(struct problem *problem)
{
    problem_set(problem, PROBLEM_INTERNAL, "out of memory");
    return false;
}

/* Makes the request's images, of which there must be 1…max_images. */
static bool make_images(struct api_body *body, struct request *request, size_t n,
                        struct problem *problem)
{
    if (n > (size_t)body->max_images) {
        problem_set(problem, PROBLEM_TOO_MANY_IMAGES, "%zu images, the limit is %d", n,
                    body->max_images);
        problem_number(problem, "limit_images", body->max_images);
        return false;
    }
    body->names = calloc(n, NAME_SIZE);
    if (!body->names || request_images(request, (int)n) != RN_OK)
        return out_of_memory(problem);
    return true;
}

static void set_name(struct api_body *body, struct request *request, size_t i, const char *name)
{
    char *copy = body->names + i * NAME_SIZE;
    (void)snprintf(copy, NAME_SIZE, "%s", name);
    request->images[i].name = copy;
}

/* ---- forms ---------------------------------------------------------------------------------- */

/* A browser sends a file field that was left empty as a nameless file of no bytes. */
static bool is_image(const struct multipart_part *part)
{
    return part->is_file && (part->n_bytes || part->filename[0]);
}

static bool set_field(struct api_body *body, const struct multipart_part *part,
                      struct problem *problem)
{
    char value[256];
    if (part->n_bytes >= sizeof value || memchr(part->bytes, '\0', part->n_bytes)) {
        problem_parameter(problem, part->name,
                          "%s: the value is no text of at most %zu characters (an image needs a "
                          "filename)",
                          part->name, sizeof value - 1);
        return false;
    }
    memcpy(value, part->bytes, part->n_bytes);
    value[part->n_bytes] = '\0';
    return api_params_set(&body->params, part->name, value, problem);
}

/* First pass: the fields, and how many images of how many bytes there are. */
static bool read_fields(struct api_body *body, struct multipart form, size_t *n_images,
                        size_t *n_bytes, struct problem *problem)
{
    struct multipart_part part;
    struct rn_error err;
    bool more = true;
    while (more) {
        if (multipart_next(&form, &part, &more, &err) != RN_OK) {
            problem_set(problem, PROBLEM_BAD_MULTIPART, "%s", err.text);
            return false;
        }
        if (!more)
            break;
        if (is_image(&part)) {
            ++*n_images;
            *n_bytes += part.n_bytes;
        } else if (!part.is_file && !set_field(body, &part, problem)) {
            return false;
        }
    }
    return true;
}

static bool read_form(struct api_body *body, struct request *request, struct problem *problem)
{
    struct multipart form;
    struct rn_error err;
    size_t n_images = 0, n_bytes = 0;
    if (multipart_init(&form, body->content_type, body->bytes, body->n_bytes, &err) != RN_OK) {
        problem_set(problem, PROBLEM_BAD_MULTIPART, "%s", err.text);
        return false;
    }
    if (!read_fields(body, form, &n_images, &n_bytes, problem))
        return false;
    if (n_images == 0) {
        problem_set(problem, PROBLEM_BAD_MULTIPART, "the form has no file");
        return false;
    }
    if (n_bytes == 0) {
        problem_set(problem, PROBLEM_EMPTY_BODY, "the form's file is empty");
        return false;
    }
    if (!make_images(body, request, n_images, problem))
        return false;
    body->shape = n_images == 1 ? API_SHAPE_ONE : API_SHAPE_MANY;
    struct multipart_part part;
    bool more = true;
    for (size_t i = 0; i < n_images;) {
        if (multipart_next(&form, &part, &more, NULL) != RN_OK || !is_image(&part))
            continue;
        set_name(body, request, i, part.filename[0] ? part.filename : part.name);
        request->images[i].bytes = part.bytes;
        request->images[i].n_bytes = part.n_bytes;
        i++;
    }
    return true;
}

/* ---- JSON ----------------------------------------------------------------------------------- */

/* A parameter as JSON has it, written as the query would; null is as if it were not there. */
static bool set_member(struct api_body *body, const char *key, const json_t *value,
                       struct problem *problem)
{
    char number[32];
    const char *text = number;
    if (json_is_null(value))
        return true;
    if (json_is_string(value)) {
        text = json_string_value(value);
    } else if (json_is_boolean(value)) {
        text = json_is_true(value) ? "1" : "0";
    } else if (json_is_integer(value)) {
        (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        (void)snprintf(number, sizeof number, "%.17g", json_real_value(value));
    } else {
        text = "[…]";
    }
    return api_params_set(&body->params, key, text, problem);
}

/* The base64 of a plain text or of a data: URI (RFC 2397). */
static bool find_base64(const char *where, const char **text, size_t *n, struct problem *problem)
{
    if (*n < 5 || strncasecmp(*text, "data:", 5) != 0)
        return true;
    static const char marker[] = ";base64";
    const size_t n_marker = sizeof marker - 1;
    const char *comma = memchr(*text, ',', *n);
    if (!comma || (size_t)(comma - *text) < n_marker ||
        strncasecmp(comma - n_marker, marker, n_marker) != 0) {
        problem_set(problem, PROBLEM_BAD_BASE64, "%s: the data: URI has no \";base64,\"", where);
        return false;
    }
    *n -= (size_t)(comma + 1 - *text);
    *text = comma + 1;
    return true;
}

bool api_body_image(const struct json_t *value, struct request_image *image, const char *where,
                    struct problem *problem)
{
    if (!json_is_string(value)) {
        problem_set(problem, PROBLEM_BAD_JSON, "%s is no text with an image in base64", where);
        return false;
    }
    const char *text = json_string_value(value);
    size_t n = json_string_length(value);
    if (!find_base64(where, &text, &n, problem))
        return false;
    struct rn_error err;
    image->owned = malloc(base64_bound(n));
    if (!image->owned)
        return out_of_memory(problem);
    if (base64_decode(text, n, image->owned, &image->n_bytes, &err) != RN_OK) {
        problem_set(problem, PROBLEM_BAD_BASE64, "%s: %s", where, err.text);
        return false;
    }
    if (image->n_bytes == 0) {
        problem_set(problem, PROBLEM_EMPTY_BODY, "%s is empty", where);
        return false;
    }
    image->bytes = image->owned;
    return true;
}

/* The one member with images: `one` of its value, or a list of them. */
static bool read_images(struct api_body *body, struct request *request, const char *key,
                        const json_t *value, struct problem *problem)
{
    bool list = json_is_array(value);
    size_t n = list ? json_array_size(value) : 1;
    if (n == 0) {
        problem_set(problem, PROBLEM_BAD_JSON, "\"%s\" has no image", key);
        return false;
    }
    if (!make_images(body, request, n, problem))
        return false;
    for (size_t i = 0; i < n; i++) {
        char where[32];
        if (list)
            (void)snprintf(where, sizeof where, "%s[%zu]", key, i);
        else
            (void)snprintf(where, sizeof where, "%s", key);
        set_name(body, request, i, where);
        if (!api_body_image(list ? json_array_get(value, i) : value, &request->images[i], where,
                            problem))
            return false;
    }
    return true;
}

/* Hugging Face's "parameters". */
static bool read_parameters(struct api_body *body, json_t *parameters, struct problem *problem)
{
    if (!json_is_object(parameters) && !json_is_null(parameters)) {
        problem_set(problem, PROBLEM_BAD_JSON, "\"parameters\" is no object");
        return false;
    }
    const char *key;
    json_t *value;
    json_object_foreach(parameters, key,
                        value) if (!set_member(body, key, value, problem)) return false;
    return true;
}

static bool read_object(struct api_body *body, struct request *request, json_t *root,
                        struct problem *problem)
{
    static const char *const image_keys[] = {"image", "images", "inputs"};
    const char *image_key = NULL;
    for (size_t i = 0; i < sizeof image_keys / sizeof image_keys[0]; i++) {
        if (!json_object_get(root, image_keys[i]))
            continue;
        if (image_key) {
            problem_set(problem, PROBLEM_BAD_JSON, "there are both \"%s\" and \"%s\"", image_key,
                        image_keys[i]);
            return false;
        }
        image_key = image_keys[i];
    }
    if (!image_key) {
        problem_set(problem, PROBLEM_BAD_JSON,
                    "there is neither \"image\" nor \"images\" nor \"inputs\"");
        return false;
    }
    const char *key;
    json_t *value;
    bool hf = strcmp(image_key, "inputs") == 0;
    json_object_foreach(root, key, value)
    {
        if (strcmp(key, image_key) == 0)
            continue;
        bool parameters = hf && strcmp(key, "parameters") == 0;
        if (!(parameters ? read_parameters(body, value, problem)
                         : set_member(body, key, value, problem)))
            return false;
    }
    const json_t *images = json_object_get(root, image_key);
    bool list = json_is_array(images), wants_list = strcmp(image_key, "images") == 0;
    if (!hf && list != wants_list) {
        problem_set(problem, PROBLEM_BAD_JSON,
                    "\"image\" takes one text, \"images\" takes a list of them");
        return false;
    }
    if (hf)
        body->shape = list ? API_SHAPE_HF_MANY : API_SHAPE_HF;
    else
        body->shape = list ? API_SHAPE_MANY : API_SHAPE_ONE;
    return read_images(body, request, image_key, images, problem);
}

static bool read_json(struct api_body *body, struct request *request, struct problem *problem)
{
    const size_t most = (size_t)body->max_images + OTHER_VALUES;
    if (json_scan_values(body->bytes, body->n_bytes) > most) {
        problem_set(problem, PROBLEM_BAD_JSON, "the JSON has more than %zu values", most);
        return false;
    }
    json_t *root = api_json_load(body->bytes, body->n_bytes, problem);
    bool ok = false;
    if (json_is_object(root))
        ok = read_object(body, request, root, problem);
    else if (root)
        problem_set(problem, PROBLEM_BAD_JSON, "the JSON is no object");
    json_decref(root);
    return ok;
}

bool api_body_read(struct api_body *body, struct request *request, struct problem *problem)
{
    switch (api_body_form(body->content_type, body->bytes, body->n_bytes)) {
    case API_FORM_MULTIPART:
        return read_form(body, request, problem);
    case API_FORM_JSON:
        return read_json(body, request, problem);
    default:
        break;
    }
    if (!make_images(body, request, 1, problem))
        return false;
    body->shape = API_SHAPE_ONE;
    request->images[0].bytes = body->bytes;
    request->images[0].n_bytes = body->n_bytes;
    return true;
}

void api_body_done(struct api_body *body)
{
    free(body->names);
    body->names = NULL;
}
