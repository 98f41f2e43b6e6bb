/* The four sources in their order, later ones over earlier ones: defaults, file, environment,
 * flags.
 *
 * A wrong flag is found before the file is opened, so that a typing error is never hidden behind
 * a missing file. What the values must look like is option.c's.
 *
 * SPDX-License-Identifier: MIT */
#include "config/config.h"

#include <stdlib.h>
#include <string.h>

#include "config/config_file.h"
#include "config/option.h"

#define PREFIX "RESNETD_"
#define MAX_SPELLED 96 /* "--max-body-bytes" or "RESNETD_MAX_BODY_BYTES" */

static char ascii_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* max_batch -> --max-batch */
static const char *spell_flag(const char *key, char out[MAX_SPELLED])
{
    snprintf(out, MAX_SPELLED, "--%s", key);
    for (char *p = out; *p; p++)
        if (*p == '_')
            *p = '-';
    return out;
}

/* max_batch -> RESNETD_MAX_BATCH */
static const char *spell_variable(const char *key, char out[MAX_SPELLED])
{
    snprintf(out, MAX_SPELLED, PREFIX "%s", key);
    for (char *p = out; *p; p++)
        *p = ascii_upper(*p);
    return out;
}

static bool set_defaults(struct config *config, struct config_error *err)
{
    for (size_t i = 0; i < n_options; i++) {
        const struct option *option = &options[i];
        bool ok = true;
        if (option->type == OPTION_INT || option->type == OPTION_SIZE)
            ok = option_set_number(option, config, option->number, option->key, err);
        else if (option->type == OPTION_TEXT)
            ok = option_set_text(option, config, option->text, option->key, err);
        if (!ok)
            return false;
    }
    return true;
}

/* ---- environment ------------------------------------------------------------------------------
 */

/* The value when entry is PREFIX KEY=value for this key, else NULL. */
static const char *variable_value(const char *entry, const char *key)
{
    char name[MAX_SPELLED];
    size_t n = strlen(spell_variable(key, name));
    return strncmp(entry, name, n) == 0 && entry[n] == '=' ? entry + n + 1 : NULL;
}

/* a,b,c into a LIST; an empty value empties it. */
static bool set_comma_list(const struct option *option, struct config *config, const char *value,
                           const char *where, struct config_error *err)
{
    option_clear(option, config);
    if (value[0] == '\0')
        return true;
    char *copy = strdup(value);
    if (!copy)
        return option_fail(err, "%s: out of memory", where);
    bool ok = true;
    char *rest = copy;
    for (char *item = strsep(&rest, ","); item && ok; item = strsep(&rest, ","))
        ok = option_set_text(option, config, item, where, err);
    free(copy);
    return ok;
}

static void warn_unknown(const char *entry, void (*warn)(const char *sentence))
{
    char key[MAX_SPELLED], nearest_name[MAX_SPELLED], sentence[3 * MAX_SPELLED];
    size_t n = strcspn(entry, "=");
    snprintf(key, sizeof(key), "%.*s", (int)(n - strlen(PREFIX)), entry + strlen(PREFIX));
    for (char *p = key; *p; p++)
        *p = ascii_lower(*p);
    const char *nearest = config_nearest(key, option_keys, n_options);
    if (nearest)
        snprintf(sentence, sizeof(sentence), "%.*s is not a setting (%s is), ignoring it",
                 (int)(n < MAX_SPELLED ? n : MAX_SPELLED), entry,
                 spell_variable(nearest, nearest_name));
    else
        snprintf(sentence, sizeof(sentence), "%.*s is not a setting, ignoring it",
                 (int)(n < MAX_SPELLED ? n : MAX_SPELLED), entry);
    warn(sentence);
}

static bool set_variables(struct config *config, char *const *envp,
                          void (*warn)(const char *sentence), struct config_error *err)
{
    for (; *envp; envp++) {
        if (strncmp(*envp, PREFIX, strlen(PREFIX)) != 0 || variable_value(*envp, "config"))
            continue;
        bool known = false;
        for (size_t i = 0; i < n_options && !known; i++) {
            const char *value = variable_value(*envp, options[i].key);
            if (!value)
                continue;
            known = true;
            char where[MAX_SPELLED];
            spell_variable(options[i].key, where);
            bool ok = options[i].type == OPTION_LIST
                          ? set_comma_list(&options[i], config, value, where, err)
                          : option_set_text(&options[i], config, value, where, err);
            if (!ok)
                return false;
        }
        if (!known && warn)
            warn_unknown(*envp, warn);
    }
    return true;
}

/* ---- flags ------------------------------------------------------------------------------------
 */

struct flag {
    const struct option *option; /* NULL: --config */
    const char *value;
};

static bool fail_unknown_flag(const char *word, size_t n, struct config_error *err)
{
    char key[MAX_SPELLED], nearest_flag[MAX_SPELLED];
    size_t dashes = strspn(word, "-");
    snprintf(key, sizeof(key), "%.*s", (int)(n - dashes), word + dashes);
    for (char *p = key; *p; p++)
        *p = *p == '-' ? '_' : ascii_lower(*p);
    const char *nearest = config_nearest(key, option_keys, n_options);
    if (!nearest)
        nearest = config_nearest(key, (const char *const[]){"config"}, 1);
    if (nearest)
        return option_fail(err, "%.*s is not a flag, did you mean %s?", (int)n, word,
                           spell_flag(nearest, nearest_flag));
    return option_fail(err, "%.*s is not a flag, see --help", (int)n, word);
}

