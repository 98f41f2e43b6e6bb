/* The table of settings and the setters; the checks that numbers and texts must pass.
 *
 * Pure; any thread. A config's texts are owned by the config (config_done frees them).
 *
 * SPDX-License-Identifier: MIT */
#include "config/option.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* The default stands in one column whatever the type; these put it into the field that fits. */
#define DEFAULT_INT(def) .number = (def)
#define DEFAULT_SIZE(def) .number = (def)
#define DEFAULT_TEXT(def) .text = (def)
#define DEFAULT_LIST(def) .text = (def)

const struct option options[] = {
#define OPTION(key_, type_, def_, min_, max_, reloadable_, help_)                                  \
    {.key = #key_,                                                                                 \
     .help = help_,                                                                                \
     .type = OPTION_##type_,                                                                       \
     .offset = offsetof(struct config, key_),                                                      \
     DEFAULT_##type_(def_),                                                                        \
     .min = min_,                                                                                  \
     .max = max_,                                                                                  \
     .reloadable = reloadable_},
#include "config/options.def"
#undef OPTION
};

const char *const option_keys[] = {
#define OPTION(key, type, def, min, max, reloadable, help) #key,
#include "config/options.def"
#undef OPTION
};

const size_t n_options = sizeof(options) / sizeof(options[0]);

bool option_fail(struct config_error *err, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof(err->text), format, args);
        va_end(args);
    }
    return false;
}

const struct option *option_find(const char *key)
{
    for (size_t i = 0; i < n_options; i++)
        if (strcmp(options[i].key, key) == 0)
            return &options[i];
    return NULL;
}

static void *field(const struct option *option, struct config *config)
{
    return (char *)config + option->offset;
}

static const void *field_const(const struct option *option, const struct config *config)
{
    return (const char *)config + option->offset;
}

long long option_number(const struct option *option, const struct config *config)
{
    const void *value = field_const(option, config);
    return option->type == OPTION_INT ? *(const int *)value : (long long)*(const size_t *)value;
}

const char *option_text(const struct option *option, const struct config *config)
{
    return *(char *const *)field_const(option, config);
}

const struct config_list *option_list(const struct option *option, const struct config *config)
{
    return field_const(option, config);
}

/* ---- what a text must look like -------------------------------------------------------------- */

static bool is_level(const char *text)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
        if (strcmp(text, levels[i]) == 0)
            return true;
    return false;
}

/* The kernel tables of this CPU are the engine's to know; here only a name's form. */
static bool is_cpu(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(text);
}

static bool is_log_format(const char *text)
{
    return strcmp(text, "text") == 0 || strcmp(text, "json") == 0;
}

static bool is_isolation(const char *text)
{
    return strcmp(text, "process") == 0 || strcmp(text, "thread") == 0;
}

static bool is_convolution(const char *text)
{
    return strcmp(text, "fast") == 0 || strcmp(text, "direct") == 0;
}

static bool is_on_or_off(const char *text)
{
    return strcmp(text, "on") == 0 || strcmp(text, "off") == 0;
}

/* HOST:PORT, :PORT, [IPv6]:PORT or unix:/path; whether the host exists is found out at bind. */
static bool is_address(const char *text)
{
    if (strncmp(text, "unix:", 5) == 0)
        return text[5] != '\0';
    const char *colon = strrchr(text, ':');
    if (!colon)
        return false;
    size_t digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || digits > 5 || colon[1 + digits] != '\0' || atol(colon + 1) > 65535)
        return false;
    size_t host = (size_t)(colon - text);
    if (text[0] == '[')
        return host > 2 && text[host - 1] == ']';
    return memchr(text, ':', host) == NULL && memchr(text, ' ', host) == NULL;
}

/* What a browser sends as Origin: scheme://host[:port], without a path. A slash at the end is the
 * usual mistake, and would never match. */
static bool is_origin(const char *text)
{
    if (text[0] == '\0' || strcmp(text, "*") == 0)
        return true;
    const char *host = strstr(text, "://");
    if (!host || host == text || host[3] == '\0' || strchr(host + 3, '/'))
        return false;
    for (const char *p = text; *p; p++)
        if (*p <= ' ' || *p > '~')
            return false;
    return true;
}

