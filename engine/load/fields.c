/* Recipe fields from JSON, checked one by one.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/load/fields.h"

#include <math.h>
#include <string.h>

/* Braces, brackets and commas outside strings. Each may cost the parser some 200 bytes. */
#define MAX_ITEMS ((size_t)1 << 17)

static size_t count_items(const char *text, size_t n)
{
    size_t items = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"')
            in_string = !in_string;
        else if (in_string)
            i += text[i] == '\\';
        else
            items += text[i] == '{' || text[i] == '[' || text[i] == ',';
    }
    return items;
}

enum rn_status fields_check_size(const char *text, size_t n, const char *where,
                                 struct rn_error *err)
{
    const size_t items = count_items(text, n);
    if (items <= MAX_ITEMS)
        return RN_OK;
    return rn_fail(err, RN_BAD_MODEL, "%.150s: JSON of %zu items, the limit is %zu", where, items,
                   MAX_ITEMS);
}

json_t *fields_parse(const char *text, size_t n, const char *where, struct rn_error *err)
{
    json_error_t error;
    if (fields_check_size(text, n, where, err) != RN_OK)
        return NULL;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        (void)rn_fail(err, RN_BAD_MODEL, "%.150s: line %d, column %d: %s", where, error.line,
                      error.column, error.text);
        return NULL;
    }
    if (!json_is_object(root)) {
        (void)rn_fail(err, RN_BAD_MODEL, "%.150s: it is not a JSON object", where);
        json_decref(root);
        return NULL;
    }
    return root;
}

enum rn_status fields_check_known(const json_t *object, const char *where, const char *const *known,
                                  struct rn_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        const char *const *k = known;
        while (*k && strcmp(*k, key) != 0)
            k++;
        if (!*k)
            return rn_fail(err, RN_BAD_MODEL, "%.150s: the key %.64s is not known", where, key);
    }
    return RN_OK;
}

const json_t *fields_get(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

enum rn_status fields_side(const json_t *object, const char *where, const char *key, bool *has,
                           int *out, struct rn_error *err)
{
    const json_t *value = fields_get(object, key);
    if (*has || !value)
        return RN_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 1 ||
        json_integer_value(value) > RN_MAX_INPUT_SIDE)
        return rn_fail(err, RN_BAD_MODEL, "%.150s: %s must be a whole number from 1 to %d", where,
                       key, RN_MAX_INPUT_SIDE);
    *out = (int)json_integer_value(value);
    *has = true;
    return RN_OK;
}

enum rn_status fields_interpolation(const json_t *object, const char *where, const char *key,
                                    bool *has, enum rn_interpolation *out, struct rn_error *err)
{
    static const struct {
        const char *name;
        int number; /* PIL.Image.Resampling */
        enum rn_interpolation interpolation;
    } filters[] = {{"bilinear", 2, RN_BILINEAR}, {"bicubic", 3, RN_BICUBIC}};
    const json_t *value = fields_get(object, key);
    if (*has || !value)
        return RN_OK;
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        bool named = json_is_string(value) && !strcmp(json_string_value(value), filters[i].name);
        bool numbered = json_is_integer(value) && json_integer_value(value) == filters[i].number;
        if (named || numbered) {
            *out = filters[i].interpolation;
            *has = true;
            return RN_OK;
        }
    }
    return rn_fail(err, RN_BAD_MODEL, "%.150s: %s must be bilinear or bicubic", where, key);
}

static bool read_triple(const json_t *value, float out[3])
{
    if (json_array_size(value) != 3)
        return false;
    for (size_t i = 0; i < 3; i++) {
        const json_t *number = json_array_get(value, i);
        if (!json_is_number(number))
            return false;
        out[i] = (float)json_number_value(number);
        if (!isfinite(out[i]))
            return false;
    }
    return true;
}

enum rn_status fields_mean_std(const json_t *object, const char *where, const char *mean_key,
                               const char *std_key, bool *has, struct rn_recipe *out,
                               struct rn_error *err)
{
    const json_t *mean_value = fields_get(object, mean_key);
    const json_t *std_value = fields_get(object, std_key);
    if (*has || (!mean_value && !std_value))
        return RN_OK;
    float mean[3], std[3];
    if (!read_triple(mean_value, mean))
        return rn_fail(err, RN_BAD_MODEL, "%.150s: %s must be three numbers", where, mean_key);
    if (!read_triple(std_value, std) || !(std[0] > 0 && std[1] > 0 && std[2] > 0))
        return rn_fail(err, RN_BAD_MODEL, "%.150s: %s must be three numbers above 0", where,
                       std_key);
    memcpy(out->mean, mean, sizeof mean);
    memcpy(out->std, std, sizeof std);
    *has = true;
    return RN_OK;
}
