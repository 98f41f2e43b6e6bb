/* The members of a request, its parameters and where its tensor lies.
 *
 * Runs on a worker. Members that are null count as left out, since clients made from schemas write
 * them; parameters that we do not know are ignored, since other servers have more of them.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api_v2_body.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "server/api_json.h"
#include "server/api_params.h"
#include "server/api_v2_tensor.h"
#include "server/json_scan.h"
#include "server/request.h"

#define EXTRA_VALUES 1024 /* of JSON, besides the tensor's elements */
#define MAX_TIMEOUT_US ((int64_t)API_PARAMS_MAX_TIMEOUT_MS * 1000)

/* What is being read. */
struct reader {
    struct api_v2_body *body;
    struct request *request;
    const struct rn_model_info *info;
    const uint8_t *binary; /* what follows the JSON */
    size_t n_binary;
    struct problem *problem;
};

/* ---- members ----------------------------------------------------------------------------------
 */

/* NULL where it is left out or null. */
static const json_t *member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static bool refuse_json(const struct reader *reader, const char *sentence)
{
    problem_set(reader->problem, PROBLEM_BAD_JSON, "%s", sentence);
    return false;
}

/* A whole number in min…max; *out stays as it is where there is none. */
static bool read_integer(const struct reader *reader, const json_t *object, const char *key,
                         int64_t min, int64_t max, int64_t *out)
{
    const json_t *value = member(object, key);
    if (!value)
        return true;
    const json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < min || number > max) {
        problem_parameter(reader->problem, key, "%s is no whole number in %lld…%lld", key,
                          (long long)min, (long long)max);
        return false;
    }
    *out = number;
    return true;
}

static bool read_switch(const struct reader *reader, const json_t *object, const char *key,
                        bool *out)
{
    const json_t *value = member(object, key);
    if (!value)
        return true;
    if (!json_is_boolean(value)) {
        problem_parameter(reader->problem, key, "%s is neither true nor false", key);
        return false;
    }
    *out = json_is_true(value);
    return true;
}

/* The object called "parameters", NULL where there is none. */
static bool read_parameters(const struct reader *reader, const json_t *object, const json_t **out)
{
    *out = member(object, "parameters");
    if (*out && !json_is_object(*out))
        return refuse_json(reader, "\"parameters\" is no object");
    if (member(*out, "shared_memory_region")) {
        problem_parameter(reader->problem, "shared_memory_region",
                          "shared_memory_region: there is no shared memory, send the tensor");
        return false;
    }
    return true;
}

/* ---- the request's own -------------------------------------------------------------------------
 */

/* All requests have one priority, as with a Triton model that sets no levels. */
static bool read_request(struct reader *reader, const json_t *root)
{
    const json_t *id = member(root, "id"), *parameters;
    int64_t priority;
    if (id && !json_is_string(id))
        return refuse_json(reader, "\"id\" is no text");
    if (id && !(reader->body->id = strdup(json_string_value(id)))) {
        problem_set(reader->problem, PROBLEM_INTERNAL, "out of memory");
        return false;
    }
    return read_parameters(reader, root, &parameters) &&
           read_integer(reader, parameters, "timeout", 0, MAX_TIMEOUT_US,
                        &reader->body->timeout_us) &&
           read_integer(reader, parameters, "priority", 0, INT64_MAX, &priority) &&
           read_switch(reader, parameters, "binary_data_output", &reader->body->binary);
}

static bool read_output(struct reader *reader, const json_t *root)
{
    const json_t *outputs = member(root, "outputs"), *parameters;
    if (!outputs || (json_is_array(outputs) && json_array_size(outputs) == 0))
        return true;
    const json_t *output = json_array_get(outputs, 0), *name = member(output, "name");
    if (json_array_size(outputs) != 1 || !json_is_string(name) ||
        strcmp(json_string_value(name), API_V2_OUTPUT) != 0)
        return refuse_json(reader, "\"outputs\" is no list of the one output, which has the name "
                                   "\"" API_V2_OUTPUT "\"");
    int64_t classification = 0;
    if (!read_parameters(reader, output, &parameters) ||
        !read_switch(reader, parameters, "binary_data", &reader->body->binary) ||
        !read_integer(reader, parameters, "classification", 1, reader->info->classes,
                      &classification))
        return false;
    reader->body->classification = (int)classification;
    return true;
}

/* ---- the input ---------------------------------------------------------------------------------
 */

static bool make_images(const struct reader *reader, int n)
{
    const int limit = reader->body->max_images;
    if (n > limit) {
        problem_set(reader->problem, PROBLEM_TOO_MANY_IMAGES, "%d images, the limit is %d", n,
                    limit);
        problem_number(reader->problem, "limit_images", limit);
        return false;
    }
    if (request_images(reader->request, n) == RN_OK)
        return true;
    problem_set(reader->problem, PROBLEM_INTERNAL, "out of memory");
    return false;
}

/* Text in JSON cannot be a file, so it is base64, whether content_type says so or not. */
static bool check_content_type(const struct reader *reader, const json_t *parameters)
{
    const json_t *type = member(parameters, "content_type");
    if (!type || (json_is_string(type) && strcmp(json_string_value(type), "base64") == 0))
        return true;
    problem_parameter(reader->problem, "content_type", "content_type: only \"base64\" is taken");
    return false;
}