static const struct rule {
    const char *key;
    bool (*holds)(const char *text);
    const char *expected;
} rules[] = {
    {"listen", is_address, "HOST:PORT, :PORT, [::1]:PORT or unix:/path"},
    {"cpu", is_cpu, "the name of a kernel table such as portable or avx2"},
    {"convolution", is_convolution, "fast or direct"},
    {"jpeg_scaling", is_on_or_off, "on or off"},
    {"decode_isolation", is_isolation, "process or thread"},
    {"access_log_format", is_log_format, "text or json"},
    {"cors_origin", is_origin, "* or an origin like https://example.org, without a path"},
    {"log_level", is_level, "error, warn, info or debug"},
};

static bool check_text(const struct option *option, const char *text, const char *where,
                       struct config_error *err)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (strcmp(rules[i].key, option->key) == 0 && !rules[i].holds(text))
            return option_fail(err, "%s: \"%s\" is not %s", where, text, rules[i].expected);
    return true;
}

/* ---- setters ----------------------------------------------------------------------------------
 */

/* A whole number, with K, M or G where `suffixes`. What does not fit becomes LLONG_MAX or _MIN and
 * so falls out of every range. */
static bool parse_number(const char *text, bool suffixes, long long *out)
{
    if (text[strspn(text, "-")] < '0' || text[strspn(text, "-")] > '9')
        return false; /* strtoll would take blanks and a plus sign */
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (suffixes && *end && strchr("KkMmGg", *end)) {
        int shift = strchr("Kk", *end) ? 10 : strchr("Mm", *end) ? 20 : 30;
        long long unit = 1LL << shift;
        value = value > LLONG_MAX / unit   ? LLONG_MAX
                : value < LLONG_MIN / unit ? LLONG_MIN
                                           : value * unit;
        end++;
    }
    *out = value;
    return *end == '\0';
}

void option_clear(const struct option *option, struct config *config)
{
    if (option->type == OPTION_TEXT) {
        char **text = field(option, config);
        free(*text);
        *text = NULL;
    } else if (option->type == OPTION_LIST) {
        struct config_list *list = field(option, config);
        while (list->n > 0)
            free(list->items[--list->n]);
    }
}

bool option_set_number(const struct option *option, struct config *config, long long value,
                       const char *where, struct config_error *err)
{
    if (value < option->min || value > option->max)
        return option_fail(err, "%s: %lld is out of range, %lld to %lld", where, value, option->min,
                           option->max);
    if (option->type == OPTION_INT)
        *(int *)field(option, config) = (int)value;
    else
        *(size_t *)field(option, config) = (size_t)value;
    return true;
}

static bool append(struct config_list *list, const char *text, const char *where,
                   struct config_error *err)
{
    if (text[0] == '\0')
        return option_fail(err, "%s: an entry is empty", where);
    if (list->n == CONFIG_MAX_MODELS)
        return option_fail(err, "%s: more than %d entries", where, CONFIG_MAX_MODELS);
    char *copy = strdup(text);
    if (!copy)
        return option_fail(err, "%s: out of memory", where);
    list->items[list->n++] = copy;
    return true;
}

bool option_set_text(const struct option *option, struct config *config, const char *text,
                     const char *where, struct config_error *err)
{
    if (option->type == OPTION_INT || option->type == OPTION_SIZE) {
        long long value;
        if (!parse_number(text, option->type == OPTION_SIZE, &value))
            return option_fail(err, "%s: \"%s\" is not a whole number%s", where, text,
                               option->type == OPTION_SIZE ? " (K, M and G are understood)" : "");
        return option_set_number(option, config, value, where, err);
    }
    if (option->type == OPTION_LIST)
        return append(field(option, config), text, where, err);

    if (!check_text(option, text, where, err))
        return false;
    char *copy = strdup(text);
    if (!copy)
        return option_fail(err, "%s: out of memory", where);
    option_clear(option, config);
    *(char **)field(option, config) = copy;
    return true;
}
