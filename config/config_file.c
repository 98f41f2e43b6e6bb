/* The JSON file with settings: one object, keys as in options.def, each at most once.
 *
 * Numbers are JSON integers (a SIZE may be a string like "10M"), texts strings, lists arrays of
 * strings or one string. The file is capped, and read before anything is taken from it.
 *
 * SPDX-License-Identifier: MIT */
#include "config/config_file.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "config/option.h"

#define MAX_FILE_BYTES (1024u * 1024u)

/* The whole file, NUL-terminated and malloc'ed; NULL with err set. */
static char *read_file(const char *path, size_t *n, struct config_error *err)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        option_fail(err, "%s: %s", path, strerror(errno));
        return NULL;
    }
    char *text = malloc(MAX_FILE_BYTES + 2); /* one byte to tell "too large", one for the NUL */
    if (!text) {
        option_fail(err, "%s: out of memory", path);
        goto fail;
    }
    *n = fread(text, 1, MAX_FILE_BYTES + 1, file);
    if (ferror(file)) {
        option_fail(err, "%s: %s", path, strerror(errno));
        goto fail;
    }
    if (*n > MAX_FILE_BYTES) {
        option_fail(err, "%s: larger than 1 MiB", path);
        goto fail;
    }
    text[*n] = '\0';
    fclose(file);
    return text;
fail:
    free(text);
    fclose(file);
    return NULL;
}

/* "FILE, line N: KEY". jansson keeps no lines for values, so the key is looked up in the text; a
 * key that was written with escapes is not found and goes without. */
static void describe(char *where, size_t n, const char *path, const char *text, const char *key)
{
    char quoted[96];
    int length = snprintf(quoted, sizeof(quoted), "\"%s\"", key);
    int line = 1;
    for (const char *p = text; *p && length < (int)sizeof(quoted); p++) {
        if (*p == '\n')
            line++;
        if (strncmp(p, quoted, (size_t)length) == 0 &&
            p[length + (int)strspn(p + length, " \t\r\n")] == ':') {
            snprintf(where, n, "%s, line %d: %s", path, line, key);
            return;
        }
    }
    snprintf(where, n, "%s: %s", path, key);
}

static bool set_list(const struct option *option, struct config *config, const json_t *value,
                     const char *where, struct config_error *err)
{
    option_clear(option, config);
    if (json_is_string(value))
        return option_set_text(option, config, json_string_value(value), where, err);
    if (!json_is_array(value))
        return option_fail(err, "%s: expected an array of strings", where);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        if (!json_is_string(item))
            return option_fail(err, "%s: entry %zu is not a string", where, i + 1);
        if (!option_set_text(option, config, json_string_value(item), where, err))
            return false;
    }
    return true;
}

static bool set_value(const struct option *option, struct config *config, const json_t *value,
                      const char *where, struct config_error *err)
{
    switch (option->type) {
    case OPTION_SIZE:
        if (json_is_string(value))
            return option_set_text(option, config, json_string_value(value), where, err);
        /* fall through */
    case OPTION_INT:
        if (!json_is_integer(value))
            return option_fail(err, "%s: expected a whole number", where);
        return option_set_number(option, config, json_integer_value(value), where, err);
    case OPTION_TEXT:
        if (!json_is_string(value))
            return option_fail(err, "%s: expected a string", where);
        return option_set_text(option, config, json_string_value(value), where, err);
    case OPTION_LIST:
        break;
    }
    return set_list(option, config, value, where, err);
}

static bool set_key(const char *path, const char *text, const char *key, const json_t *value,
                    struct config *config, struct config_error *err)
{
    char where[384];
    describe(where, sizeof(where), path, text, key);
    const struct option *option = option_find(key);
    if (option)
        return set_value(option, config, value, where, err);
    const char *nearest = config_nearest(key, option_keys, n_options);
    if (nearest)
        return option_fail(err, "%s is not a setting, did you mean %s?", where, nearest);
    return option_fail(err, "%s is not a setting", where);
}

bool config_file_read(const char *path, struct config *config, struct config_error *err)
{
    size_t n;
    char *text = read_file(path, &n, err);
    if (!text)
        return false;

    bool ok = false;
    json_error_t json_error;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &json_error);
    if (!root) {
        option_fail(err, "%s, line %d: %s", path, json_error.line, json_error.text);
        goto done;
    }
    if (!json_is_object(root)) {
        option_fail(err, "%s: expected one JSON object", path);
        goto done;
    }
    ok = true;
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        ok = set_key(path, text, key, value, config, err);
        if (!ok)
            break;
    }
done:
    json_decref(root);
    free(text);
    return ok;
}