static bool read_elements(const struct reader *reader, const json_t *input,
                          const struct api_v2_tensor *tensor, const json_t *parameters)
{
    const json_t *data = member(input, "data");
    const bool in_binary = member(parameters, "binary_data_size") != NULL;
    int64_t size = 0;
    if (!read_integer(reader, parameters, "binary_data_size", 0, INT64_MAX, &size))
        return false;
    if (in_binary == (data != NULL))
        return refuse_json(reader, data ? "the input has both \"data\" and binary_data_size"
                                        : "the input has neither \"data\" nor binary_data_size");
    if ((uint64_t)size != reader->n_binary) {
        problem_set(reader->problem, PROBLEM_BAD_TENSOR,
                    "binary_data_size is %lld, and %zu bytes follow the JSON", (long long)size,
                    reader->n_binary);
        return false;
    }
    if (in_binary)
        return api_v2_tensor_binary(tensor, reader->binary, reader->n_binary, reader->request,
                                    reader->info, reader->problem);
    if (tensor->form == API_V2_BYTES && !check_content_type(reader, parameters))
        return false;
    return api_v2_tensor_json(tensor, data, reader->request, reader->info, reader->problem);
}

static bool read_input(const struct reader *reader, const json_t *root)
{
    const json_t *inputs = member(root, "inputs"), *input = json_array_get(inputs, 0), *parameters;
    const json_t *name = member(input, "name"), *datatype = member(input, "datatype");
    struct api_v2_tensor tensor;
    if (json_array_size(inputs) != 1 || !json_is_string(name) ||
        strcmp(json_string_value(name), API_V2_INPUT) != 0)
        return refuse_json(reader, "\"inputs\" is no list of the one input, which has the name "
                                   "\"" API_V2_INPUT "\"");
    if (!json_is_string(datatype))
        return refuse_json(reader, "the input has no \"datatype\"");
    return read_parameters(reader, input, &parameters) &&
           api_v2_tensor_check(json_string_value(datatype), member(input, "shape"), reader->info,
                               &tensor, reader->problem) &&
           make_images(reader, tensor.n_images) &&
           read_elements(reader, input, &tensor, parameters);
}

/* ---- the whole ---------------------------------------------------------------------------------
 */

static size_t n_values(const struct rn_model_info *info)
{
    return (size_t)info->input[0] * (size_t)info->input[1] * (size_t)info->input[2];
}

/* A tensor of one image without a word about it: what has the size of the model's input is that,
 * everything else a file. The answer is binary, too. */
static bool read_raw(struct reader *reader)
{
    struct api_v2_body *body = reader->body;
    const struct rn_model_info *info = reader->info;
    const char *format = rn_image_sniff(body->bytes, body->n_bytes);
    const struct api_v2_tensor tensor = {
        .form = API_V2_FP32, .n_images = 1, .n_values = n_values(info)};
    body->binary = true;
    if (!make_images(reader, 1))
        return false;
    if (body->n_bytes == tensor.n_values * 4 && strcmp(format, "jpeg") != 0 &&
        strcmp(format, "png") != 0)
        return api_v2_tensor_binary(&tensor, body->bytes, body->n_bytes, reader->request, info,
                                    reader->problem);
    reader->request->images[0].bytes = body->bytes;
    reader->request->images[0].n_bytes = body->n_bytes;
    return true;
}

static json_t *load(const struct reader *reader, size_t n)
{
    const struct api_v2_body *body = reader->body;
    size_t most;
    if (size_mul((size_t)body->max_images, n_values(reader->info), &most) != RN_OK ||
        json_scan_values(body->bytes, n) > most + most / 2 + EXTRA_VALUES) {
        problem_set(reader->problem, PROBLEM_BAD_TENSOR,
                    "the JSON has more values than %d images of the model can have",
                    body->max_images);
        return NULL;
    }
    return api_json_load(body->bytes, n, reader->problem);
}

static bool read_json(struct reader *reader, size_t n)
{
    static const char *const known[] = {"id",      "parameters", "inputs",
                                        "outputs", "model_name", "model_version"};
    json_t *root = load(reader, n);
    if (!root)
        return false;
    bool ok = json_is_object(root) || refuse_json(reader, "the JSON is no object");
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        bool is_known = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            is_known = is_known || strcmp(known[i], key) == 0;
        if (ok && !is_known) {
            problem_set(reader->problem, PROBLEM_BAD_JSON, "there is no member \"%.64s\"", key);
            ok = false;
        }
    }
    ok = ok && read_request(reader, root) && read_output(reader, root) && read_input(reader, root);
    json_decref(root);
    return ok;
}

bool api_v2_body_read(struct api_v2_body *body, struct request *request,
                      const struct rn_model_info *info, struct problem *problem)
{
    struct reader reader = {.body = body, .request = request, .info = info, .problem = problem};
    if (body->header_bytes == 0)
        return read_raw(&reader);
    size_t n = body->n_bytes;
    if (body->header_bytes > 0) {
        if ((uint64_t)body->header_bytes > body->n_bytes) {
            problem_set(problem, PROBLEM_BAD_TENSOR,
                        "Inference-Header-Content-Length is %lld, the body has %zu bytes",
                        (long long)body->header_bytes, body->n_bytes);
            return false;
        }
        n = (size_t)body->header_bytes;
    }
    reader.binary = body->bytes + n;
    reader.n_binary = body->n_bytes - n;
    return read_json(&reader, n);
}

void api_v2_body_done(struct api_v2_body *body)
{
    free(body->id);
    body->id = NULL;
}

bool api_v2_body_header(const char *value, int64_t *header_bytes, struct problem *problem)
{
    static const char name[] = "Inference-Header-Content-Length";
    *header_bytes = -1;
    if (!value)
        return true;
    const size_t n = strlen(value);
    if (n == 0 || n > 18 || value[strspn(value, "0123456789")]) {
        problem_parameter(problem, name, "%s: \"%.32s\" is no number of bytes", name, value);
        return false;
    }
    *header_bytes = strtoll(value, NULL, 10);
    return true;
}