/* Reads the flag at argv[*i] and moves *i past it and its value. */
static bool next_flag(int argc, char *const *argv, int *i, struct flag *out,
                      struct config_error *err)
{
    const char *word = argv[*i];
    if (word[0] != '-')
        return option_fail(err, "\"%s\" is not a flag, see --help", word);

    size_t n = strcspn(word, "=");
    char name[MAX_SPELLED];
    bool known = false;
    out->option = NULL;
    for (size_t k = 0; k < n_options && !known; k++) {
        known = strlen(spell_flag(options[k].key, name)) == n && strncmp(word, name, n) == 0;
        if (known)
            out->option = &options[k];
    }
    if (!known && !(n == strlen("--config") && strncmp(word, "--config", n) == 0))
        return fail_unknown_flag(word, n, err);

    if (word[n] == '=')
        out->value = word + n + 1;
    else if (*i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0)
        out->value = argv[++*i];
    else
        return option_fail(err, "%s needs a value", word);
    if (!out->option && out->value[0] == '\0')
        return option_fail(err, "--config needs a file");
    ++*i;
    return true;
}

/* Takes argv apart into flags[argc]; nothing is set yet. */
static bool parse_flags(int argc, char *const *argv, struct flag *flags, int *n_flags,
                        struct config_error *err)
{
    *n_flags = 0;
    for (int i = 0; i < argc;)
        if (!next_flag(argc, argv, &i, &flags[(*n_flags)++], err))
            return false;
    return true;
}

static bool set_flags(struct config *config, const struct flag *flags, int n_flags,
                      struct config_error *err)
{
    for (int i = 0; i < n_flags; i++)
        if (flags[i].option && flags[i].option->type == OPTION_LIST)
            option_clear(flags[i].option, config);
    for (int i = 0; i < n_flags; i++) {
        if (!flags[i].option)
            continue;
        char where[MAX_SPELLED];
        spell_flag(flags[i].option->key, where);
        if (!option_set_text(flags[i].option, config, flags[i].value, where, err))
            return false;
    }
    return true;
}

/* ---- all --------------------------------------------------------------------------------------
 */

/* The last --config, else RESNETD_CONFIG; NULL where both are absent or the variable is empty. */
static const char *file_path(const struct flag *flags, int n_flags, char *const *envp)
{
    for (int i = n_flags - 1; i >= 0; i--)
        if (!flags[i].option)
            return flags[i].value;
    for (; *envp; envp++) {
        const char *path = variable_value(*envp, "config");
        if (path && path[0] != '\0')
            return path;
    }
    return NULL;
}

void config_done(struct config *config)
{
    if (config)
        for (size_t i = 0; i < n_options; i++)
            option_clear(&options[i], config);
}

bool config_load(struct config *out, int argc, char *const *argv, char *const *envp,
                 void (*warn)(const char *sentence), struct config_error *err)
{
    struct config config = {0};
    bool ok = false;
    int n_flags;
    struct flag *flags = calloc((size_t)argc + 1, sizeof(*flags));
    if (!flags) {
        option_fail(err, "out of memory");
        goto done;
    }
    if (!parse_flags(argc, argv, flags, &n_flags, err))
        goto done;
    const char *path = file_path(flags, n_flags, envp);
    ok = set_defaults(&config, err) && (!path || config_file_read(path, &config, err)) &&
         set_variables(&config, envp, warn, err) && set_flags(&config, flags, n_flags, err);
done:
    free(flags);
    if (ok)
        *out = config;
    else
        config_done(&config);
    return ok;
}

static size_t field_bytes(const struct option *option)
{
    switch (option->type) {
    case OPTION_INT:
        return sizeof(int);
    case OPTION_SIZE:
        return sizeof(size_t);
    case OPTION_TEXT:
        return sizeof(char *);
    default:
        return sizeof(struct config_list);
    }
}

static void swap(void *a, void *b, size_t n)
{
    char *x = a, *y = b;
    for (size_t i = 0; i < n; i++) {
        const char c = x[i];
        x[i] = y[i];
        y[i] = c;
    }
}

void config_adopt(struct config *config, struct config *next, void (*warn)(const char *sentence))
{
    for (size_t i = 0; i < n_options; i++) {
        const struct option *option = &options[i];
        char now[1024], then[1024], sentence[256];
        (void)config_value(config, option->key, now, sizeof now);
        (void)config_value(next, option->key, then, sizeof then);
        if (option->reloadable) {
            swap((char *)config + option->offset, (char *)next + option->offset,
                 field_bytes(option));
        } else if (strcmp(now, then) != 0) {
            snprintf(sentence, sizeof sentence, "%s changes with a restart only", option->key);
            warn(sentence);
        }
    }
}
